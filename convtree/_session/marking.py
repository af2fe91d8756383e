"""Marks that a session adds: labels, visibility, name, archive flag, hold, directories, metadata. Pure.

None of them moves the leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._engine.path_rows import effective, is_shown
from convtree._engine.write_batch import EncodedRecord, WriteBatch
from convtree._logs.directories import Directory, given, given_root
from convtree._model.entries import BranchSummaryEntry, Entry, LabelMark, MessageEntry, SessionInfoMark, VisibilityMark
from convtree._model.errors import InvalidMessage
from convtree._model.interrupts import Unlocking
from convtree._session.client import HasClient, checked_id
from convtree._session.header import check_choice
from convtree._session.view import SessionView


def label(self: HasClient, entry_id: str | Entry, text: str | None, *, id: str | None = None) -> None:
    """Sets a bookmark on an entry, or clears it with None. Does not move the leaf.

    `id` makes a retry safe: if that id is stored already, nothing is written, even if the label was changed since.

    Raises:
        EntryNotFound: there is no such entry.
        InvalidMessage: the label is longer than 256 characters.
        IdConflict: the id belongs to another record.
    """
    self._client.add_mark(LabelMark(id=checked_id(id), target_id=self._client.id_of(entry_id), label=text))


def hide(self: HasClient, entry_id: str | Entry, *, visible_to: Literal["user", "model", "nobody"] = "user") -> bool:
    """Hides a message or a branch summary afterwards; returns whether the context at the session's leaf changed.

    It stays in the log and on its path, and contexts of every path leave it out unless it is visible to the model. The
    results of hidden calls are left out, too; a call whose result is hidden is answered by "hidden". `visible_to` says
    who still sees it. Moves no leaf. If nothing would change, nothing is written.

    Raises:
        EntryNotFound: there is no such entry.
        InvalidMessage: it is neither a message nor a branch summary.
    """
    check_choice("visible_to", visible_to, ("user", "model", "nobody"))
    return _change(self, entry_id, visible_to=visible_to)


def show(self: HasClient, entry_id: str | Entry) -> bool:
    """Makes a message or a branch summary visible to all; returns whether the context at the session's leaf changed.

    A compaction does not take in what was hidden when it was written: if the entry lies before its kept range, showing
    changes nothing until the next compaction, and the result is False. `pin` brings it back at once. Otherwise as
    `hide`.

    Raises:
        EntryNotFound: there is no such entry.
        InvalidMessage: it is neither a message nor a branch summary.
    """
    return _change(self, entry_id, visible_to="all")


def pin(self: HasClient, entry_id: str | Entry, pinned: bool = True) -> bool:
    """Pins a message or a branch summary, so that it survives compactions; returns whether the leaf's context changed.

    If it lies before the kept range of the last compaction, pinning brings it back, and unpinning changes nothing until
    the next compaction. Pin a call together with its results: alone, it is an open call there. Otherwise as `hide`.

    Raises:
        EntryNotFound: there is no such entry.
        InvalidMessage: it is neither a message nor a branch summary.
    """
    return _change(self, entry_id, pinned=pinned)


def rename(self: HasClient, name: str | None, *, id: str | None = None) -> None:
    """Sets the session's name, or removes it with None. `id` makes a retry safe, as for `label`."""
    self._client.add_mark(SessionInfoMark(id=checked_id(id), name=name))


def archive(self: HasClient, archived: bool = True, *, id: str | None = None) -> None:
    """Sets or clears the session's archive flag. An archived session can be written to.

    `id` makes a retry safe, as for `label`.
    """
    self._client.add_mark(SessionInfoMark(id=checked_id(id), archived=archived))


def hold(self: HasClient, held: bool = True, *, id: str | None = None) -> None:
    """Puts the session on hold, or releases it with `held=False`.

    A store does not delete a session on hold. It can be read, appended to and archived as before. `id` makes a retry
    safe, as for `label`.
    """
    self._client.add_mark(SessionInfoMark(id=checked_id(id), hold=held))


def set_directories(
    self: HasClient,
    *,
    cwd: Directory | UnsetType | None = UNSET,
    git_root: Directory | UnsetType | None = UNSET,
    id: str | None = None,
) -> None:
    """Changes the session's working directory, its git root, or both. None removes one, left out it is unchanged.

    Stores find the session by the new directories, which are made absolute and normalised. The header keeps those it
    began with. `id` makes a retry safe, as for `label`.

    Raises:
        TypeError: neither is given.
        InvalidMessage: a directory cannot be stored.
    """
    if cwd is UNSET and git_root is UNSET:
        raise TypeError("set_directories needs cwd, git_root, or both")
    self._client.add_mark(SessionInfoMark(id=checked_id(id), cwd=given(cwd), git_root=given_root(git_root)))


def update_metadata(self: HasClient, changes: Mapping[str, Any] | None = None, /, **more: Any) -> None:
    """Sets metadata by key, from a mapping or as arguments; None removes a key."""
    self._client.add_mark(SessionInfoMark(metadata={**(changes or {}), **more}))


def _change(self: HasClient, entry_id: str | Entry, **change: Any) -> bool:
    """Adds a visibility mark; returns whether the context at the session's leaf has another content now."""
    client, target_id = self._client, self._client.id_of(entry_id)
    mark = client.encode(VisibilityMark(target_id=target_id, **change))
    with Unlocking(client.lock), client.lock:
        before = client.ask(_shows, target_id)
        client.write(ChangeVisibility(mark, client.leaf_id))
        return client.ask(_shows, target_id) != before


def _shows(view: SessionView, entry_id: str) -> bool:
    """Returns whether the context at the leaf has an entry."""
    row, leaf = view.index.node(entry_id), view.row_of(view.leaf_id) if view.leaf_id is not None else tree.ROOT
    return row is not None and is_shown(view.index, leaf, row)


class ChangeVisibility(msgspec.Struct, frozen=True):
    """A mark that changes who sees an entry, or whether it is pinned. The session has seen the leaf `leaf_id`."""

    mark: EncodedRecord
    leaf_id: str | None

    moves_leaf: ClassVar[bool] = False

    def plan(self, batch: WriteBatch) -> None:
        """Adds the mark, unless it says what is so already and changes nothing at the leaf.

        Raises:
            EntryNotFound: the log has no such entry.
            InvalidMessage: the entry is neither a message nor a branch summary.
        """
        mark, index = cast(VisibilityMark, self.mark.record), batch.index
        row = batch.row_of(mark.target_id)
        entry = index.entries([row])[0]
        if not isinstance(entry, MessageEntry | BranchSummaryEntry):
            raise InvalidMessage(
                f"entry {mark.target_id!r} is of the type {entry.type!r}; only a message or a branch summary can be "
                "hidden, shown or pinned",
                place="target_id",
            )
        seen_by, pinned = effective(index, row, entry)
        if (
            mark.visible_to not in (UNSET, seen_by)
            or mark.pinned not in (UNSET, pinned)
            or self._brings_back(index, row)
        ):
            batch.add_mark(self.mark)

    def _brings_back(self, index: Index, row: int) -> bool:
        """Returns whether a pin, even of a pinned entry, brings it back to the context at the leaf."""
        leaf = index.node(self.leaf_id) if self.leaf_id is not None else None
        pins = cast(VisibilityMark, self.mark.record).pinned is True
        return (
            pins and leaf is not None and not is_shown(index, leaf, row) and is_shown(index, leaf, row, pinned_now=True)
        )
