"""What a model sees: the cases of kit's and pi's tests, with this format's semantics where theirs differ."""

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
    """A summary as it stands."""
    return {"content": entry.summary}


def seen(session: Session, **arguments: Any) -> list[Any]:
    """What the messages of a context say, summaries as they stand."""
    return contents(session, render=brief, **arguments)


def say(session: Session, *texts: str, **arguments: Any) -> list[str]:
    """Appends user messages; returns their ids."""
    return [session.append(user(text), **arguments).id for text in texts]


def compact(session: Session, summary: str, kept: str | None) -> str:
    return session.append(CompactionEntry(summary=summary, first_kept_entry_id=kept)).id


# --- without a compaction (pi 1 to 6, 10 to 14) ---


def test_an_empty_session_has_an_empty_context(session: Session) -> None:
    """Nothing said: no messages, no model, no settings."""
    expected = Context(messages=[], entries=[], provider=None, model=None, settings={})
    assert session.build_context() == expected
    session.append(user("a"))
    assert session.build_context(leaf=None) == expected


def test_an_empty_context_belongs_to_the_caller(session: Session) -> None:
    """What a caller puts into an empty context is in no other."""
    context = session.build_context()
    context.messages.append(user("mine"))
    context.settings["effort"] = "high"
    again = Session.memory().build_context()
    assert (again.messages, again.settings) == ([], {})
    assert session.build_context().messages == []


def test_messages_come_in_the_order_of_the_path(session: Session) -> None:
    """Four turns give four messages, each with its entry."""
    items = [user("1"), assistant("2"), user("3"), assistant("4")]
    stored = session.append_many(items)
    context = session.build_context()
    assert context.messages == items
    assert context.entries == stored


def test_what_is_no_message_is_not_shown(session: Session) -> None:
    """Model changes, extension data and messages for the user only are not for the model."""
    say(session, "a")
    session.append(ModelChangeEntry(provider="p", model="m"))
    session.append(ExtensionDataEntry(ext_type="x.y", data={"role": "user"}))
    say(session, "hidden", visible_to="user")
    say(session, "b", visible_to="model")
    assert contents(session) == ["a", "b"]


def test_the_model_is_that_of_the_last_entry_that_names_one(session: Session) -> None:
    """Envelope fields count, of messages and model changes alike, as a pair."""
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


def test_settings_are_those_of_the_last_change_that_has_some(session: Session) -> None:
    """Settings stay until the next model change with settings replaces them."""
    session.append(ModelChangeEntry(provider="p", model="a", settings={"effort": "low", "x": 1}))
    session.append(ModelChangeEntry(provider="q", model="b"))
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("q", "b", {"effort": "low", "x": 1})
    session.append(ModelChangeEntry(provider="q", model="b", settings={"effort": "high"}))
    assert session.build_context().settings == {"effort": "high"}


def test_a_context_follows_the_path_to_the_leaf_asked_for(session: Session) -> None:
    """Two branches, two contexts; asking for one moves nothing."""
    (start,) = say(session, "start")
    first = session.append(assistant("A")).id
    second = session.append(assistant("B"), parent_id=start).id
    assert contents(session, leaf=first) == ["start", "A"]
    assert contents(session, leaf=second) == ["start", "B"]
    assert contents(session, leaf=start) == ["start"]
    assert session.leaf_id == second


def test_a_branch_summary_stands_where_it_is(session: Session) -> None:
    """The summary of a branch that was left is the third of four messages."""
    a, b = say(session, "a", "b")
    say(session, "c")
    summary = session.branch(b, summary="c was tried")
    say(session, "d")
    assert summary is not None
    assert seen(session) == ["a", "b", "c was tried", "d"]
    assert session.build_context().messages[2] == default_render(summary)
    assert contents(session, leaf=a) == ["a"]


def test_an_empty_branch_summary_is_not_shown(session: Session) -> None:
    """A summary of nothing emits nothing."""
    (a,) = say(session, "a")
    session.branch(a, summary="")
    say(session, "b")
    assert seen(session) == ["a", "b"]


def test_a_complex_tree(session: Session) -> None:
    """A tree with a compaction on one way and a branch summary on the other shows each way only its own."""
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


def test_a_compaction_stands_for_what_is_before_the_kept_entries(session: Session) -> None:
    """Summary, kept entries, later entries; the compaction is a child of the leaf and the new leaf."""
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


