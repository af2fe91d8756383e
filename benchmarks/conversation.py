"""The conversation that everybody keeps, and what is asked of everybody.

Messages of 950 characters, in lines of about 1.1 KB, no two alike. Where a format has compactions, the last entry is
one that keeps 50 messages; elsewhere the last 50 messages are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar

from harness import Batch, Figure, T, once

KEPT = 50  # messages that the compaction at the end keeps
CHAIN = 500  # messages of one write while a conversation is made
WORDS = "the tree keeps every branch that somebody once took and the context is the path back to its root "
SUMMARY = WORDS * 8


def messages(start: int = 0) -> Iterator[dict[str, Any]]:
    """Yields messages that make lines of about 1.1 KB, no two alike."""
    for number in count(start):
        yield {"role": ("user", "assistant")[number % 2], "content": f"message {number}: {WORDS * 10}"[:950]}


def pieces(source: Iterator[T], length: int = CHAIN) -> Iterator[list[T]]:
    """Yields what a source has, so many at a time."""
    while piece := list(islice(source, length)):
        yield piece


class Peer:
    """One way to keep a conversation."""

    name: ClassVar[str]
    file: ClassVar[str]  # what its conversation is called on disk
    distribution: ClassVar[str] = ""  # on the package index; empty: comes with Python or with convtree
    most: ClassVar[int] = 10**9  # the longest conversation it is asked for
    why_no_more: ClassVar[str] = ""

    @classmethod
    def missing(cls, npm: Path) -> str | None:
        """Says what has to be installed before this peer can be had, or `None`."""
        del npm  # is what one peer needs
        try:
            cls.version()
        except PackageNotFoundError:
            return f"skipped, `{cls.distribution}` is not installed"
        return None

    @classmethod
    def version(cls) -> str:
        """Returns the version that is measured."""
        return version(cls.distribution) if cls.distribution else ""

    def make(self, path: str, entries: int) -> None:
        """Makes a conversation of so many entries."""
        raise NotImplementedError

    def resume(self, path: str) -> int:
        """Opens a conversation and gets the last 50 messages; returns how many came, a summary included."""
        raise NotImplementedError

    def resumed(self, path: str) -> Figure:
        """Times `resume`."""
        return once(lambda: self.resume(path))

    def appender(self, path: str) -> Batch:
        """Opens a conversation to append to; one call is one message."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what `appender` began."""
