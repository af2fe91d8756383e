"""A catalogue in SQL tables. Every built-in backend lists, searches and sums with this one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeVar

from convtree._catalogue import copies, queries
from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.queries import LastPage
from convtree._catalogue.tables import Dialect, Execute
from convtree._catalogue.types import Cursor, Filter, ListedSession, SearchMatch, StoredEntry, UsageTotal

T = TypeVar("T")


class SqlCatalogue(ABC):
    """The queries of a `Catalogue`. A subclass gives each query its transaction."""

    dialect: Dialect

    def __init__(self) -> None:
        self._page = LastPage()

    @abstractmethod
    def _read(self, query: Callable[[Execute], T]) -> T:
        """Calls `query` in one transaction and returns what it returns."""

    def sessions(self, filters: Filter, after: Cursor | None = None, limit: int | None = None) -> list[ListedSession]:
        """Returns sessions, last active first, beginning after a cursor."""
        page = self._page
        return self._read(lambda execute: queries.sessions(execute, self.dialect, filters, after, limit, page))

    def count(self, filters: Filter) -> int:
        """Returns how many sessions match."""
        return self._read(lambda execute: queries.count(execute, self.dialect, filters))

    def search(self, text: str, filters: Filter, limit: int) -> list[SearchMatch]:
        """Returns the messages that contain all words of a text, best first."""
        return self._read(lambda execute: queries.search(execute, self.dialect, text, filters, limit))

    def usage(self, ids: Sequence[str]) -> list[UsageTotal]:
        """Returns tokens and cost of these sessions, by session and model."""
        return self._read(lambda execute: queries.usage(execute, ids))

    def entries(self, ids: Sequence[str]) -> list[StoredEntry]:
        """Returns the entries of these sessions."""
        return self._read(lambda execute: queries.entries(execute, ids))

    def sessions_with(self, entry_ids: Sequence[str]) -> list[StoredEntry]:
        """Returns where entries with these ids are, in all sessions."""
        return self._read(lambda execute: queries.sessions_with(execute, entry_ids))

    def ids_beginning(self, beginnings: Sequence[str], length: int) -> list[str]:
        """Returns the ids whose first `length` characters are one of these texts."""
        return self._read(lambda execute: queries.ids_beginning(execute, beginnings, length))

    def descendants(self, ids: Sequence[str], kind: Literal["fork", "task"]) -> dict[str, str]:
        """Returns the sessions of a kind below these, at any depth: id to parent id, parents first."""
        return self._read(lambda execute: queries.descendants(execute, ids, kind))

    def links(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """Returns pairs of a session and what its copied entries come from, where one of the two is in `ids`."""
        return self._read(lambda execute: copies.links(execute, ids))

    def own_records(self, id: str) -> OwnRecords:
        """Returns which records of a session count there."""
        return OwnRecords(0, self._read(lambda execute: {each.entry for each in copies.counted_copies(execute, [id])}))
