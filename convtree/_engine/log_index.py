"""The index of a log: the one loop that looks at lines. Pure: it is given lines, and keeps columns and a state.

A line is verified on its raw bytes before anything is parsed, and only what the tree needs is parsed. Damage never
stops the loop, it becomes findings. What a line may be depends on the lines before it:

    the line                      no sealed line before    a sealed line before
    verifies                      the log is sealed from   its prev must be the CRC of the line before, unless that is
                                  here on                  damaged; else `prev_mismatch`, and the leaf is uncertain
    verifies behind zeros         as above, `nul_bytes`    as above, `nul_bytes`
    looks sealed, does not verify `bad_seal`; the log is   `bad_seal`
                                  sealed from here on
    has no seal                   as its writer wrote it,  `bad_seal`
                                  decoded as a whole
    cannot be decoded             `bad_line`               `bad_line`

A mark of the type `group` says how many of the next lines were one write. While the log has not all of them, none is
indexed, and the index ends before the mark: as if they were a torn tail.

The first line must be a header. One that is damaged, or is not a header, is `bad_header` (and without a sealed record
behind it the journal says that this is not a log). A header anywhere else is `second_header`. Every damaged line makes
the leaf uncertain, for it may have moved it, until another line moves the leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from zlib import crc32

from msgspec import UNSET

from convtree._engine import bulk, codec, lost, tree
from convtree._engine.columns import Column
from convtree._engine.envelope import Envelope, OpaqueEnvelope, has_unknown_needs
from convtree._engine.groups import OpenGroup, Span, is_whole
from convtree._engine.index_state import NO_LEAF, IndexState, Leaf
from convtree._engine.line_reader import KINDS, LineReader, ReadAt
from convtree._model.batches import batched
from convtree._model.entries import (
    GROUP,
    HIDDEN_FROM_MODEL,
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
    VacuumEntry,
    VisibilityMark,
)
from convtree._model.errors import LeafUncertain
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT

if TYPE_CHECKING:
    from convtree._engine.dropped import DroppedIds


class Index(LineReader):
    """What follows from the lines scanned so far (columns and a state), and the way back to the lines.

    Payloads stay in the log: `read_at` fetches them when a query needs them.
    """

    def __init__(
        self,
        read_at: ReadAt,
        salt: int = 0,
        finding_limit: int = FINDING_LIMIT,
        *,
        state: IndexState | None = None,
        columns: Mapping[str, Column] | None = None,
    ) -> None:
        super().__init__(read_at, salt, columns)
        self.finding_limit = finding_limit
        self.state = IndexState() if state is None else state
        self.header: Header | None = None
        self.header_payload: bytes | None = None  # as it is in the log, if its seal verifies
        self.header_is_damaged = False  # the first line looks like a header, and is damaged
        self._seen_first_line = False
        self._dropped: DroppedIds | None = None  # decoded when it is asked for
        self._leaf_model: tuple[str | None, str] | None = None  # provider and model at the leaf, as far as known
        self._open_group: OpenGroup | None = None  # a group that the lines scanned so far have not completed
        self._group_line = 0  # the line number of the last mark whose group is whole
        self._group_end = 0  # the line number of the last line of that group

    @classmethod
    def restored(
        cls, read_at: ReadAt, state: IndexState, columns: Mapping[str, Column], salt: int, header_line: bytes
    ) -> Index:
        """Makes an index from the columns and state of a snapshot. The log is sealed throughout."""
        index = cls(read_at, salt, state=state, columns=columns)
        line = codec.strip_line_prefix(header_line)
        index.header, index.header_payload = codec.decode_header(line), codec.payload_of(line)
        index.sealed_from, index._seen_first_line = 0, True
        return index

    # --- scanning ---

    def scan(self, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None = None) -> None:
        """Indexes the lines of a chunk, in log order."""
        self.forget_torn()
        if fault == "newline_missing":
            fault = None
        if self._open_group is not None:
            self._continue_group(self._open_group, positions, lines, end, fault)
        else:
            self._scan_lines(positions, lines, end, fault)

    def end_scan(self) -> None:
        """Ends a scan of everything that the log has: a group that is still open is torn, and not in the log."""
        group, self._open_group = self._open_group, None
        if group is not None:
            self._torn(group.start, group.end)

    def _scan_lines(self, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None) -> None:
        state = self.state
        done = self._scan_chain(positions, lines)
        while done < len(lines) and self._open_group is None:
            if self._begins_open_group(positions[done], lines, done):
                break
            self._scan_line(positions[done], lines[done])
            done += 1
        last = positions[-1] + len(lines[-1]) + 1 if lines else state.end
        if self._open_group is not None:
            state.end = self._open_group.start  # as with a torn tail, the position stays before it
            self._continue_group(self._open_group, positions[done:], lines[done:], end, fault)
            return
        if fault == "torn_tail":
            # Not in the log for any reader, and read again when the log has grown: the position stays before it.
            self._torn(last, end)
            end = last
        elif fault is not None:
            state.lines += 1
            self._damaged(fault, last, end - last)
        state.end = end

    def _begins_open_group(self, position: int, lines: Sequence[bytes], number: int) -> bool:
        """Looks for a group mark in a line; opens its group if the lines after it in the chunk do not complete it."""
        line = lines[number].removesuffix(b"\r").lstrip(b"\0")
        count = codec.group_count(line)
        if count is None or self.state.lines < self._group_end:
            return False
        if (self.sealed_from is not None or codec.looks_sealed(line)) and codec.verify_seal(line) is None:
            return False
        if not is_whole(count, lines, number + 1):
            self._open_group = OpenGroup(position, count)
            return True
        self._group_line = self.state.lines + 1
        self._group_end = self._group_line + count
        return False

    def _continue_group(
        self, group: OpenGroup, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None
    ) -> None:
        """Adds a chunk to the open group. If that completes it, indexes the group and the rest of the chunk."""
        taken = group.take(positions, lines)
        start = group.end
        if fault is not None and taken == len(lines) and not group.is_whole(followed=True):
            group.take_fault(start, end, fault)
            fault = None
        if not group.is_whole(followed=taken < len(lines) or fault is not None):
            return
        self._open_group = None
        self._group_line = self.state.lines + 1
        self._group_end = self.state.lines + len(group.spans)
        for spans in batched(group.spans):
            self._scan_spans(spans)
        if taken < len(lines) or fault is not None:
            self.state.end = group.end
            self._scan_lines(positions[taken:], lines[taken:], end, fault)
        else:
            self.state.end = end

    def _scan_spans(self, spans: Sequence[Span]) -> None:
        """Indexes lines of a group that is known to be whole, by their places."""
        lines = self._read_at([(position, length) for position, length, fault in spans if fault is None])
        at = iter(lines)
        for position, length, fault in spans:
            if fault is None:
                self._scan_line(position, next(at))
            else:
                self.state.lines += 1
                self._damaged(fault, position, length)

    def add_written(
        self, records: Sequence[Entry | Mark], positions: Sequence[int], lines: Sequence[bytes], crc: int
    ) -> None:
        """Indexes records that this process has just appended; `crc` is that of the last line.

        Must give the same index as `scan` on their lines (see `bulk`), without parsing them.
        """
        state = self.state
        if len(lines) > len(records):  # a group mark first
            state.lines += 1
            positions, lines = positions[1:], lines[1:]
        for record, position, line in zip(records, positions, lines, strict=True):
            state.lines += 1
            if isinstance(record, OpaqueEntry | OpaqueMark):
                self._index_line(position, line, first=False)
            elif record.id in state.lost:
                self._restore(codec.envelope_of(record), position, line)
            elif isinstance(record, Entry):
                self._index_entry(codec.envelope_of(record), position, len(line))
            else:
                self.tree.add(record.id, tree.ROOT, tree.MARK, position, len(line))
                self._index_mark(record, position, len(line))
        state.last_crc, state.last_damaged = crc, False
        state.end = positions[-1] + len(lines[-1]) + 1

    def _scan_chain(self, positions: Sequence[int], lines: Sequence[bytes]) -> int:
        """Indexes the leading lines that verify and follow each other, which are nearly all; returns how many."""
        state = self.state
        if self.sealed_from is None or state.last_damaged or not lines:
            return 0
        good, state.last_crc = bulk.verify_chain(lines, state.last_crc)
        state.last_damaged = False
        envelopes = bulk.read_entry_envelopes(lines[:good])
        number = 0
        while number < good:
            number += self._index_message_run(positions[number:good], lines[number:good], envelopes[number:])
            if number < good:
                envelope, line = envelopes[number], lines[number]
                if envelope is None and self._begins_open_group(positions[number], lines, number):
                    state.last_crc = int(line[-27:-19], 16)  # as before this line, which is not in the log yet
                    return number
                state.lines += 1
                state.last_damaged = False
                if envelope is not None and self.tree.find(envelope.id) is None:
                    self._index_entry(envelope, positions[number], len(line))
                else:
                    self._index_line(positions[number], line, first=False)
                number += 1
        return good

    def _index_message_run(
        self, positions: Sequence[int], lines: Sequence[bytes], envelopes: Sequence[Envelope | None]
    ) -> int:
        """Indexes the leading plain messages that continue the leaf one after the other; returns how many."""
        state = self.state
        ids = bulk.message_run(envelopes, state.leaf.id, self._leaf_model)
        if not ids:
            return 0
        size = len(ids)
        count = bulk.add_messages(self.tree, ids, state.leaf.row, positions[:size], list(map(len, lines[:size])))
        if count:
            state.leaf, state.leaf_uncertain_because = Leaf(len(self.tree) - 1, ids[count - 1]), None
            state.lines += count
        return count

    def _scan_line(self, position: int, raw: bytes) -> None:
        state = self.state
        state.lines += 1
        line = raw
        if raw.endswith(b"\r"):
            line = raw[:-1]
            self._report_once("carriage_return", position, len(raw))
        if position == 0 and line.startswith(codec.BYTE_ORDER_MARK):
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
            if seal.prev != state.last_crc and not state.last_damaged:
                state.leaf_uncertain_because = self._report("prev_mismatch", position, len(line))
            state.last_crc = seal.crc if crc is None else crc
            state.last_damaged = False
            self._index_line(position, line, first)
        else:
            state.last_crc = crc32(line)
            if self.sealed_from is not None or codec.looks_sealed(line) or (first and b'"seal"' in line):
                if self.sealed_from is None:
                    self.sealed_from = len(self.tree)
                self.header_is_damaged |= first and codec.is_header(line)
                self._damaged(_name_damage(line, "bad_header" if first else "bad_seal"), position, len(line))
            else:
                state.last_damaged = False
                self._index_line(position, line, first)

    def _index_line(self, position: int, line: bytes, first: bool) -> None:
        """Indexes a line whose seal is valid, or that has no seal and needs none."""
        if first and self._index_header(position, line, first):
            return
        try:
            envelope = codec.read_envelope(line)
            if envelope.known and self.sealed_from is None:
                codec.decode_as(envelope.type, line)  # no seal verifies the rest of the line
        except codec.DECODE_ERRORS:
            if first or not self._index_header(position, line, first):
                self._damaged(_name_damage(line, "bad_header" if first else "bad_line"), position, len(line))
            return
        if first:
            self._report("bad_header", position, len(line))
        elif envelope.type == "session" and self._index_header(position, line, first):
            return
        if envelope.type == GROUP and envelope.known and self.state.lines == self._group_line:
            return
        earlier = self.tree.find(envelope.id)
        if earlier is not None:
            if envelope.id not in self.state.lost or not self._restore(envelope, position, line):
                self._report_duplicate(envelope.id, position, line, self.line(earlier))
        elif envelope.parent_id is not UNSET:
            self._index_entry(envelope, position, len(line))
        else:
            self._index_mark_line(envelope, position, line)

    def _report_duplicate(self, id: str, position: int, line: bytes, earlier: bytes) -> None:
        same = line == earlier or (self.sealed_from is not None and codec.payload_of(line) == codec.payload_of(earlier))
        found = self._report("duplicate" if same else "id_conflict", position, len(line), id)
        if not same:
            self.state.leaf_uncertain_because = found

    def _restore(self, envelope: Envelope | OpaqueEnvelope, position: int, line: bytes) -> bool:
        """Puts an entry in the place of the lost one with its id, if it is that entry; returns whether it is.

        The leaf does not move: the entry is where it was before it was lost.
        """
        state, row = self.state, self.state.lost[envelope.id]
        if not lost.restores(self.line(row), codec.payload_of(line)):
            return False
        place = state.restored[row] = self.tree.offsets[row]
        del state.lost[envelope.id]
        state.findings = [each for each in state.findings if (each.code, each.offset) != ("lost_entry", place)]
        self._leaf_model = None  # the entry must say which model it names
        parent = self.tree.parents[row]
        kind, replaced = self._kind_of(envelope, row, parent, position, len(line)), tree.NONE
        if kind & tree.REPLACES and (replaced := self._row_above(envelope, parent)) == tree.NONE:
            kind ^= tree.REPLACES
        self._leaf_model = None
        self.tree.replace(row, kind, position, len(line), replaced)
        return True

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
        self.state.apply_header(header, position + len(line))
        if has_unknown_needs(header.needs):
            self.state.critical_mark = "session"
            self._refuse_writing("session", position, len(line))
        if header.version > VERSION:
            self._report("newer_version", position, len(line))
            self.state.read_only = (
                f"the log has format version {header.version}, this convtree writes version {VERSION}"
            )
        return True

    def _index_entry(self, envelope: Envelope | OpaqueEnvelope, position: int, length: int) -> None:
        state = self.state
        leaf = state.leaf
        if envelope.parent_id == leaf.id:
            parent = leaf.row
        elif envelope.parent_id is None:
            parent = tree.ROOT
        else:
            found = self.node(str(envelope.parent_id))
            parent = tree.MISSING if found is None else found
            if found is None:
                self._report("orphan", position, length, envelope.id)
        if parent != leaf.row:
            self._leaf_model = None
        kind = self._kind_of(envelope, len(self.tree), parent, position, length)
        replaced = tree.NONE
        if kind & tree.REPLACES and (replaced := self._row_above(envelope, parent)) == tree.NONE:
            kind ^= tree.REPLACES
        state.leaf = Leaf(self.tree.add(envelope.id, parent, kind, position, length, replaced), envelope.id)
        state.leaf_uncertain_because = None

    def _row_above(self, envelope: Any, parent: int) -> int:
        """Returns the row that a message replaces; NONE if that is not on the path to the row `parent`."""
        row = self.node(envelope.replaces) if parent >= 0 else None
        return row if row is not None and self.tree.is_ancestor(row, parent) else tree.NONE

    def _kind_of(self, envelope: Envelope | OpaqueEnvelope, row: int, parent: int, position: int, length: int) -> int:
        """Returns the kind of an entry whose row is `row`, or will be."""
        kind = KINDS[envelope.type] if envelope.known else tree.OPAQUE
        if kind in (tree.MESSAGE, tree.MODEL_CHANGE):
            return kind | self._flags(envelope, kind)
        if envelope.critical:
            self._refuse_writing(envelope.type, position, length)
            return kind | tree.CRITICAL
        if kind == tree.LOST:
            self.state.lost[envelope.id] = row
            self._report("lost_entry", position, length, envelope.id)
            self._leaf_model = None  # it may have named a model
        elif kind == tree.VACUUM:
            if row or parent != tree.ROOT:
                self._report("bad_vacuum", position, length, envelope.id)
                return tree.OPAQUE
            self.state.vacuumed = True
            return kind | self._flags(envelope, kind)
        return kind

    def _flags(self, envelope: Any, kind: int) -> int:
        """Returns what a message, a model change or a vacuum entry says about contexts."""
        flags = 0
        if envelope.model is not None and self._leaf_model != (envelope.provider, envelope.model):
            flags = tree.NAMES_MODEL
            self._leaf_model = envelope.provider, envelope.model
        if envelope.settings is not None and kind != tree.MESSAGE:
            flags |= tree.HAS_SETTINGS
        if envelope.visible_to in HIDDEN_FROM_MODEL:
            flags |= tree.HIDDEN
        if envelope.pinned:
            flags |= tree.PINNED
        if envelope.replaces is not None and kind == tree.MESSAGE:
            flags |= tree.REPLACES
        return flags

    def _index_mark_line(self, envelope: Envelope | OpaqueEnvelope, position: int, line: bytes) -> None:
        self.tree.add(envelope.id, tree.ROOT, tree.MARK, position, len(line))
        if envelope.type == GROUP and envelope.known:
            self._report("bad_group", position, len(line), envelope.id)
            return
        if not envelope.known:
            if envelope.critical:
                self.state.critical_mark = envelope.type
                self._refuse_writing(envelope.type, position, len(line))
            return
        try:
            mark = codec.decode_as(envelope.type, line)
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
                    self.state.labels.pop(target, None)
                else:
                    self.state.labels[target] = label[:LABEL_LIMIT]
            case SessionInfoMark():
                self.state.apply_info(mark)
            case VisibilityMark(target_id=target) if (row := self.tree.hideable(target)) != tree.NONE:
                self.state.apply_visibility(mark, len(self.tree) - 1, row)
            case _:
                found = self._report("bad_target", position, length, mark.id)
                if isinstance(mark, LeafMark):
                    self.state.leaf_uncertain_because = found

    def _move_leaf(self, leaf: Leaf) -> None:
        self.state.leaf, self.state.leaf_uncertain_because, self._leaf_model = leaf, None, None

    def was_dropped(self, id: str) -> bool:
        """Returns whether a vacuum has removed the record with this id.

        Raises:
            BrokenPath: the vacuum entry cannot be read.
        """
        if not self.state.vacuumed:
            return False
        if self._dropped is None:
            from convtree._engine.dropped import DroppedIds

            try:
                self._dropped = DroppedIds(cast(VacuumEntry, self.records([0])[0]).dropped_ids)
            except ValueError:
                raise self.broken(0, "has `dropped_ids` that cannot be read") from None
        return id in self._dropped

    def leaf_uncertain(self, location: str) -> LeafUncertain:
        """Makes the error that names the damage behind the line that set the leaf, and what settles it."""
        doubt = self.state.leaf_uncertain_because
        assert doubt is not None
        return LeafUncertain(
            f"{location}: {doubt.code} in line {doubt.line}, after the leaf was set: "
            f"settle it with branch({self.state.leaf.id!r}) or another entry"
        )

    # --- findings ---

    def _report(self, code: str, offset: int, length: int, entry_id: str | None = None) -> Finding:
        line, findings = self.state.lines, self.state.findings
        severity = FINDING_CODES[code][0]
        found = Finding(code=code, severity=severity, line=line, offset=offset, length=length, entry_id=entry_id)
        if len(findings) < self.finding_limit:
            findings.append(found)
        elif len(findings) == self.finding_limit:
            findings.append(Finding(code="too_many", severity="error", line=line, offset=offset, length=length))
        return found

    def _report_once(self, code: str, offset: int, length: int) -> None:
        if code not in self.state.reported_once:
            self.state.reported_once.add(code)
            self._report(code, offset, length)

    def _damaged(self, code: str, offset: int, length: int) -> None:
        self.state.last_damaged = True
        self.state.leaf_uncertain_because = self._report(code, offset, length)

    def _torn(self, start: int, end: int) -> None:
        self.state.lines += 1
        self._report("torn_tail", start, end - start)
        self.state.lines -= 1

    def forget_torn(self) -> None:
        """Drops the finding of a torn tail, which the next line has completed, or a writer cut off."""
        if self.state.findings and self.state.findings[-1].code == "torn_tail":
            self.state.findings.pop()

    def _refuse_writing(self, kind: str, position: int, length: int) -> None:
        self._report("critical_unknown", position, length)
        self.state.read_only = f"the log holds a critical record of the unknown type {kind!r}"


def _name_damage(line: bytes, code: str) -> str:
    return code if line.strip(b"\0") else "nul_bytes"
