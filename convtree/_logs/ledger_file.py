"""The usage ledger of a folder: a file of sealed lines that only grows. It is no cache: its lines are nowhere else.

A line is a JSON object, sealed like a line of a log whose `prev` is zero: lines are independent of each other. A line
that does not verify is passed over. A write that did not finish leaves a torn tail, which the next one cuts off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from convtree._logs.atomic_file import sync, sync_directory
from convtree._logs.descriptors import OPEN_FLAGS, with_open
from convtree._logs.lock import FileLock


class LedgerFile:
    """The ledger at a path. It need not exist. For one thread at a time, and any number of processes."""

    def __init__(self, path: Path, lock_timeout_s: float) -> None:
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._stamp: tuple[int, int, int] | None = None  # of the file when it was read last
        self._lines: list[bytes] = []

    def read(self) -> list[bytes]:
        """Returns the lines without their newlines; the same list while the file does not change."""
        try:
            status = os.lstat(self._path)
            stamp = status.st_size, status.st_mtime_ns, status.st_ino
            if stamp != self._stamp:
                whole, _, _ = with_open(self._path, os.O_RDONLY | OPEN_FLAGS, _read_all).rpartition(b"\n")
                self._stamp, self._lines = stamp, whole.split(b"\n") if whole else []
        except FileNotFoundError:
            if self._stamp is not None:
                self._stamp, self._lines = None, []
        return self._lines

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes deletes take turns: each must know what the others leave. Creates the file."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, 0o600)
        lock = FileLock(str(self._path))
        try:
            lock.acquire(fd, self._lock_timeout_s)
            yield
        finally:
            os.close(fd)

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds lines, durably. The caller holds the lock, unless a full disk had no space for the file."""
        if not lines:
            return

        def add(fd: int) -> None:
            with open(fd, "r+b", closefd=False) as file:
                end = file.read().rfind(b"\n") + 1
                file.truncate(end)
                file.seek(end)
                try:
                    file.write(b"".join(line + b"\n" for line in lines))
                    file.flush()
                    sync(fd)
                except BaseException:
                    os.ftruncate(fd, end)
                    raise
            sync_directory(self._path.parent)

        with_open(self._path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, add)


def _read_all(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()
