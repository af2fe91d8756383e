"""Sessions in a folder: one log `<id>.jsonl` for each, a catalogue that reads them, and the ledger of deleted ones."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from weakref import finalize

from convtree._catalogue.gone import GoneSession
from convtree._catalogue.types import LogStamp, Progress, StoreFinding
from convtree._engine import codec
from convtree._engine.log import Addition, Build, Chunk, Durability, Log, Mode
from convtree._logs.atomic_file import create_atomically, replace_atomically
from convtree._logs.file_lines import header_at
from convtree._logs.filesystems import refuse_network, suppress_full_disk
from convtree._logs.index_file import index_of
from convtree._logs.jsonl import JsonlLog
from convtree._logs.ledger_file import LedgerFile
from convtree._model.entries import ID, Header
from convtree._model.errors import NotALog, SessionExists, SessionNotFound
from convtree._model.interrupts import ending
from convtree._model.resources import Uncopyable
from convtree._session.header import new_header
from convtree._session.session import Session
from convtree.stores._catalogue_file import remove_tables
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._folder_logs import FolderLogs
from convtree.stores._ledger import last_lines
from convtree.stores._look import SUFFIX, Look
from convtree.stores._reading_elsewhere import Reading
from convtree.stores.base import BuildNew, Catalogue, Deletion, Replaced, Traces

CATALOGUE = ".catalogue.sqlite"
LEDGER = ".ledger"
#: the ends of names of files that belong to a log, and of temporary files that a killed writer left of one
_BESIDE = re.compile(r"\.(index|(torn|original|quarantine|redacted)(-[0-9]+)?)")
_TEMPORARY = re.compile(rf"({_BESIDE.pattern})?\.[0-9]+-[0-9]+\.tmp")


class FolderBackend(Uncopyable):
    """Logs in a folder.

    Args:
        path: the folder.
        durability: what an append survives.
        lock_timeout_s: how long a writer waits for the lock of a log.
        allow_network: permits a network file system, where locks may not exclude other writers.
        create: whether a missing folder is created.

    Raises:
        SessionNotFound: there is no folder, and `create` is False.
    """

    logs_are_near = True  # to open one and read it costs no round trip
    keeps_original = True  # `rewrite` keeps the log as it was

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "power",
        lock_timeout_s: float = 10.0,
        allow_network: bool = False,
        create: bool = True,
    ) -> None:
        self.path = Path(path)
        self._durability: Durability = durability
        self._lock_timeout_s = lock_timeout_s
        self._allow_network = allow_network
        if create:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not self.path.is_dir():
            raise SessionNotFound(f"{self.path}: there is no store here; open it with create=True to begin one")
        self._ledger = LedgerFile(self.path / LEDGER, lock_timeout_s)
        self._catalogue: FolderCatalogue | None = None

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self.path)

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log."""
        return _FolderLog(
            self.path_of(id),
            mode=mode,
            durability=self._durability,
            lock_timeout_s=self._lock_timeout_s,
            allow_network=self._allow_network,
        )

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        create_atomically(self.path_of(id), lines, allow_network=self._allow_network)

    def delete(self, ids: Sequence[str], expected: Mapping[str, LogStamp] | None = None) -> Deletion:
        """Deletes logs and the files that belong to them. Holds the locks of all logs until the last one is gone."""
        logs: dict[str, JsonlLog] = {}

        def delete() -> Deletion:
            locked = set()
            for id in sorted(ids):  # always in the same order, so that two deletions do not wait for each other
                with suppress(SessionNotFound):  # also when it is deleted while this waits for its lock
                    logs[id] = self._log_to_lock(id)
                    _lock(logs[id], id)
                    locked.add(id)
            there = [id for id in ids if id in locked]
            if expected is not None:
                changed = [id for id in there if expected.get(id, stamp := self._stamp_of(id)) != stamp]
                changed = changed or self._current_catalogue().parents_of_other_tasks(there)
                if changed:
                    self._current_catalogue().look_at_all()
                    return Deletion([], changed)
            self._remove_recorded(there, logs)
            return Deletion(there, [])

        def close() -> None:
            for log in logs.values():
                log.close()

        return ending(delete, close)

    def _remove_recorded(self, ids: Sequence[str], logs: Mapping[str, JsonlLog]) -> None:
        """Adds sessions to the ledger, then removes them. On a full disk, removes them first: that makes space.

        Such a disk may have no space for the ledger either; then it is not locked.

        Raises:
            OSError: nothing is deleted; or the error names what is left, or says that all is deleted but not recorded.
        """

        def remove() -> None:
            with suppress_full_disk():
                self._ledger.lock()
            lines = self._current_catalogue().lines_of_deletion(ids)
            with suppress_full_disk():
                self._ledger.append(lines)
                lines = []
            left = self._remove_all(ids)
            for id in ids:
                logs[id].close()  # an open file takes space
            try:
                self._ledger.append(lines)
            except OSError as error:
                what = f"{', '.join(ids)}: deleted, but what they had used could not be recorded: {error.strerror}"
                raise OSError(error.errno, what, str(self.path / LEDGER)) from error
            if left:
                raise left

        ending(remove, self._ledger.unlock)

    def _remove_all(self, ids: Sequence[str]) -> OSError | None:
        """Removes all logs that can be removed; returns an error that names those that cannot."""
        left: dict[str, OSError] = {}
        for id in ids:
            try:
                self._remove(self.path_of(id))
            except OSError as error:
                left[id] = error
        if not left:
            return None
        first = next(iter(left.values()))
        gone = [id for id in ids if id not in left]
        names = ", ".join(f"{id}{SUFFIX}" for id in left)
        what = f"{first.strerror}; deleted: {', '.join(gone) or 'nothing'}; left: {names}"
        return OSError(first.errno, what, str(self.path))

    def rewrite(self, id: str, build: BuildNew, remove_original: bool) -> Replaced:
        """Replaces a log under its lock. The old one is kept as `<id>.jsonl.original`, unless it is to be removed."""
        catalogue = self._current_catalogue()
        log = self._log_to_lock(id)

        def build_locked(log: JsonlLog) -> Iterable[bytes] | None:
            _lock(log, id)
            return build(log, lambda keys: catalogue.held_elsewhere(id, keys), heals=True)

        return rewrite_log(log, build_locked, remove_original)

    def _log_to_lock(self, id: str) -> JsonlLog:
        """Opens a log that exists."""
        path, timeout_s, network = self.path_of(id), self._lock_timeout_s, self._allow_network
        return _FolderLog(path, mode="r+", lock_timeout_s=timeout_s, allow_network=network)

    def _stamp_of(self, id: str) -> LogStamp:
        status = os.lstat(self.path_of(id))
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _remove(self, path: Path) -> None:
        path.unlink()
        for name in _files_beside(path):
            with suppress(OSError):  # `erase` tries again, and names what stays
                (self.path / name).unlink()

    def erase(self, ids: Sequence[str]) -> Traces:
        """Removes what deleted sessions have left: files next to their logs, and words in the catalogue."""
        complete, pending = [], []
        for path in map(self.path_of, ids):
            complete.append(path.name)
            if os.path.lexists(path):
                continue  # another session has the id by now, and its file holds nothing of this one
            for name in _files_beside(path):
                try:
                    (self.path / name).unlink(missing_ok=True)
                except OSError:
                    pending.append(name)
        unerased = self._current_catalogue().erase()
        if unerased is None:  # the catalogue is in memory: the file is of an earlier one
            with suppress(OSError):
                remove_tables(self.path / CATALOGUE)
            unerased = tuple(end for end in ("", "-wal") if os.path.lexists(self.path / f"{CATALOGUE}{end}"))
        for end in ("", "-wal"):
            (pending if end in unerased else complete).append(f"{CATALOGUE}{end}")
        return Traces(complete, pending)

    def merge_ledger(self, gone: Sequence[GoneSession]) -> None:
        """Adds sessions of another store's ledger."""

        def merge() -> None:
            self._ledger.lock()
            self._current_catalogue().merge_ledger(gone)

        ending(merge, self._ledger.unlock)

    def catalogue(self, progress: Progress | None = None) -> Catalogue:
        """Returns the catalogue, after looking at the size, time and inode of every file that may have changed."""
        catalogue = self._current_catalogue()
        catalogue.sync(progress)
        return catalogue

    def _current_catalogue(self) -> FolderCatalogue:
        if self._catalogue is None:
            tables = self._tables_path()
            reading = Reading(_opener, (self.path, self._allow_network))
            self._catalogue = FolderCatalogue(
                self.path, tables, lambda each: self.log(each, "r"), self._ledger, reading
            )
        return self._catalogue

    def _tables_path(self) -> Path | None:
        """Returns where the tables may be; None on a network file system, where processes cannot share them."""
        try:
            refuse_network(self.path, os.stat(self.path).st_dev)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return None
        return self.path / CATALOGUE

    def forget_catalogue(self) -> None:
        """Deletes the catalogue. The next list rebuilds it from the logs."""
        self.close()
        remove_tables(self.path / CATALOGUE)

    def path_of(self, id: str) -> Path:
        """Returns the path of a session's log.

        Raises:
            SessionNotFound: no session can have this id.
        """
        if not ID.fullmatch(id):
            raise SessionNotFound(
                f"{self.path}: {id[:140]!r} cannot be the id of a session; session_key() makes one of any text"
            )
        return self.path / f"{id}{SUFFIX}"

    def close(self) -> None:
        """Closes the catalogue."""
        if self._catalogue is not None:
            self._catalogue.close()


