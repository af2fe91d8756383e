"""The snapshot: it never changes an answer, is dropped at any doubt, and remembers how long the log was.

Here every close of a writer saves one, because the thresholds are zero, unless a test sets them. A log that grows saves
none here: `test_growing` is about that.
"""

import errno
import json
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Barrier, Thread
from typing import Any
from unittest.mock import patch
from zlib import crc32

import filelock
import pytest
from click.testing import CliRunner
from helpers import (
    HEADER,
    Facts,
    as_file,
    codes,
    contents,
    facts,
    ids,
    log_of,
    mark,
    nested,
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
    CorruptLog,
    ExtensionDataEntry,
    LabelMark,
    MessageEntry,
    NotALog,
    Session,
    SessionClosed,
    StaleLeaf,
)
from convtree._cli.app import app
from convtree._engine import save_points, snapshot
from convtree._engine.columns import PAGE
from convtree._engine.tree import CHAINS, COLUMN_TYPES
from convtree._logs.index_file import index_of as path_of_index
from convtree._model.findings import LOST
from convtree.repair import repair, verify

THRESHOLDS = (save_points._TAIL_ROWS, save_points._TAIL_BYTES, save_points._TAIL_PART)
TRAILER = 36  # bytes at the end: the magic, three lengths, a checksum
PLACES = "<8sQQQI"
A, B, C, D = node("a", None), node("b", "a"), node("c", "b"), node("d", "c")
OTHER = HEADER.replace('"s1"', '"s2"')


def thresholds(rows: float, size: float, part: float) -> AbstractContextManager[Any]:
    """Sets the rows, bytes and share of the snapshot that must be added before it is saved again."""
    return patch.multiple(save_points, _TAIL_ROWS=rows, _TAIL_BYTES=size, _TAIL_PART=part)


def usual() -> AbstractContextManager[Any]:
    """Sets the thresholds that users have."""
    return thresholds(*THRESHOLDS)


@pytest.fixture(autouse=True, scope="module")
def eager() -> Iterator[None]:
    """Makes every close of a writer save a snapshot, and nothing else."""
    with thresholds(0, 0, 0), patch.object(save_points, "_STEP_UNITS", 2**62):
        yield


@pytest.fixture
def paged() -> Iterator[None]:
    """Puts every row of every column in pages, as those of a long log are: the recent ones are read on opening."""
    with patch.object(snapshot, "_PAGED", (*COLUMN_TYPES, "slots")):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder for property-based tests."""
    return tmp_path_factory.mktemp("snapshot")


def index_of(path: Path) -> Path:
    return path.with_name(path.name + ".index")


def save(path: Path, data: bytes | None = None) -> bytes | None:
    """Deletes the snapshot of a log and saves a new one; returns its bytes, None if none was saved."""
    index_of(path).unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
    with suppress(NotALog):
        Session.open(path, durability="process").close()
    return index_of(path).read_bytes() if index_of(path).exists() else None


def saved(path: Path, data: bytes | None = None) -> bytes:
    """Saves a snapshot as `save` does, and asserts that there is one."""
    index = save(path, data)
    assert index is not None
    return index


def persisted(session: Session) -> int:
    """Returns how many rows of a session come from a snapshot."""
    return session._index.tree.ids.hashes.persisted


def files(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Returns inode, time and content of every file in the log's folder."""
    found = {}
    for each in sorted(path.parent.iterdir()):
        status = each.lstat()
        found[each.name] = (status.st_ino, status.st_mtime_ns, each.read_bytes() if each.is_file() else b"")
    return found


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def opened(path: Path, **arguments: Any) -> Session:
    return Session.open(path, durability="process", **arguments)


def reader(path: Path) -> Session:
    return Session.open(path, mode="r")


def found(path: Path, **arguments: Any) -> Facts:
    with Session.open(path, **arguments) as session:
        return facts(session.findings)


# --- all answers of a session ---


def ask(question: Callable[[], Any]) -> Any:
    """Returns an answer, or the type and text of the error raised instead."""
    try:
        return question()
    except ConvtreeError as error:
        return type(error), str(error)


def answers(session: Session) -> dict[str, Any]:
    """Returns the answers to every query of a session, for every id."""
    outline = session.outline()
    index = session._index
    every = [id for row in range(len(index.tree)) if isinstance(id := ask(lambda row=row: index.id_of(row)), str)]  # type: ignore[misc]
    told: dict[str, Any] = {
        name: getattr(session, name)
        for name in ("header", "id", "name", "leaf_id", "labels", "metadata", "archived", "findings", "location")
    }
    told["read only"] = (index.state.read_only, index.state.critical_mark, index.state.leaf_uncertain_because)
    told["position"] = (index.state.end, index.state.lines, index.state.last_crc, index.state.last_damaged)
    told["path"] = ask(session.path)
    told["leaves"] = ask(session.leaves)
    told["roots"] = ask(lambda: session.children(None))
    told["context"] = ask(session.build_context)
    told["gaps"] = ask(lambda: session.build_context(allow_gaps=True))
    told["data"] = ask(session.extension_data)
    told["outline"] = (outline.leaf, outline.certain, outline.runs, [outline.row(id) for id in every])
    told["entries"] = outline.entries([row for row in range(len(index.tree)) if index.tree.is_node(row)])
    for id in (*every, "nowhere"):
        about: list[Callable[[str], Any]] = [session.entry, session.path, session.children, session.siblings]
        about += [
            session.tip,
            lambda own: session.build_context(leaf=own),
            lambda own: session.extension_data(leaf=own),
        ]
        about += [
            lambda own: session.build_context(leaf=own, allow_gaps=True),
            lambda own: session.state("x.y", leaf=own),
        ]
        about += [
            lambda own: session.common_ancestor(own, session.leaf_id),
            lambda own: session.common_ancestor(own, None),
        ]
        told[id] = [ask(lambda question=question, own=id: question(own)) for question in about]  # type: ignore[misc]
    return told


def check(path: Path) -> int:
    """Asserts equal answers with and without the snapshot; returns how many rows it had."""
    with reader(path) as session:
        rows, with_it = persisted(session), answers(session)
    index = index_of(path)
    hidden = index.rename(path.with_name("hidden"))
    with reader(path) as session:
        assert persisted(session) == 0
        without = answers(session)
    hidden.rename(index)
    assert with_it == without
    return rows


# --- it never changes an answer ---


def rich() -> list[str]:
    """Returns records of every kind."""
    return [
        node("a", None, message={"role": "system", "content": "a"}, pinned=True),
        node("b", "a", provider="p", model="m"),
        node("c", "b", visible_to="user"),
        mark("m1", "label", target_id="b", label="L"),
        node("d", "c", "model_change", provider="p", model="m2", settings={"t": 1}),
        node("e", "d", "extension_data", ext_type="x.y", data=[1]),
        node("f", "e"),
        node("g", "f", "compaction", summary="S", first_kept_entry_id="c"),
        mark("m2", "session_info", name="N", metadata={"k": [1, {"v": 0.5}]}, archived=True),
        node("h", "b", "branch_summary", from_id="g", summary="T"),
        node("i", "h", visible_to="model"),
        mark("m3", "leaf", target_id="f"),
        node("j", "f", model="m3"),
        mark("m4", "label", target_id="b", label=None),
        mark("m5", "label", target_id="j", label="\u2028"),
        node("k", "j", "tool.note", n=1),
        node("l", None),
        mark("m6", "tool.mark", n=1),
        node("n", "k", "extension_data", ext_type="x.z", data=None),
        node("o", "n"),
    ]


def damaged(line: bytes) -> bytes:
    return line.replace(b"timestamp", b"timestomp", 1)


