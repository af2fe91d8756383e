"""Where an append lands: notes, replies, retries, labels, a leaf that stays, system messages. Over each kind of log."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER, as_file, assistant, contents, ids, log_of, mark, node, sealed, system, user

import convtree
from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    IdConflict,
    InvalidMessage,
    LabelMark,
    LeafMark,
    LeafUncertain,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    Session,
    SessionStore,
    StaleLeaf,
    aio,
)

RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Done."}]}
STATE = ExtensionDataEntry(ext_type="x.y", data=1)

NOTES: dict[str, Entry] = {
    "compaction": CompactionEntry(summary="S", first_kept_entry_id=None),
    "model change": ModelChangeEntry(provider="p", model="m"),
    "extension data": STATE,
    "entry of another tool": OpaqueEntry(unknown_type="x.y", fields={"k": 1}),
    "message for nobody": MessageEntry(message=user("n"), visible_to="nobody"),
    "text for the model only": MessageEntry(message=user("Two days have passed."), visible_to="model"),
}
SAID: dict[str, Entry] = {
    "message": MessageEntry(message=user("x")),
    "system message": MessageEntry(message=system("x")),
    "message for the user only": MessageEntry(message=assistant("x"), visible_to="user"),
    "result for the model only": MessageEntry(message=RESULT, visible_to="model"),
    "reply for the model only": MessageEntry(message=assistant("x"), visible_to="model"),
    "branch summary": BranchSummaryEntry(from_id=None, summary="S"),
    "lost entry": LostEntry(line_crc=None),
}


@pytest.fixture(params=["memory", "folder", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """Returns a store of each kind."""
    places: dict[str, str | Path] = {
        "memory": "memory:",
        "folder": tmp_path / "store",
        "sqlite": f"sqlite:///{tmp_path / 'store.sqlite'}",
    }
    with convtree.open_store(places[request.param]) as opened:
        yield opened


@pytest.fixture
def pair(store: SessionStore) -> Iterator[tuple[Session, Session]]:
    """Returns two sessions on one log that have both seen the leaf `q`, a question below `a`."""
    with store.create(id="s") as one:
        one.append_many([MessageEntry(id=id, message=user(id)) for id in "aq"])
        with store.open("s") as two:
            yield one, two


def leaf_of(store: SessionStore) -> str | None:
    """Returns the leaf that a new reader sees."""
    with store.open("s", read_only=True) as reader:
        return reader.leaf_id


def records_of(session: Session) -> list[Any]:
    return [record for _, record in session.records()]


def test_each_session_reads_what_the_other_wrote(pair: tuple[Session, Session]) -> None:
    """Also after several appends of its own."""
    one, two = pair
    for writer, reader in ((one, two), (two, one), (one, two)):
        written = [writer.append(user("x")) for _ in range(3)]
        with pytest.raises(StaleLeaf):
            reader.append(user("y"))
        assert reader.refresh() == written


# --- a note makes nobody stale ---


@pytest.mark.no_cover
@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
@pytest.mark.parametrize("policy", ["raise", "branch", "rebase"])
def test_an_append_continues_behind_notes_of_others(note: Entry, policy: Any, pair: tuple[Session, Session]) -> None:
    """Whatever the policy is, the append is below the notes, and becomes the leaf that the session has seen."""
    one, two = pair
    notes = two.append_many([note, STATE])
    mine = one.append(user("mine"), on_stale=policy)
    assert mine.parent_id == notes[-1].id
    assert (one.leaf_id, one.refresh()) == (mine.id, notes)


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_an_append_is_stale_if_somebody_said_something(said: Entry, pair: tuple[Session, Session]) -> None:
    """Also if a note came before or after it."""
    one, two = pair
    for entries in ([said], [said, STATE], [STATE, said]):
        leaf = two.append_many(entries)[-1].id
        with pytest.raises(StaleLeaf) as caught:
            one.append(user("mine"))
        assert (caught.value.expected, caught.value.actual) == (one.leaf_id, leaf)
        one.refresh()


def test_a_note_on_another_branch_is_stale(pair: tuple[Session, Session]) -> None:
    """The leaf was moved to another branch, up or to the side, with or without a note there."""
    one, two = pair
    for target in ("a", None):
        two.branch(target)
        with pytest.raises(StaleLeaf):
            one.append(user("mine"))
        two.append(STATE)
        with pytest.raises(StaleLeaf):
            one.append(user("mine"))


def test_a_note_in_an_empty_log_makes_nobody_stale(store: SessionStore) -> None:
    """The first message continues the note that another session began the log with."""
    with store.open("s", create=True) as one, store.open("s", create=True) as two:
        note = two.append(ModelChangeEntry(provider=None, model="m"))
        assert one.append(user("mine")).parent_id == note.id


def test_a_compaction_lands_behind_notes(pair: tuple[Session, Session]) -> None:
    """A summary is appended at the leaf, notes of others included, also with the policy to branch."""
    one, two = pair
    for _ in range(2):
        note = two.append(STATE)
        summary = one.compact(lambda _: "S", keep_tokens=1)
        assert summary is not None
        assert summary.parent_id == note.id
        one.append_many([user("b"), user("c")])
        two.refresh()


def test_a_leaf_that_is_gone_is_stale(log_path: Path) -> None:
    """The log was replaced, and the new one does not have the leaf that this session has seen."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a")))
    with Session.open(log_path, durability="process") as session:
        log_path.with_suffix(".new").write_bytes(
            log_of(node("a", None), node("n", "a", "extension_data", ext_type="x", data=1))
        )
        log_path.with_suffix(".new").rename(log_path)
        with pytest.raises(StaleLeaf) as caught:
            session.append(user("c"))
        assert (caught.value.expected, caught.value.actual) == ("b", "n")


