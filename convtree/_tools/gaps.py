"""Reads a damaged conversation as far as it can be read, with its gaps in their places. Changes nothing.

A damaged line may still say which entry it was and where it stood. `repair --rejoin` puts a lost entry there; here that
is done to a copy in memory. So the conversation above the damage stays within reach. Where an entry names a parent of
which nothing is left, the copy has a lost entry with that id and no parent, so every link leads to an entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from msgspec import UNSET

from convtree._engine import codec, tree
from convtree._engine.context import Context
from convtree._engine.diff import BranchDelta, Diff, side_of
from convtree._engine.envelope import Envelope, OpaqueEnvelope
from convtree._engine.leaf import LEAF
from convtree._engine.log import Addition
from convtree._engine.outline import Outline
from convtree._engine.write_batch import reseal
from convtree._formats.common.base import Exported
from convtree._formats.common.gaps import Gap, Gaps, Unplaced, count_missing, gaps_in, words_at
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Entry, Finding, Header, LostEntry, Mark
from convtree._model.errors import BrokenPath, EntryNotFound
from convtree._model.findings import LOST
from convtree._session.repairing import RepairPlan, plan_repair
from convtree._session.session import Session

VERIFY_ADVICE = "; run verify on the log"  # the end of a message about damage

#: the findings that entries or marks are missing, cannot be read, or are ignored
_MISSING = frozenset(
    {"line_too_long", "bad_seal", "bad_line", "nul_bytes", "prev_mismatch", "id_conflict", "bad_body", "orphan"}
    | {"lost_entry", LOST, "wrong_end"}
)


class MendedSession:
    """A session with its gaps, for export writers and drawings. Paths and contexts lead through the gaps.

    Attributes:
        session: the session, or a copy in memory in which damaged lines have their places.
        findings: the damage of the log as it is.
        gaps: what is missing.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.findings, placed = session, session.findings, list[Finding]()
        unplaced: dict[str, Unplaced] = {}
        if is_damaged(session):
            plan = repair_of(session)
            placed = [*plan.repair.rejoined, *plan.repair.recovered]
            if placed or any(finding.code == "orphan" for finding in self.findings):
                self.session, unplaced = _copy(session, plan)
        self.gaps: Gaps = gaps_in(self.findings, placed)._replace(unplaced=unplaced)

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


def whole_or_mended(session: Session, allow_gaps: bool) -> Exported:
    """Returns a session to show with every branch: with its gaps in their places, or as it is.

    Raises:
        BrokenPath: a line is damaged or missing, and gaps are not allowed.
    """
    if allow_gaps:
        return MendedSession(session)
    check_whole(session)
    return session


def is_damaged(session: Session) -> bool:
    """Returns whether lines of a log are damaged or missing."""
    return any(finding.severity == "error" for finding in session.findings)


def missing_lines(session: Session) -> Finding | None:
    """Returns the first finding that says that lines of a log are missing or cannot be read, its header apart."""
    return next((finding for finding in session.findings if finding.code in _MISSING), None)


def number_missing(session: Session) -> int:
    """Returns how many entries and marks of a log cannot be read, as far as it was read."""
    gaps = gaps_in(session.findings)
    return len(gaps.lost) + len(gaps.loose)


def check_whole(session: Session) -> None:
    """Checks that nothing is missing from a log, on any branch.

    Raises:
        BrokenPath: lines are damaged or missing.
    """
    damage = missing_lines(session)
    if damage is not None:
        said = count_missing(MendedSession(session).gaps) or f"line {damage.line:,} is damaged"
        raise BrokenPath(f"{session.location}: {said}{VERIFY_ADVICE}", missing=None, offset=damage.offset)


def repair_of(session: Session) -> RepairPlan:
    """Returns what a repair that keeps the places of damaged lines would do. Changes nothing."""
    return plan_repair(session._journal.log, session.location, rejoin=True)


def _copy(session: Session, plan: RepairPlan) -> tuple[Session, dict[str, Unplaced]]:
    """Returns a session in memory with the lines of a repaired log, and the parents that were put in front of orphans.

    A parent that comes later in the log is none of them: it is there.
    """
    lines = list(plan.lines(session.id))
    if plan.repair.leaf_uncertain:
        lines.pop()  # the mark that would make the leaf uncertain here, too
    header, *bodies = map(codec.payload_of, lines)
    payloads, unplaced = _with_parents(bodies)
    log, sealed = MemoryLog(), list(reseal(header, payloads))
    log.append(0, lambda _lines: Addition(sealed, 0))
    return Session(log, session.header, read_only=True, id=session.id), unplaced


def _with_parents(bodies: list[bytes]) -> tuple[list[bytes], dict[str, Unplaced]]:
    """Returns the payloads of a log with a lost entry in front of each orphan, and what is known of those entries.

    Inside a group, they stand in front of its mark, which counts the lines behind it.
    """
    envelopes = [_envelope(body) for body in bodies]
    known = {envelope.id for envelope in envelopes if envelope is not None}
    payloads, unplaced = list[bytes](), dict[str, Unplaced]()
    entries = at = grouped = 0
    for body, envelope in zip(bodies, envelopes, strict=True):
        at = at if grouped else len(payloads)
        grouped = max(grouped - 1, 0) or codec.group_count(body + b"}") or 0
        parent_id = UNSET if envelope is None else envelope.parent_id
        if envelope is not None and isinstance(parent_id, str) and parent_id not in known:
            known.add(parent_id)
            unplaced[parent_id] = Unplaced(envelope.id, entries)
            payloads.insert(at, codec.encode(LostEntry(id=parent_id, parent_id=None)))
            at += 1
        payloads.append(body)
        entries += parent_id is not UNSET
    return payloads, unplaced


def _envelope(body: bytes) -> Envelope | OpaqueEnvelope | None:
    """Returns the envelope of a record; None for a second header."""
    try:
        return codec.read_envelope(body + b"}")
    except codec.DECODE_ERRORS:
        return None


def _row(outline: Outline, entry_id: str | None) -> int:
    row = tree.ROOT if entry_id is None else outline.row(entry_id)
    if row is None:
        raise EntryNotFound(f"no entry {entry_id!r}", id=entry_id)
    return row
