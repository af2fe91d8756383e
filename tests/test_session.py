"""Every operation of a session: its effect, its errors, and that a refused call writes nothing."""

import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER, as_file, assistant, codes, contents, ids, log_of, mark, node, sealed, system, user
from msgspec import UNSET

from convtree import (
    BranchSummaryEntry,
    BrokenPath,
    CompactionEntry,
    ConvtreeError,
    CorruptLog,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    IdConflict,
    InvalidCompaction,
    InvalidMessage,
    LabelMark,
    LeafMark,
    MessageEntry,
    ModelChangeEntry,
    NotALog,
    OpaqueEntry,
    ParentSession,
    ReadOnlySession,
    Session,
    SessionClosed,
    SessionExists,
    SessionInfoMark,
    SessionNotFound,
    StaleLeaf,
    aio,
    open_store,
)
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.leaf import LEAF


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Asserts that no file in the log's folder changes."""

    def state() -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in path.parent.iterdir()}

    before = state()
    yield
    assert state() == before


def quick(path: Path, **arguments: Any) -> Session:
    return Session.open(path, durability="process", **arguments)


# --- opening ---


def test_the_first_append_creates_the_file(log_path: Path) -> None:
    """Opening writes nothing. The first append writes header and entry together."""
    with quick(log_path, id="s1", name="trip", cwd="/w", metadata={"k": 1}) as session:
        assert (session.id, session.name, session.metadata, session.leaf_id) == ("s1", "trip", {"k": 1}, None)
        assert session.build_context().messages == []
        assert session.branch(None) is None
        assert session.append_many([]) == []
        assert session.refresh() == []
        assert not log_path.exists()
        session.append(user("a"))
        assert log_path.read_bytes().count(b"\n") == 2
    with quick(log_path, id="other", name="other", metadata={}) as session:
        assert (session.id, session.name, session.metadata) == ("s1", "trip", {"k": 1})
        assert session.header.cwd == "/w"


def test_header_fields_are_read_back(log_path: Path) -> None:
    """Every field of a header is read back as it was given."""
    parent = ParentSession(id="p", entry_id="e", kind="task")
    with quick(log_path, git_root="/g", owner="ann", parent_session=parent) as session:
        session.append(user("a"))
    with quick(log_path, mode="r") as session:
        header = session.header
        assert (header.git_root, header.owner, header.parent_session) == ("/g", "ann", parent)
        assert (header.version, header.seal, session.location) == (1, "crc32", str(log_path))
        assert re.fullmatch(r"[0-9a-f]{32}", session.id)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", header.timestamp or "")


def test_a_mark_can_be_the_first_record(log_path: Path) -> None:
    """Renaming a new session creates its file."""
    with quick(log_path) as session:
        session.rename("n")
    with quick(log_path) as session:
        assert (session.name, session.leaf_id, session.findings) == ("n", None, ())


def test_open_modes(log_path: Path) -> None:
    """Modes `r` and `r+` need a log, `x` refuses one, `a` accepts both."""
    for mode in ("r", "r+"):
        with pytest.raises(SessionNotFound):
            quick(log_path, mode=mode)
    with quick(log_path, mode="x") as session:
        session.append(user("a"))
        session.append(user("b"))
    with unchanged(log_path), pytest.raises(SessionExists):
        quick(log_path, mode="x")
    for mode in ("r+", "a"):
        with quick(log_path, mode=mode) as session:
            session.append(user(mode))
    with quick(log_path, mode="r") as session:
        assert contents(session) == ["a", "b", "r+", "a"]


@pytest.mark.parametrize("argument", ["mode", "durability", "on_stale"])
def test_an_invalid_option_names_the_allowed_ones(argument: str, log_path: Path) -> None:
    """An invalid value of an option raises ValueError with a list of the allowed values."""
    with pytest.raises(ValueError, match=f"{argument} is one of"):
        Session.open(log_path, **{argument: "?"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"id": "../x"}, {"id": ""}, {"name": 5}, {"metadata": {"a": float("nan")}}, {"cwd": "\ud800"}]
)
def test_open_refuses_an_invalid_header(fields: dict[str, Any], log_path: Path) -> None:
    """Invalid header fields raise when the session is opened, not at the first append."""
    with pytest.raises((InvalidMessage, TypeError)):
        Session.open(log_path, **fields)
    with pytest.raises((InvalidMessage, TypeError)):
        Session.memory(**fields)
    assert list(log_path.parent.iterdir()) == []


def test_strict_raises_for_damage_only(log_path: Path) -> None:
    """With `strict`, damage raises CorruptLog; findings of severity `info` do not."""
    log_path.write_bytes(log_of(node("a", "gone")))
    with pytest.raises(CorruptLog, match="orphan in line 2") as caught:
        quick(log_path, strict=True)
    assert [finding.code for finding in caught.value.findings] == ["orphan"]
    log_path.write_bytes(log_of(node("a", None)).replace(b"\n", b"\r\n"))
    with quick(log_path, strict=True) as session:
        assert codes(session) == ["carriage_return"]


def test_an_empty_session_is_true(session: Session) -> None:
    """An empty session is true in a condition, because it has no length."""
    assert session
    assert not hasattr(session, "__len__")
    assert "leaf None" in repr(session)


# --- appending ---


def test_append_sets_id_parent_and_time(session: Session) -> None:
    """The returned entry is the stored one, and the new leaf."""
    first = session.append(user("a"))
    second = session.append(assistant("b"), provider="p", model="m", usage={"in": 1}, shape="pi", visible_to="model")
    assert (first.parent_id, second.parent_id, session.leaf_id) == (None, first.id, second.id)
    assert re.fullmatch(r"[0-9a-f]{16}", first.id)
    assert first.timestamp is not None
    assert (second.provider, second.model, second.usage, second.shape) == ("p", "m", {"in": 1}, "pi")
    assert session.entry(second.id) == second
    assert session.path() == [first, second]


def test_a_dict_is_always_a_message(session: Session) -> None:
    """A dict is stored as a message, even if its `type` key names an entry."""
    item = {"type": "compaction", "summary": "S", "first_kept_entry_id": None}
    assert session.append(item).message == item
    assert session.build_context().messages == [item]


def test_every_entry_class_can_be_appended(session: Session) -> None:
    """Every class of entry is stored. Its parent and time are replaced, its id is kept."""
    a = session.append(MessageEntry(id="a", parent_id="nowhere", timestamp="then", message=user("a"), source_id="s"))
    assert (a.id, a.parent_id, a.source_id) == ("a", None, "s")
    assert a.timestamp != "then"
    for entry in (
        CompactionEntry(summary="S", first_kept_entry_id="a"),
        BranchSummaryEntry(from_id="not.in.this:log", summary=""),
        ModelChangeEntry(provider=None, model="m"),
        ExtensionDataEntry(ext_type="x.y", data=[None]),
        OpaqueEntry(unknown_type="x.y", fields={"k": 1}),
    ):
        stored: Entry = session.append(entry)
        assert type(stored) is type(entry)
        assert session.entry(stored.id) == stored


