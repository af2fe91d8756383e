"""The tables of a catalogue and the statements that write them. SQL text only: no driver, no connection. Pure.

SQLite and PostgreSQL share the statements; only full text search differs. Every key starts with the session id, so the
tables can be sharded by it. Times come from the records. No counter or clock of the database is used.
`queries` reads the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from convtree._catalogue import activity
from convtree._catalogue.metadata import MetadataChange, metadata_rows
from convtree._catalogue.record_summary import (
    HIDDEN_FROM_USER,
    RecordSummary,
    Spent,
    copied_up_to,
    entry_key,
    ms_of,
    words_of,
)
from convtree._catalogue.texts import beginning, key_of_texts, stored
from convtree._catalogue.types import LogStamp
from convtree._model.entries import Header
from convtree._model.usage import Usage

T = TypeVar("T")

Dialect = Literal["sqlite", "postgresql"]
Values = Mapping[str, Any]
Execute = Callable[..., list[Any]]
"""(SQL, values or a list of values) -> rows. With a list, the statement runs once for each and returns no rows."""


VERSION = 8  # of these tables; `migrations` has the way from the versions before

VERSIONS = "CREATE TABLE IF NOT EXISTS ct_schema (version INTEGER NOT NULL PRIMARY KEY)"
_SESSIONS = """
CREATE TABLE IF NOT EXISTS ct_sessions (
  session_id TEXT NOT NULL PRIMARY KEY, owner TEXT, cwd TEXT, git_root TEXT, name TEXT, name_words TEXT NOT NULL,
  archived INTEGER NOT NULL, held INTEGER NOT NULL,
  kind TEXT NOT NULL, parent_id TEXT, parent_entry TEXT, copying_to TEXT, arrived_ms BIGINT, session_key TEXT,
  created_ms BIGINT, active_ms BIGINT NOT NULL, activity_bound BIGINT NOT NULL, size BIGINT NOT NULL,
  last_crc BIGINT NOT NULL, rewrites BIGINT NOT NULL, leaf_id TEXT,
  entries BIGINT NOT NULL, message_count BIGINT NOT NULL, first_user TEXT, last_user TEXT, header_id TEXT)
"""
_LINES = """
CREATE TABLE IF NOT EXISTS ct_lines (
  {row}session_id TEXT NOT NULL, position BIGINT NOT NULL, id TEXT, parent_id TEXT, type TEXT NOT NULL, role TEXT,
  time_ms BIGINT, said_ms BIGINT, visible_to TEXT NOT NULL, excerpt TEXT NOT NULL, words TEXT NOT NULL, line TEXT,
  {key} (session_id, position), UNIQUE (session_id, id))
"""
#: in this and the next tables, a `..._key` stands for texts of any length, see `texts`
USAGE = """
CREATE TABLE IF NOT EXISTS ct_usage (
  session_id TEXT NOT NULL, model_key TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  answers BIGINT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
  cache_read_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (session_id, model_key))
"""
#: usage of copied entries, one by one: `copies` says where it counts
COPIED = """
CREATE TABLE IF NOT EXISTS ct_copied (
  session_id TEXT NOT NULL, entry TEXT NOT NULL, model_key TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  answers BIGINT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
  cache_read_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (session_id, entry, model_key))
"""
#: what deleted sessions had copied from: forks of these find the next ancestor through them, and copies their copies
GONE = """
CREATE TABLE IF NOT EXISTS ct_gone (
  session_id TEXT NOT NULL, parent_key TEXT NOT NULL, parent_id TEXT NOT NULL, PRIMARY KEY (session_id, parent_key))
"""
#: what deleted sessions had used; `header` is the checksum of the header, which tells apart sessions that had one id
LEDGER = """
CREATE TABLE IF NOT EXISTS ct_ledger (
  session_id TEXT NOT NULL, header TEXT NOT NULL, sum_key TEXT NOT NULL, day TEXT NOT NULL, owner TEXT NOT NULL,
  provider TEXT NOT NULL, model TEXT NOT NULL,
  input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
  cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL, copied INTEGER NOT NULL,
  PRIMARY KEY (session_id, header, sum_key))
"""
#: the metadata of sessions, a row for each key; name and value are digests, see `metadata`
METADATA = """
CREATE TABLE IF NOT EXISTS ct_metadata (
  session_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (session_id, name))
