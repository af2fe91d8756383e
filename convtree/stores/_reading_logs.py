"""What a catalogue asks of a log that it reads: whether it is the one it knows, sound, and not being written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from time import sleep
from typing import NamedTuple

from convtree._engine.log import Log
from convtree._engine.plain_log import read_plain_log
from convtree._model.entries import Entry, Finding, Header, Mark
from convtree._session.header import new_header
from convtree._session.session import Session

_WRITE_S = 0.002  # how long an append that is being written may look like a torn tail


class LogContents(NamedTuple):
    """What a log has, while it is open.

    Attributes:
        header: its header.
        size: how many records it has, those that cannot be read included.
        records: yields the records from a number on that can be read, with their numbers.
        code_of: the code of what is wrong with it, given how many records could not be read; None if nothing is.
    """

    header: Header
    size: int
    records: Callable[[int], Iterable[tuple[int, Entry | Mark]]]
    code_of: Callable[[int], str | None]


@contextmanager
def reading(log: Log) -> Iterator[LogContents]:
    """Reads a log, and closes it at the end of the block. An append that is being written is given a moment."""
    try:
        plain = read_plain_log(log)
    except BaseException:
        log.close()
        raise
    if plain is not None:
        log.close()
        yield LogContents(plain.header, len(plain.records), plain.numbered, lambda _: None)
        return
    with open_reader(log) as session:
        unfinished = _await_append(session)
        yield LogContents(
            session.header,
            len(session._index.tree),
            session.records,
            lambda unread: _code_of(session, unread, unfinished=unfinished),
        )


def open_reader(log: Log) -> Session:
    """Opens a session for reading. Closes the log if that fails."""
    try:
        return Session(log, _no_header(), read_only=True)
    except BaseException:
        log.close()
        raise


@cache
def _no_header() -> Header:
    """Returns a header to open a session with. A log that exists has its own."""
    return new_header("none")


def _await_append(session: Session) -> bool:
    """Gives an append that is being written a moment, and reads it. Returns whether the torn tail changed meanwhile."""
    torn = _torn_offset(session)
    if torn is not None:
        sleep(_WRITE_S)
        session.refresh()
    return torn != _torn_offset(session)


def _torn_offset(session: Session) -> int | None:
    return next((finding.offset for finding in session.findings if finding.code == "torn_tail"), None)


def first_serious_code(findings: Iterable[Finding], but: str | None = None) -> str | None:
    """Returns the code of the first finding that is more than a remark, except `but`."""
    serious = (finding.code for finding in findings if finding.severity != "info")
    return next((code for code in serious if code != but), None)


def _code_of(session: Session, unread: int, *, unfinished: bool) -> str | None:
    """Returns the code of what is wrong with a log, of which some records could not be read."""
    code = first_serious_code(session.findings, but="torn_tail" if unfinished else None)
    # A snapshot of the index hides such damage until a line is read.
    return "bad_seal" if code is None and unread else code


def has_record(found: LogContents, number: int, id: str | None) -> bool:
    """Returns whether the record with this number has this id."""
    return next((record.id for _, record in islice(found.records(number), 1)), None) == id
