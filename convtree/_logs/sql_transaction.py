"""A transaction of a database, whichever driver runs it: a block with a beginning, an end, and a commit.

`sqlite_connections` makes them with the standard library, `postgres_connections` with psycopg, `sql_engine` with
SQLAlchemy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from convtree._catalogue.tables import Dialect
from convtree._logs.sql_errors import is_certain, text_of
from convtree._model.errors import OutcomeUnknown, SessionClosed

Values: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_NONE: Values = ()
Begin: TypeAlias = Literal["BEGIN", "BEGIN IMMEDIATE"] | None
"""The statement that begins a transaction in SQLite; None: every statement for itself."""


class Transaction(ABC):
    """Runs statements, as `Execute` says.

    Attributes:
        is_committed: set by `commit`.
    """

    def __init__(self, location: str) -> None:
        self.is_committed = False
        self._location = location

    @abstractmethod
    def __call__(self, sql: str, values: Values = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        ...

    def all(self, *statements: tuple[str, Values]) -> list[list[Any]]:
        """Runs statements one after the other, and returns the rows of each. A server gets them at once."""
        return [self(sql, values) for sql, values in statements]

    def commit(self, sql: str = "", values: Values = _NONE) -> list[Any]:
        """Runs a last statement, if there is one, and commits. A server gets both at once. Returns the rows.

        Raises:
            OutcomeUnknown: the outcome cannot be known.
        """
        rows = self(sql, values) if sql and not self._commits_at_once else []
        try:
            if self._commits_at_once:
                rows = self._run_and_commit(sql, values)
            else:
                self._commit()
        except Exception as error:
            cause = self._driver_error(error)
            if cause is None or self._is_certain(cause):
                raise
            raise OutcomeUnknown(
                f"{self._location}: the connection was lost during the commit, so it is unknown whether this call took "
                f"effect; make it again with the same ids, or look ({text_of(cause)})"
            ) from cause
        self.is_committed = True
        return rows

    _commits_at_once = False  # whether `_run_and_commit` is there

    def _run_and_commit(self, sql: str, values: Values) -> list[Any]:
        raise NotImplementedError

    @abstractmethod
    def _commit(self) -> None: ...

    def _is_certain(self, cause: BaseException) -> bool:
        """Returns whether an error of the driver in a commit says that nothing was written."""
        return is_certain(cause)

    @abstractmethod
    def _driver_error(self, error: Exception) -> BaseException | None:
        """Returns what the driver has raised; None if an error is not its own."""
        ...


class Scope(ABC):
    """A transaction as a block: committed at its end if it writes, rolled back if the block raises."""

    def __init__(self, connections: Connections, begin: Begin) -> None:
        self._connections = connections
        self._begin: Begin = begin
        self._transaction: Transaction | None = None

    def __enter__(self) -> Transaction:
        self._connections.refuse_inherited()
        try:
            transaction = self._transaction = self._start()
            return transaction
        except BaseException as error:
            self._end(error)
            raise  # an interrupt; for most errors of a driver, `_end` has raised another one

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None and self._begin == "BEGIN IMMEDIATE":
                self._connections.refuse_inherited()  # forked meanwhile
                assert self._transaction is not None
                if not self._transaction.is_committed:
                    self._transaction.commit()
        except BaseException as failure:
            self._end(failure)
            raise
        self._end(error)

    @abstractmethod
    def abandon(self) -> None:
        """Ends it after an interrupt: rolled back, and its connection closed. Does nothing if it has ended."""
        ...

    @abstractmethod
    def _start(self) -> Transaction:
        """Takes a connection, and begins."""
        ...

    @abstractmethod
    def _end(self, error: BaseException | None) -> None:
        """Gives the connection back, and raises what an error of the driver means."""
        ...


class Connections(ABC):
    """The connections to one database. Any thread may take one.

    Attributes:
        dialect: of the SQL.
        location: the URL, without secrets.
        file: the absolute path of the file of SQLite; None for a server, and for a database in memory.
        is_closed: set by `close`: from then on, a connection is closed after each transaction.
        is_inherited: set in a forked child: the connections belong to the parent.
    """

    def __init__(self, dialect: Dialect, location: str, file: str | None) -> None:
        self.dialect: Dialect = dialect
        self.location = location
        self.file = file
        self.is_closed = False
        self.is_inherited = False

    def refuse_inherited(self) -> None:
        """Raises SessionClosed in a forked child."""
        if self.is_inherited:
            raise SessionClosed(f"{self.location}: this database belongs to the parent process; connect to it again")

    @abstractmethod
    def scope(self, begin: Begin) -> Scope:
        """Returns a transaction that has not begun."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Closes them, unless they are the caller's. Those in use are closed after their transaction."""
        ...

    @abstractmethod
    def after_fork(self) -> None:
        """Drops them in a forked child without closing them: they belong to the parent."""
        ...
