"""Rejoining: damaged entries keep their places in the tree, and the true ones come back."""

from pathlib import Path
from zlib import crc32

import orjson
import pytest
from click.testing import CliRunner, Result
from helpers import HEADER, as_file, codes, contents, log_of, mark, node, seal_by_hand, sealed, user
from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    BrokenPath,
    CompactionEntry,
    CorruptLog,
    Entry,
    ExtensionDataEntry,
    Gap,
    IdConflict,
    InvalidMessage,
    LabelMark,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    Session,
    VisibilityMark,
)
from convtree._cli.app import app
from convtree._engine import codec, lost, save_points
from convtree._engine.journal import Journal
from convtree._logs.jsonl import JsonlLog
from convtree._session.rejoining import rejoin
from convtree.exchange import export_lines
from convtree.repair import Repair, redact_log, repair, verify
from convtree.stores._open import open_store

A, B, C, D = node("a", None), node("b", "a"), node("c", "b"), node("d", "c")
LINES = sealed((HEADER, A, B, C, D))
EARLIER = "2020-01-01T00:00:00.000000Z"


def damaged(line: bytes) -> bytes:
    """The same line with one letter of its message changed."""
    return line.replace(b"user", b"usex", 1)


def body_crc(text: str) -> str:
    """The checksum of a line without its seal."""
    return f"{crc32(text.encode()):08x}"


def lost_line(id: str, parent_id: str | None, **fields: str) -> bytes:
    """The payload of a lost entry, closed."""
    return node(id, parent_id, "lost", **fields).encode()


def bodies(log: bytes) -> list[bytes]:
    """What stands in the lines of a log before their seals, closed."""
    assert all(codec.verify_seal(line) for line in log.splitlines())
    return [line[:-36] + b"}" for line in log.splitlines()]


def rejoined(path: Path, data: bytes) -> Repair:
    """Repairs a log with `rejoin`; checks what holds for every such repair."""
    path.write_bytes(data)
    plan = repair(path, rejoin=True)
    assert path.read_bytes() == data
    done = repair(path, rejoin=True, dry_run=False)
    assert (plan.removed, plan.remaining, plan.rejoined, plan.recovered, plan.kept) == (
        done.removed,
        done.remaining,
        done.rejoined,
        done.recovered,
        done.kept,
    )
    content = path.read_bytes()
    assert not repair(path, rejoin=True, dry_run=False).needed
    assert path.read_bytes() == content
    with Session.open(path, mode="r") as session:
        doubt = {"prev_mismatch"} if done.leaf_uncertain else set()
        assert set(codes(session)) == {finding.code for finding in done.remaining} | doubt
    return done


def test_a_lost_entry_stands_in_the_place_of_a_damaged_one(log_path: Path) -> None:
    """Its id and parent are those of the damaged line, and its checksum that of the line before it was damaged."""
    done = rejoined(log_path, as_file([*LINES[:2], damaged(LINES[2]), *LINES[3:]]))
    assert bodies(log_path.read_bytes()) == [
        HEADER.encode(),
        A.encode(),
        lost_line("b", "a", line_crc=body_crc(B)),
        C.encode(),
        D.encode(),
    ]
    assert [(finding.code, finding.line, finding.entry_id) for finding in done.removed] == [("bad_seal", 3, "b")]
    assert (done.rejoined, done.recovered, done.kept, done.leaf_uncertain) == (done.removed, (), 4, False)
    assert [(finding.code, finding.line, finding.entry_id) for finding in done.remaining] == [("lost_entry", 3, "b")]
    assert done.quarantine is not None
    assert [orjson.loads(line)["code"] for line in Path(done.quarantine).read_bytes().splitlines()] == ["bad_seal"]


def test_without_rejoin_its_child_is_an_orphan(log_path: Path) -> None:
    """The damaged line is only removed."""
    log_path.write_bytes(as_file([*LINES[:2], damaged(LINES[2]), *LINES[3:]]))
    done = repair(log_path, dry_run=False)
    assert ([finding.code for finding in done.remaining], done.rejoined) == (["orphan"], ())


def test_no_context_leads_through_a_lost_entry_unless_gaps_are_allowed(log_path: Path) -> None:
    """BrokenPath names it; the tree is whole, and the entry itself can be read."""
    rejoined(log_path, as_file([*LINES[:2], damaged(LINES[2]), *LINES[3:]]))
    at = len(LINES[0]) + len(LINES[1]) + 2
    with Session.open(log_path, mode="r") as session:
        for ask in (session.build_context, session.path, lambda: session.diff("a")):
            with pytest.raises(BrokenPath, match=r"'b', which is lost; put it back with extend\(\)") as caught:
                ask()
            assert (caught.value.missing, caught.value.offset) == ("b", at)
        context = session.build_context(allow_gaps=True)
        assert [message["content"] for message in context.messages] == ["a", "c", "d"]
        assert context.gaps == (Gap(at, "b"),)
        assert session.entry("b") == LostEntry(id="b", parent_id="a", line_crc=body_crc(B))
        assert (session.common_ancestor("d", "a"), [entry.id for entry in session.children("b")]) == ("a", ["c"])
        assert [entry.type for _, entry in session.records()] == ["message", "lost", "message", "message"]
        assert contents(session, leaf="a") == ["a"]
        assert [entry.id for entry in session.diff("c").b.entries] == ["d"]
        with pytest.raises(BrokenPath):
            session.fork(log_path.with_name("fork.jsonl"))


