"""A database: SQLite or PostgreSQL, through SQLAlchemy Core.

Knows connections, transactions, and what their errors mean for a caller. Knows nothing about sessions. The idea: a
transaction is a function that can be called again, so a transaction that the server rolls back is simply repeated.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.erasing import SECURE_DELETE
from convtree._catalogue.tables import Dialect, Execute
from convtree._engine.log import Durability
from convtree._logs.filesystems import full_disk_error
from convtree._logs.sql_distribution import check_citus, distribute
from convtree._logs.sql_migration import migrate
from convtree._logs.sqlite_files import connect_events, create_file
from convtree._logs.sqlite_wal import enable_wal, truncate_wal
from convtree._model.errors import (
    ConvtreeError,
    OutcomeUnknown,
    ReadOnlySession,
    SessionClosed,
    SessionLocked,
    SessionNotFound,
)
from convtree._model.resources import ForkAware, Uncopyable, watch_forks

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy import Dialect as SqlalchemyDialect

T = TypeVar("T")

TRIES = 5  # how often a transaction is run that the server rolls back
_ROLLED_BACK = ("40001", "40P01")  # could not serialize; deadlock
_UNIQUE_VIOLATIONS = ("23505", "42P07", "42710")  # the row, table or index exists
_FULL = ("SQLITE_FULL", "53100")  # disk full
_VAGUE = ("SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")  # of a full disk, a quota or a size limit, for example
_CANCELLED = "57014"  # by statement_timeout, or by an administrator
#: how the codes begin with which a coordinator says that a worker ends, or cannot be reached
_NODE_LOST = ("08", "57P0")
_READ_ONLY = ("SQLITE_READONLY", "25006")
_PRIMARY = ("SQLITE_BUSY", "SQLITE_CONSTRAINT", "SQLITE_READONLY")  # codes whose extended codes mean the same here
_CANNOT_WRITE = "cannot be written to, because its place is read-only or its disk is full; nothing was written"
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_SELECT_VERSION = "SELECT MAX(version) FROM ct_schema"
_URLS = "sqlite:///file.db or postgresql://user:password@host/name"


class RolledBack(OSError):
    """The server rolled a transaction back, or the connection was lost before the commit; it can be repeated."""


class UniqueViolation(RolledBack):
    """The row to insert exists: another process may have just inserted it."""


class TablesMissing(SessionNotFound):
    """The database has no tables of convtree; `create_tables()` creates them."""


class TablesOutdated(ConvtreeError):
    """The tables are of an earlier version; `create_tables()` migrates them."""


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
        self._file = engine.url.database if self.dialect == "sqlite" else None
        self._compile = lru_cache(maxsize=512)(partial(_compiled, engine.dialect))
        self._closed = False  # set by `close`: from then on, a connection is closed after each transaction
        self._inherited = False  # set in a forked child: the connections belong to the parent
        self.unerased: tuple[str, ...] = ()  # as `truncate_wal` returned it last
        self._checked = False  # set when the version of the tables was found to be usable
        watch_forks(self)

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

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """Opens a transaction that reads; gives a function that runs statements."""
        with self._transaction("BEGIN") as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Opens a transaction that writes: committed at the end of the block, rolled back if that raises.

        Raises:
            RolledBack: the server rolled it back, or the connection was lost; nothing was written.
            OutcomeUnknown: the connection was lost during the commit; everything was written, or nothing.
            SessionLocked: another writer kept its lock too long; nothing was written.
        """
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction
            transaction.commit()

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
        for number in range(TRIES):
            try:
                with self.writing() as execute:
                    result = None if unknown is None or landed is None else landed(execute)
                    return work(execute) if result is None else result
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

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Transaction]:
        if self._inherited:
            raise SessionClosed(f"{self.location}: this database belongs to the parent process; connect to it again")
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            with self._connected() as connection:
                if self.dialect == "sqlite":
                    if self._owned is None and begin != "BEGIN":
                        connection.exec_driver_sql(SECURE_DELETE)  # the connection was made by the caller
                    connection.exec_driver_sql(begin)
                yield _Transaction(connection, self._compile, self.location)
        except DBAPIError as error:
            raise self._translated(error) from error.orig  # unlike `error`, that does not quote values
        except SQLAlchemyError as error:
            raise OSError(f"{self.location}: {type(error).__name__}") from None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        pool = self._engine.pool
        try:
            with self._engine.connect() as connection:
                yield connection
        finally:
            if self._closed:  # nobody else would close what went back to a pool
                for each in (pool, self._engine.pool):
                    each.dispose()

    def _translated(self, error: Any) -> Exception:
        """Returns the error to raise for an error of the driver."""
        code = _code_of(error.orig)
        text = _text_of(error.orig)
        if code in ("SQLITE_BUSY", "55P03"):
            return SessionLocked(f"{self.location}: locked by another writer; nothing was written", holder=None)
        if code == "42P01" or text.startswith("no such table"):
            return self._tables_missing()
        if (full := self._full_disk(code)) is not None:
            return OSError(full.errno, f"{full.strerror}; nothing was written", self._file or self.location)
        if code in _READ_ONLY:
            return ReadOnlySession(f"{self.location}: {_CANNOT_WRITE} ({text})")
        if code in _UNIQUE_VIOLATIONS or code == "SQLITE_CONSTRAINT":
            return UniqueViolation(f"{self.location}: {text}")
        is_over = code in _ROLLED_BACK or error.connection_invalidated
        return RolledBack(f"{self.location}: {text}") if is_over else _os_error(code, f"{self.location}: {text}")

    def _full_disk(self, code: str | None) -> OSError | None:
        """Returns the error of a full disk, if that is why a statement failed. SQLite says so only of some writes."""
        if code in _FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._file is not None and str(code).startswith(_VAGUE):
            return full_disk_error(Path(self._file).absolute().parent)
        return None

    def _tables_missing(self) -> TablesMissing:
        return TablesMissing(f"{self.location}: there are no tables yet; open_store(url, create=True) creates them")

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
        with self.reading() as execute:
            check_citus(execute, self.location)
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
        with self.reading() as execute:
            [(version,)] = execute(_SELECT_VERSION)
        if version is None:
            raise self._tables_missing()
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
        from sqlalchemy.exc import DBAPIError

        self.unerased = ("", "-wal")
        try:
            with self._engine.connect() as connection:

                def execute(sql: str) -> Sequence[Any]:
                    result = connection.exec_driver_sql(sql)
                    return result.fetchall() if result.returns_rows else ()

                self.unerased = truncate_wal(execute)
        except DBAPIError as error:
            raise self._translated(error) from error.orig

    def close(self) -> None:
        """Closes the connections, unless the engine belongs to the caller; twice is the same as once."""
        if self.unerased and not self._inherited:
            with suppress(OSError, ConvtreeError):
                self.truncate_wal()
        if self._owned is not None and not self._inherited:
            self._closed = True
            self._owned.dispose()

    def _after_fork(self) -> None:
        """Drops the connections in a forked child without closing them: they belong to the parent."""
        self._inherited = True
        if self._owned is not None:
            self._owned.dispose(close=False)


