"""A program that keeps one conversation: every call of a session, with the type that a user sees."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_type

import convtree
from convtree import Entry, Mark, MessageEntry, Request, Session


def read_and_write(path: Path) -> None:
    metadata: Mapping[str, Any] = {"ticket": 7}
    with Session.open(
        path, mode="x", durability="process", on_stale="branch", name="Trip", cwd="/home/me", metadata=metadata
    ) as session:
        assert_type(session, Session)
        question = session.append({"role": "user", "content": "Where shall we go?"}, id="q1", visible_to="all")
        assert_type(question, MessageEntry)
        assert_type(question.text, str)
        assert_type(question.role, str | None)
        assert_type(question.to_dict(), dict[str, Any])
        assert_type(question.message, dict[str, Any])
        usage: dict[str, Any] = {"input_tokens": 5, "output_tokens": 2}
        reply = session.append(
            {"role": "assistant", "content": "Rome?"}, provider="anthropic", model="claude", usage=usage, pinned=False
        )
        other = session.append({"role": "assistant", "content": "Oslo?"}, reply_to=question.id, shape="anthropic")
        assert_type(session.append_many([{"role": "user", "content": "Why?"}], model=None), list[Entry])
        assert_type(session.set_system("You plan trips."), MessageEntry)
        told = convtree.MessageEntry(message={"role": "assistant", "content": "Bern?"})
        assert_type(session.append(told, reply_to=question.id, label="third", move_leaf=False), MessageEntry)
        session.append_many([told], reply_to=other.id, replaces=other.id, label="fourth", status="interrupted")
        change = convtree.ModelChangeEntry(provider="openai", model="gpt", settings={"effort": "low"})
        assert_type(session.append(change), convtree.ModelChangeEntry)
        state = convtree.ExtensionDataEntry(ext_type="my.state", data={"step": 1})
        assert_type(session.append(state, parent_id=None), convtree.ExtensionDataEntry)
        assert_type(session.branch(reply.id), convtree.BranchSummaryEntry | None)
        session.branch(other.id, summary="They talked of Rome.", details={"by": "hand"})
        session.label(reply.id, "the warm one")
        session.rename("A trip")
        session.archive()
        session.archive(False)
        session.update_metadata(ticket=8, done=None)
        assert_type(session.leaf_id, str | None)
        assert_type(session.labels, dict[str, str])
        assert_type(session.metadata, dict[str, Any])
        assert_type(session.header, convtree.Header)
        assert_type(session.findings, tuple[convtree.Finding, ...])
        assert_type((session.id, session.name, session.archived, session.location), tuple[str, str | None, bool, str])
        look(session, question.id)


def look(session: Session, entry_id: str) -> None:
    """Reads the tree."""
    context = session.build_context(leaf=entry_id, render=convtree.default_render, allow_gaps=True)
    assert_type(context, convtree.Context)
    assert_type(context.entries, list[Entry])
    assert_type((context.provider, context.model), tuple[str | None, str | None])
    assert_type(context.open_calls, tuple[convtree.OpenCall, ...])
    assert_type(context.gaps, tuple[convtree.Gap, ...])
    assert_type(context.to("openai-chat"), Request)
    assert_type(context.count_tokens(), int)
    roles = [str(message["role"]) for message in context.messages]
    assert_type(roles, list[str])
    assert_type(session.entry(entry_id), Entry)
    assert_type(session.path(), list[Entry])
    assert_type(session.path(entry_id, last=2), list[Entry])
    assert_type(session.path(last=2, type=MessageEntry), list[MessageEntry])
    assert_type(next(session.walk_up(entry_id)), Entry)
    assert_type(list(session.walk_up(type=convtree.CompactionEntry)), list[convtree.CompactionEntry])
    assert_type(session.children(None), list[Entry])
    assert_type(session.siblings(entry_id), list[MessageEntry])
    assert_type(session.leaves(), list[Entry])
    assert_type(session.tip(entry_id), str)
    assert_type(session.visible_to(entry_id), convtree.Visibility)
    assert_type(session.common_ancestor(entry_id, None), str | None)
    assert_type(session.diff(entry_id).a.entries, list[Entry])
    assert_type(session.extension_data("my.state"), list[convtree.ExtensionDataEntry])
    step: int = session.state("my.state", {"step": 0})["step"]
    assert step >= 0
    assert_type(session.refresh(), list[Entry])
    assert_type(session.outline().leaf, int)
    assert_type(next(session.records(reverse=True)), tuple[int, Entry | Mark])
    view = session.view(last=20)
    assert_type(view, convtree.View)
    assert_type(view[-1], convtree.ViewEntry)
    assert_type([f"{each.number}/{each.of}" for each in view], list[str])
    assert_type(view[-1].next, str | None)
    assert_type(view.to("assistant-ui"), dict[str, Any])
    for number, record in session.records():
        assert_type((number, record), tuple[int, Entry | Mark])
    news: Iterator[Entry | Mark] = session.follow(timeout_s=0)
    for record in news:
        print(describe(record))


def describe(record: Entry | Mark) -> str:
    """Tells the kinds of records apart, as a user interface does."""
    match record:
        case MessageEntry(message=message):
            return str(message.get("role"))
        case convtree.CompactionEntry() | convtree.BranchSummaryEntry():
            return record.summary
        case convtree.ExtensionDataEntry(ext_type=name):
            return name
        case convtree.LabelMark(target_id=target, label=label):
            return f"{target}: {label}"
        case convtree.LeafMark() | convtree.SessionInfoMark() | convtree.OpaqueMark() | convtree.OpaqueEntry():
            return record.type
        case _:
            return record.id


def shorten(session: Session) -> None:
    """Summarises the older part of a session, in one call and in two."""

    def summarize(plan: convtree.CompactionPlan) -> str:
        assert_type(plan.previous_summary, str | None)
        return f"{len(plan.messages)} messages"

    def count(message: Any) -> int:
        return len(str(message))

    def retell(plan: convtree.BranchPlan) -> str:
        return f"{len(plan.entries)} entries"

    assert_type(session.compact(summarize, keep_tokens=10, count_tokens=count), convtree.CompactionEntry | None)
    plan = convtree.plan_compaction(session, keep_tokens=1)
    if plan is not None:
        assert_type(session.apply_compaction(plan, summarize(plan)), convtree.CompactionEntry)
    assert_type(session.branch(None, summarize=retell), convtree.BranchSummaryEntry | None)
    assert_type(convtree.plan_branch(session, None), convtree.BranchPlan | None)


def ask_again(path: Path) -> str | None:
    """Deals with errors by class and by field."""
    try:
        with Session.open(path, mode="r+", strict=True, exclusive=True, lock_timeout_s=1.0) as session:
            return session.append({"role": "user", "content": "And then?"}).id
    except convtree.StaleLeaf as error:
        assert_type(error.actual, str | None)
        return error.actual
    except convtree.BrokenPath as error:
        assert_type((error.missing, error.offset), tuple[str | None, int])
    except (convtree.SessionNotFound, convtree.SessionLocked, convtree.CorruptLog):
        return None
    except convtree.ConvtreeError as error:
        print(error)
    return None


def main(folder: Path) -> None:
    """Runs it all."""
    read_and_write(folder / "trip.jsonl")
    assert ask_again(folder / "trip.jsonl") is not None
    assert ask_again(folder / "nothing.jsonl") is None
    hide = convtree.Redactor(email=True)
    with Session.memory(redact=hide) as session, Session.memory(redact=convtree.redact, name="Other") as other:
        for number in range(8):
            session.append({"role": "user", "content": f"Question {number} of me@example.org"})
            session.append({"role": "assistant", "content": f"Answer {number}"})
        assert_type(other.extend(record for _, record in session.records()), int)
        shorten(session)
        with other.fork(folder / "fork.jsonl") as fork:
            assert_type(fork, Session)
    assert hide.counts["email"] == 8
