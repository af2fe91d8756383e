"""LlamaIndex's own messages, with every kind of block."""

import json
from base64 import b64decode
from typing import Any

import pytest
from law import PNG, check, known, made, request_of

m: Any = pytest.importorskip("llama_index.core.base.llms.types")
TEXTS = [
    *("You are a guide.", "What is this?", "https://example.com/a.png", "I will look."),
    *("Paris", "Lyon", "It is a tower."),
]


def conversation() -> list[Any]:
    """Returns messages of every role."""
    asked = [
        m.TextBlock(text="What is this?"),
        m.ImageBlock(image=b64decode(PNG), image_mimetype="image/png"),
        m.ImageBlock(url="https://example.com/a.png", image_mimetype="image/png"),
        m.DocumentBlock(data=b"%PDF-1.4", title="a.pdf", document_mimetype="application/pdf"),
        m.AudioBlock(audio=b"RIFF....WAVE", format="wav"),
        *made(m, "CitableBlock", title="A source", source="shelf", content=[m.TextBlock(text="a quote")]),
        m.CachePoint(cache_control=m.CacheControl(type="ephemeral")),
    ]
    old = [
        {"id": id, "type": "function", "function": {"name": "look", "arguments": json.dumps({"at": at})}}
        for id, at in (("c1", "Paris"), ("c2", "Lyon"))
    ]
    calls = [
        *made(m, "ThinkingBlock", content="Hm.", additional_information={"signature": "c2ln"}),
        m.TextBlock(text="I will look."),
        *made(m, "ToolCallBlock", tool_call_id="c1", tool_name="look", tool_kwargs={"at": "Paris"}),
    ]
    return [
        m.ChatMessage(role="system", content="You are a guide."),
        m.ChatMessage(role="user", blocks=asked),
        m.ChatMessage(role="assistant", blocks=calls, additional_kwargs={"tool_calls": old}),
        m.ChatMessage(role="tool", content="Paris", additional_kwargs={"tool_call_id": "c1", "name": "look"}),
        m.ChatMessage(role="tool", content="Lyon", additional_kwargs={"tool_call_id": "c2"}),
        m.ChatMessage(role="assistant", content="It is a tower."),
    ]


def test_the_same_request_whatever_the_form() -> None:
    """An object, and what it dumps, lead to the same request, which has every text."""
    routes = {
        "JSON dump": lambda each: each.model_dump(mode="json"),
        "without nulls": lambda each: each.model_dump(mode="json", exclude_none=True),
    }
    check("llama-index", "llama-index-core", conversation(), routes, [*TEXTS, *known(m, {"CitableBlock": "A source"})])


def test_a_dump_with_bytes_is_read_like_one_without() -> None:
    """LlamaIndex keeps base64 as bytes, which are encoded a second time on the way to JSON."""
    image = m.ImageBlock(image=b64decode(PNG), image_mimetype="image/png")
    asked = m.ChatMessage(role="user", blocks=[m.TextBlock(text="What is this?"), image])
    request = request_of([asked.model_dump()], "anthropic")
    assert request == request_of([asked.model_dump(mode="json")], "anthropic")
    assert PNG in request
