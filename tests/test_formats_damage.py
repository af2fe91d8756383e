"""What the importers make of records that are not as they should be, and of sources that are hostile or damaged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from foreign import (
    CODEX,
    GEMINI,
    KIT,
    OURS,
    PI,
    TIME,
    call,
    claude_answered,
    claude_line,
    claude_said,
    codex_line,
    codex_said,
    encoded,
    gemini_answered,
    gemini_said,
    kit_compacted,
    kit_line,
    kit_said,
    pi_line,
    pi_said,
    result,
    words,
)
from foreign_stores import all_records, all_sessions

from convtree import (
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    NotALog,
    Session,
)
from convtree._formats import atuin_ai
from convtree._formats.common.base import Source
from convtree._formats.common.ids import derive_id
from convtree._model.entries import Entry
from convtree.exchange import ImportReport, read_foreign

PI_HEAD, KIT_HEAD, GEMINI_HEAD = PI[0], KIT[0], GEMINI[0]
DEEP = 100_000


def opened(directory: Path, *lines: dict[str, Any] | bytes) -> tuple[Session, ImportReport]:
    """A file of lines, read; bytes stand as they are."""
    data = b"".join(each if isinstance(each, bytes) else encoded(each) for each in lines)
    (directory / "source").write_bytes(data)
    return read_foreign(directory / "source")


def codes(report: ImportReport) -> list[str]:
    return [finding.code for finding in report.findings]


def kinds(session: Session) -> dict[str, str]:
    """Id to type, of extension data its own."""
    entries = [record for _, record in session.records() if isinstance(record, Entry)]
    return {each.id: each.ext_type if isinstance(each, ExtensionDataEntry) else each.type for each in entries}


def data_of(session: Session, id: str) -> Any:
    entry = session.entry(id)
    assert isinstance(entry, ExtensionDataEntry)
    return entry.data


# --- pi and kit ---


def test_incomplete_lines_of_pi_become_extension_data(tmp_path: Path) -> None:
    """It keeps its place in the tree, and that it was no such thing is reported."""
    lines = [
        pi_line("branch_summary", "a", None, fromId="root", summary=7),
        pi_line("thinking_level_change", "b", "a"),
        pi_line("custom", "c", "b", customType="", data=1),
        pi_line("custom", "d", "c", customType="pi.mine", data=2),
        pi_line("compaction", "e", "d", summary=["no text"], firstKeptEntryId="a"),
        pi_said("f", "e", "hello"),
    ]
    session, report = opened(tmp_path, PI_HEAD, *lines)
    expected = {"a": "pi.branch_summary", "b": "pi.thinking_level_change", "c": "pi.custom", "d": "pi.custom"}
    assert kinds(session) == expected | {"e": "pi.compaction", "f": "message"}
    assert [entry.id for entry in session.path()] == list("abcdef")
    assert data_of(session, "d") == {"customType": "pi.mine", "data": 2}
    assert codes(report) == ["source_bad_record"] * 4


def test_an_answer_without_a_model_changes_none(tmp_path: Path) -> None:
    """Pi goes on with the one that was chosen; so does a level that is chosen below."""
    said = {"role": "assistant", "content": [{"type": "text", "text": "yes"}], "provider": "q", "model": ""}
    lines = [
        pi_line("model_change", "a", None, provider="p", modelId="m"),
        pi_line("message", "b", "a", message=said),
        pi_line("thinking_level_change", "c", "b", thinkingLevel="low"),
    ]
    session, _ = opened(tmp_path, PI_HEAD, *lines)
    context = session.build_context()
    assert (context.provider, context.model, context.settings) == ("p", "m", {"thinkingLevel": "low"})


def test_a_second_header_is_passed_over_and_reported(tmp_path: Path) -> None:
    """In pi's first version it counts as a line, for what a compaction keeps is a place."""
    old = {"type": "session", "id": "p1", "timestamp": TIME, "cwd": "/w"}
    lines = [
        {"type": "message", "timestamp": TIME, "message": {"role": "user", "content": each}} for each in ("a", "b", "c")
    ]
    kept = {"type": "compaction", "timestamp": TIME, "summary": "S", "firstKeptEntryIndex": 4, "tokensBefore": 1}
    session, report = opened(tmp_path, old, lines[0], old, lines[1], lines[2], kept)
    assert [getattr(entry, "text", "S") for entry in session.build_context().entries] == ["S", "c"]
    assert codes(report) == ["source_second_header"]
    session, report = opened(tmp_path, KIT_HEAD, kit_said("a", None, "a"), KIT_HEAD, kit_said("b", "a", "b"))
    assert ([entry.id for entry in session.path()], codes(report)) == (["a", "b"], ["source_second_header"])


