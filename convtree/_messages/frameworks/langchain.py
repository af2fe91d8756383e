"""Reads messages of LangChain, as `message_to_dict`, `model_dump` and `dumpd` write them. Pure.

The content is a text or blocks: those of a provider, those of LangChain's first standard and those of its second. The
calls stand in `tool_calls`, and often once more among the blocks: each is read once, at the place of its block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from convtree._messages.blocks import Where, listed, members, read_block, text_or_none
from convtree._messages.dialects import ANTHROPIC, SHAPE_OF_BLOCK
from convtree._messages.frameworks.making import (
    Place,
    at,
    called,
    encrypted_thought,
    hosted,
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
from convtree._messages.parts import Call, Hosted, Kind, Part, ReadInner, Source, placed

_TYPES = {
    **dict.fromkeys(("ai", "AIMessageChunk"), "assistant"),
    **dict.fromkeys(("human", "HumanMessageChunk"), "user"),
    **dict.fromkeys(("system", "SystemMessageChunk"), "system"),
    **dict.fromkeys(("tool", "ToolMessageChunk", "function", "FunctionMessageChunk"), "tool"),
    **dict.fromkeys(("chat", "ChatMessageChunk"), "chat"),
    "remove": "remove",
}
_TYPE_OF_CLASS = {
    **{f"{name}Message": name.lower() for name in ("Human", "System", "Tool", "Function", "Chat", "Remove")},
    **{f"{name}MessageChunk": f"{name}MessageChunk" for name in ("AI", "Human", "System", "Tool", "Function", "Chat")},
    "AIMessage": "ai",
}
_OWN_KEYS = ("additional_kwargs", "response_metadata")
_FOREIGN_KEYS = frozenset({"role", "message", "uuid", "subtype"})  # of other formats with such a type
#: blocks that are calls, and the key of their id
_CALLS = {"tool_use": "id", "tool_call": "id", "function_call": "call_id", "tool_call_chunk": "id"}
_CALLS |= {"custom_tool_call": "call_id", "invalid_tool_call": "id"}
_MEDIA: dict[str, Kind] = {"image": "image", "audio": "audio", "video": "video", "file": "document"}
#: blocks of providers that hold the user's files, by the key that tells them from LangChain's
_FILES = {
    "image_url": "image_url",
    "input_image": "type",
    "input_file": "type",
    "input_audio": "input_audio",
    "image": "source",
    "document": "type",
    "file": "file",
    "search_result": "content",
}
_HOSTED_ENDS = ("_tool_use", "_result", "_call", "_tool_call", "_call_chunk", "_output", "_list_tools")
_OF_THE_STREAM = ("index",)  # keys that LangChain adds to a provider's blocks


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is one of LangChain."""
    return _bare(message) is not None


def read(source: Source, inner: ReadInner) -> list[Part]:  # noqa: ARG001  # a block never holds a provider's message
    """Reads a message."""
    way, message = _found(source.message)
    kind = _TYPES[message["type"]]
    if kind == "remove":  # takes a message out of LangChain's state, and says nothing
        return []
    kwargs = members(message.get("additional_kwargs"))
    source.role = speaker_of(message.get("role"), "user") if kind == "chat" else kind
    if kwargs.get("__openai_role__") == "developer":
        source.role = "developer"
    where: Where = (role_of_speaker(source.role), source)
    if kind == "tool":
        return [placed(_result(message, way, where), *way)]
    parts = [*_thought_before(kwargs, way, where), *_content(message, way, where)]
    return [*parts, *_said_beside(kwargs, way, where), *_calls(message, way, where, parts)]


