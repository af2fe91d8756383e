"""Marks that a session adds: bookmarks, name, archive flag, metadata. None of them moves the leaf. Pure."""

from __future__ import annotations

from typing import Any

from convtree._model.entries import LabelMark, SessionInfoMark
from convtree._session.client import HasClient


def label(self: HasClient, entry_id: str, text: str | None) -> None:
    """Sets a bookmark on an entry, or clears it with None. Does not move the leaf.

    Raises:
        EntryNotFound: there is no such entry.
        InvalidMessage: the label is longer than 256 characters.
    """
    self._client.add_mark(LabelMark(target_id=entry_id, label=text))


def rename(self: HasClient, name: str | None) -> None:
    """Sets the session's name, or removes it with None."""
    self._client.add_mark(SessionInfoMark(name=name))


def archive(self: HasClient, archived: bool = True) -> None:
    """Sets or clears the session's archive flag. An archived session can be written to."""
    self._client.add_mark(SessionInfoMark(archived=archived))


def update_metadata(self: HasClient, /, **changes: Any) -> None:
    """Sets metadata by key; None removes a key."""
    self._client.add_mark(SessionInfoMark(metadata=changes))