class _FolderLog(JsonlLog):
    """The log of a session in a folder. That of a sub-agent begins under the lock of its parent.

    A deletion of the parent holds that lock while it lists the sub-agents. So it sees the new one, or it is over when
    that begins.
    """

    def _check_file(self) -> None:
        super()._check_file()
        if _is_named_otherwise(self.path):
            self.close()
            error = SessionNotFound if self._create is None else SessionExists
            raise error(
                f"{self.path}: this file system does not distinguish upper and lower case, and another session has "
                "this name; choose another id"
            )

    def _create_with(self, first: Addition, build: Build) -> Chunk:
        create, path = partial(super()._create_with, first, build), self._path_of_parent(first[0])
        if path is None:
            return create()
        try:
            timeout_s, network = self._lock_timeout_s, self._allow_network
            parent = JsonlLog(path, mode="r", lock_timeout_s=timeout_s, allow_network=network)
        except (SessionNotFound, NotALog):
            return create()  # there is no parent: it was deleted, or not imported

        def create_locked() -> Chunk:
            parent.lock()
            return create()

        return ending(create_locked, parent.close)

    def _path_of_parent(self, line: bytes) -> Path | None:
        try:
            header = codec.decode_header(line)
        except codec.DECODE_ERRORS:
            return None  # a damaged log that is being copied
        parent = None if header is None else header.parent_session
        if parent is None or parent.kind != "task" or not ID.fullmatch(parent.id):
            return None
        return self.path.with_name(f"{parent.id}{SUFFIX}")


