"""Records: frozen, keyword-only, with the defaults, types and ids of the format."""

from typing import Any

import pytest

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Finding,
    Header,
    LabelMark,
    LeafMark,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    ParentSession,
    Session,
    SessionInfoMark,
    VacuumEntry,
    VisibilityMark,
)
from convtree._model.entries import ENTRY_CLASSES, ID, MARK_CLASSES, TYPE

RECORDS: list[Any] = [
    MessageEntry(message={"a": 1}),
    CompactionEntry(summary="", first_kept_entry_id=None),
    BranchSummaryEntry(from_id=None, summary=""),
    ModelChangeEntry(provider=None, model="m"),
    ExtensionDataEntry(ext_type="x.y", data=None),
    LostEntry(line_crc="0123abcd"),
    VacuumEntry(dropped=3),
    OpaqueEntry(unknown_type="x.y", fields={}),
    LeafMark(target_id=None),
    LabelMark(target_id="a", label=None),
    VisibilityMark(target_id="a", pinned=True),
    SessionInfoMark(),
    OpaqueMark(unknown_type="x.y", fields={}),
    Header(id="s"),
    ParentSession(id="s"),
    Finding(code="orphan", severity="error", line=1, offset=0, length=1),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_frozen_and_keyword_only(record: Any) -> None:
    """A field cannot be assigned, and no field can be passed by position."""
    with pytest.raises(AttributeError):
        record.id = "x"
    with pytest.raises(TypeError):
        type(record)("x")


def test_types_are_those_of_the_format() -> None:
    """There are seven entry types and four mark types; the mark of a group has no class."""
    assert list(ENTRY_CLASSES) == [
        "message",
        "compaction",
        "branch_summary",
        "model_change",
        "extension_data",
        "lost",
        "vacuum",
    ]
    assert list(MARK_CLASSES) == ["leaf", "label", "visibility", "session_info"]
    assert [record.type for record in RECORDS[:8]] == [*ENTRY_CLASSES, "x.y"]


def test_defaults() -> None:
    """An entry with no fields given is a root that is visible to all."""
    entry = MessageEntry(message={"a": 1})
    assert (entry.id, entry.parent_id, entry.timestamp, entry.source_id) == ("", None, None, None)
    assert (entry.visible_to, entry.pinned, entry.usage, entry.model) == ("all", None, None, None)
    assert ParentSession(id="s") == ParentSession(id="s", entry_id=None, kind="fork")
    assert (Header(id="s").version, Header(id="s").seal) == (1, None)


@pytest.mark.parametrize("id", ["a", "0", "Z9", "a.b_c:d-e", "x" * 128, "00000000-0000-4000-8000-000000000000", "a:"])
def test_valid_ids(id: str, session: Session) -> None:
    """An id has up to 128 letters, digits and `._:-`, and starts with a letter or digit."""
    assert ID.fullmatch(id)
    session.append({"a": 1}, id=id)
    assert session.entry(id).id == session.leaf_id == id
    session.append({"b": 1}, parent_id=id)
    assert len(session.path()) == 2


@pytest.mark.parametrize(
    "id", ["", "-a", ".a", ":a", "_a", "x" * 129, "a b", "a/b", "a\n", "é", "a\0", "../a", "\uff11"]
)
def test_invalid_ids(id: str) -> None:
    """Paths, line breaks and letters of other scripts are refused."""
    assert not ID.fullmatch(id)


@pytest.mark.parametrize(
    ("type", "good"), [("a", True), ("tool.x-y_1", True), ("", False), ("A", False), ("1a", False)]
)
def test_valid_types(type: str, good: bool) -> None:
    """A type has up to 64 characters, in lower case, and starts with a letter."""
    assert bool(TYPE.fullmatch(type)) is good
    assert bool(TYPE.fullmatch("a" * 64)) is not bool(TYPE.fullmatch("a" * 65))


@pytest.mark.parametrize(
    ("record", "gist"),
    [
        (MessageEntry(id="a", message={"role": "user", "content": " "}), "user: …"),
        (MessageEntry(id="a", message={"rolle": 5}), "message: …"),
        (
            MessageEntry(
                id="a",
                message={
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "t", "type": "function", "function": {"name": name, "arguments": "{}"}}
                        for name in ("look", "ask")
                    ],
                },
            ),
            "assistant: 'calls look, calls ask'",
        ),
        (
            MessageEntry(id="a", message={"role": "tool", "tool_call_id": "t", "name": "look", "content": "Rain."}),
            "tool: 'answers look'",
        ),
        (CompactionEntry(id="a", summary="They talked.", first_kept_entry_id=None), "summary: 'They talked.'"),
        (BranchSummaryEntry(id="a", from_id=None, summary="x" * 41), f"summary: '{'x' * 39}…'"),
        (ModelChangeEntry(id="a", provider=None, model="m"), "model: 'm'"),
        (ExtensionDataEntry(id="a", ext_type="x.y", data="secret"), "ext_type: 'x.y'"),
        (OpaqueEntry(id="a", unknown_type="theirs", fields={"secret": 1}), "type: 'theirs'"),
        (LostEntry(id="a"), "…"),
        (VacuumEntry(id="a"), "…"),
    ],
)
def test_the_repr_says_what_an_entry_is(record: Entry, gist: str) -> None:
    """The role and the first words of a message, or what stands for them."""
    assert repr(record) == f"{type(record).__name__}(id='a', parent_id=None, {gist})"


def test_the_repr_of_a_mark_has_its_id() -> None:
    """And none of its text."""
    assert repr(LabelMark(id="m", target_id="a", label="secret")) == "LabelMark(id='m', …)"


def test_an_entry_is_given_as_an_object() -> None:
    """Its type and every field; of an unknown type, the fields that it has in the log."""
    entry = MessageEntry(id="a", message={"role": "user", "content": ["x"]}, parent_id="p", usage={"input": 2**70})
    given = entry.to_dict()
    assert list(given)[:3] == ["id", "parent_id", "type"]
    assert given == {
        "id": "a",
        "parent_id": "p",
        "type": "message",
        "timestamp": None,
        "source_id": None,
        "message": {"role": "user", "content": ["x"]},
        "shape": None,
        "provider": None,
        "model": None,
        "usage": {"input": 2**70},
        "visible_to": "all",
        "pinned": None,
        "replaces": None,
        "reply_to": None,
        "status": None,
        "extra": None,
    }
    given["message"]["content"].append("y")
    assert entry.message == {"role": "user", "content": ["x"]}
    opaque = OpaqueEntry(id="a", unknown_type="theirs", fields={"id": "not this one", "critical": True})
    assert opaque.to_dict() == {
        "id": "a",
        "parent_id": None,
        "type": "theirs",
        "critical": True,
        "timestamp": None,
        "source_id": None,
    }
