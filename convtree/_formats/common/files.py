"""Files of other tools, opened read-only and decompressed. Pipes are refused, so that opening never blocks."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from convtree._formats.common.compressed import Unpacked, open_compressed
from convtree._model.errors import NotALog
from convtree._model.resources import is_held

DATABASE_START = b"SQLite format 3\0"
_CHUNK = 2**18
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

_opened: ContextVar[set[Path] | None] = ContextVar("_opened", default=None)


@contextmanager
def recording_opened() -> Iterator[set[Path]]:
    """Yields a set that gets the path of every source file that is opened until the block ends."""
    opened = set[Path]()
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)


class SourceFile(io.BufferedReader):
    """A regular file, opened read-only and decompressed. Follows links.

    Raises:
        NotALog: It is not a regular file, an archive with too many members, or a store that this process has open.
        ImportError: It is compressed, and the library to decompress it is not installed.
    """

    def __init__(self, path: Path) -> None:
        if is_held(os.stat(path)):
            raise NotALog(f"{path}: this process has it open as a store; copy_to copies from one store to another")
        if (opened := _opened.get()) is not None:
            opened.add(path)
        fd = os.open(path, _OPEN_FLAGS)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotALog(f"{path}: not a regular file")
        self._bare = io.FileIO(fd, "rb")
        try:
            super().__init__(open_compressed(self._bare) or self._bare, _CHUNK)
        except NotALog as error:
            self._bare.close()
            raise NotALog(f"{path}: {error}") from None
        except BaseException:
            self._bare.close()
            raise

    def position(self) -> int:
        """Returns how many bytes of the file were read so far, before decompression."""
        return self._bare.tell() if not self._bare.closed else 0

    def skip(self, size: int) -> None:
        """Moves forward from the start of the file by decompressed bytes."""
        if self.seekable():
            self.seek(size)
            return
        while size > 0 and (data := self.read(min(size, _CHUNK))):
            size -= len(data)

    @property
    def is_cut(self) -> bool:
        """Returns whether the compressed data is damaged or cut off."""
        return isinstance(self.raw, Unpacked) and self.raw.is_cut


def read_beginning(path: Path, size: int) -> bytes:
    """Returns the first bytes of a regular file; b"" if it does not exist or cannot be read."""
    try:
        with SourceFile(path) as file:
            return file.read(size)
    except (NotALog, OSError):
        return b""
