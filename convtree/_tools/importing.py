"""From other tools' files into logs and stores, and into memory to look at; and out again into their formats.

A source is told by its content, never by its name, and never written to. Importing is repeatable: the same source
gives the same ids, so a second import adds nothing and a grown source adds what is new.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from convtree._engine.codec import HEADER_START
from convtree._engine.log import Durability
from convtree._engine.redact import Redact, redact_record
from convtree._formats.common.base import Format, SessionRef, Source, SourceSession, origin
from convtree._formats.common.files import SourceFile
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree._model.entries import Finding, Header, MessageEntry, Record, SessionInfoMark
from convtree._model.errors import ConvtreeError, NotALog, SessionExists, SessionNotFound, SeveralSessions
from convtree._session.session import Session
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
    found = _recognise(Path(source))
    with found.source:
        read = _without_secrets(found.read(_only_session(found)), redact)
        size = _size(found.source.path)
        report_progress = _progress_reporter(progress, 0, size, size)
        with _open_target(target, read.header, durability) as session:
            report = _import_session(found, read, session, report_progress)
        report_progress(size)
        return report


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
        sources: list[_KnownSource | ImportReport] = [_recognise(top)]
    else:
        sources = list(_sources(top))
    total, done = sum(_size(each.source.path) for each in sources if isinstance(each, _KnownSource)), 0
    reports: list[ImportReport] = []
    for each in sources:
        if isinstance(each, ImportReport):
            reports.append(each)
            continue
        size = _size(each.source.path)
        report_progress = _progress_reporter(progress, done, size, total)
        with each.source:
            reports.extend(_import_sessions(each, store, report_progress, redact))
        done += size
        report_progress(size)
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
    for found in _known_sources(Path(source)):
        with found.source:
            for ref in found.sessions():
                yield _describe(found, found.read(ref))


def _describe(found: _KnownSource, read: SourceSession) -> ForeignSession:
    name, first, messages = read.header.name, None, 0
    for record in read.records:
        if isinstance(record, MessageEntry):
            messages += 1
            if first is None and record.role == "user":
                first = record.text or None
        elif isinstance(record, SessionInfoMark) and record.name is not msgspec.UNSET:
            name = record.name
    return ForeignSession(
        id=read.header.id,
        name=name,
        begun=read.header.timestamp,
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
    top, ids, outside = Path(source), list[str](), list[Finding]()
    first: tuple[_KnownSource, SessionRef] | None = None
    leftover: tuple[_KnownSource, SessionRef] | None = None
    with ExitStack() as kept_open:
        for found in _known_sources(top):
            with ExitStack() as opened:
                opened.enter_context(found.source)
                for ref in found.sessions():
                    if session_id == ref.id:
                        return _read_into_memory(found, ref)
                    if ref.is_leftover:
                        leftover = found, ref
                        outside.extend(ref.findings)
                        continue
                    ids.append(ref.id)
                    if session_id is None and first is None:
                        first = found, ref
                        kept_open.push(opened.pop_all())
        if session_id is not None:
            raise SessionNotFound(f"{top}: no session {session_id!r} here; {_list_ids(ids)}")
        if len(ids) > 1:
            raise SeveralSessions(f"{top}: several sessions; choose one: {_list_ids(ids)}", ids=tuple(ids))
        if first is not None:
            found, ref = first
            return _read_into_memory(found, ref._replace(findings=(*ref.findings, *outside)))
        if leftover is not None:
            return _read_into_memory(*leftover)
        raise SessionNotFound(f"{top}: no session here")


def _read_into_memory(found: _KnownSource, ref: SessionRef) -> tuple[Session, ImportReport]:
    read = found.read(ref)
    session = Session(MemoryLog(), read.header)
    return session, _import_session(found, read, session)


# --- sources ------------------------------------------------------------------------------------------------------


class _KnownSource(NamedTuple):
    """A source and the format it is of."""

    form: Format
    source: Source

    def sessions(self) -> Iterator[SessionRef]:
        """Lists the sessions of the source."""
        return self.form.sessions(self.source)

    def read(self, ref: SessionRef) -> SourceSession:
        """Reads one of them."""
        return self.form.read(self.source, ref)


def _recognise(path: Path) -> _KnownSource:
    """Tells what a file, or a folder as a whole, is.

    Raises:
        NotALog: it is of no known format.
    """
    from convtree._formats.registry import FORMATS

    source = Source(path, b"" if path.is_dir() else _beginning(path))
    for form in FORMATS:
        if form.recognises(source):
            return _KnownSource(form, source)
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


def _known_sources(top: Path) -> Iterator[_KnownSource]:
    """Yields the sources at a place, which must hold one."""
    if not top.is_dir():
        yield _recognise(top)
        return
    found = [each for each in _sources(top) if isinstance(each, _KnownSource)]
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


def _sources(top: Path) -> Iterator[_KnownSource | ImportReport]:
    """Yields what is in a folder and below, in sorted order; a folder that is itself a session is taken as one."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if path.is_symlink() and path != top:
            yield _not_imported("skipped", path, "a link")
            continue
        try:
            try:
                yield _recognise(path)
            except NotALog as error:
                if path.is_dir():
                    waiting.extend(sorted(path.iterdir(), reverse=True))
                else:
                    reason, _, _ = str(error).removeprefix(f"{path}: ").partition("; known are ")
                    yield _not_imported("skipped", path, reason)
        except _FAILURES as error:
            if path == top:
                raise
            yield _not_imported("failed", path, str(error))


