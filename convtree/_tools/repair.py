"""Looking closely at a log, and making a whole one of a damaged one.

`verify` reads every body and changes nothing. `repair` never touches the damaged file either: it builds a new one of
the lines that verify, their bodies byte for byte, puts it in place of the old one, and keeps the old one beside it.
"""

from __future__ import annotations

import base64
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import count, zip_longest
from pathlib import Path
from zlib import crc32

import msgspec
import orjson

from convtree._engine import codec
from convtree._engine.journal import LOST_HEADER, Journal
from convtree._engine.log import Chunk, Mode
from convtree._engine.log_index import Index
from convtree._engine.write_batch import reseal
from convtree._logs.jsonl import JsonlLog, replace, write_new
from convtree._model.entries import ID, VERSION, CompactionEntry, Entry, Finding, Mark, SessionInfoMark
from convtree._model.errors import BrokenPath, CorruptLog, NotALog, ReadOnlySession
from convtree._model.findings import FINDING_LIMIT, LOST
from convtree._model.sources import random_id

Progress = Callable[[int, int], None]  # bytes looked at, bytes to look at: each is looked at twice

_BATCH = 500
_REPAIR_LIMIT = 1_000_000  # findings that a repair can deal with at once
#: findings that lines are taken out for; the others speak of what is not there any more, or of nothing wrong
_REMOVED = frozenset(
    {"torn_tail", "line_too_long", "bad_seal", "bad_line", "nul_bytes", "bad_header", "duplicate"}
    | {"id_conflict", "bad_target"}
)
_RESEALED = frozenset({LOST, "prev_mismatch", "carriage_return", "byte_order_mark", "unsealed"})


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a log: how much of it is good, and everything that is not."""

    path: str
    size_bytes: int
    entries: int
    marks: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether anything is wrong with what the log holds; a torn tail is not, the next writer heals it."""
        return any(finding.severity == "error" for finding in self.findings)


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did, or would do: lines kept, pieces taken out, and where the old log and the pieces are.

    `leaf_uncertain`: what was taken out may have moved the leaf, and the repaired log goes on saying so, until
    `branch(id)` settles it.
    """

    path: str
    needed: bool
    kept: int
    removed: tuple[Finding, ...]
    remaining: tuple[Finding, ...]
    leaf_uncertain: bool = False
    original: str | None = None
    quarantine: str | None = None


def verify(path: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
    """Checks a log to the last byte: framing, seals, structure, and every body against its type.

    Takes no lock and changes nothing.

    Raises:
        SessionNotFound, NotALog: there is no log to check.
    """
    log = _WatchedLog(path, mode="r")
    try:
        index = _scan(log, progress)
        size = os.stat(path).st_size
        findings = [*index.state.findings, *_deep(index, log, size, progress)]
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


def repair(
    path: str | os.PathLike[str],
    *,
    dry_run: bool = True,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    progress: Progress | None = None,
) -> Repair:
    """Takes out of a log what is damaged in it and seals the rest anew; says what it would do unless told to do it.

    The lines that verify are kept, their bodies byte for byte. The log as it was is kept as `<log>.original`, what
    was taken out is written to `<log>.quarantine` with offsets. Doing it twice does it once; a crash in between
    leaves the old log or the new one. Entries whose parent is gone stay, and stay findings.

    Raises:
        SessionNotFound, NotALog: there is no log to repair.
        CorruptLog: there is more damage than can be dealt with at once.
        ReadOnlySession: a newer version made it.
        SessionLocked: a writer is at work.
    """
    path = Path(path)
    mode: Mode = "r" if dry_run else "r+"
    log = _WatchedLog(
        path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=not dry_run, allow_network=allow_network
    )
    try:
        index = _scan(log, progress, _REPAIR_LIMIT)
        if index.header is None and not index.header_is_damaged and not len(index.tree):
            raise NotALog.at(path)
        if index.header is not None and index.header.version > VERSION:
            raise ReadOnlySession(f"{path}: {index.state.read_only}, and cannot tell what is damaged in it")
        if len(index.state.findings) > _REPAIR_LIMIT:
            raise CorruptLog(f"{path}: more than {_REPAIR_LIMIT:,} findings", findings=tuple(index.state.findings))
        completed = _take_whole_tail(index, log)
        removed = tuple(f for f in index.state.findings if f.code in _REMOVED and not _stands_for_header(f, index))
        kept_doubt = (
            index.state.leaf_uncertain_because if index.state.leaf_uncertain_because in index.state.findings else None
        )
        healed = [f for f in index.state.findings if f.code in _RESEALED and f is not kept_doubt]
        remaining = [f for f in index.state.findings if f.code not in _REMOVED | _RESEALED]
        remaining += _deep(index, log, 0, None)
        if kept_doubt is not None and kept_doubt.code == "prev_mismatch":
            remaining.append(kept_doubt)
        cut = {finding.offset for finding in removed}
        rows = [row for row, offset in enumerate(index.tree.offsets) if offset not in cut]
        plan = Repair(
            path=str(path),
            needed=bool(completed or removed or healed or index.header is None),
            kept=len(rows),
            removed=removed,
            remaining=tuple(remaining),
            leaf_uncertain=index.state.leaf_uncertain_because is not None,
        )
        if dry_run or not plan.needed:
            return plan
        quarantine = _quarantine(path, log, removed) if removed else None
        ours = os.lstat(path)
        original = _free_name(path, "original", lambda name: os.path.samestat(os.lstat(name), ours))
        replace(path, _repaired(index, rows, path, log), keep_as=original)
        return msgspec.structs.replace(plan, original=str(original), quarantine=quarantine)
    finally:
        log.close()


class _WatchedLog(JsonlLog):
    """A log that says how far it has been read."""

    watch: Callable[[int], None] | None = None

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields what stands in the log from a position on."""
        for chunk in super().read(position):
            yield chunk
            if self.watch is not None:
                self.watch(chunk.end)


