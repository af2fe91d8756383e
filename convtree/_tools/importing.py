"""From other tools' files into logs and stores, and into memory to look at; and out again into their formats.

A source is told by its content, never by its name, and never written to. Importing is repeatable: the same source
gives the same ids, so a second import adds nothing and a grown source adds what is new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from convtree._engine.codec import HEADER_START
from convtree._engine.log import Durability
from convtree._engine.redact import Redact, redact_record
from convtree._formats.common.base import Format, Source, SourceSession, origin
from convtree._formats.common.files import SourceFile
from convtree._logs.atomic_file import write_atomically
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Finding, Header, MessageEntry, Record, SessionInfoMark
from convtree._model.errors import ConvtreeError, NotALog, SessionExists, SessionNotFound, SeveralSessions
from convtree._session.session import Session
from convtree._tools.redact_log import RedactedSession
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress

_BEGINNING = 2**20  # bytes by which a source is told
_EVERY = 256  # records between two reports of progress
_LISTED = 20  # sessions that an error names
_SHOWN = 200  # characters of a first message that a list shows
_FAILURES = (ConvtreeError, OSError, ImportError)


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: how many records it wrote, how many were there already, and what is wrong with the source.

    `skipped` is a file of no known format, `failed` one that could not be brought in, or not to its end; `reason` says
    why. They have no session id, and no format, where it did not come to that.
    """

    format: str | None
    session_id: str | None
    written: int = 0
    already_there: int = 0
    findings: tuple[Finding, ...] = ()
    source: str = ""
    status: Literal["imported", "skipped", "failed"] = "imported"
    reason: str | None = None


def import_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    durability: Durability = "power",
    progress: Progress | None = None,
    redact: Redact | None = None,
) -> ImportReport:
    """Brings another tool's session into the log at `target`, which is created, or continued if it is this session's.

    Records that are there already are passed over. The source is only read. A source without entries creates nothing.
    `progress(done, of)` is called with bytes. `redact` (`convtree.redact`, say) takes secrets out of what is written,
    and must be the same the next time: a record that is there already and would now be written otherwise is an
    `IdConflict`, behind which nothing comes in.

    Raises:
        NotALog: the source is of no known format, or the target is no convtree log; neither was touched.
        SeveralSessions: the source holds more than one; use `import_into`. Nothing was written.
        SessionExists: the target is the log of another session; it was not touched.
        IdConflict, InvalidCompaction: since its last import the source was not only appended to, or a parent was
            that it lacked before; what was imported stays as it is.
        OSError: as it comes; what was written before is whole, and importing again goes on from there.
    """
    found = _recognised(Path(source))
    if not getattr(found.form, "IS_SINGLE", False):
        _check_single(found)
    with closing(_readings(found)) as readings:
        for reading in readings:
            clean = _without_secrets(reading, redact)
            size = _size(found.source.path)
            tell = _telling(progress, 0, size, size)
            with _target(target, clean.header, durability) as session:
                report = _taken_in(found, clean, session, tell)
            tell(size)
            return report
    raise _without_session(found)


def import_into(
    source: str | os.PathLike[str],
    store: SessionStore,
    *,
    progress: Progress | None = None,
    redact: Redact | None = None,
) -> list[ImportReport]:
    """Brings every session of a file, or of all files in a folder and below, into a store, each under its own id.

    A folder's files come in sorted order; links are not followed, and what is of no known format is reported as
    skipped. What is wrong with one file does not keep the others from coming in. Importing again adds what is new.
    `progress(done, of)` is called with bytes. `redact` is as for `import_file`, and comes before the store's own.

    Raises:
        NotALog: the source is a file of no known format.
        OSError: the source cannot be looked at.
    """
    top = Path(source)
    if not top.is_dir():
        sources: list[_Found | ImportReport] = [_recognised(top)]
    else:
        sources = list(_sources(top))
    of, done = sum(_size(each.source.path) for each in sources if isinstance(each, _Found)), 0
    reports: list[ImportReport] = []
    for each in sources:
        if isinstance(each, ImportReport):
            reports.append(each)
            continue
        size = _size(each.source.path)
        tell = _telling(progress, done, size, of)
        reports.extend(_all_taken_in(each, store, tell, redact))
        done += size
        tell(size)
    return reports


class ForeignSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says of a session in another tool's file."""

    id: str
    name: str | None = None
    begun: str | None = None
    messages: int = 0
    first_user_message: str | None = None
    format: str
    source: str


def list_foreign(source: str | os.PathLike[str]) -> Iterator[ForeignSession]:
    """Yields what is in a file or a folder of other tools' sessions, one at a time, without keeping them.

    Raises:
        NotALog: the source is of no known format.
    """
    for found in _founds(Path(source)):
        with closing(_readings(found)) as readings:
            for reading in readings:
                yield _listed(found, reading)


