"""How many tokens messages take: what a provider counted where that is stored, an estimate for the rest. Pure.

The estimate is one token for four characters, of everything in a message that a model reads; an image or a file counts
as 1,200 tokens, a signature as none. It is for deciding when to compact, not for bills: mind that text without spaces
(Chinese, say) takes more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convtree.digest import usage_of
from convtree.entries import Entry, MessageEntry

Counter = Callable[[Any], int]

_CHARACTERS = 4  # for one token
_MEDIA = 1_200 * _CHARACTERS
_MEDIA_KEYS = frozenset({"data", "file_data"})
#: what says how to read a message, or is for the provider alone
_UNREAD = frozenset(
    {"type", "role", "id", "call_id", "tool_call_id", "tool_use_id", "toolCallId", "status", "media_type", "mimeType"}
    | {"signature", "thinkingSignature", "thoughtSignature", "thought_signature", "encrypted_content"}
)


def estimate_tokens(message: Any) -> int:
    """Estimates the tokens of a message in any shape."""
    characters = 0
    waiting: list[tuple[str, Any]] = [("", message)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            is_media = key in _MEDIA_KEYS or value.startswith("data:")
            characters += _MEDIA if is_media else len(value)
        elif isinstance(value, Mapping):
            waiting += [(name, each) for name, each in value.items() if name not in _UNREAD]
        elif isinstance(value, list | tuple):
            waiting += [(key, each) for each in value]
        elif value is not None and not isinstance(value, bool):
            characters += len(str(value))
    return -(-characters // _CHARACTERS)


def count_tokens(messages: Sequence[Any], entries: Sequence[Entry], fresh_from: int) -> int:
    """Counts a context: the last reply's usage says what it and all before it took, what came since is estimated.

    Usage stored before `fresh_from` was for another, longer context.
    """
    for place in range(len(entries) - 1, fresh_from - 1, -1):
        entry = entries[place]
        if isinstance(entry, MessageEntry) and entry.usage and (counted := usage_of(entry.usage).total_tokens):
            return counted + sum(map(estimate_tokens, messages[place + 1 :]))
    return sum(map(estimate_tokens, messages))
