"""Files next to a log: to whom they belong, and which of them are safe to write to.

A file that root leaves next to the log of another user must not lock that user out. A file that somebody else has put
there, under the name of a side file, must not lead a write elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from convtree._logs.descriptors import OPEN_FLAGS, Descriptors, with_open

_UNUSABLE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ETXTBSY)
PRIVATE = 0o600
"""The mode of files that belong to a folder: a user who may list the folder need not be one who may read all logs."""
_TRIED = 100  # names for one side file; more are taken in a folder only if somebody means to


def give_to(fd: int, owner: os.stat_result, mode: int | None = None) -> None:
    """Gives a new file the owner, group and mode of another one, as far as this process and the file system permit.

    Call it before anything is written. If the file cannot have the group, no group gets to read it. `mode` is used
    instead of that of the other one, for example of a folder.
    """
    now = os.fstat(fd)
    with suppress(OSError):
        if now.st_uid != owner.st_uid:
            os.fchown(fd, owner.st_uid, -1)
    with suppress(OSError):
        if now.st_gid != owner.st_gid:
            os.fchown(fd, -1, owner.st_gid)
    now = os.fstat(fd)
    mode = (stat.S_IMODE(owner.st_mode) if mode is None else mode) & (0o666 if now.st_gid == owner.st_gid else 0o606)
    with suppress(OSError):
        if stat.S_IMODE(now.st_mode) != mode:
            os.fchmod(fd, mode)


def check_not_locked_out(new: os.stat_result, owner: os.stat_result, path: Path) -> None:
    """Checks that the owner of a file can use the one that is to replace it.

    Raises:
        PermissionError: it belongs to this process's user, and the owner of the old one may not read and write it.
    """
    bits = stat.S_IMODE(new.st_mode)
    permitted = bits & 7 | (bits >> 3 & 7 if new.st_gid == owner.st_gid else 0)
    if new.st_uid != owner.st_uid and ~permitted & (stat.S_IMODE(owner.st_mode) >> 6 & 6):
        raise PermissionError(
            errno.EPERM,
            "it belongs to another user, who could not use what would replace it; do this as that user or as root",
            str(path),
        )


def open_side_file(descriptors: Descriptors, path: Path, owner: os.stat_result, mode: int | None = None) -> int:
    """Opens a file to write to, or creates it for the owner of a log or a folder; returns the descriptor.

    It is one of `descriptors`, which the caller closes.

    Only a regular file with one name, of this user or that owner, is written to. Anything else under this name stays
    as it is.

    Raises:
        FileExistsError: something else has this name, or a file that this user cannot write to.
        OSError: the file cannot be created.
    """
    flags = os.O_RDWR | os.O_APPEND | OPEN_FLAGS
    try:
        fd, is_new = descriptors.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE), True
    except FileExistsError:
        fd, is_new = _open_existing(descriptors, path, flags), False
    if is_new:
        give_to(fd, owner, mode)
    elif not is_own(os.fstat(fd), owner):
        raise _taken(path)
    return fd


def _open_existing(descriptors: Descriptors, path: Path, flags: int) -> int:
    try:
        return descriptors.open(path, flags)
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise _taken(path) from None
        raise


def is_own(status: os.stat_result, owner: os.stat_result) -> bool:
    """Returns whether a file is a regular one without other names, and of this user or of `owner`."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in (os.geteuid(), owner.st_uid)


def open_free_side_file(
    descriptors: Descriptors, path: Path, owner: os.stat_result, mode: int | None = None
) -> tuple[Path, int]:
    """Opens the first of `path`, `<path>-2` and so on that can be opened as a side file; returns its path, too.

    Raises:
        FileExistsError: none of a hundred names can be used.
        OSError: the file cannot be created.
    """
    for number in range(1, _TRIED):
        name = numbered(path, number)
        with suppress(FileExistsError):
            return name, open_side_file(descriptors, name, owner, mode)
    raise _taken(path)


def claim_cache(path: Path, ends: Sequence[str]) -> None:
    """Creates a cache of a folder for its owner, unless it is there; does not open what is there.

    The owner of the folder replaces a file that somebody else has left. `ends` are those of the names of files that
    come and go with it.

    Raises:
        FileExistsError: something under one of the names must not be used.
        OSError: the file cannot be created.
    """
    folder = os.stat(path.parent)
    for end in ends:
        _check_cache(path.with_name(path.name + end), folder)
    if not _check_cache(path, folder):
        with suppress(FileExistsError):  # another process was faster
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS
            with_open(path, flags, lambda fd: give_to(fd, folder, PRIVATE), PRIVATE)


def _check_cache(path: Path, folder: os.stat_result) -> bool:
    """Returns whether there is a file that may be used. Removes a file of somebody else from a folder of one's own."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if is_own(status, folder):
        return True
    if not stat.S_ISREG(status.st_mode) or folder.st_uid != os.geteuid():
        raise _taken(path)
    os.unlink(path)
    return False


def numbered(path: Path, number: int) -> Path:
    """Returns the n-th name for a file: `path`, `<path>-2` and so on."""
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "something else has this name; move it away", str(path))
