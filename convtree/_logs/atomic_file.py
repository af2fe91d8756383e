"""Files that appear whole or not at all: written under a temporary name, synced, then linked or renamed into place.

A crash leaves the old state or the new one, and perhaps a temporary file, which the next writer of the same name
removes. Logs, their indexes and exported documents are written this way; appends are not (see `jsonl`).
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from itertools import count
from pathlib import Path

from convtree._logs.descriptors import OPEN_FLAGS, with_open
from convtree._logs.filesystems import check_directory
from convtree._logs.index_file import index_of
from convtree._model.errors import SessionExists

_BUFFER = 2**20
_EXISTS = "{}: this file exists already; pass replace=True (or --force) to replace it"


def create_atomically(path: Path, lines: Iterable[bytes], *, allow_network: bool = False) -> None:
    """Creates a file with these lines, durably.

    Raises:
        SessionExists: something is at this path; it was not touched.
        OSError: ENOTSUP, the file would be on a network file system.
    """
    check_directory(path, allow_network)
    with temporary(path, _with_newlines(lines)) as written:
        try:
            os.link(written, path)  # unlike a rename, never replaces
        except FileExistsError:
            raise SessionExists(f"{path}: there is something here already; choose another path") from None


def write_atomically(path: Path, pieces: Iterable[bytes], *, replace: bool) -> None:
    """Writes a file that is not a log, durably; replaces the one before if asked to.

    Raises:
        SessionExists: something is at this path, and `replace` is False; it was not touched.
    """
    check_directory(path, allow_network=True)
    if not replace and os.path.lexists(path):
        raise SessionExists(_EXISTS.format(path))
    with temporary(path, pieces) as written:
        if replace:
            os.rename(written, path)
            return
        try:
            os.link(written, path)
        except FileExistsError:
            raise SessionExists(_EXISTS.format(path)) from None


def replace_atomically(path: Path, lines: Iterable[bytes], *, keep_as: Path) -> None:
    """Replaces a log by one with these lines, durably. The caller holds the lock of the old one.

    The old log stays as `keep_as`, unless that exists already. Its index is removed first: it would report that the
    new log has lost lines.
    """
    remove_stale_temporaries(path)
    status = os.stat(path)
    with temporary(path, _with_newlines(lines)) as written:
        os.chmod(written, stat.S_IMODE(status.st_mode))
        os.chown(written, status.st_uid, status.st_gid)  # root must not take a log away from its owner
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(index_of(path))
        if not os.path.lexists(keep_as):
            os.link(path, keep_as)
        sync_directory(path.parent)
        os.rename(written, path)


def free_name(path: Path, suffix: str, is_own: Callable[[Path], bool] = lambda _: False) -> Path:
    """Returns `<path>.<suffix>`, or `<path>.<suffix>-2` and so on if that is taken.

    A file that exists is taken unless `is_own` recognises it, for instance as left by an interrupted run.
    """
    names = (path.with_name(f"{path.name}.{suffix}{'' if n == 1 else f'-{n}'}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name) or is_own(name))


@contextmanager
def temporary(path: Path, pieces: Iterable[bytes]) -> Iterator[Path]:
    """Writes a synced temporary file next to `path`. The body puts it in place; then the directory is synced."""
    written = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    fd = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600)
    try:
        with open(fd, "wb", buffering=_BUFFER) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            sync(file.fileno())
        yield written
        sync_directory(path.parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(written)


def remove_stale_temporaries(path: Path) -> None:
    """Removes temporary files that killed processes left of a file at `path`, or of its index. The caller locks."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if leftover.name.count(".") == path.name.count(".") + 3:  # not of a log whose name begins with this one's
            with suppress(OSError):
                os.unlink(leftover)


def sync(fd: int) -> None:
    """Makes what was written to a file durable, the size included."""
    if sys.platform == "darwin":  # pragma: no cover  # there, fsync leaves the data in the cache of the drive
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    with_open(path, os.O_RDONLY, os.fsync)


def _with_newlines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines)
