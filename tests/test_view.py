"""A session as a person sees it: alternatives of each message, and all branches for chat components."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import assistant, log_of, node, system, user
from hypothesis import given
from hypothesis import strategies as st
from loops import Run, in_thread

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    Header,
    LeafUncertain,
    ModelChangeEntry,
    Session,
    SessionClosed,
    View,
    ViewEntry,
    aio,
)
from convtree._logs.memory import MemoryLog
from convtree.repair import repair


def places(view: Sequence[ViewEntry]) -> list[tuple[str, str]]:
    """The text of each entry and its place, as a user interface shows them."""
    return [(getattr(each.entry, "text", each.entry.type), f"{each.number}/{each.of}") for each in view]


# --- alternatives ---


def test_a_switcher_between_answers(session: Session) -> None:
    """Each answer knows the one before and after it; `tip` leads to where that branch ends."""
    question = session.append(user("q"))
    first = session.append(assistant("1"))
    end = session.append(user("more"))
    second = session.append(assistant("2"), reply_to=question.id)
    third = session.append(assistant("3"), reply_to=question.id)
    view = session.view()
    assert places(view) == [("q", "1/1"), ("3", "3/3")]
    assert (view[1].entry, view[1].previous, view[1].next) == (third, second.id, None)
    other = session.view(session.tip(first.id))
    assert places(other) == [("q", "1/1"), ("1", "1/3"), ("more", "1/1")]
    assert (other[1].previous, other[1].next) == (None, second.id)
    assert (other.leaf_id, other[2].entry) == (end.id, end)
    assert (view[0].previous, view[0].next) == (None, None)


def test_edited_questions_are_alternatives(session: Session) -> None:
    """Also the first one, whose alternative is another root."""
    first = session.append(user("a"))
    session.append(assistant("b"))
    edited = session.append(user("a'"), parent_id=first.parent_id)
    assert places(session.view()) == [("a'", "2/2")]
    assert session.view()[0].previous == first.id
    assert session.view(first.id)[0].next == edited.id


def _notes(session: Session) -> list[Entry]:
    hidden = session.append(assistant("said, and hidden afterwards"))
    session.hide(hidden, visible_to="nobody")
    return [
        session.append(user("An hour has passed."), visible_to="model"),
        session.append(user("nobody sees this"), visible_to="nobody"),
        session.append(system("Be kind.")),
        session.append({"role": "developer", "content": "Be brief."}),
        session.append(ModelChangeEntry(provider=None, model="m")),
        session.append(ExtensionDataEntry(ext_type="x.y", data=1)),
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None)),
    ]


def test_what_lies_between_does_not_hide_alternatives(session: Session) -> None:
    """Notes, instructions, hidden messages and other entries are looked through, on either side."""
    question = session.append(user("q"))
    first = session.append(assistant("1"))
    session.branch(question.id)
    _notes(session)
    second = session.append(assistant("2"))
    session.branch(question.id, summary="They talked.")
    third = session.append(assistant("3"))
    answers = [first.id, second.id, third.id]
    for number, answer in enumerate(answers, 1):
        shown = session.view(answer)[-1]
        assert (shown.entry.id, shown.number, shown.of) == (answer, number, 3)
        assert [shown.previous, shown.next] == [None, *answers, None][number - 1 : number + 2 : 2]
    assert session.siblings(second.id) == [session.entry(second.id)]


def test_what_a_person_does_not_see_is_left_out(session: Session) -> None:
    """As it is hidden now. Instructions and entries that are no messages stay; they have no alternatives."""
    session.append(system("Be kind."))
    session.append(user("q"))
    notes = _notes(session)
    answer = session.append(assistant("a"), visible_to="user")
    expected = [("Be kind.", "1/1"), ("q", "1/1"), ("Be kind.", "1/1"), ("Be brief.", "1/1")]
    expected += [(kind, "1/1") for kind in ("model_change", "extension_data", "compaction")]
    assert places(session.view()) == [*expected, ("a", "1/1")]
    session.show(notes[1])
    session.hide(answer, visible_to="model")
    assert ("nobody sees this", "1/1") in places(session.view())
    assert session.view()[-1].entry == notes[-1]


def test_a_hidden_branch_summary_is_left_out(session: Session) -> None:
    """It can be hidden as a message can."""
    question = session.append(user("q"))
    session.append(assistant("1"))
    summary = session.branch(question.id, summary="They talked.")
    assert isinstance(summary, BranchSummaryEntry)
    assert [each.entry.type for each in session.view()] == ["message", "branch_summary"]
    session.hide(summary, visible_to="model")
    assert [each.entry.type for each in session.view()] == ["message"]


def test_the_end_of_a_view(session: Session) -> None:
    """The last entries, with the alternatives that they have in the whole view."""
    root = session.append(user("0"))
    session.append(user("other"), parent_id=None)
    session.branch(root.id)
    session.append(system("S"))
    for text in ("1", "2"):
        session.append(user(f"{text}'"))
        session.append(user(text), parent_id=session.path()[-2].id)
    whole = session.view()
    assert places(whole) == [("0", "1/2"), ("S", "1/1"), ("1", "2/2"), ("2", "2/2")]
    for last in range(1, 6):
        assert list(session.view(last=last)) == list(whole)[-last:]


def test_a_view_is_a_list(session: Session) -> None:
    """It can be indexed, cut, counted and iterated; an empty path has an empty one."""
    entries = session.append_many([user("a"), assistant("b")])
    view = session.view()
    assert isinstance(view, View)
    assert (len(view), [each.entry for each in view], [each.entry for each in view[1:]]) == (2, entries, entries[1:])
    assert repr(view) == f"<View of 2 entries at {entries[1].id!r}>"
    empty = session.view(None)
    assert (list(empty), empty.leaf_id) == ([], None)
    assert view[1].to_dict() == {
        "entry": entries[1].to_dict(),
        "number": 1,
        "of": 1,
        "previous": None,
        "next": None,
    }


def test_arguments_of_a_view(session: Session) -> None:
    """Wrong ones are named."""
    session.append(user("a"))
    with pytest.raises(ValueError, match="last: expected at least 1, not 0"):
        session.view(last=0)
    with pytest.raises(EntryNotFound, match="nobody"):
        session.view("nobody")
    with pytest.raises(ValueError, match="shape is one of 'assistant-ui', not 'anthropic'"):
        session.view().to("anthropic")  # type: ignore[arg-type]


MESSAGES = st.sampled_from(["user", "assistant", "system", "note", "hidden", "for_user", "change"])


@given(st.lists(st.tuples(MESSAGES, st.integers(0, 1000)), min_size=1, max_size=25))
def test_alternatives_are_those_with_the_same_message_above(choices: list[tuple[str, int]]) -> None:
    """Of every tree: a model that looks at all pairs of messages finds the same."""
    above: dict[str, str | None] = {}  # the nearest message that counts at or above each entry
    parents: dict[str, str | None] = {}
    counted = []
    with Session.memory() as session:
        for number, (kind, pick) in enumerate(choices):
            id, parent = f"e{number}", [None, *parents][-(pick % 5) % (number + 1)]
            if kind == "change":
                session.append(ModelChangeEntry(id=id, provider=None, model="m"), parent_id=parent)
            else:
                role = kind if kind in ("user", "assistant", "system") else "user"
                seen_by = {"note": "model", "hidden": "nobody", "for_user": "user"}.get(kind, "all")
                session.append({"role": role, "content": id}, id=id, parent_id=parent, visible_to=seen_by)  # type: ignore[call-overload]
            parents[id] = parent
            inherited = above[parent] if parent is not None else None
            above[id] = id if kind in ("user", "assistant", "for_user") else inherited
            counted += [id] if above[id] == id else []
        group = {id: above[parents[id] or ""] if parents[id] else None for id in counted}
        for leaf in parents:
            for each in session.view(leaf):
                expected = [id for id in counted if group[id] == group.get(each.entry.id, "")] or [each.entry.id]
                at = expected.index(each.entry.id)
                place = (each.number, each.of, each.previous, each.next)
                assert place == (at + 1, len(expected), *([None, *expected, None][at : at + 3 : 2]))
        thread = session.view().to("assistant-ui")
        assert [item["message"]["id"] for item in thread["messages"]] == counted
        assert {item["message"]["id"]: item["parentId"] for item in thread["messages"]} == group
        assert thread["headId"] == above[session.leaf_id or ""]


class CountingMemory(MemoryLog):
    """A log in memory that counts the lines that are read from it."""

    lines_read = 0

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        self.lines_read += len(spans)
        return super().read_at(spans)


def test_a_view_reads_what_it_returns_and_the_alternatives() -> None:
    """Not what is above, in a log of 3,000 messages."""
    log = CountingMemory()
    with Session(log, Header(id="s")) as session:
        session.append_many(user(str(number)) for number in range(3000))
        for _ in range(4):
            session.append(assistant("again"), parent_id=session.path(last=2)[0].id)
        log.lines_read = 0
        view = session.view(last=5)
        assert [(each.number, each.of) for each in view] == [(1, 1)] * 4 + [(5, 5)]
        assert log.lines_read == 5 + 1 + 4  # one above the first, and the four alternatives


# --- damage ---


def test_a_damaged_alternative_is_not_counted(log_path: Path) -> None:
    """What can be read is shown; a damaged entry of the path itself raises."""
    log_path.write_bytes(log_of(node("q", None), node("a", "q"), node("b", "q"), node("below", "b"), node("c", "q")))
    with Session.open(log_path, durability="process") as session:
        log_path.write_bytes(log_path.read_bytes().replace(b'"content":"b"', b'"content":"X"'))
        assert [(each.number, each.of) for each in session.view()] == [(1, 1), (2, 2)]
        with pytest.raises(BrokenPath):
            session.view("below")
        assert _exported(session) == ["q", "a", "c"]


def _exported(session: Session) -> list[str]:
    return [item["message"]["id"] for item in session.view("c").to("assistant-ui")["messages"]]


def test_branches_behind_a_gap_are_left_out(log_path: Path) -> None:
    """An orphan, and what is below a lost entry: no path leads there."""
    log_path.write_bytes(
        log_of(
            node("q", None),
            node("lost", "q", "model_change", provider=None, model="mm"),
            node("under", "lost"),
            node("orphan", "gone"),
            node("below", "orphan"),
            node("c", "q"),
        )
    )
    log_path.write_bytes(log_path.read_bytes().replace(b'"model":"mm"', b'"model":"XX"'))
    repair(log_path, rejoin=True, dry_run=False)
    with Session.open(log_path, durability="process") as session:
        assert [(each.entry.id, each.of) for each in session.view("c")] == [("q", 1), ("c", 1)]
        assert _exported(session) == ["q", "c"]
        for leaf in ("under", "below"):
            with pytest.raises(BrokenPath):
                session.view(leaf)


def test_an_uncertain_leaf_raises(log_path: Path) -> None:
    """Choose one."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a")).replace(b'"content":"b"', b'"content":"X"'))
    with Session.open(log_path, mode="r") as session:
        with pytest.raises(LeafUncertain):
            session.view()
        assert places(session.view("a")) == [("a", "1/1")]


