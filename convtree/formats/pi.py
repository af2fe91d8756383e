"""Sessions of pi, versions 1 to 3: a tree in JSONL, the closest relative of our own log.

pi is the measure: where a context is built, an imported session shows the messages pi would show. What becomes of what:

- `message`: a message, verbatim, shape `pi.message`. An assistant's provider, model and usage go to the envelope too,
  because in pi an assistant's message sets the model. A `bashExecution` that pi hides from the model is for the user.
- `custom_message`: a message, exactly the one that pi shows its model.
- `compaction`: a compaction. What it keeps must lie on its own path above it; in pi nothing is kept otherwise.
- `branch_summary`: a branch summary. `fromId` is `root` when nothing was left, which is None here.
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
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from convtree.entries import (
    ID,
    LABEL_LIMIT,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Header,
    LabelMark,
    LeafMark,
    MessageEntry,
    ModelChangeEntry,
    Record,
    SessionInfoMark,
)
from convtree.formats.base import Findings, Ids, Node, Place, Reading, derive_id, fit, milliseconds, plant, utc
from convtree.formats.lines import Object, read_objects

NAME = "pi"
SHAPE = "pi.message"

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


def recognises(first_lines: bytes) -> bool:
    """Tells a session of pi from others by its header and by how the entries that follow name their parent."""
    objects = read_objects(io.BytesIO(first_lines), Findings(), _is_record)
    header = next(objects, None)
    if header is None or not _is_header(header.fields):
        return False
    entries = [found.fields for found in objects if found.fields.get("type") != "session"]
    for fields in entries:
        if "parentId" in fields or "parent_id" in fields:
            return "parentId" in fields
    rest = first_lines[header.place.offset + header.place.length :]
    if not entries and rest.strip():  # the first entry is longer than what we were given
        return (b'"parentId":' in rest) or (_version(header.fields) < 2 and b'"parent_id":' not in rest)
    return not entries or _version(header.fields) < 2


def read(file: BinaryIO) -> Reading:
    """Reads a session that was recognised."""
    findings = Findings()
    objects = read_objects(file, findings, _is_record)
    first = next(objects)
    source_id = str(first.fields["id"])
    facts = {"format": NAME, "id": source_id, "parent_session": first.fields.get("parentSession")}
    header = Header(
        id=source_id if ID.fullmatch(source_id) else derive_id(NAME, source_id),
        timestamp=utc(first.fields.get("timestamp")),
        cwd=_text(first.fields.get("cwd")),
        metadata={"import": {name: value for name, value in facts.items() if value is not None}},
    )
    return Reading(header, _Reader(first, Ids(NAME, source_id), findings).records(objects), findings.listed)


class _Bookmark(NamedTuple):
    """A label or a name on its way to being a mark; a target may stand further down."""

    mark: LabelMark | SessionInfoMark
    place: Place


class _Reader:
    """Reads one session: settles what each line refers to, plants the nodes, and ends with the marks."""

    def __init__(self, header: Object, ids: Ids, findings: Findings) -> None:
        self._header = header
        self._version = _version(header.fields)
        self._ids = ids
        self._findings = findings
        self._entries = _Entries(self._version, findings)
        self._bookmarks: list[_Bookmark] = []
        self._last: Node | None = None  # in the order of the file
        self._lines: list[str | None] = [None]  # the ids by place in the file, for version 1

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the session's records: entries parents first, then marks in the order of the file."""
        entry_id = None
        for node in plant(chain(self._header_nodes(), self._nodes(objects)), self._findings):
            entry = self._entries.make(node)
            entry_id = entry.id
            yield fit(entry, node.place, self._findings)
        for mark, place in self._bookmarks:
            if isinstance(mark, LabelMark) and not self._entries.has(mark.target_id):
                self._findings.add("source_bad_target", place, mark.id)
            else:
                yield fit(mark, place, self._findings)
        if self._last is not None and self._last.id != entry_id:
            target_id = self._last.id
            time = utc(self._last.fields.get("timestamp"))
            yield LeafMark(id=self._ids.derive(target_id, "leaf"), timestamp=time, target_id=target_id)

    def _header_nodes(self) -> Iterator[Node]:
        """Yields what a header of version 1 says of the model; pi does not look at it any more."""
        fields = self._header.fields
        if self._version < 2 and (fields.get("modelId") or fields.get("thinkingLevel")):
            named = {
                name: fields[name] for name in ("timestamp", "provider", "modelId", "thinkingLevel") if name in fields
            }
            fields = {"type": "header"} | named
            self._last = Node(self._ids.derive("header"), None, None, self._header.place, fields)
            yield self._last

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        for ordinal, (fields, place) in enumerate(objects, 1):
            if fields.get("type") == "session":
                self._findings.add("source_second_header", place)
                self._lines.append(None)
                continue
            link = self._chained if self._version < 2 else self._linked
            self._last = link(fields, place, ordinal)
            self._note(self._last, ordinal)
            yield self._last

    def _chained(self, fields: dict[str, Any], place: Place, ordinal: int) -> Node:
        """Makes a node of version 1, below the one before it."""
        index = fields.get("firstKeptEntryIndex")
        kept = self._lines[index] if isinstance(index, int) and 0 <= index < len(self._lines) else None
        parent_id = None if self._last is None else self._last.id
        id = self._ids.claim(None, ordinal)
        self._lines.append(id)
        return Node(id, parent_id, None, place, fields, kept)

    def _linked(self, fields: dict[str, Any], place: Place, ordinal: int) -> Node:
        """Makes a node of version 2 or 3, below the one it names."""
        source_id, parent = _key(fields.get("id")), _key(fields.get("parentId"))
        parent_id = None if parent is None else self._ids.refer(parent)
        is_again = source_id is not None and self._ids.known(source_id) is not None
        id = self._ids.claim(source_id, ordinal)
        reference = self._reference(fields)
        if is_again:
            self._findings.add("source_duplicate", place, id)
        return Node(id, parent_id, None if source_id == id else source_id, place, fields, reference)

    def _reference(self, fields: dict[str, Any]) -> str | None:
        """Returns the id of the entry that a compaction keeps from, or that a branch summary left."""
        if fields.get("type") == "compaction" and (kept := _key(fields.get("firstKeptEntryId"))) is not None:
            return self._ids.refer(kept)
        if fields.get("type") == "branch_summary" and (left := _key(fields.get("fromId"))) is not None:
            return self._ids.known(left) or (left if left != "root" and ID.fullmatch(left) else None)
        return None

    def _note(self, node: Node, ordinal: int) -> None:
        """Takes down what a node says about the session as a whole."""
        fields, kind = node.fields, node.fields.get("type")
        if kind == "label" and (target := _key(fields.get("targetId"))) is not None:
            label = _text(fields.get("label")) or None
            if label is not None and len(label) > LABEL_LIMIT:
                label = label[:LABEL_LIMIT]
                self._findings.add("value_replaced", node.place, node.id)
            id, target_id = self._ids.derive(ordinal, "label"), self._ids.refer(target)
            mark = LabelMark(id=id, timestamp=utc(fields.get("timestamp")), target_id=target_id, label=label)
            self._bookmarks.append(_Bookmark(mark, node.place))
        elif kind == "session_info":
            name = (_text(fields.get("name")) or "").strip() or None
            id = self._ids.derive(ordinal, "session_info")
            info = SessionInfoMark(id=id, timestamp=utc(fields.get("timestamp")), name=name)
            self._bookmarks.append(_Bookmark(info, node.place))


