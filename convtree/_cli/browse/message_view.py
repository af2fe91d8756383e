"""A message on the screen. It is read and laid out in a thread, and only its visible lines are drawn."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.strip import Strip

from convtree._cli.browse.draw import message_lines, one_line
from convtree._cli.browse.keys import unlisted
from convtree._cli.browse.lines_view import LinesView
from convtree._cli.browse.listing import Line, Listing
from convtree._cli.browse.model import Message, SessionModel
from convtree._cli.browse.tasks import restart

_PATIENCE_S = 0.04  # the cursor may move on meanwhile


class MessageView(LinesView):
    """The entry at the cursor of the tree."""

    BINDINGS: ClassVar[list[BindingType]] = unlisted(
        ("up,k", "scroll_up", "Up"),
        ("down,j", "scroll_down", "Down"),
        ("g", "scroll_home", "Begin"),
        ("G", "scroll_end", "End"),
    )

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self._model = model
        self._line: Line | None = None
        self._listing = Listing(0)
        self._lines: list[Strip] = []
        self._width = 0
        self.unfolded = False

    @property
    def line_count(self) -> int:
        """The number of lines."""
        return len(self._lines)

    def draw_line(self, number: int, width: int) -> Strip:
        """Returns a line."""
        return self._lines[number].adjust_cell_length(width)

    def show(self, line: Line | None, listing: Listing, *, again: bool = False) -> None:
        """Shows what a line of the tree stands for; what is shown already only `again`."""
        moved = line is None or self._line is None or line[:3:2] != self._line[:3:2]
        self._line, self._listing = line, listing
        if moved:
            self.unfolded = False
        if moved or again:
            restart(self, "message", self._load, line, listing, moved)

    def toggle_folds(self) -> None:
        """Unfolds everything in the message, or folds it again."""
        self.unfolded = not self.unfolded
        self.show(self._line, self._listing, again=True)

    def on_resize(self, event: events.Resize) -> None:
        """Lays the message out again for another width."""
        super().on_resize(event)
        if self.room != self._width:
            self.show(self._line, self._listing, again=True)

    async def _load(self, line: Line | None, listing: Listing, moved: bool) -> None:
        await asyncio.sleep(_PATIENCE_S if moved else 0)
        width = self.room
        unfolded = self.unfolded

        def lay_out() -> list[Strip]:
            message = Message([], []) if line is None else self._model.message(line, listing)
            return message_lines(message.facts, message.blocks, width, unfolded=unfolded)

        try:
            lines = await asyncio.to_thread(lay_out)
        except Exception as error:  # shown in its place: the application goes on
            lines = [one_line([(str(error), "bad")], width)]
        self._lines, self._width = lines, width
        if moved:
            self.scroll_to(y=0, animate=False, force=True, immediate=True)
        self.lines_changed()
