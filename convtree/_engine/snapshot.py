"""The snapshot: an index on disk, so that opening a log does not scan it. A cache, dropped at any doubt. Pure.

It is a file of pages, and opening one reads none of them:

    pages     the columns one after the other, each from a page boundary on, the last page of each filled with zeros
    footer    JSON: the bytes of the log it covers, the state of the index, and the length of each column
    checksums the CRC-32 of every page, four bytes each
    trailer   magic, the lengths of footer and checksums, and the CRC-32 of both

It is bound to its log by the header line and the last bytes that it covers: every line names the CRC of the line
before, so those stand for all that lies before. A page is verified when it is first read.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from functools import cache, partial
from zlib import crc32

import msgspec

from convtree._engine import tree
from convtree._engine.columns import PAGE, Column, SnapshotDamaged
from convtree._engine.index_state import IndexState
from convtree._engine.log_index import Index

Read = Callable[[int, int], bytes]  # (offset, length): the bytes there, fewer at the end

_MAGIC = b"cvtindex"
_TRAILER = struct.Struct("<8sQQI")
_VERSION = 3
_BOUND = 4096  # bytes at the end of the covered part that bind a snapshot to its log
_COLUMN_TYPES = tree.COLUMN_TYPES | {"slots": "i"}


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """The footer of a snapshot, which covers the log up to `state.end`."""

    version: int
    layout: str  # byte order and number sizes of the machine that wrote the columns
    salt: int
    header: bytes  # the first line, with any bytes in front of it
    bound_crc: int
    lengths: dict[str, int]
    state: IndexState


@cache
def _footer_decoder() -> msgspec.json.Decoder[Footer]:
    return msgspec.json.Decoder(Footer)


def dump(index: Index, read_log: Read) -> Iterator[bytes]:
    """Yields a snapshot of an index whose log is read through `read_log`."""
    index.tree.index_chains()
    columns = {**index.tree.columns, "slots": index.tree.ids.table()}
    crcs = array("I")
    for name in _COLUMN_TYPES:
        for page in _pages(columns[name]):
            crcs.append(crc32(page))
            yield page
    state = index.state.lasting()
    footer = msgspec.json.encode(
        Footer(
            version=_VERSION,
            layout=_layout(),
            salt=index.tree.ids.salt,
            header=read_log(0, state.header_end),
            bound_crc=crc32(_bound(state.end, read_log)),
            lengths={name: len(columns[name]) for name in _COLUMN_TYPES},
            state=state,
        )
    )
    rest = footer + crcs.tobytes()
    yield rest
    yield _TRAILER.pack(_MAGIC, len(footer), len(rest) - len(footer), crc32(rest))


def _pages(column: Column) -> Iterator[bytes]:
    page = bytearray()
    for piece in column.bytes():
        for start in range(0, len(piece), PAGE):
            page += piece[start : start + PAGE]
            if len(page) >= PAGE:
                yield bytes(page[:PAGE])
                del page[:PAGE]
    if page:
        yield bytes(page.ljust(PAGE, b"\0"))


class Snapshot:
    """A snapshot whose footer is whole. Its pages are verified one by one, when they are read."""

    def __init__(self, read: Read, footer: Footer, crcs: array[int]) -> None:
        self._read = read
        self._crcs = crcs
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
        columns, first = {}, 0
        for name, code in _COLUMN_TYPES.items():
            length = self.footer.lengths[name]
            columns[name] = Column(code, length, partial(self._page, first))
            first += columns[name].page_count
        return Index.restored(read_at, self.state, columns, self.footer.salt, self.footer.header)

    def is_whole(self) -> bool:
        """Returns whether every page is as it was written. Reads them all."""
        pages = (self._read(number * PAGE, PAGE) for number in range(len(self._crcs)))
        return all(crc32(page) == crc for page, crc in zip(pages, self._crcs, strict=True))

    def _page(self, first: int, number: int) -> bytes:
        at = first + number
        page = self._read(at * PAGE, PAGE)
        if at >= len(self._crcs) or len(page) != PAGE or crc32(page) != self._crcs[at]:
            raise SnapshotDamaged(f"page {at}")
        return page


def load(size: int, read: Read) -> Snapshot | None:
    """Opens a snapshot of `size` bytes; None unless it is whole, of this version and of this machine's layout."""
    trailer = read(max(0, size - _TRAILER.size), _TRAILER.size)
    if len(trailer) != _TRAILER.size:
        return None
    magic, footer_length, crcs_length, crc = _TRAILER.unpack(trailer)
    length = footer_length + crcs_length
    if magic != _MAGIC or length > size - _TRAILER.size or crcs_length % 4:
        return None
    rest = read(size - _TRAILER.size - length, length)
    if len(rest) != length or crc32(rest) != crc:
        return None
    try:
        footer = _footer_decoder().decode(rest[:footer_length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    crcs = array("I")
    crcs.frombytes(rest[footer_length:])
    if (footer.version, footer.layout) != (_VERSION, _layout()) or not _consistent(footer, len(crcs)):
        return None
    return Snapshot(read, footer, crcs)


def _consistent(footer: Footer, pages: int) -> bool:
    """Returns whether the lengths in a footer fit each other. A forged footer can have a valid checksum."""
    lengths, state = footer.lengths, footer.state
    if lengths.keys() != _COLUMN_TYPES.keys() or not 0 < state.header_end <= state.end:
        return False
    if not all(0 <= length <= pages * PAGE for length in lengths.values()):
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
        and sum(Column(code, lengths[name]).page_count for name, code in _COLUMN_TYPES.items()) == pages
    )


def _bound(end: int, read_log: Read) -> bytes:
    start = max(0, end - _BOUND)
    return read_log(start, end - start)


def _layout() -> str:
    return f"{sys.byteorder} {' '.join(str(array(code).itemsize) for code in 'HIiQ')}"
