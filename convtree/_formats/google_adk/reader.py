"""Databases of Google's ADK: those of `SqliteSessionService`, and of `DatabaseSessionService` on SQLite.

The tables are those of google-adk 2.13: `google/adk/sessions/sqlite_session_service.py` and `schemas/v1.py`. Those of
version 0, in which actions are pickles, are not read. One session for each row of `sessions`, and for each session of
events without a row. Its key is the app, the user and the id of the session, its owner the user, and its metadata has
`google-adk.app` and `google-adk.user`: `convtree.adapters.google_adk` goes on with it. Mapping:

- `events`, in the order of their times: a message each, see `read_google_adk_event`. Data that is not an object:
  extension data `google-adk.event` (reported).
- A rewind begins a branch above what it takes back. `extra` has the event behind which ADK has it.
- `sessions.state`: extension data `google-adk.state`, behind the last event, where the leaf is. It also has the states
  of the user and of the app, as `shared_before`: ADK has one of these for many sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.databases import Found, list_database, read_row
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.sqlite import Database, Row, has_tables, parse_cell
from convtree._formats.common.values import as_object, as_text, key, moment, text, without
from convtree._formats.google_adk.event import read_google_adk_event
from convtree._model.entries import Entry, ExtensionDataEntry, Header, Record
from convtree._model.session_key import session_key

NAME = "google-adk"
_OF_EVENT = "app_name user_id session_id"
_TABLES = {
    "sessions": frozenset({"app_name", "user_id", "id", "state", "create_time", "update_time"}),
    "events": frozenset({"id", *_OF_EVENT.split(), "timestamp", "event_data"}),
}
_STATE = "state of the session"  # of a node that is no event; no column has this name


def recognises(source: Source) -> bool:
    """Recognises the database by its tables."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database."""
    return list_database(source, NAME, _rows)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    for row in database.rows("sessions", "app_name user_id id state create_time update_time"):
        yield Found(_key_of(row.values), row)
    there = "select 1 from sessions s where s.app_name is events.app_name and s.user_id is events.user_id"
    strays = f"not exists ({there} and s.id is events.session_id) group by app_name, user_id, session_id"
    for row in database.rows("events", _OF_EVENT, where=strays):
        values = without(row.values, "session_id") | {"id": row.values.get("session_id")}
        yield Found(_key_of(values), Row(values, row.span), is_missing=True)


def _names(values: dict[str, Any]) -> tuple[str, str, str]:
    """Returns app, user and session, as texts."""
    app, user, id = (key(values.get(name)) or "" for name in ("app_name", "user_id", "id"))
    return app, user, id


def _key_of(values: dict[str, Any]) -> str | None:
    try:
        return session_key(*_names(values))
    except ValueError:  # half a character is in it
        return None


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    values = found.row.values
    app, user, _ = names = _names(values)
    header = make_header(NAME, id, time=values.get("create_time"))
    metadata = {**(header.metadata or {}), f"{NAME}.app": app, f"{NAME}.user": user}
    if _key_of(values) == id:
        header = msgspec.structs.replace(header, key=list(names), owner=user or None, metadata=metadata)
    return header, _Session(id, found, database).records()


class _Session:
    """One session of a database: its events as a tree."""

    def __init__(self, id: str, found: Found, database: Database) -> None:
        self._database = database
        self._found = found
        self._ids = Ids(NAME, id)
        self._end: str | None = None  # the last event
        self._first_of: dict[Any, str | None] = {}  # the parent of the first event of each invocation

    def records(self) -> Iterator[Record]:
        """Yields the records."""
        make = partial(_make, findings=self._database.findings)
        yield from make_records(self._nodes(), make, self._ids, self._database.findings)

    def _nodes(self) -> Iterator[Node]:
        values = self._found.row.values
        own = tuple(values.get(name) for name in ("app_name", "user_id", "id"))
        where = "app_name is ? and user_id is ? and session_id is ?"
        columns = "id invocation_id timestamp event_data"
        events = self._database.rows("events", columns, where=where, order="timestamp, rowid", values=own)
        for ordinal, (row, span) in enumerate(events, 1):
            event = parse_cell(row.get("event_data"), span, self._database.findings)
            source_id = key(row.get("id"))
            id = self._ids.claim(source_id, ordinal)
            parent, extra = self._end, None
            rewound = text(as_object(as_object(event).get("actions")).get("rewind_before_invocation_id"))
            if rewound is not None and rewound in self._first_of:
                parent, extra = self._first_of[rewound], {"behind": self._end}
            self._first_of.setdefault(key(row.get("invocation_id")), parent)
            self._end = id
            yield Node(id, parent, source_id, span, {"event": event, "time": row.get("timestamp"), "extra": extra})
        if not self._found.is_missing:
            yield self._state(own)

    def _state(self, own: tuple[Any, ...]) -> Node:
        """Returns the node of the session's state."""
        row, database = self._found.row, self._database
        data = {"state": parse_cell(row.values.get("state"), row.span, database.findings)}
        shared = {}
        for scope, where, values in (
            ("app", "app_name is ?", own[:1]),
            ("user", "app_name is ? and user_id is ?", own[:2]),
        ):
            for found, span in database.rows(f"{scope}_states", "state", where=where, values=values):
                shared[scope] = parse_cell(found.get("state"), span, database.findings)
        if any(shared.values()):
            data["shared_before"] = shared
        fields = {_STATE: data, "time": row.values.get("update_time")}
        return Node(self._ids.derive("state", self._end or "", as_text(data)), self._end, None, row.span, fields)


def _make(node: Node, *, findings: Findings) -> list[Entry]:
    time = moment(node.fields.get("time"))
    if _STATE in node.fields:
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.state", data=node.fields[_STATE])]
    event = node.fields.get("event")
    if not isinstance(event, dict):
        findings.add("source_bad_record", node.span, node.id)
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.event", data=event)]
    entry = read_google_adk_event(event)
    return [msgspec.structs.replace(entry, timestamp=time, extra=node.fields.get("extra"))]
