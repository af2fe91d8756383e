"""Compaction that cannot break a conversation: where the cut falls, what the plan says, and when it may land."""

import asyncio
import contextlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from helpers import answered_in, assistant, contents, ids, log_of, node, system, user
from hypothesis import given
from hypothesis import strategies as st
from request_checker import check_types, faults
from test_providers_laws import MODELS, SHAPES, odd_messages, sessions, turns

from convtree import (
    BranchPlan,
    BrokenPath,
    CompactionEntry,
    CompactionPlan,
    Entry,
    InvalidMessage,
    LeafUncertain,
    MessageEntry,
    ModelChangeEntry,
    ReadOnlySession,
    Session,
    SessionClosed,
    StaleLeaf,
    SummaryTooLong,
    aio,
    plan_branch,
    plan_compaction,
)
from convtree._engine.context import Context
from convtree._engine.tokens import estimate_tokens
from convtree._messages.said import role_of
from convtree._model.entries import Visibility

Message = dict[str, Any]


def one(_: Any) -> int:
    """Every message is one token."""
    return 1


def call(id: str, name: str = "look", **arguments: Any) -> Message:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": arguments}]}


def result(id: str) -> Message:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "42"}]}


def plan_of(session: Session, keep: int) -> CompactionPlan | None:
    return plan_compaction(session, keep_tokens=keep, count_tokens=one)


def cut_of(keep: int, *messages: Message) -> tuple[int, int, int | None] | None:
    """How many messages are summarised, how many of those begin a turn that goes on, and which is the first kept."""
    session = Session.memory()
    ids = [session.append(message).id for message in messages]
    plan = plan_of(session, keep)
    if plan is None:
        return None
    kept = None if plan.first_kept_entry_id is None else ids.index(plan.first_kept_entry_id)
    return len(plan.messages), plan.turn_prefix, kept


TURNS = [user("1"), assistant("2"), user("3"), assistant("4"), user("5"), assistant("6")]
WORK = [user("1"), assistant("2"), user("3"), call("a"), result("a"), call("b"), result("b"), assistant("8")]


@pytest.mark.parametrize(
    ("keep", "messages", "expected"),
    [
        (6, TURNS, None),
        (5, TURNS, (2, 0, 2)),
        (4, TURNS, (2, 0, 2)),
        (3, TURNS, (4, 0, 4)),
        (1, TURNS, (5, 1, 5)),
        (0, TURNS, (6, 0, None)),
        (7, WORK, (2, 0, 2)),
        (5, WORK, (3, 1, 3)),
        (4, WORK, (5, 3, 5)),
        (3, WORK, (5, 3, 5)),
        (2, WORK, (7, 5, 7)),
        (1, WORK[:7], (5, 3, 5)),
        (0, WORK[:7], (7, 0, None)),
        (3, WORK[:6], (3, 1, 3)),
        (0, WORK[:6], (5, 3, 5)),
        (1, [call("a"), result("a"), user("3")], (2, 0, 2)),
        (2, [call("a"), result("a"), result("a")], None),
        (0, [], None),
        (0, [user("1")], (1, 0, None)),
        (1, [user("1")], None),
    ],
)
def test_where_the_cut_falls(keep: int, messages: list[Message], expected: Any) -> None:
    """Between turns where one fits, else inside one, never between a call and its result, open ones included."""
    assert cut_of(keep, *messages) == expected


def test_calls_that_nobody_will_answer_do_not_stand_in_the_way() -> None:
    """A crash long ago: the conversation went on without the result."""
    assert cut_of(2, user("1"), call("a"), user("3"), assistant("4"), user("5"), assistant("6")) == (4, 0, 4)


def test_reasoning_stays_with_what_it_led_to() -> None:
    """The items of one reply are cut as one."""
    reasoning = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"}
    made = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "a", "output": "42"}
    assert cut_of(2, user("1"), assistant("2"), reasoning, made, output) == (2, 2, 2)
    assert cut_of(1, user("1"), reasoning, made | {"call_id": "b"}, output | {"call_id": "b"}, assistant("5")) == (
        4,
        4,
        4,
    )


