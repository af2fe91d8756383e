"""Messages of every shape in plain words, and Markdown that stays in its place."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import without_times
from hypothesis import given
from hypothesis import strategies as st

from convtree import CompactionEntry, ModelChangeEntry, Session
from convtree._formats.common.speech import Call, Image, Result, Speech, Text, Thought, speech_of
from convtree.exchange import export_lines

CALL, RESULT = Call("1", "read", {"a": 1}), Result("1", "", "x")


def openai_call(arguments: Any) -> dict[str, Any]:
    call = {"id": "1", "type": "function", "function": {"name": "read", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "a"}, Speech("system", [Text("a")])),
        (
            {"role": "user", "content": ["a", {"type": "input_text", "text": "b"}]},
            Speech("user", [Text("a"), Text("b")]),
        ),
        (openai_call('{"a":1}'), Speech("assistant", [CALL])),
        (openai_call("no json"), Speech("assistant", [Call("1", "read", {"arguments": "no json"})])),
        ({"role": "tool", "tool_call_id": "1", "content": "x"}, Speech("user", [RESULT])),
        (
            {"type": "function_call", "call_id": "1", "name": "read", "arguments": '{"a":1}'},
            Speech("assistant", [CALL]),
        ),
        ({"type": "function_call_output", "call_id": "1", "output": "x"}, Speech("user", [RESULT])),
        ({"type": "reasoning", "summary": [{"text": "t"}]}, Speech("assistant", [Thought("t")])),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}]},
            Speech("assistant", [Thought("t", "s")]),
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "read", "input": {"a": 1}}]},
            Speech("assistant", [CALL]),
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"text": "x"}]}]},
            Speech("user", [RESULT]),
        ),
        (
            {"role": "model", "parts": [{"functionCall": {"name": "read", "args": {"a": 1}}}]},
            Speech("assistant", [Call("read", "read", {"a": 1})]),
        ),
        (
            {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": "x"}}}]},
            Speech("user", [Result("read", "read", "x")]),
        ),
        (
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/gif", "data": "AA"}}]},
            Speech("user", [Image("AA", "image/gif")]),
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,AA"}}]},
            Speech("user", [Image("AA", "image/gif")]),
        ),
        (
            {"role": "user", "parts": [{"type": "image", "data": {"data": "AA", "media_type": "image/gif"}}]},
            Speech("user", [Image("AA", "image/gif")]),
        ),
        (
            {
                "role": "assistant",
                "parts": [{"type": "reasoning", "data": {"thinking": "t"}}, {"type": "finish", "data": {}}],
            },
            Speech("assistant", [Thought("t")]),
        ),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, Speech("assistant", [Text("no")])),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
            Speech("user", [Text("[document: f1]")]),
        ),
        ({"role": "user", "content": [{"type": "odd", "n": 1}]}, Speech("user", [Text('{"type":"odd","n":1}')])),
        (
            {
                "role": "toolResult",
                "toolCallId": "1",
                "toolName": "see",
                "content": [{"type": "text", "text": "x"}, {"type": "image", "data": "AA", "mimeType": "image/gif"}],
                "isError": True,
            },
            Speech("user", [Result("1", "see", "x", True, (Image("AA", "image/gif"),))]),
        ),
        ({"any": 1}, Speech("user", [Text('{"any":1}')])),
    ],
)
def test_every_shape_has_words(message: dict[str, Any], expected: Speech) -> None:
    """Who speaks, and the parts of it."""
    assert speech_of(message) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "type", "text", "data", "source", "id", "args", "functionCall"]
            )
            | st.sampled_from(["tool_calls", "function", "arguments", "image_url", "summary", "output", "call_id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["text", "thinking", "tool_use", "tool_result", "reasoning", "image", "function_call", "refusal"]
)


@given(st.dictionaries(st.sampled_from(["role", "content", "parts", "type", "tool_calls"]), JSON | KINDS, min_size=1))
def test_any_message_can_be_written(message: dict[str, Any]) -> None:
    """Whatever is stored goes out in every format."""
    with Session.memory() as session:
        session.append(message)
        for format in ("pi", "kit", "json", "markdown"):
            assert b"".join(export_lines(session, format))


def test_markdown_has_all_kinds_of_entries() -> None:
    """Calls and results as code, thoughts as quotes, summaries and models by name."""
    with Session.memory(id="s") as session:
        session.append(ModelChangeEntry(provider="p", model="m"))
        session.append({"role": "assistant", "content": [{"type": "thinking", "thinking": "a\n# b"}]})
        session.append(openai_call('{"a":1}'))
        session.append({"role": "tool", "tool_call_id": "1", "content": "```\nx"})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        text = without_times(b"".join(export_lines(session, "markdown")).decode())
    assert text == (
        "# s\n\n- Session: s\n" + text.split("- Session: s\n")[1].split("\n\n")[0] + "\n\n"
        "*Model: p m*\n\n## Assistant\n\n> a\n> \\# b\n\n"
        '## Assistant\n\nCalls **read**:\n\n```json\n{\n  "a": 1\n}\n```\n\n'
        "## Tool\n\nResult:\n\n````\n```\nx\n````\n\n## Summary of what came before\n\nS\n\n"
    )
