"""Hiding, showing, pinning and replacing: what a context has, against a model of lists, and in cases by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from helpers import assistant, codes, contents, ids, log_of, mark, node, system, user
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import (
    BranchPlan,
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    CompactionPlan,
    EntryNotFound,
    InvalidMessage,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    ReadOnlySession,
    Session,
    StaleLeaf,
    VisibilityMark,
    plan_branch,
    plan_compaction,
)
from convtree._engine import save_points, snapshot
from convtree._engine.tree import COLUMN_TYPES
from convtree.repair import repair, verify

#: what a step of a random history does
KINDS = ("say", "say", "say", "hidden", "pinned", "replace", "compact", "note", "hide", "show", "pin", "unpin", "move")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99)), max_size=40)


def records(session: Session) -> int:
    return len(list(session.records()))


class Line(NamedTuple):
    """A line of the model's log: an entry, or a mark with a target."""

    id: str
    kind: str
    parent: str | None = None
    refers_to: str | None = None  # what is replaced, what is kept first, or the target


class Model:
    """A history as a list of lines, and the contexts that it gives, in the words of the format."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.leaf: str | None = None

    def at(self, id: str) -> int:
        return next(number for number, line in enumerate(self.lines) if line.id == id)

    def path(self, id: str | None) -> list[Line]:
        found: list[Line] = []
        while id is not None:
            found.insert(0, self.lines[self.at(id)])
            id = found[0].parent
        return found

    def marks(self, id: str, kinds: tuple[str, str], before: int) -> list[str]:
        return [line.kind for line in self.lines[:before] if line.refers_to == id and line.kind in kinds]

    def visible(self, entry: Line, before: int) -> bool:
        marks = self.marks(entry.id, ("hide", "show"), before)
        return marks[-1] == "show" if marks else entry.kind != "hidden"

    def is_pinned(self, entry: Line, before: int) -> bool:
        marks = self.marks(entry.id, ("pin", "unpin"), before)
        return marks[-1] == "pin" if marks else entry.kind == "pinned"

    def context(self, leaf: str | None) -> list[str]:
        """Returns the ids of the entries of a context."""
        path, now = self.path(leaf), len(self.lines)
        replaced = {entry.refers_to for entry in path if entry.kind == "replace"}
        shown = [
            entry for entry in path if entry.kind != "compact" and self.visible(entry, now) and entry.id not in replaced
        ]
        compactions = [entry for entry in path if entry.kind == "compact"]
        if not compactions:
            return [entry.id for entry in shown]
        last = compactions[-1]
        then = self.at(last.id)
        start = path.index(next(entry for entry in path if entry.id == (last.refers_to or last.id)))
        before = [
            entry.id
            for entry in shown
            if path.index(entry) < start
            and (
                (self.is_pinned(entry, then) and self.visible(entry, then))
                or "pin"
                in self.marks(entry.id, ("pin", "unpin"), now)[len(self.marks(entry.id, ("pin", "unpin"), then)) :]
            )
        ]
        summary = [] if last.id in replaced else [last.id]
        return [*before, *summary, *(entry.id for entry in shown if path.index(entry) >= start)]


class Both:
    """A session and its model, changed together."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.model = Model()

    def step(self, kind: str, first: int, second: int) -> None:
        model = self.model
        path = model.path(model.leaf)
        entries = [line for line in model.lines if line.kind not in ("hide", "show", "pin", "unpin")]
        if kind in ("say", "hidden", "pinned"):
            self._append(
                kind,
                MessageEntry(
                    message=user("x"),
                    visible_to="user" if kind == "hidden" else "all",
                    pinned=True if kind == "pinned" else None,
                ),
            )
        elif kind == "note":
            self._append(kind, BranchSummaryEntry(from_id=None, summary="S"))
        elif kind == "replace" and path:
            target = path[first % len(path)].id
            self._append(kind, MessageEntry(message=user("x"), replaces=target), target)
        elif kind == "compact":
            kept = path[first % len(path)].id if path and second % 4 else None
            self._append(kind, CompactionEntry(summary="S", first_kept_entry_id=kept), kept)
        elif kind == "move" and entries:
            model.leaf = entries[first % len(entries)].id
            self.session.branch(model.leaf)
        elif kind in ("hide", "show", "pin", "unpin"):
            targets = [line.id for line in entries if line.kind != "compact"]
            if targets:
                self._mark(kind, targets[first % len(targets)])

    def _append(self, kind: str, entry: Any, refers_to: str | None = None) -> None:
        added = self.session.append(entry)
        self.model.lines.append(Line(added.id, kind, self.model.leaf, refers_to))
        self.model.leaf = added.id

    def _mark(self, kind: str, target: str) -> None:
        model, before = self.model, self.model.context(self.model.leaf)
        calls: dict[str, Callable[[], bool]] = {
            "hide": lambda: self.session.hide(target),
            "show": lambda: self.session.show(target),
            "pin": lambda: self.session.pin(target),
            "unpin": lambda: self.session.pin(target, False),
        }
        entry, size, written = model.lines[model.at(target)], len(model.lines), records(self.session)
        was = model.visible(entry, size), model.is_pinned(entry, size)
        model.lines.append(Line(f"mark {size}", kind, None, target))
        after = model.context(model.leaf)
        if after == before and was == (model.visible(entry, size + 1), model.is_pinned(entry, size + 1)):
            model.lines.pop()
        assert calls[kind]() is (after != before)
        assert records(self.session) - written == len(model.lines) - size

    def check(self, session: Session) -> None:
        """Compares the contexts at every entry with those of the model."""
        for line in self.model.lines:
            if line.kind not in ("hide", "show", "pin", "unpin"):
                assert ids(session.build_context(leaf=line.id).entries) == self.model.context(line.id)


