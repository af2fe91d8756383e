"""Judging a session before it is deleted: what its own log says, not what a catalogue says about it.

A catalogue is a cache, and one flipped bit in it must not delete anything. It proposes sessions; their logs decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from convtree._catalogue.record_summary import ms_of, timestamp_of
from convtree._engine import tree
from convtree._engine.expected import ANYTHING, Expected
from convtree._engine.journal import LOST_HEADER, Journal
from convtree._engine.log import Log
from convtree._engine.log_index import Index
from convtree._model.batches import batched
from convtree._model.entries import MessageEntry
from convtree._model.errors import SessionHeld
from convtree._model.notes import is_activity
from convtree.stores._arguments import SKEW_MS
from convtree.stores._results import Judged


class Verdict(NamedTuple):
    """What a log says about its session.

    Attributes:
        judged: what callers see of it.
        time_ms: the later of its last activity and its arrival; None if neither is known.
        owner: as in its header.
        task_of: the id of the session whose sub-agent it is; None if it is no sub-agent's.
        is_damaged: a line cannot be read. It may have said that the session is on hold, or that it is in use.
    """

    judged: Judged
    time_ms: int | None
    owner: str | None
    task_of: str | None
    is_damaged: bool


def judge(id: str, log: Log, now_ms: int, wanted: Expected = ANYTHING) -> Verdict:
    """Reads a whole log and closes it. Times in the future are ignored.

    Raises:
        StaleLeaf, LeafUncertain: it is not as `wanted`.
        SessionNotFound, NotALog, OSError: it cannot be read.
    """
    try:
        # Not from a snapshot: a damaged line is damage now, although an earlier scan could read it.
        index = Journal.open(log, use_snapshot=False).index
        wanted.check(index, log.location)
        header, state = index.header or LOST_HEADER, index.state
        active_ms = _latest((ms_of(header.timestamp), *_said_in(index)), now_ms + SKEW_MS)
        arrived_ms = _latest([ms_of(header.arrived)], now_ms + SKEW_MS)
    finally:
        log.close()
    parent = header.parent_session
    time_ms = _latest((active_ms, arrived_ms), now_ms + SKEW_MS)
    return Verdict(
        Judged(
            id=id,
            size=state.end,
            last_crc=state.last_crc,
            held=state.hold,
            last_activity=timestamp_of(active_ms),
            arrived=timestamp_of(arrived_ms),
            age_s=None if time_ms is None else max(now_ms - time_ms, 0) / 1000,
        ),
        time_ms,
        header.owner,
        parent.id if parent is not None and parent.kind == "task" else None,
        any(finding.severity == "error" for finding in state.findings),
    )


def _said_in(index: Index) -> Iterator[int | None]:
    """Yields the times of the messages that somebody said."""
    kinds = index.tree.kinds
    messages = (row for row in range(len(index.tree)) if kinds[row] & tree.KIND == tree.MESSAGE)
    for rows in batched(messages):
        for entry in index.readable_records(rows):
            if isinstance(entry, MessageEntry) and is_activity(entry):
                yield ms_of(entry.timestamp)


def _latest(times: Iterable[int | None], now_ms: int) -> int | None:
    return max((time for time in times if time is not None and time <= now_ms), default=None)


def held_error(location: str, id: str) -> SessionHeld:
    """Returns the error for a session on hold."""
    return SessionHeld(
        f"{location}: {id!r} is on hold; nothing was deleted; end the hold with release({id!r}), or "
        f"`convtree hold --undo {id}`",
        id=id,
    )
