"""The values that go into a catalogue's queries and come out of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from convtree._model.entries import ParentSession, Severity
from convtree._model.unicode_text import check_text
from convtree._model.usage import Usage

Progress = Callable[[int, int], None]
"""Called with (done, of) while something takes long."""

LogStamp = tuple[int, int, int]
"""(size, time, identity) of a log, integers of at most 63 bits. Changes with every append.

The size grows with every append. The identity differs for another log under the same id. The time is any number that
helps to tell two states of the same size apart; it may be constant. In a folder: size in bytes, modification time in
nanoseconds, inode.
"""


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says about a session. Times are RFC 3339 texts in UTC.

    Attributes:
        id: the session's id.
        name: its name; None if it has none.
        owner: as in the header.
        cwd, git_root: its directories, as the header or a later mark says.
        archived: whether it is archived.
        held: whether it is on hold. A session on hold is not deleted.
        created: the time of the header; None if it has none.
        last_activity: when somebody last said something: the latest time of a message, or of the beginning. Marks,
            notes and system prompts do not count, and times in the future are ignored. None if unknown.
        entries: how many entries it has, on all branches.
        messages: how many of them are messages.
        title: what a list shows: the name; else the first message of the user that is no slash command and no single
            word, of the first ten; else the first message of the user. None if there is none of these.
        first_user_message, last_user_message: their first 200 characters, on one line.
        models: the models that answered, the one with the most answers first.
        usage: tokens and cost of this session's answers, vacuumed ones included. Entries that were copied from the
            parent count there while it is in the store.
        parent_session: the session it was forked from, or whose sub-agent it is.
        leaf_id: the entry that the next append continues.
        arrived: when it was imported into this store; None if it was not imported.
        key: what the id was made from; None if the header does not say it.
    """

    id: str
    name: str | None = None
    owner: str | None = None
    cwd: str | None = None
    git_root: str | None = None
    archived: bool = False
    created: str | None = None
    last_activity: str | None = None
    entries: int = 0
    messages: int = 0
    title: str | None = None
    first_user_message: str | None = None
    last_user_message: str | None = None
    models: tuple[str, ...] = ()
    usage: Usage = Usage()
    parent_session: ParentSession | None = None
    leaf_id: str | None = None
    held: bool = False
    arrived: str | None = None
    key: Any = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions a query is about. All conditions must hold; None means any.

    Attributes:
        cwd, git_root, owner: equal to the session's, as text.
        here: (cwd, git root): the session has this cwd or, unless None, this git root.
        archived: True for archived sessions only, False for the others only.
        held: True for sessions on hold only, False for the others only.
        since_ms: last active at this time or later, in milliseconds since 1970.
        until_ms: last active before this time.
        said_since_ms, said_until_ms: of a search only: messages of this time or later, and before this time. One
            without a time is in no range.
        now_ms: times after this one are ignored: they are no activity. None ignores none.
        text: all its words occur in the name, or all in one message. A text without words matches every session.
        parent: forks and tasks of this session.
        tasks: whether sessions of sub-agents are included.
        ids: one of these ids.
        id_prefix: the id begins with this text.
        metadata: the session's metadata has these keys with equal values, as JSON: 1 equals 1.0 but not true, and
            objects are equal if they have the same keys with equal values. None: the key is missing, or null.
    """

    cwd: str | None = None
    git_root: str | None = None
    here: tuple[str | None, str | None] | None = None
    owner: str | None = None
    archived: bool | None = None
    held: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    said_since_ms: int | None = None
    said_until_ms: int | None = None
    now_ms: int | None = None
    text: str | None = None
    parent: str | None = None
    tasks: bool = False
    ids: tuple[str, ...] | None = None
    id_prefix: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raises InvalidMessage for a text that no session can have: it has a lone surrogate."""
        here = self.here or (None, None)
        texts = {"cwd": (self.cwd, here[0]), "git_root": (self.git_root, here[1]), "owner": (self.owner,)}
        for name, some in (texts | {"parent": (self.parent,)}).items():
            for text in some:
                if text is not None:
                    check_text(text, name)


class Cursor(NamedTuple):
    """A position in the order of a list: by time of the last activity, then by id, both descending.

    Attributes:
        ms: the time of the last activity in milliseconds since 1970; 0 if it is unknown.
        id: a session's id.
    """

    ms: int
    id: str


class ListedSession(NamedTuple):
    """A session in a list.

    Attributes:
        info: what users see.
        cursor: its position in the list.
        stamp: the stamp of its log when the catalogue read it, or an older one; for conditional deletes.
    """

    info: SessionInfo
    cursor: Cursor
    stamp: LogStamp


class SearchMatch(NamedTuple):
    """An entry found by a search.

    Attributes:
        session_id, entry_id: where it is.
        score: how well it matches; higher is better. Scores of two searches cannot be compared.
    """

    session_id: str
    entry_id: str
    score: float


class StoredEntry(NamedTuple):
    """An entry, and a session that holds it. It is the same entry in two sessions if id and time are the same.

    Attributes:
        session_id, entry_id: where it is.
        time_ms: its time in milliseconds since 1970; None if it has none.
    """

    session_id: str
    entry_id: str
    time_ms: int | None


class UsageTotal(NamedTuple):
    """Tokens and cost of one session with one model.

    Attributes:
        session_id: the session.
        provider, model: who answered; None if the answers do not say.
        usage: the sum over those answers.
    """

    session_id: str
    provider: str | None
    model: str | None
    usage: Usage


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions that were deleted had used on a day with a model.

    Attributes:
        day: the day in UTC, as in 2026-01-31; None if the answers do not say.
        owner: whose sessions they were.
        provider, model: who answered; None if the answers do not say.
        usage: the sum.
    """

    day: str | None = None
    owner: str | None = None
    provider: str | None = None
    model: str | None = None
    usage: Usage = Usage()


COPY = "session_copy"


class StoreFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something in a store that is not a complete session, or a copy of one.

    Attributes:
        code: what is wrong: the code of the log's first serious finding, `not_a_log`, `unreadable`, `bad_name`,
            `bad_ledger` (what some deleted sessions had used is missing in sums) or `session_copy`.
        place: where it is: the session's id, or the name of another file.
        id: the session's id; None if the name cannot be one.
        of: the session that this is a copy of; None for other findings.
    """

    code: str
    place: str
    id: str | None = None
    of: str | None = None


class RowFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the tables of a database do not say what the lines of a session say.

    Attributes:
        code: `wrong_column`, `missing_row`, `extra_row`, or `wrong_index` for the index of a search.
        severity: always `warning`: the lines are whole, and a repair writes the tables again.
        table: the table.
        column: the column; None for a whole row.
        position: where the line begins that the row is about; None for a row about the session.
        key: what else identifies the row, such as a model; empty for a row of a line or a session.
    """

    code: str
    severity: Severity
    table: str
    column: str | None = None
    position: int | None = None
    key: str = ""