"""
#: what finds sessions by their metadata and by their entries
FINDERS = (
    METADATA,
    "CREATE INDEX IF NOT EXISTS ct_metadata_by_value ON ct_metadata (name, value)",
    "CREATE INDEX IF NOT EXISTS ct_lines_by_id ON ct_lines (id)",
)
LINKS = (
    COPIED,
    "CREATE INDEX IF NOT EXISTS ct_copied_by_entry ON ct_copied (entry)",
    GONE,
    f"CREATE INDEX IF NOT EXISTS ct_gone_by_parent ON ct_gone ({beginning('parent_id')})",
    f"CREATE INDEX IF NOT EXISTS ct_sessions_by_header ON ct_sessions ({beginning('header_id')})",
)
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS ct_snapshots (
  session_id TEXT NOT NULL, generation BIGINT NOT NULL, part INTEGER NOT NULL, size BIGINT NOT NULL,
  data {bytes} NOT NULL, PRIMARY KEY (session_id, generation, part))
"""
# Not on active_ms, see `activity`. A list reads them from the end.
SESSION_INDEXES = tuple(
    f"CREATE INDEX IF NOT EXISTS ct_sessions_by_{name} ON ct_sessions ({columns})"
    for name, columns in {
        "activity": "activity_bound, session_id",
        "owner": f"{beginning('owner')}, activity_bound, session_id",
        "cwd": f"{beginning('cwd')}, activity_bound, session_id",
        "git_root": f"{beginning('git_root')}, activity_bound, session_id",
        "parent": beginning("parent_id"),
    }.items()
)
_COMMON = (
    VERSIONS,
    _SESSIONS,
    *SESSION_INDEXES,
    USAGE,
    *LINKS,
    LEDGER,
)
SCHEMA: dict[Dialect, tuple[str, ...]] = {
    "sqlite": (
        *_COMMON,
        _LINES.format(row="row INTEGER PRIMARY KEY, ", key="UNIQUE"),
        *FINDERS,
        _SNAPSHOTS.format(bytes="BLOB"),
        "CREATE VIRTUAL TABLE IF NOT EXISTS ct_words USING fts5(words, content='ct_lines', content_rowid='row', "
        # The words are split and normalised already. Every character that is not white space belongs to a word.
        "tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'\")",
        "CREATE TRIGGER IF NOT EXISTS ct_words_add AFTER INSERT ON ct_lines WHEN new.words <> '' BEGIN "
        "INSERT INTO ct_words (rowid, words) VALUES (new.row, new.words); END",
        "CREATE TRIGGER IF NOT EXISTS ct_words_remove AFTER DELETE ON ct_lines WHEN old.words <> '' BEGIN "
        "INSERT INTO ct_words (ct_words, rowid, words) VALUES ('delete', old.row, old.words); END",
    ),
    "postgresql": (
        *_COMMON,
        _LINES.format(row="", key="PRIMARY KEY"),
        *FINDERS,
        _SNAPSHOTS.format(bytes="BYTEA"),
        "CREATE INDEX IF NOT EXISTS ct_lines_words ON ct_lines USING gin (to_tsvector('simple', words)) "
        "WHERE words <> ''",
    ),
}


class Database(Protocol):
    """A connection to the tables."""

    def write(self, work: Callable[[Execute], T]) -> T:
        """Calls `work` in a transaction that writes, and returns what it returns. An exception rolls it back."""
        ...


