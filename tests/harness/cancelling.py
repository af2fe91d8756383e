"""Cancels async calls at every moment: before they begin, while they wait, while their thread runs, when they are done.

Each call of a session and of a store is cancelled after some steps of the event loop, after a random time, and by a
timeout of zero, in asyncio and in trio; and so is `close`. Afterwards the next call works at once, what the session has
in memory is what is stored, an append that was cancelled is stored once or not at all, and once when it is repeated
with its id. In the end, no descriptor, no connection and no thread is left.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from convtree import CompactionEntry, ConvtreeError, aio
from convtree import open_store as open_sync

from . import sabotage
from .common import arguments, finish
from .samples import message
from .servers import new_database

trio: Any
try:
    trio = import_module("trio")
except ImportError:
    trio = None

_STEPS = 6  # of the event loop, before which a call is cancelled
_NEXT_S = 20.0  # the next call must have ended by then
_THREADS = 16

Call = Callable[["Case"], Awaitable[Any]]


@dataclass
class Case:
    """A session that is open, its store, and the id of what the call appends."""

    store: Any
    session: Any
    id: str  # of the session
    entry: str


async def _opened(opening: Any) -> None:
    async with opening:
        pass


async def _shared(case: Case) -> None:
    async with case.store.session(case.id) as session:
        await session.append(message(case.entry), on_stale="rebase")


async def _all_records(case: Case) -> None:
    async for _ in case.session.records():
        pass


async def _compacted(case: Case) -> None:
    async def summarise(_: Any) -> str:
        await _sleep(0.001)
        return "s"

    await case.session.compact(summarise, keep_tokens=1)


async def _together(case: Case) -> None:
    """Several calls on one session, the second of which is an error."""
    first = case.session.append(message(case.entry), on_stale="rebase")
    second = case.session.entry("no such entry")
    failed = False
    try:
        if _library() == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: first)
                nursery.start_soon(lambda: second)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(first)
                group.create_task(second)
    except* ConvtreeError:
        failed = True
    if failed:  # it has cancelled the first, which may be stored or not
        raise OSError("the second call was an error")


CALLS: dict[str, Call] = {
    "append": lambda case: case.session.append(message(case.entry), on_stale="rebase"),
    "append_many": lambda case: case.session.append_many([message(case.entry)], on_stale="rebase"),
    "append_compaction": lambda case: case.session.append(
        CompactionEntry(id=case.entry, summary="s", first_kept_entry_id="e0"), on_stale="rebase", parent_id="e0"
    ),
    "compact": _compacted,
    "label": lambda case: case.session.label("e0", "here"),
    "rename": lambda case: case.session.rename("name"),
    "hide": lambda case: case.session.hide("e1"),
    "refresh": lambda case: case.session.refresh(),
    "context": lambda case: case.session.build_context(),
    "path": lambda case: case.session.path(),
    "records": _all_records,
    "outline": lambda case: case.session.outline(),
    "together": _together,
    "open": lambda case: _opened(case.store.open(case.id)),
    "create": lambda case: _opened(case.store.create()),
    "fork": lambda case: _opened(case.store.fork(case.id)),
    "shared": _shared,
    "list": lambda case: case.store.list(),
    "search": lambda case: case.store.search("said"),
    "usage": lambda case: case.store.usage(),
    "vacuum": lambda case: case.store.vacuum(case.id),
}
_APPENDS = ("append", "append_many", "together", "shared")


# --- two libraries ------------------------------------------------------------------------------------------------


def _library() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"


async def _sleep(seconds: float) -> None:
    await (trio.sleep(seconds) if _library() == "trio" else asyncio.sleep(seconds))


async def cancelled(call: Callable[[], Awaitable[Any]], moment: float) -> str:
    """Makes a call and cancels it: after -moment steps of the loop, or after so many seconds. Says how it ended."""
    ended = "cancelled"

    async def run() -> None:
        nonlocal ended
        try:
            await call()
            ended = "done"
        except (ConvtreeError, OSError) as error:
            ended = f"raised {error!r}"

    async def wait() -> None:
        if moment > 0:
            await _sleep(moment)
            return
        for _ in range(round(-moment)):
            await _sleep(0)

    if _library() == "trio":
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await wait()
                scope.cancel()
        return ended
    if moment == 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await run()
        return ended
    task = asyncio.ensure_future(run())
    await wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return ended


async def in_time(waiting: Awaitable[Any]) -> Any:
    """Awaits; raises TimeoutError if that takes too long."""
    if _library() == "trio":
        with trio.fail_after(_NEXT_S):
            return await waiting
    return await asyncio.wait_for(waiting, _NEXT_S)


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    cancelled: int = 0  # calls
    ended: dict[str, int] = field(default_factory=dict)
    stored: int = 0  # appends that were cancelled, and stored nevertheless
    repeated: int = 0
    places: list[str] = field(default_factory=list)
    libraries: int = 1 + (trio is not None)


async def attack(case: Case, name: str, moment: float, totals: Totals) -> str | None:
    """Cancels a call and looks at what it has left; returns what is wrong."""
    ended = await cancelled(lambda: CALLS[name](case), moment)
    totals.cancelled += 1
    kind = ended.split()[0]
    totals.ended[kind] = totals.ended.get(kind, 0) + 1
    if kind == "raised" and name != "together":
        return ended
    if name in _APPENDS:
        before = [each async for each in _ids(case)].count(case.entry)
        totals.stored += before and kind == "cancelled"
        if before > 1 or (kind == "done" and before != 1):
            return f"it {ended}, and the entry is there {before} times"
        await in_time(case.session.append(message(case.entry), on_stale="rebase"))
        totals.repeated += 1
        after = [each async for each in _ids(case)].count(case.entry)
        if after != 1:
            return f"it {ended}, and after it was repeated the entry is there {after} times"
    await in_time(case.session.append(message(f"{case.entry}.next"), on_stale="rebase"))
    here = [each async for each in _ids(case)]
    async with case.store.open(case.id, read_only=True) as other:
        stored = [record.id async for _, record in other.records()]
    await in_time(case.store.list(limit=1))
    return None if here == stored else f"it {ended}, and in memory are {len(here)} records, stored {len(stored)}"


async def _ids(case: Case) -> Any:
    await in_time(case.session.refresh())
    async for _, record in case.session.records():
        yield record.id


def moments(choose: random.Random, rounds: int) -> Iterator[float]:
    yield from (-float(steps) for steps in range(_STEPS))
    yield from (10 ** choose.uniform(-4.5, -2.2) for _ in range(rounds))


async def run(url: str, options: Any, choose: random.Random, totals: Totals, broken: list[str]) -> None:
    """Cancels every call at every moment in one store; then cancels the close."""
    store = await aio.open_store(url, durability="process")
    number = 0
    for name in CALLS:
        session = await store.create()
        await session.append_many([message("e0"), message("e1")])
        for moment in moments(choose, options.rounds):
            number += 1
            try:
                wrong = await attack(Case(store, session, session.id, f"x{number}"), name, moment, totals)
            except TimeoutError:
                wrong = "the next call hangs"
            if wrong is not None:
                broken.append(f"{url.partition(':')[0]}, {_library()}, {name} at {moment:.6f}: {wrong}")
        await cancelled(session.close, choose.choice(list(moments(choose, 2))))
        await in_time(session.close())
    await cancelled(store.close, -1.0)
    await in_time(store.close())


@contextmanager
def stores(root: Path) -> Iterator[dict[str, str]]:
    """Gives the URLs of empty stores, one of them on a PostgreSQL server if there is one."""
    urls = {"memory": "memory:", "folder": str(root / "folder"), "sqlite": f"sqlite:///{root}/s.db"}
    with ExitStack() as ends:
        if server := os.environ.get("CONVTREE_TEST_PG"):
            urls["postgres"] = ends.enter_context(new_database(server)).replace("+psycopg", "")
            open_sync(urls["postgres"], create=True).close()
        yield urls


def left(before: int) -> str | None:
    """Waits for what is closed in the background; says what is left."""
    until = time.monotonic() + 10
    while True:
        found = len(os.listdir("/dev/fd"))
        if found <= before and threading.active_count() <= _THREADS + 1:
            return None
        if time.monotonic() > until:
            names = [os.readlink(f"/dev/fd/{fd}") for fd in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{fd}")]
            return f"{found} descriptors instead of {before}, {threading.active_count()} threads: {names[-3:]}"
        time.sleep(0.02)


def main() -> None:
    options = arguments(__doc__ or "", rounds=20)
    sabotage.apply(options.sabotage)
    choose, totals, broken = random.Random(options.seed), Totals(), list[str]()
    with tempfile.TemporaryDirectory() as root, stores(Path(root)) as urls:
        totals.places = list(urls)
        for name, url in urls.items():
            for library in ("asyncio", "trio") if trio is not None else ("asyncio",):
                _warm_up(library)
                before = len(os.listdir("/dev/fd"))
                gc.disable()  # what only the garbage collector closes is a leak
                work = partial(run, url, options, choose, totals, broken)
                asyncio.run(work()) if library == "asyncio" else trio.run(work)
                wrong = left(before)
                gc.enable()
                if wrong is not None:
                    broken.append(f"{name}, {library}: {wrong}")
                gc.collect()
            if broken and options.sabotage:
                break  # one proof is enough
    finish(options, vars(totals), broken)


def _warm_up(library: str) -> None:
    """Runs the library once: what it keeps open stays open."""

    async def nothing() -> None:
        async with aio.open_store("memory:"):
            pass

    asyncio.run(nothing()) if library == "asyncio" else trio.run(nothing)


if __name__ == "__main__":
    main()
