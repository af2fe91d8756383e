"""Which sessions to delete: by age, by number, and with their sub-agents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from convtree._catalogue.record_summary import ms_of
from convtree._catalogue.types import Filter, ListedSession, LogStamp
from convtree._model.batches import batched
from convtree._model.errors import SessionHeld
from convtree.stores._arguments import age_ms
from convtree.stores.base import Catalogue


def check_rules(max_age: timedelta | float | None, keep: int | None) -> None:
    """Raises ValueError unless there is a rule, and each rule leaves no doubt."""
    if max_age is None and keep is None:
        raise ValueError("prune needs max_age, keep, or both")
    if keep is not None and keep < 0:
        raise ValueError(f"keep must be at least 0, not {keep}")
    if max_age is not None and age_ms(max_age) <= 0:
        raise ValueError("max_age must be above 0; pass keep=0 to delete all sessions")


def doomed(
    listed: Sequence[ListedSession], max_age: timedelta | float | None, keep: int | None, now_ms: int
) -> list[ListedSession]:
    """Returns the sessions that a rule condemns: those behind the first `keep`, and those that are too old."""
    oldest_ms = None if max_age is None else now_ms - age_ms(max_age)
    return [
        each
        for number, each in enumerate(listed)
        if (keep is not None and number >= keep) or _is_older(each.info.last_activity, oldest_ms)
    ]


def _is_older(last_activity: str | None, oldest_ms: int | None) -> bool:
    """Returns whether a time is before another. False if either is unknown."""
    active_ms = ms_of(last_activity)
    return oldest_ms is not None and active_ms is not None and active_ms < oldest_ms


class Family(NamedTuple):
    """A session and those of its sub-agents, as a catalogue has them.

    Attributes:
        ids: their ids, children before parents.
        stamps: the stamps of those listed, by id.
        held: ids of those on hold.
    """

    ids: list[str]
    stamps: dict[str, LogStamp]
    held: list[str]


def family_of(catalogue: Catalogue, id: str) -> Family:
    """Returns a session and those of its sub-agents. Hold and stamp of each come from the same look at it."""
    ids = [id, *catalogue.descendants([id], "task")]
    listed = [each for some in batched(ids) for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))]
    stamps = {each.info.id: each.stamp for each in listed}
    return Family(ids[::-1], stamps, [each.info.id for each in listed if each.info.held])


def held_among(catalogue: Catalogue, ids: Sequence[str]) -> set[str]:
    """Returns those of `ids` that are on hold, or have a sub-agent on hold at any depth; and those sub-agents."""
    held = {each.info.id for each in catalogue.sessions(Filter(held=True, tasks=True)) if each.info.held}
    if held:
        below = catalogue.descendants(ids, "task")
        for child in reversed(below):  # parents come first in it
            if child in held:
                held.add(below[child])
    return held


def held_error(location: str, id: str) -> SessionHeld:
    """Returns the error for a session on hold."""
    return SessionHeld(
        f"{location}: {id!r} is on hold; nothing was deleted; end the hold with release({id!r}), or "
        f"`convtree hold --undo {id}`",
        id=id,
    )
