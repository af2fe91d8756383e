"""Opens SQLite files: for writing, or only for reading where they cannot be written.

On a read-only file system and on a full disk, SQLite cannot create the files it needs next to a database in WAL mode.
Then the database is opened in the first of these ways that works, and nothing is written:

1. `immutable`, without locks, if nothing is in the WAL and no process has the database open.
2. `mode=ro`, with the shared memory file that is there: another process may be writing, elsewhere.
3. With the index of the WAL in memory, if there is a WAL, but no process that uses it.

The second and third are as up to date as any reader. The first is, too, because a connection is used for one
transaction only.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from convtree._logs.descriptors import OPEN_FLAGS, with_open

_REFUSALS = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PERM")


def create_file(path: str, *, create: bool) -> None:
    """Creates the file of a database, readable by its owner only; or checks that it is there and can be read.

    SQLite gives its other files the same mode. A file that is there is not opened: closing it would drop the locks that
    SQLite has on it in this process. Then another process could delete the WAL while this one writes to it.

    Raises:
        OSError: there is no such file, and it cannot or must not be created; or it cannot be read.
    """
    if create and not os.path.lexists(path):
        with suppress(FileExistsError):  # another process was faster
            with_open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, os.fstat)
    os.stat(path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def take_any_text(connection: Any) -> None:
    """Makes a connection return texts that are not UTF-8. A byte that is not becomes a lone surrogate (PEP 383)."""
    connection.text_factory = lambda data: data.decode(errors="surrogateescape")


class BriefConnection(sqlite3.Connection):
    """Only reads, and is for one transaction. The next one looks again whether it can write."""


def connect(
    place: str | os.PathLike[str], timeout_s: float, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Connects to a file, or to a `file:` URI for a BriefConnection.

    Any thread may use the connection, one at a time. Every statement is for itself until a `BEGIN`.
    """
    return sqlite3.connect(
        place,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        factory=factory,
        uri=factory is BriefConnection,
    )


def open_file(path: str, timeout_s: float, configure: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """Connects to a database as said above. If it cannot be written to, the connection is a BriefConnection.

    Args:
        path: absolute.
        timeout_s: how long a statement waits for a lock.
        configure: called with a connection that may write. It raises if the database cannot be written to.

    Raises:
        sqlite3.Error: it cannot be opened, or another connection holds a lock for too long.
    """
    try:
        return _configured(connect(path, timeout_s), configure)
    except sqlite3.OperationalError as error:
        if not str(getattr(error, "sqlite_errorname", "")).startswith(_REFUSALS):
            raise
        found = _read_only(path, timeout_s)
        if found is None:
            raise
        return found


def _configured(connection: sqlite3.Connection, configure: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    try:
        configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(path: str, timeout_s: float) -> sqlite3.Connection | None:
    """Opens a database only for reading; None if that is not possible either."""
    for parameters, set_up in _ways(path):
        with suppress(sqlite3.OperationalError):
            connection = connect(f"file:{quote(path)}?{parameters}", timeout_s, BriefConnection)
            return _configured(connection, lambda each, set_up=set_up: _try_to_read(each, set_up))  # type: ignore[misc]
    return None


def _ways(path: str) -> list[tuple[str, str]]:
    """Returns parameters of the URI, each with a statement to run first."""
    shared = ("mode=ro", "SELECT 1")
    if _size(f"{path}-wal") > 0:
        # Without locks, and so without the shared memory that is guarded by them.
        return [shared, ("mode=ro&vfs=unix-none", "PRAGMA locking_mode = EXCLUSIVE")]
    immutable = ("mode=ro&immutable=1", "SELECT 1")
    return [shared, immutable] if os.path.exists(f"{path}-shm") else [immutable]


def _try_to_read(connection: sqlite3.Connection, set_up: str) -> None:
    connection.execute(set_up).fetchall()
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
