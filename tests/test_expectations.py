"""Compare-and-set and calls with an id: what a caller expects of the log, whatever the session has seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import assistant, contents, ids, log_of, mark, node, system, user

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    IdConflict,
    InvalidMessage,
    LeafUncertain,
    MessageEntry,
    ModelChangeEntry,
    Session,
    SessionChanged,
    StaleLeaf,
    aio,
    open_store,
)
from convtree._session.compaction import plan_branch, plan_compaction
from convtree.repair import repair


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log is, or will be."""
    return tmp_path / "log.jsonl"


@pytest.fixture
def session(path: Path) -> Iterator[Session]:
    """A session with two questions and two answers."""
    with Session.open(path, durability="process") as session:
        session.append_many([user("q1"), assistant("a1"), user("q2"), assistant("a2")])
        yield session


@pytest.fixture
def other(path: Path, session: Session) -> Iterator[Session]:  # noqa: ARG001  # begun before
    """Another session on the same log."""
    with Session.open(path, durability="process") as other:
        yield other


def never(_: Any) -> str:
    """Fails the test: no model may be asked."""
    pytest.fail("a model was asked")


# --- what is refused before the log is looked at ----------------------------------------------------------------------


def test_an_expectation_goes_with_neither_a_policy_nor_a_reply(session: Session) -> None:
    """Both say what to do if something happened meanwhile; with an expectation, the call is refused."""
    before = list(session.records())
    each: list[dict[str, Any]] = [{"expect_leaf": session.leaf_id}, {"expect_revision": session.revision}]
    for wanted in each:
        for policy in ("raise", "branch", "rebase"):
            with pytest.raises(ValueError, match="on_stale"):
                session.append(user("x"), on_stale=policy, **wanted)
            with pytest.raises(ValueError, match="on_stale"):
                session.append_many([user("x")], on_stale=policy, **wanted)
            with pytest.raises(ValueError, match="on_stale"):
                session.set_system("x", on_stale=policy, **wanted)
        with pytest.raises(ValueError, match="reply_to"):
            session.append(user("x"), reply_to=session.leaf_id, **wanted)
        with pytest.raises(ValueError, match="reply_to"):
            session.append_many([user("x")], reply_to=session.leaf_id, **wanted)
    assert list(session.records()) == before


@pytest.mark.parametrize("wrong", [0, True, b"x", ["x"], {"id": "x"}, Path("x")])
def test_an_expectation_is_an_id_an_entry_or_none(session: Session, wrong: Any) -> None:
    """Anything else raises TypeError that names the argument."""
    calls: list[Callable[..., Any]] = [
        lambda **wanted: session.append(user("x"), **wanted),
        lambda **wanted: session.append_many([user("x")], **wanted),
        lambda **wanted: session.set_system("x", **wanted),
        lambda **wanted: session.branch(None, **wanted),
        lambda **wanted: session.compact(never, keep_tokens=0, **wanted),
    ]
    for call in calls:
        for name in ("expect_leaf", "expect_revision"):
            with pytest.raises(TypeError, match=name):
                call(**{name: wrong})


def test_an_id_is_checked_before_a_model_is_asked(session: Session) -> None:
    """The error names it, and nothing is written."""
    before = list(session.records())
    leaf: Any = session.leaf_id
    for id in ("", "../x", "é", 5):
        bad: dict[str, Any] = {"id": id}
        calls: list[Callable[..., Any]] = [
            lambda bad=bad: session.branch(None, **bad),
            lambda bad=bad: session.branch(None, summary="S", **bad),
            lambda bad=bad: session.branch(None, summarize=never, **bad),
            lambda bad=bad: session.compact(never, keep_tokens=0, **bad),
            lambda bad=bad: session.label(leaf, "L", **bad),
            lambda bad=bad: session.rename("N", **bad),
            lambda bad=bad: session.archive(**bad),
            lambda bad=bad: session.hold(**bad),
            lambda bad=bad: session.set_directories(cwd="/x", **bad),
        ]
        for call in calls:
            with pytest.raises((InvalidMessage, TypeError), match=r"^id: "):
                call()
    assert list(session.records()) == before


# --- the leaf ---------------------------------------------------------------------------------------------------------


