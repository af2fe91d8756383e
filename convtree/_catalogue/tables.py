"""Sessions in tables: what a list, a search and a sum need, kept up record by record. SQL text only; no driver. Pure.

The statements are the part of SQL that SQLite, PostgreSQL and what speaks its protocol share; only full text search
differs. Every key and every condition on lines begins with the session's id, times are the records' own, and no
counter lives in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from convtree._catalogue.record_summary import RecordSummary, ms_of, sanitise_text, timestamp_of, words_of
from convtree._model.entries import Header, ParentSession
from convtree._model.usage import Usage

Dialect = Literal["sqlite", "postgresql"]
Values = Mapping[str, Any]
Execute = Callable[..., list[Any]]  # (SQL, values or a list of values): the rows, if there are any

VERSION = 1  # of these tables
_PAGE = 500  # ids in one condition
_QUERY_LIMIT = 200  # words in one query
_SLOT_MS = 600_000  # sessions are found by the ten minutes in which they were last active

_SESSIONS = """
CREATE TABLE IF NOT EXISTS ct_sessions (
  session_id TEXT NOT NULL PRIMARY KEY, owner TEXT, cwd TEXT, git_root TEXT, name TEXT, name_words TEXT NOT NULL,
  archived INTEGER NOT NULL,
  kind TEXT NOT NULL, parent_id TEXT, parent_entry TEXT, copying INTEGER NOT NULL,
  created_ms BIGINT, active_ms BIGINT NOT NULL, active_slot BIGINT NOT NULL, size BIGINT NOT NULL, crc BIGINT NOT NULL,
  leaf TEXT,
  entries BIGINT NOT NULL, messages BIGINT NOT NULL, first_user TEXT, last_user TEXT)
"""
_LINES = """
CREATE TABLE IF NOT EXISTS ct_lines (
  {row}session_id TEXT NOT NULL, position BIGINT NOT NULL, id TEXT, parent_id TEXT, type TEXT NOT NULL, role TEXT,
  ms BIGINT, words TEXT NOT NULL, line TEXT, {key} (session_id, position), UNIQUE (session_id, id))
"""
_USAGE = """
CREATE TABLE IF NOT EXISTS ct_usage (
  session_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, answers BIGINT NOT NULL,
  input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
  cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL, PRIMARY KEY (session_id, provider, model))
"""
_SNAPSHOTS = """
CREATE TABLE IF NOT EXISTS ct_snapshots (
  session_id TEXT NOT NULL, generation BIGINT NOT NULL, part INTEGER NOT NULL, size BIGINT NOT NULL,
  data {bytes} NOT NULL, PRIMARY KEY (session_id, generation, part))
