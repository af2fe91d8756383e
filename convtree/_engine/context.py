"""The context: the messages that a model should see at a leaf. Pure.

It is a function of the path to the leaf and of the visibility marks for the entries of that path. It does not depend on
other branches or on a session's leaf. Its cost depends on its own length, not on that of the history: the links in the
tree lead from the leaf to every row that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson

from convtree._engine import tree
from convtree._engine.log_index import Index
from convtree._engine.path_rows import Arranged, EntryCache, Gap, PathRows, Together, hidden_above, rows_of_path
from convtree._engine.rendering import Applied, Render, Rendered, applied_compaction, default_render, spread
from convtree._engine.seen import seen
from convtree._messages.left_out import LeftOut
from convtree._messages.matching import OpenCall, open_calls
from convtree._messages.parts import Source, Unknown
from convtree._messages.reading import read_for_model
from convtree._model.entries import (
    Entry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    VacuumEntry,
)
from convtree._model.errors import BrokenPath, UnknownEntry

if TYPE_CHECKING:
    from convtree._engine.tokens import Counter
    from convtree._providers import Request, Shape

#: entries that say which model is used from there on, and those that say its settings
_NAMERS = (MessageEntry, ModelChangeEntry, VacuumEntry)
_SETTERS = (ModelChangeEntry, VacuumEntry)

#: roles of messages that no model made
NO_MODEL = ("user", "tool", "system", "developer")

Maker = tuple[str | None, str | None]  # provider and model


class Context(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The messages that a model should see, and the provider, model and settings to use.

    `entries[i]` is the entry behind `messages[i]`, as it is in the log. A summary that is rendered as several messages
    is there as often. The message is another one where results of a hidden call are left out of it, or where it
    answers a call in place of a hidden result.

    Attributes:
        messages: the messages.
        entries: their entries.
        provider: the provider to ask.
        model: the model to ask.
        settings: other choices, such as a thinking level.
        gaps: where the context is incomplete; empty unless gaps were allowed.
        produced_by: provider and model, by entry id, of replies that do not name them themselves.
        first_after_compaction: the index of the first entry that came after the last compaction.
        pin_changes: whether an entry is pinned, by entry id, where a mark says so.
        stale_usage: indexes of messages before which something was hidden, shown or replaced since they came, and of
            replies that may have been asked before the last compaction. Their usage does not count this context.
        together: ranges of indexes at which the context cannot be cut: from a hidden call to its results. None as an
            end stands for results that are still to come.
    """

    messages: list[Any]
    entries: list[Entry]
    provider: str | None
    model: str | None
    settings: dict[str, Any]
    gaps: tuple[Gap, ...] = ()
    produced_by: dict[str, Maker] = {}
    first_after_compaction: int = 0
    pin_changes: dict[str, bool] = {}
    stale_usage: frozenset[int] = frozenset()
    together: tuple[Together, ...] = ()

    def is_pinned(self, index: int) -> bool:
        """Returns whether a message stays when this context is compacted."""
        entry = self.entries[index]
        changed = self.pin_changes.get(entry.id)
        return isinstance(entry, MessageEntry) and entry.pinned is True if changed is None else changed

    @cached_property
    def said(self) -> list[Source]:
        """What each message says, as the model of this context sees it. Read once: the messages are not to be changed.

        Raises:
            TypeError: a summary was rendered as something that is no message.
        """
        return [self._source(entry, message) for entry, message in zip(self.entries, self.messages, strict=True)]

    @property
    def open_calls(self) -> tuple[OpenCall, ...]:
        """The tool calls without a result, exactly those for which `to(…, open_calls="raise")` raises.

        Calls of interrupted replies are not among them. `to` answers open calls by default, because most providers
        refuse a request with one.
        """
        return open_calls(self.said)

    @property
    def unknown(self) -> tuple[LeftOut, ...]:
        """The messages and parts that no reader knows, for which `to` raises unless `unknown` says otherwise."""
        parts = (part for source in self.said for part in source.parts if isinstance(part, Unknown))
        return tuple(LeftOut(part.source.entry_id, "unknown", part.why, part.place) for part in parts)

    def count_tokens(self, counter: Counter | None = None) -> int:
        """Counts the tokens of this context.

        The usage that is stored with a reply counts the reply and everything before it, the request's tools among it.
        What came after is estimated, at one token for four characters. `counter` counts one message instead. A usage
        is not used if the context before the reply has changed since, or may have, see `stale_usage`.
        """
        if counter is not None:
            return sum(map(counter, self.messages))
        from convtree._engine.tokens import count_tokens

        return count_tokens(self.said, self.entries, self.first_after_compaction, self.stale_usage)

    def count_bytes(self, shape: Shape) -> int:
        """Returns the size of the request in bytes, as JSON. Servers limit it, and pictures count with all their data.

        Raises:
            As `to`; what no reader knows counts as text.
        """
        return len(orjson.dumps(self.to(shape, unknown="text")))

    def to(
        self,
        shape: Shape,
        *,
        open_calls: Literal["answer", "raise"] = "answer",
        unknown: Literal["raise", "text", "drop"] = "raise",
    ) -> Request:
        """Returns the conversation part of a request in a provider's shape: a dictionary, ready for `**`.

        `messages` for "openai-chat"; `instructions` and `input` for "openai-responses"; `system` and `messages` for
        "anthropic"; `system_instruction` and `contents` for "gemini" (Google's SDK wants the former in its config).
        Where the system says nothing, its key is left out.

        A message in that shape is sent as it was stored. Results stand directly behind their call. A call without a
        result is answered by a note that the conversation was interrupted. Signatures and encrypted reasoning are sent
        only to the model that made them, if it is `provider` and `model` of this context. Plain reasoning is sent to
        models of the same provider, in its own field. Reasoning never becomes text. What was done with tools on
        another provider's servers is sent as text.

        The result's `left_out` lists what the request does not hold: reasoning, media that the shape cannot carry
        (their names stand in their place), and unknown parts that were dropped. Its `answered` lists the calls that had
        no result. The caller adds the rest of the request: the tools that the conversation uses must be among its
        tools, and the last message must be one that asks for a reply.

        Args:
            shape: the provider's format.
            open_calls: "raise" refuses a context with open calls instead of answering them.
            unknown: what to do with messages and parts that no reader knows: raise, send them as JSON text, or leave
                them out.

        Raises:
            OpenCalls: a call has no result, and `open_calls` is "raise".
            UnknownMessage: a message or a part cannot be expressed, and `unknown` is "raise".
            ValueError: there is no such shape or choice.
        """
        from convtree._providers import as_stored, check_choices, write

        check_choices(shape, open_calls, unknown)
        said = zip(self.entries, self.messages, strict=True)
        stored = as_stored(said, shape, self.provider, lambda entry: self._trust(entry)[0])
        if stored is not None:
            return stored
        return write(self.said, shape, open_calls=open_calls, unknown=unknown, provider=self.provider)

    def _trust(self, entry: Entry) -> tuple[bool, bool]:
        """Returns whether the model of this context made a message, and whether one of its provider did."""
        if not isinstance(entry, MessageEntry):
            return True, True
        provider, model = self.produced_by.get(entry.id, (entry.provider, entry.model))
        same_provider = _is_same_name(provider, self.provider)
        trusted = model == self.model and (same_provider or None in (provider, self.provider))
        return trusted, same_provider and provider is not None

    def _source(self, entry: Entry, message: Any) -> Source:
        """Reads a message, knowing whether its model and provider are those of this context."""
        if isinstance(message, str):
            message = {"role": "user", "content": message}
        if not isinstance(message, Mapping):
            raise TypeError(
                f"entry {entry.id!r} was rendered as a {type(message).__name__}; render must return a message or a text"
            )
        trusted, same_provider = self._trust(entry)
        source = Source(
            message=message,
            entry_id=entry.id,
            shape=entry.shape if isinstance(entry, MessageEntry) else None,
            trusted=trusted,
            same_provider=same_provider,
            summary=not isinstance(entry, MessageEntry),
            interrupted=isinstance(entry, MessageEntry) and entry.status is not None,
        )
        read_for_model(source)
        return source


