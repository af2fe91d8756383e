"""Sessions in a database, SQLite or PostgreSQL. The tables that hold their lines are also the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from convtree._catalogue import queries, tables
from convtree._catalogue.copies import held_elsewhere
from convtree._catalogue.erasing import TABLES, drop_deleted_words
from convtree._catalogue.gone import GoneSession
from convtree._catalogue.ledger import gone_in
from convtree._catalogue.record_summary import is_in_family
from convtree._catalogue.tables import Execute
from convtree._catalogue.types import Filter, LedgerRow, LogStamp, Progress, RowFinding, StoreFinding
from convtree._engine.log import Durability, Log, Mode
from convtree._logs import sql_checking, sql_ledger, sql_lines
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_lines import SessionRow
from convtree._logs.sql_whole import rewrite_session, write_session
from convtree._model.batches import batched
from convtree._model.errors import ConvtreeError
from convtree._model.resources import Uncopyable
from convtree.stores._sql_catalogue import SqlCatalogue
from convtree.stores.base import BuildNew, Catalogue, Deletion, Replaced, Traces

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")


class _Changed(Exception):
    """Sessions were not as expected: rolls the transaction back."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids


class _DatabaseCatalogue(SqlCatalogue):
    """The queries over the tables of a database. Each append updates them in its own transaction."""

    def __init__(self, database: SqlDatabase) -> None:
        super().__init__()
        self._database = database
        self.dialect = database.dialect
        self.noted: dict[str, str] = {}  # codes of findings by session id, as it was last opened or verified

    def _read(self, query: Callable[[Execute], T]) -> T:
        return self._database.read(query)

    def ledger(self) -> list[LedgerRow]:
        """Returns what deleted sessions had used. Each delete adds to it in its own transaction."""
        return self._read(sql_ledger.rows_in)

    def gone(self) -> list[GoneSession]:
        """Returns the sessions in the ledger."""
        return self._read(gone_in)

    def findings(self) -> list[StoreFinding]:
        """Returns what this process found when it last opened or verified a session, without another look."""
        there = {
            each.info.id for some in batched(self.noted) for each in self.sessions(Filter(ids=tuple(some), tasks=True))
        }
        self.noted = {
            id: code for id, code in self.noted.items() if id in there or code in ("missing_row", "extra_row")
        }
        return [StoreFinding(code=code, place=id, id=id) for id, code in sorted(self.noted.items())]


