"""Many sessions: a folder of logs, a database, or memory, with one set of calls.

>>> import convtree
>>> store = convtree.open_store("memory:")
>>> with store.create(name="Trip", cwd="/home/me") as session:
...     question = session.append({"role": "user", "content": "Where shall we go?"})
>>> [info.name for info in store.list(cwd="/home/me")]
['Trip']
>>> store.search("shall go")[0].snippet
'Where shall we go?'
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import RLock
from typing import Any, Literal, Self, TypeVar

import msgspec

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import Usage, ms_of, ms_of_datetime, snippet_of, usage_of, words_of
from convtree._catalogue.tables import Cursor, Dialect, Execute, Filter, SessionInfo, UsageTotal
from convtree._engine import codec
from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._engine.log import Durability
from convtree._engine.redact import Redact, redact_lines
from convtree._logs.copy import Copied, copy_log
from convtree._model.entries import ID, Header, MessageEntry, ParentSession
from convtree._model.errors import (
    BrokenPath,
    ConvtreeError,
    EntryNotFound,
    SessionClosed,
    SessionLocked,
    SessionNotFound,
)
from convtree._model.resources import ForkAware, Uncopyable, watch_forks
from convtree._model.sources import Clock, IdSource, random_id, system_clock
from convtree._session.header import check_choice, new_header
from convtree._session.session import Session
from convtree.stores._folder import FolderBackend
from convtree.stores._memory import MemoryBackend
from convtree.stores.base import CatalogueReset, Progress, StoreBackend, StoreFinding

T = TypeVar("T")

_PLUGINS = "convtree.stores"  # entry points: URL scheme -> a function of the URL that returns a Shelf

_CURSOR = re.compile(rf"(-?[0-9]{{1,18}}):({ID.pattern})")
_FOREVER_MS = 2**53


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some sessions, last active first; `cursor` leads to the next ones, None when there are none."""

    sessions: tuple[SessionInfo, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[SessionInfo]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a search has found; `on_path` tells whether it leads to the leaf or lies on a side branch."""

    session_id: str
    session_name: str | None
    entry_id: str
    role: str | None
    timestamp: str | None
    snippet: str
    on_path: bool
    score: float


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent: in a session, with a model, or on the way to a leaf; None is what the question was not about."""

    session_id: str | None = None
    provider: str | None = None
    model: str | None = None
    leaf_id: str | None = None
    usage: Usage = Usage()


# Inside the class below, `list` is what lists the sessions.
Ids = list[str]
Infos = list[SessionInfo]
Hits = list[Hit]
Sums = list[Usage]
UsageRows = list[UsageRow]
StoreFindings = list[StoreFinding]
CopiedList = list[Copied]


class SessionStore(Uncopyable, ForkAware):
    """Many sessions in one place. Made by `open_store`; a context manager; thread-safe.

    Wherever a directory is asked for, it is compared as text: give it in the form in which it was stored.
    """

    def __init__(
        self,
        backend: StoreBackend,
        *,
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._id_source = id_source
        self._redact = redact
        self._lock = RLock()
        self._closed = False
        watch_forks(self)

    # --- one session ---

    def create(
        self,
        *,
        id: str | None = None,
        name: str | None = None,
        cwd: str | None = None,
        git_root: str | None = None,
        owner: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
        on_stale: OnStale = "raise",
    ) -> Session:
        """Begins a session; nothing is stored before its first record.

        A `parent_session` of kind "task" makes it a sub-agent's: it stays out of lists unless asked for.

        Raises:
            SessionExists: there is one with this id; perhaps only at the first append.
            InvalidMessage: a value cannot be stored.
        """
        header = new_header(
            _checked(id),
            cwd,
            git_root,
            owner,
            name,
            metadata,
            parent_session,
            clock=self._clock,
            id_source=self._id_source,
        )
        return self._session(header.id, "x", on_stale, header)

    def open(
        self, /, id: str, *, create: bool = False, read_only: bool = False, on_stale: OnStale = "raise", **header: Any
    ) -> Session:
        """Opens a session, which must exist; with `create`, begins it under this id when it does not.

        What else is given (`name`, `cwd`, …, as for `create`) describes the session if it begins.

        Raises:
            SessionNotFound: there is none with this id.
        """
        if read_only and create:
            raise ValueError("what is read exists: create goes with writing")
        if header and not create:
            raise TypeError(f"{next(iter(header))} describes a session that begins: it goes with create=True")
        mode: Literal["a", "r", "r+"] = "r" if read_only else "a" if create else "r+"
        return self._session(
            id, mode, on_stale, new_header(_checked(id), **header, clock=self._clock, id_source=self._id_source)
        )

    def open_or_create(self, header: Header, *, on_stale: OnStale = "raise") -> Session:
        """Opens the session that a header from elsewhere describes; it begins with this header if there is none.

        Raises:
            InvalidMessage: the header's id is none.
        """
        codec.check_id(header.id, "id")
        return self._session(header.id, "a", on_stale, header)

    def fork(self, id: str, entry_id: str | AtLeaf | None = LEAF, *, new_id: str | None = None) -> Session:
        """Copies the path to an entry into a session of its own and opens that; it is there whole or not at all.

        Entries keep their bytes, but for what the store's `redact` takes out.

        Raises:
            SessionNotFound: there is no such session.
            SessionExists: there is one with the new id.
            EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
        """
        with self.open(id, read_only=True) as source:
            copied = source.copy_path(self._write_new, entry_id, id=_checked(new_id))
        return self.open(copied)

    def rename(self, id: str, name: str | None) -> None:
        """Gives a session a name, or takes it away with None."""
        with self.open(id) as session:
            session.rename(name)

    def archive(self, id: str, archived: bool = True) -> None:
        """Puts a session away, where lists and `resume` do not see it unless asked; or takes it back."""
        with self.open(id) as session:
            session.archive(archived)

    def unarchive(self, id: str) -> None:
        """Takes a session back from where `archive` put it."""
        self.archive(id, False)

    def delete(self, id: str) -> Ids:
        """Deletes a session for good, and its sub-agents' sessions with it; returns the ids of all that are gone.

        Its forks stay: they have copies.

        Raises:
            SessionNotFound: there is none with this id.
            NotALog: what is there is no session.
            SessionLocked: somebody is writing to it; what was deleted before stays deleted.
        """
        self.open(id, read_only=True).close()  # before its sub-agents go
        gone = []
        with self._lock:
            for each in reversed(self._below([id], "task")):
                with suppress(SessionNotFound):  # gone already
                    self._backend.delete(each)
                    gone.append(each)
            self._backend.delete(id)
        return [*gone, id]

    # --- lists ---

    def list(
        self,
        *,
        cwd: str | None = None,
        git_root: str | None = None,
        owner: str | None = None,
        archived: bool | None = False,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        text: str | None = None,
        parent: str | None = None,
        tasks: bool = False,
        limit: int | None = 50,
        cursor: str | None = None,
        progress: Progress | None = None,
    ) -> Page:
        """Lists sessions, last active first; what is None does not matter.

        `since` and `until` (exclusive) are about the last activity; the words of `text`, if it has any, are all in the
        name or in one message; `parent` asks for forks and, with `tasks`, sub-agents of a session. `cursor` goes on
        behind an earlier page. `progress(done, of)` is called while a catalogue is brought up to date.
        """
        wanted = Filter(
            cwd=cwd,
            git_root=git_root,
            owner=owner,
            archived=archived,
            since_ms=_ms(since),
            until_ms=_ms(until),
            text=text,
            parent=parent,
            tasks=tasks,
        )
        if limit is not None and limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        after = None if cursor is None else _place(cursor)

        def page(execute: Execute, dialect: Dialect) -> Page:
            found = catalogue.sessions(execute, dialect, wanted, after, None if limit is None else limit + 1)
            if limit is None or len(found) <= limit:
                return Page(sessions=tuple(found))
            last = catalogue.place_of(execute, found[limit - 1].id)
            assert last is not None
            return Page(sessions=tuple(found[:limit]), cursor=f"{last.ms}:{last.id}")

        return self._ask(page, progress)

    def info(self, id: str) -> SessionInfo:
        """Returns what a list says of one session.

        Raises:
            SessionNotFound: there is none with this id.
        """
        codec.check_id(id, "id")
        found = self._infos(Filter(ids=(id,), tasks=True))
        if not found:
            raise SessionNotFound(f"{self.location}: there is no session {id!r}")
        return found[0]

    def children(self, id: str) -> Infos:
        """Lists the forks and the sub-agents of a session, last active first."""
        return self._infos(Filter(parent=id, tasks=True))

    def latest(
        self, *, cwd: str | None = None, git_root: str | None = None, owner: str | None = None
    ) -> SessionInfo | None:
        """Returns the session that was last active and is not archived."""
        found = self._infos(Filter(cwd=cwd, git_root=git_root, owner=owner, archived=False), limit=1)
        return found[0] if found else None

    def resumable(
        self,
        *,
        cwd: str | None,
        git_root: str | None = None,
        owner: str | None = None,
        max_age: timedelta | float = timedelta(hours=1),
    ) -> SessionInfo | None:
        """Returns the session to go on with: the last active one that is not archived and not older than `max_age`.

        It was begun in the same directory, or under the same git root where one is given. `max_age` is a timedelta
        or seconds; not above zero means never. A sub-agent's session is none.
        """
        age_ms = _age_ms(max_age)
        if age_ms <= 0:
            return None
        wanted = Filter(here=(cwd, git_root), owner=owner, archived=False, since_ms=self._clock() // 10**6 - age_ms)
        found = self._infos(wanted, limit=1)
        return found[0] if found else None

    def resume(
        self,
        *,
        cwd: str | None,
        git_root: str | None = None,
        owner: str | None = None,
        max_age: timedelta | float = timedelta(hours=1),
        note: str | None = None,
        on_stale: OnStale = "raise",
    ) -> Session | None:
        """Opens the session to go on with, as `resumable` finds it; None when there is none.

        With `note`, a message with this text that only the model sees is appended, to tell it that time has passed;
        else nothing changes.
        """
        found = self.resumable(cwd=cwd, git_root=git_root, owner=owner, max_age=max_age)
        if found is None:
            return None
        session = self.open(found.id, on_stale=on_stale)
        if note is not None:
            try:
                session.append({"role": "user", "content": note}, visible_to="model")
            except BaseException:
                session.close()
                raise
        return session

    def prune(
        self,
        *,
        max_age: timedelta | float | None = None,
        keep: int | None = None,
        owner: str | None = None,
        dry_run: bool = True,
    ) -> Infos:
        """Deletes sessions that were not active for `max_age` (a timedelta or seconds), or not among the last `keep`.

        Archived sessions count as well. Returns what is gone, or with `dry_run` would go, last active first;
        sub-agents' sessions go with theirs. A session stays while somebody is writing to it, and one of unknown age
        is not too old.
        """
        if max_age is None and keep is None:
            raise ValueError("prune deletes by max_age, by keep, or by both")
        if keep is not None and keep < 0:
            raise ValueError(f"keep is at least 0, not {keep}")
        if max_age is not None and _age_ms(max_age) <= 0:
            raise ValueError("max_age is above 0: whoever means all of them says keep=0")
        every = self._infos(Filter(owner=owner))
        oldest_ms = None if max_age is None else self._clock() // 10**6 - _age_ms(max_age)
        doomed = [
            info
            for number, info in enumerate(every)
            if (keep is not None and number >= keep)
            or (
                oldest_ms is not None and (active_ms := ms_of(info.last_activity)) is not None and active_ms < oldest_ms
            )
        ]
        if dry_run:
            return doomed
        gone = []
        for info in doomed:
            with suppress(SessionNotFound, SessionLocked):  # another prunes as well, or writes
                self.delete(info.id)
                gone.append(info)
        return gone

    def search(
        self,
        text: str,
        *,
        cwd: str | None = None,
        owner: str | None = None,
        archived: bool | None = None,
        tasks: bool = False,
        limit: int = 20,
    ) -> Hits:
        """Finds the messages in which all words of a text occur, on whatever branch, the best first."""
        if limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        wanted = Filter(cwd=cwd, owner=owner, archived=archived, tasks=tasks)
        found = self._ask(lambda execute, dialect: catalogue.search(execute, dialect, text, wanted, limit))
        words = words_of(text)
        hits = {}
        by_session: dict[str, list[catalogue.SearchMatch]] = {}
        for each in found:
            by_session.setdefault(each.session_id, []).append(each)
        for id, some in by_session.items():
            for hit in self._hits(id, some, words):
                hits[id, hit.entry_id] = hit
        return [hits[each[:2]] for each in found if each[:2] in hits]

    def usage(
        self,
        id: str | None = None,
        *,
        by: Literal["session", "model", "branch"] = "session",
        cwd: str | None = None,
        owner: str | None = None,
    ) -> UsageRows:
        """Adds up tokens and the cost that was stored with them, of one session or of all that fit.

        A session's sub-agents are part of it; what a fork has copied belongs to the session it comes from. By branch,
        there is a row for each leaf of one session: what was spent on the way to it, sub-agents apart.

        Raises:
            SessionNotFound: there is none with this id.
        """
        check_choice("by", by, ("session", "model", "branch"))
        if by == "branch":
            if id is None:
                raise ValueError("branches are those of one session: give its id")
            return self._usage_by_branch(id)
        infos = [self.info(id)] if id is not None else self._infos(Filter(cwd=cwd, owner=owner))
        home = {info.id: info.id for info in infos}

        def rolled_up(execute: Execute, _: Dialect) -> list[UsageTotal]:
            level = list(home)
            while level:
                below = {
                    child: home[parent]
                    for child, parent in catalogue.children(execute, level, "task").items()
                    if child not in home
                }
                home.update(below)
                level = list(below)
            return catalogue.usage(execute, list(home))

        spent = self._ask(rolled_up)
        return _by_model(spent) if by == "model" else _by_session(spent, home, [info.id for info in infos])

    def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> CopiedList:
        """Copies sessions, all of them unless told which, into another store: the same lines, byte for byte.

        An interrupted copy goes on where it was. What is read back is compared; no `redact` is asked. What cannot be
        copied is refused, each with its reason, and does not keep the others from being copied: a session that is
        something else, or has gone on, in the target, and what is no whole session here.

        Raises:
            SessionNotFound: there is none with one of these ids.
            OSError: as it comes; what was copied before stays, and copying again goes on from there.
        """
        done: CopiedList = []
        if ids is None:
            ids = [info.id for info in self._infos(Filter(tasks=True))]
            there = set(ids)
            done = [
                Copied(id=finding.id or finding.place, status="refused", reason=finding.code)
                for finding in self.findings
                if finding.id not in there
            ]
        for number, id in enumerate(ids, 1):
            done.append(self._copy(id, target))
            if progress is not None:
                progress(number, len(ids))
        return done

    def _copy(self, id: str, target: SessionStore) -> Copied:
        with self._lock:
            source = self._backend.log(id, "r")
        try:
            with target._lock:
                log = target._backend.log(id, "a")
            try:
                began = any(chunk.lines for chunk in log.read())
                lines = copy_log(source, log)
            finally:
                log.close()
        except (ConvtreeError, UnicodeError) as error:
            return Copied(id=id, status="refused", reason=str(error))
        finally:
            source.close()
        return Copied(id=id, status=("continued" if began else "copied") if lines else "unchanged", lines=lines)

    # --- the store itself ---

    @property
    def location(self) -> str:
        """Where the store is; a password in a URL is not shown."""
        return self._backend.location

    @property
    def redact(self) -> Redact | None:
        """What takes secrets out of whatever is written; None when nobody does."""
        return self._redact

    @property
    def findings(self) -> StoreFindings:
        """What in the store is no whole session: damaged, torn, foreign, or with a name that cannot be an id."""
        with self._lock:
            while True:
                self._ask(lambda *_: None)
                with suppress(CatalogueReset):
                    return self._backend.findings()

    def close(self) -> None:
        """Closes the store; sessions that are open stay open."""
        with self._lock:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _after_fork(self) -> None:
        self._lock = RLock()  # a thread of the parent may hold it

    def __repr__(self) -> str:
        return f"<SessionStore at {self.location!r}>"

    # --- inside ---

    def _session(self, id: str, mode: Literal["a", "x", "r", "r+"], on_stale: OnStale, header: Any) -> Session:
        check_choice("on_stale", on_stale, ("raise", "branch", "rebase"))
        with self._lock:
            self._check_open()
            log = self._backend.log(id, mode)
        try:
            return Session(
                log,
                header,
                read_only=mode == "r",
                on_stale=on_stale,
                redact=self._redact,
                clock=self._clock,
                id_source=self._id_source,
            )
        except BaseException:
            log.close()
            raise

    def _write_new(self, id: str, lines: Iterator[bytes]) -> None:
        with self._lock:
            self._backend.write_new(id, lines if self._redact is None else redact_lines(lines, self._redact))

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(f"{self.location}: this store is closed")

    def _ask(self, question: Callable[[Execute, Dialect], T], progress: Progress | None = None) -> T:
        """Asks the catalogue, brought up to date."""
        with self._lock:
            self._check_open()
            while True:
                database = self._backend.catalogue(progress)
                try:
                    with database.reading() as execute:
                        return question(execute, database.dialect)
                except CatalogueReset:
                    continue

    def _infos(self, wanted: Filter, limit: int | None = None) -> Infos:
        return self._ask(lambda execute, dialect: catalogue.sessions(execute, dialect, wanted, None, limit))

    def _below(self, ids: Sequence[str], kind: str) -> Ids:
        """Returns the sessions of a kind below some sessions, at any depth, each behind the one it is below."""

        def below(execute: Execute, _: Dialect) -> Ids:
            found: dict[str, None] = {}
            level = list(ids)
            while level:
                level = [id for id in catalogue.children(execute, level, kind) if id not in found and id not in ids]
                found.update(dict.fromkeys(level))
            return list(found)

        return self._ask(below)

    def _hits(self, id: str, found: Sequence[catalogue.SearchMatch], words: Sequence[str]) -> Iterator[Hit]:
        try:
            with self.open(id, read_only=True) as session:
                outline = session.outline()
                on_path = set(outline.tree.path(outline.leaf))
                for each in found:
                    try:
                        entry = session.entry(each.entry_id)
                    except (BrokenPath, EntryNotFound):
                        continue  # damaged since the catalogue saw it
                    yield Hit(
                        session_id=id,
                        session_name=session.name,
                        entry_id=entry.id,
                        role=entry.role if isinstance(entry, MessageEntry) else None,
                        timestamp=entry.timestamp,
                        snippet=snippet_of(entry.text if isinstance(entry, MessageEntry) else "", words),
                        on_path=outline.row(entry.id) in on_path,
                        score=each.score,
                    )
        except (ConvtreeError, OSError):
            return  # deleted or replaced since the catalogue saw it

    def _usage_by_branch(self, id: str) -> UsageRows:
        with self.open(id, read_only=True) as session:
            outline = session.outline()
            origin = session.header.parent_session
            copied = outline.row(origin.entry_id) if origin and origin.kind == "fork" and origin.entry_id else None
            own = {
                row: usage_of(record.usage)
                for row, record in session.records(0 if copied is None else copied + 1)
                if isinstance(record, MessageEntry) and record.usage
            }
            leaves = {entry.id: outline.row(entry.id) for entry in session.leaves()}
            parents = list(outline.tree.parents)
        spent: Sums = []
        for row, parent in enumerate(parents):
            above = spent[parent] if parent >= 0 else Usage()
            spent.append(above + own[row] if row in own else above)
        return [
            UsageRow(session_id=id, leaf_id=leaf, usage=spent[row]) for leaf, row in leaves.items() if row is not None
        ]


def _by_model(spent: Sequence[UsageTotal]) -> list[UsageRow]:
    sums: dict[tuple[str | None, str | None], Usage] = {}
    for each in spent:
        key = each.provider, each.model
        sums[key] = sums.get(key, Usage()) + each.usage
    rows = [UsageRow(provider=provider, model=model, usage=usage) for (provider, model), usage in sums.items()]
    return sorted(rows, key=lambda row: -row.usage.total_tokens)


def _by_session(spent: Sequence[UsageTotal], home: Mapping[str, str], ids: Sequence[str]) -> list[UsageRow]:
    sums = dict.fromkeys(ids, Usage())
    for each in spent:
        sums[home[each.session_id]] += each.usage
    return [UsageRow(session_id=id, usage=usage) for id, usage in sums.items()]


def open_store(
    url: str | os.PathLike[str] | Any,
    *,
    durability: Durability = "power",
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    create: bool | None = None,
    redact: Redact | None = None,
    clock: Clock = system_clock,
    id_source: IdSource = random_id,
) -> SessionStore:
    """Opens the store at a path or URL.

    A path or `file:` URL is a folder; `sqlite:///file.db`, `postgresql://…` and a SQLAlchemy engine are databases
    (`pip install 'convtree[sql]'` or `'convtree[postgres]'`); `memory:` is gone with the process. Other schemes come
    from packages with an entry point in the group `convtree.stores`. `create` makes the folder or the tables when
    they are not there; left out, it does so but for a server, whose tables are made once, by whoever may.
    `allow_network` permits a folder where locks do not keep writers apart. `redact` (`convtree.redact`, say) gets
    whatever a session of this store is to write and returns what is written instead: the same for the same. What was
    written without it stays; the directories and the owner do, too, for by them sessions are found.

    Raises:
        SessionNotFound, FileNotFoundError: there is no store, and none was to be made.
        ValueError: nobody knows the URL's scheme.
        ImportError: an extra is missing; the message says which.
    """
    if not isinstance(url, str | os.PathLike):
        return SessionStore(
            _sql_shelf(url, durability, lock_timeout_s, create), redact=redact, clock=clock, id_source=id_source
        )  # an engine
    scheme, path = split_url(url)
    if scheme == "file":
        backend: StoreBackend = FolderBackend(
            path,
            durability=durability,
            lock_timeout_s=lock_timeout_s,
            allow_network=allow_network,
            create=create is not False,
        )
    elif scheme == "memory":
        backend = MemoryBackend()
    elif scheme.partition("+")[0] in ("sqlite", "postgresql", "postgres"):
        backend = _sql_shelf(path, durability, lock_timeout_s, create)
    else:
        backend = _plugin(scheme)(path)
    return SessionStore(backend, redact=redact, clock=clock, id_source=id_source)


def split_url(url: str | os.PathLike[str]) -> tuple[str, str]:
    """Returns the scheme and, of a folder, the path; what does not begin like a URL is a path.

    Raises:
        ValueError: a folder on another machine.
    """
    text = os.fspath(url)
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    known = scheme in ("file", "memory") or rest.startswith("//")
    if isinstance(url, os.PathLike) or not colon or not known or len(scheme) < 2:
        return "file", text
    if scheme != "file":
        return scheme, text
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    if host not in ("", "localhost"):
        raise ValueError(f"file://{host}/… is on another machine")
    from urllib.parse import unquote

    return "file", unquote(slash + path)


def _sql_shelf(where: Any, durability: Durability, lock_timeout_s: float, create: bool | None) -> StoreBackend:
    from convtree.stores._sql import SqlBackend

    return SqlBackend(where, durability=durability, lock_timeout_s=lock_timeout_s, create=create)


def _plugin(scheme: str) -> Callable[[str], StoreBackend]:
    """Finds who has registered a scheme."""
    from importlib.metadata import entry_points

    found = entry_points(group=_PLUGINS, name=scheme)
    if not found:
        raise ValueError(f"nobody knows stores of the scheme {scheme!r}: a path, sqlite:///…, postgresql://…, memory:")
    make: Callable[[str], StoreBackend] = next(iter(found)).load()
    return make


def _checked(id: str | None) -> str | None:
    if id is not None:
        codec.check_id(id, "id")
    return id


def _place(cursor: str) -> Cursor:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError("not a cursor of this store")
    return Cursor(int(found[1]), found[2])


def _ms(when: str | datetime | None) -> int | None:
    if when is None:
        return None
    if isinstance(when, datetime):
        return ms_of_datetime(when)
    found = ms_of(when)
    if found is None:
        raise ValueError("a time is a datetime or an RFC 3339 text")
    return found


def _age_ms(age: timedelta | float) -> int:
    seconds = age.total_seconds() if isinstance(age, timedelta) else age
    if math.isnan(seconds):
        raise ValueError("an age is a number")
    return round(min(max(seconds * 1000, -_FOREVER_MS), _FOREVER_MS))
