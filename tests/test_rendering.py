"""Rendering of summaries as several messages or none, and which usage counts in a context with a compaction."""

import asyncio
from typing import Any

import pytest
from helpers import assistant, contents, ids, log_of, node, user
from hypothesis import given
from hypothesis import strategies as st
from request_checker import faults
from test_providers_laws import SHAPES, sessions

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    CompactionPlan,
    Context,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Render,
    Session,
    aio,
    default_render,
    plan_branch,
    plan_compaction,
)
from convtree._session.cut_points import allowed_cuts

Message = dict[str, Any]
Summary = CompactionEntry | BranchSummaryEntry
ITEM: Message = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}
KEPT = ("id", "message", "visible_to", "pinned", "provider", "model")
SPENT = {"input_tokens": 900, "output_tokens": 100}


def one(_: Any) -> int:
    """Every message is one token."""
    return 1


def render_for(shape: str) -> Render:
    """Returns the render function of the guide: a provider's own items for that provider only."""

    def render(entry: Summary) -> Any:
        return entry.details["items"] if shape == "openai-responses" else None

    return render


def twice(entry: Summary) -> list[Message]:
    """Renders a summary as a question and an answer."""
    return [user("What was?"), assistant(entry.summary)]


def never(entry: Summary) -> None:
    """Renders no summary."""


def compact(session: Session, summary: str, kept: str | None) -> str:
    return session.append(CompactionEntry(summary=summary, first_kept_entry_id=kept)).id


# --- several messages ---


def test_a_summary_may_be_several_messages(session: Session) -> None:
    """Each has the entry of the summary; what came after them begins behind them."""
    _, kept = session.append_many([user("1"), user("2")])
    compaction = compact(session, "S", kept.id)
    note = session.branch(compaction, summary="B")
    assert note is not None
    last = session.append(assistant("3"))
    context = session.build_context(render=twice)
    assert contents(session, render=twice) == ["What was?", "S", "2", "What was?", "B", "3"]
    assert ids(context.entries) == [compaction, compaction, kept.id, note.id, note.id, last.id]
    assert context.first_after_compaction == 3
    assert context.count_tokens(one) == 6
    assert context.open_calls == ()
    assert [context.is_pinned(index) for index in range(6)] == [False] * 6
    session.pin(note.id)
    assert [session.build_context(render=twice).is_pinned(index) for index in range(6)] == [False] * 3 + [True] * 2 + [
        False
    ]
    for shape in SHAPES:
        assert faults(shape, context.to(shape)) == []


def test_rendered_calls_and_replies_are_messages_like_others(session: Session) -> None:
    """A rendered call is open until its result; a rendered reply is not the one that a stored usage belongs to."""
    made = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "42"}]}
    compaction = compact(session, "S", None)
    session.append(user("1"), usage={"input_tokens": 50})
    assert session.build_context(render=lambda _: [user("q"), made]).open_calls == ((("a", "f", compaction)),)
    assert session.build_context(render=lambda _: [made, answer]).open_calls == ()
    note = session.branch(session.leaf_id, summary="B")
    assert note is not None
    session.append(answer | {"content": "x" * 40}, usage={"input_tokens": 70})
    assert session.build_context(render=twice).count_tokens() == 70


class Rendering:
    """A session whose contexts are always rendered otherwise: planning takes anything that has contexts."""

    def __init__(self, session: Session, render: Render) -> None:
        self._session, self._render = session, render
        self.common_ancestor, self.diff = session.common_ancestor, session.diff

    @property
    def leaf_id(self) -> str | None:
        return self._session.leaf_id

    def build_context(self, *, leaf: str | None, render: Render = default_render) -> Context:
        return self._session.build_context(leaf=leaf, render=self._render if render is default_render else render)


