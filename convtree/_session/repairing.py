"""Plans a repair: what is kept of a damaged log, and the lines of the log that takes its place. Changes nothing.

The payloads of good lines are kept byte for byte, and get new checksums. The log may be a file or in a database.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

import msgspec

from convtree._catalogue.types import RowFinding
from convtree._engine import codec
from convtree._engine.journal import LOST_HEADER
from convtree._engine.log import Chunk, Log
from convtree._engine.log_index import Index
from convtree._engine.write_batch import reseal
from convtree._model.batches import batched
from convtree._model.entries import ID, VERSION, Finding, SessionInfoMark
from convtree._model.errors import CorruptLog, NotALog, ReadOnlySession
from convtree._model.findings import LOST
from convtree._model.sources import random_id
from convtree._session.checking import NO_DAMAGE, CheckedLog, Progress, record_findings, scan
from convtree._session.rejoining import Rejoined
from convtree._session.rejoining import rejoin as find_places

_REPAIR_LIMIT = 1_000_000  # findings that one repair can handle
#: findings whose lines are removed; the others are about lines that are missing, or kept
_REMOVED = frozenset(
    {"torn_tail", "line_too_long", "bad_seal", "bad_line", "nul_bytes", "bad_header", "duplicate"}
    | {"id_conflict", "bad_target", "bad_group"}
)
#: findings that are gone once the lines are sealed again
_RESEALED = frozenset(
    {LOST, "wrong_size", "wrong_end", "prev_mismatch", "carriage_return", "byte_order_mark", "unsealed"}
)


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did, or would do (`dry_run`).

    Attributes:
        path: the log.
        needed: whether there is anything to repair.
        kept: how many records the new log has.
        removed: the findings whose lines are not in the new log.
        remaining: the findings that the new log still has, such as entries whose parent is missing.
        rejoinable: how many of the removed lines would keep their places with `rejoin`, or be recovered; 0 with it.
        rejoined: those of the removed findings in whose places the new log has a lost entry; `entry_id` is its id.
        recovered: those of the removed findings whose records are kept, because only their seals were damaged.
        restored: how many entries that were lost and came back are moved to their places.
        leaf_uncertain: a removed line may have moved the leaf. The new log says so too, until `branch(id)` sets it.
        original: where the log was kept as it was; None if nothing was done, or a database kept nothing.
        quarantine: where the removed lines were written; None if there are none, or they are in `original` only.
        rows: what was wrong with the tables beside the log, in a database. They are written anew.
        done: whether the log was replaced.
        error: why it was not, where a store repairs several.
    """

    path: str
    needed: bool
    kept: int
    removed: tuple[Finding, ...]
    remaining: tuple[Finding, ...]
    rejoinable: int = 0
    rejoined: tuple[Finding, ...] = ()
    recovered: tuple[Finding, ...] = ()
    restored: int = 0
    leaf_uncertain: bool = False
    original: str | None = None
    quarantine: str | None = None
    rows: tuple[RowFinding, ...] = ()
    done: bool = False
    error: str | None = None


class RepairPlan(NamedTuple):
    """What a repair would do, and the records that it keeps: rows of an index."""

    repair: Repair
    scanned: Index
    log: CheckedLog
    rows: list[int]

    def lines(self, id: str) -> Iterator[bytes]:
        """Yields the lines of the new log. A header that is made anew gets this id, if it is one."""
        index = self.scanned
        line = b""
        for line in reseal(_header_payload(index, id), _payloads(index, self.rows, self.log)):
            yield line
        if index.state.leaf_uncertain_because is not None:
            # A removed line may have moved the leaf. This mark names a wrong previous line on purpose: readers find
            # `prev_mismatch` and treat the leaf as uncertain, as they did before the repair.
            yield codec.seal(codec.encode(SessionInfoMark(id=random_id())), crc32(line) ^ 1)


