"""Computes the order of a session's entries in a file of kit. Pure.

kit keeps every line between a compaction and its first kept entry, and reads the model from the changes there, so the
file must have no other lines there. Only the fields needed for that are held in memory, not the entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from convtree._formats.common.export import Model, is_hidden
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, ModelChangeEntry


class Named(NamedTuple):
    """The model in effect at an entry; the shape of the message that named it, None if no message did."""

    model: Model = Model()
    shape: str | None = None


class _Row(NamedTuple):
    """The facts kept of an entry. `parent` is the row of its parent, -1 for a root."""

    id: str
    parent: int
    has_a_say: bool
    named: Named


class Order:
    """The order of a session's entries, with regard to the leaf."""

    def __init__(self, entries: Iterable[Entry], leaf_id: str | None) -> None:
        self._rows: list[_Row] = []
        self._row_of: dict[str, int] = {}
        self._compactions: dict[int, CompactionEntry] = {}
        self._changes: dict[int, ModelChangeEntry] = {}
        for entry in entries:
            self._take(entry)
        self._path = self._path_to(leaf_id)
        self._kept = self._find_kept()

    def __contains__(self, id: object) -> bool:
        return id in self._row_of

    @property
    def compaction(self) -> CompactionEntry | None:
        """The last compaction on the path to the leaf."""
        return next((self._compactions[row] for row in reversed(self._path) if row in self._compactions), None)

    @property
    def named(self) -> Named:
        """The model at the leaf."""
        return self._rows[self._path[-1]].named if self._path else Named()

    @property
    def change(self) -> ModelChangeEntry | None:
        """The last change of the model that kit looks at."""
        start = self._kept[0] if self._kept else 0
        rows = (row for row in reversed(self._path[start:]) if row in self._changes)
        return next((self._changes[row] for row in rows), None)

    def moved(self) -> dict[str, int]:
        """Returns the entries that are written later, with their pass: 1 for the kept part of the path, 2 for the rest.

        Empty if kit shows no other entries among those that the last compaction keeps.
        """
        if self._kept is None or self._kept[0] == self._kept[1]:
            return {}
        first, last = (self._path[at] for at in self._kept)
        path = set(self._path)
        if not any(self._rows[row].has_a_say for row in range(first, last) if row not in path):
            return {}
        tail = self._path[self._kept[0] :]
        turns = dict.fromkeys(tail, 1)
        for row in range(first, len(self._rows)):
            if row not in turns and self._rows[row].parent in turns:
                turns[row] = 2
        return {self._rows[row].id: turn for row, turn in turns.items()}

    def _take(self, entry: Entry) -> None:
        row, parent = len(self._rows), self._row_of.get(entry.parent_id or "", -1)
        above = self._rows[parent].named if parent >= 0 else Named()
        named = above
        if isinstance(entry, ModelChangeEntry):
            self._changes[row] = entry
            named = Named(above.model.after(entry))
        elif (after := above.model.after(entry)) != above.model:
            named = Named(after, (entry.shape or "") if isinstance(entry, MessageEntry) else None)
        elif isinstance(entry, CompactionEntry):
            self._compactions[row] = entry
        self._row_of[entry.id] = row
        self._rows.append(_Row(entry.id, parent, _has_a_say(entry), named))

    def _path_to(self, id: str | None) -> list[int]:
        path: list[int] = []
        row = self._row_of.get(id or "", -1)
        while row >= 0:
            path.append(row)
            row = self._rows[row].parent
        return path[::-1]

    def _find_kept(self) -> tuple[int, int] | None:
        """Returns the indexes on the path of the first entry that the last compaction keeps, and of the compaction."""
        if (compaction := self.compaction) is None:
            return None
        at = self._path.index(self._row_of[compaction.id])
        first = self._row_of.get(compaction.first_kept_entry_id or "", -1)
        return self._path.index(first) if first in self._path[:at] else at, at


def _has_a_say(entry: Entry) -> bool:
    """Returns whether an entry changes the context or the model in kit."""
    if isinstance(entry, MessageEntry):
        return not is_hidden(entry)
    return isinstance(entry, BranchSummaryEntry | ModelChangeEntry)
