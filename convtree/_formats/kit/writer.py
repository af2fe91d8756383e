"""Writes sessions as files of kit, which shows its model the same context. See `write`."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.export import (
    FOREIGN,
    LONG_AGO,
    ExportWriter,
    Model,
    as_data,
    full_summary,
    is_hidden,
    line,
    own_id,
)
from convtree._formats.common.shown import ShownEntries
from convtree._formats.common.speech import Call, Image, Part, Result, Thought, speeches_of
from convtree._formats.common.values import as_object, text
from convtree._formats.kit.order import Order
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)

NAME = "kit"
SHAPE = "kit.message"

KEEPS_MORE = "keeps_side_branches"  # in the details of a compaction of kit's own

_LINE = frozenset({"type", "id", "parent_id", "timestamp"})  # what every line says of itself
_TEXTS = {  # what kit opens again, and which of its fields must be texts, or else the file is not opened at all
    "label": ("target_id", "label"),
    "session_info": ("name",),
    "system_prompt": ("content", "model", "provider"),
    "extension_data": ("ext_type", "data"),
    "incomplete_output": ("attempt_id", "text"),
}


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields a session as a file of kit's version 3. kit shows its model the same context.

    * Messages of other formats are converted. Entries without a counterpart become `extension_data`, because kit opens
      no file with an unknown type.
    * A compaction has no parent. kit keeps all entries between the first kept one and the compaction in the file, so
      side branches there are written elsewhere; if necessary, the kept path comes last.
    * If the leaf is not the last entry, or kit would not know the model, an entry below the leaf corrects that. Labels
      and a name that no entry holds follow there, too.
    * Pinned messages become part of the summary.
    """
    return _Writer(session, findings).lines()


