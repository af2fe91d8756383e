"""What can be read off a message, for each provider's shape."""

from collections.abc import Iterable
from typing import Any

import pytest
from helpers import ToolCall, calls_of, results_of
from hypothesis import given
from hypothesis import strategies as st
from test_providers_laws import JSON, odd_messages

from convtree import MessageEntry, ModelChangeEntry, OpenCall, Session, open_store, redact
from convtree._formats import WRITERS
from convtree._messages.matching import match
from convtree._messages.said import read, role_of, text_of
from convtree.exchange import export_lines

Message = dict[str, Any]


def open_calls(messages: Iterable[tuple[str, Any]]) -> tuple[OpenCall, ...]:
    """The calls without a result in some messages, which come with the ids of their entries."""
    said = []
    for entry_id, message in messages:
        said.append(read(message))
        said[-1].entry_id = entry_id
    return match(part for source in said for part in source.parts).open_calls()


#: message, role, text, calls, results
CASES: dict[str, tuple[Message, str | None, str, list[ToolCall], list[ToolCall]]] = {
    "chat user": ({"role": "user", "content": "Hi"}, "user", "Hi", [], []),
    "chat parts": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "data:"}},
                {"type": "text", "text": "b"},
            ],
        },
        "user",
        "a\nb",
        [],
        [],
    ),
    "chat calls": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": ""}},
            ],
        },
        "assistant",
        "",
        [ToolCall("c1", "f"), ToolCall("c2", "g")],
        [],
    ),
    "chat result": (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        "tool",
        "",
        [],
        [ToolCall("c1", "")],
    ),
    "responses input": (
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        "user",
        "Hi",
        [],
        [],
    ),
    "responses output": (
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
        },
        "assistant",
        "a\nno",
        [],
        [],
    ),
    "responses reasoning": (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        "assistant",
        "",
        [],
        [],
    ),
    "responses call": (
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        "assistant",
        "",
        [ToolCall("c1", "f")],
        [],
    ),
    "responses custom call": (
        {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": ""},
        "assistant",
        "",
        [ToolCall("c1", "f")],
        [],
    ),
    "responses result": (
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        "tool",
        "",
        [],
        [ToolCall("c1", "")],
    ),
    "anthropic calls": (
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            ],
        },
        "assistant",
        "a",
        [ToolCall("t1", "f")],
        [],
    ),
    "anthropic result": (
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}, {"type": "text", "text": "and"}],
        },
        "user",
        "and",
        [],
        [ToolCall("t1", "")],
    ),
    "gemini calls": (
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "a"},
                {"functionCall": {"name": "f", "args": {}}},
                {"function_call": {"id": "g1", "name": "g"}},
            ],
        },
        "assistant",
        "a",
        [ToolCall(None, "f"), ToolCall("g1", "g")],
        [],
    ),
    "gemini result": (
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {}}},
                {"function_response": {"id": "g1", "name": "g"}},
            ],
        },
        "user",
        "",
        [],
        [ToolCall(None, "f"), ToolCall("g1", "g")],
    ),
    "pi call": (
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "a"},
                {"type": "toolCall", "id": "p1", "name": "f", "arguments": {}},
            ],
        },
        "assistant",
        "a",
        [ToolCall("p1", "f")],
        [],
    ),
    "pi result": (
        {
            "role": "toolResult",
            "toolCallId": "p1",
            "toolName": "f",
            "content": [{"type": "text", "text": "42"}],
            "isError": False,
        },
        "tool",
        "",
        [],
        [ToolCall("p1", "f")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_role_text_calls_and_results_of_each_shape(name: str) -> None:
    """Visible text only: no reasoning, no tool traffic."""
    message, role, text, calls, results = CASES[name]
    assert (role_of(message), text_of(message)) == (role, text)
    assert (calls_of(message), results_of(message)) == (calls, results)
    entry = MessageEntry(message=message)
    assert (entry.role, entry.text) == (role, text)


ODD: list[Any] = [
    None,
    5,
    "",
    "x",
    [],
    {},
    [None],
    [5],
    ["x"],
    [[]],
    [{}],
    {"a": 1},
    [{"type": None}],
    [{"type": 5, "text": 5}],
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(
    "key", ["role", "type", "content", "parts", "tool_calls", "tool_call_id", "toolCallId", "call_id", "name", "id"]
)
def test_nothing_is_required_of_a_message(key: str, odd: Any) -> None:
    """Whatever a member holds, the answer is "nothing", never an error."""
    for message in ({key: odd}, {"role": "user", key: odd}, {"type": "function_call", key: odd}):
        role_of(message)
        assert isinstance(text_of(message), str)
        assert len(calls_of(message)) <= 1 + len(ODD)
        results_of(message)
        open_calls([("a", message), ("b", message)])


@pytest.mark.parametrize(
    ("type", "role"),
    [(None, None), (5, None), ("function_call_output", "tool"), ("reasoning", "assistant"), ("odd", None)],
)
def test_the_role_of_an_item_is_that_of_its_producer(type: Any, role: str | None) -> None:
    """An item of OpenAI's responses names its type and no role. A type that is no text names no producer."""
    with Session.memory() as session:
        assert role == session.append({"type": type, "id": "i"}, shape="openai-responses").role


@pytest.mark.parametrize(
    "part", ["function", "functionCall", "function_call", "functionResponse", "function_response", "custom", "text"]
)
def test_nothing_is_required_of_a_block(part: str) -> None:
    """The same one level down."""
    for odd in ODD:
        for key in ("content", "parts", "tool_calls"):
            for kind in ("tool_use", "tool_result", "toolCall", "text", None):
                message = {key: [{part: odd, "type": kind}]}
                assert isinstance(text_of(message), str)
                open_calls([("a", message)])


def test_a_call_is_open_until_it_is_answered() -> None:
    """In the order of the calls, each with the entry that made it."""
    messages = [
        ("e1", CASES["anthropic calls"][0]),
        ("e2", CASES["chat calls"][0]),
        ("e3", CASES["chat result"][0]),
    ]
    assert open_calls(messages) == (OpenCall("t1", "f", "e1"), OpenCall("c2", "g", "e2"))
    assert open_calls([*messages, ("e4", CASES["anthropic result"][0])]) == (OpenCall("c2", "g", "e2"),)
    assert open_calls([]) == ()


def test_a_result_before_its_call_answers_nothing() -> None:
    """Only a later result closes a call, and only one."""
    call, result = CASES["responses call"][0], CASES["responses result"][0]
    assert open_calls([("r", result), ("c", call)]) == (OpenCall("c1", "f", "c"),)
    assert open_calls([("c", call), ("r", result), ("d", call)]) == (OpenCall("c1", "f", "d"),)
    assert open_calls([("c", call), ("d", call), ("r", result)]) == (OpenCall("c1", "f", "d"),)


def test_gemini_calls_without_ids_are_paired_by_name() -> None:
    """The oldest open call of that name is answered."""
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}]}
    result = {"role": "user", "parts": [{"functionResponse": {"name": "g"}}]}
    assert open_calls([("c", call), ("r", result)]) == (OpenCall(None, "f", "c"),)


