"""Full text search of SQLite: lines that its index does not have yet are found and ranked as if it had them."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convtree import open_store
from convtree._catalogue import queries, tables, words
from convtree._catalogue.record_summary import words_of
from convtree._catalogue.types import Filter
from convtree.stores._session_store import SessionStore

_COMMON = ["one", "two", "three", "größe", "東京", "a-b", "x_y", "100%", "ΣΑΣ", "ß", "ǅ", "\u1e9e", "ꭰ", "İ", "'", '"']
TEXTS = st.lists(st.sampled_from(_COMMON) | st.text(max_size=6), max_size=8).map(" ".join)


class Tables:
    """Tables in memory, with messages of sessions."""

    def __init__(self, connection: sqlite3.Connection, schema: Sequence[str]) -> None:
        self.connection = connection
        for statement in schema:
            connection.execute(statement)

    def execute(self, sql: str, values: Any = ()) -> list[Any]:
        return self.connection.execute(sql, values).fetchall()

    def add(self, session: str, *texts: str) -> None:
        """Adds messages in one statement."""
        ((start,),) = self.execute(
            "SELECT COALESCE(MAX(position), 0) + 1 FROM ct_lines WHERE session_id = ?", [session]
        )
        rows = [(session, start + n, f"n{start + n}", " ".join(words_of(text))) for n, text in enumerate(texts)]
        marks = ", ".join(["(?, ?, ?, 'message', 'all', '', ?)"] * len(rows))
        self.connection.execute(
            f"INSERT INTO ct_lines (session_id, position, id, type, visible_to, excerpt, words) VALUES {marks}",
            [value for row in rows for value in row],
        )

    def delete(self, session: str) -> None:
        self.execute("DELETE FROM ct_lines WHERE session_id = ?", [session])

    def found(self, text: str) -> list[tuple[str, str]]:
        matches = queries.search(self.execute, "sqlite", text, Filter(tasks=True), 10_000)
        assert [each.score for each in matches] == sorted((each.score for each in matches), reverse=True)
        return sorted((each.session_id, each.entry_id) for each in matches)

    def pending(self) -> list[int]:
        return [row for (row,) in self.execute(f"SELECT l.row FROM ct_lines l WHERE {words.IS_PENDING} ORDER BY l.row")]

    def check(self) -> None:
        """The index has each line once, but for those that are pending, and gives all of them back."""
        indexed = [row for (row,) in self.execute("SELECT id FROM ct_terms_docsize")]
        rows = [row for (row,) in self.execute("SELECT row FROM ct_lines WHERE words <> ''")]
        assert sorted(indexed + self.pending()) == sorted(rows)
        self.execute("DELETE FROM ct_lines")
        self.execute("INSERT INTO ct_terms (ct_terms, rank) VALUES ('integrity-check', 1)")


def test_the_newest_lines_are_pending_until_their_block_is_full() -> None:
    """Blocks of 32 rows, whether they are added one by one or at once."""
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Tables(connection, tables.SCHEMA["sqlite"])
        for number in range(31):
            db.add("a", f"text {number}")
        assert db.pending() == list(range(1, 32))
        db.add("a", "text 31")
        assert db.pending() == []
        db.add("b", *(f"text {number}" for number in range(70)))
        assert db.pending() == [97, 98, 99, 100, 101, 102]
        assert len(db.found("text")) == 102
        db.check()


def test_rows_whose_numbers_come_again_are_indexed() -> None:
    """SQLite gives the numbers of the last rows again once these are deleted."""
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Tables(connection, tables.SCHEMA["sqlite"])
        db.add("a", *["first"] * 20)
        db.add("b", *["second"] * 20)
        db.delete("b")
        assert (db.found("second"), len(db.found("first")), db.pending()) == ([], 20, [])
        db.add("c", *["third"] * 11)
        assert db.pending() == list(range(21, 32))
        db.add("c", *["third"] * 3)
        assert (len(db.found("third")), db.pending()) == (14, [33, 34])
        db.check()


Step = tuple[str, list[str]]
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.lists(TEXTS, max_size=40)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(TEXTS, min_size=1, max_size=3))
@example([("a", ["ꭰ", "ẞ ß SS", "ǅ"] * 3)], ["ꭰ", "ss", "ǆ"])
def test_pending_lines_are_found_as_indexed_ones(steps: list[Step], asked: list[str]) -> None:
    """Whatever is added and deleted. An empty list of texts deletes the session."""
    with closing(sqlite3.connect(":memory:")) as one, closing(sqlite3.connect(":memory:")) as other:
        both = [Tables(one, tables.SCHEMA["sqlite"]), Tables(other, tables.SCHEMA_OF_COPY)]
        for session, texts in steps:
            for db in both:
                db.add(session, *texts) if texts else db.delete(session)
        lines = [text for _, texts in steps for text in texts]
        for text in (*asked, *lines[-3:]):
            in_blocks, at_once = (db.found(text) for db in both)
            assert in_blocks == at_once
        assert (len(both[0].pending()) < 32, both[1].pending()) == (True, [])
        both[0].check()


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=40), TEXTS)
def test_scores_are_those_of_sqlite(texts: list[str], text: str) -> None:
    """Those of lines that the index has, for comparison."""
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Tables(connection, tables.SCHEMA_OF_COPY)
        db.add("a", *texts)
        asked = list(dict.fromkeys(words_of(text) or words_of(texts[0])))
        if not asked:
            return
        sql = "SELECT l.words, -bm25(ct_terms) FROM ct_terms JOIN ct_lines l ON l.row = ct_terms.rowid"
        rows = db.execute(f"{sql} WHERE ct_terms MATCH ?", [words.query_of(asked)])
        expected = [score for _, score in rows]
        assert words.scores(db.execute, asked, [line for line, _ in rows]) == pytest.approx(expected)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of SQLite."""
    return tmp_path / "store.db"


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_rarer_word_ranks_higher_in_pending_lines_too(file: Path) -> None:
    """A short message is before a long one, indexed or not."""
    with open_store(f"sqlite:///{file}") as store, store.create(id="a") as session:
        long = session.append(_user("needle " + "hay " * 50)).id
        session.append_many([_user(f"hay {number}") for number in range(60)])
        short = session.append(_user("needle hay")).id
        assert [hit.entry_id for hit in store.search("needle")] == [short, long]
        assert [hit.entry_id for hit in store.search("needle", limit=1)] == [short]
        assert [info.id for info in store.list(text="needle")] == ["a"]


def _delete(store: SessionStore) -> None:
    store.delete("a")


def _redact(store: SessionStore) -> None:
    store.redact_session("a", dry_run=False, remove_original=True)


@pytest.mark.parametrize("erase", [_delete, _redact])
def test_nothing_stays_of_a_pending_line(file: Path, erase: Callable[[SessionStore], None]) -> None:
    """Neither a hit nor its words in the files, after it was deleted or redacted."""
    secret = "ghp_" + "a1B2c3" * 6
    with open_store(f"sqlite:///{file}") as store:
        with store.create(id="b") as session:
            session.append(_user("other"))
        with store.create(id="a") as session:
            session.append(_user(f"a {secret} here"))
        assert len(store.search(secret)) == 1
        erase(store)
        assert (store.search(secret), len(store.search("other"))) == ([], 1)
    assert all(b"a1b2c3" not in path.read_bytes().lower() for path in file.parent.iterdir())
