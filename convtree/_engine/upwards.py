"""A path from its end: the entries from one up to the first, of one type or of all, as far as they are asked for. Pure.

Rows come from the columns of the tree, lines are read in batches that grow. So the first entries cost what they are,
not what lies above them. Compactions and extension data have links in the tree; other types are found by walking over
the columns of the rows in between, whose lines are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import TypeVar

from convtree._engine import tree
from convtree._engine.line_reader import LineReader
from convtree._model.batches import BATCH, growing
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    VacuumEntry,
)
from convtree._model.errors import BrokenPath

E = TypeVar("E", bound=Entry)

_SCANNED = 1024  # rows whose kinds are looked up together

#: the kinds of rows that have entries of a class; a vacuum entry that does not begin its log counts as opaque
_KINDS: dict[type[Entry], frozenset[int]] = {
    MessageEntry: frozenset({tree.MESSAGE}),
    CompactionEntry: frozenset({tree.COMPACTION}),
    BranchSummaryEntry: frozenset({tree.BRANCH_SUMMARY}),
    ModelChangeEntry: frozenset({tree.MODEL_CHANGE}),
    ExtensionDataEntry: frozenset({tree.EXTENSION_DATA}),
    LostEntry: frozenset({tree.LOST}),
    VacuumEntry: frozenset({tree.VACUUM, tree.OPAQUE}),
    OpaqueEntry: frozenset({tree.OPAQUE}),
}


def check_entry_class(name: str, cls: type[Entry]) -> None:
    """Raises TypeError unless an argument is `Entry` or one of the classes of entries."""
    if not isinstance(cls, type) or (cls is not Entry and cls not in _KINDS):
        classes: tuple[type[Entry], ...] = (Entry, *_KINDS)
        known = ", ".join(each.__name__ for each in classes)
        given = cls.__name__ if isinstance(cls, type) else f"a {type(cls).__name__}"
        raise TypeError(f"{name} is a class of entries, not {given}; expected one of {known}")


def entries_up(
    reader: LineReader, row: int, cls: type[E], first_batch: int = 1, *, above: bool = False
) -> Iterator[tuple[int, E]]:
    """Yields the entries at and above a row that are of a class, each with its row, last first.

    `first_batch` entries are read together at first. With `above`, the entry in the row itself is passed over.

    Raises:
        BrokenPath: behind the entries below it: an entry is lost, a parent is missing, or a line was damaged.
    """
    end = break_above(reader, row)
    start = reader.tree.parents[row] if above else row
    for rows in growing(_rows_up(reader.tree, start, end, cls, first_batch), first_batch, max(first_batch, BATCH)):
        for each, entry in zip(rows, _entries(reader, rows), strict=True):
            if isinstance(entry, cls):
                yield each, entry
    if end != tree.NONE:
        raise broken_at(reader, end)


def break_above(reader: LineReader, row: int) -> int:
    """Returns the nearest row at or above a row that is lost, or has no parent in the log; NONE if there is none."""
    columns = reader.tree
    while (row := columns.nearest(columns.faults, row)) != tree.NONE:
        if columns.kinds[row] & tree.KIND == tree.LOST or columns.parents[row] == tree.MISSING:
            break
        row = columns.parents[row]  # a critical entry
    return row


def broken_at(reader: LineReader, row: int) -> BrokenPath:
    """Makes the error that says why no path leads through a row, or above it."""
    if reader.tree.kinds[row] & tree.KIND == tree.LOST:
        return reader.lost(row)
    missing = reader.entries([row])[0].parent_id
    return reader.broken(row, f"has the parent {missing!r}, which is missing", missing)


def _rows_up(columns: tree.Tree, row: int, end: int, cls: type[Entry], first: int) -> Iterator[int]:
    """Returns the rows at and above a row that may be of a class, last first, without a lost one and what is above.

    The kinds of `first` rows are looked up together at first.
    """
    kinds = _KINDS.get(cls)
    linked = {CompactionEntry: columns.compactions, ExtensionDataEntry: columns.extension_data}.get(cls)
    walk = columns.walk_up(row) if linked is None else columns.linked_up(linked, row)
    if end != tree.NONE and columns.kinds[end] & tree.KIND == tree.LOST:
        walk = takewhile(lambda each: each > end, walk)
    return walk if kinds is None else _of_kinds(columns, walk, kinds, min(first, _SCANNED))


def _of_kinds(columns: tree.Tree, walk: Iterator[int], kinds: frozenset[int], first: int) -> Iterator[int]:
    for rows in growing(walk, first, _SCANNED):
        for row, kind in zip(rows, columns.kinds.take(rows), strict=True):
            if kind & tree.KIND in kinds:
                yield row


def _entries(reader: LineReader, rows: list[int]) -> Iterable[Entry]:
    """Returns the entries in some rows of a walk. If one is damaged, those before it come before the error.

    A log reads lines that follow each other at once, so they are asked for in its order, the opposite one.
    """
    try:
        found = reader.entries(rows[::-1])
    except BrokenPath:
        return (reader.entries([row])[0] for row in rows)
    found.reverse()
    return found
