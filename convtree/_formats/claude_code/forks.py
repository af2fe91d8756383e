"""Which session a transcript of Claude Code was forked from, and which of its lines are copies.

A copied line says so in one of two ways, by version: `forkedFrom` names the session and the line that it is a copy of;
`requestSessionId` names the session whose request an answer is from, and only copies have it. The user's lines before
such an answer were copied, too.

In some versions, copies have no mark. Then the file of a fork begins with the same lines as another file of its folder,
an answer among them. The one that was begun earlier is the original: a fork may begin with a line about its own prompt,
which is later than the lines that it has copied. If both were begun at the same time, it is the one with fewer lines,
as a fork has those and its own. This is seen only where the folder is read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.claude_code.lines import digest_of, is_node
from convtree._formats.common.base import Findings, Source
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import Origin
from convtree._formats.common.jsonl import LINE_LIMIT, is_record, read_objects
from convtree._formats.common.values import as_object, key, text, utc
from convtree._model.errors import NotALog

_MARKS = (b'"forkedFrom"', b'"requestSessionId"')
_LOOK = 200  # lines in which the first line in the tree is


class _Begun(NamedTuple):
    """How a transcript begins: the id of its first line in the tree, the session of that, the first time in it."""

    path: Path
    first: str
    session: str
    time: str


class _Line(NamedTuple):
    """A line in the tree; a copy is equal to it."""

    id: str
    time: str | None
    said: int
    is_answer: bool


def origin_of(source: Source, session_id: str) -> Origin:
    """Returns what the last copied line says, else what the files around it show; empty if it is no fork."""
    origin = Origin()
    with SourceFile(source.path) as file:
        while line := file.readline(LINE_LIMIT):
            if not any(mark in line for mark in _MARKS):
                continue  # nearly every line
            for fields, _ in read_objects(io.BytesIO(line), Findings(), is_record):
                if (parent := _parent(fields)) is not None and parent != session_id:
                    origin = Origin(parent, key(fields.get("uuid")))
    return _copied(source) if origin.parent is None and source.folder is not None else origin


def _copied(source: Source) -> Origin:
    """Returns the session that shares most lines with a file, of those begun before it in its folder."""
    families = source.see(source.path.parent, _families)
    best, copied = Origin(), 0
    for own, other in families.get(source.path, ()):
        lines, theirs = source.see(own.path, _lines), source.see(other.path, _lines)
        is_before = (other.time, len(theirs), other.session) < (own.time, len(lines), own.session)
        if is_before and not source.see(other.path, _is_marked):
            known = frozenset(theirs)
            shared = list(takewhile(known.__contains__, lines))
            if len(shared) > copied and any(line.is_answer for line in shared):
                best, copied = Origin(other.session, shared[-1].id), len(shared)
    return best


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a file around the source; those up to a fault, which is reported where it is imported."""
    with suppress(NotALog, OSError, ImportError), SourceFile(path) as file:
        yield from (fields for fields, _ in read_objects(file, Findings(), is_record))


def _families(folder: Path) -> dict[Path, list[tuple[_Begun, _Begun]]]:
    """Returns each transcript of a folder with every other session's that begins with the same line."""
    found: dict[str, list[_Begun]] = {}
    for path in sorted(folder.glob("*.jsonl*")):
        if path.is_file() and not path.is_symlink() and (begun := _begun(path)) is not None:
            found.setdefault(begun.first, []).append(begun)
    return {
        own.path: [(own, other) for other in family if other.session != own.session]
        for family in found.values()
        for own in family
    }


def _begun(path: Path) -> _Begun | None:
    time: str | None = None
    for fields in islice(_objects(path), _LOOK):
        time = time or utc(fields.get("timestamp"))
        if is_node(fields) and (session := key(fields.get("sessionId"))) is not None:
            return _Begun(path, fields["uuid"], session, time or "")
    return None


def _lines(path: Path) -> list[_Line]:
    """Returns the lines in the tree, in the order of the file."""
    return [
        _Line(fields["uuid"], text(fields.get("timestamp")), digest_of(fields), fields["type"] == "assistant")
        for fields in _objects(path)
        if is_node(fields)
    ]


def _is_marked(path: Path) -> bool:
    own = _begun(path)
    named = (parent for fields in _objects(path) if (parent := _parent(fields)) is not None)
    return own is not None and any(parent != own.session for parent in named)


def _parent(fields: dict[str, Any]) -> str | None:
    return key(as_object(fields.get("forkedFrom")).get("sessionId")) or key(fields.get("requestSessionId"))
