"""The wild corpus: what conversation stores have met in public, one synthetic log per incident, and what becomes of it.

The numbers are those of the public issue trackers. The logs are in `wild/`, and told here line by line; what is
expected is written down by hand: every finding with its line, the leaf, and what the context says or why there is none.
"""

import stat
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import HEADER, as_file, assistant, contents, log_of, node, sealed, user

from convtree import BrokenPath, EntryNotFound, LeafUncertain, NotALog, Session, StaleLeaf
from convtree.repair import repair, verify

PLAIN = '{"type":"session","format":"convtree","version":1,"id":"s1","timestamp":null}'
A, B, C, D = node("a", None), node("b", "a"), node("c", "b"), node("d", "c")
HEAD, LINE_A, LINE_B, LINE_C, LINE_D = sealed((HEADER, A, B, C, D))


class Wild(NamedTuple):
    """An incident: where it was reported, the log it leaves, and what convtree makes of it."""

    issue: str
    log: bytes
    findings: list[tuple[str, int]]
    leaf: str | None
    context: list[str] | type[Exception]
    at_leaf: dict[str, list[str] | type[Exception]] = {}  # noqa: RUF012  # never changed


def unsealed(*lines: str) -> bytes:
    """A log as other programs would write it: without seals."""
    return as_file(line.encode() for line in (PLAIN, *lines))


def text(id: str, parent_id: str | None, message: Any) -> str:
    """An entry with a message of its own."""
    return node(id, parent_id, message=message)


