"""Catalogues: the tables and what is asked of them, without a store around them."""

import sqlite3
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import RecordSummary, words_of
from convtree._catalogue.tables import Cursor, Execute, Filter, Values
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
        "'; DROP TABLE ct_words;",
    ]
)


class Tables:
    """The tables in memory, with the statements that were asked of them."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        for statement in catalogue.SCHEMA["sqlite"]:
            self.connection.execute(statement)

    def execute(self, sql: str, values: Any = ()) -> list[Any]:
        if isinstance(values, list):
            self.connection.executemany(sql, values)
            return []
        return self.connection.execute(sql, values).fetchall()

    def add(self, id: str, *said: str, **header: Any) -> None:
        """Adds a session with messages."""
        catalogue.add_session(self.execute, id, Header(id=id, **header))
        self.grow(id, [message(f"n{number}", text) for number, text in enumerate(said)])

    def grow(self, id: str, digests: list[RecordSummary], start: int = 1) -> Values:
        """Adds lines to a session, as every store does."""
        values = catalogue.update_session_row(id, digests, len(digests), crc32(b""))
        ((_, _, copying, copied_up_to),) = self.execute(catalogue.ADVANCE, values)
        rows = [catalogue.line_of(id, start + number, each, None) for number, each in enumerate(digests)]
        catalogue.add_lines(self.execute, rows)
        catalogue.add_usage(self.execute, id, digests, copied_up_to if copying else None)
        return values

    def ids(self, **wanted: Any) -> list[str]:
        return [info.id for info in catalogue.sessions(self.execute, "sqlite", Filter(**wanted))]

    def search(self, text: str, **wanted: Any) -> list[tuple[str, str]]:
        found = catalogue.search(self.execute, "sqlite", text, Filter(**wanted), 100)
        return sorted((each.session_id, each.entry_id) for each in found)


@pytest.fixture
def tables() -> Iterator[Tables]:
    """Empty tables."""
    made = Tables()
    yield made
    made.connection.close()


def message(id: str, text: str = "", **fields: Any) -> RecordSummary:
    """What is kept of a message of the user's."""
    words = " ".join(words_of(text))
    common: dict[str, Any] = {"parent_id": None, "type": "message", "role": "user", "ms": None, "usage": None}
    common |= {"excerpt": text, "words": words, "provider": None, "model": None, "leaf": id}
    return RecordSummary(id=id, **common | fields)


def mark(id: str, **fields: Any) -> RecordSummary:
    """What is kept of a mark."""
    return message(id, type="session_info", role=None, **{"leaf": UNSET} | fields)


def test_a_header_line_is_a_line(tables: Tables) -> None:
    """It has no id, and no words."""
    tables.add("a", "hello")
    catalogue.add_lines(tables.execute, [catalogue.line_of("a", 0, None, "{}")])
    rows = tables.execute("SELECT id, type, words, line FROM ct_lines ORDER BY position")
    assert rows == [(None, "session", "", "{}"), ("n0", "message", "hello", None)]


def test_what_a_batch_does_to_its_session(tables: Tables) -> None:
    """The last word counts, and the first of the user's; what is not said changes nothing."""
    tables.add("a", name="N", timestamp="1970-01-01T00:00:01Z")
    before = catalogue.sessions(tables.execute, "sqlite", Filter())
    tables.grow("a", [])
    assert catalogue.sessions(tables.execute, "sqlite", Filter()) == before
    tables.grow(
        "a",
        [
            message("x", "one", ms=5000),
            message("y", "", role="assistant"),
            mark("z", name="M", archived=True, ms=7000),
            message("w", "two", type="message"),
            mark("v", leaf=None, name=None, archived=None, ms=6000),
        ],
    )
    (info,) = catalogue.sessions(tables.execute, "sqlite", Filter())
    assert (info.name, info.archived, info.leaf_id, info.entries, info.messages) == (None, False, None, 3, 3)
    assert (info.first_user_message, info.last_user_message) == ("one", "two")
    assert (info.created, info.last_activity) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:06.000Z")


def test_activity_is_never_before_the_beginning(tables: Tables) -> None:
    """What a fork has copied is older than the fork; without a time, nothing is."""
    tables.add("a", timestamp="1970-01-01T00:00:10Z")
    tables.grow("a", [message("x", ms=5000)])
    assert catalogue.place_of(tables.execute, "a") == Cursor(10_000, "a")
    tables.add("b")
    tables.grow("b", [message("x", ms=-5000)])
    assert catalogue.place_of(tables.execute, "b") == Cursor(-5000, "b")
    assert catalogue.place_of(tables.execute, "c") is None


@pytest.mark.parametrize("batches", [[0, 1, 2, 3, 4], [5], [2, 3], [1, 4], [3, 2]])
def test_a_fork_counts_what_it_has_spent_itself(tables: Tables, batches: list[int]) -> None:
    """However its lines come in: in one batch or in several."""
    parent = ParentSession(id="p", entry_id="n2")
    catalogue.add_session(tables.execute, "f", Header(id="f", parent_session=parent))
    every = [message(f"n{number}", model="m", usage=Usage(output_tokens=10**number)) for number in range(5)]
    start = 0
    sizes = [1] * 5 if len(batches) == 5 else batches
    for size in sizes:
        tables.grow("f", every[start : start + size], start + 1)
        start += size
    ((_, _, model, usage),) = catalogue.usage(tables.execute, ["f"])
    assert (model, usage) == ("m", Usage(output_tokens=11_000))


