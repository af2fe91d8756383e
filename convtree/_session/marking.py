"""Marks that a session adds: bookmarks, name, archive flag, hold, directories, metadata. None moves the leaf. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

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


def hold(self: HasClient, held: bool = True) -> None:
    """Puts the session on hold, or releases it with `held=False`.

    A store does not delete a session on hold. It can be read, appended to and archived as before.
    """
    self._client.add_mark(SessionInfoMark(hold=held))


def set_directories(
    self: HasClient, *, cwd: str | UnsetType | None = UNSET, git_root: str | UnsetType | None = UNSET
) -> None:
    """Changes the session's working directory, its git root, or both. None removes one, left out it is unchanged.

    Stores find the session by the new directories. The header keeps those it began with.

    Raises:
        TypeError: neither is given.
        InvalidMessage: a directory cannot be stored.
    """
    if cwd is UNSET and git_root is UNSET:
        raise TypeError("set_directories needs cwd, git_root, or both")
    self._client.add_mark(SessionInfoMark(cwd=cwd, git_root=git_root))


def update_metadata(self: HasClient, /, **changes: Any) -> None:
    """Sets metadata by key; None removes a key."""
    self._client.add_mark(SessionInfoMark(metadata=changes))
