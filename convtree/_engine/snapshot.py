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
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from operator import itemgetter
from zlib import crc32

import msgspec

from convtree._engine import tree
from convtree._engine.columns import PAGE, Column, SnapshotDamaged
from convtree._engine.index_state import IndexState
from convtree._engine.log_index import Index

Read = Callable[[int, int], bytes]  # (offset, length): the bytes there, fewer at the end

_MAGIC = b"cvtindex"
_TRAILER = struct.Struct("<8sQQQI")
_VERSION = 5
_END = 2**13  # bytes that an open reads first: nearly always the ends, the footer and the trailer
_RECENT = 128  # rows at the end of a column that are in no page
_BOUND = 4096  # bytes at the end of the covered part that bind a snapshot to its log
_COLUMN_TYPES = tree.COLUMN_TYPES | {"slots": "i"}
_SIZES = {name: array(code).itemsize for name, code in _COLUMN_TYPES.items()}  # of a number, in bytes
_AS_LONG = (tuple(tree.ROWS), tree.LINKS, tree.CHAINS, tree.PINS, tree.REPLACEMENTS)
_LAYOUT = f"{sys.byteorder} {' '.join(str(array(code).itemsize) for code in 'HIiQ')}"
_PAGED = ("hashes", "slots")  # columns that are looked up, not read from their end: all of their rows are in pages
#: of the lengths in a footer: those of all columns, and for each that of the first column which is always as long
_LENGTHS = itemgetter(*_COLUMN_TYPES)
_EQUAL_LENGTHS = itemgetter(*(next((names[0] for names in _AS_LONG if name in names), name) for name in _COLUMN_TYPES))


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
    lengths = {name: len(columns[name]) for name in _COLUMN_TYPES}
    crcs, ends = array("I"), bytearray()
    for name, rows, _, _ in _places(lengths)[:-1]:
        rest = bytearray()
        for page in _pages(columns[name], rows * _SIZES[name], rest):
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
            lengths=lengths,
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
        yield bytes(rest[:size].ljust(PAGE, b"\0"))
        del rest[:size]


def _places(lengths: Mapping[str, int]) -> list[tuple[str, int, int, int]]:
    """Returns where the rows of columns of these lengths are.

    For each column: its name, how many of its rows are in pages (all, or those that are not recent), its first page,
    and where its other rows begin in the ends. The last one has no name: the pages and the ends stop there.
    """
    places, pages, ends = [], 0, 0
    for name, size in _SIZES.items():
        length, in_page = lengths[name], PAGE // size
        rows = length if name in _PAGED else max(0, length - _RECENT)
        places.append((name, rows, pages, ends))
        pages += -(-rows // in_page)
        ends += (length - rows) * size
    places.append(("", 0, pages, ends))
    return places


class Snapshot:
    """A snapshot whose footer is whole. Its pages are verified one by one, when they are read."""

    def __init__(
        self,
        read: Read,
        footer: Footer,
        checksums: tuple[int, int],
        first: bytes,
        ends: bytes,
    ) -> None:
        """Takes the function that reads the file, and what is known of it.

        Args:
            read: the function.
            footer: the footer.
            checksums: where the checksums are, and their length.
            first: the first of them, up to a page of them; empty if they were not read yet.
            ends: the rows of the columns that are in no page.
        """
        self._read = read
        self._place, self._length = checksums  # of the checksums
        self._crcs: dict[int, array[int]] = {}  # those that were read, by block
        self._ends = ends
        if 0 < len(first) == min(self._length, PAGE) and crc32(first) == footer.blocks[0]:
            self._crcs[0] = array("I", first)
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
        columns, ends = {}, self._ends
        for (name, rows, first, start), (_, _, _, end) in pairwise(_places(self.footer.lengths)):
            fetch = partial(self._page, first) if rows else None
            columns[name] = Column(_COLUMN_TYPES[name], rows, fetch, ends[start:end])
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
    before = behind - length - checksums  # where the checksums begin in what was read; in a long log, they were not
    first = bytes(end[before : before + min(checksums, PAGE)]) if before >= 0 else b""
    return Snapshot(read, footer, (place, checksums), first, bytes(rest[:ends]))


def _consistent(footer: Footer, pages_end: int, checksums: int, ends: int) -> bool:
    """Returns whether the lengths in a footer fit each other. A forged footer can have a valid checksum."""
    lengths, state = footer.lengths, footer.state
    if lengths.keys() != _COLUMN_TYPES.keys() or not 0 < state.header_end <= state.end:
        return False
    each = _LENGTHS(lengths)
    if min(each) < 0 or max(each) > pages_end + ends or each != _EQUAL_LENGTHS(lengths):
        return False
    slots, rows = lengths["slots"], lengths["parents"]
    return (
        lengths["faults"] > 0
        and slots > rows
        and slots & (slots - 1) == 0
        and state.leaf.row < rows
        and (not state.lost or (min(state.lost.values()) >= 0 and max(state.lost.values()) < rows))
        and (rows > 0 or not state.vacuumed)
        and _places(lengths)[-1] == ("", 0, checksums // 4, ends)
        and checksums // 4 * PAGE == pages_end
        and len(footer.blocks) == -(-checksums // PAGE)
    )


def _bound(end: int, read_log: Read) -> bytes:
    start = max(0, end - _BOUND)
    return read_log(start, end - start)
