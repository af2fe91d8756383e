"""Makes entries of pi's lines, one function for each type; `reader` documents the mapping. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from convtree._formats.common.parents_first import Node
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import count, milliseconds, text, texts
from convtree._formats.pi.writer import NAME, SHAPE
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)

_BASE = frozenset({"type", "id", "parentId", "timestamp"})
_COST = ("usage", "provider", "model")  # of a summary; pi itself writes the first one
_FIELDS = {  # the fields that an entry here has, too
    "message": {"message"},
    "custom_message": {"customType", "content", "display", "details"},
    "compaction": {"summary", "firstKeptEntryId", "firstKeptEntryIndex", "tokensBefore", "details", *_COST},
    "branch_summary": {"fromId", "summary", "details", *_COST},
    "model_change": {"provider", "modelId", "thinkingLevel"},
    "thinking_level_change": {"thinkingLevel"},
    "custom": {"customType", "data"},
    "usage": {"kind", "note", *_COST},
}


class _Model(NamedTuple):
    """The model that a path leads to, and a thinking level that came before any model."""

    provider: str | None = None
    model: str | None = None
    level: Any = None


class Entries:
    """Makes entries of nodes, parents first. Keeps the model in effect at each."""

    def __init__(self, version: float, builder: SessionBuilder) -> None:
        self._version = version
        self._builder = builder
        self._findings = builder.findings
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
            "usage": self._usage,
        }

    def make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        parent = self._builder.made.row(node.parent_id)
        self._model = self._models[parent] if parent >= 0 else _Model()
        fields, envelope = node.fields, envelope_of(node)
        kind = fields.get("type")
        make = self._makers.get(kind) if isinstance(kind, str) else None
        entry = make(node, envelope) if make is not None else None
        if entry is None:
            if make is not None:
                self._findings.add("source_bad_record", node.span, node.id)
            entry = _extension_data(fields, envelope)
        else:
            self._report_dropped(node, entry)
        if kind == "context_edit":
            self._findings.add("source_unsupported", node.span, node.id)
        self._models.append(self._model)
        return entry

    def _report_dropped(self, node: Node, entry: Entry) -> None:
        is_whole = isinstance(entry, ExtensionDataEntry) and entry.ext_type.startswith(f"{NAME}.")
        is_kept = is_whole or isinstance(entry, MessageEntry) or isinstance(getattr(entry, "details", None), dict)
        for name in () if is_kept else sorted(_more(node.fields)):
            self._findings.add_once(name, "source_field_dropped", node.span, node.id)

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
        return MessageEntry(message=message, shape=SHAPE, extra=_more(node.fields) or None, **facts, **envelope)

    def _custom_message(self, node: Node, envelope: dict[str, Any]) -> Entry:
        names = ("customType", "content", "display", "details")
        shown = {"role": "custom"} | {name: node.fields[name] for name in names if name in node.fields}
        shown["timestamp"] = milliseconds(node.fields.get("timestamp"))
        return MessageEntry(message=shown, shape=SHAPE, extra=_more(node.fields) or None, **envelope)

    def _compaction(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        fields = node.fields
        if not isinstance(summary := fields.get("summary", ""), str):
            return None
        kept = node.reference
        if kept is not None and not self._builder.made.is_above(kept, node.parent_id):
            if kept != node.id:  # its own id says on purpose that nothing is kept
                self._findings.add("source_bad_target", node.span, node.id)
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
            **_cost_of(fields),
            **envelope,
        )

    def _branch_summary(self, node: Node, envelope: dict[str, Any]) -> Entry | None:
        if not isinstance(summary := node.fields.get("summary", ""), str):
            return None
        details, cost = _details(node.fields), _cost_of(node.fields)
        return BranchSummaryEntry(from_id=node.reference, summary=summary, details=details, **cost, **envelope)

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

    def _usage(self, node: Node, envelope: dict[str, Any]) -> Entry:
        """Makes the entry of what was paid beside the messages. It keeps all fields, as lines of other types do."""
        return replace(_extension_data(node.fields, envelope), **_cost_of(node.fields))


def _details(fields: Mapping[str, Any]) -> Any:
    """Returns the details of a summary, with pi's other fields under its name."""
    details = fields.get("details")
    more = _more(fields)
    if not more or not isinstance(details, dict | None):
        return details
    return (details or {}) | {NAME: more}


def _cost_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a summary cost, and whose model wrote it, as far as the values fit an entry here."""
    usage = fields.get("usage")
    names = {name: value for name in ("provider", "model") if (value := text(fields.get(name)))}
    return names | ({"usage": usage} if isinstance(usage, dict) else {})


def _more(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that an entry here has no place for."""
    left = fields.keys() - _BASE - _FIELDS[fields["type"]]
    if "usage" in _FIELDS[fields["type"]]:
        left |= fields.keys() & set(_COST) - _cost_of(fields).keys()
    return {name: value for name, value in fields.items() if name in left and value not in (None, False)}


def _extension_data(fields: Mapping[str, Any], envelope: dict[str, Any]) -> ExtensionDataEntry:
    data = {name: value for name, value in fields.items() if name not in _BASE}
    return extension_data(NAME, fields.get("type"), data, envelope)
