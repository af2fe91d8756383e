"""Interrupts every public operation at every bytecode instruction, over a file, a folder, SQLite, PostgreSQL, memory.

A trace function raises where an instruction of convtree is about to run: KeyboardInterrupt, or another exception that
may come anywhere. While its traceback is kept, and without a garbage collection: no lock is held by anything, the next
call works at once, the session is as a fresh reader finds the log, nothing acknowledged is lost or there twice. In the
end no descriptor is left open.

Not covered, because no instruction is there: the inside of functions in C, such as a write that was done in part (see
`faults` and `kill` for these). A second interrupt while the first is handled is not made. With `--everywhere`, the
instructions of other packages count, too.
"""

from __future__ import annotations

import builtins
import fcntl
import gc
import os
import random
import shutil
import sqlite3
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import convtree
from convtree import ConvtreeError, MessageEntry, Session, SessionLocked, open_store
from convtree.exchange import export_file, import_file, import_into
from convtree.stores._folder import LEDGER

from . import sabotage
from .common import arguments, finish
from .samples import folder
from .servers import new_postgres

PACKAGE = str(Path(convtree.__file__).parent) + os.sep
TIMEOUT_S = 0.25  # for locks: they must be free at once
PATIENCE_S = 20  # for a call that must not block
PLACES = ("memory", "file", "folder", "sqlite", "postgres")
_ENOUGH = 30  # broken promises after which the sweep stops


# --- interrupting -------------------------------------------------------------------------------------------------


