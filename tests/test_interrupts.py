"""An interrupt anywhere: no lock stays, nothing is half read, the next call works. The harness does it everywhere."""

import errno
import gc
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import pytest
import sqlalchemy
from harness.interrupts import Tripwire
from helpers import ids, user

from convtree import Session, SessionStore, open_store
from convtree._catalogue.tables import VERSION
from convtree._logs.descriptors import Descriptors, with_open
from convtree._logs.ledger_file import LedgerFile
from convtree._logs.sql_database import SqlDatabase
from convtree._model.interrupts import Unlocking, ending, is_interrupt, release
from convtree.stores._folder import FolderBackend

# Where a finalizer or an iterator of the interpreter is interrupted, it can only say so.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

ERRORS = [KeyboardInterrupt, MemoryError]


def interrupted(
    act: Callable[[], Any],
    within: str,
    error: type[BaseException] = KeyboardInterrupt,
    *,
    every: int = 3,
    function: str | None = None,
) -> Iterator[Any]:
    """Calls `act` again and again, interrupted at every n-th instruction of a module; yields the tracebacks.

    With `function`, only in the functions of that name, also of a module of another package.
    """
    counting = Tripwire(error, everywhere=function is not None)
    counting.run(act)
    numbers = [
        seen[0]
        for (code, _), seen in counting.seen.items()
        if code.co_filename.endswith(within) and function in (None, code.co_name)
    ]
    assert numbers
    for number in numbers[::every]:
        wire = Tripwire(error, number, everywhere=function is not None)
        try:
            wire.run(act)
        except error as raised:
            yield raised.__traceback__


def quick(path: Path) -> Session:
    return Session.open(path, durability="process", lock_timeout_s=0, on_stale="rebase")


@contextmanager
def sqlite_store(path: Path) -> Iterator[SessionStore]:
    with open_store(f"sqlite:///{path}", durability="process", lock_timeout_s=1) as store:
        yield store


def can_write(path: Path) -> bool:
    """Whether another connection gets the write lock of an SQLite file at once."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True


def connections() -> int:
    """How many connections of SQLite this process has."""
    gc.collect()
    return sum(isinstance(each, sqlite3.Connection) for each in gc.get_objects())


@pytest.mark.no_cover
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("within", ["_logs/sql_transaction.py", "_logs/sqlite_connections.py", "_model/interrupts.py"])
def test_an_interrupted_append_gives_the_lock_of_sqlite_back(
    within: str, error: type[BaseException], tmp_path: Path
) -> None:
    """At once, while the traceback is kept; and the session writes on."""
    path = tmp_path / "s.db"
    with sqlite_store(path) as store, store.create(id="s") as session:
        session.append(user("first"))
        before = connections()
        for traceback in interrupted(lambda: session.append(user("more"), on_stale="rebase"), within, error):
            assert can_write(path)
            session.append(user("after"), on_stale="rebase")
            del traceback
        assert connections() <= before + 1
        with store.open("s", read_only=True) as reader:
            assert ids(session.path()) == ids(reader.path())


@pytest.mark.no_cover
@pytest.mark.parametrize("function", ["commit", "_exec_single_context", "close"])
def test_an_interrupt_within_sqlalchemy_ends_the_transaction(function: str, tmp_path: Path) -> None:
    """It keeps cursors in the traceback, and asserts what does not hold of an interrupted commit."""
    path = tmp_path / "s.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with open_store(engine) as store, store.create(id="s") as session:
        session.append(user("first"))
        act = lambda: session.append(user("more"), on_stale="rebase")  # noqa: E731
        for traceback in interrupted(act, "sqlalchemy/engine/base.py", every=1, function=function):
            assert can_write(path)
            session.append(user("after"), on_stale="rebase")
            del traceback
    engine.dispose()


def test_an_engine_of_the_caller_gets_its_connection_back(tmp_path: Path) -> None:
    """The pool stays the caller's, who may use it in between."""
    path = tmp_path / "s.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    pool = engine.pool
    with open_store(engine, create=True) as store, store.create(id="s") as session:
        session.append(user("first"))
        for traceback in interrupted(lambda: session.append(user("more"), on_stale="rebase"), "_logs/sql.py"):
            assert can_write(path)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("SELECT 1").scalar() == 1
            del traceback
        assert engine.pool is pool
    engine.dispose()


@pytest.mark.parametrize("owned", [True, False], ids=["own engine", "engine of the caller"])
@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_transaction_is_rolled_back(error: type[BaseException], owned: bool, tmp_path: Path) -> None:
    """Its lock is free while the traceback is kept, wherever the connection came from."""
    path = tmp_path / "s.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with closing(SqlDatabase.connect(f"sqlite:///{path}" if owned else engine)) as database:
        database.create_tables()

        def work(execute: Any) -> None:
            execute("UPDATE ct_schema SET version = version + 1")
            raise error

        with pytest.raises(error) as kept:
            database.write(work)
        assert can_write(path)
        assert database.read(lambda execute: execute("SELECT version FROM ct_schema")) == [(VERSION,)]
        del kept
    engine.dispose()


