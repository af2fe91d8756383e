"""Groups: the lines of one write, which count together or not at all. Pure.

A mark with a count stands before them. Which lines belong to it is decided by position alone, so a damaged line is a
line of its group, too. While the log ends before the last of them, the group is torn: what it has is not in the log
for any reader, and the next writer cuts it off. Positions of lines wait here meanwhile, and the lines themselves while
they are few.

A reader takes no lock. Between two pieces that it reads, a writer may cut a torn group off and write another one in its
place. So the mark is read once more when the last line is there: the id of a mark is not used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

_KEPT_BYTES = 2**20  # of the lines of an open group; those of a longer one are read again

Span = tuple[int, int, str | None]  # position, length, and the fault of a line that is too long


class OpenGroup:
    """A group of which not every line was read yet, from its `mark` at the position `start` on."""

    __slots__ = ("_has_zeros", "_missing", "end", "lines", "mark", "spans", "start")

    def __init__(self, start: int, mark: bytes, count: int) -> None:
        self.start = start
        self.mark = mark
        self.end = start  # of what was read
        self.spans: list[Span] = []
        self.lines: list[bytes] | None = []  # of the spans; None if they are too long to keep, or one cannot be read
        self._missing = count + 1  # with the mark itself
        self._has_zeros = False  # in lines that are not kept

    def take(self, positions: Sequence[int], lines: Sequence[bytes]) -> int:
        """Takes the lines that belong to the group from the beginning of a chunk; returns how many those are."""
        taken = min(self._missing, len(lines))
        if not taken:
            return 0
        positions, lines = positions[:taken], lines[:taken]
        self.spans.extend(zip(positions, map(len, lines), repeat(None)))
        self._missing -= taken
        self.end = positions[-1] + len(lines[-1]) + 1
        if self.lines is None:
            self._has_zeros = self._has_zeros or _have_zeros(lines)
        else:
            self.lines.extend(lines)
            if self.end - self.start > _KEPT_BYTES:
                self._drop_lines()
        return taken

    def _drop_lines(self) -> None:
        self._has_zeros = self._has_zeros or _have_zeros(self.lines or ())
        self.lines = None

    def take_fault(self, position: int, end: int, fault: str) -> None:
        """Takes the end of a chunk that is not a line: one that is too long, or the beginning of one."""
        if fault == "line_too_long":
            self.spans.append((position, end - position, fault))
            self._missing -= 1
            self._drop_lines()
        self.end = end

    def is_whole(self, followed: bool) -> bool:
        """Returns whether every line was read. Zeros in the last bytes of a log were never written: a power cut."""
        if self._missing:
            return False
        return followed or not (self._has_zeros or _have_zeros(self.lines or ()))


def is_whole(count: int, lines: Sequence[bytes], start: int) -> bool:
    """Returns whether the lines from the index `start` on complete a group, as `OpenGroup.is_whole` does."""
    left = len(lines) - start
    return left > count or (left == count and not _have_zeros(lines[start:]))


def _have_zeros(lines: Sequence[bytes]) -> bool:
    return any(map(bytes.__contains__, lines, repeat(b"\0")))
