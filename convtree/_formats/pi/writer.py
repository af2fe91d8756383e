"""Writes sessions as files of pi, which shows its model the same context. See `write`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.export import (
    FOREIGN,
    ExportWriter,
    Models,
    as_data,
    full_summary,
    is_hidden,
    line,
    own_id,
    stamp,
)
from convtree._formats.common.ids import derive_id
from convtree._formats.common.shown import ShownEntries
from convtree._formats.common.speech import Call, Image, Part, Result, Speech, Text, Thought, speeches_of
from convtree._formats.common.values import milliseconds, text
from convtree._formats.pi.system_prompt import merge_system_messages
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)
from convtree._model.usage import is_known_usage, usage_of

NAME = "pi"
SHAPE = "pi.message"

_LINE = frozenset({"type", "id", "parentId", "timestamp"})  # what every line says of itself
_SHOWN = frozenset({"message", "custom_message", "compaction", "branch_summary"})  # what pi shows its model
_PI_USAGE = {"input", "output", "cacheRead", "cacheWrite", "totalTokens"}  # keys of pi's spelling
_HEADER_ID = re.compile("[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # what pi takes for one


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields a session as a file of pi's version 3. pi shows its model the same context.

    * Messages of other formats are converted, with one entry for each tool result.
    * Entries without a counterpart become `custom` entries, system messages `custom_message` entries.
    * Pinned messages become part of the summary; pi's own system messages are merged next to it.
    * If the leaf is not the last entry, an entry below the leaf that pi does not show makes it the last. Labels and a
      name that no entry holds follow there, too.
    """
    return _Writer(session, findings).lines()


