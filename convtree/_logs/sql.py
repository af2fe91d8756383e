"""A log in a database: a row for every line, and a row for the session whose lock is the queue of its writers.

The line is the truth and is stored as text, byte for byte; the columns beside it are for lists and searches. Positions
are byte offsets, as if the lines stood in a file, so that findings, snapshots and copies mean the same everywhere.

An append is one transaction: lines are made before it, on the guess that nobody else wrote, and the `UPDATE` of the
session's row both takes the lock and says whether the guess was right. If not, the lock comes first: what others
wrote is read under it, and the lines are made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from typing import NamedTuple
from zlib import crc32

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import RecordSummary, ms_of, summarise_record
from convtree._catalogue.tables import Execute
from convtree._engine import codec
from convtree._engine.log import Build, Chunk, LogReplaced, Mode, SnapshotFile
from convtree._logs.sql_engine import TRIES, CommitUnknown, RolledBack, SqlDatabase, UniqueViolation, pause
from convtree._model.entries import Header
from convtree._model.errors import (
    ConvtreeError,
    ReadOnlySession,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
)
from convtree._model.resources import Uncopyable

_WINDOW = 2**20  # bytes of the log that one query asks for
_MANY = 500  # rows that one query asks for by their positions, or adds
_PART = 2**16  # bytes of a snapshot in one row
_PARTS_IN_MEMORY = 2
_PARTS_AT_ONCE = 64
_HEADER = b'{"type":"session",'
_HEX = "\\x"  # begins no JSON

_FIND = "SELECT size, created_ms, copying, parent_entry FROM ct_sessions WHERE session_id = :session_id"
_LINES = "SELECT position, line FROM ct_lines WHERE session_id = :session_id AND"
_BETWEEN = f"{_LINES} position >= :start AND position < :until ORDER BY position"
_FROM = (
    f"{_LINES} position >= COALESCE((SELECT MAX(position) FROM ct_lines WHERE session_id = :session_id "
    "AND position <= :start), 0) AND position < :until ORDER BY position"
)
_NEWEST = "SELECT generation, size FROM ct_snapshots WHERE session_id = :session_id ORDER BY generation DESC LIMIT 1"
_PART_AT = "SELECT data FROM ct_snapshots WHERE session_id = :session_id AND generation = :generation AND part = :part"
_KEEP = (
    "INSERT INTO ct_snapshots (session_id, generation, part, size, data) "
    "VALUES (:session_id, :generation, :part, :size, :data)"
)
_FORGET = "DELETE FROM ct_snapshots WHERE session_id = :session_id AND generation < :generation"


class _StaleGuess(Exception):
    """Others wrote meanwhile: what was made on the guess that nobody did cannot be used."""


class _Row(NamedTuple):
    """What a session's row says of its log."""

    size: int
    created_ms: int | None
    copying: int
    parent_entry: str | None


class _Batch(NamedTuple):
    """Lines to be added, and what the columns say of each; None of a header, and of what is no record."""

    lines: list[bytes]
    digests: list[RecordSummary | None]

    @property
    def records(self) -> list[RecordSummary]:
        """The digests that there are."""
        return [each for each in self.digests if each is not None]

    @property
    def length(self) -> int:
        """How much longer the log becomes."""
        return sum(map(len, self.lines)) + len(self.lines)


