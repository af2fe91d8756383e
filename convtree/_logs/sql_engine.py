"""A database: SQLite or PostgreSQL, through SQLAlchemy Core.

Knows connections, transactions, and what their errors mean for a caller. Knows nothing about sessions. The idea: a
transaction is a function that can be called again, so a transaction that the server rolls back is simply repeated.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.erasing import SECURE_DELETE
from convtree._catalogue.tables import Dialect, Execute
from convtree._engine.log import Durability
from convtree._logs.sql_distribution import check_citus, distribute
from convtree._logs.sql_errors import (
    RolledBack,
    TablesMissing,
    TablesOutdated,
    is_bad_text,
    is_certain,
    tables_missing,
    text_of,
    translated,
)
from convtree._logs.sql_lease import Lease, watch
from convtree._logs.sql_migration import migrate
from convtree._logs.sqlite_files import connect_events, create_file, take_any_text
from convtree._logs.sqlite_wal import enable_wal, truncate_wal
from convtree._model.errors import ConvtreeError, OutcomeUnknown, SessionClosed, SessionLocked
from convtree._model.interrupts import is_interrupt
from convtree._model.resources import ForkAware, Uncopyable, watch_database, watch_forks

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy import Dialect as SqlalchemyDialect

T = TypeVar("T")

TRIES = 5  # how often a transaction is run that the server rolls back
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_SELECT_VERSION = "SELECT MAX(version) FROM ct_schema"
_URLS = "sqlite:///file.db or postgresql://user:password@host/name"


class SqlDatabase(Uncopyable, ForkAware):
    """A database with convtree's tables. Made by `SqlDatabase.connect`. Any thread may use it.

    Errors of the driver are raised as OSError, without the values of the statement. `location` is the URL without
    secrets.
    """

    def __init__(self, engine: Engine, *, owned: bool) -> None:
        self.dialect: Dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        self.location = _without_secrets(engine.url)
        self._owned = engine if owned else None  # to be disposed of by `close`; None if the caller owns it
        # sqlite3 would begin at the first write only, and without the lock: this module runs BEGIN itself.
        own_begin = {"isolation_level": "AUTOCOMMIT"} if self.dialect == "sqlite" else {}
        self._engine = engine.execution_options(**own_begin)
        file = engine.url.database if self.dialect == "sqlite" else None
        self._file = file and os.path.abspath(file)
        self._compile = lru_cache(maxsize=512)(partial(_compiled, engine.dialect))
        self._closed = False  # set by `close`: from then on, a connection is closed after each transaction
        self._inherited = False  # set in a forked child: the connections belong to the parent
        self.unerased: tuple[str, ...] = ()  # as `truncate_wal` returned it last
        self._checked = False  # set when the version of the tables was found to be usable
        watch(engine)
        watch_forks(self)
        watch_database(self)

    @classmethod
    def connect(
        cls,
        where: str | Engine,
        *,
        durability: Durability = "power",
        lock_timeout_s: float = 10.0,
        create: bool = True,
    ) -> SqlDatabase:
        """Returns the database at a URL. Does not connect yet: the first statement does.

        Args:
            where: a URL (`sqlite:///file.db`, `postgresql://user:password@host/name`) or an SQLAlchemy engine. An
                engine is used as it is, and the caller disposes of it.
            durability: for SQLite only. PostgreSQL has its own setting, `synchronous_commit`, which is not changed.
            lock_timeout_s: how long SQLite waits for another writer. PostgreSQL has its own setting, `lock_timeout`.
            create: whether to create the file of SQLite, readable by its owner only; otherwise it must exist.

        Raises:
            ImportError: SQLAlchemy or psycopg is not installed.
            ValueError: `where` is not the URL of a database that convtree can use.
            FileNotFoundError: there is no file, and `create` is False.
        """
        if not isinstance(where, str):
            if where.dialect.name not in ("sqlite", "postgresql", "cockroachdb"):
                raise ValueError(f"an engine for {where.dialect.name} cannot be used; expected {_URLS}")
            return cls(where, owned=False)
        url = _url_of(where)
        if url.drivername != "sqlite":
            return cls(_postgres_engine(url), owned=True)
        assert url.database is not None
        create_file(url.database, create=create)
        return cls(_sqlite_engine(url, durability, lock_timeout_s), owned=True)

    def __repr__(self) -> str:
        return f"SqlDatabase({self.location!r})"

    # --- transactions ---

    def read(self, work: Callable[[Execute], T]) -> T:
        """Calls `work` in a transaction that reads, with a function that runs statements; returns what it returns."""
        return self._call(self.reading(), work)

    def write(self, work: Callable[[Execute], T]) -> T:
        """Calls `work` in a transaction that writes; returns what it returns. Raises as `writing`."""
        return self._call(self.writing(), work)

    def _call(self, scope: _Scope, work: Callable[[Execute], T]) -> T:
        try:
            with scope as execute:
                return work(execute)
        except BaseException:
            scope.abandon()  # an interrupt may have come where the block has ended, and its end was not called
            raise

    def reading(self) -> _Scope:
        """Opens a transaction that reads; gives a function that runs statements. `read` survives interrupts, too."""
        return _Scope(self, "BEGIN")

    def writing(self) -> _Scope:
        """Opens a transaction that writes: committed at the end of the block, rolled back if that raises.

        `write` and `transact` give the lock back at an interrupt, too.

        Raises:
            RolledBack: the server rolled it back, or the connection was lost; nothing was written.
            OutcomeUnknown: the connection was lost during the commit; everything was written, or nothing.
            SessionLocked: another writer kept its lock too long; nothing was written.
        """
        return _Scope(self, "BEGIN IMMEDIATE")

    def transact(self, work: Callable[[Execute], T], landed: Callable[[Execute], T | None] | None = None) -> T:
        """Calls `work` in a transaction that writes; again, after a pause, if the server rolls it back.

        If the connection is lost during the commit, asks `landed` in the next transaction. It takes the locks of
        `work`, so the lost transaction has ended by then, and returns the result of `work` if that took effect. Without
        it, `work` is called again: it must do nothing the second time.

        Raises:
            OutcomeUnknown: the server did not answer after the connection was lost during the commit.
            SessionLocked: it was rolled back every time; nothing was written.
        """
        unknown: OutcomeUnknown | None = None

        def attempt(execute: Execute) -> T:
            result = None if unknown is None or landed is None else landed(execute)
            return work(execute) if result is None else result

        for number in range(TRIES):
            try:
                return self.write(attempt)
            except OutcomeUnknown as error:
                unknown = error
            except (OSError, SessionLocked) as error:
                if unknown is None and not isinstance(error, RolledBack):
                    raise
            back_off(number)
        raise unknown or self.too_contended()

    def too_contended(self) -> SessionLocked:
        """Returns the error for a transaction that was rolled back at every try."""
        return SessionLocked(
            f"{self.location}: rolled back {TRIES} times because of other writers; nothing was written, try again",
            holder=None,
        )

    # --- the tables ---

    def create_tables(self) -> None:
        """Creates the tables if they are missing, or migrates those of an earlier version of convtree.

        Several processes may do so at once. A migration is one transaction.

        Raises:
            ConvtreeError: they exist, and were created by a newer version of convtree.
        """
        try:
            self.check_tables()
        except (TablesMissing, TablesOutdated):
            self.transact(self._create_or_migrate)
            self.check_tables()

    def distribute_tables(self) -> list[str]:
        """Spreads the tables over the workers of a Citus cluster; returns the names of those that were not yet.

        Creates or migrates them first, like `create_tables`. What they hold is moved, and they are locked meanwhile.

        Raises:
            ConvtreeError: the database has no Citus, or a table is distributed in another way. No table was changed.
        """
        self.read(lambda execute: check_citus(execute, self.location))
        self.create_tables()
        return self.transact(partial(distribute, location=self.location))

    def check_tables(self) -> None:
        """Checks that this version can use the tables. Asks the database only once.

        Raises:
            TablesMissing: there are no tables.
            TablesOutdated: they were created by an earlier version of convtree, and not migrated.
            ConvtreeError: they were created by a newer version of convtree.
        """
        if self._checked:
            return
        [(version,)] = self.read(lambda execute: execute(_SELECT_VERSION))
        if version is None:
            raise tables_missing(self.location)
        if version > catalogue.VERSION:
            raise ConvtreeError(
                f"{self.location}: its tables have version {version}, this convtree supports up to "
                f"{catalogue.VERSION}; use a newer convtree"
            )
        if version < catalogue.VERSION:
            raise TablesOutdated(
                f"{self.location}: its tables have version {version}, this convtree needs version "
                f"{catalogue.VERSION}; open_store(url, create=True) or `convtree upgrade` migrates them"
            )
        self._checked = True

    def _create_or_migrate(self, execute: Execute) -> None:
        execute(catalogue.VERSIONS)
        [(version,)] = execute(_SELECT_VERSION)
        if version is not None and version < catalogue.VERSION:
            migrate(execute, self.dialect, self.location)
            return
        for statement in catalogue.SCHEMA[self.dialect]:
            execute(statement)
        added = "INSERT INTO ct_schema (version) VALUES (:version) ON CONFLICT DO NOTHING"
        execute(added, {"version": catalogue.VERSION})

    # --- the end ---

    @property
    def file_name(self) -> str:
        """The name of the file of SQLite."""
        return os.path.basename(self._engine.url.database or ":memory:")

    def truncate_wal(self) -> None:
        """Empties the WAL of SQLite, and notes in `unerased` what waits for readers.

        Raises:
            OSError: the database cannot be written to.
        """
        self.unerased = ("", "-wal")
        self.unerased = self._call(_Scope(self, None), truncate_wal)

    def close(self) -> None:
        """Closes the connections, unless the engine belongs to the caller; twice is the same as once."""
        if self.unerased and not self._inherited:
            with suppress(OSError, ConvtreeError):
                self.truncate_wal()
        if self._owned is not None and not self._inherited:
            self._closed = True
            self._owned.dispose()

    def held_database(self) -> str | None:
        """Returns the path of the file of SQLite, until this is closed."""
        return None if self._closed else self._file

    def _after_fork(self) -> None:
        """Drops the connections in a forked child without closing them: they belong to the parent."""
        self._inherited = True
        if self._owned is not None:
            self._owned.dispose(close=False)


class _Scope:
    """A transaction as a block. `begin` is the statement that begins it in SQLite; None: every statement for itself."""

    def __init__(self, database: SqlDatabase, begin: Literal["BEGIN", "BEGIN IMMEDIATE"] | None) -> None:
        self._database = database
        self._begin = begin
        self._lease = Lease(database._engine, owned=database._owned is not None)
        self._pool = database._engine.pool
        self._transaction: _Transaction | None = None

    def __enter__(self) -> _Transaction:
        database = self._database
        if database._inherited:
            raise SessionClosed(
                f"{database.location}: this database belongs to the parent process; connect to it again"
            )
        try:
            connection = self._lease.take()
            if database.dialect == "sqlite" and self._begin is not None:
                if database._owned is None and self._begin != "BEGIN":
                    connection.exec_driver_sql(SECURE_DELETE)  # the connection was made by the caller
                connection.exec_driver_sql(self._begin)
            self._transaction = _Transaction(connection, database._compile, self._lease, database.location)
            return self._transaction
        except BaseException as error:
            self._end(error)
            raise  # an interrupt; for most errors of a driver, `_end` has raised another one

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None and self._begin == "BEGIN IMMEDIATE":
                assert self._transaction is not None
                self._transaction.commit()
        except BaseException as failure:
            self._end(failure)
            raise
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Gives the connection back, and raises what an error of the driver means."""
        if error is not None and is_interrupt(error):
            self.abandon()
            return
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        database = self._database
        try:
            self._lease.give_back()
        except DBAPIError as failure:  # pragma: no cover  # the server is gone; the harness `proxy` does that
            error = error or failure
        self._dispose_if_closed()
        if isinstance(error, DBAPIError):
            meaning = translated(error, database.location, database._file)
            raise meaning from error.orig  # unlike `error`, that does not quote values
        if isinstance(error, SQLAlchemyError):
            raise OSError(f"{database.location}: {type(error).__name__}") from None

    def abandon(self) -> None:
        """Ends it after an interrupt: rolled back, and its connection closed. Does nothing if it has ended."""
        self._lease.abandon()
        self._dispose_if_closed()

    def _dispose_if_closed(self) -> None:
        """Closes what went back to a pool after the database was closed. Nobody else would."""
        database = self._database
        if database._closed and not database._inherited:
            for each in (self._pool, database._engine.pool):
                each.dispose()


