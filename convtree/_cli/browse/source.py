"""Where a session comes from: a log, a store, or another tool's file. The only place that opens one, also to write.

A session is read through one that was opened for reading. To label or fork, it is opened for that moment only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from convtree._cli.gap_advice import explained
from convtree._cli.opening import open_for_reading
from convtree._engine.redact import Redactor
from convtree._model.errors import ConvtreeError
from convtree._session.session import Session
from convtree.exchange import export_file
from convtree.stores._session_store import SessionStore

ENDINGS = {".md": "markdown", ".markdown": "markdown", ".json": "json", ".html": "html", ".htm": "html"}


class NotPossible(ConvtreeError):
    """What was asked for is not possible here; the message says what is."""


class Source(Protocol):
    """A session that can be opened. Its calls may take long."""

    @property
    def allows_gaps(self) -> bool:
        """Whether a damaged session is shown and exported as far as it can be read."""
        ...

    @property
    def asks_for_path(self) -> bool:
        """Whether a fork needs the path of a new file."""
        ...

    def open(self) -> Session:
        """Opens the session for reading."""
        ...

    def label(self, session: Session, entry_id: str, text: str | None) -> None:
        """Sets the label of an entry, or clears it with None. `session` is the one that `open` returned."""
        ...

    def fork(self, session: Session, entry_id: str, path: str) -> Source:
        """Copies the path to an entry into a new session, and returns where that is. `session` is as for `label`."""
        ...


class LogFile(NamedTuple):
    """A log, or a file or folder of another tool."""

    path: Path
    session_id: str | None = None
    allows_gaps: bool = False

    @property
    def asks_for_path(self) -> bool:
        """True: a fork of a log is a new file."""
        return True

    def open(self) -> Session:
        """Opens the session for reading."""
        return open_for_reading(self.path, self.session_id)

    def label(self, session: Session, entry_id: str, text: str | None) -> None:
        """Sets the label of an entry, or clears it with None.

        Raises:
            NotPossible: The session is another tool's.
        """
        if session.location == "memory":  # it was read from the files of another tool
            raise NotPossible(f"{self.path} belongs to another tool and is only read; `convtree import` makes a log")
        with Session.open(self.path, mode="r+") as writing:
            writing.label(entry_id, text)

    def fork(self, session: Session, entry_id: str, path: str) -> Source:
        """Copies the path to an entry into a new file."""
        with session.fork(Path(path).expanduser(), entry_id) as forked:
            return LogFile(Path(forked.location))


class Stored(NamedTuple):
    """A session of a store."""

    store: SessionStore
    id: str
    allows_gaps: bool = False

    @property
    def asks_for_path(self) -> bool:
        """False: the store chooses the place of a fork."""
        return False

    def open(self) -> Session:
        """Opens the session for reading."""
        return self.store.open(self.id, read_only=True)

    def label(self, session: Session, entry_id: str, text: str | None) -> None:  # noqa: ARG002  # it is only read
        """Sets the label of an entry, or clears it with None."""
        with self.store.open(self.id) as writing:
            writing.label(entry_id, text)

    def fork(self, session: Session, entry_id: str, path: str) -> Source:  # noqa: ARG002  # the store knows the session
        """Copies the path to an entry into a new session of the store."""
        with self.store.fork(self.id, entry_id) as forked:
            return Stored(self.store, forked.id)


def export(session: Session, path: str, redactor: Redactor | None, *, allow_gaps: bool) -> Path:
    """Writes a session to a new file in the format that its ending names; returns the file.

    Args:
        session: the session.
        path: the file.
        redactor: replaces secrets; None keeps them.
        allow_gaps: whether a damaged session is written as far as it can be read.

    Raises:
        NotPossible: The ending names no format.
        SessionExists: There is such a file.
    """
    target = Path(path).expanduser()
    format = ENDINGS.get(target.suffix.lower())
    if format is None:
        raise NotPossible(f"{target.name}: no format has this ending; use .html, .md or .json")
    with explained(session):
        export_file(session, target, format, redact=False if redactor is None else redactor, allow_gaps=allow_gaps)
    return target
