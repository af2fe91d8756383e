"""The catalogue's tables and queries, without a store."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from convtree._catalogue import marks, queries, tables
from convtree._catalogue.record_summary import RecordSummary, timestamp_of, words_of
from convtree._catalogue.tables import Execute, Values
from convtree._catalogue.types import Cursor, Filter
from convtree._catalogue.words import IS_PENDING
from convtree._model.entries import Header, ParentSession
from convtree._model.usage import Usage

HOSTILE = st.text(max_size=12) | st.sampled_from(
    [
        "' OR 1=1 --",
        '" OR "a',
        "a* NEAR(b)",
        "%",
        "_",
        "\\",
        "{a}:b",
        "^a",
        "a AND",
        "NOT",
        "\0",
        "'; DROP TABLE ct_terms;",
    ]
)


class Database:
    """The tables in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        for statement in tables.SCHEMA["sqlite"]:
            self.connection.execute(statement)

    def execute(self, sql: str, values: Any = ()) -> list[Any]:
        if isinstance(values, list):
            self.connection.executemany(sql, values)
            return []
        return self.connection.execute(sql, values).fetchall()

    def add(self, id: str, *said: str, **header: Any) -> None:
        """Adds a session with messages."""
        tables.add_session(self.execute, id, Header(id=id, **header))
        self.grow(id, [message(f"n{number}", text) for number, text in enumerate(said)])

    def grow(self, id: str, summaries: list[RecordSummary], start: int = 1) -> Values:
        """Adds records to a session, as every backend does."""
        values = tables.update_session_row(id, summaries, len(summaries), crc32(b""))
        ((_, _, copying_to, *_),) = self.execute(tables.ADVANCE, values)
        positions = range(start, start + len(summaries))
        rows = [tables.line_of(id, number, each, None) for number, each in zip(positions, summaries, strict=True)]
        tables.add_lines(self.execute, rows)
        tables.add_usage(self.execute, id, summaries, copying_to)
        marks.apply_marks(self.execute, id, positions, summaries)
        return values

    def ids(self, **wanted: Any) -> list[str]:
        return [each.info.id for each in queries.sessions(self.execute, "sqlite", Filter(**wanted))]

    def search(self, text: str, **wanted: Any) -> list[tuple[str, str]]:
        found = queries.search(self.execute, "sqlite", text, Filter(**wanted), 100)
        return sorted((each.session_id, each.entry_id) for each in found)


@pytest.fixture
def db() -> Iterator[Database]:
    """Empty db."""
    with closing(sqlite3.connect(":memory:")) as connection:
        yield Database(connection)


def message(id: str, text: str = "", **fields: Any) -> RecordSummary:
    """The summary of a user message."""
    words = " ".join(words_of(text))
    common: dict[str, Any] = {"parent_id": None, "type": "message", "role": "user", "ms": None, "usage": None}
    common |= {
        "excerpt": text,
        "words": words,
        "provider": None,
        "model": None,
        "leaf": id,
        "visible_to": "all",
        "said": True,
    }
    return RecordSummary(id=id, **common | fields)


def mark(id: str, **fields: Any) -> RecordSummary:
    """The summary of a mark."""
    unsaid: dict[str, Any] = {"leaf": UNSET, "said": False}
    return message(id, type="session_info", role=None, **unsaid | fields)


def test_the_row_of_a_header(db: Database) -> None:
    """It has no id and no words."""
    db.add("a", "hello")
    tables.add_lines(db.execute, [tables.line_of("a", 0, None, "{}")])
    rows = db.execute("SELECT id, type, words, line FROM ct_lines ORDER BY position")
    assert rows == [(None, "session", "", "{}"), ("n0", "message", "hello", None)]


def test_a_batch_updates_the_row_of_its_session(db: Database) -> None:
    """The last value of each field counts; for the first message of the user, the first."""
    db.add("a", name="N", timestamp="1970-01-01T00:00:01Z")
    before = queries.sessions(db.execute, "sqlite", Filter())
    db.grow("a", [])
    assert queries.sessions(db.execute, "sqlite", Filter()) == before
    db.grow(
        "a",
        [
            message("x", "one", ms=5000),
            message("y", "", role="assistant"),
            mark("z", name="M", archived=True, ms=7000),
            message("w", "two", type="message"),
            mark("v", leaf=None, name=None, archived=None, ms=6000),
        ],
    )
    ((info, _, _),) = queries.sessions(db.execute, "sqlite", Filter())
    assert (info.name, info.archived, info.leaf_id, info.entries, info.messages) == (None, False, None, 3, 3)
    assert (info.first_user_message, info.last_user_message) == ("one", "two")
    assert (info.created, info.last_activity) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:05.000Z")


