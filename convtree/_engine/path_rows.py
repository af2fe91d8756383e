"""The rows of a path that a context is made of, and which of them it leaves out. Pure.

A visibility mark counts for its target on every path, and the last one wins, field by field. A message that replaces
another one leaves that out of every context at or below itself. What a mark does depends on where its target lies:

    target                   in the context if it is visible now, not replaced on the path, and
    from the kept range on   (nothing else)
    before the kept range    it was pinned and visible when the compaction was written, or a later mark pins it

So before the kept range, a later mark can hide or pin. Unpinning or showing there has no effect before the next
compaction, except that showing undoes a later hiding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._model.entries import (
    HIDDEN_FROM_MODEL,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    MessageEntry,
    SeenBy,
    Visibility,
)
from convtree._model.errors import BrokenPath

T = TypeVar("T")

Together = tuple[int, int | None]

_FLAGS = range(0, 1 << 12, tree.KIND + 1)
_HIDDEN = frozenset(tree.MESSAGE | flags for flags in _FLAGS if flags & tree.HIDDEN)
#: the kinds of rows that are in contexts if no mark hides them
_SHOWN = frozenset(what | flags for what in (tree.MESSAGE, tree.BRANCH_SUMMARY) for flags in _FLAGS) - _HIDDEN


class Gap(NamedTuple):
    """A place where a context is incomplete: the line at `offset` is damaged, or refers to an id that is `missing`."""

    offset: int
    missing: str | None


class PathRows(NamedTuple):
    """The rows of a path that a context is made of.

    Attributes:
        rows: the rows, in the order of the context.
        hidden: those that it leaves out, because of who sees them or because they are replaced.
        replaced: those that are replaced by another row of the path.
        changed: by row, the row of the last record that changed whether it is seen: a mark, or its replacement.
        start: the first row of the kept range; NONE without a compaction.
        pinned: how many of the rows lie before the kept range.
    """

    rows: list[int]
    hidden: frozenset[int]
    replaced: Mapping[int, int]
    changed: dict[int, int]
    start: int = tree.NONE
    pinned: int = 0


class Arranged(NamedTuple):
    """The rows of a context, and what is shown of them.

    Attributes:
        rows: the rows, in the order of the context.
        messages: by row, a message that is shown in place of the one in the log.
        together: ranges of indexes at which the context cannot be cut: from a hidden call to its results. None as an
            end stands for results that are still to come.
    """

    rows: list[int]
    messages: Mapping[int, Any] = {}
    together: tuple[Together, ...] = ()


class EntryCache:
    """Entries by row, each read once. Damage raises, or becomes a gap if there is a list of gaps."""

    def __init__(self, index: Index, gaps: list[Gap] | None) -> None:
        self._index = index
        self._gaps = gaps
        self.entries: dict[int, Entry] = {}

    def load(self, rows: Iterable[int]) -> None:
        """Reads the entries of some rows."""
        known = self.entries
        wanted = [row for row in dict.fromkeys(rows) if row not in known]
        if not wanted:
            return
        try:
            self.entries.update(zip(wanted, self._index.entries(wanted), strict=True))
        except BrokenPath:
            if self._gaps is None:
                raise
            for row in wanted:
                self._load_one(row, self._gaps)

    def _load_one(self, row: int, gaps: list[Gap]) -> None:
        try:
            self.entries[row] = self._index.entries([row])[0]
        except BrokenPath as error:
            gaps.append(Gap(error.offset, None))

    def record_missing(self, row: int, missing: str) -> None:
        """Notes that a compaction keeps entries from one on that is not above it."""
        if self._gaps is None:
            dropped = self._index.may_be_dropped(missing)
            why = "which a vacuum has removed" if dropped else "which is not its ancestor"
            raise self._index.broken(row, f"keeps entries from {missing!r} on, {why}", missing)
        self._gaps.append(Gap(self._index.tree.offsets[row], missing))


def rows_of_path(index: Index, leaf: int, compaction: int, cache: EntryCache) -> PathRows:
    """Returns the rows of the context at `leaf`, in which the row `compaction` stands for what is before its range.

    That is the last compaction above the leaf that is applied, or NONE.
    """
    columns = index.tree
    if compaction == tree.NONE:
        walked = columns.path(leaf)
        return _split(index, walked, tree.NONE, _replacements(columns, walked))
    named, start = _kept_from(index, compaction, cache)
    kept = columns.path(columns.parents[compaction], start)
    if named is not None and kept[:1] != [start]:
        cache.record_missing(compaction, named)
        start, kept = compaction, []
    kept += columns.path(leaf, compaction + 1)  # rows above a row are smaller
    pins = _pinned_above(index, start)
    if not pins and _are_plain(index, kept):
        return PathRows([compaction, *kept], frozenset(), {}, {}, start)
    replaced = _replacements(columns, kept[::-1])
    standings = {row: _standing(index, row, compaction) for row in pins}
    pinned = [row for row, standing in standings.items() if standing.stays]
    unseen = frozenset(row for row, standing in standings.items() if not standing.seen)
    rows = [*reversed(pinned), compaction, *kept]
    found = _split(index, rows, compaction, replaced, unseen)
    return found._replace(start=start, pinned=found.rows.index(compaction))


def is_shown(index: Index, leaf: int, row: int, *, pinned_now: bool = False) -> bool:
    """Returns whether the context at `leaf` has an entry; with `pinned_now`, whether it would if a mark pinned it."""
    columns = index.tree
    if leaf < row or not columns.is_ancestor(row, leaf):
        return False
    if _is_hidden(index, row, columns.kinds[row]) or columns.is_replaced(row, leaf):
        return False
    compaction = columns.nearest(columns.compactions, leaf)
    if compaction == tree.NONE or row >= compaction:
        return True
    _, start = _kept_from(index, compaction, EntryCache(index, []))
    if row >= start and columns.is_ancestor(start, compaction):
        return True
    return pinned_now or _standing(index, row, compaction) == (True, True)


def effective(index: Index, row: int, entry: MessageEntry | BranchSummaryEntry) -> tuple[Visibility, bool]:
    """Returns who sees an entry now, and whether it is pinned."""
    own: tuple[Visibility, bool] = ("all", False)
    if isinstance(entry, MessageEntry):
        own = entry.visible_to, entry.pinned is True
    return _last(index.state.visible_to, row, own[0]), _last(index.state.pinned, row, own[1])


def is_seen_by(index: Index, row: int, entry: Entry, who: SeenBy) -> bool:
    """Returns whether a model or a user sees an entry now. Everybody sees what is no message or branch summary."""
    own: Visibility = "all"
    if isinstance(entry, MessageEntry):
        own = entry.visible_to
    elif not isinstance(entry, BranchSummaryEntry):
        return True
    histories = index.state.visible_to  # most logs have none
    return (_last(histories, row, own) if histories else own) in ("all", who)


def _last(histories: Mapping[int, list[tuple[int, T]]], row: int, own: T) -> T:
    """Returns the value of a target now; `own` is the one without marks."""
    history = histories.get(row)
    return history[-1][1] if history else own


def _kept_from(index: Index, compaction: int, cache: EntryCache) -> tuple[str | None, int]:
    """Returns the id from which on a compaction keeps entries, and its row; None and its own row if it keeps none.

    The row may not be above the compaction: then it is damaged, and keeps none. So it is if there is no such row.
    """
    if compaction not in cache.entries:
        cache.load([compaction])
    entry = cache.entries.get(compaction)
    first = entry.first_kept_entry_id if isinstance(entry, CompactionEntry) else None
    row = None if first is None else index.node(first)
    return first, compaction if row is None else row


def _replacements(columns: tree.Tree, rows: Sequence[int]) -> dict[int, int]:
    """Returns the rows that some rows replace, each with the one that replaces it."""
    if not len(columns.replacing):
        return {}
    kinds = columns.kinds.take(rows)
    return {columns.replaced_by(row): row for row, kind in zip(rows, kinds, strict=True) if kind & tree.REPLACES}


def _pinned_above(index: Index, start: int) -> list[int]:
    """Returns the rows before the kept range that are pinned, or were, last first."""
    columns = index.tree
    if not (len(columns.pin_rows) or index.state.pinned):
        return []
    above = columns.parents[start]
    pinned = columns.pinned(above)
    marked = [row for row in index.state.pinned if row < start and columns.is_ancestor(row, above)]
    marked = [row for row in marked if not columns.is_replaced(row, above)]
    return sorted({*pinned, *marked}, reverse=True) if marked else pinned


class _Standing(NamedTuple):
    """What a compaction means for an entry before its kept range: whether it `stays`, and whether it was `seen`."""

    stays: bool
    seen: bool


def _standing(index: Index, row: int, compaction: int) -> _Standing:
    """Judges an entry before the kept range by the marks at the time of the compaction, and by later pins."""
    state, kind = index.state, index.tree.kinds[row]
    pins, views = state.pinned.get(row, []), state.visible_to.get(row, [])
    if any(value for at, value in pins if at > compaction):
        return _Standing(True, True)
    pinned = _value_before(pins, compaction, bool(kind & tree.PINNED))
    view = _value_before(views, compaction, "user" if kind & tree.HIDDEN else "all")
    return _Standing(pinned, view not in HIDDEN_FROM_MODEL)


def _value_before(history: list[tuple[int, T]], row: int, own: T) -> T:
    """Returns the value that a target had when the row was added; `own` is the one without marks."""
    number = bisect_left(history, row, key=lambda each: each[0])
    return history[number - 1][1] if number else own


def _are_plain(index: Index, rows: list[int]) -> bool:
    """Returns whether all rows are messages that the model sees and that replace nothing, as nearly all are."""
    state, columns = index.state, index.tree
    return not (state.visible_to or state.pinned or any(columns.kinds.take(rows)))


def _split(
    index: Index, rows: list[int], compaction: int, replaced: dict[int, int], unseen: frozenset[int] = frozenset()
) -> PathRows:
    """Leaves out the rows that are in no context, earlier compactions among them, and says which are hidden."""
    state = index.state
    kinds = index.tree.kinds.take(rows)
    if not (replaced or unseen or state.visible_to or state.pinned) and _HIDDEN.isdisjoint(kinds):
        if not any(kinds):
            return PathRows(rows, frozenset(), replaced, {})
        shown = [row for row, kind in zip(rows, kinds, strict=True) if kind in _SHOWN or row == compaction]
        return PathRows(shown, frozenset(), replaced, {})
    listed = [
        (row, kind)
        for row, kind in zip(rows, kinds, strict=True)
        if kind in _SHOWN or kind in _HIDDEN or row == compaction
    ]
    hidden = (row for row, kind in listed if row in replaced or row in unseen or _is_hidden(index, row, kind))
    changed = {row: replaced[row] for row, _ in listed if row in replaced}
    for histories in (state.visible_to, state.pinned):
        for row, _ in listed:
            if row in histories:
                changed[row] = max(changed.get(row, tree.NONE), histories[row][-1][0])
    return PathRows([row for row, _ in listed], frozenset(hidden), replaced, changed)


def hidden_above(index: Index, found: PathRows) -> list[int]:
    """Returns the rows before the kept range that a mark hides, in order. Those in `found` are not among them."""
    columns, known = index.tree, set(found.rows[: found.pinned])
    above = columns.parents[found.start]
    return sorted(
        row
        for row in index.state.visible_to
        if row < found.start
        and row not in known
        and columns.is_ancestor(row, above)
        and _is_hidden(index, row, columns.kinds[row])
    )


def _is_hidden(index: Index, row: int, kind: int) -> bool:
    """Returns whether the model does not see an entry."""
    history = index.state.visible_to.get(row)
    return bool(kind & tree.HIDDEN) if history is None else history[-1][1] in HIDDEN_FROM_MODEL
