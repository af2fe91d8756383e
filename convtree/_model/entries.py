"""The records of a log: the header, entries (nodes of the tree) and marks (records outside the tree).

All are frozen and keyword-only. `append` fills in `id`, `parent_id` and `timestamp`. Only importers set them.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from convtree._messages.said import read, role_of, text_of

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
LABEL_LIMIT = 256
_GIST = 40  # characters of a message in its repr
_GIST_READ = 400  # characters that are looked at for them
VERSION = 1

Visibility = Literal["all", "model", "user", "nobody"]
SeenBy = Literal["model", "user"]
HIDDEN_FROM_MODEL = ("user", "nobody")
Status = Literal["interrupted"]
CHOICES = {"visible_to": get_args(Visibility), "status": get_args(Status)}
Severity = Literal["error", "warning", "info"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem in a log and its place. `line` counts from 1; `offset` and `length` are in bytes.

    A problem that many records may have is reported once, at its first place, and `times` is how often it occurs.
    `about` is then the name of what it concerns, such as a dropped field. `line` is 0 where there is no one place.
    """

    code: str
    severity: Severity
    line: int
    offset: int
    length: int
    entry_id: str | None = None
    about: str | None = None
    times: int = 1


def _shorten(text: str) -> str:
    """Returns the beginning of a text on one line."""
    line = " ".join(text[:_GIST_READ].split())
    return line if len(line) <= _GIST else f"{line[: _GIST - 1]}…"


def _first_words(text: Any) -> str:
    """Returns the first words of a text in quotes, with unprintable characters escaped."""
    return repr(_shorten(str(text)))


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of entries and marks. They share one namespace of ids. `timestamp` is RFC 3339 UTC and orders nothing."""

    type: ClassVar[str] = ""
    id: str = ""
    timestamp: str | None = None

    def __repr__(self) -> str:
        parent = f", parent_id={self.parent_id!r}" if isinstance(self, Entry) else ""
        return f"{type(self).__name__}(id={self.id!r}{parent}, {self._gist() or '…'})"

    def _gist(self) -> str:
        """Returns the first words of what the record says, for its repr: it appears in log files and tracebacks."""
        return ""


class Entry(Record, frozen=True, kw_only=True):
    """A node of the tree. An entry with `parent_id` None is a root."""

    parent_id: str | None = None
    source_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as a JSON object: its type and all its fields, with null for what is not set.

        The object is the caller's: what is changed in it does not change the entry.
        """
        fields: dict[str, Any] = msgspec.to_builtins(self)
        if isinstance(self, OpaqueEntry):
            own = {name: value for name, value in fields.items() if name not in ("unknown_type", "fields")}
            fields = fields["fields"] | own
        return {"id": self.id, "parent_id": self.parent_id, "type": self.type} | fields


class MessageEntry(Entry, frozen=True, kw_only=True):
    """A message, stored exactly as the provider defines it.

    `shape` names the provider's message format. `provider`, `model` and `usage` say which model produced the message
    and what it cost. `visible_to="user"` hides it from the model, "model" from the user, "nobody" from both. A `pinned`
    message stays in the context after a compaction; `append` pins system messages. A `VisibilityMark` changes either
    later. `replaces` is an entry on the path to this one that contexts leave out from here on: a system prompt, a
    message that was edited. `reply_to` is the entry that a reply answers: its request ended there.
    `status="interrupted"` marks a reply that was stopped: user and model see it, and its calls without a result count
    as interrupted. `extra` is data that a framework must get back with the message; it is never sent to a model.
    """

    type: ClassVar[str] = "message"
    message: dict[str, Any]
    shape: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: dict[str, Any] | None = None
    visible_to: Visibility = "all"
    pinned: bool | None = None
    replaces: str | None = None
    reply_to: str | None = None
    status: Status | None = None
    extra: dict[str, Any] | None = None

    @property
    def role(self) -> str | None:
        """Who speaks: system, developer, user, assistant or tool; another word as it is stored; None if it has none."""
        return role_of(self.message, self.shape)

    @property
    def text(self) -> str:
        """The text of the message for people, without reasoning and tool traffic; empty if no reader knows it."""
        return text_of(self.message, self.shape)

    def _gist(self) -> str:
        said = read(self.message, self.shape)
        names = [f"calls {call.name}" for call in said.calls] + [f"answers {each.name}" for each in said.results]
        words = _first_words(said.text) if said.text.strip() else _first_words(", ".join(names)) if names else "…"
        return f"{_shorten(said.role or 'message')}: {words}"


class CompactionEntry(Entry, frozen=True, kw_only=True):
    """A summary that replaces the entries before `first_kept_entry_id` in the context. None keeps no earlier entry.

    `usage`, `provider` and `model` say what the summary cost. They do not change the conversation's model.
    """

    type: ClassVar[str] = "compaction"
    summary: str
    first_kept_entry_id: str | None
    tokens_before: int | None = None
    tokens_after: int | None = None
    messages_removed: int | None = None
    read_files: list[str] | None = None
    modified_files: list[str] | None = None
    details: Any = None
    usage: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None

    def _gist(self) -> str:
        return f"summary: {_first_words(self.summary)}"


class BranchSummaryEntry(Entry, frozen=True, kw_only=True):
    """A summary of an abandoned branch. `from_id` is the leaf of that branch.

    `usage`, `provider` and `model` say what the summary cost. They do not change the conversation's model.
    """

    type: ClassVar[str] = "branch_summary"
    from_id: str | None
    summary: str
    details: Any = None
    usage: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None

    def _gist(self) -> str:
        return f"summary: {_first_words(self.summary)}"


