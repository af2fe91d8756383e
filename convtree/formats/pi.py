"""Sessions of pi, versions 1 to 3: a tree in JSONL, the closest relative of our own log.

pi is the measure: where a context is built, an imported session shows the messages pi would show. What becomes of what:

- `message`: a message, verbatim, shape `pi.message`. An assistant's provider, model and usage go to the envelope too,
  because in pi an assistant's message sets the model. A `bashExecution` that pi hides from the model is for the user.
  A system message is pinned: behind a compaction pi shows what all of them came to, which is its `systemMessage`.
- `custom_message`: a message, exactly the one that pi shows its model.
- `compaction`: a compaction. What it keeps must lie on its own path above it; in pi nothing is kept otherwise.
- `branch_summary`: a branch summary. `fromId` is `root` when nothing was left, which is None here. What else pi says of
  this or of a compaction (`usage`, `fromHook`, `systemMessage`) is in the details, under `pi`.
- `model_change`, `thinking_level_change`: a model change; the level is the setting `thinkingLevel`. A level that comes
  before any model is extension data, and joins the settings of the next model change below it.
- `custom`: extension data of the extension's own type.
- `label`, `session_info`: extension data, so that no parent changes, and a mark that says the same.
- all else, and what lacks what its type needs: extension data of the type `pi.<type>`.

Version 1 has no ids: its entries are a chain, and what a compaction keeps is a place in the file. Its header names a
model that pi itself does not look at any more: extension data at the top. Version 2 calls the role `custom` by another
name. An id that comes again goes to the later entry from there on, as in pi. pi resumes at the last line, so that is
the leaf.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from convtree.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Record,
)
from convtree.formats.base import Findings, Place, Reading, Source
from convtree.formats.files import SourceFile
from convtree.formats.growth import Growth, envelope_of, extension_data
from convtree.formats.ids import Ids
from convtree.formats.lines import is_header, is_record, read_objects
from convtree.formats.parsing import Object
from convtree.formats.pi_writing import NAME, SHAPE, write
from convtree.formats.planting import Node
from convtree.formats.sessions import make_header
from convtree.formats.values import count, key, milliseconds, text, texts

__all__ = ["IS_SINGLE", "NAME", "SHAPE", "read", "recognises", "write"]

IS_SINGLE = True

_BASE = frozenset({"type", "id", "parentId", "timestamp"})
_FIELDS = {  # the fields that have a place in an entry of ours
    "message": {"message"},
    "custom_message": {"customType", "content", "display", "details"},
    "compaction": {"summary", "firstKeptEntryId", "firstKeptEntryIndex", "tokensBefore", "details"},
    "branch_summary": {"fromId", "summary", "details"},
    "model_change": {"provider", "modelId", "thinkingLevel"},
    "thinking_level_change": {"thinkingLevel"},
    "custom": {"customType", "data"},
}


def recognises(source: Source) -> bool:
    """Tells a session of pi from others by its header and by how the entries that follow name their parent."""
    first_lines = source.beginning
    objects = read_objects(io.BytesIO(first_lines), Findings(), is_record)
    header = next(objects, None)
    if header is None or not is_header(header.fields):
        return False
    entries = [found.fields for found in objects if found.fields.get("type") != "session"]
    for fields in entries:
        if "parentId" in fields or "parent_id" in fields:
            return "parentId" in fields
    rest = first_lines[header.place.offset + header.place.length :]
    if not entries and rest.strip():  # the first entry is longer than what we were given
        return (b'"parentId":' in rest) or (_version(header.fields) < 2 and b'"parent_id":' not in rest)
    return not entries or _version(header.fields) < 2


def read(source: Source) -> Iterator[Reading]:
    """Reads a session that was recognised."""
    with SourceFile(source.path) as file:
        findings = Findings()
        objects = read_objects(file, findings, is_record)
        first = next(objects)
        source_id = str(first.fields["id"])
        time, cwd = first.fields.get("timestamp"), first.fields.get("cwd")
        header = make_header(NAME, source_id, time=time, cwd=cwd, parent_session=first.fields.get("parentSession"))
        records = _Reader(first, Growth(Ids(NAME, source_id), findings)).records(objects)
        yield Reading(header, records, findings.listed, file.position)


class _Reader:
    """Reads one session: settles what each line refers to, in the order of the file."""

    def __init__(self, header: Object, growth: Growth) -> None:
        self._header = header
        self._version = _version(header.fields)
        self._growth = growth
        self._ids = growth.ids
        self._lines: list[str | None] = [None]  # the ids by place in the file, for version 1

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the session's records; the leaf is the last line."""
        entries = _Entries(self._version, self._growth)
        return self._growth.records(chain(self._header_nodes(), self._nodes(objects)), entries.make)

    def _header_nodes(self) -> Iterator[Node]:
        """Yields what a header of version 1 says of the model; pi does not look at it any more."""
        fields = self._header.fields
        if self._version < 2 and (fields.get("modelId") or fields.get("thinkingLevel")):
            named = {
                name: fields[name] for name in ("timestamp", "provider", "modelId", "thinkingLevel") if name in fields
            }
            fields = {"type": "header"} | named
            node = Node(self._ids.derive("header"), None, None, self._header.place, fields)
            self._growth.leaf = node
            yield node

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        for ordinal, (fields, place) in enumerate(objects, 1):
            if fields.get("type") == "session":
                self._growth.findings.add("source_second_header", place)
                self._lines.append(None)
                continue
            link = self._chained if self._version < 2 else self._linked
            node = self._growth.leaf = link(fields, place, ordinal)
            self._note(node, ordinal)
            yield node

    def _chained(self, fields: dict[str, Any], place: Place, ordinal: int) -> Node:
        """Makes a node of version 1, below the one before it."""
        index = fields.get("firstKeptEntryIndex")
        kept = self._lines[index] if isinstance(index, int) and 0 <= index < len(self._lines) else None
        parent_id = None if self._growth.leaf is None else self._growth.leaf.id
        id = self._ids.claim(None, ordinal)
        self._lines.append(id)
        return Node(id, parent_id, None, place, fields, kept)

    def _linked(self, fields: dict[str, Any], place: Place, ordinal: int) -> Node:
        """Makes a node of version 2 or 3, below the one it names."""
        node = self._growth.link(fields, place, key(fields.get("id")), key(fields.get("parentId")), ordinal)
        return node._replace(reference=self._reference(fields))

    def _reference(self, fields: dict[str, Any]) -> str | None:
        """Returns the id of the entry that a compaction keeps from, or that a branch summary left."""
        if fields.get("type") == "compaction" and (kept := key(fields.get("firstKeptEntryId"))) is not None:
            return self._ids.refer(kept)
        if fields.get("type") == "branch_summary" and (left := key(fields.get("fromId"))) is not None:
            return self._ids.known(left) or (None if left == "root" else self._growth.left(left))
        return None

    def _note(self, node: Node, ordinal: int) -> None:
        """Takes down what a node says about the session as a whole."""
        fields, kind = node.fields, node.fields.get("type")
        if kind == "label" and (target := key(fields.get("targetId"))) is not None:
            self._growth.label(node, ordinal, target, text(fields.get("label")) or None)
        elif kind == "session_info":
            self._growth.tell(node, ordinal, name=(text(fields.get("name")) or "").strip() or None)