class _Model(NamedTuple):
    """The model that a path leads to, and a thinking level that came before any model."""

    provider: str | None = None
    model: str | None = None
    level: Any = None


class _Entries:
    """Makes entries of planted nodes; knows of each path what later entries on it depend on."""

    def __init__(self, version: float, findings: Findings) -> None:
        self._version = version
        self._findings = findings
        self._rows: dict[str, int] = {}
        self._parents = array("q")
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

    def has(self, id: str) -> bool:
        """Tells whether an entry was made."""
        return id in self._rows

    def make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        parent = self._rows.get(node.parent_id, -1) if node.parent_id is not None else -1
        self._model = self._models[parent] if parent >= 0 else _Model()
        fields = node.fields
        kind = fields.get("type")
        envelope = {
            "id": node.id,
            "parent_id": node.parent_id,
            "timestamp": utc(fields.get("timestamp")),
            "source_id": node.source_id,
        }
        make = self._makers.get(kind) if isinstance(kind, str) else None
        entry = make(node, envelope) if make is not None else None
        if entry is None:
            if make is not None:
                self._findings.add("source_bad_record", node.place, node.id)
            entry = _extension_data(fields, envelope)
        else:
            self._report_dropped(node)
        if kind == "context_edit" or (kind == "compaction" and fields.get("systemMessage")):
            self._findings.add("source_unsupported", node.place, node.id)
        self._rows[node.id] = len(self._parents)
        self._parents.append(parent)
        self._models.append(self._model)
        return entry

    def _report_dropped(self, node: Node) -> None:
        left = node.fields.keys() - _BASE - _FIELDS[node.fields["type"]]
        if any(node.fields[name] not in (None, False) for name in left):
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
            facts = {"provider": _text(message.get("provider")), "model": _text(message.get("model")) or None}
            facts["usage"] = usage if isinstance(usage := message.get("usage"), dict) else None
            if facts["model"] is not None:
                self._model = self._model._replace(provider=facts["provider"], model=facts["model"])
        elif message.get("role") == "bashExecution" and message.get("excludeFromContext"):
            facts = {"visible_to": "user"}
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
        if kept is not None and not self._is_above(kept, node.parent_id):
            if kept != node.id:  # its own id says on purpose that nothing is kept
                self._findings.add("source_bad_target", node.place, node.id)
            kept = None
        details = fields.get("details")
        files = details if isinstance(details, dict) and not fields.get("fromHook") else {}
        return CompactionEntry(
            summary=summary,
            first_kept_entry_id=kept,
            tokens_before=_count(fields.get("tokensBefore")),
            read_files=_texts(files.get("readFiles")),
            modified_files=_texts(files.get("modifiedFiles")),
            details=details,
            **envelope,
        )

    def _branch_summary(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        if not isinstance(summary := node.fields.get("summary", ""), str):
            return None
        details = node.fields.get("details")
        return BranchSummaryEntry(from_id=node.reference, summary=summary, details=details, **envelope)

    def _model_change(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        provider, model = _text(node.fields.get("provider")), _text(node.fields.get("modelId"))
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
        ext_type = _text(node.fields.get("customType"))
        if not ext_type:
            return None
        if ext_type.startswith("pi."):  # those are ours
            return _extension_data(node.fields, envelope)
        return ExtensionDataEntry(ext_type=ext_type, data=node.fields.get("data"), **envelope)

    def _is_above(self, id: str, below: str | None) -> bool:
        """Tells whether an entry lies on the path to another, itself included."""
        wanted = self._rows.get(id)
        row = self._rows.get(below, -1) if below is not None else -1
        if wanted is None:
            return False
        while row > wanted:
            row = self._parents[row]
        return row == wanted


def _extension_data(fields: Mapping[str, Any], envelope: dict[str, Any]) -> ExtensionDataEntry:
    kind = fields.get("type")
    data = {name: value for name, value in fields.items() if name not in _BASE}
    if not isinstance(kind, str):
        kind, data = "unknown", data | ({"type": kind} if kind is not None else {})
    return ExtensionDataEntry(ext_type=f"pi.{kind}", data=data, **envelope)


def _is_header(fields: Mapping[str, Any]) -> bool:
    return fields.get("type") == "session" and "format" not in fields and isinstance(fields.get("id"), str)


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str) and isinstance(value.get("timestamp"), str)


def _version(header: Mapping[str, Any]) -> float:
    version = header.get("version")
    if version is None:
        return 1
    return version if isinstance(version, int | float) else 3


def _key(value: Any) -> str | None:
    """Returns a reference as text; pi takes an empty one for none."""
    return None if value in (None, "") else value if isinstance(value, str) else repr(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None


def _count(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) < 2**53 and value == int(value) else None
