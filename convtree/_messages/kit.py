"""Reads messages of kit, whose parts have a `type` and a `data` object. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convtree._messages.blocks import kind_of, members, mime_of, result_content, text_or_none
from convtree._messages.dialects import ANTHROPIC, KIT, KIT_CALL, KIT_RESULT
from convtree._messages.parts import Call, Media, Part, Result, Role, Source, Text, Thinking, Unknown, placed


def is_kit(part: Any) -> bool:
    """Returns whether a message part is one of kit."""
    return isinstance(part, Mapping) and isinstance(part.get("type"), str) and isinstance(part.get("data"), Mapping)


def read_kit(source: Source, role: Role) -> list[Part]:
    """Reads a message. Its `finish` part is left out, because it has no content."""
    found = []
    for number, each in enumerate(source.message["parts"]):
        part = _part(members(each), role, source)
        if part is not None:
            found.append(placed(part, "parts", number))
    return found


def _part(part: Mapping[str, Any], role: Role, source: Source) -> Part | None:
    data = members(part.get("data"))
    common: dict[str, Any] = {"role": role, "source": source, "raw": part, "shape": KIT}
    kind = part.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is not None:
        return read(data, common)
    if kind == "finish":
        return None
    return Unknown(**common, value=part, why=f"a part of the type {kind!r}")


def _text(data: Mapping[str, Any], common: dict[str, Any]) -> Part | None:
    text = text_or_none(data.get("text"))
    return Text(**common, text=text) if text and text.strip() else None


def _image(data: Mapping[str, Any], common: dict[str, Any]) -> Part:
    mime = mime_of(data.get("media_type"))
    return Media(**common, kind=kind_of(mime or "image/png"), mime=mime, data=text_or_none(data.get("data")))


def _call(data: Mapping[str, Any], common: dict[str, Any]) -> Part:
    id, name = text_or_none(data.get("id")), text_or_none(data.get("name")) or ""
    return Call(**common | {"role": "assistant"}, id=id, name=name, arguments=data.get("input"))


def _result(data: Mapping[str, Any], common: dict[str, Any]) -> Part:
    return Result(
        **common | {"role": "user"},
        id=text_or_none(data.get("tool_call_id")),
        name=text_or_none(data.get("name")) or "",
        content=result_content(data.get("content"), common["source"]),
        is_error=data.get("is_error") is True,
    )


def _thinking(data: Mapping[str, Any], common: dict[str, Any]) -> Thinking:
    """Reads reasoning; a signature is Anthropic's."""
    text, signature = text_or_none(data.get("thinking")) or "", text_or_none(data.get("signature"))
    raw = {"type": "thinking", "thinking": text} | ({"signature": signature} if signature else {})
    return Thinking(**common | {"raw": raw, "shape": ANTHROPIC}, text=text, sealed=signature is not None)


_READERS: dict[str, Callable[[Mapping[str, Any], dict[str, Any]], Part | None]] = {
    "text": _text,
    "reasoning": _thinking,
    "image": _image,
    KIT_CALL: _call,
    KIT_RESULT: _result,
}
