"""What the engine costs: an append, an open, a context. Run `python benchmarks/basics.py`.

Every append is timed beside the least that could do the job: the system calls alone, on the same file system, with
lines of the same size, in the same process, in turn. An open is timed in a fresh process, the file in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import Figure, duration, machine, measure, medians, megabytes, p50s, peak_bytes, table

SIZES = (1_000, 10_000, 100_000)
KEPT = 50  # messages that the compaction at the end of a log keeps
_CHAIN = 500  # messages of one write while a log is made

_WORDS = "the tree keeps every branch that somebody once took and the context is the path back to its root "


def messages(start: int = 0) -> Iterator[dict[str, Any]]:
    """Yields messages that make lines of about 1.1 KB, no two alike."""
    for number in count(start):
        yield {"role": ("user", "assistant")[number % 2], "content": f"message {number}: {_WORDS * 10}"[:950]}


# --- figures, each run in a process of its own --------------------------------------------------------------------


def make_log(path: str, entries: int) -> Figure:
    """Makes a log of so many entries, the last of them a compaction that keeps 50 messages."""
    from convtree import CompactionEntry, Session

    source = messages()
    start = time.perf_counter()
    with Session.open(path, durability="process") as session:
        ids: list[str] = []
        for done in range(0, entries - 1, _CHAIN):
            chain = [next(source) for _ in range(min(_CHAIN, entries - 1 - done))]
            ids = [*ids[-KEPT:], *(entry.id for entry in session.append_many(chain))]
        session.append(CompactionEntry(summary=_WORDS * 8, first_kept_entry_id=ids[-KEPT]))
    return {"seconds": time.perf_counter() - start, "bytes": os.path.getsize(path)}


def append_with_sync(directory: str, calls: int) -> Figure:
    """Times a durable append beside `os.write` and `os.fdatasync` of a line as long."""
    from convtree import Session

    sync = getattr(os, "fdatasync", os.fsync)
    path, source = Path(directory, "power.jsonl"), messages()
    with Session.open(path) as session:
        session.append(next(source))
        session.append(next(source))
        line = path.read_bytes().splitlines(keepends=True)[-1]
        raw = os.open(Path(directory, "power.raw"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def write_and_sync() -> None:
            os.write(raw, line)
            sync(raw)

        times = p50s({"convtree": lambda: session.append(next(source)), "raw": write_and_sync}, calls)
        os.close(raw)
    return times | {"to raw": times["convtree"] / times["raw"]}


def append_without_sync(directory: str, calls: int) -> Figure:
    """Times an append that survives the process only, beside `os.write` alone and beside what people write by hand."""
    from convtree import Session

    path, by_hand, source = Path(directory, "process.jsonl"), Path(directory, "process.hand"), messages()
    with Session.open(path, durability="process") as session:
        session.append(next(source))
        session.append(next(source))
        line = path.read_bytes().splitlines(keepends=True)[-1]
        raw = os.open(Path(directory, "process.raw"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def open_and_dump() -> None:
            with open(by_hand, "a") as file:
                file.write(json.dumps(next(source)) + "\n")

        contenders = {
            "convtree": lambda: session.append(next(source)),
            "raw": lambda: os.write(raw, line),
            "by hand": open_and_dump,
        }
        times = p50s(contenders, calls)
        os.close(raw)
    return times | {f"to {name}": times["convtree"] / times[name] for name in ("raw", "by hand")}


def append_by_length(paths: dict[str, str], calls: int) -> Figure:
    """Times an append without sync to logs of several lengths, in turn."""
    from convtree import Session

    source = messages()
    sessions = {length: Session.open(path, durability="process") for length, path in paths.items()}

    def append(session: Session) -> None:
        session.append(next(source))

    times = p50s({length: partial(append, session) for length, session in sessions.items()}, calls)
    for session in sessions.values():
        session.close()
    return times


def open_and_build(path: str, whole: bool) -> Figure:
    """Times a process's first open and context: that of the compaction at the end, or of the `whole` path before it."""
    import convtree

    before = peak_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    with convtree.Session.open(path, mode="r") as session:
        opened, opened_cpu, opened_peak = time.perf_counter(), time.process_time(), peak_bytes()
        last = session.entry(session.leaf_id or "")
        asked, asked_cpu = time.perf_counter(), time.process_time()
        context = session.build_context(leaf=last.parent_id if whole else last.id)
        built, built_cpu = time.perf_counter(), time.process_time()
    return {
        "open": opened - start,
        "open cpu": opened_cpu - start_cpu,
        "open bytes": opened_peak - before,
        "context": built - asked,
        "context cpu": built_cpu - asked_cpu,
        "context bytes": peak_bytes() - before,
        "messages": len(context.messages),
    }


