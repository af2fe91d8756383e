"""Vacuum: the lines of a log without its older part and its other branches. Pure.

A `vacuum` entry comes first and stands for what is gone. The entries that stay keep their ids, times and bytes, but for
the parent where the entry above is gone. Marks are written anew, with what is in effect. The new log is read and
compared with the old one before anybody writes it: see `check_same`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from convtree._catalogue.record_summary import RecordSummary, copied_up_to, entry_key, summarise_record
from convtree._catalogue.tables import spent_by
from convtree._engine import codec, tree
from convtree._engine.context import Context, build_context
from convtree._engine.dropped import encode_dropped
from convtree._engine.log_index import Index
from convtree._engine.write_batch import fresh_id, reseal
from convtree._model.batches import batched
from convtree._model.entries import (
    Header,
    LabelMark,
    LeafMark,
    OpaqueMark,
    Record,
    SessionInfoMark,
    VacuumEntry,
)
from convtree._model.errors import CorruptLog, EntryNotFound, ReadOnlySession, SessionHeld
from convtree._model.sources import Clock, IdSource, timestamp
from convtree._model.usage import Usage
from convtree._session.forking import visibility_marks
from convtree._session.vacuum_rows import Effects, InEffect, Kept, carried, changes_to, depends_on_model, kept_rows

Held = Callable[[Sequence[str]], set[str]]
"""Returns those of some keys of entries whose usage counts in another session of the store."""


class DroppedBranch(msgspec.Struct, frozen=True, kw_only=True):
    """A branch that goes, as far as no other branch has its entries.

    Attributes:
        leaf_id: its end.
        entries: how many entries go with it.
        labels: the labels on these, from the end up.
    """

    leaf_id: str
    entries: int
    labels: tuple[str, ...] = ()


class Rewritten(NamedTuple):
    """A new log in place of an old one.

    Attributes:
        lines: the lines of the new log; None if there is nothing to drop.
        keep: the ids of the entries whose contexts stay.
        entries: how many entries go.
        kept: how many stay.
        branches: the branches that go.
    """

    lines: list[bytes] | None
    keep: tuple[str, ...]
    entries: int = 0
    kept: int = 0
    branches: tuple[DroppedBranch, ...] = ()


def rewrite(
    index: Index, location: str, keep: Sequence[str] | None, held: Held, clock: Clock, id_source: IdSource
) -> Rewritten:
    """Returns the log that a vacuum makes. `keep` of None keeps the leaf.

    Raises:
        SessionHeld: the session is on hold.
        CorruptLog: the log is damaged.
        ReadOnlySession: the log was written by a newer version.
        EntryNotFound: there is no such entry.
        BrokenPath, UnknownEntry: a context that must stay cannot be built.
        ValueError: it is not said what to keep.
    """
    check_can_vacuum(index, location)
    ids = _ids_to_keep(index, keep)
    leaves = [_row_of(index, id, location) for id in ids]
    if not leaves:
        return Rewritten(None, ())
    if any(_is_vacuum(index, row) for row in leaves):
        raise ValueError("no context is at the vacuum entry; pass keep=[…] with the ids of the leaves to keep")
    kept = kept_rows(index, leaves)
    columns = index.tree
    gone = [row for row in range(len(columns)) if row not in kept.parents and not _is_vacuum(index, row)]
    entries = sum(columns.is_node(row) for row in gone)
    done = Rewritten(None, ids, entries, len(kept.rows), _branches(index, kept, leaves))
    if not entries:
        return done._replace(branches=())
    lines = list(_Writer(index, kept, gone, held, clock, id_source).lines(leaves))
    return done._replace(lines=lines)


def check_can_vacuum(index: Index, location: str) -> None:
    """Raises unless all that a log says can be read, and it is not on hold."""
    index.check_critical()
    index.check_visibility()
    if index.state.read_only is not None and index.header is not None:
        raise ReadOnlySession(f"{location}: {index.state.read_only}")
    # A lost entry holds no text, an orphan can be read, and a torn tail is cut off. No path that stays has them.
    harmless = ("lost_entry", "orphan", "torn_tail")
    found = [each for each in index.state.findings if each.severity != "info" and each.code not in harmless]
    if found or index.header_payload is None:
        what = f"{found[0].code} in line {found[0].line}" if found else "it has no header"
        raise CorruptLog(f"{location}: {what}; repair it first", findings=tuple(index.state.findings))
    if index.state.hold:
        assert index.header is not None
        id = index.header.id
        raise SessionHeld(
            f"{location}: the session is on hold; nothing was dropped; end the hold with hold(False), or "
            "`convtree hold --undo`",
            id=id,
        )


def check_same(old: Index, new: Index, keep: Sequence[str], location: str) -> None:
    """Compares the new log with the old one.

    Raises:
        CorruptLog: the new log is not sound, or says something else than the old one.
    """
    wrong = [finding.code for finding in new.state.findings if finding.severity != "info"]
    wrong += (f"another context at {id!r}" for id in keep if context_at(old, id) != context_at(new, id))
    wrong += (name for name in ("name", "archived", "metadata", "cwd", "git_root", "hold") if _differ(old, new, name))
    there = {id: label for id, label in old.state.labels.items() if new.node(id) is not None}
    wrong += ["labels"] * (new.state.labels != there)
    wrong += ["roots"] * (new.tree.children(tree.ROOT) != [0])
    if wrong:
        raise CorruptLog(
            f"{location}: the log without the dropped part would be another one ({wrong[0]}); nothing was changed",
            findings=tuple(new.state.findings),
        )


def _differ(old: Index, new: Index, name: str) -> bool:
    return bool(getattr(old.state, name) != getattr(new.state, name))


def context_at(index: Index, id: str | None) -> Context:
    """Returns a context without what a vacuum may change: parents, and which usage counts another context."""
    row = tree.ROOT if id is None else index.node(id)
    assert row is not None
    context = build_context(index, row)
    entries = [msgspec.structs.replace(entry, parent_id=None) for entry in context.entries]
    return msgspec.structs.replace(context, entries=entries, stale_usage=frozenset())


def _ids_to_keep(index: Index, keep: Sequence[str] | None) -> tuple[str, ...]:
    if keep is not None:
        return tuple(dict.fromkeys(keep))
    leaf = index.state.leaf.id
    if leaf is None and any(index.tree.is_node(row) for row in range(len(index.tree))):
        raise ValueError("the leaf is before the first entry; pass keep=[…] with the ids of the leaves to keep")
    return () if leaf is None else (leaf,)


def _row_of(index: Index, id: str, location: str) -> int:
    row = index.node(id)
    if row is None:
        index.check_not_dropped(id)
        raise EntryNotFound(f"{location}: no entry {id[:140]!r}; keep has ids of entries, see leaves()", id=id)
    return row


def _is_vacuum(index: Index, row: int) -> bool:
    """Returns whether a row is the vacuum entry of an earlier vacuum: the new one says what it said."""
    return row == 0 and index.state.vacuumed


def _branches(index: Index, kept: Kept, leaves: Sequence[int]) -> tuple[DroppedBranch, ...]:
    """Returns the branches that go, in the order of the log. What two of them share counts for the first."""
    columns = index.tree
    known = {row for leaf in leaves for row in columns.walk_up(leaf)} | set(kept.rows)
    found = []
    for leaf in columns.leaves():
        own = []
        row = leaf
        while row >= 0 and row not in known:
            own.append(row)
            known.add(row)
            row = columns.parents[row]
        if own:
            ids = [index.id_of(row) for row in own] if index.state.labels else [index.id_of(leaf)]
            labels = (index.state.labels[id] for id in ids if id in index.state.labels)
            found.append(DroppedBranch(leaf_id=ids[0], entries=len(own), labels=tuple(labels)))
    return tuple(found)


class _Writer:
    """Makes the lines of the new log."""

    def __init__(
        self, index: Index, kept: Kept, gone: Sequence[int], held: Held, clock: Clock, id_source: IdSource
    ) -> None:
        self._index = index
        self._kept = kept
        self._gone = gone
        self._held = held
        self._time = timestamp(clock)
        self._id_source = id_source
        self._new_ids = set[str]()
        self._effects = Effects(index)
        self._above: dict[int, InEffect] = {}  # what is in effect in the new log, where it may be something else

    def lines(self, leaves: Sequence[int]) -> Iterator[bytes]:
        """Yields the lines of the new log; `leaves` are the rows whose contexts stay."""
        index = self._index
        ids: dict[int, str] = {}
        for rows in batched(self._kept.rows):
            ids.update(zip(rows, (entry.id for entry in index.entries(rows)), strict=True))
        yield from reseal(self._header(ids), self._payloads(ids, leaves))

    def _payloads(self, ids: dict[int, str], leaves: Sequence[int]) -> Iterator[bytes]:
        index, parents = self._index, self._kept.parents
        earlier = index.entries([0])[0] if index.state.vacuumed else None
        assert earlier is None or isinstance(earlier, VacuumEntry)
        root, carries = self._root(earlier)
        self._above[tree.ROOT] = carries
        yield codec.encode(root)
        marks: list[tuple[int, Record | None]] = [*visibility_marks(index.state, ids)]
        marks += ((row, None) for row in self._opaque_marks())
        waiting = deque(sorted(marks, key=lambda each: each[0]))
        last = root.id
        for rows in batched(self._kept.rows):
            for row, payload in zip(rows, index.payloads(rows), strict=True):
                while waiting and waiting[0][0] < row:
                    yield self._mark(*waiting.popleft())
                above, before = parents[row], index.tree.parents[row]
                parent_id = root.id if above == tree.ROOT else ids[above]
                moved = above != before or above == tree.ROOT
                for missing in self._missing_above(row, above):
                    entry = msgspec.structs.replace(
                        missing, id=self._fresh_id(), parent_id=parent_id, timestamp=self._time
                    )
                    yield codec.encode(entry)
                    parent_id, moved = entry.id, True
                yield codec.with_fields(payload, parent_id=parent_id) if moved else payload
                last = ids[row]
        for each in waiting:
            yield self._mark(*each)
        yield from map(self._encoded, self._last_marks(ids, leaves, last))

    # --- what is in effect ---

    def _root(self, earlier: VacuumEntry | None) -> tuple[VacuumEntry, InEffect]:
        """Returns the vacuum entry, and what it puts into effect."""
        index, kept = self._index, self._kept
        places = [row for row in kept.rows if index.tree.parents[row] not in kept.parents and self._matters(row)]
        carries = carried([self._effects.at(index.tree.parents[row]) for row in places])
        dropped = sum(index.tree.is_node(row) for row in self._gone)
        before = 0 if earlier is None else earlier.dropped
        ids = (record.id for rows in batched(self._all_gone()) for record in index.records(rows))
        return VacuumEntry(
            id=self._fresh_id(),
            timestamp=self._time,
            provider=carries.provider,
            model=carries.model,
            settings=dict(carries.settings) or None,
            state=dict(carries.state) or None,
            usage=self._usage() or None,
            dropped=dropped + before,
            dropped_ids=encode_dropped(ids, None if earlier is None else earlier.dropped_ids),
        ), carries

    def _matters(self, row: int) -> bool:
        """Returns whether a context depends on what is in effect above an entry."""
        return row not in self._kept.pinned or depends_on_model(self._index.entries([row])[0])

    def _missing_above(self, row: int, above: int) -> Iterator[Any]:
        """Yields the entries that must come between an entry and the one that is above it from now on.

        Nothing is missing where the entry above stays as well, with everything that is in effect there.
        """
        before = self._index.tree.parents[row]
        if before == above and above not in self._above:
            return
        there = self._above[above] if above in self._above else self._effects.at(above)
        if self._matters(row):
            yield from changes_to(self._effects.at(before), there)
        else:  # a pinned message: what it names is in effect below it
            own = self._effects.at(row)
            entry = self._index.entries([row])[0]
            names = getattr(entry, "model", None) is not None
            self._above[row] = there._replace(provider=own.provider, model=own.model) if names else there

    def _usage(self) -> list[dict[str, Any]]:
        """Returns what the entries that go have cost, without those whose usage counts in another session."""
        sums: dict[tuple[str | None, str | None], tuple[int, Usage]] = {}
        for rows in batched(self._all_gone()):
            summaries = [each for each in map(summarise_record, self._index.records(rows)) if spent_by(each)]
            held = self._held([entry_key(each) for each in summaries]) if summaries else set()
            for each in summaries:
                if entry_key(each) not in held:
                    _add_spent(sums, each)
        return [
            {name: value for name, value in (("provider", provider), ("model", model)) if value is not None}
            | {"answers": answers}
            | {name: value for name, value in msgspec.structs.asdict(usage).items() if value}
            for (provider, model), (answers, usage) in sorted(sums.items(), key=lambda each: str(each[0]))
            if answers or usage != Usage()
        ]

    # --- what goes, and marks ---

    def _all_gone(self) -> Iterator[int]:
        """Yields the rows that are not in the new log. Of the marks, those of unknown types stay."""
        stays = set(self._opaque_marks())
        if self._index.state.vacuumed:
            yield 0
        yield from (row for row in self._gone if row not in stays)

    def _opaque_marks(self) -> list[int]:
        columns = self._index.tree
        marks = [row for row in self._gone if not columns.is_node(row)]
        records = (record for rows in batched(marks) for record in self._index.records(rows))
        return [row for row, record in zip(marks, records, strict=True) if isinstance(record, OpaqueMark)]

    def _mark(self, row: int, mark: Record | None) -> bytes:
        return next(self._index.payloads([row])) if mark is None else self._encoded(mark)

    def _encoded(self, mark: Record) -> bytes:
        return codec.encode(msgspec.structs.replace(mark, id=self._fresh_id(), timestamp=self._time))

    def _last_marks(self, ids: dict[int, str], leaves: Sequence[int], last: str) -> Iterator[Record]:
        """Yields the marks after the entries: labels, what the session is called, and where its leaf is."""
        state, known = self._index.state, set(ids.values())
        for target, label in state.labels.items():
            if target in known:
                yield LabelMark(target_id=target, label=label)
        if (info := _session_info(self._index)) is not None:
            yield info
        leaf = state.leaf.id if state.leaf.id in known else ids[leaves[-1]]
        if leaf != last:
            yield LeafMark(target_id=leaf)

    def _fresh_id(self) -> str:
        id = fresh_id(self._index, self._id_source, self._new_ids)
        self._new_ids.add(id)
        return id

    # --- the header ---

    def _header(self, ids: dict[int, str]) -> bytes:
        """Returns the payload of the header. It names the last entry that was copied and is still there."""
        header, payload = self._index.header, self._index.header_payload
        assert header is not None
        assert payload is not None
        named = copied_up_to(header)
        row = None if named is None else self._index.node(named)
        if row is None or row in ids:
            return payload
        copied = [each for each in ids if each < row]
        return codec.with_fields(payload, copied_to=ids[max(copied)] if copied else UNSET)


def _add_spent(sums: dict[tuple[str | None, str | None], tuple[int, Usage]], summary: RecordSummary) -> None:
    for provider, model, answers, usage in spent_by(summary):
        before = sums.get((provider, model), (0, Usage()))
        sums[provider, model] = before[0] + answers, before[1] + usage


def _session_info(index: Index) -> SessionInfoMark | None:
    """Returns the mark that says what changed about a session since its header; None if nothing did."""
    state, header = index.state, index.header or Header(id="")
    now: dict[str, Any] = {name: getattr(state, name) for name in ("name", "cwd", "git_root")}
    changed = {name: value for name, value in now.items() if value != getattr(header, name)}
    before = header.metadata or {}
    metadata = {name: value for name, value in state.metadata.items() if name not in before or before[name] != value}
    metadata |= {name: None for name in before if name not in state.metadata}
    if metadata:
        changed["metadata"] = metadata
    if state.archived:
        changed["archived"] = True
    return SessionInfoMark(**changed) if changed else None


def size_of(lines: Iterable[bytes]) -> int:
    """Returns the size of a log in bytes."""
    return sum(len(line) + 1 for line in lines)
