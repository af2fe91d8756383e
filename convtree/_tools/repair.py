"""Checks a log in a file to the last byte, and rebuilds a damaged one.

`verify` decodes every record and changes nothing. `repair` does not change the damaged file either: it writes a new
one from the lines whose checksums hold, their payloads byte for byte, renames it into place and keeps the old one.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import orjson

from convtree._engine.log import Mode
from convtree._logs.atomic_file import create_atomically, free_name, replace_atomically
from convtree._logs.directories import path_of
from convtree._logs.jsonl import JsonlLog
from convtree._model.arguments import checked
from convtree._model.entries import Entry, Finding
from convtree._model.errors import BrokenPath, EntryNotFound
from convtree._session.checking import Progress, Report, check_log
from convtree._session.repairing import Repair, plan_repair
from convtree._session.session import Session


@checked
def verify(path: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
    """Checks a log to the last byte: lines, checksums, tree, and every record against its type.

    Takes no lock and changes nothing.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
    """
    log = JsonlLog(path, mode="r")
    try:
        return check_log(log, str(path), os.stat(path).st_size, progress)
    finally:
        log.close()


@checked
def repair(
    path: str | os.PathLike[str],
    *,
    dry_run: bool = True,
    rejoin: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
    progress: Progress | None = None,
) -> Repair:
    """Rebuilds a damaged log from its good lines. With `dry_run`, only says what it would do.

    The new log has the lines whose checksums hold, their payloads byte for byte, with new checksums. The log as it
    was is kept as `<log>.original`; removed lines are written to `<log>.quarantine` with their offsets. Entries whose
    parent is missing stay, and stay findings. A crash leaves the old log or the new one, and a second repair changes
    nothing.

    With `rejoin`, a damaged entry keeps its place in the tree where its id and parent can be read and are certain: a
    lost entry stands there, and its children are no orphans. `path` raises `BrokenPath` at it, and `build_context` does
    unless gaps are allowed. `extend` takes the true entry back, from a copy of the log for example. A record of which
    only the seal was damaged is kept as it is.

    The id is certain if no good line has it and an entry further down names it as its parent. The parent is certain if
    it is null or an entry further up, and no other entry further up has an id that is one edited character away; if one
    has, the checksum of the damaged line must rule it out.

    Args:
        path: the log.
        dry_run: whether to change nothing.
        rejoin: whether to keep the places of damaged entries.
        lock_timeout_s: how long to wait for other writers.
        allow_network: repair a log on a network file system too; then there must be no writer on another machine.
        progress: called with the bytes done so far, and those of the log.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
        CorruptLog: the log has more damage than one repair can handle.
        ReadOnlySession: the log was written by a newer version.
        SessionLocked: another writer has the lock.
    """
    path = path_of("path", path)
    mode: Mode = "r" if dry_run else "r+"
    log = JsonlLog(path, mode=mode, lock_timeout_s=lock_timeout_s, exclusive=not dry_run, allow_network=allow_network)
    try:
        plan = plan_repair(log, str(path), rejoin=rejoin, size=os.stat(path).st_size, progress=progress)
        done = plan.repair
        if dry_run or not done.needed:
            return done
        quarantine = _quarantine(path, log, done.removed) if done.removed else None
        original = replace_atomically(path, plan.lines(path.stem))
        return msgspec.structs.replace(done, done=True, original=str(original), quarantine=quarantine)
    finally:
        log.close()


def found_in(copy: str | os.PathLike[str], ids: Iterable[str]) -> list[Entry]:
    """Returns those of some entries that a copy of the log has, whole."""
    found: list[Entry] = []
    with Session.open(copy, mode="r") as source:
        for id in ids:
            try:
                found.append(source.entry(id))
            except (EntryNotFound, BrokenPath):
                continue
    return found


def lost_ids(findings: Iterable[Finding]) -> list[str]:
    """Returns the ids of the lost entries of a log."""
    return [each.entry_id for each in findings if each.code == "lost_entry" and each.entry_id is not None]


def put_back(path: str | os.PathLike[str], copy: str | os.PathLike[str], **options: Any) -> tuple[Repair, list[str]]:
    """Repairs a log with `rejoin` and puts its lost entries back from an intact copy. Returns their ids, too.

    A lost entry knows its parent and usually the checksum of the true one: what differs from them is refused. What is
    lost or damaged in the copy as well stays lost. Takes the options of `repair` but `dry_run` and `rejoin`.

    Raises:
        IdConflict: an entry in the copy is not the one that was lost.
        As `repair`.
    """
    first = repair(path, dry_run=False, rejoin=True, **options)
    found = found_in(copy, lost_ids(first.remaining))
    if not found:
        return first, []
    with Session.open(path, mode="r+", allow_network=options.get("allow_network", False)) as session:
        session.extend(found, move_leaf=False)
    last = repair(path, dry_run=False, rejoin=True, **options)  # moves them to their places
    return last, [entry.id for entry in found]


def _quarantine(path: Path, log: JsonlLog, removed: tuple[Finding, ...]) -> str:
    """Writes removed lines to `<log>.quarantine` as JSON: offset, length, code, bytes. Returns its path."""

    def lines() -> Iterator[bytes]:
        for finding in removed:
            for offset, data in log.read_bytes(finding.offset, finding.length):
                piece = {"offset": offset, "length": len(data), "code": finding.code}
                yield orjson.dumps(piece | {"base64": base64.b64encode(data).decode()})

    name = free_name(path, "quarantine", lambda name: _has_lines(name, lines()))
    if not os.path.lexists(name):
        create_atomically(name, lines(), allow_network=True, owner=os.stat(path))
    return str(name)


def _has_lines(path: Path, lines: Iterator[bytes]) -> bool:
    """Returns whether a file has exactly these lines: it was left by a repair that was interrupted."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        file = path.open("rb")
    except OSError:
        return False  # of another user
    with file:
        return all(there == line + b"\n" for there, line in zip_longest(file, lines, fillvalue=b""))
