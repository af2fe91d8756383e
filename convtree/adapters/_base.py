"""What the adapters share: stores that a process opens once, and names for sessions.

An adapter uses convtree's public calls only. Its methods are functions of sync calls, run in one hop to a thread:
a hop costs more than most calls, so a method makes one. A store in memory never blocks and needs none.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from convtree import (
    Session,
    SessionNotFound,
    SessionStore,
    is_session_id,
    open_store,
    session_key,
)
from convtree.aio import call_in_thread

T = TypeVar("T")

StoreLike = str | os.PathLike[str] | SessionStore
"""The folder or the URL of a store, or a store that the caller has opened and will close."""


class _Opened:
    """The stores that adapters have opened in this process, each once, with the number of its users."""

    def __init__(self) -> None:
        self._lock = Lock()  # protects the rest
        self._stores: dict[str, tuple[SessionStore, int]] = {}

    def acquire(self, url: str) -> SessionStore:
        with self._lock:
            store, users = self._stores.get(url, (None, 0))
            if store is None:
                store = open_store(url, create=True)
            self._stores[url] = store, users + 1
            return store

    def release(self, url: str) -> None:
        with self._lock:
            store, users = self._stores.pop(url)
            if users > 1:
                self._stores[url] = store, users - 1
                return
        store.close()


_opened = _Opened()


class Engine:
    """A store and its calls, for one adapter object.

    Args:
        store: a folder or a URL, which is opened, shared with the other adapters of the process, and closed when the
            last of them is closed or collected; "memory:" is not shared. Or a store, which stays the caller's.
    """

    def __init__(self, store: StoreLike) -> None:
        if isinstance(store, SessionStore):
            self.store = store
            self._release: Callable[[], object] | None = None
        elif (url := os.fspath(store)) == "memory:":
            self.store = open_store(url)
            self._release = weakref.finalize(self, self.store.close)
        else:
            if "://" not in url:
                url = str(Path(url).expanduser().absolute())
            self.store = _opened.acquire(url)
            self._release = weakref.finalize(self, partial(_opened.release, url))
        self._blocks = not self.store.location.startswith("memory")

    def session(self, *name: str, **described: Any) -> AbstractContextManager[Session]:
        """Gives the shared session of a name, refreshed. It begins with its first record.

        A single text that can be the id of a session is its id; every other name is its key.

        Args:
            name: texts, at least one.
            described: what `SessionStore.session` takes to describe a session that begins.
        """
        return self.store.session(**address(*name), create=True, **described)

    def delete(self, *name: str) -> None:
        """Erases the session of a name, if there is one.

        Raises:
            SessionHeld: it is on hold.
        """
        named = address(*name)
        with suppress(SessionNotFound):
            self.store.delete(named.get("id") or session_key(*name))

    async def read(self, work: Callable[[], T]) -> T:
        """Runs a function of sync calls that change nothing."""
        return await call_in_thread(work) if self._blocks else work()

    async def write(self, work: Callable[[], T]) -> T:
        """Runs a function of sync calls. A caller that is cancelled waits for its outcome, and is cancelled then."""
        return await call_in_thread(work, settled=True) if self._blocks else work()

    def close(self) -> None:
        """Closes the store if this object has opened it and nobody else uses it; twice is the same as once."""
        if self._release is not None:
            self._release()


def address(*name: str) -> dict[str, Any]:
    """Returns the arguments of a store's calls that name a session: `id` or `key`. No two names share a session."""
    if len(name) == 1 and is_session_id(name[0]):
        return {"id": name[0]}
    return {"key": name if len(name) > 1 else name[0]}
