"""SQLite databases of other tools, read without changing anything on disk.

The rows of a damaged table are searched for from both ends. `sqlite_opening` says how a database is opened.

A database may come from anybody. Only plain tables are read: a virtual one can run a query without end. The work that
one database may cause is limited by its size, and so is the length of a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from convtree._formats.common.base import Findings, Source, SourceSpan
from convtree._formats.common.parsing import decode_replacing, parse
from convtree._formats.common.sqlite_opening import connect, has_news, read_schema, size_of

if TYPE_CHECKING:
    import sqlite3

_PLAIN = re.compile(r"\w+")  # a name of a table that a query can name
_SUFFIXES = (".db", ".sqlite", ".sqlite3", ".db3", ".vscdb")
_UNTRUSTED = "unsafe use of"  # its schema calls a function that no foreign schema may call here; it is not damaged
_CELL_LIMIT = 64 * 2**20  # bytes of a value that is still taken
_STEPS = 100_000  # instructions of SQLite between two looks at the budget, about a millisecond
_BUDGET = 50_000_000  # instructions for any database
_BUDGET_PER_BYTE = 20  # and for each byte of its file


class Row(NamedTuple):
    """A row by column, and its position: the line counts rows as they are read, offset and length their bytes."""

    values: dict[str, Any]
    span: SourceSpan


def has_tables(source: Source, *tables: Mapping[str, frozenset[str]]) -> bool:
    """Returns whether a source is a database with all tables of one of the given sets, each with these columns."""

    def has(database: Database) -> bool:
        return any(all(names <= database.columns(table) for table, names in each.items()) for each in tables)

    return _is_database(source, has)


def has_tables_like(source: Source, *columns: frozenset[str]) -> bool:
    """Returns whether a source is a database with a table, of whatever name, for each of the sets of columns."""
    return _is_database(source, lambda database: all(database.tables_like(each) for each in columns))


def _is_database(source: Source, has: Callable[[Database], bool]) -> bool:
    """Returns whether a source is a database that has something, without its journal or with it."""
    if not source.is_database:
        return False
    import sqlite3

    for takes_journal in (False, True) if has_news(source.path) else (False,):
        try:
            with open_database(source, Findings(), takes_journal=takes_journal) as database:
                if has(database):
                    return True
        except sqlite3.Error:
            continue
    return False


def error_of(source: Source) -> str | None:
    """Returns what SQLite says of a database that it cannot read; None if it can, or the source is none.

    An encrypted database has no first bytes to know it by, so a name that databases have counts, too.
    """
    if not source.is_database and not (source.beginning and source.path.suffix in _SUFFIXES):
        return None
    import sqlite3

    try:
        with open_database(source, Findings(), takes_journal=False) as database:
            database.check()
    except sqlite3.Error as error:
        return None if _UNTRUSTED in str(error) else str(error)
    return None


@contextmanager
def open_database(source: Source, findings: Findings, *, takes_journal: bool = True) -> Iterator[Database]:
    """Opens a database for reading. Changes that are only in its journal are included."""
    import sqlite3

    with ExitStack() as stack:
        connection = connect(source, findings, stack, takes_journal=takes_journal)
        state = _State()
        connection.text_factory = state.decode
        connection.execute("pragma trusted_schema=off")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _CELL_LIMIT)
        looks = iter(range((_BUDGET + _BUDGET_PER_BYTE * size_of(source.path)) // _STEPS))
        connection.set_progress_handler(lambda: next(looks, None) is None, _STEPS)
        yield Database(connection, findings, state)


def open_shared(source: Source) -> AbstractContextManager[Database]:
    """Opens the database of a source; pass it to `Source.share` to have it opened once."""
    return open_database(source, Findings())


class _State:
    """What all views of one connection share."""

    def __init__(self) -> None:
        self.columns: dict[str, frozenset[str]] = {}
        self.rows = 0  # read so far, from any table
        self.bytes = 0
        self.has_replaced = False  # a value of the row at hand
        self.met_long_value = False  # the last query ended at a value that is too long

    def decode(self, data: bytes) -> str:
        """Decodes a text. Invalid UTF-8 is replaced, and noted for the row."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.has_replaced = True
            return decode_replacing(data)


