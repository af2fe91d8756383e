"""What sessions of Kimi CLI and of Kimi Code share: how a wire is recognised, parts of messages, names of records."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from convtree._formats.common.base import Source
from convtree._formats.common.blocks import image_block, text_block
from convtree._formats.common.jsonl import has_known_line
from convtree._formats.common.values import as_object, as_text, objects, text, without

_LOOK = 50  # lines in which a file is recognised
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_INVALID = re.compile(r"[^a-z0-9_.-]")
_KIND = 48  # characters


def is_wire(source: Source, is_known: Callable[[dict[str, Any]], bool]) -> bool:
    """Returns whether a file has a line that a format knows among its first ones."""
    return source.beginning.lstrip().startswith(b"{") and bool(has_known_line(source, is_known, _LOOK))


def kind_of(name: Any) -> str:
    """Returns the name of a record as the type of extension data may have it: in small letters."""
    return _INVALID.sub("_", _HUMP.sub("_", text(name) or "unknown").lower())[:_KIND]


def blocks_of(content: Any) -> list[dict[str, Any]]:
    """Returns the parts of a message as blocks of Anthropic's; a part without a counterpart as it is."""
    if isinstance(content, list):
        return [_block(part) if isinstance(part, dict) else text_block(part) for part in content]
    return [_block(content)] if isinstance(content, dict) else [text_block(content)] if content else []


def texts_of(content: Any) -> str:
    """Returns the texts of a content in one."""
    return "\n".join(as_text(part.get("text")) for part in objects(content) if part.get("type") == "text")


def _block(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return part if isinstance(part.get("text"), str) else text_block(part.get("text"))
        case "think":
            signed = without({"signature": part.get("encrypted")})
            return {"type": "thinking", "thinking": as_text(part.get("think"))} | signed
        case "image_url":
            image = as_object(part.get("image_url")) or as_object(part.get("imageUrl"))
            return image_block(text(image.get("url")) or "")
    return part if isinstance(part.get("type"), str) else text_block(part)
