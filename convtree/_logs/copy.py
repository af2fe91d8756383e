"""Copies a log into another one, line by line and byte for byte, and reads back what it has written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal
from zlib import crc32

import msgspec

from convtree._engine.journal import Journal
from convtree._engine.log import END_FAULTS, Addition, Chunk, Log
from convtree._model.batches import batched
from convtree._model.errors import CorruptLog, SessionExists


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one session. `lines` were written.

    With status "refused", the copy is not there or not whole, and `reason` says why.
    """

    id: str
    status: Literal["copied", "continued", "unchanged", "refused"]
    lines: int = 0
    reason: str | None = None


def copy_log(source: Log, target: Log) -> int:
    """Copies the lines of a log that the target does not have yet; returns how many.

    The target may be empty, or hold the first lines of the source: an interrupted copy is continued. A torn tail is
    not part of the log and is not copied, nor is a torn group. What was written is read back and compared.

    Raises:
        SessionExists: the target has lines that the source does not have; they were not touched.
        NotALog: the source has no record that can be read.
        CorruptLog: the source has a line that is too long, or the lines read back differ from the source.
    """
    lines = _lines(source, Journal.open(source).index.state.end)
    position = start = _end_of_common_lines(lines, target)
    count, expected = 0, 0
    for batch in batched(lines):

        def build(news: Iterable[Chunk], position: int = position, batch: Sequence[bytes] = batch) -> Addition:
            if any(chunk.lines for chunk in news):
                raise SessionExists(
                    f"{target.location}: another process is writing to the copy; nothing more was copied"
                )
            return Addition(batch, position)

        position = target.append(position, build).end
        count += len(batch)
        expected = _checksum(batch, expected)
    found = 0
    for chunk in target.read(start) if count else ():
        found = _checksum(chunk.lines, found)
    if found != expected:
        raise CorruptLog(
            f"{target.location}: the lines read back differ from those written; delete the copy, try again"
        )
    return count


def _end_of_common_lines(lines: Iterator[bytes], target: Log) -> int:
    """Consumes the lines that the target has already; returns the position after them."""
    position = 0
    for chunk in target.read():
        if chunk.fault == "torn_tail":
            break
        if chunk.fault or any(next(lines, None) != line for line in chunk.lines):
            raise SessionExists(f"{target.location}: holds another session, or one that was continued there")
        position = chunk.end
    return position


def _lines(log: Log, end: int) -> Iterator[bytes]:
    """Yields the lines up to a position."""
    for chunk in log.read():
        if chunk.fault in END_FAULTS:
            raise CorruptLog(f"{log.location}: {END_FAULTS[chunk.fault]}; repair the log first")
        if chunk.fault not in (None, "torn_tail"):
            raise CorruptLog(f"{log.location}: a line is too long to be copied; repair the log first")
        yield from (line for position, line in zip(chunk.positions, chunk.lines, strict=True) if position < end)


def _checksum(lines: Iterable[bytes], before: int) -> int:
    for line in lines:
        before = crc32(b"\n", crc32(line, before))
    return before
