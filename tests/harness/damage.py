"""Damages a log in every way, and checks that each damage is reported or has no effect.

In a large log, every bit of every line is flipped and given to the function that checks checksums. In a small log,
every bit, byte, sector and line is damaged, and the whole engine reads the result. Some of those logs are then written
to, repaired, and repaired with `rejoin`.

With `--indexed`, the index of the undamaged log is next to each damaged one. Then damaged records are found when they
are read, missing lines at the end are reported, and everything else is as without an index.
"""

from __future__ import annotations

import random
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast
from unittest.mock import patch

import orjson
from msgspec import structs

from convtree import (
    BrokenPath,
    ConvtreeError,
    Entry,
    IdConflict,
    LeafUncertain,
    LostEntry,
    NotALog,
    ReadOnlySession,
    Session,
)
from convtree._engine import codec, save_points
from convtree._model.findings import LOST
from convtree.repair import repair

from . import sabotage
from .common import arguments, finish, keep
from .samples import View, folder, verifies, view, write, wrong_contexts

_APPEND_EVERY, _REPAIR_EVERY, _REJOIN_EVERY = 7, 13, 5  # of the damaged logs, how many are written to and repaired
_ENGINE_FLIPS = 1000  # lines of the big log that are damaged in the file, one bit each
_MESSAGE = {"role": "user", "content": "after the damage"}


class Case(NamedTuple):
    """A damaged log. `shorter`: it only lost whole lines at its end, which the log alone does not show."""

    kind: str
    place: int
    data: bytes
    shorter: bool = False
    beside: bytes | None = None  # the index of the undamaged log


# --- the damage ---------------------------------------------------------------------------------------------------


def cases(log: bytes) -> Iterator[Case]:
    """Yields every damaged version of a log."""
    for at in range(len(log)):
        before, byte, after = log[:at], log[at], log[at + 1 :]
        for bit in range(8):
            yield Case("flip", 8 * at + bit, b"%b%c%b" % (before, byte ^ 1 << bit, after))
        yield Case("truncate", at, before, at == 0 or before.endswith(b"\n"))
        yield Case("delete", at, before + after)
        for inserted in (0, byte, 0x0A, 0x0D, 0x41):
            yield Case("insert", at, b"%b%c%b" % (before, inserted, log[at:]))
        yield Case("nul", at, before + b"\0" + after)
        yield Case("zero tail", at, before + b"\0" * (len(log) - at))
    for at in range(0, len(log), 512):
        yield Case("zero sector", at, log[:at] + b"\0" * len(log[at : at + 512]) + log[at + 512 :])
    yield Case("doubled log", 0, log + log)
    yield from _line_cases(log.splitlines(keepends=True))


def _line_cases(lines: list[bytes]) -> Iterator[Case]:
    for n, line in enumerate(lines):
        rest = lines[:n] + lines[n + 1 :]
        yield Case("drop line", n, b"".join(rest), n == len(rest))
        yield Case("double line", n, b"".join([*lines[: n + 1], line, *lines[n + 1 :]]))
        yield Case("repeat line at the end", n, b"".join([*lines, line]))
        yield Case("empty line", n, b"".join([*lines[:n], b"\n", *lines[n:]]))
        for m in range(n):
            swapped = lines.copy()
            swapped[n], swapped[m] = swapped[m], swapped[n]
            yield Case("swap lines", n * len(lines) + m, b"".join(swapped))


def line_flips(line: bytes) -> Iterator[str]:
    """Flips every bit of a line; yields a text for each that was not noticed."""
    data = bytearray(line)
    verify_seal = cast(Callable[[bytearray], object], codec.verify_seal)  # no copies: this is called millions of times
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            pieces = data.split(b"\n") if data[at] == 0x0A else (data,)
            for piece in pieces:
                if verify_seal(piece) is not None:
                    yield f"a line is accepted with bit {bit} of its byte {at} flipped"
            data[at] ^= 1 << bit


# --- the judges ---------------------------------------------------------------------------------------------------


def _put(path: Path, case: Case) -> None:
    path.write_bytes(case.data)
    _index(path).unlink(missing_ok=True)
    if case.beside is not None:
        _index(path).write_bytes(case.beside)