def test_an_interrupt_while_a_connection_is_made(tmp_path: Path) -> None:
    """There is nothing to give back, and the next transaction connects."""
    engine, interrupts = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/s.db"), [KeyboardInterrupt()]

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def interrupt(*_: object) -> None:
        if interrupts:
            raise interrupts.pop()

    with closing(SqlDatabase.connect(engine)) as database:
        with pytest.raises(KeyboardInterrupt):
            database.create_tables()
        database.create_tables()
        assert database.read(lambda execute: execute("SELECT version FROM ct_schema")) == [(VERSION,)]
    engine.dispose()


def test_a_session_begun_by_an_interrupted_append_is_not_another_process(tmp_path: Path) -> None:
    """The first append of a new session may be repeated, wherever it was interrupted."""
    with sqlite_store(tmp_path / "s.db") as store:
        for number in range(1, 10**6, 211):
            with store.create(id=f"s{number}") as session:
                wire = Tripwire(KeyboardInterrupt, number)
                try:
                    wire.run(lambda session=session: session.append(user("x"), id="x"))  # type: ignore[misc]
                except KeyboardInterrupt:
                    assert ids(session.path() if session.leaf_id else []) in ([], ["x"])
                    assert session.append(user("x"), id="x").id == "x"
                else:
                    break
        assert number > 211


