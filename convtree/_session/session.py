"""A conversation that branches: a tree, a leaf, and the log behind them.

A session is thread-safe and has one leaf. Two sessions on one log, in one process or in several, are two parties:
each remembers which leaf it has seen, and is told when someone else has moved it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import msgspec

from convtree._engine import codec
from convtree._engine.intents import AddMark, Append, Import, Intent, MoveLeaf
from convtree._engine.journal import Journal, PartialWrite
from convtree._engine.leaf import LEAF, AtLeaf, OnStale, SeenLeaf
from convtree._engine.log import Durability, Log, Mode
from convtree._engine.sdk_objects import SDKObject, message_entry
from convtree._engine.write_batch import EncodedRecord, WriteBatch, encode_imported, encode_record, reseal
from convtree._logs.jsonl import JsonlLog, write_new
from convtree._logs.memory import MemoryLog
from convtree._model.batches import batched
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    Header,
    LabelMark,
    LeafMark,
    MessageEntry,
    ParentSession,
    Record,
    SessionInfoMark,
    Visibility,
)
from convtree._model.errors import CorruptLog, ReadOnlySession
from convtree._model.resources import ForkAware, watch_forks
from convtree._model.sources import Clock, IdSource, random_id, system_clock, timestamp
from convtree._session.view import Reader, reading

if TYPE_CHECKING:
    from convtree._engine.redact import Redact
    from convtree._engine.tokens import Counter
    from convtree._session import compaction
    from convtree._session.compaction import BranchPlan, CompactionPlan

E = TypeVar("E", bound=Entry)
R = TypeVar("R", bound="Record | Header")

_ON_STALE = ("raise", "branch", "rebase")


class Session(Reader, ForkAware):
    """A conversation: `append` to it, `branch` in it, `build_context` from it.

    Made by `Session.open` or `Session.memory`; a context manager. Wherever an entry id is asked for, leaving it out
    means the session's leaf and `None` means the place before the first entry.
    """

    def __init__(
        self,
        log: Log,
        header: Header,
        *,
        read_only: bool = False,
        on_stale: OnStale = "raise",
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> None:
        super().__init__(
            Journal.open(log, clock=clock, id_source=id_source), header if redact is None else _redacted(header, redact)
        )
        self._clock = clock
        self._id_source = id_source
        self._refuses = "it was opened with mode='r'" if read_only else None
        self._on_stale = on_stale
        self._redact = redact
        watch_forks(self)

    @classmethod
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
        cwd: str | None = None,
        git_root: str | None = None,
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
            on_stale: what an append does if another session moved the leaf, unless it says so itself: "raise",
                "branch" (continue the leaf that this session has seen) or "rebase" (continue the new leaf).
            lock_timeout_s: how many seconds to wait for the lock.
            allow_network: whether to write on a network file system, where locks may not keep writers apart.
            redact: a function from a JSON value to the value to write in its place, such as `convtree.redact`. It is
                applied to everything before it is written, and must return the same for the same.
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
        check_choice("on_stale", on_stale, _ON_STALE)
        if exclusive and mode == "r":
            raise ValueError("a reader takes no lock: exclusive goes with the other modes")
        header = new_header(id, cwd, git_root, owner, name, metadata, parent_session, clock=clock, id_source=id_source)
        log = JsonlLog(
            path,
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
                session._raise_findings()
        except BaseException:
            log.close()
            raise
        return session

    @classmethod
    def memory(
        cls,
        *,
        on_stale: OnStale = "raise",
        redact: Redact | None = None,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
        id: str | None = None,
        cwd: str | None = None,
        git_root: str | None = None,
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
        check_choice("on_stale", on_stale, _ON_STALE)
        header = new_header(id, cwd, git_root, owner, name, metadata, parent_session, clock=clock, id_source=id_source)
        return cls(MemoryLog(), header, on_stale=on_stale, redact=redact, clock=clock, id_source=id_source)

    # --- writing ---

    @overload
    def append(
        self,
        item: E,
        /,
        *,
        parent_id: str | AtLeaf | None = LEAF,
        id: str | None = None,
        on_stale: OnStale | None = None,
    ) -> E: ...
    @overload
    def append(
        self,
        item: Mapping[str, Any] | SDKObject,
        /,
        *,
        parent_id: str | AtLeaf | None = LEAF,
        id: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        usage: Mapping[str, Any] | SDKObject | None = None,
        shape: str | None = None,
        visible_to: Visibility = "all",
        pinned: bool | None = None,
        on_stale: OnStale | None = None,
    ) -> MessageEntry: ...
    def append(
        self,
        item: Any,
        /,
        *,
        parent_id: str | AtLeaf | None = LEAF,
        id: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        usage: Mapping[str, Any] | SDKObject | None = None,
        shape: str | None = None,
        visible_to: Visibility = "all",
        pinned: bool | None = None,
        on_stale: OnStale | None = None,
    ) -> Any:
        """Appends one message or entry and moves the leaf to it; when this returns, it is stored.

        An entry's own `parent_id` and `timestamp` are replaced; its id is kept if it has one.

        Args:
            item: a message (a dict is always a message), an object of a provider's SDK, or an `Entry`.
            parent_id: the entry to append below; left out, the session's leaf; None, the place before the first
                entry. Branches and appends in one record.
            id: the new entry's id; left out, a fresh one. Makes a retry safe: if it is stored already with equal
                content, the stored entry is returned and nothing is written.
            provider: the provider that made the message.
            model: the model that made the message.
            usage: the tokens it took, as the provider reports them.
            shape: the provider format of the message, as in `Context.to`.
            visible_to: "all", "user" (not in contexts) or "model" (for the model only).
            pinned: whether it survives compactions; left out, true for the roles `system` and `developer`.
            on_stale: what to do if another session moved the leaf: "raise", "branch" (continue the leaf that this
                session has seen) or "rebase" (continue the new leaf); left out, as the session was opened with.

        The arguments from `provider` to `pinned` go with a message only.

        Raises:
            TypeError: `item` is not a message or an entry, or an entry came with arguments of messages.
            InvalidMessage: a value cannot be stored; the error names the place.
            StaleLeaf: someone else moved the leaf (never with `parent_id`).
            EntryNotFound, IdConflict, InvalidCompaction, LeafUncertain, ReadOnlySession, SessionLocked,
            SessionFailed, SessionClosed: nothing was written.
            OSError: the disk refused; the log was cut back to whole lines, or the session is failed.
        """
        entry = _entry_of(
            item,
            id=id,
            provider=provider,
            model=model,
            usage=usage,
            shape=shape,
            visible_to=visible_to,
            pinned=pinned,
        )
        return self._append([self._encode(entry)], parent_id, on_stale)[0]

    def append_many(
        self,
        items: Iterable[Any],
        /,
        *,
        parent_id: str | AtLeaf | None = LEAF,
        provider: str | None = None,
        model: str | None = None,
        usage: Mapping[str, Any] | SDKObject | None = None,
        shape: str | None = None,
        visible_to: Visibility = "all",
        pinned: bool | None = None,
        on_stale: OnStale | None = None,
    ) -> list[Entry]:
        """Appends a chain with one write and one sync.

        Not a transaction: after a crash, a prefix of the chain may be stored. A retry is safe for entries with ids.

        Args:
            items: messages and entries, as `append` takes them; each is the parent of the next.
            parent_id: the parent of the first, as in `append`.
            provider: as in `append`, for every message.
            model: as in `append`, for every message.
            usage: as in `append`, for the last item if it is a message.
            shape: as in `append`, for every message.
            visible_to: as in `append`, for every message.
            pinned: as in `append`, for every message.
            on_stale: as in `append`.

        Raises:
            As `append`.
        """
        listed = list(items)
        common: dict[str, Any] = {"provider": provider, "model": model, "shape": shape}
        common |= {"visible_to": visible_to, "pinned": pinned}
        entries: list[Entry] = []
        for number, item in enumerate(listed, 1):
            own = {} if isinstance(item, Entry) else common | ({"usage": usage} if number == len(listed) else {})
            entries.append(_entry_of(item, **own))
        return self._append([self._encode(entry) for entry in entries], parent_id, on_stale) if entries else []

    def branch(
        self,
        entry_id: str | None,
        *,
        summary: str | None = None,
        details: Any = None,
        summarize: compaction.SummarizeBranch | None = None,
    ) -> BranchSummaryEntry | None:
        """Moves the leaf to an entry and records it; the next append continues there.

        With `summary`, what happened on the way that is left is appended below `entry_id` as a branch summary, which
        becomes the leaf and is returned. `summarize` is asked for one, outside any lock, when the move leaves
        something; if it fails, nothing is written. To look at another branch, `build_context(leaf=…)` moves nothing.

        Raises:
            EntryNotFound: there is no such entry.
            StaleLeaf: the leaf went elsewhere while `summarize` ran.
            InvalidMessage: what `summarize` returned is no text.
            LeafUncertain, ReadOnlySession: before `summarize` is asked.
        """
        if summary is not None and summarize is not None:
            raise TypeError("branch takes a summary or someone who writes it, not both")
        if summary is None and summarize is None and details is not None:
            raise ValueError("details belong to a summary")
        if summarize is not None and (planned := self._plan_branch(entry_id)) is not None:
            return self.apply_branch_summary(planned, summarize(planned), entry_id, details=details)
        if summary is not None:
            with self._lock:
                left = self._leaf_id
                note = self._encode(BranchSummaryEntry(from_id=left, summary=summary, details=details))
                return cast(BranchSummaryEntry, self._append([note], entry_id, None)[0])
        self._write(MoveLeaf(entry_id, encode_record(LeafMark(target_id=entry_id))))
        return None

    def compact(
        self, summarize: compaction.Summarize, *, keep_tokens: int, count_tokens: Counter | None = None
    ) -> CompactionEntry | None:
        """Lets a summary stand for all but about the last `keep_tokens`; None when there is nothing to do.

        Tokens are counted by `count_tokens(message)`, or estimated as `context.count_tokens` does. `summarize` gets
        the plan of `plan_compaction` and returns the summary; it runs outside any lock. If it fails, nothing is
        written. If the leaf moved on meanwhile, the compaction lands on the new leaf.

        Raises:
            StaleLeaf: the leaf went where the plan is not right any more; nothing was written.
            InvalidMessage: the summary is no text, or says nothing.
            LeafUncertain, ReadOnlySession: before `summarize` is asked.
            As `build_context` and `append`.
        """
        plan = self._plan_compaction(keep_tokens, count_tokens)
        return None if plan is None else self.apply_compaction(plan, summarize(plan), count_tokens=count_tokens)

    def apply_compaction(
        self, plan: CompactionPlan, summary: str, *, count_tokens: Counter | None = None
    ) -> CompactionEntry:
        """Appends the compaction of a plan, at the leaf as it is now.

        Raises:
            StaleLeaf: the leaf went where the plan is not right any more; nothing was written.
            InvalidMessage: the summary is no text, or says nothing.
            As `append`.
        """
        return cast(CompactionEntry, self._land(plan, plan.entry(summary, count_tokens)))

    def apply_branch_summary(
        self, plan: BranchPlan, summary: str, entry_id: str | None, *, details: Any = None
    ) -> BranchSummaryEntry:
        """Appends the summary of the branch that a plan collected below `entry_id`, which it leaves for.

        Raises:
            StaleLeaf: the leaf went elsewhere since the plan was made; nothing was written.
            InvalidMessage: the summary is no text.
            As `append`.
        """
        _compaction().check_text(summary)
        note = BranchSummaryEntry(from_id=plan.leaf_id, summary=summary, details=details)
        return cast(BranchSummaryEntry, self._land(plan, note, entry_id))

    def label(self, entry_id: str, text: str | None) -> None:
        """Sets a bookmark on an entry, or clears it with None; never moves the leaf.

        Raises:
            EntryNotFound: there is no such entry.
            InvalidMessage: the label is longer than 256 characters.
        """
        self._add_mark(LabelMark(target_id=entry_id, label=text))

    def rename(self, name: str | None) -> None:
        """Gives the session a name, or takes it away with None."""
        self._add_mark(SessionInfoMark(name=name))

    def archive(self, archived: bool = True) -> None:
        """Marks the session as archived, or not; nothing else changes."""
        self._add_mark(SessionInfoMark(archived=archived))

    def update_metadata(self, /, **changes: Any) -> None:
        """Sets metadata by key; None removes a key."""
        self._add_mark(SessionInfoMark(metadata=changes))

    def extend(self, records: Iterable[Record]) -> int:
        """Appends records that bring their own ids, parents and times, as importers make them, in batches.

        What is stored already is passed over, so doing it twice adds nothing. The leaf moves as the records say.
        Returns how many were written.

        Raises:
            As `append`; the batches before are stored.
        """
        written = 0
        for batch in batched(records):
            encoded = [encode_imported(self._without_secrets(record)) for record in batch]
            written += len(self._write(Import(encoded)).added)
        return written

    def fork(
        self, path: str | os.PathLike[str], entry_id: str | AtLeaf | None = LEAF, *, allow_network: bool = False
    ) -> Session:
        """Copies the path to an entry into a new log and opens it; the file appears whole or not at all, and durably.

        Entries keep their ids and their bytes; the labels on them and the session's name go along.

        Raises:
            SessionExists: there is something at `path`.
            EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
        """
        self.copy_path(lambda _, lines: write_new(Path(path), lines, allow_network=allow_network), entry_id)
        return Session.open(
            path,
            on_stale=self._on_stale,
            allow_network=allow_network,
            redact=self._redact,
            clock=self._clock,
            id_source=self._id_source,
        )

    def close(self) -> None:
        """Closes the log; twice is the same as once.

        When much was added, a writer keeps an index beside the log (`<log>.index`), so that the next open need not
        read it all. It may be deleted at any time.
        """
        with self._lock:
            try:
                if not self._closed and self._refuses is None and self._index.read_only is None:
                    self._journal.save_snapshot()
            finally:
                super().close()

    def _after_fork(self) -> None:
        """Frees the lock, which a thread of the parent may hold; the log refuses to be used in the child anyway."""
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<Session {self.id!r} at {self.location!r}, leaf {self.leaf_id!r}>"

    def _add_mark(self, mark: LabelMark | SessionInfoMark) -> None:
        self._write(AddMark(self._encode(mark)))

    # --- the way to the log ---

    def _without_secrets(self, record: R) -> R:
        return record if self._redact is None else _redacted(record, self._redact)

    def _encode(self, record: Record) -> EncodedRecord:
        return encode_record(self._without_secrets(record))

    def _seen_leaf(self, on_stale: OnStale | None) -> SeenLeaf:
        """Returns the leaf as this session has seen it; the caller holds the lock until it has written."""
        return SeenLeaf(self._leaf_id, on_stale or self._on_stale)

    def _append(
        self, records: list[EncodedRecord], parent_id: str | AtLeaf | None, on_stale: OnStale | None
    ) -> list[Any]:
        if on_stale is not None:
            check_choice("on_stale", on_stale, _ON_STALE)
        with self._lock:
            return self._write(Append(records, parent_id, self._seen_leaf(on_stale))).stored

    def _plan_compaction(self, keep_tokens: int, count_tokens: Counter | None) -> CompactionPlan | None:
        self._check_leaf()
        planned: CompactionPlan | None = _compaction().plan_compaction(
            self, keep_tokens=keep_tokens, count_tokens=count_tokens
        )
        return planned

    def _plan_branch(self, entry_id: str | None) -> BranchPlan | None:
        self._check_leaf()
        planned: BranchPlan | None = _compaction().plan_branch(self, entry_id)
        return planned

    @reading
    def _check_leaf(self) -> None:
        """Raises what would keep a summary from landing here: before anyone has paid for one."""
        self._check_open()
        self._check_writable()
        self._row(LEAF)

    def _land(self, plan: CompactionPlan | BranchPlan, note: Entry, parent_id: str | AtLeaf | None = LEAF) -> Entry:
        from convtree._session.landing import ApplySummary

        record = self._encode(note)
        with self._lock:
            return cast(Entry, self._write(ApplySummary(plan, record, parent_id, self._seen_leaf(None))).stored[-1])

    def _write(self, intent: Intent) -> WriteBatch:
        """Writes what is intended; if it moves the leaf, this session has then seen the log's leaf."""
        with self._lock:
            journal = self._journal
            if self._closed or self._refuses or journal.index.read_only:
                self._check_open()
                self._check_writable()  # before the log is asked: a reader takes no lock and repairs nothing
            try:
                batch = journal.write(intent, self._header)
            except PartialWrite as partial:  # whole lines of ours are in the log, and stay
                self._leaf_id = journal.index.leaf.id
                raise partial.reason from None
            leaf_id = journal.index.leaf.id
            if intent.moves_leaf and (batch.added or not batch.stored or batch.stored[-1].id == leaf_id):
                self._leaf_id = leaf_id  # ours; with nothing added, it was there already: a retry has seen it
            return batch

    def _check_writable(self) -> None:
        if self._refuses is not None:
            raise ReadOnlySession(f"{self.location}: this session is read-only: {self._refuses}")
        self._journal.check_writable()

    def _raise_findings(self) -> None:
        serious = tuple(finding for finding in self.findings if finding.severity != "info")
        if serious:
            first = serious[0]
            raise CorruptLog(
                f"{self.location}: {len(serious)} findings, the first is {first.code} in line {first.line}",
                findings=self.findings,
            )

    @reading
    def copy_path(
        self,
        write: Callable[[str, Iterator[bytes]], None],
        entry_id: str | AtLeaf | None = LEAF,
        *,
        id: str | None = None,
    ) -> str:
        """Has `write` store the lines of a fork, under the session id that it is given with them; returns that id.

        What `fork` and the stores are made of: `write` stores all the lines, or none and raises; it may be called
        again after it was interrupted by what the lines raise.

        Raises:
            EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
        """
        row = self._row(entry_id)
        rows = self._path_rows(row)
        origin = self.header
        new = msgspec.structs.replace(
            origin,
            id=self._id_source() + self._id_source() if id is None else id,
            timestamp=timestamp(self._clock),
            version=1,
            name=None,
            metadata=self.metadata or None,
            parent_session=ParentSession(id=origin.id, entry_id=self._id_of(row)),
        )
        copied = set(self._ids(rows))
        labels = [(target, text) for target, text in self._index.labels.items() if target in copied]
        marks: list[Record] = [LabelMark(target_id=target, label=text) for target, text in labels]
        if self.name is not None:
            marks.append(SessionInfoMark(name=self.name))
        bodies = self._fork_bodies(rows, marks)
        write(new.id, reseal(codec.encode_header(new), bodies))
        return new.id

    def _fork_bodies(self, rows: list[int], marks: list[Record]) -> Iterator[bytes]:
        for batch in batched(rows):
            yield from self._index.bodies(batch)
        taken = set(self._ids(rows))
        for mark in marks:
            id = self._id_source()
            while id in taken:
                id = self._id_source()
            taken.add(id)
            yield codec.encode(msgspec.structs.replace(mark, id=id, timestamp=timestamp(self._clock)))


