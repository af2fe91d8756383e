"""What a catalogue asks of a log that it reads: whether it is the one it knows, sound, and not being written to."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from time import sleep

from convtree._model.entries import Finding
from convtree._session.session import Session

_WRITE_S = 0.002  # how long an append that is being written may look like a torn tail


def await_append(session: Session) -> bool:
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


def has_record(session: Session, number: int, id: str | None) -> bool:
    """Returns whether the record with this number has this id."""
    return next((record.id for _, record in islice(session.records(number), 1)), None) == id
