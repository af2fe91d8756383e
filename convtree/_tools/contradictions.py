"""Records of a source that contradict what was imported of it before.

A tool may change a message that it has written. What was imported stays as it is. The changed record becomes a sibling
of it, with an id derived from its content, and the records below it in the source are copied below the sibling. The
same source gives the same ids again. Usage that did not change is not counted again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from convtree._engine import codec
from convtree._engine.write_batch import EncodedRecord, encode_imported
from convtree._formats.common.base import NO_PLACE, Findings
from convtree._formats.common.ids import derive_id
from convtree._model.entries import Entry, LeafMark, Mark, Record
from convtree._model.errors import IdConflict
from convtree._session.session import Session
from convtree._session.view import SessionView
from convtree._tools.imported_before import StoredMessages

_REFERENCES = ("parent_id", "replaces", "reply_to", "first_kept_entry_id", "from_id", "target_id")
_REDACTED = b"[REDACTED:"


class Extending:
    """Adds the records of a source to a session. Remembers which of them got another id, and reports changes once."""

    def __init__(self, session: Session, findings: Findings) -> None:
        self._session = session
        self._findings = findings
        self.moved: dict[str, str] = {}  # id in the source -> id that the record got
        self._has_written = False
        self._leaf: str | None = None  # where the source goes on

    def add(self, batch: list[Record], *, move_leaf: bool) -> int:
        """Adds records; returns how many were written.

        Raises:
            IdConflict: A record would now be stored with secrets that were removed from the stored one, or the reverse.
            As `Session.extend`.
        """
        with suppress(IdConflict):  # then nothing of the batch was written
            if not self.moved and not self._session._client.ask(_has_moved, batch):
                return self._extend(batch, move_leaf)
        return self._extend([self._placed(record) for record in batch], move_leaf)

    def move_leaf(self, stored: StoredMessages) -> int:
        """Moves the leaf to where the source goes on, if that was stored before; returns how many records it wrote.

        It stays where somebody has put it, if nothing was added and the source still leads there.
        """
        if self._leaf is None or self._leaf == self._session.leaf_id:
            return 0
        if not self._has_written and not self._session._client.ask(stored.has_left):
            return 0
        rows = self._session._client.ask(_row_count)  # the leaf may have been there before: each time is another mark
        id = derive_id("leaf", self._leaf, self._session.leaf_id, rows)
        return self._session.extend([LeafMark(id=id, target_id=self._leaf)])

    def _extend(self, records: list[Record], move_leaf: bool) -> int:
        written = self._session.extend(records, move_leaf=move_leaf)
        self._has_written |= written > 0
        ends = (each for each in reversed(records) if isinstance(each, Entry | LeafMark))
        if (end := next(ends, None)) is not None:
            self._leaf = end.target_id if isinstance(end, LeafMark) else end.id
        return written

    def _leaf_id(self, *parts: str | None) -> str:
        """Returns an id for a mark of the leaf, derived from the last record that got another id."""
        return derive_id(*parts, next(reversed(self.moved.values())))

    def _placed(self, record: Record) -> Record:
        """Returns a record that refers to what others became, with another id if its own stands for other content."""
        new = {name: self.moved[id] for name in _REFERENCES if (id := getattr(record, name, None)) in self.moved}
        followed = replace(record, **new)
        if isinstance(followed, LeafMark) and self.moved:  # the stored one may have the same id and another target
            return replace(followed, id=self._leaf_id(record.id, followed.target_id))
        line = self._session._client.ask(_line_of, record.id)
        if line is None:
            return followed
        encoded = encode_imported(self._session._client.without_secrets(followed))
        if line.count(_REDACTED) != encoded.fields.count(_REDACTED):
            return followed  # another redaction, not another content
        stored = codec.decode(line)
        is_same = codec.same_content(codec.assemble(*encoded, record.id, None, None), line)
        is_there = not self._session._client.ask(_has_moved, [followed])
        return followed if is_same and is_there else self._sibling(encoded, stored, is_same)

    def _sibling(self, encoded: EncodedRecord, stored: Entry | Mark, is_same: bool) -> Record:
        """Returns a record with an id that is derived from its content and its parent."""
        record, fields = encoded
        id = derive_id(record.id, getattr(record, "parent_id", None), fields.decode())
        changed: dict[str, Any] = {"id": id}
        if isinstance(record, Entry):
            self.moved[record.id] = id
            changed["source_id"] = record.source_id or record.id
            if not is_same:
                self._findings.add_once(None, "source_contradicted", NO_PLACE, id)
        if (usage := getattr(record, "usage", None)) is not None and usage == getattr(stored, "usage", None):
            changed["usage"] = None
        return replace(record, **changed)


def _has_moved(view: SessionView, records: list[Record]) -> bool:
    """Returns whether one of these records is stored below another entry. A parent that was dropped is no other."""
    entries = [record for record in records if isinstance(record, Entry)]
    found = view.index.lines_with({id for each in entries for id in (each.id, each.parent_id) if id is not None})
    for entry in entries:
        parent_id = entry.parent_id
        if entry.id not in found or parent_id is None or entry.id in view.index.state.lost:
            continue
        above = found[parent_id][0] if parent_id in found else None
        if view.index.tree.parents[found[entry.id][0]] != above and not view.index.was_dropped(parent_id):
            return True
    return False


def _row_count(view: SessionView) -> int:
    return len(view.index.tree)


def _line_of(view: SessionView, id: str) -> bytes | None:
    """Returns the line of a record; None if the log has none, or has lost it."""
    row = view.index.tree.find(id)
    return None if row is None or id in view.index.state.lost else view.index.line(row)