def test_a_message_that_cannot_be_read_is_no_note(log_path: Path) -> None:
    """Its line verifies, but holds no message."""
    log_path.write_bytes(log_of(node("a", None)))
    with Session.open(log_path, durability="process") as session:
        broken = node("b", "a", message="text", visible_to="nobody")
        log_path.write_bytes(as_file(sealed([HEADER, node("a", None), broken])))
        with pytest.raises(StaleLeaf):
            session.append(user("c"))


# --- replies ---


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_reply_lands_behind_notes(note: Entry, pair: tuple[Session, Session], store: SessionStore) -> None:
    """A compaction that landed while the model thought is on the path of the reply, and in the next context."""
    one, two = pair
    notes = two.append_many([note, STATE])
    reply = one.append(assistant("r"), reply_to="q")
    assert (reply.parent_id, reply.reply_to, one.leaf_id) == (notes[-1].id, "q", reply.id)
    assert leaf_of(store) == reply.id


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_a_reply_is_a_sibling_of_what_was_said_meanwhile(said: Entry, pair: tuple[Session, Session]) -> None:
    """It is a child of the entry it answers, wherever the notes are, and becomes the leaf."""
    one, two = pair
    for entries in ([said], [said, STATE], [STATE, said]):
        two.append_many(entries, parent_id="q")
        reply = one.append(assistant("r"), reply_to="q")
        assert (reply.parent_id, one.leaf_id) == ("q", reply.id)


@pytest.mark.parametrize("target", ["a", None])
def test_a_reply_leaves_a_leaf_that_is_elsewhere(
    target: str | None, pair: tuple[Session, Session], store: SessionStore
) -> None:
    """The reply is stored below its question, the leaf of the log and the leaf of the session stay."""
    one, two = pair
    two.branch(target)
    for moves in (False, True):
        leaf = two.append(user("elsewhere")).id if moves else target
        reply = one.append(assistant("r"), reply_to="q")
        assert (reply.parent_id, one.leaf_id, leaf_of(store)) == ("q", "q", leaf)
        assert isinstance(records_of(one)[-1], LeafMark)
    assert two.append(user("goes on")).parent_id == leaf
    with pytest.raises(StaleLeaf):
        one.append(user("mine"))


