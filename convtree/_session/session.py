"""The session: a log with one lock and one leaf, the object that programs hold.

It decides little itself. Queries go to a `SessionView`, writes are intents for the `Journal`, both under the lock. It
adds the leaf that this client of the log has seen. Two sessions on one log, in one process or in several, are
two clients; an append raises `StaleLeaf` if the other client has moved the leaf meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from msgspec import UNSET, UnsetType, structs, to_builtins

from convtree._engine.expected import expected
from convtree._engine.intents import Import
from convtree._engine.journal import Journal
from convtree._engine.leaf import LEAF, AtLeaf, OnStale
from convtree._engine.log import Durability, Log, Mode
from convtree._engine.log_index import Index
from convtree._engine.write_batch import EncodedRecord, encode_imported
from convtree._logs.directories import Directory, name_of, path_of
from convtree._logs.jsonl import JsonlLog
from convtree._model.arguments import checked
from convtree._model.batches import BATCH, batched
from convtree._model.entries import (
    Entry,
    Finding,
    Header,
    ParentSession,
    Record,
)
from convtree._model.interrupts import Unlocking
from convtree._model.resources import Uncopyable
from convtree._model.sources import Clock, IdSource, random_id, system_clock
from convtree._session import appending, fast_appending
from convtree._session.client import ON_STALE, Client, for_each_item, method, overloaded_method, query
from convtree._session.described import Described
from convtree._session.header import check_choice, new_header
from convtree._session.later import LateModule
from convtree._session.view import SessionView

if TYPE_CHECKING:
    from convtree._engine.outline import Outline
    from convtree._engine.redact import Redact
    from convtree._session import branches, follow, forking, landing, marking, resolving, viewing, walking
else:
    branches, follow, forking, landing = map(LateModule, ("branches", "follow", "forking", "landing"))
    marking, resolving, viewing, walking = map(LateModule, ("marking", "resolving", "viewing", "walking"))


class Session(Described, Uncopyable):
    """A conversation: `append` to it, `branch` in it, `build_context` from it.

    Made by `Session.open` or `Session.memory`. Thread-safe; a context manager that closes it. An entry id that is
    left out is the session's leaf; None is the place before the first entry.
    """

    def __init__(
        self,
        log: Log,
        header: Header | Callable[[], Header] | None = None,
        *,
        read_only: bool = False,
        on_stale: OnStale = "raise",
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
        id: str | None = None,
    ) -> None:
        """Opens a session on a log.

        `header` is for a log without a line, or makes one. `id` is the one a store has it under; None: the header's.
        """
        if header is None or isinstance(log, str) or hasattr(log, "__fspath__"):
            raise TypeError("Session(log, header) takes a Log and a Header; Session.open(path) opens the log in a file")
        self._client = Client(
            Journal.open(log, clock=clock, id_source=id_source),
            header,
            refusal="it was opened with mode='r'" if read_only else None,
            on_stale=on_stale,
            redact=redact,
            id=id,
        )
        self._client.save_long_scan()

    @classmethod
    @checked
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "a",
        durability: Durability = "power",
        exclusive: bool = False,
        strict: bool = False,
        on_stale: OnStale = "raise",
        lock_timeout_s: float = 10.0,
        allow_network: bool = False,
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
        id: str | None = None,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
    ) -> Session:
        """Opens the log at `path`, or starts one there. A new file appears with its first record.

        Args:
            path: the log's file.
            mode: "a" (open or create), "x" (must be new), "r+" (must exist) or "r" (read only: takes no lock and
                changes nothing).
            durability: what an append survives when it has returned: "power" (a power cut) or "process" (the death
                of every process).
            exclusive: whether to hold the lock until `close`; not with mode "r".
            strict: whether damage that was found raises `CorruptLog`.
            on_stale: what an append does if another session moved the leaf, unless the call names another policy:
                "raise", "branch" (continue the leaf that this session has seen) or "rebase" (continue the new leaf).
            lock_timeout_s: how many seconds to wait for the lock.
            allow_network: whether to write on a network file system, where locks may not keep writers apart.
            redact: a function from a JSON value to the value to write in its place, such as `convtree.redact`. It is
                applied to everything before it is written, and must return the same for the same. Signatures of what
                it changes are removed.
            clock: where times come from.
            id_source: where ids come from.
            id: the id of a new session.
            cwd: the working directory of a new session.
            git_root: the root of its git repository.
            owner: whose session it is.
            name: its name.
            metadata: more about it, a JSON object.
            parent_session: the session that it was made from.

        The arguments from `id` on describe a new session. If the log exists, they are ignored, also where they differ
        from its header: `header`, `name` and `metadata` have the log's own.

        Raises:
            SessionNotFound: the mode is "r" or "r+", and there is no file.
            SessionExists: the mode is "x", and there is a file.
            NotALog: the file is not a convtree log; it is not touched.
            CorruptLog: `strict` is set, and there are findings above severity "info".
            SessionLocked: `exclusive` is set, and the lock was not free in time.
            OSError: as the system raises it; ENOTSUP for a log on a network file system.
        """
        check_choice("mode", mode, ("a", "x", "r", "r+"))
        check_choice("durability", durability, ("power", "process"))
        check_choice("on_stale", on_stale, ON_STALE)
        if exclusive and mode == "r":
            raise ValueError("a reader takes no lock: exclusive goes with the modes 'a', 'x' and 'r+' only")
        given = id, cwd, git_root, owner, name, metadata, parent_session
        header: Header | Callable[[], Header] = new_header  # made when it is needed: a log that exists has its own
        if given != (None,) * len(given) or clock is not system_clock or id_source is not random_id:
            header = new_header(*given, clock=clock, id_source=id_source)
        log = JsonlLog(
            name_of("path", path),
            mode=mode,
            durability=durability,
            lock_timeout_s=lock_timeout_s,
            exclusive=exclusive,
            allow_network=allow_network,
        )
        try:
            session = cls(
                log,
                header,
                read_only=mode == "r",
                on_stale=on_stale,
                redact=redact,
                clock=clock,
                id_source=id_source,
            )
            if strict:
                session._client.check_findings()
        except BaseException:
            log.close()
            raise
        return session

    @classmethod
    @checked
    def memory(
        cls,
        *,
        on_stale: OnStale = "raise",
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
        id: str | None = None,
        cwd: Directory | None = None,
        git_root: Directory | None = None,
        owner: str | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent_session: ParentSession | None = None,
    ) -> Session:
        """Starts a session in memory only. `fork(path)` writes it to a file.

        Args:
            on_stale: as in `open`.
            redact: as in `open`.
            clock: where times come from.
            id_source: where ids come from.
            id: the session's id.
            cwd: its working directory.
            git_root: the root of its git repository.
            owner: whose session it is.
            name: its name.
            metadata: more about it, a JSON object.
            parent_session: the session that it was made from.
        """
        check_choice("on_stale", on_stale, ON_STALE)
        header = new_header(id, cwd, git_root, owner, name, metadata, parent_session, clock=clock, id_source=id_source)
        from convtree._logs.memory import MemoryLog

        return cls(MemoryLog(), header, on_stale=on_stale, redact=redact, clock=clock, id_source=id_source)

    # --- writing ---

    append = appending.texts_first(overloaded_method(appending.append), fast_appending.append_text, {dict})
    append_many = appending.texts_first(method(appending.append_many), fast_appending.append_listed, {list, tuple})
    set_system = method(appending.set_system)

    branch = appending.move_first(method(landing.branch), fast_appending.move_leaf)
    checkout = method(landing.checkout)
    compact = method(landing.compact)
    apply_compaction = method(landing.apply_compaction)
    apply_branch_summary = method(landing.apply_branch_summary)

    label = method(marking.label)
    hide = method(marking.hide)
    show = method(marking.show)
    pin = method(marking.pin)
    rename = method(marking.rename)
    archive = method(marking.archive)
    hold = method(marking.hold)
    set_directories = method(marking.set_directories)
    update_metadata = method(marking.update_metadata)

    @checked
    def extend(
        self,
        records: Iterable[Record],
        *,
        batch_size: int = BATCH,
        move_leaf: bool = True,
        expect_leaf: str | Entry | UnsetType | None = UNSET,
        expect_revision: str | Record | UnsetType | None = UNSET,
    ) -> int:
        """Appends records with their own ids, parents and times, in batches; returns how many were written.

        Records that are stored already, or were dropped by a vacuum, are passed over. The true entry of a lost one
        comes back in its place. `batch_size` are written and synced at once. The leaf moves as the new records say. It
        stays where it is with `move_leaf=False`, and if somebody else has said something since this session last saw
        it.

        With an expectation, as for `append`, the records are one batch, stored whole or not at all, and the leaf moves
        as they say. (More than 65,536 are several groups, as in `append_many`.)

        Raises:
            TypeError, ValueError: something is not a record, or `batch_size` not a number from 1 on.
            StaleLeaf: the log is not as expected.
            As `append`; earlier batches are stored.
        """
        written, looked_at, wanted = 0, 0, expected(expect_leaf, expect_revision)

        def encode(record: Record) -> EncodedRecord:
            return encode_imported(self._client.without_secrets(record))

        for batch in [list(records)] if wanted else batched(records, batch_size):
            encoded = for_each_item(encode, batch, "records", looked_at)
            looked_at += len(batch)
            with Unlocking(self._client.lock), self._client.lock:
                done = self._client.write(Import(encoded, self._client.seen(), move_leaf, wanted))
            written += len(done.added) - done.keeps_leaf  # without the mark that keeps it
        return written

    @checked
    def fork(
        self, path: str | os.PathLike[str], entry_id: str | Entry | AtLeaf | None = LEAF, *, allow_network: bool = False
    ) -> Session:
        """Copies the path to an entry into a new log and opens it. The file appears as a whole, and durably.

        Entries keep their ids and bytes. The labels on them and the session's name are copied, too.

        Raises:
            SessionExists: there is a file at `path`.
            EntryNotFound, BrokenPath, LeafUncertain, UnknownEntry: the path cannot be copied, see `copy_path`.
        """
        from convtree._logs.atomic_file import create_atomically

        path = path_of("path", path)
        self.copy_path(lambda _, lines: create_atomically(path, lines, allow_network=allow_network), entry_id)
        return Session.open(
            path,
            on_stale=self._client.on_stale,
            allow_network=allow_network,
            redact=self._client.redact,
            clock=self._client.journal.clock,
            id_source=self._client.journal.id_source,
        )

    copy_path = method(forking.copy_path)

    # --- reading ---

    build_context = query(SessionView.build_context)
    entry = query(SessionView.entry)
    resolve = query(resolving.resolve)
    path = overloaded_method(walking.path)
    walk_up = overloaded_method(walking.walk_up)
    records = method(walking.records)
    children = query(SessionView.children)
    siblings = query(SessionView.siblings)
    tip = query(SessionView.tip)
    visible_to = query(SessionView.visible_to)
    leaves = query(SessionView.leaves)
    branches = query(branches.branches)
    common_ancestor = query(SessionView.common_ancestor)
    diff = query(SessionView.diff)
    extension_data = query(SessionView.extension_data)
    state = query(SessionView.state)
    view = method(viewing.view)
    follow = method(follow.follow)

    def outline(self) -> Outline:
        """Returns the shape of the tree as it is now, for drawing it. Entries are read when the outline is asked."""
        return self._client.ask(SessionView.outline, self._client.reader)

    def refresh(self) -> list[Entry]:
        """Reads what other sessions appended, adopts the log's leaf, and returns their new entries.

        Those are the entries since this session was opened or last refreshed. After the log was replaced (by a
        repair, for example), every entry. Entries that cannot be read are left out; `verify` reports them.
        """
        return self._client.refresh()

    # --- properties ---

    @property
    def header(self) -> Header:
        """The session's header, with a copy of its metadata. Before the first record, the one that will be written."""
        header = self._client.header
        return header if not header.metadata else structs.replace(header, metadata=to_builtins(header.metadata))

    @property
    def id(self) -> str:
        """The id under which the session was opened: in a store the one it is stored under, else its header's."""
        return self._client.id

    @property
    def leaf_id(self) -> str | None:
        """The id of the entry that the next append continues; None before the first entry."""
        return self._client.leaf_id

    @property
    def revision(self) -> str | None:
        """The id of the last record that this session has seen, marks included; None before the first record.

        For `expect_revision`. Records of other sessions count when `refresh` has returned. May read a line of the log.

        Raises:
            BrokenPath: the line was damaged since it was read.
        """
        return self._client.revision()

    @property
    def times_replaced(self) -> int:
        """How often this session found another log in the place of its log, after a vacuum or a repair for example.

        While the number stays the same, the row numbers of `records` and `outline` stay those of the same records. It
        changes only in calls that read the log, such as `refresh`.
        """
        return self._journal.times_replaced

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The damage and the remarks found in the log, as far as it was read."""
        return tuple(self._journal.scanned.state.findings)

    @property
    def location(self) -> str:
        """Where the log is: a path, a URL without its password, or "memory"."""
        return self._journal.log.location

    def close(self) -> None:
        """Closes the log. Closing twice is the same as closing once.

        A writer saves its index next to the log (`<log>.index`) when much was added, now and while the log grows, so
        that the next open does not have to read all lines. The file may be deleted at any time.
        """
        self._client.close()

    def __contains__(self, id: object) -> bool:
        """Returns whether the log has an entry with this id; labels do not count. Reads no line that is not needed."""
        return isinstance(id, str) and self._client.has_entry(id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session {self.id!r} at {self.location!r}, leaf {self.leaf_id!r}>"

    @property
    def _journal(self) -> Journal:
        return self._client.journal

    @property
    def _index(self) -> Index:
        with Unlocking(self._client.lock), self._client.lock:
            return self._client.journal.index
