"""Removes secrets from a session: as a view for exports, in a copy of its log, or in place of the log.

In a redacted log, every record keeps its id, parent and time, and a record without secrets keeps its bytes. All lines
get new checksums. A damaged log is refused: what cannot be read cannot be redacted. Lost entries stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from convtree._engine.context import Context
from convtree._engine.journal import Journal
from convtree._engine.log import Mode
from convtree._engine.outline import Outline
from convtree._engine.redact import Redact, Redactor, redact_record, redact_value
from convtree._engine.write_batch import reseal
from convtree._formats.common.base import Exported
from convtree._formats.common.gaps import Gaps, gaps_of
from convtree._logs.atomic_file import create_atomically, free_name, replace_atomically
from convtree._logs.directories import path_of
from convtree._logs.file_lines import header_at
from convtree._logs.index_file import index_of
from convtree._logs.jsonl import JsonlLog
from convtree._model.arguments import checked
from convtree._model.batches import BATCH
from convtree._model.entries import Entry, Mark
from convtree._session.checking import CheckedLog
from convtree._session.redacting import SecretFound, check_sound, payloads, redacted, search
from convtree.stores._copies import copies_among, holders_of, said_in
from convtree.stores._folder import CATALOGUE, FolderBackend, gone_links_in, headers_in
from convtree.stores._look import SUFFIX
from convtree.stores.base import Progress

_SIDES = ("torn", "quarantine", "original")  # suffixes of files next to a log that hold old text


class Redaction(msgspec.Struct, frozen=True, kw_only=True):
    """What `redact_log` did.

    Attributes:
        path: the log.
        kinds: how many secrets of each kind were found.
        places: where each was; empty unless the redactor explains.
        lines: how many lines were changed.
        copy: the redacted copy; None if it replaced the log, or nothing was found.
        original: the log as it was; None if it was not replaced, or the original was removed.
        beside: files next to the log that may hold the same secrets; they were not searched.
        complete: files that hold none of the secrets any more, as in `convtree.Erased`.
        pending: files that may still hold some until a reader has finished. A log that is replaced leaves none.
        copies: what still holds a copy: ids of forks and of copied logs in the same folder, and the files in `beside`.
    """

    path: str
    kinds: dict[str, int]
    lines: int
    copy: str | None = None
    original: str | None = None
    beside: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    places: tuple[SecretFound, ...] = ()


class RedactedSession:
    """A view of a session without its secrets, for export writers. Holds no records itself.

    A `Redactor` counts each secret once, although records may be read several times.
    """

    def __init__(self, session: Exported, redact: Redact) -> None:
        self._session = session
        self._redact = redact
        self._uncounting = redact.again() if isinstance(redact, Redactor) else redact
        self._uncounted = 0  # the first row whose secrets were not counted yet
        self.header = redact_record(session.header, redact, places=True)

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session.id

    @property
    def name(self) -> str | None:
        """The session's name, redacted."""
        return None if self._session.name is None else self._uncounting(self._session.name)

    @property
    def leaf_id(self) -> str | None:
        """Id of the entry that the next append continues."""
        return self._session.leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """Labels by entry id, redacted."""
        return {id: self._uncounting(label) for id, label in self._session.labels.items()}

    @property
    def gaps(self) -> Gaps:
        """What is missing from the session. It names lines and ids only."""
        return gaps_of(self._session)

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields entries and marks in the order of the log, with row numbers."""
        for row, record in self._session.records(start):
            redact = self._redact if row >= self._uncounted else self._uncounting
            yield row, redact_record(record, redact, places=True)
            self._uncounted = max(self._uncounted, row + 1)

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries from the root to this one."""
        return [redact_record(entry, self._uncounting) for entry in self._session.path(entry_id)]

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns the context at an entry."""
        context = self._session.build_context(leaf=leaf)
        return msgspec.structs.replace(
            context,
            entries=[redact_record(entry, self._uncounting) for entry in context.entries],
            messages=[redact_value(message, self._uncounting) for message in context.messages],
            settings=self._uncounting(context.settings),
        )

    def outline(self) -> Outline:
        """Returns the shape of the tree. Entries that it reads are not redacted."""
        return self._session.outline()


@checked
def redact_session(
    folder: str | os.PathLike[str],
    id: str,
    *,
    redactor: Redactor | None = None,
    in_place: bool = False,
    remove_original: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    progress: Progress | None = None,
) -> Redaction:
    """Redacts a session in a folder of sessions. Takes the options of `redact_log`.

    With `in_place`, also deletes the folder's catalogue, which holds the old text; the next `list` rebuilds it.

    Args:
        folder: the folder of the store.
        id: the session.
        redactor: finds and replaces secrets; `Redactor()` by default.
        in_place: whether to replace the log. The log as it was is kept as `<log>.original`.
        remove_original: whether to delete that, once the log was replaced.
        lock_timeout_s: how long to wait for other writers.
        allow_network: write on a network file system too; then there must be no writer on another machine.
        progress: called with the bytes done so far, and those of the log.

    Raises:
        SessionNotFound: there is no such folder, or no such session in it.
        As `redact_log`.
    """
    backend = FolderBackend(folder, create=False, allow_network=allow_network)
    path = backend.path_of(id)
    holders: list[str] = []
    had_catalogue = (backend.path / CATALOGUE).exists()
    if in_place and path.exists():
        catalogue = backend.catalogue()  # asked before the redaction, because it goes with the old text
        holders = holders_of(catalogue, said_in(catalogue, [id]))
    done = redact_log(
        path,
        redactor=redactor,
        in_place=in_place,
        remove_original=remove_original,
        lock_timeout_s=lock_timeout_s,
        allow_network=allow_network,
        progress=progress,
    )
    left = _forget_catalogue(backend) if in_place and (done.lines or not had_catalogue) else ()
    if in_place and done.lines:
        complete = () if left else (CATALOGUE,)
        done = msgspec.structs.replace(done, complete=(*done.complete, *complete), pending=left)
    return _with_leftovers(done, path, holders)


def _forget_catalogue(backend: FolderBackend) -> tuple[str, ...]:
    """Deletes the catalogue; returns its name if it belongs to somebody else, and is still there."""
    try:
        backend.forget_catalogue()
    except OSError:
        return (CATALOGUE,)
    return ()


@checked
def redact_log(
    path: str | os.PathLike[str],
    *,
    redactor: Redactor | None = None,
    in_place: bool = False,
    remove_original: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    progress: Progress | None = None,
) -> Redaction:
    """Writes a log without its secrets to `<log>.redacted`; with `in_place`, replaces the log.

    If nothing is found, nothing is written. A crash leaves the old log or the new one.

    Args:
        path: the log.
        redactor: finds and replaces secrets; `Redactor()` by default.
        in_place: whether to replace the log. The log as it was is kept as `<log>.original`.
        remove_original: whether to delete that, once the log was replaced.
        lock_timeout_s: how long to wait for other writers.
        allow_network: write on a network file system too; then there must be no writer on another machine.
        progress: called with the bytes done so far, and those of the log.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
        CorruptLog: the log is damaged; repair it first.
        ReadOnlySession: the log was written by a newer version.
        SessionLocked: another writer has the lock.
    """
    path = path_of("path", path)
    mode: Mode = "r+" if in_place else "r"
    log = JsonlLog(path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=in_place, allow_network=allow_network)
    try:
        counter = _ProgressCounter(path, progress)
        index = Journal.open(CheckedLog(log, watch=counter.opened).as_log, use_snapshot=False).index
        check_sound(index, str(path))
        redactor = redactor or Redactor()
        changed, places = search(counter.count(payloads(index)), redactor, str(path))
        kinds = dict(sorted(redactor.counts.items()))
        done = Redaction(path=str(path), kinds=kinds, lines=changed, places=places)
        if changed:
            uncounting = redactor.again()
            bodies = (redacted(each, uncounting, str(path)) for each in counter.count(payloads(index)))
            lines = reseal(next(bodies), bodies)
            if in_place:
                original = _replace(path, lines, remove_original)
                done = msgspec.structs.replace(done, original=original, complete=(path.name, index_of(path).name))
            else:
                copy = free_name(path, "redacted")
                create_atomically(copy, lines, allow_network=allow_network, owner=os.stat(path))
                done = msgspec.structs.replace(done, copy=str(copy))
        counter.end()
        return _with_leftovers(done, path)
    finally:
        log.close()


class _ProgressCounter:
    """Reports the progress of three passes over a log, each a third: it is opened, searched, and written."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self._total = path.stat().st_size
        self._passes = 0
        self._progress = progress

    def opened(self, end: int) -> None:
        """Reports that a log that is opened was read up to here."""
        self._report(end)

    def count(self, payloads: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the payloads of a pass; reports after each batch."""
        self._passes += 1
        done = 0
        for number, payload in enumerate(payloads, 1):
            yield payload
            done += len(payload)
            if number % BATCH == 0:
                self._report(done)

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress((self._passes * self._total + done) // 3, self._total)

    def end(self) -> None:
        """Reports that everything is done."""
        if self._progress is not None:
            self._progress(self._total, self._total)


def _replace(path: Path, lines: Iterator[bytes], remove_original: bool) -> str | None:
    """Replaces the log; returns where the original is, None if it was removed."""
    original = replace_atomically(path, lines)
    if not remove_original:
        return str(original)
    original.unlink()
    return None


def _with_leftovers(done: Redaction, path: Path, holders: Iterable[str] = ()) -> Redaction:
    """Adds what still holds the secrets; `copies` only if the log was replaced, for otherwise it is the first.

    `holders` are sessions with its entries, as a catalogue knew them. Headers are read again, after the redaction.
    """
    beside = _beside(path)
    if not done.complete:
        return msgspec.structs.replace(done, beside=beside)
    return msgspec.structs.replace(done, beside=beside, copies=(*copies_in_folder(path, holders), *beside))


def copies_in_folder(path: Path, holders: Iterable[str] = ()) -> list[str]:
    """Returns the ids of the sessions in the folder of a log that hold a copy of what it says, or of what it said.

    `holders` are added to those that headers and the ledger lead to.
    """
    own = header_at(path)
    known = headers_in(path.parent) | ({} if own is None else {path.name: own})
    copies = copies_among(known, [path.name], partial(gone_links_in, path.parent))
    return sorted(id for id in {*copies, *holders} if f"{id}{SUFFIX}" != path.name)


def _beside(path: Path) -> tuple[str, ...]:
    """Returns the names of files next to a log that may hold its old text."""
    names = sorted(each.name for each in path.parent.iterdir())
    own = [name for name in names if name.startswith(f"{path.name}.")]
    found = [name for name in own if name.removeprefix(f"{path.name}.").partition("-")[0] in _SIDES]
    return (*found, *(name for name in names if name == CATALOGUE))
