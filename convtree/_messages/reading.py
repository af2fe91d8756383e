"""The one reader of messages: what a stored message says, as parts. Pure.

A message is recognised by its own keys, and by its `shape` if the keys do not decide, never by its provider. What no
reader knows is a part, too (`Unknown`): nothing that was stored is read as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from convtree._messages.base64_data import with_standard_data
from convtree._messages.blocks import first_said, listed, members, read_content, result_content, text_or_none
from convtree._messages.contents import read_contents
from convtree._messages.custom import CUSTOM, translate
from convtree._messages.dialects import (
    ANTHROPIC,
    ARGUMENT_KEYS,
    CHAT,
    CHAT_KEYS,
    FAILED_STOPS,
    FRAME_KEYS,
    GEMINI,
    KIT,
    OUTPUT_KEYS,
    PI,
    PI_ROLES,
    REASONING_KEYS,
    RESPONSES,
    RESULT_NAME_KEYS,
    ROLES,
    SAID_KEYS,
    SHAPE_OF_BLOCK,
    SPEAKERS,
)
from convtree._messages.items import read_item, role_of_item
from convtree._messages.kit import is_kit, read_kit
from convtree._messages.parts import Call, Media, Part, Result, Role, Source, Text, Thinking, Unknown, is_plain, placed

_PLAIN = {"role", "content"}
_PLAIN_ROLES = ("system", "developer", "user", "assistant")


def read_for_model(source: Source) -> tuple[Part, ...]:
    """Reads the parts of a message that a model should see, and stores them in their source.

    Of a message in the format of another tool (its `shape` has a dot) only the meaning is read.
    """
    source.foreign = "." in (source.shape or "")
    parts = [] if _is_left_out(source.message) else read_parts(source)
    if source.foreign or source.shape in (PI, KIT):
        source.whole = False
        parts = [_without_raw(part) for part in parts]
    source.parts = tuple(map(with_standard_data, parts))
    return source.parts


def read_parts(source: Source) -> list[Part]:
    """Reads all parts of a message, for a model or not; sets the source's shape and role."""
    message, given = source.message, source.shape
    if is_plain(message) and given not in CUSTOM:
        role, content = message["role"], message["content"]
        if role in _PLAIN_ROLES:  # most messages; the long way gives the same
            source.role, source.shape = role, None if given == GEMINI else given
            return [Text(role=SPEAKERS[role], source=source, text=content)] if content.strip() else []
    if given in CUSTOM and not source.translated and (found := _translated(source, given)) is not None:
        return found
    from convtree._messages.frameworks.table import framework_of

    framework = framework_of(message)
    if framework is not None:
        source.shape, source.whole = framework.name, False
        parts = framework.read(source, _read_inner)
    else:
        source.shape = shape_of(message, given)
        parts = _read_provider(source)
    why = None if framework is not None and not parts else _unknown_because(source, message, parts)
    if why is None:  # a framework's message may say nothing to a model, and its reader knows
        return parts
    for name in () if source.translated else tuple(CUSTOM):
        if (found := _translated(source, name)) is not None:
            return found
    source.whole = False
    text = "\n".join(part.text for part in parts if isinstance(part, Text))
    return [Unknown(role="user", source=source, value=message, why=why, text=text)]


def _read_provider(source: Source) -> list[Part]:
    """Reads a message in the shape of a provider, of pi or of kit, or in one that several providers accept."""
    role = source.message.get("role")
    source.role = ROLES.get(role.lower(), role) if isinstance(role, str) else None
    match source.shape:
        case "gemini":
            source.role = source.role or "user"
            parts = read_contents(source, _speaker(source.role))
            return [*parts, *_said_again(source, "content", parts)]
        case "kit":
            return read_kit(source, _speaker(source.role))
        case "openai-responses":
            source.role = source.role or role_of_item(source.message)
            return read_item(source, _speaker(source.role))
    return _message(source)


def _unknown_because(source: Source, message: Mapping[str, Any], parts: list[Part]) -> str | None:
    """Returns why a message, as it is stored, is not understood as a whole; None if it is."""
    if parts and source.role in SPEAKERS:
        return None
    if not parts:
        is_listed = isinstance(message.get("parts"), list | tuple)
        names = message.keys() - FRAME_KEYS
        if "content" in message or is_listed:  # and that is empty: other keys may say how the message came about
            names = (names & SAID_KEYS) - ({"content", "parts"} if is_listed else {"content"})
        said = [name for name in message if name in names and first_said(message, [name])]
        if not said:
            return None  # it says nothing
        return f"a message without a content that is known, but with {said[0]!r}"
    if all(isinstance(part, Unknown) for part in parts):
        return None  # each of them says why
    return "a message without a role" if source.role is None else f"a message of the role {source.role!r}"


