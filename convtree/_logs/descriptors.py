"""Descriptors and the files they belong to.

The number of a descriptor says nothing about the file behind it: other code in the process may have closed it, and
the next file that is opened gets the number. The device and inode taken when the file was opened say it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from convtree._model.errors import NotALog
from convtree._model.interrupts import ending

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

Identity = tuple[int, int]
"""Device and inode of a file."""

UNKNOWN: Identity = (0, 0)
"""The identity of a descriptor that was not asked yet."""

OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""For every file: links are not followed, a pipe does not block, and child processes do not inherit it."""


def identity_of(status: os.stat_result) -> Identity:
    """Returns the identity in the result of a `stat`."""
    return status.st_dev, status.st_ino


def is_open_on(fd: int, identity: Identity) -> bool:
    """Returns whether a descriptor is open on this file."""
    try:
        status = os.fstat(fd)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise
    return identity_of(status) == identity


def write_all(fd: int, data: bytes) -> None:
    """Writes all of the data. After a short write, the next one raises the reason."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def refusal_of(error: OSError, path: Path) -> OSError | NotALog:
    """Returns the error to raise when a log cannot be opened: links, folders and pipes are not followed."""
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return NotALog(f"{path}: not a regular file (links are not followed)")
    return error


OPENERS: dict[int, Descriptors] = {}
"""By number, who opened the descriptor last, of all that open files here. Other code may have opened it since."""


class Descriptors:
    """The descriptors that an object has open. It opens and closes them here.

    A descriptor is opened and noted in one call of C, and closed and forgotten in one: no interrupt comes in between.
    """

    def __init__(self) -> None:
        self._open: list[int] = []

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
        """Opens a file."""
        self._open.extend(map(os.open, (path,), (flags,), (mode,)))
        OPENERS[self._open[-1]] = self
        return self._open[-1]

    def duplicate(self, fd: int) -> int:
        """Opens a descriptor once more, under another number."""
        self._open.extend(map(os.dup, (fd,)))
        OPENERS[self._open[-1]] = self
        return self._open[-1]

    def opened_by(self, opener: Callable[[int], int], argument: int) -> int | None:
        """Keeps the descriptor that a function of C returns; None if it returns a negative number, for an error."""
        before = len(self._open)
        self._open.extend(filter((-1).__lt__, map(opener, (argument,))))
        return self._open[-1] if len(self._open) > before else None

    def close_own(self, fd: int, identity: Identity = UNKNOWN) -> None:
        """Closes a descriptor unless it is open on another file by now. Closes it if that cannot be found out."""
        if fd not in self._open:
            return
        ours = True
        with suppress(OSError):
            ours = identity == UNKNOWN or is_open_on(fd, identity)
        if ours:
            list(map(os.close, map(self._open.pop, (self._open.index(fd),))))
            if OPENERS.get(fd) is self:
                del OPENERS[fd]
        else:
            self.forget(fd)

    def forget(self, fd: int) -> None:
        """Forgets a descriptor that something else has closed. It is never closed here."""
        if fd in self._open:
            self._open.remove(fd)
            if OPENERS.get(fd) is self:
                del OPENERS[fd]

    def close(self) -> None:
        """Closes all of them; twice is the same as once."""
        while self._open:
            self.close_own(self._open[-1])


def with_open(path: str | os.PathLike[str], flags: int, work: Callable[[int], T], mode: int = 0o600) -> T:
    """Opens a file, calls `work` with its descriptor, and closes it."""
    descriptors = Descriptors()
    return ending(lambda: work(descriptors.open(path, flags, mode)), descriptors.close)


def with_regular(path: Path, work: Callable[[int], T]) -> T:
    """Opens a file for reading, as `with_open`. What is open is looked at, not what had the name before.

    Raises:
        FileExistsError: it is something else, such as a device that never ends.
    """

    def look(fd: int) -> T:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
        return work(fd)

    return with_open(path, os.O_RDONLY | OPEN_FLAGS, look)
