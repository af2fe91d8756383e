"""Shared sessions: one open session for everybody in the process who works with it.

A server opens a session for each request, which costs milliseconds, and looks for what other processes wrote, which
costs microseconds. So open sessions are kept, and refreshed before they are handed out. Users are counted: a session
that somebody uses is never closed to make room. Of those that nobody uses, the least recently used are closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from convtree._logs.directories import Directory
from convtree._model.arguments import checked_methods
from convtree._model.entries import ParentSession
from convtree._model.errors import ConvtreeError, SessionClosed, SessionNotFound
from convtree._model.interrupts import Unlocking
from convtree._model.resources import ForkAware, watch_forks
from convtree._model.sources import Clock
from convtree._session.session import Session
from convtree.stores._arguments import Key, described, id_and_key
from convtree.stores._reader import StoreReader
from convtree.stores.base import StoreBackend

T = TypeVar("T")
_Key = tuple[str | None, str]  # owner and id

Begin = Mapping[str, Any] | None
"""The arguments of `SessionStore.open` that describe a session which begins; None: a session has to exist."""

Open = Callable[[str | None, str, Begin], Session]
"""Opens a session through the handle of an owner, by its id; begins it if there is none and that is wanted."""


class Shared:
    """An open session and the number of its users. All but `facade` is the pool's business."""

    def __init__(self, owner: str | None, id: str) -> None:
        self.owner = owner  # of the handles that share it; None: the whole store
        self.id = id
        self.opening = RLock()  # held while the session is opened or refreshed; taken before the pool's lock
        self.session: Session | None = None
        self.users = 0
        self.is_retired = False  # nobody gets it any more; closed when its last user is done
        self._facade: Any = None

    def facade(self, make: Callable[[Session], T]) -> T:
        """Returns what `make` made of the session when it was called first: one facade for all."""
        with Unlocking(self.opening), self.opening:
            assert self.session is not None
            if self._facade is None:
                self._facade = make(self.session)
            found: T = self._facade
            return found

    def close(self) -> None:
        """Closes the session. What was appended is stored already, so an error of the storage loses nothing."""
        if self.session is not None:
            with suppress(OSError, ConvtreeError):
                self.session.close()


class SessionPool(ForkAware):
    """The shared sessions of a store and of the handles on parts of it. Thread-safe.

    Each owner's handles have sessions of their own: these stop when somebody else gets the id of one.

    Args:
        open: opens a session.
        location: the store, for error messages.
        keep_open: how many sessions that nobody uses stay open.
    """

    def __init__(self, open: Open, location: str, keep_open: int) -> None:
        self._open = open
        self._location = location
        self._keep_open = keep_open
        self._closed = False
        self._live: set[Shared] = set()  # those of `_by_id`, and those retired that somebody uses
        self._after_fork()
        watch_forks(self)

    def _after_fork(self) -> None:
        """Starts empty: in a forked child, the open sessions belong to the parent."""
        self._lock = RLock()  # protects what is below and all `users`; nothing is opened or closed under it
        for shared in self._live:
            shared.is_retired = True
        self._by_id: dict[_Key, Shared] = {}
        self._idle: OrderedDict[_Key, Shared] = OrderedDict()  # of `_by_id`, what nobody uses, last used last
        self._live = set()

    def acquire(self, owner: str | None, id: str, begin: Begin, refresh: bool = True) -> Shared:
        """Returns the shared session with this id, refreshed unless that is not wanted. Its user calls `release`.

        Raises:
            SessionNotFound: there is no such session, and `begin` is None.
            SessionClosed: the pool is closed.
            As `SessionStore.open` and `Session.refresh`.
        """
        while True:
            shared = self._claim(owner, id)
            try:
                with Unlocking(shared.opening), shared.opening:
                    if self._is_ready(shared, begin, refresh):
                        return shared
            except BaseException:
                self.release(shared)
                raise
            shared.is_retired = True
            self.release(shared)

    def release(self, shared: Shared) -> None:
        """Says that one user is done. Closes what is not needed any more."""
        with Unlocking(self._lock), self._lock:
            shared.users -= 1
            done = self._unneeded(shared)
        for each in done:
            each.close()

    def retire(self, ids: Iterable[str]) -> None:
        """Has these sessions opened anew for their next user. Closes those that nobody uses."""
        wanted = set(ids)
        with Unlocking(self._lock), self._lock:
            found = [shared for shared in self._by_id.values() if shared.id in wanted]
            for shared in found:
                shared.is_retired = True
            done = [each for shared in found for each in self._unneeded(shared)]
        for each in done:
            each.close()

    def close(self) -> None:
        """Closes every session, also those in use."""
        with Unlocking(self._lock), self._lock:
            self._closed = True
            live, self._live = self._live, set()
            self._by_id.clear()
            self._idle.clear()
        for each in live:
            each.close()

    def _claim(self, owner: str | None, id: str) -> Shared:
        """Counts one more user of a session, which need not be open yet."""
        with Unlocking(self._lock), self._lock:
            self._check_open()
            shared = self._by_id.get((owner, id))
            if shared is None or shared.is_retired:
                shared = self._by_id[owner, id] = Shared(owner, id)
                self._live.add(shared)
            self._idle.pop((owner, id), None)
            shared.users += 1
            return shared

    def _is_ready(self, shared: Shared, begin: Begin, refresh: bool) -> bool:
        """Opens a session, or refreshes it; returns False if it has to be opened anew. The caller has its lock."""
        session = shared.session
        if session is None:
            session = shared.session = self._open(shared.owner, shared.id, begin)
            with Unlocking(self._lock), self._lock:
                is_closed = self._closed
            if is_closed:  # meanwhile, and `close` could not know of it
                shared.close()
                self._check_open()
        elif shared.is_retired or session._client.closed or session._client.journal.log.failed:
            return False
        elif refresh:
            try:
                session.refresh()
            except SessionNotFound:
                return False  # deleted, but it may have been begun again
        if begin is None and not session._client.journal.index.state.lines:
            raise SessionNotFound(f"{self._location}: there is no session {shared.id!r}")
        return True

    def _unneeded(self, shared: Shared) -> list[Shared]:
        """Returns what is to be closed after the last user of a session is done. The caller has the lock."""
        if shared.users:
            return []
        key = shared.owner, shared.id
        if shared.is_retired or self._closed or shared.session is None or shared.session._client.closed:
            if self._by_id.get(key) is shared:
                del self._by_id[key]
                self._idle.pop(key, None)
            self._live.discard(shared)
            return [shared]
        self._idle[key] = shared
        done = []
        while len(self._idle) > self._keep_open:
            oldest_key, oldest = self._idle.popitem(last=False)
            del self._by_id[oldest_key]
            self._live.discard(oldest)
            done.append(oldest)
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(f"{self._location}: this store is closed; open it again")