def eager() -> AbstractContextManager[Any]:
    """Makes every close of a writer save a snapshot."""
    return patch.multiple(save_points, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0)


@given(STEPS)
@settings(max_examples=300)
def test_contexts_match_the_model(steps: list[tuple[str, int, int]]) -> None:
    """For random trees with compactions, replacements and marks, at every entry; and each call says what it changed."""
    both = Both(Session.memory())
    for step in steps:
        both.step(*step)
    both.check(both.session)


@given(STEPS, STEPS)
@settings(max_examples=60, deadline=None)
def test_contexts_match_the_model_after_reopening(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    """With a snapshot of the first part, after more lines, and by reading every line."""
    with TemporaryDirectory() as folder, eager():
        path = Path(folder, "log.jsonl")
        both = Both(Session.open(path, durability="process"))
        for step in before:
            both.step(*step)
        both.session.close()
        with Session.open(path, durability="process") as both.session:
            both.check(both.session)
            for step in after:
                both.step(*step)
            both.check(both.session)
        if path.exists():
            for _ in range(2):
                with Session.open(path, mode="r") as again:
                    both.check(again)
                path.with_name("log.jsonl.index").unlink(missing_ok=True)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_a_fork_has_the_contexts_of_its_path(steps: list[tuple[str, int, int]]) -> None:
    """At every entry of the path, not only at its leaf: marks keep their places among the entries."""
    both = Both(Session.memory())
    for step in steps:
        both.step(*step)
    with TemporaryDirectory() as folder, both.session.fork(Path(folder, "fork.jsonl")) as fork:
        for entry in both.model.path(both.model.leaf):
            here, there = (each.build_context(leaf=entry.id) for each in (both.session, fork))
            assert there == here
        assert fork.findings == ()


def test_a_log_with_a_damaged_mark_is_not_forked(log_path: Path) -> None:
    """The fork would show what the mark hid, and would have no finding that says so."""
    data = log_of(node("a", None), mark("m1", "visibility", target_id="a", visible_to="user"), node("b", "a"))
    log_path.write_bytes(data.replace(b'"user","prev"', b'"usex","prev"'))
    fork_path = log_path.with_name("fork.jsonl")
    with Session.open(log_path, mode="r") as session, pytest.raises(BrokenPath, match="visibility mark"):
        session.fork(fork_path)
    assert not fork_path.exists()


# --- the calls ---


def test_a_mark_is_written_only_if_it_changes_something(session: Session) -> None:
    """An entry may be named by itself. No call moves the leaf."""
    first = session.append(user("a"))
    last = session.append(user("b"), visible_to="model", pinned=True)
    assert [session.hide(first), session.hide(first.id), session.hide(first, visible_to="user")] == [True, False, False]
    assert [session.show(first), session.show(first), session.pin(first, False)] == [True, False, False]
    assert [session.hide(last, visible_to="model"), session.pin(last)] == [False, False]
    assert records(session) == 4
    assert [session.hide(last, visible_to="nobody"), session.hide(last, visible_to="user")] == [True, False]
    assert (records(session), session.leaf_id, contents(session)) == (6, last.id, ["a"])
    assert ids(session.path()) == [first.id, last.id]


def test_a_call_says_whether_the_context_at_the_leaf_changed(session: Session) -> None:
    """A message of another branch is hidden there, and a pin has an effect with the next compaction."""
    first = session.append(user("a"))
    other = session.append(user("b"))
    session.append(user("c"), parent_id=first.id)
    assert [session.hide(other), session.pin(first), session.hide(first)] == [False, False, True]
    assert (contents(session, leaf=other.id), contents(session)) == ([], ["c"])
    session.branch(None)
    assert [session.show(first), contents(session)] == [False, []]


def test_who_sees_an_entry_now(session: Session) -> None:
    """What was appended, until a mark says something else; by id, label or entry, on every branch."""
    said, note = session.append(user("a")), session.append(user("b"), visible_to="model")
    (summary,) = session.append_many([BranchSummaryEntry(from_id=None, summary="S")])
    (named,) = session.append_many([ModelChangeEntry(provider="p", model="m")])
    session.label(said, "first")
    entries = [said, note, summary, named]
    assert [session.visible_to(each) for each in entries] == ["all", "model", "all", "all"]
    session.hide(said, visible_to="nobody")
    session.hide(summary)
    session.show(note.id)
    assert [session.visible_to(each) for each in entries] == ["nobody", "all", "user", "all"]
    assert (session.visible_to("first"), session.visible_to(said.id)) == ("nobody", "nobody")
    with pytest.raises(EntryNotFound):
        session.visible_to("gone")


def test_branch_summaries_can_be_hidden_and_pinned(session: Session) -> None:
    """Like messages."""
    (first, note) = session.append_many([user("a"), BranchSummaryEntry(from_id=None, summary="S")])
    assert [session.hide(note), contents(session), session.show(note), session.pin(note)] == [True, ["a"], True, False]
    session.append(CompactionEntry(summary="T", first_kept_entry_id=None))
    assert [entry.type for entry in session.build_context().entries] == ["branch_summary", "compaction"]
    assert [session.pin(note, False), session.hide(note)] == [False, True]
    assert session.pin(first)


@pytest.mark.parametrize("act", ["hide", "show", "pin"])
def test_what_cannot_be_hidden_is_refused(act: str, session: Session) -> None:
    """A compaction, a change of the model, an id that is not there; nothing is written."""
    session.append(user("a"))
    made = [
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None)),
        session.append(ModelChangeEntry(provider=None, model="m")),
    ]
    for entry in made:
        with pytest.raises(InvalidMessage, match=f"of the type '{entry.type}'; only a message or") as caught:
            getattr(session, act)(entry)
        assert caught.value.place == "target_id"
    with pytest.raises(EntryNotFound):
        getattr(session, act)("nowhere")
    for unknown in (5, None):
        with pytest.raises(TypeError, match="entry_id: expected a text or an Entry"):
            getattr(session, act)(unknown)
    assert records(session) == 3


