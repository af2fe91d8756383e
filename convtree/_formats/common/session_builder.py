"""Builds the records of a session from the nodes of a source. Pure.

A format reads its file as nodes, in the order of the file, and makes an entry of each. Here the nodes are put parents
first; marks follow the entries, last a mark of the leaf if it is not the last entry.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.checked import checked
from convtree._formats.common.ids import Ids
from convtree._formats.common.parents_first import Node, link, parents_first
from convtree._formats.common.truncate import truncate_to_limit
from convtree._formats.common.unsaid import with_unsaid
from convtree._formats.common.values import utc
from convtree._model.entries import (
    ID,
    LABEL_LIMIT,
    Entry,
    ExtensionDataEntry,
    LabelMark,
    LeafMark,
    Record,
    SessionInfoMark,
)


class _Bookmark(NamedTuple):
    """A mark that is written after all entries, because its target may come later in the file."""

    mark: LabelMark | SessionInfoMark
    span: SourceSpan


class Ancestry:
    """The tree of the entries made so far. Each has a row, larger than its parent's row."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._parents = array("q")

    def __contains__(self, id: object) -> bool:
        return id in self._rows

    def row(self, id: str | None) -> int:
        """Returns the row of an entry, -1 if it is unknown."""
        return -1 if id is None else self._rows.get(id, -1)

    def add(self, id: str, parent_id: str | None) -> int:
        """Adds an entry whose parent was added, or that is a root; returns its row."""
        self._rows[id] = len(self._parents)
        self._parents.append(self.row(parent_id))
        return self._rows[id]

    def is_above(self, id: str, below: str | None) -> bool:
        """Returns whether an entry is an ancestor of another, or the same."""
        wanted, row = self.row(id), self.row(below)
        while row > wanted:
            row = self._parents[row]
        return row == wanted != -1

    def beside(self, id: str, below: str | None) -> list[int]:
        """Returns the rows from `id` on that are not on the path between `id` and `below`."""
        first, row = self.row(id), self.row(below)
        path = set[int]()
        while row >= first:
            path.add(row)
            row = self._parents[row]
        return [row for row in range(first, len(self._parents)) if row not in path]

    def last_below(self, id: str) -> str | None:
        """Returns the entry added last among an entry and its descendants."""
        top = self.row(id)
        below = {top}
        for row in range(top + 1, len(self._parents)):
            if self._parents[row] in below:
                below.add(row)
        last = max(below)
        return next((id for id, row in self._rows.items() if row == last), None)


class SessionBuilder:
    """Collects the records of one session.

    The format sets `leaf` while it reads: the node that its tool would continue, None before there is one.
    """

    def __init__(self, ids: Ids, findings: Findings) -> None:
        self.ids = ids
        self.findings = findings
        self.made = Ancestry()
        self.leaf: Node | None = None
        self._bookmarks: list[_Bookmark] = []

    def records(self, nodes: Iterator[Node], make: Callable[[Node], Entry]) -> Iterator[Record]:
        """Yields the session's records: entries parents first, then marks in the order of the file."""
        last_id = None
        for node in parents_first(nodes, self.findings):
            entry = make(node)
            if entry.timestamp is None and (time := node.fields.get("timestamp")):  # it is no time
                (entry,) = with_unsaid(self.ids.format, [entry], {"timestamp": time})
            self.made.add(entry.id, entry.parent_id)
            last_id = entry.id
            yield checked(entry, node.span, self.findings)
        for mark, span in self._bookmarks:
            if isinstance(mark, LabelMark) and mark.target_id not in self.made:
                self.findings.add("source_bad_target", span, mark.id)
            else:
                yield truncate_to_limit(mark, span, self.findings)
        if self.leaf is not None and last_id is not None and self.leaf.id != last_id:
            id, time = self.ids.derive(self.leaf.id, last_id, "leaf"), utc(self.leaf.fields.get("timestamp"))
            yield LeafMark(id=id, timestamp=time, target_id=self.leaf.id)

    def link(
        self, fields: dict[str, Any], span: SourceSpan, source_id: str | None, parent: str | None, ordinal: int
    ) -> Node:
        """Makes a node of the `ordinal`-th record from its source id and its parent's. A repeated id is reported."""
        parent_id = None if parent is None else self.ids.refer(parent)
        return link(self.ids, self.findings, fields, span, source_id, ordinal, parent_id)

    def left(self, source_id: str | None) -> str | None:
        """Returns the id of the leaf that a branch summary was made for; it may be missing in the source."""
        if source_id is None:
            return None
        return self.ids.known(source_id) or (source_id if ID.fullmatch(source_id) else None)

    def label(self, node: Node, ordinal: int, target: str, label: str | None) -> None:
        """Adds a mark that sets the label of an entry, or removes it (None)."""
        if label is not None and len(label) > LABEL_LIMIT:
            label = label[:LABEL_LIMIT]
            self.findings.add("value_replaced", node.span, node.id)
        id, time = self.ids.derive(ordinal, "label"), utc(node.fields.get("timestamp"))
        mark = LabelMark(id=id, timestamp=time, target_id=self.ids.refer(target), label=label)
        self._bookmarks.append(_Bookmark(mark, node.span))

    def set_info(self, node: Node, ordinal: int, **info: Any) -> None:
        """Adds a mark that sets the name or metadata of the session."""
        id, time = self.ids.derive(ordinal, "session_info"), utc(node.fields.get("timestamp"))
        mark = SessionInfoMark(id=id, timestamp=time, **info)
        self._bookmarks.append(_Bookmark(mark, node.span))


def extension_data(format: str, kind: Any, data: dict[str, Any], envelope: dict[str, Any]) -> ExtensionDataEntry:
    """Makes an extension data entry of a record without a counterpart, of the type `<format>.<its type>`."""
    if not isinstance(kind, str):
        kind, data = "unknown", data | ({"type": kind} if kind is not None else {})
    return ExtensionDataEntry(ext_type=f"{format}.{kind}", data=data, **envelope)


def envelope_of(node: Node) -> dict[str, Any]:
    """Returns the fields that an entry takes from its node."""
    return {
        "id": node.id,
        "parent_id": node.parent_id,
        "timestamp": utc(node.fields.get("timestamp")),
        "source_id": node.source_id,
    }
