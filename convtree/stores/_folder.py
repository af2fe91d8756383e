"""Sessions in a folder, one log each: `<id>.jsonl`, and a catalogue that follows them."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from convtree._catalogue.tables import Database
from convtree._engine.log import Durability, Log, Mode
from convtree._logs.filesystems import refuse_network
from convtree._logs.jsonl import JsonlLog, write_new
from convtree._model.entries import ID
from convtree._model.errors import SessionNotFound
from convtree._model.resources import Uncopyable
from convtree._session.header import new_header
from convtree._session.session import Session
from convtree.stores._catalogue_sync import CatalogueSync, FileStamp, remove_tables
from convtree.stores.base import Progress, StoreFinding

SUFFIX = ".jsonl"
CATALOGUE = ".catalogue.sqlite"
#: what may lie beside a log, and be its own
_BESIDE = re.compile(r"\.(index|torn|(original|quarantine|redacted)(-[0-9]+)?)")


class FolderBackend(Uncopyable):
    """Logs in a folder; with `create`, it is made when it is not there."""

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
            raise SessionNotFound(f"{self.path}: there is no store here")
        self._bad_names: list[str] = []
        self._ids: Collection[str] = ()  # of the last look
        self._mirror: CatalogueSync | None = None

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self.path)

    def log(self, id: str, mode: Mode) -> Log:
        """Opens a session's log."""
        return JsonlLog(
            self.path_of(id),
            mode=mode,
            durability=self._durability,
            lock_timeout_s=self._lock_timeout_s,
            allow_network=self._allow_network,
        )

    def write_new(self, id: str, lines: Iterable[bytes]) -> None:
        """Stores a whole session."""
        write_new(self.path_of(id), lines, allow_network=self._allow_network)

    def delete(self, id: str) -> None:
        """Removes a session's log, under its lock, and what lies beside it."""
        path = self.path_of(id)
        timeout_s = self._lock_timeout_s
        log = JsonlLog(path, mode="r+", exclusive=True, lock_timeout_s=timeout_s, allow_network=self._allow_network)
        try:
            Session(log, new_header(id), read_only=True)  # NotALog: a file of somebody else
            path.unlink()
            for name in os.listdir(self.path):
                if name.startswith(path.name) and _BESIDE.fullmatch(name, len(path.name)):
                    with suppress(FileNotFoundError):
                        (self.path / name).unlink()
        finally:
            log.close()

    def catalogue(self, progress: Progress | None = None) -> Database:
        """Returns the tables, after a look at every file's size, time and number."""
        if self._mirror is None:
            self._mirror = CatalogueSync(self._place_of_tables(), self._open_reader)
        self._mirror.follow(self._look, progress)
        return self._mirror

    def _place_of_tables(self) -> Path | None:
        """Returns where the tables may be; over a network they cannot be shared, and each process has its own."""
        try:
            refuse_network(self.path, os.stat(self.path).st_dev)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return None
        return self.path / CATALOGUE

    def _open_reader(self, id: str) -> Session:
        return Session(JsonlLog(self.path_of(id), mode="r"), new_header(id), read_only=True)

    def _look(self) -> dict[str, FileStamp]:
        """Looks at every file: of ten thousand, this is what a list takes its time for."""
        stamps: dict[str, FileStamp] = {}
        bad_names = []
        is_id, regular, cut = self._ids.__contains__, stat.S_IFREG, -len(SUFFIX)
        fd = os.open(self.path, os.O_RDONLY) if os.scandir in os.supports_fd else None  # shorter paths to walk
        try:
            with os.scandir(self.path if fd is None else fd) as found:
                for each in found:
                    name = each.name
                    if not name.endswith(SUFFIX):
                        continue
                    id = name[:cut]
                    if not is_id(id) and not ID.fullmatch(id):
                        bad_names.append(_printable(name))
                        continue
                    try:
                        status = each.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # deleted just now
                    if status.st_mode & 0o170000 != regular:
                        bad_names.append(_printable(name))
                        continue
                    stamps[id] = (status.st_size, status.st_mtime_ns, status.st_ino)
        finally:
            if fd is not None:
                os.close(fd)
        self._bad_names, self._ids = sorted(bad_names), stamps.keys()
        return stamps

    def findings(self) -> list[StoreFinding]:
        """Returns what is no whole session, and what cannot be one."""
        found = [StoreFinding(code="bad_name", place=name) for name in self._bad_names]
        return found + (self._mirror.findings() if self._mirror is not None else [])

    def forget_catalogue(self) -> None:
        """Removes the tables, which are made anew from the logs when they are asked for."""
        self.close()
        remove_tables(self.path / CATALOGUE)

    def path_of(self, id: str) -> Path:
        """Returns where a session's log is.

        Raises:
            SessionNotFound: there cannot be such a session.
        """
        if not ID.fullmatch(id):
            raise SessionNotFound(f"{self.path}: {id[:140]!r} cannot be the id of a session")
        return self.path / f"{id}{SUFFIX}"

    def close(self) -> None:
        """Closes the tables."""
        if self._mirror is not None:
            self._mirror.close()


def _printable(name: str) -> str:
    """Words the bytes of a file name that are no text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
