"""Groups: a write of several lines is in the log as a whole, or not at all."""

import errno
import itertools
import json
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
from helpers import (
    HEADER,
    as_file,
    assistant,
    codes,
    contents,
    facts,
    ids,
    log_of,
    mark,
    node,
    seal_by_hand,
    sealed,
    user,
)
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    CompactionEntry,
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    InvalidCompaction,
    MessageEntry,
    Session,
    StaleLeaf,
    open_store,
)
from convtree._engine import codec, groups
from convtree._engine.log import Chunk
from convtree._engine.log_index import Index
from convtree._logs import file_lines
from convtree._logs.file_lines import CHUNK
from convtree._logs.index_file import index_of
from convtree.repair import repair, verify

A, B, C, D = node("a", None), node("b", "a"), node("c", "b"), node("d", "c")


def group(id: str, count: Any, **fields: Any) -> str:
    """The mark of a group."""
    return mark(id, "group", count=count, **fields)


def quick(path: Path, **options: Any) -> Session:
    """A session without syncs."""
    return Session.open(path, durability="process", **options)


def opened(path: Path, data: bytes) -> Session:
    """A reader of a log of these bytes."""
    path.write_bytes(data)
    return Session.open(path, mode="r")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, parsed."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def everything(session: Session) -> list[str]:
    """The ids of all records."""
    return [record.id for _, record in session.records()]


# --- what is written ---


def test_a_mark_goes_before_several_lines(log_path: Path) -> None:
    """It counts the lines behind it, in the same write; one line has no mark."""
    with quick(log_path, clock=lambda: 1, id_source=iter(["s", "1", "g", "x"]).__next__, id="s1") as session:
        session.append(user("a"), id="a")
        session.append_many([MessageEntry(id=id, message=user(id)) for id in "bc"])
    lines = log_path.read_bytes().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["session", "message", "group", "message", "message"]
    time = json.loads(lines[1])["timestamp"]
    written = f'{{"id":"s","type":"group","timestamp":"{time}","count":2}}'
    assert lines[2] == seal_by_hand(written, crc32(lines[1]))


def test_the_header_is_not_counted(log_path: Path) -> None:
    """The first write begins with the header, then comes the mark."""
    with quick(log_path) as session:
        session.append_many([user("a"), user("b"), user("c")])
    assert [(line["type"], line.get("count")) for line in lines_of(log_path)] == [
        ("session", None),
        ("group", 3),
        *[("message", None)] * 3,
    ]


def test_stored_entries_are_not_counted(log_path: Path) -> None:
    """A retry writes no line, and no mark."""
    entries = [MessageEntry(id=id, message=user(id)) for id in "ab"]
    with quick(log_path) as session:
        session.append_many(entries)
        before = log_path.read_bytes()
        session.append_many(entries)
    assert log_path.read_bytes() == before


def test_an_import_is_not_a_group(log_path: Path) -> None:
    """`extend` can be repeated, so its lines need not stay together."""
    with quick(log_path) as session:
        session.extend(MessageEntry(id=id, message=user(id)) for id in "ab")
    assert [line["type"] for line in lines_of(log_path)] == ["session", "message", "message"]


@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/chats.db"])
def test_a_log_with_transactions_has_no_marks(url: str, tmp_path: Path) -> None:
    """There, the transaction is the group."""
    with open_store(url.format(tmp_path)) as store, store.create(id="s1") as session:
        session.append_many([user("a"), user("b")])
        log = session._client.journal.log
        assert [json.loads(line)["type"] for chunk in log.read() for line in chunk.lines] == [
            "session",
            "message",
            "message",
        ]


