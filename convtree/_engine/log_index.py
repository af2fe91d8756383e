"""The index of a log: what its lines mean. Pure: it is given lines, and keeps columns and a state.

Which lines count is decided below (`line_scan`); here a line that counts becomes a header, an entry or a mark, and only
what the tree needs of it is parsed. Damage never stops a scan, it becomes findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from msgspec import UNSET

from convtree._engine import bulk, codec, lost, tree
from convtree._engine.columns import Column
from convtree._engine.envelope import Envelope, OpaqueEnvelope, has_unknown_needs
from convtree._engine.index_state import NO_LEAF, IndexState, Leaf
from convtree._engine.labels import Labels
from convtree._engine.line_reader import KINDS, ReadAt
from convtree._engine.line_scan import LineScan, name_damage
from convtree._model.entries import (
    GROUP,
    HIDDEN_FROM_MODEL,
    VERSION,
    Entry,
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
from convtree._model.errors import AmbiguousLabel, BrokenPath, EntryNotFound, LeafUncertain, UnknownEntry
from convtree._model.findings import FINDING_LIMIT

if TYPE_CHECKING:
    from convtree._engine.call_places import CallPlaces
    from convtree._engine.dropped import DroppedIds


class Index(LineScan):
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
        super().__init__(read_at, salt, columns, IndexState() if state is None else state, finding_limit)
        self.header: Header | None = None
        self.header_payload: bytes | None = None  # as it is in the log, if its seal verifies
        self.labels = Labels(self.state.labels)
        self._dropped: DroppedIds | None = None  # decoded when it is asked for
        self._leaf_model: tuple[str | None, str] | None = None  # provider and model at the leaf, as far as known
        self._calls: CallPlaces | None = None  # made when it is asked for

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

    # --- lines ---

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

    def _index_plain_run(
        self, first: int, positions: Sequence[int], lines: Sequence[bytes], envelopes: Sequence[Envelope | None]
    ) -> int:
        """Indexes the plain entries from line `first` on that continue the leaf one after the other.

        Returns how many there are. Takes as long as they do: most calls find none, whatever follows.
        """
        state = self.state
        following = map(envelopes.__getitem__, range(first, len(envelopes)))
        ids, data = bulk.plain_run(following, state.leaf.id, self._leaf_model)
        if not ids:
            return 0
        end = first + len(ids)
        lengths = list(map(len, lines[first:end]))
        count = bulk.add_plain(self.tree, ids, state.leaf.row, positions[first:end], lengths, data=data)
        if count:
            state.leaf, state.leaf_uncertain_because = Leaf(len(self.tree) - 1, ids[count - 1]), None
            state.lines += count
        return count

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
                self._damaged(name_damage(line, "bad_header" if first else "bad_line"), position, len(line), line)
            return
        if first and codec.is_header(line):
            self.header_is_damaged = True
            self._damaged("bad_header", position, len(line))
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
        elif envelope.model is None and kind == tree.MODEL_CHANGE:
            flags = tree.NAMES_MODEL  # so that a context does not pass over it in silence: it cannot be decoded
            self._leaf_model = None
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
        if envelope.known and envelope.type != GROUP:
            try:
                mark = codec.decode_as(envelope.type, line)
            except codec.DECODE_ERRORS:
                self._damaged("bad_line", position, len(line), line)
                return
            self.tree.add(envelope.id, tree.ROOT, tree.MARK, position, len(line))
            self._index_mark(mark, position, len(line))
            return
        self.tree.add(envelope.id, tree.ROOT, tree.MARK, position, len(line))
        if envelope.type == GROUP and envelope.known:
            self._report("bad_group", position, len(line), envelope.id)
        elif envelope.critical:
            self.state.critical_mark = envelope.type
            self._refuse_writing(envelope.type, position, len(line))

    def _index_mark(self, mark: Entry | Mark, position: int, length: int) -> None:
        match mark:
            case LeafMark(target_id=None):
                self.move_leaf(NO_LEAF)
            case LeafMark(target_id=str(target)) if (row := self.node(target)) is not None:
                self.move_leaf(Leaf(row, target))
            case LabelMark(target_id=target, label=label) if self.node(target) is not None:
                self.labels.set(target, label)
            case SessionInfoMark():
                self.state.apply_info(mark)
            case VisibilityMark(target_id=target) if (row := self.tree.hideable(target)) != tree.NONE:
                self.state.apply_visibility(mark, len(self.tree) - 1, row)
            case _:
                found = self._report("bad_target", position, length, mark.id)
                if isinstance(mark, LeafMark):
                    self.state.leaf_uncertain_because = found

    def move_leaf(self, leaf: Leaf, *, known_model: bool = False) -> None:
        """Moves the leaf. `known_model` says that the model there is the same."""
        self.state.leaf, self.state.leaf_uncertain_because = leaf, None
        if not known_model:
            self._leaf_model = None

    def is_leaf_model(self, provider: str | None, model: str | None) -> bool:
        """Returns whether this is the model at the leaf, as far as it is known."""
        return self._leaf_model == (provider, model)

    def is_taken(self, id: str) -> bool:
        """Returns whether a record has an id, or had it before a vacuum removed the record."""
        return self.tree.find(id) is not None or self.was_dropped(id)

    def last_record_id(self, size: int) -> str | None:
        """Returns the id of the record that is the last one in the log, of the first `size` rows; None without rows.

        An entry that was put back has its old row, and its line at the end of the log.

        Raises:
            BrokenPath: its line was damaged since the scan.
        """
        if not size:
            return None
        rows = (size - 1, *(row for row in self.state.restored if row < size))
        row = max(rows, key=self.tree.offsets.__getitem__)
        return self.state.leaf.id if row == self.state.leaf.row else self.id_of(row)

    def labelled(self, label: str) -> str | None:
        """Returns the id of the entry with a label; None if there is none.

        Raises:
            AmbiguousLabel: several entries have it.
        """
        ids = self.labels.ids(label)
        if len(ids) > 1:
            named = ", ".join(map(repr, ids[:5])) + (", …" if len(ids) > 5 else "")
            raise AmbiguousLabel(
                f"{len(ids)} entries have the label {label!r}: {named}; pass the id of one, or give them other labels",
                text=label,
                label=label,
                ids=tuple(ids),
            )
        return ids[0] if ids else None

    def id_named(self, text: str) -> str:
        """Returns the id of the entry that a text names by its id or by its label. The text itself if it names none.

        Raises:
            AmbiguousLabel: it is no id, and the label of several entries.
        """
        if not self.labels.ids(text) or self.node(text) is not None:
            return text
        return self.labelled(text) or text

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

    @property
    def calls(self) -> CallPlaces:
        """Where the tool calls of the log are."""
        if self._calls is None:
            from convtree._engine.call_places import CallPlaces

            self._calls = CallPlaces(self)
        return self._calls

    def may_be_dropped(self, id: str) -> bool:
        """Returns whether a vacuum has removed the record with this id; True if the vacuum entry cannot be read."""
        try:
            return self.was_dropped(id)
        except BrokenPath:
            return True

    def check_critical(self) -> None:
        """Raises UnknownEntry if a critical mark, or the header, is one that this version cannot read."""
        if (kind := self.state.critical_mark) is not None:
            raise UnknownEntry(
                f"the log holds a critical record of the type {kind!r} that this convtree does not know; "
                "use the program that wrote it"
            )

    def check_visibility(self) -> None:
        """Raises BrokenPath if a damaged line was a visibility mark: any message may have been hidden by it."""
        if (damaged := self.state.damaged_mark) is not None:
            raise BrokenPath(
                f"the line at offset {damaged.offset} is damaged and was a visibility mark, so it is not certain what "
                "the model may see; allow gaps, or repair the log and hide again what must be hidden",
                missing=None,
                offset=damaged.offset,
            )

    def check_not_dropped(self, id: Any) -> None:
        """Raises EntryNotFound if a vacuum has removed the entry with this id."""
        if isinstance(id, str) and self.was_dropped(id):
            raise EntryNotFound(f"the entry {id!r} is not in this log any more: vacuum has removed it", id=id)

    def leaf_uncertain(self, location: str) -> LeafUncertain:
        """Makes the error that names the damage behind the line that set the leaf, and what settles it."""
        doubt = self.state.leaf_uncertain_because
        assert doubt is not None
        return LeafUncertain(
            f"{location}: {doubt.code} in line {doubt.line}, after the leaf was set: "
            f"settle it with branch({self.state.leaf.id!r}) or another entry"
        )
