"""Where a summary comes to stand: the intent that writes the summary a plan was made for. Pure.

Between a plan and its summary a model is asked, which takes as long as it takes. So the leaf may have moved, and the
plan is asked again, under the log's lock, whether it holds where the summary would go.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from convtree._engine import tree
from convtree._engine.leaf import LEAF, AtLeaf, SeenLeaf
from convtree._engine.write_batch import EncodedRecord, WriteBatch
from convtree._model.errors import StaleLeaf
from convtree._session.compaction import BranchPlan, CompactionPlan, is_still_valid


class ApplySummary(msgspec.Struct, frozen=True):
    """The compaction or branch summary of a plan, below `parent_id` or the leaf, if the plan still holds there."""

    summary_of: CompactionPlan | BranchPlan
    record: EncodedRecord
    parent_id: str | AtLeaf | None
    seen: SeenLeaf

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Follows a leaf that has moved, unless the session branches then.

        Raises:
            StaleLeaf: the plan does not hold at the leaf as it is now.
        """
        leaf_id = batch.current_leaf(self.seen if self.seen.on_stale == "branch" else SeenLeaf(self.seen.id, "rebase"))
        row = tree.ROOT if leaf_id is None else batch.row_of(leaf_id)
        if not is_still_valid(self.summary_of, batch.index, row):
            planned_at = self.summary_of.leaf_id
            raise StaleLeaf(
                f"the plan was made for the leaf {planned_at!r} and does not hold at the leaf {leaf_id!r}; "
                "call refresh(), then make another plan",
                expected=planned_at,
                actual=leaf_id,
            )
        batch.add_chain([self.record], leaf_id if self.parent_id is LEAF else self.parent_id)
