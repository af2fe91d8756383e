"""What can be done with the entry at the cursor: label it, fork there, export its session, copy its id.

Only a label and a fork write, and each opens the session for that alone. A question is about the entry that the cursor
was on when it was asked, also if the log has grown since. If the log was replaced meanwhile, the answer is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from convtree._cli.browse.dialogs import Answer, Ask
from convtree._cli.browse.model import SessionModel
from convtree._cli.browse.shape import Shape
from convtree._cli.browse.source import export
from convtree._cli.browse.tasks import begin
from convtree._cli.browse.tree_view import TreeView
from convtree._cli.browse.working import WorkingScreen
from convtree._cli.render import count
from convtree._engine.redact import Redactor

_TITLE = 40  # characters of a title that the name of a file begins with


class EntryScreen(WorkingScreen):
    """A screen with the tree of a session."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "label", "Label"),
        Binding("f", "fork", "Fork"),
        Binding("e", "export", "Export"),
        Binding("y", "copy_id", "Copy id"),
    ]

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self._model = model
        self._tree = TreeView(model)

    async def changed_by(self, change: Callable[[], object]) -> None:
        """Changes something in a thread and shows what has become of it."""
        raise NotImplementedError

    # --- label ---

    def action_label(self) -> None:
        """Asks for a label."""
        if (line := self._tree.line) is not None:
            old = self._model.labels.get(line.row, "")
            ask = Ask("Label of this entry", old, "Enter sets it, an empty one clears it, Escape cancels")
            self.app.push_screen(ask, partial(self._set_label, self._model.shape, line.row))

    def _set_label(self, shape: Shape, row: int, answer: Answer | None) -> None:
        if answer is not None:
            begin(self, "write", self.changed_by, partial(self._model.label, shape, row, answer.text.strip()))

    # --- fork ---

    def action_fork(self) -> None:
        """Asks before it forks; where a fork is a new file, for its name."""
        if (line := self._tree.line) is None:
            return
        if self._model.source.asks_for_path:
            ask = Ask("File of the new session, which ends with this entry", "fork.jsonl", "Enter writes it")
        else:
            ask = Ask("Fork: a new session that ends with this entry", "", "Enter makes it, Escape cancels")
        self.app.push_screen(ask, partial(self._fork, self._model.shape, line.row))

    def _fork(self, shape: Shape, row: int, answer: Answer | None) -> None:
        if answer is not None and (answer.text or not self._model.source.asks_for_path):
            begin(self, "write", self._forked, shape, row, answer.text)

    async def _forked(self, shape: Shape, row: int, path: str) -> None:
        if (forked := await self.in_thread(self._model.fork, shape, row, path)) is not None:
            self.say(f"forked: {forked.session.location}")
            self.app.push_screen(type(self)(forked))

    # --- export, copy ---

    def action_export(self) -> None:
        """Asks for the name of a file."""
        title = self._model.title[:_TITLE]
        name = "".join(each if each.isalnum() else "-" for each in title).strip("-") or "session"
        hint = "The ending .html, .md or .json is the format. Enter writes the file; Tab, then Space, changes the box."
        ask = Ask("Export the session to a new file", f"{name}.md", hint, "redact secrets")
        self.app.push_screen(ask, self._export)

    def _export(self, answer: Answer | None) -> None:
        if answer is not None and answer.text:
            begin(self, "export", self._exported, answer.text, Redactor() if answer.is_chosen else None)

    async def _exported(self, path: str, redactor: Redactor | None) -> None:
        model = self._model
        target = await self.in_thread(export, model.session, path, redactor, allow_gaps=model.allows_gaps)
        if target is not None:
            redacted = "" if redactor is None else f"; {count(redactor.counts.total(), 'secrets')} redacted"
            self.say(f"written: {target}{redacted}")

    def action_copy_id(self) -> None:
        """Copies the id of the entry into the clipboard of the terminal."""
        if (line := self._tree.line) is not None:
            begin(self, "copy", self._copy_id, line.row)

    async def _copy_id(self, row: int) -> None:
        if (id := await self.in_thread(self._model.id_of, row)) is not None:
            self.copy(id)
