"""Kills (SIGKILL) processes that use one log, four writers and two tailers, at random moments, again and again.

A cycle kills one to four of the writers, and now and then a tailer, at one random moment. The others go on with what
the killed ones left, new ones replace them, and the log is opened and checked.

With `--sqlite`, the log is in an SQLite database. With `--indexed`, writers close and open the log all the time. Every
close saves an index, and so does every sixteenth record; in the end the log must read the same with it and without.

A writer reports through a pipe what it is about to append and what was acknowledged. Every acknowledged entry must be
in the log once. An entry that was announced and not acknowledged is appended again by the next writer, under the same
id, and must be in the log once. Entries that were appended together must be there together, or not at all.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

from convtree import MessageEntry, SessionNotFound, StaleLeaf
from convtree._engine import save_points
from convtree._session.follow import last_ids
from convtree._session.session import Session

from . import sabotage
from .common import arguments, finish, keep, read_plainly, without_groups
from .places import DATABASE, findings, open_session

WRITERS, TAILERS = 4, 2
LOG_LINES, LOG_BYTES = 800, 32 * 2**20  # a longer log is checked, and a new one started
F_SETPIPE_SZ = 1031

Style = Literal["rebase", "branch", "own", "refresh"]
STYLES: tuple[Style, ...] = ("rebase", "branch", "own", "refresh")


def text_of(entry_id: str) -> str:
    """Returns the content of an entry: its id names the size."""
    return f"{entry_id} " + "x" * int(entry_id.rsplit("-", 1)[1])


def entry_of(entry_id: str) -> MessageEntry:
    return MessageEntry(id=entry_id, message={"role": "user", "content": text_of(entry_id)})


def pick_size(choose: random.Random, heavy: bool) -> int:
    """Picks a line size: hundreds of bytes as a rule; up to 8 MB for a heavy writer."""
    if heavy:
        return int(10 ** choose.uniform(5, 6.9))
    return int(10 ** choose.uniform(2, 3.3)) if choose.random() < 0.98 else int(10 ** choose.uniform(4, 5))


# --- the processes that are killed --------------------------------------------------------------------------------


def write(
    path: Path, say: Callable[[str], None], prefix: str, seed: int, begun: list[str], indexed: bool = False
) -> NoReturn:
    """Appends until it is killed; `?` announces what is about to be appended, `!` acknowledges it."""
    choose = random.Random(seed)
    style = choose.choice(STYLES)
    heavy = choose.random() < 0.2
    open_again: Callable[[], Session] = partial(
        open_session, path, durability="process", on_stale="rebase" if style == "rebase" else "branch"
    )
    if indexed:
        save_points._TAIL_ROWS = save_points._TAIL_BYTES = 0
        save_points._TAIL_PART = 0
        save_points._STEP_UNITS = 16
    session = open_again()
    last = session.leaf_id
    number = 0
    while True:
        ids, begun = begun, []
        if not ids:
            count = choose.randint(2, 5) if choose.random() < 0.25 else 1
            ids = [f"{prefix}-{number + i}-{pick_size(choose, heavy)}" for i in range(count)]
            number += count
        say("?" + " ".join(ids))
        if len(ids) > 1:
            last = session.append_many([entry_of(each) for each in ids])[-1].id
        elif style == "own":
            last = session.append(entry_of(ids[0]), parent_id=last).id
        elif style == "refresh":
            _append_seen(session, ids[0])
        else:
            session.append(entry_of(ids[0]))
        say("!" + " ".join(ids))
        if choose.random() < 0.02:
            session.label(ids[-1], prefix)
        if indexed and choose.random() < 0.3:
            session.close()
            session = open_again()


def _append_seen(session: Session, entry_id: str) -> None:
    while True:
        try:
            session.append(entry_of(entry_id), on_stale="raise")
        except StaleLeaf:
            session.refresh()
        else:
            return


def tail(path: Path, say: Callable[[str], None]) -> NoReturn:
    """Follows the log; reports after which record it started, and every record it saw."""
    while True:
        try:
            session = open_session(path, mode="r")
            break
        except SessionNotFound:
            time.sleep(0.0005)
    say(f"<{(last_ids(session._client) or [''])[-1]}")
    for record in session.follow(poll_s=0.002):
        if isinstance(record, MessageEntry) and record.message["content"] != text_of(record.id):
            raise ValueError(f"the tailer saw {record.id} with other content")
        say(f">{record.id}")
    raise AssertionError("a tailer ended by itself")


@dataclass
class Child:
    """A forked process, the pipe through which it reports, and what it has reported."""

    pid: int
    pipe: int
    writes: bool
    begun: list[str] = field(default_factory=list)
    seen: list[str] | None = None
    _rest: bytes = b""

    def listen(self) -> list[str]:
        """Returns the lines that it has written since the last call."""
        heard = [self._rest]
        with suppress(BlockingIOError):
            while data := os.read(self.pipe, 2**20):
                heard.append(data)
        *lines, self._rest = b"".join(heard).split(b"\n")
        return [line.decode() for line in lines]


def start(work: Callable[[Callable[[str], None]], NoReturn], writes: bool, broken_engine: str | None) -> Child:
    """Forks a process that works until it is killed; it reports errors through its pipe."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    fcntl.fcntl(read_end, F_SETPIPE_SZ, 2**20)
    pid = os.fork()
    if pid:
        os.close(write_end)
        return Child(pid, read_end, writes)
    os.close(read_end)
    os.nice(5)  # so that the parent can kill it at the chosen moment

    def say(line: str) -> None:
        os.write(write_end, line.encode() + b"\n")

    try:
        sabotage.apply(broken_engine)
        work(say)
    except BaseException as error:
        say(f"E{type(error).__name__}: {str(error)[:300]}".replace("\n", " "))
    finally:
        os._exit(1)


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    cycles: int = 0
    kills: int = 0
    logs: int = 0
    acknowledged: int = 0
    entries: int = 0
    bytes: int = 0
    torn: int = 0
    retried: int = 0
    tailed: int = 0
    lost: int = 0
    groups: int = 0  # of entries that were appended together
    partial: int = 0  # of which a part was found
    unreadable: int = 0
    indexed: int = 0  # how often the log was opened with an index


