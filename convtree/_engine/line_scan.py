"""The scan of a log: the one loop that looks at lines, and decides which of them count. Pure.

A line is verified on its raw bytes before anything is parsed. Damage never stops the loop, it becomes findings. What a
line may be depends on the lines before it:

    the line                      no sealed line before    a sealed line before
    verifies                      the log is sealed from   its prev must be the CRC of the line before, unless that is
                                  here on                  damaged; else `prev_mismatch`, and the leaf is uncertain
    verifies behind zeros         as above, `nul_bytes`    as above, `nul_bytes`
    looks sealed, does not verify `bad_seal`; the log is   `bad_seal`
                                  sealed from here on
    has no seal                   as its writer wrote it,  `bad_seal`
                                  decoded as a whole
    cannot be decoded             `bad_line`               `bad_line`

A mark of the type `group` says how many of the next lines were one write. While the log has not all of them, none is
indexed, and the index ends before the mark: as if they were a torn tail.

The first line must be a header. One that is damaged, or is not a header, is `bad_header` (and without a sealed record
behind it the journal says that this is not a log). A header anywhere else is `second_header`. Every damaged line makes
the leaf uncertain, for it may have moved it, until another line moves the leaf.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from zlib import crc32

from convtree._engine import bulk, codec
from convtree._engine.columns import Column
from convtree._engine.envelope import Envelope
from convtree._engine.groups import OpenGroup, Span, is_whole
from convtree._engine.index_state import IndexState
from convtree._engine.line_reader import LineReader, ReadAt
from convtree._engine.log import END_FAULTS, LogReplaced
from convtree._model.batches import batched
from convtree._model.entries import Finding
from convtree._model.findings import FINDING_CODES

_CONFIRMED = 4096  # ids that a scan remembers to have found


class LineScan(LineReader, ABC):
    """A scan of the lines so far, and its findings. `Index` says what a line means."""

    def __init__(
        self, read_at: ReadAt, salt: int, columns: Mapping[str, Column] | None, state: IndexState, finding_limit: int
    ) -> None:
        super().__init__(read_at, salt, columns)
        self.state = state
        self.finding_limit = finding_limit
        self.header_is_damaged = False  # the first line looks like a header, and is damaged
        self._seen_first_line = False
        self._open_group: OpenGroup | None = None  # a group that the lines scanned so far have not completed
        self.whole_until = 0  # groups that begin before this position are known to be whole
        self._group_line = 0  # the line number of the last mark whose group is whole
        self._group_end = 0  # the line number of the last line of that group
        self._chunk: tuple[Sequence[int], Sequence[bytes]] = (), ()  # that is being scanned: positions and lines
        self._confirmed: dict[int, str] = {}  # ids that lines were fetched for, by row, while a scan runs

    @abstractmethod
    def _index_line(self, position: int, line: bytes, first: bool) -> None:
        """Indexes a line whose seal is valid, or that has no seal and needs none."""

    @abstractmethod
    def _index_entry(self, envelope: Envelope, position: int, length: int) -> None:
        """Indexes an entry of a known type whose id is new."""

    @abstractmethod
    def _index_plain_run(
        self, first: int, positions: Sequence[int], lines: Sequence[bytes], envelopes: Sequence[Envelope | None]
    ) -> int:
        """Indexes the plain entries from line `first` on that continue the leaf one after the other.

        Returns how many there are. Takes as long as they do: most calls find none, whatever follows.
        """

    def scan(self, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None = None) -> None:
        """Indexes the lines of a chunk, in log order."""
        self.forget_torn()
        if fault in END_FAULTS:
            begin = self.state.end if self._open_group is None else self._open_group.end
            self._report_behind(fault, begin, end)
            self.state.read_only = f"{END_FAULTS[fault]}; `convtree repair --store` mends it"
            return
        if fault == "newline_missing":
            fault = None
        self.tree.ids.prefetch(len(lines))
        self._chunk = positions, lines
        try:
            if self._open_group is not None:
                self._continue_group(self._open_group, positions, lines, end, fault)
            else:
                self._scan_lines(positions, lines, end, fault)
        finally:
            self._chunk = (), ()

    @property
    def has_open_group(self) -> bool:
        """Whether the lines scanned so far begin a group that they do not complete: the scan must go on, or end."""
        return self._open_group is not None

    def end_scan(self) -> None:
        """Ends a scan of everything that the log has: a group that is still open is torn, and not in the log."""
        self._confirmed = {}
        group, self._open_group = self._open_group, None
        if group is not None:
            self._report_behind("torn_tail", group.start, group.end)

    def _same_id(self, row: int, id: str) -> bool:
        """As that of a reader; asks the log as seldom as possible, for a database is asked line by line."""
        if not self._chunk[1]:
            return super()._same_id(row, id)
        if self._confirmed.get(row) == id:
            return True
        same = super()._same_id(row, id)
        if same:
            if len(self._confirmed) >= _CONFIRMED:
                self._confirmed = {}
            self._confirmed[row] = id
        return same

    def line(self, row: int) -> bytes:
        """Returns the line of a row: of the chunk that is being scanned, or fetched from the log."""
        positions, lines = self._chunk
        offset = self.tree.offsets[row]
        number = bisect_left(positions, offset)
        if number < len(lines) and positions[number] == offset and len(lines[number]) == self.tree.lengths[row]:
            return lines[number]
        return super().line(row)

    def _scan_lines(self, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None) -> None:
        state, done = self.state, 0
        if lines and not self._seen_first_line and not self._begins_open_group(positions[0], lines, 0):
            self._scan_line(positions[0], lines[0])  # from here on it is known whether lines have seals
            done = 1
        if self._open_group is None:
            done += self._scan_chain(positions[done:], lines[done:])
        while done < len(lines) and self._open_group is None:
            if self._begins_open_group(positions[done], lines, done):
                break
            self._scan_line(positions[done], lines[done])
            done += 1
        last = positions[-1] + len(lines[-1]) + 1 if lines else state.end
        if self._open_group is not None:
            state.end = self._open_group.start  # as with a torn tail, the position stays before it
            self._continue_group(self._open_group, positions[done:], lines[done:], end, fault)
            return
        if fault == "torn_tail":
            # Not in the log for any reader, and read again when the log has grown: the position stays before it.
            self._report_behind("torn_tail", last, end)
            end = last
        elif fault is not None:
            state.lines += 1
            self._damaged(fault, last, end - last)
        state.end = end

    def _begins_open_group(self, position: int, lines: Sequence[bytes], number: int) -> bool:
        """Looks for a group mark in a line; opens its group if the lines after it in the chunk do not complete it."""
        line = lines[number].removesuffix(b"\r").lstrip(b"\0")
        count = codec.group_count(line)
        if count is None or self.state.lines < self._group_end:
            return False
        if (self.sealed_from is not None or codec.looks_sealed(line)) and codec.verify_seal(line) is None:
            return False
        if position >= self.whole_until and not is_whole(count, lines, number + 1):
            self._open_group = OpenGroup(position, lines[number], count)
            return True
        self._group_line = self.state.lines + 1
        self._group_end = self._group_line + count
        return False

    def _continue_group(
        self, group: OpenGroup, positions: Sequence[int], lines: Sequence[bytes], end: int, fault: str | None
    ) -> None:
        """Adds a chunk to the open group. If that completes it, indexes the group and the rest of the chunk.

        Raises:
            LogReplaced: the group was cut off while it was read.
        """
        taken = group.take(positions, lines)
        start = group.end
        if fault is not None and taken == len(lines) and not group.is_whole(followed=True):
            group.take_fault(start, end, fault)
            fault = None
        if not group.is_whole(followed=taken < len(lines) or fault is not None):
            return
        self._open_group = None
        if self._read_at([(group.start, len(group.mark))]) != [group.mark]:
            raise LogReplaced("a group was cut off and another one written in its place")
        self._group_line = self.state.lines + 1
        self._group_end = self.state.lines + len(group.spans)
        if group.lines is not None:
            self._scan_whole([position for position, _, _ in group.spans], group.lines)
        else:
            for spans in batched(group.spans):
                self._scan_spans(spans)
        self._chunk = positions, lines
        if taken < len(lines) or fault is not None:
            self.state.end = group.end
            self._scan_lines(positions[taken:], lines[taken:], end, fault)
        else:
            self.state.end = end

    def _scan_spans(self, spans: Sequence[Span]) -> None:
        """Indexes lines of a group that is known to be whole, by their places."""
        for fault, run in groupby(spans, key=itemgetter(2)):
            positions, lengths, _ = zip(*run, strict=True)
            if fault is None:
                self._scan_whole(positions, self._read_at(list(zip(positions, lengths, strict=True))))
                continue
            for position, length in zip(positions, lengths, strict=True):
                self.state.lines += 1
                self._damaged(fault, position, length)

    def _scan_whole(self, positions: Sequence[int], lines: Sequence[bytes]) -> None:
        """Indexes lines of a group that is known to be whole."""
        self._chunk = positions, lines
        for number in range(self._scan_chain(positions, lines), len(lines)):
            self._scan_line(positions[number], lines[number])

    def _scan_chain(self, positions: Sequence[int], lines: Sequence[bytes]) -> int:
        """Indexes the leading lines that verify and follow each other, which are nearly all; returns how many."""
        state = self.state
        if self.sealed_from is None or state.last_damaged or not lines:
            return 0
        good, state.last_crc = bulk.verify_chain(lines, state.last_crc)
        state.last_damaged = False
        envelopes = bulk.read_entry_envelopes(lines[:good])
        number = 0
        while number < good:
            number += self._index_plain_run(number, positions, lines, envelopes)
            if number < good:
                envelope, line = envelopes[number], lines[number]
                if envelope is None and self._begins_open_group(positions[number], lines, number):
                    state.last_crc = int(line[-27:-19], 16)  # as before this line, which is not in the log yet
                    return number
                state.lines += 1
                state.last_damaged = False
                if envelope is not None and self.tree.find(envelope.id) is None:
                    self._index_entry(envelope, positions[number], len(line))
                else:
                    self._index_line(positions[number], line, first=False)
                number += 1
        return good

    def _scan_line(self, position: int, raw: bytes) -> None:
        state = self.state
        state.lines += 1
        line = raw
        if raw.endswith(b"\r"):
            line = raw[:-1]
            self._report_once("carriage_return", position, len(raw))
        if position == 0 and line.startswith(codec.BYTE_ORDER_MARK):
            position, line = 3, line[3:]
            self._report("byte_order_mark", 0, 3)
        if not line:
            return
        first, self._seen_first_line = not self._seen_first_line, True
        seal, crc = codec.verify_seal(line), None
        if seal is None and line.startswith(b"\0") and (seal := codec.verify_seal(line.lstrip(b"\0"))):
            # Zeros that an earlier crash left in front of a good line; its successor's prev covers them too.
            crc, zeros = crc32(line), len(line) - len(line.lstrip(b"\0"))
            self._report("nul_bytes", position, zeros)
            position, line = position + zeros, line[zeros:]
        if seal is not None:
            if self.sealed_from is None:
                self.sealed_from = len(self.tree)
            if seal.prev != state.last_crc and not state.last_damaged:
                state.leaf_uncertain_because = self._report("prev_mismatch", position, len(line))
            state.last_crc = seal.crc if crc is None else crc
            state.last_damaged = False
            self._index_line(position, line, first)
        else:
            state.last_crc = crc32(line)
            if self.sealed_from is not None or codec.looks_sealed(line) or (first and b'"seal"' in line):
                if self.sealed_from is None:
                    self.sealed_from = len(self.tree)
                self.header_is_damaged |= first and codec.is_header(line)
                self._damaged(name_damage(line, "bad_header" if first else "bad_seal"), position, len(line), line)
            else:
                state.last_damaged = False
                self._index_line(position, line, first)

    # --- findings ---

    def _report(self, code: str, offset: int, length: int, entry_id: str | None = None) -> Finding:
        line, findings = self.state.lines, self.state.findings
        severity = FINDING_CODES[code][0]
        found = Finding(code=code, severity=severity, line=line, offset=offset, length=length, entry_id=entry_id)
        if len(findings) < self.finding_limit:
            findings.append(found)
        elif len(findings) == self.finding_limit:
            findings.append(Finding(code="too_many", severity="error", line=line, offset=offset, length=length))
        return found

    def _report_once(self, code: str, offset: int, length: int) -> None:
        if code not in self.state.reported_once:
            self.state.reported_once.add(code)
            self._report(code, offset, length)

    def _damaged(self, code: str, offset: int, length: int, line: bytes = b"") -> None:
        self.state.last_damaged = True
        self.state.leaf_uncertain_because = found = self._report(code, offset, length)
        if _looks_like_visibility(line):
            self.state.damaged_mark = found

    def _report_behind(self, code: str, start: int, end: int) -> None:
        """Reports something behind the last line that is in the log."""
        self.state.lines += 1
        self._report(code, start, end - start)
        self.state.lines -= 1

    def forget_torn(self) -> None:
        """Drops the finding of a torn tail, which the next line has completed, or a writer cut off."""
        if self.state.findings and self.state.findings[-1].code == "torn_tail":
            self.state.findings.pop()

    def _refuse_writing(self, kind: str, position: int, length: int) -> None:
        self._report("critical_unknown", position, length)
        self.state.read_only = (
            f"the log holds a critical record of the type {kind!r} that this convtree does not know; "
            "use the program that wrote it"
        )


def name_damage(line: bytes, code: str) -> str:
    """Returns the code of a damaged line: `nul_bytes` if nothing else is in it."""
    return code if line.strip(b"\0") else "nul_bytes"


def _looks_like_visibility(line: bytes) -> bool:
    """Returns whether a damaged line was a visibility mark. Damage of one place leaves the rest of it."""
    if b'"type":"visibility"' in line:
        return True
    return b'"parent_id":' not in line and (b'"visible_to":' in line or b'"pinned":' in line)
