"""Reads generated logs: valid ones cut, spliced and changed, and hostile ones built from strange records.

Only documented errors may be raised, each case must end in time, and the number of findings must stay bounded.
"""

from __future__ import annotations

import importlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any
from zlib import crc32

import orjson

from convtree import ConvtreeError, Session
from convtree._engine import codec
from convtree._model.findings import FINDING_LIMIT
from convtree.repair import repair, verify

from .common import arguments, finish, keep
from .samples import folder, write

_GUARD_S = 10.0  # per case; generous, because the machine may be busy
_DOCUMENTED = (ConvtreeError, OSError)
_HEADER = {"type": "session", "format": "convtree", "version": 1, "id": "s1", "timestamp": None}
_TYPES = ("message", "compaction", "branch_summary", "model_change", "extension_data", "leaf", "label", "session_info")
_DEEP = b"[" * 1500 + b"]" * 1500
_SCALARS: tuple[bytes, ...] = (
    *(b"null", b"true", b"0", b"-1", b"1e999", b"-0.0", b"NaN", b"1" * 30, b"9" * 5000, b"[]", b"{}", b"[[]]", _DEEP),
    *(b'""', b'"\\ud800"', b'"\xff"', b'"\\u0000"', b'"a\\u0062"', b'"' + b"x" * 300 + b'"', b'{"a":1,"a":2}', b'"a"'),
    *(b'"\\u202e\\u001b[31m"', b"18446744073709551616", b'"all"', b'"user"', b'"0123456789abcdef"', b'"../../x"'),
)


class Hang(BaseException):
    """A case took too long."""


@contextmanager
def _guard() -> Iterator[None]:
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, _GUARD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- generating logs -----------------------------------------------------------------------------------------------


def generate(rng: random.Random) -> bytes:
    """Returns a log of strange records: without checksums, with, or with them from some line on."""
    ids = [
        rng.choice(("a", "b", "A", "a.b", "0123456789abcdef", "0123456789ABCDEF", "x" * 128)) + str(n) for n in range(6)
    ]
    bodies = [orjson.dumps(_HEADER | ({"seal": "crc32"} if rng.random() < 0.5 else {}))[:-1]]
    bodies += [_body(rng, ids) for _ in range(rng.randint(1, 25))]
    if rng.random() < 0.1:
        rng.shuffle(bodies)
    sealed_from = rng.choice((0, 0, len(bodies), rng.randrange(len(bodies))))
    lines, prev = [], 0
    for number, body in enumerate(bodies):
        line = codec.seal(body, prev) if number >= sealed_from else body + b"}"
        prev = crc32(line) if rng.random() < 0.98 else 7
        lines.append(line)
    return b"\n".join(lines) + b"\n"


def _body(rng: random.Random, ids: list[str]) -> bytes:
    def some_id() -> bytes:
        return b'"%b"' % rng.choice(ids).encode() if rng.random() < 0.98 else rng.choice(_SCALARS)

    kind = (
        rng.choice(_TYPES) if rng.random() < 0.85 else rng.choice(("tool.note", "future", "Bad", "session", "x" * 70))
    )
    fields: dict[bytes, bytes] = {b"id": some_id(), b"type": orjson.dumps(kind), b"timestamp": b"null"}
    if rng.random() < 0.75:
        fields[b"parent_id"] = rng.choice((b"null", some_id(), some_id()))
    usual: dict[bytes, Callable[[], bytes]] = {
        b"message": lambda: b'{"role":"user","content":"Hi"}',
        b"pinned": lambda: b"true",
        b"visible_to": lambda: b'"user"',
        b"model": lambda: b'"m"',
        b"provider": lambda: b'"p"',
        b"settings": lambda: b'{"t":1}',
        b"summary": lambda: b'"s"',
        b"first_kept_entry_id": some_id,
        b"from_id": some_id,
        b"target_id": some_id,
        b"label": lambda: b'"here"',
        b"ext_type": lambda: b'"todo"',
        b"data": lambda: b"[1]",
        b"name": lambda: b'"n"',
        b"metadata": lambda: b'{"k":null}',
        b"critical": lambda: b"true" if rng.random() < 0.05 else b"false",
        b"crc": lambda: b'"00000000"',
        b"prev": lambda: b'"00000000"',
    }
    for name, value in usual.items():
        if rng.random() < (0.8 if name in (b"message", b"summary", b"target_id", b"data", b"ext_type") else 0.3):
            fields[name] = value() if rng.random() < 0.985 else rng.choice(_SCALARS)
    members = [b'"%b":%b' % item for item in fields.items()]
    if rng.random() < 0.1:
        members.append(rng.choice(members))
    if rng.random() < 0.2:
        rng.shuffle(members)
    return b"{" + (b" , " if rng.random() < 0.1 else b",").join(members)


