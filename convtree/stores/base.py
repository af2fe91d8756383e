"""How to write a store: the interface between `SessionStore` and the storage below it.

A store needs three things from its storage, and each is a small protocol:

1. A **log** for each session (`Log`): a list of lines that only grows. `read` returns lines with their positions,
   `append` adds lines as one write. Positions are yours; they grow, and 0 is the beginning. `MemoryLog` is the
   reference. A log without a place for snapshots returns None from `snapshot()` and ignores `save_snapshot()`. If a
   crash can leave a part of an append, `append_is_atomic` is False: then several lines come with a group mark, and
   `append` first cuts off what lies behind the position `Addition.end`.
2. A **catalogue** of all sessions (`Catalogue`): lists, searches and sums. Storage that cannot do these uses
   `CatalogueSync`, which reads the logs itself. It needs `scan()`, the stamp of every log by session id,
   `open_log(id)`, and a place for the lines of its usage ledger (`Ledger`), which is no cache. A stamp is
   `(size, time, identity)`: the size grows with every append, and another session under the same id has another
   identity.
3. A **backend** (`StoreBackend`) that opens logs, stores and deletes whole sessions, and returns the catalogue.

Three rules keep data safe:

* `append` holds a lock from the moment it looks at the end of the log until the new lines are stored. `build` gets the
  lines after `position` and must have seen all of them when its lines are stored. While it runs, it may call the log's
  `read` and `read_at`. It may raise; then nothing is written.
* A log that was deleted, or replaced by another one under the same id, must not be continued. Raise `SessionNotFound`,
  or raise `LogReplaced` once and go on with the new one.
* `delete` compares the stamps it is given under the same lock, so that no append comes in between. A session of kind
  "task" begins under the lock of its parent, and `delete` lists the tasks again under the locks that it has taken:
  `CatalogueSync.parents_of_other_tasks` does that.

A backend that can replace the lines of a session has a third method, which is optional: `rewrite(id, build,
remove_original) -> Replaced`. Under the lock that an append needs, it calls `build` with the log and a function, and
puts the lines that it returns in the place of the old ones: all or nothing, also after a crash. None means to change
nothing. The function gets keys of entries of this session, and returns those whose usage another session of the store
holds: `CatalogueSync.held_elsewhere` does it. A log that was opened before reads the old lines or raises `LogReplaced`,
and never appends behind them. Without it, `SessionStore.vacuum` raises `NotImplementedError`.

A deleted row or record often stays in its file until something else is written there. A backend that can do something
about it has one more method, which is optional: `erase(ids: Sequence[str]) -> Traces` is called after a delete and
overwrites what is left of these sessions, of which none exists any more; called again, it does the same again.

`SessionStore.verify` reads the logs of any backend, and `repair` needs `rewrite`. `keeps_original = True` says that
`rewrite` keeps the log as it was. `logs_are_near = True` says that to open and read a log costs no round trip, so a
search reads a small one at once. A backend whose tables follow from the lines may have more methods, all optional;
`stores/_sql.py` says what they return: `wrong_rows(id)`, `stray_rows()`, `wrong_words()`, `restore_session(id)`,
`rebuild_words()`, and `note(id, code)`, which keeps a finding for `findings()` of its catalogue.

A backend is registered as an entry point in the group `convtree.stores`. The name is a URL scheme, the object is
called with the URL and returns the backend:

    [project.entry-points."convtree.stores"]
    dbm = "dbm_store:open_backend"

Then `convtree.open_store("dbm://…")` opens it; `SessionStore(backend)` does without a registration. The two slashes are
needed: other text is the path of a folder. The function gets the options of `open_store` that are among its parameters:
`create`, `durability`, `lock_timeout_s`, `allow_network`. What it does not take is refused, except for `create`. Clocks
and new ids are not a backend's business. `examples/dbm_store.py` is a whole store in 220 lines, and `convtree.testing`
has the tests that every store must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.gone import GoneSession, Used
from convtree._catalogue.record_summary import (
    HIDDEN_FROM_USER,
    NOT_SEARCHED,
    RecordSummary,
    Spent,
    copied_up_to,
    summarise_record,
    words_of,
)
from convtree._catalogue.titles import title_of
from convtree._catalogue.types import (
    Cursor,
    Filter,
    LedgerRow,
    ListedSession,
    LogStamp,
    Progress,
    SearchMatch,
    SessionInfo,
    StoredEntry,
    StoreFinding,
    UsageTotal,
)
from convtree._engine.log import Addition, Build, Chunk, Durability, Log, LogReplaced, Mode, SnapshotFile
from convtree._logs.memory import MemoryLog
from convtree._model.usage import Usage
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._ledger import Ledger

__all__ = [
    "HIDDEN_FROM_USER",
    "NOT_SEARCHED",
    "Addition",
    "Build",
    "BuildNew",
    "Catalogue",
    "CatalogueSync",
    "Chunk",
    "Cursor",
    "Deletion",
    "Durability",
    "Filter",
    "GoneSession",
    "Ledger",
    "LedgerRow",
    "ListedSession",
    "Log",
    "LogReplaced",
    "LogStamp",
    "MemoryLog",
    "Mode",
    "OwnRecords",
    "Progress",
    "RecordSummary",
    "Replaced",
    "SearchMatch",
    "SessionInfo",
    "SnapshotFile",
    "Spent",
    "StoreBackend",
    "StoreFinding",
    "StoredEntry",
    "Traces",
    "Usage",
    "UsageTotal",
    "Used",
    "copied_up_to",
    "summarise_record",
    "title_of",
    "words_of",
]


class Catalogue(Protocol):
    """Lists, searches and sums over all sessions of a store, as they were when the backend returned it.

    Used by one thread at a time, and only until the backend is asked for its catalogue again. `CatalogueSync` is one.
    `summarise_record` and `words_of` are what it uses to index records, and `title_of` chooses the title of a session;
    another implementation should use them, too.
    It keeps the text of hidden messages, because a visibility mark may show them later: `HIDDEN_FROM_USER` says whose
    excerpts are not listed, `NOT_SEARCHED` what is not found.

    Two more methods are optional, for storage that does them faster than it lists. `count(filters: Filter) -> int`.
    `ids_beginning(beginnings: Sequence[str], length: int) -> list[str]`: the ids whose first `length` characters are
    one of these texts.
    """

    def sessions(self, filters: Filter, after: Cursor | None = None, limit: int | None = None) -> list[ListedSession]:
        """Returns the sessions that match, last active first.

        Sessions are ordered by the time of their last activity, then by id, both descending. With `after`, the list
        begins after that position, whether or not a session is there. A log without a record is not a session yet.

        The last activity is the latest time of the header and of the records that were `said`, whatever their order,
        without times after `filters.now_ms`. The stamp of a session is not newer than what is listed: a store notes it,
        reads the log, and deletes the log if the stamp is still the same.
        """
        ...

    def search(self, text: str, filters: Filter, limit: int) -> list[SearchMatch]:
        """Returns the messages that contain all words of a text, best first. A text without words matches nothing."""
        ...

    def usage(self, ids: Sequence[str]) -> list[UsageTotal]:
        """Returns tokens and cost of these sessions, one total for each session, provider and model."""
        ...

    def descendants(self, ids: Sequence[str], kind: Literal["fork", "task"]) -> dict[str, str]:
        """Returns the sessions of a kind below these, at any depth: id to parent id, parents first.

        `ids` are not in it, even if parents form a ring.
        """
        ...

    def own_records(self, id: str) -> OwnRecords:
        """Returns which records of a session count in its usage. The others count elsewhere: `usage` says the same."""
        ...

    def links(self, ids: Collection[str]) -> list[tuple[str, str]]:
        """Returns pairs of a session and what its copied entries come from, where one of the two is in `ids`.

        That is the parent of a fork that copied something, deleted or not, and the id in the header of a log that was
        copied as a file. So copies of a session are found that is gone.
        """
        ...

    def entries(self, ids: Sequence[str]) -> list[StoredEntry]:
        """Returns the entries of these sessions, without lost ones: what a deletion takes out of the store."""
        ...

    def sessions_with(self, entry_ids: Sequence[str]) -> list[StoredEntry]:
        """Returns the entries with one of these ids in all sessions, without marks and lost entries.

        Those of one id are in the order in which their sessions began. The cost does not grow with the store.
        """
        ...

    def findings(self) -> list[StoreFinding]:
        """Returns everything in the store that is not a complete session, or is a copy of one."""
        ...

    def ledger(self) -> list[LedgerRow]:
        """Returns what deleted sessions had used, a row for each day, owner, provider and model.

        Usage of an entry is in it if no session of the store holds the entry any more. So whatever is deleted, the sum
        of `usage` over all sessions and of the ledger stays the same.
        """
        ...

    def gone(self) -> list[GoneSession]:
        """Returns the sessions in the ledger, one by one: what a copy of the store takes along."""
        ...


class Deletion(NamedTuple):
    """The result of a delete.

    Attributes:
        deleted: ids of the sessions that were deleted, in the order given. Those that did not exist are left out.
        changed: ids of the sessions that were not as expected, or have an unexpected task. If there are any, nothing
            was deleted.
    """

    deleted: list[str]
    changed: list[str]


class Traces(NamedTuple):
    """What `erase` of a backend has done: names of files and tables, as in `convtree.Erased`.

    Attributes:
        complete: those that hold nothing of the deleted sessions any more.
        pending: those that may still hold something until a reader has finished.
    """

    complete: list[str]
    pending: list[str]


class BuildNew(Protocol):
    """Returns the lines that take the place of those of a log; None if they are to stay. See `rewrite` above.

    With `heals`, it first appends nothing to the log, so that the rest of a write that was cut off is removed.
    """

    def __call__(
        self, log: Log, held: Callable[[Sequence[str]], set[str]], *, heals: bool = False
    ) -> Sequence[bytes] | None:
        """Is called under the lock of the log."""
        ...


class Replaced(NamedTuple):
    """What `rewrite` of a backend has done.

    Attributes:
        original: where the log was kept as it was; None if it was not.
        beside: names of files that still hold the old text, the original among them.
        complete: names of files that hold nothing of it any more.
    """

    original: str | None = None
    beside: Sequence[str] = ()
    complete: Sequence[str] = ()


class StoreBackend(Protocol):
    """Keeps logs by session id. The ids are valid; used by one thread at a time, but its logs in several threads."""

    @property
    def location(self) -> str:
        """Where the store is, for messages. Contains no password."""
        ...

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log. A new one is stored with its first append, not before.

        Mode "a" opens or begins one, "x" begins one, "r" opens one for reading, "r+" for reading and writing. A backend
        chooses how durable an append is, and should say so to its users.

        Raises:
            SessionNotFound: mode "r" or "r+", and there is no such session.
            SessionExists: mode "x", and there is one; at the latest at the first append.
            NotALog: something else is stored under this id.
        """
        ...

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session, durably. If `lines` or the storage raises, nothing is stored.

        `lines` may read other logs of this backend, in the same thread, while it is iterated: a fork does. A lock that
        is held meanwhile must allow that.

        Raises:
            SessionExists: there is a session with this id.
        """
        ...

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes sessions with everything that belongs to them: all that exist, or none.

        `expected` maps ids to the stamps that `Catalogue.sessions` returned. If the log of one of them has another
        stamp by now, nothing is deleted; nor if a session has a task that is not in `ids`. The comparison holds the
        locks that an append needs, taken in the order of the ids, so no append comes between comparison and deletion.
        An id that is not in it means: whatever the log has become. None means that for all, and for their tasks. What
        the sessions had used is in the ledger when they are gone, exactly once, wherever the process dies: see
        `CatalogueSync.record_deletion`.

        Raises:
            SessionLocked: another writer holds a lock for too long; nothing was deleted.
            NotALog: something else is stored under an id; nothing was deleted.
        """
        ...

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        """Adds sessions of another store's ledger, durably: all or none, and each once, however often it is called.

        What this store has recorded of its own deletions stays. Deletions wait, or are over:
        `CatalogueSync.merge_ledger` is called under the lock that they hold.
        """
        ...

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue, up to date with the logs. `progress(done, of)` is called while that takes long."""
        ...

    def close(self) -> None:
        """Closes files and connections. Sessions that are open stay usable. Closing twice is allowed."""
        ...