def test_visible_to_is_checked(session: Session) -> None:
    """`hide` hides: "all" is what `show` is for."""
    entry = session.append(user("a"))
    with pytest.raises(ValueError, match="visible_to is one of 'user', 'model', 'nobody', not 'all'"):
        session.hide(entry, visible_to="all")  # type: ignore[arg-type]


def test_pinned_is_checked(session: Session) -> None:
    """Nothing but True and False says whether a message is pinned."""
    entry = session.append(user("a"))
    with pytest.raises(TypeError, match="pinned: expected True or False"):
        session.pin(entry, "no")  # type: ignore[arg-type]
    assert records(session) == 1


def test_an_imported_mark_needs_its_target(session: Session) -> None:
    """A message or a branch summary, which may come with it: a mark without effect would be damage."""
    session.append(user("a"), id="a")
    other = CompactionEntry(id="c", parent_id="a", summary="S", first_kept_entry_id=None)
    with pytest.raises(EntryNotFound):
        session.extend([VisibilityMark(id="m", target_id="gone", pinned=True)])
    for before in ([other], []):
        with pytest.raises(InvalidMessage, match="neither a message nor a branch summary"):
            session.extend([*before, VisibilityMark(id="m", target_id="c", pinned=True)])
        session.extend([other])
    new = [MessageEntry(id="b", parent_id="a", message=user("b")), LostEntry(id="l", parent_id="a")]
    marks = [VisibilityMark(id=f"m{target}", target_id=target, visible_to="user") for target in "abl"]
    assert session.extend([*new, *marks]) == 5
    assert (contents(session, leaf="b"), codes(session)) == ([], ["lost_entry"])


