"""Calls and results stay paired when one of them is hidden: part by part, in every shape."""

from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
from helpers import assistant, calls_of, contents, ids, results_of, user
from hypothesis import given
from hypothesis import strategies as st
from request_checker import check_types, faults
from test_providers_laws import SHAPES, calls, results, sessions

from convtree import BranchSummaryEntry, CompactionEntry, Context, MessageEntry, Session, plan_compaction
from convtree._messages.matching import match
from convtree._messages.said import read
from convtree._session.cut_points import allowed_cuts

Message = dict[str, Any]
TWO: list[tuple[str, str, Any]] = [("c1", "f", {}), ("c2", "g", {})]


def kit(*parts: Message, role: str = "tool") -> Message:
    return {"role": role, "parts": list(parts)}


def kit_result(id: str, content: str) -> Message:
    return {"type": "tool_result", "data": {"tool_call_id": id, "name": "f", "content": content}}


def item(kind: str, id: str, output: Any) -> Message:
    return {"type": f"{kind}_output", "call_id": id, "output": output}


# --- a hidden result ---


@pytest.mark.parametrize(
    ("call", "result", "expected"),
    [
        (
            calls("openai-chat", "", TWO[:1], False, 0)[0],
            {"role": "tool", "tool_call_id": "c1", "content": "42", "extra": 1},
            {"role": "tool", "tool_call_id": "c1", "content": "hidden"},
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
            {"role": "function", "name": "f", "content": "hidden"},
        ),
        (
            calls("openai-responses", "", TWO[:1], False, 0)[0],
            item("function_call", "c1", "42"),
            item("function_call", "c1", "hidden"),
        ),
        (
            {"type": "custom_tool_call", "call_id": "c1", "name": "f", "input": "x"},
            item("custom_tool_call", "c1", "42") | {"id": "o", "status": "completed"},
            item("custom_tool_call", "c1", "hidden"),
        ),
        (
            {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}},
            item("shell_call", "c1", [{"stdout": "42", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]),
            item("function_call", "c1", "hidden"),
        ),
        (
            calls("anthropic", "", TWO[:1], False, 0)[0],
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and"},
                    {"type": "tool_result", "tool_use_id": "c1", "content": "42", "is_error": True},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "hidden"}]},
        ),
        (
            calls("gemini", "", TWO[:1], False, 0)[0],
            results("gemini", TWO[:1], True, False)[0],
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "hidden"}}}]},
        ),
        (
            {"role": "model", "parts": [{"function_call": {"id": "c1", "name": "f", "args": {}}}]},
            {"parts": [{"function_response": {"id": "c1", "name": "f", "response": {"x": 1}}}]},
            {"parts": [{"function_response": {"id": "c1", "name": "f", "response": {"output": "hidden"}}}]},
        ),
        (
            calls("pi", "", TWO[:1], False, 0)[0],
            results("pi", TWO[:1], True, True)[0],
            {
                "role": "toolResult",
                "toolCallId": "c1",
                "toolName": "f",
                "content": [{"type": "text", "text": "hidden"}],
            },
        ),
        (
            kit({"type": "tool_call", "data": {"id": "c1", "name": "f", "input": "{}"}}, role="assistant"),
            kit({"type": "text", "data": {"text": "and"}}, kit_result("c1", "42")),
            kit(kit_result("c1", "hidden")),
        ),
    ],
)
def test_a_hidden_result_is_answered_by_hidden(call: Message, result: Message, expected: Message) -> None:
    """It keeps its shape and ids. Other parts of its message do not appear, and every provider takes the request."""
    session = Session.memory()
    session.append_many([user("1"), call])
    hidden = session.append(result)
    session.append(assistant("2"))
    assert session.hide(hidden)
    context = session.build_context()
    assert context.messages[2] == expected
    assert (context.entries[2], context.open_calls) == (hidden, ())
    for shape in SHAPES:
        request = context.to(shape)
        check_types(shape, request)
        assert (faults(shape, request), "42" in str(request)) == ([], False)