def _is_same_name(a: str | None, b: str | None) -> bool:
    """Returns whether two names of providers are one: programs write "DeepSeek" and "deepseek"."""
    return a == b or (a is not None and b is not None and a.lower() == b.lower())


def build_context(index: Index, leaf: int, render: Render = default_render, allow_gaps: bool = False) -> Context:
    """Builds the context of the path that ends at the row `leaf`.

    A compaction for which `render` returns nothing is passed over, as if it was not there.

    Raises:
        UnknownEntry: it depends on a critical record of an unknown type.
        BrokenPath: a line that it needs, or any visibility mark, is missing or damaged, and gaps are not allowed.
        TypeError: `render` returned something else than messages.
    """
    index.check_critical()
    if leaf == tree.ROOT:
        return Context(messages=[], entries=[], provider=None, model=None, settings={})
    gaps = _gaps(index, leaf, allow_gaps)
    cache = EntryCache(index, gaps if allow_gaps else None)
    columns, rendered = index.tree, Rendered(render)
    applied = applied_compaction(columns, leaf, rendered, cache)
    found = rows_of_path(index, leaf, applied.row, cache)
    model, settings = columns.nearest(columns.models, leaf), columns.nearest(columns.settings, leaf)
    shown = [row for row in found.rows if row not in found.hidden] if found.hidden else found.rows
    cache.load([*shown, *(row for row in (model, settings) if row != tree.NONE)])
    read = cache.entries
    usable = [
        row for row in shown if row in read and (type(read[row]) is MessageEntry or rendered.messages(row, read[row]))
    ]
    above = hidden_before(index, found, cache)
    arranged = Arranged(usable)
    if found.hidden or above:
        from convtree._engine.hidden_parts import arrange

        arranged = arrange(found._replace(hidden=found.hidden.union(set(shown).difference(usable))), above, cache)
    arranged, messages = spread(arranged, rendered, read)
    rows = arranged.rows
    entries = [read[row] for row in rows]
    older = sum(map(applied.row.__ge__, rows)) if applied.row != tree.NONE else 0
    namer, setter = cache.entries.get(model), cache.entries.get(settings)
    makers = {} if model == tree.NONE else _makers(index, rows, cache)
    pins = index.state.pinned
    return Context(
        messages=messages,
        entries=entries,
        provider=namer.provider if isinstance(namer, _NAMERS) else None,
        model=namer.model if isinstance(namer, _NAMERS) else None,
        settings=(setter.settings or {}) if isinstance(setter, _SETTERS) else {},
        gaps=tuple(dict.fromkeys(gaps)),
        first_after_compaction=older,
        produced_by=makers,
        pin_changes={cache.entries[row].id: pins[row][-1][1] for row in rows if row in pins} if pins else {},
        stale_usage=_changed_before(index, found, above, rows) | _asked_elsewhere(index, applied, rows, entries, older),
        together=arranged.together,
    )


