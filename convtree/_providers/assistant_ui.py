"""Writes messages for assistant-ui, a library of chat components for the browser. Pure.

A thread there is a list of messages with their parents, and has all branches (`ExportedMessageRepository`). A message
is of the user or of the assistant. The results of tools are no messages: a result is in the part of its call.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from convtree._messages.dialects import SPEAKERS
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._model.entries import MessageEntry
from convtree._model.usage import usage_of
from convtree._providers.writing import as_object, as_text

Answers = Mapping[int, Result]  # the result of each call that has one, by the identity of the call


def message(entry: MessageEntry, parts: Sequence[Part], answers: Answers, *, is_last: bool) -> dict[str, Any]:
    """Returns an entry as a message of a thread. `is_last` says that no message follows it.

    `parts` are those that are shown. A call without a result is waiting for one in the last message only.
    """
    speaker = _speaker(entry, parts)
    content = [block for number, part in enumerate(parts) for block in _blocks(part, entry, number, answers, speaker)]
    written: dict[str, Any] = {"id": entry.id, "role": speaker, "createdAt": entry.timestamp, "content": content}
    if speaker == "user":
        return written | {"attachments": [], "metadata": {"custom": {}}}
    is_waiting = is_last and any(isinstance(part, Call) and id(part) not in answers for part in parts)
    made_by = {name: value for name in ("provider", "model") if (value := getattr(entry, name)) is not None}
    metadata: dict[str, Any] = {"unstable_state": None, "unstable_annotations": [], "unstable_data": []}
    return written | {
        "status": _status(entry, is_waiting),
        "metadata": metadata | {"steps": _steps(entry), "custom": made_by},
    }


def _speaker(entry: MessageEntry, parts: Sequence[Part]) -> str:
    """Returns who says a message. Calls are said by the assistant, and so are results that stand alone."""
    if all(isinstance(part, Call | Result) for part in parts) and parts:
        return "assistant"
    return "assistant" if SPEAKERS.get(entry.role or "", "user") == "assistant" else "user"


def _status(entry: MessageEntry, is_waiting: bool) -> dict[str, Any]:
    if entry.status is not None:
        return {"type": "incomplete", "reason": "cancelled"}
    if is_waiting:
        return {"type": "requires-action", "reason": "tool-calls"}
    return {"type": "complete", "reason": "unknown"}


def _steps(entry: MessageEntry) -> list[dict[str, Any]]:
    if not entry.usage:
        return []
    used = usage_of(entry.usage)
    read = used.input_tokens + used.cache_read_tokens + used.cache_write_tokens
    return [{"usage": {"inputTokens": read, "outputTokens": used.output_tokens}}]


def _blocks(part: Part, entry: MessageEntry, number: int, answers: Answers, speaker: str) -> list[dict[str, Any]]:
    """Returns a part as blocks of the content; none if it has nothing to show."""
    match part:
        case Text():
            return [{"type": "text", "text": part.text}]
        case Thinking():
            kind = "reasoning" if speaker == "assistant" else "text"
            return [{"type": kind, "text": part.text}] if part.text else []
        case Call() | Result():
            return [_tool(part, f"{entry.id}:{number}", answers, speaker)]
        case Media():
            return [_media(part)]
        case Unknown():
            return [*_text(part.text), {"type": "data", "name": "unknown", "data": part.value}]
    assert isinstance(part, Hosted)
    return _text(part.text) or [{"type": "data", "name": part.shape or "unknown", "data": part.raw}]


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _tool(part: Call | Result, id: str, answers: Answers, speaker: str) -> dict[str, Any]:
    """Returns a call with its result, or a result that stands alone. In a message of the user, both are data."""
    block: dict[str, Any] = {"toolCallId": part.id or id, "toolName": part.name or "unknown"}
    if isinstance(part, Result):
        block |= {"args": {}, "argsText": ""} | _returned(part)
    else:
        block |= {"args": as_object(part), "argsText": as_text(part.arguments)}
        block |= _returned(answers[builtins.id(part)]) if builtins.id(part) in answers else {}
    if speaker == "user":
        return {"type": "data", "name": "tool-call", "data": block}
    return {"type": "tool-call"} | block


def _returned(result: Result) -> dict[str, Any]:
    """Returns what a tool returned: its text, or a list of blocks if there is more."""
    said: Any = [
        _media(part) if isinstance(part, Media) else {"type": "text", "text": part.text} for part in result.content
    ]
    if all(isinstance(part, Text) for part in result.content):
        said = "\n".join(block["text"] for block in said)
    return {"result": said} | ({"isError": True} if result.is_error else {})


def _media(media: Media) -> dict[str, Any]:
    """Returns an image, a sound or a file. What only its provider has is named in words."""
    name = {"filename": media.name} if media.name else {}
    if media.kind == "image" and (media.data or media.url):
        image = f"data:{media.mime or 'image/png'};base64,{media.data}" if media.data else media.url
        return {"type": "image", "image": image} | name
    if media.data or media.url:
        where = {"data": media.data} if media.data else {"data": media.url, "sourceType": "url"}
        return {"type": "file"} | where | {"mimeType": media.mime or "application/octet-stream"} | name
    return {"type": "text", "text": media.text or f"[{media.name or media.kind}]"}
