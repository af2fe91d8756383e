"""Reads sessions of kit, version 3: a tree in JSONL like pi's, but compactions have no parent.

Mapping:

- `message`: a message of kit's own `role` and `parts`, unchanged, shape `kit.message`; its model and provider go to the
  envelope. kit reads the model from `model_change` only; here both count.
- `compaction`: a compaction. kit writes it without a parent. Its parent here is the entry before it in the file if the
  first kept entry is above that, else the last entry below the first kept one. kit keeps every line between the two in
  the file, even of other branches; here only the path is kept. A difference is reported and noted in the details under
  `kit`.
- `branch_summary`, `model_change`: entries of the same type.
- Other fields: the `extra` of a message, and the details of a summary under `kit`.
- `extension_data`: extension data; `data` stays a text, as in kit.
- `label`, `session_info`: extension data, so that no parent changes, and a mark that says the same.
- Any other type (`incomplete_output`, a `system_prompt` in a shared file), and any line without the fields of its type:
  extension data `kit.<type>`.

A repeated id means the later entry from there on, as in kit. kit resumes at the last line, so that is the leaf, except
for a `system_prompt`, with which kit would show nothing. A session that is exported again has the same context in kit
as here; see `write`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids
from convtree._formats.common.jsonl import first_object, is_header, is_record, read_objects, single_session
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import NUMBER, count, key, misfits, text, texts
from convtree._formats.kit.writer import KEEPS_MORE, NAME, SHAPE
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    Record,
)

__all__ = ["NAME", "read", "recognises", "sessions"]

_OWN_ID = re.compile("[0-9a-f]{32}")
_BASE = frozenset({"type", "id", "parent_id", "timestamp"})
_FIELDS = {  # the fields that an entry here has, too
    "message": {"role", "parts", "model", "provider"},
    "compaction": {
        *("summary", "first_kept_entry_id", "tokens_before", "tokens_after", "messages_removed"),
        *("read_files", "modified_files"),
    },
    "branch_summary": {"from_id", "summary"},
    "model_change": {"provider", "model_id"},
    "extension_data": {"ext_type", "data"},
}
_SHOWN = ("message", "branch_summary", "model_change")  # what has a say in kit's context
_TELLING = ("parent_id", "parts", "model_id", "ext_type", "first_kept_entry_id", "from_id", "target_id")


_OF_HEADER = {"type", "version", "id", "timestamp", "cwd", "parent_session", "parent_session_id", "subagent_task"}


def recognises(source: Source) -> bool:
    """Recognises a session of kit by its header and the keys of its entries."""
    objects = read_objects(source.open_beginning(), Findings(), is_record)
    header = next(objects, None)
    if header is None or not is_header(header.fields) or "version" not in header.fields:
        return False
    entries = [found.fields for found in objects if found.fields.get("type") != "session"]
    for fields in entries:
        if "parentId" in fields:
            return False
        if any(name in fields for name in _TELLING):
            return True
    rest = source.beginning[header.span.offset + header.span.length :]
    if not entries and rest.strip():  # the first entry is longer than what we were given
        return b'"parts":' in rest and b'"parentId":' not in rest
    return "parent_session_id" in header.fields or bool(_OWN_ID.fullmatch(header.fields["id"]))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which the first line names."""
    return single_session(source, NAME)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    file, findings = source.open_file(), Findings()
    objects = read_objects(file, findings, is_record)
    fields, span = first_object(objects, source)
    header = make_header(
        NAME,
        ref.source_id,
        time=fields.get("timestamp"),
        cwd=fields.get("cwd"),
        parent=key(fields.get("parent_session_id")),
        parent_kind="task" if fields.get("subagent_task") else "fork",
        **{name: fields.get(name) for name in ("parent_session", "parent_session_id", "subagent_task")},
        **misfits(fields, {"version": NUMBER}),
    )
    for name in sorted(fields.keys() - _OF_HEADER):
        findings.add_once(name, "source_field_dropped", span)
    records = _Reader(SessionBuilder(Ids(NAME, ref.source_id), findings)).records(objects)
    return SourceSession(header, records, findings.listed, file.position)


