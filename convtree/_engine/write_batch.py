"""Records on their way into a log: checked and encoded outside the lock, given a place inside it. Pure.

`encode_record` does every check that needs no log. A `WriteBatch` makes lines that follow the last line of an index:
an id that is stored already is a retry and adds nothing, and an entry that a record refers to must be above it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine import codec, lost, tree
from convtree._engine.call_places import call_elsewhere, end_of_results, results_in
from convtree._engine.expected import Expected
from convtree._engine.index_state import Leaf
from convtree._engine.leaf import SeenLeaf, only_notes_below
from convtree._engine.log_index import Index
from convtree._model.batches import batched
from convtree._model.entries import (
    CHOICES,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    LabelMark,
    LeafMark,
    LostEntry,
    Mark,
    MessageEntry,
    Record,
    VacuumEntry,
    VisibilityMark,
)
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
        raise _not_valid(record, str(error)) from None


def _not_valid(record: Record, error: str) -> InvalidMessage:
    """Makes the error for a field of another type than the format has; `error` is what the decoder says."""
    reason, _, path = error.partition(" - at `$.")
    place = path.rstrip("`") or record.type
    allowed = CHOICES.get(place, ())
    if allowed and "enum" in reason:
        reason = f"{reason}; expected {', '.join(map(repr, allowed))}"
    return InvalidMessage(f"{place}: {reason}", place=place)


def encode_imported(record: Record) -> EncodedRecord:
    """Checks and encodes a record that brings its own parent and time.

    Raises:
        TypeError: it is not a record.
        As `encode_record`.
    """
    if not isinstance(record, Entry | Mark):
        raise TypeError(f"an entry or a mark is needed, not a {type(record).__name__}")
    codec.check_timestamp(record.timestamp)
    checked, fields = encode_record(record)
    own: dict[str, Any] = {"timestamp": record.timestamp}
    if isinstance(record, Entry):
        own["parent_id"] = record.parent_id
    return EncodedRecord(msgspec.structs.replace(checked, **own), fields)


def _check_reference(record: Record) -> None:
    """Refuses a reference that cannot be an id, with the error of an unknown id."""
    if isinstance(record, LeafMark | LabelMark | VisibilityMark) and not isinstance(record.target_id, str | None):
        raise _not_found(record.target_id)
    if isinstance(record, CompactionEntry) and not isinstance(record.first_kept_entry_id, str | None):
        raise _not_kept(record.first_kept_entry_id)
    if isinstance(record, VacuumEntry) and isinstance(record.dropped_ids, str):
        _check_dropped(record.dropped_ids)


def _check_dropped(ids: str) -> None:
    """Refuses ids that cannot be read: nothing could be appended to the log any more."""
    from convtree._engine.dropped import DroppedIds

    try:
        DroppedIds(ids)
    except ValueError as error:
        raise InvalidMessage(f"dropped_ids: {error}", place="dropped_ids") from None


class WriteBatch:
    """Lines to append to a log as one write. Made and filled under the log's lock.

    `added` are the records that get a line. `stored` has one record for each requested one, in order: the added record,
    or the record with that id that the log has already. `seal` makes the lines; then `crc` is that of the last one.
    `keeps_leaf` says that the log's leaf, and the leaf that the session has seen, stay where they are.
    """

    def __init__(
        self, index: Index, location: str, clock: Clock, id_source: IdSource, leaf_before_tail: Leaf | None = None
    ) -> None:
        self.index = index
        self._location = location
        self._clock = clock
        self._id_source = id_source
        self._parents: dict[str, str | None] = {}  # of the entries added
        self._fetched: dict[str, tuple[int, bytes]] | None = None  # rows and lines of the log, by id
        self._hideable: set[str] = set()  # those of them that a visibility mark can have as its target
        self._marks: set[str] = set()  # ids of the marks added
        self._header_payload: bytes | None = None
        self._payloads: list[bytes] = []  # of the records added
        self.crc = index.state.last_crc
        self._leaf_before_tail = leaf_before_tail  # the leaf before a last line that this write completes
        self.is_group = True  # whether its lines must be stored together
        self.added: list[Entry | Mark] = []
        self.stored: list[Entry | Mark] = []
        self.keeps_leaf = False

    @property
    def payloads(self) -> Sequence[bytes]:
        """The payloads of the records added."""
        return self._payloads

    def begin(self, header_payload: bytes) -> None:
        """Sets the header of a log that has no line yet."""
        self._header_payload = header_payload

    def seal(self, append_is_atomic: bool) -> list[bytes]:
        """Seals what was added as the lines that follow the log's last one; none if nothing was added.

        Before several lines goes a group mark, unless the log keeps an append together by itself. Lines that are too
        many for one group are several.
        """
        payloads = self._payloads
        if len(payloads) > 1 and self.is_group and not append_is_atomic:
            groups = list(batched(payloads, codec.GROUP_LIMIT))
            payloads = [payload for group in groups for payload in self._marked(group)]
        if payloads and self._header_payload is not None:
            payloads = [self._header_payload, *payloads]
        lines: list[bytes] = []
        for payload in payloads:
            line, self.crc = codec.seal_line(payload, self.crc)
            lines.append(line)
        return lines

    def _marked(self, group: list[bytes]) -> list[bytes]:
        if len(group) == 1:
            return group
        return [codec.encode_group(self._fresh_id(), timestamp(self._clock), len(group)), *group]

    def is_stored(self, each: EncodedRecord) -> bool:
        """Returns whether the log has this record, which brings its id: the call is a retry.

        Raises:
            IdConflict: the id is stored with other content.
        """
        return each.record.id != "" and self._match_stored(each) is not None

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
        """Adds entries as a chain below `parent_id`, with the time now. One stored already is no link of the chain."""
        now = timestamp(self._clock)
        for each in records:
            found = self._match_stored(each) if each.record.id else None
            if found is None:
                found = self._add(each, parent_id, now)
                parent_id = found.id
            self.stored.append(found)

    def fetch_stored(self, records: Sequence[EncodedRecord]) -> None:
        """Fetches the lines that the log has for the records of this batch at once, and not one by one."""
        self._fetched = self.index.lines_with(each.record.id for each in records)

    def add_imported(self, each: EncodedRecord) -> None:
        """Adds a record with its own id, parent and time, unless it is stored already."""
        record = each.record
        found = self._match_stored(each, imported=True) if record.id else None
        if found is None:
            found = self._add(each, getattr(record, "parent_id", None), record.timestamp, imported=True)
        self.stored.append(found)

    def add_mark(self, each: EncodedRecord) -> None:
        """Adds a mark, with the time now."""
        self.stored.append(self._add(each, None, timestamp(self._clock)))

    def keep_leaf(self) -> None:
        """Adds a mark that the leaf is where it was before this batch, so that what was added does not move it.

        Raises:
            LeafUncertain: it is not known where it was.
        """
        self._check_leaf_certain()
        self.add_mark(encode_record(LeafMark(target_id=self.index.state.leaf.id)))
        self.keeps_leaf = True

    def end_of_stored(self, parent_id: str | None) -> str | None:
        """Returns the last of the records in `stored` that are at the place `parent_id` already; else `parent_id`.

        They are where a chain below `parent_id` would be, so the rest of the chain continues them.
        """
        parents = self.index.tree.parents
        for each in self.stored:
            above = tree.ROOT if parent_id is None else self.index.node(parent_id)
            row = self.index.node(each.id)
            if above is not None and row is not None and only_notes_below(self.index, above, parents[row]):
                parent_id = each.id
        return parent_id

    def check_expected(self, expected: Expected, begun_id: str | UnsetType | None = UNSET) -> None:
        """Raises StaleLeaf if the log is not as expected, see `Expected.check`."""
        expected.check(self.index, self._location, begun_id)

    def row_of(self, id: str) -> int:
        """Returns the row of an entry in the log.

        Raises:
            EntryNotFound: the log has no such entry.
        """
        if id == self.index.state.leaf.id:
            return self.index.state.leaf.row
        row = self.index.node(id) if isinstance(id, str) else None
        if row is None:
            self.index.check_not_dropped(id)
            raise _not_found(id)
        return row

    def current_leaf(self, seen: SeenLeaf) -> str | None:
        """Returns the leaf to continue for a session that last saw the leaf `seen`.

        Where others only added notes, that is the log's leaf.

        Raises:
            StaleLeaf: another session moved the leaf, and the policy in `seen` is "raise".
            LeafUncertain: damage lies behind the line that set the leaf.
        """
        self._check_leaf_certain()
        actual = self.index.state.leaf.id
        if actual == seen.id or seen.on_stale == "rebase" or self._only_notes_since(seen.id):
            return actual
        if seen.on_stale == "branch":
            return seen.id
        if self._leaf_before_tail is not None and self._leaf_before_tail.id == seen.id:
            return seen.id  # no reader could see the line of a write that was cut off; it becomes another branch
        raise StaleLeaf(
            f"another session moved the leaf from {seen.id!r} to {actual!r}; "
            "call refresh(), or pass reply_to, parent_id or on_stale",
            expected=seen.id,
            actual=actual,
        )

    def place_of_reply(self, answered_id: str) -> tuple[str | None, bool]:
        """Returns the parent of a reply to an entry, and whether the leaf stays where it is.

        The reply continues at the leaf if only notes lie between the entry and the leaf. Otherwise it is a child of the
        entry. The leaf stays if it is not at or below the entry. With an uncertain leaf, the reply is a child of the
        entry and the new leaf.

        Raises:
            EntryNotFound: the log has no such entry.
        """
        answered, state = self.row_of(answered_id), self.index.state
        if state.leaf_uncertain_because is not None:
            return answered_id, False
        if only_notes_below(self.index, answered, state.leaf.row):
            return state.leaf.id, False
        return answered_id, not self.index.tree.is_ancestor(answered, state.leaf.row)

    def place_of_result(self, each: EncodedRecord, leaf_id: str | None) -> tuple[str | None, bool]:
        """Returns the parent of a record that would continue the leaf, and whether the leaf stays where it is.

        That is the leaf, but for the result of a tool call that is not above the leaf, but on another branch. Such a
        result continues those that the message with the call has there, and the leaf stays.
        """
        results = results_in(each.record)
        if results:
            caller = call_elsewhere(self.index, results, tree.ROOT if leaf_id is None else self.row_of(leaf_id))
            if caller is not None:
                return self.place_of_reply(self.index.id_of(end_of_results(self.index, caller)))
        return leaf_id, False

    def _only_notes_since(self, id: str | None) -> bool:
        """Returns whether only notes lie between an entry and the log's leaf."""
        above = tree.ROOT if id is None else self.index.node(id)
        return above is not None and only_notes_below(self.index, above, self.index.state.leaf.row)

    def _check_leaf_certain(self) -> None:
        if self.index.state.leaf_uncertain_because is not None:
            raise self.index.leaf_uncertain(self._location)

    def _match_stored(self, each: EncodedRecord, imported: bool = False) -> Entry | Mark | None:
        """Returns the record of the log with the id that this one brings; None when the log has none, or lost it.

        An imported record that a vacuum has dropped counts as stored.

        Raises:
            IdConflict: that record has other content or was dropped, or this batch has the id already.
        """
        id = each.record.id
        row, line = self._stored_line(id)
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
        payload = codec.assemble(each.record, each.fields, id, None, None)
        line = self.index.line(row) if line is None else line
        if codec.same_content(payload, line):
            try:
                return codec.decode(line)
            except codec.DECODE_ERRORS:
                pass  # only its id could be read
        raise IdConflict(f"the id {_shown(id)} is taken by a record with other content", id=id)

    def _stored_line(self, id: str) -> tuple[int | None, bytes | None]:
        """Returns the row of an id in the log, and its line if that was fetched."""
        if self._fetched is None:
            return self.index.tree.find(id), None
        return self._fetched.get(id, (None, None))

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

    def _add(
        self, each: EncodedRecord, parent_id: str | None, timestamp: str | None, *, imported: bool = False
    ) -> Entry | Mark:
        record = each.record
        self._check_references(record, parent_id, imported)
        id = record.id or self._fresh_id()
        self._payloads.append(codec.assemble(record, each.fields, id, parent_id, timestamp))
        added: Entry | Mark
        if isinstance(record, Entry):
            added = msgspec.structs.replace(record, id=id, parent_id=parent_id, timestamp=timestamp)
            self._parents[id] = parent_id
            if isinstance(added, MessageEntry | BranchSummaryEntry | LostEntry):
                self._hideable.add(id)
        else:
            added = msgspec.structs.replace(record, id=id, timestamp=timestamp)
            self._marks.add(id)
        self.added.append(added)
        return added

    def _check_references(self, record: Entry | Mark, parent_id: str | None, imported: bool) -> None:
        """Raises unless every entry that a record refers to is above it, or was dropped above an imported one."""
        if isinstance(record, Entry):
            if parent_id is not None and parent_id != self.index.state.leaf.id:
                self._check_above(parent_id)
            if isinstance(record, VacuumEntry) and record.id not in self.index.state.lost:
                self._check_is_first()
            elif isinstance(record, MessageEntry):
                if record.replaces is not None:
                    self._check_replaced(record.replaces, parent_id, imported)
            elif isinstance(record, CompactionEntry) and record.first_kept_entry_id is not None:
                self._check_kept(record.first_kept_entry_id, parent_id, imported)
        elif isinstance(record, LeafMark | LabelMark) and record.target_id is not None:
            self._check_above(record.target_id)
        elif isinstance(record, VisibilityMark):
            self._check_hideable(record.target_id)

    def _check_is_first(self) -> None:
        if self.added or len(self.index.tree):
            raise InvalidMessage("a vacuum entry can only be the first record of a log", place="vacuum")

    def _check_above(self, id: str) -> None:
        if not isinstance(id, str) or id not in self._parents:
            self.row_of(id)

    def _check_hideable(self, id: str) -> None:
        if id in self._parents:
            known = id in self._hideable
        else:
            self.row_of(id)
            known = self.index.tree.hideable(id) != tree.NONE
        if not known:
            raise InvalidMessage(
                f"target_id: {_shown(id)} is neither a message nor a branch summary, and cannot be hidden or pinned",
                place="target_id",
            )

    def _check_kept(self, kept_id: str, parent_id: str | None, imported: bool) -> None:
        if not self._is_on_path(kept_id, parent_id) and not (imported and self._was_dropped(kept_id)):
            raise _not_kept(kept_id)

    def _check_replaced(self, replaced_id: str, parent_id: str | None, imported: bool) -> None:
        if not self._is_on_path(replaced_id, parent_id) and not (imported and self._was_dropped(replaced_id)):
            self._check_above(replaced_id)
            raise InvalidMessage(
                f"replaces: {_shown(replaced_id)} is not on the path to the message; take an id from path()",
                place="replaces",
            )

    def _was_dropped(self, id: str) -> bool:
        """Returns whether a vacuum has removed the entry with this id: in the log, or in the one that is copied."""
        if self.added and isinstance(root := self.added[0], VacuumEntry):
            from convtree._engine.dropped import DroppedIds

            return id in DroppedIds(root.dropped_ids)
        return self.index.was_dropped(id)

    def _is_on_path(self, id: str, end_id: str | None) -> bool:
        """Returns whether the path down to `end_id`, an entry of the log or of this batch, has the entry `id`."""
        while end_id is not None and end_id != id and end_id in self._parents:
            end_id = self._parents[end_id]
        if end_id is None or end_id == id:
            return end_id is not None
        row = self.index.node(id)
        return row is not None and self.index.tree.is_ancestor(row, self.row_of(end_id))

    def _fresh_id(self) -> str:
        return fresh_id(self.index, self._id_source, self._parents, self._marks)


def fresh_id(index: Index, id_source: IdSource, *taken: Container[str]) -> str:
    """Returns an id that no record of a log has, or had before a vacuum, and that is in none of the containers."""
    while True:
        id = id_source()
        if not any(id in each for each in taken) and not index.is_taken(id):
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
