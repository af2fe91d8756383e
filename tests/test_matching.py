"""Which result answers which call: the same answer in open calls, in requests, and where a context is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import assistant, user
from hypothesis import given
from hypothesis import strategies as st
from test_providers_laws import SHAPES

from convtree import OpenCall, OpenCalls, Session, plan_compaction

Message = dict[str, Any]


def calling(*calls: tuple[str | None, str]) -> Message:
    """A reply of OpenAI chat that calls tools; an id may be missing or empty."""
    made = [{"type": "function", "function": {"name": name, "arguments": "{}"}} for _, name in calls]
    named = [({} if id is None else {"id": id}) | call for (id, _), call in zip(calls, made, strict=True)]
    return {"role": "assistant", "content": None, "tool_calls": named}


def result(content: str, **fields: Any) -> Message:
    return {"role": "tool", "content": content, **fields}


def pairs(*messages: Message) -> list[tuple[str, str]]:
    """The tool and the result of each call, in the order of the request to OpenAI chat."""
    request = Session.memory()
    request.append_many(messages)
    sent = request.build_context().to("openai-chat")["messages"]
    names = {call["id"]: call["function"]["name"] for message in sent for call in message.get("tool_calls", ())}
    return [(names[message["tool_call_id"]], message["content"]) for message in sent if message["role"] == "tool"]


def test_an_empty_id_is_none() -> None:
    """Results without ids and names answer the calls of the message before them, in order."""
    for id in ("", None):
        said = [calling((id, "f"), (id, "g")), result("1", tool_call_id=id), result("2", tool_call_id=id)]
        assert pairs(user("q"), *said) == [("f", "1"), ("g", "2")]


@pytest.mark.parametrize("key", ["name", "tool_name", "toolName"])
def test_a_result_with_a_name_only_answers_the_oldest_open_call_of_that_name(key: str) -> None:
    """The results of Ollama and of Gemini. The order of the names may be another one."""
    said = [calling((None, "f"), (None, "g"), (None, "f")), *(result(each, **{key: each[0]}) for each in ("g1", "f1"))]
    assert pairs(user("q"), *said, result("f2", **{key: "f"})) == [("f", "f1"), ("g", "g1"), ("f", "f2")]


def test_a_result_of_an_earlier_turn_is_no_result_of_this_one() -> None:
    """A name reaches back, a result without one does not."""
    said = [calling((None, "f")), user("never mind"), calling((None, "g")), result("1")]
    note = "Error: No result: the conversation was interrupted before this tool call returned one."
    assert pairs(user("q"), *said) == [("f", note), ("g", "1")]
    assert pairs(user("q"), *said[:3], result("1", name="f"), result("2", name="g")) == [("f", "1"), ("g", "2")]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_result_twice_is_one_result(shape: Any) -> None:
    """After a retry. Another result of the same call is told, and not as one whose call is not shown."""
    session = Session.memory()
    session.append_many([user("q"), calling(("c1", "f")), *[result("RESULT", tool_call_id="c1")] * 3, assistant("ok")])
    assert str(session.build_context().to(shape)).count("RESULT") == 1
    session.append_many([calling(("c2", "f")), result("old", tool_call_id="c2"), result("new", tool_call_id="c2")])
    request = session.build_context().to(shape)
    assert ("old" in str(request), "Another result of a tool call above" in str(request)) == (True, True)
    assert (request.answered, request.left_out) == ((), ())


def test_a_call_is_not_filled_in_while_a_result_stands_behind_it() -> None:
    """Its id is another one: a proxy renamed it. The tool's name goes first, then the order."""
    said = [calling(("a", "f"), ("b", "g")), result("for g", tool_call_id="x", name="g"), result("f", tool_call_id="y")]
    assert pairs(user("q"), *said) == [("f", "f"), ("g", "for g")]
    session = Session.memory()
    session.append_many([user("q"), *said])
    assert session.build_context().open_calls == ()


def test_a_result_behind_the_next_reply_is_not_taken_for_it() -> None:
    """It stands behind the reply's calls, if there are any; here there are none."""
    session = Session.memory()
    session.append_many([user("q"), calling(("a", "f")), user("hm"), assistant("well"), result("?", tool_call_id="x")])
    context = session.build_context()
    assert context.open_calls == (OpenCall("a", "f", session.path()[1].id),)
    with pytest.raises(OpenCalls, match=r"no result for call 'a'.*open_calls=\"answer\""):
        context.to("anthropic", open_calls="raise")
    request = context.to("openai-chat")
    assert [message["content"] for message in request["messages"]][-2:] == [
        "well",
        "Result of a tool call that is not shown any more:\n?",
    ]
    assert request.answered == context.open_calls


def test_calls_without_ids_do_not_keep_a_turn_from_being_compacted() -> None:
    """One turn of many steps, as Ollama makes it."""
    session = Session.memory()
    session.append(user("q"))
    for step in range(60):
        session.append_many([calling((None, "f")), result(f"step {step} " + "x" * 400, tool_name="f")])
    plan = plan_compaction(session, keep_tokens=1000)
    assert plan is not None
    assert len(plan.messages) == 103
    assert (plan.turn_prefix, plan.messages[-1]["role"]) == (103, "tool")


#: messages that no request, or not every one, holds where they are
ELSEWHERE: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]},
    {"role": "assistant", "content": [{"type": "hologram"}]},
    {"role": "user", "content": [{"type": "hologram"}]},
    {"role": "model", "parts": [{"text": "", "thoughtSignature": "c2ln"}]},
    {"type": "compaction", "encrypted_content": "gAAAAB"},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("between", ELSEWHERE)
def test_which_result_answers_which_call_does_not_depend_on_the_shape(between: Message, shape: Any) -> None:
    """What a request leaves out still stands between a call and a result."""
    session = Session.memory()
    said = [calling(("a", "f"), ("b", "g")), result("1", tool_call_id="x"), between, result("2", tool_call_id="y")]
    session.append_many([user("q"), *said], provider="p", model="m")
    session.append(user("r"), provider="p", model="other")
    context = session.build_context()
    request = context.to(shape, unknown="drop")
    assert (request.answered, json.dumps(request).count("No result:")) == (context.open_calls, len(context.open_calls))


ids = st.sampled_from([None, "", "a", "b"])
steps = st.lists(
    st.one_of(
        st.lists(st.tuples(ids, st.sampled_from("fg")), min_size=1, max_size=3).map(lambda calls: calling(*calls)),
        st.builds(
            lambda key, name, text: result(text, **({"tool_call_id": key} if key is not None else {}), **name),
            ids,
            st.sampled_from([{}, {"name": "f"}, {"tool_name": "g"}]),
            st.sampled_from(["1", "2"]),
        ),
        st.just(user("hm")),
        st.just(assistant("well")),
        st.sampled_from(ELSEWHERE),
    ),
    max_size=8,
)


@given(steps, st.sampled_from(["text", "drop"]))
def test_open_calls_are_empty_exactly_if_the_strict_form_does_not_raise(messages: list[Message], unknown: Any) -> None:
    """In every shape, and what is open is what is answered."""
    session = Session.memory()
    session.append_many(messages)
    context = session.build_context()
    for shape in SHAPES:
        try:
            context.to(shape, open_calls="raise", unknown=unknown)
            refused: tuple[OpenCall, ...] = ()
        except OpenCalls as error:
            refused = error.calls
        assert (context.open_calls, context.to(shape, unknown=unknown).answered) == (refused, refused)
