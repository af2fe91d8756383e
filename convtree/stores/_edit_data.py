"""Other extension data in a session of a store, or less of it: its lines replaced, as a vacuum replaces them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine.expected import Expected, expected
from convtree._engine.log import Log
from convtree._model.arguments import checked_methods
from convtree._model.entries import Entry, Record
from convtree._model.sources import Clock, IdSource
from convtree._session.data_edits import Edits, check_same_but_data, edited
from convtree._session.vacuuming import Held, size_of
from convtree.stores._redact import RedactingStore
from convtree.stores._vacuum import index_of_lines, whole_index


class EditedData(msgspec.Struct, frozen=True, kw_only=True):
    """What an edit of extension data changed, or would change.

    Attributes:
        id: the session.
        done: whether the log was replaced; False after a dry run, and if there was nothing to do.
        size_before, size_after: the size of the log in bytes.
        original: where the log was kept as it was; None if it was not replaced, was removed, or is in a database.
        complete: files and tables that hold none of the old data any more, as in `convtree.Erased`.
        pending: files that may still hold some until a reader has finished.
        copies: what still holds a copy: ids of forks and of copied logs, and files next to the log.
    """

    id: str
    done: bool
    size_before: int
    size_after: int
    original: str | None = None
    complete: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


class _EditedLog:
    """The log that edits make of another one: `build` is called with that, and returns the lines."""

    def __init__(self, edits: Edits, wanted: Expected, clock: Clock, id_source: IdSource) -> None:
        self._edits, self._wanted, self._clock, self._id_source = edits, wanted, clock, id_source
        self._sizes = 0, 0
        self._is_new = False

    def build(self, log: Log, held: Held, *, heals: bool = False) -> list[bytes] | None:
        """Returns the lines of the new log; None if there is nothing to do.

        Raises:
            StaleLeaf: the log is not as expected.
            As `edited` and `check_same_but_data`.
        """
        del held
        old = whole_index(log, heals=heals)
        self._wanted.check(old, log.location)
        lines = edited(old, self._edits, log.location, self._clock, self._id_source)
        before = sum(size_of(chunk.lines) for chunk in log.read())
        self._is_new = lines is not None
        self._sizes = before, before if lines is None else size_of(lines)
        if lines is not None:
            check_same_but_data(old, index_of_lines(lines), self._edits, log.location)
        return lines

    def result(self, id: str, *, done: bool) -> EditedData:
        """Returns what the last `build` made."""
        before, after = self._sizes
        return EditedData(id=id, done=done and self._is_new, size_before=before, size_after=after)


@checked_methods
class DataEditingStore(RedactingStore):
    """The part of a store that changes and drops extension data."""

    def edit_data(
        self,
        id: str,
        *,
        change: Mapping[str, Any] = MappingProxyType({}),
        drop: Iterable[str | Entry] = (),
        expect_revision: str | Record | UnsetType | None = UNSET,
        dry_run: bool = True,
        remove_original: bool = False,
    ) -> EditedData:
        """Changes extension data of a session, and drops entries with some: snapshots that are not needed any more.

        Extension data is never part of a context, so no context changes. Messages and all else keep their bytes, ids
        and times. What was below a dropped entry is below the one above that; its labels go, and the leaf moves up.
        The new log is read and compared with the old one first; a crash leaves the one or the other.

        In a folder, the log as it was is kept as `<id>.jsonl.original`; in a database, the lines are replaced in one
        transaction, and nothing is kept. Forks and copies are not changed: `EditedData.copies` names them.

        Args:
            id: the session.
            change: new data of `ExtensionDataEntry`, by their ids.
            drop: the entries that go, ids or entries.
            expect_revision: the last record that the log must have, such as `Session.revision`.
            dry_run: only says how large the log would be.
            remove_original: in a folder, deletes the log as it was, once the new one is in its place.

        Raises:
            SessionNotFound: there is no session with this id.
            StaleLeaf: the log is not as expected.
            EntryNotFound: it has no such entry.
            ValueError: an entry is no extension data, or must stay: it has a usage, or a compaction refers to it.
            InvalidMessage: data cannot be stored.
            SessionHeld: it is on hold.
            CorruptLog, ReadOnlySession: it is damaged, or was written by a newer version; nothing was changed.
            SessionLocked: another writer holds the lock.
            NotImplementedError: the store is one of another package, and cannot replace the lines of a session.
        """
        edits = Edits(dict(change), frozenset(each.id if isinstance(each, Entry) else each for each in drop))
        plan = _EditedLog(edits, expected(UNSET, expect_revision), self._clock, self._id_source)
        left = self._rewritten(id, plan.build, dry_run=dry_run, remove_original=remove_original)
        done = plan.result(id, done=not dry_run)
        return msgspec.structs.replace(done, **left) if done.done else done
