"""Sessions of Cursor's editor: the database `globalStorage/state.vscdb` of Cursor's user folder.

Cursor's own code is not public. The keys are those that public readers were tested with on databases of Cursor
(skillsynchq/txcript, `src/harness/cursor_desktop.rs`, with Cursor 3.16; S2thend/cursor-history, `src/core/storage.ts`).
The table `cursorDiskKV` has a row `composerData:<session>` for each session and a row `bubbleId:<session>:<bubble>` for
each message. Mapping:

- `fullConversationHeadersOnly`: the order of the messages; before it, `conversation` held them. What Cursor took back
  is a branch only if it was imported before. A message that no order names starts a tree of its own (reported).
- A bubble: a message with its `text`, `thinking`, and the call in `toolFormerData` with its result. All other fields
  are kept in it under `cursor`. `modelInfo` names the model, `tokenCount` is the usage.
- While a session is generating, what follows the last message of the user is not read: it still grows.
- Other fields of the order are dropped (reported): Cursor changes them when it shows a message.
- `name`: the name. Other fields of the session: metadata under `cursor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.databases import Found, list_database, read_row
from convtree._formats.common.headers import make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.sqlite import Database, Row, has_tables, parse_cell
from convtree._formats.common.values import as_object, as_text, key, misfits, objects, text, without
from convtree._model.entries import Entry, Header, Record

NAME = "cursor"
_TABLES = {"cursorDiskKV": frozenset({"key", "value"})}
_SESSION, _BUBBLE = "composerData:", "bubbleId:"
_RANGE = "key >= ? and key < ?"  # a prefix; ";" comes after ":"
_USER, _ASSISTANT = 1, 2
_ORDER, _OLD_ORDER = "fullConversationHeadersOnly", "conversation"
_SEEN = ("composerId", "name", "createdAt", _ORDER, _OLD_ORDER, "conversationMap")
_KINDS = {_ORDER: list, _OLD_ORDER: list}
_OF_HEADER: dict[str, type] = {"bubbleId": str, "type": int}
_SAID = ("text", "thinking", "toolFormerData", "tokenCount", "createdAt", "bubbleId", "type")
_CALLED = ("toolCallId", "name", "rawArgs", "result")


def recognises(source: Source) -> bool:
    """Recognises the database by its table."""
    return has_tables(source, _TABLES)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database."""
    return list_database(source, NAME, _rows, reads={"cursorDiskKV": "*"})


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return read_row(source, ref, NAME, _session)


def _rows(database: Database) -> Iterator[Found]:
    for row in database.rows("cursorDiskKV", "key", where=_RANGE, order="key", values=(_SESSION, _after(_SESSION))):
        yield Found(as_text(row.values.get("key")).removeprefix(_SESSION), row)


def _after(prefix: str) -> str:
    return prefix[:-1] + ";"


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    session = _Session(Ids(NAME, id), found, database)
    return make_header(NAME, id, time=session.fields.get("createdAt")), session.records()