@pytest.mark.parametrize(
    "item", [[user("a")], (user("a"),), "text", None, 5, {"role"}, LabelMark(target_id="a", label=None)]
)
def test_append_refuses_other_types(item: Any, session: Session) -> None:
    """The error for a list suggests `append_many`."""
    hint = "append_many" if isinstance(item, list | tuple) else "append takes"
    with pytest.raises(TypeError, match=hint):
        session.append(item)
    assert session.leaf_id is None


def test_append_refuses_other_entry_classes(session: Session) -> None:
    """The base class `Entry` and subclasses of the entry classes cannot be stored."""

    class Mine(MessageEntry, frozen=True, kw_only=True):
        pass

    for item in (Entry(), Mine(message=user("a"))):
        with pytest.raises(TypeError):
            session.append(item)


def test_message_arguments_are_refused_for_entries(session: Session) -> None:
    """An entry has its own fields, so arguments such as `model` raise; an unknown argument is named."""
    with pytest.raises(TypeError, match="with a message only"):
        session.append(ModelChangeEntry(provider=None, model="m"), model="n")
    with pytest.raises(TypeError, match="'colour'"):
        session.append(user("a"), colour="red")  # type: ignore[call-overload]


@pytest.mark.parametrize("method", [Session.append, aio.Session.append])
def test_the_signature_of_append_is_explicit(method: Callable[..., object]) -> None:
    """Both `append` methods list every argument with type and default, for `help()` and editors."""
    parameters = inspect.signature(method).parameters
    assert {name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY} == {
        "parent_id": LEAF,
        "id": None,
        "provider": None,
        "model": None,
        "usage": None,
        "shape": None,
        "visible_to": "all",
        "pinned": None,
        "status": None,
        "extra": None,
        "replaces": None,
        "reply_to": None,
        "label": None,
        "move_leaf": True,
        "on_stale": None,
        "expect_leaf": UNSET,
        "expect_revision": UNSET,
    }
    assert all(each.annotation is not each.empty for name, each in parameters.items() if name != "self")
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())


def test_system_and_developer_messages_are_pinned(session: Session) -> None:
    """Their role pins them by default, whether given as messages or as entries."""
    assert session.append(system("a")).pinned is True
    assert session.append({"role": "developer", "content": "a"}).pinned is True
    assert session.append(system("a"), pinned=False).pinned in (None, False)
    assert session.append(user("a")).pinned is None
    assert session.append(user("a"), pinned=True).pinned is True
    assert session.append(MessageEntry(message=system("a"))).pinned is True
    assert session.append(MessageEntry(message=system("a"), pinned=False)).pinned is False


def test_append_with_a_parent_writes_one_line(log_path: Path) -> None:
    """With `parent_id`, an append branches without a leaf mark."""
    with quick(log_path) as session:
        a = session.append(user("a"))
        session.append(user("b"))
        lines = log_path.read_bytes().count(b"\n")
        c = session.append(user("c"), parent_id=a.id)
        root = session.append(user("r"), parent_id=None)
        assert log_path.read_bytes().count(b"\n") == lines + 2
        assert (c.parent_id, root.parent_id, session.leaf_id) == (a.id, None, root.id)


REFUSALS: list[tuple[str, Callable[[Session], object], type[Exception]]] = [
    ("parent", lambda s: s.append(user("x"), parent_id="gone"), EntryNotFound),
    ("mark as parent", lambda s: s.append(user("x"), parent_id="m"), EntryNotFound),
    ("empty parent", lambda s: s.append(user("x"), parent_id=""), EntryNotFound),
    ("value", lambda s: s.append({"a": float("nan")}), InvalidMessage),
    ("empty message", lambda s: s.append({}), InvalidMessage),
    ("usage", lambda s: s.append(user("x"), usage={"a": {1}}), InvalidMessage),
    ("provider", lambda s: s.append(user("x"), provider=5), TypeError),  # type: ignore[call-overload]
    ("visible_to", lambda s: s.append(user("x"), visible_to="me"), InvalidMessage),  # type: ignore[call-overload]
    ("id", lambda s: s.append(user("x"), id="a b"), InvalidMessage),
    ("taken id", lambda s: s.append(user("x"), id="a"), IdConflict),
    ("id of a mark", lambda s: s.append(user("x"), id="m"), IdConflict),
    ("second of many", lambda s: s.append_many([user("x"), {"a": object()}]), InvalidMessage),
    ("twice in many", lambda s: s.append_many([MessageEntry(id="x", message=user("x"))] * 2), IdConflict),
    ("kept", lambda s: s.append(CompactionEntry(summary="", first_kept_entry_id="gone")), InvalidCompaction),
    ("kept type", lambda s: s.append(CompactionEntry(summary="", first_kept_entry_id=5)), InvalidCompaction),  # type: ignore[arg-type]
    ("from", lambda s: s.append(BranchSummaryEntry(summary="", from_id="a b")), InvalidMessage),
    ("branch", lambda s: s.branch("gone"), EntryNotFound),
    ("branch to a mark", lambda s: s.branch("m"), EntryNotFound),
    ("branch with summary", lambda s: s.branch("gone", summary="S"), EntryNotFound),
    ("summary type", lambda s: s.branch("a", summary=5), TypeError),  # type: ignore[arg-type]
    ("label", lambda s: s.label("gone", "x"), EntryNotFound),
    ("label of a mark", lambda s: s.label("m", "x"), EntryNotFound),
    ("long label", lambda s: s.label("a", "x" * 257), InvalidMessage),
    ("imported label", lambda s: s.extend([LabelMark(id="n", target_id=5, label="L")]), EntryNotFound),  # type: ignore[arg-type]
    ("label type", lambda s: s.label("a", 5), TypeError),  # type: ignore[arg-type]
    ("name type", lambda s: s.rename(5), TypeError),  # type: ignore[arg-type]
    ("metadata", lambda s: s.update_metadata(a=float("inf")), InvalidMessage),
    ("extend", lambda s: s.extend([MessageEntry(id="x", parent_id="gone", message=user("x"))]), EntryNotFound),
    (
        "extend below itself",
        lambda s: s.extend([MessageEntry(id="x", parent_id="x", message=user("x"))]),
        EntryNotFound,
    ),
    (
        "extend below a mark",
        lambda s: s.extend(
            [LabelMark(id="n", target_id="a", label="L"), MessageEntry(id="x", parent_id="n", message=user("x"))]
        ),
        EntryNotFound,
    ),
    (
        "extend to a mark",
        lambda s: s.extend([LabelMark(id="n", target_id="a", label="L"), LeafMark(id="o", target_id="n")]),
        EntryNotFound,
    ),
    ("fork", lambda s: s.fork(Path(s.location).with_name("f"), "gone"), EntryNotFound),
    ("fork onto itself", lambda s: s.fork(s.location), SessionExists),
    ("policy", lambda s: s.append(user("x"), on_stale="maybe"), ValueError),  # type: ignore[call-overload]
]


