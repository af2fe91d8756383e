"""Objects with descriptors cannot be copied; a descriptor closed by other code is never written to or closed."""

import asyncio
import copy
import dataclasses
import errno
import fcntl
import gc
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import filelock
import pytest
from helpers import contents, user

from convtree import Session, SessionFailed, SessionStore, aio, open_store
from convtree._engine.log import Addition
from convtree._logs.jsonl import JsonlLog
from convtree._logs.lock import FileLock
from convtree._model import resources


@dataclasses.dataclass
class Agent:
    """An application's own object that holds a session."""

    session: object


def as_dict(thing: object) -> object:
    return dataclasses.asdict(Agent(thing))


HOWS: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps, as_dict]


@pytest.mark.no_cover
@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.__name__)
def test_a_session_refuses_to_be_copied_and_goes_on(tmp_path: Path, how: Callable[[Any], object]) -> None:
    """A half copy would close the original's descriptor when it is collected."""
    with Session.open(tmp_path / "a.jsonl") as first:
        first.append(user("A1"))
        with pytest.raises(TypeError, match="Session cannot be copied or pickled: it owns open files"):
            how(first)
        gc.collect()
        with Session.open(tmp_path / "b.jsonl") as second:
            second.append(user("B1"))
            first.append(user("A2"))
            second.append(user("B2"))
            assert contents(first) == ["A1", "A2"]
            assert contents(second) == ["B1", "B2"]


@pytest.mark.parametrize("url", ["{}/folder", "sqlite:///{}/store.db", "memory:"])
def test_stores_and_their_logs_refuse_to_be_copied(tmp_path: Path, url: str) -> None:
    """Databases, catalogues and folders too."""
    with open_store(url.format(tmp_path)) as store, store.create() as session:
        session.append(user("Hello"))
        store.list()
        for thing in (store, session):
            for how in HOWS:
                with pytest.raises(TypeError, match="cannot be copied or pickled"):
                    how(thing)
        assert isinstance(store, SessionStore)
        assert len(store.list()) == 1


def test_async_sessions_and_stores_refuse_to_be_copied(tmp_path: Path) -> None:
    """The wrapper refuses before it copies anything."""

    async def copies() -> None:
        async with aio.open_store(tmp_path / "folder") as store, store.create() as session:
            for thing in (store, session):
                for how in HOWS:
                    with pytest.raises(TypeError, match="cannot be copied or pickled"):
                        how(thing)

    asyncio.run(copies())


def taken_over(log: JsonlLog, path: Path) -> int:
    """Closes a log's descriptor behind its back and opens another file, which gets the number."""
    os.close(log._fd)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    assert fd == log._fd
    return fd


@pytest.mark.parametrize("act", ["append", "append_many", "branch", "label", "refresh", "build_context"])
def test_a_reused_descriptor_is_not_written_to(tmp_path: Path, act: str) -> None:
    """Nor read, nor closed: the number belongs to the application's own file by now."""
    session = Session.open(tmp_path / "a.jsonl")
    entry = session.append(user("A1"))
    acts: dict[str, Callable[[], object]] = {
        "append": lambda: session.append(user("A2")),
        "append_many": lambda: session.append_many([user("A2"), user("A3")]),
        "branch": lambda: session.branch(None),
        "label": lambda: session.label(entry.id, "x"),
        "refresh": session.refresh,
        "build_context": session.build_context,
    }
    log: Any = session._journal.log
    before = (tmp_path / "a.jsonl").read_bytes()
    fd = taken_over(log, tmp_path / "mine")
    os.write(fd, b"my own data\n")
    with pytest.raises(SessionFailed, match="closed by something else in this process; nothing was written"):
        acts[act]()
    with pytest.raises(SessionFailed):
        session.append(user("A4"))
    session.close()
    os.write(fd, b"still open\n")
    os.close(fd)
    assert (tmp_path / "mine").read_bytes() == b"my own data\nstill open\n"
    assert (tmp_path / "a.jsonl").read_bytes() == before
    with Session.open(tmp_path / "a.jsonl") as again:
        assert contents(again) == ["A1"]


def test_a_closed_descriptor_is_noticed(tmp_path: Path) -> None:
    """Its number is unused: writing raises the same error, and reading opens the file again."""
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("A1"))
        log: Any = session._journal.log
        os.close(log._fd)
        with pytest.raises(SessionFailed, match="closed by something else"):
            session.append(user("A2"))
        session.refresh()
        assert contents(session) == ["A1"]


def test_a_descriptor_that_does_not_append_is_not_written_to(tmp_path: Path) -> None:
    """The same log, opened by other code without O_APPEND: a write would go to its beginning."""
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("A1"))
        log: Any = session._journal.log
        os.close(log._fd)
        fd = os.open(tmp_path / "a.jsonl", os.O_RDWR)
        assert fd == log._fd
        before = (tmp_path / "a.jsonl").read_bytes()
        with pytest.raises(SessionFailed, match="closed by something else"):
            session.append(user("A2"))
        assert (tmp_path / "a.jsonl").read_bytes() == before
        os.close(fd)


def test_a_descriptor_taken_over_while_lines_are_built(tmp_path: Path) -> None:
    """The check comes right before the write, so that changes under the lock are seen too."""
    log = JsonlLog(tmp_path / "a.jsonl")
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("A1"))
    size = (tmp_path / "a.jsonl").stat().st_size
    for _ in log.read():
        pass
    fds = []

    def build(_: object) -> Addition:
        fds.append(taken_over(log, tmp_path / "mine"))
        return Addition([b"{}"], size)

    with pytest.raises(SessionFailed, match="closed by something else"):
        log.append(size, build)
    log.close()
    os.close(fds[0])
    assert (tmp_path / "mine").read_bytes() == b""
    assert (tmp_path / "a.jsonl").stat().st_size == size