def _index(path: Path) -> Path:
    return path.with_name(path.name + ".index")


def judge(path: Path, case: Case, sound: View) -> str:
    """Reads a damaged log; returns how it was detected or "harmless", raises AssertionError for a broken promise."""
    _put(path, case)
    try:
        session = Session.open(path, mode="r")
    except ConvtreeError:
        return "detected"
    with session:
        for wrong in wrong_contexts(session, sound):
            raise AssertionError(wrong)
        index = session._index
        try:
            entries = index.entries([row for row in range(len(index.tree)) if index.tree.is_node(row)])
        except BrokenPath:
            assert index.tree.ids.hashes.persisted, "a record that was indexed cannot be read"
            return "detected when read"
        if case.beside is not None:
            _check_findings(path, case, session)
        known = {entry.id: entry for entry in sound.entries}
        assert all(known.get(entry.id) == entry for entry in entries), "an entry has changed"
        if any(finding.severity != "info" for finding in session.findings):
            return "detected"
        if case.shorter:
            assert entries == sound.entries[: len(entries)], "entries are missing in the middle"
        else:
            assert view(session, list(sound.contexts)) == sound, "something changed without a finding"
        return "harmless"


def _check_findings(path: Path, case: Case, session: Session) -> None:
    """Checks that missing lines are reported, and that a rejected index hides no finding."""
    found = list(session.findings)
    assert LOST in {finding.code for finding in found} or not case.shorter, "lines are missing without a finding"
    if session._index.tree.ids.hashes.persisted == 0:
        _index(path).unlink()
        with Session.open(path, mode="r") as without:
            scanned = list(without.findings)
        assert [finding for finding in found if finding.code != LOST] == scanned, "other findings than without an index"


def judge_appending(path: Path, case: Case, sound: View) -> str:
    """Appends to a damaged log: no whole line is changed, and the new entry is stored and readable, or refused."""
    torn_file = path.with_name(path.name + ".torn")
    torn_file.unlink(missing_ok=True)
    _put(path, case)
    new = None
    verdict = "appended"
    try:
        with Session.open(path, durability="process") as session:
            try:
                new = session.append(_MESSAGE)
            except LeafUncertain:
                verdict = "settled and appended"
                session.branch(session.leaf_id)
                new = session.append(_MESSAGE)
    except (NotALog, ReadOnlySession) as error:
        verdict = type(error).__name__
    after = path.read_bytes()
    committed = _end_of_whole_writes(case.data)
    tail = case.data[committed:]
    assert after.startswith(case.data[:committed]), "a whole line was changed"
    if tail and not after.startswith(case.data):
        assert tail in torn_file.read_bytes(), "a torn tail was cut and not saved"
    if verdict == "NotALog":
        assert after == case.data, "a file that is not a log was changed"
    if new is not None:
        last = after[:-1].rpartition(b"\n")[2]
        kept = verifies(last) and new.id.encode() in last
        assert kept, "an acknowledged entry is not in the file"
        _check_new(path, new.id, new.parent_id, sound)
        _index(path).unlink(missing_ok=True)
        _check_new(path, new.id, new.parent_id, sound)
    return verdict


def _end_of_whole_writes(data: bytes) -> int:
    """Returns where the last write ends that is there as a whole: behind a line, or before the mark of a torn group."""
    lines = data.split(b"\n")
    if not verifies(lines[-1].removesuffix(b"\r")):
        lines.pop()  # or only its newline is missing
    number = offset = 0
    while number < len(lines):
        count = _group_count(lines[number])
        group = lines[number : number + count + 1]
        is_last = number + count + 1 == len(lines) and not data.rpartition(b"\n")[2]
        if len(group) <= count or (is_last and any(b"\0" in line for line in group[1:])):
            return offset
        offset += sum(map(len, group)) + len(group)
        number += count + 1
    return data.rfind(b"\n") + 1


def _group_count(line: bytes) -> int:
    """Returns how many lines belong to a group mark; 0 for any other line."""
    stripped = line.lstrip(b"\0").removesuffix(b"\r")
    if not verifies(stripped) or b'"type":"group"' not in stripped:
        return 0
    count: int = orjson.loads(stripped)["count"]
    return count


