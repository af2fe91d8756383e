"""What asks for a text, and the help. Both are left with Escape."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from convtree._model.terminal_text import escape_controls

HELP = """\
Sessions
  Enter      open
  /          search all messages
  r          read the list again

Tree
  up down    move; j k PgUp PgDn, too
  n p        next, previous prompt
  [ ]        previous, next answer
  Enter Esc  to the message, and back
  space      fold, unfold
  left right fold, unfold, go there
  - +        fold, unfold everything
  1 2 3 4    turns, prompts only,
             no tools, everything
  /          search as you type

Message
  x          unfold, fold thinking
  up down    scroll

On an entry
  l          label; none if empty
  f          fork: a new session
  y          copy the id
  e          export: .html .md .json

  Esc q      back, quit

Signs
  ◉ leaf     ● on its branch
  ○ on another branch
  ▸ folded   ▾ unfolded
"""


class Ask(ModalScreen[str | None]):
    """Asks for a text. The result is None after Escape."""

    DEFAULT_CSS = """
    Ask { align: center middle; }
    Ask > Vertical { width: 100%; max-width: 72; height: auto; border: round $border; padding: 0 1; }
    Ask Static { width: 1fr; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", priority=True)]

    def __init__(self, question: str, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._question, self._value, self._hint = question, value, hint

    def compose(self) -> ComposeResult:
        """Yields the question, a field and a hint."""
        with Vertical():
            yield Static(Text(escape_controls(self._question)))
            yield Input(escape_controls(self._value), select_on_focus=False, compact=True)
            yield Static(Text(escape_controls(self._hint), style="dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Leaves with the text."""
        self.dismiss(event.value)


class Help(ModalScreen[None]):
    """The keys."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll { width: 100%; max-width: 46; height: 90%; border: round $border; }
    Help > VerticalScroll { scrollbar-size-vertical: 1; }
    Help Static { width: 1fr; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close", priority=True)]

    def compose(self) -> ComposeResult:
        """Yields the text."""
        with VerticalScroll():
            yield Static(Text(HELP))
