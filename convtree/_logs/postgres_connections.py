"""Connections of psycopg to a PostgreSQL server, each used by one thread at a time.

Nothing is prepared, and nothing depends on a connection between transactions: a pooler may stand before the server. A
connection commits each statement by itself. `BEGIN` goes with the first statement of a scope that writes, and `COMMIT`
with the last. So a single statement is one request. Reads have no transaction: at READ COMMITTED, it would promise
nothing.

As in `sqlite_connections`, a connection belongs to the scope that took it, taking and putting back are one step each,
and an interrupted scope closes its connection.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.rows import tuple_row

from convtree._logs.postgres_url import read_url
from convtree._logs.sql_errors import ends_session, is_certain, translated
from convtree._logs.sql_transaction import Begin, Connections, Scope, Transaction, Values
from convtree._model.interrupts import is_interrupt

T = TypeVar("T")

_KEPT = 5  # idle connections; further ones are closed after their transaction
_MOST = 25  # in use at once
_PATIENCE_S = 30.0  # how long a scope waits until fewer are in use
_MANY_ROWS = 1000  # a cursor keeps the rows that it was asked for last; one with more of them is dropped
_PARAMETER = re.compile(r"%|(?<![:\w\\]):(\w+)(?!:)")
_BAD, _IDLE, _HAS_ROWS = ConnStatus.BAD, TransactionStatus.IDLE, ExecStatus.TUPLES_OK
_inherited: list[Any] = []  # connections of a parent process: a child that closes one ends the session of the parent


class Link:
    """A connection, and what is used on it."""

    __slots__ = ("_client", "_connection", "_cursor", "_look", "pgconn")

    def __init__(self, parameters: Mapping[str, str]) -> None:
        given: dict[str, Any] = {**parameters, "autocommit": True, "prepare_threshold": None}
        self._connection = psycopg.connect(**given)
        self.pgconn = self._connection.pgconn
        self._cursor = self._new_cursor()
        self._client = psycopg.ClientCursor(self._connection)  # puts values into the text
        ready = select.poll()
        ready.register(self.pgconn.socket, select.POLLIN)
        self._look = ready.poll

    def _new_cursor(self) -> psycopg.Cursor[Any]:
        """Returns a cursor that takes `$1`: psycopg would translate each statement of many values anew."""
        return psycopg.RawCursor(self._connection, row_factory=tuple_row)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is lost, as far as the driver can say."""
        return self.pgconn.status == _BAD

    def is_alive(self) -> bool:
        """Returns whether it seems to be there still. Asks the operating system only: a server that ends says so."""
        for _ in range(3):  # its last words, and that it has hung up
            if not self._look(0):
                break
            try:
                self.pgconn.consume_input()
            except psycopg.Error:
                return False
        return self.pgconn.status != _BAD

    def run(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """Runs a statement and returns its rows."""
        cursor = self._cursor
        if values:
            text, names = _numbered(sql)
            cursor.execute(text, [values[name] for name in names], binary=True)
        else:
            cursor.execute(sql.encode(), binary=True)
        result = cursor.pgresult
        if result is None or result.status != _HAS_ROWS:
            return []
        if result.ntuples > _MANY_ROWS:
            self._cursor = self._new_cursor()
        return cursor.fetchall()

    def run_many(self, sql: str, values: Sequence[Mapping[str, Any]]) -> None:
        """Runs a statement for each of these values."""
        text, names = _numbered(sql)
        self._cursor.executemany(text, [[each[name] for name in names] for each in values])

    def run_all(self, statements: Sequence[tuple[str, Any]]) -> list[list[Any]]:
        """Runs statements one after the other in one request, and returns the rows of each."""
        texts = [self._client.mogrify(_translated(sql), values) if values else sql for sql, values in statements]
        cursor = self._client
        cursor.execute("; ".join(texts).encode(self._connection.info.encoding))
        found = []
        for _ in statements:
            result = cursor.pgresult
            found.append(cursor.fetchall() if result is not None and result.status == _HAS_ROWS else [])
            cursor.nextset()
        return found

    def roll_back(self) -> bool:
        """Rolls back what is not committed; returns whether the connection can be used again."""
        if not self.is_lost:
            with suppress(psycopg.Error):
                self.run("ROLLBACK")
        return self.pgconn.transaction_status == _IDLE

    def close(self) -> None:
        """Closes it. The server rolls back what is not committed."""
        with suppress(Exception):
            self._connection.close()


@lru_cache(maxsize=512)
def _numbered(sql: str) -> tuple[bytes, list[str]]:
    """Translates `:name` parameters into numbered ones, and returns the name of each."""
    numbers: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        return f"${numbers.setdefault(found[1], len(numbers) + 1)}" if found[1] else "%"

    return _PARAMETER.sub(numbered, sql).encode(), list(numbers)


@lru_cache(maxsize=512)
def _translated(sql: str) -> bytes:
    """Translates `:name` parameters into the syntax of the driver."""
    return _PARAMETER.sub(lambda found: f"%({found[1]})s" if found[1] else "%%", sql).encode()


class ServerConnections(Connections):
    """The connections to a server. They are opened when they are needed. Raises as `read_url`."""

    def __init__(self, url: str) -> None:
        self._parameters, location = read_url(url)
        super().__init__("postgresql", location, None)
        self._idle: list[Link] = []
        self.used: set[Scope] = set()  # the scopes that have a connection, or are about to take one

    def scope(self, begin: Begin) -> Scope:
        """Returns a transaction that has not begun."""
        return _Scope(self, begin)

    def take(self, scope: Scope) -> Link:
        """Returns an idle connection, or opens another one.

        Raises:
            OSError: too many are in use.
        """
        if len(self.used) >= _MOST:
            self._wait()
        self.used.add(scope)
        try:
            while not (link := self._idle.pop()).is_alive():
                link.close()
        except IndexError:
            link = Link(self._parameters)
        return link

    def _wait(self) -> None:
        until, pause_s = time.monotonic() + _PATIENCE_S, 0.001
        while len(self.used) >= _MOST:
            if time.monotonic() > until:
                raise OSError(f"{self.location}: {_MOST} connections are in use; nothing was written")
            time.sleep(pause_s)
            pause_s = min(0.02, pause_s * 2)

    def give_back(self, link: Link) -> None:
        """Takes a connection back whose transaction has ended."""
        if len(self._idle) < _KEPT:
            self._idle.append(link)
        else:
            link.close()
        if self.is_closed:  # also while it was put there
            self.close_idle()

    def close(self) -> None:
        """Closes them. Those in use are closed after their transaction."""
        self.is_closed = True
        self.close_idle()

    def after_fork(self) -> None:
        """Drops the connections in a forked child without closing them: they belong to the parent."""
        _inherited.append(self._idle)
        self._idle, self.used = [], set()

    def close_idle(self) -> None:
        """Closes those that are not in use."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


class _Scope(Scope):
    """A transaction on a connection that it has for itself."""

    _connections: ServerConnections

    def __init__(self, connections: ServerConnections, begin: Begin) -> None:
        super().__init__(connections, begin)
        self.link: Link | None = None  # until it is given back, or closed

    def _start(self) -> Transaction:
        self.link = self._connections.take(self)
        return _Transaction(self, self._connections, writes=self._begin == "BEGIN IMMEDIATE")

    def connect_again(self) -> Link:
        """Returns another connection in place of one that is lost. Others that are idle may be lost, too."""
        self.abandon()
        self._connections.close_idle()
        link = self.link = self._connections.take(self)
        return link

    def _end(self, error: BaseException | None) -> None:
        link, connections = self.link, self._connections
        if connections.is_inherited or (error is not None and is_interrupt(error)):
            self.abandon()
            return
        is_lost = link is not None and link.is_lost
        if link is not None and (link.pgconn.transaction_status == _IDLE or link.roll_back()):
            self.link = None  # first: from then on, another thread may have it
            connections.used.discard(self)
            connections.give_back(link)
        else:
            self.abandon()
        if isinstance(error, psycopg.Error):
            raise translated(error, connections.location, None, is_lost=is_lost) from error

    def abandon(self) -> None:
        """Ends it after an interrupt: rolled back, and its connection closed. Does nothing if it has ended."""
        link, connections = self.link, self._connections
        if link is not None:
            if connections.is_inherited:
                _inherited.append(link)
            else:
                link.close()
            self.link = None
        connections.used.discard(self)


class _Transaction(Transaction):
    """Runs statements on a connection. If the first finds the connection dead, it is repeated on a new one."""

    _commits_at_once = True

    def __init__(self, scope: _Scope, connections: ServerConnections, *, writes: bool) -> None:
        super().__init__(connections.location)
        self._scope = scope
        self._connections = connections
        self._must_begin = writes
        self._is_used = False
        self._has_last = False  # whether the commit came with a statement

    def __call__(self, sql: str, values: Values = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        if values and not isinstance(values, Mapping):
            if self._must_begin:
                self._sent(lambda link: link.run("BEGIN"))
                self._must_begin = False
            self._sent(lambda link: link.run_many(sql, values))
            return []
        if self._must_begin:
            return self.all((sql, values))[0]
        return self._sent(lambda link: link.run(sql, values))  # type: ignore[arg-type]

    def all(self, *statements: tuple[str, Values]) -> list[list[Any]]:
        """Runs statements one after the other, in one request."""
        begin = [("BEGIN", ())] if self._must_begin else []
        found = self._sent(lambda link: link.run_all([*begin, *statements]))
        self._must_begin = False
        return found[len(begin) :]

    def _sent(self, run: Callable[[Link], T]) -> T:
        """Calls `run` with the connection; with another one if it is dead and was not used yet."""
        link = self._link()
        try:
            found = run(link)
        except psycopg.Error:
            if self._is_used or not link.is_lost:
                raise
            found = run(self._scope.connect_again())
        self._is_used = True
        return found

    def _link(self) -> Link:
        self._connections.refuse_inherited()
        link = self._scope.link
        assert link is not None
        return link

    def _run_and_commit(self, sql: str, values: Values) -> list[Any]:
        link = self._link()
        self._has_last = sql != ""
        if self._must_begin:  # a single statement commits by itself
            return link.run(sql, values) if sql else []  # type: ignore[arg-type]
        if not sql:
            return link.run("COMMIT")
        return link.run_all([(sql, values), ("COMMIT", ())])[0]

    def _commit(self) -> None:
        raise NotImplementedError

    def _driver_error(self, error: Exception) -> BaseException | None:
        return error if isinstance(error, psycopg.Error) else None

    def _is_certain(self, cause: BaseException) -> bool:
        """Returns whether an error in a commit says that nothing was written, as if the last statement was refused."""
        link = self._scope.link
        is_there = link is not None and not link.is_lost and link.pgconn.transaction_status != TransactionStatus.ACTIVE
        return is_certain(cause) or (self._has_last and is_there and not ends_session(cause))
