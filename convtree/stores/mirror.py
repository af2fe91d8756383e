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
from typing import Any, NamedTuple

from convtree import catalogue
from convtree.catalogue import Dialect, Execute
from convtree.digest import digest
from convtree.entries import Entry, Mark
from convtree.errors import ConvtreeError, NotALog
from convtree.session import Session
from convtree.stores.base import Progress, StoreFinding

_BATCH = 500  # records read at once
_COMMIT = 50  # sessions in one transaction
_FILES = """
CREATE TABLE IF NOT EXISTS ct_files (
  session_id TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  records INTEGER NOT NULL, last_id TEXT, code TEXT)
"""


class Stamp(NamedTuple):
    """What tells that a log has changed."""

    size: int
    mtime_ns: int = 0
    inode: int = 0


class Mirror:
    """Tables over logs. `open_reader(id)` opens a session to read; `path` None keeps the tables in memory."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path | None, open_reader: Callable[[str], Session]) -> None:
        self._path = path
        self._open_reader = open_reader
        self._lock = RLock()
        self._known: dict[str, Stamp] = {}
        self._seen_version = -1
        self._connection = self._connect()

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
            connection = self._connection
            connection.execute(begin)
            try:
                yield self._execute
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _execute(self, sql: str, values: Any = ()) -> list[Any]:
        if isinstance(values, list):
            self._connection.executemany(sql, values)
            return []
        return self._connection.execute(sql, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        """Opens the tables; other ones, or damaged ones, make room for new ones."""
        if self._path is not None:
            for _ in range(2):
                try:
                    return self._opened(str(self._path))
                except sqlite3.OperationalError:
                    break  # it may not be written here, or is busy for too long
                except sqlite3.DatabaseError:
                    self._forget()
        return self._opened(":memory:")

    def _opened(self, place: str) -> sqlite3.Connection:
        if self._path is not None and place != ":memory:":
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        connection = sqlite3.connect(place, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, catalogue.VERSION):
                raise sqlite3.DatabaseError("the tables of another version")
            if version == 0:
                connection.execute("BEGIN IMMEDIATE")
                for statement in (*catalogue.SCHEMA["sqlite"], _FILES):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {catalogue.VERSION}")
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget(self) -> None:
        """Removes the file of the tables."""
        assert self._path is not None
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(f"{self._path}{suffix}")

    def close(self) -> None:
        """Closes the tables."""
        with self._lock:
            self._connection.close()

    # --- following the logs ---

    def follow(self, stamps: Mapping[str, Stamp], progress: Progress | None = None) -> None:
        """Brings the tables up to date with logs that have these stamps, and are all there is."""
        with self._lock:
            try:
                self._follow(stamps, progress)
            except sqlite3.DatabaseError as error:
                if self._path is None or isinstance(error, sqlite3.OperationalError):
                    raise
                self._connection.close()  # damaged: nothing is in it that is not in the logs
                self._forget()
                self._known, self._seen_version = {}, -1
                self._connection = self._connect()
                self._follow(stamps, progress)

    def _follow(self, stamps: Mapping[str, Stamp], progress: Progress | None) -> None:
        self._recall()
        known = self._known
        gone = [id for id in known if id not in stamps]
        changed = [id for id, stamp in stamps.items() if known.get(id) != stamp]
        if gone:
            with self.writing() as execute:
                for id in gone:
                    self._remove(execute, id)
        for start in range(0, len(changed), _COMMIT):
            batch = changed[start : start + _COMMIT]
            with self.writing() as execute:
                for id in batch:
                    self._update(execute, id, stamps[id])
            known |= {id: stamps[id] for id in batch}
            if progress is not None:
                progress(start + len(batch), len(changed))
        for id in gone:
            del known[id]

    def _recall(self) -> None:
        """Reads what the tables were brought up to date with, when another process may have done so since."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._seen_version:
            rows = self._connection.execute("SELECT session_id, size, mtime_ns, inode FROM ct_files")
            self._known = {id: Stamp(*stamp) for id, *stamp in rows}
            self._seen_version = version

    def _update(self, execute: Execute, id: str, stamp: Stamp) -> None:
        """Takes in what is new in a log, or all of it when it is not the log that it was."""
        rows = execute("SELECT records, last_id FROM ct_files WHERE session_id = :id AND code IS NULL", {"id": id})
        records, last_id = rows[0] if rows else (0, None)
        try:
            with self._open_reader(id) as session:
                if not (records and _has(session, records - 1, last_id)):
                    self._remove(execute, id)
                    records, last_id = 0, None
                for number, each in self._take_in(execute, id, session, records):
                    records, last_id = number + 1, each.id
                code = next((finding.code for finding in session.findings if finding.severity != "info"), None)
        except (ConvtreeError, OSError) as error:
            self._remove(execute, id)
            records, last_id, code = 0, None, "not_a_log" if isinstance(error, NotALog) else "unreadable"
        execute(
            "INSERT OR REPLACE INTO ct_files VALUES (:id, :size, :mtime_ns, :inode, :records, :last_id, :code)",
            {"id": id, "records": records, "last_id": last_id, "code": code, **stamp._asdict()},
        )

    def _take_in(self, execute: Execute, id: str, session: Session, start: int) -> Iterator[tuple[int, Entry | Mark]]:
        """Takes in the records from a number on, and yields the last of every batch."""
        records = session.records(start)
        while batch := list(islice(records, _BATCH)):
            if not start:  # a session is there as soon as it has a record
                catalogue.add_session(execute, id, session.header)
                start = 1
            digests = [digest(record) for _, record in batch]
            ((_, copying, copied_up_to),) = execute(catalogue.ADVANCE, catalogue.advance(id, digests, len(batch), 0))
            places = zip((number for number, _ in batch), digests, strict=True)
            catalogue.add_lines(execute, [catalogue.line_of(id, number, each, None) for number, each in places])
            catalogue.spend(execute, id, digests, copied_up_to if copying else None)
            yield batch[-1]

    def _remove(self, execute: Execute, id: str) -> None:
        catalogue.remove_session(execute, id)
        execute("DELETE FROM ct_files WHERE session_id = :id", {"id": id})

    def findings(self) -> list[StoreFinding]:
        """Returns what is no whole session."""
        with self.reading() as execute:
            rows = execute("SELECT session_id, code FROM ct_files WHERE code IS NOT NULL ORDER BY session_id")
        return [StoreFinding(code=code, place=id, id=id) for id, code in rows]


def _has(session: Session, number: int, id: str | None) -> bool:
    """Tells whether the record with this number is still the one it was."""
    return next((record.id for _, record in islice(session.records(number), 1)), None) == id
