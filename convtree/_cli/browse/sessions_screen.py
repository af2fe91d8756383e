"""A list of sessions, and a search over all their messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widgets import Input

from convtree._catalogue.types import SessionInfo
from convtree._cli.browse.draw import filled, one_line
from convtree._cli.browse.lines_view import PickView
from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.session_lists import SessionList
from convtree._cli.browse.session_screen import SessionScreen
from convtree._cli.browse.tasks import begin, restart
from convtree._cli.browse.working import WorkingScreen
from convtree._cli.render import count
from convtree._cli.session_table import directory_text, title_of, title_text
from convtree._cli.times import LocalTime, age_since, now
from convtree.stores._results import Hit

PAGE = 100  # sessions that are listed at once
_AHEAD = 50  # lines below the cursor from which the next page is read
_TYPING_S = 0.2  # a search begins when nothing was typed for so long
_WIDE, _MIDDLE = 76, 50  # columns from which directories, and numbers of messages, are shown
_AGE_CELLS, _COUNT_CELLS, _HIT_CELLS = 9, 7, 24


class SessionsView(PickView):
    """Lines for sessions, or for the messages that a search found."""

    items: Sequence[SessionInfo | Hit] = ()
    words = ""

    @property
    def line_count(self) -> int:
        """The number of lines."""
        return len(self.items)

    def show(self, items: Sequence[SessionInfo | Hit], words: str = "", *, cursor: int = 0) -> None:
        """Shows other lines. `words` are those that were searched for."""
        self.items, self.words = items, words
        self.lines_changed()
        self.move_cursor(cursor)

    def draw_line(self, number: int, width: int) -> Strip:
        """Returns a line: title, directory, number of messages, age."""
        item = self.items[number]
        if isinstance(item, Hit):
            return self._hit_line(item, width)
        age = age_since(item.last_activity, now(LocalTime()))
        tail = f" {age:>{_AGE_CELLS}}"
        if width >= _MIDDLE:
            tail = f" {item.messages:>{_COUNT_CELLS},}{tail}"
        if width >= _WIDE:
            tail = f"  {filled(directory_text(item.cwd), width // 4)}{tail}"
        body = one_line([(title_text(item) or item.id, "")], width - len(tail))
        return Strip.join([body, one_line([(tail, "dim")], width - body.cell_length)])

    def _hit_line(self, hit: Hit, width: int) -> Strip:
        lead = min(_HIT_CELLS, width // 3)
        remark = "" if hit.on_path else "(side branch) "
        pieces = [
            (filled(_title_of_hit(hit), lead) + " ", "dim"),
            (f"{hit.role or '?'}: ", "user"),
        ]
        return one_line([*pieces, (remark, "note"), (hit.snippet, "")], width, self.words)


class SessionsScreen(WorkingScreen):
    """A list of sessions that is read page by page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open"),
        Binding("r", "reload", "Reload"),
        Binding("y", "copy_id", "Copy id"),
    ]

    def __init__(self, sessions: SessionList) -> None:
        super().__init__()
        self._sessions = sessions
        self._view = SessionsView()
        self._listed: list[SessionInfo] = []
        self._cursor: str | None = None
        self._is_loading = False
        self._place = 0  # of the cursor in the list, while a search is shown

    def compose(self) -> ComposeResult:
        """Yields the title, the list, the field of a search, and the keys."""
        yield from self.framed(self._view, "search all messages")

    def on_mount(self) -> None:
        """Reads the first page."""
        self._view.focus()
        self._title("reading")

    def on_screen_resume(self) -> None:
        """Reads the list, and again if a session that was open may have changed it."""
        if not self._listed or self._sessions.may_change:
            self.action_reload()

    # --- reading ---

    def action_reload(self) -> None:
        """Reads the list again, as far as it was read."""
        restart(self, "list", self._load, again=True)

    async def _load(self, *, again: bool) -> None:
        self._is_loading = True
        limit = max(len(self._listed), PAGE) if again else PAGE
        cursor = None if again else self._cursor
        page = await self.in_thread(self._sessions.page, limit, cursor)
        self._is_loading = False
        if page is None:
            self._title("")
            return
        before = self._listed[self._view.cursor].id if self._listed and not self._is_searching else None
        self._listed = [*page] if again else [*self._listed, *page]
        self._cursor = page.cursor
        if not self._is_searching:
            places = (place for place, info in enumerate(self._listed) if info.id == before)
            self._view.show(self._listed, cursor=next(places, 0))
            self._title(self._state())

    def _state(self) -> str:
        if not self._listed:
            return "no sessions"
        return count(len(self._listed), "sessions") + ("" if self._cursor is None else " and more")

    def on_pick_view_moved(self) -> None:
        """Reads the next page if the cursor is near the end of what was read."""
        is_near = self._view.cursor >= len(self._listed) - _AHEAD
        if is_near and self._cursor is not None and not self._is_loading and not self._is_searching:
            begin(self, "list", self._load, again=False)

    def _title(self, state: str) -> None:
        self.show_title(self._sessions.location, state)

    # --- search ---

    @property
    def _is_searching(self) -> bool:
        return bool(self._view.words)

    def action_search(self) -> None:
        """Opens the field of the search."""
        if not self._is_searching:
            self._place = self._view.cursor
        self.add_class("searching")
        self.search_field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Searches again, soon."""
        restart(self, "search", self._search, event.value.strip())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Goes to what was found."""
        if not event.value.strip():
            self.action_back()
        self._view.focus()

    async def _search(self, text: str) -> None:
        await asyncio.sleep(_TYPING_S)
        if not text:
            self._end_search()
            return
        hits = await self.in_thread(self._sessions.search, text)
        if hits is not None:
            self._view.show(hits, text.casefold())
            self._title(f"{count(len(hits), 'messages')} with these words" if hits else "nothing found")

    def _end_search(self) -> None:
        if self._is_searching:
            self._view.show(self._listed, cursor=self._place)
            self._title(self._state())

    def action_back(self) -> None:
        """Leaves the search, else the application."""
        if not self.has_class("searching"):
            self.app.exit()
            return
        self.remove_class("searching")
        self.search_field.value = ""
        self._end_search()
        self._view.focus()

    # --- opening ---

    def on_pick_view_picked(self) -> None:
        """Opens the session at the cursor, at the message that was found."""
        self.action_open()

    def action_open(self) -> None:
        """Opens the session at the cursor."""
        if self._view.line_count:
            item = self._view.items[self._view.cursor]
            if isinstance(item, Hit):
                opening = partial(self._open, item.session_id, _title_of_hit(item), item.entry_id)
            else:
                opening = partial(self._open, item.id, title_of(item))
            restart(self, "open", opening)

    def action_copy_id(self) -> None:
        """Copies the id of the session into the clipboard of the terminal."""
        if self._view.line_count:
            item = self._view.items[self._view.cursor]
            self.copy(item.session_id if isinstance(item, Hit) else item.id)

    async def _open(self, id: str, title: str | None, entry_id: str | None = None) -> None:
        def open_it() -> SessionModel:
            source = self._sessions.source(id)
            return SessionModel(source, source.open(), title)

        model = await self.in_thread(open_it)
        if model is not None:
            self.app.push_screen(SessionScreen(model, entry_id))


def _title_of_hit(hit: Hit) -> str:
    """Returns the title of the session that a message is in."""
    return hit.session_title or hit.session_name or hit.session_id
