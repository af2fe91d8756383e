"""LangChain's own messages, with the blocks of providers and of both standards."""

from typing import Any

import pytest
from law import PNG, check

m: Any = pytest.importorskip("langchain_core.messages")
dumpd: Any = pytest.importorskip("langchain_core.load").dumpd
TEXTS = [
    *("You are a guide.", "Plain question", "What is this?", "A plain file", "https://example.com/b.png"),
    *(
        "I will look.",
        "Paris",
        "Lyon",
        "It is a tower.",
        "it failed",
        "a row",
        "Old way",
        "old result",
        "Half an answer",
    ),
    *("Chat words", "I cannot say that.", "broken"),
]


def conversation() -> list[Any]:
    """Returns messages of every type."""
    asked = m.HumanMessage(
        content=[
            "Plain question",
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
            {"type": "image", "url": "https://example.com/b.png"},
            {"type": "image", "base64": PNG, "mime_type": "image/png"},
            {"type": "text-plain", "text": "A plain file", "mime_type": "text/plain"},
            {"type": "file", "base64": "JVBERi0xLjQ=", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
        ]
    )
    calls = m.AIMessage(
        content=[
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln", "index": 0},
            {"type": "text", "text": "I will look.", "index": 1},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "Paris"}, "index": 2},
        ],
        tool_calls=[
            {"name": "look", "args": {"at": "Paris"}, "id": "c1"},
            {"name": "look", "args": {"at": "Lyon"}, "id": "c2"},
        ],
        invalid_tool_calls=[{"name": "look", "args": '{"at": broken', "id": "c3", "error": "not JSON"}],
        usage_metadata={"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        response_metadata={"model_name": "claude-sonnet-4-5", "model_provider": "anthropic"},
    )
    standard = m.AIMessage(
        content=[
            {"type": "reasoning", "reasoning": "Hm again."},
            {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"query": "q"}},
            {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": ["found"]},
            {"type": "text", "text": "It is a tower."},
            {"type": "tool_call", "id": "c4", "name": "rows", "args": {}},
        ]
    )
    old = m.AIMessage(content="Old way", additional_kwargs={"function_call": {"name": "old", "arguments": "{}"}})
    refused = m.AIMessage(content="", additional_kwargs={"refusal": "I cannot say that."})
    chunk = m.AIMessageChunk(content="Half an ") + m.AIMessageChunk(content="answer")
    return [
        m.SystemMessage("You are a guide."),
        asked,
        calls,
        m.ToolMessage("Paris", tool_call_id="c1", name="look", artifact={"kept": "aside"}),
        m.ToolMessage("it failed", tool_call_id="c2", status="error"),
        m.ToolMessage(["Lyon", {"type": "image", "base64": PNG, "mime_type": "image/png"}], tool_call_id="c3"),
        standard,
        m.ToolMessage(content=[{"type": "text", "text": "a row"}], tool_call_id="c4"),
        old,
        m.FunctionMessage(name="old", content="old result"),
        m.ChatMessage(role="user", content="Chat words"),
        refused,
        m.HumanMessage("Plain question"),
        chunk,
    ]


def test_the_same_request_whatever_the_form() -> None:
    """An object, `message_to_dict`, `model_dump` and `dumpd` lead to the same request, which has every text."""
    routes = {"message_to_dict": m.message_to_dict, "model_dump": lambda each: each.model_dump(), "dumpd": dumpd}
    check("langchain", "langchain-core", conversation(), routes, TEXTS)