def _translated(source: Source, name: str) -> list[Part] | None:
    """Reads what an application's reader made of a message; None if the reader does not know it.

    What it made is not given to such a reader again. The places of its parts are unknown in the message that is stored,
    so each of them stands for the whole.
    """
    found = translate(name, source.message)
    if found is None:
        return None
    source.whole, source.translated = False, True
    if found.fault is not None:
        return [Unknown(role="user", source=source, value=source.message, why=found.fault)]
    return [placed(part) for message in found.messages for part in _read_inner(source, message)]


def _read_inner(source: Source, message: Mapping[str, Any], *place: str | int) -> list[Part]:
    """Reads a message that is stored inside another one, as if it stood alone. `place` leads to it."""
    inner = msgspec.structs.replace(source, message=message, shape=None, role=None, whole=True, parts=())
    parts = read_parts(inner)
    inner.parts, source.role = tuple(parts), inner.role
    return [placed(part, *place, *part.place) for part in parts]


def shape_of(message: Mapping[str, Any], given: str | None = None) -> str | None:
    """Returns the shape that a message's keys imply, else the given one; None for only a role and content."""
    has_frame = message.keys() != _PLAIN or message["role"] not in _PLAIN_ROLES
    if has_frame and (shape := _shape_of_frame(message)) is not None:
        return shape
    kind = message.get("type")
    blocks = [block for block in listed(message.get("content")) if isinstance(block, Mapping)]
    for block in blocks:
        if shape := _shape_of_block(block):
            return shape
    if isinstance(kind, str) and not (given == ANTHROPIC and kind == "message"):
        return RESPONSES
    if given in (None, GEMINI, KIT):  # whose messages have `parts`
        return PI if any(block.get("type") == "thinking" for block in blocks) else None
    return given


def _shape_of_frame(message: Mapping[str, Any]) -> str | None:
    """Returns the shape that a message's keys imply, ignoring its content."""
    role = message.get("role")
    if isinstance(parts := message.get("parts"), list | tuple):
        return KIT if any(is_kit(part) for part in parts) else GEMINI
    if role in PI_ROLES:
        return PI
    if isinstance(role, str) and (ROLES.get(role.lower()) == "tool" or CHAT_KEYS & message.keys()):
        return CHAT
    is_answer = message.get("type") == "message" and "stop_reason" in message  # a response object of Anthropic
    return ANTHROPIC if is_answer else None


def _shape_of_block(block: Mapping[str, Any]) -> str | None:
    if "cache_control" in block or "citations" in block:
        return ANTHROPIC
    kind = block.get("type")
    if kind == "thinking":  # Anthropic's may have lost its signature, pi's may never have had one
        return PI if "thinkingSignature" in block else ANTHROPIC if "signature" in block else None
    if kind == "image":
        return ANTHROPIC if "source" in block else PI
    return SHAPE_OF_BLOCK.get(kind) if isinstance(kind, str) else None


def _is_left_out(message: Mapping[str, Any]) -> bool:
    """Returns whether pi hides a message from the model."""
    return message.get("stopReason") in FAILED_STOPS or message.get("excludeFromContext") is True


def _without_raw(part: Part) -> Part:
    """Returns a part without its `raw`. Reasoning keeps it, because it holds the signed text."""
    if isinstance(part, Thinking):
        return part
    bare = msgspec.structs.replace(part, raw=None, shape=None)
    if isinstance(bare, Result):
        content = tuple(msgspec.structs.replace(each, raw=None, shape=None) for each in bare.content)
        return msgspec.structs.replace(bare, content=content)
    return bare


def _speaker(role: str | None) -> Role:
    return SPEAKERS.get(role or "", "user")


# --- OpenAI chat, Anthropic, pi, and plain messages ---


def _message(source: Source) -> list[Part]:
    message = source.message
    if source.role == "tool":
        return [_result(source)]
    role = _speaker(source.role)
    if message.keys() == _PLAIN and message["content"]:  # most messages; the long way gives the same
        return read_content(message["content"], role, source, "content")
    if message.get("role") == "bashExecution":
        return [Text(role=role, source=source, text=_shell_command(message))]
    name = first_said(message, ("content", "summary", "text")) or "content"
    if name != "content":
        source.whole = False  # no provider takes a text under this name
    said = read_content(message.get(name), role, source, name)
    more = _said_again(source, "text", said) if name == "content" else []
    more += _pictures(source, role)
    return [*_reasoning(source), *said, *more, *_audio(source), *_refusal(source), *_calls(source)]


def _pictures(source: Source, role: Role) -> list[Part]:
    """Reads the images that a model made, next to the content: blocks, in servers that imitate OpenAI chat."""
    images = source.message.get("images")
    if not isinstance(images, list | tuple) or not images:
        return []
    source.whole = False
    return read_content(images, role, source, "images")


