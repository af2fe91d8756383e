"""What a model should see: a function of one root-to-leaf path. Pure.

Not of the order in which things were appended, not of sibling branches, not of where a session stands now. It costs
what is in the context: the links in the tree lead from the leaf to everything else that has a say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, ModelChangeEntry
from convtree._model.errors import BrokenPath, UnknownEntry
from convtree._model.messages import OpenCall, open_calls

if TYPE_CHECKING:
    from convtree._engine.tokens import Counter
    from convtree._providers import Shape
    from convtree._providers.parts import Source

#: the kinds of rows that a model sees
_SHOWN = frozenset(
    kind
    for kind in range(256)
    if kind & tree.KIND == tree.BRANCH_SUMMARY or (kind & tree.KIND == tree.MESSAGE and not kind & tree.HIDDEN)
)

#: who never speaks for a model
_NO_MODEL = ("user", "tool", "system", "developer")

Maker = tuple[str | None, str | None]  # provider and model
Render = Callable[[CompactionEntry | BranchSummaryEntry], Any]


class Gap(NamedTuple):
    """A place where a context is not whole: the line at `offset` is damaged, or needs `missing`, which is not there."""

    offset: int
    missing: str | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a model should see, and with which model.

    `entries[i]` is the entry behind `messages[i]`; those from `fresh_from` on came after the last compaction. `gaps`
    is empty unless gaps were allowed. `made_by` has provider and model, by entry id, of replies that do not say it
    themselves.
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
        """The tool calls that no message answers; most providers refuse a request with one inside."""
        ids = (entry.id for entry in self.entries)
        return open_calls(zip(ids, self.messages, strict=True))

    def count_tokens(self, counter: Counter | None = None) -> int:
        """Counts the tokens of this context: is it too long?

        Where the provider's usage is stored with a reply, it says what that and all before it took, the request's
        tools among it; the rest is estimated at one token for four characters. `counter` counts one message instead.
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

        What is in that shape already goes out as it came. Every call has its results right behind it. What only the
        model that made it can read (signatures, encrypted reasoning) goes to that model alone, which is `provider`
        and `model` of this context; to others readable thinking goes as text. `heal` gives a call without a result
        one that says so.

        What was taken once is not sent if it would be refused now: thinking that led to nothing, a search without what
        it found, a fifth cache mark, a file that the provider cannot reach. Left to the caller is what the request
        says besides: that the tools of the conversation are among its own, and that somebody has asked something.

        Raises:
            OpenCalls: a call has no result, and `heal` is not set.
            ValueError: there is no such shape.
        """
        from convtree import _providers as shapes

        both = zip(self.entries, self.messages, strict=True)
        return shapes.write([self._source(entry, message) for entry, message in both], shape, heal=heal)

    def _source(self, entry: Entry, message: Any) -> Source:
        from convtree._providers.parts import Source

        if isinstance(message, str):
            message = {"role": "user", "content": message}
        if not isinstance(message, Mapping):
            raise TypeError(f"what stands for entry {entry.id!r} is no message but a {type(message).__name__}")
        if not isinstance(entry, MessageEntry):
            return Source(message=message, entry_id=entry.id, summary=True)
        provider, model = self.produced_by.get(entry.id, (entry.provider, entry.model))
        same_provider = None in (provider, self.provider) or provider == self.provider
        trusted = model == self.model and same_provider
        return Source(message=message, entry_id=entry.id, shape=entry.shape, trusted=trusted)


def default_render(entry: CompactionEntry | BranchSummaryEntry) -> dict[str, Any]:
    """Words a summary as a user message, which every provider takes."""
    if isinstance(entry, CompactionEntry):
        start = "This conversation began earlier. Summary of the part that is not shown any more:"
    else:
        start = "Before this point another way was tried and left. Summary of what happened there:"
    return {"role": "user", "content": f"{start}\n\n<summary>\n{entry.summary}\n</summary>"}


def build_context(index: Index, leaf: int, render: Render = default_render, allow_gaps: bool = False) -> Context:
    """Builds the context of the path that ends at the row `leaf`.

    Raises:
        UnknownEntry: a critical record of an unknown type has a say in it.
        BrokenPath: a line it is made of is missing or damaged, and gaps are not allowed.
    """
    if index.state.critical_mark is not None:
        raise UnknownEntry(f"the log holds a critical mark of the unknown type {index.state.critical_mark!r}")
    if leaf == tree.ROOT:
        return Context(messages=[], entries=[], provider=None, model=None, settings={})
    gaps = _faults(index, leaf)
    if gaps and not allow_gaps:
        raise index.broken(leaf, f"has an ancestor whose parent {gaps[0].missing!r} is missing", gaps[0].missing)
    fetch = _Fetch(index, gaps if allow_gaps else None)
    rows = _emitted(index, leaf, fetch)
    columns = index.tree
    model, settings = columns.nearest(columns.models, leaf), columns.nearest(columns.settings, leaf)
    fetch.need([*rows, *(row for row in (model, settings) if row != tree.NONE)])
    shown = [entry for row in rows if (entry := fetch.got.get(row)) is not None and not _is_blank(entry)]
    compaction = columns.nearest(columns.compactions, leaf)
    older = sum(row in fetch.got and not _is_blank(fetch.got[row]) for row in rows if row <= compaction)
    namer, setter = fetch.got.get(model), fetch.got.get(settings)
    makers = {} if model == tree.NONE else _makers(index, rows, fetch)
    return Context(
        messages=[entry.message if isinstance(entry, MessageEntry) else _rendered(entry, render) for entry in shown],
        entries=shown,
        provider=namer.provider if isinstance(namer, MessageEntry | ModelChangeEntry) else None,
        model=namer.model if isinstance(namer, MessageEntry | ModelChangeEntry) else None,
        settings=(setter.settings or {}) if isinstance(setter, ModelChangeEntry) else {},
        gaps=tuple(dict.fromkeys(gaps)),
        first_after_compaction=older,
        produced_by=makers,
    )


def _makers(index: Index, rows: list[int], fetch: _Fetch) -> dict[str, Maker]:
    """Finds out, for replies that do not say which model made them, which one was set when they were made."""
    columns = index.tree
    replies: dict[int, MessageEntry] = {}
    for row in rows:
        entry = fetch.got.get(row)
        if isinstance(entry, MessageEntry) and entry.model is None and entry.message.get("role") not in _NO_MODEL:
            replies[row] = entry
    namers = {row: namer for row in replies if (namer := columns.nearest(columns.models, row)) != tree.NONE}
    fetch.need(list(namers.values()))
    makers: dict[str, Maker] = {}
    for row, namer in namers.items():
        named = fetch.got.get(namer)
        if isinstance(named, MessageEntry | ModelChangeEntry):
            makers[replies[row].id] = (named.provider, named.model)
    return makers


class _Fetch:
    """Entries by row, each read once; damage raises, or becomes a gap when there is a list for gaps."""

    def __init__(self, index: Index, gaps: list[Gap] | None) -> None:
        self._index = index
        self._gaps = gaps
        self.got: dict[int, Entry] = {}

    def need(self, rows: list[int]) -> None:
        wanted = [row for row in dict.fromkeys(rows) if row not in self.got]
        try:
            self.got.update(zip(wanted, self._index.entries(wanted), strict=True))
        except BrokenPath:
            if self._gaps is None:
                raise
            for row in wanted:
                self._need_one(row, self._gaps)

    def _need_one(self, row: int, gaps: list[Gap]) -> None:
        try:
            self.got[row] = self._index.entries([row])[0]
        except BrokenPath as error:
            gaps.append(Gap(error.offset, None))

    def miss(self, row: int, missing: str) -> None:
        if self._gaps is None:
            raise self._index.broken(row, f"keeps entries from {missing!r}, which is not above it", missing)
        self._gaps.append(Gap(self._index.tree.offsets[row], missing))


def _emitted(index: Index, leaf: int, fetch: _Fetch) -> list[int]:
    """Returns the rows that the context shows, in the order it shows them."""
    columns = index.tree
    compaction = columns.nearest(columns.compactions, leaf)
    if compaction == tree.NONE:
        return _shown(columns, columns.path(leaf))
    fetch.need([compaction])
    after = takewhile(lambda row: row != compaction, columns.walk_up(leaf))
    kept, start = _kept(index, compaction, fetch)
    pins = []
    pinned = columns.nearest(columns.pins, columns.parents[start])
    while pinned != tree.NONE:
        pins.append(pinned)
        pinned = columns.nearest(columns.pins, columns.parents[pinned])
    upwards = [*after, *kept, compaction, *pins]
    upwards.reverse()
    return _shown(columns, upwards, compaction)


def _kept(index: Index, compaction: int, fetch: _Fetch) -> tuple[list[int], int]:
    """Returns what a compaction keeps, newest first, and the row before which only pinned messages survive."""
    columns = index.tree
    entry = fetch.got.get(compaction)
    first = entry.first_kept_entry_id if isinstance(entry, CompactionEntry) else None
    if first is None:
        return [], compaction
    row = index.node(first)
    if row is not None:
        kept = list(takewhile(lambda above: above >= row, columns.walk_up(columns.parents[compaction])))
        if kept and kept[-1] == row:
            return kept, row
    fetch.miss(compaction, first)
    return [], compaction


def _faults(index: Index, leaf: int) -> list[Gap]:
    """Looks at what is wrong above a leaf: unknown critical entries raise, a missing parent is a gap."""
    columns = index.tree
    row = columns.nearest(columns.faults, leaf)
    if row == tree.NONE:
        return []
    if columns.kinds[row] & tree.CRITICAL:
        raise UnknownEntry(f"the entry at offset {columns.offsets[row]} is critical and of an unknown type")
    return [Gap(columns.offsets[row], _parent_named(index, row))]  # an orphan, and nothing is above one


def _parent_named(index: Index, row: int) -> str | None:
    """Returns the parent that an orphan's line names; None when the line was damaged meanwhile."""
    try:
        return index.entries([row])[0].parent_id
    except BrokenPath:
        return None


def _shown(columns: tree.Tree, rows: list[int], compaction: int = tree.NONE) -> list[int]:
    """Leaves out what a model never sees, other compactions among it."""
    kinds = columns.kinds.take(rows)
    return [row for row, kind in zip(rows, kinds, strict=True) if kind in _SHOWN or row == compaction]


def _is_blank(entry: Entry) -> bool:
    return type(entry) is BranchSummaryEntry and not entry.summary


def _rendered(entry: Entry, render: Render) -> Any:
    assert isinstance(entry, CompactionEntry | BranchSummaryEntry)
    return render(entry)
