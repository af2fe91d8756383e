"""Stores in SQLite and PostgreSQL: the conformance suite, and tests of databases only."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from helpers import contents, user
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from postgres import new_database

from convtree import ConvtreeError, Session, SessionClosed
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_errors import TablesMissing
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore
from convtree.testing import Clock, StoreContract, store_machine

SMALL = settings(max_examples=10, stateful_step_count=15, deadline=None)


def sqlite_url(place: Path) -> str:
    return f"sqlite:///{place}/store.db"


class TestSqlite(StoreContract):
    """The contract, in an SQLite file."""

    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        return open_store(sqlite_url(place), durability="process", clock=clock)


@pytest.fixture
def database_of(postgres_server: str) -> Iterator[Callable[[Path], str]]:
    """Gives each place a PostgreSQL database of its own."""
    urls: dict[Path, str] = {}
    with ExitStack() as ends:

        def url_of(place: Path) -> str:
            if place not in urls:
                urls[place] = ends.enter_context(new_database(postgres_server))
            return urls[place]

        yield url_of


class TestPostgres(StoreContract):
    """The contract, on a PostgreSQL server."""

    @pytest.fixture(autouse=True)
    def _databases(self, database_of: Callable[[Path], str]) -> None:
        self.url_of = database_of

    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        return open_store(self.url_of(place), create=True, clock=clock)


def test_any_history_over_sqlite() -> None:
    """Random sequences of calls, compared with a model."""
    machine = store_machine(lambda place, clock: open_store(sqlite_url(Path(place)), clock=clock))
    run_state_machine_as_test(machine, settings=SMALL)


def test_any_history_over_postgres(database_of: Callable[[Path], str]) -> None:
    """The same on a server."""
    machine = store_machine(lambda place, clock: open_store(database_of(Path(place)), create=True, clock=clock))
    run_state_machine_as_test(machine, settings=SMALL)


def test_from_a_folder_into_databases_and_back(tmp_path: Path, database_of: Callable[[Path], str]) -> None:
    """Byte for byte, damaged lines included."""
    with (
        open_store(tmp_path / "a", durability="process") as folder,
        open_store(sqlite_url(tmp_path)) as sqlite,
        open_store(database_of(tmp_path), create=True) as postgres,
        open_store(tmp_path / "b", durability="process") as back,
    ):
        with folder.create(id="s", name="N") as session:
            session.append_many([user(f"{number} \0 \u2028 \U0001f600") for number in range(1200)])
        folder.fork("s", new_id="f").close()
        path = tmp_path / "a" / "f.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:5], b"\xff\x00junk\n", *lines[5:]]))
        for source, target in ((folder, sqlite), (sqlite, postgres), (postgres, back)):
            assert [each.status for each in source.copy_to(target)] == ["copied", "copied"]
            assert [each.status for each in source.copy_to(target)] == ["unchanged", "unchanged"]
        for id in ("s", "f"):
            assert (tmp_path / "a" / f"{id}.jsonl").read_bytes() == (tmp_path / "b" / f"{id}.jsonl").read_bytes()


def test_workers_share_a_session(database_of: Callable[[Path], str], tmp_path: Path) -> None:
    """Both open it with `create=True`. Each sees what the other appends."""
    url = database_of(tmp_path)
    with open_store(url, create=True) as one, open_store(url) as two:
        first = one.open("chat", create=True, name="Chat")
        second = two.open("chat", create=True, name="ignored")
        question = first.append(user("Where shall we go?"))
        second.append({"role": "assistant", "content": "Oslo?"}, parent_id=question.id)
        first.refresh()
        assert contents(first) == ["Where shall we go?", "Oslo?"]
        assert (first.name, one.latest()) == ("Chat", two.latest())


def test_an_engine_of_the_caller_is_not_disposed_of(tmp_path: Path) -> None:
    """Neither on close nor in a forked child."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(sqlite_url(tmp_path))
    with open_store(engine) as store, store.create() as session:
        session.append(user("x"))
    store._backend._database._after_fork()  # type: ignore[attr-defined]  # in a forked child, too
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM ct_sessions")).scalar() == 1
    engine.dispose()


