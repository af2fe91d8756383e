"""The log contract over every kind of log, and what only files do: tear, shrink, be replaced, be locked."""

import errno
import gc
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from unittest.mock import patch
from zlib import crc32

import pytest
from helpers import HEADER, adding, as_file, codes, contents, facts, ids, log_of, node, sealed, user
from log_contract import LogContract

from convtree import (
    EntryNotFound,
    Header,
    IdConflict,
    MessageEntry,
    NotALog,
    ReadOnlySession,
    Session,
    SessionClosed,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
    StaleLeaf,
)
from convtree._engine import save_points
from convtree._engine.log import Addition, Build, Chunk, Log, LogReplaced, Mode
from convtree._engine.log_index import Index
from convtree._logs import file_lines
from convtree._logs import lock as file_lock
from convtree._logs.jsonl import JsonlLog
from convtree._logs.lock import FileLock
from convtree._logs.memory import MemoryLog

HALF = b'{"id":"b","parent_id":"a","type":"mess'


class TestJsonl(LogContract):
    """A file."""

    def open_log(self, place: Path) -> Log:
        """Another descriptor each time."""
        return JsonlLog(place / "log.jsonl", durability="process")


class TestDurableJsonl(LogContract):
    """A file, synced; the lock held from open to close."""

    shared = False

    def open_log(self, place: Path) -> Log:
        """One handle at a time."""
        return JsonlLog(place / "log.jsonl", exclusive=True, lock_timeout_s=0)


class TestMemory(LogContract):
    """A list."""

    shared = False
    lasting = False
    keeps = False

    def open_log(self, place: Path) -> Log:  # noqa: ARG002  # it has no place
        """A new list each time."""
        return MemoryLog()


def quick(path: Path, **arguments: object) -> Session:
    return Session.open(path, durability="process", **arguments)  # type: ignore[arg-type]


def torn_of(path: Path) -> Path:
    return path.with_name(path.name + ".torn")


# --- the tail ---


def test_readers_report_a_torn_tail_and_do_not_change_it(log_path: Path) -> None:
    """Bytes after the last newline are a finding, not an entry."""
    data = log_of(node("a", None)) + HALF
    log_path.write_bytes(data)
    for mode in ("r", "a"):
        with quick(log_path, mode=mode) as session:
            assert contents(session) == ["a"]
            assert codes(session) == ["torn_tail"]
    assert log_path.read_bytes() == data
    assert not torn_of(log_path).exists()


def test_the_next_writer_saves_and_cuts_a_torn_tail(log_path: Path) -> None:
    """It is saved to `<log>.torn`, then cut; the new line stands alone."""
    log_path.write_bytes(log_of(node("a", None)) + HALF)
    for durability in ("process", "power"):
        with Session.open(log_path, durability=durability) as session:
            session.append(user(durability))
        with log_path.open("ab") as file:
            file.write(b"again")
    with quick(log_path) as session:
        session.append(user("c"))
        assert contents(session) == ["a", "process", "power", "c"]
    assert torn_of(log_path).read_bytes() == HALF + b"\nagain\nagain\n"
    assert torn_of(log_path).stat().st_mode == log_path.stat().st_mode
    with quick(log_path) as session:
        assert session.findings == ()


def test_the_next_writer_completes_a_tail_whose_checksum_holds(log_path: Path) -> None:
    """Only its newline was missing: it is an entry again, of a branch of its own, and nothing is saved elsewhere."""
    for end in (b"", b"\r"):
        lines = sealed([HEADER, node("a", None), node("b", "a")])
        log_path.write_bytes(as_file(lines)[:-1] + end)
        with quick(log_path) as session:
            assert session.leaf_id == "a"
            assert session.append(user("c")).parent_id == "a"
            assert ids(session.children("a"))[0] == "b"
            assert contents(session) == ["a", "c"]
        assert not torn_of(log_path).exists()
        with quick(log_path) as session:
            assert codes(session) == (["carriage_return"] if end else [])