def hidden_before(index: Index, found: PathRows, cache: EntryCache) -> list[int]:
    """Returns hidden rows before the kept range that are not in `found`, if a shown message may be their result."""
    if not index.state.visible_to or found.start == tree.NONE:
        return []
    shown = (cache.entries.get(row) for row in found.rows if row not in found.hidden)
    has_results = any(isinstance(entry, MessageEntry) and seen(entry).results for entry in shown)
    return hidden_above(index, found) if has_results else []


def _changed_before(index: Index, found: PathRows, above: list[int], rows: list[int]) -> frozenset[int]:
    """Returns the indexes of messages before which something was hidden, shown or replaced since they came."""
    if not found.changed and not above:
        return frozenset()
    numbers = {row: number for number, row in enumerate(rows)}
    newest = max((index.state.visible_to[row][-1][0] for row in above), default=tree.NONE)
    stale = []
    for row in found.rows:
        newest = max(newest, found.changed.get(row, tree.NONE))
        if newest > row and row in numbers:
            stale.append(numbers[row])
    return frozenset(stale)


def _asked_elsewhere(
    index: Index, applied: Applied, rows: list[int], entries: list[Entry], older: int
) -> frozenset[int]:
    """Returns the indexes of replies whose request may have been another one than this context.

    That is a reply that was asked before the compaction, or behind one that is not applied here. Without `reply_to`,
    a reply may have been asked before the compaction if nobody has said something since.
    """
    behind = []
    if applied.passed_over != tree.NONE:
        behind = [number for number, row in enumerate(rows) if row > applied.passed_over]
    if applied.row == tree.NONE:
        return frozenset(behind)
    after = {entry.id for entry in entries[older:]}
    has_said = False
    for number, entry in enumerate(entries[older:], older):
        if not isinstance(entry, MessageEntry):
            continue
        has_said = has_said or _is_said(entry)
        if entry.reply_to is None:
            knows = has_said
        else:
            row = None if entry.reply_to in after else index.node(entry.reply_to)
            if row is not None:
                knows = index.tree.is_ancestor(applied.row, row)
            else:
                knows = entry.reply_to in after or not index.may_be_dropped(entry.reply_to)
        if not knows:
            behind.append(number)
    return frozenset(behind)


