"""opencode's sessions: its databases, the folder of JSON files from before them, and exports. All are linear.

One session for each row of `session`, each file under `session/`, or each export (`opencode export`). The folder of the
tool holds databases and files: a session that is in both is read from the database. Messages are ordered by time and
id. Mapping:

- `message` with its `part`s: a message. `text` and `reasoning` are blocks; a `tool` is a call and, if it has ended, its
  result in a user's message of its own, after all calls of the same step. A `file` with its bytes is an image or a
  document, any other is kept unchanged. Texts that opencode puts into the user's mouth (`synthetic`, `subtask`) are a
  message for the model only.
- Parts that no model sees (`step-start`, `step-finish`, `snapshot`, `patch`, ignored texts, files whose text was read
  …) and every other field of a message and of its parts: kept in the message under `opencode`.
- An assistant's message without the time of its end: as it is, with an id of its content and no time. It may grow.
- A user's message with a `compaction` part: extension data `opencode.compaction`. The assistant's finished summary that
  follows: a compaction, which keeps the entries from `tail_start_id` on, or none without that field.
- `modelID`, `providerID`, `tokens` and `cost`: model, provider and usage of the assistant's messages and of summaries.
- `revert`: the leaf is the message before the reverted one, or a message with those of its parts that are left.
- `title`: the session's name. `parentID`: the parent session, with the kind `task`. `time.archived`: archived. Other
  fields of a session, its to-do list and the changes that a message's `summary` lists: metadata under `opencode`.
- A fork repeats messages with their times, so they are older than it: they are copies of the session that has them, if
  that is in the same database. An export or a folder does not say which.
- A result that opencode has dropped since (`time.compacted`): reported, because here it stays in the context.
- A `session_message`, if a session of the database has nothing else: extension data `opencode.session_message`. It is
  reported, because its kinds are unknown here.

The folder may be `storage` or its parent. Shape `opencode.message`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.databases import Belonging, Found, find_sessions, list_database, read_row
from convtree._formats.common.files import read_beginning
from convtree._formats.common.headers import list_array, make_header, read_leftover
from convtree._formats.common.ids import Ids, Names, make_ref
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.parsing import Object
from convtree._formats.common.sqlite import Database, has_tables
from convtree._formats.common.values import as_object, key, without
from convtree._formats.opencode.messages import NAME, SessionReader
from convtree._formats.opencode.stores import (
    START,
    Files,
    Message,
    copied_from,
    messages_of_database,
    messages_of_export,
    messages_of_folder,
    session_of_row,
    storage_folder,
)
from convtree._model.entries import Header, Record

__all__ = ["NAME", "belongs", "read", "recognises", "sessions"]

_READ = {
    "session": "*",
    "message": "id session_id time_created data",
    "part": "id message_id session_id data",
    "todo": "*",
    "session_message": "id session_id type time_created data",
}
_TABLES = {
    "session": frozenset({"id", "directory", "title"}),
    "message": frozenset({"id", "session_id", "data"}),
    "part": frozenset({"id", "message_id", "data"}),
}
_LOOK = 20  # messages in which a folder is recognised
_BEGINNING = 4096  # bytes that tell a database
_DATABASES = "opencode*.db"
#: what opencode has in its folder
_OWN = (f"{_DATABASES}*", "storage", "snapshot", "log", "bin", "repos", "tool-output", "worktree", "auth.json")


def recognises(source: Source) -> bool:
    """Recognises the database by its tables, the folder by one of its first messages, an export by its keys."""
    if source.beginning:
        return _is_export(source) or has_tables(source, _TABLES)
    found = islice(storage_folder(source.path).glob("message/*/*.json"), _LOOK)
    loaded = map(Files(Findings()).load, found)
    return any("role" in data and ("sessionID" in data or "time" in data) for data in loaded)


def belongs(source: Source, name: str) -> bool:
    """Returns whether a member of a recognised folder is read with it, or is nothing to read."""
    if storage_folder(source.path) == source.path:
        return True
    if fnmatch(name, _DATABASES):  # a damaged one is for somebody else to report
        return has_tables(_database(source.path / name), _TABLES)
    return any(fnmatch(name, pattern) for pattern in _OWN)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database, an export or a folder."""
    if not source.beginning:
        yield from _list_folder(source)
    elif _is_export(source):
        yield from list_array(source, NAME, _is_exported, ("id",), _messages, about="info")
    else:
        yield from list_database(source, NAME, _rows, Belonging("part", "message_id", "message"), reads=_READ)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    if isinstance(ref.content, _Stored):
        return read_row(ref.content.source, ref._replace(content=ref.content.content), NAME, _row)
    if ref.is_leftover:
        return read_leftover(NAME, ref)
    if not source.beginning:
        return _read_filed(storage_folder(source.path), ref)
    return _read_export(ref) if _is_export(source) else read_row(source, ref, NAME, _row)


# --- the database -------------------------------------------------------------------------------------------------


def _rows(database: Database) -> Iterator[Found]:
    return find_sessions(database, "session", "*", "message")


