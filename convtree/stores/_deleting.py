"""The deleting half of a store: one session with its sub-agents', all of an owner, or those that a rule condemns."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from msgspec import UNSET, UnsetType

from convtree._catalogue.types import Filter
from convtree._engine.expected import ANYTHING, Expected, expected
from convtree._model.arguments import checked_methods
from convtree._model.batches import batched
from convtree._model.entries import Entry, Record
from convtree._model.errors import ConvtreeError, SessionChanged, SessionHeld, SessionLocked, SessionNotFound
from convtree._model.interrupts import Unlocking
from convtree._model.unicode_text import check_text
from convtree.stores._arguments import check_owner, check_session_id
from convtree.stores._copies import Said, holders_of, linked_to, said_in
from convtree.stores._families import (
    Family,
    confirmed,
    doomed,
    families_of,
    may_be_doomed,
    rules_of,
    spared_by_arrival,
    tasks_below,
)
from convtree.stores._judging import Verdict, held_error, judge
from convtree.stores._results import Erased, Pruned
from convtree.stores._shared import SharingStore
from convtree.stores.base import Deletion, Traces


@checked_methods
class StoreDeleter(SharingStore):
    """Deletes sessions. What their logs say decides, not the catalogue."""

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
        check_session_id(id)
        wanted = expected(expect_leaf, expect_revision)
        (deleted, changed), said = self._delete(id, wanted)
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
        return self._erased(deleted, self._holders(said))

    def erase(
        self,
        id: str | None = None,
        *,
        owner: str | None = None,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
    ) -> Erased:
        """Deletes a session as `delete` does, or overwrites what is left of one that was deleted before.

        Call it again when a reader has closed that an earlier call was waiting for, after a crash, or to repeat a
        `delete` whose answer was lost. With `owner`, it deletes all sessions of that owner, each with those of its
        sub-agents. Sessions on hold are kept with their family: `Erased.held`; `Erased.skipped` has others that were
        left. The ledger keeps what they had used, under the owner's name.

        Args:
            id: the session's id.
            owner: whose sessions to delete, instead of one.
            expect_leaf: as for `delete`, if there is such a session.
            expect_revision: as for `delete`, likewise.

        Raises:
            NotALog, StaleLeaf, LeafUncertain, SessionHeld, SessionLocked, SessionChanged: as `delete`, for one session.
            TypeError, ValueError: neither `id` nor `owner` was given, or both; or `owner` is not a text, or has an
                expectation.
        """
        if (id is None) == (owner is None):
            raise TypeError("erase takes either the id of a session, or owner=")
        if id is None:
            if expected(expect_leaf, expect_revision):
                raise TypeError("expect_leaf and expect_revision are about one session; leave them out with owner=")
            return self._erase_owner(check_owner(owner))
        check_session_id(id)
        try:
            return self.delete(id, expect_leaf=expect_leaf, expect_revision=expect_revision)
        except SessionNotFound:
            gone = id
            return self._erased([], self._query(lambda catalogue: linked_to(catalogue, gone)), gone=[id])

    def _erase_owner(self, owner: str) -> Erased:
        families = families_of(self._listed(Filter(owner=owner, tasks=True)), self._now_ms())
        deleted, held, skipped = [], [], []
        said: dict[str, set[int | None]] = {}
        for family in families:
            ids = [each.info.id for each in family.members]
            try:
                (gone, _), entries = self._delete(ids[0])
            except SessionHeld:
                held += ids
                continue
            except (ConvtreeError, OSError):
                gone, entries = [], {}
            deleted += gone
            skipped += [each for each in ids if each not in gone]
            for entry, times in entries.items() if gone else ():
                said[entry] = {*said.get(entry, ()), *times}
        done = self._erased(deleted, self._holders(said))
        return Erased(
            done, complete=done.complete, pending=done.pending, copies=done.copies, held=held, skipped=skipped
        )

    def prune(
        self,
        *,
        max_age: timedelta | float | None = None,
        keep: int | None = None,
        owner: str | None = None,
        dry_run: bool = True,
    ) -> Pruned:
        """Deletes sessions inactive for longer than `max_age` (a timedelta or seconds), and all but the last `keep`.

        A session and those of its sub-agents are one: the latest time of them counts, and they go together. The time
        of a session is its last activity, or its arrival in this store if that is later. One whose time is unknown
        goes with `keep=0` only. Archived sessions count as well.

        Every session is judged by its log, and is left if it is not the same any more when it is deleted: see
        `Pruned.skipped`. Sessions on hold are left, see `Pruned.held`; `Pruned.arrived` has those that stay for
        their arrival. Returns the deleted sessions, last active first;
        with `dry_run`, those it would delete.

        Args:
            max_age: how long ago somebody may have said something, or the session may have arrived.
            keep: how many sessions stay, without those of sub-agents.
            owner: only sessions of this owner.
            dry_run: deletes nothing.
        """
        if owner is not None:
            check_text(owner, "owner")
        now_ms = self._now_ms()
        rules = rules_of(max_age, keep, now_ms)
        families = families_of(self._listed(Filter(tasks=True)), now_ms)
        families = [each for each in families if owner is None or each.root.owner == owner]
        spared = spared_by_arrival(families, rules)
        families = may_be_doomed(families, rules)
        verdicts = self._judge((member.info.id for each in families for member in each.members), now_ms)
        gone, held, skipped = [], [], []
        for each in doomed(confirmed(families, verdicts, owner), rules):
            if each.is_held:
                held.append(each.root)
            elif not each.is_certain or not (dry_run or self._delete_family(each)):
                skipped.append(each.root)
            else:
                gone += [member.info for member in each.members]
        if gone and not dry_run:
            self._erase([each.id for each in gone])
        judged = {info.id: verdicts[info.id].judged for info in gone}
        arrived = tuple(each.root for each in spared)
        return Pruned(gone, held=tuple(held), skipped=tuple(skipped), judged=judged, arrived=arrived)

    # --- private ---

    def _judge(self, ids: Iterable[str], now_ms: int) -> dict[str, Verdict]:
        """Returns what the logs of some sessions say, by id. Those that cannot be read are left out."""
        verdicts = {}
        for id in ids:
            with suppress(ConvtreeError, OSError):
                verdicts[id] = judge(id, self._log(id, "r"), now_ms)
        return verdicts

    def _erased(self, deleted: Sequence[str], copies: Iterable[str], gone: Sequence[str] = ()) -> Erased:
        """Overwrites what deleted sessions have left, and returns what became of it."""
        traces = self._erase(gone or deleted)
        return Erased(deleted, complete=traces.complete, pending=traces.pending, copies=copies)

    def _holders(self, said: Said) -> builtins.list[str]:
        """Returns the sessions that hold some of these entries.

        Called when the entries are gone, so that a fork is named that was made meanwhile.
        """
        return self._query(lambda catalogue: holders_of(catalogue, said))

    def _erase(self, ids: Sequence[str]) -> Traces:
        erase: Callable[[Sequence[str]], Traces] | None = getattr(self._backend, "erase", None)
        with Unlocking(self._lock), self._lock:
            self._check_open()
            return Traces([], []) if erase is None else erase(ids)

    def _delete(self, id: str, wanted: Expected = ANYTHING) -> tuple[Deletion, Said]:
        """Deletes a session and those of its sub-agents, unless one of them changes after this looked at them.

        Also returns the entries that they had.

        The stamps come before the look at the logs: what the logs say is at least as new, and if the stamps still hold
        when the locks are taken, it is still true. So a hold that comes after the look is a change, too.

        Raises:
            SessionNotFound, NotALog: there is no such session.
            StaleLeaf, LeafUncertain: its log is not as expected.
            SessionHeld: one of them is on hold.
        """
        with Unlocking(self._lock), self._lock:
            self._check_open()
            catalogue = self._backend.catalogue()
            below = list(catalogue.descendants([id], "task"))
            listed = [
                each
                for some in batched([id, *below])
                for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))
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
                return Deletion([], [id]), {}  # no stamp says whether the log is still the one that was compared
            said = said_in(catalogue, family)
            done = self._backend.delete(family[::-1], stamps)
        self._pool.retire(done.deleted)
        return done, said

    def _delete_family(self, family: Family) -> bool:
        """Deletes a family if its stamps still hold, and returns whether it did."""
        ids = [each.info.id for each in family.members]
        with suppress(SessionLocked):
            with Unlocking(self._lock), self._lock:
                self._check_open()
                stamps = {each.info.id: each.stamp for each in family.members}
                deleted = self._backend.delete(ids[::-1], stamps).deleted
            self._pool.retire(deleted)
            return ids[0] in deleted
        return False