def test_incomplete_lines_of_kit_become_extension_data(tmp_path: Path) -> None:
    """It keeps its place in the tree, and that it was no such thing is reported."""
    lines = [
        kit_line("message", "a"),
        kit_line("compaction", "b", "a", summary=["no text"], first_kept_entry_id="a"),
        kit_line("branch_summary", "c", "b", from_id="", summary=7),
        kit_line("model_change", "d", "c", provider="p", model_id=""),
        kit_line("extension_data", "e", "d", ext_type=None, data="{}"),
        kit_line("extension_data", "f", "e", ext_type="kit.mine", data="{}"),
        kit_said("g", "f", "hello", colour="red"),
        kit_said("h", "g", "again", colour=None),
    ]
    session, report = opened(tmp_path, KIT_HEAD, *lines)
    assert kinds(session) == {
        "a": "kit.message",
        "b": "kit.compaction",
        "c": "kit.branch_summary",
        "d": "kit.model_change",
        "e": "kit.extension_data",
        "f": "kit.extension_data",
        "g": "message",
        "h": "message",
    }
    assert [entry.id for entry in session.path()] == list("abcdefgh")
    assert data_of(session, "b") == {"summary": ["no text"], "first_kept_entry_id": "a"}
    assert codes(report) == ["source_bad_record"] * 5


def test_a_kit_compaction_with_a_parent_keeps_only_what_is_above(tmp_path: Path) -> None:
    """What it names stands on another branch, so nothing is kept, and that is reported."""
    lines = [kit_said("a", None, "a"), kit_said("b", "a", "b"), kit_said("x", "a", "x")]
    session, report = opened(tmp_path, KIT_HEAD, *lines, kit_compacted("c", "S", "x") | {"parent_id": "b"})
    entry = session.entry("c")
    assert isinstance(entry, CompactionEntry)
    assert (entry.parent_id, entry.first_kept_entry_id, codes(report)) == ("b", None, ["source_bad_target"])


def test_a_kit_compaction_goes_below_the_last_of_what_it_keeps(tmp_path: Path) -> None:
    """Of a branch that the line before it is not on, whatever hangs below; siblings of it are not."""
    lines = [kit_said("a", None, "a"), kit_said("b", None, "b"), kit_said("c", "b", "c"), kit_said("d", "a", "d")]
    session, _ = opened(tmp_path, KIT_HEAD, *lines, kit_compacted("e", "S", "b"))
    assert session.entry("e").parent_id == "c"


def test_a_session_is_told_by_a_first_entry_of_any_length(tmp_path: Path) -> None:
    """Kit's, even if the beginning that is looked at ends inside of it."""
    session, report = opened(tmp_path, KIT_HEAD, kit_said("a", None, "x" * 2**20))
    assert (report.format, len(session.build_context().messages)) == ("kit", 1)


def test_a_branch_summary_may_have_left_nothing(tmp_path: Path) -> None:
    """Or an entry that is not there; what no id can be is forgotten."""
    head = [PI_HEAD, pi_said("a", None, "a")]
    for left, expected in ((None, None), ("root", None), ("gone", "gone"), ("no id!", None), ("a", "a")):
        session, _ = opened(tmp_path, *head, pi_line("branch_summary", "b", "a", fromId=left, summary="S"))
        assert getattr(session.entry("b"), "from_id", "") == expected
    for source_id, expected in (("", None), ("gone", "gone"), ("a", "a")):
        lines = [kit_said("a", None, "a"), kit_line("branch_summary", "b", "a", from_id=source_id, summary="S")]
        session, _ = opened(tmp_path, KIT_HEAD, *lines)
        assert getattr(session.entry("b"), "from_id", "") == expected


def test_a_label_is_cut_where_ours_end(tmp_path: Path) -> None:
    """At 256 characters, and that is reported."""
    label = pi_line("label", "b", "a", targetId="a", label="é" * 300)
    session, report = opened(tmp_path, PI_HEAD, pi_said("a", None, "a"), label)
    assert (session.labels, codes(report)) == ({"a": "é" * 256}, ["value_replaced"])


