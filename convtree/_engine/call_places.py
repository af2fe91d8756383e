"""Where tool calls lie. A result that comes late may have its call on another branch than the leaf. Pure.

`_messages.matching` decides which result answers which call. Here it is asked about the path to the leaf, and then
about the messages with calls on other branches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from convtree._engine import tree
from convtree._engine.leaf import is_note
from convtree._messages.parts import Call, Result, Source, is_plain
from convtree._messages.said import read
from convtree._model.entries import Entry, Mark, MessageEntry

if TYPE_CHECKING:
    from convtree._engine.log_index import Index

_NEAR = 64  # entries above the leaf, and messages on other branches, that are looked at before the whole path is
_SPEAKERS = ("user", "system", "developer")


class CallPlaces:
    """The rows of the messages that made calls, by what a result may say of its call.

    Reads every message of the log when it is first asked, later only those that were added since.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows: dict[tuple[str, str], list[int]] = {}
        self._size = 0  # of the tree when it was read

    def has_none(self, results: Sequence[Result]) -> bool:
        """Returns whether it is known, without reading the whole log, that no call may get one of these results."""
        return self._size > 0 and not any(self.rows(result) for result in results)

    def rows(self, result: Result) -> Sequence[int]:
        """Returns the rows of the messages with a call that a result may answer, in log order."""
        if result.id:
            return self.with_id(result.id) or self._rows.get(("nameless", result.name), ())
        return self._found(("name", result.name) if result.name else ("any", ""))

    def with_id(self, id: str) -> Sequence[int]:
        """Returns the rows of the messages with a call of this id, in log order."""
        return self._found(("id", id))

    def _found(self, key: tuple[str, str]) -> Sequence[int]:
        columns = self._index.tree
        for row in range(self._size, len(columns)):
            if columns.kinds[row] & tree.KIND == tree.MESSAGE:
                calls = [call for source in _sources_in(self._index, row, but_plain=True) for call in source.calls]
                for each in {each for call in calls for each in _keys_of(call)}:
                    self._rows.setdefault(each, []).append(row)
        self._size = len(columns)
        return self._rows.get(key, ())


def _keys_of(call: Call) -> tuple[tuple[str, str], ...]:
    return ("id", call.id) if call.id else ("nameless", call.name), ("name", call.name), ("any", "")


def results_in(record: Entry | Mark) -> list[Result]:
    """Returns the results of tool calls that a message brings."""
    if not isinstance(record, MessageEntry) or record.role == "assistant":
        return []
    if is_plain(record.message) and record.role in _SPEAKERS:
        return []  # a shortcut with the same result
    return read(record.message, record.shape).results


def call_elsewhere(index: Index, results: Sequence[Result], row: int) -> int | None:
    """Returns the row of the newest message on another branch that waits for one of these results.

    None if a message on the path to `row` waits for it, or has that result already, or if nobody waits for it. Yet a
    result whose call has its id belongs to that call, also if it has another result.
    """
    if index.calls.has_none(results) or _is_near(index, results, row):
        return None
    made = {each for result in results for each in index.calls.rows(result)}
    elsewhere = sorted((each for each in made if not index.tree.is_ancestor(each, row)), reverse=True)
    waiting = (each for each in elsewhere[:_NEAR] if _belong(_with_results(index, each), results))
    found = next(waiting, None)
    if found is None:
        made = {each for result in results if result.id for each in index.calls.with_id(result.id)}
        return None if any(index.tree.is_ancestor(each, row) for each in made) else max(made, default=None)
    path = [source for each in index.tree.path(row) for source in _sources_in(index, each)]
    return None if _belong(path, results) else found


def _is_near(index: Index, results: Sequence[Result], row: int) -> bool:
    """Returns whether a call that is not far above gets one of these results."""
    above: list[Source] = []
    for each in islice(index.tree.walk_up(row), _NEAR):
        for source in _sources_in(index, each):
            above.insert(0, source)
            is_possible = any(_may_answer(result, call) for call in source.calls for result in results)
            if is_possible and _belong(above, results):
                return True
    return False


def _belong(above: Iterable[Source], results: Sequence[Result]) -> bool:
    """Returns whether one of these results answers a call of the messages above, or repeats a result there."""
    from convtree._messages.matching import match

    parts = [part for source in above for part in source.parts]
    matches = match([*parts, *results], named_only=True)
    answering = {id(result) for result in matches.answers.values()} | matches.repeated
    return any(id(result) in answering for result in results)


def _may_answer(result: Result, call: Call) -> bool:
    if result.id and call.id:
        return result.id == call.id
    return result.name == call.name or not (result.id or result.name)


def end_of_results(index: Index, row: int) -> int:
    """Returns the last of the results that follow a message with calls, notes aside; its own row if there is none."""
    return _rows_of_results(index, row)[-1]


def _with_results(index: Index, row: int) -> list[Source]:
    """Returns what a message with calls says, and the results that follow it."""
    return [source for each in _rows_of_results(index, row) for source in _sources_in(index, each)]


def _rows_of_results(index: Index, row: int) -> list[int]:
    """Returns a row and the rows of the results that follow it, notes aside."""
    rows, each = [row], row
    while (below := _result_or_note_below(index, each)) is not None:
        each, is_result = below
        if is_result:
            rows.append(each)
    return rows


def _result_or_note_below(index: Index, row: int) -> tuple[int, bool] | None:
    """Returns the newest child that is a result or a note, and whether it is a result."""
    for child in reversed(index.tree.children(row)):
        if any(results_in(record) for record in index.readable_records([child])):
            return child, True
        if is_note(index, child):
            return child, False
    return None


def _sources_in(index: Index, row: int, *, but_plain: bool = False) -> list[Source]:
    """Returns what a message says; nothing if the entry is none, or cannot be read."""
    return [
        read(record.message, record.shape)
        for record in index.readable_records([row])
        if isinstance(record, MessageEntry) and not (but_plain and is_plain(record.message))
    ]
