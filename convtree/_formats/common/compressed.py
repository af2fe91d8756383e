"""Compressed files as one stream: Zstandard files, and the ZIP archives that exports are downloaded as.

Of an archive only `conversations.json`, or its numbered parts, are read, one after the other. The stream ends at the
first damage; then `is_cut` is set.
"""

from __future__ import annotations

import io
import os
import re
import struct
from abc import abstractmethod
from typing import IO, TYPE_CHECKING, Any

from convtree._model.errors import NotALog

if TYPE_CHECKING:
    from zipfile import ZipFile

_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\x03\x04"
_END, _END_SIZE = b"PK\x05\x06", 22  # the record at the end of an archive
_WIDE_END = b"PK\x06\x06"  # the record before it, if a number has no place in it
_IN_WIDE_END = 0xFFFFFFFF
_END_LIMIT = 2**16 + 200  # bytes at the end in which both are
_CONTENT_LIMIT = 64 * 2**20  # bytes of what is unpacked as a whole
_STEP = 2**14  # bytes that are lost at most where an archive is damaged
_DIRECTORY_LIMIT = 16 * 2**20  # bytes of the directory of an archive: some 150,000 members
_MEMBER_LIMIT = 10_000  # members with conversations
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")


def open_compressed(file: io.FileIO) -> Unpacked | None:
    """Returns the decompressed stream of a file positioned at its start; None if the file is not compressed.

    Raises:
        ImportError: the library for it is missing.
        NotALog: it is an archive with too many members.
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


def unpack_zstandard(data: bytes) -> bytes:
    """Returns the content of bytes that Zstandard packed, up to its first damage, and no more than a file may hold.

    Raises:
        ImportError: the library for it is missing.
    """
    with _Zstandard(io.BytesIO(data)) as stream:
        return io.BufferedReader(stream).read(_CONTENT_LIMIT)


class Unpacked(io.RawIOBase):
    """A decompressed stream. It ends at the first damage."""

    def __init__(self, file: io.FileIO | io.BytesIO, *failures: type[Exception]) -> None:
        self.is_cut = False
        self._file = file
        self._failures = failures

    def readable(self) -> bool:
        """Returns True, as `io.RawIOBase` wants."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Reads the next bytes into a buffer; returns how many."""
        try:
            return 0 if self.is_cut else self._read_into(buffer)
        except self._failures:
            self.is_cut = True
            return 0

    @abstractmethod
    def _read_into(self, buffer: Any) -> int:
        """Reads the next bytes; may raise one of the errors that mean damage."""

    def close(self) -> None:
        """Closes the compressed file, too."""
        self._file.close()
        super().close()


class _Zstandard(Unpacked):
    """The content of a Zstandard file."""

    def __init__(self, file: io.FileIO | io.BytesIO) -> None:
        try:
            import zstandard
        except ImportError:
            raise ImportError("compressed sessions need zstandard: pip install 'convtree[formats]'") from None
        super().__init__(file, zstandard.ZstdError)
        self._stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)

    def _read_into(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)


def _opened(file: io.FileIO) -> tuple[ZipFile, list[str]] | None:
    """Opens a ZIP archive; None if it is damaged or has no conversations.

    Raises:
        NotALog: it has too many members for an export.
    """
    from zipfile import BadZipFile, ZipFile

    size = _directory_size(file)
    if size > _DIRECTORY_LIMIT:
        raise NotALog(f"a ZIP archive with too many members: their directory has {size:,} bytes")
    try:
        archive = ZipFile(file)
    except (BadZipFile, ValueError, NotImplementedError, OSError):
        return None
    names = sorted(name for name in set(archive.namelist()) if _CONVERSATIONS.fullmatch(name))
    if len(names) > _MEMBER_LIMIT:
        raise NotALog(f"a ZIP archive with {len(names):,} files of conversations; at most {_MEMBER_LIMIT:,} are read")
    return (archive, names) if names else None


def _directory_size(file: io.FileIO) -> int:
    """Returns how many bytes the directory of an archive has; 0 if there is none. See APPNOTE.TXT of PKWARE, 4.3."""
    start = max(file.seek(0, os.SEEK_END) - _END_LIMIT, 0)
    file.seek(start)
    tail = file.read(_END_LIMIT)
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        return 0
    (size,) = struct.unpack_from("<L", tail, at + 12)
    wide = tail.rfind(_WIDE_END, 0, at)
    if size != _IN_WIDE_END or wide < 0 or len(tail) < wide + 48:
        return int(size)
    return int(struct.unpack_from("<Q", tail, wide + 40)[0])


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