def logs() -> dict[str, list[bytes]]:
    """Returns logs of many kinds, as lines with their newlines. The last line may lack it."""
    lines = [line + b"\n" for line in sealed((HEADER, *rich()))]
    twice = sealed(
        (HEADER, A, B, A, node("b", "a", message={"other": 1}), mark("a", "label", target_id="b", label="x"), C)
    )
    orphans = sealed(
        (HEADER, A, node("b", "gone"), node("c", "b"), node("x", "x"), mark("m", "leaf", target_id="gone"))
    )
    lost = sealed((HEADER, A, B, C, D))
    zeros = sealed((HEADER, A))
    zeros[1] = bytes(7) + zeros[1]
    zeros += [bytes(20), seal_by_hand(B, crc32(zeros[1]))]
    settled = sealed((HEADER, A, B))
    settled += [b"junk", *sealed((mark("m", "leaf", target_id="a"), C), crc32(b"junk"))]
    return {
        "rich": lines,
        "header": lines[:1],
        "one": lines[:2],
        "crlf": [line[:-1] + b"\r\n" for line in lines],
        "some crlf": [line[:-1] + b"\r\n" if number % 3 == 0 else line for number, line in enumerate(lines)],
        "bom": [b"\xef\xbb\xbf" + lines[0], *lines[1:]],
        "empty lines": [b"\n", b"\r\n", *lines[:4], b"\n", *lines[4:]],
        "damaged": [damaged(line) if number in (3, 6, 11) else line for number, line in enumerate(lines)],
        "damaged header": [damaged(lines[0]), *lines[1:]],
        "junk": [*lines[:5], b"junk\n", b'{"role":"user"}\n', *lines[5:], b"[]\n"],
        "dropped": lines[:5] + lines[6:],
        "doubled": lines[:5] + lines[4:],
        "swapped": [*lines[:5], lines[6], lines[5], *lines[7:]],
        "twice": [line + b"\n" for line in twice],
        "orphans": [line + b"\n" for line in orphans],
        "lost in the middle": [line + b"\n" for line in (*lost[:2], *lost[3:])],
        "zeros": [line + b"\n" for line in zeros],
        "settled": [line + b"\n" for line in settled],
        "two headers": [*lines, *lines],
        "critical mark": [line + b"\n" for line in sealed((HEADER, A, mark("m", "x.y", critical=True), B))],
        "critical entry": [line + b"\n" for line in sealed((HEADER, A, node("m", "a", "x.y", critical=True), B))],
        "newer": [line + b"\n" for line in sealed((HEADER.replace('"version":1', '"version":2'), A, B))],
        "torn": [*lines, b'{"id":"torn'],
        "lost newline": [*lines[:-1], lines[-1][:-1]],
        "unsealed": [HEADER.replace(',"seal":"crc32"', "").encode() + b"\n", A.encode() + b"\n", B.encode() + b"\n"],
        "sealed later": [
            HEADER.replace(',"seal":"crc32"', "").encode() + b"\n",
            *(line + b"\n" for line in sealed((A, B), crc32(HEADER.replace(',"seal":"crc32"', "").encode()))),
        ],
        "odd metadata": [
            line + b"\n"
            for line in sealed(
                (HEADER, A, mark("m", "session_info", metadata={"big": 2**70, "f": 1e300, "deep": nested(90)}), B)
            )
        ],
        "no header": [line + b"\n" for line in sealed((A, B))],
    }


NOT_SAVED = {"unsealed", "sealed later", "no header", "damaged header", "newer"}
LOGS = logs()


@pytest.mark.no_cover
@pytest.mark.parametrize("name", LOGS)
def test_a_snapshot_changes_no_answer(name: str, log_path: Path) -> None:
    """Checks every log with a tail of every length. Logs without seals have no snapshot."""
    lines = LOGS[name]
    most = 0
    for count in range(len(lines) + 1):
        if save(log_path, b"".join(lines[:count])) is None:
            assert name in NOT_SAVED | {"critical mark", "critical entry"} or not any(map(bytes.strip, lines[:count]))
            continue
        log_path.write_bytes(b"".join(lines))
        most = max(most, check(log_path))
    with reader(log_path) as session:
        rows = len(session._index.tree)
    assert (most == 0) == (name in NOT_SAVED | {"header"})
    assert most in (0, rows) or name in ("critical mark", "critical entry")


def test_zeros_before_the_header(log_path: Path) -> None:
    """A header behind zeros, which a power cut can leave, is found with a snapshot as without."""
    lines = sealed((HEADER, A))
    lines[0] = bytes(7) + lines[0]
    lines[1] = seal_by_hand(A, crc32(lines[0]))
    saved(log_path, as_file(lines))
    assert check(log_path) == 1


MAKERS: list[Callable[[str, str | None, str], str]] = [
    lambda own, parent, _: node(own, parent),
    lambda own, parent, _: node(own, parent, message={"role": "system", "content": own}, pinned=True),
    lambda own, parent, _: node(own, parent, provider="p", model="m"),
    lambda own, parent, _: node(own, parent, model="m2", visible_to="user"),
    lambda own, parent, other: node(own, parent, "compaction", summary=own, first_kept_entry_id=other),
    lambda own, parent, _: node(own, parent, "compaction", summary=own),
    lambda own, parent, other: node(own, parent, "branch_summary", from_id=other, summary=own),
    lambda own, parent, _: node(own, parent, "model_change", provider="p", model=own, settings={"t": own}),
    lambda own, parent, _: node(own, parent, "extension_data", ext_type="x.y", data=own),
    lambda own, parent, _: node(own, parent, "tool.note", n=1),
    lambda own, _parent, other: mark(own, "leaf", target_id=other),
    lambda own, _parent, _other: mark(own, "leaf", target_id=None),
    lambda own, _parent, other: mark(own, "label", target_id=other, label=own),
    lambda own, _parent, other: mark(own, "label", target_id=other, label=None),
    lambda own, _parent, _other: mark(own, "session_info", name=own, metadata={"k": own}),
    lambda own, _parent, _other: mark(own, "tool.mark", n=1),
    lambda own, parent, other: node(own if len(other) == 16 else other, parent),  # see `test_an_id_twice_in_one_chain`
    lambda own, parent, _: node(own, parent, message=[]),
]
DAMAGE: list[Callable[[bytes], bytes]] = [
    damaged,
    lambda _: b"",
    lambda line: line + line,
    lambda line: bytes(len(line) - 1) + b"\n",
    lambda line: b"\n" + line,
    lambda line: line[:-1] + b"\r\n",
    lambda line: line.replace(b'"type"', b'"typo"'),
]


@st.composite
def any_log(draw: st.DrawFn) -> list[bytes]:
    """Draws the lines of a log, with damage anywhere behind its header."""
    texts, known = [HEADER], ["gone"]
    for number in range(draw(st.integers(0, 12))):
        id = f"n{number}" if draw(st.booleans()) else f"{number:016x}"
        parent = draw(st.sampled_from([known[-1]] * 3 + [*known, None])) if len(known) > 1 else None
        texts.append(draw(st.sampled_from(MAKERS))(id, parent, draw(st.sampled_from(known))))
        known.append(id)
    lines = [line + b"\n" for line in sealed(texts)]
    for _ in range(draw(st.integers(0, 2)) if len(lines) > 1 else 0):
        at = draw(st.integers(1, len(lines) - 1))
        lines[at] = draw(st.sampled_from(DAMAGE))(lines[at])
    if draw(st.booleans()) and len(lines) > 1:
        lines[-1] = lines[-1][: draw(st.integers(1, len(lines[-1]) + 1)) - 1]
    return lines


@pytest.mark.no_cover
@given(lines=any_log(), data=st.data())
def test_a_snapshot_changes_no_refresh_and_no_append(lines: list[bytes], data: st.DataObject, place: Path) -> None:
    """Answers, new entries and writes are the same with and without one while the log grows."""
    log = place / "log.jsonl"
    first, second = sorted(data.draw(st.integers(1, len(lines))) for _ in range(2))
    told = []
    for indexed in (True, False):
        save(log, b"".join(lines[:first]))
        if not indexed:
            index_of(log).unlink(missing_ok=True)
        log.write_bytes(b"".join(lines[:second]))
        with opened(log) as session:
            before = answers(session)
            log.write_bytes(b"".join(lines))
            news = ids(session.refresh())
            after = answers(session)
            written = ask(lambda session=session: session.append(user("new"), id="new", on_stale="branch").parent_id)  # type: ignore[misc]
            finished = answers(session)
            finished["new"] = finished["position"] = finished["entries"] = None  # they have the time in them
        told.append((before, news, after, written, finished["findings"], finished["labels"], finished["leaf_id"]))
        assert not list(place.glob(".*"))
        with reader(log) as session:
            assert session.leaf_id == finished["leaf_id"]
        if index_of(log).exists():
            check(log)
    assert told[0] == told[1]


