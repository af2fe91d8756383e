"""A log and what is known of it, kept in step.

The only place where lines are read into an index, and where a plan is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from convtree._engine import codec, snapshot
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.log import Chunk, Log, LogReplaced
from convtree._engine.log_index import Index
from convtree._engine.write_batch import Plan
from convtree._model.entries import Entry, Finding, Header, Mark
from convtree._model.errors import ConvtreeError, NotALog, ReadOnlySession, SessionFailed
from convtree._model.findings import CODES, FINDING_LIMIT, LOST

LOST_HEADER = Header(id="", seal="crc32")  # stands for a header that was damaged
RECENT = 64  # records by which a follower finds its place again after a repair
_TRIES = 8  # how often a log may be replaced under one call

# A snapshot is kept when the tail that the last one lacks is longer than this, and not much shorter than the rest:
# opening and closing per request costs nothing, and a long log is not copied for every few thousand entries.
_TAIL_ROWS, _TAIL_BYTES, _TAIL_PART = 4096, 4 * 2**20, 1 / 64


class PartlyWritten(Exception):
    """A write failed after some whole lines of it had reached the log, where they stay."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Ledger:
    """A log with its index. Not thread-safe: a session has a lock for that."""

    def __init__(self, log: Log, *, use_snapshot: bool = True, finding_limit: int = FINDING_LIMIT) -> None:
        self.log = log
        self._finding_limit = finding_limit
        self._own: set[int] = set()  # rows written here, as far as they lie behind news
        self._owes = False  # a loss was found that no snapshot knows of yet: before the log grows over it
        self._kept_end = 0  # as far as the snapshot beside the log covers it
        self.half_fed = False  # whether the index may hold a part of a line: then it is made anew
        self._rebuild(use_snapshot)
        self._told = len(self.index.tree)  # rows before it are no news

    def catch_up(self) -> None:
        """Takes in what is new in the log."""
        if self.half_fed:
            self._rebuild()
        try:
            self._take_in(self.log.read(self.index.end))
        except LogReplaced:
            self._rebuild()
        except SnapshotDamaged:
            self.rescan()

    def news(self) -> list[int]:
        """Returns the rows that were taken in since `no_news` and not written here; all after a replacement."""
        return [row for row in range(self._told, len(self.index.tree)) if row not in self._own]

    def no_news(self) -> None:
        """Says that what was taken in so far has been told."""
        self._told, self._own = len(self.index.tree), set()

    def last_records(self) -> list[str]:
        """Returns the ids of the last records that were taken in, first to last."""
        size = len(self.index.tree)
        return [record.id for record in self.index.good_records(range(max(0, size - RECENT), size))]

    def records_after(self, recent: Sequence[str], limit: int = 500) -> tuple[list[Entry | Mark], str | None]:
        """Reads what was taken in behind the last of these records that is still there, at most `limit`.

        Returns it, and the last record now read, if any was. Lines whose bodies are not what their type says are
        passed over: they are for `verify`. When none of the records is there any more, all are news.
        """
        rows = self.index.tree
        known = (rows.find(id) for id in reversed(recent))
        row = next((row for row in known if row is not None), -1)
        wanted = range(row + 1, min(row + 1 + limit, len(rows)))
        return self.index.good_records(wanted), self.index.id_of(wanted[-1]) if wanted else None

    def write(self, fill: Callable[[Plan], None], header: Header) -> Plan:
        """Has `fill` plan lines behind everything in the log, writes them, and takes them in.

        `fill` is called under the log's lock with everything taken in, and again when the log turns out to be another
        than it seemed; what it raises is raised, and nothing is written. A log without a line gets `header` first.

        Raises:
            PartlyWritten: the disk refused half-way.
            OSError: the disk refused; nothing was added, or the log is failed.
        """
        plan: Plan | None = None

        def build(news: Iterable[Chunk]) -> list[bytes]:
            nonlocal plan
            self._take_in(news)
            index = self.index
            if index.read_only is not None:
                self.check_writable()
            plan = Plan(index, new_id)
            if not index.lines:
                plan.begin(codec.encode_header(header))
            fill(plan)
            return plan.lines if plan.added else []

        if self._owes:
            self.keep_index(always=True)
        for _ in range(_TRIES):
            if self.half_fed:
                self._rebuild()
            try:
                chunk = self.log.append(self.index.end, build)
            except LogReplaced:
                self._rebuild()
            except SnapshotDamaged:
                self.rescan()
            except OSError as error:
                if plan is not None and not self.log.failed and self._reached(plan):
                    raise PartlyWritten(error) from error
                raise
            else:
                assert plan is not None
                if chunk.lines:
                    self._feed_own(plan, chunk)
                if self._owes:
                    self.keep_index(always=True)
                return plan
        raise self._restless()

    def check_writable(self) -> None:
        """Raises ReadOnlySession when the log holds something that forbids this version to write to it."""
        if self.index.read_only is not None:
            raise ReadOnlySession(f"{self.log.location}: this session is read-only: {self.index.read_only}")

    def _feed_own(self, plan: Plan, chunk: Chunk) -> None:
        start = len(self.index.tree)
        try:
            self.half_fed = True
            if self.index.lines:
                self.index.feed_own(plan.added, chunk.positions, chunk.lines, plan.crc)
            else:
                self.index.feed(*chunk)  # the header, too
            self.half_fed = False
        except SnapshotDamaged:
            self.rescan()
        end = start + len(plan.added)
        if start == self._told:
            self._told = end
        else:
            self._own.update(range(start, end))

    def _reached(self, plan: Plan) -> bool:
        """After a failed write and a clean cut: tells whether the log ends with lines of ours."""
        self.catch_up()
        return self.index.leaf.id in {record.id for record in plan.stored}

    def _take_in(self, chunks: Iterable[Chunk]) -> None:
        index = self.index
        if index.findings:
            index.forget_torn()
        for chunk in chunks:
            self._feed(chunk)
        if index.header is None and index.lines:
            if not index.claimed and (index.sealed_from is None or not len(index.tree)):
                raise NotALog(
                    f"{self.log.location}: not a convtree log; another tool's session comes in by `convtree import`"
                )
            self.index.read_only = "its header is damaged"

    def _feed(self, chunk: Chunk) -> None:
        self.half_fed = True  # feeding reads: an I/O error or a signal may leave a line taken in by half
        self.index.feed(*chunk)
        self.half_fed = False

    def rescan(self) -> None:
        """Reads the log from its first line, because a snapshot of it turned out to be damaged."""
        told, own = self._told, self._own
        self._rebuild(use_snapshot=False)
        self._told, self._own = told, own  # the same log has the same rows

    def _rebuild(self, use_snapshot: bool = True) -> None:
        """Reads the log as if for the first time."""
        for _ in range(_TRIES):
            self._told, self._own = 0, set()
            self.half_fed = True
            try:
                lost = self._begin(use_snapshot)
                self.half_fed = False
                self._take_in(self.log.read(self.index.end))
            except LogReplaced:
                self.half_fed = True  # what was read is of a log that is gone
            except SnapshotDamaged:
                use_snapshot = False
            else:
                if lost is not None:
                    self._report_lost(lost)
                return
        raise self._restless()

    def _begin(self, use_snapshot: bool) -> int | Finding | None:
        """Starts an index: what a snapshot has, or an empty one.

        Returns what is lost of the log as far as that is known from a snapshot and not in the index: a finding made
        before, or the size that the log once had.
        """
        self.index = Index(self.log.read_at, int.from_bytes(os.urandom(8)), self._finding_limit)
        self._kept_end = 0
        kept = self.log.snapshot()
        found = snapshot.load(*kept) if kept is not None else None
        if found is None or not found.is_of(self._read_log):
            return None
        facts = found.facts
        if found.covers(self._read_log):
            if use_snapshot:
                self._kept_end = facts.end
                self.index = found.index(self.log.read_at)
                return None
        elif not self._read_log(facts.end - 1, 1):
            return facts.end
        return next((finding for finding in facts.findings if finding.code == LOST), None)

    def _report_lost(self, lost: int | Finding) -> None:
        """Adds the finding that lines at the end of the log are gone, and sees to it that it is not forgotten."""
        index, known = self.index, isinstance(lost, Finding)
        if not isinstance(lost, Finding):
            length = lost - index.end
            lost = Finding(code=LOST, severity=CODES[LOST][0], line=index.lines + 1, offset=index.end, length=length)
        index.findings.insert(0, lost)
        if not known:
            self._owes = True
            self.keep_index(always=True)

    def keep_index(self, always: bool = False) -> None:
        """Has a snapshot of the index written beside the log, when that is worth it; it may be done without."""
        index = self.index
        tail = index.end - self._kept_end
        rows = len(index.tree) - index.tree.parents.covered
        worth = rows > max(_TAIL_ROWS, index.tree.parents.covered * _TAIL_PART) or tail > max(
            _TAIL_BYTES, self._kept_end * _TAIL_PART
        )
        whole = index.header_body is not None and index.sealed_from == 0 and not self.half_fed
        if (worth or always) and whole and not self.log.failed:
            with suppress(OSError, ConvtreeError, LogReplaced, SnapshotDamaged):
                self.log.keep_snapshot(index.end, snapshot.dump(index, self._read_log))
                self._owes = False

    def _read_log(self, offset: int, length: int) -> bytes:
        return self.log.read_at([(offset, length)])[0]

    def _restless(self) -> SessionFailed:
        return SessionFailed(f"{self.log.location}: the log is replaced faster than it can be read")


def new_id() -> str:
    """Returns an id of our own form: 16 random lower-case hex digits."""
    return os.urandom(8).hex()
