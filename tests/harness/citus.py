"""Kills a worker of a Citus cluster again and again, while processes append to a distributed store.

Four writers append to sessions on all workers, and begin sub-agents' sessions. That takes a transaction of two workers.
A cycle kills one worker (`pg_ctl stop -m immediate`) at a random moment, leaves it down for a moment, and starts it
again. A writer that gets an error appends again, with the same id, until it succeeds; `!` acknowledges it. In the end,
everything is read.

Every acknowledged entry must be there, once, with its content, and no session may be damaged. A writer may see only the
errors that the guide names. The writers run in processes of their own.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

from private_citus import Absent, distributed, private_cluster, run

from convtree import MessageEntry, ParentSession, Session, SessionFailed, SessionLocked, SessionStore, open_store

from .common import arguments, finish
from .kill import Child, start
from .retention import Say, message

WRITERS = 4
SESSIONS = tuple(f"s{number}" for number in range(8))
TASKS = 0.1  # of the appends begin the session of a sub-agent
APPENDS = 12  # between two kills, at least
WAIT_S = 60.0


# --- the processes that write -------------------------------------------------------------------------------------


def write(url: str, prefix: str, seed: int, say: Say) -> NoReturn:
    """Appends until it is killed; `!` acknowledges an entry, `r` tells an error after which it is appended again."""
    choose, number = random.Random(seed), 0
    store = open_store(url)
    while True:
        number += 1
        id, entry = choose.choice(SESSIONS), f"{prefix}.{number}"
        parent = None
        if choose.random() < TASKS:
            id, parent = f"{id}.{prefix}.{number}", ParentSession(id=id, kind="task")
        while (error := append(store, id, parent, entry)) is not None:
            say(f"r{type(error).__name__}")
            time.sleep(0.2)
        say(f"!{id} {entry}")


def append(store: SessionStore, id: str, parent: ParentSession | None, entry: str) -> Exception | None:
    """Appends an entry, unless it is there; returns the error if it may be tried again."""
    try:
        with store.open(id, create=True, parent_session=parent, on_stale="branch") as session:
            session.append(message(entry), id=entry)
    except (ConnectionError, SessionFailed, SessionLocked) as error:
        return error
    return None


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    cycles: int = 0
    acknowledged: int = 0
    tasks: int = 0
    retried: int = 0
    entries: int = 0
    lost: int = 0
    sessions: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@dataclass
class Arena:
    """A store in a cluster, the processes that write to it, and what they have reported."""

    cluster: Any
    url: str
    choose: random.Random
    totals: Totals
    children: list[Child] = field(default_factory=list)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def cycle(self) -> None:
        """Kills a worker at a random moment, and starts it again."""
        self.wait_for(len(self.acknowledged) + APPENDS)
        time.sleep(self.choose.uniform(0, 0.1))
        worker = self.choose.choice(self.cluster.workers)
        worker.kill()
        time.sleep(self.choose.uniform(0, 0.6))
        worker.start()
        self.totals.cycles += 1

    def wait_for(self, acknowledged: int) -> None:
        """Waits until so many entries were acknowledged."""
        ended = time.monotonic() + WAIT_S
        while len(self.acknowledged) < acknowledged and not self.broken:
            if time.monotonic() > ended:
                self.broken.append(f"nobody has succeeded for {WAIT_S} s")
            time.sleep(0.02)
            self.listen()

    def listen(self) -> None:
        """Takes in what the processes have reported."""
        for child in self.children:
            for line in child.listen():
                if line[0] == "!":
                    id, entry = line[1:].split()
                    self.acknowledged.append((id, entry))
                    self.totals.tasks += id not in SESSIONS
                elif line[0] == "r":
                    self.totals.errors[line[1:]] += 1
                    self.totals.retried += 1
                else:
                    self.broken.append(f"a writer raised {line[1:]}")

    def end(self) -> None:
        """Kills the processes."""
        for child in self.children:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        self.listen()

    def recover(self) -> None:
        """Waits until the coordinator has finished what a killed worker had prepared."""
        ended = time.monotonic() + WAIT_S
        prepared = "SELECT gid FROM pg_prepared_xacts"
        while any(run(worker.url, prepared) for worker in self.cluster.workers):
            if time.monotonic() > ended:
                self.broken.append(f"prepared transactions are left after {WAIT_S} s")
                return
            time.sleep(0.2)

    def check(self) -> None:
        """Reads the store; notes what is wrong or missing."""
        there: dict[str, Counter[str]] = {}
        with open_store(self.url) as store:
            ids = [info.id for info in store.list(tasks=True, limit=None)]
            self.broken += [f"{id} is listed twice" for id, times in Counter(ids).items() if times > 1]
            for id in ids:
                with store.open(id, read_only=True) as session:
                    there[id] = self.read(session)
                    if store.info(id).entries != there[id].total():
                        self.broken.append(f"{id} is listed with {store.info(id).entries} entries")
        lost = [
            f"acknowledged and lost: {entry} of {id}"
            for id, entry in self.acknowledged
            if not there.get(id, Counter())[entry]
        ]
        self.broken += lost
        self.totals.lost += len(lost)
        self.totals.sessions += len(there)
        self.totals.acknowledged += len(self.acknowledged)
        self.totals.entries += sum(map(Counter.total, there.values()))

    def read(self, session: Session) -> Counter[str]:
        """Returns how often a session has each entry; notes what is wrong with it."""
        found = Counter[str]()
        for _, record in session.records():
            if isinstance(record, MessageEntry):
                found[record.id] += 1
                if record.message != message(record.id):
                    self.broken.append(f"{record.id} has the wrong content")
        self.broken += [f"{session.id}: finding {each.code}" for each in session.findings]
        self.broken += [f"{entry} is there {times} times" for entry, times in found.items() if times > 1]
        return found


def main() -> None:
    options = arguments(__doc__ or "", cycles=20)
    totals = Totals()
    try:
        with private_cluster(sync=True) as cluster, distributed(cluster.url) as url:
            import_module("sqlalchemy.dialects.postgresql.psycopg")
            gc.freeze()
            arena = Arena(cluster, url, random.Random(options.seed), totals)
            for number in range(WRITERS):
                prefix, seed = f"w{number}", arena.choose.getrandbits(32)
                arena.children.append(start(partial(write, url, prefix, seed), True, options.sabotage))
            try:
                while totals.cycles < options.cycles and not arena.broken:
                    arena.cycle()
                arena.wait_for(len(arena.acknowledged) + APPENDS)
            finally:
                arena.end()
            arena.recover()
            arena.check()
    except Absent as reason:
        finish(options, {"skipped": str(reason)}, [])
    finish(options, vars(totals), arena.broken)


if __name__ == "__main__":
    main()