# --- assistant-ui ---


def call(id: str | None, name: str = "look", arguments: Any = '{"at": "Rome"}') -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(id: str, content: Any = "Rain.") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def thread(session: Session, leaf: Any = ...) -> list[tuple[str | None, str, str, Any]]:
    """Parent, id, role and content of each message."""
    view = session.view() if leaf is ... else session.view(leaf)
    exported = view.to("assistant-ui")
    assert json.loads(json.dumps(exported)) == exported
    known: set[str | None] = {None}
    for item in exported["messages"]:
        assert item["parentId"] in known
        known.add(item["message"]["id"])
    assert exported["headId"] in known
    return [
        (each["parentId"], each["message"]["id"], each["message"]["role"], each["message"]["content"])
        for each in exported["messages"]
    ]


def text(words: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": words}]


def test_all_branches_for_assistant_ui() -> None:
    """Every field of a message of the user and of one of the assistant."""
    with Session.memory(clock=lambda: 10**18) as session:
        session.append(system("Be kind."), id="s")
        question = session.append(user("q"), id="q")
        session.append(assistant("1"), id="a", provider="p", model="m", usage={"input_tokens": 5, "output_tokens": 2})
        session.append(assistant("2"), id="b", reply_to=question.id, status="interrupted")
        assert session.view("a").to("assistant-ui") == {
            "headId": "a",
            "messages": [
                {
                    "parentId": None,
                    "message": {
                        "id": "q",
                        "role": "user",
                        "createdAt": "2001-09-09T01:46:40.000000Z",
                        "content": [{"type": "text", "text": "q"}],
                        "attachments": [],
                        "metadata": {"custom": {}},
                    },
                },
                {
                    "parentId": "q",
                    "message": {
                        "id": "a",
                        "role": "assistant",
                        "createdAt": "2001-09-09T01:46:40.000000Z",
                        "content": [{"type": "text", "text": "1"}],
                        "status": {"type": "complete", "reason": "unknown"},
                        "metadata": {
                            "unstable_state": None,
                            "unstable_annotations": [],
                            "unstable_data": [],
                            "steps": [{"usage": {"inputTokens": 5, "outputTokens": 2}}],
                            "custom": {"provider": "p", "model": "m"},
                        },
                    },
                },
                {
                    "parentId": "q",
                    "message": {
                        "id": "b",
                        "role": "assistant",
                        "createdAt": "2001-09-09T01:46:40.000000Z",
                        "content": [{"type": "text", "text": "2"}],
                        "status": {"type": "incomplete", "reason": "cancelled"},
                        "metadata": {
                            "unstable_state": None,
                            "unstable_annotations": [],
                            "unstable_data": [],
                            "steps": [],
                            "custom": {},
                        },
                    },
                },
            ],
        }


def test_an_empty_session_has_no_head() -> None:
    """And one that begins with what a person does not see has none there."""
    with Session.memory() as session:
        assert session.view().to("assistant-ui") == {"headId": None, "messages": []}
        session.append(system("Be kind."))
        assert session.view().to("assistant-ui") == {"headId": None, "messages": []}


def test_results_are_part_of_their_calls(session: Session) -> None:
    """What follows a result hangs below the message with the call, and so does the head."""
    session.append(user("q"), id="q")
    calls = {"role": "assistant", "content": "I look.", "tool_calls": [call("t1"), call("t2", arguments="[1")]}
    session.append(calls, id="c")
    session.append(result("t1"), id="r1")
    answered = {"type": "tool-call", "toolCallId": "t1", "toolName": "look", "args": {"at": "Rome"}}
    answered |= {"argsText": '{"at": "Rome"}', "result": "Rain."}
    waiting = {
        "type": "tool-call",
        "toolCallId": "t2",
        "toolName": "look",
        "args": {"arguments": "[1"},
        "argsText": "[1",
    }
    expected: list[Any] = [
        (None, "q", "user", text("q")),
        ("q", "c", "assistant", [*text("I look."), answered, waiting]),
    ]
    assert thread(session) == expected
    exported = session.view().to("assistant-ui")
    assert exported["headId"] == "c"
    assert exported["messages"][1]["message"]["status"] == {"type": "requires-action", "reason": "tool-calls"}
    session.append(result("t2", ""), id="r2")
    session.append(assistant("It rains."), id="a")
    session.append(assistant("Rain."), id="b", parent_id="r2")
    expected[1][3][2] = waiting | {"result": ""}
    expected += [("c", "a", "assistant", text("It rains.")), ("c", "b", "assistant", text("Rain."))]
    assert thread(session) == expected
    statuses = [each["message"].get("status") for each in session.view().to("assistant-ui")["messages"]]
    assert statuses == [None] + [{"type": "complete", "reason": "unknown"}] * 3


def test_a_call_without_a_result_that_was_left_does_not_wait(session: Session) -> None:
    """Something was said below it."""
    session.append({"role": "assistant", "content": None, "tool_calls": [call("t1")]}, id="c")
    session.append(user("Never mind."), id="u")
    messages = session.view().to("assistant-ui")["messages"]
    assert messages[0]["message"]["status"] == {"type": "complete", "reason": "unknown"}


def test_a_call_that_was_answered_on_two_branches(session: Session) -> None:
    """Each result is a message of its own: it belongs to its branch."""
    session.append({"role": "assistant", "content": None, "tool_calls": [call("t1")]}, id="c")
    session.append(result("t1", "Rain."), id="r1")
    session.append(assistant("It rains."), id="a1")
    session.append(result("t1", "Sun."), id="r2", parent_id="c")
    session.append(assistant("The sun shines."), id="a2")
    alone = {"type": "tool-call", "toolCallId": "t1", "toolName": "unknown", "args": {}, "argsText": ""}
    asked = {"type": "tool-call", "toolCallId": "t1", "toolName": "look", "args": {"at": "Rome"}}
    assert thread(session) == [
        (None, "c", "assistant", [asked | {"argsText": '{"at": "Rome"}'}]),
        ("c", "r1", "assistant", [alone | {"result": "Rain."}]),
        ("r1", "a1", "assistant", text("It rains.")),
        ("c", "r2", "assistant", [alone | {"result": "Sun."}]),
        ("r2", "a2", "assistant", text("The sun shines.")),
    ]


def test_results_far_from_their_calls_and_without_ids(session: Session) -> None:
    """A result that names its call finds it above; one without an id answers the nearest call."""
    session.append({"role": "assistant", "content": None, "tool_calls": [call("t1")]}, id="c")
    session.append(user("Meanwhile?"), id="u")
    session.append(result("t1", "Late."), id="r")
    session.append({"role": "model", "parts": [{"functionCall": {"name": "ask", "args": {"n": 1}}}]}, id="g")
    answer = {"functionResponse": {"name": "ask", "response": {"output": "yes"}}}
    session.append({"role": "user", "parts": [answer, {"text": "And now?"}]}, id="h")
    contents = {id: content for _, id, _, content in thread(session)}
    assert list(contents) == ["c", "u", "g", "h"]
    assert contents["c"][0]["result"] == "Late."
    assert (contents["g"][0]["toolCallId"], contents["g"][0]["args"]) == ("g:0", {"n": 1})
    assert "yes" in contents["g"][0]["result"]
    assert contents["h"] == text("And now?")


def test_results_on_the_way_to_two_branches(session: Session) -> None:
    """One call was answered above the fork, one on each branch below it."""
    session.append({"role": "assistant", "content": None, "tool_calls": [call("t1"), call("t2")]}, id="c")
    session.append(result("t1", "One."), id="r1")
    session.append(result("t2", "Two."), id="r2")
    session.append(result("t2", "Too."), id="r3", parent_id="r1")
    contents = [(parent, id, [block.get("result") for block in content]) for parent, id, _, content in thread(session)]
    assert contents == [(None, "c", ["One.", None]), ("c", "r2", ["Two."]), ("c", "r3", ["Too."])]


def test_a_message_with_calls_and_results(session: Session) -> None:
    """A result in the same message is part of its call, and so is one that comes later."""
    session.append(
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
                {"type": "tool_result", "tool_use_id": "t1", "content": "One."},
                {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
            ],
        },
        id="c",
    )
    session.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "Two."}]}, id="r"
    )
    session.append(assistant("Done."), id="a")
    contents = [(parent, id, [block.get("result") for block in content]) for parent, id, _, content in thread(session)]
    assert contents == [(None, "c", ["One.", "Two."]), ("c", "a", [None])]


