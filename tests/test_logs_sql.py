"""The log in a database: the contract over SQLite and PostgreSQL, and what only a database can do."""

import gc
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import cycle
from pathlib import Path
from threading import Barrier, Thread, Timer
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
import sqlalchemy
from helpers import HEADER, adding, contents, ids, mark, node, sealed, user
from log_contract import LINES, LogContract, add, end_of, everything, kept
from postgres import Server, new_database, private_server

from convtree import (
    ConvtreeError,
    EntryNotFound,
    Header,
    OutcomeUnknown,
    ReadOnlySession,
    Session,
    SessionClosed,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
    StaleLeaf,
)
from convtree._catalogue import queries, tables
from convtree._catalogue.types import Filter
from convtree._engine.bulk import verify_chain
from convtree._engine.journal import Journal
from convtree._engine.log import Addition, Chunk, Log, LogReplaced, Mode
from convtree._logs import sql_lines, sqlite_connections
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_errors import CallRefused, RolledBack, TablesMissing
from convtree._logs.sql_transaction import Transaction
from convtree._logs.sql_whole import write_session
from convtree._model.errors import InvalidMessage

WRITER = """
import sys
from convtree import Header, Session
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql import SqlLog
import time
url, id, name, count = sys.argv[1:]
database = SqlDatabase.connect(url, durability="process", lock_timeout_s=60)
session = Session(SqlLog(database, id), Header(id=id), on_stale="rebase")
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    began = time.perf_counter()
    session.append({"role": "user", "content": f"{name}-{number}"})
    print(f"{name}-{number} {time.perf_counter() - began:.4f}", flush=True)
"""


class TestSqlite(LogContract):
    """A file of SQLite's."""

    def open_log(self, place: Path) -> Log:
        """A pool of connections each time."""
        database = SqlDatabase.connect(f"sqlite:///{place}/log.db", durability="process")
        database.create_tables()
        return SqlLog(database, "s1")


class TestPostgres(LogContract):
    """A server."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_url: str) -> Iterator[None]:
        self.database = SqlDatabase.connect(postgres_url)
        self.database.create_tables()
        yield
        self.database.close()

    def open_log(self, place: Path) -> Log:
        """A session for each place."""
        return SqlLog(self.database, "s" + place.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database is, of each kind."""
    if request.param == "postgresql":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def database(url: str) -> Iterator[SqlDatabase]:
    """A database with its tables."""
    with closing(SqlDatabase.connect(url, durability="process")) as opened:
        opened.create_tables()
        yield opened


@pytest.fixture
def id(request: pytest.FixtureRequest) -> str:
    """An id for the session of a test."""
    return f"t{crc32(request.node.nodeid.encode()):x}"


def session_in(database: SqlDatabase, id: str, mode: Mode = "a", **arguments: Any) -> Session:
    return Session(SqlLog(database, id, mode=mode), Header(id=id), read_only=mode == "r", **arguments)


