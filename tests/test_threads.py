"""Threads on one session, and sessions side by side in one process."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

from helpers import contents, ids, user

from convtree import Session, StaleLeaf


def run_all(*works: Callable[[], None]) -> None:
    """Runs every work in a thread, all at once; raises what one of them raised."""
    barrier = Barrier(len(works))
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_32_threads_append_one_chain(session: Session) -> None:
    """No entry is lost or doubled; the path holds them all."""

    def work(name: int) -> Callable[[], None]:
        def append() -> None:
            for number in range(20):
                session.append(user(f"{name}-{number}"))

        return append

    run_all(*(work(name) for name in range(32)))
    said = contents(session)
    assert sorted(said) == sorted(f"{name}-{number}" for name in range(32) for number in range(20))
    for name in range(32):
        assert [text for text in said if text.startswith(f"{name}-")] == [f"{name}-{number}" for number in range(20)]
    assert session.findings == ()


def test_threads_read_while_one_writes(session: Session) -> None:
    """Readers always see a whole chain."""
    session.append(user("0"))

    def write() -> None:
        for number in range(1, 100):
            session.append(user(str(number)))
            session.label(session.leaf_id or "", "L")

    def read() -> None:
        for _ in range(60):
            said = contents(session)
            assert said == [str(number) for number in range(len(said))]
            assert len(session.leaves()) == 1
            assert set(session.labels.values()) <= {"L"}

    run_all(write, read, read, read)


def test_a_log_is_created_once_by_many_threads(log_path: Path) -> None:
    """One session, one header."""
    with Session.open(log_path, durability="process") as session:
        run_all(*(lambda: session.rename("n") for _ in range(16)))
    with Session.open(log_path, mode="r") as session:
        assert session.findings == ()
        assert log_path.read_bytes().count(b"\n") == 17


def test_two_sessions_in_one_process_behave_as_two_processes(log_path: Path) -> None:
    """Each append is stored or raises StaleLeaf; no entry continues a leaf that its session has not seen."""
    landed: list[str] = []
    told: list[tuple[bool, bool]] = []

    def work(name: str) -> Callable[[], None]:
        def append() -> None:
            with Session.open(log_path, durability="process", lock_timeout_s=60) as session:
                done = 0
                while done < 40:
                    seen = session.leaf_id
                    try:
                        entry = session.append(user(name))
                    except StaleLeaf as stale:
                        told.append((stale.expected == seen, stale.actual == seen))
                        session.refresh()
                    else:
                        assert entry.parent_id == seen
                        landed.append(entry.id)
                        done += 1

        return append

    run_all(work("a"), work("b"))
    with Session.open(log_path, mode="r") as session:
        assert session.findings == ()
        assert set(ids(session.path())) == set(landed)
        assert len(landed) == 80
        assert set(told) <= {(True, False)}
        assert sorted(contents(session)) == ["a"] * 40 + ["b"] * 40


def test_one_id_appended_by_many_threads_is_stored_once(session: Session) -> None:
    """Thirty-two tries with one id and equal content make one entry, and all get it."""
    got: list[Any] = []
    run_all(*(lambda: got.append(session.append(user("a"), id="a")) for _ in range(32)))
    assert got == [session.entry("a")] * 32
    assert len(session.path()) == 1