def test_many_results_of_many_calls_are_part_of_them() -> None:
    """Thousands, also where every turn uses the same ids again: none is lost, and it does not take long."""
    with Session.memory() as session:
        many = [call(f"t{number}") for number in range(2000)]
        session.append({"role": "assistant", "content": None, "tool_calls": many}, id="many")
        session.append_many(result(f"t{number}", str(number)) for number in range(2000))
        for _ in range(1000):
            session.append_many([{"role": "assistant", "content": None, "tool_calls": [call("t0")]}, result("t0", "x")])
        contents = [content for _, _, _, content in thread(session)]
        assert [block["result"] for block in contents[0]] == [str(number) for number in range(2000)]
        assert [content[0]["result"] for content in contents[1:]] == ["x"] * 1000


def test_a_result_without_its_call_is_shown_alone(session: Session) -> None:
    """On the other branch, or never made. Beside words of the user it is data, because a user calls no tools."""
    session.append(user("q"), id="q")
    session.append({"role": "assistant", "content": None, "tool_calls": [call("t1")]}, id="c")
    failed = {"type": "tool_result", "tool_use_id": "t9", "content": "Failed.", "is_error": True}
    session.append({"role": "user", "content": [failed]}, id="r", parent_id="q")
    session.append({"role": "user", "content": [failed, {"type": "text", "text": "Well?"}]}, id="w", parent_id="q")
    alone = {
        "toolCallId": "t9",
        "toolName": "unknown",
        "args": {},
        "argsText": "",
        "result": "Failed.",
        "isError": True,
    }
    assert thread(session)[2:] == [
        ("q", "r", "assistant", [{"type": "tool-call"} | alone]),
        ("q", "w", "user", [{"type": "data", "name": "tool-call", "data": alone}, *text("Well?")]),
    ]


