"""Reads messages of pydantic-ai: requests and responses with parts of many kinds. Pure.

A request mixes what the system, the user and tools say, so each part has its own role. What pydantic-ai records for
itself (changes of tools and settings, baselines) is never sent to a model and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from convtree._messages.blocks import Where, listed, members, text_or_none
from convtree._messages.dialects import GEMINI, RESPONSES
from convtree._messages.frameworks.making import (
    Place,
    as_value,
    at,
    called,
    encrypted_thought,
    hosted,
    kind_of_part,
    media,
    numbered,
    redacted_thought,
    returned,
    said,
    source_speaks,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import (
    Call,
    Hosted,
    Kind,
    Media,
    Part,
    ReadInner,
    Result,
    Source,
    Text,
    Thinking,
    as_json,
    placed,
)

_MEDIA: dict[str, Kind | None] = {
    "image-url": "image",
    "audio-url": "audio",
    "video-url": "video",
    "document-url": "document",
    "binary": None,
    "uploaded-file": None,
}
_SILENT = frozenset(
    {"tool-availability-delta", "capability-load-delta", "model-settings-delta", "instruction-baseline", "cache-point"}
)
_FAILED = ("failed", "retried")  # a denial is an answer, not an error
_RETRY = "Fix the errors and try again."
_REDACTED = "redacted_thinking"  # the id of reasoning that Anthropic encrypted
_SIGNATURE = "thought_signature"

Read = Callable[[Mapping[str, Any], Where], Part | None]


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is a `ModelRequest` or a `ModelResponse`."""
    return message.get("kind") in ("request", "response") and isinstance(message.get("parts"), list | tuple)


def read(source: Source, inner: ReadInner) -> list[Part]:  # noqa: ARG001  # a part never holds a provider's message
    """Reads a request or a response."""
    message = source.message
    if message["kind"] == "request":
        parts = list(_request(source))
        source_speaks(source, parts, "user")
        return parts
    source.role = "assistant"
    found = _response(source)
    return _with_signatures(found, message) if source.trusted and _maker(message).startswith("google") else found


def facts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns provider, model and usage of a response."""
    stated = {"provider": "provider_name", "model": "model_name", "usage": "usage"}
    return {name: value for name, key in stated.items() if (value := message.get(key))}


def _maker(message: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> str:
    """Returns the provider whose signatures a part holds; empty if nobody says so."""
    said_by = text_or_none(members(part).get("provider_name")) or text_or_none(message.get("provider_name")) or ""
    system = text_or_none(message.get("canonical_system"))
    return system if system and said_by == message.get("provider_name") else said_by


# --- requests ---


def _request(source: Source) -> Iterator[Part]:
    system: Where = ("system", source)
    instructions = said(source.message.get("instructions"), system)
    if instructions is not None:  # every request repeats them
        yield placed(msgspec.structs.replace(instructions, repeats=True), "instructions")
    for place, part in numbered("parts", source.message["parts"]):
        kind = kind_of_part(part, "part_kind")
        if kind == "user-prompt":
            yield from _prompt(part, place, ("user", source))
        elif kind in _ASKED:
            yield from at(place, _ASKED[kind](part, ("user", source)))
        elif kind not in _SILENT:
            yield from at(place, unknown(part, kind, ("user", source)))


def _prompt(part: Mapping[str, Any], place: Place, where: Where) -> Iterator[Part]:
    content = part.get("content")
    if isinstance(content, list | tuple):
        for inner, item in numbered("content", content):
            yield from at((*place, *inner), _item(item, where))
    else:
        yield from at((*place, "content"), structured(content, where))


def _item(item: Any, where: Where) -> Part | None:
    """Reads an item of a prompt: a text, or an object with a `kind`."""
    if not isinstance(item, Mapping):
        return structured(item, where)
    kind = kind_of_part(item, "kind")
    if kind in ("text-content", "structured-content"):
        return structured(item.get("content"), where)
    if kind in _SILENT:
        return None
    return _media(item, where) or unknown(item, kind, where)


def _media(item: Any, where: Where) -> Media | None:
    """Reads a file; None if the item is none. A tool may return an object that looks alike but has no data."""
    kind = kind_of_part(item, "kind")
    if kind not in _MEDIA:
        return None
    return media(
        where,
        kind=_MEDIA[kind],
        mime=item.get("media_type", item.get("_media_type")),
        data=item.get("data"),
        url=item.get("url"),
        name=item.get("file_id"),
    )


def _system(part: Mapping[str, Any], where: Where) -> Text | None:
    return structured(part.get("content"), ("system", where[1]))


def _result(part: Mapping[str, Any], where: Where) -> Result:
    failed = part.get("outcome") in _FAILED
    content = _returned(part.get("content"), where)
    return returned(part.get("tool_call_id"), part.get("tool_name"), content, where, failed)


def _returned(content: Any, where: Where) -> list[Part | None]:
    """Reads what a tool returned: a file, a list with files, or any value as JSON text."""
    files = [_media(item, where) for item in listed(content)]
    if not any(files):
        return [_media(content, where) or structured(content, where)]
    return [file or structured(item, where) for file, item in zip(files, content, strict=True)]


def _retry(part: Mapping[str, Any], where: Where) -> Part | None:
    """Reads what was wrong: the error of a call, or without a tool's name, a text for the model."""
    content = part.get("content")
    words = content if isinstance(content, str) else as_json(content)
    retry = said(f"{words}\n\n{_RETRY}", where)
    if not text_or_none(part.get("tool_name")):
        return retry
    return returned(part.get("tool_call_id"), part.get("tool_name"), [retry], where, True)


