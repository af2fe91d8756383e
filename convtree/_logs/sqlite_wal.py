"""Puts SQLite files into WAL mode, so that several processes can read and write at once."""

from __future__ import annotations

import sqlite3
import time

_PAUSE_S = 0.01  # before SQLite is asked again


def enable_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switches a database to WAL mode; waits for other connections that write, or switch it, at this moment.

    SQLite's own timeout does not apply to this statement: it fails at once if another connection writes.

    Raises:
        sqlite3.OperationalError: the database was busy for `timeout_s`, or cannot be switched.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def is_busy(error: BaseException) -> bool:
    """Returns whether an error means that another connection holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
