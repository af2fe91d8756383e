"""What opening a session in a database reads, in one request: its row, both ends of its log, the end of its snapshot.

Opening needs them one after the other, and would ask a server for each. Row and snapshot are for the first read only.
The lines stay for the context that follows; they are dropped when the log is read again, or written to, or found to be
gone. So a session that is deleted behind an open one may still give the end of its log, as it was at the open.
"""

from __future__ import annotations

from typing import NamedTuple

from convtree._catalogue import tables as catalogue
from convtree._catalogue.tables import Execute
from convtree._logs.sql_lines import SessionRow, decoded
from convtree._logs.sql_snapshots import LAST_PARTS, SnapshotEnd, end_of

_BYTES = 2**16  # of the end of the log

#: row and last line in one statement: both are as they were at one moment
SELECT_SESSION = (
    f"SELECT {catalogue.ROW}, COALESCE((SELECT MAX(position) FROM ct_lines WHERE session_id = :session_id), -1) "
    "FROM ct_sessions WHERE session_id = :session_id"
)
_SELECT_LINES = """
SELECT 1, l.position, NULL, NULL, NULL, NULL, l.line, NULL FROM ct_sessions s
JOIN ct_lines l ON l.session_id = s.session_id AND {place} WHERE s.session_id = :session_id
"""
#: all of it in one statement, which sees one moment: the row, lines, and the last parts of the newest snapshot
_SELECT = f"""
SELECT 0, s.size, s.created_ms, s.rewrites, s.last_crc,
  COALESCE((SELECT MAX(position) FROM ct_lines WHERE session_id = :session_id), -1), s.copying_to, CAST(NULL AS BYTEA)
FROM ct_sessions s WHERE s.session_id = :session_id
UNION ALL {_SELECT_LINES.format(place=f"l.position >= s.size - {_BYTES}")}
UNION ALL {_SELECT_LINES.format(place=f"l.position = 0 AND s.size > {_BYTES}")}
UNION ALL SELECT 2, part, generation, size, NULL, NULL, NULL, data FROM ct_snapshots
WHERE session_id = :session_id AND {LAST_PARTS} ORDER BY 1, 2
"""


class Ahead(NamedTuple):
    """What was read.

    Attributes:
        row: of the session.
        header: the first line.
        lines: the last lines of the log, with their positions.
        text: these lines, as they stand in a file.
        snapshot: the end of the newest snapshot; None if there is none.
        is_new: the log was not read since.
    """

    row: SessionRow
    header: bytes
    lines: list[tuple[int, bytes]]
    text: bytes
    snapshot: SnapshotEnd | None
    is_new: bool = True

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


def read_ahead(execute: Execute, session_id: str) -> tuple[SessionRow | None, Ahead | None]:
    """Returns the row, if there is one, and what was read with it; None if that does not fit the row."""
    found = execute(_SELECT, {"session_id": session_id})
    if not found or found[0][0] != 0:
        return None, None
    _, size, created_ms, rewrites, last_crc, last_position, copying_to, _ = found[0]
    row = SessionRow(size, created_ms, copying_to, rewrites, last_crc, last_position)
    lines = decoded((each[1], each[6]) for each in found if each[0] == 1)
    if not lines:
        return row, None
    header = lines[0][1] if lines[0][0] == 0 else b""
    if len(lines) > 1 and lines[0][0] == 0 and lines[1][0] != len(header) + 1:
        del lines[0]
    ends = [position + len(line) + 1 for position, line in lines]
    if (
        [position for position, _ in lines[1:]] != ends[:-1]
        or ends[-1] != row.size
        or lines[-1][0] != row.last_position
    ):
        return row, None
    text = b"".join(line + b"\n" for _, line in lines)
    parts = [(generation, size, part, data) for kind, part, generation, size, *_, data in found if kind == 2]
    return row, Ahead(row, header, lines, text, end_of(parts))
