"""The outline: the tree as linear segments between forks, for drawing. Pure.

A segment is a maximal chain without a fork. A conversation of 100,000 entries is mostly one segment; a drawing shows
its forks. A segment has a larger number than the one it continues, as rows have, so sums over subtrees are one
loop backwards and nothing recurses. Entries stay in the log until they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from convtree._engine.tree import KIND, MARK, NONE, Tree
from convtree._model.entries import Entry, Visibility
from convtree._model.errors import BrokenPath

Changed = tuple[Visibility | None, bool | None]  # who sees an entry, and whether it is pinned


class LinearSegment(NamedTuple):
    """A chain of entries without a fork.

    `rows` are its entries, first to last. `parent` is the number of the segment it continues (ROOT: it begins the
    conversation, MISSING: the log has no such parent). `children` are the segments that continue it, in log order.
    """

    rows: list[int]
    parent: int
    children: list[int]


class Outline:
    """The shape of a session's tree at one moment: columns by row, and `runs`, its segments.

    Entries are read when they are asked for, as they are in the log. `visibility` says by row who sees an entry and
    whether it is pinned, where marks changed that; None is what they left unchanged.
    `leaf` is the row of the session's leaf (ROOT: before the first entry). It is not `certain` if damage lies behind
    the line that set it.
    """

    def __init__(
        self,
        tree: Tree,
        leaf: int,
        certain: bool,
        read: Callable[[Sequence[int]], list[Entry]],
        visibility: Mapping[int, Changed] | None = None,
    ) -> None:
        self.tree = tree
        self.visibility = visibility or {}
        self.leaf = leaf
        self.certain = certain
        self.runs = split(tree)
        self._read = read

    def row(self, entry_id: str) -> int | None:
        """Returns the row of an entry."""
        row = self.tree.find(entry_id)
        return row if row is not None and self.tree.is_node(row) else None

    def entries(self, rows: Sequence[int]) -> list[Entry | None]:
        """Reads entries; None stands for one whose line is damaged."""
        try:
            return list(self._read(rows))
        except BrokenPath:
            return [self._entry(row) for row in rows]

    def _entry(self, row: int) -> Entry | None:
        try:
            return self._read([row])[0]
        except BrokenPath:
            return None


def changed_fields(outline: Outline, row: int | None) -> dict[str, Any]:
    """Returns what marks changed of who sees an entry, and of whether it is pinned, by field."""
    pairs = zip(("visible_to", "pinned"), outline.visibility.get(NONE if row is None else row, ()), strict=False)
    return {name: value for name, value in pairs if value is not None}


def split(tree: Tree) -> list[LinearSegment]:
    """Returns the segments of a tree. A segment's number is its index in this list."""
    kinds, parents = tree.kinds, tree.parents
    size = len(parents)
    child_counts = [0] * size
    for row in range(size):
        if parents[row] >= 0:
            child_counts[parents[row]] += 1
    runs: list[LinearSegment] = []
    run_of = [NONE] * size
    for row in range(size):
        parent = parents[row]
        if kinds[row] & KIND == MARK:
            continue
        if parent >= 0 and child_counts[parent] == 1:
            run_of[row] = run_of[parent]
            runs[run_of[row]].rows.append(row)
            continue
        run_of[row] = len(runs)
        if parent >= 0:
            parent = run_of[parent]
            runs[parent].children.append(len(runs))
        runs.append(LinearSegment([row], parent, []))
    return runs


def main_children(runs: Sequence[LinearSegment], active: frozenset[int]) -> list[int]:
    """Returns for each segment the child that is drawn in the same column: the active one, else the largest.

    Every other child has at most half of the entries below its parent, or leaves the active path. So a drawing is
    never indented deeper than the logarithm of its size.
    """
    weights = [len(run.rows) for run in runs]
    for number in range(len(runs) - 1, -1, -1):
        if runs[number].parent >= 0:
            weights[runs[number].parent] += weights[number]
    return [
        max(run.children, key=lambda child: (runs[child].rows[0] in active, weights[child], child), default=NONE)
        for run in runs
    ]