def _speech(part: Mapping[str, Any], where: Where) -> Part | None:
    """Reads spoken words: the transcript, or the sound if there is none."""
    role = "assistant" if part.get("speaker") == "assistant" else where[0]
    where = (role, where[1])
    return said(part.get("transcript"), where) or _media(part.get("audio"), where)


def _summary(part: Mapping[str, Any], where: Where) -> Part | None:
    """Reads a summary; that of OpenAI is encrypted."""
    text = said(part.get("content"), where)
    details = members(part.get("provider_details"))
    if text is not None or not details.get("encrypted_content"):
        return text
    raw = {"type": "compaction", "id": part.get("id"), "encrypted_content": details["encrypted_content"]}
    return Hosted(role=where[0], source=where[1], raw=raw, shape=RESPONSES)


_ASKED: dict[str, Read] = {
    "system-prompt": _system,
    "instruction-delta": _system,
    "tool-return": _result,
    "retry-prompt": _retry,
    "retry-feedback": _retry,
    "speech": _speech,
    "compaction": _summary,
}

# --- responses ---


def _response(source: Source) -> list[Part]:
    where: Where = ("assistant", source)
    found: list[Part] = []
    for place, part in numbered("parts", source.message["parts"]):
        kind = kind_of_part(part, "part_kind")
        if kind in _ANSWERED:
            found += at(place, _ANSWERED[kind](part, where))
        elif kind not in _SILENT:
            found += at(place, unknown(part, kind, where))
    return found


def _text(part: Mapping[str, Any], where: Where) -> Part | None:
    return structured(part.get("content"), where)


def _thinking(part: Mapping[str, Any], where: Where) -> Part | None:
    text, signature = part.get("content"), text_or_none(part.get("signature"))
    maker = _maker(where[1].message, part)
    if maker == "anthropic":
        if part.get("id") == _REDACTED:
            return redacted_thought(signature, where)
        return thought(text, where, signature)
    if maker == "openai" and signature is not None:
        return encrypted_thought(text, signature, part.get("id"), where)
    return thought(text, where)


def _call(part: Mapping[str, Any], where: Where) -> Call:
    return called(part.get("tool_call_id"), part.get("tool_name"), part.get("args"), where)


def _hosted_call(part: Mapping[str, Any], where: Where) -> Hosted:
    return hosted(part.get("tool_name"), part.get("args"), where)


def _hosted_result(part: Mapping[str, Any], where: Where) -> Hosted:
    return hosted(part.get("tool_name"), part.get("content"), where)


def _file(part: Mapping[str, Any], where: Where) -> Part | None:
    content = part.get("content")
    return _media(content, where) or unknown(part, "file", where)


_ANSWERED: dict[str, Read] = {
    "text": _text,
    "thinking": _thinking,
    "tool-call": _call,
    "builtin-tool-call": _hosted_call,
    "builtin-tool-return": _hosted_result,
    "file": _file,
    "speech": _speech,
    "compaction": _summary,
}


def _with_signatures(parts: list[Part], message: Mapping[str, Any]) -> list[Part]:
    """Gives parts the signature that Gemini wants back with them: their own, or that of the reasoning before."""
    signed: list[Part] = []
    pending: str | None = None
    for part in parts:
        given = members(listed(message["parts"])[int(part.place[1])])
        own = text_or_none(members(given.get("provider_details")).get(_SIGNATURE)) or pending
        pending = text_or_none(given.get("signature")) if isinstance(part, Thinking) else None
        raw = _gemini_raw(part) if own is not None else None
        if raw is not None:
            part = msgspec.structs.replace(part, raw=raw | {"thoughtSignature": own}, shape=GEMINI)  # noqa: PLW2901
        signed.append(part)
    return signed


def _gemini_raw(part: Part) -> dict[str, Any] | None:
    """Returns a part as Gemini gave it, without its signature."""
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Thinking):
        return {"text": part.text, "thought": True}
    if not isinstance(part, Call) or not isinstance(arguments := as_value(part.arguments), Mapping):
        return None
    return {"functionCall": ({"id": part.id} if part.id else {}) | {"name": part.name, "args": arguments}}
