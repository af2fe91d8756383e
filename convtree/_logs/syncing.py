"""Makes files and their names durable."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from convtree._logs.descriptors import with_open

if TYPE_CHECKING:
    from pathlib import Path

_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # a directory cannot be synced here


def sync(fd: int) -> None:
    """Makes what was written to a file durable, the size included."""
    if sys.platform == "darwin":  # pragma: no cover  # there, fsync leaves the data in the cache of the drive
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_directory(path: str | Path) -> None:
    """Makes the names in a directory durable, where the file system can do that."""
    try:
        with_open(path, os.O_RDONLY, os.fsync)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
