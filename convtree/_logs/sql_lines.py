"""Lines of a log as rows of a database: one row per line, stored as text, byte for byte.

The columns beside the line are for lists and searches. They are empty for a header and for a line that is not a valid
record: a damaged log is stored as it is. Positions are byte offsets, as if the lines stood in a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from zlib import crc32

from msgspec import UNSET

from convtree._catalogue import tables as catalogue
from convtree._catalogue.append_statement import append_statement
from convtree._catalogue.marks import apply_marks, has_marks
from convtree._catalogue.record_summary import RecordSummary, summarise_record
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import stored
from convtree._engine import codec
from convtree._engine.log import Chunk
from convtree._model.batches import BATCH, batched
from convtree._model.entries import GROUP, Header

_HEADER = b'{"type":"session",'
_HEX = "\\x"  # begins no JSON

# Nothing is found once the session was deleted, also if another one has its id by now, or its lines were replaced.
_SELECT_LINES = (
    "SELECT position, line FROM ct_lines WHERE session_id = :session_id AND EXISTS (SELECT 1 FROM ct_sessions "
    "WHERE session_id = :session_id AND COALESCE(created_ms, -1) = :created_ms AND rewrites = :rewrites) AND"
)
_SELECT_NEXT = f"{_SELECT_LINES} position >= :start ORDER BY position LIMIT 1"
_SELECT_FIRST = "SELECT line FROM ct_lines WHERE session_id = :session_id AND position = 0"
_SELECT_RANGE = f"{_SELECT_LINES} position >= :start AND position < :until ORDER BY position"
_SELECT_OVERLAPPING = (  # the range, and the line that begins before it and reaches into it
    f"{_SELECT_LINES} position >= COALESCE((SELECT MAX(position) FROM ct_lines WHERE session_id = :session_id "
    "AND position <= :start), 0) AND position < :until ORDER BY position"
)
_TAKE_LOST_ID = """
UPDATE ct_lines SET id = NULL, parent_id = NULL WHERE session_id = :session_id AND id = :id AND type = 'lost'
RETURNING position
"""
_SELECT_ID = "SELECT id FROM ct_lines WHERE session_id = :session_id AND id = :id"

ANYWHERE = 2**63 - 1  # stands for a position that was not asked for: the last one that a column can hold


class Identity(NamedTuple):
    """What tells a log from another one with its id: the time in its header, and how often its lines were replaced."""

    created_ms: int | None = None
    rewrites: int = 0


class SessionRow(NamedTuple):
    """What the row of a session says about its log."""

    size: int
    created_ms: int | None
    copying_to: str | None
    rewrites: int
    last_crc: int
    last_position: int = ANYWHERE  # of the last line; -1 if there is none

    @property
    def identity(self) -> Identity:
        """What tells the log from another one that has its id later."""
        return Identity(self.created_ms, self.rewrites)


class LogKey(NamedTuple):
    """Which lines a log reads: those of the session with this id, if it is the same one."""

    session_id: str
    identity: Identity

    @property
    def values(self) -> dict[str, Any]:
        """The values of a query."""
        created_ms, rewrites = self.identity
        return {
            "session_id": self.session_id,
            "created_ms": -1 if created_ms is None else created_ms,
            "rewrites": rewrites,
        }


class LineBatch(NamedTuple):
    """Lines to add, and a summary of each; None for a header and for a line that is not a record."""

    lines: list[bytes]
    summaries: list[RecordSummary | None]

    @property
    def records(self) -> list[RecordSummary]:
        """The summaries of those lines that are records."""
        return [each for each in self.summaries if each is not None]

    @property
    def length(self) -> int:
        """How many bytes longer the log becomes."""
        return sum(map(len, self.lines)) + len(self.lines)


def batch_of(lines: Sequence[bytes]) -> LineBatch:
    """Summarises lines."""
    return LineBatch(list(lines), [_summary_of(line) for line in lines])


def _summary_of(line: bytes) -> RecordSummary | None:
    try:
        record = None if line.startswith(_HEADER) else codec.decode(line)
        # A transaction is the group of a database. Lines copied from a file may have marks of groups.
        return None if record is None or record.type == GROUP else summarise_record(record)
    except codec.DECODE_ERRORS:
        return None


def without_duplicates(batch: LineBatch, known: set[str]) -> LineBatch:
    """Drops the summaries of records whose id is in `known`; adds the others to it. The lines stay.

    A damaged log may have an id twice; the columns can have it once, and the first line counts. The id of a lost entry
    is not taken: if the entry itself comes after it, that has the id.
    """
    summaries: list[RecordSummary | None] = []
    lost: dict[str, int] = {}  # where in `summaries`
    for each in batch.summaries:
        if each is None or each.id in known:
            summaries.append(None)
        elif each.type == "lost":
            summaries.append(None if each.id in lost else each)
            lost.setdefault(each.id, len(summaries) - 1)
        else:
            known.add(each.id)
            at = lost.get(each.id)
            if at is not None and (before := summaries[at]) is not None:
                summaries[at] = before._replace(keeps_id=False)
            summaries.append(each if at is None else _came_back(each))
    return batch._replace(summaries=summaries)


def _came_back(entry: RecordSummary) -> RecordSummary:
    """Returns the summary of an entry that was lost: it is old, so it does not move the leaf."""
    return entry._replace(leaf=UNSET, excerpt="")


def take_lost_ids(execute: Execute, session_id: str, batch: LineBatch) -> LineBatch:
    """Takes the ids of lost entries that these lines bring back, so that the columns have each id once.

    Returns the batch with those entries counted once: they are old, so they do not move the leaf. The line of the lost
    entry stays.
    """
    summaries: list[RecordSummary | None] = []
    for each in batch.summaries:
        if each is not None and execute(_TAKE_LOST_ID, {"session_id": session_id, "id": each.id}):
            summaries.append(_came_back(each))
        else:
            summaries.append(each)
    return batch._replace(summaries=summaries)


def stored_ids(execute: Execute, session_id: str, batch: LineBatch) -> set[str]:
    """Returns the ids of these lines that the columns have already."""
    ids = {each.id for each in batch.records}
    return {id for id in ids if execute(_SELECT_ID, {"session_id": session_id, "id": id})}


def header_of(line: bytes, session_id: str) -> Header:
    """Decodes the first line; returns an empty header of this session if the line is damaged."""
    try:
        return codec.decode_header(line) or Header(id=session_id)
    except codec.DECODE_ERRORS:
        return Header(id=session_id)


def stored_header(execute: Execute, session_id: str) -> Header:
    """Returns the header of a session; an empty one if its line is missing or damaged."""
    rows = execute(_SELECT_FIRST, {"session_id": session_id})
    return header_of(decode_line(rows[0][0]) if rows else b"", session_id)


# --- writing ------------------------------------------------------------------------------------------------------


def add_session(execute: Execute, session_id: str, first_line: bytes) -> Header:
    """Adds the row of a session that begins with this line. Returns its header.

    That of a sub-agent takes the lock of its parent first: a deletion of the parent holds it while it lists the
    sub-agents.
    """
    header = header_of(first_line, session_id)
    parent = header.parent_session
    if parent is not None and parent.kind == "task":
        execute(catalogue.LOCK, {"session_id": stored(parent.id)})
    catalogue.add_session(execute, session_id, header)
    return header


def lock_and_advance(
    execute: Execute, session_id: str, batch: LineBatch, after: dict[str, int] | None = None
) -> SessionRow | None:
    """Updates the row of a session for lines that are about to be added; this takes the row's lock.

    Returns the row with its new size; None if there is no such session. `after` are the values of the condition of
    `ADVANCE_AFTER`: returns None, too, if they do not hold.
    """
    values = dict(catalogue.update_session_row(session_id, batch.records, batch.length, crc32(batch.lines[-1])))
    rows = (
        execute(catalogue.ADVANCE, values) if after is None else execute(catalogue.ADVANCE_AFTER, {**values, **after})
    )
    return SessionRow(*rows[0]) if rows else None


def insert_lines(execute: Execute, session_id: str, start: int, batch: LineBatch, row: SessionRow) -> Chunk:
    """Inserts lines from a position on, and adds their token usage to the session's. The caller holds the lock."""
    chunk = chunk_of(start, batch)
    for some in batched(_rows_of(session_id, chunk, batch)):
        catalogue.add_lines(execute, some)
    catalogue.add_usage(execute, session_id, batch.records, row.copying_to)
    apply_marks(execute, session_id, chunk.positions, batch.summaries)
    return chunk


