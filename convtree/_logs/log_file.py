"""The open file of a log: which file it is, its lock, and whether both are still what they were.

The path may lead to another file by now, and the number of a descriptor to another one, too: both are checked before
every use. What is read from the file and written to it is in `jsonl`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_GETFL, fcntl
from typing import TYPE_CHECKING, Literal, TypeVar

from convtree._engine.log import LogReplaced, Mode
from convtree._logs.descriptors import OPEN_FLAGS, UNKNOWN, Descriptors, identity_of, refusal_of
from convtree._logs.directories import spelled
from convtree._logs.filesystems import check_directory, name_file, refuse_network
from convtree._logs.lock import FileLock
from convtree._model.errors import NotALog, SessionClosed, SessionExists, SessionFailed, SessionNotFound
from convtree._model.resources import ForkAware, Uncopyable, watch_forks

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class LogFile(Uncopyable, ForkAware):
    """A file that is open by its path, if it exists, and its lock."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode,
        lock_timeout_s: float,
        exclusive: bool,
        allow_network: bool,
    ) -> None:
        """Opens the file, if it exists. The arguments and errors are those of `JsonlLog`."""
        self.failed = False  # set when a write or sync leaves it unknown what is on disk; never cleared
        self._name = spelled(path)
        self._descriptors = Descriptors()
        self._fd = -1  # of the log; -1 while no file is open: not created yet, or closed
        self._identity = UNKNOWN  # of the file that `_fd` was opened on; changes with it
        self._read_only = mode == "r"
        #: how the first append creates the file; None in modes "r" and "r+", and from when a file is open
        self._create: Literal["a", "x"] | None = mode if mode in ("a", "x") else None
        self._lock = FileLock(self._name)
        self._lock_timeout_s = lock_timeout_s
        self._exclusive = exclusive
        self._allow_network = allow_network
        #: how far the log was read or written, and the bytes right before: they differ if the log was replaced
        self._end: tuple[int, bytes] = (0, b"")
        self._inherited = False  # set in a forked child: the file is closed, and the log refuses every call
        #: this object created the file, so that an index next to it is of an earlier log; until it saves its own
        self._created_here = False
        watch_forks(self)
        try:
            self._open()
            if exclusive:
                self.lock()
        except BaseException:
            self.close()
            raise

    def lock(self) -> None:
        """Takes the lock of a file that exists, for a caller that can close it already; raises SessionLocked."""
        self._exclusive = True
        self._lock.acquire(self._fd, self._lock_timeout_s)

    @property
    def path(self) -> Path:
        """Where the file is, or will be."""
        from pathlib import Path  # slow to import

        return Path(self._name)

    @property
    def location(self) -> str:
        """The path of the file."""
        return self._name

    # --- the file ---

    def _open(self) -> None:
        """Opens the file if it exists, or if it is to be created and locked at once (`exclusive`)."""
        self._identity = UNKNOWN
        if self._create and self._exclusive:
            check_directory(self._name, self._allow_network)
        try:
            if self._create and self._exclusive:
                self._created_here = self._create_file()
            if self._fd < 0:  # also to raise SessionExists in mode "x"; its first append creates the file
                flags = os.O_RDONLY if self._read_only else os.O_RDWR | os.O_APPEND
                self._fd = self._descriptors.open(self._name, flags | OPEN_FLAGS)
        except FileNotFoundError:
            if not self._create:
                raise SessionNotFound(f"{self.path}: there is no log here") from None
            check_directory(self._name, self._allow_network)
            return
        except FileExistsError:
            raise self._exists() from None
        except OSError as error:
            raise refusal_of(error, self.path) from None
        self._check_file()
        if self._create == "x" and not self._exclusive:
            is_empty = os.fstat(self._fd).st_size == 0
            self._close_file()
            if is_empty:  # a creation that failed has left it; the first append looks again, under the lock
                return
            raise self._exists()
        self._create = None  # from now on the file must exist

    def _create_file(self) -> bool:
        """Creates the file, empty, so that it can be locked; returns False if it exists (mode "a")."""
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._fd = self._descriptors.open(self._name, flags | OPEN_FLAGS)
        except FileExistsError:
            if self._create == "x":
                raise
            return False
        return True

    def _exists(self) -> SessionExists:
        return SessionExists(f"{self.path}: there is something here already; choose another path, or open it")

    def _check_file(self) -> None:
        """Checks that the opened file can be a log on a supported file system; closes it otherwise."""
        try:
            status = os.fstat(self._fd)
            self._identity = identity_of(status)
            if not stat.S_ISREG(status.st_mode):
                raise NotALog(f"{self.path}: not a regular file")
            if not self._read_only and not self._allow_network:
                refuse_network(self._name, status.st_dev)
        except BaseException:
            self._close_file()
            raise

    def _checked_size(self, position: int) -> int:
        """Returns the size of the file, after checking that it is the one that was read up to `position`.

        Raises:
            LogReplaced: another file is at the path, or the file was cut or overwritten.
        """
        if self._fd < 0 and self._create != "x":
            self._open()
        if self._fd < 0:
            return 0
        try:
            status = os.stat(self._name, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            self._reopen()
            self._end = 0, b""  # of the log that is gone
            raise LogReplaced(self.location)
        end, tail = self._end
        changed = end == position and os.pread(self._fd, len(tail), end - len(tail)) != tail
        if changed or status.st_size < position:
            self._end = 0, b""
            raise LogReplaced(self.location)
        return status.st_size

    def _reopen(self) -> None:
        """Opens the file that is at the path now; closes the one before, and with it its lock."""
        left, held, identity = self._fd, self._lock.held, self._identity
        self._fd, self._lock.held = -1, False
        try:
            self._open()
        finally:
            if self._fd < 0:
                self._fd, self._lock.held, self._identity = left, held, identity  # there is nothing else to read
            else:
                self._descriptors.close_own(left, identity)
        if self._exclusive and self._fd != left:
            self._lock.acquire(self._fd, self._lock_timeout_s)

    # --- the lock ---

    def _while_locked(self, act: Callable[[], T], timeout_s: float | None = None) -> T:
        # No context manager: a signal between its methods would keep the lock as long as the traceback.
        try:
            try:
                self._check_descriptor()  # or the lock of another file would be taken and given back
                if not self._lock.held:
                    self._lock.acquire(self._fd, self._lock_timeout_s if timeout_s is None else timeout_s)
                return act()
            except OSError as error:
                name_file(error, self._name)
                raise
            finally:
                self._unlock()
        except BaseException:
            if self._lock.held:  # a signal came when `finally` had not begun, or interrupted it
                self._unlock()
            raise

    def _unlock(self) -> None:
        if not self._exclusive and self._fd >= 0:
            self._lock.release(self._fd)

    def _check_usable(self) -> None:
        if self._inherited:
            raise SessionClosed(f"{self.path}: this session belongs to the parent process; open it again")

    def _check_descriptor(self) -> None:
        """Raises SessionFailed if the descriptor's number no longer belongs to the file that was opened."""
        if self._fd < 0:
            return
        try:
            status = os.fstat(self._fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise self._lost_descriptor() from None
        # flat, because every append does this twice
        if self._identity not in ((status.st_dev, status.st_ino), UNKNOWN):
            raise self._lost_descriptor()

    def _check_appends(self) -> None:
        """Raises SessionFailed if a write would not go to the end of this log.

        Other code may have closed the descriptor and opened the same file without O_APPEND: a write would then go to
        the beginning of the file.
        """
        self._check_descriptor()
        if not fcntl(self._fd, F_GETFL) & os.O_APPEND:
            raise self._lost_descriptor()

    def _lost_descriptor(self) -> SessionFailed:
        self.failed = True
        self._descriptors.forget(self._fd)  # never written to, unlocked or closed again
        self._fd, self._lock.held = -1, False
        closed = "the descriptor of this log was closed by something else in this process"
        return SessionFailed(f"{self.path}: {closed}; nothing was written, open the session again")

    # --- the end ---

    def close(self) -> None:
        """Closes the file, and with it the lock; twice is the same as once."""
        try:
            self._close_file()
        finally:
            self._descriptors.close()  # one that an interrupted call has opened

    def _close_file(self) -> None:
        try:
            self._descriptors.close_own(self._fd, self._identity)
        finally:
            self._fd, self._lock.held = -1, False

    def __del__(self) -> None:
        if hasattr(self, "_inherited"):  # else `__init__` has failed before it opened anything
            with suppress(OSError):
                self.close()

    def _after_fork(self) -> None:
        """Closes the parent's file in the child: an open descriptor would keep the parent's lock alive."""
        self._inherited = True
        with suppress(OSError):
            self.close()
