"""Pairing in contexts that hide messages: no call and no result loses its counterpart because that one is hidden. Pure.

The results of a hidden call are left out, wherever they lie. A hidden result whose call is shown becomes a placeholder.
Both happen part by part, and in the context only: the log keeps what it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from convtree._engine.path_rows import Arranged, EntryCache, PathRows
from convtree._messages.dialects import ASSISTANT_ROLES
from convtree._messages.messages import (
    PendingCalls,
    ToolCall,
    calls_of,
    results_of,
    role_of,
    with_hidden_results,
    without_results,
)
from convtree._model.entries import MessageEntry

Message = Mapping[str, Any]


class _Call(NamedTuple):
    position: int
    hidden: bool
    call: ToolCall


class _Result(NamedTuple):
    position: int
    number: int  # among the results of its message
    call: ToolCall


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
    if len(shown) < len(unseen) and _fit(_messages(cache, shown)):
        last_reply = max((row for row in shown if _is_reply(cache, row)), default=-1)
        recent = [row for row in unseen if row > last_reply and row not in found.replaced]
        cache.load(recent)
        if not any(calls_of(message) for _, message in _messages(cache, recent)):
            return Arranged(shown)
    cache.load(unseen)
    if not any(calls_of(message) or results_of(message) for _, message in _messages(cache, unseen)):
        return Arranged(shown)
    older = len(above) + found.pinned
    return _Pairing(cache, rows, hidden, older).arranged(edited=not _fit(_messages(cache, shown)))


def _may_answer_above(found: PathRows, cache: EntryCache) -> bool:
    """Returns whether the rows of a context have a result without a call, or a pinned call without a result."""
    if _fit(_messages(cache, [row for row in found.rows if row not in found.hidden])):
        return False
    cache.load(row for row in found.rows if row in found.hidden)
    return not _Pairing(cache, found.rows, found.hidden, found.pinned).is_complete


def _messages(cache: EntryCache, rows: Iterable[int]) -> list[tuple[int, Message]]:
    """Returns the positions and messages of the rows that are messages."""
    entries = ((position, cache.entries.get(row)) for position, row in enumerate(rows))
    return [(position, entry.message) for position, entry in entries if isinstance(entry, MessageEntry)]


def _is_reply(cache: EntryCache, row: int) -> bool:
    entry = cache.entries.get(row)
    return isinstance(entry, MessageEntry) and role_of(entry.message) in ASSISTANT_ROLES


def _fit(messages: Iterable[tuple[int, Message]]) -> bool:
    """Returns whether every call has one later result, every result one call, and no two calls have one id."""
    seen: set[str] = set()
    waiting: set[str | None] = set()
    for _, message in messages:
        for result in results_of(message):
            if result.id not in waiting:
                return False
            waiting.remove(result.id)
        for call in calls_of(message):
            if call.id is None or call.id in seen:
                return False
            seen.add(call.id)
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
        self.is_complete = True  # every shown result has a call, and every shown call before the kept range a result
        self._dropped: dict[int, set[int]] = {}  # numbers of shown results, by position: their call is hidden
        self._covered: list[tuple[_Call, _Result]] = []  # shown calls with their hidden results
        self._together: list[tuple[int, int | None]] = []  # positions of hidden calls and of their results
        self._match()

    def _match(self) -> None:
        pending: PendingCalls[_Call] = PendingCalls()
        old: list[_Call] = []  # hidden ones before the kept range
        unmatched: list[_Result] = []  # shown ones
        first: dict[str | None, _Call] = {}  # the first call with an id; a shown one, if there is one
        for position, message in _messages(self._cache, self._rows):
            hidden = self._rows[position] in self._hidden
            for number, answered in enumerate(results_of(message)):
                result = _Result(position, number, answered)
                call = pending.answer(answered)
                if call is not None and call.hidden:
                    self._leave_out(call, result, hidden)
                elif call is not None and hidden:
                    self._covered.append((call, result))
                elif call is None and not hidden:
                    unmatched.append(result)
            for made in calls_of(message):
                call = _Call(position, hidden, made)
                if hidden and position < self._older:
                    old.append(call)
                else:
                    pending.add(made, call)
                if made.id is not None and (made.id not in first or first[made.id].hidden):
                    first[made.id] = call
        rest = self._answer_old(old, self._answer_again(unmatched))
        repeated = [result for result in rest if (call := first.get(result.call.id)) is not None and call.hidden]
        for result in repeated:  # one more result of a hidden call
            self._leave_out(first[result.call.id], result, hidden=False)
        left = pending.remaining()
        self._together += [(call.position, None) for call in left if call.hidden]
        no_call_waits = all(call.hidden or call.position >= self._older for call in left)
        self.is_complete = len(repeated) == len(rest) and no_call_waits

    def _answer_old(self, calls: list[_Call], results: list[_Result]) -> list[_Result]:
        """Leaves out shown results that answer hidden calls before the kept range; returns the rest."""
        pending: PendingCalls[_Call] = PendingCalls()
        waiting, rest = deque(calls), []
        for result in results:
            while waiting and waiting[0].position < result.position:
                pending.add(waiting[0].call, waiting.popleft())
            call = pending.answer(result.call)
            if call is None:
                rest.append(result)
            else:
                self._leave_out(call, result, hidden=False)
        return rest

    def _leave_out(self, call: _Call, result: _Result, hidden: bool) -> None:
        if not hidden:
            self._dropped.setdefault(result.position, set()).add(result.number)
        self._together.append((call.position, result.position))

    def _answer_again(self, results: list[_Result]) -> list[_Result]:
        """Gives shown results without a call to earlier shown calls whose result is hidden; returns the rest.

        That is a result that replaces another one.
        """
        pending: PendingCalls[tuple[_Call, _Result]] = PendingCalls()
        covered, rest = sorted(self._covered, key=lambda each: each[0].position), []
        self._covered = []
        for result in results:
            while covered and covered[0][0].position < result.position:
                pending.add(covered[0][0].call, covered.pop(0))
            if pending.answer(result.call) is None:
                rest.append(result)
        self._covered = [*pending.remaining(), *covered]
        return rest

    def arranged(self, *, edited: bool) -> Arranged:
        """Returns the rows of the context. Only if it is `edited`, results are left out or become placeholders."""
        messages: dict[int, dict[str, Any] | None] = {}
        if edited:
            hidden: dict[int, set[int]] = {}
            for _, result in self._covered:
                hidden.setdefault(result.position, set()).add(result.number)
            for change, numbers in ((without_results, self._dropped), (with_hidden_results, hidden)):
                for position, those in numbers.items():
                    row = self._rows[position]
                    messages[row] = change(self._message(row), those)
        shown = [messages[row] is not None if row in messages else row not in self._hidden for row in self._rows]
        before = list(accumulate(shown, initial=0))  # how many shown rows are before a position
        together = ((before[call], None if end is None else before[end + 1]) for call, end in self._together)
        return Arranged(
            [row for row, is_shown in zip(self._rows, shown, strict=True) if is_shown],
            {row: message for row, message in messages.items() if message is not None},
            tuple(sorted(set(together), key=lambda each: (each[0], each[1] or 0))),
        )

    def _message(self, row: int) -> Message:
        entry = self._cache.entries[row]
        assert isinstance(entry, MessageEntry)
        return entry.message
