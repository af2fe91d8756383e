"""Runs the statements of a catalogue on a connection of SQLite, which somebody else has opened. Pure but for that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from convtree._catalogue.tables import ADD_LINES, ADVANCE_IN_STEPS, LINE_COLUMNS, Execute, Values
from convtree._model.batches import batched

if TYPE_CHECKING:
    import sqlite3

_ROWS = 250  # lines that are added by one statement
_values_of = itemgetter(*LINE_COLUMNS)


def executing(connection: sqlite3.Connection) -> Execute:
    """Returns the function that runs statements on a connection of SQLite."""

    def execute(sql: str, values: Any = ()) -> list[Any]:
        if not isinstance(values, list):
            if sql in ADVANCE_IN_STEPS:
                return _advance(connection, *ADVANCE_IN_STEPS[sql], values)
            return connection.execute(sql, values).fetchall()
        if sql == ADD_LINES:
            for rows in batched(line_values(values), _ROWS):
                connection.execute(_add_lines_at_once(len(rows)), list(chain.from_iterable(rows)))
        else:
            connection.executemany(sql, values)
        return []

    return execute


def _advance(connection: sqlite3.Connection, move_bound: str, update: str, select: str, values: Values) -> list[Any]:
    """Updates the row of a session, and returns what was selected of it; no row if there is none to update."""
    if values["ms"] is not None:  # something was said
        connection.execute(move_bound, values)
    if connection.execute(update, values).rowcount == 0 or not select:
        return []
    return connection.execute(select, values).fetchall()


def line_values(rows: Sequence[Values | tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Returns the values of lines in the order in which SQLite gets them. `executing` takes these in place of rows."""
    return [row if isinstance(row, tuple) else _values_of(row) for row in rows]


@cache
def _add_lines_at_once(count: int) -> str:
    """Returns the statement that adds several lines. Its trigger adds their words.

    SQLite has the full text index write to the disk before each statement that has a trigger, so there are few.
    """
    row = f"({', '.join('?' * len(LINE_COLUMNS))})"
    return f"INSERT INTO ct_lines ({', '.join(LINE_COLUMNS)}) VALUES {', '.join([row] * count)}"