class _Model(NamedTuple):
    """The model that a path leads to, and a thinking level that came before any model."""

    provider: str | None = None
    model: str | None = None
    level: Any = None


class _Entries:
    """Makes entries of planted nodes; knows of each path what later entries on it depend on."""

    def __init__(self, version: float, growth: Growth) -> None:
        self._version = version
        self._growth = growth
        self._findings = growth.findings
        self._models: list[_Model] = []
        self._model = _Model()
        self._makers: dict[str, Callable[[Node, dict[str, Any]], Entry | None]] = {
            "message": self._message,
            "custom_message": self._custom_message,
            "compaction": self._compaction,
            "branch_summary": self._branch_summary,
            "model_change": self._model_change,
            "thinking_level_change": self._thinking_level,
            "custom": self._custom,
        }

    def make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        parent = self._growth.made.row(node.parent_id)
        self._model = self._models[parent] if parent >= 0 else _Model()
        fields, envelope = node.fields, envelope_of(node)
        kind = fields.get("type")
        make = self._makers.get(kind) if isinstance(kind, str) else None
        entry = make(node, envelope) if make is not None else None
        if entry is None:
            if make is not None:
                self._findings.add("source_bad_record", node.place, node.id)
            entry = _extension_data(fields, envelope)
        else:
            self._report_dropped(node, entry)
        if kind == "context_edit":
            self._findings.add("source_unsupported", node.place, node.id)
        self._models.append(self._model)
        return entry

    def _report_dropped(self, node: Node, entry: Entry) -> None:
        is_kept = isinstance(entry, CompactionEntry | BranchSummaryEntry) and isinstance(entry.details, dict)
        if _more(node.fields) and not is_kept:
            self._findings.add("source_field_dropped", node.place, node.id)

    # --- one maker a type: None is "not what this type should be" ---

    def _message(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        message = node.fields.get("message")
        if not isinstance(message, dict) or not message:
            return None
        if self._version < 3 and message.get("role") == "hookMessage":
            message = message | {"role": "custom"}
        facts: dict[str, Any] = {}
        if message.get("role") == "assistant":
            facts = {"provider": text(message.get("provider")), "model": text(message.get("model")) or None}
            facts["usage"] = usage if isinstance(usage := message.get("usage"), dict) else None
            if facts["model"] is not None:
                self._model = self._model._replace(provider=facts["provider"], model=facts["model"])
        elif message.get("role") == "bashExecution" and message.get("excludeFromContext"):
            facts = {"visible_to": "user"}
        elif message.get("role") == "system":
            facts = {"pinned": True}
        return MessageEntry(message=message, shape=SHAPE, **facts, **envelope)

    def _custom_message(self, node: Node, envelope: dict[str, Any]) -> Entry:
        names = ("customType", "content", "display", "details")
        shown = {"role": "custom"} | {name: node.fields[name] for name in names if name in node.fields}
        shown["timestamp"] = milliseconds(node.fields.get("timestamp"))
        return MessageEntry(message=shown, shape=SHAPE, **envelope)

    def _compaction(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        fields = node.fields
        if not isinstance(summary := fields.get("summary", ""), str):
            return None
        kept = node.reference
        if kept is not None and not self._growth.made.is_above(kept, node.parent_id):
            if kept != node.id:  # its own id says on purpose that nothing is kept
                self._findings.add("source_bad_target", node.place, node.id)
            kept = None
        details = fields.get("details")
        files = details if isinstance(details, dict) and not fields.get("fromHook") else {}
        return CompactionEntry(
            summary=summary,
            first_kept_entry_id=kept,
            tokens_before=count(fields.get("tokensBefore")),
            read_files=texts(files.get("readFiles")),
            modified_files=texts(files.get("modifiedFiles")),
            details=_details(fields),
            **envelope,
        )

    def _branch_summary(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        if not isinstance(summary := node.fields.get("summary", ""), str):
            return None
        details = _details(node.fields)
        return BranchSummaryEntry(from_id=node.reference, summary=summary, details=details, **envelope)

    def _model_change(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        provider, model = text(node.fields.get("provider")), text(node.fields.get("modelId"))
        if not model:
            return None
        level = node.fields.get("thinkingLevel", self._model.level)
        self._model = _Model(provider, model)
        settings = None if level is None else {"thinkingLevel": level}
        return ModelChangeEntry(provider=provider, model=model, settings=settings, **envelope)

    def _thinking_level(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        level = node.fields.get("thinkingLevel")
        if level is None:
            return None
        provider, model = self._model.provider, self._model.model
        if model is None:
            self._model = _Model(level=level)
            return _extension_data(node.fields, envelope)
        self._model = _Model(provider, model)
        return ModelChangeEntry(provider=provider, model=model, settings={"thinkingLevel": level}, **envelope)

    def _custom(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        ext_type = text(node.fields.get("customType"))
        if not ext_type:
            return None
        if ext_type.startswith("pi."):  # those are ours
            return _extension_data(node.fields, envelope)
        return ExtensionDataEntry(ext_type=ext_type, data=node.fields.get("data"), **envelope)


def _details(fields: Mapping[str, Any]) -> Any:
    """Returns the details of a summary, and under pi's name what else pi says of it: these are no fields of ours."""
    details = fields.get("details")
    more = _more(fields)
    if not more or not isinstance(details, dict | None):
        return details
    return (details or {}) | {NAME: more}


def _more(fields: Mapping[str, Any]) -> dict[str, Any]:
    left = fields.keys() - _BASE - _FIELDS[fields["type"]]
    return {name: value for name, value in fields.items() if name in left and value not in (None, False)}


def _extension_data(fields: Mapping[str, Any], envelope: dict[str, Any]) -> ExtensionDataEntry:
    data = {name: value for name, value in fields.items() if name not in _BASE}
    return extension_data(NAME, fields.get("type"), data, envelope)


def _version(header: Mapping[str, Any]) -> float:
    version = header.get("version")
    if version is None:
        return 1
    return version if isinstance(version, int | float) else 3
