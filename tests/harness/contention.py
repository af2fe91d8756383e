"""Many processes append to one log: no entry is lost or doubled, they form one chain, and no process starves.

All processes open the log and wait; then all start at once. When the first one is done, the others are counted:
fairness is the fewest appends of a process divided by the most. It is judged only if the first process took at least
a second, and otherwise reported as it is: a shorter run measures when the scheduler starts the processes.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, NoReturn

from convtree._engine.log import Durability
from convtree._model.errors import ConvtreeError
from convtree._session.session import Session

from . import sabotage
from .common import arguments, finish, keep, read_plainly

TIMEOUT_S = 600.0
MIN_RUN_S = 1.0  # of the first process to be done, for its fairness to be judged


class Board:
    """Numbers in shared memory: for each process, how many appends it has done, and how long its longest took."""

    def __init__(self, processes: int) -> None:
        self._map = mmap.mmap(-1, 16 * processes)
        self._processes = processes

    def put(self, process: int, done: int, longest_s: float) -> None:
        struct.pack_into("=qd", self._map, 16 * process, done, longest_s)

    def done(self) -> list[int]:
        return [int(struct.unpack_from("=q", self._map, 16 * each)[0]) for each in range(self._processes)]

    def longest_s(self) -> list[float]:
        return [float(struct.unpack_from("=d", self._map, 16 * each + 8)[0]) for each in range(self._processes)]


class Gate:
    """Holds back all processes until each of them is ready."""

    def __init__(self) -> None:
        self._ready = os.pipe()
        self._open = os.pipe()

    def wait(self) -> None:
        """In a child: says that it is ready, and returns when the parent opens the gate."""
        os.close(self._open[1])  # or `read` would never see the end of the pipe
        os.write(self._ready[1], b".")
        os.read(self._open[0], 1)

    def open(self, processes: int) -> None:
        """In the parent: waits until so many processes are ready, or have died, and lets them all go."""
        os.close(self._ready[1])
        ready = 0
        while ready < processes and (said := os.read(self._ready[0], processes)):
            ready += len(said)
        os.close(self._open[1])


def work(
    path: Path, durability: str, process: int, appends: int, board: Board, gate: Gate, variant: str | None
) -> None:
    """Appends to the log; the process of `start`."""
    sabotage.apply(variant)
    level: Durability = "power" if durability == "power" else "process"
    session = Session.open(path, durability=level, on_stale="rebase", lock_timeout_s=TIMEOUT_S)
    gate.wait()
    longest_s = 0.0
    for number in range(appends):
        before = time.perf_counter()
        session.append({"role": "user", "content": f"{process}:{number} " + "x" * 300})
        longest_s = max(longest_s, time.perf_counter() - before)
        board.put(process, number + 1, longest_s)


def start(*arguments: Any) -> int:
    """Forks a process that appends; returns its pid."""
    pid = os.fork()
    if pid == 0:
        _work_and_exit(*arguments)
    return pid


def _work_and_exit(*arguments: Any) -> NoReturn:
    try:
        work(*arguments)
    except BaseException as error:
        print(f"a process raised {type(error).__name__}: {str(error)[:300]}", flush=True)
        os._exit(1)
    os._exit(0)


class Watched(NamedTuple):
    """The run: how far each process was when the first was done, and when that was; fairness by window; failures."""

    at_first: list[int]
    first_s: float
    windows: list[float]
    failed: int


def watch(pids: list[int], board: Board, appends: int) -> Watched:
    """Waits for all processes."""
    at_first: list[int] = []
    windows: list[float] = []
    began = since = time.monotonic()
    first_s = 0.0
    before = board.done()
    failed, left = 0, set(pids)
    while left:
        time.sleep(0.002)
        now = board.done()
        if not at_first and max(now) >= appends:
            at_first, first_s = now, time.monotonic() - began
        if not at_first and time.monotonic() - since >= 0.5:
            steps = [after - earlier for after, earlier in zip(now, before, strict=True)]
            if max(steps) >= 20:
                windows.append(min(steps) / max(steps))
            before, since = now, time.monotonic()
        for pid in list(left):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                left.discard(pid)
                failed += status != 0
    return Watched(at_first or board.done(), first_s or time.monotonic() - began, windows, failed)


def check(path: Path, processes: int, appends: int) -> list[str]:
    """Returns what is wrong with the log: each process has appended its entries once and in order, in one chain."""
    try:
        with Session.open(path, mode="r") as session:
            broken = [f"finding {finding.code}" for finding in session.findings]
            chain = [entry.id for entry in session.path()]
    except ConvtreeError as error:
        return [f"the log cannot be read: {error}"]
    if len(chain) != processes * appends:
        broken.append(f"the path has {len(chain)} entries instead of {processes * appends}")
    try:
        records = list(read_plainly(path))[1:]
    except (ValueError, KeyError) as error:
        return [*broken, f"read without the engine: {error}"]
    if len(records) != processes * appends:
        broken.append(f"the log has {len(records)} entries instead of {processes * appends}")
    if any(after["parent_id"] != before["id"] for before, after in pairwise(records)):
        broken.append("the log is not one chain")
    order: list[list[int]] = [[] for _ in range(processes)]
    for record in records:
        process, _, number = record["message"]["content"].split(" ")[0].partition(":")
        order[int(process)].append(int(number))
    broken += [
        f"process {i} has {len(o)} appends, or has them out of order"
        for i, o in enumerate(order)
        if o != list(range(appends))
    ]
    return broken


def main() -> None:
    options = arguments(__doc__ or "", processes=4, appends=500, durability="process", fairness=0.5)
    board = Board(options.processes)
    with tempfile.TemporaryDirectory(prefix="convtree-contention-") as folder:
        path = Path(folder) / "log.jsonl"
        gate = Gate()
        pids = [
            start(path, options.durability, each, options.appends, board, gate, options.sabotage)
            for each in range(options.processes)
        ]
        gate.open(options.processes)
        began = time.monotonic()
        watched = watch(pids, board, options.appends)
        took_s = time.monotonic() - began
        broken = [f"{watched.failed} processes failed"] if watched.failed else []
        broken += check(path, options.processes, options.appends)
        if broken:
            keep(path)
    at_first, windows = watched.at_first, watched.windows
    fairness = min(at_first) / max(1, *at_first)  # a broken engine may do no append at all
    judged = watched.first_s >= MIN_RUN_S
    if judged and fairness < options.fairness:
        broken.append(f"fairness {fairness:.2f}: {at_first}")
    if not judged:
        print(f"fairness not judged: the run took {watched.first_s:.2f} s, less than {MIN_RUN_S} s; use more --appends")
    result = {
        "processes": options.processes,
        "appends": options.appends,
        "durability": options.durability,
        "entries": options.processes * options.appends if not broken else None,
        "fairness": round(fairness, 3),
        "fairness_judged": judged,
        "fairness_by_window": round(median(windows), 3) if windows else None,
        "worst_window": round(min(windows), 3) if windows else None,
        "max_wait_ms": round(max(board.longest_s()) * 1e3, 1),
        "mean_append_us": round(took_s / (options.processes * options.appends) * 1e6, 1),
    }
    finish(options, result, broken)


if __name__ == "__main__":
    main()
