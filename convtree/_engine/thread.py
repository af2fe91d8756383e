"""All branches of a session as a thread of messages, as a person sees them. Pure.

The result of a tool call becomes part of the message with the call, if the call has no other result. A call that was
answered on two branches is shown without one, and each of its results as a message: which of them belongs to the call
depends on the branch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._engine.shown import Shown
from convtree._messages.base64_data import with_standard_data
from convtree._messages.matching import match
from convtree._messages.parts import Result, Source
from convtree._messages.said import read
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
        self._shown: dict[int, int] = {}  # by row, itself, or the message above it whose calls have its results
        for row, said in self._said.items():
            is_folded = said.source.parts and not self._parts[row]
            self._shown[row] = self._shown.get(said.above, said.above) if is_folded else row

    def shown_above(self, row: int) -> int:
        """Returns the nearest message of the thread at or above a row; ROOT if there is none."""
        row = self._nearest[row] if row >= 0 else row
        return self._shown.get(row, row)

    def id_of(self, row: int) -> str | None:
        """Returns the id of a message; None for ROOT."""
        return self._said[row].entry.id if row >= 0 else None

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yields the messages with their parents, which come first."""
        shown = [row for row, at in self._shown.items() if at == row]
        parents = {row: self.shown_above(self._said[row].above) for row in shown}
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
        done = set[int]()
        for row in reversed(self._said):
            if row in done or not self._said[row].source.results:
                continue
            run = self._results_up(row)
            own = {id(result) for each in run if each not in done for result in self._said[each].source.results}
            rows = {*run, *self._calls_up(run[-1]), *(each for one in run for each in self._callers_of(one, callers))}
            matched = match(part for each in sorted(rows) for part in self._said[each].source.parts)
            for key, result in matched.answers.items():
                if id(result) in own:
                    found.setdefault(key, []).append(result)
            done.update(run)
        return found

    def _results_up(self, row: int) -> list[int]:
        """Returns a message with results, and those above it that have results and no calls."""
        run = [row]
        while (row := self._said[row].above) >= 0 and self._said[row].source.results:
            if self._said[row].source.calls:
                break
            run.append(row)
        return run

    def _calls_up(self, row: int) -> Iterator[int]:
        """Yields the messages above a message that have calls, up to the first that has none."""
        while (row := self._said[row].above) >= 0 and self._said[row].source.calls:
            yield row

    def _callers_of(self, row: int, callers: dict[str, list[int]]) -> Iterator[int]:
        """Yields the nearest message above a result for each id that it names."""
        for result in self._said[row].source.results:
            named = callers.get(result.id or "", [])
            above = (named[at] for at in range(bisect_left(named, row) - 1, -1, -1))
            caller = next((each for each in above if self._index.tree.is_ancestor(each, row)), None)
            if caller is not None:
                yield caller


def _source(entry: MessageEntry) -> Source:
    source = read(entry.message, entry.shape)
    source.entry_id = entry.id
    source.parts = tuple(map(with_standard_data, source.parts))
    return source