@pytest.mark.parametrize("cut", range(0, 130, 13))
def test_an_unfinished_header_is_replaced(cut: int, log_path: Path) -> None:
    """A file that is empty, all zeros, or the start of a header: the next writer starts the log."""
    for data in (HEADER.encode()[:cut], bytes(cut), HEADER.encode()[: cut // 2] + bytes(cut)):
        log_path.write_bytes(data)
        with quick(log_path) as session:
            session.append(user("a"))
            assert contents(session) == ["a"]
        with quick(log_path) as session:
            assert (contents(session), session.findings) == (["a"], ())
        assert torn_of(log_path).exists() == bool(data)
        torn_of(log_path).unlink(missing_ok=True)


def test_a_torn_tail_is_repaired_after_any_valid_header(log_path: Path) -> None:
    """Also if other programs have written the header: with other spacing or key order."""
    header = '{ "format":"convtree", "type":"session", "version":1, "id":"s1" }'
    log_path.write_bytes(b"\xef\xbb\xbf" + as_file([header.encode(), node("a", None).encode()]) + HALF)
    with quick(log_path) as session:
        session.append(user("b"))
        assert contents(session) == ["a", "b"]


def test_a_line_torn_at_any_byte_is_repaired(log_path: Path) -> None:
    """However much of a line reached the file, the next line is whole and none before it is lost."""
    lines = sealed([HEADER, node("a", None), node("b", "a")])
    for cut in range(len(lines[2])):
        log_path.write_bytes(as_file(lines[:2]) + lines[2][:cut])
        with quick(log_path) as session:
            session.append(user("c"))
        with quick(log_path, mode="r") as session:
            assert (contents(session), session.findings) == (["a", "c"], ())


def test_a_very_long_torn_tail_is_saved_whole(log_path: Path) -> None:
    """Also if it is longer than one read."""
    tail = b"x" * 1_000_000
    log_path.write_bytes(log_of(node("a", None)) + tail)
    with quick(log_path) as session:
        session.append(user("b"))
        assert contents(session) == ["a", "b"]
    assert torn_of(log_path).read_bytes() == tail + b"\n"


OTHERS = [
    *(b"hello", b"hello\n", b"hello\nworld", b"\n", b"\nhello", b"[]\n", b"\0\0x", b"\x1f\x8b\x08"),
    b'{"type":"session","version":3,"id":"pi"}\n{"type"',
]


@pytest.mark.parametrize("data", OTHERS)
def test_other_files_are_refused_and_not_touched(data: bytes, log_path: Path) -> None:
    """In every mode, and also if they appear after opening."""
    log_path.write_bytes(data)
    for mode in ("r", "r+", "a"):
        with pytest.raises(NotALog):
            quick(log_path, mode=mode)
    log_path.unlink()
    with quick(log_path) as late:
        log_path.write_bytes(data)
        for _ in range(2):
            with pytest.raises(NotALog):
                late.append(user("a"), parent_id=None)
    assert log_path.read_bytes() == data
    assert os.listdir(log_path.parent) == [log_path.name]


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling link", "device"])
def test_only_regular_files_are_logs(kind: str, log_path: Path) -> None:
    """A FIFO does not hang, and links are not followed, in any mode."""
    make: dict[str, Callable[[], object]] = {
        "directory": log_path.mkdir,
        "fifo": lambda: os.mkfifo(log_path),
        "link": lambda: log_path.symlink_to("real"),
        "dangling link": lambda: log_path.symlink_to("nowhere"),
        "device": lambda: None,
    }
    log_path.with_name("real").write_bytes(log_of(node("a", None)))
    make[kind]()
    path = Path(os.devnull) if kind == "device" else log_path
    for mode in ("r", "r+", "a", "x"):
        with pytest.raises(NotALog), quick(path, mode=mode) as session:
            session.append(user("a"))
    assert not log_path.with_name("nowhere").exists()


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    """FileNotFoundError when the log is opened, not at the first append."""
    for mode in ("a", "x"):
        with pytest.raises(FileNotFoundError):
            quick(tmp_path / "gone" / "log.jsonl", mode=mode)


def test_the_file_is_for_its_owner_only(log_path: Path) -> None:
    """Mode 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        with quick(log_path) as session:
            session.append(user("a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(log_path.stat().st_mode) == 0o600


# --- replaced and shrunk ---


def put_in_place(path: Path, data: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(data)
    other.rename(path)


@pytest.mark.parametrize("exclusive", [False, True])
def test_no_entry_goes_to_a_file_that_was_replaced(exclusive: bool, log_path: Path) -> None:
    """A writer notices it, reads the new file and finds its leaf stale; the old file gets nothing."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path, exclusive=exclusive) as session:
        os.link(log_path, log_path.with_name("orphan"))
        put_in_place(log_path, log_of(node("a", None), node("b", "a"), header=HEADER.replace("s1", "s2")))
        with pytest.raises(StaleLeaf):
            session.append(user("c"))
        assert session.id == "s2"
        assert ids(session.refresh()) == ["a", "b"]
        session.append(user("c"))
        assert log_path.with_name("orphan").read_bytes() == log_of(node("a", None))
        if exclusive:
            with pytest.raises(SessionLocked):
                quick(log_path, exclusive=True, lock_timeout_s=0)
    with quick(log_path) as session:
        assert contents(session) == ["a", "b", "c"]


def test_an_exclusive_session_locks_the_new_file_after_a_replacement(
    log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the file is replaced while it waits for the lock, it locks the new file."""
    log_path.write_bytes(log_of(node("a", None)))
    lock, count = file_lock.lock_descriptor, 0

    def replaced_meanwhile(*arguments: object, **named: object) -> bool:
        nonlocal count
        count += 1
        if count == 1:
            put_in_place(log_path, log_of(node("a", None), node("b", "a")))
        return bool(lock(*arguments, **named))  # type: ignore[arg-type]

    monkeypatch.setattr(file_lock, "lock_descriptor", replaced_meanwhile)
    with quick(log_path, exclusive=True) as session:
        assert contents(session) == ["a", "b"]
        with pytest.raises(SessionLocked):
            quick(log_path, exclusive=True, lock_timeout_s=0)


@pytest.mark.parametrize("mode", ["a", "x"])
@pytest.mark.parametrize("swap", ["gone", "another empty one"])
def test_a_new_file_is_swapped_before_its_first_line(
    swap: str, mode: Mode, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is written to the file that has the name, which is created again if it is gone."""
    acquire = FileLock.acquire

    def swap_first(lock: FileLock, fd: int, timeout_s: float) -> None:
        monkeypatch.setattr(FileLock, "acquire", acquire)
        if swap == "gone":
            log_path.unlink()
        else:
            put_in_place(log_path, b"")
        acquire(lock, fd, timeout_s)

    with quick(log_path, mode=mode) as session:
        monkeypatch.setattr(FileLock, "acquire", swap_first)
        session.append(user("a"))
    with quick(log_path, mode="r") as session:
        assert contents(session) == ["a"]


def test_a_log_that_could_not_begin_has_nothing_to_close() -> None:
    """It is collected without a word: no file was opened."""
    with pytest.raises(TypeError):
        JsonlLog(None)  # type: ignore[arg-type]
    gc.collect()


def test_a_reader_notices_a_replaced_file(log_path: Path) -> None:
    """`refresh` reads the new file and returns all its entries."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path, mode="r") as session:
        put_in_place(log_path, log_of(node("x", None), node("y", "x")))
        assert contents(session) == ["a"]
        assert ids(session.refresh()) == ["x", "y"]
        assert contents(session) == ["x", "y"]


def test_a_removed_file_is_not_written_to(log_path: Path) -> None:
    """SessionNotFound: an entry in a file without a name would be lost."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as session:
        os.link(log_path, log_path.with_name("orphan"))
        log_path.unlink()
        for _ in range(2):
            with pytest.raises(SessionNotFound):
                session.append(user("b"))
        assert log_path.with_name("orphan").read_bytes() == log_of(node("a", None))
        assert contents(session) == ["a"]
        log_path.with_name("orphan").rename(log_path)
        session.append(user("b"))
    with quick(log_path) as session:
        assert contents(session) == ["a", "b"]


def test_a_log_of_the_same_length_with_an_index_takes_the_place_of_another(log_path: Path) -> None:
    """A session that read the first to its end opens the second, whose index ends at the same position."""
    other = log_path.with_name("other.jsonl")
    with patch.multiple(save_points, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0):
        for path, text in ((log_path, "a"), (other, "b")):
            with quick(path, id="s", clock=lambda: 1) as session:
                session.append(user(text), id="m")
    with quick(log_path, mode="r") as reader:
        assert contents(reader) == ["a"]
        for suffix in ("", ".index"):
            other.with_name(other.name + suffix).replace(log_path.with_name(log_path.name + suffix))
        assert reader.refresh() == reader.path()
        assert contents(reader) == ["b"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "text"])
def test_a_log_replaced_by_something_else_is_not_written_to(kind: str, log_path: Path) -> None:
    """NotALog, each time; the lock of the old file is released."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as session:
        log_path.rename(log_path.with_name("old"))
        if kind == "directory":
            log_path.mkdir()
        elif kind == "fifo":
            os.mkfifo(log_path)
        else:
            log_path.write_text("hello\n")
        for _ in range(2):
            with pytest.raises(NotALog):
                session.append(user("b"), parent_id=None)
        with quick(log_path.with_name("old"), lock_timeout_s=0) as old:
            old.append(user("b"))
    assert kind != "text" or log_path.read_text() == "hello\n"


def test_a_shrunk_file_is_read_again(log_path: Path) -> None:
    """The leaf it knew is stale, and removed lines are not found."""
    lines = sealed([HEADER, node("a", None), node("b", "a")])
    log_path.write_bytes(as_file(lines))
    with quick(log_path) as session:
        os.truncate(log_path, len(as_file(lines[:2])))
        with pytest.raises(StaleLeaf) as caught:
            session.append(user("c"))
        assert (caught.value.expected, caught.value.actual) == ("b", "a")
        assert ids(session.refresh()) == ["a"]
        session.append(user("c"))
        assert contents(session) == ["a", "c"]


def test_a_backup_copied_over_the_log_is_noticed(log_path: Path) -> None:
    """`cp backup log` keeps the inode; an entry below a removed one must not be acknowledged."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a")))
    with quick(log_path) as session:
        log_path.write_bytes(log_of(node("x", None), node("y", "x")))
        with suppress(StaleLeaf):
            session.append(user("c"))
    with quick(log_path) as session:
        assert session.findings == ()


