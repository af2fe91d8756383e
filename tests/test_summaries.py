"""Summaries: how long one may be, who wrote it and what it cost, and how much a compaction keeps."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from click.testing import CliRunner
from helpers import assistant, contents, user
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from request_checker import check_types, faults
from test_examples import ANTHROPIC, CHAT, RESPONSE
from test_providers_laws import SHAPES, turns

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    CompactionPlan,
    InvalidMessage,
    MessageEntry,
    Session,
    SummaryTooLong,
    aio,
    default_render,
    open_store,
    plan_compaction,
)
from convtree._cli.app import app
from convtree._engine.tokens import count_bytes_each, estimate_tokens

Message = dict[str, Any]


def letters(message: Any) -> int:
    """Counts a token for each character of a message's content."""
    return len(message["content"])


# --- no compaction makes a context longer ---


@pytest.mark.parametrize(("length", "lands"), [(8, True), (9, False)])
def test_a_summary_is_no_longer_than_what_it_stands_for(session: Session, length: int, lands: bool) -> None:
    """Two messages of four characters: nine are too many. The words around a summary do not count."""
    session.append_many([user("1234"), assistant("5678"), user("kept")])
    if lands:
        done = session.compact(lambda _: "s" * length, keep_tokens=4, count_tokens=letters)
        assert done is not None
        assert contents(session) == [default_render(done)["content"], "kept"]
        return
    before = session.path()
    with pytest.raises(SummaryTooLong, match="the summary has 9 tokens, more than the 8 that it stands for") as caught:
        session.compact(lambda _: "s" * length, keep_tokens=4, count_tokens=letters)
    assert (caught.value.tokens, caught.value.limit) == (9, 8)
    assert session.path() == before


def test_the_length_of_a_summary_is_estimated_without_a_counter(session: Session) -> None:
    """A token for four characters, of the summary as of the messages."""
    session.append_many([user("x" * 39), assistant("kept")])
    plan = plan_compaction(session, keep_tokens=1)
    assert plan is not None
    with pytest.raises(SummaryTooLong) as caught:
        session.apply_compaction(plan, "s" * 41)
    assert (caught.value.tokens, caught.value.limit) == (11, 10)
    assert session.apply_compaction(plan, "s" * 40).summary == "s" * 40


def test_a_summary_stands_for_the_summary_before_it(session: Session) -> None:
    """It may be as long as that and the messages together."""
    session.append_many([user("1" * 10), user("kept")])
    session.compact(lambda _: "S" * 10, keep_tokens=4, count_tokens=letters)
    session.append(user("last"))
    with pytest.raises(SummaryTooLong) as caught:
        session.compact(lambda _: "T" * 15, keep_tokens=4, count_tokens=letters)
    assert (caught.value.tokens, caught.value.limit) == (15, 14)
    assert session.compact(lambda _: "T" * 14, keep_tokens=4, count_tokens=letters) is not None


def test_a_summary_that_is_too_long_changes_no_byte(log_path: Path) -> None:
    """Also of the asyncio session, and also of a plan that is applied later."""

    async def summarize(_: CompactionPlan) -> str:
        await asyncio.sleep(0)
        return "much too long"

    async def compact(session: Session) -> None:
        await aio.Session(session).compact(summarize, keep_tokens=1)

    with Session.open(log_path) as session:
        session.append_many([user("1"), user("2")])
        before = log_path.read_bytes()
        with pytest.raises(SummaryTooLong):
            asyncio.run(compact(session))
        assert log_path.read_bytes() == before
        assert issubclass(SummaryTooLong, ValueError)


@given(st.data())
def test_no_compaction_makes_a_context_longer(data: st.DataObject) -> None:
    """Whatever is pinned or hidden: by characters, a context grows by no more than the words around a summary.

    All originals come back for a caller who renders no summaries.
    """

    def length(message: Any) -> int:
        return len(str(message))

    session = Session.memory()
    for turn in data.draw(st.lists(turns(), min_size=1, max_size=5)):
        for message in turn:
            session.append(message, pinned=data.draw(st.sampled_from([None, None, None, True])))
        path = [entry.id for entry in session.path() if isinstance(entry, MessageEntry)]
        match data.draw(st.sampled_from(["nothing", "hide", "pin", "compact"] if path else ["nothing"])):
            case "hide":
                session.hide(data.draw(st.sampled_from(path)))
            case "pin":
                session.pin(data.draw(st.sampled_from(path)))
            case "compact":
                check_length(session, data.draw(st.integers(0, 900)), data.draw(st.integers(1, 400)), length)
    check_length(session, data.draw(st.integers(0, 900)), data.draw(st.integers(1, 400)), length)


