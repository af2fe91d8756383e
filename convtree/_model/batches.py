"""Work in batches: bounded memory, and locks that are given back in between. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

BATCH = 500
"""Records read or written at once where nothing else decides."""


def batched(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Yields lists of up to `size` items, in order; only one list is held at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def growing(items: Iterable[T], first: int = 1, limit: int = BATCH) -> Iterator[list[T]]:
    """Yields lists of `first` items, then twice as many each time up to `limit`: for callers that may stop early."""
    iterator, size = iter(items), first
    while batch := list(islice(iterator, min(size, limit))):
        yield batch
        size = min(size, limit) * 2
