"""pydantic-ai's own messages, with every kind of part."""

import json
import warnings
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from law import PNG, check, known, made

m: Any = pytest.importorskip("pydantic_ai.messages")
USAGE: Any = pytest.importorskip("pydantic_ai.usage").RequestUsage
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXTS = [
    *("Be brief.", "You are a guide.", "What is this?", "https://example.com/a.pdf"),
    *("I will look.", "look", "Paris", '{"place":"Paris","size":[1,2]}', "Only a photo.", "No such place: Pari"),
    *("It is a tower.", "Say it in French.", "Bonjour"),
]
#: of classes that not every version has
TEXTS_OF = {
    "TextContent": "Tagged words",
    "StructuredContent": '{"floor":1}',
    "CompactionPart": "Summary of the past",
    "SpeechPart": "What I heard",
}


def conversation() -> list[Any]:
    """Returns requests and responses with the parts that the installed version has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RetryPromptPart is deprecated, and in many stored conversations
        retry = m.RetryPromptPart(content="No such place: Pari", tool_name="look", tool_call_id="c2", timestamp=NOW)
        advice = m.RetryPromptPart(content="Say it in French.", timestamp=NOW)
    png = m.BinaryContent(data=b64decode(PNG), media_type="image/png")
    prompt: list[Any] = ["What is this?", png, m.ImageUrl(url="https://example.com/a.png")]
    prompt += [m.DocumentUrl(url="https://example.com/a.pdf"), *made(m, "CachePoint")]
    prompt += made(m, "TextContent", content="Tagged words", metadata={"a": 1})
    prompt += made(m, "StructuredContent", value={"floor": 1})
    first = m.ModelRequest(
        parts=[m.SystemPromptPart("You are a guide.", timestamp=NOW), m.UserPromptPart(prompt, timestamp=NOW)],
        instructions="Be brief.",
    )
    ran = "NativeTool" if hasattr(m, "NativeToolCallPart") else "BuiltinTool"
    calls = m.ModelResponse(
        parts=[
            m.ThinkingPart(content="Hm.", signature="c2ln", provider_name="anthropic"),
            m.ThinkingPart(content="", id="redacted_thinking", signature="ZW5j", provider_name="anthropic"),
            m.TextPart("I will look."),
            m.ToolCallPart("look", {"at": "Paris"}, tool_call_id="c1"),
            m.ToolCallPart("look", '{"at": "Pari"}', tool_call_id="c2"),
            m.ToolCallPart("photo", None, tool_call_id="c3"),
            getattr(m, f"{ran}CallPart")(
                "web_search", {"query": "tower"}, tool_call_id="s1", provider_name="anthropic"
            ),
            getattr(m, f"{ran}ReturnPart")(
                "web_search", [{"title": "t"}], tool_call_id="s1", provider_name="anthropic"
            ),
        ],
        usage=USAGE(input_tokens=10, output_tokens=5),
        model_name="claude-sonnet-4-5",
        provider_name="anthropic",
        timestamp=NOW,
    )
    results = m.ModelRequest(
        parts=[
            m.ToolReturnPart("look", {"place": "Paris", "size": [1, 2]}, tool_call_id="c1", timestamp=NOW),
            retry,
            m.ToolReturnPart("photo", ["Only a photo.", png], tool_call_id="c3", timestamp=NOW),
        ],
        instructions="Be brief.",
    )
    picture = made(m, "FilePart", content=png)
    answer = m.ModelResponse(parts=[m.TextPart("It is a tower."), *picture], timestamp=NOW)
    heard = made(m, "SpeechPart", speaker="user", transcript="What I heard")
    summary = made(m, "CompactionPart", content="Summary of the past")
    more = m.ModelRequest(parts=[advice, *heard, *summary], instructions="Be brief.")
    spoken = made(m, "SpeechPart", speaker="assistant", transcript="Bonjour")
    last = m.ModelResponse(parts=spoken or [m.TextPart("Bonjour")], timestamp=NOW)
    return [first, calls, results, answer, more, last]


def dumped(message: Any) -> Any:
    """Returns a message as pydantic-ai's adapter writes it."""
    return json.loads(m.ModelMessagesTypeAdapter.dump_json([message]))[0]


def test_the_same_request_whatever_the_form() -> None:
    """An object, its JSON, and the dump for Python lead to the same request, which has every text."""
    in_python = lambda each: m.ModelMessagesTypeAdapter.dump_python([each], mode="json")[0]  # noqa: E731
    routes = {"dump_json": dumped, "dump_python": in_python}
    check("pydantic-ai", "pydantic-ai-slim", conversation(), routes, [*TEXTS, *known(m, TEXTS_OF)])
