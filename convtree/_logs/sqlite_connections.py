"""Connections of the standard library to a file of SQLite, each used by one thread at a time.

A connection belongs to the scope that took it, until it is in the list of idle ones again. Taking it off the list and
putting it there are one step each, so there is no lock that a fork or an interrupt could leave held. An interrupted
scope closes its connection: nobody knows how far it came.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from convtree._catalogue.erasing import SECURE_DELETE
from convtree._catalogue.executing import executing
from convtree._engine.log import Durability
from convtree._logs.sql_errors import is_bad_text, translated
from convtree._logs.sql_transaction import Begin, Connections, Scope, Transaction
from convtree._logs.sqlite_files import BriefConnection, create_file, open_file, take_any_text
from convtree._logs.sqlite_wal import enable_wal
from convtree._model.interrupts import is_interrupt

_KEPT = 5  # idle connections; further ones are closed after their transaction
_FILE_URL = "sqlite:///file.db"
_inherited: list[Any] = []  # connections of a parent process: SQLite forbids to close them here


def connections_of(url: str, durability: Durability, lock_timeout_s: float, *, create: bool) -> FileConnections:
    """Returns the connections to the file at a URL. Raises as `SqlDatabase.connect`."""
    path = _path_of(url)
    create_file(path, create=create)
    return FileConnections(path, durability, lock_timeout_s)


def _path_of(url: str) -> str:
    """Returns the path in a URL, which is not decoded: a `%` is one.

    Raises:
        ValueError: the URL names a host, parameters or no file.
    """
    host, slash, path = url.removeprefix("sqlite:").removeprefix("//").partition("/")
    path, _, query = path.partition("?")
    if url in ("sqlite:", "sqlite://") or (slash and not host and path in ("", ":memory:")):
        raise ValueError("an SQLite database must be a file; for memory only, use Session.memory() or memory:")
    if not url.startswith(_FILE_URL.removesuffix("file.db")):
        raise ValueError(f"not the URL of an SQLite database; expected {_FILE_URL} or sqlite:////folder/file.db")
    if query:
        names = ", ".join(each.partition("=")[0] for each in query.split("&"))
        raise ValueError(f"the URL of an SQLite database has no parameters ({names}); expected {_FILE_URL}")
    return path


class FileConnections(Connections):
    """The connections to one file. They are opened when they are needed."""

    file: str

    def __init__(self, path: str, durability: Durability, lock_timeout_s: float) -> None:
        super().__init__("sqlite", f"sqlite:///{path}", os.path.abspath(path))
        self._lock_timeout_s = lock_timeout_s
        self._synchronous = "FULL" if durability == "power" else "NORMAL"
        self._idle: list[sqlite3.Connection] = []

    def scope(self, begin: Begin) -> Scope:
        """Returns a transaction that has not begun."""
        return _Scope(self, begin)

    def take(self) -> sqlite3.Connection:
        """Returns an idle connection, or opens another one."""
        with suppress(IndexError):
            return self._idle.pop()
        return open_file(self.file, self._lock_timeout_s, self._configure)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Takes a connection back whose transaction has ended."""
        if isinstance(connection, BriefConnection) or len(self._idle) >= _KEPT:
            connection.close()
        else:
            self._idle.append(connection)
        if self.is_closed:  # also while it was put there
            self._close_idle()

    def close(self) -> None:
        """Closes them. Those in use are closed after their transaction."""
        self.is_closed = True
        self._close_idle()

    def after_fork(self) -> None:
        """Drops the connections in a forked child without closing them: they belong to the parent."""
        _inherited.append(self._idle)
        self._idle = []

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _configure(self, connection: sqlite3.Connection) -> None:
        enable_wal(connection, self._lock_timeout_s)
        connection.execute(SECURE_DELETE)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")


class _Scope(Scope):
    """A transaction on a connection that it has for itself."""

    _connections: FileConnections

    def __init__(self, connections: FileConnections, begin: Begin) -> None:
        super().__init__(connections, begin)
        self._connection: sqlite3.Connection | None = None  # until it is given back, or closed

    def _start(self) -> Transaction:
        connection = self._connection = self._connections.take()
        if self._begin is not None:
            connection.execute(self._begin)
        return _Transaction(connection, self._connections)

    def _end(self, error: BaseException | None) -> None:
        connection, connections = self._connection, self._connections
        if connections.is_inherited or (error is not None and is_interrupt(error)):
            self.abandon()
            return
        if connection is not None:
            try:
                connection.rollback()  # nothing to do after a commit
            except sqlite3.Error as failure:  # pragma: no cover  # SQLite knows of no reason
                error = error or failure
                self.abandon()
            else:
                self._connection = None  # first: from then on, another thread may have it
                connections.give_back(connection)
        if isinstance(error, sqlite3.Error):
            raise translated(error, connections.location, connections.file) from error

    def abandon(self) -> None:
        """Ends it after an interrupt: rolled back, and its connection closed. Does nothing if it has ended."""
        connection = self._connection
        if connection is None:
            return
        if self._connections.is_inherited:
            _inherited.append(connection)
        else:
            with suppress(sqlite3.Error):
                connection.rollback()  # closing waits for cursors, and one may be in the traceback
            connection.close()
        self._connection = None


class _Transaction(Transaction):
    """Runs statements on a connection."""

    def __init__(self, connection: sqlite3.Connection, connections: FileConnections) -> None:
        super().__init__(connections.location)
        self._connection = connection
        self._connections = connections
        self._execute = executing(connection)

    def __call__(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        self._connections.refuse_inherited()
        try:
            return self._execute(sql, values)
        except sqlite3.OperationalError as error:
            if not is_bad_text(error):
                raise
            take_any_text(self._connection)
        return self._execute(sql, values)

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _driver_error(self, error: Exception) -> BaseException | None:
        return error if isinstance(error, sqlite3.Error) else None