def test_a_note_of_another_session_is_noticed(session: Session, other: Session) -> None:
    """A plain append continues below a note; one that expects the leaf above it is refused."""
    leaf = session.leaf_id
    note = other.append(ModelChangeEntry(provider=None, model="m"))
    with pytest.raises(StaleLeaf, match="expected the leaf"):
        session.append(user("q3"), expect_leaf=leaf)
    assert session.append(user("q3"), expect_leaf=note).parent_id == note.id


@pytest.mark.parametrize("policy", ["raise", "branch", "rebase"])
def test_the_policy_of_the_session_does_not_count(path: Path, session: Session, policy: Any) -> None:
    """With an expectation the log's leaf is continued, although this session has seen an older one."""
    with Session.open(path, on_stale=policy) as other:
        newest = session.append(user("q3"))
        with pytest.raises(StaleLeaf):
            other.append(assistant("x"), expect_leaf=newest.parent_id)
        assert other.append(assistant("a3"), expect_leaf=newest).parent_id == newest.id
        newest = session.append(user("q4"), on_stale="rebase")
        plan = plan_compaction(session, keep_tokens=0)
        assert plan is not None
        made = other.apply_compaction(plan, "S", expect_leaf=newest)
        assert (made.parent_id, other.leaf_id) == (newest.id, made.id)


def test_a_parent_and_an_expected_leaf(session: Session) -> None:
    """The message goes below the parent if the leaf is the expected one: a branch that nobody else took."""
    first, *_, last = session.path()
    with pytest.raises(StaleLeaf):
        session.append(user("edited"), parent_id=None, expect_leaf=first)
    entry = session.append(user("edited"), parent_id=None, expect_leaf=last)
    assert (entry.parent_id, session.leaf_id) == (None, entry.id)


def test_set_system_expects_a_leaf(session: Session, other: Session) -> None:
    """A text that is in effect already writes nothing and is noticed before the leaf is compared, like a retry."""
    leaf = session.leaf_id
    made = other.set_system("Be brief.", expect_leaf=leaf)
    assert (made.parent_id, made.message) == (leaf, system("Be brief."))
    assert session.set_system("Be brief.", expect_leaf=leaf).id == made.id
    with pytest.raises(StaleLeaf):
        session.set_system("Be kind.", expect_leaf=leaf)
    with pytest.raises(StaleLeaf):
        session.set_system("Be kind.", expect_revision=leaf)
    assert session.set_system("Be kind.", expect_revision=made).replaces == made.id


def test_an_uncertain_leaf_is_not_compared(path: Path) -> None:
    """Damage behind the line that set it may hide a move: LeafUncertain, whatever is expected."""
    path.write_bytes(log_of(node("a", None), node("b", "a")) + b"{}\n")
    with Session.open(path) as session:
        for call in (
            lambda: session.append(user("x"), parent_id="a", expect_leaf="b"),
            lambda: session.branch("a", expect_leaf="b"),
            lambda: session.compact(never, keep_tokens=0, expect_leaf="b"),
        ):
            with pytest.raises(LeafUncertain):
                call()
        session.branch("b", expect_revision="b", id="settled")
        assert session.append(user("x"), expect_leaf="b").parent_id == "b"


def test_what_was_cut_off_is_completed(session: Session, other: Session) -> None:
    """Some items are stored where the call would put them: the leaf may be the last of them, and no other entry."""
    first, *_, last = session.path()
    items = [MessageEntry(id=f"n{number}", message=user(f"n{number}")) for number in range(4)]
    at_leaf: dict[str, Any] = {"expect_leaf": last}
    below: dict[str, Any] = {"parent_id": first, "expect_leaf": last, "expect_revision": last}
    session.append_many(items[:1], **at_leaf)
    assert [each.parent_id for each in other.append_many(items[:2], **at_leaf)] == [last.id, "n0"]
    with pytest.raises(StaleLeaf):
        other.append_many(items[1:3], **at_leaf)  # n1 is not below the expected leaf
    with pytest.raises(StaleLeaf):
        other.append_many(items[:3], **below)
    other.append(user("meanwhile"))
    with pytest.raises(StaleLeaf):
        other.append_many(items[:3], **at_leaf)
    assert other.append_many(items[:2], **at_leaf) == session.append_many(items[:2], **at_leaf)

    session.branch(last)
    session.branch(None, id="revision")
    below["expect_leaf"], below["expect_revision"] = None, "revision"
    session.append_many([MessageEntry(id="m0", message=user("m0"))], **below)
    more = [MessageEntry(id=f"m{number}", message=user(f"m{number}")) for number in range(2)]
    assert [each.parent_id for each in other.append_many(more, **below)] == [first.id, "m0"]
    with pytest.raises(StaleLeaf):
        session.append_many([*more, user("x")], parent_id="m1", expect_leaf="m0")


