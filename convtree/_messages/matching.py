"""Which result answers which call. The one place that decides it. Pure.

1. A result answers the oldest open call with its id. An empty id is none.
2. If one of the two has no id, the tool's name decides: the result answers the oldest open call of that name.
3. A result with neither answers the oldest open call of the last message that made calls. Several messages of the
   assistant in a row count as one.
4. The same result once more is no second result.
5. A result that none of these rules places answers a call that is still open in the turn right before it. A call is
   never left open while an unclaimed result stands right behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from convtree._messages.parts import Call, Part, Result, Source

#: what a result says; equal for the same result once more
Said = tuple[bool, tuple[tuple[object, ...], ...]]


class OpenCall(NamedTuple):
    """A tool call without a result: its id, the name of the tool, and the id of the entry that made it."""

    id: str | None
    name: str
    entry_id: str


class Matches(NamedTuple):
    """The calls and results of a conversation.

    Attributes:
        answers: the result of each call that has one, by the identity of the call.
        open: the calls without a result, in order.
        repeated: identities of results that repeat an earlier one.
        further: identities of results of a call that has another result.
        orphans: results without a call.
    """

    answers: dict[int, Result]
    open: list[Call]
    repeated: frozenset[int]
    further: frozenset[int]
    orphans: list[Result]

    def open_calls(self) -> tuple[OpenCall, ...]:
        """Returns the calls without a result. Calls of interrupted replies are not among them."""
        waiting = (call for call in self.open if not call.source.interrupted)
        return tuple(OpenCall(call.id, call.name, call.source.entry_id) for call in waiting)


def match(parts: Iterable[Part], *, named_only: bool = False) -> Matches:
    """Finds for each call the later result that answers it. Parts are in the order of the conversation.

    `named_only` leaves out rule 5: not all parts of the conversation are here.
    """
    waiting = _Waiting()
    unclaimed: list[tuple[int, Result]] = []
    turn = 0
    behind = False  # something was said since the assistant spoke last
    for part in parts:
        if isinstance(part, Result):
            if not waiting.answer(part):
                unclaimed.append((turn, part))
            behind = True
        elif part.role == "assistant":
            turn += behind
            behind = False
            if isinstance(part, Call):
                waiting.add(part, turn)
        else:
            behind = True
    repeated, further, orphans = set[int](), set[int](), list[Result]()
    for turn, result in unclaimed:
        earlier = waiting.answered_by(result, turn)
        if _said(result) in earlier:
            repeated.add(id(result))
        elif earlier and result.id is not None:
            further.add(id(result))
        elif named_only or not waiting.claim(result, turn):
            orphans.append(result)
    return Matches(waiting.answers, list(waiting.open()), frozenset(repeated), frozenset(further), orphans)


def open_calls(sources: Iterable[Source]) -> tuple[OpenCall, ...]:
    """Returns the calls of some messages that have no later result, in order."""
    return match(part for source in sources for part in source.parts).open_calls()


def _said(result: Result) -> Said:
    fields = ("text", "data", "url", "name")
    return result.is_error, tuple(tuple(getattr(part, field, None) for field in fields) for part in result.content)


class _Waiting:
    """Calls in the order they were made, by id, by name and by turn. Each of them is answered once."""

    def __init__(self) -> None:
        self.answers: dict[int, Result] = {}
        self._calls: list[Call] = []
        self._queues: dict[tuple[str, object], deque[Call]] = {}
        self._by_id: dict[str, list[Call]] = {}
        self._by_turn: dict[int, list[Call]] = {}
        self._last_turn = 0
        self._said: dict[str | tuple[int, str] | None, set[Said]] = {}  # see `answered_by`; one id may be in each turn

    def add(self, call: Call, turn: int) -> None:
        self._calls.append(call)
        self._last_turn = turn
        self._by_turn.setdefault(turn, []).append(call)
        if call.id is not None:
            self._by_id.setdefault(call.id, []).append(call)
        by_id = ("nameless", call.name) if call.id is None else ("id", call.id)
        for key in (by_id, ("name", call.name), ("turn", turn), ("turn and name", (turn, call.name))):
            self._queues.setdefault(key, deque()).append(call)

    def answer(self, result: Result) -> bool:
        """Gives a result to the call that it names; returns whether there is one."""
        if result.id is not None:
            return self._give(("id", result.id), result) or self._give(("nameless", result.name), result)
        return self._give(("name", result.name) if result.name else ("turn", self._last_turn), result)

    def claim(self, result: Result, turn: int) -> bool:
        """Gives a result to a call of its turn that is still open, one of its name first."""
        call = self._next(("turn and name", (turn, result.name))) if result.name else None
        call = call or self._next(("turn", turn))
        if call is None:
            return False
        self.answers[id(call)] = result
        return True

    def answered_by(self, result: Result, turn: int) -> set[Said]:
        """Returns what the results of the calls say that a result names."""
        key = (turn, result.name) if result.id is None else result.id
        if key not in self._said:
            named: Iterable[Call] = self._by_turn.get(turn, ()) if result.id is None else self._by_id.get(result.id, ())
            if result.id is None and result.name:
                named = (call for call in named if call.name == result.name)
            self._said[key] = {_said(self.answers[id(call)]) for call in named if id(call) in self.answers}
        return self._said[key]

    def open(self) -> Iterator[Call]:
        return (call for call in self._calls if id(call) not in self.answers)

    def _give(self, key: tuple[str, object], result: Result) -> bool:
        call = self._next(key)
        if call is not None:
            self.answers[id(call)] = result
        return call is not None

    def _next(self, key: tuple[str, object]) -> Call | None:
        """Takes the oldest open call of a queue."""
        queue = self._queues.get(key)
        while queue:
            call = queue.popleft()
            if id(call) not in self.answers:
                return call
        return None
