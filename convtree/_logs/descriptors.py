"""Descriptors and the files they belong to.

The number of a descriptor says nothing about the file behind it: other code in the process may have closed it, and
the next file that is opened gets the number. The device and inode taken when the file was opened say it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode of a file."""

UNKNOWN: Identity = (0, 0)
"""The identity of a descriptor that was not asked yet."""

OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""For every file: links are not followed, a pipe does not block, and child processes do not inherit it."""


def open_regular(path: Path) -> int:
    """Opens a file for reading; returns the descriptor. What is open is looked at, not what had the name before.

    Raises:
        FileExistsError: it is something else, such as a device that never ends.
    """
    fd = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
    except BaseException:
        os.close(fd)
        raise
    return fd


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
    return (status.st_dev, status.st_ino) == identity


def close_own(fd: int, identity: Identity) -> None:
    """Closes a descriptor unless it is open on another file by now. Closes it if that cannot be found out."""
    ours = True
    try:
        with suppress(OSError):
            ours = identity == UNKNOWN or is_open_on(fd, identity)
    finally:
        if ours:
            os.close(fd)
