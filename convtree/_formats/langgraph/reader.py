"""Databases of LangGraph's `SqliteSaver`: the messages of a graph's checkpoints, as a tree.

The tables are those of langgraph-checkpoint-sqlite 3.1, `langgraph/checkpoint/sqlite/__init__.py`. One session for each
thread, and for each namespace of a subgraph in it, which is a task of the thread. Mapping:

- A checkpoint holds all messages of the conversation at its time, in the channel `messages` (`__root__` in a graph
  whose state is a list). The id of an entry is derived from all messages up to it, so checkpoints share what they have
  in common, and a state that was forked, edited or trimmed is a branch.
- A message: a message, unchanged, in the shape of LangChain; its time is that of the first checkpoint with it. What is
  not understood: extension data `langgraph.message` (reported).
- `usage_metadata` and the model in `response_metadata`: usage and model. A message that a trimmed state repeats counts
  once. In a subgraph usage is not counted, because the thread gets its messages.
- The leaf is the end of the last checkpoint: their ids are ordered by time.
- Other channels, pending writes and the metadata of checkpoints are left out (reported). A checkpoint that is a pickle,
  or whose messages are stored as changes only, is not read (reported).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import orjson

from convtree._formats.common.base import SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.databases import Found, list_database, read_row
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.sqlite import Database, has_tables
from convtree._formats.common.values import as_object, as_text, key, moment
from convtree._formats.langgraph.decoding import decode
from convtree._formats.message_list.conversations import entry_of
from convtree._model.entries import Entry, ExtensionDataEntry, Header, Record

NAME = "langgraph"
_TABLES = {
    "checkpoints": frozenset(
        {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata"}
    )
}
_CHANNELS = ("messages", "__root__")
_OWN_CHANNELS = ("__start__", "__pregel", "branch:")  # of the framework, for the next step


def recognises(source: Source) -> bool:
    """Recognises the database by its table."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the threads and the subgraphs in them."""
    return list_database(source, NAME, _rows)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    names = "thread_id checkpoint_ns"
    each = "checkpoint_id is not null group by thread_id, checkpoint_ns"
    for row in database.rows("checkpoints", names, where=each, order="thread_id, checkpoint_ns"):
        thread, namespace = (key(row.values.get(name)) for name in names.split())
        yield Found(f"{thread}/{namespace}" if namespace else thread, row)


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    thread, namespace = (key(found.row.values.get(name)) for name in ("thread_id", "checkpoint_ns"))
    parent = as_text(thread) if namespace else None
    header = make_header(NAME, id, parent=parent, parent_kind="task", checkpoint_ns=namespace)
    return header, _Thread(id, found, database).records()


class _Thread:
    """The checkpoints of one thread and namespace, in the order of their ids."""

    def __init__(self, id: str, found: Found, database: Database) -> None:
        self._id = id
        self._where = (found.row.values.get("thread_id"), found.row.values.get("checkpoint_ns"))
        self._counts = not self._where[1]  # usage
        self._database = database
        self._ids = Ids(NAME, id)
        self._leaf: str | None = None
        self._paid: set[str] = set()

    def records(self) -> Iterator[Record]:
        """Yields the records."""
        findings = self._database.findings
        yield from make_records(self._nodes(), self._make, self._ids, findings, leaf=lambda: self._leaf)

    def _nodes(self) -> Iterator[Node]:
        columns = "checkpoint_id type checkpoint metadata"
        rows = partial(self._database.rows, where="thread_id is ? and checkpoint_ns is ?", values=self._where)
        for row, span in rows("checkpoints", columns, order="checkpoint_id", blobs="checkpoint"):
            if row.get("metadata"):
                self._database.findings.add_once("metadata", "source_field_dropped", span)
            checkpoint = decode(row.get("type"), row.get("checkpoint"), span, self._database.findings)
            if checkpoint is None:
                self._database.findings.add_once(as_text(row.get("type")), "source_bad_line", span)
                continue
            last = None
            for message in self._messages(checkpoint, span):
                fields = message if isinstance(message, dict) else {"value": message}
                last, parent = self._next_id(last, fields), last
                if self._ids.known(last) is None:
                    self._ids.claim(last, 0)
                    yield Node(
                        last, parent, key(fields.get("id")), span, {"message": fields, "ts": checkpoint.get("ts")}
                    )
            self._leaf = last or self._leaf
        for _, span in rows("writes", "channel"):
            self._database.findings.add_once("writes", "source_field_dropped", span)

    def _messages(self, checkpoint: dict[str, Any], span: SourceSpan) -> list[Any]:
        """Returns the messages of a checkpoint. What else it holds is reported."""
        values = as_object(checkpoint.get("channel_values"))
        name = next((each for each in _CHANNELS if isinstance(values.get(each), list)), None)
        others = (each for each in values if each != name and not each.startswith(_OWN_CHANNELS))
        for other in others:
            self._database.findings.add_once(other, "source_field_dropped", span)
        if name is not None:
            return list(values[name])
        if _CHANNELS[0] in as_object(checkpoint.get("channel_versions")):
            self._database.findings.add_once(_CHANNELS[0], "source_unsupported", span)
        return []

    def _next_id(self, last: str | None, fields: dict[str, Any]) -> str:
        text = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
        return derive_id(NAME, self._id, last, text)

    def _make(self, node: Node) -> list[Entry]:
        fields, time = node.fields["message"], moment(node.fields["ts"])
        entry = entry_of(fields)
        if entry is None:
            self._database.findings.add("source_bad_record", node.span, node.id)
            return [ExtensionDataEntry(timestamp=time, ext_type=f"{NAME}.message", data=fields)]
        own = key(fields.get("id"))
        usage = entry.usage if self._counts and own not in self._paid else None
        self._paid |= {own} if own is not None else set()
        return [msgspec.structs.replace(entry, timestamp=time, usage=usage)]
