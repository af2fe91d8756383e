"""Logs that other processes read for a catalogue, while this one writes its tables.

The first list of a large folder reads every log, and reading is most of the work. Each process reads a share of the
batches and sends what they add to the tables. It is a Python of its own that imports convtree only, so the program
that asked for the list is not run again. If a process cannot be had, or ends early, its batches are read here.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from convtree._engine.log import Log
from convtree.stores._ingesting import WholeLog, read_whole

_MOST = 4  # processes; more would wait for the one that writes
_LENGTH = 4  # bytes of the length before a message
_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"


class Reading(NamedTuple):
    """How another process opens logs: by a function of a module, which returns the one that opens a log by its id."""

    opener: Callable[..., Callable[[str], Log]]
    arguments: tuple[Any, ...]


# --- in the other process ---


def main() -> None:  # pragma: no cover  # in another process
    """Reads batches of logs, and sends what they add to the tables. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that writes is interrupted, and ends this one
    with open(0, "rb", closefd=False) as asked, open(1, "wb", closefd=False) as answers:
        serve(asked, answers)


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """Reads what is asked for, to its end, and then answers batch by batch."""
    (opener, arguments), batches = pickle.loads(asked.read())
    open_log = opener(*arguments)
    with suppress(BrokenPipeError):
        for batch in batches:
            found = {id: log for id in batch if (log := read_whole(open_log, id)) is not None}
            data = pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
            answers.write(len(data).to_bytes(_LENGTH, "little") + data)
            answers.flush()


# --- in this process ---


class ReadersElsewhere:
    """Processes that read batches of ids. With n processes, each reads every n-th batch. Close them after use."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes] | None] = []  # None: it could not be started
        self._next = 0

    def start(self, reading: Reading, batches: Sequence[Sequence[str]]) -> None:
        """Starts the processes, if more than one may run."""
        count = min(_processors(), _MOST, len(batches)) if _is_python() else 0
        for number in range(count if count > 1 else 0):
            self._start(pickle.dumps((reading, batches[number::count])))

    def next(self) -> dict[str, WholeLog]:
        """Returns the logs of the next batch, by id, without those that could not be read there."""
        if not self._processes:
            return {}
        process = self._processes[self._next % len(self._processes)]
        self._next += 1
        if process is None:
            return {}
        assert process.stdout is not None
        length = int.from_bytes(process.stdout.read(_LENGTH), "little")
        data = process.stdout.read(length)
        if not length or len(data) < length:
            return {}  # the process has ended
        found: dict[str, WholeLog] = pickle.loads(data)
        return found

    def close(self) -> None:
        """Ends the processes; twice is the same as once."""
        for process in filter(None, self._processes):
            process.kill()
            with process:  # closes its pipes and waits for its end
                pass

    def _start(self, asked: bytes) -> None:
        program = _PROGRAM.format(path=sys.path, module=__name__)
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        self._processes.append(None)
        with suppress(OSError):
            process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=none)
            self._processes[-1] = process
            assert process.stdin is not None
            with process.stdin as sending:
                sending.write(asked)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_python() -> bool:
    """Returns whether the program that runs is Python, not one that has it built in."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
