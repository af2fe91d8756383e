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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from convtree._catalogue.gone import GoneSession
from convtree._catalogue.types import Filter, Progress
from convtree._engine import codec, context, snapshot  # noqa: F401  # else a server's first request imports two of them
from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._engine.log import Log, Mode
from convtree._engine.redact import Redact, redact_lines
from convtree._logs import directories
from convtree._logs.copy import Copied
from convtree._logs.directories import Directory
from convtree._logs.filesystems import FULL
from convtree._model.arguments import checked_methods
from convtree._model.entries import Entry, Header, ParentSession
from convtree._model.errors import ConvtreeError, InvalidMessage, NotALog, SessionNotFound
from convtree._model.interrupts import Unlocking
from convtree._model.sources import Clock, IdSource, random_id, system_clock, timestamp
from convtree._session.forking import copy_log
from convtree._session.header import check_choice, new_header
from convtree._session.session import Session
from convtree.stores import _tasks
from convtree.stores._arguments import Key, check_owner, check_session_id, checked_id, described, id_and_key
from convtree.stores._checking import CheckingStore
from convtree.stores._copy import copy_session
from convtree.stores._scoped import ScopedBackend, first_header
from convtree.stores._shared import Begin, SessionPool
from convtree.stores.base import StoreBackend

codec.make_decoders()  # for the same reason

_DESCRIBE = ("name", "cwd", "git_root", "metadata", "parent_session")  # a session that begins


