"""Transcripts of Qwen Code: a tree with messages of Gemini's shape in the envelope of Claude Code.

The form is what Qwen Code 0.15 and 0.24 write: see `tests/tools`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from convtree import CompactionEntry, ExtensionDataEntry, MessageEntry, NotALog, Session, Usage, open_store
from convtree._model.entries import ParentSession
from convtree.exchange import ImportReport, import_file, import_into, read_foreign

SESSION, MAIN = "019f1111-0000-7000-8000-000000000001", "019f1111-0000-7000-8000-000000000009"
PAID = {
    "promptTokenCount": 120,
    "candidatesTokenCount": 14,
    "thoughtsTokenCount": 5,
    "cachedContentTokenCount": 20,
    "totalTokenCount": 139,
}


def line(id: str, parent: str | None, kind: str, **more: Any) -> dict[str, Any]:
    """A line of a transcript."""
    envelope = {"uuid": id, "parentUuid": parent, "sessionId": SESSION, "timestamp": "2026-11-29T10:00:00.000Z"}
    return {**envelope, "type": kind, "cwd": "/home/ann", "version": "0.24.4", **more}


def said(id: str, parent: str | None, text: str, **more: Any) -> dict[str, Any]:
    """A message of the user."""
    return line(id, parent, "user", **({"message": {"role": "user", "parts": [{"text": text}]}} | more))


def answered(id: str, parent: str | None, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer of the model."""
    return line(
        id, parent, "assistant", model="qwen3-coder-plus", message={"role": "model", "parts": list(parts)}, **more
    )