class SqlBackend(Uncopyable):
    """Logs in a database.

    Args:
        where: the URL of a database, or an SQLAlchemy engine, which stays the caller's to dispose of.
        durability: what an append survives; for SQLite only.
        lock_timeout_s: how long SQLite waits for another writer.
        create: whether missing tables are created; None creates them in SQLite only.
    """

    def __init__(
        self,
        where: str | Engine,
        *,
        durability: Durability = "power",
        lock_timeout_s: float = 10.0,
        create: bool | None = None,
    ) -> None:
        self._database = SqlDatabase.connect(
            where, durability=durability, lock_timeout_s=lock_timeout_s, create=create is not False
        )
        self._catalogue = _DatabaseCatalogue(self._database)
        try:
            if create or (create is None and self._database.dialect == "sqlite"):
                self._database.create_tables()
            else:
                self._database.check_tables()
        except BaseException:
            self._database.close()
            raise

    @property
    def location(self) -> str:
        """The URL of the database, without its password."""
        return self._database.location

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log."""
        return SqlLog(self._database, id, mode=mode)

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        write_session(self._database, id, lines)

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes sessions in one transaction. The stamp is a condition of the DELETE itself."""
        deleted: dict[str, int | None] = {}

        def delete(execute: Execute) -> Deletion:
            nonlocal deleted
            deleted = _delete(execute, ids, expected)
            return Deletion(list(deleted), [])

        def landed(execute: Execute) -> Deletion | None:
            execute(tables.LOCK_LEDGER)
            # All went or none, and another session may have got the id since.
            for id, created_ms in deleted.items():
                rows = execute(tables.LOCK, {"session_id": id})
                if rows and SessionRow(*rows[0]).created_ms == created_ms:
                    return None
            return Deletion(list(deleted), [])

        try:
            return self._database.transact(delete, landed)
        except _Changed as error:
            return Deletion([], error.ids)

    def rewrite(self, id: str, build: BuildNew, remove_original: bool) -> Replaced:
        """Replaces the lines of a session in one transaction."""
        del remove_original
        rewrite_session(
            self._database,
            id,
            lambda log, execute: build(log, lambda entries: held_elsewhere(execute, id, entries, ())),
        )
        return Replaced()

    def note(self, id: str, code: str | None) -> None:
        """Keeps the code of the first finding about a session for `findings`; None: there is none."""
        if code is None:
            self._catalogue.noted.pop(id, None)
        else:
            self._catalogue.noted[id] = code

    def wrong_rows(self, id: str) -> list[RowFinding]:
        """Returns where the tables do not say what the lines of a session say."""
        return sql_checking.wrong_rows(self._database, id)

    def stray_rows(self) -> dict[str, list[RowFinding]]:
        """Returns which tables have rows of sessions that do not exist, by session id."""
        return sql_checking.stray_rows(self._database)

    def wrong_words(self) -> dict[str | None, list[RowFinding]]:
        """Returns where the index of words has others than the lines, by session id; None: words of no line."""
        return sql_checking.wrong_words(self._database)

    def restore_session(self, id: str) -> None:
        """Gives lines of no session a row; deletes other rows of no session."""
        sql_checking.restore_session(self._database, id)

    def rebuild_words(self) -> None:
        """Makes the index of words anew."""
        sql_checking.rebuild_words(self._database)

    def erase(self, ids: Sequence[str]) -> Traces:
        """Overwrites what deleted sessions have left in the files of SQLite. On a server, there is nothing to do."""
        del ids
        database = self._database
        if database.dialect != "sqlite":
            return Traces(list(TABLES), [])
        try:
            drop_deleted_words(database)
            database.truncate_wal()
        except (OSError, ConvtreeError):  # another writer holds the lock, say; the sessions are deleted
            database.unerased = ("", "-wal")
        names = {end: database.file_name + end for end in ("", "-wal")}
        return Traces(
            [name for end, name in names.items() if end not in database.unerased],
            [names[end] for end in database.unerased],
        )

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        """Adds sessions of another store's ledger, in one transaction."""

        def merge(execute: Execute) -> None:
            execute(tables.LOCK_LEDGER)
            sql_ledger.merge(execute, gone)

        self._database.transact(merge)

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue. It is always up to date."""
        del progress
        return self._catalogue

    def close(self) -> None:
        """Closes the connections, unless the engine is the caller's. An open session connects again."""
        self._database.close()


def _delete(execute: Execute, ids: Sequence[str], expected: Mapping[str, LogStamp] | None) -> dict[str, int | None]:
    """Deletes sessions, or raises _Changed. What they had used goes to the ledger. Returns when they had begun, by id.

    With the locks of their rows, no append and no sub-agent's session can begin. Yet each DELETE has its condition: a
    database may spread the sessions over several servers.
    """
    execute(tables.LOCK_LEDGER)
    found = {id: execute(tables.LOCK, {"session_id": id}) for id in sorted(ids)}
    deleted = {id: SessionRow(*found[id][0]).created_ms for id in ids if found[id]}
    changed = [] if expected is None else _parents_of_other_tasks(execute, deleted)
    for id in deleted:
        sql_ledger.record_deletion(execute, id)
        stamp = None if expected is None else expected.get(id)
        if stamp is None:
            tables.remove_session(execute, id)
        elif not tables.remove_unchanged_session(execute, id, stamp):
            changed.append(id)
    if changed:
        raise _Changed(changed)
    return deleted


def _parents_of_other_tasks(execute: Execute, ids: Collection[str]) -> list[str]:
    """Returns those of these sessions that have a sub-agent's session which is not one of them.

    The columns propose it, and its header decides.
    """
    return [
        parent
        for child, parent in queries.descendants(execute, list(ids), "task").items()
        if parent in ids
        and is_in_family(
            sql_lines.stored_header(execute, child), parent, sql_lines.stored_header(execute, parent).owner
        )
    ]
