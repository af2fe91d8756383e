"""Which other sessions of a store hold a copy of what a session says.

The catalogue answers it by the entries: one is the same in two sessions if it has the same id and time. Files without
a catalogue are asked by their headers: two logs hold the same words if one says that it copied from the other
(`copied_to`), or if both have the same header id: a log that was copied as a file. Copies of copies count, in both
directions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from convtree._model.entries import Header
from convtree.stores.base import Catalogue

Said = Mapping[str, Collection[int | None]]
"""Entries by id, and their times in milliseconds since 1970. An id may be used for several entries."""


def said_in(catalogue: Catalogue, ids: Sequence[str]) -> Said:
    """Returns the entries of some sessions."""
    found: dict[str, set[int | None]] = {}
    for each in catalogue.entries(ids):
        found.setdefault(each.entry_id, set()).add(each.time_ms)
    return found


def holders_of(catalogue: Catalogue, said: Said) -> list[str]:
    """Returns the sessions that hold one of these entries, sorted."""
    held = catalogue.sessions_with(list(said))
    return sorted({each.session_id for each in held if each.time_ms in said[each.entry_id]})


def copies_among(headers: Mapping[str, Header], ids: Iterable[str]) -> list[str]:
    """Returns those of the sessions that hold a copy of what the sessions `ids` say, without these, sorted."""
    ids = set(ids)
    linked = defaultdict[str, set[str]](set)  # a fork names its parent by the id it is stored under, or by its header's
    for id, header in headers.items():
        for other in (header.id, _copied_from(header)):
            if other is not None:
                linked[id].add(other)
                linked[other].add(id)
    waiting = list(ids)
    found = set(ids)
    while waiting:
        new = linked[waiting.pop()] - found
        found |= new
        waiting.extend(new)
    return sorted(found & headers.keys() - ids)


def _copied_from(header: Header) -> str | None:
    """Returns the id of the session that entries were copied from; None if none were."""
    return None if header.parent_session is None or header.copied_to is None else header.parent_session.id
