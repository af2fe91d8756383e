"""The store in examples/dbm_store.py is a store: it passes the conformance suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import adding, contents, user
from hypothesis import settings

from convtree import SessionLocked, SessionNotFound, SessionStore, open_store
from convtree.stores.base import Chunk, LogReplaced
from convtree.testing import Clock, StoreContract, ids, store_machine

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from dbm_store import DbmBackend, open_backend  # noqa: E402


def open_dbm(place: Path, clock: Clock) -> SessionStore:
    return SessionStore(DbmBackend(place / "chats"), clock=clock)


class TestDbm(StoreContract):
    """The contract of every store."""

    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        return open_dbm(place, clock)


TestDbmMachine = store_machine(open_dbm).TestCase
TestDbmMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)


def test_a_url_opens_it(tmp_path: Path) -> None:
    """As the function that an entry point names."""
    with SessionStore(open_backend(f"dbm://{tmp_path}/chats")) as store:
        store.create(id="a").append(user("hello"))
        assert (ids(store.list()), store.location) == (["a"], f"dbm:{tmp_path}/chats")


def test_sessions_are_copied_in_and_out(tmp_path: Path) -> None:
    """Byte for byte."""
    with open_store(tmp_path / "folder") as folder, SessionStore(DbmBackend(tmp_path / "chats")) as store:
        with folder.create(id="a") as session:
            session.append_many([user(str(number)) for number in range(1200)])
        assert [each.status for each in folder.copy_to(store)] == ["copied"]
        with open_store(tmp_path / "back") as back:
            assert [each.status for each in store.copy_to(back)] == ["copied"]
    assert (tmp_path / "folder" / "a.jsonl").read_bytes() == (tmp_path / "back" / "a.jsonl").read_bytes()


def test_a_log_whose_session_was_replaced_is_read_again(tmp_path: Path) -> None:
    """The session that took its place is not continued by mistake."""
    backend = DbmBackend(tmp_path / "chats")
    backend.write_new("a", [b"one"])
    log = backend.log("a", "r+")
    backend.delete(["a"])
    with pytest.raises(SessionNotFound):
        list(log.read())
    backend.write_new("a", [b"two", b"three"])
    with pytest.raises(LogReplaced):
        log.append(1, adding(1, [b"more"]))
    assert list(log.read()) == [Chunk(range(2), [b"two", b"three"], 2)]
    assert log.read_at([(1, 5), (7, 5)]) == [b"three", b""]


def test_another_process_holds_the_lock(tmp_path: Path) -> None:
    """An append waits, and then says so."""
    program = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
from dbm_store import DbmBackend
with DbmBackend({str(tmp_path / "chats")!r}).transaction():
    print("locked", flush=True)
    sys.stdin.read()
"""
    store = SessionStore(DbmBackend(tmp_path / "chats", lock_timeout_s=0.05))
    session = store.create(id="a")
    session.append(user("one"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(SessionLocked):
            session.append(user("two"))
        process.communicate()
    session.append(user("three"))
    assert contents(session) == ["one", "three"]


def test_an_append_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Lines that the table of contents does not count are not there."""
    backend = DbmBackend(tmp_path / "chats")
    backend.write_new("a", [b"one"])

    def torn() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.log("a", "r+").append(1, adding(1, (torn() for _ in range(1))))
    with pytest.raises(KeyboardInterrupt):
        backend.write_new("b", (torn() if number else b"x" for number in range(2)))
    assert [chunk.lines for chunk in backend.log("a", "r").read()] == [[b"one"]]
    with pytest.raises(SessionNotFound):
        backend.log("b", "r")
