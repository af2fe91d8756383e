"""The classes of `convtree.aio`: each wraps a sync object and runs its methods through a `SerialQueue`.

The rules that callers can rely on are in the docstring of the package.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from msgspec import UNSET, UnsetType

from convtree._engine.expected import expected
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.outline import LinearSegment
from convtree._engine.outline import Outline as SyncOutline
from convtree._engine.redact import Redact
from convtree._engine.rendering import Render, default_render
from convtree._engine.tokens import Counter
from convtree._engine.tree import Tree
from convtree._logs.copy import Copied
from convtree._model.arguments import checked_methods
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, Finding, Header, Mark, Record, SeenBy
from convtree._session import landing, walking
from convtree._session.compaction import BranchPlan, CompactionPlan
from convtree._session.follow import looks
from convtree._session.session import Session as SyncSession
from convtree._session.summaries import Summary
from convtree._session.viewing import View as SyncView
from convtree._session.viewing import ViewEntry, ViewShape
from convtree.aio._calls import AsyncFacade, AsyncOnly, awaited, opening_function, opening_method
from convtree.aio._executor import SerialQueue, run_in_background
from convtree.aio._items import Items
from convtree.aio._waiting import check_cancelled, current_task, finish, sleep, wait_for
from convtree.stores._open import open_store as open_sync_store
from convtree.stores._session_store import SessionStore as SyncStore
from convtree.stores._shared import Entered, SessionPool, Shared
from convtree.stores._shared import SharedSession as SyncShared
from convtree.stores.base import Progress, StoreFinding

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Entry)

_STORE_THREADS = 4  # of the pool: a slow store leaves the others to the sessions


async def _summary_by(summarize: Callable[[Any], Awaitable[Summary]], plan: CompactionPlan | BranchPlan) -> Summary:
    """Returns the summary that the caller's function writes.

    Raises:
        TypeError: it is not a coroutine function.
    """
    summary = summarize(plan)
    if not isinstance(summary, Awaitable):
        raise TypeError(f"summarize has to be a coroutine function; it returned a {type(summary).__name__}")
    return await summary


def _session(session: SyncSession) -> Session:
    return Session(session)


def _session_or_none(session: SyncSession | None) -> Session | None:
    return None if session is None else Session(session)


@checked_methods
class Session(AsyncFacade[SyncSession]):
    """A conversation for async programs: the calls of `convtree.Session`, awaited. An async context manager.

    Opened by `Session.open` or `Session.memory`. `Session(sync)` wraps a sync session; from then on, use only the
    wrapper.
    """

    def __init__(self, session: SyncSession) -> None:
        super().__init__(session, 1)

    open = staticmethod(opening_function(SyncSession.open, _session))
    memory = staticmethod(opening_function(SyncSession.memory, _session))

    append = awaited(SyncSession.append)
    append_many = awaited(SyncSession.append_many)
    set_system = awaited(SyncSession.set_system)
    checkout = awaited(SyncSession.checkout)
    apply_compaction = awaited(SyncSession.apply_compaction)
    apply_branch_summary = awaited(SyncSession.apply_branch_summary)
    label = awaited(SyncSession.label)
    hide = awaited(SyncSession.hide)
    show = awaited(SyncSession.show)
    pin = awaited(SyncSession.pin)
    rename = awaited(SyncSession.rename)
    archive = awaited(SyncSession.archive)
    hold = awaited(SyncSession.hold)
    set_directories = awaited(SyncSession.set_directories)
    update_metadata = awaited(SyncSession.update_metadata)
    extend = awaited(SyncSession.extend)
    fork = opening_method(SyncSession.fork, _session)
    copy_path = awaited(SyncSession.copy_path)

    build_context = awaited(SyncSession.build_context)
    entry = awaited(SyncSession.entry)
    resolve = awaited(SyncSession.resolve)
    path = awaited(SyncSession.path)
    children = awaited(SyncSession.children)
    siblings = awaited(SyncSession.siblings)
    tip = awaited(SyncSession.tip)
    visible_to = awaited(SyncSession.visible_to)
    leaves = awaited(SyncSession.leaves)
    branches = awaited(SyncSession.branches)
    common_ancestor = awaited(SyncSession.common_ancestor)
    diff = awaited(SyncSession.diff)
    extension_data = awaited(SyncSession.extension_data)
    state = awaited(SyncSession.state)
    refresh = awaited(SyncSession.refresh)

    async def compact(
        self,
        summarize: Callable[[CompactionPlan], Awaitable[Summary]],
        *,
        keep_tokens: int | None = None,
        keep_bytes: int | None = None,
        count_tokens: Counter | None = None,
        render: Render = default_render,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
        id: str | None = None,
    ) -> CompactionEntry | None:
        """Replaces all but about the last `keep_tokens` or `keep_bytes` by a summary, as the sync `compact` does.

        Other calls on the session run while `summarize` is awaited.

        Args:
            summarize: a coroutine function, otherwise as that of the sync `compact`.
            keep_tokens: how many tokens stay.
            keep_bytes: how many bytes of the request stay, in place of `keep_tokens`.
            count_tokens: counts one message.
            render: turns summaries into messages.
            expect_leaf: the leaf that the log must have, before and after `summarize`.
            expect_revision: the last record that the log must have, likewise.
            id: the id of the compaction; makes a retry safe.

        Raises:
            TypeError: `summarize` is not a coroutine function; nothing was written.
            As the sync `compact`.
        """
        wanted = expected(expect_leaf, expect_revision)
        plan = await self._queue.call(
            partial(landing.begin_compaction, self._sync, keep_tokens, keep_bytes, count_tokens, render, wanted, id)
        )
        if plan is None or isinstance(plan, CompactionEntry):
            return plan
        summary = await _summary_by(summarize, plan)
        return await self._queue.call(
            partial(landing.land_compaction, self._sync, plan, summary, count_tokens, wanted, id)
        )

    async def branch(
        self,
        entry_id: str | Entry | None,
        *,
        summary: str | None = None,
        details: Any = None,
        summarize: Callable[[BranchPlan], Awaitable[Summary]] | None = None,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
        id: str | None = None,
    ) -> BranchSummaryEntry | None:
        """Moves the leaf to an entry and records that, as the sync `branch` does.

        Args:
            entry_id: the entry to go to; None, the place before the first entry.
            summary: the text of a branch summary.
            details: additional data for the summary.
            summarize: a coroutine function that writes the summary; give it or `summary`, not both.
            expect_leaf: the leaf that the log must have.
            expect_revision: the last record that the log must have.
            id: the id of the summary, or of the move; makes a retry safe.
        """
        wanted = expected(expect_leaf, expect_revision)
        move = partial(self._sync.branch, entry_id, expect_leaf=expect_leaf, expect_revision=expect_revision, id=id)
        if summarize is None:
            return await self._queue.call(partial(move, summary=summary, details=details))
        if summary is not None:
            raise TypeError("branch takes either summary= or summarize=, not both")
        plan = await self._queue.call(partial(landing.begin_branch, self._sync, entry_id, details, wanted, id))
        if isinstance(plan, BranchSummaryEntry):
            return plan
        if plan is None:
            return await self._queue.call(move)
        written = await _summary_by(summarize, plan)
        return await self._queue.call(
            partial(landing.land_branch, self._sync, plan, written, entry_id, details, wanted, id)
        )

    async def revision(self) -> str | None:
        """Returns the id of the last record that this session has seen. A method here, because it may read the log."""
        return await self._queue.call(lambda: self._sync.revision)

    async def outline(self) -> Outline:
        """Returns the shape of the tree as it is now."""
        return Outline(await self._queue.call(self._sync.outline), self._queue)

    async def view(self, leaf: str | Entry | AtLeaf | None = LEAF, *, last: int | None = None) -> View:
        """Returns the path to a leaf as a person sees it, as the sync `view` does."""
        return View(await self._queue.call(partial(self._sync.view, leaf, last=last)), self._queue)

    @overload
    def walk_up(
        self, entry_id: str | Entry | AtLeaf | None = LEAF, *, seen_by: SeenBy | None = None
    ) -> AsyncGenerator[Entry, None]: ...
    @overload
    def walk_up(
        self, entry_id: str | Entry | AtLeaf | None = LEAF, *, type: builtins.type[E], seen_by: SeenBy | None = None
    ) -> AsyncGenerator[E, None]: ...
    def walk_up(
        self,
        entry_id: str | Entry | AtLeaf | None = LEAF,
        *,
        type: builtins.type[Any] = Entry,
        seen_by: SeenBy | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Yields this entry, its parent, and so on, as the sync `walk_up` does. Begins with the first item."""
        return self._each(lambda: walking.batches_up(self._sync, entry_id, type, seen_by))

    def records(self, start: int = 0, *, reverse: bool = False) -> AsyncGenerator[tuple[int, Entry | Mark], None]:
        """Yields entries and marks with their numbers, as the sync `records` does. Begins with the first item."""
        return self._each(lambda: walking.batches_of_records(self._sync, start, reverse))

    def _each(self, begin: Callable[[], Iterator[builtins.list[T]]]) -> AsyncGenerator[T, None]:
        """Returns the items of batches, each of which is read in a thread."""
        batches: builtins.list[Iterator[builtins.list[T]]] = []

        def next_batch() -> builtins.list[T] | None:
            if not batches:
                batches.append(begin())
            return next(batches[0], None)

        return Items(lambda: self._queue.call(next_batch))

    def follow(self, *, poll_s: float = 0.2, timeout_s: float | None = None) -> AsyncGenerator[Entry | Mark, None]:
        """Yields entries and marks appended from now on, as the sync `follow` does. Occupies no thread while it waits.

        Ends as the sync one does, and when the task is cancelled. To leave the loop earlier, close the generator
        (`contextlib.aclosing`). Errors are raised with the first item.
        """
        started = self._queue.submit(partial(looks, self._sync, poll_s, timeout_s))

        async def next_news() -> builtins.list[Entry | Mark] | None:
            look = await self._queue.call(partial(next, await wait_for(started), None))
            if look is not None and not look.records:
                await sleep(look.wait_s)
            return None if look is None else look.records

        return Items(next_news)

    @property
    def header(self) -> Header:
        """The session's header. A session without records gets it with the first one."""
        return self._sync.header

    @property
    def id(self) -> str:
        """The session's id."""
        return self._sync.id

    @property
    def name(self) -> str | None:
        """The session's name."""
        return self._sync.name

    @property
    def leaf_id(self) -> str | None:
        """Id of the entry that the next append continues; None in an empty session."""
        return self._sync.leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """Labels by entry id."""
        return self._sync.labels

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, all updates applied."""
        return self._sync.metadata

    @property
    def archived(self) -> bool:
        """Whether the session is archived."""
        return self._sync.archived

    @property
    def held(self) -> bool:
        """Whether the session is on hold."""
        return self._sync.held

    @property
    def cwd(self) -> str | None:
        """The session's working directory, with every change applied."""
        return self._sync.cwd

    @property
    def git_root(self) -> str | None:
        """The root of the session's git repository, with every change applied."""
        return self._sync.git_root

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Damage found in the log so far."""
        return self._sync.findings

    @property
    def times_replaced(self) -> int:
        """How often this session found another log in the place of its log."""
        return self._sync.times_replaced

    @property
    def location(self) -> str:
        """Where the log is: a path, a database with the session's id, or "memory"."""
        return self._sync.location


