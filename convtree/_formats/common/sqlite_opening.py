"""Opens SQLite databases of other tools without changing anything on disk, with what is only in their journal.

A database with a journal is opened where it is. SQLite reads a write-ahead log read-only if its shared memory file is
there; a rollback journal that holds no unfinished transaction does not matter. Only where SQLite would have to write is
the database copied, together with its journal: behind a crash in rollback mode, and without the shared memory file. One
that is too large for a copy is read without its journal, which is reported.

A database in WAL mode without a journal is opened as immutable, because SQLite would create the shared memory file.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from convtree._formats.common.base import Findings, Source, SourceSpan

if TYPE_CHECKING:
    import sqlite3

_ATTEMPTS = 5  # to copy without a concurrent write
_COPY_LIMIT = 2**30  # bytes of a database with its journal that are copied
_YOUNG = 2**24  # bytes of a database whose tables may still stand in its journal only


def connect(source: Source, findings: Findings, stack: ExitStack, *, takes_journal: bool) -> sqlite3.Connection:
    """Opens the database of a source, until the stack is closed. A journal that cannot be read is reported."""
    journals = _journals(source.path) if takes_journal else []
    if not journals:
        is_logged = source.beginning[18:20] == b"\2\2" or os.path.lexists(f"{source.path}-wal")
        return _open(source.path, stack, "mode=ro&immutable=1" if is_logged or not takes_journal else "mode=ro")
    if (connection := _in_place(source.path, stack)) is not None:
        return connection
    if size_of(source.path) + sum(map(size_of, journals)) <= _COPY_LIMIT:
        folder = stack.enter_context(TemporaryDirectory(prefix="convtree-"))
        return _open(_copied(source.path, Path(folder)), stack, "mode=rw")
    findings.add("source_journal", SourceSpan(0, 0, sum(map(size_of, journals))))
    return _open(source.path, stack, "mode=ro&immutable=1")


def has_news(path: Path) -> bool:
    """Returns whether tables of a database may be only in its journal: before its first checkpoint, so it is small."""
    return size_of(path) < _YOUNG and bool(_journals(path))


def size_of(path: Path) -> int:
    """Returns the size of a file; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _open(path: Path, stack: ExitStack, mode: str) -> sqlite3.Connection:
    import sqlite3

    return stack.enter_context(closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)))


def _in_place(path: Path, stack: ExitStack) -> sqlite3.Connection | None:
    """Opens a database with a journal where it is; None if SQLite would have to write for that.

    A transaction keeps what is seen the same until the end. In WAL mode, it keeps no writer waiting.
    """
    import sqlite3

    with ExitStack() as opening:
        connection = _open(path, opening, "mode=ro&readonly_shm=1")
        try:
            if size_of(path.with_name(path.name + "-wal")):
                connection.execute("begin")
            read_schema(connection)
        except sqlite3.Error:
            return None
        stack.push(opening.pop_all())
        return connection


def read_schema(connection: sqlite3.Connection) -> None:
    """Reads the schema; raises the error of SQLite if that cannot be read."""
    import sqlite3

    try:
        connection.execute("select count(*) from sqlite_master").fetchone()
    except UnicodeDecodeError:  # in SQLite's message, which quotes the schema
        raise sqlite3.DatabaseError("malformed database schema") from None


def _journals(path: Path) -> list[Path]:
    """Returns the journals of a database that are not empty."""
    return [side for end in ("-wal", "-journal") if size_of(side := path.with_name(path.name + end))]


def _copied(path: Path, folder: Path) -> Path:
    """Copies a database with its journals; tries again, a few times, if it was written to meanwhile."""
    for _ in range(_ATTEMPTS):
        journals = _journals(path)
        before = [_state(file) for file in (path, *journals)]
        for copy in folder.iterdir():
            copy.unlink()
        shutil.copyfile(path, folder / path.name)
        for journal in journals:
            with suppress(FileNotFoundError):  # its writer has taken it in meanwhile
                shutil.copyfile(journal, folder / journal.name)
        if before == [_state(file) for file in (path, *journals)]:
            break
    return folder / path.name


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
