"""What a log has of a source from earlier imports, and what of it the source does not have any more. Pure.

A source may shrink: tools delete what is old, and files are cut off. The log keeps everything; here it is only seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convtree._engine import tree
from convtree._formats.common.base import origin
from convtree._model.batches import batched
from convtree._model.entries import Entry, Finding, Header, MessageEntry
from convtree._model.findings import FINDING_CODES
from convtree._session.view import SessionView

SHRUNK = "source_shrunk"
_SAME, _OTHER = 1, 2  # the source has a record; it has the id of one, with other content


def is_said_here(entry: Entry, header: Header) -> bool:
    """Returns whether an entry of an imported session was appended here, and not brought by an import.

    An append sets the time, and neither an id of a source nor a shape of its format. An imported entry may look the
    same, for not every one has an id of its source beside its own. In a store, the arrival of the session decides: what
    is older than the first import came with one. What is left in doubt counts as said here.
    """
    if entry.source_id is not None or entry.timestamp is None:
        return False
    if isinstance(entry, MessageEntry) and (entry.shape or "").startswith(f"{origin(header).get('format')}."):
        return False
    return header.arrived is None or entry.timestamp >= header.arrived


class StoredMessages:
    """The messages that a log has when an import begins; notes which of them the source has."""

    def __init__(self, view: SessionView) -> None:
        self._index = view.index
        self._in_source = bytearray(len(view.index.tree))  # by row

    def note(self, view: SessionView, ids: Sequence[str], moved: Mapping[str, str]) -> None:
        """Notes records of the source, and the ids that some of them got because theirs belong to other content."""
        if not self._in_source or view.index is not self._index:
            return
        noted = [(id, _OTHER if id in moved else _SAME) for id in ids]
        noted += [(moved[id], _SAME) for id in ids if id in moved]
        for row, (_, what) in zip(view.index.find_all([id for id, _ in noted]), noted, strict=True):
            if row is not None and row < len(self._in_source):
                self._in_source[row] |= what

    def has_left(self, view: SessionView, end: str) -> bool:
        """Returns whether the leaf is where the source does not lead any more: not in it, and not below its end."""
        columns, row = view.index.tree, view.row_said_last()
        if view.index is not self._index or not 0 <= row < len(self._in_source) or self._in_source[row] & _SAME:
            return False
        end_row = columns.find(end)
        return end_row is not None and not columns.is_ancestor(end_row, row)

    def missing(self, view: SessionView) -> Finding | None:
        """Returns a finding about the messages that the source does not have any more; None if there are none.

        None, too, if the log was replaced meanwhile: its rows are others then.
        """
        if view.index is not self._index or self._in_source.count(0) == 0:
            return None
        kinds = view.index.tree.kinds
        rows = [row for row, seen in enumerate(self._in_source) if not seen and kinds[row] & tree.KIND == tree.MESSAGE]
        ids = []
        for batch in batched(rows):
            messages = view.index.readable_records(batch)
            ids += [
                each.id for each in messages if isinstance(each, MessageEntry) and not is_said_here(each, view.header)
            ]
        if not ids:
            return None
        severity = FINDING_CODES[SHRUNK][0]
        return Finding(code=SHRUNK, severity=severity, line=0, offset=0, length=0, entry_id=ids[0], times=len(ids))
