"""The interface below the engine: a durable, append-only list of lines. It knows nothing about entries.

A log knows newlines and checksums, so that it can tell a whole line from a torn one. What a line *means* is decided
above. Positions belong to the log (byte offsets in files and databases, plain numbers in memory) and only grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from convtree._model.findings import LOST

Mode = Literal["a", "x", "r", "r+"]
"""How a log is opened: "a" open or create, "x" must not exist, "r" read only, "r+" must exist."""

Durability = Literal["power", "process"]
"""What an append survives once it has returned: "power" a power cut, "process" the death of every process."""


class Chunk(NamedTuple):
    """Some lines of a log, without their newlines, and the position of each.

    `end` is the position after them. With the fault `torn_tail` (no newline yet, or never) or `line_too_long` (over
    64 MiB, not read), the bytes between the last line and `end` are not a line. With `newline_missing`, the one line is
    whole but for its newline, which `end` counts already: only `append` passes it on, and writes the newline.

    The faults in `END_FAULTS` are about the end of the log and come in a chunk without lines: something outside of the
    log knows another end than its last line has.
    """

    positions: Sequence[int]
    lines: Sequence[bytes]
    end: int
    fault: str | None = None

    def behind(self, end: int) -> Chunk:
        """Returns the part behind a position: an append that is tried again is given the same lines again."""
        if not self.positions or self.positions[0] >= end:
            return self
        known = bisect_left(self.positions, end)
        return self._replace(positions=self.positions[known:], lines=self.lines[known:])


#: faults that are about the end of a log, and why nothing may be written then
END_FAULTS = {
    LOST: "lines at its end are missing",
    "wrong_size": "the database names another size than its lines have",
    "wrong_end": "its last line is not the one that the database names",
}


class SnapshotFile(NamedTuple):
    """A snapshot stored next to a log: its size, and a function that reads bytes of it by offset and length.

    `read` returns fewer bytes than asked for at the end, and if the snapshot is damaged. It never raises OSError.
    """

    size: int
    read: Callable[[int, int], bytes]


class Addition(list[bytes]):
    """Lines to append behind the position `end`. What a log has behind it is the rest of a write that was cut off."""

    __slots__ = ("end",)

    def __init__(self, lines: Iterable[bytes], end: int) -> None:
        super().__init__(lines)
        self.end = end


Build = Callable[[Iterator[Chunk]], Addition]
"""Returns what to append, given the chunks that others appended since the caller last read. See `Log.append`."""


class AppendAt(Protocol):
    """The method `append_at`, which a log may have beside `append`, for lines that need no plan."""

    def __call__(self, position: int, data: bytes, /) -> bool:
        """Appends whole lines, each with its newline, if the log ends at `position`.

        Returns False if nothing was written: the log ends elsewhere, its lock is not free at once, or something else is
        not as usual. `append` does what is to be done then. When it returns True, the lines are as durable as those of
        `append`.

        Raises:
            OSError, SessionFailed: as `append`.
        """
        ...


def is_behind(end: int, size: int) -> bool:
    """Returns whether a snapshot of a log up to `end` lacks much of the log, whose size is `size`."""
    return size - end > end // 64


class LogReplaced(Exception):
    """The log is not the one that was read before (replaced, or cut): read it again from 0. Never reaches users."""


class Log(Protocol):
    """A list of lines.

    One object is used by one thread at a time. Any number of objects, in any number of processes, may use one log at
    the same time: `append` excludes other appends; `read`, `read_at` and `snapshot` never wait for a writer.

    The logs of convtree pass `tests/log_contract.py` in its repository. A store of another package tests its log
    through `convtree.testing`.
    """

    @property
    def append_is_atomic(self) -> bool:
        """Whether a crash leaves all lines of an append or none, also if this attribute is missing.

        If not, a group mark goes before several lines.
        """
        ...

    @property
    def location(self) -> str:
        """Where the log is, for error messages. Contains no secrets."""
        ...

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on. Takes no lock and changes nothing.

        Lines that are appended while it runs may be missing. Chunks follow each other without gap or overlap.

        Raises:
            LogReplaced: `position` belongs to a log that is gone.
        """
        ...

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these (position, length) pairs, in their order. Takes no lock.

        A line that is gone comes back short or different. The caller checks it, and reports damage.

        Raises:
            LogReplaced: the lines that were read are gone, because others took their places.
            SessionNotFound: the log was deleted, and its lines with it. A log that can still read them returns them.
        """
        ...

    def append(self, position: int, build: Build) -> Chunk:
        """Appends lines after everything that is in the log, as one write.

        Calls `build` with the chunks after `position`. It returns whole lines, or none to write nothing, or raises;
        then no byte changes. Its lines are used only if nothing else was appended in between, checked under the lock;
        otherwise it is called again with what was. So it may run more than once, and must not have effects that a
        second call would repeat. Before its lines are written, what the log has behind `Addition.end` is saved
        elsewhere and cut off.

        When this returns, the lines are as durable as the log was opened for; so is everything that `build` was
        given, also if it returned no lines. After a crash the log has none of them, all, or (without
        `append_is_atomic`) the first few, each of them whole.

        Returns the lines with their positions; without lines, an empty chunk whose `end` is the end of the log.

        Raises:
            LogReplaced: as `read`; nothing was written.
            SessionLocked: the lock was not free in time; nothing was written.
            SessionExists: the log was opened with mode "x", and another process has created it; nothing was written.
            SessionFailed: `failed` was set by an earlier call, or by this one.
            OSError: the write failed. If `failed` is False, none of the lines is stored and the log can be used.
        """
        ...

    def snapshot(self) -> SnapshotFile | None:
        """Returns what `save_snapshot` stored last, by any process; None if there is nothing.

        The content may be damaged, or describe a log that has been replaced: the caller checks it. It stays readable,
        unchanged, when another snapshot replaces it.
        """
        ...

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Stores bytes next to the log in place of those before: all of them or none.

        They describe the log up to `end`, so the log is made durable first. Does nothing if the log is read only, or
        if it has grown well past `end` (by more than a 64th of it) and another process has stored a snapshot since ours
        was read or stored: that one may describe more.

        Raises:
            LogReplaced: as `read`; nothing was stored.
            SessionLocked: another writer has kept the lock; nothing was stored.
            OSError: nothing was stored.
        """
        ...

    @property
    def failed(self) -> bool:
        """True once a write failed so that it is unknown what is stored. Then the log accepts no more writes."""
        ...

    def close(self) -> None:
        """Releases files, locks and connections; twice is the same as once."""
        ...
