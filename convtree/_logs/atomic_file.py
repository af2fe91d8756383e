"""Files that appear whole or not at all: written under a temporary name, synced, then linked or renamed into place.

A crash leaves the old state or the new one, and perhaps a temporary file, which the next writer of the same name
removes. Logs, their indexes and exported documents are written this way; appends are not (see `jsonl`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

from convtree._logs import syncing
from convtree._logs.descriptors import OPEN_FLAGS, Descriptors, with_open
from convtree._logs.filesystems import check_directory, naming
from convtree._logs.index_file import index_of
from convtree._logs.put_new import NO_LINKS, put_new
from convtree._logs.side_files import check_not_locked_out, give_to, numbered
from convtree._logs.streams import open_stream
from convtree._model.errors import SessionExists
from convtree._model.interrupts import ending

_BUFFER = 2**20
_EXISTS = "{}: this file exists already; pass replace=True (or --force) to replace it"


def create_atomically(
    path: Path, lines: Iterable[bytes], *, allow_network: bool = False, owner: os.stat_result | None = None
) -> None:
    """Creates a file with these lines, durably. It gets the owner and mode of `owner`, if possible.

    Raises:
        SessionExists: something is at this path; it was not touched.
        OSError: ENOTSUP, the file would be on a network file system.
    """
    check_directory(path, allow_network)
    with temporary(path, _with_newlines(lines), owner) as written:
        try:
            put_new(written, path)
        except FileExistsError:
            raise SessionExists(f"{path}: there is something here already; choose another path") from None


def write_atomically(path: Path, pieces: Iterable[bytes], *, replace: bool) -> None:
    """Writes a file that is not a log, durably; replaces the one before if asked to.

    A device, a pipe or a descriptor such as `/dev/stdout` is written into instead, with and without `replace`.

    Raises:
        SessionExists: something is at this path, and `replace` is False; it was not touched.
    """
    if _write_to_stream(path, pieces):
        return
    check_directory(path, allow_network=True)
    if not replace and os.path.lexists(path):
        raise SessionExists(_EXISTS.format(path))
    with temporary(path, pieces) as written:
        if replace:
            os.rename(written, path)
            return
        try:
            put_new(written, path)
        except FileExistsError:
            raise SessionExists(_EXISTS.format(path)) from None


def _write_to_stream(path: Path, pieces: Iterable[bytes]) -> bool:
    """Returns False, and does nothing, if the path is not that of a device, a pipe or a descriptor."""
    descriptors = Descriptors()

    def write() -> bool:
        stream = open_stream(descriptors, path)
        if stream is None:
            return False
        with naming(path), open(stream, "wb", closefd=False) as file:
            file.writelines(pieces)
        return True

    return ending(write, descriptors.close)


def replace_atomically(path: Path, lines: Iterable[bytes]) -> Path:
    """Replaces a log by one with these lines, durably. The caller holds the lock of the old one.

    Returns where the old log is kept: `<log>.original`, or with a number if that is taken. It is a second name of the
    old file, or a copy where there are no hard links. The index is removed first: it would report that the new log has
    lost lines.

    Raises:
        PermissionError: the log belongs to another user, who could not use the new one.
    """
    remove_stale_temporaries(path)
    status = os.stat(path)
    original = free_name(path, "original", lambda name: os.path.samestat(os.lstat(name), status))
    with temporary(path, _with_newlines(lines), status) as written:
        check_not_locked_out(os.stat(written), status, path)
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(index_of(path))
        if not os.path.lexists(original):
            _keep(path, original, status)
        syncing.sync_directory(path.parent)
        os.rename(written, path)
    return original


def _keep(path: Path, original: Path, status: os.stat_result) -> None:
    """Gives a log a second name, or makes a copy of it."""
    try:
        os.link(path, original)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        remove_stale_temporaries(original)
        with path.open("rb") as log, temporary(original, iter(partial(log.read, _BUFFER), b""), status) as copy:
            put_new(copy, original)


def free_name(path: Path, suffix: str, is_own: Callable[[Path], bool] = lambda _: False) -> Path:
    """Returns `<path>.<suffix>`, or `<path>.<suffix>-2` and so on if that is taken.

    A file that exists is taken unless `is_own` recognises it, for instance as left by an interrupted run.
    """
    names = (numbered(path.with_name(f"{path.name}.{suffix}"), n) for n in count(1))
    return next(name for name in names if not os.path.lexists(name) or is_own(name))


@contextmanager
def temporary(path: Path, pieces: Iterable[bytes], owner: os.stat_result | None = None) -> Iterator[Path]:
    """Writes a synced temporary file next to `path`. The body puts it in place; then the directory is synced.

    Errors name `path`. The file gets the owner and mode of `owner` before it has content.
    """
    written = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    with naming(path, instead_of=written):

        def write(fd: int) -> None:
            with open(fd, "wb", buffering=_BUFFER, closefd=False) as file:
                if owner is not None:
                    give_to(fd, owner)
                for piece in pieces:
                    file.write(piece)
                file.flush()
                syncing.sync(fd)

        try:
            with_open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, write)
            yield written
            syncing.sync_directory(path.parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(written)


def remove_stale_temporaries(path: Path) -> None:
    """Removes temporary files that killed processes left of a file at `path`, or of its index. The caller locks."""
    from glob import escape  # not needed by most programs

    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if leftover.name.count(".") == path.name.count(".") + 3:  # not of a log whose name begins with this one's
            with suppress(OSError):
                os.unlink(leftover)


def _with_newlines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines)
