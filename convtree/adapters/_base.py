"""What the adapters share: stores that a process opens once, and names for sessions.

An adapter uses convtree's public calls only. Its methods are functions of sync calls, run in one hop to a thread:
a hop costs more than most calls, so a method makes one. A store in memory never blocks and needs none.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from threading import Lock, local
from typing import Any, Generic, Self, TypeVar

from convtree import (
    Entry,
    MessageEntry,
    SeenBy,
    Session,
    SessionNotFound,
    SessionStore,
    is_session_id,
    open_store,
    session_key,
)
from convtree.adapters._opened import absolute, opened
from convtree.aio import call_in_thread

T = TypeVar("T")

_AT_ONCE = 500  # entries: those above a compaction are not needed

StoreLike = str | os.PathLike[str] | SessionStore
"""The folder or the URL of a store, or a store that the caller has opened and will close."""


class _Known(local):
    """The sessions that a thread has used last, each with how it is described: to name one takes as long as an append.

    Of each thread, because what `SessionStore.session` gives keeps its uses in a stack.
    """

    def __init__(self) -> None:
        self.sessions: Recent[tuple[dict[str, Any], AbstractContextManager[Session]]] = Recent(100)


class Engine:
    """A store and its calls, for one adapter object.

    Args:
        store: a folder or a URL, which is opened, shared with the other adapters of the process, and closed when the
            last of them is closed or collected; "memory:" is not shared. Or a store, which stays the caller's.
        user: what is closed with the engine, for error messages.

    Every call raises RuntimeError after `close`.
    """

    def __init__(self, store: StoreLike, user: str = "the adapter") -> None:
        if isinstance(store, SessionStore):
            self._store = store
            self._release: Callable[[], object] | None = None
        elif (url := os.fspath(store)) == "memory:":
            self._store = open_store(url)
            self._release = weakref.finalize(self, self._store.close)
        else:
            url = absolute(url)
            self._store = opened.acquire(url)
            self._release = weakref.finalize(self, partial(opened.release, url))
        self._known = _Known()
        self._user = user
        self._is_closed = False
        self._blocks = not self._store.location.startswith("memory")

    @property
    def store(self) -> SessionStore:
        """The store."""
        self.check_open()
        return self._store

    def session(self, *name: str, create: bool = True, **described: Any) -> AbstractContextManager[Session]:
        """Gives the shared session of a name, refreshed.

        A single text that can be the id of a session is its id; every other name is its key.

        Args:
            name: texts, at least one.
            create: a session that does not exist begins with its first record. Otherwise SessionNotFound, when the
                block begins. The first to open a session describes it, so a call that only reads begins none.
            described: what `SessionStore.session` takes to describe a session that begins.
        """
        return self.store.session(**address(*name), create=create, **described)

    def known_session(
        self, name: tuple[str, ...], *, refresh: bool = True, **described: Any
    ) -> AbstractContextManager[Session]:
        """Gives the same as `session`, for calls of this adapter that end in the thread that begins them."""
        self.check_open()
        sessions = self._known.sessions
        found = sessions.get((refresh, name))
        if found is None or found[0] != described:
            found = described, self.session(*name, refresh=refresh, **described)
            sessions.put((refresh, name), found)
        return found[1]

    def append(self, *name: str, work: Callable[[Session], T], **described: Any) -> T:
        """Calls a function that appends to the session of a name, and expects the leaf or revision that it has seen.

        The session is given as this process knows it: an append looks at the log anyway, and does so once.
        """
        with suppress(SessionNotFound), self.known_session(name, refresh=False, **described) as log:
            return work(log)
        with self.session(*name, **described) as log:  # it was deleted, and begins anew
            return work(log)

    def delete(self, *name: str) -> None:
        """Erases the session of a name, if there is one.

        Raises:
            SessionHeld: it is on hold.
        """
        with suppress(SessionNotFound):
            self.store.delete(session_id(*name))

    async def read(self, work: Callable[[], T]) -> T:
        """Runs a function of sync calls that change nothing."""
        self.check_open()
        return await call_in_thread(work) if self._blocks else work()

    async def write(self, work: Callable[[], T]) -> T:
        """Runs a function of sync calls. A caller that is cancelled waits for its outcome, and is cancelled then."""
        self.check_open()
        return await call_in_thread(work, settled=True) if self._blocks else work()

    def close(self) -> None:
        """Closes the store if this object has opened it and nobody else uses it; twice is the same as once."""
        self._is_closed = True
        if self._release is not None:
            self._release()

    def check_open(self) -> None:
        """Raises RuntimeError if it is closed: another user may still have its store open."""
        if self._is_closed:
            raise RuntimeError(f"{self._user} is closed")


class HasEngine:
    """A base for what users make of a store and close: by `close`, or as `with` and `async with`."""

    _engine: Engine

    def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()


class Recent(Generic[T]):
    """The values that were put last, at most `size`. Thread-safe."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._lock = Lock()  # protects the values
        self._values: OrderedDict[Hashable, T] = OrderedDict()  # the last used last

    def get(self, key: Hashable) -> T | None:
        """Returns the value of a key; None if there is none, or no longer."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Keeps the value of a key."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)


class Shared(Generic[T]):
    """A value for each key, made when it is asked for and kept while somebody holds it. Thread-safe."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()  # protects the values
        self._values: weakref.WeakValueDictionary[Hashable, T] = weakref.WeakValueDictionary()

    def get(self, key: Hashable) -> T:
        """Returns the value of a key: the same one to all that hold it at the same time."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                value = self._values[key] = self._make()
            return value


def address(*name: str) -> dict[str, Any]:
    """Returns the arguments of a store's calls that name a session: `id` or `key`. No two names share a session."""
    if len(name) == 1 and is_session_id(name[0]):
        return {"id": name[0]}
    return {"key": name if len(name) > 1 else name[0]}


def check_dicts(name: str, values: Sequence[object]) -> None:
    """Raises TypeError if one of the values of an argument is not a dict, with its place."""
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise TypeError(f"{name}[{number}]: expected a dict, not {type(value).__name__}")


def entries_up(
    log: Session, at: str | None, first: int | None = None, seen_by: SeenBy | None = "model"
) -> Iterator[Entry]:
    """Yields entries as `Session.walk_up` does: those that a model sees, unless another `seen_by` is given.

    About `first` of them are read at once: what a caller is going to take is not read in many small steps.
    """
    if first is None:
        yield from log.walk_up(at, seen_by=seen_by)
    elif first > 0:
        first = min(first, _AT_ONCE)
        entries = log.path(at, last=first, seen_by=seen_by)
        yield from reversed(entries)
        if len(entries) == first:
            yield from log.walk_up(entries[0].parent_id, seen_by=seen_by)


def is_hidden(log: Session, entry: MessageEntry) -> bool:
    """Returns whether a message was hidden from models after it was appended: a framework does not get it either."""
    now = log.visible_to(entry)
    return now != entry.visible_to and now not in ("all", "model")


def session_id(*name: str) -> str:
    """Returns the id of the session that a name stands for."""
    named = address(*name)
    return named["id"] if "id" in named else session_key(*name)
