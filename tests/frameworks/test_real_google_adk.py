"""Events of Google's ADK, with every kind of part."""

import json
from base64 import b64decode
from typing import Any

import pytest
from law import PNG, check

Event: Any = pytest.importorskip("google.adk.events.event").Event
types: Any = pytest.importorskip("google.genai.types")
TEXTS = [
    "What is this?",
    "I will look.",
    "two rooms",
    "No such room",
    "It is a tower.",
    "gs://bucket/a.pdf",
    "Heard words",
]


def conversation() -> list[Any]:
    """Returns events of the user and of an agent."""
    part = types.Part
    asked = [
        part(text="What is this?"),
        part(inline_data=types.Blob(data=b64decode(PNG), mime_type="image/png")),
        part(file_data=types.FileData(file_uri="gs://bucket/a.pdf", mime_type="application/pdf")),
    ]
    calls = [
        part(text="Hm.", thought=True),
        part(text="I will look."),
        part(
            function_call=types.FunctionCall(id="adk-1", name="look", args={"at": "Paris", "size": None}),
            thought_signature=b"\xfb\xff\xfe",
        ),
        part(function_call=types.FunctionCall(id="adk-2", name="look", args={"at": "Lyon"})),
    ]
    results = [
        part(function_response=types.FunctionResponse(id="adk-1", name="look", response={"rooms": "two rooms"})),
        part(function_response=types.FunctionResponse(id="adk-2", name="look", response={"error": "No such room"})),
    ]
    usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=10, candidates_token_count=5)
    common = {"invocation_id": "i1", "timestamp": 1.0}
    return [
        Event(id="1", author="user", content=types.Content(role="user", parts=asked), **common),
        Event(id="2", author="guide", partial=True, content=types.Content(role="model", parts=calls[1:2]), **common),
        Event(
            id="3",
            author="guide",
            content=types.Content(role="model", parts=calls),
            usage_metadata=usage,
            model_version="gemini-3-pro",
            **common,
        ),
        Event(id="4", author="guide", content=types.Content(role="user", parts=results), **common),
        Event(
            id="5", author="guide", content=types.Content(role="model", parts=[part(text="It is a tower.")]), **common
        ),
        Event(id="6", author="guide", **common),
        Event(id="7", author="user", input_transcription=types.Transcription(text="Heard words"), **common),
    ]


def test_the_same_request_whatever_the_form() -> None:
    """An object, and its dumps in both spellings, lead to the same request, which has every text."""
    routes = {
        "by_alias": lambda each: each.model_dump(mode="json", by_alias=True, exclude_none=True),
        "model_dump": lambda each: each.model_dump(mode="json"),
        "model_dump_json": lambda each: json.loads(each.model_dump_json()),
    }
    check("google-adk", "google-adk", conversation(), routes, TEXTS)
