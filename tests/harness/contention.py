"""Many processes on one log: nothing is lost, nothing is doubled, the chain is one chain, and nobody starves.

Fairness is the least over the most appends that the processes have done at the moment when the first of them is done.
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
from typing import Any, NoReturn

import filelock  # noqa: F401  # imported once here, not once in every fork

from convtree._engine.log import Durability
from convtree._model.errors import ConvtreeError
from convtree._session.session import Session

from . import sabotage
from .common import arguments, finish, keep, read_plainly

TIMEOUT_S = 600.0


class Board:
    """Numbers that all processes see: how far each is, and how long it has waited at most."""

    def __init__(self, processes: int) -> None:
        self._map = mmap.mmap(-1, 16 * processes)
        self._processes = processes

    def put(self, process: int, done: int, longest_s: float) -> None:
        struct.pack_into("=qd", self._map, 16 * process, done, longest_s)

    def done(self) -> list[int]:
        return [int(struct.unpack_from("=q", self._map, 16 * each)[0]) for each in range(self._processes)]

    def longest_s(self) -> list[float]:
        return [float(struct.unpack_from("=d", self._map, 16 * each + 8)[0]) for each in range(self._processes)]


def work(path: Path, durability: str, process: int, appends: int, board: Board, gate: int, variant: str | None) -> None:
    sabotage.apply(variant)
    level: Durability = "power" if durability == "power" else "process"
    session = Session.open(path, durability=level, on_stale="rebase", lock_timeout_s=TIMEOUT_S)
    os.read(gate, 1)  # ends when the parent opens the gate for all
    longest_s = 0.0
    for number in range(appends):
        before = time.perf_counter()
        session.append({"role": "user", "content": f"{process}:{number} " + "x" * 300})
        longest_s = max(longest_s, time.perf_counter() - before)
        board.put(process, number + 1, longest_s)


def start(opener: int, *arguments: Any) -> int:
    """Forks a process that appends, and returns its pid."""
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        _work_and_exit(*arguments)
    return pid


def _work_and_exit(*arguments: Any) -> NoReturn:
    try:
        work(*arguments)
    except BaseException as error:
        print(f"a process raised {type(error).__name__}: {str(error)[:300]}", flush=True)
        os._exit(1)
    os._exit(0)


def watch(pids: list[int], board: Board, appends: int) -> tuple[list[int], list[float], int]:
    """Waits for all; returns how far each was when the first was done, fairness by window, and how many failed."""
    at_first: list[int] = []
    windows: list[float] = []
    before, since = board.done(), time.monotonic()
    failed, left = 0, set(pids)
    while left:
        time.sleep(0.002)
        now = board.done()
        if not at_first and max(now) >= appends:
            at_first = now
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
    return at_first or board.done(), windows, failed


def check(path: Path, processes: int, appends: int) -> list[str]:
    """Compares the log with what must have come of it."""
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
    broken += [f"process {i} is there as {len(o)} appends" for i, o in enumerate(order) if o != list(range(appends))]
    return broken


def main() -> None:
    options = arguments(
        "Has many processes append to one log at once.",
        processes=4,
        appends=500,
        durability="process",
        fairness=0.5,
    )
    board = Board(options.processes)
    with tempfile.TemporaryDirectory(prefix="convtree-contention-") as folder:
        path = Path(folder) / "log.jsonl"
        gate, opener = os.pipe()
        pids = [
            start(opener, path, options.durability, each, options.appends, board, gate, options.sabotage)
            for each in range(options.processes)
        ]
        began = time.monotonic()
        os.close(opener)
        at_first, windows, failed = watch(pids, board, options.appends)
        took_s = time.monotonic() - began
        broken = [f"{failed} processes failed"] if failed else []
        broken += check(path, options.processes, options.appends)
        if broken:
            keep(path)
    fairness = min(at_first) / max(1, *at_first)  # a broken engine may have let nobody begin
    if fairness < options.fairness:
        broken.append(f"fairness {fairness:.2f}: {at_first}")
    result = {
        "processes": options.processes,
        "appends": options.appends,
        "durability": options.durability,
        "entries": options.processes * options.appends if not broken else None,
        "fairness": round(fairness, 3),
        "fairness_by_window": round(median(windows), 3) if windows else None,
        "worst_window": round(min(windows), 3) if windows else None,
        "max_wait_ms": round(max(board.longest_s()) * 1e3, 1),
        "mean_append_us": round(took_s / (options.processes * options.appends) * 1e6, 1),
    }
    finish(options, result, broken)


if __name__ == "__main__":
    main()
