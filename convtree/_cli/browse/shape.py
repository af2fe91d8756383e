"""The tree of a session as columns for a list: segments in the order of display, and a kind for each entry. Pure.

Side branches come before the continuation of the branch that they leave, one level deeper. The branch of the leaf
continues at the same level. So a list is never indented deeper than the logarithm of its size.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from enum import IntEnum
from itertools import chain

from convtree._engine import tree
from convtree._engine.outline import Changed, Outline, main_children
from convtree._formats.documents.turns import Turn, Turns
from convtree._model.entries import Entry, ExtensionDataEntry, LostEntry, MessageEntry, ModelChangeEntry

_FIRST_ROWS, _MOST_ROWS = 400, 6_400  # read in the first step, and in one step at most


class Kind(IntEnum):
    """What an entry is to a person. UNREAD is one that was not looked at yet."""

    UNREAD = 0
    PROMPT = 1
    ANSWER = 2
    TALK = 3  # an answer with words and tool calls
    STEP = 4  # tool calls or reasoning without words
    RESULT = 5
    SYSTEM = 6  # a message of somebody else than user, model or tool
    MODEL = 7
    NOTE = 8  # compactions, summaries, and what is rare
    QUIET = 9  # data of an application, and what is hidden from the user
    MISSING = 10  # lost, or cannot be read


TOOLS = frozenset(map(int, (Kind.TALK, Kind.STEP, Kind.RESULT)))  # plain integers are faster to look up


class Shape:
    """The segments of a session in the order of display, and what its entries are, as far as they were read.

    Attributes:
        outline: the tree.
        order: the numbers of the segments in the order of display.
        depths: the indentation of each of them.
        ends: the place in `order` behind the last segment below each of them.
        sides: whether each of them is a side branch.
        kinds: what each entry is, by row.
        calls: how many tools each entry calls, by row.
    """

    def __init__(self, outline: Outline, before: Shape | None = None) -> None:
        self.outline = outline
        self.active = frozenset(outline.tree.walk_up(outline.leaf))
        self.order, self.depths, self.ends, self.sides = _displayed(outline, self.active)
        size = len(outline.tree)
        self.kinds, self.calls = bytearray(size), array("H", bytes(2 * size))
        if before is not None:
            self.kinds[: len(before.kinds)] = before.kinds
            self.calls[: len(before.calls)] = before.calls
            old, new = before.outline.visibility, outline.visibility
            for row in old.keys() | new.keys():
                if old.get(row) != new.get(row):  # it was hidden since, or shown: look at it again
                    self.kinds[row] = Kind.UNREAD

    def rows(self) -> Iterator[int]:
        """Returns the entries in the order of display."""
        runs = self.outline.runs
        return chain.from_iterable(runs[number].rows for number in self.order)

    def unread(self, target: int) -> Iterator[list[int]]:
        """Yields the entries that were not looked at yet, nearest to the row `target` first, some at a time."""
        rows = [row for row in self.rows() if self.kinds[row] == Kind.UNREAD]
        start = end = next((at for at, row in enumerate(rows) if row == target), len(rows))
        step = _FIRST_ROWS
        while start > 0 or end < len(rows):
            before, after = max(start - step, 0), min(end + step, len(rows))
            yield rows[before:start] + rows[end:after]
            start, end = before, after
            step = min(2 * step, _MOST_ROWS)

    def look_at(self, rows: list[int], entries: list[Entry | None]) -> None:
        """Notes what some entries are."""
        for row, entry in zip(rows, entries, strict=True):
            kind, calls = kind_of(row, entry, self.outline.visibility)
            self.calls[row] = min(calls, 0xFFFF)
            self.kinds[row] = kind


def kind_of(row: int, entry: Entry | None, visibility: Mapping[int, Changed]) -> tuple[Kind, int]:
    """Returns what an entry is, and how many tools it calls. None is an entry that cannot be read.

    What is a prompt, an answer or hidden is decided where turns are made: the entry is looked at as one.
    """
    if entry is None or isinstance(entry, LostEntry):
        return Kind.MISSING, 0
    if isinstance(entry, ModelChangeEntry):
        return Kind.MODEL, 0
    if isinstance(entry, ExtensionDataEntry):
        return Kind.QUIET, 0
    for item in Turns(visibility).group([(row, entry)]):
        if isinstance(item, Turn):
            return _kind_of_turn(item), sum(item.tools.values())
    return (Kind.SYSTEM if isinstance(entry, MessageEntry) else Kind.NOTE), 0


def _kind_of_turn(turn: Turn) -> Kind:
    if turn.hidden:
        return Kind.QUIET
    if turn.prompt is not None:
        return Kind.PROMPT
    if turn.answer is None:
        return Kind.RESULT
    if turn.answered:
        return Kind.TALK if turn.tools else Kind.ANSWER
    return Kind.STEP


def _displayed(outline: Outline, active: frozenset[int]) -> tuple[list[int], list[int], list[int], list[bool]]:
    """Returns the segments in the order of display, their depths, where each ends, and which are side branches."""
    runs = outline.runs
    main = main_children(runs, active)
    sizes = [1] * len(runs)
    for number in range(len(runs) - 1, -1, -1):
        if runs[number].parent >= 0:
            sizes[runs[number].parent] += sizes[number]
    order: list[int] = []
    depths: list[int] = []
    sides: list[bool] = []
    stack = [(number, 0, False) for number, run in enumerate(runs) if run.parent < 0][::-1]
    while stack:
        number, depth, is_side = stack.pop()
        order.append(number)
        depths.append(depth)
        sides.append(is_side)
        if (onward := main[number]) != tree.NONE:
            stack.append((onward, depth, False))
            stack.extend((child, depth + 1, True) for child in reversed(runs[number].children) if child != onward)
    ends = [place + sizes[number] for place, number in enumerate(order)]
    return order, depths, ends, sides
