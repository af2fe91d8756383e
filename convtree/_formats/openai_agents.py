"""Databases of OpenAI's Agents SDK: `SQLiteSession`, and `AdvancedSQLiteSession` with branches and usage.

The tables are those of openai-agents 0.24: `agents/memory/sqlite_session.py` and
`agents/extensions/memory/advanced_sqlite_session.py`. The two tables of a session can have other names than the default
ones below; there may be several pairs. One session for each row of `agent_sessions`, and for each session id of
messages without a row. Mapping:

- `session_id`: the session's id, or its key if it cannot be one, as in `convtree.adapters.openai_agents`.
- `agent_messages`: items of OpenAI's Responses API, each a message, unchanged. An item that is not understood:
  extension data `openai-agents.item` (reported).
- `message_structure`: the rows of a branch in the order of `sequence_number` are its path. A branch begins with the
  rows of another one, so branches share their messages. A message without a row there begins a tree of its own
  (reported).
- `branch_id`: the label of the first message that only this branch has. `main` has none. The leaf is the end of
  `main`, where the SDK goes on when it opens the session.
- `turn_usage`: extension data `openai-agents.turn_usage` with the usage, below the last message of its turn. The SDK
  does not store the model.

The SDK deletes what it takes back. An id of an entry is derived from all entries up to it, so what comes next is a
branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.databases import Found, find_sessions, list_database, read_row
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.sqlite import Database, has_tables_like, parse_cell
from convtree._formats.common.values import as_text, key, moment, without
from convtree._formats.message_list.conversations import entry_of
from convtree._model.entries import ID, LABEL_LIMIT, Entry, ExtensionDataEntry, Header, LabelMark, Record
from convtree._model.session_key import session_key

NAME = "openai-agents"
_SESSIONS = frozenset({"session_id", "created_at", "updated_at"})
_MESSAGES = frozenset({"id", "session_id", "message_data", "created_at"})
_DEFAULT = "agent_sessions"
_STRUCTURE = "message_structure"
_TABLE = "table of its messages"  # in a row; no column has this name
_MAIN = "main"
_MESSAGE = "id message_data created_at"
_USAGE = "input_tokens output_tokens total_tokens input_tokens_details output_tokens_details requests"
_OF_SESSION = "session_id is ?"


def recognises(source: Source) -> bool:
    """Recognises the database by its tables."""
    return has_tables_like(source, _MESSAGES, _SESSIONS)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database."""
    return (ref._replace(id=_keyed(ref.source_id) or ref.id) for ref in list_database(source, NAME, _rows))


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    structured = database.referenced_by(_STRUCTURE)
    for messages, table in _pairs(database):
        for found in find_sessions(database, table, "*", messages, "session_id"):
            yield found._replace(row=found.row._replace(values=found.row.values | {_TABLE: messages}))
        if messages in structured or not structured:
            database.report_strays(_STRUCTURE, "message_id", messages, "id")


def _pairs(database: Database) -> Iterator[tuple[str, str]]:
    """Yields the tables of messages, each with the table of their sessions."""
    tables = database.tables_like(_SESSIONS)
    for messages in database.tables_like(_MESSAGES):
        named = [*database.referenced_by(messages), _DEFAULT, *tables]
        yield messages, next(each for each in named if each in tables)


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    header = make_header(NAME, id, time=found.row.values.get("created_at"))
    if (keyed := _keyed(id)) is not None:
        header = msgspec.structs.replace(header, id=keyed, key=id)
    return header, _Session(id, found.source_id, found.row.values[_TABLE], database).records()


def _keyed(id: str) -> str | None:
    """Returns the session id for a key; None if the text is an id already, or can be no key."""
    try:
        return None if ID.fullmatch(id) else session_key(id)
    except ValueError:
        return None


