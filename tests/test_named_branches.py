"""Labels in place of ids, the move to a named branch, and the list of branches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import assistant, contents, ids, log_of, mark, node, system, user
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    AmbiguousLabel,
    Branch,
    BrokenPath,
    EntryNotFound,
    IdConflict,
    LeafMark,
    ModelChangeEntry,
    Session,
    StaleLeaf,
)


@pytest.fixture
def session() -> Session:
    """A question with two answers, the first of which goes on: "idea" is the first answer, "other" the second."""
    session = Session.memory()
    session.append(user("q"), id="q")
    session.append(assistant("a"), id="a", label="idea")
    session.append(user("q2"), id="q2")
    session.append(assistant("b"), id="b", parent_id="q", label="other")
    return session


# --- labels in place of ids -------------------------------------------------------------------------------------------


def test_a_label_is_taken_wherever_an_id_is(session: Session, tmp_path: Path) -> None:
    """With the same result as the id."""
    assert (session.entry("idea").id, ids(session.path("idea"))) == ("a", ["q", "a"])
    assert ids(session.children("idea")) == ["q2"]
    assert ids(session.siblings("idea")) == ["a", "b"]
    assert session.tip("idea") == "q2"
    assert session.common_ancestor("idea", "other") == "q"
    assert session.diff("idea", "other").ancestor_id == "q"
    assert contents(session, leaf="idea") == ["q", "a"]
    assert session.extension_data(leaf="idea") == []
    assert session.state("x.y", 5, leaf="idea") == 5
    with session.fork(tmp_path / "fork.jsonl", "idea") as fork:
        assert fork.leaf_id == "a"
    entry = session.append(user("c"), id="c", parent_id="idea", expect_leaf="other")
    assert entry.parent_id == "a"
    reply = session.append(assistant("d"), reply_to="idea", replaces="idea")
    assert (reply.parent_id, reply.reply_to, reply.replaces) == ("a", "a", "a")
    first, _ = session.append_many([user("e"), user("f")], parent_id="other", replaces="other")
    assert (first.parent_id, first.replaces) == ("b", "b")  # type: ignore[attr-defined]
    assert session.append_many([assistant("g")], reply_to="other")[0].parent_id == "b"
    session.label("idea", "plan")
    assert session.labels == {"a": "plan", "b": "other"}
    session.branch("plan")
    assert session.leaf_id == "a"
    assert session.hide("plan")
    assert session.show("plan")
    assert not session.pin("plan")
    made = session.branch("other", summary="S")
    assert made is not None
    assert (made.parent_id, made.from_id) == ("b", "a")
    session.branch("plan")
    made = session.branch("other", summarize=lambda _: "S")
    assert made is not None
    assert made.parent_id == "b"


def test_an_id_wins_over_a_label(session: Session) -> None:
    """An entry of the session with that id is meant, whatever is labelled so."""
    session.label("idea", "q")
    assert session.entry("q").id == "q"
    assert session.append(user("x"), parent_id="q").parent_id == "q"
    with pytest.raises(StaleLeaf):
        session.append(user("x"), parent_id="q", expect_leaf="q")
    session.branch("a")
    with pytest.raises(StaleLeaf):
        session.append(user("x"), expect_leaf="q")  # the label is on the leaf, the id is not its


def test_a_label_of_several_entries_is_refused(session: Session) -> None:
    """The error names them, and nothing is written. An id that several entries have as their label is still an id."""
    session.label("b", "idea")
    before = list(session.records())
    calls: list[Callable[[], Any]] = [
        lambda: session.entry("idea"),
        lambda: session.build_context(leaf="idea"),
        lambda: session.append(user("x"), parent_id="idea"),
        lambda: session.append(user("x"), reply_to="idea"),
        lambda: session.append(user("x"), expect_leaf="idea"),
        lambda: session.append_many([user("x")], replaces="idea"),
        lambda: session.branch("idea"),
        lambda: session.checkout("idea"),
        lambda: session.label("idea", None),
        lambda: session.hide("idea"),
    ]
    for call in calls:
        with pytest.raises(AmbiguousLabel, match="'a', 'b'") as caught:
            call()
        assert (caught.value.label, caught.value.ids) == ("idea", ("a", "b"))
    assert list(session.records()) == before
    for id in ("a", "b"):
        session.label(id, "q")
    assert session.append(user("x"), parent_id="q").parent_id == "q"
    session.label("a", None)
    with pytest.raises(EntryNotFound):
        session.entry("idea")
    for number in range(8):
        session.append(user("x"), id=f"n{number}", label="many")
    with pytest.raises(AmbiguousLabel, match=r"8 entries .*'n4', …; pass"):
        session.entry("many")


def test_labels_are_those_that_the_session_has_read(tmp_path: Path) -> None:
    """A label set by another session is known after a refresh, like its entries."""
    path = tmp_path / "log.jsonl"
    with Session.open(path) as one, Session.open(path) as two:
        one.append(user("q"), id="q")
        two.refresh()
        one.label("q", "idea")
        with pytest.raises(EntryNotFound):
            two.entry("idea")
        two.refresh()
        assert two.entry("idea").id == "q"


LABELS = st.sampled_from(["x", "y", "", "n0"])


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | LABELS, st.booleans()), max_size=20))
def test_a_label_leads_to_the_entries_that_have_it(changes: list[tuple[int, str | None, bool]]) -> None:
    """However labels were set, changed and removed, and whenever they were looked for."""
    session = Session.memory()
    session.append_many([user("x") for _ in range(4)])
    entries = session.path()
    for number, label, looks in changes:
        session.label(entries[number], label)
        if not looks:
            continue
        for wanted in ("x", "y", "", "n0"):
            having = [id for id, text in session.labels.items() if text == wanted]
            if len(having) == 1:
                assert session.entry(wanted).id == having[0]
            else:
                with pytest.raises(AmbiguousLabel if having else EntryNotFound) as caught:
                    session.entry(wanted)
                assert sorted(getattr(caught.value, "ids", ())) == sorted(having)


# --- checkout ---------------------------------------------------------------------------------------------------------


def test_checkout_goes_to_the_newest_leaf(session: Session) -> None:
    """At or below the entry, also one that another session has appended meanwhile."""
    session.checkout("idea")
    assert session.leaf_id == "q2"
    session.checkout("other")
    assert session.leaf_id == "b"
    session.append(user("x"), id="x", parent_id="idea", move_leaf=False)
    session.checkout(session.entry("idea"))
    assert session.leaf_id == "x"
    count = len(list(session.records()))
    session.checkout("x")
    assert (session.leaf_id, len(list(session.records()))) == ("x", count)


def test_checkout_looks_under_the_lock(tmp_path: Path) -> None:
    """This session has not read the newest leaf yet, and the leaf is there."""
    path = tmp_path / "log.jsonl"
    with Session.open(path) as one, Session.open(path) as two:
        one.append(user("q"), id="q", label="idea")
        two.refresh()
        one.append(assistant("a"), id="a")
        one.branch(None)
        two.checkout("idea")
        assert two.leaf_id == "a"


def test_checkout_compares_and_is_repeated(session: Session) -> None:
    """A retry is where the first try went, though that leaf has children by now."""
    with pytest.raises(StaleLeaf):
        session.checkout("idea", expect_leaf="q2")
    session.checkout("idea", expect_leaf="b", id="m1")
    session.append(user("x"), id="x", expect_revision="m1")
    session.checkout("idea", expect_leaf="b", id="m1")
    assert session.leaf_id == "x"
    session.branch(None, id="m2")
    for wrong in ("m1", "m2", "q"):
        with pytest.raises(IdConflict):
            session.checkout("other", id=wrong)
    assert isinstance(dict(enumerate(record for _, record in session.records()))[6], LeafMark)


@pytest.mark.parametrize("wrong", [None, 0, b"idea", ["idea"]])
def test_checkout_needs_an_entry(session: Session, wrong: Any) -> None:
    """Anything but an entry or a text raises TypeError; an unknown text EntryNotFound."""
    with pytest.raises(TypeError, match="entry_id"):
        session.checkout(wrong)
    with pytest.raises(TypeError, match="entry_id"):
        Session.memory().checkout(wrong)
    with pytest.raises(EntryNotFound):
        session.checkout("nothing")


# --- the list ---------------------------------------------------------------------------------------------------------


def facts(branches: list[Branch]) -> list[tuple[str, tuple[str, ...], str | None, str | None]]:
    """The ids and labels of branches."""
    return [(each.leaf.id, each.labels, each.first_id, each.fork_id) for each in branches]


def test_branches_are_compared_with_the_leaf(session: Session) -> None:
    """The first difference is below the last entry that both paths have. That of the leaf has none."""
    assert facts(session.branches()) == [("q2", ("idea",), "a", "q"), ("b", ("other",), None, "b")]
    session.branch("idea")
    assert facts(session.branches()) == [("q2", ("idea",), "q2", "a"), ("b", ("other",), "b", "q")]
    session.branch(None)
    assert facts(session.branches()) == [("q2", ("idea",), "q", None), ("b", ("other",), "q", None)]
    session.append(user("root"), id="r")
    assert facts(session.branches())[2] == ("r", (), None, "r")
    assert facts(session.branches())[0] == ("q2", ("idea",), "q", None)
    assert Session.memory().branches() == []


def test_a_label_leads_to_one_branch(session: Session) -> None:
    """To that with the newest leaf below its entry, where `checkout` goes; in the order of the entries."""
    session.label("q", "start")
    session.label("q2", "end")
    assert [each.labels for each in session.branches()] == [("idea", "end"), ("start", "other")]
    session.append(user("x"), id="x", parent_id="q2")
    assert [each.labels for each in session.branches()] == [("other",), ("start", "idea", "end")]


def test_the_last_activity_of_a_branch(log_path: Path) -> None:
    """The time of the last message that somebody said: no note, no system prompt, no mark."""
    lines = [
        node("a", None, timestamp="t1"),
        node("b", "a", timestamp="t2"),
        node("c", "b", "model_change", provider=None, model="m", timestamp="t3"),
        node("d", "c", timestamp="t4", visible_to="nobody"),
        node("e", "a", timestamp="t5", message=system("x")),
        node("f", None, timestamp="t6", message=system("x")),
    ]
    log_path.write_bytes(log_of(*lines))
    with Session.open(log_path, mode="r") as session:
        found = [(each.leaf.id, each.last_activity) for each in session.branches()]
    assert found == [("d", "t2"), ("e", "t1"), ("f", None)]


def test_branches_of_a_damaged_log(log_path: Path) -> None:
    """An orphan begins a branch that shares nothing. What is damaged above a tip has no time; a damaged tip raises."""
    log_path.write_bytes(
        log_of(node("a", None), node("b", "gone"), node("c", "b"), mark("m", "label", target_id="b", label="L"))
        + b"{}\n"
    )
    with Session.open(log_path) as session:
        assert facts(session.branches()) == [("a", (), "a", None), ("c", ("L",), None, "c")]
        session.branch("a")
        assert facts(session.branches()) == [("a", (), None, "a"), ("c", ("L",), "b", None)]
        session.append(ModelChangeEntry(provider=None, model="m"), parent_id="c")
        log_path.write_bytes(log_path.read_bytes().replace(b'"content":"c"', b'"content":"C"'))
        assert [each.last_activity for each in session.branches()] == [None, None]
        log_path.write_bytes(log_path.read_bytes().replace(b'"content":"a"', b'"content":"A"'))
        with pytest.raises(BrokenPath):
            session.branches()


@given(st.lists(st.integers(-1, 30), max_size=30), st.integers(-1, 30))
def test_branches_of_any_tree(parents: list[int], leaf: int) -> None:
    """Each tip once; its first difference and fork are those of `diff`, and its labels lead to it."""
    session = Session.memory()
    made: list[str] = []
    for number, parent in enumerate(parents):
        above = made[parent % number] if number and parent >= 0 else None
        made.append(session.append(user("x"), id=f"n{number}", parent_id=above, label=f"l{number}").id)
    session.branch(made[leaf % len(made)] if made and leaf >= 0 else None)
    found = session.branches()
    assert [each.leaf for each in found] == session.leaves()
    for each in found:
        diff = session.diff(each.leaf.id)
        assert (each.fork_id, each.first_id) == (
            diff.ancestor_id,
            diff.a.entries[0].id if diff.a.entries else None,
        )
    tips = {f"l{number}": session.tip(id) for number, id in enumerate(made)}
    assert {label: each.leaf.id for each in found for label in each.labels} == tips