def test_a_reply_stays_with_its_reasoning_to_its_end() -> None:
    """With what was said in between and the calls of the same reply; and what may still come."""
    reasoning = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    made = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "a", "output": "42"}
    assert cut_of(3, user("1"), reasoning, said, made, output) == (1, 1, 1)
    assert cut_of(2, user("1"), reasoning, said, made, output, assistant("6")) == (5, 5, 5)
    assert cut_of(0, user("1"), reasoning) == (1, 1, 1)
    assert cut_of(1, user("1"), reasoning, user("3")) == (2, 0, 2)
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    assert cut_of(2, user("1"), thought, call("a"), result("a")) == (1, 1, 1)
    assert cut_of(1, user("1"), {"role": "assistant", "content": []}, assistant("3")) == (2, 2, 2)


def test_a_result_is_waited_for_until_the_model_goes_on_without_it() -> None:
    """A user who says something while the tool runs changes nothing."""
    assert cut_of(1, user("1"), call("a"), user("hurry")) == (1, 1, 1)
    assert cut_of(0, user("1"), call("a"), user("hurry")) == (1, 1, 1)
    assert cut_of(1, user("1"), call("a"), user("never mind"), assistant("4")) == (3, 1, 3)


def test_a_pinned_call_keeps_its_results(session: Session) -> None:
    """It stays in view whatever is cut, so what answers it has to stay, too, pinned or not."""
    session.append(user("1"))
    made = session.append(call("a"), pinned=True)
    session.append_many([result("a"), user("2"), assistant("3")])
    stored = session.compact(lambda _: "S", keep_tokens=1, count_tokens=one)
    assert stored is not None
    assert stored.first_kept_entry_id == made.id
    assert session.build_context().open_calls == ()


def test_a_pinned_exchange_goes_along(session: Session) -> None:
    """Call and result are pinned: all between may go. A pinned result alone is told as text in a request."""
    pair = session.append_many([call("a"), result("a")], pinned=True)
    session.append(call("b"))
    alone = session.append(result("b"), pinned=True)
    last = session.append_many([user("2"), assistant("3")])[-1]
    stored = session.compact(lambda _: "S", keep_tokens=1, count_tokens=one)
    assert stored is not None
    assert ids(session.build_context().entries) == [pair[0].id, pair[1].id, alone.id, stored.id, last.id]
    for shape in SHAPES:
        assert faults(shape, session.build_context().to(shape)) == []


def test_a_turn_may_begin_with_a_command_that_the_user_ran() -> None:
    """As pi stores it."""
    ran = {"role": "bashExecution", "command": "ls", "output": "a.py", "exitCode": 0}
    assert cut_of(3, user("1"), assistant("2"), ran, assistant("4")) == (2, 0, 2)


def test_nothing_kept_is_nothing_even_of_no_tokens() -> None:
    """What counts as nothing fits nowhere when nothing is to stay."""
    session = Session.memory()
    session.append_many([user("1"), user("")])
    plan = plan_compaction(session, keep_tokens=0)
    assert plan is not None
    assert (len(plan.messages), plan.first_kept_entry_id) == (2, None)


def test_the_fields_of_a_plan(session: Session) -> None:
    """Pinned messages stay and are not summarised; the files are those of the calls that go."""
    session.append(system("Be kind."))
    said = session.append_many(
        [
            user("1"),
            call("a", "read", path="a.py"),
            result("a"),
            call("b", "Edit", file_path="b.py"),
            result("b"),
            call("c", "read", path="b.py"),
            result("c"),
            assistant("done"),
            user("2"),
            assistant("ok"),
        ]
    )
    plan = plan_of(session, 2)
    assert plan == CompactionPlan(
        leaf_id=said[-1].id,
        entries=tuple(said[:8]),
        messages=tuple(entry.message for entry in said[:8]),  # type: ignore[attr-defined]  # all are messages
        first_kept_entry_id=said[8].id,
        previous_summary=None,
        turn_prefix=0,
        read_files=("a.py",),
        modified_files=("b.py",),
        tokens_before=11,
        tokens_kept=3,
    )
    stored = session.compact(lambda _: "S", keep_tokens=2, count_tokens=one)
    assert stored is not None
    assert (stored.tokens_before, stored.tokens_after, stored.messages_removed) == (11, 4, 8)
    assert (stored.read_files, stored.modified_files) == (["a.py"], ["b.py"])
    assert [entry.id for entry in session.build_context().entries][2:] == [said[8].id, said[9].id]


