"""Tables that fit the terminal: columns are narrowed, then left out. No line is longer than the terminal is wide.

In a pipe, nothing is cut or left out: each row has all columns, separated by tabs, whatever they contain.

Pure but for the terminal, whose width and characters decide. Texts are escaped already. rich has tables, too, but they
wrap or squeeze every column where these leave some out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from convtree._cli.terminal import Terminal

_GAP = "  "
_FEWEST = 4  # columns of the narrowest column that can be cut


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column: its header, and a text for each row.

    Attributes:
        header: what stands above it.
        texts: one for each row. On a terminal, a column without any text is left out.
        least: how narrow it may become; None if it is never cut.
        rank: on a narrow terminal, the column with the highest rank is left out first, those with 0 after all others.
        style: of the texts.
        to_right: whether numbers are aligned.
        keeps_end: whether the end is what stays of a text that is cut.
    """

    header: str
    texts: Sequence[str]
    least: int | None = None
    rank: int = 0
    style: str = ""
    to_right: bool = False
    keeps_end: bool = False


def table_lines(columns: Sequence[Column], terminal: Terminal) -> Iterator[str]:
    """Yields the header and the rows of a table; nothing if there are no rows."""
    if not columns[0].texts:
        return
    if terminal.is_piped:
        yield "\t".join(column.header for column in columns)
        yield from map("\t".join, zip(*(column.texts for column in columns), strict=True))
        return
    shown = [column for column in columns if any(column.texts)]
    wanted = [max(map(terminal.cells, (column.header, *column.texts))) for column in shown]
    shown, fitted = _fitting(shown, wanted, terminal.width)
    sizes = list(zip(shown, fitted, strict=True))
    yield _line(
        [_cell(column.header, column, size, terminal) for column, size in sizes], ["title"] * len(shown), terminal
    )
    for number in range(len(columns[0].texts)):
        cells = [_cell(column.texts[number], column, size, terminal) for column, size in sizes]
        yield _line(cells, [column.style for column in shown], terminal)


def _fitting(columns: Sequence[Column], wanted: Sequence[int], width: int) -> tuple[list[Column], list[int]]:
    """Returns the columns that fit into a width, and how wide each is. Columns that can be cut share what is left."""
    shown = list(zip(columns, wanted, strict=True))
    while (room := width - _least_width(shown)) < 0:
        last = max(shown, key=lambda each: each[0].rank)
        if last[0].rank == 0:
            break
        shown.remove(last)
    sizes = [_least(column, size) for column, size in shown]
    growing = True
    while room > 0 and growing:
        growing = False
        for number, (_, size) in enumerate(shown):
            if room > 0 and sizes[number] < size:
                sizes[number] += 1
                room -= 1
                growing = True
    while room < 0:  # the terminal is narrower than any table: only what comes first is seen whole
        is_cut = shown[len(sizes) - 1][0].least is not None
        if len(sizes) == 1 or (is_cut and sizes[-1] + room >= _FEWEST):
            sizes[-1] = max(sizes[-1] + room, 1)
            break
        room += sizes.pop() + len(_GAP)
    return [column for column, _ in shown[: len(sizes)]], sizes


def _least_width(columns: Sequence[tuple[Column, int]]) -> int:
    return sum(_least(*each) for each in columns) + len(_GAP) * (len(columns) - 1)


def _least(column: Column, wanted: int) -> int:
    return wanted if column.least is None else min(wanted, column.least)


def _cell(text: str, column: Column, size: int, terminal: Terminal) -> str:
    text = terminal.cut_start(text, size) if column.keeps_end else terminal.cut(text, size)
    space = " " * (size - terminal.cells(text))
    return space + text if column.to_right else text + space


def _line(cells: Sequence[str], styles: Sequence[str], terminal: Terminal) -> str:
    """Returns the cells of a row as a line without spaces at its end."""
    last = [*cells[:-1], cells[-1].rstrip()] if cells else []
    return _GAP.join(terminal.paint(text, style) for text, style in zip(last, styles, strict=True)).rstrip()
