"""A message of any shape in plain words of ours, for those who write it in another. Pure.

Told by the message's own keys, as everywhere. What has no words here (an image by reference, a document) is text that
says so. A message of the tools' may be several here: pi has one for each result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from convtree.messages import role_of


class Text(NamedTuple):
    """What is said."""

    text: str


class Thought(NamedTuple):
    """What a model thought, and the signature of who made it."""

    text: str
    signature: str | None = None


class Image(NamedTuple):
    """A picture, in base64."""

    data: str
    media_type: str


class Call(NamedTuple):
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


class Result(NamedTuple):
    """What a call brought back."""

    id: str
    name: str
    text: str
    is_error: bool = False


Part = Text | Thought | Image | Call | Result
Role = Literal["system", "user", "assistant"]


class Speech(NamedTuple):
    """Who speaks, and the parts of it."""

    role: Role
    parts: list[Part]


def speech_of(message: Mapping[str, Any]) -> Speech:
    """Returns a message of any of the shapes that are known."""
    told = role_of(message)
    role: Role = "user"
    if told in ("system", "developer"):
        role = "system"
    elif told in ("assistant", "model"):
        role = "assistant"
    return Speech(role, [part for part in _parts(message) if part != Text("")])


def _parts(message: Mapping[str, Any]) -> Iterator[Part]:
    kind, role = message.get("type"), message.get("role")
    if kind in ("function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output", "reasoning"):
        yield from _item(message)
        return
    if role in ("tool", "toolResult") and ("tool_call_id" in message or "toolCallId" in message):
        id = str(message.get("tool_call_id", message.get("toolCallId")))
        name = str(message.get("name") or message.get("toolName") or "")
        yield Result(id, name, _plain(message.get("content")), bool(message.get("isError")))
        return
    if isinstance(message.get("reasoning_content"), str):
        yield Thought(message["reasoning_content"])
    content = message.get("content", message.get("parts"))
    for block in content if isinstance(content, list) else [] if content is None else [content]:
        yield from _block(block)
    for call in _mappings(message.get("tool_calls")):
        function = call.get("function")
        named = function if isinstance(function, Mapping) else {}
        yield Call(str(call.get("id", "")), str(named.get("name", "")), _arguments(named.get("arguments")))
    if content is None and not message.get("tool_calls"):
        yield Text(_json(message))


def _item(item: Mapping[str, Any]) -> Iterator[Part]:
    """Yields an item of OpenAI's Responses that is no message."""
    id, kind = str(item.get("call_id", "")), str(item.get("type"))
    if kind == "reasoning":
        for each in _mappings(item.get("summary")):
            yield Thought(str(each.get("text", "")))
    elif kind.endswith("_output"):
        yield Result(id, "", _plain(item.get("output")))
    else:
        yield Call(id, str(item.get("name", "")), _arguments(item.get("arguments", item.get("input"))))


def _block(block: Any) -> Iterator[Part]:
    if not isinstance(block, Mapping):
        yield Text(block if isinstance(block, str) else _json(block))
        return
    kind, data = block.get("type"), block.get("data")
    if isinstance(data, Mapping) and isinstance(kind, str):  # kit
        yield from _kit_part(kind, data)
    elif "text" in block and kind not in ("thinking", "reasoning"):
        words = str(block["text"])
        yield Thought(words) if block.get("thought") is True else Text(words)
    elif kind == "thinking":
        yield Thought(str(block.get("thinking", "")), _text(block.get("signature", block.get("thinkingSignature"))))
    elif kind in ("tool_use", "toolCall"):
        given = block.get("input", block.get("arguments"))
        yield Call(str(block.get("id", "")), str(block.get("name", "")), _arguments(given))
    elif kind == "tool_result":
        is_error = bool(block.get("is_error"))
        yield Result(str(block.get("tool_use_id", "")), "", _plain(block.get("content")), is_error)
    elif isinstance(call := block.get("functionCall", block.get("function_call")), Mapping):
        name = str(call.get("name", ""))
        yield Call(str(call.get("id") or name), name, _arguments(call.get("args")))
    elif isinstance(answer := block.get("functionResponse", block.get("function_response")), Mapping):
        name = str(answer.get("name", ""))
        yield Result(str(answer.get("id") or name), name, _plain(answer.get("response")))
    elif (image := _image(block)) is not None:
        yield image
    elif kind == "refusal":
        yield Text(str(block.get("refusal", "")))
    else:
        yield Text(_json(block))


def _kit_part(kind: str, data: Mapping[str, Any]) -> Iterator[Part]:
    match kind:
        case "text":
            yield Text(str(data.get("text", "")))
        case "reasoning":
            yield Thought(str(data.get("thinking", "")), _text(data.get("signature")))
        case "image":
            yield Image(str(data.get("data", "")), str(data.get("media_type", "")))
        case "tool_call":
            yield Call(str(data.get("id", "")), str(data.get("name", "")), _arguments(data.get("input")))
        case "tool_result":
            is_error = bool(data.get("is_error"))
            yield Result(
                str(data.get("tool_call_id", "")), str(data.get("name", "")), _plain(data.get("content")), is_error
            )
        case "finish":
            return
        case _:
            yield Text(_json({"type": kind, "data": data}))


def _image(block: Mapping[str, Any]) -> Image | None:
    """Returns a picture that is told as data, in any of the shapes."""
    source = block.get("source", block.get("inlineData", block.get("inline_data", block)))
    if isinstance(source, Mapping) and isinstance(source.get("data"), str):
        kind = source.get("media_type", source.get("mimeType", source.get("mime_type")))
        return Image(source["data"], str(kind or "image/png"))
    url = block.get("image_url")
    url = url.get("url") if isinstance(url, Mapping) else url
    if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
        kind, _, data = url.removeprefix("data:").partition(";base64,")
        return Image(data, kind)
    return None


def _plain(value: Any) -> str:
    """Returns what a tool answered as text, wherever the shape has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(_plain(each) for each in value)
    if isinstance(value, Mapping):
        inner = value.get("text", value.get("output", value.get("result")))
        return inner if isinstance(inner, str) else _json(value)
    return "" if value is None else _json(value)


def _arguments(value: Any) -> dict[str, Any]:
    """Returns a call's arguments as an object; a text that is no JSON object is the only member of one."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {"input": value} if value else {}
    return dict(value) if isinstance(value, Mapping) else {} if value is None else {"input": value}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
