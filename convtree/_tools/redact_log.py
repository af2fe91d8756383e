"""A session without its secrets: as writers of other formats read it, a copy of its log, or one in the log's place.

Of a log, every line keeps its id, parent and time; a line in which nothing is found keeps its very bytes; all are
sealed anew, for a seal vouches for what a line says now. A damaged log is refused: what cannot be read cannot be
redacted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from convtree._engine.context import Context
from convtree._engine.journal import Journal
from convtree._engine.log import Mode
from convtree._engine.log_index import Index
from convtree._engine.redact import Redact, Redactor, redact_body, redact_record
from convtree._engine.write_batch import reseal
from convtree._formats.common.base import Exported
from convtree._logs.jsonl import JsonlLog, replace, write_new
from convtree._model.entries import Entry, Mark
from convtree._model.errors import CorruptLog, ReadOnlySession
from convtree.stores._folder import CATALOGUE, FolderBackend
from convtree.stores.base import Progress

_BATCH = 500
_SIDES = ("torn", "quarantine", "original")  # what accidents and repairs leave, with the old text in it


class Redaction(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken out of a log: how many secrets of which kind, in how many lines.

    `copy` is the redacted copy, None when it took the log's place; `original` the log as it was, None when there is
    none beside it. `beside` are files next to it that may hold the same secrets: nobody has looked into them.
    """

    path: str
    kinds: dict[str, int]
    lines: int
    copy: str | None = None
    original: str | None = None
    beside: tuple[str, ...] = ()


class RedactedSession:
    """A session as a writer reads it, without its secrets; nothing is held that the session does not hold.

    A `Redactor` counts a secret once: when its record, or the header, goes by.
    """

    def __init__(self, session: Exported, redact: Redact) -> None:
        self._session = session
        self._redact = redact
        self._again = redact.again() if isinstance(redact, Redactor) else redact
        self._uncounted = 0  # the first row that has not gone by yet
        self.header = redact_record(session.header, redact, places=True)

    @property
    def id(self) -> str:
        """Its id."""
        return self._session.id

    @property
    def name(self) -> str | None:
        """Its name."""
        return None if self._session.name is None else self._again(self._session.name)

    @property
    def leaf_id(self) -> str | None:
        """Where it goes on."""
        return self._session.leaf_id

    @property
    def labels(self) -> dict[str, str]:
        """Entry ids to labels."""
        return {id: self._again(label) for id, label in self._session.labels.items()}

    def records(self, start: int = 0) -> Iterator[tuple[int, Entry | Mark]]:
        """Yields what it is made of, in the order of the log, with row numbers."""
        for row, record in self._session.records(start):
            yield row, redact_record(record, self._redact if row >= self._uncounted else self._again)
            self._uncounted = max(self._uncounted, row + 1)

    def path(self, entry_id: str | None) -> list[Entry]:
        """Returns the entries from the first to this one."""
        return [redact_record(entry, self._again) for entry in self._session.path(entry_id)]

    def build_context(self, *, leaf: str | None) -> Context:
        """Returns what a model would see at an entry."""
        context = self._session.build_context(leaf=leaf)
        return msgspec.structs.replace(
            context,
            entries=[redact_record(entry, self._again) for entry in context.entries],
            messages=[self._again(message) for message in context.messages],
            settings=self._again(context.settings),
        )


