"""The classes of `convtree.aio`: each wraps a sync object and runs its methods through a `SerialQueue`.

The rules that callers can rely on are in the docstring of the package.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar

from convtree._engine.outline import LinearSegment
from convtree._engine.outline import Outline as SyncOutline
from convtree._engine.redact import Redact
from convtree._engine.rendering import Render, default_render
from convtree._engine.tokens import Counter
from convtree._engine.tree import Tree
from convtree._logs.copy import Copied
from convtree._model.batches import batched
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, Finding, Header, Mark
from convtree._model.resources import Uncopyable
from convtree._session import landing
from convtree._session.compaction import BranchPlan, CompactionPlan
from convtree._session.follow import looks
from convtree._session.session import Session as SyncSession
from convtree._session.summaries import Summary
from convtree.aio._executor import SerialQueue, run_in_background
from convtree.stores._open import open_store as open_sync_store
from convtree.stores._session_store import SessionStore as SyncStore
from convtree.stores.base import Progress, StoreFinding

P = ParamSpec("P")
T = TypeVar("T")

_STORE_THREADS = 4  # of the pool: a slow store leaves the others to the sessions


class _Closes(Protocol):
    def close(self) -> None: ...


class _ClosesAwaited(Protocol):
    async def close(self) -> None: ...


S_co = TypeVar("S_co", bound=_Closes, covariant=True)
R = TypeVar("R", bound=_ClosesAwaited | None)


class _AsyncOnly:
    """Answers a plain `with` by saying that it takes an `async with`."""

    if not TYPE_CHECKING:  # a type checker must go on rejecting it

        def __enter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} of convtree.aio: use `async with`, not `with`")

        def __exit__(self, *exception: object) -> None:
            """Is there for `with` to look up `__enter__`."""


class AwaitableContext(_AsyncOnly, Coroutine[Any, Any, R]):
    """A session or store that is being opened.

    `await` returns it, and the caller closes it. `async with` returns it and closes it. Like a coroutine, it can be
    used once.
    """

    def __init__(self, opening: Coroutine[Any, Any, R]) -> None:
        self._opening = opening
        self._opened: R | None = None

    def __await__(self) -> Generator[Any, Any, R]:
        return self._opening.__await__()

    def send(self, value: Any) -> Any:
        """Continues the coroutine; called by the event loop."""
        return self._opening.send(value)

    def throw(self, *exception: Any) -> Any:
        """Continues the coroutine with an exception; called by the event loop."""
        return self._opening.throw(*exception)

    def close(self) -> None:
        """Closes the coroutine. If it was not awaited, nothing is opened."""
        self._opening.close()

    async def __aenter__(self) -> R:
        opened = await self._opening
        self._opened = opened
        return opened

    async def __aexit__(self, *exception: object) -> None:
        if self._opened is not None:
            await self._opened.close()

    if not TYPE_CHECKING:  # a type checker must go on rejecting unknown attributes

        def __enter__(self) -> NoReturn:
            self._opening.close()
            super().__enter__()

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"{name!r} of a session or store that is not open yet: await it first, or use `async with`"
            )


async def _open(queue: SerialQueue, work: Callable[[], T], wrap: Callable[[T], R]) -> R:
    """Opens and wraps a sync object. If the caller is cancelled meanwhile, the object is closed."""
    future = queue.submit(work)
    try:
        return wrap(await asyncio.wrap_future(future))
    except asyncio.CancelledError:
        future.add_done_callback(_close_unclaimed)
        raise


def _close_unclaimed(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and (opened := future.result()) is not None:
        run_in_background(opened.close)


class _AsyncFacade(_AsyncOnly, Uncopyable, Generic[S_co]):
    """A sync object and the queue of the calls on it."""

    def __init__(self, sync: S_co, width: int) -> None:
        self._sync = sync
        self._queue = SerialQueue(width)

    async def close(self) -> None:
        """Closes it after the calls that were made before; twice is the same as once. Cancelling does not stop it."""
        await asyncio.shield(asyncio.wrap_future(self._queue.submit(self._sync.close)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio of {self._sync!r}>"


def _awaited(
    method: Callable[Concatenate[S_co, P], T],
) -> Callable[Concatenate[_AsyncFacade[S_co], P], Coroutine[Any, Any, T]]:
    """Returns the method that awaits a sync method."""

    @wraps(method)
    async def call(self: _AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._queue.call(partial(method, self._sync, *args, **kwargs))

    return call


def _opening_method(
    method: Callable[Concatenate[S_co, P], T], wrap: Callable[[T], R]
) -> Callable[Concatenate[_AsyncFacade[S_co], P], AwaitableContext[R]]:
    """Returns the method that opens and wraps what a sync method opens."""

    @wraps(method)
    def call(self: _AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(self._queue, partial(method, self._sync, *args, **kwargs), wrap))

    return call


def _opening_function(function: Callable[P, T], wrap: Callable[[T], R]) -> Callable[P, AwaitableContext[R]]:
    """Returns the function that opens and wraps what a sync function opens."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(SerialQueue(), partial(function, *args, **kwargs), wrap))

    return call


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


