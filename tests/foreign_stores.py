"""What the tests of the importers share: sources made by hand, and what comes out of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from convtree import CompactionEntry, Entry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, Session
from convtree._formats.common.base import Format, Source, SourceSession
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Finding, Header, Record

_BEGINNING = 2**20


class Found(NamedTuple):
    """A session that was read, and the codes of what is wrong with its source."""

    session: Session
    codes: list[str]


def source_of(path: Path) -> Source:
    """A file as the frame hands it to a format, or a folder."""
    return Source(path, b"" if path.is_dir() else path.read_bytes()[:_BEGINNING])


def read(form: Format, path: Path) -> list[Found]:
    """Every session of a source that the format recognises, read into memory."""
    source = source_of(path)
    assert form.recognises(source)
    with source:
        return [extended(each) for each in all_sessions(form, source)]


def all_sessions(form: Format, source: Source) -> Iterator[SourceSession]:
    """The sessions of an open source, one after the other."""
    return (form.read(source, ref) for ref in form.sessions(source))


def all_records(form: Format, source: Source) -> list[tuple[Header, list[Record], list[Finding]]]:
    """What the sessions of a source are made of."""
    with source:
        return [(each.header, list(each.records), each.findings) for each in all_sessions(form, source)]


def read_one(form: Format, path: Path) -> Found:
    """The only session of a source."""
    (found,) = read(form, path)
    return found


def read_again(form: Format, path: Path, session: Session) -> int:
    """Takes in the only session of a source once more; returns how many records were new."""
    written = 0
    with source_of(path) as source:
        for each in all_sessions(form, source):
            assert each.header.id == session.id
            written += session.extend(each.records)
    return written


def extended(read: SourceSession) -> Found:
    """A session in memory. Importing it a second time adds nothing."""
    session = Session(MemoryLog(), read.header)
    records = list(read.records)
    session.extend(records)
    assert session.extend(records) == 0
    return Found(session, [finding.code for finding in read.findings])


def shown(session: Session, leaf: str | None = None) -> list[str]:
    """The role and content of every message of a context."""
    context = session.build_context() if leaf is None else session.build_context(leaf=leaf)
    return [f"{message['role']}: {plain(message['content'])}" for message in context.messages]


def plain(content: Any) -> str:
    """Content in a line: text as it is, every other block by its type."""
    if isinstance(content, str):
        return content
    return " ".join(block["text"] if block["type"] == "text" else f"<{block['type']}>" for block in content)


def entries_of(session: Session) -> list[Entry]:
    """Every entry, parents first, siblings in order."""
    found: list[Entry] = []
    stack = list(reversed(session.children(None)))
    while stack:
        entry = stack.pop()
        found.append(entry)
        stack.extend(reversed(session.children(entry.id)))
    return found


def tree_of(session: Session) -> dict[str, str | None]:
    """The parent of every entry."""
    return {entry.id: entry.parent_id for entry in entries_of(session)}


def said_by(entry: Entry) -> str:
    """What an entry says, in a word."""
    match entry:
        case MessageEntry():
            return f"{entry.role}: {plain(entry.message['content'])}"
        case CompactionEntry():
            return f"compaction: {entry.summary}"
        case ModelChangeEntry():
            return f"model: {entry.model}"
        case ExtensionDataEntry():
            return entry.ext_type
    return entry.type


def write_json(path: Path, value: Any) -> Path:
    """A file of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_lines(path: Path, values: Iterable[Any]) -> Path:
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(value).encode() + b"\n" for value in values))
    return path


def write_database(path: Path, schema: str, **tables: list[dict[str, Any]]) -> Path:
    """A database with a schema and rows by table; rows may be added to one that is there."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(schema)
        for table, rows in tables.items():
            for row in rows:
                names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
                database.execute(f'insert into "{table}" ({names}) values ({marks})', tuple(row.values()))
    return path
