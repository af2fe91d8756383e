"""Out to Claude Code: what it reads of an exported session, and that a way there and back loses nothing.

What Claude Code does with a transcript was seen in what it sends: it resumes at the line that `last-prompt` names,
passes over `system` lines, and shows the messages that the last boundary preserves behind its summary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exported import PIXEL, call, chat_session, exported, parents, read_back, said, sessions
from foreign import CLAUDE, SAMPLES, encoded
from hypothesis import given

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Session,
)
from convtree._model.entries import Entry
from convtree._model.usage import usage_of
from convtree.exchange import export_file, export_lines, read_foreign

Fields = dict[str, Any]


def resumed(lines: list[Fields]) -> list[tuple[str, Any]]:
    """What Claude Code sends of a transcript: role and content of each message."""
    nodes = {each["uuid"]: each for each in lines if "uuid" in each}
    at = next(each["leafUuid"] for each in reversed(lines) if each["type"] == "last-prompt")
    path: list[Fields] = []
    while at is not None:
        path.insert(0, nodes[at])
        at = path[0]["parentUuid"]
    boundary = next((each for each in path if each.get("subtype") == "compact_boundary"), None)
    if boundary is not None:
        kept = boundary["compactMetadata"].get("preservedMessages", {}).get("uuids", [])
        summary = next(number for number, each in enumerate(path) if each.get("isCompactSummary"))
        path[summary + 1 : summary + 1] = [nodes[uuid] for uuid in kept]
    spoken = [each["message"] for each in path if each["type"] in ("user", "assistant")]
    return [(each["role"], each["content"]) for each in spoken]


def test_a_conversation_of_another_provider_is_in_anthropics_words() -> None:
    """The prompt as the user's, calls and results with their ids, a picture, and the branch that is the leaf's."""
    lines = exported(chat_session(), "claude-code")
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert resumed(lines) == [
        ("user", "Be brief"),
        ("user", "Look"),
        (
            "assistant",
            [
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "c1", "name": "ls", "input": {"path": "/"}},
                {"type": "tool_use", "id": "c2", "name": "pwd", "input": {"path": "/"}},
            ],
        ),
        ("user", [{"type": "tool_result", "tool_use_id": "c1", "content": "a.txt"}]),
        ("user", [{"type": "tool_result", "tool_use_id": "c2", "content": "/"}]),
        ("assistant", [{"type": "text", "text": "Done"}]),
        ("user", [{"type": "text", "text": "And this?"}, {"type": "image", "source": source}]),
        ("assistant", [{"type": "text", "text": "One pixel"}]),
    ]
    answer = next(each["message"] for each in lines if each["type"] == "assistant")
    assert (answer["model"], answer["stop_reason"]) == ("gpt-5", "tool_use")
    assert answer["usage"] == {
        "input_tokens": 30,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 20,
        "output_tokens": 7,
    }


def test_a_compaction_keeps_what_it_kept() -> None:
    """Also messages above an earlier one, and pinned ones; a compaction of another branch stands before the path."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "rules"}, pinned=True)
        kept = session.append({"role": "user", "content": "a"})
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        session.append({"role": "user", "content": "b"})
        session.append(CompactionEntry(summary="T", first_kept_entry_id=kept.id))
        end = session.append({"role": "user", "content": "c"})
        session.append({"role": "user", "content": "aside"}, parent_id=kept.id)
        session.append(CompactionEntry(summary="U", first_kept_entry_id=kept.id))
        session.branch(end.id)
        lines = exported(session, "claude-code")
        assert [content for _, content in resumed(lines)] == [
            "This conversation began earlier. Summary of the part that is not shown any more:"
            "\n\n<summary>\nrules\n\nT\n</summary>",
            "a",
            "b",
            "c",
        ]
        boundaries = [each["logicalParentUuid"] for each in lines if each.get("subtype") == "compact_boundary"]
        assert boundaries[0] == next(each["uuid"] for each in lines if "aside" in str(each))


def test_the_leaf_is_where_it_was() -> None:
    """At the end of a branch, on an inner entry, and before the first, which Claude Code cannot do."""
    with Session.memory() as session:
        first = session.append({"role": "user", "content": "a"})
        session.append({"role": "user", "content": "b"})
        last = session.append({"role": "user", "content": "c"}, parent_id=first.id)
        for leaf, expected in ((last.id, ["a", "c"]), (first.id, ["a"])):
            session.branch(leaf)
            assert [content for _, content in resumed(exported(session, "claude-code"))] == expected
        session.branch(None)
        findings: list[Any] = []
        data = b"".join(export_lines(session, "claude-code", findings=findings))
        assert (b"last-prompt" in data, [each.about for each in findings]) == (False, ["leaf before the first entry"])
    with Session.memory() as session:
        assert exported(session, "claude-code") == []


def test_what_claude_code_cannot_hold_is_named(tmp_path: Path) -> None:
    """Labels, reasoning of another model; and what stands there in other words."""
    with Session.memory() as session:
        asked = session.append({"role": "system", "content": "rules"})
        session.label(asked.id, "start")
        session.append({"role": "assistant", "content": "b", "reasoning_content": "hm"}, model="x")
        session.append({"role": "assistant", "content": "c", "reasoning_content": "hm"}, model="x")
        session.append(BranchSummaryEntry(from_id=None, summary="B"))
        findings = export_file(session, tmp_path / "out", "claude-code")
    assert [(each.code, each.about, each.times) for each in findings] == [
        ("export_reworded", "system message, as the user's", 1),
        ("export_left_out", "reasoning: reasoning of another model, or without a signature", 2),
        ("export_reworded", "branch summary, as a message", 1),
        ("export_left_out", "label start", 1),
    ]