def test_without_create_nothing_is_created(tmp_path: Path, database_of: Callable[[Path], str]) -> None:
    """A missing file or missing tables raise an error."""
    with pytest.raises(FileNotFoundError):
        open_store(sqlite_url(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TablesMissing, match="no tables yet"):
        open_store(database_of(tmp_path))


def test_a_password_is_never_shown() -> None:
    """Neither if the server does not answer nor if the URL is invalid."""
    url = "postgresql://me:s3cret@127.0.0.1:1/nothing?connect_timeout=1"
    for wrong in (url, "postgresql://me:s3cret@[::bad/x"):
        with pytest.raises((OSError, ValueError, ConvtreeError)) as caught:
            open_store(wrong)
        shown, error = "", caught.value.with_traceback(None)
        while error is not None:
            shown += f"{error!r} {error}"
            error = error.__cause__ or error.__context__  # type: ignore[assignment]
        assert "s3cret" not in shown


def test_the_file_is_for_its_owner(tmp_path: Path) -> None:
    """So are SQLite's files next to it."""
    with open_store(sqlite_url(tmp_path)) as store, store.create() as session:
        session.append(user("x"))
        assert {os.stat(each).st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_session_outlives_its_store(tmp_path: Path) -> None:
    """As in a folder."""
    with open_store(sqlite_url(tmp_path)) as store:
        session = store.create(id="s")
        session.append(user("x"))
    session.append(user("y"))
    session.close()
    with open_store(sqlite_url(tmp_path)) as store, store.open("s") as again:
        assert contents(again) == ["x", "y"]


def test_a_fork_of_a_session_in_a_database_is_a_file(tmp_path: Path) -> None:
    """`Session.fork` takes a path, `store.fork` an id."""
    with open_store(sqlite_url(tmp_path)) as store, store.create(id="s") as session:
        session.append(user("x"))
        session.fork(tmp_path / "f.jsonl").close()
    with Session.open(tmp_path / "f.jsonl", mode="r") as forked:
        assert contents(forked) == ["x"]


def test_a_forked_child_leaves_the_connections_to_its_parent(tmp_path: Path) -> None:
    """Sessions and store of the parent raise SessionClosed. A new store works."""
    with open_store(sqlite_url(tmp_path)) as store, store.create(id="s") as session:
        session.append(user("x"))
        store._backend._database._after_fork()  # type: ignore[attr-defined]
        with pytest.raises(SessionClosed, match="parent process"):
            session.append(user("y"))
        with pytest.raises(SessionClosed, match="parent process"):
            store.list()
    with open_store(sqlite_url(tmp_path)) as again:
        assert again.info("s").messages == 1


def test_a_commit_rolled_back_by_the_server_is_retried(
    database_of: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As happens with serializable transactions."""
    from psycopg import Cursor
    from psycopg.errors import SerializationFailure

    with open_store(database_of(tmp_path), create=True) as store, store.create(id="s") as session:
        session.append(user("x"))
        execute, failures = Cursor.execute, iter([True])

        def fail_once(cursor: Any, query: Any, *values: Any, **options: Any) -> Any:
            if query.startswith(b"WITH") and next(failures, False):
                raise SerializationFailure("could not serialize")
            return execute(cursor, query, *values, **options)

        monkeypatch.setattr(Cursor, "execute", fail_once)
        monkeypatch.setattr(SerializationFailure, "sqlstate", "40001")
        session.append(user("y"))
        session.refresh()
        assert contents(session) == ["x", "y"]


def test_a_session_that_cannot_be_read_is_not_left_open(tmp_path: Path) -> None:
    """Its table is gone for a while; then the store goes on."""
    with open_store(sqlite_url(tmp_path)) as store:
        with store.create(id="s") as session:
            session.append(user("a"))
        with sqlite3.connect(tmp_path / "store.db") as database:
            database.execute("ALTER TABLE ct_lines RENAME TO gone")
        with pytest.raises(TablesMissing):
            store.open("s", read_only=True)
        with sqlite3.connect(tmp_path / "store.db") as database:
            database.execute("ALTER TABLE gone RENAME TO ct_lines")
        database.close()
        with store.open("s", read_only=True) as session:
            assert contents(session) == ["a"]


def test_two_stores_on_one_engine(tmp_path: Path) -> None:
    """Both see what the other writes."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/s.db")
    with open_store(engine, create=True) as one, open_store(engine) as other:
        with one.create(id="a") as session:
            session.append(user("a"))
        assert [info.id for info in other.list()] == ["a"]
    engine.dispose()


WITHOUT_SQLALCHEMY = """
import sys
sys.modules["sqlalchemy"] = None  # as if it were not installed
from convtree import open_store
from convtree._cli import main
url = sys.argv[1]
with open_store(url, create=True) as store:
    with store.create(id="s") as session:
        session.append({"role": "user", "content": "hello there"})
    store.fork("s", new_id="f").close()
    assert sorted(hit.session_id for hit in store.search("hello")) == ["f", "s"]
    store.delete("f")
    store.verify()
sys.argv[1:] = ["ls", "-s", url]
main()
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_url_needs_no_sqlalchemy(kind: str, tmp_path: Path, database_of: Callable[[Path], str]) -> None:
    """It is not imported, neither by a store nor by the command line."""
    url = sqlite_url(tmp_path) if kind == "sqlite" else database_of(tmp_path)
    done = subprocess.run([sys.executable, "-c", WITHOUT_SQLALCHEMY, url], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hello there" in done.stdout


@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgres"])
def test_a_vacuum_keeps_what_is_appended_before_it_has_the_lock(
    server: bool, database_of: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the log by then, and what an open has read is older."""
    with open_store(database_of(tmp_path) if server else sqlite_url(tmp_path), create=True) as store:
        with store.create(id="s") as writer:
            first = writer.append(user("first"))
            writer.append(user("left"))
            writer.branch(first)
            writer.append(user("kept"))
            transact = SqlDatabase.transact

            def after_another_append(database: SqlDatabase, *work: Any) -> Any:
                monkeypatch.undo()
                writer.append(user("just before"))
                return transact(database, *work)

            monkeypatch.setattr(SqlDatabase, "transact", after_another_append)
            store.vacuum("s", dry_run=False)
        with store.open("s", read_only=True) as session:
            assert contents(session) == ["first", "kept", "just before"]
            assert session.findings == ()
