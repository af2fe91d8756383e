"""The deleting half of a store: a session goes with its sub-agents', all of them or none, and so do their words."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec import UNSET, UnsetType

from convtree._catalogue.types import Filter
from convtree._engine import codec
from convtree._engine.expected import Expected, expected
from convtree._model.arguments import checked_methods
from convtree._model.batches import batched
from convtree._model.entries import Entry, Header, Record
from convtree._model.errors import SessionChanged, SessionLocked, SessionNotFound
from convtree.stores._copies import copies_among, related_headers
from convtree.stores._families import Family, tasks_below
from convtree.stores._judging import held_error, judge
from convtree.stores._results import Erased
from convtree.stores._shared import SharingStore
from convtree.stores.base import Catalogue, Deletion, Traces


@checked_methods
class StoreDeleter(SharingStore):
    """Deletes sessions of a backend; `SessionStore` adds sessions to write to."""

    def delete(
        self,
        id: str,
        *,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
    ) -> Erased:
        """Deletes a session and the sessions of its sub-agents: all of them, or none. What they said is overwritten.

        Returns the ids that were deleted, this one last, and where words of them are left: forks stay, because they
        have copies, and a file that another process reads is only overwritten when that has finished.

        With an expectation, deletes the session only as the caller knows it. To repeat a call whose answer was lost,
        call `erase` with the same: if the session is gone, its result is empty, and one that began under its id
        meanwhile is not deleted.

        Args:
            id: the session's id.
            expect_leaf: the leaf that its log must have, as for `Session.append`.
            expect_revision: the last record that its log must have, such as `Session.revision`.

        Raises:
            SessionNotFound: there is no session with this id.
            NotALog: something else is stored under this id.
            StaleLeaf: the log is not as expected.
            LeafUncertain: a leaf is expected, and damage lies behind the line that set it.
            SessionHeld: one of the sessions is on hold.
            SessionLocked: another writer holds a lock.
            SessionChanged: another writer wrote to one of the sessions meanwhile, or began a sub-agent's.
        """
        codec.check_id(id, "id")
        wanted = expected(expect_leaf, expect_revision)
        copies = self._copies(id)
        with self._lock:
            deleted, changed = self._delete(id, wanted)
        self._pool.retire(deleted)
        if id in changed and wanted:
            judge(id, self._log(id, "r"), self._now_ms(), wanted)  # it may be for the caller to decide, not to repeat
        if changed:
            raise SessionChanged(
                f"{self.location}: {changed[0]!r} was written to meanwhile; nothing was deleted, try again",
                holder=None,
                ids=tuple(changed),
            )
        if id not in deleted:
            raise SessionNotFound(f"{self.location}: there is no session {id!r}")
        return self._erased(deleted, copies)

    def erase(
        self,
        id: str,
        *,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
    ) -> Erased:
        """Deletes a session as `delete` does, or overwrites what is left of one that was deleted before.

        Call it again when a reader has closed that an earlier call was waiting for, after a crash, or to repeat a
        `delete` whose answer was lost.

        Args:
            id: the session's id.
            expect_leaf: as for `delete`, if there is such a session.
            expect_revision: as for `delete`, likewise.

        Raises:
            NotALog, StaleLeaf, LeafUncertain, SessionHeld, SessionLocked, SessionChanged: as `delete`.
        """
        codec.check_id(id, "id")
        try:
            return self.delete(id, expect_leaf=expect_leaf, expect_revision=expect_revision)
        except SessionNotFound:
            return self._erased([], self._copies(id), gone=[id])

    # --- private ---

    def _copies(self, id: str, *, with_tasks: bool = True) -> builtins.list[str]:
        """Returns the sessions that hold a copy of what a session and those of its sub-agents say."""

        def find(catalogue: Catalogue) -> builtins.list[str]:
            ids = [id, *(catalogue.descendants([id], "task") if with_tasks else ())]
            headers: Callable[[], Mapping[str, Header]] | None = getattr(self._backend, "headers", None)
            if headers is not None:
                return copies_among(headers(), ids, catalogue.gone_links)
            found = related_headers(catalogue, lambda each: self._log(each, "r"), ids)
            return copies_among(found, ids, catalogue.gone_links)

        return self._query(find)

    def _erased(self, deleted: Sequence[str], copies: Iterable[str], gone: Sequence[str] = ()) -> Erased:
        """Overwrites what deleted sessions have left, and returns what became of it."""
        traces = self._erase(gone or deleted)
        return Erased(deleted, complete=traces.complete, pending=traces.pending, copies=copies)

    def _erase(self, ids: Sequence[str]) -> Traces:
        erase: Callable[[Sequence[str]], Traces] | None = getattr(self._backend, "erase", None)
        with self._lock:
            self._check_open()
            return Traces([], []) if erase is None else erase(ids)

    def _delete(self, id: str, wanted: Expected) -> Deletion:
        """Deletes a session and those of its sub-agents, unless one of them changes after this looked at them.

        The stamps come before the look at the logs: what the logs say is at least as new, and if the stamps still hold
        when the locks are taken, it is still true. So a hold that comes after the look is a change, too.

        Raises:
            SessionNotFound, NotALog: there is no such session.
            StaleLeaf, LeafUncertain: its log is not as expected.
            SessionHeld: one of them is on hold.
        """
        self._check_open()
        catalogue = self._backend.catalogue()
        below = list(catalogue.descendants([id], "task"))
        listed = [
            each for some in batched([id, *below]) for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))
        ]
        verdicts = {id: judge(id, self._log(id, "r"), self._now_ms(), wanted)}
        for each in below:
            with suppress(SessionNotFound):  # deleted meanwhile
                verdicts[each] = judge(each, self._log(each, "r"), self._now_ms())
        family = tasks_below(id, below, verdicts)
        if held := [each for each in reversed(family) if verdicts[each].judged.held]:
            raise held_error(self.location, held[0])
        stamps = {each.info.id: each.stamp for each in listed}
        if wanted and id not in stamps:
            return Deletion([], [id])  # no stamp says whether the log is still the one that was compared
        return self._backend.delete(family[::-1], stamps)

    def _delete_family(self, family: Family) -> bool:
        """Deletes a family if its stamps still hold, and returns whether it did."""
        ids = [each.info.id for each in family.members]
        with self._lock, suppress(SessionLocked):
            self._check_open()
            stamps = {each.info.id: each.stamp for each in family.members}
            deleted = self._backend.delete(ids[::-1], stamps).deleted
            self._pool.retire(deleted)
            return ids[0] in deleted
        return False
