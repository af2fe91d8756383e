"""The usage ledger of a folder: a file of sealed lines that only grows. It is no cache: its lines are nowhere else.

A line is a JSON object, sealed like a line of a log whose `prev` is zero: lines are independent of each other. A line
that does not verify is passed over. A write that did not finish leaves a torn tail, which the next one cuts off.

If the file belongs to somebody else, or is something else, the next name is used: `.ledger-2` and so on. All of them
together are the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from convtree._logs import syncing
from convtree._logs.descriptors import Descriptors, with_regular, write_all
from convtree._logs.filesystems import naming
from convtree._logs.lock import FileLock
from convtree._logs.side_files import PRIVATE, numbered, open_free_side_file
from convtree._model.interrupts import ending


class LedgerFile:
    """The ledger at a path. It need not exist. For one thread at a time, and any number of processes."""

    def __init__(self, path: Path, lock_timeout_s: float) -> None:
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._locking = Descriptors()  # open from `lock` to `unlock`
        self._stamps: list[tuple[int, int, int]] = []  # of the files when they were read last
        self._lines: list[bytes] = []
        self.unreadable: list[str] = []  # names of files that could not be read then

    def read(self) -> list[bytes]:
        """Returns the lines without their newlines; the same list while the files do not change."""
        found = self._find()
        stamps = [(status.st_size, status.st_mtime_ns, status.st_ino) for _, status in found]
        if stamps != self._stamps:
            lines, unreadable = [], []
            for name, _ in found:
                try:
                    lines += _lines_of(name)
                except OSError:
                    unreadable.append(name.name)
            self._stamps, self._lines, self.unreadable = stamps, lines, unreadable
        return self._lines

    def _find(self) -> list[tuple[Path, os.stat_result]]:
        found, number = [], 1
        while True:
            name = numbered(self._path, number)
            try:
                found.append((name, os.lstat(name)))
            except FileNotFoundError:
                if number > 1:  # the first may have been deleted
                    return found
            number += 1

    def lock(self) -> None:
        """Makes deletes take turns: each must know what the others leave. Creates the file. Call `unlock` after it."""
        name, fd = self._open(self._locking)
        FileLock(str(name)).acquire(fd, self._lock_timeout_s)

    def unlock(self) -> None:
        """Ends what `lock` began, also in part; twice is the same as once."""
        self._locking.close()

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds lines, durably. The caller holds the lock, unless a full disk had no space for the file."""
        if not lines:
            return
        descriptors = Descriptors()

        def add() -> None:
            name, fd = self._open(descriptors)
            with naming(name):
                end = _read_all(fd).rfind(b"\n") + 1
                os.ftruncate(fd, end)
                try:
                    # Not buffered: closing a buffer would write its rest behind the end once more.
                    write_all(fd, b"".join(line + b"\n" for line in lines))
                    syncing.sync(fd)
                except BaseException:
                    os.ftruncate(fd, end)
                    raise
                syncing.sync_directory(self._path.parent)

        ending(add, descriptors.close)

    def _open(self, descriptors: Descriptors) -> tuple[Path, int]:
        return open_free_side_file(descriptors, self._path, os.stat(self._path.parent), PRIVATE)


def _lines_of(path: Path) -> list[bytes]:
    whole, _, _ = with_regular(path, _read_all).rpartition(b"\n")
    return whole.split(b"\n") if whole else []


def _read_all(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()
