"""Bulk equals one by one: each function here does for many lines at once what another does line by line.

A scan of a log spends its time on plain entries that follow each other: messages and extension data. These are the
fast ways through them; no rule of the format is stated here. A reader of the engine may skip this module. A change to a
function in the first column needs the same change to its twin. `tests/test_bulk.py` states the law for each pair.

    one by one                                  bulk
    codec.verify_seal, and prev is the last CRC verify_chain
    codec.verify_seal                           all_seals_valid
    codec.read_envelope                         read_entry_envelopes
    Index.scan, a line that continues the leaf  plain_run
    Tree.add                                    add_plain, and add_new for records that were just written
    IdTable.find and IdTable.add                add_ids
    id_table.hash_of                            hashes_of
    Index.scan                                  Index.add_written, of records that were just written
    Index.scan                                  plain_log_of, of a small log (in `plain_log`, with its law)

Pure.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter
from zlib import crc32

from convtree._engine import codec
from convtree._engine.codec import DECODE_ERRORS
from convtree._engine.envelope import Envelope, decode_entry_envelope
from convtree._engine.id_table import EMPTY, IdTable, hash_of
from convtree._engine.tree import EXTENSION_DATA, Tree
from convtree._model.entries import HIDDEN_FROM_MODEL

_SEAL = b',"prev":"00000000","crc":"00000000"}'
_PREV, _LINE_CRC = _SEAL.index(b"0"), _SEAL.rindex(b"0") - 7  # where the digits of both begin
_CRC = b',"crc":"00000000"}'
_BODY, _END = itemgetter(slice(None, -18)), itemgetter(slice(-18, None))  # of a line: what its CRC covers, and that CRC
_64_BITS = 2**64 - 1
_FEW = 7  # lines: fewer are verified faster one by one


def verify_chain(lines: Sequence[bytes], prev: int) -> tuple[int, int]:
    """Verifies lines that follow the line whose CRC is `prev`.

    Returns how many leading lines verify and name the line before them, and the CRC of the last of those.
    """
    if len(lines) < _FEW:
        return _verify_few(lines, prev)
    crcs = list(map(crc32, map(_BODY, lines)))  # one body in memory after the other
    wholes = list(map(crc32, map(_END, lines), crcs))
    ends = [line[-36:] for line in lines]
    expected = _seals([prev, *wholes[:-1]], list(map(crc32, repeat(b"}"), crcs)))
    good = len(lines)
    if expected != b"".join(ends):
        places = range(0, len(expected), len(_SEAL))
        good = next((i for i, at in enumerate(places) if expected[at : at + len(_SEAL)] != ends[i]), good)
    return good, wholes[good - 1] if good else prev


def _verify_few(lines: Sequence[bytes], prev: int) -> tuple[int, int]:
    """As `verify_chain`, one by one."""
    for number, line in enumerate(lines):
        seal = codec.verify_seal(line)
        if seal is None or seal.prev != prev:
            return number, prev
        prev = seal.crc
    return len(lines), prev


def _seals(prevs: Sequence[int], crcs: Sequence[int]) -> bytes:
    """Returns the seals of lines one after the other. Fills in digit by digit, each of all lines at once."""
    seals = bytearray(_SEAL * len(crcs))
    for first, numbers in (_PREV, prevs), (_LINE_CRC, crcs):
        digits = _digits(numbers)
        for place in range(8):
            seals[first + place :: len(_SEAL)] = digits[place::8]
    return bytes(seals)


def _digits(numbers: Sequence[int]) -> bytes:
    """Returns 32-bit numbers as eight lower-case hexadecimal digits each."""
    packed = array("I", numbers)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes().hex().encode()


def all_seals_valid(lines: Sequence[bytes]) -> bool:
    """Returns whether every line matches its own checksum. The lines may come from anywhere in a log.

    Does not check the form of `prev`, so it is only for lines that a scan has verified before.
    """
    if len(lines) < _FEW:
        return None not in map(codec.verify_seal, lines)
    own = list(map(crc32, repeat(b"}"), map(crc32, map(_BODY, lines))))
    ends = bytearray(_CRC * len(lines))
    digits = _digits(own)
    for place in range(8):
        ends[8 + place :: len(_CRC)] = digits[place::8]
    return ends == b"".join(map(_END, lines))


def read_entry_envelopes(lines: Iterable[bytes]) -> list[Envelope | None]:
    """Reads the envelopes of lines; None unless a line is an entry of a known type with an id like `random_id`'s."""
    envelopes: list[Envelope | None] = []
    rest = map(decode_entry_envelope, lines)
    while True:
        try:
            envelopes.extend(rest)  # up to the first line that raises
            break
        except DECODE_ERRORS:
            envelopes.append(None)
    ids = "".join([each.id for each in envelopes if each is not None])
    if not (ids.isascii() and ids.encode().isalnum()):  # bytes are looked at faster than a text
        return [each if each is None or codec.is_own_id(each.id) else None for each in envelopes]
    return envelopes


def plain_run(
    envelopes: Iterable[Envelope | None], leaf_id: str | None, model: tuple[str | None, str] | None
) -> tuple[list[str], list[int]]:
    """Returns the ids of the leading plain entries that continue a leaf one after the other.

    These are extension data, and messages for the model that are not pinned, replace nothing, and name no model but
    `model`, the provider and model at the leaf. Returns the numbers of those that are extension data as well.
    """
    ids: list[str] = []
    data: list[int] = []
    hidden = HIDDEN_FROM_MODEL
    for each in envelopes:
        if each is None or each.parent_id != leaf_id:
            break
        if each.type == "extension_data":
            data.append(len(ids))
        elif (
            each.type != "message"
            or (each.model is not None and model != (each.provider, each.model))
            or each.pinned
            or (each.visible_to is not None and each.visible_to in hidden)
            or each.replaces is not None
        ):
            break
        leaf_id = each.id
        ids.append(leaf_id)
    return ids, data


