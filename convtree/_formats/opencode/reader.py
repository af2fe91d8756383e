"""opencode's sessions: a SQLite database, and the folder of JSON files from before it. Both are linear.

One session for each row of `session`, or each file under `session/`. Messages are ordered by time and id. Mapping:

- `message` with its `part`s: a message. `text` and `reasoning` are blocks; a `tool` is a call and, if it has ended, its
  result in a user's message of its own, after all calls of the same step. `file` is kept unchanged.
- Parts that no model sees (`step-start`, `step-finish`, `snapshot`, `patch`, ignored texts …) and every other field of
  a message: kept in the message under `opencode`.
- A user's message with a `compaction` part: extension data `opencode.compaction`. The assistant's finished summary that
  follows: a compaction, which keeps the entries from `tail_start_id` on, or none without that field.
- `modelID`, `providerID`, `tokens` and `cost`: model, provider and usage of the assistant's messages and of summaries.
- `revert`: the leaf is the message before the reverted one.
- `title`: the session's name. `parent_id`: the parent session, with the kind `task`. `time_archived`: archived. Other
  fields of a session and its to-do list: metadata under `opencode`.
- A `session_message`, if a session of the database has nothing else: extension data `opencode.session_message`. It is
  reported, because its kinds are unknown here.

The folder may be `storage` or its parent. Shape `opencode.message`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block, text_block
from convtree._formats.common.databases import Belonging, Found, find_sessions, list_database, read_row
from convtree._formats.common.headers import archived_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, Names, make_ref
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.sqlite import Database, has_tables, parse_cell
from convtree._formats.common.values import as_object, key, moment, text, without
from convtree._formats.opencode.stores import (
    START,
    Files,
    Message,
    messages_of_database,
    messages_of_folder,
    storage_folder,
)
from convtree._model.entries import CompactionEntry, Entry, Header, Record

NAME = "opencode"
_TABLES = {
    "session": frozenset({"id", "directory", "title"}),
    "message": frozenset({"id", "session_id", "data"}),
    "part": frozenset({"id", "message_id", "data"}),
}
_SEEN = ("id", "parent_id", "parentID", "directory", "title", "time_created", "time_archived", "time")
_LOOK = 20  # messages in which a folder is recognised
#: what a message says of its cost, and where it is in the entry of a summary
_COST = {"tokens": "usage", "cost": "usage", "providerID": "provider", "modelID": "model"}
_SILENT = {"step-start", "step-finish", "snapshot", "patch", "agent", "retry", "subtask"}


def recognises(source: Source) -> bool:
    """Recognises the database by its tables, the folder by one of its first messages."""
    if source.beginning:
        return has_tables(source, _TABLES)
    found = islice(storage_folder(source.path).glob("message/*/*.json"), _LOOK)
    loaded = map(Files(Findings()).load, found)
    return any("role" in data and ("sessionID" in data or "time" in data) for data in loaded)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database or a folder."""
    if source.beginning:
        return list_database(source, NAME, _rows, Belonging("part", "message_id", "message"))
    return _list_folder(storage_folder(source.path))


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _row) if source.beginning else _read_filed(storage_folder(source.path), ref)


# --- the database -------------------------------------------------------------------------------------------------


def _rows(database: Database) -> Iterator[Found]:
    return find_sessions(database, "session", "*", "message")


