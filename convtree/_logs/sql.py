"""A log in a database: a row for every line, and a row for the session, whose lock is the queue of its writers.

An append is one transaction. Its lines are built before it, on the guess that nobody else has written, and the
`UPDATE` of the session's row both takes the lock and shows whether the guess was right. If it was not, the lock comes
first: what others wrote is read under it, and the lines are built again.

Not here: how lines become rows (`sql_lines`), snapshots (`sql_snapshots`), connections and errors (`sql_engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import ms_of
from convtree._catalogue.tables import Execute
from convtree._engine import codec
from convtree._engine.log import Build, Chunk, Log, LogReplaced, Mode, SnapshotFile, is_behind
from convtree._logs import sql_lines, sql_snapshots
from convtree._logs.sql_engine import TRIES, CommitUnknown, RolledBack, SqlDatabase, UniqueViolation, back_off
from convtree._logs.sql_lines import Identity, LineBatch, LogKey, SessionRow
from convtree._model.batches import batched
from convtree._model.errors import (
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

_SELECT_SESSION = f"SELECT {catalogue.ROW} FROM ct_sessions WHERE session_id = :session_id"


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
        self._begun: Identity | None = None  # of the session that this log added, in a commit that may be unheard of
        self._transaction: Execute | None = None  # of the append that is running; reads go through it
        self._contended = False  # another writer was faster the last time: do not guess
        self._generation = 0  # of the snapshot that was read or saved last; 0 if there was none
        database.check_tables()
        row = self._find()
        if row is not None and mode == "x":
            raise SessionExists(f"{self.location}: this session exists already; open it, or choose another id")

    @property
    def location(self) -> str:
        """The database, and the id of the session."""
        return f"{self._database.location}#{self._id}"

    # --- reading ---

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on, in queries of bounded size."""
        row = self._find()
        if row is not None and not self._is_others(row):
            self._check_same(row, position)
            yield from self._chunks(position, row.size)

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Returns the lines at these (position, length) pairs; other bytes, too, as they would stand in a file.

        Raises:
            SessionNotFound: the session was deleted since it was opened.
        """
        lines = self._read(lambda execute: sql_lines.select_spans(execute, self._key, spans))
        if any(len(line) < length for line, (_, length) in zip(lines, spans, strict=True)):
            self._check_not_deleted()
        return lines

    def _chunks(self, position: int, size: int) -> Iterator[Chunk]:
        while position < size:
            until = min(size, position + _WINDOW)
            rows = self._read(partial(sql_lines.select_range, key=self._key, start=position, until=until))
            if rows:
                lines = [line for _, line in rows]
                yield Chunk([at for at, _ in rows], lines, end := rows[-1][0] + len(lines[-1]) + 1)
                position = end
            else:
                self._check_not_deleted()
                position = until  # lines are missing; the next line shows it, by the checksum it names

    def _find(self) -> SessionRow | None:
        """Returns the session's row; None if it does not exist yet. Once it was found, it must exist.

        Raises:
            SessionNotFound: it does not exist and must.
        """
        rows = self._read(lambda execute: execute(_SELECT_SESSION, {"session_id": self._id}))
        if not rows:
            self._check_may_create()
            return None
        row = SessionRow(*rows[0])
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

    def _check_same(self, row: SessionRow, position: int) -> None:
        """Checks that the session is the one that was read up to a position.

        Raises:
            LogReplaced: it was deleted and another created, or it is shorter now.
        """
        if row.identity != self._identity:
            self._identity = row.identity
            raise LogReplaced(self.location)
        if row.size < position:
            raise LogReplaced(self.location)

    def _read(self, query: Callable[[Execute], T]) -> T:
        """Reads in the transaction of the running append, if there is one: only that sees what it has written."""
        return query(self._transaction) if self._transaction is not None else self._database.read(query)

    def reading_in(self, execute: Execute, row: SessionRow | None, work: Callable[[], T]) -> T:
        """Calls `work` while the log reads in a transaction of the caller, which holds the lock of the session's row.

        Raises:
            SessionNotFound: there is no row.
        """
        if row is None:
            self._check_may_create()
        else:
            self._identity = row.identity
        return self._within(execute, work)

    def _within(self, execute: Execute, work: Callable[[], T]) -> T:
        def begin() -> T:
            self._transaction = execute
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
        guess = None if self._contended else _build_on_guess(build)
        unknown: Chunk | None = None
        ids_taken = False
        chunk = Chunk((), (), position)

        def add(execute: Execute) -> None:
            nonlocal chunk
            if guess is not None:
                chunk = self._add_guessed(execute, position, guess)
            else:
                chunk = self._add(execute, position, build, unknown, ids_taken)

        for number in range(TRIES):
            chunk = Chunk((), (), position)
            try:
                self._database.write(lambda execute: self._within(execute, lambda: add(execute)))
                if chunk.lines:
                    self._mode = "r+"
                return chunk
            except _StaleGuess:
                self._contended = True
            except CommitUnknown:
                unknown = chunk
                back_off(number)
            except RolledBack as error:
                self._begun = None
                ids_taken = ids_taken or isinstance(error, UniqueViolation)
                back_off(number)
            except (OSError, SessionLocked):
                if unknown is None:
                    raise
                back_off(number)  # an earlier try may have stored the lines; only the database knows
            guess = None
        if unknown is None:
            raise self._database.too_contended()
        self.failed = True
        raise SessionFailed(f"{self.location}: whether the last write is stored is unknown; open the session again")

    def _add_guessed(self, execute: Execute, position: int, guess: LineBatch) -> Chunk:
        """Adds lines that were built before the lock was taken.

        Raises:
            _StaleGuess: another writer was faster; the transaction must be rolled back.
        """
        row = sql_lines.lock_and_advance(execute, self._id, guess)
        if row is None:
            return self._add_session(execute, guess)
        if self._mode != "r+" or row.size - guess.length != position or row.identity != self._identity:
            raise _StaleGuess
        return sql_lines.insert_lines(execute, self._id, position, guess, row)

    def _add(self, execute: Execute, position: int, build: Build, unknown: Chunk | None, ids_taken: bool) -> Chunk:
        """Takes the lock, then builds lines on what is stored and adds them.

        `unknown` are the lines of an earlier try whose commit may have taken effect; if it has, returns those. After a
        try that failed because an id is in the columns (`ids_taken`), looks which: that of a lost entry, which the
        lines bring back, or of a line that a damaged log, which is being copied, has twice.
        """
        rows = execute(catalogue.LOCK, {"session_id": self._id})
        if not rows:
            return self._add_session(execute, sql_lines.batch_of(build(iter(()))))
        row = SessionRow(*rows[0])
        # We hold the lock of the row, so the transaction with the unknown outcome has ended.
        if unknown is not None and self._is_stored(unknown):
            return unknown
        if self._is_others(row):
            raise SessionExists(f"{self.location}: another process has just created this session; open it")
        if self._mode in ("a", "x"):
            self._mode, self._identity = "r+", row.identity
        self._check_same(row, position)
        self._contended = row.size != position
        lines = build(self._chunks(position, row.size))
        if lines.end < row.size:  # copied lines; those written here are whole
            raise ReadOnlySession(
                f"{self.location}: the log ends within a group, because a copy was interrupted; copy it again"
            )
        batch = sql_lines.batch_of(lines)
        if not batch.lines:
            return Chunk((), (), row.size)
        if ids_taken:
            batch = sql_lines.take_lost_ids(execute, self._id, batch)
            batch = sql_lines.without_duplicates(batch, sql_lines.stored_ids(execute, self._id, batch))
        sql_lines.lock_and_advance(execute, self._id, batch)
        return sql_lines.insert_lines(execute, self._id, row.size, batch, row)

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
        newest = self._read(lambda execute: sql_snapshots.newest_snapshot(execute, self._id))
        if newest is None:
            self._generation = 0
            return None
        self._generation, size = newest
        return SnapshotFile(size, sql_snapshots.SnapshotReader(self._database, self._id, self._generation).read)

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        """Saves a snapshot, unless it lacks much of the log and another process has saved one since ours was read."""
        if self._mode != "r+" or self.failed:
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


def write_session(database: SqlDatabase, session_id: str, lines: Iterable[bytes]) -> None:
    """Adds a session with these lines, the header first, in one transaction: it appears whole or not at all.

    Raises:
        SessionExists: there is a session with this id.
        CommitUnknown: the connection was lost during the commit; the session may be there, whole.
        OSError: another failure of the database; nothing was written.
    """
    codec.check_id(session_id, "session_id")

    def write(execute: Execute) -> None:
        if execute(_SELECT_SESSION, {"session_id": session_id}):
            raise UniqueViolation
        _write_lines(execute, session_id, lines)

    try:
        database.write(write)
    except UniqueViolation:  # also if another process adds it at the same time
        raise SessionExists(
            f"{database.location}#{session_id}: this session exists already; choose another id"
        ) from None


def rewrite_session(
    database: SqlDatabase, session_id: str, build: Callable[[Log, Execute], Sequence[bytes] | None]
) -> None:
    """Replaces the lines of a session by those that `build` returns, in one transaction; None changes nothing.

    `build` gets the log, and may read with the transaction. It is called again if the server rolls that back.

    Raises:
        SessionNotFound: there is no session with this id.
        CommitUnknown: the connection was lost during the commit; the log is the old one or the new one.
    """
    log = SqlLog(database, session_id, mode="r")

    def rewrite(execute: Execute) -> None:
        rows = execute(catalogue.LOCK, {"session_id": session_id})
        lines = log.reading_in(execute, SessionRow(*rows[0]) if rows else None, lambda: build(log, execute))
        if lines is not None:
            catalogue.reset_session(execute, session_id, sql_lines.header_of(lines[0], session_id))
            _write_lines(execute, session_id, lines, is_new=False)

    database.transact(rewrite)


def _write_lines(execute: Execute, session_id: str, lines: Iterable[bytes], is_new: bool = True) -> None:
    known: set[str] = set()
    has_lost, end = False, 0
    for some in batched(lines):
        batch = sql_lines.without_duplicates(sql_lines.batch_of(some), known)
        if has_lost:
            batch = sql_lines.take_lost_ids(execute, session_id, batch)
        has_lost = has_lost or any(each.type == "lost" for each in batch.records)
        if end == 0 and is_new:
            sql_lines.add_session(execute, session_id, some[0])
        row = sql_lines.lock_and_advance(execute, session_id, batch)
        assert row is not None
        end = sql_lines.insert_lines(execute, session_id, end, batch, row).end


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
