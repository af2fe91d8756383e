"""Copies of sessions from one store to another: the same lines, whatever happens on the way."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
from helpers import HEADER, adding, as_file, contents, node, sealed, user

from convtree import CorruptLog, NotALog, ReadOnlySession, Session, SessionLocked, SessionNotFound
from convtree._engine.log import Build, Chunk
from convtree._logs import file_lines
from convtree._logs.copy import Copied, copy_log
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree._logs.sql import SqlLog
from convtree.stores._folder import FolderBackend
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

LINES = sealed([HEADER, *(node(f"n{number}", f"n{number - 1}" if number else None) for number in range(1200))])


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[SessionStore, SessionStore]]:
    """Two folders."""
    with open_store(tmp_path / "a", durability="process") as a, open_store(tmp_path / "b", durability="process") as b:
        yield a, b


def put(store: SessionStore, id: str, data: bytes) -> Path:
    path = Path(store.location, f"{id}.jsonl")
    path.write_bytes(data)
    return path


def test_every_byte_is_the_same(stores: tuple[SessionStore, SessionStore]) -> None:
    """Of many sessions, also archived ones and sub-agents; labels, names and branches are lines like others."""
    a, b = stores
    with a.create(id="one", name="N") as session:
        session.append(user("x"), id="x")
        session.append(user("y"), parent_id=None)
        session.label("x", "L")
        session.branch("x")
    a.fork("one", new_id="fork").close()
    a.archive("fork")
    put(a, "s1", as_file(LINES))
    told: list[tuple[int, int]] = []
    done = a.copy_to(b, progress=lambda number, of: told.append((number, of)))
    assert sorted((each.id, each.status, each.lines) for each in done) == [
        ("fork", "copied", 5),
        ("one", "copied", 5),
        ("s1", "copied", 1201),
    ]
    assert told == [(1, 3), (2, 3), (3, 3)]
    for id in ("fork", "one", "s1"):
        assert Path(b.location, f"{id}.jsonl").read_bytes() == Path(a.location, f"{id}.jsonl").read_bytes()
    assert {each.status for each in a.copy_to(b)} == {"unchanged"}
    assert [info.id for info in b.list(archived=True)] == ["fork"]


@pytest.mark.no_cover
@pytest.mark.parametrize("count", [0, 1, 2, 500, 501, 1200])
def test_an_interrupted_copy_is_continued(count: int, stores: tuple[SessionStore, SessionStore]) -> None:
    """From any number of lines."""
    a, b = stores
    put(a, "s1", as_file(LINES))
    path = put(b, "s1", as_file(LINES[:count]))
    status: Literal["continued", "copied"] = "continued" if count else "copied"
    assert a.copy_to(b) == [Copied(id="s1", status=status, lines=1201 - count)]
    assert path.read_bytes() == as_file(LINES)


def test_a_torn_tail_in_the_copy_is_cut(stores: tuple[SessionStore, SessionStore]) -> None:
    """As every writer does."""
    a, b = stores
    put(a, "s1", as_file(LINES[:9]))
    path = put(b, "s1", as_file(LINES[:5]) + LINES[5][:40])
    assert a.copy_to(b) == [Copied(id="s1", status="continued", lines=4)]
    assert path.read_bytes() == as_file(LINES[:9])


def test_a_torn_tail_in_the_source_is_not_copied(stores: tuple[SessionStore, SessionStore]) -> None:
    """It is not part of the log."""
    a, b = stores
    put(a, "s1", as_file(LINES[:5]) + LINES[5][:40])
    assert a.copy_to(b) == [Copied(id="s1", status="copied", lines=5)]
    assert Path(b.location, "s1.jsonl").read_bytes() == as_file(LINES[:5])


def test_damage_is_copied_as_it_is(stores: tuple[SessionStore, SessionStore]) -> None:
    """Into a file: a copy is not a repair."""
    a, b = stores
    lines = [*LINES[:3], b"\xff\x00 junk", *LINES[4:9]]
    put(a, "s1", as_file(lines))
    assert a.copy_to(b) == [Copied(id="s1", status="copied", lines=9)]
    assert Path(b.location, "s1.jsonl").read_bytes() == as_file(lines)


OTHERS: dict[str, tuple[Sequence[bytes], str]] = {
    "another session": (sealed([HEADER.replace("s1", "s2"), node("a", None)]), "another session"),
    "gone on": ([*LINES[:5], *sealed([node("other", "n3")])], "continued there"),
    "longer": (LINES[:12], "continued there"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_target_with_other_lines_is_refused(case: str, stores: tuple[SessionStore, SessionStore]) -> None:
    """It is not touched, and the other sessions are copied."""
    a, b = stores
    lines, reason = OTHERS[case]
    put(a, "s1", as_file(LINES[:9]))
    put(a, "z", as_file(LINES[:9]))
    path = put(b, "s1", as_file(lines))
    done = {each.id: each for each in a.copy_to(b)}
    assert done["z"] == Copied(id="z", status="copied", lines=9)
    assert done["s1"].status == "refused"
    assert reason in (done["s1"].reason or "")
    assert path.read_bytes() == as_file(lines)


def test_incomplete_sessions_are_refused_by_name(stores: tuple[SessionStore, SessionStore]) -> None:
    """And a session that was asked for must exist."""
    a, b = stores
    put(a, "foreign", b"hello\n")
    put(a, "not an id", b"")
    put(a, "s1", as_file(LINES[:2]))
    done = {(each.id, each.status, each.reason) for each in a.copy_to(b)}
    assert done == {
        ("s1", "copied", None),
        ("foreign", "refused", "not_a_log"),
        ("not an id.jsonl", "refused", "bad_name"),
    }
    with pytest.raises(SessionNotFound):
        a.copy_to(b, ["nowhere"])


def test_a_line_that_is_too_long_is_refused(
    stores: tuple[SessionStore, SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be read, and so not copied."""
    a, b = stores
    monkeypatch.setattr(file_lines, "CHUNK", 2**8)
    monkeypatch.setattr(file_lines, "READ_LIMIT", 2**10)
    put(a, "s1", as_file([*LINES[:3], b"x" * 9000, *LINES[4:9]]))
    (done,) = a.copy_to(b, ["s1"])
    assert (done.status, "too long" in (done.reason or "")) == ("refused", True)


