"""Threads of Zed's agent: the database `threads/threads.db` in Zed's data folder.

The keys are those of zed-industries/zed: `crates/agent/src/db.rs` for the table and a thread, which is JSON, packed or
not; `thread.rs` for its messages; `legacy_thread.rs` for those before version 0.3.0; `crates/language_model_core/src/
request.rs` for the results of tools. One session for each row of `threads`. Mapping:

- A message of the user, or of the agent with its calls and their results. `Resume` is the message that Zed sends for
  it. Reasoning has its signature; what was mentioned is a text. Other fields are kept in the message under `zed`.
- `request_token_usage`: extension data `zed.usage` below the message of the user that it was for. Zed keeps the usage
  of the last request of each turn only.
- `model`: the model of the thread when it was saved.
- `summary`, `folder_paths`, `parent_id`: the name, the directory, and the thread that this one is a task of. Other
  fields: metadata of the session under `zed`.

The thread is written anew each time: ids are derived from the content, and an edit is a branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.compressed import unpack_zstandard
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.databases import Found, list_database, read_row
from convtree._formats.common.headers import leaf_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, derive_id
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import parse
from convtree._formats.common.sqlite import Database, has_tables
from convtree._formats.common.values import as_object, as_text, key, misfits, objects, text, without
from convtree._model.entries import Entry, ExtensionDataEntry, Header, Record, Visibility

NAME = "zed"
_TABLES = {"threads": frozenset({"id", "summary", "updated_at", "data_type", "data"})}
_ROW = "id parent_id folder_paths summary updated_at created_at data_type"
_SEEN = ("title", "summary", "messages", "request_token_usage", "model")
_KINDS = {"messages": list, "model": dict}
_RESUME = "Continue where you left off"
_RESULT = ("tool_use_id", "content", "is_error")


def recognises(source: Source) -> bool:
    """Recognises the database by its table."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the threads of a database."""
    return list_database(source, NAME, _rows, reads={"threads": "*"})


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a thread."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    return (Found(row.values.get("id"), row) for row in database.rows("threads", _ROW))


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    row = found.row.values
    folders = (text(row.get("folder_paths")) or "").splitlines()
    header = make_header(
        NAME,
        id,
        time=row.get("created_at") or row.get("updated_at"),
        cwd=folders[0] if folders else None,
        parent=key(row.get("parent_id")),
        parent_kind="task",
        folders=folders[1:] or None,
    )
    return header, _Thread(Ids(NAME, id), found, database).records()


class _Thread:
    """One thread of a database."""

    def __init__(self, ids: Ids, found: Found, database: Database) -> None:
        self._ids = ids
        self._row = found.row
        self._database = database
        self._tip: str | None = None
        self._last: str | None = None
        self._model: dict[str, Any] = {}
        self._paid_for: set[str] = set()  # the source's ids of messages with a usage

    def records(self) -> Iterator[Record]:
        """Yields the records."""
        findings, span = self._database.findings, self._row.span
        thread = self._load()
        self._model = as_object(thread.get("model"))
        yield from make_records(self._nodes(thread), self._make, self._ids, findings)
        yield from leaf_mark(self._ids, self._tip, self._last)
        yield from name_mark(self._ids, self._row.values.get("summary") or thread.get("title"), span, findings)
        yield from metadata_mark(self._ids, NAME, self._about(thread), span, findings)

    def _about(self, thread: dict[str, Any]) -> dict[str, Any]:
        """Returns what no entry, header or name says of the thread."""
        own, title, usage = self._row.values, thread.get("title"), thread.get("request_token_usage")
        about = without(thread, *_SEEN) | misfits(thread, _KINDS)
        about |= without({"title": title if title != (own.get("summary") or title) else None})
        model = without(self._model, "provider", "model") | misfits(self._model, {"provider": str, "model": str})
        about |= without({"model": model})
        if isinstance(usage, dict):
            usage = {name: paid for name, paid in usage.items() if name not in self._paid_for}
        return about | (without({"request_token_usage": usage}) if not isinstance(usage, list) else {})

    def _load(self) -> dict[str, Any]:
        own = (self._row.values.get("id"),)
        for row, span in self._database.rows("threads", "data", where="id is ?", values=own, blobs="data"):
            data = row.get("data")
            data = data.encode() if isinstance(data, str) else data if isinstance(data, bytes) else b""
            unpacked = unpack_zstandard(data) if self._row.values.get("data_type") == "zstd" else data
            found = parse(unpacked + b"\n", span, self._database.findings) if unpacked else []
            if found:
                return found[0]
            self._database.findings.add("source_bad_line", span)
        return {}

    def _nodes(self, thread: dict[str, Any]) -> Iterator[Node]:
        span, usage = self._row.span, thread.get("request_token_usage")
        messages = thread.get("messages")
        for number, message in enumerate(messages if isinstance(messages, list) else []):
            said = _said(message)
            node = node_by_content(self._ids, said, span, self._tip, str(number))
            if isinstance(usage, list) and number < len(usage):  # before 0.3.0
                node.fields["usage"] = usage[number]
            self._tip = self._last = node.id
            yield node
            paid = as_object(usage).get(key(said.get("id")) or "")
            if isinstance(paid, dict):
                self._paid_for.add(as_text(said["id"]))
            if isinstance(paid, dict) and any(paid.values()):
                yield self._paid(node, paid)

    def _paid(self, node: Node, usage: dict[str, Any]) -> Node:
        """Makes the node of a usage. Its id says whose it is, not how much: it grows while a turn runs."""
        id = derive_id(NAME, "usage", node.id)
        self._ids.claim(id, 0)
        self._last = id
        return Node(id, node.id, None, node.span, {"paid": usage})

    def _make(self, node: Node) -> list[Entry]:
        fields = node.fields
        provider, model = text(self._model.get("provider")), text(self._model.get("model"))
        if "paid" in fields:
            usage = fields["paid"]
            return [ExtensionDataEntry(ext_type=f"{NAME}.usage", data={}, usage=usage, provider=provider, model=model)]
        role, usage = fields["role"], as_object(fields.get("usage"))
        visible_to: Visibility = "model" if fields.get("is_hidden") is True else "all"
        blocks, left = _blocks(fields.get("content") or [])
        results, rest = _results(fields.get("results"))
        more = without(fields, "role", "content", "results", "usage", "is_hidden")
        more |= without({"content": left, "tool_results": rest})
        facts = {"provider": provider, "model": model, "usage": usage if any(usage.values()) else None}
        return make_messages(NAME, role, [*blocks, *results], more, visible_to=visible_to, **facts)


