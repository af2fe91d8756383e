"""Ids of calls and results that no two calls of a tree share. Pure.

Some tools give no ids, or the same ones again in every answer. A file that other tools read needs both: unique ids, and
results with the id of their call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec.structs import replace

from convtree._messages.matching import match
from convtree._messages.parts import Call, Part, Result
from convtree._model.entries import Entry


class _Waiting(NamedTuple):
    """A call that no entry so far has answered, and the id that it was given."""

    call: Call
    id: str


class CallIds:
    """The ids given so far. Entries are named in an order in which parents come before their children.

    A call's own id is kept if it matches `fits`.
    """

    def __init__(self, fits: re.Pattern[str]) -> None:
        self._fits = fits
        self._taken: set[str] = set()
        self._waiting: dict[str, tuple[_Waiting, ...]] = {}  # by entry, where there are any

    def name(self, entry: Entry, parts: Sequence[Part], *, keep: bool = False) -> list[Part]:
        """Returns the parts of an entry with the ids that they get; with `keep`, calls keep their own."""
        calls = [part for part in parts if isinstance(part, Call)]
        given = {id(call): self._given(entry, call, at, keep) for at, call in enumerate(calls)}
        above = self._waiting.get(entry.parent_id or "", ())
        waiting = (*above, *(_Waiting(call, given[id(call)]) for call in calls))
        answers = match([*(each.call for each in above), *parts], named_only=True).answers if waiting else {}
        names = given | {id(answers[id(each.call)]): each.id for each in waiting if id(each.call) in answers}
        left = tuple(each for each in waiting if id(each.call) not in answers)
        if left:
            self._waiting[entry.id] = left
        return [
            replace(part, id=names[id(part)]) if isinstance(part, Call | Result) and id(part) in names else part
            for part in parts
        ]

    def _given(self, entry: Entry, call: Call, at: int, keep: bool) -> str:
        id = call.id
        if id is None or not (keep or (id not in self._taken and self._fits.fullmatch(id))):
            seed = id if id is not None and id not in self._taken else f"{entry.id} {at}"
            id = "call_" + sha256(f"0\0{seed}".encode()).hexdigest()[:24]
        self._taken.add(id)
        return id
