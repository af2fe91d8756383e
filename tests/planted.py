"""Secrets of every kind, and sessions that have them wherever a text can be.

Put together here, so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convtree import BranchSummaryEntry, CompactionEntry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, Session
from convtree._model.entries import OpaqueEntry, OpaqueMark

OPENAI = "sk-" + "proj-" + "Ab1_" * 8
ANTHROPIC = "sk-" + "ant-api03-" + "Ab1-" * 8
GITHUB = "gh" + "p_" + "a1B2" * 9
KEY = f"-----BEGIN RSA PRIVATE {'KEY'}-----\nMIIEow\nabc+/=\n-----END RSA PRIVATE {'KEY'}-----"

#: kind -> a text with one secret
FOUND = {
    "private_key": KEY,
    "anthropic_key": ANTHROPIC,
    "openai_key": OPENAI,
    "google_key": "AI" + "za" + "x" * 35,
    "provider_key": "gs" + "k_" + "a" * 40,
    "stripe_key": "sk" + "_live_" + "a" * 24,
    "aws_key_id": "AK" + "IA" + "ABCDEFGH12345678",
    "aws_secret": "aws_secret_access" + "_key = " + "a/b+" * 10,
    "github_token": GITHUB,
    "gitlab_token": "gl" + "pat-" + "a" * 20,
    "slack_token": "xo" + "xb-123456789012-abcdef",
    "npm_token": "np" + "m_" + "a" * 36,
    "jwt": "ey" + "J" + "hbGciOiJI.ey" + "JzdWIiOiIx.abcdefgh12",
    "bearer_token": "Authorization: Bearer " + "abcd1234" * 3,
    "url_password": "postgres://me:hunter2@db.example.org/x",
}
#: kind -> that text without it, where something stays
KEPT = {
    "aws_secret": "aws_secret_access" + "_key = [REDACTED:aws_secret]",
    "bearer_token": "Authorization: Bearer [REDACTED:bearer_token]",
    "url_password": "postgres://me:[REDACTED:url_password]@db.example.org/x",
}
#: kind -> a part of the secret that reads the same in JSON and, with backslashes taken away, in Markdown
BARE = {kind: text.removeprefix(KEPT.get(kind, "").partition("[")[0]) for kind, text in FOUND.items()}
BARE |= {"private_key": "MIIEow", "url_password": "hunter2"}


def planted(secret: str, path: Path | None = None, **arguments: Any) -> Session:
    """A session that says a secret wherever a text can be, with a branch and two compactions."""
    s = f"({secret})"
    header: dict[str, Any] = {"id": "planted", "name": s, "cwd": f"/w/{s}", "git_root": f"/w/{s}", "owner": s}
    header["metadata"] = {"import": {"format": "x", "path": s}, "k": [s]}
    if path is None:
        session = Session.memory(**header, **arguments)
    else:
        session = Session.open(path, durability="process", **header, **arguments)
    session.append({"role": "system", "content": s})
    question = session.append(
        {"role": "user", "content": [{"type": "text", "text": s}, {"text": s, "cache": {"why": s}}]}
    )
    session.append(ModelChangeEntry(provider="p", model="m", settings={"thinkingLevel": s, "more": [s]}))
    call = {"id": "c1", "type": "function", "function": {"name": "sh", "arguments": json.dumps({"cmd": s})}}
    session.append(
        {"role": "assistant", "content": s, "reasoning": s, "tool_calls": [call]}, model="m", usage={"note": s}
    )
    session.append({"role": "tool", "tool_call_id": "c1", "content": s})
    blocks = [{"type": "thinking", "thinking": s}, {"type": "tool_use", "id": "c2", "name": "sh", "input": {"a": [s]}}]
    session.append({"role": "assistant", "content": blocks}, shape="anthropic")
    result = {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": s}]}
    kept = session.append({"role": "user", "content": [result]}, shape="anthropic")
    facts: dict[str, Any] = {"read_files": [s], "modified_files": [s], "details": {"readFiles": [s]}}
    session.append(CompactionEntry(summary=s, first_kept_entry_id=kept.id, **facts))
    session.append(MessageEntry(message={"role": "user", "content": s}, visible_to="user"))
    said = {"role": "user", "content": [{"type": "text", "text": s}], "timestamp": 1}
    session.append(MessageEntry(message=said, shape="pi.message"))
    parts = [{"type": "text", "data": {"text": s}}]
    session.append(MessageEntry(message={"role": "user", "parts": parts}, shape="kit.message"))
    session.append(ExtensionDataEntry(ext_type="app.state", data={"deep": [{"er": s}]}))
    session.append(ExtensionDataEntry(ext_type="app.text", data=s))
    label = {"targetId": question.id, "target_id": question.id, "label": s}
    for kind in ("pi", "kit"):
        session.append(ExtensionDataEntry(ext_type=f"{kind}.label", data=label))
        session.append(ExtensionDataEntry(ext_type=f"{kind}.session_info", data={"name": s}))
    future = {"what": s, "shape": s, "format": {"of": s}}
    node = OpaqueEntry(id="f1", parent_id=session.leaf_id, source_id=s, unknown_type="future.kind", fields=future)
    session.extend([node, OpaqueMark(id="f2", unknown_type="future.mark", fields={"why": s})])
    session.append(CompactionEntry(summary=s, first_kept_entry_id=None, details=s))
    session.append({"role": "assistant", "content": s}, parent_id=question.id)
    session.append(BranchSummaryEntry(from_id="f1", summary=s, details=[s]), parent_id="f1")
    session.append({"role": "user", "content": s})
    session.label(question.id, s[:200])
    session.rename(s[:200])
    session.update_metadata(more=s)
    return session
