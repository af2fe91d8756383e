"""The law of `bulk`: handling many lines at once gives the same result as handling one line after the other."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch
from zlib import crc32

from helpers import node, sealed
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    LabelMark,
    LeafMark,
    LostEntry,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    SessionInfoMark,
    VacuumEntry,
)
from convtree._engine import bulk, codec
from convtree._engine.columns import PAGE, Column
from convtree._engine.id_table import IdTable
from convtree._engine.log_index import Index
from convtree._engine.tree import COLUMN_TYPES, COMPACTION, EXTENSION_DATA, LINKS, MARK, MESSAGE, PINNED, ROOT, Tree

IDS = [f"{number:016x}" for number in range(12)]
own_ids = st.sampled_from(IDS)
ids = st.one_of(own_ids, st.sampled_from(["a", "b.c", "0123456789abcdeF", "ffffffffffffffff", "x" * 16]))
parents = st.one_of(st.none(), ids)
models = st.sampled_from([None, "m", "n"])
texts = st.text(max_size=5)


@st.composite
def messages(draw: st.DrawFn, id: st.SearchStrategy[str] = ids) -> MessageEntry:
    return MessageEntry(
        id=draw(id),
        parent_id=draw(parents),
        message={"role": draw(st.sampled_from(["user", "assistant", "system"])), "content": draw(texts)},
        provider=draw(models),
        model=draw(models),
        visible_to=draw(st.sampled_from(["all", "all", "model", "user"])),
        pinned=draw(st.sampled_from([None, None, True, False])),
    )


records: st.SearchStrategy[Entry | Mark] = st.one_of(
    messages(),
    st.builds(CompactionEntry, id=ids, parent_id=parents, summary=texts, first_kept_entry_id=st.none()),
    st.builds(BranchSummaryEntry, id=ids, parent_id=parents, summary=texts, from_id=st.none()),
    st.builds(ModelChangeEntry, id=ids, parent_id=parents, provider=models, model=st.sampled_from(["m", "n"])),
    st.builds(ExtensionDataEntry, id=ids, parent_id=parents, ext_type=st.just("x.y"), data=st.integers(0, 9)),
    st.builds(OpaqueEntry, id=ids, parent_id=parents, unknown_type=st.just("x.y"), fields=st.just({"k": 1})),
    st.builds(OpaqueEntry, id=ids, parent_id=parents, unknown_type=st.just("x.y"), fields=st.just({"critical": True})),
    st.builds(LostEntry, id=ids, parent_id=parents, line_crc=st.sampled_from([None, "00000000"])),
    st.builds(VacuumEntry, id=ids, parent_id=parents, model=models, settings=st.sampled_from([None, {}])),
    st.builds(OpaqueMark, id=ids, unknown_type=st.just("x.y"), fields=st.just({"critical": True})),
    st.builds(LeafMark, id=ids, target_id=parents),
    st.builds(LabelMark, id=ids, target_id=ids, label=st.one_of(st.none(), texts)),
    st.builds(SessionInfoMark, id=ids, name=texts, archived=st.booleans()),
    st.builds(SessionInfoMark, id=ids, cwd=st.none() | texts, git_root=st.none() | texts, hold=st.booleans()),
)


@st.composite
def chains(draw: st.DrawFn) -> list[Entry]:
    """Draws messages and extension data that mostly continue each other, as in a conversation."""
    found: list[Entry] = []
    for id in draw(st.lists(own_ids, unique=True, max_size=8)):
        entry = draw(messages(st.just(id)))
        continues = draw(st.integers(0, 4)) > 0
        parent_id = (found[-1].id if found else None) if continues else entry.parent_id
        if draw(st.integers(0, 3)) == 0:
            found.append(ExtensionDataEntry(id=id, parent_id=parent_id, ext_type="x.y", data=None))
            continue
        plain = {"visible_to": "all", "pinned": None, "model": None, "provider": None} if draw(st.booleans()) else {}
        found.append(
            MessageEntry(
                **({name: getattr(entry, name) for name in entry.__struct_fields__} | plain | {"parent_id": parent_id})
            )
        )
    return found


def lines_of(found: Sequence[Entry | Mark], prev: int = 0) -> list[bytes]:
    lines = []
    for record in found:
        line, prev = codec.seal_line(codec.encode(record), prev)
        lines.append(line)
    return lines


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """Draws the lines of a log, some of them changed, dropped or moved."""
    lines = lines_of(draw(st.lists(records, max_size=6)), draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 2)) if lines else 0):
        number = draw(st.integers(0, len(lines) - 1))
        at = draw(st.integers(0, len(lines[number])))
        change = draw(st.sampled_from(["byte", "cut", "empty", "twice", "swap"]))
        if change == "byte":
            lines[number] = lines[number][:at] + draw(st.binary(min_size=1, max_size=1)) + lines[number][at + 1 :]
        elif change == "cut":
            lines[number] = lines[number][:at]
        elif change == "empty":
            lines[number] = b""
        elif change == "twice":
            lines.insert(number, lines[number])
        else:
            lines[0], lines[number] = lines[number], lines[0]
    return lines


@given(damaged(), st.integers(0, 2**32 - 1), st.sampled_from([1, bulk._FEW]))
def test_verify_chain_equals_verify_seal(lines: list[bytes], prev: int, few: int) -> None:
    """The chain ends at the first line with an invalid seal or a wrong CRC of the line before."""
    if lines and (seal := codec.verify_seal(lines[0])) is not None and prev % 2:
        prev = seal.prev
    good, last = 0, prev
    for line in lines:
        seal = codec.verify_seal(line)
        if seal is None or seal.prev != last:
            break
        good, last = good + 1, seal.crc
    with patch.object(bulk, "_FEW", few):
        assert bulk.verify_chain(lines, prev) == (good, last)


@given(damaged(), st.sampled_from([1, bulk._FEW]))
def test_all_seals_valid_equals_verify_seal(lines: list[bytes], few: int) -> None:
    """This holds for lines whose `prev` has the right form, which a scan has checked."""
    with_prev = [
        line for line in lines if line[-36:-27] == b',"prev":"' and not line[-27:-19].strip(b"0123456789abcdef")
    ]
    with patch.object(bulk, "_FEW", few):
        found = bulk.all_seals_valid(with_prev)
    assert found == all(codec.verify_seal(line) is not None for line in with_prev)


@given(damaged())
def test_read_entry_envelopes_equals_read_envelope(lines: list[bytes]) -> None:
    """It gives None for a mark, an unknown type, a foreign id, and a line that cannot be read."""

    def one(line: bytes) -> Any:
        try:
            envelope = codec.read_envelope(line)
        except codec.DECODE_ERRORS:
            return None
        is_entry = envelope.known and isinstance(envelope.parent_id, str | None)
        return envelope if is_entry and codec.is_own_id(envelope.id) else None

    found = bulk.read_entry_envelopes(lines)
    assert [each and asdict(each) for each in found] == [each and asdict(each) for each in map(one, lines)]


def test_a_field_of_another_type_is_left_to_one_by_one() -> None:
    """`read_envelope` ignores `pinned` on a compaction; the bulk reader returns None for the line."""
    line = sealed([node(IDS[0], None, "compaction", summary="S", first_kept_entry_id=None, pinned="x")])[0]
    assert codec.read_envelope(line).id == IDS[0]
    assert bulk.read_entry_envelopes([line]) == [None]


class Table:
    """An id table over the ids of a log. If `persisted`, the first of them are in a snapshot."""

    def __init__(self, names: Sequence[str], persisted: bool) -> None:
        self.names = list(names)
        self.table = IdTable(Column("Q"), self.same_id, 5)
        for row, name in enumerate(names):
            self.table.add(name, row)
        if persisted:
            slots, hashes = self.table.table(), self.table.hashes
            self.table = IdTable(saved("Q", hashes), self.same_id, 5, saved("i", slots))

    def same_id(self, row: int, name: str) -> bool:
        return self.names[row] == name


def saved(code: str, column: Column) -> Column:
    """Returns a column as a snapshot would restore it."""
    whole = b"".join(bytes(piece) for piece in column.bytes())
    return Column(code, len(column), lambda number: whole[number * PAGE :][:PAGE].ljust(PAGE, b"\0"))


@given(st.integers(0, 60), st.lists(ids, max_size=20), st.booleans())
def test_add_ids_equals_add(size: int, found: list[str], persisted: bool) -> None:
    """Ids are added while they are new, also to each other, as the table grows and behind persisted rows."""
    before = [*IDS[6:], *(f"before-{number}" for number in range(size))]
    fast, slow = Table(before, persisted), Table(before, persisted)
    count = 0
    for each in found:
        if slow.table.find(each) is not None:
            break
        slow.names.append(each)
        slow.table.add(each, len(before) + count)
        count += 1
    fast.names += found
    assert bulk.add_ids(fast.table, found, len(before)) == count
    assert list(fast.table.hashes) == list(slow.table.hashes)
    assert [fast.table.find(each) for each in (*before, *found)] == [
        slow.table.find(each) for each in (*before, *found)
    ]


class Rows:
    """A tree over the ids of a log. Some rows are pinned, so other rows have links to them."""

    def __init__(self, pinned: Sequence[bool]) -> None:
        self.ids = IDS[: len(pinned)]
        self.tree = Tree(lambda row, name: self.ids[row] == name, 7)
        for row, each in enumerate(pinned):
            self.tree.add(self.ids[row], row // 2 - 1, PINNED if each else MESSAGE, 100 * row, 10)

    def add(self, id: str, parent: int, kind: int = MESSAGE) -> None:
        self.ids.append(id)
        self.tree.add(id, parent, kind, 100 * len(self.tree), 10)

    def columns(self) -> dict[str, list[int]]:
        return {name: list(self.tree.columns[name]) for name in COLUMN_TYPES}


@given(st.lists(st.booleans(), max_size=6), st.integers(-1, 5), st.lists(st.tuples(own_ids, st.booleans()), max_size=8))
def test_add_plain_equals_add(pinned: list[bool], parent: int, drawn: list[tuple[str, bool]]) -> None:
    """Plain entries get the links of the row they continue, and later rows continue them correctly."""
    found = [id for id, _ in drawn]
    fast, slow = Rows(pinned), Rows(pinned)
    start = len(pinned)
    parent = min(parent, start - 1)
    count = 0
    for each, is_data in drawn:
        if slow.tree.find(each) is not None:
            break
        slow.add(each, start + count - 1 if count else parent, EXTENSION_DATA if is_data else MESSAGE)
        count += 1
    fast.ids += found
    data = [number for number, (_, is_data) in enumerate(drawn) if is_data]
    offsets = [100 * (start + number) for number in range(len(found))]
    assert bulk.add_plain(fast.tree, found, parent, offsets, [10] * len(found), data=data) == count
    del fast.ids[start + count :]
    for rows in (fast, slow):
        rows.add("next", len(rows.tree) - 1, COMPACTION)
        rows.add("last", len(rows.tree) - 1)
    assert fast.columns() == slow.columns()


@given(
    st.lists(st.booleans(), max_size=6),
    st.lists(st.tuples(st.sampled_from([MARK, MESSAGE, EXTENSION_DATA]), st.integers(-1, 9)), min_size=1, max_size=8),
)
def test_add_new_equals_add(pinned: list[bool], added: list[tuple[int, int]]) -> None:
    """Also if one is below another of them, and marks lie in between."""
    fast, slow = Rows(pinned), Rows(pinned)
    start = len(pinned)
    found = [f"{2**63 + number:016x}" for number in range(len(added))]
    kinds = [kind for kind, _ in added]
    parents = [ROOT if kind == MARK else min(above, start + number - 1) for number, (kind, above) in enumerate(added)]
    for id, parent, kind in zip(found, parents, kinds, strict=True):
        slow.add(id, parent, kind)
    fast.ids += found
    offsets = [100 * (start + number) for number in range(len(found))]
    bulk.add_new(fast.tree, found, parents, kinds, offsets, [10] * len(found))
    for rows in (fast, slow):
        rows.add("next", len(rows.tree) - 1, COMPACTION)
        rows.add("last", len(rows.tree) - 1)
    assert fast.columns() == slow.columns()


class MemoryLines:
    """A log in memory: lines by position, and an index of them."""

    def __init__(self) -> None:
        self.lines: dict[int, bytes] = {}
        self.end = 0
        self.index = Index(self.read_at, 3)

    def read_at(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.lines.get(position, b"")[:length] for position, length in spans]

    def put(self, lines: Sequence[bytes]) -> list[int]:
        positions = []
        for line in lines:
            positions.append(self.end)
            self.lines[self.end] = line
            self.end += len(line) + 1
        return positions

    def scan(self, lines: Sequence[bytes]) -> None:
        positions = self.put(lines)
        self.index.scan(positions, lines, self.end)

    def known(self) -> tuple[Any, ...]:
        index = self.index
        columns = {name: list(index.tree.columns[name]) for name in COLUMN_TYPES}
        return index.state, columns, index.header, index.sealed_from, index.header_is_damaged


HEADER_LINE, HEADER_CRC = codec.seal_line(
    b'{"type":"session","format":"convtree","version":1,"id":"s1","timestamp":null,"seal":"crc32"', 0
)


@given(st.one_of(chains(), st.lists(records, max_size=8)), damaged())
def test_scan_of_many_lines_equals_one_by_one(found: list[Entry | Mark], more: list[bytes]) -> None:
    """Columns, state and findings are equal, also with damage and with repeated lines."""
    lines = [HEADER_LINE, *lines_of(found, HEADER_CRC), *more, *lines_of(found, 1)]
    at_once, one_by_one = MemoryLines(), MemoryLines()
    at_once.scan(lines)
    for line in lines:
        one_by_one.scan([line])
    assert at_once.known() == one_by_one.known()


@given(chains(), st.lists(records, max_size=8))
def test_add_written_equals_scan(chain: list[Entry], others: list[Entry | Mark]) -> None:
    """`add_written` does not parse lines, because the write batch has checked ids and references."""
    taken: set[str] = set()
    found: list[Entry | Mark] = []
    for record in (*chain, *others):
        if record.id not in taken:
            taken.add(record.id)
            found.append(record)
    lines = lines_of(found, HEADER_CRC)
    scanned, written = MemoryLines(), MemoryLines()
    scanned.scan([HEADER_LINE])
    written.scan([HEADER_LINE])
    if lines:
        scanned.scan(lines)
        written.index.add_written(found, written.put(lines), lines, crc32(lines[-1]))
    assert written.known() == scanned.known()


@given(chains(), st.lists(records, max_size=8), st.integers(0, 20))
def test_an_entry_that_came_back_is_as_if_it_had_never_been_lost(
    chain: list[Entry], others: list[Entry | Mark], lost: int
) -> None:
    """Scanned at once, one by one, or as written here: the same index, and what every row is linked to is as before."""
    found = list({record.id: record for record in (*chain, *others)}.values())
    entries = [number for number, record in enumerate(found) if isinstance(record, Entry)]
    if not entries:
        return
    place = entries[lost % len(entries)]
    true = found[place]
    stub = LostEntry(
        id=true.id,
        parent_id=getattr(true, "parent_id", None),
        line_crc=f"{crc32(codec.encode(true) + b'}'):08x}",
    )
    lines = lines_of([*found[:place], stub, *found[place + 1 :], true], HEADER_CRC)
    at_once, one_by_one, written, sound = MemoryLines(), MemoryLines(), MemoryLines(), MemoryLines()
    at_once.scan([HEADER_LINE, *lines])
    for line in (HEADER_LINE, *lines):
        one_by_one.scan([line])
    written.scan([HEADER_LINE, *lines[:-1]])
    written.index.add_written([true], written.put(lines[-1:]), lines[-1:], crc32(lines[-1]))
    sound.scan([HEADER_LINE, *lines_of(found, HEADER_CRC)])
    assert at_once.known() == one_by_one.known() == written.known()
    assert at_once.index.records(range(len(found))) == sound.index.records(range(len(found)))
    assert [linked(at_once.index, row) for row in range(len(found))] == [
        linked(sound.index, row) for row in range(len(found))
    ]
    state, before = at_once.index.state, sound.index.state
    assert (state.leaf, state.labels, state.lost, state.vacuumed) == (
        before.leaf,
        before.labels,
        before.lost,
        before.vacuumed,
    )
    assert {each.code for each in state.findings} == {each.code for each in before.findings}


def linked(index: Index, row: int) -> list[Any]:
    """The rows that matter for a context at a row; of a model, what it is."""
    columns = index.tree
    rows = [columns.nearest(columns.columns[name], row) for name in LINKS if name != "models"]
    namer = columns.nearest(columns.models, row)
    named: Any = index.records([namer])[0] if namer >= 0 else None
    return [*rows, getattr(named, "provider", None), getattr(named, "model", None)]
