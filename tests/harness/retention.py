"""Kills (SIGKILL) writers, pruners and deleters of one store at random moments, again and again.

A store has old families: a session and its sub-agents'. Two writers append to sessions and begin sub-agents', one
process prunes what is older than a day, one deletes the families whose names begin with `d`. A cycle kills some of
them; new ones take their places, and the store is read.

What a writer was told is stored must be there, with two exceptions: its family was deleted by name, and that deletion
had not judged the family yet when the append began. All processes report times of one clock for that.

Every entry has a cost of 1. So what the store and its ledger say was used is the number of entries that were ever
stored: those acknowledged, and perhaps those that a writer was appending when it was killed.

With `--sqlite` the store is an SQLite database, with `--postgres` a PostgreSQL server's (a private one, or
CONVTREE_TEST_PG). Otherwise it is a folder.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from convtree import ConvtreeError, ParentSession, SessionStore, open_store

from .common import apart, arguments, finish, keep
from .kill import Child, start
from .servers import new_database, postgres_server

WRITERS = 2
FAMILIES = 8  # old ones that are added at a time
EVERY = 5  # cycles between new families
ROUND = 20  # cycles in one store: later, all its families are young
DAY_S = 86400

Say = Callable[[str], None]


# --- the processes that are killed --------------------------------------------------------------------------------


def opened(url: str, age_s: float = 0) -> SessionStore:
    """Opens the store as it was opened so long ago."""
    return open_store(
        url, create=True, durability="process", lock_timeout_s=60, clock=lambda: time.time_ns() - round(age_s * 1e9)
    )


def message(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def write(url: str, say: Say, prefix: str, seed: int) -> NoReturn:
    """Appends to sessions and begins sub-agents' until it is killed.

    `?` announces an append, `x` says that it was refused, `!` acknowledges it: id, entry, when it began.
    """
    choose = random.Random(seed)
    store, number = opened(url), 0
    while True:
        ids = [info.id for info in store.list(tasks=True, limit=None)]
        for id in choose.sample(ids, min(len(ids), 2)):
            number += 1
            entry, began = f"{prefix}.{number}", time.monotonic_ns()
            say("?")
            try:
                if choose.random() < 0.3 and len(ids) < 60:
                    parent = ParentSession(id=id, kind="task")
                    session = store.create(id=f"{id.split('.')[0]}.{prefix}.{number}", parent_session=parent)
                else:
                    session = store.open(id)
                with session:
                    session.append(message(entry), id=entry, on_stale="branch", usage={"output_tokens": 1})
            except ConvtreeError:
                say("x")
                continue  # it was deleted
            say(f"!{session.id} {entry} {began}")
        time.sleep(0.005)  # so that some families stay old


def prune(url: str, say: Say) -> NoReturn:
    """Prunes until it is killed; `p` says how many sessions went."""
    store = opened(url)
    while True:
        pruned = store.prune(max_age=DAY_S, dry_run=False)
        if pruned:
            say(f"p{len(pruned)}")
        time.sleep(0.001)


def delete(url: str, say: Say, seed: int) -> NoReturn:
    """Deletes families until it is killed; `d` says which root, and when all of them had been judged."""
    choose = random.Random(seed)
    store = opened(url)
    backend: Any = store._backend
    original = backend.delete

    def announced(ids: Sequence[str], expected: Any = None) -> Any:
        say(f"d{ids[-1]} {time.monotonic_ns()}")
        return original(ids, expected)

    backend.delete = announced
    while True:
        roots = [info.id for info in store.list(limit=None) if info.id.startswith("d")]
        if roots and choose.random() < 0.5:
            try:
                store.delete(choose.choice(roots))
                say("D")
            except ConvtreeError:
                continue  # it changed, or is gone
        time.sleep(0.002)


def seed_families(url: str, round: int) -> None:
    """Adds old families."""
    with opened(url, 10 * DAY_S) as store:
        for number in range(FAMILIES):
            root = f"{'d' if number % 2 else 's'}{round}x{number}"
            for id, parent in {root: None, f"{root}.t": root, f"{root}.u": f"{root}.t"}.items():
                above = None if parent is None else ParentSession(id=parent, kind="task")
                with store.create(id=id, parent_session=above) as session:
                    session.append(message("old"))


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    cycles: int = 0
    kills: int = 0
    acknowledged: int = 0
    pruned: int = 0
    deleted: int = 0
    excused: int = 0  # appends that went with a family that was deleted by name
    lost: int = 0
    unreadable: int = 0
    ledger: int = 0  # entries whose cost is in a ledger


@dataclass
class Arena:
    """A store, the processes that use it, and what they have reported."""

    url: str
    choose: random.Random
    variant: str | None
    totals: Totals
    children: dict[str, Child] = field(default_factory=dict)
    stored: dict[tuple[str, str], int] = field(default_factory=dict)  # (id, entry): when the append began
    open: int = 0  # appends that were announced, and neither acknowledged nor refused
    judged: dict[str, int] = field(default_factory=dict)  # root: when it was judged last
    broken: list[str] = field(default_factory=list)
    started: int = 0

    def begin(self, role: str) -> None:
        """Starts the process of a role."""
        self.started += 1
        prefix, seed = f"w{self.started}", self.choose.getrandbits(32)

        def work(say: Say) -> NoReturn:
            if role == "prune":
                prune(self.url, say)
            elif role == "delete":
                delete(self.url, say, seed)
            write(self.url, say, prefix, seed)

        self.children[role] = start(work, True, self.variant)

    def cycle(self) -> list[str]:
        """Kills some processes at a random moment, and starts others in their places."""
        time.sleep(self.choose.uniform(0.01, 0.15))
        alike = sorted(self.children, key=lambda role: (role in ("prune", "delete"), self.choose.random()))
        dead = alike[: self.choose.choice((1, 1, 2, 2, 3, 4))]  # a deletion takes longer, so it is killed less often
        for role in dead:
            os.kill(self.children[role].pid, signal.SIGKILL)
        for role in dead:
            os.waitpid(self.children[role].pid, 0)
            self.listen(role)
            os.close(self.children[role].pipe)
        for role in set(self.children) - set(dead):
            self.listen(role)
        self.totals.kills += len(dead)
        for role in dead:
            self.begin(role)
        return self.broken

    def end(self) -> None:
        """Kills all processes."""
        for role, child in self.children.items():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            self.listen(role)
            os.close(child.pipe)
        self.children.clear()

    def listen(self, role: str) -> None:
        """Takes in what a process has reported."""
        for line in self.children[role].listen():
            kind, rest = line[0], line[1:].split()
            if kind in "?!x":
                self.open += 1 if kind == "?" else -1
            if kind == "!":
                self.stored[rest[0], rest[1]] = int(rest[2])
            elif kind in "?x":
                continue
            elif kind == "d":
                root = rest[0].split(".")[0]
                self.judged[root] = max(self.judged.get(root, 0), int(rest[1]))
            elif kind == "D":
                self.totals.deleted += 1
            elif kind == "p":
                self.totals.pruned += int(rest[0])
            else:
                self.broken.append(f"the process {role} raised {line[1:]}")

    def check(self) -> list[str]:
        """Reads the store when all processes are dead; returns what is wrong or missing."""
        expected = self.stored
        there: dict[str, set[str]] = {}
        with opened(self.url) as store:
            for id in sorted({id for id, _ in expected}):
                try:
                    with store.open(id, read_only=True) as session:
                        found = [each.code for each in session.findings if each.code != "torn_tail"]
                        self.broken += [f"{id}: finding {code}" for code in found]
                        there[id] = {record.id for _, record in session.records()}
                except ConvtreeError as error:
                    if type(error).__name__ != "SessionNotFound":
                        self.totals.unreadable += 1
                        self.broken.append(f"{id}: opening raised {error!r}")
            used = sum(row.usage.output_tokens for row in store.usage())
            gone = sum(row.usage.output_tokens for row in store.ledger())
        self.totals.ledger += gone
        if not len(expected) <= used + gone <= len(expected) + self.open:
            self.broken.append(
                f"{len(expected)} entries were acknowledged, {self.open} may be stored; the store has {used}, the "
                f"ledger {gone}"
            )
        for (id, entry), began in expected.items():
            if entry in there.get(id, ()):
                continue
            if began <= self.judged.get(id.split(".")[0], 0):
                self.totals.excused += 1
            else:
                self.totals.lost += 1
                self.broken.append(f"acknowledged and lost: {entry} of {id}")
        self.totals.acknowledged += len(expected)
        return self.broken


@contextmanager
def places(options: Any, folder: Path) -> Iterator[Callable[[int], AbstractContextManager[str]]]:
    """Gives the URLs of empty stores, by number, each as long as it is used."""

    @contextmanager
    def in_folder(number: int) -> Iterator[str]:
        yield f"sqlite:///{folder}/{number}.db" if options.sqlite else str(folder / f"{number}")

    if not options.postgres:
        yield in_folder
        return
    with postgres_server() as server:
        yield lambda _: new_database(server)


def run_round(options: Any, url: str, choose: random.Random, totals: Totals) -> list[str]:
    """Uses one store for some cycles, then checks it."""
    arena = Arena(url, choose, options.sabotage, totals)
    apart(partial(seed_families, url, totals.cycles))
    for role in (*(f"write{number}" for number in range(WRITERS)), "prune", "delete"):
        arena.begin(role)
    try:
        for number in range(min(ROUND, options.cycles - totals.cycles)):
            if number and number % EVERY == 0:
                apart(partial(seed_families, url, totals.cycles))
            totals.cycles += 1
            if arena.cycle():
                break
    finally:
        arena.end()
    return arena.check()


class Counted(Protocol):
    """The totals of a harness; `cycles` grows in each round."""

    cycles: int


C = TypeVar("C", bound=Counted)


def run_rounds(
    name: str, description: str, totals: C, run_round: Callable[[Any, str, random.Random, C], list[str]]
) -> NoReturn:
    """Runs rounds, each in a new store, until enough cycles are done or a promise was broken; then reports."""
    options = arguments(description, ["sqlite", "postgres"], cycles=60)
    folder = Path(tempfile.mkdtemp(prefix=f"convtree-{name}-"))
    choose, broken = random.Random(options.seed), list[str]()
    if options.sqlite or options.postgres:
        import_module("sqlite3" if options.sqlite else "sqlalchemy.dialects.postgresql.psycopg")
    gc.freeze()
    try:
        with places(options, folder) as place:
            while totals.cycles < options.cycles and not broken:
                with place(totals.cycles) as url:
                    broken = run_round(options, url, choose, totals)
            if broken:
                keep(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish(options, vars(totals), broken)


def main() -> None:
    run_rounds("retention", __doc__ or "", Totals(), run_round)


if __name__ == "__main__":
    main()