def _row(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    values, span = found.row
    own = (values.get("id"),)
    fields: dict[str, Any] = {}
    if not found.is_missing:
        todo = database.rows("todo", "*", where="session_id is ?", values=own, order="position")
        fields = values | {
            "revert": parse_cell(values.get("revert"), span, database.findings),
            "todo": [without(row, "session_id") for row, _ in todo],
        }
    return _session(id, fields, span, messages_of_database(*own, database), database.findings)


# --- the folder ---------------------------------------------------------------------------------------------------


class _Filed(NamedTuple):
    """A session of a folder: its name there, its fields, and the place of the file that was read last."""

    name: str
    fields: dict[str, Any]
    span: SourceSpan


def _list_folder(root: Path) -> Iterator[SessionRef]:
    names, known = Names(NAME), set()
    for ordinal, path in enumerate(sorted(root.glob("session/*/*.json")), 1):
        findings = Findings()
        files = Files(findings)
        fields = _about(root, path, files)
        known.add(path.stem)
        id = names.claim(path.stem, ordinal, files.span, findings)
        yield make_ref(NAME, id, findings, _Filed(path.stem, fields, files.span))
    for folder in sorted(root.glob("message/*")):
        if folder.name not in known and folder.is_dir():
            findings, span = Findings(), START
            id = names.claim(folder.name, 0, span, findings)
            findings.add("source_no_session", span)
            yield make_ref(NAME, id, findings, _Filed(folder.name, {}, span))


def _read_filed(root: Path, ref: SessionRef) -> SourceSession:
    name, fields, span = ref.content
    findings = Findings(ref.findings)
    messages = messages_of_folder(root, name, Files(findings, span))
    return SourceSession(*_session(ref.source_id, fields, span, messages, findings), findings.listed)


def _about(root: Path, path: Path, files: Files) -> dict[str, Any]:
    """Returns the fields of a session in a folder, under the names of the database columns."""
    fields = files.load(path)
    time = as_object(fields.get("time"))
    todo = root / "todo" / path.name
    return fields | {
        "parent_id": fields.get("parentID"),
        "time_created": time.get("created"),
        "time_archived": time.get("archived"),
        "todo": files.load(todo) if os.path.lexists(todo) else None,
    }


# --- both ---------------------------------------------------------------------------------------------------------


def _session(
    id: str, fields: dict[str, Any], span: SourceSpan, messages: Iterator[Message], findings: Findings
) -> tuple[Header, Iterator[Record]]:
    records = _Session(Ids(NAME, id), findings, fields).records(messages, span)
    return _header(id, fields), records


def _header(id: str, fields: dict[str, Any]) -> Header:
    parent, time = key(fields.get("parent_id")), fields.get("time_created")
    return make_header(NAME, id, time=time, cwd=fields.get("directory"), parent=parent, parent_kind="task")


class _Session:
    """Makes the entries of one session."""

    def __init__(self, ids: Ids, findings: Findings, fields: dict[str, Any]) -> None:
        self._ids = ids
        self._findings = findings
        self._fields = fields
        self._reverted = key(as_object(fields.get("revert")).get("messageID"))
        self._leaf: str | None = None  # the message before the one that was reverted to
        self._tail: str | None = None  # what the compaction that is under way keeps

    def records(self, messages: Iterator[Message], span: SourceSpan) -> Iterator[Record]:
        """Yields the entries, and the leaf and the name."""
        nodes = self._nodes(messages)
        yield from make_records(nodes, self._make, self._ids, self._findings, leaf=lambda: self._leaf, span=span)
        yield from name_mark(self._ids, self._fields.get("title"), span, self._findings)
        if self._fields.get("time_archived"):
            yield archived_mark(self._ids)
        yield from metadata_mark(self._ids, NAME, without(self._fields, *_SEEN), span, self._findings)

    def _nodes(self, messages: Iterator[Message]) -> Iterator[Node]:
        last, before = None, None
        for ordinal, (source_id, span, data, parts) in enumerate(messages, 1):
            if source_id is not None and source_id == self._reverted:
                self._leaf = before
            fields = {"data": data, "parts": parts}
            node = link(self._ids, self._findings, fields, span, source_id, ordinal, last)
            last, before = node.id, source_id
            yield node

    def _make(self, node: Node) -> list[Entry]:
        data, parts = node.fields["data"], node.fields["parts"]
        if "unknown" in data:
            return make_extension_data(NAME, "session_message", data)
        time = as_object(data.get("time")).get("created")
        compaction = next((part for part in parts if part.get("type") == "compaction"), None)
        if compaction is not None:
            self._tail = key(compaction.get("tail_start_id"))
            return make_extension_data(NAME, "compaction", without(data, "id", "sessionID") | {"parts": parts}, time)
        if data.get("summary") is True and data.get("finish"):
            summary = "\n".join(part["text"] for part in parts if part.get("type") == "text" and text(part.get("text")))
            if summary:
                return [self._compaction(node, summary, moment(time))]
        return self._message(data, parts, time)

    def _compaction(self, node: Node, summary: str, timestamp: str | None) -> Entry:
        kept = None if self._tail is None else self._ids.known(self._tail)
        if kept is None and self._tail is not None:
            self._findings.add("source_bad_target", node.span, node.id)
        data = node.fields["data"]
        provider, model = text(data.get("providerID")), text(data.get("modelID"))
        cost: dict[str, Any] = {"usage": _usage(data), "provider": provider, "model": model}
        placed = {name for name, value in cost.items() if value is not None}
        moved = [field for field, name in _COST.items() if name in placed]
        self._tail = None
        return CompactionEntry(
            timestamp=timestamp,
            summary=summary,
            first_kept_entry_id=None if kept == node.id else kept,
            details=without(data, "id", "sessionID", "time", "role", *moved),
            **cost,
        )

    def _message(self, data: dict[str, Any], parts: list[dict[str, Any]], time: Any) -> list[Entry]:
        role = text(data.get("role")) or "user"
        model = data.get("model")
        placed = ("id", "sessionID", "role", "modelID", "providerID", "tokens", "cost", "time")
        rest = without(data, *placed, *(("model",) if isinstance(model, dict) and role == "assistant" else ()))
        silent = [part for part in parts if _is_silent(part)]
        rest |= without({"parts": silent})
        return make_messages(
            NAME,
            role,
            _blocks(parts),
            rest,
            time=time,
            provider=data.get("providerID"),
            model=data.get("modelID"),
            usage=_usage(data),
        )


def _usage(data: dict[str, Any]) -> dict[str, Any] | None:
    """Returns tokens and cost of a message as one object; None if it has neither."""
    return as_object(data.get("tokens")) | without({"cost": data.get("cost")}) or None


def _blocks(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the blocks that parts are; the results of calls that were made together follow them together."""
    blocks: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in parts:
        kind = part.get("type")
        if kind != "tool":
            blocks, results = blocks + results, []
        if kind == "tool":
            state = as_object(part.get("state"))
            blocks.append(call_block(part.get("callID"), part.get("tool"), state.get("input")))
            if state.get("status") in ("completed", "error"):
                has_failed = state["status"] == "error"
                content = state.get("error") if has_failed else state.get("output")
                results.append(result_block(part.get("callID"), content, is_error=has_failed))
        elif part and not _is_silent(part):  # an empty one could not be read, and was reported
            blocks.append(_block(kind, part))
    return blocks + results


def _block(kind: Any, part: dict[str, Any]) -> dict[str, Any]:
    if kind == "text":
        return text_block(part.get("text"))
    if kind == "reasoning":
        return {"type": "thinking", "thinking": text_block(part.get("text"))["text"]}
    named = without(part, "id", "messageID", "sessionID")
    return named if isinstance(kind, str) else text_block(named)


def _is_silent(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    return (isinstance(kind, str) and kind in _SILENT) or (kind == "text" and part.get("ignored") is True)
