"""Records on their way into a log: checked and encoded outside the lock, given a place inside it. Pure.

`encode_record` does every check that needs no log. A `WriteBatch` makes lines that follow the last line of an index:
an id that is stored already is a retry and adds nothing, and an entry that a record refers to must be above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from convtree._engine import codec, lost
from convtree._engine.leaf import SeenLeaf
from convtree._engine.log_index import Index
from convtree._model.entries import CompactionEntry, Entry, LabelMark, LeafMark, Mark, MessageEntry, Record, VacuumEntry
from convtree._model.errors import EntryNotFound, IdConflict, InvalidCompaction, InvalidMessage, StaleLeaf
from convtree._model.sources import Clock, IdSource, timestamp


class EncodedRecord(NamedTuple):
    """A record that is checked and has its fields encoded, but has no place in the log yet.

    `record` is what a reader will get, except for id, parent and time. It shares nothing with the caller's objects.
    """

    record: Entry | Mark
    fields: bytes


def encode_record(record: Record) -> EncodedRecord:
    """Checks and encodes a record that will get its place, and its id if it has none, from a write batch.

    Raises:
        InvalidMessage: a value cannot be stored; the error names its place.
        InvalidCompaction, EntryNotFound: a reference to an entry is not an id.
    """
    if record.id != "":
        codec.check_id(record.id, "id")
    fields = codec.encode_fields(record)
    codec.check_length(fields)
    if not isinstance(record, MessageEntry):
        _check_reference(record)
    try:
        return EncodedRecord(codec.decode_fields(record, fields), fields)
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"{record.type}: {error}", place=record.type) from None


def encode_imported(record: Record) -> EncodedRecord:
    """Checks and encodes a record that brings its own parent and time.

    Raises:
        As `encode_record`.
    """
    codec.check_timestamp(record.timestamp)
    checked, fields = encode_record(record)
    own: dict[str, Any] = {"timestamp": record.timestamp}
    if isinstance(record, Entry):
        own["parent_id"] = record.parent_id
    return EncodedRecord(msgspec.structs.replace(checked, **own), fields)


def _check_reference(record: Record) -> None:
    """Refuses a reference that cannot be an id, with the error of an unknown id."""
    if isinstance(record, LeafMark | LabelMark) and not isinstance(record.target_id, str | None):
        raise _not_found(record.target_id)
    if isinstance(record, CompactionEntry) and not isinstance(record.first_kept_entry_id, str | None):
        raise _not_kept(record.first_kept_entry_id)


class WriteBatch:
    """Lines to append to a log as one write. Made and filled under the log's lock.

    `added` are the records that get a line. `stored` has one record for each requested one, in order: the added record,
    or the record with that id that the log has already. `lines` seals what was added; then `crc` is that of the last.
    """

    def __init__(self, index: Index, location: str, clock: Clock, id_source: IdSource) -> None:
        self.index = index
        self._location = location
        self._clock = clock
        self._id_source = id_source
        self._parents: dict[str, str | None] = {}  # of the entries added
        self._marks: set[str] = set()  # ids of the marks added
        self._header_payload: bytes | None = None
        self._payloads: list[bytes] = []  # of the records added
        self.crc = index.state.last_crc
        self.added: list[Entry | Mark] = []
        self.stored: list[Entry | Mark] = []

    def begin(self, header_payload: bytes) -> None:
        """Sets the header of a log that has no line yet."""
        self._header_payload = header_payload

    def lines(self) -> list[bytes]:
        """Seals what was added as the lines that follow the log's last one; none if nothing was added."""
        if not self._payloads:
            return []
        lines: list[bytes] = []
        crc = self.index.state.last_crc
        for payload in self._payloads if self._header_payload is None else [self._header_payload, *self._payloads]:
            line, crc = codec.seal_line(payload, crc)
            lines.append(line)
        self.crc = crc
        return lines

    def skip_stored(self, records: Sequence[EncodedRecord]) -> int:
        """Returns how many leading records the log has already; adds those to `stored`.

        Raises:
            IdConflict: an id is stored with other content.
        """
        for count, each in enumerate(records):
            found = self._match_stored(each) if each.record.id else None
            if found is None:
                return count
            self.stored.append(found)
        return len(records)

    def add_chain(self, records: Sequence[EncodedRecord], parent_id: str | None) -> None:
        """Adds entries as a chain below `parent_id`, with the time now. One stored already is a link of the chain."""
        now = timestamp(self._clock)
        for each in records:
            found = self._match_stored(each) if each.record.id else None
            if found is None:
                found = self._add(each, parent_id, now)
            self.stored.append(found)
            parent_id = found.id

    def add_imported(self, each: EncodedRecord) -> None:
        """Adds a record with its own id, parent and time, unless it is stored already."""
        record = each.record
        found = self._match_stored(each, imported=True) if record.id else None
        if found is None:
            found = self._add(each, getattr(record, "parent_id", None), record.timestamp)
        self.stored.append(found)

    def add_mark(self, each: EncodedRecord) -> None:
        """Adds a mark, with the time now."""
        self.stored.append(self._add(each, None, timestamp(self._clock)))

    def row_of(self, id: str) -> int:
        """Returns the row of an entry in the log.

        Raises:
            EntryNotFound: the log has no such entry.
        """
        if id == self.index.state.leaf.id:
            return self.index.state.leaf.row
        row = self.index.node(id) if isinstance(id, str) else None
        if row is None:
            if isinstance(id, str) and self.index.was_dropped(id):
                raise EntryNotFound(f"the entry {_shown(id)} is not in this log any more: vacuum has removed it", id=id)
            raise _not_found(id)
        return row

    def current_leaf(self, seen: SeenLeaf) -> str | None:
        """Returns the leaf to continue for a session that last saw the leaf `seen`.

        Raises:
            StaleLeaf: another session moved the leaf, and the policy in `seen` is "raise".
            LeafUncertain: damage lies behind the line that set the leaf.
        """
        index = self.index
        if index.state.leaf_uncertain_because is not None:
            raise index.leaf_uncertain(self._location)
        actual = index.state.leaf.id
        if actual == seen.id or seen.on_stale == "branch":
            return seen.id
        if seen.on_stale == "rebase":
            return actual
        raise StaleLeaf(
            f"another session moved the leaf from {seen.id!r} to {actual!r}; "
            "call refresh(), or pass parent_id or on_stale",
            expected=seen.id,
            actual=actual,
        )

    def _match_stored(self, each: EncodedRecord, imported: bool = False) -> Entry | Mark | None:
        """Returns the record of the log with the id that this one brings; None when the log has none, or lost it.

        An imported record that a vacuum has dropped counts as stored.

        Raises:
            IdConflict: that record has other content or was dropped, or this batch has the id already.
        """
        id = each.record.id
        row = self.index.tree.find(id)
        if row is None or id in self.index.state.lost:
            if id in self._parents or id in self._marks:
                raise IdConflict(f"the id {_shown(id)} is given twice", id=id)
            if row is not None:
                self._check_restores(each, row, imported)
            elif self.index.was_dropped(id):
                if imported:
                    return each.record
                raise IdConflict(f"the id {_shown(id)} belongs to a record that vacuum has removed", id=id)
            return None
        payload, line = codec.assemble(each.record, each.fields, id, None, None), self.index.line(row)
        if codec.same_content(payload, line):
            try:
                return codec.decode(line)
            except codec.DECODE_ERRORS:
                pass  # only its id could be read
        raise IdConflict(f"the id {_shown(id)} is taken by a record with other content", id=id)

    def _check_restores(self, each: EncodedRecord, row: int, imported: bool) -> None:
        """Raises IdConflict unless this is the entry that was lost at a row."""
        record = each.record
        if imported and isinstance(record, Entry):
            payload = codec.assemble(record, each.fields, record.id, record.parent_id, record.timestamp)
            if lost.restores(self.index.line(row), payload):
                return
        raise IdConflict(
            f"the entry {_shown(record.id)} is lost: its line was damaged; "
            "extend() takes it back with the parent, time and content that it had",
            id=record.id,
        )

    def _add(self, each: EncodedRecord, parent_id: str | None, timestamp: str | None) -> Entry | Mark:
        record = each.record
        self._check_references(record, parent_id)
        id = record.id or self._fresh_id()
        self._payloads.append(codec.assemble(record, each.fields, id, parent_id, timestamp))
        added: Entry | Mark
        if isinstance(record, Entry):
            added = msgspec.structs.replace(record, id=id, parent_id=parent_id, timestamp=timestamp)
            self._parents[id] = parent_id
        else:
            added = msgspec.structs.replace(record, id=id, timestamp=timestamp)
            self._marks.add(id)
        self.added.append(added)
        return added

    def _check_references(self, record: Entry | Mark, parent_id: str | None) -> None:
        """Raises unless every entry that a record refers to is above it."""
        if isinstance(record, Entry):
            if parent_id is not None and parent_id != self.index.state.leaf.id:
                self._check_above(parent_id)
            if isinstance(record, VacuumEntry) and record.id not in self.index.state.lost:
                self._check_is_first()
            if isinstance(record, CompactionEntry) and record.first_kept_entry_id is not None:
                self._check_kept(record.first_kept_entry_id, parent_id)
        elif isinstance(record, LeafMark | LabelMark) and record.target_id is not None:
            self._check_above(record.target_id)

    def _check_is_first(self) -> None:
        if self.added or len(self.index.tree):
            raise InvalidMessage("a vacuum entry can only be the first record of a log", place="vacuum")

    def _check_above(self, id: str) -> None:
        if id not in self._parents:
            self.row_of(id)

    def _check_kept(self, kept_id: str, parent_id: str | None) -> None:
        while parent_id is not None and parent_id != kept_id and parent_id in self._parents:
            parent_id = self._parents[parent_id]
        if parent_id == kept_id:
            return
        row = self.index.node(kept_id)
        if row is None or parent_id is None or not self.index.tree.is_ancestor(row, self.row_of(parent_id)):
            raise _not_kept(kept_id)

    def _fresh_id(self) -> str:
        find = self.index.tree.ids.find
        while True:
            id = self._id_source()
            taken = id in self._parents or id in self._marks or find(id) is not None or self.index.was_dropped(id)
            if not taken:
                return id


def reseal(header_payload: bytes, payloads: Iterable[bytes]) -> Iterator[bytes]:
    """Seals payloads as the lines of a new log, and yields them."""
    prev = 0
    for payload in chain((header_payload,), payloads):
        line, prev = codec.seal_line(payload, prev)
        yield line


def _not_found(id: Any) -> EntryNotFound:
    return EntryNotFound(f"no entry {_shown(id)} in this log", id=id)


def _not_kept(id: Any) -> InvalidCompaction:
    return InvalidCompaction(
        f"first_kept_entry_id {_shown(id)} is not on the path that the compaction continues; take an id from path()"
    )


def _shown(id: Any) -> str:
    return repr(id)[:140] if isinstance(id, str) else type(id).__name__
