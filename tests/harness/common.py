"""What the harnesses share: how they are called, how they report, and a reader that owes the engine nothing."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NoReturn
from zlib import crc32

import convtree._logs

from .places import raw_lines

_SHOWN = 20  # broken promises that the result line names


def arguments(description: str, flags: Sequence[str] = (), **sizes: int | float | str) -> argparse.Namespace:
    """Reads the command line: an option for each size with its default, `--seed`, `--sabotage`; prints the seed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, default in sizes.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default, metavar="N")
    for name in flags:
        parser.add_argument("--" + name.replace("_", "-"), action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="as printed")
    parser.add_argument("--sabotage", metavar="NAME", help="run against a deliberately broken engine (see sabotage)")
    options = parser.parse_args()
    options.started = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    return options


def finish(options: argparse.Namespace, result: dict[str, Any], broken: Sequence[str]) -> NoReturn:
    """Prints the result as one line of JSON and exits: 1 when a promise was broken."""
    for text in broken[:_SHOWN]:
        print(f"BROKEN: {text}", flush=True)
    harness = Path(sys.argv[0]).stem
    seconds = round(time.monotonic() - options.started, 2)
    line = {"harness": harness, "ok": not broken, "seed": options.seed, **result, "seconds": seconds}
    if options.sabotage:
        line["sabotage"] = options.sabotage
    if broken:
        line |= {"broken": len(broken), "first": broken[0]}
    print(json.dumps(line), flush=True)
    sys.exit(1 if broken else 0)


def keep(*paths: Path) -> Path:
    """Copies what failed (files, or folders) to a place that stays, and prints where that is."""
    if "--sabotage" in sys.argv:
        return paths[0]  # it failed as it should
    place = Path(tempfile.mkdtemp(prefix="convtree-broken-"))
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


def read_plainly(path: Path) -> Iterator[dict[str, Any]]:
    """Reads a log with the standard library alone, as FORMAT.md says; raises ValueError for the first bad line."""
    prev = "00000000"
    for number, line in enumerate(raw_lines(path), 1):
        record: dict[str, Any] = json.loads(line)
        if record["crc"] != f"{crc32(line[:-18] + b'}'):08x}" or record["prev"] != prev:
            raise ValueError(f"line {number}: the seal does not hold")
        prev = f"{crc32(line):08x}"
        yield record