"""
_COMMON = (
    "CREATE TABLE IF NOT EXISTS ct_schema (version INTEGER NOT NULL PRIMARY KEY)",
    _SESSIONS,
    # Not on active_ms: every append changes it, and PostgreSQL moves a row when something changes that is indexed.
    *(
        f"CREATE INDEX IF NOT EXISTS ct_sessions_by_{name} ON ct_sessions ({columns})"
        for name, columns in {
            "activity": "active_slot",
            "owner": "owner, active_slot",
            "cwd": "cwd, active_slot",
            "git_root": "git_root, active_slot",
            "parent": "parent_id",
        }.items()
    ),
    _USAGE,
)
SCHEMA: dict[Dialect, tuple[str, ...]] = {
    "sqlite": (
        *_COMMON,
        _LINES.format(row="row INTEGER PRIMARY KEY, ", key="UNIQUE"),
        _SNAPSHOTS.format(bytes="BLOB"),
        "CREATE VIRTUAL TABLE IF NOT EXISTS ct_words USING fts5(words, content='ct_lines', content_rowid='row', "
        # The words are cut and folded already: whatever is no white space is part of one.
        "tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'\")",
        "CREATE TRIGGER IF NOT EXISTS ct_words_add AFTER INSERT ON ct_lines WHEN new.words <> '' BEGIN "
        "INSERT INTO ct_words (rowid, words) VALUES (new.row, new.words); END",
        "CREATE TRIGGER IF NOT EXISTS ct_words_remove AFTER DELETE ON ct_lines WHEN old.words <> '' BEGIN "
        "INSERT INTO ct_words (ct_words, rowid, words) VALUES ('delete', old.row, old.words); END",
    ),
    "postgresql": (
        *_COMMON,
        _LINES.format(row="", key="PRIMARY KEY"),
        _SNAPSHOTS.format(bytes="BYTEA"),
        "CREATE INDEX IF NOT EXISTS ct_lines_words ON ct_lines USING gin (to_tsvector('simple', words)) "
        "WHERE words <> ''",
    ),
}


class Database(Protocol):
    """Where the tables are."""

    dialect: Dialect

    def reading(self) -> AbstractContextManager[Execute]:
        """Reads in one transaction."""
        ...

    def writing(self) -> AbstractContextManager[Execute]:
        """Writes in one transaction: everything, or nothing when an error comes out of it."""
        ...


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of a session; times are RFC 3339 texts in UTC.

    `usage` is what was spent in this session: a fork's copied entries were spent in the one they come from.
    """

    id: str
    name: str | None = None
    owner: str | None = None
    cwd: str | None = None
    git_root: str | None = None
    archived: bool = False
    created: str | None = None
    last_activity: str | None = None
    entries: int = 0
    messages: int = 0
    first_user_message: str | None = None
    last_user_message: str | None = None
    models: tuple[str, ...] = ()
    usage: Usage = Usage()
    parent_session: ParentSession | None = None
    leaf_id: str | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions: what is None does not matter; the words of `text` must all be in the name or in one message."""

    cwd: str | None = None
    git_root: str | None = None
    here: tuple[str | None, str | None] | None = None  # the directory, or the git root when there is one
    owner: str | None = None
    archived: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    parent: str | None = None
    tasks: bool = False
    ids: tuple[str, ...] | None = None


class Cursor(NamedTuple):
    """Where a session stands in the order of activity."""

    ms: int
    id: str


class SearchMatch(NamedTuple):
    """An entry that a search has found; a higher score is a better one."""

    session_id: str
    entry_id: str
    score: float


class UsageTotal(NamedTuple):
    """What was spent in a session with a model; both are None where nobody says which."""

    session_id: str
    provider: str | None
    model: str | None
    usage: Usage


# --- writing: the tables follow the log ---------------------------------------------------------------------------

_ADD_SESSION = """
INSERT INTO ct_sessions (session_id, owner, cwd, git_root, name, name_words, archived, kind, parent_id, parent_entry,
  copying, created_ms, active_ms, active_slot, size, crc, leaf, entries, messages, first_user, last_user)
VALUES (:session_id, :owner, :cwd, :git_root, :name, :name_words, 0, :kind, :parent_id, :parent_entry, :copying,
  :created_ms, :active_ms, :active_slot, 0, 0, NULL, 0, 0, NULL, NULL)
"""
_ROW = "RETURNING size, created_ms, copying, parent_entry"
# What a fork has copied is older than itself, and was no activity in it.
_ACTIVE = "CASE WHEN CAST(:ms AS BIGINT) >= COALESCE(created_ms, CAST(:ms AS BIGINT))"
#: takes the row's lock and changes nothing
LOCK = f"UPDATE ct_sessions SET size = size WHERE session_id = :session_id {_ROW}"
#: takes the row's lock, so that one writer after the other goes on from here; returns how far the log is then
ADVANCE = f"""
UPDATE ct_sessions SET size = size + :grown, crc = :crc, entries = entries + :entries,
  messages = messages + :messages, active_ms = {_ACTIVE} THEN CAST(:ms AS BIGINT) ELSE active_ms END,
  active_slot = {_ACTIVE} THEN CAST(:slot AS BIGINT) ELSE active_slot END,
  leaf = CASE WHEN :moved = 1 THEN CAST(:leaf AS TEXT) ELSE leaf END,
  name = CASE WHEN :renamed = 1 THEN CAST(:name AS TEXT) ELSE name END,
  name_words = CASE WHEN :renamed = 1 THEN CAST(:name_words AS TEXT) ELSE name_words END,
  archived = COALESCE(CAST(:archived AS INTEGER), archived),
  first_user = COALESCE(first_user, CAST(:first_user AS TEXT)),
  last_user = COALESCE(CAST(:last_user AS TEXT), last_user)
WHERE session_id = :session_id {_ROW}
"""
_ADD_LINES = """
INSERT INTO ct_lines (session_id, position, id, parent_id, type, role, ms, words, line)
VALUES (:session_id, :position, :id, :parent_id, :type, :role, :ms, :words, :line)
"""
_SPEND = """
INSERT INTO ct_usage (session_id, provider, model, answers, input_tokens, output_tokens, cache_read_tokens,
  cache_write_tokens, cost)
