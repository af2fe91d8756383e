"""The file `<log>.index`: a snapshot of a log's index, as bytes. It is only a cache; any doubt means there is none."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from convtree._engine.log import SnapshotFile
from convtree._logs.descriptors import OPEN_FLAGS, UNKNOWN, Descriptors, identity_of

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIX = ".index"


def index_of(path: Path) -> Path:
    """Returns the path of the index of a log."""
    return path.with_name(path.name + _SUFFIX)


class IndexFile:
    """The index file of one log, as it was when it was last opened. It stays readable when it is replaced on disk."""

    def __init__(self, log_path: str) -> None:
        self._log_path = log_path
        self._descriptors = Descriptors()
        self._fd = -1  # -1 while no index is open
        self._identity = UNKNOWN  # of the file behind `_fd`
        #: identity and time of the file that this object put in place last; a number of a file is used again
        self._own: tuple[tuple[int, int], int] = UNKNOWN, 0

    @property
    def path(self) -> Path:
        """The path of the index."""
        from pathlib import Path  # slow to import

        return index_of(Path(self._log_path))

    def open(self) -> SnapshotFile | None:
        """Opens the file that is there now; None if there is none, or none that can be read."""
        self.close()
        try:
            self._identity = UNKNOWN
            self._fd = self._descriptors.open(f"{self._log_path}{_SUFFIX}", os.O_RDONLY | OPEN_FLAGS)
            status = os.fstat(self._fd)
        except OSError:
            return None
        self._identity = identity_of(status)
        return SnapshotFile(status.st_size, self._read) if stat.S_ISREG(status.st_mode) else None

    def is_unchanged(self) -> bool:
        """Returns whether the file on disk is still the one that was opened or put in place here, or none at all."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return True
        if (identity_of(status), status.st_mtime_ns) == self._own:
            return True
        return self._fd >= 0 and os.path.samestat(status, os.fstat(self._fd))

    def put_in_place(self, written: Path) -> None:
        """Renames a file to be the index."""
        status = os.lstat(written)
        self._own = identity_of(status), status.st_mtime_ns
        os.rename(written, self.path)

    def close(self) -> None:
        """Closes the file; twice is the same as once."""
        try:
            self._descriptors.close_own(self._fd, self._identity)
        finally:
            self._fd = -1
            self._descriptors.close()  # one that an interrupted call has opened

    def _read(self, offset: int, length: int) -> bytes:
        try:
            return os.pread(self._fd, length, offset)
        except OSError:
            return b""  # short: counts as damaged
