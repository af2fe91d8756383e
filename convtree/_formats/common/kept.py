"""What a line of an exported file keeps of an entry that its format has no words for, so that an import has it again.

The member `convtree` of a line holds a whole entry, or the fields of its entry that the line does not say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convtree._formats.common.export import as_data
from convtree._model.entries import (
    BranchSummaryEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)

OURS = "convtree"
FIRST_KEPT = "first_kept"  # the line of the first entry that a compaction keeps

_PLACED = ("id", "parent_id", "timestamp", "source_id")  # what a line says of itself
_WHOLE: dict[str, type[Entry]] = {
    kind.type: kind for kind in (MessageEntry, ModelChangeEntry, BranchSummaryEntry, ExtensionDataEntry)
}


def kept_whole(entry: Entry) -> dict[str, Any]:
    """Returns all that an entry says, and its type."""
    return {"type": entry.type} | as_data(entry)


def kept_of(entry: Entry, *names: str) -> dict[str, Any]:
    """Returns the named fields of an entry that are set."""
    return {name: value for name in names if (value := getattr(entry, name)) is not None}


def is_whole(kept: Any) -> bool:
    """Returns whether a line keeps a whole entry, and not only fields of its own."""
    return isinstance(kept, dict) and "type" in kept


def restored(kept: Any, envelope: dict[str, Any]) -> Entry:
    """Returns an entry that was kept whole, at the place of its line; as extension data if it is of no such type."""
    kind = kept.get("type") if isinstance(kept, dict) else None
    entry_type = _WHOLE.get(kind) if isinstance(kind, str) else None
    if entry_type is not None:
        fields = {each.name: None for each in msgspec.structs.fields(entry_type) if each.required}
        fields |= {name: value for name, value in kept.items() if name not in ("type", *_PLACED)}
        try:
            return msgspec.convert(fields | envelope, entry_type)
        except msgspec.ValidationError:
            pass
    return ExtensionDataEntry(ext_type=f"{OURS}.{kind if isinstance(kind, str) else 'unknown'}", data=kept, **envelope)


def completed(entry: Entry, kept: Any) -> Entry:
    """Returns an entry with the fields that its line kept; as it is if they are none of an entry."""
    if not isinstance(kept, dict):
        return entry
    fields = {name: value for name, value in kept.items() if name not in _PLACED}
    try:
        return msgspec.convert(msgspec.to_builtins(entry) | fields, type(entry))
    except msgspec.ValidationError:
        return entry
