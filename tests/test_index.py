"""Scanning a log: every finding with its place, and no damage without a finding."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from zlib import crc32

import pytest
from helpers import HEADER, Facts, as_file, codes, contents, facts, ids, log_of, mark, node, seal_by_hand, sealed
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import BrokenPath, EntryNotFound, LeafUncertain, NotALog, Session, UnknownEntry
from convtree._engine.log_index import Index
from convtree._model.findings import FINDING_LIMIT, LOG, LOST

A, B, C = node("a", None), node("b", "a"), node("c", "b")
LABEL = mark("m", "label", target_id="a", label="L")


def open_bytes(path: Path, data: bytes) -> Session:
    path.write_bytes(data)
    return Session.open(path, mode="r")


def found(path: Path, data: bytes) -> Facts:
    with open_bytes(path, data) as session:
        return facts(session.findings)


# --- each finding, with its place ---


def broken_seal() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, B, C))
    lines[2] = lines[2].replace(b'"content":"b"', b'"content":"B"')
    start = len(lines[0]) + len(lines[1]) + 2
    after = start + len(lines[2]) + 1
    return as_file(lines), [("bad_seal", 3, start, len(lines[2])), ("orphan", 4, after, len(lines[3]))]


def broken_line() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, '{"id":"a","parent_id":null,"type":5}', LABEL))
    start = len(lines[0]) + 1
    after = start + len(lines[1]) + 1
    return as_file(lines), [("bad_line", 2, start, len(lines[1])), ("bad_target", 3, after, len(lines[2]))]


def zeros() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A))
    start = len(as_file(lines))
    return as_file([*lines, bytes(50)]), [("nul_bytes", 3, start, 50)]


def zeros_before_a_line() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A))
    lines[1] = bytes(7) + lines[1]
    lines.append(seal_by_hand(B, crc32(lines[1])))
    return as_file(lines), [("nul_bytes", 2, len(lines[0]) + 1, 7)]


def broken_header() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A))
    lines[0] = lines[0].replace(b'"s1"', b'"s2"')
    return as_file(lines), [("bad_header", 1, 0, len(lines[0]))]


def no_header() -> tuple[bytes, Facts]:
    lines = sealed((A, B))
    return as_file(lines), [("bad_header", 1, 0, len(lines[0]))]


def two_headers() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, HEADER, B))
    return as_file(lines), [("second_header", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def two_headers_in_other_words() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, '{"id":"s2","format":"convtree","version":1,"type":"session","seal":"crc32"}', B))
    return as_file(lines), [("second_header", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def dropped() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, LABEL, B))
    return as_file(lines[:2] + lines[3:]), [("prev_mismatch", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[3]))]


def twice() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, A, B))
    return as_file(lines), [("duplicate", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def conflict() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, node("a", None, message={"other": 1})))
    return as_file(lines), [("id_conflict", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def mark_takes_an_entry_id() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, mark("a", "label", target_id="a", label="L")))
    return as_file(lines), [("id_conflict", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def orphan() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, node("a", "gone"), node("b", "b"), node("c", "d"), node("d", "a")))
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(5)]
    return as_file(lines), [("orphan", n + 1, starts[n], len(lines[n])) for n in (1, 2, 3)]


def parent_is_a_mark() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, LABEL, node("b", "m")))
    return as_file(lines), [("orphan", 4, sum(map(len, lines[:3])) + 3, len(lines[3]))]


def parent_is_empty() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, node("z", ""), A, LABEL, node("b", "")))
    first = ("orphan", 2, len(lines[0]) + 1, len(lines[1]))
    return as_file(lines), [first, ("orphan", 5, sum(map(len, lines[:4])) + 4, len(lines[4]))]


def bad_targets() -> tuple[bytes, Facts]:
    texts = (mark("m1", "leaf", target_id="b"), mark("m2", "label", target_id="m1", label="x"))
    lines = sealed((HEADER, A, *texts, B))
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(5)]
    return as_file(lines), [("bad_target", n + 1, starts[n], len(lines[n])) for n in (2, 3)]


def lost_entry() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, node("a", None, "lost"), B))
    return as_file(lines), [("lost_entry", 2, len(lines[0]) + 1, len(lines[1]))]


def vacuum_below() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, node("v", None, "vacuum")))
    return as_file(lines), [("bad_vacuum", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def unsealed() -> tuple[bytes, Facts]:
    header = HEADER.replace(',"seal":"crc32"', "").encode()
    return as_file([header, A.encode()]), [("unsealed", 1, 0, len(header))]


def carriage_returns() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, B))
    return as_file(line + b"\r" for line in lines), [("carriage_return", 1, 0, len(lines[0]) + 1)]


def byte_order_mark() -> tuple[bytes, Facts]:
    return b"\xef\xbb\xbf" + log_of(A), [("byte_order_mark", 1, 0, 3)]


def blank_lines() -> tuple[bytes, Facts]:
    return b"\n\n" + b"\n\n".join([*sealed((HEADER, A)), b""]), []


def newer() -> tuple[bytes, Facts]:
    lines = sealed((HEADER.replace('"version":1', '"version":2'), A))
    return as_file(lines), [("newer_version", 1, 0, len(lines[0]))]


def critical_node() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, node("a", None, "x.y", critical=True)))
    return as_file(lines), [("critical_unknown", 2, len(lines[0]) + 1, len(lines[1]))]


def critical_mark() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, mark("m", "x.y", critical=True)))
    return as_file(lines), [("critical_unknown", 2, len(lines[0]) + 1, len(lines[1]))]


def torn() -> tuple[bytes, Facts]:
    whole = log_of(A)
    return whole + b'{"id":"b","par', [("torn_tail", 3, len(whole), 14)]


def torn_but_complete() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, B))
    return as_file(lines)[:-1], [("torn_tail", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def not_utf8() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A))
    lines[1] = lines[1].replace(b'"content":"a"', b'"content":"\xff"')
    return as_file(lines), [("bad_seal", 2, len(lines[0]) + 1, len(lines[1]))]


def unsealed_not_utf8() -> tuple[bytes, Facts]:
    header = HEADER.replace(',"seal":"crc32"', "").encode()
    line = A.encode().replace(b'"content":"a"', b'"content":"\xff"')
    return as_file([header, line]), [("unsealed", 1, 0, len(header)), ("bad_line", 2, len(header) + 1, len(line))]


def bad_group() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, mark("g", "group", count=1), B))
    return as_file(lines), [("bad_group", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]))]


def torn_group() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, mark("g", "group", count=2), B))
    return as_file(lines), [("torn_tail", 3, len(lines[0]) + len(lines[1]) + 2, len(lines[2]) + len(lines[3]) + 2)]


def too_long() -> tuple[bytes, Facts]:
    lines = sealed((HEADER, A, B))
    start, length = len(as_file(lines[:2])), 64 * 2**20 + 1
    return as_file([*lines[:2], b"x" * (length - 1), lines[2]]), [("line_too_long", 3, start, length)]


CASES: list[Callable[[], tuple[bytes, Facts]]] = [
    *(broken_seal, broken_line, zeros, zeros_before_a_line, broken_header, no_header, two_headers, dropped, twice),
    *(conflict, mark_takes_an_entry_id, orphan, parent_is_a_mark, parent_is_empty, bad_targets, unsealed),
    *(carriage_returns, byte_order_mark, blank_lines, newer, critical_node, critical_mark, torn, torn_but_complete),
    *(not_utf8, unsealed_not_utf8, bad_group, torn_group, too_long, two_headers_in_other_words),
    *(lost_entry, vacuum_below),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_finding_names_its_place(case: Callable[[], tuple[bytes, Facts]], log_path: Path) -> None:
    """Code, line, offset and length are as expected, and reading changes no byte."""
    data, expected = case()
    assert found(log_path, data) == expected
    assert log_path.read_bytes() == data


def test_every_finding_code_has_a_case() -> None:
    """No code in the table of findings is left without a test."""
    provoked = {fact[0] for case in CASES if case is not too_long for fact in case()[1]}
    in_whole_records = {"bad_body", "bad_kept", "bad_replaces", "usage_unknown"}  # of `verify`, see test_repair
    in_databases = {LOST, "wrong_size", "wrong_end"}  # what the row of a session says, see test_sql_rows
    assert LOG.keys() - provoked == {"line_too_long"} | in_databases | in_whole_records


def test_the_number_of_findings_is_limited(log_path: Path) -> None:
    """A log full of damage gives 10,000 findings, and one that says there are more."""
    lines = sealed((HEADER, A)) + [b"x"] * (FINDING_LIMIT + 500)
    with open_bytes(log_path, as_file(lines)) as session:
        assert len(session.findings) == FINDING_LIMIT + 1
        assert facts(session.findings[-1:]) == [("too_many", FINDING_LIMIT + 3, len(as_file(lines[:-500])), 1)]


def test_findings_have_their_severity(log_path: Path) -> None:
    """A torn tail is a warning, a broken seal an error, a missing seal is only informational."""
    for case, severity in ((torn, "warning"), (broken_seal, "error"), (unsealed, "info")):
        with open_bytes(log_path, case()[0]) as session:
            assert session.findings[0].severity == severity


# --- what the lines mean ---


def test_a_line_over_the_limit_is_skipped(log_path: Path) -> None:
    """The lines behind a line of more than 64 MiB are read."""
    with open_bytes(log_path, too_long()[0]) as session:
        assert contents(session) == ["a", "b"]


@pytest.mark.parametrize("case", [carriage_returns, byte_order_mark, blank_lines, zeros_before_a_line, unsealed])
def test_harmless_deviations_are_read(case: Callable[[], tuple[bytes, Facts]], log_path: Path) -> None:
    """CRLF, a byte order mark, empty lines, zeros before a line and missing seals hide no entry."""
    with open_bytes(log_path, case()[0]) as session:
        assert session.id == "s1"
        assert contents(session)[0] == "a"
        assert ids(session.path()) == (["a"] if case in (byte_order_mark, blank_lines, unsealed) else ["a", "b"])


def test_the_first_line_with_an_id_wins(log_path: Path) -> None:
    """A second line with the same id is ignored, but it makes the leaf uncertain."""
    with open_bytes(log_path, conflict()[0]) as session:
        assert contents(session, leaf="a") == ["a"]
        with pytest.raises(LeafUncertain, match="id_conflict"):
            session.build_context()


def test_a_mark_is_never_returned_as_an_entry(log_path: Path) -> None:
    """Marks and entries share one set of ids, but queries for entries do not find marks."""
    with open_bytes(log_path, log_of(A, LABEL)) as session:
        for ask in (session.entry, session.path, session.children, session.siblings, session.tip):
            with pytest.raises(EntryNotFound):
                ask("m")


@pytest.mark.parametrize("text", ["", "wär's", "a\ud800", "x" * 200, "a\n", '","type":"', "\0", "0x00000000000001"])
def test_any_string_can_be_looked_up(text: str, log_path: Path) -> None:
    """A string that cannot be an id raises EntryNotFound."""
    with open_bytes(log_path, log_of(A, node("0000000000000001", "a"))) as session:
        for ask in (session.entry, session.path, session.children, session.tip):
            with pytest.raises(EntryNotFound):
                ask(text)


def test_an_id_with_json_escapes_is_found(log_path: Path) -> None:
    """Another writer may escape letters of an id. The entry and its children are found."""
    escaped = A.replace('"id":"a"', '"id":"\\u0061"')
    with open_bytes(log_path, log_of(escaped, LABEL, B, escaped)) as session:
        assert codes(session) == ["duplicate"]
        assert ids(session.path("b")) == ["a", "b"]
        assert session.entry("a").id == "a"


def test_any_key_order_is_read(log_path: Path) -> None:
    """Key order and white space are rules for writers only."""
    text = '{ "type":"message", "message":{"role":"user","content":"b"} , "parent_id":"a", "id":"b"}'
    with open_bytes(log_path, log_of(A, text, C)) as session:
        assert contents(session) == ["a", "b", "c"]
        assert session.findings == ()


def test_hex_ids_that_differ_in_case_only_are_fast() -> None:
    """Ids with the same hexadecimal value do not collide, so a hostile log cannot make lookups slow."""
    spellings = ["".join(letters) + "aaaaaa" for letters in product("aA", repeat=10)]
    lines = sealed([HEADER, *(node(id, None) for id in spellings)])
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    reads = 0

    def read_at(spans: Sequence[tuple[int, int]]) -> list[bytes]:
        nonlocal reads
        reads += 1
        return [lines[starts.index(position)] for position, _ in spans]

    index = Index(read_at)
    index.scan(starts, lines, starts[-1] + len(lines[-1]))
    assert index.state.findings == []
    assert all(index.node(id) == row for row, id in enumerate(spellings))
    assert reads < 2 * len(spellings)


def test_marks_are_replayed(log_path: Path) -> None:
    """The last label, name and archive flag count. Metadata is merged by top-level key; null removes one."""
    texts = [
        A,
        mark("m1", "label", target_id="a", label="one"),
        mark("m2", "label", target_id="a", label="two"),
        mark("m3", "session_info", name="n", archived=True, metadata={"x": {"deep": 1}, "y": 2}),
        mark("m4", "session_info", metadata={"x": {"other": 1}, "y": None}),
        mark("m5", "session_info", name=None),
        mark("m6", "tool.later", anything=1),
    ]
    with open_bytes(log_path, log_of(*texts)) as session:
        assert (session.labels, session.name, session.archived) == ({"a": "two"}, None, True)
        assert session.metadata == {"x": {"other": 1}}
        assert (session.leaf_id, session.findings) == ("a", ())


def test_metadata_starts_with_the_headers(log_path: Path) -> None:
    """Name and metadata start with the header's. A mark with null removes all metadata."""
    header = HEADER[:-1] + ',"name":"h","metadata":{"a":1,"b":2}}'
    log_path.write_bytes(log_of(A, mark("m1", "session_info", metadata={"b": 3}), header=header))
    with Session.open(log_path) as session:
        assert (session.name, session.metadata) == ("h", {"a": 1, "b": 3})
    log_path.write_bytes(log_of(A, mark("m1", "session_info", metadata=None, archived=None), header=header))
    with Session.open(log_path) as session:
        assert (session.metadata, session.archived) == ({}, False)


