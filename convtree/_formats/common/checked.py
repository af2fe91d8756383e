"""The last look at a record before an import takes it: what is not understood in it, and whether it fits into a log."""

from __future__ import annotations

from typing import Any

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.record_types import unknown_type
from convtree._formats.common.truncate import truncate_to_limit
from convtree._messages.parts import Unknown
from convtree._messages.said import read
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry
from convtree._model.usage import has_unknown_usage, usage_stored_in

#: the field of a block that says it, for the blocks that nearly all messages are made of
_SAID = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "thinking": "thinking",
    "tool_use": "input",
    "tool_result": "tool_use_id",
    "toolCall": "arguments",
}


def checked(entry: Entry, span: SourceSpan, findings: Findings) -> Entry:
    """Returns an entry as it can be stored.

    Reports a spelling of usage that is unknown, and what no reader of messages knows: each at its first entry only.
    """
    if has_unknown_usage(entry):
        spelling = " ".join(sorted(usage_stored_in(entry) or ()))
        findings.add_once(spelling, "source_usage_unknown", span, entry.id)
    if isinstance(entry, MessageEntry) and not _is_plain(entry.message):
        for why in {part.why for part in read(entry.message, entry.shape).parts if isinstance(part, Unknown)}:
            findings.add_once(why, "source_not_understood", span, entry.id)
    elif isinstance(entry, ExtensionDataEntry) and (kind := unknown_type(entry.ext_type)) is not None:
        about = "a record without a type" if kind == "unknown" else f"a record of the type {kind!r}"
        if not findings.is_last_at("source_bad_record", span):  # which says as much
            findings.add_once(about, "source_not_understood", span, entry.id)
    return truncate_to_limit(entry, span, findings)


def _is_plain(message: dict[str, Any]) -> bool:
    """Returns whether a message is known without a closer look."""
    content = message.get("content")
    if not isinstance(content, list):
        return isinstance(content, str) and content != ""
    return bool(content) and all(isinstance(block, dict) and _is_said(block) for block in content)


def _is_said(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    name = _SAID.get(kind) if isinstance(kind, str) else None
    return name is not None and block.get(name) is not None
