"""A session that was deleted, as a ledger knows it: what it had used, and which session it had copied from. Pure.

A session is known by its id and the checksum of its header. It counts only while it is not in the store: a session that
is restored from a backup counts itself again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from convtree._catalogue.types import LedgerRow
from convtree._model.usage import Usage


class Used(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session had used on a day with a model. None: unknown."""

    day: str | None = None
    provider: str | None = None
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float = 0.0


class GoneSession(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the ledger.

    Attributes:
        id: the session's id.
        header: the checksum of the first line of its log, as hexadecimal digits; empty if it is unknown.
        header_id: the id in that line; None if it is the session's. The log was copied or renamed as a file.
        parent: the session that it had copied from.
        owner: whose it was.
        used: what it had used and no other session of the store holds.
        copied: the line was copied from another store. One that this store writes itself takes its place.
    """

    id: str
    header: str
    header_id: str | None = None
    parent: str | None = None
    owner: str | None = None
    used: tuple[Used, ...] = ()
    copied: bool = False

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from another session."""
        return self.id, self.header or self.parent or ""

    def links(self) -> list[tuple[str, str]]:
        """Returns its id with that of each session in which entries of it may be, too."""
        return [(self.id, other) for other in (self.header_id, self.parent) if other is not None]

    def rows(self) -> Iterable[tuple[tuple[str | None, str | None, str | None, str | None], Usage]]:
        """Yields day, owner, provider and model, and the sum."""
        for each in self.used:
            fields = msgspec.structs.asdict(each)
            day, provider, model = (fields.pop(name) for name in ("day", "provider", "model"))
            yield (day, self.owner, provider, model), Usage(**fields)


def used(rows: Iterable[LedgerRow], *, held: bool) -> tuple[Used, ...]:
    """Returns rows as a line has them.

    If there are none, but other sessions `held` all that it had used, there is one of zeros: this store has judged it,
    and what another store says about it does not count.
    """
    found = tuple(
        Used(day=row.day, provider=row.provider, model=row.model, **msgspec.structs.asdict(row.usage)) for row in rows
    )
    return found or ((Used(),) if held else ())
