"""A log without its secrets: a copy beside it, or one that takes its place.

Every line keeps its id, parent and time; a line in which nothing is found keeps its very bytes; all are sealed anew,
for a seal vouches for what a line says now. A damaged log is refused: what cannot be read cannot be redacted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from convtree.errors import CorruptLog, ReadOnlySession
from convtree.index import Index
from convtree.ledger import Ledger
from convtree.logs.jsonl import JsonlLog, Mode, replace, write_new
from convtree.redaction import Redactor, redact_body
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
        return redact_body(body, redactor)
    except msgspec.DecodeError as error:
        raise CorruptLog(f"{path}: a line cannot be read ({error}); repair it first", findings=()) from None


def _free_name(path: Path, suffix: str) -> Path:
    names = (path.with_name(f"{path.name}.{suffix}{'' if n == 1 else f'-{n}'}") for n in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _beside(path: Path) -> tuple[str, ...]:
    names = sorted(each.name for each in path.parent.iterdir() if each.name.startswith(f"{path.name}."))
    return tuple(name for name in names if name.removeprefix(f"{path.name}.").partition("-")[0] in _SIDES)
