"""What pi's system messages come to. Pure.

pi says its prompt in pieces: texts add up, sections replace those of their name (or with null take them away), tools
come and go. Behind a compaction it leaves the pieces out and shows what they had come to.
"""

from __future__ import annotations

from typing import Any

from convtree._model.messages import text_of


def merge_system_messages(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns pi's system messages as the one that they come to: pi leaves all others out behind a compaction."""
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
