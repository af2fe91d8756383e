"""The usage ledger of stores whose catalogue is a cache: lines that say what each deleted session had used.

A line is written before its session is deleted. It counts only while that session is not in the store: so a crash in
between counts nothing twice, and a session that is restored from a backup counts itself again. A session is known by
its id and the checksum of its header. Its last line counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from convtree._catalogue.gone import GoneSession
from convtree._engine import codec


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


def encode_line(gone: GoneSession) -> bytes:
    """Returns the sealed line of a session."""
    return codec.seal(msgspec.json.encode(gone)[:-1], 0)


def last_lines(lines: Iterable[bytes]) -> list[GoneSession]:
    """Returns the last line of each session. Lines that cannot be read are left out."""
    found: dict[Any, GoneSession] = {}
    for gone in filter(None, map(decode_line, lines)):
        found[gone.name] = gone
    return list(found.values())


def merged_lines(lines: Iterable[bytes], copied: Iterable[GoneSession]) -> list[bytes]:
    """Returns the lines that a ledger lacks of another store's. What this store knows of its own deletions stays."""
    known = {gone.name: gone for gone in last_lines(lines)}
    marked = [msgspec.structs.replace(gone, copied=True) for gone in copied]
    new = [gone for gone in marked if gone.name not in known or (known[gone.name].copied and known[gone.name] != gone)]
    return list(map(encode_line, new))


def decode_line(line: bytes) -> GoneSession | None:
    """Returns what a line says; None if it is damaged, or of a later version."""
    try:
        return None if codec.verify_seal(line) is None else msgspec.json.decode(line, type=GoneSession)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
