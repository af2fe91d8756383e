"""The end of a log in a database, and whether the session's row fits it. Pure.

An append changes the lines and the row in one transaction, so they differ only if something else changed the tables: an
edit by hand, or a restore of one table. The lines count. The difference is the fault of a chunk without lines, which
becomes a finding; the session is read-only until a repair.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from convtree._engine import codec
from convtree._engine.log import Chunk
from convtree._logs.sql_lines import ANYWHERE, SessionRow
from convtree._model.findings import LOST


class Tail(NamedTuple):
    """The last line that was read or written.

    Attributes:
        position: where it begins.
        end: the position after it.
        crc: its CRC.
        is_good: whether its seal holds. Otherwise nothing follows from its CRC: the line itself is damaged, or no line
            of the log has a checksum.
    """

    position: int
    end: int
    crc: int
    is_good: bool

    @classmethod
    def of(cls, position: int, line: bytes) -> Tail:
        """Returns the tail of a log whose last line is this one."""
        return cls(position, position + len(line) + 1, crc32(line), codec.verify_seal(line) is not None)

    @property
    def condition(self) -> dict[str, int]:
        """The values of the condition that the row and this line are still as they are now."""
        return {"after_position": self.position, "after_size": self.end, "after_crc": self.crc}

    def fits(self, row: SessionRow) -> bool:
        """Returns whether this is the last line, and the row says so."""
        is_last = row.last_position in (self.position, ANYWHERE)
        return is_last and row.size == self.end and self.has_crc(row)

    def has_crc(self, row: SessionRow) -> bool:
        """Returns whether the row names this line as the last one. Early versions did not always note it."""
        return row.last_crc in (0, self.crc)


NO_TAIL = Tail(0, 0, 0, False)  # of a log without lines


def fault_of(row: SessionRow, tail: Tail) -> Chunk | None:
    """Returns a chunk with what is wrong with a session's row, which was read together with its lines."""
    if row.size > tail.end and not (tail.is_good and row.last_crc == tail.crc):
        return Chunk((), (), row.size, LOST)
    if row.size != tail.end:
        return Chunk((), (), tail.end, "wrong_size")
    return Chunk((), (), tail.end, "wrong_end") if tail.is_good and not tail.has_crc(row) else None