CORPUS = [
    Wild(  # killed in the middle of a write; the next record was glued to the stub
        "claude-code-52387-glued",
        as_file([HEAD, LINE_A, LINE_B, LINE_C[:40] + LINE_D]),
        [("bad_seal", 4)],
        "b",
        LeafUncertain,
        {"b": ["a", "b"], "d": EntryNotFound},
    ),
    Wild(
        "copilot-cli-4098-torn",
        as_file([HEAD, LINE_A, LINE_B]) + LINE_C[:40],
        [("torn_tail", 4)],
        "b",
        ["a", "b"],
    ),
    Wild(
        "qwen-code-3606-glued-then-used",
        as_file([HEAD, LINE_A, LINE_B[:30] + LINE_C, *sealed((node("e", "a"), node("f", "e")))]),
        [("bad_seal", 3)],
        "f",
        ["a", "e", "f"],
    ),
    Wild(
        "ms-agent-1000-glued-without-seals",
        unsealed(A, B[:20] + C, node("e", "a")),
        [("unsealed", 1), ("bad_line", 3)],
        "e",
        ["a", "e"],
    ),
    Wild(
        "prime-agent-928-no-final-newline",
        as_file([HEAD, LINE_A]) + LINE_B,
        [("torn_tail", 3)],
        "a",
        ["a"],
    ),
    Wild(  # zeros after a power cut
        "claude-code-49876-zeros-in-the-middle",
        as_file([HEAD, LINE_A, b"\0" * 657, *sealed((node("e", "a"),))]),
        [("nul_bytes", 3)],
        "e",
        ["a", "e"],
    ),
    Wild(
        "claude-code-49876-zeros-before-a-line",
        as_file([HEAD, LINE_A, b"\0" * 200 + LINE_B]),
        [("nul_bytes", 3)],
        "b",
        ["a", "b"],
    ),
    Wild(
        "claude-code-76059-zeros-at-the-end",
        as_file([HEAD, LINE_A, LINE_B]) + b"\0" * 512,
        [("torn_tail", 4)],
        "b",
        ["a", "b"],
    ),
    Wild(
        "claude-code-76059-nothing-but-zeros",
        b"\0" * 4096,
        [("torn_tail", 1)],
        None,
        [],
    ),
    Wild(  # a reader that stopped at the first bad line without a word
        "claude-code-50347-bad-line-in-the-middle",
        unsealed(A, B, "<<<<<<< HEAD", C, "[]", "42", D),
        [("unsealed", 1), ("bad_line", 4), ("bad_line", 6), ("bad_line", 7)],
        "d",
        ["a", "b", "c", "d"],
    ),
    Wild(
        "claude-code-53821-first-entry-bad",
        as_file([HEAD, LINE_A.replace(b"user", b"usex"), LINE_B, LINE_C]),
        [("bad_seal", 2), ("orphan", 3)],
        "c",
        BrokenPath,
        {"b": BrokenPath},
    ),
    Wild(  # a newline inside a JSON string, as it was, and one event over three lines
        "copilot-cli-2649-literal-newlines",
        unsealed(A, text("b", "a", user("one two three")).replace("one two three", "one\ntwo\nthree"), node("c", "a")),
        [("unsealed", 1), ("bad_line", 3), ("bad_line", 4), ("bad_line", 5)],
        "c",
        ["a", "c"],
    ),
    Wild(  # parents that were never written
        "claude-code-58554-dangling-parent",
        unsealed(A, B, node("d", "never-written"), node("e", "d")),
        [("unsealed", 1), ("orphan", 4)],
        "e",
        BrokenPath,
        {"b": ["a", "b"], "d": BrokenPath},
    ),
    Wild(
        "claude-code-61188-dangling-parent-sealed",
        log_of(A, B, node("d", "never-written"), node("e", "b")),
        [("orphan", 4)],
        "e",
        ["a", "b", "e"],
        {"d": BrokenPath},
    ),
    Wild(
        "claude-agent-sdk-typescript-287-child-before-parent",
        unsealed(B, A, C),
        [("unsealed", 1), ("orphan", 2)],
        "c",
        BrokenPath,
        {"a": ["a"]},
    ),
    Wild(  # a short id taken twice closes a cycle: 100 % CPU
        "gajae-code-1193-twice-the-id-closes-a-cycle",
        unsealed(node("1a2b3c4d", "5e6f7a8b"), node("5e6f7a8b", "1a2b3c4d"), node("1a2b3c4d", "5e6f7a8b", pinned=True)),
        [("unsealed", 1), ("orphan", 2), ("id_conflict", 4)],
        "5e6f7a8b",
        LeafUncertain,
        {"5e6f7a8b": BrokenPath, "1a2b3c4d": BrokenPath},
    ),
    Wild(
        "gajae-code-1194-its-own-parent",
        unsealed(A, node("b", "b"), node("c", "b")),
        [("unsealed", 1), ("orphan", 3)],
        "c",
        BrokenPath,
        {"b": BrokenPath, "a": ["a"]},
    ),
    Wild(  # two terminals: not a byte is damaged, and both branches are there
        "aelix-ai-137-two-branches",
        log_of(A, B, node("left", "b"), node("right", "b")),
        [],
        "right",
        ["a", "b", "right"],
        {"left": ["a", "b", "left"]},
    ),
    Wild(  # a lone surrogate: every later request fails
        "claude-code-69927-lone-surrogate",
        unsealed(A, text("b", "a", user("x")).replace('"x"', '"\\ud83d"'), node("c", "a")),
        [("unsealed", 1), ("bad_line", 3)],
        "c",
        ["a", "c"],
    ),
    Wild(  # one line of 16 MB
        "cline-14196-a-line-of-16-megabytes",
        unsealed(A, text("b", "a", user("x" * 2**24)), node("c", "b")),
        [("unsealed", 1)],
        "c",
        ["a", "x" * 2**24, "c"],
    ),
    Wild(  # an id that is a path
        "gorilla-sessions-275-id-is-a-path",
        unsealed(A).replace(b'"s1"', b'"../../etc/passwd"') + as_file([node("../x", "a").encode(), B.encode()]),
        [("unsealed", 1), ("bad_line", 3)],
        "b",
        ["a", "b"],
    ),
    Wild(  # a script in an id, and one in a message, which is the message's own business
        "hermes-agent-61343-markup",
        unsealed(A, node("<script>", "a"), text("c", "a", user("<script>alert(1)</script>"))),
        [("unsealed", 1), ("bad_line", 3)],
        "c",
        ["a", "<script>alert(1)</script>"],
    ),
    Wild(  # two copies of one file, one after the other
        "two-files-concatenated",
        log_of(A, B) + log_of(A, B, C),
        [("second_header", 4), ("prev_mismatch", 4), ("duplicate", 5), ("duplicate", 6)],
        "c",
        ["a", "b", "c"],
    ),
    Wild(  # saved by an editor of another system
        "saved-as-windows-text",
        b"\xef\xbb\xbf" + log_of(A, B).replace(b"\n", b"\r\n"),
        [("carriage_return", 1), ("byte_order_mark", 1)],
        "b",
        ["a", "b"],
    ),
]


