"""A log in memory: gone with the process. The shortest implementation of `Log`, and its reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from threading import RLock

from convtree._engine.log import Build, Chunk, SnapshotFile
from convtree._model.errors import SessionExists
from convtree._model.interrupts import Unlocking


class MemoryLog:
    """Lines in a list; a position is an index into it. Given `other`, it is a second handle on the same log.

    Several threads may use a log, each through its own handle.
    """

    append_is_atomic = True
    location = "memory"
    failed = False

    def __init__(self, other: MemoryLog | None = None, *, must_be_new: bool = False) -> None:
        #: shared by all handles; only grows, under the lock
        self._lines: list[bytes] = [] if other is None else other._lines
        self._lock: RLock = RLock() if other is None else other._lock
        self._must_be_new = must_be_new  # mode "x": the first append raises if another handle was faster

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on, as one chunk."""
        lines = self._lines[position:]
        if lines:
            yield Chunk(range(position, position + len(lines)), lines, position + len(lines))

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these positions."""
        return [self._lines[position] for position, _ in spans]

    def append(self, position: int, build: Build) -> Chunk:
        """Appends the lines that `build` returns; calls it once, under the lock."""
        with Unlocking(self._lock), self._lock:
            if self._must_be_new and self._lines and not position:
                raise SessionExists("memory: another handle has just created this session; open it")
            lines = list(build(self.read(position)))
            start = len(self._lines)
            self._lines.extend(lines)
            return Chunk(range(start, start + len(lines)), lines, start + len(lines))

    def snapshot(self) -> SnapshotFile | None:
        """Returns None: a snapshot is for opening without reading, and this log is always read."""
        return None

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing: the lines stay readable through this object."""