class Entered(Generic[T]):
    """What the `with` blocks of one context manager hold. Several threads or tasks may be in such a block at once.

    A block gives back what its own thread or task entered last: that of another may be a session that was replaced
    since. A block that ends in another thread or task than it began in gives back what was entered last.
    """

    def __init__(self) -> None:
        self._held: list[tuple[object, T]] = []
        self._lock = RLock()

    def add(self, user: object, held: T) -> None:
        """Keeps what this thread or task has entered."""
        self._held.append((user, held))

    def take(self, user: object) -> T:
        """Returns what this thread or task has to give back."""
        with Unlocking(self._lock), self._lock:
            own = (at for at in reversed(range(len(self._held))) if self._held[at][0] == user)
            return self._held.pop(next(own, -1))[1]


class SharedSession(AbstractContextManager[Session]):
    """What `SessionStore.session` returns: `with` gives the session. It may be entered several times."""

    def __init__(self, store: SharingStore, id: str, begin: Begin, refresh: bool) -> None:
        self._store, self._id, self._begin, self._refresh = store, id, begin, refresh
        self._entered: Entered[Shared] = Entered()

    def acquire(self) -> Shared:
        """Opens or refreshes it; the caller releases it in the pool."""
        return self._store._acquire(self._id, self._begin, self._refresh)

    def __enter__(self) -> Session:
        shared = self.acquire()
        self._entered.add(get_ident(), shared)
        assert shared.session is not None
        return shared.session

    def __exit__(self, *exception: object) -> None:
        self._store._pool.release(self._entered.take(get_ident()))

    if not TYPE_CHECKING:  # pragma: no branch  # a type checker must go on rejecting unknown attributes

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"{name!r} of a shared session: use `with store.session(…) as session`")


@checked_methods
class SharingStore(StoreReader):
    """The half of a store that hands out shared sessions."""

    def __init__(
        self, backend: StoreBackend, clock: Clock, pool: SessionPool, whole: SharingStore | None, owner: str | None
    ) -> None:
        super().__init__(backend, clock, whole)
        self._pool = pool
        self._owner = owner

    def session(
        self,
        id: str | None = None,
        *,
        key: Key | None = None,
        create: bool = False,
        refresh: bool = True,
        name: str | None = None,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
    ) -> AbstractContextManager[Session]:
        """Gives a session that everybody in this process shares, for servers: `with store.session(id) as session`.

        Every call for a session while it is open gives the same object, refreshed: with what other processes wrote,
        and at the log's leaf. So users share one leaf, and none of them is stale because of another. Say where a
        message belongs: with `reply_to` or `parent_id`.

        The session stays open when the block ends, so that the next one costs no more than a refresh. At most
        `keep_open` sessions that nobody uses stay open; a session in use is never closed to make room. Do not close it
        yourself. With `create`, a session that does not exist begins with its first record.

        Args:
            id: its id.
            key: an id of your own instead, as for `create`.
            create: begins a session with this id if there is none.
            refresh: False gives a session that is open already as it is, without a look at the log. That is for a block
                that only appends: an append reads what others wrote, under the lock. What it was planned by may be old,
                so say what it expects (`expect_leaf`, `expect_revision`).
            name: describes the session if it begins, as for `create`; needs `create`. So do the arguments after it.
                They do not change a session that exists.
            cwd: see `name`.
            git_root: see `name`.
            owner: see `name`.
            metadata: see `name`.
            parent_session: see `name`.

        Raises:
            TypeError: there is neither an id nor a key, or both; or a description without `create`.
            InvalidMessage: the id is not valid; or, when the block begins, a value cannot be stored.
            SessionNotFound: when the block begins: there is no such session, or it was deleted. Without `refresh`, a
                session that was deleted meanwhile may raise it only when it is written to.
            SessionClosed: when the block begins: the store is closed.
        """
        found, _ = id_and_key(id, key)
        if found is None:
            raise TypeError("session takes the id of a session, or key=")
        given = described(
            create,
            owner=owner,
            name=name,
            cwd=cwd,
            git_root=git_root,
            metadata=metadata,
            parent_session=parent_session,
        )
        return SharedSession(self, found, {**given, "id": id, "key": key} if create else None, refresh)

    def _acquire(self, id: str, begin: Begin, refresh: bool) -> Shared:
        self._check_open()
        return self._pool.acquire(self._owner, id, begin, refresh)

    def close(self) -> None:
        """Closes the store and its shared sessions. Other sessions that are open stay open.

        A handle on a part of a store leaves shared sessions to the store.
        """
        if self._whole is None:
            self._pool.close()
        super().close()