@pytest.mark.parametrize("texts", [(0, 0), (0, 1, 0), (0, 1, 2, 1)])
def test_an_id_twice_in_one_chain(texts: tuple[int, ...], log_path: Path) -> None:
    """The second line is a conflict, also directly below the first."""
    names = [f"{number:016x}" for number in texts]
    chain = [node(id, above) for id, above in zip(names, [None, *names], strict=False)]
    log_path.write_bytes(log_of())
    with reader(log_path) as session:
        log_path.write_bytes(log_of(*chain))
        assert len(session.refresh()) == len(set(texts))
        assert codes(session) == ["id_conflict"]


def test_a_chain_can_begin_with_a_stored_id(log_path: Path) -> None:
    """It is a conflict, whether the stored record is in the snapshot or in the tail."""
    names = [f"{number:016x}" for number in range(4)]
    first = log_of(node(names[0], None), node(names[1], names[0]))
    again = [node(names[0], names[1]), node(names[2], names[1]), node(names[1], names[2]), node(names[3], names[2])]
    for indexed in (True, False):
        saved(log_path, first)
        if not indexed:
            index_of(log_path).unlink()
        with reader(log_path) as session:
            log_path.write_bytes(first + as_file(sealed(again, crc32(first.splitlines()[-1]))))
            assert ids(session.refresh()) == names[2:]
            assert codes(session) == ["id_conflict", "id_conflict"]
            assert ids(session.path()) == names


def test_follow_with_a_snapshot(log_path: Path) -> None:
    """Exactly the records behind the end of the log are yielded."""
    lines = LOGS["rich"]
    saved(log_path, b"".join(lines[:9]))
    log_path.write_bytes(b"".join(lines[:12]))
    with reader(log_path) as session:
        assert persisted(session) == 8
        news = session.follow(poll_s=0.001, timeout_s=0.1)
        log_path.write_bytes(b"".join(lines))
        assert [record.id for record in news] == ["m3", "j", "m4", "m5", "k", "l", "m6", "n", "o"]


def test_a_snapshot_of_a_snapshot_and_a_tail(log_path: Path) -> None:
    """After many saves the index is still that of a full scan."""
    lines = LOGS["rich"]
    saved(log_path, b"".join(lines[:3]))
    for count in range(4, len(lines) + 1):
        log_path.write_bytes(b"".join(lines[:count]))
        with opened(log_path) as session:
            assert persisted(session) == count - 2
        assert check(log_path) == count - 1


def test_columns_of_several_pages(log_path: Path) -> None:
    """Every row and id is found after columns of several pages were saved twice."""
    texts = [node(f"{number:016x}", f"{number - 1:016x}" if number else None) for number in range(1, 9001)]
    texts[0] = node(f"{1:016x}", None)
    lines = sealed((HEADER, *texts))
    saved(log_path, as_file(lines[:5001]))
    log_path.write_bytes(as_file(lines))
    for rows in (5000, 9000):
        with opened(log_path) as session:
            assert persisted(session) == rows
            assert ids(session.path()) == [f"{number:016x}" for number in range(1, 9001)]
            assert session.entry(f"{1:016x}").parent_id is None
            assert session.tip(f"{1:016x}") == f"{9000:016x}"
            assert session.findings == ()
    assert list(index_of(log_path).parent.glob(".*")) == []


# --- it is dropped at any doubt ---


def small(path: Path) -> tuple[bytes, bytes, dict[str, Any]]:
    """Returns a small log, a snapshot of its first lines, and the answers of a session on it."""
    data = log_of(A, node("b", "a", "extension_data", ext_type="x.y", data=1), C, D)
    index = saved(path, b"".join(data.splitlines(keepends=True)[:4]))
    path.write_bytes(data)
    index_of(path).unlink()
    with reader(path) as session:
        return data, index, answers(session)


def pages(index: bytes) -> int:
    """Returns the number of pages in a snapshot."""
    _, crcs, ends, footer, _ = struct.unpack(PLACES, index[-TRAILER:])
    assert len(index) - TRAILER - footer - ends - crcs == int(crcs) // 4 * PAGE
    return int(crcs) // 4


@pytest.mark.usefixtures("paged")
@pytest.mark.no_cover  # one answer many times
def test_a_changed_byte_changes_no_answer(log_path: Path) -> None:
    """Tests every third byte that is read on opening, its end, and the first bytes and every 499th of the pages."""
    _, index, expected = small(log_path)
    start = pages(index) * PAGE
    places = {*range(start, len(index), 3), *range(len(index) - TRAILER, len(index)), *range(0, start, 499)}
    places |= {page * PAGE + at for page in range(pages(index)) for at in range(20)}
    for at in sorted(places):
        index_of(log_path).write_bytes(b"%b%c%b" % (index[:at], index[at] ^ (1 << at % 8), index[at + 1 :]))
        with reader(log_path) as session:
            assert answers(session) == expected, at


@pytest.mark.usefixtures("paged")
@pytest.mark.no_cover  # one answer many times
def test_a_truncated_snapshot_is_ignored(log_path: Path) -> None:
    """It may end behind the pages, here at every third byte, or around the border of a page."""
    _, index, expected = small(log_path)
    start = pages(index) * PAGE
    cuts = {*range(start, len(index), 3), *range(len(index) - TRAILER, len(index)), *range(30)}
    cuts |= {page * PAGE + more for page in range(1, pages(index) + 1) for more in (-1, 0, 1)}
    for cut in sorted(cuts):
        index_of(log_path).write_bytes(index[:cut])
        with reader(log_path) as session:
            assert (persisted(session), answers(session)) == (0, expected), cut


