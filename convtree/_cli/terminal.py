"""What is known of the place that is written to: its width, whether it has colours, which signs it can show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from convtree.stores.base import Progress

_STYLES: dict[str, dict[str, Any]] = {
    "user": {"fg": "cyan"},
    "assistant": {"fg": "green"},
    "entry": {"fg": "magenta"},
    "bad": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "note": {"fg": "yellow"},
    "title": {"bold": True},
    "active": {"bold": True},
    "dim": {"dim": True},
}


class Signs(NamedTuple):
    """The signs of a drawing: entries by where they stand, what was left out, and how lines hang together."""

    leaf: str
    active: str
    aside: str
    elided: str
    dots: str
    vertical: str
    fork: str


class Terminal:
    """Standard output as rich sees it: colour only on a terminal and with NO_COLOR, FORCE_COLOR and COLUMNS obeyed."""

    def __init__(self) -> None:
        from anytree.render import AsciiStyle, ContStyle  # type: ignore[import-untyped]  # it has no types
        from rich.console import Console

        console = Console()
        self.width = console.width
        self.colour = console.color_system not in (None, "windows") and not console.no_color
        plain = console.options.ascii_only
        style = AsciiStyle() if plain else ContStyle()
        leaf, active, aside, elided, dots = ("@", "*", "o", ":", "...") if plain else ("◉", "●", "○", "┊", "…")
        self.signs = Signs(leaf, active, aside, elided, dots, style.vertical, style.cont)

    def paint(self, text: str, style: str) -> str:
        """Returns the text in a style, where there are colours."""
        return click.style(text, **_STYLES[style]) if self.colour and style in _STYLES else text

    def cut(self, text: str, cells: int, *, fill: bool = False) -> str:
        """Returns the text at most so many cells wide; with `fill`, exactly so many."""
        taken = self.cells(text)
        if taken > cells:
            from rich.cells import set_cell_size

            dots = self.signs.dots[: max(cells, 0)]
            text = set_cell_size(text, cells - len(dots)).rstrip() + dots
            taken = self.cells(text)
        return text + " " * (cells - taken) if fill else text

    def cells(self, text: str) -> int:
        """Returns how wide a text is; the characters of some scripts are two cells wide."""
        if text.isascii():
            return len(text)
        from rich.cells import cell_len

        return cell_len(text)


def write(lines: Iterable[str]) -> None:
    """Writes lines to standard output."""
    for line in lines:
        sys.stdout.write(line + "\n")


def readable_size(size_bytes: int) -> str:
    """Returns a size in at most four characters."""
    if size_bytes < 1000:
        return f"{size_bytes}B"
    size, unit = size_bytes / 1024, "K"
    for larger in "MGT":
        if size < 999.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"


def telling(word: Callable[[int, int], str], least: int) -> Progress | None:
    """Returns what shows how far something is, in the words of `word`, when there is that much; on a terminal only."""
    if not sys.stderr.isatty():
        return None

    def tell(done: int, of: int) -> None:
        if of >= least:
            click.echo(f"\r{word(done, of)}", err=True, nl=done >= of)

    return tell
