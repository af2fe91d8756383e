"""Reads messages of every shape into parts. Pure.

A message is recognised by its own keys, and by its `shape` if the keys do not decide, never by its provider. Nothing
is required of it: unknown content is sent to its own provider unchanged and left out for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from convtree._messages.blocks import listed, members, read_content, result_content, text_or_none
from convtree._messages.contents import read_contents
from convtree._messages.dialects import (
    ANTHROPIC,
    ASSISTANT_ROLES,
    CHAT,
    CHAT_KEYS,
    FAILED_STOPS,
    GEMINI,
    KIT,
    PI,
    PI_ROLES,
    REASONING_KEYS,
    RESPONSES,
    RESULT_NAME_KEY,
    RESULT_ROLES,
    SHAPE_OF_BLOCK,
    SYSTEM_ROLES,
)
from convtree._messages.frameworks import framework_of
from convtree._messages.items import read_item
from convtree._messages.kit import is_kit, read_kit
from convtree._messages.parts import Call, Hosted, Part, Result, Role, Source, Text, Thinking

_ROLES: dict[str, Role] = {**dict.fromkeys(SYSTEM_ROLES, "system"), **dict.fromkeys(ASSISTANT_ROLES, "assistant")}


def read_message(source: Source) -> tuple[Part, ...]:
    """Reads the parts of a message that a model should see, and stores them in their source.

    Of a message in the format of another tool (its `shape` has a dot) only the meaning is read.
    """
    source.foreign = "." in (source.shape or "")
    parts = [] if _is_left_out(source.message) else read_parts(source)
    if source.foreign or source.shape in (PI, KIT):
        source.whole = False
        parts = [told for part in parts if (told := _without_raw(part)) is not None]
    source.parts = tuple(parts)
    return source.parts


def read_parts(source: Source) -> list[Part]:
    """Reads all parts of a message, for a model or not; sets the source's shape."""
    framework = framework_of(source.message)
    if framework is not None:
        source.shape, source.whole = framework.name, False
        return framework.read(source, _read_inner)
    source.shape = shape_of(source.message, source.shape)
    if source.shape == GEMINI:
        return read_contents(source, _role_of(source.message))
    if source.shape == KIT:
        return read_kit(source, _role_of(source.message))
    if source.shape == RESPONSES:
        return read_item(source, _role_of(source.message))
    return _message(source)


def _read_inner(source: Source, message: Mapping[str, Any]) -> list[Part]:
    """Reads a message that is stored inside another one, as if it stood alone."""
    inner = msgspec.structs.replace(source, message=message, shape=None, role=None, whole=True, parts=())
    parts = read_parts(inner)
    inner.parts, source.role = tuple(parts), inner.role
    return parts


def shape_of(message: Mapping[str, Any], given: str | None = None) -> str | None:
    """Returns the shape that a message's keys imply, else the given one; None for only a role and content."""
    if (shape := _shape_of_frame(message)) is not None:
        return shape
    content, kind = message.get("content"), message.get("type")
    for block in listed(content):
        if isinstance(block, Mapping) and (shape := _shape_of_block(block)):
            return shape
    if isinstance(kind, str) and not (given == ANTHROPIC and kind == "message"):
        return RESPONSES
    return None if given == GEMINI else given  # Gemini's messages have `parts`


def _shape_of_frame(message: Mapping[str, Any]) -> str | None:
    """Returns the shape that a message's keys imply, ignoring its content."""
    role = message.get("role")
    if isinstance(parts := message.get("parts"), list | tuple):
        return KIT if any(is_kit(part) for part in parts) else GEMINI
    if role in ("tool", "function") or (isinstance(role, str) and CHAT_KEYS & message.keys()):
        return CHAT
    if role in PI_ROLES:
        return PI
    is_answer = message.get("type") == "message" and "stop_reason" in message  # a response object of Anthropic
    return ANTHROPIC if is_answer else None


def _is_left_out(message: Mapping[str, Any]) -> bool:
    """Returns whether pi hides a message from the model."""
    return message.get("stopReason") in FAILED_STOPS or message.get("excludeFromContext") is True


def _without_raw(part: Part) -> Part | None:
    """Returns a part without its `raw`. Reasoning keeps it, because it holds the signed text."""
    if isinstance(part, Hosted):
        return None
    if isinstance(part, Thinking):
        return part
    bare = msgspec.structs.replace(part, raw=None, shape=None)
    if isinstance(bare, Result):
        content = tuple(msgspec.structs.replace(each, raw=None, shape=None) for each in bare.content)
        return msgspec.structs.replace(bare, content=content)
    return bare