ADD_SESSION = """
INSERT INTO ct_sessions (session_id, owner, cwd, git_root, name, name_words, archived, held, kind, parent_id,
  parent_entry, copying_to, arrived_ms, session_key, created_ms, active_ms, activity_bound, size, last_crc, rewrites,
  leaf_id, entries, message_count, first_user, last_user, header_id)
VALUES (:session_id, :owner, :cwd, :git_root, :name, :name_words, 0, 0, :kind, :parent_id, :parent_entry, :copying_to,
  :arrived_ms, :session_key, :created_ms, :active_ms, :active_ms, 0, 0, 0, NULL, 0, 0, NULL, NULL,
  :header_id)
"""
#: makes the row of a session as it was before its first line; its lines follow. It is the same row, because writers
#: that wait for its lock would not see another one.
_RESET_SESSION = """
UPDATE ct_sessions SET owner = :owner, cwd = :cwd, git_root = :git_root, name = :name, name_words = :name_words,
  archived = 0, held = 0, kind = :kind, parent_id = :parent_id, parent_entry = :parent_entry, copying_to = :copying_to,
  arrived_ms = :arrived_ms, session_key = :session_key, created_ms = :created_ms, active_ms = :active_ms,
  activity_bound = :active_ms, size = 0, last_crc = 0, rewrites = rewrites + 1, leaf_id = NULL, entries = 0,
  message_count = 0, first_user = NULL, last_user = NULL, header_id = :header_id
WHERE session_id = :session_id
"""
#: of a session's row, what its writers need; `copying_to` is the last copied entry until that is stored, then NULL,
#: `rewrites` says how often its lines were replaced, and `last_crc` is the CRC of its last line, 0 if unknown
ROW = "size, created_ms, copying_to, rewrites, last_crc"
# The latest time counts: a line that comes later may be older, for instance in an import or a fork.
_LATER = "CAST(:ms AS BIGINT) > active_ms OR created_ms IS NULL AND active_ms = 0 AND CAST(:ms AS BIGINT) IS NOT NULL"
#: locks the session's row without changing it
LOCK = f"UPDATE ct_sessions SET size = size WHERE session_id = :session_id RETURNING {ROW}"
#: locks the ledger, so that deletes take turns: each must know what the others leave
LOCK_LEDGER = "UPDATE ct_schema SET version = version RETURNING version"
#: locks the session's row and updates it for new lines, so that writers of a session take turns; returns the new size
UPDATE_ROW = f"""
UPDATE ct_sessions SET size = size + :grown, last_crc = :crc, entries = entries + :entries,
  message_count = message_count + :messages, active_ms = CASE WHEN {_LATER} THEN CAST(:ms AS BIGINT) ELSE active_ms END,
  activity_bound = {activity.BOUND},
  leaf_id = CASE WHEN :moved = 1 THEN CAST(:leaf_id AS TEXT) ELSE leaf_id END,
  name = CASE WHEN :renamed = 1 THEN CAST(:name AS TEXT) ELSE name END,
  name_words = CASE WHEN :renamed = 1 THEN CAST(:name_words AS TEXT) ELSE name_words END,
  archived = COALESCE(CAST(:archived AS INTEGER), archived),
  first_user = COALESCE(first_user, CAST(:first_user AS TEXT)),
  last_user = COALESCE(CAST(:last_user AS TEXT), last_user)
WHERE session_id = :session_id{{condition}}
"""
#: that the row and the last line are as the writer knows them; else no row is changed
IS_AFTER = """
  AND size = :after_size AND last_crc IN (0, :after_crc)
  AND EXISTS (SELECT 1 FROM ct_lines WHERE session_id = :session_id AND position = :after_position)"""
ADVANCE_AFTER = f"{UPDATE_ROW.format(condition=IS_AFTER)}RETURNING {ROW}"
ADVANCE = f"{UPDATE_ROW.format(condition='')}RETURNING {ROW}"
#: the same without an answer, for many rows at once
ADVANCE_UNANSWERED = UPDATE_ROW.format(condition="")
#: after the last entry that was copied
END_COPYING = "UPDATE ct_sessions SET copying_to = NULL WHERE session_id = :session_id"
LINE_COLUMNS = (
    *("session_id", "position", "id", "parent_id", "type", "role", "time_ms", "said_ms", "visible_to", "excerpt"),
    *("words", "line"),
)
ADD_LINES = (
    f"INSERT INTO ct_lines ({', '.join(LINE_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in LINE_COLUMNS)})"
)
ADD_TO_USAGE = """
ON CONFLICT (session_id, model_key) DO UPDATE SET answers = ct_usage.answers + excluded.answers,
  input_tokens = ct_usage.input_tokens + excluded.input_tokens,
  output_tokens = ct_usage.output_tokens + excluded.output_tokens,
  cache_read_tokens = ct_usage.cache_read_tokens + excluded.cache_read_tokens,
  cache_write_tokens = ct_usage.cache_write_tokens + excluded.cache_write_tokens,
  cost = ct_usage.cost + excluded.cost
"""
_ADD_USAGE = f"""
INSERT INTO ct_usage (session_id, model_key, provider, model, answers, input_tokens, output_tokens, cache_read_tokens,
  cache_write_tokens, cost)
VALUES (:session_id, :model_key, :provider, :model, :answers, :input_tokens, :output_tokens, :cache_read_tokens,
  :cache_write_tokens, :cost)
{ADD_TO_USAGE}"""
_ADD_COPIED = """
INSERT INTO ct_copied (session_id, entry, model_key, provider, model, answers, input_tokens, output_tokens,
  cache_read_tokens, cache_write_tokens, cost)
VALUES (:session_id, :entry, :model_key, :provider, :model, :answers, :input_tokens, :output_tokens, :cache_read_tokens,
  :cache_write_tokens, :cost)
ON CONFLICT DO NOTHING
"""
_DELETE_UNCHANGED = """
DELETE FROM ct_sessions WHERE session_id = :session_id AND size = :size AND COALESCE(created_ms, 0) = :created_ms
  AND last_crc = :crc RETURNING session_id
"""