@pytest.mark.parametrize(("act", "error"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_a_refused_call_writes_nothing(
    act: Callable[[Session], object], error: type[Exception], log_path: Path
) -> None:
    """An invalid call raises its error, changes no byte and no leaf, and the session stays usable."""
    log_path.write_bytes(log_of(node("a", None), mark("m", "label", target_id="a", label="L"), node("b", "a")))
    with quick(log_path) as session:
        with unchanged(log_path), pytest.raises(error):
            act(session)
        assert (session.leaf_id, session.labels) == ("b", {"a": "L"})
        assert session.append(user("c")).parent_id == "b"
        assert contents(session) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "act",
    [
        lambda s: s.append(user("x"), provider=5),
        lambda s: s.append(user("x"), visible_to="me"),
        lambda s: s.append(BranchSummaryEntry(summary="", from_id="a b")),
        lambda s: s.append(CompactionEntry(summary="", first_kept_entry_id=5)),  # type: ignore[arg-type]
        lambda s: s.append({"content": "x" * 2**24}),
        lambda s: s.append(user("x"), label="x" * 257),
        lambda s: s.append(user("x"), replaces="a b"),
        lambda s: s.set_system(user("x")),
        lambda s: s.label("a", 5),
        lambda s: s.label(5, "x"),
        lambda s: s.branch(5),
        lambda s: s.rename(5),
        lambda s: s.extend([MessageEntry(id="x", timestamp=5, message=user("x"))]),  # type: ignore[arg-type]
        lambda s: s.extend([MessageEntry(id="x", timestamp="\ud800", message=user("x"))]),
    ],
)
def test_invalid_values_are_refused_before_the_write(act: Callable[[Any], object], log_path: Path) -> None:
    """They do not even cause the repair of a torn tail, which every write begins with."""
    log_path.write_bytes(log_of(node("a", None)) + b'{"id":"torn')
    with quick(log_path) as session:
        with unchanged(log_path), pytest.raises((InvalidMessage, InvalidCompaction, EntryNotFound, TypeError)):
            act(session)
        assert contents(session) == ["a"]


@pytest.mark.parametrize("parent_id", [5, 1.5])
def test_an_id_of_another_type_is_refused(parent_id: Any, session: Session) -> None:
    """Queries for a number as id raise TypeError."""
    session.append(user("a"), id="a")
    for act in (session.entry, session.path, session.children, session.tip, session.siblings, session.branch):
        with pytest.raises(TypeError, match="_id: expected a text or an Entry"):
            act(parent_id)
    with pytest.raises(TypeError, match="_id: expected a text or an Entry"):
        session.append(user("b"), parent_id=parent_id)


def test_append_many_appends_a_chain(session: Session) -> None:
    """Each entry is the parent of the next. `usage` goes to the last message, `model` to all."""
    root = session.append(user("root"))
    session.append(user("elsewhere"))
    chain = session.append_many(
        [user("a"), ModelChangeEntry(provider="p", model="q"), assistant("b")],
        parent_id=root.id,
        model="m",
        usage={"out": 3},
    )
    assert [entry.parent_id for entry in chain] == [root.id, chain[0].id, chain[1].id]
    assert isinstance(chain[0], MessageEntry)
    assert isinstance(chain[2], MessageEntry)
    assert (chain[0].model, chain[0].usage, chain[2].model, chain[2].usage) == ("m", None, "m", {"out": 3})
    assert session.leaf_id == chain[2].id
    assert session.path() == [root, *chain]


def test_append_many_takes_any_iterable(session: Session) -> None:
    """A generator and an empty iterator are accepted."""
    assert len(session.append_many(user(text) for text in "abc")) == 3
    assert session.append_many(iter(())) == []


def test_append_many_is_one_write(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Header and entries reach the system in one `write` call."""
    written: list[int] = []
    write = os.write

    def counting(fd: int, data: bytes) -> int:
        written.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counting)
    with quick(log_path) as session:
        session.append_many([user(str(number)) for number in range(500)])
    assert written == [log_path.stat().st_size]


# --- retrying by id ---


def test_a_retry_writes_nothing(log_path: Path) -> None:
    """An append with a stored id and equal content returns the stored entry, also after other appends."""
    with quick(log_path) as session:
        first = session.append({"role": "user", "n": 1, "x": [1.0]}, id="a", model="m")
        session.append(user("b"))
        with unchanged(log_path):
            again = session.append({"x": [1.0], "n": 1, "role": "user"}, id="a", model="m", parent_id=None)
            assert again == first
        assert session.append(user("c")).parent_id != "a"
        with unchanged(log_path), pytest.raises(IdConflict) as caught:
            session.append({"role": "user", "n": 1, "x": [1.0]}, id="a", model="n")
        assert caught.value.id == "a"


def test_a_retry_of_the_leaf_updates_the_seen_leaf(log_path: Path) -> None:
    """After a retry of an append whose answer was lost, the next append is not stale."""
    with quick(log_path) as session, quick(log_path) as lost:
        session.append(user("q"), id="q")
        lost.append(user("q"), id="q")
        assert lost.append(assistant("a")).parent_id == "q"
        with pytest.raises(StaleLeaf):
            session.append(user("q2"))


def test_append_many_resumes_after_a_partial_write(log_path: Path) -> None:
    """Stored entries are skipped, the others are appended below them. A third call writes nothing."""
    batch = [MessageEntry(id=id, message=user(id)) for id in "abc"]
    with quick(log_path) as session:
        session.append_many(batch[:2])  # all that is there of a call that an earlier version began
        assert ids(session.append_many(batch)) == ["a", "b", "c"]
        assert ids(session.path("c")) == ["a", "b", "c"]
        with unchanged(log_path):
            assert ids(session.append_many(batch)) == ["a", "b", "c"]
        with unchanged(log_path), pytest.raises(IdConflict):
            session.append_many([batch[0], MessageEntry(id="b", message=user("other")), batch[2]])


def test_a_retry_skips_all_other_checks(log_path: Path) -> None:
    """A retry needs no valid parent and is never stale."""
    with quick(log_path) as one, quick(log_path) as two:
        one.append(user("a"), id="a")
        one.append(user("b"))
        assert two.append(user("a"), id="a", parent_id="gone").id == "a"
        assert two.append_many([MessageEntry(id="a", message=user("a"))])[0].id == "a"


def test_a_retry_compares_values_not_bytes(log_path: Path) -> None:
    """A stored line with other spelling is equal; one nested too deep to compare is a conflict."""
    deep = '{"id":"d","parent_id":null,"type":"extension_data","ext_type":"x.y","data":' + "[" * 300 + "]" * 300 + "}"
    log_path.write_bytes(
        log_of('{"type":"message","parent_id":null,"message":{"content":"\\u0061","role":"user"},"id":"a"}', deep)
    )
    with quick(log_path) as session, unchanged(log_path):
        assert session.append(user("a"), id="a").id == "a"
        with pytest.raises(IdConflict):
            session.append(ExtensionDataEntry(ext_type="x.y", data=[]), id="d")


def test_a_retry_of_a_damaged_line_raises(log_path: Path) -> None:
    """If the stored line was damaged after opening, a retry raises a ConvtreeError and writes nothing."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as session:
        data = bytearray(log_path.read_bytes())
        data[-60] ^= 0x80
        log_path.write_bytes(data)
        with unchanged(log_path), pytest.raises(ConvtreeError):
            session.append(user("a"), id="a")


# --- branches and queries ---


def test_branch_moves_the_leaf_durably(log_path: Path) -> None:
    """The move is written once and is still there after a restart."""
    with quick(log_path) as session:
        a, _ = session.append_many([user("a"), user("b")])
        assert session.branch(a.id) is None
        with unchanged(log_path):
            session.branch(a.id)
    with quick(log_path) as session:
        assert session.leaf_id == a.id
        session.append(user("c"))
        assert contents(session) == ["a", "c"]
        session.branch(None)
    with quick(log_path) as session:
        assert session.leaf_id is None
        assert session.build_context().messages == []
        assert session.append(user("root")).parent_id is None


def test_branch_appends_a_summary(session: Session) -> None:
    """The summary is appended below the target, names the leaf that was left, and becomes the leaf."""
    a, b = session.append_many([user("a"), user("b")])
    summary = session.branch(a.id, summary="b was wrong", details={"n": 1})
    assert summary is not None
    assert (summary.parent_id, summary.from_id, summary.details) == (a.id, b.id, {"n": 1})
    assert session.leaf_id == summary.id
    first = session.branch(None, summary="from the start")
    assert first is not None
    assert (first.parent_id, first.from_id) == (None, summary.id)


def test_siblings_and_tip_switch_between_branches(session: Session) -> None:
    """`branch(tip(sibling.id))` moves to the last entry of the other alternative."""
    question = session.append(user("q"))
    first = session.append(assistant("1"))
    end = session.append(user("more"))
    second = session.append(assistant("2"), parent_id=question.id)
    assert ids(session.siblings(second.id)) == ids(session.siblings(first.id)) == [first.id, second.id]
    assert session.siblings(question.id) == [question]
    assert (session.tip(first.id), session.tip(question.id), session.tip(second.id)) == (end.id, second.id, second.id)
    session.branch(session.tip(first.id))
    assert contents(session) == ["q", "1", "more"]


def test_siblings_ignore_entries_that_are_not_messages(session: Session) -> None:
    """Model changes and summaries between a message and its alternative do not separate them."""
    question = session.append(user("q"))
    first = session.append(assistant("1"))
    session.branch(question.id, summary="S")
    session.append(ModelChangeEntry(provider=None, model="m"))
    second = session.append(assistant("2"))
    session.append(user("below"))
    other_root = session.append(user("q'"), parent_id=None)
    assert ids(session.siblings(first.id)) == [first.id, second.id]
    assert ids(session.siblings(other_root.id)) == [question.id, other_root.id]


def test_children_and_siblings_in_pages(session: Session) -> None:
    """A page begins behind the last entry of the one before, which may be given as it is or by its id."""
    question = session.append(user("q"))
    answers = [session.append(assistant(str(number)), parent_id=question.id) for number in range(5)]
    note = session.append(ModelChangeEntry(provider=None, model="m"), parent_id=question.id)
    last = session.append(assistant("5"))
    first = session.children(question, limit=2)
    assert first == session.siblings(answers[3], limit=2) == answers[:2]
    assert session.children(question, limit=3, after=first[-1]) == answers[2:5]
    assert session.siblings(last, limit=4, after=first[-1].id) == [*answers[2:], last]
    assert session.children(question, after=answers[4]) == session.children(question, limit=9)[5:] == [note]
    assert session.siblings(last, after=answers[3], limit=9) == [answers[4], last]
    assert session.children(None, limit=1) == session.siblings(question, limit=1) == [question]
    assert session.children(question, after=note) == session.siblings(last, after=last) == []


def test_in_asks_for_the_id_of_an_entry(session: Session) -> None:
    """A label and the id of a mark are no ids of entries."""
    first = session.append(user("one"))
    session.label(first.id, "start")
    label = [record for _, record in session.records()][-1]
    assert [each in session for each in (first.id, "start", label.id, "other", None)] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_page_behind_an_entry_that_is_elsewhere(session: Session) -> None:
    """It cannot be the last one of the page before."""
    question = session.append(user("q"))
    answer = session.append(assistant("a"))
    with pytest.raises(ValueError, match=r"^after: not a child of this entry"):
        session.children(question, after=question)
    with pytest.raises(ValueError, match=r"^after: not an alternative to this message"):
        session.siblings(answer, after=question)
    with pytest.raises(EntryNotFound):
        session.children(question, after="nobody")
    with pytest.raises(ValueError, match="limit"):
        session.children(question, limit=0)


def test_children_leaves_and_common_ancestors(session: Session) -> None:
    """None is the place before the first entry. Marks are not children of any entry."""
    a = session.append(user("a"))
    b = session.append(user("b"))
    session.label(b.id, "L")
    c = session.append(user("c"), parent_id=a.id)
    root = session.append(user("r"), parent_id=None)
    assert session.children(None) == [a, root]
    assert session.children(a.id) == [b, c]
    assert session.children(b.id) == []
    assert session.leaves() == [b, c, root]
    assert session.common_ancestor(b.id, c.id) == a.id
    assert session.common_ancestor(a.id, c.id) == a.id
    assert session.common_ancestor(b.id, root.id) is None
    assert session.common_ancestor(b.id, None) is None
    assert session.path(None) == []
    assert session.path(c.id) == [a, c]


# --- marks ---


def test_labels_name_and_metadata_are_read_back(log_path: Path) -> None:
    """They are restored when the log is opened again, and do not move the leaf."""
    with quick(log_path, name="old") as session:
        a, b = session.append_many([user("a"), user("b")])
        session.label(a.id, "one")
        session.label(b.id, "two")
        session.label(a.id, "x" * 256)
        session.label(b.id, None)
        session.rename("new")
        session.archive()
        session.update_metadata(x=1, y={"z": 1})
        session.update_metadata(x=None, y={"w": 2})
        labels, leaf = session.labels, session.leaf_id
        labels["mine"] = "not stored"
        session.metadata["mine"] = 1
    with quick(log_path) as session:
        assert (session.labels, session.leaf_id) == ({a.id: "x" * 256}, leaf)
        assert (session.name, session.archived, session.metadata) == ("new", True, {"y": {"w": 2}})
        session.archive(False)
        session.rename(None)
        assert (session.archived, session.name) == (False, None)


def test_hold_and_directories_are_read_back(log_path: Path) -> None:
    """They begin as the header says, and change by marks. The header keeps the first directories."""
    with quick(log_path, cwd="/a", git_root="/g") as session:
        assert (session.held, session.cwd, session.git_root) == (False, "/a", "/g")
        session.hold()
        session.set_directories(cwd="/b")
        assert (session.held, session.cwd, session.git_root) == (True, "/b", "/g")
        session.set_directories(git_root=None)
    with quick(log_path, cwd="/ignored") as session:
        assert (session.held, session.cwd, session.git_root) == (True, "/b", None)
        assert (session.header.cwd, session.header.git_root) == ("/a", "/g")
        session.hold(False)
        session.extend([SessionInfoMark(id="i", cwd=None, hold=None)])
        assert (session.held, session.cwd, session.leaf_id) == (False, None, None)
        with pytest.raises(TypeError, match="cwd, git_root, or both"):
            session.set_directories()
        with pytest.raises(InvalidMessage):
            session.set_directories(cwd="\ud800")


def test_extension_data_is_read_along_the_path(session: Session) -> None:
    """The state is the last extension data of a type on the path. Other branches do not count."""
    a = session.append(user("a"))
    one = session.append(ExtensionDataEntry(ext_type="x.y", data={"n": 1}))
    two = session.append(ExtensionDataEntry(ext_type="x.y", data=None))
    other = session.append(ExtensionDataEntry(ext_type="x.z", data=3))
    assert session.extension_data() == [one, two, other]
    assert session.extension_data("x.y") == [one, two]
    assert session.extension_data("x.y", leaf=one.id) == [one]
    assert (session.state("x.y", 9), session.state("x.y", 9, leaf=one.id)) == (None, {"n": 1})
    assert (session.state("x.y", 9, leaf=a.id), session.state("x.y", leaf=None)) == (9, None)
    session.branch(a.id)
    assert session.extension_data() == []


# --- forking ---


def test_a_fork_copies_the_path(log_path: Path, tmp_path: Path) -> None:
    """A fork has the entries with ids and bytes, their labels, the name, and a header that names its source."""
    with quick(log_path, name="old", cwd="/w", metadata={"k": 1}) as session:
        a, b = session.append_many([user("a"), system("b")])
        session.append(user("left"))
        session.branch(b.id)
        compaction = session.append(CompactionEntry(summary="S", first_kept_entry_id=a.id))
        session.append(user("not copied"))
        session.label(a.id, "L")
        session.label(session.leaf_id or "", "not copied")
        session.rename("new")
        with session.fork(tmp_path / "fork.jsonl", compaction.id) as fork:
            assert fork.path() == session.path(compaction.id) == [a, b, compaction]
            assert fork.leaves() == [compaction]
            assert (fork.labels, fork.name, fork.metadata) == ({a.id: "L"}, "new", {"k": 1})
            assert (fork.leaf_id, fork.findings, fork.header.cwd) == (compaction.id, (), "/w")
            assert fork.header.parent_session == ParentSession(id=session.id, entry_id=compaction.id, kind="fork")
            assert fork.header.copied_to == compaction.id
            assert fork.id != session.id
            assert fork.append(user("goes on")).parent_id == compaction.id
        payloads = {line[:-36] for line in log_path.read_bytes().split(b"\n")}
        copied = (tmp_path / "fork.jsonl").read_bytes().split(b"\n")[1:4]
        assert all(line[:-36] in payloads for line in copied)
    assert (tmp_path / "fork.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_failed_fork_leaves_no_file(log_path: Path, tmp_path: Path) -> None:
    """A line damaged after opening stops the copy before the new file gets its name."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a"), node("c", "b")))
    with quick(log_path) as session:
        data = bytearray(log_path.read_bytes())
        data[-60] ^= 1
        log_path.write_bytes(data)
        with unchanged(log_path), pytest.raises(BrokenPath):
            session.fork(tmp_path / "fork.jsonl")
        with session.fork(tmp_path / "fork.jsonl", "b") as fork:
            assert ids(fork.path()) == ["a", "b"]


def test_a_fork_before_the_first_entry_is_empty(tmp_path: Path, session: Session) -> None:
    """Only the reference to the source session is copied."""
    session.append(user("a"))
    with session.fork(tmp_path / "fork.jsonl", None) as fork:
        assert (fork.leaf_id, fork.leaves()) == (None, [])
        assert fork.header.parent_session == ParentSession(id=session.id, entry_id=None, kind="fork")
        assert fork.header.copied_to is None


def test_a_memory_session_is_saved_by_a_fork(tmp_path: Path) -> None:
    """The fork has its name and metadata, also if there is no entry yet."""
    for entries in (0, 2):
        session = Session.memory(name="n", metadata={"k": 1})
        session.append_many([user(str(number)) for number in range(entries)])
        with session.fork(tmp_path / f"{entries}.jsonl") as fork:
            assert (fork.name, fork.metadata, len(fork.path())) == ("n", {"k": 1}, entries)


def test_a_fork_of_an_unsealed_log_is_sealed(log_path: Path, tmp_path: Path) -> None:
    """Payloads are copied byte for byte, with their white space and unknown fields."""
    header = HEADER.replace(',"seal":"crc32"', "").encode()
    odd = b'{"id":"b","parent_id":"a","type":"message","later":[1 , 2],"message":{"role":"user","content":"b"} } '
    log_path.write_bytes(b"\xef\xbb\xbf" + as_file([header + b"\r", node("a", None).encode() + b"\r", odd]))
    with quick(log_path) as session, session.fork(tmp_path / "fork.jsonl") as fork:
        assert contents(fork) == ["a", "b"]
        assert fork.findings == ()
        session.append(user("c"))
        assert contents(session) == ["a", "b", "c"]
    assert odd[:-2] in (tmp_path / "fork.jsonl").read_bytes()
    with quick(log_path) as session:
        assert codes(session) == ["carriage_return", "byte_order_mark", "unsealed"]


# --- two sessions on one log ---


@pytest.fixture
def pair(log_path: Path) -> Iterator[tuple[Session, Session]]:
    """Returns two sessions that have both seen the leaf `a`."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as one, quick(log_path) as two:
        yield one, two


def test_an_append_at_an_unseen_leaf_is_stale(pair: tuple[Session, Session], log_path: Path) -> None:
    """StaleLeaf is raised and nothing is written. `refresh` returns the missed entries and adopts the leaf."""
    one, two = pair
    b = one.append(user("b"))
    with unchanged(log_path), pytest.raises(StaleLeaf) as caught:
        two.append(user("c"))
    assert (caught.value.expected, caught.value.actual) == ("a", b.id)
    assert two.leaf_id == "a"
    assert contents(two) == ["a"]
    assert two.refresh() == [b]
    assert two.refresh() == []
    assert two.append(user("c")).parent_id == b.id


def test_refresh_returns_entries_read_by_other_calls(pair: tuple[Session, Session]) -> None:
    """Entries of others are returned once, even if another call had to read them first; own entries never are."""
    one, two = pair
    b = one.append(user("b"))
    two.label("a", "L")
    assert two.leaf_id == "a"
    mine = two.append(user("mine"), parent_id="a")
    c = one.append(user("c"), on_stale="rebase")
    assert c.parent_id == mine.id
    assert two.refresh() == [b, c]
    assert ids(one.refresh()) == [mine.id]
    assert (one.labels, two.labels) == ({"a": "L"}, {"a": "L"})


def test_refresh_skips_unreadable_entries(pair: tuple[Session, Session], log_path: Path) -> None:
    """A new line whose fields are of a wrong type does not hide the others."""
    one, two = pair
    lines = sealed([HEADER, node("a", None), node("b", "a", message="text"), node("c", "a")])
    log_path.write_bytes(as_file(lines))
    for session in (one, two):
        assert ids(session.refresh()) == ["c"]
        assert session.append(user("d"), id="d").parent_id == "c"
        break
    assert ids(two.refresh()) == ["c", "d"]


def test_a_stale_append_can_branch_or_rebase(pair: tuple[Session, Session]) -> None:
    """`branch` appends at the leaf that was seen, `rebase` at the log's. Afterwards the new leaf is seen."""
    one, two = pair
    b = one.append(user("b"))
    assert two.append(user("c"), on_stale="branch").parent_id == "a"
    d = one.append(user("d"), on_stale="rebase")
    assert d.parent_id == two.leaf_id
    assert ids(one.children("a")) == [b.id, two.leaf_id]
    assert one.append(user("e")).parent_id == d.id


def test_on_stale_can_be_set_for_a_session(log_path: Path) -> None:
    """`on_stale` of `open` applies to every write that does not pass its own."""
    log_path.write_bytes(log_of(node("a", None)))
    with quick(log_path) as one, quick(log_path, on_stale="rebase") as two:
        b = one.append(user("b"))
        assert two.append(user("c")).parent_id == b.id
        one.append(user("d"), on_stale="branch")
        with pytest.raises(StaleLeaf):
            two.append(user("e"), on_stale="raise")


def test_a_reply_with_a_parent_is_never_stale(pair: tuple[Session, Session]) -> None:
    """The loop of the guides appends each reply below its question, so it never raises StaleLeaf."""
    one, two = pair
    question = one.append(user("q"))
    two.append(user("other"), parent_id="a")
    reply = one.append(assistant("r"), parent_id=question.id)
    assert contents(one) == ["a", "q", "r"]
    assert one.append(user("next")).parent_id == reply.id


def test_marks_about_the_session_ignore_the_leaf(pair: tuple[Session, Session]) -> None:
    """Labels, names and metadata can be written at a stale leaf, and make no other session stale."""
    one, two = pair
    b = one.append(user("b"))
    two.label("a", "L")
    two.rename("n")
    two.archive()
    two.update_metadata(k=1)
    assert one.append(user("c")).parent_id == b.id
    with pytest.raises(StaleLeaf):
        two.append(user("d"))
    one.refresh()
    assert (one.name, one.labels, one.archived, one.metadata) == ("n", {"a": "L"}, True, {"k": 1})


def test_a_branch_makes_other_sessions_stale(pair: tuple[Session, Session]) -> None:
    """A leaf mark moves the log's leaf like an entry. The session that wrote it has seen it."""
    one, two = pair
    one.branch(None)
    with pytest.raises(StaleLeaf) as caught:
        two.append(user("b"))
    assert (caught.value.expected, caught.value.actual) == ("a", None)
    two.branch("a")
    assert two.append(user("b")).parent_id == "a"
    with pytest.raises(StaleLeaf):
        one.append(user("c"))


def test_reads_use_the_seen_leaf_until_refresh(pair: tuple[Session, Session]) -> None:
    """Queries at the leaf use the leaf that this session has seen, even if it has read newer lines."""
    one, two = pair
    one.append(user("b"))
    two.label("a", "taken in")
    assert contents(two) == ["a"]
    assert ids(two.path()) == ["a"]
    assert len(two.leaves()) == 1
    two.refresh()
    assert contents(two) == ["a", "b"]


def test_two_sessions_create_the_same_log(log_path: Path) -> None:
    """The second writer adopts the header of the first, and its first append is stale."""
    with quick(log_path, id="one") as one, quick(log_path, id="two") as two:
        a = one.append(user("a"))
        with unchanged(log_path), pytest.raises(StaleLeaf):
            two.append(user("b"))
        assert two.id == "one"
        assert two.refresh() == [a]
        two.append(user("b"))
    with quick(log_path, mode="r") as session:
        assert (contents(session), session.findings) == (["a", "b"], ())


def test_mode_x_never_writes_to_an_existing_log(log_path: Path) -> None:
    """If another session has created the log first, every write raises SessionExists."""
    with quick(log_path, mode="x") as late, quick(log_path, mode="x") as first:
        first.append(user("a"))
        with unchanged(log_path):
            for arguments in ({}, {"parent_id": None}, {"on_stale": "rebase"}, {"on_stale": "branch"}):
                with pytest.raises(SessionExists):
                    late.append(user("b"), **arguments)
            with pytest.raises(SessionExists):
                late.rename("mine")


def test_two_sessions_of_a_memory_store() -> None:
    """Each reads what the other wrote, also after several appends of its own."""
    with open_store("memory:") as store, store.create(id="s") as one:
        one.append(user("x"))
        with store.open("s") as two:
            for writer, reader in ((one, two), (two, one), (one, two)):
                written = [writer.append(user("x")) for _ in range(3)]
                with pytest.raises(StaleLeaf):
                    reader.append(user("y"))
                assert reader.refresh() == written


# --- read-only and closed sessions ---

WRITES: list[Callable[[Session], object]] = [
    lambda s: s.append(user("x")),
    lambda s: s.append(user("x"), parent_id=None),
    lambda s: s.append(user("a"), id="a"),
    lambda s: s.append_many([user("x")]),
    lambda s: s.append(user("x"), reply_to="a"),
    lambda s: s.append(user("x"), move_leaf=False, label="L"),
    lambda s: s.set_system("x"),
    lambda s: s.branch("a"),
    lambda s: s.branch(None),
    lambda s: s.branch("a", summary="S"),
    lambda s: s.label("a", "L"),
    lambda s: s.rename("n"),
    lambda s: s.archive(),
    lambda s: s.update_metadata(a=1),
    lambda s: s.extend([MessageEntry(id="x", message=user("x"))]),
]

READ_ONLY = {
    "reader": (HEADER, node("a", None)),
    "newer version": (HEADER.replace('"version":1', '"version":9'), node("a", None)),
    "critical node": (HEADER, node("a", None), node("k", "a", "x.y", critical=True)),
    "critical mark": (HEADER, node("a", None), mark("k", "x.y", critical=True)),
    "lost header": ("X" + HEADER[1:], node("a", None)),
}


@pytest.mark.parametrize("why", READ_ONLY)
@pytest.mark.parametrize("tail", [b"", b'{"id":"torn'])
def test_a_read_only_session_writes_nothing(why: str, tail: bytes, log_path: Path) -> None:
    """No write changes a byte, not even of a torn tail."""
    log_path.write_bytes(as_file(sealed(READ_ONLY[why])) + tail)
    with quick(log_path, mode="r" if why == "reader" else "a") as session:
        for write in WRITES:
            with unchanged(log_path), pytest.raises(ReadOnlySession):
                write(session)
        assert ids(session.path("a")) == ["a"]


def test_a_closed_session_refuses_every_call(session: Session) -> None:
    """Every call that reads or writes entries raises SessionClosed. A second close has no effect."""
    session.append(user("a"), id="a")
    session.close()
    session.close()
    reads: list[Callable[[Session], object]] = [
        lambda s: s.build_context(),
        lambda s: s.entry("a"),
        lambda s: s.path(),
        lambda s: s.children(None),
        lambda s: s.siblings("a"),
        lambda s: s.tip("a"),
        lambda s: s.leaves(),
        lambda s: s.common_ancestor("a", None),
        lambda s: s.extension_data(),
        lambda s: s.state("x.y"),
        lambda s: s.refresh(),
        lambda s: s.fork("never"),
    ]
    for act in [*reads, *WRITES]:
        with pytest.raises(SessionClosed):
            act(session)
    assert session.leaf_id == "a"


def test_a_foreign_file_is_never_written(log_path: Path) -> None:
    """It is refused by `open`, and by `append` if it appeared after the session was opened."""
    log_path.write_text("hello\n")
    for mode in ("a", "r", "r+"):
        with unchanged(log_path), pytest.raises(NotALog):
            quick(log_path, mode=mode)
    log_path.unlink()
    for text in ("hello\n", "hello", "\n", '{"type":"session","version":3,"id":"pi"}\n'):
        with quick(log_path) as session:
            log_path.write_text(text)
            with unchanged(log_path):
                for _ in range(2):
                    with pytest.raises(NotALog):
                        session.append(user("a"), parent_id=None)
            with pytest.raises(NotALog):
                session.refresh()
            log_path.unlink()


def test_extend_skips_stored_records(log_path: Path) -> None:
    """Records keep their ids, parents and times. A second import writes nothing."""
    records = [
        MessageEntry(id="a", parent_id=None, timestamp="2020-01-01T00:00:00Z", message=user("a"), source_id="1"),
        MessageEntry(id="b", parent_id="a", timestamp=None, message=user("b")),
        LabelMark(id="m", timestamp=None, target_id="b", label="L"),
        MessageEntry(id="c", parent_id="a", message=user("c")),
        LeafMark(id="n", target_id="b"),
    ]
    with quick(log_path) as session:
        assert session.extend(iter(records)) == 5
        with unchanged(log_path):
            assert session.extend(records) == 0
        assert (session.leaf_id, session.labels) == ("b", {"b": "L"})
        assert session.entry("a") == records[0]
        with pytest.raises(IdConflict):
            session.extend([MessageEntry(id="m", message=user("x"))])


def test_extend_names_the_record_that_cannot_be_stored(log_path: Path) -> None:
    """By its place among all of them; earlier batches are stored."""
    records = [MessageEntry(id=f"e{number}", message=user(str(number))) for number in range(3)]
    with quick(log_path) as session:
        with pytest.raises(InvalidMessage, match=r"records\[3\]: ") as error:
            session.extend([*records, MessageEntry(id="e3", message=user("\ud83d"))], batch_size=2)
        assert error.value.place.startswith("records[3].")
        assert [entry.id for entry in session.children(None)] == ["e0", "e1"]


# --- objects of the providers' SDKs ---


class Model:
    """A stand-in for a pydantic model."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(self.__dict__)


def test_an_sdk_object_is_stored_as_its_message(session: Session) -> None:
    """The part that can be sent back is stored as the message. Model and usage go to the entry."""
    usage = Model(total_tokens=5)
    chat = Model(choices=[Model(message=Model(role="assistant", content="a"))], model="gpt", usage=usage)
    entry = session.append(chat)
    assert (entry.message, entry.model, entry.usage) == (assistant("a"), "gpt", {"total_tokens": 5})
    assert session.append(chat, model="mine").model == "mine"
    claude = Model(type="message", id="x", role="assistant", content=[], stop_reason="end", model="c", usage=usage)
    entry = session.append(claude, id="fixed")
    assert (entry.message, entry.shape) == ({"role": "assistant", "content": []}, "anthropic")
    assert session.append(claude, id="fixed") == entry
    output = [Model(type="reasoning"), Model(type="message")]
    response = Model(object="response", output=output, model="m", usage=usage)
    items = [{"type": "reasoning"}, {"type": "message"}]
    whole = session.append(response)
    assert (whole.message, whole.shape) == ({"object": "response", "output": items}, "openai-responses")
    each = session.append_many(output, model="m", usage=usage)
    assert [item.message for item in each if isinstance(item, MessageEntry)] == items


def test_a_gemini_response_is_stored_as_its_content(session: Session) -> None:
    """The content of the first candidate is stored in the API's spelling. Model and usage go to the entry."""
    from google.genai.types import GenerateContentResponse

    content = {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"a": 1}}}]}
    answer = {"candidates": [{"content": content}], "modelVersion": "g", "usageMetadata": {"totalTokenCount": 5}}
    entry = session.append(GenerateContentResponse.model_validate(answer))
    assert (entry.message, entry.model, entry.shape) == (content, "g", "gemini")
    assert entry.usage == {"totalTokenCount": 5}


