"""The journal: a log and its index, kept in step. The only place where lines enter an index and intents a log.

It does no I/O of its own, it calls the log. Disk before memory: a line is indexed when the log has it. Whenever the
two might disagree (a signal in the middle of a scan, another log in the same place, a damaged snapshot), the
index is thrown away and rebuilt from the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import accumulate

from convtree._engine import codec, save_points
from convtree._engine.columns import SnapshotDamaged
from convtree._engine.fast_append import Run
from convtree._engine.index_state import Leaf
from convtree._engine.intents import Intent
from convtree._engine.log import Addition, AppendAt, Chunk, Log, LogReplaced
from convtree._engine.log_index import Index
from convtree._engine.write_batch import WriteBatch
from convtree._model.entries import Finding, Header
from convtree._model.errors import ConvtreeError, NotALog, ReadOnlySession, SessionFailed
from convtree._model.findings import FINDING_CODES, FINDING_LIMIT, LOST
from convtree._model.interrupts import is_interrupt
from convtree._model.sources import Clock, IdSource, random_id, system_clock

LOST_HEADER = Header(id="", seal="crc32")  # stands for a header that was damaged
TRIES = 8  # how often a log may be replaced during one call

_LONGEST_RUN = 256  # messages that the index may lack


class Journal:
    """A log with its index, and which of its rows the session has seen. Made by `Journal.open`.

    Not thread-safe: a session has a lock for that.
    """

    def __init__(
        self,
        log: Log,
        *,
        finding_limit: int = FINDING_LIMIT,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> None:
        self.log = log
        self._append_is_atomic = getattr(log, "append_is_atomic", True)
        self._append_at: AppendAt | None = getattr(log, "append_at", None)
        self._finding_limit = finding_limit
        self.clock = clock
        self.id_source = id_source
        self._seen_rows = 0  # rows before this one are seen
        self._rows_written_here: set[int] = set()  # rows behind it that this journal wrote: seen, too
        self._unsaved_loss = False  # a loss was found that no snapshot knows of: save one before the log grows over it
        self._leaf_before_tail: Leaf | None = None  # the leaf before a last line that lacks only its newline
        self._saved = 0, 0  # the rows that the snapshot covers, and the position up to which it does
        self._half_scanned = True  # a line may be indexed in part
        #: set before the log is asked for lines, and cleared when the index has them: an interrupt in between may have
        #: come when the log had noticed that it was replaced, or in the middle of a rebuild
        self._unfinished = True
        self.times_replaced = 0  # how often the log was found to be another one, with other rows
        self._index: Index  # from `open` on
        #: plain messages behind the last line that the index has; None when anything else is going on
        self.run: Run | None = None

    @classmethod
    def open(
        cls,
        log: Log,
        *,
        use_snapshot: bool = True,
        finding_limit: int = FINDING_LIMIT,
        clock: Clock = system_clock,
        id_source: IdSource = random_id,
    ) -> Journal:
        """Reads a log into an index.

        Args:
            log: the log to read.
            use_snapshot: whether a snapshot of the index may stand for the lines that it covers.
            finding_limit: how many findings to keep.
            clock: where the times of what is written come from.
            id_source: where the ids of what is written come from.

        Raises:
            NotALog: the first line is not a header, and no line is sealed.
            OSError: the log cannot be read.
        """
        journal = cls(log, finding_limit=finding_limit, clock=clock, id_source=id_source)
        journal.rebuild(use_snapshot)
        journal.mark_seen()
        return journal

    @property
    def index(self) -> Index:
        """The index of every line that was read or written here. For one thread at a time."""
        run = self.run
        if run is not None and run.unsettled:
            self._settle()
        return self._index

    @property
    def scanned(self) -> Index:
        """The index, perhaps without the plain messages that were appended last; for any thread."""
        return self._index

    @property
    def index_is_partial(self) -> bool:
        """Whether the index may not be that of the log: it must be rebuilt before it is used."""
        return self._half_scanned or self._unfinished

    def refresh(self) -> None:
        """Brings the index up to date with the log."""
        if self.index_is_partial:
            self._rebuild_interrupted()
        self._end_run()
        try:
            self._scan_chunks(self.log.read(self.index.state.end))
        except LogReplaced:
            self.read_replaced()
        except SnapshotDamaged:
            self.rescan()
        except BaseException as error:
            self._unfinished = is_interrupt(error)
            raise
        self._unfinished = False

    def unseen_rows(self) -> list[int]:
        """Returns the rows appended by other writers since the last `mark_seen()`. After a replacement, every row."""
        return [row for row in range(self._seen_rows, len(self.index.tree)) if row not in self._rows_written_here]

    def mark_seen(self) -> None:
        """Makes every row of the index a seen one."""
        self._seen_rows, self._rows_written_here = len(self.index.tree), set()

    def seen_revision(self) -> str | None:
        """Returns the id of the last record that is seen, as are all before it; None if there is none.

        Raises:
            BrokenPath: its line was damaged since the scan.
        """
        return self.index.last_record_id(self._seen_rows)

    def write(self, intent: Intent, header: Callable[[], Header]) -> WriteBatch:
        """Plans an intent under the log's lock, writes its lines, and adds them to the index.

        A log without a line gets what `header` returns first. If planning raises, no byte changes.

        Raises:
            OSError: the write failed; no line was added, or the log is failed.
            ReadOnlySession: the log holds something that forbids this version to write to it.
            As `intent.plan`.
        """
        batch: WriteBatch | None = None
        scanning = False

        def build(news: Iterable[Chunk]) -> Addition:
            nonlocal batch, scanning
            if scanning:
                self._rebuild_interrupted()  # the log lost its connection while an earlier call scanned
            scanning = True
            self._scan_chunks(chunk.behind(self.index.state.end) for chunk in news)
            scanning = False
            index = self.index
            if index.state.read_only is not None:
                self.check_writable()
            batch = WriteBatch(index, self.log.location, self.clock, self.id_source, self._leaf_before_tail)
            if not index.state.lines:
                batch.begin(codec.encode_header(header()))
            intent.plan(batch)
            return Addition(batch.seal(self._append_is_atomic), index.state.end)

        if self._unsaved_loss:
            self._save()
        for _ in range(TRIES):
            if self._half_scanned or self._unfinished:
                self._rebuild_interrupted()
            self._end_run()
            scanning = False
            try:
                if (done := self._try_write(intent)) is not None:
                    batch, chunk = done
                else:
                    chunk = self.log.append(self.index.state.end, build)
            except LogReplaced:
                self.read_replaced()
            except SnapshotDamaged:
                self.rescan()
            except BaseException as error:
                self._unfinished = is_interrupt(error)
                raise
            else:
                assert batch is not None
                index = self._index
                if index.state.findings:
                    index.forget_torn()  # it was cut off
                before = len(index.tree), index.state.end
                if chunk.lines:
                    self._add_written(batch, chunk)
                self._half_scanned = self._unfinished = False
                if self._unsaved_loss or save_points.is_crossed(before, self._length):
                    self._save()
                return batch
        raise self.replaced_too_often()

    def _try_write(self, intent: Intent) -> tuple[WriteBatch, Chunk] | None:
        """Plans an intent without the lock, and writes its lines if the log still ends where the index does.

        Returns None if nothing was written, also if the plan was refused: the log may have more lines by now. Then the
        intent is planned under the lock.
        """
        index, state = self._index, self._index.state
        if self._append_at is None or not state.lines or state.findings or state.read_only is not None:
            return None
        batch = WriteBatch(index, self.log.location, self.clock, self.id_source)
        try:
            intent.plan(batch)
        except ConvtreeError:
            return None
        lines = batch.seal(self._append_is_atomic)
        if not lines or not self._append_at(state.end, b"\n".join((*lines, b""))):
            return None
        *starts, end = accumulate((len(line) + 1 for line in lines), initial=state.end)
        return batch, Chunk(starts, lines, end)

    def run_for(self, count: int) -> Run | None:
        """Returns a run that has room for so many messages; None if they must be written otherwise."""
        if self.run is not None and self.run.room < count:
            self._settle()
            return self.begin_run()
        return self.run or self.begin_run()

    def row_of(self, id: str) -> int | None:
        """Returns the row of an entry, for the run; None if there is no such entry, or the log must be looked at."""
        try:
            row = self._index.node(id)
            if row is None and self.run is not None and self.run.unsettled:
                row = self.index.node(id)
            if row is not None:
                self._index.tree.fetch_links(row)  # fetched now, because `settle` must not fail
            return row
        except LogReplaced:
            self.read_replaced()
        except SnapshotDamaged:
            self.rescan()
        return None

    def begin_run(self) -> Run | None:
        """Makes a run; None if the next append must look at more."""
        self.run = None
        if self._append_at is None or self._unsaved_loss or self.index_is_partial:
            return None
        index, state = self._index, self._index.state
        if index.sealed_from != 0 or index.header is None or state.findings or state.read_only is not None:
            return None
        if state.leaf.id is None or state.leaf_uncertain_because is not None:
            return None
        try:
            index.tree.fetch_links(state.leaf.row)  # fetched now, because `settle` must not fail
        except SnapshotDamaged:
            return None
        half = save_points.units_left((len(index.tree), state.end)) // 2  # rows and bytes grow at the same time
        self.run = Run(
            index,
            self._append_at,
            not self._append_is_atomic,
            self.clock,
            self.id_source,
            limit=min(_LONGEST_RUN, half),
            limit_end=state.end + half * save_points.UNIT_BYTES,
        )
        return self.run

    def _end_run(self) -> None:
        """Gives the index every message that it lacks, before the log is asked for anything else."""
        self._settle()
        self.run = None
        self._unfinished = True

    def _settle(self) -> None:
        """Gives the index the messages that it lacks."""
        run = self.run
        if run is None or not run.unsettled:
            return
        start = len(self._index.tree)
        self._half_scanned, self.run = True, None
        self._saw_own(start, start + run.unsettled)
        run.settle()
        self._half_scanned, self.run = False, run

    def _saw_own(self, start: int, end: int) -> None:
        """Makes rows that were written here seen ones."""
        if start == self._seen_rows:
            self._seen_rows = end
        else:
            self._rows_written_here.update(range(start, end))

    def check_writable(self) -> None:
        """Raises ReadOnlySession when the log holds something that forbids this version to write to it."""
        if self._index.state.read_only is not None:
            raise ReadOnlySession(f"{self.log.location}: this session is read-only: {self._index.state.read_only}")

    def _add_written(self, batch: WriteBatch, chunk: Chunk) -> None:
        index = self._index
        start = len(index.tree)
        try:
            self._half_scanned = True
            if index.state.lines and len(chunk.lines) - len(batch.added) < 2:
                index.add_written(batch.added, chunk.positions, chunk.lines, batch.crc)
                index.state.end = chunk.end  # in memory, positions are not bytes
            else:
                index.scan(*chunk)  # the header, too, or several groups
            self._half_scanned = False
        except SnapshotDamaged:
            self.rescan()
        except LogReplaced:  # just after the append
            self.read_replaced()
            return
        # an entry that was lost takes its old row
        self._saw_own(start, min(start + len(batch.added), len(self._index.tree)))

    def _scan_chunks(self, chunks: Iterable[Chunk]) -> None:
        index = self.index
        self._leaf_before_tail = None
        if index.state.findings:
            index.forget_torn()
        for chunk in chunks:
            if chunk.fault == "newline_missing":
                self._leaf_before_tail = index.state.leaf
            self._scan(chunk)
        index.end_scan()
        # a last line that lacks its newline is in the log once the append that was given it has completed it
        self._half_scanned = self._leaf_before_tail is not None
        if index.header is None and index.state.lines:
            if not index.header_is_damaged and (index.sealed_from is None or not len(index.tree)):
                raise NotALog.at(self.log.location)
            self.index.state.read_only = "its header is damaged"

    def _scan(self, chunk: Chunk) -> None:
        self._half_scanned = True  # scanning reads: an I/O error or a signal may leave a line indexed in part
        self.index.scan(*chunk)
        self._half_scanned = self.index.has_open_group

    def rescan(self) -> None:
        """Reads the log from its first line, because a snapshot of it turned out to be damaged."""
        seen, written_here = self._seen_rows, self._rows_written_here
        self.rebuild(use_snapshot=False)
        self._seen_rows, self._rows_written_here = seen, written_here  # the same log has the same rows

    def _rebuild_interrupted(self) -> None:
        """Reads the log again after an interrupt. What was seen stays so, unless the log is another one by now."""
        old, seen, written_here = self.index, self._seen_rows, self._rows_written_here
        self.rebuild()
        if self._continues(old, seen):
            self._seen_rows, self._rows_written_here = seen, written_here
        else:
            self.times_replaced += 1

    def _continues(self, old: Index, rows: int) -> bool:
        """Returns whether the index has the first rows of an earlier one, as far as their places say."""
        before, now = old.tree, self.index.tree
        if old.header_payload != self.index.header_payload or len(now) < rows:
            return False
        last = min(rows, len(before)) - 1  # an interrupt may have come when some were written, and not indexed
        return last < 0 or (before.offsets[last], before.lengths[last]) == (now.offsets[last], now.lengths[last])

    def read_replaced(self) -> None:
        """Reads a log that is another one than was read before. Its rows are others."""
        self.times_replaced += 1
        self.rebuild()

    def rebuild(self, use_snapshot: bool = True) -> None:
        """Reads the log as if for the first time."""
        for _ in range(TRIES):
            self.run = None
            self._unfinished = True  # until every line is scanned: a part of them would look like a shorter log
            self._seen_rows, self._rows_written_here = 0, set()
            try:
                lost = self._begin(use_snapshot)
                self._half_scanned = False
                self._scan_chunks(self.log.read(self.index.state.end))
            except LogReplaced:
                self.times_replaced += 1
            except SnapshotDamaged:
                use_snapshot = False
            else:
                self._unfinished = False
                if lost is not None:
                    self._report_lost(lost)
                return
        raise self.replaced_too_often()

    def _begin(self, use_snapshot: bool) -> int | Finding | None:
        """Starts an index: that of a snapshot, or an empty one.

        Returns a loss at the end of the log that only the snapshot knows of: the size that the log once had, or an
        earlier finding. None if there is no such loss.
        """
        self.run = None
        kept = self.log.snapshot()
        found = None
        if kept is not None:
            from convtree._engine import snapshot  # a short log has none

            found = snapshot.load(*kept)
        ours = found if found is not None and found.is_of(self._read_log) else None
        covers = ours is not None and ours.covers(self._read_log)
        if ours is not None and covers and use_snapshot:
            self._index = ours.index(self.log.read_at)
            self._saved = len(self._index.tree), ours.state.end
            return None
        self._index = Index(self.log.read_at, int.from_bytes(os.urandom(8)), self._finding_limit)
        self._saved = 0, 0
        if ours is None:
            return None
        state = ours.state
        if not covers and not self._read_log(state.end - 1, 1):
            return state.end
        return next((finding for finding in state.findings if finding.code == LOST), None)

    def _report_lost(self, lost: int | Finding) -> None:
        """Adds the finding that lines at the end of the log are gone, and saves a snapshot that has it."""
        index, known = self.index, isinstance(lost, Finding)
        if any(finding.code == LOST for finding in index.state.findings):
            return  # the log itself knows of it
        if not isinstance(lost, Finding):
            length = lost - index.state.end
            lost = Finding(
                code=LOST,
                severity=FINDING_CODES[LOST][0],
                line=index.state.lines + 1,
                offset=index.state.end,
                length=length,
            )
        index.state.findings.insert(0, lost)
        if not known:
            self._unsaved_loss = True
            self._save()

    # --- the snapshot ---

    def save_snapshot(self, always: bool = False) -> None:
        """Saves the index next to the log, if enough was added since the last save or `always`.

        Best effort: errors are ignored, because the snapshot is only a cache.
        """
        if always or save_points.is_due_at_close(self._length, self._saved):
            self._save()

    def save_long_scan(self) -> None:
        """Saves the index, as `save_snapshot` does, if opening the log had to scan more than a step of it."""
        if save_points.is_due_at_open(self._length, self._saved):
            self._save()

    @property
    def _length(self) -> save_points.Length:
        index = self.index
        return len(index.tree), index.state.end

    def _save(self) -> None:
        from convtree._engine import snapshot

        index = self.index
        whole = index.header_payload is not None and index.sealed_from == 0 and not self.index_is_partial
        if not whole or self.log.failed:
            return
        self._end_run()
        try:
            self.log.save_snapshot(index.state.end, snapshot.dump(index, self._read_log))
        except LogReplaced:
            return  # the log has noticed, and will not say it again
        except (OSError, ConvtreeError, SnapshotDamaged):
            pass
        else:
            self._saved = len(index.tree), index.state.end
            self._unsaved_loss = False
        self._unfinished = False

    def _read_log(self, offset: int, length: int) -> bytes:
        return self.log.read_at([(offset, length)])[0]

    def replaced_too_often(self) -> SessionFailed:
        """Makes the error for a log that is another one whenever it is read."""
        return SessionFailed(f"{self.log.location}: the log is replaced faster than it can be read")
