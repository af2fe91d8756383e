"""Reads messages of Vercel's AI SDK: those of its pages (`UIMessage`) and those for models (`ModelMessage`). Pure.

A tool's part of a page is call and result in one. What a part shows on the page alone is kept without text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convtree._messages.blocks import Where, listed, members, text_or_none
from convtree._messages.frameworks.making import (
    at,
    called,
    kind_of_part,
    media,
    numbered,
    redacted_thought,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Hosted, Part, ReadInner, Source

_DYNAMIC, _OLD_TOOL = "dynamic-tool", "tool-invocation"
_CALL, _RESULT = "tool-call", "tool-result"
#: blocks for models that have other keys than those of other formats
_BLOCKS = (_CALL, _RESULT, "file", "image", "reasoning")
#: parts of a page that the SDK does not send to a model
_PAGE_ONLY = ("source-url", "source-document", "source")
#: where a new request began; says nothing
_STEP = "step-start"
_DENIED = "The call was denied."
_MEDIA_TYPE_KEYS = ("mediaType", "mimeType")


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has a part of a page, or a block for models, that no other format has."""
    if not isinstance(message.get("role"), str):
        return False
    parts = message.get("parts")
    if isinstance(parts, list | tuple):
        return any(_is_page_part(part) for part in parts)
    blocks = listed(message.get("content"))
    return any(isinstance(block, dict) and block.get("type") in _BLOCKS and _is_block(block) for block in blocks)


def read(source: Source, _: ReadInner) -> list[Part]:
    """Reads a message."""
    source.role = speaker_of(source.message.get("role"))
    where = role_of_speaker(source.role), source
    key = "parts" if isinstance(source.message.get("parts"), list | tuple) else "content"
    found: list[Part] = []
    for place, value in numbered(key, source.message.get(key)):
        kind = kind_of_part(value, "type")
        if kind is not None and (kind in (_DYNAMIC, _OLD_TOOL) or (kind.startswith("tool-") and "state" in value)):
            parts = _tool_part(kind, value, where)
        else:
            parts = _part(kind, value, where)
        found += [made for part in parts for made in at(place, part)]
    return found


def _is_page_part(part: Any) -> bool:
    kind = kind_of_part(part, "type")
    if kind is None:
        return False
    if kind in ("text", "reasoning"):
        return isinstance(part.get("text"), str)
    if kind == "file":
        return "url" in part or any(key in part for key in _MEDIA_TYPE_KEYS)
    if kind in (*_PAGE_ONLY, _STEP, _DYNAMIC, _OLD_TOOL):
        return True
    return kind.startswith("data-") or (kind.startswith("tool-") and "toolCallId" in part)


def _is_block(block: Mapping[str, Any]) -> bool:
    kind = block["type"]
    if kind in (_CALL, _RESULT):
        return "toolCallId" in block
    if kind == "file":
        return any(key in block for key in _MEDIA_TYPE_KEYS) and "file" not in block
    return (kind == "image" and "image" in block) or (kind == "reasoning" and isinstance(block.get("text"), str))


def _part(kind: str | None, value: Any, where: Where) -> Iterator[Part | None]:
    """Reads a part that stands for one thing."""
    if kind == "text":
        yield said(value.get("text"), where)
    elif kind == "reasoning":
        yield _reasoning(value, where)
    elif kind in ("file", "image"):
        yield _file(kind, value, where)
    elif kind == _CALL:
        arguments = value.get("input", value.get("args"))
        yield called(value.get("toolCallId"), value.get("toolName"), arguments, where)
    elif kind == _RESULT:
        content, is_error = _output(value.get("output", value.get("result")), where)
        is_error = is_error or value.get("isError") is True
        yield returned(value.get("toolCallId"), value.get("toolName"), content, where, is_error)
    elif kind == _STEP:
        return
    elif kind is not None and (kind in _PAGE_ONLY or kind.startswith(("data-", "tool-approval-"))):
        yield Hosted(role=where[0], source=where[1])
    else:
        yield unknown(value, kind, where)


def _reasoning(value: Mapping[str, Any], where: Where) -> Part | None:
    """Reads reasoning. Anthropic's signature is in the notes of its provider."""
    notes = members(value.get("providerMetadata", value.get("providerOptions")))
    sealed = members(notes.get("anthropic"))
    redacted = redacted_thought(sealed.get("redactedData"), where)
    return thought(value.get("text"), where, sealed.get("signature")) if redacted is None else redacted


def _file(kind: str, value: Mapping[str, Any], where: Where) -> Part | None:
    mime = next((value[key] for key in _MEDIA_TYPE_KEYS if key in value), None)
    given = value.get("image" if kind == "image" else "data", value.get("url"))
    link = isinstance(given, str) and given.startswith(("http:", "https:", "data:"))
    made = media(
        where,
        kind="image" if kind == "image" else None,
        mime=mime or ("image/png" if kind == "image" else None),
        data=None if link else given,
        url=given if link else None,
        name=value.get("filename"),
    )
    return unknown(value, kind, where) if made is None else made


def _tool_part(kind: str, value: Mapping[str, Any], where: Where) -> Iterator[Part | None]:
    """Reads a call and, as soon as there is one, its result."""
    call = members(value.get("toolInvocation")) if kind == _OLD_TOOL else value
    name = call.get("toolName", kind.removeprefix("tool-") if kind not in (_DYNAMIC, _OLD_TOOL) else None)
    arguments = next((call[key] for key in ("input", "args", "rawInput") if call.get(key) is not None), None)
    yield called(call.get("toolCallId"), name, arguments, where)
    state = call.get("state")
    if state in ("output-available", "result"):
        content = [structured(call.get("output", call.get("result")), where)]
        yield returned(call.get("toolCallId"), name, content, where)
    elif state == "output-error":
        yield returned(call.get("toolCallId"), name, [structured(call.get("errorText"), where)], where, is_error=True)
    elif state == "output-denied":
        reason = text_or_none(members(call.get("approval")).get("reason")) or _DENIED
        yield returned(call.get("toolCallId"), name, [said(reason, where)], where, is_error=True)


def _output(output: Any, where: Where) -> tuple[list[Part | None], bool]:
    """Reads the output of a result for models, and whether it is an error. Before version 5 it is any value."""
    kind = kind_of_part(output, "type")
    if kind in ("text", "json", "error-text", "error-json") and "value" in output:
        return [structured(output["value"], where)], kind.startswith("error")
    if kind == "content" and isinstance(output.get("value"), list | tuple):
        return [_in_output(each, where) for each in output["value"]], False
    if kind == "execution-denied":
        return [said(text_or_none(output.get("reason")) or _DENIED, where)], True
    return [structured(output, where)], False


def _in_output(value: Any, where: Where) -> Part | None:
    kind = kind_of_part(value, "type")
    if kind == "text":
        return said(value.get("text"), where)
    if kind is not None and kind.endswith(("media", "-data", "-url")):
        mime = next((value[key] for key in _MEDIA_TYPE_KEYS if key in value), None)
        image = kind.startswith("image")
        mime = mime or ("image/png" if image else None)
        made = media(where, mime=mime, data=value.get("data"), url=value.get("url"), name=value.get("filename"))
        if made is not None:
            return made
    return structured(value, where)
