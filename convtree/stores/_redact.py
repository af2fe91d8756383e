"""Redaction of a session in a store: its lines without secrets, in place of those that it has.

As for a vacuum, all happens under the lock that an append needs.
"""

from __future__ import annotations

import msgspec

from convtree._engine.log import Log
from convtree._engine.redact import Redactor
from convtree._engine.write_batch import reseal
from convtree._model.arguments import checked_methods
from convtree._session.redacting import SecretFound, check_same_tree, check_sound, payloads, redacted, search
from convtree._session.vacuuming import Held
from convtree.stores._vacuum import VacuumingStore, index_of_lines, whole_index


class Redacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a redaction replaced, or would replace.

    Attributes:
        id: the session.
        done: whether the log was replaced; False after a dry run, and if nothing was found.
        kinds: how many secrets of each kind were found.
        lines: how many lines have some.
        places: where each is; empty unless the redactor explains.
        original: where the log was kept as it was; None if it was not replaced, was removed, or is in a database.
        complete: files and tables that hold none of the secrets any more, as in `convtree.Erased`.
        pending: files that may still hold some until a reader has finished.
        copies: what may still hold a copy: ids of forks and of copied logs, and files next to the log.
    """

    id: str
    done: bool
    kinds: dict[str, int]
    lines: int
    places: tuple[SecretFound, ...] = ()
    original: str | None = None
    complete: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


class RedactedLog:
    """The log that a redaction makes of another one: `build` is called with that, and returns the lines."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._used = redactor  # of the last call of `build`: a database may call it again
        self._lines = 0
        self._places: tuple[SecretFound, ...] = ()

    def build(self, log: Log, held: Held, *, heals: bool = False) -> list[bytes] | None:
        """Returns the lines of the new log; None if there is nothing to replace.

        The new log was read and compared with the old one.

        Raises:
            As `check_sound` and `check_same_tree`.
        """
        del held
        old = whole_index(log, heals=heals)
        check_sound(old, log.location, takes_torn=True)
        self._used = self._redactor.again(explain=self._redactor.places is not None)
        self._lines, self._places = search(payloads(old), self._used, log.location)
        if not self._lines:
            return None
        uncounting = self._redactor.again()
        bodies = (redacted(each, uncounting, log.location) for each in payloads(old))
        lines = list(reseal(next(bodies), bodies))
        check_same_tree(old, index_of_lines(lines), log.location)
        return lines

    def result(self, id: str, *, done: bool) -> Redacted:
        """Returns what the last `build` found, and adds it to the counts of the redactor."""
        self._redactor.counts.update(self._used.counts)
        if self._redactor.places is not None:
            self._redactor.places += self._used.places or ()
        kinds = dict(sorted(self._used.counts.items()))
        return Redacted(id=id, done=done and self._lines > 0, kinds=kinds, lines=self._lines, places=self._places)


@checked_methods
class RedactingStore(VacuumingStore):
    """The part of a store that replaces secrets in what is stored."""

    def redact_session(
        self, id: str, *, redactor: Redactor | None = None, dry_run: bool = True, remove_original: bool = False
    ) -> Redacted:
        """Replaces the secrets of a session by `[REDACTED:kind]`, in its header, entries and marks.

        Every record keeps its id, parent and time, and one without secrets keeps its bytes. All lines get new
        checksums. The new log is read and compared with the old one first; a crash leaves the one or the other. What
        lists and searches know follows. Directories, owner and key of the session are redacted as well.

        In a folder, the log as it was is kept as `<id>.jsonl.original`; in a database, the lines are replaced in one
        transaction, and nothing is kept. Forks and copies are not changed: `Redacted.copies` names them. A retry of an
        append that had a secret is a conflict afterwards, unless the store redacts what it writes.

        Args:
            id: the session.
            redactor: finds and replaces secrets; `Redactor()` by default.
            dry_run: only says what would be replaced.
            remove_original: in a folder, deletes the log as it was, once the new one is in its place.

        Raises:
            SessionNotFound: there is no session with this id.
            CorruptLog, ReadOnlySession: it is damaged, or was written by a newer version; nothing was changed.
            InvalidMessage: this handle is one owner's, and the owner's name is a secret.
            SessionLocked: another writer holds the lock.
            NotImplementedError: the store is one of another package, and cannot replace the lines of a session.
        """
        plan = RedactedLog(Redactor() if redactor is None else redactor)
        left = self._rewritten(id, plan.build, dry_run=dry_run, remove_original=remove_original)
        done = plan.result(id, done=not dry_run)
        return msgspec.structs.replace(done, **left) if done.done else done
