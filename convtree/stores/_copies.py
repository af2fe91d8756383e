"""Which other sessions of a store hold a copy of what a session says.

The catalogue answers it by the entries: one is the same in two sessions if it has the same id and time. Where there are
none to ask for, links answer it. These are files without a catalogue, and sessions that were deleted before. Two logs
are linked if one header says that it copied from the other (`copied_to`), or if both have the same header id: a log
that was copied as a file. Copies of copies count, in both directions, and through deleted sessions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from convtree._catalogue.types import Filter
from convtree._model.batches import batched
from convtree._model.entries import Header
from convtree.stores.base import Catalogue

Links = Callable[[Collection[str]], Iterable[tuple[str, str]]]
"""Returns which session each deleted one had copied from, where one of the two has one of these ids."""
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


def linked_to(catalogue: Catalogue, id: str) -> list[str]:
    """Returns the sessions that hold a copy of what a deleted one said, as far as links lead to them, sorted."""
    found, level = {id}, {id}
    while level:
        level = set[str]().union(*catalogue.links(sorted(level))) - found
        found |= level
    others = (catalogue.sessions(Filter(ids=tuple(some), tasks=True)) for some in batched(found - {id}))
    return sorted(each.info.id for some in others for each in some)


def copies_among(headers: Mapping[str, Header], ids: Iterable[str], gone_links: Links) -> list[str]:
    """Returns those of the sessions that hold a copy of what the sessions `ids` say, without these, sorted."""
    ids = set(ids)
    linked = defaultdict[str, set[str]](set)  # a fork names its parent by the id it is stored under, or by its header's
    for id, header in headers.items():
        for other in (header.id, _copied_from(header)):
            if other is not None:
                linked[id].add(other)
                linked[other].add(id)
    found, level = set[str](), set(ids)
    while level:
        found |= level
        level = {other for id in level for other in linked[id]}.union(*gone_links(sorted(level))) - found
    return sorted(found & headers.keys() - ids)


def _copied_from(header: Header) -> str | None:
    """Returns the id of the session that entries were copied from; None if none were."""
    return None if header.parent_session is None or header.copied_to is None else header.parent_session.id