def test_a_reader_hides_nothing(log_path: Path) -> None:
    """The log is not touched."""
    with Session.open(log_path) as session:
        entry = session.append(user("a"))
    with Session.open(log_path, mode="r") as reader, pytest.raises(ReadOnlySession):
        reader.hide(entry)


def test_another_session_has_hidden_it_already(log_path: Path) -> None:
    """The mark is not written twice; the context of this session changes all the same."""
    with Session.open(log_path) as mine, Session.open(log_path) as theirs:
        entry = mine.append(user("a"))
        theirs.refresh()
        assert (theirs.hide(entry), mine.hide(entry)) == (True, True)
        assert (records(mine), contents(mine), mine.leaf_id) == (2, [], entry.id)


def test_marks_without_a_target_are_findings(log_path: Path) -> None:
    """A missing target, a mark, a compaction; such a mark has no effect, and a log of another writer may have it."""
    log_path.write_bytes(
        log_of(
            node("a", None),
            mark("m1", "visibility", target_id="b", visible_to="user"),
            mark("m2", "visibility", target_id="m1", pinned=True),
            node("c", "a", "compaction", summary="S", first_kept_entry_id="a"),
            mark("m3", "visibility", target_id="c", visible_to="nobody"),
            mark("m4", "visibility", target_id="a"),
            mark("m5", "visibility", target_id="a", visible_to="no one"),
            node("d", "c", "lost"),
            mark("m6", "visibility", target_id="d", visible_to="nobody"),
        )
    )
    with Session.open(log_path, mode="r") as session:
        found = [(finding.code, finding.line) for finding in session.findings if finding.code.startswith("bad")]
        assert found == [("bad_target", 3), ("bad_target", 4), ("bad_target", 6), ("bad_line", 8)]
        with pytest.raises(BrokenPath, match="visibility mark"):
            session.build_context(leaf="c")
        assert contents(session, leaf="c", allow_gaps=True)[1:] == ["a"]