def chunk_of(start: int, batch: LineBatch) -> Chunk:
    """Returns the lines of a batch as they stand from a position on."""
    positions, end = [], start
    for line in batch.lines:
        positions.append(end)
        end += len(line) + 1
    return Chunk(positions, batch.lines, end)


def _rows_of(session_id: str, chunk: Chunk, batch: LineBatch) -> list[catalogue.Values]:
    rows = []
    for position, line, each in zip(chunk.positions, chunk.lines, batch.summaries, strict=True):
        values = catalogue.line_of(session_id, position, each, _encode(line))
        rows.append(values if each is not None or position == 0 else {**values, "type": ""})
    return rows


def statement_of(
    key: LogKey, chunk: Chunk, batch: LineBatch, after: dict[str, int]
) -> tuple[str, catalogue.Values] | None:
    """Returns one statement that appends lines to the session's, with its values; None if it takes several.

    It returns a row if the session is the one of `key` and the condition of `IS_AFTER` holds; else it changes nothing.
    """
    records = batch.records
    if len(chunk.lines) > BATCH or has_marks(records):
        return None
    grown = chunk.end - chunk.positions[0]
    changes = catalogue.update_session_row(key.session_id, records, grown, crc32(chunk.lines[-1]))
    return append_statement(
        {**changes, **after, **key.values},
        _rows_of(key.session_id, chunk, batch),
        catalogue.usage_rows(key.session_id, records),
    )


