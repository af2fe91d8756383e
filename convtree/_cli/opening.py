"""Opening what a path leads to, for reading: a log, or a session of another tool."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from convtree._cli.last_list import listed_id
from convtree._model.errors import NotALog, SessionNotFound, SeveralSessions
from convtree._model.references import is_prefix, the_only
from convtree._session.session import Session
from convtree._tools.known_sources import DamagedSource
from convtree.exchange import ImportReport, list_foreign, read_foreign


def open_for_reading(log: Path, session_id: str | None = None) -> Session:
    """Opens a log, or another tool's session, for reading.

    Raises:
        click.UsageError: the source holds several sessions and none was chosen.
    """
    try:
        return open_source(log, session_id)[0]
    except SeveralSessions as error:
        raise several(error) from None


def several(error: SeveralSessions) -> click.UsageError:
    """Returns the error of a command for a source that holds several sessions, none of which was chosen."""
    return click.UsageError(f"{error} (choose one with --session ID; `convtree inspect` lists them)")


def open_source(log: Path, session_id: str | None) -> tuple[Session, ImportReport | None]:
    """Returns the session, and for another tool's file the report of reading it.

    `session_id` is the id of one of several sessions, the beginning of it, or the number of a row in the list of them.
    """
    if log.is_dir():
        try:
            return _read_chosen(log, session_id)
        except DamagedSource:
            raise
        except NotALog as error:
            raise SessionNotFound(str(error)) from None
    try:
        session = Session.open(log, mode="r")
    except NotALog:
        try:
            return _read_chosen(log, session_id)
        except DamagedSource:
            raise
        except NotALog:
            raise NotALog(f"{log}: neither a convtree log nor a session of a known format") from None
    if session_id is None or session.id == session_id or (is_prefix(session_id) and session.id.startswith(session_id)):
        return session, None
    session.close()
    raise SessionNotFound(f"{log}: no session {session_id!r} here; this log holds {session.id!r}")


def _read_chosen(source: Path, session_id: str | None) -> tuple[Session, ImportReport]:
    try:
        return read_foreign(source, session_id=session_id)
    except SessionNotFound:
        if session_id is None:
            raise
        if (listed := listed_id(str(source), session_id)) is not None:
            return _read_row(source, int(session_id) - 1, listed)
        if not is_prefix(session_id):
            raise
        found = [each.id for each in list_foreign(source) if each.id.startswith(session_id)]
        if not found:
            raise
    return read_foreign(source, session_id=the_only(session_id, found, f"{source}: sessions"))


def _read_row(source: Path, number: int, id: str) -> tuple[Session, ImportReport]:
    """Reads the session in a row of the list. Two files may hold sessions with one id: the row says which is meant."""
    row = next(islice(list_foreign(source), number, None), None)
    return read_foreign(source if row is None or row.id != id else Path(row.source), session_id=id)
