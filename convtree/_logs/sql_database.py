"""A database with convtree's tables: SQLite or PostgreSQL.

Knows transactions and tables. Knows nothing about sessions, nor about drivers: a file of SQLite is opened by the
standard library (`sqlite_connections`), a server by psycopg (`postgres_connections`), an engine of the caller by
SQLAlchemy (`sql_engine`). The idea: a transaction is a function that can be called again, so a transaction that the
server rolls back is simply repeated.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from convtree._catalogue import tables as catalogue
from convtree._catalogue.append_statement import CAN_APPEND
from convtree._catalogue.tables import Dialect, Execute
from convtree._engine.log import Durability
from convtree._logs import sql_engine, sqlite_connections
from convtree._logs.postgres_url import read_url
from convtree._logs.sql_distribution import CITUS_IS_THERE, check_citus, distribute
from convtree._logs.sql_errors import RolledBack, TablesMissing, TablesOutdated, tables_missing
from convtree._logs.sql_migration import add_functions, migrate, restore_functions
from convtree._logs.sql_transaction import Connections, Scope, Transaction
from convtree._logs.sqlite_wal import truncate_wal
from convtree._model.errors import ConvtreeError, OutcomeUnknown, SessionLocked
from convtree._model.resources import ForkAware, Uncopyable, watch_database, watch_forks

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")

TRIES = 5  # how often a transaction is run that the server rolls back
_SELECT_VERSION = "SELECT MAX(version) FROM ct_schema"
#: Citus runs two statements on the worker of the session; the function would be run by the coordinator
_SELECT_VERSION_AND_FORM = f"SELECT MAX(version), NOT {CITUS_IS_THERE} AND {CAN_APPEND} FROM ct_schema"


class SqlDatabase(Uncopyable, ForkAware):
    """A database with convtree's tables. Made by `SqlDatabase.connect`. Any thread may use it.

    Errors of the driver are raised as OSError, without the values of the statement. `location` is the URL without
    secrets.
    """

    def __init__(self, connections: Connections) -> None:
        self.dialect: Dialect = connections.dialect
        self.location = connections.location
        self._connections = connections
        self.unerased: tuple[str, ...] = ()  # as `truncate_wal` returned it last
        self._checked = False  # set when the version of the tables was found to be usable
        self.appends_at_once = False  # whether an append is one statement; set with `_checked`
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
            ImportError: psycopg is not installed, which PostgreSQL needs.
            ValueError: `where` is not the URL of a database that convtree can use.
            FileNotFoundError: there is no file, and `create` is False.
        """
        if isinstance(where, str) and where.startswith("sqlite:"):
            return cls(sqlite_connections.connections_of(where, durability, lock_timeout_s, create=create))
        return cls(_server_at(where) if isinstance(where, str) else sql_engine.connections_of(where))

    def __repr__(self) -> str:
        return f"SqlDatabase({self.location!r})"

    # --- transactions ---

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Calls `work` in a transaction that reads, with a function that runs statements; returns what it returns."""
        return self._call(self.reading(), work)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Calls `work` in a transaction that writes; returns what it returns. Raises as `writing`."""
        return self._call(self.writing(), work)

    def _call(self, scope: Scope, work: Callable[[Transaction], T]) -> T:
        try:
            with scope as execute:
                return work(execute)
        except BaseException:
            scope.abandon()  # an interrupt may have come where the block has ended, and its end was not called
            raise

    def reading(self) -> Scope:
        """Opens a transaction that reads; gives a function that runs statements. `read` survives interrupts, too."""
        return self._connections.scope("BEGIN")

    def writing(self) -> Scope:
        """Opens a transaction that writes: committed at the end of the block, rolled back if that raises.

        `write` and `transact` give the lock back at an interrupt, too.

        Raises:
            RolledBack: the server rolled it back, or the connection was lost; nothing was written.
            OutcomeUnknown: the connection was lost during the commit; everything was written, or nothing.
            SessionLocked: another writer kept its lock too long; nothing was written.
        """
        return self._connections.scope("BEGIN IMMEDIATE")

    def transact(self, work: Callable[[Transaction], T], landed: Callable[[Transaction], T | None] | None = None) -> T:
        """Calls `work` in a transaction that writes; again, after a pause, if the server rolls it back.

        If the connection is lost during the commit, asks `landed` in the next transaction. It takes the locks of
        `work`, so the lost transaction has ended by then, and returns the result of `work` if that took effect. Without
        it, `work` is called again: it must do nothing the second time.

        Raises:
            OutcomeUnknown: the server did not answer after the connection was lost during the commit.
            SessionLocked: it was rolled back every time; nothing was written.
        """
        unknown: OutcomeUnknown | None = None

        def attempt(execute: Transaction) -> T:
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

        Adds the function of appends if it is missing: a restore of the tables alone leaves it out. Several processes
        may do so at once. A migration is one transaction.

        Raises:
            ConvtreeError: they exist, and were created by a newer version of convtree.
        """
        try:
            self.check_tables()
        except (TablesMissing, TablesOutdated):
            self.transact(self._create_or_migrate)
            self.check_tables()
        if self.dialect == "postgresql" and not self.appends_at_once and self.transact(restore_functions):
            self.appends_at_once = True

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
        is_server = self.dialect == "postgresql"
        [(version, *at_once)] = self.read(
            lambda execute: execute(_SELECT_VERSION_AND_FORM if is_server else _SELECT_VERSION)
        )
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
        self.appends_at_once = at_once == [True]
        self._checked = True

    def _create_or_migrate(self, execute: Execute) -> None:
        execute(catalogue.VERSIONS)
        [(version,)] = execute(_SELECT_VERSION)
        if version is not None:
            migrate(execute, self.dialect, self.location)
            return
        for statement in catalogue.SCHEMA[self.dialect]:
            execute(statement)
        add_functions(execute, self.dialect)
        added = "INSERT INTO ct_schema (version) VALUES (:version) ON CONFLICT DO NOTHING"
        execute(added, {"version": catalogue.VERSION})

    # --- the end ---

    @property
    def file_name(self) -> str:
        """The name of the file of SQLite."""
        return os.path.basename(self._connections.file or ":memory:")

    def truncate_wal(self) -> None:
        """Empties the WAL of SQLite, and notes in `unerased` what waits for readers.

        Raises:
            OSError: the database cannot be written to.
        """
        self.unerased = ("", "-wal")
        self.unerased = self._call(self._connections.scope(None), truncate_wal)

    def close(self) -> None:
        """Closes the connections, unless the engine belongs to the caller; twice is the same as once."""
        connections = self._connections
        if connections.is_inherited:
            return
        if self.unerased:
            with suppress(OSError, ConvtreeError):
                self.truncate_wal()
        connections.close()

    def held_database(self) -> str | None:
        """Returns the path of the file of SQLite, until this is closed."""
        return None if self._connections.is_closed else self._connections.file

    def _after_fork(self) -> None:
        """Drops the connections in a forked child without closing them: they belong to the parent."""
        self._connections.is_inherited = True
        self._connections.after_fork()


def _server_at(url: str) -> Connections:
    read_url(url)  # first: another kind of database needs no driver of this one
    try:
        import psycopg  # noqa: F401  # for a clear error
    except ImportError:
        raise ImportError("PostgreSQL needs psycopg: pip install 'convtree[postgres]'") from None
    from convtree._logs.postgres_connections import ServerConnections

    return ServerConnections(url)


def back_off(number: int) -> None:
    """Waits before try `number + 1`: four times as long each time, with jitter."""
    time.sleep(random.uniform(0.5, 1) * 0.01 * 4**number)