def test_every_gap_of_a_path_is_named(log_path: Path) -> None:
    """From the first to the last; an orphan above them, too."""
    log_path.write_bytes(
        log_of(
            node("o", "gone"),
            node("x", "o", "lost"),
            node("y", "x"),
            node("z", "y", "lost", line_crc="00000000"),
            node("e", "z"),
        )
    )
    with Session.open(log_path, mode="r") as session:
        assert [gap.missing for gap in session.build_context(allow_gaps=True).gaps] == ["gone", "x", "z"]
        with pytest.raises(BrokenPath, match="'z'"):
            session.build_context()


def test_a_lost_entry_whose_line_is_damaged_later_is_a_gap_without_a_name(log_path: Path) -> None:
    """The index knows its place, and the log no longer says its id."""
    log_path.write_bytes(log_of(A, stub := node("b", "a", "lost"), C))
    with Session.open(log_path, mode="r") as session:
        data = log_path.read_bytes()
        log_path.write_bytes(data.replace(stub.encode()[:-1], b"x" * (len(stub) - 1)))
        assert session.build_context(allow_gaps=True).gaps == (Gap(data.index(stub.encode()[:-1]), None),)
        with pytest.raises(BrokenPath):
            session.build_context()


def test_state_below_a_lost_entry_is_known_and_above_it_is_not(log_path: Path) -> None:
    """The lost entry may have been extension data, so nothing is not the answer."""
    log_path.write_bytes(
        log_of(
            node("s", None, "extension_data", ext_type="old", data=1),
            node("x", "s", "lost"),
            node("t", "x", "extension_data", ext_type="new", data=2),
        )
    )
    with Session.open(log_path, mode="r") as session:
        assert (session.state("new"), session.state("old", leaf="s")) == (2, 1)
        for ask in (lambda: session.state("old"), session.extension_data):
            with pytest.raises(BrokenPath):
                ask()


def test_verify_says_that_an_entry_is_lost(log_path: Path) -> None:
    """It is damage, and no reason for another repair."""
    log_path.write_bytes(log_of(A, node("b", "a", "lost"), C))
    report = verify(log_path)
    assert (report.damaged, [finding.code for finding in report.findings]) == (True, ["lost_entry"])
    assert not repair(log_path).needed
    with pytest.raises(CorruptLog):
        Session.open(log_path, mode="r", strict=True)


# --- what is certain ---


def test_a_branch_below_a_damaged_entry_stays_in_the_tree(log_path: Path) -> None:
    """A chain of damaged entries is rejoined link by link: a child may be damaged, too."""
    bad = [damaged(line) for line in LINES[2:4]]
    done = rejoined(log_path, as_file([*LINES[:2], *bad, LINES[4]]))
    assert [finding.entry_id for finding in done.rejoined] == ["b", "c"]
    with Session.open(log_path, mode="r") as session:
        assert session.common_ancestor("a", "d") == "a"


def test_a_lost_root_has_no_parent(log_path: Path) -> None:
    """Null is a parent that can be read."""
    done = rejoined(log_path, as_file([LINES[0], damaged(LINES[1]), *LINES[2:]]))
    assert bodies(log_path.read_bytes())[1] == lost_line("a", None, line_crc=body_crc(A))
    assert len(done.rejoined) == 1


def test_an_entry_without_children_is_removed(log_path: Path) -> None:
    """Nothing confirms its id."""
    done = rejoined(log_path, as_file([*LINES[:4], damaged(LINES[4])]))
    assert (done.rejoined, done.leaf_uncertain, done.kept) == ((), True, 3)


def test_a_wrong_id_is_not_believed(log_path: Path) -> None:
    """No entry names it as a parent: its children are orphans."""
    done = rejoined(log_path, as_file([*LINES[:2], LINES[2].replace(b'"id":"b"', b'"id":"z"'), *LINES[3:]]))
    assert (done.rejoined, [finding.code for finding in done.remaining]) == ((), ["orphan"])


def test_the_id_of_a_good_line_is_not_taken(log_path: Path) -> None:
    """A damaged copy of a good line is removed."""
    done = rejoined(log_path, as_file([*LINES, damaged(LINES[2])]))
    assert (done.rejoined, done.kept) == ((), 4)