def system(id: str, parent: str | None, subtype: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A line that is no message."""
    return line(id, parent, "system", subtype=subtype, systemPayload=payload)


CALL = {"functionCall": {"id": "c1", "name": "read_file", "args": {"path": "notes.md"}}}
RESULT = {"functionResponse": {"id": "c1", "name": "read_file", "response": {"output": "buy milk"}}}
LINES = [
    said("u1", None, "Read the notes"),
    answered("u2", "u1", {"text": "I should look.", "thought": True}, CALL, usageMetadata=PAID),
    system("u3", "u2", "ui_telemetry", {"uiEvent": {"input_token_count": 120}}),
    line("u4", "u3", "tool_result", message={"role": "user", "parts": [RESULT]}, toolCallResult={"status": "success"}),
    answered("u5", "u4", {"text": "It says: buy milk."}, usageMetadata=PAID | {"promptTokenCount": 150}),
]


def opened(folder: Path, *lines: dict[str, Any]) -> tuple[Session, ImportReport]:
    """Reads a transcript."""
    path = folder / "source"
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines))
    return read_foreign(path)


def paid(folder: Path) -> Usage:
    """What the transcript that was read last has cost."""
    store = open_store("memory:")
    (report,) = import_into(folder / "source", store)
    assert report.session_id is not None
    return store.info(report.session_id).usage


def codes(report: ImportReport) -> list[str]:
    return [finding.code for finding in report.findings]


def texts(session: Session) -> list[str]:
    """The texts of the context."""
    return [entry.text for entry in session.build_context().entries if isinstance(entry, MessageEntry)]


def test_a_transcript_is_read_whole(tmp_path: Path) -> None:
    """Texts, thoughts, calls with their results, model, usage and the tree; the telemetry is data."""
    session, report = opened(tmp_path, *LINES)
    context = session.build_context()
    assert (report.format, session.id, codes(report)) == ("qwen-code", SESSION, [])
    assert [entry.id for entry in session.path()] == ["u1", "u2", "u3", "u4", "u5"]
    assert context.messages == [LINES[at]["message"] for at in (0, 1, 3, 4)]
    assert (context.open_calls, context.model, session.leaf_id) == ((), "qwen3-coder-plus", "u5")
    usage = paid(tmp_path)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (100 + 130, 40, 38)
    result, telemetry = session.entry("u4"), session.entry("u3")
    assert isinstance(result, MessageEntry)
    assert result.extra == {"toolCallResult": {"status": "success"}}
    assert isinstance(telemetry, ExtensionDataEntry)
    assert (telemetry.ext_type, telemetry.usage) == ("qwen-code.ui_telemetry", None)


def test_a_rewind_is_a_branch(tmp_path: Path) -> None:
    """The line that says so continues what was before the turn; the last title is the name."""
    more = [
        system("t1", "u5", "custom_title", {"customTitle": "Milk"}),
        said("u6", "t1", "Forget it"),
        system("r1", "u5", "rewind", {"truncatedCount": 1}),
        said("u7", "r1", "Thanks"),
    ]
    session, _ = opened(tmp_path, *LINES, *more)
    assert texts(session)[-2:] == ["It says: buy milk.", "Thanks"]
    assert (session.name, sorted(entry.id for entry in session.leaves())) == ("Milk", ["u6", "u7"])


def test_a_message_told_again(tmp_path: Path) -> None:
    """Equal it is nothing, even if it was written later; more of it follows it, as does what continues it."""
    again = answered("u5", "u4", {"text": "And eggs."}, usageMetadata=PAID | {"promptTokenCount": 160})
    later = LINES[0] | {"timestamp": "2026-11-29T11:00:00.000Z"}
    session, report = opened(tmp_path, *LINES, later, again, said("u6", "u5", "Thanks"))
    assert texts(session)[-3:] == ["It says: buy milk.", "And eggs.", "Thanks"]
    assert (len(list(session.leaves())), codes(report)) == (1, [])
    assert (paid(tmp_path).input_tokens, paid(tmp_path).output_tokens) == (100 + 130 + 10, 38)


def test_a_count_that_shrinks_adds_nothing(tmp_path: Path) -> None:
    """And when it is back where it was, it was counted already."""
    parts = {"text": "One."}, {"text": "Two."}, {"text": "Three."}
    counts = [PAID | {"promptTokenCount": number} for number in (120, 90, 125)]
    lines = [answered("u2", "u1", part, usageMetadata=each) for part, each in zip(parts, counts, strict=True)]
    opened(tmp_path, LINES[0], *lines)
    assert (paid(tmp_path).input_tokens, paid(tmp_path).output_tokens) == (105, 19)


def test_a_compression_leaves_what_the_model_sees(tmp_path: Path) -> None:
    """A summary, and the contents behind it; they are no messages that a person sees again."""
    left = [{"role": "user", "parts": [{"text": "Milk is wanted."}]}, {"role": "model", "parts": [{"text": "Got it."}]}]
    info = {"originalTokenCount": 900, "newTokenCount": 90}
    line = system("x1", "u5", "chat_compression", {"compressedHistory": left, "info": info})
    session, _ = opened(tmp_path, *LINES, line, said("u6", "x1", "Go on"))
    summary = session.entry("x1")
    assert isinstance(summary, CompactionEntry)
    assert (summary.summary, summary.tokens_before, summary.tokens_after) == ("Milk is wanted.", 900, 90)
    assert session.build_context().messages[1:] == [left[1], {"role": "user", "parts": [{"text": "Go on"}]}]
    hidden = [entry for entry in session.path() if isinstance(entry, MessageEntry) and entry.visible_to == "model"]
    assert [entry.message for entry in hidden] == left[1:]


def test_a_compression_without_a_summary(tmp_path: Path) -> None:
    """It leaves out results only: the first content is what a person typed."""
    left = [LINES[0]["message"], {"role": "model", "parts": [{"text": "It says: buy milk."}]}]
    payload = {"compressedHistory": [*left, {"odd": 1}]}
    session, report = opened(tmp_path, *LINES, system("x1", "u5", "chat_compression", payload))
    summary = session.entry("x1")
    assert isinstance(summary, CompactionEntry)
    assert (summary.summary, session.build_context().messages[1:]) == ("", left)
    assert (summary.details, codes(report)) == (payload, ["source_bad_record"])


@pytest.mark.parametrize(
    "more", [{"provenance": "system", "subtype": "notification"}, {"subtype": "cron"}, {"provenance": "goal_runtime"}]
)
def test_what_the_tool_says_is_not_typed(more: dict[str, Any], tmp_path: Path) -> None:
    """It is for the model only."""
    session, _ = opened(tmp_path, said("u0", None, "<task-notification>", **more), said("u1", "u0", "Hello"))
    seen = [entry.visible_to for entry in session.path() if isinstance(entry, MessageEntry)]
    assert (seen, texts(session)) == (["model", "all"], ["<task-notification>", "Hello"])


def test_requests_of_the_tool_itself_count(tmp_path: Path) -> None:
    """Compressions and the extraction of memories are in the telemetry alone; sub-agents have transcripts."""

    def telemetry(id: str, parent: str, prompt_id: str) -> dict[str, Any]:
        counts = {"input_token_count": 70, "output_token_count": 9, "cached_content_token_count": 20}
        event = {"event.name": "qwen-code.api_response", "model": "qwen3-coder-plus", "prompt_id": prompt_id} | counts
        return system(id, parent, "ui_telemetry", {"uiEvent": event})

    session, _ = opened(
        tmp_path,
        *LINES,
        telemetry("u6", "u5", f"{SESSION}########1"),
        telemetry("u7", "u6", f"{SESSION}#managed-auto-memory-extractor-8cfb4fd0#0"),
        telemetry("u8", "u7", f"{SESSION}#general-purpose-call_1#0"),
        telemetry("u9", "u8", "compress-1795950382832"),
    )
    kept = [each for each in session.path() if isinstance(each, ExtensionDataEntry)]
    assert [each.model for each in kept] == [None, None, "qwen3-coder-plus", None, "qwen3-coder-plus"]
    answers = Usage(input_tokens=120 + 150 - 2 * 20, output_tokens=2 * (14 + 5), cache_read_tokens=2 * 20)
    own = Usage(input_tokens=2 * (70 - 20), output_tokens=2 * 9, cache_read_tokens=2 * 20)
    assert paid(tmp_path) == answers + own


def test_a_fork_and_a_task_name_their_session(tmp_path: Path) -> None:
    """A fork begins with copies; the file of an agent is a session of its own."""
    copies = [each | {"forkedFrom": {"sessionId": MAIN, "messageUuid": each["uuid"]}} for each in LINES]
    fork, _ = opened(tmp_path, *copies, said("u6", "u5", "Other"))
    assert (fork.header.parent_session, fork.header.copied_to) == (ParentSession(id=MAIN, kind="fork"), "u5")
    whole, _ = opened(tmp_path, *copies)
    assert whole.header.copied_to == "u5"
    task, _ = opened(tmp_path, *(each | {"isSidechain": True, "agentId": "a1"} for each in LINES))
    assert (task.id, task.header.parent_session) == (task.id, ParentSession(id=SESSION, kind="task"))
    assert texts(task) == texts(fork)[:-1]


def test_a_message_that_is_not_understood_is_kept_whole(tmp_path: Path) -> None:
    """With a warning; usage without a message counts, and a line without a place is data."""
    odd = {"role": "user", "words": "Hello there"}
    lines = [
        said("u6", "u5", "", message=odd),
        line("u7", "u6", "assistant", model="qwen3", usageMetadata=PAID),
        {"type": "odd", "timestamp": "2026-11-29T10:00:00.000Z", "words": "nowhere"},
    ]
    session, report = opened(tmp_path, *LINES, *lines)
    entry, cost = session.entry("u6"), session.entry("u7")
    assert isinstance(entry, ExtensionDataEntry)
    assert isinstance(cost, ExtensionDataEntry)
    assert (entry.ext_type, entry.data) == ("qwen-code.user", {"message": odd})
    assert (codes(report), cost.usage, cost.model) == (["source_bad_record", "source_not_understood"], PAID, "qwen3")
    data = [each for _, each in session.records() if isinstance(each, ExtensionDataEntry)]
    assert [each.data for each in data if each.ext_type == "qwen-code.odd"] == [{"words": "nowhere"}]


def test_the_envelope_alone_is_no_format(tmp_path: Path) -> None:
    """Lines with the fields of these tools, and with messages of neither shape."""
    with pytest.raises(NotALog):
        opened(tmp_path, *(said(f"u{at}", None, "", message={"role": "user", "words": "Hello"}) for at in range(3)))


def test_a_long_first_line_is_recognised(tmp_path: Path) -> None:
    """By how it begins."""
    session, report = opened(tmp_path, said("u1", None, "x" * 3_000_000), said("u2", "u1", "Hello"))
    assert (report.format, texts(session)[1], session.id) == ("qwen-code", "Hello", SESSION)


def test_growth_adds_the_new(tmp_path: Path) -> None:
    """Line by line: what was imported stays, and at the end there is what one import gives."""
    left = [{"role": "user", "parts": [{"text": "Milk"}]}, {"role": "model", "parts": [{"text": "Got it."}]}]
    compressed = system("x1", "u5", "chat_compression", {"compressedHistory": left})
    again = answered("u5", "u4", {"text": "And eggs."})
    lines = [*LINES, again, compressed, said("u6", "x1", "Go on")]
    before = b""
    for end in range(1, len(lines) + 1):
        (tmp_path / "grown").write_text("".join(json.dumps(each) + "\n" for each in lines[:end]))
        import_file(tmp_path / "grown", tmp_path / "log")
        assert (tmp_path / "log").read_bytes().startswith(before)
        before = (tmp_path / "log").read_bytes()
    assert import_file(tmp_path / "grown", tmp_path / "log").written == 0
    at_once, _ = opened(tmp_path, *lines)
    with Session.open(tmp_path / "log", mode="r") as grown:
        assert grown.build_context().messages == at_once.build_context().messages