def test_a_reply_is_never_stale(pair: tuple[Session, Session]) -> None:
    """Whatever this session has seen. The next append continues the reply."""
    one, two = pair
    question = two.append(user("q2"))
    reply = one.append(assistant("r"), reply_to=question.id)
    assert reply.parent_id == question.id
    assert one.append(user("next")).parent_id == reply.id


def test_a_reply_to_an_earlier_entry_is_a_sibling(pair: tuple[Session, Session]) -> None:
    """Another answer to an old question: regenerating needs no parent."""
    one, _ = pair
    first = one.append(assistant("1"), reply_to="q")
    one.append(user("more"))
    second = one.append(assistant("2"), reply_to="q")
    assert [entry.id for entry in one.siblings(second.id)] == [first.id, second.id]


def test_a_reply_of_several_items_is_a_chain(pair: tuple[Session, Session]) -> None:
    """The first item answers; `status` goes to the last."""
    one, two = pair
    note = two.append(STATE)
    first, second = one.append_many([assistant("1"), assistant("2")], reply_to="q", status="interrupted")
    assert isinstance(first, MessageEntry)
    assert isinstance(second, MessageEntry)
    assert (first.parent_id, first.reply_to, first.status) == (note.id, "q", None)
    assert (second.parent_id, second.reply_to, second.status) == (first.id, None, "interrupted")


def test_a_repeated_reply_writes_nothing(pair: tuple[Session, Session]) -> None:
    """Its id makes a retry of it. A reply to another entry has other content."""
    one, two = pair
    reply = one.append(assistant("r"), reply_to="q", id="r")
    two.branch("a")
    count = len(records_of(two))
    assert two.append(assistant("r"), reply_to="q", id="r") == reply
    assert len(records_of(two)) == count
    with pytest.raises(IdConflict):
        two.append(assistant("r"), reply_to="a", id="r")


def test_a_reply_goes_on_after_its_stored_beginning(pair: tuple[Session, Session]) -> None:
    """The first item is stored below a note: the rest continues it."""
    one, two = pair
    two.append(STATE)
    call = one.append(assistant("call"), reply_to="q", id="c")
    items = [MessageEntry(id="c", message=assistant("call")), user("result")]
    assert [entry.parent_id for entry in one.append_many(items, reply_to="q")] == [call.parent_id, "c"]