@pytest.mark.usefixtures("paged")
def test_pages_of_zeros_change_no_answer(log_path: Path) -> None:
    """A power cut can leave one page or all of them as zeros."""
    _, index, expected = small(log_path)
    count = pages(index)
    for first, length in [*((page, 1) for page in range(count)), (0, count), (0, len(index) // PAGE + 1)]:
        zeros = bytes(min(length * PAGE, len(index) - first * PAGE))
        index_of(log_path).write_bytes(index[: first * PAGE] + zeros + index[first * PAGE + len(zeros) :])
        with reader(log_path) as session:
            assert answers(session) == expected


def trailer(footer: bytes, crcs: bytes, ends: bytes = b"", index: bytes = b"") -> bytes:
    """Returns a snapshot with a footer and a matching checksum."""
    lengths = len(crcs), len(ends), len(footer)
    return index + crcs + ends + footer + struct.pack(PLACES, b"cvtindex", *lengths, crc32(ends + footer))


def footer_of(index: bytes) -> dict[str, Any]:
    """Returns the footer of a snapshot."""
    *_, length, _ = struct.unpack(PLACES, index[-TRAILER:])
    footer: dict[str, Any] = json.loads(index[-TRAILER - length : -TRAILER])
    return footer


def other_footer(index: bytes, **changed: Any) -> bytes:
    """Returns a snapshot with changed fields in its footer, and a matching checksum."""
    _, crcs, ends, length, _ = struct.unpack(PLACES, index[-TRAILER:])
    rest, at = index[: -TRAILER - length], pages(index) * PAGE
    footer = json.dumps(footer_of(index) | changed).encode()
    return trailer(footer, rest[at : at + crcs], rest[at + crcs : at + crcs + ends], rest[:at])


def invalid_snapshots(index: bytes) -> dict[str, bytes]:
    footer = footer_of(index)
    lengths, state = footer["lengths"], footer["state"]
    return {
        "empty": b"",
        "garbage": bytes(range(256)) * 100,
        "text": b"hello\n",
        "a log": log_of(A, B),
        "magic": b"cvtindex" * 20,
        "another version": other_footer(index, version=1),
        "another machine": other_footer(index, layout="big 1 4 4 8"),
        "no columns": other_footer(index, lengths={}),
        "no state": other_footer(index, state={}),
        "no end": other_footer(index, state=state | {"end": 0}),
        "a leaf behind everything": other_footer(index, state=state | {"leaf": state["leaf"] | {"row": 3}}),
        "a lost entry behind everything": other_footer(index, state=state | {"lost": {"a": 3}}),
        "another column": other_footer(index, lengths=lengths | {"more": 0}),
        "a negative length": other_footer(index, lengths=lengths | {"parents": -1}),
        "a huge length": other_footer(index, lengths=dict.fromkeys(lengths, 2**40)),
        "a column too long": other_footer(index, lengths=lengths | {"kinds": 4}),
        "a link too long": other_footer(index, lengths=lengths | {"pins": 4}),
        "no slots": other_footer(index, lengths=lengths | {"slots": 0}),
        "odd slots": other_footer(index, lengths=lengths | {"slots": 63}),
        "pages too few": other_footer(index, lengths=lengths | {"slots": 4 * PAGE}),
        "checksums too few": other_footer(index, blocks=[]),
        "an end too short": other_footer(index, lengths=lengths | dict.fromkeys(CHAINS, 0)),
        "no json": trailer(b"{", b""),
        "no text": trailer(b'{"layout":"\xff\xff"}', b""),
        "deep": trailer(b"[" * 100_000, b""),
        "crcs": trailer(b"{}", b"123"),
        "doubled": index + index,
        "longer": index + b"\0",
        "in front": b"\0" + index,
    }


def test_an_invalid_snapshot_changes_no_answer(log_path: Path) -> None:
    """The file may be empty, garbage, or from another program or version."""
    _, index, expected = small(log_path)
    for name, other in invalid_snapshots(index).items():
        index_of(log_path).write_bytes(other)
        with reader(log_path) as session:
            assert answers(session) == expected, name


def test_invalid_lengths_change_no_answer(log_path: Path) -> None:
    """The footer's length in the trailer may be any number, up to more than the file has."""
    _, index, expected = small(log_path)
    size = len(index)
    for footer in (0, 1, size - TRAILER - 1, size - TRAILER, size - 4, size, size + 1, 2**64 - 1):
        index_of(log_path).write_bytes(index[:-TRAILER] + struct.pack(PLACES, b"cvtindex", 0, 0, footer, 0))
        with reader(log_path) as session:
            assert answers(session) == expected


THINGS: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "full directory": lambda index: (index / "more").mkdir(parents=True),
    "symlink": lambda index: index.symlink_to(_victim(index)),
    "dangling symlink": lambda index: index.symlink_to(index.with_name("nowhere")),
    "symlink to itself": lambda index: index.symlink_to(index),
    "fifo": os.mkfifo,
    "device": lambda index: index.symlink_to("/dev/zero"),
}


def _victim(index: Path) -> Path:
    victim = index.with_name("victim")
    victim.write_bytes(b"precious")
    return victim


@pytest.mark.parametrize("thing", THINGS)
def test_another_kind_of_file_in_its_place(thing: str, log_path: Path) -> None:
    """It is not read, the target of a link is not touched, and `close` raises nothing. A directory stays."""
    _, _, expected = small(log_path)
    index = index_of(log_path)
    THINGS[thing](index)
    with reader(log_path) as session:
        assert (persisted(session), answers(session)) == (0, expected)
    with opened(log_path) as session:
        session.append(user("new"))
    assert index.is_dir() or (index.is_file() and not index.is_symlink())
    assert not log_path.with_name("nowhere").exists()
    assert not thing.startswith("symlink") or not log_path.with_name("victim").exists() or _victim(index).exists()
    if thing == "symlink":
        assert log_path.with_name("victim").read_bytes() == b"precious"
    assert not list(log_path.parent.glob(".*"))
    if not index.is_dir():
        assert check(log_path) == 5


def test_repair_with_a_directory_in_its_place(log_path: Path) -> None:
    """A repair deletes a snapshot, but leaves a directory alone."""
    log_path.write_bytes(log_of(A).replace(b"\n", b"\njunk\n", 1))
    index_of(log_path).mkdir()
    assert repair(log_path, dry_run=False).needed
    assert found(log_path) == []


def test_a_snapshot_that_cannot_be_opened_is_ignored(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any error of `open` is treated as no snapshot."""
    _, index, expected = small(log_path)
    index_of(log_path).write_bytes(index)
    really = os.open
    for code in (errno.EACCES, errno.EIO, errno.EMFILE, errno.ENXIO):

        def refuse(path: Any, *arguments: Any, code: int = code) -> int:
            if str(path).endswith(".index"):
                raise OSError(code, os.strerror(code))
            return really(path, *arguments)

        monkeypatch.setattr(os, "open", refuse)
        with reader(log_path) as session:
            assert (persisted(session), answers(session)) == (0, expected)


@pytest.mark.usefixtures("paged")
@pytest.mark.parametrize("when", ["opening", "later"])
def test_a_snapshot_that_cannot_be_read_is_ignored(when: str, log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a bad sector the log is read instead, on opening and when a page is fetched."""
    _, index, expected = small(log_path)
    index_of(log_path).write_bytes(index)
    inode = index_of(log_path).stat().st_ino
    really = os.pread

    def refuse(fd: int, length: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == inode and (when == "opening" or offset < pages(index) * PAGE):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really(fd, length, offset)

    monkeypatch.setattr(os, "pread", refuse)
    with reader(log_path) as session:
        assert answers(session) == expected


def test_a_snapshot_of_another_log_is_ignored(log_path: Path) -> None:
    """The logs may have one length, or differ at their ends only."""
    first = log_of(A, B, C)
    index = saved(log_path, first)
    for other in (
        log_of(A, B, C, header=OTHER),
        log_of(A, B, node("x", "b")),
        log_of(A, B, node("x", "b"), node("d", "x")),
    ):
        log_path.write_bytes(other)
        index_of(log_path).write_bytes(index)
        with reader(log_path) as session:
            assert (persisted(session), codes(session)) == (0, [])
        assert check(log_path) == 0


def test_an_older_snapshot_is_used(log_path: Path) -> None:
    """The lines behind its end are scanned."""
    lines = LOGS["rich"]
    index = saved(log_path, b"".join(lines[:7]))
    saved(log_path, b"".join(lines))
    index_of(log_path).write_bytes(index)
    assert check(log_path) == 6


# --- a page that is found damaged when it is read ---


def _records() -> list[Any]:
    return [
        MessageEntry(id="f", parent_id="e", message=user("f")),  # stored already
        MessageEntry(id="x1", parent_id="b", message=user("x1")),
        LabelMark(id="x2", target_id="c", label="x"),
    ]


READS: dict[str, Callable[[Session], Any]] = {
    "path": lambda session: session.path(),
    "path of": lambda session: session.path("g"),
    "end of the path": lambda session: session.path("g", last=2),
    "walk": lambda session: list(session.walk_up()),
    "walk of a type": lambda session: list(session.walk_up(type=ExtensionDataEntry)),
    "records in reverse": lambda session: list(session.records(reverse=True)),
    "view": lambda session: list(session.view()),
    "all branches": lambda session: session.view().to("assistant-ui"),
    "entry": lambda session: session.entry("b"),
    "children": lambda session: session.children("b"),
    "roots": lambda session: session.children(None),
    "siblings": lambda session: session.siblings("c"),
    "tip": lambda session: session.tip("a"),
    "leaves": lambda session: session.leaves(),
    "common ancestor": lambda session: session.common_ancestor("i", "g"),
    "extension data": lambda session: session.extension_data(),
    "state": lambda session: session.state("x.y"),
    "context": lambda session: session.build_context(),
    "context of": lambda session: session.build_context(leaf="g"),
    "outline": lambda session: (session.outline().runs, session.outline().entries([0, 1])),
    "refresh": lambda session: session.refresh(),
    "everything": answers,
}
WRITES: dict[str, Callable[[Session], Any]] = {
    "append": lambda session: session.append(user("x"), id="x").parent_id,
    "append without an id": lambda session: session.append(user("x")).parent_id,
    "append below": lambda session: session.append(user("x"), id="x", parent_id="c").parent_id,
    "append what is stored": lambda session: session.append(user("f"), id="f").parent_id,
    "append many": lambda session: ids(session.append_many([user("x"), user("y")]))[:0],
    "compaction": lambda session: session.append(CompactionEntry(summary="x", first_kept_entry_id="f"), id="x").id,
    "state": lambda session: session.append(ExtensionDataEntry(ext_type="x.y", data=2), parent_id="g").parent_id,
    "branch": lambda session: session.branch("g"),
    "branch with a summary": lambda session: getattr(session.branch("g", summary="x"), "parent_id", None),
    "label": lambda session: session.label("c", "x"),
    "rename": lambda session: session.rename("x"),
    "extend": lambda session: session.extend(_records()),
    "fork": lambda session: ids(_closed(session.fork(Path(session.location).with_name("fork.jsonl"), "g")).path()),
}


def _closed(session: Session) -> Session:
    _FORKS.append(session)
    return session


_FORKS: list[Session] = []


@pytest.fixture
def half_covered(log_path: Path) -> tuple[bytes, bytes]:
    """Returns a log and a snapshot of its first records."""
    lines = LOGS["rich"]
    index = saved(log_path, b"".join(lines[:15]))
    data = b"".join(lines)
    log_path.write_bytes(data)
    return data, index


def every_damage(index: bytes) -> Iterator[bytes]:
    """Yields a snapshot with each of its pages damaged in turn, then with all."""
    count = pages(index)
    for page in range(count):
        yield b"%b%c%b" % (index[: page * PAGE], index[page * PAGE] ^ 1, index[page * PAGE + 1 :])
    yield b"\xff" * count * PAGE + index[count * PAGE :]


@pytest.mark.usefixtures("paged")
@pytest.mark.parametrize("name", READS)
def test_reads_survive_a_damaged_page(name: str, half_covered: tuple[bytes, bytes], log_path: Path) -> None:
    """Whichever page it is and whichever query fetches it, the log is scanned instead, once."""
    _, index = half_covered
    index_of(log_path).unlink()
    with reader(log_path) as session:
        expected = READS[name](session)
    rescans = 0
    for other in every_damage(index):
        index_of(log_path).write_bytes(other)
        with reader(log_path) as session:
            assert READS[name](session) == expected
            assert READS["path"](session) == session.path("o")
            rescans += persisted(session) == 0
    assert rescans > (name != "refresh")


@pytest.mark.usefixtures("paged")
@pytest.mark.parametrize("name", WRITES)
def test_writes_survive_a_damaged_page(name: str, half_covered: tuple[bytes, bytes], log_path: Path) -> None:
    """Each write is stored once, and the log is the same as without a snapshot."""
    data, index = half_covered
    fork = log_path.with_name("fork.jsonl")
    results = []
    for number, other in enumerate((None, index, *every_damage(index))):
        log_path.write_bytes(data)
        index_of(log_path).unlink(missing_ok=True)
        if other is not None:
            index_of(log_path).write_bytes(other)
        with opened(log_path) as session:
            result = WRITES[name](session)
            news = session.refresh()
            leaf, labels, called = session.leaf_id, session.labels, session.name
        for forked in _FORKS:
            forked.close()
        _FORKS.clear()
        for each in log_path.parent.glob("fork*"):
            assert each != fork or verify(fork).findings == ()
            each.unlink()
        assert log_path.read_bytes().startswith(data)
        assert verify(log_path).findings == ()
        added = [json.loads(line) for line in log_path.read_bytes()[len(data) :].splitlines()]
        kinds = [(record["type"], record.get("message"), record.get("target_id")) for record in added]
        stored = [json.loads(line)["id"] for line in log_path.read_bytes().splitlines()]
        assert len(stored) == len(set(stored))
        if index_of(log_path).exists() and number % 4 == 0:  # the new one; damage at other pages makes no other
            check(log_path)
        with reader(log_path) as session:
            assert (session.leaf_id, session.labels, session.name) == (leaf, labels, called)
        leaf = leaf if leaf in ("g", "o", "x", "x1", "f") else "new"
        results.append((result, news, leaf, labels, called, kinds))
    assert all(result == results[0] for result in results)


@pytest.mark.usefixtures("paged")
def test_a_snapshot_changed_while_a_session_is_open(log_path: Path, half_covered: tuple[bytes, bytes]) -> None:
    """It may be overwritten, truncated or deleted; the answers stay the same."""
    _, index = half_covered
    spoil: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(bytes(len(index))),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(index[:PAGE]),
        Path.unlink,
    ]
    for act in spoil:
        index_of(log_path).write_bytes(index)
        with reader(log_path) as session:
            assert persisted(session) == 14
            act(index_of(log_path))
            told = answers(session)
        index_of(log_path).unlink(missing_ok=True)
        with reader(log_path) as session:
            assert answers(session) == told


def test_new_lines_survive_a_damaged_page(log_path: Path, half_covered: tuple[bytes, bytes]) -> None:
    """Scanning new lines needs the columns, too: in a refresh, in a follower and before an append."""
    data, index = half_covered
    more = [
        node("p", "b"),  # its parent is looked up in what is covered
        node("a", None),  # taken
        mark("m9", "label", target_id="c", label="x"),
        node("q", "p", model="m"),
    ]
    tail = as_file(sealed(more, crc32(data.splitlines()[-1])))
    acts: dict[str, Callable[[Session], Any]] = {
        "refresh": lambda session: ids(session.refresh()),
        "append": lambda session: session.append(user("x"), on_stale="rebase").parent_id,
        "path": lambda session: (ids(session.refresh()), ids(session.path())),
    }
    for name, act in acts.items():
        results = []
        for other in (None, index, *every_damage(index)):
            log_path.write_bytes(data)
            index_of(log_path).unlink(missing_ok=True)
            if other is not None:
                index_of(log_path).write_bytes(other)
            with opened(log_path) as session:
                with log_path.open("ab") as file:
                    file.write(tail)
                results.append((act(session), facts(session.findings), session.labels))
        assert all(result == results[0] for result in results), name
        assert [code for code, *_ in results[0][1]] == ["id_conflict"]
    followed = []
    for other in (None, index, *every_damage(index)):
        log_path.write_bytes(data)
        index_of(log_path).unlink(missing_ok=True)
        if other is not None:
            index_of(log_path).write_bytes(other)
        with reader(log_path) as session:
            news = session.follow(poll_s=0.001, timeout_s=0.01)
            with log_path.open("ab") as file:
                file.write(tail)
            followed.append([record.id for record in news])
    assert all(result == ["p", "m9", "q"] for result in followed)


def test_a_replaced_log_with_a_damaged_snapshot(log_path: Path) -> None:
    """After a replacement `refresh` returns all entries, also with a damaged snapshot of the new log."""
    log_path.write_bytes(log_of(A))
    other = log_path.with_name("other.jsonl")
    index = saved(other, log_of(A, B, C, header=OTHER))
    for spoilt in (index, *every_damage(index)):
        with reader(log_path) as session:
            other.write_bytes(log_of(A, B, C, header=OTHER))
            other.rename(log_path)
            index_of(log_path).write_bytes(spoilt)
            assert ids(session.refresh()) == ["a", "b", "c"]
        index_of(log_path).unlink()
        log_path.unlink()
        log_path.write_bytes(log_of(A))


@pytest.mark.parametrize("indexed", [True])
@pytest.mark.parametrize("act", ["append", "refresh", "close"])
def test_a_log_overwritten_by_another_is_noticed(act: str, indexed: bool, log_path: Path) -> None:
    """No entry is appended to the other log, and no snapshot mixes the two."""
    saved(log_path, log_of(A, B, C))
    other = log_of(node("x", None), node("y", "x"), node("z", "y"), header=OTHER)
    assert len(other) == log_path.stat().st_size
    with opened(log_path) as session:
        assert persisted(session) == 3 * indexed
        log_path.write_bytes(other)
        if act == "append":
            with pytest.raises(StaleLeaf):
                session.append(user("new"))
        elif act == "refresh":
            assert ids(session.refresh()) == ["x", "y", "z"]
        else:
            session._journal.save_snapshot(always=True)
    with reader(log_path) as session:
        assert (session.id, session.leaf_id, ids(session.path())) == ("s2", "z", ["x", "y", "z"])


# --- how long the log was ---


LONG = sealed((HEADER, A, B, C, mark("m", "label", target_id="b", label="L"), D))
ENDS = [len(as_file(LONG[:count])) for count in range(len(LONG) + 1)]  # behind so many lines
WHOLE = as_file(LONG)


def lost_behind(count: int) -> Facts:
    """Returns the finding of a log that lost the lines behind its first `count`."""
    return [(LOST, count + 1, ENDS[count], ENDS[-1] - ENDS[count])]


@pytest.mark.parametrize("count", range(len(LONG)))
@pytest.mark.parametrize("mode", ["r", "a"])
def test_lost_lines_at_the_end_are_found(mode: str, count: int, log_path: Path) -> None:
    """The finding says where they began and how long they were. A reader writes nothing."""
    index = saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[count])
    before = files(log_path)
    with Session.open(log_path, mode=mode) as session:  # type: ignore[arg-type]
        assert facts(session.findings) == lost_behind(count)
        assert [finding.severity for finding in session.findings] == ["error"]
        assert ids(session.path()) == ["a", "b", "c", "d"][: [0, 0, 1, 2, 3, 3][count]]
    if mode == "r":
        assert files(log_path) == before
    elif count:
        assert index_of(log_path).read_bytes() != index
    assert found(log_path, mode="r") == lost_behind(count)
    assert not list(log_path.parent.glob(".*"))


def torn_at(cut: int) -> Facts:
    """Returns the findings of a log that was cut inside a line."""
    count = next(number for number, end in enumerate(ENDS) if end > cut) - 1
    return [*lost_behind(count), ("torn_tail", count + 1, ENDS[count], cut - ENDS[count])]


INSIDE = [cut for cut in range(ENDS[1] + 1, ENDS[-1]) if cut not in ENDS]


def test_a_cut_inside_a_line_is_a_loss_and_a_torn_tail(log_path: Path) -> None:
    """Tested at every byte: both are reported."""
    saved(log_path, WHOLE)
    for cut in INSIDE:
        log_path.write_bytes(WHOLE[:cut])
        assert found(log_path, mode="r") == torn_at(cut)


def test_a_writer_reports_the_loss_and_the_torn_tail(log_path: Path) -> None:
    """Its findings are those of a reader."""
    index = saved(log_path, WHOLE)
    for cut in INSIDE:
        log_path.write_bytes(WHOLE[:cut])
        index_of(log_path).write_bytes(index)
        assert found(log_path, mode="a") == torn_at(cut)


def test_a_cut_inside_the_header_is_a_loss(log_path: Path) -> None:
    """Tested at every byte of the first line."""
    saved(log_path, WHOLE)
    for cut in range(ENDS[1] - 1, 0, -1):
        log_path.write_bytes(WHOLE[:cut])
        assert found(log_path, mode="r") == torn_at(cut)


def grow(path: Path, **arguments: Any) -> Facts:
    """Appends more bytes than were lost, and returns the findings."""
    with opened(path, **arguments) as session:
        session.append_many([user("more" * 200), user("and more" * 200)])
        return facts(session.findings)


def test_a_loss_is_remembered(log_path: Path) -> None:
    """It is still reported after appends, reopening, a new snapshot and damage to the snapshot."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[3])
    with usual():
        assert grow(log_path) == lost_behind(3)
        assert found(log_path, mode="r") == lost_behind(3)
        assert grow(log_path) == lost_behind(3)
    older = index_of(log_path).read_bytes()
    assert grow(log_path) == lost_behind(3)
    assert index_of(log_path).read_bytes() != older
    assert found(log_path, mode="r") == lost_behind(3)
    assert found(log_path) == lost_behind(3)
    index = index_of(log_path).read_bytes()
    for spoilt in every_damage(index):
        index_of(log_path).write_bytes(spoilt)
        with reader(log_path) as session:
            assert len(session.path()) == 8
            assert persisted(session) in (0, 8)
            assert facts(session.findings) == lost_behind(3)


def test_a_loss_is_remembered_after_other_damage(log_path: Path) -> None:
    """If a line that the snapshot covers changes, the log is scanned, but the loss is still reported."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[3])
    grow(log_path)
    data = log_path.read_bytes()
    log_path.write_bytes(data[:-100] + b"X" + data[-99:])
    with reader(log_path) as session:
        assert (persisted(session), codes(session)) == (0, [LOST, "bad_seal"])


def test_a_loss_is_remembered_by_a_killed_writer(log_path: Path) -> None:
    """A writer that finds a loss saves it before it does anything else."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[2])
    script = (
        "import os, signal, sys; from convtree import Session; "
        "session = Session.open(sys.argv[1]); assert session.findings; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, log_path], check=False)
    assert done.returncode == -signal.SIGKILL
    more = as_file(sealed([node(f"x{number}", None) for number in range(9)], crc32(LONG[1])))
    with log_path.open("ab") as file:
        file.write(more)
    assert log_path.stat().st_size > ENDS[-1]
    for mode in ("r", "a", "r"):
        assert found(log_path, mode=mode) == lost_behind(2)


def test_lines_lost_under_an_open_session_are_found(log_path: Path) -> None:
    """The next append or refresh reports them. The append is stored."""
    for act in ("append", "refresh"):
        saved(log_path, WHOLE)
        with usual(), opened(log_path, on_stale="rebase") as session:
            assert session.findings == ()
            os.truncate(log_path, ENDS[3])
            if act == "append":
                session.append(user("x" * 1000), parent_id="b")
            else:
                session.refresh()
            assert facts(session.findings) == lost_behind(3)
        assert found(log_path, mode="r") == lost_behind(3)


def hold(path: Path) -> Callable[[], None]:
    """Takes the lock as another process would; returns a function that releases it."""
    fd = os.open(path, os.O_RDWR)
    assert filelock.lock_descriptor(fd, blocking=False)
    return lambda: os.close(fd)


@pytest.mark.parametrize("reason", ["locked", "full"])
def test_a_loss_is_saved_later_if_not_at_once(reason: str, log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lock is taken or the disk is full, the loss is saved before the log grows."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[3])
    with usual():
        if reason == "locked":
            free = hold(log_path)
            session = opened(log_path)
            free()
        else:
            with monkeypatch.context() as patched:
                patched.setattr(os, "rename", refuse_all)
                session = opened(log_path)
        with session:
            assert facts(session.findings) == lost_behind(3)
            session.append_many([user("more" * 200), user("and more" * 200)])
        assert found(log_path, mode="r") == lost_behind(3)


def refuse_all(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_emptied_log_reports_its_loss(log_path: Path) -> None:
    """A log that was truncated to nothing gets a new header, and the loss is still reported."""
    saved(log_path, WHOLE)
    os.truncate(log_path, 0)
    with usual():
        assert grow(log_path) == lost_behind(0)
        assert found(log_path, mode="r") == lost_behind(0)


def test_strict_refuses_a_loss(log_path: Path) -> None:
    """With `strict`, lost lines raise CorruptLog like other damage."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[3])
    for mode in ("r", "a"):
        with pytest.raises(CorruptLog) as caught:
            Session.open(log_path, mode=mode, strict=True)
        assert facts(caught.value.findings) == lost_behind(3)


def convtree(*arguments: object) -> tuple[int, str]:
    """Runs a command; returns its exit code and output."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.output


def test_verify_reports_a_loss_and_repair_clears_it(log_path: Path) -> None:
    """A dry run reports that a repair is needed. After the repair, nothing reports the loss any more."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[3])
    assert facts(verify(log_path).findings) == lost_behind(3)
    code, output = convtree("verify", log_path)
    assert (code, "the log used to be longer" in output) == (5, True)
    before = files(log_path)
    plan = repair(log_path)
    assert (plan.needed, plan.kept, plan.removed, plan.remaining) == (True, 2, (), ())
    assert convtree("repair", log_path)[0] == 1
    assert files(log_path) == before
    assert convtree("repair", log_path, "--yes")[0] == 0
    assert log_path.read_bytes() == WHOLE[: ENDS[3]]
    assert names(log_path) == ["log.jsonl", "log.jsonl.original"]
    assert convtree("verify", log_path)[0] == 0
    for mode in ("r", "a", "r"):
        assert found(log_path, mode=mode) == []
    assert grow(log_path) == []
    assert not repair(log_path).needed
    assert check(log_path) == 4


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(ENDS[4] - 9, id="in the middle"),
        pytest.param(ENDS[4] - 1, id="before a newline"),
    ],
)
def test_repair_of_a_torn_tail_matches_its_dry_run(cut: int, log_path: Path) -> None:
    """A last line that only lacks its newline is kept."""
    saved(log_path, WHOLE)
    os.truncate(log_path, cut)
    plan = repair(log_path)
    done = repair(log_path, dry_run=False)
    whole = cut == ENDS[4] - 1
    assert (plan.kept, done.kept) == (2 + whole, 2 + whole)
    assert log_path.read_bytes() == WHOLE[: ENDS[3 + whole]]
    assert found(log_path, mode="r") == []


