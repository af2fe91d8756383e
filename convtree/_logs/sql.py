"""A log in a database: a row for every line, and a row for the session, whose lock is the queue of its writers.

An append is one transaction. Its lines are built before it, on the guess that nobody else has written, and the
`UPDATE` of the session's row both takes the lock and shows whether the guess was right. If it was not, the lock comes
first: what others wrote is read under it, and the lines are built again.

Not here: how lines become rows (`sql_lines`), snapshots (`sql_snapshots`), sessions that are stored or replaced as a
whole (`sql_whole`), transactions (`sql_database`) and their errors (`sql_errors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import ms_of
from convtree._catalogue.tables import Execute
from convtree._engine import codec
from convtree._engine.log import Build, Chunk, LogReplaced, Mode, SnapshotFile, is_behind
from convtree._logs import sql_lines, sql_snapshots
from convtree._logs.sql_ahead import SELECT_SESSION, Ahead, read_ahead
from convtree._logs.sql_database import TRIES, SqlDatabase, back_off
from convtree._logs.sql_errors import CallRefused, RolledBack, UniqueViolation
from convtree._logs.sql_lines import ANYWHERE, Identity, LineBatch, LogKey, SessionRow
from convtree._logs.sql_tail import NO_TAIL, Tail, fault_of
from convtree._logs.sql_transaction import Transaction
from convtree._model.errors import (
    OutcomeUnknown,
    ReadOnlySession,
    SessionExists,
    SessionFailed,
    SessionLocked,
    SessionNotFound,
)
from convtree._model.interrupts import ending, is_interrupt
from convtree._model.resources import Uncopyable

T = TypeVar("T")

_WINDOW = 2**20  # bytes of the log that one query reads

#: a statement that ends the transaction, and its values; None if nothing is left to run
Last = tuple[str, catalogue.Values] | None


class _StaleGuess(Exception):
    """Another writer was faster: lines built on the guess that nobody had written cannot be used."""


class SqlLog(Uncopyable):
    """A log in a database. It need not exist yet: the first append adds it."""

    append_is_atomic = True

    def __init__(self, database: SqlDatabase, session_id: str, *, mode: Mode = "a") -> None:
        """Looks for the session.

        Raises:
            InvalidMessage: `session_id` is not a valid id.
            SessionNotFound: mode "r" or "r+", and there is no such session.
            SessionExists: mode "x", and there is one.
            TablesMissing: the database has no tables yet.
        """
        codec.check_id(session_id, "session_id")
        self.failed = False  # set when it stays unknown whether a commit took effect; never cleared
        self._database = database
        self._id = session_id
        self._mode = mode  # "a" and "x" become "r+" when the session exists: from then on it must exist
        self._identity: Identity | None = None  # of the session that was seen: differs if it was replaced
        self._tail: Tail | None = None  # the last line that was read or written
        self._fault: tuple[int, int] | None = None  # size and CRC in the row, if it is known that they are wrong
        self._begun: Identity | None = None  # of the session that this log added, in a commit that may be unheard of
        self._transaction: Transaction | None = None  # of the append that is running; reads go through it
        self._contended = False  # another writer was faster the last time: do not guess
        self._generation = 0  # of the snapshot that was read or saved last; 0 if there was none
        self._ahead: Ahead | None = None  # until the log is read again, or written to
        database.check_tables()
        row = self._find(ahead=True)
        if row is not None and mode == "x":
            raise SessionExists(f"{self.location}: this session exists already; open it, or choose another id")

    @property
    def location(self) -> str:
        """The database, and the id of the session."""
        return f"{self._database.location}#{self._id}"

    # --- reading ---

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on, in queries of bounded size, and what is wrong with the session's row."""
        ahead = self._unread
        self._ahead = None if ahead is None else ahead._replace(is_new=False)
        row = self._find() if ahead is None else ahead.row
        if row is not None and not self._is_others(row):
            self._check_same(row)
            fetched = () if ahead is None else ahead.lines_from(self._start_of(position))
            yield from self._chunks(position, row, fetched)

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these (position, length) pairs; other bytes, too, as they would stand in a file.

        Raises:
            SessionNotFound: the session was deleted since it was opened.
        """
        if not spans:
            return []  # a refresh that brings nothing new: no transaction for it
        if self._ahead is not None:
            ahead = self._ahead = self._ahead_from(self._ahead, spans[0][0])
            known = [ahead.read_at(position, length) for position, length in spans]
            if None not in known:
                return known  # type: ignore[return-value]  # as just checked
        lines = self._read(lambda execute: sql_lines.select_spans(execute, self._key, spans))
        if any(len(line) < length for line, (_, length) in zip(lines, spans, strict=True)):
            self._check_not_deleted()
        return lines

    @property
    def _unread(self) -> Ahead | None:
        """What was read ahead, until the log was read once: row and snapshot may be older than that by then."""
        return self._ahead if self._ahead is not None and self._ahead.is_new else None

    def _ahead_from(self, ahead: Ahead, position: int) -> Ahead:
        """Returns what was read ahead, from a position on.

        An open looks at the end of what its snapshot covers, and then reads what follows: one query for both.
        """
        if not ahead.is_new or not 0 < position < ahead.start <= position + _WINDOW:
            return ahead
        return ahead.preceded(
            self._read(lambda execute: sql_lines.select_overlapping(execute, self._key, position, ahead.start))
        )

    def _chunks(self, position: int, row: SessionRow, fetched: Sequence[tuple[int, bytes]] = ()) -> Iterator[Chunk]:
        """Yields the lines from a position on, and then what is wrong with the row, if that was not yielded yet.

        `fetched` are the lines from `_start_of` on, or a part of them.

        The line before the position is read again with them, so that another log in the place of this one is noticed.

        Raises:
            LogReplaced: that line is another one, or gone.
        """
        tail = self._tail = self._tail if self._tail is not None and self._tail.end == position else None
        if tail is None:
            self._fault = None
        elif tail.fits(row):
            self._fault = None
            return
        start = min(self._start_of(position), max(0, row.last_position))
        is_known = start < position  # the first line to come
        is_whole = bool(fetched) and start == fetched[0][0] and Tail.of(*fetched[-1]).end == row.size
        for rows in [list(fetched)] if is_whole else self._windows(start, row):
            if is_known:
                is_known, before = False, Tail.of(*rows.pop(0))
                if before.end != position or tail not in (None, before):
                    raise self._replaced()
                self._tail = before
            if rows:
                self._tail = Tail.of(*rows[-1])
                yield Chunk([at for at, _ in rows], [line for _, line in rows], self._tail.end)
        if is_known or (position and self._tail is None):
            raise self._replaced()
        yield from self._new_fault(row, self._tail or NO_TAIL)

    def _start_of(self, position: int) -> int:
        """Returns where to read from for the lines from a position on: with the line before them, if it is known."""
        return self._tail.position if self._tail is not None and self._tail.end == position else position

    def _new_fault(self, row: SessionRow, tail: Tail) -> Iterator[Chunk]:
        fault = fault_of(row, tail)
        known, self._fault = self._fault, None if fault is None else (row.size, row.last_crc)
        if fault is not None and self._fault != known:
            yield fault

    def _windows(self, at: int, row: SessionRow) -> Iterator[list[tuple[int, bytes]]]:
        """Yields position and content of the lines from a position to the last one, in queries of bounded size.

        Where lines are missing, the next one shows it, by the checksum that it names.
        """
        end = row.size if row.last_position == ANYWHERE else max(row.size, row.last_position)
        while at <= row.last_position:
            is_last = end - at <= _WINDOW
            until = ANYWHERE if is_last else at + _WINDOW
            rows, following = self._window(at, min(until, row.last_position + 1), is_last)
            if rows:
                following = rows[-1][0] + len(rows[-1][1]) + 1
                yield rows
            else:
                self._check_not_deleted()
            if is_last or following is None:
                return
            at = following

    def _window(self, at: int, until: int, is_last: bool) -> tuple[list[tuple[int, bytes]], int | None]:
        """Returns the lines in a range; if there are none, where the next one is instead, unless this is the end."""

        def select(execute: Execute) -> tuple[list[tuple[int, bytes]], int | None]:
            rows = sql_lines.select_range(execute, self._key, at, until)
            return rows, None if rows or is_last else sql_lines.select_next(execute, self._key, at)

        return self._read(select)

    def _find(self, ahead: bool = False) -> SessionRow | None:
        """Returns the session's row; None if it does not exist yet. Once it was found, it must exist.

        With `ahead`, reads with it what opening needs.

        Raises:
            SessionNotFound: it does not exist and must.
        """
        if ahead:
            row, self._ahead = self._read(lambda execute: read_ahead(execute, self._id))
        else:
            rows = self._read(lambda execute: execute(SELECT_SESSION, {"session_id": self._id}))
            row = SessionRow(*rows[0]) if rows else None
        if row is None:
            self._check_may_create()
            return None
        if self._mode == "a" or self._identity is None:
            self._identity = row.identity
        if self._mode == "a":
            self._mode = "r+"
        return row

    @property
    def _key(self) -> LogKey:
        return LogKey(self._id, self._identity or Identity())

    def _check_not_deleted(self) -> None:
        """Raises if the session that was read is gone, or its lines were replaced: then missing lines are no damage.

        Raises:
            SessionNotFound: the session was deleted.
            LogReplaced: its lines were replaced.
        """
        self._ahead = None
        row = self._find()
        if row is None or self._identity is None or row.identity == self._identity:
            return
        if row.created_ms == self._identity.created_ms:
            raise LogReplaced(self.location)
        raise SessionNotFound(f"{self.location}: this session was deleted, and another one has its id; open it again")

    def _is_others(self, row: SessionRow) -> bool:
        """Returns whether a session that must be new was begun by another process."""
        return self._mode == "x" and row.identity != self._begun

    def _check_may_create(self) -> None:
        if self._mode in ("r", "r+"):
            raise SessionNotFound(f"{self.location}: there is no session with this id")

    def _check_same(self, row: SessionRow) -> None:
        """Checks that the session is the one that was read.

        Raises:
            LogReplaced: it was deleted and another created, or its lines were replaced.
        """
        if row.identity != self._identity:
            self._identity = row.identity
            raise self._replaced()

    def _replaced(self) -> LogReplaced:
        self._tail = None
        return LogReplaced(self.location)

    def _read(self, query: Callable[[Transaction], T]) -> T:
        """Reads in the transaction of the running append, if there is one: only that sees what it has written."""
        return query(self._transaction) if self._transaction is not None else self._database.read(query)

    def reading_in(self, execute: Transaction, row: SessionRow | None, work: Callable[[], T]) -> T:
        """Calls `work` while the log reads in a transaction of the caller, which holds the lock of the session's row.

        Raises:
            SessionNotFound: there is no row.
        """
        if row is None:
            self._check_may_create()
        else:
            self._identity = row.identity
        return self._within(execute, work)

    def _within(self, execute: Transaction, work: Callable[[], T]) -> T:
        def begin() -> T:
            self._transaction, self._ahead = execute, None  # what is read under a lock must be as it is now
            return work()

        return ending(begin, self._leave)

    def _leave(self) -> None:
        self._transaction = None

    # --- writing ---

    def append(self, position: int, build: Build) -> Chunk:
        """Appends the lines that `build` returns, in one transaction; `build` may be called more than once.

        If the connection is lost during the commit, looks whether the lines are stored before it tries again.
        """
        if self.failed:
            raise SessionFailed(f"{self.location}: an earlier write failed; open the session again")
        if self._mode == "r":
            raise ReadOnlySession(f"{self.location}: it was opened with mode='r'; open it with another mode to write")
        self._ahead = None
        guess = None if self._contended else _build_on_guess(build)
        unknown: Chunk | None = None
        ids_taken = False
        chunk = Chunk((), (), position)

        def add(execute: Transaction) -> None:
            nonlocal chunk
            if guess is not None:
                chunk, last = self._add_guessed(execute, position, guess)
            else:
                chunk, last = self._add(execute, position, build, unknown, ids_taken)
            if last is not None and not execute.commit(*last):
                raise self._replaced() if guess is None else _StaleGuess

        for number in range(TRIES):
            chunk = Chunk((), (), position)
            try:
                # a guess reads nothing
                self._database.write(
                    add if guess is not None else lambda execute: self._within(execute, partial(add, execute))
                )
                if chunk.lines:
                    self._mode, self._tail = "r+", Tail.of(chunk.positions[-1], chunk.lines[-1])
                return chunk
            except _StaleGuess:
                self._contended = True
            except OutcomeUnknown:
                unknown = chunk
                back_off(number)
            except RolledBack as error:
                self._begun = None
                ids_taken = ids_taken or isinstance(error, UniqueViolation)
                back_off(number)
            except (OSError, SessionLocked) as error:
                if isinstance(error, CallRefused) and self._database.appends_at_once:
                    self._database.appends_at_once = False  # the function of appends was dropped or revoked meanwhile
                elif unknown is None:
                    raise
                back_off(number)  # an earlier try may have stored the lines; only the database knows
            guess = None
        if unknown is None:
            raise self._database.too_contended()
        self.failed = True
        raise SessionFailed(f"{self.location}: whether the last write is stored is unknown; open the session again")

    def _add_guessed(self, execute: Transaction, position: int, guess: LineBatch) -> tuple[Chunk, Last]:
        """Adds lines that were built before the lock was taken. Returns as `_add`.

        Raises:
            _StaleGuess: another writer was faster; the transaction must be rolled back.
        """
        if self._mode != "r+":
            if sql_lines.lock_and_advance(execute, self._id, guess) is not None:
                raise _StaleGuess
            return self._add_session(execute, guess), None
        found = self._last(position, guess)
        if found is not None:
            return found
        row = sql_lines.lock_and_advance(execute, self._id, guess, self._after(position))
        if row is None or row.size - guess.length != position or row.identity != self._identity:
            raise _StaleGuess
        return sql_lines.insert_lines(execute, self._id, position, guess, row), None

    def _last(self, position: int, batch: LineBatch) -> tuple[Chunk, Last] | None:
        """Returns lines and the statement that appends them and ends the transaction; None if it takes more than one.

        It returns no row if the session is not the one that was read, or its end is not there.
        """
        after = self._after(position) if self._database.appends_at_once else None
        if after is None:
            return None
        chunk = sql_lines.chunk_of(position, batch)
        last = sql_lines.statement_of(self._key, chunk, batch, after)
        return None if last is None else (chunk, last)

    def _after(self, position: int) -> dict[str, int] | None:
        """Returns the condition of an append after a position; None if its last line is not known."""
        return self._tail.condition if self._tail is not None and self._tail.end == position else None

    def _add(
        self, execute: Transaction, position: int, build: Build, unknown: Chunk | None, ids_taken: bool
    ) -> tuple[Chunk, Last]:
        """Takes the lock, then builds lines on what is stored and adds them.

        `unknown` are the lines of an earlier try whose commit may have taken effect; if it has, returns those. After a
        try that failed because an id is in the columns (`ids_taken`), looks which: that of a lost entry, which the
        lines bring back, or of a line that a damaged log, which is being copied, has twice.

        Returns the lines, and the last statement if it is still to be run.
        """
        start = self._start_of(position)
        rows, fetched = execute.all(
            (catalogue.LOCK, {"session_id": self._id}), sql_lines.range_query(self._key, start, start + _WINDOW)
        )
        if not rows:
            return self._add_session(execute, sql_lines.batch_of(build(iter(())))), None
        row = SessionRow(*rows[0])
        # We hold the lock of the row, so the transaction with the unknown outcome has ended.
        if unknown is not None and self._is_stored(unknown):
            return unknown, None
        if self._is_others(row):
            raise SessionExists(f"{self.location}: another process has just created this session; open it")
        if self._mode in ("a", "x"):
            self._mode, self._identity = "r+", row.identity
        self._check_same(row)
        self._contended = row.size != position
        lines = build(self._chunks(position, row, sql_lines.decoded(fetched)))
        if lines.end < row.size:  # copied lines; those written here are whole
            raise ReadOnlySession(
                f"{self.location}: the log ends within a group, because a copy was interrupted; copy it again"
            )
        batch = sql_lines.batch_of(lines)
        if not batch.lines:
            return Chunk((), (), row.size), None
        if ids_taken:
            batch = sql_lines.take_lost_ids(execute, self._id, batch)
            batch = sql_lines.without_duplicates(batch, sql_lines.stored_ids(execute, self._id, batch))
        found = None if row.copying_to is not None else self._last(row.size, batch)
        if found is not None:
            return found
        if sql_lines.lock_and_advance(execute, self._id, batch, self._after(row.size)) is None:
            raise self._replaced()
        return sql_lines.insert_lines(execute, self._id, row.size, batch, row), None

    def _add_session(self, execute: Execute, batch: LineBatch) -> Chunk:
        """Adds the session and its first lines. If two processes do so, the second is rolled back and tries again."""
        self._check_may_create()
        if not batch.lines:
            return Chunk((), (), 0)
        batch = sql_lines.without_duplicates(batch, set())
        added = sql_lines.add_session(execute, self._id, batch.lines[0])
        self._identity = self._begun = Identity(ms_of(added.timestamp))
        row = sql_lines.lock_and_advance(execute, self._id, batch)
        assert row is not None
        return sql_lines.insert_lines(execute, self._id, 0, batch, row)

    def _is_stored(self, chunk: Chunk) -> bool:
        """Returns whether these lines are stored at their positions."""
        spans = [(position, len(line)) for position, line in zip(chunk.positions, chunk.lines, strict=True)]
        return self.read_at(spans) == list(chunk.lines)

    # --- the snapshot ---

    def snapshot(self) -> SnapshotFile | None:
        """Returns the newest snapshot. It stays readable until a few more were saved."""
        ahead = self._unread
        end = None if ahead is None else ahead.snapshot
        if ahead is not None:
            newest = None if end is None else end[:2]
        else:
            newest = self._read(lambda execute: sql_snapshots.newest_snapshot(execute, self._id))
        if newest is None:
            self._generation = 0
            return None
        self._generation, size = newest
        return SnapshotFile(size, sql_snapshots.SnapshotReader(self._database, self._id, self._generation, end).read)

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Saves a snapshot, unless it lacks much of the log and another process has saved one since ours was read."""
        if self._mode != "r+" or self.failed or self._fault is not None:
            return
        parts = sql_snapshots.split_into_parts(pieces)

        def save(execute: Execute) -> int:
            rows = execute(catalogue.LOCK, {"session_id": self._id})
            row = SessionRow(*rows[0]) if rows else None
            if row is None or row.size < end or row.identity != self._identity:
                raise LogReplaced(self.location)
            newest = sql_snapshots.newest_snapshot(execute, self._id)
            generation = newest[0] if newest else 0
            if is_behind(end, row.size) and generation != self._generation:
                return self._generation
            sql_snapshots.insert_snapshot(execute, self._id, generation + 1, parts)
            return generation + 1

        self._generation = self._database.transact(save)

    def close(self) -> None:
        """Does nothing: the connections belong to the database."""


def _build_on_guess(build: Build) -> LineBatch | None:
    """Builds lines as if nobody else had written; None if that gives no lines or fails.

    Then `build` is called again under the lock, and its error, if it is one, is raised there.
    """
    try:
        lines = build(iter(()))
    except Exception as error:
        if is_interrupt(error):
            raise
        return None
    return sql_lines.batch_of(lines) if lines else None
