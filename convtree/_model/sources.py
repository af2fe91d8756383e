"""Where times and ids come from. Both are arguments of sessions and stores, so that tests state their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns

Clock = Callable[[], int]
"""Returns nanoseconds since 1970-01-01T00:00:00Z, like `time.time_ns`."""

IdSource = Callable[[], str]
"""Returns a new id each time; what it returns must be a valid id (FORMAT.md)."""

system_clock: Clock = time_ns


_STOCK_SIZE = 64
_stock: list[str] = []  # random ids that were not used yet


def random_id() -> str:
    """Returns 16 random lower-case hex digits."""
    try:
        return _stock.pop()
    except IndexError:
        digits = os.urandom(8 * _STOCK_SIZE).hex()
        _stock.extend([digits[start : start + 16] for start in range(16, len(digits), 16)])
        return digits[:16]


os.register_at_fork(after_in_child=_stock.clear)  # the child would give out the ids of its parent


def timestamp(clock: Clock) -> str:
    """Returns the time now as a timestamp of the format: RFC 3339, UTC, microseconds."""
    second, microsecond = divmod(clock() // 1000, 1_000_000)
    return f"{_second(second)}.{microsecond:06d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
