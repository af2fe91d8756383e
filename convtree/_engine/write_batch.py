"""From what a caller says to lines of a log. Pure: drafts are made outside the lock, lines are planned inside it.

A draft is checked and encoded once. The plan finds its place: an id that is stored already is a retry and writes
nothing, every parent and every kept entry must be above, and only then does a line exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from convtree._engine import codec
from convtree._engine.log_index import Index
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    LabelMark,
    LeafMark,
    Mark,
    MessageEntry,
    Record,
    Visibility,
)
from convtree._model.errors import EntryNotFound, IdConflict, InvalidCompaction, InvalidMessage
from convtree._model.messages import role_of

_PINNED_ROLES = frozenset({"system", "developer"})


@runtime_checkable
class SDKObject(Protocol):
    """An object of a provider's SDK: a pydantic model."""

    def model_dump(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns the object as plain values."""
        ...


class EncodedRecord(NamedTuple):
    """A record on its way into a log: checked, its fields encoded, its place not yet known."""

    record: Record
    fields: bytes


def encode_record(record: Record) -> EncodedRecord:
    """Checks and encodes a record.

    Raises:
        InvalidMessage: a value cannot be stored; the error names the place.
    """
    if record.id != "":
        codec.check_id(record.id, "id")
    return EncodedRecord(record, codec.encode_fields(record))


def message_entry(
    item: Mapping[str, Any] | SDKObject,
    *,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Any = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
) -> MessageEntry:
    """Makes an entry of a message. Of an SDK's object it keeps what may be sent back to its provider.

    Args:
        item: a message, or an object of a provider's SDK.
        id: the entry's id; None leaves it empty, for the write batch to fill in.
        provider: the provider that made the message.
        model: the model that made it; None: as the SDK's object says.
        usage: the tokens it took; None: as the SDK's object says.
        shape: the provider format of the message; None: as the SDK's object says.
        visible_to: who sees the message.
        pinned: whether it survives compactions; None: as its role says.

    Raises:
        TypeError: `item` is not a message; the text says what to pass instead.
    """
    message: Mapping[str, Any]
    if isinstance(item, Mapping):
        message = item
    elif isinstance(item, SDKObject) and not isinstance(item, type):
        message, known = _from_sdk(item)
        model = known.get("model") if model is None else model
        usage = known.get("usage") if usage is None else usage
        shape = known.get("shape") if shape is None else shape
    else:
        raise TypeError(f"append takes a message or an entry, not {type(item).__name__}{_hint(item)}")
    if pinned is None:
        pinned = role_of(message) in _PINNED_ROLES
    return MessageEntry(
        id=id or "",
        message=message if isinstance(message, dict) else dict(message),
        provider=provider,
        model=model,
        usage=usage,
        shape=shape,
        visible_to=visible_to,
        pinned=pinned or None,
    )


def _hint(item: Any) -> str:
    if isinstance(item, list | tuple):
        return ": use append_many for several"
    return ': use {"role": …, "content": …}' if isinstance(item, str) else ""


def _from_sdk(item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the part of an SDK's object that may be sent back, and the fields of an entry that it states."""
    if isinstance(choices := getattr(item, "choices", None), list) and choices:
        facts = {"model": item.model, "usage": item.usage, "shape": "openai-chat"}
        return codec.jsonable(choices[0].message), facts
    if isinstance(getattr(item, "output", None), list) and getattr(item, "object", None) == "response":
        raise TypeError("a Response holds several items: use append_many(r.output, model=r.model, usage=r.usage)")
    if isinstance(candidates := getattr(item, "candidates", None), list) and candidates:
        facts = {"model": item.model_version, "usage": item.usage_metadata, "shape": "gemini"}
        return codec.jsonable(candidates[0].content), facts
    dumped = codec.jsonable(item)
    if dumped.get("type") == "message" and "stop_reason" in dumped and hasattr(item, "usage"):
        message = {"role": dumped["role"], "content": dumped["content"]}
        return message, {"model": dumped["model"], "usage": item.usage, "shape": "anthropic"}
    return dumped, {}


class WriteBatch:
    """Lines to be written behind everything in `index`, one after the other, under the lock.

    `stored` has an entry or mark for every draft, in order: the one just planned, or the one found in the log.
    """

    def __init__(self, index: Index, new_id: Callable[[], str]) -> None:
        self._index = index
        self._new_id = new_id
        self._parents: dict[str, str | None] = {}  # of the entries planned
        self._marks: set[str] = set()  # ids of the marks planned
        self.crc = index.last_crc  # of the last line
        self.lines: list[bytes] = []
        self.added: list[Entry | Mark] = []
        self.stored: list[Entry | Mark] = []

    def begin(self, header_payload: bytes) -> None:
        """Plans the header of a log that has no line yet."""
        line, self.crc = codec.close(header_payload, self.crc)
        self.lines.append(line)

    def find_stored(self, drafts: Iterable[EncodedRecord]) -> int:
        """Takes the leading drafts whose ids are stored already; returns how many that are.

        Raises:
            IdConflict: an id is stored with other content.
        """
        count = 0
        for each in drafts:
            if not each.record.id or not self._match_stored(each):
                break
            count += 1
        return count

    def add_chain(self, drafts: Sequence[EncodedRecord], parent_id: str | None, timestamp: str) -> None:
        """Plans entries as a chain below `parent_id`, stamping what they lack."""
        for each in drafts:
            if not each.record.id or not self._match_stored(each):
                self._add(each, parent_id, timestamp)
            parent_id = self.stored[-1].id

    def add_imported(self, each: EncodedRecord) -> None:
        """Plans a record that brings its own id, parent and time; a stored one is passed over."""
        if not each.record.id or not self._match_stored(each):
            self._add(each, getattr(each.record, "parent_id", None), each.record.timestamp)

    def mark(self, each: EncodedRecord, timestamp: str) -> None:
        """Plans a mark."""
        self._add(each, None, timestamp)

    def row_of(self, id: str) -> int:
        """Returns the row of an entry in the log.

        Raises:
            EntryNotFound: there is none.
        """
        if id == self._index.leaf.id:
            return self._index.leaf.row
        row = self._index.node(id) if isinstance(id, str) else None
        if row is None:
            raise EntryNotFound(f"no entry {_shown(id)} in this log", id=id)
        return row

    def _match_stored(self, each: EncodedRecord) -> bool:
        id = each.record.id
        row = self._index.tree.find(id)
        if row is None:
            if id in self._parents or id in self._marks:
                raise IdConflict(f"the id {_shown(id)} is given twice", id=id)
            return False
        body, line = codec.assemble(each.record, each.fields, id, None, None), self._index.line(row)
        try:
            stored = codec.decode(line) if codec.same_content(body, line) else None
        except codec.DECODE_ERRORS:
            stored = None  # only its id could be read
        if stored is None:
            raise IdConflict(f"the id {_shown(id)} is taken by a record with other content", id=id)
        self.stored.append(stored)
        return True

    def _add(self, each: EncodedRecord, parent_id: str | None, timestamp: str | None) -> None:
        record = each.record
        self._check(record, parent_id)
        id = record.id or self._fresh_id()
        body = codec.assemble(record, each.fields, id, parent_id, timestamp)
        try:
            stored = codec.decode_as(record.type, body + b"}")
        except msgspec.ValidationError as error:
            raise InvalidMessage(f"{record.type}: {error}", place=record.type) from None
        line, self.crc = codec.close(body, self.crc)
        self.lines.append(line)
        if isinstance(stored, Entry):
            self._parents[id] = parent_id
        else:
            self._marks.add(id)
        self.added.append(stored)
        self.stored.append(stored)

    def _check(self, record: Record, parent_id: str | None) -> None:
        """Makes sure that what a record refers to is above it."""
        if isinstance(record, Entry):
            if parent_id is not None and parent_id != self._index.leaf.id:
                self._check_above(parent_id)
            if isinstance(record, MessageEntry):
                return
            if isinstance(record, CompactionEntry) and record.first_kept_entry_id is not None:
                self._check_kept(record.first_kept_entry_id, parent_id)
            elif isinstance(record, BranchSummaryEntry) and record.from_id is not None:
                codec.check_id(record.from_id, "from_id")
        elif isinstance(record, LeafMark | LabelMark) and record.target_id is not None:
            self._check_above(record.target_id)

    def _check_above(self, id: str) -> None:
        if id not in self._parents:
            self.row_of(id)

    def _check_kept(self, kept_id: str, parent_id: str | None) -> None:
        while parent_id is not None and parent_id != kept_id and parent_id in self._parents:
            parent_id = self._parents[parent_id]
        if parent_id == kept_id:
            return
        row = self._index.node(kept_id) if isinstance(kept_id, str) else None
        if row is None or parent_id is None or not self._index.tree.is_ancestor(row, self.row_of(parent_id)):
            raise InvalidCompaction(
                f"first_kept_entry_id {_shown(kept_id)} is not on the path that the compaction continues; "
                "take an id from path()"
            )

    def _fresh_id(self) -> str:
        find = self._index.tree.ids.find
        while True:
            id = self._new_id()
            if id not in self._parents and id not in self._marks and find(id) is None:
                return id


def reseal(header_payload: bytes, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the lines of a log that is made of these bodies."""
    prev = 0
    for body in chain((header_payload,), bodies):
        line, prev = codec.close(body, prev)
        yield line


def _shown(id: Any) -> str:
    return repr(id)[:140] if isinstance(id, str) else type(id).__name__
