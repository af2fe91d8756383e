"""Sessions in memory, gone with the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import count
from threading import RLock

from convtree._catalogue.gone import GoneSession
from convtree._catalogue.types import LogStamp, Progress
from convtree._engine.log import Addition, Build, Chunk, Log, LogReplaced, Mode
from convtree._logs.memory import MemoryLog
from convtree._model.errors import SessionExists, SessionNotFound
from convtree._model.interrupts import Unlocking
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores.base import BuildNew, Catalogue, Deletion, Replaced


class _Lines(MemoryLog):
    """The lines of a session. `serial` tells it from a later session with the same id."""

    def __init__(self, serial: int) -> None:
        super().__init__()
        self.serial = serial
        self.deleted = False
        self.replaced_by: _Lines | None = None  # the log that took the place of this one

    @property
    def stamp(self) -> LogStamp:
        return len(self), 0, self.serial


class _Handle(MemoryLog):
    """The log of one open session. Handles of the same id share their lines."""

    def __init__(self, lines: _Lines, births: RLock, *, must_be_new: bool) -> None:
        super().__init__(lines, must_be_new=must_be_new)
        self._shared = lines
        self._births = births

    def read(self, position: int = 0) -> Iterator[Chunk]:
        """Yields the lines from a position on.

        Raises:
            SessionNotFound: the session was deleted.
        """
        self._check_current()
        yield from super().read(position)

    def append(self, position: int, build: Build) -> Chunk:
        """Adds the lines that `build` returns, unless the session was deleted."""

        def build_unless_deleted(news: Iterator[Chunk]) -> Addition:
            self._check_current()
            return build(news)

        begins = not self._shared
        with Unlocking(self._births), self._births if begins else nullcontext():
            return super().append(position, build_unless_deleted)

    def _check_current(self) -> None:
        if self._shared.replaced_by is not None:
            while self._shared.replaced_by is not None:
                self._shared = self._shared.replaced_by
            self._lines, self._lock = self._shared._lines, self._shared._lock
            raise LogReplaced(self.location)
        if self._shared.deleted:
            raise SessionNotFound("memory: this session was deleted")


class MemoryBackend:
    """Logs in a dict."""

    location = "memory"

    def __init__(self) -> None:
        self._logs: dict[str, _Lines] = {}
        self._serials = count()
        self._births = RLock()  # held while a session begins, or is deleted: no sub-agent's begins in between
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
        return _Handle(lines, self._births, must_be_new=mode == "x")

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        whole = list(lines)
        self.log(id, "x").append(0, lambda _: Addition(whole, 0))

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes sessions. A session that is open can still be read."""
        with ExitStack() as locks:
            locks.enter_context(self._births)
            found = {id: lines for id in ids if (lines := self._logs.get(id))}
            for id in sorted(found):
                locks.enter_context(found[id]._lock)
            if expected is not None:
                changed = [id for id, lines in found.items() if expected.get(id, lines.stamp) != lines.stamp]
                changed = changed or self._catalogue.parents_of_other_tasks(found)
                if changed:
                    return Deletion([], changed)
            self._catalogue.record_deletion(list(found))
            for id, lines in found.items():
                lines.deleted = True
                del self._logs[id]
        return Deletion(list(found), [])

    def rewrite(self, id: str, build: BuildNew, remove_original: bool) -> Replaced:
        """Replaces the lines of a session. A session that is open can read the old ones until it is refreshed."""
        del remove_original
        with Unlocking(self._births), self._births:
            old = self._logs.get(id)
            if not old:
                raise SessionNotFound(f"memory: there is no session {id!r}")
            with Unlocking(old._lock), old._lock:
                lines = build(MemoryLog(old), lambda entries: self._catalogue.held_elsewhere(id, entries))
                if lines is not None:
                    new = _Lines(next(self._serials))
                    new._lines.extend(lines)
                    self._logs[id] = old.replaced_by = new
        return Replaced()

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        """Adds sessions of another store's ledger."""
        with Unlocking(self._births), self._births:
            self._catalogue.merge_ledger(gone)

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue, up to date with the logs."""
        self._catalogue.sync(progress)
        return self._catalogue

    def _scan(self) -> dict[str, LogStamp]:
        return {id: lines.stamp for id, lines in self._logs.items() if lines}

    def close(self) -> None:
        """Closes the catalogue."""
        self._catalogue.close()