def facts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns provider, model and usage of a reply."""
    _, bare = _found(message)
    metadata = members(bare.get("response_metadata"))
    stated = {
        "provider": metadata.get("model_provider"),
        "model": metadata.get("model_name") or metadata.get("model"),
        "usage": bare.get("usage_metadata") or metadata.get("token_usage") or metadata.get("usage"),
    }
    return {name: value for name, value in stated.items() if value}


def _bare(message: Mapping[str, Any]) -> tuple[Place, Mapping[str, Any]] | None:
    """Returns the message inside its envelope, with its type, and the way there; None if there is none."""
    if "lc" in message:  # where the type is its default, only the name of the class tells it
        inner = members(message.get("kwargs"))
        names = listed(message.get("id"))
        kind = _TYPE_OF_CLASS.get(str(names[-1])) if names else None
        found = inner if "type" in inner else {**inner, "type": kind}
        return (("kwargs",), found) if _is_typed(found) else None
    if _is_typed(message):
        own = any(isinstance(message.get(key), Mapping) for key in _OWN_KEYS)
        return ((), message) if own or not _FOREIGN_KEYS & message.keys() else None
    inner = {
        "type": message.get("type"),
        **members(message.get("data")),
    }  # the first versions had the type outside only
    return (("data",), inner) if message.get("type") == inner["type"] and _is_typed(inner) else None


def _found(message: Mapping[str, Any]) -> tuple[Place, Mapping[str, Any]]:
    """Returns what `_bare` does, for a message that fits."""
    return _bare(message) or ((), message)


def _is_typed(message: Mapping[str, Any]) -> bool:
    return "content" in message and kind_of_part(message, "type") in _TYPES


def _result(message: Mapping[str, Any], way: Place, where: Where) -> Part:
    content = message.get("content")
    if isinstance(content, list | tuple):
        found: list[Part | None] = list(_content(message, way, where))
    else:
        found = [structured(content, where)]
    failed = message.get("status") == "error"
    return returned(message.get("tool_call_id"), message.get("name"), found, where, failed)


# --- content ---


def _content(message: Mapping[str, Any], way: Place, where: Where) -> Iterator[Part]:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        yield from at((*way, "content"), structured(content, where))
    calls = {text_or_none(call.get("id")): call for _, call in _stated_calls(message)}
    for place, block in numbered("content", content):
        yield from at((*way, *place), _block(block, where, calls))


def _block(block: Any, where: Where, calls: Mapping[str | None, Mapping[str, Any]]) -> Part | None:
    if not isinstance(block, Mapping):
        return structured(block, where)
    if block.get("type") == "non_standard" and isinstance(inner := block.get("value"), Mapping):
        block = inner
    kind = "text" if "type" not in block and "text" in block else kind_of_part(block, "type")
    if kind in _CALLS:
        id = text_or_none(block.get(_CALLS[kind]))
        return _call(calls.get(id, block) if id else block, where)
    return _other_block(block, kind, where) if kind is not None else unknown(block, kind, where)


def _other_block(block: Mapping[str, Any], kind: str, where: Where) -> Part | None:
    """Reads a block that is no call."""
    if _FILES.get(kind) in block:
        return _file_of_provider(block, where)
    if kind in _MEDIA or kind == "text-plain":
        return _media(block, kind, where)
    if kind in _SAYS:
        return _SAYS[kind](block, where)
    if kind.endswith(_HOSTED_ENDS):
        return _hosted(block, kind, where)
    return None if kind == "input_json_delta" else unknown(block, kind, where)


def _text(block: Mapping[str, Any], where: Where) -> Part | None:
    return structured(block.get("refusal" if block.get("type") == "refusal" else "text"), where)


def _reasoning(block: Mapping[str, Any], where: Where) -> Part | None:
    """Reads LangChain's reasoning, an item of OpenAI, and what Bedrock calls its reasoning."""
    text = block.get("reasoning") or members(block.get("reasoning_content")).get("text") or _words(block.get("summary"))
    if sealed := text_or_none(block.get("encrypted_content")):
        return encrypted_thought(text, sealed, block.get("id"), where)
    signature = members(block.get("extras")).get("signature") or block.get("signature")
    return thought(text, where, signature if _is_anthropic(where[1]) else None)


def _thinking(block: Mapping[str, Any], where: Where) -> Part | None:
    signature = None if _is_google(where[1]) else block.get("signature")
    return thought(block.get("thinking"), where, signature)


def _redacted(block: Mapping[str, Any], where: Where) -> Part | None:
    return redacted_thought(block.get("data"), where)


def _drawn(block: Mapping[str, Any], where: Where) -> Part | None:
    return media(where, mime="image/png", data=block.get("result")) or hosted("image_generation_call", None, where)


def _executed(block: Mapping[str, Any], where: Where) -> Hosted:
    kind = str(block.get("type"))
    return hosted(kind, block.get(kind), where)


_SAYS: dict[str, Callable[[Mapping[str, Any], Where], Part | None]] = {
    **dict.fromkeys(("text", "refusal", "input_text", "output_text"), _text),
    **dict.fromkeys(("reasoning", "reasoning_content"), _reasoning),
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "image_generation_call": _drawn,
    **dict.fromkeys(("executable_code", "code_execution_result"), _executed),
}


def _words(summary: Any) -> str:
    """Returns the text of OpenAI's reasoning."""
    lines = (members(each).get("text") for each in listed(summary))
    return "\n".join(line for line in lines if isinstance(line, str))


def _made_by(source: Source) -> str:
    """Returns the provider of a reply, or the model if only that is stated."""
    metadata = members(_found(source.message)[1].get("response_metadata"))
    return str(metadata.get("model_provider") or metadata.get("model_name") or metadata.get("model") or "")