class Session(_AsyncFacade[SyncSession]):
    """A conversation for asyncio: the calls of `convtree.Session`, awaited. An async context manager.

    Opened by `Session.open` or `Session.memory`. `Session(sync)` wraps a sync session; from then on, use only the
    wrapper.
    """

    def __init__(self, session: SyncSession) -> None:
        super().__init__(session, 1)

    open = staticmethod(_opening_function(SyncSession.open, _session))
    memory = staticmethod(_opening_function(SyncSession.memory, _session))

    append = _awaited(SyncSession.append)
    append_many = _awaited(SyncSession.append_many)
    set_system = _awaited(SyncSession.set_system)
    apply_compaction = _awaited(SyncSession.apply_compaction)
    apply_branch_summary = _awaited(SyncSession.apply_branch_summary)
    label = _awaited(SyncSession.label)
    hide = _awaited(SyncSession.hide)
    show = _awaited(SyncSession.show)
    pin = _awaited(SyncSession.pin)
    rename = _awaited(SyncSession.rename)
    archive = _awaited(SyncSession.archive)
    hold = _awaited(SyncSession.hold)
    set_directories = _awaited(SyncSession.set_directories)
    update_metadata = _awaited(SyncSession.update_metadata)
    extend = _awaited(SyncSession.extend)
    fork = _opening_method(SyncSession.fork, _session)
    copy_path = _awaited(SyncSession.copy_path)

    build_context = _awaited(SyncSession.build_context)
    entry = _awaited(SyncSession.entry)
    path = _awaited(SyncSession.path)
    children = _awaited(SyncSession.children)
    siblings = _awaited(SyncSession.siblings)
    tip = _awaited(SyncSession.tip)
    leaves = _awaited(SyncSession.leaves)
    common_ancestor = _awaited(SyncSession.common_ancestor)
    diff = _awaited(SyncSession.diff)
    extension_data = _awaited(SyncSession.extension_data)
    state = _awaited(SyncSession.state)
    refresh = _awaited(SyncSession.refresh)

    async def compact(
        self,
        summarize: Callable[[CompactionPlan], Awaitable[Summary]],
        *,
        keep_tokens: int | None = None,
        keep_bytes: int | None = None,
        count_tokens: Counter | None = None,
        render: Render = default_render,
    ) -> CompactionEntry | None:
        """Replaces all but about the last `keep_tokens` or `keep_bytes` by a summary, as the sync `compact` does.

        Other calls on the session run while `summarize` is awaited.

        Args:
            summarize: a coroutine function, otherwise as that of the sync `compact`.
            keep_tokens: how many tokens stay.
            keep_bytes: how many bytes of the request stay, in place of `keep_tokens`.
            count_tokens: counts one message.
            render: turns summaries into messages.

        Raises:
            TypeError: `summarize` is not a coroutine function; nothing was written.
            As the sync `compact`.
        """
        work = partial(landing.plan_compaction, self._sync, keep_tokens, keep_bytes, count_tokens, render)
        plan = await self._queue.call(work)
        return (
            None
            if plan is None
            else await self.apply_compaction(plan, await _summary_by(summarize, plan), count_tokens=count_tokens)
        )

    async def branch(
        self,
        entry_id: str | None,
        *,
        summary: str | None = None,
        details: Any = None,
        summarize: Callable[[BranchPlan], Awaitable[Summary]] | None = None,
    ) -> BranchSummaryEntry | None:
        """Moves the leaf to an entry and records that, as the sync `branch` does.

        `summarize` is a coroutine function that writes the summary; give it or `summary`, not both.
        """
        if summarize is None:
            work = partial(self._sync.branch, entry_id, summary=summary, details=details)
            return await self._queue.call(work)
        if summary is not None:
            raise TypeError("branch takes either summary= or summarize=, not both")
        plan = await self._queue.call(partial(landing.plan_branch, self._sync, entry_id))
        if plan is None:
            return await self._queue.call(partial(self._sync.branch, entry_id))
        return await self.apply_branch_summary(plan, await _summary_by(summarize, plan), entry_id, details=details)

    async def outline(self) -> Outline:
        """Returns the shape of the tree as it is now."""
        return Outline(await self._queue.call(self._sync.outline), self._queue)

    async def records(self, start: int = 0) -> AsyncGenerator[tuple[int, Entry | Mark], None]:
        """Yields every readable entry and mark with its row number, from row `start` on.

        Does not refresh: records appended by others since the last call on this session are not included.
        """
        batches = batched(self._sync.records(start))
        while batch := await self._queue.call(partial(next, batches, None)):
            for each in batch:
                yield each

    def follow(self, *, poll_s: float = 0.2, timeout_s: float | None = None) -> AsyncGenerator[Entry | Mark, None]:
        """Yields entries and marks appended from now on, as the sync `follow` does. Occupies no thread while it waits.

        Ends as the sync one does, and when the task is cancelled. To leave the loop earlier, close the generator
        (`contextlib.aclosing`). Errors are raised with the first item.
        """
        return self._follow(self._queue.submit(partial(looks, self._sync, poll_s, timeout_s)))

    async def _follow(self, started: Future[Any]) -> AsyncGenerator[Entry | Mark, None]:
        looks = await asyncio.wrap_future(started)
        while (look := await self._queue.call(partial(next, looks, None))) is not None:
            news, wait_s = look
            for each in news:
                yield each
            if not news:
                await asyncio.sleep(wait_s)

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