def test_a_revision_alone_lets_a_cut_off_call_go_on(session: Session) -> None:
    """The last record may be the last item that is stored already."""
    revision = session.revision
    items = [MessageEntry(id=f"n{number}", message=user(f"n{number}")) for number in range(2)]
    session.append_many(items[:1], expect_revision=revision)
    assert [each.parent_id for each in session.append_many(items, expect_revision=revision)] == [revision, "n0"]


# --- the revision -----------------------------------------------------------------------------------------------------


def test_the_revision_is_the_last_record_that_was_seen(session: Session, other: Session, path: Path) -> None:
    """Own records count at once if they follow what was seen, those of others after a refresh."""
    assert session.revision == other.revision == session.leaf_id
    session.label(session.path()[0], "L", id="m1")
    assert (session.revision, other.revision == session.leaf_id) == ("m1", True)
    other.rename("N", id="m2")
    assert other.revision == other.leaf_id  # the label is not seen
    session.append(user("x"), id="e1", expect_revision="m2")
    assert session.revision == "m1"
    for each in (session, other):
        each.refresh()
        assert each.revision == "e1"
    with Session.open(path, mode="r") as reader:
        assert reader.revision == "e1"


def test_an_entry_that_was_put_back_is_the_last_record(path: Path) -> None:
    """It has its old place in the tree, and its line at the end of the log: a context can be another one since."""
    with Session.open(path) as session:
        session.append_many([user(text) for text in ("one", "two", "three")])
        lost = session.path()[1]
    path.write_bytes(path.read_bytes().replace(b"two", b"Two"))
    assert ids_of_rejoined(path) == [lost.id]
    with Session.open(path) as session:
        last = session.revision
        assert last == session.leaf_id
        session.extend([lost])
        assert session.revision == lost.id
        with pytest.raises(StaleLeaf, match="expected the revision"):
            session.append(user("four"), expect_revision=last)
        assert session.append(user("four"), expect_revision=lost).id == session.revision


def ids_of_rejoined(path: Path) -> list[str | None]:
    """Repairs a log, keeping the places of lost entries; returns their ids."""
    return [each.entry_id for each in repair(path, dry_run=False, rejoin=True).rejoined]


def test_a_damaged_last_record_has_no_revision(path: Path) -> None:
    """The line was damaged after it was read."""
    path.write_bytes(log_of(node("a", None), mark("m", "session_info", name="N")))
    with Session.open(path) as session:
        path.write_bytes(path.read_bytes().replace(b'"m"', b'"m,'))
        with pytest.raises(BrokenPath):
            _ = session.revision


def test_records_and_entries_stand_for_their_ids(session: Session) -> None:
    """A mark is a record, too: `follow` yields it."""
    session.rename("N")
    (*_, (_, name)) = session.records()
    leaf = session.path()[-1]
    assert session.append(user("x"), expect_leaf=leaf, expect_revision=name).parent_id == leaf.id


# --- entries in place of ids ------------------------------------------------------------------------------------------