def change(log: bytes, other: bytes, rng: random.Random) -> bytes:
    """Changes a log in one way."""
    lines = log.split(b"\n")
    at = rng.randrange(len(log) + 1)
    n, m = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randint(0, 15):
        case 0:
            lines.insert(n, lines[m])
        case 1:
            lines[n], lines[m] = lines[m], lines[n]
        case 2:
            del lines[n]
        case 3:
            return log[:at]
        case 4:
            flipped = bytearray(log or b"x")
            for _ in range(rng.choice((1, 1, 3, 30))):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 5:
            return log[:at] + b"\0" * rng.choice((1, 7, 512)) + log[at + rng.choice((0, 7, 512)) :]
        case 6:
            lines[n : n + 2] = [b"".join(lines[n : n + 2])]
        case 7:
            return log.replace(b"\n", b"\r\n")
        case 8:
            return b"\xef\xbb\xbf" + log
        case 9:
            foreign = other.split(b"\n")
            lines[n:n] = foreign[: rng.randint(1, 6)]
        case 10:
            start = rng.randrange(len(other) + 1)
            return log[:at] + other[start : start + rng.randint(1, 400)] + log[at:]
        case 11:
            lines[n] = rng.choice(
                (b"", b"42", b"[]", b"null", b'"x"', b"{}", _DEEP, b"\x1f\x8b\x08", b"{" * 99, b" " * 9)
            )
        case 12:
            lines[n] = lines[n].replace(b'"id"', b'"\\u0069d"').replace(b":", b" :\t")
        case 13:
            lines[n] = codec.seal(lines[n][:-36], 0) if len(lines[n]) > 40 else lines[n]
        case 14:
            parts = lines[n].split(b'":', 1)
            lines[n] = (parts[0] + b'":' + rng.choice(_SCALARS) + b"," + parts[-1]) if len(parts) > 1 else lines[n]
        case _:
            lines[n] += rng.choice((b"\r", b" ", b"\0", b",", b"\x0b", b"\xe2\x80\xa8", b"x" * 70_000))
    return b"\n".join(lines)


# --- reading them -------------------------------------------------------------------------------------------------


def check(path: Path, log: bytes, counts: Counter[str]) -> None:
    """Reads, writes and repairs a log; errors that are not documented are raised."""
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    path.write_bytes(log)
    try:
        with Session.open(path, mode="r") as session:
            _read(session, counts)
    except _DOCUMENTED as error:
        counts[f"open: {type(error).__name__}"] += 1
    if path.read_bytes() != log or len(list(path.parent.glob(path.name + "*"))) != 1:
        raise AssertionError("a reader wrote")
    _try(lambda: verify(path).findings, counts)
    _try(lambda: repair(path), counts)
    _try(partial(_write, path), counts)
    path.write_bytes(log)
    _try(partial(_repair, path), counts)


def _try(act: Callable[[], Any], counts: Counter[str]) -> Any:
    try:
        return act()
    except _DOCUMENTED as error:
        counts[type(error).__name__] += 1
        return None


def _read(session: Session, counts: Counter[str]) -> None:
    counts["opened"] += 1
    counts.update(finding.code for finding in session.findings)
    if len(session.findings) > FINDING_LIMIT + 1:
        raise AssertionError("too many findings")
    index = session._index
    ids = [index.id_of(row) for row in range(len(index.tree)) if index.tree.is_node(row)]
    places: list[str | None] = [*ids, None]
    for act in (
        session.build_context,
        session.path,
        session.leaves,
        session.extension_data,
        session.outline,
        session.refresh,
    ):
        _try(act, counts)
    for place in places:
        _read_at(session, place, counts)
    for a, b in pairwise(ids):
        _try(partial(session.common_ancestor, a, b), counts)
    outline = _try(session.outline, counts)
    if outline is not None:
        for run in outline.runs:
            outline.entries(run.rows)
    _ = (session.id, session.name, session.labels, session.metadata, session.archived, session.leaf_id, repr(session))