def _store(store: SyncStore) -> SessionStore:
    return SessionStore(store)


class SessionStore(_AsyncFacade[SyncStore]):
    """Many sessions for asyncio: the calls of `convtree.SessionStore`, awaited. Opened by `open_store`."""

    def __init__(self, store: SyncStore) -> None:
        super().__init__(store, _STORE_THREADS)

    create = _opening_method(SyncStore.create, _session)
    open = _opening_method(SyncStore.open, _session)
    open_or_create = _opening_method(SyncStore.open_or_create, _session)
    fork = _opening_method(SyncStore.fork, _session)
    copy = _opening_method(SyncStore.copy, _session)
    scoped = _opening_method(SyncStore.scoped, _store)
    resume = _opening_method(SyncStore.resume, _session_or_none)
    rename = _awaited(SyncStore.rename)
    archive = _awaited(SyncStore.archive)
    unarchive = _awaited(SyncStore.unarchive)
    hold = _awaited(SyncStore.hold)
    release = _awaited(SyncStore.release)
    set_directories = _awaited(SyncStore.set_directories)
    move_directory = _awaited(SyncStore.move_directory)
    delete = _awaited(SyncStore.delete)
    erase = _awaited(SyncStore.erase)

    @property
    def owner(self) -> str | None:
        """The owner that this handle is scoped to; None for a whole store."""
        return self._sync.owner

    list = _awaited(SyncStore.list)
    info = _awaited(SyncStore.info)
    children = _awaited(SyncStore.children)
    sessions_with = _awaited(SyncStore.sessions_with)
    latest = _awaited(SyncStore.latest)
    resumable = _awaited(SyncStore.resumable)
    prune = _awaited(SyncStore.prune)
    search = _awaited(SyncStore.search)
    usage = _awaited(SyncStore.usage)
    ledger = _awaited(SyncStore.ledger)

    async def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> builtins.list[Copied]:
        """Copies sessions into another store, as the sync `copy_to` does. Calls `progress` in a thread."""
        return await self._queue.call(lambda: self._sync.copy_to(target._sync, ids, progress=progress))

    async def findings(self) -> builtins.list[StoreFinding]:
        """Returns the files in the store that are not complete sessions. A method here, because it reads the store."""
        return await self._queue.call(lambda: self._sync.findings)

    @property
    def location(self) -> str:
        """Where the store is; a URL without its password."""
        return self._sync.location

    @property
    def redact(self) -> Redact | None:
        """The function that removes secrets from everything that is written; None if there is none."""
        return self._sync.redact


open_store = _opening_function(open_sync_store, SessionStore)