def test_a_group_has_a_limit(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than that are several groups in one write, the last of them perhaps one line."""
    assert codec.GROUP_LIMIT == 65_536
    monkeypatch.setattr(codec, "GROUP_LIMIT", 256)
    many = [{"a": 1}] * 257
    with quick(log_path) as session:
        session.append(user("a"))
        session.append_many(many)
        session.append_many([*many, *many[:2]])
        expected = everything(session)
    lines = lines_of(log_path)
    assert [line["count"] for line in lines if line["type"] == "group"] == [256, 256, 3]
    assert [place for place, line in enumerate(lines) if line["type"] == "group"] == [2, 260, 517]
    with quick(log_path, mode="r") as session:
        assert (everything(session), session.findings) == (expected, ())
    assert len(expected) == 1 + 257 + 259


# --- what is read ---


@pytest.mark.parametrize("header", [HEADER, HEADER.replace(',"seal":"crc32"', "")])
def test_no_query_shows_a_mark(header: str, log_path: Path) -> None:
    """Neither records nor entries, labels or findings."""
    with opened(log_path, log_of(A, group("g", 2), B, C, header=header)) as session:
        assert everything(session) == ["a", "b", "c"]
        assert (contents(session), codes(session)) == (["a", "b", "c"], [])


def test_a_log_without_seals_may_have_groups(log_path: Path) -> None:
    """A foreign writer's lines without checksums are counted, too."""
    header = HEADER.replace(',"seal":"crc32"', "")
    texts = [header, A, group("g", 2), B, C]
    with opened(log_path, as_file(text.encode() for text in texts)) as session:
        assert (everything(session), codes(session)) == (["a", "b", "c"], ["unsealed"])
    with opened(log_path, as_file(text.encode() for text in texts[:-1])) as session:
        assert (everything(session), codes(session)) == (["a"], ["unsealed", "torn_tail"])


@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        group("g", 2),
        '{"type":"gro\\u0075p","id":"g","count":2}',
        '{ "count" : 2, "id":"g", "timestamp":null, "type" : "group" }',
        group("g", 2, provider=7),
    ],
)
def test_any_spelling_of_a_mark_is_one(text: str, crlf: bool, log_path: Path) -> None:
    """Order of keys, white space, escapes and fields without a meaning here are free."""
    lines = sealed([HEADER, A, text, B, C])
    lines = [line + b"\r" for line in lines] if crlf else lines
    expected = ["carriage_return"] if crlf else []
    if not crlf:
        with opened(log_path, as_file(lines)) as session:
            assert (everything(session), codes(session)) == (["a", "b", "c"], expected)
    with opened(log_path, as_file(lines[:-1])) as session:
        assert everything(session) == ["a"]
        assert codes(session)[-1] == "torn_tail"


@pytest.mark.parametrize("count", [0, 1, -2, 65_537, None, "2", 2.0, True, [2]])
def test_a_mark_with_a_wrong_count_has_no_effect(count: Any, log_path: Path) -> None:
    """It is a finding, and kept as a mark of an unknown type."""
    data = log_of(A, group("g", count), B)
    with opened(log_path, data) as session:
        start = data.index(b'{"id":"g"')
        assert facts(session.findings) == [("bad_group", 3, start, data.index(b"\n", start) - start)]
        assert everything(session) == ["a", "g", "b"]
        record = [record for _, record in session.records()][1]
        assert (record.type, contents(session)) == ("group", ["a", "b"])


def test_a_mark_without_a_count_has_no_effect(log_path: Path) -> None:
    """As one with a wrong count."""
    with opened(log_path, log_of(A, mark("g", "group"), B)) as session:
        assert (codes(session), contents(session)) == (["bad_group"], ["a", "b"])


def test_an_entry_of_the_type_is_damage(log_path: Path) -> None:
    """A mark has no parent."""
    with opened(log_path, log_of(A, mark("g", "group", parent_id="a", count=2), B)) as session:
        assert codes(session) == ["bad_line"]


def test_a_mark_that_needs_more_is_opaque(log_path: Path) -> None:
    """A reader that does not know the name must not guess: the log is read-only, without contexts."""
    with opened(log_path, log_of(A, group("g", 2, needs=["x"]), B)) as session:
        assert codes(session) == ["critical_unknown"]
        assert everything(session) == ["a", "g", "b"]


def test_groups_do_not_nest(log_path: Path) -> None:
    """A mark inside a group is one of its lines, has no effect, and is a finding."""
    with opened(log_path, log_of(A, group("g", 2), group("h", 2), B, C)) as session:
        assert (everything(session), codes(session)) == (["a", "h", "b", "c"], ["bad_group"])
    with opened(log_path, log_of(A, group("g", 2), group("h", 2))) as session:
        assert (everything(session), codes(session)) == (["a"], ["torn_tail"])


def test_groups_follow_each_other(log_path: Path) -> None:
    """The line behind the last of a group may be a mark."""
    with opened(log_path, log_of(A, group("g", 2), B, C, group("h", 2), D, node("e", "d"))) as session:
        assert (everything(session), codes(session)) == ([*"abcde"], [])


def test_damage_in_a_whole_group_is_that_of_a_line(log_path: Path) -> None:
    """The other lines stay, and the damaged one counts as a line of the group."""
    lines = sealed([HEADER, A, group("g", 3), B, node("x", "b"), node("d", "b")])
    lines[4] = lines[4].replace(b'"content":"x"', b'"content":"y"')
    with opened(log_path, as_file(lines)) as session:
        assert (everything(session), codes(session)) == (["a", "b", "d"], ["bad_seal"])


