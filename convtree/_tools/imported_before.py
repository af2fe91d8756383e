"""What a log has from earlier imports of a source: what was said here since, and what the source has lost since.

A source may shrink: tools delete what is old, and files are cut off. The log keeps everything; here it is only noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from convtree._engine import tree
from convtree._formats.common.base import origin
from convtree._model.batches import batched
from convtree._model.entries import Entry, Header, MessageEntry, Record
from convtree._session.session import Session
from convtree._session.view import SessionView

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


class LastWords:
    """Finds out whether a session was continued here since an earlier import. The next one leaves its leaf alone then.

    What the log says may leave that in doubt. The source settles it, once there is something new in it.
    """

    def __init__(self, session: Session, read_again: Callable[[], Iterable[Record]]) -> None:
        last = session._client.ask(SessionView.last_said)
        self._session = session
        self._read_again = read_again  # reads the whole source
        self._in_doubt = last.id if last is not None and is_said_here(last, session.header) else None
        self._are_own = False

    def are_own(self, ids: Sequence[str]) -> bool:
        """Returns whether the session was continued here, for an import that adds records with these ids next."""
        if self._in_doubt in ids:
            self._in_doubt = None
        elif self._in_doubt is not None and not self._session._client.ask(SessionView.has_all, ids):
            self._are_own = all(record.id != self._in_doubt for record in self._read_again())
            self._in_doubt = None
        return self._are_own


class StoredMessages:
    """The messages that a log has when an import begins; notes which of them the source has."""

    def __init__(self, view: SessionView) -> None:
        self._index = view.index
        self._in_source = bytearray(len(view.index.tree))  # by row

    def note(self, view: SessionView, ids: Sequence[str], moved: Mapping[str, str]) -> None:
        """Notes records of the source, and the ids that some of them got because theirs belong to other content."""
        if not self._in_source or view.index is not self._index:
            return
        noted = {id: _OTHER if id in moved else _SAME for id in ids} | {moved[id]: _SAME for id in ids if id in moved}
        for id, (row, _) in view.index.lines_with(noted).items():
            if row < len(self._in_source):
                self._in_source[row] |= noted[id]

    def has_left(self, view: SessionView) -> bool:
        """Returns whether an import had put the leaf below a version of a record that the source does not have now."""
        last, row = view.last_said(), view.row_said_last()
        if view.index is not self._index or last is None or is_said_here(last, view.header):
            return False
        while 0 <= row < len(self._in_source) and not self._in_source[row] & _SAME:
            if self._in_source[row]:
                return True
            for each in view.index.readable_records([row]):
                other = view.index.tree.find(each.source_id) if isinstance(each, Entry) and each.source_id else None
                if other is not None and self._in_source[other] & _SAME:
                    return True
            row = view.index.tree.parents[row]
        return False

    def missing(self, view: SessionView) -> list[str]:
        """Returns the ids of the messages that the source does not have any more.

        None of them if the log was replaced meanwhile: its rows are others then.
        """
        if view.index is not self._index or self._in_source.count(0) == 0:
            return []
        kinds = view.index.tree.kinds
        rows = [row for row, seen in enumerate(self._in_source) if not seen and kinds[row] & tree.KIND == tree.MESSAGE]
        return [
            each.id
            for batch in batched(rows)
            for each in view.index.readable_records(batch)
            if isinstance(each, MessageEntry) and not is_said_here(each, view.header)
        ]