def test_repair_reports_the_torn_tail_it_removed(log_path: Path) -> None:
    """The dry run and the repair report the same."""
    saved(log_path, WHOLE)
    os.truncate(log_path, ENDS[4] - 9)
    plan = repair(log_path)
    done = repair(log_path, dry_run=False)
    assert [finding.code for finding in plan.removed] == ["torn_tail"]
    assert done.removed == plan.removed
    assert done.quarantine is not None


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("then", ["close", "append", "refresh"])
def test_a_session_opened_before_a_repair(then: str, lost: bool, log_path: Path) -> None:
    """It knows the longer log, but reports no loss and saves no snapshot of it."""
    for damage in (b"junk\n" * 50, b""):
        for each in log_path.parent.iterdir():
            each.unlink()
        saved(log_path, WHOLE[: ENDS[2]] + damage + WHOLE[ENDS[2] :])
        os.truncate(log_path, len(damage) + ENDS[4 if lost else -1])
        old = opened(log_path, on_stale="rebase")
        if not lost and not damage:
            old.append(user("x"))
        needed = repair(log_path, dry_run=False).needed
        assert needed == (lost or bool(damage))
        if then == "append":
            old.append(user("y"), parent_id="a")
        elif then == "refresh":
            old.refresh()
        old.close()
        for mode in ("r", "a", "r"):
            assert found(log_path, mode=mode) == []
        assert grow(log_path) == []
        assert check(log_path) > 0