def test_an_id_that_is_no_text_is_its_json(tmp_path: Path) -> None:
    """It is named by that, and kept as the source's id."""
    lines = [pi_said("a", None, "a") | {"id": True}, pi_said("b", None, "b") | {"parentId": True}]
    session, report = opened(tmp_path, PI_HEAD, *lines)
    assert ([entry.id for entry in session.path()], codes(report)) == (["true", "b"], [])


def test_no_id_of_a_source_is_one_that_was_derived(tmp_path: Path) -> None:
    """A line that calls itself what another was called here is called otherwise, and is found."""
    derived = derive_id("pi", "p1", 1)
    unnamed = {"type": "message", "timestamp": TIME, "parentId": None, "message": {"role": "user", "content": "a"}}
    session, report = opened(tmp_path, PI_HEAD, unnamed, pi_said(derived, derived, "b"))
    first, second = (entry for _, entry in session.records() if isinstance(entry, MessageEntry))
    assert (first.id, second.source_id) == (derived, derived)
    assert second.id != derived
    session, _ = opened(tmp_path, PI_HEAD, pi_said(derive_id("pi", "p1", 2), None, "a"), unnamed)
    assert [entry.id for entry in session.children(None)] == [
        derive_id("pi", "p1", 2),
        derive_id(derive_id("pi", "p1", 2)),
    ]
    assert codes(report) == ["source_cycle"]


def test_a_kit_model_without_a_provider(tmp_path: Path) -> None:
    """There is none, and the time is as we write times."""
    session, _ = opened(tmp_path, KIT_HEAD, kit_line("model_change", "a", provider="", model_id="m"))
    entry = session.entry("a")
    assert isinstance(entry, ModelChangeEntry)
    assert (entry.provider, entry.model, entry.timestamp) == (None, "m", OURS)


# --- Claude Code ---


def test_a_transcript_says_late_or_never_whose_it_is(tmp_path: Path) -> None:
    """What names its session within the first lines is believed; the file's name is, when nothing does."""
    snapshots = [{"type": "file-history-snapshot", "messageId": "s1", "snapshot": {}} for _ in range(250)]
    session, _ = opened(tmp_path, *snapshots, claude_said("u1", None, "a"))
    assert session.id == "s1"
    line = {"type": "user", "uuid": "u1", "message": {"role": "user", "content": "a"}}
    session, _ = opened(tmp_path, line)
    assert (session.id, [entry.id for entry in session.path()]) == ("source", ["u1"])


def test_an_answer_of_claude_code_that_says_too_little_is_data(tmp_path: Path) -> None:
    """A line without its message; fields that say nothing are not worth a word."""
    lines = [
        claude_said("u1", None, "a", colour=None, teams=[]),
        claude_line("assistant", "u2", "u1"),
        claude_answered("u3", "u2", "m1", words("b")),
    ]
    del lines[2]["message"]["id"]
    session, report = opened(tmp_path, *lines)
    assert kinds(session) == {"u1": "message", "u2": "claude-code.assistant", "u3": "message"}
    assert codes(report) == ["source_bad_record"]
    answer = session.entry("u3")
    assert isinstance(answer, MessageEntry)
    assert answer.usage == {"input_tokens": 1}


def test_a_user_who_says_more_than_results_goes_on(tmp_path: Path) -> None:
    """A line of results and words is an answer to nothing here, so what follows stays where the file says."""
    mixed = claude_said("u3", "u1", [*result("t1", "r"), words("and")])
    session, _ = opened(tmp_path, claude_answered("u1", None, "m1", call("t1")), mixed, claude_said("u4", "u3", "b"))
    assert [entry.id for entry in session.path()] == ["u1", "u3", "u4"]


def test_a_call_that_is_answered_again_is_a_branch(tmp_path: Path) -> None:
    """The second answer goes where the file says, and what follows it, too."""
    lines = [
        claude_answered("u1", None, "m1", call("t1")),
        claude_said("u2", "u1", result("t1", "r")),
        claude_said("u3", "u1", result("t1", "R")),
        claude_said("u4", "u3", "b"),
    ]
    session, _ = opened(tmp_path, *lines)
    assert [entry.id for entry in session.path()] == ["u1", "u3", "u4"]
    assert [entry.id for entry in session.children("u1")] == ["u2", "u3"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("S", "S"), ([words("S"), {"type": "image"}, words("T")], "S\nT"), ({"odd": 1}, "")],
)
def test_a_summary_of_claude_code_is_its_text(tmp_path: Path, said: Any, expected: str) -> None:
    """Whatever its content is made of."""
    boundary = claude_line("system", "b1", None, subtype="compact_boundary", logicalParentUuid="u1")
    lines = [claude_said("u1", None, "a"), boundary, claude_said("b2", "b1", said, isCompactSummary=True)]
    session, _ = opened(tmp_path, *lines)
    entry = session.entry("b2")
    assert isinstance(entry, CompactionEntry)
    assert entry.summary == expected


