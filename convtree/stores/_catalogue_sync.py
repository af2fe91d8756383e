"""A catalogue that follows logs which know nothing of it: brought up to date by what changed, rebuilt when in doubt.

It is disposable: everything in it stands in the logs. SQLite comes with Python; the file is used by any number of
processes, each of which brings it up to date before it looks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import RLock
from time import sleep
from typing import Any, NoReturn

from convtree._catalogue import tables as catalogue
from convtree._catalogue.record_summary import summarise_record
from convtree._catalogue.tables import Dialect, Execute
from convtree._logs.sqlite_wal import enable_wal
from convtree._model.entries import Entry, Mark
from convtree._model.errors import ConvtreeError, NotALog, SessionNotFound
from convtree._model.resources import ForkAware, Uncopyable, watch_forks
from convtree._session.session import Session
from convtree.stores.base import CatalogueReset, Progress, StoreFinding

_BATCH = 500  # records read at once
_COMMIT = 50  # sessions in one transaction
_WRITE_S = 0.002  # how long a write may be seen half done
_PATIENCE_S = 10.0  # with another process that writes the tables
_LOSSES = 3  # how often they may be damaged before a disk is no longer trusted
_FILES = """
CREATE TABLE IF NOT EXISTS ct_files (
  session_id TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  records INTEGER NOT NULL, last_id TEXT, code TEXT)
