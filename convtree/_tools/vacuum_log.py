"""Vacuum of a single log in a file: dropping what lies before its last compaction, and its other branches."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from convtree._engine.log import Mode
from convtree._logs.directories import path_of
from convtree._logs.jsonl import JsonlLog
from convtree._model.arguments import checked
from convtree._model.entries import Entry
from convtree._model.interrupts import ending
from convtree._tools.redact_log import copies_in_folder
from convtree.stores._folder import CATALOGUE, LEDGER, FolderBackend, rewrite_log
from convtree.stores._look import SUFFIX
from convtree.stores._session_store import SessionStore
from convtree.stores._vacuum import Vacuumed, VacuumedLog


@checked
def vacuum(
    path: str | os.PathLike[str],
    keep: Iterable[str | Entry] | None = None,
    *,
    dry_run: bool = True,
    remove_original: bool = False,
    lock_timeout_s: float = 10.0,
    allow_network: bool = False,
) -> Vacuumed:
    """Drops the other branches of a log, and what lies before the last compaction of the branches that stay.

    Does what `SessionStore.vacuum` does; a log in the folder of a store is vacuumed as a session of that. With
    `dry_run`, only says what it would do. The new log is read and compared with the old one before it is put in its
    place. A crash leaves the old log or the new one.

    Args:
        path: the log.
        keep: the entries whose contexts stay, ids or entries; None: the leaf.
        dry_run: whether to change nothing.
        remove_original: whether to delete the log as it was, once it was replaced. Else it is kept as `<log>.original`.
        lock_timeout_s: how long to wait for other writers.
        allow_network: write on a network file system too; then there must be no writer on another machine.

    Raises:
        SessionNotFound, NotALog: there is no log at this path.
        SessionLocked: another writer has the lock.
        As `SessionStore.vacuum`.
    """
    path = path_of("path", path)
    if path.suffix == SUFFIX and any((path.parent / name).exists() for name in (CATALOGUE, LEDGER)):
        backend = FolderBackend(path.parent, lock_timeout_s=lock_timeout_s, allow_network=allow_network, create=False)
        with SessionStore(backend) as store:
            return store.vacuum(path.stem, keep, dry_run=dry_run, remove_original=remove_original)
    plan = VacuumedLog(keep)
    mode: Mode = "r" if dry_run else "r+"
    log = JsonlLog(path, mode=mode, lock_timeout_s=lock_timeout_s, allow_network=allow_network)
    if dry_run:
        ending(lambda: plan.build(log, lambda _: set()), log.close)
        return plan.result(path.stem, done=False)

    def build(log: JsonlLog) -> list[bytes] | None:
        log.lock()
        return plan.build(log, lambda _: set(), heals=True)

    replaced = rewrite_log(log, build, remove_original)
    done = plan.result(path.stem, done=True)
    if not done.done:
        return done
    return msgspec.structs.replace(
        done,
        original=replaced.original,
        complete=tuple(replaced.complete),
        copies=(*copies_in_folder(path), *replaced.beside),
    )
