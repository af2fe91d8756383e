"""Lines that fit into the width of a terminal: columns of a tree, a time, text in pieces, and a tail at the right.

What does not fit is cut: first the text; in a narrow terminal there is no cost; columns of a tree that take more than
half of the width are cut at the left.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from convtree._cli.entry_times import clock_of
from convtree._cli.terminal import Terminal, cost_text, in_units
from convtree._model.terminal_text import escape_controls
from convtree._model.usage import Usage

_TOKENS_CELLS, _COST_CELLS = 7, 9
_TIME_CELLS = 6  # `14:03 `
_WIDE = 60  # columns of a terminal that has room for the cost
_MIN_TEXT_CELLS = 8
_ID_CELLS = 24  # the most of an id that is shown
_SAMPLE_BEYOND = 2  # characters of a short id beyond those that tell the sample apart
_SHORTEST_ID = 6


class Piece(NamedTuple):
    """A part of a line, without controls, and its style."""

    text: str
    style: str = ""


class Layout:
    """The columns of one output.

    Args:
        terminal: where it is shown.
        id_length: how many characters of an id are shown.
        has_times: whether there is a column for the time.
        has_usage: whether the first line names the columns of the usage.
    """

    def __init__(self, terminal: Terminal, *, id_length: int, has_times: bool, has_usage: bool) -> None:
        self.terminal = terminal
        self.has_usage = has_usage
        self._id_length = id_length
        self._has_times = has_times
        self._is_wide = terminal.width >= _WIDE

    def line(self, lead: str, sign: Piece, time: datetime | None, pieces: Iterable[Piece], tail: str = "") -> str:
        """Returns a line of the tree.

        Args:
            lead: the columns before the sign.
            sign: the sign of an entry, or the character that is drawn in its place.
            time: when it was; None leaves the column empty.
            pieces: what the line says.
            tail: what stands at the right.
        """
        paint = self.terminal.paint
        clock = "" if not self._has_times else " " * _TIME_CELLS if time is None else f"{clock_of(time)} "
        lead = fit_columns(lead, self.terminal)
        start = f"{lead}{paint(sign.text, sign.style)} {paint(clock, 'dim')}"
        return self._fitted(start, len(lead) + 2 + len(clock), pieces, tail)

    def fitted(self, pieces: Iterable[Piece], tail: str = "") -> str:
        """Returns pieces as one line, cut before the tail."""
        return self._fitted("", 0, pieces, tail)

    def _fitted(self, line: str, width: int, pieces: Iterable[Piece], tail: str) -> str:
        terminal = self.terminal
        room = max(terminal.width - width - (len(tail) + 2 if tail else 0), _MIN_TEXT_CELLS)
        for text, style in pieces:
            cut, cells = terminal.fit(text, room)
            line += terminal.paint(cut, style) if style else cut
            room -= cells
            if room <= 0:
                break
        if not tail:
            return line.rstrip()
        return f"{line}{' ' * (room + 2)}{terminal.paint(tail, 'dim')}"

    def tail(self, usage: Usage | None, id: str | None = None) -> str:
        """Returns an id and the usage for the right end of a line. No usage leaves no gap."""
        parts = [] if id is None else [self.short(id)]
        if usage is not None and (usage.total_tokens or usage.cost):
            parts.append(self._usage(readable_number(usage.total_tokens), readable_cost(usage.cost)))
        return " ".join(parts)

    def heads(self) -> str:
        """Returns the names of the columns of the usage."""
        return self._usage("tokens", "cost") if self.has_usage else ""

    def short(self, id: str) -> str:
        """Returns the beginning of an id that is enough to find the entry."""
        return self.terminal.cut(beginning_of(id, self._id_length), _ID_CELLS)

    def _usage(self, tokens: str, cost: str) -> str:
        return f"{tokens:>{_TOKENS_CELLS}}{f'{cost:>{_COST_CELLS}}' if self._is_wide else ''}"


def fit_columns(lead: str, terminal: Terminal) -> str:
    """Returns the columns of a tree, without the left ones if they take half of the width or more."""
    most = terminal.width // 2 - 4
    return lead if len(lead) <= most else terminal.dots + lead[len(lead) - most + len(terminal.dots) :]


def beginning_of(id: str, length: int) -> str:
    """Returns the first `length` characters of an id, escaped. An id that is hardly longer stays whole."""
    shown = escape_controls(id)
    return shown[:length] if len(shown) > length + _SAMPLE_BEYOND else shown


def id_length(ids: Iterable[str]) -> int:
    """Returns how many characters of an id are enough, judged by some ids of the session."""
    known = set(ids)
    longest = max(map(len, known), default=0)
    for length in range(1, longest):
        if len({id[:length] for id in known}) == len(known):
            return max(length + _SAMPLE_BEYOND, _SHORTEST_ID)
    return longest


def readable_number(number: int) -> str:
    """Returns a number in at most five characters, such as `9.8K`."""
    return str(number) if number < 1000 else in_units(number, step=1000, decimals_below=99.95)


def readable_cost(cost: float) -> str:
    """Returns a cost with the digits that matter; empty if it is unknown."""
    return cost_text(cost, 4 if cost < 1 else 2 if cost < 10_000 else 0)