class Watched(MemoryLog):
    """A log that does something else when it is written to."""

    def __init__(self, act: Callable[[MemoryLog], object]) -> None:
        super().__init__()
        self._act = act

    def append(self, position: int, build: Build) -> Chunk:
        """Does it first."""
        self._act(self)
        return super().append(position, build)


def test_another_writer_of_the_copy_is_noticed() -> None:
    """Its line is neither overwritten nor counted as copied."""
    source = MemoryLog()
    source.append(0, adding(0, LINES[:600]))
    target = Watched(lambda log: MemoryLog(log).append(0, adding(0, [b"mine"])))
    with pytest.raises(Exception, match="another process is writing to the copy"):
        copy_log(source, target)


def test_the_copy_is_read_back_and_compared() -> None:
    """A store that stores something else is detected."""

    class Lossy(MemoryLog):
        def append(self, position: int, build: Build) -> Chunk:
            return super().append(position, adding(position, [line.upper() for line in build(iter(()))]))

    source = MemoryLog()
    source.append(0, adding(0, LINES[:3]))
    with pytest.raises(CorruptLog, match="read back"):
        copy_log(source, Lossy())


def test_between_kinds_of_stores(tmp_path: Path) -> None:
    """From a folder to memory and back, byte for byte."""
    with open_store(tmp_path / "a") as a, open_store("memory:") as b, open_store(tmp_path / "c") as c:
        with a.create(id="one") as session:
            session.append(user("x\u2028\0y"))
        assert [each.status for each in a.copy_to(b)] == ["copied"]
        assert [each.status for each in b.copy_to(c)] == ["copied"]
        with b.open("one") as session:
            assert contents(session) == ["x\u2028\0y"]
    assert (tmp_path / "a" / "one.jsonl").read_bytes() == (tmp_path / "c" / "one.jsonl").read_bytes()


def test_a_copy_can_be_appended_to(tmp_path: Path) -> None:
    """Its chain of checksums continues."""
    source = JsonlLog(tmp_path / "a.jsonl")
    source.append(0, adding(0, LINES[:5]))
    target = JsonlLog(tmp_path / "b.jsonl")
    assert copy_log(source, target) == 5
    source.close()
    target.close()
    with Session.open(tmp_path / "b.jsonl", strict=True) as session:
        session.append(user("more"))
    with Session.open(tmp_path / "b.jsonl", strict=True, mode="r") as session:
        assert contents(session)[-1] == "more"


@pytest.mark.parametrize("cut", [1, 2, 300])
def test_a_torn_group_in_the_source_is_not_copied(cut: int, tmp_path: Path) -> None:
    """Its whole lines are no part of the log either; a database could not cut them off again."""
    with open_store(tmp_path / "a") as a, open_store(f"sqlite:///{tmp_path}/b.db") as b:
        with a.create(id="s1") as session:
            session.append(user("a"))
            session.append_many([user("b"), user("c")])
        path = tmp_path / "a" / "s1.jsonl"
        path.write_bytes(path.read_bytes()[:-cut])
        assert a.copy_to(b) == [Copied(id="s1", status="copied", lines=2)]
        with b.open("s1") as session:
            session.append_many([user("d"), user("e")])
        with b.open("s1") as session:
            assert (contents(session), session.findings) == (["a", "d", "e"], ())


