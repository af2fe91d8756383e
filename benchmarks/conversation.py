"""The conversation that every peer stores, and the interface of a peer.

Messages have 950 characters, lines about 1.1 KB, and no two are equal. If a format has compactions, the last entry is
one that keeps 50 messages. Otherwise the last 50 messages are requested.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar

from harness import Batch, Figure, T, once

KEPT = 50  # messages kept by the compaction at the end
CHAIN = 500  # messages per write while a conversation is created
WORDS = "the tree keeps every branch that somebody once took and the context is the path back to its root "
SUMMARY = WORDS * 8


def messages(start: int = 0) -> Iterator[dict[str, Any]]:
    """Yields different messages that make lines of about 1.1 KB."""
    for number in count(start):
        yield {"role": ("user", "assistant")[number % 2], "content": f"message {number}: {WORDS * 10}"[:950]}


def pieces(source: Iterator[T], length: int = CHAIN) -> Iterator[list[T]]:
    """Yields the items of an iterable in lists of at most this length."""
    while piece := list(islice(source, length)):
        yield piece


class Peer:
    """A way to store a conversation."""

    name: ClassVar[str]
    file: ClassVar[str]  # file name of its conversation
    distribution: ClassVar[str] = ""  # name on the package index; empty: part of Python or convtree
    most: ClassVar[int] = 10**9  # the longest conversation it is measured with
    why_no_more: ClassVar[str] = ""

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        """Returns a note about a missing package, or None if the peer is installed."""
        del npm  # only one peer needs it
        try:
            cls.version()
        except PackageNotFoundError:
            return f"skipped, `{cls.distribution}` is not installed"
        return None

    @classmethod
    def version(cls) -> str:
        """Returns the version of the peer."""
        return version(cls.distribution) if cls.distribution else ""

    def make(self, path: str, entries: int) -> None:
        """Creates a conversation with this number of entries."""
        raise NotImplementedError

    def resume(self, path: str) -> int:
        """Opens a conversation and reads the last 50 messages. Returns their number, with the summary."""
        raise NotImplementedError

    def resumed(self, path: str) -> Figure:
        """Times `resume`."""
        return once(lambda: self.resume(path))

    def make_short(self, path: str, entries: int) -> None:
        """Creates a conversation of so many messages, without a compaction."""
        raise NotImplementedError

    def read_all(self, path: str) -> int:
        """Opens a conversation and reads all messages. Returns their number."""
        raise NotImplementedError

    def read_short(self, path: str) -> Figure:
        """Times `read_all`."""
        return once(lambda: self.read_all(path))

    def appender(self, path: str) -> Batch:
        """Opens a conversation. One call of the result appends one message."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the conversation that `appender` opened."""


class LoopPeer(Peer):
    """A peer with coroutines. They run in one event loop, created before the clock starts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def awaited(self, call: Callable[[T], Coroutine[Any, Any, object]], source: Iterator[T]) -> Batch:
        """Makes a batch of a coroutine function. It is timed inside the event loop."""

        async def batch(calls: int) -> list[float]:
            clock, taken = time.perf_counter, []
            for given in islice(source, calls):
                start = clock()
                await call(given)
                taken.append(clock() - start)
            return taken

        return lambda calls: self.run(batch(calls))

    def close(self) -> None:
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
