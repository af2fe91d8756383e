"""Messages in one neutral shape: a role and a content of blocks as Anthropic defines them. Pure.

Other fields that a tool has for a message are stored in it under the tool's name. A tool may have a call and its result
in one message; no provider accepts that, so it becomes several messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import orjson

from convtree._formats.common.values import as_text, key, moment, text
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry, Visibility

_DEPTH = 64  # brackets in a text of arguments that is still read


def make_messages(
    name: str,
    role: str,
    blocks: list[dict[str, Any]],
    rest: Mapping[str, Any],
    *,
    time: Any = None,
    visible_to: Visibility = "all",
    provider: Any = None,
    model: Any = None,
    usage: Any = None,
) -> list[Entry]:
    """Makes messages of blocks: one, or several if tool results stand between the blocks of an assistant.

    Model and provider are set on the assistant's messages, usage on the last of them. Without blocks, an
    extension data entry is made.
    """
    rest = {name: value for name, value in rest.items() if value is not None}
    messages = _turns(role, [block for block in blocks if block.get("type") != "text" or block.get("text")])
    if not messages:
        return [ExtensionDataEntry(timestamp=moment(time), ext_type=f"{name}.message", data={"role": role} | rest)]
    if rest:
        messages[0][name] = rest
    spoken = max((at for at, message in enumerate(messages) if message["role"] == role), default=0)
    return [
        MessageEntry(
            timestamp=moment(time),
            message=message,
            shape=f"{name}.message",
            provider=text(provider) if message["role"] == "assistant" else None,
            model=(text(model) or None) if message["role"] == "assistant" else None,
            usage=usage if at == spoken and isinstance(usage, dict) else None,
            visible_to=visible_to,
        )
        for at, message in enumerate(messages)
    ]


def make_typed(name: str, typed: str, sent: MessageEntry) -> list[Entry]:
    """Makes the two messages of what a person typed, for the user, and what a tool sends for it, for the model."""
    seen = MessageEntry(
        timestamp=sent.timestamp,
        message={"role": "user", "content": typed},
        shape=f"{name}.message",
        visible_to="user",
    )
    return [seen, msgspec.structs.replace(sent, visible_to="model")]


def make_extension_data(name: str, kind: str, data: Any, time: Any = None) -> list[Entry]:
    """Makes an extension data entry, in a list as `make_messages` returns one."""
    return [ExtensionDataEntry(timestamp=moment(time), ext_type=f"{name}.{kind}", data=data)]


def text_block(value: Any) -> dict[str, Any]:
    """Makes a text block. A value that is not a text is written as JSON."""
    return {"type": "text", "text": as_text(value)}


def image_block(url: str) -> dict[str, Any]:
    """Makes an image block of a link, or of the data in a `data:` URL."""
    head, _, data = url.partition(";base64,")
    if head.startswith("data:") and data:
        return {"type": "image", "source": {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def call_block(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Makes a tool call block. Arguments in a text are parsed if they are JSON, unless it is nested too deeply."""
    if isinstance(arguments, str) and arguments.count("{") + arguments.count("[") < _DEPTH:
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments) if arguments else {}
    if not isinstance(arguments, dict):
        arguments = {} if arguments is None else {"arguments": arguments}
    return {"type": "tool_use", "id": key(id), "name": text(name) or "unknown", "input": arguments}


def result_block(call_id: Any, content: Any, *, is_error: bool = False) -> dict[str, Any]:
    """Makes a tool result block."""
    content = content if isinstance(content, list) and _are_blocks(content) else as_text(content)
    failed = {"is_error": True} if is_error else {}
    return {"type": "tool_result", "tool_use_id": key(call_id), "content": content} | failed


def _are_blocks(content: list[Any]) -> bool:
    return bool(content) and all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content)


def _turns(role: str, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Splits blocks into messages: tool results go into messages of the user."""
    messages: list[dict[str, Any]] = []
    for block in blocks:
        speaker = "user" if role == "assistant" and block.get("type") == "tool_result" else role
        if not messages or messages[-1]["role"] != speaker:
            messages.append({"role": speaker, "content": []})
        messages[-1]["content"].append(block)
    for message in messages:
        if len(message["content"]) == 1 and message["content"][0].keys() == {"type", "text"}:
            message["content"] = message["content"][0]["text"]
    return messages