def test_a_damaged_mark_is_damage_of_one_line(log_path: Path) -> None:
    """Without it, the lines of the group are lines like others."""
    lines = sealed([HEADER, A, group("g", 3), B, C])
    lines[2] = lines[2].replace(b'"count":3', b'"count":4')
    with opened(log_path, as_file(lines)) as session:
        assert (everything(session), codes(session)) == (["a", "b", "c"], ["bad_seal"])


@pytest.mark.parametrize("end", [b"", b"{", A.encode() + b"\n"])
def test_zeros_in_the_last_group_are_a_torn_write(end: bytes, log_path: Path) -> None:
    """After a power cut, the blocks that were not written are zeros. If something follows, it is damage instead."""
    lines = sealed([HEADER, A, group("g", 2), B, C])
    lines[3] = bytes(len(lines[3]))
    with opened(log_path, as_file(lines) + end) as session:
        assert everything(session) == (["a", "c"] if end else ["a"])
        found = ["nul_bytes", "orphan"] if end else ["torn_tail"]
        assert codes(session)[: len(found)] == found


def test_a_line_that_is_too_long_is_a_line_of_its_group(log_path: Path) -> None:
    """It is damage, the others stay; without the rest of the group, it is part of the torn write."""
    start = sealed([HEADER, A, group("g", 3), B])
    huge = b"x" * (64 * 2**20 + 1)
    last = sealed([node("c", "b")])
    for lines, expected in (
        ([*start, huge, *last], (["a", "b", "c"], ["line_too_long"])),
        ([*start, huge], (["a"], ["torn_tail"])),
        ([*sealed([HEADER, A, group("g", 2), B]), huge], (["a", "b"], ["line_too_long"])),
    ):
        with opened(log_path, as_file(lines)) as session:
            assert (everything(session), codes(session)) == expected


