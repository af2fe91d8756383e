"""Vacuum of a session in a store: dropping what lies before its last compaction, and its other branches.

The plan, the comparison of both logs and the replacement happen under the lock that an append needs. So an append comes
before, and is judged, or after, and continues the new log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from convtree._engine.intents import CompleteTail
from convtree._engine.journal import LOST_HEADER, Journal
from convtree._engine.log import Addition, Log
from convtree._engine.log_index import Index
from convtree._logs.memory import MemoryLog
from convtree._model.arguments import checked_methods
from convtree._model.entries import Entry
from convtree._model.interrupts import Unlocking
from convtree._model.sources import Clock, IdSource, random_id, system_clock
from convtree._session.vacuuming import DroppedBranch, Held, Rewritten, check_same, rewrite, size_of
from convtree.stores._arguments import check_session_id
from convtree.stores._copies import said_in
from convtree.stores._deleting import StoreDeleter
from convtree.stores.base import BuildNew, Replaced


class Vacuumed(msgspec.Struct, frozen=True, kw_only=True):
    """What a vacuum dropped, or would drop.

    Attributes:
        id: the session.
        done: whether the log was replaced; False after a dry run, and if there was nothing to drop.
        keep: the ids of the entries whose contexts stay.
        entries: how many entries are gone.
        kept: how many stay.
        branches: the branches that are gone, with their labels.
        size_before, size_after: the size of the log in bytes. After a dry run, the latter is close to what it will be.
        original: where the log was kept as it was; None if it was not replaced, was removed, or is in a database.
        complete: files and tables that hold none of the dropped words any more, as in `convtree.Erased`.
        pending: files that may still hold some until a reader has finished.
        copies: what still holds a copy: ids of forks and of copied logs, and files next to the log.
    """

    id: str
    done: bool
    keep: tuple[str, ...]
    entries: int
    kept: int
    branches: tuple[DroppedBranch, ...]
    size_before: int
    size_after: int
    original: str | None = None
    complete: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


class VacuumedLog:
    """The log that a vacuum makes of another one: `build` is called with that, and returns the lines.

    Args:
        keep: the ids of the entries whose contexts stay, or entries; None: the leaf.
        clock: the clock for the time of what is written.
        id_source: makes the ids of what is written.

    Raises:
        TypeError, ValueError: `keep` is no list of ids.
    """

    def __init__(
        self,
        keep: Iterable[str | Entry] | None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> None:
        self._keep = _checked(keep)
        self._clock = clock
        self._id_source = id_source
        self._found = Rewritten(None, ())
        self._sizes = 0, 0

    def build(self, log: Log, held: Held, *, heals: bool = False) -> list[bytes] | None:
        """Returns the lines of the new log; None if there is nothing to drop.

        The new log was read and compared with the old one. With `heals`, the rest of a write that was cut off is
        removed from the old log first; the caller holds its lock.

        Raises:
            As `rewrite` and `check_same`.
        """
        old = whole_index(log, heals=heals)
        self._found = found = rewrite(old, log.location, self._keep, held, self._clock, self._id_source)
        before = sum(size_of(chunk.lines) for chunk in log.read())
        self._sizes = before, before
        if found.lines is not None:
            check_same(old, index_of_lines(found.lines), found.keep, log.location)
            self._sizes = before, size_of(found.lines)
        return found.lines

    def result(self, id: str, *, done: bool) -> Vacuumed:
        """Returns what the last `build` found."""
        found = self._found
        return Vacuumed(
            id=id,
            done=done and found.lines is not None,
            keep=found.keep,
            entries=found.entries,
            kept=found.kept,
            branches=found.branches,
            size_before=self._sizes[0],
            size_after=self._sizes[1],
        )


def whole_index(log: Log, *, heals: bool) -> Index:
    """Reads a whole log. With `heals`, first removes the rest of a write that was cut off; the caller has its lock."""
    journal = Journal.open(log, use_snapshot=False)
    if heals and any(finding.code == "torn_tail" for finding in journal.index.state.findings):
        journal.write(CompleteTail(), lambda: LOST_HEADER)
        journal = Journal.open(log, use_snapshot=False)
    return journal.index


def index_of_lines(lines: Sequence[bytes]) -> Index:
    """Reads a log that is to be written: what a reader will find there."""
    log = MemoryLog()
    log.append(0, lambda _: Addition(lines, 0))
    return Journal.open(log, use_snapshot=False).index


def _checked(keep: Any) -> tuple[str, ...] | None:
    if keep is None:
        return None
    ids = tuple(each.id if isinstance(each, Entry) else each for each in keep)
    for id in ids:
        if not isinstance(id, str):
            raise TypeError(f"keep: expected a list of entry ids, but one of them is a {type(id).__name__}")
    if not ids:
        raise ValueError("keep is empty, so nothing would stay; pass the ids of the leaves to keep")
    return ids


@checked_methods
class VacuumingStore(StoreDeleter):
    """The part of a store that drops what sessions no longer need."""

    _id_source: IdSource

    def vacuum(
        self,
        id: str,
        keep: Iterable[str | Entry] | None = None,
        *,
        dry_run: bool = True,
        remove_original: bool = False,
    ) -> Vacuumed:
        """Drops the other branches of a session, and what lies before the last compaction of the branches that stay.

        The contexts at the entries `keep` stay as they are; those at entries above them are not promised. A `vacuum`
        entry at the beginning says what the dropped part still contributes: model, settings, application state, usage,
        and the dropped ids, so that an import or a retry brings nothing back. The new log is read and compared with the
        old one first. A crash leaves the one or the other. What forks hold stays there, and its usage counts there.

        In a folder, the log as it was is kept as `<id>.jsonl.original`; in a database, the lines are replaced in one
        transaction, and nothing is kept. If the leaf is dropped, the last of `keep` is the leaf.

        Args:
            id: the session.
            keep: the entries whose contexts stay, ids or entries; None: the leaf.
            dry_run: only says what would go.
            remove_original: in a folder, deletes the log as it was, once the new one is in its place.

        Raises:
            SessionNotFound: there is no session with this id.
            SessionHeld: it is on hold.
            EntryNotFound: it has no such entry.
            CorruptLog, ReadOnlySession: it is damaged, or was written by a newer version; nothing was changed.
            BrokenPath, UnknownEntry: a context that must stay cannot be built; nothing was changed.
            SessionLocked: another writer holds the lock.
            NotImplementedError: the store is one of another package, and cannot replace the lines of a session.
        """
        plan = VacuumedLog(keep, self._clock, self._id_source)
        left = self._rewritten(id, plan.build, dry_run=dry_run, remove_original=remove_original)
        done = plan.result(id, done=not dry_run)
        return msgspec.structs.replace(done, **left) if done.done else done

    def _rewrite(self) -> Callable[[str, BuildNew, bool], Replaced]:
        """Returns `rewrite` of the backend.

        Raises:
            NotImplementedError: it is of another package, and has none.
        """
        rewrite: Callable[[str, BuildNew, bool], Replaced] | None = getattr(self._backend, "rewrite", None)
        if rewrite is None:
            raise NotImplementedError(
                f"{self.location}: this store cannot replace the lines of a session; copy it to a folder with "
                "copy_to(), change it there, delete it here and copy it back"
            )
        return rewrite

    def _rewritten(self, id: str, build: BuildNew, *, dry_run: bool, remove_original: bool) -> dict[str, Any]:
        """Replaces the lines of a session by those that `build` returns; with `dry_run`, only calls that.

        Returns what is left of the old text, as the fields of `Vacuumed`; nothing if nothing was replaced.
        """
        check_session_id(id)
        replace = self._rewrite()
        if dry_run:
            log = self._log(id, "r")
            try:
                build(log, lambda _: set())
            finally:
                log.close()
            return {}
        replaces = False

        def build_new(log: Log, held: Held, *, heals: bool = False) -> Sequence[bytes] | None:
            nonlocal replaces
            lines = build(log, held, heals=heals)
            replaces = lines is not None
            return lines

        with Unlocking(self._lock), self._lock:
            said = self._query(lambda catalogue: said_in(catalogue, [id]))
            replaced = replace(id, build_new, remove_original)
        if not replaces:
            return {}
        traces = self._erase([id])
        return {
            "original": replaced.original,
            "complete": tuple(dict.fromkeys((*replaced.complete, *traces.complete))),
            "pending": tuple(traces.pending),
            "copies": (*(each for each in self._holders(said) if each != id), *replaced.beside),
        }
