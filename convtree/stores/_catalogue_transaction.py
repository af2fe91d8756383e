"""A transaction on the tables of a catalogue, as a block. It says which errors are about the tables.

Not a generator: that would roll back later transactions when it is collected. After an interrupt, it may never end;
then its owner rolls back and closes the connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from convtree._catalogue.executing import executing
from convtree._catalogue.tables import Execute
from convtree._model.errors import ConvtreeError
from convtree.stores._catalogue_file import NEXT_GENERATION

#: what reading or decoding a damaged column raises
_OF_THE_TABLES = (sqlite3.Error, ValueError, TypeError, OverflowError, LookupError, msgspec.MsgspecError)


class CatalogueTransaction:
    """Committed at the end of its block, rolled back if that raises. Called with a statement, it runs that.

    Args:
        connect: returns the connection.
        failed: called, after a rollback, with an error that may be about the tables.
        written: called after a commit with the generation of the tables. None: the transaction only reads.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        failed: Callable[[Exception], None],
        written: Callable[[int], None] | None = None,
    ) -> None:
        self._connect = connect
        self._failed = failed
        self._written = written
        self._refused: list[Exception] = []  # a value of the caller was none for SQLite
        self._connection: sqlite3.Connection
        self._execute: Execute  # on it

    def __enter__(self) -> CatalogueTransaction:
        self._connection = self._connect()
        self._execute = executing(self._connection)
        try:
            self._connection.execute("BEGIN" if self._written is None else "BEGIN IMMEDIATE")
        except BaseException as error:
            self._roll_back(error)
            raise  # pragma: no cover  # an interrupt
        return self

    def __call__(self, sql: str, values: Any = ()) -> list[Any]:
        """Runs a statement and returns its rows; with a list of values, runs it for each of them."""
        try:
            return self._execute(sql, values)
        except (ValueError, TypeError, OverflowError) as error:
            if not isinstance(error, UnicodeDecodeError):  # pragma: no branch  # that means damage
                self._refused.append(error)
            raise

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._roll_back(error)
            return
        generation = 0
        try:
            if self._written is not None:
                ((generation,),) = self(NEXT_GENERATION)
            self._connection.execute("COMMIT")
        except BaseException as failure:
            self._roll_back(failure)
            raise  # pragma: no cover  # an interrupt
        if self._written is not None:
            self._written(generation)

    def _roll_back(self, error: BaseException) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if isinstance(error, _OF_THE_TABLES) and not isinstance(error, ConvtreeError) and error not in self._refused:
            self._failed(error)
