"""The tables of a catalogue: in a file that processes share, or in memory. The file is trusted only as it was left.

SQLite finds out about most damage, but not about a flipped bit in a name, a row that another program deleted, or a
planted trigger. So the file has a *stamp*: a small file next to it that says which inode, size and times it had when
convtree last wrote to it. A file that its stamp does not fit was changed, copied or restored by somebody else. It is
replaced by new tables, which are filled from the logs.

This works because convtree alone decides when the file changes. Transactions go to the WAL. They are moved into the
file under the lock of the stamp, and the stamp is written then. What is in the WAL must belong to the tables: it has
their token, and at least the generation of the stamp. SQLite itself checks each page of a WAL that a killed process
left.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar
from zlib import crc32

from convtree._catalogue import tables
from convtree._catalogue.erasing import SECURE_DELETE
from convtree._logs.descriptors import OPEN_FLAGS, Descriptors, with_open, write_all
from convtree._logs.lock import FileLock
from convtree._logs.side_files import PRIVATE, claim_cache, open_side_file
from convtree._logs.sqlite_files import connect
from convtree._logs.sqlite_wal import enable_wal, truncate_wal
from convtree._model.errors import SessionLocked
from convtree._model.interrupts import ending
from convtree._model.resources import watch_database

T = TypeVar("T")

PATIENCE_S = 10.0  # how long to wait for another process that writes the tables
_UNSTAMPED = 32  # transactions after which the WAL is moved into the file
_SUFFIXES = ("", "-wal", "-shm", "-journal")
_STAMP = "-stamp"
#: also for tables in memory. `ct_state` has one row; `_known_stamps` says what the generations and the digest are for
SCHEMA = (
    *tables.SCHEMA_OF_COPY,
    """
CREATE TABLE IF NOT EXISTS ct_files (
  session_id TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
  records INTEGER NOT NULL, last_id TEXT, code TEXT, shared INTEGER NOT NULL, generation INTEGER NOT NULL)
""",
    "CREATE INDEX IF NOT EXISTS ct_files_by_generation ON ct_files (generation)",
    "CREATE INDEX IF NOT EXISTS ct_files_shared ON ct_files (shared) WHERE shared > 0",  # there are few
    "CREATE TABLE IF NOT EXISTS ct_state (token INTEGER NOT NULL, generation INTEGER NOT NULL, "
    "removed INTEGER NOT NULL, seen BLOB, seen_at INTEGER NOT NULL)",
)
#: in each transaction that writes
NEXT_GENERATION = "UPDATE ct_state SET generation = generation + 1 RETURNING generation"
_SELECT_STATE = "SELECT generation FROM ct_state"
_SELECT_OWN_STATE = "SELECT COUNT(*) FROM ct_state WHERE token = ? AND generation >= ?"
#: what is in the file but for what SQLite adds by itself: indexes for keys, and the tables of the full text index
_SELECT_SCHEMA = f"""
SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND NOT (type = 'table' AND rootpage > 0 AND name IN
  ({", ".join(f"'ct_terms_{part}'" for part in ("data", "idx", "docsize", "config"))})) ORDER BY sql
"""
#: the same as SQLite keeps it (https://sqlite.org/schematab.html)
_EXPECTED_SCHEMA = [(sql,) for sql in sorted(sql.strip().replace(" IF NOT EXISTS", "", 1) for sql in SCHEMA)]
_SETTINGS = (
    "PRAGMA trusted_schema = OFF",  # until the schema is known to be ours
    "PRAGMA cell_size_check = ON",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -32768",  # KiB at most: ids of sessions are in no order, so a first list writes to all pages
    SECURE_DELETE,
)
_TRUST = "PRAGMA trusted_schema = ON"  # SQLite 3.40 runs our triggers only then: they use a full text index


class Stamp(NamedTuple):
    """How convtree left the file. The token was drawn when the tables were made; each transaction adds a generation."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    token: int
    generation: int


_FORM = struct.Struct("<QqqqqqL")  # the stamp and its checksum
_UNSEEN = Stamp(0, -1, 0, 0, 0, 0)  # fits no file


