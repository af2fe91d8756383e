"""Reads sessions of pi, versions 1 to 3: a tree in JSONL, and the format most similar to convtree's.

The context of an imported session has the messages that pi would show. Mapping:

- `message`: a message, unchanged, shape `pi.message`. An assistant's provider, model and usage also go to the envelope,
  because in pi an assistant's message sets the model. A `bashExecution` that pi hides from the model is for the user. A
  system message is pinned: after a compaction pi shows all of them merged, in its `systemMessage`.
- `custom_message`: the message that pi shows its model. Other fields of the line of a message are its `extra`.
- `compaction`: a compaction. Its first kept entry must be an ancestor; otherwise pi keeps no entry.
- `branch_summary`: a branch summary. `fromId` is `root` if no branch was left, which is None here. The `usage` of
  both is what the summary cost. Other fields (`fromHook`, `systemMessage`) are in the details under `pi`.
- `model_change`, `thinking_level_change`: a model change; the level is the setting `thinkingLevel`. A level that comes
  before any model is extension data, and joins the settings of the next model change below it.
- `custom`: extension data of the extension's own type.
- `usage`: extension data `pi.usage` with the usage, and with the model that was paid.
- `label`, `session_info`: extension data, so that no parent changes, and a mark that says the same.
- Any other type, and any line without the fields of its type: extension data `pi.<type>`.

Version 1 has no ids: its entries are a chain, and the first kept entry of a compaction is a line number. Its header
names a model that pi no longer reads: extension data at the root. Version 2 has another name for the role `custom`. A
repeated id means the later entry from there on, as in pi. pi resumes at the last line, so that is the leaf. A fork
names its parent and the last entry that was copied from there (`forks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids
from convtree._formats.common.jsonl import first_object, is_header, is_record, read_objects, single_session
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder
from convtree._formats.common.values import NUMBER, key, misfits, text, without
from convtree._formats.pi.entries import Entries
from convtree._formats.pi.forks import origin_of
from convtree._formats.pi.writer import NAME
from convtree._model.entries import Record

__all__ = ["NAME", "read", "recognises", "sessions"]

_HEADER = ("type", "version", "id", "timestamp", "cwd", "parentSession")  # fields that have a place of their own


_OF_HEADER = {
    *("type", "version", "id", "timestamp", "cwd", "parentSession"),
    *("provider", "modelId", "thinkingLevel"),  # of version 1
}


def recognises(source: Source) -> bool:
    """Recognises a session of pi by its header and by the key with which entries name their parent."""
    first_lines = source.beginning
    objects = read_objects(source.open_beginning(), Findings(), is_record)
    header = next(objects, None)
    if header is None or not is_header(header.fields):
        return False
    entries = [found.fields for found in objects if found.fields.get("type") != "session"]
    for fields in entries:
        if "parentId" in fields or "parent_id" in fields:
            return "parentId" in fields
    rest = first_lines[header.span.offset + header.span.length :]
    if not entries and rest.strip():  # the first entry is longer than what we were given
        return (b'"parentId":' in rest) or (_version(header.fields) < 2 and b'"parent_id":' not in rest)
    return not entries or _version(header.fields) < 2


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which the first line names."""
    return single_session(source, NAME)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    file, findings = source.open_file(), Findings()
    objects = read_objects(file, findings, is_record)
    first = first_object(objects, source)
    fields = first.fields
    time, parent = fields.get("timestamp"), fields.get("parentSession")
    origin = origin_of(source, fields)
    header = make_header(
        NAME,
        ref.source_id,
        time=time,
        cwd=fields.get("cwd"),
        parent=origin.parent,
        copied_to=origin.copied_to,
        parent_session=parent,
        header=without(fields, *_HEADER) or None,
        **misfits(fields, {"version": NUMBER}),
    )
    for name in sorted(fields.keys() - _OF_HEADER):
        findings.add_once(name, "source_field_dropped", first.span)
    records = _Reader(first, SessionBuilder(Ids(NAME, ref.source_id), findings)).records(objects)
    return SourceSession(header, records, findings.listed, file.position)


class _Reader:
    """Reads one session: resolves references in the order of the file."""

    def __init__(self, header: Object, builder: SessionBuilder) -> None:
        self._header = header
        self._version = _version(header.fields)
        self._builder = builder
        self._ids = builder.ids
        self._lines: list[str | None] = [None]  # the ids by place in the file, for version 1

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the session's records; the leaf is the last line."""
        entries = Entries(self._version, self._builder)
        return self._builder.records(chain(self._header_nodes(), self._nodes(objects)), entries.make)

    def _header_nodes(self) -> Iterator[Node]:
        """Yields a node for the model that a header of version 1 names; pi itself ignores it now."""
        fields = self._header.fields
        if self._version < 2 and (fields.get("modelId") or fields.get("thinkingLevel")):
            named = {
                name: fields[name] for name in ("timestamp", "provider", "modelId", "thinkingLevel") if name in fields
            }
            fields = {"type": "header"} | named
            node = Node(self._ids.derive("header"), None, None, self._header.span, fields)
            self._builder.leaf = node
            yield node

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        for ordinal, (fields, span) in enumerate(objects, 1):
            if fields.get("type") == "session":
                self._builder.findings.add("source_second_header", span)
                self._lines.append(None)
                continue
            link = self._chained if self._version < 2 else self._linked
            node = self._builder.leaf = link(fields, span, ordinal)
            self._note(node, ordinal)
            yield node

    def _chained(self, fields: dict[str, Any], span: SourceSpan, ordinal: int) -> Node:
        """Makes a node of version 1, below the one before it."""
        index = fields.get("firstKeptEntryIndex")
        kept = self._lines[index] if isinstance(index, int) and 0 <= index < len(self._lines) else None
        parent_id = None if self._builder.leaf is None else self._builder.leaf.id
        id = self._ids.claim(None, ordinal)
        self._lines.append(id)
        return Node(id, parent_id, None, span, fields, kept)

    def _linked(self, fields: dict[str, Any], span: SourceSpan, ordinal: int) -> Node:
        """Makes a node of version 2 or 3, below the one it names."""
        node = self._builder.link(fields, span, key(fields.get("id")), key(fields.get("parentId")), ordinal)
        return node._replace(reference=self._reference(fields))

    def _reference(self, fields: dict[str, Any]) -> str | None:
        """Returns the id of the entry that a compaction keeps from, or that a branch summary left."""
        if fields.get("type") == "compaction" and (kept := key(fields.get("firstKeptEntryId"))) is not None:
            return self._ids.refer(kept)
        if fields.get("type") == "branch_summary" and (left := key(fields.get("fromId"))) is not None:
            return self._ids.known(left) or (None if left == "root" else self._builder.left(left))
        return None

    def _note(self, node: Node, ordinal: int) -> None:
        """Notes labels and the name of the session."""
        fields, kind = node.fields, node.fields.get("type")
        if kind == "label" and (target := key(fields.get("targetId"))) is not None:
            self._builder.label(node, ordinal, target, text(fields.get("label")) or None)
        elif kind == "session_info":
            self._builder.set_info(node, ordinal, name=(text(fields.get("name")) or "").strip() or None)


def _version(header: Mapping[str, Any]) -> float:
    version = header.get("version")
    if version is None:
        return 1
    return version if isinstance(version, int | float) else 3
