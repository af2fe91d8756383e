"""Reads items of OpenAI's Responses into parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import listed, members, read_content, result_content, text_or_none
from convtree._messages.dialects import NAMED_CALL_ITEMS, PLAIN_OUTPUT_ITEMS, RESPONSES, SEARCH_OUTPUT_ITEM
from convtree._messages.hosted import text_of_hosted
from convtree._messages.item_fields import ITEM_FIELDS, sendable
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Role, Source, Thinking, Unknown
from convtree._messages.trimming import RESPONSES_RULE, trimmed


def role_of_item(item: Mapping[str, Any]) -> str | None:
    """Returns the role of an item without one: that of its producer."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return None
    if kind.endswith("_output"):
        return "tool"
    if kind == "mcp_approval_response":
        return "user"
    return "assistant" if kind.endswith("_call") or kind == "reasoning" or kind in ITEM_FIELDS else None


def read_item(source: Source, role: Role) -> list[Part]:
    """Reads an item. The ids of another model's items are left out, because they refer to data stored by its provider.

    Fields that OpenAI does not take are left out, too.
    """
    stored = source.message
    item = sendable(stored)
    kind = str(item.get("type", "message"))
    if kind in ITEM_FIELDS and kind not in (*NAMED_CALL_ITEMS, *PLAIN_OUTPUT_ITEMS):  # a dump has null for each field
        item = trimmed(item, RESPONSES_RULE)
    source.message = item
    raw = dict(item)
    if not source.trusted and raw.pop("id", None) is not None and kind != "local_shell_call_output":
        source.whole = False
    if not source.trusted:
        raw.pop("caller", None)  # refers to a program that is not sent
    if kind.endswith("_call_output") or (kind == SEARCH_OUTPUT_ITEM and "call_id" in item):
        return [_output(source, raw, stored)]
    if kind.endswith("_call") and isinstance(item.get("call_id"), str):
        return [_item_call(source, raw, kind)]
    if kind == "reasoning":
        lines = [members(each).get("text") for name in ("summary", "content") for each in listed(item.get(name))]
        text = "\n".join(line for line in lines if isinstance(line, str))
        sealed = bool(item.get("encrypted_content") or item.get("id"))
        return [Thinking(role="assistant", source=source, raw=raw, shape=RESPONSES, text=text, sealed=sealed)]
    if kind == "message":
        said = read_content(item.get("content"), role, source, "content")
        return said or read_content(stored.get("content"), role, source, "content")  # what is not sent may be unknown
    return [_other(source, raw, kind, stored)]


def _other(source: Source, raw: dict[str, Any], kind: str, stored: Mapping[str, Any]) -> Part:
    """Reads an item that only OpenAI can use, or that no reader knows."""
    if kind == "image_generation_call" and (data := text_or_none(raw.get("result"))):
        mime = f"image/{raw.get('output_format') or 'png'}"
        common: dict[str, Any] = {"role": "assistant", "source": source, "raw": raw, "shape": RESPONSES}
        return Media(**common, kind="image", mime=mime, data=data)
    role: Role = "user" if source.role in ("user", "tool") else "assistant"
    if kind in ITEM_FIELDS or kind.endswith("_call"):
        is_empty = kind == "compaction" and not raw.get("encrypted_content")  # a redaction took it
        return Hosted(
            role=role, source=source, raw=None if is_empty else raw, shape=RESPONSES, text=text_of_hosted(raw)
        )
    why = f"an item of the type {kind!r}"
    return Unknown(role=role, source=source, raw=raw, shape=RESPONSES, value=stored, why=why)


def _item_call(source: Source, raw: dict[str, Any], kind: str) -> Call:
    plain = kind in NAMED_CALL_ITEMS
    given = raw.get("input" if kind == "custom_tool_call" else "arguments")
    is_valid = isinstance(given, str) and text_or_none(raw.get("name")) is not None
    fields = {name: value for name, value in raw.items() if name not in ("id", "type", "call_id", "status")}
    return Call(
        role="assistant",
        source=source,
        raw=raw if is_valid or not plain else None,
        shape=RESPONSES,
        id=raw["call_id"],
        name=text_or_none(raw.get("name")) or kind.removesuffix("_call") if plain else kind.removesuffix("_call"),
        arguments=given if plain else fields,
        custom=kind == "custom_tool_call",
    )


def _output(source: Source, raw: dict[str, Any], stored: Mapping[str, Any]) -> Result:
    output = raw.get("output", raw.get("tools"))
    is_plain = source.message.get("type") in PLAIN_OUTPUT_ITEMS
    given = None if is_plain and not _is_input(output) else raw
    content = result_content([output] if isinstance(output, Mapping) and "type" in output else output, source)
    name = text_or_none(raw.get("name")) or ""
    id = text_or_none(stored.get("call_id", stored.get("id")))
    return Result(role="user", source=source, raw=given, shape=RESPONSES, id=id, name=name, content=content)


def _is_input(output: Any) -> bool:
    """Returns whether OpenAI takes the output of a function as it is: a text, or blocks of the user's side."""
    blocks = listed(output)
    kinds = [members(each).get("type") for each in blocks]
    return isinstance(output, str) or (bool(blocks) and all(str(kind).startswith("input_") for kind in kinds))