def test_a_message_entry_takes_reply_to(pair: tuple[Session, Session]) -> None:
    """The argument sets the field of the entry. The field alone does not choose a place."""
    one, _ = pair
    assert one.append(MessageEntry(message=assistant("r")), reply_to="a").reply_to == "a"
    by_field = one.append(MessageEntry(message=assistant("r"), reply_to="q"), parent_id=None)
    assert (by_field.reply_to, by_field.parent_id) == ("q", None)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda s: s.append(user("x"), reply_to="gone"), EntryNotFound, "gone"),
        (lambda s: s.append(user("x"), reply_to="m"), EntryNotFound, "m"),
        (lambda s: s.append(user("x"), reply_to="a b"), InvalidMessage, "reply_to"),
        (lambda s: s.append(user("x"), reply_to="a", parent_id="a"), ValueError, "leave out parent_id and on_stale"),
        (lambda s: s.append(user("x"), reply_to="a", parent_id=None), ValueError, "leave out parent_id and on_stale"),
        (lambda s: s.append(user("x"), reply_to="a", on_stale="raise"), ValueError, "leave out parent_id and on_stale"),
        (lambda s: s.append_many([user("x")], reply_to="a", parent_id="a"), ValueError, "leave out parent_id"),
        (lambda s: s.append(STATE, reply_to="a"), TypeError, "go with a message only"),
        (lambda s: s.append(STATE, replaces="a"), TypeError, "go with a message only"),
        (lambda s: s.append_many([STATE, user("x")], reply_to="a"), TypeError, "go with a message only"),
        (lambda s: s.append(user("x"), replaces="gone"), EntryNotFound, "gone"),
        (lambda s: s.append(user("x"), replaces="m"), EntryNotFound, "m"),
        (lambda s: s.append(user("x"), replaces="b", parent_id="a"), InvalidMessage, "'b' is not on the path"),
        (lambda s: s.append(user("x"), replaces="a", parent_id=None), InvalidMessage, "'a' is not on the path"),
        (lambda s: s.append(user("x"), label="x" * 257), InvalidMessage, "at most 256"),
        (lambda s: s.append(user("x"), label=5), TypeError, "^label: expected a text"),
        (lambda s: s.append(user("x"), status="stopped"), InvalidMessage, "^status: .*; expected 'interrupted'$"),
        (lambda s: s.append(user("x"), visible_to="x"), InvalidMessage, "expected 'all', 'model', 'user', 'nobody'$"),
        (lambda s: s.append(user("x"), extra="x"), TypeError, "^extra: expected a mapping"),
        (lambda s: s.append(user("x"), extra=[1]), TypeError, "^extra: expected a mapping"),
        (lambda s: s.append(user("x"), extra=5), TypeError, "^extra: expected a mapping"),
        (lambda s: s.append(user("x"), extra=[]), TypeError, "^extra: expected a mapping"),
        (lambda s: s.append_many([user("x")], extra=[("a", 1)]), TypeError, "^extra: expected a mapping"),
        (lambda s: s.append(user("x"), move_leaf="no"), TypeError, "move_leaf"),
        (lambda s: s.append(user("x"), parent_id=["a"]), TypeError, "^parent_id: expected"),
        (lambda s: s.set_system({"role": "user", "content": "x"}), InvalidMessage, "role system or developer"),
        (lambda s: s.set_system(["x"]), TypeError, "^message: expected a text or a mapping"),
        (lambda s: s.set_system("x", on_stale="maybe"), ValueError, "on_stale is one of"),
        (
            lambda s: s.extend([MessageEntry(id="x", parent_id="a", message=user("x"), replaces="b")]),
            InvalidMessage,
            "'b' is not on the path",
        ),
        (lambda s: s.extend([STATE, 5]), TypeError, "not a int"),
        (lambda s: s.extend([], batch_size=0), ValueError, "batch_size"),
        (lambda s: s.extend([], batch_size="5"), TypeError, "^batch_size: expected"),
    ],
)
def test_a_refused_append_writes_nothing(
    act: Callable[[Any], object], error: type[Exception], text: str, log_path: Path
) -> None:
    """The error says why, and no byte changes."""
    log_path.write_bytes(log_of(node("a", None), mark("m", "label", target_id="a", label="L"), node("b", "a")))
    before = log_path.read_bytes()
    with Session.open(log_path, durability="process") as session:
        with pytest.raises(error, match=text):
            act(session)
        assert (session.leaf_id, contents(session)) == ("b", ["a", "b"])
    assert log_path.read_bytes() == before


def test_a_reply_with_an_uncertain_leaf(log_path: Path) -> None:
    """The reply is below the entry it answers and becomes the leaf. An uncertain leaf cannot stay."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a")) + b"damage\n")
    with Session.open(log_path, durability="process") as session:
        with pytest.raises(LeafUncertain):
            session.append(assistant("r"), reply_to="a", move_leaf=False)
        with pytest.raises(LeafUncertain):
            session.append(assistant("r"), parent_id="a", move_leaf=False)
        reply = session.append(assistant("r"), reply_to="a")
        assert (reply.parent_id, session.leaf_id) == ("a", reply.id)
        assert contents(session) == ["a", "r"]


# --- a leaf that stays, labels ---


def test_the_leaf_can_stay(pair: tuple[Session, Session], store: SessionStore) -> None:
    """The entry and a leaf mark are appended. Nobody's leaf moves."""
    one, two = pair
    entry = one.append(user("x"), move_leaf=False)
    assert (entry.parent_id, one.leaf_id, leaf_of(store)) == ("q", "q", "q")
    assert [type(record) for record in records_of(one)[-2:]] == [MessageEntry, LeafMark]
    assert records_of(one)[-1].target_id == "q"
    assert two.append(user("y")).parent_id == "q"