# --- a hidden call ---


@pytest.mark.parametrize("shape", [*SHAPES, "pi"])
def test_a_hidden_call_hides_its_results(shape: str) -> None:
    """Also before anything else is said; the results are left out, the calls of other messages stay."""
    session = Session.memory()
    session.append(user("1"))
    first = session.append(calls(shape, "", TWO[:1], False, 0)[-1])
    session.append_many(calls(shape, "", TWO[1:], False, 0))
    answers = results(shape, TWO, False, False)
    session.append_many(answers)
    session.hide(first)
    context = session.build_context()
    assert [(call.id or call.name) for message in context.messages for call in results_of(message)] == [
        {"gemini": "g"}.get(shape, "c2")
    ]
    assert context.open_calls == ()
    for target in SHAPES:
        assert faults(target, context.to(target)) == []


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {
                "type": "ai",
                "data": {"type": "ai", "content": "", "tool_calls": [{"id": "c1", "name": "f", "args": {}}]},
            },
            {"type": "tool", "data": {"type": "tool", "content": "42", "tool_call_id": "c1"}},
        ),
        ({"from": "function_call", "value": '{"name":"f","arguments":{}}'}, {"from": "observation", "value": "42"}),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_results_under_a_key_of_their_own_are_paired(call: Message, result: Message, shape: Any) -> None:
    """Not in a list of blocks: a hidden call takes the message along, and a hidden one is answered by "hidden"."""
    with Session.memory() as session:
        asked, answered = session.append_many([call, result])
        session.hide(asked)
        assert session.build_context().messages == []
        session.show(asked)
        session.hide(answered)
        request = str(session.build_context().to(shape, open_calls="raise"))
        assert ("hidden" in request, "42" in request) == (True, False)


def test_results_of_two_calls_in_one_message_are_separated(session: Session) -> None:
    """What is left of the message stays; it disappears with its last part."""
    first = session.append(calls("anthropic", "", TWO[:1], False, 0)[0])
    second = session.append(calls("anthropic", "", TWO[1:], False, 0)[0])
    blocks = results("anthropic", TWO, False, False)[0]["content"]
    answer = session.append({"role": "user", "content": blocks[1:]})
    session.hide(first)
    assert session.build_context().messages == [second.message, {"role": "user", "content": [blocks[2]]}]
    assert session.entry(answer.id) == answer
    session.hide(second)
    assert session.build_context().messages == []
    session.show(first)
    assert ids(session.build_context().entries) == [first.id, answer.id]


def test_text_beside_the_result_of_a_hidden_call_stays(session: Session) -> None:
    """A message may bring results and say something."""
    call = session.append(calls("anthropic", "", TWO[:1], False, 0)[0])
    session.append(results("anthropic", TWO[:1], False, False)[0])
    session.hide(call)
    assert session.build_context().messages == [{"role": "user", "content": [{"type": "text", "text": "and"}]}]


def test_a_result_that_comes_twice_is_left_out_twice(session: Session) -> None:
    """Both belong to the hidden call."""
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many([*results("openai-chat", TWO[:1], False, False), user("x")])
    session.append_many(results("openai-chat", TWO[:1], False, False))
    session.hide(call)
    assert contents(session) == ["x"]


def test_a_call_and_its_result_may_both_be_hidden(session: Session) -> None:
    """Then nothing stands for either."""
    call = session.append(calls("anthropic", "", TWO[:1], False, 0)[0])
    answer = session.append(results("anthropic", TWO[:1], False, False)[0])
    session.append(user("x"))
    session.hide(call)
    session.hide(answer, visible_to="nobody")
    assert contents(session) == ["x"]