def test_two_damaged_lines_with_one_id(log_path: Path) -> None:
    """The first one counts."""
    done = rejoined(log_path, as_file([*LINES[:2], damaged(LINES[2]), damaged(LINES[2]), *LINES[3:]]))
    assert ([finding.line for finding in done.rejoined], done.kept) == ([3], 4)


def test_an_unknown_parent_is_not_believed(log_path: Path) -> None:
    """The damaged line names a parent that the log does not have."""
    done = rejoined(log_path, as_file([*LINES[:2], LINES[2].replace(b'parent_id":"a"', b'parent_id":"q"'), *LINES[3:]]))
    assert done.rejoined == ()


def test_a_parent_below_is_not_believed(log_path: Path) -> None:
    """A parent is an entry further up."""
    done = rejoined(log_path, as_file([*LINES[:2], LINES[2].replace(b'parent_id":"a"', b'parent_id":"d"'), *LINES[3:]]))
    assert done.rejoined == ()


def test_a_parent_that_is_another_entry_is_not_believed(log_path: Path) -> None:
    """One character of the parent is wrong, and an entry has that id. The checksum of the line says so."""
    lines = sealed((HEADER, node("e1", None), node("e2", "e1"), node("e3", "e1"), node("e4", "e3")))
    lines[3] = lines[3].replace(b'parent_id":"e1"', b'parent_id":"e2"')
    assert rejoined(log_path, as_file(lines)).rejoined == ()


def test_a_parent_with_a_similar_id_is_believed_if_the_checksum_rules_it_out(log_path: Path) -> None:
    """Without a checksum, it is not."""
    lines = sealed((HEADER, node("e1", None), node("e2", "e1"), node("e3", "e1"), node("e4", "e3")))
    assert len(rejoined(log_path, as_file([*lines[:3], damaged(lines[3]), lines[4]])).rejoined) == 1
    for leftover in log_path.parent.glob("log.jsonl.*"):
        leftover.unlink()
    assert rejoined(log_path, as_file([*lines[:3], lines[3][:-60], lines[4]])).rejoined == ()


def test_a_line_in_another_order_is_read_as_json(log_path: Path) -> None:
    """Then its parent must be unlike every other id, because it is not known where the parent is on the line."""
    other = '{"type":"message","parent_id":"root-entry","id":"b","timestamp":null,"message":{"role":"user"}}'
    for root, expected in (("root-entry", 1), ("root-entri", 0)):
        lines = sealed((HEADER, node(root, None), node("root-entry", None), other, node("c", "b")))
        lines = lines if root != "root-entry" else [lines[0], *lines[2:]]
        done = rejoined(log_path, as_file([*lines[:-2], damaged(lines[-2]), lines[-1]]))
        assert len(done.rejoined) == expected
        for leftover in log_path.parent.glob("log.jsonl.*"):
            leftover.unlink()


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b'{"parent_id":"a","type":"message"}',
        b'{"type":"message","id":"-","parent_id":"a"}',
        b'{"type":"message","id":"b","parent_id":"/"}',
        b'{"id":"b","parent_id":"a/","type":"message"}',
        b'{"id":1,"parent_id":"a","type":"message"}',
        b"[]",
    ],
)
def test_a_line_without_a_valid_place_is_removed(line: bytes, log_path: Path) -> None:
    """Both ids must be ids."""
    assert rejoined(log_path, as_file([*LINES[:2], line, *LINES[3:]])).rejoined == ()


def test_a_line_that_lost_its_end_has_no_checksum(log_path: Path) -> None:
    """Its place is certain nevertheless. Nothing can prove that an entry is the one that stood there."""
    rejoined(log_path, as_file([*LINES[:2], LINES[2][:-20], *LINES[3:]]))
    assert bodies(log_path.read_bytes())[2] == lost_line("b", "a")
    with Session.open(log_path) as session, pytest.raises(IdConflict, match="'b' is lost"):
        session.extend([MessageEntry(id="b", parent_id="a", message=user("b"))])


def test_a_checksum_that_a_neighbour_contradicts_is_not_kept(log_path: Path) -> None:
    """Two lines became one: the seal at the end is that of the second."""
    glued = LINES[2][:-36] + LINES[3]
    rejoined(log_path, as_file([*LINES[:2], glued, node_after := seal_by_hand(node("e", "b"), 0), LINES[4]]))
    assert node_after
    assert bodies(log_path.read_bytes())[2] == lost_line("b", "a")


def test_a_log_without_checksums_is_rejoined_too(log_path: Path) -> None:
    """A line that was cut is not JSON any more, and its place can be read."""
    plain = HEADER.replace(',"seal":"crc32"', "")
    rejoined(log_path, as_file(text.encode() for text in (plain, A, B[:-20], C)))
    assert bodies(log_path.read_bytes())[1:] == [A.encode(), lost_line("b", "a"), C.encode()]