PNG = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
            [{"type": "reasoning", "text": "Hm."}],
        ),
        ({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}, []),
        (
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}],
            },
            [{"type": "image", "image": f"data:image/png;base64,{PNG}"}],
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]},
            [{"type": "image", "image": "https://example.org/a.png"}],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PNG}"}}
                ],
            },
            [{"type": "file", "data": PNG, "mimeType": "application/pdf", "filename": "a.pdf"}],
        ),
        (
            {
                "role": "user",
                "content": [{"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}],
            },
            [
                {
                    "type": "file",
                    "data": "https://example.org/a.pdf",
                    "sourceType": "url",
                    "mimeType": "application/octet-stream",
                }
            ],
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
            [{"type": "text", "text": "[f1]"}],
        ),
        (
            {"role": "user", "content": [{"type": "holograph", "x": 1}]},
            [{"type": "data", "name": "unknown", "data": {"type": "holograph", "x": 1}}],
        ),
        (
            {"role": "assistant", "content": [{"type": "server_tool_use", "name": "web_search", "input": {}}]},
            [{"type": "text", "text": '[server_tool_use {"name":"web_search"}]'}],
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [
                            {"type": "text", "text": "See"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PNG}},
                        ],
                    }
                ],
            },
            [
                {
                    "type": "tool-call",
                    "toolCallId": "t1",
                    "toolName": "unknown",
                    "args": {},
                    "argsText": "",
                    "result": [
                        {"type": "text", "text": "See"},
                        {"type": "image", "image": f"data:image/gif;base64,{PNG}"},
                    ],
                }
            ],
        ),
        ({"role": "user", "content": ""}, []),
        ({"role": "user", "content": [{"type": "thinking", "thinking": "Hm."}]}, [{"type": "text", "text": "Hm."}]),
    ],
)
def test_parts_of_messages(message: dict[str, Any], content: list[Any]) -> None:
    """Reasoning, images, files, and parts of unknown types."""
    with Session.memory() as session:
        session.append(message, id="a")
        assert thread(session) == [(None, "a", message["role"], content)]


