"""What does a list of sessions cost, and a search? The newest 50 of a folder with many, and the first 20 hits.

Sessions have four messages. *Cold* is the first list, which reads every log. *Warm* is a list when nothing has changed.
*Changed* is a list after another process has appended to one session.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from conversation import WORDS
from harness import Figure, measure, medians, options, workplace
from report import TARGET_HEADS, Results, duration, judge, table, times

import convtree
from convtree.stores._session_store import SessionStore

_MESSAGES = 4
_APART_NS = 15 * 60 * 10**9  # the sessions were active over a few months
_CALLS = 21
_FLOOR = "os.scandir + os.stat of every log"
_FLOOR_NEW = f"{_FLOOR}, in a new process"
_NEWEST = "SELECT of the newest 50, by hand"
ROWS = {
    "list(limit=50), nothing changed": "warm",
    "list(limit=50), in a new process": "new",
    "list(limit=50), in a new process: processor time": "new_cpu",
    "list(limit=50), one session changed": "changed",
    "list(limit=50, cwd=…)": "narrowed",
    "search: a word of every message": "common",
    "search: three words of every message": "three",
    "search: a word of one session": "rare",
    "search: a word of no message": "absent",
    _FLOOR: "scan",
    _FLOOR_NEW: "bare",
    f"{_FLOOR_NEW}: processor time": "bare_cpu",
    _NEWEST: "select",
    "list(limit=50), no catalogue": "cold",
}


def make(path: str, size: int) -> Figure:
    """Creates a folder of sessions. This is not timed."""
    start_ns = time.time_ns() - size * _APART_NS
    now_ns = start_ns
    with convtree.open_store(path, durability="process", clock=lambda: now_ns) as store:
        for number in range(size):
            now_ns = start_ns + number * _APART_NS
            with store.create(name=f"session {number}", cwd=f"/home/me/project{number % 100}") as session:
                session.append_many(
                    [
                        {"role": ("user", "assistant")[turn % 2], "content": f"needle{number} {turn} {WORDS}"}
                        for turn in range(_MESSAGES)
                    ],
                    provider="openai",
                    model="gpt",
                    usage={"input_tokens": 100, "output_tokens": 10},
                )
    return {}


def cold(path: str) -> Figure:
    """Times the first list, and checks that it reports progress."""
    for suffix in ("", "-wal", "-shm"):
        Path(path, f".catalogue.sqlite{suffix}").unlink(missing_ok=True)
    reported: list[int] = []
    with convtree.open_store(path, durability="process") as store:
        start = time.perf_counter()
        store.list(progress=lambda done, _: reported.append(done))
        seconds = time.perf_counter() - start
    assert reported
    return {"cold": seconds}


def new(path: str) -> Figure:
    """Times the first list of a process, including opening the store."""
    from convtree.stores import _open as _  # noqa: F401  # imports are not counted

    start, used = time.perf_counter(), time.process_time()
    with convtree.open_store(path, durability="process") as store:
        assert len(store.list()) == 50
        return {"new": time.perf_counter() - start, "new_cpu": time.process_time() - used}


def bare(path: str) -> Figure:
    """Times the look at every log in a new process."""
    start, used = time.perf_counter(), time.process_time()
    scan(path)
    return {"bare": time.perf_counter() - start, "bare_cpu": time.process_time() - used}


def warm(path: str) -> Figure:
    """Times lists and searches, some of them after a change of one session."""
    with (
        convtree.open_store(path, durability="process") as store,
        convtree.open_store(path, durability="process") as other,
    ):
        ids = [info.id for info in store.list(limit=None)]
        numbers = count()

        def change() -> None:
            with other.open(ids[next(numbers) * 7919 % len(ids)]) as session:
                session.append({"role": "user", "content": "again"})

        return {
            "warm": timed(store.list),
            "changed": timed(store.list, change),
            "narrowed": timed(partial(store.list, cwd="/home/me/project7")),
            "common": timed(partial(searched, store, "branch", 20)),
            "three": timed(partial(searched, store, "branch context root", 20)),
            "rare": timed(partial(searched, store, f"needle{len(ids) // 2}", 1)),
            "absent": timed(partial(searched, store, "haystack", 0)),
            "scan": timed(partial(scan, path)),
            "select": select(path, store),
        }


def searched(store: SessionStore, words: str, most: int) -> None:
    """Searches, and checks that as many of the first 20 hits were found as there are."""
    found = len(store.search(words, limit=20))
    assert (min(found, most), found > 0) == (most, most > 0), f"{words}: {found} hits"


def timed(call: Callable[[], object], before: Callable[[], object] = int) -> float:
    """Returns the median of several calls, after one call that is not timed."""
    call()
    taken = []
    for _ in range(_CALLS):
        before()
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return median(taken)


def scan(path: str) -> int:
    """Calls stat on every log: the least needed to know that none has changed."""
    with os.scandir(path) as found:
        return sum(each.stat(follow_symlinks=False).st_size for each in found if each.name.endswith(".jsonl"))


def select(path: str, store: SessionStore) -> float:
    """Queries the tables directly, without a look at the logs."""
    assert store.location == path
    connection = sqlite3.connect(Path(path, ".catalogue.sqlite"))
    sql = "SELECT * FROM ct_sessions ORDER BY activity_bound DESC, session_id DESC LIMIT 51"
    found = timed(lambda: connection.execute(sql).fetchall())
    connection.close()
    return found


def main() -> None:
    """Prints the tables."""
    given = options("What does a list of sessions cost?", sizes=(1_000, 10_000), quick=(100, 200), runs=3)
    results = Results("store", given)
    results.versions["convtree"] = convtree.__version__
    with workplace(given) as directory:
        for size in given.sizes:
            with TemporaryDirectory(dir=directory) as path:
                measure(make, path=path, size=size)
                figures = {each.__name__: partial(measure, each, path=path) for each in (cold, new, bare, warm)}
                for found in medians(given.runs, figures).values():
                    for name, key in ROWS.items():
                        if key in found:
                            results.add(name, size, {"seconds": found[key]})
    results.say(results.grid("sessions", ROWS), table(TARGET_HEADS, targets(results)))


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    size = 10_000
    for name, most in (("nothing changed", 0.002), ("one session changed", 0.005)):
        yield judge(f"list, {name}, {size:,} sessions", results.get(f"list(limit=50), {name}", size), duration, most)
    new = results.ratio("list(limit=50), in a new process", _FLOOR_NEW, size)
    yield judge(f"list, beside {_FLOOR_NEW}, {size:,} sessions", new, times, 1.2)
    yield judge(f"the first list, {size:,} sessions", results.get("list(limit=50), no catalogue", size), duration, 3.0)
    for name in (name for name in ROWS if name.startswith("search")):
        yield judge(f"{name}, {size:,} sessions", results.get(name, size), duration, 0.01)


if __name__ == "__main__":
    main()