def test_a_label_and_the_leaf_may_name_a_lost_entry(log_path: Path) -> None:
    """Marks whose target is rejoined are kept."""
    marks = (mark("m1", "label", target_id="b", label="here"), mark("m2", "leaf", target_id="b"))
    lines = sealed((HEADER, A, B, C, *marks))
    lines[2] = damaged(lines[2])
    done = rejoined(log_path, as_file(lines))
    assert ([finding.code for finding in done.remaining], done.kept) == (["lost_entry"], 5)
    with Session.open(log_path, mode="r") as session:
        assert (session.labels, session.leaf_id) == ({"b": "here"}, "b")


def test_a_child_in_a_tail_without_a_newline_confirms_an_id(log_path: Path) -> None:
    """That line is completed first."""
    done = rejoined(log_path, as_file([*LINES[:3], damaged(LINES[3]), LINES[4]])[:-1])
    assert [finding.entry_id for finding in done.rejoined] == ["c"]


def test_a_child_that_cannot_be_read_confirms_nothing(log_path: Path) -> None:
    """Its line verifies, and is not what its type says."""
    lines = sealed((HEADER, A, B, node("c", "b", message=[])))
    assert rejoined_of(log_path, [*lines[:2], damaged(lines[2]), lines[3]]) == []


def rejoined_of(path: Path, lines: list[bytes]) -> list[str | None]:
    """The ids that a repair would rejoin."""
    path.write_bytes(as_file(lines))
    return [finding.entry_id for finding in repair(path, rejoin=True).rejoined]


# --- whole records ---


@pytest.mark.parametrize("at", range(1, 37))
def test_a_record_with_a_damaged_seal_is_kept(at: int, log_path: Path) -> None:
    """Whatever byte of the seal is another, the neighbours prove the record, be it an entry or a mark."""
    lines = sealed((HEADER, A, mark("m", "leaf", target_id="a"), B, C, D))
    for number in (2, 3):
        line = lines[number]
        bad = line[:-at] + bytes([line[-at] ^ 1]) + line[len(line) - at + 1 :]
        done = rejoined(log_path, as_file([*lines[:number], bad, *lines[number + 1 :]]))
        assert log_path.read_bytes() == as_file(lines)
        assert (done.rejoined, done.recovered, done.remaining) == ((), done.removed, ())
        for leftover in log_path.parent.glob("log.jsonl.*"):
            leftover.unlink()


@pytest.mark.parametrize("at", [1, 5, 20, 30])
def test_a_byte_of_a_seal_may_be_missing_or_added(at: int, log_path: Path) -> None:
    """The next line names the checksum of the whole line."""
    line = LINES[2]
    for bad in (line[:-at] + line[len(line) - at + 1 :], line[:-at] + b"x" + line[-at:]):
        rejoined(log_path, as_file([*LINES[:2], bad, *LINES[3:]]))
        assert log_path.read_bytes() == as_file(LINES)
        for leftover in log_path.parent.glob("log.jsonl.*"):
            leftover.unlink()


def test_a_header_with_a_damaged_seal_is_kept(log_path: Path) -> None:
    """The session keeps its id and its name."""
    bad = LINES[0][:-5] + b"x" + LINES[0][-4:]
    done = rejoined(log_path, as_file([bad, *LINES[1:]]))
    assert ([finding.code for finding in done.recovered], log_path.read_bytes()) == (["bad_header"], as_file(LINES))


def test_a_last_line_with_a_damaged_seal_is_kept(log_path: Path) -> None:
    """Its `prev` follows from the line before, and its `crc` proves the rest."""
    bad = LINES[4].replace(b'"prev":"', b'"prew":"')
    rejoined(log_path, as_file([*LINES[:4], bad]))
    assert log_path.read_bytes() == as_file(LINES)


def test_a_whole_line_that_is_no_record_is_removed(log_path: Path) -> None:
    """Its checksum proves that it was none before."""
    lines = sealed((HEADER, A, '{"id":"b","type":"?"}', C))
    bad = lines[2].replace(b'"prev":"', b'"prew":"')
    done = rejoined(log_path, as_file([*lines[:2], bad, lines[3]]))
    assert (done.recovered, done.rejoined) == ((), ())


# --- the true entry comes back ---


RESTORABLE: list[Entry] = [
    MessageEntry(message={"role": "user", "content": 'né\u2028\\ "1"', "n": [1.5, -0.0, 2**63, None, True]}),
    MessageEntry(
        message=user("x"), provider="p", model="m2", usage={"a": 1}, visible_to="user", pinned=True, extra={"z": [0]}
    ),
    ModelChangeEntry(provider="p", model="m3", settings={"effort": "low"}),
    ExtensionDataEntry(ext_type="todo", data={"b": 1, "a": 2}),
    CompactionEntry(summary="S", first_kept_entry_id=None, tokens_before=3),
    OpaqueEntry(unknown_type="tool.note", fields={"b": 1, "a": {}}, source_id="1"),
]


