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

import msgspec

from convtree.context import Context
from convtree.entries import Entry, Mark
from convtree.errors import CorruptLog, ReadOnlySession
from convtree.formats.base import Exported
from convtree.index import Index
from convtree.ledger import Ledger
from convtree.logs.jsonl import JsonlLog, Mode, replace, write_new
from convtree.redaction import Redact, Redactor, redact_body, redact_record
from convtree.writing import reseal

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


class WithoutSecrets:
    """A session as a writer reads it, without its secrets; nothing is held that the session does not hold.

    A `Redactor` counts a secret once: when its record, or the header, goes by.
    """

    def __init__(self, session: Exported, redact: Redact) -> None:
        self._session = session
        self._redact = redact
        self._again = redact.again() if isinstance(redact, Redactor) else redact
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
        return ((row, redact_record(record, self._redact)) for row, record in self._session.records(start))

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


def redact_log(
    path: str | os.PathLike[str],
    *,
    redactor: Redactor | None = None,
    in_place: bool = False,
    remove_original: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
) -> Redaction:
    """Writes a log without its secrets to `<log>.redacted`, or with `in_place` puts it in the log's place.

    Then the log as it was is kept as `<log>.original`, unless `remove_original`. Where nothing is found, nothing is
    written. A crash leaves the old log or the new one.

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
        index = Ledger(log, use_snapshot=False).index
        _check_sound(index, path)
        redactor = redactor or Redactor()
        changed = sum(_redacted(body, redactor, path) is not body for body in _bodies(index))
        done = Redaction(path=str(path), kinds=dict(sorted(redactor.counts.items())), lines=changed)
        if not changed:
            return msgspec.structs.replace(done, beside=_beside(path))
        again = redactor.again()
        bodies = (_redacted(body, again, path) for body in _bodies(index))
        lines = reseal(next(bodies), bodies)
        if in_place:
            return msgspec.structs.replace(done, original=_put(path, lines, remove_original), beside=_beside(path))
        copy = _free_name(path, "redacted")
        write_new(copy, lines, allow_network=allow_network)
        return msgspec.structs.replace(done, copy=str(copy), beside=_beside(path))
    finally:
        log.close()


def _put(path: Path, lines: Iterator[bytes], remove_original: bool) -> str | None:
    original = _free_name(path, "original")
    replace(path, lines, keep_as=original)
    if not remove_original:
        return str(original)
    original.unlink()
    return None


def _check_sound(index: Index, path: Path) -> None:
    if index.read_only is not None and index.header is not None:
        raise ReadOnlySession(f"{path}: {index.read_only}, and cannot tell where its text is")
    found = [finding for finding in index.findings if finding.severity != "info"]
    if found or index.header_body is None:
        what = f"{found[0].code} in line {found[0].line}" if found else "it has no header"
        raise CorruptLog(f"{path}: {what}; repair it first", findings=tuple(index.findings))


def _bodies(index: Index) -> Iterator[bytes]:
    """Yields the bodies of the header and of all records."""
    assert index.header_body is not None
    yield index.header_body
    for start in range(0, len(index.tree), _BATCH):
        yield from index.bodies(range(start, min(start + _BATCH, len(index.tree))))


def _redacted(body: bytes, redactor: Redactor, path: Path) -> bytes:
    try:
        return redact_body(body, redactor, places=True)
    except msgspec.DecodeError as error:
        raise CorruptLog(f"{path}: a line cannot be read ({error}); repair it first", findings=()) from None


def _free_name(path: Path, suffix: str) -> Path:
    names = (path.with_name(f"{path.name}.{suffix}{'' if n == 1 else f'-{n}'}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _beside(path: Path) -> tuple[str, ...]:
    names = sorted(each.name for each in path.parent.iterdir() if each.name.startswith(f"{path.name}."))
    return tuple(name for name in names if name.removeprefix(f"{path.name}.").partition("-")[0] in _SIDES)
