"""What one line of Claude Code and one event of ADK say, for programs that store them as they come."""

from typing import Any

import pytest

from convtree.exchange import ClaudeCodeLine, read_claude_code_line, read_google_adk_event


def line(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "uuid": "b", "parentUuid": "a", "sessionId": "s", "isSidechain": False} | fields


def test_a_reply_says_who_wrote_it_and_what_it_took() -> None:
    """Each line of a message has the tokens so far; what it adds is the difference."""
    usage = {"input_tokens": 10, "output_tokens": 7}
    said = {"role": "assistant", "id": "m", "model": "claude-x", "content": "Rome", "usage": usage}
    read = read_claude_code_line(line("assistant", message=said, timestamp="2026-01-01T01:00:00+01:00"))
    assert read == ClaudeCodeLine(
        uuid="b",
        time="2026-01-01T00:00:00.000000Z",
        parents=("a",),
        message={"role": "assistant", "content": "Rome"},
        model="claude-x",
        usage=usage,
        message_id="m",
        is_said=True,
    )
    assert read.usage_since(None) == usage
    assert read.usage_since({"input_tokens": 10, "output_tokens": 3}) == {"output_tokens": 4}
    assert read.usage_since(usage) is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (line("user", message={"content": "<command-name>/clear</command-name>"}), {"visible_to": "model"}),
        (line("user", message={"content": "x"}, isMeta=True), {"visible_to": "model", "is_said": False}),
        (line("user", message={"content": "x"}, isApiErrorMessage=True), {"visible_to": "user"}),
        (line("user", message={"content": "x"}, isSidechain=True), {"is_aside": True}),
        (line("user", message={"content": [{"type": "tool_result", "tool_use_id": "c"}]}), {"results": {"c"}}),
        (line("user", message={"content": "short"}, isCompactSummary=True), {"summary": "short", "message": None}),
        (line("user", message={"content": "x"}, forkedFrom={"sessionId": "o"}), {"forked_from": "o"}),
        (line("assistant", message={"content": "x", "model": "<synthetic>", "usage": {"a": 1}}), {"usage": None}),
        (
            line("attachment", attachment={"type": "queued_command", "prompt": "stop"}),
            {"message": {"role": "user", "content": [{"type": "text", "text": "stop"}]}, "visible_to": "all"},
        ),
        (line("system", subtype="turn_duration"), {"message": None, "is_between": True, "is_said": False}),
        (
            line(
                "system",
                subtype="compact_boundary",
                parentUuid=None,
                logicalParentUuid="l",
                compactMetadata={"preservedSegment": {"headUuid": "h", "tailUuid": "t"}},
            ),
            {"parents": ("t", "l"), "kept": ("h", "t"), "is_between": False},
        ),
        ({"type": "x", "uuid": "b"}, {"parents": None, "message": None}),
        (line("x", parentUuid=None), {"parents": ()}),
        ({"type": "custom-title", "customTitle": "Trip"}, {"title": (3, "Trip"), "uuid": None}),
        ({"type": "ai-title", "aiTitle": "Trip"}, {"title": (2, "Trip")}),
        ({"type": "summary", "summary": "Trip"}, {"title": None}),
        ({"type": "last-prompt", "leafUuid": "a"}, {"leaf": "a"}),
        ({"uuid": 5, "type": None}, {"uuid": None, "message": None}),
    ],
)
def test_what_a_line_says(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Notes of the tool, results, compactions, attachments and bookkeeping."""
    read = read_claude_code_line(fields)
    assert {name: getattr(read, name) for name in expected} == expected


def test_an_event_of_the_adk() -> None:
    """Who sees it, what it cost, and that it was interrupted. The event itself stays as it is."""
    said = {"author": "guide", "content": {"role": "model", "parts": [{"text": "Rome"}]}, "interrupted": True}
    entry = read_google_adk_event(
        said | {"model_version": "gemini-2.5-pro", "usage_metadata": {"total_token_count": 7}}
    )
    assert (entry.message["content"], entry.text, entry.role) == (said["content"], "Rome", "assistant")
    assert (entry.provider, entry.model, entry.usage) == ("google", "gemini-2.5-pro", {"total_token_count": 7})
    assert (entry.shape, entry.status, entry.visible_to) == ("google-adk", "interrupted", "all")
    state = {"author": "user", "interrupted": True, "actions": {"state_delta": {"a": 1}}}
    found = read_google_adk_event(state)
    assert (found.visible_to, found.status, found.usage, found.model) == ("nobody", None, None, None)
    assert read_google_adk_event(state | {"input_transcription": {"text": "Hi"}}).visible_to == "all"
    assert read_google_adk_event(state | {"actions": {"compaction": {}}}).visible_to == "user"
    with pytest.raises(TypeError, match="event"):
        read_google_adk_event("x")  # type: ignore[arg-type]