def test_everything_may_be_kept(session: Session) -> None:
    """The first entry as the first kept one: the summary and all."""
    first, *_ = say(session, "1", "2", "3")
    compact(session, "S", first)
    assert seen(session) == ["S", "1", "2", "3"]


def test_nothing_may_be_kept(session: Session) -> None:
    """None keeps nothing but the summary, and what comes later."""
    say(session, "1", "2")
    compact(session, "S", None)
    assert seen(session) == ["S"]
    say(session, "3")
    assert seen(session) == ["S", "3"]


def test_a_compaction_may_come_first(session: Session) -> None:
    """A conversation may begin with a summary."""
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


def test_an_older_compaction_in_the_kept_range_hides_nothing(session: Session) -> None:
    """It emits nothing, and the messages it had hidden are there again."""
    first, *_ = say(session, "1", "2")
    old = compact(session, "S1", None)
    say(session, "3")
    compact(session, "S2", first)
    assert seen(session) == ["S2", "1", "2", "3"]
    session.branch(None)
    session.branch(old)
    compact(session, "S3", old)
    assert seen(session) == ["S3"]


def test_a_branch_before_the_compaction_sees_what_was_there(session: Session) -> None:
    """A compaction counts below itself only."""
    _, two, three = say(session, "1", "2", "3")
    compact(session, "S", three)
    session.append(user("2b"), parent_id=two)
    assert seen(session) == ["1", "2", "2b"]
    assert seen(session, leaf=three) == ["1", "2", "3"]


def test_two_leaves_below_one_compaction(session: Session) -> None:
    """Both continue the same summary, neither sees the other."""
    _, kept = say(session, "1", "2")
    top = compact(session, "S", kept)
    (left,) = say(session, "left")
    session.append(user("right"), parent_id=top)
    assert seen(session, leaf=left) == ["S", "2", "left"]
    assert seen(session) == ["S", "2", "right"]


def test_siblings_never_leak_into_the_kept_range(session: Session) -> None:
    """Entries of other branches lie between the kept ones in the log, and stay out."""
    _, kept = say(session, "1", "2")
    session.append(user("sibling"), parent_id=kept)
    session.append(user("root"), parent_id=None)
    session.branch(kept)
    say(session, "3")
    compact(session, "S", kept)
    assert seen(session) == ["S", "2", "3"]


def test_pinned_messages_survive(session: Session) -> None:
    """System prompts and what was pinned stand before the summary, in order and once."""
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


def test_what_is_pinned_for_the_user_stays_hidden(session: Session) -> None:
    """A pin does not show a message that is not for the model."""
    say(session, "note", pinned=True, visible_to="user")
    compact(session, "S", None)
    assert seen(session) == ["S"]


def test_pins_of_other_branches_stay_there(session: Session) -> None:
    """Only pins on the path count."""
    (first,) = say(session, "1")
    session.append(system("elsewhere"))
    session.branch(first)
    compact(session, "S", None)
    assert seen(session) == ["S"]


def test_model_and_settings_are_remembered_across_a_compaction(session: Session) -> None:
    """The whole path counts, the compacted part included."""
    session.append(ModelChangeEntry(provider="p", model="m", settings={"effort": "low"}))
    say(session, "1")
    compact(session, "S", None)
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("p", "m", {"effort": "low"})


def test_extension_data_is_found_across_a_compaction(session: Session) -> None:
    """State belongs to the path, whatever a model still sees of it."""
    session.append(ExtensionDataEntry(ext_type="x.y", data=1))
    compact(session, "S", None)
    assert session.state("x.y") == 1


def test_a_branch_summary_in_the_kept_range_is_shown(session: Session) -> None:
    """What is kept is shown as it would be without a compaction."""
    (first,) = say(session, "1")
    say(session, "2")
    session.branch(first, summary="B")
    compact(session, "S", first)
    assert seen(session) == ["S", "1", "B"]


@pytest.mark.parametrize("which", ["unknown", "sibling", "below", "later"])
def test_a_compaction_keeps_entries_of_its_own_path_only(which: str, session: Session) -> None:
    """What is not above the compaction cannot be kept from, and nothing is written."""
    first, second = say(session, "1", "2")
    (sibling,) = say(session, "2b", parent_id=first)
    kept = {"unknown": "nothing", "sibling": sibling, "below": second, "later": sibling}[which]
    leaf = {"unknown": second, "sibling": second, "below": first, "later": None}[which]
    with pytest.raises(InvalidCompaction):
        session.append(CompactionEntry(summary="S", first_kept_entry_id=kept), parent_id=leaf)
    assert len(session.leaves()) == 2


