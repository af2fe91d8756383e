"""Sessions as files of other tools, and as documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from convtree._engine.redact import Redact
from convtree._formats import WRITERS
from convtree._formats.common.base import Findings
from convtree._logs.atomic_file import write_atomically
from convtree._logs.directories import path_of
from convtree._model.arguments import checked
from convtree._model.entries import Finding
from convtree._session.session import Session
from convtree._tools.redact_log import RedactedSession

_ENDINGS = {"json": ".json", "markdown": ".md"}  # of files in a folder


@checked
def export_file(
    session: Session,
    path: str | os.PathLike[str],
    format: str,
    *,
    replace: bool = False,
    redact: Redact | None = None,
) -> tuple[Finding, ...]:
    """Writes a session to a file in another format, durably and all at once.

    A device, a pipe or a descriptor such as `/dev/stdout` is written into, and never replaced.

    The tool that opens the file shows its model the same context, except for what `redact` removes. The findings that
    are returned name what the format has no place for.

    Args:
        session: The session to write.
        path: The file to create, or the folder to create it in, under the name by which the tool finds it.
        format: "pi", "kit", "json", "markdown", "claude-code", "codex", "openai-jsonl" or "picoclaw".
        replace: Overwrite the file if it exists.
        redact: Removes secrets from the texts, see `export_lines`.

    Raises:
        ValueError: `format` is not one of these.
        BrokenPath, UnknownEntry: As `export_lines`.
        SessionExists: The file exists, and `replace` is not set.
    """
    found: list[Finding] = []
    lines = export_lines(session, format, redact=redact, findings=found)
    write_atomically(place_of(session, path_of("path", path), format), lines, replace=replace)
    return tuple(found)


def place_of(session: Session, path: Path, format: str) -> Path:
    """Returns the file to write: in a folder, one with the name under which the tool looks for the session."""
    if not path.is_dir():
        return path
    named = getattr(import_module(WRITERS[format]), "file_name", None)
    return path / (named(session) if named else f"{session.id}{_ENDINGS.get(format, '.jsonl')}")


@checked
def export_lines(
    session: Session, format: str, *, redact: Redact | None = None, findings: list[Finding] | None = None
) -> Iterator[bytes]:
    """Yields a session in another format, piece by piece.

    `redact` (`convtree.redact`, for example) gets every text of a message, summary or extension, and names, labels,
    directories and the owner; what it returns is written instead. Ids and types are not redacted. `findings` gets what
    the format has no place for; it is complete when the iterator is exhausted.

    Raises:
        ValueError: There is no such format.
        BrokenPath: `format` is a tool's, and a visibility mark is damaged: the tool would show what it hid.
        UnknownEntry: `format` is a tool's, and the context depends on a critical record of an unknown type.
    """
    if format not in WRITERS:
        raise ValueError(f"unknown export format {format!r}; choose one of {', '.join(WRITERS)}")
    reported = Findings()
    if findings is not None:
        reported.listed = findings
    written: Iterator[bytes] = import_module(WRITERS[format]).write(
        session if redact is None else RedactedSession(session, redact), reported
    )
    return written
