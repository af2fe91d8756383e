"""Adds what a session has used to the ledger of its database, in the transaction that deletes the session."""

from __future__ import annotations

from collections.abc import Iterator

from convtree._catalogue.ledger import add_gone
from convtree._catalogue.record_summary import RecordSummary, copied_up_to
from convtree._catalogue.tables import Execute
from convtree._logs import sql_lines
from convtree._model.batches import BATCH

_SELECT_SESSION = "SELECT owner, parent_id FROM ct_sessions WHERE session_id = :session_id"
_SELECT_LINES = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND id IS NOT NULL AND position > :after
ORDER BY position LIMIT :limit
"""


def record_deletion(execute: Execute, session_id: str) -> None:
    """Adds the usage of a session that exists. The caller holds its lock and that of the ledger."""
    ((owner, parent_id),) = execute(_SELECT_SESSION, {"session_id": session_id})
    if copied_up_to(sql_lines.stored_header(execute, session_id)) is None:
        parent_id = None  # it leads nowhere
    add_gone(execute, session_id, owner, parent_id, _summaries(execute, session_id))


def _summaries(execute: Execute, session_id: str) -> Iterator[list[RecordSummary]]:
    """Yields the summaries of the lines that may tell usage, in batches."""
    after, values = -1, {"session_id": session_id, "limit": BATCH}
    while rows := execute(_SELECT_LINES, values | {"after": after}):
        lines = [sql_lines.decode_line(text) for _, text in rows if "usage" in text or "\\" in text]
        yield sql_lines.batch_of(lines).records
        after = rows[-1][0]