def plan_repair(
    log: Log, path: str, *, rejoin: bool, size: int | None = None, progress: Progress | None = None
) -> RepairPlan:
    """Reads a damaged log.

    Args:
        log: the log. The caller holds its lock, or only wants to see the plan.
        path: what the plan calls it.
        rejoin: whether to keep the places of damaged entries.
        size: its size in bytes, for `progress`.
        progress: called with the bytes read so far, and in all.

    Raises:
        NotALog: it is none.
        CorruptLog: it has more damage than one repair can handle.
        ReadOnlySession: it was written by a newer version.
    """
    read = CheckedLog(log)
    index = scan(read, size, progress, _REPAIR_LIMIT)
    _check_repairable(index, path)
    completed = _complete_tail(index, log)
    places = find_places(index, read.as_log)
    rejoined = places if rejoin else []
    if rejoined:
        index = _scan_rejoined(read, rejoined, index.state.end)
        _complete_tail(index, log)
    watch = None if size is None else progress
    plan = _plan(index, read, path, rejoined, completed, size or 0, watch)
    if rejoin:
        return plan
    return plan._replace(repair=msgspec.structs.replace(plan.repair, rejoinable=len(places)))


def _check_repairable(index: Index, path: str) -> None:
    if index.header is None and not index.header_is_damaged and not len(index.tree):
        raise NotALog.at(path)
    if index.header is not None and index.header.version > VERSION:
        raise ReadOnlySession(f"{path}: {index.state.read_only}, and cannot tell what is damaged in it")
    if len(index.state.findings) > _REPAIR_LIMIT:
        raise CorruptLog(f"{path}: more than {_REPAIR_LIMIT:,} findings", findings=tuple(index.state.findings))


def _plan(
    index: Index,
    log: CheckedLog,
    path: str,
    rejoined: Sequence[Rejoined],
    completed: bool,
    size: int,
    progress: Progress | None,
) -> RepairPlan:
    """Returns what a repair would do, and the rows that the new log keeps.

    In `index`, the rejoined lines are in their places, and a last line without a newline was completed if `completed`.
    """
    removed = tuple(f for f in index.state.findings if f.code in _REMOVED and not _is_record_without_header(f, index))
    kept_doubt = (
        index.state.leaf_uncertain_because if index.state.leaf_uncertain_because in index.state.findings else None
    )
    resealed = [f for f in index.state.findings if f.code in _RESEALED and f is not kept_doubt]
    remaining = [f for f in index.state.findings if f.code not in _REMOVED | _RESEALED]
    remaining += (f for f in record_findings(index, log, size, progress) if f.code not in NO_DAMAGE)
    if kept_doubt is not None and kept_doubt.code == "prev_mismatch":
        remaining.append(kept_doubt)
    offsets = {finding.offset for finding in removed}
    rows = [row for row, offset in enumerate(index.tree.offsets) if offset not in offsets]
    replaced = [each.finding for each in rejoined]
    restored = len(index.state.restored)
    plan = Repair(
        path=path,
        needed=bool(completed or removed or replaced or resealed or restored or index.header is None),
        kept=len(rows),
        removed=tuple(sorted((*removed, *replaced), key=lambda finding: finding.offset)),
        remaining=tuple(remaining),
        rejoined=tuple(each.finding for each in rejoined if not each.is_whole),
        recovered=tuple(each.finding for each in rejoined if each.is_whole),
        restored=restored,
        leaf_uncertain=index.state.leaf_uncertain_because is not None,
    )
    return RepairPlan(plan, index, log, rows)


def _scan_rejoined(log: CheckedLog, rejoined: Sequence[Rejoined], end: int) -> Index:
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


def _header_payload(index: Index, id: str) -> bytes:
    """Returns the payload of the header, as it is in the log, or made from what is known if it is damaged."""
    if index.header_payload is not None:
        return index.header_payload
    header = index.header or LOST_HEADER
    if not ID.fullmatch(header.id):
        header = msgspec.structs.replace(header, id=id if ID.fullmatch(id) else random_id())
    return codec.encode_header(header)


def _complete_tail(index: Index, log: Log) -> bool:
    """Indexes a last line that lacks only its newline, as the next writer would; returns whether there is one."""
    fault = None
    if index.state.findings and index.state.findings[-1].code == "torn_tail":
        for chunk in getattr(log, "read_to_append", log.read)(index.state.end):
            index.scan(*chunk)
            fault = chunk.fault
        index.end_scan()
    return fault == "newline_missing"


def _payloads(index: Index, rows: list[int], log: CheckedLog) -> Iterator[bytes]:
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