@pytest.mark.parametrize(
    ("made", "read", "modified"),
    [
        (call("a", "Read", file_path="a"), ("a",), ()),
        (call("a", "str_replace_based_edit_tool", command="view", path="a"), ("a",), ()),
        (call("a", "str_replace_based_edit_tool", command="create", path="a"), (), ("a",)),
        (call("a", "NotebookEdit", notebook_path="a"), (), ("a",)),
        (call("a", "read", path=5), (), ()),
        (call("a", "weather", path="a"), (), ()),
        (
            {
                "type": "custom_tool_call",
                "call_id": "a",
                "name": "apply_patch",
                "input": "*** Begin Patch\n*** Update File: a b.py\n*** Move to: c.py\n@@\n-1\n+2\n*** End Patch",
            },
            (),
            ("a b.py", "c.py"),
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "function": {"name": "read", "arguments": '{"path":"a"}'}}],
            },
            ("a",),
            (),
        ),
        ({"role": "model", "parts": [{"functionCall": {"name": "replace", "args": {"file_path": "a"}}}]}, (), ("a",)),
    ],
)
def test_which_files_a_call_touches(made: Message, read: tuple[str, ...], modified: tuple[str, ...]) -> None:
    """By the names that tools and their arguments commonly have, in every shape."""
    session = Session.memory()
    session.append_many([made, user("2"), assistant("3")])
    plan = plan_of(session, 2)
    assert plan is not None
    assert (plan.read_files, plan.modified_files) == (read, modified)


def test_a_second_compaction_builds_on_the_first(session: Session) -> None:
    """It gets the summary that it replaces, and files add up; the older one inside the kept range hides nothing."""
    session.append_many([user("1"), call("a", "write", path="a"), result("a"), user("4"), assistant("5")])
    session.compact(lambda _: "S1", keep_tokens=2, count_tokens=one)
    assert session.compact(lambda _: "never", keep_tokens=2, count_tokens=one) is None
    session.append_many([call("b", "read", path="b"), result("b"), user("8")])
    plan = plan_of(session, 3)
    assert plan is not None
    assert (plan.previous_summary, plan.read_files, plan.modified_files) == ("S1", ("b",), ("a",))
    assert [message["content"] for message in plan.messages] == [
        "4",
        "5",
        call("b", "read", path="b")["content"],
        result("b")["content"],
    ]
    session.compact(lambda _: "S2", keep_tokens=4, count_tokens=one)
    assert contents(session)[1:] == ["8"]
    assert "S2" in contents(session)[0]


def test_a_call_before_an_older_compaction_and_its_result_behind_it(session: Session) -> None:
    """The pair lies on both sides of the older compaction, and is not separated."""
    session.append(user("1"))
    made = session.append(call("a"))
    session.append(CompactionEntry(summary="S1", first_kept_entry_id=made.id))
    session.append_many([result("a"), assistant("4")])
    plan = plan_of(session, 2)
    assert plan is not None
    assert plan.first_kept_entry_id == session.leaf_id
    session.compact(lambda _: "S2", keep_tokens=2, count_tokens=one)
    for shape in SHAPES:
        assert faults(shape, session.build_context().to(shape)) == []


def test_counting_tokens(session: Session) -> None:
    """Usage says what a reply and all before it took; the rest is a character in four; a counter counts by itself."""
    session.append(user("x" * 10))
    assert session.build_context().count_tokens() == 3
    session.append(assistant("y"), usage={"input_tokens": 100, "output_tokens": 7})
    assert session.build_context().count_tokens() == 107
    kept = session.append(user("x" * 8))
    assert session.build_context().count_tokens() == 109
    assert session.build_context().count_tokens(one) == 3
    reply = session.append(assistant("z" * 4), usage={"input_tokens": 200, "output_tokens": 7})
    session.append(CompactionEntry(summary="S", first_kept_entry_id=kept.id))
    summary = estimate_tokens(session.build_context().messages[0])
    assert session.build_context().count_tokens() == summary + 2 + 1
    session.append(assistant("w"), usage={"input_tokens": 50, "output_tokens": 1}, reply_to=session.leaf_id)
    assert session.build_context().count_tokens() == 51
    assert session.build_context(leaf=reply.id).count_tokens() == 207
    assert Context(messages=[], entries=[], provider=None, model=None, settings={}).count_tokens() == 0


