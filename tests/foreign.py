"""Small hand-made sessions of other tools. `w1`, `w2`, … are words that each occur in one line only."""

from __future__ import annotations

import json
from typing import Any

TIME = "2026-01-02T03:04:05.000Z"
OURS = "2026-01-02T03:04:05.000000Z"


def encoded(*objects: dict[str, Any]) -> bytes:
    """Writes objects as JSONL."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


# --- pi ---


def pi_line(kind: str, id: str, parent: str | None, **fields: Any) -> dict[str, Any]:
    """An entry of pi."""
    return {"type": kind, "id": id, "parentId": parent, "timestamp": TIME, **fields}


def pi_said(id: str, parent: str | None, content: str) -> dict[str, Any]:
    """A user's message of pi."""
    return pi_line("message", id, parent, message={"role": "user", "content": content, "timestamp": 1})


PI = [
    {"type": "session", "version": 3, "id": "p1", "timestamp": TIME, "cwd": "/w"},
    pi_line("thinking_level_change", "a0", None, thinkingLevel="low"),
    pi_line("model_change", "a1", "a0", provider="openai", modelId="gpt"),
    pi_said("a2", "a1", "w1"),
    pi_line(
        "message",
        "a3",
        "a2",
        message={"role": "assistant", "content": [{"type": "text", "text": "w2"}], "provider": "p", "model": "m"},
    ),
    pi_line("thinking_level_change", "a4", "a3", thinkingLevel="high"),
    pi_line("label", "a5", "a4", targetId="a2", label="w3"),
    pi_line("branch_summary", "a6", "a3", fromId="a5", summary="w4"),
    pi_line("compaction", "a7", "a6", summary="w5", firstKeptEntryId="a3", tokensBefore=9, details={"readFiles": []}),
    pi_line("custom_message", "a8", "a7", customType="x", content="w6", display=True),
    pi_line("custom", "a9", "a8", customType="todo", data={"n": "w7"}),
    pi_line("session_info", "aa", "a9", name="w8"),
    pi_line("active_tools_change", "ab", "aa", what="w9"),
]

# --- kit ---


def kit_line(kind: str, id: str, parent: str | None = None, **fields: Any) -> dict[str, Any]:
    """An entry of kit."""
    above = {} if parent is None else {"parent_id": parent}
    return {"type": kind, "id": id, **above, "timestamp": TIME, **fields}


def kit_said(id: str, parent: str | None, said: str, role: str = "user", **more: Any) -> dict[str, Any]:
    """A message of kit."""
    return kit_line("message", id, parent, role=role, parts=[{"type": "text", "data": {"text": said}}], **more)


def kit_compacted(id: str, summary: str, kept: str) -> dict[str, Any]:
    """A compaction of kit, which has no parent."""
    facts: dict[str, Any] = {"first_kept_entry_id": kept, "tokens_before": 9, "tokens_after": 4, "messages_removed": 2}
    return kit_line("compaction", id, summary=summary, **facts)


KIT = [
    {"type": "session", "version": 3, "id": "0123456789abcdef0123456789abcdef", "timestamp": TIME, "cwd": "/w"},
    kit_line("model_change", "k1", provider="p", model_id="m"),
    kit_said("k2", "k1", "w1"),
    kit_said("k3", "k2", "w2", "assistant", model="m2", provider="p2"),
    kit_line("label", "k4", "k3", target_id="k2", label="w3"),
    kit_line("session_info", "k5", "k4", name="w4"),
    kit_line("extension_data", "k6", "k5", ext_type="todo:state", data='{"n":"w5"}'),
    kit_line("branch_summary", "k7", "k6", from_id="k3", summary="w6"),
    kit_compacted("k8", "w7", "k3"),
    kit_said("k9", "k8", "w8"),
]

# --- Claude Code ---


def claude_line(kind: str, id: str, parent: str | None, **fields: Any) -> dict[str, Any]:
    """A line of a transcript with a place in the tree."""
    envelope = {"parentUuid": parent, "isSidechain": False, "userType": "external", "cwd": "/w", "sessionId": "c1"}
    return envelope | {"version": "2.0", "gitBranch": "main", "type": kind, "uuid": id, "timestamp": TIME, **fields}


def claude_said(id: str, parent: str | None, content: Any, **more: Any) -> dict[str, Any]:
    """A user's line."""
    return claude_line("user", id, parent, message={"role": "user", "content": content}, **more)