@pytest.mark.parametrize("old", [b"visibility", b"visible_to", b"m1", b"user", b'"target_id":"a"', b"crc"])
def test_a_damaged_mark_makes_no_context_certain(old: bytes, log_path: Path) -> None:
    """What was hidden must not be sent because a line is damaged. A repair takes the mark out, and says so."""
    data = log_of(node("a", None), mark("m1", "visibility", target_id="a", visible_to="user"), node("b", "a"))
    at = data.index(old, data.index(b'{"id":"m1"'))
    log_path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with Session.open(log_path, mode="r") as session:
        assert codes(session) == ["bad_seal"]
        with pytest.raises(BrokenPath, match="visibility mark") as caught:
            session.build_context()
        assert caught.value.offset == session.findings[0].offset
        context = session.build_context(allow_gaps=True)
        assert [(gap.offset, gap.missing) for gap in context.gaps] == [(session.findings[0].offset, None)]
    assert [finding.code for finding in repair(log_path, dry_run=False).removed] == ["bad_seal"]
    with Session.open(log_path, mode="r") as session:
        assert contents(session) == ["a", "b"]


def test_an_import_checks_the_targets_of_marks(session: Session) -> None:
    """Those in the log, and those that it brings itself."""
    message = MessageEntry(id="a", message=user("a"))
    change = ModelChangeEntry(id="b", parent_id="a", provider=None, model="m")
    session.extend([message, change, VisibilityMark(id="m1", target_id="a", visible_to="user")])
    with pytest.raises(EntryNotFound):
        session.extend([VisibilityMark(id="m2", target_id="nope", pinned=True)])
    with pytest.raises(InvalidMessage, match="neither a message nor a branch summary"):
        session.extend([VisibilityMark(id="m2", target_id="b", pinned=True)])
    other = ModelChangeEntry(id="c", parent_id="b", provider=None, model="n")
    with pytest.raises(InvalidMessage, match="neither a message nor a branch summary"):
        session.extend([other, VisibilityMark(id="m3", target_id="c", visible_to="user")])
    assert [record.id for _, record in session.records()] == ["a", "b", "m1"]


# --- compactions ---


def test_before_the_kept_range_marks_hide_and_pin(session: Session) -> None:
    """Unpinning and showing do nothing there, except that showing undoes a later hiding."""
    kept, gone, hidden = session.append_many([user("kept"), user("gone"), user("hidden")])
    session.pin(kept)
    session.pin(hidden)
    session.hide(hidden)
    compaction = session.append(CompactionEntry(summary="S", first_kept_entry_id=None))

    def shown() -> list[str]:
        return [each.id for each in session.build_context().entries if each.id != compaction.id]

    assert shown() == [kept.id]
    assert (session.pin(kept, False), session.show(hidden), shown()) == (False, False, [kept.id])
    assert (session.hide(kept), shown(), session.show(kept), shown()) == (True, [], True, [kept.id])
    assert (session.pin(gone), shown(), session.pin(gone, False)) == (True, [kept.id, gone.id], False)
    assert (session.pin(hidden), shown()) == (True, [kept.id, gone.id, hidden.id])
    assert session.pin(hidden) is False
    session.append(CompactionEntry(summary="T", first_kept_entry_id=None))
    assert ids(session.build_context().entries)[:-1] == [hidden.id]


def test_the_next_summary_takes_in_what_was_unpinned(session: Session) -> None:
    """It stayed in the context until then, so no summary has it yet."""
    old, *_ = session.append_many([user("old"), user("2"), user("3"), user("4")])
    session.pin(old)
    session.compact(lambda _: "S", keep_tokens=1, count_tokens=one)
    assert (session.pin(old, False), contents(session)[0]) == (False, "old")
    assert plan_compaction(session, keep_tokens=1, count_tokens=one) is None
    session.append(user("5"))
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    assert [entry.text for entry in plan.entries if isinstance(entry, MessageEntry)] == ["old", "4"]
    session.apply_compaction(plan, "T")
    assert contents(session)[1:] == ["5"]


def test_a_pin_by_a_mark_counts_for_a_plan(session: Session) -> None:
    """What is pinned is not summarised, and its tokens stay."""
    session.append_many([user("1"), user("2")])
    pinned = session.append(user("3"))
    session.append(user("4"))
    session.pin(pinned)
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    assert (contents_of(plan), plan.tokens_kept) == (["1", "2"], 2)
    session.apply_compaction(plan, "S")
    assert [contents(session)[0], contents(session)[-1]] == ["3", "4"]


