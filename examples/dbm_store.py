"""A store of your own: convtree over a key-value store, here `dbm` of Python's standard library.

    from convtree import SessionStore
    store = SessionStore(DbmBackend("chats"))

Each line of a log is a value under "<session id>/<number>". One more value, under "sessions", is the table of contents:
the identity and the number of lines of every session. It is written last. Lines that it does not count are not there,
so this one write commits an append, and a delete of several sessions, too. A lock file lets one process in at a time.

It is as durable as dbm is, which does not sync to disk. The table of contents grows with the number of sessions, so
this store is for thousands of them, not for millions. `convtree.stores.base` explains the interface.
"""

import dbm
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

from filelock import FileLock, Timeout

from convtree import SessionExists, SessionLocked, SessionNotFound
from convtree.stores.base import (
    Build,
    Catalogue,
    CatalogueSync,
    Chunk,
    Deletion,
    GoneSession,
    LogReplaced,
    LogStamp,
    Mode,
    Progress,
    SnapshotFile,
)

CHUNK = 500  # lines read at once


def open_backend(url: str) -> "DbmBackend":
    """What an entry point in the group `convtree.stores` names: makes the backend for `dbm:///path`."""
    return DbmBackend(url.removeprefix("dbm://"))


class Contents:
    """The open database, and its table of contents: session id to (identity, number of lines)."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self.sessions: dict[str, tuple[int, int]] = json.loads(db.get(b"sessions", b"{}"))

    def state(self, id: str) -> tuple[int, int]:
        """Returns the identity and the number of lines; zeros if there is no such session."""
        identity, lines = self.sessions.get(id, (0, 0))
        return identity, lines

    def put(self, id: str, start: int, lines: Iterable[bytes]) -> int:
        """Stores lines of a session, uncommitted; returns the number after the last one."""
        number = start
        for number, line in enumerate(lines, start + 1):
            self.db[f"{id}/{number - 1}"] = line
        return number

    def commit(self) -> None:
        """Writes the table of contents."""
        self.db[b"sessions"] = json.dumps(self.sessions).encode()


class DbmLog:
    """The log of a session. A position is the number of a line."""

    append_is_atomic = True  # a line that the table of contents does not count is not there
    failed = False  # a write that fails is not committed, so it is never unknown what is stored

    def __init__(self, backend: "DbmBackend", id: str, mode: Mode) -> None:
        self.location = f"{backend.location}#{id}"
        self._backend, self._id, self._mode = backend, id, mode
        with backend.transaction() as contents:
            self._identity = contents.state(id)[0]  # of the session that this log is of; 0 if it has not begun
        if self._identity and mode == "x":
            raise SessionExists(f"{self.location}: there is a session with this id already")
        if not self._identity and mode in ("r", "r+"):
            raise SessionNotFound(f"{self.location}: there is no session with this id")

    def _size(self, contents: Contents) -> int:
        """Returns the number of lines, if this is still the session that was opened."""
        identity, size = contents.state(self._id)
        if identity != self._identity:
            before, self._identity = self._identity, identity or self._identity
            if not identity:
                raise SessionNotFound(f"{self.location}: this session was deleted")
            if before:
                raise LogReplaced(self.location)
            if self._mode == "x":
                raise SessionExists(f"{self.location}: another writer has just begun this session")
        return size

    def read(self, position: int = 0) -> Iterator[Chunk]:
        while True:
            with self._backend.transaction() as contents:
                end = min(self._size(contents), position + CHUNK)
                lines = [contents.db[f"{self._id}/{number}"] for number in range(position, end)]
            if not lines:
                return
            yield Chunk(range(position, end), lines, end)
            position = end

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        with self._backend.transaction() as contents:
            if contents.state(self._id)[0] != self._identity:
                raise SessionNotFound(f"{self.location}: this session was deleted")
            return [contents.db.get(f"{self._id}/{position}", b"") for position, _ in spans]

    def append(self, position: int, build: Build) -> Chunk:
        with self._backend.transaction() as contents:
            size = self._size(contents)
            lines = list(build(self.read(position)))
            if lines:
                end = contents.put(self._id, size, lines)
                self._identity = self._identity or secrets.randbits(60)
                contents.sessions[self._id] = self._identity, end
                contents.commit()
        return Chunk(range(size, size + len(lines)), lines, size + len(lines))

    def snapshot(self) -> SnapshotFile | None:
        return None

    def save_snapshot(self, end: int, pieces: Iterable[bytes]) -> None:
        pass

    def close(self) -> None:
        pass


class DbmLedger:
    """What deleted sessions had used: values under "/ledger/<number>", and their number, which is written last."""

    def __init__(self, backend: "DbmBackend") -> None:
        self._backend = backend
        self._lines: list[bytes] = []

    def read(self) -> list[bytes]:
        with self._backend.transaction() as contents:
            size = int(contents.db.get("/ledger", b"0"))
            if size != len(self._lines):
                self._lines = [contents.db[f"/ledger/{number}"] for number in range(size)]
        return self._lines

    def append(self, lines: Sequence[bytes]) -> None:
        with self._backend.transaction() as contents:
            size = contents.put("/ledger", len(self.read()), lines)
            contents.db["/ledger"] = str(size)


class DbmBackend:
    """Logs in a dbm database. Next to it are a lock file and the catalogue, which may be deleted at any time."""

    def __init__(self, path: str | Path, lock_timeout_s: float = 10.0) -> None:
        self.location = f"dbm:{path}"
        self._path = str(path)
        self._lock = FileLock(f"{path}.lock", timeout=lock_timeout_s, poll_interval=0.002)
        self._local = local()  # the transaction of each thread
        tables = Path(f"{path}.catalogue")
        self._catalogue = CatalogueSync(tables, self._scan, lambda each: self.log(each, "r"), DbmLedger(self))

    @contextmanager
    def transaction(self) -> Iterator[Contents]:
        """Opens the database under the lock. May be nested: `build` reads while `append` holds it."""
        if getattr(self._local, "contents", None) is not None:
            yield self._local.contents
            return
        try:
            self._lock.acquire()
        except Timeout:
            raise SessionLocked(f"{self.location}: another writer holds the lock; try again", holder=None) from None
        try:
            with dbm.open(self._path, "c", 0o600) as db:
                self._local.contents = Contents(db)
                yield self._local.contents
        finally:
            self._local.contents = None
            self._lock.release()

    def log(self, id: str, mode: Mode) -> DbmLog:
        return DbmLog(self, id, mode)

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        with self.transaction() as contents:
            if id in contents.sessions:
                raise SessionExists(f"{self.location}#{id}: there is a session with this id already")
            contents.sessions[id] = secrets.randbits(60), contents.put(id, 0, lines)
            contents.commit()

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        with self.transaction() as contents:
            stamps = self._stamps(contents)
            found = [id for id in ids if id in stamps]
            changed = []
            if expected is not None:
                changed = [id for id in found if expected.get(id, stamps[id]) != stamps[id]]
                changed = changed or self._catalogue.parents_of_other_tasks(found)
            if changed:
                return Deletion([], changed)
            self._catalogue.record_deletion(found)
            gone = {id: contents.sessions.pop(id) for id in found}
            contents.commit()
            for id, (_, lines) in gone.items():
                for number in range(lines):
                    del contents.db[f"{id}/{number}"]
        return Deletion(found, [])

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        with self.transaction():
            self._catalogue.merge_ledger(gone)

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        self._catalogue.sync(progress)
        return self._catalogue

    def _scan(self) -> dict[str, LogStamp]:
        with self.transaction() as contents:
            return self._stamps(contents)

    @staticmethod
    def _stamps(contents: Contents) -> dict[str, LogStamp]:
        return {id: (lines, 0, identity) for id, (identity, lines) in contents.sessions.items()}

    def close(self) -> None:
        self._catalogue.close()
