"""Errors: one class for each decision that a caller can take.

Every class derives from `ConvtreeError`. A message says where the error happened and what to call next. It never
contains text of a conversation. Errors of the operating system are not wrapped: an `OSError` reaches the caller as it
is.
"""

from __future__ import annotations

from typing import Any


class ConvtreeError(Exception):
    """Base class of all errors that convtree raises. Keyword arguments become attributes."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


class EntryNotFound(ConvtreeError, LookupError):
    """The log has no entry with this `id`."""

    id: str


class AmbiguousId(ConvtreeError, LookupError):
    """The `text` that was passed for an entry or a session stands for several, `ids`. Nothing was written.

    Of very many, `ids` has the first ones. Pass one of them, or more characters.
    """

    text: str
    ids: tuple[str, ...]


class AmbiguousLabel(AmbiguousId):
    """A label that was passed for an entry is that of several entries, `ids`. Nothing was written."""

    label: str


class SessionNotFound(ConvtreeError, LookupError):
    """The file, or the store, has no such session."""


class SeveralSessions(ConvtreeError):
    """The source holds several sessions, `ids`. Choose one, or import all of them into a store."""

    ids: tuple[str, ...]


class SessionExists(ConvtreeError):
    """A new session was requested, but one exists under that path or id."""


class NotALog(ConvtreeError):
    """The file is not a convtree log. It was not changed."""

    @classmethod
    def at(cls, location: object) -> NotALog:
        """Returns the error for something that is not a log, with what to do about another tool's session."""
        return cls(f"{location}: not a convtree log; another tool's session comes in by `convtree import`")


class InvalidMessage(ConvtreeError, ValueError):
    """A value cannot be stored. `place` is its path, such as `message.content[0].score`. Nothing was written."""

    place: str


class InvalidCompaction(ConvtreeError, ValueError):
    """`first_kept_entry_id` is not on the part of the path that the context shows. Nothing was written."""


class SummaryTooLong(ConvtreeError, ValueError):
    """A summary has more `tokens` than the messages that it stands for, `limit`. Nothing was written.

    Ask for a shorter summary.
    """

    tokens: int
    limit: int


class IdConflict(ConvtreeError):
    """Another record, with other content, already has this `id`. Nothing was written."""

    id: str


class StaleLeaf(ConvtreeError):
    """Another writer said something, or moved the leaf, from `expected` to `actual`. Nothing was written.

    Call `refresh()` to read the new entries and try again, or pass `reply_to`, `parent_id` or `on_stale`. Where
    `expect_leaf` or `expect_revision` did not hold, the two are what was expected and what the log has.
    """

    expected: str | None
    actual: str | None


class SessionLocked(ConvtreeError):
    """The lock was not free within the timeout. `holder` describes the process that holds it, or is None if unknown."""

    holder: str | None


class SessionChanged(SessionLocked):
    """Another writer used the sessions `ids`, or began a sub-agent's of theirs, while they were being deleted.

    Nothing was deleted. Try again.
    """

    ids: tuple[str, ...]


class SessionHeld(ConvtreeError):
    """The session `id` is on hold, and was neither deleted nor vacuumed.

    `release` of the store, or `hold(False)`, ends the hold.
    """

    id: str


class BrokenPath(ConvtreeError):
    """A line needed for the result is missing or damaged: `missing` is its id, `offset` a position in the log."""

    missing: str | None
    offset: int


class LeafUncertain(ConvtreeError):
    """Damage after the last known move of the leaf may hide another one. Choose the leaf with `branch(id)`."""


class UnknownEntry(ConvtreeError):
    """A critical record has a type that this version does not know. Use a newer convtree."""


class CorruptLog(ConvtreeError):
    """The log was opened with `strict=True` and has problems, listed in `findings`."""

    findings: tuple[Any, ...]


class OpenCalls(ConvtreeError):
    """Some tool calls have no result yet. They are listed in `calls`."""

    calls: tuple[Any, ...]


class UnknownMessage(ConvtreeError):
    """A message, or a part of one, cannot be expressed in a request: no reader knows it.

    `entry_id` is its entry, `place` leads to the part (empty for the whole message) and `why` says what is not known.
    Pass `unknown="text"` or `unknown="drop"`, or register a reader with `convtree.shapes.register`.
    """

    entry_id: str
    place: tuple[str | int, ...]
    why: str


class ReadOnlySession(ConvtreeError):
    """The session is read-only: opened with `mode="r"`, written by a newer version, or damaged.

    A damaged header does that, and the row of a session in a database that does not fit its lines.
    """


class OutcomeUnknown(ConvtreeError, OSError):
    """The connection to the database was lost while a call was committed: it took effect as a whole, or not at all.

    The server did not answer when the call wanted to look. Make the call again with the same ids, or look.
    """


class SessionFailed(ConvtreeError):
    """This session cannot go on, for one of three reasons.

    An earlier write failed, so that it is unknown what is on disk; other code closed the descriptor of the log; or the
    log is replaced faster than it can be read.

    Open the session again to continue.
    """


class SessionClosed(ConvtreeError):
    """The session was closed, or inherited through `os.fork()`. Open it again."""