@pytest.mark.parametrize("size", [100, CHUNK // 2, CHUNK, 3 * CHUNK, 6 * CHUNK])
@pytest.mark.parametrize("before", [0, CHUNK - 700, CHUNK - 10])
def test_groups_across_the_pieces_that_are_read(before: int, size: int, log_path: Path) -> None:
    """A group is read in pieces of the file, wherever these end; so is what follows it."""
    with quick(log_path) as session:
        session.append(user("x" * before), id="a")
        for number in range(4):
            session.append_many([user("y" * size) for _ in range(3)])
            session.append(user(str(number)))
        expected = everything(session)
    data = log_path.read_bytes()
    index_of(log_path).unlink(missing_ok=True)  # else not all of the log is read
    with opened(log_path, data) as session:
        assert (everything(session), session.findings) == (expected, ())
    end = data.rindex(b'{"id"')  # the last line
    end = data.rindex(b'{"id"', 0, end)  # and the last of the last group
    with opened(log_path, data[:end]) as session:
        assert (everything(session), codes(session)) == (expected[:-4], ["torn_tail"])
        start = data.rindex(b'"type":"group"', 0, end)
        assert session.findings[0].offset == data.rindex(b"{", 0, start)
        assert session.findings[0].length == end - session.findings[0].offset


# --- torn, and healed ---


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """Every byte of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.no_cover
def test_every_cut_of_a_group(log_path: Path) -> None:
    """Cut anywhere, a reader sees all of it or nothing; the next append heals the log and saves what was torn."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        start = log_path.stat().st_size
        session.append_many([MessageEntry(id=id, message=user(id)) for id in "bc"])
    data = log_path.read_bytes()
    torn = log_path.with_name("log.jsonl.torn")
    for cut in range(start, len(data) + 1):
        log_path.write_bytes(data[:cut])
        torn.unlink(missing_ok=True)
        whole = cut == len(data)
        with quick(log_path, mode="r") as session:
            assert everything(session) == (["a", "b", "c"] if whole else ["a"])
            assert codes(session) == ([] if cut in (start, len(data)) else ["torn_tail"])
        with quick(log_path) as session:
            session.append(user("d"), id="d")
            completed = cut == len(data) - 1  # only the last newline was missing
            assert everything(session) == (["a", "b", "c", "d"] if whole or completed else ["a", "d"])
            assert (session.path()[-1].parent_id, codes(session)) == ("c" if whole else "a", [])
        with quick(log_path, mode="r") as session:
            assert (everything(session)[-1], codes(session)) == ("d", [])
        saved = b"" if whole or completed or cut == start else data[start:cut] + b"\n"
        assert (torn.read_bytes() if torn.exists() else b"") == saved


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_retry_after_a_crash_stores_the_group(cut: int, log_path: Path) -> None:
    """Nothing of it was in the log, so everything is appended."""
    entries = [MessageEntry(id=id, message=user(id)) for id in "bcd"]
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        session.append_many(entries)
    data = log_path.read_bytes()
    log_path.write_bytes(data[:-cut])
    with quick(log_path) as session:
        session.append_many(entries)
        assert ids(session.path()) == ["a", "b", "c", "d"]
    with quick(log_path, mode="r") as session:
        assert (ids(session.path()), codes(session)) == (["a", "b", "c", "d"], [])


def refusals(session: Session) -> list[tuple[type[Exception], Callable[[], Any]]]:
    """Calls that are refused by what the log holds."""
    twice = [MessageEntry(id="n", message=user("n"))] * 2
    compaction = CompactionEntry(summary="s", first_kept_entry_id="nope")
    return [
        (EntryNotFound, lambda: session.append(user("x"), parent_id="nope")),
        (IdConflict, lambda: session.append(user("other"), id="a")),
        (
            IdConflict,
            lambda: session.append_many(twice, parent_id="a"),
        ),
        (EntryNotFound, lambda: session.append_many([user("x"), user("y")], parent_id="nope")),
        (EntryNotFound, lambda: session.branch("nope")),
        (EntryNotFound, lambda: session.label("nope", "x")),
        (
            InvalidCompaction,
            lambda: session.append(compaction, parent_id="a"),
        ),
        (StaleLeaf, lambda: session.append(user("x"))),
        (StaleLeaf, lambda: session.append_many([user("x"), user("y")])),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("cut", [0, 1, 2, 50, 200])
def test_a_refused_call_changes_no_byte(cut: int, number: int, log_path: Path) -> None:
    """Whatever stands at the end of the log: a torn group, a torn line, a line that lacks only its newline."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
    with quick(log_path) as session:
        with quick(log_path) as other:
            other.append(user("b"), id="b")
            other.append_many([user("c"), user("d")])
        data = log_path.read_bytes()
        log_path.write_bytes(data[: len(data) - cut])
        before = snapshot_of(log_path.parent)
        for _ in range(2):
            error, call = refusals(session)[number]
            with pytest.raises(error):
                call()
            assert snapshot_of(log_path.parent) == before
        session.refresh()
        session.append(user("e"))
    with quick(log_path, mode="r") as session:
        assert (contents(session)[0], contents(session)[-1], codes(session)) == ("a", "e", [])


@pytest.mark.no_cover
@pytest.mark.parametrize("refused", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_write_that_fails_at_any_byte_leaves_nothing(
    refused: int, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is cut back to where the write began, and can be used."""
    write, room = os.write, [0]

    def writing(fd: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(refused, "full")
        written = write(fd, data[: room[0]])
        room[0] -= written
        return written

    entries = [MessageEntry(id=id, message=user(id)) for id in "bc"]
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        before = log_path.read_bytes()
        session.append_many(entries)
        size = log_path.stat().st_size - len(before)
    log_path.write_bytes(before)
    for room_left in range(size):
        with quick(log_path) as session:
            with monkeypatch.context() as patch:
                room[0] = room_left
                patch.setattr(os, "write", writing)
                with pytest.raises(OSError, match="full"):
                    session.append_many(entries)
            assert log_path.read_bytes() == before
            assert everything(session) == ["a"]
    with quick(log_path) as session:
        session.append_many(entries)
        assert everything(session) == ["a", "b", "c"]


def test_readers_show_no_part_of_a_group(log_path: Path) -> None:
    """`refresh` and `follow` find the whole group when its last newline is there, and never the mark."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        start = log_path.stat().st_size
        with quick(log_path) as other:
            other.append_many([MessageEntry(id=id, message=user(id)) for id in "bcd"])
    data = log_path.read_bytes()
    log_path.write_bytes(data[:start])
    with quick(log_path, mode="r") as reader, quick(log_path, mode="r") as watched:
        following = watched.follow(poll_s=0, timeout_s=0)
        for cut in range(start, len(data)):
            log_path.write_bytes(data[:cut])
            assert (reader.refresh(), everything(reader)) == ([], ["a"])
            if cut % 50 == 0:
                assert list(watched.follow(poll_s=0, timeout_s=0)) == []
        log_path.write_bytes(data)
        assert ids(reader.refresh()) == ["b", "c", "d"]
        assert [record.id for record in following] == ["b", "c", "d"]


@pytest.mark.parametrize("completed", [False, True])
def test_a_signal_in_a_torn_group_does_no_harm(completed: bool, log_path: Path) -> None:
    """The next call does not take the lines that were read before for more lines of the group."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        with quick(log_path) as other:
            other.append_many([MessageEntry(id=id, message=user(id)) for id in "bc"])
        data = log_path.read_bytes()
        log_path.write_bytes(data[:-9])
        with patch.object(Index, "end_scan", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            session.refresh()
        if completed:
            log_path.write_bytes(data)
        session.append(user("d"), id="d", on_stale="rebase")
        expected = ["a", "b", "c", "d"] if completed else ["a", "d"]
        assert (everything(session), codes(session)) == (expected, [])
    with quick(log_path, mode="r") as session:
        assert (everything(session), codes(session)) == (expected, [])


def test_a_group_that_is_written_anew_while_it_is_read(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader takes no lock. Between two pieces, a writer cuts the torn group off and writes another one."""
    with quick(log_path) as session:
        session.append(user("a"), id="a")
        session.append_many([user("y" * 70_000) for _ in range(3)])
    log_path.write_bytes(log_path.read_bytes()[:-30])
    read_chunk, pieces = file_lines.read_chunk, [0]

    def reading(fd: int, position: int, size: int) -> Chunk:
        pieces[0] += 1
        if pieces[0] == 3:
            with quick(log_path) as writer:
                writer.append_many([MessageEntry(id=f"n{number}", message=user("z" * 50_000)) for number in range(4)])
        return read_chunk(fd, position, size)

    monkeypatch.setattr(file_lines, "read_chunk", reading)
    with quick(log_path, mode="r") as session:
        assert (everything(session), codes(session)) == (["a", "n0", "n1", "n2", "n3"], [])


@pytest.mark.no_cover
def test_a_path_of_groups_is_read_at_once(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marks between them are read along: another call costs more."""
    with quick(log_path) as session:
        for number in range(25):
            session.append_many([user(f"question {number}"), assistant(f"answer {number}")])
        whole = [entry.id for entry in session.path()]
        pread, reads = os.pread, []

        def counted(fd: int, length: int, offset: int) -> bytes:
            reads.append(length)
            return pread(fd, length, offset)

        monkeypatch.setattr(os, "pread", counted)
        assert [entry.id for entry in session.path(last=50)] == whole
        assert len(reads) == 1


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=40), st.binary(max_size=99))
def test_lines_are_read_wherever_they_are(steps: list[tuple[int, int]], noise: bytes) -> None:
    """Near each other or far from each other, up to the end of the file."""
    spans, end = [], 0
    for gap, length in steps:
        spans.append((end + gap, length))
        end += gap + length
    data = random.Random(noise).randbytes(end)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert file_lines.read_spans(file.fileno(), spans) == [data[at : at + length] for at, length in spans]


def test_an_index_ends_at_the_edge_of_a_group(log_path: Path) -> None:
    """The group behind a saved index is read, or is torn, as without the index."""
    with quick(log_path) as session:
        for number in range(3_000):
            session.append_many([user(str(number)), user("y")])
    assert log_path.with_name("log.jsonl.index").exists()
    with quick(log_path) as session:
        session.append_many([MessageEntry(id=id, message=user(id)) for id in "ab"])
    data = log_path.read_bytes()
    for cut, last in ((0, "b"), (1, "y"), (300, "y")):
        log_path.write_bytes(data[: len(data) - cut])
        with quick(log_path, mode="r") as session:
            assert contents(session)[-1] == last
            assert codes(session) == (["torn_tail"] if cut else [])


# --- rewriting and copies ---


def test_rewriting_drops_marks_and_copying_keeps_them(tmp_path: Path) -> None:
    """Fork and repair write lines that need not stay together any more; a copy is the same log."""
    with open_store(tmp_path / "one") as store, open_store(f"sqlite:///{tmp_path}/two.db") as other:
        with store.create(id="s1") as session:
            session.append_many([MessageEntry(id=id, message=user(id)) for id in "ab"])
            path = Path(session.location)
            with session.fork(tmp_path / "fork.jsonl") as fork:
                assert ids(fork.path()) == ["a", "b"]
        store.copy_to(other)
        with other.open("s1") as copied:
            assert (ids(copied.path()), copied.findings) == (["a", "b"], ())
            copied.append_many([user("c"), user("d")])
        other.copy_to(open_store(tmp_path / "three"))
    types = [line["type"] for line in lines_of(tmp_path / "fork.jsonl")]
    assert types == ["session", "message", "message"]
    back = lines_of(tmp_path / "three" / "s1.jsonl")
    assert [line["type"] for line in back] == ["session", "group", *["message"] * 4]
    lines = path.read_bytes().splitlines()
    path.write_bytes(as_file([*lines, b"garbage"]))
    done = repair(path, dry_run=False)
    assert (done.needed, done.kept) == (True, 2)
    assert [line["type"] for line in lines_of(path)][:3] == ["session", "message", "message"]


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_repair_of_a_torn_group(cut: int, log_path: Path) -> None:
    """It is removed as a whole; one that lacks only its last newline is completed."""
    lines = sealed([HEADER, A, group("g", 2), B, C])
    log_path.write_bytes(as_file(lines)[: -cut or None] if cut else as_file(lines))
    done = repair(log_path, dry_run=False)
    assert (done.needed, [finding.code for finding in done.removed]) == (bool(cut), ["torn_tail"] if cut > 1 else [])
    with quick(log_path, mode="r") as session:
        assert (everything(session), codes(session)) == (["a"] if cut > 1 else ["a", "b", "c"], [])


def test_repair_removes_a_mark_without_effect(log_path: Path) -> None:
    """A nested mark would begin a group once the outer mark is dropped."""
    log_path.write_bytes(log_of(A, group("g", 2), group("h", 9), B))
    done = repair(log_path, dry_run=False)
    assert [finding.code for finding in done.removed] == ["bad_group"]
    with quick(log_path, mode="r") as session:
        assert (everything(session), codes(session)) == (["a", "b"], [])


def test_verify_counts_no_marks_of_groups(log_path: Path) -> None:
    """They are no records."""
    log_path.write_bytes(log_of(A, group("g", 2), B, mark("l", "label", target_id="a", label="x")))
    report = verify(log_path)
    assert (report.entries, report.marks, report.findings) == (2, 1, ())


# --- laws ---


@given(st.data())
def test_pieces_do_not_matter(data: st.DataObject) -> None:
    """Whatever pieces a log is read in, the index is the same as from one piece: columns, state and findings."""
    texts: list[str] = [HEADER]
    for number in range(data.draw(st.integers(1, 6))):
        size = data.draw(st.integers(1, 4))
        nodes = [node(f"n{number}-{each}", None) for each in range(size)]
        texts += [group(f"g{number}", size + data.draw(st.sampled_from([0, 0, 0, 1, -1]))), *nodes]
    lines = sealed(texts)
    for number in data.draw(st.sets(st.integers(1, len(lines) - 1), max_size=2)):
        lines[number] = data.draw(st.sampled_from([b"x", bytes(30), lines[number][:-1]]))
    whole = scanned([lines])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(lines) - 1))))
    edges = [0, *cuts, len(lines)]
    with patch.object(groups, "_KEPT_BYTES", data.draw(st.sampled_from([0, 2**20]))):
        assert scanned([lines[start:end] for start, end in itertools.pairwise(edges)]) == whole


