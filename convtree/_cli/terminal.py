"""Standard output: its width, its colours, and the characters that it can show.

rich knows the terminal, and wcwidth the width of a text: it has the emoji that are several characters, such as flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from convtree._cli.output import PLAIN, STYLES, WITHOUT_COLOUR, allow_colours

_TAB = 4  # columns
_ONE = re.compile("[\u200d\U0001f1e6-\U0001f1ff]")  # a joined emoji, or a flag: shown as one by all


class Signs(NamedTuple):
    """The characters of a drawing: three for entries by their place in the tree, the rest for lines between them.

    `fork` leads to a branch with a later sibling, `last` to one without. `vertical` and `blank` are as wide as those.
    """

    leaf: str
    on_path: str
    off_path: str
    vertical: str
    fork: str
    last: str
    blank: str = "  "


_LINES = Signs("◉", "●", "○", "│ ", "├─", "└─")
_ASCII_LINES = Signs("@", "*", "o", "| ", "|-", "`-")


class Terminal:
    """Standard output as rich detects it. Obeys NO_COLOR, FORCE_COLOR and COLUMNS; colours are for terminals only."""

    def __init__(self) -> None:
        from rich.console import Console

        console = Console()
        self.width = console.width
        self.is_piped = not console.is_terminal
        can_style = console.color_system not in (None, "windows")
        self._styles = {} if not can_style else WITHOUT_COLOUR if console.no_color else STYLES
        if can_style:
            allow_colours()
        self.is_terminal = console.is_terminal
        self._is_ascii = console.options.ascii_only
        self.dots = "..." if self._is_ascii else "…"

    @property
    def signs(self) -> Signs:
        """The characters of a drawing, plain ASCII where the terminal shows nothing else."""
        return _ASCII_LINES if self._is_ascii else _LINES

    def paint(self, text: str, style: str) -> str:
        """Returns the text in a style, or unchanged if the terminal has none. With NO_COLOR, hits stay bold."""
        return f"{self._styles[style]}{text}{PLAIN}" if style in self._styles else text

    def cut(self, text: str, cells: int, *, fill: bool = False) -> str:
        """Returns the text cut to at most `cells` columns. With `fill`, shorter text is padded to that width."""
        text, width = self.fit(text, cells)
        return text + " " * (cells - width) if fill else text

    def fit(self, text: str, cells: int) -> tuple[str, int]:
        """Returns the text cut to at most `cells` columns, and how many it takes."""
        is_plain = text.isascii()
        width = len(text) if is_plain else _width(text)
        if width <= cells:
            return text, width
        dots = self.dots[: max(cells, 0)]
        text = _clip(text, cells - len(dots)).rstrip()
        return text + dots, (len(text) if is_plain else _width(text)) + len(dots)

    def cut_start(self, text: str, cells: int) -> str:
        """Returns the end of a text, cut to at most `cells` columns. For paths: their last parts differ most."""
        if self.cells(text) <= cells:
            return text
        dots = self.dots[: max(cells, 0)]
        first = len(text)
        while first and self.cells(text[first - 1 :]) <= cells - len(dots):
            first -= 1
        return dots + text[first:]

    def cut_middle(self, text: str, cells: int) -> str:
        """Returns both ends of a text, cut to at most `cells` columns. For ids: these may begin with a time."""
        if self.cells(text) <= cells:
            return text
        dots = self.dots[: max(cells, 0)]
        last = (cells - len(dots)) // 2
        first = _clip(text, cells - len(dots) - last)
        return first + dots + (self.cut_start(text, last + len(dots))[len(dots) :] if last > 0 else "")

    def cells(self, text: str) -> int:
        """Returns the width of a text in columns. Characters of some scripts and emoji take two."""
        return _width(text)


def wrap(text: str, cells: int) -> list[str]:
    """Returns one line as several of at most `cells` columns, broken at spaces where there are any."""
    if len(text) <= cells and text.isascii() and "\t" not in text:
        return [text]
    text = text.expandtabs(_TAB)
    units = list(text) if text.isascii() else list(_graphemes(text))
    lines, start, space, width = list[str](), 0, 0, 0
    for at, unit in enumerate(units):
        width += _width(unit)
        space = at if unit == " " else space
        if width > cells and at > start:
            end = space + 1 if space > start else at
            lines.append("".join(units[start:end]).rstrip())
            start = end
            width = sum(map(_width, units[start : at + 1]))
    return [*lines, "".join(units[start:]).rstrip()]


def _width(text: str) -> int:
    """Returns the columns that a text takes, at most.

    Terminals differ about skin tones and joined letters, such as those of Devanagari. Some show one character,
    some the parts side by side. The wider form counts, so that no line breaks.
    """
    if text.isascii():
        return len(text)
    import wcwidth

    width, apart = wcwidth.width(text), _width_apart(text)
    return width if width == apart else sum(map(_unit_width, _graphemes(text)))


def _unit_width(unit: str) -> int:
    import wcwidth

    width: int = wcwidth.width(unit)
    return width if _ONE.search(unit) else max(width, _width_apart(unit))


def _width_apart(text: str) -> int:
    """Returns the columns of the characters of a text, each for itself."""
    import wcwidth

    return sum(max(wcwidth.wcwidth(each), 0) for each in text)


def _clip(text: str, cells: int) -> str:
    if text.isascii():
        return text[: max(cells, 0)]
    width, end = 0, 0
    for unit in _graphemes(text):
        width += _unit_width(unit)
        if width > cells:
            break
        end += len(unit)
    return text[:end]


def _graphemes(text: str) -> Iterator[str]:
    import wcwidth

    return wcwidth.iter_graphemes(text)


def cost_text(cost: float, decimals: int = 2) -> str:
    """Returns a cost; empty if it is unknown. One that would be shown as 0 is shown as less than the last digit."""
    if not cost:
        return ""
    smallest = 10.0**-decimals
    return f"{cost:,.{decimals}f}" if cost >= smallest / 2 else f"<{smallest:.{decimals}f}"


def readable_size(size_bytes: int) -> str:
    """Returns a size in at most four characters, such as `9.8K`."""
    return f"{size_bytes}B" if size_bytes < 1000 else in_units(size_bytes, step=1024, decimals_below=9.95)


def in_units(number: int, *, step: int, decimals_below: float) -> str:
    """Returns a number in the largest of K, M, G and T that fits; each is `step` times the one before."""
    scaled, unit = number / step, "K"
    for larger in "MGT":
        if scaled < 999.5:
            break
        scaled, unit = scaled / step, larger
    return f"{scaled:.1f}{unit}" if scaled < decimals_below else f"{scaled:.0f}{unit}"
