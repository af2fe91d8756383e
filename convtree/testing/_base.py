"""Shared by the suite: fixtures, a clock that tests move, and helpers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from convtree.stores._session_store import SessionStore
from convtree.stores.base import Deletion, LogStamp, StoreBackend

ODD = "naïve \0 \x1b[31m \u202e ' \" \\ % _ ; -- 🦊 \U0010ffff"


class Clock:
    """A clock that stands still until a test moves it. Pass it to the store as `clock`."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def pass_by(self, **time: float) -> None:
        """Moves the clock; arguments as for `timedelta`. Negative numbers move it back."""
        self.now += timedelta(**time)

    def text(self) -> str:
        """Returns the time in the form that lists use."""
        return self.now.isoformat(timespec="milliseconds")[:-6] + "Z"

    def __call__(self) -> int:
        """Returns the time in nanoseconds since 1970."""
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def user(text: str) -> dict[str, Any]:
    """Returns a user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """Returns an assistant message."""
    return {"role": "assistant", "content": text}


def ids(listed: Any) -> list[str]:
    """Returns the ids of listed sessions."""
    return [info.id for info in listed]


def begin(store: SessionStore, id: str, *texts: str, **header: Any) -> str:
    """Creates a session with a user message for each text, and returns its id."""
    with store.create(id=id, **header) as session:
        for text in texts or ("hello",):
            session.append(user(text))
    return id


def asked(store: SessionStore, text: str, **arguments: Any) -> list[tuple[str, str]]:
    """Returns the (session id, entry id) pairs that a search finds, sorted."""
    return sorted((hit.session_id, hit.entry_id) for hit in store.search(text, **arguments))


class _RacingBackend:
    """Delegates to a store's backend. Calls `act` just before its first `delete`."""

    def __init__(self, backend: StoreBackend, act: Callable[[], object]) -> None:
        self._backend = backend
        self._act: Callable[[], object] | None = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._backend.delete(ids, expected)


def racing(store: SessionStore, clock: Clock, act: Callable[[], object]) -> SessionStore:
    """Returns a store on the same backend that calls `act` between listing and deleting."""
    backend: Any = _RacingBackend(store._backend, act)
    return SessionStore(backend, clock=clock)


def append_to(store: SessionStore, id: str, text: str) -> None:
    """Appends a user message to a session."""
    with store.open(id) as session:
        session.append(user(text))


class StoreTests(ABC):
    """Fixtures for tests over `open_store(place, clock)`.

    Attributes:
        shared: False if a store cannot be opened twice at the same time.
        lasting: False if sessions are gone when the store is closed.
    """

    shared = True
    lasting = True

    @abstractmethod
    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        """Opens the store at a place: a directory that is empty at first. The same place is the same store.

        The store must use `clock` as its clock.
        """

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock of all stores in a test."""
        return Clock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[SessionStore]:
        """A new store."""
        with self.open_store(tmp_path, clock) as opened:
            yield opened

    @pytest.fixture
    def other(self, tmp_path: Path, store: SessionStore, clock: Clock) -> Iterator[SessionStore]:  # noqa: ARG002  # opened before
        """Another handle on the same store."""
        if not self.shared:
            pytest.skip("the store cannot be opened twice at the same time")
        with self.open_store(tmp_path, clock) as opened:
            yield opened
