"""Compare-and-set: what a caller expects of a log, checked under the log's lock. Pure.

What a session has seen does not count here. A web service opens the session for each request, and the only leaf that
matters is the one its client has seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from convtree._model.entries import Record
from convtree._model.errors import StaleLeaf

if TYPE_CHECKING:
    from convtree._engine.log_index import Index


class Expected(msgspec.Struct, frozen=True):
    """The leaf, and the id of the last record, that a log must have. UNSET is anything, None is none."""

    leaf_id: str | UnsetType | None = UNSET
    revision: str | UnsetType | None = UNSET

    def __bool__(self) -> bool:
        return self.leaf_id is not UNSET or self.revision is not UNSET

    def check(self, index: Index, location: str, begun_id: str | UnsetType | None = UNSET) -> None:
        """Raises StaleLeaf if the log is not as expected.

        It may also end with the record `begun_id`: the last one that an unfinished try of this call has stored.

        Raises:
            LeafUncertain: a leaf is expected, and damage lies behind the line that set the leaf.
        """
        if self.leaf_id is not UNSET:
            if index.state.leaf_uncertain_because is not None:
                raise index.leaf_uncertain(location)
            actual = index.state.leaf.id
            if actual not in (self.leaf_id, begun_id) and not (self.leaf_id and index.id_named(self.leaf_id) == actual):
                raise _stale(location, "leaf", self.leaf_id, actual)
        if self.revision is not UNSET:
            actual = index.last_record_id(len(index.tree))
            if actual not in (self.revision, begun_id):
                raise _stale(location, "revision", self.revision, actual)


ANYTHING = Expected()


def expected(expect_leaf: Any, expect_revision: Any) -> Expected:
    """Makes an `Expected` of two arguments: an id, a record, None or UNSET.

    Raises:
        TypeError: an argument is something else.
    """
    if expect_leaf is UNSET and expect_revision is UNSET:
        return ANYTHING
    return Expected(_id_of(expect_leaf), _id_of(expect_revision))


def _id_of(reference: str | Record | UnsetType | None) -> str | UnsetType | None:
    return reference.id if isinstance(reference, Record) else reference


def _stale(location: str, what: str, expected: str | None, actual: str | None) -> StaleLeaf:
    return StaleLeaf(
        f"{location}: expected the {what} {expected!r}, but it is {actual!r}; nothing was written; "
        "read the session again, then decide anew",
        expected=expected,
        actual=actual,
    )