def _read_at(session: Session, place: str | None, counts: Counter[str]) -> None:
    exact = _try(partial(session.build_context, leaf=place), counts)
    with_gaps = _try(partial(session.build_context, leaf=place, allow_gaps=True), counts)
    if exact is not None and with_gaps != exact:
        raise AssertionError("a context without gaps changes if gaps are allowed")
    if exact is None and with_gaps is not None and not with_gaps.gaps:
        raise AssertionError("a context was refused, and has no gap")
    for act in (session.path, session.children):
        _try(partial(act, place), counts)
    _try(partial(session.extension_data, leaf=place), counts)
    _try(partial(session.state, "todo", leaf=place), counts)
    if place is not None:
        for ask in (session.entry, session.siblings, session.tip):
            _try(partial(ask, place), counts)


def _write(path: Path) -> None:
    with Session.open(path, durability="process", on_stale="rebase") as session:
        index = session._index
        ids = [index.id_of(row) for row in range(len(index.tree))]
        for id in ids[:3]:
            _try(partial(session.append, {"role": "user", "content": "Hi"}, id=id), Counter())
        news = session.follow(poll_s=0, timeout_s=0)
        try:
            session.append({"role": "user", "content": "Hi"})
        except ConvtreeError:
            session.branch(None)
            session.append({"role": "user", "content": "Hi"})
        list(news)
        fork = path.with_name(path.name + ".fork")
        session.fork(fork).close()
        inherited = {finding.code for finding in verify(path).findings}.intersection(["bad_kept", "bad_replaces"])
        if new := {finding.code for finding in verify(fork).findings} - inherited:
            raise AssertionError(f"a fork has findings: {new}")


def _repair(path: Path) -> None:
    done = repair(path, dry_run=False)
    if repair(path, dry_run=False).needed:
        raise AssertionError("a repair was not enough")
    with Session.open(path, mode="r") as session:
        codes = {finding.code for finding in session.findings} - {finding.code for finding in done.remaining}
        if codes - ({"prev_mismatch"} if done.leaf_uncertain else set()):
            raise AssertionError(f"after the repair there is still {codes}")


# --- the run ------------------------------------------------------------------------------------------------------


def logs(rng: random.Random, samples: list[bytes]) -> Iterator[bytes]:
    """Yields logs without end."""
    while True:
        log = rng.choice(samples) if rng.random() < 0.5 else generate(rng)
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            log = change(log, rng.choice(samples), rng)
        yield log


def main() -> None:
    options = arguments(__doc__ or "", flags=["atheris"], cases=3000, seconds=0.0)
    rng = random.Random(options.seed)
    counts: Counter[str] = Counter()
    broken: list[str] = []
    slowest_s, number = 0.0, 0
    with folder() as place:
        path = place / "log.jsonl"
        samples = []
        for size in (3, 24, 60):
            write(path, size, options.seed + size)
            samples.append(path.read_bytes())
            path.unlink()
        if options.atheris:
            _with_atheris(path, samples)
        deadline = options.started + options.seconds if options.seconds else float("inf")
        for number, log in enumerate(logs(rng, samples), 1):
            started = time.process_time()  # the machine may be busy with other things
            try:
                with _guard():
                    check(path, log, counts)
            except (Exception, Hang) as error:  # documented errors were caught before
                text = f"case {number}: {type(error).__name__}: {error}"
                if len(broken) < 5:
                    path.write_bytes(log)
                    text += f" ({keep(path)})"
                broken.append(text)
            slowest_s = max(slowest_s, time.process_time() - started)
            if (not options.seconds and number >= options.cases) or time.monotonic() > deadline:
                break
    result = {"cases": number, "slowest_ms": round(slowest_s * 1000), "seen": dict(counts.most_common())}
    finish(options, result, broken)


def _with_atheris(path: Path, samples: list[bytes]) -> None:
    """Lets libFuzzer generate the logs; does not return."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.exit("skipped: atheris is not installed (pip install atheris)")
    corpus = path.with_name("corpus")
    corpus.mkdir()
    for number, sample in enumerate(samples):
        (corpus / str(number)).write_bytes(sample)
    atheris.instrument_all()
    atheris.Setup(["fuzz", "-timeout=10", "-max_len=16384", str(corpus)], lambda data: check(path, data, Counter()))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
