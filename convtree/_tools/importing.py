"""Sessions of other tools, imported into logs and stores, or read into memory.

A source is recognised by its content, never by its name, and is never written to. Importing is repeatable: the same
source gives the same ids, so a second import adds nothing and a source that has grown adds only what is new.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from convtree._catalogue.titles import MESSAGES_READ, excerpt_shown, title_of
from convtree._engine.log import Durability
from convtree._engine.redact import Redact, redact_record
from convtree._formats.common.base import NO_PLACE, Findings, SessionRef, SourceSession, origin
from convtree._logs import directories
from convtree._logs.directories import path_of
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog
from convtree._messages.custom import CUSTOM
from convtree._model.arguments import checked
from convtree._model.batches import batched
from convtree._model.entries import Finding, Header, MessageEntry, Record, SessionInfoMark
from convtree._model.errors import NotALog, SessionExists, SessionNotFound, SeveralSessions
from convtree._session.session import Session
from convtree._tools.contradictions import Extending
from convtree._tools.imported_before import LastWords, StoredMessages
from convtree._tools.known_sources import (
    FAILURES,
    KnownSource,
    NotImported,
    Place,
    find_sources,
    places_in,
    recognise,
    recogniser,
    size_of,
)
from convtree._tools.reading_elsewhere import Readers, SourceElsewhere
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Progress

_EVERY = 256  # records between two reports of progress
_LISTED = 20  # ids in an error message
_WORTH = 4 * 2**20  # bytes of all sources, from which on other processes read: to start one takes some 0.3 s


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of importing one session, or of one file that was not imported.

    Attributes:
        format: The name of the format; None if the file was not recognised.
        session_id: The id of the session; None if none was found.
        written: How many records were added.
        already_there: How many records were there from an earlier import.
        findings: Problems in the source.
        source: The file or folder.
        status: "imported"; "skipped" for a file of no known format; "failed" if the import stopped or never began.
        reason: Why the status is "skipped" or "failed".
        leaf_kept: The leaf stayed at an entry that the source does not have: the session was continued here. What was
            added is on another branch.
    """

    format: str | None
    session_id: str | None
    written: int = 0
    already_there: int = 0
    findings: tuple[Finding, ...] = ()
    source: str = ""
    status: Literal["imported", "skipped", "failed"] = "imported"
    reason: str | None = None
    leaf_kept: bool = False


@checked
def import_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    durability: Durability = "power",
    progress: Progress | None = None,
    redact: Redact | None = None,
) -> ImportReport:
    """Imports the session of another tool into the log at `target`.

    The log is created, or continued if it holds the same session: records that are there already are skipped. The
    source is only read. A source without entries creates no log. If the session was continued here, the leaf stays
    where that ended.

    Args:
        source: A file of another tool, or a folder that is one session.
        target: The log to create or continue.
        durability: "power" survives a power cut, "process" the death of every process.
        progress: Called as `progress(done, total)`, in bytes of the source.
        redact: Removes secrets from what is written (`convtree.redact`, for example). Use the same one in later
            imports: a record with more or fewer secrets removed than the stored one is an `IdConflict`, and the
            import stops there.

    Raises:
        NotALog: The source is of no known format, or the target is not a convtree log. Neither was changed.
        SeveralSessions: The source holds more than one session; use `import_into`. Nothing was written.
        SessionExists: The target is the log of another session. It was not changed.
        IdConflict: An earlier import had another `redact`. What it has imported stays.
        InvalidCompaction: A missing parent has appeared since the last import. What was imported before stays.
        OSError: Reading or writing failed. Records written before are valid; import again to continue.
    """
    found = recognise(path_of("source", source))
    with found.source:
        ref = _only_session(found)
        read = _read(found, ref, redact)
        size = size_of(found.source.path)
        report_progress = _progress_reporter(progress, 0, size, size)
        with _open_target(target, read.header, durability) as session:
            report = _import_session(found, ref, read, session, report_progress)
        report_progress(size)
        return report


