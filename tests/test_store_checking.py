"""Damage made by hand in real databases: what `verify` of a store says, and what `repair` makes of it."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from helpers import assistant, contents, user
from postgres import new_database

from convtree import MessageEntry, SessionStore, open_store
from convtree._catalogue import tables
from convtree._cli.app import app
from convtree._engine.log import LogReplaced
from convtree._logs import sql_checking, sql_lines
from convtree._logs.memory import MemoryLog
from convtree._logs.sql_database import SqlDatabase
from convtree._session import checking
from convtree.repair import Repair, Report, verify
from convtree.stores import _checking

TEXTS = ["hello world", "second thing", "third thing"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a database is, of each kind; nothing else is in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
    else:
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    """A store with the sessions a and b of three messages each."""
    with open_store(url, create=True) as made:
        for id in ("a", "b"):
            with made.create(id=id, name=f"Name {id}", owner="ann", cwd="/x", metadata={"k": 1}) as session:
                for number, text in enumerate(TEXTS):
                    spent = {"input_tokens": 1, "output_tokens": 2, "cost": 0.5}
                    session.append(user(text), id=f"{id}{number}", model="m", provider="p", usage=spent)
        yield made


@pytest.fixture
def run(url: str, store: SessionStore) -> Iterator[Callable[..., list[Any]]]:
    """Runs a statement, as an administrator may."""
    del store
    with closing(SqlDatabase.connect(url)) as database:

        def run(sql: str, **values: Any) -> list[Any]:
            with database.writing() as execute:
                return execute(sql, values)

        yield run


Run = Callable[..., list[Any]]


def wrong(reports: list[Report]) -> dict[str, list[tuple[Any, ...]]]:
    """Returns the problems by session: codes of findings, then code, table and column of rows."""
    return {
        each.path: [
            *((finding.code,) for finding in each.findings),
            *((row.code, f"{row.table}.{row.column}" if row.column else row.table) for row in each.rows),
        ]
        for each in reports
        if each.findings or each.rows
    }


def repaired(store: SessionStore, **options: Any) -> list[tuple[str, bool, int]]:
    """Plans a repair, which changes nothing, and does it; returns what was done."""
    before = wrong(store.verify())
    planned = store.repair(**options)
    assert all(not each.done and each.needed for each in planned)
    assert wrong(store.verify()) == before
    done = store.repair(dry_run=False, **options)
    assert [each.path for each in done] == [each.path for each in planned]
    return [(each.path, each.done, len(each.removed)) for each in done]


def position_of(run: Run, id: str) -> int:
    ((position,),) = run("SELECT position FROM ct_lines WHERE id = :id", id=id)
    found: int = position
    return found


def change_line(run: Run, id: str, old: str, new: str) -> None:
    run("UPDATE ct_lines SET line = replace(line, :old, :new) WHERE id = :id", old=old, new=new, id=id)


SESSION_COLUMNS: dict[str, Any] = {
    "owner": "bob",
    "cwd": "/y",
    "git_root": "/y",
    "name": "Other",
    "name_words": " other ",
    "archived": 1,
    "held": 1,
    "kind": "task",
    "parent_id": "b",
    "parent_entry": "b1",
    "copying_to": "a1",
    "arrived_ms": 5,
    "session_key": '["k"]',
    "created_ms": 5,
    "active_ms": 5,
    "activity_bound": 5,
    "leaf_id": "a1",
    "entries": 7,
    "message_count": 7,
    "first_user": "no",
    "last_user": "no",
    "header_id": "h",
}
LINE_COLUMNS: dict[str, Any] = {
    "id": "other",
    "parent_id": "a9",
    "type": "lost",
    "role": "assistant",
    "time_ms": 5,
    "said_ms": 5,
    "visible_to": "nobody",
    "excerpt": "no",
    "words": "no",
}


def columns_of(table: str) -> set[str]:
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in tables.SCHEMA["sqlite"]:
            database.execute(statement)
        return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}


def test_every_column_has_a_case() -> None:
    """A new column that follows from the lines needs a value here."""
    compared_otherwise = {"session_id", "size", "last_crc", "rewrites"}
    assert columns_of("ct_sessions") - SESSION_COLUMNS.keys() == compared_otherwise
    assert columns_of("ct_lines") - LINE_COLUMNS.keys() == {"row", "session_id", "position", "line"}


@pytest.mark.parametrize("column", SESSION_COLUMNS)
def test_a_wrong_column_of_a_session(store: SessionStore, run: Run, column: str) -> None:
    """It is named, known to `findings`, and written anew; no line changes."""
    lines = run("SELECT session_id, position, line FROM ct_lines ORDER BY session_id, position")
    run(f"UPDATE ct_sessions SET {column} = :value WHERE session_id = 'a'", value=SESSION_COLUMNS[column])
    assert wrong(store.verify()) == {"a": [("wrong_column", f"ct_sessions.{column}")]}
    assert [(each.id, each.code) for each in store.findings] == [("a", "wrong_column")]
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert store.findings == []
    assert lines == run("SELECT session_id, position, line FROM ct_lines ORDER BY session_id, position")


@pytest.mark.parametrize("column", LINE_COLUMNS)
def test_a_wrong_column_of_a_line(store: SessionStore, run: Run, column: str) -> None:
    """It is named with the position of the line."""
    at = position_of(run, "a1")
    run(f"UPDATE ct_lines SET {column} = :value WHERE id = 'a1'", value=LINE_COLUMNS[column])
    (report,) = [each for each in store.verify() if each.rows]
    found = [(each.code, each.table, each.column, each.position) for each in report.rows]
    assert found == [("wrong_column", "ct_lines", column, at)]
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert {hit.entry_id for hit in store.search("second thing")} == {"a1", "b1"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE ct_usage SET output_tokens = 99 WHERE session_id = 'a'", [("wrong_column", "ct_usage.output_tokens")]),
        ("UPDATE ct_usage SET cost = 99 WHERE session_id = 'a'", [("wrong_column", "ct_usage.cost")]),
        ("DELETE FROM ct_usage WHERE session_id = 'a'", [("missing_row", "ct_usage")]),
        ("DELETE FROM ct_metadata WHERE session_id = 'a'", [("missing_row", "ct_metadata")]),
        ("UPDATE ct_metadata SET value = 'x' WHERE session_id = 'a'", [("wrong_column", "ct_metadata.value")]),
        ("INSERT INTO ct_metadata (session_id, name, value) VALUES ('a', 'n', 'v')", [("extra_row", "ct_metadata")]),
        ("UPDATE ct_lines SET position = position + 1 WHERE id = 'a1'", [("wrong_column", "ct_lines.position")]),
        (
            "INSERT INTO ct_snapshots (session_id, generation, part, size, data) VALUES ('a', 1, 0, 9, 'abc')",
            [("wrong_column", "ct_snapshots.data")],
        ),
    ],
)
def test_wrong_rows(store: SessionStore, run: Run, statement: str, expected: Any) -> None:
    """Usage, metadata, positions and snapshots."""
    run(statement)
    assert wrong(store.verify()) == {"a": expected}
    assert wrong(store.verify("b")) == {}
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}


def test_wrong_usage_of_copied_entries(store: SessionStore, run: Run) -> None:
    """A fork has rows for what it copied."""
    store.fork("a", "a1", new_id="f").close()
    run("UPDATE ct_copied SET input_tokens = 99 WHERE session_id = 'f' AND entry LIKE 'a1 %'")
    assert wrong(store.verify()) == {"f": [("wrong_column", "ct_copied.input_tokens")]}
    assert repaired(store) == [("f", True, 0)]
    assert wrong(store.verify()) == {}


@pytest.mark.parametrize(
    ("change", "code"),
    [("size = 5", "wrong_size"), ("size = size + 5", "wrong_size"), ("last_crc = last_crc + 1", "wrong_end")],
)
def test_a_wrong_end_is_mended(store: SessionStore, run: Run, change: str, code: str) -> None:
    """A session that may not be written to goes on after the repair, also one that is open."""
    run(f"UPDATE ct_sessions SET {change} WHERE session_id = 'a'")
    assert wrong(store.verify()) == {"a": [(code,)]}
    with store.open("a") as session:
        assert [(each.id, each.code) for each in store.findings] == [("a", code)]
        assert repaired(store) == [("a", True, 0)]
        session.refresh()
        session.append(user("more"))
        assert contents(session) == [*TEXTS, "more"]
    assert wrong(store.verify()) == {}


def test_a_last_line_that_was_deleted(store: SessionStore, run: Run) -> None:
    """The repair accepts the loss, as that of a file does."""
    run("DELETE FROM ct_lines WHERE id = 'a2'")
    assert wrong(store.verify()) == {"a": [("lines_lost",)]}
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert (store.info("a").entries, store.info("a").last_user_message) == (2, "second thing")
    with store.open("a") as session:
        session.append(user("more"))
        assert contents(session) == [*TEXTS[:2], "more"]


def test_a_middle_line_that_was_deleted(store: SessionStore, run: Run) -> None:
    """Nothing else is compared: the log says what is missing."""
    run("DELETE FROM ct_lines WHERE id = 'a1'")
    assert wrong(store.verify()) == {"a": [("orphan",), ("prev_mismatch",)]}
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {"a": [("orphan",)]}
    assert (store.info("a").entries, store.info("a").messages) == (2, 2)


def test_two_lines_that_were_swapped(store: SessionStore, run: Run) -> None:
    """Both are there, and in the wrong order. Their entries stay."""
    first, second = (run("SELECT line FROM ct_lines WHERE id = :id", id=id)[0][0] for id in ("a1", "a2"))
    run("UPDATE ct_lines SET line = :line WHERE id = 'a1'", line=second)
    run("UPDATE ct_lines SET line = :line WHERE id = 'a2'", line=first)
    found = wrong(store.verify())
    assert {code for (code, *_) in found["a"]} >= {"prev_mismatch", "orphan"}
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()).get("a", []) in ([("orphan",)], [("orphan",), ("prev_mismatch",)])
    assert {hit.entry_id for hit in store.search("thing")} == {"a1", "a2", "b1", "b2"}


def test_a_byte_that_was_changed(store: SessionStore, run: Run, tmp_path: Path) -> None:
    """The line is removed, and kept in a log of its own; without a place for that, nothing is changed."""
    change_line(run, "a1", "second", "secund")
    assert wrong(store.verify()) == {"a": [("bad_seal",), ("orphan",)]}
    with store.open("b") as other, store.open("a") as session:
        (refused,) = store.repair(dry_run=False)
        assert (refused.done, refused.error) == (
            False,
            f"{store.location}#a: lines would be removed, and this store keeps no copy of them; pass originals=FOLDER "
            "(or --originals FOLDER), and the log is written there as it is now",
        )
        assert wrong(store.verify()) == {"a": [("bad_seal",), ("orphan",)]}
        assert repaired(store, originals=tmp_path / "olds") == [("a", True, 1)]
        session.refresh()
        session.branch("a0")
        session.append(user("more"))
        other.append(user("more"))
    assert wrong(store.verify()) == {"a": [("orphan",)]}
    kept = verify(tmp_path / "olds" / "a.jsonl")
    assert [finding.code for finding in kept.findings] == ["bad_seal", "orphan"]
    assert b"secund" in (tmp_path / "olds" / "a.jsonl").read_bytes()


@pytest.mark.parametrize("value", ["NULL", "''", "'\\xzz'", "'text'"])
def test_a_line_that_is_no_line(store: SessionStore, run: Run, tmp_path: Path, value: str) -> None:
    """Whatever is stored in its place is damage, and no error."""
    run(f"UPDATE ct_lines SET line = {value} WHERE id = 'a1'")
    found = wrong(store.verify())
    assert found["a"][-1] in [("orphan",), ("prev_mismatch",)]
    assert repaired(store, originals=tmp_path)[0][:2] == ("a", True)
    assert wrong(store.verify()) == {"a": [("orphan",)]}


def test_rejoining_keeps_the_place_of_a_line(store: SessionStore, run: Run, tmp_path: Path) -> None:
    """A lost entry stands there; the true one can be put back. A second repair finds a file where its own would go."""
    with store.open("a", read_only=True) as session:
        entry = session.path()[1]
    change_line(run, "a1", "second", "secund")
    (done,) = store.repair("a", dry_run=False, rejoin=True, originals=tmp_path)
    assert (done.done, [each.entry_id for each in done.rejoined]) == (True, ["a1"])
    assert done.original == str(tmp_path / "a.jsonl")
    assert wrong(store.verify()) == {"a": [("lost_entry",)]}
    with store.open("a") as session:
        assert isinstance(entry, MessageEntry)
        session.extend([entry])
        assert contents(session) == TEXTS
    assert wrong(store.verify()) == {}
    change_line(run, "a2", "third", "thyrd")
    (refused,) = store.repair("a", dry_run=False, originals=tmp_path)
    assert refused.error == f"{tmp_path}/a.jsonl: there is something here already; choose another path"


def test_a_damaged_header(store: SessionStore, run: Run, tmp_path: Path) -> None:
    """A new one has the id. What it said besides is in the log that was kept."""
    run("UPDATE ct_lines SET line = replace(line, 'ann', 'eve') WHERE session_id = 'a' AND position = 0")
    assert wrong(store.verify()) == {"a": [("bad_header",)]}
    assert repaired(store, originals=tmp_path) == [("a", True, 1)]
    assert wrong(store.verify()) == {}
    assert (store.info("a").owner, store.info("a").entries) == (None, 3)


def test_a_session_without_a_row(store: SessionStore, run: Run) -> None:
    """Its lines are there: the row is made of them."""
    run("DELETE FROM ct_sessions WHERE session_id = 'a'")
    expected = [("missing_row", "ct_sessions"), ("extra_row", "ct_usage"), ("extra_row", "ct_metadata")]
    assert wrong(store.verify()) == {"a": expected}
    assert wrong(store.verify("a")) == {"a": expected}
    assert [(each.id, each.code) for each in store.findings] == [("a", "missing_row")]
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert store.info("a").owner == "ann"
    with store.open("a") as session:
        assert contents(session) == TEXTS


def test_rows_of_no_session(store: SessionStore, run: Run) -> None:
    """They are deleted. Nothing happens to the session that begins meanwhile."""
    run("INSERT INTO ct_metadata (session_id, name, value) VALUES ('gone', 'n', 'v')")
    assert wrong(store.verify()) == {"gone": [("extra_row", "ct_metadata")]}
    assert repaired(store, ids="gone") == [("gone", True, 0)]
    assert wrong(store.verify()) == {}
    assert store.findings == []
    store._backend.restore_session("a")  # type: ignore[attr-defined]  # as if it had begun meanwhile
    assert wrong(store.verify()) == {}


def test_findings_name_what_an_open_found(store: SessionStore, run: Run) -> None:
    """Without a look at the other sessions; a session that was deleted is left out."""
    change_line(run, "a1", "second", "secund")
    change_line(run, "b1", "second", "secund")
    assert store.findings == []
    store.open("a", read_only=True).close()
    assert [(each.id, each.place, each.code) for each in store.findings] == [("a", "a", "bad_seal")]
    store.search("third")
    assert [(each.id, each.code) for each in store.scoped(owner="ann").findings] == [
        ("a", "bad_seal"),
        ("b", "bad_seal"),
    ]
    assert store.scoped(owner="bob").findings == []
    store.delete("b")
    assert [each.id for each in store.findings] == ["a"]


def test_a_scope_compares_its_rows(store: SessionStore, run: Run) -> None:
    """And repairs its own sessions."""
    run("UPDATE ct_sessions SET name = 'x'")
    ann, bob = store.scoped(owner="ann"), store.scoped(owner="bob")
    assert wrong(ann.verify()) == {id: [("wrong_column", "ct_sessions.name")] for id in ("a", "b")}
    assert bob.verify() == []
    assert [(each.path, each.done) for each in ann.repair("a", dry_run=False)] == [("a", True)]
    assert wrong(store.verify()) == {"b": [("wrong_column", "ct_sessions.name")]}


def test_many_lines_are_compared_in_parts(store: SessionStore, run: Run) -> None:
    """Rows that are missing, and rows of no line, in every part; only so many differences are listed."""
    with store.open("a") as session:
        session.append_many([user(f"text {number}") for number in range(1200)])
    run("UPDATE ct_lines SET excerpt = 'x' WHERE session_id = 'a' AND type = 'message'")
    (report,) = store.verify("a")
    assert [(row.code, row.column) for row in report.rows] == [("wrong_column", "excerpt")] * 1203
    with patch.object(sql_checking, "FINDING_LIMIT", 7):
        assert len(store.verify("a")[0].rows) == 7


def test_a_log_that_cannot_be_read(store: SessionStore) -> None:
    """It is a report, and does not keep the others from being checked."""

    def failing(path: str, log: Any) -> Any:
        raise OSError(f"{path} {type(log).__name__} fails")

    check = checking.check_log

    def check_b(log: Any, path: str) -> Report:
        return check(log, path) if path == "b" else failing(path, log)

    with patch.object(checking, "check_log", check_b):
        reports = store.verify()
    assert [(each.path, each.error, each.damaged) for each in reports] == [
        ("a", "a SqlLog fails", True),
        ("b", None, False),
    ]
    assert [finding.code for finding in reports[0].findings] == ["unreadable"]
    with patch.object(sql_lines, "write_lines", side_effect=sqlite3.OperationalError("disk is full")):
        assert store.verify("a")[0].error == f"{store.location}#a: comparing its tables failed: disk is full"
    with patch.object(checking, "check_log", side_effect=LogReplaced):
        assert store.verify("a")[0].error == f"{store.location}: 'a' is replaced faster than it can be read"


def test_a_transaction_that_is_rolled_back_writes_the_old_log_once(
    store: SessionStore, run: Run, tmp_path: Path
) -> None:
    """The second try writes it again, and does not stop at the file of the first."""
    change_line(run, "a1", "second", "secund")
    build = _checking._Repairing.build

    def twice(work: Any, log: Any, held: Any) -> Any:
        build(work, log, held)
        return build(work, log, held)

    with patch.object(_checking._Repairing, "build", twice):
        assert repaired(store, originals=tmp_path) == [("a", True, 1)]
    assert [each.name for each in tmp_path.glob("*.jsonl")] == ["a.jsonl"]


# --- the index of words -------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[tuple[SessionStore, sqlite3.Connection]]:
    """A store in SQLite, and a connection to its file."""
    with (
        open_store(f"sqlite:///{tmp_path}/store.db") as store,
        closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection,
    ):
        with store.create(id="a") as session:
            session.append_many([user(f"text number{number} {'same ' * 20}") for number in range(700)])
        yield store, connection


@pytest.mark.parametrize(
    ("table", "column"),
    [("ct_lines", "line"), ("ct_lines", "excerpt"), ("ct_sessions", "name"), ("ct_metadata", "value")],
)
def test_bytes_that_are_no_text(
    lite: tuple[SessionStore, sqlite3.Connection], tmp_path: Path, table: str, column: str
) -> None:
    """PostgreSQL refuses them. In SQLite they are damage of their session, or wrong beside its lines."""
    store, connection = lite
    with store.create(id="b", name="B", metadata={"k": "v"}) as session:
        entry = session.append(user("one"))
        session.append(user("two"))
    id = entry.id if table == "ct_lines" else "b"
    connection.execute(
        f"UPDATE {table} SET {column} = CAST(x'ff' || CAST({column} AS BLOB) AS TEXT) "
        f"WHERE {'id' if table == 'ct_lines' else 'session_id'} = ?",
        [id],
    )
    assert [each.id for each in store.list()] == ["b", "a"]
    found = [("bad_seal",), ("orphan",)] if column == "line" else [("wrong_column", f"{table}.{column}")]
    assert wrong(store.verify()) == {"b": found}
    assert repaired(store, originals=tmp_path / "olds") == [("b", True, 1 if column == "line" else 0)]
    assert wrong(store.verify()) == ({"b": [("orphan",)]} if column == "line" else {})
    if column == "line":
        assert b'\xff{"id":' in (tmp_path / "olds" / "b.jsonl").read_bytes()


def test_a_line_that_is_stored_as_bytes_counts_when_its_session_is_deleted(
    lite: tuple[SessionStore, sqlite3.Connection],
) -> None:
    """SQLite keeps the type that a value comes with; the line is as good as its text."""
    store, connection = lite
    with store.create(id="b") as session:
        session.append(assistant("one"), model="m", usage={"output_tokens": 7})
    connection.execute("UPDATE ct_lines SET line = CAST(line AS BLOB) WHERE session_id = 'b'")
    store.delete("b")
    assert [row.usage.output_tokens for row in store.ledger()] == [7]


def test_an_index_without_words(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """It is made anew, and the search finds them."""
    store, connection = lite
    connection.execute("INSERT INTO ct_terms (ct_terms) VALUES ('delete-all')")
    assert store.search("number7") == []
    assert wrong(store.verify()) == {"a": [("wrong_index", "ct_terms.words")] * 671}  # the last 29 may come later
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert len(store.search("number7")) == 1


def test_an_index_with_other_words_than_the_line(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """SQLite's index of words is compared with them, too."""
    store, connection = lite
    connection.execute("UPDATE ct_lines SET words = 'other' WHERE row = 9")
    assert wrong(store.verify()) == {"a": [("wrong_column", "ct_lines.words"), ("wrong_index", "ct_terms.words")]}
    assert repaired(store) == [("a", True, 0)]
    assert wrong(store.verify()) == {}
    assert len(store.search("number7")) == 1