class ModelChangeEntry(Entry, frozen=True, kw_only=True):
    """A change of the model, in effect from here on. `settings` holds other choices, such as a thinking level."""

    type: ClassVar[str] = "model_change"
    provider: str | None
    model: str
    settings: dict[str, Any] | None = None

    def _gist(self) -> str:
        return f"model: {_first_words(self.model)}"


class ExtensionDataEntry(Entry, frozen=True, kw_only=True):
    """Data of the application, tied to a branch. It is never part of a context.

    `usage`, `provider` and `model` say what it cost, as the record of a tool that counts beside its messages does. They
    do not change the conversation's model.
    """

    type: ClassVar[str] = "extension_data"
    ext_type: str
    data: Any
    usage: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None

    def _gist(self) -> str:
        return f"ext_type: {_first_words(self.ext_type)}"


class LostEntry(Entry, frozen=True, kw_only=True):
    """The place of a damaged line whose id and parent could be read. `repair` with `rejoin` writes it.

    No context or path leads through it, unless gaps are allowed. `line_crc` is the CRC-32 of the line that stood here,
    without its seal, in hexadecimal; None if the seal was damaged, too. The entry itself can be put back: `extend`
    takes an entry with this id, parent and checksum.
    """

    type: ClassVar[str] = "lost"
    line_crc: str | None = None


class VacuumEntry(Entry, frozen=True, kw_only=True):
    """The first entry of a vacuumed log: what the part that was dropped still contributes.

    `provider`, `model` and `settings` are those at the end of that part, `state` has its last extension data by
    `ext_type`, and `usage` has its token usage: a list of objects with `provider`, `model`, `answers` and the fields of
    `Usage`. `dropped` is how many entries are gone, and `dropped_ids` their ids as hashes (see FORMAT.md), so that an
    import or a retry does not bring them back.
    """

    type: ClassVar[str] = "vacuum"
    provider: str | None = None
    model: str | None = None
    settings: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    usage: list[dict[str, Any]] | None = None
    dropped: int = 0
    dropped_ids: str | None = None


class OpaqueEntry(Entry, frozen=True, kw_only=True):
    """An entry of an unknown type. It is kept and part of paths, but never part of a context."""

    unknown_type: str
    fields: dict[str, Any]

    @property
    def type(self) -> str:  # type: ignore[override]  # a class constant everywhere else
        """The type in the log."""
        return self.unknown_type

    def _gist(self) -> str:
        return f"type: {_first_words(self.unknown_type)}"


class Mark(Record, frozen=True, kw_only=True):
    """A record that is not a node of the tree."""


class LeafMark(Mark, frozen=True, kw_only=True):
    """A move of the leaf to `target_id`. None is the place before the first entry."""

    type: ClassVar[str] = "leaf"
    target_id: str | None


class LabelMark(Mark, frozen=True, kw_only=True):
    """A label on an entry. `label` None removes it."""

    type: ClassVar[str] = "label"
    target_id: str
    label: str | None


class VisibilityMark(Mark, frozen=True, kw_only=True):
    """A change of who sees a message or a branch summary, or of whether it is pinned. A field left out is unchanged.

    The last mark for a target counts, on every path through the target.
    """

    type: ClassVar[str] = "visibility"
    target_id: str
    visible_to: Visibility | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET


class SessionInfoMark(Mark, frozen=True, kw_only=True):
    """A change of name, archive flag, metadata, directories or hold. A session on `hold` is not deleted.

    A field left out is unchanged and None removes it. Metadata is merged by top-level key.
    """

    type: ClassVar[str] = "session_info"
    name: str | UnsetType | None = UNSET
    archived: bool | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    cwd: str | UnsetType | None = UNSET
    git_root: str | UnsetType | None = UNSET
    hold: bool | UnsetType | None = UNSET


class OpaqueMark(Mark, frozen=True, kw_only=True):
    """A mark of an unknown type. It is kept and has no effect."""

    unknown_type: str
    fields: dict[str, Any]

    @property
    def type(self) -> str:  # type: ignore[override]  # a class constant everywhere else
        """The type in the log."""
        return self.unknown_type


class ParentSession(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a session. A `fork` starts with copies of its parent's entries; a `task` belongs to a sub-agent."""

    id: str
    entry_id: str | None = None
    kind: Literal["fork", "task"] = "fork"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a log: it describes the session. `id` is empty only if a damaged header could not be read.

    Every entry line up to and including `copied_to` was copied from `parent_session`. `arrived` is when an imported
    session came into this store. `key` is what the id was made from.
    """

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
    copied_to: str | None = None
    arrived: str | None = None
    key: Any = None
    needs: Any = None  # names of what a reader must know, see FORMAT.md; never written by this version


ENTRY_CLASSES: dict[str, type[Entry]] = {
    cls.type: cls
    for cls in (
        MessageEntry,
        CompactionEntry,
        BranchSummaryEntry,
        ModelChangeEntry,
        ExtensionDataEntry,
        LostEntry,
        VacuumEntry,
    )
}
MARK_CLASSES: dict[str, type[Mark]] = {cls.type: cls for cls in (LeafMark, LabelMark, VisibilityMark, SessionInfoMark)}
PAID = (MessageEntry, CompactionEntry, BranchSummaryEntry, ExtensionDataEntry)
"""The entries that may carry a `usage`, with the model that it was paid for."""
PAID_ASIDE = (CompactionEntry, BranchSummaryEntry, ExtensionDataEntry)
"""Those of them whose model is not the conversation's."""
GROUP = "group"  # the type of the mark before the lines of one write; it has no class, because no reader gets to see it
