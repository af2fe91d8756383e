"""Lines of an open file, read by offset. Knows newlines; knows nothing about locks, writers or what a line means.

Every function takes a descriptor and reads with `pread`, so the position of the descriptor does not matter. Memory is
bounded: by a chunk, or by `READ_LIMIT` for one long line.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate
from operator import add, sub
from typing import TYPE_CHECKING

from convtree._engine import codec
from convtree._engine.log import Chunk
from convtree._logs.descriptors import OPEN_FLAGS, with_open
from convtree._model.entries import Header
from convtree._model.errors import NotALog

if TYPE_CHECKING:
    from pathlib import Path

READ_LIMIT = 64 * 2**20  # bytes of the longest line that readers accept
CHUNK = 2**16  # bytes read at once; from 128 KiB on, malloc maps and faults in every chunk anew
_GAP = 512  # bytes between two lines: to read them costs less than another call; the mark of a group has about 130


def read_chunk(fd: int, position: int, size: int) -> Chunk:
    """Reads whole lines from a position on; more than `CHUNK` bytes only if the first line is longer.

    If no line ends before `size`, the chunk has the fault `torn_tail`. If none ends within `READ_LIMIT`, it has the
    fault `line_too_long`, and its end is how far the line was read: `skip_line` finds where it ends.
    """
    want = CHUNK
    while True:
        data = os.pread(fd, min(want, size - position), position)
        lines = BytesIO(data).readlines()  # `bytes.split` looks at every byte, this asks the C library
        if lines and not data.endswith(b"\n"):
            lines.pop()
        if lines:
            starts = list(accumulate(map(len, lines), initial=position))
            return Chunk(starts[:-1], [line[:-1] for line in lines], starts[-1])
        if position + len(data) >= size or not data:
            return Chunk((), (), position + len(data), "torn_tail")
        if want >= READ_LIMIT:
            return Chunk((), (), position + len(data), "line_too_long")
        want *= 4


def skip_line(fd: int, position: int, size: int) -> Chunk:
    """Finds the end of a line that is too long; a `torn_tail` if it does not end before `size`."""
    while position < size and (data := os.pread(fd, CHUNK, position)):
        cut = data.find(b"\n")
        if cut >= 0:
            return Chunk((), (), position + cut + 1, "line_too_long")
        position += len(data)
    return Chunk((), (), position, "torn_tail")


def read_spans(fd: int, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Returns the lines at these (offset, length) pairs; reads lines at once that are near each other, in order."""
    if len(spans) < 2:
        return [os.pread(fd, length, at) for at, length in spans]
    starts, lengths = zip(*spans, strict=True)
    ends = list(map(add, starts, lengths))
    near = [0 < gap <= _GAP for gap in map(sub, starts[1:], ends)]  # whether the next line begins soon behind a line
    near.append(False)
    lines: list[bytes] = []
    first = 0
    while first < len(spans):
        start = starts[first]
        last = bisect_right(starts, start + CHUNK, first + 1, near.index(False, first) + 1)
        data = os.pread(fd, ends[last - 1] - start, start)
        lines += [data[at - start : at - start + length] for at, length in spans[first:last]]
        first = last
    return lines


def read_bytes(fd: int, start: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Yields pieces of the file with their offsets; ends at the end of the file."""
    while length > 0 and (data := os.pread(fd, min(CHUNK, length), start)):
        yield start, data
        start, length = start + len(data), length - len(data)


def check_begins_log(fd: int, end: int, path: Path) -> None:
    """Raises NotALog if the first line, of which no newline was found up to `end`, is not part of a header."""
    if not codec.begins_header(os.pread(fd, end, 0)):
        raise NotALog.at(path)


def header_at(path: Path) -> Header | None:
    """Returns the header of a log; None if there is none that can be read."""

    def read(fd: int) -> Header | None:
        lines = read_chunk(fd, 0, os.fstat(fd).st_size).lines
        return codec.decode_header(lines[0]) if lines else None

    try:
        return with_open(path, os.O_RDONLY | OPEN_FLAGS, read)
    except (OSError, *codec.DECODE_ERRORS):
        return None
