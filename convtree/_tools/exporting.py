"""Sessions as files of other tools, and as documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module

from convtree._engine.redact import Redact
from convtree._formats import WRITERS
from convtree._logs.atomic_file import write_atomically
from convtree._logs.directories import path_of
from convtree._model.arguments import checked
from convtree._session.session import Session
from convtree._tools.redact_log import RedactedSession


@checked
def export_file(
    session: Session,
    path: str | os.PathLike[str],
    format: str,
    *,
    replace: bool = False,
    redact: Redact | None = None,
) -> None:
    """Writes a session to a file in another format, durably and all at once.

    A device, a pipe or a descriptor such as `/dev/stdout` is written into, and never replaced.

    The tool that opens the file shows its model the same context, except for what `redact` removes.

    Args:
        session: The session to write.
        path: The file to create.
        format: "pi", "kit", "json" or "markdown".
        replace: Overwrite the file if it exists.
        redact: Removes secrets from the texts, see `export_lines`.

    Raises:
        ValueError: `format` is not one of these.
        BrokenPath, UnknownEntry: As `export_lines`.
        SessionExists: The file exists, and `replace` is not set.
    """
    write_atomically(path_of("path", path), export_lines(session, format, redact=redact), replace=replace)


@checked
def export_lines(session: Session, format: str, *, redact: Redact | None = None) -> Iterator[bytes]:
    """Yields a session in another format, piece by piece.

    `redact` (`convtree.redact`, for example) gets every text of a message, summary or extension, and names, labels,
    directories and the owner; what it returns is written instead. Ids and types are not redacted.

    Raises:
        ValueError: `format` is not one of "pi", "kit", "json" and "markdown".
        BrokenPath: `format` is "pi" or "kit", and a visibility mark is damaged: the tool would show what it hid.
        UnknownEntry: `format` is "pi" or "kit", and the context depends on a critical record of an unknown type.
    """
    if format not in WRITERS:
        raise ValueError(f"unknown export format {format!r}; choose one of {', '.join(WRITERS)}")
    written: Iterator[bytes] = import_module(WRITERS[format]).write(
        session if redact is None else RedactedSession(session, redact)
    )
    return written
