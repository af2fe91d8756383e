"""The application. It draws with the colours of the terminal, and without any if NO_COLOR is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.app import App
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.filter import LineFilter
from textual.screen import Screen

from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.session_screen import SessionScreen
from convtree._cli.browse.sessions_screen import SessionsScreen
from convtree._model.terminal_text import escape_controls
from convtree.stores._session_store import SessionStore


class Escaped(LineFilter):
    """Escapes what a terminal must not get, whatever drew it. Text that was escaped passes unchanged."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  # Textual passes it
        """Returns the segments of a line, escaped."""
        return [Segment(escape_controls(text, lines=True), style, control) for text, style, control in segments]


class Browser(App[None]):
    """Sessions of a store, or one session."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "Quit", show=False, priority=True)]

    def __init__(self, store: SessionStore | None, model: SessionModel | None) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._store, self._model = store, model
        self._escaped = Escaped()

    def on_mount(self) -> None:
        """Shows the session that was chosen, else the list of the store."""
        first: Screen[None]
        if self._model is not None:
            first = SessionScreen(self._model)
        else:
            assert self._store is not None
            first = SessionsScreen(self._store)
        self.push_screen(first)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Returns the filters of every line; the last one escapes it."""
        return [*super().get_line_filters(), self._escaped]