def _row(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    values, span = found.row
    own, fields = values.get("id"), dict[str, Any]()
    if not found.is_missing:
        fields = session_of_row(values, span, database)
        rows = database.rows("todo", "*", where="session_id is ?", values=(own,), order="position")
        if todo := [without(row, "session_id") for row, _ in rows]:
            fields["todo"] = todo
    header, records = _session(id, fields, span, messages_of_database(own, database), database.findings)
    if header.parent_session is None and (copied := copied_from(own, values.get("time_created"), database)):
        parent, last = copied
        header = _header(id, fields, parent=parent, copied_to=_last_entry(id, own, last, database))
    return header, records


def _last_entry(id: str, own: Any, message_id: str, database: Database) -> str | None:
    """Returns the id of the last entry that a message becomes."""
    ids, silent = Ids(NAME, id), database.reporting_to(Findings())
    maker = SessionReader(ids, Findings(), {})
    for message in messages_of_database(own, silent, message_id):
        node = maker.node(message)
        count = len(maker.make(node))
        return node.id if count == 1 else [ids.derive(node.id, at) for at in range(1, count)][-1]
    return None


# --- the export ---------------------------------------------------------------------------------------------------


def _is_export(source: Source) -> bool:
    """Returns whether a file is an export: the `info` of a session with its messages, each with its own `info`."""
    beginning = source.beginning
    if not any("info" in keys for keys in item_keys(beginning)):
        return False
    return has_key(beginning, "messages", r"\[") and any(
        has_key(beginning, name, '"') for name in ("sessionID", "projectID")
    )


def _messages(fields: dict[str, Any]) -> list[Any]:
    return [as_object(item).get("info") for item in fields["messages"]]


def _is_exported(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("info"), dict) and isinstance(fields.get("messages"), list)


def _read_export(ref: SessionRef) -> SourceSession:
    found: Object = ref.content
    findings, about = Findings(ref.findings), found.fields["info"]
    messages = messages_of_export(found.fields["messages"], found.span, findings)
    return SourceSession(*_session(ref.source_id, about, found.span, messages, findings), findings.listed)


# --- the folder ---------------------------------------------------------------------------------------------------


class _Filed(NamedTuple):
    """A session of a folder: its name there, its fields, and the place of the file that was read last."""

    name: str
    fields: dict[str, Any]
    span: SourceSpan


class _Stored(NamedTuple):
    """A session of a database in the folder: the database, and its reference there."""

    source: Source
    content: Any


def _database(path: Path) -> Source:
    return Source(path, read_beginning(path, _BEGINNING))


@contextmanager
def _databases(source: Source) -> Iterator[list[Source]]:
    """Opens the databases in the folder of the tool."""
    paths = () if storage_folder(source.path) == source.path else sorted(source.path.glob(_DATABASES))
    with ExitStack() as opened:
        found = [opened.enter_context(_database(path)) for path in paths]
        yield [each for each in found if has_tables(each, _TABLES)]


def _list_folder(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a folder: those of its databases, and what only the files have."""
    migrated = set[str]()
    for database in source.share(_databases):
        for ref in sessions(database):
            if ref.is_leftover or ref.source_id not in migrated:
                migrated.add(ref.source_id)
                yield ref._replace(content=_Stored(database, ref.content))
    for ref in _list_files(storage_folder(source.path)):
        if ref.source_id not in migrated:
            yield ref


def _list_files(root: Path) -> Iterator[SessionRef]:
    names, known = Names(NAME), set()
    for ordinal, path in enumerate(sorted(root.glob("session/*/*.json")), 1):
        findings = Findings()
        files = Files(findings)
        fields = files.load(path)
        todo = root / "todo" / path.name
        fields |= {"todo": files.load(todo)} if os.path.lexists(todo) else {}
        known.add(path.stem)
        id = names.claim(path.stem, ordinal, files.span, findings)
        yield make_ref(NAME, id, findings, _Filed(path.stem, fields, files.span))
    for folder in sorted(root.glob("message/*")):
        if folder.name not in known and folder.is_dir():
            findings, span = Findings(), START
            id = names.claim(folder.name, 0, span, findings)
            findings.add("source_no_session", span)
            yield make_ref(NAME, id, findings, _Filed(folder.name, {}, span))


def _read_filed(root: Path, ref: SessionRef) -> SourceSession:
    name, fields, span = ref.content
    findings = Findings(ref.findings)
    messages = messages_of_folder(root, name, Files(findings, span))
    return SourceSession(*_session(ref.source_id, fields, span, messages, findings), findings.listed)


# --- all ----------------------------------------------------------------------------------------------------------


def _session(
    id: str, fields: dict[str, Any], span: SourceSpan, messages: Iterator[Message], findings: Findings
) -> tuple[Header, Iterator[Record]]:
    return _header(id, fields), SessionReader(Ids(NAME, id), findings, fields).records(messages, span)


def _header(id: str, fields: dict[str, Any], parent: str | None = None, copied_to: str | None = None) -> Header:
    time, cwd, above = (
        as_object(fields.get("time")).get("created"),
        fields.get("directory"),
        key(fields.get("parentID")),
    )
    if above is not None or parent is None:
        return make_header(NAME, id, time=time, cwd=cwd, parent=above, parent_kind="task")
    return make_header(NAME, id, time=time, cwd=cwd, parent=parent, copied_to=copied_to)
