"""What is known of a log: the one loop that looks at lines. Pure: it is fed lines and keeps columns.

Lines are verified on their raw bytes before anything is parsed, and of a line only what the tree needs is parsed.
Damage never stops the loop; it becomes findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast
from zlib import crc32

import msgspec
from msgspec import UNSET

from convtree._engine import codec, tree
from convtree._engine.columns import Column
from convtree._model.entries import (
    LABEL_LIMIT,
    VERSION,
    Entry,
    Finding,
    Header,
    LabelMark,
    LeafMark,
    Mark,
    OpaqueEntry,
    OpaqueMark,
    SessionInfoMark,
)
from convtree._model.errors import BrokenPath, LeafUncertain
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT

_KINDS = {
    "message": tree.MESSAGE,
    "compaction": tree.COMPACTION,
    "branch_summary": tree.BRANCH_SUMMARY,
    "model_change": tree.MODEL_CHANGE,
    "extension_data": tree.EXTENSION_DATA,
}
_DECODERS = {kind: codec.decoder(name) for name, kind in _KINDS.items()}
_DECODERS |= {tree.OPAQUE: codec.decode, tree.MARK: codec.decode}


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """Where the conversation stands; `row` ROOT and `id` None are the place before the first entry."""

    row: int
    id: str | None


NO_LEAF = Leaf(tree.ROOT, None)


class IndexState(msgspec.Struct):
    """What an index knows besides its columns; the fields are those of `Index`."""

    leaf: Leaf
    leaf_uncertain_because: Finding | None
    labels: dict[str, str]
    name: str | None
    archived: bool
    metadata: dict[str, Any]
    findings: list[Finding]
    reported_once: set[str]
    read_only: str | None
    critical_mark: str | None
    header_end: int
    end: int
    last_crc: int
    last_damaged: bool
    lines: int


class Index:
    """Everything that follows from the lines fed so far, and the way back to them.

    `read_at` fetches lines by (position, length); bodies stay in the log until someone asks for them.
    """

    def __init__(
        self,
        read_at: Callable[[Sequence[tuple[int, int]]], list[bytes]],
        salt: int = 0,
        finding_limit: int = FINDING_LIMIT,
    ) -> None:
        self._read_at = read_at
        self.finding_limit = finding_limit
        self.tree = tree.Tree(self._same_id, salt)
        self.header: Header | None = None
        self.header_payload: bytes | None = None  # as it stands in the log, when its seal verifies
        self.leaf = NO_LEAF
        self.leaf_uncertain_because: Finding | None = None  # damage behind the line that set the leaf
        self.labels: dict[str, str] = {}
        self.name: str | None = None
        self.archived = False
        self.metadata: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.read_only: str | None = None  # why nothing may be written
        self.critical_mark: str | None = None  # the type of a mark that forbids every context
        self.end = 0  # the position behind the last line
        self.last_crc = 0  # of the last line as it stands, the next line's prev
        self.lines = 0  # lines seen, the header and damaged ones included
        self.sealed_from: int | None = None  # rows from here on must verify when read
        self.header_end = 0  # the position behind the header
        self.header_is_damaged = False  # whether the first line says that it is a header, although it is damaged
        self.reported_once: set[str] = set()  # findings that are made once
        self.last_damaged = False
        self._seen_first_line = False
        self._leaf_model: tuple[str | None, str] | None = None  # provider and model at the leaf, as far as known

    @classmethod
    def restored(
        cls,
        read_at: Callable[[Sequence[tuple[int, int]]], list[bytes]],
        facts: IndexState,
        columns: Mapping[str, Column],
        salt: int,
        header_line: bytes,
    ) -> Index:
        """Makes an index of a log that is sealed throughout from what was kept of it."""
        index = cls(read_at)
        index.tree = tree.Tree(index._same_id, salt, columns)
        for name in IndexState.__struct_fields__:
            setattr(index, name, getattr(facts, name))
        line = header_line.removeprefix(b"\xef\xbb\xbf").lstrip(b"\0").rstrip(b"\r\n")
        index.header, index.header_payload = codec.decode_header(line), codec.payload_of(line)
        index.sealed_from, index._seen_first_line = 0, True
        return index

    def facts(self) -> IndexState:
        """Returns what is known besides the columns, and will still be true when the log has grown."""
        facts = IndexState(**{name: getattr(self, name) for name in IndexState.__struct_fields__})
        facts.findings = [finding for finding in self.findings if finding.code != "torn_tail"]
        return facts

    # --- taking lines in ---

    def scan(self, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None = None) -> None:
        """Takes in the lines of a chunk, in log order."""
        self.forget_torn()
        done = self._scan_chain(positions, lines)
        for position, line in zip(positions[done:], lines[done:], strict=True):
            self._scan_line(position, line)
        last = positions[-1] + len(lines[-1]) + 1 if lines else self.end
        if fault == "torn_tail":
            # Not in the log for any reader, and read again when the log has grown: the position stays before it.
            self._torn(last, end)
            end = last
        elif fault is not None:
            self.lines += 1
            self._damaged(fault, last, end - last)
        self.end = end

    def add_written(
        self, records: Sequence[Entry | Mark], positions: Sequence[int], lines: Sequence[bytes], crc: int
    ) -> None:
        """Takes in records that were just written behind everything; `crc` is that of the last line.

        The same as `feed` would do, without looking at the lines again.
        """
        for record, position, line in zip(records, positions, lines, strict=True):
            self.lines += 1
            if isinstance(record, OpaqueEntry | OpaqueMark):
                self._index_line(position, line, first=False)
            elif isinstance(record, Entry):
                self._index_entry(codec.envelope_of(record), position, len(line))
            else:
                self.tree.add(record.id, tree.ROOT, tree.MARK, position, len(line))
                self._index_mark(record, position, len(line))
        self.last_crc, self.last_damaged = crc, False
        self.end = positions[-1] + len(lines[-1]) + 1

    def _scan_chain(self, positions: Sequence[int], lines: Sequence[bytes]) -> int:
        """Takes in the leading lines that verify and follow each other, as nearly all do; returns how many."""
        if self.sealed_from is None or self.last_damaged or not lines:
            return 0
        good, self.last_crc = codec.verify_chain(lines, self.last_crc)
        self.last_damaged = False
        heads = codec.read_entry_envelopes(lines[:good])
        number = 0
        while number < good:
            number += self._index_message_run(positions[number:good], lines[number:good], heads[number:])
            if number < good:
                self.lines += 1
                self.last_damaged = False
                head, line = heads[number], lines[number]
                if head is not None and self.tree.find(head.id) is None:
                    self._index_entry(head, positions[number], len(line))
                else:
                    self._index_line(positions[number], line, first=False)
                number += 1
        return good

    def _index_message_run(
        self, positions: Sequence[int], lines: Sequence[bytes], heads: Sequence[codec.Envelope | None]
    ) -> int:
        """Takes in the leading plain messages that continue the leaf one after the other; returns how many."""
        ids: list[str] = []
        above, model = self.leaf.id, self._leaf_model
        for head in heads:
            if (
                head is None
                or head.parent_id != above
                or head.type != "message"
                or (head.model is not None and model != (head.provider, head.model))
                or head.pinned
                or head.visible_to == "user"
            ):
                break
            above = head.id
            ids.append(above)
        if not ids:
            return 0
        size = len(ids)
        count = self.tree.add_chain(ids, self.leaf.row, positions[:size], list(map(len, lines[:size])))
        if count:
            self.leaf, self.leaf_uncertain_because = Leaf(len(self.tree) - 1, ids[count - 1]), None
            self.lines += count
        return count

    def _scan_line(self, position: int, raw: bytes) -> None:
        self.lines += 1
        line = raw
        if raw.endswith(b"\r"):
            line = raw[:-1]
            self._report_once("carriage_return", position, len(raw))
        if position == 0 and line.startswith(b"\xef\xbb\xbf"):
            position, line = 3, line[3:]
            self._report("byte_order_mark", 0, 3)
        if not line:
            return
        first, self._seen_first_line = not self._seen_first_line, True
        seal, crc = codec.verify_seal(line), None
        if seal is None and line.startswith(b"\0") and (seal := codec.verify_seal(line.lstrip(b"\0"))):
            # Zeros that an earlier crash left in front of a good line; its successor's prev covers them too.
            crc, zeros = crc32(line), len(line) - len(line.lstrip(b"\0"))
            self._report("nul_bytes", position, zeros)
            position, line = position + zeros, line[zeros:]
        if seal is not None:
            if self.sealed_from is None:
                self.sealed_from = len(self.tree)
            if seal.prev != self.last_crc and not self.last_damaged:
                self.leaf_uncertain_because = self._report("prev_mismatch", position, len(line))
            self.last_crc = seal.crc if crc is None else crc
            self.last_damaged = False
            self._index_line(position, line, first)
        else:
            self.last_crc = crc32(line)
            if self.sealed_from is not None or codec.looks_sealed(line) or (first and b'"seal"' in line):
                if self.sealed_from is None:
                    self.sealed_from = len(self.tree)
                self.header_is_damaged |= first and codec.is_header(line)
                self._damaged(_name_damage(line, "bad_header" if first else "bad_seal"), position, len(line))
            else:
                self.last_damaged = False
                self._index_line(position, line, first)

    def _index_line(self, position: int, line: bytes, first: bool) -> None:
        """Takes in a line that is what its writer wrote, as far as can be told."""
        if first and self._index_header(position, line, first):
            return
        try:
            head = codec.read_envelope(line)
            if head.known and self.sealed_from is None:
                codec.decode_as(head.type, line)  # no seal vouches for the rest of the line
        except codec.DECODE_ERRORS:
            if first or not self._index_header(position, line, first):
                self._damaged(_name_damage(line, "bad_header" if first else "bad_line"), position, len(line))
            return
        if first:
            self._report("bad_header", position, len(line))
        elif head.type == "session" and self._index_header(position, line, first):
            return
        twin = self.tree.find(head.id)
        if twin is not None:
            self._report_duplicate(head.id, position, line, self.line(twin))
        elif head.parent_id is not UNSET:
            self._index_entry(head, position, len(line))
        else:
            self._index_mark_line(head, position, line)

    def _report_duplicate(self, id: str, position: int, line: bytes, earlier: bytes) -> None:
        same = line == earlier or (self.sealed_from is not None and codec.payload_of(line) == codec.payload_of(earlier))
        found = self._report("duplicate" if same else "id_conflict", position, len(line), id)
        if not same:
            self.leaf_uncertain_because = found

    def _index_header(self, position: int, line: bytes, first: bool) -> bool:
        try:
            header = codec.decode_header(line)
        except codec.DECODE_ERRORS:
            header = None
        if header is None:
            return False
        if not first:
            self._report("second_header", position, len(line))
            return True
        if header.seal is None and self.sealed_from is None:
            self._report("unsealed", position, len(line))
        self.header = header
        self.header_payload = codec.payload_of(line) if self.sealed_from is not None else None
        self.header_end = position + len(line)
        self.name = header.name
        self.metadata = dict(header.metadata or {})
        if header.version > VERSION:
            self._report("newer_version", position, len(line))
            self.read_only = f"the log has format version {header.version}, this convtree writes version {VERSION}"
        return True

    def _index_entry(self, head: codec.Envelope | codec.OpaqueEnvelope, position: int, length: int) -> None:
        leaf = self.leaf
        if head.parent_id == leaf.id:
            parent = leaf.row
        elif head.parent_id is None:
            parent = tree.ROOT
        else:
            found = self.node(str(head.parent_id))
            parent = tree.MISSING if found is None else found
            if found is None:
                self._report("orphan", position, length, head.id)
        if parent != leaf.row:
            self._leaf_model = None
        kind = _KINDS.get(head.type, tree.OPAQUE)
        if kind in (tree.MESSAGE, tree.MODEL_CHANGE):
            kind |= self._flags(head, kind)
        elif isinstance(head, codec.OpaqueEnvelope) and head.critical:
            kind |= tree.CRITICAL
            self._refuse_writing(head.type, position, length)
        self.leaf = Leaf(self.tree.add(head.id, parent, kind, position, length), head.id)
        self.leaf_uncertain_because = None

    def _flags(self, head: Any, kind: int) -> int:
        """Returns what a message or a model change says about contexts."""
        flags = 0
        if head.model is not None and self._leaf_model != (head.provider, head.model):
            flags = tree.NAMES_MODEL
            self._leaf_model = head.provider, head.model
        if head.settings is not None and kind == tree.MODEL_CHANGE:
            flags |= tree.HAS_SETTINGS
        if head.visible_to == "user":
            flags |= tree.HIDDEN
        if head.pinned:
            flags |= tree.PINNED
        return flags

    def _index_mark_line(self, head: codec.Envelope | codec.OpaqueEnvelope, position: int, line: bytes) -> None:
        self.tree.add(head.id, tree.ROOT, tree.MARK, position, len(line))
        if not head.known:
            if head.critical:
                self.critical_mark = head.type
                self._refuse_writing(head.type, position, len(line))
            return
        try:
            mark = codec.decode_as(head.type, line)
        except codec.DECODE_ERRORS:
            self._damaged("bad_line", position, len(line))
            return
        self._index_mark(mark, position, len(line))

    def _index_mark(self, mark: Entry | Mark, position: int, length: int) -> None:
        match mark:
            case LeafMark(target_id=None):
                self._move_leaf(NO_LEAF)
            case LeafMark(target_id=str(target)) if (row := self.node(target)) is not None:
                self._move_leaf(Leaf(row, target))
            case LabelMark(target_id=target, label=label) if self.node(target) is not None:
                if label is None:
                    self.labels.pop(target, None)
                else:
                    self.labels[target] = label[:LABEL_LIMIT]
            case SessionInfoMark():
                self._take_info(mark)
            case _:
                found = self._report("bad_target", position, length, mark.id)
                if isinstance(mark, LeafMark):
                    self.leaf_uncertain_because = found

    def _move_leaf(self, leaf: Leaf) -> None:
        self.leaf, self.leaf_uncertain_because, self._leaf_model = leaf, None, None

    def _take_info(self, mark: SessionInfoMark) -> None:
        if mark.name is not UNSET:
            self.name = mark.name
        if mark.archived is not UNSET:
            self.archived = bool(mark.archived)
        if mark.metadata is None:
            self.metadata = {}
        elif mark.metadata is not UNSET:
            merged = self.metadata | mark.metadata
            self.metadata = {key: value for key, value in merged.items() if value is not None}

    # --- asking ---

    def node(self, id: str) -> int | None:
        """Returns the row of an entry."""
        row = self.tree.find(id)
        return row if row is not None and self.tree.is_node(row) else None

    def line(self, row: int) -> bytes:
        """Fetches the line of a row, as it stands in the log now."""
        return self._read_at([(self.tree.offsets[row], self.tree.lengths[row])])[0]

    def bodies(self, rows: Sequence[int]) -> Iterator[bytes]:
        """Fetches and verifies lines, and yields their bodies.

        Raises:
            BrokenPath: a line is not what it was when it was taken in.
        """
        for row, line in zip(rows, self._verified(rows), strict=True):
            yield codec.payload_of(line) if self._is_sealed(row) else line.rstrip()[:-1]

    def entries(self, rows: Sequence[int]) -> list[Entry]:
        """Fetches, verifies and decodes entries.

        Raises:
            BrokenPath: a line is not what it was when it was taken in, or not what its type says.
        """
        return cast(list[Entry], self.records(rows))

    def records(self, rows: Sequence[int]) -> list[Entry | Mark]:
        """Fetches, verifies and decodes entries and marks.

        Raises:
            BrokenPath: as `entries`.
        """
        records: list[Entry | Mark] = []
        for row, kind, line in zip(rows, self.tree.kinds.take(rows), self._verified(rows), strict=True):
            decode = _DECODERS[kind & tree.KIND]
            try:
                records.append(decode(line))
            except codec.DECODE_ERRORS:
                raise self.broken(row, "is not a valid record") from None
        return records

    def readable_records(self, rows: Sequence[int]) -> list[Entry | Mark]:
        """Fetches entries and marks, without those that are damaged."""
        try:
            return self.records(rows)
        except BrokenPath:
            if len(rows) == 1:
                return []
        return [record for row in rows for record in self.readable_records([row])]

    def id_of(self, row: int) -> str:
        """Fetches the id of a record.

        Raises:
            BrokenPath: the line is not what it was when it was taken in.
        """
        try:
            return codec.read_envelope(self.line(row)).id
        except codec.DECODE_ERRORS:
            raise self.broken(row, "was damaged after it was read") from None

    def broken(self, row: int, what: str, missing: str | None = None) -> BrokenPath:
        """Makes the error that names the place of a row."""
        offset = self.tree.offsets[row]
        return BrokenPath(f"the line at offset {offset} {what}; run verify on the log", missing=missing, offset=offset)

    def leaf_uncertain(self, location: str) -> LeafUncertain:
        """Makes the error that names the damage behind the line that set the leaf, and what settles it."""
        doubt = self.leaf_uncertain_because
        assert doubt is not None
        return LeafUncertain(
            f"{location}: {doubt.code} in line {doubt.line}, after the leaf was set: "
            f"settle it with branch({self.leaf.id!r}) or another entry"
        )

    def _verified(self, rows: Sequence[int]) -> list[bytes]:
        lengths = self.tree.lengths.take(rows)
        lines = self._read_at(list(zip(self.tree.offsets.take(rows), lengths, strict=True)))
        if rows and self._is_sealed(min(rows)) and codec.all_seals_valid(lines):
            return lines
        for row, length, line in zip(rows, lengths, lines, strict=True):
            if len(line) != length or (self._is_sealed(row) and codec.verify_seal(line) is None):
                raise self.broken(row, "was damaged after it was read")
        return lines

    def _is_sealed(self, row: int) -> bool:
        return self.sealed_from is not None and row >= self.sealed_from

    def _same_id(self, row: int, id: str) -> bool:
        line = self.line(row)
        if line.startswith(b'{"id":"%b"' % id.encode(errors="replace")):
            return True
        try:
            return codec.read_envelope(line).id == id  # written by others: escaped, or in another order
        except codec.DECODE_ERRORS:
            return False

    # --- findings ---

    def _report(self, code: str, offset: int, length: int, entry_id: str | None = None) -> Finding:
        finding = Finding(
            code=code, severity=FINDING_CODES[code][0], line=self.lines, offset=offset, length=length, entry_id=entry_id
        )
        if len(self.findings) < self.finding_limit:
            self.findings.append(finding)
        elif len(self.findings) == self.finding_limit:
            self.findings.append(
                Finding(code="too_many", severity="error", line=self.lines, offset=offset, length=length)
            )
        return finding

    def _report_once(self, code: str, offset: int, length: int) -> None:
        if code not in self.reported_once:
            self.reported_once.add(code)
            self._report(code, offset, length)

    def _damaged(self, code: str, offset: int, length: int) -> None:
        self.last_damaged = True
        self.leaf_uncertain_because = self._report(code, offset, length)

    def _torn(self, start: int, end: int) -> None:
        self.lines += 1
        self._report("torn_tail", start, end - start)
        self.lines -= 1

    def forget_torn(self) -> None:
        """Drops the finding of a torn tail that was completed, or cut, since: a fresh look would not have it."""
        if self.findings and self.findings[-1].code == "torn_tail":
            self.findings.pop()

    def _refuse_writing(self, kind: str, position: int, length: int) -> None:
        self._report("critical_unknown", position, length)
        self.read_only = f"the log holds a critical record of the unknown type {kind!r}"


def _name_damage(line: bytes, code: str) -> str:
    return code if line.strip(b"\0") else "nul_bytes"