@checked
def import_into(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    store: SessionStore,
    *,
    progress: Progress | None = None,
    redact: Redact | None = None,
    workers: int = 1,
) -> list[ImportReport]:
    """Imports every session of a file, or of all files in a folder and its subfolders, into a store.

    Each session keeps its id. Files are imported in sorted order; links are not followed. Files of no known format are
    reported as skipped, and so are folders that hold no histories: version control, installed packages, virtual
    environments, caches. A problem with one file does not stop the others. Importing again adds what is new.

    Args:
        source: A file or a folder, or a list of them.
        store: The store to import into.
        progress: Called as `progress(done, total)`, in bytes of the sources.
        redact: As for `import_file`; it runs before the store's own.
        workers: How many processes read while this one writes; the result is the same. With 1, for a few small files,
            and where readers of messages are registered (`convtree.shapes`), this process reads, too. A program that
            passes more needs the guard `if __name__ == "__main__"`, as `multiprocessing` says.

    Raises:
        NotALog: `source` is a file of no known format.
        OSError: `source` cannot be read.
        ValueError: `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"workers: expected at least 1, not {workers}")
    plan = list(places_in(paths_of(source)))
    places = [each for each in plan if isinstance(each, Place)]
    sizes = [size_of(each.path) if isinstance(each, Place) else 0 for each in plan]
    total, done = sum(sizes), 0
    reports: list[ImportReport] = []
    with ExitStack() as stack:
        recognise_at = _recogniser(places, workers if total >= _WORTH and not CUSTOM else 1, stack)
        for each, size in zip(plan, sizes, strict=True):
            found = recognise_at(each) if isinstance(each, Place) else each
            report_progress = _progress_reporter(progress, done, size, total)
            if isinstance(found, NotImported):
                reports.append(report_not_imported(found))
            else:
                with found.source:
                    reports.extend(import_sessions(found, store, report_progress, redact))
            if isinstance(each, Place):
                report_progress(size)
            done += size
    return reports


def _recogniser(
    places: Sequence[Place], workers: int, stack: ExitStack
) -> Callable[[Place], KnownSource | SourceElsewhere | NotImported]:
    """Returns a function to call with each place in turn: it recognises sources here, or has other processes do it."""
    if workers == 1 or len(places) < 2:
        return recogniser()
    readers = stack.enter_context(Readers(places, workers))

    def next_source(_: Place) -> SourceElsewhere | NotImported:
        found = readers.next()
        return found.begin() or found

    return next_source


def paths_of(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Returns the paths that an argument names: one, or each of a list."""
    named = [source] if isinstance(source, str | os.PathLike) else source
    return [path_of("source", each) for each in named]


class ForeignSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a file of another tool.

    Attributes:
        id: The id that the session has after an import.
        name: Its name.
        begun: When it began, as a timestamp.
        messages: How many messages it has, on all branches.
        title: What a list shows: the name, else what a person asked, as in `SessionInfo`.
        first_user_message: The beginning of the first message that the user typed, on one line.
        format: The name of the format.
        source: The file or folder.
    """

    id: str
    name: str | None = None
    begun: str | None = None
    messages: int = 0
    title: str | None = None
    first_user_message: str | None = None
    format: str
    source: str


@checked
def list_foreign(source: str | os.PathLike[str]) -> Iterator[ForeignSession]:
    """Yields the sessions of a file, or of all files in a folder and its subfolders, without importing them.

    Raises:
        NotALog: No session of a known format was found.
    """
    for found in find_sources(path_of("source", source)):
        with found.source:
            for ref in found.sessions():
                yield _describe(found, found.read(ref))


def _describe(found: KnownSource, read: SourceSession) -> ForeignSession:
    name, messages, said = read.header.name, 0, list[str]()
    for record in read.records:
        if isinstance(record, MessageEntry):
            messages += 1
            if len(said) < MESSAGES_READ and (text := excerpt_shown(record)) is not None:
                said.append(text)
        elif isinstance(record, SessionInfoMark) and record.name is not msgspec.UNSET:
            name = record.name
    return ForeignSession(
        id=read.header.id,
        name=name,
        begun=read.header.timestamp,
        messages=messages,
        title=title_of(name, said),
        first_user_message=said[0] if said else None,
        format=found.format,
        source=str(found.source.path),
    )


@checked
def read_foreign(source: str | os.PathLike[str], *, session_id: str | None = None) -> tuple[Session, ImportReport]:
    """Reads a session of another tool into memory. `session_id` chooses one if the source holds several.

    Raises:
        NotALog: The source is of no known format.
        SeveralSessions: It holds more than one session, and `session_id` is not set.
        SessionNotFound: It does not hold the session `session_id`.
    """
    top, ids, outside = path_of("source", source), list[str](), list[Finding]()
    first: tuple[KnownSource, SessionRef] | None = None
    leftover: tuple[KnownSource, SessionRef] | None = None
    with ExitStack() as kept_open:
        for found in find_sources(top):
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


def _read_into_memory(found: KnownSource, ref: SessionRef) -> tuple[Session, ImportReport]:
    read = _read(found, ref)
    session = Session(MemoryLog(), read.header)
    return session, _import_session(found, ref, read, session)


def report_not_imported(one: NotImported) -> ImportReport:
    """Returns the report of something that was not imported."""
    return ImportReport(format=None, session_id=None, source=str(one.path), status=one.status, reason=one.reason)


def _only_session(found: KnownSource) -> SessionRef:
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
        raise NotALog(f"{found.source.path}: a {found.format} source without a session")
    return refs[0]._replace(findings=tuple(finding for ref in refs for finding in ref.findings))


def _list_ids(ids: list[str]) -> str:
    more = f" and {len(ids) - _LISTED:,} more" if len(ids) > _LISTED else ""
    return f"it has {', '.join(ids[:_LISTED]) or 'none'}{more}"


def _read(found: KnownSource | SourceElsewhere, ref: SessionRef, redact: Redact | None = None) -> SourceSession:
    """Reads a session. Its directories are normalised; header and records are redacted as a session redacts them."""
    read = found.read(ref)
    read = read._replace(header=directories.of_header(read.header))
    if redact is None:
        return read
    records = (redact_record(record, redact) for record in read.records)
    return read._replace(header=redact_record(read.header, redact), records=records)


def import_sessions(
    found: KnownSource | SourceElsewhere,
    store: SessionStore,
    report_progress: Callable[[int], None],
    redact: Redact | None,
) -> Iterator[ImportReport]:
    """Imports every session of a source; yields a report for each. A failure ends neither the others nor the import."""
    try:
        for ref in found.sessions():
            findings: Sequence[Finding] = ref.findings
            try:
                read = _read(found, ref, redact)
                findings = read.findings
                with _open_in_store(store, read.header) as session:
                    yield _import_session(found, ref, read, session, report_progress)
            except FAILURES as error:
                yield ImportReport(
                    format=found.format,
                    session_id=ref.id,
                    findings=tuple(findings),
                    source=str(found.source.path),
                    status="failed",
                    reason=str(error),
                )
    except FAILURES as error:
        yield report_not_imported(NotImported("failed", found.source.path, str(error)))


@contextmanager
def _open_in_store(store: SessionStore, header: Header) -> Iterator[Session]:
    """Opens the session of this source in a store, or creates it.

    Raises:
        SessionExists: another session has its id.
    """
    with store.open_or_create(header, arrives=True) as session:
        expected = header if store.redact is None else redact_record(header, store.redact)
        if _identity(session.header) not in (_identity(header), _identity(expected)):
            raise SessionExists(f"{store.location}: another session has the id {header.id}; import this one elsewhere")
        yield session


def _identity(header: Header) -> tuple[object, object]:
    """Returns the format and the id that a session had in the other tool."""
    source = origin(header)
    return source.get("format"), source.get("id")


def _import_session(
    found: KnownSource | SourceElsewhere,
    ref: SessionRef,
    read: SourceSession,
    session: Session,
    report_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    records, findings = _CountedRecords(read, report_progress), Findings()
    extending = Extending(session, findings)
    last_words = LastWords(session, lambda: found.read(ref).records)
    stored = session._client.ask(StoredMessages)
    written, leaf_kept = 0, False
    for batch in batched(records):
        ids = [record.id for record in batch]
        keeps_leaf = last_words.are_own(ids)
        added = extending.add(batch, move_leaf=not keeps_leaf)
        session._client.ask(stored.note, ids, extending.moved)
        written, leaf_kept = written + added, leaf_kept or (keeps_leaf and added > 0)
    if not last_words.are_own(()):
        written += extending.move_leaf(stored)
    for id in session._client.ask(stored.missing):
        findings.add_once(None, "source_shrunk", NO_PLACE, id)
    return ImportReport(
        format=found.format,
        session_id=read.header.id,
        written=written,
        already_there=records.count - written,
        findings=(*read.findings, *findings.listed),
        source=str(found.source.path),
        leaf_kept=leaf_kept,
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
    """Opens the log of this session, or creates it.

    Raises:
        SessionExists: It is the log of another session.
    """
    try:
        log = JsonlLog(path_of("target", target), mode="r+", durability=durability)
    except SessionNotFound:
        log = JsonlLog(path_of("target", target), mode="x", durability=durability)
    try:
        session = Session(log, header)
        if session.id != header.id:
            raise SessionExists(f"{log.location}: the log of another session; import into a new file")
    except BaseException:
        log.close()
        raise
    with session:  # closing saves the index
        yield session
