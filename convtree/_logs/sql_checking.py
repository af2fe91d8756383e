"""Compares the tables of a database with the lines that they follow from.

The rows of a session are made once more from its lines, in tables of their own, by the functions that an append uses,
and compared. Only `restore_session` and `rebuild_words` write.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from math import isclose
from typing import Any
from zlib import crc32

from convtree._catalogue import tables
from convtree._catalogue.executing import executing
from convtree._catalogue.tables import Execute
from convtree._catalogue.types import RowFinding
from convtree._catalogue.words import IS_PENDING, totals_of
from convtree._engine import codec, snapshot
from convtree._logs import sql_lines
from convtree._logs.sql_database import SqlDatabase
from convtree._model.batches import BATCH
from convtree._model.findings import FINDING_LIMIT

#: the tables that follow from the lines of a session, the session's row first
_TABLES = ("ct_sessions", "ct_lines", "ct_usage", "ct_copied", "ct_metadata")
#: those with nothing to keep if the session has no row; a snapshot is a cache
_MADE_ANEW = (*_TABLES[2:], "ct_snapshots")
#: what does not follow from them: a counter, a number that SQLite chooses, and the lines themselves
_OTHER = frozenset({"rewrites", "row", "line", "session_id"})
_REPEATABLE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_SELECT_SOME = """
SELECT position, line FROM ct_lines WHERE session_id = :session_id AND position > :after ORDER BY position LIMIT :limit
"""
_SELECT_STRAY = """
SELECT DISTINCT session_id FROM {table} AS t
WHERE NOT EXISTS (SELECT 1 FROM ct_sessions AS s WHERE s.session_id = t.session_id) ORDER BY session_id
"""
_SELECT_FIRST = "SELECT line FROM ct_lines WHERE session_id = :session_id ORDER BY position LIMIT 1"
_SELECT_SNAPSHOT = """
SELECT generation, size, data FROM ct_snapshots WHERE session_id = :session_id AND generation =
  (SELECT MAX(generation) FROM ct_snapshots WHERE session_id = :session_id) ORDER BY part
"""
_SELECT_WORDS = f"""
SELECT l.row, l.session_id, l.position, l.words, EXISTS (SELECT 1 FROM ct_terms_docsize d WHERE d.id = l.row)
FROM ct_lines l
WHERE l.row > :after AND l.words <> '' AND NOT ({IS_PENDING}) ORDER BY l.row LIMIT :limit
"""
_SELECT_COUNTS = "SELECT term, cnt FROM temp.ct_terms_by_row WHERE term > :after ORDER BY term LIMIT :limit"
_SELECT_INSTANCES = 'SELECT term, doc, "offset" FROM temp.ct_terms_by_instance WHERE term BETWEEN :first AND :last'
_INSTANCES = 100_000  # words in one query

Row = dict[str, Any]


def wrong_rows(database: SqlDatabase, session_id: str) -> list[RowFinding]:
    """Returns where the tables do not say what the lines of a session say, at one moment.

    Nothing is compared where lines are missing: the log has a finding about it.

    Raises:
        OSError: they cannot be read, or there is no room for the tables that are made to compare.
    """

    def compare(execute: Execute) -> list[RowFinding]:
        if database.dialect == "postgresql":
            execute(_REPEATABLE)
        with closing(sqlite3.connect("")) as own:
            try:
                return list(_wrong_rows(execute, executing(own), session_id))
            except sqlite3.Error as error:
                raise OSError(f"{database.location}#{session_id}: comparing its tables failed: {error}") from error

    return database.read(compare)


def _wrong_rows(execute: Execute, replay: Execute, session_id: str) -> Iterator[RowFinding]:
    for statement in tables.SCHEMA["sqlite"]:
        if statement.lstrip().startswith("CREATE TABLE"):
            replay(statement)
    try:
        sql_lines.write_lines(replay, session_id, _lines(execute, session_id))
    except _Gap as gap:
        if gap.is_wrong:
            yield _finding("wrong_column", "ct_lines", "position", gap.position)
        return
    yield from _wrong_snapshots(execute, session_id)
    found = 0
    for table in _TABLES:
        for each in _compared(execute, replay, table, session_id):
            yield each
            found += 1
            if found == FINDING_LIMIT:
                return


class _Gap(Exception):
    """A line is not where the line before it ends: lines are missing, or (`is_wrong`) only its position is wrong."""

    def __init__(self, position: int, is_wrong: bool) -> None:
        self.position = position
        self.is_wrong = is_wrong


def _lines(execute: Execute, session_id: str) -> Iterator[bytes]:
    """Yields the lines of a session.

    Raises:
        _Gap: a line is not where it should be.
    """
    end, crc, after = 0, 0, -1
    values = {"session_id": session_id, "limit": BATCH}
    while rows := execute(_SELECT_SOME, values | {"after": after}):
        for position, text in rows:
            line = sql_lines.decode_line(text)
            if position != end:
                seal = codec.verify_seal(line)
                raise _Gap(position, seal is not None and seal.prev == crc)
            yield line
            end, crc, after = position + len(line) + 1, crc32(line), position


# --- comparing ----------------------------------------------------------------------------------------------------


def _compared(execute: Execute, replay: Execute, table: str, session_id: str) -> Iterator[RowFinding]:
    """Yields the differences of the rows of one table."""
    described = replay(f"PRAGMA table_info({table})")
    columns = [name for _, name, *_ in described if name not in _OTHER]
    key = ["position"] if table == "ct_lines" else [name for _, name, *_, number in described if number]
    key = [name for name in key if name in columns]
    select = f"SELECT {', '.join(columns)} FROM {table} WHERE session_id = :session_id"
    values = {"session_id": session_id}
    if table == "ct_lines":
        pairs = _in_batches(execute, replay, select, values)
    else:
        pairs = iter([(execute(select, values), replay(select, values))])
    for stored, expected in pairs:
        yield from _differences(table, columns, key, stored, expected)


def _in_batches(
    execute: Execute, replay: Execute, select: str, values: Row
) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Yields the rows of lines from both sides, some positions at a time."""
    start, limit = 0, f" ORDER BY position LIMIT {BATCH}"
    while expected := replay(f"{select} AND position >= :start{limit}", values | {"start": start}):
        until = expected[-1][0] + 1
        span = values | {"start": start, "until": until}
        yield execute(f"{select} AND position >= :start AND position < :until", span), expected
        start = until
    yield execute(f"{select} AND position >= :start", values | {"start": start}), []


