"""A database that sessions live in: SQLite or PostgreSQL, by way of SQLAlchemy Core.

It knows connections, transactions and what their errors mean for a caller; it knows nothing about sessions. One idea
carries it: a transaction is a function that can be called again, so whatever the server rolls back is tried again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.tables import Dialect, Execute
from convtree._engine.log import Durability
from convtree._logs.sqlite_wal import write_ahead
from convtree._model.errors import ConvtreeError, SessionClosed, SessionLocked, SessionNotFound
from convtree._model.resources import ForkAware, Uncopyable, watch_forks

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy import Dialect as SqlalchemyDialect

T = TypeVar("T")

TRIES = 5  # of one transaction that the server rolled back
_ROLLED_BACK = ("40001", "40P01")  # could not serialize; deadlock
_TAKEN = ("23505", "42P07", "42710")  # somebody else has just made the same row, table or index
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_URLS = "sqlite:///file.db or postgresql://user:password@host/name"


class RolledBack(OSError):
    """A transaction was rolled back by the server, or with its connection: it may be tried again."""


class UniqueViolation(RolledBack):
    """Somebody else has just added what was to be added."""


class CommitUnknown(OSError):
    """The connection was lost during COMMIT: the transaction is there as a whole, or not at all."""


class TablesMissing(SessionNotFound):
    """The database has no tables of ours; `create_tables()` makes them."""


class SqlDatabase(Uncopyable, ForkAware):
    """The tables of `convtree.catalogue` in a database; made by `SqlDatabase.connect`. Any thread may use it.

    What the driver says comes out as an OSError without values in it. `location` is the URL without its secrets.
    """

    def __init__(self, engine: Engine, *, owned: bool) -> None:
        self.dialect: Dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        self.location = _shown(engine.url)
        self._owned = engine if owned else None
        # sqlite3 begins only before the first write, and then without the lock: BEGIN is ours to say.
        own_begin = {"isolation_level": "AUTOCOMMIT"} if self.dialect == "sqlite" else {}
        self._engine = engine.execution_options(**own_begin)
        self._compile = lru_cache(maxsize=512)(partial(_compiled, engine.dialect))
        self._inherited = False
        self._checked = False
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
        """Says where a database is; the first statement connects to it.

        `where` is a URL (`sqlite:///file.db`, `postgresql://user:password@host/name`) or an SQLAlchemy engine, which
        is used as it is and stays the caller's to dispose of. `durability` is for SQLite, whose file is created for
        its owner only: "power" survives a power cut, "process" the death of every process. A PostgreSQL server has
        its own setting, `synchronous_commit`, which is left alone. `lock_timeout_s` is how long SQLite waits for
        another writer; PostgreSQL waits as its `lock_timeout` says. Without `create`, SQLite's file must exist.

        Raises:
            ImportError: SQLAlchemy or psycopg is not installed.
            ValueError: `where` is no URL of a database that convtree can use.
            FileNotFoundError: not `create`, and there is no file.
        """
        if not isinstance(where, str):
            if where.dialect.name not in ("sqlite", "postgresql", "cockroachdb"):
                raise ValueError(f"an engine for {where.dialect.name} cannot be used: {_URLS}")
            return cls(where, owned=False)
        url = _url_of(where)
        if url.drivername != "sqlite":
            return cls(_postgres_engine(url), owned=True)
        assert url.database is not None
        # For its owner only; the files beside it follow its mode.
        os.close(os.open(url.database, os.O_RDWR | (os.O_CREAT if create else 0), 0o600))
        return cls(_sqlite_engine(url, durability, lock_timeout_s), owned=True)

    def __repr__(self) -> str:
        return f"SqlDatabase({self.location!r})"

    # --- transactions ---

    @contextmanager
    def reading(self) -> Iterator[Execute]:
        """Reads in one transaction."""
        with self._transaction("BEGIN") as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Writes in one transaction: everything, or nothing when an error comes out of it.

        Raises:
            RolledBack: the server gave it up, or the connection was lost; nothing was written.
            Unsettled: the connection was lost at the very end; it may have been written, as a whole.
            SessionLocked: another writer took too long; nothing was written.
        """
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction
            transaction.commit()

    def transact(self, act: Callable[[Execute], T]) -> T:
        """Calls `act` in a transaction that writes, again when it was rolled back.

        Raises:
            SessionLocked: it was rolled back too often, because of what others wrote.
        """
        for number in range(TRIES):
            try:
                with self.writing() as execute:
                    return act(execute)
            except RolledBack:
                pause(number)
        raise self.crowded()

    def crowded(self) -> SessionLocked:
        """Makes the error of who came too late every time."""
        return SessionLocked(f"{self.location}: others wrote at every try; nothing was written, try again", holder=None)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Transaction]:
        if self._inherited:
            raise SessionClosed(f"{self.location}: this database belongs to the parent process; connect to it again")
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                if self.dialect == "sqlite":
                    connection.exec_driver_sql(begin)
                yield _Transaction(connection, self._compile)
        except DBAPIError as error:
            raise self._explained(error) from error.orig  # which has no values in it
        except SQLAlchemyError as error:
            raise OSError(f"{self.location}: {type(error).__name__}") from None

    def _explained(self, error: Any) -> Exception:
        """Says what an error of the driver means for the caller."""
        code = _code_of(error.orig)
        text = _text_of(error.orig)
        if code in ("SQLITE_BUSY", "55P03"):
            return SessionLocked(f"{self.location}: locked by another writer; nothing was written", holder=None)
        if code == "42P01" or text.startswith("no such table"):
            return TablesMissing(f"{self.location}: there are no tables yet: open_store(url, create=True) makes them")
        if code in _TAKEN or code == "SQLITE_CONSTRAINT":
            return UniqueViolation(f"{self.location}: {text}")
        if code in _ROLLED_BACK or error.connection_invalidated:
            return RolledBack(f"{self.location}: {text}")
        return OSError(f"{self.location}: {text}")

    # --- the tables ---

    def create_tables(self) -> None:
        """Creates the tables, unless they are there; several processes may do so at once.

        Raises:
            ConvtreeError: a newer convtree made them.
        """
        try:
            self.check_tables()
        except TablesMissing:
            self.transact(self._create)
            self.check_tables()

    def check_tables(self) -> None:
        """Makes sure that this version can use the tables; looks only once.

        Raises:
            TablesMissing: there are none yet.
            ConvtreeError: a newer convtree made them.
        """
        if self._checked:
            return
        with self.reading() as execute:
            [(version,)] = execute("SELECT MAX(version) FROM ct_schema")
        if version is None:
            raise TablesMissing(f"{self.location}: there are no tables yet: open_store(url, create=True) makes them")
        if version > catalogue.VERSION:
            raise ConvtreeError(
                f"{self.location}: its tables are of version {version}, this convtree knows {catalogue.VERSION}; "
                "use a newer convtree"
            )
        self._checked = True

    def _create(self, execute: Execute) -> None:
        for statement in catalogue.SCHEMA[self.dialect]:
            execute(statement)
        added = "INSERT INTO ct_schema (version) VALUES (:version) ON CONFLICT DO NOTHING"
        execute(added, {"version": catalogue.VERSION})

    # --- the end ---

    def close(self) -> None:
        """Closes the connections, unless the engine is the caller's; twice is the same as once."""
        if self._owned is not None and not self._inherited:
            self._owned.dispose()

    def _after_fork(self) -> None:
        """In a forked child: leaves the parent its connections."""
        self._inherited = True
        if self._owned is not None:
            self._owned.dispose(close=False)


