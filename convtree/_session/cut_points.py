"""Cut points: the indexes at which a context may be cut in two. Pure.

A call stays with its results, and reasoning with its reply. A cut between two turns is better than one inside a turn.
Positions are indexes into the messages of the context; a cut at `i` keeps the messages from `i` on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

from convtree._engine.context import Context
from convtree._messages.matching import match
from convtree._messages.parts import Source, Thinking
from convtree._model.entries import BranchSummaryEntry


def choose_cut(context: Context, counts: Sequence[int], start: int, keep_tokens: int) -> int:
    """Returns the index of the first message to keep; `start` if there is nothing to cut.

    `counts` has the tokens of each message; `start` is the first message that may go.
    """
    end = len(counts)
    first, kept = end, 0
    while first > start and keep_tokens > 0 and kept + counts[first - 1] <= keep_tokens:
        first -= 1
        kept += counts[first]
    if first == start:
        return start
    allowed = [index for index in allowed_cuts(context) if index > start]
    fitting = [index for index in allowed if index >= first and (index < end or keep_tokens <= 0)]
    turns = [index for index in fitting if index == end or begins_turn(context, index)]
    if turns or fitting:
        return (turns or fitting)[0]
    shorter = [index for index in allowed if index < end]
    return shorter[-1] if shorter else start


def allowed_cuts(context: Context) -> list[int]:
    """Returns the indexes where a cut splits no call from its result and no reasoning from its reply.

    The end of the context counts as one, unless calls are still open there.
    """
    end = len(context.messages)
    depth = [0] * (end + 2)
    said = context.said
    ranges = chain(_calls_with_results(context), _hidden_calls(context), _reasoning_with_reply(said))
    for first, behind in ranges:
        depth[first] += 1
        depth[behind] -= 1
    return [index for index, open in enumerate(accumulate(depth[: end + 1])) if not open]


def _calls_with_results(context: Context) -> Iterator[tuple[int, int]]:
    """Yields ranges (first index, index behind the last) without a cut: from a call to its results."""
    said = context.said
    found = match(part for source in said for part in source.parts)
    calls = {id(result): call for call, result in found.answers.items()}
    behind = len(said) + 1
    made: dict[int, int] = {}  # indexes of calls
    for index, source in enumerate(said):
        for result in source.results:
            call = made.get(calls.get(id(result), 0))
            if call is None:
                yield index, index + 1
            else:  # a pinned call stays in the context, and would be open without its result
                stays = context.is_pinned(call) and not context.is_pinned(index)
                yield call + 1, behind if stays else index + 1
        made |= {id(call): index for call in source.calls}
    last_answered = _last_answered_turn(context)
    yield from ((made[id(call)] + 1, behind) for call in found.open if made[id(call)] >= last_answered)


def _hidden_calls(context: Context) -> Iterator[tuple[int, int]]:
    """Yields ranges without a cut from a hidden call to its results, which may still be to come."""
    end = len(context.messages) + 1
    last_answered = _last_answered_turn(context) if context.together else 0
    for first, behind in context.together:
        if behind is not None:
            yield first, behind
        elif first >= last_answered:
            yield first, end


def _last_answered_turn(context: Context) -> int:
    """Returns the index where the last turn with a reply begins. Open calls before it will get no result any more."""
    answered = False
    for index in range(len(context.messages) - 1, -1, -1):
        if answered and begins_turn(context, index):
            return index
        answered = answered or context.said[index].role == "assistant"
    return 0


def _reasoning_with_reply(said: Sequence[Source]) -> Iterator[tuple[int, int]]:
    """Yields ranges without a cut: reasoning and the rest of its reply, which may still be to come."""
    reasoned = False
    for index, source in enumerate(said):
        if reasoned and source.role == "assistant":
            yield index, index + 1
        reasoned = _is_reasoning(source) or (reasoned and source.role == "assistant")
    if said and _is_reasoning(said[-1]):
        yield len(said), len(said) + 1


def _is_reasoning(source: Source) -> bool:
    """Returns whether a message is reasoning and nothing else: an item, or a reply whose other blocks follow."""
    return bool(source.parts) and all(isinstance(part, Thinking) for part in source.parts)


def begins_turn(context: Context, index: int) -> bool:
    """Returns whether a message begins a turn: a user's message, or the summary of another branch."""
    if isinstance(context.entries[index], BranchSummaryEntry):
        return True
    said = context.said[index]
    return said.role == "user" and not said.results


def turn_prefix(context: Context, removed: Sequence[int], cut: int) -> int:
    """Counts the messages at the end of `removed` that belong to the turn which continues at `cut`."""
    if cut == len(context.entries) or begins_turn(context, cut):
        return 0
    begun = [number for number, index in enumerate(removed) if begins_turn(context, index)]
    return len(removed) - begun[-1] if begun else len(removed)
