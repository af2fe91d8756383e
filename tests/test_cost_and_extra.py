"""Fields beside the message itself: extra data, messages for nobody, interrupted replies, the cost of summaries."""

from pathlib import Path
from typing import Any

import pytest
from helpers import contents, ids, user

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    IdConflict,
    InvalidMessage,
    OpenCalls,
    Session,
    SessionStore,
    open_store,
)
from convtree._catalogue.record_summary import summarise_record
from convtree._model.entries import MessageEntry
from convtree.exchange import export_lines

USAGE = {"input_tokens": 100, "output_tokens": 7}


def test_extra_comes_back_and_is_not_sent(session: Session) -> None:
    """With a message, with the last one of several, and across a restart of the session."""
    session.append(user("a"), extra={"run": 1, "nested": {"x": [1, None]}})
    session.append_many([user("b"), user("c")], extra={"run": 2})
    found = [entry.extra for entry in session.path() if isinstance(entry, MessageEntry)]
    assert found == [{"run": 1, "nested": {"x": [1, None]}}, None, {"run": 2}]
    assert session.build_context().messages == [user("a"), user("b"), user("c")]
    assert "run" not in str(session.build_context().to("openai-chat"))


def test_extra_belongs_to_what_a_retry_compares(session: Session) -> None:
    """The same id with other extra data is a conflict."""
    session.append(user("a"), id="a", extra={"run": 1})
    assert session.append(user("a"), id="a", extra={"run": 1}).extra == {"run": 1}
    with pytest.raises(IdConflict):
        session.append(user("a"), id="a", extra={"run": 2})


def test_extra_is_checked(session: Session) -> None:
    """It is an object of JSON values; an entry brings its own."""
    with pytest.raises(InvalidMessage, match="extra"):
        session.append(user("a"), extra={"x": float("nan")})
    with pytest.raises(TypeError, match="with a message only"):
        session.append(MessageEntry(message=user("a")), extra={"x": 1})
    assert session.path() == []


def test_message_for_nobody_is_kept_and_not_shown(session: Session) -> None:
    """Contexts leave it out, and the summary of the record says who sees it; exports say that it is hidden."""
    session.append(user("a"))
    hidden = session.append(user("secret"), visible_to="nobody")
    session.append(user("b"))
    assert contents(session) == ["a", "b"]
    assert ids(session.path())[1] == hidden.id
    assert summarise_record(hidden).visible_to == "nobody"
    assert b", hidden" in b"".join(export_lines(session, "markdown"))


def test_message_for_nobody_stays_hidden_after_reopening(log_path: Path) -> None:
    """Reading the log again gives the same context."""
    with Session.open(log_path) as session:
        session.append_many([user("a"), user("b")], visible_to="nobody")
        session.append(user("c"))
    with Session.open(log_path, mode="r") as again:
        assert contents(again) == ["c"]


@pytest.fixture(params=["folder", "sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store of each kind that needs no server."""
    urls = {"folder": str(tmp_path / "s"), "sqlite": f"sqlite:///{tmp_path}/s.db", "memory": "memory:"}
    with open_store(urls[request.param]) as opened:
        yield opened


def test_summaries_cost_and_set_no_model(store: SessionStore) -> None:
    """Their usage is part of the session's, by model and by branch; the conversation's model is that of the replies."""
    with store.create(id="s") as session:
        first = session.append(user("a"))
        reply = {"role": "assistant", "content": "b"}
        session.append(reply, provider="p", model="m", usage={"input_tokens": 10, "output_tokens": 1})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None, usage=USAGE, provider="q", model="small"))
        context = session.build_context()
        assert (context.provider, context.model) == ("p", "m")
        note = BranchSummaryEntry(from_id=None, summary="N", usage={"output_tokens": 5}, provider="q", model="small")
        session.append(note, parent_id=first.id)
        assert session.build_context().model is None
        leaf = session.leaf_id
    assert [row.usage.total_tokens for row in store.usage("s")] == [11 + 107 + 5]
    by_model = {(row.provider, row.model): row.usage.total_tokens for row in store.usage("s", by="model")}
    assert by_model == {("p", "m"): 11, ("q", "small"): 112}
    by_branch = {row.leaf_id: row.usage.total_tokens for row in store.usage("s", by="branch")}
    assert sorted(by_branch.values()) == [5, 118]
    assert by_branch[leaf] == 5