def test_keys_that_an_estimate_counts() -> None:
    """What a model reads; pictures by the piece, signatures not at all."""
    assert estimate_tokens(user("")) == 0
    assert estimate_tokens(call("a" * 100, "look", at="Rome")) == 4  # look"at":"Rome"
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}}
    assert estimate_tokens({"role": "user", "content": [picture]}) == 1200
    thought = {"type": "thinking", "thinking": "abcd", "signature": "S" * 500}
    assert estimate_tokens({"role": "assistant", "content": [thought]}) == 1
    assert estimate_tokens({"a": [1, True, None, 2.5]}) == 6  # its JSON text: no reader knows it


def test_files_in_an_estimate() -> None:
    """What is encoded, not text that is called `data`, or begins like a link; nothing that lies beside the words."""
    text = "abcd" * 1_000
    assert estimate_tokens(call("a", "", data=text)) == 1_003
    assert estimate_tokens(user(f"data: {text[6:]}")) == 1_000
    told = {"type": "text", "media_type": "text/plain", "data": text}
    assert estimate_tokens({"role": "user", "content": [{"type": "document", "source": told}]}) == 1_000
    assert estimate_tokens({"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": text}}]}) == 1200
    link = {"type": "input_image", "image_url": f"data:image/png;base64,{text}"}
    file = {"type": "file", "file": {"file_data": text}}
    sound = {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}}
    assert [estimate_tokens({"role": "user", "content": [each]}) for each in (link, file, sound)] == [1200] * 3
    assert estimate_tokens(call("a", "", data=text, format="json")) == 1_007
    said = {"role": "toolResult", "toolCallId": "a", "content": "abcd", "details": {"diff": text}, "timestamp": 17}
    assert estimate_tokens(said) == 1


def test_usage_with_a_result_is_that_of_the_reply_before_it(session: Session) -> None:
    """A turn that is appended in one go has it on its last message."""
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x" * 400}]}
    session.append_many([user("1"), call("a"), answer], usage={"input_tokens": 10, "output_tokens": 10})
    assert session.build_context().count_tokens() == 120
    session.append(CompactionEntry(summary="S", first_kept_entry_id=session.leaf_id))
    session.append(user("abcd"), usage={"input_tokens": 50})
    assert session.build_context().count_tokens() == 50


def test_reported_usage_decides_whether_a_context_is_too_long(session: Session) -> None:
    """Its count is shared out among the messages it counted; a context that it finds too long can be compacted."""
    session.append(user("x" * 400))
    session.append(assistant("x" * 400), usage={"input_tokens": 500, "output_tokens": 100})
    kept = session.append(user("x" * 400))
    session.append(assistant("x" * 400), usage={"input_tokens": 700, "output_tokens": 100})
    session.append(user("x" * 40))
    assert session.build_context().count_tokens() == 810
    assert plan_compaction(session, keep_tokens=810) is None
    plan = plan_compaction(session, keep_tokens=809)
    assert plan is not None
    assert (plan.first_kept_entry_id, plan.tokens_before, plan.tokens_kept) == (kept.id, 810, 410)
    plan = plan_compaction(session, keep_tokens=409)
    assert plan is not None
    assert (plan.turn_prefix, plan.tokens_kept) == (0, 10)


def test_usage_that_says_too_little_shortens_nothing(session: Session) -> None:
    """Some providers count only what is new. A usage of the output alone says nothing of the request."""
    session.append_many([user("x" * 400), assistant("x" * 400)], usage={"input_tokens": 1, "output_tokens": 2})
    assert session.build_context().count_tokens() == 3
    session.append(assistant("x" * 40), usage={"output_tokens": 5})
    assert session.build_context().count_tokens() == 3 + 10
    plan = plan_compaction(session, keep_tokens=150)
    assert plan is not None
    assert plan.tokens_kept == 110


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 500)), max_size=8), st.integers(0, 600))
def test_a_context_that_is_too_long_can_be_compacted(said: list[tuple[int, int]], keep: int) -> None:
    """Without a counter: a context of more than `keep_tokens` has a plan if it has two messages, and keeps no more."""
    session = Session.memory()
    for length, counted in said:
        session.append(user("x" * length))
        session.append(assistant("x" * length), usage={"input_tokens": counted})
    plan = plan_compaction(session, keep_tokens=keep)
    assert plan is not None or session.build_context().count_tokens() <= keep or not any(map(sum, said))


# --- when it may land ---