def test_what_the_model_does_not_see_stays_unseen() -> None:
    """A hidden message is a line that Claude Code passes over, and one for the model only is hidden from the user."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "half"}, visible_to="user")
        session.append({"role": "user", "content": "reminder"}, visible_to="model")
        session.append({"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]})
        session.append(ModelChangeEntry(provider="p", model="m"))
        session.append({"role": "assistant", "content": "b"})
        lines = exported(session, "claude-code")
        assert resumed(lines) == [("user", "reminder"), ("assistant", [{"type": "text", "text": "b"}])]
        assert [each.get("isMeta") for each in lines if each["type"] == "user"] == [True]
        assert [each["message"]["model"] for each in lines if each["type"] == "assistant"] == ["m"]


def test_calls_get_ids_that_claude_code_takes() -> None:
    """Where there are none, where they repeat, and where the API refuses them; results follow."""
    with Session.memory() as session:
        for text in ("x", "y"):
            ask = [{"functionCall": {"name": "f", "args": {"of": each}}} for each in (text, text + text)]
            answer = [{"functionResponse": {"name": "f", "response": {"output": each}}} for each in (text, text + text)]
            session.append({"role": "model", "parts": ask}, shape="gemini")
            session.append({"role": "user", "parts": answer}, shape="gemini")
        for id in ("c", "c", "not valid: ü"):
            session.append({"role": "assistant", "content": None, "tool_calls": [call(id)]})
            session.append({"role": "tool", "tool_call_id": id, "content": "r"})
        blocks = [block for _, content in resumed(exported(session, "claude-code")) for block in content]
    calls = [(block["id"], block["input"].get("of")) for block in blocks if block["type"] == "tool_use"]
    results = [(each["tool_use_id"], each["content"]) for each in blocks if each["type"] == "tool_result"]
    assert [id for id, _ in calls] == [id for id, _ in results]
    assert len({id for id, _ in calls}) == len(calls) == 7
    assert [of for _, of in calls[:4]] == [content for _, content in results[:4]] == ["x", "xx", "y", "yy"]
    assert all(id.replace("_", "").isalnum() and id.isascii() for id, _ in calls)


def test_claude_code_gets_its_own_lines_back(tmp_path: Path) -> None:
    """Every line with its fields, bookkeeping as well; only the place of the leaf is written anew."""
    (tmp_path / "source").write_bytes(encoded(*CLAUDE))
    session, _ = read_foreign(tmp_path / "source")
    back = exported(session, "claude-code")
    by_id = {each["uuid"]: each for each in back if "uuid" in each}
    for each in CLAUDE:
        if "uuid" not in each:
            continue
        mine = by_id[each["uuid"]]
        for name, value in each.items():
            if name not in ("parentUuid", "timestamp", "message", "sessionId") and value not in (None, [], {}, ""):
                assert mine[name] == value, (each["uuid"], name)
        if "message" in each:
            for name, value in each["message"].items():
                assert value in (None, "") or mine["message"][name] == value, (each["uuid"], name)
    assert said(read_back(session, "claude-code")) == said(session)


def test_a_session_is_named_as_in_its_list() -> None:
    """A name that the transcript does not give follows at its end."""
    with Session.memory(name="A trip") as session:
        session.append({"role": "user", "content": "a"})
        again = read_back(session, "claude-code")
        assert again.name == "A trip"
        assert sum(each["type"] == "custom-title" for each in exported(again, "claude-code")) == 1


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_import_can_go_out_to_claude_code(name: str, tmp_path: Path) -> None:
    """And comes back saying the same."""
    (tmp_path / "source").write_bytes(encoded(*SAMPLES[name]))
    session, _ = read_foreign(tmp_path / "source")
    assert said(read_back(session, "claude-code")) == said(session)


@given(sessions())
def test_any_session_comes_back_a_second_time(session: Session) -> None:
    """What was imported from an export goes out as it is."""
    first = read_back(session, "claude-code")
    second = read_back(first, "claude-code")
    known = {entry.id for _, entry in session.records() if isinstance(entry, Entry)}
    assert parents(session, known) == parents(second, known)
    assert said(second) == said(session)
    named = [
        {
            entry.id: (entry.provider, entry.model, entry.usage)
            for _, entry in each.records()
            if isinstance(entry, MessageEntry)
        }
        for each in (first, second)
    ]
    assert named[0] == named[1]


@given(sessions())
def test_any_session_comes_back(session: Session) -> None:
    """Every entry has its id, its place in the tree and what it says; and so has the context."""
    again = read_back(session, "claude-code")
    mine = {entry.id: entry for _, entry in session.records() if isinstance(entry, Entry)}
    theirs = {entry.id: entry for _, entry in again.records() if isinstance(entry, Entry)}
    assert mine.keys() <= theirs.keys()
    assert parents(session, set(mine)) == parents(again, set(mine))
    assert said(again) == said(session)
    for id, entry in mine.items():
        other = theirs[id]
        assert type(entry) is type(other)
        if isinstance(entry, MessageEntry) and isinstance(other, MessageEntry):
            named = (entry.provider, entry.model, entry.visible_to)
            assert (other.provider, other.model, other.visible_to) == named
            assert usage_of(other.usage or {}) == usage_of(entry.usage or {})
        elif isinstance(entry, ExtensionDataEntry | ModelChangeEntry | CompactionEntry | BranchSummaryEntry):
            names = [name for name in entry.__struct_fields__ if name not in ("parent_id", "source_id", "timestamp")]
            assert [getattr(entry, name) for name in names] == [getattr(other, name) for name in names]
