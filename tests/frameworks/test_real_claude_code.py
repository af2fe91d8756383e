"""Messages of the Claude Agent SDK, and the lines that they come from."""

from dataclasses import asdict
from typing import Any

import pytest
from law import PNG, check

sdk: Any = pytest.importorskip("claude_agent_sdk")
TEXTS = ["What is this?", "I will look.", "two rooms", "No such room", "It is a tower."]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def lines() -> list[dict[str, Any]]:
    """Returns the lines of a query, as the command line writes them."""
    calls = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "text", "text": "I will look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "Paris"}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"at": "Lyon"}},
    ]
    rooms = [{"type": "text", "text": "two rooms"}, PICTURE]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": rooms},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "No such room", "is_error": True},
    ]
    common = {"session_id": "s1", "parent_tool_use_id": None}
    usage = {"input_tokens": 10, "output_tokens": 5}
    reply = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}
    measured = {"duration_ms": 1, "duration_api_ms": 1, "is_error": False, "num_turns": 2, "usage": usage}
    told = [{"type": "text", "text": "It is a tower."}]
    return [
        {"type": "system", "subtype": "init", "uuid": "u0", "tools": [], "model": "claude-sonnet-4-5", **common},
        {"type": "user", "uuid": "u1", "message": {"role": "user", "content": "What is this?"}, **common},
        {"type": "assistant", "uuid": "u2", "message": reply | {"content": calls}, **common},
        {"type": "user", "uuid": "u3", "message": {"role": "user", "content": results}, **common},
        {"type": "assistant", "uuid": "u4", "message": reply | {"id": "msg_2", "content": told}, **common},
        {
            "type": "result",
            "subtype": "success",
            "result": "It is a tower.",
            "uuid": "u5",
            "session_id": "s1",
            **measured,
        },
    ]


def test_the_same_request_whatever_the_form() -> None:
    """An object of the SDK, its fields, and the line lead to the same request, which has every text once."""
    parse = pytest.importorskip("claude_agent_sdk._internal.message_parser").parse_message
    stored = {id(message): line for line in lines() if (message := parse(line)) is not None and keep(message)}
    routes = {"line": lambda each: stored[id(each)], "asdict": asdict}
    check("claude-code", "claude-agent-sdk", KEPT, routes, TEXTS)


KEPT: list[Any] = []


def keep(message: Any) -> bool:
    """Keeps a message, so that its identity stays its own."""
    KEPT.append(message)
    return True
