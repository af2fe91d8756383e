"""Sessions in memory, gone with the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count

from convtree._catalogue.types import LogStamp, Progress
from convtree._engine.log import Addition, Build, Chunk, Log, Mode
from convtree._logs.memory import MemoryLog
from convtree._model.errors import SessionExists, SessionNotFound
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores.base import Catalogue, Deletion


class _Lines(MemoryLog):
    """The lines of a session. `serial` tells it from a later session with the same id."""

    def __init__(self, serial: int) -> None:
        super().__init__()
        self.serial = serial
        self.deleted = False

    @property
    def stamp(self) -> LogStamp:
        return len(self), 0, self.serial


class _Handle(MemoryLog):
    """The log of one open session. Handles of the same id share their lines."""

    def __init__(self, lines: _Lines, *, must_be_new: bool) -> None:
        super().__init__(lines, must_be_new=must_be_new)
        self._shared = lines

    def append(self, position: int, build: Build) -> Chunk:
        """Adds the lines that `build` returns, unless the session was deleted."""

        def build_unless_deleted(news: Iterator[Chunk]) -> Addition:
            if self._shared.deleted:
                raise SessionNotFound("memory: this session was deleted")
            return build(news)

        return super().append(position, build_unless_deleted)


class MemoryBackend:
    """Logs in a dict."""

    location = "memory"

    def __init__(self) -> None:
        self._logs: dict[str, _Lines] = {}
        self._serials = count()
        self._catalogue = CatalogueSync(None, self._scan, lambda each: self.log(each, "r"))

    def log(self, id: str, mode: Mode) -> Log:
        """Returns a session's log. A log without lines does not exist yet."""
        lines = self._logs.get(id)
        if not lines and mode in ("r", "r+"):
            raise SessionNotFound(f"memory: there is no session {id!r}")
        if lines and mode == "x":
            raise SessionExists(f"memory: there is a session {id!r} already")
        if lines is None:
            lines = self._logs[id] = _Lines(next(self._serials))
        return _Handle(lines, must_be_new=mode == "x")

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        whole = list(lines)
        self.log(id, "x").append(0, lambda _: Addition(whole, 0))

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes sessions. A session that is open can still be read."""
        found = {id: lines for id in ids if (lines := self._logs.get(id))}
        with ExitStack() as locks:
            for lines in found.values():
                locks.enter_context(lines._lock)
            changed = [id for id, lines in found.items() if (expected or {}).get(id, lines.stamp) != lines.stamp]
            if changed:
                return Deletion([], changed)
            self._catalogue.record_deletion(list(found))
            for id, lines in found.items():
                lines.deleted = True
                del self._logs[id]
        return Deletion(list(found), [])

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue, up to date with the logs."""
        self._catalogue.sync(progress)
        return self._catalogue

    def _scan(self) -> dict[str, LogStamp]:
        return {id: lines.stamp for id, lines in self._logs.items() if lines}

    def close(self) -> None:
        """Closes the catalogue."""
        self._catalogue.close()
