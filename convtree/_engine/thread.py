"""All branches of a session as a thread of messages, as a person sees them. Pure.

The result of a tool call becomes part of the message with the call, if the call has no other result. A call that was
answered on two branches is shown without one, and each of its results as a message: which of them belongs to the call
depends on the branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._engine.shown import Shown
from convtree._messages.base64_data import with_standard_data
from convtree._messages.matching import match
from convtree._messages.parts import Result, Source
from convtree._messages.reading import read
from convtree._model.batches import batched
from convtree._model.entries import MessageEntry
from convtree._providers import assistant_ui


def assistant_thread(index: Index, leaf: int) -> dict[str, Any]:
    """Returns the messages of every branch in the form that assistant-ui exports and imports.

    Branches that no path leads to, because an entry above them is lost or damaged, are left out.
    """
    thread = _Thread(index)
    return {"headId": thread.id_of(thread.shown_above(leaf)), "messages": list(thread.messages())}


class _Said(msgspec.Struct, frozen=True, eq=False):
    """A message that counts: its entry, what it says, and the row of the message above it, or ROOT."""

    entry: MessageEntry
    source: Source
    above: int


class _Thread:
    """The messages of an index that a person sees, by row."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._nearest: list[int] = []  # by row, the message at or above it that counts; ROOT; MISSING behind a gap
        self._said: dict[int, _Said] = {}
        self._read()
        answers = self._answers()
        self._answers_of = {call: results[0] for call, results in answers.items() if len(results) == 1}
        self._folded = {id(result) for result in self._answers_of.values()}
        self._parts = {
            row: [part for part in said.source.parts if id(part) not in self._folded]
            for row, said in self._said.items()
        }

    def shown_above(self, row: int) -> int:
        """Returns the message at or above a row that is a message of the thread; ROOT if there is none."""
        row = self._nearest[row] if row >= 0 else row
        while row >= 0 and not self._parts[row] and self._said[row].source.parts:
            row = self._said[row].above  # all of it is part of the message with the calls
        return row

    def id_of(self, row: int) -> str | None:
        """Returns the id of a message; None for ROOT."""
        return self._said[row].entry.id if row >= 0 else None

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yields the messages with their parents, which come first."""
        parents = {
            row: self.shown_above(said.above) for row, said in self._said.items() if self.shown_above(row) == row
        }
        followed = set(parents.values())
        for row, parent in parents.items():
            is_last = row not in followed
            said = assistant_ui.message(self._said[row].entry, self._parts[row], self._answers_of, is_last=is_last)
            yield {"parentId": self.id_of(parent), "message": said}

    def _read(self) -> None:
        columns, shown = self._index.tree, Shown(self._index)
        for rows in batched(range(len(columns))):
            shown.entries.clear()
            shown.load(rows)
            for row in rows:
                parent, entry = columns.parents[row], shown.entries.get(row)
                above = self._nearest[parent] if parent >= 0 else parent
                if above == tree.MISSING or shown.is_end(row):
                    self._nearest.append(tree.MISSING)
                elif isinstance(entry, MessageEntry) and shown.counts(row, entry):
                    self._nearest.append(row)
                    self._said[row] = _Said(entry, _source(entry), above)
                else:
                    self._nearest.append(above)

    def _answers(self) -> dict[int, list[Result]]:
        """Returns the results of each call, by the identity of the call, on every branch."""
        callers: dict[str, list[int]] = {}
        for row, said in self._said.items():
            for call in said.source.calls:
                if call.id is not None:
                    callers.setdefault(call.id, []).append(row)
        found: dict[int, list[Result]] = {}
        for row, said in self._said.items():
            own = {id(result) for result in said.source.results}
            if own:
                rows = sorted({row, *self._calls_before(row), *self._callers_above(row, callers)})
                matched = match(part for each in rows for part in self._said[each].source.parts)
                for key, result in matched.answers.items():
                    if id(result) in own:
                        found.setdefault(key, []).append(result)
        return found

    def _calls_before(self, row: int) -> Iterator[int]:
        """Yields the messages above a result up to the nearest with calls, which may be several in a row."""
        row = self._said[row].above
        while row >= 0 and self._said[row].source.results and not self._said[row].source.calls:
            yield row
            row = self._said[row].above
        while row >= 0 and self._said[row].source.calls:
            yield row
            row = self._said[row].above

    def _callers_above(self, row: int, callers: dict[str, list[int]]) -> Iterator[int]:
        """Yields the nearest message above a result for each id that it names."""
        for result in self._said[row].source.results:
            above = (each for each in reversed(callers.get(result.id or "", ())) if each < row)
            caller = next((each for each in above if self._index.tree.is_ancestor(each, row)), None)
            if caller is not None:
                yield caller


def _source(entry: MessageEntry) -> Source:
    source = read(entry.message, entry.shape)
    source.entry_id = entry.id
    source.parts = tuple(map(with_standard_data, source.parts))
    return source