def test_a_session_without_references_closes_its_file(log_path: Path) -> None:
    """When it is collected, without a warning; its lock is released."""
    log_path.write_bytes(log_of(node("a", None)))
    for _ in range(3):
        session = quick(log_path, exclusive=True, lock_timeout_s=0)
        assert contents(session) == ["a"]
        del session
        gc.collect()


# --- creation ---


def test_the_loser_of_a_creation_race_notices_it(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two find no log; one creates it while the other is about to: nothing is doubled, nothing is lost."""
    with quick(log_path) as late, quick(log_path) as first:
        open_file = os.open

        def first_comes_first(path: object, *arguments: object, **named: object) -> int:
            if arguments and isinstance(arguments[0], int) and arguments[0] & os.O_CREAT:
                monkeypatch.setattr(os, "open", open_file)
                first.append(user("a"))
            return open_file(path, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", first_comes_first)
        with pytest.raises(StaleLeaf):
            late.append(user("b"))
        assert late.id == first.id
        late.refresh()
        late.append(user("b"))
        assert contents(late) == ["a", "b"]
    with quick(log_path) as session:
        assert (contents(session), session.findings) == (["a", "b"], ())


# --- locks ---

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_holds(path: Path) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process.pid
        process.stdin.close()


def test_a_lock_timeout_names_the_holder(log_path: Path) -> None:
    """Writers wait for lock_timeout_s; readers do not wait; once it is free, all can write."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path, lock_timeout_s=0.05) as session:
        with another_process_holds(log_path) as pid:
            with pytest.raises(SessionLocked, match=r"for 0\.05 s") as caught:
                session.append(user("b"))
            assert caught.value.holder is not None
            assert f"process {pid} " in caught.value.holder
            with pytest.raises(SessionLocked):
                quick(log_path, exclusive=True, lock_timeout_s=0)
            assert contents(session) == ["a"]
            with quick(log_path, mode="r") as reader:
                assert contents(reader) == ["a"]
                assert reader.refresh() == []
        session.append(user("b"))
        assert contents(session) == ["a", "b"]


def test_exclusive_holds_from_open_to_close(log_path: Path) -> None:
    """Others can read, and can write after the close; the checks of a replaced file remain."""
    with quick(log_path) as other, quick(log_path, exclusive=True, lock_timeout_s=0) as session:
        session.append(user("a"))
        session.append(user("b"))
        assert len(other.refresh()) == 2
        with quick(log_path, lock_timeout_s=0) as third, pytest.raises(SessionLocked):
            third.append(user("c"))
        session.close()
        other.append(user("c"))
        assert contents(other) == ["a", "b", "c"]


def test_exclusive_creates_and_locks_a_new_log(log_path: Path) -> None:
    """Of two that open a new log with exclusive=True, one gets it."""
    with quick(log_path, exclusive=True) as session:
        for mode in ("a", "r+"):
            with pytest.raises(SessionLocked):
                quick(log_path, mode=mode, exclusive=True, lock_timeout_s=0)
        session.append(user("a"))
    with quick(log_path) as session:
        assert contents(session) == ["a"]


def test_a_failed_append_releases_the_lock(log_path: Path) -> None:
    """Whatever it was refused for, the next writer can write."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as one, quick(log_path, lock_timeout_s=0) as two:
        with pytest.raises(EntryNotFound):
            one.append(user("b"), parent_id="gone")
        two.label("a", "L")
        with pytest.raises(IdConflict):
            one.append(user("b"), id="a")
        two.label("a", None)


# --- a disk that refuses ---


class Disk:
    """Makes calls to the operating system fail, as planned by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: dict[str, list[int]] = {}
        self.calls: list[str] = []
        for name in ("write", "fdatasync", "ftruncate", "fsync"):
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def fail(self, **plans: int | list[int]) -> None:
        """An error number a call, 0 for one that works; `write` may take a negative one: so many bytes are taken."""
        self.plans = {name: plan if isinstance(plan, list) else [plan] for name, plan in plans.items()}

    def _wrap(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        def wrapped(fd: int, *arguments: object) -> int:
            self.calls.append(name)
            plan = self.plans.get(name)
            code = plan.pop(0) if plan else 0
            if code > 0:
                raise OSError(code, os.strerror(code))
            if code < 0:
                data = arguments[0]
                assert isinstance(data, bytes | memoryview)
                return call(fd, bytes(data[:-code]))
            return call(fd, *arguments)

        return wrapped


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that works until a test plans a failure."""
    return Disk(monkeypatch)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("written", [0, 1, 200])
def test_a_full_disk_leaves_the_session_usable(code: int, written: int, disk: Disk, log_path: Path) -> None:
    """The error is raised unchanged, a half-written line is cut, and the next append works."""
    with Session.open(log_path) as session:
        first = session.append(user("a"))
        before = log_path.read_bytes()
        disk.fail(write=[-written, code] if written else code)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            session.append(user("b" * 500))
        assert caught.value.errno == code
        assert log_path.read_bytes() == before
        assert (session.leaf_id, contents(session)) == (first.id, ["a"])
        assert session.append(user("c")).parent_id == first.id
    with Session.open(log_path) as session:
        assert (contents(session), session.findings) == (["a", "c"], ())


def test_a_full_disk_keeps_no_part_of_a_batch(disk: Disk, log_path: Path) -> None:
    """The file is cut back to where the write began; a retry adds the whole batch."""
    entries = [MessageEntry(id=id, message=user("x" * 100)) for id in "abc"]
    with Session.open(log_path) as session:
        root = session.append(user("root"))
        before = log_path.read_bytes()
        disk.fail(write=[-500, errno.ENOSPC])
        with pytest.raises(OSError, match="No space"):
            session.append_many(entries)
        assert (session.leaf_id, contents(session)) == (root.id, ["root"])
        assert log_path.read_bytes() == before
        assert ids(session.append_many(entries)) == ["a", "b", "c"]
        assert ids(session.path()) == [root.id, "a", "b", "c"]
        assert session.append(user("d")).parent_id == "c"


def test_short_writes_are_continued(disk: Disk, log_path: Path) -> None:
    """After a short write, the rest is written."""
    with Session.open(log_path) as session:
        disk.fail(write=[-1, -50, -100, 0])
        session.append(user("a" * 300))
    with Session.open(log_path) as session:
        assert (contents(session), session.findings) == (["a" * 300], ())


@pytest.mark.parametrize(
    "plan",
    [
        {"write": errno.EIO},
        {"write": [-40, errno.EIO]},
        {"write": errno.EBADF},
        {"fdatasync": errno.EIO},
        {"fdatasync": errno.ENOSPC},
        {"write": [-40, errno.ENOSPC], "ftruncate": errno.EIO},
        {"write": [-40, errno.ENOSPC], "ftruncate": errno.EPERM},
        {"write": [-40, errno.ENOSPC], "fdatasync": errno.EIO},
    ],
    ids=str,
)
def test_after_any_other_failure_the_session_does_not_write(
    plan: dict[str, int | list[int]], disk: Disk, log_path: Path
) -> None:
    """It is unknown what is on disk: the session can read; a new session finds a good log."""
    with Session.open(log_path) as session:
        session.append(user("a"), id="a")
        disk.fail(**plan)
        with pytest.raises(OSError, match=r"Errno"):
            session.append(user("b"), id="b")
        size = log_path.stat().st_size
        for act in (lambda: session.append(user("c")), lambda: session.label("a", "L"), lambda: session.branch(None)):
            with pytest.raises(SessionFailed):
                act()
        assert contents(session, leaf="a") == ["a"]
        assert log_path.stat().st_size == size
    with Session.open(log_path) as session:
        assert session.append(user("b"), id="b").parent_id == "a"
        assert contents(session) == ["a", "b"]
    with Session.open(log_path) as session:
        assert (contents(session), session.findings) == (["a", "b"], ())


@pytest.mark.parametrize("plan", [{"fdatasync": [0, errno.EIO]}, {"ftruncate": errno.EPERM}], ids=str)
def test_a_failure_while_repairing_the_tail_writes_nothing(
    plan: dict[str, int | list[int]], disk: Disk, log_path: Path
) -> None:
    """If the tail cannot be cut, or the cut cannot be synced, no line is appended to it."""
    log_path.write_bytes(log_of(node("a", None)) + HALF)
    with Session.open(log_path) as session:
        disk.fail(**plan)
        with pytest.raises(OSError, match=r"Errno"):
            session.append(user("b"))
        disk.fail()
        with suppress(SessionFailed):
            session.append(user("b"), id="b")
    with Session.open(log_path) as session:
        session.append(user("b"), id="b")
        assert contents(session) == ["a", "b"]


@pytest.mark.parametrize("tail", [b"", HALF])
def test_after_a_failed_sync_the_session_does_not_write(tail: bytes, disk: Disk, log_path: Path) -> None:
    """Whether it was for a repaired tail or a new line."""
    log_path.write_bytes(log_of(node("a", None)) + tail)
    with Session.open(log_path) as session:
        disk.fail(fdatasync=[0, errno.EIO] if tail else errno.EIO)  # the first one, with a tail, is that of `.torn`
        with pytest.raises(OSError, match="Input/output error"):
            session.append(user("b"))
        with pytest.raises(SessionFailed):
            session.append(user("c"))


def test_a_new_log_syncs_its_folder_also_after_a_failed_try(disk: Disk, log_path: Path) -> None:
    """The name of the file is as durable as its first acknowledged line."""
    with Session.open(log_path) as session:
        disk.fail(write=[-200, errno.ENOSPC])
        with pytest.raises(OSError, match="No space"):
            session.append(user("a" * 300))
        session.append(user("b"))
        assert disk.calls.count("fsync") == 2  # when the first try was cut off, and with the second
        disk.calls.clear()
        session.append(user("c"))
        assert disk.calls == ["write", "fdatasync"]


def test_durability_process_syncs_nothing(disk: Disk, log_path: Path) -> None:
    """It promises to survive the death of processes, and that needs no sync."""
    with quick(log_path) as session:
        session.append(user("a"))
        session.append(user("b"))
    assert disk.calls == ["write", "write"]


LIMITED = """
import json, resource, sys
import convtree
from convtree import Session
session = Session.open(sys.argv[1])
session.append({"role": "user", "content": "a"}, id="a")
size = __import__("os").stat(sys.argv[1]).st_size
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
try:
    session.append({"role": "user", "content": "b" * 500})
except OSError as error:
    failed = error.errno
cut = __import__("os").stat(sys.argv[1]).st_size - size
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
session.append({"role": "user", "content": "c"})
print(json.dumps([failed, cut, [m["content"] for m in session.build_context().messages]]))
"""


def test_a_real_file_size_limit_leaves_the_session_usable(log_path: Path) -> None:
    """The system writes part of a line and refuses the rest: the part is cut, and the session goes on."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(log_path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [errno.EFBIG, 0, ["a", "c"]]


# --- processes ---


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_refuses_to_write(log_path: Path) -> None:
    """Its inherited sessions raise SessionClosed; lock and file of the parent are unchanged."""
    with quick(log_path) as session, quick(log_path.with_name("held.jsonl"), exclusive=True) as held:
        session.append(user("a"))
        held.append(user("a"))
        pid = os.fork()
        if pid == 0:  # pragma: no cover  # in the child
            refused = 0
            for each in (session, held):
                for act in (lambda: each.append(user("b")), each.refresh, lambda: each.label("a", "L")):  # noqa: B023
                    try:
                        act()
                    except SessionClosed:
                        refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
        with pytest.raises(SessionLocked):
            quick(log_path.with_name("held.jsonl"), exclusive=True, lock_timeout_s=0)
        session.append(user("b"))
        held.append(user("b"))
        assert contents(session) == contents(held) == ["a", "b"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_thread_writes_does_not_hang(log_path: Path) -> None:
    """The session's own lock is held by a thread that the child does not have."""
    with quick(log_path, exclusive=True) as holder, quick(log_path, lock_timeout_s=60, on_stale="rebase") as session:
        thread = Thread(target=lambda: session.append(user("a")))
        thread.start()
        while session._client.lock.acquire(blocking=False):  # until the thread waits for the file with it
            session._client.lock.release()
        pid = os.fork()
        if pid == 0:  # pragma: no cover  # in the child
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            try:
                session.append(user("b"))
            except SessionClosed:
                os._exit(7)
            os._exit(1)
        holder.close()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        thread.join()
        assert contents(session) == ["a"]


WRITER = """
import sys
from convtree import Session
with Session.open(sys.argv[1], durability="process", lock_timeout_s=60) as session:
    for number in range(int(sys.argv[3])):
        session.append({"role": "user", "content": sys.argv[2]}, on_stale="rebase")
"""


def test_processes_take_turns(log_path: Path) -> None:
    """Four processes that create one log together append all their entries, in one chain."""
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(log_path), name, "40"]) for name in "abcd"]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    with quick(log_path, mode="r") as session:
        assert session.findings == ()
        said = contents(session)
        assert sorted(said) == sorted("abcd" * 40)
        assert len(session.path()) == 160


