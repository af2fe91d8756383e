"""The last list of a catalogue. While its tables are as they were, the same list needs no query. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from convtree._catalogue.types import Cursor, Filter, ListedSession
from convtree._model.batches import BATCH


class LastList(NamedTuple):
    """What was asked for, and what was found.

    Attributes:
        revision: of the tables.
        asked: the filters without `now_ms`, the cursor, the limit.
        now_ms: the `now_ms` of the filters. No session was active after it, so the list is the same at any later time.
            None if none was given.
        sessions: the sessions.
    """

    revision: int
    asked: tuple[Filter, Cursor | None, int | None]
    now_ms: int | None
    sessions: Sequence[ListedSession]

    @classmethod
    def of(
        cls,
        sessions: Sequence[ListedSession],
        revision: int,
        filters: Filter,
        after: Cursor | None,
        limit: int | None,
    ) -> LastList:
        """Keeps a list. The caller knows that no session was active after `now_ms`."""
        return cls(revision, (_timeless(filters), after, limit), filters.now_ms, sessions)

    def found(
        self, revision: int, filters: Filter, after: Cursor | None, limit: int | None
    ) -> Sequence[ListedSession] | None:
        """Returns the list if it is the answer to this; None if the tables must be asked."""
        if revision != self.revision or (filters.now_ms is None) is not (self.now_ms is None):
            return None
        if filters.now_ms is not None and self.now_ms is not None and filters.now_ms < self.now_ms:
            return None
        return self.sessions if self.asked == (_timeless(filters), after, limit) else None


NO_LIST = LastList(-1, (Filter(), None, None), None, ())


def may_keep(filters: Filter, sessions: Sequence[ListedSession]) -> bool:
    """Returns whether a list is short, and neither the question nor the answer has a JSON value.

    That would be the caller's, who may change it. And 1 is not True there.
    """
    return filters.metadata is None and len(sessions) <= BATCH and all(each.info.key is None for each in sessions)


def _timeless(filters: Filter) -> Filter:
    return msgspec.structs.replace(filters, now_ms=None)
