"""Which entries a vacuum keeps, and what must be in effect above them. Pure.

A context needs its messages, the kept range of its compaction, and whatever decides which of them are shown: hidden
calls, and messages that replace others. The model, the settings and the application's data of what is dropped are
values that a vacuum entry can carry, because they are in effect below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from convtree._engine import tree
from convtree._engine.context import NO_MODEL, hidden_before
from convtree._engine.log_index import Index
from convtree._engine.path_rows import EntryCache, rows_of_path
from convtree._engine.rendering import Rendered, applied_compaction, default_render
from convtree._engine.seen import seen
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, VacuumEntry


class InEffect(NamedTuple):
    """The model, the settings and the application's data in effect at an entry."""

    provider: str | None = None
    model: str | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    state: Mapping[str, Any] = MappingProxyType({})

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The provider and the model."""
        return self.provider, self.model


class Kept(NamedTuple):
    """The entries that stay.

    Attributes:
        rows: their rows, in the order of the log.
        parents: by row, the row that is above it from now on; ROOT stands for the vacuum entry.
        pinned: those that stay only because contexts show them from before their kept range.
    """

    rows: list[int]
    parents: dict[int, int]
    pinned: frozenset[int]


def kept_rows(index: Index, leaves: Sequence[int]) -> Kept:
    """Returns the entries that the contexts at these rows need, without the vacuum entry of an earlier vacuum.

    Raises:
        BrokenPath: a line is damaged, or an entry is lost.
    """
    ranges, needed = set[int](), set[int]()
    for leaf in leaves:
        in_range, others = _needed_at(index, leaf)
        ranges |= in_range
        needed |= others
    needed |= ranges
    _add_replacers(index, leaves, needed)
    if index.state.vacuumed:
        needed.discard(0)
    rows = sorted(needed)
    parents = {row: _nearest_of(index, row, needed) for row in rows}
    return Kept(rows, parents, frozenset(needed - ranges))


def _needed_at(index: Index, leaf: int) -> tuple[set[int], set[int]]:
    """Returns the rows of the path that stay as a whole, and the rows further up that the context needs."""
    columns, cache = index.tree, EntryCache(index, None)
    applied = applied_compaction(columns, leaf, Rendered(default_render), cache)
    if applied.row == tree.NONE:
        return set(columns.walk_up(leaf)), set()
    found = rows_of_path(index, leaf, applied.row, cache)
    cache.load(row for row in found.rows if row not in found.hidden)
    in_range = set[int]()
    for row in columns.walk_up(leaf):
        if row < found.start:
            break
        in_range.add(row)
    above = hidden_before(index, found, cache)
    cache.load(above)
    entries = ((row, cache.entries[row]) for row in above)
    calls = {row for row, entry in entries if isinstance(entry, MessageEntry) and seen(entry).calls}
    return in_range, {*found.rows, *calls}


def _add_replacers(index: Index, leaves: Sequence[int], needed: set[int]) -> None:
    """Adds what replaces one of these rows on another of the paths: there, it must stay replaced."""
    columns = index.tree
    pairs = [
        (by, row)
        for by, row in zip(columns.replacing, columns.replaced, strict=True)
        if any(columns.is_ancestor(by, leaf) for leaf in leaves)
    ]
    for by, row in reversed(pairs):  # what replaces a replacement is further down
        if row in needed:
            needed.add(by)
    for by, row in pairs:
        if row in needed:
            needed.add(by)


def _nearest_of(index: Index, row: int, rows: set[int]) -> int:
    """Returns the nearest of some rows above a row; ROOT if there is none."""
    above = index.tree.parents[row]
    while above >= 0 and above not in rows:
        above = index.tree.parents[above]
    return max(above, tree.ROOT)


class Effects:
    """What was in effect at the entries of a log, and what is in effect in the new one."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def at(self, row: int) -> InEffect:
        """Returns what is in effect below a row of the log; ROOT: nothing."""
        if row < 0:
            return InEffect()
        columns, index = self._index.tree, self._index
        found = InEffect()
        if (namer := columns.nearest(columns.models, row)) != tree.NONE:
            entry = index.entries([namer])[0]
            assert isinstance(entry, MessageEntry | ModelChangeEntry | VacuumEntry)
            found = found._replace(provider=entry.provider, model=entry.model)
        if (setter := columns.nearest(columns.settings, row)) != tree.NONE:
            entry = index.entries([setter])[0]
            assert isinstance(entry, ModelChangeEntry | VacuumEntry)
            found = found._replace(settings=entry.settings or {})
        return found._replace(state=self._state_at(row))

    def _state_at(self, row: int) -> dict[str, Any]:
        columns, found = self._index.tree, dict[str, Any]()
        while (row := columns.nearest(columns.extension_data, row)) != tree.NONE:
            entry = self._index.entries([row])[0]
            if isinstance(entry, VacuumEntry):
                return (entry.state or {}) | found
            assert isinstance(entry, ExtensionDataEntry)
            found.setdefault(entry.ext_type, entry.data)
            row = columns.parents[row]
        return found


def carried(wanted: Sequence[InEffect]) -> InEffect:
    """Returns what a vacuum entry can say so that it holds for all the places below it."""
    if not wanted:
        return InEffect()
    first, others = wanted[0], wanted[1:]
    same_names = all(each.names == first.names for each in others)
    same_settings = all(each.settings == first.settings for each in others)
    return InEffect(
        *(first.names if same_names else (None, None)),
        first.settings if same_settings else {},
        {
            name: data
            for name, data in first.state.items()
            if all(name in each.state and each.state[name] == data for each in others)
        },
    )


def changes_to(wanted: InEffect, there: InEffect) -> Iterator[Entry]:
    """Yields the entries that make what is in effect be what is wanted."""
    if wanted.names != there.names or wanted.settings != there.settings:
        settings = None if wanted.settings == there.settings else dict(wanted.settings)
        yield ModelChangeEntry(provider=wanted.provider, model=wanted.model or "", settings=settings)
    for name, data in wanted.state.items():
        if name not in there.state or there.state[name] != data:
            yield ExtensionDataEntry(ext_type=name, data=data)


def depends_on_model(entry: Entry) -> bool:
    """Returns whether a context says of a message which model was set when it was made."""
    return isinstance(entry, MessageEntry) and entry.model is None and entry.role not in NO_MODEL
