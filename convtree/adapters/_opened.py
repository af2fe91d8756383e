"""The stores that adapters have opened in this process: each once, closed with the last of its users."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from threading import Lock

from convtree import SessionStore, open_store

_FILE = "sqlite:///"


class OpenedStores:
    """The stores that adapters have opened in this process, each once, with the number of its users.

    An object may be collected at any moment, also while its thread is in here. So `release` never waits for the lock:
    the thread that holds it closes what was released meanwhile.
    """

    def __init__(self) -> None:
        self._released: deque[str] = deque()
        self._lock = Lock()  # protects the rest
        self._stores: dict[str, tuple[SessionStore, int]] = {}

    def acquire(self, url: str) -> SessionStore:
        with self._lock:
            store, users = self._stores.get(url, (None, 0))
            if store is None:
                store = open_store(url, create=True)
            self._stores[url] = store, users + 1
        self._close_unused()
        return store

    def release(self, url: str) -> None:
        self._released.append(url)
        self._close_unused()

    def _close_unused(self) -> None:
        while self._released and self._lock.acquire(blocking=False):
            unused = []
            try:
                while self._released:
                    url = self._released.popleft()
                    store, users = self._stores.pop(url)
                    if users > 1:
                        self._stores[url] = store, users - 1
                    else:
                        unused.append(store)
            finally:
                self._lock.release()
            for store in unused:
                store.close()


opened = OpenedStores()


def absolute(url: str) -> str:
    """Returns a path, or the URL of a file, as one that means the same after a change of the working directory."""
    if url.startswith(_FILE):
        path = url.removeprefix(_FILE)
        return url if not path or path.startswith((":memory:", "?")) else _FILE + os.path.abspath(path)
    if "://" in url or url.startswith("file:"):
        return url
    return str(Path(url).expanduser().absolute())