def _listed(found: _Found, reading: SourceSession) -> ForeignSession:
    name, first, messages = reading.header.name, None, 0
    for record in reading.records:
        if isinstance(record, MessageEntry):
            messages += 1
            if first is None and record.role == "user":
                first = record.text or None
        elif isinstance(record, SessionInfoMark) and record.name is not msgspec.UNSET:
            name = record.name
    return ForeignSession(
        id=reading.header.id,
        name=name,
        begun=reading.header.timestamp,
        messages=messages,
        first_user_message=first and " ".join(first[:_SHOWN].split()),
        format=found.form.NAME,
        source=str(found.source.path),
    )


def read_foreign(source: str | os.PathLike[str], *, session_id: str | None = None) -> tuple[Session, ImportReport]:
    """Reads another tool's session into memory, to look at; of a source with several, the one that is asked for.

    Raises:
        NotALog: the source is of no known format.
        SeveralSessions: it holds more than one, and none was chosen.
        SessionNotFound: it does not hold the one that was chosen.
    """
    top, ids = Path(source), list[str]()
    chosen: tuple[Session, ImportReport] | None = None
    for found in _founds(top):
        with closing(_readings(found)) as readings:
            for reading in readings:
                ids.append(reading.header.id)
                if chosen is None and session_id in (None, reading.header.id):
                    session = Session(MemoryLog(), reading.header)
                    chosen = session, _taken_in(found, reading, session)
                _exhaust(reading)
                if chosen is not None and session_id is not None:
                    return chosen
    if chosen is None:
        raise SessionNotFound(f"{top}: no session {session_id!r} here; {_naming(ids)}")
    if len(ids) > 1:
        raise SeveralSessions(f"{top}: several sessions; choose one: {_naming(ids)}", ids=tuple(ids))
    return chosen


def export_file(
    session: Session,
    path: str | os.PathLike[str],
    format: str,
    *,
    replace: bool = False,
    redact: Redact | None = None,
) -> None:
    """Writes a session as another tool's file, or as a document: pi, kit, json or markdown.

    The file appears whole or not at all, durably. The tool that opens it shows its model the same context, but for
    what `redact` takes out.

    Raises:
        ValueError: nobody knows this format.
        SessionExists: there is a file already, and it is not to be replaced.
    """
    write_atomically(Path(path), export_lines(session, format, redact=redact), replace=replace)


def export_lines(session: Session, format: str, *, redact: Redact | None = None) -> Iterator[bytes]:
    """Yields a session in another tool's format, or as a document, piece by piece.

    `redact` (`convtree.redact`, say) gets every text that somebody said, names, labels, directories and the owner, and
    returns what is written instead. Ids and types stay.

    Raises:
        ValueError: nobody knows this format.
    """
    from convtree._formats.registry import WRITERS

    if format not in WRITERS:
        raise ValueError(f"nothing writes {format!r}; known are {', '.join(WRITERS)}")
    return WRITERS[format](session if redact is None else RedactedSession(session, redact))


# --- sources ------------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A source and the format it is of."""

    form: Format
    source: Source


def _recognised(path: Path) -> _Found:
    """Tells what a file, or a folder as a whole, is.

    Raises:
        NotALog: it is of no known format.
    """
    from convtree._formats.registry import FORMATS

    source = Source(path, b"" if path.is_dir() else _beginning(path))
    for form in FORMATS:
        if form.recognises(source):
            return _Found(form, source)
    if source.beginning.removeprefix(b"\xef\xbb\xbf").startswith(HEADER_START):
        raise NotALog(
            f"{path}: this is a convtree log already; open it with Session.open, or `convtree copy` its store"
        )
    if path.is_dir():
        raise NotALog(f"{path}: a folder, not a session of a known format; import what is in it into a store")
    known = ", ".join(form.NAME for form in FORMATS)
    raise NotALog(f"{path}: not a session of a known format; known are {known}")


def _beginning(path: Path) -> bytes:
    with SourceFile(path) as file:
        return file.read(_BEGINNING)


def _founds(top: Path) -> Iterator[_Found]:
    """Yields the sources at a place, which must hold one."""
    if not top.is_dir():
        yield _recognised(top)
        return
    found = [each for each in _sources(top) if isinstance(each, _Found)]
    if not found:
        raise NotALog(_nothing_in(top))
    yield from found


def _nothing_in(top: Path) -> str:
    is_store = any(_is_log(path) for path in top.glob("*.jsonl"))
    hint = f"; it is a store of convtree's own: `convtree ls --store {top}`" if is_store else ""
    return f"{top}: no session of a known format in this folder{hint}"


def _is_log(path: Path) -> bool:
    try:
        return _beginning(path).startswith(HEADER_START)
    except OSError:
        return False


