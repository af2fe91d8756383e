"""What an importer is given, what it gives, and how it says what is wrong with its source. Pure.

An importer turns a foreign file into records that `Session.extend` takes. One rule carries this package: every
reference is settled when it is *read*, in file order, so that the same beginning of a file always gives the same ids
and a grown file adds only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from convtree._engine.context import Context
from convtree._model.entries import Entry, Finding, Header, Mark, Record
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT


class Source(NamedTuple):
    """A file or a folder of another tool, and how it begins (b"" for a folder); of a compressed file, what is in it."""

    path: Path
    beginning: bytes


class SourceSession(NamedTuple):
    """One session of a source: its header, its records parents first, and what is wrong with the source.

    `findings` is complete when `records` is exhausted; `position` tells how many bytes of the source were read so far,
    where that can be told.
    """

    header: Header
    records: Iterator[Record]
    findings: list[Finding]
    position: Callable[[], int] | None = None


class Format(Protocol):
    """A foreign format; the modules of this package are such.

    One whose sources hold a single session each may say so with `IS_SINGLE = True`, which saves a look ahead.
    """

    NAME: str

    def recognises(self, source: Source) -> bool:
        """Tells by its content, never by its name, whether a source is of this format."""
        ...

    def read(self, source: Source) -> Iterator[SourceSession]:
        """Reads a source that was recognised, a session at a time: records are exhausted before the next is asked for.

        The source is opened here, and closed with the iterator.
        """
        ...


class Exported(Protocol):
    """What a writer asks of a session."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str | None:
        """Its name."""
        ...

    @property
    def leaf_id(self) -> str | None:
        """Where it goes on."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """Entry ids to labels."""
        ...

    @property
    def header(self) -> Header:
        """Its first line."""
        ...

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields what it is made of, in the order of the log, with row numbers."""
        ...

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries from the first to this one."""
        ...

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns what a model would see at an entry."""
        ...


class SourceSpan(NamedTuple):
    """Where something stands in the source: the line counted from 1, the rest in bytes."""

    line: int
    offset: int
    length: int


class Findings:
    """A list of findings that a hostile source cannot grow without end."""

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self._told: set[tuple[str, str]] = set()

    def add_once(self, about: str, code: str, place: SourceSpan, entry_id: str | None = None) -> None:
        """Reports what would be wrong with every other record only where it is first seen."""
        if (code, about) not in self._told:
            self._told.add((code, about))
            self.add(code, place, entry_id)

    def count(self, code: str) -> int:
        """Returns how often something was reported."""
        return sum(finding.code == code for finding in self.listed)

    def add(self, code: str, place: SourceSpan, entry_id: str | None = None) -> None:
        """Reports one thing that is wrong at a place."""
        if len(self.listed) <= FINDING_LIMIT:
            code = "too_many" if len(self.listed) == FINDING_LIMIT else code
            self.listed.append(
                Finding(code=code, severity=FINDING_CODES[code][0], entry_id=entry_id, **place._asdict())
            )


def origin(header: Header) -> dict[str, Any]:
    """Returns what an importer has said of where a session comes from."""
    told = (header.metadata or {}).get("import")
    return told if isinstance(told, dict) else {}