def load_by_hand(path: str) -> Figure:
    """Times `json.loads` of every line into a list: what reading a plain JSONL file costs."""
    before = peak_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    with open(path, "rb") as file:
        lines = [json.loads(line) for line in file]
    return {
        "load": time.perf_counter() - start,
        "load cpu": time.process_time() - start_cpu,
        "load bytes": peak_bytes() - before,
        "lines": len(lines),
    }


# --- the table ----------------------------------------------------------------------------------------------------


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What an append, an open and a context cost.")
    parser.add_argument("--quick", action="store_true", help="small: shows that it runs, not how fast")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="lengths of the logs, in entries")
    parser.add_argument("--dir", type=Path, default=Path(), help="where to write: chooses the disk (default: here)")
    options = parser.parse_args()
    sizes = sorted(options.sizes or (SIZES[:2] if options.quick else SIZES))
    if sizes[0] <= KEPT:
        parser.error(f"a log needs more than {KEPT} entries")
    print(machine(options.dir), end="\n\n", flush=True)
    with TemporaryDirectory(prefix="convtree-benchmark-", dir=options.dir) as directory:
        logs = {size: str(Path(directory, f"{size}.jsonl").resolve()) for size in sizes}
        for size, path in logs.items():
            measure(make_log, path=path, entries=size)
        opened = list(open_rows(logs, runs=1 if options.quick else 5))  # first: the appends make the logs longer
        appended = append_rows(directory, logs, *((1, 20) if options.quick else (3, 400)))
        print(table(("figure", "entries", "p50", "cpu", "peak memory", "beside", "target"), [*appended, *opened]))


def append_rows(directory: str, logs: dict[int, str], runs: int, calls: int) -> Iterator[Sequence[str]]:
    """Yields the rows about appends."""
    figures = {
        "synced": partial(measure, append_with_sync, directory=directory, calls=calls),
        "not synced": partial(measure, append_without_sync, directory=directory, calls=calls * 5),
        "by length": partial(measure, append_by_length, paths=logs, calls=calls),
    }
    synced, unsynced, by_length = medians(runs, figures).values()
    beside = f"{synced['to raw']:.2f}x raw"
    yield "append, synced", "", duration(synced["convtree"]), "", "", beside, "≤ 2x raw"
    yield "· raw: os.write + os.fdatasync", "", duration(synced["raw"]), "", "", "", ""
    beside = f"{unsynced['to raw']:.1f}x raw, {unsynced['to by hand']:.2f}x by hand"
    yield "append, not synced", "", duration(unsynced["convtree"]), "", "", beside, ""
    yield "· raw: os.write", "", duration(unsynced["raw"]), "", "", "", ""
    yield "· by hand: open, json.dumps, write", "", duration(unsynced["by hand"]), "", "", "", ""
    least = by_length[str(min(logs))]
    for size in logs:
        taken = by_length[str(size)]
        beside = f"{taken / least:.2f}x shortest"
        yield "append to a log of this length, not synced", f"{size:,}", duration(taken), "", "", beside, "flat"


def open_rows(logs: dict[int, str], runs: int) -> Iterator[Sequence[str]]:
    """Yields the rows about opening a log and building a context from it."""
    figures = {}
    for size, path in logs.items():
        figures[size, "kept"] = partial(measure, open_and_build, path=path, whole=False)
        figures[size, "whole"] = partial(measure, open_and_build, path=path, whole=True)
        figures[size, "by hand"] = partial(measure, load_by_hand, path=path)
    found = medians(runs, figures)

    def row(name: str, size: int, figure: Figure, key: str, beside: str = "", target: str = "") -> Sequence[str]:
        times = duration(figure[key]), duration(figure[f"{key} cpu"])
        return name, f"{size:,}", *times, megabytes(figure[f"{key} bytes"]), beside, target

    for size in logs:
        kept, whole, by_hand = (found[size, name] for name in ("kept", "whole", "by hand"))
        beside = f"{kept['open cpu'] / by_hand['load cpu']:.2f}x by hand (cpu)"
        yield row("cold open", size, kept, "open", beside, "≤ 1 s, ≤ 60 MB" if size == SIZES[-1] else "")
        yield row(f"· then a context of {kept['messages']:.0f} messages", size, kept, "context")
        yield row("· then a context of all messages", size, whole, "context")
        yield row("· by hand: json.loads of every line", size, by_hand, "load")


if __name__ == "__main__":
    main()