class _Session:
    """One session of a database: the tree of its messages, in the order in which they were written."""

    def __init__(self, id: str, session_id: Any, table: str, database: Database) -> None:
        self._id = id
        self._table = table
        self._key = session_id
        self._database = database
        self._ids = Ids(NAME, id)
        self._placed: dict[Any, str] = {}  # entries, by the ids of messages
        self._ends: dict[Any, str] = {}  # the last entry of each branch
        self._labels: dict[Any, str] = {}  # the first entry that only this branch has

    def records(self) -> Iterator[Record]:
        """Yields the records."""
        make = partial(_make, findings=self._database.findings)
        yield from make_records(
            self._nodes(), make, self._ids, self._database.findings, leaf=lambda: self._ends.get(_MAIN)
        )
        for branch, target in self._labels.items():
            if branch != _MAIN and (name := (key(branch) or "")[:LABEL_LIMIT]):
                yield LabelMark(id=self._ids.derive("label", target), target_id=target, label=name)

    def _nodes(self) -> Iterator[Node]:
        usage = self._usage()
        turns: dict[Any, Any] = {}  # the turn that each branch is in
        structure = "branch_id message_id user_turn_number"
        order = "sequence_number, id"
        for row, _ in self._database.rows(_STRUCTURE, structure, where=_OF_SESSION, order=order, values=(self._key,)):
            branch, turn, message = row.get("branch_id"), row.get("user_turn_number"), row.get("message_id")
            if turns.get(branch, turn) != turn:
                yield from self._paid(branch, usage.pop((branch, turns[branch]), None))
            turns[branch] = turn
            if message not in self._placed:
                yield from self._messages(branch, "id is ? and session_id is ?", message, self._key)
            else:
                self._ends[branch] = self._placed[message]
        for branch, turn in turns.items():
            yield from self._paid(branch, usage.pop((branch, turn), None))
        yield from self._without_structure()

    def _without_structure(self) -> Iterator[Node]:
        """Yields the messages of a plain session, or those that a session with branches has in none of them."""
        has_branches = bool(self._ends)
        branch = None if has_branches else _MAIN
        where = _OF_SESSION
        values: tuple[Any, ...] = (self._key,)
        if has_branches:
            where += " and id not in (select message_id from message_structure where session_id is ?)"
            values *= 2
        for number, node in enumerate(self._messages(branch, where, *values)):
            if has_branches and number == 0:
                self._database.findings.add("source_orphan", node.span, node.id)
            yield node

    def _messages(self, branch: Any, where: str, *values: Any) -> Iterator[Node]:
        """Yields messages at the end of a branch."""
        for row, span in self._database.rows(self._table, _MESSAGE, where=where, order="id", values=values):
            item = parse_cell(row.get("message_data"), span, self._database.findings)
            node = self._node(branch, span, {"item": item, "time": row.get("created_at")}, row.get("id"))
            self._placed[row.get("id")] = node.id
            self._labels.setdefault(branch, node.id)
            yield node

    def _usage(self) -> dict[tuple[Any, Any], tuple[dict[str, Any], SourceSpan]]:
        """Returns the usage of each turn of each branch."""
        found = {}
        names = f"branch_id user_turn_number created_at {_USAGE}"
        for row, span in self._database.rows("turn_usage", names, where=_OF_SESSION, values=(self._key,)):
            for name in ("input_tokens_details", "output_tokens_details"):
                row[name] = parse_cell(row.get(name), span, self._database.findings)
            found[row.get("branch_id"), row.get("user_turn_number")] = (row, span)
        return found

    def _paid(self, branch: Any, usage: tuple[dict[str, Any], SourceSpan] | None) -> Iterator[Node]:
        """Yields the usage of the turn that a branch ends with, if it was stored."""
        if usage is not None:
            row, span = usage
            yield self._node(branch, span, {"usage": row, "time": row.get("created_at")}, None)

    def _node(self, branch: Any, span: SourceSpan, fields: dict[str, Any], source_id: Any) -> Node:
        parent = self._ends.get(branch)
        id = derive_id(NAME, self._id, parent, key(source_id), as_text(fields))
        self._ids.claim(id, 0)
        self._ends[branch] = id
        return Node(id, parent, key(source_id), span, fields)


def _make(node: Node, *, findings: Findings) -> list[Entry]:
    time = moment(node.fields["time"])
    if "usage" in node.fields:
        row = node.fields["usage"]
        usage = {name: row[name] for name in _USAGE.split() if row.get(name) is not None}
        about = without(row, "created_at", *_USAGE.split())
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.turn_usage", data=about, usage=usage)]
    item = node.fields["item"]
    entry = entry_of(item)
    if entry is None:
        findings.add("source_bad_record", node.span, node.id)
        return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.item", data=item)]
    return [msgspec.structs.replace(entry, timestamp=time)]