def test_messages_that_were_hidden_from_the_start_are_paired(session: Session) -> None:
    """`visible_to` of the message itself counts like a mark."""
    session.append(calls("openai-chat", "", TWO[:1], False, 0)[0], visible_to="user")
    session.append_many(results("openai-chat", TWO[:1], False, False))
    session.append(calls("openai-chat", "", TWO[1:], False, 0)[0])
    session.append(results("openai-chat", TWO[1:], False, False)[0], visible_to="user")
    messages = session.build_context().messages
    assert [calls_of(each) + results_of(each) for each in messages] == [[("c2", "g")], [("c2", "")]]
    assert messages[1]["content"] == "hidden"


def test_a_replaced_result_is_answered_by_its_replacement(session: Session) -> None:
    """Its own content is gone; without the replacement on the path it is there."""
    session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    (old,) = session.append_many(results("openai-chat", TWO[:1], False, False))
    session.append(MessageEntry(message={"role": "tool", "tool_call_id": "c1", "content": "43"}, replaces=old.id))
    context = session.build_context()
    assert [message["content"] for message in context.messages[1:]] == ["43"]
    assert (context.open_calls, contents(session, leaf=old.id)[1:]) == ((), ["42"])


def test_a_replaced_call_takes_its_results_along(session: Session) -> None:
    """The new reply has calls of its own."""
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many(results("openai-chat", TWO[:1], False, False))
    session.append(MessageEntry(message=assistant("x"), replaces=call.id))
    assert contents(session) == ["x"]


def test_an_open_hidden_call_is_not_open_for_the_model(session: Session) -> None:
    """Its result is left out when it comes."""
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.hide(call)
    assert session.build_context().open_calls == ()
    session.append_many(results("openai-chat", TWO[:1], False, False))
    assert contents(session) == []


def test_a_hidden_message_between_a_call_and_its_result_changes_nothing(session: Session) -> None:
    """Most hidden messages have neither calls nor results."""
    session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many([user(str(number)) for number in range(5)], visible_to="user")
    session.append_many(results("openai-chat", TWO[:1], False, False))
    assert contents(session) == [None, "42"]


def test_hidden_results_among_many_hidden_messages(session: Session) -> None:
    """Where most is hidden, the hidden part is read only if a call is open or a result has no call."""
    made = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many(results("openai-chat", TWO[:1], False, False), visible_to="user")
    session.append_many([user(str(number)) for number in range(5)], visible_to="user")
    assert contents(session) == [None, "hidden"]
    session.hide(made)
    session.append(user("x"))
    assert contents(session) == ["x"]


def test_pinned_results_of_a_hidden_call_stay_hidden_after_a_compaction(session: Session) -> None:
    """The call need not be pinned itself, and its mark may come before or after the compaction."""
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many(results("openai-chat", TWO[:1], False, False), pinned=True)
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    assert len(session.build_context().messages) == 2
    session.hide(call)
    assert len(session.build_context().messages) == 1
    session.append(CompactionEntry(summary="T", first_kept_entry_id=None))
    assert len(session.build_context().messages) == 1


def test_a_pinned_call_hidden_later_takes_its_pinned_results_along(session: Session) -> None:
    """And a hidden pinned result is answered by "hidden"."""
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0], pinned=True)
    (answer,) = session.append_many(results("openai-chat", TWO[:1], False, False), pinned=True)
    compaction = session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    session.hide(answer)
    assert [message["content"] for message in session.build_context().messages[:2]] == [None, "hidden"]
    session.show(answer)
    session.hide(call)
    assert ids(session.build_context().entries) == [compaction.id]


# --- laws ---


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pinned", [False, True])
def test_a_hidden_call_before_the_kept_range_takes_no_result_of_another_call(
    pinned: bool, shape: str, session: Session
) -> None:
    """Not even where both calls have one id, or none: its own results are gone, and so are not in the context."""
    both = [*calls(shape, "", TWO[:1], False, 0), *results(shape, TWO[:1], shape == "gemini", False)]
    entries = session.append_many(both)
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    if pinned:
        session.pin(entries[0])
    session.hide(entries[0])
    session.append_many([user("x"), *both, assistant("y")])
    context = session.build_context()
    assert context.messages[1:] == [user("x"), *both, assistant("y")]
    assert context.to("openai-chat")
    assert plan_compaction(session, keep_tokens=1) is not None


