"""What file systems cannot do: those of a network exclude no writers of other machines, and some are full.

On a network file system `flock` may not exclude the writers of other machines, so no logs are written there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from convtree._logs.descriptors import with_open

if TYPE_CHECKING:
    from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a write to a full disk, or beyond a quota: every other write there fails, too."""
NO_SPACE = (*FULL, errno.EFBIG)
"""Errors of a write for which there is no space: the disk is full, or a quota or size limit is reached."""

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_PROBED = 2**16  # bytes
_MOUNT_TABLE = "/proc/self/mountinfo"
_TYPES = "/proc/filesystems"  # those that Linux has loaded

_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
    | {f"fuse.{name}" for name in ("blobfuse", "davfs2", "gcsfuse", "glusterfs", "goofys", "juicefs", "rclone")}
    | {f"fuse.{name}" for name in ("s3fs", "seaweedfs", "sshfs", "vmhgfs-fuse")}
)


@contextmanager
def suppress_full_disk() -> Iterator[None]:
    """Suppresses the errors of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


def full_disk_error(folder: Path) -> OSError | None:
    """Returns the error of a write to a folder for which there is no space; None if there is, or for another reason.

    For libraries that do not say why they cannot write. It writes as much as SQLite needs to open a database.
    """
    import tempfile  # slow to import

    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PROBED))
            os.fsync(file.fileno())
    except OSError as error:
        return error if error.errno in NO_SPACE else None
    return None


@contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Gives errors of the operating system the path of the file that they are about: those of a descriptor have none.

    `path` also takes the place of `instead_of`, the name of a temporary file that nobody knows.
    """
    try:
        yield
    except OSError as error:
        name_file(error, path, instead_of)
        raise


def name_file(error: OSError, path: str | Path, instead_of: Path | None = None) -> None:
    """Gives an error of the operating system a path, as `naming` does."""
    if error.errno is not None and (error.filename is None or error.filename == instead_of):
        error.filename = str(path)
        if error.filename2 is not None:
            del error.filename2  # None would be shown


def check_directory(path: str | Path, allow_network: bool) -> None:
    """Checks that a log can be created at `path`.

    Raises:
        FileNotFoundError: its directory does not exist.
        OSError: ENOTSUP, the directory is on a network file system, and `allow_network` is False.
    """
    folder = os.path.dirname(path) or os.curdir
    try:
        status = os.stat(folder)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        status = None
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    if not allow_network:
        refuse_network(path, status.st_dev)


def refuse_network(path: str | Path, device: int) -> None:
    """Raises OSError (ENOTSUP) if this device, which has the file at `path`, is a network file system.

    Knows it on Linux only. Elsewhere, and for a device that Linux does not list, nothing is refused.
    """
    if os.major(device) and _has_no_network_types():  # on a disk, so that no `fuse.…` is there either
        return
    kind = type_of(mount_table(), device)
    if kind in _NETWORK:
        raise OSError(
            errno.ENOTSUP,
            f"{kind} is a network file system, where locks do not exclude other writers: use a SQL store, "
            "or pass allow_network=True if there is only one writer",
            str(path),
        )


def mount_table() -> str:
    """Returns the text of Linux's mountinfo; empty on other systems."""
    return _text_of(_MOUNT_TABLE)


def _has_no_network_types() -> bool:
    """Returns whether Linux has loaded no network file system: faster to know than what is mounted."""
    loaded = _text_of(_TYPES).split()
    return bool(loaded) and _NETWORK.isdisjoint(loaded)


def _text_of(path: str) -> str:
    """Returns what Linux says in a file; empty if it cannot be read."""
    try:
        pieces = with_open(path, os.O_RDONLY | os.O_CLOEXEC, lambda fd: [*iter(partial(os.read, fd, 2**16), b"")])
    except OSError:
        return ""
    return b"".join(pieces).decode("utf-8", "replace")


def type_of(mounts: str, device: int) -> str | None:
    """Returns the file system type of a device, from the text of Linux's mountinfo (see proc(5))."""
    wanted = f" {os.major(device)}:{os.minor(device)} "
    at = mounts.find(wanted)
    while at >= 0:
        start, end = mounts.rfind("\n", 0, at) + 1, mounts.find("\n", at)
        fields = mounts[start : end if end >= 0 else None].split(" ")
        if fields[2] == wanted[1:-1] and "-" in fields:
            return fields[fields.index("-") + 1]
        at = mounts.find(wanted, at + 1)
    return None
