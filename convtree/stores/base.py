"""The seam below a store: where the logs are, and where the tables are that list them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from convtree._catalogue.tables import Database
from convtree._engine.log import Log, Mode

Progress = Callable[[int, int], None]  # (done, of how many)


class StoreFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something in a store that is no whole session: which (`id`, or `place` where it has none), and what is wrong."""

    code: str
    place: str
    id: str | None = None


class CatalogueReset(Exception):
    """The tables were damaged and have been begun anew: ask again. Never reaches users."""


class StoreBackend(Protocol):
    """Keeps logs by session id. Session ids have been checked against the allow-list; used by one thread at a time."""

    @property
    def location(self) -> str:
        """Where the store is, for messages; never with a password."""
        ...

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log; the modes are those of `Session.open`.

        Raises:
            SessionNotFound, SessionExists, NotALog: as the mode says.
        """
        ...

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session, durably: all lines or, when something is raised, none.

        Raises:
            SessionExists: there is one with this id.
        """
        ...

    def delete(self, id: str) -> None:
        """Removes a session and what lies beside it.

        Raises:
            SessionNotFound: there is none.
            SessionLocked: somebody is writing to it.
        """
        ...

    def catalogue(self, progress: Progress | None = None) -> Database:
        """Returns the tables, brought up to date with the logs."""
        ...

    def findings(self) -> list[StoreFinding]:
        """Returns what is no whole session, as the catalogue last saw it."""
        ...

    def close(self) -> None:
        """Gives back what the store holds; sessions that are open stay open."""
        ...
