"""The intents that write a summary: of what a plan stands for, and of a branch that is left. Pure.

A plan is checked once more here, under the log's lock, at the current leaf. A retry is noticed before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import msgspec

from convtree._engine import tree
from convtree._engine.expected import Expected
from convtree._engine.intents import Append
from convtree._engine.leaf import LEAF, AtLeaf, SeenLeaf
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_record
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, Mark
from convtree._model.errors import IdConflict, StaleLeaf

if TYPE_CHECKING:
    from convtree._session.compaction import BranchPlan, CompactionPlan

S = TypeVar("S", bound=CompactionEntry | BranchSummaryEntry)


class ApplySummary(msgspec.Struct, frozen=True):
    """The compaction or branch summary of a plan, below `parent_id` or the leaf, if the plan still holds there.

    With `any_words`, a summary that is stored with its id is this one, whatever its words: a model was asked twice.
    """

    summary_of: CompactionPlan | BranchPlan
    record: EncodedRecord
    parent_id: str | AtLeaf | None
    seen: SeenLeaf
    expected: Expected
    any_words: bool

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the summary. If the leaf has moved, continues the new leaf, unless `on_stale` is "branch".

        Raises:
            StaleLeaf: the plan does not hold at the leaf as it is now, marks have changed what it stands for, or the
                log is not as expected.
            IdConflict: its id belongs to another record.
        """
        from convtree._session import compaction

        note = cast(CompactionEntry | BranchSummaryEntry, self.record.record)
        found = batch.index.record_with(note.id) if self.any_words else None
        if found is not None:
            batch.stored.append(same_call(found, note))
            return
        if batch.skip_stored([self.record]):
            return
        batch.check_expected(self.expected)
        leaf_id = batch.current_leaf(self.seen.or_newer())
        row = tree.ROOT if leaf_id is None else batch.row_of(leaf_id)
        if not compaction.is_still_valid(self.summary_of, batch.index, row):
            planned_at = self.summary_of.leaf_id
            reason = f"the plan was made for the leaf {planned_at!r} and does not hold at the leaf {leaf_id!r}"
            if planned_at == leaf_id:
                reason = "a message that the summary stands for was hidden, shown, pinned or unpinned since the plan"
            raise StaleLeaf(
                f"{reason}; call refresh(), then make another plan",
                expected=planned_at,
                actual=leaf_id,
            )
        batch.add_chain([self.record], leaf_id if self.parent_id is LEAF else self.parent_id)


class LeaveBranch(msgspec.Struct, frozen=True):
    """A branch summary below `target_id`. Planning fills in the leaf that is left: a retry would name another one."""

    record: EncodedRecord
    target_id: str | None
    seen: SeenLeaf
    expected: Expected

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the summary, unless it is stored already."""
        note = cast(BranchSummaryEntry, self.record.record)
        stored = batch.index.record_with(note.id)
        if isinstance(stored, BranchSummaryEntry):
            left = stored.from_id
        else:
            left = batch.index.state.leaf.id if self.expected else self.seen.id
        record = encode_record(msgspec.structs.replace(note, from_id=left))
        Append([record], self.target_id, self.seen, expected=self.expected).plan(batch)


def same_call(stored: Entry | Mark, note: S) -> S:
    """Returns the summary that an earlier try of a call has stored: of the kind of `note`, with its details.

    Its words may be others, because a model was asked each time.

    Raises:
        IdConflict: it is another record.
    """
    if isinstance(stored, type(note)) and stored.details == note.details:
        return stored
    raise IdConflict(f"the id {stored.id!r} is taken by a record with other content", id=stored.id)