def test_extension_data_may_say_what_was_paid(store: SessionStore) -> None:
    """For tools that count beside their messages. It counts for its model, is no answer, and names no model."""
    with store.create(id="s") as session:
        session.append({"role": "assistant", "content": "b"}, provider="p", model="m")
        paid = ExtensionDataEntry(ext_type="tool.usage", data={"id": 7}, usage=USAGE, provider="q", model="small")
        assert session.append(paid, id="n").usage == USAGE
        context = session.build_context()
        assert (context.provider, context.model) == ("p", "m")
        assert session.diff("n", None).a.usage.total_tokens == 107
    by_model = {(row.provider, row.model): row.usage.total_tokens for row in store.usage("s", by="model")}
    assert by_model == {("p", "m"): 0, ("q", "small"): 107}
    assert [row.usage.total_tokens for row in store.usage("s", by="branch")] == [107]
    assert store.info("s").usage.total_tokens == 107


def test_message_for_nobody_is_not_found(store: SessionStore) -> None:
    """A search would show it to the user. It is counted, and is nobody's first message in a list."""
    with store.create(id="s") as session:
        session.append(user("hidden needle"), visible_to="nobody")
        session.append(user("shown"))
    assert list(store.search("needle")) == []
    assert [hit.snippet for hit in store.search("shown")] == ["shown"]
    assert (store.info("s").messages, store.info("s").first_user_message) == (2, "shown")


def test_planned_summaries_take_their_cost(session: Session) -> None:
    """`apply_compaction` and `apply_branch_summary` store what the summary cost."""
    from convtree import plan_branch, plan_compaction

    session.append_many([user("one " * 50), {"role": "assistant", "content": "two " * 50}, user("three")])
    plan = plan_compaction(session, keep_tokens=5)
    assert plan is not None
    done = session.apply_compaction(plan, "S", usage=USAGE, provider="q", model="small")
    assert (done.usage, done.provider, done.model) == (USAGE, "q", "small")
    root = session.path()[0].id
    leaving = plan_branch(session, root)
    assert leaving is not None
    note = session.apply_branch_summary(leaving, "N", root, usage=USAGE, provider="q", model="small")
    assert (note.usage, note.provider, note.model) == (USAGE, "q", "small")
    assert session.build_context().model is None


CALLS: dict[str, dict[str, Any]] = {
    "openai-chat": {
        "role": "assistant",
        "content": "Let me look",
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    },
    "anthropic": {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Let me look"},
            {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
        ],
    },
}


@pytest.mark.parametrize("shape", ["openai-chat", "openai-responses", "anthropic", "gemini"])
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_calls_of_an_interrupted_reply_are_answered(session: Session, shape: Any, call: dict[str, Any]) -> None:
    """They are not open; the user goes on, and a request has the call with a placeholder for its result."""
    session.append(user("a"))
    session.append(call, status="interrupted")
    session.append(user("stop, do this instead"))
    context = session.build_context()
    assert context.open_calls == ()
    assert call in context.messages
    request = str(context.to(shape))
    assert "Let me look" in request
    assert request.count("interrupted before this tool call returned") == 1
    assert "stop, do this instead" in request


def test_a_result_of_an_interrupted_reply_counts(session: Session) -> None:
    """A call that was answered before the reply was stopped keeps its result."""
    session.append(user("a"))
    session.append(CALLS["openai-chat"], status="interrupted")
    session.append({"role": "tool", "tool_call_id": "t1", "content": "found"})
    request = str(session.build_context().to("anthropic"))
    assert "found" in request
    assert "interrupted" not in request


def test_calls_of_other_replies_stay_open(session: Session) -> None:
    """Only the reply that says so is interrupted."""
    session.append(user("a"))
    session.append(CALLS["openai-chat"], id="c1", status="interrupted")
    session.append(user("b"))
    other = dict(CALLS["openai-chat"])
    other["tool_calls"] = [{"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    session.append(other, id="c2")
    context = session.build_context()
    assert [(call.id, call.entry_id) for call in context.open_calls] == [("t2", "c2")]
    with pytest.raises(OpenCalls) as caught:
        context.to("anthropic", open_calls="raise")
    assert [call.entry_id for call in caught.value.calls] == ["c2"]


@pytest.mark.parametrize("status", ["stopped", "", 1])
def test_an_unknown_status_is_refused(session: Session, status: Any) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidMessage, match="status"):
        session.append(user("a"), status=status)
    assert session.path() == []