def test_an_entry_is_taken_wherever_an_id_is(session: Session, tmp_path: Path) -> None:
    """With the same result."""
    first, answer, _, last = session.path()
    assert (session.entry(first), session.path(first)) == (first, [first])
    assert session.children(first) == [answer]
    assert session.siblings(first) == [first]
    assert session.tip(first) == last.id
    assert session.common_ancestor(answer, last) == answer.id
    assert session.diff(answer, first).ancestor_id == first.id
    assert contents(session, leaf=answer) == ["q1", "a1"]
    assert session.extension_data(leaf=first) == []
    assert session.state("x.y", 5, leaf=first) == 5
    with session.fork(tmp_path / "fork.jsonl", answer) as fork:
        assert fork.leaf_id == answer.id
    edited = session.append(user("q2b"), parent_id=answer)
    reply = session.append(assistant("a2b"), reply_to=edited, replaces=first)
    assert (edited.parent_id, reply.reply_to, reply.replaces) == (answer.id, edited.id, first.id)
    again, other = session.append_many([user("q1b"), user("q1c")], parent_id=first, replaces=first)
    assert (again.parent_id, again.replaces, other.parent_id) == (first.id, first.id, again.id)  # type: ignore[attr-defined]
    assert session.append_many([assistant("a")], reply_to=other)[0].reply_to == other.id  # type: ignore[attr-defined]
    session.label(first, "L")
    session.branch(answer)
    assert (session.labels, session.leaf_id) == ({first.id: "L"}, answer.id)
    made = session.branch(first, summary="S")
    assert made is not None
    assert (made.parent_id, made.from_id) == (first.id, answer.id)
    session.branch(last)
    made = session.branch(first, summarize=lambda _: "T")
    assert made is not None
    assert (made.parent_id, made.from_id) == (first.id, last.id)


# --- moves ------------------------------------------------------------------------------------------------------------


def test_a_move_that_is_repeated(session: Session, other: Session) -> None:
    """A retry writes nothing and leaves the leaf where others have moved it; where it is, the session has seen it."""
    first, *_, last = session.path()
    session.branch(first, id="move")
    other.branch(first, id="move", expect_leaf=last)
    assert other.leaf_id == first.id
    newest = session.append(user("x"))
    other.branch(first, id="move", expect_leaf=last)
    assert other.leaf_id == first.id
    with pytest.raises(StaleLeaf):
        other.append(user("y"))
    for wrong in (last, None):
        with pytest.raises(IdConflict):
            session.branch(wrong, id="move")
    with pytest.raises(IdConflict):
        session.branch(first, id=newest.id)


def test_a_move_to_the_leaf_is_recorded_for_its_retry(session: Session, other: Session) -> None:
    """So a retry does not undo what somebody did in between. Without an id, nothing is written."""
    first, *_, last = session.path()
    count = len(list(session.records()))
    session.branch(last)
    assert len(list(session.records())) == count
    session.branch(last, id="move")
    assert [record.id for _, record in session.records(count)] == ["move"]
    other.branch(first)
    session.branch(last, id="move")
    session.refresh()
    assert session.leaf_id == first.id


def test_marks_that_are_repeated(session: Session, other: Session) -> None:
    """A retry does not undo what was changed since."""
    first = session.path()[0]

    def change(session: Session) -> None:
        session.label(first, "L", id="m1")
        session.rename("N", id="m2")
        session.archive(id="m3")
        session.hold(id="m4")
        session.set_directories(cwd="/x", id="m5")

    change(session)
    assert (session.labels, session.name, session.archived, session.held, session.cwd) == (
        {first.id: "L"},
        "N",
        True,
        True,
        "/x",
    )
    session.label(first, None)
    session.rename(None)
    session.archive(False)
    session.hold(False)
    session.set_directories(cwd=None)
    count = len(list(session.records()))
    change(other)
    assert (other.labels, other.name, other.archived, other.held, other.cwd) == ({}, None, False, False, None)
    assert len(list(other.records())) == count
    with pytest.raises(IdConflict):
        other.rename("M", id="m2")
    with pytest.raises(IdConflict):
        other.rename("N", id="m1")


# --- summaries --------------------------------------------------------------------------------------------------------


def test_no_model_is_asked_for_what_would_be_refused(session: Session, other: Session) -> None:
    """A log that is not as expected is noticed before `summarize` is called, and again when the summary is written."""
    leaf, newest = session.leaf_id, other.append(user("q3"))
    each: list[dict[str, Any]] = [{"expect_leaf": leaf}, {"expect_revision": leaf}]
    for wanted in each:
        with pytest.raises(StaleLeaf):
            session.compact(never, keep_tokens=0, **wanted)
        with pytest.raises(StaleLeaf):
            session.branch(None, summarize=never, **wanted)

    def slowly(plan: Any) -> str:
        assert plan.leaf_id == newest.id  # the caller knows that leaf, so the session does
        other.rename("meanwhile")
        return "S"

    wanted = {"expect_leaf": newest.id, "expect_revision": newest.id}
    with pytest.raises(StaleLeaf):
        session.compact(slowly, keep_tokens=0, **wanted)
    assert session.leaf_id == newest.id
    made = session.compact(slowly, keep_tokens=0, expect_leaf=newest)
    assert made is not None
    assert made.parent_id == newest.id
    with pytest.raises(StaleLeaf):
        session.branch(None, summarize=lambda _: other.rename("N") or "S", expect_revision=made)