class MemoryTables:
    """Tables of one process, in memory."""

    stamp = _UNSEEN

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        """Makes new tables."""
        self.connection = connect(":memory:", PATIENCE_S)
        _create_tables(self.connection, 0)
        return self.connection

    def is_as_left(self) -> bool:
        """Returns True: nobody else has them."""
        return True

    is_stamped_anew = is_as_left

    def written(self) -> None:
        """Does nothing."""

    def truncate_wal(self) -> tuple[str, ...]:
        """Does nothing: there are no files."""
        return ()

    def close(self) -> None:
        """Drops the tables."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    discard = close


class CatalogueFile:
    """Tables in a file that any number of processes share. For one thread at a time.

    Attributes:
        connection: None before `open` and after `close`.
        stamp: as it was read or written last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        self.stamp = _UNSEEN
        self._unstamped = 0  # transactions that this process has written since
        watch_database(self)

    def open(self) -> sqlite3.Connection:
        """Opens the tables; makes new ones if those in the file cannot be trusted.

        Raises:
            OSError, sqlite3.OperationalError: the file cannot be written here, or is locked for too long.
        """
        claim_cache(self.path, (*_SUFFIXES[1:], _STAMP))
        if not self._open_trusted():
            self._while_locked(self._open_or_create)
        assert self.connection is not None
        return self.connection

    def is_as_left(self) -> bool:
        """Returns whether the file at the path is the open one, and convtree was the last to write to it."""
        if self.stamp[:4] == _identity(self.path):
            return True  # nearly always
        try:
            stamp = self._fitting_stamp()
            if stamp is None:
                # Another process may be moving the WAL at this moment.
                stamp = self._while_locked(lambda _: self._fitting_stamp())
        except OSError:
            return False
        if stamp is None or stamp.token != self.stamp.token:
            return False
        self.stamp = stamp
        return True

    def is_stamped_anew(self) -> bool:
        """Returns whether another process has stamped the file since it was last looked at. Waits for one that does."""
        before = self.stamp
        with suppress(OSError):
            self.stamp = self._while_locked(lambda _: self._fitting_stamp()) or before
        return self.stamp != before

    def written(self) -> None:
        """Notes that a transaction was written. Moves the WAL into the file from time to time."""
        self._unstamped += 1
        if self._unstamped >= _UNSTAMPED:
            with suppress(OSError, sqlite3.Error):  # the next one tries again
                self._move_wal(_passive)

    def truncate_wal(self) -> tuple[str, ...]:
        """Moves the WAL into the file and truncates it. Returns the same as `sqlite_wal.truncate_wal`.

        Raises:
            OSError, sqlite3.Error: this was not possible.
        """
        return self._move_wal(truncate_wal)

    def discard(self) -> None:
        """Closes tables that cannot be trusted. The next `open` makes new ones, unless another process has."""
        token = self.stamp.token
        self.close()

        def distrust(fd: int) -> None:
            stamp = self._fitting_stamp()
            if stamp is not None and stamp.token == token:
                os.ftruncate(fd, 0)

        with suppress(OSError):
            self._while_locked(distrust)

    def held_database(self) -> Path | None:
        """Returns the path while the file is open."""
        return None if self.connection is None else self.path

    def close(self) -> None:
        """Moves the WAL into the file, and closes it."""
        connection = self.connection
        if connection is None:
            return
        try:
            with suppress(OSError, sqlite3.Error):  # SQLite will move it, and the tables will be made anew
                if os.lstat(self._beside("-wal")).st_size:
                    self._move_wal(_passive)
        finally:
            self.connection = None
            connection.close()

    # --- private ---

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}{suffix}")

    def _open_trusted(self) -> bool:
        """Opens the file if its stamp fits and its tables are ours."""
        stamp = self._fitting_stamp()
        if stamp is None:
            return False
        connection = _connect(self.path)
        try:
            if _is_ours(connection, stamp):
                self.connection, self.stamp = connection, stamp
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not means_damage(error):
                raise
        finally:
            if self.connection is not connection:
                connection.close()
        return self.connection is connection

    def _open_or_create(self, fd: int) -> None:
        if not self._open_trusted():  # no other process has made new ones meanwhile
            self._create(fd)

    def _create(self, fd: int) -> None:
        """Makes new tables in place of what is there. The caller holds the lock; `fd` is the stamp's."""
        for suffix in _SUFFIXES:
            self._beside(suffix).unlink(missing_ok=True)
        claim_cache(self.path, ())
        connection = _connect(self.path)
        try:
            enable_wal(connection, PATIENCE_S)
            token = int.from_bytes(os.urandom(7), "big")
            _create_tables(connection, token)
            self._write_stamp(fd, token, 0)
        except BaseException:
            connection.rollback()  # closing waits for cursors, and one may be in the traceback of an interrupt
            connection.close()
            raise
        self.connection = connection

    def _move_wal(self, checkpoint: Callable[[Callable[[str], Any]], tuple[str, ...]]) -> tuple[str, ...]:
        """Moves the WAL into the file, and stamps that.

        Raises:
            OSError: nothing was moved: the stamp is locked, or does not fit.
        """
        connection = self.connection
        assert connection is not None

        def move(fd: int) -> tuple[str, ...]:
            stamp = self._fitting_stamp()
            if stamp is None or stamp.token != self.stamp.token:
                raise OSError(f"{self.path}: it is not as it was left")
            result = checkpoint(lambda sql: connection.execute(sql).fetchall())
            ((generation,),) = connection.execute(_SELECT_STATE).fetchall()  # at least that of what was moved
            self._write_stamp(fd, stamp.token, generation)
            return result

        result = self._while_locked(move)
        self._unstamped = 0
        return result

    def _fitting_stamp(self) -> Stamp | None:
        """Returns the stamp if the file is as it says.

        Raises:
            OSError: the stamp cannot be read.
        """
        try:
            data = with_open(self._beside(_STAMP), os.O_RDONLY | OPEN_FLAGS, lambda fd: os.read(fd, _FORM.size + 1))
        except FileNotFoundError:
            return None
        if len(data) != _FORM.size:
            return None
        *fields, checksum = _FORM.unpack(data)
        stamp = Stamp(*fields)
        fits = crc32(data[:-4]) == checksum and stamp[:4] == _identity(self.path)
        # SQLite would move a journal into the file. Ours has none.
        return stamp if fits and not os.path.lexists(self._beside("-journal")) else None

    def _write_stamp(self, fd: int, token: int, generation: int) -> None:
        """Writes the stamp of the file as it is now.

        A change within the same tick of the system's clock would give it the same times. So its time is put back first.
        """
        status = os.lstat(self.path)
        with suppress(OSError):  # the file belongs to another user
            earlier_ns = status.st_mtime_ns // 10**9 * 10**9 - 2 * 10**9
            os.utime(self.path, ns=(status.st_atime_ns, earlier_ns), follow_symlinks=False)
        self.stamp = Stamp(*_identity(self.path), token, generation)
        data = _FORM.pack(*self.stamp, 0)[:-4]
        os.ftruncate(fd, 0)
        write_all(fd, data + crc32(data).to_bytes(4, "little"))

    def _while_locked(self, work: Callable[[int], T]) -> T:
        """Calls `work` under the lock of the stamp, with the descriptor of the stamp.

        Raises:
            OSError: another process has the lock for too long, or the stamp cannot be opened.
        """
        place, descriptors = self._beside(_STAMP), Descriptors()

        def begin() -> T:
            fd = open_side_file(descriptors, place, os.stat(place.parent), PRIVATE)
            try:
                FileLock(str(place)).acquire(fd, PATIENCE_S)
            except SessionLocked as error:
                raise OSError(str(error)) from error
            return work(fd)

        return ending(begin, descriptors.close)


