"""Exceptions that come between any two instructions: KeyboardInterrupt, what a signal handler raises, MemoryError.

A `with` block and a `finally` have a gap: when the block has ended, but its end was not called yet, no handler covers
the next instruction. An exception there keeps what the block held for as long as somebody keeps the traceback. So what
must be given back stands in two blocks, and giving it back twice is the same as once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar

T = TypeVar("T")


def is_interrupt(error: BaseException) -> bool:
    """Returns whether an exception may have come anywhere, so that state may be half changed."""
    return not isinstance(error, Exception) or isinstance(error, MemoryError | RecursionError)


def ending(work: Callable[[], T], end: Callable[[], object]) -> T:
    """Calls `work`, and then `end`, whatever was raised and wherever. `end` may be called twice."""
    try:
        try:
            return work()
        finally:
            end()
    except BaseException:
        end()
        raise


class Unlocking:
    """Releases a lock that an interrupt left held: `with Unlocking(lock), lock`.

    Does nothing if the thread held the lock before: the outer block releases it.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = None if lock._is_owned() else lock  # `is_owned`, flat

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and self._lock is not None:
            release(self._lock)


def is_owned(lock: RLock) -> bool:
    """Returns whether this thread holds a lock."""
    owned: bool = lock._is_owned()  # type: ignore[attr-defined]  # `threading.Condition` asks it the same way
    return owned


def release(lock: RLock) -> None:
    """Releases a lock as often as this thread holds it."""
    while is_owned(lock):
        lock.release()