def test_a_branch_summary_names_the_leaf_that_is_left(session: Session, other: Session) -> None:
    """With an expectation, that is the log's leaf. A retry by any session finds what the first try has stored."""
    first, *_, last = session.path()
    newest = other.append(user("q3"))
    made = session.branch(first, summary="S", id="s1", expect_leaf=newest)
    assert made is not None
    assert (made.from_id, made.parent_id, session.leaf_id) == (newest.id, first.id, "s1")
    assert other.branch(first, summary="S", id="s1", expect_leaf=newest) == made
    other.branch(last)
    assert other.branch(first, summary="S", id="s1") == made
    assert other.leaf_id == last.id
    for wrong in ({"summary": "T"}, {"summary": "S", "details": 1}):
        with pytest.raises(IdConflict):
            other.branch(first, id="s1", **wrong)
    with pytest.raises(IdConflict):
        other.branch(first, summary="S", id=last.id)
    other.refresh()
    revised = other.branch(first, summary="T", expect_revision=other.revision)
    assert revised is not None
    assert revised.from_id == last.id


def test_a_summary_that_is_repeated_asks_no_model(session: Session, other: Session) -> None:
    """The summary that is stored is returned, whatever its words; another kind of record is a conflict."""
    first = session.path()[0]
    made = session.compact(lambda _: "S", keep_tokens=0, id="c1")
    assert other.compact(never, keep_tokens=0, id="c1", expect_leaf="long ago") == made
    assert other.leaf_id == "c1"
    left = session.branch(first, summarize=lambda _: "T", details=(1, 2), id="b1")
    assert other.branch(first, summarize=never, details=[1, 2], id="b1", expect_revision="long ago") == left
    for wrong in (first.id, "b1"):
        with pytest.raises(IdConflict):
            session.compact(never, keep_tokens=0, id=wrong)
    for wrong, details in ((first.id, None), ("c1", None), ("b1", None), ("b1", [1])):
        with pytest.raises(IdConflict):
            session.branch(first, summarize=never, details=details, id=wrong)


def test_a_move_that_needed_no_summary_is_repeated(session: Session, other: Session) -> None:
    """It left no messages, so it was a move; its retry is one, even if it would leave some now."""
    last = session.leaf_id
    assert session.branch(last, summarize=never, id="b1") is None
    other.append(user("q3"))
    assert session.branch(last, summarize=never, id="b1", expect_leaf=last) is None
    with pytest.raises(IdConflict):
        session.branch(None, summarize=never, id="b1")


def test_two_tries_at_the_same_time_ask_two_models(session: Session, other: Session) -> None:
    """The second summary is not written: the first one is returned, with its words."""
    first = session.path()[0]

    def late(_: Any) -> str:
        other.compact(lambda _: "faster", keep_tokens=0, id="c1")
        return "late"

    made = session.compact(late, keep_tokens=0, id="c1", expect_leaf=session.leaf_id)
    assert isinstance(made, CompactionEntry)
    assert (made.summary, session.leaf_id) == ("faster", "c1")
    assert [entry.id for entry in session.leaves()] == ["c1"]

    session.append(user("q3"))
    other.refresh()

    def late_branch(_: Any) -> str:
        other.branch(first, summarize=lambda _: "faster", id="b1")
        return "late"

    left = session.branch(first, summarize=late_branch, id="b1")
    assert isinstance(left, BranchSummaryEntry)
    assert left.summary == "faster"

    def conflict(_: Any) -> str:
        other.refresh()
        other.append(user("taken"), id="c2")
        return "S"

    session.append(user("q4"))
    with pytest.raises(IdConflict):
        session.compact(conflict, keep_tokens=0, id="c2")


