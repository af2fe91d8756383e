"""Access to a log in a file, or in an SQLite database (`.db`), for harnesses that test both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from convtree._model.entries import Finding
from convtree._model.errors import ConvtreeError, SessionNotFound
from convtree._session.session import Session
from convtree.repair import verify
from convtree.stores._open import open_store

DATABASE = ".db"
_ID = "log"


def open_session(path: Path, *, mode: Any = "a", durability: Any = "power", **options: Any) -> Session:
    """Opens the session in a file or database."""
    if path.suffix != DATABASE:
        return Session.open(path, mode=mode, durability=durability, **options)
    try:
        store = open_store(f"sqlite:///{path}", durability=durability, create=mode == "a", lock_timeout_s=60)
    except (FileNotFoundError, ConvtreeError) as error:
        raise SessionNotFound(str(error)) from None
    return store.open(_ID, create=mode == "a", read_only=mode == "r", **options)


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines, read without the engine."""
    if path.suffix != DATABASE:
        yield from path.read_bytes().split(b"\n")[:-1]
        return
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for (line,) in connection.execute("SELECT line FROM ct_lines WHERE session_id = ? ORDER BY position", (_ID,)):
            yield line.encode()


def findings(path: Path) -> tuple[Finding, ...]:
    """Returns the findings of a complete check."""
    if path.suffix != DATABASE:
        return verify(path).findings
    with closing(sqlite3.connect(path)) as connection:
        ((answer,),) = connection.execute("PRAGMA integrity_check").fetchall()
        assert answer == "ok", answer
    with open_session(path, mode="r") as session:
        assert len(list(session.records())) == session._journal.index.state.lines - 1, "a record cannot be read"
        return session.findings
