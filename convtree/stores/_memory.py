"""Sessions in memory, gone with the process: for tests, and for what need not outlive it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from convtree._catalogue.tables import Database
from convtree._engine.log import Build, Chunk, Log, Mode
from convtree._logs.memory import MemoryLog
from convtree._model.errors import SessionExists, SessionNotFound
from convtree._session.header import new_header
from convtree._session.session import Session
from convtree.stores._catalogue_sync import CatalogueSync, FileStamp
from convtree.stores.base import Progress, StoreFinding


class _Lines(MemoryLog):
    """A session's lines, on the shelf until they are deleted; `serial` tells one from the next of the same id."""

    def __init__(self, serial: int) -> None:
        super().__init__()
        self.serial = serial
        self.deleted = False


class _Handle(MemoryLog):
    """The log of one who has a session open."""

    def __init__(self, lines: _Lines, *, must_be_new: bool) -> None:
        super().__init__(lines, must_be_new=must_be_new)
        self._on_shelf = lines

    def append(self, position: int, build: Build) -> Chunk:
        """Adds the lines that `build` returns."""
        if self._on_shelf.deleted:
            raise SessionNotFound("memory: this session was deleted")
        return super().append(position, build)


class MemoryBackend:
    """Logs in a dict; every session of an id has the same lines."""

    location = "memory"

    def __init__(self) -> None:
        self._logs: dict[str, _Lines] = {}
        self._serials = count()
        self._mirror = CatalogueSync(None, self._open_reader)

    def log(self, id: str, mode: Mode) -> Log:
        """Returns the session's log; it is there as soon as it has a line."""
        log = self._logs.get(id)
        if not log and mode in ("r", "r+"):
            raise SessionNotFound(f"memory: there is no session {id!r}")
        if log and mode == "x":
            raise SessionExists(f"memory: there is a session {id!r} already")
        if log is None:
            log = self._logs[id] = _Lines(next(self._serials))
        return _Handle(log, must_be_new=mode == "x")

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        whole = list(lines)
        self.log(id, "x").append(0, lambda _: whole)

    def delete(self, id: str) -> None:
        """Forgets a session; who has it open can read it still."""
        if not self._logs.get(id):
            raise SessionNotFound(f"memory: there is no session {id!r}")
        self._logs.pop(id).deleted = True

    def catalogue(self, progress: Progress | None = None) -> Database:
        """Returns the tables, brought up to date."""
        self._mirror.follow(self._look, progress)
        return self._mirror

    def _look(self) -> dict[str, FileStamp]:
        return {id: (len(log), 0, log.serial) for id, log in self._logs.items() if log}

    def _open_reader(self, id: str) -> Session:
        return Session(self._logs[id], new_header(id), read_only=True)

    def findings(self) -> list[StoreFinding]:
        """Returns what is no whole session."""
        return self._mirror.findings()

    def close(self) -> None:
        """Closes the tables."""
        self._mirror.close()
