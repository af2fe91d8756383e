"""Which messages are notes: those that nobody said. Pure."""

from __future__ import annotations

from convtree._messages.said import read
from convtree._model.entries import MessageEntry

INSTRUCTS = ("system", "developer")


def is_note_message(entry: MessageEntry) -> bool:
    """Returns whether nobody said this message: it is hidden from everybody, or a program wrote it for the model.

    A program wrote a text of the role `user` that only the model sees. The result of a tool call is no such text. What
    a later mark hides was said nevertheless.
    """
    if entry.visible_to == "model" and entry.role == "user":
        return not read(entry.message, entry.shape).results
    return entry.visible_to == "nobody"


def is_activity(entry: MessageEntry) -> bool:
    """Returns whether the time of this message counts as activity. That of a system prompt does not.

    A system prompt makes a leaf stale, so it is not a note. But nobody said it: a program sets it when it opens the
    session.
    """
    return entry.role not in INSTRUCTS and not is_note_message(entry)
