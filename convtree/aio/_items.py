"""Items that arrive in batches, for `async for`.

An object, and not a generator function: trio warns of every generator that is left before its end. There is nothing to
clean up here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class Items(AsyncGenerator[T, None]):
    """Yields the items of the batches that a function awaits; None is the end. As a generator, an error ends it."""

    def __init__(self, next_batch: Callable[[], Awaitable[Iterable[T] | None]]) -> None:
        self._next_batch = next_batch
        self._ready: deque[T] = deque()
        self._ended = False

    async def asend(self, value: None) -> T:  # noqa: ARG002  # nothing is sent
        """Returns the next item.

        Raises:
            StopAsyncIteration: there are no more.
        """
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            self._ended = True  # unless a batch comes: after an error, or cancelled, items may be missing
            batch = await self._next_batch()
            if batch is not None:
                self._ready.extend(batch)
                self._ended = False
        return self._ready.popleft()

    async def athrow(self, *exception: Any) -> T:
        """Ends it, and raises the exception."""
        await self.aclose()
        raise exception[0] if len(exception) == 1 else exception[1] or exception[0]

    async def aclose(self) -> None:
        """Ends it."""
        self._ended = True
        self._ready.clear()