def _said_again(source: Source, name: str, said: list[Part]) -> list[Part]:
    """Reads a second text of a message, unless it repeats what the first one says."""
    text = source.message.get(name)
    if not isinstance(text, str) or not text.strip():
        return []
    joined = "\n".join(part.text for part in said if isinstance(part, Text))
    if text.strip() in joined:
        return []
    source.whole = False
    return [Text(role=_speaker(source.role), source=source, text=text)]


def _result(source: Source) -> Result:
    message = source.message
    names = (text_or_none(message.get(name)) for name in RESULT_NAME_KEYS)
    said = "content" if message.get("content") else first_said(message, OUTPUT_KEYS) or "content"
    if said != "content":
        source.whole = False
    return Result(
        role="user",
        source=source,
        raw=message if said == "content" else None,
        shape=source.shape,
        id=text_or_none(message.get("tool_call_id", message.get("toolCallId"))),
        name=next(filter(None, names), None) or "",
        content=result_content(message.get(said), source),
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
    """Reads reasoning in a field next to the content."""
    message = source.message
    if source.shape != CHAT or not any(message.get(name) for name in REASONING_KEYS):
        return []
    text = next((value for name in REASONING_KEYS[:2] if isinstance(value := message.get(name), str)), "")
    sealed = bool(message.get(REASONING_KEYS[2]))  # by some models; it is for them alone
    if not (source.trusted or (source.same_provider and not sealed)):
        source.whole = False
    return [Thinking(role="assistant", source=source, shape=CHAT, text=text)]


def _audio(source: Source) -> list[Part]:
    """Reads the transcript of spoken audio, because the provider deletes the audio itself within an hour."""
    audio = source.message.get("audio")
    if not isinstance(audio, Mapping):
        return []
    source.whole = False
    text = text_or_none(audio.get("transcript"))
    if text and text.strip():
        return [Text(role="assistant", source=source, text=text)]
    data = text_or_none(audio.get("data"))
    return [Media(role="assistant", source=source, kind="audio", data=data)] if data else []


def _refusal(source: Source) -> list[Part]:
    text = source.message.get("refusal")
    if not isinstance(text, str) or not text.strip():
        return []
    raw = {"type": "refusal", "refusal": text}
    return [Text(role="assistant", source=source, raw=raw, shape=CHAT, text=text)]


def _calls(source: Source) -> list[Part]:
    """Reads the calls of an OpenAI chat message, also the `function_call` of its first version."""
    found: list[Part] = []
    message = source.message
    refused = (name for name in CHAT_KEYS & message.keys() if not message[name])
    if any(name not in REASONING_KEYS or message[name] is None for name in refused) or message.get("content") == []:
        source.whole = False  # OpenAI refuses an empty list, and null in place of a list
    if "parsed" in message or "annotations" in message:  # added by the SDK; of an answer, and of no request
        source.whole = False
    made = message.get("tool_calls")
    for number, each in enumerate(made if isinstance(made, list | tuple) else [made] if made else []):
        found.append(placed(_chat_call(source, each), "tool_calls", number))
    old = message.get("function_call")
    if isinstance(old, Mapping) and old:
        found.append(_made_call(source, {}, old, False))
    return found


def _chat_call(source: Source, each: Any) -> Part:
    """Reads one of the `tool_calls`. Some programs store the name and the arguments without an object of their own."""
    call = members(each)
    if "type" not in call:
        source.whole = False
    custom = "custom" in call and "function" not in call
    body = members(call.get("custom" if custom else "function"))
    if not body:
        if not isinstance(call.get("name"), str) and text_or_none(call.get("id")) is None:
            source.whole = False
            return Unknown(role="assistant", source=source, value=each, why="a tool call without a name and an id")
        return _made_call(source, {"id": call.get("id")}, call, False, raw=None)
    if "parsed_arguments" in body:
        source.whole = False
        body = {name: value for name, value in body.items() if name != "parsed_arguments"}
        call = {**call, "function": body}
    return _made_call(source, call, body, custom, raw=call)


def _made_call(
    source: Source, call: Mapping[str, Any], body: Mapping[str, Any], custom: bool, raw: Mapping[str, Any] | None = None
) -> Call:
    name = text_or_none(body.get("name"))
    key = first_said(body, (("input", "arguments") if custom else ARGUMENT_KEYS))
    arguments = body.get(key or "arguments")
    if name is None or not isinstance(arguments, str):  # OpenAI refuses it
        raw = None
    if raw is None:
        source.whole = False
    id = text_or_none(call.get("id"))
    return Call(
        role="assistant", source=source, raw=raw, shape=CHAT, id=id, name=name or "", arguments=arguments, custom=custom
    )
