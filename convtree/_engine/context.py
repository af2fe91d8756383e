"""The context: the messages that a model should see, a function of one path from the root to a leaf. Pure.

It does not depend on the order of appends, on other branches, or on a session's leaf. Its cost depends on its own
length, not on that of the history: the links in the tree lead from the leaf to every row that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    VacuumEntry,
)
from convtree._model.errors import BrokenPath, UnknownEntry
from convtree._model.messages import OpenCall, open_calls

if TYPE_CHECKING:
    from convtree._engine.tokens import Counter
    from convtree._providers import Shape
    from convtree._providers.parts import Source

#: the kinds of rows that are in contexts
_SHOWN = frozenset(
    kind
    for kind in range(1 << 10)
    if kind & tree.KIND == tree.BRANCH_SUMMARY or (kind & tree.KIND == tree.MESSAGE and not kind & tree.HIDDEN)
)

#: entries that say which model is used from there on, and those that say its settings
_NAMERS = (MessageEntry, ModelChangeEntry, VacuumEntry)
_SETTERS = (ModelChangeEntry, VacuumEntry)

#: roles of messages that no model made
_NO_MODEL = ("user", "tool", "system", "developer")

Maker = tuple[str | None, str | None]  # provider and model
Render = Callable[[CompactionEntry | BranchSummaryEntry], Any]


class Gap(NamedTuple):
    """A place where a context is incomplete: the line at `offset` is damaged, or refers to an id that is `missing`."""

    offset: int
    missing: str | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The messages that a model should see, and the provider, model and settings to use.

    `entries[i]` is the entry behind `messages[i]`; those from `first_after_compaction` on came after the last
    compaction. `gaps` is empty unless gaps were allowed. `produced_by` has provider and model, by entry id, of replies
    that do not name them themselves.
    """

    messages: list[Any]
    entries: list[Entry]
    provider: str | None
    model: str | None
    settings: dict[str, Any]
    gaps: tuple[Gap, ...] = ()
    produced_by: dict[str, Maker] = {}
    first_after_compaction: int = 0

    @property
    def open_calls(self) -> tuple[OpenCall, ...]:
        """The tool calls without a result. Calls of interrupted replies are not among them.

        Most providers refuse a request with an open call.
        """
        ids = (entry.id for entry in self.entries)
        found = open_calls(zip(ids, self.messages, strict=True))
        stopped = {entry.id for entry in self.entries if isinstance(entry, MessageEntry) and entry.status is not None}
        return tuple(call for call in found if call.entry_id not in stopped)

    def count_tokens(self, counter: Counter | None = None) -> int:
        """Counts the tokens of this context.

        The usage that is stored with a reply counts the reply and everything before it, the request's tools among it.
        What came after is estimated, at one token for four characters. `counter` counts one message instead.
        """
        if counter is not None:
            return sum(map(counter, self.messages))
        from convtree._engine.tokens import count_tokens

        return count_tokens(self.messages, self.entries, self.first_after_compaction)

    def to(self, shape: Shape, *, heal: bool = False) -> dict[str, Any]:
        """Returns the conversation part of a request in a provider's shape, ready for `**`.

        `messages` for "openai-chat"; `instructions` and `input` for "openai-responses"; `system` and `messages` for
        "anthropic"; `system_instruction` and `contents` for "gemini" (Google's SDK wants the former in its config).
        Where the system says nothing, its key is left out.

        A message in that shape is sent as it was stored. Results stand directly behind their call. Signatures and
        encrypted reasoning are sent only to the model that made them, if it is `provider` and `model` of this context;
        other models get readable thinking as text. With `heal`, a call without a result gets a placeholder
        result.

        Parts that a provider would refuse now are left out: thinking without a reply, a search without its results, a
        fifth cache mark, a file that the provider cannot reach. The caller adds the rest of the request: the tools
        that the conversation uses must be among its tools, and the last message must be one that asks for a reply.

        Raises:
            OpenCalls: a call has no result, and `heal` is not set.
            ValueError: there is no such shape.
        """
        from convtree._providers import write

        both = zip(self.entries, self.messages, strict=True)
        return write([self._source(entry, message) for entry, message in both], shape, heal=heal)

    def _source(self, entry: Entry, message: Any) -> Source:
        from convtree._providers.parts import Source

        if isinstance(message, str):
            message = {"role": "user", "content": message}
        if not isinstance(message, Mapping):
            raise TypeError(
                f"entry {entry.id!r} was rendered as a {type(message).__name__}; render must return a message or a text"
            )
        if not isinstance(entry, MessageEntry):
            return Source(message=message, entry_id=entry.id, summary=True)
        provider, model = self.produced_by.get(entry.id, (entry.provider, entry.model))
        same_provider = None in (provider, self.provider) or provider == self.provider
        trusted = model == self.model and same_provider
        stopped = entry.status is not None
        return Source(message=message, entry_id=entry.id, shape=entry.shape, trusted=trusted, interrupted=stopped)