def test_a_plan_is_applied_once(session: Session, other: Session) -> None:
    """The same plan and summary with the same id are a retry; another summary is a conflict."""
    first, *_, last = session.path()
    plan = plan_compaction(session, keep_tokens=0)
    assert plan is not None
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S", id="c1", expect_leaf=first)
    made = session.apply_compaction(plan, "S", id="c1", expect_leaf=last)
    assert other.apply_compaction(plan, "S", id="c1", expect_leaf=last) == made
    with pytest.raises(IdConflict):
        other.apply_compaction(plan, "T", id="c1")

    session.append(user("q3"))
    leaving = plan_branch(session, first)
    assert leaving is not None
    with pytest.raises(StaleLeaf):
        session.apply_branch_summary(leaving, "S", first, id="b1", expect_revision=last)
    left = session.apply_branch_summary(leaving, "S", first, id="b1", expect_leaf=leaving.leaf_id)
    assert other.apply_branch_summary(leaving, "S", first, id="b1") == left
    with pytest.raises(IdConflict):
        other.apply_branch_summary(leaving, "S", first, details=1, id="b1")


def test_the_async_calls_are_the_same() -> None:
    """Coroutine functions are not called for a retry or for a log that is not as expected."""

    async def never(_: Any) -> str:
        pytest.fail("a model was asked")

    async def summary(_: Any) -> str:
        return "S"

    async def main() -> None:
        async with aio.Session.memory() as session:
            first, second = await session.append_many([user("q1"), assistant("a1")], expect_leaf=None)
            assert await session.revision() == second.id
            with pytest.raises(StaleLeaf):
                await session.compact(never, keep_tokens=0, expect_leaf=first)
            made = await session.compact(summary, keep_tokens=0, expect_leaf=second, id="c1")
            assert await session.compact(never, keep_tokens=0, expect_leaf=second, id="c1") == made
            with pytest.raises(StaleLeaf):
                await session.branch(first, summarize=never, expect_revision=second)
            with pytest.raises(StaleLeaf):
                await session.branch(first, expect_revision=second)
            await session.append(user("q2"))
            left = await session.branch(first, summarize=summary, id="b1")
            assert await session.branch(first, summarize=never, id="b1") == left
            assert await session.branch("b1", summarize=never, id="b2", expect_leaf=left) is None
            await session.branch(second, id="b3", expect_leaf=left)
            await session.branch(second, id="b3", expect_leaf=left)
            assert session.leaf_id == second.id

    asyncio.run(main())


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_a_delete_of_an_uncertain_leaf(tmp_path: Path) -> None:
    """It may have been moved, so it is not the expected one. A log without a readable record has no stamp to hold."""
    with open_store(tmp_path) as store:
        for id, data in {"a": log_of(node("a", None)) + b"{}\n", "b": log_of() + b"{}\n"}.items():
            (tmp_path / f"{id}.jsonl").write_bytes(data)
        with pytest.raises(LeafUncertain):
            store.delete("a", expect_leaf="a")
        with pytest.raises(SessionChanged):
            store.delete("b", expect_revision=None)
        with pytest.raises(TypeError, match="expect_leaf"):
            store.erase("a", expect_leaf=5)  # type: ignore[arg-type]
        assert store.delete("a", expect_revision="a") == ["a"]
        assert store.delete("b") == ["b"]
        assert ids(store.list()) == []


def test_extend_expects_what_the_caller_has_seen(path: Path, session: Session) -> None:
    """The records are stored whole or not at all, and the leaf moves as they say."""
    with Session.open(path) as other:
        seen, revision = session.leaf_id, session.revision
        other.append({"role": "user", "content": "meanwhile"})
        records = [MessageEntry(id=f"new-{number}", parent_id=seen, message=user("x")) for number in range(3)]
        with pytest.raises(StaleLeaf):
            session.extend(records, expect_leaf=seen)
        with pytest.raises(StaleLeaf):
            session.extend(records, expect_revision=revision)
        session.refresh()
        assert session.extend(records, batch_size=1, expect_revision=session.revision) == 3
        assert (session.leaf_id, session.extend(records, expect_leaf="new-2")) == ("new-2", 0)
        assert session.extend([MessageEntry(id="aside", message=user("x"))], expect_leaf="new-2", move_leaf=False) == 1
        assert session.leaf_id == "new-2"
    lines = path.read_bytes().splitlines()
    assert [b'"type":"group"' in line for line in lines].count(True) >= 1
