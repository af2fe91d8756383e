"""Bulk equals one by one: each function here does for many lines at once what another does line by line.

A scan of a log spends its time on plain messages that follow each other. These are the fast ways through them; no rule
of the format is stated here. A reader of the engine may skip this module. A change to a function in the first column
needs the same change to its twin. `tests/test_bulk.py` states the law for each pair.

    one by one                                  bulk
    codec.verify_seal, and prev is the last CRC verify_chain
    codec.verify_seal                           all_seals_valid
    codec.read_envelope                         read_entry_envelopes
    Index.scan, a line that continues the leaf  message_run
    Tree.add                                    add_messages
    IdTable.find and IdTable.add                add_ids
    id_table.hash_of                            hashes_of
    Index.scan                                  Index.add_written, of records that were just written
    Index.scan                                  plain_log_of, of a small log (in `plain_log`, with its law)

Pure.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat
from zlib import crc32

from convtree._engine import codec
from convtree._engine.codec import DECODE_ERRORS
from convtree._engine.envelope import Envelope, decode_entry_envelope
from convtree._engine.id_table import EMPTY, IdTable, hash_of
from convtree._engine.tree import Tree
from convtree._model.entries import HIDDEN_FROM_MODEL

_SEAL = b',"prev":"00000000","crc":"00000000"}'
_PREV, _LINE_CRC = _SEAL.index(b"0"), _SEAL.rindex(b"0") - 7  # where the digits of both begin
_CRC = b',"crc":"00000000"}'
_64_BITS = 2**64 - 1


def verify_chain(lines: Sequence[bytes], prev: int) -> tuple[int, int]:
    """Verifies lines that follow the line whose CRC is `prev`.

    Returns how many leading lines verify and name the line before them, and the CRC of the last of those.
    """
    if not lines:
        return 0, prev
    crcs = list(map(crc32, [line[:-18] for line in lines]))
    wholes = list(map(crc32, [line[-18:] for line in lines], crcs))
    ends = [line[-36:] for line in lines]
    expected = _seals([prev, *wholes[:-1]], list(map(crc32, repeat(b"}"), crcs)))
    good = len(lines)
    if expected != b"".join(ends):
        places = range(0, len(expected), len(_SEAL))
        good = next((i for i, at in enumerate(places) if expected[at : at + len(_SEAL)] != ends[i]), good)
    return good, wholes[good - 1] if good else prev


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
    own = list(map(crc32, repeat(b"}"), map(crc32, [line[:-18] for line in lines])))
    ends = bytearray(_CRC * len(lines))
    digits = _digits(own)
    for place in range(8):
        ends[8 + place :: len(_CRC)] = digits[place::8]
    return ends == b"".join([line[-18:] for line in lines])


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
    if not (ids.isalnum() and ids.isascii()):
        return [each if each is None or codec.is_own_id(each.id) else None for each in envelopes]
    return envelopes


def message_run(
    envelopes: Iterable[Envelope | None], leaf_id: str | None, model: tuple[str | None, str] | None
) -> list[str]:
    """Returns the ids of the leading messages that continue a leaf one after the other and change nothing else.

    That is, they are for the model, not pinned, and name no model but `model`, the provider and model at the leaf.
    """
    ids: list[str] = []
    for each in envelopes:
        if (
            each is None
            or each.parent_id != leaf_id
            or each.type != "message"
            or (each.model is not None and model != (each.provider, each.model))
            or each.pinned
            or each.visible_to in HIDDEN_FROM_MODEL
            or each.replaces is not None
        ):
            break
        leaf_id = each.id
        ids.append(leaf_id)
    return ids


def add_messages(
    tree: Tree,
    ids: Sequence[str],
    parent: int,
    offsets: Sequence[int],
    lengths: Sequence[int],
    *,
    are_new: bool = False,
) -> int:
    """Adds plain messages, the first below the row `parent`, each other below the one before, while ids are new.

    With `are_new`, they are not looked for in the table of a snapshot. Returns how many were added.
    """
    row = len(tree)
    links = tree.links_below(parent)
    tree.offsets.tail.extend(offsets)  # before the ids: if one comes twice, `same_id` reads the first one's line
    tree.lengths.tail.extend(lengths)
    count = add_ids(tree.ids, ids, row, are_new=are_new)
    if count < len(offsets):
        del tree.offsets.tail[count - len(offsets) :], tree.lengths.tail[count - len(offsets) :]
    if count:
        tree.kinds.tail.frombytes(bytes(count * tree.kinds.tail.itemsize))  # MESSAGE is 0
        tree.parents.append(parent)
        tree.parents.tail.extend(range(row, row + count - 1))
        tree.links.tail.extend([links] * count)
        tree.newest_links = links
        tree.size = row + count
    return count


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
    for each in hashed:
        slot = (each * factor & _64_BITS) >> shift
        while (other := slots[slot]) != EMPTY:
            if hashes[other] == each and table.same_id(other, ids[row - first]):
                break
            slot = (slot + 1) % len(slots)
        if other != EMPTY or (
            persisted is not None
            and table.find_persisted(persisted, each * factor & _64_BITS, each, ids[row - first]) is not None
        ):
            del hashes.tail[row - hashes.persisted :]
            break
        slots[slot] = row
        row += 1
    return row - first


def hashes_of(ids: Sequence[str]) -> array[int]:
    """Returns the hashes of ids."""
    digits = "".join(ids)
    if digits.isascii() and digits.isalnum() and {*map(len, ids)} == {16} and all(map(str.islower, ids)):
        try:
            found = array("Q", bytes.fromhex(digits))
        except ValueError:
            pass
        else:
            if sys.byteorder == "little":
                found.byteswap()
            return found
    return array("Q", map(hash_of, ids))
