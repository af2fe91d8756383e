"""What the tests of the suite share: a store to test, a clock that stands still, and a few words to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from convtree.stores._session_store import SessionStore

ODD = "naïve \0 \x1b[31m \u202e ' \" \\ % _ ; -- 🦊 \U0010ffff"


class Clock:
    """A clock that stands still until a test moves it; the `clock` of every store under test."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def pass_by(self, **time: float) -> None:
        """Lets time pass, or with negative numbers come back."""
        self.now += timedelta(**time)

    def text(self) -> str:
        """Returns the time as lists have it."""
        return self.now.isoformat(timespec="milliseconds")[:-6] + "Z"

    def __call__(self) -> int:
        """Returns the time in nanoseconds since 1970, as stores and sessions ask for it."""
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    """An assistant message."""
    return {"role": "assistant", "content": text}


def ids(listed: Any) -> list[str]:
    """The ids of listed sessions."""
    return [info.id for info in listed]


def begin(store: SessionStore, id: str, *texts: str, **header: Any) -> str:
    """Begins a session in which the user says something."""
    with store.create(id=id, **header) as session:
        for text in texts or ("hello",):
            session.append(user(text))
    return id


def asked(store: SessionStore, text: str, **arguments: Any) -> list[tuple[str, str]]:
    """What a search finds: session and entry, in no order."""
    return sorted((hit.session_id, hit.entry_id) for hit in store.search(text, **arguments))


class StoreTests(ABC):
    """Tests over `self.open_store(place, clock)`: a handle on the one store of that place.

    `shared` is False where a place has one handle only, `lasting` where a store does not outlive its handle.
    """

    shared = True
    lasting = True

    @abstractmethod
    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        """Opens a store, the same for the same place; the place is an empty directory of its own.

        The store asks `clock` for the time.
        """

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock of every store in a test."""
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
            pytest.skip("a store of one handle")
        with self.open_store(tmp_path, clock) as opened:
            yield opened
