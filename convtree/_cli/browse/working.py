"""A screen that works in threads, so that keys are answered at once, and shows what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, ParamSpec, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Input, Static

from convtree._cli.browse.dialogs import Help
from convtree._cli.browse.draw import filled
from convtree._model.terminal_text import escape_controls

P = ParamSpec("P")
T = TypeVar("T")


class WorkingScreen(Screen[None]):
    """A title, panes, a field for a search that is hidden until it is needed, and the keys."""

    DEFAULT_CSS = """
    WorkingScreen > #title { height: 1; text-style: bold; }
    WorkingScreen > #search { display: none; }
    WorkingScreen.searching > #search { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
        Binding("escape", "back", "Back", show=False),
        Binding("slash", "search", "Search"),
    ]

    def framed(self, panes: Widget, placeholder: str) -> ComposeResult:
        """Yields the widgets of the screen, with these panes between title and keys."""
        yield Static(id="title")
        yield panes
        yield Input(placeholder=placeholder, id="search", compact=True)
        yield Footer(show_command_palette=False)

    def show_title(self, name: str, facts: str) -> None:
        """Shows what the screen is about at its top, and facts at the right."""
        tail = f" {facts} " if facts else ""
        text = Text(filled(name, max(self.size.width - len(tail), 0)), no_wrap=True)
        self.query_one("#title", Static).update(text.append(tail, style="dim"))

    @property
    def search_field(self) -> Input:
        """The field of the search."""
        return self.query_one("#search", Input)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Does something in a thread; None if it failed, which is then shown."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except Exception as error:  # a log that is gone, a lock, a server that is down: the message says what
            self.show_error(error)
            return None

    def show_error(self, error: Exception) -> None:
        """Shows an error for some seconds."""
        self.say(str(error) or type(error).__name__, is_error=True)

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Shows a text for some seconds."""
        if self.is_attached:
            self.notify(escape_controls(text), severity="error" if is_error else "information", markup=False)

    def copy(self, id: str) -> None:
        """Copies an id into the clipboard of the terminal."""
        self.app.copy_to_clipboard(id)
        self.say(f"copied: {id}")

    def action_help(self) -> None:
        """Shows the keys."""
        self.app.push_screen(Help())