def check_length(session: Session, keep: int, summary: int, length: Any) -> None:
    """Compacts, and compares the lengths of the context before and after."""
    before, originals = session.build_context(), session.build_context(render=lambda _: None)
    done = None
    with contextlib.suppress(SummaryTooLong):
        done = session.compact(lambda _: "s" * summary, keep_tokens=keep, count_tokens=length)
    fixed = 0 if done is None else length(default_render(done)) - length({"role": "user", "content": done.summary})
    assert session.build_context().count_tokens(length) <= before.count_tokens(length) + fixed
    again = session.build_context(render=lambda _: None)
    assert (again.messages, again.entries) == (originals.messages, originals.entries)
    assert again.first_after_compaction == 0


# --- replies as summaries ---


SAID: Message = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
SAID |= {"content": [{"type": "output_text", "text": "Bonn.", "annotations": []}]}
ITEMS: Message = RESPONSE | {"output": [{"type": "reasoning", "id": "rs", "summary": []}, SAID]}


@pytest.mark.parametrize(
    ("reply", "text", "usage", "provider", "model"),
    [
        (ChatCompletion.model_validate(CHAT), "Oslo.", CHAT["usage"], "openai", "gpt-x"),
        (AnthropicMessage.model_validate(ANTHROPIC), "Rome.", ANTHROPIC["usage"], "anthropic", "claude-x"),
        (Response.model_validate(ITEMS), "Bonn.", ITEMS["usage"], "openai", "gpt-x"),
        (ITEMS, "Bonn.", ITEMS["usage"], "openai", "gpt-x"),
        (SimpleNamespace(model_dump=lambda **_: assistant("Hello!")), "Hello!", None, None, None),
        (assistant("Hello!"), "Hello!", None, None, None),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi"}]},
            "Hi",
            None,
            None,
            None,
        ),
    ],
)
def test_a_reply_is_a_summary(
    session: Session, reply: Any, text: str, usage: Any, provider: str | None, model: str | None
) -> None:
    """Its text is the summary, without its reasoning. Its usage, provider and model are stored with it."""
    start = session.append(user("one " * 50))
    session.append_many([user("two " * 50), user("last")])
    done = session.compact(lambda _: reply, keep_tokens=2)
    assert done is not None
    assert (done.summary, done.usage, done.provider, done.model) == (text, usage, provider, model)
    assert session.entry(done.id) == done
    note = session.branch(start.id, summarize=lambda _: reply)
    assert note is not None
    assert (note.summary, note.usage, note.provider, note.model) == (text, usage, provider, model)


def test_facts_of_a_reply_can_be_stated(session: Session) -> None:
    """Arguments say more than the reply does; what they leave out is as the reply says."""
    session.append_many([user("one " * 50), user("last")])
    plan = plan_compaction(session, keep_tokens=1)
    assert plan is not None
    done = session.apply_compaction(plan, ChatCompletion.model_validate(CHAT), provider="azure", usage={"input": 7})
    assert (done.provider, done.model, done.usage) == ("azure", CHAT["model"], {"input": 7})


@pytest.mark.parametrize(
    "reply",
    [{}, assistant(" \n"), {"output": []}, ChatCompletion, {"output": [{"type": "reasoning", "summary": []}]}, 5],
)
def test_a_reply_without_text_is_refused(session: Session, reply: Any) -> None:
    """Nothing is written, and the error says what to return."""
    path = session.append_many([user("one"), user("two")])
    with pytest.raises(InvalidMessage) as caught:
        session.compact(lambda _: reply, keep_tokens=0)
    assert caught.value.place == "summary"
    with pytest.raises(InvalidMessage):
        session.branch(path[0].id, summarize=lambda _: reply)
    assert session.path() == path


def test_a_reply_is_awaited_and_counted() -> None:
    """In an asyncio session; the store's sums have the usage of both kinds of summaries."""

    async def summarize(_: Any) -> Any:
        await asyncio.sleep(0)
        return ChatCompletion.model_validate(CHAT)

    async def main(session: aio.Session) -> None:
        start, *_ = await session.append_many([user("one " * 50), user("two " * 50), user("last")])
        done = await session.compact(summarize, keep_tokens=2)
        note = await session.branch(start.id, summarize=summarize)
        assert done is not None
        assert note is not None
        assert (done.summary, note.summary, done.usage) == ("Oslo.", "Oslo.", CHAT["usage"])

    with open_store("memory:") as store:
        with store.create(id="s") as session:
            asyncio.run(main(aio.Session(session)))
        spent = sum(row.usage.input_tokens + row.usage.cache_read_tokens for row in store.usage("s"))
        assert spent == 2 * 3


