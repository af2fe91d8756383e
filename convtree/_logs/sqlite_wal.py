"""SQLite files in which several processes read and write at once."""

from __future__ import annotations

import sqlite3
import time

_WAIT_S = 0.01  # before SQLite is asked again for what it does not wait for itself


def write_ahead(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Has SQLite write ahead (WAL); who else changes to it, or writes before it is changed, is waited for.

    SQLite itself refuses at once when it meets a writer here, whatever its timeout is.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(_WAIT_S)
        else:
            return


def is_busy(error: BaseException) -> bool:
    """Tells the error of a lock that another has."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