# --- Codex ---


def test_codex_keeps_no_more_of_what_was_said_than_codex_does(tmp_path: Path) -> None:
    """80,000 bytes of the newest, behind a compaction that does not say what it kept; an unknown field is reported."""
    said = [codex_said("user", letter * 40_000) for letter in "abc"]
    session, report = opened(tmp_path, CODEX[0], *said, codex_line("compacted", {"message": "S"}) | {"colour": 1})
    texts = [message["content"][0]["text"][:1] for message in session.build_context().messages[1:]]
    assert (texts, codes(report)) == (["b", "c"], ["source_field_dropped"])


def test_a_codex_document_that_is_cut_off_has_nothing(tmp_path: Path) -> None:
    """It is recognised by its beginning, and what is wrong with it is reported."""
    document = b'{"session": {"id": "x1", "timestamp": "2025-01-01T00:00:00Z"}, "items": [{"role": "user"}'
    session, report = opened(tmp_path, document)
    assert (list(session.records()), codes(report)) == ([], ["source_torn_tail"])


# --- Gemini CLI ---


def test_a_gemini_document_that_is_cut_off_has_nothing(tmp_path: Path) -> None:
    """Not even its id: one follows from how it begins; and a checkpoint is no better."""
    document = b'{\n"sessionId": "g1", "projectHash": "h",\n"startTime": "t", "lastUpdated": "t", "messages": [{"id"'
    session, report = opened(tmp_path, document)
    assert (session.id, codes(report)) == (derive_id("gemini-cli", document.hex()), ["source_torn_tail"])
    session, report = opened(tmp_path, b'{"history": [{"role": "user", "parts": [{"text": "a"')
    assert (report.format, list(session.records()), codes(report)) == ("gemini-checkpoint", [], ["source_torn_tail"])


def test_gemini_messages_that_are_none_are_data(tmp_path: Path) -> None:
    """In the list that repeats a conversation; thoughts that are none are left."""
    odd = gemini_answered("m2", "b", thoughts=["hm", {"subject": "s"}])
    change = {"$set": {"messages": [gemini_said("m1", "a"), "odd", {"type": "user"}, odd]}}
    session, _ = opened(tmp_path, GEMINI_HEAD, gemini_said("m1", "a"), change)
    assert [data_of(session, id)["data"] for id, kind in kinds(session).items() if kind != "message"] == [
        "odd",
        {"type": "user"},
    ]
    assert session.build_context().messages[-1]["parts"] == [{"text": "s", "thought": True}, {"text": "b"}]


def test_a_gemini_session_without_a_word_about_itself(tmp_path: Path) -> None:
    """Lines below a header that says so; without it there is no metadata to keep."""
    session, _ = opened(tmp_path, GEMINI_HEAD, gemini_said("m1", "a"))
    assert session.metadata["gemini-cli"]["kind"] == "main"


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        ("text", {"functionResponse": {"id": "t1", "name": "sh", "response": {"output": "text"}}}),
        ({"n": 1}, {"functionResponse": {"id": "t1", "name": "sh", "response": {"n": 1}}}),
        ({"functionResponse": {"name": "sh"}}, {"functionResponse": {"name": "sh"}}),
        ([1], {"functionResponse": {"id": "t1", "name": "sh", "response": {"output": [1]}}}),
        ([], None),
        (None, None),
    ],
)
def test_gemini_results_of_any_kind_are_responses(tmp_path: Path, brought: Any, expected: Any) -> None:
    """As the Gemini API takes them; a call that brought nothing stays open."""
    calls = [{"id": "t1", "name": "sh", "args": {}, "result": brought}]
    session, _ = opened(tmp_path, GEMINI_HEAD, gemini_said("m1", "a"), gemini_answered("m2", "b", toolCalls=calls))
    behind = session.build_context().messages[2:]
    assert [message["parts"] for message in behind] == ([] if expected is None else [[expected]])


