"""The same for async callers: `Session`, `SessionStore` and `open_store`, with the names of the sync ones.

>>> import asyncio
>>> from convtree import aio
>>> async def main() -> None:
...     async with aio.Session.memory() as session:  # or: session = await aio.Session.memory()
...         await session.append({"role": "user", "content": "Where shall we go?"})
...         context = await session.build_context()
...         print(context.messages[-1]["content"])
>>> asyncio.run(main())
Where shall we go?

Whatever may touch a disk or a socket is awaited; properties are plain. It is the sync classes that do the work, in the
threads of one pool, and their docstrings that say what a call does. What asyncio adds:

* The calls on one session are carried out one at a time, in the order in which they begin: that of the arguments of
  `gather`, say. Sessions run side by side, and so do up to four calls on one store: await what the next relies on.
* A call that is cancelled before its turn is not carried out. After that it goes on unseen, and the session's next
  call waits for it: a cancelled append may have been stored, and is safe to repeat with its `id`. `close` is carried
  out in any case, and what a cancelled call has opened is closed.
* What is passed to a call is read when its turn comes, in a thread: so are iterables and functions (`render`).
* The program's end waits for calls that have begun. A session may be used by several event loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from functools import partial, wraps
from itertools import islice
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from convtree._engine.outline import LinearSegment
from convtree._engine.outline import Outline as SyncOutline
from convtree._engine.redact import Redact
from convtree._engine.tokens import Counter
from convtree._engine.tree import Tree
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, Finding, Header, Mark
from convtree._model.resources import Uncopyable
from convtree._session import landing
from convtree._session.compaction import BranchPlan, CompactionPlan
from convtree._session.follow import looks
from convtree._session.session import Session as SyncSession
from convtree.aio._executor import SerialQueue, in_background
from convtree.stores._session_store import CopiedList, StoreFindings
from convtree.stores._session_store import SessionStore as SyncStore
from convtree.stores._session_store import open_store as open_sync_store
from convtree.stores.base import Progress

P = ParamSpec("P")
T = TypeVar("T")

_STORE_THREADS = 4  # of these: a store that is slow leaves the rest to the sessions
_BATCH = 500  # records that are fetched at once


class _Closes(Protocol):
    def close(self) -> None: ...


class _ClosesAwaited(Protocol):
    async def close(self) -> None: ...


S_co = TypeVar("S_co", bound=_Closes, covariant=True)
R = TypeVar("R", bound=_ClosesAwaited | None)


class AwaitableContext(Coroutine[Any, Any, R]):
    """What is being opened: `await` gives it, `async with` gives it and closes it. A coroutine: use it once."""

    def __init__(self, opening: Coroutine[Any, Any, R]) -> None:
        self._opening = opening
        self._opened: R | None = None

    def __await__(self) -> Generator[Any, Any, R]:
        return self._opening.__await__()

    def send(self, value: Any) -> Any:
        """Goes on, as a task does it."""
        return self._opening.send(value)

    def throw(self, *exception: Any) -> Any:
        """Goes on with an exception, as a task does it."""
        return self._opening.throw(*exception)

    def close(self) -> None:
        """Gives up what was not awaited."""
        self._opening.close()

    async def __aenter__(self) -> R:
        opened = await self._opening
        self._opened = opened
        return opened

    async def __aexit__(self, *exception: object) -> None:
        if self._opened is not None:
            await self._opened.close()


async def _open(line: SerialQueue, work: Callable[[], T], wrap: Callable[[T], R]) -> R:
    future = line.submit(work)
    try:
        return wrap(await asyncio.wrap_future(future))
    except asyncio.CancelledError:
        future.add_done_callback(_close_unclaimed)
        raise


def _close_unclaimed(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and (opened := future.result()) is not None:
        in_background(opened.close)


class _AsyncFacade(Uncopyable, Generic[S_co]):
    """A sync object, and the line of those who call it."""

    def __init__(self, sync: S_co, width: int) -> None:
        self._sync = sync
        self._line = SerialQueue(width)

    async def close(self) -> None:
        """Closes it behind the calls that have begun; twice is the same as once. Cancelling does not stop it."""
        await asyncio.shield(asyncio.wrap_future(self._line.submit(self._sync.close)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<aio of {self._sync!r}>"


def _awaited(
    method: Callable[Concatenate[S_co, P], T],
) -> Callable[Concatenate[_AsyncFacade[S_co], P], Coroutine[Any, Any, T]]:
    """Makes the method that awaits a sync one."""

    @wraps(method)
    async def call(self: _AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._line.call(partial(method, self._sync, *args, **kwargs))

    return call


def _opens(
    method: Callable[Concatenate[S_co, P], T], wrap: Callable[[T], R]
) -> Callable[Concatenate[_AsyncFacade[S_co], P], AwaitableContext[R]]:
    """Makes the method that opens what a sync one opens."""

    @wraps(method)
    def call(self: _AsyncFacade[S_co], /, *args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(self._line, partial(method, self._sync, *args, **kwargs), wrap))

    return call


def _opener(function: Callable[P, T], wrap: Callable[[T], R]) -> Callable[P, AwaitableContext[R]]:
    """Makes the function that opens what a sync one opens."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> AwaitableContext[R]:
        return AwaitableContext(_open(SerialQueue(), partial(function, *args, **kwargs), wrap))

    return call


