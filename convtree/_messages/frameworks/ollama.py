"""Reads messages of Ollama that OpenAI's format does not know. Pure.

Ollama's chat is OpenAI's with more keys, and calls without ids whose arguments are an object. A message without them is
read as one of OpenAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import listed, members
from convtree._messages.frameworks.making import (
    at,
    chat_calls,
    media,
    numbered,
    returned,
    role_of_speaker,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Part, ReadInner, Source

#: how base64 text of an image begins; Ollama does not say which format it is
_SIGNATURES = {"iVBORw0KGg": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has a key of Ollama, or calls as Ollama writes them."""
    if not isinstance(message.get("role"), str) or "parts" in message:
        return False
    if isinstance(message.get("thinking"), str) or "tool_name" in message:
        return True
    images = listed(message.get("images"))
    if images and all(isinstance(each, str) for each in images):
        return True
    return any(_is_call(each) for each in listed(message.get("tool_calls")))


def read(source: Source, _: ReadInner) -> list[Part]:
    """Reads a message."""
    message = source.message
    source.role = speaker_of(message.get("role"))
    where = role_of_speaker(source.role), source
    if source.role == "tool":
        content = [structured(message.get("content"), where)]
        return [returned(message.get("tool_call_id"), message.get("tool_name"), content, where)]
    parts: list[Part] = [*at(("thinking",), thought(message.get("thinking"), where))]
    parts += at(("content",), structured(message.get("content"), where))
    for place, each in numbered("images", message.get("images")):
        made = media(where, kind="image", mime=_mime_of(each), data=each)
        parts += at(place, unknown(each, "images", where) if made is None else made)
    return [*parts, *chat_calls(message, where)]


def _is_call(call: Any) -> bool:
    return "type" not in members(call) and isinstance(members(members(call).get("function")).get("arguments"), Mapping)


def _mime_of(data: Any) -> str | None:
    if not isinstance(data, str):
        return None
    return next((mime for start, mime in _SIGNATURES.items() if data.startswith(start)), None)
