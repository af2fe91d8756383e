"""The leaf: the argument that stands for it, the leaf as a session last saw it, and what makes a session stale. Pure.

A session is stale if somebody else said something since, or moved the leaf to another branch. A note makes nobody
stale: an entry that nobody said, such as a compaction or the state of an application.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from convtree._engine import tree
from convtree._model.entries import MessageEntry
from convtree._model.notes import is_note_message

if TYPE_CHECKING:
    from convtree._engine.log_index import Index

OnStale = Literal["raise", "branch", "rebase"]
"""What an append does if another session moved the leaf: raise, continue the old leaf, continue the new one."""


class _Omitted(Enum):
    LEAF = "the session's leaf"


LEAF: Final = _Omitted.LEAF
"""Stands for the session's leaf where an entry id is left out; None is taken: the place before the first entry."""

AtLeaf = Literal[_Omitted.LEAF]


class SeenLeaf(msgspec.Struct, frozen=True):
    """The leaf as a session last saw it, and what to do if it has moved since."""

    id: str | None
    on_stale: OnStale

    def or_newer(self) -> SeenLeaf:
        """Returns the same with the policy to continue the log's leaf, unless the policy is "branch"."""
        return self if self.on_stale == "branch" else SeenLeaf(self.id, "rebase")


# A branch summary says what happened elsewhere, and a lost entry may have been a message: neither is a note.
_NOTES = frozenset({tree.COMPACTION, tree.MODEL_CHANGE, tree.EXTENSION_DATA, tree.OPAQUE})


def is_note(index: Index, row: int) -> bool:
    """Returns whether nobody said the entry in this row.

    Reads a message to decide: one that is visible to nobody is a note, and so is a text of the role `user` that only
    the model sees, because a program wrote it. A message that cannot be read is not a note.
    """
    what = index.tree.kinds[row] & tree.KIND
    if what != tree.MESSAGE:
        return what in _NOTES
    for entry in index.readable_records([row]):
        assert isinstance(entry, MessageEntry)
        return is_note_message(entry)
    return False


def only_notes_below(index: Index, above: int, row: int) -> bool:
    """Returns whether `above` is `row`, or an ancestor of it with notes only in between; `above` may be ROOT."""
    parents = index.tree.parents
    while row > above and is_note(index, row):
        row = parents[row]
    return row == above