def test_another_log_in_its_place_is_not_a_loss(log_path: Path) -> None:
    """The snapshot belongs to the former log, whether the new one is shorter, longer or just created."""
    index = saved(log_path, WHOLE)
    for other in (log_of(A, header=OTHER), log_of(*rich(), header=OTHER)):
        for mode in ("r", "a"):
            log_path.write_bytes(other)
            index_of(log_path).write_bytes(index)
            assert found(log_path, mode=mode) == []
    log_path.unlink()
    index_of(log_path).write_bytes(index)
    with usual():
        assert grow(log_path) == []
        assert found(log_path, mode="r") == []
    assert index_of(log_path).read_bytes() == index
    assert grow(log_path) == []
    assert index_of(log_path).read_bytes() != index


def test_an_exclusive_session_on_a_removed_log(log_path: Path) -> None:
    """A new log next to the snapshot of a removed one has lost nothing."""
    saved(log_path, WHOLE)
    log_path.unlink()
    assert found(log_path, exclusive=True) == []


# --- when it is saved, and how ---


def unchanged(path: Path, act: Callable[[], object]) -> bool:
    """Returns whether a call leaves all files but the log as they were, including inode and time."""
    before = {name: facts for name, facts in files(path).items() if name != path.name}
    act()
    return before == {name: facts for name, facts in files(path).items() if name != path.name}


