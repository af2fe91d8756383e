"""What can go wrong, one class per decision of the caller.

Every class derives from `ConvtreeError`. A message says where it happened and what to call next; it never carries
content of a conversation. Operating-system errors are not wrapped: an `OSError` reaches the caller as it is.
"""

from __future__ import annotations

from typing import Any


class ConvtreeError(Exception):
    """The base of all errors that convtree raises itself; keyword arguments become attributes."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


class EntryNotFound(ConvtreeError, LookupError):
    """No entry has this id; `id` is what was asked for."""

    id: str


class SessionNotFound(ConvtreeError, LookupError):
    """There is no session at this place."""


class SeveralSessions(ConvtreeError):
    """The source holds more than one session, `ids`; say which is meant, or import them into a store."""

    ids: tuple[str, ...]


class SessionExists(ConvtreeError):
    """A new session was asked for where one already is."""


class NotALog(ConvtreeError):
    """The file is not a convtree log; it was not touched."""

    @classmethod
    def at(cls, location: object) -> NotALog:
        """Returns the error for something that is not a log, with what to do about another tool's session."""
        return cls(f"{location}: not a convtree log; another tool's session comes in by `convtree import`")


class InvalidMessage(ConvtreeError, ValueError):
    """A value cannot be stored; `place` says which, as in `message.content[0].score`. Nothing was written."""

    place: str


class InvalidCompaction(ConvtreeError, ValueError):
    """`first_kept_entry_id` is not on the path that reaches the context. Nothing was written."""


class IdConflict(ConvtreeError):
    """The id is taken by a record with other content; `id` names it. Nothing was written."""

    id: str


class StaleLeaf(ConvtreeError):
    """Someone else moved the leaf: it was `expected`, it is `actual`. Nothing was written.

    Call `refresh()` to see what is new, or pass `parent_id` or `on_stale`.
    """

    expected: str | None
    actual: str | None


class SessionLocked(ConvtreeError):
    """The lock was not free in time; `holder` describes who has it, where the system tells."""

    holder: str | None


class BrokenPath(ConvtreeError):
    """A line that the result is made of is missing or damaged; `missing` is its id, `offset` the place in the log."""

    missing: str | None
    offset: int


class LeafUncertain(ConvtreeError):
    """Damage lies behind the line that set the leaf: it may have been moved. Settle it with `branch(id)`."""


class UnknownEntry(ConvtreeError):
    """A record marked critical has a type this version does not know; a newer convtree is needed."""


class CorruptLog(ConvtreeError):
    """The log was opened with `strict=True` and has `findings`."""

    findings: tuple[Any, ...]


class OpenCalls(ConvtreeError):
    """Tool calls have no result yet; `calls` names them."""

    calls: tuple[Any, ...]


class ReadOnlySession(ConvtreeError):
    """This session cannot be written to: opened with `mode="r"`, made by a newer version, or its header is damaged."""


class SessionFailed(ConvtreeError):
    """What is on disk is uncertain: an earlier write failed, or the log is replaced faster than it can be read.

    Open the session again to go on.
    """


class SessionClosed(ConvtreeError):
    """The session was closed, or inherited across `fork()`; open it again."""