def _scan(log: _WatchedLog, progress: Progress | None, finding_limit: int = FINDING_LIMIT) -> Index:
    """Reads a whole log, whatever an index beside it says; the first half of the work."""
    if progress is not None:
        size = os.stat(log.path).st_size
        log.watch = lambda done: progress(done, 2 * size)
    index = Journal.open(log, use_snapshot=False, finding_limit=finding_limit).index
    log.watch = None
    return index


def _stands_for_header(finding: Finding, index: Index) -> bool:
    """Tells whether the first line is no header but a good record: it is kept, and gets a header before it."""
    return finding.code == "bad_header" and len(index.tree) > 0 and finding.offset == index.tree.offsets[0]


def _header_body(index: Index, path: Path) -> bytes:
    """Returns the header's body as it stands in the log, or makes one of what is known."""
    if index.header_payload is not None:
        return index.header_payload
    header = index.header or LOST_HEADER
    if not ID.fullmatch(header.id):
        header = msgspec.structs.replace(header, id=path.stem if ID.fullmatch(path.stem) else random_id())
    return codec.encode_header(header)


def _take_whole_tail(index: Index, log: JsonlLog) -> bool:
    """Takes in a last line that lacks nothing but its newline, as the next writer would."""
    tail = index.state.findings[-1] if index.state.findings else None
    if tail is not None and tail.code == "torn_tail" and tail.length < codec.LINE_LIMIT:
        line = b"".join(data for _, data in log.read_bytes(tail.offset, tail.length))
        if codec.verify_seal(line.removesuffix(b"\r")) is not None:
            index.scan((tail.offset,), (line,), tail.offset + tail.length + 1)
            return True
    return False