@pytest.mark.parametrize("before", [b"", b"\n", b"\r\n\n"])
@pytest.mark.parametrize("size", [10, 300_000, 3_000_000])
def test_a_log_is_repaired_with_empty_lines_or_a_long_header(before: bytes, size: int, log_path: Path) -> None:
    """Also after empty lines, and with a header longer than one read."""
    header = HEADER[:-1] + ',"metadata":{"x":"' + "x" * size + '"}}'
    log_path.write_bytes(before + log_of(node("a", None), header=header) + HALF)
    with quick(log_path) as session:
        session.append(user("b"))
        assert contents(session) == ["a", "b"]


# --- what seldom happens ---


def test_a_huge_file_without_lines_is_no_log(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops when its first line is longer than any line of a log."""
    monkeypatch.setattr(file_lines, "READ_LIMIT", 2**18)
    log_path.write_bytes(b"x" * (2**18 + 1))
    with pytest.raises(NotALog):
        quick(log_path)


def test_a_torn_tail_may_be_too_long_for_a_line(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a torn tail all the same, and is read again when its newline comes."""
    monkeypatch.setattr(file_lines, "READ_LIMIT", 2**18)
    whole = log_of(node("a", None))
    log_path.write_bytes(whole + b"x" * 300_000)
    with quick(log_path, mode="r") as session:
        assert facts(session.findings) == [("torn_tail", 3, len(whole), 300_000)]
        with log_path.open("ab") as file:
            file.write(b"\n")
        session.refresh()
        assert facts(session.findings) == [("line_too_long", 3, len(whole), 300_001)]


def test_a_folder_at_the_path_of_a_new_log_is_not_touched(log_path: Path) -> None:
    """It appears after the session was opened: the append raises NotALog."""
    with quick(log_path, mode="x") as session:
        log_path.mkdir()
        with pytest.raises(NotALog):
            session.append(user("a"))
    assert list(log_path.iterdir()) == []


def test_an_exclusive_new_log_must_be_new(log_path: Path) -> None:
    """With mode x, an existing file stays as it is."""
    log_path.write_bytes(b"mine")
    with pytest.raises(SessionExists):
        quick(log_path, mode="x", exclusive=True)
    assert log_path.read_bytes() == b"mine"


def test_a_creator_that_was_overtaken_waits_for_the_lock(log_path: Path) -> None:
    """Another writer may lock the file between its creation and our lock; afterwards both can write."""
    others: list[JsonlLog] = []

    def build(news: Iterator[Chunk]) -> Addition:
        if not others:
            others.append(JsonlLog(log_path, exclusive=True))
        return Addition([b"mine"], max([0, *(chunk.end for chunk in news)]))

    log = JsonlLog(log_path, lock_timeout_s=0)
    with pytest.raises(SessionLocked):
        log.append(0, build)
    others[0].append(0, adding(0, [b"theirs"]))
    others[0].close()
    log.append(0, build)
    log.close()
    assert log_path.read_bytes() == b"theirs\nmine\n"


def test_a_signal_while_unlocking_does_not_keep_the_lock(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is released before the exception of the signal handler leaves the log."""
    unlock, signals = file_lock.unlock_descriptor, [KeyboardInterrupt()]

    def interrupted(fd: int) -> None:
        if signals:
            raise signals.pop()
        unlock(fd)

    with quick(log_path) as session, quick(log_path, lock_timeout_s=0) as other:
        monkeypatch.setattr(file_lock, "unlock_descriptor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.append(user("a"), id="a")
        assert other.append(user("b"), on_stale="rebase").parent_id == "a"


def test_the_fork_hooks_close_the_log_in_the_child(log_path: Path) -> None:
    """Called here on one log and one session: the log is closed for good, a held lock is free."""
    with quick(log_path) as session:
        session.append(user("a"))
        log = JsonlLog(log_path)
        held = session._client.lock
        log._after_fork()
        session._client._after_fork()
        for act in (lambda: list(log.read()), lambda: log.append(0, adding(0, [b"x"]))):
            with pytest.raises(SessionClosed):
                act()
        assert session._client.lock is not held
        assert contents(session) == ["a"]


@pytest.mark.parametrize("told", ["all", "others", "nothing", "nonsense"])
def test_the_holder_of_a_lock_is_found_in_proc_locks(
    told: str, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the file in /proc/locks has the process; lines of other files and of waiting ones are skipped."""
    with quick(log_path, exclusive=True):
        status = log_path.stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        others = f"1: FLOCK ADVISORY WRITE 41 00:00:1 0 EOF\n1: -> FLOCK ADVISORY WRITE 43 {place} 0 EOF\n"
        texts = {
            "all": others + f"2: FLOCK ADVISORY WRITE 42 {place} 0 EOF\n",
            "others": others,
            "nonsense": f"{place} FLOCK",
        }

        def read_text(path: Path, **_: str) -> str:
            name = str(path)
            if name == "/proc/locks" and told in texts:
                return texts[told]
            if name == "/proc/42/comm":
                return "vi\n"
            raise FileNotFoundError(name)

        monkeypatch.setattr(Path, "read_text", read_text)
        with pytest.raises(SessionLocked) as caught:
            quick(log_path, exclusive=True, lock_timeout_s=0)
    by = "process 42 ('vi')" if told == "all" else None
    assert caught.value.holder == by
    assert str(caught.value) == f"{log_path}: locked{f' by {by}' if by else ''} for 0 s"


@pytest.mark.parametrize("writes", [False, True])
def test_a_log_that_was_indexed_in_part_is_read_again(
    writes: bool, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error in the middle of a refresh is raised, and later calls see everything."""
    lines = sealed((HEADER, node("a", None), node("a", None), node("b", "a")))
    log_path.write_bytes(as_file(lines[:2]))
    pread, errors = os.pread, [OSError(errno.EIO, "cannot be read")]

    def fails_once(fd: int, length: int, start: int) -> bytes:
        if (length, start) == (len(lines[1]), len(lines[0]) + 1) and errors:
            raise errors.pop()
        return pread(fd, length, start)

    with quick(log_path) as session:
        monkeypatch.setattr(os, "pread", fails_once)
        with log_path.open("ab") as file:
            file.write(as_file(lines[2:]))
        with pytest.raises(OSError, match="cannot be read"):
            session.refresh()
        if writes:
            assert session.append(user("c"), on_stale="rebase").parent_id == "b"
        else:
            assert ids(session.refresh()) == ["b"]
        assert contents(session) == ["a", "b", "c"][: 2 + writes]
        assert codes(session) == ["duplicate"]


class EverReplacedLog(JsonlLog):
    """A log that others replace before every act that is in `restless`."""

    append_at = None  # type: ignore[assignment]
    restless: tuple[str, ...] = ()

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Reads the log that was there before."""
        self._replace("read")
        return super().read(position)

    def append(self, position: int, build: Build) -> Chunk:
        """Appends to the log that was there before."""
        self._replace("append")
        return super().append(position, build)

    def _replace(self, act: str) -> None:
        if act in self.restless:
            copy = self.path.with_suffix(".copy")
            copy.write_bytes(self.path.read_bytes())
            copy.replace(self.path)


@pytest.mark.parametrize("restless", [("read",), ("append",), ("read", "append")])
def test_a_log_that_is_replaced_at_every_try_raises(restless: tuple[str, ...], log_path: Path) -> None:
    """Nothing is written, it is not taken for empty, and once it is stable all calls work."""
    data = log_of(node("a", None))
    log_path.write_bytes(data)
    log = EverReplacedLog(log_path, durability="process")
    with Session(log, Header(id="s1")) as session:
        log.restless = restless
        if "append" in restless:
            with pytest.raises(SessionFailed, match="replaced faster than it can be read"):
                session.append(user("b"))
        if "read" in restless:
            with pytest.raises(SessionFailed, match="replaced faster than it can be read"):
                session.refresh()
        assert log_path.read_bytes() == data
        log.restless = ()
        assert ids(session.refresh()) == ["a"]
        assert session.append(user("b")).parent_id == "a"


def test_a_signal_while_own_lines_are_indexed_does_no_harm(log_path: Path) -> None:
    """They are in the log: the next call reads it again, and a retry finds them."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        with patch.object(Index, "add_written", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            session.append(user("b"), id="b", pinned=True)  # which goes the ordinary way
        assert session.append(user("b"), id="b", pinned=True).parent_id == "a"
        assert contents(session) == ["a", "b"]
    assert log_path.read_bytes().count(b'"id":"b"') == 1


def test_a_critical_record_of_another_writer_forbids_writing(log_path: Path) -> None:
    """It is seen under the lock, before anything is written."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        session._journal.check_writable()
        news = sealed([node("x", "a", "x.y", critical=True)], crc32(log_path.read_bytes().splitlines()[-1]))
        with log_path.open("ab") as file:
            file.write(as_file(news))
        data = log_path.read_bytes()
        with pytest.raises(ReadOnlySession, match="critical"):
            session.append(user("b"), parent_id="a")
    assert log_path.read_bytes() == data


# --- what is kept beside a file ---


def beside(path: Path) -> bytes | None:
    index = path.with_name(path.name + ".index")
    return index.read_bytes() if index.exists() else None


def test_only_a_writer_saves_a_snapshot(log_path: Path) -> None:
    """Not a reader, a failed log, or one that does not exist; then the pieces are not even built."""
    data = log_of(node("a", None))

    def never() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    missing = JsonlLog(log_path)
    missing.save_snapshot(0, never())
    missing.close()
    log_path.write_bytes(data)
    reader, failed, closed, writer = (JsonlLog(log_path, mode=mode) for mode in ("r", "a", "a", "r+"))
    failed.failed = True
    closed.close()
    for log in (reader, failed, closed):
        log.save_snapshot(len(data), never())
    assert beside(log_path) is None
    writer.save_snapshot(len(data), [b"kept"])
    assert beside(log_path) == b"kept"
    assert reader.snapshot() is not None
    for log in (reader, failed, closed, writer):
        log.close()


@pytest.mark.parametrize("when", ["before", "while it is written"])
@pytest.mark.parametrize("how", ["cut", "replaced", "removed"])
def test_no_snapshot_is_saved_of_a_replaced_log(how: str, when: str, log_path: Path) -> None:
    """It would report lines as lost that a repair has removed."""
    data = log_of(node("a", None), node("b", "a"))
    log_path.write_bytes(data)
    log = JsonlLog(log_path, durability="process")
    assert sum(len(chunk.lines) for chunk in log.read()) == 3

    def act() -> None:
        if how == "cut":
            os.truncate(log_path, len(data) - 1)
        else:
            log_path.rename(log_path.with_name("old"))
        if how == "replaced":
            log_path.write_bytes(data)

    def pieces() -> Iterator[bytes]:
        yield b"half"
        if when != "before":
            act()

    if when == "before":
        act()
    with pytest.raises(SessionNotFound if how == "removed" else LogReplaced):
        log.save_snapshot(len(data), pieces())
    assert beside(log_path) is None
    assert not list(log_path.parent.glob(".*"))
    log.close()


def test_saving_a_snapshot_does_not_wait_for_the_lock(log_path: Path) -> None:
    """The holder of the lock is a writer, and will save a better one."""
    data = log_of(node("a", None))
    log_path.write_bytes(data)
    first, second = JsonlLog(log_path, exclusive=True), JsonlLog(log_path, lock_timeout_s=60)
    first.save_snapshot(len(data), [b"first"])
    with pytest.raises(SessionLocked):
        second.save_snapshot(len(data), [b"second"])
    assert beside(log_path) == b"first"
    assert not list(log_path.parent.glob(".*"))
    first.close()
    second.save_snapshot(len(data), [b"second"])
    assert beside(log_path) == b"second"
    second.close()


def test_temporary_files_of_killed_processes_are_removed(log_path: Path) -> None:
    """By the next process that saves a snapshot; files of other logs stay."""
    data = log_of(node("a", None))
    log_path.write_bytes(data)
    left = log_path.with_name(f".{log_path.name}.index.123-456.tmp")
    of_others = (".other.jsonl.index.1-2.tmp", f".{log_path.name}.index.2.1-2.tmp", f".{log_path.name}.index", "a.tmp")
    others = [log_path.with_name(name) for name in of_others]
    for each in (left, *others):
        each.write_bytes(b"left")
    log = JsonlLog(log_path)
    log.save_snapshot(len(data), [b"kept"])
    log.close()
    assert not left.exists()
    assert [each.read_bytes() for each in others] == [b"left"] * 4
    assert beside(log_path) == b"kept"


@pytest.mark.parametrize("mode", ["a", "x"])
def test_a_new_log_that_cannot_be_checked_is_created_again(
    mode: Mode, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file exists and is empty: it is ours, not another writer's."""
    lines = sealed([HEADER, node("a", None)])
    log = JsonlLog(log_path, mode=mode)
    with monkeypatch.context() as patch:
        patch.setattr("os.fstat", refuse)
        with pytest.raises(OSError, match="refused"):
            log.append(0, adding(0, lines))
    assert log.append(0, adding(0, lines)).lines == lines
    log.close()
    assert log_path.read_bytes() == as_file(lines)


def refuse(*_: object) -> None:
    """A system call that fails."""
    raise OSError(errno.EIO, "refused")


def test_the_header_at_a_path(tmp_path: Path) -> None:
    """That of a log; none of what is missing, a directory, empty, or no log."""
    (tmp_path / "log").write_bytes(log_of(node("a", None)))
    (tmp_path / "empty").touch()
    (tmp_path / "other").write_bytes(b"not a log\n")
    found = {name: file_lines.header_at(tmp_path / name) for name in ("log", "empty", "other", "missing", ".")}
    assert {name: header and header.id for name, header in found.items()} == {
        "log": json.loads(HEADER)["id"],
        **dict.fromkeys(("empty", "other", "missing", ".")),
    }