def _check_new(path: Path, new: str, parent: str | None, sound: View) -> None:
    with Session.open(path, mode="r") as session:
        assert session.leaf_id == new, "an acknowledged entry is not the leaf"
        try:
            above = session.build_context(leaf=parent).messages
            messages = session.build_context().messages
        except ConvtreeError:
            return  # the damage is above
        assert messages == [*above, _MESSAGE], "an acknowledged entry is not in the context"
        if parent in sound.contexts:
            assert above == sound.contexts[parent].messages, "the context above has changed"


def judge_repairing(path: Path, case: Case, _sound: View) -> str:
    """Repairs a damaged log: good records and the original are kept, a second repair changes nothing."""
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    _put(path, case)
    try:
        before = sorted(path.parent.glob(path.name + "*"))
        plan = repair(path)
        after = sorted(path.parent.glob(path.name + "*"))
        assert (path.read_bytes(), after) == (case.data, before), "a dry run wrote"
        done = repair(path, dry_run=False)
    except NotALog:
        assert path.read_bytes() == case.data, "a file that is not a log was changed"
        return "NotALog"
    assert (plan.needed, plan.kept, plan.removed, plan.remaining) == (
        done.needed,
        done.kept,
        done.removed,
        done.remaining,
    ), "the repair differs from its dry run"
    if not done.needed:
        assert path.read_bytes() == case.data, "an intact log was changed"
        return "nothing to repair"
    assert done.original, "the repair does not name the original"
    assert Path(done.original).read_bytes() == case.data, "the original was not kept"
    pieces = {finding.offset: case.data[finding.offset :][: finding.length] for finding in done.removed}
    if pieces:
        assert done.quarantine, "there is no quarantine"
        records = [orjson.loads(line) for line in Path(done.quarantine).read_bytes().splitlines()]
        saved = {record["offset"]: b64decode(record["base64"]) for record in records}
        assert saved == pieces, "a removed line is not in the quarantine"
    _check_bodies(case.data, path.read_bytes(), pieces, done.leaf_uncertain)
    doubt = {"prev_mismatch"} if done.leaf_uncertain else set()
    _check_repaired(path, {finding.code for finding in done.remaining} | doubt)
    return "repaired"


def judge_rejoining(path: Path, case: Case, sound: View) -> str:
    """Repairs a damaged log with `rejoin`: the tree is part of the sound one, and the true entries come back.

    Every entry is one of the sound log, as it was there or as a lost one: its id and its parent are the same. The new
    log has no finding that the repair does not name, and a second repair changes nothing.
    """
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    _put(path, case)
    try:
        done = repair(path, rejoin=True, dry_run=False)
    except NotALog:
        return "NotALog"
    if not done.needed:
        return "nothing to repair"
    doubt = {"prev_mismatch"} if done.leaf_uncertain else set()
    _check_rejoined(path, sound, {finding.code for finding in done.remaining} | doubt)
    lost_ids = [finding.entry_id for finding in done.rejoined]
    if not lost_ids:
        return "recovered" if done.recovered else "repaired"
    _check_restoring(path, sound, lost_ids)
    return "rejoined"


def _check_rejoined(path: Path, sound: View, remaining: set[str]) -> None:
    known = {entry.id: entry for entry in sound.entries}
    with Session.open(path, mode="r") as session:
        codes = {finding.code for finding in session.findings}
        assert codes <= remaining, f"after the repair there is still {codes - remaining}"
        for _, entry in session.records():
            if isinstance(entry, LostEntry):
                true = known.get(entry.id)
                assert true is not None, "a lost entry was never there"
                assert true.parent_id == entry.parent_id, "a lost entry has another parent"
            elif isinstance(entry, Entry):
                assert known.get(entry.id) == entry, "an entry has changed"
        for wrong in wrong_contexts(session, sound):
            raise AssertionError(wrong)
    content = path.read_bytes()
    again = repair(path, rejoin=True, dry_run=False)
    assert (again.needed, path.read_bytes()) == (False, content), "a second repair found something to do"