def test_a_damaged_header_keeps_later_names(log_path: Path) -> None:
    """If the header is lost, the name comes from marks, never from the arguments of `open`."""
    lines = sealed((HEADER, A, mark("m1", "session_info", name="real", metadata={"k": 1})))
    log_path.write_bytes(as_file([lines[0].replace(b"s1", b"s2"), *lines[1:]]))
    with Session.open(log_path, name="opener's", metadata={"mine": 1}, id="mine") as session:
        assert (session.id, session.name, session.metadata) == ("", "real", {"k": 1})


def test_opaque_records_are_kept(log_path: Path) -> None:
    """An unknown entry keeps its place in the tree and its fields."""
    with open_bytes(log_path, log_of(A, node("x", "a", "tool.x", deep={"k": [1]}), node("b", "x"))) as session:
        assert ids(session.path()) == ["a", "x", "b"]
        assert session.entry("x").type == "tool.x"
        assert contents(session) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "leaf", "doubt"),
    [
        (B, "b", False),
        (mark("l", "leaf", target_id="a"), "a", False),
        (mark("l", "leaf", target_id=None), None, False),
        (mark("l", "label", target_id="a", label="x"), "a", True),
        (mark("l", "leaf", target_id="gone"), "a", True),
    ],
)
def test_a_later_line_makes_the_leaf_certain_again(text: str, leaf: str | None, doubt: bool, log_path: Path) -> None:
    """Damage makes the leaf uncertain until an entry or a valid leaf mark follows it."""
    lines = sealed((HEADER, A))
    lines.append(b"damage")
    lines.append(seal_by_hand(text, crc32(lines[-1])))
    with open_bytes(log_path, as_file(lines)) as session:
        assert session.leaf_id == leaf
        if doubt:
            for ask in (session.build_context, session.path, session.extension_data):
                with pytest.raises(LeafUncertain):
                    ask()
            assert contents(session, leaf="a") == ["a"]
        else:
            assert len(session.build_context().messages) == (0 if leaf is None else 1 + (leaf == "b"))