def _deep(index: Index, log: JsonlLog, size: int, progress: Progress | None) -> Iterator[Finding]:
    """Yields what is wrong with the bodies of lines that verify, up to a limit; the second half of the work."""
    offset, line, found = 0, 1, 0
    for start in range(0, len(index.tree), _BATCH):
        rows = range(start, min(start + _BATCH, len(index.tree)))
        try:
            records: list[Entry | Mark | None] = list(index.records(rows))
        except BrokenPath:
            records = [_record(index, row) for row in rows]
        for row, record in zip(rows, records, strict=True):
            if record is None:
                code = "bad_body"
            elif isinstance(record, CompactionEntry) and not _keeps_what_is_above(index, row, record):
                code = "bad_kept"
            else:
                continue
            line += log.count_lines(offset, index.tree.offsets[row])
            offset, found = index.tree.offsets[row], found + 1
            if found > FINDING_LIMIT:
                yield Finding(code="too_many", severity="error", line=line, offset=offset, length=size - offset)
                return
            yield Finding(code=code, severity="error", line=line, offset=offset, length=index.tree.lengths[row])
        if progress is not None:
            progress(size + index.tree.offsets[rows[-1]], 2 * size)


def _record(index: Index, row: int) -> Entry | Mark | None:
    try:
        return index.records([row])[0]
    except BrokenPath:
        return None


def _keeps_what_is_above(index: Index, row: int, compaction: CompactionEntry) -> bool:
    if compaction.first_kept_entry_id is None:
        return True
    kept = index.node(compaction.first_kept_entry_id)
    return kept is not None and kept != row and index.tree.is_ancestor(kept, row)


def _repaired(index: Index, rows: list[int], path: Path, log: JsonlLog) -> Iterator[bytes]:
    """Yields the lines of the new log."""
    line = b""
    for line in reseal(_header_body(index, path), _bodies(index, rows, log)):
        yield line
    if index.state.leaf_uncertain_because is not None:
        # What was taken out may have moved the leaf. A line that does not name the one before it says that something
        # is missing here, and leaves the leaf uncertain, as it was.
        yield codec.seal(codec.encode(SessionInfoMark(id=random_id())), crc32(line) ^ 1)


def _bodies(index: Index, rows: list[int], log: JsonlLog) -> Iterator[bytes]:
    """Yields the bodies of rows, and where a second header began another session, that too: the two are not mixed."""
    offsets = [index.tree.offsets[row] for row in rows]
    done = 0
    headers = [finding for finding in index.state.findings if finding.code == "second_header"]
    for header in (*headers, None):
        end = len(rows) if header is None else bisect_left(offsets, header.offset)
        for start in range(done, end, _BATCH):
            yield from index.payloads(rows[start : min(start + _BATCH, end)])
        done = end
        if header is not None:
            line = log.read_at([(header.offset, header.length)])[0]
            yield codec.payload_of(line) if codec.verify_seal(line) is not None else line.rstrip()[:-1]


def _quarantine(path: Path, log: JsonlLog, removed: tuple[Finding, ...]) -> str:
    """Writes down what is taken out, piece by piece: offset, code and the bytes themselves."""

    def lines() -> Iterator[bytes]:
        for finding in removed:
            for offset, data in log.read_bytes(finding.offset, finding.length):
                piece = {"offset": offset, "length": len(data), "code": finding.code}
                yield orjson.dumps(piece | {"base64": base64.b64encode(data).decode()})

    name = _free_name(path, "quarantine", lambda name: _holds(name, lines()))
    if not os.path.lexists(name):
        write_new(name, lines(), allow_network=True)
    return str(name)


def _holds(path: Path, lines: Iterator[bytes]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return all(there == line + b"\n" for there, line in zip_longest(file, lines, fillvalue=b""))


def _free_name(path: Path, suffix: str, ours: Callable[[Path], bool]) -> Path:
    """Returns `<log>.<suffix>`, or `<log>.<suffix>-2` and so on when that is taken.

    One that an interrupted repair has left is used again: `ours` tells.
    """
    names = (path.with_name(f"{path.name}.{suffix}{'' if n == 1 else f'-{n}'}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name) or ours(name))
