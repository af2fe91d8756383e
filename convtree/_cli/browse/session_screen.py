"""A session: its tree, and the message at the cursor beside it, or instead of it where the terminal is narrow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from convtree._cli.browse.entry_screen import EntryScreen
from convtree._cli.browse.keys import unlisted
from convtree._cli.browse.listing import Line, Listing, Mode
from convtree._cli.browse.message_view import MessageView
from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.shape import Kind
from convtree._cli.browse.tasks import begin, restart
from convtree._cli.browse.tree_view import TreeView

_SIDE_BY_SIDE = 100  # columns from which the message is beside the tree
_ADVICE_FROM = 60  # columns from which the title says what to do about damage
_REFRESH_S = 1.0
_GROWTH = 3  # while a session is read, its lines are made anew whenever so many times as many are known
_TYPING_S = 0.15  # a search begins when nothing was typed for so long


class SessionScreen(EntryScreen):
    """The tree of a session and a message. Reads in threads, so that keys are answered at once.

    `target` is the id of the entry that the cursor begins at; None: the leaf.
    """

    DEFAULT_CSS = """
    SessionScreen #panes { height: 1fr; }
    SessionScreen MessageView { display: none; }
    SessionScreen.beside MessageView { display: block; border-left: solid $border; padding-left: 1; }
    SessionScreen.reading MessageView { display: block; border-left: none; padding-left: 0; }
    SessionScreen.reading TreeView { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "toggle_fold", "Fold"),
        *unlisted(
            ("n", "prompt(1)", "Next prompt"),
            ("p", "prompt(-1)", "Previous prompt"),
            ("left_square_bracket", "sibling(-1)", "Previous alternative"),
            ("right_square_bracket", "sibling(1)", "Next alternative"),
            ("left,h", "fold(True)", "Fold"),
            ("right", "fold(False)", "Unfold"),
            ("minus", "fold_all(True)", "Fold all"),
            ("plus,equals_sign", "fold_all(False)", "Unfold all"),
            ("1", "mode('TURNS')", "Turns"),
            ("2", "mode('PROMPTS')", "Prompts"),
            ("3", "mode('NO_TOOLS')", "No tools"),
            ("4", "mode('ALL')", "Everything"),
            ("x", "thinking", "Unfold message"),
        ),
    ]

    def __init__(self, model: SessionModel, target: str | None = None) -> None:
        super().__init__(model)
        self._message = MessageView(model)
        self._target: int | None = None if target is None else model.shape.outline.row(target)
        self._building = asyncio.Lock()
        self._wanted = self._built = 0  # lists asked for so far, and those that are answered
        self._again = False  # whether the message may have changed, too
        self._state = "reading"
        self._is_following = False  # a slow log is read again when it was read
        self._trouble = ""  # why the session could not be read again

    def compose(self) -> ComposeResult:
        """Yields the title, the panes, the field of a search, and the keys."""
        yield from self.framed(Horizontal(self._tree, self._message, id="panes"), "search in this session")

    def on_mount(self) -> None:
        """Begins to read the session, and to follow it."""
        self._tree.focus()
        begin(self, "reading", self._read_all)
        self.set_interval(_REFRESH_S, self._follow)

    def on_unmount(self) -> None:
        """Closes the session."""
        self._model.close()

    def on_resize(self, event: events.Resize) -> None:
        """Puts the message beside the tree, or instead of it."""
        self.set_class(event.size.width >= _SIDE_BY_SIDE, "beside")
        self._show_title()
        self._show_message(again=False)

    # --- reading ---

    async def _read_all(self) -> None:
        """Looks at all entries, nearest to the target first, and shows what is known in between."""
        outline = self._model.shape.outline
        target = outline.leaf if self._target is None else self._target
        self._target = target
        size, seen, shown = max(len(self._model.shape.kinds), 1), 0, 0
        unread = self._model.shape.unread(target)
        while (rows := await self.in_thread(next, unread, None)) is not None:
            await self.in_thread(self._model.look_at, rows)
            seen += len(rows)
            self._state = f"reading {100 * seen // size} %"
            self._show_title()
            if seen >= _GROWTH * shown:
                shown = seen
                await self._rebuild()
        self._state = ""
        await self._rebuild()

    async def _rebuild(self, *, again: bool = False) -> None:
        """Shows the lines that are wanted now, and the message `again`. Calls that come meanwhile are answered once."""
        self._wanted += 1
        self._again |= again
        mine = self._wanted
        async with self._building:
            if self._built >= mine:
                return
            now = self._wanted
            listing = await self.in_thread(self._model.listing)
            self._built = now
            if listing is not None:
                self._show(listing)

    def _show(self, listing: Listing) -> None:
        target, self._target = self._target, None
        again, self._again = self._again, False
        self._tree.show(listing, self._sought, target=target)
        self._show_title()
        self._show_message(again=again)

    def _follow(self) -> None:
        if not self._state and not self._is_following:
            begin(self, "following", self._refresh)

    async def _refresh(self) -> None:
        self._is_following = True
        try:
            changed = await asyncio.to_thread(self._model.refresh)
        except Exception as error:  # the log is gone, or its server is down: said once, and tried again
            if str(error) != self._trouble:
                self.show_error(error)
            self._trouble = str(error)
            return
        finally:
            self._is_following = False
        self._trouble = ""
        if changed:
            await self._rebuild(again=True)

    def on_tree_view_failed(self, event: TreeView.Failed) -> None:
        """Shows why entries could not be read."""
        self.show_error(event.error)

    # --- showing ---

    @property
    def _sought(self) -> str:
        return self.search_field.value.strip().casefold() if self.has_class("searching") else ""

    def _show_title(self) -> None:
        matches = self._model.look.matches
        found = None if matches is None else f"{len(matches):,} found"
        advice = ", gaps are shown" if self._model.allows_gaps else ", try --allow-gaps"
        damage = f"damaged{advice if self.size.width >= _ADVICE_FROM else ''}" if self._model.is_damaged else None
        facts = filter(None, (damage, self._model.look.mode.value, self._state, found))
        self.show_title(self._model.title, ", ".join(facts))

    def _show_message(self, *, again: bool) -> None:
        if self.has_class("beside") or self.has_class("reading"):
            line = self._tree.line
            self._message.show(line, self._tree.listing, again=again)

    def on_pick_view_moved(self) -> None:
        """Shows the message at the cursor."""
        self._show_message(again=False)

    def on_pick_view_picked(self) -> None:
        """Goes to the message."""
        self.add_class("reading")
        self._message.focus()
        self._show_message(again=False)

    def action_back(self) -> None:
        """Leaves the message, else the search, else the session."""
        if self.has_class("reading"):
            self.remove_class("reading")
            self._tree.focus()
        elif self.has_class("searching"):
            self._end_search()
        elif len(self.app.screen_stack) > 2:
            self.dismiss(None)
        else:
            self.app.exit()

    # --- search ---

    def action_search(self) -> None:
        """Opens the field of the search."""
        self.remove_class("reading")
        self.add_class("searching")
        self.search_field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Searches again, soon."""
        if event.input.id == "search":
            restart(self, "search", self._search, event.value.strip())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Goes to the tree. What was found stays listed until Escape."""
        if not event.value.strip():
            self._end_search()
        self._tree.focus()

    def _end_search(self) -> None:
        self.remove_class("searching")
        self.search_field.value = ""
        self._tree.focus()

    async def _search(self, text: str) -> None:
        await asyncio.sleep(_TYPING_S)
        if not text:
            self._model.look = self._model.look._replace(matches=None)
            await self._rebuild()
            return
        found = self._model.search(text)
        shown = -1
        while (matches := await self.in_thread(next, found, None)) is not None:
            if len(matches) > shown:
                shown = len(matches)
                self._model.look = self._model.look._replace(matches=matches)
                await self._rebuild()

    # --- folds and filters ---

    def action_mode(self, name: str) -> None:
        """Chooses what is listed."""
        self._model.set_mode(Mode[name])
        self._change()

    def action_toggle_fold(self) -> None:
        """Folds or unfolds what begins here."""
        self._fold(None)

    def action_fold(self, fold: bool) -> None:
        """Folds or unfolds what begins here; else goes to the prompt above, or to the message and back."""
        if self.has_class("reading"):
            if fold:
                self.action_back()
        elif not self._fold(fold):
            if fold:
                self.action_prompt(-1)
            else:
                self.on_pick_view_picked()

    def _fold(self, fold: bool | None) -> bool:
        line = self._tree.line
        changed = line is not None and self._model.toggle(line, self._tree.listing, fold)
        if changed:
            self._change()
        return changed

    def action_fold_all(self, fold: bool) -> None:
        """Folds or unfolds everything."""
        begin(self, "fold", self.changed_by, self._model.fold_all if fold else self._model.unfold_all)

    def action_thinking(self) -> None:
        """Unfolds or folds the message."""
        self._message.toggle_folds()

    def _change(self) -> None:
        begin(self, "change", self._rebuild)

    async def changed_by(self, change: Callable[[], object]) -> None:
        """Changes something in a thread and shows what has become of it."""
        await self.in_thread(change)
        await self._rebuild(again=True)

    # --- jumps ---

    def action_prompt(self, step: int) -> None:
        """Goes to the next or the previous prompt that is listed."""
        rows, kinds = self._tree.listing.rows, self._model.shape.kinds
        number = self._tree.cursor + step
        while 0 <= number < len(rows) and kinds[rows[number]] != Kind.PROMPT:
            number += step
        if 0 <= number < len(rows):
            self._tree.move_cursor(number)

    def action_sibling(self, step: int) -> None:
        """Goes to the alternative before or after this one."""
        if (line := self._tree.line) is not None:
            restart(self, "jump", self._to_sibling, line, step)

    async def _to_sibling(self, line: Line, step: int) -> None:
        row = await self.in_thread(self._model.sibling, line.row, step)
        if row is None:
            self.say("no further alternative here")
            return
        await self._to_row(row)

    async def _to_row(self, row: int) -> None:
        """Goes to an entry, and unfolds what hides it."""
        while (line := self._line_for(row)) is not None and line.row != row and line.hidden:
            self._model.toggle(line, self._tree.listing, False)
            await self._rebuild()
        if line is not None:
            self._tree.move_cursor(self._tree.listing.line_of[row])

    def _line_for(self, row: int) -> Line | None:
        listing = self._tree.listing
        return listing[max(listing.line_of[row], 0)] if len(listing) else None
