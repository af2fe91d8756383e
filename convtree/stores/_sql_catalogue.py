"""A catalogue in SQL tables. Every built-in backend lists, searches and sums with this one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeVar

from convtree._catalogue import copies, queries
from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.tables import Dialect, Execute
from convtree._catalogue.types import Cursor, Filter, ListedSession, SearchMatch, UsageTotal

T = TypeVar("T")


class SqlCatalogue(ABC):
    """The queries of a `Catalogue`. A subclass gives each query its transaction."""

    dialect: Dialect

    @abstractmethod
    def _read(self, query: Callable[[Execute], T]) -> T:
        """Calls `query` in one transaction and returns what it returns."""

    def sessions(self, filters: Filter, after: Cursor | None = None, limit: int | None = None) -> list[ListedSession]:
        """Returns sessions, last active first, beginning after a cursor."""
        return self._read(lambda execute: queries.sessions(execute, self.dialect, filters, after, limit))

    def search(self, text: str, filters: Filter, limit: int) -> list[SearchMatch]:
        """Returns the messages that contain all words of a text, best first."""
        return self._read(lambda execute: queries.search(execute, self.dialect, text, filters, limit))

    def usage(self, ids: Sequence[str]) -> list[UsageTotal]:
        """Returns tokens and cost of these sessions, by session and model."""
        return self._read(lambda execute: queries.usage(execute, ids))

    def descendants(self, ids: Sequence[str], kind: Literal["fork", "task"]) -> dict[str, str]:
        """Returns the sessions of a kind below these, at any depth: id to parent id, parents first."""
        return self._read(lambda execute: queries.descendants(execute, ids, kind))

    def gone_links(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """Returns which session each deleted one had copied from, where one of the two is in `ids`."""
        return self._read(lambda execute: copies.gone_links(execute, ids))

    def own_records(self, id: str) -> OwnRecords:
        """Returns which records of a session count there."""
        return OwnRecords(0, self._read(lambda execute: {each.entry for each in copies.counted_copies(execute, [id])}))
