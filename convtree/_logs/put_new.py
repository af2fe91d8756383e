"""Gives a written file a name that must be free, also on file systems without hard links.

A link never replaces anything; a rename does. Where there are no links (FAT, some network and FUSE file systems), an
empty file takes the name and is locked, and the written file is renamed over it. An empty file is no session. If the
process is killed in between, the next one takes the empty file over, because nobody holds its lock.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from convtree._logs.descriptors import OPEN_FLAGS, Descriptors
from convtree._logs.lock import FileLock
from convtree._model.errors import SessionLocked
from convtree._model.interrupts import ending

NO_LINKS = frozenset(
    (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV, errno.EINVAL)
)
"""Errors of `link` that say that this file cannot have a second name here."""


def put_new(written: Path, path: Path) -> None:
    """Gives a file the name `path`, which must be in the same directory and free. Of several processes, one succeeds.

    `written` may still be there as well afterwards.

    Raises:
        FileExistsError: something has this name; it was not touched.
    """
    try:
        os.link(written, path)
    except FileExistsError:
        if not _is_empty_file(path) or _can_be_linked(written):
            raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    else:
        return
    _rename_over_placeholder(written, path)


def _rename_over_placeholder(written: Path, path: Path) -> None:
    descriptors = Descriptors()

    def rename() -> None:
        created = True
        try:
            fd = descriptors.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS)
        except FileExistsError:
            created = False
            try:
                fd = descriptors.open(path, os.O_RDWR | OPEN_FLAGS)
            except OSError:
                raise _exists(path) from None
        if not _lock(fd, path, created):
            raise _exists(path)
        try:
            os.rename(written, path)
        except BaseException:
            with suppress(OSError):
                if created and _is_at(fd, path):  # otherwise the rename was done when a signal came
                    os.unlink(path)
            raise

    ending(rename, descriptors.close)


def _lock(fd: int, path: Path, created: bool) -> bool:
    """Locks a placeholder until it is closed; False if it is that of another process, or no placeholder at all.

    Where there are no locks, only the process that created it may use it.
    """
    try:
        FileLock(str(path)).acquire(fd, 0)
    except SessionLocked:
        return False
    except OSError:
        if not created:
            return False
    return _is_at(fd, path)


def _is_at(fd: int, path: Path) -> bool:
    """Returns whether a descriptor is that of an empty file, and the path leads to it."""
    status = os.fstat(fd)
    with suppress(FileNotFoundError):
        return stat.S_ISREG(status.st_mode) and not status.st_size and os.path.samestat(status, os.lstat(path))
    return False


def _is_empty_file(path: Path) -> bool:
    with suppress(FileNotFoundError):
        status = os.lstat(path)
        return stat.S_ISREG(status.st_mode) and status.st_size == 0
    return False


def _can_be_linked(written: Path) -> bool:
    """Returns whether the file system has hard links. A link to a name that is taken fails alike with and without."""
    other = written.with_name(f"{written.name.removesuffix('.tmp')}0.tmp")
    try:
        os.link(written, other)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    os.unlink(other)
    return True


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