def append_and_close(path: Path, count: int, size: int = 1) -> None:
    with opened(path) as session:
        session.append_many([user("x" * size) for _ in range(count)])


def test_a_snapshot_is_saved_after_1024_rows(log_path: Path) -> None:
    """It is saved again after as many new rows."""
    with usual():
        append_and_close(log_path, 1024)
        assert names(log_path) == ["log.jsonl"]
        append_and_close(log_path, 1)
        assert names(log_path) == ["log.jsonl", "log.jsonl.index"]
        assert stat.S_IMODE(index_of(log_path).stat().st_mode) == 0o600
        with reader(log_path) as session:
            assert (persisted(session), len(session.path()), session.findings) == (1025, 1025, ())
        for _ in range(3):
            assert unchanged(log_path, lambda: append_and_close(log_path, 1))
        assert unchanged(log_path, lambda: opened(log_path).close())
        assert unchanged(log_path, lambda: append_and_close(log_path, 1021))
        assert not unchanged(log_path, lambda: append_and_close(log_path, 1))
        with reader(log_path) as session:
            assert persisted(session) == 1025 + 3 + 1021 + 1


def test_a_snapshot_is_saved_after_a_megabyte(log_path: Path) -> None:
    """The number of rows does not matter then."""
    with usual():
        append_and_close(log_path, 4, 2**18 - 1000)
        assert names(log_path) == ["log.jsonl"]
        append_and_close(log_path, 1, 8000)
        assert names(log_path) == ["log.jsonl", "log.jsonl.index"]
        assert unchanged(log_path, lambda: append_and_close(log_path, 3, 2**18))
        assert not unchanged(log_path, lambda: append_and_close(log_path, 1, 2**18))
        assert check(log_path) == 9


@pytest.mark.parametrize("unit", ["rows", "bytes"])
def test_a_snapshot_is_saved_after_a_64th_of_its_size(unit: str, log_path: Path) -> None:
    """So a long log is not saved again for every few thousand entries."""
    never = float("inf")
    with opened(log_path) as session:
        session.append_many([user("x" * 100) for _ in range(640)])
    rows, size = (0, never) if unit == "rows" else (never, 0)
    with thresholds(rows, size, THRESHOLDS[2]):
        append = [log_path.stat().st_size / 641, 0.0]
        assert unchanged(log_path, lambda: append_and_close(log_path, 9, 100))
        assert append[0] * 10 < log_path.stat().st_size
        assert not unchanged(log_path, lambda: append_and_close(log_path, 2, 100))
        with reader(log_path) as session:
            assert persisted(session) == 651


def test_readers_save_no_snapshot(log_path: Path) -> None:
    """Nor do sessions on a log that is read-only or has no seals."""
    log_path.write_bytes(WHOLE)
    before = files(log_path)
    with reader(log_path) as session:
        answers(session)
    verify(log_path)
    repair(log_path)
    assert files(log_path) == before
    for name in ("newer", "critical mark", "critical entry", "unsealed", "no header", "damaged header"):
        log_path.write_bytes(b"".join(LOGS[name]))
        assert found(log_path) != []
        assert names(log_path) == ["log.jsonl"], name


def test_a_memory_log_has_no_snapshot() -> None:
    """Saving one has no effect."""
    with Session.memory() as session:
        session.append(user("a"))
        session._journal.save_snapshot(always=True)
        assert session._journal.log.snapshot() is None


def test_a_session_without_a_record_saves_no_snapshot(log_path: Path) -> None:
    """Nothing was written, so there is nothing to save."""
    opened(log_path).close()
    opened(log_path, exclusive=True).close()
    assert names(log_path) == ["log.jsonl"]
    assert log_path.read_bytes() == b""


def test_no_snapshot_is_saved_while_the_lock_is_taken(log_path: Path) -> None:
    """`close` does not wait for the lock. The next writer saves one."""
    with opened(log_path) as session:
        session.append(user("a"))
        free = hold(log_path)
        session.close()
        free()
    assert names(log_path) == ["log.jsonl"]
    saved(log_path)
    assert check(log_path) == 1


def test_an_exclusive_session_saves_a_snapshot(log_path: Path) -> None:
    """It already has the lock that saving needs."""
    with opened(log_path, exclusive=True) as session:
        session.append(user("a"))
    assert check(log_path) == 1


