"""The context of a leaf: cases from the tests of kit and pi, with this format's rules where theirs differ."""

from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER, as_file, assistant, contents, ids, log_of, mark, node, seal_by_hand, sealed, system, user

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    Context,
    ExtensionDataEntry,
    Gap,
    InvalidCompaction,
    LeafUncertain,
    MessageEntry,
    ModelChangeEntry,
    OpenCall,
    Session,
    default_render,
)


def brief(entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
    """Renders a summary as its bare text."""
    return {"content": entry.summary}


def seen(session: Session, **arguments: Any) -> list[Any]:
    """Returns the texts of a context's messages, with bare summaries."""
    return contents(session, render=brief, **arguments)


def say(session: Session, *texts: str, **arguments: Any) -> list[str]:
    """Appends user messages and returns their ids."""
    return [session.append(user(text), **arguments).id for text in texts]


def compact(session: Session, summary: str, kept: str | None) -> str:
    return session.append(CompactionEntry(summary=summary, first_kept_entry_id=kept)).id


# --- without a compaction (pi 1 to 6, 10 to 14) ---


def test_an_empty_session_has_an_empty_context(session: Session) -> None:
    """Without an entry there are no messages, no model and no settings."""
    expected = Context(messages=[], entries=[], provider=None, model=None, settings={})
    assert session.build_context() == expected
    session.append(user("a"))
    assert session.build_context(leaf=None) == expected


def test_an_empty_context_is_not_shared(session: Session) -> None:
    """Changing one empty context changes no other."""
    context = session.build_context()
    context.messages.append(user("mine"))
    context.settings["effort"] = "high"
    again = Session.memory().build_context()
    assert (again.messages, again.settings) == ([], {})
    assert session.build_context().messages == []


def test_messages_have_the_order_of_the_path(session: Session) -> None:
    """Each message comes with its entry."""
    items = [user("1"), assistant("2"), user("3"), assistant("4")]
    stored = session.append_many(items)
    context = session.build_context()
    assert context.messages == items
    assert context.entries == stored


def test_a_context_has_messages_for_the_model_only(session: Session) -> None:
    """Model changes, extension data and messages for the user are left out."""
    say(session, "a")
    session.append(ModelChangeEntry(provider="p", model="m"))
    session.append(ExtensionDataEntry(ext_type="x.y", data={"role": "user"}))
    say(session, "hidden", visible_to="user")
    say(session, "b", visible_to="model")
    assert contents(session) == ["a", "b"]


def test_the_model_is_the_last_one_named(session: Session) -> None:
    """Messages and model changes count alike. Provider and model are taken from the same entry."""
    session.append(ModelChangeEntry(provider="openai", model="gpt"))
    session.append(assistant("a"), provider="anthropic", model="claude")
    context = session.build_context()
    assert (context.provider, context.model) == ("anthropic", "claude")
    session.append({"role": "assistant", "content": "b", "model": "inside", "provider": "inside"}, provider="only")
    assert session.build_context().model == "claude"
    session.append(assistant("c"), model="local")
    context = session.build_context()
    assert (context.provider, context.model) == (None, "local")
    session.append(user("d"), visible_to="user", provider="p", model="hidden")
    assert session.build_context().model == "hidden"


def test_settings_last_until_the_next_change(session: Session) -> None:
    """A model change without settings keeps the earlier ones."""
    session.append(ModelChangeEntry(provider="p", model="a", settings={"effort": "low", "x": 1}))
    session.append(ModelChangeEntry(provider="q", model="b"))
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("q", "b", {"effort": "low", "x": 1})
    session.append(ModelChangeEntry(provider="q", model="b", settings={"effort": "high"}))
    assert session.build_context().settings == {"effort": "high"}


def test_a_context_can_be_built_at_any_leaf(session: Session) -> None:
    """Two branches give two contexts. Building one moves no leaf."""
    (start,) = say(session, "start")
    first = session.append(assistant("A")).id
    second = session.append(assistant("B"), parent_id=start).id
    assert contents(session, leaf=first) == ["start", "A"]
    assert contents(session, leaf=second) == ["start", "B"]
    assert contents(session, leaf=start) == ["start"]
    assert session.leaf_id == second


def test_a_branch_summary_keeps_its_position(session: Session) -> None:
    """It is a message between the messages before and after it."""
    a, b = say(session, "a", "b")
    say(session, "c")
    summary = session.branch(b, summary="c was tried")
    say(session, "d")
    assert summary is not None
    assert seen(session) == ["a", "b", "c was tried", "d"]
    assert session.build_context().messages[2] == default_render(summary)
    assert contents(session, leaf=a) == ["a"]


def test_an_empty_branch_summary_is_not_shown(session: Session) -> None:
    """A summary without text gives no message."""
    (a,) = say(session, "a")
    session.branch(a, summary="")
    say(session, "b")
    assert seen(session) == ["a", "b"]


def test_a_complex_tree(session: Session) -> None:
    """A compaction on one branch and a branch summary on another do not affect each other."""
    one, two, three = say(session, "1", "2", "3")
    say(session, "4")
    compact(session, "S", three)
    main = say(session, "5", "6")[-1]
    session.branch(two, summary="left")
    side = say(session, "7")[-1]
    assert seen(session, leaf=main) == ["S", "3", "4", "5", "6"]
    assert seen(session, leaf=side) == ["1", "2", "left", "7"]
    assert seen(session, leaf=one) == ["1"]


# --- with a compaction (pi 7 to 9, kit) ---


def test_a_compaction_replaces_older_messages(session: Session) -> None:
    """The context is the summary, the kept entries and the later ones. The compaction is the new leaf."""
    stored = say(session, "1", "2", "3", "4")
    entry_id = compact(session, "S", stored[2])
    assert session.entry(entry_id).parent_id == stored[3]
    assert session.leaf_id == entry_id
    assert seen(session) == ["S", "3", "4"]
    later = say(session, "5", "6")
    assert seen(session) == ["S", "3", "4", "5", "6"]
    context = session.build_context()
    assert ids(context.entries) == [entry_id, *stored[2:], *later]
    assert len(session.path()) == 7


def test_a_compaction_can_keep_every_entry(session: Session) -> None:
    """If the first entry is kept, the context is the summary and all messages."""
    first, *_ = say(session, "1", "2", "3")
    compact(session, "S", first)
    assert seen(session) == ["S", "1", "2", "3"]


def test_a_compaction_can_keep_no_entry(session: Session) -> None:
    """With None, the context is the summary and the later entries."""
    say(session, "1", "2")
    compact(session, "S", None)
    assert seen(session) == ["S"]
    say(session, "3")
    assert seen(session) == ["S", "3"]


def test_a_compaction_can_be_the_first_entry(session: Session) -> None:
    """A conversation can begin with a summary."""
    compact(session, "S", None)
    assert seen(session) == ["S"]


def test_the_last_compaction_wins(session: Session) -> None:
    """Of two compactions only the later summary is shown."""
    say(session, "1", "2")
    compact(session, "S1", None)
    kept, _ = say(session, "3", "4")
    compact(session, "S2", kept)
    say(session, "5")
    assert seen(session) == ["S2", "3", "4", "5"]


def test_a_kept_older_compaction_hides_nothing(session: Session) -> None:
    """Its summary is left out, and the messages it had replaced are shown again."""
    first, *_ = say(session, "1", "2")
    old = compact(session, "S1", None)
    say(session, "3")
    compact(session, "S2", first)
    assert seen(session) == ["S2", "1", "2", "3"]
    session.branch(None)
    session.branch(old)
    compact(session, "S3", old)
    assert seen(session) == ["S3"]


def test_a_compaction_affects_entries_below_it_only(session: Session) -> None:
    """A branch from above the compaction has all older messages."""
    _, two, three = say(session, "1", "2", "3")
    compact(session, "S", three)
    session.append(user("2b"), parent_id=two)
    assert seen(session) == ["1", "2", "2b"]
    assert seen(session, leaf=three) == ["1", "2", "3"]


def test_two_leaves_below_one_compaction(session: Session) -> None:
    """Both branches begin with the same summary and have no other message in common."""
    _, kept = say(session, "1", "2")
    top = compact(session, "S", kept)
    (left,) = say(session, "left")
    session.append(user("right"), parent_id=top)
    assert seen(session, leaf=left) == ["S", "2", "left"]
    assert seen(session) == ["S", "2", "right"]


def test_the_kept_range_excludes_other_branches(session: Session) -> None:
    """Entries of other branches can be between the kept ones in the log. They are left out."""
    _, kept = say(session, "1", "2")
    session.append(user("sibling"), parent_id=kept)
    session.append(user("root"), parent_id=None)
    session.branch(kept)
    say(session, "3")
    compact(session, "S", kept)
    assert seen(session) == ["S", "2", "3"]


def test_pinned_messages_stay_in_the_context(session: Session) -> None:
    """System prompts and pinned messages come before the summary, in order and once."""
    session.append(system("prompt"))
    session.append({"role": "developer", "content": "rules"})
    session.append(system("let go"), pinned=False)
    say(session, "fact", pinned=True)
    say(session, "1")
    kept = session.append(user("kept and pinned"), pinned=True).id
    compact(session, "S", kept)
    say(session, "2", pinned=True)
    assert seen(session) == ["prompt", "rules", "fact", "S", "kept and pinned", "2"]
    compact(session, "T", None)
    assert seen(session) == ["prompt", "rules", "fact", "kept and pinned", "2", "T"]


def test_a_pinned_message_for_the_user_is_hidden(session: Session) -> None:
    """A pin does not change the visibility of a message."""
    say(session, "note", pinned=True, visible_to="user")
    compact(session, "S", None)
    assert seen(session) == ["S"]


def test_pins_of_other_branches_do_not_count(session: Session) -> None:
    """Only pinned messages on the path are shown."""
    (first,) = say(session, "1")
    session.append(system("elsewhere"))
    session.branch(first)
    compact(session, "S", None)
    assert seen(session) == ["S"]


def test_a_compaction_keeps_model_and_settings(session: Session) -> None:
    """They are read from the whole path, including the part that was compacted."""
    session.append(ModelChangeEntry(provider="p", model="m", settings={"effort": "low"}))
    say(session, "1")
    compact(session, "S", None)
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("p", "m", {"effort": "low"})


def test_a_compaction_keeps_extension_data(session: Session) -> None:
    """The state is read from the whole path."""
    session.append(ExtensionDataEntry(ext_type="x.y", data=1))
    compact(session, "S", None)
    assert session.state("x.y") == 1


def test_a_branch_summary_in_the_kept_range_is_shown(session: Session) -> None:
    """Kept entries are shown as they would be without a compaction."""
    (first,) = say(session, "1")
    say(session, "2")
    session.branch(first, summary="B")
    compact(session, "S", first)
    assert seen(session) == ["S", "1", "B"]


@pytest.mark.parametrize("which", ["unknown", "sibling", "below", "later"])
def test_the_first_kept_entry_must_be_an_ancestor(which: str, session: Session) -> None:
    """Otherwise the append is refused and nothing is written."""
    first, second = say(session, "1", "2")
    (sibling,) = say(session, "2b", parent_id=first)
    kept = {"unknown": "nothing", "sibling": sibling, "below": second, "later": sibling}[which]
    leaf = {"unknown": second, "sibling": second, "below": first, "later": None}[which]
    with pytest.raises(InvalidCompaction):
        session.append(CompactionEntry(summary="S", first_kept_entry_id=kept), parent_id=leaf)
    assert len(session.leaves()) == 2


def test_a_compaction_can_keep_entries_of_its_batch(session: Session) -> None:
    """The first kept entry can be an earlier one of the same call, but not a later one."""
    entries = session.append_many(
        [
            MessageEntry(id="m1", message=user("1")),
            MessageEntry(id="m2", message=user("2")),
            CompactionEntry(id="c", summary="S", first_kept_entry_id="m2"),
            MessageEntry(id="m3", message=user("3")),
        ]
    )
    assert ids(entries) == ["m1", "m2", "c", "m3"]
    assert seen(session) == ["S", "2", "3"]
    with pytest.raises(InvalidCompaction):
        session.append_many(
            [CompactionEntry(id="d", summary="S", first_kept_entry_id="m4"), MessageEntry(id="m4", message=user("4"))]
        )


# --- rendering ---


def test_a_summary_is_shown_as_a_user_message(session: Session) -> None:
    """`render` can turn it into any other message."""
    say(session, "1")
    compact(session, "the story so far", None)
    (message,) = session.build_context().messages
    assert message["role"] == "user"
    assert "<summary>\nthe story so far\n</summary>" in message["content"]
    context = session.build_context(render=lambda entry: entry.summary)
    assert context.messages == [user("the story so far")]


def test_changing_a_context_does_not_change_the_log(session: Session) -> None:
    """A message is encoded when it is appended, and decoded again for every context."""
    message = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    stored = session.append(message)
    message["content"] = "changed"
    stored.message["content"] = "changed"
    session.build_context().messages[0]["content"][0]["text"] = "changed"
    assert session.build_context().messages == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


# --- open calls ---


def test_open_calls_have_no_result(session: Session) -> None:
    """A call is open until a later message of the context answers it."""
    asked = [{"id": "t1", "function": {"name": "f"}}, {"id": "t2", "function": {"name": "g"}}]
    call = session.append({"role": "assistant", "tool_calls": asked})
    session.append({"role": "tool", "tool_call_id": "t1", "content": "1"})
    assert session.build_context().open_calls == (OpenCall(id="t2", name="g", entry_id=call.id),)
    session.append({"role": "tool", "tool_call_id": "t2", "content": "2"})
    assert session.build_context().open_calls == ()
    compact(session, "S", None)
    assert session.build_context().open_calls == ()


# --- gaps ---

TEXTS = [HEADER, node("a", None, model="m1"), node("b", "a"), node("c", "b", model="m2"), node("d", "c")]


def damaged(path: Path, number: int) -> tuple[Session, int]:
    lines = sealed(TEXTS)
    lines[number] = lines[number].replace(b'"content"', b'"Content"')
    path.write_bytes(as_file(lines))
    return Session.open(path, mode="r"), len(as_file(lines[:number]))


def test_a_missing_parent_raises(log_path: Path) -> None:
    """The error names the missing entry. The path to it cannot be read, either."""
    session, _ = damaged(log_path, 2)
    with session:
        with pytest.raises(BrokenPath, match="'b'") as caught:
            session.build_context()
        assert caught.value.missing == "b"
        with pytest.raises(BrokenPath):
            session.path()


def test_allow_gaps_reports_gaps(log_path: Path) -> None:
    """The context has the readable entries, and says where it is incomplete."""
    session, offset = damaged(log_path, 2)
    child = offset + len(sealed(TEXTS)[2]) + 1
    with session:
        context = session.build_context(allow_gaps=True)
        assert ids(context.entries) == ["c", "d"]
        assert context.gaps == (Gap(child, "b"),)
        assert contents(session, leaf="a") == ["a"]


def test_damage_after_opening_is_noticed(log_path: Path) -> None:
    """Every line is verified each time it is read. A gap is reported once."""
    lines = sealed(TEXTS)
    log_path.write_bytes(as_file(lines))
    with Session.open(log_path, mode="r") as session:
        offset = len(as_file(lines[:3]))
        data = bytearray(as_file(lines))
        data[offset + 90] ^= 1
        log_path.write_bytes(data)
        with pytest.raises(BrokenPath) as caught:
            session.build_context()
        assert caught.value.offset == offset
        with pytest.raises(BrokenPath):
            session.entry("c")
        assert ids(session.path("b")) == ["a", "b"]
        context = session.build_context(allow_gaps=True)
        assert ids(context.entries) == ["a", "b", "d"]
        assert context.gaps == (Gap(offset, None),)


def test_an_orphan_damaged_after_opening_is_a_gap(log_path: Path) -> None:
    """`allow_gaps` also accepts a line that cannot name its missing parent."""
    lines = sealed([HEADER, node("b", "gone"), node("c", "b")])
    log_path.write_bytes(as_file(lines))
    with Session.open(log_path, mode="r") as session:
        data = bytearray(as_file(lines))
        data[len(lines[0]) + 80] ^= 1
        log_path.write_bytes(data)
        with pytest.raises(BrokenPath):
            session.build_context()
        context = session.build_context(allow_gaps=True)
        assert ids(context.entries) == ["c"]
        assert {gap.offset for gap in context.gaps} == {len(lines[0]) + 1}


def test_an_invalid_first_kept_entry_is_a_gap(log_path: Path) -> None:
    """A line of another writer can keep an entry that is not an ancestor. The error names that entry."""
    texts = (node("a", None), node("s", "a"), node("b", "a"))
    for kept in ("gone", "s", "k", "later"):
        compaction = node("k", "b", "compaction", summary="S", first_kept_entry_id=kept)
        log_path.write_bytes(log_of(*texts, compaction, node("later", "k")))
        with Session.open(log_path, mode="r") as session:
            with pytest.raises(BrokenPath) as caught:
                session.build_context()
            assert caught.value.missing == kept
            context = session.build_context(allow_gaps=True, render=brief)
            assert [message["content"] for message in context.messages] == ["S", "later"]
            assert context.gaps == (Gap(len(log_of(*texts)), kept),)


def test_damage_outside_the_context_is_not_read(log_path: Path) -> None:
    """A line that a compaction has replaced is not read for the context."""
    lines = sealed(
        [
            HEADER,
            node("a", None),
            node("s", "a"),
            node("b", "a"),
            node("k", "b", "compaction", summary="S", first_kept_entry_id=None),
        ]
    )
    log_path.write_bytes(as_file(lines))
    with Session.open(log_path) as session:
        data = bytearray(as_file(lines))
        data[len(lines[0]) + 80] ^= 1
        log_path.write_bytes(data)
        assert seen(session) == ["S"]
        with pytest.raises(BrokenPath):
            session.path()


def test_an_orphan_can_be_continued(log_path: Path) -> None:
    """Its context raises BrokenPath, and `allow_gaps` shows the readable entries."""
    log_path.write_bytes(log_of(node("b", "gone")))
    with Session.open(log_path) as session:
        assert session.leaf_id == "b"
        child = session.append(user("c"))
        assert child.parent_id == "b"
        with pytest.raises(BrokenPath):
            session.build_context()
        assert contents(session, allow_gaps=True) == ["b", "c"]
        assert session.children(None) == []
        assert ids(session.siblings("b")) == ["b"]
        assert session.tip("b") == child.id
        assert session.common_ancestor("b", child.id) == "b"
        with pytest.raises(BrokenPath):
            session.fork(log_path.with_name("fork.jsonl"))


def test_an_entry_with_invalid_fields_raises(log_path: Path) -> None:
    """A sealed entry whose fields have the wrong type raises when it is read, or is a gap."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a", message="text"), node("c", "b")))
    with Session.open(log_path) as session:
        for leaf in ("b", "c"):
            with pytest.raises(BrokenPath):
                session.build_context(leaf=leaf)
        assert contents(session, allow_gaps=True) == ["a", "c"]


def test_branch_settles_an_uncertain_leaf(log_path: Path) -> None:
    """Before that, every use of the leaf raises, except for a context that allows gaps."""
    lines = sealed([HEADER, node("a", None), node("b", "a")])
    lines.append(b"damage")
    log_path.write_bytes(as_file(lines))
    with Session.open(log_path) as session:
        for act in (session.build_context, session.path, lambda: session.append(user("c"))):
            with pytest.raises(LeafUncertain, match=r"bad_seal in line 4.*branch\('b'\)"):
                act()
        assert contents(session, allow_gaps=True) == ["a", "b"]
        assert session.branch("b") is None
        assert contents(session) == ["a", "b"]
        session.append(user("c"))
    with Session.open(log_path) as session:
        assert contents(session) == ["a", "b", "c"]


def test_a_missing_line_makes_the_leaf_uncertain(log_path: Path) -> None:
    """The missing line may have moved the leaf, and the mark after it does not settle it."""
    lines = sealed([HEADER, node("a", None), node("b", "a"), mark("m", "label", target_id="a", label="L")])
    log_path.write_bytes(as_file([*lines[:2], lines[3]]))
    with Session.open(log_path) as session:
        with pytest.raises(LeafUncertain, match="prev_mismatch"):
            session.build_context()
        session.append(user("c"), parent_id="a")
        assert contents(session) == ["a", "c"]
    assert seal_by_hand(HEADER, 0) == lines[0]


def test_an_unreadable_model_is_a_gap(log_path: Path) -> None:
    """The model of a reply is never guessed: if the entry that named it is damaged, it is unknown."""
    data = log_of(
        node("a", None, "model_change", provider="p", model="old"),
        node("b", "a", message=assistant("x")),
        node("c", "b", "model_change", provider="p", model="new"),
    )
    log_path.write_bytes(data)
    with Session.open(log_path, mode="r") as session:
        context = session.build_context()
        assert (context.produced_by, context.model) == ({"b": ("p", "old")}, "new")
        log_path.write_bytes(data.replace(b'"model":"old"', b'"model":"odd"'))
        with pytest.raises(BrokenPath):
            session.build_context()
        context = session.build_context(allow_gaps=True)
        assert (context.produced_by, context.model, len(context.gaps)) == ({}, "new", 1)


@pytest.mark.parametrize("model", [None, 5], ids=repr)
def test_a_model_change_without_a_model_is_a_gap(log_path: Path, model: object) -> None:
    """It named some model that cannot be read, so the model of a reply behind it is unknown, too."""
    log_path.write_bytes(
        log_of(
            node("a", None, "model_change", provider="p", model="old"),
            node("b", "a", "model_change", provider="p", model=model),
            node("c", "b", message=assistant("x")),
        )
    )
    with Session.open(log_path, mode="r") as session:
        with pytest.raises(BrokenPath):
            session.build_context()
        context = session.build_context(allow_gaps=True)
        assert (context.produced_by, context.model, len(context.gaps)) == ({}, None, 1)
