"""Messages of Microsoft Agent Framework, with every kind of content."""

import json
from base64 import b64decode
from typing import Any

import pytest
from law import PNG, check

m: Any = pytest.importorskip("agent_framework")
TEXTS = [
    *("You are a guide.", "What is this?", "https://example.com/a.png", "I will look.", "Paris", "two rooms"),
    *("a caption", "It is a tower.", "quota"),
]


def conversation() -> list[Any]:
    """Returns messages of every role."""
    content = m.Content
    asked = [
        "What is this?",
        content.from_data(b64decode(PNG), "image/png"),
        content.from_uri("https://example.com/a.png", media_type="image/png"),
        content.from_hosted_file("file-1"),
    ]
    calls = [
        content.from_text_reasoning(text="Hm.", protected_data="c2VhbA=="),
        content.from_text("I will look."),
        content.from_function_call("c1", "look", arguments={"at": "Paris"}),
        content.from_function_call("c2", "look", arguments='{"at": "Lyon"}'),
        content.from_function_call("c3", "fail", arguments=None),
        content.from_mcp_server_tool_call("s1", "search", server_name="web", arguments={"query": "q"}),
        content.from_mcp_server_tool_result("s1", output=[content.from_text("found")]),
        content.from_usage({"input_token_count": 10, "output_token_count": 5}),
    ]
    picture = content.from_uri(f"data:image/png;base64,{PNG}", media_type="image/png")
    results = [
        content.from_function_result("c1", result={"rooms": "two rooms"}),
        content.from_function_result("c2", result=[content.from_text("a caption"), picture]),
        content.from_function_result("c3", exception="it broke"),
    ]
    return [
        m.Message("system", ["You are a guide."]),
        m.Message("user", asked, author_name="Ann"),
        m.Message("assistant", calls, message_id="m1"),
        m.Message("tool", results),
        m.Message("assistant", ["It is a tower.", content.from_error(message="quota", error_code="429")]),
    ]


def test_the_same_request_whatever_the_form() -> None:
    """An object, `to_dict` and `to_json` lead to the same request, which has every text."""
    routes = {"to_dict": lambda each: each.to_dict(), "to_json": lambda each: json.loads(each.to_json())}
    check("agent-framework", "agent-framework-core", conversation(), routes, TEXTS)