def _said(message: Any) -> dict[str, Any]:
    """Returns a message of any version in one form: its role, its content, its results, and its other fields."""
    fields = as_object(message)
    if message == "Resume":
        return {"role": "user", "content": [{"Text": _RESUME}]}
    if "User" in fields:
        return {"role": "user", **_inside(fields, "User")}
    if "Agent" in fields:
        agent = _inside(fields, "Agent")
        return {"role": "assistant", **without(agent, "tool_results"), "results": agent.get("tool_results")}
    if isinstance(fields.get("role"), str):
        content = [*objects(fields.get("segments")), *({"ToolUse": call} for call in objects(fields.get("tool_uses")))]
        content += [{"Text": fields[name]} for name in ("text", "context") if fields.get(name)]
        rest = without(fields, "segments", "tool_uses", "tool_results", "text", "context")
        return {**rest, "role": fields["role"].lower(), "content": content, "results": fields.get("tool_results")}
    return {"role": "user", "value": message}


def _inside(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the message in a wrapper, with what else the wrapper has."""
    message = fields[name]
    return (message if isinstance(message, dict) else {"value": message}) | without({"beside": without(fields, name)})


def _blocks(content: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Returns the parts of a message as blocks, and what they do not have."""
    blocks: list[dict[str, Any]] = []
    left: list[Any] = []
    for part in content if isinstance(content, list) else [content]:
        block, rest = _block(part)
        blocks += [] if block is None else [block]
        left += [rest] if rest else []
    return blocks, left


def _block(part: Any) -> tuple[dict[str, Any] | None, Any]:
    if isinstance(part, str):
        return text_block(part), None
    fields = as_object(part)
    kind = next(iter(fields), "") if len(fields) == 1 else str(fields.get("type"))
    value = fields.get(kind, fields)
    inside = as_object(value)
    block: dict[str, Any] | None = None
    used: tuple[str, ...] = ()
    match kind.lower():
        case "text":
            block, used = text_block(inside.get("text") if inside else value), ("text", "type")
        case "thinking":
            block, used = {"type": "thinking", "thinking": as_text(inside.get("text"))}, ("text", "signature", "type")
            block |= without({"signature": inside.get("signature")})
        case "redactedthinking":
            data = inside.get("data") if inside else value
            block, used = {"type": "redacted_thinking", "data": as_text(data)}, ("data", "type")
        case "mention" if text(inside.get("content")):
            block, used = text_block(inside["content"]), ("content",)
        case "image" if text(inside.get("source")):
            source = {"type": "base64", "media_type": "image/png", "data": inside["source"]}
            block, used = {"type": "image", "source": source}, ("source",)
        case "tooluse":
            block, used = call_block(inside.get("id"), inside.get("name"), inside.get("input")), ("id", "name", "input")
    return (None, part) if block is None else (block, without(inside, *used))


def _results(results: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """Returns the results of calls as blocks, and what they do not have."""
    listed = list(results.values()) if isinstance(results, dict) else results
    blocks: list[dict[str, Any]] = []
    left: list[Any] = []
    for result in objects(listed):
        content, rest = _blocks(result.get("content"))
        said = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
        blocks.append(result_block(result.get("tool_use_id"), said, is_error=result.get("is_error") is True))
        more = without(result, *_RESULT) | without({"content": rest})
        left += [more | {"tool_use_id": result.get("tool_use_id")}] if more else []
    return blocks, left