def add_session(execute: Execute, session_id: str, header: Header) -> None:
    """Inserts the row of a session. Its lines follow by `ADVANCE` and `add_lines`."""
    execute(ADD_SESSION, _session_values(session_id, header))
    change_metadata(execute, session_id, MetadataChange(metadata_rows(header.metadata or {})))


def reset_session(execute: Execute, session_id: str, header: Header) -> None:
    """Deletes the lines of a session, and what follows from them. Other lines follow, as after `add_session`."""
    for name in ("ct_lines", "ct_usage", "ct_copied", "ct_snapshots"):
        execute(f"DELETE FROM {name} WHERE session_id = :session_id", {"session_id": session_id})
    execute(_RESET_SESSION, _session_values(session_id, header))
    change_metadata(execute, session_id, MetadataChange(metadata_rows(header.metadata or {}), replaces=True))


def _session_values(session_id: str, header: Header) -> dict[str, Any]:
    """Returns the columns of the row of a session that begins with this header."""
    parent = header.parent_session
    created = ms_of(header.timestamp)
    values = {name: stored(getattr(header, name)) for name in ("owner", "cwd", "git_root", "name")}
    values |= {
        "session_id": session_id,
        "header_id": None if header.id == session_id else stored(header.id),
        "name_words": spaced(header.name),
        "kind": "" if parent is None else parent.kind,
        "parent_id": None if parent is None else stored(parent.id),
        "parent_entry": None if parent is None else stored(parent.entry_id),
        "created_ms": created,
        "active_ms": created or 0,
    }
    return values | header_values(header)


def change_metadata(execute: Execute, session_id: str, change: MetadataChange) -> None:
    """Changes the metadata of a session."""
    if change.replaces:
        execute("DELETE FROM ct_metadata WHERE session_id = :session_id", {"session_id": session_id})
    elif change.rows:
        removed = [{"session_id": session_id, "name": name} for name, _ in change.rows]
        execute("DELETE FROM ct_metadata WHERE session_id = :session_id AND name = :name", removed)
    rows = [{"session_id": session_id, "name": name, "value": value} for name, value in change.rows if value]
    if rows:
        execute("INSERT INTO ct_metadata (session_id, name, value) VALUES (:session_id, :name, :value)", rows)


def header_values(header: Header) -> dict[str, Any]:
    """Returns the columns for the fields of a header that say how the session came here."""
    return {
        "copying_to": stored(copied_up_to(header)),
        "arrived_ms": ms_of(header.arrived),
        "session_key": None if header.key is None else msgspec.json.encode(header.key).decode(),
    }


def update_session_row(session_id: str, summaries: Sequence[RecordSummary], grown: int, crc: int) -> Values:
    """Returns the values for `ADVANCE`: how new records change the row of their session.

    `grown` is how many bytes the log grew, `crc` the checksum of its last line.
    """
    first_user = last_user = archived = None
    said: set[int] = set()
    leaf: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    entries = messages = 0
    for each in summaries:
        if each.excerpt and each.role == "user" and each.visible_to not in HIDDEN_FROM_USER:
            first_user, last_user = first_user or each.excerpt, each.excerpt
        if each.said and each.ms is not None:
            said.add(each.ms)
        if each.leaf is not UNSET:
            leaf = each.leaf
            entries += leaf == each.id
        messages += each.type == "message"
        if each.name is not UNSET:
            name = each.name
        if each.archived is not UNSET:
            archived = int(bool(each.archived))
    return {
        "session_id": session_id,
        "grown": grown,
        "crc": crc,
        "entries": entries,
        "messages": messages,
        **activity.values(said),
        "moved": int(leaf is not UNSET),
        "leaf_id": None if leaf is UNSET else stored(leaf),
        "renamed": int(name is not UNSET),
        "name": None if name is UNSET else stored(name),
        "name_words": None if name is UNSET else spaced(name),
        "archived": archived,
        "first_user": first_user,
        "last_user": last_user,
    }


def add_lines(execute: Execute, rows: Sequence[Values]) -> None:
    """Inserts lines made by `line_of`."""
    execute(ADD_LINES, rows)


