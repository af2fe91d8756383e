"""Measures figures: each in a fresh process, several times, alternating with the figures it is compared with.

A figure is a function of a script that returns plain numbers. It runs in a process of its own, so that no figure warms
or slows down the next one. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

Figure = dict[str, float]
Batch = Callable[[int], list[float]]  # makes that many calls and returns the seconds of each
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_BATCH = 10  # calls of one contender before the next one runs
_PATIENCE_S = 5.0  # a contender that has used this time stops: slow calls need fewer repetitions
_TIMEOUT_S = 1800.0  # of one figure


#: errors of contenders of the figure that this process measures
_failed: dict[str, str] = {}


class Measured(Figure):
    """The numbers of a figure. `failed` has the errors of contenders that therefore have none."""

    def __init__(self, numbers: Figure, failed: dict[str, str]) -> None:
        super().__init__(numbers)
        self.failed = failed


class FigureFailed(Exception):
    """The process of a figure failed. The message is its last line of output."""


# --- outside: the script that prints the table --------------------------------------------------------------------


def options(
    question: str, *, sizes: Sequence[int], quick: Sequence[int], runs: int = 5, server: bool = False, least: int = 100
) -> argparse.Namespace:
    """Parses the options that all scripts share, and with `server` also `--url`. `least` entries are the fewest.

    `sizes` and `runs` of the result are already set to their defaults.
    """
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="run with small sizes, to see that it works")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="lengths of the conversations, in entries")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each figure; the median is shown")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(),
        help="directory to write to, which decides the disk (default: the current one)",
    )
    parser.add_argument(
        "--npm", type=Path, default=Path(), help="directory in which pi was installed by npm (default: the current one)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="contenders to measure (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures to FILE, for plots.py")
    if server:
        parser.add_argument("--url", help="PostgreSQL server to create databases on (default: a private one)")
    found = parser.parse_args()
    found.sizes = sorted(found.sizes or (quick if found.quick else sizes))
    found.runs = found.runs or (1 if found.quick else runs)
    if found.sizes and found.sizes[0] < least:
        parser.error(f"a conversation here has at least {least} entries")
    found.npm = found.npm.resolve()
    return found


@contextmanager
def workplace(given: argparse.Namespace) -> Iterator[Path]:
    """Prints the line about the machine and yields a temporary directory."""
    print(machine(given.dir), end="\n\n", flush=True)
    with TemporaryDirectory(prefix="convtree-benchmark-", dir=given.dir) as directory:
        yield Path(directory).resolve()


def measure(figure: Callable[..., Figure], **arguments: Any) -> Measured:
    """Runs a function of a script in a fresh process and returns its numbers."""
    command = [sys.executable, __file__, figure.__code__.co_filename, figure.__name__, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode:
        raise FigureFailed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return Measured(*json.loads(done.stdout.splitlines()[-1]))  # output of libraries comes before it


def medians(
    runs: int, figures: Mapping[K, Callable[[], Figure]], failed: dict[K, str] | None = None
) -> dict[K, Measured]:
    """Runs every figure `runs` times, in rotation. Returns the median of each number that every run has found.

    A figure that fails is not run again. Its error is added to `failed`; without `failed`, it is raised.
    """
    results: dict[K, list[Figure]] = {name: [] for name in figures}
    for _ in range(runs):
        for name in list(results):
            try:
                results[name].append(figures[name]())
            except FigureFailed as error:
                if failed is None:
                    raise
                failed[name] = str(error)
                del results[name]
    return {name: _median(found) for name, found in results.items()}


def _median(found: Sequence[Figure]) -> Measured:
    names = [name for name in found[0] if all(name in each for each in found)]
    failed = {name: why for each in found if isinstance(each, Measured) for name, why in each.failed.items()}
    return Measured({name: median(each[name] for each in found) for name in names}, failed)


def machine(directory: Path) -> str:
    """Describes the machine in one line. A load near the number of CPUs spoils every measured time."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{os.cpu_count()} CPUs{load}, {platform.system()} {platform.machine()}, "
        f"file system {_file_system(directory)}, {platform.python_implementation()} {platform.python_version()}"
    )


def _file_system(directory: Path) -> str:
    """Returns the type of the file system, on Linux only. On tmpfs a sync costs nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    here = [(Path(point), kind) for point, kind in mounts if directory.resolve().is_relative_to(point)]
    return max(here, key=lambda mount: len(mount[0].parts))[1] if here else "unknown"


# --- inside: the process of one figure ----------------------------------------------------------------------------


def timed(call: Callable[[T], object], source: Iterator[T]) -> Batch:
    """Makes a batch of a plain call. Its arguments are created before the clock starts."""

    def batch(calls: int) -> list[float]:
        clock, taken = time.perf_counter, []
        for given in islice(source, calls):
            start = clock()
            call(given)
            taken.append(clock() - start)
        return taken

    return batch


@contextmanager
def contender(name: str) -> Iterator[None]:
    """Notes the error of a contender in the block, so that the others have their numbers."""
    try:
        yield
    except Exception as error:
        _failed[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def p50s(contenders: Mapping[str, Batch], calls: int) -> Figure:
    """Times calls of every contender. Returns the medians in seconds, without those of contenders that fail.

    The contenders alternate in small batches, so that a slow moment of the machine affects all of them.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(0, calls, _BATCH):
        for name, batch in contenders.items():
            if name not in _failed and sum(taken[name]) < _PATIENCE_S:
                with contender(name):
                    taken[name] += batch(_BATCH)
    return {name: median(found) for name, found in taken.items() if name not in _failed}


def once(call: Callable[[], int]) -> Figure:
    """Times one call and its peak memory. The imports are done before, and their memory is subtracted."""
    before = reset_peak()
    start, start_cpu = time.perf_counter(), time.process_time()
    count = call()
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "bytes": max(0, _memory("VmHWM") - before), "messages": count}


def reset_peak() -> int:
    """Resets the peak memory, on Linux. Returns the memory in use, or elsewhere the peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _memory("VmHWM")  # so that memory used by the imports is not counted
    return _memory("VmRSS")


def _memory(field: str) -> int:
    """Returns a line of /proc/self/status, in bytes.

    Preferred to `ru_maxrss`, which on Linux a process inherits from its parent.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource  # missing on systems without rusage

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{field}:"))


if __name__ == "__main__":
    _, script, name, given = sys.argv
    numbers = runpy.run_path(script)[name](**json.loads(given))
    import harness  # as the script has imported it

    print(json.dumps([numbers, harness._failed]))