class SqlLog(Uncopyable):
    """A log in a database. It need not exist yet: the first append adds it."""

    def __init__(self, database: SqlDatabase, session_id: str, *, mode: Mode = "a") -> None:
        """Looks for the session.

        Raises:
            InvalidMessage: `session_id` is no id.
            SessionNotFound: mode "r" or "r+", and there is none.
            SessionExists: mode "x", and there is one.
            TablesMissing: the database has no tables yet.
        """
        codec.check_id(session_id, "session_id")
        self.failed = False
        self._database = database
        self._id = session_id
        self._mode = mode
        self._born: int | None = None  # the time in the header: tells a session from a later one of the same id
        self._open: Execute | None = None  # the transaction of the append that is under way
        self._crowded = False  # others wrote since we did
        self._generation = 0  # of the snapshot that was read or kept last
        database.check_tables()
        row = self._find()
        if row is not None and mode == "x":
            raise SessionExists(f"{self.location}: there is a session of this id already")

    @property
    def location(self) -> str:
        """The database, and the id of the session."""
        return f"{self._database.location}#{self._id}"

    # --- reading ---

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on, so many in a query that they fit into memory."""
        row = self._find()
        if row is not None and self._mode != "x":
            self._check_same(row, position)
            yield from self._chunks(position, row.size)

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these places, and any other bytes as they would stand in a file."""
        found: dict[int, bytes] = {}
        with self._reading() as execute:
            for start in range(0, len(spans), _MANY):
                found.update(_rows_at(execute, self._id, spans[start : start + _MANY]))
            return [
                line
                if (line := found.get(position)) is not None and len(line) == length
                else _bytes_at(execute, self._id, position, length)
                for position, length in spans
            ]

    def _chunks(self, position: int, size: int) -> Iterator[Chunk]:
        while position < size:
            until = min(size, position + _WINDOW)
            with self._reading() as execute:
                rows = execute(_BETWEEN, {"session_id": self._id, "start": position, "until": until})
            if rows:
                lines = [_line_of(text) for _, text in rows]
                yield Chunk([at for at, _ in rows], lines, end := rows[-1][0] + len(lines[-1]) + 1)
                position = end
            else:
                position = until  # rows are missing here: the next line says so, by the one that it names before it

    def _find(self) -> _Row | None:
        """Looks for the session's row; from when it was found on, it must be there."""
        with self._reading() as execute:
            rows = execute(_FIND, {"session_id": self._id})
        if not rows:
            self._check_may_begin()
            return None
        row = _Row(*rows[0])
        if self._mode == "a" or self._born is None:
            self._born = row.created_ms
        if self._mode == "a":
            self._mode = "r+"
        return row

    def _check_may_begin(self) -> None:
        if self._mode in ("r", "r+"):
            raise SessionNotFound(f"{self.location}: there is no session of this id")

    def _check_same(self, row: _Row, position: int) -> None:
        """Makes sure that what was read up to a position is still there."""
        if row.created_ms != self._born:
            self._born = row.created_ms
            raise LogReplaced(self.location)
        if row.size < position:
            raise LogReplaced(self.location)

    @contextmanager
    def _reading(self) -> Iterator[Execute]:
        """Reads in the transaction that is under way, if one is: it may need what only that can see."""
        if self._open is not None:
            yield self._open
        else:
            with self._database.reading() as execute:
                yield execute

    # --- writing ---

    def append(self, position: int, build: Build) -> Chunk:
        """Adds the lines that `build` returns, in one transaction; `build` may be called more than once."""
        if self.failed:
            raise SessionFailed(f"{self.location}: an earlier write failed; open the session again")
        if self._mode == "r":
            raise ReadOnlySession(f"{self.location}: it was opened with mode='r'")
        guess = None if self._crowded else _guess(build)
        unsettled: Chunk | None = None
        for number in range(TRIES):
            chunk = Chunk((), (), position)
            try:
                with self._writing() as execute:
                    if guess is not None:
                        chunk = self._add_guessed(execute, position, guess)
                    else:
                        chunk = self._add(execute, position, build, unsettled)
                if chunk.lines:
                    self._mode = "r+"
                return chunk
            except _StaleGuess:
                self._crowded = True
            except CommitUnknown:
                unsettled = chunk
                pause(number)
            except RolledBack:
                pause(number)
            except (OSError, SessionLocked):
                if unsettled is None:
                    raise
                pause(number)  # whatever it is: only the database can say whether the lines are there
            guess = None
        if unsettled is None:
            raise self._database.crowded()
        self.failed = True
        raise SessionFailed(f"{self.location}: whether the last write is stored is unknown; open the session again")

    @contextmanager
    def _writing(self) -> Iterator[Execute]:
        with self._database.writing() as execute:
            self._open = execute
            try:
                yield execute
            finally:
                self._open = None

    def _add_guessed(self, execute: Execute, position: int, guess: _Batch) -> Chunk:
        """Adds lines that were made before the lock, if they fit.

        Raises:
            _Behind: others wrote; the transaction is of no use.
        """
        row = _advance(execute, self._id, guess)
        if row is None:
            return self._begin(execute, guess)
        if self._mode != "r+" or row.size - guess.length != position or row.created_ms != self._born:
            raise _StaleGuess
        return _store(execute, self._id, position, guess, row)

    def _add(self, execute: Execute, position: int, build: Build, unsettled: Chunk | None) -> Chunk:
        """Takes the lock, and adds lines behind everything that is there."""
        rows = execute(catalogue.LOCK, {"session_id": self._id})
        if not rows:
            return self._begin(execute, _batch(build(iter(()))))
        row = _Row(*rows[0])
        # With the lock of its row ours, the transaction whose end is unknown has ended.
        if unsettled is not None and self._holds(unsettled):
            return unsettled
        if self._mode == "x":
            raise SessionExists(f"{self.location}: someone else has just added this session")
        if self._mode == "a":
            self._mode, self._born = "r+", row.created_ms
        self._check_same(row, position)
        self._crowded = row.size != position
        batch = _batch(build(self._chunks(position, row.size)))
        if not batch.lines:
            return Chunk((), (), row.size)
        _advance(execute, self._id, batch)
        return _store(execute, self._id, row.size, batch, row)

    def _begin(self, execute: Execute, batch: _Batch) -> Chunk:
        """Adds the session with its first lines; of two that do so, the second is rolled back and tries again."""
        self._check_may_begin()
        if not batch.lines:
            return Chunk((), (), 0)
        header = _header_of(batch.lines[0], self._id)
        self._born = ms_of(header.timestamp)
        catalogue.add_session(execute, self._id, header)
        row = _advance(execute, self._id, batch)
        assert row is not None
        return _store(execute, self._id, 0, batch, row)

    def _holds(self, chunk: Chunk) -> bool:
        """Tells whether these lines stand where they were to stand."""
        spans = [(position, len(line)) for position, line in zip(chunk.positions, chunk.lines, strict=True)]
        return self.read_at(spans) == list(chunk.lines)

    # --- what is kept beside it ---

    def snapshot(self) -> SnapshotFile | None:
        """Returns the last snapshot that was kept; it stays readable until the one after the next is kept."""
        with self._reading() as execute:
            newest = execute(_NEWEST, {"session_id": self._id})
        if not newest:
            self._generation = 0
            return None
        self._generation, size = newest[0]
        return SnapshotFile(size, _Parts(self._database, self._id, newest[0][0]).read)

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Adds a snapshot, unless another has kept one since it was read that may cover more."""
        if self._mode != "r+" or self.failed:
            return
        parts = _parts(pieces)

        def keep(execute: Execute) -> int:
            rows = execute(catalogue.LOCK, {"session_id": self._id})
            row = _Row(*rows[0]) if rows else None
            if row is None or row.size < end or row.created_ms != self._born:
                raise LogReplaced(self.location)
            newest = execute(_NEWEST, {"session_id": self._id})
            generation: int = newest[0][0] if newest else 0
            if row.size != end and generation != self._generation:
                return self._generation
            _keep(execute, self._id, generation + 1, parts)
            return generation + 1

        self._generation = self._database.transact(keep)

    def close(self) -> None:
        """Does nothing: the connections are the database's."""