def say(session: Session, **arguments: Any) -> list[str] | type[Exception]:
    """What a context says, or the class of the error that says why there is none."""
    try:
        return contents(session, **arguments)
    except (BrokenPath, LeafUncertain, EntryNotFound) as error:
        return type(error)


def test_the_corpus_is_what_these_builders_make() -> None:
    """The corpus is for ever: what was kept once reads the same in every later version. One log is too big to keep."""
    files = {file.stem: file.read_bytes() for file in (Path(__file__).parent / "wild").glob("*.jsonl")}
    assert files == {wild.issue: wild.log for wild in CORPUS if len(wild.log) < 2**20}


@pytest.mark.parametrize("wild", CORPUS, ids=lambda wild: wild.issue)
def test_findings_leaf_and_contexts_are_as_stated(wild: Wild, log_path: Path) -> None:
    """Reading and verifying change nothing."""
    log_path.write_bytes(wild.log)
    with Session.open(log_path, mode="r") as session:
        found = [(finding.code, finding.line) for finding in session.findings]
        assert sorted(found) == sorted(wild.findings)
        assert (session.leaf_id, say(session)) == (wild.leaf, wild.context)
        for leaf, expected in wild.at_leaf.items():
            assert (leaf, say(session, leaf=leaf)) == (leaf, expected)
    if wild.leaf is not None:
        assert sorted((f.code, f.line) for f in verify(log_path).findings) == sorted(wild.findings)
    assert log_path.read_bytes() == wild.log
    assert list(log_path.parent.iterdir()) == [log_path]


@pytest.mark.parametrize("wild", CORPUS, ids=lambda wild: wild.issue)
def test_a_turn_can_be_appended(wild: Wild, log_path: Path) -> None:
    """It is stored and found; an uncertain leaf is set first, and nothing is lost."""
    log_path.write_bytes(wild.log)
    whole = wild.log[: wild.log.rfind(b"\n") + 1]
    with Session.open(log_path) as session:
        try:
            entry = session.append(user("and on"))
        except LeafUncertain:
            session.branch(session.leaf_id)
            entry = session.append(user("and on"))
        except StaleLeaf:  # a whole last line without its newline was completed, and is the leaf now
            session.refresh()
            entry = session.append(user("and on"))
    assert log_path.read_bytes().startswith(whole)
    with Session.open(log_path, mode="r") as session:
        assert session.leaf_id == entry.id
        assert "torn_tail" not in [finding.code for finding in session.findings]


@pytest.mark.parametrize("wild", CORPUS, ids=lambda wild: wild.issue)
def test_it_can_be_repaired(wild: Wild, log_path: Path) -> None:
    """After one or two repairs, only missing records are missing; no context that could be built has changed."""
    log_path.write_bytes(wild.log)
    try:
        done = repair(log_path, dry_run=False)
    except NotALog:
        assert wild.leaf is None
        return
    with Session.open(log_path, mode="r") as session:
        codes = [finding.code for finding in session.findings if finding.code != "prev_mismatch"]
        assert codes == [finding.code for finding in done.remaining]
        assert set(codes) <= {"orphan", "second_header"}
        assert len(session.findings) == len(codes) + done.leaf_uncertain
        for leaf, expected in wild.at_leaf.items():
            assert say(session, leaf=leaf) == expected
        if isinstance(wild.context, list) and wild.issue != "prime-agent-928-no-final-newline":
            assert say(session) == wild.context
    assert not repair(log_path, dry_run=False).needed