def line_of(session_id: str, position: int, summary: RecordSummary | None, line: str | None) -> Values:
    """Returns the row of a line. A line without a summary is the header."""
    if summary is None:
        row: dict[str, Any] = {"session_id": session_id, "position": position, "line": line}
        none = {"id": None, "parent_id": None, "role": None, "time_ms": None, "said_ms": None}
        return row | none | {"type": "session", "visible_to": "all", "excerpt": "", "words": ""}
    return {
        "session_id": session_id,
        "position": position,
        "line": line,
        "id": summary.id if summary.keeps_id else None,
        "parent_id": stored(summary.parent_id) if summary.keeps_id else None,
        "type": summary.type,
        "role": stored(summary.role),
        "time_ms": summary.ms,
        "said_ms": summary.ms if summary.said else None,
        **text_values(summary),
    }


def text_values(summary: RecordSummary) -> dict[str, Any]:
    """Returns the columns for the text of a message, and for who sees it."""
    return {
        "visible_to": summary.visible_to if summary.visible_to and summary.target is None else "all",
        "excerpt": summary.excerpt if has_excerpt(summary) else "",
        "words": summary.words,
    }


def has_excerpt(summary: RecordSummary) -> bool:
    """Returns whether a list may show the beginning of this message."""
    return summary.role == "user" and summary.excerpt != ""


def add_usage(execute: Execute, session_id: str, summaries: Sequence[RecordSummary], copying_to: str | None) -> None:
    """Adds the records' token usage to the session's totals.

    Entries up to `copying_to` were copied. They are added one by one, because a part of them may count elsewhere.
    """
    if copying_to is not None:
        last = next((number for number, each in enumerate(summaries, 1) if each.id == copying_to), None)
        add_copied(execute, session_id, summaries[:last])
        if last is None:
            return
        execute(END_COPYING, {"session_id": session_id})
        summaries = summaries[last:]
    if rows := usage_rows(session_id, summaries):
        execute(_ADD_USAGE, rows)


def usage_rows(session_id: str, summaries: Sequence[RecordSummary]) -> list[Values]:
    """Returns what some records add to the usage of their session, by model."""
    totals: dict[tuple[str, str], tuple[int, Usage]] = {}
    for each in summaries:
        for provider, model, count, used in spent_by(each):
            answers, usage = totals.get((provider or "", model or ""), (0, Usage()))
            totals[provider or "", model or ""] = answers + count, usage + used
    return [
        {"session_id": session_id, "answers": answers} | model_values(provider, model) | msgspec.structs.asdict(usage)
        for (provider, model), (answers, usage) in sorted(totals.items())
    ]


def add_copied(execute: Execute, session_id: str, summaries: Sequence[RecordSummary]) -> None:
    """Adds the token usage of copied records, one by one."""
    rows = [
        {"session_id": session_id, "entry": entry_key(each), "answers": answers}
        | model_values(provider or "", model or "")
        | msgspec.structs.asdict(usage)
        for each in summaries
        for provider, model, answers, usage in spent_by(each)
    ]
    if rows:
        execute(_ADD_COPIED, rows)


def model_values(provider: str, model: str) -> dict[str, Any]:
    """Returns the columns for a provider and a model. Empty texts stand for unknown ones."""
    return {
        "model_key": key_of_texts(provider, model),
        "provider": stored(provider),
        "model": stored(model),
    }


def spent_by(summary: RecordSummary) -> tuple[Spent, ...]:
    """Returns what a record has cost, by provider and model; empty for a record without model and usage."""
    if summary.model is None and summary.usage is None:
        return summary.spent
    answer = Spent(summary.provider, summary.model, int(summary.type == "message"), summary.usage or Usage())
    return *summary.spent, answer


def remove_session(execute: Execute, session_id: str) -> None:
    """Deletes a session and everything that belongs to it."""
    for name in ("ct_lines", "ct_usage", "ct_copied", "ct_metadata", "ct_snapshots", "ct_sessions"):
        execute(f"DELETE FROM {name} WHERE session_id = :session_id", {"session_id": session_id})


def remove_unchanged_session(execute: Execute, session_id: str, stamp: LogStamp) -> bool:
    """Deletes a session if its stamp is still this one, and returns whether it was.

    The condition is on the row that appends lock: an append that commits first changes it, and one that comes later
    finds no row.
    """
    size, created_ms, crc = stamp
    values = {"session_id": session_id, "size": size, "created_ms": created_ms, "crc": crc}
    if not execute(_DELETE_UNCHANGED, values):
        return False
    remove_session(execute, session_id)
    return True


def spaced(name: str | None) -> str:
    """Returns the words of a name with a space before and after each, for LIKE. Words contain no `%` or `_`."""
    return f" {' '.join(words_of(name or ''))} "