class _Transaction:
    """Runs statements on a connection. If the first finds the connection dead, it is repeated on a new one."""

    def __init__(
        self, connection: Connection, compile: Callable[[str], _Statement], lease: Lease, location: str
    ) -> None:
        self._connection = connection
        self._location = location
        self._compile = compile
        self._lease = lease
        self._begun = connection.dialect.name == "sqlite"

    def __call__(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        from sqlalchemy.exc import DBAPIError

        # Compiled once: text() would be compiled or looked up, and its values bound by name, at every execution.
        statement, given = self._compile(sql).bound(values)
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

    def commit(self) -> None:
        """Commits; raises OutcomeUnknown if the outcome cannot be known."""
        from sqlalchemy.exc import DBAPIError

        try:
            self._connection.commit()
        except AssertionError as error:
            # SQLAlchemy asserts something of a commit that was interrupted, and so hides the interrupt.
            raise error.__context__ or error from None  # pragma: no cover  # one instruction of an interrupt
        except DBAPIError as error:
            if is_certain(error.orig):
                raise
            raise OutcomeUnknown(
                f"{self._location}: the connection was lost during the commit, so it is unknown whether this call took "
                f"effect; make it again with the same ids, or look ({text_of(error.orig)})"
            ) from error.orig


def back_off(number: int) -> None:
    """Waits before try `number + 1`: four times as long each time, with jitter."""
    time.sleep(random.uniform(0.5, 1) * 0.01 * 4**number)


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


def _import_sqlalchemy() -> Any:
    try:
        import sqlalchemy
    except ImportError:
        raise ImportError("databases need SQLAlchemy: pip install 'convtree[sql]'") from None
    return sqlalchemy


def _url_of(where: str) -> URL:
    sqlalchemy = _import_sqlalchemy()
    try:
        url: URL = sqlalchemy.make_url(where)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # its text may contain the password
        raise ValueError(f"not the URL of a database; expected {_URLS}") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(f"unknown kind of database {url.drivername!r}; expected {_URLS}")
    if url.drivername == "sqlite" and (url.database or ":memory:") == ":memory:":
        raise ValueError("an SQLite database must be a file; for memory only, use Session.memory() or memory:")
    return url.set(drivername=_DRIVERS[url.drivername])


def _without_secrets(url: URL) -> str:
    """Returns a URL without its password, and without parameters other than host and port."""
    shown = {name: value for name, value in url.query.items() if name in ("host", "port")}
    return url.set(query=shown).render_as_string(hide_password=True)


def _postgres_engine(url: URL) -> Engine:
    try:
        import psycopg  # noqa: F401  # for a clear error
    except ImportError:
        raise ImportError("PostgreSQL needs psycopg: pip install 'convtree[postgres]'") from None
    # Prepared statements break behind a pooler that assigns connections per transaction.
    return _import_sqlalchemy().create_engine(  # type: ignore[no-any-return]
        url, pool_size=5, max_overflow=20, hide_parameters=True, connect_args={"prepare_threshold": None}
    )


def _sqlite_engine(url: URL, durability: Durability, lock_timeout_s: float) -> Engine:
    sqlalchemy = _import_sqlalchemy()
    engine: Engine = sqlalchemy.create_engine(
        url, pool_size=5, max_overflow=20, hide_parameters=True, connect_args={"timeout": lock_timeout_s}
    )

    def configure(connection: sqlite3.Connection) -> None:
        enable_wal(connection, lock_timeout_s)
        connection.execute(SECURE_DELETE)
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")

    assert url.database is not None
    for name, listener in connect_events(os.path.abspath(url.database), configure).items():
        sqlalchemy.event.listen(engine, name, listener)
    return engine