def redact_session(
    folder: str | os.PathLike[str], id: str, *, in_place: bool = False, allow_network: bool = False, **options: Any
) -> Redaction:
    """Redacts the log of a session in a folder of them, as `redact_log` does with all its options.

    With `in_place`, the folder's catalogue goes as well, for it had the old text; the next list makes it anew.

    Raises:
        SessionNotFound: there is no such folder, or no such session in it.
        As `redact_log`.
    """
    backend = FolderBackend(folder, create=False, allow_network=allow_network)
    path = backend.path_of(id)
    done = redact_log(path, in_place=in_place, allow_network=allow_network, **options)
    if in_place and done.lines:
        backend.forget_catalogue()
    return msgspec.structs.replace(done, beside=_beside(path))


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
    """Writes a log without its secrets to `<log>.redacted`, or with `in_place` puts it in the log's place.

    Then the log as it was is kept as `<log>.original`, unless `remove_original`. Where nothing is found, nothing is
    written. A crash leaves the old log or the new one. `progress(done, of)` is called with bytes.

    Raises:
        SessionNotFound, NotALog: there is no log.
        CorruptLog: something is wrong with it; repair it first.
        ReadOnlySession: a newer version made it.
        SessionLocked: a writer is at work.
    """
    path = Path(path)
    mode: Mode = "r+" if in_place else "r"
    log = JsonlLog(path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=in_place, allow_network=allow_network)
    try:
        index = Journal.open(log, use_snapshot=False).index
        _check_sound(index, path)
        redactor = redactor or Redactor()
        watch = _Watch(path, progress)
        changed = sum(_redacted(body, redactor, path) is not body for body in watch.passing(_bodies(index)))
        done = Redaction(path=str(path), kinds=dict(sorted(redactor.counts.items())), lines=changed)
        if not changed:
            watch.end()
            return msgspec.structs.replace(done, beside=_beside(path))
        again = redactor.again()
        bodies = (_redacted(body, again, path) for body in watch.passing(_bodies(index)))
        lines = reseal(next(bodies), bodies)
        if in_place:
            done = msgspec.structs.replace(done, original=_put(path, lines, remove_original))
        else:
            copy = _free_name(path, "redacted")
            write_new(copy, lines, allow_network=allow_network)
            done = msgspec.structs.replace(done, copy=str(copy))
        watch.end()
        return msgspec.structs.replace(done, beside=_beside(path))
    finally:
        log.close()


class _Watch:
    """Tells how far two passes over a log have come."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self._of = 2 * path.stat().st_size
        self._done = 0
        self._progress = progress

    def passing(self, bodies: Iterator[bytes]) -> Iterator[bytes]:
        """Yields what passes."""
        for number, body in enumerate(bodies, 1):
            yield body
            self._done += len(body)
            if self._progress is not None and number % _BATCH == 0:
                self._progress(self._done, self._of)

    def end(self) -> None:
        """Tells that it is done."""
        if self._progress is not None:
            self._progress(self._of, self._of)


def _put(path: Path, lines: Iterator[bytes], remove_original: bool) -> str | None:
    original = _free_name(path, "original")
    replace(path, lines, keep_as=original)
    if not remove_original:
        return str(original)
    original.unlink()
    return None


def _check_sound(index: Index, path: Path) -> None:
    if index.state.read_only is not None and index.header is not None:
        raise ReadOnlySession(f"{path}: {index.state.read_only}, and cannot tell where its text is")
    found = [finding for finding in index.state.findings if finding.severity != "info"]
    if found or index.header_payload is None:
        what = f"{found[0].code} in line {found[0].line}" if found else "it has no header"
        raise CorruptLog(f"{path}: {what}; repair it first", findings=tuple(index.state.findings))


def _bodies(index: Index) -> Iterator[bytes]:
    """Yields the bodies of the header and of all records."""
    assert index.header_payload is not None
    yield index.header_payload
    for start in range(0, len(index.tree), _BATCH):
        yield from index.payloads(range(start, min(start + _BATCH, len(index.tree))))


def _redacted(body: bytes, redactor: Redactor, path: Path) -> bytes:
    try:
        return redact_body(body, redactor, places=True)
    except msgspec.DecodeError as error:
        raise CorruptLog(f"{path}: a line cannot be read ({error}); repair it first", findings=()) from None


def _free_name(path: Path, suffix: str) -> Path:
    names = (path.with_name(f"{path.name}.{suffix}{'' if n == 1 else f'-{n}'}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _beside(path: Path) -> tuple[str, ...]:
    names = sorted(each.name for each in path.parent.iterdir())
    own = [name for name in names if name.startswith(f"{path.name}.")]
    found = [name for name in own if name.removeprefix(f"{path.name}.").partition("-")[0] in _SIDES]
    return (*found, *(name for name in names if name == CATALOGUE))
