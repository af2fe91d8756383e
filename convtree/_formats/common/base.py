"""The interface of a format: sources, references to sessions, sessions, findings; and what a writer needs.

A reader turns a file of another tool into records for `Session.extend`. One rule carries this package: references are
resolved while the file is read, in file order. So the same beginning of a file always gives the same ids, and a file
that has grown adds only what is new.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from convtree._engine.context import Context
from convtree._engine.outline import Outline
from convtree._formats.common.files import DATABASE_START, SourceFile
from convtree._model.entries import Entry, Finding, Header, Mark, Record
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT

T = TypeVar("T")
_ABOUT = 200  # characters of a name in a finding
#: the file, or one of its lines, begins as JSON does; few of all files on a disk have such a line
_JSON_LINE = re.compile(rb"\A(?:\xef\xbb\xbf)?[\s\0]*[\[{]|[\n\0]\{\s*(?:\"[^\"\n]{1,100}\"\s*:|/[/*])|\n\[\s*[\[{\"]")
_SEARCHED = 2**16  # bytes in which there must be one


class Source:
    """A file or a folder of another tool.

    `beginning` holds the first bytes, decompressed; b"" for a folder. `folder` is the one that is read as a whole, with
    this source in it; None if the source itself was named. What is opened through this object stays open until the
    `with` block ends.
    """

    def __init__(
        self, path: Path, beginning: bytes, folder: Path | None = None, seen: dict[Any, Any] | None = None
    ) -> None:
        self.path = path
        self.beginning = beginning
        self.folder = folder
        self._seen = {} if seen is None else seen  # by the sources of one folder
        self._opened = ExitStack()
        self._shared: dict[object, Any] = {}

    @property
    def is_database(self) -> bool:
        """Returns whether the source begins as a database of SQLite does."""
        return self.beginning.startswith(DATABASE_START)

    def open_beginning(self) -> io.BytesIO:
        """Returns the beginning as a file, to look for JSON objects in; an empty one if no line begins as JSON does.

        That of a database is empty, too: the texts in its pages are no lines.
        """
        return io.BytesIO(self.beginning if self._may_be_json else b"")

    @cached_property
    def _may_be_json(self) -> bool:
        return not self.is_database and _JSON_LINE.search(self.beginning, 0, _SEARCHED) is not None

    def open_file(self, path: Path | None = None) -> SourceFile:
        """Opens the source, or a file that belongs to it."""
        return self._opened.enter_context(SourceFile(path or self.path))

    def share(self, open: Callable[[Source], AbstractContextManager[T]]) -> T:
        """Returns what `open` opens of this source; opens it the first time."""
        if open not in self._shared:
            self._shared[open] = self._opened.enter_context(open(self))
        found: T = self._shared[open]
        return found

    def see(self, place: Path, look: Callable[[Path], T]) -> T:
        """Returns what `look` finds at a place around the source; all sources of one folder look once."""
        if (look, place) not in self._seen:
            self._seen[look, place] = look(place)
        found: T = self._seen[look, place]
        return found

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shared.clear()
        self._opened.close()


class SessionRef(NamedTuple):
    """A session of a source, not read yet.

    Attributes:
        id: The id of the session in convtree.
        source_id: The id that the other tool gave it, or one derived from its place in the source.
        findings: Problems found while the session was listed.
        content: What listing has parsed already, so that `Format.read` need not parse it again.
        is_leftover: There is no session: `findings` are problems outside of every session.
    """

    id: str
    source_id: str
    findings: tuple[Finding, ...] = ()
    content: Any = None
    is_leftover: bool = False


class SourceSession(NamedTuple):
    """One session of a source: its header, its records parents first, and problems found in it.

    `findings` is complete when `records` is exhausted. `position` returns how many bytes of the source were read so
    far; None where that is not known.
    """

    header: Header
    records: Iterator[Record]
    findings: list[Finding]
    position: Callable[[], int] | None = None


class Format(Protocol):
    """The format of another tool. Each module or folder of `_formats` implements one."""

    NAME: str

    def recognises(self, source: Source) -> bool:
        """Returns whether a source is of this format, judged by its content and never by its name."""
        ...

    def sessions(self, source: Source) -> Iterator[SessionRef]:
        """Yields the sessions of a recognised source without reading their entries.

        A leftover (`SessionRef.is_leftover`), if there is one, comes last.
        """
        ...

    def read(self, source: Source, ref: SessionRef) -> SourceSession:
        """Reads a session that `sessions` has yielded for this source.

        Sessions can be read in any order and more than once, while the source is open. The same source always gives
        the same records.
        """
        ...


class Exported(Protocol):
    """The part of a session that a writer uses."""

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
        """The leaf."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """Labels by entry id."""
        ...

    @property
    def header(self) -> Header:
        """The header of its log."""
        ...

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields row numbers and records, in the order of the log."""
        ...

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries from the root to this one."""
        ...

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns the context at an entry."""
        ...

    def outline(self) -> Outline:
        """Returns the shape of the tree. Entries that it reads are not redacted."""
        ...


class SourceSpan(NamedTuple):
    """A position in the source: the line, counted from 1; offset and length in bytes."""

    line: int
    offset: int
    length: int


NO_PLACE = SourceSpan(0, 0, 0)  # of a finding that is not about one place in the source


class Findings:
    """A list of findings with a limit, so that a hostile source cannot fill the memory."""

    def __init__(self, found: Iterable[Finding] = ()) -> None:
        self.listed = list(found)
        self._reported: dict[tuple[str, str | None], int] = {}  # -> the place in the list

    def add_once(self, about: str | None, code: str, span: SourceSpan, entry_id: str | None = None) -> None:
        """Reports a problem that many records may have at the first one, with its name and how often it occurs."""
        at = self._reported.setdefault((code, about), len(self.listed))
        if at == len(self.listed):
            self.add(code, span, entry_id, about=about and about[:_ABOUT])
        elif self.listed[at].code == code:  # not the one that says that there are too many
            self.listed[at] = replace(self.listed[at], times=self.listed[at].times + 1)

    def lose(self, about: str, entry_id: str | None = None, code: str = "export_left_out") -> None:
        """Reports what an exported file does not hold, or not in its own words: once, and how often it occurs."""
        self.add_once(about, code, NO_PLACE, entry_id)

    def is_last_at(self, code: str, span: SourceSpan) -> bool:
        """Returns whether the last finding has a code and a place."""
        last = self.listed[-1] if self.listed else None
        return last is not None and (last.code, last.offset) == (code, span.offset)

    def count(self, code: str) -> int:
        """Returns how many findings have a code."""
        return sum(finding.code == code for finding in self.listed)

    def add(self, code: str, span: SourceSpan, entry_id: str | None = None, about: str | None = None) -> None:
        """Reports a problem."""
        if len(self.listed) == FINDING_LIMIT:
            code, about = "too_many", None
        if len(self.listed) <= FINDING_LIMIT:
            severity = FINDING_CODES[code][0]
            self.listed.append(Finding(code=code, severity=severity, entry_id=entry_id, about=about, **span._asdict()))


def origin(header: Header) -> dict[str, Any]:
    """Returns where a session was imported from, as stored in its header; empty if it was not imported."""
    found = (header.metadata or {}).get("import")
    return found if isinstance(found, dict) else {}
