"""Checks a log to the last byte, and rebuilds a damaged one.

`verify` decodes every record and changes nothing. `repair` does not change the damaged file either: it writes a new
one from the lines whose checksums hold, their payloads byte for byte, renames it into place and keeps the old one.
"""

from __future__ import annotations

import base64
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from zlib import crc32

import msgspec
import orjson

from convtree._engine import codec
from convtree._engine.dropped import DroppedIds
from convtree._engine.journal import LOST_HEADER, Journal
from convtree._engine.log import Chunk, Mode
from convtree._engine.log_index import Index
from convtree._engine.tree import NONE
from convtree._engine.write_batch import reseal
from convtree._logs.atomic_file import create_atomically, free_name, replace_atomically
from convtree._logs.directories import path_of
from convtree._logs.jsonl import JsonlLog
from convtree._model.arguments import checked
from convtree._model.batches import batched
from convtree._model.entries import (
    ID,
    VERSION,
    CompactionEntry,
    Entry,
    Finding,
    Mark,
    MessageEntry,
    SessionInfoMark,
    VacuumEntry,
)
from convtree._model.errors import CorruptLog, NotALog, ReadOnlySession
from convtree._model.findings import FINDING_LIMIT, LOG, LOST
from convtree._model.sources import random_id
from convtree._model.usage import has_unknown_usage
from convtree._tools.rejoin import Rejoined, records_or_none
from convtree._tools.rejoin import rejoin as find_places

Progress = Callable[[int, int], None]  # bytes read so far, bytes to read in all: the log is read twice