def test_nothing_changes_when_the_summariser_fails(log_path: Path) -> None:
    """Not a byte."""
    with Session.open(log_path) as session:
        session.append_many(TURNS)
        before = log_path.read_bytes()

        def fail(_: Any) -> str:
            raise RuntimeError("no tokens left")

        with pytest.raises(RuntimeError, match="no tokens left"):
            session.compact(fail, keep_tokens=2, count_tokens=one)
        with pytest.raises(RuntimeError, match="no tokens left"):
            session.branch(session.path()[1].id, summarize=fail)
        with pytest.raises(InvalidMessage):
            session.compact(lambda _: "\ud800", keep_tokens=2, count_tokens=one)
        assert log_path.read_bytes() == before
        assert session.append(user("7")).parent_id == session.path()[-2].id


@pytest.mark.parametrize("summary", ["", " \n", None, 5, b"S", ["S"]])
def test_a_summary_that_says_nothing_stands_for_nothing(session: Session, summary: Any) -> None:
    """What a model gives that was cut off, say: the conversation stays as it is."""
    session.append_many(TURNS)
    with pytest.raises(InvalidMessage) as caught:
        session.compact(lambda _: summary, keep_tokens=2, count_tokens=one)
    assert caught.value.place == "summary"
    assert contents(session) == ["1", "2", "3", "4", "5", "6"]


def test_nobody_is_asked_for_a_summary_that_cannot_land(log_path: Path) -> None:
    """To a reader, where damage may have moved the leaf, and to a closed session."""

    def never(_: Any) -> str:
        raise AssertionError

    async def never_awaited(_: Any) -> str:
        raise AssertionError

    async def compact(session: Session) -> None:
        await aio.Session(session).compact(never_awaited, keep_tokens=0)

    with Session.open(log_path) as session:
        first = session.append_many(TURNS)[0].id
    with Session.open(log_path, mode="r") as reader:
        assert plan_of(reader, 2) is not None
        attempts: list[Callable[[], Any]] = [
            lambda: reader.compact(never, keep_tokens=0),
            lambda: reader.branch(first, summarize=never),
            lambda: asyncio.run(compact(reader)),
        ]
        for attempt in attempts:
            with pytest.raises(ReadOnlySession):
                attempt()
    with log_path.open("ab") as log:
        log.write(b"no line of ours\n")
    with Session.open(log_path) as session:
        with pytest.raises(LeafUncertain):
            session.compact(never, keep_tokens=0)
        with pytest.raises(LeafUncertain):
            session.branch(first, summarize=never)
        session.branch(session.leaf_id)
        assert session.branch(first, summarize=lambda _: "left") is not None
    with pytest.raises(SessionClosed):
        session.compact(never, keep_tokens=0)


def test_a_compaction_lands_where_the_conversation_went_on(log_path: Path) -> None:
    """Someone appended while the summariser ran, in another process or in this one."""
    with Session.open(log_path) as mine, Session.open(log_path) as other:
        mine.append_many(TURNS)

        def summarize(_: CompactionPlan) -> str:
            other.refresh()
            other.append(user("theirs"))
            return "S"

        stored = mine.compact(summarize, keep_tokens=2, count_tokens=one)
        assert stored is not None
        assert contents(mine)[1:] == ["5", "6", "theirs"]
        assert mine.leaf_id == stored.id
        again = mine.compact(lambda _: mine.append(user("mine")).id and "T", keep_tokens=1, count_tokens=one)
        assert again is not None
        assert contents(mine)[1:] == ["theirs", "mine"]


def test_a_compaction_lands_on_another_branch_below_what_it_keeps(session: Session) -> None:
    """The kept entry is above: what is summarised is the same."""
    ids = [entry.id for entry in session.append_many(TURNS)]

    def move(_: CompactionPlan) -> str:
        session.branch(ids[4])
        return "S"

    session.compact(move, keep_tokens=2, count_tokens=one)
    assert contents(session)[1:] == ["5"]


def test_a_plan_that_is_not_right_any_more_does_not_land(session: Session) -> None:
    """The leaf went above what is kept, someone else compacted, or all was to go and more was said."""
    ids = [entry.id for entry in session.append_many(TURNS)]
    leaf = session.leaf_id

    def elsewhere(_: CompactionPlan) -> str:
        session.branch(ids[1])
        return "S"

    with pytest.raises(StaleLeaf) as caught:
        session.compact(elsewhere, keep_tokens=2, count_tokens=one)
    assert (caught.value.expected, caught.value.actual) == (leaf, ids[1])
    session.branch(leaf)
    plan = plan_of(session, 2)
    nothing = plan_of(session, 0)
    assert plan is not None
    assert nothing is not None
    session.append(user("7"))
    with pytest.raises(StaleLeaf):
        session.apply_compaction(nothing, "S")
    session.append(CompactionEntry(summary="first", first_kept_entry_id=ids[4]))
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")
    session.branch(None)
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")
    assert contents(session) == []


