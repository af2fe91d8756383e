"""verify and repair: every kind of damage, and crashes in the middle of a repair."""

import base64
import errno
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers import HEADER, as_file, contents, facts, log_of, mark, node, sealed, user

from convtree import CorruptLog, LeafUncertain, NotALog, ReadOnlySession, Session, SessionLocked, SessionNotFound
from convtree._engine import codec
from convtree._logs import atomic_file, descriptors, file_lines, index_file, jsonl, lock, syncing
from convtree.repair import Repair, repair, verify

A, B, C = node("a", None), node("b", "a"), node("c", "b")
LINES = sealed((HEADER, A, B, C))
HEAD, LINE_A, LINE_B, LINE_C = LINES


def damaged(line: bytes) -> bytes:
    """The same line with one letter changed."""
    return line.replace(b"user", b"usex", 1)


def bodies(log: bytes) -> list[bytes]:
    """What stands in the lines of a log before their seals."""
    assert log.endswith(b"\n")
    assert all(codec.verify_seal(line) for line in log.splitlines())
    return [line[:-36] for line in log.splitlines()]


def files(path: Path) -> list[str]:
    """The names of what lies beside a log, and the log itself."""
    return sorted(each.name for each in path.parent.iterdir())


def fixed(path: Path, data: bytes) -> Repair:
    """Repairs a log; checks what holds for every repair."""
    path.write_bytes(data)
    said = repair(path)
    assert (path.read_bytes(), files(path)) == (data, [path.name])
    done = repair(path, dry_run=False)
    assert (done.needed, done.kept, done.removed, done.remaining) == (
        said.needed,
        said.kept,
        said.removed,
        said.remaining,
    )
    if not done.needed:
        assert (path.read_bytes(), files(path)) == (data, [path.name])
        return done
    assert done.original == f"{path}.original"
    assert Path(done.original).read_bytes() == data
    content, names = path.read_bytes(), files(path)
    assert not repair(path, dry_run=False).needed
    assert (path.read_bytes(), files(path)) == (content, names)
    with Session.open(path) as session:
        doubt = {"prev_mismatch"} if done.leaf_uncertain else set()
        assert {finding.code for finding in session.findings} <= {finding.code for finding in done.remaining} | doubt
        if done.leaf_uncertain:
            with pytest.raises(LeafUncertain):
                session.build_context()
    return done


# --- verify ---