def test_an_interrupted_copy_of_a_group_in_a_database_takes_no_appends(tmp_path: Path) -> None:
    """Until the copy is continued: nothing is written behind a part of a group."""
    with open_store(tmp_path / "a") as a, open_store(f"sqlite:///{tmp_path}/b.db") as b:
        with a.create(id="s1") as session:
            session.append(user("a"))
            session.append_many([user("b")] * 1200)
        copied, append = 0, SqlLog.append

        def interrupted(log: SqlLog, position: int, build: Build) -> Chunk:
            nonlocal copied
            copied += 1
            if copied == 2:
                raise OSError("gone")
            return append(log, position, build)

        with patch.object(SqlLog, "append", interrupted):
            assert a.copy_to(b) == [Copied(id="s1", status="refused", reason="gone")]
        with b.open("s1") as session:
            assert contents(session) == ["a"]
            with pytest.raises(ReadOnlySession, match="a copy was interrupted"):
                session.append(user("x"))
        assert [each.status for each in a.copy_to(b)] == ["continued"]
        with b.open("s1") as session:
            session.append(user("x"))
            assert (contents(session), session.findings) == (["a", *["b"] * 1200, "x"], ())


def test_sessions_that_cannot_be_copied_stop_no_others(stores: tuple[SessionStore, SessionStore]) -> None:
    """Unreadable, no log any more, locked or too large there: each is refused with its reason."""
    a, b = stores
    for id in ("damaged", "good", "large", "locked", "unreadable", "vanished"):
        put(a, id, as_file(LINES[:4]))
    path = put(a, "damaged", as_file([*LINES[:2], b"junk", LINES[3]]))
    log = FolderBackend.log

    def failing(backend: FolderBackend, id: str, mode: Any) -> Any:
        reasons = {
            ("unreadable", "r"): PermissionError(13, "Permission denied", "unreadable.jsonl"),
            ("vanished", "r"): NotALog("vanished.jsonl: not a log"),
            ("locked", "a"): SessionLocked("locked.jsonl: locked by another writer", holder=None),
            ("large", "a"): OSError(27, "File too large", "large.jsonl"),
        }
        if (id, mode) in reasons:
            raise reasons[id, mode]
        return log(backend, id, mode)

    with patch.object(FolderBackend, "log", failing):
        assert {info.id for info in a.list()} == {"damaged", "good", "large", "locked"}
        done = {each.id: (each.status, each.reason) for each in a.copy_to(b)}
        assert [each.reason for each in a.copy_to(b, ["vanished"])] == ["vanished.jsonl: not a log"]
    assert done == {
        "damaged": ("copied", None),
        "good": ("copied", None),
        "large": ("refused", "[Errno 27] File too large: 'large.jsonl'"),
        "locked": ("refused", "locked.jsonl: locked by another writer"),
        "unreadable": ("refused", "[Errno 13] Permission denied: 'unreadable.jsonl'"),
        "vanished": ("refused", "not_a_log"),
    }
    assert Path(b.location, path.name).read_bytes() == path.read_bytes()
    assert {each.id for each in a.copy_to(b) if each.status == "copied"} == {"large", "locked", "unreadable"}


def test_a_store_that_does_not_answer_ends_the_copy(stores: tuple[SessionStore, SessionStore]) -> None:
    """It would fail for every session."""
    a, b = stores
    put(a, "s1", as_file(LINES[:4]))
    with patch.object(b._backend, "log", side_effect=OSError("gone")):
        assert [each.reason for each in a.copy_to(b)] == ["gone"]
        with patch.object(b._backend, "catalogue", side_effect=OSError("gone")), pytest.raises(OSError, match="gone"):
            a.copy_to(b)


def test_a_database_whose_end_is_wrong_is_not_copied(tmp_path: Path) -> None:
    """It is refused, and the reason says what to do; others are copied."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store:
        for id in "ab":
            with store.create(id=id) as session:
                session.append(user(id))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute("UPDATE ct_sessions SET last_crc = last_crc + 1 WHERE session_id = 'a'")
    raw.close()
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, open_store(tmp_path / "copy") as target:
        done = {each.id: each for each in store.copy_to(target)}
        assert (done["a"].status, done["b"].status) == ("refused", "copied")
        assert "repair the log first" in (done["a"].reason or "")
