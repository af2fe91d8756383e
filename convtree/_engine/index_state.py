"""The state of a scan: everything an index knows besides its columns, in one value. Pure.

A snapshot of an index is this value and the columns, nothing else. Values that follow from the header line, and values
that a scan remembers for speed only, are not here: `Index` recomputes them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from convtree._engine import tree
from convtree._model.entries import Finding, Header, SessionInfoMark, Visibility, VisibilityMark


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """Where the conversation stands; `row` ROOT and `id` None are the place before the first entry."""

    row: int
    id: str | None


NO_LEAF = Leaf(tree.ROOT, None)

VisibilityHistory = list[tuple[int, Visibility]]
PinHistory = list[tuple[int, bool]]
"""The values that marks gave a target, in log order, each with the row of its mark."""


class IndexState(msgspec.Struct):
    """The results of scanning the lines so far. Every change to it comes from a line, in log order."""

    leaf: Leaf = NO_LEAF
    leaf_uncertain_because: Finding | None = None  # damage behind the line that set the leaf
    labels: dict[str, str] = msgspec.field(default_factory=dict)  # by entry id
    visible_to: dict[int, VisibilityHistory] = msgspec.field(default_factory=dict)  # by the row of the target
    pinned: dict[int, PinHistory] = msgspec.field(default_factory=dict)  # by the row of the target
    damaged_mark: Finding | None = None  # a damaged line that looks like a visibility mark: no context is certain
    name: str | None = None
    archived: bool = False
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    cwd: str | None = None
    git_root: str | None = None
    hold: bool = False
    findings: list[Finding] = msgspec.field(default_factory=list)
    reported_once: set[str] = msgspec.field(default_factory=set)  # codes of findings that are made once for a log
    lost: dict[str, int] = msgspec.field(default_factory=dict)  # rows of the lost entries, by id
    restored: dict[int, int] = msgspec.field(default_factory=dict)  # rows that were lost: where their lost entries are
    vacuumed: bool = False  # row 0 is a vacuum entry in effect
    read_only: str | None = None  # why nothing may be written
    critical_mark: str | None = None  # the type of a mark that forbids every context
    header_end: int = 0  # the position behind the header
    end: int = 0  # the position behind the last line
    last_crc: int = 0  # of the last line as it stands: the next line's prev
    last_damaged: bool = False  # then the next line's prev says nothing
    lines: int = 0  # lines seen, the header and damaged ones included

    def apply_header(self, header: Header, end: int) -> None:
        """Takes name, metadata and directories from the header, which ends at the position `end`."""
        self.header_end = end
        self.name = header.name
        self.metadata = dict(header.metadata or {})
        self.cwd = header.cwd
        self.git_root = header.git_root

    def apply_info(self, mark: SessionInfoMark) -> None:
        """Changes name, archive flag, metadata, directories and hold as a mark says."""
        if mark.name is not UNSET:
            self.name = mark.name
        if mark.archived is not UNSET:
            self.archived = bool(mark.archived)
        if mark.cwd is not UNSET:
            self.cwd = mark.cwd
        if mark.git_root is not UNSET:
            self.git_root = mark.git_root
        if mark.hold is not UNSET:
            self.hold = bool(mark.hold)
        if mark.metadata is None:
            self.metadata = {}
        elif mark.metadata is not UNSET:
            merged = self.metadata | mark.metadata
            self.metadata = {key: value for key, value in merged.items() if value is not None}

    def apply_visibility(self, mark: VisibilityMark, row: int, target: int) -> None:
        """Adds what a mark in the row `row` says about a target to the history of the target."""
        if mark.visible_to is not UNSET:
            self.visible_to.setdefault(target, []).append((row, mark.visible_to))
        if mark.pinned is not UNSET:
            self.pinned.setdefault(target, []).append((row, mark.pinned))

    def changed_visibility(self) -> dict[int, tuple[Visibility | None, bool | None]]:
        """Returns by row who sees an entry, and whether it is pinned, where marks changed that."""
        views = {row: history[-1][1] for row, history in self.visible_to.items()}
        pins = {row: history[-1][1] for row, history in self.pinned.items()}
        return {row: (views.get(row), pins.get(row)) for row in (*views, *pins)}

    def lasting(self) -> IndexState:
        """Returns the state that will still be true when the log has grown: without a torn tail."""
        findings = [finding for finding in self.findings if finding.code != "torn_tail"]
        return msgspec.structs.replace(self, findings=findings)
