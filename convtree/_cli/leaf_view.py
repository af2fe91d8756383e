"""A session as `inspect` shows it: its tree, seen from one leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from convtree._catalogue.types import SessionInfo
from convtree._cli.terminal import Signs
from convtree._engine import tree
from convtree._engine.context import Context
from convtree._engine.outline import Outline
from convtree._formats.common.gaps import gaps_in
from convtree._model.entries import Entry, Finding, MessageEntry, ModelChangeEntry, VacuumEntry
from convtree._model.errors import LeafUncertain
from convtree._session.session import Session
from convtree._tools.gaps import MendedSession
from convtree.exchange import ImportReport

_SAMPLE = 250


class SubAgent(NamedTuple):
    """The session of a sub-agent, the entry at which it began, and what it is about."""

    id: str
    entry_id: str | None
    name: str | None
    title: str | None
    first_user_message: str | None


def sub_agents(children: Iterable[SessionInfo]) -> list[SubAgent]:
    """Returns the sub-agents among the children of a session."""
    found = ((info, info.parent_session) for info in children)
    return [
        SubAgent(info.id, parent.entry_id, info.name, info.title, info.first_user_message)
        for info, parent in found
        if parent is not None and parent.kind == "task"
    ]


class LeafView:
    """A session seen from one leaf.

    Args:
        session: The session to show.
        leaf_id: The leaf, as `resolve` takes it; None is the session's own.
        location: The path or URL for messages.
        size_bytes: The size of the file; None if the session is not a file.
        source: The report of reading another tool's session; None for a log.

    Attributes:
        tasks: Its sub-agents; None if the session is not one of a store.
        allows_gaps: Whether paths and contexts lead through what is missing.
    """

    tasks: Sequence[SubAgent] | None = None
    allows_gaps = False

    def __init__(
        self,
        session: Session,
        leaf_id: str | None,
        location: str,
        size_bytes: int | None = None,
        source: ImportReport | None = None,
    ) -> None:
        leaf_id = None if leaf_id is None else session.resolve(leaf_id)
        self.location = location.encode(errors="backslashreplace").decode()
        self.size_bytes = size_bytes
        self.note = f"{source.format} session, shown as convtree would import it" if source else None
        self.findings: tuple[Finding, ...] = session.findings + (source.findings if source else ())
        self.gaps = gaps_in(session.findings)
        self.unreadable = 0  # entries that `entries` could not read so far
        self._look_at(session, leaf_id)
        self.is_certain = self.outline.certain or leaf_id is not None

    def _look_at(self, session: Session, leaf_id: str | None) -> None:
        self.session = session
        self.outline: Outline = session.outline()
        self.leaf_id = session.leaf_id if leaf_id is None else leaf_id
        row = self.outline.leaf if leaf_id is None else self.outline.row(leaf_id)
        assert row is not None  # `resolve` has found it
        self.leaf: int = row
        self.active = frozenset(self.outline.tree.walk_up(self.leaf))

    def allow_gaps(self) -> None:
        """Shows the session as far as it can be read. Damaged lines that still say their places are gaps in the tree.

        What was damaged stays in `findings`.
        """
        mended = MendedSession(self.session)
        self.allows_gaps, self.gaps = True, mended.gaps
        self._look_at(mended.session, self.leaf_id if self.leaf_id != self.session.leaf_id else None)

    def entries(self, rows: Iterable[int]) -> list[Entry | None]:
        """Reads entries. None stands for one that cannot be read; `unreadable` counts those."""
        entries = self.outline.entries(list(rows))
        self.unreadable += entries.count(None)
        return entries

    def path(self) -> list[int]:
        """Returns the rows from the root to the leaf.

        Raises:
            LeafUncertain: damage may have hidden a move of the leaf.
            BrokenPath: an entry on the way has no parent.
        """
        self.check_certain()
        columns = self.outline.tree
        rows = columns.path(self.leaf)
        if not self.allows_gaps and columns.nearest(columns.faults, self.leaf) != tree.NONE:
            self.session.path(self.leaf_id)  # raises BrokenPath if an entry is missing or lost
        return rows

    def check_certain(self) -> None:
        """Checks that the leaf is known.

        Raises:
            LeafUncertain: damage may have hidden a move of the leaf.
        """
        if not self.is_certain and not self.allows_gaps:
            raise LeafUncertain(f"{self.location}: {self.doubt}")

    @property
    def doubt(self) -> str:
        """Why the leaf is uncertain."""
        return "damage may have hidden a move of the leaf; choose one with --leaf ID"

    def sign(self, row: int, signs: Signs) -> str:
        """Returns the sign of an entry: it is the leaf, on the path to it, or on another branch."""
        if row not in self.active:
            return signs.off_path
        return signs.leaf if row == self.leaf else signs.on_path

    def gaps_in(self, context: Context) -> dict[int, list[str]]:
        """Returns the words for what is missing from a context, by the number of the message that follows."""
        columns = self.outline.tree
        rows = [self.outline.row(entry.id) for entry in context.entries]
        offsets = [-1 if row is None else columns.offsets[row] for row in rows]
        missing = {gap.offset for gap in context.gaps}
        found: dict[int, list[str]] = {}
        for row in columns.path(self.leaf):
            if columns.offsets[row] not in missing:
                continue
            entry = self.outline.entries([row])[0]
            is_orphan = columns.parents[row] == tree.MISSING
            words = self.gap_above(row) if is_orphan else self.gap_at(row, entry)
            following = (at for at, offset in enumerate(offsets) if offset >= columns.offsets[row])
            found.setdefault(next(following, len(offsets)), []).append(words)
        return found

    def gap_at(self, row: int, entry: Entry | None) -> str:
        """Returns the words for an entry that is lost, or that cannot be read."""
        return self.gaps.in_row(self.outline, row, entry)

    def gap_above(self, row: int) -> str:
        """Returns the words for what is missing above an entry without its parent."""
        return self.gaps.above_row(self.outline, row)

    @cached_property
    def labels(self) -> dict[int, str]:
        """The labels by row."""
        rows = ((self.outline.row(id), text) for id, text in self.session.labels.items())
        return {row: text for row, text in rows if row is not None}

    @cached_property
    def counts(self) -> dict[str, int]:
        """The numbers of entries, messages, branches and compactions."""
        kinds = Counter(kind & tree.KIND for kind in self.outline.tree.kinds)
        return {
            "entries": kinds.total() - kinds[tree.MARK],
            "messages": kinds[tree.MESSAGE],
            "branches": sum(not run.children for run in self.outline.runs),
            "compactions": kinds[tree.COMPACTION],
        }

    @cached_property
    def sample(self) -> list[Entry]:
        """Some entries, to decide about the columns of a drawing: the first and the last ones."""
        rows = [row for row in range(len(self.outline.tree)) if self.outline.tree.is_node(row)]
        rows = rows if len(rows) <= 2 * _SAMPLE else rows[:_SAMPLE] + rows[-_SAMPLE:]
        return [entry for entry in self.outline.entries(rows) if entry is not None]

    @cached_property
    def model(self) -> tuple[str | None, str | None]:
        """The provider and the model at the leaf."""
        columns = self.outline.tree
        row = columns.nearest(columns.models, self.leaf)
        entry = self.outline.entries([row])[0] if row != tree.NONE else None
        if isinstance(entry, MessageEntry | ModelChangeEntry | VacuumEntry):
            return entry.provider, entry.model
        return None, None

    @property
    def is_sound(self) -> bool:
        """Whether no problem was found; a finding of severity `info` is not one."""
        return self.is_certain and not self.unreadable and all(each.severity == "info" for each in self.findings)
