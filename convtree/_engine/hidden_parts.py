"""Pairing in contexts that hide messages: no call and no result loses its counterpart because that one is hidden. Pure.

The results of a hidden call are left out, wherever they lie. A hidden result whose call is shown becomes a placeholder.
Both happen part by part, and in the context only: the log keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from convtree._engine.path_rows import Arranged, EntryCache, PathRows
from convtree._engine.seen import seen
from convtree._messages.editing import with_hidden_results, without_results
from convtree._messages.matching import match
from convtree._messages.parts import Call, Part, Result, Source
from convtree._model.entries import MessageEntry

Message = Mapping[str, Any]


def arrange(found: PathRows, above: Sequence[int], cache: EntryCache) -> Arranged:
    """Arranges the messages of a context. Its shown messages are in the cache already.

    `above` are hidden rows before the kept range that are not among the rows of the context. Where most of a path is
    hidden, that part is read only if calls and results of the shown part do not fit each other. `above` is read only if
    something in the context needs it, so that hiding costs nothing once it is behind a compaction.
    """
    if above and not _may_answer_above(found, cache):
        above = ()
    rows = [*sorted((*above, *found.rows[: found.pinned])), *found.rows[found.pinned :]]
    hidden = found.hidden.union(above)
    shown, unseen = [row for row in rows if row not in hidden], [row for row in rows if row in hidden]
    if len(shown) < len(unseen) and _fit(_sources(cache, shown)):
        last_reply = max((row for row in shown if _is_reply(cache, row)), default=-1)
        recent = [row for row in unseen if row > last_reply and row not in found.replaced]
        cache.load(recent)
        if not any(source.calls for _, source in _sources(cache, recent)):
            return Arranged(shown)
    cache.load(unseen)
    if not any(source.calls or source.results for _, source in _sources(cache, unseen)):
        return Arranged(shown)
    older = len(above) + found.pinned
    return _Pairing(cache, rows, hidden, older).arranged(edited=not _fit(_sources(cache, shown)))


def _may_answer_above(found: PathRows, cache: EntryCache) -> bool:
    """Returns whether the rows of a context have a result without a call, or a pinned call without a result."""
    if _fit(_sources(cache, [row for row in found.rows if row not in found.hidden])):
        return False
    cache.load(row for row in found.rows if row in found.hidden)
    return not _Pairing(cache, found.rows, found.hidden, found.pinned).is_complete


def _sources(cache: EntryCache, rows: Iterable[int]) -> list[tuple[int, Source]]:
    """Returns the positions of the rows that are messages, and what they say."""
    entries = ((position, cache.entries.get(row)) for position, row in enumerate(rows))
    return [(position, seen(entry)) for position, entry in entries if isinstance(entry, MessageEntry)]


def _is_reply(cache: EntryCache, row: int) -> bool:
    entry = cache.entries.get(row)
    return isinstance(entry, MessageEntry) and entry.role == "assistant"


def _fit(sources: Iterable[tuple[int, Source]]) -> bool:
    """Returns whether every call has one later result, every result one call, and no two calls have one id."""
    used: set[str] = set()
    waiting: set[str | None] = set()
    for _, source in sources:
        for result in source.results:
            if result.id not in waiting:
                return False
            waiting.remove(result.id)
        for call in source.calls:
            if call.id is None or call.id in used:
                return False
            used.add(call.id)
            waiting.add(call.id)
    return not waiting


class _Pairing:
    """The calls and results of a path, hidden or not, and which of them belong to each other.

    The first `older` rows lie before the kept range. Results there are among the rows only if they are pinned or
    hidden, so a hidden call there may have its results elsewhere. It gets those that answer no other call.
    """

    def __init__(self, cache: EntryCache, rows: Sequence[int], hidden: frozenset[int], older: int) -> None:
        self._cache = cache
        self._rows = rows
        self._hidden = hidden
        self._older = older
        self._sources = _sources(cache, rows)
        self._positions = {id(part): position for position, source in self._sources for part in source.parts}
        self.is_complete = True  # every shown result has a call, and every shown call before the kept range a result
        self._dropped: dict[int, list[Result]] = {}  # shown results, by position: their call is hidden
        self._covered: list[tuple[Call, Result]] = []  # shown calls with their hidden results
        self._together: list[tuple[int, int | None]] = []  # positions of hidden calls and of their results
        self._match()

    def _match(self) -> None:
        parts = [part for _, source in self._sources for part in source.parts if isinstance(part, Call | Result)]
        calls = [part for part in parts if isinstance(part, Call)]
        old = [call for call in calls if self._is_hidden(call) and self._positions[id(call)] < self._older]
        left_aside = set(map(id, old))
        found = match(part for _, source in self._sources for part in source.parts if id(part) not in left_aside)
        for call in calls:
            result = found.answers.get(id(call))
            if result is None:
                continue
            if self._is_hidden(call):
                self._leave_out(call, result)
            elif self._is_hidden(result):
                self._covered.append((call, result))
        claimed = set(map(id, found.answers.values()))
        unmatched = [
            part for part in parts if isinstance(part, Result) and id(part) not in claimed and not self._is_hidden(part)
        ]
        rest = self._answer_old(old, self._answer_again(unmatched))
        first: dict[str | None, Call] = {}  # the first call with an id; a shown one, if there is one
        for call in calls:
            if call.id is not None and (call.id not in first or self._is_hidden(first[call.id])):
                first[call.id] = call
        repeated = [result for result in rest if result.id in first and self._is_hidden(first[result.id])]
        for result in repeated:  # one more result of a hidden call
            self._leave_out(first[result.id], result)
        self._together += [(self._positions[id(call)], None) for call in found.open if self._is_hidden(call)]
        no_call_waits = all(self._is_hidden(call) or self._positions[id(call)] >= self._older for call in found.open)
        known = found.repeated.union(map(id, repeated))
        self.is_complete = no_call_waits and all(id(result) in known for result in rest)

    def _is_hidden(self, part: Part) -> bool:
        return self._rows[self._positions[id(part)]] in self._hidden

    def _answer_old(self, calls: list[Call], results: list[Result]) -> list[Result]:
        """Leaves out shown results that answer hidden calls before the kept range; returns the rest."""
        answered = self._matched(calls, results)
        for call in calls:
            if id(call) in answered:
                self._leave_out(call, answered[id(call)])
        gone = set(map(id, answered.values()))
        return [result for result in results if id(result) not in gone]

    def _answer_again(self, results: list[Result]) -> list[Result]:
        """Gives shown results without a call to earlier shown calls whose result is hidden; returns the rest.

        That is a result that replaces another one.
        """
        answered = self._matched([call for call, _ in self._covered], results)
        self._covered = [(call, hidden) for call, hidden in self._covered if id(call) not in answered]
        gone = set(map(id, answered.values()))
        return [result for result in results if id(result) not in gone]

    def _matched(self, calls: list[Call], results: list[Result]) -> dict[int, Result]:
        """Returns which of some results answer which of some calls, by the identity of the call."""
        parts: list[Call | Result] = [*results, *calls]  # a message's results come before its calls
        return match(sorted(parts, key=lambda part: self._positions[id(part)]), named_only=True).answers

    def _leave_out(self, call: Call, result: Result) -> None:
        position = self._positions[id(result)]
        if not self._is_hidden(result):
            self._dropped.setdefault(position, []).append(result)
        self._together.append((self._positions[id(call)], position))

    def arranged(self, *, edited: bool) -> Arranged:
        """Returns the rows of the context. Only if it is `edited`, results are left out or become placeholders."""
        messages: dict[int, dict[str, Any] | None] = {}
        if edited:
            hidden: dict[int, list[Result]] = {}
            for _, result in sorted(self._covered, key=lambda each: self._positions[id(each[1])]):
                hidden.setdefault(self._positions[id(result)], []).append(result)
            sources = dict(self._sources)
            for change, changed in ((without_results, self._dropped), (with_hidden_results, hidden)):
                for position, results in changed.items():
                    messages[self._rows[position]] = change(sources[position], results)
        shown = [messages[row] is not None if row in messages else row not in self._hidden for row in self._rows]
        before = list(accumulate(shown, initial=0))  # how many shown rows are before a position
        together = ((before[call], None if end is None else before[end + 1]) for call, end in self._together)
        return Arranged(
            [row for row, is_shown in zip(self._rows, shown, strict=True) if is_shown],
            {row: message for row, message in messages.items() if message is not None},
            tuple(sorted(set(together), key=lambda each: (each[0], each[1] or 0))),
        )