class Ring:
    """Four writers and two tailers of one log, and the checks of that log."""

    def __init__(self, path: Path, choose: random.Random, variant: str | None, totals: Totals, indexed: bool) -> None:
        self.path = path
        self.lines = 0
        self._choose = choose
        self._variant = variant
        self._indexed = indexed
        self._totals = totals
        self._started = 0
        self._acknowledged: set[str] = set()
        self._groups: dict[str, list[str]] = {}  # ids announced together, by the first
        self._seen: list[tuple[str, list[str]]] = []
        self._broken: list[str] = []
        self._children = [self._start_writer([]) for _ in range(WRITERS)]
        self._children += [self._start_tailer() for _ in range(TAILERS)]

    def _start_writer(self, begun: list[str]) -> Child:
        self._started += 1
        prefix, seed = f"w{self._started}", self._choose.getrandbits(32)
        self._totals.retried += bool(begun)
        return start(lambda say: write(self.path, say, prefix, seed, begun, self._indexed), True, self._variant)

    def _start_tailer(self) -> Child:
        return start(lambda say: tail(self.path, say), False, self._variant)

    def cycle(self) -> list[str]:
        """Kills some processes at a random moment, checks the log, and starts others in their places."""
        choose = self._choose
        time.sleep(choose.uniform(0.0003, 0.01))
        writers = [child for child in self._children if child.writes]
        doomed = choose.sample(writers, choose.choice((1, 1, 1, 2, 2, 3, 4)))
        doomed += [child for child in self._children if not child.writes and choose.random() < 0.1]
        self._kill(doomed)
        self._listen(self._children)
        broken = self._check()
        for child in doomed:
            self._children.append(self._start_writer(child.begun) if child.writes else self._start_tailer())
        return broken

    def end(self) -> list[str]:
        """Kills all processes and checks the whole log."""
        self._kill(list(self._children))
        return self._check() or _apart(self._read_all, self._totals)

    def _kill(self, doomed: list[Child]) -> None:
        for child in doomed:
            os.kill(child.pid, signal.SIGKILL)
        for child in doomed:
            os.waitpid(child.pid, 0)
            self._listen([child])
            os.close(child.pipe)
            self._children.remove(child)
        self._totals.kills += len(doomed)

    def _listen(self, children: list[Child]) -> None:
        for child in children:
            for line in child.listen():
                kind, what = line[0], line[1:]
                if kind == "?":
                    child.begun = what.split()
                    if len(child.begun) > 1:
                        self._groups[child.begun[0]] = child.begun
                elif kind == "!":
                    self._acknowledged.update(child.begun)
                    child.begun = []
                elif kind == "<":
                    child.seen = []
                    self._seen.append((what, child.seen))
                elif kind == ">" and child.seen is not None:
                    child.seen.append(what)
                else:
                    self._broken.append(f"a process raised {what}")

    def _check(self) -> list[str]:
        """Opens the log, while others may write to it; returns what is wrong or missing."""
        try:
            session = open_session(self.path, mode="r")
        except SessionNotFound:
            lost = len(self._acknowledged)
            return [f"{lost} entries acknowledged, and no log"] if lost else self._broken
        except Exception as error:
            self._totals.unreadable += 1
            return [*self._broken, f"opening raised {error!r}"]
        with session:
            broken = self._broken + [f"finding {f.code}" for f in session.findings if f.code != "torn_tail"]
            find = session._journal.index.node
            lost_ids = [each for each in self._acknowledged if find(each) is None]
            self._totals.lost += len(lost_ids)
            broken += self._partial_groups(lambda each: find(each) is not None)
            self.lines = session._journal.index.state.lines
            self._totals.indexed += session._journal.index.tree.ids.hashes.persisted > 0
            return broken + [f"acknowledged and lost: {each}" for each in lost_ids]

    def _partial_groups(self, is_stored: Callable[[str], bool]) -> list[str]:
        """Returns the groups of which a part is stored. This process may not have read yet that a group began."""
        parts = [group for group in self._groups.values() if len({is_stored(id) for id in group}) > 1]
        self._totals.partial += len(parts)
        return [f"a part of the group {group[0]} .. {group[-1]}" for group in parts]

    def _read_all(self) -> list[str]:
        """Checks a whole log that nobody writes to, with the engine and without it."""
        totals = self._totals
        totals.logs += 1
        totals.acknowledged += len(self._acknowledged)
        if not self.path.exists():
            return []
        try:
            found = findings(self.path)
        except SessionNotFound:  # a database without a session
            return [f"{len(self._acknowledged)} entries acknowledged, and no log"] if self._acknowledged else []
        totals.bytes += self.path.stat().st_size
        totals.torn += any(finding.code == "torn_tail" for finding in found)
        torn = self.path.with_name(self.path.name + ".torn")
        if torn.exists():
            totals.torn += torn.read_bytes().count(b"\n")
        broken = [f"verify found {finding.code}" for finding in found if finding.code != "torn_tail"]
        totals.groups += len(self._groups)
        try:
            records = without_groups(list(read_plainly(self.path))[1:])
        except (ValueError, KeyError) as error:
            return [*broken, f"read without the engine: {error}"]
        totals.entries += sum("parent_id" in record for record in records)
        order = [str(record["id"]) for record in records]
        place = {each: row for row, each in enumerate(order)}
        if len(place) != len(order):
            broken.append("an id is stored twice")
        for record in records:
            if record["type"] == "message" and record["message"]["content"] != text_of(record["id"]):
                broken.append(f"{record['id']} has the wrong content")
            if record.get("parent_id") and place.get(record["parent_id"], len(order)) >= place[record["id"]]:
                broken.append(f"{record['id']} stands above its parent")
        broken += [f"acknowledged and lost: {each}" for each in self._acknowledged if each not in place]
        broken += self._partial_groups(place.__contains__)
        for first, sequence in self._seen:
            totals.tailed += len(sequence)
            begin = place[first] + 1 if first else 0
            if order[begin : begin + len(sequence)] != sequence:
                broken.append(f"a tailer saw other records than the log has after {first!r}")
        return broken + _with_and_without_index(self.path)