def default_render(entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
    """Returns a summary as a user message, which every provider accepts."""
    if isinstance(entry, CompactionEntry):
        start = "This conversation began earlier. Summary of the part that is not shown any more:"
    else:
        start = "Before this point another way was tried and left. Summary of what happened there:"
    return {"role": "user", "content": f"{start}\n\n<summary>\n{entry.summary}\n</summary>"}


def build_context(index: Index, leaf: int, render: Render = default_render, allow_gaps: bool = False) -> Context:
    """Builds the context of the path that ends at the row `leaf`.

    Raises:
        UnknownEntry: it depends on a critical record of an unknown type.
        BrokenPath: a line that it needs is missing or damaged, and gaps are not allowed.
    """
    if index.state.critical_mark is not None:
        raise UnknownEntry(f"the log holds a critical mark of the unknown type {index.state.critical_mark!r}")
    if leaf == tree.ROOT:
        return Context(messages=[], entries=[], provider=None, model=None, settings={})
    gaps = _faults(index, leaf)
    if gaps and not allow_gaps:
        if (row := index.lost_above(leaf)) != tree.NONE:
            raise index.lost(row)
        raise index.broken(leaf, f"has an ancestor whose parent {gaps[0].missing!r} is missing", gaps[0].missing)
    cache = _EntryCache(index, gaps if allow_gaps else None)
    rows = _visible_rows(index, leaf, cache)
    columns = index.tree
    model, settings = columns.nearest(columns.models, leaf), columns.nearest(columns.settings, leaf)
    cache.load([*rows, *(row for row in (model, settings) if row != tree.NONE)])
    shown = [entry for row in rows if (entry := cache.entries.get(row)) is not None and not _is_blank(entry)]
    compaction = columns.nearest(columns.compactions, leaf)
    older = sum(row in cache.entries and not _is_blank(cache.entries[row]) for row in rows if row <= compaction)
    namer, setter = cache.entries.get(model), cache.entries.get(settings)
    makers = {} if model == tree.NONE else _makers(index, rows, cache)
    return Context(
        messages=[entry.message if isinstance(entry, MessageEntry) else _rendered(entry, render) for entry in shown],
        entries=shown,
        provider=namer.provider if isinstance(namer, _NAMERS) else None,
        model=namer.model if isinstance(namer, _NAMERS) else None,
        settings=(setter.settings or {}) if isinstance(setter, _SETTERS) else {},
        gaps=tuple(dict.fromkeys(gaps)),
        first_after_compaction=older,
        produced_by=makers,
    )


def _makers(index: Index, rows: list[int], cache: _EntryCache) -> dict[str, Maker]:
    """Returns, for replies that do not name their model, the model that was set when they were made."""
    columns = index.tree
    replies: dict[int, MessageEntry] = {}
    for row in rows:
        entry = cache.entries.get(row)
        if isinstance(entry, MessageEntry) and entry.model is None and entry.message.get("role") not in _NO_MODEL:
            replies[row] = entry
    namers = {row: namer for row in replies if (namer := columns.nearest(columns.models, row)) != tree.NONE}
    cache.load(list(namers.values()))
    makers: dict[str, Maker] = {}
    for row, namer in namers.items():
        named = cache.entries.get(namer)
        if isinstance(named, _NAMERS):
            makers[replies[row].id] = (named.provider, named.model)
    return makers


class _EntryCache:
    """Entries by row, each read once. Damage raises, or becomes a gap if there is a list of gaps."""

    def __init__(self, index: Index, gaps: list[Gap] | None) -> None:
        self._index = index
        self._gaps = gaps
        self.entries: dict[int, Entry] = {}

    def load(self, rows: list[int]) -> None:
        wanted = [row for row in dict.fromkeys(rows) if row not in self.entries]
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
        if self._gaps is None:
            raise self._index.broken(row, f"keeps entries from {missing!r} on, which is not its ancestor", missing)
        self._gaps.append(Gap(self._index.tree.offsets[row], missing))


def _visible_rows(index: Index, leaf: int, cache: _EntryCache) -> list[int]:
    """Returns the rows of the context's messages, in order."""
    columns = index.tree
    compaction = columns.nearest(columns.compactions, leaf)
    if compaction == tree.NONE:
        return _visible(columns, columns.path(leaf))
    cache.load([compaction])
    after = takewhile(lambda row: row != compaction, columns.walk_up(leaf))
    kept, start = _kept(index, compaction, cache)
    pins = []
    pinned = columns.nearest(columns.pins, columns.parents[start])
    while pinned != tree.NONE:
        pins.append(pinned)
        pinned = columns.nearest(columns.pins, columns.parents[pinned])
    upwards = [*after, *kept, compaction, *pins]
    upwards.reverse()
    return _visible(columns, upwards, compaction)


def _kept(index: Index, compaction: int, cache: _EntryCache) -> tuple[list[int], int]:
    """Returns the rows that a compaction keeps, newest first, and the row before which only pinned ones are kept."""
    columns = index.tree
    entry = cache.entries.get(compaction)
    first = entry.first_kept_entry_id if isinstance(entry, CompactionEntry) else None
    if first is None:
        return [], compaction
    row = index.node(first)
    if row is not None:
        kept = list(takewhile(lambda above: above >= row, columns.walk_up(columns.parents[compaction])))
        if kept and kept[-1] == row:
            return kept, row
    cache.record_missing(compaction, first)
    return [], compaction


def _faults(index: Index, leaf: int) -> list[Gap]:
    """Returns the faults at and above a leaf, first to last: a lost entry or a missing parent is a gap.

    Raises:
        UnknownEntry: an entry of an unknown type is critical.
    """
    columns, gaps = index.tree, list[Gap]()
    row = columns.nearest(columns.faults, leaf)
    while row != tree.NONE:
        if columns.kinds[row] & tree.CRITICAL:
            raise UnknownEntry(f"the entry at offset {columns.offsets[row]} is critical and of an unknown type")
        gaps.append(Gap(columns.offsets[row], _missing_at(index, row)))
        row = columns.nearest(columns.faults, columns.parents[row])
    return gaps[::-1]


def _missing_at(index: Index, row: int) -> str | None:
    """Returns the id of a lost entry, or the parent that an orphan names; None when the line was damaged meanwhile."""
    try:
        entry = index.entries([row])[0]
    except BrokenPath:
        return None
    return entry.id if isinstance(entry, LostEntry) else entry.parent_id


def _visible(columns: tree.Tree, rows: list[int], compaction: int = tree.NONE) -> list[int]:
    """Leaves out the rows that are in no context, earlier compactions among them."""
    kinds = columns.kinds.take(rows)
    return [row for row, kind in zip(rows, kinds, strict=True) if kind in _SHOWN or row == compaction]


def _is_blank(entry: Entry) -> bool:
    return type(entry) is BranchSummaryEntry and not entry.summary


def _rendered(entry: Entry, render: Render) -> Any:
    assert isinstance(entry, CompactionEntry | BranchSummaryEntry)
    return render(entry)