class _Transaction:
    """Runs statements on a connection. The first may find the connection dead: nothing is lost then but the time."""

    def __init__(self, connection: Connection, compile: Callable[[str], _Statement]) -> None:
        self._connection = connection
        self._compile = compile
        self._begun = connection.dialect.name == "sqlite"

    def __call__(self, sql: str, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] = ()) -> list[Any]:
        """Runs a statement; with a list of values, for each of them."""
        from sqlalchemy.exc import DBAPIError

        # SQLAlchemy's text() would be compiled anew, or looked up, and its values bound by name, at every execution.
        statement, given = self._compile(sql).bound(values)
        try:
            result = self._connection.exec_driver_sql(statement, given)
        except DBAPIError as error:
            if self._begun or not error.connection_invalidated:
                raise
            self._connection.rollback()  # the next statement takes a new connection
            result = self._connection.exec_driver_sql(statement, given)
        self._begun = True
        return list(result.fetchall()) if result.returns_rows else []

    def commit(self) -> None:
        from sqlalchemy.exc import DBAPIError

        try:
            self._connection.commit()
        except DBAPIError as error:
            if _code_of(error.orig) in (*_ROLLED_BACK, "SQLITE_BUSY"):
                raise
            raise CommitUnknown(f"whether the transaction is stored is unknown: {_text_of(error.orig)}") from error.orig


