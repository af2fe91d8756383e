"""Sessions of Crush: the database `.crush/crush.db` of a project.

The keys are those of charmbracelet/crush: `internal/db/migrations`, and `internal/message/content.go` for the parts of
a message, each of which has a `type` and its `data`. One session for each row of `sessions`. Mapping:

- A row of `messages`: a message, with the texts, reasoning, calls, results and images among its parts as Anthropic has
  them. `model` and `provider` are those of the assistant's messages. `finish`, any other part, and the other columns
  of the row are kept in the message under `crush`.
- `is_summary_message`: a compaction that keeps no entry, because Crush goes on from the summary.
- `parent_session_id`: the session that this one is a task of.
- `title`: the name. Tokens and cost are stored for the whole session only, so they are metadata of the session under
  `crush`, with the other columns of its row.

An assistant's message without a `finish` may still be written, and a database without `is_summary_message` names the
latest summary only, in its session: the ids of these are derived from their content.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.databases import Belonging, Found, find_sessions, list_database, read_row
from convtree._formats.common.headers import make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.sqlite import Database, Row, has_tables, parse_cell
from convtree._formats.common.values import as_object, as_text, key, moment, objects, text, without
from convtree._model.entries import CompactionEntry, Entry, Header, Record

NAME = "crush"
_TABLES = {
    "sessions": frozenset({"id", "title", "prompt_tokens", "completion_tokens", "parent_session_id"}),
    "messages": frozenset({"id", "session_id", "role", "parts", "created_at"}),
}
_SEEN = ("id", "title", "parent_session_id", "created_at", "updated_at", "message_count")
_PLACED = ("id", "session_id", "role", "parts", "model", "provider", "created_at", "is_summary_message")


def recognises(source: Source) -> bool:
    """Recognises the database by its tables."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database."""
    return list_database(
        source, NAME, _rows, Belonging("files", "session_id", "sessions"), reads={"sessions": "*", "messages": "*"}
    )


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    return find_sessions(database, "sessions", "*", "messages")


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    fields = found.row.values
    parent = key(fields.get("parent_session_id"))
    header = make_header(NAME, id, time=fields.get("created_at"), parent=parent, parent_kind="task")
    return header, _records(found.row, database, Ids(NAME, id))


def _records(row: Row, database: Database, ids: Ids) -> Iterator[Record]:
    findings = database.findings
    yield from make_records(_nodes(row.values, database, ids), _make, ids, findings)
    yield from name_mark(ids, row.values.get("title"), row.span, findings)
    yield from metadata_mark(ids, NAME, without(row.values, *_SEEN), row.span, findings)


def _nodes(session: dict[str, Any], database: Database, ids: Ids) -> Iterator[Node]:
    last: str | None = None
    own = (session.get("id"),)
    rows = database.rows("messages", "*", where="session_id is ?", order="created_at, rowid", values=own)
    for ordinal, (values, span) in enumerate(rows, 1):
        fields = values | {"parts": parse_cell(values.get("parts"), span, database.findings)}
        source_id = key(fields.get("id"))
        is_named = "is_summary_message" not in fields and source_id == key(session.get("summary_message_id"))
        fields["is_summary_message"] = is_named or fields.get("is_summary_message") == 1
        if is_named or (fields.get("role") == "assistant" and not _is_finished(fields["parts"])):
            said = {name: value for name, value in fields.items() if name != "updated_at"}
            node = node_by_content(ids, said, span, last, source_id or str(ordinal))
        else:
            node = link(ids, database.findings, fields, span, source_id, ordinal, last)
        last = node.id
        yield node


def _is_finished(parts: Any) -> bool:
    return any(part.get("type") == "finish" for part in objects(parts))


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    parts = objects(fields.get("parts")) if isinstance(fields.get("parts"), list) else [_as_part(fields.get("parts"))]
    made = [(part, _block(part)) for part in parts]
    rest = without(fields, *_PLACED) | without({"parts": [part for part, block in made if block is None]})
    time, provider, model = fields.get("created_at"), fields.get("provider"), fields.get("model")
    blocks = [block for _, block in made if block is not None]
    if fields["is_summary_message"]:
        said = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        return [
            CompactionEntry(
                timestamp=moment(time),
                summary=said,
                first_kept_entry_id=None,
                details=rest or None,
                provider=text(provider),
                model=text(model),
            )
        ]
    role = text(fields.get("role")) or "user"
    role = "user" if role == "tool" else role
    return make_messages(NAME, role, blocks, rest, time=time, provider=provider, model=model)


def _as_part(value: Any) -> dict[str, Any]:
    return {"type": "text", "data": {"text": as_text(value)}}


def _block(part: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a part of a message as a block of Anthropic's; None if there is no counterpart."""
    data = as_object(part.get("data"))
    match part.get("type"):
        case "text":
            return text_block(data.get("text"))
        case "reasoning":
            more = without(data, "thinking", "signature")
            signed = without({"signature": data.get("signature")})
            return {"type": "thinking", "thinking": as_text(data.get("thinking"))} | signed | without({NAME: more})
        case "tool_call":
            return call_block(data.get("id"), data.get("name"), data.get("input"))
        case "tool_result":
            block = result_block(data.get("tool_call_id"), data.get("content"), is_error=data.get("is_error") is True)
            return block | without({NAME: without(data, "tool_call_id", "content", "is_error")})
    return _image(part.get("type"), data)


def _image(kind: Any, data: dict[str, Any]) -> dict[str, Any] | None:
    if kind == "binary" and text(data.get("Data")):
        source = {"type": "base64", "media_type": text(data.get("MIMEType")), "data": data["Data"]}
        return {"type": "image", "source": source} | without({NAME: without(data, "Data", "MIMEType")})
    if kind == "image_url" and text(data.get("url")):
        return {"type": "image", "source": {"type": "url", "url": data["url"]}}
    return None
