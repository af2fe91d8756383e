"""A catalogue over logs that do not know of it. It reads the logs that changed since it last looked.

It is a cache: everything in it comes from the logs, so it is dropped and rebuilt at any doubt. It lives in an SQLite
file that any number of processes share, or in memory: `_catalogue_file` says when that file is trusted. Each process
brings it up to date before it reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import RLock
from typing import NoReturn, TypeVar
from weakref import finalize

from convtree._catalogue import queries, tables
from convtree._catalogue.copies import OwnRecords, held_elsewhere
from convtree._catalogue.erasing import drop_deleted_words
from convtree._catalogue.gone import GoneSession
from convtree._catalogue.ledger import add_links, rows_of
from convtree._catalogue.record_summary import is_in_family
from convtree._catalogue.tables import Dialect, Execute
from convtree._catalogue.texts import restored
from convtree._catalogue.types import COPY, Cursor, Filter, LedgerRow, ListedSession, LogStamp, Progress, StoreFinding
from convtree._engine.log import Log
from convtree._model.entries import Entry, Mark
from convtree._model.errors import ConvtreeError, NotALog, SessionNotFound
from convtree._model.interrupts import Unlocking, ending, is_interrupt
from convtree._model.resources import ForkAware, Uncopyable, watch_forks
from convtree._session.session import Session
from convtree.stores._catalogue_file import CatalogueFile, MemoryTables, Tables, means_damage
from convtree.stores._catalogue_transaction import CatalogueTransaction
from convtree.stores._deletions import header_checksum, lines_for
from convtree.stores._file_copies import copies_in, shared_records
from convtree.stores._ingesting import SeenLog, add_new, batches_of, ingest, remember
from convtree.stores._known_stamps import NOTE_REMOVED, KnownStamps
from convtree.stores._last_list import NO_LIST, LastList, may_keep
from convtree.stores._ledger import Ledger, MemoryLedger, decode_line, last_lines, merged_lines
from convtree.stores._look import Look
from convtree.stores._reading_elsewhere import ReadersElsewhere, Reading
from convtree.stores._reading_logs import LogContents, has_record, open_reader, reading
from convtree.stores._sql_catalogue import SqlCatalogue

T = TypeVar("T")

_COMMIT = 50  # sessions in one transaction, at most
_MANY = 500  # new logs: other processes help to read them
_COMMIT_MANY = 250  # sessions in one transaction then, and up to four times as many: each writes about the same pages
_SENT = 2**20  # the largest log, in bytes, that another process reads
_RESETS = 3  # after this many damaged files, the tables stay in memory

_UNKNOWN: LogStamp = (-1, 0, 0)  # equals no stamp: an unreadable log is read again at every sync


class CatalogueReset(Exception):
    """The tables were damaged and are empty now. Never leaves this module."""


class CatalogueSync(SqlCatalogue, Uncopyable, ForkAware):
    """A `Catalogue` for backends whose storage cannot list, search or sum by itself.

    Call `sync` whenever the store asks for its catalogue. It compares `scan()` with the stamps of its last visit, opens
    the logs whose stamp is another, and reads their new lines. It is fork-safe, and used by one thread at a time.

    Args:
        path: the file of the tables, shared by all processes that use the store; None keeps them in memory.
        scan: returns the stamp of every log in the store, by session id. Called at most once for each `sync`.
        open_log: opens a log for reading; `SessionNotFound` if it was deleted since the scan.
        ledger: keeps what deleted sessions had used; None: in memory.
        reading: how other processes open the logs, to read many at once; None: they cannot.
    """

    dialect: Dialect = "sqlite"

    def __init__(
        self,
        path: Path | None,
        scan: Callable[[], Mapping[str, LogStamp]],
        open_log: Callable[[str], Log],
        ledger: Ledger | None = None,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self._tables: Tables = MemoryTables() if path is None else CatalogueFile(path)
        self._ledger = ledger or MemoryLedger()
        self._last_list = NO_LIST
        self._linked: list[bytes] | None = None  # the lines of the ledger whose links the tables have
        self._scan = scan
        self._open_log = open_log
        self._reading = reading
        self._lock = RLock()
        self._known = KnownStamps()
        self._shared: dict[str, int] = {}  # records of copies that count in another log, for the next read
        self._resets = 0
        self._unerased: tuple[str, ...] = ()  # as `truncate_wal` returned it last
        finalize(self, self._tables.close)  # what SQLite closes by itself is not stamped
        watch_forks(self)

    # --- queries ---

    def sync(self, progress: Progress | None = None) -> None:
        """Brings the tables up to date with the logs. `progress(done, of)` is called with numbers of logs."""
        self._with_retry(lambda: self._sync(progress))

    def sessions(self, filters: Filter, after: Cursor | None = None, limit: int | None = None) -> list[ListedSession]:
        """Returns sessions, last active first, beginning after a cursor."""
        listed = self._last_list.found(self._known.revision, filters, after, limit)
        if listed is None:
            revision, now_ms = self._known.revision, filters.now_ms  # before the query, which may find more
            listed = super().sessions(filters, after, limit)
            if may_keep(filters, listed) and not self._read(lambda execute: queries.is_any_ahead(execute, now_ms)):
                self._last_list = LastList.of(listed, revision, filters, after, limit)
        return [ListedSession(info, at, self._known.stamp_of(info.id) or _UNKNOWN) for info, at, _ in listed]

    def own_records(self, id: str) -> OwnRecords:
        """Returns which records of a session count there. Those that a copied file shares count in another log."""
        rows = self._read(lambda execute: execute("SELECT shared FROM ct_files WHERE session_id = :id", {"id": id}))
        return super().own_records(id)._replace(start=rows[0][0] if rows else 0)

    def parents_of_other_tasks(self, ids: Collection[str]) -> list[str]:
        """Returns those of these sessions that have a sub-agent's session which is not one of them.

        Asks the tables after a sync, and then the logs that they name. For `StoreBackend.delete`, under the locks.
        """
        self.sync()
        found = []
        for child, parent in self.descendants(list(ids), "task").items():
            with suppress(SessionNotFound), self._open_reader(child) as session:
                if parent in ids and is_in_family(session.header, parent, self._owner_of(parent)):
                    found.append(parent)
        return found

    def _owner_of(self, id: str) -> str | None:
        sql = "SELECT MAX(owner) FROM ct_sessions WHERE session_id = :id"
        owner: str | None = self._read(lambda execute: execute(sql, {"id": id}))[0][0]
        return restored(owner)

    def findings(self) -> list[StoreFinding]:
        """Returns the logs that are damaged, unreadable or no logs, by session id, and then those that are copies."""
        sql = "SELECT session_id, code FROM ct_files WHERE code IS NOT NULL ORDER BY session_id"
        rows = self._read(lambda execute: execute(sql))
        found = [StoreFinding(code=code, place=id, id=id) for id, code in rows]
        copies = self._read(copies_in)
        return found + [StoreFinding(code=COPY, place=id, id=id, of=copies[id][0]) for id in sorted(copies)]

    def ledger(self) -> list[LedgerRow]:
        """Returns what deleted sessions had used. A session that is in the store is left out."""
        found = last_lines(self._ledger.read())
        return rows_of(row for gone in found if not self._is_there(gone) for row in gone.rows())

    def ledger_is_damaged(self) -> bool:
        """Returns whether a line of the ledger cannot be read. What it says is missing in `ledger`."""
        return not all(map(decode_line, self._ledger.read()))

    def gone(self) -> list[GoneSession]:
        """Returns the sessions in the ledger."""
        return last_lines(self._ledger.read())

    def merge_ledger(self, copied: Sequence[GoneSession]) -> None:
        """Adds sessions of another store's ledger. Call it in `merge_ledger` of the backend, under the locks."""
        if lines := merged_lines(self._ledger.read(), copied):
            self._ledger.append(lines)

    def record_deletion(self, ids: Sequence[str]) -> None:
        """Adds sessions to the ledger that are about to be deleted. Call it in `delete`, under the locks.

        Deletes must take turns from before this call until the sessions are gone.
        """
        if lines := self.lines_of_deletion(ids):
            self._ledger.append(lines)

    def lines_of_deletion(self, ids: Sequence[str]) -> list[bytes]:
        """Returns the lines that `record_deletion` adds, for a backend that adds them itself."""
        self.sync()
        return self._read(lambda execute: lines_for(execute, ids, self._open_log, self._open_reader))

    def held_elsewhere(self, id: str, entries: Sequence[str]) -> set[str]:
        """Returns those of a session's entries, given by their keys, whose usage another session of the store holds."""
        self.sync()
        return self._read(lambda execute: held_elsewhere(execute, id, entries, ()))

    def _is_there(self, gone: GoneSession) -> bool:
        if self._known.stamp_of(gone.id) is None:
            return False
        try:
            log = self._open_log(gone.id)
        except (ConvtreeError, OSError):
            return False
        try:
            return header_checksum(log) == gone.header
        finally:
            log.close()

    def _read(self, query: Callable[[Execute], T]) -> T:
        def attempt() -> T:
            if self._connection is None:  # the first query, or the tables were reset since the last sync
                self._sync(None)
            with self.reading() as execute:
                return query(execute)

        return self._with_retry(attempt)

    def _with_retry(self, attempt: Callable[[], T]) -> T:
        """Calls `attempt` until the tables are not reset meanwhile. Ends: after some resets they are in memory."""
        with Unlocking(self._lock), self._lock:
            try:
                while True:
                    with suppress(CatalogueReset):
                        return attempt()
            except BaseException as error:
                if is_interrupt(error):
                    self._abandon()
                raise

    def _abandon(self) -> None:
        """Closes the tables after an interrupt. They may be in a transaction, and what was read of them half read."""
        if (connection := self._connection) is not None:
            connection.rollback()  # closing waits for cursors, and one may be in the traceback
        self._forget()
        self._tables.close()

    # --- the tables ---

    @property
    def _connection(self) -> sqlite3.Connection | None:
        return self._tables.connection

    def reading(self) -> CatalogueTransaction:
        """Opens a transaction that reads. For calls within `_with_retry`."""
        return CatalogueTransaction(self._connect, self._reset_tables)

    def writing(self) -> CatalogueTransaction:
        """Opens a transaction that writes. For calls within `_with_retry`."""
        return CatalogueTransaction(self._connect, self._reset_tables, self._note_written)

    def write(self, work: Callable[[Execute], T]) -> T:
        """Calls `work` in a transaction that writes, and returns what it returns."""
        with self.writing() as execute:
            return work(execute)

    def _note_written(self, generation: int) -> None:
        self._known.note_written(generation)
        self._tables.written()

    def _connect(self) -> sqlite3.Connection:
        """Opens the tables, if they are not open: in memory if the file cannot be used."""
        if (connection := self._connection) is not None:
            return connection
        try:
            return self._tables.open()
        except (OSError, sqlite3.Error):
            self._tables = MemoryTables()
            return self._tables.open()

    def _reset_tables(self, error: Exception) -> NoReturn:
        """Drops damaged tables; they are a cache. Falls back to tables in memory if the file cannot be used.

        Raises:
            CatalogueReset: the tables are empty now.
            The error itself: it is about the statement, not about the tables.
        """
        damaged = means_damage(error)
        if isinstance(self._tables, MemoryTables) or not (damaged or isinstance(error, sqlite3.OperationalError)):
            raise error
        if damaged:
            self._discard_tables(error)
        self.close()
        self._tables = MemoryTables()  # the disk is full or read-only, or another process has the file for too long
        raise CatalogueReset from error

    def _discard_tables(self, reason: Exception | None = None) -> NoReturn:
        self._forget()
        self._tables.discard()
        self._resets += 1
        if self._resets > _RESETS:
            self._tables = MemoryTables()
        raise CatalogueReset from reason

    def _check_tables(self) -> None:
        """Looks whether anybody else has changed the file.

        Raises:
            CatalogueReset: the tables are closed. The next query opens the file, or makes a new one.
        """
        if self._connection is not None and not self._tables.is_as_left():
            self._discard_tables()

    def _forget(self) -> None:
        """Forgets what was read from the tables."""
        self._known.forget()
        self._last_list = NO_LIST
        self._linked = None

    def _after_fork(self) -> None:
        """Leaves the connection to the parent. The child must neither use it nor close it."""
        self._lock = RLock()
        if isinstance(self._tables, CatalogueFile):
            self._forget()
            _INHERITED.append(self._connection)
            self._tables.connection = None

    def erase(self) -> tuple[str, ...] | None:
        """Removes what logs that are gone have left in the tables and in SQLite's files.

        Returns the ends of the names of files that may still hold some of it, because another connection reads them:
        "-wal", and "" for the file of the tables. None if the tables are in memory.
        """

        def attempt() -> tuple[str, ...]:
            self._sync(None)
            drop_deleted_words(self)
            try:
                self._unerased = self._tables.truncate_wal()
            except OSError:
                self._discard_tables()
            except sqlite3.Error as error:
                self._reset_tables(error)
            return self._unerased

        unerased = self._with_retry(attempt)
        return None if isinstance(self._tables, MemoryTables) else unerased

    def close(self) -> None:
        """Closes the tables. The next query opens them again."""
        with Unlocking(self._lock), self._lock:
            if self._unerased and self._connection is not None:
                with suppress(OSError, sqlite3.Error):
                    self._unerased = self._tables.truncate_wal()
            self._forget()
            self._tables.close()

    # --- bringing them up to date ---

    def _sync(self, progress: Progress | None) -> None:
        self._check_tables()
        self._add_links()
        self._load_stamps()  # before the look: a log that another process adds in between must not look deleted
        look, looked_at = self._look()
        if not self._known.fits(look):
            with self.reading() as execute:
                self._known.load_now(execute)
        if not self._known.compare(look, looked_at):
            self._follow(look.stamps, progress)
        if looked_at is None and not self._known.unsettled:
            self._note_look(look)

    def _follow(self, stamps: Mapping[str, LogStamp], progress: Progress | None) -> None:
        """Brings the tables up to date with the stamps of all logs."""
        known, unsettled = self._known.stamps, self._known.unsettled
        gone = [id for id in (unsettled or known) if id in known and id not in stamps]
        changed = [id for id in (unsettled or stamps) if id in stamps and known.get(id) != stamps[id]]
        if gone:
            with self.writing() as execute:
                for id in gone:
                    self._remove(execute, id)
                execute(NOTE_REMOVED)
        self._read_logs(changed, stamps, progress)
        for id in gone:
            del known[id]
        again = self._count_copies(bool(gone), changed)
        self._known.unsettled = {id for id in (*changed, *again) if known.get(id) != stamps.get(id)}

    def _note_look(self, look: Look) -> None:
        """Leaves the next process a digest of a look, if there are many logs. Best effort: errors are ignored."""
        if self._known.is_noted or len(look.stamps) < _MANY or isinstance(self._tables, MemoryTables):
            return
        with suppress(sqlite3.Error):
            with CatalogueTransaction(self._connect, lambda _: None, self._note_written) as execute:
                self._known.note(execute, look)
            self._known.noted()

    def _read_logs(self, ids: Sequence[str], stamps: Mapping[str, LogStamp], progress: Progress | None) -> None:
        """Reads logs into the tables: those that were written to last, last. Other processes help if there are many."""
        ids = sorted(ids, key=lambda each: stamps[each][1])
        most = min(max(_COMMIT_MANY, len(ids) // 10), 4 * _COMMIT_MANY) if len(ids) >= _MANY else _COMMIT
        batches = batches_of(ids, stamps, most)
        helped = [[id for id in batch if self._is_simple(id, stamps[id])] for batch in batches]
        readers = ReadersElsewhere()

        def read() -> None:
            if self._reading is not None and sum(map(len, helped)) >= _MANY:
                readers.start(self._reading, helped)
            done = 0
            for batch in batches:
                found = readers.next()
                with self.writing() as execute:
                    read = {id: stamps[id] for id in add_new(execute, found, stamps)} if found else {}
                    self._shared |= dict.fromkeys(read, 0)
                    read |= {id: self._sync_log(execute, id, stamps[id]) for id in batch if id not in read}
                self._known.add(read)
                done += len(batch)
                if progress is not None:
                    progress(done, len(ids))

        ending(read, readers.close)

    def _is_simple(self, id: str, stamp: LogStamp) -> bool:
        """Returns whether another process may read a log: it is new, not too large to be sent, and no copy."""
        return id not in self._known.stamps and stamp[0] <= _SENT and not self._shared.get(id)

    def _look(self) -> tuple[Look, Set[str] | None]:
        """Returns the stamps of all logs, and which may have changed since the last look; None: any may have."""
        return Look(dict(self._scan())), None

    def _count_copies(self, any_gone: bool, changed: Collection[str]) -> list[str]:
        """Reads copies again whose shared part is another now. Returns them."""
        with self.reading() as execute:
            copies = copies_in(execute)
            stored = dict(map(tuple, execute("SELECT session_id, shared FROM ct_files WHERE shared > 0")))
        concerned, again = set(changed), []
        for id in copies.keys() | stored.keys():
            others = copies.get(id, [])
            if id not in self._known.stamps or not (any_gone or concerned.intersection((id, *others))):
                continue
            with suppress(ConvtreeError, OSError), self._open_reader(id) as session:
                self._shared[id] = shared_records(session, others, self._open_log)
            if self._shared.get(id, 0) != stored.get(id, 0):
                with self.writing() as execute:
                    self._remove(execute, id)
                    self._known.stamps[id] = self._sync_log(execute, id, self._known.stamps[id])
                again.append(id)
        return again

    def _add_links(self) -> None:
        """Adds what leads past deleted sessions to the tables."""
        lines = self._ledger.read()
        if lines is self._linked:
            return
        links = [link for each in last_lines(lines) for link in each.links()]
        if links:
            with self.writing() as execute:
                add_links(execute, links)
        self._linked = lines

    def _load_stamps(self) -> None:
        """Loads the stamps of the logs as the tables have them, where another process changed the tables.

        Raises:
            CatalogueReset: something else than convtree changed them: their generation is the same.
        """
        with self.reading() as execute:
            is_other = self._known.load(execute)
        # To truncate the WAL changes the file, too.
        if not is_other and not self._tables.is_stamped_anew():
            self._discard_tables()

    def _sync_log(self, execute: Execute, id: str, stamp: LogStamp) -> LogStamp:
        """Reads a log's new lines, or all of them if it is another log than before. Returns the stamp to remember."""
        columns = "size, mtime_ns, inode, records, last_id, code, shared"
        rows = execute(f"SELECT {columns} FROM ct_files WHERE session_id = :id", {"id": id})
        *seen, records, last_id, code, shared = rows[0] if rows else (0, 0, 0, 0, None, None, self._shared.get(id, 0))
        if stamp == tuple(seen):
            return stamp  # another process has read it meanwhile
        self._shared[id] = shared
        if code is not None or stamp[2] != seen[2] or stamp[0] < seen[0]:
            records = 0
        try:
            with self._open_contents(id) as found:
                if rows and not (records and has_record(found, records - 1, last_id)):
                    self._remove(execute, id)
                    records, last_id = 0, None
                unread = found.size - records
                for numbered in self._ingest(execute, id, found, records):
                    unread -= len(numbered)
                    records, last_id = numbered[-1][0] + 1, numbered[-1][1].id
                code = found.code_of(unread)
        except SessionNotFound:
            self._remove(execute, id)  # it was deleted after the look
            execute(NOTE_REMOVED)
            return stamp
        except NotALog:
            self._remove(execute, id)
            records, last_id, code = 0, None, "not_a_log"
        except (ConvtreeError, OSError):
            self._remove(execute, id)
            records, last_id, code = 0, None, "unreadable"
            stamp = _UNKNOWN
        remember(execute, id, stamp, SeenLog(records, last_id, code), shared)
        return stamp

    def _open_contents(self, id: str) -> AbstractContextManager[LogContents]:
        return reading(self._open_log(id))

    def _open_reader(self, id: str) -> Session:
        return open_reader(self._open_log(id))

    def _ingest(
        self, execute: Execute, id: str, found: LogContents, start: int
    ) -> Iterator[Sequence[tuple[int, Entry | Mark]]]:
        """Adds the records from number `start` to the tables, and yields each batch."""
        return ingest(execute, id, found, start, self._shared.get(id, 0))

    def _remove(self, execute: Execute, id: str) -> None:
        tables.remove_session(execute, id)
        execute("DELETE FROM ct_files WHERE session_id = :id", {"id": id})


_INHERITED: list[sqlite3.Connection | None] = []  # connections of the parent process: never used, never closed