def test_a_result_that_came_meanwhile_is_not_torn_off(session: Session) -> None:
    """Everyone had given up the call that goes, and then its result came, or the turns went that gave it up."""
    messages = [user("1"), call("a"), user("3"), assistant("4"), user("5"), assistant("6")]
    chain = [entry.id for entry in session.append_many(messages)]
    plan = plan_of(session, 4)
    assert plan is not None
    assert plan.first_kept_entry_id == chain[2]
    session.branch(chain[2])
    with pytest.raises(StaleLeaf, match="refresh"):
        session.apply_compaction(plan, "S")
    session.append(result("a"), parent_id=chain[5])
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")
    session.append(user("7"), parent_id=chain[5])
    assert session.apply_compaction(plan, "S").first_kept_entry_id == chain[2]


def test_a_session_that_keeps_to_its_branch_compacts_there(log_path: Path) -> None:
    """`on_stale="branch"`: others moving the leaf is not its business."""
    with Session.open(log_path, on_stale="branch") as mine, Session.open(log_path) as other:
        ids = [entry.id for entry in mine.append_many(TURNS)]
        other.branch(ids[0])
        mine.compact(lambda _: "S", keep_tokens=2, count_tokens=one)
        assert contents(mine)[1:] == ["5", "6"]


def test_a_summariser_may_be_awaited(session: Session) -> None:
    """Plan, await, land: what an async session is made of; the leaf may move in between."""
    session.append_many(TURNS)

    async def summarize(plan: CompactionPlan) -> str:
        await asyncio.sleep(0)
        session.append(user("meanwhile"))
        return f"{len(plan.messages)} messages"

    async def compact() -> CompactionEntry:
        plan = plan_of(session, 2)
        assert plan is not None
        return session.apply_compaction(plan, await summarize(plan), count_tokens=one)

    stored = asyncio.run(compact())
    assert (stored.summary, stored.tokens_before, stored.tokens_after) == ("4 messages", 6, 3)
    assert contents(session)[1:] == ["5", "6", "meanwhile"]


