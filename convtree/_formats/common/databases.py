"""Databases of several sessions: one session for each row of a table, and one for messages whose session has no row.

All sessions are read over one connection, which the source keeps open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.headers import leftovers, read_leftover
from convtree._formats.common.ids import Names, make_ref
from convtree._formats.common.sqlite import Database, Row, open_shared
from convtree._model.entries import Header, Record


class Found(NamedTuple):
    """A session of a database: its id there and its row. `is_missing`: only its messages exist, `row` has its id."""

    source_id: Any
    row: Row
    is_missing: bool = False


class Belonging(NamedTuple):
    """A foreign key: rows of `table` belong to the row of `other` whose `own` column equals their `column`."""

    table: str
    column: str
    other: str
    own: str = "id"


def list_database(
    source: Source,
    name: str,
    sessions: Callable[[Database], Iterator[Found]],
    *belongings: Belonging,
    reads: Mapping[str, str] | None = None,
) -> Iterator[SessionRef]:
    """Lists the sessions of a database.

    Rows without their parent row are reported in the leftover, and the names of tables and columns with something that
    `reads` does not name: its columns for each table, "*" for all.
    """
    outside, names = Findings(), Names(name)
    database = source.share(open_shared).reporting_to(outside)
    for ordinal, found in enumerate(sessions(database), 1):
        findings = Findings()
        id = names.claim(found.source_id, 0 if found.is_missing else ordinal, found.row.span, findings)
        if found.is_missing:
            findings.add("source_no_session", found.row.span)
        yield make_ref(name, id, findings, found)
    for belonging in belongings:
        database.report_strays(*belonging)
    if reads is not None:
        database.report_unread(reads)
    yield from leftovers(name, outside)


def read_row(
    source: Source,
    ref: SessionRef,
    name: str,
    make: Callable[[str, Found, Database], tuple[Header, Iterator[Record]]],
) -> SourceSession:
    """Reads a session that `list_database` has listed.

    `make` gets the session's id in the source, and a database that reports to the session's findings.
    """
    if ref.is_leftover:
        return read_leftover(name, ref)
    database = source.share(open_shared)
    findings = Findings((*ref.findings, *database.findings.listed))  # of opening it
    header, records = make(ref.source_id, ref.content, database.reporting_to(findings))
    return SourceSession(header, records, findings.listed)


def find_sessions(database: Database, table: str, columns: str, messages: str, own: str = "id") -> Iterator[Found]:
    """Yields the sessions in a table, whose ids are in the column `own`, then those that only messages name."""
    for row in database.rows(table, columns):
        yield Found(row.values.get(own), row)
    strays = f'session_id not in (select {own} from "{table}" where {own} is not null) or session_id is null'
    for row in database.rows(messages, "session_id", where=f"({strays}) group by session_id"):
        yield Found(row.values.get("session_id"), Row({own: row.values.get("session_id")}, row.span), is_missing=True)