def test_activity_is_never_before_the_header(db: Database) -> None:
    """A fork's copied records are older than the fork. Without a header time, any time is activity."""
    db.add("a", timestamp="1970-01-01T00:00:10Z")
    db.grow("a", [message("x", ms=5000)])
    db.add("b")
    db.grow("b", [message("x", ms=-5000)])
    cursors = [each.cursor for each in queries.sessions(db.execute, "sqlite", Filter())]
    assert cursors == [Cursor(10_000, "a"), Cursor(-5000, "b")]


TIMES = st.integers(-50, 50).filter(bool).map(lambda second: second * 1000)


@given(created=st.none() | TIMES, batches=st.lists(st.lists(TIMES, min_size=1, max_size=3), max_size=5))
def test_the_bound_of_the_activity_follows_from_the_times(created: int | None, batches: list[list[int]]) -> None:
    """It is the last time; or the end of its slot of 20 s, if something else was said there. No batch matters."""
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Database(connection)
        db.add("a", timestamp=timestamp_of(created))
        for number, batch in enumerate(batches):
            start = 10 * number + 1
            db.grow("a", [message(f"n{id}", ms=ms) for id, ms in enumerate(batch, start)], start)
        [row] = db.execute("SELECT active_ms, activity_bound FROM ct_sessions")
    said = [ms for batch in batches for ms in batch if created is None or ms > created]
    last = max(said, default=created or 0)
    others = [ms for ms in said if ms != last and ms // 20_000 == last // 20_000]
    assert row == (last, (last // 20_000 + 1) * 20_000 if others else last)


@given(
    sessions=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=12),
    limit=st.integers(1, 4),
    more=st.integers(0, 3),
    many=st.integers(1, 8),
)
def test_pages_are_in_order(sessions: list[list[int]], limit: int, more: int, many: int) -> None:
    """By the last time, then by id, however many sessions were active in one slot, and however few are read at once."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "_MORE", more)
        patch.setattr(queries, "_MANY", many)
        db = Database(connection)
        for number, said in enumerate(sessions):
            db.add(f"s{number}", timestamp="1970-01-01T00:00:01Z")
            db.grow(f"s{number}", [message(f"n{id}", ms=2000 + 7000 * each) for id, each in enumerate(said)])
        expected = sorted(
            ((2000 + 7000 * max(said), f"s{number}") for number, said in enumerate(sessions)), reverse=True
        )
        found: list[Cursor] = []
        while page := queries.sessions(db.execute, "sqlite", Filter(), found[-1] if found else None, limit):
            assert len(page) == limit or len(found) + len(page) == len(sessions)
            found += [each.cursor for each in page]
    assert found == expected


def test_a_session_is_removed_only_if_its_stamp_is_expected(db: Database) -> None:
    """Every append changes the stamp."""
    db.add("a", "needle", timestamp="1970-01-01T00:00:10Z")
    ((_, _, before),) = queries.sessions(db.execute, "sqlite", Filter())
    db.grow("a", [message("x")], 9)
    ((_, _, after),) = queries.sessions(db.execute, "sqlite", Filter())
    assert not tables.remove_unchanged_session(db.execute, "a", before)
    assert db.search("needle") == [("a", "n0")]
    assert tables.remove_unchanged_session(db.execute, "a", after)
    assert (db.ids(), db.search("needle")) == ([], [])


@pytest.mark.parametrize("batches", [[0, 1, 2, 3, 4], [5], [2, 3], [1, 4], [3, 2]])
def test_a_fork_counts_its_own_usage(db: Database, batches: list[int]) -> None:
    """Whether its lines come in one batch or in several."""
    tables.add_session(db.execute, "p", Header(id="p"))
    parent = ParentSession(id="p", entry_id="n2")
    tables.add_session(db.execute, "f", Header(id="f", parent_session=parent))
    every = [message(f"n{number}", model="m", usage=Usage(output_tokens=10**number)) for number in range(5)]
    start = 0
    sizes = [1] * 5 if len(batches) == 5 else batches
    for size in sizes:
        db.grow("f", every[start : start + size], start + 1)
        start += size
    ((_, _, model, usage),) = queries.usage(db.execute, ["f"])
    assert (model, usage) == ("m", Usage(output_tokens=11_000))


def test_models_are_in_the_order_of_use(db: Database) -> None:
    """A model that was chosen but did not answer comes last."""
    db.add("a")
    choice = message("c", type="model_change", role=None, model="chosen")
    answers = [message(f"n{number}", model="often" if number else "once") for number in range(3)]
    db.grow("a", [choice, *answers])
    ((info, _, _),) = queries.sessions(db.execute, "sqlite", Filter())
    assert (info.models, info.usage) == (("often", "once", "chosen"), Usage())


def test_removing_a_session_leaves_nothing(db: Database) -> None:
    """Lines, words and usage are deleted."""
    for id in "ab":
        db.add(id, "needle")
        db.grow(id, [message("u", "thread", model="m", usage=Usage(output_tokens=1))], 9)
    tables.remove_session(db.execute, "a")
    assert (db.ids(), db.search("needle")) == (["b"], [("b", "n0")])
    assert [each.session_id for each in queries.usage(db.execute, ["a", "b"])] == ["b"]
    db.execute(f"INSERT INTO ct_terms (rowid, words) SELECT l.row, l.words FROM ct_lines l WHERE {IS_PENDING}")
    db.execute("INSERT INTO ct_terms (ct_terms, rank) VALUES ('integrity-check', 1)")


def test_more_ids_than_one_query_takes(db: Database) -> None:
    """They are queried in batches."""
    names = [f"s{number:04}" for number in range(1201)]
    for name in names:
        db.add(name, parent_session=ParentSession(id=f"p{name}", kind="task"))
        db.grow(name, [message("x", model="m", usage=Usage(output_tokens=1))])
    assert len(queries.usage(db.execute, names)) == 1201
    parents = [f"p{name}" for name in names]
    assert queries.descendants(db.execute, parents, "task") == dict(zip(names, parents, strict=True))
    assert queries.descendants(db.execute, parents, "fork") == {}
    assert queries.usage(db.execute, []) == []


@given(HOSTILE, HOSTILE, st.booleans())
def test_text_is_never_part_of_a_statement(said: str, asked: str, named: bool) -> None:
    """A search finds the texts that have the words, whatever the text and the query contain."""
    db = Database(sqlite3.connect(":memory:"))
    try:
        db.add("a", said, name=said if named else None, cwd=said, owner=said, git_root=said)
        db.add("b", "other")
        words = set(words_of(asked))
        found = words <= set(words_of(said))
        assert db.search(asked) == ([("a", "n0")] if words and found else [("b", "n0")] if words == {"other"} else [])
        expected = ["b", "a"] if not words else ["a"] if found else ["b"] if words == {"other"} else []
        assert db.ids(text=asked) == expected
        assert db.ids(cwd=asked, owner=asked, git_root=asked) == (["a"] if asked == said else [])
        assert db.ids(here=(asked, None)) == (["a"] if asked == said else [])
    finally:
        db.connection.close()


def test_lists_use_an_index(db: Database) -> None:
    """For all sessions, and for those of a directory, repository or owner."""
    asked: list[str] = []
    execute: Execute = lambda sql, _: asked.append(sql) or []  # type: ignore[func-returns-value]  # noqa: E731
    for wanted in (Filter(), Filter(cwd="/x"), Filter(owner="o"), Filter(git_root="/g"), Filter(since_ms=0)):
        asked.clear()
        queries.sessions(execute, "sqlite", wanted, Cursor(5, "a"), 50)
        names = {"cwd": "", "owner": "", "git_root": "", "since": 0}
        values = names | {"after_bound": 0, "after_ms": 0, "after_id": "", "read": 1}
        plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {asked[0]}", values)]
        name = next((each for each in ("cwd", "owner", "git_root") if getattr(wanted, each)), "activity")
        assert any(f"USING INDEX ct_sessions_by_{name} " in each for each in plan)
        assert plan[-1] == "USE TEMP B-TREE FOR ORDER BY"  # of the few sessions that were read
        assert sum("USE TEMP B-TREE" in each for each in plan) == 1


def test_both_dialects_have_all_tables() -> None:
    """Common statements are the same."""
    for statement in tables.SCHEMA["postgresql"]:
        assert "{" not in statement
    assert set(tables.SCHEMA["sqlite"]) & set(tables.SCHEMA["postgresql"])


def test_a_postgresql_query_has_no_operators() -> None:
    """`plainto_tsquery` reads every word as text."""
    asked: list[tuple[str, Any]] = []
    execute: Execute = lambda sql, values: asked.append((sql, values)) or []  # type: ignore[func-returns-value]  # noqa: E731
    queries.search(execute, "postgresql", 'Rome "OR" Oslo rome', Filter(owner="o"), 5)
    queries.sessions(execute, "postgresql", Filter(text="Rome & Oslo", ids=()))
    assert [values["words"] for _, values in asked] == ["rome or oslo", "rome oslo"]
    assert "plainto_tsquery('simple', :words)" in asked[0][0]
    assert "IN (NULL)" in asked[1][0]