def test_no_cut_goes_through_a_summary_of_several_messages(session: Session) -> None:
    """Neither through that of a branch nor through the compaction before; plans name each entry's messages."""
    _, kept = session.append_many([user("1"), user("2")])
    compaction = compact(session, "S", kept.id)
    note = session.branch(compaction, summary="B")
    assert note is not None
    last = session.append_many([user("3"), user("4")])
    assert allowed_cuts(session.build_context(render=twice)) == [0, 2, 3, 5, 6, 7]
    plan = plan_compaction(session, keep_tokens=3, count_tokens=one, render=twice)
    assert plan is not None
    assert ids(plan.entries) == [kept.id, note.id, note.id]
    assert [message["content"] for message in plan.messages] == ["2", "What was?", "B"]
    assert (plan.first_kept_entry_id, plan.previous_summary) == (last[0].id, "S")
    assert (plan.tokens_before, plan.tokens_kept) == (7, 2)
    left = plan_branch(Rendering(session, twice), compaction)
    assert left is not None
    assert ids(left.entries) == [note.id, note.id, last[0].id, last[1].id]
    plan = plan_compaction(session, keep_tokens=4, count_tokens=one, render=twice)
    assert plan is not None
    assert (ids(plan.entries), plan.first_kept_entry_id) == ([kept.id], note.id)
    assert plan_compaction(session, keep_tokens=5, count_tokens=one, render=twice) is None


def test_ranges_of_hidden_calls_count_all_messages_of_a_summary(session: Session) -> None:
    """The hidden call lies behind two messages of the summary, so the range begins there. One may still be open."""
    compact(session, "S", None)
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
    answer = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "42"}]}
    session.append(user("1"))
    made = session.append(call)
    session.append_many([user("2"), answer])
    waiting = session.append({**call, "content": [{**call["content"][0], "id": "b"}]})  # type: ignore[dict-item]
    session.append(user("3"))
    session.hide(made.id)
    session.hide(waiting.id)
    assert session.build_context().together == ((2, 3), (3, None))
    assert session.build_context(render=twice).together == ((3, 4), (4, None))


# --- none ---


def test_originals_come_back_where_a_compaction_is_not_rendered(session: Session) -> None:
    """Those from the earlier compaction on, which is rendered in its turn; without one, all of them."""
    first = session.append_many([user("1"), user("2")])
    compact(session, "S1", first[1].id)
    third = session.append(user("3"))
    compact(session, "S2", third.id)
    session.append(user("4"))
    asked: list[str] = []

    def only(*shown: str) -> Render:
        def render(entry: Summary) -> str | None:
            asked.append(entry.summary)
            return entry.summary if entry.summary in shown else None

        return render

    assert contents(session, render=only("S1", "S2")) == ["S2", "3", "4"]
    assert contents(session, render=only("S1")) == ["S1", "2", "3", "4"]
    assert contents(session, render=only()) == ["1", "2", "3", "4"]
    assert contents(session, render=lambda _: []) == ["1", "2", "3", "4"]
    assert asked == ["S2", "S2", "S1", "S2", "S1"]
    assert session.build_context(render=only("S1")).first_after_compaction == 2
    assert session.build_context(render=never).first_after_compaction == 0


def test_a_branch_summary_that_is_not_rendered_is_left_out(session: Session) -> None:
    """As one without text is."""
    start = session.append(user("1"))
    session.append(user("2"))
    session.branch(start.id, summary="left")
    session.append(user("3"))
    assert contents(session, render=never) == ["1", "3"]
    assert contents(session, render=lambda _: ()) == ["1", "3"]


def test_the_path_is_read_further_up_only_if_a_compaction_is_not_rendered(log_path: Any) -> None:
    """A line that was damaged above it is needed only then. Without that line, a context has a gap."""
    log_path.write_bytes(
        log_of(
            node("a", None),
            node("b", "a", message="no message"),
            node("c", "b"),
            node("k", "c", "compaction", summary="S", first_kept_entry_id="c"),
            node("d", "k"),
        )
    )
    with Session.open(log_path, mode="r") as session:
        assert contents(session, render=lambda entry: entry.summary) == ["S", "c", "d"]
        with pytest.raises(BrokenPath):
            session.build_context(render=never)
        context = session.build_context(render=never, allow_gaps=True)
        assert ([message["content"] for message in context.messages], len(context.gaps)) == (["a", "c", "d"], 1)


def test_a_compaction_that_cannot_be_read_is_not_passed_over(log_path: Any) -> None:
    """What it stood for stays out of the context, and the gap says where."""
    log_path.write_bytes(log_of(node("a", None), node("k", "a", "compaction", summary=5), node("d", "k")))
    with Session.open(log_path, mode="r") as session:
        context = session.build_context(render=never, allow_gaps=True)
        assert ([message["content"] for message in context.messages], len(context.gaps)) == (["d"], 1)


