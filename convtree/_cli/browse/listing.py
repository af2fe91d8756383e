"""The lines of a session: its entries in the order of display, filtered and folded. Pure.

A line is an entry, or the header of a group: tool calls and results between two texts, which are shown as one line
until they are unfolded. Two more things can be folded: the turn below a prompt, and a side branch. Every entry has a
line that stands for it, its own or the one that hides it, so a jump to an entry always leads somewhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from convtree._cli.browse.shape import TOOLS, Kind, Shape
from convtree._engine import tree


class Mode(Enum):
    """Which entries are listed."""

    TURNS = "turns"
    PROMPTS = "prompts"
    NO_TOOLS = "no tools"
    ALL = "everything"


_KINDS = frozenset(map(int, Kind)) - {Kind.UNREAD}
_LISTED: dict[Mode, frozenset[int]] = {
    Mode.TURNS: _KINDS - {Kind.QUIET},
    Mode.PROMPTS: _KINDS & {Kind.PROMPT},
    Mode.NO_TOOLS: _KINDS - {Kind.QUIET, Kind.STEP, Kind.RESULT, Kind.MODEL},
    Mode.ALL: _KINDS,
}

_UNREAD = bytes((Kind.UNREAD,))
_IN_GROUP = TOOLS | {int(Kind.QUIET), int(Kind.MODEL)}


class Look(NamedTuple):
    """What to list.

    Attributes:
        mode: which entries.
        folded: prompts whose turn, and first entries of side branches, that are folded, by row.
        opened: the first entries of groups of tools that are unfolded, by row; None: all are.
        matches: only these entries, by row; None: all.
    """

    mode: Mode = Mode.TURNS
    folded: frozenset[int] = frozenset()
    opened: frozenset[int] | None = frozenset()
    matches: frozenset[int] | None = None


class Line(NamedTuple):
    """A line of the list.

    Attributes:
        row: its entry; for a group its first one.
        depth: its indentation.
        is_group: whether it is the header of a group of tools.
        hidden: how many entries it hides; 0 if it is not folded.
        folds: whether it can be folded, or is.
    """

    row: int
    depth: int
    is_group: bool
    hidden: int
    folds: bool


class Listing:
    """The lines of a session.

    `line_of` has by row the number of the line that stands for an entry. `groups` has the entries of each group of
    tools, by its first one.
    """

    def __init__(self, size: int) -> None:
        self.rows = array("i")
        self.depths = array("H")
        self.flags = bytearray()
        self.hidden = array("i")
        self.line_of = array("i", bytes(4 * size))
        self.groups: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Line:
        flags = self.flags[number]
        return Line(self.rows[number], self.depths[number], bool(flags & 1), self.hidden[number], bool(flags & 2))

    def find(self, line: Line) -> int:
        """Returns the number of the line that is the same as one of another listing, or stands for its entry."""
        if line.row >= len(self.line_of) or not len(self):
            return 0
        number = max(self.line_of[line.row], 0)
        if line.is_group and number > 0 and self.rows[number - 1] == line.row:
            return number - 1
        return number

    def add(self, row: int, depth: int, *, is_group: bool = False, hidden: int = 0, folds: bool = False) -> None:
        """Adds a line at the end."""
        if not is_group or hidden:
            self.line_of[row] = len(self.rows)
        self.rows.append(row)
        self.depths.append(depth)  # at most the logarithm of the size
        self.flags.append(is_group | folds << 1)
        self.hidden.append(hidden)

    def hide(self, rows: Sequence[int]) -> None:
        """Lets the last line stand for entries that have no line."""
        last = len(self.rows) - 1
        for row in rows:
            self.line_of[row] = last


def build_listing(shape: Shape, look: Look) -> Listing:
    """Returns the lines of a session."""
    return _Builder(shape, look).build()


class _Builder:
    """Makes the lines of a session, segment by segment."""

    def __init__(self, shape: Shape, look: Look) -> None:
        self._shape, self._look = shape, look
        self._listing = Listing(len(shape.kinds))

    def build(self) -> Listing:
        """Returns the lines."""
        shape, look = self._shape, self._look
        runs, order = shape.outline.runs, shape.order
        is_searching = look.matches is not None
        add_segment = self._add_flat if is_searching or look.mode is not Mode.TURNS else self._add_turns
        place = 0
        while place < len(order):
            rows = self._known(runs[order[place]].rows)
            is_side = shape.sides[place] and not is_searching
            if rows and is_side and rows[0] in look.folded:
                below = [row for number in order[place : shape.ends[place]] for row in runs[number].rows]
                self._listing.add(rows[0], shape.depths[place], hidden=len(below), folds=True)
                self._listing.hide(below)
                place = shape.ends[place]
                continue
            if rows:
                add_segment(rows, shape.depths[place], is_side)
            place += 1
        return self._listing

    def _known(self, rows: list[int]) -> list[int]:
        """Returns the entries of a segment without those at its beginning and end that were not read yet."""
        kinds = bytes(map(self._shape.kinds.__getitem__, rows))
        end = len(kinds.rstrip(_UNREAD))
        start = end - len(kinds[:end].lstrip(_UNREAD))
        return rows if end - start == len(rows) else rows[start:end]

    def _add_flat(self, rows: list[int], depth: int, is_side: bool) -> None:
        """Adds the entries of a segment, each on a line of its own. A side branch can be folded."""
        listing, kinds = self._listing, self._shape.kinds
        listed, matches = _LISTED[self._look.mode], self._look.matches
        for row in rows:
            if kinds[row] in listed and (matches is None or row in matches):
                listing.add(row, depth, folds=is_side and row == rows[0])
            else:
                listing.line_of[row] = len(listing) - 1

    def _add_turns(self, rows: list[int], depth: int, is_side: bool) -> None:
        """Adds the entries of a segment by turn. A side branch can be folded."""
        kinds, prompt, size = self._shape.kinds, int(Kind.PROMPT), len(rows)
        at = 0
        while at < size:
            until = at + 1
            starts_branch = is_side and at == 0
            if kinds[rows[at]] in TOOLS:
                while until < size and kinds[rows[until]] in _IN_GROUP:
                    until += 1
                while kinds[rows[until - 1]] not in TOOLS:
                    until -= 1
                self._add_group(rows[at:until], depth)
            elif kinds[rows[at]] == prompt:
                while until < size and kinds[rows[until]] != prompt:
                    until += 1
                until = self._add_prompt(rows, at, until, depth, starts_branch)
            else:
                self._add_other(rows[at], depth, starts_branch)
            at = until

    def _add_prompt(self, rows: list[int], at: int, until: int, depth: int, starts_branch: bool) -> int:
        """Adds a prompt, and returns where the list goes on: behind its turn, if that is folded.

        Args:
            rows: the entries of its segment.
            at: its place among them.
            until: the place behind its turn.
            depth: its indentation.
            starts_branch: whether the side branch can be folded here, and the turn not.
        """
        listing, row = self._listing, rows[at]
        if row in self._look.folded and not starts_branch and until > at + 1:
            listing.add(row, depth, hidden=until - at - 1, folds=True)
            listing.hide(rows[at + 1 : until])
            return until
        listing.add(row, depth, folds=starts_branch or until > at + 1)
        return at + 1

    def _add_other(self, row: int, depth: int, starts_branch: bool) -> None:
        """Adds an answer or a note. A change of the model is listed where it names another one."""
        kind = self._shape.kinds[row]
        is_change = bool(self._shape.outline.tree.kinds[row] & tree.NAMES_MODEL)
        if kind in _LISTED[Mode.TURNS] and (kind != Kind.MODEL or is_change):
            self._listing.add(row, depth, folds=starts_branch)
        else:
            self._listing.line_of[row] = len(self._listing) - 1

    def _add_group(self, rows: list[int], depth: int) -> None:
        """Adds a group of tool calls and results: one line, or if it is unfolded, a line for each entry below that."""
        listing, opened = self._listing, self._look.opened
        is_open = opened is None or rows[0] in opened
        listing.groups[rows[0]] = rows
        listing.add(rows[0], depth, is_group=True, hidden=0 if is_open else len(rows), folds=True)
        if not is_open:
            listing.hide(rows)
            return
        for row in rows:
            listing.add(row, depth + 1)