def test_gemini_fields_without_a_place_are_kept(tmp_path: Path) -> None:
    """Beside the message."""
    session, report = opened(tmp_path, GEMINI_HEAD, gemini_said("m1", "a") | {"colour": 1, "taste": None})
    entry = session.entry("m1")
    assert isinstance(entry, MessageEntry)
    assert (entry.extra, codes(report)) == ({"colour": 1}, [])


def test_gemini_repeats_as_far_as_it_remembers(tmp_path: Path) -> None:
    """Of 300 messages behind the one that is replaced, the last 256; that this is not all is reported."""
    lines = [gemini_said(f"m{number}", str(number)) for number in range(301)]
    session, report = opened(tmp_path, GEMINI_HEAD, *lines, gemini_said("m0", "new"))
    texts = [message["parts"][0]["text"] for message in session.build_context().messages]
    assert (texts[0], texts[1], texts[-1], len(texts)) == ("new", "45", "300", 257)
    assert codes(report) == ["source_contradicted", "source_unsupported"]


def test_a_gemini_message_may_be_taken_back_twice(tmp_path: Path) -> None:
    """Once by its first version, once by the one that it was replaced with."""
    lines = [gemini_said("m1", "a"), gemini_said("m2", "b"), gemini_said("m1", "A"), {"$rewindTo": "m2"}]
    session, _ = opened(tmp_path, GEMINI_HEAD, *lines, gemini_said("m3", "c"))
    assert [message["parts"][0]["text"] for message in session.build_context().messages] == ["A", "c"]


# --- lines, texts and values ---


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported with its place and its length, and what follows is read."""
    monkeypatch.setattr("convtree._formats.common.jsonl.LINE_LIMIT", 1000)
    long = encoded(pi_said("b", "a", "x" * 3000))
    before = encoded(PI_HEAD, pi_said("a", None, "a"))
    session, report = opened(tmp_path, before, long, pi_said("c", "a", "c"))
    assert [entry.id for entry in session.path()] == ["a", "c"]
    (finding,) = report.findings
    found = (finding.code, finding.line, finding.offset, finding.length)
    assert found == ("source_line_too_long", 3, len(before), len(long))


def test_a_document_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and nothing comes of it."""
    monkeypatch.setattr("convtree._formats.common.jsonl.LINE_LIMIT", 1000)
    document = {"session": {"id": "x1", "timestamp": TIME}, "items": [{"role": "user", "content": "x" * 3000}]}
    session, report = opened(tmp_path, json.dumps(document).encode())
    assert (list(session.records()), codes(report)) == ([], ["source_line_too_long"])


def test_a_stub_before_what_is_nested_without_end(tmp_path: Path) -> None:
    """Neither is a record, both are one damaged line, and the next is read."""
    hostile = b'{"type": "message", {"a": ' + b"[" * DEEP + b"\n"
    session, report = opened(tmp_path, PI_HEAD, pi_said("a", None, "a"), hostile, pi_said("b", "a", "b"))
    assert ([entry.id for entry in session.path()], codes(report)) == (["a", "b"], ["source_bad_line"])


def called_from(depth: int, call: Callable[[], Any]) -> Any:
    """Calls from as many calls deep."""
    return call() if depth == 0 else called_from(depth - 1, call)


@pytest.mark.parametrize(("depth", "frames"), [(200, 0), (950, 0), (1010, 300)])
def test_values_nested_too_deeply_become_text(tmp_path: Path, depth: int, frames: int) -> None:
    """So far as there is room for it on the stack of the caller; it is reported that this was done."""
    nested = b"[" * depth + b"7" + b"]" * depth
    line = encoded(pi_line("custom", "a", None, customType="x", data="DATA")).replace(b'"DATA"', nested)
    session, report = called_from(frames, lambda: opened(tmp_path, PI_HEAD, line))
    inside: Any = data_of(session, "a")
    while isinstance(inside, list):
        (inside,) = inside
    assert isinstance(inside, str)
    assert "7" in inside or inside == "… [nested too deeply]"
    assert codes(report) == ["value_replaced"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"many": [0] * 9_000_000}, {"many": "… [cut]"}),
        ([0] * 9_000_000, ["… [cut]"]),
    ],
)
def test_a_value_with_too_many_parts_is_replaced(tmp_path: Path, data: Any, expected: Any) -> None:
    """Where no text is long enough to be cut; what is small stays."""
    line = pi_line("custom", "b", "a", customType="x", data=data)
    session, report = opened(tmp_path, PI_HEAD, pi_said("a", None, "a"), line)
    assert (data_of(session, "b"), session.entry("b").parent_id) == (expected, "a")
    assert codes(report) == ["value_replaced"]


