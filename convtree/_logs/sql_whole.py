"""Whole sessions in a database: stored at once, or replaced, each in one transaction.

If the connection is lost during the commit, the lines that are stored show whether it took effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.tables import Execute
from convtree._engine import codec
from convtree._engine.log import Log
from convtree._logs import sql_lines
from convtree._logs.sql import SqlLog
from convtree._logs.sql_ahead import SELECT_SESSION
from convtree._logs.sql_database import TRIES, SqlDatabase, back_off
from convtree._logs.sql_errors import RolledBack, UniqueViolation
from convtree._logs.sql_lines import SessionRow
from convtree._logs.sql_transaction import Transaction
from convtree._model.errors import ConvtreeError, OutcomeUnknown, SessionExists, SessionLocked

T = TypeVar("T")


def write_session(database: SqlDatabase, session_id: str, lines: Iterable[bytes]) -> None:
    """Adds a session with these lines, the header first, in one transaction: it appears whole or not at all.

    Raises:
        SessionExists: there is a session with this id.
        OutcomeUnknown: the connection was lost during the commit; the session may be there, whole.
        OSError: another failure of the database; nothing was written.
    """
    codec.check_id(session_id, "session_id")
    written: list[tuple[int, bytes]] = []

    def write(execute: Execute) -> None:
        nonlocal written
        if execute(SELECT_SESSION, {"session_id": session_id}):
            raise UniqueViolation
        written = sql_lines.write_lines(execute, session_id, lines)

    try:
        database.write(write)
    except UniqueViolation:  # also if another process adds it at the same time
        raise SessionExists(
            f"{database.location}#{session_id}: this session exists already; choose another id"
        ) from None
    except OutcomeUnknown as unknown:
        if not _is_written(database, session_id, written, unknown):
            raise RolledBack(f"{database.location}: the connection was lost; nothing was written") from unknown


class _NothingThere(Exception):
    """Rolls back what only took a lock."""


def _is_written(
    database: SqlDatabase, session_id: str, written: list[tuple[int, bytes]], unknown: OutcomeUnknown
) -> bool:
    """Looks whether a session is stored with these lines, its first and its last. Those between lead to the last.

    Raises:
        OutcomeUnknown: the server does not answer.
    """

    def probe(execute: Execute) -> None:
        # The row can be added if it is not there, and when the lost transaction has ended.
        sql_lines.add_session(execute, session_id, written[0][1])
        raise _NothingThere

    for number in range(TRIES):
        back_off(number)
        try:
            database.write(probe)
        except _NothingThere:
            return False
        except UniqueViolation:
            with suppress(OSError, ConvtreeError):
                return _has_lines(SqlLog(database, session_id, mode="r"), written)
        except (OSError, SessionLocked):
            continue
    raise unknown


def _has_lines(log: SqlLog, written: list[tuple[int, bytes]]) -> bool:
    return log.read_at([(at, len(line)) for at, line in written]) == [line for _, line in written]


def rewrite_session(
    database: SqlDatabase, session_id: str, build: Callable[[Log, Execute], Sequence[bytes] | None]
) -> None:
    """Replaces the lines of a session by those that `build` returns, in one transaction; None changes nothing.

    `build` gets the log, and may read with the transaction. It is called again if the server rolls that back.

    Raises:
        SessionNotFound: there is no session with this id.
        OutcomeUnknown: the connection was lost during the commit; the log is the old one or the new one.
    """
    log = SqlLog(database, session_id, mode="r")
    written: list[tuple[int, bytes]] = []

    def reading(execute: Transaction, work: Callable[[], T]) -> T:
        rows = execute(catalogue.LOCK, {"session_id": session_id})
        return log.reading_in(execute, SessionRow(*rows[0]) if rows else None, work)

    def rewrite(execute: Transaction) -> bool:
        nonlocal written
        lines = reading(execute, lambda: build(log, execute))
        if lines is not None:
            catalogue.reset_session(execute, session_id, sql_lines.header_of(lines[0], session_id))
            written = sql_lines.write_lines(execute, session_id, lines, is_new=False)
        return True

    def landed(execute: Transaction) -> bool | None:
        return reading(execute, lambda: _has_lines(log, written)) or None

    database.transact(rewrite, landed)
