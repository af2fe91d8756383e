"""Verify and repair of the sessions of a store, wherever they are.

The log of a session is checked as a file is. In a database, so are the tables beside it, which follow from it.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from convtree._catalogue.types import Filter, Progress, RowFinding
from convtree._engine.log import Log, LogReplaced
from convtree._logs.atomic_file import create_atomically
from convtree._logs.directories import path_of
from convtree._model.arguments import checked_methods
from convtree._model.entries import Finding
from convtree._model.errors import ConvtreeError, NotALog, SessionFailed, SessionNotFound
from convtree._model.findings import FINDING_CODES, LOST
from convtree._model.interrupts import Unlocking
from convtree._session import checking
from convtree._session.checking import Report
from convtree._session.repairing import Repair, RepairPlan, plan_repair
from convtree.stores._arguments import check_session_id
from convtree.stores._edit_data import DataEditingStore
from convtree.stores._reading_logs import first_serious_code

#: lines are damaged or gone: what follows from them is compared once they are repaired
_LINES_DAMAGED = frozenset({LOST, "line_too_long", "bad_seal", "bad_line", "nul_bytes", "bad_header", "second_header"})
_TRIES = 8  # how often a log may be replaced while it is read
_Words = dict[str | None, list[RowFinding]]


@checked_methods
class CheckingStore(DataEditingStore):
    """The part of a store that finds damage and repairs it."""

    def verify(
        self, ids: str | Iterable[str] | None = None, *, progress: Progress | None = None
    ) -> builtins.list[Report]:
        """Checks sessions to the last byte, and the tables beside them; `ids` of None: everything in the store.

        Takes no lock of a session and changes nothing. Returns a report for each session, in the order given or by id;
        its `path` is the id. Of the whole store, there is also one for each id that has rows and no session, and one
        with the location of the store as its `path` if the index of words has words of no line.

        Tables are compared with sound lines: where lines are damaged or missing, the log has findings about it, and a
        repair writes the tables anew. `findings` has afterwards what was found.

        Args:
            ids: the sessions, or one.
            progress: called with (done, of) after each session.

        Raises:
            SessionNotFound: there is no session with one of these ids.
        """
        return [report for report, _ in self._verify(ids, progress)]

    def _verify(
        self, ids: str | Iterable[str] | None, progress: Progress | None = None
    ) -> Iterator[tuple[Report, bool]]:
        """Yields reports, and whether each is about a session. Keeps for `findings` what was found."""
        strays: dict[str, list[RowFinding]] = self._ask("stray_rows", {})
        words: _Words = {} if ids is not None else self._ask("wrong_words", {})
        wanted = self._all_ids() if ids is None else _ids_of(ids)
        for number, id in enumerate(wanted, 1):
            with suppress(*((SessionNotFound,) if ids is None or id in strays else ())):  # deleted meanwhile
                yield self._noted(self._checked(id, words.get(id, []))), True
            if progress is not None:
                progress(number, len(wanted))
        for id, rows in sorted(strays.items()):
            if ids is None or id in wanted:
                yield self._noted(_report_of(id, rows)), False
        if rows := words.get(None, []):
            yield _report_of(self.location, rows), False

    def _all_ids(self) -> builtins.list[str]:
        """Returns the ids of all sessions, unreadable ones included."""
        listed = {each.info.id for each in self._listed(Filter(tasks=True))}
        found = self._query(lambda catalogue: catalogue.findings())
        return sorted(listed | {each.id for each in found if each.id is not None and each.code != "missing_row"})

    def _checked(self, id: str, words: Sequence[RowFinding]) -> Report:
        """Checks a session, and its rows if its lines are sound. One that cannot be read is reported as well.

        Raises:
            SessionNotFound: there is no such session.
        """
        try:
            report = self._check_log(id)
            codes = {finding.code for finding in report.findings}
            if codes & _LINES_DAMAGED:
                return report
            rows: list[RowFinding] = self._ask("wrong_rows", [], id)
        except SessionNotFound:
            raise
        except (ConvtreeError, OSError) as error:
            code = "not_a_log" if isinstance(error, NotALog) else "unreadable"
            finding = Finding(code=code, severity=FINDING_CODES[code][0], line=0, offset=0, length=0)
            return Report(path=id, size_bytes=0, entries=0, marks=0, findings=(finding,), error=str(error))
        if codes & {"wrong_size", "wrong_end"}:  # these say the same
            rows = [row for row in rows if row.column not in ("size", "last_crc")]
        return msgspec.structs.replace(report, rows=(*rows, *words))

    def _check_log(self, id: str) -> Report:
        for _ in range(_TRIES):
            log = self._log(id, "r")
            with suppress(LogReplaced):  # while its records were read
                try:
                    return checking.check_log(log, id)
                finally:
                    log.close()
        raise SessionFailed(f"{self.location}: {id!r} is replaced faster than it can be read")

    def _noted(self, report: Report) -> Report:
        code = first_serious_code(report.findings) or next((row.code for row in report.rows), None)
        self._ask("note", None, report.path, code)
        return report

    def _ask(self, question: str, default: Any, *arguments: Any) -> Any:
        """Asks a backend that keeps tables beside its logs; returns `default` of others."""
        method: Callable[..., Any] | None = getattr(self._backend, question, None)
        with Unlocking(self._lock), self._lock:
            self._check_open()
            return default if method is None else method(*arguments)

    def repair(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        dry_run: bool = True,
        rejoin: bool = False,
        originals: str | os.PathLike[str] | None = None,
    ) -> builtins.list[Repair]:
        """Rebuilds damaged sessions from their good lines, and the tables beside them. With `dry_run`, only plans it.

        `ids` of None: all that need it. What is kept, removed and rejoined is decided as `convtree.repair.repair`
        decides it for a file. Each session is repaired under the lock that an append needs, and in a database in one
        transaction. Sessions that are open go on with the new log.

        A folder keeps a log as it was as `<id>.jsonl.original`. Elsewhere the lines are replaced. So if lines are to be
        removed, `originals` is needed: a folder, to which the log is written as it was, as `<id>.jsonl`. If only the
        tables are wrong, no line changes. Rows of a session that has no row get one; other rows of no session are
        deleted.

        Args:
            ids: the sessions, or one.
            dry_run: whether to change nothing.
            rejoin: whether to keep the places of damaged entries, as for `convtree.repair.repair`.
            originals: a folder for the logs as they were.

        Returns:
            What was done, or would be, for each session that was named or needs it. One that cannot be repaired has the
            reason as its `error`, and does not keep the others from it.

        Raises:
            SessionNotFound: there is no session with one of these ids.
            NotImplementedError: the store is one of another package, and cannot replace the lines of a session.
        """
        self._rewrite()  # raises if the store has none
        folder = None if originals is None else path_of("originals", originals)
        words: _Words = self._ask("wrong_words", {})
        reports = list(self._verify(ids))
        rows = [row for report, _ in reports for row in report.rows] + [row for some in words.values() for row in some]
        if not dry_run and any(row.code == "wrong_index" or _is_of_words(row) for row in rows):
            self._ask("rebuild_words", None)  # before rows are removed: they are removed from the index, too
        done = []
        for report, is_session in reports:
            if report.path == self.location and not is_session:
                done.append(_repair_of(report.path, report.rows, done=not dry_run))
                continue
            work = _Repairing(report, words.get(report.path, []), rejoin, folder, self._backend)
            if ids is not None or work.is_needed:
                done.append(self._repaired(work, dry_run, is_session))
        return done

    def _repaired(self, work: _Repairing, dry_run: bool, is_session: bool) -> Repair:
        id = work.id
        try:
            if not is_session:
                if dry_run:
                    return work.repair(done=False)
                self._ask("restore_session", None, id)
                if all(row.code == "extra_row" for row in work.rows):
                    self._ask("note", None, id, None)
                    return work.repair(done=True)
            if dry_run:
                return work.planned(self._log(id, "r"))
            with Unlocking(self._lock), self._lock:
                self._check_open()
                replaced = self._rewrite()(id, work.build, False)
            done = work.result(replaced.original)
            self._noted(self._checked(id, []))
            return done
        except (ConvtreeError, OSError) as error:
            return work.repair(done=False, error=str(error))


class _Repairing:
    """The log that a repair makes of another one: `build` is called with that, and returns the lines."""

    def __init__(
        self, report: Report, words: Sequence[RowFinding], rejoin: bool, folder: Path | None, backend: Any
    ) -> None:
        self.id = report.path
        self.rows = (*report.rows, *(row for row in words if row not in report.rows))
        self.is_needed = bool(self.rows or [each for each in report.findings if each.severity != "info"])
        self._rejoin = rejoin
        self._original = None if folder is None else folder / f"{self.id}.jsonl"
        self._is_kept = bool(getattr(backend, "keeps_original", False))
        self._was_written = False
        self._repair = self.repair(done=False)

    def repair(self, *, done: bool, error: str | None = None) -> Repair:
        """Returns what was done with the tables only, or why nothing was."""
        return _repair_of(self.id, self.rows, done=done, error=error)

    def planned(self, log: Log) -> Repair:
        """Returns what would be done, and closes the log."""
        try:
            self._plan(log)
            return self._repair
        finally:
            log.close()

    def _plan(self, log: Log) -> RepairPlan:
        plan = plan_repair(log, self.id, rejoin=self._rejoin)
        needed = plan.repair.needed or bool(self.rows)
        self._repair = msgspec.structs.replace(plan.repair, needed=needed, rows=self.rows)
        return plan

    def build(self, log: Log, held: Any, *, heals: bool = False) -> list[bytes] | None:
        """Returns the lines of the new log; None if there is nothing to repair."""
        del held, heals
        plan = self._plan(log)
        if not self._repair.needed:
            return None
        if self._repair.removed and self._original is None and not self._is_kept:
            raise ConvtreeError(
                f"{log.location}: lines would be removed, and this store keeps no copy of them; pass originals=FOLDER "
                "(or --originals FOLDER), and the log is written there as it is now"
            )
        if self._original is not None:
            self._original.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._was_written:  # and the transaction was rolled back
                self._original.unlink()
            create_atomically(self._original, (line for chunk in log.read() for line in chunk.lines))
            self._was_written = True
        if plan.repair.needed:
            return list(plan.lines(self.id))
        return [line for chunk in log.read() for line in chunk.lines]

    def result(self, original: str | None) -> Repair:
        """Returns what was done."""
        if original is None and self._was_written:
            original = str(self._original)
        return msgspec.structs.replace(self._repair, done=self._repair.needed, original=original)


def _ids_of(ids: str | Iterable[str]) -> list[str]:
    found = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
    for id in found:
        check_session_id(id)
    return found


def _is_of_words(row: RowFinding) -> bool:
    return row.table == "ct_lines" and row.column in ("words", None)


def _report_of(path: str, rows: Sequence[RowFinding]) -> Report:
    """Returns a report about rows only."""
    return Report(path=path, size_bytes=0, entries=0, marks=0, findings=(), rows=tuple(rows))


def _repair_of(path: str, rows: tuple[RowFinding, ...], *, done: bool, error: str | None = None) -> Repair:
    """Returns what was done with rows only, or why nothing was."""
    return Repair(path=path, needed=True, kept=0, removed=(), remaining=(), rows=rows, done=done, error=error)
