"""What does convtree cost behind a framework? The calls of a framework's own stores, and of convtree in their place.

Each framework needs an environment of its own, so a run measures those that are installed where it runs. Stores of a
framework and of convtree alternate in one process. *First* is the first read of a new process, with opening the store.
The server is that of `--url`, or a private one that syncs every commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from frameworks import STORES, Stored
from harness import Figure, FigureFailed, contender, measure, medians, options, p50s, workplace
from report import TARGET_HEADS, Results, duration, judge, judge_least, table, times
from servers import NoServer, server

import convtree

_CALLS = 200
_QUICK_CALLS = 20
_FIRST = "the first read of a process"
_CALL_NAMES = {
    "openai-agents": ("add_items of 2", "the last 50 items", _FIRST),
    "langgraph": ("put", "put_writes", "get_tuple", _FIRST),
    "google-adk": ("append_event", "the last 50 events", _FIRST),
    "claude-agent-sdk": ("append of 2 lines", "load of all", _FIRST),
}
_FOLDER = "convtree, folder"
_FIRST_READ_S = 0.010

Urls = Mapping[str, str]  # the place of each store, by its name


# --- figures ------------------------------------------------------------------------------------------------------


def make(framework: str, name: str, url: str, entries: int) -> Figure:
    """Fills a store. This is not timed."""
    store = _store(framework, name)
    store.make(url, entries)
    store.close()
    return {}


def calls(framework: str, urls: Urls, number: int) -> Figure:
    """Times the calls of all stores of a framework, in rotation. The numbers are named "framework | call | store"."""
    found: Figure = {}
    with ExitStack() as ends:
        batches = {}
        for name, url in urls.items():
            with contender(f"{framework} | {name}"):
                store = _store(framework, name)
                store.open(url)
                ends.callback(store.close)
                batches[name] = store.calls()
        for call in _CALL_NAMES[framework][:-1]:
            timed = {f"{framework} | {call} | {name}": each[call] for name, each in batches.items()}
            for name, batch in timed.items():
                with contender(name):
                    batch(1)  # the first call includes the set-up of drivers
            found |= p50s(timed, number)
    return found


def first(framework: str, name: str, url: str) -> Figure:
    """Times opening a store and its first read."""
    store = _store(framework, name)
    started = time.perf_counter()
    store.open(url)
    assert store.first()
    return {f"{framework} | {_FIRST} | {name}": time.perf_counter() - started}


def _store(framework: str, name: str) -> Stored:
    return next(each for each in STORES[framework] if each.name == name)()


# --- the script ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Prints the tables."""
    question = "What does convtree cost behind a framework?"
    given = options(question, sizes=(1_000, 10_000), quick=(100, 200), runs=3, server=True)
    results = Results("adapters", given)
    results.versions["convtree"] = convtree.__version__
    tables = []
    with workplace(given) as directory, ExitStack() as ends:
        database, absent = None, None
        try:
            database = ends.enter_context(server(given.url))
        except NoServer as reason:
            absent = str(reason)
        for framework, stores in STORES.items():
            if (why := stores[0].missing(given.npm)) is not None:
                results.note(framework, why)
                continue
            results.versions[framework] = stores[0].version()
            there = [store for store in stores if database is not None or store.where != "PostgreSQL"]
            for store in stores:
                if store not in there:
                    results.note(f"{framework} | {store.name}", absent or "")
            for size in given.sizes:
                _measure(results, there, size, directory, database)
            for call in _CALL_NAMES[framework]:
                rows = [f"{framework} | {call} | {store.name}" for store in stores]
                tables.append(results.grid(f"{framework}: {call}", rows, shown=lambda row: row.rpartition(" | ")[2]))
    if judged := [*targets(results)]:
        tables.append(table(TARGET_HEADS, judged))
    results.say(*tables)


def _measure(
    results: Results,
    stores: Sequence[type[Stored]],
    size: int,
    directory: Path,
    database: Callable[[], str] | None,
) -> None:
    """Fills the stores of a framework with one size, and measures them. One that fails is left out, with a note."""
    framework, failed = stores[0].framework, {}
    with TemporaryDirectory(dir=directory) as place:
        urls = {}
        for number, store in enumerate(stores):
            url = _url(store, Path(place, str(number)), database)
            try:
                measure(make, framework=framework, name=store.name, url=url, entries=size)
                urls[store.name] = url
            except FigureFailed as error:
                failed[store.name] = str(error)
        number = _QUICK_CALLS if results.given.quick else _CALLS
        figures = {name: partial(measure, first, framework=framework, name=name, url=url) for name, url in urls.items()}
        figures["calls"] = partial(measure, calls, framework=framework, urls=urls, number=number)
        for found in medians(results.given.runs, figures, failed).values():
            results.add_each(size, found)
    for name, why in failed.items():
        results.note(f"{framework} | {name}", why)


def _url(store: type[Stored], path: Path, database: Callable[[], str] | None) -> str:
    if store.where == "PostgreSQL":
        assert database is not None
        return database()
    if store.where == "SQLite" and store.durability:
        return f"sqlite:///{path}"
    return str(path)


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets, of the frameworks that were measured, for the longest conversations."""
    size = max(results.given.sizes)

    def beside(call: str, ours: str, peer: str) -> float | None:
        return results.ratio(f"{call} | {ours}", f"{call} | {peer}", size)

    if "openai-agents" in results.versions:
        for call in ("add_items of 2", "the last 50 items"):
            found = beside(f"openai-agents | {call}", _FOLDER, "SQLiteSession")
            yield judge(f"{call}, folder, beside SQLiteSession", found, times, 1)
        found = beside("openai-agents | the last 50 items", "AdvancedSQLiteSession", _FOLDER)
        yield judge_least("the last 50 items, AdvancedSQLiteSession beside folder", found, times, 50)
    if "langgraph" in results.versions:
        for call in ("put", "get_tuple"):
            for ours, peer, most in (
                (_FOLDER, "SqliteSaver", 1.0),
                ("convtree, SQLite", "SqliteSaver", 1.5),
                ("convtree, PostgreSQL", "PostgresSaver", 1.5),
            ):
                found = beside(f"langgraph | {call}", ours, peer)
                yield judge(f"{call}, {ours.removeprefix('convtree, ')}, beside {peer}", found, times, most)
        for where in ("folder", "SQLite", "PostgreSQL"):
            found = results.get(f"langgraph | {_FIRST} | convtree, {where}", size)
            yield judge(f"langgraph: {_FIRST}, {where}", found, duration, _FIRST_READ_S)
    if "google-adk" in results.versions:
        found = beside("google-adk | append_event", _FOLDER, "SqliteSessionService")
        yield judge("append_event, folder, beside SqliteSessionService", found, times, 0.5)


if __name__ == "__main__":
    main()
