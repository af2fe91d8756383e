"""The default log: one file, one line a record, only ever appended.

A line is committed when its newline is in the file. Writers take turns by a lock on the file itself; readers take
none and change nothing. After a failed write this module refuses to guess: either the file was cut back to whole
lines, or the log is failed and must be opened again.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

from convtree._engine import codec
from convtree._engine.log import Build, Chunk, Durability, LogReplaced, Mode, SnapshotFile
from convtree._logs.filesystems import refuse_network
from convtree._model.errors import (
    NotALog,
    SessionClosed,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
)
from convtree._model.resources import ForkAware, Uncopyable, watch_forks

READ_LIMIT = 64 * 2**20  # bytes of a line that readers still take
_CHUNK = 2**16  # bytes read at once; from 128 KiB on, malloc maps and faults in every chunk anew
_FAIRNESS_WINDOW_S = 0.002  # who had the lock less long ago than this is in a hurry
_YIELD_S = 0.0002
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = "{}: there is something here already; replace=True, or --force, replaces it"
_UNKNOWN = (0, 0)  # identity of a descriptor that was not asked yet
_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class JsonlLog(Uncopyable, ForkAware):
    """A log in a file. It need not exist yet: the first append creates it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "a",
        durability: Durability = "power",
        lock_timeout_s: float = 10.0,
        exclusive: bool = False,
        allow_network: bool = False,
    ) -> None:
        self.path = Path(path)
        self.failed = False
        self._name = os.fspath(self.path)
        self._identity = _UNKNOWN  # of the file that is open: device and inode
        self._mode = mode
        self._durable = durability == "power"
        self._lock_timeout_s = lock_timeout_s
        self._held = False
        self._end: tuple[int, bytes] = (0, b"")  # how far we read or wrote, and the last bytes before that
        self._contended = False  # others wrote since we did, or made us wait
        self._unlocked_s = 0.0
        self._exclusive = exclusive
        self._allow_network = allow_network
        self._fd = self._snapshot_fd = -1
        self._snapshot_identity = _UNKNOWN
        self._inherited = False
        self._created_here = False  # we made the file: what lies beside it is of another
        self._directory_unsynced = False  # we began the file, and its name is not durable yet
        try:
            self._open()
            if exclusive:
                self._wait_for_lock(lock_timeout_s)
        except BaseException:
            self.close()
            raise
        watch_forks(self)

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self.path)

    # --- reading ---

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on; what lies behind the last newline comes as a `torn_tail`."""
        self._check_usable()
        self._check_descriptor()
        size = self._checked_size(position)
        if 0 < position != self._end[0]:  # what lies before was read in another way
            length = min(position, codec.SEAL_LENGTH + 1)
            self._end = position, os.pread(self._fd, length, position - length)
        while position < size:
            chunk = self._read_chunk(position, size)
            if chunk.lines:
                self._remember_end(chunk.end, chunk.lines[-1])
            yield chunk
            if chunk.fault == "torn_tail":
                return
            position = chunk.end

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these places; neighbours are fetched together."""
        self._check_usable()
        self._check_descriptor()
        lines: list[bytes] = []
        first = 0
        while first < len(spans):
            start, length = spans[first]
            last, end = first, start + length
            while last + 1 < len(spans) and spans[last + 1][0] == end + 1 and end - start < _CHUNK:
                last += 1
                end = spans[last][0] + spans[last][1]
            data = os.pread(self._fd, end - start, start)
            lines.extend(data[at - start : at - start + n] for at, n in spans[first : last + 1])
            first = last + 1
        return lines

    def read_bytes(self, start: int, length: int) -> Iterator[tuple[int, bytes]]:
        """Yields bytes as they stand in the file, in pieces with their offsets; for those who look at damage."""
        while length > 0 and (data := os.pread(self._fd, min(_CHUNK, length), start)):
            yield start, data
            start, length = start + len(data), length - len(data)

    def count_lines(self, start: int, end: int) -> int:
        """Returns how many lines end between two offsets."""
        return sum(data.count(b"\n") for _, data in self.read_bytes(start, end - start))

    def _remember_end(self, end: int, line: bytes) -> None:
        self._end = end, line[-codec.SEAL_LENGTH :] + b"\n"

    def _read_chunk(self, position: int, size: int) -> Chunk:
        """Reads whole lines from a position; grows past a long line, up to the limit."""
        want = _CHUNK
        while True:
            data = os.pread(self._fd, min(want, size - position), position)
            cut = data.rfind(b"\n")
            if cut >= 0:
                lines = data[:cut].split(b"\n")
                starts = accumulate((len(line) + 1 for line in lines), initial=position)
                return Chunk(list(starts)[:-1], lines, position + cut + 1)
            if position + len(data) >= size or not data:
                if position == 0 and not codec.begins_header(data):
                    raise NotALog.at(self.path)
                return Chunk((), (), position + len(data), "torn_tail")
            if want >= READ_LIMIT:
                if position == 0 and not codec.begins_header(data):
                    raise NotALog.at(self.path)
                return self._skip_line(position + len(data), size)
            want *= 4

    def _skip_line(self, position: int, size: int) -> Chunk:
        """Passes over a line that is too long to take, in bounded memory."""
        while position < size and (data := os.pread(self._fd, _CHUNK, position)):
            cut = data.find(b"\n")
            if cut >= 0:
                return Chunk((), (), position + cut + 1, "line_too_long")
            position += len(data)
        return Chunk((), (), position, "torn_tail")

    # --- the index beside it ---

    def snapshot(self) -> SnapshotFile | None:
        """Returns what stands in `<log>.index`; it stays readable as it is when another takes its place."""
        self._check_usable()
        self._close_snapshot()
        if self._fd < 0 or self._created_here:
            return None
        try:
            self._snapshot_identity = _UNKNOWN
            self._snapshot_fd = os.open(_index_of(self.path), os.O_RDONLY | _OPEN_FLAGS)
            status = os.fstat(self._snapshot_fd)
        except OSError:
            return None  # there is none, or none for us
        self._snapshot_identity = status.st_dev, status.st_ino
        return SnapshotFile(status.st_size, self._read_snapshot) if stat.S_ISREG(status.st_mode) else None

    def _read_snapshot(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._snapshot_fd, length, offset)
        except OSError:
            return b""  # as good as damaged, and done without

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Writes `<log>.index`, unless someone else is writing to the log just now."""
        if self._mode == "r" or self._fd < 0 or self.failed or self._inherited:
            return
        self._checked_size(end)
        _sync(self._fd)
        index = _index_of(self.path)
        with _temporary(index, pieces) as temporary:

            def put_in_place() -> Chunk:
                size = self._checked_size(end)  # or it was repaired meanwhile, and has lost nothing
                if size == end or self._snapshot_is_ours(index):
                    os.rename(temporary, index)
                    self._created_here = False
                    _remove_stale_temporaries(index)
                return Chunk((), (), end)

            self._while_locked(put_in_place, timeout_s=0)

    def _snapshot_is_ours(self, index: Path) -> bool:
        """Tells whether nobody has kept another since it was read."""
        try:
            status = os.lstat(index)
        except FileNotFoundError:
            return True
        return self._snapshot_fd >= 0 and os.path.samestat(status, os.fstat(self._snapshot_fd))

    def _close_snapshot(self) -> None:
        if self._snapshot_fd >= 0:
            fd, self._snapshot_fd = self._snapshot_fd, -1
            _close(fd, self._snapshot_identity)

    # --- writing ---

    def append(self, position: int, build: Build) -> Chunk:
        """Adds the lines that `build` returns, as one write, synced as the log's durability says."""
        if self._inherited or self.failed:
            self._check_usable()
            raise SessionFailed(f"{self.path}: an earlier write failed; open the session again")
        if self._fd < 0:
            if self._mode != "x":
                self._open()  # someone may have begun it meanwhile
            if self._fd < 0:
                return self._append_new(build)

        def add() -> Chunk:
            size = self._checked_size(position)
            if size != position or size == 0:
                self._contended = True
                size = self._repair_tail(size)
            return self._write(build(self.read(position) if size > position else iter(())), size)

        return self._while_locked(add)

    def _append_new(self, build: Build) -> Chunk:
        """Creates the file with its first lines; whoever finds lines there was not first."""
        if not (first := build(iter(()))):
            return Chunk((), (), 0)
        self._identity = _UNKNOWN
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _OPEN_FLAGS, 0o600)
        except OSError as error:
            self._translate_os_error(error)
        try:
            self._check_file()
        except BaseException:
            self.close()  # and begin anew the next time
            raise
        must_be_new, self._mode = self._mode == "x", "r+"

        def begin() -> Chunk:
            size = self._checked_size(0)
            size = self._repair_tail(size) if size and not must_be_new else size
            if size == 0:
                lines = first
            elif must_be_new:
                raise SessionExists(f"{self.path}: someone else has just created this log")
            else:
                lines = build(self.read(0))
            return self._write(lines, size)

        try:
            return self._while_locked(begin)
        except (SessionExists, SessionLocked):
            if must_be_new:  # still: not ours, and never written to
                self.close()
                self._mode = "x"
            raise

    def _write(self, lines: Sequence[bytes], size: int) -> Chunk:
        """Writes whole lines at the end; on failure cuts back to the last newline that reached the file."""
        if not lines:
            self._make_durable()  # what is stored already, and said to be, another may have written and not synced
            return Chunk((), (), size)
        data = b"\n".join(lines) + b"\n"
        self._directory_unsynced |= size == 0
        self._check_descriptor()
        try:
            written = os.write(self._fd, data)
            while written < len(data):  # a short write: the next one says why
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            self.failed = error.errno not in _NO_SPACE
            try:
                self._truncate(max(size, self._end_of_lines(os.fstat(self._fd).st_size)))
            except (OSError, SessionFailed):
                self.failed = True
            raise
        self._make_durable()
        starts = [size]
        for line in lines:
            size += len(line) + 1
            starts.append(size)
        self._end = starts.pop(), data[-codec.SEAL_LENGTH - 1 :]
        return Chunk(starts, lines, size)

    # --- the tail ---

    def _repair_tail(self, size: int) -> int:
        """Under the lock: completes or sets aside what lies behind the last newline; returns the new size."""
        end = self._end_of_lines(size)
        if end == size:
            return size
        tail = os.pread(self._fd, min(size - end, READ_LIMIT), end)
        if not (codec.is_header(self._first_line()) if end else codec.begins_header(tail)):
            raise NotALog(f"{self.path}: not a convtree log; the file was not touched")
        if len(tail) == size - end and codec.verify_seal(tail.removesuffix(b"\r")) is not None:
            self._check_descriptor()
            os.write(self._fd, b"\n")
            self._make_durable()
            return size + 1
        self._save_torn_tail(end, size)
        self._truncate(end)
        return end

    def _save_torn_tail(self, start: int, end: int) -> None:
        """Saves a torn tail to `<log>.torn`, durably, before it is cut."""
        name = self.path.with_name(self.path.name + ".torn")
        fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _OPEN_FLAGS, 0o600)
        with open(fd, "ab") as torn:
            while start < end and (data := os.pread(self._fd, min(_CHUNK, end - start), start)):
                torn.write(data)
                start += len(data)
            torn.write(b"\n")
            torn.flush()
            _sync(torn.fileno())

    def _end_of_lines(self, size: int) -> int:
        """Returns the offset behind the last newline before `size`."""
        end = size
        while end > 0:
            start = max(0, end - _CHUNK)
            cut = os.pread(self._fd, end - start, start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            end = start
        return 0

    def _first_line(self) -> bytes:
        return os.pread(self._fd, _CHUNK, 0).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").split(b"\n", 1)[0]

    def _truncate(self, end: int) -> None:
        self._check_descriptor()
        os.ftruncate(self._fd, end)
        self._make_durable()

    def _make_durable(self) -> None:
        """Syncs as the log's durability says; never twice: a second sync may report success for data that is gone."""
        if not self._durable:
            return
        try:
            _sync(self._fd)
            if self._directory_unsynced:
                _sync_directory(self.path.parent)
                self._directory_unsynced = False
        except OSError:
            self.failed = True
            raise

    # --- the file and its lock ---

    def _open(self) -> None:
        self._identity = _UNKNOWN
        writing, begins = os.O_RDWR | os.O_APPEND, self._mode in ("a", "x")
        if begins and self._exclusive:
            _check_home(self.path, self._allow_network)
        try:
            if begins and self._exclusive:
                self._created_here = self._create(must_be_new=self._mode == "x")
            if self._fd < 0:  # in mode "x", to see whether something is there; the first append creates it
                flags = os.O_RDONLY if self._mode == "r" else writing
                self._fd = os.open(self.path, flags | _OPEN_FLAGS)
        except FileNotFoundError:
            if not begins:
                raise SessionNotFound(f"{self.path}: there is no log here") from None
            _check_home(self.path, self._allow_network)
            return
        except FileExistsError:
            raise SessionExists(
                f"{self.path}: there is something here already; choose another path, or open it"
            ) from None
        except OSError as error:
            self._translate_os_error(error)
        self._check_file()
        if self._mode == "x" and not self._exclusive:
            self.close()
            raise SessionExists(f"{self.path}: there is something here already; choose another path, or open it")
        if self._mode != "r":
            self._mode = "r+"  # from now on it must exist

    def _create(self, must_be_new: bool) -> bool:
        """Makes the file, so that it can be locked; tells whether it was not there."""
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS, 0o600)
        except FileExistsError:
            if must_be_new:
                raise
            return False
        return True

    def _translate_os_error(self, error: OSError) -> NoReturn:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise NotALog(f"{self.path}: not a regular file (links are not followed)") from None
        raise error

    def _check_file(self) -> None:
        """Makes sure that what was opened is a file that can be a log; closes it otherwise."""
        try:
            status = os.fstat(self._fd)
            self._identity = status.st_dev, status.st_ino
            if not stat.S_ISREG(status.st_mode):
                raise NotALog(f"{self.path}: not a regular file")
            if self._mode != "r" and not self._allow_network:
                refuse_network(self.path, status.st_dev)
        except BaseException:
            self.close()
            raise

    def _checked_size(self, position: int) -> int:
        """Returns the size, after making sure that the path still leads to the file that was read so far."""
        if self._fd < 0 and self._mode != "x":
            self._open()
        if self._fd < 0:
            return 0
        try:
            status = os.stat(self._name, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            self._reopen()
            raise LogReplaced(self.location)
        end, tail = self._end
        changed = end == position and os.pread(self._fd, len(tail), end - len(tail)) != tail
        if changed or status.st_size < position:  # cut, or another log copied over it
            raise LogReplaced(self.location)
        return status.st_size

    def _reopen(self) -> None:
        """Leaves a file that is no longer at the path, lock and all."""
        left, held, identity = self._fd, self._held, self._identity
        self._fd, self._held = -1, False
        try:
            self._open()
        finally:
            if self._fd < 0:
                self._fd, self._held, self._identity = left, held, identity  # nothing else to read from
            else:
                _close(left, identity)  # and its lock with it
        if self._exclusive and self._fd != left:
            self._wait_for_lock(self._lock_timeout_s)

    def _while_locked(self, act: Callable[[], Chunk], timeout_s: float | None = None) -> Chunk:
        # No context manager: a signal between its methods would keep the lock as long as someone keeps the traceback.
        try:
            self._check_descriptor()  # or the lock of another file would be taken and given back
            if not self._held:
                self._wait_for_lock(self._lock_timeout_s if timeout_s is None else timeout_s)
            return act()
        finally:
            try:
                self._unlock()
            except BaseException:  # a signal came first, and nobody else can give the lock back
                self._unlock()
                raise

    def _unlock(self) -> None:
        if not self._exclusive and self._fd >= 0:
            import filelock

            filelock.unlock_descriptor(self._fd)
            self._held = False
            self._unlocked_s = time.monotonic()

    def _wait_for_lock(self, timeout_s: float) -> None:
        import filelock  # takes longer than most programs run

        began_s = time.monotonic()
        if self._contended and began_s - self._unlocked_s < _FAIRNESS_WINDOW_S:
            time.sleep(_YIELD_S)  # the lock goes to whoever asks next, and that would be us again
        self._contended = False
        pause_s = 0.0002
        while not filelock.lock_descriptor(self._fd, blocking=False):
            self._contended = True
            waited_s = time.monotonic() - began_s
            if waited_s >= timeout_s:
                holder = _lock_holder(self._fd)
                by = f" by {holder}" if holder else ""
                raise SessionLocked(f"{self.path}: locked{by} for {timeout_s} s", holder=holder)
            time.sleep(pause_s)
            # Who has waited longer asks more often, or the newcomers would always be first.
            pause_s = max(0.0005, 0.002 - waited_s / 10)
        self._held = True

    def _check_usable(self) -> None:
        if self._inherited:
            raise SessionClosed(f"{self.path}: this session belongs to the parent process; open it again")

    def _check_descriptor(self) -> None:
        """Raises SessionFailed if the descriptor's number no longer belongs to the file that was opened."""
        if self._fd >= 0 and self._identity != _UNKNOWN and not _is_file(self._fd, self._identity):
            self.failed = True
            self._fd, self._held = -1, False  # never written to, unlocked or closed again
            raise SessionFailed(
                f"{self.path}: the descriptor of this log was closed by something else in this process; nothing was "
                "written, open the session again"
            )

    def close(self) -> None:
        """Closes the file, and with it the lock."""
        self._close_snapshot()
        if self._fd >= 0:
            fd, self._fd, self._held = self._fd, -1, False
            _close(fd, self._identity)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:  # nobody is left who could close it
            with suppress(OSError):
                self.close()

    def _after_fork(self) -> None:
        """Closes the parent's file in the child, which would keep its lock alive otherwise."""
        self._inherited = True
        with suppress(OSError):
            self.close()


def _is_file(fd: int, identity: tuple[int, int]) -> bool:
    """Returns whether a descriptor is open on the file with this device and inode."""
    try:
        status = os.fstat(fd)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return (status.st_dev, status.st_ino) == identity


def _close(fd: int, identity: tuple[int, int]) -> None:
    """Closes a descriptor, unless its number belongs to another file by now. In doubt it is ours."""
    ours = True
    try:
        with suppress(OSError):
            ours = identity == _UNKNOWN or _is_file(fd, identity)
    finally:
        if ours:
            os.close(fd)


def _check_home(path: Path, allow_network: bool) -> None:
    """Makes sure that a log can begin at this path, before anything is there."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    if not allow_network:
        refuse_network(path, os.stat(path.parent).st_dev)


def write_new(path: Path, lines: Iterable[bytes], *, allow_network: bool = False) -> None:
    """Creates a file with these lines, durably: it appears whole or not at all.

    Raises:
        SessionExists: something is at this path.
        OSError: ENOTSUP, it would be on a network file system.
    """
    _check_home(path, allow_network)
    with _temporary(path, _with_newlines(lines)) as temporary:
        try:
            os.link(temporary, path)  # unlike a rename, never replaces
        except FileExistsError:
            raise SessionExists(f"{path}: there is something here already; choose another path") from None


def write_atomically(path: Path, pieces: Iterable[bytes], *, replace: bool) -> None:
    """Writes a file that is no log, durably: it appears whole or not at all.

    Raises:
        SessionExists: something is at this path, and it is not to be replaced.
    """
    _check_home(path, allow_network=True)
    if not replace and os.path.lexists(path):
        raise SessionExists(_TAKEN.format(path))
    with _temporary(path, pieces) as temporary:
        if replace:
            os.rename(temporary, path)
            return
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise SessionExists(_TAKEN.format(path)) from None


def replace(path: Path, lines: Iterable[bytes], *, keep_as: Path) -> None:
    """Puts a log with these lines in another's place, durably; the old one stays as `keep_as`, or is there already.

    The index of the old one goes first: it would say of the new one that it has lost lines.
    """
    _remove_stale_temporaries(path)
    status = os.stat(path)
    with _temporary(path, _with_newlines(lines)) as temporary:
        os.chmod(temporary, stat.S_IMODE(status.st_mode))
        if hasattr(os, "chown"):  # pragma: no branch  # Windows has none
            os.chown(temporary, status.st_uid, status.st_gid)  # root must not take a log away from its owner
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(_index_of(path))
        if not os.path.lexists(keep_as):
            os.link(path, keep_as)
        _sync_directory(path.parent)
        os.rename(temporary, path)


def _remove_stale_temporaries(path: Path) -> None:
    """Removes what a killed process left of a file that was to be put at `path`, or of its index."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if leftover.name.count(".") == path.name.count(".") + 3:  # not of a log whose name begins with this one's
            with suppress(OSError):
                os.unlink(leftover)


def _with_newlines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines)


def _index_of(path: Path) -> Path:
    return path.with_name(path.name + ".index")


@contextmanager
def _temporary(path: Path, pieces: Iterable[bytes]) -> Iterator[Path]:
    """Writes a synced file beside `path`, for putting in place; syncs the directory when that is done."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS, 0o600)
    try:
        with open(fd, "wb", buffering=2**20) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            _sync(file.fileno())
        yield temporary
        _sync_directory(path.parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync(fd: int) -> None:
    if sys.platform == "darwin":  # pragma: no cover  # macOS only
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # pragma: no cover  # Windows only
        os.fsync(fd)


def _sync_directory(path: Path) -> None:
    if os.name == "nt":  # pragma: no cover  # Windows only
        return  # a directory cannot be opened there; the file system journals names itself
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock_holder(fd: int) -> str | None:
    """Describes who holds the lock, where the system tells (Linux)."""
    status = os.fstat(fd)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        locks = Path("/proc/locks").read_text().splitlines()
        for line in locks:
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and wanted in fields:
                pid = fields[fields.index(wanted) - 1]
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                return f"process {pid} ({name!r})"
    except (OSError, ValueError):
        pass
    return None
