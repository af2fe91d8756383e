"""The ledger of a database. A deletion adds to it in its own transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zlib import crc32

import msgspec

from convtree._catalogue.gone import GoneSession
from convtree._catalogue.ledger import gone_in, put_gone, rows_of, spending_of
from convtree._catalogue.record_summary import RecordSummary, copied_up_to
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import restored
from convtree._catalogue.types import LedgerRow
from convtree._logs import sql_lines
from convtree._model.batches import BATCH

_SELECT_SESSION = """
SELECT s.owner, s.parent_id, l.line FROM ct_sessions s
LEFT JOIN ct_lines l ON l.session_id = s.session_id AND l.position = 0 WHERE s.session_id = :session_id
"""
_SELECT_LINES = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND id IS NOT NULL AND position > :after
ORDER BY position LIMIT :limit
"""
_SELECT_THERE = """
SELECT DISTINCT g.session_id, l.line FROM ct_ledger g
JOIN ct_lines l ON l.session_id = g.session_id AND l.position = 0
"""


def record_deletion(execute: Execute, session_id: str) -> None:
    """Adds a session that is about to be deleted. The caller holds its lock and that of the ledger."""
    ((*texts, first),) = execute(_SELECT_SESSION, {"session_id": session_id})
    owner, parent_id = map(restored, texts)
    header = sql_lines.stored_header(execute, session_id)
    gone = GoneSession(
        id=session_id,
        header="" if first is None else _checksum(first),
        header_id=None if header.id == session_id else header.id,
        parent=None if copied_up_to(header) is None else parent_id,
        owner=owner,
        used=spending_of(execute, session_id, owner, _summaries(execute, session_id)),
    )
    put_gone(execute, gone)


def rows_in(execute: Execute) -> list[LedgerRow]:
    """Returns the ledger of a database, without sessions that are there: they were restored, and count themselves."""
    there = {(id, _checksum(line)) for id, line in execute(_SELECT_THERE)}
    return rows_of(row for gone in gone_in(execute) if gone.name not in there for row in gone.rows())


def merge(execute: Execute, copied: Sequence[GoneSession]) -> None:
    """Adds deleted sessions of another store. What this store knows of its own deletions stays."""
    known = {gone.name: gone for gone in gone_in(execute)}
    for gone in copied:
        before = known.get(gone.name)
        if before is None or (before.copied and {*before.used} != {*gone.used}):
            put_gone(execute, msgspec.structs.replace(gone, copied=True))


def _checksum(text: str) -> str:
    return f"{crc32(sql_lines.decode_line(text)):08x}"


def _summaries(execute: Execute, session_id: str) -> Iterator[list[RecordSummary]]:
    """Yields the summaries of the lines that may tell usage, in batches."""
    after, values = -1, {"session_id": session_id, "limit": BATCH}
    while rows := execute(_SELECT_LINES, values | {"after": after}):
        # SQLite keeps bytes as bytes, if somebody has put them there.
        may_tell = (text for _, text in rows if not isinstance(text, str) or "usage" in text or "\\" in text)
        lines = list(map(sql_lines.decode_line, may_tell))
        yield sql_lines.batch_of(lines).records
        after = rows[-1][0]
