"""What a session tells: contexts, entries, the tree, and what others write. Writes nothing to the log.

`Session` adds the writing. Whatever is read is read under the session's lock, from the index and the log behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from itertools import takewhile
from threading import RLock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, cast

import msgspec

from convtree._engine import context, tree
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.context import Context, Gap, Render, default_render
from convtree._engine.journal import LOST_HEADER, RECENT, Journal
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.log_index import Index
from convtree._engine.outline import Outline
from convtree._model.entries import Entry, ExtensionDataEntry, Finding, Header, Mark, MessageEntry
from convtree._model.errors import EntryNotFound, SessionClosed
from convtree._model.resources import Uncopyable

if TYPE_CHECKING:
    from convtree._engine.diff import BranchDelta, Diff

__all__ = ["LEAF", "AtLeaf", "Reader", "reading"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Reader")

_BATCH = 500  # records that are read under the lock at once


def reading(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Lets a method read under the session's lock, from the log itself when the index on disk turns out damaged."""

    @wraps(method)
    def read(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            if self._journal.index_is_partial and not self._closed:
                self._journal.refresh()  # a signal came while lines were taken in
            try:
                return method(self, *args, **kwargs)
            except SnapshotDamaged:
                self._journal.rescan()
                return method(self, *args, **kwargs)

    return read


class Reader(Uncopyable):
    """The reading half of a session: a log that is known by its index, and the leaf that was seen."""

    def __init__(self, journal: Journal, header: Header) -> None:
        self._journal = journal
        self._header = header
        self._lock = RLock()
        self._closed = False
        self._leaf_id: str | None = self._index.leaf.id

    @reading
    def build_context(
        self, *, leaf: str | AtLeaf | None = LEAF, render: Render = default_render, allow_gaps: bool = False
    ) -> Context:
        """Builds what a model should see at a leaf: messages, and the provider, model and settings to use.

        The last compaction on the path stands for what lies before its kept entries; pinned messages stay. `render`
        turns a compaction or a branch summary into a message. Writes nothing and moves nothing.

        Raises:
            BrokenPath: a line it needs is missing or damaged; with `allow_gaps`, `context.gaps` says where instead.
            UnknownEntry: it depends on a critical record of an unknown type.
            EntryNotFound, LeafUncertain: there is no such leaf, or it is not certain.
        """
        built = context.build_context(self._index, self._row(leaf, allow_gaps), render, allow_gaps)
        if leaf is LEAF and (doubt := self._doubt()) is not None:
            place = Gap(doubt.offset, None)  # where the leaf may have been moved
            return msgspec.structs.replace(built, gaps=(*built.gaps, place))
        return built

    @reading
    def entry(self, entry_id: str) -> Entry:
        """Returns an entry, read afresh from the log.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: its line was damaged.
        """
        return self._index.entries([self._known(entry_id)])[0]

    @reading
    def path(self, entry_id: str | AtLeaf | None = LEAF) -> list[Entry]:
        """Returns the entries from the first down to this one.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: a parent is missing, or a line was damaged.
        """
        return self._index.entries(self._path_rows(self._row(entry_id)))

    @reading
    def children(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries directly below this one, in log order; None has the first entries."""
        return self._index.entries(self._index.tree.children(self._row(entry_id)))

    @reading
    def siblings(self, entry_id: str) -> list[MessageEntry]:
        """Returns the alternatives to a message, itself included, in log order.

        Those are the messages with the same nearest message above them; other entries are looked through.
        """
        rows = self._index.tree.siblings(self._known(entry_id))
        return cast(list[MessageEntry], self._index.entries(rows))

    @reading
    def tip(self, entry_id: str) -> str:
        """Returns the id of the last appended leaf at or below an entry: where a switch to its branch leads."""
        return self._ids([self._index.tree.tip(self._known(entry_id))])[0]

    @reading
    def leaves(self) -> list[Entry]:
        """Returns the entries that nothing was appended to, in log order."""
        self._check_open()
        return self._index.entries(self._index.tree.leaves())

    @reading
    def common_ancestor(self, a: str | None, b: str | None) -> str | None:
        """Returns the id of the last entry that the paths to `a` and `b` share; None when they share none."""
        return self._id_of(self._index.tree.common_ancestor(self._row(a), self._row(b)))

    @reading
    def diff(self, a: str | None, b: str | AtLeaf | None = LEAF) -> Diff:
        """Compares the branches that end at `a` and `b`: what both have last, and what each has beyond it.

        Raises:
            EntryNotFound: there is no such entry.
            BrokenPath: a parent is missing, or a line was damaged.
        """
        from convtree._engine.diff import Diff

        rows = [self._row(a), self._row(b)]
        shared = self._index.tree.common_ancestor(*rows)
        sides = [self._side(row, shared) for row in rows]
        return Diff(ancestor_id=self._id_of(shared), a=sides[0], b=sides[1])

    def _side(self, row: int, shared: int) -> BranchDelta:
        from convtree._engine.diff import side_of

        if shared == tree.ROOT:
            rows = self._path_rows(row)
        else:
            rows = list(takewhile(lambda above: above != shared, self._index.tree.walk_up(row)))[::-1]
        namer = self._index.tree.nearest(self._index.tree.models, shared)
        named = self._index.readable_records([namer]) if namer != tree.NONE else []
        return side_of(self._id_of(row), self._index.entries(rows), next(iter(named), None))

    @reading
    def extension_data(
        self, ext_type: str | None = None, *, leaf: str | AtLeaf | None = LEAF
    ) -> list[ExtensionDataEntry]:
        """Returns the extension data on the path to a leaf, first to last, of one type or of all."""
        found = [entry for entry in self._states(leaf) if ext_type in (None, entry.ext_type)]
        return found[::-1]

    @reading
    def state(self, ext_type: str, default: Any = None, *, leaf: str | AtLeaf | None = LEAF) -> Any:
        """Returns the `data` of the last extension data of this type on the path to a leaf."""
        return next((entry.data for entry in self._states(leaf) if entry.ext_type == ext_type), default)

    @reading
    def outline(self) -> Outline:
        """Returns the shape of the tree as it is now, for drawing it: no entry is read until the outline is asked."""
        index = self._index
        row = self._row(LEAF, allow_doubt=True)
        certain = index.leaf_uncertain_because is None or row != index.leaf.row

        def read(rows: Sequence[int]) -> list[Entry]:
            with self._lock:
                self._check_open()
                return index.entries(rows)

        index.tree.load()
        return Outline(index.tree, row, certain, read)

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields every entry and mark with its number in the log, from a number on, without those that are damaged.

        What others wrote since the last call on this session is not among them.
        """
        for first in range(start, len(self._index.tree), _BATCH):
            yield from self._numbered(range(first, min(first + _BATCH, len(self._index.tree))))

    @reading
    def _numbered(self, rows: Sequence[int]) -> list[tuple[int, Entry | Mark]]:
        self._check_open()
        found = self._index.readable_records(rows)
        if len(found) == len(rows):
            return list(zip(rows, found, strict=True))
        return [(row, record) for row in rows for record in self._index.readable_records([row])]

    @reading
    def refresh(self) -> list[Entry]:
        """Takes in what others wrote, adopts the log's leaf, and returns the new entries.

        Those are the entries of others since this session was opened or last refreshed; after the log was replaced (by
        a repair, say) all its entries. Entries whose bodies cannot be read are passed over: they are for `verify`.
        """
        self._check_open()
        self._journal.refresh()
        self._leaf_id = self._index.leaf.id
        rows = [row for row in self._journal.unseen_rows() if self._index.tree.is_node(row)]
        entries = cast(list[Entry], self._index.readable_records(rows))
        self._journal.mark_seen()
        return entries

    def follow(self, *, poll_s: float = 0.2, timeout_s: float | None = None) -> Iterator[Entry | Mark]:
        """Yields what is appended from now on, by anyone, as it comes; never moves the leaf.

        Only whole, verified lines are yielded. Looks every `poll_s` seconds; ends when nothing has come for
        `timeout_s` (None: never) or the session is closed. Goes on when the log is repaired or replaced meanwhile; of
        another log, that is all of it.

        Raises:
            SessionNotFound: the log was removed.
        """
        return _waiting(self._looks(poll_s, timeout_s))

    def _looks(self, poll_s: float, timeout_s: float | None) -> Iterator[tuple[list[Entry | Mark], float]]:
        """Follows without waiting: yields what each look has found, and how long to wait before the next."""
        return self._look_on(deque(self._last_records(), maxlen=RECENT), poll_s, timeout_s)

    def _look_on(
        self, recent: deque[str], poll_s: float, timeout_s: float | None
    ) -> Iterator[tuple[list[Entry | Mark], float]]:
        quiet_since = monotonic()
        while True:
            try:
                news, last = self._news(recent)
            except SessionClosed:
                return
            recent.extend(record.id for record in news)
            if last is not None and (not news or news[-1].id != last):
                recent.append(last)
            if news:
                yield news, 0
                quiet_since = monotonic()
                continue
            left_s = poll_s if timeout_s is None else quiet_since + timeout_s - monotonic()
            if left_s <= 0:
                return
            yield news, min(poll_s, left_s)

    @reading
    def _last_records(self) -> list[str]:
        self._check_open()
        return self._journal.last_records()

    @reading
    def _news(self, recent: Sequence[str]) -> tuple[list[Entry | Mark], str | None]:
        self._check_open()
        self._journal.refresh()
        return self._journal.records_after(recent)

    # --- properties ---

    @property
    def header(self) -> Header:
        """The session's header; of a session without a record, the one it will have."""
        return self._index.header or (LOST_HEADER if self._index.lines else self._header)

    @property
    def id(self) -> str:
        """The session's id."""
        return self.header.id

    @property
    def name(self) -> str | None:
        """The session's name."""
        return self._index.name if self._index.lines else self._header.name

    @property
    def leaf_id(self) -> str | None:
        """The entry that the next append continues; None before the first."""
        return self._leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """The bookmarks: entry id to label."""
        return dict(self._index.labels)

    @property
    def metadata(self) -> dict[str, Any]:
        """The session's metadata, every change applied."""
        return dict(self._index.metadata if self._index.lines else self._header.metadata or {})

    @property
    def archived(self) -> bool:
        """Whether the session is archived."""
        return self._index.archived

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the log, as far as it was read."""
        return tuple(self._index.findings)

    @property
    def location(self) -> str:
        """Where the log is: a path, or "memory"."""
        return self._journal.log.location

    def close(self) -> None:
        """Closes the log; twice is the same as once."""
        with self._lock:
            self._closed = True
            self._journal.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- ids and rows ---

    @property
    def _index(self) -> Index:
        return self._journal.index

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosed(f"{self.location}: this session is closed")

    def _row(self, entry_id: str | AtLeaf | None, allow_doubt: bool = False) -> int:
        self._check_open()
        if entry_id is not LEAF:
            return tree.ROOT if entry_id is None else self._known(entry_id)
        if not allow_doubt and self._doubt() is not None:
            raise self._index.leaf_uncertain(self.location)
        if self._leaf_id == self._index.leaf.id:
            return self._index.leaf.row
        return tree.ROOT if self._leaf_id is None else self._known(self._leaf_id)

    def _doubt(self) -> Finding | None:
        """Returns what makes this session's leaf uncertain."""
        return self._index.leaf_uncertain_because if self._leaf_id == self._index.leaf.id else None

    def _known(self, entry_id: str) -> int:
        self._check_open()
        row = self._index.node(entry_id) if isinstance(entry_id, str) else None
        if row is None:
            shown = repr(entry_id)[:140] if isinstance(entry_id, str) else type(entry_id).__name__
            raise EntryNotFound(
                f"{self.location}: no entry {shown}; `path()` and `convtree inspect --full` have the ids", id=entry_id
            )
        return row

    def _path_rows(self, row: int) -> list[int]:
        rows = self._index.tree.path(row)
        if rows and self._index.tree.parents[rows[0]] == tree.MISSING:
            missing = self._index.entries(rows[:1])[0].parent_id
            raise self._index.broken(rows[0], f"has the parent {missing!r}, which is missing", missing)
        return rows

    def _ids(self, rows: list[int]) -> list[str]:
        return [entry.id for entry in self._index.entries(rows)]

    def _id_of(self, row: int) -> str | None:
        return self._ids([row])[0] if row >= 0 else None

    def _states(self, leaf: str | AtLeaf | None) -> Iterator[ExtensionDataEntry]:
        """Yields the extension data on the path to a leaf, last first."""
        columns = self._index.tree
        row = self._row(leaf)
        while (row := columns.nearest(columns.states, row)) != tree.NONE:
            entry = self._index.entries([row])[0]
            assert isinstance(entry, ExtensionDataEntry)
            yield entry
            row = columns.parents[row]


def _waiting(looks: Iterator[tuple[list[Entry | Mark], float]]) -> Iterator[Entry | Mark]:
    for news, wait_s in looks:
        yield from news
        if not news:
            sleep(wait_s)