def test_what_was_hidden_before_the_kept_range_is_not_read_again(session: Session) -> None:
    """Not even where a hidden result in the kept range needs a placeholder."""
    turn = [*calls("openai-chat", "", TWO[:1], False, 0), *results("openai-chat", TWO[:1], False, False)]
    for _ in range(20):
        session.hide(session.append_many([user("x"), *turn, assistant("y")])[2])
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    hidden = session.append_many([user("x"), *turn, assistant("y")])[2]
    session.append_many([user("x"), *calls("openai-chat", "", [("c2", "g", {})], False, 0)])
    session.append_many(results("openai-chat", [("c2", "g", {})], False, False))
    session.hide(hidden)
    index, read = session._index, list[Any]()
    read_at = index._read_at
    with patch.object(index, "_read_at", lambda spans: read.extend(spans) or read_at(spans)):  # type: ignore[func-returns-value]
        context = session.build_context()
    assert [message["content"] for message in context.messages[1:4]] == ["x", None, "hidden"]
    assert len(read) == len(context.messages)


def unpaired(context: Context) -> tuple[Counter[Any], Counter[Any]]:
    """Returns the open calls of a context, and its results without a call, with their entries."""
    said = [read(message) for message in context.messages]
    found = match(part for source in said for part in source.parts)
    claimed = set(map(id, found.answers.values()))
    calls: Counter[Any] = Counter()
    results: Counter[Any] = Counter()
    for entry, source in zip(context.entries, said, strict=True):
        calls.update((entry.id, call.id, call.name) for call in source.calls if id(call) not in found.answers)
        results.update((entry.id, each.id, each.name) for each in source.results if id(each) not in claimed)
    return calls, results


@pytest.mark.no_cover
@given(sessions(), st.data())
def test_no_call_or_result_is_unpaired_by_hiding(session: Session, data: st.DataObject) -> None:
    """Whatever is hidden, in whichever shapes: less is unpaired than before, and every provider takes the request."""
    before = unpaired(session.build_context())
    entries = session.build_context().entries
    targets = [entry.id for entry in entries if isinstance(entry, MessageEntry | BranchSummaryEntry)]
    for target in data.draw(st.lists(st.sampled_from(targets), unique=True)) if targets else []:
        session.hide(target)
    context = session.build_context()
    after = unpaired(context)
    assert (after[0] <= before[0], after[1] <= before[1]) == (True, True)
    for shape in SHAPES:
        assert faults(shape, context.to(shape)) == []


# --- cuts ---


def test_no_cut_comes_between_a_hidden_call_and_its_results(session: Session) -> None:
    """Or the results would be left without it. A call that waits for its result is kept."""
    session.append(user("1"))
    call = session.append(calls("openai-chat", "", TWO[:1], False, 0)[0])
    session.append_many([user("2"), user("3"), *results("openai-chat", TWO[:1], False, False), user("4")])
    session.hide(call)
    assert (len(session.build_context().messages), allowed_cuts(session.build_context())) == (4, [0, 3, 4])
    waiting = session.append(calls("openai-chat", "", TWO[1:], False, 0)[0])
    session.hide(waiting)
    session.append(user("5"))
    assert allowed_cuts(session.build_context()) == [0, 3]
    plan = plan_compaction(session, keep_tokens=0)
    assert plan is not None
    assert [message["content"] for message in plan.messages] == ["1", "2", "3"]
    session.append_many([assistant("6"), user("7"), assistant("8")])
    assert allowed_cuts(session.build_context()) == [0, 3, 4, 5, 6, 7, 8]
