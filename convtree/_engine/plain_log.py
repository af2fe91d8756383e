"""A small log as it nearly always is, read at once: without an index, so opening it costs little more than its lines.

A catalogue and a search read thousands of logs once each. A log is *plain* if a scan of it finds nothing to report and
every record can be read: each line verifies and continues the one before, each record is of a type that this version
knows, and what it names is in the log. Of any other log nothing is said here: an `Index` says what is wrong with it.

The law: what this returns is what `Index.scan` makes of the same lines (see `tests/test_plain_log.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec import UNSET

from convtree._engine import bulk, codec
from convtree._engine.envelope import has_unknown_needs
from convtree._engine.groups import is_whole
from convtree._engine.log import Log, LogReplaced
from convtree._model.entries import (
    GROUP,
    VERSION,
    Entry,
    Header,
    LabelMark,
    LeafMark,
    Mark,
    SessionInfoMark,
    VisibilityMark,
)

LIMIT = 2**20  # bytes; a larger log may have a snapshot of its index, or is worth one
#: not a lost entry, which is damage, and not a vacuum entry, which changes what other lines mean
_ENTRIES = frozenset({"message", "compaction", "branch_summary", "model_change", "extension_data"})
_HIDEABLE = ("message", "branch_summary")


class PlainLog(NamedTuple):
    """The header of a log and its records, in log order. The number of a record is its place."""

    header: Header
    records: list[Entry | Mark]

    def numbered(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields the records from number `start` on, with their numbers."""
        return enumerate(islice(self.records, start, None), start)

    @property
    def name(self) -> str | None:
        """The session's name."""
        names = (each.name for each in reversed(self.records) if isinstance(each, SessionInfoMark))
        return next((name for name in names if name is not UNSET), self.header.name)

    def path(self) -> set[str]:
        """Returns the ids of the entries on the path to the leaf."""
        parents: dict[str | None, str | None] = {}
        leaf: str | None = None
        for each in self.records:
            if isinstance(each, Entry):
                parents[each.id] = each.parent_id
                leaf = each.id
            elif isinstance(each, LeafMark):
                leaf = each.target_id
        found = set[str]()
        while leaf is not None:  # ends: a parent is before its child
            found.add(leaf)
            leaf = parents[leaf]
        return found


def read_plain_log(log: Log) -> PlainLog | None:
    """Reads a log from its beginning; None unless it is plain and small.

    Raises:
        As `Log.read`, except for LogReplaced.
    """
    if log.snapshot() is not None:  # it may know of lines that the log has lost
        return None
    lines: list[bytes] = []
    try:
        for chunk in log.read():
            if chunk.fault is not None or chunk.end > LIMIT:
                return None
            lines += chunk.lines
    except LogReplaced:
        return None
    return plain_log_of(lines)


def plain_log_of(lines: Sequence[bytes]) -> PlainLog | None:
    """Returns what the lines of a log say; None unless it is plain."""
    good, _ = bulk.verify_chain(lines, 0)
    if not lines or good < len(lines):
        return None
    try:
        header = codec.decode_header(lines[0])
        if header is None or has_unknown_needs(header.needs) or header.version > VERSION:
            return None
        records = _records_in(lines[1:])
    except codec.DECODE_ERRORS:
        return None
    return None if records is None else PlainLog(header, records)


def _records_in(lines: Sequence[bytes]) -> list[Entry | Mark] | None:
    """Returns the records on the lines behind the header; None unless they are plain.

    Raises:
        ValueError: a line is not a record (one of `codec.DECODE_ERRORS`).
    """
    records: list[Entry | Mark] = []
    types: dict[str | None, str] = {}  # of all records, by id
    group_end = 0
    decode_message = codec.decoder("message")
    for number, (line, read) in enumerate(zip(lines, bulk.read_entry_envelopes(lines), strict=True)):
        envelope = read or codec.read_envelope(line)
        id, kind = envelope.id, envelope.type
        if id in types or not envelope.known:
            return None
        if kind == GROUP:
            count = codec.group_count(line)
            if count is None or number < group_end or not is_whole(count, lines, number + 1):
                return None
            group_end = number + 1 + count
            continue
        if kind in _ENTRIES:
            parent_id = envelope.parent_id
            if parent_id is not None and types.get(str(parent_id)) not in _ENTRIES:
                return None
            records.append(decode_message(line) if kind == "message" else codec.decode_as(kind, line))
        else:
            record = codec.decode_as(kind, line)
            if not _has_target(record, types):
                return None
            records.append(record)
        types[id] = kind
    return records


def _has_target(record: Entry | Mark, types: dict[str | None, str]) -> bool:
    """Returns whether a record is a mark, and what it is about is in the log before it."""
    match record:
        case LeafMark(target_id=target):
            return target is None or types.get(target) in _ENTRIES
        case LabelMark(target_id=target):
            return types.get(target) in _ENTRIES
        case VisibilityMark(target_id=target):
            return types.get(target) in _HIDEABLE
    return isinstance(record, SessionInfoMark)
