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
    Index.scan                                  Index.add_written, of records that were just written

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from zlib import crc32

from msgspec import UNSET

from convtree._engine import codec
from convtree._engine.codec import DECODE_ERRORS
from convtree._engine.envelope import Envelope, decode_envelope
from convtree._engine.id_table import EMPTY, IdTable, hash_of
from convtree._engine.tree import Tree
from convtree._model.entries import ENTRY_CLASSES, HIDDEN_FROM_MODEL

_SEAL = b',"prev":"%08x","crc":"%08x"}'
_CRC = b',"crc":"%08x"}'
_64_BITS = 2**64 - 1


def verify_chain(lines: Sequence[bytes], prev: int) -> tuple[int, int]:
    """Verifies lines that follow the line whose CRC is `prev`.

    Returns how many leading lines verify and name the line before them, and the CRC of the last of those.
    """
    if not lines:
        return 0, prev
    crcs = list(map(crc32, [line[:-18] for line in lines]))
    ends = [line[-36:] for line in lines]
    wholes = list(map(crc32, [end[18:] for end in ends], crcs))
    prevs = [prev, *wholes[:-1]]
    expected = list(map(_SEAL.__mod__, zip(prevs, map(crc32, repeat(b"}"), crcs), strict=True)))
    good = len(lines)
    if expected != ends:
        good = next(i for i, (end, right) in enumerate(zip(ends, expected, strict=True)) if end != right)
    return good, wholes[good - 1] if good else prev


def all_seals_valid(lines: Sequence[bytes]) -> bool:
    """Returns whether every line matches its own checksum. The lines may come from anywhere in a log.

    Does not check the form of `prev`, so it is only for lines that a scan has verified before.
    """
    own = map(crc32, repeat(b"}"), map(crc32, [line[:-18] for line in lines]))
    return all(map(bytes.endswith, lines, map(_CRC.__mod__, own)))


def read_entry_envelopes(lines: Iterable[bytes]) -> list[Envelope | None]:
    """Reads the envelopes of lines; None unless a line is an entry of a known type with an id like `random_id`'s."""
    envelopes: list[Envelope | None]

    try:
        envelopes = list(map(decode_envelope, lines))
    except DECODE_ERRORS:
        envelopes = list(map(_read_or_none, lines))
    for number, each in enumerate(envelopes):
        if each and (
            each.parent_id is UNSET
            or each.type not in ENTRY_CLASSES
            or not codec.is_own_id(each.id)
            or each.needs is not None
        ):
            envelopes[number] = None
    return envelopes


def _read_or_none(line: bytes) -> Envelope | None:
    try:
        return decode_envelope(line)
    except DECODE_ERRORS:
        return None


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


def add_ids(table: IdTable, ids: Iterable[str], row: int, *, are_new: bool = False) -> int:
    """Adds the ids of the rows from `row` on, while they are new; returns how many were added."""
    first, hashes, slots, shift = row, table.hashes, table.slots, table.shift
    factor, persisted = table.factor, None if are_new else table.persisted
    for id in ids:
        hashed = hash_of(id)
        product = hashed * factor & _64_BITS
        slot = product >> shift
        while (other := slots[slot]) != EMPTY:
            if hashes[other] == hashed and table.same_id(other, id):
                return row - first
            slot = (slot + 1) % len(slots)
        if persisted is not None and table.find_persisted(persisted, product, hashed, id) is not None:
            break
        hashes.append(hashed)
        slots[slot] = row
        if row > table.full:
            table.grow()
            slots, shift = table.slots, table.shift
        row += 1
    return row - first