async def _asked(summarize: Callable[[Any], Awaitable[str]], plan: CompactionPlan | BranchPlan) -> str:
    """Asks for a summary.

    Raises:
        TypeError: who writes it is no coroutine function.
    """
    asked = summarize(plan)
    if not isinstance(asked, Awaitable):
        raise TypeError(f"summarize has to be a coroutine function, it returned a {type(asked).__name__}")
    return await asked


def _session(session: SyncSession) -> Session:
    return Session(session)


def _session_or_none(session: SyncSession | None) -> Session | None:
    return None if session is None else Session(session)


class Session(_AsyncFacade[SyncSession]):
    """A conversation for async callers: `convtree.Session`, call by call.

    Made by `Session.open`, `Session.memory`, or of a sync session that nobody else closes; a context manager.
    """

    def __init__(self, session: SyncSession) -> None:
        super().__init__(session, 1)

    open = staticmethod(_opener(SyncSession.open, _session))
    memory = staticmethod(_opener(SyncSession.memory, _session))

    append = _awaited(SyncSession.append)
    append_many = _awaited(SyncSession.append_many)
    apply_compaction = _awaited(SyncSession.apply_compaction)
    apply_branch_summary = _awaited(SyncSession.apply_branch_summary)
    label = _awaited(SyncSession.label)
    rename = _awaited(SyncSession.rename)
    archive = _awaited(SyncSession.archive)
    update_metadata = _awaited(SyncSession.update_metadata)
    extend = _awaited(SyncSession.extend)
    fork = _opens(SyncSession.fork, _session)
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
        summarize: Callable[[CompactionPlan], Awaitable[str]],
        *,
        keep_tokens: int,
        count_tokens: Counter | None = None,
    ) -> CompactionEntry | None:
        """Lets a summary stand for all but about the last `keep_tokens`, as the sync `compact` does.

        `summarize` is a coroutine function; other calls on the session are carried out while it is awaited.

        Raises:
            TypeError: `summarize` is no coroutine function; nothing was written.
            As the sync `compact`.
        """
        plan = await self._line.call(partial(landing.plan_compaction, self._sync, keep_tokens, count_tokens))
        return (
            None
            if plan is None
            else await self.apply_compaction(plan, await _asked(summarize, plan), count_tokens=count_tokens)
        )

    async def branch(
        self,
        entry_id: str | None,
        *,
        summary: str | None = None,
        details: Any = None,
        summarize: Callable[[BranchPlan], Awaitable[str]] | None = None,
    ) -> BranchSummaryEntry | None:
        """Moves the leaf to an entry and records it, as the sync `branch` does; `summarize` is a coroutine function."""
        if summarize is None:
            work = partial(self._sync.branch, entry_id, summary=summary, details=details)
            return await self._line.call(work)
        if summary is not None:
            raise TypeError("branch takes a summary or someone who writes it, not both")
        plan = await self._line.call(partial(landing.plan_branch, self._sync, entry_id))
        if plan is None:
            return await self._line.call(partial(self._sync.branch, entry_id))
        return await self.apply_branch_summary(plan, await _asked(summarize, plan), entry_id, details=details)

    async def outline(self) -> Outline:
        """Returns the shape of the tree as it is now; its entries are awaited."""
        return Outline(await self._line.call(self._sync.outline), self._line)

    async def records(self, start: int = 0) -> AsyncGenerator[tuple[int, Entry | Mark], None]:
        """Yields every entry and mark with its number in the log, from a number on, without those that are damaged.

        What others wrote since the last call on this session is not among them.
        """
        records = self._sync.records(start)
        while batch := await self._line.call(lambda: list(islice(records, _BATCH))):
            for each in batch:
                yield each

    def follow(self, *, poll_s: float = 0.2, timeout_s: float | None = None) -> AsyncGenerator[Entry | Mark, None]:
        """Yields what is appended from now on, as the sync `follow` does; no thread waits with it.

        Ends as that does, and when the task is cancelled; who leaves the loop before closes it
        (`contextlib.aclosing`). What the call raises comes with the first item.
        """
        return self._follow(self._line.submit(partial(looks, self._sync, poll_s, timeout_s)))

    async def _follow(self, begun: Future[Any]) -> AsyncGenerator[Entry | Mark, None]:
        looks = await asyncio.wrap_future(begun)
        while (look := await self._line.call(partial(next, looks, None))) is not None:
            news, wait_s = look
            for each in news:
                yield each
            if not news:
                await asyncio.sleep(wait_s)

    @property
    def header(self) -> Header:
        """The session's header; of a session without a record, the one it will have."""
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
        """The entry that the next append continues; None before the first."""
        return self._sync.leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """The bookmarks: entry id to label."""
        return self._sync.labels

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, every change applied."""
        return self._sync.metadata

    @property
    def archived(self) -> bool:
        """Whether the session is archived."""
        return self._sync.archived

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the log, as far as it was read."""
        return self._sync.findings

    @property
    def location(self) -> str:
        """Where the log is: a path, or "memory"."""
        return self._sync.location


