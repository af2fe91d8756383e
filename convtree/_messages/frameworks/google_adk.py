"""Reads events of Google's ADK: a content of Gemini, with the agent that wrote it and what it did. Pure.

The content is read as if it stood alone, in one spelling: ADK writes both snake case and camel case, with or without
empty fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convtree._messages.base64_data import standard
from convtree._messages.blocks import listed, members
from convtree._messages.frameworks.making import Place, at, said, speaker_of, structured
from convtree._messages.parts import Part, ReadInner, Role, Source

_ID_KEYS = ("invocation_id", "invocationId", "actions")
_USER = "user"
_SPEAKERS: dict[str, Role] = {"input_transcription": "user", "output_transcription": "assistant"}
_BASE64 = ("data", "thoughtSignature")


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is an `Event`."""
    if not isinstance(message.get("author"), str) or "role" in message:
        return False
    content = message.get("content")
    return any(key in message for key in _ID_KEYS) or isinstance(members(content).get("parts"), list | tuple)


def read(source: Source, inner: ReadInner) -> list[Part]:
    """Reads an event. A partial one says nothing, because the whole text follows in an event of its own."""
    message = source.message
    role: Role = "user" if message["author"] == _USER else "assistant"
    source.role = role
    if message.get("partial") is True:
        return []
    content = message.get("content")
    parts: list[Part] = []
    if isinstance(content, Mapping):
        parts += _read_content(content, ("content",), source, inner)
    else:
        parts += at(("content",), structured(content, (role, source)))
    summary = members(members(message.get("actions")).get("compaction"))
    for key in ("compacted_content", "compactedContent"):
        if isinstance(summary.get(key), Mapping):
            parts += _read_content(summary[key], ("actions", "compaction", key), source, inner)
    return [*parts, *_spoken(message, source)]


def facts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns model and usage of a reply."""
    stated = {"model": _either(message, "model_version"), "usage": _either(message, "usage_metadata")}
    return {name: value for name, value in stated.items() if value}


def _read_content(content: Mapping[str, Any], way: Place, source: Source, inner: ReadInner) -> list[Part]:
    """Reads a content of Gemini. Without a role it has that of the event."""
    role = content.get("role")
    if not isinstance(role, str):
        role = "user" if source.role == "user" else "model"
    given = [_camel(members(part)) for part in listed(content.get("parts"))]
    parts = inner(source, {"role": role, "parts": given}, *way)
    source.role = source.role or speaker_of(role)
    return parts


def _camel(part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a part as the API writes it: camel case, no empty fields, standard base64. Arguments stay as they are."""
    return {_camel_name(key): _field(key, value) for key, value in part.items() if value is not None}


def _field(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        given = ((key, each) for key, each in value.items() if each is not None)
        return {_camel_name(key): _encoded(key, each) for key, each in given}
    return _encoded(key, value)


def _encoded(key: str, value: Any) -> Any:
    return standard(value) if _camel_name(key) in _BASE64 and isinstance(value, str) else value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _spoken(message: Mapping[str, Any], source: Source) -> Iterator[Part]:
    """Reads the transcripts of a live session."""
    for name, role in _SPEAKERS.items():
        for key in (name, _camel_name(name)):
            yield from at((key, "text"), said(members(message.get(key)).get("text"), (role, source)))


def _either(fields: Any, name: str) -> Any:
    """Returns a field in either spelling."""
    return members(fields).get(name, members(fields).get(_camel_name(name)))
