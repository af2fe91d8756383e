"""Checks a log to the last byte, wherever it is stored. Changes nothing.

A scan finds what is wrong with lines, checksums and tree. A second pass decodes every record.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from convtree._catalogue.types import RowFinding
from convtree._engine.dropped import DroppedIds
from convtree._engine.journal import Journal
from convtree._engine.log import Chunk, Log
from convtree._engine.log_index import Index
from convtree._engine.tree import NONE
from convtree._model.batches import batched
from convtree._model.entries import CompactionEntry, Entry, Finding, Mark, MessageEntry, VacuumEntry
from convtree._model.findings import FINDING_LIMIT, LOG
from convtree._model.usage import has_unknown_usage
from convtree._session.rejoining import records_or_none

Progress = Callable[[int, int], None]  # bytes done, bytes of the log: the log is read twice, and each pass counts half

#: findings about sound records; no repair can change what they are about
NO_DAMAGE = frozenset({"usage_unknown"})
_NO_DAMAGE_LIMIT = 1000  # of these that are listed; a session may have one for each reply


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `verify`: how many entries and marks a log has, and everything that is wrong with it.

    Attributes:
        path: the log: a path, or the id of a session in a store.
        size_bytes: its size.
        entries, marks: how many of each it has.
        findings: what is wrong with the log.
        rows: what is wrong with the tables beside it, if it is in a database. They follow from the log.
        error: why the log could not be read; None if it was.
    """

    path: str
    size_bytes: int
    entries: int
    marks: int
    findings: tuple[Finding, ...]
    rows: tuple[RowFinding, ...] = ()
    error: str | None = None

    @property
    def damaged(self) -> bool:
        """Whether stored records are damaged or missing. A torn tail does not count: the next writer repairs it."""
        return any(finding.severity == "error" for finding in self.findings)


class CheckedLog:
    """A log that remembers where its lines begin, and reads other lines in some places.

    Args:
        log: the log.
        watch: called with the position up to which it was read.
    """

    def __init__(self, log: Log, watch: Callable[[int], None] | None = None) -> None:
        self.log = log
        self.watch = watch
        self.replaced: Mapping[int, bytes] = {}  # lines to read as others, by position
        self.size_bytes = 0  # of the whole lines
        self._starts = array("q")  # of the lines
        self._end = 0  # of what was read

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    @property
    def as_log(self) -> Log:
        """This object: it has every attribute of a log."""
        return cast(Log, self)

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on."""
        for chunk in self.log.read(position):
            self._note(chunk)
            yield chunk
            if self.watch is not None:
                self.watch(chunk.end)

    def _note(self, chunk: Chunk) -> None:
        if chunk.end <= self._end:
            return  # it is read once more
        self._starts.extend(chunk.positions)
        self.size_bytes += sum(map(len, chunk.lines)) + len(chunk.lines)
        if chunk.fault == "line_too_long":
            last = chunk.positions[-1] + len(chunk.lines[-1]) + 1 if chunk.lines else self._end
            self._starts.append(last)
        self._end = chunk.end

    def line_at(self, position: int) -> int:
        """Returns the number of the line that a position is in, from 1."""
        return bisect_right(self._starts, position)

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at some (position, length) pairs."""
        lines = self.log.read_at(spans)
        if not self.replaced:
            return lines
        return [self.replaced.get(position, line) for (position, _), line in zip(spans, lines, strict=True)]


def check_log(log: Log, path: str, size: int | None = None, progress: Progress | None = None) -> Report:
    """Reads a whole log, twice, and reports what is wrong with it under the name `path`.

    `size` is its size in bytes; None: that of its whole lines. With it, `progress` is called.

    Raises:
        NotALog: it is none.
    """
    read = CheckedLog(log)
    index = scan(read, size, progress)
    found = read.size_bytes if size is None else size
    findings = [*index.state.findings, *record_findings(index, read, found, progress)]
    if progress is not None:
        progress(found, found)
    nodes = sum(index.tree.is_node(row) for row in range(len(index.tree)))
    return Report(
        path=path,
        size_bytes=found,
        entries=nodes,
        marks=len(index.tree) - nodes,
        findings=tuple(sorted(findings, key=lambda finding: (finding.offset, finding.code))),
    )


def scan(log: CheckedLog, size: int | None, progress: Progress | None, finding_limit: int = FINDING_LIMIT) -> Index:
    """Reads a whole log and ignores its snapshot. This is the first of the two passes that progress counts."""
    if progress is not None and size is not None:
        log.watch = lambda done: progress(done // 2, size)
    index = Journal.open(log.as_log, use_snapshot=False, finding_limit=finding_limit).index
    log.watch = None
    return index


def record_findings(index: Index, log: CheckedLog, size: int, progress: Progress | None) -> Iterator[Finding]:
    """Yields findings about the content of records whose checksum holds. This is the second pass.

    Stops after `FINDING_LIMIT` with the finding `too_many`. Of findings about sound records, only the first ones are
    listed, so that they do not hide damage.
    """
    found, harmless = 0, 0
    for rows in batched(range(len(index.tree))):
        for row, record in zip(rows, records_or_none(index, rows), strict=True):
            code = _fault_of(index, row, record)
            harmless += code in NO_DAMAGE
            if code is None or (code in NO_DAMAGE and harmless > _NO_DAMAGE_LIMIT):
                continue
            offset, found = index.tree.offsets[row], found + (code not in NO_DAMAGE)
            line = log.line_at(offset)
            if found > FINDING_LIMIT:
                yield Finding(code="too_many", severity="error", line=line, offset=offset, length=size - offset)
                return
            severity, length = LOG[code][0], index.tree.lengths[row]
            id = None if record is None else record.id
            yield Finding(code=code, severity=severity, line=line, offset=offset, length=length, entry_id=id)
        if progress is not None:
            progress((size + index.tree.offsets[rows[-1]]) // 2, size)


def _fault_of(index: Index, row: int, record: Entry | Mark | None) -> str | None:
    """Returns the code of the finding about a record whose checksum holds; None if it is sound and understood."""
    if record is None or (isinstance(record, VacuumEntry) and not _has_valid_ids(record)):
        return "bad_body"
    if isinstance(record, CompactionEntry) and not _keeps_an_ancestor(index, row, record):
        return "bad_kept"
    if isinstance(record, MessageEntry) and not _replaces_an_ancestor(index, row, record):
        return "bad_replaces"
    return "usage_unknown" if has_unknown_usage(record) else None


def _has_valid_ids(vacuum: VacuumEntry) -> bool:
    try:
        DroppedIds(vacuum.dropped_ids)
    except ValueError:
        return False
    return True


def _keeps_an_ancestor(index: Index, row: int, compaction: CompactionEntry) -> bool:
    if compaction.first_kept_entry_id is None:
        return True
    kept = index.node(compaction.first_kept_entry_id)
    if kept is None and index.may_be_dropped(compaction.first_kept_entry_id):
        return True
    return kept is not None and kept != row and index.tree.is_ancestor(kept, row)


def _replaces_an_ancestor(index: Index, row: int, message: MessageEntry) -> bool:
    if message.replaces is None or index.tree.replaced_by(row) != NONE:
        return True
    return index.node(message.replaces) is None and index.may_be_dropped(message.replaces)
