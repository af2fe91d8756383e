"""The law of `plain_log`: a small log that is read at once says what an index of it says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from zlib import crc32

import pytest
from helpers import HEADER, assistant, log_of, mark, node, sealed, user
from hypothesis import given
from hypothesis import strategies as st
from test_bulk import chains, damaged, lines_of, records

from convtree import Entry, Mark, Session
from convtree._engine.log_index import Index
from convtree._engine.plain_log import PlainLog, plain_log_of, read_plain_log
from convtree._logs.jsonl import JsonlLog
from convtree._logs.memory import MemoryLog


def scanned(lines: list[bytes]) -> Index:
    """The index of these lines."""
    *starts, end = accumulate((len(line) + 1 for line in lines), initial=0)
    by_place = dict(zip(starts, lines, strict=True))
    index = Index(lambda spans: [by_place[at] for at, _ in spans])
    index.scan(starts, lines, end)
    index.end_scan()
    return index


def check(lines: list[bytes]) -> PlainLog | None:
    """The law."""
    plain = plain_log_of(lines)
    if plain is not None:
        index = scanned(lines)
        assert index.state.findings == []
        assert (index.state.read_only, index.state.critical_mark) == (None, None)
        assert plain.header == index.header
        assert plain.records == index.records(range(len(index.tree)))
        assert plain.name == index.state.name
        assert plain.path() == {index.id_of(row) for row in index.tree.path(index.state.leaf.row)}
    return plain


def with_header(found: Sequence[Entry | Mark]) -> list[bytes]:
    """A log with these records."""
    (header,) = sealed([HEADER])
    return [header, *lines_of(found, crc32(header))]


@given(st.lists(records, max_size=6).map(with_header))
def test_any_records(lines: list[bytes]) -> None:
    """What is found to be plain is what a scan finds."""
    check(lines)


@given(damaged())
def test_damaged_lines(lines: list[bytes]) -> None:
    """Nothing is plain that a scan reports."""
    check(lines)


@given(chains().map(with_header))
def test_conversations(lines: list[bytes]) -> None:
    """Most of them are plain."""
    check(lines)


GROUP = mark("g", "group", count=2)
M, N = node("m", None), node("n", "m")


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ([], 0),
        ([M, N], 2),
        ([GROUP, M, N], 2),
        ([GROUP, M, N, node("o", "m"), mark("k", "group", count=2), node("p", "o"), node("q", "p")], 5),
        ([M, node("c", "m", "compaction", summary="s", first_kept_entry_id="m"), node("o", "c")], 3),
        ([M, mark("l", "label", target_id="m", label="x"), mark("k", "leaf", target_id=None)], 3),
        ([M, mark("v", "visibility", target_id="m", visible_to="user"), mark("i", "session_info", name="x")], 3),
        ([GROUP, M], None),
        ([GROUP, mark("k", "group", count=2), M, N], None),
        ([mark("g", "group", count=1), M], None),
        ([M, M], None),
        ([node("n", "m")], None),
        ([M, mark("k", "leaf", target_id="x")], None),
        ([M, mark("m", "leaf", target_id=None)], None),
        ([M, mark("l", "label", target_id="l", label="x")], None),
        ([M, node("d", "m", "model_change", model="m"), mark("v", "visibility", target_id="d", pinned=True)], None),
        ([M, node("o", "m", "lost")], None),
        ([node("o", None, "vacuum")], None),
        ([M, node("o", "m", "x.y")], None),
        ([M, mark("o", "x.y")], None),
        ([M, node("n", "m", needs=["x"])], None),
        ([M, HEADER], None),
        ([M, node("n", "m", message=1)], None),
        ([M, node("n", "m", "compaction", summary=1)], None),
        ([M, "[]"], None),
    ],
)
def test_what_is_plain(texts: list[str], count: int | None) -> None:
    """Groups, branches, and marks whose target is there. Not what a scan reports, or does not know."""
    plain = check(sealed([HEADER, *texts]))
    assert (None if plain is None else len(plain.records)) == count


@pytest.mark.parametrize(
    "header", [M, HEADER.replace(":1,", ":2,"), HEADER.replace('"seal"', '"needs":["x"],"seal"'), "[]", HEADER[:9]]
)
def test_headers_that_are_not(header: str) -> None:
    """Of another version, with needs, or none at all."""
    assert check(sealed([header, M])) is None


def test_no_lines() -> None:
    """An empty log has no header."""
    assert check([]) is None


def test_logs(tmp_path: Path) -> None:
    """A file is read to its end; not if its tail is torn, or there is a snapshot, which may know of more lines."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(log_of(M, N))
    plain = read_plain_log(JsonlLog(path, mode="r"))
    assert plain is not None
    assert [(number, record.id) for number, record in plain.numbered(1)] == [(1, "n")]
    path.write_bytes(log_of(M, N)[:-1])
    assert read_plain_log(JsonlLog(path, mode="r")) is None
    path.write_bytes(log_of(M, N))
    (tmp_path / "a.jsonl.index").write_bytes(b"")
    assert read_plain_log(JsonlLog(path, mode="r")) is None
    assert read_plain_log(MemoryLog()) is None


def test_long_logs(tmp_path: Path) -> None:
    """Up to 1 MiB, in several pieces."""
    path = tmp_path / "a.jsonl"
    with Session.open(path, durability="process") as session:
        session.append_many([user("x" * 1000), assistant("y" * 1000)] * 200)
    plain = read_plain_log(JsonlLog(path, mode="r"))
    assert plain is not None
    assert len(plain.records) == 400
    with Session.open(path, durability="process") as session:
        session.append(user("x" * 2**20))
    assert read_plain_log(JsonlLog(path, mode="r")) is None