def pause(number: int) -> None:
    """Waits before the next try, longer each time, and never as long as the others."""
    time.sleep(random.uniform(0.5, 1) * 0.01 * 4**number)


class _Statement(NamedTuple):
    """A statement as a driver takes it; `order` is None where the driver takes values by their names."""

    sql: str
    order: Sequence[str] | None

    def bound(self, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[str, Any]:
        """Returns the statement, and the values as the driver takes them."""
        if not values:
            return self.sql, None
        if isinstance(values, Mapping):
            return self.sql, self._of(values)
        return self.sql, self._of(values[0]) if len(values) == 1 else list(map(self._of, values))

    def _of(self, values: Mapping[str, Any]) -> Mapping[str, Any] | tuple[Any, ...]:
        return values if self.order is None else tuple(values[name] for name in self.order)


def _compiled(dialect: SqlalchemyDialect, sql: str) -> _Statement:
    """Makes `:name` the driver's own way to say it."""
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
    except (sqlalchemy.exc.ArgumentError, ValueError):  # whose text may have the password in it
        raise ValueError(f"this is not the URL of a database; expected {_URLS}") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(f"{url.drivername!r} is no database that convtree knows; expected {_URLS}")
    if url.drivername == "sqlite" and (url.database or ":memory:") == ":memory:":
        raise ValueError("an SQLite database is a file here; for memory only, use Session.memory()")
    return url.set(drivername=_DRIVERS[url.drivername])


def _shown(url: URL) -> str:
    """Words a URL without what may be secret: the password, and parameters other than where the server is."""
    shown = {name: value for name, value in url.query.items() if name in ("host", "port")}
    return url.set(query=shown).render_as_string(hide_password=True)


def _postgres_engine(url: URL) -> Engine:
    try:
        import psycopg  # noqa: F401  # only to say what is missing
    except ImportError:
        raise ImportError("PostgreSQL needs psycopg: pip install 'convtree[postgres]'") from None
    # Prepared statements break behind a pooler that gives out connections by the transaction.
    return _import_sqlalchemy().create_engine(  # type: ignore[no-any-return]
        url, pool_size=5, max_overflow=20, hide_parameters=True, connect_args={"prepare_threshold": None}
    )


def _sqlite_engine(url: URL, durability: Durability, lock_timeout_s: float) -> Engine:
    sqlalchemy = _import_sqlalchemy()
    engine: Engine = sqlalchemy.create_engine(
        url, pool_size=5, max_overflow=20, hide_parameters=True, connect_args={"timeout": lock_timeout_s}
    )

    def settle(connection: Any, _: Any) -> None:
        write_ahead(connection, lock_timeout_s)
        connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'power' else 'NORMAL'}")

    sqlalchemy.event.listen(engine, "connect", settle)
    return engine


def _code_of(error: Any) -> str | None:
    """Returns the SQLSTATE of PostgreSQL, or the name of SQLite's primary error code."""
    name = getattr(error, "sqlite_errorname", None)
    if name is None:
        return getattr(error, "sqlstate", None)
    return next((each for each in ("SQLITE_BUSY", "SQLITE_CONSTRAINT") if name.startswith(each)), str(name))


def _text_of(error: Any) -> str:
    """Returns what the driver says, without the lines that quote values."""
    text = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__