def write_session(database: SqlDatabase, session_id: str, lines: Iterable[bytes]) -> None:
    """Adds a session with these lines, the header first, in one transaction: it appears whole or not at all.

    Raises:
        SessionExists: there is one of this id already.
        OSError: as it comes; `Unsettled` when it is unknown whether the session is there.
    """
    codec.check_id(session_id, "session_id")
    try:
        with database.writing() as execute:
            if execute(_FIND, {"session_id": session_id}):
                raise UniqueViolation
            _write_lines(execute, session_id, iter(lines))
    except UniqueViolation:  # by someone at the same time, too
        raise SessionExists(f"{database.location}#{session_id}: there is a session of this id already") from None


def _write_lines(execute: Execute, session_id: str, lines: Iterator[bytes]) -> None:
    known: set[str] = set()
    end = 0
    while some := list(islice(lines, _MANY)):
        batch = _without_repeats(_batch(some), known)
        if end == 0:
            catalogue.add_session(execute, session_id, _header_of(some[0], session_id))
        row = _advance(execute, session_id, batch)
        assert row is not None
        end = _store(execute, session_id, end, batch, row).end


# --- lines and rows -----------------------------------------------------------------------------------------------


def _guess(build: Build) -> _Batch | None:
    """Makes lines as if nobody else wrote; None when there are none, whatever the reason: the lock will tell."""
    try:
        lines = build(iter(()))
    except Exception:
        return None
    return _batch(lines) if lines else None


def _batch(lines: Sequence[bytes]) -> _Batch:
    return _Batch(list(lines), [_digest_of(line) for line in lines])


def _digest_of(line: bytes) -> RecordSummary | None:
    try:
        return None if line.startswith(_HEADER) else summarise_record(codec.decode(line))
    except codec.DECODE_ERRORS:
        return None


def _without_repeats(batch: _Batch, known: set[str]) -> _Batch:
    """Leaves the columns empty for lines whose id is known, as a damaged log may have them: the first one counts."""
    digests: list[RecordSummary | None] = []
    for each in batch.digests:
        digests.append(None if each is None or each.id in known else each)
        if each is not None:
            known.add(each.id)
    return batch._replace(digests=digests)


def _header_of(line: bytes, session_id: str) -> Header:
    """Reads a header; what is none stands for one that was damaged."""
    try:
        return codec.decode_header(line) or Header(id=session_id)
    except codec.DECODE_ERRORS:
        return Header(id=session_id)