def contents_of(plan: CompactionPlan | BranchPlan) -> list[str]:
    return [message["content"] for message in plan.messages]


def one(_: Any) -> int:
    """Every message is one token."""
    return 1


ACTS: dict[str, Callable[[Session, list[str]], object]] = {
    "hidden": lambda session, those: session.hide(those[0]),
    "pinned": lambda session, those: session.pin(those[1]),
    "unpinned": lambda session, those: session.pin(those[2], False),
    "shown": lambda session, those: session.show(those[3]),
}


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("act", ACTS)
def test_a_summary_is_refused_if_what_it_stands_for_changed(act: str, grown: bool, session: Session) -> None:
    """A model has read something else; nothing is written."""
    those = ids(session.append_many([user(text) for text in "abcdef"]))
    session.pin(those[2])
    session.hide(those[3])
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    assert (contents_of(plan), plan.first_kept_entry_id) == (["a", "b", "e"], those[5])
    if grown:
        session.append(user("g"))
    ACTS[act](session, those)
    before = records(session)
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")
    assert records(session) == before


@pytest.mark.parametrize("grown", [False, True])
def test_a_summary_is_taken_if_something_else_changed(grown: bool, session: Session) -> None:
    """What is kept may be hidden or pinned meanwhile; a change that was undone is none."""
    a, b, c = session.append_many([user(text) for text in "abc"])
    session.hide(session.append(user("d"), parent_id=b.id))
    session.branch(c.id)
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    if grown:
        session.append(user("e"))
    session.hide(a)
    session.show(a)
    session.pin(c)
    session.apply_compaction(plan, "S")
    assert contents(session)[1:] == ["c", "e"][: 1 + grown]


def test_a_summary_is_refused_if_its_cut_was_hidden(session: Session) -> None:
    """The first kept message is not in the context any more."""
    *_, last = session.append_many([user(text) for text in "abc"])
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    session.hide(last)
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")


def test_a_summary_of_everything_is_taken_in_a_log_with_marks(session: Session) -> None:
    """It keeps nothing, so its cut is the end."""
    first, second = session.append_many([user("a"), user("b")])
    session.hide(first)
    plan = plan_compaction(session, keep_tokens=0)
    assert plan is not None
    session.apply_compaction(plan, "S")
    assert (contents_of(plan), len(contents(session))) == (["b"], 1)
    assert session.pin(second)


def test_a_summary_is_refused_if_a_result_was_hidden(session: Session) -> None:
    """Call and placeholder stay, so the entries are the same; the messages are not."""
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}],
    }
    session.append_many([user("a"), call])
    answer = session.append({"role": "tool", "tool_call_id": "c", "content": "42"})
    session.append(user("b"))
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    session.hide(answer)
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")
    again = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert again is not None
    assert contents_of(again)[-1] == "hidden"
    session.apply_compaction(again, "S")


def test_a_summary_is_refused_if_a_message_was_replaced(session: Session) -> None:
    """By one that came while the summary was written."""
    first, *_ = session.append_many([user(text) for text in "abc"])
    plan = plan_compaction(session, keep_tokens=1, count_tokens=one)
    assert plan is not None
    session.append(MessageEntry(message=user("A"), replaces=first.id))
    with pytest.raises(StaleLeaf):
        session.apply_compaction(plan, "S")


def test_the_summary_of_a_branch_is_refused_if_the_branch_changed(session: Session) -> None:
    """A mark on what comes before the branch changes nothing."""
    first, second, _ = session.append_many([user(text) for text in "abc"])
    plan = plan_branch(session, first.id)
    assert plan is not None
    session.hide(first)
    kept = session.apply_branch_summary(plan, "S", first.id)
    session.branch(plan.leaf_id)
    plan = plan_branch(session, None)
    assert plan is not None
    session.hide(second)
    with pytest.raises(StaleLeaf):
        session.apply_branch_summary(plan, "S", None)
    again = plan_branch(session, None)
    assert again is not None
    assert contents_of(again) == ["c"]
    assert session.apply_branch_summary(again, "S", None).parent_id is None
    assert kept.parent_id == first.id