VALUES (:session_id, :provider, :model, :answers, :input_tokens, :output_tokens, :cache_read_tokens,
  :cache_write_tokens, :cost)
ON CONFLICT (session_id, provider, model) DO UPDATE SET answers = ct_usage.answers + excluded.answers,
  input_tokens = ct_usage.input_tokens + excluded.input_tokens,
  output_tokens = ct_usage.output_tokens + excluded.output_tokens,
  cache_read_tokens = ct_usage.cache_read_tokens + excluded.cache_read_tokens,
  cache_write_tokens = ct_usage.cache_write_tokens + excluded.cache_write_tokens,
  cost = ct_usage.cost + excluded.cost
"""


def add_session(execute: Execute, session_id: str, header: Header) -> None:
    """Adds the row of a session that has no lines yet."""
    parent = header.parent_session
    created = ms_of(header.timestamp)
    values = {name: sanitise_text(getattr(header, name)) for name in ("owner", "cwd", "git_root", "name")}
    values |= {
        "session_id": session_id,
        "name_words": _spaced(header.name),
        "kind": "" if parent is None else parent.kind,
        "parent_id": None if parent is None else sanitise_text(parent.id),
        "parent_entry": None if parent is None else sanitise_text(parent.entry_id),
        "copying": int(parent is not None and parent.kind == "fork" and parent.entry_id is not None),
        "created_ms": created,
        "active_ms": created or 0,
        "active_slot": (created or 0) // _SLOT_MS,
    }
    execute(_ADD_SESSION, values)


def update_session_row(session_id: str, digests: Sequence[RecordSummary], grown: int, crc: int) -> Values:
    """Makes the values for `ADVANCE`: how these records, `grown` bytes of the log, change the row of their session."""
    users = [each.excerpt for each in digests if each.role == "user" and each.excerpt]
    times = [each.ms for each in digests if each.ms is not None]
    moves = [each.leaf for each in digests if each.leaf is not UNSET]
    names = [each.name for each in digests if each.name is not UNSET]
    archived = [each.archived for each in digests if each.archived is not UNSET]
    return {
        "session_id": session_id,
        "grown": grown,
        "crc": crc,
        "entries": sum(each.leaf == each.id for each in digests),
        "messages": sum(each.type == "message" for each in digests),
        "ms": times[-1] if times else None,
        "slot": times[-1] // _SLOT_MS if times else None,
        "moved": int(bool(moves)),
        "leaf": moves[-1] if moves else None,
        "renamed": int(bool(names)),
        "name": names[-1] if names else None,
        "name_words": _spaced(names[-1] if names else None),
        "archived": int(bool(archived[-1])) if archived else None,
        "first_user": users[0] if users else None,
        "last_user": users[-1] if users else None,
    }


def add_lines(execute: Execute, rows: Sequence[Values]) -> None:
    """Adds lines, as `line_of` makes them."""
    execute(_ADD_LINES, rows)


def line_of(session_id: str, position: int, summarise_record: RecordSummary | None, line: str | None) -> Values:
    """Makes the row of a line; without a digest it is the header's."""
    if summarise_record is None:
        fields = {"id": None, "parent_id": None, "type": "session", "role": None, "ms": None, "words": ""}
    else:
        names = ("id", "parent_id", "type", "role", "ms", "words")
        fields = {name: getattr(summarise_record, name) for name in names}
    return {"session_id": session_id, "position": position, "line": line, **fields}


def add_usage(execute: Execute, session_id: str, digests: Sequence[RecordSummary], copied_up_to: str | None) -> None:
    """Adds up what these records cost. In a fork, those up to `copied_up_to` were paid for elsewhere.

    Until that entry turns up, everything counts: a session that only says it is a fork has copied nothing.
    """
    last = next((number for number, each in enumerate(digests) if each.id == copied_up_to), None)
    if copied_up_to is not None and last is not None:
        digests = digests[last + 1 :]
        execute("DELETE FROM ct_usage WHERE session_id = :session_id", {"session_id": session_id})
        execute("UPDATE ct_sessions SET copying = 0 WHERE session_id = :session_id", {"session_id": session_id})
    spent: dict[tuple[str, str], tuple[int, Usage]] = {}
    for each in digests:
        if each.model is not None or each.usage is not None:
            key = each.provider or "", each.model or ""
            answers, usage = spent.get(key, (0, Usage()))
            spent[key] = answers + (each.type == "message"), usage + (each.usage or Usage())
    if spent:
        execute(
            _SPEND,
            [
                {"session_id": session_id, "provider": provider, "model": model, "answers": answers}
                | msgspec.structs.asdict(usage)
                for (provider, model), (answers, usage) in sorted(spent.items())
            ],
        )


