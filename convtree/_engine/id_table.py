"""From an id to its row, without a Python object per id. Pure.

An open-addressing table of row numbers over a column of 64-bit hashes, probed one slot after the other. A hash is no
proof: the line itself says whether a row has an id.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from convtree._engine.columns import Column

_EMPTY = -1
_64_BITS = 2**64 - 1


class IdTable:
    """The rows of ids. `same_id(row, id)` answers from the log; `salt` decides where a hash is looked for.

    The rows that a snapshot covers have their table in `covered`, made with the same salt.
    """

    def __init__(
        self, hashes: Column, same_id: Callable[[int, str], bool], salt: int, persisted: Column | None = None
    ) -> None:
        self.salt = salt
        self.hashes = hashes
        self._factor = salt | 1
        self._same_id = same_id
        self._covered = persisted
        self._slots = array("i", [_EMPTY]) * 64
        self._shift = 64 - 6  # the slots are numbered by the upper bits of a product
        self._full = hashes.persisted + len(self._slots) // 2
        self._missed = ("", 0, 0)  # what was asked for last and is not there: id, hash, and the slot for it

    def find(self, id: str) -> int | None:
        """Returns the row of an id."""
        hashed = _hash(id)
        product = hashed * self._factor & _64_BITS
        slots, hashes = self._slots, self.hashes
        slot = product >> self._shift
        while (row := slots[slot]) != _EMPTY:
            if hashes[row] == hashed and self._same_id(row, id):
                return row
            slot = (slot + 1) % len(slots)
        self._missed = id, hashed, slot
        return None if self._covered is None else self._find_covered(self._covered, product, hashed, id)

    def _find_covered(self, slots: Column, product: int, hashed: int, id: str) -> int | None:
        size, hashes = len(slots), self.hashes
        slot = product >> (65 - size.bit_length())
        while (row := slots[slot]) != _EMPTY:
            if hashes[row] == hashed and self._same_id(row, id):
                return row
            slot = (slot + 1) % size
        return None

    def add(self, id: str, row: int) -> None:
        """Adds the id of the next row, which is new: `find` has said so."""
        missed, hashed, slot = self._missed
        if missed != id:
            self.find(id)
            _, hashed, slot = self._missed
        self.hashes.append(hashed)
        self._slots[slot] = row
        self._missed = "", 0, 0
        if row > self._full:
            self._grow()

    def add_many(self, ids: Iterable[str], row: int) -> int:
        """Adds the ids of the next rows, as `find` and `add` would, as long as they are new; returns how many are."""
        first, hashes, slots, shift = row, self.hashes, self._slots, self._shift
        for id in ids:
            hashed = _hash(id)
            product = hashed * self._factor & _64_BITS
            slot = product >> shift
            while (other := slots[slot]) != _EMPTY:
                if hashes[other] == hashed and self._same_id(other, id):
                    return row - first
                slot = (slot + 1) % len(slots)
            if self._covered is not None and self._find_covered(self._covered, product, hashed, id) is not None:
                break
            hashes.append(hashed)
            slots[slot] = row
            if row > self._full:
                self._grow()
                slots, shift = self._slots, self._shift
            row += 1
        return row - first

    def _grow(self) -> None:
        self._slots, self._shift = self._table(2 * len(self._slots), self.hashes.persisted)
        self._full += len(self._slots) // 4

    def table(self) -> Column:
        """Returns a table of all rows, for a snapshot."""
        column = Column("i")
        if self.hashes.persisted:
            slots, _ = self._table(1 << (2 * len(self.hashes)).bit_length(), 0)
        else:
            slots = self._slots
        column.tail.extend(slots)
        return column

    def _table(self, size: int, first: int) -> tuple[array[int], int]:
        """Makes a table of the rows from `first` on; `size` is a power of two."""
        slots, shift, factor = array("i", [_EMPTY]) * size, 65 - size.bit_length(), self._factor
        hashes = self.hashes.tail if first else self.hashes
        for row, hashed in enumerate(hashes, first):
            slot = (hashed * factor & _64_BITS) >> shift
            while slots[slot] != _EMPTY:
                slot = (slot + 1) % size
            slots[slot] = row
        return slots, shift


def _hash(id: str) -> int:
    """Returns 64 bits of an id: its own value when it has our form, else a digest."""
    if len(id) == 16 and id.isascii() and id.islower() and id.isalnum():  # two ids must not share a hash by choice
        try:
            return int(id, 16)
        except ValueError:
            pass
    from hashlib import blake2b  # slow to import, and our own ids need none

    return int.from_bytes(blake2b(id.encode(errors="replace"), digest_size=8).digest())
