"""Token counts of messages: the usage that a provider reported if it is stored, an estimate for the rest. Pure.

The estimate is one token for four characters of everything that a model reads. An image or a file counts as 1,200
tokens, a signature as none. It decides when to compact; it is not for bills. Text without spaces, such as Chinese,
takes more tokens than estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import accumulate
from typing import Any

from convtree._messages.dialects import AUDIO_FORMATS, MEDIA_TYPE_KEYS, UNCOUNTED_KEYS, UNSENT_KEYS
from convtree._messages.reading import role_of
from convtree._model.entries import Entry, MessageEntry
from convtree._model.usage import usage_of

Counter = Callable[[Any], int]

_CHARACTERS_PER_TOKEN = 4
_MEDIA_CHARACTERS = 1_200 * _CHARACTERS_PER_TOKEN


def estimate_tokens(message: Any) -> int:
    """Returns the estimated tokens of a message of any provider."""
    characters = 0
    if isinstance(message, Mapping):
        message = {name: value for name, value in message.items() if name not in UNSENT_KEYS}
    waiting: list[Any] = [message]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            characters += _MEDIA_CHARACTERS if _is_data_url(value) else len(value)
        elif isinstance(value, Mapping):
            media = "file_data" if "file_data" in value else "data" if _has_media(value) else None
            characters += 0 if media is None else _MEDIA_CHARACTERS
            waiting += [each for name, each in value.items() if name not in UNCOUNTED_KEYS and name != media]
        elif isinstance(value, list | tuple):
            waiting += value
        elif value is not None and not isinstance(value, bool):
            characters += len(str(value))
    return -(-characters // _CHARACTERS_PER_TOKEN)


def count_tokens(
    messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int] = frozenset()
) -> int:
    """Returns the tokens of a context: the usage of the last reply, and an estimate of the messages after it.

    Usage of messages before `first_after_compaction` is ignored: it was reported for a longer context. So is that of
    the messages at the indexes `stale`, whose request was another one.
    """
    index, counted = _usage_covers(messages, entries, first_after_compaction, stale)
    return counted + sum(map(estimate_tokens, messages[index:]))


def count_each(
    messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int] = frozenset()
) -> list[int]:
    """Returns the estimated tokens of each message of a context.

    If the provider reported more for the messages together, the estimates are scaled up to that. So their sum is never
    less than `count_tokens`, and a context that is too long is not taken for a short one.
    """
    estimates = list(map(estimate_tokens, messages))
    index, counted = _usage_covers(messages, entries, first_after_compaction, stale)
    if counted <= sum(estimates[:index]):
        return estimates
    weights = [estimate or 1 for estimate in estimates[:index]]
    total = sum(weights)
    shares = [-(-so_far * counted // total) for so_far in accumulate(weights)]
    return [share - before for share, before in zip(shares, [0, *shares], strict=False)] + estimates[index:]


def _usage_covers(
    messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int, stale: Set[int]
) -> tuple[int, int]:
    """Returns how many of the first messages the last reported usage covers, and its tokens."""
    for index in range(len(entries) - 1, first_after_compaction - 1, -1):
        entry = entries[index]
        if (
            isinstance(entry, MessageEntry)
            and entry.usage
            and (counted := usage_of(entry.usage, summaries=False).total_tokens)
        ):
            # usage may be stored with the results behind a reply; it does not count them
            replies = (each for each in range(index, first_after_compaction - 1, -1) if _is_reply(messages[each]))
            reply = next(replies, index)
            if stale.isdisjoint((reply, index)):
                return reply + 1, counted
    return 0, 0


def _is_reply(message: Any) -> bool:
    return isinstance(message, Mapping) and role_of(message) == "assistant"


def _is_data_url(text: str) -> bool:
    return text.startswith("data:") and ";base64," in text[:200]


def _has_media(value: Mapping[str, Any]) -> bool:
    """Returns whether `data` of this object is an image or another file, not text."""
    kind = next((kind for name in MEDIA_TYPE_KEYS if isinstance(kind := value.get(name), str)), "text/")
    is_media = not kind.startswith("text/") or value.get("format") in AUDIO_FORMATS
    return is_media and isinstance(value.get("data"), str)
