"""What leaves a store with the sessions that are deleted: lines for its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from zlib import crc32

from convtree._catalogue.copies import held_elsewhere
from convtree._catalogue.gone import GoneSession, used
from convtree._catalogue.ledger import Spending, paid
from convtree._catalogue.record_summary import RecordSummary, copied_up_to, entry_key, summarise_record
from convtree._catalogue.tables import Execute
from convtree._engine.log import Log
from convtree._model.batches import batched
from convtree._model.entries import VacuumEntry
from convtree._model.errors import ConvtreeError
from convtree._model.usage import usage_stored_in
from convtree._session.session import Session
from convtree.stores._file_copies import shared_records, with_header_of
from convtree.stores._ledger import encode_line


def lines_for(
    execute: Execute,
    ids: Sequence[str],
    open_log: Callable[[str], Log],
    open_reader: Callable[[str], Session],
) -> list[bytes]:
    """Returns a line for each session that used something or leads to others.

    What a session shares with one that stays is not gone. Of two that go together, the last one counts it.
    """
    lines: list[bytes] = []
    for number, id in enumerate(ids):
        with suppress(ConvtreeError), open_reader(id) as session:  # one that cannot be read counted as nothing
            before = set(ids[:number])
            shared = shared_records(session, with_header_of(execute, id) - before - {id}, open_log)
            spending = Spending(session.header.owner)
            for batch in _paid(session, shared):
                spending.add(batch, held_elsewhere(execute, id, map(entry_key, batch), before))
            parent = None if copied_up_to(session.header) is None else session.header.parent_session
            gone = GoneSession(
                id=id,
                header=header_checksum(session._journal.log),
                header_id=None if session.header.id == id else session.header.id,
                parent=None if parent is None else parent.id,
                owner=session.header.owner,
                used=used(spending.rows(), held=spending.held or shared > 0),
            )
            if gone.used or gone.links():
                lines.append(encode_line(gone))
    return lines


def header_checksum(log: Log) -> str:
    """Returns the checksum of the first line of a log."""
    first = next((line for chunk in log.read() for line in chunk.lines), b"")
    return f"{crc32(first):08x}"


def _paid(session: Session, start: int) -> Iterator[list[RecordSummary]]:
    """Yields the summaries of the records from a number on that have usage, in batches."""
    for batch in batched(record for _, record in session.records(start)):
        some = [record for record in batch if isinstance(record, VacuumEntry) or usage_stored_in(record) is not None]
        yield paid(list(map(summarise_record, some)))