class _Writer(ExportWriter):
    """Writes one session."""

    NAME = NAME

    def __init__(self, session: Exported, findings: Findings) -> None:
        super().__init__(session, findings)
        self._entries = ShownEntries(session)
        self._order = Order(self._entries, session.leaf_id)

    def _beginning(self) -> Iterator[bytes]:
        header, facts = self._session.header, origin(self._session.header)
        own = own_id(header, NAME)
        fields: dict[str, Any] = {
            "type": "session",
            "version": 3,
            "id": own or header.id,
            "timestamp": header.timestamp or LONG_AGO,
            "cwd": header.cwd or "",
        }
        if own:
            names = ("parent_session", "parent_session_id", "subagent_task")
            fields |= {name: facts[name] for name in names if isinstance(facts.get(name), str)}
        elif header.parent_session:
            fields["parent_session_id"] = header.parent_session.id
        yield line(fields)

    def _line(self, fields: dict[str, Any], id: str, parent_id: str | None, time: str | None) -> bytes:
        self._last = None if fields["type"] == "system_prompt" else id
        stands_alone = parent_id is None or fields["type"] in ("compaction", "system_prompt")
        above = {} if stands_alone else {"parent_id": parent_id}
        return line({"type": fields["type"], "id": id} | above | {"timestamp": time or LONG_AGO} | fields)

    # --- the order ---

    def _ordered(self) -> Iterator[Entry]:
        """Yields the entries in an order without side branches among those that the last compaction keeps."""
        compaction = self._order.compaction
        moved = {} if compaction is None or self._keeps_more(compaction) else self._order.moved()
        for turn in range(3 if moved else 1):
            for entry in self._entries:
                if entry.id in self._order and moved.get(entry.id, 0) == turn:
                    yield entry

    def _keeps_more(self, entry: CompactionEntry) -> bool:
        """Returns whether a compaction imported from kit showed side branches there; then it does again."""
        return self._is_own and self._facts(entry).get(KEEPS_MORE) is True

    def _facts(self, entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
        """Returns what the import has put into the details of a summary."""
        return as_object(as_object(entry.details).get(NAME))

    def _more(self, fields: dict[str, Any] | None) -> dict[str, Any]:
        """Returns the fields that the line of an imported entry had, and that have no place here."""
        known = (fields or {}) if self._is_own else {}
        return {name: value for name, value in known.items() if name not in (*_LINE, KEEPS_MORE)}

    # --- the end ---

    def _ending(self) -> Iterator[bytes]:
        session = self._session
        lines: list[dict[str, Any]] = []
        if (model := self._missing_model()) is not None:
            lines.append({"type": "model_change", "provider": model.provider or "", "model_id": model.model})
        lines += [
            {"type": "label", "target_id": id, "label": label or ""}
            for id, label in self._notes.labels_left(session, self._order)
        ]
        if (name := self._notes.name_left(session)) is not None:
            lines.append({"type": "session_info", "name": name})
        if not lines and self._first_lines and self._last != session.leaf_id:
            lines.append({"type": "extension_data", "ext_type": f"{FOREIGN}leaf", "data": "{}"})
        return self._chain_at_leaf(lines)

    def _missing_model(self) -> Model | None:
        """Returns the model of the leaf if kit would not know it; None for a session that was imported from kit."""
        (model, shape), change = self._order.named, self._order.change
        if model.model is None or (self._is_own and shape in (None, SHAPE)):
            return None
        known = (None, None) if change is None else (change.provider, change.model)
        return None if known == (model.provider, model.model) else model

    # --- the entries ---

    def _branch_summary(self, entry: BranchSummaryEntry) -> dict[str, Any]:
        more = self._more(self._facts(entry))
        return {"type": entry.type} | more | {"from_id": entry.from_id or "", "summary": entry.summary}

    def _model_change(self, entry: ModelChangeEntry) -> list[dict[str, Any]]:
        return [{"type": entry.type, "provider": entry.provider or "", "model_id": entry.model}]

    def _unknown(self, entry: Entry) -> dict[str, Any]:
        return _foreign(FOREIGN + entry.type, as_data(entry))

    def _message(self, entry: MessageEntry) -> list[dict[str, Any]]:
        named = {"model": entry.model, "provider": entry.provider}
        more = {name: value for name, value in named.items() if value}
        if is_hidden(entry):
            return [self._unknown(entry)]
        if entry.shape == SHAPE and isinstance(entry.message.get("role"), str):
            own = {name: entry.message.get(name) for name in ("role", "parts")}
            return [{"type": entry.type} | self._more(entry.extra) | own | more]
        bodies: list[dict[str, Any]] = []
        for role, said in speeches_of(entry.message, entry.shape):
            self._tools |= {part.id: part.name for part in said if isinstance(part, Call)}
            body = {"type": entry.type, "role": role, "parts": [self._part(part) for part in said]}
            is_result = any(isinstance(part, Result) for part in said)
            bodies.append(body | {"role": "tool"} if is_result else body | more)
        return bodies

    def _part(self, part: Part) -> dict[str, Any]:
        match part:
            case Thought(said, signature):
                kind, data = "reasoning", {"thinking": said} | ({"signature": signature} if signature else {})
            case Image(encoded, media_type) if is_base64(encoded):
                kind, data = "image", {"data": encoded, "media_type": media_type}
            case Image(_, media_type):  # kit would leave out the whole message
                kind, data = "text", {"text": f"[{media_type}: unreadable]"}
            case Call(id, name, arguments):
                facts: dict[str, Any] = {"id": id, "name": name, "input": _json(arguments), "finished": True}
                kind, data = "tool_call", facts
            case Result(id, name, said, is_error, images):
                named = name or self._tools.get(id, "")
                said = "\n".join([*filter(None, [said]), *("[image]" for _ in images)])
                facts = {"tool_call_id": id, "name": named, "content": said, "is_error": is_error}
                kind, data = "tool_result", facts
            case _:
                kind, data = "text", {"text": part.text}
        return {"type": kind, "data": data}

    def _compaction(self, entry: CompactionEntry) -> dict[str, Any]:
        kept = entry.first_kept_entry_id
        files = {"read_files": entry.read_files, "modified_files": entry.modified_files}
        return {
            "type": entry.type,
            **self._more(self._facts(entry)),
            "summary": full_summary(entry, self._entries.context_at(entry)),
            "first_kept_entry_id": "" if kept is None else self._first_lines.get(kept, kept),
            "tokens_before": entry.tokens_before or 0,
            "tokens_after": entry.tokens_after or 0,
            "messages_removed": entry.messages_removed or 0,
        } | {name: value for name, value in files.items() if value}

    def _extension_data(self, entry: ExtensionDataEntry) -> dict[str, Any]:
        kind, data = entry.ext_type.removeprefix(f"{NAME}."), entry.data
        if kind == entry.ext_type or not _fits(kind, data):
            return _foreign(entry.ext_type, data)
        if kind == "label" and isinstance(target := data.get("target_id"), str):
            self._notes.label(target, text(data.get("label")))
        elif kind == "session_info":
            self._notes.name = text(data.get("name")) or ""
        return {"type": kind} | {name: value for name, value in data.items() if name not in _LINE}


def _fits(kind: str, data: Any) -> bool:
    """Returns whether kit accepts these fields as a line of its own."""
    if kind not in _TEXTS or not isinstance(data, dict):
        return False
    are_texts = all(isinstance(data.get(name), str | None) for name in _TEXTS[kind])
    return are_texts and isinstance(data.get("incomplete", False), bool)


def _foreign(ext_type: str, data: Any) -> dict[str, Any]:
    """Returns an `extension_data` line; its data is always a text in kit."""
    return {"type": "extension_data", "ext_type": ext_type, "data": data if isinstance(data, str) else _json(data)}


def is_base64(text: str) -> bool:
    """Returns whether a text is base64 for Go's decoder."""
    try:
        b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError:
        return False
    return True


def _json(value: Any) -> str:
    return line(value).decode().rstrip("\n")