# --- following ---


def test_follow_yields_new_records(pair: tuple[Session, Session]) -> None:
    """It yields entries and marks of any session from now on, and does not move the leaf."""
    one, two = pair
    news = two.follow(poll_s=0.01, timeout_s=0.05)
    b = one.append(user("b"))
    one.label("a", "L")
    got = list(news)
    assert got[0] == b
    assert isinstance(got[1], LabelMark)
    assert len(got) == 2
    assert two.leaf_id == "a"
    with pytest.raises(StaleLeaf):
        two.append(user("c"))


def test_conflicting_arguments_are_refused(log_path: Path, session: Session) -> None:
    """`exclusive` needs a mode that writes, and `details` need a summary."""
    with pytest.raises(ValueError, match="a reader takes no lock"):
        Session.open(log_path, mode="r", exclusive=True)
    with pytest.raises(ValueError, match="details belong to a summary"):
        session.branch(None, details={"k": 1})
    assert session.leaf_id is None


def test_a_new_id_is_never_a_stored_one() -> None:
    """An id source can repeat itself; a stored id, or one of the same call, is skipped."""
    source = iter(["a", "a", "b", "b", "c"])
    session = Session.memory(id="s", id_source=lambda: next(source))
    assert session.append(user("1")).id == "a"
    assert ids(session.append_many([user("2"), user("3")])) == ["b", "c"]


