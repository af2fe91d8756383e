"""Token counts of messages: the usage that a provider reported if it is stored, an estimate for the rest. Pure.

The estimate is one token for four characters of everything that a model reads. An image or a file counts as 1,200
tokens, a signature as none. It decides when to compact; it is not for bills. Text without spaces, such as Chinese,
takes more tokens than estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from itertools import accumulate
from typing import Any

import msgspec

from convtree._messages.parts import (
    Call,
    Hosted,
    Media,
    Part,
    Result,
    Source,
    Text,
    Thinking,
    Unknown,
    as_json,
    without_repeats,
)
from convtree._messages.said import read
from convtree._model.entries import Entry, MessageEntry
from convtree._model.usage import usage_of

Counter = Callable[[Any], int]

_CHARACTERS_PER_TOKEN = 4
_MEDIA_CHARACTERS = 1_200 * _CHARACTERS_PER_TOKEN


def estimate_tokens(message: Any) -> int:
    """Returns the estimated tokens of a message of any provider or framework."""
    return estimate_said(read(message))


def estimate_said(source: Source) -> int:
    """Returns the estimated tokens of what a message says."""
    return -(-sum(map(_characters, source.parts)) // _CHARACTERS_PER_TOKEN)


def _estimates(said: Sequence[Source], start: int = 0) -> list[int]:
    """Returns the estimated tokens of each message of a context, from an index on. What is sent once counts once."""
    if not any(isinstance(part, Text) and part.repeats for source in said[start:] for part in source.parts):
        return list(map(estimate_said, said[start:]))
    kept = set(map(id, without_repeats(part for source in said for part in source.parts)))
    sent = (tuple(part for part in source.parts if id(part) in kept) for source in said[start:])
    return [estimate_said(Source(message={}, parts=parts)) for parts in sent]


def _characters(part: Part) -> int:
    match part:
        case Text(text=text) | Thinking(text=text) | Hosted(text=text):
            return len(text)
        case Media(text=text):
            return _MEDIA_CHARACTERS if text is None else len(text)
        case Call(name=name, arguments=arguments):
            return len(name) + (len(arguments) if isinstance(arguments, str) else len(as_json(arguments or "")) - 2)
        case Result(name=name, content=content):
            return len(name) + sum(map(_characters, content))
    assert isinstance(part, Unknown)
    return len(as_json(part.value))


def count_tokens(
    said: Sequence[Source], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int] = frozenset()
) -> int:
    """Returns the tokens of a context: the usage of the last reply, and an estimate of the messages after it.

    Usage of messages before `first_after_compaction` is ignored: it was reported for a longer context. So is that of
    the messages at the indexes `stale`, whose request was another one.
    """
    index, counted = _usage_covers(said, entries, first_after_compaction, stale)
    return counted + sum(_estimates(said, index))


def count_each(
    said: Sequence[Source], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int] = frozenset()
) -> list[int]:
    """Returns the estimated tokens of each message of a context.

    If the provider reported more for the messages together, the estimates are scaled up to that. So their sum is never
    less than `count_tokens`, and a context that is too long is not taken for a short one.
    """
    estimates = _estimates(said)
    index, counted = _usage_covers(said, entries, first_after_compaction, stale)
    if counted <= sum(estimates[:index]):
        return estimates
    weights = [estimate or 1 for estimate in estimates[:index]]
    total = sum(weights)
    shares = [-(-so_far * counted // total) for so_far in accumulate(weights)]
    return [share - before for share, before in zip(shares, [0, *shares], strict=False)] + estimates[index:]


def count_bytes_each(messages: Iterable[Any]) -> list[int]:
    """Returns the bytes of each message as JSON. A picture counts with its base64, as a request has it."""
    return [len(msgspec.json.encode(message)) for message in messages]


def _usage_covers(
    said: Sequence[Source], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int]
) -> tuple[int, int]:
    """Returns how many of the first messages the last reported usage covers, and its tokens."""
    for index in range(len(entries) - 1, first_after_compaction - 1, -1):
        entry = entries[index]
        usage = usage_of(entry.usage, summaries=False) if isinstance(entry, MessageEntry) and entry.usage else None
        # the usage of a later part of a reply says only what that part adds to the output
        if usage is not None and (counted := usage.total_tokens) > usage.output_tokens:
            # usage may be stored with the results behind a reply; it does not count them
            earlier = range(index, first_after_compaction - 1, -1)
            replies = (each for each in earlier if said[each].role == "assistant" and not said[each].summary)
            reply = next(replies, index)
            if stale.isdisjoint((reply, index)):
                return reply + 1, counted
    return 0, 0