class _Session:
    """One session of a database."""

    def __init__(self, ids: Ids, found: Found, database: Database) -> None:
        self._ids = ids
        self._own = found.source_id
        self._row = found.row
        self._database = database
        self._tip: str | None = None  # the id of the last message, there
        where, values = "key is ?", (f"{_SESSION}{self._own}",)
        rows = database.rows("cursorDiskKV", "value", where=where, values=values)
        found_fields = [parse_cell(row.values.get("value"), row.span, database.findings) for row in rows]
        self.fields = as_object(next(iter(found_fields), None))
        config = as_object(self.fields.get("modelConfig"))
        self._model = text(config.get("modelName"))

    def records(self) -> Iterator[Record]:
        """Yields the records."""
        findings = self._database.findings
        yield from make_records(self._nodes(), self._make, self._ids, findings, leaf=lambda: self._tip)
        yield from name_mark(self._ids, self.fields.get("name"), self._row.span, findings)
        yield from metadata_mark(self._ids, NAME, self._about(), self._row.span, findings)

    def _about(self) -> dict[str, Any]:
        """Returns what no entry, header or name says of the session."""
        about = without(self.fields, *_SEEN) | misfits(self.fields, _KINDS)
        order, own = self.fields.get(_ORDER), self.fields.get("composerId")
        others = [each for each in order if not isinstance(each, dict)] if isinstance(order, list) else []
        return about | without({_ORDER: others, "composerId": None if own == self._own else own})

    def _nodes(self) -> Iterator[Node]:
        bubbles = self._bubbles()
        named = objects(self.fields.get(_ORDER))
        for name in (_OLD_ORDER, "conversationMap") if named else ("conversationMap",):
            if self.fields.get(name):
                self._database.findings.add_once(name, "source_field_dropped", self._row.span)
        if not named:
            for said in objects(self.fields.get(_OLD_ORDER)):
                named.append(said)
                bubbles.setdefault(as_text(said.get("bubbleId")), Row(said, self._row.span))
        if self.fields.get("status") == "generating":
            asked = [place for place, each in enumerate(named) if each.get("type") == _USER]
            growing = named[asked[-1] + 1 :] if asked else named
            named = named[: len(named) - len(growing)]
            for each in growing:
                bubbles.pop(as_text(each.get("bubbleId")), None)
        above: str | None = None
        for number, header in enumerate(named):
            id = key(header.get("bubbleId")) or f"message {number}"
            for name in (without(header, *_OF_HEADER) | misfits(header, _OF_HEADER)) if id in bubbles else ():
                self._database.findings.add_once(name, "source_field_dropped", self._row.span)
            bubble = bubbles.pop(id, Row(header, self._row.span))
            node = link(self._ids, self._database.findings, bubble.values, bubble.span, id, number, above)
            above, self._tip = node.id, id
            yield node
        for id, bubble in bubbles.items():
            node = link(self._ids, self._database.findings, bubble.values, bubble.span, id, 0, None)
            self._database.findings.add("source_orphan", bubble.span, node.id)
            yield node

    def _bubbles(self) -> dict[str, Row]:
        """Returns the messages by their ids."""
        prefix = f"{_BUBBLE}{self._own}:"
        found: dict[str, Row] = {}
        rows = self._database.rows("cursorDiskKV", "key value", where=_RANGE, values=(prefix, _after(prefix)))
        for row, span in rows:
            value = parse_cell(row.get("value"), span, self._database.findings)
            if value is not None:
                fields = value if isinstance(value, dict) else {"value": value}
                found[as_text(row.get("key")).removeprefix(prefix)] = Row(fields, span)
        return found

    def _make(self, node: Node) -> list[Entry]:
        fields = node.fields
        role = "user" if fields.get("type") == _USER else "assistant"
        thinking, called = as_object(fields.get("thinking")), as_object(fields.get("toolFormerData"))
        blocks = []
        if thinking.get("text") or thinking.get("signature"):
            thought = {"type": "thinking", "thinking": as_text(thinking.get("text"))}
            blocks.append(thought | without({"signature": thinking.get("signature")}))
        blocks.append(text_block(fields.get("text")))
        rest = without(fields, *_SAID) | misfits(fields, {"type": int})
        rest |= without({"thinking": without(thinking, "text", "signature")})
        if called.get("name") or called.get("toolCallId"):
            arguments = called.get("rawArgs") or called.get("params")
            blocks.append(call_block(called.get("toolCallId") or node.id, called.get("name"), arguments))
            if (result := called.get("result")) not in (None, ""):
                is_error = called.get("status") in ("error", "cancelled")
                blocks.append(result_block(called.get("toolCallId") or node.id, result, is_error=is_error))
            rest |= without({"toolFormerData": without(called, *_CALLED)})
        elif called:
            rest["toolFormerData"] = called
        counts = as_object(fields.get("tokenCount"))
        model = text(as_object(fields.get("modelInfo")).get("modelName")) or self._model
        usage = counts if any(counts.values()) else None
        return make_messages(NAME, role, blocks, rest, time=key(fields.get("createdAt")), model=model, usage=usage)