def test_ids_of_marks_in_a_fork_are_unique(tmp_path: Path) -> None:
    """Marks of a fork get ids that no entry and no other mark has. The fork's own id is two ids in a row."""
    source = iter(["l", "r", "f", "g", "a", "m", "m", "n", "unused", "unused"])
    session = Session.memory(id="s", id_source=lambda: next(source))
    session.append(user("a"), id="a")
    session.label("a", "L")
    session.rename("n")
    with session.fork(tmp_path / "fork.jsonl") as fork:
        assert (fork.id, fork.labels, fork.name, codes(fork)) == ("fg", {"a": "L"}, "n", [])


def test_a_chain_can_contain_a_stored_entry(session: Session) -> None:
    """The stored entry is skipped, and the next entry of the call continues the one before it."""
    session.append(user("b"), id="b")
    given = [MessageEntry(id=id, message=user(id)) for id in ("n", "b", "c")]
    stored = session.append_many(given, parent_id="b")
    assert [(entry.id, entry.parent_id) for entry in stored] == [("n", "b"), ("b", None), ("c", "n")]
    assert len(session.leaves()) == 1


def test_the_id_of_an_invalid_record_is_a_conflict(log_path: Path) -> None:
    """Equal content is not enough for a retry if the stored line is not a valid record."""
    log_path.write_bytes(log_of(node("a", None).replace('"timestamp":null', '"timestamp":5')))
    before = log_path.read_bytes()
    with quick(log_path) as session, pytest.raises(IdConflict, match="other content"):
        session.append(user("a"), id="a")
    assert log_path.read_bytes() == before


