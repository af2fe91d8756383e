"""Kills, stops, forks and interrupts the process that holds the lock; replaces and removes the log under a writer.

Each fault is real: other processes and signals make it. Afterwards the file must have every acknowledged entry.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from convtree import SessionClosed, SessionLocked, SessionNotFound
from convtree._engine.log import Durability
from convtree._logs.atomic_file import replace_atomically
from convtree._logs.jsonl import JsonlLog
from convtree._session.session import Session

from . import sabotage
from .common import arguments, finish, keep, read_plainly


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def ids_in(path: Path) -> list[str]:
    """Returns the ids of a log's records, read without the engine."""
    return [str(record["id"]) for record in read_plainly(path)][1:]


@contextmanager
def process(work: Callable[[Callable[[str], None]], Any], variant: str | None = None) -> Iterator[tuple[int, Any]]:
    """Runs `work` in a forked process that is killed in the end; yields its pid and its lines."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sabotage.apply(variant)
            work(lambda line: void(os.write(write_end, line.encode() + b"\n")))
        except BaseException as error:
            os.write(write_end, f"raised {type(error).__name__}: {str(error)[:200]}\n".encode())
        finally:
            os._exit(0)
    os.close(write_end)
    lines = os.fdopen(read_end)
    try:
        yield pid, lines
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines.close()


def void(_: object) -> None:
    pass


def hold(path: Path) -> Callable[[Callable[[str], None]], None]:
    """Returns work that opens a log with exclusive=True and keeps it open."""

    def work(say: Callable[[str], None]) -> None:
        with Session.open(path, exclusive=True):
            say("held")
            time.sleep(600)

    return work


# --- the holder ---------------------------------------------------------------------------------------------------


def killed(folder: Path, rounds: int, limit_ms: float, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Kills the holder of the lock while another writer waits for it."""
    path = folder / "killed.jsonl"
    waits_ms = []
    with Session.open(path) as session:
        session.append(message("0"))
        for number in range(rounds):
            with process(hold(path), variant) as (pid, lines):
                lines.readline()
                died: list[float] = []

                def kill(pid: int = pid, died: list[float] = died) -> None:
                    time.sleep(0.02)
                    died.append(time.perf_counter())
                    os.kill(pid, signal.SIGKILL)

                killer = threading.Thread(target=kill)
                killer.start()
                session.append(message(str(number)))
                waits_ms.append((time.perf_counter() - died[0]) * 1e3)
                killer.join()
    broken = []
    if median(waits_ms) > limit_ms:
        broken.append(f"the next writer waited {median(waits_ms):.0f} ms after the holder was killed")
    return {"takeover_ms": round(median(waits_ms), 2), "takeover_max_ms": round(max(waits_ms), 2)}, broken