def test_where_one_side_has_no_id_the_name_decides() -> None:
    """Gemini gives ids since a while, and need not get them back."""
    call = {"role": "model", "parts": [{"functionCall": {"id": "g1", "name": "f"}}, {"functionCall": {"name": "f"}}]}
    bare = {"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}
    other = {"role": "user", "parts": [{"functionResponse": {"id": "x", "name": "f"}}]}
    assert open_calls([("c", call), ("r", bare)]) == (OpenCall(None, "f", "c"),)
    assert open_calls([("c", call), ("r", other)]) == (OpenCall("g1", "f", "c"),)
    assert open_calls([("c", call), ("r", bare), ("s", bare), ("t", bare)]) == ()


def test_older_and_special_calls() -> None:
    """`function_call` of OpenAI's first version, and calls of its own tools, which are named by their type."""
    old = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    shell = {"type": "shell_call", "call_id": "s", "action": {}}
    assert open_calls([("a", old), ("b", shell)]) == (OpenCall(None, "f", "a"), OpenCall("s", "shell", "b"))
    answers = [
        ("c", {"role": "function", "name": "f", "content": ""}),
        ("d", {"type": "shell_call_output", "call_id": "s"}),
    ]
    assert open_calls([("a", old), ("b", shell), *answers]) == ()
    assert calls_of({"type": "web_search_call", "id": "w"}) == []


def test_other_values_than_messages_make_no_calls() -> None:
    """A summary may be rendered as anything."""
    assert open_calls([("a", "text"), ("b", None), ("c", CASES["responses call"][0])]) == (OpenCall("c1", "f", "c"),)


def test_the_parts_of_kit() -> None:
    """Each has its data one level further down."""
    made = {"role": "assistant", "parts": [{"type": "tool_call", "data": {"id": "k1", "name": "read"}}]}
    assert calls_of(made) == [ToolCall("k1", "read")]


@given(odd_messages)
def test_any_stored_message_can_be_read(message: dict[str, Any]) -> None:
    """Nothing is required of a message: what is no text, call or result is none."""
    assert isinstance(text_of(message), str)
    assert role_of(message) is None or isinstance(role_of(message), str)
    for found in (*calls_of(message), *results_of(message)):
        assert isinstance(found.name, str)
        assert found.id is None or isinstance(found.id, str)
    assert len(open_calls([("a", message)])) <= len(calls_of(message))


USAGE = ("input_tokens", "output_tokens", "prompt_tokens", "input", "cost", "total", "cacheRead", "promptTokenCount")


@given(st.lists(odd_messages, min_size=1, max_size=4), st.dictionaries(st.sampled_from(USAGE), JSON))
def test_any_stored_message_is_listed_found_and_shown(messages: list[dict[str, Any]], usage: dict[str, Any]) -> None:
    """A strange message is no reason for a whole session, or a whole store, to be unreadable."""
    with open_store("memory:") as store:
        with store.create() as session:
            session.append(ModelChangeEntry(provider="p", model="m"))
            for message in messages:
                session.append(message, usage=usage or None)
            assert session.build_context().messages == messages
            assert session.build_context().count_tokens() >= 0
            assert session.diff(session.leaf_id, None).a.entries == session.path()
            for format in WRITERS:
                written = b"".join(export_lines(session, format, redact=redact))
                assert written or format == "openai-jsonl"  # a line ends with an answer, and there may be none
        assert [info.messages for info in store.list()] == [len(messages)]
        assert len(store.usage(session.id, by="branch")) <= 1
        assert store.search("user assistant") is not None
