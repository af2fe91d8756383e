"""The log protocol: a durable, append-only list of lines that knows nothing about entries.

A log knows framing and seals, so that it can tell a whole line from a torn one. The engine decides what a line means.
Positions are the log's own (byte offsets in files and databases, plain numbers in memory) and only grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

Mode = Literal["a", "x", "r", "r+"]
"""How a log is opened: open or create, must be new, read only, must exist."""

Durability = Literal["power", "process"]
"""What an append survives when it has returned: a power cut, or the death of every process."""


class Chunk(NamedTuple):
    """Some lines as they stand in a log, without their newlines, and where each begins.

    `end` is the position behind them. With a `fault`, the bytes between the last line and `end` are not a line:
    `torn_tail` (no newline yet, or never) or `line_too_long` (over 64 MiB, not read).
    """

    positions: Sequence[int]
    lines: Sequence[bytes]
    end: int
    fault: str | None = None


class SnapshotFile(NamedTuple):
    """Bytes that were kept beside a log: how many, and how to read some, by offset and length."""

    size: int
    read: Callable[[int, int], bytes]


Build = Callable[[Iterator[Chunk]], Sequence[bytes]]


class LogReplaced(Exception):
    """The log is not the one that was read before (replaced, or cut): read it again from 0. Never reaches users."""


class Log(Protocol):
    """A list of lines. Implementations pass the contract in the tests, and are used by one thread at a time."""

    @property
    def location(self) -> str:
        """Where the log is, for messages."""
        ...

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields what stands in the log from a position on. Takes no lock and changes nothing.

        Raises:
            LogReplaced: `position` belongs to a log that is no longer there.
        """
        ...

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these (position, length) pairs; a line that is not there any more comes back short."""
        ...

    def append(self, position: int, build: Build) -> Chunk:
        """Adds lines behind everything that is in the log, as one write.

        Calls `build` with what stands behind `position`; `build` returns whole lines, or none to write nothing, or
        raises to write nothing. What it made counts only if, under the lock, nothing else stands there; else it is
        called again, with that. When this returns, the lines are in the log as durably as the log
        was asked to be. Returns them with their positions.

        Raises:
            LogReplaced: as `read`; nothing was written.
            SessionLocked: the lock was not free in time; nothing was written.
            OSError: the write failed; see `failed`.
        """
        ...

    def snapshot(self) -> SnapshotFile | None:
        """Returns the bytes that `save_snapshot` was last given by anyone, if there are any; they may be damaged."""
        ...

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Keeps some bytes beside the log in place of those before, whole or not at all.

        They say something about the log up to `end`, so that is made durable first. Does nothing when only reading,
        and where another, who may have seen more, has been first.

        Raises:
            LogReplaced, SessionLocked, OSError: nothing was kept.
        """
        ...

    @property
    def failed(self) -> bool:
        """True when a write has failed in a way that leaves it unknown what is on disk: nothing more is written."""
        ...

    def close(self) -> None:
        """Gives back what the log holds; twice is the same as once."""
        ...
