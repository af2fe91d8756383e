"""The fast path of appends: plain entries, and moves of the leaf. Pure; it calls the log.

An ordinary append plans its lines under the log's lock, because the plan depends on what others wrote (`write_batch`).
A plain entry, a message or extension data, needs no plan: its id is new, it refers to nothing, and its parent is known.
So its line is made before the lock, and the log takes it only if it still ends where the last one did. If anything is
not as usual, nothing is written, and the append goes the ordinary way. Both ways write the same bytes.

A plain entry may also be below another entry that the index has, and a leaf mark may move the leaf to such an entry.

The index gets these lines later, all at once (`settle`): when somebody asks for it, or when the run is full.

An append changes the state by one call of C, so an exception from a signal handler finds all of it done, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, cast

from convtree._engine import bulk, codec, tree
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.index_state import Leaf
from convtree._engine.log import AppendAt
from convtree._model.entries import ExtensionDataEntry, MessageEntry, Record
from convtree._model.sources import Clock, IdSource, random_id, timestamp

if TYPE_CHECKING:
    from convtree._engine.log_index import Index

_ENVELOPE_BYTES = 512  # more than a line has around the fields of its entry

Line = tuple[str, int, int, int, int | None, str | None, int]
"""A line of a log: the leaf's id once it is written, its position and length, and its CRC.