@checked_methods
class SessionStore(CheckingStore):
    """Many sessions in one place. Made by `open_store`; a context manager; thread-safe.

    Directories are absolute and normalised, on the way in and in queries; the root of a worktree is that of the main
    one. Owners are compared as text: ask for them in the form in which they were stored.

    Args:
        backend: where the sessions are; `convtree.stores.base` says how to write one.
        redact: called with everything that the store's sessions write; its result is written instead.
        clock: returns the time in nanoseconds since 1970.
        id_source: returns new ids.
        keep_open: how many shared sessions stay open that nobody uses, see `session`.
    """

    def __init__(
        self,
        backend: StoreBackend,
        *,
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
        keep_open: int = 64,
    ) -> None:
        pool = SessionPool(self._open_shared, backend.location, keep_open)
        self._begin(backend, redact, clock, id_source, pool)

    def _begin(
        self,
        backend: StoreBackend,
        redact: Redact | None,
        clock: Clock,
        id_source: IdSource,
        pool: SessionPool,
        whole: SessionStore | None = None,
        owner: str | None = None,
    ) -> None:
        CheckingStore.__init__(self, backend, clock, pool, whole, owner)
        self._id_source = id_source
        self._redact = redact

    def scoped(self, *, owner: str) -> SessionStore:
        """Returns a handle on the sessions of one owner: all its calls see and touch only these.

        What the header of a session says decides. A session of somebody else, or of nobody, raises SessionNotFound, as
        one that does not exist. `create` sets the owner. The one thing that shows is that an id is taken: `create`,
        `open(create=True)`, `fork` and `copy` raise SessionExists. So choose ids that nobody can guess, or make them
        with `session_key(owner, …)`. A parent has to be a session of the owner.

        The handle is a part of this store: close it or leave it, and close the store at the end. Handles of the same
        owner share the sessions that `session` gives; other handles never get these.

        Raises:
            TypeError, ValueError: `owner` is not a text, or is empty; or this handle is another owner's.
            InvalidMessage: `owner` has a lone surrogate.
        """
        if self._owner not in (None, check_owner(owner)):
            raise ValueError(f"this handle is that of owner {self._owner!r}; call scoped() of the whole store")
        part = SessionStore.__new__(SessionStore)
        backend = ScopedBackend(self._backend, owner)
        part._begin(backend, self._redact, self._clock, self._id_source, self._pool, self, owner)
        return part

    def _open_shared(self, owner: str | None, id: str, begin: Begin) -> Session:
        store = self if owner is None else self.scoped(owner=owner)
        return store.open(id) if begin is None else store.open(**begin, create=True)

    @property
    def owner(self) -> str | None:
        """The owner that this handle is scoped to; None for a whole store."""
        return self._owner

    # --- one session ---

    def create(
        self,
        *,
        id: str | None = None,
        key: Key | None = None,
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
            key: an id of your own, from which `session_key` makes the id: a text, an integer, or a tuple of them. The
                header keeps it.
            name: its name.
            cwd: the directory it is about.
            git_root: the root of the repository it is about.
            owner: whose it is.
            metadata: a JSON object of the application.
            parent_session: the session it belongs to, whether or not it is stored; `create_task` checks that.
            on_stale: what an append does if another writer moved the leaf, as for `Session.open`.

        Raises:
            SessionExists: there is a session with this id; at the latest at the first append.
            InvalidMessage: a value cannot be stored.
        """
        id, parts = id_and_key(id, key)
        header = self._header(id, cwd, git_root, owner, name, metadata, parent_session, parts)
        return self._session(header.id, "x", on_stale, header)

    create_task = _tasks.create_task

    def open(
        self,
        id: str | None = None,
        *,
        key: Key | None = None,
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
            key: an id of your own instead, as for `create`.
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
        id, parts = id_and_key(id, key)
        if id is None:
            raise TypeError("open takes the id of a session, or key=")
        header = self._header(id, cwd, git_root, owner, name, metadata, parent_session, parts)
        described(create, owner=owner, **{name: getattr(header, name) for name in _DESCRIBE})
        mode: Mode = "r" if read_only else "a" if create else "r+"
        return self._session(id, mode, on_stale, header)

    def open_or_create(self, header: Header, *, arrives: bool = False, on_stale: OnStale = "raise") -> Session:
        """Opens the session with the id of `header`, or begins it with that header.

        Its directories are normalised, but relative ones stay. With `arrives`, a session that begins says in its header
        that it came into this store now.

        Raises:
            InvalidMessage: the header's id is not valid.
        """
        check_session_id(header.id)
        header = directories.of_header(header)
        if arrives:
            header = msgspec.structs.replace(header, arrived=timestamp(self._clock))
        header = msgspec.structs.replace(header, owner=self._owner_of_new(header.owner))
        return self._session(header.id, "a", on_stale, header)

    def fork(
        self,
        id: str,
        entry_id: str | Entry | AtLeaf | None = LEAF,
        *,
        new_id: str | None = None,
        new_key: Key | None = None,
        owner: str | UnsetType | None = UNSET,
        then: Iterable[Any] = (),
    ) -> Session:
        """Copies the path to an entry into a new session, and opens that. The copy is stored whole or not at all.

        Lines are copied byte for byte, unless the store's `redact` changes them.

        Args:
            id: the session's id.
            entry_id: the last entry to copy; left out, the leaf; None copies no entry.
            new_id: the id of the new session; None makes a new one.
            new_key: an id of your own instead, as for `create`.
            owner: whose the new session is; left out, the owner of the forked one.
            then: messages and entries, as `append_many` takes them, that follow the path. They are stored with it:
                after a crash, both are there or neither.

        Raises:
            SessionNotFound: there is no session with this id.
            SessionExists: there is a session with the new id.
            ValueError: this handle is another owner's.
            IdConflict: an item of `then` has an id that the forked session has.
            TypeError, InvalidMessage, InvalidCompaction: an item of `then` cannot be stored.
            EntryNotFound, BrokenPath, LeafUncertain, UnknownEntry: the path cannot be copied.
        """
        found, key = id_and_key(new_id, new_key)
        owner = owner if owner is UNSET else self._owner_of_new(owner)
        with self.open(id, read_only=True) as source:
            copied = source.copy_path(self._write_new, entry_id, id=found, key=key, owner=owner, then=then)
        return self.open(copied)

    def copy(self, id: str, new_id: str | None = None, *, new_key: Key | None = None) -> Session:
        """Copies a session with all its branches and marks into a new one, and opens that.

        The copy is stored whole or not at all. Entries and marks keep their ids, and the leaf is the same. Sessions of
        sub-agents are not copied, nor is a hold. Usage counts once: in the original, as long as that is in the store.

        Args:
            id: the session's id.
            new_id: the id of the new session; None makes a new one.
            new_key: an id of your own instead, as for `create`.

        Raises:
            SessionNotFound: there is no session with this id.
            SessionExists: there is a session with the new id.
            CorruptLog: the session is damaged; repair it first.
            UnknownEntry: it has a critical mark of an unknown type.
        """
        found, key = id_and_key(new_id, new_key)
        with self.open(id, read_only=True) as source:
            copied = copy_log(source, self._write_new, id=checked_id(found), key=key)
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
        """Puts a session on hold, so that `delete`, `prune` and `vacuum` refuse it. `held=False` releases it."""
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

    def copy_to(
        self, target: SessionStore, ids: Sequence[str] | None = None, *, progress: Progress | None = None
    ) -> builtins.list[Copied]:
        """Copies sessions into another store, byte for byte. `ids` of None copies all, and the ledger.

        Both stores may be in use. Each copy is the session as it was at one moment, up to its last whole write. A later
        call adds what was written since. A session that is deleted meanwhile is left out. The ledger counts once,
        however often it is copied, and not for a session that is in the target.

        An interrupted copy continues where it was. The copy is read back and compared. `redact` is not called. A
        session that cannot be read here or written there, or that is another one or longer in the target, is refused
        with a reason, and the others are copied.

        Raises:
            SessionNotFound: there is no session with one of these ids.
            OSError: one of the stores does not answer any more, or its disk is full. Sessions that were copied before
                stay; copy again to continue.
        """
        done: builtins.list[Copied] = []
        takes_all = ids is None
        if ids is None:
            ids = [each.info.id for each in self._listed(Filter(tasks=True))]
            there = set(ids)
            for finding in self.findings:
                if finding.code == "unreadable" and finding.id is not None:
                    ids.append(finding.id)  # the attempt says why
                elif finding.id not in there:
                    done.append(Copied(id=finding.id or finding.place, status="refused", reason=finding.code))
        for number, id in enumerate(ids, 1):
            with suppress(*((SessionNotFound,) if takes_all else ())):
                done.append(self._copy(id, target))
            if progress is not None:
                progress(number, len(ids))
        if takes_all and (gone := self._query(lambda catalogue: catalogue.gone())):
            target._merge_ledger(gone)
        return done

    def _merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        with Unlocking(self._lock), self._lock:
            self._check_open()
            self._backend.merge_ledger(gone)

    def _copy(self, id: str, target: SessionStore) -> Copied:
        def open_target() -> Log:
            return target._log(id, "a")

        try:
            return copy_session(id, self._log(id, "r"), open_target)
        except SessionNotFound:
            raise
        except (ConvtreeError, OSError) as error:
            if isinstance(error, OSError) and (error.errno in FULL or not (self._answers() and target._answers())):
                raise
            return Copied(id=id, status="refused", reason=str(error))

    @property
    def redact(self) -> Redact | None:
        """The function that removes secrets from everything that is written; None if there is none."""
        return self._redact

    # --- private ---

    def _header(
        self,
        id: str | None,
        cwd: Directory | None,
        git_root: Directory | None,
        owner: str | None,
        name: str | None,
        metadata: Mapping[str, Any] | None,
        parent_session: ParentSession | None,
        key: Sequence[Any] | None,
    ) -> Header:
        """Makes the header of a session that begins now; arguments as for `create`.

        A sub-agent's session without an owner gets that of its parent.
        """
        owner = self._owner_of_new(owner)
        if parent_session is not None and (self._owner or (owner is None and parent_session.kind == "task")):
            # A parent that is not there has no owner. One that cannot be read may have one: that raises.
            with suppress(*(() if self._owner else (SessionNotFound, NotALog, InvalidMessage))):
                owner = self._read_owner(parent_session.id)
        source, clock = self._id_source, self._clock
        header = new_header(id, cwd, git_root, owner, name, metadata, parent_session, clock=clock, id_source=source)
        return msgspec.structs.replace(header, key=key)

    def _owner_of_new(self, owner: str | None) -> str | None:
        """Returns the owner of a session that begins.

        Raises:
            ValueError: this handle is another owner's.
        """
        if self._owner is None:
            return owner
        if owner not in (None, self._owner):
            raise ValueError(f"owner={owner!r}: this handle is that of {self._owner!r}; leave the owner out")
        return self._owner

    def _read_owner(self, id: str) -> str | None:
        log = self._log(id, "r")
        try:
            header = first_header(log.read())
        finally:
            log.close()
        return None if header is None else header.owner

    def _session(self, id: str, mode: Mode, on_stale: OnStale, header: Header) -> Session:
        check_choice("on_stale", on_stale, ("raise", "branch", "rebase"))
        log = self._log(id, mode)
        try:
            session = Session(
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
        self._note_opened(session)
        return session

    def _write_new(self, id: str, lines: Iterator[bytes]) -> None:
        with Unlocking(self._lock), self._lock:
            self._backend.write_new(id, lines if self._redact is None else redact_lines(lines, self._redact))
