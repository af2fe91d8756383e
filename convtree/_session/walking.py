"""Walking: the path to an entry from its first or its last entry on, and the records of the log in either direction.

What is not asked for is not read. A walk takes the session's lock for each batch of entries, not from its beginning to
its end, so a loop over it may write, and other threads may.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol, TypeVar, get_args, overload

from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.log_index import Index
from convtree._engine.upwards import check_entry_class
from convtree._model.batches import BATCH, batched, growing
from convtree._model.entries import Entry, Mark, SeenBy
from convtree._model.errors import BrokenPath
from convtree._session.client import Client, HasClient
from convtree._session.header import check_choice
from convtree._session.view import SessionView

E = TypeVar("E", bound=Entry)


class Walkable(HasClient, Protocol):
    """The part of a session that this module needs, and that a method of `convtree.aio` asks for."""

    def close(self) -> None:
        """Closes the log."""
        ...


class _Place(NamedTuple):
    """Where a walk goes on: at a row of an index, or above it. The id finds the row when the log has another index."""

    within: Index
    row: int
    id: str | None
    above: bool


@overload
def path(
    self: Walkable,
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    last: int | None = None,
    seen_by: SeenBy | None = None,
) -> list[Entry]: ...
@overload
def path(
    self: Walkable,
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    last: int | None = None,
    type: builtins.type[E],
    seen_by: SeenBy | None = None,
) -> list[E]: ...
def path(
    self: Walkable,
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    last: int | None = None,
    type: builtins.type[Any] = Entry,
    seen_by: SeenBy | None = None,
) -> list[Any]:
    """Returns the entries from the first down to this one: all of them, or the `last` ones, of one class or of all.

    Only the entries that are returned are read. `path(last=20, type=MessageEntry)` is the end of a conversation of any
    length: damage above those entries is not noticed.

    With `seen_by`, messages and branch summaries that the model, or the user, does not see now are left out and not
    counted: as they were appended, or as `hide` and `show` have changed them since.

    Raises:
        EntryNotFound: there is no such entry.
        BrokenPath: an entry is lost, a parent is missing, or a line was damaged.
        TypeError, ValueError: `last` is not a number from 1 on, `type` no class of entries, or `seen_by` another text.
    """
    _check(type, seen_by)
    return self._client.ask(SessionView.path, entry_id, last, type, seen_by)


@overload
def walk_up(
    self: Walkable, entry_id: str | Entry | AtLeaf | None = LEAF, *, seen_by: SeenBy | None = None
) -> Iterator[Entry]: ...
@overload
def walk_up(
    self: Walkable,
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    type: builtins.type[E],
    seen_by: SeenBy | None = None,
) -> Iterator[E]: ...
def walk_up(
    self: Walkable,
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    type: builtins.type[Any] = Entry,
    seen_by: SeenBy | None = None,
) -> Iterator[Any]:
    """Yields this entry, its parent, and so on up to the first: all of them, or those of one class.

    Entries are read as the walk comes to them, so a loop that ends early costs what it has seen. The walk begins where
    the leaf is when this is called, and stays on that path. `seen_by` leaves out the same as it does in `path`: who
    sees an entry is looked up when the walk comes to it.

    Raises:
        EntryNotFound: there is no such entry.
        BrokenPath: when the walk comes to it: an entry is lost, a parent is missing, or a line was damaged.
        TypeError, ValueError: `type` is not a class of entries, or `seen_by` another text.
    """
    return chain.from_iterable(batches_up(self, entry_id, type, seen_by))


def batches_up(
    session: HasClient, entry_id: str | Entry | AtLeaf | None, cls: type[E], seen_by: SeenBy | None
) -> Iterator[list[E]]:
    """Yields the entries of `walk_up` in lists that grow."""
    _check(cls, seen_by)
    return _batches_up(session._client, session._client.ask(_start, entry_id), cls, seen_by)


def _batches_up(client: Client, place: _Place | None, cls: type[E], seen_by: SeenBy | None) -> Iterator[list[E]]:
    size = 1
    while place is not None:
        found, place = client.ask(_next, place, cls, seen_by, size)
        if found:
            yield found
        size = min(size * 2, BATCH)


def _check(cls: type[Entry], seen_by: SeenBy | None) -> None:
    check_entry_class("type", cls)
    if seen_by is not None:
        check_choice("seen_by", seen_by, get_args(SeenBy))


def _start(view: SessionView, entry_id: str | Entry | AtLeaf | None) -> _Place:
    row = view.row(entry_id)
    return _Place(view.index, row, view.leaf_id if entry_id is LEAF else view.id_of(row), False)


def _next(
    view: SessionView, place: _Place, cls: type[E], seen_by: SeenBy | None, size: int
) -> tuple[list[E], _Place | None]:
    """Returns up to `size` entries from a place upwards, and the place above them; None at the end of the walk.

    If damage follows, the entries before it are returned. The next call raises.
    """
    row = place.row if place.within is view.index else view.row(place.id)
    found: list[E] = []
    try:
        for each, entry in islice(view.entries_up(row, cls, seen_by, size, above=place.above), size):
            found.append(entry)
            row = each
    except BrokenPath:
        if not found:
            raise
    else:
        if len(found) < size:
            return found, None
    return found, _Place(view.index, row, found[-1].id, True)


def records(self: HasClient, start: int = 0, *, reverse: bool = False) -> Iterator[tuple[int, Entry | Mark]]:
    """Yields every entry and mark from number `start` on, with its number in the log. Damaged ones are left out.

    With `reverse`, the last one comes first and number `start` last, and only what the loop comes to is read. Does not
    look into the log for records that other sessions appended since the last call.

    Raises:
        TypeError, ValueError: `start` is not a number from 0 on, or `reverse` not True or False.
        SessionFailed: the log was replaced meanwhile, and its records have other numbers. Call it again.
    """
    return chain.from_iterable(batches_of_records(self, start, reverse))


def batches_of_records(session: HasClient, start: int, reverse: bool) -> Iterator[list[tuple[int, Entry | Mark]]]:
    """Yields what `records` yields in lists, which grow in reverse."""
    return _batches_of_records(session._client, start, reverse)


def _batches_of_records(client: Client, start: int, reverse: bool) -> Iterator[list[tuple[int, Entry | Mark]]]:
    count, replaced = len(client.journal.index.tree), client.journal.times_replaced
    batches = growing(range(count - 1, start - 1, -1)) if reverse else batched(range(start, count))
    for rows in batches:
        yield client.records_of(rows, replaced)
