"""Help on narrow terminals. click never makes it narrower than 50 columns."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import click

_NARROWEST, _NARROW, _WIDEST = 30, 60, 80


class _Formatter(click.HelpFormatter):
    """Help as wide as the terminal, at most 80 columns. On a narrow one, long options have lines of their own."""

    def __init__(self, width: int | None = None, max_width: int | None = None) -> None:
        widest = max_width or _WIDEST
        columns = shutil.get_terminal_size().columns
        super().__init__(width=width or max(min(columns, widest) - 2, _NARROWEST), max_width=widest)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Writes a list of two columns."""
        super().write_dl(rows, min(col_max, self.width // 3) if self.width < _NARROW else col_max, col_spacing)


class Context(click.Context):
    """The context of every command."""

    formatter_class = _Formatter
