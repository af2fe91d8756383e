"""A list of lines of which only those on the screen are drawn, so that its length does not matter.

`LinesView` scrolls; `PickView` has a cursor as well. What a line says is asked for when it is drawn.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from convtree._cli.browse.draw import CURSOR
from convtree._cli.browse.keys import unlisted


class LinesView(ScrollView, can_focus=True):
    """A widget with many lines, as wide as itself. Subclasses say how many there are, and draw one."""

    DEFAULT_CSS = """
    LinesView { height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    drawn = 0  # lines drawn so far

    @property
    def line_count(self) -> int:
        """The number of lines."""
        raise NotImplementedError

    def draw_line(self, number: int, width: int) -> Strip:
        """Returns a line, exactly `width` columns wide."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """The columns of a line."""
        return max(self.scrollable_content_region.width, 1)

    def lines_changed(self) -> None:
        """Draws again, after the lines or the size have changed."""
        self.virtual_size = Size(self.room, self.line_count)
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002  # Textual passes it
        """Draws again."""
        self.lines_changed()

    def render_line(self, y: int) -> Strip:
        """Returns a line of the screen."""
        number = y + self.scroll_offset.y
        if number >= self.line_count:
            return Strip.blank(self.room)
        self.drawn += 1
        return self.draw_line(number, self.room)


class PickView(LinesView):
    """A list with a cursor. Posts `Moved` when the cursor moves, `Picked` when Enter is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = unlisted(
        ("up,k", "move(-1)", "Up"),
        ("down,j", "move(1)", "Down"),
        ("pageup,ctrl+b", "page(-1)", "Page up"),
        ("pagedown,ctrl+f", "page(1)", "Page down"),
        ("home,g", "move_to(0)", "First"),
        ("end,G", "move_to(-1)", "Last"),
        ("enter", "pick", "Open"),
    )

    class Moved(Message):
        """The cursor moved."""

    class Picked(Message):
        """The line at the cursor was chosen."""

    cursor = 0

    def render_line(self, y: int) -> Strip:
        """Returns a line of the screen; that of the cursor is reversed."""
        strip = super().render_line(y)
        if y + self.scroll_offset.y != self.cursor or not self.line_count:
            return strip
        return Strip(Segment.apply_style(strip, post_style=CURSOR), strip.cell_length)

    def on_resize(self, event: events.Resize) -> None:
        """Draws again, with the cursor on the screen."""
        super().on_resize(event)
        self._scroll_to_cursor()

    def _scroll_to_cursor(self) -> None:
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True, immediate=True)

    def move_cursor(self, number: int, *, at: int | None = None) -> None:
        """Moves the cursor to a line and shows it; with `at`, on that line of the screen, if it can be."""
        self.cursor = max(min(number, self.line_count - 1), 0)
        if at is None:
            self._scroll_to_cursor()
        else:
            self.scroll_to(y=max(self.cursor - at, 0), animate=False, force=True, immediate=True)
        self.refresh()
        self.post_message(self.Moved())

    @property
    def cursor_at(self) -> int:
        """The line of the screen that the cursor is on."""
        return self.cursor - self.scroll_offset.y

    def action_move(self, step: int) -> None:
        """Moves the cursor by some lines."""
        self.move_cursor(self.cursor + step)

    def action_page(self, step: int) -> None:
        """Moves the cursor by a screen."""
        self.move_cursor(self.cursor + step * max(self.scrollable_content_region.height - 1, 1))

    def action_move_to(self, number: int) -> None:
        """Moves the cursor to a line, counted from the end if below 0."""
        self.move_cursor(number if number >= 0 else self.line_count + number)

    def action_pick(self) -> None:
        """Chooses the line at the cursor."""
        if self.line_count:
            self.post_message(self.Picked())

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor to where a mouse clicks; the second click chooses."""
        number = event.y + self.scroll_offset.y
        if number < self.line_count:
            if number == self.cursor:
                self.action_pick()
            self.move_cursor(number)
