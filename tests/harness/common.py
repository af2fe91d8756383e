"""Shared by the harnesses: command line, report, and a reader that does not use the engine."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType, TracebackType
from typing import Any, NoReturn
from zlib import crc32

import convtree._logs

from .places import raw_lines

_SHOWN = 20  # broken promises that are printed
_TRIES = 3  # of a measurement
_TICK_S = 0.01
_HELP = {
    "appends": "how many entries each process appends",
    "atheris": "let libFuzzer make the inputs; needs `pip install atheris`",
    "cases": "how many logs to read",
    "cuts": "how many power cuts",
    "cycles": "how many times to kill some of the processes",
    "durability": "power: sync every append; process: do not",
    "entries": "entries in the log of which every bit of every line is flipped; for masses: how many of one thing",
    "error": "the exception that interrupts",
    "everywhere": "interrupt the code of other packages, too",
    "operations": "the operations to interrupt, separated by commas",
    "places": "where the sessions are, separated by commas",
    "points": "how many instructions of each operation; 0: all of them",
    "every": "run every N-th case only",
    "fairness": "fewest appends of a process, divided by the most, that is still accepted",
    "harnesses": "which harnesses to run, separated by commas",
    "indexed": "with an index file next to the log",
    "interrupts": "how many signals interrupt appends",
    "limit_ms": "how long the next writer may wait after the holder of the lock was killed",
    "only": "only these calls, separated by commas, or the cases with this text in their names; empty: all",
    "pairs": "1: also fail two calls in one run; 0: only one",
    "postgres": "with the store on a PostgreSQL server",
    "processes": "how many processes append",
    "folder": "count the alarms in the text files below this folder; empty: of the standard library",
    "require": "fail if no power can be cut here",
    "rounds": "how often each fault is made",
    "size": "bytes of hostile text; what takes twice as many is compared with it",
    "seconds": "run for this long instead of a number of cases; 0: by number",
    "states": "in how many of the three states of the store each file is put in place",
    "sqlite": "with the log in an SQLite database",
    "whole": "entries in the log that is damaged in every way",
}


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and the description as it is written."""


def arguments(description: str, flags: Sequence[str] = (), **sizes: int | float | str) -> argparse.Namespace:
    """Reads the command line and prints the seed. Options: the sizes with their defaults, flags, seed, sabotage."""
    parser = argparse.ArgumentParser(description=description, formatter_class=_HelpFormatter)
    for name, default in sizes.items():
        metavar = "TEXT" if isinstance(default, str) else "N"
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, metavar=metavar, help=_HELP[name])
    for name in flags:
        parser.add_argument("--" + name.replace("_", "-"), action="store_true", help=_HELP[name])
    seed = random.SystemRandom().randrange(2**32)
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help="repeat a run by the seed it printed")
    parser.add_argument(
        "--sabotage", metavar="NAME", help="break the engine in this way first (see tests.harness.sabotage)"
    )
    options = parser.parse_args()
    options.started = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    _report_crashes(options)
    return options


def _report_crashes(options: argparse.Namespace) -> None:
    """Makes an exception that ends this process print its traceback and a result line; not in forked processes."""
    parent = os.getpid()

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.__excepthook__(kind, error, trace)
        if os.getpid() == parent:
            _print_result(options, False, {"crashed": f"{kind.__name__}: {error}"})

    sys.excepthook = report


def is_wanted(name: str, only: str) -> bool:
    """Returns whether a name is in the list of `--only`; an empty list has all."""
    return not only or name in only.split(",")


def finish(options: argparse.Namespace, result: dict[str, Any], broken: Sequence[str]) -> NoReturn:
    """Prints the result as one line of JSON and exits; with 1 if a promise was broken."""
    for text in broken[:_SHOWN]:
        print(f"BROKEN: {text}", flush=True)
    found = {"broken": len(broken), "first": broken[0]} if broken else {}
    _print_result(options, not broken, result | found)
    sys.exit(1 if broken else 0)


def _print_result(options: argparse.Namespace, is_ok: bool, result: dict[str, Any]) -> None:
    """Prints the last line of a run: what was found, and how to repeat it."""
    seconds = round(time.monotonic() - options.started, 2)
    sabotaged = {"sabotage": options.sabotage} if options.sabotage else {}
    line = {"harness": Path(sys.argv[0]).stem, "ok": is_ok, "seed": options.seed, **result, "seconds": seconds}
    print(json.dumps(line | sabotaged), flush=True)


def times_as_long(short: Callable[[], float], long: Callable[[], float], accepted: float) -> float:
    """Returns how many times as long `long` takes. Both return seconds, of which the least count.

    Noise makes a time longer, never shorter. So `short` is measured twice before `long` is accepted, and both again
    before it is not. A time below a tick of the clock counts as one: some machines count processor time in ticks.
    """
    least, most = float("inf"), float("inf")
    for _ in range(_TRIES):
        least, most = min(least, max(_TICK_S, min(short(), short()))), min(most, long())
        if most <= accepted * least or most == float("inf"):
            break
    return most / least if least < float("inf") else float("inf")


def apart(work: Callable[[], object]) -> None:
    """Calls `work` in a forked process, so that this one opens no store that its children would inherit."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def in_child(work: Callable[[], str], limit_s: float = 15.0) -> str | None:
    """Calls `work` in a forked process and returns its text, `! ` and the error if it raised; None if it hangs."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "?"
        try:
            text = work()
        except BaseException as error:
            text = f"! {type(error).__name__}: {error}"
        finally:
            os.write(write_end, text.encode()[:60_000])
            os._exit(0)
    os.close(write_end)
    os.set_blocking(read_end, False)
    until = time.monotonic() + limit_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(read_end)
            return None
        time.sleep(0.002)
    text = os.read(read_end, 2**16).decode()
    os.close(read_end)
    return text


def keep(*paths: Path) -> Path:
    """Copies files or folders of a failed case to a folder that stays; prints and returns it."""
    if "--sabotage" in sys.argv:
        return paths[0]  # it was meant to fail
    place = Path(tempfile.mkdtemp(prefix="convtree-broken-"))
    with suppress(OSError):  # what cannot be read is not kept, and must not hide why
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, place / path.name)
            elif path.exists():
                shutil.copy2(path, place / path.name)
    print(f"kept {place}", flush=True)
    return place


def modules_using_os() -> list[ModuleType]:
    """Returns the modules below a log in a file that call the operating system: all whose `os` must be replaced."""
    names = [found.name for found in iter_modules(convtree._logs.__path__) if not found.name.startswith("sql")]
    modules = [import_module(f"convtree._logs.{name}") for name in names]
    return [module for module in modules if "os" in vars(module)]


def without_groups(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns records without the marks of groups, and without a group that the log ends in the middle of."""
    kept: list[dict[str, Any]] = []
    for place, record in enumerate(records):
        if record["type"] != "group":
            kept.append(record)
        elif place + record["count"] >= len(records):
            break
    return kept


def read_plainly(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a log, read with the standard library alone, by FORMAT.md.

    Raises:
        ValueError: at the first damaged line.
    """
    prev = "00000000"
    for number, line in enumerate(raw_lines(path), 1):
        record: dict[str, Any] = json.loads(line)
        if record["crc"] != f"{crc32(line[:-18] + b'}'):08x}" or record["prev"] != prev:
            raise ValueError(f"line {number}: the checksum is wrong")
        prev = f"{crc32(line):08x}"
        yield record
