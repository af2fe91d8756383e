"""Reads messages of Cohere that OpenAI's format does not know: those of its second version, and of its first. Pure.

The second version is OpenAI chat with a plan before the calls, citations, and documents as results. The text of a
message of the first version is its `message`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import Where, listed, members, read_content
from convtree._messages.frameworks.making import (
    at,
    called,
    chat_calls,
    kind_of_part,
    numbered,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Part, ReadInner, Source

_OLD_ROLES = ("USER", "CHATBOT", "SYSTEM", "TOOL")


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has a plan, citations or documents of Cohere, or is of its first version."""
    role = message.get("role")
    if role in _OLD_ROLES:
        return "message" in message or "tool_results" in message
    if not isinstance(role, str):
        return False
    if "tool_plan" in message or (isinstance(message.get("citations"), list) and "content" in message):
        return True
    blocks = listed(message.get("content"))
    return any(isinstance(block, dict) and "document" in block and _is_document(block) for block in blocks)


def read(source: Source, _: ReadInner) -> list[Part]:
    """Reads a message."""
    message = source.message
    source.role = speaker_of(message.get("role"))
    where = role_of_speaker(source.role), source
    if message.get("role") in _OLD_ROLES:
        return _read_old(message, where)
    content = message.get("content")
    if source.role == "tool":
        blocks = listed(content) if isinstance(content, list | tuple) else [content]
        return [returned(message.get("tool_call_id"), None, [_told(each, where) for each in blocks], where)]
    parts: list[Part] = [*at(("tool_plan",), said(message.get("tool_plan"), where))]
    if isinstance(content, list | tuple):
        for place, block in numbered("content", content):
            parts += at(place, _part(block, where))
    else:
        parts += at(("content",), structured(content, where))
    return [*parts, *chat_calls(message, where)]


def _is_document(block: Any) -> bool:
    return kind_of_part(block, "type") == "document" and isinstance(block.get("document"), Mapping)


def _part(block: Any, where: Where) -> Part | None:
    kind = kind_of_part(block, "type")
    if kind == "thinking":
        return thought(block.get("thinking"), where)
    if kind in ("text", "image_url"):
        return next(iter(read_content([block], *where)), None)
    if _is_document(block):
        return _told(block, where)
    return unknown(block, kind, where)


def _told(block: Any, where: Where) -> Part | None:
    """Reads a block of a result. Only the data of a document counts: its id is for citations."""
    if kind_of_part(block, "type") == "text":
        return said(block.get("text"), where)
    return structured(block["document"].get("data") if _is_document(block) else block, where)


def _read_old(message: Mapping[str, Any], where: Where) -> list[Part]:
    """Reads a message of the first version, whose calls have no ids."""
    parts: list[Part] = [*at(("message",), structured(message.get("message"), where))]
    for place, each in numbered("tool_calls", message.get("tool_calls")):
        call = members(each)
        if "name" in call:
            parts += at(place, called(None, call["name"], call.get("parameters"), where))
        else:
            parts += at(place, unknown(each, "tool_calls", where))
    for place, each in numbered("tool_results", message.get("tool_results")):
        outputs = [structured(output, where) for output in listed(members(each).get("outputs"))]
        parts += at(place, returned(None, members(members(each).get("call")).get("name"), outputs, where))
    return parts
