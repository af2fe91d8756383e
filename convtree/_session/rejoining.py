"""Reads what is left of damaged lines, so that a repair keeps their places in the tree. Changes nothing.

A damaged line is one of three things:

* **Whole**, if only its seal is damaged. A checksum proves that: the payload fits what is left of the seal, or the
  `prev` of the next line. Then the record itself is kept.
* **An entry in its place**, if its id and its parent are certain. Then a lost entry with that id and parent takes its
  place, and its children are no orphans. `rejoin` states what certain means.
* **Anything else.** Nothing is guessed: the line is removed, as without rejoining.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters, digits
from typing import NamedTuple
from zlib import crc32

import msgspec
from msgspec import UNSET

from convtree._engine import codec, tree
from convtree._engine.log import Log
from convtree._engine.log_index import Index
from convtree._engine.lost import body_crc, body_crc_from_seal, line_crc_from_seal
from convtree._model.batches import batched
from convtree._model.entries import ID, Entry, Finding, LostEntry, Mark
from convtree._model.errors import BrokenPath

#: the codes of findings whose lines may be whole or rejoined
_CODES = frozenset({"bad_seal", "bad_line", "bad_header"})
#: how the line of an entry begins; its first key may be the damage, because the id is confirmed by another line
_START = re.compile(
    b'[^"]{0,3}"?.{0,6}?"(%b)","parent_id":(?:null|"(%b)"),"type":"[a-z]' % ((ID.pattern.encode(),) * 2)
)
_SEAL = re.compile(b',"prev":"([0-9a-f]{8})","crc":"([0-9a-f]{8})"}')
_LETTERS = f"{ascii_letters}{digits}._:-"


class Rejoined(NamedTuple):
    """A damaged line, and the payload to take its place: that of the record itself, or of a lost entry."""

    finding: Finding  # names the record
    payload: bytes
    is_whole: bool  # whether it is the record itself


class _DamagedLine(NamedTuple):
    """A damaged line, the CRC of the line before it, and the `prev` of the line after it; None if those are damaged."""

    finding: Finding
    line: bytes
    before: int | None
    after: int | None


class _Place(NamedTuple):
    """What a damaged line says about itself. A whole one has a payload."""

    id: str | None = None  # of a header
    parent_id: str | None = None
    payload: bytes | None = None
    parent_at: tuple[int, int] | None = None  # where in the line the parent's id is, if known


class _Envelope(msgspec.Struct):
    id: str
    parent_id: str | None
    type: str


def rejoin(index: Index, log: Log) -> list[Rejoined]:
    """Returns what can take the places of the damaged lines of a log, in log order.

    The id and the parent of an entry are certain if

    * no good line has the id, and an entry further down names it as its parent: that entry confirms it;
    * the parent is null or an entry further up, which may be a rejoined one;
    * no other entry further up has an id that is one edited character away from the parent's, or the checksum of the
      damaged line says that it is not the parent.
    """
    found = {finding.offset: finding for finding in index.state.findings if finding.code in _CODES}
    lines = list(_damaged_lines(log, found)) if found else []
    places = [(each, place) for each in lines if (place := _read(each)) is not None]
    named = _named_parents(index)
    for each, place in reversed(places):
        offset = each.finding.offset
        if place.parent_id is not None and (place.payload or named.get(str(place.id), -1) > offset):
            named[place.parent_id] = max(offset, named.get(place.parent_id, -1))
    rejoined, taken = list[Rejoined](), set[str]()
    for each, place in places:
        if place.id is not None and (place.id in taken or _has_good_line(index, place.id)):
            continue
        payload = place.payload
        if payload is None and place.id is not None and named.get(place.id, -1) > each.finding.offset:
            payload = _lost_entry(each, place, place.id, index, taken)
        if payload is not None:
            taken.update(() if place.id is None else (place.id,))
            finding = msgspec.structs.replace(each.finding, entry_id=place.id)
            rejoined.append(Rejoined(finding, payload, is_whole=place.payload is not None))
    return rejoined


def records_or_none(index: Index, rows: Sequence[int]) -> list[Entry | Mark | None]:
    """Reads records; None for one that cannot be read."""
    try:
        return list(index.records(rows))
    except BrokenPath:
        return [next(iter(index.readable_records([row])), None) for row in rows]


def _named_parents(index: Index) -> dict[str, int]:
    """Returns the ids that orphans name as their parents, each with the offset of the last orphan that does."""
    named = dict[str, int]()
    orphans = (row for row, parent in enumerate(index.tree.parents) if parent == tree.MISSING)
    for rows in batched(orphans):
        for row, entry in zip(rows, records_or_none(index, rows), strict=True):
            if isinstance(entry, Entry) and entry.parent_id is not None:
                named[entry.parent_id] = index.tree.offsets[row]
    return named


def _has_good_line(index: Index, id: str) -> bool:
    return index.tree.find(id) is not None and id not in index.state.lost


# --- reading a damaged line ---------------------------------------------------------------------------------------


def _damaged_lines(log: Log, found: Mapping[int, Finding]) -> Iterator[_DamagedLine]:
    """Yields the damaged lines of a log with what their neighbours say. Empty lines are none."""
    above: bytes | None = b""  # the line above; None if it was not read
    waiting: _DamagedLine | None = None
    for chunk in log.read():
        for position, raw in zip(chunk.positions, chunk.lines, strict=True):
            line = raw.removesuffix(b"\r")
            if not line:
                continue
            if waiting is not None:
                seal = codec.verify_seal(line)
                yield waiting._replace(after=None if seal is None else seal.prev)
                waiting = None
            if position in found and codec.verify_seal(line) is None:
                waiting = _DamagedLine(found[position], line, _crc_of(above), None)
            above = line
        if chunk.fault is not None:
            above = None
    if waiting is not None:
        yield waiting


def _crc_of(line: bytes | None) -> int | None:
    """Returns the CRC of a line, 0 for the empty place before the header; None if the line is damaged."""
    if not line:
        return None if line is None else 0
    return None if codec.verify_seal(line) is None else crc32(line)


def _read(each: _DamagedLine) -> _Place | None:
    """Reads a damaged line; None if it is not clear what it was."""
    payload = _whole_payload(each)
    if payload is not None:
        return _place_of(payload)
    start = _START.match(each.line)
    if start is not None:
        id, parent_id = (None if group is None else group.decode() for group in start.groups())
        return _Place(id, parent_id, parent_at=start.span(2))
    try:
        envelope = msgspec.json.decode(each.line, type=_Envelope)
    except codec.DECODE_ERRORS:
        return None
    ids = (envelope.id,) if envelope.parent_id is None else (envelope.id, envelope.parent_id)
    return _Place(envelope.id, envelope.parent_id) if all(map(ID.fullmatch, ids)) else None


def _whole_payload(each: _DamagedLine) -> bytes | None:
    """Returns the payload of a line of which only the seal is damaged; a byte of the seal may be missing or added."""
    line = each.line
    named = _hexadecimal(line[-27:-19])
    for prev in {each.before, named} - {None}:
        for length in (codec.SEAL_LENGTH, codec.SEAL_LENGTH - 1, codec.SEAL_LENGTH + 1):
            sealed, crc = codec.seal_line(line[:-length], prev or 0)
            if crc == each.after or sealed[-10:-2] == line[-10:-2]:
                return line[:-length]
    return None


def _hexadecimal(text: bytes) -> int | None:
    return None if len(text) != 8 or text.strip(b"0123456789abcdef") else int(text, 16)


def _place_of(payload: bytes) -> _Place | None:
    try:
        envelope = codec.read_envelope(payload + b"}")
    except codec.DECODE_ERRORS:
        return _Place(payload=payload) if codec.is_header(payload + b"}") else None
    return _Place(envelope.id, None if envelope.parent_id is UNSET else envelope.parent_id, payload)


# --- what is certain ----------------------------------------------------------------------------------------------


def _lost_entry(each: _DamagedLine, place: _Place, id: str, index: Index, taken: set[str]) -> bytes | None:
    """Returns the payload of the lost entry for a damaged line; None if its parent is not certain."""

    def is_above(id: str) -> bool:
        row = index.node(id)
        if row is None:
            return id in taken
        # an entry that came back stands behind its children, but its place is that of its lost entry
        return index.state.restored.get(row, index.tree.offsets[row]) < each.finding.offset

    crc, parent_id = _body_crc(each), place.parent_id
    if parent_id is not None:
        if not is_above(parent_id):
            return None
        for other in filter(is_above, _edited_once(parent_id)):
            if crc is None or place.parent_at is None or body_crc(_with_parent(each, place.parent_at, other)) == crc:
                return None
    return codec.encode(LostEntry(id=id, parent_id=parent_id, line_crc=None if crc is None else f"{crc:08x}"))


def _body_crc(each: _DamagedLine) -> int | None:
    """Returns the CRC of the body that the seal of a damaged line was made for; None if a neighbour contradicts it."""
    seal = _SEAL.fullmatch(each.line[-codec.SEAL_LENGTH :])
    if seal is None:
        return None
    prev, crc = (int(digits, 16) for digits in seal.groups())
    if each.before not in (None, prev) or each.after not in (None, line_crc_from_seal(crc)):
        return None
    return body_crc_from_seal(prev, crc)


def _with_parent(each: _DamagedLine, at: tuple[int, int], parent_id: str) -> bytes:
    """Returns the payload of a damaged line with another parent."""
    return each.line[: at[0]] + parent_id.encode() + each.line[at[1] : -codec.SEAL_LENGTH]


def _edited_once(id: str) -> Iterator[str]:
    """Yields every id that becomes this one if a character is changed, added or removed."""
    for place in range(len(id) + 1):
        before, after = id[:place], id[place:]
        for letter in _LETTERS:
            yield before + letter + after
            if after and letter != after[0]:
                yield before + letter + after[1:]
        if after and len(id) > 1:
            yield before + after[1:]
