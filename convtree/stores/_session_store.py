"""Many sessions in a folder, a database or memory, with one set of calls.

>>> import convtree
>>> store = convtree.open_store("memory:")
>>> with store.create(name="Trip", cwd="/home/me") as session:
...     question = session.append({"role": "user", "content": "Where shall we go?"})
>>> [info.name for info in store.list(cwd="/home/me")]
['Trip']
>>> store.search("shall go")[0].snippet
'Where shall we go?'
>>> store.close()
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from convtree._catalogue.record_summary import sanitise_text
from convtree._catalogue.types import Filter, Progress
from convtree._engine import codec
from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._engine.log import Log, Mode
from convtree._engine.redact import Redact, redact_lines
from convtree._logs import directories
from convtree._logs.copy import Copied
from convtree._logs.directories import Directory
from convtree._model.batches import batched
from convtree._model.entries import Header, ParentSession
from convtree._model.errors import ConvtreeError, SessionChanged, SessionLocked, SessionNotFound
from convtree._model.sources import Clock, IdSource, random_id, system_clock, timestamp
from convtree._session.forking import copy_log
from convtree._session.header import check_choice, new_header
from convtree._session.session import Session
from convtree.stores._arguments import checked_id
from convtree.stores._copies import Said, holders_of, said_in
from convtree.stores._copy import copy_session
from convtree.stores._families import (
    Family,
    confirmed,
    doomed,
    families_of,
    may_be_doomed,
    rules_of,
    tasks_below,
)
from convtree.stores._judging import Verdict, held_error, judge
from convtree.stores._reader import StoreReader
from convtree.stores._results import Erased, Pruned
from convtree.stores.base import Deletion, StoreBackend, Traces

_DESCRIBE = ("name", "cwd", "git_root", "owner", "metadata", "parent_session")  # a session that begins


class SessionStore(StoreReader):
    """Many sessions in one place. Made by `open_store`; a context manager; thread-safe.

    Directories are absolute and normalised, on the way in and in queries; the root of a worktree is that of the main
    one. Owners are compared as text: ask for them in the form in which they were stored.

    Args:
        backend: where the sessions are; `convtree.stores.base` says how to write one.
        redact: called with everything that the store's sessions write; its result is written instead.
        clock: returns the time in nanoseconds since 1970.
        id_source: returns new ids.
    """

    def __init__(
        self,
        backend: StoreBackend,
        *,
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> None:
        super().__init__(backend, clock)
        self._id_source = id_source
        self._redact = redact

    # --- one session ---

    def create(
        self,
        *,
        id: str | None = None,
        name: str | None = None,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
        on_stale: OnStale = "raise",
    ) -> Session:
        """Begins a session. Nothing is stored before its first record.

        Args:
            id: its id; None makes a new one.
            name: its name.
            cwd: the directory it is about.
            git_root: the root of the repository it is about.
            owner: whose it is.
            metadata: a JSON object of the application.
            parent_session: the session it belongs to. One of kind "task" is a sub-agent's: lists leave it out.
            on_stale: what an append does if another writer moved the leaf, as for `Session.open`.

        Raises:
            SessionExists: there is a session with this id; at the latest at the first append.
            InvalidMessage: a value cannot be stored.
        """
        header = self._header(id, cwd, git_root, owner, name, metadata, parent_session)
        return self._session(header.id, "x", on_stale, header)

    def open(
        self,
        id: str,
        *,
        create: bool = False,
        read_only: bool = False,
        on_stale: OnStale = "raise",
        name: str | None = None,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
    ) -> Session:
        """Opens a session.

        Args:
            id: its id.
            create: begins a session with this id if there is none.
            read_only: opens it without a lock, and refuses writes.
            on_stale: what an append does if another writer moved the leaf, as for `Session.open`.
            name: describes the session if it begins, as for `create`; needs `create`. So do the arguments after it.
                They do not change a session that exists.
            cwd: see `name`.
            git_root: see `name`.
            owner: see `name`.
            metadata: see `name`.
            parent_session: see `name`.

        Raises:
            SessionNotFound: there is no session with this id, and `create` is False.
        """
        if read_only and create:
            raise ValueError("read_only=True opens a session that exists; leave out create=True, or read_only=True")
        header = self._header(id, cwd, git_root, owner, name, metadata, parent_session)
        given = [key for key in _DESCRIBE if getattr(header, key) is not None]
        if given and not create:
            raise TypeError(f"{given[0]} describes a new session; pass create=True with it, or leave it out")
        mode: Mode = "r" if read_only else "a" if create else "r+"
        return self._session(id, mode, on_stale, header)

    def open_or_create(self, header: Header, *, arrives: bool = False, on_stale: OnStale = "raise") -> Session:
        """Opens the session with the id of `header`, or begins it with that header.

        With `arrives`, a session that begins says in its header that it came into this store now.

        Raises:
            InvalidMessage: the header's id is not valid.
        """
        codec.check_id(header.id, "id")
        if arrives:
            header = msgspec.structs.replace(header, arrived=timestamp(self._clock))
        return self._session(header.id, "a", on_stale, header)

    def fork(
        self,
        id: str,
        entry_id: str | AtLeaf | None = LEAF,
        *,
        new_id: str | None = None,
        then: Iterable[Any] = (),
    ) -> Session:
        """Copies the path to an entry into a new session, and opens that. The copy is stored whole or not at all.

        Lines are copied byte for byte, unless the store's `redact` changes them. `then` are messages and entries, as
        `append_many` takes them, that follow the path. They are stored with it: after a crash, both are there or
        neither.

        Raises:
            SessionNotFound: there is no session with this id.
            SessionExists: there is a session with the new id.
            IdConflict: an item of `then` has an id that the forked session has.
            TypeError, InvalidMessage, InvalidCompaction: an item of `then` cannot be stored.
            EntryNotFound, BrokenPath, LeafUncertain, UnknownEntry: the path cannot be copied.
        """
        with self.open(id, read_only=True) as source:
            copied = source.copy_path(self._write_new, entry_id, id=checked_id(new_id), then=then)
        return self.open(copied)

    def copy(self, id: str, new_id: str | None = None) -> Session:
        """Copies a session with all its branches and marks into a new one, and opens that.

        The copy is stored whole or not at all. Entries and marks keep their ids, and the leaf is the same. Sessions of
        sub-agents are not copied, nor is a hold. Usage counts once: in the original, as long as that is in the store.

        Raises:
            SessionNotFound: there is no session with this id.
            SessionExists: there is a session with the new id.
            CorruptLog: the session is damaged; repair it first.
            UnknownEntry: it has a critical mark of an unknown type.
        """
        with self.open(id, read_only=True) as source:
            copied = copy_log(source, self._write_new, id=checked_id(new_id))
        return self.open(copied)

    def rename(self, id: str, name: str | None) -> None:
        """Changes the name of a session. None removes it."""
        with self.open(id) as session:
            session.rename(name)

    def archive(self, id: str, archived: bool = True) -> None:
        """Archives a session, or restores it with `archived=False`. `list` and `resume` skip archived sessions."""
        with self.open(id) as session:
            session.archive(archived)

    def unarchive(self, id: str) -> None:
        """Restores an archived session."""
        self.archive(id, False)

    def hold(self, id: str, held: bool = True) -> None:
        """Puts a session on hold, so that `delete` and `prune` refuse it; or releases it with `held=False`."""
        with self.open(id) as session:
            session.hold(held)

    def release(self, id: str) -> None:
        """Releases a session from its hold."""
        self.hold(id, False)

    def set_directories(
        self, id: str, *, cwd: Directory | UnsetType | None = UNSET, git_root: Directory | UnsetType | None = UNSET
    ) -> None:
        """Changes the directories of a session, by which it is found. None removes one, left out it is unchanged."""
        with self.open(id) as session:
            session.set_directories(cwd=cwd, git_root=git_root)

    def move_directory(self, old: Directory, new: Directory) -> builtins.list[str]:
        """Tells the sessions of a directory, and of all below it, that it has moved; returns their ids.

        Archived sessions and those of sub-agents are moved, too. Call it again if it was interrupted.

        Raises:
            SessionLocked: another writer holds a lock; sessions that were moved before stay.
        """
        before, after = directories.absolute(old), directories.absolute(new)
        done = []
        for each in self._listed(Filter(tasks=True)):
            named = {"cwd": each.info.cwd, "git_root": each.info.git_root}
            found = {name: directories.moved(path, before, after) for name, path in named.items()}
            changes = {name: path for name, path in found.items() if path is not None}
            if changes:
                self.set_directories(each.info.id, **changes)
                done.append(each.info.id)
        return done

    def delete(self, id: str) -> Erased:
        """Deletes a session and the sessions of its sub-agents: all of them, or none. What they said is overwritten.

        Returns the ids that were deleted, this one last, and where words of them are left: forks stay, because they
        have copies, and a file that another process reads is only overwritten when that has finished.

        Raises:
            SessionNotFound: there is no session with this id.
            NotALog: something else is stored under this id.
            SessionHeld: one of the sessions is on hold.
            SessionLocked: another writer holds a lock.
            SessionChanged: another writer wrote to one of the sessions meanwhile, or began a sub-agent's.
        """
        codec.check_id(id, "id")
        with self._lock:
            (deleted, changed), said = self._delete(id)
        if changed:
            raise SessionChanged(
                f"{self.location}: {changed[0]!r} was written to meanwhile; nothing was deleted, try again",
                holder=None,
                ids=tuple(changed),
            )
        if id not in deleted:
            raise SessionNotFound(f"{self.location}: there is no session {id!r}")
        return self._erased(deleted, said)

    def erase(self, id: str) -> Erased:
        """Deletes a session as `delete` does, or overwrites what is left of one that was deleted before.

        Call it again when a reader has closed that an earlier call was waiting for, or after a crash.

        Raises:
            NotALog, SessionHeld, SessionLocked, SessionChanged: as `delete`.
        """
        codec.check_id(id, "id")
        try:
            return self.delete(id)
        except SessionNotFound:
            return self._erased([], {}, gone=[id])

    # --- several sessions ---

    def resume(
        self,
        *,
        cwd: Directory | None,
        git_root: Directory | None = None,
        owner: str | None = None,
        max_age: timedelta | float = timedelta(hours=1),
        note: str | None = None,
        on_stale: OnStale = "raise",
    ) -> Session | None:
        """Opens the session that `resumable` finds; None if there is none.

        Args:
            cwd: the session's directory.
            git_root: or the root of its repository, unless None.
            owner: its owner; None means any.
            max_age: how long ago it was last active at most: a timedelta or seconds.
            note: the text of a message to append, which only the model sees: to tell it that time has passed. It is no
                activity.
            on_stale: what an append does if another writer moved the leaf, as for `Session.open`.
        """
        found = self.resumable(cwd=cwd, git_root=git_root, owner=owner, max_age=max_age)
        if found is None:
            return None
        session = self.open(found.id, on_stale=on_stale)
        if note is not None:
            try:
                session.append({"role": "user", "content": note}, visible_to="model")
            except BaseException:
                session.close()
                raise
        return session

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
        `Pruned.skipped`. Sessions on hold are left, see `Pruned.held`. Returns the deleted sessions, last active first;
        with `dry_run`, those it would delete.

        Args:
            max_age: how long ago somebody may have said something, or the session may have arrived.
            keep: how many sessions stay, without those of sub-agents.
            owner: only sessions of this owner.
            dry_run: deletes nothing.
        """
        now_ms = self._now_ms()
        rules = rules_of(max_age, keep, now_ms)
        families = families_of(self._listed(Filter(tasks=True)), now_ms)
        families = [each for each in families if owner is None or each.root.owner == sanitise_text(owner)]
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
        return Pruned(gone, held=tuple(held), skipped=tuple(skipped), judged=judged)

    def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> builtins.list[Copied]:
        """Copies sessions into another store, byte for byte. `ids` of None copies all.

        An interrupted copy continues where it was. The copy is read back and compared. `redact` is not called. A
        session that is damaged here, or that is another one or longer in the target, is refused with a reason, and the
        others are copied.

        Raises:
            SessionNotFound: there is no session with one of these ids.
            OSError: from the storage. Sessions that were copied before stay; copy again to continue.
        """
        done: builtins.list[Copied] = []
        if ids is None:
            ids = [each.info.id for each in self._listed(Filter(tasks=True))]
            there = set(ids)
            done = [
                Copied(id=finding.id or finding.place, status="refused", reason=finding.code)
                for finding in self.findings
                if finding.id not in there
            ]
        for number, id in enumerate(ids, 1):
            done.append(self._copy(id, target))
            if progress is not None:
                progress(number, len(ids))
        return done

    def _copy(self, id: str, target: SessionStore) -> Copied:
        def open_target() -> Log:
            return target._log(id, "a")

        return copy_session(id, self._log(id, "r"), open_target)

    @property
    def redact(self) -> Redact | None:
        """The function that removes secrets from everything that is written; None if there is none."""
        return self._redact

    # --- private ---

    def _header(self, id: str | None, *described: Any) -> Header:
        """Makes the header of a session that begins now; `described` as for `new_header`."""
        return new_header(checked_id(id), *described, clock=self._clock, id_source=self._id_source)

    def _session(self, id: str, mode: Mode, on_stale: OnStale, header: Header) -> Session:
        check_choice("on_stale", on_stale, ("raise", "branch", "rebase"))
        log = self._log(id, mode)
        try:
            return Session(
                log,
                header,
                read_only=mode == "r",
                on_stale=on_stale,
                redact=self._redact,
                clock=self._clock,
                id_source=self._id_source,
                id=id,
            )
        except BaseException:
            log.close()
            raise

    def _write_new(self, id: str, lines: Iterator[bytes]) -> None:
        with self._lock:
            self._backend.write_new(id, lines if self._redact is None else redact_lines(lines, self._redact))

    def _judge(self, ids: Iterable[str], now_ms: int) -> dict[str, Verdict]:
        """Returns what the logs of some sessions say, by id. Those that cannot be read are left out."""
        verdicts = {}
        for id in ids:
            with suppress(ConvtreeError, OSError):
                verdicts[id] = judge(id, self._log(id, "r"), now_ms)
        return verdicts

    def _erased(self, deleted: Sequence[str], said: Said, gone: Sequence[str] = ()) -> Erased:
        """Overwrites what deleted sessions have left, and returns what became of it.

        Copies are looked for after the deletion, so that a fork is named that was made meanwhile.
        """
        traces = self._erase(gone or deleted)
        copies = self._query(lambda catalogue: holders_of(catalogue, said))
        return Erased(deleted, complete=traces.complete, pending=traces.pending, copies=copies)

    def _erase(self, ids: Sequence[str]) -> Traces:
        erase: Callable[[Sequence[str]], Traces] | None = getattr(self._backend, "erase", None)
        with self._lock:
            self._check_open()
            return Traces([], []) if erase is None else erase(ids)

    def _delete(self, id: str) -> tuple[Deletion, Said]:
        """Deletes a session and those of its sub-agents, unless one of them changes after this looked at them.

        Also returns the entries that they had.

        The stamps come before the look at the logs: what the logs say is at least as new, and if the stamps still hold
        when the locks are taken, it is still true. So a hold that comes after the look is a change, too.

        Raises:
            SessionNotFound, NotALog: there is no such session.
            SessionHeld: one of them is on hold.
        """
        self._check_open()
        catalogue = self._backend.catalogue()
        below = list(catalogue.descendants([id], "task"))
        listed = [
            each for some in batched([id, *below]) for each in catalogue.sessions(Filter(ids=tuple(some), tasks=True))
        ]
        verdicts = {id: judge(id, self._log(id, "r"), self._now_ms())}
        for each in below:
            with suppress(SessionNotFound):  # deleted meanwhile
                verdicts[each] = judge(each, self._log(each, "r"), self._now_ms())
        family = tasks_below(id, below, verdicts)
        if held := [each for each in reversed(family) if verdicts[each].judged.held]:
            raise held_error(self.location, held[0])
        said = said_in(catalogue, family)
        return self._backend.delete(family[::-1], {each.info.id: each.stamp for each in listed}), said

    def _delete_family(self, family: Family) -> bool:
        """Deletes a family if its stamps still hold, and returns whether it did."""
        ids = [each.info.id for each in family.members]
        with self._lock, suppress(SessionLocked):
            self._check_open()
            stamps = {each.info.id: each.stamp for each in family.members}
            return ids[0] in self._backend.delete(ids[::-1], stamps).deleted
        return False