def write_lines(
    execute: Execute, session_id: str, lines: Iterable[bytes], is_new: bool = True
) -> list[tuple[int, bytes]]:
    """Adds the lines of a whole session, and its row if it is new. The caller holds the lock.

    Returns position and content of the first line and of the last.
    """
    known: set[str] = set()
    has_lost, end = False, 0
    ends: list[tuple[int, bytes]] = []
    for some in batched(lines):
        batch = without_duplicates(batch_of(some), known)
        if has_lost:
            batch = take_lost_ids(execute, session_id, batch)
        has_lost = has_lost or any(each.type == "lost" for each in batch.records)
        if end == 0 and is_new:
            add_session(execute, session_id, some[0])
        row = lock_and_advance(execute, session_id, batch)
        assert row is not None
        chunk = insert_lines(execute, session_id, end, batch, row)
        ends = [*(ends[:1] or [(0, some[0])]), (chunk.positions[-1], some[-1])]
        end = chunk.end
    return ends


def _encode(line: bytes) -> str:
    """Returns the text to store for a line: hex, as PostgreSQL writes bytes, if the line is not text."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    return _HEX + line.hex() if "\0" in text or text.startswith(_HEX) else text


def decode_line(text: Any) -> bytes:
    """Returns the line that is stored as this text. What nobody has stored is a damaged line."""
    if isinstance(text, str):
        if text.startswith(_HEX):
            with suppress(ValueError):
                return bytes.fromhex(text[len(_HEX) :])
        return text.encode(errors="surrogateescape")
    return bytes_of(text) or b"\0"


def bytes_of(value: Any) -> bytes:
    """Returns a column of bytes; none of anything else, which an edit by hand may leave there."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


# --- reading ------------------------------------------------------------------------------------------------------


def select_range(execute: Execute, key: LogKey, start: int, until: int) -> list[tuple[int, bytes]]:
    """Returns position and content of the lines that begin in a range."""
    return decoded(execute(*range_query(key, start, until)))


def range_query(key: LogKey, start: int, until: int) -> tuple[str, dict[str, Any]]:
    """Returns the query for the lines that begin in a range, and its values. `decoded` takes its rows."""
    return _SELECT_RANGE, key.values | {"start": start, "until": until}


def decoded(rows: Iterable[Any]) -> list[tuple[int, bytes]]:
    """Returns position and content of lines."""
    return [(position, decode_line(text)) for position, text in rows]


def select_next(execute: Execute, key: LogKey, start: int) -> int | None:
    """Returns the position of the first line from a position on; None if there is none."""
    rows = execute(_SELECT_NEXT, key.values | {"start": start})
    return rows[0][0] if rows else None


def select_spans(execute: Execute, key: LogKey, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Returns the bytes at these (position, length) pairs, as they would stand in a file; short if lines are missing.

    Pairs that are whole lines are fetched together.
    """
    found: dict[int, bytes] = {}
    for some in batched(spans):
        found.update(_select_at(execute, key, some))
    return [
        line
        if (line := found.get(position)) is not None and len(line) == length
        else _select_bytes(execute, key, position, length)
        for position, length in spans
    ]


def _select_at(execute: Execute, key: LogKey, spans: Sequence[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """Fetches the lines that begin at these positions; as one range if most of its lines are wanted."""
    start, until = min(spans)[0], max(position + length + 1 for position, length in spans)
    if until - start <= 2 * sum(length + 1 for _, length in spans):
        return select_range(execute, key, start, until)
    # Filled up to a power of two, so that there are few different statements for the database to prepare.
    positions = [position for position, _ in spans]
    positions += [spans[0][0]] * ((1 << (len(spans) - 1).bit_length()) - len(spans))
    marks = ", ".join(f":p{number}" for number in range(len(positions)))
    values = {f"p{number}": position for number, position in enumerate(positions)}
    return decoded(execute(f"{_SELECT_LINES} position IN ({marks})", key.values | values))


def select_overlapping(execute: Execute, key: LogKey, start: int, until: int) -> list[tuple[int, bytes]]:
    """Returns position and content of the lines that have bytes in a range, up to the first missing line."""
    rows = execute(_SELECT_OVERLAPPING, key.values | {"start": start, "until": until})
    end = rows[0][0] if rows else start
    lines = []
    for position, line in decoded(rows):
        if position != end:
            break
        lines.append((position, line))
        end += len(line) + 1
    return lines


def _select_bytes(execute: Execute, key: LogKey, start: int, length: int) -> bytes:
    """Fetches any bytes of the log, up to the first missing line."""
    lines = select_overlapping(execute, key, start, start + length)
    first = lines[0][0] if lines else start
    return b"".join([line + b"\n" for _, line in lines])[max(0, start - first) :][:length]