class Database:
    """A database whose rows are read. What cannot be read is skipped and reported."""

    def __init__(self, connection: sqlite3.Connection, findings: Findings, state: _State) -> None:
        self.findings = findings
        self._connection = connection
        self._state = state

    def reporting_to(self, findings: Findings) -> Database:
        """Returns a view of the same connection that reports to other findings."""
        return Database(self._connection, findings, self._state)

    def check(self) -> None:
        """Reads the schema; raises the error of SQLite if that cannot be read."""
        read_schema(self._connection)

    def columns(self, table: str) -> frozenset[str]:
        """Returns the columns of a table; empty if it does not exist. A view or a virtual table is none."""
        if table not in self._state.columns:
            stored = "select 1 from sqlite_master where type = 'table' and rootpage > 0 and name = ?"
            is_table = any(self._cells(stored, (table,)))  # asking a virtual table for its columns runs its code
            found = self._cells("select name from pragma_table_info(?)", (table,)) if is_table else ()
            self._state.columns[table] = frozenset(str(name) for (name,) in found)
        return self._state.columns[table]

    def tables_like(self, columns: frozenset[str]) -> list[str]:
        """Returns the names of the tables that have these columns."""
        stored = "select name from sqlite_master where type = 'table' and rootpage > 0 order by name"
        names = [str(name) for (name,) in self._cells(stored, ())]
        return [name for name in names if _PLAIN.fullmatch(name) and columns <= self.columns(name)]

    def report_unread(self, read: Mapping[str, str]) -> None:
        """Reports the names of tables and columns that are not read and have something.

        `read` has the columns of each table that are read, "*" for all.
        """
        for table in self.tables_like(frozenset()):
            columns = read.get(table)
            if columns is None and not table.startswith("sqlite_") and self._has_any(table):
                self.findings.add_once(table, "source_field_dropped", SourceSpan(1, 0, 0))
            if columns in (None, "*"):
                continue
            for column in sorted(self.columns(table) - {*columns.split()}):
                if _PLAIN.fullmatch(column) and self._has_any(table, f' where "{column}" is not null'):
                    self.findings.add_once(column, "source_field_dropped", SourceSpan(1, 0, 0))

    def _has_any(self, table: str, condition: str = "") -> bool:
        return any(self._cells(f'select 1 from "{table}"{condition} limit 1', ()))

    def referenced_by(self, table: str) -> list[str]:
        """Returns the names of the tables that foreign keys of a table name."""
        found = self._cells('select "table" from pragma_foreign_key_list(?) order by id', (table,))
        return [str(name) for (name,) in found]

    def rows(
        self,
        table: str,
        names: str,
        *,
        where: str = "",
        order: str = "rowid",
        values: tuple[Any, ...] = (),
        blobs: str = "",
    ) -> Iterator[Row]:
        """Yields the rows of a table, with those of the named columns that exist; none if the table does not exist.

        "*" means all columns. Bytes are decoded as text, except in the column `blobs`.
        """
        wanted = sorted(self.columns(table)) if names == "*" else names.split()
        present = [name for name in wanted if name in self.columns(table)]
        if not present:
            return
        picked = ", ".join(f'"{name}"' for name in present)
        condition = f" where {where}" if where else ""
        count, errors = 0, len(self.findings.listed)
        for cells in self._cells(f'select {picked} from "{table}"{condition} order by {order}', values):
            yield self._row(present, cells, blobs)
            count += 1
        is_cut_off = self._state.met_long_value or len(self.findings.listed) > errors
        if is_cut_off and "group by" not in where:
            inside = f" where ({where})" if where else ""
            for number in self._readable(table, inside, order, values, count):
                for cells in self._row_at(table, present, number):
                    yield self._row(present, cells, blobs)

    def _row_at(self, table: str, names: list[str], number: int) -> list[tuple[Any, ...]]:
        """Returns the row with a rowid, if it can be read. Values that are too long are None."""
        picked = ", ".join(f'"{name}"' for name in names)
        found = list(self._cells(f'select {picked} from "{table}" where rowid = ?', (number,)))
        if found or not self._state.met_long_value:
            return found
        self._state.has_replaced = True
        queries = (f'select "{name}" from "{table}" where rowid = ?' for name in names)
        return [tuple(next(self._cells(query, (number,)), (None,))[0] for query in queries)]

    def _readable(self, table: str, condition: str, order: str, values: tuple[Any, ...], count: int) -> list[int]:
        """Returns the rowids that can be read from both ends of a damaged table, without the first `count` rows."""
        found: dict[int, list[Any]] = {}
        picked = f'select rowid, {order} from "{table}" not indexed{condition}'
        joined = "and" if condition else "where"
        for end, side in (("asc", ">"), ("desc", "<")):
            number = None
            for number, *keys in self._cells(f"{picked} order by rowid {end}", values, is_known_damage=True):
                found[number] = keys
            if number is not None:
                # rows are read one ahead, so the last before the damage is asked for alone
                query = f"{picked} {joined} rowid {side} {number} order by rowid {end} limit 1"
                found |= {number: keys for number, *keys in self._cells(query, values, is_known_damage=True)}
        query = f'select rowid from "{table}"{condition} order by {order}'
        for (number,) in islice(self._cells(query, values, is_known_damage=True), count):
            found.pop(number, None)
        return sorted(found, key=lambda number: [*map(_rank, found[number]), _rank(number)])

    def _cells(
        self, query: str, values: tuple[Any, ...], *, is_known_damage: bool = False
    ) -> Iterator[tuple[Any, ...]]:
        """Yields the rows that can be read. Damage is reported unless it is known already."""
        import sqlite3

        self._state.met_long_value = False
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.ProgrammingError:
            raise  # the source was closed while its rows were read: not damage
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's message may quote a damaged schema
            self._state.met_long_value = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_TOOBIG
            if not is_known_damage and not self._state.met_long_value:
                self.findings.add("source_database", SourceSpan(self._state.rows + 1, self._state.bytes, 0))

    def report_strays(self, table: str, column: str, other: str, own: str) -> None:
        """Reports the rows of a table whose parent row does not exist."""
        if self.columns(table) and self.columns(other):
            is_known = f'"{column}" in (select "{own}" from "{other}" where "{own}" is not null)'
            for row in self.rows(table, column, where=f'"{column}" is null or not ({is_known})'):
                self.findings.add("source_left_out", row.span)

    def _row(self, names: list[str], cells: tuple[Any, ...], blobs: str) -> Row:
        length = sum(len(cell) if isinstance(cell, str | bytes) else 8 for cell in cells)
        state = self._state
        state.rows += 1
        span = SourceSpan(state.rows, state.bytes, length)
        state.bytes += length
        values = {name: self._storable(cell, name == blobs) for name, cell in zip(names, cells, strict=True)}
        if state.has_replaced:
            self.findings.add("value_replaced", span)
            state.has_replaced = False
        return Row(values, span)

    def _storable(self, cell: Any, is_blob: bool) -> Any:
        if isinstance(cell, bytes) and not is_blob:
            cell = self._state.decode(cell)
        if isinstance(cell, float) and not math.isfinite(cell):
            self._state.has_replaced = True
            return str(cell)
        return cell


def _rank(value: Any) -> tuple[int, Any]:
    """Returns a sort key that orders values of all types as SQLite does."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, value) if isinstance(value, str) else (3, value)


def parse_cell(value: Any, span: SourceSpan, findings: Findings) -> Any:
    """Parses the JSON in a cell. A text that is not JSON is reported and returned as it is."""
    if not isinstance(value, str) or not value.strip():
        return None if isinstance(value, str) else value
    found = parse(b'{"value":' + value.encode() + b"}\n", span, findings)
    return found[0].get("value") if found else value.replace("\0", "")
