"""atuin-ai's sessions: a SQLite database of events, each naming its parent.

One session for each row of `sessions`, and for each session id of events without a row. Mapping:

- `user_message`, `text`: a message of the user or the assistant. `tool_call`, `tool_result`: a message with that block.
- `system_context`: a user's message for the model only. `skill_invocation`: a user's message with the text of the
  skill.
- `out_of_band_output`: a user's message for the user only; atuin never sends it.
- Any other type, and data that is not an object: extension data `atuin_ai.<type>`.
- `parent_id`: the parent. atuin stores it but does not read it; if two shells continued one session, both branches are
  imported. `head_id`: the leaf.
- `directory`, `git_root`: fields of the header. `archived_at`: archived. `session_metadata`: metadata of the session;
  times of changes are metadata under `atuin_ai`.

Other fields of an event are kept in the message under `atuin_ai`. Shape `atuin_ai.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block, text_block
from convtree._formats.common.databases import Belonging, Found, find_sessions, list_database, read_row
from convtree._formats.common.headers import archived_mark, make_header, metadata_mark
from convtree._formats.common.ids import Ids
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.sqlite import Database, has_tables, parse_cell
from convtree._formats.common.truncate import truncate_to_limit
from convtree._formats.common.values import as_text, key, text, without
from convtree._model.entries import Entry, Header, Record, SessionInfoMark, Visibility

NAME = "atuin_ai"
_TABLES = {
    "sessions": frozenset({"id", "head_id"}),
    "session_events": frozenset({"id", "session_id", "parent_id", "event_type", "event_data"}),
}
_SESSION = "id head_id server_session_id directory git_root created_at updated_at archived_at"
_EVENT = "id parent_id invocation_id event_type event_data created_at"
_READ = {"sessions": "*", "session_events": f"session_id {_EVENT}", "session_metadata": "*"}
_SHOWN: dict[str, Visibility] = {"system_context": "model", "out_of_band_output": "user"}


def recognises(source: Source) -> bool:
    """Recognises the database by its tables."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database."""
    belonging = Belonging("session_metadata", "session_id", "sessions")
    return list_database(source, NAME, _rows, belonging, reads=_READ)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    return find_sessions(database, "sessions", _SESSION, "session_events")


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    return _header(id, found.row.values), _records(found, database, Ids(NAME, id))


def _header(id: str, fields: dict[str, Any]) -> Header:
    server = text(fields.get("server_session_id"))
    return make_header(
        NAME,
        id,
        time=fields.get("created_at"),
        cwd=fields.get("directory"),
        git_root=fields.get("git_root"),
        server_session_id=server,
    )


def _records(found: Found, database: Database, ids: Ids) -> Iterator[Record]:
    fields, findings = found.row.values, database.findings
    nodes = _nodes(fields.get("id"), database, ids)
    yield from make_records(nodes, _make, ids, findings, leaf=key(fields.get("head_id")), span=found.row.span)
    if fields.get("archived_at") is not None:
        yield archived_mark(ids)
    if found.is_missing:  # its metadata is reported as rows without a parent row
        return
    own, changed = (fields.get("id"),), dict[str, Any]()
    columns = "key value updated_at"
    for values, span in database.rows("session_metadata", columns, where="session_id is ?", values=own, order="1"):
        name, value = as_text(values.get("key")), parse_cell(values.get("value"), span, findings)
        changed |= without({name: values.get("updated_at")})
        mark = SessionInfoMark(id=ids.derive("metadata", name, as_text(value)), metadata={f"atuin_ai.{name}": value})
        yield truncate_to_limit(mark, span, findings)
    times = {name: fields.get(name) for name in ("updated_at", "archived_at")}
    yield from metadata_mark(ids, NAME, without(times | {"metadata_updated_at": changed}), found.row.span, findings)


def _nodes(session_id: Any, database: Database, ids: Ids) -> Iterator[Node]:
    order = "created_at, rowid"
    found = database.rows("session_events", _EVENT, where="session_id is ?", order=order, values=(session_id,))
    for ordinal, (values, span) in enumerate(found, 1):
        source_id, parent = key(values.get("id")), key(values.get("parent_id"))
        parent_id = None if parent is None else ids.refer(parent)
        node = link(ids, database.findings, values, span, source_id, ordinal, parent_id)
        data = parse_cell(values.get("event_data"), span, database.findings)
        if not isinstance(data, dict):
            database.findings.add("source_bad_record", span, node.id)
        yield node._replace(fields=values | {"event_data": data})


def _make(node: Node) -> list[Entry]:
    data, kind, time = node.fields.get("event_data"), text(node.fields.get("event_type")), node.fields.get("created_at")
    more = without({"invocation_id": node.fields.get("invocation_id")})
    if not isinstance(data, dict):
        return make_extension_data(NAME, kind or "unknown", data, time)
    match kind:
        case "user_message" | "text" | "system_context" | "out_of_band_output" | "skill_invocation":
            block, rest = text_block(data.get("content")), without(data, "content")
        case "tool_call":
            block = call_block(data.get("id"), data.get("name"), data.get("input"))
            rest = without(data, "id", "name", "input")
        case "tool_result":
            has_failed = data.get("is_error") is True
            block = result_block(data.get("tool_use_id"), data.get("content"), is_error=has_failed)
            rest = without(data, "tool_use_id", "content", "is_error", "remote")
        case _:
            return make_extension_data(NAME, kind or "unknown", data | more, time)
    role = "assistant" if kind in ("text", "tool_call") else "user"
    rest |= {"event_type": kind} if kind in _SHOWN or kind == "skill_invocation" else {}
    return make_messages(NAME, role, [block], rest | more, time=time, visible_to=_SHOWN.get(kind, "all"))
