"""Reads a damaged conversation as far as it can be read, with its gaps in their places. Changes nothing.

A damaged line may still say which entry it was and where it stood. `repair --rejoin` puts a lost entry there; here that
is done to a copy in memory. So the conversation above the damage stays within reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from convtree._engine import tree
from convtree._engine.context import Context
from convtree._engine.diff import BranchDelta, Diff, side_of
from convtree._engine.leaf import LEAF
from convtree._engine.log import Addition
from convtree._engine.outline import Outline
from convtree._formats.common.gaps import Gap, Gaps, gaps_in, words_at
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Entry, Finding, Header, LostEntry, Mark
from convtree._model.errors import EntryNotFound
from convtree._session.repairing import RepairPlan, plan_repair
from convtree._session.session import Session


class MendedSession:
    """A session with its gaps, for export writers and drawings. Paths and contexts lead through the gaps.

    Attributes:
        session: the session, or a copy in memory in which damaged lines have their places.
        findings: the damage of the log as it is.
        gaps: what is missing.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.findings, placed = session, session.findings, list[Finding]()
        if is_damaged(session):
            plan = repair_of(session)
            placed = [*plan.repair.rejoined, *plan.repair.recovered]
            if placed:
                self.session = _copy(session, plan)
        self.gaps: Gaps = gaps_in(self.findings, placed)

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def name(self) -> str | None:
        """The session's name."""
        return self.session.name

    @property
    def leaf_id(self) -> str | None:
        """The leaf: the last one that is known, if damage may have hidden a move of it."""
        return self.session.leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """Labels by entry id."""
        return self.session.labels

    @property
    def header(self) -> Header:
        """The header of the log."""
        return self.session.header

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields row numbers and records, in the order of the log."""
        return self.session.records(start)

    def outline(self) -> Outline:
        """Returns the shape of the tree."""
        return self.session.outline()

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns the context at an entry. Its `gaps` say what is missing."""
        return self.session.build_context(leaf=LEAF if leaf == self.leaf_id else leaf, allow_gaps=True)

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries down to this one, with a gap wherever one is missing."""
        outline = self.outline()
        return self._entries(outline, outline.tree.path(_row(outline, entry_id)))

    def diff(self, a: str, b: str | None) -> Diff:
        """Compares two branches as `Session.diff` does, with a gap wherever an entry is missing. None is the leaf."""
        outline = self.outline()
        rows = [_row(outline, a), outline.leaf if b is None else _row(outline, b)]
        shared = outline.tree.common_ancestor(*rows)
        sides = [self._side(outline, row, shared) for row in rows]
        ids = [entry.id for entry in outline.entries([shared] if shared >= 0 else []) if entry is not None]
        return Diff(ancestor_id=next(iter(ids), None), a=sides[0], b=sides[1])

    def _side(self, outline: Outline, row: int, shared: int) -> BranchDelta:
        rows = list(takewhile(lambda above: above != shared, outline.tree.walk_up(row)))[::-1]
        namer = outline.tree.nearest(outline.tree.models, shared)
        named = outline.entries([namer])[0] if namer != tree.NONE else None
        entries = self._entries(outline, rows)
        return side_of(entries[-1].id if entries else None, entries, named)

    def _entries(self, outline: Outline, rows: list[int]) -> list[Entry]:
        found: list[Entry] = []
        for row, entry in zip(rows, outline.entries(rows), strict=True):
            if entry is None:
                found.append(Gap(words=words_at([])))
                continue
            if outline.tree.parents[row] == tree.MISSING:
                found.append(Gap(id=entry.parent_id or "", words=self.gaps.above(entry.id)))
            is_lost = isinstance(entry, LostEntry)
            found.append(
                Gap(id=entry.id, parent_id=entry.parent_id, words=self.gaps.at(entry.id)) if is_lost else entry
            )
        return found


def is_damaged(session: Session) -> bool:
    """Returns whether lines of a log are damaged or missing."""
    return any(finding.severity == "error" for finding in session.findings)


def number_missing(session: Session) -> int:
    """Returns how many entries and marks of a log cannot be read, as far as it was read."""
    gaps = gaps_in(session.findings)
    return len(gaps.lost) + len(gaps.loose)


def repair_of(session: Session) -> RepairPlan:
    """Returns what a repair that keeps the places of damaged lines would do. Changes nothing."""
    return plan_repair(session._journal.log, session.location, rejoin=True)


def _copy(session: Session, plan: RepairPlan) -> Session:
    """Returns a session in memory with the lines of a repaired log."""
    lines = list(plan.lines(session.id))
    if plan.repair.leaf_uncertain:
        lines.pop()  # the mark that would make the leaf uncertain here, too
    log = MemoryLog()
    log.append(0, lambda _lines: Addition(lines, 0))
    return Session(log, session.header, read_only=True, id=session.id)


def _row(outline: Outline, entry_id: str | None) -> int:
    row = tree.ROOT if entry_id is None else outline.row(entry_id)
    if row is None:
        raise EntryNotFound(f"no entry {entry_id!r}", id=entry_id)
    return row