"""


FileStamp = tuple[int, int, int]  # what tells that a log has changed: its size, its time in ns, its number


_UNKNOWN: FileStamp = (-1, 0, 0)  # of a log that could not be read: perhaps it can next time, with nothing else changed


class CatalogueSync(Uncopyable, ForkAware):
    """Tables over logs. `open_reader(id)` opens a session to read; `path` None keeps the tables in memory."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path | None, open_reader: Callable[[str], Session]) -> None:
        self._path = path
        self._open_reader = open_reader
        self._lock = RLock()
        self._known: dict[str, FileStamp] = {}
        self._seen_version = -1
        self._losses = 0
        self._connection: sqlite3.Connection | None = None
        watch_forks(self)

    # --- the tables ---

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """Reads in one transaction."""
        with self._transaction("BEGIN") as execute:
            yield execute

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Writes in one transaction."""
        with self._transaction("BEGIN IMMEDIATE") as execute:
            yield execute

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Execute]:
        with self._lock:
            connection = self._connection = self._connection or self._connect()
            try:
                connection.execute(begin)
                yield self._execute
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error | UnicodeDecodeError):
                    self._lose(error)
                raise

    def _execute(self, sql: str, values: Any = ()) -> list[Any]:
        assert self._connection is not None
        if isinstance(values, list):
            self._connection.executemany(sql, values)
            return []
        return self._connection.execute(sql, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        """Opens the tables; other ones, or damaged ones, make room for new ones."""
        for _ in range(2 if self._path is not None else 0):
            try:
                return self._opened(str(self._path))
            except (sqlite3.OperationalError, OSError):
                break  # it may not be written here, or is busy for too long
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                self._forget()
        self._path = None
        return self._opened(":memory:")

    def _lose(self, error: sqlite3.Error | UnicodeDecodeError) -> NoReturn:
        """Begins the tables anew: nothing is in them that is not in the logs. In memory, when the disk is no help."""
        damaged = type(error) is sqlite3.DatabaseError or isinstance(error, sqlite3.IntegrityError | UnicodeDecodeError)
        if self._path is None or not (damaged or isinstance(error, sqlite3.OperationalError)):
            raise error
        self.close()
        self._losses += damaged
        if damaged and self._losses <= _LOSSES:
            self._forget()
        else:
            self._path = None  # full, read-only, or held by another process for too long
        raise CatalogueReset from error

    def _let_go(self) -> sqlite3.Connection | None:
        connection, self._connection = self._connection, None
        self._known, self._seen_version = {}, -1
        return connection

    def _opened(self, place: str) -> sqlite3.Connection:
        if place != ":memory:":
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        connection = sqlite3.connect(place, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            enable_wal(connection, _PATIENCE_S)
            connection.execute("PRAGMA synchronous = NORMAL")
            if _version_of(connection) == 0:
                connection.execute("BEGIN IMMEDIATE")
                if _version_of(connection) == 0:  # nobody else was quicker
                    for statement in (*catalogue.SCHEMA["sqlite"], _FILES):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {catalogue.VERSION}")
                connection.execute("COMMIT")
            if _version_of(connection) != catalogue.VERSION:
                raise sqlite3.DatabaseError("the tables of another version")
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget(self) -> None:
        assert self._path is not None
        with suppress(OSError):
            remove_tables(self._path)

    def _after_fork(self) -> None:
        """Leaves the connection to the parent: in the child it must be neither used nor closed."""
        self._lock = RLock()
        if self._path is not None:
            _INHERITED.append(self._let_go())

    def close(self) -> None:
        """Closes the tables."""
        with self._lock:
            if (connection := self._let_go()) is not None:
                connection.close()

    # --- following the logs ---

    def follow(self, look: Callable[[], Mapping[str, FileStamp]], progress: Progress | None = None) -> None:
        """Brings the tables up to date with the logs; `look` returns the stamps of all there are."""
        with self._lock:
            while True:  # in the end, the tables are in memory
                try:
                    return self._follow(look, progress)
                except CatalogueReset:
                    continue

    def _follow(self, look: Callable[[], Mapping[str, FileStamp]], progress: Progress | None) -> None:
        self._recall()  # before looking: what another process took in since is not "gone"
        stamps = look()
        known = self._known
        if known == stamps:
            return
        gone = [id for id in known if id not in stamps]
        changed = [id for id, stamp in stamps.items() if known.get(id) != stamp]
        if gone:
            with self.writing() as execute:
                for id in gone:
                    self._remove(execute, id)
        for start in range(0, len(changed), _COMMIT):
            batch = changed[start : start + _COMMIT]
            with self.writing() as execute:
                taken_in = {id: self._update(execute, id, stamps[id]) for id in batch}
            known |= taken_in
            if progress is not None:
                progress(start + len(batch), len(changed))
        for id in gone:
            del known[id]

    def _recall(self) -> None:
        """Reads what the tables were brought up to date with, when another process may have done so since."""
        with self.reading() as execute:
            ((version,),) = execute("PRAGMA data_version")
            if version != self._seen_version:
                rows = execute("SELECT session_id, size, mtime_ns, inode FROM ct_files")
                self._known = {id: (size, mtime_ns, inode) for id, size, mtime_ns, inode in rows}
                self._seen_version = version

    def _update(self, execute: Execute, id: str, stamp: FileStamp) -> FileStamp:
        """Takes in what is new in a log, or all of it when it is not the log that it was; returns its new stamp."""
        columns = "size, mtime_ns, inode, records, last_id, code"
        rows = execute(f"SELECT {columns} FROM ct_files WHERE session_id = :id", {"id": id})
        *seen, records, last_id, code = rows[0] if rows else (0, 0, 0, 0, None, None)
        if stamp == tuple(seen):
            return stamp  # another process has been faster
        if code is not None or stamp[2] != seen[2] or stamp[0] < seen[0]:
            records = 0
        try:
            with self._open_reader(id) as session:
                written = _is_being_written(session)
                if not (records and _has(session, records - 1, last_id)):
                    self._remove(execute, id)
                    records, last_id = 0, None
                for number, each in self._take_in(execute, id, session, records):
                    records, last_id = number + 1, each.id
                code = _worst(session, but="torn_tail" if written else None)
        except SessionNotFound:
            self._remove(execute, id)  # deleted just now
            return stamp
        except NotALog:
            self._remove(execute, id)
            records, last_id, code = 0, None, "not_a_log"
        except (ConvtreeError, OSError):
            self._remove(execute, id)
            records, last_id, code = 0, None, "unreadable"
            stamp = _UNKNOWN
        execute(
            "INSERT OR REPLACE INTO ct_files VALUES (:id, :size, :mtime_ns, :inode, :records, :last_id, :code)",
            {"id": id, "records": records, "last_id": last_id, "code": code}
            | dict(zip(("size", "mtime_ns", "inode"), stamp, strict=True)),
        )
        return stamp

    def _take_in(self, execute: Execute, id: str, session: Session, start: int) -> Iterator[tuple[int, Entry | Mark]]:
        """Takes in the records from a number on, and yields the last of every batch."""
        records = session.records(start)
        while batch := list(islice(records, _BATCH)):
            if not start:  # a session is there as soon as it has a record
                catalogue.add_session(execute, id, session.header)
                start = 1
            digests = [summarise_record(record) for _, record in batch]
            ((_, _, copying, copied_up_to),) = execute(
                catalogue.ADVANCE, catalogue.update_session_row(id, digests, len(batch), 0)
            )
            places = zip((number for number, _ in batch), digests, strict=True)
            catalogue.add_lines(execute, [catalogue.line_of(id, number, each, None) for number, each in places])
            catalogue.add_usage(execute, id, digests, copied_up_to if copying else None)
            yield batch[-1]

    def _remove(self, execute: Execute, id: str) -> None:
        catalogue.remove_session(execute, id)
        execute("DELETE FROM ct_files WHERE session_id = :id", {"id": id})

    def findings(self) -> list[StoreFinding]:
        """Returns what is no whole session."""
        with self.reading() as execute:
            rows = execute("SELECT session_id, code FROM ct_files WHERE code IS NOT NULL ORDER BY session_id")
        return [StoreFinding(code=code, place=id, id=id) for id, code in rows]


def _is_being_written(session: Session) -> bool:
    """Tells a write that is under way from one that was never finished, and takes in what it has written."""
    torn = _torn(session)
    if torn is not None:
        sleep(_WRITE_S)
        session.refresh()
    return torn != _torn(session)


def _torn(session: Session) -> int | None:
    return next((finding.offset for finding in session.findings if finding.code == "torn_tail"), None)


def remove_tables(path: Path) -> None:
    """Removes a file of tables, and what SQLite has beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _worst(session: Session, but: str | None) -> str | None:
    """Returns the code of a session's first serious finding."""
    serious = (finding.code for finding in session.findings if finding.severity != "info")
    return next((code for code in serious if code != but), None)


def _has(session: Session, number: int, id: str | None) -> bool:
    """Tells whether the record with this number is still the one it was."""
    return next((record.id for _, record in islice(session.records(number), 1)), None) == id


_INHERITED: list[sqlite3.Connection | None] = []  # the parent's: never closed here
