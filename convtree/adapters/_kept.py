"""Values that an adapter keeps by their keys: those that were put last, or as long as somebody holds them."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The values that were put last, at most `size`. Thread-safe."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._lock = Lock()  # protects the values
        self._values: OrderedDict[Hashable, T] = OrderedDict()  # the last used last

    def get(self, key: Hashable) -> T | None:
        """Returns the value of a key; None if there is none, or no longer."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Keeps the value of a key."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)


class Shared(Generic[T]):
    """A value for each key, made when it is asked for and kept while somebody holds it. Thread-safe."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()  # protects the values
        self._values: weakref.WeakValueDictionary[Hashable, T] = weakref.WeakValueDictionary()

    def get(self, key: Hashable) -> T:
        """Returns the value of a key: the same one to all that hold it at the same time."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                value = self._values[key] = self._make()
            return value
