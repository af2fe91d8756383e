"""From a log to the statements that add it to the tables of a catalogue: in this process, or in another one for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any, NamedTuple

from convtree._catalogue import tables
from convtree._catalogue.executing import line_values
from convtree._catalogue.marks import apply_marks
from convtree._catalogue.record_summary import summarise_record
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import one_of
from convtree._catalogue.types import LogStamp
from convtree._engine.log import Log
from convtree._model.batches import batched
from convtree._model.entries import Entry, Mark
from convtree._model.errors import ConvtreeError
from convtree.stores._file_copies import without_shared
from convtree.stores._reading_logs import LogContents, reading

Statement = tuple[str, Any]

_BATCH_BYTES = 2**24  # of the logs in one batch

_REMEMBER = """
INSERT OR REPLACE INTO ct_files VALUES (:id, :size, :mtime_ns, :inode, :records, :last_id, :code, :shared,
  (SELECT generation + 1 FROM ct_state))
"""


class SeenLog(NamedTuple):
    """How far a log was read: the number of records, the id of the last one, the code of the first serious finding."""

    records: int
    last_id: str | None
    code: str | None


class WholeLog(NamedTuple):
    """What a log that was read from its first record on adds to the tables: SQL text with one row or a list of rows."""

    statements: list[Statement]
    seen: SeenLog


class _Statements:
    """Keeps statements that add a session to tables that do not have it. Returns the row that `ADVANCE` would."""

    def __init__(self) -> None:
        self.kept: list[Statement] = []
        self._copying_to: str | None = None

    def __call__(self, sql: str, values: Any = ()) -> list[Any]:
        # A process sends what is kept here to another one: values alone are half as much.
        self.kept.append((sql, line_values(values) if sql == tables.ADD_LINES else values))
        if sql == tables.ADD_SESSION:
            self._copying_to = values["copying_to"]
        elif sql == tables.END_COPYING:
            self._copying_to = None
        elif sql == tables.ADVANCE:
            self.kept[-1] = tables.ADVANCE_UNANSWERED, values
            return [(0, None, self._copying_to, 0, 0)]
        return []


def ingest(
    execute: Execute, id: str, found: LogContents, start: int, shared: int
) -> Iterator[Sequence[tuple[int, Entry | Mark]]]:
    """Adds the records from number `start` to the tables, and yields each batch. The first `shared` have no usage."""
    for batch in batched(found.records(start)):
        if not start:  # a log with a header only is no session yet
            tables.add_session(execute, id, found.header)
            start = 1
        summaries = [summarise_record(record) for _, record in batch]
        ((_, _, copying_to, *_),) = execute(tables.ADVANCE, tables.update_session_row(id, summaries, len(batch), 0))
        numbers = [number for number, _ in batch]
        numbered = zip(numbers, summaries, strict=True)
        tables.add_lines(execute, [tables.line_of(id, number, each, None) for number, each in numbered])
        tables.add_usage(execute, id, without_shared(numbers, summaries, shared), copying_to)
        apply_marks(execute, id, numbers, summaries)
        yield batch


def read_whole(open_log: Callable[[str], Log], id: str) -> WholeLog | None:
    """Reads a log that the tables do not have; None if that fails: then `CatalogueSync` finds out why."""
    statements = _Statements()
    records, count, last_id = 0, 0, None
    with suppress(ConvtreeError, OSError), reading(open_log(id)) as found:
        for numbered in ingest(statements, id, found, 0, 0):
            count += len(numbered)
            records, last_id = numbered[-1][0] + 1, numbered[-1][1].id
        return WholeLog(statements.kept, SeenLog(records, last_id, found.code_of(found.size - count)))
    return None


def batches_of(ids: Sequence[str], stamps: Mapping[str, LogStamp], most: int) -> list[list[str]]:
    """Returns the ids of logs in batches for one transaction each, of at most so many logs, and of bounded size."""
    batches: list[list[str]] = []
    size = 0
    for id in ids:
        size += stamps[id][0]
        if not batches or size > _BATCH_BYTES or len(batches[-1]) == most:
            batches.append([])
            size = stamps[id][0]
        batches[-1].append(id)
    return batches


def remember(execute: Execute, id: str, stamp: LogStamp, seen: SeenLog, shared: int) -> None:
    """Notes how far a log was read."""
    execute(_REMEMBER, _row(id, stamp, seen, shared))


def add_new(execute: Execute, logs: Mapping[str, WholeLog], stamps: Mapping[str, LogStamp]) -> list[str]:
    """Adds logs that were read elsewhere, except for those that the tables have by now. Returns their ids."""
    marks, values = one_of(list(logs))
    there = {id for (id,) in execute(f"SELECT session_id FROM ct_files WHERE session_id IN ({marks})", values)}
    new = [id for id in logs if id not in there]
    _add_all(execute, [logs[id].statements for id in new])
    execute(_REMEMBER, [_row(id, stamps[id], logs[id].seen, 0) for id in new])
    return new


def _row(id: str, stamp: LogStamp, seen: SeenLog, shared: int) -> dict[str, Any]:
    size, mtime_ns, inode = stamp
    row: dict[str, Any] = {"id": id, "size": size, "mtime_ns": mtime_ns, "inode": inode, "shared": shared}
    return row | seen._asdict()


def _add_all(execute: Execute, logs: Sequence[Sequence[Statement]]) -> None:
    """Runs the statements of several logs. The same statement of different logs runs once, for all their rows.

    The statements of one log run in their order, and those of two logs do not depend on each other.
    """
    for some in zip_longest(*logs):
        rows: dict[str, list[Any]] = {}
        for sql, values in filter(None, some):
            rows.setdefault(sql, []).extend(values if isinstance(values, list) else (values,))
        for sql, each in rows.items():
            execute(sql, each)
