"""The branches of a session: their tips, the labels that lead there, and the move to one of them. Pure."""

from __future__ import annotations

from typing import ClassVar, cast

import msgspec

from convtree._engine import tree
from convtree._engine.expected import Expected
from convtree._engine.intents import MoveLeaf
from convtree._engine.leaf import LEAF
from convtree._engine.write_batch import WriteBatch, encode_record
from convtree._model.entries import Entry, LeafMark, MessageEntry
from convtree._model.notes import is_activity
from convtree._session.view import SessionView


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A branch of a session, as `branches` lists it.

    Attributes:
        leaf: the entry at its tip.
        labels: the labels with which `checkout` leads to this tip, in the order of their entries.
        first_id: its first entry that is not on the path to the session's leaf; None if the whole branch is.
        fork_id: the last entry that it shares with that path; None if it shares none.
        last_activity: when somebody last said something on the path to its tip; None if that is unknown.
    """

    leaf: Entry
    labels: tuple[str, ...]
    first_id: str | None
    fork_id: str | None
    last_activity: str | None


def branches(self: SessionView) -> list[Branch]:
    """Returns the branches of the session, one for each entry that nothing was appended to, in log order.

    The branch whose `leaf` has the id `leaf_id` is the one that the session is on.

    Raises:
        BrokenPath: a line was damaged.
    """
    index = self.index
    tips = index.tree.tips()
    leaves = [row for row, tip in enumerate(tips) if row == tip and index.tree.is_node(row)]
    firsts = _first_differences(self, leaves)
    parents = index.tree.parents
    forks = {row: row if first == tree.ROOT else parents[first] for row, first in firsts.items()}
    named = sorted({row for row in (*firsts.values(), *forks.values()) if row >= 0})
    ids = dict(zip(named, self.ids(named), strict=True))
    labelled: dict[int, list[tuple[int, str]]] = {}
    for id, label in index.state.labels.items():
        row = self.row_of(id)
        labelled.setdefault(tips[row], []).append((row, label))
    return [
        Branch(
            leaf=leaf,
            labels=tuple(label for _, label in sorted(labelled.get(row, ()))),
            first_id=ids.get(firsts[row]),
            fork_id=ids.get(forks[row]),
            last_activity=_last_activity(self, row, leaf),
        )
        for row, leaf in zip(leaves, index.entries(leaves), strict=True)
    ]


def _first_differences(view: SessionView, leaves: list[int]) -> dict[int, int]:
    """Returns for each leaf the first row on its path that is not on the path to the view's leaf; ROOT if all are.

    Every row is walked over once, however many leaves are below it.
    """
    walk_up = view.index.tree.walk_up
    firsts = dict.fromkeys(walk_up(view.row(LEAF, allow_uncertain=True)), tree.ROOT)
    for leaf in leaves:
        own, first = [], None
        for row in walk_up(leaf):
            if row in firsts:
                first = firsts[row]
                break
            own.append(row)
        if own and first in (None, tree.ROOT):
            first = own[-1]
        firsts.update(dict.fromkeys(own, cast(int, first)))
    return {leaf: firsts[leaf] for leaf in leaves}


def _last_activity(view: SessionView, row: int, entry: Entry | None) -> str | None:
    """Returns the time of the nearest message at or above a row that counts as activity. `entry` is that of the row."""
    for each in view.index.tree.walk_up(row):
        if view.index.tree.kinds[each] & tree.KIND == tree.MESSAGE:
            if each != row:
                entry = next(iter(cast(list[Entry], view.index.readable_records([each]))), None)
            if isinstance(entry, MessageEntry) and is_activity(entry):
                return entry.timestamp
    return None


class CheckOut(msgspec.Struct, frozen=True):
    """A move of the leaf to the last appended leaf at or below an entry. `id` is that of the mark, or empty."""

    entry_id: str
    id: str
    expected: Expected

    moves_leaf: ClassVar[bool] = True

    def plan(self, batch: WriteBatch) -> None:
        """Adds the move. That of an earlier try may lead to a leaf that has children by now."""
        index, row = batch.index, batch.row_of(self.entry_id)
        stored = index.record_with(self.id)
        moved = index.node(stored.target_id) if isinstance(stored, LeafMark) and stored.target_id is not None else None
        tip = moved if moved is not None and index.tree.is_ancestor(row, moved) else index.tree.tip(row)
        target_id = index.id_of(tip)
        MoveLeaf(target_id, encode_record(LeafMark(id=self.id, target_id=target_id)), self.expected).plan(batch)