# --- usage ---


def test_usage_is_not_counted_after_a_mark_above_it(session: Session) -> None:
    """The request had the message that is hidden now. An earlier reply without a later change still counts."""
    first = session.append(user("x" * 40))
    session.append(assistant("y" * 4), usage={"input_tokens": 100, "output_tokens": 1})
    between = session.append(user("z" * 40))
    session.append(assistant("y" * 4), usage={"input_tokens": 200, "output_tokens": 1})
    assert session.build_context().count_tokens() == 201
    session.hide(between)
    assert session.build_context().count_tokens() == 101 + 1
    session.append(assistant("y" * 4), usage={"input_tokens": 150, "output_tokens": 1})
    assert session.build_context().count_tokens() == 151
    session.hide(first)
    assert session.build_context().count_tokens() == 3
    plan = plan_compaction(session, keep_tokens=2)
    assert plan is not None
    assert plan.tokens_before == 3


def test_usage_is_not_counted_after_a_replacement_above_it(session: Session) -> None:
    """The request had the old text. On the path that ends before the replacement it counts."""
    first = session.append(system("x" * 40))
    reply = session.append(assistant("y" * 4), usage={"input_tokens": 100, "output_tokens": 1})
    session.append(MessageEntry(message=system("z" * 8), replaces=first.id, pinned=True))
    assert session.build_context().count_tokens() == 1 + 2
    assert session.build_context(leaf=reply.id).count_tokens() == 101
    session.append(assistant("y" * 4), usage={"input_tokens": 50, "output_tokens": 1})
    assert session.build_context().count_tokens() == 51


def test_usage_of_a_reply_to_what_a_compaction_removed_is_not_counted(session: Session) -> None:
    """Its request was sent before the compaction. A reply to what came later, or to the compaction, is counted."""
    asked = session.append(user("x"))
    compaction = session.append(CompactionEntry(summary="S", first_kept_entry_id=asked.id))
    spent = {"input_tokens": 900, "output_tokens": 1}
    reply = MessageEntry(message=assistant("y"), usage=spent, reply_to=asked.id)
    session.append(reply)
    estimated = session.build_context().count_tokens()
    assert estimated < 100
    session.append(MessageEntry(message=assistant("y"), usage=spent, reply_to="nowhere"))
    assert session.build_context().count_tokens() == 901
    for answered in (compaction.id, session.append(user("z"), parent_id=compaction.id).id):
        session.branch(answered)
        session.append(MessageEntry(message=assistant("y"), usage=spent, reply_to=answered))
        assert session.build_context().count_tokens() == 901


def test_usage_with_a_result_is_stale_if_its_reply_is(session: Session) -> None:
    """The usage of a reply may be stored with the results behind it, which came after the mark."""
    first = session.append(user("x" * 40))
    session.append(assistant("y" * 4))
    session.hide(first)
    session.append(user("z" * 4), usage={"input_tokens": 100, "output_tokens": 1})
    assert session.build_context().count_tokens() == 2


# --- replacements ---


def test_a_replaced_message_stays_in_the_log(session: Session) -> None:
    """It is on its path and among its siblings; on another branch it is in the context."""
    first = session.append(user("a"))
    second = session.append(user("b"))
    new = session.append(MessageEntry(message=user("B"), replaces=second.id))
    assert (contents(session), ids(session.path())) == (["a", "B"], [first.id, second.id, new.id])
    other = session.append(user("c"), parent_id=second.id)
    assert contents(session) == ["a", "b", "c"]
    session.hide(new)
    assert (contents(session, leaf=new.id), contents(session)) == (["a"], ["a", "b", "c"])
    assert ids(session.siblings(second.id)) == [second.id]
    assert ids(session.siblings(other.id)) == [new.id, other.id]