def test_inspect_says_what_summaries_cost(tmp_path: Path) -> None:
    """Who wrote one, and the tokens that it took; of each as much as is known."""
    path = tmp_path / "log.jsonl"
    usage = {"input_tokens": 1200, "output_tokens": 34}
    with Session.open(path) as session:
        first = session.append(user("a"))
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None, usage=usage, provider="p", model="m"))
        session.append(BranchSummaryEntry(from_id=None, summary="N", model="n"), parent_id=first.id)
        session.append(CompactionEntry(summary="T", first_kept_entry_id=None), parent_id=first.id)
    shown = CliRunner().invoke(app, ["inspect", str(path), "--full"]).output
    assert "keeps nothing, written by p m, took 1,234 tokens" in shown
    assert "written by n" in shown
    assert shown.count("took") == 1


# --- how much stays ---


def steps(count: int) -> list[Message]:
    """One turn of many steps: each a call and its result."""
    said: list[Message] = [user("Do all of it.")]
    for number in range(count):
        call = {"type": "tool_use", "id": f"t{number}", "name": "read", "input": {"path": f"f{number}"}}
        said += [
            {"role": "assistant", "content": [{"type": "text", "text": f"step {number}"}, call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"t{number}", "content": "x" * 40}]},
        ]
    return said


def test_a_single_turn_of_many_steps_can_be_compacted(session: Session) -> None:
    """The cut falls between two steps, and all that goes is the beginning of the turn. It works again later."""
    session.append_many(steps(60))
    one_step = sum(map(estimate_tokens, steps(60)[-2:]))
    plan = plan_compaction(session, keep_tokens=3 * one_step)
    assert plan is not None
    assert (len(plan.messages), plan.turn_prefix) == (1 + 2 * 57, 1 + 2 * 57)
    session.apply_compaction(plan, "57 steps")
    context = session.build_context()
    assert context.messages[1:] == steps(60)[-6:]
    for shape in SHAPES:
        request = context.to(shape)
        check_types(shape, request)
        assert faults(shape, request) == []
    session.append_many(steps(70)[121:])
    plan = plan_compaction(session, keep_tokens=2 * one_step)
    assert plan is not None
    assert (plan.previous_summary, len(plan.messages), plan.turn_prefix) == ("57 steps", 2 * 11, 2 * 11)
    session.apply_compaction(plan, "68 steps")
    assert session.build_context().messages[1:] == steps(70)[-4:]


def test_bytes_of_a_message_are_those_of_its_json() -> None:
    """A picture counts with its base64, a letter with its bytes; an integer may have any size."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4_000}}
    assert count_bytes_each([user("é"), {"a": 2**70}, {"role": "user", "content": [picture]}]) == [30, 28, 4_106]


def test_a_compaction_can_keep_bytes(session: Session) -> None:
    """Pictures of few tokens and many bytes make a request too large. The plan counts tokens all the same."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}}
    session.append_many([{"role": "user", "content": [picture]}, assistant("Nice.")] * 4)
    assert plan_compaction(session, keep_tokens=10_000) is None
    plan = plan_compaction(session, keep_bytes=100_000)
    assert plan is not None
    assert (len(plan.messages), plan.tokens_before, plan.tokens_kept) == (4, 4_808, 2_404)
    done = session.compact(lambda _: "Pictures.", keep_bytes=50_000)
    assert done is not None
    assert (done.messages_removed, done.tokens_before) == (6, 4_808)
    assert len(session.build_context().messages) == 3
    assert session.compact(lambda _: "never", keep_bytes=50_000) is None


@pytest.mark.parametrize("given", [{}, {"keep_tokens": 5, "keep_bytes": 5}, {"keep_tokens": 0, "keep_bytes": 0}])
def test_a_compaction_keeps_tokens_or_bytes(session: Session, given: dict[str, Any]) -> None:
    """Exactly one of the two, whoever plans."""

    async def summarize(_: Any) -> str:
        raise AssertionError

    async def compact() -> None:
        await aio.Session(session).compact(summarize, **given)

    reason = "takes `keep_tokens` or `keep_bytes`, not (both|neither)"
    with pytest.raises(TypeError, match=reason):
        plan_compaction(session, **given)
    with pytest.raises(TypeError, match=reason):
        session.compact(lambda _: "never", **given)
    with pytest.raises(TypeError, match=reason):
        asyncio.run(compact())


def test_an_asyncio_session_can_keep_bytes() -> None:
    """As the sync one does."""

    async def summarize(_: Any) -> str:
        await asyncio.sleep(0)
        return "S"

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append_many([user("x" * 100), user("y" * 100)])
            done = await session.compact(summarize, keep_bytes=140)
            assert done is not None
            assert done.messages_removed == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "name"), [({"keep_tokens": "5"}, "keep_tokens"), ({"keep_bytes": True}, "keep_bytes")]
)
def test_what_is_kept_is_a_number(session: Session, given: Any, name: str) -> None:
    """The error names the argument."""
    with pytest.raises(TypeError, match=f"{name}: expected a whole number or None, not"):
        plan_compaction(session, **given)
