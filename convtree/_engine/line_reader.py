"""The way back from rows to lines: an index keeps no payload, it fetches lines from the log when a query needs them.

Every line is verified again when it is read: a log may be damaged after it was scanned. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import call
from typing import Any

from convtree._engine import bulk, codec, tree
from convtree._engine.columns import Column, as_range
from convtree._model.batches import batched
from convtree._model.entries import Entry, Mark
from convtree._model.errors import BrokenPath

KINDS = {
    "message": tree.MESSAGE,
    "compaction": tree.COMPACTION,
    "branch_summary": tree.BRANCH_SUMMARY,
    "model_change": tree.MODEL_CHANGE,
    "extension_data": tree.EXTENSION_DATA,
    "lost": tree.LOST,
    "vacuum": tree.VACUUM,
}


class _Decoders(dict[int, Callable[[bytes], Entry | Mark]]):
    """The decoder for lines of each kind. Made when the first such line is read: most are never needed."""

    def __missing__(self, kind: int) -> Callable[[bytes], Entry | Mark]:
        found = self[kind] = codec.decoder(_NAMES[kind]) if kind in _NAMES else codec.decode
        return found


_NAMES = {kind: name for name, kind in KINDS.items()}
_DECODERS = _Decoders()

ReadAt = Callable[[Sequence[tuple[int, int]]], list[bytes]]
"""Fetches the lines at some (position, length) pairs from the log."""


class LineReader:
    """The rows of a tree, and the log that has their lines. `Index` is one."""

    def __init__(self, read_at: ReadAt, salt: int, columns: Mapping[str, Column] | None) -> None:
        self._read_at = read_at
        self.tree = tree.Tree(self._same_id, salt, columns)
        self.sealed_from: int | None = None  # rows from here on must verify when they are read

    def node(self, id: str) -> int | None:
        """Returns the row of an entry."""
        row = self.tree.find(id)
        return row if row is not None and self.tree.is_node(row) else None

    def lines_with(self, ids: Iterable[str]) -> dict[str, tuple[int, bytes]]:
        """Returns the rows and lines of the records with these ids; an id of none is left out.

        Fetches the lines at once. `tree.find` fetches one by one.
        """
        candidates = {id: row for id in ids if (row := self.tree.ids.candidate(id)) is not None}
        rows = sorted(set(candidates.values()))
        spans = list(zip(self.tree.offsets.take(rows), self.tree.lengths.take(rows), strict=True))
        lines = dict(zip(rows, self._read_at(spans), strict=True)) if rows else {}
        found = {}
        for id, row in candidates.items():
            if _has_id(lines[row], id):
                found[id] = row, lines[row]
            elif (other := self.tree.find(id)) is not None:  # two ids share a hash
                found[id] = other, self.line(other)
        return found

    def record_with(self, id: str) -> Entry | Mark | None:
        """Fetches the record with an id; None if there is none, or it cannot be read."""
        row = self.tree.find(id) if id else None
        return next(iter(self.readable_records([row])), None) if row is not None else None

    def ids_with_prefix(self, prefix: str, limit: int, *, end: str = "") -> list[str]:
        """Returns the ids of entries that begin with a text, in log order, at most `limit`. Fetches line after line.

        `end` is how they must end, after the prefix.
        """
        shortest = len(prefix) + len(end)
        found: list[str] = []
        nodes = (row for row in range(len(self.tree)) if self.tree.is_node(row))
        for rows in batched(nodes):
            spans = list(zip(self.tree.offsets.take(rows), self.tree.lengths.take(rows), strict=True))
            ids = map(_id_on, self._read_at(spans))
            found += [id for id in ids if id.startswith(prefix) and id.endswith(end) and len(id) >= shortest]
            if len(found) >= limit:
                break
        return found[:limit]

    def line(self, row: int) -> bytes:
        """Fetches the line of a row, as it stands in the log now."""
        return self._read_at([(self.tree.offsets[row], self.tree.lengths[row])])[0]

    def payloads(self, rows: Sequence[int]) -> Iterator[bytes]:
        """Fetches and verifies lines, and yields their payloads.

        Raises:
            BrokenPath: a line was damaged since the scan.
        """
        for row, line in zip(rows, self._verified(rows), strict=True):
            yield codec.payload_of(line) if self._is_sealed(row) else line.rstrip()[:-1]

    def entries(self, rows: Sequence[int]) -> list[Entry]:
        """Fetches, verifies and decodes entries.

        Raises:
            BrokenPath: a line was damaged since the scan, or is not what its type says.
        """
        found: list[Any] = self.records(rows)
        return found

    def records(self, rows: Sequence[int]) -> list[Entry | Mark]:
        """Fetches, verifies and decodes entries and marks.

        Raises:
            BrokenPath: as `entries`.
        """
        if len(rows) < 2:
            return [self._record(row) for row in rows]
        rows = as_range(rows)
        kinds, lines = self.tree.kinds.take(rows), self._verified(rows)
        records: list[Entry | Mark] = []
        try:  # both up to the first that raises
            if any(kinds):
                records.extend(map(call, [_DECODERS[kind & tree.KIND] for kind in kinds], lines))
            else:
                records.extend(map(_DECODERS[tree.MESSAGE], lines))
        except codec.DECODE_ERRORS:
            raise self.broken(rows[len(records)], "is not a valid record") from None
        return records

    def _record(self, row: int) -> Entry | Mark:
        """Fetches, verifies and decodes one entry or mark."""
        columns = self.tree
        length = columns.lengths[row]
        (line,) = self._read_at([(columns.offsets[row], length)])
        if len(line) != length or (self._is_sealed(row) and codec.verify_seal(line) is None):
            raise self.broken(row, "was damaged after it was read")
        try:
            return _DECODERS[columns.kinds[row] & tree.KIND](line)
        except codec.DECODE_ERRORS:
            raise self.broken(row, "is not a valid record") from None

    def readable_records(self, rows: Sequence[int]) -> list[Entry | Mark]:
        """Fetches entries and marks, without those that are damaged."""
        try:
            return self.records(rows)
        except BrokenPath:
            if len(rows) == 1:
                return []
        return [record for row in rows for record in self.readable_records([row])]

    def id_of(self, row: int) -> str:
        """Fetches the id of a record.

        Raises:
            BrokenPath: the line was damaged since the scan.
        """
        try:
            return codec.read_envelope(self.line(row)).id
        except codec.DECODE_ERRORS:
            raise self.broken(row, "was damaged after it was read") from None

    def broken(self, row: int, what: str, missing: str | None = None) -> BrokenPath:
        """Makes the error that names the place of a row."""
        offset = self.tree.offsets[row]
        return BrokenPath(f"the line at offset {offset} {what}; run verify on the log", missing=missing, offset=offset)

    def lost_above(self, row: int) -> int:
        """Returns the nearest lost entry at or above a row, or NONE."""
        columns = self.tree
        while (row := columns.nearest(columns.faults, row)) != tree.NONE:
            if columns.kinds[row] & tree.KIND == tree.LOST:
                break
            row = columns.parents[row]
        return row

    def lost(self, row: int) -> BrokenPath:
        """Makes the error that names a lost entry."""
        id, offset = self.id_of(row), self.tree.offsets[row]
        return BrokenPath(
            f"the line at offset {offset} stands for the entry {id!r}, which is lost; put it back with extend(), "
            "from a copy of the log",
            missing=id,
            offset=offset,
        )

    def _verified(self, rows: Sequence[int]) -> list[bytes]:
        lengths = self.tree.lengths.take(rows)
        lines = self._read_at(list(zip(self.tree.offsets.take(rows), lengths, strict=True)))
        if rows and self._is_sealed(min(rows)) and bulk.all_seals_valid(lines):
            return lines
        for row, length, line in zip(rows, lengths, lines, strict=True):
            if len(line) != length or (self._is_sealed(row) and codec.verify_seal(line) is None):
                raise self.broken(row, "was damaged after it was read")
        return lines

    def _is_sealed(self, row: int) -> bool:
        return self.sealed_from is not None and row >= self.sealed_from

    def _same_id(self, row: int, id: str) -> bool:
        return _has_id(self.line(row), id)


def _has_id(line: bytes, id: str) -> bool:
    # Others write ids escaped, or in another order.
    return line.startswith(b'{"id":"%b"' % id.encode(errors="replace")) or _id_on(line) == id


def _id_on(line: bytes) -> str:
    """Returns the id of the record on a line; empty if the line was damaged."""
    try:
        return codec.read_envelope(line).id
    except codec.DECODE_ERRORS:
        return ""