class Outline:
    """The shape of a session's tree at one moment: the sync outline, except that `entries` is awaited."""

    def __init__(self, outline: SyncOutline, queue: SerialQueue) -> None:
        self._sync, self._queue = outline, queue
        self.tree: Tree = outline.tree
        self.leaf: int = outline.leaf
        self.certain: bool = outline.certain
        self.runs: list[LinearSegment] = outline.runs
        self.visibility = outline.visibility

    def row(self, entry_id: str) -> int | None:
        """Returns the row of an entry; None if there is no such entry."""
        return self._sync.row(entry_id)

    async def entries(self, rows: Sequence[int]) -> list[Entry | None]:
        """Returns the entries at these rows; None for one that cannot be read."""
        return await self._queue.call(partial(self._sync.entries, rows))


class View(Sequence[ViewEntry]):
    """The entries of a path as a person sees them: the sync view, except that `to` is awaited."""

    def __init__(self, view: SyncView, queue: SerialQueue) -> None:
        self._sync, self._queue = view, queue
        self.leaf_id = view.leaf_id

    @overload
    def __getitem__(self, index: int) -> ViewEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ViewEntry]: ...
    def __getitem__(self, index: int | slice) -> ViewEntry | Sequence[ViewEntry]:
        return self._sync[index]

    def __len__(self) -> int:
        return len(self._sync)

    def __repr__(self) -> str:
        return f"<aio of {self._sync!r}>"

    async def to(self, shape: ViewShape) -> dict[str, Any]:
        """Returns the session with all its branches for a library of chat components, as the sync `to` does."""
        return await self._queue.call(partial(self._sync.to, shape))


