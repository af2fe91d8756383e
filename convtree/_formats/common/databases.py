"""Databases of several sessions: a reading for each row of a table, and for the messages whose session has no row.

What is wrong inside of a session is told with it, all else in a reading of its own behind the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, Source, SourceSession
from convtree._formats.common.headers import leftovers
from convtree._formats.common.ids import Names
from convtree._formats.common.sqlite import Database, Row, opened
from convtree._model.entries import Header, Record


class Found(NamedTuple):
    """A session of a database: the id it has there, and its row; of one that is missing, a row that names it."""

    source_id: Any
    row: Row
    is_missing: bool = False


class Belonging(NamedTuple):
    """A table whose rows belong to the rows of another, and which column says to which."""

    table: str
    column: str
    other: str
    own: str = "id"


def read_database(
    source: Source,
    name: str,
    sessions: Callable[[Database], Iterator[Found]],
    make: Callable[[str, Found, Database], tuple[Header, Iterator[Record]]],
    *belongings: Belonging,
) -> Iterator[SourceSession]:
    """Reads the sessions of a database one after the other; what belongs to nothing is reported in the end.

    `make` gets the id that a session goes by, and a database whose findings are the session's.
    """
    outside, names = Findings(), Names(name)
    with opened(source, outside) as database:
        for ordinal, found in enumerate(sessions(database), 1):
            findings = database.findings = Findings()
            id = names.claim(found.source_id, 0 if found.is_missing else ordinal, found.row.place, findings)
            if found.is_missing:
                findings.add("source_no_session", found.row.place)
            header, records = make(id, found, database)
            yield SourceSession(header, records, findings.listed)
            database.findings = outside
        for belonging in belongings:
            database.report_strays(*belonging)
    yield from leftovers(name, outside)


def sessions_of(database: Database, table: str, columns: str, messages: str) -> Iterator[Found]:
    """Yields the sessions that a table has rows of, and then those that only the `session_id` of messages names."""
    for row in database.rows(table, columns):
        yield Found(row.values.get("id"), row)
    strays = f"session_id not in (select id from {table} where id is not null) or session_id is null"
    for row in database.rows(messages, "session_id", where=f"({strays}) group by session_id"):
        yield Found(row.values.get("session_id"), Row({"id": row.values.get("session_id")}, row.place), is_missing=True)