def test_a_replacement_of_what_is_not_above_has_no_effect(log_path: Path) -> None:
    """Another branch, a mark, an unknown id, the message itself, what an orphan says; `verify` reports each."""
    log_path.write_bytes(
        log_of(
            node("a", None),
            mark("m", "label", target_id="a", label="L"),
            node("b", "a", replaces="c"),
            node("c", "a", replaces="b"),
            node("d", "c", replaces="m"),
            node("e", "d", replaces="e"),
            node("f", None, replaces="a"),
            node("g", "e", "model_change", provider=None, model="n", replaces="a"),
        )
    )
    with Session.open(log_path, mode="r") as session:
        assert contents(session, leaf="g") == ["a", "c", "d", "e"]
        assert contents(session, leaf="f") == ["f"]
    assert [finding.line for finding in verify(log_path).findings if finding.code == "bad_replaces"] == [4, 5, 6, 7, 8]


@patch.object(snapshot, "_PAGED", (*COLUMN_TYPES, "slots"))
def test_of_many_system_prompts_one_is_left(log_path: Path) -> None:
    """A context behind a compaction reads the last one; nor are the others read where nothing is compacted."""
    with Session.open(log_path, durability="process") as session:
        prompt = session.append(system("0"))
        for number in range(1, 2_000):
            prompt = session.append(MessageEntry(message=system(str(number)), replaces=prompt.id, pinned=True))
        session.append(user("x"))
        assert read_by(session) == (["1999", "x"], 2)
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        texts, lines = read_by(session)
        assert (texts[0], len(texts), lines) == ("1999", 2, 2)
    with eager(), Session.open(log_path) as session:
        pass
    with Session.open(log_path, mode="r") as session:
        assert session._index.tree.parents.persisted == 2_002
        assert read_by(session)[1] == 2


def read_by(session: Session) -> tuple[list[str], int]:
    """Returns what a context says, and how many lines were read for it."""
    index = session._index
    lines, read_at = [], index._read_at
    with patch.object(index, "_read_at", lambda spans: lines.extend(spans) or read_at(spans)):  # type: ignore[func-returns-value]
        return contents(session), len(lines)


def test_a_late_pin_of_an_old_message_walks_no_history() -> None:
    """With twenty thousand entries between them, on a path that turns aside every other entry."""
    session = Session.memory()
    first = session.append(user("first"))
    tip = first.id
    records: list[MessageEntry] = []
    for number in range(10_000):
        records.append(MessageEntry(id=f"s{number}", parent_id=tip, message=user("x")))
        records.append(MessageEntry(id=f"m{number}", parent_id=tip, message=user("x")))
        tip = f"m{number}"
    session.extend(records)
    session.branch(tip)
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    columns = session._index.tree
    looked: list[int] = []
    parents = columns.parents
    assert session.pin(first)
    with patch.object(columns, "parents", Counted(parents, looked)):
        assert contents(session)[0] == "first"
    assert len(looked) < 100


class Counted:
    """A column that notes which rows are looked up."""

    def __init__(self, column: Any, looked: list[int]) -> None:
        self._column = column
        self._looked = looked

    def __getitem__(self, row: int) -> Any:
        self._looked.append(row)
        return self._column[row]

    def follow(self, row: int) -> Any:
        for each in self._column.follow(row):
            self._looked.append(each)
            yield each

    def path_down(self, row: int, least: int) -> list[int]:
        found: list[int] = self._column.path_down(row, least)
        self._looked += found
        return found


def test_a_pinned_message_below_others_can_be_replaced(session: Session) -> None:
    """The others stay pinned, on this path and on that of the message."""
    a, b, c = session.append_many([system(text) for text in "abc"])
    session.append(MessageEntry(message=user("B"), replaces=b.id))
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    assert ids(session.build_context().entries)[:-1] == [a.id, c.id]
    session.append(CompactionEntry(summary="S", first_kept_entry_id=None), parent_id=c.id)
    assert ids(session.build_context().entries)[:-1] == [a.id, b.id, c.id]