def rows(database: SqlDatabase, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with database.reading() as execute:
        return [tuple(row) for row in execute(sql, values)]


def run_sql(database: SqlDatabase, sql: str, **values: Any) -> None:
    with database.writing() as execute:
        execute(sql, values)


def assert_whole(database: SqlDatabase, id: str) -> list[bytes]:
    """Makes sure that a log has no gap and that its lines follow each other; returns them."""
    log = SqlLog(database, id, mode="r")
    chunks = list(log.read())
    lines = [line for chunk in chunks for line in chunk.lines]
    positions = [position for chunk in chunks for position in chunk.positions]
    assert positions[0] == 0
    ends = [position + len(line) + 1 for position, line in zip(positions, lines, strict=True)]
    assert positions[1:] == ends[:-1]
    assert verify_chain(lines, 0)[0] == len(lines)
    assert rows(database, "SELECT size FROM ct_sessions WHERE session_id = :id", id=id) == [(ends[-1],)]
    return lines


# --- a session over it ---


def test_a_session_lives_in_a_database(database: SqlDatabase, id: str) -> None:
    """Append, branch and label, and all of it again after opening."""
    with session_in(database, id) as session:
        first = session.append(user("a"))
        session.append(user("b"), provider="p", model="m", usage={"input_tokens": 3, "output_tokens": 4})
        session.append(user("c"), parent_id=first.id)
        session.branch(first.id)
        session.label(first.id, "here")
        session.rename("trip")
        session.append(user("d"))
    with session_in(database, id, "r") as session:
        assert contents(session) == ["a", "d"]
        assert session.labels == {first.id: "here"}
        assert (session.name, session.findings) == ("trip", ())
        assert len(session.leaves()) == 3
    assert_whole(database, id)
    with database.reading() as execute:
        [(info, _, _)] = queries.sessions(execute, database.dialect, Filter(ids=(id,)))
    assert (info.name, info.entries, info.messages, info.models) == ("trip", 4, 4, ("m",))
    assert (info.first_user_message, info.last_user_message) == ("a", "d")
    assert info.usage.total_tokens == 7


def test_two_sessions_see_each_other(database: SqlDatabase, id: str) -> None:
    """Stale, rebased, branched, refreshed and followed, as with a file."""
    ours, theirs = session_in(database, id), session_in(database, id)
    first = ours.append(user("a"))
    assert ids(theirs.refresh()) == [first.id]
    second = theirs.append(user("b"))
    with pytest.raises(StaleLeaf):
        ours.append(user("c"))
    rebased = ours.append(user("c"), on_stale="rebase")
    assert rebased.parent_id == second.id
    sibling = theirs.append(user("d"), on_stale="branch")
    assert sibling.parent_id == second.id
    assert sibling.id in ids(ours.follow(timeout_s=0))
    under = ours.append(user("e"), parent_id=sibling.id)
    assert theirs.append(user("e"), parent_id=under.id).parent_id == under.id
    assert_whole(database, id)


def test_a_retry_writes_nothing(database: SqlDatabase, id: str) -> None:
    """Whether this session knows the entry, or another has stored it meanwhile."""
    ours, theirs = session_in(database, id), session_in(database, id)
    ours.append(user("a"), id="a1")
    assert ours.append(user("a"), id="a1").id == "a1"
    theirs.refresh()
    theirs.append(user("b"), id="b1")
    assert ours.append(user("b"), id="b1", parent_id="a1").id == "b1"
    assert len(assert_whole(database, id)) == 3


def test_an_entry_that_was_not_yet_read_can_be_a_parent(database: SqlDatabase, id: str) -> None:
    """It is found under the lock, if another session wrote it. An unknown id raises EntryNotFound."""
    ours, theirs = session_in(database, id), session_in(database, id)
    ours.append(user("a"), id="a1")
    theirs.refresh()
    theirs.append(user("b"), id="b1")
    assert ours.append(user("c"), parent_id="b1").parent_id == "b1"
    with pytest.raises(EntryNotFound):
        ours.append(user("d"), parent_id="nowhere")
    assert len(assert_whole(database, id)) == 4


def test_modes(database: SqlDatabase, id: str) -> None:
    """r and r+ need a session, x needs that there is none, and a reader cannot write."""
    for mode in ("r", "r+"):
        with pytest.raises(SessionNotFound):
            SqlLog(database, id, mode=mode)
    first, second = (SqlLog(database, id, mode="x") for _ in range(2))
    add(first, *LINES[:2], position=0)
    add(first, LINES[2])
    assert everything(second) == []
    with pytest.raises(SessionExists):
        add(second, *LINES[:2], position=0)
    with pytest.raises(SessionExists):
        SqlLog(database, id, mode="x")
    reader = SqlLog(database, id, mode="r")
    with pytest.raises(ReadOnlySession):
        add(reader, LINES[3])
    reader.save_snapshot(0, [b"x"])
    assert kept(first) is None
    with pytest.raises(InvalidMessage):
        SqlLog(database, "../x")
    assert everything(SqlLog(database, id, mode="r+")) == LINES[:3]


def test_of_two_that_create_a_session_one_waits(url: str, database: SqlDatabase, id: str) -> None:
    """Both transactions insert the session: one waits, is rolled back, and tries again."""
    logs = [SqlLog(database, id, mode="x") for _ in range(4)]
    outcomes: list[object] = []

    def begin(log: SqlLog) -> None:
        try:
            outcomes.append(add(log, *LINES, position=0).end)
        except SessionExists:
            outcomes.append(SessionExists)

    threads = [Thread(target=begin, args=[log]) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(SessionExists) == 3, url
    assert everything(SqlLog(database, id)) == LINES


def test_a_session_that_was_deleted_is_gone(database: SqlDatabase, id: str) -> None:
    """Also for sessions that have it open; another session with its id is read from the start."""
    session = session_in(database, id)
    session.append(user("a"))
    log = SqlLog(database, id)
    log.save_snapshot(end_of(log), [b"x"])
    database.transact(lambda execute: tables.remove_session(execute, id))
    for name in ("lines", "sessions", "usage", "snapshots"):
        assert rows(database, f"SELECT * FROM ct_{name} WHERE session_id = :id", id=id) == []
    with pytest.raises(SessionNotFound):
        session.refresh()
    with pytest.raises(SessionNotFound):
        session.append(user("b"))
    header = HEADER.replace("null", '"2026-01-01T00:00:00.000000Z"')
    lines = sealed([header, node("z", None)])
    write_session(database, id, lines)
    with pytest.raises(LogReplaced):
        log.append(end_of(SqlLog(database, id)), adding(end_of(SqlLog(database, id)), LINES[3:4]))
    with pytest.raises(LogReplaced):
        list(SqlLog(database, id).read(10**9))
    assert contents(session_in(database, id)) == ["z"]
    session.refresh()
    assert session.leaf_id == "z"


def test_a_whole_session_is_written_at_once(database: SqlDatabase, id: str) -> None:
    """Or not at all; lines of a damaged log as they are."""
    lines = [*LINES, LINES[2], b"\xff\x00", b"\\x41", *sealed([node(f"m{number}", "n1") for number in range(1200)])]

    def torn() -> Iterator[bytes]:
        yield from lines
        raise OSError("torn")

    with pytest.raises(OSError, match="torn"):
        write_session(database, id, torn())
    with pytest.raises(SessionNotFound):
        SqlLog(database, id, mode="r")
    write_session(database, id, lines)
    assert everything(SqlLog(database, id, mode="r")) == lines
    with pytest.raises(SessionExists):
        write_session(database, id, lines)
    found = rows(database, "SELECT COUNT(*), COUNT(id) FROM ct_lines WHERE session_id = :id", id=id)
    assert found == [(len(lines), len(lines) - 4)]


def test_marks_of_groups_are_stored_as_lines_only(database: SqlDatabase, id: str) -> None:
    """They come in with the lines of a file, and are no records."""
    lines = sealed([HEADER, mark("g", "group", count=2), node("a", None), node("b", "a")])
    write_session(database, id, lines)
    assert everything(SqlLog(database, id, mode="r")) == lines
    found = rows(database, "SELECT id, type FROM ct_lines WHERE session_id = :id ORDER BY position", id=id)
    assert found == [(None, "session"), (None, ""), ("a", "message"), ("b", "message")]


def test_another_writer_costs_no_look_at_ids(database: SqlDatabase, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of the columns are looked up after one of them was taken, not after every lost race."""
    one, other = SqlLog(database, id), SqlLog(database, id)
    add(one, *LINES[:2])
    for name in ("stored_ids", "take_lost_ids"):
        monkeypatch.setattr(sql_lines, name, lambda *_arguments: pytest.fail("ids were looked up"))
    add(other, LINES[2])
    add(one, LINES[3], position=end_of(one) - len(LINES[2]) - 1)
    assert everything(one) == LINES[:4]


def test_a_lost_entry_that_comes_back_in_a_later_batch(database: SqlDatabase, id: str) -> None:
    """It has the id in the tables, and is counted once."""
    texts = [HEADER, node("a", None, "lost"), *(node(f"n{number}", "a") for number in range(600)), node("a", None)]
    write_session(database, id, sealed(texts))
    assert rows(database, "SELECT type FROM ct_lines WHERE session_id = :id AND id = 'a'", id=id) == [("message",)]
    found = rows(database, "SELECT entries, message_count, leaf_id FROM ct_sessions WHERE session_id = :id", id=id)
    assert found == [(601, 601, "n599")]


def test_the_id_of_a_lost_entry_is_not_taken(database: SqlDatabase, id: str) -> None:
    """The entry itself may be stored after it, at once or later."""
    lines = sealed([HEADER, node("a", None), node("b", "a", "lost"), node("b", "a", "lost"), node("b", "a")])
    write_session(database, id, lines)
    write_session(database, id + "-2", lines[:3])
    log = SqlLog(database, id + "-2")
    log.append(end_of(log), adding(end_of(log), lines[4:]))
    for each in (id, id + "-2"):
        found = rows(database, "SELECT type FROM ct_lines WHERE session_id = :id AND id = 'b'", id=each)
        assert found == [("message",)]


def test_of_two_that_write_a_session_one_is_refused(database: SqlDatabase, id: str) -> None:
    """Also if both started before either was stored."""
    outcomes: list[object] = []

    def lines() -> Iterator[bytes]:
        time.sleep(0.05)
        yield from LINES

    def write() -> None:
        try:
            write_session(database, id, lines())
            outcomes.append(None)
        except SessionExists:
            outcomes.append(SessionExists)

    threads = [Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [None, SessionExists]))
    assert everything(SqlLog(database, id)) == LINES


def test_a_damaged_header_is_stored_as_it_is(database: SqlDatabase, id: str) -> None:
    """Only the catalogue lacks what it said."""
    lines = [HEADER.replace('"s1"', "1").encode(), *LINES[1:]]
    write_session(database, id, lines)
    assert everything(SqlLog(database, id)) == lines


def test_a_fork_keeps_its_ids_and_counts_nothing_twice(database: SqlDatabase, id: str) -> None:
    """The usage of copied entries counts in the parent session, while that is in the store."""
    parent = f'"parent_session":{{"id":"{id}-parent","entry_id":"n1","kind":"fork"}},"seal"'
    header = HEADER.replace('"s1"', f'"{id}"').replace('"seal"', parent)  # another session with this header would count
    texts = [node(f"n{number}", None, model="m", usage={"input_tokens": 1}) for number in range(3)]
    write_session(database, id, sealed([header, *texts]))
    with session_in(database, id) as session:
        session.append(user("x"), model="m", usage={"input_tokens": 10})
    with database.reading() as execute:
        assert sum(spent.usage.input_tokens for spent in queries.usage(execute, [id])) == 13
    write_session(database, f"{id}-parent", sealed([HEADER.replace('"s1"', f'"{id}-parent"'), *texts]))
    with database.reading() as execute:
        assert sum(spent.usage.input_tokens for spent in queries.usage(execute, [id])) == 11


def test_any_text_comes_back(database: SqlDatabase, id: str) -> None:
    """NUL and lone surrogates escaped, every plane, a megabyte; in the columns, too."""
    texts = ["\0", "ą̈😀\u2028", "x" * 2**20, "'; DROP TABLE ct_lines; --", ":name %s %(x)s"]
    with session_in(database, id) as session:
        session.append_many([user(text) for text in texts], provider="\0", model="\0")
        session.rename("\0")
    with session_in(database, id, "r") as session:
        assert contents(session) == texts
    odd = HEADER.replace('"seal"', '"cwd":"\\u0000\\ud800","name":"\\u0000","seal"')
    write_session(database, id + "-odd", sealed([odd, node("a", None)]))
    assert contents(session_in(database, id + "-odd")) == ["a"]


def test_bytes_are_read_from_anywhere(database: SqlDatabase, id: str) -> None:
    """As they would stand in a file, up to its end."""
    log = SqlLog(database, id)
    lines = [*LINES, *(b"%d" % number * (number % 7 + 1) for number in range(600))]
    chunk = add(log, *lines)
    whole = b"".join(line + b"\n" for line in lines)
    for span in [
        (0, 10),
        (5, 300),
        (len(whole) - 4096, 4096),
        (len(whole) - 1, 1),
        (len(whole), 5),
        (0, len(whole) + 9),
    ]:
        assert log.read_at([span]) == [whole[span[0] :][: span[1]]]
    spans = [(position, len(line)) for position, line in zip(chunk.positions, lines, strict=True)]
    assert log.read_at(spans) == lines
    assert log.read_at(spans[::5]) == lines[::5]
    assert log.read_at([spans[0], spans[-1]]) == [lines[0], lines[-1]]
    run_sql(database, "DELETE FROM ct_lines WHERE session_id = :id AND position = :at", id=id, at=spans[3][0])
    assert log.read_at([spans[3], spans[4]]) == [b"", lines[4]]
    assert log.read_at([(0, len(whole))]) == [b"".join(line + b"\n" for line in lines[:3])]
    assert log.read_at([]) == []
    assert everything(log) == lines[:3] + lines[4:]


def test_a_gap_is_a_finding(database: SqlDatabase, id: str) -> None:
    """Deleted rows are noticed, wherever they were."""
    with session_in(database, id) as session:
        session.append_many([user("x" * 30_000) for _ in range(30)])  # too little for an index
    run_sql(database, "DELETE FROM ct_lines WHERE session_id = :id AND position > 4000 AND position < 800000", id=id)
    assert session_in(database, id, "r").findings != ()


# --- snapshots ---


@pytest.mark.no_cover
def test_a_snapshot_is_saved_and_used(database: SqlDatabase, id: str) -> None:
    """Opening reads only the lines after it."""
    with session_in(database, id) as session:
        for _ in range(5):
            session.append_many([user("x" * 50) for _ in range(1000)])
        covered = end_of(SqlLog(database, id))
        leaf = session.append(user("last"))
    assert kept(SqlLog(database, id)) is not None
    log = SqlLog(database, id)
    starts: list[int] = []
    read = log.read

    def watched(position: int = 0) -> Iterator[Chunk]:
        starts.append(position)
        return read(position)

    with patch.object(log, "read", watched):
        ledger = Journal.open(log)
    assert starts == [covered]
    assert ledger.index.state.leaf.id == leaf.id
    assert len(session_in(database, id, "r").path()) == 5001


def test_a_damaged_snapshot_is_ignored(database: SqlDatabase, id: str) -> None:
    """Whatever is wrong with its parts."""
    with session_in(database, id) as session:
        session.append_many([user("x" * 50) for _ in range(5000)])
    other = "UPDATE ct_snapshots SET data = :data WHERE session_id = :id AND part = :part"
    for part in (1, 0):
        run_sql(database, other, data=bytes(2**16), id=id, part=part)
        assert len(session_in(database, id, "r").path()) == 5000
    run_sql(database, "DELETE FROM ct_snapshots WHERE session_id = :id AND part = 0", id=id)
    assert len(session_in(database, id, "r").path()) == 5000


def test_a_session_that_is_behind_saves_no_snapshot(database: SqlDatabase, id: str) -> None:
    """Unless no other session has saved one; and never of a log that has shrunk."""
    log, other = SqlLog(database, id), SqlLog(database, id)
    end = add(log, *LINES[:3]).end
    everything(other)
    assert kept(other) is None
    add(log, *LINES[3:])
    log.save_snapshot(end, [b"one"])
    assert kept(log) == b"one"
    other.save_snapshot(end, [b"two"])
    assert kept(log) == b"one"
    assert kept(other) == b"one"
    other.save_snapshot(end, [b"two"])
    assert kept(log) == b"two"
    with pytest.raises(LogReplaced):
        log.save_snapshot(10**9, [b"three"])
    stored = log.snapshot()
    assert stored is not None
    with patch.object(SqlDatabase, "reading", side_effect=OSError):
        assert stored.read(0, 3) == b""
    database.transact(lambda execute: tables.remove_session(execute, id))
    with pytest.raises(LogReplaced):
        log.save_snapshot(end, [b"four"])
    assert stored.read(0, 3) == b""


# --- the database ---


def test_the_file_is_for_its_owner(tmp_path: Path) -> None:
    """And the files that SQLite creates next to it."""
    database = SqlDatabase.connect(f"sqlite:///{tmp_path}/log.db")
    database.create_tables()
    session_in(database, "s").append(user("a"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert rows(database, "PRAGMA synchronous") == [(2,)]
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]


def test_tables_must_exist(tmp_path: Path, postgres_server: str) -> None:
    """They are created on request, by several processes at once, and again without harm."""
    with new_database(postgres_server) as url:
        for where in (f"sqlite:///{tmp_path}/log.db", url):
            databases = [SqlDatabase.connect(where) for _ in range(4)]
            with pytest.raises(TablesMissing, match="no tables yet"):
                SqlLog(databases[0], "s")
            threads = [Thread(target=database.create_tables) for database in databases]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for database in databases:
                database.create_tables()
                assert rows(database, "SELECT version FROM ct_schema") == [(tables.VERSION,)]
            run_sql(databases[0], "DELETE FROM ct_schema")
            databases.append(SqlDatabase.connect(where))
            with pytest.raises(TablesMissing):
                databases[-1].check_tables()
            for database in databases:
                database.close()


def test_tables_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    """With an error that says so."""
    url = f"sqlite:///{tmp_path}/log.db"
    database = SqlDatabase.connect(url)
    database.create_tables()
    run_sql(database, "INSERT INTO ct_schema VALUES (:version)", version=tables.VERSION + 1)
    newer = SqlDatabase.connect(url)
    for use in (newer.create_tables, lambda: SqlLog(newer, "s")):
        with pytest.raises(ConvtreeError, match="newer convtree"):
            use()


def test_errors_and_locations_show_no_password() -> None:
    """Whatever goes wrong."""
    for url in (
        "postgresql://me:hunter2@localhost:1/nowhere?sslpassword=hunter2",
        "postgresql://me:hunter2@localhost:hunter2/nowhere",
        "mysql://me:hunter2@localhost/nowhere",
        "hunter2",
        "sqlite://",
    ):
        with pytest.raises((ValueError, OSError)) as caught:
            SqlDatabase.connect(url).create_tables()
        assert "hunter2" not in f"{caught.value!r} {caught.value}" or url == "hunter2"
    database = SqlDatabase.connect("postgresql://me:hunter2@localhost:1/x")
    assert "hunter2" not in f"{database!r} {database.location}"
    assert "***@localhost" in database.location


def test_a_missing_extra_is_named() -> None:
    """With the command that installs it."""
    with patch.dict(sys.modules, {"psycopg": None}), pytest.raises(ImportError, match=r"convtree\[postgres\]"):
        SqlDatabase.connect("postgresql://h/x")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:", "must be a file"),
        ("sqlite://", "must be a file"),
        ("sqlite:///", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:x.db", "expected sqlite:///file.db"),
        ("sqlite:/x.db", "expected sqlite:///file.db"),
        ("sqlite://host/x.db", "expected sqlite:///file.db"),
        ("sqlite://me:hunter2@host/x.db", "expected sqlite:///file.db"),
        ("sqlite:///x.db?mode=ro&key=hunter2", r"no parameters \(mode, key\)"),
        ("sqlite+pysqlite:///x.db", "unknown kind of database"),
    ],
)
def test_a_url_that_names_no_file_is_refused(
    url: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is created, and no password is shown."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=problem) as caught:
        SqlDatabase.connect(url)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_stays_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the program changes its directory before the first statement. A path is not decoded."""
    monkeypatch.chdir(tmp_path)
    with closing(SqlDatabase.connect("sqlite:///a%20b.db")) as database:
        monkeypatch.chdir("/")
        database.create_tables()
        assert database.location == "sqlite:///a%20b.db"
    with closing(SqlDatabase.connect(f"sqlite:///{tmp_path}/a%20b.db", create=False)) as database:
        database.check_tables()


def test_each_thread_has_a_connection_of_its_own(tmp_path: Path) -> None:
    """Twelve read at the same time, more than are kept."""
    with closing(SqlDatabase.connect(f"sqlite:///{tmp_path}/x.db", durability="process")) as database:
        database.create_tables()
        meeting, seen = Barrier(12), []

        def look(execute: Any) -> None:
            before = execute("SELECT COUNT(*) FROM ct_schema")
            meeting.wait(30)
            seen.append((before, execute("SELECT COUNT(*) FROM ct_schema")))

        threads = [Thread(target=database.read, args=[look]) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [([(1,)], [(1,)])] * 12


def test_an_inherited_transaction_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork hook, called without a fork: neither committed nor rolled back, and the connection stays open."""
    left: list[Any] = []
    monkeypatch.setattr(sqlite_connections, "_inherited", left)
    database = SqlDatabase.connect(f"sqlite:///{tmp_path}/x.db", durability="process")
    database.create_tables()

    def work(execute: Any) -> None:
        execute("INSERT INTO ct_schema (version) VALUES (0)")
        database._after_fork()

    with pytest.raises(SessionClosed, match="parent process"):
        database.write(work)
    [idle, used] = left
    assert (idle, used.in_transaction) == ([], True)
    used.close()


@pytest.mark.parametrize("as_engine", [False, True])
def test_a_fork_within_a_transaction_leaves_it_to_the_parent(url: str, as_engine: bool) -> None:
    """The child neither commits it nor rolls it back, and cannot use it."""
    with ExitStack() as ends:
        engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        ends.callback(engine.dispose)
        database = ends.enter_context(closing(SqlDatabase.connect(engine if as_engine else url)))
        database.create_tables()
        children: list[int] = []
        run_sql(database, "DELETE FROM ct_schema WHERE version = 0")

        def work(execute: Any) -> None:
            execute("INSERT INTO ct_schema (version) VALUES (0)")
            children.append(os.fork())
            if children == [0]:
                with suppress(SessionClosed):
                    execute("SELECT 1")
                    os._exit(2)

        try:
            database.write(work)
        except SessionClosed:
            if children == [0]:
                gc.collect()
                os._exit(0)
            raise
        finally:
            if children == [0]:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
        assert rows(database, "SELECT COUNT(*) FROM ct_schema") == [(2,)]


def test_an_engine_can_be_shared(url: str, id: str) -> None:
    """The caller disposes of it; an engine of another database is refused."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    database = SqlDatabase.connect(engine)
    database.create_tables()
    session_in(database, id).append(user("a"))
    database.close()
    assert contents(session_in(database, id)) == ["a"]
    engine.dispose()
    other: Any = SimpleNamespace(dialect=SimpleNamespace(name="mysql"))
    with pytest.raises(ValueError, match="an engine for mysql"):
        SqlDatabase.connect(other)


def test_a_locked_database_raises_session_locked(tmp_path: Path) -> None:
    """After lock_timeout_s."""
    url = f"sqlite:///{tmp_path}/log.db"
    ours, theirs = SqlDatabase.connect(url), SqlDatabase.connect(url, lock_timeout_s=0.05)
    ours.create_tables()
    log = SqlLog(theirs, "s")
    with ours.writing(), pytest.raises(SessionLocked):
        add(log, *LINES, position=0)
    assert list(add(log, *LINES, position=0).lines) == LINES


def test_a_database_that_is_being_created_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses at once to enable WAL while another connection writes; after the timeout, the error is raised."""
    url = f"sqlite:///{tmp_path}/log.db"
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SessionLocked):
            SqlDatabase.connect(url, lock_timeout_s=0.05).create_tables()
        ending = Timer(0.2, other.execute, ["COMMIT"])
        ending.start()
        SqlDatabase.connect(url).create_tables()
        ending.join()
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_forked_child_leaves_its_parent_the_connections(database: SqlDatabase, id: str) -> None:
    """The child gets an error that says to connect again; the parent goes on."""
    session = session_in(database, id)
    session.append(user("a"))
    if (child := os.fork()) == 0:
        code = 1
        with suppress(BaseException):
            with pytest.raises(SessionClosed, match="parent process"):
                list(SqlLog.read(session._journal.log))  # type: ignore[arg-type]
            database.close()
            code = 0
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    session.append(user("b"))
    assert contents(session) == ["a", "b"]


def test_lines_that_run_out_of_memory_are_not_built_again(database: SqlDatabase, id: str) -> None:
    """An error that may have come anywhere leaves what `build` changes half changed. Nothing is written."""
    calls = []

    def build(_: object) -> Addition:
        calls.append(1)
        raise MemoryError

    with pytest.raises(MemoryError):
        SqlLog(database, id).append(0, build)
    assert (len(calls), rows(database, "SELECT 1 FROM ct_sessions WHERE session_id = :id", id=id)) == (1, [])


def test_an_inherited_database_refuses(url: str) -> None:
    """The fork hook, called without a fork."""
    database = SqlDatabase.connect(url)
    database._after_fork()
    with pytest.raises(SessionClosed, match="connect to it again"), database.reading():
        pass
    database.close()


def test_an_exhausted_pool_is_an_os_error(tmp_path: Path) -> None:
    """Errors of SQLAlchemy itself become OSError."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/x.db", pool_size=1, max_overflow=0, pool_timeout=0.01)
    database = SqlDatabase.connect(engine)
    with database.reading(), pytest.raises(OSError, match="TimeoutError"), database.reading():
        pass
    engine.dispose()


# --- many writers ---


def start_writers(url: str, targets: Sequence[str], count: int) -> list[subprocess.Popen[str]]:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, id, f"w{number}", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number, id in enumerate(targets)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    return writers


@pytest.mark.parametrize("shared", [True, False])
def test_sixteen_processes_write(url: str, database: SqlDatabase, id: str, shared: bool) -> None:
    """To one session or to many: every line is stored once, in one chain, and no process waits for ever."""
    targets = [id if shared else f"{id}-{number}" for number in range(16)]
    writers = start_writers(url, targets, 8)
    said = [line for writer in writers for line in writer.communicate(timeout=100)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0] * 16
    assert max(float(line.split()[1]) for line in said) < 20
    lines = [line for target in set(targets) for line in assert_whole(database, target)]
    stored = sorted(json.loads(line)["message"]["content"] for line in lines if b'"message"' in line)
    assert stored == sorted(line.split()[0] for line in said)
    assert len(stored) == 16 * 8


def test_an_append_under_serializable_isolation_is_tried_again(postgres_url: str, id: str) -> None:
    """What the server rolls back was not stored."""
    engine = sqlalchemy.create_engine(
        postgres_url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="SERIALIZABLE"
    )
    database = SqlDatabase.connect(engine)
    database.create_tables()
    session_in(database, id).append(user("first"))
    failures: list[BaseException] = []

    def write(name: str) -> None:
        session = session_in(database, id, on_stale="rebase")
        for number in range(5):
            try:
                session.append(user(f"{name}{number}"))
            except SessionLocked as error:
                failures.append(error)

    threads = [Thread(target=write, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(assert_whole(database, id)) == 2 + 15 - len(failures)
    assert len(failures) < 5
    engine.dispose()


# --- when it goes wrong ---


def interrupted(database: SqlDatabase, id: str, errors: list[Exception], *, stored: bool) -> SqlLog:
    """A log whose next commits end with these errors, having been done or not."""
    log = SqlLog(database, id)
    commit = Transaction.commit

    def fail(transaction: Transaction, *last: Any) -> Any:
        if errors:
            if stored:
                commit(transaction, *last)
            raise errors.pop()
        return commit(transaction, *last)

    patch.object(Transaction, "commit", fail).start()
    return log


@pytest.fixture(autouse=True)
def _no_patches() -> Iterator[None]:
    yield
    patch.stopall()


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", [OutcomeUnknown, RolledBack])
def test_an_unknown_commit_is_resolved(
    database: SqlDatabase, id: str, begun: bool, stored: bool, kind: type[Exception]
) -> None:
    """The log looks under the lock: stored lines are not written again, missing ones are."""
    if kind is RolledBack and stored:
        pytest.skip("what is rolled back is not stored")
    if begun:
        session_in(database, id).append(user("before"))
    log = interrupted(database, id, [kind("lost")], stored=stored)
    session = Session(log, Header(id=id))
    session.append(user("a"))
    session.append(user("b"))
    assert contents(session) == [*(["before"] if begun else []), "a", "b"]
    assert len(assert_whole(database, id)) == 3 + begun


def test_a_commit_that_stays_unknown_fails_the_log(database: SqlDatabase, id: str) -> None:
    """Nothing more is written until the session is opened again."""
    gone: list[Exception] = [
        OSError("gone"),
        SessionLocked("x"),
        OSError("gone"),
        OSError("gone"),
        OutcomeUnknown("lost"),
    ]
    log = interrupted(database, id, gone, stored=True)
    session = Session(log, Header(id=id))
    blind = patch.object(SqlLog, "_is_stored", side_effect=cycle([OSError("gone"), CallRefused("revoked")]))
    in_steps = patch.object(database, "appends_at_once", False)
    with patch("convtree._logs.sql.back_off"), blind, in_steps, pytest.raises(SessionFailed, match="unknown"):
        session.append(user("a"))
    with pytest.raises(SessionFailed, match="open the session again"):
        session.append(user("b"))
    assert log.failed


def test_a_transaction_rolled_back_every_time_raises(database: SqlDatabase, id: str) -> None:
    """Nothing was written, and the session can be used."""
    log = interrupted(database, id, [RolledBack("conflict")] * 10, stored=False)
    session = Session(log, Header(id=id))
    with patch("convtree._logs.sql.back_off"), patch("convtree._logs.sql_database.back_off"):
        with pytest.raises(SessionLocked):
            session.append(user("a"))
        with pytest.raises(SessionLocked):
            database.transact(lambda _: None)
    session.append(user("a"))
    assert contents(session) == ["a"]


class Proxy:
    """Passes bytes on to a server; may cut the connection as soon as the client has said something."""

    def __init__(self, target: Path) -> None:
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                cut = asking and self.cut_after is not None and self.cut_after in data
                if cut:
                    self.cut_after = None
                    self.cuts += 1
                    with suppress(OSError):
                        source.shutdown(socket.SHUT_RDWR)  # the answer will find nobody
                sink.sendall(data)
                if cut:
                    time.sleep(0.05)
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of our own, that can be killed."""
    with private_server() as started:
        yield started


@pytest.mark.parametrize("word", [b"ct_append", b"COMMIT", b"BEGIN", b"UPDATE", b"INSERT"])
def test_a_connection_that_is_cut_loses_and_doubles_nothing(server: Server, id: str, word: bytes) -> None:
    """At any point of an append; also if the server commits and the answer is lost.

    Without another writer, it is one call; behind one, or without the function of the server, a transaction.
    """
    proxy = Proxy(server.socket)
    database = SqlDatabase.connect(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres")
    database.create_tables()
    database.appends_at_once = word not in (b"UPDATE", b"INSERT")
    session = session_in(database, id, on_stale="rebase")
    session.append(user("0"))
    direct = SqlDatabase.connect(server.url)
    other = session_in(direct, id, on_stale="rebase")
    expected = ["0"]
    for number in range(1, 6):
        if word in (b"BEGIN", b"COMMIT"):
            other.append(user(f"other {number}"))
            expected.append(f"other {number}")
        proxy.cut_after = word
        session.append(user(str(number)))
        expected.append(str(number))
    assert proxy.cuts == 5
    assert contents(session) == expected
    assert len(assert_whole(database, id)) == len(expected) + 1
    database.close()
    direct.close()
    proxy.close()


def test_acknowledged_entries_survive_a_kill_of_the_server(server: Server, id: str) -> None:
    """It is killed while others write; acknowledged entries are there when it is back."""
    database = SqlDatabase.connect(server.url)
    database.create_tables()
    writers = start_writers(server.url, [id] * 3, 10_000)
    time.sleep(0.7)
    server.kill()
    said = [line.split()[0] for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()]
    server.start()
    stored = [json.loads(line)["message"]["content"] for line in assert_whole(database, id)[1:]]
    assert said
    assert set(said) <= set(stored)
    assert len(stored) == len(set(stored))
    assert len(stored) <= len(said) + 3
    session_in(database, id).append(user("again"))
    database.close()


def test_sqlite_survives_a_kill(tmp_path: Path) -> None:
    """Of the writing process, at any moment."""
    url = f"sqlite:///{tmp_path}/log.db"
    database = SqlDatabase.connect(url)
    database.create_tables()
    said: list[str] = []
    for number in range(4):
        [writer] = start_writers(url, ["s"], 10_000)
        time.sleep(0.05 + 0.03 * number)
        writer.send_signal(signal.SIGKILL)
        said += [f"{number}:{line.split()[0]}" for line in writer.communicate()[0].splitlines() if " " in line]
    lines = assert_whole(database, "s")
    assert len(said) <= len(lines) - 1 <= len(said) + 4