def test_critical_records_forbid_contexts(log_path: Path) -> None:
    """A critical entry forbids the contexts through it, a critical mark all of them."""
    with open_bytes(log_path, log_of(A, node("x", "a", "x.y", critical=True), node("b", "x"))) as session:
        assert contents(session, leaf="a") == ["a"]
        for leaf in ("x", "b"):
            with pytest.raises(UnknownEntry):
                session.build_context(leaf=leaf, allow_gaps=True)
    with open_bytes(log_path, log_of(A, mark("m", "x.y", critical=True))) as session:
        for ask in ("a", None):
            with pytest.raises(UnknownEntry):
                session.build_context(leaf=ask)


# --- damage of every kind, everywhere ---

SMALL = [
    HEADER,
    node("p", None, message={"role": "system", "content": "p"}, pinned=True),
    node("a", "p"),
    node("b", "a", model="m", provider="v"),
    LABEL,
    node("k", "b", "compaction", summary="S", first_kept_entry_id="b"),
    node("c", "k"),
    mark("l", "leaf", target_id="k"),
    mark("n", "session_info", name="n"),
]
STEP = 1 if settings().max_examples > 1000 else 9
NODES = ("p", "a", "b", "k", "c")
DOCUMENTED = (BrokenPath, EntryNotFound, LeafUncertain, UnknownEntry)


