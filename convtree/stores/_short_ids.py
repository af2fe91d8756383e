"""Beginnings of session ids that stand for one session only. Pure but for the query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from convtree._catalogue.types import Filter
from convtree.stores.base import Catalogue

FEWEST = 8  # characters of a beginning, unless a caller wants other ones


def short_ids(catalogue: Catalogue, ids: Sequence[str], fewest: int) -> dict[str, str]:
    """Returns for each id its shortest beginning, of at least `fewest` characters, that no other id begins with.

    An id that another one begins with stays whole: `SessionStore.resolve` takes a whole id for itself.
    """
    alike: dict[str, list[str]] = {}
    for id in _ids_beginning(catalogue, sorted({id[:fewest] for id in ids}), fewest):
        alike.setdefault(id[:fewest], []).append(id)
    found: dict[str, str] = {}
    for id in ids:
        others = (other for other in alike.get(id[:fewest], ()) if other != id)
        length = max((_alike(id, other) + 1 for other in others), default=fewest)
        found[id] = id[:length]
    return found


def _alike(one: str, other: str) -> int:
    """Returns how many characters two texts have in common at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _ids_beginning(catalogue: Catalogue, beginnings: Sequence[str], length: int) -> Iterable[str]:
    """Returns the ids whose first `length` characters are one of these texts."""
    find: Callable[[Sequence[str], int], list[str]] | None = getattr(catalogue, "ids_beginning", None)
    if find is not None:
        return find(beginnings, length)
    wanted = frozenset(beginnings)
    ids = (each.info.id for each in catalogue.sessions(Filter(tasks=True)))
    return [id for id in ids if id[:length] in wanted]