def test_the_lock_of_another_file_on_the_descriptor_is_not_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write fails, and by then the descriptor is of a file of the application, which has locked it."""
    session = Session.open(tmp_path / "a.jsonl", durability="process")
    session.append(user("A1"))
    log: Any = session._journal.log
    write, fds = os.write, list[int]()

    def failing(fd: int, data: bytes) -> int:
        if fd != log._fd or fds:
            return write(fd, data)
        fds.append(taken_over(log, tmp_path / "mine"))
        fcntl.flock(fds[0], fcntl.LOCK_EX)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        session.append(user("A2"))
    monkeypatch.undo()
    with (tmp_path / "mine").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    session.close()
    os.close(fds[0])


def test_a_reused_index_descriptor_is_not_closed(tmp_path: Path) -> None:
    """The same for the descriptor of the index beside the log."""
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("A1"))
        session._journal.save_snapshot(always=True)
    log = JsonlLog(tmp_path / "a.jsonl", mode="r")
    assert log.snapshot() is not None
    os.close(log._index_file._fd)
    fd = os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT)
    assert fd == log._index_file._fd
    log.close()
    os.write(fd, b"still open\n")
    os.close(fd)


def test_no_index_is_saved_through_a_reused_descriptor(tmp_path: Path) -> None:
    """It would describe a log that can no longer be checked."""
    session = Session.open(tmp_path / "a.jsonl")
    session.append(user("A1"))
    log: Any = session._journal.log
    fd = taken_over(log, tmp_path / "mine")
    with pytest.raises(SessionFailed, match="closed by something else"):
        log.save_snapshot((tmp_path / "a.jsonl").stat().st_size, [b"an index"])
    session.close()
    os.close(fd)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "mine"]


@pytest.mark.parametrize("argument", ["redact", "clock", "id_source"])
def test_a_function_of_the_caller_closes_the_descriptor(tmp_path: Path, argument: str) -> None:
    """What runs between two appends may do anything; the next write notices it."""
    fds: list[int] = []

    def evil(*values: Any) -> Any:
        if len(fds) == 1:
            fds.append(taken_over(session._journal.log, tmp_path / "mine"))  # type: ignore[arg-type]
        return {"redact": values[:1], "clock": [0], "id_source": [os.urandom(8).hex()]}[argument][0]

    arguments: dict[str, Any] = {argument: evil}
    session = Session.open(tmp_path / "a.jsonl", **arguments)
    session.append(user("A1"))
    fds.append(-1)
    with pytest.raises(SessionFailed, match="closed by something else"):
        session.append(user("A2"))
    session.close()
    os.close(fds[1])
    assert (tmp_path / "mine").read_bytes() == b""
    with Session.open(tmp_path / "a.jsonl", mode="r") as again:
        assert contents(again) == ["A1"]


def test_an_index_of_another_log_on_the_descriptor_is_not_believed(tmp_path: Path) -> None:
    """Its pages have valid checksums, but not those that the footer of this index names."""
    logs = {}
    for name, branch_at in (("a", 10), ("b", 300)):
        with Session.open(tmp_path / f"{name}.jsonl", durability="process") as session:
            entries = session.append_many([user(f"{name}{number}") for number in range(600)])
            session.branch(entries[branch_at].id)
            session.append_many([user(f"{name}{number}") for number in range(600, 1200)])
            session._journal.save_snapshot(always=True)
            logs[name] = [entry.id for entry in session.path(session.leaf_id)]
    with Session.open(tmp_path / "b.jsonl", mode="r") as session:
        index_file = session._journal.log._index_file  # type: ignore[attr-defined]
        os.close(index_file._fd)
        fd = os.open(tmp_path / "a.jsonl.index", os.O_RDONLY)
        assert fd == index_file._fd
        assert [entry.id for entry in session.path(session.leaf_id)] == logs["b"]
    os.close(fd)  # still open: it was not closed with the session


def test_a_fork_concerns_what_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child process every watched object that still exists is called, once."""
    called: list[str] = []

    class Thing(resources.ForkAware):
        def __init__(self, name: str) -> None:
            self.name = name
            resources.watch_forks(self)

        def _after_fork(self) -> None:
            called.append(self.name)

    monkeypatch.setattr(resources, "_WATCHED", WeakSet())
    kept, gone = Thing("kept"), Thing("gone")
    del gone
    gc.collect()
    resources._after_fork_in_child()
    assert called == [kept.name]
    with pytest.raises(NotImplementedError):
        resources.ForkAware()._after_fork()


def test_closing_a_log_whose_descriptor_is_gone(tmp_path: Path) -> None:
    """Nothing is left to close, and another file that is opened later keeps its number."""
    session = Session.open(tmp_path / "a.jsonl")
    session.append(user("A1"))
    log: Any = session._journal.log
    os.close(log._fd)
    session.close()
    with Session.open(tmp_path / "a.jsonl") as again:
        assert contents(again) == ["A1"]


def test_a_lock_that_was_never_taken_is_not_given_back(tmp_path: Path) -> None:
    """Another file's lock, held through that descriptor, stays."""
    with open(tmp_path / "a", "wb") as file, open(tmp_path / "a", "rb") as other:
        assert filelock.lock_descriptor(file.fileno(), blocking=False)
        FileLock("elsewhere").release(file.fileno())
        assert not filelock.lock_descriptor(other.fileno(), blocking=False)
