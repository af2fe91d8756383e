"""A session as a person sees it: a path whose entries know their alternatives, and all branches for chat components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args, overload

import msgspec

from convtree._engine.leaf import LEAF, AtLeaf
from convtree._model.entries import Entry
from convtree._session.client import HasClient
from convtree._session.header import check_choice
from convtree._session.view import SessionView

ViewShape: TypeAlias = Literal["assistant-ui"]


class ViewEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a path, and its place among its alternatives: "2/3" is `number` 2 `of` 3.

    `previous` and `next` are the ids of the alternatives before and after it, or None. What is no message, and an
    instruction to the model, has no alternatives: it is 1 of 1.
    """

    entry: Entry
    number: int = 1
    of: int = 1
    previous: str | None = None
    next: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as a JSON object, with `Entry.to_dict` as its `entry`."""
        place = {name: getattr(self, name) for name in ("number", "of", "previous", "next")}
        return {"entry": self.entry.to_dict()} | place


class View(Sequence[ViewEntry]):
    """The entries of a path as a person sees them, first to last. A list that cannot be changed.

    `leaf_id` is the entry that the path leads to; None is the place before the first entry.
    """

    def __init__(self, entries: Sequence[ViewEntry], leaf_id: str | None, export: Callable[[], dict[str, Any]]) -> None:
        self._entries = tuple(entries)
        self.leaf_id = leaf_id
        self._export = export

    @overload
    def __getitem__(self, index: int) -> ViewEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ViewEntry]: ...
    def __getitem__(self, index: int | slice) -> ViewEntry | Sequence[ViewEntry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ViewEntry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return f"<View of {len(self)} entries at {self.leaf_id!r}>"

    def to(self, shape: ViewShape) -> dict[str, Any]:
        """Returns the session with all its branches, as they are now, for a library of chat components.

        "assistant-ui" is what its `MessageRepository` exports and imports: `headId`, which is the message at this
        view's leaf, and `messages`, each with its `parentId`. Ids are those of the entries. Messages that a person does
        not see, instructions to the model and other entries are looked through, and the result of a call is part of the
        message with the call. `createdAt` is text; make it a `Date` in the browser.

        Branches below a damaged entry are left out. The objects are JSON values.

        Raises:
            ValueError: `shape` is another one; `build_context().to` makes requests for models.
            SessionClosed: the session is closed.
        """
        check_choice("shape", shape, get_args(ViewShape))
        return self._export()


def view(self: HasClient, leaf: str | Entry | AtLeaf | None = LEAF, *, last: int | None = None) -> View:
    """Returns the path to a leaf as a person sees it, each entry with its place among its alternatives.

    Messages that are hidden from the user are left out, as they are hidden now. Alternatives are the messages that a
    person sees with the same such message above them, on any branch: what the model or a program alone sees, and what
    is no message, is looked through. `session.tip(item.next)` is the leaf of the next alternative: view it, or move to
    it with `branch`.

    With `last`, only that many entries at the end are read, and their alternatives.

    Raises:
        EntryNotFound, LeafUncertain: there is no such leaf, or it is not certain.
        BrokenPath: among what is read, an entry is lost, a parent is missing, or a line was damaged.
        TypeError, ValueError: `last` is not a number from 1 on.
    """
    client = self._client
    leaf_id, entries = client.ask(_entries, leaf, last)
    return View(entries, leaf_id, lambda: client.ask(_thread, leaf_id))


def _entries(
    view: SessionView, leaf: str | Entry | AtLeaf | None, last: int | None
) -> tuple[str | None, list[ViewEntry]]:
    from convtree._engine.shown import placed

    row = view.row(leaf)
    entries = [_view_entry(*each) for each in placed(view.index, row, last)]
    return (view.leaf_id if leaf is LEAF else view.id_of(row)), entries


def _view_entry(entry: Entry, siblings: list[str], index: int) -> ViewEntry:
    before, after = siblings[:index][-1:], siblings[index + 1 :][:1]
    return ViewEntry(
        entry=entry,
        number=index + 1,
        of=len(siblings),
        previous=before[0] if before else None,
        next=after[0] if after else None,
    )


def _thread(view: SessionView, leaf_id: str | None) -> dict[str, Any]:
    from convtree._engine.thread import assistant_thread

    return assistant_thread(view.index, view.row(leaf_id))
