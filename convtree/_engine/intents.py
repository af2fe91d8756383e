"""Intents: a write, described as data. Pure.

An intent is frozen and made outside the log's lock, of records that are checked and encoded. `Journal.write` has it
planned under the lock, when the index knows every line of the log, and plans it again from nothing if the log turns
out to be another. So planning adds lines to a batch, or raises, and has no other effect.

One more intent, the summary that a plan was made for, is in `_session.landing`: it needs the rules of compaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine import tree
from convtree._engine.expected import ANYTHING, Expected
from convtree._engine.leaf import LEAF, AtLeaf, SeenLeaf, only_notes_below
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_record
from convtree._model.entries import Entry, LabelMark, LeafMark


class Intent(Protocol):
    """A write that can be planned again if the log changes."""

    moves_leaf: ClassVar[bool]
    """Whether the session has seen the log's leaf once this is written, unless the batch `keeps_leaf`."""

    def plan(self, batch: WriteBatch) -> None:
        """Adds the lines to an empty batch; no line when the log needs none. An error means that nothing is written."""
        ...


class Append(msgspec.Struct, frozen=True):
    """A chain of entries below `parent_id`, where a reply to `reply_to` belongs, or below the leaf.

    Instead of below the leaf, a result whose call is on another branch goes there.

    Those that are stored already are a retry. `label` is for the last one. Without `move_leaf`, the leaf stays.
    """

    records: Sequence[EncodedRecord]
    parent_id: str | AtLeaf | None
    seen: SeenLeaf
    reply_to: str | None = None
    label: str | None = None
    move_leaf: bool = True
    expected: Expected = ANYTHING

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the records that are new. Only then the parent or the leaf is looked at."""
        stored = batch.skip_stored(self.records)
        if stored == len(self.records):
            batch.keeps_leaf = not self.move_leaf
            return
        if self.expected:
            batch.check_expected(self.expected, self._begun_id(batch))
        stays = not self.move_leaf
        if self.parent_id is not LEAF:
            parent_id = batch.end_of_stored(self.parent_id)
        elif self.reply_to is None:
            seen = msgspec.structs.replace(self.seen, id=batch.end_of_stored(self.seen.id)) if stored else self.seen
            parent_id, elsewhere = batch.place_of_result(self.records[stored], batch.current_leaf(seen))
            stays = stays or elsewhere
        else:
            answered_end, elsewhere = batch.place_of_reply(self.reply_to)
            parent_id, stays = batch.end_of_stored(answered_end), stays or elsewhere
        batch.add_chain(self.records[stored:], parent_id)
        if self.label is not None and batch.added[-1] is batch.stored[-1]:
            batch.add_mark(encode_record(LabelMark(target_id=batch.added[-1].id, label=self.label)))
        if stays:
            batch.keep_leaf()

    def _begun_id(self, batch: WriteBatch) -> str | UnsetType | None:
        """Returns the last record that is stored already, if it is where this call would put it; else UNSET."""
        last = batch.stored[-1].id if batch.stored else UNSET
        place = self.expected.leaf_id if self.parent_id is LEAF else self.parent_id
        is_in_place = place is UNSET or (place != last and batch.end_of_stored(place) == last)
        return last if is_in_place else UNSET


class MoveLeaf(msgspec.Struct, frozen=True):
    """A mark that the leaf is at `target_id`; None is the place before the first entry."""

    target_id: str | None
    mark: EncodedRecord
    expected: Expected = ANYTHING

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds a mark, unless the leaf is certain and already there. One with an id is added so that a retry finds it.

        A retry has seen the leaf only if it is still there.
        """
        leaf_id = batch.index.state.leaf.id
        if batch.is_stored(self.mark):
            batch.keeps_leaf = leaf_id != self.target_id
            return
        batch.check_expected(self.expected)
        if self.target_id is not None:
            batch.row_of(self.target_id)
        is_there = leaf_id == self.target_id and batch.index.state.leaf_uncertain_because is None
        if not is_there or self.mark.record.id:
            batch.add_mark(self.mark)


class AddMark(msgspec.Struct, frozen=True):
    """A mark that does not move the leaf: a label, a name, an archive flag, metadata."""

    mark: EncodedRecord

    moves_leaf: ClassVar[bool] = False

    def plan(self, batch: WriteBatch) -> None:
        """Adds the mark, unless it is stored already."""
        if not batch.is_stored(self.mark):
            batch.add_mark(self.mark)


class Import(msgspec.Struct, frozen=True):
    """Records with their own ids, parents and times. Those that are stored already are passed over.

    The leaf moves as they say, unless somebody else said something since the client has `seen` it, or without
    `move_leaf`. With something `expected`, they are stored together.
    """

    records: Sequence[EncodedRecord]
    seen: SeenLeaf
    move_leaf: bool = True
    expected: Expected = ANYTHING

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the records that are new. They need not be stored together, unless a mark must keep the leaf in place.

        An import can be repeated.
        """
        batch.check_expected(self.expected)
        stays = self._stays(batch)
        batch.fetch_stored(self.records)
        for each in self.records:
            batch.add_imported(each)
        moving = any(isinstance(each, Entry | LeafMark) for each in batch.added)
        stays = stays and moving
        batch.is_group = stays or bool(self.expected)
        if stays:
            batch.keep_leaf()

    def _stays(self, batch: WriteBatch) -> bool:
        """Returns whether the leaf stays where it is. An uncertain one is set by what comes."""
        index = batch.index
        if index.state.leaf_uncertain_because is not None:
            return False
        if not self.move_leaf or self.expected:
            return not self.move_leaf
        above = None if self.seen.id is None else index.node(self.seen.id)
        return not only_notes_below(index, tree.ROOT if above is None else above, index.state.leaf.row)


class CompleteTail(msgspec.Struct, frozen=True):
    """Writes nothing: the log's append cuts off, or completes, what an earlier write left unfinished."""

    moves_leaf: ClassVar[bool] = False

    def plan(self, batch: WriteBatch) -> None:
        """Adds nothing."""