@pytest.mark.parametrize(
    ("rendered", "what"),
    [
        (5, "a int"),
        (b"S", "a bytes"),
        (bytearray(), "a bytearray"),
        ([user("a"), "b"], "a list with a str"),
        ((None,), "a tuple with a NoneType"),
        ({"a"}, "a set"),
    ],
)
@pytest.mark.parametrize("kind", ["compaction", "branch"])
def test_what_is_no_message_is_refused(session: Session, kind: str, rendered: Any, what: str) -> None:
    """When the context is built. The error names the entry."""
    first = session.append(user("1"))
    note = session.branch(first.id, summary="B") if kind == "branch" else None
    entry_id = compact(session, "S", None) if note is None else note.id
    with pytest.raises(TypeError, match=f"entry '{entry_id}' was rendered as {what}; render must return"):
        session.build_context(render=lambda _: rendered)


@given(sessions())
def test_a_context_without_summaries_has_all_originals(session: Session) -> None:
    """Whatever was pinned and hidden, it is that of a conversation in which nothing was ever summarised."""
    context = session.build_context(render=never)
    plain = Session.memory()
    for entry in session.path():
        if isinstance(entry, MessageEntry):
            plain.append(MessageEntry(**{name: getattr(entry, name) for name in KEPT}))
    expected = plain.build_context()
    assert context.messages == expected.messages
    assert context.together == expected.together
    assert ids(context.entries) == ids(expected.entries)
    for shape in SHAPES:
        assert faults(shape, context.to(shape)) == []


@given(sessions(), st.integers(1, 3))
def test_more_messages_for_a_summary_change_nothing_else(session: Session, count: int) -> None:
    """Without the summaries, the context is the same; its indexes lead to the same entries."""

    def several(entry: Summary) -> list[Message]:
        return [user(entry.summary)] * count

    plain, spread = session.build_context(), session.build_context(render=several)
    assert [entry for entry in spread.entries if isinstance(entry, Summary)][::count] == [
        entry for entry in plain.entries if isinstance(entry, Summary)
    ]
    assert list(dict.fromkeys(ids(spread.entries))) == ids(plain.entries)
    assert len(spread.messages) == len(spread.entries)
    for context in (plain, spread):
        after = context.entries[context.first_after_compaction :]
        assert list(dict.fromkeys(ids(after))) == ids(plain.entries[plain.first_after_compaction :])
    stale = [{context.entries[index].id for index in context.stale_usage} for context in (plain, spread)]
    assert stale[0] == stale[1]


# --- a provider's own compaction ---


def test_a_providers_own_compaction_is_sent_to_that_provider(session: Session) -> None:
    """It gets its item, and every other provider the originals."""
    session.append_many([user("1"), assistant("2"), user("3"), assistant("4")], provider="openai", model="gpt")
    session.append(
        CompactionEntry(summary="Compacted by OpenAI.", first_kept_entry_id=None, details={"items": [user("1"), ITEM]})
    )
    session.append(user("5"))
    own = session.build_context(render=render_for("openai-responses")).to("openai-responses")
    assert own == {"input": [user("1"), {"type": "compaction", "encrypted_content": "gAAAA"}, user("5")]}
    for shape in ("anthropic", "openai-chat"):
        other = session.build_context(render=render_for(shape)).to(shape)
        assert [message["content"] for message in other["messages"]] == ["1", "2", "3", "4", "5"]
    contents = session.build_context(render=render_for("gemini")).to("gemini")["contents"]
    assert [part["text"] for each in contents for part in each["parts"]] == ["1", "2", "3", "4", "5"]


def test_what_a_providers_own_compaction_stands_for_is_summarised_again(session: Session) -> None:
    """A plan for the other providers is made of the originals. Its summary is then for all of them."""
    first = session.append_many([user("1"), assistant("2"), user("3"), assistant("4")])
    session.append(CompactionEntry(summary="By OpenAI.", first_kept_entry_id=None, details={"items": [ITEM]}))
    session.append(user("5"))
    render = render_for("anthropic")
    assert plan_compaction(session, keep_tokens=3, count_tokens=one) is None
    plan = plan_compaction(session, keep_tokens=3, count_tokens=one, render=render)
    assert plan is not None
    assert [message["content"] for message in plan.messages] == ["1", "2"]
    assert (plan.previous_summary, plan.first_kept_entry_id, plan.tokens_before) == (None, first[2].id, 5)
    session.append(assistant("6"))
    done = session.apply_compaction(plan, "S", count_tokens=one)
    assert contents(session)[1:] == ["3", "4", "5", "6"]
    assert contents(session, render=lambda entry: entry.details and render(entry)) == ["1", "2", "3", "4", "5", "6"]
    session.branch(done.parent_id)
    assert session.compact(lambda _: "T", keep_tokens=1, count_tokens=one, render=render) is not None
    assert contents(session)[1:] == ["6"]