def _is_anthropic(source: Source) -> bool:
    return _made_by(source).startswith(("anthropic", "claude"))


def _is_google(source: Source) -> bool:
    return _made_by(source).startswith(("google", "gemini", "models/gemini"))


def _file_of_provider(block: Mapping[str, Any], where: Where) -> Part | None:
    """Reads a file in a provider's own block, which is kept for that provider."""
    part = read_block({key: value for key, value in block.items() if key not in _OF_THE_STREAM}, *where)
    return unknown(block, block["type"], where) if isinstance(part, Hosted) else part


def _media(block: Mapping[str, Any], kind: str, where: Where) -> Part | None:
    """Reads a file of either standard. The first says where the data is in `source_type`."""
    text = block.get("text") if "source_type" not in block or block["source_type"] == "text" else None
    if block.get("source_type") == "id":
        return media(where, kind=_MEDIA.get(kind), mime=block.get("mime_type"), name=block.get("id"))
    found = media(
        where,
        kind=_MEDIA.get(kind, "document"),
        mime=block.get("mime_type"),
        data=block.get("base64", block.get("data") if block.get("source_type") == "base64" else None),
        url=block.get("url"),
        name=block.get("file_id") or members(block.get("extras")).get("filename") or block.get("title"),
    )
    return said(text or (block.get("data") if found is None else None), where) or found or unknown(block, kind, where)


def _hosted(block: Mapping[str, Any], kind: str, where: Where) -> Hosted:
    """Reads a part of a tool that ran at the provider; a block of Anthropic goes back to it."""
    given = next((block[key] for key in ("args", "input", "action", "output", "content") if key in block), None)
    if SHAPE_OF_BLOCK.get(kind) != ANTHROPIC:
        return hosted(block.get("name") or kind, given, where)
    raw = {key: value for key, value in block.items() if key not in _OF_THE_STREAM}
    return hosted(block.get("name") or kind, given, where, raw)


# --- beside the content ---


def _thought_before(kwargs: Mapping[str, Any], way: Place, where: Where) -> Iterator[Part]:
    """Reads reasoning that stands beside the content."""
    for key in ("reasoning_content", "reasoning"):
        given = kwargs.get(key)
        read = _reasoning(given, where) if isinstance(given, Mapping) else thought(given, where)
        yield from at((*way, "additional_kwargs", key), read)


def _said_beside(kwargs: Mapping[str, Any], way: Place, where: Where) -> Iterator[Part]:
    """Reads a refusal, the transcript of spoken words, and what OpenAI's tools gave."""
    beside = (*way, "additional_kwargs")
    yield from at((*beside, "refusal"), said(kwargs.get("refusal"), where))
    yield from at((*beside, "audio"), said(members(kwargs.get("audio")).get("transcript"), where))
    for place, item in numbered("tool_outputs", kwargs.get("tool_outputs")):
        yield from at((*beside, *place), _hosted(members(item), str(members(item).get("type")), where))


def _stated_calls(message: Mapping[str, Any]) -> list[tuple[Place, Mapping[str, Any]]]:
    """Returns the calls of a message beside its content, each with its place."""
    given = [each for key in ("tool_calls", "invalid_tool_calls") for each in numbered(key, message.get(key))]
    if not given:
        kwargs = members(message.get("additional_kwargs"))
        raw = numbered("tool_calls", kwargs.get("tool_calls"))
        given = [(("additional_kwargs", *place), call) for place, call in raw]
        if isinstance(old := kwargs.get("function_call"), Mapping):
            given.append((("additional_kwargs", "function_call"), {"function": old}))
    return [(place, members(call)) for place, call in given]


def _calls(message: Mapping[str, Any], way: Place, where: Where, read: list[Part]) -> Iterator[Part]:
    """Reads the calls that do not stand among the blocks."""
    known = {part.id for part in read if isinstance(part, Call) and part.id}
    named = [part.name for part in read if isinstance(part, Call) and not part.id]
    for place, call in _stated_calls(message):
        part = _call(call, where)
        if part.id in known:
            continue
        if part.id is None and part.name in named:
            named.remove(part.name)
            continue
        yield placed(part, *way, *place)


def _call(call: Mapping[str, Any], where: Where) -> Call:
    """Reads a call of LangChain, or a block or a call of a provider."""
    body = members(call.get("function"))
    arguments = next((call[key] for key in ("args", "input", "arguments") if key in call), body.get("arguments"))
    id = call.get("call_id") or call.get("id")
    custom = call.get("type") == "custom_tool_call"
    return msgspec.structs.replace(called(id, call.get("name") or body.get("name"), arguments, where), custom=custom)
