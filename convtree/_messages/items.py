"""Reads items of OpenAI's Responses into parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import listed, members, read_content, result_content, text_or_none
from convtree._messages.dialects import NAMED_CALL_ITEMS, RESPONSES, SEARCH_OUTPUT_ITEM
from convtree._messages.parts import Call, Hosted, Part, Result, Role, Source, Thinking


def read_item(source: Source, role: Role) -> list[Part]:
    """Reads an item. The ids of another model's items are left out, because they refer to data stored by its provider.

    Fields without a value are left out, too: OpenAI returns some that it does not accept back.
    """
    item = {name: value for name, value in source.message.items() if value is not None}
    source.message = item
    kind = str(item.get("type", "message"))
    raw = dict(item)
    if not source.trusted and raw.pop("id", None) is not None and kind != "local_shell_call_output":
        source.whole = False
    if not source.trusted:
        raw.pop("caller", None)  # refers to a program that is not sent
    if kind.endswith("_call_output") or (kind == SEARCH_OUTPUT_ITEM and "call_id" in item):
        return [_output(source, raw)]
    if kind.endswith("_call") and isinstance(item.get("call_id"), str):
        return [_item_call(source, raw, kind)]
    if kind == "reasoning":
        lines = [members(each).get("text") for name in ("summary", "content") for each in listed(item.get(name))]
        text = "\n".join(line for line in lines if isinstance(line, str))
        sealed = bool(item.get("encrypted_content") or item.get("id"))
        return [Thinking(role="assistant", source=source, raw=raw, shape=RESPONSES, text=text, sealed=sealed)]
    if kind == "message":
        return read_content(item.get("content"), role, source)
    return [Hosted(role="assistant", source=source, raw=raw, shape=RESPONSES)]


def _item_call(source: Source, raw: dict[str, Any], kind: str) -> Call:
    plain = kind in NAMED_CALL_ITEMS
    fields = {name: value for name, value in raw.items() if name not in ("id", "type", "call_id", "status")}
    return Call(
        role="assistant",
        source=source,
        raw=raw,
        shape=RESPONSES,
        id=raw["call_id"],
        name=text_or_none(raw.get("name")) or kind.removesuffix("_call") if plain else kind.removesuffix("_call"),
        arguments=raw.get("input" if kind == "custom_tool_call" else "arguments") if plain else fields,
        custom=kind == "custom_tool_call",
    )


def _output(source: Source, raw: dict[str, Any]) -> Result:
    output = raw.get("output", raw.get("tools"))
    content = result_content([output] if isinstance(output, Mapping) else output, source)
    name = text_or_none(raw.get("name")) or ""
    id = text_or_none(raw.get("call_id", source.message.get("id")))
    return Result(role="user", source=source, raw=raw, shape=RESPONSES, id=id, name=name, content=content)
