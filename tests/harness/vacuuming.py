"""Kills (SIGKILL) writers, readers and vacuumers of one store at random moments, again and again.

Two writers append to two sessions: to the leaf, to other branches, and now and then a compaction. A process vacuums
the sessions, one reads them. A cycle kills some of them; new ones take their places. The next writer appends again what
a killed one had announced, under the same id. In the end, the store is read.

Every acknowledged entry must be in the log, or among the ids that its vacuum entry says were dropped; never in both.
Every entry has a cost of 1. So the cost of a session is the number of entries that were ever stored in it.

With `--sqlite` the store is an SQLite database, with `--postgres` a PostgreSQL server's (a private one, or
CONVTREE_TEST_PG). Otherwise it is a folder.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from convtree import (
    BrokenPath,
    CompactionEntry,
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    MessageEntry,
    Session,
    SessionFailed,
    VacuumEntry,
)
from convtree._engine.dropped import DroppedIds

from .common import apart
from .kill import Child, start
from .retention import Say, opened, run_rounds

WRITERS = 2
SESSIONS = ("s0", "s1")
ROUND = 20  # cycles in one store


# --- the processes that are killed --------------------------------------------------------------------------------


def entry_of(id: str) -> MessageEntry:
    return MessageEntry(id=id, message={"role": "assistant", "content": id}, model="m", usage={"output_tokens": 1})


def write(url: str, say: Say, prefix: str, seed: int, begun: dict[str, str]) -> NoReturn:
    """Appends until it is killed; `?` announces a session and an entry, `!` acknowledges it."""
    choose = random.Random(seed)
    sessions = {id: opened(url).open(id, on_stale="rebase") for id in SESSIONS}
    for entry, id in begun.items():
        say(f"?{id} {entry}")
        try:
            sessions[id].append(entry_of(entry))
        except IdConflict:  # it was stored, and dropped since
            continue
        say(f"!{id} {entry}")
    number, last = 0, dict.fromkeys(SESSIONS, "first")
    while True:
        number += 1
        id, entry = choose.choice(SESSIONS), f"{prefix}.{number}"
        session, kind = sessions[id], choose.random()
        try:
            if kind < 0.05:
                _compact(session)
                continue
            say(f"?{id} {entry}")
            if kind < 0.3:  # another branch
                session.append(entry_of(entry), parent_id=last[id], move_leaf=choose.random() < 0.5)
            else:
                session.append(entry_of(entry))
                last[id] = entry
        except ConvtreeError as error:
            if type(error).__name__ not in ("EntryNotFound", "StaleLeaf"):  # what it named was dropped
                raise
            session.refresh()
            last[id] = session.leaf_id or "first"
            continue
        say(f"!{id} {entry}")


def _compact(session: Session) -> None:
    session.refresh()
    kept = [entry.id for entry in session.path() if isinstance(entry, MessageEntry)][-3:]
    if kept:
        try:
            session.append(CompactionEntry(summary="older", first_kept_entry_id=kept[0]))
        except ConvtreeError as error:
            if type(error).__name__ not in ("InvalidCompaction", "EntryNotFound"):
                raise


def vacuum(url: str, say: Say, seed: int) -> NoReturn:
    """Vacuums until it is killed; `v` says how many entries went."""
    choose = random.Random(seed)
    store = opened(url)
    while True:
        try:
            done = store.vacuum(choose.choice(SESSIONS), dry_run=choose.random() < 0.1, remove_original=True)
        except BrokenPath as error:
            _check_removed(error)
            continue
        if done.done:
            say(f"v{done.entries}")
        time.sleep(choose.uniform(0, 0.004))


def read(url: str, say: Say) -> NoReturn:
    """Reads until it is killed: contexts, paths and records are whole at every moment; `r` counts."""
    sessions = [opened(url).open(id, read_only=True) for id in SESSIONS]
    while True:
        for session in sessions:
            session.refresh()
            try:
                context = session.build_context()
                path, records = session.path(), list(session.records())
            except (BrokenPath, EntryNotFound) as error:
                _check_removed(error)
                continue
            except SessionFailed:  # the log was replaced meanwhile
                continue
            if context.messages[-1]["content"] != context.entries[-1].id and len(context.messages) > 3:
                raise ValueError("a context is not that of its leaf")
            if len(path) > len(records):
                raise ValueError("a path has more entries than the log")
        say("r")


def _check_removed(error: Exception) -> None:
    """Raises the error unless a vacuum is its reason.

    A writer may begin a branch between an older compaction and the last one. What the older one keeps is not promised,
    so that branch has no context. And the leaf that a reader saw may be gone when it asks for its context or path.
    """
    if "vacuum has removed" not in str(error):
        raise error


def seed_sessions(url: str) -> None:
    with opened(url) as store:
        for id in SESSIONS:
            with store.create(id=id) as session:
                session.append({"role": "system", "content": "first"}, id="first")


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    cycles: int = 0
    kills: int = 0
    acknowledged: int = 0
    vacuums: int = 0
    dropped: int = 0
    reads: int = 0
    retried: int = 0
    lost: int = 0
    unreadable: int = 0


@dataclass
class Arena:
    """A store, the processes that use it, and what they have reported."""

    url: str
    choose: random.Random
    variant: str | None
    totals: Totals
    children: dict[str, Child] = field(default_factory=dict)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)  # by role: entries announced, with their sessions
    stored: dict[str, set[str]] = field(default_factory=lambda: {id: set() for id in SESSIONS})
    broken: list[str] = field(default_factory=list)
    started: int = 0

    def begin(self, role: str) -> None:
        """Starts the process of a role."""
        self.started += 1
        prefix, seed, begun = f"w{self.started}", self.choose.getrandbits(32), self.begun.pop(role, {})
        self.totals.retried += len(begun)

        def work(say: Say) -> NoReturn:
            if role == "vacuum":
                vacuum(self.url, say, seed)
            elif role == "read":
                read(self.url, say)
            write(self.url, say, prefix, seed, begun)

        self.children[role] = start(work, True, self.variant)

    def cycle(self) -> list[str]:
        """Kills some processes at a random moment, and starts others in their places."""
        time.sleep(self.choose.uniform(0.02, 0.8))
        # A vacuum takes longer than an append, so it is killed less often.
        roles = sorted(self.children)
        if self.choose.random() < 0.7:
            roles.remove("vacuum")
        dead = self.choose.sample(roles, self.choose.choice((1, 1, 2, 3)))
        self.kill(dead)
        for role in set(self.children):
            self.listen(role)
        for role in dead:
            self.begin(role)
        return self.broken

    def kill(self, dead: list[str]) -> None:
        for role in dead:
            os.kill(self.children[role].pid, signal.SIGKILL)
        for role in dead:
            os.waitpid(self.children[role].pid, 0)
            self.listen(role)
            os.close(self.children.pop(role).pipe)
        self.totals.kills += len(dead)

    def listen(self, role: str) -> None:
        """Takes in what a process has reported."""
        for line in self.children[role].listen():
            kind, rest = line[0], line[1:].split()
            if kind == "?":
                self.begun[role] = {rest[1]: rest[0]}
            elif kind == "!":
                self.stored[rest[0]].add(rest[1])
                self.begun.pop(role, None)
            elif kind == "v":
                self.totals.vacuums += 1
                self.totals.dropped += int(rest[0])
            elif kind == "r":
                self.totals.reads += 1
            else:
                self.broken.append(f"the process {role} raised {line[1:]}")

    def check(self) -> list[str]:
        """Reads the store when all processes are dead; returns what is wrong or missing."""
        with opened(self.url) as store:
            for id in SESSIONS:
                try:
                    with store.open(id, read_only=True) as session:
                        self._check(session, id, store.info(id).usage.output_tokens)
                except ConvtreeError as error:
                    self.totals.unreadable += 1
                    self.broken.append(f"{id}: opening raised {error!r}")
        return self.broken

    def _check(self, session: Session, id: str, cost: int) -> None:
        self.broken += [f"{id}: finding {each.code}" for each in session.findings if each.code != "torn_tail"]
        records = [record for _, record in session.records()]
        there = {record.id for record in records}
        roots = [record for record in records if isinstance(record, VacuumEntry)]
        dropped = DroppedIds(roots[0].dropped_ids if roots else None)
        expected = self.stored[id]
        lost = sorted(each for each in expected if each not in there and each not in dropped)
        self.totals.lost += len(lost)
        self.totals.acknowledged += len(expected)
        self.broken += [f"acknowledged and lost: {each} of {id}" for each in lost]
        self.broken += [f"dropped, and there again: {each}" for each in sorted(there) if each in dropped]
        unknown = sum(self.begun.get(role, {}).get(entry) == id for role in self.begun for entry in self.begun[role])
        if not len(expected) <= cost <= len(expected) + unknown + self.totals.retried:
            self.broken.append(f"{id} has cost {cost}, and {len(expected)} entries were acknowledged")


def run_round(options: Any, url: str, choose: random.Random, totals: Totals) -> list[str]:
    """Uses one store for some cycles, then checks it."""
    arena = Arena(url, choose, options.sabotage, totals)
    apart(partial(seed_sessions, url))
    for role in (*(f"write{number}" for number in range(WRITERS)), "vacuum", "read"):
        arena.begin(role)
    try:
        for _ in range(min(ROUND, options.cycles - totals.cycles)):
            totals.cycles += 1
            if arena.cycle():
                break
    finally:
        arena.kill(list(arena.children))
    return arena.check()


def main() -> None:
    run_rounds("vacuuming", __doc__ or "", Totals(), run_round)


if __name__ == "__main__":
    main()
