"""Append-only integer columns. Pure: pages on disk are fetched by a function that the caller passes.

Rows from a snapshot are loaded page by page on first use; rows added since live in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Literal, cast

_BLOCK = 64  # numbers that are looked at together
PAGE = 4096  # bytes of a column that are fetched, and have a checksum, together

Fetch = Callable[[int], bytes]  # a column's page by number, whole and verified, or `SnapshotDamaged`


class SnapshotDamaged(Exception):
    """A page is not as it was written. Never reaches users: the log is scanned instead."""


def as_range(rows: Sequence[int]) -> Sequence[int]:
    """Returns rows that follow each other as a range, for which `Column.take` is fastest; others as they are."""
    if len(rows) < 3 or rows[-1] - rows[0] != len(rows) - 1:
        return list(rows)
    between = range(rows[0], rows[-1] + 1)
    return between if type(rows) is range or list(rows) == list(between) else rows


class Column:
    """Numbers of one C type (an `array` type code), by row.

    The rows before `persisted` are fetched; `tail` has the bytes of those behind it that the snapshot has, too.
    """

    __slots__ = ("_fetch", "_mask", "_pages", "_shift", "append", "persisted", "tail")

    def __init__(self, code: str, persisted: int = 0, fetch: Fetch | None = None, tail: bytes = b"") -> None:
        self.tail = array(code, tail)  # rows from `persisted` on
        self.append = self.tail.append
        self.persisted = persisted
        rows = PAGE // self.tail.itemsize
        self._shift, self._mask = rows.bit_length() - 1, rows - 1
        self._pages: list[memoryview | None] = [None] * -(-persisted // rows)
        self._fetch = fetch

    @property
    def page_count(self) -> int:
        """How many pages the persisted rows take."""
        return len(self._pages)

    def __len__(self) -> int:
        return self.persisted + len(self.tail)

    def __getitem__(self, row: int) -> int:
        if row >= self.persisted:
            return self.tail[row - self.persisted]
        return (self._pages[row >> self._shift] or self._load(row >> self._shift))[row & self._mask]

    def __iter__(self) -> Iterator[int]:
        rows = self._mask + 1
        pages = (self._page(number)[: self.persisted - number * rows] for number in range(len(self._pages)))
        return chain(chain.from_iterable(pages), self.tail)

    def since(self, row: int) -> Iterator[int]:
        """Yields the numbers from a row on. Loads the pages that it comes to."""
        rows = self._mask + 1
        for number in range(row >> self._shift, len(self._pages)):
            first = number * rows
            yield from self._page(number)[max(0, row - first) : self.persisted - first]
        for first in range(max(0, row - self.persisted), len(self.tail), rows):
            yield from self.tail[first : first + rows]  # a copy: the tail cannot grow while a view of it is in use

    def take(self, rows: Sequence[int]) -> list[int]:
        """Returns the numbers of several rows."""
        rows = as_range(rows)
        if type(rows) is range:
            return self._between(rows.start, rows.stop)
        pages, tail, persisted, shift, mask = self._pages, self.tail, self.persisted, self._shift, self._mask
        if not persisted:
            return [tail[row] for row in rows]
        return [
            tail[row - persisted] if row >= persisted else (pages[row >> shift] or self._load(row >> shift))[row & mask]
            for row in rows
        ]

    def _between(self, row: int, end: int) -> list[int]:
        """Returns the numbers of the rows from `row` on that are before `end`."""
        if row >= self.persisted:
            return self.tail[row - self.persisted : end - self.persisted].tolist()
        numbers: list[int] = []
        while row < self.persisted and row < end:
            start, page = row & self._mask, self._page(row >> self._shift)
            more = min(end, self.persisted, row - start + self._mask + 1) - row
            numbers += page[start : start + more].tolist()
            row += more
        return numbers + self.tail[row - self.persisted : end - self.persisted].tolist() if row < end else numbers

    def follow(self, row: int) -> Iterator[int]:
        """Yields the row, then the row that its number names, and so on, down to a negative number. Each is smaller."""
        pages, tail, persisted, shift, mask = self._pages, self.tail, self.persisted, self._shift, self._mask
        while row >= 0:
            yield row
            if row >= persisted:
                above = tail[row - persisted]
            else:
                above = (pages[row >> shift] or self._load(row >> shift))[row & mask]
            if above >= row:  # a forged snapshot could make this loop endless
                raise SnapshotDamaged(f"row {row} names row {above}")
            row = above

    def path_down(self, row: int, least: int = 0) -> list[int]:
        """Returns the rows that `follow` yields, last to first, without those below `least`.

        Most rows name the one before them. So numbers are fetched in blocks, and such a block is compared as a whole.
        """
        blocks: list[Sequence[int]] = []
        size = _BLOCK
        while row >= least:
            first = max(least, row + 1 - size)
            numbers = self._between(first, row + 1)
            if numbers[1:] == list(range(first, row)) and numbers[0] < first:
                blocks.append(range(first, row + 1))
                row = numbers[0]
                size = 4 * _BLOCK
                continue
            walked: list[int] = []
            while row >= first:
                walked.append(row)
                above = numbers[row - first]
                if above >= row:  # as in `follow`
                    raise SnapshotDamaged(f"row {row} names row {above}")
                row = above
            walked.reverse()
            blocks.append(walked)
            size = _BLOCK
        return list(chain.from_iterable(reversed(blocks)))

    def load(self) -> None:
        """Fetches every page that is not in memory yet."""
        for number in range(len(self._pages)):
            self._page(number)

    def bytes(self) -> Iterator[memoryview]:
        """Yields the column's bytes in memory order, in pieces."""
        rows = self._mask + 1
        for number in range(len(self._pages)):
            yield self._page(number)[: self.persisted - number * rows].cast("B")
        yield memoryview(self.tail).cast("B")

    def _page(self, number: int) -> memoryview:
        return self._pages[number] or self._load(number)

    def _load(self, number: int) -> memoryview:
        assert self._fetch is not None
        page: memoryview = memoryview(self._fetch(number)).cast(cast("Literal['Q']", self.tail.typecode))
        self._pages[number] = page
        return page