def _check_restoring(path: Path, sound: View, lost_ids: list[str | None]) -> None:
    """Puts the lost entries back whose checksum is known; then their contexts are as before."""
    with Session.open(path, durability="process") as session:
        wanted = [entry for entry in sound.entries if entry.id in lost_ids]
        known = [entry for entry in wanted if getattr(session.entry(entry.id), "line_crc", None) is not None]
        with suppress(IdConflict):
            session.extend([structs.replace(entry, timestamp="another") for entry in wanted])
            raise AssertionError("another entry was taken for a lost one")
        assert session.extend(known) == len(known), "a true entry was not taken back"
        back = [entry for entry in session._index.readable_records(range(len(session._index.tree))) if entry in known]
        assert back == known, "a true entry is not in its place"
        _check_as_before(session, sound)
    if known:
        done = repair(path, dry_run=False)
        assert (done.needed, done.restored) == (True, len(known)), "a true entry was not put in its place"
        with Session.open(path, mode="r") as session:
            left = {entry.id for _, entry in session.records() if isinstance(entry, LostEntry)}
            assert left == set(lost_ids) - {entry.id for entry in known}, "a lost entry was not replaced"
            _check_as_before(session, sound)


def _check_as_before(session: Session, sound: View) -> None:
    for wrong in wrong_contexts(session, sound):
        raise AssertionError(wrong)
    if not session.findings:
        assert view(session, list(sound.contexts)) == sound, "the true entry is back, and not all is as before"


def _check_bodies(damaged: bytes, repaired: bytes, pieces: dict[int, bytes], leaf_uncertain: bool) -> None:
    """Checks that every good line that was not removed is in the new log, in order and byte for byte.

    If a removed line may have moved the leaf, a mark that says so comes last.
    """
    wanted, offset = [], 0
    removed = [range(start, start + len(piece)) for start, piece in pieces.items()]
    for line in damaged.split(b"\n"):
        stripped = line.removeprefix(b"\xef\xbb\xbf").lstrip(b"\0").removesuffix(b"\r")
        is_removed = any(offset + line.find(stripped) in each for each in removed)
        if verifies(stripped) and not is_removed and not _group_count(stripped):
            wanted.append(stripped[:-36])
        offset += len(line) + 1
    got = [line[:-36] for line in repaired.splitlines()] if b"\r" not in repaired else []
    if not wanted or not wanted[0].startswith(b'{"type":"session"'):
        got = got[1:]  # the header was made anew
    if leaf_uncertain:
        assert b'"type":"session_info"' in got.pop(), "the leaf is no longer uncertain"
    assert got == wanted, "a good line was lost or changed"


def _check_repaired(path: Path, remaining: set[str]) -> None:
    with Session.open(path, durability="process") as session:
        codes = {finding.code for finding in session.findings}
        assert codes <= remaining, f"after the repair there is still {codes - remaining}"
    content = path.read_bytes()
    files = sorted(path.parent.iterdir())
    again = repair(path, dry_run=False)
    assert (again.needed, path.read_bytes()) == (False, content), "a second repair found something to do"
    assert sorted(path.parent.iterdir()) == files, "a second repair made files"
    with Session.open(path, durability="process") as session:
        if "prev_mismatch" in remaining:
            with suppress(LeafUncertain):
                session.append(_MESSAGE)
            session.branch(session.leaf_id)
        session.append(_MESSAGE)


# --- the run ------------------------------------------------------------------------------------------------------


