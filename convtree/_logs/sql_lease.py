"""One connection of an SQLAlchemy engine, for as long as a transaction needs it. Whatever interrupts, it goes back.

SQLAlchemy gives a connection back when its objects are collected. An interrupt leaves them in the traceback, and with
them a transaction and its locks. So a lease knows the connection of the driver, and closes that itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_LEASE = "convtree_lease"


class Lease:
    """A connection that is taken, used by one thread, and given back or abandoned.

    Args:
        engine: where the connection comes from.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._fairy: Any = None  # what the pool gave: knows the connection of the driver
        self._raw: Any = None  # the connection of the driver, until it is back in the pool
        self._is_over = True  # nothing is taken, or all is given back

    def take(self) -> Connection:
        """Takes a connection from the pool."""
        self._is_over = False
        connection = self._connection = self._engine.connect()
        self.note(connection)
        return connection

    def note(self, connection: Connection) -> None:
        """Looks which connection of the driver is behind it; takes another one if that was lost."""
        fairy = self._fairy = connection.connection
        fairy.info[_LEASE] = self
        self._raw = fairy.dbapi_connection

    def give_back(self) -> None:
        """Gives the connection back. The pool rolls back what was not committed."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._fairy = self._raw = None
        self._is_over = True

    def abandon(self) -> None:
        """Ends a lease that was interrupted: closes the connection, which rolls back. Does nothing after the end."""
        if self._is_over:
            return
        self._is_over = True
        raw, fairy = self._raw, self._fairy
        self._connection = self._fairy = self._raw = None
        if raw is not None:  # else it is in the pool, where others may have it
            _roll_back(raw)
            with suppress(Exception):
                raw.close()
            with suppress(Exception):
                fairy.invalidate()


def watch(engine: Engine) -> None:
    """Makes leases of an engine know when their connection is in the pool again. Twice is the same as once."""
    from sqlalchemy import event

    if not event.contains(engine, "checkin", _checked_in):
        event.listen(engine, "checkin", _checked_in)
        event.listen(engine, "invalidate", _invalidated)


def _invalidated(connection: Any, _: object, __: object) -> None:
    """Called before SQLAlchemy closes a connection, as it does when an interrupt comes in a statement."""
    _roll_back(connection)


def _roll_back(connection: Any) -> None:
    """Ends a transaction of SQLite, which goes on after `close` while a cursor is alive: in a traceback, say."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.Error):
            connection.rollback()


def _checked_in(_: object, record: Any) -> None:
    lease = record.info.pop(_LEASE, None)
    if lease is not None:
        lease._raw = None
