"""Reads opencode's messages and their parts from the tables of a database, the files of a folder or an export.

The three hold the same in different places: what a database has in columns of a row, the others have in the object.
Here it is brought into one form, that of the export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.files import read_beginning
from convtree._formats.common.jsonl import LINE_LIMIT
from convtree._formats.common.parsing import parse
from convtree._formats.common.sqlite import Database, parse_cell
from convtree._formats.common.values import as_object, key, objects, without

START = SourceSpan(1, 0, 0)  # where nothing was read yet
#: columns of a session that hold a member of an object, or one under another name
_MEMBERS = {
    "project_id": "projectID",
    "workspace_id": "workspaceID",
    "parent_id": "parentID",
    "share_url": "share url",
    "summary_additions": "summary additions",
    "summary_deletions": "summary deletions",
    "summary_files": "summary files",
    "summary_diffs": "summary diffs",
    "tokens_input": "tokens input",
    "tokens_output": "tokens output",
    "tokens_reasoning": "tokens reasoning",
    "tokens_cache_read": "tokens cache read",
    "tokens_cache_write": "tokens cache write",
    "time_created": "time created",
    "time_updated": "time updated",
    "time_compacting": "time compacting",
    "time_archived": "time archived",
}
_IN_JSON = ("summary_diffs", "metadata", "revert", "permission", "model")


class Message(NamedTuple):
    """A message as all stores have it: its id, its data without ids, and its parts, each with its id."""

    source_id: str | None
    span: SourceSpan
    data: dict[str, Any]
    parts: list[dict[str, Any]]


def storage_folder(path: Path) -> Path:
    """Returns the folder of files that a folder is, or that lies in it."""
    return path if (path / "message").is_dir() else path / "storage"


def _data(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in ("id", "sessionID")}


def _part(fields: Mapping[str, Any], id: Any) -> dict[str, Any]:
    """Returns a part with its id first; one that could not be read stays empty."""
    left = {name: value for name, value in fields.items() if name not in ("id", "sessionID", "messageID")}
    return without({"id": id}) | left if left else {}


# --- the database ---


def session_of_row(values: Mapping[str, Any], span: SourceSpan, database: Database) -> dict[str, Any]:
    """Returns the row of a session as the export has it."""
    plain: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        *above, last = _MEMBERS.get(name, name).split()
        inside = nested if above else plain
        for each in above:
            inside = inside.setdefault(each, {})
        inside[last] = parse_cell(value, span, database.findings) if name in _IN_JSON else value
    return plain | nested


def messages_of_database(session_id: Any, database: Database, only: str | None = None) -> Iterator[Message]:
    """Yields the messages that a database has of a session, or one of them."""
    order = "time_created, id" if "time_created" in database.columns("message") else "id"
    where = "session_id is ?" if only is None else "session_id is ? and id is ?"
    wanted = (session_id,) if only is None else (session_id, only)
    for values, span in database.rows("message", "id data", where=where, order=order, values=wanted):
        rows = database.rows("part", "id data", where="message_id is ?", order="id", values=(values.get("id"),))
        size = span.length
        parts = []
        for part, at in rows:
            parts.append(_part(_data_of(parse_cell(part.get("data"), at, database.findings)), part.get("id")))
            size += at.length
        data = _data(_data_of(parse_cell(values.get("data"), span, database.findings)))
        yield Message(key(values.get("id")), span._replace(length=size), data, parts)
    if only is not None or not database.columns("session_message") or _has_messages(session_id, database):
        return
    found = database.rows("session_message", "id type data", where="session_id is ?", order=order, values=(session_id,))
    for values, span in found:
        database.findings.add("source_unsupported", span)
        data = _data_of(parse_cell(values.get("data"), span, database.findings))
        yield Message(key(values.get("id")), span, {"type": values.get("type"), "unknown": data}, [])


def copied_from(session_id: Any, begun: Any, database: Database) -> tuple[str, str] | None:
    """Returns the session that this one was forked from, and the last message that was copied; None if it was not.

    opencode keeps the times of what it copies, so these messages are older than their session.
    """
    if not isinstance(begun, int) or "time_created" not in database.columns("message"):
        return None
    older = "session_id is ? and time_created < ?"
    newest = "time_created desc, id desc limit 1"
    columns = "id time_created"
    for values, _ in database.rows("message", columns, where=older, order=newest, values=(session_id, begun)):
        last, time = key(values.get("id")), values.get("time_created")
        others = "time_created is ? and session_id is not ?"
        for other, _ in database.rows(
            "message", "session_id", where=others, order="rowid limit 1", values=(time, session_id)
        ):
            parent = key(other.get("session_id"))
            return None if parent is None or last is None else (parent, last)
    return None


def _has_messages(session_id: Any, database: Database) -> bool:
    found = database.rows("message", "id", where="session_id is ?", order="1", values=(session_id,))
    return next(found, None) is not None


def _data_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {} if value is None else {"value": value}


# --- the export ---


def messages_of_export(items: Iterable[Any], span: SourceSpan, findings: Findings) -> Iterator[Message]:
    """Yields the messages of an export."""
    for item in items:
        fields = as_object(item)
        info = as_object(fields.get("info"))
        if not info:
            findings.add("source_bad_record", span)
            info = {"value": item}
        parts = [_part(part, part.get("id")) for part in objects(fields.get("parts"))]
        yield Message(key(info.get("id")), span, _data(info), parts)


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
            parts.append(_part(files.load(each), each.stem))
            size += files.span.length
        yield Message(path.stem, files.span._replace(length=size), _data(data), parts)


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