class FolderCatalogue(CatalogueSync):
    """A catalogue that follows the logs in a folder, and reports files whose names cannot be those of logs."""

    def __init__(
        self,
        folder: Path,
        tables: Path | None,
        open_log: Callable[[str], Log],
        ledger: LedgerFile,
        reading: Reading,
    ) -> None:
        self._ledger_file = ledger
        self._logs = FolderLogs(folder, watched=tables is not None)
        super().__init__(tables, lambda: self._logs.look().stamps, open_log, ledger, reading)
        finalize(self, self._logs.close)

    def findings(self) -> list[StoreFinding]:
        """Returns files whose names cannot be ids, a damaged ledger, and logs that are damaged or no logs."""
        names = [StoreFinding(code="bad_name", place=name) for name in sorted(map(_printable, self._logs.bad_names))]
        damaged = [LEDGER] if self.ledger_is_damaged() else []
        ledger = [StoreFinding(code="bad_ledger", place=name) for name in (*damaged, *self._ledger_file.unreadable)]
        return [*names, *ledger, *super().findings()]

    def _look(self) -> tuple[Look, Set[str] | None]:
        return self._logs.look(), self._logs.looked_at

    def look_at_all(self) -> None:
        """Has the next query look at every file, whatever the watch says."""
        self._logs.close()

    def _forget(self) -> None:
        super()._forget()
        self._logs.close()

    def _after_fork(self) -> None:
        super()._after_fork()
        self._logs.close()  # the events are for the parent

    def close(self) -> None:
        """Closes the tables, and ends the watch on the folder."""
        super().close()
        self._logs.close()