def contexts(session: Session) -> list[object]:
    """Returns the context at each entry and at the leaf; None where a documented error is raised."""
    seen: list[object] = []
    for leaf in NODES:
        try:
            context = session.build_context(leaf=leaf)
            seen.append((context.messages, ids(context.entries), context.provider, context.model))
        except DOCUMENTED:
            seen.append(None)
    try:
        seen.append(contents(session))
    except DOCUMENTED:
        seen.append(None)
    return seen


def check_damaged(path: Path, data: bytes, whole: list[object], *, finds: bool = True) -> None:
    """Asserts that damage is found, and that each context is right, refused or comes with a finding."""
    path.write_bytes(data)
    try:
        session = Session.open(path, mode="r")
    except NotALog:
        return
    with session:
        assert not finds or any(finding.severity != "info" for finding in session.findings)
        seen = contexts(session)
        for expected, actual in zip(whole[:-1], seen[:-1], strict=True):
            assert actual in (expected, None)
        assert session.findings or seen[-1] == whole[-1] or not finds


def whole_contexts(path: Path, lines: Iterable[bytes]) -> list[object]:
    with open_bytes(path, as_file(lines)) as session:
        assert session.findings == ()
        seen = contexts(session)
    assert None not in seen
    return seen


@pytest.mark.no_cover
def test_every_flipped_bit_is_found(log_path: Path) -> None:
    """A flipped bit never changes a context without a finding, nor raises an undocumented error.

    Tests about one bit of every byte; all of them with --hypothesis-profile=long.
    """
    lines = sealed(SMALL)
    whole = whole_contexts(log_path, lines)
    data = as_file(lines)
    for position in range(0, len(data) * 8, STEP):
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        check_damaged(log_path, bytes(damaged), whole)


