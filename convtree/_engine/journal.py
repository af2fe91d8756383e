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
from convtree._engine.write_batch import WriteBatch
from convtree._model.entries import Entry, Finding, Header, Mark
from convtree._model.errors import ConvtreeError, NotALog, ReadOnlySession, SessionFailed
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT, LOST
from convtree._model.sources import IdSource, random_id

LOST_HEADER = Header(id="", seal="crc32")  # stands for a header that was damaged
RECENT = 64  # records by which a follower finds its place again after a repair
_TRIES = 8  # how often a log may be replaced under one call

# A snapshot is kept when the tail that the last one lacks is longer than this, and not much shorter than the rest:
# opening and closing per request costs nothing, and a long log is not copied for every few thousand entries.
_TAIL_ROWS, _TAIL_BYTES, _TAIL_PART = 4096, 4 * 2**20, 1 / 64


class PartialWrite(Exception):
    """A write failed after some whole lines of it had reached the log, where they stay."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Journal:
    """A log with its index. Not thread-safe: a session has a lock for that."""

    def __init__(
        self,
        log: Log,
        *,
        use_snapshot: bool = True,
        finding_limit: int = FINDING_LIMIT,
        id_source: IdSource = random_id,
    ) -> None:
        self.log = log
        self._finding_limit = finding_limit
        self._id_source = id_source
        self._rows_written_here: set[int] = set()  # rows written here, as far as they lie behind news
        self._unsaved_loss = False  # a loss was found that no snapshot knows of yet: before the log grows over it
        self._snapshot_end = 0  # as far as the snapshot beside the log covers it
        self.index_is_partial = False  # whether the index may hold a part of a line: then it is made anew
        self._rebuild(use_snapshot)
        self._seen_rows = len(self.index.tree)  # rows before it are no news

    def refresh(self) -> None:
        """Takes in what is new in the log."""
        if self.index_is_partial:
            self._rebuild()
        try:
            self._scan_chunks(self.log.read(self.index.end))
        except LogReplaced:
            self._rebuild()
        except SnapshotDamaged:
            self.rescan()

    def news(self) -> list[int]:
        """Returns the rows that were taken in since `mark_seen` and not written here; all after a replacement."""
        return [row for row in range(self._seen_rows, len(self.index.tree)) if row not in self._rows_written_here]

    def mark_seen(self) -> None:
        """Says that what was taken in so far has been told."""
        self._seen_rows, self._rows_written_here = len(self.index.tree), set()

    def last_records(self) -> list[str]:
        """Returns the ids of the last records that were taken in, first to last."""
        size = len(self.index.tree)
        return [record.id for record in self.index.readable_records(range(max(0, size - RECENT), size))]

    def records_after(self, recent: Sequence[str], limit: int = 500) -> tuple[list[Entry | Mark], str | None]:
        """Reads what was taken in behind the last of these records that is still there, at most `limit`.

        Returns it, and the last record now read, if any was. Lines whose bodies are not what their type says are
        passed over: they are for `verify`. When none of the records is there any more, all are news.
        """
        rows = self.index.tree
        known = (rows.find(id) for id in reversed(recent))
        row = next((row for row in known if row is not None), -1)
        wanted = range(row + 1, min(row + 1 + limit, len(rows)))
        return self.index.readable_records(wanted), self.index.id_of(wanted[-1]) if wanted else None

    def write(self, fill: Callable[[WriteBatch], None], header: Header) -> WriteBatch:
        """Has `fill` plan lines behind everything in the log, writes them, and takes them in.

        `fill` is called under the log's lock with everything taken in, and again when the log turns out to be another
        than it seemed; what it raises is raised, and nothing is written. A log without a line gets `header` first.

        Raises:
            PartlyWritten: the disk refused half-way.
            OSError: the disk refused; nothing was added, or the log is failed.
        """
        plan: WriteBatch | None = None

        def build(news: Iterable[Chunk]) -> list[bytes]:
            nonlocal plan
            self._scan_chunks(news)
            index = self.index
            if index.read_only is not None:
                self.check_writable()
            plan = WriteBatch(index, self._id_source)
            if not index.lines:
                plan.begin(codec.encode_header(header))
            fill(plan)
            return plan.lines if plan.added else []

        if self._unsaved_loss:
            self.save_snapshot(always=True)
        for _ in range(_TRIES):
            if self.index_is_partial:
                self._rebuild()
            try:
                chunk = self.log.append(self.index.end, build)
            except LogReplaced:
                self._rebuild()
            except SnapshotDamaged:
                self.rescan()
            except OSError as error:
                if plan is not None and not self.log.failed and self._reached(plan):
                    raise PartialWrite(error) from error
                raise
            else:
                assert plan is not None
                if chunk.lines:
                    self._add_written(plan, chunk)
                if self._unsaved_loss:
                    self.save_snapshot(always=True)
                return plan
        raise self._replaced_too_often()

    def check_writable(self) -> None:
        """Raises ReadOnlySession when the log holds something that forbids this version to write to it."""
        if self.index.read_only is not None:
            raise ReadOnlySession(f"{self.log.location}: this session is read-only: {self.index.read_only}")

    def _add_written(self, plan: WriteBatch, chunk: Chunk) -> None:
        start = len(self.index.tree)
        try:
            self.index_is_partial = True
            if self.index.lines:
                self.index.add_written(plan.added, chunk.positions, chunk.lines, plan.crc)
            else:
                self.index.scan(*chunk)  # the header, too
            self.index_is_partial = False
        except SnapshotDamaged:
            self.rescan()
        end = start + len(plan.added)
        if start == self._seen_rows:
            self._seen_rows = end
        else:
            self._rows_written_here.update(range(start, end))

    def _reached(self, plan: WriteBatch) -> bool:
        """After a failed write and a clean cut: tells whether the log ends with lines of ours."""
        self.refresh()
        return self.index.leaf.id in {record.id for record in plan.stored}

    def _scan_chunks(self, chunks: Iterable[Chunk]) -> None:
        index = self.index
        if index.findings:
            index.forget_torn()
        for chunk in chunks:
            self._scan(chunk)
        if index.header is None and index.lines:
            if not index.header_is_damaged and (index.sealed_from is None or not len(index.tree)):
                raise NotALog(
                    f"{self.log.location}: not a convtree log; another tool's session comes in by `convtree import`"
                )
            self.index.read_only = "its header is damaged"

    def _scan(self, chunk: Chunk) -> None:
        self.index_is_partial = True  # feeding reads: an I/O error or a signal may leave a line taken in by half
        self.index.scan(*chunk)
        self.index_is_partial = False

    def rescan(self) -> None:
        """Reads the log from its first line, because a snapshot of it turned out to be damaged."""
        reported_once, own = self._seen_rows, self._rows_written_here
        self._rebuild(use_snapshot=False)
        self._seen_rows, self._rows_written_here = reported_once, own  # the same log has the same rows

    def _rebuild(self, use_snapshot: bool = True) -> None:
        """Reads the log as if for the first time."""
        for _ in range(_TRIES):
            self._seen_rows, self._rows_written_here = 0, set()
            self.index_is_partial = True
            try:
                lost = self._begin(use_snapshot)
                self.index_is_partial = False
                self._scan_chunks(self.log.read(self.index.end))
            except LogReplaced:
                self.index_is_partial = True  # what was read is of a log that is gone
            except SnapshotDamaged:
                use_snapshot = False
            else:
                if lost is not None:
                    self._report_lost(lost)
                return
        raise self._replaced_too_often()

    def _begin(self, use_snapshot: bool) -> int | Finding | None:
        """Starts an index: what a snapshot has, or an empty one.

        Returns what is lost of the log as far as that is known from a snapshot and not in the index: a finding made
        before, or the size that the log once had.
        """
        self.index = Index(self.log.read_at, int.from_bytes(os.urandom(8)), self._finding_limit)
        self._snapshot_end = 0
        kept = self.log.snapshot()
        found = snapshot.load(*kept) if kept is not None else None
        if found is None or not found.is_of(self._read_log):
            return None
        facts = found.facts
        if found.covers(self._read_log):
            if use_snapshot:
                self._snapshot_end = facts.end
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
            lost = Finding(
                code=LOST, severity=FINDING_CODES[LOST][0], line=index.lines + 1, offset=index.end, length=length
            )
        index.findings.insert(0, lost)
        if not known:
            self._unsaved_loss = True
            self.save_snapshot(always=True)

    def save_snapshot(self, always: bool = False) -> None:
        """Has a snapshot of the index written beside the log, when that is worth it; it may be done without."""
        index = self.index
        tail = index.end - self._snapshot_end
        rows = len(index.tree) - index.tree.parents.persisted
        worth = rows > max(_TAIL_ROWS, index.tree.parents.persisted * _TAIL_PART) or tail > max(
            _TAIL_BYTES, self._snapshot_end * _TAIL_PART
        )
        whole = index.header_payload is not None and index.sealed_from == 0 and not self.index_is_partial
        if (worth or always) and whole and not self.log.failed:
            with suppress(OSError, ConvtreeError, LogReplaced, SnapshotDamaged):
                self.log.save_snapshot(index.end, snapshot.dump(index, self._read_log))
                self._unsaved_loss = False

    def _read_log(self, offset: int, length: int) -> bytes:
        return self.log.read_at([(offset, length)])[0]

    def _replaced_too_often(self) -> SessionFailed:
        return SessionFailed(f"{self.log.location}: the log is replaced faster than it can be read")