def test_a_compaction_may_keep_what_is_appended_with_it(session: Session) -> None:
    """In one batch, the kept entry may be one of the batch."""
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


def test_summaries_are_user_messages_unless_told_otherwise(session: Session) -> None:
    """The default wording holds the summary; `render` may give any message."""
    say(session, "1")
    compact(session, "the story so far", None)
    (message,) = session.build_context().messages
    assert message["role"] == "user"
    assert "<summary>\nthe story so far\n</summary>" in message["content"]
    context = session.build_context(render=lambda entry: entry)
    assert context.messages == context.entries


def test_a_context_may_be_changed_without_changing_the_log(session: Session) -> None:
    """A message is encoded when appended and decoded afresh when read."""
    message = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    stored = session.append(message)
    message["content"] = "changed"
    stored.message["content"] = "changed"
    session.build_context().messages[0]["content"][0]["text"] = "changed"
    assert session.build_context().messages == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


# --- open calls ---


def test_open_calls_are_those_without_a_result(session: Session) -> None:
    """A call is open until a message of the context answers it."""
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


def test_a_damaged_line_breaks_the_path_and_names_the_place(log_path: Path) -> None:
    """A context through a missing parent raises; what does not need it is whole."""
    session, _ = damaged(log_path, 2)
    with session:
        with pytest.raises(BrokenPath, match="'b'") as caught:
            session.build_context()
        assert caught.value.missing == "b"
        with pytest.raises(BrokenPath):
            session.path()


def test_gaps_are_allowed_and_told(log_path: Path) -> None:
    """With `allow_gaps`, what there is comes, and where it is not whole."""
    session, offset = damaged(log_path, 2)
    child = offset + len(sealed(TEXTS)[2]) + 1
    with session:
        context = session.build_context(allow_gaps=True)
        assert ids(context.entries) == ["c", "d"]
        assert context.gaps == (Gap(child, "b"),)
        assert contents(session, leaf="a") == ["a"]


def test_a_line_damaged_after_opening_is_noticed_when_read(log_path: Path) -> None:
    """Every body is verified each time it is read; a gap is told once."""
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


def test_an_orphan_damaged_after_opening_is_a_gap_too(log_path: Path) -> None:
    """With `allow_gaps`, a line that cannot even name its missing parent raises nothing."""
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


def test_a_compaction_that_keeps_what_is_not_above_is_a_gap(log_path: Path) -> None:
    """Such a line, by another writer, raises and names what is missing."""
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


def test_damage_outside_the_context_does_not_matter(log_path: Path) -> None:
    """A body that was compacted away is not read; a sibling's damage breaks nothing."""
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


def test_an_orphan_may_be_a_leaf_and_be_continued(log_path: Path) -> None:
    """It is kept, its context raises, and `allow_gaps` shows what there is."""
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


def test_a_body_that_is_not_what_its_type_says_breaks_the_path(log_path: Path) -> None:
    """A sealed entry with fields of the wrong type is refused when it is read, and is a gap if that is allowed."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a", message="text"), node("c", "b")))
    with Session.open(log_path) as session:
        for leaf in ("b", "c"):
            with pytest.raises(BrokenPath):
                session.build_context(leaf=leaf)
        assert contents(session, allow_gaps=True) == ["a", "c"]


def test_an_uncertain_leaf_is_settled_by_branch(log_path: Path) -> None:
    """Until then everything that relies on it raises; a gap-tolerant context does not."""
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


def test_a_gap_before_a_mark_leaves_the_leaf_uncertain(log_path: Path) -> None:
    """A dropped line may have been the one that moved the leaf."""
    lines = sealed([HEADER, node("a", None), node("b", "a"), mark("m", "label", target_id="a", label="L")])
    log_path.write_bytes(as_file([*lines[:2], lines[3]]))
    with Session.open(log_path) as session:
        with pytest.raises(LeafUncertain, match="prev_mismatch"):
            session.build_context()
        session.append(user("c"), parent_id="a")
        assert contents(session) == ["a", "c"]
    assert seal_by_hand(HEADER, 0) == lines[0]


def test_who_made_a_reply_is_exact_or_a_gap(log_path: Path) -> None:
    """A model that was set where nobody can read it any more is not made up."""
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