def _not_imported(status: Literal["skipped", "failed"], path: Path, reason: str) -> ImportReport:
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


def _only_session(found: _KnownSource) -> SessionRef:
    """Returns the only session of a source, with the problems found outside of it.

    Raises:
        SeveralSessions: the source holds more than one.
        NotALog: it holds none.
    """
    refs = list[SessionRef]()
    ids = list[str]()
    for ref in found.sessions():
        ids.extend([] if ref.is_leftover else [ref.id])
        if len(ids) <= 1:  # of more sessions, which are refused, only the ids are held
            refs.append(ref)
    if len(ids) > 1:
        message = f"{found.source.path}: several sessions; import them into a store: {_list_ids(ids)}"
        raise SeveralSessions(message, ids=tuple(ids))
    if not refs:
        raise NotALog(f"{found.source.path}: a {found.form.NAME} source without a session")
    return refs[0]._replace(findings=tuple(finding for ref in refs for finding in ref.findings))


def _list_ids(ids: list[str]) -> str:
    more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
    return f"it has {', '.join(ids[:_LISTED]) or 'none'}{more}"


def _without_secrets(read: SourceSession, redact: Redact | None) -> SourceSession:
    """Returns a session whose header and records are redacted, as a session redacts what it writes."""
    if redact is None:
        return read
    records = (redact_record(record, redact) for record in read.records)
    return read._replace(header=redact_record(read.header, redact), records=records)


def _import_sessions(
    found: _KnownSource, store: SessionStore, report_progress: Callable[[int], None], redact: Redact | None
) -> Iterator[ImportReport]:
    """Imports every session of a source; yields a report for each. A failure ends neither the others nor the import."""
    try:
        for ref in found.sessions():
            findings: Sequence[Finding] = ref.findings
            try:
                read = _without_secrets(found.read(ref), redact)
                findings = read.findings
                with _open_in_store(store, read.header) as session:
                    yield _import_session(found, read, session, report_progress)
            except _FAILURES as error:
                yield ImportReport(
                    format=found.form.NAME,
                    session_id=ref.id,
                    findings=tuple(findings),
                    source=str(found.source.path),
                    status="failed",
                    reason=str(error),
                )
    except _FAILURES as error:
        yield _not_imported("failed", found.source.path, str(error))


@contextmanager
def _open_in_store(store: SessionStore, header: Header) -> Iterator[Session]:
    """Opens the session of this source in a store, or creates it.

    Raises:
        SessionExists: another session has its id.
    """
    with store.open_or_create(header) as session:
        expected = header if store.redact is None else redact_record(header, store.redact)
        if _identity(session.header) not in (_identity(header), _identity(expected)):
            raise SessionExists(f"{store.location}: another session has the id {header.id}; import this one elsewhere")
        yield session


def _identity(header: Header) -> tuple[object, object]:
    """Returns the format and the id that a session had in the other tool."""
    source = origin(header)
    return source.get("format"), source.get("id")


def _import_session(
    found: _KnownSource, read: SourceSession, session: Session, report_progress: Callable[[int], None] | None = None
) -> ImportReport:
    records = _CountedRecords(read, report_progress)
    written = session.extend(records)
    return ImportReport(
        format=found.form.NAME,
        session_id=read.header.id,
        written=written,
        already_there=records.count - written,
        findings=tuple(read.findings),
        source=str(found.source.path),
    )


def _progress_reporter(progress: Progress | None, before: int, size: int, total: int) -> Callable[[int], None]:
    """Returns a callback for a source of `size` bytes that follows `before` bytes of others; repeats are skipped."""
    last = -1

    def report(position: int) -> None:
        nonlocal last
        if progress is not None and last != (last := min(position, size)):
            progress(before + last, total)

    return report


class _CountedRecords:
    """The records of a session; counts them, and reports now and then how far the source was read."""

    def __init__(self, read: SourceSession, report_progress: Callable[[int], None] | None) -> None:
        self._read = read
        self._report_progress = report_progress
        self.count = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._read.records:
            self.count += 1
            if self._report_progress is not None and self._read.position is not None and self.count % _EVERY == 0:
                self._report_progress(self._read.position())
            yield record


@contextmanager
def _open_target(target: str | os.PathLike[str], header: Header, durability: Durability) -> Iterator[Session]:
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
