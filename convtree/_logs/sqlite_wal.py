"""SQLite's write-ahead log: switches it on, so that several processes can read and write at once, and empties it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

_PAUSE_S = 0.01  # before SQLite is asked again
_PATIENCE_MS = 200  # how long to wait for readers before the WAL is left to them


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


def truncate_wal(execute: Callable[[str], Sequence[Any]]) -> tuple[str, ...]:
    """Moves what is in the WAL into the database file, and truncates it. Call it outside of a transaction.

    Returns the ends of the names of files that may still have pages as they were before: "-wal" while another
    connection reads, and "" for the database file if that connection reads from an older state of it.
    """
    ((timeout_ms,),) = execute("PRAGMA busy_timeout")
    execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    try:
        ((busy, frames, moved),) = execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        execute(f"PRAGMA busy_timeout = {timeout_ms}")
    if not busy:
        return ()
    # -1 means that nothing is known, because another connection is moving them.
    return ("-wal",) if frames == moved != -1 else ("", "-wal")


def is_busy(error: BaseException) -> bool:
    """Returns whether an error means that another connection holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