def stopped(folder: Path, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Stops the holder: other writers get an error that names it, readers can read, and later all can write."""
    path = folder / "stopped.jsonl"
    broken = []
    timeout_s = 0.3
    with Session.open(path, lock_timeout_s=timeout_s) as session:
        session.append(message("0"))
        with process(hold(path), variant) as (pid, lines):
            lines.readline()
            os.kill(pid, signal.SIGSTOP)
            before = time.perf_counter()
            try:
                session.append(message("1"))
                broken.append("appended although another process held the lock")
            except SessionLocked as error:
                waited_s = time.perf_counter() - before
                if str(pid) not in (error.holder or "") or str(pid) not in str(error):
                    broken.append(f"the holder is {pid}, the error says {error.holder!r}")
                if waited_s < timeout_s:
                    broken.append(f"gave up after {waited_s} s instead of {timeout_s} s")
            with Session.open(path, mode="r") as reader:
                reader.refresh()
            os.kill(pid, signal.SIGCONT)
        session.append(message("2"))
    if len(ids_in(path)) != 2:
        broken.append("a refused append is in the log")
    return {"timeout_s": round(waited_s, 3) if not broken else None}, broken


# --- the file ------------------------------------------------------------------------------------------------------


def _append_until_killed(path: Path, durability: Durability = "process") -> Callable[..., None]:
    def work(say: Callable[[str], None]) -> None:
        session = Session.open(path, durability=durability, on_stale="rebase")
        while True:
            began = time.monotonic()
            try:
                entry = session.append(message("x" * 300))
            except SessionNotFound:
                say("gone")
                time.sleep(0.0005)
            else:
                say(f"{entry.id} {began}")

    return work


def replaced(folder: Path, rounds: int, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Replaces the log by another file while a writer writes: with the lock, as a repair does, and without."""
    broken: list[str] = []
    acknowledged = 0
    for number in range(rounds):
        path = folder / f"replaced-{number}.jsonl"
        locked = number % 2 == 0
        with Session.open(path) as session:
            session.append(message("0"))
        with process(_append_until_killed(path), variant) as (pid, lines):
            heard = [lines.readline() for _ in range(20)]
            if locked:
                log = JsonlLog(path, mode="r+", exclusive=True)
                body = [line for chunk in log.read() for line in chunk.lines]
                os.rename(replace_atomically(path, body), path.with_suffix(".old"))
                log.close()
            else:
                copy = path.with_suffix(".copy")
                copy.write_bytes(path.read_bytes().rpartition(b"\n")[0] + b"\n")
                os.link(path, path.with_suffix(".old"))
                os.rename(copy, path)
            done = time.monotonic()
            heard += [lines.readline() for _ in range(20)]
            os.kill(pid, signal.SIGKILL)
            heard += list(lines)
        there = set(ids_in(path))
        for line in heard:
            if line.startswith("raised"):
                broken.append(f"a writer {line.strip()}")
                continue
            entry_id, began = line.split()
            acknowledged += 1
            if entry_id not in there and (locked or float(began) > done):
                broken.append(f"acknowledged into the orphaned file, {'with' if locked else 'without'} the lock")
                keep(path, path.with_suffix(".old"))
                break
    return {"replaced": rounds, "acknowledged_around": acknowledged}, broken


def removed(folder: Path, rounds: int, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Removes the log under a writer: from then on its appends must fail."""
    broken: list[str] = []
    for number in range(rounds):
        path = folder / f"removed-{number}.jsonl"
        with Session.open(path) as session:
            session.append(message("0"))
        with process(_append_until_killed(path), variant) as (_, lines):
            for _ in range(20):
                lines.readline()
            path.unlink()
            done = time.monotonic()
            for _ in range(200_000):
                line = lines.readline().split()
                if line[0] == "gone":
                    break
                if line[0] == "raised" or float(line[1]) > done:
                    broken.append(f"after the log was removed, a writer said {' '.join(line)}")
                    break
    return {"removed": rounds}, broken


# --- forks ---------------------------------------------------------------------------------------------------------


def forked(folder: Path, limit_ms: float, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Forks with an open session: the child must be refused, and must neither free nor keep the parent's lock."""
    broken = []
    path = folder / "forked.jsonl"
    session = Session.open(path, exclusive=True)
    session.append(message("0"))

    def use_inherited(say: Callable[[str], None]) -> None:
        for act in (lambda: session.append(message("child")), session.refresh, session.build_context):
            try:
                act()
                say("done")
            except SessionClosed:
                say("refused")
        session.close()

    with process(use_inherited, variant) as (_, lines):
        answers = [line.strip() for line in lines]
    if answers[0] != "refused" or len(answers) != 3:
        broken.append(f"a forked child's session: {answers}")
    with Session.open(path, lock_timeout_s=0.05) as other:
        try:
            other.append(message("2"))
            broken.append("a forked child freed its parent's lock")
        except SessionLocked:
            pass
    session.append(message("1"))
    session.close()

    def hold_and_fork(say: Callable[[str], None]) -> None:
        with Session.open(path, exclusive=True):
            child = os.fork()
            if child == 0:
                time.sleep(600)
                os._exit(0)
            say(str(child))
            time.sleep(600)

    with Session.open(path) as next_one, process(hold_and_fork, variant) as (pid, lines):
        orphan = int(lines.readline())
        time.sleep(0.05)  # the child closes the inherited file right after the fork
        os.kill(pid, signal.SIGKILL)
        before = time.perf_counter()
        next_one.append(message("3"))
        orphan_ms = (time.perf_counter() - before) * 1e3
        os.kill(orphan, signal.SIGKILL)
    if orphan_ms > max(limit_ms, 100):
        broken.append(f"an orphaned child kept its parent's lock for {orphan_ms:.0f} ms")
    return {"forked": answers[:1], "orphan_ms": round(orphan_ms, 2)}, broken


def forked_while_busy(folder: Path, rounds: int, variant: str | None) -> tuple[dict[str, Any], list[str]]:
    """Forks while another thread appends: the child must get an error, not wait for a mutex of that thread."""
    broken: list[str] = []
    session = Session.open(folder / "busy.jsonl", durability="process")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            session.append(message("x" * 2000), on_stale="rebase")

    thread = threading.Thread(target=busy)
    thread.start()

    def use_inherited(say: Callable[[str], None]) -> None:
        signal.setitimer(signal.ITIMER_REAL, 5)  # kills it
        try:
            session.append(message("child"))
            say("done")
        except SessionClosed:
            say("refused")

    for _ in range(rounds):
        with process(use_inherited, variant) as (_, lines):
            answer = lines.readline().strip()
        if answer != "refused":
            broken.append(f"a child forked while a thread appended: {answer or 'hung'}")
            break
    stop.set()
    thread.join()
    session.close()
    return {"forked_while_busy": rounds}, broken


# --- signals -------------------------------------------------------------------------------------------------------


class Interrupt(BaseException):
    """Raised by the signal handler."""


def interrupted(
    folder: Path, interrupts: int, choose: random.Random, variant: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Interrupts appends by signals: after each, session and file must agree."""
    seed = choose.getrandbits(32)

    def storm(say: Callable[[str], None]) -> None:
        path = folder / "storm.jsonl"
        broken = _storm(path, interrupts, random.Random(seed))
        for text in broken:
            say(text)
        if broken:
            say(f"kept {keep(path)}")

    with process(storm, variant) as (_, lines):
        broken = [line.strip() for line in lines if not line.startswith("kept")]
    return {"interrupts": interrupts}, broken


def _storm(path: Path, interrupts: int, choose: random.Random) -> list[str]:
    armed = False

    def handler(_signal: int, _frame: Any) -> None:
        if armed:
            raise Interrupt

    signal.signal(signal.SIGALRM, handler)
    gc.disable()  # an exception in a finaliser is lost
    session = Session.open(path, durability="process", on_stale="rebase")
    witness = Session.open(path, durability="process", on_stale="rebase", lock_timeout_s=1)
    acknowledged: list[str] = [session.append(message("first")).id]
    broken: list[str] = []
    count = 0
    while count < interrupts and not broken:
        try:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, choose.uniform(2e-5, 6e-4))
                while True:
                    done = session.append(message("x" * choose.choice((10, 1000, 100_000)))).id
                    acknowledged.append(done)
            finally:
                armed = False
        except Interrupt:
            count += 1
        except Exception as error:
            broken.append(f"an interrupted session raised {error!r}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        if count % 10 == 0:
            broken += _compare(session, witness, path)
    there = ids_in(path)
    if len(set(there)) != len(there):
        broken.append("an interrupted append is stored twice")
    # A signal between the return of append and the note of its id loses the note; never the entry.
    broken += [f"acknowledged and lost: {each}" for each in set(acknowledged) - set(there)]
    return broken


def _compare(session: Session, witness: Session, path: Path) -> list[str]:
    broken = []
    try:
        witness.append(message("between"))
    except SessionLocked:
        broken.append("an interrupted session kept the lock")
    session.refresh()
    with Session.open(path, mode="r") as fresh:
        if [each.id for each in session.path()] != [each.id for each in fresh.path()]:
            broken.append("an interrupted session sees another path than the file has")
        if session.findings != fresh.findings:
            broken.append(f"an interrupted session sees {session.findings}, a fresh one {fresh.findings}")
        if [each.id for each in session.leaves()] != [each.id for each in fresh.leaves()]:
            broken.append("an interrupted session sees other leaves than the file has")
    return broken


def main() -> None:
    options = arguments(__doc__ or "", rounds=20, interrupts=1000, limit_ms=100.0)
    variant = options.sabotage
    choose = random.Random(options.seed)
    result: dict[str, Any] = {}
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="convtree-holder-") as name:
        folder = Path(name)
        for facts, problems in (
            killed(folder, options.rounds, options.limit_ms, variant),
            stopped(folder, variant),
            replaced(folder, options.rounds, variant),
            removed(folder, options.rounds, variant),
            forked(folder, options.limit_ms, variant),
            forked_while_busy(folder, options.rounds, variant),
            interrupted(folder, options.interrupts, choose, variant),
        ):
            result |= facts
            broken += problems
    finish(options, result, broken)


if __name__ == "__main__":
    main()
