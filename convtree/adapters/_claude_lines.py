"""Lines of Claude Code in the entries of a session, and entries as the lines that they were. Keys of transcripts.

An entry has its line whole, beside the message that convtree reads: in `extra["line"]` of a message, without what the
message says, in `details["line"]` of a compaction, and as the data of everything else. A line that a log cannot hold is
there cleaned, and whole as a text in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from convtree import (
    CompactionEntry,
    CorruptLog,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    MessageEntry,
    ParentSession,
    Session,
    SessionNotFound,
    SessionStore,
    is_session_id,
    session_key,
)
from convtree.adapters._cleaning import clean
from convtree.exchange import ClaudeCodeLine, read_claude_code_line

Line = dict[str, Any]

PROJECT = "claude-code.project"  # metadata of a session: the key of its project

_TYPE = "claude-code"
_WHOLE = "convtree:line"  # beside a cleaned line: the whole one as JSON
_SPOKEN = ("user", "assistant")
_NOTE = {"type": "system", "subtype": "convtree", "content": "leaf", "level": "info", "isMeta": True}


def is_main(key: Mapping[str, Any]) -> bool:
    """Returns whether a key is that of a session, not of a transcript of one of its sub-agents."""
    return key.get("subpath") is None


def name_of(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the name of a transcript's session, see `Engine.session`."""
    return (key["project_key"], key["session_id"], *(() if is_main(key) else (key["subpath"],)))


def described(store: SessionStore, key: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, Any]:
    """Returns what describes the session of a transcript that begins with some lines."""
    cwd = next((line["cwd"] for line in lines if isinstance(line.get("cwd"), str)), None)
    found: dict[str, Any] = {"cwd": clean(cwd).value, "metadata": {PROJECT: key["project_key"]}}
    parent = session_key(key["project_key"], key["session_id"])
    forked_from = next((read_claude_code_line(line).forked_from for line in lines), None)
    if not is_main(key):
        found["parent_session"] = ParentSession(id=parent, kind="task")
    elif forked_from is not None and forked_from != key["session_id"]:
        with suppress(SessionNotFound):  # or it is somebody else's
            found["parent_session"] = ParentSession(id=store.info(session_key(key["project_key"], forked_from)).id)
    return found


def id_of(uuid: str) -> str:
    """Returns the id of the entry of a line: its uuid where that can be one. No two uuids share an id."""
    return uuid if is_session_id(uuid) else session_key("line", json.dumps(uuid))


def now() -> str:
    """Returns the time, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kept_line(line: Mapping[str, Any], *, cleans: bool) -> Line:
    """Returns what is stored of a line: it itself, or it without what a log cannot hold, and whole as a text."""
    if not cleans and _WHOLE not in line:
        return dict(line)
    cleaned = clean(dict(line))
    kept: Line = cleaned.value
    return kept | {_WHOLE: json.dumps(line)} if cleaned.changes or _WHOLE in line else kept


def entry_of(
    kept: Line, said: ClaudeCodeLine, placed: Mapping[str, Any], *, first_kept: str | None, usage: Line | None
) -> Entry:
    """Returns the entry of a line.

    Args:
        kept: what is stored of it.
        said: what that says.
        placed: the entry's id, parent and time.
        first_kept: if it is the summary of a compaction, the first entry that this keeps.
        usage: the tokens that it took.
    """
    if said.summary is not None:
        details = {"line": kept}
        return CompactionEntry(summary=said.summary, first_kept_entry_id=first_kept, details=details, **placed)
    if said.message is None:
        return ExtensionDataEntry(ext_type=f"{_TYPE}.{kept.get('type')}", data=kept, **placed)
    if kept["type"] in _SPOKEN:
        frame = {name: value for name, value in kept["message"].items() if name != "content"}
        kept = kept | {"message": frame}
    return MessageEntry(
        message=said.message,
        shape="anthropic",
        visible_to=said.visible_to,
        provider=None if said.model is None else "anthropic",
        model=said.model,
        usage=usage,
        extra={"line": kept},
        **placed,
    )


def line_of(entry: Entry) -> Line | None:
    """Returns the line that an entry was; None for an entry of another origin."""
    line: Any = None
    if isinstance(entry, MessageEntry):
        line = (entry.extra or {}).get("line")
    elif isinstance(entry, CompactionEntry) and isinstance(entry.details, dict):
        line = entry.details.get("line")
    elif isinstance(entry, ExtensionDataEntry) and entry.ext_type.startswith(f"{_TYPE}."):
        line = entry.data
    if not isinstance(line, dict):
        return None
    if _WHOLE in line:
        whole: Line = json.loads(line[_WHOLE])
        return whole
    if isinstance(entry, MessageEntry) and line["type"] in _SPOKEN:
        return line | {"message": line["message"] | {"content": entry.message["content"]}}
    return line


def lines_of(log: Session) -> list[Line]:
    """Returns the lines of a session in their order. Entries of another origin are no lines.

    Raises:
        CorruptLog: lines of it are damaged.
    """
    lines = [line_of(record) for _, record in log.records() if isinstance(record, Entry)]
    if any(each.severity == "error" for each in log.findings):  # as far as it was read
        raise CorruptLog(f"{log.location}: lines are damaged; run `convtree repair` first", findings=log.findings)
    return [line for line in lines if line is not None]


def lines_pointing_at(log: Session, session_id: str, target: str) -> list[Line]:
    """Returns the lines that make an entry the one at which Claude Code goes on.

    It goes on at the end of a branch only. So below an entry that has others below it, there is a note first.

    Raises:
        EntryNotFound: the entry is no line of the conversation.
    """
    line = line_of(log.entry(target)) or {}
    leaf = line.get("uuid")
    if not isinstance(leaf, str):
        raise EntryNotFound(f"{log.location}: entry {target!r} is no line of the conversation; name another one")
    lines: list[Line] = []
    if log.children(target):
        common = {name: line[name] for name in ("cwd", "version", "userType", "gitBranch") if name in line}
        placed = {"parentUuid": leaf, "isSidechain": False, "sessionId": session_id, "timestamp": now()}
        leaf = str(uuid4())
        lines = [placed | common | _NOTE | {"uuid": leaf}]
    said = (entry for entry in log.walk_up(target, type=MessageEntry) if entry.visible_to == "all")
    prompt = next((entry.text for entry in said if entry.role == "user" and entry.text), "")
    return [*lines, {"type": "last-prompt", "lastPrompt": prompt, "leafUuid": leaf, "sessionId": session_id}]
