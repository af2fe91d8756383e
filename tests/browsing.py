"""What the tests of `convtree browse` share: the application without a terminal, and its screen as text."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.cells import set_cell_size
from textual.pilot import Pilot
from textual.widgets import Input

from convtree._cli.browse.app import Browser
from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.session_lists import OfStore, SessionList
from convtree._cli.browse.session_screen import SessionScreen
from convtree._cli.browse.source import LogFile
from convtree._cli.browse.tree_view import TreeView
from convtree.stores._session_store import SessionStore

_PIECE = re.compile(r'<text class="[^"]*-r\d+" x="([\d.]+)"[^>]*-line-(\d+)\)">([^<]*)</text>')
_CELL = 12.2  # the width of a column in a screenshot
Steps = Callable[["Hand"], Awaitable[None]]


class Recorded(Browser):
    """The application, with all that it has shown for some seconds."""

    def __init__(self, what: SessionList | SessionModel) -> None:
        super().__init__(what)
        self.said: list[str] = []

    def notify(self, message: str, **options: Any) -> None:
        """Records what is shown: a notification is gone after some seconds, which a slow machine may take."""
        self.said.append(message)
        super().notify(message, **options)


class Hand:
    """A person at the application: presses keys and looks at the screen."""

    def __init__(self, app: Recorded, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        """Presses keys, then waits until everything that they caused is done."""
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        """Puts a text in the place of the one in the field that has the focus."""
        field = self.app.focused
        assert isinstance(field, Input)
        field.value = text
        await self.settle()

    async def settle(self) -> None:
        """Waits until no work is left."""
        quiet = 0  # rounds without work; a new layout may cause more work in the round after it
        while quiet < 2:
            await self.pilot.pause()
            quiet = 0 if len(self.app.workers) else quiet + 1
            await self.app.workers.wait_for_complete()

    async def resize(self, width: int, height: int) -> None:
        """Changes the size of the terminal."""
        await self.pilot.resize_terminal(width, height)
        await self.settle()

    @property
    def lines(self) -> list[str]:
        """The screen, line by line, without the keys at its end."""
        found: dict[int, str] = {}
        for x, line, text in _PIECE.findall(self.app.export_screenshot()):
            before = set_cell_size(found.get(int(line), ""), round(float(x) / _CELL))
            found[int(line)] = before + html.unescape(text).replace("\xa0", " ").rstrip("\n")
        return [found.get(line, "").rstrip() for line in range(max(found))]

    @property
    def screen(self) -> SessionScreen:
        """The session on the screen."""
        assert isinstance(self.app.screen, SessionScreen)
        return self.app.screen

    @property
    def tree(self) -> TreeView:
        """The tree on the screen."""
        return self.screen.query_one(TreeView)

    @property
    def at(self) -> str:
        """The line of the screen that the cursor is on."""
        return self.lines[1 + self.tree.cursor_at].strip()

    @property
    def said(self) -> list[str]:
        """What was shown for some seconds, oldest first."""
        return self.app.said


def browse(
    what: Path | SessionStore | SessionList, steps: Steps, size: tuple[int, int] = (80, 24), *, allow_gaps: bool = False
) -> None:
    """Runs the application on a log, a store or a list, and takes some steps in it."""

    async def run() -> None:
        shown: SessionList | SessionModel
        if isinstance(what, Path):
            shown = SessionModel(LogFile(what, None, allow_gaps), LogFile(what).open())
        else:
            shown = OfStore(what, allow_gaps) if isinstance(what, SessionStore) else what
        app = Recorded(shown)
        async with app.run_test(size=size) as pilot:
            hand = Hand(app, pilot)
            await hand.settle()
            await steps(hand)

    asyncio.run(run())