def test_the_async_session_awaits_the_summariser() -> None:
    """What is said meanwhile on the same session does not wait for it, and is kept."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append_many(TURNS)

            async def summarize(plan: CompactionPlan) -> str:
                await session.append(user("meanwhile"))
                return f"{len(plan.messages)} messages"

            stored = await session.compact(summarize, keep_tokens=2, count_tokens=one)
            assert stored is not None
            assert (stored.summary, stored.tokens_before, stored.tokens_after) == ("4 messages", 6, 3)
            assert await session.compact(summarize, keep_tokens=100, count_tokens=one) is None

    asyncio.run(main())


def test_the_async_session_awaits_who_summarises_a_branch() -> None:
    """With somebody who writes it, with a summary, with neither, and not with both."""

    async def main() -> None:
        async with aio.Session.memory() as session:
            first = (await session.append_many(TURNS))[0].id

            async def summarize(plan: BranchPlan) -> str:
                await asyncio.sleep(0)
                return f"{len(plan.messages)} messages"

            note = await session.branch(first, summarize=summarize)
            assert note is not None
            assert (note.parent_id, note.summary, session.leaf_id) == (first, "5 messages", note.id)
            assert await session.branch(note.id, summarize=summarize) is None
            assert await session.branch(first) is None
            told = await session.branch(None, summary="told", details=[1])
            assert told is not None
            assert (told.from_id, told.summary, told.details) == (first, "told", [1])
            with pytest.raises(TypeError, match="not both"):
                await session.branch(None, summary="told", summarize=summarize)

    asyncio.run(main())


# --- leaving a branch ---


def test_a_branch_is_summarised_from_the_old_leaf_to_the_common_ancestor(session: Session) -> None:
    """What the model saw of it, and nothing of what both share."""
    start, _, third, *_ = [entry.id for entry in session.append_many(TURNS)]
    old = session.leaf_id
    session.append(ModelChangeEntry(provider="p", model="m"))
    leaf = session.leaf_id
    plans: list[BranchPlan] = []
    side = session.append(user("side"), parent_id=start).id
    session.branch(leaf)

    def summarize(plan: BranchPlan) -> str:
        plans.append(plan)
        return "left"

    note = session.branch(side, summarize=summarize, details={"a": 1})
    assert note is not None
    assert (note.from_id, note.parent_id, note.summary, note.details) == (leaf, side, "left", {"a": 1})
    (plan,) = plans
    assert (plan.leaf_id, plan.ancestor_id) == (leaf, start)
    assert [message["content"] for message in plan.messages] == ["2", "3", "4", "5", "6"]
    assert plan.entries[-1].id == old
    assert plan.entries[1].id == third


def test_a_move_that_leaves_nothing_asks_for_no_summary(session: Session) -> None:
    """Down a branch, or nowhere: a plain move."""
    ids = [entry.id for entry in session.append_many(TURNS)]

    def never(_: BranchPlan) -> str:
        raise AssertionError

    session.branch(ids[1])
    assert session.branch(ids[1], summarize=never) is None
    assert session.branch(ids[3], summarize=never) is None
    assert session.leaf_id == ids[3]
    session.branch(None)
    assert session.branch(ids[0], summarize=never) is None
    assert plan_branch(session, ids[0]) is None
    with pytest.raises(TypeError):
        session.branch(None, summary="S", summarize=never)


def test_a_branch_summary_lands_unless_the_leaf_went_elsewhere(session: Session) -> None:
    """That a branch grew meanwhile is no harm: the summary says which leaf it is from."""
    ids = [entry.id for entry in session.append_many(TURNS)]
    note = session.branch(ids[1], summarize=lambda _: session.append(user("7")).id and "left")
    assert note is not None
    assert (note.from_id, note.parent_id) == (ids[5], ids[1])

    def move(_: BranchPlan) -> str:
        session.branch(ids[3])
        return "left"

    with pytest.raises(StaleLeaf):
        session.branch(ids[0], summarize=move)


def test_a_branch_below_any_ancestor_can_be_summarised(log_path: Path) -> None:
    """A damaged line above a compaction is no part of what a model saw on the branch."""
    log_path.write_bytes(
        log_of(
            node("a", None),
            node("b", "a", message="no message"),
            node("c", "b"),
            node("k", "c", "compaction", summary="S", first_kept_entry_id="c"),
            node("d", "k"),
        )
    )
    with Session.open(log_path) as session:
        with pytest.raises(BrokenPath):
            session.path()
        note = session.branch("k", summarize=lambda plan: f"{len(plan.messages)} messages")
        assert note is not None
        assert (note.summary, note.from_id) == ("1 messages", "d")


# --- laws ---


def pairs(context: Context) -> list[tuple[Entry, Entry]]:
    """The entries of calls, each with that of its result."""
    return [(context.entries[call], context.entries[result]) for call, result in answered_in(context.messages)]


def replies(context: Context) -> list[list[Entry]]:
    """What belongs to a reply, from its reasoning item on."""
    found: list[list[Entry]] = []
    reasoned = False
    for entry, message in zip(context.entries, context.messages, strict=True):
        if reasoned and role_of(message) == "assistant":
            found[-1].append(entry)
        elif message.get("type") == "reasoning":
            found.append([entry])
            reasoned = True
        else:
            reasoned = False
    return found


def check_compaction(session: Session, keep: int) -> None:
    """Compacts, and compares the context before with the one after."""
    before = session.build_context()
    plan = plan_of(session, keep)
    stored = session.compact(lambda _: "S", keep_tokens=keep, count_tokens=one)
    assert (plan is None) == (stored is None)
    if plan is None or stored is None:
        assert session.build_context() == before
        return
    after = session.build_context()
    shown = ids(after.entries)
    place = shown.index(stored.id)
    kept = shown[place + 1 :]
    assert kept == ids(before.entries)[len(before.entries) - len(kept) :]
    assert all(isinstance(entry, MessageEntry) and entry.pinned for entry in after.entries[:place])
    summaries = {entry.id for entry in before.entries if isinstance(entry, CompactionEntry)}
    assert set(ids(plan.entries)) == set(ids(before.entries)) - summaries - set(shown)
    for made, answer in pairs(before):
        assert answer.id in shown or made.id not in shown
        assert made.id in shown or answer.id not in kept
    assert all({entry.id in kept for entry in reply} in ({True}, {False}) for reply in replies(before))
    assert {open.entry_id for open in after.open_calls} <= {open.entry_id for open in before.open_calls}
    for shape in SHAPES:
        request = after.to(shape)
        check_types(shape, deepcopy(request))
        assert faults(shape, request) == []
    assert stored.tokens_before == before.count_tokens(one) >= after.count_tokens(one) == stored.tokens_after
    assert session.compact(lambda _: "S", keep_tokens=keep, count_tokens=one) is None


@pytest.mark.no_cover
@given(st.data())
def test_no_compaction_breaks_a_conversation(data: st.DataObject) -> None:
    """One upon the other, with pins, notes and branches between: the end is kept, whole, and every provider takes it.

    Doing it again right away does nothing.
    """
    session = Session.memory()
    pins: list[bool | None] = [None, None, True] if data.draw(st.booleans()) else [None]
    for turn in data.draw(st.lists(turns(), min_size=1, max_size=5)):
        provider, model = data.draw(st.sampled_from(MODELS))
        for message in turn:
            pinned, hidden = data.draw(st.sampled_from(pins)), data.draw(st.sampled_from([False, False, True]))
            visible_to: Visibility = "user" if hidden else "all"
            session.append(message, provider=provider, model=model, pinned=pinned, visible_to=visible_to)
        match data.draw(st.sampled_from(["nothing", "branch", "compact", "compact"])):
            case "branch":
                place = data.draw(st.sampled_from([None, *ids(session.path())]))
                session.branch(place, summary=data.draw(st.sampled_from(["", "left"])))
            case "compact":
                check_compaction(session, data.draw(st.integers(0, 6)))
    check_compaction(session, data.draw(st.integers(0, 12)))


@given(sessions(), st.integers(0, 12), st.sampled_from(SHAPES))
def test_a_compaction_never_breaks_a_conversation(session: Session, keep: int, shape: Any) -> None:
    """Every provider takes what is left, no call is open that was not, and the same plan again does nothing."""
    before = session.build_context()
    plan = plan_of(session, keep)
    stored = session.compact(lambda _: "S", keep_tokens=keep, count_tokens=one)
    assert (plan is None) == (stored is None)
    after = session.build_context()
    assert faults(shape, after.to(shape)) == []
    assert {open.entry_id for open in after.open_calls} <= {open.entry_id for open in before.open_calls}
    if plan is None:
        return
    shown = [entry.id for entry in after.entries]
    gone = [entry.id for entry in plan.entries]
    assert not set(gone) & set(shown)
    old = [entry.id for entry in before.entries if isinstance(entry, CompactionEntry)]
    assert set(gone) | set(shown) == {entry.id for entry in before.entries if entry.id not in old} | {session.leaf_id}
    assert plan.tokens_kept == len(after.messages) - 1


@given(st.lists(odd_messages, max_size=6), st.integers(0, 40))
def test_any_stored_conversation_can_be_compacted(messages: list[dict[str, Any]], keep_tokens: int) -> None:
    """Nothing is required of a message, except that a summary can be shorter."""
    with Session.memory() as session:
        for message in messages:
            session.append(message)
        with contextlib.suppress(SummaryTooLong):
            session.compact(lambda plan: f"{len(plan.messages)}", keep_tokens=keep_tokens)
        assert session.build_context().count_tokens() >= 0


def test_a_summariser_of_the_other_kind_is_told_so() -> None:
    """A coroutine function in a sync session, any other function in an async one: nothing is written."""

    async def awaited(_: Any) -> str:
        raise AssertionError

    def plain(_: Any) -> Any:
        return "a summary"

    session = Session.memory()
    entries = session.append_many(TURNS)
    with pytest.raises(InvalidMessage, match=r"convtree\.aio"):
        session.compact(awaited, keep_tokens=0)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match=r"convtree\.aio"):
        session.branch(entries[0].id, summarize=awaited)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="a NoneType; return a text"):
        session.branch(entries[0].id, summarize=lambda _: None)  # type: ignore[arg-type, return-value]

    async def ask(session: aio.Session) -> None:
        with pytest.raises(TypeError, match="has to be a coroutine function"):
            await session.compact(plain, keep_tokens=0)
        with pytest.raises(TypeError, match="has to be a coroutine function"):
            await session.branch(entries[0].id, summarize=plain)

    asyncio.run(ask(aio.Session(session)))
    assert session.path() == entries