def claude_answered(
    id: str, parent: str | None, message_id: str, *blocks: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """A line of the model's message."""
    message = {"id": message_id, "type": "message", "role": "assistant", "model": "opus", "content": list(blocks)}
    return claude_line("assistant", id, parent, message=message | {"usage": {"input_tokens": 1}}, **more)


def call(id: str) -> dict[str, Any]:
    """A tool's call."""
    return {"type": "tool_use", "id": id, "name": "read", "input": {}}


def result(id: str, said: str) -> list[dict[str, Any]]:
    """What a call brought back."""
    return [{"type": "tool_result", "tool_use_id": id, "content": said}]


def words(said: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": said}


CLAUDE = [
    {"type": "file-history-snapshot", "messageId": "u1", "snapshot": {"n": "w0"}, "isSnapshotUpdate": False},
    claude_said("u1", None, "w1"),
    claude_answered("u2", "u1", "msg1", words("w2")),
    claude_answered("u3", "u2", "msg1", call("t1")),
    claude_answered("u4", "u3", "msg1", call("t2")),
    claude_line("progress", "u5", "u3", data={"n": "w3"}),
    claude_said("u6", "u5", result("t1", "w4")),
    claude_said("u7", "u4", result("t2", "w5")),
    claude_answered("u8", "u7", "msg2", words("w6")),
    claude_said("s1", None, "w7", isSidechain=True),
    claude_said("u9", "u1", "w8"),
    {"type": "summary", "summary": "w9", "leafUuid": "u8"},
    claude_line(
        "system",
        "b1",
        None,
        subtype="compact_boundary",
        logicalParentUuid="u8",
        content="w10",
        compactMetadata={"trigger": "auto", "preTokens": 99},
    ),
    claude_said("b2", "b1", "w11", isCompactSummary=True),
    claude_said("b3", "b2", "w12", isMeta=True),
    claude_answered("b4", "b3", "msg3", words("w13")),
    {"type": "last-prompt", "lastPrompt": "w14", "leafUuid": "b4", "sessionId": "c1"},
]

# --- Codex ---


def codex_line(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A line of a rollout."""
    return {"timestamp": TIME, "type": kind, "payload": payload}


def codex_said(role: str, said: str) -> dict[str, Any]:
    """A message of a rollout."""
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": said}]
    return codex_line("response_item", {"type": "message", "role": role, "content": content})


def codex_event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of a rollout."""
    return codex_line("event_msg", {"type": kind, **fields})


CODEX = [
    codex_line("session_meta", {"id": "x1", "timestamp": TIME, "cwd": "/w", "model_provider": "openai", "note": "w0"}),
    codex_said("user", "<environment_context>w1</environment_context>"),
    codex_line("turn_context", {"turn_id": "w2", "model": "gpt", "effort": "high"}),
    codex_said("user", "w3"),
    codex_event("user_message", message="w4"),
    codex_line("response_item", {"type": "function_call", "name": "sh", "arguments": '{"n":"w5"}', "call_id": "f1"}),
    codex_line("response_item", {"type": "function_call_output", "call_id": "f1", "output": "w6"}),
    codex_said("assistant", "w7"),
    codex_said("user", "w8"),
    codex_said("assistant", "w9"),
    codex_event("thread_rolled_back", num_turns=1, note="w10"),
    codex_said("user", "w11"),
    codex_line(
        "compacted",
        {
            "message": "w12",
            "replacement_history": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "w13"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Summary: w12"}]},
            ],
        },
    ),
    codex_line("world_state", {"n": "w14"}),
    codex_said("assistant", "w15"),
]

# --- Gemini CLI ---


def gemini_said(id: str, said: str) -> dict[str, Any]:
    """A user's record."""
    return {"id": id, "timestamp": TIME, "type": "user", "content": [{"text": said}]}


def gemini_answered(id: str, said: str, **more: Any) -> dict[str, Any]:
    """A record of the model."""
    return {"id": id, "timestamp": TIME, "type": "gemini", "content": said, "model": "pro", **more}


GEMINI = [
    {"sessionId": "g1", "projectHash": "w0", "startTime": TIME, "lastUpdated": TIME, "kind": "main"},
    gemini_said("m1", "w1"),
    gemini_answered("m2", "w2"),
    gemini_answered(
        "m2",
        "w3",
        thoughts=[{"subject": "s", "description": "on w4", "timestamp": TIME}],
        toolCalls=[
            {
                "id": "t1",
                "name": "sh",
                "args": {"n": 1},
                "status": "success",
                "result": [{"functionResponse": {"id": "t1", "name": "sh", "response": {"output": "w5"}}}],
            }
        ],
        tokens={"input": 1, "output": 2},
    ),
    {"id": "m3", "timestamp": TIME, "type": "info", "content": "w6"},
    gemini_said("m4", "w7"),
    {"$set": {"summary": "w8", "lastUpdated": TIME}},
    {"$rewindTo": "m4"},
    gemini_said("m5", "w9"),
    gemini_answered("m6", "w10"),
]

SAMPLES = {"pi": PI, "kit": KIT, "claude-code": CLAUDE, "codex": CODEX, "gemini-cli": GEMINI}
