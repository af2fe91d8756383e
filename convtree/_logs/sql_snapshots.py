"""Snapshots of a log's index in a database: bytes in parts, one row each, so that a reader fetches what it needs.

Snapshots are numbered (`generation`). A few before the newest are kept for readers that are still using them: a reader
whose snapshot is gone reads the whole log, and by then the log has grown by a fifth at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from convtree._catalogue.tables import Execute
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_lines import bytes_of
from convtree._model.batches import batched
from convtree._model.errors import ConvtreeError

_PART_BYTES = 2**16  # of a snapshot in one row
_RUN = 2  # parts that a reader fetches together
_LAST = 3  # parts that are read with the number of the snapshot
_CACHED = 16  # parts per reader: an open goes back and forth between the columns
_PARTS_PER_INSERT = 64
_KEPT = 4  # generations

_SELECT_NEWEST = (
    "SELECT generation, size FROM ct_snapshots WHERE session_id = :session_id ORDER BY generation DESC LIMIT 1"
)
#: that a part is one of the last of the newest one: a reader begins there
LAST_PARTS = (
    "generation = (SELECT MAX(generation) FROM ct_snapshots WHERE session_id = :session_id) "
    f"AND part > (size - 1) / {_PART_BYTES} - {_LAST}"
)
_SELECT_PARTS = (
    "SELECT part, data FROM ct_snapshots WHERE session_id = :session_id AND generation = :generation "
    "AND part >= :start AND part < :until"
)
_INSERT_PART = (
    "INSERT INTO ct_snapshots (session_id, generation, part, size, data) "
    "VALUES (:session_id, :generation, :part, :size, :data)"
)
_DELETE_OLDER = "DELETE FROM ct_snapshots WHERE session_id = :session_id AND generation < :generation"


class SnapshotEnd(NamedTuple):
    """The number of a snapshot, its size, and its last parts by number."""

    generation: int
    size: int
    parts: dict[int, bytes]


def end_of(rows: Sequence[Any]) -> SnapshotEnd | None:
    """Returns the end of a snapshot from rows of generation, size, part and data; None if there is none."""
    if not rows:
        return None
    generation, size, *_ = rows[0]
    return SnapshotEnd(generation, size, {part: bytes_of(data) for _, _, part, data in rows})


def newest_snapshot(execute: Execute, session_id: str) -> tuple[int, int] | None:
    """Returns generation and size of the newest snapshot."""
    rows = execute(_SELECT_NEWEST, {"session_id": session_id})
    return (rows[0][0], rows[0][1]) if rows else None


def split_into_parts(pieces: Iterable[bytes]) -> list[bytes]:
    """Returns the bytes in parts of the size of a row; one empty part if there are no bytes."""
    whole = b"".join(pieces)
    return [whole[start : start + _PART_BYTES] for start in range(0, len(whole), _PART_BYTES)] or [b""]


def insert_snapshot(execute: Execute, session_id: str, generation: int, parts: Sequence[bytes]) -> None:
    """Inserts a snapshot and deletes all but the few before it."""
    key = {"session_id": session_id, "generation": generation, "size": sum(map(len, parts))}
    for rows in batched(
        ({**key, "part": number, "data": part} for number, part in enumerate(parts)), _PARTS_PER_INSERT
    ):
        execute(_INSERT_PART, rows)
    execute(_DELETE_OLDER, {"session_id": session_id, "generation": generation - _KEPT + 1})


class SnapshotReader:
    """Reads one snapshot, a few parts at once; keeps the last of them in memory."""

    def __init__(self, database: SqlDatabase, session_id: str, generation: int, end: SnapshotEnd | None = None) -> None:
        self._database = database
        self._key = {"session_id": session_id, "generation": generation}
        self._end = {} if end is None else end.parts
        self._parts: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Returns the bytes there; fewer at the end, and where a part is missing. Short bytes count as damaged."""
        first, last = offset // _PART_BYTES, (offset + length - 1) // _PART_BYTES
        try:
            data = self._part(first) if first == last else b"".join(map(self._part, range(first, last + 1)))
        except (OSError, ConvtreeError):
            return b""
        return data[offset - first * _PART_BYTES :][:length]

    def _part(self, number: int) -> bytes:
        found = self._end.get(number, self._parts.get(number))
        if found is not None:
            return found
        values = {**self._key, "start": number, "until": number + _RUN}
        rows = self._database.read(lambda execute: execute(_SELECT_PARTS, values))
        if len(self._parts) >= _CACHED:
            self._parts = {}
        self._parts.update((part, bytes_of(data)) for part, data in rows)
        return self._parts.get(number, b"")