@pytest.mark.no_cover
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("within", ["_logs/jsonl.py", "_logs/lock.py"])
def test_an_interrupted_append_gives_the_lock_of_a_file_back(
    within: str, error: type[BaseException], tmp_path: Path
) -> None:
    """At once, while the traceback is kept; and what is in memory is in the log."""
    path = tmp_path / "s.jsonl"
    with quick(path) as session, quick(path) as other:
        session.append(user("first"))
        if within == "_logs/lock.py":
            session._journal._append_at = None  # which locks without that module
        for traceback in interrupted(lambda: session.append(user("more"), on_stale="rebase"), within, error):
            other.append(user("at once"))
            session.append(user("after"), on_stale="rebase")
            del traceback
        with Session.open(path, mode="r") as reader:
            session.refresh()
            assert ids(session.path()) == ids(reader.path())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_a_rebuild_that_was_interrupted_is_not_taken_for_the_log(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two chunks of a log that took the place of another, too."""
    path = tmp_path / "s.jsonl"
    with Session.open(path, durability="process") as session:
        session.append(user("first"), id="first")
        for branch in range(4):
            session.append_many([user(f"{branch} " + "x" * 99 * 1024) for _ in range(12)], parent_id="first")
        session.label("first", "here")
    reader = Session.open(path, mode="r")
    path.rename(tmp_path / "before")
    path.write_bytes((tmp_path / "before").read_bytes())
    pread, left = os.pread, [3]

    def interrupting(fd: int, length: int, start: int) -> bytes:
        if length > 100_000:
            left[0] -= 1
            if not left[0]:
                raise error
        return pread(fd, length, start)

    monkeypatch.setattr(os, "pread", interrupting)
    with pytest.raises(type(error)):
        reader.refresh()
    assert (len(reader.leaves()), reader.labels) == (4, {"first": "here"})
    reader.close()


def test_after_an_interrupt_only_news_are_new(tmp_path: Path) -> None:
    """`refresh` does not return again what it has returned."""
    path = tmp_path / "s.jsonl"
    with quick(path) as session, quick(path) as other:
        session.append(user("first"), id="first")
        for traceback in interrupted(session.refresh, "_engine/journal.py"):
            new = other.append(user("more"))
            assert new.id in ids(session.refresh())
            assert "first" not in ids(session.refresh())
            del traceback


@pytest.mark.no_cover
@pytest.mark.parametrize("place", ["memory:", "folder"])
def test_an_interrupted_list_leaves_a_catalogue_that_is_right(place: str, tmp_path: Path) -> None:
    """The transaction is over at once, and the next list has every session."""
    url = str(tmp_path / "store") if place == "folder" else place
    tables = tmp_path / "store" / ".catalogue.sqlite"
    with open_store(url, durability="process") as store:
        made: list[str] = []

        def add_and_list() -> None:
            made.append(f"s{len(made)}")
            with store.create(id=made[-1]) as session:
                session.append(user("x"))
            store.list()

        for traceback in interrupted(add_and_list, "stores/_catalogue_sync.py", every=29):
            assert place != "folder" or can_write(tables)
            assert set(made[:-1]) <= {info.id for info in store.list(limit=None)} <= set(made)
            del traceback


def test_a_list_that_is_interrupted_before_the_catalogue_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next list opens it."""
    read, interrupts = LedgerFile.read, [KeyboardInterrupt()]

    def interrupted_once(ledger: LedgerFile) -> list[bytes]:
        if interrupts:
            raise interrupts.pop()
        return read(ledger)

    with open_store(tmp_path, durability="process") as store:
        store.create(id="s").append(user("x"))
        monkeypatch.setattr(LedgerFile, "read", interrupted_once)
        with pytest.raises(KeyboardInterrupt):
            store.list()
        assert [info.id for info in store.list()] == ["s"]


@pytest.mark.no_cover
def test_an_interrupted_delete_gives_the_locks_back(tmp_path: Path) -> None:
    """Those of the session that stays, and that of the ledger."""
    with open_store(tmp_path, durability="process", lock_timeout_s=0) as store:
        names: list[str] = []

        def make_and_delete() -> None:
            names.append(f"s{len(names)}")
            with store.create(id=names[-1]) as session:
                session.append(user("x"))
            store.delete(names[-1])

        for traceback in interrupted(make_and_delete, "stores/_folder.py", every=13):
            if any(info.id == names[-1] for info in store.list()):
                assert store.delete(names[-1]) == [names[-1]]
            store._backend._ledger.lock()  # type: ignore[attr-defined]
            store._backend._ledger.unlock()  # type: ignore[attr-defined]
            del traceback


def test_a_lock_of_threads_does_not_stay_held() -> None:
    """Nor is it released within another block that holds it."""
    lock = threading.RLock()

    def hold() -> None:
        with Unlocking(lock), lock, Unlocking(lock), lock:
            pass

    def is_free() -> bool:
        free: list[bool] = []
        thread = threading.Thread(target=lambda: free.append(lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        return free[0]

    def fail() -> None:
        with Unlocking(lock), lock:
            _interrupt()

    def fail_within() -> None:
        with Unlocking(lock), lock:
            with pytest.raises(KeyboardInterrupt):
                fail()
            assert not is_free()
            _interrupt()

    with pytest.raises(KeyboardInterrupt):
        fail_within()
    hold()
    assert is_free()


def test_the_end_comes_when_work_is_interrupted() -> None:
    """And once if nothing was raised."""
    ends: list[int] = []
    assert ending(lambda: "done", lambda: ends.append(1)) == "done"
    assert ends == [1]
    with pytest.raises(KeyboardInterrupt):
        ending(_interrupt, lambda: ends.append(2))
    assert set(ends) == {1, 2}
    assert [is_interrupt(each) for each in (KeyboardInterrupt(), MemoryError(), OSError())] == [True, True, False]


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_descriptors_are_closed_once(tmp_path: Path) -> None:
    """Also those that an interrupted call has opened; one that was forgotten belongs to something else."""
    (tmp_path / "a").write_bytes(b"a")
    opened = Descriptors()
    first, second = opened.open(tmp_path / "a", os.O_RDONLY), opened.open(tmp_path / "a", os.O_RDONLY)
    opened.forget(first)
    opened.forget(first)
    opened.close()
    opened.close()
    assert os.read(first, 1) == b"a"
    os.close(first)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second)
    assert with_open(tmp_path / "a", os.O_RDONLY, lambda fd: os.read(fd, 1)) == b"a"


def test_a_descriptor_whose_close_fails_is_not_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has closed it, and the number may be another file's by now. The others are closed as well."""
    (tmp_path / "a").write_bytes(b"a")
    opened, closed, close = Descriptors(), [], os.close
    first, second = opened.open(tmp_path / "a", os.O_RDONLY), opened.open(tmp_path / "a", os.O_RDONLY)

    def fail(fd: int) -> None:
        closed.append(fd)
        close(fd)
        raise OSError(errno.EIO, "no luck")

    monkeypatch.setattr(os, "close", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no luck"):
            opened.close()
    opened.close()
    assert closed == [second, first]


def test_locking_a_log_that_is_open(tmp_path: Path) -> None:
    """The log of a session that is deleted is locked until the delete is over, and not after it."""
    backend = FolderBackend(tmp_path, lock_timeout_s=0)
    with SessionStore(backend) as store:
        with store.create(id="s") as session:
            session.append(user("x"))
        assert store.delete("s") == ["s"]
        with store.create(id="s") as session:
            assert session.append(user("y")).parent_id is None


def test_a_lock_is_released_as_often_as_it_is_held() -> None:
    """Afterwards another thread can take it."""
    lock = RLock()
    lock.acquire()
    lock.acquire()
    release(lock)
    taken: list[bool] = []
    thread = Thread(target=lambda: taken.append(lock.acquire(timeout=5)))
    thread.start()
    thread.join()
    assert taken == [True]
