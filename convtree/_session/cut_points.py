"""Where a conversation can be cut in two, so that nothing is torn apart that belongs together. Pure.

A call stays with its results, reasoning with the rest of its reply; between two turns is better than inside one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

from convtree._engine.context import Context
from convtree._model.dialects import ASSISTANT_ROLES, THINKING_BLOCKS, TURN_ROLES
from convtree._model.entries import BranchSummaryEntry, Entry, MessageEntry
from convtree._model.messages import Waiting, calls_of, results_of, role_of


def choose_cut(context: Context, counts: Sequence[int], start: int, keep_tokens: int) -> int:
    """Returns the place of the first message to keep; `start` when nothing is to be cut."""
    end = len(counts)
    first, kept = end, 0
    while first > start and keep_tokens > 0 and kept + counts[first - 1] <= keep_tokens:
        first -= 1
        kept += counts[first]
    if first == start:
        return start
    allowed = [place for place in allowed_cuts(context) if place > start]
    fitting = [place for place in allowed if place >= first and (place < end or keep_tokens <= 0)]
    turns = [place for place in fitting if place == end or begins_turn(context, place)]
    if turns or fitting:
        return (turns or fitting)[0]
    shorter = [place for place in allowed if place < end]
    return shorter[-1] if shorter else start


def allowed_cuts(context: Context) -> list[int]:
    """Returns the places where a cut separates nothing that belongs together, the end among them."""
    end = len(context.messages)
    depth = [0] * (end + 2)
    for first, behind in chain(_exchanges(context), _reasoned(context.messages)):
        depth[first] += 1
        depth[behind] -= 1
    return [place for place, open in enumerate(accumulate(depth[: end + 1])) if not open]


def _exchanges(context: Context) -> Iterator[tuple[int, int]]:
    """Yields from which place to before which no cut may fall: from a call to its results, which may still come."""
    waiting: Waiting[int] = Waiting()
    behind = len(context.messages) + 1
    for place, message in enumerate(context.messages):
        for result in results_of(message):
            call = waiting.answer(result)
            if call is None:
                yield place, place + 1
            else:  # a call that is pinned stays, and without its result it would be open
                stays = is_pinned(context.entries[call]) and not is_pinned(context.entries[place])
                yield call + 1, behind if stays else place + 1
        for made in calls_of(message):
            waiting.add(made, place)
    given_up = _given_up(context)
    yield from ((call + 1, behind) for call in waiting.left() if call >= given_up)


def _given_up(context: Context) -> int:
    """Returns the place of the last turn that got an answer: nobody waits for the results of calls before it."""
    answered = False
    for place in range(len(context.messages) - 1, -1, -1):
        if answered and begins_turn(context, place):
            return place
        answered = answered or _is_reply(context.messages[place])
    return 0


def _reasoned(messages: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yields where no cut may fall because reasoning stays with the rest of its reply, which may still come."""
    reasoned = False
    for place, message in enumerate(messages):
        if reasoned and _is_reply(message):
            yield place, place + 1
        reasoned = _is_reasoning(message) or (reasoned and _is_reply(message))
    if messages and _is_reasoning(messages[-1]):
        yield len(messages), len(messages) + 1


def _is_reply(message: Any) -> bool:
    return role_of(message) in ASSISTANT_ROLES


def _is_reasoning(message: Any) -> bool:
    """Tells whether a message is reasoning and nothing else: an item, or one block of a reply that came in pieces."""
    if message.get("type") == "reasoning":
        return True
    blocks = message.get("content")
    if not isinstance(blocks, list) or not blocks:
        return False
    return all(isinstance(each, dict) and each.get("type") in THINKING_BLOCKS for each in blocks)


def begins_turn(context: Context, place: int) -> bool:
    """Tells whether a message is the first of a turn: what a user says, or what happened on another branch."""
    if isinstance(context.entries[place], BranchSummaryEntry):
        return True
    message = context.messages[place]
    return role_of(message) in TURN_ROLES and not results_of(message)


def turn_prefix(context: Context, gone: Sequence[int], cut: int) -> int:
    """Counts the messages, at the end of those that go, whose turn goes on in what is kept."""
    if cut == len(context.entries) or begins_turn(context, cut):
        return 0
    begun = [number for number, place in enumerate(gone) if begins_turn(context, place)]
    return len(gone) - begun[-1] if begun else len(gone)


def is_pinned(entry: Entry) -> bool:
    """Tells whether an entry stays in view whatever is cut."""
    return isinstance(entry, MessageEntry) and entry.pinned is True
