"""The reading half of a store: lists, searches, sums. It writes nothing and takes no lock of a session."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from threading import RLock
from typing import Any, Literal, Self, TypeVar

import msgspec

from convtree._catalogue.types import Cursor, Filter, LedgerRow, ListedSession, Progress, SessionInfo, StoreFinding
from convtree._engine import codec
from convtree._engine.log import Log, Mode
from convtree._engine.plain_log import PlainLog, read_plain_log
from convtree._logs import directories
from convtree._logs.directories import Directory
from convtree._model.arguments import checked_methods
from convtree._model.entries import ID, Entry
from convtree._model.errors import ConvtreeError, NotALog, SessionClosed, SessionNotFound
from convtree._model.interrupts import Unlocking
from convtree._model.references import CANDIDATES, LATEST, SESSION_FORMS, ends_of, is_prefix, the_only
from convtree._model.resources import ForkAware, Uncopyable, watch_forks
from convtree._model.sources import Clock
from convtree._model.unicode_text import check_text
from convtree._model.usage import Usage
from convtree._session.header import check_choice, new_header
from convtree._session.session import Session
from convtree.stores._arguments import (
    SKEW_MS,
    age_ms,
    check_session_id,
    cursor_text,
    filter_of,
    parsed_cursor,
    time_ms,
)
from convtree.stores._dated_usage import Dated, Span, plan_of, spent_by_day
from convtree.stores._reading_logs import first_serious_code
from convtree.stores._results import Hit, Page, UsageRow
from convtree.stores._search import hits_of, matches_in
from convtree.stores._short_ids import FEWEST, short_ids
from convtree.stores._usage import lone_tasks, totals_with_tasks, usage_by_branch, usage_rows
from convtree.stores.base import Catalogue, StoreBackend

T = TypeVar("T")


def count_in(catalogue: Catalogue, filters: Filter) -> int:
    """Returns how many sessions match. Some catalogues count faster than they list."""
    count: Callable[[Filter], int] | None = getattr(catalogue, "count", None)
    return len(catalogue.sessions(filters)) if count is None else count(filters)


@checked_methods
class StoreReader(Uncopyable, ForkAware):
    """Answers questions about the sessions of a backend. Thread-safe; `SessionStore` adds sessions to write to."""

    def __init__(self, backend: StoreBackend, clock: Clock, whole: StoreReader | None = None) -> None:
        self._backend = backend
        self._clock = clock
        self._whole = whole  # the store that this is a part of
        self._own_lock = RLock()
        self._closed = False
        self._looks_once = False  # set within `_one_look`
        self._catalogue_seen: Catalogue | None = None  # within `_one_look`, after the first list
        watch_forks(self)

    def list(
        self,
        *,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        archived: bool | None = False,
        held: bool | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        text: str | None = None,
        parent: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tasks: bool = False,
        limit: int | None = 50,
        cursor: str | None = None,
        progress: Progress | None = None,
    ) -> Page:
        """Lists sessions, last active first. None means any.

        Args:
            cwd: sessions of this directory. It is made absolute and normalised, as it was when it was stored.
            git_root: sessions of this repository; of a worktree, those of the main one and of its other worktrees.
            owner: sessions of this owner.
            archived: True for archived sessions only, False for the others only.
            held: True for sessions on hold only, False for the others only.
            since: last active at this time or later: a datetime or RFC 3339 text; UTC if it has no zone.
            until: last active before this time.
            text: all its words occur in the name, or all in one message.
            parent: forks of this session and, with `tasks`, its sub-agents.
            metadata: sessions whose metadata has these keys with equal values. Any JSON value will do, and objects are
                compared whole. 1 equals 1.0, but not True. None: the key is missing, or null.
            tasks: includes sessions of sub-agents.
            limit: the most sessions on a page; None for all.
            cursor: the `cursor` of the page before.
            progress: called with (done, of) while the catalogue is brought up to date.
        """
        filters = filter_of(cwd, git_root, owner, archived, held, since, until, text, parent, metadata, tasks)
        found = self._listed(filters, None if limit is None else limit + 1, parsed_cursor(cursor), progress)
        more = limit is not None and len(found) > limit
        page = found[:limit]
        return Page(sessions=tuple(each.info for each in page), cursor=cursor_text(page[-1].cursor) if more else None)

    def count(
        self,
        *,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        archived: bool | None = False,
        held: bool | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        text: str | None = None,
        parent: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tasks: bool = False,
    ) -> int:
        """Returns how many sessions `list` would return without a limit.

        Args:
            cwd: as for `list`, and so are all the others.
            git_root: see `cwd`.
            owner: see `cwd`.
            archived: see `cwd`.
            held: see `cwd`.
            since: see `cwd`.
            until: see `cwd`.
            text: see `cwd`.
            parent: see `cwd`.
            metadata: see `cwd`.
            tasks: see `cwd`.
        """
        filters = filter_of(cwd, git_root, owner, archived, held, since, until, text, parent, metadata, tasks)
        filters = msgspec.structs.replace(filters, now_ms=self._now_ms() + SKEW_MS)
        return self._query(lambda catalogue: count_in(catalogue, filters))

    def info(self, id: str) -> SessionInfo:
        """Returns what a list says about one session.

        Raises:
            SessionNotFound: there is no session with this id.
        """
        check_session_id(id)
        found = self._listed(Filter(ids=(id,), tasks=True))
        if not found:
            raise SessionNotFound(f"{self.location}: there is no session {id!r}")
        return found[0].info

    def resolve(self, text: str) -> str:
        """Returns the id of the session that a text stands for: what people type in place of an id.

        In this order: an id; the beginning of one id, from 4 characters on; `@latest` for the session that `latest`
        returns; both ends of one id, as lists show a long one (`0199…3f4e`).
        Archived sessions, those of sub-agents and damaged ones are found as well. Other calls take whole ids
        only. A prefix costs one query, which a database answers by a look at every id.

        Raises:
            SessionNotFound: it stands for none.
            AmbiguousId: several ids have this beginning, or these ends.
        """
        if text == LATEST:
            latest = self.latest()
            if latest is None:
                raise SessionNotFound(f"{self.location}: {LATEST}: there is no session that is not archived")
            return latest.id
        if ID.fullmatch(text) and self._has(text):
            return text
        found = self._with_ends(text) if is_prefix(text) and ID.fullmatch(text) else []
        if not found and (ends := ends_of(text)) is not None and ID.fullmatch(ends[0]):
            found = self._with_ends(*ends)
        if not found:
            shown = repr(text)[:140]
            raise SessionNotFound(f"{self.location}: there is no session {shown}; {SESSION_FORMS}")
        return the_only(text, found, f"{self.location}: sessions")

    def _has(self, id: str) -> bool:
        """Returns whether something is stored under an id, be it damaged or no log."""
        try:
            self._log(id, "r").close()
        except SessionNotFound:
            return False
        except NotALog:
            pass
        return True

    def _with_ends(self, prefix: str, end: str = "") -> builtins.list[str]:
        """Returns the ids with these ends, last active first. Without `end`, at most as many as an error names."""
        listed = self._listed(Filter(id_prefix=prefix, tasks=True), limit=None if end else CANDIDATES + 1)
        ids = [each.info.id for each in listed]
        damaged = [each.id for each in self.findings if each.id is not None and each.id.startswith(prefix)]
        shortest = len(prefix) + len(end)
        return [id for id in dict.fromkeys([*ids, *damaged]) if id.endswith(end) and len(id) >= shortest]

    def short_ids(self, ids: Iterable[str], *, fewest: int = FEWEST) -> dict[str, str]:
        """Returns for each id the shortest beginning that stands for it: no other id in the store begins with it.

        It has at least `fewest` characters. An id that another one begins with stays whole. For lists that people
        read; a session begun later may make a beginning ambiguous.
        """
        wanted = builtins.list(ids)
        for id in wanted:
            check_session_id(id)
        return self._query(lambda catalogue: short_ids(catalogue, wanted, fewest))

    def children(self, id: str) -> builtins.list[SessionInfo]:
        """Returns the forks and the sub-agents' sessions of a session, last active first.

        `list(parent=id, archived=None, tasks=True)` returns them in pages.
        """
        return [each.info for each in self._listed(Filter(parent=id, tasks=True))]

    def sessions_with(self, entry_id: str | Entry) -> builtins.list[str]:
        """Returns the ids of the sessions that hold an entry: its own, and every fork and copy that has it.

        They are in the order in which they began, sessions of sub-agents and archived ones included. A session whose
        line of the entry is damaged does not hold it. Ids of your own or of an import may be those of other entries in
        other sessions.
        """
        if isinstance(entry_id, Entry):
            entry_id = entry_id.id
        codec.check_id(entry_id, "entry_id")
        found = self._query(lambda catalogue: catalogue.sessions_with([entry_id]))
        return [each.session_id for each in found]

    def latest(
        self, *, cwd: Directory | None = None, git_root: Directory | None = None, owner: str | None = None
    ) -> SessionInfo | None:
        """Returns the last active session that is not archived; None if there is none."""
        where, root = directories.directory(cwd), directories.git_root(git_root)
        found = self._listed(Filter(cwd=where, git_root=root, owner=owner, archived=False), limit=1)
        return found[0].info if found else None

    def resumable(
        self,
        *,
        cwd: Directory | None,
        git_root: Directory | None = None,
        owner: str | None = None,
        max_age: timedelta | float = timedelta(hours=1),
    ) -> SessionInfo | None:
        """Returns the session to continue: the last active one of this directory or repository; None if there is none.

        Archived sessions, sessions of sub-agents, and those last active longer than `max_age` ago (a timedelta or
        seconds) are left out. A `max_age` that is not above zero finds nothing.
        """
        if (age := age_ms(max_age)) <= 0:
            return None
        here = directories.directory(cwd), directories.git_root(git_root)
        filters = Filter(here=here, owner=owner, archived=False, since_ms=self._now_ms() - age)
        found = self._listed(filters, limit=1)
        return found[0].info if found else None

    def search(
        self,
        text: str,
        *,
        cwd: Directory | None = None,
        owner: str | None = None,
        archived: bool | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        tasks: bool = False,
        limit: int = 20,
    ) -> builtins.list[Hit]:
        """Finds the messages that contain all words of a text, on any branch, best first.

        Of more than 500 matches, a folder, SQLite and memory rank the 500 that were stored last, or `limit` of them.

        Args:
            text: the words. Case, accents and punctuation do not matter; parts of words are not found.
            cwd: in sessions of this directory.
            owner: in sessions of this owner.
            archived: True for archived sessions only, False for the others only.
            since: messages of this time or later: a datetime or RFC 3339 text; UTC if it has no zone. The time is that
                of the message, not of its session's activity. A message without a time is in no range.
            until: messages before this time.
            tasks: includes sessions of sub-agents.
            limit: the most messages.

        Raises:
            ValueError: a time is not one.
        """
        filters = Filter(
            cwd=directories.directory(cwd),
            owner=owner,
            archived=archived,
            said_since_ms=time_ms("since", since),
            said_until_ms=time_ms("until", until),
            tasks=tasks,
        )
        found, titles = self._query(lambda catalogue: matches_in(catalogue, text, filters, limit))
        return hits_of(found, titles, text, self._read_plain, self._read)

    def usage(
        self,
        id: str | None = None,
        *,
        by: Literal["session", "model", "branch", "day", "directory"] = "session",
        cwd: Directory | None = None,
        owner: str | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        zone: tzinfo = UTC,
        progress: Progress | None = None,
    ) -> builtins.list[UsageRow]:
        """Adds up tokens and stored cost, of one session or of all that match.

        Sub-agents count in their session, those whose session is gone in a row of their own. Entries that a fork copied
        count in the session they come from, as long as that is in the store. By branch, there is a row for each leaf of
        one session: the sum over the path to it, without sub-agents. Days and ranges of time are those of the answers,
        whenever their session was active last; what a vacuum dropped counts when it was dropped. For them, the logs of
        sessions are read that the range or a day divides. A range leaves out rows without usage.

        Args:
            id: of this session only, with its sub-agents.
            by: what each row is about.
            cwd: of sessions of this directory.
            owner: of sessions of this owner.
            since: of answers at this time or later: a datetime or RFC 3339 text; UTC if it has no zone.
            until: of answers before this time.
            zone: where a day begins, by day.
            progress: called with (done, of) while logs are read.

        Raises:
            SessionNotFound: there is no session with this id.
        """
        check_choice("by", by, ("session", "model", "branch", "day", "directory"))
        span = Span(time_ms("since", since), time_ms("until", until))
        if by == "branch":
            if id is None:
                raise ValueError("by='branch' is about the branches of one session; pass its id")
            with self._read(id) as session:
                own = self._query(lambda catalogue: catalogue.own_records(id))
                return usage_by_branch(session, own, span, self.info(id).title)
        filters = Filter(cwd=directories.directory(cwd), owner=owner)
        infos = [self.info(id)] if id is not None else [each.info for each in self._listed(filters)]
        if id is None:
            infos += self._query(lambda found: lone_tasks(found, filters))
        totals, counted_in = self._query(lambda found: totals_with_tasks(found, [info.id for info in infos]))
        spent = [Dated(None, total) for total in totals]
        if by == "day" or not span.is_all:
            days = zone if by == "day" else None
            plan = self._query(lambda found: plan_of(found, totals, span, days))
            spent = builtins.list(spent_by_day(plan, span, days, self._read, progress))
        rows = usage_rows(by, spent, counted_in, infos)
        return rows if span.is_all else [row for row in rows if row.usage != Usage()]

    def ledger(self, *, owner: str | None = None) -> builtins.list[LedgerRow]:
        """Returns what deleted sessions had used, per day, owner, provider and model; of one owner unless None.

        `usage` does not count it. Copied entries that another session still holds are not in it but count there.
        """
        if owner is not None:
            check_text(owner, "owner")
        rows = self._query(lambda catalogue: catalogue.ledger())
        return [row for row in rows if owner is None or row.owner == owner]

    @property
    def location(self) -> str:
        """Where the store is. A password in a URL is not shown."""
        return self._backend.location

    @property
    def findings(self) -> builtins.list[StoreFinding]:
        """Everything in the store that is not a complete session: damaged, torn, foreign, or with an invalid name.

        A folder and memory look at the logs that changed. A database is not searched: it is what this process saw when
        it last opened or verified each session, the tables beside them included. `verify` looks at everything.
        """
        return self._query(lambda catalogue: catalogue.findings())

    def close(self) -> None:
        """Closes the store. Sessions that are open stay open."""
        with Unlocking(self._lock), self._lock:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.location!r}>"

    # --- private ---

    def _after_fork(self) -> None:
        self._own_lock = RLock()  # a thread of the parent may have held it

    @property
    def _lock(self) -> RLock:
        """Guards the backend and its catalogue, which a part of a store shares with the whole."""
        return self._own_lock if self._whole is None else self._whole._lock

    def _check_open(self) -> None:
        if self._whole is not None:
            self._whole._check_open()
        if self._closed:
            raise SessionClosed(f"{self.location}: this store is closed; open it again")

    def _log(self, id: str, mode: Mode) -> Log:
        with Unlocking(self._lock), self._lock:
            self._check_open()
            return self._backend.log(id, mode)

    def _read(self, id: str) -> Session:
        """Opens a session for reading."""
        check_session_id(id)
        log = self._log(id, "r")
        try:
            session = Session(log, new_header(id), read_only=True, id=id)
        except BaseException:
            log.close()
            raise
        self._note_opened(session)
        return session

    def _read_plain(self, id: str) -> PlainLog | None:
        """Reads a log at once, if it is plain, and to open it costs no round trip."""
        if not getattr(self._backend, "logs_are_near", False):
            return None
        check_session_id(id)
        log = self._log(id, "r")
        try:
            return read_plain_log(log)
        finally:
            log.close()

    def _note_opened(self, session: Session) -> None:
        """Keeps for `findings` what is wrong with a session, if the backend's catalogue does not look at logs."""
        note: Callable[[str, str | None], None] | None = getattr(self._backend, "note", None)
        if note is not None:
            note(session.id, first_serious_code(session.findings))

    def _query(self, query: Callable[[Catalogue], T], progress: Progress | None = None) -> T:
        """Calls `query` with the catalogue, brought up to date, and returns what it returns."""
        with Unlocking(self._lock), self._lock:
            self._check_open()
            catalogue = self._catalogue_seen or self._backend.catalogue(progress)
            self._catalogue_seen = catalogue if self._looks_once else None
            return query(catalogue)

    @contextmanager
    def _one_look(self) -> Iterator[None]:
        """Brings the catalogue up to date once for all lists in the block. To look at 10,000 files takes a while.

        For a caller that has the store to itself. Nothing may be written in the block.
        """
        self._looks_once = True
        try:
            yield
        finally:
            self._looks_once, self._catalogue_seen = False, None

    def _answers(self) -> bool:
        """Returns whether the storage can be read from. Asked after an error that may be one session's only."""
        try:
            self._query(lambda catalogue: count_in(catalogue, Filter(ids=())))
        except (ConvtreeError, OSError):
            return False
        return True

    def _listed(
        self, filters: Filter, limit: int | None = None, after: Cursor | None = None, progress: Progress | None = None
    ) -> builtins.list[ListedSession]:
        filters = msgspec.structs.replace(filters, now_ms=self._now_ms() + SKEW_MS)
        return self._query(lambda catalogue: catalogue.sessions(filters, after, limit), progress)

    def _now_ms(self) -> int:
        return self._clock() // 10**6
