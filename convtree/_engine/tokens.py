"""How many tokens messages take: what a provider counted where that is stored, an estimate for the rest. Pure.

The estimate is one token for four characters, of everything in a message that a model reads; an image or a file counts
as 1,200 tokens, a signature as none. It is for deciding when to compact, not for bills: mind that text without spaces
(Chinese, say) takes more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from convtree._model.entries import Entry, MessageEntry
from convtree._model.messages import role_of
from convtree._model.usage import usage_of

Counter = Callable[[Any], int]

_CHARACTERS = 4  # for one token
_MEDIA = 1_200 * _CHARACTERS
_MEDIA_TYPES = ("media_type", "mimeType", "mime_type")  # what says of `data` beside it that it is no text
_SOUNDS = ("wav", "mp3", "flac", "opus", "pcm16")
#: what says how to read a message, or is for the provider alone
_UNREAD = frozenset(
    {"type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "toolCallId", "status", "media_type", "mimeType"}
    | {"signature", "thinkingSignature", "thoughtSignature", "thought_signature", "encrypted_content"}
)
#: what some programs store beside what was said
_BESIDE = frozenset({"details", "usage", "timestamp", "api", "provider", "model", "stopReason", "isError"})


def estimate_tokens(message: Any) -> int:
    """Estimates the tokens of a message in any shape."""
    characters = 0
    if isinstance(message, Mapping):
        message = {name: value for name, value in message.items() if name not in _BESIDE}
    waiting: list[Any] = [message]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            characters += _MEDIA if _is_data_url(value) else len(value)
        elif isinstance(value, Mapping):
            media = "file_data" if "file_data" in value else "data" if _has_media(value) else None
            characters += 0 if media is None else _MEDIA
            waiting += [each for name, each in value.items() if name not in _UNREAD and name != media]
        elif isinstance(value, list | tuple):
            waiting += value
        elif value is not None and not isinstance(value, bool):
            characters += len(str(value))
    return -(-characters // _CHARACTERS)


def count_tokens(messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int) -> int:
    """Counts a context: the last reply's usage says what it and all before it took, what came since is estimated.

    Usage stored before `fresh_from` was for another, longer context.
    """
    place, counted = _counted(messages, entries, first_after_compaction)
    return counted + sum(map(estimate_tokens, messages[place:]))


def count_each(messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int) -> list[int]:
    """Estimates each message of a context; where a provider counted more for them together, they share it out.

    So all of them take no less than `count_tokens` says, and what is too long is never held to be short.
    """
    estimates = list(map(estimate_tokens, messages))
    place, counted = _counted(messages, entries, first_after_compaction)
    if counted <= sum(estimates[:place]):
        return estimates
    weights = [estimate or 1 for estimate in estimates[:place]]
    total = sum(weights)
    shares = [-(-so_far * counted // total) for so_far in accumulate(weights)]
    return [share - before for share, before in zip(shares, [0, *shares], strict=False)] + estimates[place:]


def _counted(messages: Sequence[Any], entries: Sequence[Entry], first_after_compaction: int) -> tuple[int, int]:
    """Returns how many of the first messages a provider counted, and how many tokens it counted."""
    for place in range(len(entries) - 1, first_after_compaction - 1, -1):
        entry = entries[place]
        if isinstance(entry, MessageEntry) and entry.usage and (counted := usage_of(entry.usage).total_tokens):
            # a reply's usage may be stored with the results behind it, which it does not count
            replies = (each for each in range(place, first_after_compaction - 1, -1) if _is_reply(messages[each]))
            return next(replies, place) + 1, counted
    return 0, 0


def _is_reply(message: Any) -> bool:
    return isinstance(message, Mapping) and role_of(message) in ("assistant", "model")


def _is_data_url(text: str) -> bool:
    return text.startswith("data:") and ";base64," in text[:200]


def _has_media(value: Mapping[str, Any]) -> bool:
    """Tells whether the `data` of this object are those of a picture or another file, not text."""
    kind = next((kind for name in _MEDIA_TYPES if isinstance(kind := value.get(name), str)), "text/")
    is_media = not kind.startswith("text/") or value.get("format") in _SOUNDS
    return is_media and isinstance(value.get("data"), str)
