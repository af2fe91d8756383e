"""How every figure here is measured: in a fresh process, several times, beside what it is compared with.

One idea: a figure is a function of a script that returns plain numbers. The harness runs it in a process of its own,
so that no figure warms, or weighs on, the next one. Only the standard library is used.
"""

from __future__ import annotations

import json
import os
import platform
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

Figure = dict[str, float]
K = TypeVar("K", bound=Hashable)

_BATCH = 10  # calls of one contender before it is the next one's turn


# --- outside: the script that prints the table --------------------------------------------------------------------


def measure(figure: Callable[..., Figure], **arguments: Any) -> Figure:
    """Runs a function of a script in a fresh process and returns the numbers it returns."""
    command = [sys.executable, __file__, figure.__code__.co_filename, figure.__name__, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    numbers: Figure = json.loads(done.stdout)
    return numbers


def medians(runs: int, figures: Mapping[K, Callable[[], Figure]]) -> dict[K, Figure]:
    """Runs every figure `runs` times, in turn rather than one after the other; returns the median of each number."""
    results: dict[K, list[Figure]] = {name: [] for name in figures}
    for _ in range(runs):
        for name, run in figures.items():
            results[name].append(run())
    return {name: {key: median(each[key] for each in found) for key in found[0]} for name, found in results.items()}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lays out a plain table that is Markdown too; the first column is text, the others are numbers."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for line in lines:
        line[:] = [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(directory: Path) -> str:
    """Says what the figures depend on, in one line; a load near the number of CPUs spoils every time."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} CPUs{load}, {platform.system()} {platform.machine()}, "
        f"file system {_file_system(directory)}, {platform.python_implementation()} {platform.python_version()}"
    )


def duration(seconds: float) -> str:
    """Words a time in the unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs"


def megabytes(size_bytes: float) -> str:
    """Words an amount of memory."""
    return f"{size_bytes / 1e6:.1f} MB"


def _file_system(directory: Path) -> str:
    """Names the type of the file system, where the system tells (Linux); on tmpfs a sync costs nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    here = [(Path(point), kind) for point, kind in mounts if directory.resolve().is_relative_to(point)]
    return max(here, key=lambda mount: len(mount[0].parts))[1] if here else "unknown"


# --- inside: the process of one figure ----------------------------------------------------------------------------


def p50s(contenders: Mapping[str, Callable[[], object]], calls: int) -> Figure:
    """Times each call of each contender and returns the medians in seconds.

    They take turns in small batches, so that a slow moment of the machine or its disk falls on all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    clock = time.perf_counter
    for _ in range(0, calls, _BATCH):
        for name, call in contenders.items():
            for _ in range(_BATCH):
                start = clock()
                call()
                times[name].append(clock() - start)
    return {name: median(taken) for name, taken in times.items()}


def peak_bytes() -> int:
    """Returns the most memory this process has held so far.

    Not `ru_maxrss` where it can be helped: on Linux a process inherits that from the one that started it.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource  # not on Windows, where there is no figure

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    _, script, name, given = sys.argv
    print(json.dumps(runpy.run_path(script)[name](**json.loads(given))))
