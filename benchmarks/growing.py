"""What does it cost to open a conversation whose writer has not closed it? And what does that cost the writer?

A writer appends and stays open, then it is killed. A fresh process opens the session each time and reads the last
entry; it has imported everything, and is connected. *Nothing saved* is what a writer left before logs were saved while
they grow: the whole log is read. *Branching* are records of an agent's framework: a checkpoint, and two writes below
it, which do not continue the entry before them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import harness
from conversation import messages
from harness import Figure, measure, medians, options, workplace
from report import TARGET_HEADS, Results, duration, judge, table, times
from servers import NoServer, server, server_version

STORES = ("folder", "SQLite", "PostgreSQL")
SHAPES = ("messages", "branching")
STATES = ("writer open", "writer killed", "nothing saved")
APPENDS = ('durability="process"', 'durability="power"')
_BATCH = 100
_NEVER = 2**62  # units to the first place where a growing log is saved
_OPENS = 0.01  # seconds; the target
_FACTORS = (1.25, 1.1)  # of an append, not synced and synced


def records(shape: str) -> Iterator[Any]:
    """Yields entries to append as they are, each with its parent."""
    from convtree import ExtensionDataEntry, MessageEntry

    above = None
    for number, message in enumerate(messages()):
        id = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"  # spread out, as those that convtree makes
        if shape == "messages":
            yield MessageEntry(id=id, parent_id=above, message=message)
            above = id
        elif number % 3 == 0:
            data = {"step": number, "state": message["content"]}
            yield ExtensionDataEntry(id=id, parent_id=above, ext_type="agent.checkpoint", data=data)
            above = id
        else:
            yield ExtensionDataEntry(id=id, parent_id=above, ext_type="agent.write", data=number)


# --- figures ------------------------------------------------------------------------------------------------------


def write(url: str, session_id: str, entries: int, shape: str, saved: bool) -> Figure:
    """Appends to a session, says that it is ready, and waits until its input ends. Then ends without closing it."""
    import os

    import convtree
    from convtree._engine import save_points

    if not saved:
        save_points._STEP_UNITS = _NEVER
    store = convtree.open_store(url, durability="process", create=True)
    session = store.create(id=session_id)
    session.extend(islice(records(shape), entries), batch_size=_BATCH)
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


def resume(url: str, session_id: str) -> Figure:
    """Times opening a session and reading its last entry."""
    import convtree

    with convtree.open_store(url, create=False) as store:
        assert store.list(limit=1)
        with store.open("warm", read_only=True) as session:
            assert session.leaf_id is not None
        start, start_cpu = time.perf_counter(), time.process_time()
        session = store.open(session_id, read_only=True)
        session.entry(str(session.leaf_id))
        taken, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        session.close()
    return {"": taken, ", processor time": cpu}


def warm(url: str) -> Figure:
    """Creates a session of one message: opening it runs all code once."""
    import convtree

    with convtree.open_store(url, create=True) as store, store.create(id="warm") as session:
        session.append({"role": "user", "content": "Hi"})
    return {}


def append(folder: str, entries: int, durability: Any) -> Figure:
    """Times appends to a log that is saved while it grows, and to one that is not, in alternating batches."""
    import convtree
    from convtree._engine import save_points

    steps = {"saved": save_points._STEP_UNITS, "not saved": _NEVER}
    sessions = {name: convtree.Session.open(Path(folder, f"{name}.jsonl"), durability=durability) for name in steps}
    whole, longest = dict.fromkeys(steps, 0.0), dict.fromkeys(steps, 0.0)
    source = messages()
    for session in sessions.values():
        session.append(next(source))  # imports what the first append needs
    for _ in range(0, entries, _BATCH):
        batch = list(islice(source, _BATCH))
        for name, session in sessions.items():
            save_points._STEP_UNITS = steps[name]
            for message in batch:
                start = time.perf_counter()
                session.append(message)
                taken = time.perf_counter() - start
                whole[name] += taken
                longest[name] = max(longest[name], taken)
    for session in sessions.values():
        session.close()
        Path(session.location).unlink()
        Path(f"{session.location}.index").unlink(missing_ok=True)
    return {name: whole[name] / entries for name in steps} | {"longest": longest["saved"]}


# --- the script ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Prints the tables."""
    given = options("What does it cost to open a log that grows?", sizes=(12_000, 20_000), quick=(200,), server=True)
    results = Results("growing", given)
    with workplace(given) as directory:
        places: dict[str, Callable[[], str]] = {
            "folder": lambda: str(directory / "store"),
            "SQLite": lambda: f"sqlite:///{directory}/store.db",
        }
        for name, place in places.items():
            run(results, name, place())
        try:
            with server(given.url) as database:
                url = database()
                results.versions["PostgreSQL"] = server_version(url)
                run(results, "PostgreSQL", url)
        except NoServer as none:
            results.note("PostgreSQL", str(none))
        for name in APPENDS:
            _append(results, name, directory)
    results.say(
        *(
            results.grid(f"opening, {state}{what}", [_named(*row) for row in _rows()], f"{state}{what}")
            for what in ("", ", processor time")
            for state in STATES
        ),
        table(["one append, on average", "saved", "not saved", "saved, longest"], _appends(results)),
        table(TARGET_HEADS, targets(results)),
    )