Then the row that it goes to: that of the parent of an entry, or of the target of a leaf mark. None for an entry that
continues the leaf. Then the id of a leaf mark; None for an entry. Last its kind in the tree.
"""
_LEAF, _MARK_ID = itemgetter(0), itemgetter(5)


class Fields(NamedTuple):
    """The fields of an entry as a run takes them.

    Attributes:
        members: as `codec.encode_fields` makes them, without the braces.
        id: the id that it brings, which is not taken; empty if it gets a fresh one.
        type: its type.
    """

    members: bytes
    id: str = ""
    type: str = "message"


_KINDS = {"message": tree.MESSAGE, "extension_data": tree.EXTENSION_DATA}


class Run:
    """Plain entries and leaf marks at the end of a log whose index lacks them.

    There are at most `limit` of them, with those that the index was given, and the log ends before `limit_end`.
    """

    __slots__ = (
        *("_added", "_append_at", "_clock", "_has_moves", "_id_source"),
        *("_index", "_limit", "_limit_end", "_marks_groups"),
    )

    def __init__(
        self,
        index: Index,
        append_at: AppendAt,
        marks_groups: bool,
        clock: Clock,
        id_source: IdSource,
        *,
        limit: int,
        limit_end: int,
    ) -> None:
        self._index = index
        self._append_at = append_at
        self._marks_groups = marks_groups
        self._clock = clock
        self._id_source = id_source
        state = index.state
        #: the lines that the index lacks, behind the last line that it has
        self._added: list[Line] = [(cast(str, state.leaf.id), state.end - 1, 0, state.last_crc, None, None, tree.MARK)]
        self._has_moves = False  # set before a line is written that goes to another place than the leaf
        self._limit = limit
        self._limit_end = limit_end

    @property
    def unsettled(self) -> int:
        """How many records the index lacks."""
        return len(self._added) - 1

    @property
    def room(self) -> int:
        """How many more entries it takes, if they are not long."""
        return self._limit - self.unsettled

    def takes(self, record: Record, at_leaf: bool) -> bool:
        """Returns whether a record, which goes to the leaf or elsewhere, changes nothing but the leaf."""
        if record.__class__ is ExtensionDataEntry:
            return True
        return (
            isinstance(record, MessageEntry)
            and record.visible_to == "all"
            and not record.pinned
            and record.replaces is None
            and (record.model is None or (at_leaf and self._is_known_model(record)))
        )

    def _is_known_model(self, record: MessageEntry) -> bool:
        """Returns whether the model of a message is that at the leaf, so that the index need not know it."""
        return not self._has_moves and self._index.is_leaf_model(record.provider, record.model)

    def ends_with(self, revision: str | None) -> bool:
        """Returns whether this is the id of the last record; False, too, if a line had to be read to know it."""
        leaf_id, _, _, _, _, mark_id, _ = self._added[-1]
        if len(self._added) > 1:
            return (mark_id or leaf_id) == revision
        index, state = self._index, self._index.state
        return leaf_id == revision and state.leaf.row == len(index.tree) - 1 and not state.restored

    @property
    def leaf_id(self) -> str:
        """The leaf of the log."""
        return self._added[-1][0]

    def append(
        self,
        members: bytes,
        parent_id: str | None,
        row: int | None = None,
        own_id: str = "",
        type: str = "message",
    ) -> tuple[str, str, str] | None:
        """Appends an entry that the run takes.

        Args:
            members: its fields, as `codec.encode_fields` makes them, without the braces.
            parent_id: the entry to append below.
            row: the row of that entry, see `Journal.row_of`; None if it must be the leaf.
            own_id: the id that it brings, which is not taken; empty for a fresh one.
            type: its type.

        Returns:
            The entry's id, parent and timestamp; None if nothing was written.

        Raises:
            OSError: the write failed; no line was added, or the log is failed.
        """
        added = self._added
        leaf_id, start, length, crc, _, _, _ = added[-1]
        start += length + 1
        length = len(members) + _ENVELOPE_BYTES
        is_leaf = parent_id == leaf_id
        if (
            parent_id is None
            or (row is None and not is_leaf)
            or len(added) > self._limit  # `room`, flat
            or start + length > self._limit_end
            or length > codec.LINE_LIMIT
        ):
            return None
        if is_leaf:
            row = None
        else:
            self._has_moves = True
        id = own_id or self._id_source()
        time = timestamp(self._clock)
        line, crc = codec.entry_line(id, parent_id, type, time, members, crc)
        if (not own_id and self._id_source is not random_id and self._is_taken(id)) or not self._append_at(
            start, line + b"\n"
        ):
            return None
        added.append((id, start, len(line), crc, row, None, _KINDS[type]))
        return id, parent_id, time

    def move_leaf(self, target_id: str, row: int) -> bool:
        """Appends a mark that the leaf is at another entry, whose row is `row`; returns whether it did."""
        added = self._added
        leaf_id, start, length, crc, _, _, _ = added[-1]
        start += length + 1
        if leaf_id == target_id or len(added) > self._limit or start + _ENVELOPE_BYTES > self._limit_end:
            return False
        self._has_moves = True
        id = self._id_source()
        line, crc = codec.leaf_line(id, target_id, timestamp(self._clock), crc)
        if (self._id_source is not random_id and self._is_taken(id)) or not self._append_at(start, line + b"\n"):
            return False
        added.append((target_id, start, len(line), crc, row, id, tree.MARK))
        return True

    def append_many(
        self, entries: Sequence[Fields], parent_id: str | None, row: int | None = None
    ) -> list[tuple[str, str, str]] | None:
        """Appends entries, at least one, as a chain with one write: see `append`."""
        added = self._added
        leaf_id, start, length, crc, _, _, _ = added[-1]
        begin = start = start + length + 1
        lengths = [len(each.members) for each in entries]
        is_leaf = parent_id == leaf_id
        if (
            parent_id is None
            or (row is None and not is_leaf)
            or len(entries) > self.room
            or max(lengths) + _ENVELOPE_BYTES > codec.LINE_LIMIT
        ):
            return None
        if start + sum(lengths) + (len(entries) + 1) * _ENVELOPE_BYTES > self._limit_end:
            return None
        if is_leaf:
            row = None
        else:
            self._has_moves = True
        time = timestamp(self._clock)
        is_group = self._marks_groups and len(entries) > 1
        ids = [each.id or self._id_source() for each in entries]
        if is_group:
            ids.append(self._id_source())
        if self._id_source is not random_id and (len(set(ids)) < len(ids) or any(map(self._is_taken, ids))):
            return None
        lines, new, placed = list[bytes](), list[Line](), list[tuple[str, str, str]]()
        if is_group:
            mark, crc = codec.seal_line(codec.encode_group(ids[-1], timestamp(self._clock), len(entries)), crc)
            lines.append(mark)
            start += len(mark) + 1
        for id, (members, _, type) in zip(ids, entries, strict=False):
            line, crc = codec.entry_line(id, parent_id, type, time, members, crc)
            lines.append(line)
            placed.append((id, parent_id, time))
            new.append((id, start, len(line), crc, row, None, _KINDS[type]))
            start += len(line) + 1
            parent_id, row = id, None
        lines.append(b"")
        if not self._append_at(begin, b"\n".join(lines)):
            return None
        added.extend(new)
        return placed

    def has_entry(self, id: str) -> bool:
        """Returns whether an entry that the index lacks has this id. The leaf that a mark names is an entry, too."""
        return id in map(_LEAF, self._added)

    def has_record(self, id: str) -> bool:
        """Returns whether a record that the index lacks has this id, or is at an entry that has."""
        return id in map(_LEAF, self._added) or id in map(_MARK_ID, self._added)

    def _is_taken(self, id: str) -> bool:
        """Returns whether a record has this id. Not asked for random ids: 64 random bits do not come twice."""
        try:
            return self.has_record(id) or self._index.is_taken(id)
        except SnapshotDamaged:
            return True  # the ordinary way reads the log instead

    def settle(self) -> None:
        """Gives the index what it lacks. If that is interrupted, the index must be made anew."""
        index, state, added = self._index, self._index.state, self._added
        ids, starts, lengths, crcs, rows, marks, kinds = map(list, zip(*added[1:], strict=True))
        ends = [state.end, *(start + length + 1 for start, length in zip(starts, lengths, strict=True))]
        groups = sum(start != end for start, end in zip(starts, ends, strict=False))  # a group mark lies in between
        leaf_row, parents = state.leaf.row, list[int]()
        for number, (row, mark) in enumerate(zip(rows, marks, strict=True), len(index.tree)):
            parents.append(tree.ROOT if mark else leaf_row if row is None else row)
            leaf_row = row if mark else number
        record_ids = [mark or id for mark, id in zip(marks, ids, strict=True)]
        bulk.add_new(index.tree, record_ids, parents, kinds, starts, lengths)
        known_model = all(row is None for row in rows)
        index.move_leaf(Leaf(leaf_row, ids[-1]), known_model=known_model)
        state.lines += len(ids) + groups
        state.last_crc = crcs[-1]
        state.end = ends[-1]
        self._added = added[-1:]
        self._limit -= len(ids)  # also of what comes later: behind it, an index may have to be saved
        self._has_moves = False
