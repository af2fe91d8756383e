"""What is in packed files: one stream, from a Zstandard file or from the archive that an export is downloaded as.

Of an archive only the conversations are read, `conversations.json` or its numbered parts, one after the other. What
cannot be unpacked any further ends the stream, and that is told: `is_cut`.
"""

from __future__ import annotations

import io
import re
from abc import abstractmethod
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipfile import ZipFile

_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\x03\x04"
_STEP = 2**14  # bytes that are lost at most where an archive is damaged
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")


def open_compressed(file: io.FileIO) -> Unpacked | None:
    """Returns what is in a file that stands at its beginning; None, and the file as it was, when it is not packed.

    Raises:
        ImportError: the library for it is missing.
    """
    start = file.read(len(_ZSTD))
    file.seek(0)
    if start == _ZSTD:
        return _Zstandard(file)
    if start == _ZIP:
        archive = _opened(file)
        if archive is not None:
            return _Archive(file, *archive)
        file.seek(0)
    return None


class Unpacked(io.RawIOBase):
    """A stream that ends where it cannot be unpacked any further."""

    def __init__(self, file: io.FileIO, *failures: type[Exception]) -> None:
        self.is_cut = False
        self._file = file
        self._failures = failures

    def readable(self) -> bool:
        """Says yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Reads some of it."""
        try:
            return 0 if self.is_cut else self._read_into(buffer)
        except self._failures:
            self.is_cut = True
            return 0

    @abstractmethod
    def _read_into(self, buffer: Any) -> int:
        """Reads some of it, or fails in one of the ways that are known."""

    def close(self) -> None:
        """Closes the file below."""
        self._file.close()
        super().close()


class _Zstandard(Unpacked):
    """What is in a file compressed with Zstandard."""

    def __init__(self, file: io.FileIO) -> None:
        try:
            import zstandard
        except ImportError:
            raise ImportError("compressed sessions need zstandard: pip install 'convtree[formats]'") from None
        super().__init__(file, zstandard.ZstdError)
        self._stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)

    def _read_into(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


def _opened(file: io.FileIO) -> tuple[ZipFile, list[str]] | None:
    """Opens an archive; None when it is damaged, or when there are no conversations in it."""
    from zipfile import BadZipFile, ZipFile

    try:
        archive = ZipFile(file)
    except (BadZipFile, ValueError, NotImplementedError, OSError):
        return None
    names = sorted(name for name in set(archive.namelist()) if _CONVERSATIONS.fullmatch(name))
    return (archive, names) if names else None


class _Archive(Unpacked):
    """The conversations in an archive."""

    def __init__(self, file: io.FileIO, archive: ZipFile, names: list[str]) -> None:
        from zipfile import BadZipFile
        from zlib import error

        # what is encrypted, or packed in a way not known here, is refused with the two last ones
        super().__init__(file, BadZipFile, error, EOFError, RuntimeError, NotImplementedError)
        self._archive = archive
        self._waiting = names[::-1]
        self._member: IO[bytes] | None = None

    def _read_into(self, buffer: Any) -> int:
        while self._member is not None or self._waiting:
            if self._member is None:
                self._member = self._archive.open(self._waiting.pop())
            data = self._member.read(min(len(buffer), _STEP))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._member = None
        return 0