def test_models_are_in_the_order_of_use(tables: Tables) -> None:
    """One that was only chosen comes last."""
    tables.add("a")
    choice = message("c", type="model_change", role=None, model="chosen")
    answers = [message(f"n{number}", model="often" if number else "once") for number in range(3)]
    tables.grow("a", [choice, *answers])
    (info,) = catalogue.sessions(tables.execute, "sqlite", Filter())
    assert (info.models, info.usage) == (("often", "once", "chosen"), Usage())


def test_removing_a_session_leaves_nothing(tables: Tables) -> None:
    """Not a word, not a token."""
    for id in "ab":
        tables.add(id, "needle")
        tables.grow(id, [message("u", "thread", model="m", usage=Usage(output_tokens=1))], 9)
    catalogue.remove_session(tables.execute, "a")
    assert (tables.ids(), tables.search("needle")) == (["b"], [("b", "n0")])
    assert [each.session_id for each in catalogue.usage(tables.execute, ["a", "b"])] == ["b"]
    tables.execute("INSERT INTO ct_words (ct_words, rank) VALUES ('integrity-check', 1)")


def test_more_ids_than_one_question_takes(tables: Tables) -> None:
    """They are asked for in pages."""
    names = [f"s{number:04}" for number in range(1201)]
    for name in names:
        tables.add(name, parent_session=ParentSession(id=f"p{name}", kind="task"))
        tables.grow(name, [message("x", model="m", usage=Usage(output_tokens=1))])
    assert len(catalogue.usage(tables.execute, names)) == 1201
    parents = [f"p{name}" for name in names]
    assert catalogue.children(tables.execute, parents, "task") == dict(zip(names, parents, strict=True))
    assert catalogue.children(tables.execute, parents, "fork") == {}
    assert catalogue.usage(tables.execute, []) == []


@given(HOSTILE, HOSTILE, st.booleans())
def test_no_text_is_ever_part_of_a_statement(said: str, asked: str, named: bool) -> None:
    """Whatever is said or asked, what is found is what has the words."""
    tables = Tables()
    try:
        tables.add("a", said, name=said if named else None, cwd=said, owner=said, git_root=said)
        tables.add("b", "other")
        words = set(words_of(asked))
        found = words <= set(words_of(said))
        assert tables.search(asked) == (
            [("a", "n0")] if words and found else [("b", "n0")] if words == {"other"} else []
        )
        expected = ["b", "a"] if not words else ["a"] if found else ["b"] if words == {"other"} else []
        assert tables.ids(text=asked) == expected
        assert tables.ids(cwd=asked, owner=asked, git_root=asked) == (["a"] if same(asked, said) else [])
        assert tables.ids(here=(asked, None)) == (["a"] if same(asked, said) else [])
    finally:
        tables.connection.close()


def same(one: str, other: str) -> bool:
    return one.replace("\0", " ") == other.replace("\0", " ")


def test_the_order_needs_no_sorting_of_all(tables: Tables) -> None:
    """A list of the newest walks an index; so does one of a directory or an owner."""
    asked: list[str] = []
    execute: Execute = lambda sql, _: asked.append(sql) or []  # type: ignore[func-returns-value]  # noqa: E731
    for wanted in (Filter(), Filter(cwd="/x"), Filter(owner="o"), Filter(git_root="/g"), Filter(since_ms=0)):
        asked.clear()
        catalogue.sessions(execute, "sqlite", wanted, Cursor(5, "a"), 50)
        names = {"cwd": "", "owner": "", "git_root": "", "since": 0, "since_slot": 0}
        values = names | {"after_slot": 0, "after_ms": 0, "after_id": "", "limit": 1}
        plan = tables.execute(f"EXPLAIN QUERY PLAN {asked[0]}", values)
        assert "USING INDEX ct_sessions_by_" in plan[0][-1]
        assert not any("USE TEMP B-TREE FOR ORDER BY" in row[-1] for row in plan)


def test_every_statement_is_there_for_both() -> None:
    """PostgreSQL's tables have the columns of SQLite's."""
    for statement in catalogue.SCHEMA["postgresql"]:
        assert "{" not in statement
    assert set(catalogue.SCHEMA["sqlite"]) & set(catalogue.SCHEMA["postgresql"])


def test_postgresql_is_asked_for_words() -> None:
    """Without quotes: its parser of plain text knows no operators."""
    asked: list[tuple[str, Any]] = []
    execute: Execute = lambda sql, values: asked.append((sql, values)) or []  # type: ignore[func-returns-value]  # noqa: E731
    catalogue.search(execute, "postgresql", 'Rome "OR" Oslo rome', Filter(owner="o"), 5)
    catalogue.sessions(execute, "postgresql", Filter(text="Rome & Oslo", ids=()))
    assert [values["words"] for _, values in asked] == ["rome or oslo", "rome oslo"]
    assert "plainto_tsquery('simple', :words)" in asked[0][0]
    assert "IN (NULL)" in asked[1][0]
