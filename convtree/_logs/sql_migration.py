"""Migrates the tables of a database to the version of this convtree, in the transaction of the caller.

The layout changes first. Then each session's lines are read once, for what the new columns say about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from convtree._catalogue import marks, migrations, tables
from convtree._catalogue.metadata import MetadataChange, metadata_rows
from convtree._catalogue.record_summary import copied_up_to
from convtree._catalogue.tables import Dialect, Execute
from convtree._logs import sql_lines
from convtree._logs.sql_distribution import distribute, is_distributed, use_one_connection
from convtree._model.batches import BATCH


def migrate(execute: Execute, dialect: Dialect, location: str) -> None:
    """Migrates tables of an earlier version. A step that another process has just done is passed over.

    If they are distributed, the new tables are distributed before anything is filled in.
    """
    distributed = is_distributed(execute, dialect)
    if distributed:
        use_one_connection(execute)

    def change_layout(statements: Sequence[str]) -> None:
        for statement in statements:
            execute(statement)
        if distributed:
            distribute(execute, location)

    if execute(migrations.CLAIM, {"version": 2}):
        _to_version_2(execute, dialect, change_layout)
    if execute(migrations.CLAIM, {"version": 3}):
        _to_version_3(execute, change_layout)
    if execute(migrations.CLAIM, {"version": 4}):
        change_layout(migrations.LAYOUT_4)
        for (session_id,) in execute(migrations.SELECT_SESSIONS):
            _fill_metadata(execute, session_id)


def _to_version_2(execute: Execute, dialect: Dialect, change_layout: Callable[[Sequence[str]], None]) -> None:
    copying = execute(migrations.SELECT_COPYING)
    before, after = migrations.AROUND_FILLING[dialect]
    change_layout((*migrations.LAYOUT, *before))
    for (session_id,) in execute(migrations.SELECT_SESSIONS):
        _fill(execute, session_id)
    for session_id, copying_to in copying:
        execute(migrations.FILL_COPYING, {"session_id": session_id, "copying_to": copying_to})
    for statement in after:
        execute(statement)


def _to_version_3(execute: Execute, change_layout: Callable[[Sequence[str]], None]) -> None:
    change_layout(migrations.LAYOUT_3)
    for (session_id,) in execute(migrations.SELECT_SESSIONS):
        _fill_activity(execute, session_id)
    for session_id, copying_to in execute(migrations.SELECT_CHILDREN):
        if copying_to is not None:  # so far its usage is with its own
            execute(migrations.FORGET_USAGE, {"session_id": session_id})
        _fill_copied(execute, session_id)


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
    values = {"session_id": session_id, "active_ms": active_ms, "active_slot": active_ms // tables.SLOT_MS}
    execute(migrations.FILL_ACTIVITY, values)


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
