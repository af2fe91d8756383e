"""The default log: one file, one line per record, only ever appended to.

A line is committed when its newline is in the file. Writers exclude each other by a lock on the file itself; readers
take no lock and change nothing. After a failed write this module refuses to guess: either the file was cut back to
whole lines, or the log is failed and must be opened again.

Not here: the open file and its lock (`log_file`), how lines are read (`file_lines`), files written whole
(`atomic_file`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence

from convtree._engine import codec
from convtree._engine.log import Addition, Build, Chunk, Durability, LogReplaced, Mode, SnapshotFile, is_behind
from convtree._logs import file_lines, syncing
from convtree._logs.descriptors import OPEN_FLAGS, OPENERS, UNKNOWN, refusal_of
from convtree._logs.directories import spelled
from convtree._logs.filesystems import NO_SPACE, name_file
from convtree._logs.index_file import IndexFile
from convtree._logs.log_file import LogFile
from convtree._model.errors import SessionExists, SessionFailed, SessionLocked

_SNAPSHOT_TIMEOUT_S = 0.1  # how long a save waits for other writers, who hold the lock for an append at most
#: the lock is taken, the path leads nowhere, or the descriptor was closed: `append` knows what to do
_UNUSUAL = (errno.EWOULDBLOCK, errno.ENOENT, errno.EBADF)
#: flags that nothing but a log opens a file with, all together
_OWN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK


class JsonlLog(LogFile):
    """A log in a file. It need not exist yet: the first append creates it."""

    append_is_atomic = False

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
        """Opens the file, if it exists.

        Args:
            path: where the log is, or will be.
            mode: see `Mode`.
            durability: see `Durability`.
            lock_timeout_s: how long an append waits for other writers.
            exclusive: take the lock now and keep it until `close`.
            allow_network: write on a network file system too; then there must be no writer on another machine.

        Raises:
            SessionNotFound: mode "r" or "r+", and there is no file.
            SessionExists: mode "x", and there is one that is not empty.
            NotALog: the path leads to something that is not a regular file.
            SessionLocked: `exclusive`, and another writer has the lock.
            OSError: the file cannot be opened, or is on a network file system.
        """
        self._durable = durability == "power"
        self._directory_unsynced = False  # from the first write to a new file until its name is durable
        self._index_file = IndexFile(spelled(path))
        super().__init__(
            path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=exclusive, allow_network=allow_network
        )

    # --- reading ---

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on. Bytes after the last newline come as a `torn_tail`."""
        self._check_usable()
        self._check_descriptor()
        size = self._checked_size(position)
        if 0 < position != self._end[0]:  # the caller knows the lines before from elsewhere: a snapshot, say
            length = min(position, codec.SEAL_LENGTH + 1)
            self._end = position, os.pread(self._fd, length, position - length)
        while position < size:
            chunk = file_lines.read_chunk(self._fd, position, size)
            if chunk.lines:
                self._end = chunk.end, chunk.lines[-1][-codec.SEAL_LENGTH :] + b"\n"
            elif position == 0:
                file_lines.check_begins_log(self._fd, chunk.end, self.path)
            if chunk.fault == "line_too_long":
                chunk = file_lines.skip_line(self._fd, chunk.end, size)
            yield chunk
            if chunk.fault == "torn_tail":
                return
            position = chunk.end

    def read_to_append(self, position: int) -> Iterator[Chunk]:
        """Yields what an append has to take for the log: a last line that only lacks its newline is part of it."""
        for chunk in self.read(position):
            length = chunk.end - position
            if chunk.fault == "torn_tail" and length < file_lines.READ_LIMIT:
                tail = os.pread(self._fd, length, position)
                if codec.verify_seal(tail.removesuffix(b"\r")) is not None:
                    yield Chunk((position,), (tail,), chunk.end + 1, "newline_missing")
                    return
            yield chunk
            position = chunk.end

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these (offset, length) pairs."""
        self._check_usable()
        self._check_descriptor()
        return file_lines.read_spans(self._fd, spans)

    def read_bytes(self, start: int, length: int) -> Iterator[tuple[int, bytes]]:
        """Yields the bytes of the file, damaged or not, in pieces with their offsets."""
        return file_lines.read_bytes(self._fd, start, length)

    def snapshot(self) -> SnapshotFile | None:
        """Returns the content of `<log>.index`. It stays readable when another index replaces it."""
        self._check_usable()
        if self._fd < 0 or self._created_here:
            self._index_file.close()
            return None
        return self._index_file.open()

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Writes `<log>.index`. Raises SessionLocked if another writer keeps the lock for a moment."""
        if self._read_only or self._fd < 0 or self.failed or self._inherited:
            return
        from convtree._logs import atomic_file  # rarely needed

        self._check_descriptor()
        self._checked_size(end)
        syncing.sync(self._fd)  # if this fails, nothing that was promised is lost: own lines are synced by then
        index = self._index_file.path
        with atomic_file.temporary(index, pieces, os.fstat(self._fd)) as written:

            def put_in_place() -> Chunk:
                size = self._checked_size(end)  # raises if the log was replaced: this index must not outlive it
                if not is_behind(end, size) or self._index_file.is_unchanged():
                    self._index_file.put_in_place(written)
                    self._created_here = False
                    atomic_file.remove_stale_temporaries(index)
                return Chunk((), (), end)

            self._while_locked(put_in_place, timeout_s=_SNAPSHOT_TIMEOUT_S)

    # --- writing ---

    def append(self, position: int, build: Build) -> Chunk:
        """Appends the lines that `build` returns, in one write; syncs them if the log's durability is "power"."""
        if self._inherited or self.failed:
            self._check_usable()
            raise SessionFailed(f"{self.path}: an earlier write failed; open the session again")
        if self._fd < 0 and self._create != "x":
            self._open()  # another process may have created it meanwhile
        if self._create is not None:
            return self._append_new(build)

        def add() -> Chunk:
            size = self._checked_size(position)
            if size == position > 0:
                return self._write(build(iter(())), size)
            self._lock.contended = True
            return self._write(build(self.read_to_append(position)), size)

        return self._while_locked(add)

    def append_at(self, position: int, data: bytes, /) -> bool:
        """Appends whole lines, each with its newline, if the log ends at `position`; see `AppendAt`.

        `append`, with its checks, in one function: after a sync, most of the time goes to code and data that the caches
        have lost, so the number of functions and system calls counts. Instead of an `fstat`, three facts say that the
        descriptor is still ours: it has the flags that only a log is opened with, nothing here has opened its number
        again, and its file ends as the log did.
        """
        fd, lock, (end, tail), exclusive = self._fd, self._lock, self._end, self._exclusive
        if end != position or fd < 0 or self.failed or lock.contended or lock.held is not exclusive:
            return False
        locks = is_checked = False
        try:
            try:
                flags = fcntl.fcntl(fd, fcntl.F_GETFL) & _OWN_FLAGS
                if flags != _OWN_FLAGS or OPENERS.get(fd) is not self._descriptors:
                    return False
                locks = not exclusive
                if locks:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    lock.held = True
                status = os.lstat(self._name)
                if (
                    status.st_size != end
                    or self._identity != (status.st_dev, status.st_ino)
                    or os.pread(fd, len(tail), end - len(tail)) != tail
                ):
                    lock.contended = True
                    return False
                is_checked = True
                self._put(data, end)
                self._end = end + len(data), data[-len(tail) :]
                return True
            except OSError as error:
                if not is_checked and error.errno in _UNUSUAL:
                    lock.contended = True
                    return False
                name_file(error, self._name)
                raise
            finally:
                if locks and self._fd == fd:  # else it was found to be closed, and the number is another file's
                    lock.held = False
                    fcntl.flock(fd, fcntl.LOCK_UN)
        except BaseException:
            if locks and self._fd == fd:  # a signal came when `finally` had not begun, or interrupted it
                lock.held = False
                fcntl.flock(fd, fcntl.LOCK_UN)
            raise

    def _append_new(self, build: Build) -> Chunk:
        """Creates the file and appends its first lines.

        If another process was faster, appends after its lines (mode "a") or raises SessionExists (mode "x").
        """
        if not (first := build(iter(()))):
            return Chunk((), (), 0)
        return self._create_with(first, build)

    def _create_with(self, first: Addition, build: Build) -> Chunk:
        try:
            self._close_file()  # an interrupted call may have opened it
            self._identity = UNKNOWN
            self._fd = self._descriptors.open(self._name, os.O_RDWR | os.O_APPEND | os.O_CREAT | OPEN_FLAGS)
        except OSError as error:
            raise refusal_of(error, self.path) from None
        try:
            self._check_file()
        except BaseException:
            self.close()  # the next append starts again
            raise

        def begin() -> Chunk:
            try:
                size = self._checked_size(0)
            except LogReplaced:
                if self._create is not None:  # the file is gone, or is another empty one: the next try begins again
                    self._close_file()
                raise
            if size and self._create == "x":
                just_now = "another process has just created this log; open it, or choose another path"
                raise SessionExists(f"{self.path}: {just_now}")
            self._create = None  # from here on, what is in the file is ours
            return self._write(build(self.read_to_append(0)) if size else first, size)

        try:
            return self._while_locked(begin)
        except (SessionExists, SessionLocked):
            if self._create == "x":  # the file belongs to the other process; nothing was written to it
                self.close()
            raise

    def _write(self, addition: Addition, size: int) -> Chunk:
        """Writes whole lines behind `addition.end`, in a file of `size` bytes. If that fails, cuts them off again.

        What the file has behind that end is cut off first. If the end is behind the file, its last newline is missing.
        """
        end, lines = addition.end, addition
        data = b"\n".join(lines) + b"\n" if lines else b""
        if end > size:
            data = b"\n" + data
        if end < size:
            from convtree._logs.torn_tail import save_torn_tail  # rarely needed

            save_torn_tail(self.path, self._fd, end, size)
            self._truncate(end)
        if not data:
            self._make_durable()  # lines found stored already may be another writer's, not synced yet
            return Chunk((), (), end)
        self._directory_unsynced |= size == 0
        self._check_appends()
        self._put(data, min(end, size))
        starts = [end]
        for line in lines:
            end += len(line) + 1
            starts.append(end)
        if lines:
            self._end = end, data[-codec.SEAL_LENGTH - 1 :]
        return Chunk(starts[:-1], lines, end)

    def _put(self, data: bytes, size: int) -> None:
        """Writes bytes at the end of the file, and syncs them. If the write fails, cuts the file back to `size`."""
        try:
            written = os.write(self._fd, data)  # `write_all`, flat
            while written < len(data):  # after a short write, the next one raises the reason
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            self.failed = error.errno not in NO_SPACE
            try:
                self._truncate(size)
            except (OSError, SessionFailed):
                self.failed = True
            raise
        if self._durable:
            self._make_durable()

    def _truncate(self, end: int) -> None:
        self._check_descriptor()
        os.ftruncate(self._fd, end)
        self._make_durable()

    def _make_durable(self) -> None:
        """Syncs the file, and the directory of a new one. After a failure the log is failed.

        A second sync may report success for data that is gone, so there is none.
        """
        if not self._durable:
            return
        try:
            syncing.sync(self._fd)
            if self._directory_unsynced:
                syncing.sync_directory(os.path.dirname(self._name) or os.curdir)
                self._directory_unsynced = False
        except OSError:
            self.failed = True
            raise

    def close(self) -> None:
        """Closes the file and its index, and with it the lock; twice is the same as once."""
        self._index_file.close()
        super().close()