def _differences(
    table: str, columns: Sequence[str], key: Sequence[str], stored: Sequence[Any], expected: Sequence[Any]
) -> Iterator[RowFinding]:
    has, wants = _by_key(columns, key, stored), _by_key(columns, key, expected)

    def finding(code: str, each: tuple[Any, ...], column: str | None = None) -> RowFinding:
        if table == "ct_lines":
            return _finding(code, table, column, each[0])
        return _finding(code, table, column, key=" ".join(map(str, each)))

    for each, row in wants.items():
        if each not in has:
            yield finding("missing_row", each)
        else:
            different = (name for name in columns if not _equal(name, has[each][name], row[name]))
            yield from (finding("wrong_column", each, name) for name in different)
    yield from (finding("extra_row", each) for each in has if each not in wants)


def _by_key(columns: Sequence[str], key: Sequence[str], rows: Sequence[Any]) -> dict[tuple[Any, ...], Row]:
    named = (dict(zip(columns, row, strict=True)) for row in rows)
    return {tuple(row[name] for name in key): row for row in named}


def _equal(name: str, stored: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(stored, int | float):
        return isclose(stored, expected, rel_tol=1e-9, abs_tol=1e-12)  # sums depend on the order of what was added
    return bool(stored == expected) or (name == "last_crc" and stored == 0)  # early versions did not always note it


def _finding(code: str, table: str, column: str | None, position: int | None = None, key: str = "") -> RowFinding:
    return RowFinding(code=code, severity="warning", table=table, column=column, position=position, key=key)


def _wrong_snapshots(execute: Execute, session_id: str) -> Iterator[RowFinding]:
    """Yields a finding if the newest snapshot is damaged. Then it is not used, and the lines are read instead."""
    rows = execute(_SELECT_SNAPSHOT, {"session_id": session_id})
    if not rows:
        return
    size, whole = rows[0][1], b"".join(sql_lines.bytes_of(data) for _, _, data in rows)
    found = snapshot.load(len(whole), lambda offset, length: whole[offset : offset + length])
    if len(whole) != size or found is None or not found.is_whole():
        yield _finding("wrong_column", "ct_snapshots", "data", key=str(rows[0][0]))


# --- rows of no session -------------------------------------------------------------------------------------------


def stray_rows(database: SqlDatabase) -> dict[str, list[RowFinding]]:
    """Returns which tables have rows of sessions that have no row, by session id."""
    found = defaultdict[str, list[RowFinding]](list)

    def look(execute: Execute) -> None:
        for table in ("ct_lines", *_MADE_ANEW):
            for (session_id,) in execute(_SELECT_STRAY.format(table=table)):
                is_log = table == "ct_lines"
                finding = _finding("missing_row", _TABLES[0], None) if is_log else _finding("extra_row", table, None)
                found[session_id].append(finding)

    database.read(look)
    return dict(found)


def restore_session(database: SqlDatabase, session_id: str) -> None:
    """Gives lines of no session a row, whose columns a repair fills in; deletes other rows of no session."""

    def restore(execute: Execute) -> None:
        values = {"session_id": session_id}
        if execute(tables.LOCK, values):
            return
        first = execute(_SELECT_FIRST, values)
        if not first:
            tables.remove_session(execute, session_id)
            return
        for table in _MADE_ANEW:
            execute(f"DELETE FROM {table} WHERE session_id = :session_id", values)
        sql_lines.add_session(execute, session_id, sql_lines.decode_line(first[0][0]))

    database.transact(restore)


# --- the index of words -------------------------------------------------------------------------------------------


def wrong_words(database: SqlDatabase) -> dict[str | None, list[RowFinding]]:
    """Returns where the full text index of SQLite does not have the words of `ct_lines`, by session id.

    None stands for words of no line, and for an index that cannot be read. A server has no such index: it keeps its
    indexes up to date itself.
    """
    if database.dialect != "sqlite":
        return {}
    found = defaultdict[str | None, list[RowFinding]](list)

    def compare(execute: Execute) -> bool:
        indexed = _indexed_words(execute)
        after, totals = 0, (0, 0)
        while rows := execute(_SELECT_WORDS, {"after": after, "limit": BATCH}):
            for row, session_id, position, words, has_size in rows:
                if indexed.pop(row, 0) != _sum_of(words) or not has_size:
                    found[session_id].append(_finding("wrong_index", "ct_terms", "words", position))
                totals = totals[0] + 1, totals[1] + words.count(" ") + 1
            after = rows[-1][0]
        return bool(indexed) or (not found and totals_of(execute) != totals)

    try:
        has_others = database.read(compare)
    except OSError:
        return {None: [_finding("wrong_index", "ct_terms", None)]}
    if has_others:
        found[None].append(_finding("wrong_index", "ct_terms", None))
    return dict(found)


def _indexed_words(execute: Execute) -> dict[int, int]:
    """Returns a sum over the words that the index has of each row, by row."""
    sums = defaultdict[int, int](int)
    for kind in ("row", "instance"):
        execute(f"DROP TABLE IF EXISTS temp.ct_terms_by_{kind}")
        execute(f"CREATE VIRTUAL TABLE temp.ct_terms_by_{kind} USING fts5vocab('main', 'ct_terms', '{kind}')")
    try:
        for first, last in _word_ranges(execute):
            for word, row, place in execute(_SELECT_INSTANCES, {"first": first, "last": last}):
                sums[row] += hash((word, place))
    finally:
        for kind in ("row", "instance"):
            execute(f"DROP TABLE temp.ct_terms_by_{kind}")
    return dict(sums)


def _word_ranges(execute: Execute) -> Iterator[tuple[str, str]]:
    """Yields ranges of words that occur about as often as one query should return rows."""
    first, count, last = None, 0, ""
    while rows := execute(_SELECT_COUNTS, {"after": last, "limit": BATCH}):
        for last, occurrences in rows:
            first, count = last if first is None else first, count + occurrences
            if count >= _INSTANCES:
                yield first, last
                first, count = None, 0
    if first is not None:
        yield first, last


def _sum_of(words: str) -> int:
    return sum(hash((word, place)) for place, word in enumerate(words.split(" ")))


def rebuild_words(database: SqlDatabase) -> None:
    """Makes the full text index of SQLite once more from the words in `ct_lines`."""
    if database.dialect == "sqlite":

        def rebuild(execute: Execute) -> None:
            execute("INSERT INTO ct_terms (ct_terms) VALUES ('delete-all')")
            execute("INSERT INTO ct_terms (rowid, words) SELECT row, words FROM ct_lines WHERE words <> ''")

        database.transact(rebuild)
