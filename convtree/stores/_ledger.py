"""The usage ledger of stores whose catalogue is a cache: lines that say what each deleted session had used.

A line is written before its session is deleted. It counts only while that session is not in the store: so a crash in
between counts nothing twice, and a session that is restored from a backup counts itself again. A session is known by
its id and the checksum of its header. Its last line counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from convtree._catalogue.types import LedgerRow
from convtree._engine import codec
from convtree._model.usage import Usage


class Ledger(Protocol):
    """Keeps lines for as long as the store lives. Used by one thread at a time."""

    def read(self) -> list[bytes]:
        """Returns all lines; the same list as before if there are no new ones."""
        ...

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds lines, durably: all or none. `delete` of the backend holds a lock that lets in one delete at a time."""
        ...


class MemoryLedger:
    """A ledger that is gone with its process."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def read(self) -> list[bytes]:
        """Returns all lines."""
        return self._lines

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds lines."""
        self._lines = [*self._lines, *lines]


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
        header: the checksum of the first line of its log, as hexadecimal digits.
        header_id: the id in that line; None if it is the session's. The log was copied or renamed as a file.
        parent: the session that it had copied from.
        owner: whose it was.
        used: what it had used and no other session of the store holds.
    """

    id: str
    header: str
    header_id: str | None = None
    parent: str | None = None
    owner: str | None = None
    used: tuple[Used, ...] = ()

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from another session."""
        return self.id, self.header

    def links(self) -> list[tuple[str, str]]:
        """Returns its id with that of each session in which entries of it may be, too."""
        return [(self.id, other) for other in (self.header_id, self.parent) if other is not None]

    def rows(self) -> Iterable[tuple[tuple[str | None, str | None, str | None, str | None], Usage]]:
        """Yields day, owner, provider and model, and the sum."""
        for each in self.used:
            fields = msgspec.structs.asdict(each)
            day, provider, model = (fields.pop(name) for name in ("day", "provider", "model"))
            yield (day, self.owner, provider, model), Usage(**fields)


def used(rows: Iterable[LedgerRow]) -> tuple[Used, ...]:
    """Returns rows as a line has them."""
    return tuple(
        Used(day=row.day, provider=row.provider, model=row.model, **msgspec.structs.asdict(row.usage)) for row in rows
    )


def encode_line(gone: GoneSession) -> bytes:
    """Returns the sealed line of a session."""
    return codec.seal(msgspec.json.encode(gone)[:-1], 0)


def last_lines(lines: Iterable[bytes]) -> list[GoneSession]:
    """Returns the last line of each session. Lines that cannot be read are left out."""
    found: dict[Any, GoneSession] = {}
    for gone in filter(None, map(decode_line, lines)):
        found[gone.name] = gone
    return list(found.values())


def decode_line(line: bytes) -> GoneSession | None:
    """Returns what a line says; None if it is damaged, or of a later version."""
    try:
        return None if codec.verify_seal(line) is None else msgspec.json.decode(line, type=GoneSession)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