def signed(id: str, thinking: str, signature: str = "EqQB") -> dict[str, Any]:
    block = {"type": "thinking", "thinking": thinking, "thinkingSignature": signature}
    return pi_line("message", id, None, message={"role": "assistant", "content": [block, {**block, "thinking": "so"}]})


@pytest.mark.parametrize(
    ("thinking", "shown"),
    [
        (b'"\\ud83d"', "\ufffd"),
        (b'"\xff"', "\ufffd"),
        (b'[{"text":"a","n":NaN}]', [{"text": "a", "n": "NaN"}]),
        (b"1" * 5000, "1" * 5000),
        (b"123456789012345678901234567890", 1.2345678901234568e29),
        (b"[" * 120 + b"]" * 120, None),
    ],
)
def test_what_is_replaced_loses_its_signature(tmp_path: Path, thinking: bytes, shown: Any) -> None:
    """Its provider would refuse it. A signature beside it stays, and a number that is only long is none."""
    line = encoded(signed("a", "THINKING")).replace(b'"THINKING"', thinking)
    session, report = opened(tmp_path, PI_HEAD, line, signed("b", "12345678901234567890"))
    (first, second), whole = (each["content"] for each in messages_of(session))
    assert "thinkingSignature" not in first
    assert shown in (None, first["thinking"])
    assert second == {"type": "thinking", "thinking": "so", "thinkingSignature": "EqQB"}
    assert [block["thinkingSignature"] for block in whole] == ["EqQB", "EqQB"]
    assert codes(report) == ["value_replaced"]


def messages_of(session: Session) -> list[dict[str, Any]]:
    return [record.message for _, record in session.records() if isinstance(record, MessageEntry)]


def test_what_is_cut_loses_its_signature(tmp_path: Path) -> None:
    """Thinking that is too long for a line; or the signature itself."""
    session, report = opened(
        tmp_path, PI_HEAD, signed("a", "x" * 17 * 2**20), signed("b", "so", signature="x" * 9 * 2**20)
    )
    (long, short), (first, second) = (each["content"] for each in messages_of(session))
    assert (long.keys(), long["thinking"][-7:]) == ({"type", "thinking"}, "… [cut]")
    assert short["thinkingSignature"] == "EqQB"
    assert ("thinkingSignature" in first) + ("thinkingSignature" in second) == 1
    assert codes(report) == ["value_replaced", "value_replaced"]


def test_only_the_longest_texts_are_cut(tmp_path: Path) -> None:
    """One of 12 MiB gives way to one of 6; both together are too much for a line."""
    data = {"long": "x" * 12 * 2**20, "other": "y" * 6 * 2**20, "short": "z"}
    session, report = opened(tmp_path, PI_HEAD, pi_line("custom", "a", None, customType="x", data=data))
    kept = data_of(session, "a")
    assert (kept["other"], kept["short"], kept["long"][-7:]) == (data["other"], "z", "… [cut]")
    assert 8 * 2**20 < len(kept["long"]) < 10 * 2**20
    assert codes(report) == ["value_replaced"]


# --- databases ---

ATUIN = """
create table sessions(id text, head_id text, directory text, git_root text, created_at integer, archived_at integer);
create table session_events(id text, session_id text, parent_id text, event_type text, event_data text,
    created_at integer);
"""


def database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as made, made:
        made.executescript(ATUIN)
        made.execute("insert into sessions(id, head_id) values ('s', 'e')")
        event = ("e", "s", "user_message", '{"content": "hello"}')
        made.execute("insert into session_events(id, session_id, event_type, event_data) values (?, ?, ?, ?)", event)
    return path


def in_a_journal(path: Path, said: str) -> sqlite3.Connection:
    """Changes the only message, in a journal that is not taken in while the connection is open."""
    writer = sqlite3.connect(path)
    writer.execute("pragma journal_mode=wal")
    writer.execute("update session_events set event_data = ?", (json.dumps({"content": said}),))
    writer.commit()
    return writer