def remove_session(execute: Execute, session_id: str) -> None:
    """Removes everything about a session."""
    for name in ("ct_lines", "ct_usage", "ct_snapshots", "ct_sessions"):
        execute(f"DELETE FROM {name} WHERE session_id = :session_id", {"session_id": session_id})


# --- reading ------------------------------------------------------------------------------------------------------

_INFO = (
    "session_id, name, owner, cwd, git_root, archived, created_ms, active_ms, entries, messages, first_user, "
    "last_user, kind, parent_id, parent_entry, leaf"
)
_MATCH: dict[Dialect, str] = {
    "sqlite": "SELECT l.session_id, l.id, -bm25(ct_words) AS score FROM ct_words JOIN ct_lines l "
    "ON l.row = ct_words.rowid {join} WHERE ct_words MATCH :words {where} "
    "ORDER BY score DESC, l.session_id, l.position LIMIT :limit",
    "postgresql": "SELECT l.session_id, l.id, ts_rank(to_tsvector('simple', l.words), q) AS score "
    "FROM plainto_tsquery('simple', :words) q, ct_lines l {join} WHERE l.words <> '' "
    "AND to_tsvector('simple', l.words) @@ q {where} ORDER BY score DESC, l.session_id, l.position LIMIT :limit",
}
_IN_MATCH: dict[Dialect, str] = {
    "sqlite": "SELECT l.session_id FROM ct_words JOIN ct_lines l ON l.row = ct_words.rowid WHERE ct_words MATCH :words",
    "postgresql": "SELECT l.session_id FROM ct_lines l WHERE l.words <> '' "
    "AND to_tsvector('simple', l.words) @@ plainto_tsquery('simple', :words)",
}


