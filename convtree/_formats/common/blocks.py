"""Messages of one shape, made of another tool's parts: a role and content, blocks as Anthropic defines them. Pure.

What else the tool says of a message is kept inside it under the tool's name. A call and its result may stand together
in one message of the tool, and no provider takes that: it becomes several.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

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
    """Makes the messages that blocks say: one, or several where results stand between what an assistant says.

    Model and provider go to what the assistant said, usage to the last of that. What says nothing is extension data.
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


def make_extension_data(name: str, kind: str, data: Any, time: Any = None) -> list[Entry]:
    """Makes the entry of what is no message."""
    return [ExtensionDataEntry(timestamp=moment(time), ext_type=f"{name}.{kind}", data=data)]


def text_block(value: Any) -> dict[str, Any]:
    """Makes a block of text; what is no text is shown as JSON."""
    return {"type": "text", "text": as_text(value)}


def call_block(id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Makes the block of a tool call; arguments in a text are read if they are JSON that is not nested without end."""
    if isinstance(arguments, str) and arguments.count("{") + arguments.count("[") < _DEPTH:
        with suppress(orjson.JSONDecodeError):
            arguments = orjson.loads(arguments) if arguments else {}
    if not isinstance(arguments, dict):
        arguments = {} if arguments is None else {"arguments": arguments}
    return {"type": "tool_use", "id": key(id), "name": text(name) or "unknown", "input": arguments}


def result_block(call_id: Any, content: Any, *, is_error: bool = False) -> dict[str, Any]:
    """Makes the block of a tool's result."""
    content = content if isinstance(content, list) and _are_blocks(content) else as_text(content)
    failed = {"is_error": True} if is_error else {}
    return {"type": "tool_result", "tool_use_id": key(call_id), "content": content} | failed


def _are_blocks(content: list[Any]) -> bool:
    return bool(content) and all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content)


def _turns(role: str, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parts what an assistant says from the results that a user's message brings it."""
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
