"""The queries of a session: a view of an index at a leaf. Pure.

A view takes no lock and writes nothing. A session makes a fresh one under its lock for every call, so the view has the
current index of the log, and the leaf that the session has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from convtree._engine import tree
from convtree._engine.journal import LOST_HEADER
from convtree._engine.leaf import LEAF, AtLeaf, is_note
from convtree._engine.log_index import Index
from convtree._engine.rendering import Render, default_render
from convtree._engine.upwards import break_above, broken_at, entries_up
from convtree._model.batches import BATCH
from convtree._model.entries import (
    BranchSummaryEntry,
    Entry,
    ExtensionDataEntry,
    Finding,
    Header,
    Mark,
    MessageEntry,
    SeenBy,
    VacuumEntry,
    Visibility,
)
from convtree._model.errors import EntryNotFound

if TYPE_CHECKING:  # imported by the calls that need them
    from convtree._engine.context import Context
    from convtree._engine.diff import BranchDelta, Diff
    from convtree._engine.outline import Outline

E = TypeVar("E", bound=Entry)


class SessionView(msgspec.Struct, frozen=True):
    """An index and a leaf; `new_header` makes the header of a session that has no record yet.

    Where an entry id can be left out, `LEAF` stands for the leaf of the view, and None for the place before the first
    entry.
    """

    index: Index
    leaf_id: str | None
    location: str
    new_header: Callable[[], Header]

    @property
    def header(self) -> Header:
        """The log's header; a placeholder if it is damaged, the future header if the log is empty."""
        return self.index.header or (LOST_HEADER if self.index.state.lines else self.new_header())

    @property
    def name(self) -> str | None:
        """The session's name."""
        return self.index.state.name if self.index.state.lines else self.new_header().name

    @property
    def cwd(self) -> str | None:
        """The session's working directory, with every change applied."""
        return self.index.state.cwd if self.index.state.lines else self.new_header().cwd

    @property
    def git_root(self) -> str | None:
        """The root of the session's git repository, with every change applied."""
        return self.index.state.git_root if self.index.state.lines else self.new_header().git_root

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, with every change applied. A copy, down to the last list."""
        metadata = self.index.state.metadata if self.index.state.lines else self.new_header().metadata or {}
        return cast(dict[str, Any], msgspec.to_builtins(metadata))

    def has_all(self, ids: Sequence[str]) -> bool:
        """Returns whether the log has all records with these ids."""
        return all(self.index.tree.find(id) is not None for id in ids)

    def last_said(self) -> Entry | None:
        """Returns the nearest entry at or above the log's leaf that is not a note; None if there is none."""
        row = self.row_said_last()
        return self.index.entries([row])[0] if row >= 0 else None

    def row_said_last(self) -> int:
        """Returns the row of that entry; below 0 if there is none."""
        row = self.index.state.leaf.row
        while row >= 0 and is_note(self.index, row):
            row = self.index.tree.parents[row]
        return row

    def build_context(
        self, *, leaf: str | Entry | AtLeaf | None = LEAF, render: Render = default_render, allow_gaps: bool = False
    ) -> Context:
        """Builds what a model should see at a leaf: messages, and the provider, model and settings to use.

        The last compaction on the path stands for what lies before its kept entries; pinned messages stay. `render`
        turns a compaction or a branch summary into a message, a list of messages, or a text of the user. If it returns
        None or an empty list, the summary is left out. The messages that a compaction stands for are then in the
        context, from the one before it on. Writes nothing and moves nothing.

        Raises:
            TypeError: `render` returned something else.
            BrokenPath: a line it needs is missing or damaged; with `allow_gaps`, `context.gaps` says where instead.
            UnknownEntry: it depends on a critical record of an unknown type.
            EntryNotFound, LeafUncertain: there is no such leaf, or it is not certain.
        """
        from convtree._engine.context import build_context

        built = build_context(self.index, self.row(leaf, allow_gaps), render, allow_gaps)
        if leaf is LEAF and (damage := self.leaf_uncertain_because) is not None:
            from convtree._engine.path_rows import Gap

            gap = Gap(damage.offset, None)  # where the leaf may have been moved
            return msgspec.structs.replace(built, gaps=(*built.gaps, gap))
        return built

    def entry(self, entry_id: str | Entry) -> Entry:
        """Returns an entry, read afresh from the log.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: its line was damaged.
        """
        return self.index.entries([self.row_of(entry_id)])[0]

    def path(
        self, entry_id: str | Entry | AtLeaf | None, last: int | None, cls: type[E], seen_by: SeenBy | None
    ) -> list[E]:
        """Returns the entries of a class on the path to an entry, first to last; the last few, unless `last` is None.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: among what is looked at, an entry is lost, a parent is missing, or a line was damaged.
        """
        row = self.row(entry_id)
        if last is None and cls is Entry and seen_by is None:
            return cast(list[E], self.index.entries(self.path_rows(row)))
        found = [entry for _, entry in islice(self.entries_up(row, cls, seen_by, last or BATCH), last)]
        found.reverse()
        return found

    def entries_up(
        self, row: int, cls: type[E], seen_by: SeenBy | None, first_batch: int, *, above: bool = False
    ) -> Iterator[tuple[int, E]]:
        """Yields the entries at and above a row that are of a class, and that a model or a user sees now.

        As `entries_up` of the engine does, which says the rest.
        """
        found = entries_up(self.index, row, cls, first_batch, above=above)
        if seen_by is None:
            return found
        from convtree._engine.path_rows import is_seen_by

        return (each for each in found if is_seen_by(self.index, *each, seen_by))

    def children(
        self, entry_id: str | Entry | None, *, limit: int | None = None, after: str | Entry | None = None
    ) -> list[Entry]:
        """Returns the entries directly below this one, in log order; None has the first entries.

        Args:
            entry_id: the entry.
            limit: the most entries; None for all. Then only those are read.
            after: the last entry of the page before: the entries behind it are returned.

        Raises:
            EntryNotFound: there is no such entry.
            ValueError: `after` is not directly below the entry.
        """
        row, behind = self.row(entry_id), tree.NONE
        if limit is None and after is None:
            return self.index.entries(self.index.tree.children(row))
        if after is not None:
            behind = self.row_of(after)
            if self.index.tree.parents[behind] != row:
                raise ValueError("after: not a child of this entry; pass the last entry of the page before")
        return self.index.entries(self.index.tree.children_behind(row, behind, limit or len(self.index.tree)))

    def siblings(
        self, entry_id: str | Entry, *, limit: int | None = None, after: str | Entry | None = None
    ) -> list[MessageEntry]:
        """Returns the alternatives to a message, itself included, in log order.

        Those are the messages with the same nearest message above them; other entries are looked through.

        Args:
            entry_id: the message.
            limit: the most messages; None for all. Then only those are read.
            after: the last message of the page before: the messages behind it are returned.

        Raises:
            EntryNotFound: there is no such entry.
            ValueError: `after` is not an alternative to the message.
        """
        columns, row, behind = self.index.tree, self.row_of(entry_id), tree.NONE
        if limit is None and after is None:
            return cast(list[MessageEntry], self.index.entries(columns.siblings(row)))
        if after is not None:
            behind = self.row_of(after)
            above, is_message = columns.message_above(row), columns.kinds[behind] & tree.KIND == tree.MESSAGE
            same = is_message and above != tree.MISSING and columns.message_above(behind) == above
            if not same and behind != row:
                raise ValueError("after: not an alternative to this message; pass the last one of the page before")
        rows = columns.siblings_behind(row, behind, limit or len(columns))
        return cast(list[MessageEntry], self.index.entries(rows))

    def tip(self, entry_id: str | Entry) -> str:
        """Returns the id of the last appended leaf at or below an entry: where a switch to its branch leads."""
        return self.ids([self.index.tree.tip(self.row_of(entry_id))])[0]

    def visible_to(self, entry_id: str | Entry) -> Visibility:
        """Returns who sees an entry now: as it was appended, or as `hide` and `show` have changed it since.

        Everybody sees what is neither a message nor a branch summary.
        """
        if isinstance(entry_id, MessageEntry) and not self.index.state.visible_to:
            return entry_id.visible_to  # no mark has changed any: a database need not be asked for the row
        from convtree._engine.path_rows import effective

        row = self.row_of(entry_id)
        entry = entry_id if isinstance(entry_id, Entry) else self.index.entries([row])[0]
        return effective(self.index, row, entry)[0] if isinstance(entry, MessageEntry | BranchSummaryEntry) else "all"

    def leaves(self) -> list[Entry]:
        """Returns the entries that nothing was appended to, in log order."""
        return self.index.entries(self.index.tree.leaves())

    def common_ancestor(self, a: str | Entry | None, b: str | Entry | None) -> str | None:
        """Returns the id of the last entry that the paths to `a` and `b` share; None when they share none."""
        return self.id_of(self.index.tree.common_ancestor(self.row(a), self.row(b)))

    def diff(self, a: str | Entry | None, b: str | Entry | AtLeaf | None = LEAF) -> Diff:
        """Compares the branches that end at `a` and `b`: their last common entry, and the entries of each below it.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: an entry is lost, a parent is missing, or a line was damaged.
        """
        from convtree._engine.diff import Diff

        rows = [self.row(a), self.row(b)]
        shared = self.index.tree.common_ancestor(*rows)
        sides = [self._side(row, shared) for row in rows]
        return Diff(ancestor_id=self.id_of(shared), a=sides[0], b=sides[1])

    def _side(self, row: int, shared: int) -> BranchDelta:
        from convtree._engine.diff import side_of

        if shared == tree.ROOT:
            rows = self.path_rows(row)
        else:
            if (lost := self.index.lost_above(row)) > shared:
                raise self.index.lost(lost)
            rows = list(takewhile(lambda above: above != shared, self.index.tree.walk_up(row)))[::-1]
        namer = self.index.tree.nearest(self.index.tree.models, shared)
        named = self.index.readable_records([namer]) if namer != tree.NONE else []
        return side_of(self.id_of(row), self.index.entries(rows), next(iter(named), None))

    def extension_data(
        self, ext_type: str | None = None, *, leaf: str | Entry | AtLeaf | None = LEAF
    ) -> list[ExtensionDataEntry]:
        """Returns the extension data on the path to a leaf, first to last, of one type or of all.

        In a vacuumed log, those that were dropped are not among them; `state` knows the last of each type.

        Raises:
            BrokenPath: an entry on the path is lost.
        """
        entries = (entry for entry in self._states(leaf) if isinstance(entry, ExtensionDataEntry))
        return [entry for entry in entries if ext_type in (None, entry.ext_type)][::-1]

    def state(self, ext_type: str, default: Any = None, *, leaf: str | Entry | AtLeaf | None = LEAF) -> Any:
        """Returns the `data` of the last extension data of this type on the path to a leaf.

        Raises:
            BrokenPath: there is none below an entry that is lost.
        """
        for entry in self._states(leaf):
            if isinstance(entry, VacuumEntry):
                return (entry.state or {}).get(ext_type, default)
            if entry.ext_type == ext_type:
                return entry.data
        return default

    def outline(self, reader: Callable[[Index], Callable[[Sequence[int]], list[Entry]]]) -> Outline:
        """Returns the shape of the tree. `reader` makes the function that reads its entries from the index."""
        from convtree._engine.outline import Outline

        row = self.row(LEAF, allow_uncertain=True)
        certain = self.index.state.leaf_uncertain_because is None or row != self.index.state.leaf.row
        self.index.tree.load()
        return Outline(self.index.tree, row, certain, reader(self.index), self.index.state.changed_visibility())

    def numbered_records(self, rows: Sequence[int]) -> list[tuple[int, Entry | Mark]]:
        """Returns the records of some rows with their numbers, without those that are damaged."""
        rows = [row for row in rows if row < len(self.index.tree)]  # the log may have been replaced by a shorter one
        found = self.index.readable_records(rows)
        if len(found) == len(rows):
            return list(zip(rows, found, strict=True))
        return [(row, record) for row in rows for record in self.index.readable_records([row])]

    # --- ids and rows ---

    def row(self, entry_id: str | Entry | AtLeaf | None, allow_uncertain: bool = False) -> int:
        """Returns the row of an entry, ROOT for None.

        Raises:
            EntryNotFound: there is no such entry.
            LeafUncertain: the leaf is asked for, and damage lies behind the line that set it.
        """
        if entry_id is not LEAF:
            return tree.ROOT if entry_id is None else self.row_of(entry_id)
        if not allow_uncertain and self.leaf_uncertain_because is not None:
            raise self.index.leaf_uncertain(self.location)
        if self.leaf_id == self.index.state.leaf.id:
            return self.index.state.leaf.row
        return tree.ROOT if self.leaf_id is None else self.row_of(self.leaf_id)

    @property
    def leaf_uncertain_because(self) -> Finding | None:
        """The damage that makes the leaf of this view uncertain."""
        return self.index.state.leaf_uncertain_because if self.leaf_id == self.index.state.leaf.id else None

    def row_of(self, entry_id: str | Entry) -> int:
        """Returns the row of an entry. A label stands for its entry, unless it is the id of one.

        Raises:
            EntryNotFound: there is no such entry.
            AmbiguousLabel: several entries have this label.
        """
        if isinstance(entry_id, Entry):
            entry_id = entry_id.id
        row = self.row_named(entry_id) if isinstance(entry_id, str) else None
        if row is None:
            self.index.check_not_dropped(entry_id)
            shown = repr(entry_id)[:140] if isinstance(entry_id, str) else type(entry_id).__name__
            raise EntryNotFound(
                f"{self.location}: no entry {shown}; `path()` and `convtree inspect --full` have the ids", id=entry_id
            )
        return row

    def row_named(self, text: str) -> int | None:
        """Returns the row of the entry with an id or else with a label; None if there is no such entry.

        Raises:
            AmbiguousLabel: several entries have this label.
        """
        row = self.index.node(text)
        if row is None and (labelled := self.index.labelled(text)) is not None:
            row = self.index.node(labelled)
        return row

    def path_rows(self, row: int) -> list[int]:
        """Returns the rows from the first entry down to `row`.

        Raises:
            BrokenPath: an entry is lost, or a parent is missing.
        """
        if (end := break_above(self.index, row)) != tree.NONE:
            raise broken_at(self.index, end)
        return self.index.tree.path(row)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Reads the ids of entries."""
        return [entry.id for entry in self.index.entries(rows)]

    def id_of(self, row: int) -> str | None:
        """Reads the id of an entry; None for ROOT."""
        return self.ids([row])[0] if row >= 0 else None

    def _states(self, leaf: str | Entry | AtLeaf | None) -> Iterator[ExtensionDataEntry | VacuumEntry]:
        """Yields the extension data on the path to a leaf, last first, and at its beginning a vacuum entry.

        Raises:
            BrokenPath: an entry is lost; it may have been extension data.
        """
        columns = self.index.tree
        row = self.row(leaf)
        lost = self.index.lost_above(row)
        while (row := columns.nearest(columns.extension_data, row)) > lost:
            entry = self.index.entries([row])[0]
            assert isinstance(entry, ExtensionDataEntry | VacuumEntry)
            yield entry
            row = columns.parents[row]
        if lost != tree.NONE:
            raise self.index.lost(lost)
