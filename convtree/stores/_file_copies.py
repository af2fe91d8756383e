"""Logs with one header id: copies of one session, made by `cp` or by a tool that synchronises folders.

The id of a session is the one it is stored under. A log that was renamed is therefore a session of its own, and of
several logs with one header all but one are copies. What a copy shares is its common prefix with another log of the
group, line by line. That counts once; the rest of each counts, because it was said there only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from convtree._catalogue.record_summary import RecordSummary
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import beginning, equals
from convtree._engine.log import Log
from convtree._session.session import Session

_SELECT = (  # a range of the index
    f"SELECT session_id, header_id FROM ct_sessions WHERE {beginning('header_id')} > ''"
)
_SELECT_NAMED = "SELECT session_id FROM ct_sessions WHERE session_id = :id"
_NAME = "COALESCE(own.header_id, own.session_id)"
_SELECT_SAME = f"""
SELECT s.session_id FROM ct_sessions s JOIN ct_sessions own ON own.session_id = :id
WHERE s.session_id = {_NAME} OR {equals("s.header_id", _NAME)}
"""


def copies_in(execute: Execute) -> dict[str, list[str]]:
    """Returns the logs before each copy in its group: first the one that is called like the header, then by id."""
    groups: dict[str, list[str]] = {}
    for id, header_id in sorted(map(tuple, execute(_SELECT))):
        if header_id not in groups:
            groups[header_id] = [row[0] for row in execute(_SELECT_NAMED, {"id": header_id})]
        groups[header_id].append(id)
    return {ids[number]: ids[:number] for ids in groups.values() for number in range(1, len(ids))}


def with_header_of(execute: Execute, id: str) -> set[str]:
    """Returns the sessions with the header id of this one."""
    return {row[0] for row in execute(_SELECT_SAME, {"id": id})}


def shared_records(session: Session, others: Iterable[str], open_log: Callable[[str], Log]) -> int:
    """Returns how many of the first records of a log are in one of the other logs, too."""
    end = max((_common_end(session._journal.log, other, open_log) for other in others), default=0)
    return sum(offset < end for offset in session._index.tree.offsets)


def without_shared(numbers: Sequence[int], summaries: Sequence[RecordSummary], shared: int) -> list[RecordSummary]:
    """Returns summaries; those of the first `shared` records say nothing of what they cost."""
    return [
        each._replace(usage=None, model=None, spent=()) if number < shared else each
        for number, each in zip(numbers, summaries, strict=True)
    ]


def _common_end(log: Log, other: str, open_log: Callable[[str], Log]) -> int:
    """Returns the position behind the last line that two logs have in common."""
    end = 0
    opened = open_log(other)
    try:
        for (position, line), theirs in zip(_lines(log), _lines(opened), strict=False):
            if line != theirs[1]:
                break
            end = position + 1
    finally:
        opened.close()
    return end


def _lines(log: Log) -> Iterator[tuple[int, bytes]]:
    for chunk in log.read():
        yield from zip(chunk.positions, chunk.lines, strict=True)
