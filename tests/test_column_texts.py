"""Texts as columns have them: reversible, without NUL, and with a beginning that fits into an index."""

import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from convtree._catalogue.texts import beginning, equals, is_one_of, key_of_texts, one_of, restored, stored

TEXTS = st.text(st.sampled_from("\0\x1a012ab"), max_size=8) | st.text(max_size=20)


@given(TEXTS)
def test_a_stored_text_is_restored(text: str) -> None:
    """And has no NUL. A text without NUL and U+001A stays as it is."""
    column = stored(text)
    assert (restored(column), "\0" in column) == (text, False)
    assert (column == text) == ("\0" not in text and "\x1a" not in text)


def test_none_stays_none() -> None:
    """A column without a text."""
    assert (stored(None), restored(None)) == (None, None)
    assert (stored("\x1a\0"), restored("\x1a1\x1a0")) == ("\x1a1\x1a0", "\x1a\0")


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_a_key_stands_for_its_texts_only(a: str, b: str, c: str, d: str) -> None:
    """32 digits, whatever is in them."""
    assert (key_of_texts(a, b) == key_of_texts(c, d)) == ((a, b) == (c, d))
    assert len(key_of_texts(a * 1000, b)) == 32


def test_conditions_use_the_index_and_compare_the_whole_text() -> None:
    """Two texts with the same first 512 characters are told apart."""
    long = "x" * 512
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE t (name TEXT)")
        db.execute(f"CREATE INDEX by_name ON t ({beginning('name')})")
        db.executemany("INSERT INTO t VALUES (?)", [(long,), (long + "a",), (long + "b",), ("c",), (None,)])
        marks, values = one_of([long + "b", "c", "d"])
        for condition, given_values, expected in (
            (equals("name", ":n"), {"n": long + "a"}, [long + "a"]),
            (equals("name", ":n"), {"n": long}, [long]),
            (is_one_of("name", marks), values, ["c", long + "b"]),
            (is_one_of("name", one_of([])[0]), {}, []),
        ):
            sql = f"SELECT name FROM t WHERE {condition} ORDER BY name"
            assert [row[0] for row in db.execute(sql, given_values)] == expected
            plan = [row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", given_values)]
            assert "USING INDEX by_name" in plan[0]