def _is_said(entry: MessageEntry) -> bool:
    """Returns whether a user or a tool said a message. A text for the model only is a note of a program."""
    is_word_of_user = entry.role == "user" and entry.visible_to != "model"
    return is_word_of_user or bool(seen(entry).results)


def _makers(index: Index, rows: list[int], cache: EntryCache) -> dict[str, Maker]:
    """Returns, for replies that do not name their model, the model that was set when they were made."""
    columns = index.tree
    replies: dict[int, MessageEntry] = {}
    for row in rows:
        entry = cache.entries.get(row)
        if isinstance(entry, MessageEntry) and entry.model is None and entry.role not in NO_MODEL:
            replies[row] = entry
    namers = {row: namer for row in replies if (namer := columns.nearest(columns.models, row)) != tree.NONE}
    cache.load(list(namers.values()))
    makers: dict[str, Maker] = {}
    for row, namer in namers.items():
        named = cache.entries.get(namer)
        if isinstance(named, _NAMERS):
            makers[replies[row].id] = (named.provider, named.model)
    return makers


def _gaps(index: Index, leaf: int, allow_gaps: bool) -> list[Gap]:
    """Returns the faults on the path, and a damaged visibility mark: without `allow_gaps`, each of them raises."""
    if not allow_gaps:
        index.check_visibility()
    gaps = _faults(index, leaf)
    if (damaged := index.state.damaged_mark) is not None:
        gaps.append(Gap(damaged.offset, None))
    if gaps and not allow_gaps:
        if (row := index.lost_above(leaf)) != tree.NONE:
            raise index.lost(row)
        raise index.broken(leaf, f"has an ancestor whose parent {gaps[0].missing!r} is missing", gaps[0].missing)
    return gaps


def _faults(index: Index, leaf: int) -> list[Gap]:
    """Returns the faults at and above a leaf, first to last: a lost entry or a missing parent is a gap.

    Raises:
        UnknownEntry: an entry of an unknown type is critical.
    """
    columns, gaps = index.tree, list[Gap]()
    row = columns.nearest(columns.faults, leaf)
    while row != tree.NONE:
        if columns.kinds[row] & tree.CRITICAL:
            raise UnknownEntry(
                f"the entry at offset {columns.offsets[row]} is critical, and this convtree does not "
                "know it; use the program that wrote it"
            )
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