def test_verify_counts_the_records_of_a_good_log(log_path: Path) -> None:
    """A good log has entries, marks, and no finding."""
    log_path.write_bytes(log_of(A, B, mark("m", "label", target_id="a", label="L")))
    seen: list[tuple[int, int]] = []
    report = verify(log_path, progress=lambda done, size: seen.append((done, size)))
    size = log_path.stat().st_size
    assert (report.entries, report.marks, report.findings, report.damaged) == (2, 1, (), False)
    assert (report.path, report.size_bytes, seen) == (
        str(log_path),
        size,
        [(size // 2, size), *seen[1:-1], (size, size)],
    )


def test_verify_decodes_every_record(log_path: Path) -> None:
    """A record with a valid checksum and a wrong type is found by verify, with its offset; opening does not find it."""
    bad = node("b", "a", message=[])
    lost = node("c", "b", "compaction", summary="s", first_kept_entry_id="nowhere")
    edits = [node("d", "c", replaces="a"), node("e", "a", replaces="d"), node("f", "a", replaces="m")]
    log_path.write_bytes(log_of(A, bad, lost, mark("m", "label", target_id="a", label=None), *edits))
    _, line_a, line_bad, line_lost, _, _, line_e, line_f = log_path.read_bytes().splitlines()
    with Session.open(log_path, mode="r") as session:
        assert session.findings == ()
    at = len(HEAD) + 1 + len(line_a) + 1
    report = verify(log_path)
    assert facts(report.findings) == [
        ("bad_body", 3, at, len(line_bad)),
        ("bad_kept", 4, at + len(line_bad) + 1, len(line_lost)),
        ("bad_replaces", 7, (start := log_path.stat().st_size - len(line_e) - len(line_f) - 2), len(line_e)),
        ("bad_replaces", 8, start + len(line_e) + 1, len(line_f)),
    ]
    assert report.damaged
    assert not repair(log_path).needed


def test_verify_sees_a_line_that_was_damaged_after_it_was_read(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checksum is checked again when the record is decoded."""
    log_path.write_bytes(log_of(A, B))
    read_at = jsonl.JsonlLog.read_at

    def rotten(self: Any, spans: Any) -> list[bytes]:
        return [damaged(line) for line in read_at(self, spans)]

    monkeypatch.setattr(jsonl.JsonlLog, "read_at", rotten)
    assert [finding.code for finding in verify(log_path).findings] == ["bad_body", "bad_body"]


def test_a_torn_tail_is_no_damage(log_path: Path) -> None:
    """The next writer repairs it: it is a finding, and the log is not damaged."""
    log_path.write_bytes(log_of(A) + b'{"id":')
    report = verify(log_path)
    assert (facts(report.findings), report.damaged) == ([("torn_tail", 3, len(log_of(A)), 6)], False)


@pytest.mark.parametrize("look", [verify, repair])
def test_other_files_are_refused(look: Callable[[Path], Any], tmp_path: Path) -> None:
    """A missing file and a file that is not a log have their errors."""
    with pytest.raises(SessionNotFound):
        look(tmp_path / "none.jsonl")
    for number, foreign in enumerate((b'{"a":1}\n', b"\x1f\x8b\x08", b"hello\nworld\n")):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(foreign)
        with pytest.raises(NotALog):
            look(path)
        with pytest.raises(NotALog):
            repair(path, dry_run=False)
        assert path.read_bytes() == foreign


# --- repair ---


def test_a_good_log_is_not_changed(log_path: Path) -> None:
    """Repair does nothing if nothing is wrong."""
    done = fixed(log_path, as_file(LINES))
    assert (done.needed, done.kept, done.removed, done.original, done.quarantine) == (False, 3, (), None, None)


def test_a_damaged_line_is_removed_and_saved(log_path: Path) -> None:
    """Its bytes and offset are in the quarantine, every other payload is kept, and its child is an orphan."""
    done = fixed(log_path, as_file([HEAD, LINE_A, damaged(LINE_B), LINE_C]))
    at = len(HEAD) + len(LINE_A) + 2
    assert facts(done.removed) == [("bad_seal", 3, at, len(LINE_B))]
    assert [finding.code for finding in done.remaining] == ["orphan"]
    assert bodies(log_path.read_bytes()) == [HEAD[:-36], LINE_A[:-36], LINE_C[:-36]]
    assert done.quarantine == f"{log_path}.quarantine"
    [piece] = [orjson.loads(line) for line in Path(done.quarantine).read_bytes().splitlines()]
    saved = base64.b64decode(piece.pop("base64"))
    assert piece == {"offset": at, "length": len(LINE_B), "code": "bad_seal"}
    assert saved == damaged(LINE_B)


def test_a_lost_line_leaves_an_orphan(log_path: Path) -> None:
    """Nothing is removed: the other lines are sealed again, and the orphan stays a finding."""
    done = fixed(log_path, as_file([HEAD, LINE_A, LINE_C]))
    assert (done.kept, done.removed, done.quarantine) == (2, (), None)
    assert [finding.code for finding in done.remaining] == ["orphan"]


def test_a_damaged_header_is_replaced(log_path: Path) -> None:
    """The session gets the name of its file as its id; all its records are there."""
    done = fixed(log_path, as_file([HEAD.replace(b"s1", b"s2"), LINE_A, LINE_B]))
    assert [finding.code for finding in done.removed] == ["bad_header"]
    assert bodies(log_path.read_bytes())[1:] == [LINE_A[:-36], LINE_B[:-36]]
    with Session.open(log_path) as session:
        assert (session.id, contents(session)) == ("log", ["a", "b"])
        session.append(user("and on"))


def test_a_missing_header_is_added(log_path: Path) -> None:
    """A good record in the first line is kept after the new header."""
    done = fixed(log_path, as_file([LINE_A, LINE_B]))
    assert (done.kept, done.removed) == (2, ())
    assert bodies(log_path.read_bytes())[1:] == [LINE_A[:-36], LINE_B[:-36]]


def test_zeros_are_removed(log_path: Path) -> None:
    """As a line of their own, and before a good line, which is kept."""
    log = as_file([HEAD, b"\0" * 40, LINE_A]) + b"\0" * 7 + as_file([LINE_B])
    done = fixed(log_path, log)
    assert [(finding.code, finding.length) for finding in done.removed] == [("nul_bytes", 40), ("nul_bytes", 7)]
    assert bodies(log_path.read_bytes()) == [HEAD[:-36], LINE_A[:-36], LINE_B[:-36]]


def test_lines_without_a_newline_between_are_removed(log_path: Path) -> None:
    """Two lines in one have no valid checksum."""
    done = fixed(log_path, as_file([HEAD, LINE_A, LINE_B[:30] + LINE_C]))
    assert facts(done.removed) == [("bad_seal", 3, len(HEAD) + len(LINE_A) + 2, 30 + len(LINE_C))]
    *kept, doubt = bodies(log_path.read_bytes())
    assert kept == [HEAD[:-36], LINE_A[:-36]]
    assert (done.leaf_uncertain, b'"type":"session_info"' in doubt) == (True, True)


def test_an_uncertain_leaf_stays_uncertain_until_branch(log_path: Path) -> None:
    """A removed line may have moved the leaf; `branch` sets it, and a later repair seals the rest."""
    log_path.write_bytes(as_file([*sealed((HEADER, A, B)), damaged(LINE_C)]))
    assert repair(log_path).leaf_uncertain
    fixed(log_path, log_path.read_bytes())
    with Session.open(log_path) as session:
        session.branch("a")
        assert [message["content"] for message in session.build_context().messages] == ["a"]
    done = repair(log_path, dry_run=False)
    assert (done.needed, done.leaf_uncertain, done.remaining) == (True, False, ())
    with Session.open(log_path) as session:
        assert (session.leaf_id, session.findings) == ("a", ())


def test_a_tail_that_lacks_a_newline_is_completed_and_a_torn_one_removed(log_path: Path) -> None:
    """A last line that lacks only its newline is a line."""
    done = fixed(log_path, as_file(LINES)[:-1])
    assert (done.kept, done.removed, log_path.read_bytes()) == (3, (), as_file(LINES))
    for leftover in log_path.parent.glob("log.jsonl.*"):
        leftover.unlink()
    done = fixed(log_path, as_file(LINES)[:-2])
    assert [finding.code for finding in done.removed] == ["torn_tail"]
    assert log_path.read_bytes() == as_file(LINES[:3])


def test_a_completed_tail_may_have_findings_of_its_own(log_path: Path) -> None:
    """One finding goes and another comes: there was something to repair."""
    done = fixed(log_path, log_of(A, node("c", "gone"))[:-1])
    assert (done.needed, [finding.code for finding in done.remaining]) == (True, ["orphan"])
    assert log_path.read_bytes() == log_of(A, node("c", "gone"))


def test_duplicates_and_id_conflicts_are_removed(log_path: Path) -> None:
    """The first line with an id stays."""
    other = node("a", None, message=user("another a"))
    done = fixed(log_path, log_of(A, A, other, B))
    assert [(finding.code, finding.line) for finding in done.removed] == [("duplicate", 3), ("id_conflict", 4)]
    assert log_path.read_bytes() == log_of(A, B)


def test_a_second_header_stays(log_path: Path) -> None:
    """The records of two logs in one file are not mixed: the header between them is kept, and stays a finding."""
    second = sealed((HEADER.replace("s1", "s2"), node("x", None)))
    done = fixed(log_path, as_file([HEAD, LINE_A, *second]))
    assert [finding.code for finding in done.remaining] == ["second_header"]
    assert bodies(log_path.read_bytes()) == [HEAD[:-36], LINE_A[:-36], second[0][:-36], second[1][:-36]]


def test_a_label_without_its_entry_is_removed(log_path: Path) -> None:
    """Its target is not in the log."""
    done = fixed(log_path, log_of(A, mark("m", "label", target_id="gone", label="L"), B))
    assert [finding.code for finding in done.removed] == ["bad_target"]
    assert log_path.read_bytes() == log_of(A, B)


def test_crlf_byte_order_mark_and_missing_checksums_are_repaired(log_path: Path) -> None:
    """Changes by other programs are undone, and a log without checksums gets them."""
    assert fixed(log_path, b"\xef\xbb\xbf" + as_file(LINES).replace(b"\n", b"\r\n")).removed == ()
    assert log_path.read_bytes() == as_file(LINES)
    for leftover in log_path.parent.glob("log.jsonl.*"):
        leftover.unlink()
    plain = '{"type":"session","format":"convtree","version":1,"id":"not an id"}'
    done = fixed(log_path, as_file([plain.encode(), A.encode(), B.encode()]))
    assert (done.kept, done.removed) == (2, ())
    assert bodies(log_path.read_bytes())[1:] == [LINE_A[:-36], LINE_B[:-36]]


def test_a_log_of_a_newer_version_is_not_repaired(log_path: Path) -> None:
    """Records that this version does not know may be right."""
    log = log_of(A, '{"id":"b","new":1}', header=HEADER.replace('"version":1', '"version":2'))
    log_path.write_bytes(log)
    for dry_run in (True, False):
        with pytest.raises(ReadOnlySession, match="version 2"):
            repair(log_path, dry_run=dry_run)
    assert log_path.read_bytes() == log


def test_repair_takes_the_lock_and_a_dry_run_does_not(log_path: Path) -> None:
    """With a writer at work, repair raises SessionLocked."""
    log_path.write_bytes(as_file([HEAD, damaged(LINE_A), LINE_B]))
    with Session.open(log_path, exclusive=True):
        assert repair(log_path).needed
        with pytest.raises(SessionLocked):
            repair(log_path, dry_run=False, lock_timeout_s=0.05)
    assert repair(log_path, dry_run=False).needed


def test_a_live_session_goes_on_in_the_repaired_log(log_path: Path) -> None:
    """It notices that its file was replaced; it writes nothing to the old one."""
    log_path.write_bytes(as_file([HEAD, LINE_A, damaged(LINE_B), LINE_A.replace(b'"a"', b'"z"', 1)]))
    with Session.open(log_path) as session:
        done = repair(log_path, dry_run=False)
        assert session.refresh()[0].id == "a"
        new = session.append(user("new"), parent_id="a")
        assert done.original is not None
        assert new.id.encode() not in Path(done.original).read_bytes()
        assert new.id.encode() in log_path.read_bytes()
        assert [finding.code for finding in session.findings] == ["prev_mismatch"]


def test_an_old_original_is_never_overwritten(log_path: Path) -> None:
    """A second repair gets new names for its original and quarantine."""
    names = []
    for _ in range(2):
        log_path.write_bytes(as_file([HEAD, damaged(LINE_A), LINE_B]))
        Path(f"{log_path}.quarantine").unlink(missing_ok=True)
        Path(f"{log_path}.quarantine").symlink_to(log_path)
        done = repair(log_path, dry_run=False)
        names.append((done.original, done.quarantine))
    assert names == [
        (f"{log_path}.original", f"{log_path}.quarantine-2"),
        (f"{log_path}.original-2", f"{log_path}.quarantine-2"),
    ]


# --- a crash in between ---


class Crash(BaseException):
    """The power, or the disk."""


CALLS = ("open", "write", "fdatasync", "fsync", "link", "rename", "unlink", "pread", "fstat")


class Failing:
    """Replaces `os` in the log, and fails every call from the k-th on."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise type(self.error)(*self.error.args)  # a new one: its traceback keeps the log alive
            return real(*args, **named)

        return call


def interruptions(data: bytes, path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Iterator[bytes]:
    """Repairs the log again and again, each time a call further, and yields what is left until a repair succeeds."""
    for after in range(1000):
        gc.collect()  # the finalisers of the last round are not to meet the failures of this one
        path.write_bytes(data)
        with suppress(type(error)), monkeypatch.context() as patch:
            failing = Failing(after, error)
            for module in (jsonl, atomic_file, descriptors, file_lines, index_file, lock, syncing):
                patch.setattr(module, "os", failing)
            repair(path, dry_run=False)
            return
        yield path.read_bytes()
        for name in files(path):
            path.with_name(name).unlink()


@pytest.mark.parametrize("error", [Crash(), OSError(errno.EIO, "EIO")])
def test_a_crash_leaves_the_old_log_or_the_new_one(
    log_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whatever call fails from then on, the log is the old one or the new one, and a second repair completes it."""
    data = as_file([HEAD, LINE_A, damaged(LINE_B), LINE_A.replace(b'"a"', b'"z"', 1), LINE_B])
    log_path.write_bytes(data)
    repair(log_path, dry_run=False)
    new = log_path.read_bytes()
    for name in files(log_path):
        log_path.with_name(name).unlink()
    seen = []
    for left in interruptions(data, log_path, monkeypatch, error):
        seen.append(left)
        assert left in (data, new)
        done = repair(log_path, dry_run=False)
        assert log_path.read_bytes() == new
        assert done.needed is (left == data)
        assert Path(f"{log_path}.original").read_bytes() == data
        assert not [name for name in files(log_path) if name.endswith("-2")]
    assert (seen[0], seen[-1], len(seen) > 15) == (data, new, True)


def test_a_compaction_may_keep_no_entry(log_path: Path) -> None:
    """It names no entry that could be missing."""
    log_path.write_bytes(log_of(A, node("k", "a", "compaction", summary="S", first_kept_entry_id=None)))
    report = verify(log_path)
    assert (report.entries, report.findings) == (2, ())


def test_findings_of_verify_end_with_too_many(log_path: Path) -> None:
    """After ten thousand, the last finding says that there are more, and where they start."""
    bad = [node(f"e{number}", None, message=[1]) for number in range(10_003)]
    log_path.write_bytes(log_of(*bad))
    found = verify(log_path).findings
    assert [finding.code for finding in found] == ["bad_body"] * 10_000 + ["too_many"]
    assert found[-1].line == 10_002
    assert found[-1].offset + found[-1].length == log_path.stat().st_size


def test_more_findings_than_the_limit_of_a_repair_are_refused(log_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CorruptLog; the log is not changed."""
    monkeypatch.setattr("convtree._session.repairing._REPAIR_LIMIT", 3)
    data = as_file([*LINES, *[b"x"] * 4])
    log_path.write_bytes(data)
    with pytest.raises(CorruptLog, match="more than 3 findings") as caught:
        repair(log_path, dry_run=False)
    assert len(caught.value.findings) == 4
    assert (log_path.read_bytes(), files(log_path)) == (data, [log_path.name])


def test_a_log_that_lacks_only_a_header_gets_one(log_path: Path) -> None:
    """A record in the first line is kept, and nothing else is changed."""
    done = fixed(log_path, as_file(sealed((A, B, C))))
    assert (done.needed, done.kept, done.removed) == (True, 3, ())
    with Session.open(log_path) as session:
        assert (session.id, contents(session), session.findings) == ("log", ["a", "b", "c"], ())


def test_a_line_that_is_too_long_is_counted(tmp_path: Path) -> None:
    """A check of the whole log goes on behind it."""
    path = tmp_path / "a.jsonl"
    with Session.open(path) as session:
        session.append(user("a"))
    with path.open("ab") as file:
        file.write(b"x" * (65 * 2**20) + b"\n")
    assert "line_too_long" in [finding.code for finding in verify(path).findings]
