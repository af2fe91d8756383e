"""What opening a session in a database reads, in one request: its row, both ends of its log, the end of its snapshot.

Opening needs them one after the other, and would ask a server for each. They are dropped when the log was read once:
from then on, what is read is what is stored at that moment.
"""

from __future__ import annotations

from typing import NamedTuple

from convtree._catalogue import tables as catalogue
from convtree._logs.sql_lines import SessionRow, decoded
from convtree._logs.sql_snapshots import SELECT_LAST_PARTS, SnapshotEnd
from convtree._logs.sql_transaction import Transaction

_BYTES = 2**14  # of the end of the log

#: row and last line in one statement: both are as they were at one moment
SELECT_SESSION = (
    f"SELECT {catalogue.ROW}, COALESCE((SELECT MAX(position) FROM ct_lines WHERE session_id = :session_id), -1) "
    "FROM ct_sessions WHERE session_id = :session_id"
)
_SELECT_LINES = """
SELECT l.position, l.line, COALESCE(s.created_ms, -1), s.rewrites FROM ct_sessions s
JOIN ct_lines l ON l.session_id = s.session_id AND {place} WHERE s.session_id = :session_id
"""
_SELECT_ENDS = (
    _SELECT_LINES.format(place=f"l.position >= s.size - {_BYTES}")
    + f"UNION ALL {_SELECT_LINES.format(place=f'l.position = 0 AND s.size > {_BYTES}')}ORDER BY 1"
)


class Ahead(NamedTuple):
    """What was read.

    Attributes:
        row: of the session.
        header: the first line.
        lines: the last lines of the log, with their positions.
        text: these lines, as they stand in a file.
        snapshot: the end of the newest snapshot; None if there is none.
    """

    row: SessionRow
    header: bytes
    lines: list[tuple[int, bytes]]
    text: bytes
    snapshot: SnapshotEnd | None

    def read_at(self, position: int, length: int) -> bytes | None:
        """Returns bytes of the log; None if they were not read."""
        if self.start <= position and position + length <= self.start + len(self.text):
            return self.text[position - self.start :][:length]
        return self.header if (position, length) == (0, len(self.header)) else None

    @property
    def start(self) -> int:
        """The position of the first of `lines`."""
        return self.lines[0][0]

    def preceded(self, lines: list[tuple[int, bytes]]) -> Ahead:
        """Returns it with lines that lie before its own; as it is if they do not reach up to these."""
        text = b"".join([line + b"\n" for _, line in lines])
        if not lines or lines[0][0] + len(text) != self.start:
            return self
        return self._replace(lines=lines + self.lines, text=text + self.text)

    def lines_from(self, position: int) -> list[tuple[int, bytes]]:
        """Returns the lines from a position on; none if the first of them was not read."""
        return [] if position < self.start else [each for each in self.lines if each[0] >= position]


def read_ahead(execute: Transaction, session_id: str) -> tuple[list[SessionRow], Ahead | None]:
    """Returns the row, if there is one, and what was read with it; None if that does not fit the row."""
    values = {"session_id": session_id}
    rows, found, parts = execute.all((SELECT_SESSION, values), (_SELECT_ENDS, values), (SELECT_LAST_PARTS, values))
    if not rows or not found:
        return [SessionRow(*row) for row in rows], None
    row = SessionRow(*rows[0])
    created_ms, rewrites = row.identity
    # Each statement sees another moment.
    is_same = {(-1 if created_ms is None else created_ms, rewrites)} == {tuple(each[2:]) for each in found}
    lines = decoded(each[:2] for each in found)
    header = lines[0][1] if lines[0][0] == 0 else b""
    if len(lines) > 1 and lines[0][0] == 0 and lines[1][0] != len(header) + 1:
        del lines[0]
    text = b"".join(line + b"\n" for _, line in lines)
    if not is_same or lines[0][0] + len(text) != row.size or lines[-1][0] != row.last_position:
        return [row], None
    return [row], Ahead(row, header, lines, text, SnapshotEnd.of(parts) if parts else None)