def add_plain(
    tree: Tree,
    ids: Sequence[str],
    parent: int,
    offsets: Sequence[int],
    lengths: Sequence[int],
    *,
    data: Sequence[int] = (),
) -> int:
    """Adds plain entries, the first below the row `parent`, each other below the one before, while ids are new.

    `data` has the numbers of those that are extension data, in order. Returns how many were added.
    """
    row = len(tree)
    links = tree.links_below(parent)
    tree.offsets.tail.extend(offsets)  # before the ids: if one comes twice, `same_id` reads the first one's line
    tree.lengths.tail.extend(lengths)
    count = add_ids(tree.ids, ids, row)
    if count < len(offsets):
        del tree.offsets.tail[count - len(offsets) :], tree.lengths.tail[count - len(offsets) :]
    if count:
        data = data[: bisect_left(data, count)]
        kinds = array(tree.kinds.tail.typecode, bytes(count * tree.kinds.tail.itemsize))  # MESSAGE is 0
        for number in data:
            kinds[number] = EXTENSION_DATA
        tree.kinds.tail.extend(kinds)
        tree.parents.append(parent)
        tree.parents.tail.extend(range(row, row + count - 1))
        done = 0
        for number, new in zip(data, _add_data_links(tree, [row + number for number in data], links), strict=True):
            tree.links.tail.extend(repeat(links, number - done))
            links, done = new, number
        tree.links.tail.extend(repeat(links, count - done))
        tree.newest_links = links
        tree.size = row + count
    return count


def _add_data_links(tree: Tree, rows: Sequence[int], links: int) -> range:
    """Adds links to rows of extension data, each below the one before and the first below `links`; returns theirs."""
    first = len(tree.extension_data)
    for column in (tree.compactions, tree.pins, tree.models, tree.settings, tree.faults) if rows else ():
        column.tail.extend(repeat(column[links], len(rows)))
    tree.extension_data.tail.extend(rows)
    return range(first, first + len(rows))


def add_new(
    tree: Tree,
    ids: Sequence[str],
    parents: Sequence[int],
    kinds: Sequence[int],
    offsets: Sequence[int],
    lengths: Sequence[int],
) -> None:
    """Adds plain entries and marks with new ids, which are not looked for in the table of a snapshot."""
    row, links = len(tree), list[int]()
    for number, (parent, kind) in enumerate(zip(parents, kinds, strict=True), row):
        below = links[parent - row] if parent >= row else tree.links_below(parent)
        links.append(_add_data_links(tree, [number], below)[0] if kind == EXTENSION_DATA else below)
    tree.offsets.tail.extend(offsets)
    tree.lengths.tail.extend(lengths)
    add_ids(tree.ids, ids, row, are_new=True)
    tree.kinds.tail.extend(kinds)
    tree.parents.tail.extend(parents)
    tree.links.tail.extend(links)
    tree.newest_links = links[-1]
    tree.size = row + len(ids)


def add_ids(table: IdTable, ids: Sequence[str], row: int, *, are_new: bool = False) -> int:
    """Adds the ids of the rows from `row` on, while they are new; returns how many were added."""
    first, hashed = row, hashes_of(ids)
    while row - first < len(ids):
        begin = row - first
        room = table.full + 2 - row  # rows until the table grows
        added = _add_hashed(table, ids[begin : begin + room], hashed[begin : begin + room], row, are_new)
        row += added
        if row > table.full + 1:
            table.grow()
        if added < min(room, len(ids) - begin):
            break
    return row - first


def _add_hashed(table: IdTable, ids: Sequence[str], hashed: array[int], first: int, are_new: bool) -> int:
    """Adds ids with their hashes as `add_ids` does, to a table that has room for them."""
    hashes, slots, shift, factor = table.hashes, table.slots, table.shift, table.factor
    persisted = None if are_new else table.persisted
    row = first
    hashes.tail.extend(hashed)  # before the slots: if an id comes twice, its hash is looked for
    empty, bits = EMPTY, _64_BITS
    for each in hashed:
        slot = (each * factor & bits) >> shift
        other = slots[slot]
        while other != empty:
            if hashes[other] == each and table.same_id(other, ids[row - first]):
                break
            slot = (slot + 1) % len(slots)
            other = slots[slot]
        if other != empty or (
            persisted is not None
            and table.find_persisted(persisted, each * factor & bits, each, ids[row - first]) is not None
        ):
            del hashes.tail[row - hashes.persisted :]
            break
        slots[slot] = row
        row += 1
    return row - first


def hashes_of(ids: Sequence[str]) -> array[int]:
    """Returns the hashes of ids."""
    text = "".join(ids)
    digits = text.encode() if text.isascii() else b""  # bytes are looked at faster than a text
    if digits.islower() and digits.isalnum() and {*map(len, ids)} == {16}:
        try:
            found = array("Q", bytes.fromhex(text))
        except ValueError:
            pass
        else:
            if sys.byteorder == "little":
                found.byteswap()
            if any(map(str.isdecimal, ids)):  # one in 1,800 of our own ids has no letter
                for number, id in enumerate(ids):
                    if id.isdecimal():
                        found[number] = hash_of(id)
            return found
    return array("Q", map(hash_of, ids))