def _sources(top: Path) -> Iterator[_Found | ImportReport]:
    """Yields what is in a folder and below, in sorted order; a folder that is itself a session is taken as one."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if path.is_symlink() and path != top:
            yield _passed("skipped", path, "a link")
            continue
        try:
            try:
                yield _recognised(path)
            except NotALog as error:
                if path.is_dir():
                    waiting.extend(sorted(path.iterdir(), reverse=True))
                else:
                    reason, _, _ = str(error).removeprefix(f"{path}: ").partition("; known are ")
                    yield _passed("skipped", path, reason)
        except _FAILURES as error:
            if path == top:
                raise
            yield _passed("failed", path, str(error))


def _passed(status: Literal["skipped", "failed"], path: Path, reason: str) -> ImportReport:
    return ImportReport(format=None, session_id=None, source=str(path), status=status, reason=reason)


def _size(path: Path) -> int:
    """Returns how many bytes a source has; a folder, with all that is in it."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        return sum(each.lstat().st_size for each in path.rglob("*"))
    except OSError:
        return 0  # gone meanwhile: reading it will say so


# --- sessions -----------------------------------------------------------------------------------------------------


def _readings(found: _Found) -> Generator[SourceSession, None, None]:
    yield from found.form.read(found.source)


def _exhaust(reading: SourceSession) -> None:
    for _ in reading.records:
        pass


def _check_single(found: _Found) -> None:
    ids = []
    with closing(_readings(found)) as readings:
        for reading in readings:
            ids.append(reading.header.id)
            _exhaust(reading)
    if len(ids) > 1:
        message = f"{found.source.path}: several sessions; import them into a store: {_naming(ids)}"
        raise SeveralSessions(message, ids=tuple(ids))


def _naming(ids: list[str]) -> str:
    more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
    return f"it has {', '.join(ids[:_LISTED]) or 'none'}{more}"


def _without_session(found: _Found) -> NotALog:
    return NotALog(f"{found.source.path}: {found.form.NAME}, without a session in it")


def _without_secrets(reading: SourceSession, redact: Redact | None) -> SourceSession:
    """Returns a reading that is redacted as a session redacts what it writes."""
    if redact is None:
        return reading
    records = (redact_record(record, redact) for record in reading.records)
    return reading._replace(header=redact_record(reading.header, redact), records=records)


def _all_taken_in(
    found: _Found, store: SessionStore, tell: Callable[[int], None], redact: Redact | None
) -> Iterator[ImportReport]:
    """Yields what became of each session of a source."""
    path = found.source.path
    try:
        with closing(_readings(found)) as readings:
            for reading in readings:
                clean = _without_secrets(reading, redact)
                try:
                    with _adopted(store, clean.header) as session:
                        yield _taken_in(found, clean, session, tell)
                except _FAILURES as error:
                    yield ImportReport(
                        format=found.form.NAME,
                        session_id=reading.header.id,
                        findings=tuple(reading.findings),
                        source=str(path),
                        status="failed",
                        reason=str(error),
                    )
                _exhaust(reading)
    except _FAILURES as error:
        yield _passed("failed", path, str(error))


@contextmanager
def _adopted(store: SessionStore, header: Header) -> Iterator[Session]:
    """Opens the session of this source in a store, or begins it."""
    with store.open_or_create(header) as session:
        expected = header if store.redact is None else redact_record(header, store.redact)
        if _origin(session.header) not in (_origin(header), _origin(expected)):
            raise SessionExists(
                f"{store.location}: there is another session under the id {header.id}; import this one elsewhere"
            )
        yield session


def _origin(header: Header) -> tuple[object, object]:
    told = origin(header)
    return told.get("format"), told.get("id")


def _taken_in(
    found: _Found, reading: SourceSession, session: Session, tell: Callable[[int], None] | None = None
) -> ImportReport:
    counted = _Counted(reading, tell)
    written = session.extend(counted)
    return ImportReport(
        format=found.form.NAME,
        session_id=reading.header.id,
        written=written,
        already_there=counted.count - written,
        findings=tuple(reading.findings),
        source=str(found.source.path),
    )


def _telling(progress: Progress | None, before: int, size: int, of: int) -> Callable[[int], None]:
    """Returns what tells how far a source of this size was read, behind those before it; nothing twice."""
    told = -1

    def tell(position: int) -> None:
        nonlocal told
        if progress is not None and told != (told := min(position, size)):
            progress(before + told, of)

    return tell


class _Counted:
    """Records that are counted as they pass; now and then, how far the source was read is told."""

    def __init__(self, reading: SourceSession, tell: Callable[[int], None] | None) -> None:
        self._reading = reading
        self._tell = tell
        self.count = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._reading.records:
            self.count += 1
            if self._tell is not None and self._reading.position is not None and self.count % _EVERY == 0:
                self._tell(self._reading.position())
            yield record


@contextmanager
def _target(target: str | os.PathLike[str], header: Header, durability: Durability) -> Iterator[Session]:
    """Opens the log of this session, or one that must be new."""
    try:
        log = JsonlLog(Path(target), mode="r+", durability=durability)
    except SessionNotFound:
        log = JsonlLog(Path(target), mode="x", durability=durability)
    try:
        session = Session(log, header)
        if session.id != header.id:
            raise SessionExists(f"{log.location}: this is the log of another session; import into a new file")
    except BaseException:
        log.close()
        raise
    with session:  # which leaves an index behind
        yield session