# --- incidents that take more than a file ---


def test_w7_the_second_terminal_gets_an_error(log_path: Path) -> None:
    """fastagent 554: of two sessions that continue one leaf, the second is told before anything is written."""
    log_path.write_bytes(log_of(A, B))
    with Session.open(log_path) as one, Session.open(log_path) as two:
        mine = one.append(user("one"))
        with pytest.raises(StaleLeaf) as stale:
            two.append(user("two"))
        assert (stale.value.expected, stale.value.actual) == ("b", mine.id)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_w8_a_lone_surrogate_is_never_stored(durability: Any, log_path: Path) -> None:
    """opencode 17758: what every later request would fail on is refused with its place."""
    with Session.open(log_path, durability=durability) as session:
        with pytest.raises(ValueError, match=r"message\.content"):
            session.append(user("\ud83d"))
        assert not log_path.exists()


def test_w10_a_call_without_its_result_is_named(log_path: Path) -> None:
    """claude-code 45286: a crash between a tool call and its result leaves an open call, which the context names."""
    call = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asking = text("b", "a", {"role": "assistant", "content": None, "tool_calls": [call]})
    log_path.write_bytes(log_of(A, asking) + b'{"id":"c","parent_id":"b","type":"mess')
    with Session.open(log_path, mode="r") as session:
        [call_left] = session.build_context().open_calls
        assert (call_left.entry_id, call_left.id) == ("b", "call-1")


def test_w12_files_are_private(log_path: Path) -> None:
    """openclaw 7862: every file that is made, by whatever way, is for its owner only."""
    with Session.open(log_path) as session:
        session.append(user("key"))
        session.fork(log_path.with_name("fork.jsonl")).close()
    log_path.write_bytes(log_path.read_bytes() + b"{torn")
    with Session.open(log_path) as session:
        session.append(assistant("more"))
    log_path.write_bytes(log_path.read_bytes().replace(b"key", b"kex"))
    repair(log_path, dry_run=False)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in log_path.parent.iterdir()}
    assert modes == dict.fromkeys(
        ["fork.jsonl", "log.jsonl", "log.jsonl.original", "log.jsonl.quarantine", "log.jsonl.torn"], 0o600
    )


def test_w15_a_replaced_file_gets_the_next_line(log_path: Path) -> None:
    """copilot-cli 4325: when the file is replaced under a live session, nothing is written to the orphaned one."""
    log_path.write_bytes(log_of(A, B))
    with Session.open(log_path) as session:
        old = log_path.with_name("old")
        old.hardlink_to(log_path)
        copy = log_path.with_name("copy")
        copy.write_bytes(log_of(A, B))
        copy.rename(log_path)
        new = session.append(user("new"))
        assert old.read_bytes() == log_of(A, B)
        assert new.id.encode() in log_path.read_bytes()


def test_w16_no_file_is_shared_by_its_name(log_path: Path) -> None:
    """agentistics 396: what is being written has a name of its own; somebody's `.tmp` is not touched."""
    log_path.write_bytes(as_file([HEAD, LINE_A.replace(b"user", b"usex"), LINE_B]))
    others = [log_path.with_name(name) for name in ("log.jsonl.tmp", ".log.jsonl.tmp", "fork.jsonl.tmp")]
    for other in others:
        other.write_bytes(b"somebody's")
    repair(log_path, dry_run=False)
    with Session.open(log_path) as session:
        session.fork(log_path.with_name("fork.jsonl"), None).close()
    assert [other.read_bytes() for other in others] == [b"somebody's"] * 3
