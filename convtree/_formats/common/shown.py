"""The entries of a session as a model sees them at its leaf, for tools that know no visibility marks.

Other tools store who sees a message with the message, or not at all. So marks, replacements and the pairing of hidden
calls and results are applied to the entries themselves before they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from convtree._formats.common.base import Exported
from convtree._formats.common.export import FOREIGN, as_data
from convtree._model.entries import (
    HIDDEN_FROM_MODEL,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
)
from convtree._model.errors import BrokenPath


class ShownEntries:
    """The entries of a session, in the order of its log. Every iteration reads them afresh.

    Marks count on every branch. A replaced message is hidden if the path to the leaf has its replacement.

    Raises:
        BrokenPath: a damaged line was a visibility mark: it is not certain what it hid.
        UnknownEntry: the context at the leaf depends on a critical record of an unknown type.
    """

    def __init__(self, session: Exported) -> None:
        self._session = session
        self._changed = session.outline().visibility
        self._replaced: set[str] = set()  # ids of messages that a message on the path to the leaf replaces
        self._left_out: set[str] = set()  # ids of messages with results of hidden calls only
        self._messages: dict[str, Any] = {}  # by entry id, where the context has another one than the log
        self._look_at_leaf()

    def _look_at_leaf(self) -> None:
        session = self._session
        try:
            path = session.path(session.leaf_id)
        except BrokenPath:
            return  # what can be read is written
        try:
            context = session.build_context(leaf=session.leaf_id)
        except BrokenPath as error:
            if error.missing is None:
                raise
            return
        shown = dict(zip((entry.id for entry in context.entries), context.messages, strict=True))
        above: dict[str, int] = {}
        start = 0  # of the kept range
        for number, entry in enumerate(path):
            if isinstance(entry, MessageEntry) and entry.replaces in above:
                self._replaced.add(entry.replaces)
            above[entry.id] = number
            if isinstance(entry, CompactionEntry):
                start = above.get(entry.first_kept_entry_id or "", number)
        for number, entry in enumerate(path):
            if isinstance(entry, MessageEntry):
                if entry.id not in shown and number >= start:
                    self._left_out.add(entry.id)
                elif shown.get(entry.id, entry.message) != entry.message:
                    self._messages[entry.id] = shown[entry.id]

    def __iter__(self) -> Iterator[Entry]:
        return (self._as_shown(row, record) for row, record in self._session.records() if isinstance(record, Entry))

    def context_at(self, entry: CompactionEntry) -> list[Entry]:
        """Returns the entries of the context at a compaction, itself included; only itself if the path is broken."""
        try:
            found = self._session.build_context(leaf=entry.id).entries
        except BrokenPath:
            return [entry]
        return [each for each in found if each.id not in self._replaced]

    def _as_shown(self, row: int, entry: Entry) -> Entry:
        visible_to, _ = self._changed.get(row, (None, None))
        if isinstance(entry, BranchSummaryEntry) and visible_to in HIDDEN_FROM_MODEL:
            place: dict[str, Any] = {"id": entry.id, "parent_id": entry.parent_id, "timestamp": entry.timestamp}
            return ExtensionDataEntry(**place, ext_type=FOREIGN + entry.type, data=as_data(entry))
        if not isinstance(entry, MessageEntry):
            return entry
        if entry.id in self._messages:  # also a hidden result that answers a shown call
            return msgspec.structs.replace(entry, message=self._messages[entry.id], visible_to="all")
        visible_to = visible_to or entry.visible_to
        if (entry.id in self._replaced or entry.id in self._left_out) and visible_to not in HIDDEN_FROM_MODEL:
            visible_to = "user"
        return entry if visible_to == entry.visible_to else msgspec.structs.replace(entry, visible_to=visible_to)