def scanned(pieces: Sequence[Sequence[bytes]]) -> tuple[Any, ...]:
    """What an index knows after a scan of these pieces."""
    stored: dict[int, bytes] = {}
    index = Index(lambda spans: [stored.get(position, b"") for position, _ in spans], 3)
    end = 0
    for piece in pieces:
        positions = []
        for line in piece:
            positions.append(end)
            stored[end] = line
            end += len(line) + 1
        index.scan(positions, piece, end)
    index.end_scan()
    state = index.state
    return state, {name: list(column) for name, column in index.tree.columns.items()}, index.sealed_from


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 2_000))
def test_a_cut_log_has_whole_writes_only(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: int) -> None:
    """A log that is cut anywhere has the first writes, each whole, and nothing of the next."""
    path = tmp_path_factory.mktemp("cut") / "log.jsonl"
    ends = [0]
    writes: list[list[str]] = [[]]
    with quick(path) as session:
        for size in sizes:
            writes.append(ids(session.append_many([user("x")] * size)))
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    kept = sum(end <= cut for end in ends[1:])
    try:
        with quick(path, mode="r") as session:
            assert everything(session) == list(itertools.chain.from_iterable(writes[: kept + 1]))
    except ConvtreeError:
        assert kept == 0  # not even a whole header
