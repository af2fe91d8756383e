"""From other tools' files into logs, and into memory to look at.

A source is told by its content, never by its name, and never written to. Importing is repeatable: the same source
gives the same ids, so a second import adds nothing and a grown source adds what is new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from convtree.codec import HEADER_START
from convtree.entries import Finding, Header, Record
from convtree.errors import NotALog, SessionExists, SessionNotFound
from convtree.formats import FORMATS
from convtree.formats.base import Format
from convtree.logs.jsonl import Durability, JsonlLog
from convtree.logs.memory import MemoryLog
from convtree.session import Session

_BEGINNING = 2**20  # bytes by which a source is told
_BLINDLY = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: how many records it wrote, how many were there already, and what is wrong with the source."""

    format: str
    session_id: str
    written: int
    already_there: int
    findings: tuple[Finding, ...]


def import_file(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, durability: Durability = "power"
) -> ImportReport:
    """Brings another tool's session into the log at `target`, which is created, or continued if it is this session's.

    Records that are there already are passed over. The source is only read. A source without entries creates nothing.

    Raises:
        NotALog: the source is of no known format, or the target is no convtree log; neither was touched.
        SessionExists: the target is the log of another session; it was not touched.
        IdConflict, InvalidCompaction: since its last import the source was not only appended to, or a parent was
            that it lacked before; what was imported stays as it is.
        OSError: as it comes; what was written before is whole, and importing again goes on from there.
    """
    with _opened(source) as file:
        form = _recognise(source, file)
        header, records, findings = form.read(file)
        with _target(target, header, durability) as session:
            counted = _Counted(records)
            written = session.extend(counted)
    return ImportReport(
        format=form.NAME,
        session_id=header.id,
        written=written,
        already_there=counted.count - written,
        findings=tuple(findings),
    )


def read_foreign(source: str | os.PathLike[str]) -> tuple[Session, ImportReport]:
    """Reads another tool's session into memory, to look at.

    Raises:
        NotALog: the source is of no known format.
    """
    with _opened(source) as file:
        form = _recognise(source, file)
        header, records, findings = form.read(file)
        session = Session(MemoryLog(), header)
        written = session.extend(records)
    report = ImportReport(
        format=form.NAME, session_id=header.id, written=written, already_there=0, findings=tuple(findings)
    )
    return session, report


class _Counted:
    """Records that are counted as they pass."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self.count = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.count += 1
            yield record


@contextmanager
def _opened(source: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a regular file, behind a link too; never waits for a pipe."""
    fd = os.open(source, os.O_RDONLY | _BLINDLY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotALog(f"{os.fspath(source)}: not a regular file")
    with open(fd, "rb", buffering=2**20) as file:
        yield file


def _recognise(source: str | os.PathLike[str], file: BinaryIO) -> Format:
    beginning = file.read(_BEGINNING)
    file.seek(0)
    for form in FORMATS:
        if form.recognises(beginning):
            return form
    place = os.fspath(source)
    if beginning.removeprefix(b"\xef\xbb\xbf").startswith(HEADER_START):
        raise NotALog(f"{place}: this is a convtree log already; open it with Session.open")
    known = ", ".join(form.NAME for form in FORMATS)
    raise NotALog(f"{place}: not a session of a known format; known are {known}")


@contextmanager
def _target(target: str | os.PathLike[str], header: Header, durability: Durability) -> Iterator[Session]:
    """Opens the log of this session, or one that must be new."""
    try:
        log = JsonlLog(Path(target), mode="r+", durability=durability)
    except SessionNotFound:
        log = JsonlLog(Path(target), mode="x", durability=durability)
    with closing(log):
        session = Session(log, header)
        if session.id != header.id:
            raise SessionExists(f"{log.location}: this is the log of another session; import into a new file")
        yield session