def test_an_index_with_words_of_no_line(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """They belong to no session; the report has the location of the store."""
    store, connection = lite
    connection.execute("INSERT INTO ct_terms (rowid, words) VALUES (9999, 'ghost')")
    with patch.object(sql_checking, "_INSTANCES", 1000):
        assert wrong(store.verify()) == {store.location: [("wrong_index", "ct_terms")]}
    assert repaired(store) == [(store.location, True, 0)]
    assert wrong(store.verify()) == {}


def test_an_index_that_cannot_be_read(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """Its tables are damaged."""
    store, connection = lite
    connection.execute("UPDATE ct_terms_data SET block = x'00' WHERE id > 10")
    assert wrong(store.verify()) == {store.location: [("wrong_index", "ct_terms")]}
    assert repaired(store) == [(store.location, True, 0)]
    assert wrong(store.verify()) == {}


def test_an_index_with_wrong_totals(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """They weigh the hits of a search, which finds as many as before."""
    store, connection = lite
    before = len(store.search("number7")), len(store.search("same", limit=1000))
    connection.execute("UPDATE ct_terms_data SET block = x'0101' WHERE id = 1")
    assert (len(store.search("number7")), len(store.search("same", limit=1000))) == before
    assert wrong(store.verify()) == {store.location: [("wrong_index", "ct_terms")]}
    assert repaired(store) == [(store.location, True, 0)]
    assert wrong(store.verify()) == {}


def test_an_index_without_the_size_of_a_line(lite: tuple[SessionStore, sqlite3.Connection]) -> None:
    """SQLite refuses to rank it."""
    store, connection = lite
    connection.execute("DELETE FROM ct_terms_docsize WHERE id = 9")
    with pytest.raises(OSError, match="malformed"):
        store.search("same", limit=1000)
    assert wrong(store.verify()) == {"a": [("wrong_index", "ct_terms.words")]}
    assert repaired(store) == [("a", True, 0)]
    assert (wrong(store.verify()), len(store.search("same", limit=1000))) == ({}, 700)


# --- folders and memory -------------------------------------------------------------------------------------------


def test_a_folder_keeps_its_original(tmp_path: Path) -> None:
    """As the repair of the file does. A file that is no log is reported."""
    with open_store(tmp_path / "store") as store:
        with store.create(id="a") as session:
            for text in TEXTS:
                session.append(user(text))
        log = tmp_path / "store" / "a.jsonl"
        log.write_bytes(log.read_bytes().replace(b"second", b"secund"))
        (tmp_path / "store" / "x.jsonl").write_text("no log\n")
        assert wrong(store.verify()) == {"a": [("bad_seal",), ("orphan",)], "x": [("not_a_log",)]}
        done = store.repair(dry_run=False)
        assert [(each.path, each.done, each.original) for each in done] == [
            ("a", True, f"{log}.original"),
            ("x", False, None),
        ]
        assert wrong(store.verify()) == {"a": [("orphan",)], "x": [("not_a_log",)]}


def test_memory(tmp_path: Path) -> None:
    """Lines in memory can be damaged, too."""
    with open_store("memory:") as store:
        with store.create(id="a") as session:
            for text in TEXTS:
                session.append(user(text))
        lines = store._backend._logs["a"]._lines  # type: ignore[attr-defined]  # as a bit may flip
        lines[2] = lines[2].replace(b"second", b"secund")
        store._backend._catalogue._known.stamps.clear()  # type: ignore[attr-defined]
        assert wrong(store.verify()) == {"a": [("bad_seal",), ("orphan",)]}
        assert repaired(store, originals=tmp_path) == [("a", True, 1)]
        assert wrong(store.verify()) == {"a": [("orphan",)]}
        assert isinstance(store._backend.log("a", "r"), MemoryLog)


# --- the command line ---------------------------------------------------------------------------------------------


def call(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_commands(url: str, run: Run, tmp_path: Path) -> None:
    """Without ids, a store lists what is wrong; with them, each."""
    at = position_of(run, "a1")
    assert call("verify", "-s", url) == (0, "2 sessions checked, 0 with problems\n", "")
    assert call("repair", "-s", url) == (0, "nothing to repair\n", "")
    run("UPDATE ct_sessions SET name = 'x' WHERE session_id = 'b'")
    code, out, _ = call("verify", "-s", url, "b")
    ((size,),) = run("SELECT size FROM ct_sessions WHERE session_id = 'b'")
    problem = "warning wrong_column: ct_sessions.name: does not say what the lines say; a repair writes it anew"
    assert (code, out) == (1, f"b: good (3 entries, 0 marks, {size}B)\n  {problem}\n")
    assert call("repair", "-s", url) == (
        1,
        "b: would be repaired (3 records kept, 0 pieces removed, 1 place of tables); add --yes to repair\n"
        f"  to write anew: {problem}\n",
        "",
    )
    assert call("repair", "-s", url, "--yes") == (
        0,
        f"b: repaired (3 records kept, 0 pieces removed, 1 place of tables)\n  written anew: {problem}\n",
        "",
    )
    change_line(run, "a1", "second", "secund")
    code, out, _ = call("verify", "-s", url)
    assert (code, out.splitlines()[0].split(" (")[0], out.splitlines()[-1]) == (
        5,
        "a: damaged",
        "2 sessions checked, 1 with problems",
    )
    assert call("repair", "-s", url, "a", "--yes")[0] == 1
    code, out, _ = call("repair", "-s", url, "a", "--yes", "--originals", tmp_path, "--json")
    document = json.loads(out)
    assert (code, document["schema"], len(document["repairs"])) == (1, "convtree.repairs", 1)
    done = document["repairs"][0]
    assert (done["path"], done["done"], done["original"], done["error"]) == ("a", True, f"{tmp_path}/a.jsonl", None)
    assert [(each["code"], each["offset"]) for each in done["removed"]] == [("bad_seal", at)]
    code, out, _ = call("verify", "-s", url, "a", "b", "--json")
    assert [(each["path"], each["damaged"], each["rows"]) for each in json.loads(out)["logs"]] == [
        ("a", True, []),
        ("b", False, []),
    ]
    assert call("verify", "-s", url, "nope")[0] == 3


def test_wrong_usage_of_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log or a store, not both."""
    store = tmp_path / "store"
    with open_store(store) as made, made.create(id="a") as session:
        session.append(user("x"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    for arguments, message in (
        (["verify"], "Missing argument 'LOG': the path of a log, or --store URL for the sessions of a store."),
        (["repair"], "Missing argument 'LOG': the path of a log, or --store URL for the sessions of a store."),
        (["repair", "x", "y", "--from", "x"], "--from takes one LOG: COPY is a copy of it"),
        (["repair", "x", "--originals", "y"], "--originals needs --store; a file is kept as LOG.original"),
        (
            ["repair", "-s", store, "--allow-network"],
            "--allow-network is for a LOG that is a file; leave it out with --store",
        ),
    ):
        code, _, err = call(*arguments)
        assert (code, err.splitlines()[-1]) == (2, f"Error: {message}")
    (store / "x.jsonl").write_text("no log\n")
    code, out, _ = call("verify", "-s", store)
    assert (code, out.splitlines()[-1]) == (5, "2 sessions checked, 1 with problems")
    assert "x.jsonl: " in out
    code, out, _ = call("verify", "-s", store, "--json")
    assert [each["path"] for each in json.loads(out)["failed"]] == ["x"]


def test_many_places_are_counted() -> None:
    """The commands list the first thousand."""
    from convtree._cli.checking import _repair_lines
    from convtree._cli.terminal import Terminal
    from convtree.repair import RowFinding

    row = RowFinding(code="extra_row", severity="warning", table="ct_usage", key="p \x1b[31m")
    done = Repair(path="a", needed=True, kept=0, removed=(), remaining=(), rows=(row,) * 1001)
    lines = list(_repair_lines(done, Terminal()))
    assert (len(lines), lines[-1]) == (1002, "  and 1 more row")
    assert "\x1b" not in lines[1]


def test_rows_of_no_session_are_named_where_they_are_asked_for(tmp_path: Path) -> None:
    """A check of one session says nothing of the rows of another."""
    url = f"sqlite:///{tmp_path}/s.db"
    with open_store(url) as store:
        for id in "ab":
            with store.create(id=id) as session:
                session.append(user(id))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute("DELETE FROM ct_sessions WHERE session_id = 'b'")
    raw.close()
    with open_store(url) as store:
        assert [(report.path, bool(report.rows)) for report in store.verify(["a"])] == [("a", False)]
