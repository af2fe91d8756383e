"""What a log is made of: the header, the entries (nodes of the tree) and the marks (everything else).

All are frozen and keyword-only. `append` stamps `id`, `parent_id` and `timestamp`; nobody else sets them, except those
who bring records from elsewhere.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, UnsetType

from convtree._model.messages import role_of, text_of

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
LABEL_LIMIT = 256
VERSION = 1

Visibility = Literal["all", "model", "user"]
Severity = Literal["error", "warning", "info"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a log, and where: `line` counts from 1, `offset` and `length` are in bytes."""

    code: str
    severity: Severity
    line: int
    offset: int
    length: int
    entry_id: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What entries and marks share: an id in one namespace, and a time that is only a label (RFC 3339 UTC)."""

    type: ClassVar[str] = ""
    id: str = ""
    timestamp: str | None = None

    def __repr__(self) -> str:  # what is said in a conversation does not belong in logs and tracebacks
        parent = f", parent_id={self.parent_id!r}" if isinstance(self, Entry) else ""
        return f"{type(self).__name__}(id={self.id!r}{parent}, …)"


class Entry(Record, frozen=True, kw_only=True):
    """A node of the tree; `parent_id` None means that it begins the conversation."""

    parent_id: str | None = None
    source_id: str | None = None


class MessageEntry(Entry, frozen=True, kw_only=True):
    """A message as the provider defines it, verbatim.

    `shape` names the provider's message format; `provider`, `model` and `usage` say who produced it at what cost;
    `visible_to="user"` keeps it from the model; `pinned` lets it survive a compaction.
    """

    type: ClassVar[str] = "message"
    message: dict[str, Any]
    shape: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    visible_to: Visibility = "all"
    pinned: bool | None = None

    @property
    def role(self) -> str | None:
        """The message's role, as far as it can be told."""
        return role_of(self.message)

    @property
    def text(self) -> str:
        """The text a person would read; best effort for the providers' shapes."""
        return text_of(self.message)


class CompactionEntry(Entry, frozen=True, kw_only=True):
    """A summary that stands for what lies before `first_kept_entry_id` on the path; None keeps nothing."""

    type: ClassVar[str] = "compaction"
    summary: str
    first_kept_entry_id: str | None
    tokens_before: int | None = None
    tokens_after: int | None = None
    messages_removed: int | None = None
    read_files: list[str] | None = None
    modified_files: list[str] | None = None
    details: Any = None


class BranchSummaryEntry(Entry, frozen=True, kw_only=True):
    """What happened on a branch that was left; `from_id` is the leaf that was left."""

    type: ClassVar[str] = "branch_summary"
    from_id: str | None
    summary: str
    details: Any = None


class ModelChangeEntry(Entry, frozen=True, kw_only=True):
    """From here on, this model; `settings` holds what else the caller wants back (a thinking level, say)."""

    type: ClassVar[str] = "model_change"
    provider: str | None
    model: str
    settings: dict[str, Any] | None = None


class ExtensionDataEntry(Entry, frozen=True, kw_only=True):
    """State of the application, on the branch it belongs to; never seen by a model."""

    type: ClassVar[str] = "extension_data"
    ext_type: str
    data: Any


class OpaqueEntry(Entry, frozen=True, kw_only=True):
    """A node of a type this version does not know: kept, walked through, never shown to a model."""

    unknown_type: str
    fields: dict[str, Any]

    @property
    def type(self) -> str:  # type: ignore[override]  # a class constant everywhere else
        """The type as it stands in the log."""
        return self.unknown_type


class Mark(Record, frozen=True, kw_only=True):
    """A record that is not a node of the tree."""


class LeafMark(Mark, frozen=True, kw_only=True):
    """The leaf was moved to `target_id`; None is the place before the first entry."""

    type: ClassVar[str] = "leaf"
    target_id: str | None


class LabelMark(Mark, frozen=True, kw_only=True):
    """A bookmark on an entry; None clears it."""

    type: ClassVar[str] = "label"
    target_id: str
    label: str | None


class SessionInfoMark(Mark, frozen=True, kw_only=True):
    """A change of name, archive flag or metadata: absent is unchanged, None removes, top-level keys merge."""

    type: ClassVar[str] = "session_info"
    name: str | UnsetType | None = UNSET
    archived: bool | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET


class OpaqueMark(Mark, frozen=True, kw_only=True):
    """A mark of a type this version does not know: kept and passed over."""

    unknown_type: str
    fields: dict[str, Any]

    @property
    def type(self) -> str:  # type: ignore[override]  # a class constant everywhere else
        """The type as it stands in the log."""
        return self.unknown_type


class ParentSession(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session comes from: a `fork` begins with copies of another's entries, a `task` is a sub-agent's."""

    id: str
    entry_id: str | None = None
    kind: Literal["fork", "task"] = "fork"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a log: which session this is. `id` is empty only when a damaged header could not be read."""

    id: str
    timestamp: str | None = None
    version: int = VERSION
    seal: str | None = None
    cwd: str | None = None
    git_root: str | None = None
    owner: str | None = None
    name: str | None = None
    parent_session: ParentSession | None = None
    metadata: dict[str, Any] | None = None


ENTRY_CLASSES: dict[str, type[Entry]] = {
    cls.type: cls for cls in (MessageEntry, CompactionEntry, BranchSummaryEntry, ModelChangeEntry, ExtensionDataEntry)
}
MARK_CLASSES: dict[str, type[Mark]] = {cls.type: cls for cls in (LeafMark, LabelMark, SessionInfoMark)}