class _Transaction:
    """Runs statements on a connection. If the first finds the connection dead, it is repeated on a new one."""

    def __init__(self, connection: Connection, compile: Callable[[str], _Statement], location: str) -> None:
        self._connection = connection
        self._location = location
        self._compile = compile
        self._begun = connection.dialect.name == "sqlite"

    def __call__(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        from sqlalchemy.exc import DBAPIError

        # Compiled once: text() would be compiled or looked up, and its values bound by name, at every execution.
        statement, given = self._compile(sql).bound(values)
        try:
            result = self._connection.exec_driver_sql(statement, given)
        except DBAPIError as error:
            if self._begun or not error.connection_invalidated:
                raise
            self._connection.rollback()  # then the next statement takes a new connection
            result = self._connection.exec_driver_sql(statement, given)
        self._begun = True
        return list(result.fetchall()) if result.returns_rows else []

    def commit(self) -> None:
        """Commits; raises OutcomeUnknown if the outcome cannot be known."""
        from sqlalchemy.exc import DBAPIError

        try:
            self._connection.commit()
        except DBAPIError as error:
            code = str(_code_of(error.orig))
            if code in (*_ROLLED_BACK, "SQLITE_BUSY", "SQLITE_IOERR_WRITE", *_FULL):
                raise
            raise OutcomeUnknown(
                f"{self._location}: the connection was lost during the commit, so it is unknown whether this call took "
                f"effect; make it again with the same ids, or look ({_text_of(error.orig)})"
            ) from error.orig


def _os_error(code: str | None, message: str) -> OSError:
    if code == _CANCELLED:
        return TimeoutError(f"{message}; nothing was written")
    return ConnectionError(f"{message}; nothing was written") if str(code).startswith(_NODE_LOST) else OSError(message)


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


def _code_of(error: Any) -> str | None:
    """Returns PostgreSQL's SQLSTATE, or the name of SQLite's primary error code."""
    name = getattr(error, "sqlite_errorname", None)
    if name is None:
        return getattr(error, "sqlstate", None)
    return next((each for each in _PRIMARY if name.startswith(each)), str(name))


def _text_of(error: Any) -> str:
    """Returns the first line of the driver's message; the others may quote values."""
    text = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