def test_an_asyncio_session_plans_with_a_render_function() -> None:
    """As the sync one does."""

    async def summarize(plan: CompactionPlan) -> str:
        await asyncio.sleep(0)
        return f"{len(plan.messages)}"

    async def main() -> None:
        async with aio.Session.memory() as session:
            await session.append_many([user("1"), user("2"), user("3")])
            await session.append(CompactionEntry(summary="", first_kept_entry_id=None))
            done = await session.compact(summarize, keep_tokens=1, count_tokens=one, render=never)
            assert done is not None
            assert done.summary == "2"

    asyncio.run(main())


# --- which usage counts ---


def compacted(session: Session) -> tuple[str, str]:
    """Says and compacts; returns the ids of the last question and of the compaction."""
    asked = session.append(user("x" * 4))
    return asked.id, compact(session, "S", asked.id)


def test_a_reply_directly_behind_a_compaction_may_be_older(session: Session) -> None:
    """Its usage is not used, nor that of its other messages. Notes between change nothing."""
    compacted(session)
    estimated = session.build_context().count_tokens()
    session.append(ModelChangeEntry(provider="p", model="m"))
    session.append(ExtensionDataEntry(ext_type="todo", data=[]))
    session.append(user("y" * 4), visible_to="model")
    session.append_many([assistant("z" * 4), assistant("z" * 4)], usage=SPENT)
    assert session.build_context().count_tokens() == estimated + 3
    note = session.branch(session.leaf_id, summary="N" * 4)
    assert note is not None
    session.append(assistant("z" * 4), usage=SPENT)
    assert session.build_context().count_tokens() < 200
    assert plan_compaction(session, keep_tokens=200) is None


@pytest.mark.parametrize(
    "said",
    [
        user("on"),
        {"role": "tool", "tool_call_id": "a", "content": "42"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "42"}]},
        {"type": "function_call_output", "call_id": "a", "output": "42"},
    ],
)
def test_a_reply_to_what_came_behind_a_compaction_counts(session: Session, said: Message) -> None:
    """Somebody said something behind it, so the request was made behind it, too."""
    compacted(session)
    session.append(assistant("late"), usage=SPENT)
    session.append(said)
    session.append(assistant("z"), usage=SPENT)
    assert session.build_context().count_tokens() == 1_000


def test_reply_to_decides_what_a_reply_has_seen(session: Session) -> None:
    """The compaction, or anything behind it, a note as well. Nothing above it, and nothing on another branch."""
    asked, compaction = compacted(session)
    note = session.append(ExtensionDataEntry(ext_type="todo", data=[]))
    for answered, counts in ((asked, False), (compaction, True), (note.id, True)):
        session.append(MessageEntry(message=assistant("z"), usage=SPENT, reply_to=answered), parent_id=note.id)
        assert (session.build_context().count_tokens() == 1_000) is counts
    beside = session.append(user("beside"), parent_id=asked)
    session.append(user("on"), parent_id=note.id)
    session.append(MessageEntry(message=assistant("z"), usage=SPENT, reply_to=beside.id))
    assert session.build_context().count_tokens() < 1_000


def test_usage_behind_a_compaction_that_is_not_rendered_is_not_used(session: Session) -> None:
    """That reply was asked with the summary. A reply before the compaction saw the originals."""
    session.append(user("x" * 4))
    session.append(assistant("a" * 4), usage={"input_tokens": 5_000})
    compact(session, "S", None)
    session.append_many([user("y" * 4), assistant("z" * 4)], usage=SPENT)
    assert session.build_context().count_tokens() == 1_000
    assert session.build_context(render=never).count_tokens() == 5_002
