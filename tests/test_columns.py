"""Columns against a list, and the id table against a dict: persisted pages, a tail, and the borders between them."""

from array import array
from hashlib import blake2b

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convtree._engine.bulk import add_ids
from convtree._engine.columns import PAGE, Column, SnapshotDamaged
from convtree._engine.id_table import IdTable

ROWS = {"B": PAGE, "I": PAGE // 4, "i": PAGE // 4, "Q": PAGE // 8}  # of a page
HIGHEST = {"B": 2**8 - 1, "I": 2**32 - 1, "i": 2**31 - 1, "Q": 2**64 - 1}
LENGTHS = st.sampled_from([0, 1, 2, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 8193])


def pages_of(code: str, numbers: list[int]) -> list[bytes]:
    """Returns the pages of a column, the last one filled with zeros."""
    data = array(code, numbers).tobytes()
    return [data[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(data), PAGE)]


def column_of(code: str, persisted: list[int], tail: list[int]) -> tuple[Column, list[int]]:
    """Returns a column with persisted rows and a tail, and the list of the pages fetched so far."""
    pages = pages_of(code, persisted)
    fetched: list[int] = []

    def fetch(number: int) -> bytes:
        fetched.append(number)
        return pages[number]

    column = Column(code, len(persisted), fetch)
    for number in tail:
        column.append(number)
    return column, fetched


def numbers(code: str, count: int) -> list[int]:
    """Returns different numbers from the whole range of a type."""
    return [(number * 2654435761) % (HIGHEST[code] + 1) for number in range(count)]


# --- columns ---


@pytest.mark.parametrize("code", ROWS)
@given(persisted=LENGTHS, tail=LENGTHS, some=st.lists(st.integers(0, 40_000), max_size=20))
@example(persisted=4096, tail=1, some=[0, 4095, 4096])
@example(persisted=4096, tail=4, some=[4094, 4095, 4096, 4097])
def test_a_column_equals_a_list(code: str, persisted: int, tail: int, some: list[int]) -> None:
    """Length, rows, iteration and bytes are those of the list, wherever the persisted rows end."""
    expected = numbers(code, persisted + tail)
    column, fetched = column_of(code, expected[:persisted], expected[persisted:])
    assert (len(column), column.persisted, column.page_count) == (len(expected), persisted, -(-persisted // ROWS[code]))
    assert fetched == []
    rows = [row % len(expected) for row in some if expected]
    assert [column[row] for row in rows] == [expected[row] for row in rows]
    assert column.take(rows) == [expected[row] for row in rows]
    assert sorted(fetched) == sorted({row // ROWS[code] for row in rows if row < persisted})
    assert list(column) == expected
    assert b"".join(column.bytes()) == array(code, expected).tobytes()
    assert sorted(fetched) == list(range(column.page_count))


@pytest.mark.parametrize("code", ROWS)
def test_a_column_grows_past_page_borders(code: str) -> None:
    """Rows are appended behind any number of persisted rows, also in the middle of a page."""
    for persisted in (0, 1, ROWS[code] - 1, ROWS[code], ROWS[code] + 1):
        expected = numbers(code, persisted + 2 * ROWS[code] + 1)
        column, _ = column_of(code, expected[:persisted], [])
        for row in range(persisted, len(expected)):
            column.append(expected[row])
            assert (len(column), column[row]) == (row + 1, expected[row])
        assert list(column) == expected


def test_a_page_is_fetched_once() -> None:
    """The first access fetches a page. `load` fetches the remaining ones."""
    column, fetched = column_of("i", numbers("i", 2500), [7])
    assert column[1500] == numbers("i", 2500)[1500]
    column.take([1024, 1025, 2047])
    assert fetched == [1]
    column.load()
    column.load()
    assert sorted(fetched) == [0, 1, 2]
    assert list(column) == [*numbers("i", 2500), 7]
    assert sorted(fetched) == [0, 1, 2]


def test_rows_that_follow_each_other_are_taken_as_others_are() -> None:
    """Ranges in both directions, lists, and none, across the end of the persisted rows."""
    expected = numbers("i", 1030)
    column, _ = column_of("i", expected[:1025], expected[1025:])
    for rows in (
        range(1020, 1030),
        range(1029, 1019, -1),
        range(0, 1030, 3),
        [1023, 1024, 1025],
        [5, 7, 6],
        [1, 2],
        [],
    ):
        assert column.take(rows) == [expected[row] for row in rows]


def test_a_failed_fetch_is_tried_again() -> None:
    """Every access to a page that cannot be fetched raises."""

    def fetch(_number: int) -> bytes:
        raise LookupError

    column = Column("i", 5, fetch)
    for ask in (
        lambda: column[0],
        lambda: column.take([4]),
        lambda: list(column),
        lambda: list(column.follow(2)),
        lambda: column.path_down(2),
    ):
        with pytest.raises(LookupError):
            ask()


@given(persisted=st.sampled_from([0, 1, 1023, 1024, 1025, 2100]), tail=st.sampled_from([0, 1, 3000]), data=st.data())
def test_follow_equals_repeated_lookups(persisted: int, tail: int, data: st.DataObject) -> None:
    """It leads from the tail into the persisted rows, and ends before the first negative number."""
    size = persisted + tail
    jump = data.draw(st.sampled_from([1, 2, 7, 1000]))
    parents = [max(row - jump, -1 - row % 2) for row in range(size)]
    column, _ = column_of("i", parents[:persisted], parents[persisted:])
    for row in {-1, -2, *(data.draw(st.integers(0, size - 1)) for _ in range(3 if size else 0))}:
        expected = []
        at = row
        while at >= 0:
            expected.append(at)
            at = parents[at]
        assert list(column.follow(row)) == expected
        assert column.path_down(row) == expected[::-1]
        for least in (max(0, row), row // 2 + 1, 1):
            assert column.path_down(row, least) == [each for each in expected[::-1] if each >= least]


@pytest.mark.parametrize("paged", [True, False])
@pytest.mark.parametrize("circle", [[0], [-1, 1], [2, 0, 1], [-1, 0, 2**31 - 1]])
def test_follow_detects_a_circle(circle: list[int], paged: bool) -> None:
    """A forged snapshot with right checksums can name a larger row. It is treated as damaged."""
    column, _ = column_of("i", circle if paged else [], [] if paged else circle)
    with pytest.raises(SnapshotDamaged):
        list(column.follow(len(circle) - 1))
    with pytest.raises(SnapshotDamaged):
        column.path_down(len(circle) - 1)


# --- ids ---


class Table:
    """An id table with persisted rows and a tail, and the list of ids that stands for the log."""

    def __init__(self, persisted: list[str], salt: int) -> None:
        self.ids: list[str] = []
        self.asked: list[tuple[int, str]] = []
        self.table = IdTable(Column("Q"), self._same_id, salt)
        self.add(persisted)
        if persisted:
            hashes = column_of("Q", list(self.table.hashes), [])[0]
            slots = column_of("i", list(self.table.table()), [])[0]
            self.table = IdTable(hashes, self._same_id, salt, slots)

    def _same_id(self, row: int, id: str) -> bool:
        self.asked.append((row, id))
        return self.ids[row] == id

    def add(self, ids: list[str]) -> None:
        for id in ids:
            assert self.table.find(id) is None
            self.ids.append(id)
            self.table.add(id, len(self.ids) - 1)


def digest(id: str) -> str:
    """Returns an id of convtree's own form whose value is the hash of another id."""
    return blake2b(id.encode(), digest_size=8).hexdigest()


OWN = st.integers(0, 2**64 - 1).map("{:016x}".format)
IDS = st.lists(OWN | st.text(min_size=1, max_size=5), unique=True, max_size=300)


@given(persisted=IDS, tail=IDS, salt=st.integers(0, 2**64 - 1))
@example(persisted=["a"], tail=[digest("a")], salt=0)
@example(persisted=[digest("a")], tail=["a"], salt=1)
def test_an_id_table_equals_a_dict(persisted: list[str], tail: list[str], salt: int) -> None:
    """Every id leads to its row and no other id to any, also after two snapshots."""
    table = Table(persisted, salt)
    table.add([id for id in tail if id not in persisted])
    again = Table(table.ids, salt)
    slots = column_of("i", list(table.table.table()), [])[0]
    hashes = column_of("Q", list(table.table.hashes), [])[0]
    once_more = IdTable(hashes, lambda row, wanted: table.ids[row] == wanted, salt, slots)
    for row, id in enumerate(table.ids):
        assert (table.table.find(id), again.table.find(id), once_more.find(id)) == (row, row, row)
        assert once_more.find(id + "?") is None
    for other in ("", "nowhere", "0" * 16, "A" * 16, digest("nowhere")):
        assert (table.table.find(other) is None) == (other not in table.ids)


@pytest.mark.no_cover
@pytest.mark.parametrize("size", [0, 31, 32, 33, 34, 64, 65, 1000])
@pytest.mark.parametrize("persisted", [0, 1, 33, 1024, 1025, 4097])
def test_an_id_table_grows(persisted: int, size: int) -> None:
    """Ids are found after every growth of the table, behind any number of persisted rows."""
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(persisted + size)]
    table = Table(ids[:persisted], 12345)
    for row in range(persisted, persisted + size):
        table.add([ids[row]])
        assert table.table.find(ids[row]) == row
    assert [table.table.find(id) for id in ids] == list(range(persisted + size))
    assert table.table.find("f" * 16) is None


@pytest.mark.parametrize("first", ["own", "foreign"])
@pytest.mark.parametrize("part", ["persisted", "tail", "both"])
def test_equal_hashes_are_resolved_by_the_log(first: str, part: str) -> None:
    """Two ids can have one hash. The log decides which row has which id."""
    pair = ["some id", digest("some id")]
    ids = pair if first == "foreign" else pair[::-1]
    persisted = {"persisted": 2, "tail": 0, "both": 1}[part]
    table = Table(ids[:persisted], 99)
    table.add(ids[persisted:])
    table.asked.clear()
    assert [table.table.find(id) for id in ids] == [0, 1]
    assert len({table.table.hashes[row] for row in (0, 1)}) == 1
    # Both are asked for by their own name only: the log said no to the first of the two, and yes to the second.
    assert {id for _, id in table.asked} == set(ids)
    assert len(table.asked) > 2


def test_a_row_whose_line_changed_is_not_found() -> None:
    """An equal hash is not enough: the line must still have the id."""
    table = Table([], 0)
    table.add(["a"])
    table.ids[0] = "damaged"
    assert table.table.find("a") is None
    table.ids.append("a")
    table.table.add("a", 1)
    assert table.table.find("a") == 1


def test_add_ids_stops_at_the_first_known_id() -> None:
    """A known id is a stored one or an earlier one of the same call. The number of added ids is returned."""

    def added(persisted: list[str], ids: list[str]) -> int:
        table = Table(persisted, 5)
        table.ids += ids
        count = add_ids(table.table, ids, len(persisted))
        assert len(table.table.hashes) == len(persisted) + count
        assert [table.table.find(id) for id in ids[:count]] == list(range(len(persisted), len(persisted) + count))
        return count

    assert added([], ["a", "b", "c"]) == 3
    assert added(["x"], ["a", "b", "c"]) == 3
    assert added(["x"], ["a", "x", "c"]) == 1
    assert added(["x"], ["x"]) == 0
    assert added([], ["a", "b", "a"]) == 2
    assert added([], []) == 0


@pytest.mark.parametrize(
    "id", ["ABCDEFABCDEF0123", "abcdefabcdef012_", "abcdefabcdef012g", "", "\ud800", "\u0661" * 16]
)
def test_other_ids_are_hashed(id: str) -> None:
    """An id that only looks like one of our own gets a digest as hash."""
    table = Table([], 3)
    table.add([id, "abcdefabcdef0123"])
    assert (table.table.find(id), table.table.find("abcdefabcdef0123")) == (0, 1)
    assert table.table.hashes[0] == int.from_bytes(blake2b(id.encode(errors="replace"), digest_size=8).digest())
    assert table.table.hashes[1] == 0xABCDEFABCDEF0123


def test_ids_with_non_ascii_digits_are_hashed() -> None:
    """Python reads the digits of many scripts as numbers, so such ids could share one hash."""
    table = Table([], 3)
    table.add(["abcdef" + digit * 10 for digit in "0\u0660\u06f0\u0966"])
    assert len(set(table.table.hashes)) == 4


def test_the_salt_scatters_chosen_ids() -> None:
    """The slot of a hash depends on the salt, so a writer cannot choose ids that collide."""

    def filled(salt: int) -> list[int]:
        table = Table([], salt)
        table.add([f"{number:016x}" for number in range(20)])
        return [slot for slot, row in enumerate(table.table.table()) if row != -1]

    assert filled(1) != filled(0x9E3779B97F4A7C15)
