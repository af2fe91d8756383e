"""The fast path of appends: plain messages, each of which continues the one before. Pure; it calls the log.

An ordinary append plans its lines under the log's lock, because the plan depends on what others wrote (`write_batch`).
A plain message needs no plan: it has a fresh id, refers to nothing, and its parent is known. So its line is made
before the lock, and the log takes it only if it still ends where the last one did. If anything is not as usual, nothing
is written, and the append goes the ordinary way. Both ways write the same bytes.

The index gets these messages later, all at once (`settle`): when somebody asks for it, or when the run is full.

An append changes the state by one call of C, so an exception from a signal handler finds all of it done, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from convtree._engine import bulk, codec
from convtree._engine.call_places import results_in
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.index_state import Leaf
from convtree._engine.log import AppendAt
from convtree._model.entries import MessageEntry, Record
from convtree._model.sources import Clock, IdSource, random_id, timestamp

if TYPE_CHECKING:
    from convtree._engine.log_index import Index

_ENVELOPE_BYTES = 512  # more than a line has around the fields of its message

Line = tuple[str, int, int, int]
"""A line of a log: the id of its record, its position and length, and its CRC."""


class Run:
    """Plain messages at the end of a log whose index lacks them. The first is below `parent`, an entry of the index.

    There are at most `limit` of them, and the log ends before `limit_end`.
    """

    __slots__ = (
        *("_added", "_append_at", "_clock", "_id_source", "_index"),
        *("_limit", "_limit_end", "_marks_groups", "_parent"),
    )

    def __init__(
        self,
        index: Index,
        append_at: AppendAt,
        marks_groups: bool,
        clock: Clock,
        id_source: IdSource,
        *,
        parent: Leaf,
        limit: int,
        limit_end: int,
    ) -> None:
        self._index = index
        self._append_at = append_at
        self._marks_groups = marks_groups
        self._clock = clock
        self._id_source = id_source
        state = index.state
        #: the messages that the index lacks, behind the last line that it has
        self._added: list[Line] = [(cast(str, parent.id), state.end - 1, 0, state.last_crc)]
        self._parent = parent
        self._limit = limit
        self._limit_end = limit_end

    @property
    def unsettled(self) -> int:
        """How many messages the index lacks."""
        return len(self._added) - 1

    @property
    def room(self) -> int:
        """How many more messages it takes, if they are not long."""
        return self._limit - self.unsettled

    def takes(self, record: Record) -> bool:
        """Returns whether a record is a plain message: it changes nothing but the leaf, and its place is the leaf."""
        return (
            isinstance(record, MessageEntry)
            and record.id == ""
            and record.visible_to == "all"
            and not record.pinned
            and record.replaces is None
            and (record.model is None or self._is_known_model(record))
            and not results_in(record)
        )

    def _is_known_model(self, record: MessageEntry) -> bool:
        """Returns whether the model of a message is that of its parent, so that the index need not know it."""
        index = self._index
        return index.is_leaf_model(record.provider, record.model) and self._parent == index.state.leaf

    def append(self, members: bytes, leaf_id: str | None) -> tuple[str, str, str] | None:
        """Appends a message that the run takes.

        Args:
            members: its fields, as `codec.encode_fields` makes them, without the braces.
            leaf_id: the leaf that the session has seen.

        Returns:
            The entry's id, parent and timestamp; None if nothing was written.

        Raises:
            OSError: the write failed; no line was added, or the log is failed.
        """
        added = self._added
        parent_id, start, length, crc = added[-1]
        start += length + 1
        length = len(members) + _ENVELOPE_BYTES
        if (
            parent_id != leaf_id
            or len(added) > self._limit  # `room`, flat
            or start + length > self._limit_end
            or length > codec.LINE_LIMIT
        ):
            return None
        id = self._id_source()
        time = timestamp(self._clock)
        line, crc = codec.message_line(id, parent_id, time, members, crc)
        if (self._id_source is not random_id and self._is_taken(id)) or not self._append_at(start, line + b"\n"):
            return None
        added.append((id, start, len(line), crc))
        return id, parent_id, time

    def append_many(self, messages: Sequence[bytes], leaf_id: str | None) -> list[tuple[str, str, str]] | None:
        """Appends messages, at least one, as a chain with one write: see `append`."""
        added = self._added
        parent_id, start, length, crc = added[-1]
        begin = start = start + length + 1
        longest = max(map(len, messages)) + _ENVELOPE_BYTES
        if parent_id != leaf_id or len(messages) > self.room or longest > codec.LINE_LIMIT:
            return None
        if start + sum(map(len, messages)) + (len(messages) + 1) * _ENVELOPE_BYTES > self._limit_end:
            return None
        time = timestamp(self._clock)
        is_group = self._marks_groups and len(messages) > 1
        ids = [self._id_source() for _ in range(len(messages) + is_group)]
        if self._id_source is not random_id and (len(set(ids)) < len(ids) or any(map(self._is_taken, ids))):
            return None
        lines, new, placed = list[bytes](), list[Line](), list[tuple[str, str, str]]()
        if is_group:
            mark, crc = codec.seal_line(codec.encode_group(ids[-1], timestamp(self._clock), len(messages)), crc)
            lines.append(mark)
            start += len(mark) + 1
        for id, members in zip(ids, messages, strict=False):
            line, crc = codec.message_line(id, parent_id, time, members, crc)
            lines.append(line)
            placed.append((id, parent_id, time))
            new.append((id, start, len(line), crc))
            start += len(line) + 1
            parent_id = id
        lines.append(b"")
        if not self._append_at(begin, b"\n".join(lines)):
            return None
        added.extend(new)
        return placed

    def _is_taken(self, id: str) -> bool:
        """Returns whether a record has this id. Not asked for random ids: 64 random bits do not come twice."""
        try:
            return any(id == other for other, *_ in self._added) or self._index.is_taken(id)
        except SnapshotDamaged:
            return True  # the ordinary way reads the log instead

    def settle(self) -> None:
        """Gives the index what it lacks. If that is interrupted, the index must be made anew."""
        index, state, added = self._index, self._index.state, self._added
        ids, starts, lengths, crcs = map(list, zip(*added[1:], strict=True))
        ends = [state.end, *(start + length + 1 for start, length in zip(starts, lengths, strict=True))]
        groups = sum(start != end for start, end in zip(starts, ends, strict=False))  # a group mark lies in between
        bulk.add_plain(index.tree, ids, self._parent.row, starts, lengths, are_new=True)
        index.move_leaf(Leaf(len(index.tree) - 1, ids[-1]), known_model=self._parent == state.leaf)
        self._parent = state.leaf
        state.lines += len(ids) + groups
        state.last_crc = crcs[-1]
        state.end = ends[-1]
        self._added = added[-1:]
