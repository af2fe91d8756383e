"""Messages of frameworks: what they say, whatever is in them, and that nobody else's messages are taken for theirs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from said_parts import Message, source_of, value_at

from convtree import Session
from convtree._messages.frameworks.table import FRAMEWORKS, framework_of
from convtree._messages.parts import Unknown

NAMES = [path.stem for path in sorted((Path(__file__).parent / "frameworks" / "samples").glob("*.json"))]
SHAPES: list[Any] = ["openai-chat", "openai-responses", "anthropic", "gemini"]


def sample(name: str) -> Any:
    """Returns a conversation that a framework's own objects wrote."""
    path = Path(__file__).parent / "frameworks" / "samples" / f"{name}.json"
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_recorded_conversation_is_sent_whole(name: str, shape: Any) -> None:
    """Every text of the conversation is in the request, and every call has its result."""
    recorded = sample(name)
    with Session.memory() as session:
        session.append_many(recorded["messages"])
        request = json.dumps(session.build_context().to(shape), ensure_ascii=False)
    assert [text for text in recorded["texts"] if json.dumps(text, ensure_ascii=False)[1:-1] not in request] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_message_is_read_in_its_format(name: str) -> None:
    """Nothing in it is unknown, and each part has the place of its block."""
    for message in sample(name)["messages"]:
        framework = framework_of(message)
        assert framework is not None
        assert framework.name == name
        read = source_of(message).parts
        assert [part for part in read if isinstance(part, Unknown)] == []
        for part in read:
            value_at(message, part.place)  # there is something at it


def messages_of_providers() -> Iterator[Message]:
    """Yields messages in the shapes of providers, and of tools that have shapes of their own."""
    yield {"role": "user", "content": "hi"}
    yield {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    yield {"role": "user", "content": [{"text": "hi"}]}  # Bedrock
    yield {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "n", "input": {}}}]}
    yield {"role": "assistant", "content": "hi", "tool_calls": [], "thinking": "hm"}  # Ollama
    yield {"role": "tool", "content": "1", "tool_name": "n"}
    yield {"role": "tool", "content": "1", "tool_call_id": "1", "name": "n"}
    yield {"role": "function", "content": "1", "name": "n"}
    yield {"role": "user", "parts": [{"text": "hi"}]}
    yield {"role": "model", "parts": [{"functionCall": {"name": "n", "args": {}}}]}
    yield {"role": "assistant", "parts": [{"type": "text", "data": {"text": "hi"}}]}  # kit
    yield {"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}], "metadata": {}}  # a UI message
    yield {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    yield {"type": "function_call", "call_id": "1", "name": "n", "arguments": "{}", "id": "fc_1"}
    yield {"type": "function_call_output", "call_id": "1", "output": "1"}
    yield {"type": "reasoning", "id": "rs_1", "summary": []}
    yield {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    yield {"type": "compaction", "encrypted_content": "x"}
    yield {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn", "usage": {}, "model": "m"}
    yield {"role": "toolResult", "toolCallId": "1", "toolName": "n", "content": [], "isError": False}  # pi
    yield {"role": "assistant", "content": [{"type": "toolCall", "id": "1", "name": "n", "arguments": {}}], "api": "x"}
    yield {"from": "human", "value": "hi"}
    yield {"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", "index": 0}
    yield {"message": {"role": "assistant", "content": "hi"}, "done": True}
    yield {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
    yield {"content": "hi"}
    yield {"type": "text", "text": "hi"}
    yield {"type": "tool", "role": "tool", "content": "hi"}
    yield {}


@pytest.mark.parametrize("message", list(messages_of_providers()), ids=json.dumps)
def test_a_message_of_another_format_is_of_none_of_these_frameworks(message: Message) -> None:
    """The keys of a framework are keys that no provider, and no other tool, has."""
    assert [each.name for each in FRAMEWORKS if each.name in NAMES and each.fits(message)] == []


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=8) | st.sampled_from(["text", "image", "binary", "tool-return", "data:a;base64,b", "google"])
VALUES = st.recursive(
    LEAVES | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(["type", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def places_in(value: Any) -> list[tuple[Any, ...]]:
    """Returns the places of all values inside a JSON value."""
    found: list[tuple[Any, ...]] = []
    stack: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while stack:
        place, inner = stack.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        for key in keys:
            found.append((*place, key))
            stack.append(((*place, key), inner[key]))
    return found


_ANY = st.sampled_from([None, "", "a", "ai", "tool", "user", 1, True, [], {}, ["a"], {"text": "a"}, [{"type": "file"}]])
_BLOCK = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": _ANY}),
    st.fixed_dictionaries({"type": st.just("input_text"), "text": _ANY}),
    st.fixed_dictionaries({"type": st.just("output_text"), "text": _ANY, "annotations": _ANY}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": _ANY, "name": _ANY, "input": _ANY}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": _ANY, "content": _ANY}),
)
_CONTENT = st.one_of(st.text(max_size=2), st.lists(_BLOCK, max_size=2))
_MORE = {"id": _ANY, "status": _ANY}
_PART = st.one_of([st.fixed_dictionaries({name: _ANY}) for name in ("text", "functionCall", "functionResponse")])
OF_PROVIDERS = st.one_of(
    st.fixed_dictionaries({"role": _ANY, "content": _CONTENT}),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": _ANY, "content": st.text(max_size=2)}),
    st.fixed_dictionaries({"role": _ANY, "parts": st.lists(_PART, max_size=2)}),
    st.fixed_dictionaries({"type": st.just("message"), "role": _ANY, "content": _CONTENT}, optional=_MORE),
    st.fixed_dictionaries(
        {"type": st.just("function_call"), "call_id": _ANY, "name": _ANY, "arguments": _ANY}, optional=_MORE
    ),
    st.fixed_dictionaries({"type": st.just("function_call_output"), "call_id": _ANY, "output": _ANY}, optional=_MORE),
)


@given(OF_PROVIDERS)
def test_no_framework_knows_a_message_of_a_provider(message: dict[str, Any]) -> None:
    """Such messages are not shown to the frameworks; none would take them for its own, whatever values they have."""
    assert framework_of(message) is None
    assert [each.name for each in FRAMEWORKS if each.fits(message)] == []


@given(st.data())
@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_in_a_message_it_is_read(name: str, data: st.DataObject) -> None:
    """Any JSON value at any place, or a missing key, raises nothing. Parts have places and standard roles."""
    message = json.loads(json.dumps(data.draw(st.sampled_from(sample(name)["messages"]))))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places_in(message) or [("x",)]))
        holder = value_at(message, tuple(way))
        if isinstance(holder, dict) and data.draw(st.booleans()):
            holder.pop(last, None)
        else:
            holder[last] = data.draw(VALUES)
    for trusted in (False, True):
        source = source_of(message, trusted=trusted)
        framework = framework_of(message)
        if framework is not None:
            assert source.role in (None, "system", "developer", "user", "assistant", "tool")
            assert framework.facts(message).keys() <= {"provider", "model", "usage"}
        assert all(part.role in ("system", "user", "assistant") for part in source.parts)
    if message:
        Session.memory().append(message)  # raises nothing, whatever it says of its origin


@given(st.sampled_from([each for each in FRAMEWORKS if each.name in NAMES]), st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_object_is_judged_by_its_keys(framework: Any, message: Message) -> None:
    """To ask whether a message is of a framework raises nothing."""
    assert framework.fits(message) in (True, False)
