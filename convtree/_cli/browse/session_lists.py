"""Where a list of sessions comes from: a store, or files of other tools. Calls may take long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from convtree._catalogue.types import SessionInfo
from convtree._cli.browse.source import LogFile, NotPossible, Source, Stored
from convtree.exchange import ForeignSession, list_foreign
from convtree.stores._results import Hit, Page
from convtree.stores._session_store import SessionStore

_HITS = 200  # messages that a search returns
_AT_ONCE = 20  # sessions of other tools that are read at once: each is read as a whole


class SessionList(Protocol):
    """Some sessions that can be listed and opened."""

    @property
    def location(self) -> str:
        """Where they are, for people."""
        ...

    @property
    def may_change(self) -> bool:
        """Whether what is done with a session here changes the list."""
        ...

    def page(self, limit: int, cursor: str | None) -> Page:
        """Returns at most so many of them, from the cursor of the page before on."""
        ...

    def search(self, text: str) -> list[Hit]:
        """Returns the messages that contain all words of a text."""
        ...

    def source(self, id: str) -> Source:
        """Returns where one of them can be opened."""
        ...


class OfStore(NamedTuple):
    """The sessions of a store, most recently active first."""

    store: SessionStore
    allows_gaps: bool = False

    @property
    def location(self) -> str:
        """Where the store is."""
        return self.store.location

    @property
    def may_change(self) -> bool:
        """True: a fork is a new session."""
        return True

    def page(self, limit: int, cursor: str | None) -> Page:
        """Returns some sessions."""
        return self.store.list(limit=limit, cursor=cursor)

    def search(self, text: str) -> list[Hit]:
        """Returns messages of all sessions, best first."""
        return self.store.search(text, limit=_HITS)

    def source(self, id: str) -> Source:
        """Returns a session of the store."""
        return Stored(self.store, id, self.allows_gaps)


class OfOtherTools:
    """The sessions in a file or folder of other tools, in the order in which they are found there.

    They are read one after the other, as far as they are listed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: Iterator[ForeignSession] = iter(())

    @property
    def location(self) -> str:
        """The file or folder."""
        return str(self._path)

    @property
    def may_change(self) -> bool:
        """False: the files are only read."""
        return False

    def page(self, limit: int, cursor: str | None) -> Page:
        """Returns some sessions. Without a cursor, the folder is read from its beginning."""
        if cursor is None:
            self._found = list_foreign(self._path)
        limit = min(limit, _AT_ONCE)
        infos = tuple(map(_info, islice(self._found, limit)))
        return Page(sessions=infos, cursor="further" if len(infos) == limit else None)

    def search(self, text: str) -> list[Hit]:  # noqa: ARG002  # as the protocol says
        """Says that this needs a store.

        Raises:
            NotPossible: always.
        """
        raise NotPossible("only the messages of a store can be searched; `convtree import` makes one of these files")

    def source(self, id: str) -> Source:
        """Returns one session of the file or folder."""
        return LogFile(self._path, id)


def _info(found: ForeignSession) -> SessionInfo:
    return SessionInfo(
        id=found.id,
        name=found.name,
        title=found.title,
        created=found.begun,
        last_activity=found.begun,
        messages=found.messages,
        first_user_message=found.first_user_message,
    )
