"""Migrates the tables of a database to the version of this convtree, in the transaction of the caller.

The layout changes first. Then each session's lines are read once, for what the new columns say about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from convtree._catalogue import ledger, marks, migrations, tables, words
from convtree._catalogue.append_statement import APPEND_FUNCTION, SELECT_LANGUAGE, SELECT_MISSING
from convtree._catalogue.metadata import MetadataChange, metadata_rows
from convtree._catalogue.record_summary import copied_up_to
from convtree._catalogue.tables import Dialect, Execute
from convtree._logs import sql_lines
from convtree._logs.sql_distribution import distribute, has_citus, is_distributed, use_one_connection
from convtree._model.batches import BATCH

ChangeLayout = Callable[[Sequence[str]], None]


def migrate(execute: Execute, dialect: Dialect, location: str) -> None:
    """Migrates tables of an earlier version. Does nothing if another process has just done so.

    If they are distributed, the new tables are distributed before anything is filled in.
    """
    ((version,),) = execute(migrations.LOCK)
    if version >= tables.VERSION:
        return
    distributed = is_distributed(execute, dialect)
    if distributed:
        use_one_connection(execute)

    def change_layout(statements: Sequence[str]) -> None:
        for statement in statements:
            execute(statement)
        if distributed:
            distribute(execute, location)

    # First, as the keys: the steps to earlier versions write to the new layout.
    if version < 7:
        for statement in migrations.layout_7(version):
            execute(statement)
    for name, table in migrations.KEYED.items():
        if table.since <= version < 5:
            _change_key(execute, change_layout, name, version)
    if version < 2:
        _to_version_2(execute, dialect, change_layout)
    if version < 3:
        _to_version_3(execute, change_layout)
    if version < 4:
        _to_version_4(execute, change_layout)
    if version < 5:
        _to_version_5(execute, change_layout)
    if version < 7:
        execute(migrations.FILL_BOUNDS)
    if dialect == "sqlite":
        change_layout(words.LAYOUT_8)
    add_functions(execute, dialect)
    execute(migrations.SET_VERSION, {"version": tables.VERSION})


def add_functions(execute: Execute, dialect: Dialect) -> None:
    """Adds the functions on the server that go with the tables. Without them, appends are several statements.

    Citus would run them on the coordinator, and a server without their language cannot.
    """
    if dialect == "postgresql" and not has_citus(execute) and execute(SELECT_LANGUAGE):
        execute(APPEND_FUNCTION)


def restore_functions(execute: Execute) -> bool:
    """Adds the functions to tables of this version that have lost them; returns False if nothing is missing.

    So it does where they are not wanted, see `add_functions`, or where this role may not add them.
    """
    if not execute(SELECT_MISSING) or has_citus(execute):
        return False
    execute(migrations.LOCK)  # two processes that replace a function at once would fail
    execute(APPEND_FUNCTION)
    return True


def _to_version_2(execute: Execute, dialect: Dialect, change_layout: ChangeLayout) -> None:
    copying = execute(migrations.SELECT_COPYING)
    before, after = migrations.AROUND_FILLING[dialect]
    change_layout((*migrations.LAYOUT, *before))
    for (session_id,) in execute(migrations.SELECT_SESSIONS):
        _fill(execute, session_id)
    for session_id, copying_to in copying:
        execute(migrations.FILL_COPYING, {"session_id": session_id, "copying_to": copying_to})
    for statement in after:
        execute(statement)


def _to_version_3(execute: Execute, change_layout: ChangeLayout) -> None:
    change_layout(migrations.LAYOUT_3)
    for (session_id,) in execute(migrations.SELECT_SESSIONS):
        _fill_activity(execute, session_id)
    for session_id, copying_to in execute(migrations.SELECT_CHILDREN):
        if copying_to is not None:  # so far its usage is with its own
            execute(migrations.FORGET_USAGE, {"session_id": session_id})
        _fill_copied(execute, session_id)


def _to_version_4(execute: Execute, change_layout: ChangeLayout) -> None:
    change_layout(migrations.LAYOUT_4)
    for (session_id,) in execute(migrations.SELECT_SESSIONS):
        _fill_metadata(execute, session_id)


def _to_version_5(execute: Execute, change_layout: ChangeLayout) -> None:
    change_layout(migrations.LAYOUT_5)
    for (session_id,) in execute(migrations.SELECT_ODD):
        _store_again(execute, session_id)


_NEW_COLUMNS: dict[str, Callable[..., dict[str, Any]]] = {
    "usage": tables.model_values,
    "copied": tables.model_values,
    "gone": ledger.link_values,
    "ledger": ledger.sum_values,
}


def _change_key(execute: Execute, change_layout: ChangeLayout, name: str, version: int) -> None:
    """Copies a table into one with the primary key of version 5, session by session."""
    table, old, new = migrations.KEYED[name], f"ct_{name}_old", f"ct_{name}"
    change_layout((f"ALTER TABLE {new} RENAME TO {old}", *migrations.DROP_INDEXES, table.create))
    missing = migrations.MISSING_IN_3 if version < 4 else {}
    selected = ", ".join((*(missing.get(each, each) for each in table.kept), *table.texts))
    for (session_id,) in execute(f"SELECT DISTINCT session_id FROM {old}"):
        rows = execute(f"SELECT {selected} FROM {old} WHERE session_id = :session_id", {"session_id": session_id})
        size = len(table.kept)
        added = [dict(zip(table.kept, row, strict=False)) | _NEW_COLUMNS[name](*row[size:]) for row in rows]
        columns = added[0].keys()
        marks = ", ".join(f":{each}" for each in columns)
        execute(f"INSERT INTO {new} ({', '.join(columns)}) VALUES ({marks})", added)
    execute(f"DROP TABLE {old}")


def _store_again(execute: Execute, session_id: str) -> None:
    """Fills in all columns of a session and of its lines anew."""
    ((rewrites,),) = execute(migrations.SELECT_REWRITES, {"session_id": session_id})
    lines = [line for _, some in _lines(execute, session_id, migrations.SELECT_ALL_LINES) for line in some]
    tables.remove_session(execute, session_id)
    sql_lines.write_lines(execute, session_id, lines)
    execute(migrations.FILL_REWRITES, {"session_id": session_id, "rewrites": rewrites})


def _fill(execute: Execute, session_id: str) -> None:
    """Fills in the columns that version 2 added to a session and its lines."""
    for positions, lines in _lines(execute, session_id, migrations.SELECT_LINES):
        if positions[0] == 0:
            values = tables.header_values(sql_lines.header_of(lines[0], session_id))
            execute(migrations.FILL_SESSION, {"session_id": session_id} | values)
        batch = sql_lines.batch_of(lines)
        rows = [
            {"session_id": session_id, "position": position} | tables.text_values(each)
            for position, each in zip(positions, batch.summaries, strict=True)
            if each is not None and each.type == "message"
        ]
        if rows:
            execute(migrations.FILL_LINE, rows)
        summaries = [each and each._replace(metadata=None) for each in batch.summaries]  # version 4 fills it in
        marks.apply_marks(execute, session_id, positions, summaries)
        tables.add_usage(execute, session_id, [each for each in batch.records if each.spent], None)


def _fill_activity(execute: Execute, session_id: str) -> None:
    """Fills in when somebody last said something in a session."""
    for positions, lines in _lines(execute, session_id, migrations.SELECT_MAY_BE_NOTES):
        summaries = sql_lines.batch_of(lines).summaries
        notes = [
            {"session_id": session_id, "position": position}
            for position, each in zip(positions, summaries, strict=True)
            if each is None or not each.said
        ]
        if notes:
            execute(migrations.UNSAY, notes)
    times = execute(migrations.SELECT_ACTIVITY, {"session_id": session_id})[0]
    active_ms = max((time for time in times if time is not None), default=0)
    execute(migrations.FILL_ACTIVITY, {"session_id": session_id, "active_ms": active_ms})


def _fill_copied(execute: Execute, session_id: str) -> None:
    """Fills in the usage of the entries that a session has copied."""
    last_copied = None
    for positions, lines in _lines(execute, session_id, migrations.SELECT_ALL_LINES):
        if positions[0] == 0:
            last_copied = copied_up_to(sql_lines.header_of(lines[0], session_id))
        records = sql_lines.batch_of(lines).records
        number = next((number for number, each in enumerate(records, 1) if each.id == last_copied), None)
        if last_copied is not None:
            tables.add_copied(execute, session_id, records[:number])
        if last_copied is None or number is not None:
            return


def _fill_metadata(execute: Execute, session_id: str) -> None:
    """Fills in the metadata of a session."""
    for positions, lines in _lines(execute, session_id, migrations.SELECT_INFO):
        if positions[0] == 0:
            metadata = sql_lines.header_of(lines[0], session_id).metadata
            tables.change_metadata(execute, session_id, MetadataChange(metadata_rows(metadata or {})))
        for each in sql_lines.batch_of(lines).records:
            if each.metadata is not None:
                tables.change_metadata(execute, session_id, each.metadata)


def _lines(execute: Execute, session_id: str, select: str) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yields positions and content of the lines that a query selects, in batches."""
    after = -1
    values = {"session_id": session_id, "limit": BATCH}
    while rows := execute(select, values | {"after": after}):
        yield [position for position, _ in rows], [sql_lines.decode_line(text) for _, text in rows]
        after = rows[-1][0]
