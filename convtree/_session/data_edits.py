"""The lines of a log with other extension data, or without some of it. Pure.

Extension data is never part of a context, so all contexts stay. Every other record keeps its bytes, but for references
to what is gone: what was below a dropped entry is below the one above that, and the leaf moves up likewise. The new log
is read and compared with the old one before anybody writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from convtree._engine import codec
from convtree._engine.log_index import Index
from convtree._engine.write_batch import fresh_id, reseal
from convtree._model.batches import batched
from convtree._model.entries import (
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    Header,
    LabelMark,
    LeafMark,
    Mark,
)
from convtree._model.errors import CorruptLog, EntryNotFound
from convtree._model.sources import Clock, IdSource, timestamp
from convtree._session.vacuuming import check_can_vacuum, context_at


class Edits(NamedTuple):
    """What to do with extension data.

    Attributes:
        change: new data, by the ids of entries.
        drop: the ids of entries that go.
    """

    change: Mapping[str, Any]
    drop: frozenset[str]


def edited(index: Index, edits: Edits, location: str, clock: Clock, id_source: IdSource) -> list[bytes] | None:
    """Returns the lines of a log with edits applied; None if there are none.

    Raises:
        EntryNotFound: there is no such entry.
        ValueError: it is no extension data; or it must stay, because it has a usage or a compaction refers to it.
        InvalidMessage: data cannot be stored.
        SessionHeld, CorruptLog, ReadOnlySession: as for a vacuum.
    """
    check_can_vacuum(index, location)
    _check(index, edits, location)
    if not edits.change and not edits.drop:
        return None
    writer = _Writer(index, edits, location)
    bodies = list(writer.bodies())
    leaf = writer.moved(index.state.leaf.id)
    if writer.leaf != leaf:
        mark = LeafMark(id=fresh_id(index, id_source), timestamp=timestamp(clock), target_id=leaf)
        bodies.append(codec.encode(mark))
    return list(reseal(writer.header(), bodies))


def check_same_but_data(old: Index, new: Index, edits: Edits, location: str) -> None:
    """Compares the new log with the old one: the header, what stays, in its order, and the context at the leaf.

    Raises:
        CorruptLog: the new log is not sound, or something else differs.
    """
    moved = _Writer(old, edits, location)
    expected = [moved.record(each) for each in moved.records() if not moved.goes(each)]
    there = _Writer(new, Edits(edits.change, frozenset()), location)
    found = [there.record(each) for each in there.records()]
    found, added = found[: len(expected)], found[len(expected) :]
    wrong = [finding.code for finding in new.state.findings if finding.severity != "info"]
    wrong += ["header"] * (_without_copied(old) != _without_copied(new))
    wrong += ["records"] * (
        found != expected or len(added) > 1 or any(not isinstance(each, LeafMark) for each in added)
    )
    wrong += ["leaf"] * (new.state.leaf.id != moved.moved(old.state.leaf.id))
    wrong += ["context"] * (not wrong and context_at(old, old.state.leaf.id) != context_at(new, new.state.leaf.id))
    if wrong:
        raise CorruptLog(
            f"{location}: the log with other data would be another one ({wrong[0]}); nothing was changed",
            findings=tuple(new.state.findings),
        )


def _without_copied(index: Index) -> Header | None:
    return None if index.header is None else msgspec.structs.replace(index.header, copied_to=None)


def _check(index: Index, edits: Edits, location: str) -> None:
    for id in (*edits.change, *edits.drop):
        row = index.node(id) if isinstance(id, str) else None
        if row is None:
            raise EntryNotFound(f"{location}: no entry {str(id)[:140]!r}; nothing was changed", id=id)
        entry = index.entries([row])[0]
        if not isinstance(entry, ExtensionDataEntry):
            raise ValueError(f"{location}: {id!r} is a {entry.type}; edit_data changes extension data only")
        if id in edits.drop and entry.usage is not None:
            raise ValueError(f"{location}: {id!r} has a usage, which would be lost; change its data instead")
        if id in edits.drop and id in edits.change:
            raise ValueError(f"{location}: {id!r} is to be changed and to be dropped; choose one")


class _Writer:
    """Makes the payloads of the new log. `leaf` is where they leave the leaf, once they are made."""

    def __init__(self, index: Index, edits: Edits, location: str) -> None:
        self._index, self._edits, self._location = index, edits, location
        self._above: dict[str, str | None] = {}  # the entries that go: what stays above them
        for record in self.records() if edits.drop else ():
            if record.id in edits.drop and isinstance(record, Entry):
                self._above[record.id] = self.moved(record.parent_id)
        self.leaf: str | None = None

    def records(self) -> Iterator[Entry | Mark]:
        """Yields the records of the old log."""
        for rows in batched(range(len(self._index.tree))):
            yield from self._index.records(rows)

    def moved(self, id: str | None) -> str | None:
        """Returns what stays at or above an entry."""
        return None if id is None else self._above.get(id, id)

    def goes(self, record: Entry | Mark) -> bool:
        """Returns whether a record is not in the new log: dropped entries, and labels on them."""
        return record.id in self._above or (isinstance(record, LabelMark) and record.target_id in self._above)

    def record(self, record: Entry | Mark) -> Entry | Mark:
        """Returns a record as it must be in the new log, without data that is to be another one."""
        if isinstance(record, LeafMark):
            return msgspec.structs.replace(record, target_id=self.moved(record.target_id))
        if not isinstance(record, Entry):
            return record
        record = msgspec.structs.replace(record, parent_id=self.moved(record.parent_id))
        return msgspec.structs.replace(record, data=None) if record.id in self._edits.change else record

    def bodies(self) -> Iterator[bytes]:
        """Yields the payloads of the records that stay."""
        for rows in batched(range(len(self._index.tree))):
            for record, payload in zip(self._index.records(rows), self._index.payloads(rows), strict=True):
                if self.goes(record):
                    continue
                if isinstance(record, Entry):
                    self.leaf = record.id
                elif isinstance(record, LeafMark):
                    self.leaf = self.moved(record.target_id)
                yield self._body(record, payload)

    def _body(self, record: Entry | Mark, payload: bytes) -> bytes:
        if isinstance(record, LeafMark) and record.target_id in self._above:
            return codec.with_fields(payload, target_id=self.moved(record.target_id))
        if not isinstance(record, Entry):
            return payload
        if isinstance(record, CompactionEntry) and record.first_kept_entry_id in self._above:
            kept = record.first_kept_entry_id
            raise ValueError(f"{self._location}: the compaction {record.id!r} refers to {kept!r}, which so must stay")
        changed: dict[str, Any] = {}
        if (parent_id := self.moved(record.parent_id)) != record.parent_id:
            changed["parent_id"] = parent_id
        if record.id in self._edits.change:
            changed["data"] = self._edits.change[record.id]
            codec.encode_fields(msgspec.structs.replace(record, data=changed["data"]))  # checks it
        return codec.with_fields(payload, **changed) if changed else payload

    def header(self) -> bytes:
        """Returns the payload of the header. It names the last entry that was copied and is still there."""
        header, payload = self._index.header, self._index.header_payload
        assert header is not None
        assert payload is not None
        if header.copied_to not in self._above:
            return payload
        last: str | None = None
        for record in self.records():
            if isinstance(record, Entry) and record.id not in self._above:
                last = record.id
            if record.id == header.copied_to:
                break
        return codec.with_fields(payload, copied_to=UNSET if last is None else last)
