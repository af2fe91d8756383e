"""The id table: from an id to its row, without a Python object per id. Pure.

An open-addressing table of row numbers over a column of 64-bit hashes, probed one slot after the other. Equal hashes
are no proof: the line itself says whether a row has an id. `bulk.add_ids` adds many at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

from convtree._engine.columns import Column

EMPTY = -1
_SMALL = 2**18  # slots
_HITS = 16
_64_BITS = 2**64 - 1


class IdTable:
    """The rows of ids. `same_id(row, id)` answers from the log; `salt` decides in which slot a hash is looked for.

    The rows of a snapshot have a table of their own, `persisted`, made with the same salt.
    """

    def __init__(
        self, hashes: Column, same_id: Callable[[int, str], bool], salt: int, persisted: Column | None = None
    ) -> None:
        self.salt = salt
        self.hashes = hashes
        self.factor = salt | 1
        self.same_id = same_id
        self.persisted = persisted
        self.slots = array("i", [EMPTY]) * 64
        self.shift = 64 - 6  # the slots are numbered by the upper bits of a product
        self.full = hashes.persisted + len(self.slots) // 2  # the row after which the table grows
        self._missed = ("", 0, 0)  # the last id that was not found, its hash, and the slot for it
        #: the ids that were found last, and their rows: a write asks for one several times, a context for its ends
        self._hits: dict[str, int] = {}

    def prefetch(self, count: int) -> None:
        """Fetches the table of a snapshot in order, if looking for `count` ids would fetch most of it page by page."""
        if self.persisted is not None and self.persisted.page_count <= count:
            self.persisted.load()
            self.hashes.load()

    def find(self, id: str) -> int | None:
        """Returns the row of an id."""
        known = self._hits.get(id)
        if known is not None:
            return known
        hashed = hash_of(id)
        product = hashed * self.factor & _64_BITS
        slots, hashes = self.slots, self.hashes
        slot = product >> self.shift
        while (row := slots[slot]) != EMPTY:
            if hashes[row] == hashed and self.same_id(row, id):
                return self._remember(id, row)
            slot = (slot + 1) % len(slots)
        self._missed = id, hashed, slot
        found = None if self.persisted is None else self.find_persisted(self.persisted, product, hashed, id)
        return found if found is None else self._remember(id, found)

    def _remember(self, id: str, row: int) -> int:
        if len(self._hits) >= _HITS:
            self._hits = {}
        self._hits[id] = row
        return row

    def candidate(self, id: str) -> int | None:
        """Returns a row with the hash of an id, which may be that of another id; None if there is no such row."""
        hashed = hash_of(id)
        product = hashed * self.factor & _64_BITS
        found = _first(self.slots, self.hashes, product >> self.shift, hashed)
        if found is None and self.persisted is not None:
            slot = product >> (65 - len(self.persisted).bit_length())
            found = _first(self.persisted, self.hashes, slot, hashed)
        return found

    def find_persisted(self, slots: Column, product: int, hashed: int, id: str) -> int | None:
        """Returns the row of an id among those of a snapshot."""
        size, hashes = len(slots), self.hashes
        slot = product >> (65 - size.bit_length())
        while (row := slots[slot]) != EMPTY:
            if hashes[row] == hashed and self.same_id(row, id):
                return row
            slot = (slot + 1) % size
        return None

    def add(self, id: str, row: int) -> None:
        """Adds the id of the next row. The caller has made sure with `find` that the id is new."""
        missed, hashed, slot = self._missed
        if missed != id:
            self.find(id)
            _, hashed, slot = self._missed
        self.hashes.append(hashed)
        self.slots[slot] = row
        self._missed = "", 0, 0
        if row > self.full:
            self.grow()

    def grow(self) -> None:
        """Enlarges the table of the rows that no snapshot covers. A small one fourfold: every row is placed anew."""
        factor = 4 if len(self.slots) < _SMALL else 2
        self.slots, self.shift = self._table(factor * len(self.slots), self.hashes.persisted)
        self.full = self.hashes.persisted + len(self.slots) // 2

    def table(self) -> Column:
        """Returns a table of all rows, for a snapshot. Takes as long as rows were added, unless the table is full."""
        column, rows = Column("i"), len(self.hashes)
        if self.persisted is None:
            column.tail.extend(self.slots)
        elif 2 * rows < len(self.persisted):
            for piece in self.persisted.bytes():
                column.tail.frombytes(piece)
            self._fill(column.tail, self.hashes.persisted)
        else:
            column.tail.extend(self._table(1 << (2 * rows).bit_length(), 0)[0])
        return column

    def _table(self, size: int, first: int) -> tuple[array[int], int]:
        """Makes a table of the rows from `first` on; `size` is a power of two."""
        slots = array("i", [EMPTY]) * size
        self._fill(slots, first)
        return slots, 65 - size.bit_length()

    def _fill(self, slots: array[int], first: int) -> None:
        """Adds the rows from `first` on to a table, which has room for them."""
        size, factor = len(slots), self.factor
        shift = 65 - size.bit_length()
        hashes = self.hashes.tail if first else self.hashes
        for row, hashed in enumerate(hashes, first):
            slot = (hashed * factor & _64_BITS) >> shift
            while slots[slot] != EMPTY:
                slot = (slot + 1) % size
            slots[slot] = row


def _first(slots: array[int] | Column, hashes: Column, slot: int, hashed: int) -> int | None:
    """Returns the first row with a hash, from a slot on; None if there is none."""
    while (row := slots[slot]) != EMPTY:
        if hashes[row] == hashed:
            return row
        slot = (slot + 1) % len(slots)
    return None


def hash_of(id: str) -> int:
    """Returns 64 bits of an id: its own value if it is 16 hexadecimal digits, else a digest."""
    if len(id) == 16 and id.isascii() and id.islower() and id.isalnum():  # two ids must not share a hash by choice
        try:
            return int(id, 16)
        except ValueError:
            pass
    return int.from_bytes(_digest()(id.encode(errors="replace"), digest_size=8).digest())


@cache
def _digest() -> Any:
    """Returns the function BLAKE2b. Most processes need none."""
    try:
        from _blake2 import blake2b  # as in `hashlib`, which loads OpenSSL first: that takes as long as a long scan
    except ImportError:  # pragma: no cover  # a Python without this module of its own
        from hashlib import blake2b
    return blake2b
