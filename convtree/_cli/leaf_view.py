"""What `inspect` looks at: a session, its tree, and the leaf it is looked at from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property

from convtree._engine import tree
from convtree._engine.outline import Outline
from convtree._model.entries import Entry, Finding, MessageEntry, ModelChangeEntry
from convtree._model.errors import EntryNotFound, LeafUncertain
from convtree._session.session import Session
from convtree.exchange import ImportReport


class LeafView:
    """A session from one leaf: `leaf_id` None is the session's own.

    `location` says where it is, for messages, `size_bytes` how large it is there, where that is a file; `source` says
    how it was read, if it is another tool's.
    """

    def __init__(
        self,
        session: Session,
        leaf_id: str | None,
        location: str,
        size_bytes: int | None = None,
        source: ImportReport | None = None,
    ) -> None:
        self.session = session
        self.outline: Outline = session.outline()
        self.location = location.encode(errors="backslashreplace").decode()
        self.size_bytes = size_bytes
        self.note = f"{source.format} session, shown as convtree would import it" if source else None
        self.findings: tuple[Finding, ...] = session.findings + (source.findings if source else ())
        self.unreadable = 0  # entries that were to be shown and could not be read
        self.is_certain = self.outline.certain or leaf_id is not None
        self.leaf_id = session.leaf_id if leaf_id is None else leaf_id
        self.leaf = self.outline.leaf if leaf_id is None else self._row(leaf_id)
        self.active = frozenset(self.outline.tree.walk_up(self.leaf))

    def entries(self, rows: Iterable[int]) -> list[Entry | None]:
        """Reads entries; None stands for one that cannot be read."""
        entries = self.outline.entries(list(rows))
        self.unreadable += entries.count(None)
        return entries

    def path(self) -> list[int]:
        """Returns the rows from the first entry to the leaf.

        Raises:
            LeafUncertain: nobody can say which path.
            BrokenPath: an entry above has no parent.
        """
        self.check_certain()
        rows = self.outline.tree.path(self.leaf)
        if rows and self.outline.tree.parents[rows[0]] == tree.MISSING:
            self.session.path(self.leaf_id)  # says which
        return rows

    def check_certain(self) -> None:
        """Makes sure that there is a leaf to look from.

        Raises:
            LeafUncertain: there is none.
        """
        if not self.is_certain:
            raise LeafUncertain(f"{self.location}: {self.doubt}")

    @property
    def doubt(self) -> str:
        """Why nothing can be said about the leaf."""
        return "damage lies behind the line that set the leaf; choose one with --leaf"

    @cached_property
    def labels(self) -> dict[int, str]:
        """The bookmarks by row."""
        rows = ((self.outline.row(id), text) for id, text in self.session.labels.items())
        return {row: text for row, text in rows if row is not None}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many entries of which kind there are, and how many branches."""
        kinds = Counter(kind & tree.KIND for kind in self.outline.tree.kinds)
        return {
            "entries": kinds.total() - kinds[tree.MARK],
            "messages": kinds[tree.MESSAGE],
            "branches": sum(not run.children for run in self.outline.runs),
            "compactions": kinds[tree.COMPACTION],
        }

    @cached_property
    def model(self) -> tuple[str | None, str | None]:
        """The provider and the model at the leaf."""
        columns = self.outline.tree
        row = columns.nearest(columns.models, self.leaf)
        namer = self.outline.entries([row])[0] if row != tree.NONE else None
        return (namer.provider, namer.model) if isinstance(namer, MessageEntry | ModelChangeEntry) else (None, None)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found that is more than a remark."""
        return self.is_certain and not self.unreadable and all(each.severity == "info" for each in self.findings)

    def _row(self, leaf_id: str) -> int:
        row = self.outline.row(leaf_id)
        if row is None:
            raise EntryNotFound(
                f"{self.location}: no entry {leaf_id!r}; `convtree inspect --full` shows the ids", id=leaf_id
            )
        return row