def test_every_lost_or_added_byte_is_found(log_path: Path) -> None:
    """The same holds for a byte that is missing or doubled, and for an added newline or zero."""
    lines = sealed(SMALL)
    whole = whole_contexts(log_path, lines)
    data = as_file(lines)
    for at in range(0, len(data), STEP // 2 or 1):
        check_damaged(log_path, data[:at] + data[at + 1 :], whole)
        blank = data[at - 1 : at] in (b"", b"\n") or data[at : at + 1] == b"\n"
        check_damaged(log_path, data[:at] + b"\n" + data[at:], whole, finds=not blank)
        check_damaged(log_path, data[:at] + b"\0" + data[at:], whole)


def test_any_prefix_of_a_log_opens(log_path: Path) -> None:
    """A log that was cut has the content of its whole lines; the rest is a torn tail."""
    lines = sealed(SMALL)
    data = as_file(lines)
    leaves = [None, None, "p", "a", "b", "b", "k", "c", "k", "k"]
    for cut in range(0, len(data) + 1, STEP // 4 or 1):
        count = data[:cut].count(b"\n")
        start = len(as_file(lines[:count]))
        with open_bytes(log_path, data[:cut]) as session:
            assert session.leaf_id == leaves[count]
            assert facts(session.findings) == ([] if cut == start else [("torn_tail", count + 1, start, cut - start)])


def test_every_moved_or_missing_line_is_found(log_path: Path) -> None:
    """Lines that are missing, doubled or swapped are found, except for missing lines at the end."""
    lines = sealed(SMALL)
    whole = whole_contexts(log_path, lines)
    for at in range(len(lines)):
        rest = lines[:at] + lines[at + 1 :]
        check_damaged(log_path, as_file(rest), whole, finds=at != len(lines) - 1)
        check_damaged(log_path, as_file([*lines[:at], lines[at], *lines[at:]]), whole)
        for to in range(len(rest) + 1):
            if to != at:
                check_damaged(log_path, as_file([*rest[:to], lines[at], *rest[to:]]), whole)


def test_a_tail_of_zeros_is_a_torn_tail(log_path: Path) -> None:
    """A power cut can leave zeros from any byte to the end of the file."""
    lines = sealed(SMALL)
    data = as_file(lines)
    for cut in range(0, len(data), 3):
        with open_bytes(log_path, data[:cut] + bytes(len(data) - cut)) as session:
            assert codes(session) == ["torn_tail"]


FRAGMENTS = st.sampled_from(
    [*(text.encode() for text in SMALL), b"", b"\0", b"\r", b"\xef\xbb\xbf", b"{}", b"[]", b'{"id":"a"}', b"\xff"]
) | st.binary(max_size=20)


@given(st.lists(st.tuples(FRAGMENTS, st.booleans()), max_size=12))
def test_any_lines_raise_documented_errors_only(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, bool]]
) -> None:
    """Whatever lines a file has, sealed or not, opening and querying it raises documented errors only."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    prev, lines = 0, [HEADER.encode()]
    for piece, seals in pieces:
        line = seal_by_hand(piece.decode(errors="replace"), prev) if seals and piece else piece
        prev = crc32(line)
        lines.append(line)
    for data in (as_file(lines), as_file(lines[1:])):
        path.write_bytes(data)
        try:
            session = Session.open(path)
        except NotALog:
            continue
        with session:
            contexts(session)
            with suppress(BrokenPath):
                session.leaves()
            with suppress(BrokenPath):
                session.refresh()
            with suppress(BrokenPath):
                session.children(None)
            assert all(isinstance(label, str) for label in session.labels.values())
        assert path.read_bytes() == data


def test_a_mark_with_invalid_fields_is_a_finding(log_path: Path) -> None:
    """A sealed mark whose fields have the wrong type is reported and ignored."""
    bad = '{"id":"m1","type":"session_info","timestamp":null,"archived":"yes"}'
    with open_bytes(log_path, log_of(A, bad)) as session:
        assert codes(session) == ["bad_line"]
        assert not session.archived


def test_an_invalid_line_in_a_run_hides_no_other(log_path: Path) -> None:
    """In lines that are scanned together, each invalid one is a finding and the others are indexed."""
    bad = ('{"id":"x","parent_id":"a","type":5}', '{"id":7}')
    with open_bytes(log_path, log_of(A)) as session:
        log_path.write_bytes(log_of(A, bad[0], B, bad[1], C))
        session.refresh()
        assert codes(session) == ["bad_line", "bad_line"]
        assert contents(session) == ["a", "b", "c"]


@pytest.mark.parametrize("change", [("{", '{"provider":5,'), ('"s1"', '"no id"')])
def test_an_invalid_second_header_is_still_a_header(change: tuple[str, str], log_path: Path) -> None:
    """A header in the middle of a log is reported as one, even if its fields are invalid for an entry."""
    with open_bytes(log_path, log_of(A, HEADER.replace(*change, 1), B)) as session:
        assert codes(session) == ["second_header"]
        assert contents(session) == ["a", "b"]


def test_a_sealed_but_invalid_header_is_a_finding(log_path: Path) -> None:
    """Its checksum is right and its fields are not. The lines behind it are read."""
    lines = sealed((HEADER.replace('"version":1', '"version":"x"'), A))
    with open_bytes(log_path, as_file(lines)) as session:
        assert facts(session.findings) == [("bad_header", 1, 0, len(lines[0]))]
        assert contents(session) == ["a"]


def test_a_line_overwritten_after_the_scan_is_noticed(log_path: Path) -> None:
    """Its id is not found, because only the line itself can confirm an id."""
    lines = sealed((HEADER, A))
    with open_bytes(log_path, as_file(lines)) as session:
        log_path.write_bytes(as_file([lines[0], b"x" * len(lines[1])]))
        with pytest.raises(EntryNotFound):
            session.entry("a")
        with pytest.raises(BrokenPath, match="was damaged after it was read") as caught:
            session.path()
        assert caught.value.offset == len(lines[0]) + 1


def test_a_line_with_a_wrong_seal_is_never_read(log_path: Path) -> None:
    """This holds even if the header's declaration of the seal is damaged."""
    header, a, b = sealed((HEADER, A, B))
    torn_header = header.replace(b'"seal":', b'"sebl":')
    other = a.replace(b'"content":"a"', b'"content":"x"')
    with open_bytes(log_path, as_file([torn_header, other, b])) as session:
        assert [finding.code for finding in session.findings] == ["bad_header", "bad_seal", "orphan"]
        with pytest.raises(EntryNotFound):
            session.entry("a")


def test_a_reformatted_log_is_a_damaged_log(log_path: Path) -> None:
    """The header still identifies the log, although no checksum is right any more."""
    lines = [json.dumps(json.loads(line)).encode() for line in sealed((HEADER, A, B))]
    with open_bytes(log_path, as_file(lines)) as session:
        assert [finding.code for finding in session.findings] == ["bad_header", "bad_seal", "bad_seal"]
        assert session.leaf_id is None


def test_a_long_label_is_truncated_on_reading(log_path: Path) -> None:
    """A hostile log cannot fill the memory with labels."""
    with open_bytes(log_path, log_of(A, mark("m", "label", target_id="a", label="L" * 1000))) as session:
        assert session.labels == {"a": "L" * 256}
