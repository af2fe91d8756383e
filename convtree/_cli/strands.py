"""The columns of a drawing: which part of a tree hangs from which. Pure.

A strand is a chain of entries in one column. The branch of the leaf stays in its column from the first entry to the
leaf; elsewhere the largest branch does. Every other branch hangs one column further right, before its column goes on.
What follows the leaf hangs from it. So a drawing is about log2(entries) columns deep at most, and one loop makes it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from convtree._cli.terminal import Signs
from convtree._engine import tree
from convtree._engine.outline import Outline, main_children


class Strand(NamedTuple):
    """Entries in one column.

    Attributes:
        rows: the entries, first to last.
        lead: what stands before the sign of the first entry.
        indent: what stands before the signs of the others.
        above: what stands before a line above the first entry.
        goes_on: whether anything hangs below the last entry.
        parent: the row above the first entry, ROOT or MISSING.
        number: which branch of how many this is, where the tree forks, such as `2/3`; else empty.
    """

    rows: list[int]
    lead: str
    indent: str
    above: str
    goes_on: bool
    parent: int
    number: str = ""


class _Place(NamedTuple):
    """A segment that is still to be drawn, which of how many it is, and what stands before its lines."""

    segment: int
    number: str
    lead: str = ""
    indent: str = ""
    above: str = ""


def strands(outline: Outline, leaf: int, active: frozenset[int], signs: Signs) -> Iterator[Strand]:
    """Yields the strands of a tree from top to bottom. `active` are the rows from the root to the leaf."""
    segments = outline.runs
    main = main_children(segments, active)
    roots = [number for number, segment in enumerate(segments) if segment.parent == tree.ROOT]
    numbers = _numbers(roots)
    orphans = [number for number, segment in enumerate(segments) if segment.parent == tree.MISSING]
    for root in sorted(roots + orphans):
        waiting = [_Place(root, numbers.get(root, ""))]
        while waiting:
            segment, number, lead, indent, above = waiting.pop()
            rows, children = segments[segment].rows, segments[segment].children
            parent = outline.tree.parents[rows[0]]
            cut = _place_in(rows, leaf) + 1
            if 0 < cut < len(rows):
                yield Strand(rows[:cut], lead, indent, above, True, parent, number)
                above, number = indent + signs.vertical, ""
                lead, indent = indent + signs.last, indent + signs.blank
                rows, parent = rows[cut:], leaf
            yield Strand(rows, lead, indent, above, bool(children), parent, number)
            straight = tree.NONE if rows[-1] == leaf else main[segment]
            waiting += _below(children, straight, indent, signs)


def _place_in(rows: list[int], row: int) -> int:
    """Returns the place of a row in a sorted list, or NONE."""
    at = bisect_left(rows, row)
    return at if at < len(rows) and rows[at] == row else tree.NONE


def _numbers(siblings: list[int]) -> dict[int, str]:
    """Returns which of how many each segment is; nothing of a single one."""
    return {each: f"{at}/{len(siblings)}" for at, each in enumerate(siblings, 1)} if len(siblings) > 1 else {}


def _below(children: list[int], straight: int, indent: str, signs: Signs) -> list[_Place]:
    """Returns what hangs from a strand, last first. `straight` is the child that stays in the column, or NONE."""
    above = indent + signs.vertical
    numbers = _numbers(children)
    found = [] if straight == tree.NONE else [_Place(straight, numbers.get(straight, ""), indent, indent, above)]
    is_last = straight == tree.NONE
    for child in reversed(children):
        if child != straight:
            lead, deeper = (signs.last, signs.blank) if is_last else (signs.fork, signs.vertical)
            found.append(_Place(child, numbers.get(child, ""), indent + lead, indent + deeper, above))
            is_last = False
    return found