class Outline:
    """The shape of a session's tree at one moment, like the sync one; reading its entries is awaited."""

    def __init__(self, outline: SyncOutline, line: SerialQueue) -> None:
        self._sync, self._line = outline, line
        self.tree: Tree = outline.tree
        self.leaf: int = outline.leaf
        self.certain: bool = outline.certain
        self.runs: list[LinearSegment] = outline.runs

    def row(self, entry_id: str) -> int | None:
        """Returns the row of an entry."""
        return self._sync.row(entry_id)

    async def entries(self, rows: Sequence[int]) -> list[Entry | None]:
        """Reads entries; None stands for one whose line is damaged."""
        return await self._line.call(partial(self._sync.entries, rows))


class SessionStore(_AsyncFacade[SyncStore]):
    """Many sessions for async callers: `convtree.SessionStore`, call by call. Made by `open_store`."""

    def __init__(self, store: SyncStore) -> None:
        super().__init__(store, _STORE_THREADS)

    create = _opens(SyncStore.create, _session)
    open = _opens(SyncStore.open, _session)
    open_or_create = _opens(SyncStore.open_or_create, _session)
    fork = _opens(SyncStore.fork, _session)
    resume = _opens(SyncStore.resume, _session_or_none)
    rename = _awaited(SyncStore.rename)
    archive = _awaited(SyncStore.archive)
    unarchive = _awaited(SyncStore.unarchive)
    delete = _awaited(SyncStore.delete)

    list = _awaited(SyncStore.list)
    info = _awaited(SyncStore.info)
    children = _awaited(SyncStore.children)
    latest = _awaited(SyncStore.latest)
    resumable = _awaited(SyncStore.resumable)
    prune = _awaited(SyncStore.prune)
    search = _awaited(SyncStore.search)
    usage = _awaited(SyncStore.usage)

    async def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> CopiedList:
        """Copies sessions into another store, as the sync `copy_to` does; `progress` is called in a thread."""
        return await self._line.call(lambda: self._sync.copy_to(target._sync, ids, progress=progress))

    async def findings(self) -> StoreFindings:
        """Returns what in the store is no whole session; a method, because it looks."""
        return await self._line.call(lambda: self._sync.findings)

    @property
    def location(self) -> str:
        """Where the store is; a password in a URL is not shown."""
        return self._sync.location

    @property
    def redact(self) -> Redact | None:
        """What takes secrets out of whatever is written; None when nobody does."""
        return self._sync.redact


open_store = _opener(open_sync_store, SessionStore)
