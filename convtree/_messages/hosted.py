"""What a part says that only its own provider can use: a search on its servers, code that it ran. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.dialects import HOSTED_SIGNATURE_KEYS, REASONING_SIGNATURE_KEYS, SIGNATURE_KEYS
from convtree._messages.parts import as_json

_SEALED = SIGNATURE_KEYS | REASONING_SIGNATURE_KEYS | HOSTED_SIGNATURE_KEYS

#: keys that add nothing to the text: ids, and what the part is
_QUIET_KEYS = frozenset({"type", "id", "status", "tool_use_id", "caller", "approval_request_id", "container_id"})


def text_of_hosted(raw: Mapping[str, Any]) -> str:
    """Returns the content of such a part for other models: its kind and its fields as JSON, without what is sealed.

    Empty if all of it is sealed.
    """
    fields = _readable({name: value for name, value in raw.items() if name not in _QUIET_KEYS})
    if not fields:
        return ""
    kind = raw.get("type")
    if kind is None and len(fields) == 1:  # Gemini's parts: the key says what it is
        kind, fields = next(iter(fields.items()))
    return f"[{kind} {as_json(fields)}]"


def _readable(value: dict[str, Any]) -> dict[str, Any]:
    """Returns a copy of an object without its sealed and its empty members, at every level."""
    top: list[Any] = [value]
    waiting: list[tuple[Any, Any]] = [(top, 0)]
    while waiting:
        holder, place = waiting.pop()
        inner = holder[place]
        if isinstance(inner, Mapping):
            kept = {
                name: each for name, each in inner.items() if name not in _SEALED and each not in (None, "", [], {})
            }
            holder[place] = kept
            waiting += [(kept, name) for name in kept]
        elif isinstance(inner, list | tuple):
            holder[place] = copied = list(inner)
            waiting += [(copied, number) for number in range(len(copied))]
    found: dict[str, Any] = top[0]
    return found