class Run:
    """Counts verdicts and collects broken promises."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.broken: list[str] = []

    @property
    def enough(self) -> bool:
        """Whether to stop: too many promises are broken."""
        return len(self.broken) >= 100

    def check(self, act: Callable[[Path, Case, View], str], path: Path, case: Case, sound: View) -> None:
        """Judges a case, and keeps it if a promise is broken."""
        try:
            self.verdicts[act(path, case, sound)] += 1
        except Exception as error:  # no error may come out of a judge
            text = f"{case.kind} at {case.place}, {act.__name__}: {type(error).__name__}: {error}"
            if len(self.broken) < 3:
                path.write_bytes(case.data)
                text += f" ({keep(path)})"
            self.broken.append(text)


def _save_index(path: Path) -> bytes:
    """Saves an index of a log; returns its bytes."""
    with patch.multiple(save_points, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0):
        Session.open(path, durability="process").close()
    return _index(path).read_bytes()


def sweep_lines(path: Path, rng: random.Random, run: Run, indexed: bool) -> int:
    """Flips every bit of every line in memory, and one bit of some lines in the file; returns how many in memory."""
    log = path.read_bytes()
    with Session.open(path, mode="r") as session:
        tips = [entry.id for entry in session.leaves()]
        sound = view(session, [*rng.sample(tips, min(5, len(tips)))])
    index = _save_index(path) if indexed else None
    bits, start = 0, 0
    lines = log.splitlines(keepends=True)
    in_file = set(rng.sample(range(len(lines)), min(_ENGINE_FLIPS, len(lines))))
    for number, line in enumerate(lines):
        if run.enough:
            break
        if not indexed:  # an index makes no difference here
            run.broken += [f"line {number + 1}: {accepted}" for accepted in islice(line_flips(line[:-1]), 100)]
            bits += 8 * (len(line) - 1)
        if number in in_file:
            at = start + rng.randrange(len(line))
            flipped = b"%b%c%b" % (log[:at], log[at] ^ 1 << rng.randrange(8), log[at + 1 :])
            run.check(judge, path, Case("flip in the file", at, flipped, beside=index), sound)
            run.kinds["flip in the file"] += 1
        start += len(line)
    return bits


def wrong_forks(path: Path) -> list[str]:
    """Returns the leaves at which a fork has another context than the log."""
    broken = []
    fork_path = path.with_name("fork.jsonl")
    with Session.open(path, mode="r") as session:
        for leaf in session.leaves()[-20:]:
            with session.fork(fork_path, leaf.id) as fork:
                if fork.build_context().messages != session.build_context(leaf=leaf.id).messages:
                    broken.append(f"the fork at {leaf.id} has another context")
            fork_path.unlink()
    return broken


def sweep_log(path: Path, every: int, rng: random.Random, run: Run, indexed: bool) -> None:
    """Damages a small log in every way, or in every n-th."""
    log = path.read_bytes()
    with Session.open(path, mode="r") as session:
        sound = view(session, [entry.id for entry in view(session).entries])
    index = _save_index(path) if indexed else None
    start = rng.randrange(every)
    for number, case in enumerate(cases(log)):
        case = case._replace(beside=index)  # noqa: PLW2901
        by_hand = case.kind not in ("flip", "delete", "insert", "nul", "truncate", "zero tail")
        if number % every != start and not by_hand:
            continue
        if run.enough:
            break
        run.kinds[case.kind] += 1
        run.check(judge, path, case, sound)
        turn = number // every
        if by_hand or turn % _APPEND_EVERY == 0:
            run.check(judge_appending, path, case, sound)
        if by_hand or turn % _REPAIR_EVERY == 0:
            run.check(judge_repairing, path, case, sound)
        if turn % _REJOIN_EVERY == 0:
            run.check(judge_rejoining, path, case, sound)


def main() -> None:
    options = arguments(__doc__ or "", ["indexed"], entries=1000, whole=24, every=1)
    rng = random.Random(options.seed)
    run = Run()
    with folder() as place:
        big, small = place / "lines" / "log.jsonl", place / "whole" / "log.jsonl"
        for path, entries in ((big, options.entries), (small, options.whole)):
            path.parent.mkdir()
            write(path, entries, options.seed, visibility=path is big)  # a line that is gone may have hidden something
        sabotage.apply(options.sabotage)
        run.broken += wrong_forks(big)
        bits = 0
        if not run.broken:
            bits = sweep_lines(big, rng, run, options.indexed)
            sweep_log(small, options.every, rng, run, options.indexed)
    result = {"entries": options.entries, "line_bits": bits, "whole": options.whole, "damaged_logs": run.kinds.total()}
    finish(options, result | {"kinds": dict(run.kinds), "verdicts": dict(run.verdicts)}, run.broken)


if __name__ == "__main__":
    main()