def _rows() -> Iterator[tuple[str, str]]:
    return ((store, shape) for shape in SHAPES for store in STORES)


def _named(store: str, shape: str) -> str:
    return f"{store}, {shape}"


def run(results: Results, store: str, url: str) -> None:
    """Measures the sessions of one store."""
    measure(warm, url=url)
    for size in results.given.sizes:
        for shape in SHAPES:
            figures: Figure = {}
            for saved in (True, False):
                session_id = f"{shape}-{size}-{int(saved)}"
                opened = {session_id: partial(measure, resume, url=url, session_id=session_id)}
                with _writer(url=url, session_id=session_id, entries=size, shape=shape, saved=saved) as writer:
                    for state in STATES[:2] if saved else STATES[2:]:
                        if state != "writer open":
                            writer.kill()
                            writer.wait()
                        found = medians(results.given.runs, opened)[session_id]
                        figures |= {f"{state}{what}": number for what, number in found.items()}
            results.add(_named(store, shape), size, figures)


@contextmanager
def _writer(**arguments: Any) -> Iterator[subprocess.Popen[str]]:
    """Runs a process that writes, from when it has written everything to the end of the block."""
    command = [sys.executable, harness.__file__, __file__, write.__name__, json.dumps(arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            yield writer
        finally:
            writer.kill()


def _append(results: Results, name: str, directory: Path) -> None:
    durability = name.split('"')[1]
    for size in results.given.sizes:
        figure = partial(measure, append, folder=str(directory), entries=size, durability=durability)
        results.add(name, size, medians(results.given.runs, {name: figure})[name])


def _appends(results: Results) -> Iterator[Sequence[str]]:
    for name in APPENDS:
        for size in results.given.sizes:
            found = (results.get(name, size, key) for key in ("saved", "not saved", "longest"))
            yield f"{name}, up to {size:,}", *("—" if each is None else duration(each) for each in found)


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets, at the largest size."""
    size = results.given.sizes[-1]
    for state in STATES[:2]:
        for store, shape in _rows():
            found = results.get(_named(store, shape), size, state)
            yield judge(f"{store}, {shape}, {state}, {size:,}", found, duration, _OPENS)
    for name, factor in zip(APPENDS, _FACTORS, strict=True):
        saved, unsaved = (results.get(name, size, key) for key in ("saved", "not saved"))
        ratio = saved / unsaved if saved and unsaved else None
        yield judge(f"an append, {name}, beside not saved", ratio, times, factor)


if __name__ == "__main__":
    main()
