"""What asks for a text, and the help. Both are left with Escape."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Checkbox, Input, Static

from convtree._model.terminal_text import escape_controls

HELP = """\
Sessions
  Enter      open
  /          search all messages
  r          read the list again
  y          copy the id

Tree
  up down    move; j k PgUp PgDn, too
  g G        first, last; Home End, too
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
  up down    scroll; j k g G, too

On an entry
  l          label; none if empty
  f          fork: a new session
  y          copy the id
  e          export: .html .md .json,
             with secrets or without

  Esc q      back, quit

Signs
  ◉ leaf     ● on its branch
  ○ on another branch
  ▸ folded   ▾ unfolded
  +5         hides 5 entries
"""


class Answer(NamedTuple):
    """What was typed, and whether the choice was made."""

    text: str
    is_chosen: bool = False


class Choice(Checkbox):
    """A box that also differs without colours: Textual's own has the same sign in both states."""

    def render(self) -> Content:
        """Returns the box and its words, reversed while it has the focus."""
        sign = "x" if self.value else " "
        return Content.styled(f"[{sign}] {self.label}", "reverse" if self.has_focus else "")


class Ask(ModalScreen[Answer | None]):
    """Asks for a text, and with `choice` for a yes or no. The result is None after Escape."""

    DEFAULT_CSS = """
    Ask { align: center middle; }
    Ask > Vertical { width: 100%; max-width: 72; height: auto; border: round $border; padding: 0 1; }
    Ask Static { width: 1fr; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel", priority=True)]

    def __init__(self, question: str, value: str = "", hint: str = "", choice: str = "") -> None:
        super().__init__()
        self._question, self._value, self._hint, self._choice = question, value, hint, choice

    def compose(self) -> ComposeResult:
        """Yields the question, a field, the choice and a hint."""
        with Vertical():
            yield Static(Text(escape_controls(self._question)))
            yield Input(escape_controls(self._value), select_on_focus=False, compact=True)
            if self._choice:
                yield Choice(self._choice, compact=True)
            yield Static(Text(escape_controls(self._hint), style="dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Leaves with the text and the choice."""
        self.dismiss(Answer(event.value, any(box.value for box in self.query(Choice))))


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
