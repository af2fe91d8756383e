"""The tree of a session as a list of lines. What they say is read in a thread; until then they are dots."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.message import Message
from textual.strip import Strip

from convtree._cli.browse.draw import Piece, filled, one_line
from convtree._cli.browse.lines_view import PickView
from convtree._cli.browse.listing import Line, Listing
from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.tasks import restart
from convtree._cli.browse.words import Words
from convtree._cli.times import LocalTime, time_text

_KEPT = 4000  # lines whose words are kept
_WIDE = 60  # columns from which times are shown
_INDENT, _MOST_INDENTS = 2, 8
_KIND_CELLS, _NARROW_KIND_CELLS = 10, 8


class TreeView(PickView):
    """The lines of a session. Posts `Failed` when they cannot be read."""

    class Failed(Message):
        """Entries could not be read."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self._model = model
        self.listing = Listing(0)
        self.sought = ""
        self._words: dict[Line, Words] = {}
        self._stale: set[Line] = set()  # whose words may have changed
        self._wanted: set[Line] = set()

    @property
    def line_count(self) -> int:
        """The number of lines."""
        return len(self.listing)

    @property
    def line(self) -> Line | None:
        """The line at the cursor; None if there is none."""
        return self.listing[self.cursor] if self.cursor < len(self.listing) else None

    def show(self, listing: Listing, sought: str = "", *, target: int | None = None) -> None:
        """Shows other lines. The cursor stays on its entry, and its entry where it is on the screen.

        With `target`, the cursor goes to the line of that entry.
        """
        line, at = self.line, self.cursor_at
        self.listing = listing
        self.forget(sought)
        self.lines_changed()
        if target is not None and target < len(listing.line_of):
            self.move_cursor(listing.line_of[target])
        elif line is not None:
            self.move_cursor(listing.find(line), at=at)

    def forget(self, sought: str) -> None:
        """Forgets what lines say, because it may have changed. Until it is read again, the old words are shown."""
        if sought != self.sought or len(self._words) > _KEPT:
            self._words.clear()
        self.sought = sought
        self._stale = set(self._words)
        self._wanted.clear()

    def draw_line(self, number: int, width: int) -> Strip:
        """Returns a line: sign, indentation, kind, remarks, first words, time."""
        line = self.listing[number]
        words = self._words.get(line)
        if words is None or line in self._stale:
            self._want(line)
        indent = " " * (_INDENT * min(line.depth, _MOST_INDENTS, width // 12))
        lead = indent + self._sign(line)
        if words is None:
            return one_line([(lead, ""), ("…", "dim")], width)
        kind_cells = _KIND_CELLS if width >= _WIDE else _NARROW_KIND_CELLS
        pieces: list[Piece] = [(lead, "dim"), (filled(words.kind, kind_cells) + " ", words.style)]
        if words.remarks:
            pieces.append((f"({words.remarks}) ", "note"))
        pieces.append((words.gist, "" if words.style == "user" else "dim" if line.is_group else ""))
        tail = f" +{line.hidden}" if line.hidden and not line.is_group else ""
        if width >= _WIDE and (time := time_text(words.time, LocalTime())):
            tail += "  " + time.partition("-")[2]  # without the year
        body = one_line(pieces, width - len(tail), self.sought)
        return Strip.join([body, one_line([(tail, "dim")], len(tail))]) if tail else body

    def _sign(self, line: Line) -> str:
        """Returns two characters: whether the line is folded, is the leaf, on the path to it, or on a side branch."""
        if line.hidden:
            return "▸ "
        shape = self._model.shape
        if line.is_group:
            return "▾ "
        if line.row == shape.outline.leaf:
            return "◉ "
        return "● " if line.row in shape.active else "○ "

    # --- reading ---

    def _want(self, line: Line) -> None:
        """Reads what a line says, together with all that are drawn at this moment."""
        if not self._wanted:
            self.call_later(self._read_wanted)
        self._wanted.add(line)

    def _read_wanted(self) -> None:
        lines = tuple(self._wanted)
        if lines:
            restart(self, "words", self._read, self.listing, lines, self.sought)

    async def _read(self, listing: Listing, lines: Sequence[Line], sought: str) -> None:
        try:
            found = await asyncio.to_thread(self._model.words, listing, lines, sought)
        except Exception as error:  # whatever it is, the lines stay dots
            self.post_message(self.Failed(error))
            return
        self._words.update(found)
        self._stale.difference_update(lines)
        self._wanted.clear()
        self.refresh()
