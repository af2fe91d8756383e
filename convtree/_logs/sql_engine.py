"""The connections of an SQLAlchemy engine that the caller gives.

Statements are compiled once and run by the driver: SQLAlchemy is the pool, and knows which connection is lost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from convtree._catalogue.erasing import SECURE_DELETE
from convtree._logs.postgres_url import EXPECTED_URLS
from convtree._logs.sql_errors import is_bad_text, translated
from convtree._logs.sql_lease import Lease, watch
from convtree._logs.sql_transaction import Begin, Connections, Scope, Transaction
from convtree._logs.sqlite_files import take_any_text
from convtree._model.interrupts import is_interrupt

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy import Dialect as SqlalchemyDialect

_inherited: list[Any] = []  # leases of a parent process: giving one back would end its transaction


class EngineConnections(Connections):
    """The pool of an engine, which the caller disposes of."""

    def __init__(self, engine: Engine) -> None:
        is_sqlite = engine.dialect.name == "sqlite"
        file = engine.url.database if is_sqlite else None
        super().__init__(
            "sqlite" if is_sqlite else "postgresql", _without_secrets(engine.url), file and os.path.abspath(file)
        )
        # sqlite3 would begin at the first write only, and without the lock: a scope runs BEGIN itself.
        self.engine = engine.execution_options(**({"isolation_level": "AUTOCOMMIT"} if is_sqlite else {}))
        self.compile = lru_cache(maxsize=512)(partial(_compiled, engine.dialect))
        watch(engine)

    def scope(self, begin: Begin) -> Scope:
        """Returns a transaction that has not begun."""
        return _Scope(self, begin)

    def close(self) -> None:
        """Does nothing: they are the caller's."""

    def after_fork(self) -> None:
        """Does nothing: what the child may do with them is for the caller to say."""


class _Scope(Scope):
    """A transaction on a connection of the pool."""

    _connections: EngineConnections

    def __init__(self, connections: EngineConnections, begin: Begin) -> None:
        super().__init__(connections, begin)
        self._lease = Lease(connections.engine)

    def _start(self) -> Transaction:
        connections = self._connections
        connection = self._lease.take()
        if connections.dialect == "sqlite" and self._begin is not None:
            if self._begin != "BEGIN":
                connection.exec_driver_sql(SECURE_DELETE)  # the connection was made by the caller
            connection.exec_driver_sql(self._begin)
        return _Transaction(connection, connections, self._lease)

    def _end(self, error: BaseException | None) -> None:
        if self._connections.is_inherited or (error is not None and is_interrupt(error)):
            self.abandon()
            return
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        connections = self._connections
        try:
            self._lease.give_back()
        except DBAPIError as failure:  # pragma: no cover  # the server is gone; the harness `proxy` does that
            error = error or failure
        if isinstance(error, DBAPIError):
            is_lost = error.connection_invalidated
            meaning = translated(error.orig, connections.location, connections.file, is_lost=is_lost)
            raise meaning from error.orig  # unlike `error`, that does not quote values
        if isinstance(error, SQLAlchemyError):
            raise OSError(f"{connections.location}: {type(error).__name__}") from None

    def abandon(self) -> None:
        """Ends it after an interrupt: rolled back, and its connection closed. Does nothing if it has ended."""
        if self._connections.is_inherited:
            _inherited.append(self._lease)
        else:
            self._lease.abandon()


class _Transaction(Transaction):
    """Runs statements on a connection. If the first finds the connection dead, it is repeated on a new one."""

    def __init__(self, connection: Connection, connections: EngineConnections, lease: Lease) -> None:
        super().__init__(connections.location)
        self._connection = connection
        self._connections = connections
        self._lease = lease
        self._begun = connection.dialect.name == "sqlite"

    def __call__(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        from sqlalchemy.exc import DBAPIError

        self._connections.refuse_inherited()
        # Compiled once: text() would be compiled or looked up, and its values bound by name, at every execution.
        statement, given = self._connections.compile(sql).bound(values)
        try:
            rows = self._rows(statement, given)
        except DBAPIError as error:
            if is_bad_text(error.orig):
                take_any_text(self._connection.connection.driver_connection)
            elif self._begun or not error.connection_invalidated:
                raise
            else:
                self._connection.rollback()
                self._lease.note(self._connection)  # a new one
            rows = self._rows(statement, given)
        self._begun = True
        return rows

    def _rows(self, statement: str, given: Any) -> list[Any]:
        result = self._connection.exec_driver_sql(statement, given)
        return list(result.fetchall()) if result.returns_rows else []

    def _commit(self) -> None:
        try:
            self._connection.commit()
        except AssertionError as error:
            # SQLAlchemy asserts something of a commit that was interrupted, and so hides the interrupt.
            raise error.__context__ or error from None  # pragma: no cover  # one instruction of an interrupt

    def _driver_error(self, error: Exception) -> BaseException | None:
        from sqlalchemy.exc import DBAPIError

        return error.orig if isinstance(error, DBAPIError) else None


class _Statement(NamedTuple):
    """A statement in the syntax of a driver; `order` is None if the driver takes values by name."""

    sql: str
    order: Sequence[str] | None

    def bound(self, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[str, Any]:
        """Returns the statement and its values in the form that the driver takes."""
        if not values:
            return self.sql, None
        if isinstance(values, Mapping):
            return self.sql, self._ordered(values)
        return self.sql, self._ordered(values[0]) if len(values) == 1 else list(map(self._ordered, values))

    def _ordered(self, values: Mapping[str, Any]) -> Mapping[str, Any] | tuple[Any, ...]:
        return values if self.order is None else tuple(values[name] for name in self.order)


def _compiled(dialect: SqlalchemyDialect, sql: str) -> _Statement:
    """Translates `:name` parameters into the syntax of the driver."""
    from sqlalchemy import text

    compiled = text(sql).compile(dialect=dialect)
    return _Statement(str(compiled), compiled.positiontup)


# --- engines ------------------------------------------------------------------------------------------------------


def connections_of(engine: Engine) -> EngineConnections:
    """Returns the connections of an engine. Raises as `SqlDatabase.connect`."""
    if engine.dialect.name not in ("sqlite", "postgresql", "cockroachdb"):
        raise ValueError(f"an engine for {engine.dialect.name} cannot be used; expected {EXPECTED_URLS}")
    return EngineConnections(engine)


def _without_secrets(url: URL) -> str:
    """Returns a URL without its password, and without parameters other than host and port."""
    shown = {name: value for name, value in url.query.items() if name in ("host", "port")}
    return url.set(query=shown).render_as_string(hide_password=True)