def test_no_snapshot_is_saved_after_a_failed_write(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed write it is unknown what is on the disk."""
    index = saved(log_path, log_of(A))

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    session = opened(log_path)
    session.append(user("b"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", fail)
        with pytest.raises(OSError, match="Input/output"):
            session.append(user("c"))
    session.close()
    assert index_of(log_path).read_bytes() == index
    assert check(log_path) == 1


def test_the_log_is_synced_before_its_snapshot(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could make a whole log look as if it had lost lines."""
    session = opened(log_path)
    session.append(user("a"))
    calls: list[str] = []

    def watch(module: Any, name: str) -> None:
        call = getattr(module, name)

        def watched(first: Any, *rest: Any) -> Any:
            target = Path(os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first)
            what = "folder" if target.is_dir() else target.suffix
            calls.append(f"{name} {what}")
            return call(first, *rest)

        monkeypatch.setattr(module, name, watched)

    for name in ("fdatasync", "fsync", "rename", "unlink"):
        watch(os, name)
    session.close()
    assert calls[:4] == ["fdatasync .jsonl", "fdatasync .tmp", "rename .tmp", "fsync folder"]


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_snapshot_is_readable_by_those_who_may_read_the_log(mode: int, umask: int, log_path: Path) -> None:
    """Its permissions do not depend on the umask."""
    log_path.write_bytes(WHOLE)
    log_path.chmod(mode)
    before = os.umask(umask)
    try:
        saved(log_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(index_of(log_path).stat().st_mode) == mode


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "fdatasync", "rename", "fsync"])
def test_a_disk_error_does_not_fail_close(
    call: str, code: int, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is the old snapshot or the whole new one, and no other file."""
    saved(log_path, WHOLE)
    session = opened(log_path)
    session.append(user("x"))
    really = getattr(os, call)

    def refuse(first: Any, *rest: Any, **named: Any) -> Any:
        target = str(os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first)
        if call in ("rename", "fsync") or target.endswith(".tmp"):
            raise OSError(code, os.strerror(code))
        return really(first, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        session.close()
    assert names(log_path) == ["log.jsonl", "log.jsonl.index"]
    assert check(log_path) == (6 if call == "fsync" else 5)
    assert found(log_path) == []


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    """Mounts a small file system; skips the test where that is not permitted."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(mounted.stderr.decode(errors="replace").strip())
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=False)


@pytest.mark.usefixtures("paged")
def test_a_full_disk_leaves_the_old_snapshot(tmp_path: Path) -> None:
    """`close` raises nothing on a full disk. With room again, it saves a new snapshot."""
    with small_disk(tmp_path, "512k"):
        path, ballast = tmp_path / "log.jsonl", tmp_path / "ballast"
        index = saved(path, WHOLE)
        for room in (0, 4096, 40_000, len(index) - 4096):
            with suppress(OSError), opened(path) as session:
                session.append(user("x"))
                with suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while file.write(b"x" * 4096) == 4096:
                        pass
                os.truncate(ballast, ballast.stat().st_size - room)
            assert (index_of(path).read_bytes(), names(path)) == (index, ["ballast", "log.jsonl", "log.jsonl.index"])
            ballast.unlink()
        assert check(path) == 5
        assert check(path) == 5
        opened(path).close()
        assert check(path) == 9


@pytest.mark.usefixtures("paged")
def test_the_next_writer_replaces_a_damaged_snapshot(log_path: Path) -> None:
    """It does so as soon as the whole log is over the threshold."""
    with thresholds(3, 10**9, 0):
        index = saved(log_path, WHOLE)
        index_of(log_path).write_bytes(bytes(PAGE) + index[PAGE:])
        with opened(log_path) as session:
            session.path()
        assert index_of(log_path).read_bytes()[:PAGE] == index[:PAGE]
        assert check(log_path) == 5


def test_a_snapshot_can_be_deleted_at_any_time(log_path: Path) -> None:
    """It may be deleted before opening, while sessions are open and before they close."""
    saved(log_path, WHOLE)
    for when in ("before", "while open", "while reading", "before closing"):
        if when == "before":
            index_of(log_path).unlink()
        with opened(log_path) as session:
            if when == "while open":
                index_of(log_path).unlink()
            session.append(user(when), parent_id="a")
            told = answers(session)
            if when == "while reading":
                index_of(log_path).unlink()
                assert answers(session) == told
            if when == "before closing":
                index_of(log_path).unlink()
        assert check(log_path) > 4
        with reader(log_path) as session:
            assert (codes(session), session.leaf_id) == ([], told["leaf_id"])


# --- several sessions at once ---


def test_two_sessions_share_one_snapshot(log_path: Path) -> None:
    """The last to close replaces it, unless another session has saved one that it does not know."""
    log_path.write_bytes(WHOLE)
    first, second = opened(log_path, on_stale="rebase"), opened(log_path, on_stale="rebase")
    first.append(user("1"))
    second.append(user("2"))
    first.append(user("3"))
    second.append(user("4"))
    first.close()
    assert check(log_path) == 5 + 3
    second.close()
    assert check(log_path) == 5 + 4
    third, fourth = opened(log_path, on_stale="rebase"), opened(log_path, on_stale="rebase")
    third.append(user("5"))
    fourth.append(user("6"))
    fourth.append(user("7"))
    fourth.close()
    third.close()
    assert check(log_path) == 5 + 7
    with reader(log_path) as session:
        assert contents(session) == ["a", "b", "c", "d", "1", "2", "3", "4", "5", "6", "7"]


def test_threads_can_close_sessions_at_once(log_path: Path) -> None:
    """Afterwards there is one whole snapshot and no other file."""
    log_path.write_bytes(WHOLE)
    sessions = [opened(log_path, on_stale="rebase") for _ in range(8)]
    barrier = Barrier(16)
    errors: list[BaseException] = []

    def close(number: int) -> None:
        barrier.wait()
        try:
            if number < 8:
                sessions[number].append(user(str(number)))
            sessions[number % 8].close()
        except SessionClosed:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=close, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    saved(log_path)
    assert check(log_path) >= 5
    assert names(log_path) == ["log.jsonl", "log.jsonl.index"]


def in_child(act: Callable[[], object]) -> int:
    """Calls a function in a forked child; returns the exit code, 0 if nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException as error:
            sys.stderr.write(f"in the child: {error!r}\n")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_saves_no_snapshot_on_close(log_path: Path) -> None:
    """Closing an inherited session writes nothing. Sessions that the child opens work as usual."""
    index = saved(log_path, WHOLE)
    with opened(log_path, on_stale="rebase") as session:
        session.append(user("parent's"))
        assert in_child(session.close) == 0
        assert index_of(log_path).read_bytes() == index
        assert in_child(lambda: append_and_close(log_path, 1)) == 0
        assert check(log_path) == 7
        assert len(session.path()) == 5
        session.refresh()
        assert len(session.path()) == 6
        session.append(user("again"))
    assert check(log_path) == 8


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_use_the_session(log_path: Path) -> None:
    """Every query raises SessionClosed, with a snapshot as without."""
    saved(log_path, b"".join(LOGS["rich"]))
    for name in ("path", "children", "siblings", "tip", "leaves", "extension data", "context", "refresh"):
        for indexed in (False, True):
            if not indexed:
                index_of(log_path).rename(log_path.with_name("hidden"))
            with reader(log_path) as session:

                def read(session: Session = session, name: str = name) -> None:
                    with pytest.raises(SessionClosed):
                        READS[name](session)

                code = in_child(read)
            if not indexed:
                log_path.with_name("hidden").rename(index_of(log_path))
            assert (name, code) == (name, 0)


def test_snapshots_leave_no_descriptor_open(log_path: Path) -> None:
    """The descriptors of log and snapshot are closed after use."""
    saved(log_path, WHOLE)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        append_and_close(log_path, 1)
        with reader(log_path) as session:
            assert len(session.path()) == 5 + number
            session._journal.rescan()
            assert len(session.path()) == 5 + number
    assert len(os.listdir("/proc/self/fd")) == before


def columns_of(session: Session) -> Sequence[str]:
    return [*session._index.tree.columns]


@pytest.mark.usefixtures("paged")
def test_a_snapshot_has_every_column(log_path: Path) -> None:
    """It has all columns of the tree and the id table, each in its own pages."""
    index = saved(log_path, log_of(A, node("p", "a", pinned=True), node("q", "p", replaces="p")))
    with reader(log_path) as session:
        assert columns_of(session) == [*COLUMN_TYPES, "slots"]
    assert pages(index) == len(COLUMN_TYPES) + 1
    assert path_of_index(log_path) == index_of(log_path)