def test_a_compaction_can_keep_entries_of_its_batch(session: Session) -> None:
    """One call can append entries and a compaction that keeps some of them."""
    chain = [MessageEntry(id=id, message=user(id)) for id in "abc"]
    compaction = CompactionEntry(id="k", summary="S", first_kept_entry_id="b")
    assert ids(session.append_many([*chain, compaction])) == ["a", "b", "c", "k"]
    assert contents(session)[1:] == ["b", "c"]
    wrong = [MessageEntry(id="d", message=user("d")), CompactionEntry(summary="S", first_kept_entry_id="gone")]
    with pytest.raises(InvalidCompaction):
        session.append_many(wrong)
    assert session.leaf_id == "k"


def test_an_empty_id_is_refused(session: Session) -> None:
    """An empty id is refused: it would turn every append into a retry of the same one."""
    with pytest.raises(InvalidMessage):
        session.append(user("a"), id="")


def test_the_repr_of_an_entry_has_its_first_words(session: Session) -> None:
    """It says which entry this is, on one line; it does not have the whole message, nor that of a finding any of it."""
    first = session.append(user("Where shall we go?"))
    second = session.append(assistant("To\x1b Rome,\nwhere the weather is fine and " + "secret" * 1000))
    assert repr(first) == f"MessageEntry(id={first.id!r}, parent_id=None, user: 'Where shall we go?')"
    said = "'To\\x1b Rome, where the weather is fine and…'"
    assert repr(second) == f"MessageEntry(id={second.id!r}, parent_id={first.id!r}, assistant: {said})"
    assert "Where" not in repr(session.findings)