def test_the_leaf_that_stays_is_that_of_the_log(pair: tuple[Session, Session], store: SessionStore) -> None:
    """Also if this session has not seen it, and it is not stale because it names a parent."""
    one, two = pair
    leaf = two.append(user("y")).id
    with pytest.raises(StaleLeaf):
        one.append(user("x"), move_leaf=False)
    chain = one.append_many([user("1"), user("2")], parent_id="a", move_leaf=False)
    assert [entry.parent_id for entry in chain] == ["a", chain[0].id]
    assert (one.leaf_id, leaf_of(store)) == ("q", leaf)
    reply = two.append(assistant("r"), reply_to=leaf, move_leaf=False)
    assert (reply.parent_id, two.leaf_id, leaf_of(store)) == (leaf, leaf, leaf)


def test_the_leaf_of_an_empty_log_can_stay(store: SessionStore) -> None:
    """It stays before the first entry."""
    with store.create(id="s") as session:
        entry = session.append(user("x"), move_leaf=False)
        assert (entry.parent_id, session.leaf_id, leaf_of(store)) == (None, None, None)
        assert session.append(user("y")).parent_id is None


def test_a_retry_without_moving_the_leaf_has_not_seen_it(pair: tuple[Session, Session]) -> None:
    """A retry writes nothing, and the session's leaf stays, too."""
    one, two = pair
    two.append(user("x"), id="x")
    assert one.append(user("x"), id="x", move_leaf=False).id == "x"
    assert one.leaf_id == "q"
    assert one.append(user("x"), id="x").id == "x"
    assert one.leaf_id == "x"


def test_a_label_is_stored_with_its_entry(pair: tuple[Session, Session], store: SessionStore) -> None:
    """In the order entry, label, leaf. `append_many` labels the last item."""
    one, _ = pair
    entry = one.append(user("x"), label="L", move_leaf=False)
    assert [type(record) for record in records_of(one)[-3:]] == [MessageEntry, LabelMark, LeafMark]
    chain = one.append_many([user("1"), user("2")], label="x" * 256)
    assert ids(chain) == [entry.id for entry in one.path()[-2:]]
    assert one.labels == {entry.id: "L", chain[1].id: "x" * 256}
    with store.open("s") as again:
        assert again.labels == one.labels


def test_a_retry_writes_no_label(pair: tuple[Session, Session]) -> None:
    """The label may have been changed since. A chain whose last item is stored gets none either."""
    one, _ = pair
    one.append(user("x"), id="x", label="L")
    one.label("x", None)
    assert one.append(user("x"), id="x", label="L").id == "x"
    one.append_many([user("new"), MessageEntry(id="x", message=user("x"))], label="L")
    assert one.labels == {}


def test_a_label_is_redacted() -> None:
    """It is written like every other text."""
    session = Session.memory(redact=convtree.redact)
    entry = session.append(user("x"), label="AKIAABCDEFGHIJKLMNOP")
    assert session.labels == {entry.id: "[REDACTED:aws_key_id]"}


def test_replies_and_replacements_keep_their_ids_under_redaction() -> None:
    """An id is not a secret, whatever it looks like: it has to lead to an entry."""
    session = Session.memory(redact=convtree.redact)
    first = session.append(user("x"), id="AKIAABCDEFGHIJKLMNOP")
    second = session.append(user("y"), reply_to=first.id, replaces=first.id)
    assert (second.reply_to, second.replaces) == (first.id, first.id)


# --- replaces ---


