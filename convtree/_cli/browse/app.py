"""The application. It draws with the colours of the terminal, and without any if NO_COLOR is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.app import App
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.filter import LineFilter

from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.session_lists import SessionList
from convtree._cli.browse.session_screen import SessionScreen
from convtree._cli.browse.sessions_screen import SessionsScreen
from convtree._model.terminal_text import escape_controls


class Escaped(LineFilter):
    """Escapes what a terminal must not get, whatever drew it. Text that was escaped passes unchanged."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  # Textual passes it
        """Returns the segments of a line, escaped."""
        return [Segment(escape_controls(text, lines=True), style, control) for text, style, control in segments]


class Browser(App[None]):
    """A list of sessions, or one session."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "Quit", show=False, priority=True)]

    def __init__(self, what: SessionList | SessionModel) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._what = what
        self._escaped = Escaped()

    def on_mount(self) -> None:
        """Shows the session or the list."""
        what = self._what
        self.push_screen(SessionScreen(what) if isinstance(what, SessionModel) else SessionsScreen(what))

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Returns the filters of every line; the last one escapes it."""
        return [*super().get_line_filters(), self._escaped]
