"""Where the checkpoints of a thread are in its log.

A checkpoint is found by its id, because the id of its entry is derived from it. What needs the order of the ids, the
newest one and lists, reads the log backwards, as far as it has to. A checkpoint says if its id is not greater than
those before it (`late`); all others bound what the part of the log can have that was not read. So a new process finds
the newest checkpoint of a long thread without reading the thread.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import cast

from convtree import Entry, EntryNotFound, ExtensionDataEntry, Mark, Session
from convtree.adapters._langgraph_codec import (
    Key,
    Saved,
    are_writes,
    checkpoint_entry_id,
    early_entry_id,
    is_checkpoint,
    namespace_id,
    writes_in,
)
from convtree.adapters._langgraph_writes import chain_below, read_writes, writes_at

_KEPT = 64  # checkpoints in memory


class Index:
    """The checkpoints of a thread, as far as its log was read. Not thread-safe.

    Args:
        log: the session of the thread, refreshed.
    """

    def __init__(self, log: Session) -> None:
        self._log = log
        self._reset()

    def _reset(self) -> None:
        log = self._log
        self.replaced = log.times_replaced
        self._kept: OrderedDict[str, Saved] = OrderedDict()  # by entry, used last at the end
        self._order: list[tuple[str, str]] = []  # ids and namespaces, sorted
        self._newest: dict[str, str] = {}  # ids by namespace
        self._bound: str | None = None  # the ids of what was not read are smaller
        self._pending: dict[Key, list[ExtensionDataEntry]] = {}  # writes whose checkpoint was not read yet
        self._early: dict[Key, list[ExtensionDataEntry]] = {}
        self._again: set[Key] = set()  # those in whose place others were put
        self._backwards = log.records(reverse=True)
        last = next(self._backwards, None)
        self._top = 0 if last is None else last[0] + 1
        self.revision: str | None = None if last is None else last[1].id
        self._is_all = last is None
        if last is not None:
            self._take_backwards(last[1])

    # --- reading the log ---

    @property
    def is_outdated(self) -> bool:
        """Whether the log was replaced since it was read. What was appended meanwhile does not count."""
        return self._log.times_replaced != self.replaced

    def refresh(self) -> None:
        """Takes in what was appended, by whomever."""
        if self.is_outdated:
            self._reset()
            return
        for row, record in self._log.records(self._top):
            self._take(record)
            self._top, self.revision = row + 1, record.id  # others may refresh the log meanwhile

    def appended(self, entries: Sequence[Entry]) -> None:
        """Takes in what the caller has appended, where this had read the whole log."""
        for entry in entries:
            self._take(entry)
        self._top += len(entries)
        self.revision = entries[-1].id

    def _take(self, record: Entry | Mark) -> None:
        """Takes in a record that follows those that are known."""
        if is_checkpoint(record):
            saved = self._note(record)
            if record.data.get("again"):
                self._again.add(saved.key)
                self._kept.pop(checkpoint_entry_id(saved.key), None)
            else:
                saved.writes = [write for each in saved.early for write in writes_at(self._log, each)]
                self._keep(saved)
                self._early.pop(saved.key, None)
        elif are_writes(record):
            key = (record.data["ns"], record.data["of"])
            kept = self._kept.get(checkpoint_entry_id(key))
            if record.data.get("early"):
                if key in self._early:
                    self._early[key].append(record)
            else:
                if not self._has_read(key):
                    self._pending.setdefault(key, []).insert(0, record)
                if kept is not None and kept.writes is not None:
                    kept.writes += writes_in(record)
                    kept.tail = record.id

    def _read_more(self) -> None:
        """Reads one more record, backwards."""
        found = next(self._backwards, None)
        if found is None:
            self._is_all = True
        else:
            self._take_backwards(found[1])

    def _take_backwards(self, record: Entry | Mark) -> None:
        if is_checkpoint(record):
            saved = self._note(record)
            after = self._pending.pop(saved.key, [])
            if record.data.get("again"):
                self._again.add(saved.key)
            elif saved.key not in self._again and saved.entry_id not in self._kept and len(self._kept) < _KEPT:
                saved.writes = [write for each in saved.early for write in writes_at(self._log, each)]
                saved.writes += (write for each in reversed(after) for write in writes_in(each))
                saved.tail = after[0].id if after else saved.entry_id
                self._keep(saved)
        elif are_writes(record) and not record.data.get("early"):
            self._pending.setdefault((record.data["ns"], record.data["of"]), []).append(record)

    def _note(self, entry: ExtensionDataEntry) -> Saved:
        saved = Saved(entry.id, entry.data)
        namespace, id = saved.key
        if not self._has_read(saved.key):
            insort(self._order, (id, namespace))
        self._newest[namespace] = max(id, self._newest.get(namespace, id))
        if not entry.data.get("late"):
            self._bound = id if self._bound is None else min(id, self._bound)
        return saved

    def _keep(self, saved: Saved) -> None:
        self._kept[saved.entry_id] = saved
        self._kept.move_to_end(saved.entry_id)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    # --- questions ---

    def newest(self, namespace: str) -> str | None:
        """Returns the greatest id of a namespace; None if it has no checkpoint."""
        while True:
            found = self._newest.get(namespace)
            if found is not None and (self._is_all or (self._bound is not None and found >= self._bound)):
                return found
            if self._is_all or (found is None and not self.has_namespace(namespace)):
                return found
            self._read_more()

    def greatest(self) -> str | None:
        """Returns the greatest id of the thread; None if it has no checkpoint."""
        while self._bound is None and not self._is_all:
            self._read_more()
        return self._order[-1][0] if self._order else None

    def descending(self, namespace: str | None, before: str | None = None) -> Iterator[Key]:
        """Yields the checkpoints of a namespace, or of all, the greatest id first, and reads the log meanwhile."""
        end = None if before is None else (before, "")
        while True:
            at = len(self._order) if end is None else bisect_left(self._order, end)
            if at and (self._is_all or (self._bound is not None and self._order[at - 1][0] >= self._bound)):
                end = self._order[at - 1]
                if namespace in (None, end[1]):
                    yield end[1], end[0]
            elif self._is_all:
                return
            else:
                self._read_more()

    def has_namespace(self, namespace: str) -> bool:
        """Returns whether there may be checkpoints of a namespace. Only the root's need no entry of their own."""
        return not namespace or namespace in self._newest or self.has(namespace_id(namespace))

    def has(self, entry_id: str) -> bool:
        """Returns whether the log has an entry."""
        return entry_id in self._log

    def is_missing(self, key: Key) -> bool:
        """Returns whether it is known, without a look into the log, that there is no such checkpoint."""
        is_known = self._is_all or (self._bound is not None and key[1] >= self._bound)
        return is_known and not self._has_read(key)

    def _has_read(self, key: Key) -> bool:
        at = bisect_left(self._order, key[::-1])
        return self._order[at : at + 1] == [key[::-1]]

    def find(self, key: Key) -> Saved | None:
        """Returns a checkpoint with its writes; None if there is none."""
        entry_id = checkpoint_entry_id(key)
        saved = self._kept.get(entry_id)
        if saved is None and not self.is_missing(key):
            with suppress(EntryNotFound):
                saved = self._load(entry_id)
        if saved is not None and saved.writes is None:
            read_writes(self._log, saved)
        return saved

    def early(self, key: Key) -> list[ExtensionDataEntry]:
        """Returns the entries with writes that came before their checkpoint."""
        if key not in self._early:
            id = early_entry_id(key)
            if not self.has(id):
                return []
            first = cast(ExtensionDataEntry, self._log.entry(id))
            self._early[key] = [first, *chain_below(self._log, id, key)]
        return self._early[key]

    def at(self, entry_id: str) -> Saved:
        """Returns a checkpoint by its entry, perhaps without its writes.

        Raises:
            EntryNotFound: it is gone.
        """
        return self._kept.get(entry_id) or self._load(entry_id)

    def _load(self, entry_id: str) -> Saved:
        saved = Saved(entry_id, cast(ExtensionDataEntry, self._log.entry(entry_id)).data)
        self._keep(saved)
        return saved