def sessions(
    execute: Execute, dialect: Dialect, wanted: Filter, after: Cursor | None = None, limit: int | None = None
) -> list[SessionInfo]:
    """Lists sessions, last active first, behind a place in that order."""
    where, values = _conditions(wanted, dialect)
    if after is not None:
        where.append("(s.active_slot, s.active_ms, s.session_id) < (:after_slot, :after_ms, :after_id)")
        values |= {"after_slot": after.ms // _SLOT_MS, "after_ms": after.ms, "after_id": after.id}
    columns = ", ".join(f"s.{name}" for name in _INFO.split(", "))
    sql = f"SELECT {columns} FROM ct_sessions s{_where(where)}"
    sql += " ORDER BY s.active_slot DESC, s.active_ms DESC, s.session_id DESC"
    if limit is not None:
        sql += " LIMIT :limit"
        values["limit"] = limit
    rows = execute(sql, values)
    spent: dict[str, list[UsageTotal]] = {}
    for each in usage(execute, [row[0] for row in rows]):
        spent.setdefault(each.session_id, []).append(each)
    return [_info(row, spent.get(row[0], ())) for row in rows]


def place_of(execute: Execute, session_id: str) -> Cursor | None:
    """Returns where a session stands in the order of `sessions`."""
    rows = execute("SELECT active_ms FROM ct_sessions WHERE session_id = :id", {"id": session_id})
    return Cursor(rows[0][0], session_id) if rows else None


def search(execute: Execute, dialect: Dialect, text: str, wanted: Filter, limit: int) -> list[SearchMatch]:
    """Finds the messages in which all words of a text are, best first."""
    words = _distinct(text)
    if not words:
        return []
    where, values = _conditions(wanted, dialect)
    sql = _MATCH[dialect].format(
        join="JOIN ct_sessions s ON s.session_id = l.session_id" if where else "",
        where="".join(f" AND {each}" for each in where),
    )
    return [SearchMatch(*row) for row in execute(sql, values | {"words": _query(dialect, words), "limit": limit})]


def usage(execute: Execute, ids: Sequence[str]) -> list[UsageTotal]:
    """Returns what was spent in some sessions, by session and model."""
    found: list[UsageTotal] = []
    for chunk in _pages(ids):
        marks, values = _any_of(chunk)
        rows = execute(
            "SELECT session_id, provider, model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, "
            f"cost FROM ct_usage WHERE session_id IN ({marks}) ORDER BY session_id, answers DESC, provider, model",
            values,
        )
        for session_id, provider, model, *numbers in rows:
            spent = Usage(**dict(zip(Usage.__struct_fields__, numbers, strict=True)))
            found.append(UsageTotal(session_id, provider or None, model or None, spent))
    return found


def children(execute: Execute, ids: Sequence[str], kind: str) -> dict[str, str]:
    """Returns the sessions of a kind directly below some sessions, each with the one that it is below."""
    found: dict[str, str] = {}
    for chunk in _pages(ids):
        marks, values = _any_of(chunk)
        sql = f"SELECT session_id, parent_id FROM ct_sessions WHERE parent_id IN ({marks}) AND kind = :kind"
        found |= dict(map(tuple, execute(sql + " ORDER BY session_id", values | {"kind": kind})))
    return found


def _conditions(wanted: Filter, dialect: Dialect) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    values: dict[str, Any] = {}
    for name in ("cwd", "git_root", "owner"):
        if (value := getattr(wanted, name)) is not None:
            where.append(f"s.{name} = :{name}")
            values[name] = sanitise_text(value)
    if wanted.here is not None:
        where.append("(s.cwd = :here_cwd OR s.git_root = :here_root)")
        values |= dict(zip(("here_cwd", "here_root"), map(sanitise_text, wanted.here), strict=True))
    if wanted.archived is not None:
        where.append("s.archived = :archived")
        values["archived"] = int(wanted.archived)
    if wanted.since_ms is not None:
        where.append("s.active_slot >= :since_slot AND s.active_ms >= :since")
        values |= {"since_slot": wanted.since_ms // _SLOT_MS, "since": wanted.since_ms}
    if wanted.until_ms is not None:
        where.append("s.active_ms < :until")
        values["until"] = wanted.until_ms
    if wanted.parent is not None:
        where.append("s.parent_id = :parent")
        values["parent"] = wanted.parent
    if not wanted.tasks:
        where.append("s.kind <> 'task'")
    if wanted.ids is not None:
        marks, some = _any_of(wanted.ids)
        where.append(f"s.session_id IN ({marks})")
        values |= some
    if wanted.text is not None and (words := _distinct(wanted.text)):
        likes = {f"like{number}": f"% {word} %" for number, word in enumerate(words)}
        named = " AND ".join(f"s.name_words LIKE :{like}" for like in likes)
        where.append(f"(({named}) OR s.session_id IN ({_IN_MATCH[dialect]}))")
        values |= likes | {"words": _query(dialect, words)}
    return where, values


def _distinct(text: str) -> list[str]:
    """Returns the words to look for: each once, and no more than a query takes."""
    return list(dict.fromkeys(words_of(text)))[:_QUERY_LIMIT]


def _spaced(name: str | None) -> str:
    """Returns the words of a name with a space on either side of each; there is no % or _ in a word."""
    return f" {' '.join(words_of(name or ''))} "


def _query(dialect: Dialect, words: Iterable[str]) -> str:
    """Words a full text query; words have no quotes in them, and no operator is a word in quotes."""
    return " ".join(f'"{word}"' for word in words) if dialect == "sqlite" else " ".join(words)


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _any_of(ids: Sequence[str]) -> tuple[str, dict[str, Any]]:
    values = {f"id{number}": id for number, id in enumerate(ids)}
    return ", ".join(f":{name}" for name in values) or "NULL", values


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))


def _info(row: Sequence[Any], spent: Iterable[UsageTotal]) -> SessionInfo:
    id, name, owner, cwd, git_root, archived, created, active, entries, messages, first, last, *origin = row
    kind, parent_id, parent_entry, leaf = origin
    spent = list(spent)
    parent = ParentSession(id=parent_id, entry_id=parent_entry, kind=kind) if kind else None
    return SessionInfo(
        id=id,
        name=name,
        owner=owner,
        cwd=cwd,
        git_root=git_root,
        archived=bool(archived),
        created=timestamp_of(created),
        last_activity=timestamp_of(active or None),
        entries=entries,
        messages=messages,
        first_user_message=first,
        last_user_message=last,
        models=tuple(dict.fromkeys(each.model for each in spent if each.model is not None)),
        usage=sum((each.usage for each in spent), Usage()),
        parent_session=parent,
        leaf_id=leaf,
    )