def said_in(path: Path) -> list[Any]:
    return [message["content"] for message in read_foreign(path)[0].build_context().messages]


def test_a_database_is_copied_again_when_somebody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it was not written to meanwhile, or for as long as is sensible."""
    path, copied = database(tmp_path / "s"), list[str]()
    monkeypatch.setattr("convtree._formats.common.sqlite_opening._in_place", lambda *_: None)
    copy: Callable[[Path, Path], Any] = shutil.copyfile
    with closing(in_a_journal(path, "one")) as writer:

        def meddling(source: Path, target: Path) -> Any:
            copied.append(source.name)
            done = copy(source, target)
            if copied.count(source.name) <= often and source == path:
                said = json.dumps({"content": f"{len(copied)} of {often}"})
                writer.execute("update session_events set event_data = ?", (said,))
                writer.commit()
            return done

        monkeypatch.setattr("convtree._formats.common.sqlite_opening.shutil.copyfile", meddling)
        often = 0
        assert said_in(path) == ["one"]
        copied.clear()
        often = 1
        assert (said_in(path), copied) == (["1 of 1"], ["s", "s-wal"] * (len(copied) // 2))
        copied.clear()
        often = 1000
        ((_, records, _),) = all_records(atuin_ai, Source(path, path.read_bytes()))
        assert len(records) == 1
        assert copied == ["s", "s-wal"] * 5


def test_a_journal_that_is_taken_in_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer closes while the database is copied: it is copied once more, and nothing is lost."""
    path = database(tmp_path / "s")
    monkeypatch.setattr("convtree._formats.common.sqlite_opening._in_place", lambda *_: None)
    writer = in_a_journal(path, "two")
    copy: Callable[[Path, Path], Any] = shutil.copyfile

    def closing_first(source: Path, target: Path) -> Any:
        done = copy(source, target)
        writer.close()
        return done

    monkeypatch.setattr("convtree._formats.common.sqlite_opening.shutil.copyfile", closing_first)
    assert said_in(path) == ["two"]
    assert not (tmp_path / "s-wal").exists()


def test_a_schema_that_is_no_text_is_damage(tmp_path: Path) -> None:
    """SQLite quotes it in its message. The file is damaged, and no other error leaves the reader."""
    path = database(tmp_path / "s")
    data = path.read_bytes()
    assert b"tablesession_events" in data
    damaged = data.replace(b"tablesession_events", b"tablesession_e\x80ents").replace(b"create table", b"crxate table")
    path.write_bytes(damaged.replace(b"CREATE TABLE", b"CRXATE TABLE"))
    with Source(path, path.read_bytes()) as source:
        assert not atuin_ai.recognises(source)
    with pytest.raises(match="malformed database schema"):
        read_foreign(path)


def test_a_database_that_is_gone_is_of_no_format(tmp_path: Path) -> None:
    """Between being looked at and being opened; nothing is made in its place."""
    beginning = database(tmp_path / "s").read_bytes()
    (tmp_path / "s").unlink()
    assert not atuin_ai.recognises(Source(tmp_path / "s", beginning))
    assert list(tmp_path.iterdir()) == []


def test_records_of_a_database_that_was_closed_are_no_damage(tmp_path: Path) -> None:
    """Asking for them too late is an error."""
    path = database(tmp_path / "s")
    with Source(path, path.read_bytes()) as source:
        first = next(all_sessions(atuin_ai, source))
    with pytest.raises(sqlite3.ProgrammingError):
        list(first.records)
    assert first.findings == []


def test_a_value_without_end_is_left_out_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a row the other values stay."""
    monkeypatch.setattr("convtree._formats.common.sqlite._CELL_LIMIT", 1000)
    path = database(tmp_path / "s")
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("update session_events set event_data = ?", (json.dumps({"content": "x" * 2000}),))
    session, report = read_foreign(path)
    assert kinds(session) == {"e": "atuin_ai.user_message"}
    assert codes(report) == ["value_replaced", "source_bad_record"]


def test_other_databases_are_not_recognised(tmp_path: Path) -> None:
    """A database of something else, and one that is none behind its first bytes."""
    with closing(sqlite3.connect(tmp_path / "other")) as made, made:
        made.execute("create table sessions(name text)")
    (tmp_path / "broken").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    for name, said in (("other", "known format"), ("broken", "SQLite database that cannot be read")):
        with pytest.raises(NotALog, match=said):
            read_foreign(tmp_path / name)
