"""A log from one place to another: the same lines, byte for byte, looked at again when they are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal
from zlib import crc32

import msgspec

from convtree._engine.log import Chunk, Log
from convtree._model.errors import CorruptLog, SessionExists

_BATCH = 500  # lines written at once


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a session: `lines` were written; `refused` says why none were, and nothing was touched."""

    id: str
    status: Literal["copied", "continued", "unchanged", "refused"]
    lines: int = 0
    reason: str | None = None


def copy_log(source: Log, target: Log) -> int:
    """Makes a log what another one is; goes on where an earlier copy was interrupted. Returns how many lines it wrote.

    What was written is read back and compared. A torn tail is not in the log, and not copied.

    Raises:
        SessionExists: the target holds something else, or has gone on by itself.
        CorruptLog: the source has a line that cannot be copied, or what was read back is not what was written.
    """
    lines = _lines(source)
    position = _compared(lines, target)
    written, sent = 0, 0
    start = position
    while batch := list(islice(lines, _BATCH)):

        def build(news: Iterable[Chunk], batch: Sequence[bytes] = batch) -> Sequence[bytes]:
            if any(chunk.lines for chunk in news):
                raise SessionExists(f"{target.location}: somebody else has begun to write to the copy")
            return batch

        position = target.append(position, build).end
        written += len(batch)
        sent = _sum(batch, sent)
    found = 0
    for chunk in target.read(start) if written else ():
        found = _sum(chunk.lines, found)
    if found != sent:
        raise CorruptLog(f"{target.location}: what was read back is not what was written")
    return written


def _compared(lines: Iterator[bytes], target: Log) -> int:
    """Passes over the lines that are in the target already; returns the position behind them."""
    position = 0
    for chunk in target.read():
        if chunk.fault == "torn_tail":
            break
        if chunk.fault or any(next(lines, None) != line for line in chunk.lines):
            raise SessionExists(f"{target.location}: another session, or one that has gone on by itself")
        position = chunk.end
    return position


def _lines(log: Log) -> Iterator[bytes]:
    for chunk in log.read():
        if chunk.fault not in (None, "torn_tail"):
            raise CorruptLog(f"{log.location}: a line is too long to be copied: repair the log first")
        yield from chunk.lines


def _sum(lines: Iterable[bytes], before: int) -> int:
    for line in lines:
        before = crc32(b"\n", crc32(line, before))
    return before
