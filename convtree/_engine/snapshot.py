"""The snapshot: an index on disk, so that opening a log does not scan it. A cache, dropped at any doubt. Pure.

It is a file of pages, and opening one reads none of them:

    pages     the columns one after the other, each from a page boundary on, the last page of each filled with zeros
    checksums the CRC-32 of every page, four bytes each
    ends      the last rows of the columns, which are in no page: an open needs the end of a log, and nothing else
    footer    JSON: the bytes of the log it covers, the state of the index, the length of each column, and the CRC-32
              of each `PAGE` bytes of the checksums
    trailer   magic, the lengths of checksums, ends and footer, and the CRC-32 of the last two

It is bound to its log by the header line and the last bytes that it covers: every line names the CRC of the line
before, so those stand for all that lies before. A page is verified when it is first read.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from zlib import crc32

import msgspec

from convtree._engine import tree
from convtree._engine.columns import PAGE, Column, SnapshotDamaged
from convtree._engine.index_state import IndexState
from convtree._engine.log_index import Index

Read = Callable[[int, int], bytes]  # (offset, length): the bytes there, fewer at the end

_MAGIC = b"cvtindex"
_TRAILER = struct.Struct("<8sQQQI")
_VERSION = 4
_END = 3 * 2**14  # bytes that an open reads first: nearly always the ends, the footer and the trailer
_RECENT = 64  # rows at the end of a column that are in no page, at least
_BOUND = 4096  # bytes at the end of the covered part that bind a snapshot to its log
_COLUMN_TYPES = tree.COLUMN_TYPES | {"slots": "i"}
_SIZES = {name: array(code).itemsize for name, code in _COLUMN_TYPES.items()}  # of a number, in bytes
_LAYOUT = f"{sys.byteorder} {' '.join(str(array(code).itemsize) for code in 'HIiQ')}"
_PAGED = ("hashes", "slots")  # columns that are looked up, not read from their end: all of their rows are in pages


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """The footer of a snapshot, which covers the log up to `state.end`."""

    version: int
    layout: str  # byte order and number sizes of the machine that wrote the columns
    salt: int
    header: bytes  # the first line, with any bytes in front of it
    bound_crc: int
    lengths: dict[str, int]
    blocks: list[int]
    state: IndexState


_decode_footer = msgspec.json.Decoder(Footer).decode


def dump(index: Index, read_log: Read) -> Iterator[bytes]:
    """Yields a snapshot of an index whose log is read through `read_log`."""
    index.tree.index_chains()
    columns = {**index.tree.columns, "slots": index.tree.ids.table()}
    crcs, ends = array("I"), bytearray()
    for name in _COLUMN_TYPES:
        column, rest = columns[name], bytearray()
        for page in _pages(column, _in_pages(name, len(column)) * _SIZES[name], rest):
            crcs.append(crc32(page))
            yield page
        ends += rest
    state, checksums = index.state.lasting(), crcs.tobytes()
    footer = msgspec.json.encode(
        Footer(
            version=_VERSION,
            layout=_LAYOUT,
            salt=index.tree.ids.salt,
            header=read_log(0, state.header_end),
            bound_crc=crc32(_bound(state.end, read_log)),
            lengths={name: len(columns[name]) for name in _COLUMN_TYPES},
            blocks=[crc32(checksums[start : start + PAGE]) for start in range(0, len(checksums), PAGE)],
            state=state,
        )
    )
    yield checksums + ends + footer
    yield _TRAILER.pack(_MAGIC, len(checksums), len(ends), len(footer), crc32(footer, crc32(ends)))


def _pages(column: Column, size: int, rest: bytearray) -> Iterator[bytes]:
    """Yields the first bytes of a column in pages, the last filled with zeros. Leaves the others in `rest`."""
    for piece in column.bytes():
        for start in range(0, len(piece), PAGE):
            rest += piece[start : start + PAGE]
            if len(rest) >= PAGE <= size:
                yield bytes(rest[:PAGE])
                del rest[:PAGE]
                size -= PAGE
    if size:
        yield bytes(rest.ljust(PAGE, b"\0"))
        del rest[:]


def _in_pages(name: str, length: int) -> int:
    """Returns how many rows of a column are in pages: all, or whole pages of those that are not recent."""
    if name in _PAGED:
        return length
    rows = PAGE // _SIZES[name]
    return max(0, length - _RECENT) // rows * rows


class Snapshot:
    """A snapshot whose footer is whole. Its pages are verified one by one, when they are read."""

    def __init__(self, read: Read, footer: Footer, checksums: tuple[int, int], ends: memoryview) -> None:
        self._read = read
        self._place, self._length = checksums  # of the checksums
        self._crcs: dict[int, array[int]] = {}  # those that were read, by block
        self._ends = ends
        self.footer = footer
        self.state = footer.state

    def is_of(self, read_log: Read) -> bool:
        """Returns whether a log begins with the header of this snapshot. A shorter log must match as far as it goes."""
        header = self.footer.header
        found = read_log(0, len(header))
        return header.startswith(found)

    def covers(self, read_log: Read) -> bool:
        """Returns whether a log still has the bytes at the end of the part that this snapshot covers."""
        return crc32(_bound(self.state.end, read_log)) == self.footer.bound_crc

    def index(self, read_at: Callable[..., list[bytes]]) -> Index:
        """Makes the index that was saved. Its columns stay on disk until they are read.

        Raises:
            SnapshotDamaged: by any later query of the index as well, when a page that it reads is damaged.
        """
        columns, first, end = {}, 0, 0
        for name, code in _COLUMN_TYPES.items():
            length = self.footer.lengths[name]
            rows = _in_pages(name, length)
            columns[name] = column = Column(code, rows, partial(self._page, first))
            if rows < length:
                size = (length - rows) * _SIZES[name]
                column.tail.frombytes(self._ends[end : end + size])
                end += size
            first += column.page_count
        return Index.restored(read_at, self.state, columns, self.footer.salt, self.footer.header)

    def is_whole(self) -> bool:
        """Returns whether every page is as it was written. Reads them all."""
        try:
            for number in range(self._length // 4):
                self._page(0, number)
        except SnapshotDamaged:
            return False
        return True

    def _page(self, first: int, number: int) -> bytes:
        at = first + number
        page = self._read(at * PAGE, PAGE)
        if len(page) != PAGE or crc32(page) != self._crc(at):
            raise SnapshotDamaged(f"page {at}")
        return page

    def _crc(self, page: int) -> int:
        """Returns the checksum of a page."""
        block, number = divmod(page, PAGE // 4)
        if block not in self._crcs:
            start = block * PAGE
            length = min(PAGE, self._length - start)
            data = self._read(self._place + start, length) if length > 0 else b""
            if not data or len(data) != length or crc32(data) != self.footer.blocks[block]:
                raise SnapshotDamaged(f"checksums {block}")
            self._crcs[block] = array("I", data)
        return self._crcs[block][number]


def load(size: int, read: Read) -> Snapshot | None:
    """Opens a snapshot of `size` bytes; None unless it is whole, of this version and of this machine's layout."""
    end = memoryview(read(max(0, size - _END), min(size, _END)))
    if len(end) != min(size, _END) or size < _TRAILER.size:
        return None
    behind = len(end) - _TRAILER.size
    magic, checksums, ends, footer_length, crc = _TRAILER.unpack_from(end, behind)
    length = ends + footer_length
    place = size - _TRAILER.size - length - checksums
    if magic != _MAGIC or place < 0 or checksums % 4:
        return None
    rest = end[behind - length : behind] if length <= behind else memoryview(read(place + checksums, length))
    if len(rest) != length or crc32(rest) != crc:
        return None
    try:
        footer = _decode_footer(rest[ends:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if (footer.version, footer.layout) != (_VERSION, _LAYOUT) or not _consistent(footer, place, checksums, ends):
        return None
    return Snapshot(read, footer, (place, checksums), rest[:ends])


def _consistent(footer: Footer, pages_end: int, checksums: int, ends: int) -> bool:
    """Returns whether the lengths in a footer fit each other. A forged footer can have a valid checksum."""
    lengths, state, pages = footer.lengths, footer.state, checksums // 4
    if lengths.keys() != _COLUMN_TYPES.keys() or not 0 < state.header_end <= state.end:
        return False
    if not all(0 <= length <= pages_end + ends for length in lengths.values()):
        return False
    slots, rows = lengths["slots"], lengths["parents"]
    return (
        all(lengths[name] == rows for name in tree.ROWS)
        and all(lengths[name] == lengths["faults"] > 0 for name in tree.LINKS)
        and all(
            lengths[name] == lengths[names[0]]
            for names in (tree.CHAINS, tree.PINS, tree.REPLACEMENTS)
            for name in names
        )
        and slots > rows
        and slots & (slots - 1) == 0
        and state.leaf.row < rows
        and all(0 <= row < rows for row in state.lost.values())
        and (rows > 0 or not state.vacuumed)
        and _measure(lengths) == (pages, ends)
        and pages * PAGE == pages_end
        and len(footer.blocks) == -(-checksums // PAGE)
    )


def _measure(lengths: dict[str, int]) -> tuple[int, int]:
    """Returns how many pages columns of these lengths have, and how many bytes of them are in no page."""
    pages, ends = 0, 0
    for name, size in _SIZES.items():
        rows = _in_pages(name, lengths[name])
        pages += -(-rows * size // PAGE)
        ends += (lengths[name] - rows) * size
    return pages, ends


def _bound(end: int, read_log: Read) -> bytes:
    start = max(0, end - _BOUND)
    return read_log(start, end - start)
