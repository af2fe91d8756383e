"""Reads messages of kit, whose parts have a `type` and a `data` object. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import kind_of, members, mime_of, result_content, text_or_none
from convtree._messages.dialects import ANTHROPIC, KIT
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Role, Source, Text, Thinking


def is_kit(part: Any) -> bool:
    """Returns whether a message part is one of kit."""
    return isinstance(part, Mapping) and isinstance(part.get("type"), str) and isinstance(part.get("data"), Mapping)


def read_kit(source: Source, role: Role) -> list[Part]:
    """Reads a message. Its `finish` part is left out, because it has no content."""
    parts = [members(part) for part in source.message["parts"]]
    return [read for part in parts if part.get("type") != "finish" and (read := _part(part, role, source)) is not None]


def _part(part: Mapping[str, Any], role: Role, source: Source) -> Part | None:
    data = members(part.get("data"))
    common: dict[str, Any] = {"role": role, "source": source, "raw": part, "shape": KIT}
    match part.get("type"):
        case "text":
            text = text_or_none(data.get("text"))
            return Text(**common, text=text) if text and text.strip() else None
        case "reasoning":
            return _thinking(data, common)
        case "image":
            mime = mime_of(data.get("media_type"))
            return Media(**common, kind=kind_of(mime or "image/png"), mime=mime, data=text_or_none(data.get("data")))
        case "tool_call":
            id, name = text_or_none(data.get("id")), text_or_none(data.get("name")) or ""
            return Call(**common | {"role": "assistant"}, id=id, name=name, arguments=data.get("input"))
        case "tool_result":
            return Result(
                **common | {"role": "user"},
                id=text_or_none(data.get("tool_call_id")),
                name=text_or_none(data.get("name")) or "",
                content=result_content(data.get("content"), source),
                is_error=data.get("is_error") is True,
            )
    return Hosted(**common)


def _thinking(data: Mapping[str, Any], common: dict[str, Any]) -> Thinking:
    """Reads reasoning; a signature is Anthropic's."""
    text, signature = text_or_none(data.get("thinking")) or "", text_or_none(data.get("signature"))
    raw = {"type": "thinking", "thinking": text} | ({"signature": signature} if signature else {})
    return Thinking(**common | {"raw": raw, "shape": ANTHROPIC}, text=text, sealed=signature is not None)