class _Reader:
    """Reads one session: resolves references in the order of the file, and makes entries."""

    def __init__(self, builder: SessionBuilder) -> None:
        self._builder = builder
        self._findings = builder.findings
        self._is_shown: list[bool] = []  # by row
        self._makers: dict[str, Callable[[Node, dict[str, Any]], Entry | None]] = {
            "message": self._message,
            "compaction": self._compaction,
            "branch_summary": self._branch_summary,
            "model_change": self._model_change,
            "extension_data": self._extension_data,
        }

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the session's records; the leaf is the last line."""
        return self._builder.records(self._nodes(objects), self._make)

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        before: str | None = None
        for ordinal, (fields, span) in enumerate(objects, 1):
            if fields.get("type") == "session":
                self._findings.add("source_second_header", span)
                continue
            node = self._node(fields, span, ordinal, before)
            self._note(node, ordinal)
            if fields.get("type") != "system_prompt":
                self._builder.leaf = node
                before = node.id
            yield node

    def _node(self, fields: dict[str, Any], span: SourceSpan, ordinal: int, before: str | None) -> Node:
        """Makes the node of a line. A compaction without a parent goes below the entries that it compacts."""
        source_id, parent = key(fields.get("id")), key(fields.get("parent_id"))
        node = self._builder.link(fields, span, source_id, parent, ordinal)
        if fields.get("type") == "branch_summary":
            return node._replace(reference=self._builder.left(key(fields.get("from_id"))))
        if fields.get("type") != "compaction":
            return node
        source_kept = key(fields.get("first_kept_entry_id"))
        kept = None if source_kept is None else self._builder.ids.known(source_kept)
        if source_kept is not None and kept is None:
            self._findings.add("source_bad_target", span, node.id)
        if parent is None:
            node = node._replace(parent_id=self._compacted(kept, before))
        return node._replace(reference=kept)

    def _compacted(self, kept: str | None, before: str | None) -> str | None:
        """Returns the entry that a compaction continues."""
        made = self._builder.made
        if kept is None or kept not in made or made.is_above(kept, before):
            return before
        return made.last_below(kept)

    def _note(self, node: Node, ordinal: int) -> None:
        """Notes labels and the name of the session."""
        fields, kind = node.fields, node.fields.get("type")
        if kind == "label" and (target := key(fields.get("target_id"))) is not None:
            self._builder.label(node, ordinal, target, text(fields.get("label")) or None)
        elif kind == "session_info":
            self._builder.set_info(node, ordinal, name=text(fields.get("name")) or None)

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind = fields.get("type")
        make = self._makers.get(kind) if isinstance(kind, str) else None
        self._is_shown.append(kind in _SHOWN)
        entry = None if make is None else make(node, envelope)
        if entry is None:
            if make is not None:
                self._findings.add("source_bad_record", node.span, node.id)
            return _other(fields, envelope)
        if not isinstance(entry, MessageEntry | CompactionEntry | BranchSummaryEntry):
            for name in sorted(_more(fields)):
                self._findings.add_once(name, "source_field_dropped", node.span, node.id)
        return entry

    # --- one maker a type: None is "not what this type should be" ---

    def _message(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        message: dict[str, Any] = {name: node.fields[name] for name in ("role", "parts") if name in node.fields}
        if not isinstance(message.get("parts"), list):
            return None
        provider, model = text(node.fields.get("provider")) or None, text(node.fields.get("model")) or None
        extra = _more(node.fields) or None
        return MessageEntry(message=message, shape=SHAPE, provider=provider, model=model, extra=extra, **envelope)

    def _compaction(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        fields = node.fields
        if not isinstance(summary := fields.get("summary", ""), str):
            return None
        kept, made = node.reference, self._builder.made
        if kept is not None and not made.is_above(kept, node.parent_id):
            self._findings.add("source_bad_target", node.span, node.id)
            kept = None
        is_more = kept is not None and any(map(self._is_shown.__getitem__, made.beside(kept, node.parent_id)))
        if is_more:
            self._findings.add("source_unsupported", node.span, node.id)
        return CompactionEntry(
            summary=summary,
            first_kept_entry_id=kept,
            details=_details(fields, **{KEEPS_MORE: is_more}),
            tokens_before=count(fields.get("tokens_before")),
            tokens_after=count(fields.get("tokens_after")),
            messages_removed=count(fields.get("messages_removed")),
            read_files=texts(fields.get("read_files")),
            modified_files=texts(fields.get("modified_files")),
            **envelope,
        )

    def _branch_summary(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        if not isinstance(summary := node.fields.get("summary", ""), str):
            return None
        return BranchSummaryEntry(from_id=node.reference, summary=summary, details=_details(node.fields), **envelope)

    def _model_change(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        if not (model := text(node.fields.get("model_id"))):
            return None
        return ModelChangeEntry(provider=text(node.fields.get("provider")) or None, model=model, **envelope)

    def _extension_data(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        ext_type = text(node.fields.get("ext_type"))
        if not ext_type:
            return None
        if ext_type.startswith("kit."):  # those are ours
            return _other(node.fields, envelope)
        return ExtensionDataEntry(ext_type=ext_type, data=node.fields.get("data"), **envelope)


def _more(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that an entry here has no place for."""
    left = fields.keys() - _BASE - _FIELDS[fields["type"]] | misfits(fields, {"model": str, "provider": str}).keys()
    return {name: value for name, value in fields.items() if name in left and value not in (None, False, "")}


def _details(fields: Mapping[str, Any], **facts: bool) -> dict[str, Any] | None:
    """Returns the details of a summary: kit's other fields, and facts about it that hold, under kit's name."""
    details = _more(fields) | {name: holds for name, holds in facts.items() if holds}
    return {NAME: details} if details else None


def _other(fields: Mapping[str, Any], envelope: dict[str, Any]) -> ExtensionDataEntry:
    data = {name: value for name, value in fields.items() if name not in _BASE}
    return extension_data(NAME, fields.get("type"), data, envelope)