_REPAIR_LIMIT = 1_000_000  # findings that one repair can handle
#: findings whose lines are removed; the others are about lines that are missing, or kept
_REMOVED = frozenset(
    {"torn_tail", "line_too_long", "bad_seal", "bad_line", "nul_bytes", "bad_header", "duplicate"}
    | {"id_conflict", "bad_target", "bad_group"}
)
#: findings about sound records; no repair can change what they are about
_NO_DAMAGE = frozenset({"usage_unknown"})
_NO_DAMAGE_LIMIT = 1000  # of these that are listed; a session may have one for each reply
#: findings that are gone once the lines are sealed again
_RESEALED = frozenset({LOST, "prev_mismatch", "carriage_return", "byte_order_mark", "unsealed"})


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `verify`: how many entries and marks a log has, and everything that is wrong with it."""

    path: str
    size_bytes: int
    entries: int
    marks: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether stored records are damaged or missing. A torn tail does not count: the next writer repairs it."""
        return any(finding.severity == "error" for finding in self.findings)


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did, or would do (`dry_run`).

    Attributes:
        path: the log.
        needed: whether there is anything to repair.
        kept: how many records the new log has.
        removed: the findings whose lines are not in the new log.
        remaining: the findings that the new log still has, such as entries whose parent is missing.
        rejoined: those of the removed findings in whose places the new log has a lost entry; `entry_id` is its id.
        recovered: those of the removed findings whose records are kept, because only their seals were damaged.
        restored: how many entries that were lost and came back are moved to their places.
        leaf_uncertain: a removed line may have moved the leaf. The new log says so too, until `branch(id)` sets it.
        original: where the log was kept as it was; None if nothing was done.
        quarantine: where the removed lines were written; None if there are none.
    """

    path: str
    needed: bool
    kept: int
    removed: tuple[Finding, ...]
    remaining: tuple[Finding, ...]
    rejoined: tuple[Finding, ...] = ()
    recovered: tuple[Finding, ...] = ()
    restored: int = 0
    leaf_uncertain: bool = False
    original: str | None = None
    quarantine: str | None = None


@checked
def verify(path: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
    """Checks a log to the last byte: lines, checksums, tree, and every record against its type.

    Takes no lock and changes nothing.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
    """
    log = _WatchedLog(path, mode="r")
    try:
        index = _scan(log, progress)
        size = os.stat(path).st_size
        findings = [*index.state.findings, *_record_findings(index, log, size, progress)]
        if progress is not None:
            progress(2 * size, 2 * size)
        nodes = sum(index.tree.is_node(row) for row in range(len(index.tree)))
        return Report(
            path=str(path),
            size_bytes=size,
            entries=nodes,
            marks=len(index.tree) - nodes,
            findings=tuple(sorted(findings, key=lambda finding: (finding.offset, finding.code))),
        )
    finally:
        log.close()


@checked
def repair(
    path: str | os.PathLike[str],
    *,
    dry_run: bool = True,
    rejoin: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    progress: Progress | None = None,
) -> Repair:
    """Rebuilds a damaged log from its good lines. With `dry_run`, only says what it would do.

    The new log has the lines whose checksums hold, their payloads byte for byte, with new checksums. The log as it
    was is kept as `<log>.original`; removed lines are written to `<log>.quarantine` with their offsets. Entries whose
    parent is missing stay, and stay findings. A crash leaves the old log or the new one, and a second repair changes
    nothing.

    With `rejoin`, a damaged entry keeps its place in the tree where its id and parent can be read and are certain: a
    lost entry stands there, and its children are no orphans. `path` raises `BrokenPath` at it, and `build_context` does
    unless gaps are allowed. `extend` takes the true entry back, from a copy of the log for example. A record of which
    only the seal was damaged is kept as it is.

    The id is certain if no good line has it and an entry further down names it as its parent. The parent is certain if
    it is null or an entry further up, and no other entry further up has an id that is one edited character away; if one
    has, the checksum of the damaged line must rule it out.

    Args:
        path: the log.
        dry_run: whether to change nothing.
        rejoin: whether to keep the places of damaged entries.
        lock_timeout_s: how long to wait for other writers.
        allow_network: repair a log on a network file system too; then there must be no writer on another machine.
        progress: called with the bytes read so far, and in all; the log is read twice.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
        CorruptLog: the log has more damage than one repair can handle.
        ReadOnlySession: the log was written by a newer version.
        SessionLocked: another writer has the lock.
    """
    path = path_of("path", path)
    mode: Mode = "r" if dry_run else "r+"
    log = _WatchedLog(
        path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=not dry_run, allow_network=allow_network
    )
    try:
        index = _scan(log, progress, _REPAIR_LIMIT)
        _check_repairable(index, path)
        completed = _complete_tail(index, log)
        rejoined = find_places(index, log) if rejoin else []
        if rejoined:
            index = _scan_rejoined(log, rejoined, index.state.end)
            _complete_tail(index, log)
        plan, rows = _plan(index, log, rejoined, completed)
        if dry_run or not plan.needed:
            return plan
        quarantine = _quarantine(path, log, plan.removed) if plan.removed else None
        original = replace_atomically(path, _repaired(index, rows, path, log))
        return msgspec.structs.replace(plan, original=str(original), quarantine=quarantine)
    finally:
        log.close()


def _check_repairable(index: Index, path: Path) -> None:
    if index.header is None and not index.header_is_damaged and not len(index.tree):
        raise NotALog.at(path)
    if index.header is not None and index.header.version > VERSION:
        raise ReadOnlySession(f"{path}: {index.state.read_only}, and cannot tell what is damaged in it")
    if len(index.state.findings) > _REPAIR_LIMIT:
        raise CorruptLog(f"{path}: more than {_REPAIR_LIMIT:,} findings", findings=tuple(index.state.findings))


def _plan(index: Index, log: JsonlLog, rejoined: Sequence[Rejoined], completed: bool) -> tuple[Repair, list[int]]:
    """Returns what a repair would do, and the rows that the new log keeps.

    In `index`, the rejoined lines are in their places, and a last line without a newline was completed if `completed`.
    """
    removed = tuple(f for f in index.state.findings if f.code in _REMOVED and not _is_record_without_header(f, index))
    kept_doubt = (
        index.state.leaf_uncertain_because if index.state.leaf_uncertain_because in index.state.findings else None
    )
    resealed = [f for f in index.state.findings if f.code in _RESEALED and f is not kept_doubt]
    remaining = [f for f in index.state.findings if f.code not in _REMOVED | _RESEALED]
    remaining += (f for f in _record_findings(index, log, 0, None) if f.code not in _NO_DAMAGE)
    if kept_doubt is not None and kept_doubt.code == "prev_mismatch":
        remaining.append(kept_doubt)
    offsets = {finding.offset for finding in removed}
    rows = [row for row, offset in enumerate(index.tree.offsets) if offset not in offsets]
    replaced = [each.finding for each in rejoined]
    restored = len(index.state.restored)
    plan = Repair(
        path=str(log.path),
        needed=bool(completed or removed or replaced or resealed or restored or index.header is None),
        kept=len(rows),
        removed=tuple(sorted((*removed, *replaced), key=lambda finding: finding.offset)),
        remaining=tuple(remaining),
        rejoined=tuple(each.finding for each in rejoined if not each.is_whole),
        recovered=tuple(each.finding for each in rejoined if each.is_whole),
        restored=restored,
        leaf_uncertain=index.state.leaf_uncertain_because is not None,
    )
    return plan, rows


class _WatchedLog(JsonlLog):
    """A log that calls `watch` with the position up to which it was read. `replaced` are lines to read as others."""

    watch: Callable[[int], None] | None = None
    replaced: Mapping[int, bytes] = {}  # by position

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at some (position, length) pairs."""
        lines = super().read_at(spans)
        if not self.replaced:
            return lines
        return [self.replaced.get(position, line) for (position, _), line in zip(spans, lines, strict=True)]

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on."""
        for chunk in super().read(position):
            yield chunk
            if self.watch is not None:
                self.watch(chunk.end)


def _scan(log: _WatchedLog, progress: Progress | None, finding_limit: int = FINDING_LIMIT) -> Index:
    """Reads a whole log and ignores its index file. This is the first of the two passes that progress counts."""
    if progress is not None:
        size = os.stat(log.path).st_size
        log.watch = lambda done: progress(done, 2 * size)
    index = Journal.open(log, use_snapshot=False, finding_limit=finding_limit).index
    log.watch = None
    return index


def _scan_rejoined(log: _WatchedLog, rejoined: Sequence[Rejoined], end: int) -> Index:
    """Reads a log once more, with other lines in the places of damaged ones. The scan before came to `end`."""
    index = Index(log.read_at, int.from_bytes(os.urandom(8)), _REPAIR_LIMIT)
    index.whole_until = end
    payloads = {each.finding.offset: each for each in rejoined}
    log.replaced = replaced = dict[int, bytes]()
    for chunk in log.read():
        done = 0
        for number, position in enumerate(chunk.positions):
            if position in payloads:
                before = Chunk(chunk.positions[done:number], chunk.lines[done:number], position)
                index.scan(*before)
                done = number + 1
                replaced[position] = line = _line_of(payloads[position], index.state.last_crc)
                index.scan((position,), (line,), position + len(chunk.lines[number]) + 1)
                index.state.last_damaged = True  # the next line names the damaged line
        index.scan(chunk.positions[done:], chunk.lines[done:], chunk.end, chunk.fault)
    index.end_scan()
    return index


def _line_of(each: Rejoined, prev: int) -> bytes:
    """Returns the line in the place of a damaged one. Where the log has no seals, it has none."""
    return codec.seal(each.payload, prev) if each.finding.code != "bad_line" else each.payload + b"}"


def _is_record_without_header(finding: Finding, index: Index) -> bool:
    """Returns whether a finding is about a good record in place of a header: it is kept, and a header put before it."""
    return finding.code == "bad_header" and len(index.tree) > 0 and finding.offset == index.tree.offsets[0]


def _header_payload(index: Index, path: Path) -> bytes:
    """Returns the payload of the header, as it is in the log, or made from what is known if it is damaged."""
    if index.header_payload is not None:
        return index.header_payload
    header = index.header or LOST_HEADER
    if not ID.fullmatch(header.id):
        header = msgspec.structs.replace(header, id=path.stem if ID.fullmatch(path.stem) else random_id())
    return codec.encode_header(header)


def _complete_tail(index: Index, log: JsonlLog) -> bool:
    """Indexes a last line that lacks only its newline, as the next writer would; returns whether there is one."""
    fault = None
    if index.state.findings and index.state.findings[-1].code == "torn_tail":
        for chunk in log.read_to_append(index.state.end):
            index.scan(*chunk)
            fault = chunk.fault
        index.end_scan()
    return fault == "newline_missing"


def _record_findings(index: Index, log: JsonlLog, size: int, progress: Progress | None) -> Iterator[Finding]:
    """Yields findings about the content of records whose checksum holds. This is the second pass.

    Stops after `FINDING_LIMIT` with the finding `too_many`. Of findings about sound records, only the first ones are
    listed, so that they do not hide damage.
    """
    offset, line, found, harmless = 0, 1, 0, 0
    for rows in batched(range(len(index.tree))):
        for row, record in zip(rows, records_or_none(index, rows), strict=True):
            code = _fault_of(index, row, record)
            harmless += code in _NO_DAMAGE
            if code is None or (code in _NO_DAMAGE and harmless > _NO_DAMAGE_LIMIT):
                continue
            at = index.tree.offsets[row]
            if at < offset:  # the line before was that of an entry that came back
                offset, line = 0, 1
            line += log.count_lines(offset, at)
            offset, found = at, found + (code not in _NO_DAMAGE)
            if found > FINDING_LIMIT:
                yield Finding(code="too_many", severity="error", line=line, offset=offset, length=size - offset)
                return
            severity, length = LOG[code][0], index.tree.lengths[row]
            id = None if record is None else record.id
            yield Finding(code=code, severity=severity, line=line, offset=offset, length=length, entry_id=id)
        if progress is not None:
            progress(size + index.tree.offsets[rows[-1]], 2 * size)


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


def _repaired(index: Index, rows: list[int], path: Path, log: JsonlLog) -> Iterator[bytes]:
    """Yields the lines of the new log."""
    line = b""
    for line in reseal(_header_payload(index, path), _payloads(index, rows, log)):
        yield line
    if index.state.leaf_uncertain_because is not None:
        # A removed line may have moved the leaf. This mark names a wrong previous line on purpose: readers find
        # `prev_mismatch` and treat the leaf as uncertain, as they did before the repair.
        yield codec.seal(codec.encode(SessionInfoMark(id=random_id())), crc32(line) ^ 1)


def _payloads(index: Index, rows: list[int], log: JsonlLog) -> Iterator[bytes]:
    """Yields the payloads of records, and those of second headers in their places.

    A second header starts another session in the same file; without it, the records of both would be mixed.
    """
    restored = index.state.restored  # whose places are those of the lost entries
    offsets = [restored.get(row, index.tree.offsets[row]) for row in rows]
    done = 0
    headers = [finding for finding in index.state.findings if finding.code == "second_header"]
    for header in (*headers, None):
        end = len(rows) if header is None else bisect_left(offsets, header.offset)
        for batch in batched(rows[done:end]):
            yield from index.payloads(batch)
        done = end
        if header is not None:
            line = log.read_at([(header.offset, header.length)])[0]
            yield codec.payload_of(line) if codec.verify_seal(line) is not None else line.rstrip()[:-1]


def _quarantine(path: Path, log: JsonlLog, removed: tuple[Finding, ...]) -> str:
    """Writes removed lines to `<log>.quarantine` as JSON: offset, length, code, bytes. Returns its path."""

    def lines() -> Iterator[bytes]:
        for finding in removed:
            for offset, data in log.read_bytes(finding.offset, finding.length):
                piece = {"offset": offset, "length": len(data), "code": finding.code}
                yield orjson.dumps(piece | {"base64": base64.b64encode(data).decode()})

    name = free_name(path, "quarantine", lambda name: _has_lines(name, lines()))
    if not os.path.lexists(name):
        create_atomically(name, lines(), allow_network=True, owner=os.stat(path))
    return str(name)


def _has_lines(path: Path, lines: Iterator[bytes]) -> bool:
    """Returns whether a file has exactly these lines: it was left by a repair that was interrupted."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        file = path.open("rb")
    except OSError:
        return False  # of another user
    with file:
        return all(there == line + b"\n" for there, line in zip_longest(file, lines, fillvalue=b""))
