"""Columns and the table of ids against a plain list and a plain dict: covered pages, a tail, and every border."""

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
LENGTHS = st.sampled_from([0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 8191, 8192, 8193, 16385])


def pages_of(code: str, numbers: list[int]) -> list[bytes]:
    """The pages of a column, the last filled with zeros."""
    data = array(code, numbers).tobytes()
    return [data[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(data), PAGE)]


def column_of(code: str, persisted: list[int], tail: list[int]) -> tuple[Column, list[int]]:
    """A column with a covered part and a tail, and the list of the pages that were fetched."""
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
    """Different numbers, from the whole range of a type."""
    return [(number * 2654435761) % (HIGHEST[code] + 1) for number in range(count)]


# --- columns ---


@pytest.mark.parametrize("code", ROWS)
@given(persisted=LENGTHS, tail=LENGTHS, some=st.lists(st.integers(0, 40_000), max_size=20))
@example(persisted=8192, tail=1, some=[0, 8191, 8192])
def test_a_column_is_a_list(code: str, persisted: int, tail: int, some: list[int]) -> None:
    """Length, rows, several rows, all rows and the bytes are those of the list, wherever the covered part ends."""
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
def test_a_column_grows_over_the_borders_of_pages(code: str) -> None:
    """Row by row, behind a covered part that ends in the middle of a page, and behind none."""
    for persisted in (0, 1, ROWS[code] - 1, ROWS[code], ROWS[code] + 1):
        expected = numbers(code, persisted + 2 * ROWS[code] + 1)
        column, _ = column_of(code, expected[:persisted], [])
        for row in range(persisted, len(expected)):
            column.append(expected[row])
            assert (len(column), column[row]) == (row + 1, expected[row])
        assert list(column) == expected


def test_a_page_is_fetched_once() -> None:
    """By whatever asks first; `load` fetches the rest."""
    column, fetched = column_of("i", numbers("i", 5000), [7])
    assert column[3000] == numbers("i", 5000)[3000]
    column.take([2048, 2049, 4095])
    assert fetched == [1]
    column.load()
    column.load()
    assert sorted(fetched) == [0, 1, 2]
    assert list(column) == [*numbers("i", 5000), 7]
    assert sorted(fetched) == [0, 1, 2]


def test_an_error_of_a_fetch_is_raised_each_time() -> None:
    """A page that could not be had is asked for again."""

    def fetch(_number: int) -> bytes:
        raise LookupError

    column = Column("i", 5, fetch)
    for ask in (lambda: column[0], lambda: column.take([4]), lambda: list(column), lambda: list(column.follow(2))):
        with pytest.raises(LookupError):
            ask()


@given(persisted=st.sampled_from([0, 1, 2047, 2048, 2049, 4100]), tail=st.sampled_from([0, 1, 3000]), data=st.data())
def test_following_is_asking_again_and_again(persisted: int, tail: int, data: st.DataObject) -> None:
    """From the tail into the covered part, to the first negative number, which is not yielded."""
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


@pytest.mark.parametrize("circle", [[0], [-1, 1], [2, 0, 1], [-1, 0, 2**31 - 1]])
def test_nobody_is_led_in_a_circle(circle: list[int]) -> None:
    """A page that was forged with its checksum names a row that is no smaller one: it is as good as damaged."""
    column, _ = column_of("i", circle, [])
    with pytest.raises(SnapshotDamaged):
        list(column.follow(len(circle) - 1))


# --- ids ---


class Table:
    """An id table over rows whose ids are known, as the log knows them, in two parts: one that a snapshot covers."""

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
    """The id of our own form whose value is the digest of another."""
    return blake2b(id.encode(), digest_size=8).hexdigest()


OWN = st.integers(0, 2**64 - 1).map("{:016x}".format)
IDS = st.lists(OWN | st.text(min_size=1, max_size=5), unique=True, max_size=300)


@given(persisted=IDS, tail=IDS, salt=st.integers(0, 2**64 - 1))
@example(persisted=["a"], tail=[digest("a")], salt=0)
@example(persisted=[digest("a")], tail=["a"], salt=1)
def test_an_id_table_is_a_dict(persisted: list[str], tail: list[str], salt: int) -> None:
    """Every id leads to its row, and no other leads anywhere, before and after a snapshot of a snapshot."""
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


@pytest.mark.parametrize("size", [0, 31, 32, 33, 34, 64, 65, 1000])
@pytest.mark.parametrize("persisted", [0, 1, 33, 1024, 1025, 4097])
def test_an_id_table_grows(persisted: int, size: int) -> None:
    """Over every size at which it is made anew, behind a covered part of any size."""
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(persisted + size)]
    table = Table(ids[:persisted], 12345)
    for row in range(persisted, persisted + size):
        table.add([ids[row]])
        assert table.table.find(ids[row]) == row
    assert [table.table.find(id) for id in ids] == list(range(persisted + size))
    assert table.table.find("f" * 16) is None


@pytest.mark.parametrize("first", ["own", "foreign"])
@pytest.mark.parametrize("part", ["persisted", "tail", "both"])
def test_equal_hashes_are_told_apart_by_the_log(first: str, part: str) -> None:
    """An id of our form may have the digest of another id as its value: neither is taken for the other."""
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


def test_a_row_that_the_log_disowns_is_not_found() -> None:
    """The same hash proves nothing: when no row with it has the id, there is none."""
    table = Table([], 0)
    table.add(["a"])
    table.ids[0] = "damaged"
    assert table.table.find("a") is None
    table.ids.append("a")
    table.table.add("a", 1)
    assert table.table.find("a") == 1


def test_ids_are_added_as_long_as_they_are_new() -> None:
    """`add_ids` stops at the first that is stored, also earlier in the same call, and returns how many were added."""

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
def test_ids_that_are_nearly_of_our_form_have_a_digest(id: str) -> None:
    """They do not share a hash with the id that they look like."""
    table = Table([], 3)
    table.add([id, "abcdefabcdef0123"])
    assert (table.table.find(id), table.table.find("abcdefabcdef0123")) == (0, 1)
    assert table.table.hashes[0] == int.from_bytes(blake2b(id.encode(errors="replace"), digest_size=8).digest())
    assert table.table.hashes[1] == 0xABCDEFABCDEF0123


def test_ids_with_the_digits_of_other_scripts_have_a_digest() -> None:
    """Digits exist in dozens of scripts; otherwise a writer could make any number of ids with one hash."""
    table = Table([], 3)
    table.add(["abcdef" + digit * 10 for digit in "0\u0660\u06f0\u0966"])
    assert len(set(table.table.hashes)) == 4


def test_the_salt_scatters_ids_that_were_chosen_to_collide() -> None:
    """The slot of a hash depends on the salt, so a writer that chooses ids does not know which of them collide."""

    def filled(salt: int) -> list[int]:
        table = Table([], salt)
        table.add([f"{number:016x}" for number in range(20)])
        return [slot for slot, row in enumerate(table.table.table()) if row != -1]

    assert filled(1) != filled(0x9E3779B97F4A7C15)