class Tripwire:
    """Counts instructions, and raises before the one with number `at`; never if that is 0."""

    def __init__(self, error: type[BaseException], at: int = 0, *, everywhere: bool = False) -> None:
        self.seen: dict[tuple[Any, int], list[int]] = {}  # by instruction: the numbers it had, if none is to raise
        self.count = 0
        self.where = ""  # it was raised
        self._error, self._at, self._everywhere = error, at, everywhere
        # Kept here: CPython 3.11 crashed where it alone held the method, which was freed and then called.
        self._on_call, self._on_trace = self._called, self._traced

    def run(self, act: Callable[[], Any]) -> None:
        """Calls `act` while it counts."""
        before = sys.gettrace()  # that of a coverage measurement
        sys.settrace(self._on_call)
        try:
            act()
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE) and not (self._everywhere and _may_interrupt(file)):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._on_trace

    def _traced(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            self.count += 1
            if not self._at:
                self.seen.setdefault((frame.f_code, frame.f_lasti), []).append(self.count)
            elif self.count == self._at:
                sys.settrace(None)
                code = frame.f_code
                self.where = f"{code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {code.co_name}+{frame.f_lasti}"
                raise self._error
        return self._on_trace


def _may_interrupt(file: str) -> bool:
    """Returns whether the instructions of a file of another package count: not those of the import system and ours."""
    return not file.startswith("<") and "/tests/" not in file


# --- the places ---------------------------------------------------------------------------------------------------


class World:
    """A place with a session that has a few entries, and another session; both are open in no other process."""

    def __init__(self, place: str, home: Path, server: str | None) -> None:
        self.place = place
        self.home = home
        self.url = {"folder": str(home / "store"), "sqlite": f"sqlite:///{home / 'store.db'}"}.get(place, "memory:")
        self.prefix = ""
        if server is not None:
            self.url, self.prefix = server, f"w{os.urandom(6).hex()}"
        self.store: Any = None
        self.session: Any = None
        self.acknowledged: dict[str, list[str]] = {}  # by session: ids that `append` has returned
        self.gone: set[str] = set()  # sessions that the operation may delete
        self.before: Any = None  # what the session knew
        self.results: list[Any] = []  # what an operation returned, and must be closed

    def id(self, name: str) -> str:
        return self.prefix + name

    @property
    def path(self) -> Path:
        return self.home / "log.jsonl"

    def open_store(self) -> Any:
        return open_store(self.url, durability="process", lock_timeout_s=TIMEOUT_S, create=True)

    def open(self) -> Any:
        """Opens the session."""
        if self.place == "file":
            return Session.open(self.path, durability="process", lock_timeout_s=TIMEOUT_S)
        return self.store.open(self.id("s"))

    def reader(self) -> Any:
        """Opens the session as another process would."""
        if self.place == "file":
            return Session.open(self.path, mode="r")
        if self.place == "memory":
            return self.store.open(self.id("s"), read_only=True)
        return self.fresh().open(self.id("s"), read_only=True)

    def fresh(self) -> Any:
        """Opens the store as another process would."""
        store = self.open_store()
        self.results.append(store)
        return store

    def begin(self) -> None:
        if self.place == "file":
            self.session = Session.open(self.path, durability="process", lock_timeout_s=TIMEOUT_S, id="s")
        else:
            self.store = self.open_store()
            for name in ("t", "u"):
                with self.store.create(id=self.id(name), owner="me", cwd="/x") as other:
                    self.acknowledge(other, other.append(message(name), id=f"{name}1"))
            self.session = self.store.create(id=self.id("s"), owner="me", cwd="/x")
        entries = [MessageEntry(id=f"e{n}", message=message(f"question {n}")) for n in range(4)]
        self.acknowledge(self.session, *self.session.append_many(entries))
        self.session.append(message("on the side"), id="side", parent_id="e1")
        self.session.branch("e3")
        self.session.label("e1", "here")

    def acknowledge(self, session: Any, *entries: Any) -> None:
        self.acknowledged.setdefault(session.id, []).extend(entry.id for entry in entries)

    def end(self) -> None:
        for each in (*self.results, self.session, self.store):
            if each is not None:
                with suppress(ConvtreeError, OSError):
                    each.close()


@contextmanager
def worlds(place: str, server: str | None) -> Iterator[Callable[[], World]]:
    """Gives a function that makes a new world at a place."""
    with folder() as home:
        made = 0

        def make() -> World:
            nonlocal made
            made += 1
            if made > 1:
                shutil.rmtree(home / str(made - 1), ignore_errors=True)
            (home / str(made)).mkdir()
            world = World(place, home / str(made), server)
            if place == "sqlite":
                shutil.copy(template, world.home / "store.db")
            world.begin()
            return world

        template = home / "template.db"
        if place == "sqlite":
            open_store(f"sqlite:///{template}").close()
        yield make


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


# --- operations ---------------------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """An operation: what is prepared, and the act that is interrupted. It may be repeated."""

    name: str
    act: Callable[[World], Any]
    prepare: Callable[[World], Any] = lambda _: None
    places: tuple[str, ...] = PLACES
    deletes: tuple[str, ...] = ()
    refused: bool = False  # the repetition may be refused, because the interrupted call took effect


STORES = ("memory", "folder", "sqlite", "postgres")


def _append(world: World) -> None:
    world.acknowledge(world.session, world.session.append(message("new"), id="new", on_stale="rebase"))


def _append_many(world: World) -> None:
    entries = [MessageEntry(id=f"many{n}", message=message(f"many {n}")) for n in range(3)]
    world.acknowledge(world.session, *world.session.append_many(entries, on_stale="rebase"))


def _news(world: World) -> None:
    with world.open() as other:
        world.acknowledge(
            other, *other.append_many([MessageEntry(id=f"news{n}", message=message("")) for n in range(3)])
        )


def _listed_news(world: World) -> None:
    world.store.list()
    _news(world)


def _replaced(world: World) -> None:
    """Puts a log with more entries in the place of the session's."""
    _news(world)
    if world.place == "file":
        copy = world.path.with_suffix(".copy")
        shutil.copyfile(world.path, copy)
        copy.rename(world.path)
    else:
        with world.open() as other:
            other.append(message("off"), id="off", parent_id="e0", move_leaf=False)
        assert world.store.vacuum(world.id("s"), ["news2"], dry_run=False, remove_original=True).done


def _open(world: World) -> None:
    world.results.append(world.open())
    world.results[-1].leaves()


def _open_store(world: World) -> None:
    world.results.append(world.open_store())
    world.results[-1].list()


def _create(world: World) -> None:
    if world.place == "file":
        session = Session.open(world.home / "new.jsonl", mode="x", lock_timeout_s=TIMEOUT_S, id="new")
    else:
        session = world.store.create(id=world.id("new"))
    world.results.append(session)
    world.acknowledge(session, session.append(message("first"), id="first"))


def _append_to_created(world: World) -> None:
    session = world.results[0]
    world.acknowledge(session, session.append(message("first"), id="first", on_stale="rebase"))


def _created(world: World) -> None:
    if world.place == "file":
        world.results.append(Session.open(world.home / "new.jsonl", mode="x", lock_timeout_s=TIMEOUT_S, id="new"))
    else:
        world.results.append(world.store.create(id=world.id("new")))


def _fork(world: World) -> None:
    if world.place == "file":
        world.results.append(world.session.fork(world.home / "fork.jsonl"))
    else:
        world.results.append(world.store.fork(world.id("s"), new_id=world.id("fork")))


def _shared(world: World) -> None:
    with world.store.session(world.id("s")) as session:
        world.acknowledge(session, session.append(message("new"), id="new", on_stale="rebase"))


def _import(world: World) -> None:
    source = world.home / "source.pi"
    if world.place == "file":
        import_file(source, world.home / "imported.jsonl")
    else:
        list(import_into(source, world.store))


def _exported(world: World) -> None:
    export_file(world.session, world.home / "source.pi", "pi", replace=True)


def _copy(world: World) -> None:
    world.results.append(world.store.copy(world.id("s"), world.id("c")))


def _prune(world: World) -> None:
    world.store.prune(keep=1, owner="me", dry_run=False)


def _vacuum(world: World) -> None:
    world.store.vacuum(world.id("s"), dry_run=False, remove_original=True)


def _copy_to(world: World) -> None:
    with open_store(world.home / "copy", durability="process", lock_timeout_s=TIMEOUT_S) as target:
        world.store.copy_to(target)


def _compact(world: World) -> None:
    world.session.compact(lambda _: "so far", keep_tokens=1)


OPERATIONS = (
    Operation("append", _append),
    Operation("append_many", _append_many),
    Operation("append with news", _append, _news),
    Operation("append to a replaced log", _append, _replaced),
    Operation("first append", _append_to_created, _created),
    Operation("create", _create, refused=True),
    Operation("extend", lambda w: w.session.extend([MessageEntry(id="x", parent_id="e3", message=message("x"))])),
    Operation("branch", lambda w: w.session.branch("e1")),
    Operation("branch with a summary", lambda w: w.session.branch("e1", summary="no good", id="sum")),
    Operation("checkout", lambda w: w.session.checkout("e1")),
    Operation("label", lambda w: w.session.label("e2", "there")),
    Operation("hide", lambda w: w.session.hide("e2")),
    Operation("pin", lambda w: w.session.pin("e2")),
    Operation("rename", lambda w: w.session.rename("Trip")),
    Operation("archive", lambda w: w.session.archive()),
    Operation("hold", lambda w: w.session.hold()),
    Operation("set_system", lambda w: w.session.set_system("Be brief.", on_stale="rebase")),
    Operation("update_metadata", lambda w: w.session.update_metadata({"a": 1})),
    Operation("compact", _compact, refused=True),
    Operation("refresh", lambda w: w.session.refresh(), _news),
    Operation("refresh of a replaced log", lambda w: w.session.refresh(), _replaced),
    Operation("build_context", lambda w: w.session.build_context()),
    Operation("path", lambda w: w.session.path()),
    Operation("records", lambda w: list(w.session.records())),
    Operation("branches", lambda w: w.session.branches()),
    Operation("close", lambda w: w.session.close()),
    Operation("open", _open),
    Operation("fork", _fork, refused=True),
    Operation("export", _exported),
    Operation("import", _import, _exported),
    Operation("open_store", _open_store, places=STORES),
    Operation("list", lambda w: w.store.list(), places=STORES),
    Operation("list with news", lambda w: w.store.list(), _listed_news, places=STORES),
    Operation("search", lambda w: w.store.search("question"), places=STORES),
    Operation("info", lambda w: w.store.info(w.id("s")), places=STORES),
    Operation("usage", lambda w: w.store.usage(), places=STORES),
    Operation("findings", lambda w: w.store.findings, places=STORES),
    Operation("a shared session", _shared, places=STORES),
    Operation("store.rename", lambda w: w.store.rename(w.id("s"), "Trip"), places=STORES),
    Operation("store.copy", _copy, places=STORES, refused=True),
    Operation("copy_to", _copy_to, places=STORES),
    Operation("delete", lambda w: w.store.delete(w.id("t")), places=STORES, deletes=("t",), refused=True),
    Operation("erase", lambda w: w.store.erase(w.id("t")), places=STORES, deletes=("t",), refused=True),
    Operation("prune", _prune, places=STORES, deletes=("s", "t", "u")),
    Operation("vacuum", _vacuum, places=STORES, deletes=("side",)),
    Operation("store.close", lambda w: w.store.close(), places=STORES[1:]),
)


# --- the oracle ---------------------------------------------------------------------------------------------------


def state_of(session: Any) -> dict[str, Any]:
    """Returns what a session says of its log."""
    known = index_of(session)
    assert len(known["records"]) == len({*known["records"]}), "an id is there twice"
    context = [each.id for each in session.build_context().entries]
    return {**known, "leaf": session.leaf_id, "context": context}


def index_of(session: Any) -> dict[str, Any]:
    """Returns what a session knows of its log without reading news."""
    return {
        "records": [record.id for _, record in session.records()],
        "leaves": sorted(each.id for each in session.leaves()),
        "labels": dict(session.labels),
        "name": session.name,
    }


def held_locks(world: World) -> list[str]:
    """Returns what another process could not lock now."""
    held = []
    for path in (*world.home.rglob("*.jsonl"), *world.home.rglob(LEDGER)):
        fd = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(f"the lock of {path.name} is held")
        finally:
            os.close(fd)
    for path in world.home.rglob("*"):
        if path.is_file() and path.stat().st_size and path.read_bytes()[:15] == b"SQLite format 3":
            held += _held_sqlite(path)
    if world.place == "postgres":
        if out := len(world.store._backend._database._connections.used):
            held.append(f"{out} connections are in use")
        held += _held_postgres(world)
    return held


def _held_sqlite(path: Path) -> list[str]:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        return []
    except sqlite3.OperationalError as error:
        return [f"{path.name}: {error}"]
    finally:
        connection.close()


def _held_postgres(world: World) -> list[str]:
    import psycopg

    with psycopg.connect(world.url.replace("+psycopg", ""), autocommit=True) as connection:
        query = (
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND state IN ('idle in transaction', 'idle in transaction (aborted)', 'active')"
        )
        for _ in range(50):  # the server notices a closed connection a moment later
            rows = connection.execute(query).fetchall()
            if not rows:
                return []
            connection.execute("SELECT pg_sleep(0.01)")
        return [f"a backend is {state}: {text[:60]}" for state, text in rows]


def in_another_thread(act: Callable[[], Any]) -> str | None:
    """Calls `act` in another thread; returns what went wrong."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if thread.is_alive():
        return "blocks: a lock of a thread is held"
    return f"raised {failed[0]!r}" if failed else None


def judge(world: World, operation: Operation, interrupted: bool) -> list[str]:
    """Returns every promise that is broken after an operation."""
    broken = held_locks(world)
    session, store = world.session, world.store
    closing = operation.name in ("close", "store.close")
    if not closing:
        if store is not None and (problem := in_another_thread(store.list)):
            broken.append(f"list in another thread {problem}")
        if world.id("s") not in world.gone and (problem := in_another_thread(session.leaves)):
            broken.append(f"leaves in another thread {problem}")
    elif interrupted:
        try:
            operation.act(world)  # again
        except Exception as error:
            broken.append(f"closing again raised {error!r}")
    if broken:
        return broken  # what follows would wait for locks
    if not closing and interrupted and world.id("s") not in world.gone:
        broken += _compare_at_once(world, session)
    if not closing and interrupted:
        broken += _repeat(world, operation)
    if operation.name == "store.close":
        world.store = world.open_store()
    if closing:
        session = world.session = world.open()
    there = world.id("s") not in world.gone or _exists(world)
    if there:
        broken += _append_and_compare(world, session)
    broken += _compare_store(world) if store is not None else []
    return broken


def _compare_at_once(world: World, session: Any) -> list[str]:
    """Compares what a session knows before it writes or refreshes: it may be of before the call, but not a part."""
    with world.reader() as reader:
        theirs = index_of(reader)
    mine = index_of(session)
    return [] if mine in (world.before, theirs) else [f"the session knows {mine}; the log has {theirs}"]


def _repeat(world: World, operation: Operation) -> list[str]:
    try:
        operation.act(world)
    except SessionLocked as error:
        return [f"the same call again is locked out: {error}"]
    except ConvtreeError as error:
        return [] if operation.refused else [f"the same call again raised {error!r}"]
    except Exception as error:
        return [f"the same call again raised {error!r}"]
    return []


def _exists(world: World) -> bool:
    return any(each.id == world.id("s") for each in world.store.list(owner="me"))


def _append_and_compare(world: World, session: Any) -> list[str]:
    try:
        session.hold(False)
        world.acknowledge(session, session.append(message("on we go"), id="next", on_stale="rebase"))
        mine = state_of(session)
        with world.reader() as reader:
            theirs = state_of(reader)
            findings = [each.code for each in reader.findings]
    except Exception as error:
        return [f"then an append or a read raised {error!r}"]
    broken = [f"{key}: {mine[key]} in memory, {theirs[key]} in the log" for key in mine if mine[key] != theirs[key]]
    return broken + [f"finding {code}" for code in findings]


def _compare_store(world: World) -> list[str]:
    broken = []
    try:
        fresh = world.store if world.place == "memory" else world.fresh()
        for id, entries in world.acknowledged.items():
            try:
                with fresh.open(id, read_only=True) as session:
                    ids = [record.id for _, record in session.records()]
            except ConvtreeError as error:
                if id not in world.gone:
                    broken.append(f"acknowledged session {id} is lost: {error!r}")
                continue
            lost = [each for each in entries if ids.count(each) != 1]
            broken += [f"acknowledged entry {each} of {id} is there {ids.count(each)} times" for each in lost]
        if world.place == "folder":
            fresh._backend.forget_catalogue()
        known, truth = _listing(world.store, world), _listing(fresh, world)
        if known != truth:
            broken.append(f"the list says {known}, a fresh one {truth}")
    except Exception as error:
        broken.append(f"reading the store raised {error!r}")
    return broken


def _listing(store: Any, world: World) -> Any:
    found = [each for each in store.list(limit=None, archived=None) if each.id.startswith(world.prefix)]
    hits = [hit for hit in store.search("question", limit=100) if hit.session_id.startswith(world.prefix)]
    return sorted(map(repr, found)), sorted((hit.session_id, hit.entry_id) for hit in hits)


# --- the sweep ----------------------------------------------------------------------------------------------------


def chosen(wire: Tripwire, options: Any, choose: random.Random) -> list[int]:
    """Returns the numbers at which to interrupt: of all instructions, their first and last time, or a sample."""
    numbers = sorted({number for seen in wire.seen.values() for number in (seen[0], seen[-1])})
    if options.every == 1:
        numbers = list(range(1, wire.count + 1))
    elif options.every > 1:
        numbers = numbers[choose.randrange(min(options.every, len(numbers))) :: options.every]
    if options.points and len(numbers) > options.points:
        numbers = sorted(choose.sample(numbers, options.points))
    return numbers


def interrupt(make: Callable[[], World], operation: Operation, wire: Tripwire) -> list[str]:
    """Does an operation in a new world, interrupted; returns every broken promise."""
    before = descriptors()
    broken = _interrupt(make(), operation, wire)
    gc.collect()
    if (left := descriptors() - before) > 0:
        broken.append(f"{left} descriptors are still open")
    return broken


def _interrupt(world: World, operation: Operation, wire: Tripwire) -> list[str]:
    world.before = index_of(world.session)
    operation.prepare(world)
    world.gone = {world.id(each) for each in operation.deletes}
    error: BaseException | None = None
    try:
        wire.run(lambda: operation.act(world))
    except BaseException as raised:
        error = raised  # kept, with its traceback, until everything was looked at
        if not wire.where:
            raise
    try:
        return judge(world, operation, error is not None)
    finally:
        world.end()
        error = None


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def sweep(place: str, server: str | None, options: Any) -> Iterator[tuple[str, list[str]]]:
    """Interrupts every operation at a place; yields where, and what was broken."""
    error = getattr(builtins, options.error)
    wanted = options.operations.split(",") if options.operations != "all" else None
    with worlds(place, server) as make:
        for operation in OPERATIONS:
            if place not in operation.places or (wanted is not None and operation.name not in wanted):
                continue
            choose = random.Random(f"{options.seed} {place} {operation.name}")
            for _ in range(2):  # the first fills caches
                counting = Tripwire(error, everywhere=options.everywhere)
                if broken := interrupt(make, operation, counting):
                    yield f"{place}: {operation.name}, not interrupted", broken
            gc.collect()
            gc.freeze()  # so that the collections below are short
            for at in chosen(counting, options, choose):
                wire = Tripwire(error, at, everywhere=options.everywhere)
                broken = interrupt(make, operation, wire)
                yield f"{place}: {operation.name}, interrupted in {wire.where or 'a finalizer'} ({at})", broken


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("everywhere",),
        error="KeyboardInterrupt",
        every=0,
        operations="all",
        places="memory,file,folder,sqlite",
        points=0,
    )
    sabotage.apply(options.sabotage)
    warnings.simplefilter("ignore", ResourceWarning)
    sys.unraisablehook = lambda _: None  # an interrupt in a finalizer
    runs: Counter[str] = Counter()
    broken: list[str] = []
    with ExitStack() as ends:
        for place in options.places.split(","):
            server = ends.enter_context(new_postgres()) if place == "postgres" else None
            for what, problems in sweep(place, server, options):
                runs[place] += 1
                if problems:
                    broken.append(f"{what}: {problems[0]}")
                    print(f"BROKEN: {broken[-1]}", flush=True)
                if len(broken) >= _ENOUGH:
                    break
    finish(options, {"runs": runs.total(), **runs}, broken)


if __name__ == "__main__":
    main()