def test_an_error_hides_content(session: Session) -> None:
    """Keys in the path of an error are shortened, because they can be content."""
    with pytest.raises(InvalidMessage) as caught:
        session.append({"role": "user", "k" * 1000: {"\x1b[31m": object()}})
    assert caught.value.place == "message.….…"
    with pytest.raises(InvalidMessage) as caught:
        session.append({"role": "user", "a": {"b" * 60: {"c" * 60: {"d" * 60: {"e" * 60: object()}}}}})
    assert len(caught.value.place) == 201


class Interrupt(BaseException):
    """The exception that a signal handler raises."""


@pytest.mark.parametrize("after", ["", "offsets", "lengths", "kinds", "parents", "links"])
def test_a_signal_during_a_scan_leaves_a_whole_index(
    after: str, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next query is answered from the whole log, and the seen leaf has not moved."""

    def interrupted(*_: object) -> None:
        raise Interrupt

    with Session.open(log_path, durability="process") as session:
        session.append(user("1"), id="a")
        tree = session._index.tree
        with monkeypatch.context() as patch:
            patch.setattr(getattr(tree, after) if after else tree.ids, "append" if after else "add", interrupted)
            with pytest.raises(Interrupt):
                session.append(user("2"), id="b", pinned=True)  # which goes the ordinary way
        assert contents(session) == ["1"]
        assert [entry.id for entry in session.leaves()] == ["b"]
        assert session.findings == ()
        session.refresh()
        session.append(user("3"), id="c")
        assert contents(session) == ["1", "2", "3"]


def test_a_signal_during_indexing_of_children(log_path: Path) -> None:
    """The columns of children are built again by the next query."""
    with Session.open(log_path, durability="process") as session:
        session.append_many([user(str(number)) for number in range(5)])
        tree = session._index.tree
        expected = [entry.id for entry in session.children(None)]
        session.append(user("5"))
        tree._last_child.append(-1)  # as far as it got
        assert [entry.id for entry in session.children(None)] == expected
        assert [entry.id for entry in session.leaves()] == [session.leaf_id]


def test_records_yields_numbered_records(log_path: Path) -> None:
    """Entries and marks come in log order, from a number on. Damaged ones are skipped."""
    log_path.write_bytes(log_of(node("a", None), node("b", "a"), mark("m", "label", target_id="a", label="L")))
    with Session.open(log_path, mode="r") as session:
        assert [(number, each.id) for number, each in session.records()] == [(0, "a"), (1, "b"), (2, "m")]
        assert [(number, each.id) for number, each in session.records(2)] == [(2, "m")]
        assert list(session.records(3)) == []
        log_path.write_bytes(log_path.read_bytes().replace(b'"content":"b"', b'"content":"B"'))
        assert [(number, each.id) for number, each in session.records()] == [(0, "a"), (2, "m")]


def test_a_snapshot_found_damaged_after_a_write(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line was written, and the index is rebuilt from the log."""

    def damaged(*_: object) -> None:
        raise SnapshotDamaged

    with Session.open(log_path, durability="process") as session:
        session.append(user("1"))
        with monkeypatch.context() as patch:
            patch.setattr(session._index, "add_written", damaged)
            session.append(user("2"))
        session.append(user("3"))
        assert contents(session) == ["1", "2", "3"]