def _store(store: SyncStore) -> SessionStore:
    return SessionStore(store)


def sharing_method(
    method: Callable[Concatenate[SyncStore, P], AbstractContextManager[SyncSession]],
) -> Callable[Concatenate[SessionStore, P], AbstractAsyncContextManager[Session]]:
    """Returns the method that gives a shared session with `async with`: one object, so its calls run one at a time."""

    @wraps(method)
    def call(self: SessionStore, /, *args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[Session]:
        shared = method(self._sync, *args, **kwargs)
        assert isinstance(shared, SyncShared)
        return _SharedSession(self, shared)

    return call


@checked_methods
class SessionStore(AsyncFacade[SyncStore]):
    """Many sessions for async programs: the calls of `convtree.SessionStore`, awaited. Opened by `open_store`."""

    def __init__(self, store: SyncStore) -> None:
        super().__init__(store, _STORE_THREADS)

    create = opening_method(SyncStore.create, _session)
    create_task = opening_method(SyncStore.create_task, _session)
    open = opening_method(SyncStore.open, _session)
    open_or_create = opening_method(SyncStore.open_or_create, _session)
    fork = opening_method(SyncStore.fork, _session)
    copy = opening_method(SyncStore.copy, _session)
    scoped = opening_method(SyncStore.scoped, _store)

    session = sharing_method(SyncStore.session)

    resume = opening_method(SyncStore.resume, _session_or_none)
    rename = awaited(SyncStore.rename)
    archive = awaited(SyncStore.archive)
    unarchive = awaited(SyncStore.unarchive)
    hold = awaited(SyncStore.hold)
    release = awaited(SyncStore.release)
    set_directories = awaited(SyncStore.set_directories)
    move_directory = awaited(SyncStore.move_directory)
    delete = awaited(SyncStore.delete)
    erase = awaited(SyncStore.erase)

    list = awaited(SyncStore.list)
    count = awaited(SyncStore.count)
    info = awaited(SyncStore.info)
    resolve = awaited(SyncStore.resolve)
    children = awaited(SyncStore.children)
    sessions_with = awaited(SyncStore.sessions_with)
    latest = awaited(SyncStore.latest)
    resumable = awaited(SyncStore.resumable)
    prune = awaited(SyncStore.prune)
    vacuum = awaited(SyncStore.vacuum)
    edit_data = awaited(SyncStore.edit_data)
    verify = awaited(SyncStore.verify)
    repair = awaited(SyncStore.repair)
    redact_session = awaited(SyncStore.redact_session)
    search = awaited(SyncStore.search)
    short_ids = awaited(SyncStore.short_ids)
    usage = awaited(SyncStore.usage)
    ledger = awaited(SyncStore.ledger)

    async def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> builtins.list[Copied]:
        """Copies sessions into another store, as the sync `copy_to` does. Calls `progress` in a thread."""
        return await self._queue.call(lambda: self._sync.copy_to(target._sync, ids, progress=progress))

    async def findings(self) -> builtins.list[StoreFinding]:
        """Returns the files in the store that are not complete sessions. A method here, because it reads the store."""
        return await self._queue.call(lambda: self._sync.findings)

    @property
    def owner(self) -> str | None:
        """The owner that this handle is scoped to; None for a whole store."""
        return self._sync.owner

    @property
    def location(self) -> str:
        """Where the store is; a URL without its password."""
        return self._sync.location

    @property
    def redact(self) -> Redact | None:
        """The function that removes secrets from everything that is written; None if there is none."""
        return self._sync.redact


class _SharedSession(AsyncOnly, AbstractAsyncContextManager[Session]):
    """A shared session of a store: `async with` gives the one facade of it. It may be entered several times."""

    def __init__(self, store: SessionStore, shared: SyncShared) -> None:
        self._store, self._shared = store, shared
        self._entered: Entered[tuple[Shared, Session]] = Entered()

    async def __aenter__(self) -> Session:
        await check_cancelled()
        acquiring = self._store._queue.submit(partial(_acquired, self._shared))
        try:
            entered = await wait_for(acquiring)
        except BaseException:
            acquiring.add_done_callback(partial(_release_unclaimed, self._store._sync._pool))
            raise
        self._entered.add(current_task(), entered)
        return entered[1]

    async def __aexit__(self, *exception: object) -> None:
        shared, session = self._entered.take(current_task())
        pool = self._store._sync._pool
        await finish(session._queue.submit(partial(pool.release, shared)))  # behind calls that were abandoned


def _acquired(wanted: SyncShared) -> tuple[Shared, Session]:
    shared = wanted.acquire()
    return shared, shared.facade(Session)


def _release_unclaimed(pool: SessionPool, acquiring: Future[tuple[Shared, Session]]) -> None:
    if not acquiring.cancelled() and acquiring.exception() is None:
        run_in_background(partial(pool.release, acquiring.result()[0]))


open_store = opening_function(open_sync_store, SessionStore)
