"""Reads opencode's messages and their parts from the tables of a database or the files of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.files import read_beginning
from convtree._formats.common.jsonl import LINE_LIMIT
from convtree._formats.common.parsing import parse
from convtree._formats.common.sqlite import Database, parse_cell
from convtree._formats.common.values import as_object, key

START = SourceSpan(1, 0, 0)  # where nothing was read yet


class Message(NamedTuple):
    """A message as both stores have it: its id, its data and its parts."""

    source_id: str | None
    span: SourceSpan
    data: dict[str, Any]
    parts: list[dict[str, Any]]


def storage_folder(path: Path) -> Path:
    """Returns the folder of files that a folder is, or that lies in it."""
    return path if (path / "message").is_dir() else path / "storage"


# --- the database ---


def messages_of_database(session_id: Any, database: Database) -> Iterator[Message]:
    """Yields the messages that a database has of a session."""
    order = "time_created, id" if "time_created" in database.columns("message") else "id"
    found = database.rows("message", "id data", where="session_id is ?", order=order, values=(session_id,))
    for values, span in found:
        rows = database.rows("part", "id data", where="message_id is ?", order="id", values=(values.get("id"),))
        size = span.length
        parts = []
        for part, at in rows:
            parts.append(_data_of(parse_cell(part.get("data"), at, database.findings)))
            size += at.length
        data = _data_of(parse_cell(values.get("data"), span, database.findings))
        yield Message(key(values.get("id")), span._replace(length=size), data, parts)
    if not database.columns("session_message") or _has_messages(session_id, database):
        return
    found = database.rows("session_message", "id type data", where="session_id is ?", order=order, values=(session_id,))
    for values, span in found:
        database.findings.add("source_unsupported", span)
        data = _data_of(parse_cell(values.get("data"), span, database.findings))
        yield Message(key(values.get("id")), span, {"type": values.get("type"), "unknown": data}, [])


def _has_messages(session_id: Any, database: Database) -> bool:
    found = database.rows("message", "id", where="session_id is ?", order="1", values=(session_id,))
    return next(found, None) is not None


def _data_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {} if value is None else {"value": value}


# --- the folder ---


def messages_of_folder(root: Path, session_id: str, files: Files) -> Iterator[Message]:
    """Yields the messages that a folder has of a session, in the order of their times."""
    paths = sorted((root / "message" / session_id).glob("*.json"))
    for path in sorted(paths, key=lambda path: (files.created(path), path.stem)):
        data = files.load(path)
        size = files.span.length
        parts = []
        for each in sorted((root / "part" / path.stem).glob("*.json")) or sorted(
            (root / "part" / session_id / path.stem).glob("*.json")
        ):
            parts.append(files.load(each))
            size += files.span.length
        yield Message(path.stem, files.span._replace(length=size), data, parts)


class Files:
    """Loads small JSON files; the line of a place counts them, its offset their bytes."""

    def __init__(self, findings: Findings, span: SourceSpan = START) -> None:
        self._findings = findings
        self.span = span

    def load(self, path: Path) -> dict[str, Any]:
        """Returns the object in a file; an empty one, and a finding, if it cannot be read."""
        data = read_beginning(path, LINE_LIMIT)
        self.span = SourceSpan(self.span.line + 1, self.span.offset + self.span.length, len(data))
        if not data.strip():  # empty, or no file that can be read
            self._findings.add("source_bad_line", self.span)
        found = parse(data + b"\n", self.span, self._findings)
        return found[0] if found else {}

    def created(self, path: Path) -> float:
        """Returns the creation time in a message's file; 0 if there is none."""
        created = as_object(Files(Findings()).load(path).get("time")).get("created")
        return created if isinstance(created, int | float) else 0