def _opener(folder: Path, allow_network: bool) -> Callable[[str], Log]:
    """Returns what opens the logs of a folder for reading, in another process."""
    backend = FolderBackend(folder, allow_network=allow_network, create=False)
    return lambda each: backend.log(each, "r")


def _lock(log: JsonlLog, id: str) -> None:
    """Takes the lock of a log until it is closed.

    Raises:
        SessionNotFound, NotALog, SessionLocked: as the contract of a backend says.
    """
    log.lock()
    Session(log, new_header(id), read_only=True)  # raises NotALog for a file that is not ours


def rewrite_log(log: JsonlLog, build: Callable[[JsonlLog], Iterable[bytes] | None], remove_original: bool) -> Replaced:
    """Replaces a log by the lines that `build` returns, and closes it; None changes nothing.

    The lock of the log is held when `build` returns.

    The log as it was is kept as `<log>.original`, unless it is to be removed.
    """
    path = log.path

    def replace() -> Path | None:
        lines = build(log)
        if lines is None:
            return None
        original = replace_atomically(path, lines)
        if remove_original:
            original.unlink()
        return original

    original = ending(replace, log.close)
    if original is None:
        return Replaced()
    index = index_of(path).name
    beside = sorted(name for name in _files_beside(path) if name != index)
    return Replaced(None if remove_original else str(original), beside, (path.name, index))


def _files_beside(path: Path) -> list[str]:
    """Returns the names of the files that belong to a log."""
    hidden = f".{path.name}"
    return [
        name
        for name in os.listdir(path.parent)
        if (name.startswith(path.name) and _BESIDE.fullmatch(name, len(path.name)))
        or (name.startswith(hidden) and _TEMPORARY.fullmatch(name, len(hidden)))
    ]


def _is_named_otherwise(path: Path) -> bool:
    """Returns whether a file that was opened has its name in other letters, upper or lower case.

    Looks through the folder only if its file system seems to ignore the case of names.
    """
    folder, name = os.path.split(path)
    return os.path.lexists(os.path.join(folder, name.swapcase())) and name not in os.listdir(folder or ".")


def headers_in(folder: Path) -> dict[str, Header]:
    """Returns the headers of all logs in a folder that can be read, by the name of the file without its end."""
    found = {}
    for name in sorted(os.listdir(folder)):
        id = name.removesuffix(SUFFIX)
        if id != name and ID.fullmatch(id) and (header := header_at(folder / name)) is not None:
            found[id] = header
    return found


def gone_links_in(folder: Path, ids: Collection[str]) -> list[tuple[str, str]]:
    """Returns pairs of a deleted session and what its copied entries come from, where one of the two is in `ids`."""
    gone = last_lines(LedgerFile(folder / LEDGER, 0.0).read())
    return [link for each in gone for link in each.links() if not set(ids).isdisjoint(link)]


def _printable(name: str) -> str:
    """Returns a file name with escapes for the bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
