"""What a store's calls return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import overload

import msgspec

from convtree._catalogue.types import SessionInfo
from convtree._model.usage import Usage


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some sessions of a list, last active first.

    Attributes:
        sessions: the sessions on this page.
        cursor: passed to `list` to get the next page; None on the last page.
    """

    sessions: tuple[SessionInfo, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    @overload
    def __getitem__(self, index: int) -> SessionInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SessionInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> SessionInfo | tuple[SessionInfo, ...]:
        return self.sessions[index]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of a session said when `prune` looked at it.

    Attributes:
        id: the session's id.
        size: how long the log is: in bytes; in memory, in lines.
        last_crc: the checksum of its last line.
        held: whether it is on hold.
        last_activity: when somebody last said something in it; None if unknown.
        arrived: when it was imported into this store; None if it was not.
        age_s: how long ago the later of both was; None if both are unknown.
    """

    id: str
    size: int
    last_crc: int
    held: bool
    last_activity: str | None = None
    arrived: str | None = None
    age_s: float | None = None


class Pruned(list[SessionInfo]):
    """The sessions that `prune` deleted, or would delete, last active first. Sub-agents' follow theirs.

    Attributes:
        held: the sessions that its rules chose, but that are on hold, or have a sub-agent on hold.
        skipped: the sessions that its rules chose, but that were left with their sub-agents: one of them was written
            to, locked or began while `prune` was at work, is damaged, or its log says other than the catalogue.
        judged: what the logs of the deleted sessions said, by id.
        arrived: the sessions that stay for their arrival only: by their last activity, its rules would choose them.
            Sub-agents' are not among them.
    """

    def __init__(
        self,
        deleted: Iterable[SessionInfo] = (),
        *,
        held: tuple[SessionInfo, ...] = (),
        skipped: tuple[SessionInfo, ...] = (),
        judged: Mapping[str, Judged] | None = None,
        arrived: tuple[SessionInfo, ...] = (),
    ) -> None:
        super().__init__(deleted)
        self.arrived = arrived
        self.held = held
        self.skipped = skipped
        self.judged = dict(judged or {})


class Erased(list[str]):
    """The ids of the sessions that were deleted, the requested one last, and what is left of their words.

    Attributes:
        complete: files and tables that hold none of it any more; the names of files in the folder of the store. On a
            server: the tables have no row of it. What its files hold until they are vacuumed is up to the server.
        pending: files that may still hold some of it: another process is reading them, or they belong to another user
            and cannot be removed. The store tries again when it is closed, and with every later `delete` and `erase`.
        copies: ids of the sessions in this store that still hold entries of the deleted ones: forks, also of sessions
            that are gone, the session that one was forked from, and copies.
        held: ids of sessions that were kept, because they or others of their family are on hold. Only `erase` of an
            owner keeps some.
        skipped: ids of sessions that were left, because they were locked, written to, or are no readable logs. Call
            it again.
    """

    def __init__(
        self,
        deleted: Iterable[str] = (),
        *,
        complete: Iterable[str] = (),
        pending: Iterable[str] = (),
        copies: Iterable[str] = (),
        held: Iterable[str] = (),
        skipped: Iterable[str] = (),
    ) -> None:
        super().__init__(deleted)
        self.complete = tuple(complete)
        self.pending = tuple(pending)
        self.copies = tuple(copies)
        self.held = tuple(held)
        self.skipped = tuple(skipped)


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A message found by a search.

    Attributes:
        session_id, session_name: the session it is in.
        session_title: what a list shows as the session's title, see `SessionInfo`.
        entry_id: its id there.
        role: its role.
        timestamp: its time, as stored.
        snippet: the text around the first word that was found, on one line.
        on_path: True if it is on the path to the session's leaf, False if it is on a side branch.
        score: how well it matches; higher is better.
    """

    session_id: str
    session_name: str | None
    session_title: str | None = None
    entry_id: str
    role: str | None
    timestamp: str | None
    snippet: str
    on_path: bool
    score: float


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and cost of a session, a model, a branch, a day or a directory. Other fields are None.

    Attributes:
        session_id, session_title: by session and by branch: the session, and its title in lists.
        provider, model: by model: who answered; None if the answers do not say.
        leaf_id: by branch: the end of the branch.
        day: by day: the day, as in 2026-01-31; None for answers without a time.
        directory: by directory: the `cwd` of the sessions; None for those without one.
        usage: the sum.
    """

    session_id: str | None = None
    session_title: str | None = None
    provider: str | None = None
    model: str | None = None
    leaf_id: str | None = None
    day: str | None = None
    directory: str | None = None
    usage: Usage = Usage()
