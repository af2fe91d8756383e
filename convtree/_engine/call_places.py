"""Where tool calls lie. A result that comes late may have its call on another branch than the leaf. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from convtree._engine import tree
from convtree._engine.leaf import is_note
from convtree._messages.parts import is_plain
from convtree._messages.reading import read
from convtree._model.entries import Entry, Mark, MessageEntry

if TYPE_CHECKING:
    from convtree._engine.log_index import Index

_NEAR = 64  # entries above the leaf that are looked at before the whole log is


class CallPlaces:
    """The rows of the messages that made a call, by the call's id.

    Reads every message of the log when it is first asked, later only those that were added since.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows: dict[str, list[int]] = {}
        self._size = 0  # of the tree when it was read

    def rows(self, id: str) -> Sequence[int]:
        """Returns the rows of the messages with a call of this id, in log order."""
        columns = self._index.tree
        for row in range(self._size, len(columns)):
            if columns.kinds[row] & tree.KIND == tree.MESSAGE:
                for call_id in _calls_in(self._index, row):
                    self._rows.setdefault(call_id, []).append(row)
        self._size = len(columns)
        return self._rows.get(id, ())


def answered_ids(record: Entry | Mark) -> set[str]:
    """Returns the ids of the calls that a message answers."""
    if not isinstance(record, MessageEntry) or is_plain(record.message) or record.role == "assistant":
        return set()
    return {result.id for result in read(record.message, record.shape).results if result.id}


def call_elsewhere(index: Index, ids: set[str], row: int) -> int | None:
    """Returns the row of the newest message that made one of these calls, if none is on the path to `row`.

    None if the log has none of them.
    """
    near = islice(index.tree.walk_up(row), _NEAR)
    if any(not ids.isdisjoint(_calls_in(index, each)) for each in near):
        return None
    made = {each for id in ids for each in index.calls.rows(id)}
    if any(index.tree.is_ancestor(each, row) for each in made):
        return None
    return max(made, default=None)


def end_of_results(index: Index, row: int) -> int:
    """Returns the last of the results that follow a message with calls, notes aside; its own row if there is none."""
    end = each = row
    while (below := _result_or_note_below(index, each)) is not None:
        each, is_result = below
        if is_result:
            end = each
    return end


def _result_or_note_below(index: Index, row: int) -> tuple[int, bool] | None:
    """Returns the newest child that is a result or a note, and whether it is a result."""
    for child in reversed(index.tree.children(row)):
        if any(answered_ids(record) for record in index.readable_records([child])):
            return child, True
        if is_note(index, child):
            return child, False
    return None


def _calls_in(index: Index, row: int) -> set[str]:
    """Returns the ids of the calls that an entry made; none if it cannot be read."""
    return {
        call.id
        for record in index.readable_records([row])
        if isinstance(record, MessageEntry) and not is_plain(record.message)
        for call in read(record.message, record.shape).calls
        if call.id
    }