def test_a_message_of_an_unknown_role_keeps_all_it_has() -> None:
    """What is certainly text is shown as text."""
    with Session.memory() as session:
        message = {"role": "banana", "content": "Look"}
        session.append(message, id="a")
        data = {"type": "data", "name": "unknown", "data": message}
        assert thread(session) == [(None, "a", "user", [*text("Look"), data])]


def test_to_shows_the_session_as_it_is_now(session: Session) -> None:
    """The head stays that of the view. A closed session is said to be closed."""
    first = session.append(user("a"), id="a")
    view = session.view()
    session.append(user("b"), id="b")
    exported = view.to("assistant-ui")
    assert (exported["headId"], [each["message"]["id"] for each in exported["messages"]]) == (first.id, ["a", "b"])
    session.close()
    assert places(view) == [("a", "1/1")]
    with pytest.raises(SessionClosed):
        view.to("assistant-ui")


def test_async_programs_have_the_same_view(run: Run) -> None:
    """`view` and `to` are awaited; the entries are not."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            question = await session.append(user("q"))
            await session.append(assistant("1"))
            await session.append(assistant("2"), reply_to=question.id)
            view = await session.view(last=1)
            sync = await in_thread(session._sync.view, last=1)
            assert {name for name in dir(view) if name[0] != "_"} == {name for name in dir(sync) if name[0] != "_"}
            assert (list(view), view[:1], len(view), view.leaf_id) == (list(sync), sync[:1], 1, session.leaf_id)
            assert repr(view) == f"<aio of {view._sync!r}>"
            assert await view.to("assistant-ui") == await in_thread(sync.to, "assistant-ui")

    run(main)