class _Writer(ExportWriter):
    """Writes one session, in the order of its log."""

    NAME = NAME

    def __init__(self, session: Exported, findings: Findings) -> None:
        super().__init__(session, findings)
        self._models = Models()
        self._entries = ShownEntries(session)

    def _ordered(self) -> Iterator[Entry]:
        for entry in self._entries:
            yield entry
            self._models.take(entry)  # behind its lines, which ask for the model above it

    def _beginning(self) -> Iterator[bytes]:
        header, facts = self._session.header, origin(self._session.header)
        own = own_id(header, NAME)
        id = own or self._session.id
        fields = {
            "type": "session",
            "version": 3,
            "id": id if _HEADER_ID.fullmatch(id) else derive_id(NAME, id),
            "timestamp": stamp(header.timestamp),
            "cwd": header.cwd or "",
        }
        parent = facts.get("parent_session") if own else None
        yield line(fields | ({"parentSession": parent} if isinstance(parent, str) else {}))

    def _line(self, fields: dict[str, Any], id: str, parent_id: str | None, time: str | None) -> bytes:
        self._last = id
        kind = {"type": fields.get("type", "unknown")}
        return line(kind | {"id": id, "parentId": parent_id, "timestamp": stamp(time)} | fields)

    def _ending(self) -> Iterator[bytes]:
        session = self._session
        lines: list[dict[str, Any]] = [
            {"type": "label", "targetId": id} | ({} if label is None else {"label": label})
            for id, label in self._notes.labels_left(session, self._first_lines)
        ]
        if (name := self._notes.name_left(session)) is not None:
            lines.append({"type": "session_info", "name": name})
        if not lines and self._last != session.leaf_id:
            lines.append({"type": "custom", "customType": f"{FOREIGN}leaf"})
        return self._chain_at_leaf(lines)

    def _unknown(self, entry: Entry) -> dict[str, Any]:
        return {"type": "custom", "customType": FOREIGN + entry.type, "data": as_data(entry)}

    def _message(self, entry: MessageEntry) -> list[dict[str, Any]]:
        """Returns the lines of a message. pi reads the model from assistant messages; otherwise a line sets it."""
        bodies = self._said(entry)
        said = (body["message"] for body in bodies if body["type"] == "message")
        if entry.model is None or any(message.get("role") == "assistant" for message in said):
            return bodies
        return [*bodies, {"type": "model_change", "provider": entry.provider or "unknown", "modelId": entry.model}]

    def _said(self, entry: MessageEntry) -> list[dict[str, Any]]:
        message, time = entry.message, milliseconds(entry.timestamp)
        if entry.shape == SHAPE and message.get("role") == "custom" and message.get("timestamp") == time:
            names = ("customType", "content", "display", "details")
            if not message.keys() - {"role", "timestamp", *names}:
                shown = {name: message[name] for name in names if name in message}
                return [{"type": "custom_message"} | self._extra(entry) | shown]
        if entry.shape == SHAPE and (not is_hidden(entry) or message.get("excludeFromContext")):
            return [{"type": "message"} | self._extra(entry) | {"message": message}]
        if is_hidden(entry):
            return [self._unknown(entry)]
        speeches = speeches_of(message, entry.shape)
        self._tools |= {part.id: part.name for speech in speeches for part in speech.parts if isinstance(part, Call)}
        last = max((number for number, speech in enumerate(speeches) if speech.role == "assistant"), default=None)
        return [
            body
            for number, speech in enumerate(speeches)  # usage is counted once: with the last words of the model
            for body in self._spoken(entry, speech, (entry.usage if number == last else None) or {}, time or 0)
        ]

    def _extra(self, entry: MessageEntry) -> dict[str, Any]:
        """Returns the fields that the line of a message had beside it."""
        extra = (entry.extra or {}) if self._is_own else {}
        return {name: value for name, value in extra.items() if name not in _LINE}

    def _spoken(self, entry: MessageEntry, speech: Speech, usage: dict[str, Any], time: int) -> list[dict[str, Any]]:
        """Converts what one speaker says in a message of another format."""
        results = [part for part in speech.parts if isinstance(part, Result)]
        if results:
            return [{"type": "message", "message": self._result(part, time)} for part in results]
        if speech.role == "system":
            said = "\n".join(part.text for part in speech.parts if isinstance(part, Text))
            shown = {"customType": f"{FOREIGN}system", "content": said, "display": False}
            return [{"type": "custom_message"} | shown]
        content = [_block(part) for part in speech.parts]
        if speech.role == "assistant":
            return [{"type": "message", "message": self._answer(entry, content, usage, time)}]
        return [{"type": "message", "message": {"role": "user", "content": content, "timestamp": time}}]

    def _answer(
        self, entry: MessageEntry, content: list[dict[str, Any]], usage: dict[str, Any], time: int
    ) -> dict[str, Any]:
        provider, model, _ = self._models.above(entry).after(entry)
        calls = any(block["type"] == "toolCall" for block in content)
        return {
            "role": "assistant",
            "content": content,
            "api": "convtree",
            "provider": provider or "unknown",
            "model": model or "unknown",
            "usage": _usage(usage),
            "stopReason": "toolUse" if calls else "stop",
            "timestamp": time,
        }

    def _result(self, part: Result, time: int) -> dict[str, Any]:
        return {
            "role": "toolResult",
            "toolCallId": part.id,
            "toolName": part.name or self._tools.get(part.id, ""),
            "content": [{"type": "text", "text": part.text}, *(_block(image) for image in part.images)],
            "isError": part.is_error,
            "timestamp": time,
        }

    def _compaction(self, entry: CompactionEntry) -> dict[str, Any]:
        kept, shown = entry.first_kept_entry_id, self._entries.context_at(entry)
        details, more = self._details(entry)
        if details is None and (entry.read_files is not None or entry.modified_files is not None):
            details = {"readFiles": entry.read_files or [], "modifiedFiles": entry.modified_files or []}
        systems = [each.message for each in shown if _is_system(each)]
        if systems and "systemMessage" not in more:
            more["systemMessage"] = merge_system_messages(systems) | {"timestamp": milliseconds(entry.timestamp) or 0}
        return {
            "type": entry.type,
            "summary": full_summary(entry, [each for each in shown if not _is_system(each)]),
            # its own id keeps nothing
            "firstKeptEntryId": entry.id if kept is None else self._first_lines.get(kept, kept),
            "tokensBefore": entry.tokens_before or 0,
            **({} if details is None else {"details": details}),
            **self._cost(entry),
            **more,
        }

    def _branch_summary(self, entry: BranchSummaryEntry) -> dict[str, Any]:
        details, more = self._details(entry)
        facts = {"type": entry.type, "fromId": entry.from_id or "root", "summary": entry.summary}
        return facts | ({} if details is None else {"details": details}) | self._cost(entry) | more

    def _cost(self, entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
        """Returns the cost of a summary in pi's spelling. pi reads `usage`; the other fields are for an import.

        A usage that is not understood is left out, unless it may have come from pi.
        """
        usage = entry.usage
        facts: dict[str, Any] = {"usage": None, "provider": entry.provider, "model": entry.model}
        if usage and is_known_usage(usage) and not (self._is_own and _PI_USAGE & usage.keys()):
            facts["usage"] = _usage(usage)
        elif self._is_own:
            facts["usage"] = usage
        return {name: value for name, value in facts.items() if value is not None}

    def _details(self, entry: CompactionEntry | BranchSummaryEntry) -> tuple[Any, dict[str, Any]]:
        """Returns the details of a summary, and separately the fields of pi that the import has put there."""
        details = entry.details
        if not self._is_own or not isinstance(details, dict) or not isinstance(details.get(NAME), dict):
            return details, {}
        more = {name: value for name, value in details[NAME].items() if name not in _LINE}
        return {name: value for name, value in details.items() if name != NAME} or None, more

    def _model_change(self, entry: ModelChangeEntry) -> list[dict[str, Any]]:
        """Returns lines that change the model, its thinking level, or both."""
        above = self._models.above(entry)
        level = (entry.settings or {}).get("thinkingLevel")
        change = {"type": entry.type, "provider": entry.provider or "unknown", "modelId": entry.model}
        levels = {"type": "thinking_level_change", "thinkingLevel": level}
        if level is None and (entry.settings is None or above.level in (None, "off")):
            return [change]
        if level is None:
            levels["thinkingLevel"] = "off"
        if (above.provider, above.model) == (entry.provider, entry.model):
            return [levels]
        return [change] if level == above.level else [levels, change]

    def _extension_data(self, entry: ExtensionDataEntry) -> dict[str, Any]:
        """Returns a line that was imported from pi as it was; any other data becomes a `custom` entry."""
        kind, data = entry.ext_type.removeprefix(f"{NAME}."), entry.data
        is_ours = kind in (entry.ext_type, "header") or (kind in _SHOWN and not self._is_own)
        if is_ours or not isinstance(data, dict):
            return {"type": "custom", "customType": entry.ext_type, "data": data}
        named = data.get("type") if kind == "unknown" else None
        data = {name: value for name, value in data.items() if name not in _LINE}
        if kind == "label" and isinstance(target := data.get("targetId"), str):
            self._notes.label(target, text(data.get("label")))
        elif kind == "session_info":
            self._notes.name = (text(data.get("name")) or "").strip()
        return {"type": named or kind} | data


def _is_system(entry: Entry) -> TypeGuard[MessageEntry]:
    """Returns whether an entry is one of pi's own system messages."""
    return isinstance(entry, MessageEntry) and entry.shape == SHAPE and entry.message.get("role") == "system"


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Returns usage in pi's spelling."""
    read = usage_of(usage)
    tokens = {
        "input": read.input_tokens,
        "output": read.output_tokens,
        "cacheRead": read.cache_read_tokens,
        "cacheWrite": read.cache_write_tokens,
        "totalTokens": read.total_tokens,
    }
    return tokens | {"cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": read.cost}}


def _block(part: Part) -> dict[str, Any]:
    match part:
        case Thought(said, signature):
            return {"type": "thinking", "thinking": said} | ({"thinkingSignature": signature} if signature else {})
        case Image(data, kind):
            return {"type": "image", "data": data, "mimeType": kind}
        case Call(id, name, arguments):
            return {"type": "toolCall", "id": id, "name": name, "arguments": arguments}
    return {"type": "text", "text": part.text}