def test_replaces_names_an_entry_on_the_path(pair: tuple[Session, Session]) -> None:
    """It is stored with the message. It may name an entry of the same call."""
    one, _ = pair
    assert one.append(user("x"), replaces="a").replaces == "a"
    assert one.append(user("x"), replaces="q", parent_id="q").replaces == "q"
    first, second = one.append_many([user("1"), user("2")], replaces="a")
    assert isinstance(first, MessageEntry)
    assert isinstance(second, MessageEntry)
    assert (first.replaces, second.replaces) == ("a", None)
    chain = [MessageEntry(id="c", message=user("c")), MessageEntry(id="d", message=user("d"), replaces="c")]
    assert ids(one.append_many(chain)) == ["c", "d"]
    aside = [MessageEntry(id="e", message=user("e")), MessageEntry(id="f", message=user("f"), replaces="c")]
    with pytest.raises(InvalidMessage):
        one.append_many(aside, parent_id="a")
    roots = [
        MessageEntry(id="e", message=user("e")),
        MessageEntry(id="f", message=user("f"), replaces="e"),
    ]
    with pytest.raises(InvalidMessage) as caught:
        one.extend(roots)  # both are first entries
    assert caught.value.place == "replaces"


# --- retries of several items ---


def entries_of(text: str) -> list[MessageEntry]:
    """Makes entries whose ids are the letters of a text."""
    return [MessageEntry(id=id, message=user(id)) for id in text]


def test_stored_items_on_the_path_are_passed_over(pair: tuple[Session, Session]) -> None:
    """A restarted program sends its system message again: the rest continues the leaf."""
    one, two = pair
    one.append(user("b"))
    two.refresh()
    _, b = two.append_many([*entries_of("a"), user("c")])
    assert b.parent_id == one.leaf_id
    assert contents(two) == ["a", "q", "b", "c"]


def test_stored_items_of_another_branch_stay_there(pair: tuple[Session, Session]) -> None:
    """They are returned as they are. The new ones continue the leaf, or the parent that the call names."""
    one, _ = pair
    one.append(user("x"), id="x", parent_id=None)
    one.branch("q")
    stored = one.append_many(entries_of("xb"))
    assert [(entry.id, entry.parent_id) for entry in stored] == [("x", None), ("b", "q")]
    stored = one.append_many(entries_of("cxd"), parent_id="a")
    assert [(entry.id, entry.parent_id) for entry in stored] == [("c", "a"), ("x", None), ("d", "c")]


def test_the_stored_beginning_of_a_chain_is_continued(pair: tuple[Session, Session]) -> None:
    """A prefix that is where the call would put it was stored by an earlier try, whatever the session has seen."""
    one, two = pair
    two.append(STATE)
    two.append_many(entries_of("bc"))
    two.append(STATE)
    note = two.leaf_id
    assert [entry.parent_id for entry in one.append_many(entries_of("bcd"))][1:] == ["b", note]
    assert [entry.parent_id for entry in one.append_many(entries_of("bcde"), parent_id="q")][1:] == ["b", note, "d"]
    assert one.leaf_id == "e"


def test_the_beginning_of_a_stale_chain_is_stale(pair: tuple[Session, Session]) -> None:
    """Somebody said something behind the prefix. A parent that the call names has its prefix continued anyway."""
    one, two = pair
    two.append_many(entries_of("bx"))
    with pytest.raises(StaleLeaf):
        one.append_many(entries_of("bc"))
    assert one.append_many(entries_of("bc"), parent_id="q")[1].parent_id == "b"
    roots = one.append_many(entries_of("az"), parent_id=None)
    assert [entry.parent_id for entry in roots] == [None, "a"]


def test_a_partly_stored_chain_needs_its_parent(pair: tuple[Session, Session]) -> None:
    """A chain that is stored as a whole does not."""
    one, _ = pair
    with pytest.raises(EntryNotFound):
        one.append_many(entries_of("qb"), parent_id="gone")
    assert ids(one.append_many(entries_of("aq"), parent_id="gone")) == ["a", "q"]


# --- the system message ---