def _with_and_without_index(path: Path) -> list[str]:
    """Compares what a session reads with the index file and without."""
    index = path.with_name(path.name + ".index")
    seen = []
    for _ in range(2 if index.exists() else 0):
        with open_session(path, mode="r") as session:
            shape = session.outline()
            entries = [entry.id for entry in session.leaves()]
            seen.append((session.leaf_id, session.labels, session.findings, shape.runs, entries, session.header))
        if index.exists():
            index.unlink()
    return [] if not seen or seen[0] == seen[1] else ["with its index, the log reads differently"]


def _apart(read: Callable[[], list[str]], totals: Totals) -> list[str]:
    """Calls `read` in a forked process, so that this one stays small and quick to fork."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            broken = read()
        except BaseException as error:
            broken = [f"reading raised {error!r}"]
        os.write(write_end, json.dumps([broken[:20], vars(totals)]).encode()[:60_000])
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        found, counted = json.load(answer)
    os.waitpid(pid, 0)
    vars(totals).update(counted)
    return list(found)


def main() -> None:
    options = arguments(__doc__ or "", ["indexed", "sqlite"], cycles=100)
    choose = random.Random(options.seed)
    totals = Totals()
    broken: list[str] = []
    gc.freeze()  # forks are cheaper if the collector does not touch the parent's objects
    gc.disable()
    folder = Path(tempfile.mkdtemp(prefix="convtree-kill-"))
    ring: Ring | None = None
    try:
        while totals.cycles < options.cycles and not broken:
            ring = ring or Ring(
                folder / f"{totals.cycles}{DATABASE if options.sqlite else '.jsonl'}",
                choose,
                options.sabotage,
                totals,
                options.indexed,
            )
            broken = ring.cycle()
            totals.cycles += 1
            size = ring.path.stat().st_size if ring.path.exists() else 0
            if ring.lines > LOG_LINES or size > LOG_BYTES or totals.cycles == options.cycles or broken:
                broken += ring.end()
                if broken:
                    keep(*folder.glob(ring.path.name + "*"))
                for each in folder.glob(ring.path.name + "*"):
                    each.unlink()
                ring = None
                gc.collect()
            if totals.cycles % 1000 == 0:
                print(f"{time.monotonic() - options.started:.0f} s: {totals}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, Any] = vars(totals)
    rate = round(totals.cycles / max(time.monotonic() - options.started, 0.001), 1)
    finish(options, result | {"cycles_per_s": rate}, broken)


if __name__ == "__main__":
    main()
