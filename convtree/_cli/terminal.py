"""Standard output: its width, its colours, and the characters that it can show."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from convtree._cli.output import PLAIN, STYLES, allow_colours


class Signs(NamedTuple):
    """The characters of a drawing: three for entries by their place in the tree, the rest for omissions and lines."""

    leaf: str
    on_path: str
    off_path: str
    elided: str
    dots: str
    vertical: str
    fork: str


class Terminal:
    """Standard output as rich detects it. Obeys NO_COLOR, FORCE_COLOR and COLUMNS; no colour if it is not a terminal.

    The drawing characters are loaded on first use: only drawing commands need anytree.
    """

    def __init__(self) -> None:
        from rich.console import Console

        console = Console()
        self.width = console.width
        self.is_piped = not console.is_terminal
        self.colour = console.color_system not in (None, "windows") and not console.no_color
        if self.colour:
            allow_colours()
        self._is_ascii = console.options.ascii_only
        self.dots = "..." if self._is_ascii else "…"

    @cached_property
    def signs(self) -> Signs:
        """The characters of a drawing, plain ASCII where the terminal shows nothing else."""
        from anytree.render import AsciiStyle, ContStyle  # type: ignore[import-untyped]  # it has no types

        style = AsciiStyle() if self._is_ascii else ContStyle()
        leaf, on_path, off_path, elided = ("@", "*", "o", ":") if self._is_ascii else ("◉", "●", "○", "┊")
        return Signs(leaf, on_path, off_path, elided, self.dots, style.vertical, style.cont)

    def paint(self, text: str, style: str) -> str:
        """Returns the text in a style, or unchanged without colours."""
        return f"{STYLES[style]}{text}{PLAIN}" if self.colour and style in STYLES else text

    def cut(self, text: str, cells: int, *, fill: bool = False) -> str:
        """Returns the text cut to at most `cells` columns. With `fill`, shorter text is padded to that width."""
        width = self.cells(text)
        if width > cells:
            from rich.cells import set_cell_size

            dots = self.dots[: max(cells, 0)]
            text = set_cell_size(text, cells - len(dots)).rstrip() + dots
            width = self.cells(text)
        return text + " " * (cells - width) if fill else text

    def cut_start(self, text: str, cells: int) -> str:
        """Returns the end of a text in at most `cells` columns: of a path, the part that tells most."""
        if self.cells(text) <= cells:
            return text
        dots = self.dots[: max(cells, 0)]
        first = len(text)
        while first and self.cells(text[first - 1 :]) <= cells - len(dots):
            first -= 1
        return dots + text[first:]

    def cells(self, text: str) -> int:
        """Returns the width of a text in columns. Characters of some scripts take two."""
        if text.isascii():
            return len(text)
        from rich.cells import cell_len

        return cell_len(text)


def readable_size(size_bytes: int) -> str:
    """Returns a size in at most four characters, such as `9.8K`."""
    if size_bytes < 1000:
        return f"{size_bytes}B"
    size, unit = size_bytes / 1024, "K"
    for larger in "MGT":
        if size < 999.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"
