"""Lost entries: the checksum of a line's body, and when an entry may come back in the place of a lost one. Pure.

The body of a line is its payload, closed by `}`: the line as it would be without a seal. A lost entry holds the CRC-32
of the body that stood in its place. The body itself is damaged, but its checksum follows from the seal behind it: a
CRC-32 can be run backwards over known bytes.
"""

from __future__ import annotations

from functools import cache
from zlib import crc32

from convtree._engine import codec
from convtree._model.entries import LostEntry


def body_crc(payload: bytes) -> int:
    """Returns the CRC-32 of a body."""
    return crc32(b"}", crc32(payload))


def body_crc_from_seal(prev: int, crc: int) -> int:
    """Returns the CRC-32 of the body that a seal was made for, from the two members of the seal alone."""
    return crc32(b"}", crc_before(b',"prev":"%08x"}' % prev, crc))


def line_crc_from_seal(crc: int) -> int:
    """Returns the CRC-32 of a whole line, which the next line repeats as `prev`, from the line's `crc` alone."""
    return crc32(b',"crc":"%08x"}' % crc, crc_before(b"}", crc))


def crc_before(data: bytes, crc: int) -> int:
    """Returns the CRC-32 of some bytes, given `data` that follows them and the CRC-32 of both."""
    table, places = _tables()
    state = crc ^ 0xFFFFFFFF
    for byte in reversed(data):
        place = places[state >> 24]
        state = (state ^ table[place]) << 8 | place ^ byte
    return state ^ 0xFFFFFFFF


@cache
def _tables() -> tuple[list[int], list[int]]:
    """Returns the table of CRC-32 by byte, and the byte by the upper 8 bits of its number: they are all different."""
    table = [crc32(bytes([byte ^ 0xFF])) ^ 0xFF000000 for byte in range(256)]
    places = [0] * 256
    for byte, number in enumerate(table):
        places[number >> 24] = byte
    return table, places


def restores(lost_line: bytes, payload: bytes) -> bool:
    """Returns whether an entry with the id of a lost one is that entry: it has the same parent and checksum."""
    try:
        lost, entry = codec.decode(lost_line), codec.read_envelope(payload + b"}")
    except codec.DECODE_ERRORS:
        return False
    return (
        isinstance(lost, LostEntry)
        and lost.parent_id == entry.parent_id
        and lost.line_crc == f"{body_crc(payload):08x}"
    )