def test_a_system_message_is_set_once(store: SessionStore) -> None:
    """A program that starts again writes nothing. Another text replaces the message in effect."""
    with store.create(id="s") as session:
        first = session.set_system("Be brief.")
        assert (first.message, first.pinned, first.replaces) == (system("Be brief."), True, None)
        session.append(user("a"))
    with store.open("s") as session:
        count = len(records_of(session))
        assert session.set_system("Be brief.") == first
        assert len(records_of(session)) == count
        second = session.set_system("Be kind.")
        assert (second.parent_id, second.replaces, session.leaf_id) == (session.path()[-2].id, first.id, second.id)
        assert session.set_system("Be kind.") == second
        third = session.set_system("Be brief.")
        assert (third.parent_id, third.replaces) == (second.id, second.id)


def test_a_system_message_belongs_to_its_path(pair: tuple[Session, Session]) -> None:
    """Another branch has its own. Messages that no model sees are not in effect."""
    one, _ = pair
    below = one.set_system("Be brief.")
    one.append(system("hidden"), visible_to="user")
    assert one.set_system("Be brief.") == below
    one.branch("a")
    beside = one.set_system("Be brief.")
    assert (beside.id != below.id, beside.parent_id, beside.replaces) == (True, "a", None)


def test_a_system_message_given_as_a_message_is_compared_as_a_whole(pair: tuple[Session, Session]) -> None:
    """A text is compared with the text of the message in effect."""
    one, _ = pair
    message = {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}
    first = one.set_system(message)
    assert (first.message, first.pinned) == (message, True)
    assert one.set_system(dict(message)) == first
    assert one.set_system("Be brief.") == first
    assert one.set_system(system("Be brief.")).replaces == first.id


def test_a_system_message_and_a_stale_leaf(pair: tuple[Session, Session]) -> None:
    """A message in effect is found before the leaf is compared, as a retry is. A new one is appended as by `append`."""
    one, two = pair
    first = two.set_system("Be brief.")
    assert one.set_system("Be brief.") == first
    assert one.leaf_id == first.id  # it is the log's leaf
    two.append(user("x"))
    assert one.set_system("Be brief.") == first
    assert one.leaf_id == first.id
    with pytest.raises(StaleLeaf):
        one.set_system("Be kind.")
    beside = one.set_system("Be kind.", on_stale="branch")
    assert (beside.parent_id, beside.replaces) == (first.id, first.id)
    rebased = two.set_system("Be wise.", on_stale="rebase")
    assert (rebased.parent_id, rebased.replaces) == (beside.id, beside.id)


def test_a_redacted_system_message_is_set_once() -> None:
    """What is compared is what was written."""
    session = Session.memory(redact=convtree.redact)
    first = session.set_system("The key is AKIAABCDEFGHIJKLMNOP.")
    assert first.text == "The key is [REDACTED:aws_key_id]."
    assert session.set_system("The key is AKIAABCDEFGHIJKLMNOP.") == first


def test_the_system_message_behind_a_compaction(pair: tuple[Session, Session]) -> None:
    """It is pinned, so it is in effect after a compaction, too."""
    one, _ = pair
    first = one.set_system("Be brief.")
    one.append(CompactionEntry(summary="S", first_kept_entry_id=None))
    assert one.set_system("Be brief.") == first


def test_async_appends_land_where_the_sync_ones_do() -> None:
    """The arguments of the sync calls reach them."""
    import asyncio

    async def main() -> None:
        async with aio.Session.memory() as session:
            first = await session.set_system("Be brief.")
            assert await session.set_system("Be brief.") == first
            question = await session.append(user("q"), label="L")
            await session.append(STATE)
            reply = await session.append(assistant("r"), reply_to=question.id, move_leaf=False)
            assert (reply.reply_to, session.labels) == (question.id, {question.id: "L"})
            chain = await session.append_many([user("x")], reply_to=question.id, replaces=first.id)
            assert isinstance(chain[0], MessageEntry)
            assert (chain[0].reply_to, chain[0].replaces) == (question.id, first.id)

    asyncio.run(main())
