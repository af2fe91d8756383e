"""Sessions as files of other tools, and as documents."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import tzinfo
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import orjson

from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.redact import Redact, Redactor, redact_value
from convtree._formats import ALL_BRANCHES, ALL_LEAVES, PUBLISHED, WRITERS, ZONED
from convtree._formats.common.base import Exported, Findings
from convtree._formats.common.export import line
from convtree._formats.common.gaps import Gap, count_missing
from convtree._formats.common.ids import derive_id
from convtree._logs.atomic_file import write_atomically
from convtree._logs.directories import path_of
from convtree._model.arguments import checked
from convtree._model.entries import Entry, Finding
from convtree._session.session import Session
from convtree._tools.gaps import MendedSession, check_whole, missing_lines
from convtree._tools.redact_log import RedactedSession

_ENDINGS = {"json": ".json", "markdown": ".md", "html": ".html"}  # of files in a folder
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")  # of one file


@checked
def export_file(
    session: Session,
    path: str | os.PathLike[str],
    format: str,
    *,
    replace: bool = False,
    redact: Redact | bool | None = None,
    all_leaves: bool = False,
    leaf: str | Entry | AtLeaf = LEAF,
    allow_gaps: bool = False,
    zone: tzinfo | None = None,
) -> tuple[Finding, ...]:
    """Writes a session to a file in another format, durably and all at once.

    A device, a pipe or a descriptor such as `/dev/stdout` is written into, and never replaced.

    The tool that opens the file shows its model the same context, except for what `redact` removes. The findings that
    are returned name what the format has no place for, and with `allow_gaps` what is missing.

    Args:
        session: The session to write.
        path: The file to create, or the folder to create it in, under the name by which the tool finds it.
        format: "pi", "kit", "json", "markdown", "html", "claude-code", "codex", "openai-jsonl", "picoclaw", "atif" or
            "hf-traces".
        replace: Overwrite the file if it exists.
        redact: Removes secrets from the texts, see `export_lines`.
        all_leaves: Writes a file for each leaf into the folder `path`. Only "atif" can say what two files share.
        leaf: The entry to use as the leaf, see `export_lines`.
        allow_gaps: Writes a damaged session, see `export_lines`.
        zone: The time zone of the times in "markdown", see `export_lines`.

    Raises:
        ValueError: `format` is not one of these, or `all_leaves` does not fit it, the path or `leaf`.
        BrokenPath, UnknownEntry, EntryNotFound: As `export_lines`.
        SessionExists: The file exists, and `replace` is not set.
    """
    found: list[Finding] = []
    place = path_of("path", path)
    if all_leaves and leaf is not LEAF:
        raise ValueError("leaf: all_leaves writes every leaf; leave out one of them")
    if all_leaves:
        for name, line in export_leaves(session, place, format, redact=redact, findings=found, allow_gaps=allow_gaps):
            write_atomically(place / plain_name(name), [line], replace=replace)
        return tuple(found)
    options: dict[str, Any] = {"redact": redact, "findings": found, "allow_gaps": allow_gaps, "zone": zone}
    lines = export_lines(session, format, leaf=leaf, **options)
    write_atomically(place_of(session, place, format, redact=redact), lines, replace=replace)
    return tuple(found)


def export_leaves(
    session: Session,
    folder: Path,
    format: str,
    *,
    redact: Redact | bool | None = None,
    findings: list[Finding] | None = None,
    allow_gaps: bool = False,
) -> Iterator[tuple[str, bytes]]:
    """Yields the content of a file for each leaf, after its name.

    Args:
        session: The session to write.
        folder: Where the files are to be written.
        format: The format, which must be able to say what two files share.
        redact: As in `export_lines`.
        findings: As in `export_lines`.
        allow_gaps: As in `export_lines`.

    Raises:
        ValueError: `format` has no such files, or there is no such folder.
    """
    write_leaves = getattr(_writer_of(format), "write_leaves", None)
    if write_leaves is None:
        raise ValueError(f"all_leaves: the format {format!r} has no file for each leaf; choose 'atif'")
    if not folder.is_dir():
        raise ValueError(f"all_leaves: {folder} is no folder; create it first")
    written: Iterator[tuple[str, bytes]] = write_leaves(
        *_arguments(
            readable(session, format, findings, all_leaves=True, allow_gaps=allow_gaps),
            _redact_of(format, redact),
            findings,
        )
    )
    return written


def place_of(session: Session, path: Path, format: str, *, redact: Redact | bool | None = None) -> Path:
    """Returns the file to write: in a folder, one with the name under which the tool looks for the session.

    A file that is made to be published gets another name if the id of the session is a secret, and every file if the id
    is no name of one file in the folder: that of a log may be any text.
    """
    if not path.is_dir():
        return path
    if (named := getattr(_writer_of(format), "file_name", None)) is not None:
        return path / plain_name(str(named(session)))
    redact = _redact_of(format, redact) if format in PUBLISHED else None
    is_secret = redact is not None and redact(session.id) != session.id
    return path / plain_name(f"{derive_id(session.id) if is_secret else session.id}{_ENDINGS.get(format, '.jsonl')}")


def plain_name(name: str) -> str:
    """Returns the name of a file: this one, unless it could be that of a file elsewhere or of none."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{derive_id(stem)}{dot}{ending}"