def _compaction() -> ModuleType:
    """Imports what plans compactions; most programs that open a session have none in mind."""
    from convtree._session import compaction

    return compaction


def _redacted(record: R, redact: Redact) -> R:
    from convtree._engine.redact import redact_record

    return redact_record(record, redact)


def _entry_of(
    item: Entry | Mapping[str, Any] | SDKObject,
    *,
    id: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    usage: Mapping[str, Any] | SDKObject | None = None,
    shape: str | None = None,
    visible_to: Visibility = "all",
    pinned: bool | None = None,
) -> Entry:
    if id is not None:
        codec.check_id(id, "id")
    if not isinstance(item, Entry):
        return message_entry(
            item,
            id=id,
            provider=provider,
            model=model,
            usage=usage,
            shape=shape,
            visible_to=visible_to,
            pinned=pinned,
        )
    if visible_to != "all" or any(value is not None for value in (provider, model, usage, shape, pinned)):
        raise TypeError("an entry brings its own fields; these arguments go with a message only")
    if isinstance(item, MessageEntry) and item.pinned is None and item.role in ("system", "developer"):
        item = msgspec.structs.replace(item, pinned=True)
    return item if id is None else msgspec.structs.replace(item, id=id)


def new_header(
    id: str | None = None,
    cwd: str | None = None,
    git_root: str | None = None,
    owner: str | None = None,
    name: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    parent_session: ParentSession | None = None,
    *,
    clock: Clock = system_clock,
    id_source: IdSource = random_id,
) -> Header:
    """Makes the header of a session that begins now.

    Args:
        id: its id; None takes two of the id source's in a row.
        cwd: its working directory.
        git_root: the root of its git repository.
        owner: whose session it is.
        name: its name.
        metadata: more about it, a JSON object.
        parent_session: the session that it was made from.
        clock: where its time comes from.
        id_source: where its id comes from.

    Raises:
        InvalidMessage: a value cannot be stored.
    """
    header = Header(
        id=id_source() + id_source() if id is None else id,
        timestamp=timestamp(clock),
        cwd=cwd,
        git_root=git_root,
        owner=owner,
        name=name,
        metadata=None if metadata is None else dict(metadata),
        parent_session=parent_session,
    )
    codec.encode_header(header)  # says now, not at the first append, what cannot be stored
    return header


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless an argument is one of the words that it may be."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