def _role_of(message: Mapping[str, Any]) -> Role:
    said = message.get("role")
    return _ROLES.get(said, "user") if isinstance(said, str) else "user"


def _shape_of_block(block: Mapping[str, Any]) -> str | None:
    if "cache_control" in block or "citations" in block:
        return ANTHROPIC
    kind = block.get("type")
    if kind == "thinking":
        return PI if "thinkingSignature" in block or "signature" not in block else ANTHROPIC
    if kind == "image":
        return ANTHROPIC if "source" in block else PI
    return SHAPE_OF_BLOCK.get(kind) if isinstance(kind, str) else None


# --- OpenAI chat, Anthropic, pi, and plain messages ---


def _message(source: Source) -> list[Part]:
    message = source.message
    said = message.get("role")
    if said in RESULT_ROLES:
        return [_result(source)]
    role = _role_of(message)
    if said == "bashExecution":
        return [Text(role=role, source=source, text=_shell_command(message))]
    content = message.get("content", message.get("summary"))
    said = [*_reasoning(source), *read_content(content, role, source)]
    return [*said, *_transcript(source), *_refusal(source), *_calls(source)]


def _result(source: Source) -> Result:
    message = source.message
    return Result(
        role="user",
        source=source,
        raw=message,
        shape=source.shape,
        id=text_or_none(message.get("tool_call_id", message.get("toolCallId"))),
        name=text_or_none(message.get(RESULT_NAME_KEY, message.get("name"))) or "",
        content=result_content(message.get("content"), source),
        is_error=message.get("isError") is True,
    )


def _shell_command(message: Mapping[str, Any]) -> str:
    """Describes a command that pi's user ran, in pi's words."""
    output = text_or_none(message.get("output"))
    text = f"Ran `{message.get('command')}`\n" + (f"```\n{output}\n```" if output else "(no output)")
    if message.get("cancelled"):
        return f"{text}\n\n(command cancelled)"
    return f"{text}\n\nCommand exited with code {code}" if (code := message.get("exitCode")) else text


def _reasoning(source: Source) -> list[Part]:
    """Reads reasoning in a field next to the content. That of another model is not sent unchanged."""
    message = source.message
    if source.shape != CHAT or not any(message.get(name) for name in REASONING_KEYS):
        return []
    text = next((value for name in REASONING_KEYS[:2] if isinstance(value := message.get(name), str)), "")
    if not source.trusted:
        source.whole = False
    return [Thinking(role="assistant", source=source, shape=CHAT, text=text)]


def _transcript(source: Source) -> list[Part]:
    """Reads the transcript of spoken audio, because the provider deletes the audio itself within an hour."""
    audio = source.message.get("audio")
    if not isinstance(audio, Mapping):
        return []
    source.whole = False
    text = text_or_none(audio.get("transcript"))
    return [Text(role="assistant", source=source, text=text)] if text and text.strip() else []


def _refusal(source: Source) -> list[Part]:
    text = source.message.get("refusal")
    return [Text(role="assistant", source=source, text=text)] if isinstance(text, str) and text.strip() else []


def _calls(source: Source) -> list[Part]:
    """Reads the calls of an OpenAI chat message, also the `function_call` of its first version."""
    found: list[Part] = []
    message = source.message
    if any(not message[name] for name in CHAT_KEYS & message.keys()) or message.get("content") == []:
        source.whole = False  # OpenAI refuses an empty list, and null in place of a list
    if "parsed" in message:  # added by the SDK
        source.whole = False
    for each in listed(message.get("tool_calls")):
        call = members(each)
        if "type" not in call:
            source.whole = False
        custom = "custom" in call and "function" not in call
        body = members(call.get("custom" if custom else "function"))
        if "parsed_arguments" in body:
            source.whole = False
            body = {name: value for name, value in body.items() if name != "parsed_arguments"}
            call = {**call, "function": body}
        found.append(_chat_call(source, call, body, custom))
    if isinstance(old := message.get("function_call"), Mapping):
        found.append(_chat_call(source, {}, old, False))
    return found


def _chat_call(source: Source, call: Mapping[str, Any], body: Mapping[str, Any], custom: bool) -> Call:
    return Call(
        role="assistant",
        source=source,
        raw=call or None,
        shape=CHAT,
        id=text_or_none(call.get("id")),
        name=text_or_none(body.get("name")) or "",
        arguments=body.get("input" if custom else "arguments"),
        custom=custom,
    )