Tables: TypeAlias = CatalogueFile | MemoryTables


def means_damage(error: Exception) -> bool:
    """Returns whether an error says that the tables are damaged, not that they cannot be used now."""
    if isinstance(error, sqlite3.OperationalError):
        return getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR"  # a table or a column is missing
    other = sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.NotSupportedError | sqlite3.DataError
    return not isinstance(error, other)


def remove_tables(path: Path) -> None:
    """Deletes the file of the tables, and the files next to it.

    Raises:
        OSError: one of them is still there. The others are gone.
    """
    with ExitStack() as each:
        for suffix in (_STAMP, *reversed(_SUFFIXES)):  # the last that is pushed runs first, and all run
            each.callback(path.with_name(f"{path.name}{suffix}").unlink, missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect(path, PATIENCE_S)
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection


def _create_tables(connection: sqlite3.Connection, token: int) -> None:
    connection.execute(_TRUST)
    connection.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO ct_state VALUES (?, 0, 0, NULL, -1)", (token,))
    connection.execute(f"PRAGMA user_version = {tables.VERSION}")
    connection.execute("COMMIT")


def _is_ours(connection: sqlite3.Connection, stamp: Stamp) -> bool:
    """Returns whether the tables are of this version, nothing else is there, and the WAL belongs to the file."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version != tables.VERSION or connection.execute(_SELECT_SCHEMA).fetchall() != _EXPECTED_SCHEMA:
        return False
    ((found,),) = connection.execute(_SELECT_OWN_STATE, (stamp.token, stamp.generation)).fetchall()
    if found != 1:
        return False
    connection.execute(_TRUST)
    return True


def _passive(execute: Callable[[str], Any]) -> tuple[str, ...]:
    """Moves as much of the WAL as no reader needs."""
    execute("PRAGMA wal_checkpoint(PASSIVE)")
    return ()


def _identity(path: Path) -> tuple[int, int, int, int]:
    """Returns what a stamp says of a file; of nothing, of a folder and of a link, what no stamp says."""
    try:
        status = os.lstat(path)
    except OSError:
        return _UNSEEN[:4]
    if not stat.S_ISREG(status.st_mode):
        return _UNSEEN[:4]
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