def _advance(execute: Execute, session_id: str, batch: _Batch) -> _Row | None:
    """Takes the lock of a session's row and brings it up to these lines; None when there is no such row."""
    values = catalogue.update_session_row(session_id, batch.records, batch.length, crc32(batch.lines[-1]))
    rows = execute(catalogue.ADVANCE, values)
    return _Row(*rows[0]) if rows else None


def _store(execute: Execute, session_id: str, start: int, batch: _Batch, row: _Row) -> Chunk:
    """Adds the lines themselves, and what they cost."""
    positions = list(accumulate((len(line) + 1 for line in batch.lines), initial=start))
    rows = []
    for position, line, each in zip(positions, batch.lines, batch.digests, strict=False):
        values = catalogue.line_of(session_id, position, each, _text_of(line))
        rows.append(values if each is not None or position == 0 else {**values, "type": ""})
    for first in range(0, len(rows), _MANY):
        catalogue.add_lines(execute, rows[first : first + _MANY])
    catalogue.add_usage(execute, session_id, batch.records, row.parent_entry if row.copying else None)
    return Chunk(positions[:-1], batch.lines, positions[-1])


def _text_of(line: bytes) -> str:
    """Makes the text that is stored for a line; in hex, as PostgreSQL writes bytes, where it is no text."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    return _HEX + line.hex() if "\0" in text or text.startswith(_HEX) else text


def _line_of(text: str) -> bytes:
    return bytes.fromhex(text[len(_HEX) :]) if text.startswith(_HEX) else text.encode()


def _rows_at(execute: Execute, session_id: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Fetches the lines that begin at these places; as a range, when most of a range is wanted."""
    start, until = min(spans)[0], max(position + length + 1 for position, length in spans)
    if until - start <= 2 * sum(length + 1 for _, length in spans):
        rows = execute(_BETWEEN, {"session_id": session_id, "start": start, "until": until})
    else:
        # Filled up to a power of two, so that a few statements serve every number.
        places = [position for position, _ in spans] + [spans[0][0]] * (
            (1 << (len(spans) - 1).bit_length()) - len(spans)
        )
        marks = ", ".join(f":p{number}" for number in range(len(places)))
        values = {f"p{number}": position for number, position in enumerate(places)}
        rows = execute(f"{_LINES} position IN ({marks})", {"session_id": session_id, **values})
    return ((position, _line_of(text)) for position, text in rows)


def _bytes_at(execute: Execute, session_id: str, start: int, length: int) -> bytes:
    """Fetches any bytes of the log, up to where a row is missing."""
    rows = execute(_FROM, {"session_id": session_id, "start": start, "until": start + length})
    first = end = rows[0][0] if rows else start
    pieces = []
    for position, text in rows:
        if position != end:
            break
        pieces.append(_line_of(text) + b"\n")
        end += len(pieces[-1])
    return b"".join(pieces)[max(0, start - first) :][:length]


# --- snapshots ----------------------------------------------------------------------------------------------------


class _Parts:
    """A snapshot that is read part by part; the last few stay in memory."""

    def __init__(self, database: SqlDatabase, session_id: str, generation: int) -> None:
        self._database = database
        self._key = {"session_id": session_id, "generation": generation}
        self._parts: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Returns the bytes there, fewer at the end and where a part is missing."""
        first, last = offset // _PART, (offset + length - 1) // _PART
        try:
            data = b"".join(map(self._part, range(first, last + 1)))
        except (OSError, ConvtreeError):
            return b""  # as good as damaged, and done without
        return data[offset - first * _PART :][:length]

    def _part(self, number: int) -> bytes:
        if number not in self._parts:
            with self._database.reading() as execute:
                rows = execute(_PART_AT, {**self._key, "part": number})
            if len(self._parts) >= _PARTS_IN_MEMORY:
                del self._parts[next(iter(self._parts))]
            self._parts[number] = bytes(rows[0][0]) if rows else b""
        return self._parts[number]


def _parts(pieces: Iterable[bytes]) -> list[bytes]:
    """Joins pieces and cuts them anew; there is always a part, if an empty one."""
    whole = b"".join(pieces)
    return [whole[start : start + _PART] for start in range(0, len(whole), _PART)] or [b""]


def _keep(execute: Execute, session_id: str, generation: int, parts: Sequence[bytes]) -> None:
    """Adds a snapshot; the one before stays for those who are reading it."""
    key = {"session_id": session_id, "generation": generation, "size": sum(map(len, parts))}
    rows = [{**key, "part": number, "data": part} for number, part in enumerate(parts)]
    for first in range(0, len(rows), _PARTS_AT_ONCE):
        execute(_KEEP, rows[first : first + _PARTS_AT_ONCE])
    execute(_FORGET, {"session_id": session_id, "generation": generation - 1})