@checked
def export_lines(
    session: Session,
    format: str,
    *,
    redact: Redact | bool | None = None,
    findings: list[Finding] | None = None,
    leaf: str | Entry | AtLeaf = LEAF,
    allow_gaps: bool = False,
    zone: tzinfo | None = None,
) -> Iterator[bytes]:
    """Yields a session in another format, piece by piece.

    Args:
        session: The session to write.
        format: The name of the format.
        redact: A function (`convtree.redact`, for example) that gets every text of a message, summary or extension, and
            names, labels, directories and the owner; what it returns is written instead. Ids and types are not
            redacted. True stands for `Redactor()`. "hf-traces", which is made to be published, is redacted unless it is
            False, with its ids.
        findings: Gets what the format has no place for; it is complete when the iterator is exhausted.
        leaf: The entry that is exported as the leaf, if not the session's own: a format that holds one branch holds the
            one to it, and others are exported as if the leaf had been moved there. Nothing is moved.
        allow_gaps: Writes a damaged session as far as it can be read. Where a damaged line still says which entry it
            was, the conversation goes on above it. Markdown names each gap in its place, a page shows it, and in a tree
            a lost entry stands there. `findings` counts what is missing.
        zone: The time zone of the times in "markdown", which names it. None leaves them as they are stored, in UTC.

    Raises:
        ValueError: There is no such format, or it holds the contexts of all leaves, and `leaf` was given.
        EntryNotFound: There is no such entry.
        BrokenPath: Something is missing from what would be written: from any branch if `format` holds them all, else
            from the path to the leaf. Not with `allow_gaps`.
        UnknownEntry: `format` is a tool's, and the context depends on a critical record of an unknown type.
    """
    used = _redact_of(format, redact)
    if leaf is not LEAF and format in ALL_LEAVES:
        raise ValueError(f"leaf: the format {format!r} holds the contexts of all leaves")
    writer = _writer_of(format)
    seen = readable(session, format, findings, leaf=leaf, allow_gaps=allow_gaps)
    if leaf is not LEAF:
        seen = cast(Exported, _SeenFrom(seen, session.entry(leaf).id))
    zoned = {"zone": zone} if format in ZONED else {}
    written: Iterator[bytes] = writer.write(*_arguments(seen, used, findings), **zoned)
    return written if used is None or format not in PUBLISHED else _redacted_again(written, used)


class _SeenFrom:
    """A session with another entry as its leaf, for writers."""

    def __init__(self, session: Exported, leaf_id: str) -> None:
        self._session = session
        self.leaf_id = leaf_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def _redacted_again(lines: Iterator[bytes], redact: Redact) -> Iterator[bytes]:
    """Redacts what is published as it is read there: ids, too, and arguments that were escaped in the session."""
    for each in lines:
        yield line(redact_value(orjson.loads(each), redact))


def _writer_of(format: str) -> ModuleType:
    if format not in WRITERS:
        raise ValueError(f"unknown export format {format!r}; choose one of {', '.join(WRITERS)}")
    return import_module(WRITERS[format])


def readable(
    session: Session,
    format: str,
    findings: list[Finding] | None = None,
    *,
    leaf: str | Entry | AtLeaf = LEAF,
    all_leaves: bool = False,
    allow_gaps: bool = False,
) -> Exported:
    """Returns what a writer reads: the session, or with `allow_gaps` one without links that lead nowhere.

    Adds to `findings` what is missing from what the format holds: all branches, or the path to the leaf.

    Raises:
        BrokenPath: something is missing on a branch, and the format holds all. Where it holds a path, reading that
            raises the error.
    """
    is_tree = all_leaves or format in ALL_BRANCHES
    if not allow_gaps:
        if is_tree:
            check_whole(session)
        return session
    mended = MendedSession(session)
    gaps = mended.gaps
    if not is_tree:
        end = mended.leaf_id if leaf is LEAF else session.entry(cast(str, leaf)).id
        gaps = gaps.among({entry.id for entry in mended.path(end) if isinstance(entry, Gap)})
    missing = count_missing(gaps)
    if findings is not None and (missing or (is_tree and missing_lines(session) is not None)):
        reported = Findings()
        reported.lose(missing, code="export_gaps")
        findings += reported.listed
    return mended


def _arguments(session: Exported, redact: Redact | None, findings: list[Finding] | None) -> tuple[Exported, Findings]:
    """Returns what a writer gets: the session, redacted if that is wanted, and where it reports."""
    reported = Findings()
    if findings is not None:
        reported.listed = findings
    return session if redact is None else RedactedSession(session, redact), reported


def _redact_of(format: str, redact: Redact | bool | None) -> Redact | None:
    """Returns what removes secrets; None if they stay."""
    if redact is True or (redact is None and format in PUBLISHED):
        return Redactor()
    return redact if callable(redact) else None