def broken(path: Path, entry: Entry) -> Entry:
    """Writes a log of four entries with a fork, loses the second, which is `entry`; returns that as it was."""
    with Session.open(path, name="N") as session:
        session.append(user("one"), provider="p", model="m1")
        second = session.append(entry)
        session.append(user("three"))
        session.append({"role": "assistant", "content": "four"}, model="m1", provider="p")
        session.append(user("four, too"), parent_id=second.id)
        session.label(second.id, "L")
    start = b'{"id":"%b"' % second.id.encode()
    lines = [
        line.replace(b'"timestamp":"2', b'"timestamp":"3') if line.startswith(start) else line
        for line in path.read_bytes().splitlines()
    ]
    path.write_bytes(as_file(lines))
    done = repair(path, rejoin=True, dry_run=False)
    assert [finding.entry_id for finding in done.rejoined] == [second.id]
    return second


@pytest.mark.parametrize("entry", RESTORABLE, ids=lambda entry: f"{entry.type}")
@pytest.mark.parametrize("indexed", [False, True])
def test_extend_takes_the_true_entry_back(
    entry: Entry, indexed: bool, log_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the session that wrote it, in one that was open, and after reopening, everything is as before the damage."""
    for name in ("_TAIL_ROWS", "_TAIL_BYTES", "_TAIL_PART") if indexed else ():
        monkeypatch.setattr(save_points, name, 0)
    original = broken(log_path, entry)
    damaged_log = Path(f"{log_path}.original").read_bytes()
    log_path.with_name("sound.jsonl").write_bytes(damaged_log.replace(b'"timestamp":"3', b'"timestamp":"2'))
    Session.open(log_path).close()
    assert log_path.with_name("log.jsonl.index").exists() is indexed
    with Session.open(log_path.with_name("sound.jsonl"), mode="r") as sound, Session.open(log_path) as other:
        with Session.open(log_path) as session:
            assert (session.extend([original]), session.extend([original])) == (1, 0)
            assert facts_of(session) == facts_of(sound)
            session.append(user("on"), parent_id=sound.leaf_id)
            session.branch(sound.leaf_id)
        other.refresh()
        with Session.open(log_path, mode="r") as again:
            assert [facts_of(each)[1:] for each in (other, again)] == [facts_of(again)[1:]] * 2
            assert again.build_context() == sound.build_context()
        done = repair(log_path, dry_run=False)
        assert (done.needed, done.restored, done.removed, done.remaining) == (True, 1, (), ())
        folded, whole = bodies(log_path.read_bytes()), bodies(log_path.with_name("sound.jsonl").read_bytes())
        assert folded[: len(whole)] == whole
        assert not repair(log_path).needed


def facts_of(session: Session) -> tuple[object, ...]:
    """What a reader sees of a session."""
    return (
        session.leaf_id,
        session.findings,
        session.labels,
        [session.build_context(leaf=entry.id) for entry in session.leaves()[:2]],
        [session.extension_data(leaf=entry.id) for entry in session.leaves()[:2]],
        [record.id for _, record in session.records()][:6],
        [entry.id for entry in session.path()][:2],
    )


def test_only_the_true_entry_comes_back(log_path: Path) -> None:
    """Other content, another parent or time, a mark and an append are refused, and nothing is written."""
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(B)), C))
    content = log_path.read_bytes()
    wrong = [
        MessageEntry(id="b", parent_id="a", message=user("other")),
        MessageEntry(id="b", parent_id="c", message=user("b")),
        MessageEntry(id="b", parent_id="a", message=user("b"), timestamp="2026-01-02T03:04:05.678901Z"),
        LabelMark(id="b", target_id="a", label="L"),
    ]
    with Session.open(log_path) as session:
        for record in wrong:
            with pytest.raises(IdConflict, match="'b' is lost: its line was damaged; extend"):
                session.extend([record])
        with pytest.raises(IdConflict, match="'b' is lost"):
            session.append(user("b"), id="b")
        right = MessageEntry(id="b", parent_id="a", message=user("b"))
        with pytest.raises(IdConflict, match="given twice"):
            session.extend([right, right])
        assert log_path.read_bytes() == content
        assert session.extend([right]) == 1
        assert contents(session) == ["a", "b", "c"]


def test_a_line_that_is_not_the_lost_entry_is_a_conflict(log_path: Path) -> None:
    """A log may hold it, written by others: it changes nothing, and a repair removes it."""
    stub = node("b", "a", "lost", line_crc=body_crc(B))
    other = node("b", "a", message=user("other"))
    log_path.write_bytes(log_of(A, stub, C, other))
    with Session.open(log_path, mode="r") as session:
        assert codes(session) == ["lost_entry", "id_conflict"]
    log_path.write_bytes(log_of(A, stub, C, stub))
    with Session.open(log_path, mode="r") as session:
        assert codes(session) == ["lost_entry", "duplicate"]
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=1), C, B))
    with Session.open(log_path, mode="r") as session:
        assert codes(session) == ["lost_entry", "id_conflict"]
    log_path.write_bytes(log_of(A, stub, C, B, B))
    with Session.open(log_path, mode="r") as session:
        assert (codes(session), contents(session, leaf="c")) == (["duplicate"], ["a", "b", "c"])
        assert session.leaf_id == "c"


def test_a_critical_entry_that_comes_back_forbids_writing(log_path: Path) -> None:
    """As it did before it was lost."""
    text = node("b", "a", "x.y", critical=True)
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(text)), C, text))
    with Session.open(log_path, mode="r") as session:
        assert codes(session) == ["critical_unknown"]


def test_verify_names_the_line_of_an_entry_that_came_back(log_path: Path) -> None:
    """Its content may be wrong there, as anywhere."""
    text = node("b", "a", message=[])
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(text)), node("c", "b", message=[1]), text))
    assert [(finding.code, finding.line) for finding in verify(log_path).findings] == [("bad_body", 4), ("bad_body", 5)]


def test_a_second_header_between_lost_and_true_entry_stays_in_its_place(log_path: Path) -> None:
    """The entry that came back goes to where it was."""
    stub = node("b", "a", "lost", line_crc=body_crc(B))
    second = HEADER.replace('"s1"', '"s2"')
    log_path.write_bytes(log_of(A, stub, second, C, B))
    done = repair(log_path, dry_run=False)
    assert ([finding.code for finding in done.remaining], done.restored) == (["second_header"], 1)
    assert bodies(log_path.read_bytes()) == [text.encode() for text in (HEADER, A, B, second, C)]


def test_a_follower_goes_on_after_an_entry_came_back(log_path: Path) -> None:
    """The entry has an old place, so it is not new; what comes after it is."""
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(B)), C))
    with Session.open(log_path) as session, Session.open(log_path) as other:
        news = session.follow(poll_s=0.01, timeout_s=0.2)
        other.extend([MessageEntry(id="b", parent_id="a", message=user("b"))])
        new = other.append(user("d"))
        assert next(news).id == new.id
        assert [entry.id for entry in session.refresh()] == [new.id]
        other.append(user("e"))
        assert len(session.refresh()) == 1


def test_redaction_keeps_lost_entries(log_path: Path) -> None:
    """They hold no text. One that came back is put in its place and redacted."""
    text = node("k", "c", message=user("sk-ant-" + "a" * 30))
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(B)), C, text))
    done = redact_log(log_path, in_place=True)
    assert done.lines == 1
    assert bodies(log_path.read_bytes())[2] == lost_line("b", "a", line_crc=body_crc(B))


# --- the arithmetic ---


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_crc_runs_backwards(before: bytes, data: bytes) -> None:
    """From the CRC of both, over the bytes behind, to the CRC of the bytes before."""
    assert lost.crc_before(data, crc32(before + data)) == crc32(before)


@given(st.binary(min_size=1, max_size=200), st.integers(0, 2**32 - 1))
def test_a_seal_says_the_crc_of_body_and_line(payload: bytes, prev: int) -> None:
    """Both follow from its two members, whatever the payload is."""
    line = codec.seal(payload, prev)
    crc = int(line[-10:-2], 16)
    assert lost.body_crc_from_seal(prev, crc) == lost.body_crc(payload) == crc32(payload + b"}")
    assert lost.line_crc_from_seal(crc) == crc32(line)


# --- nothing is guessed ---


@pytest.mark.no_cover
def test_no_single_damage_makes_a_wrong_place(log_path: Path) -> None:
    """Each bit flipped, each byte missing or doubled where a line names its place; the ids differ by little."""
    parents = {"e1": None, "e2": "e1", "e3": "e1", "e11": "e3", "e12": "e11", "e13": "e12", "e5": "e13"}
    lines = sealed((HEADER, *(node(id, parent_id) for id, parent_id in parents.items())))
    found = 0
    for number in (3, 5):
        line = lines[number]
        for at in (*range(34), *range(60, 100, 4)):
            before, byte, after = line[:at], line[at : at + 1], line[at + 1 :]
            bad = [before + bytes([byte[0] ^ 1 << bit]) + after for bit in range(8)]
            for each in (*bad, before + after, before + 2 * byte + after):
                if b"\n" in each:
                    continue
                log_path.write_bytes(as_file([*lines[:number], each, *lines[number + 1 :]]))
                log = JsonlLog(log_path, mode="r")
                for place in rejoin(Journal.open(log, use_snapshot=False).index, log):
                    entry = codec.decode(place.payload + b"}")
                    assert isinstance(entry, Entry)
                    assert parents[entry.id] == entry.parent_id
                    found += 1
                log.close()
    assert found > 100  # those with the damage behind the place


# --- the command line ---


def run(*arguments: object) -> Result:
    """Runs the command."""
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"}).invoke(app, [str(each) for each in arguments])


def test_the_command_rejoins(log_path: Path) -> None:
    """Without `--yes` it says what it would do."""
    lines = [*LINES[:2], damaged(LINES[2]), LINES[3].replace(b'"prev"', b'"prew"'), LINES[4]]
    log_path.write_bytes(as_file(lines))
    plan = run("repair", "--rejoin", log_path)
    assert plan.exit_code == 1
    assert "(4 records kept, 2 pieces removed, 1 rejoined, 1 recovered); add --yes" in plan.output
    assert "  to rejoin: error bad_seal: line 3" in plan.output
    assert "  to recover: error bad_seal: line 4" in plan.output
    assert "  remains: error lost_entry: line 3" in plan.output
    document = orjson.loads(run("repair", "--rejoin", "--yes", "--json", log_path).output)
    assert [each["entry_id"] for each in document["rejoined"]] == ["b"]
    assert [each["entry_id"] for each in document["recovered"]] == ["c"]
    assert document["restored"] == 0
    with Session.open(log_path) as session:
        session.extend([MessageEntry(id="b", parent_id="a", message=user("b"))])
    assert "(4 records kept, 0 pieces removed, 1 restored)" in run("repair", log_path).output
    assert run("repair", "--yes", log_path).exit_code == 0
    assert log_path.read_bytes() == as_file(LINES)


def test_the_command_repairs_several_logs(log_path: Path, tmp_path: Path) -> None:
    """A log that is missing stops no others. What remains is counted, and gives exit code 1."""
    for path in (log_path, tmp_path / "two"):
        path.write_bytes(as_file([*LINES[:2], damaged(LINES[2]), *LINES[3:]]))
    done = run("repair", "--rejoin", "--yes", log_path, tmp_path / "none", tmp_path / "two")
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert done.stdout.count("1 rejoined, 1 problem left); the damaged log: ") == 2
    assert run("repair", log_path, tmp_path / "two").exit_code == 1
    document = orjson.loads(run("repair", log_path, tmp_path / "two", tmp_path / "none", "--json").stdout)
    assert [each.get("needed") for each in document["repairs"]] == [False, False, None]


def test_inspect_shows_a_lost_entry(log_path: Path) -> None:
    """In the tree, with a finding; a path and a context through it are refused."""
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc="0a1b2c3d"), node("c", "b", "lost"), D))
    shown = run("inspect", log_path)
    assert "[1 message is missing here: line 3]" in shown.output
    assert "error lost_entry: line 3" in shown.output
    lines = run("inspect", "-v", log_path).output.splitlines()
    assert [line.split()[-1] for line in lines if "missing here" in line] == ["b", "c"]  # their ids
    full = run("inspect", "--full", log_path).output
    assert full[full.index("## Missing") :].splitlines()[:8] == [
        "## Missing",
        "│ no time, b, 114B",
        "│",
        "│ [1 message is missing here: line 3]",
        "│",
        "│ Its line was damaged. The entry can be put back from a copy of the log.",
        "│ checksum of its line: 0a1b2c3d",
        "│",
    ]
    assert "[1 message is missing here: line 4]" in full
    for option in ("--path", "--context"):
        refused = run("inspect", option, log_path)
        assert refused.exit_code == 5
        assert "'c', which is lost" in refused.output
    assert "◉ (leaf) a" in run("inspect", "--path", "--leaf", "a", log_path).output
    document = orjson.loads(run("inspect", "--full", "--json", log_path).output)
    assert document["entries"][1]["line_crc"] == "0a1b2c3d"


def test_exports_keep_the_place_of_a_lost_entry(log_path: Path) -> None:
    """If gaps are allowed, as an entry of a type that the other tool does not know; otherwise all are refused."""
    log_path.write_bytes(log_of(A, node("b", "a", "lost", line_crc="0a1b2c3d"), C))
    with Session.open(log_path, mode="r") as session:
        for form in ("pi", "kit"):
            rows = [orjson.loads(line) for line in export_lines(session, form, allow_gaps=True)]
            assert "convtree.lost" in [row.get("customType", row.get("ext_type")) for row in rows]
        assert b'"line_crc":"0a1b2c3d"' in b"".join(export_lines(session, "json", allow_gaps=True))
        for form in ("pi", "kit", "json", "markdown"):
            with pytest.raises(BrokenPath):
                list(export_lines(session, form))


# --- stores ---


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_the_true_entry_comes_back_in_a_store(kind: str, tmp_path: Path) -> None:
    """Lists and searches know it; it is counted once, and neither the leaf nor the last activity moves."""
    b = node("b", "a", message=user("banana"), timestamp=EARLIER)
    c = node("c", "b", timestamp="2026-01-02T03:04:05.000000Z")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "s1.jsonl").write_bytes(log_of(A, node("b", "a", "lost", line_crc=body_crc(b)), c))
    store = open_store(tmp_path / "folder")
    if kind == "sqlite":
        folder, store = store, open_store(f"sqlite:///{tmp_path}/store.db")
        assert [each.status for each in folder.copy_to(store)] == ["copied"]
    assert [(each.entries, each.messages) for each in store.list()] == [(3, 2)]
    with store.open("s1") as session:
        assert codes(session) == ["lost_entry"]
        true = MessageEntry(id="b", parent_id="a", message=user("banana"), timestamp=EARLIER)
        assert session.extend([MessageEntry(id="d", parent_id="c", message=user("d")), true]) == 2
        assert (contents(session), session.leaf_id) == (["a", "banana", "c", "d"], "d")
    with store.open("s1") as session:
        assert (contents(session), codes(session)) == (["a", "banana", "c", "d"], [])
    [info] = store.list()
    assert (info.entries, info.messages, info.leaf_id) == (4, 4, "d")
    assert info.last_activity == "2026-01-02T03:04:05.000Z"
    assert [(hit.entry_id, hit.on_path) for hit in store.search("banana")] == [("b", True)]
    store.close()


def test_a_child_of_an_entry_that_came_back_is_rejoined(log_path: Path) -> None:
    """The entry stands behind its child, but its place is above it."""
    lines = sealed([HEADER, node("a", None), node("b", "a"), node("c", "b")])
    log_path.write_bytes(as_file([lines[0], damaged(lines[1]), *lines[2:]]))
    repair(log_path, rejoin=True, dry_run=False)
    with Session.open(log_path) as session:
        session.extend([MessageEntry(id="a", message=user("a"))])
    data = log_path.read_bytes()
    at = data.index(b'"message"', data.index(b'{"id":"b"'))
    log_path.write_bytes(data[:at] + data[at:].replace(b"user", b"usex", 1))
    assert [finding.entry_id for finding in repair(log_path, rejoin=True, dry_run=False).rejoined] == ["b"]
    with Session.open(log_path, mode="r") as session:
        assert [record.id for _, record in session.records()] == ["a", "b", "c"]


def test_rejoining_in_a_group(log_path: Path) -> None:
    """A damaged line is a line of its group, also where the file is read in pieces."""
    texts = [node("b", "a"), node("c", "b", message=user("x" * 70_000)), node("d", "c")]
    lines = sealed([HEADER, node("a", None), mark("g", "group", count=3), *texts, node("e", "d")])
    lines[3] = damaged(lines[3])
    for end, expected in ((None, ["a", "b", "c", "d", "e"]), (-2, ["a"])):
        log_path.write_bytes(as_file(lines[:end]))
        done = repair(log_path, rejoin=True, dry_run=False)
        assert [finding.entry_id for finding in done.rejoined] == (["b"] if end is None else [])
        with Session.open(log_path, mode="r") as session:
            assert [record.id for _, record in session.records()] == expected


def test_a_restored_message_replaces_as_it_did(log_path: Path) -> None:
    """What it replaces is left out again; what is not above it has no effect."""
    for replaces, others, expected in (("a", [], ["b", "c"]), ("zz", [], ["a", "b", "c"]), ("a", ["c"], ["b", "d"])):
        true = node("b", "a", replaces=replaces)
        last = [node("c", "b"), *(node("d", "c", replaces=each) for each in others)]
        texts = [HEADER, node("a", None), node("b", "a", "lost", line_crc=body_crc(true)), *last, true]
        log_path.write_bytes(as_file(sealed(texts)))
        with Session.open(log_path, mode="r") as session:
            assert (codes(session), contents(session)) == ([], expected)


def test_checksums_and_marks_are_checked(log_path: Path) -> None:
    """A checksum is hexadecimal, and a visibility mark changes something."""
    with Session.open(log_path) as session:
        session.append(user("a"), id="a")
        with pytest.raises(InvalidMessage, match="8 lower-case hexadecimal digits"):
            session.extend([LostEntry(id="b", parent_id="a", line_crc="0123456X")])
        with pytest.raises(InvalidMessage, match="changes `visible_to`, `pinned` or both"):
            session.extend([VisibilityMark(id="m", target_id="a")])


def test_an_empty_line_beside_damage(tmp_path: Path) -> None:
    """It is passed over when the places of damaged entries are looked for."""
    path = tmp_path / "a.jsonl"
    with Session.open(path) as session:
        for name in "abc":
            session.append(user(name), id=name)
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"content":"b"', b'"content":"B"')
    path.write_bytes(b"\n".join([*lines[:2], b"", *lines[2:]]))
    assert repair(path, dry_run=False, rejoin=True).done
    with Session.open(path) as session:
        assert [entry.id for _, entry in session.records()] == ["a", "b", "c"]
