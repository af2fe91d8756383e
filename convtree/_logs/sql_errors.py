"""What the errors of a database mean for a caller: those of the drivers for SQLite and PostgreSQL, by their codes.

Knows nothing about connections. The messages never quote the values of a statement.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from convtree._logs.filesystems import full_disk_error
from convtree._model.errors import ConvtreeError, ReadOnlySession, SessionLocked, SessionNotFound

_ROLLED_BACK = ("40001", "40P01")  # could not serialize; deadlock
_UNIQUE_VIOLATIONS = ("23505", "42P07", "42710")  # the row, table or index exists
_REFUSED = ("42883", "42501")  # undefined function; insufficient privilege
_FULL = ("SQLITE_FULL", "53100")  # disk full
_VAGUE = ("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")  # of a full disk, a quota or a size limit, for example
_CANCELLED = "57014"  # by statement_timeout, or by an administrator
#: how the codes begin with which a coordinator says that a worker ends, or cannot be reached
_NODE_LOST = ("08", "57P0")
_READ_ONLY = ("SQLITE_READONLY", "25006")
_PRIMARY = ("SQLITE_BUSY", "SQLITE_CONSTRAINT", "SQLITE_READONLY")  # codes whose extended codes mean the same here
_CANNOT_WRITE = "cannot be written to, because its place is read-only or its disk is full; nothing was written"


class RolledBack(OSError):
    """The server rolled a transaction back, or the connection was lost before the commit; it can be repeated."""


class UniqueViolation(RolledBack):
    """The row to insert exists: another process may have just inserted it."""


class CallRefused(OSError):
    """The server has no such function, or this role may not use what the statement names; nothing was written."""


class TablesMissing(SessionNotFound):
    """The database has no tables of convtree; `create_tables()` creates them."""


class TablesOutdated(ConvtreeError):
    """The tables are of an earlier version; `create_tables()` migrates them."""


def translated(error: Any, location: str, file: str | None, *, is_lost: bool = False) -> Exception:
    """Returns the error to raise for one of a driver.

    Args:
        error: the driver's.
        location: of the database, for the message.
        file: the file of SQLite.
        is_lost: whether the connection is lost, as far as the driver can say.
    """
    code = _code_of(error)
    text = text_of(error)
    if code in ("SQLITE_BUSY", "55P03"):
        return SessionLocked(f"{location}: locked by another writer; nothing was written", holder=None)
    if code == "42P01" or text.startswith("no such table"):
        return tables_missing(location)
    if (full := _full_disk(code, file)) is not None:
        return OSError(full.errno, f"{full.strerror}; nothing was written", file or location)
    if code in _READ_ONLY:
        return ReadOnlySession(f"{location}: {_CANNOT_WRITE} ({text})")
    if code in _UNIQUE_VIOLATIONS or code == "SQLITE_CONSTRAINT":
        return UniqueViolation(f"{location}: {text}")
    is_over = code in _ROLLED_BACK or is_lost
    return RolledBack(f"{location}: {text}") if is_over else _os_error(code, f"{location}: {text}")


def is_certain(error: Any) -> bool:
    """Returns whether an error of a driver in a commit says that nothing was written."""
    return str(_code_of(error)) in (*_ROLLED_BACK, "SQLITE_BUSY", "SQLITE_IOERR_WRITE", *_FULL)


def ends_session(error: Any) -> bool:
    """Returns whether a server of PostgreSQL ends the session with an error: not what became of a commit."""
    return getattr(getattr(error, "diag", None), "severity_nonlocalized", None) in ("FATAL", "PANIC")


def is_bad_text(error: Any) -> bool:
    """Returns whether SQLite has read a text that is not UTF-8: damage, or a change by hand."""
    return str(error).startswith("Could not decode to UTF-8")


def tables_missing(location: str) -> TablesMissing:
    """Returns the error for a database without tables."""
    return TablesMissing(f"{location}: there are no tables yet; open_store(url, create=True) creates them")


def _full_disk(code: str | None, file: str | None) -> OSError | None:
    """Returns the error of a full disk, if that is why a statement failed. SQLite says so only of some writes."""
    if code in _FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if file is not None and str(code).startswith(_VAGUE):
        return full_disk_error(Path(file).absolute().parent)
    return None


def _os_error(code: str | None, message: str) -> OSError:
    if code == _CANCELLED:
        return TimeoutError(f"{message}; nothing was written")
    if code in _REFUSED:
        return CallRefused(f"{message}; nothing was written")
    return ConnectionError(f"{message}; nothing was written") if str(code).startswith(_NODE_LOST) else OSError(message)


def _code_of(error: Any) -> str | None:
    """Returns PostgreSQL's SQLSTATE, or the name of SQLite's primary error code."""
    name = getattr(error, "sqlite_errorname", None)
    if name is None:
        return getattr(error, "sqlstate", None)
    return next((each for each in _PRIMARY if name.startswith(each)), str(name))


def text_of(error: Any) -> str:
    """Returns the first line of the driver's message; the others may quote values."""
    text = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
