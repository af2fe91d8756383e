"""Merges pi's system messages into one. Pure.

pi sends its system prompt in pieces: texts are appended, a section replaces the one of its name (null removes it),
tools are added and removed. After a compaction it shows one merged message instead of the pieces.
"""

from __future__ import annotations

from typing import Any

from convtree._messages.said import text_of


def merge_system_messages(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the system message that pi shows after a compaction in place of these."""
    said: list[str] = []
    sections, tools = dict[str, Any](), dict[str, Any]()
    for message in messages:
        said.append(text_of(message))
        for name, value in _members(message.get("sections")).items():
            sections[name] = value
        gone, new = (_named(message.get(name)) for name in ("toolsRemoved", "toolsAdded"))
        tools = {name: tool for name, tool in tools.items() if name not in gone} | new
    found = {
        "sections": {name: value for name, value in sections.items() if value is not None},
        "toolsAdded": list(tools.values()),
    }
    content = "\n\n".join(filter(None, said))
    return {"role": "system", "content": content} | {name: value for name, value in found.items() if value}


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(tools: Any) -> dict[str, Any]:
    listed = tools if isinstance(tools, list) else []
    return {str(tool.get("name")): tool for tool in listed if isinstance(tool, dict)}
