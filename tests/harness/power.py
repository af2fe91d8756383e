"""Cuts the power of a real file system: entries acknowledged with `durability="power"` must be there afterwards.

A file system in an image is shut down while processes write to it, by the ioctl that ext4 and xfs have for such tests:
data that is not on the disk by then is lost. It is mounted again, and its logs are compared with what was acknowledged
before the cut. Needs root, loop devices and mkfs; without them it is skipped, or fails (`--require`).
"""

from __future__ import annotations

import fcntl
import gc
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convtree import LeafUncertain, SessionNotFound
from convtree._engine import save_points
from convtree._engine.log import Durability
from convtree._session.session import Session
from convtree.repair import repair, vacuum, verify

from . import sabotage
from .common import arguments, finish, keep, read_plainly
from .kill import entry_of, pick_size, text_of
from .places import DATABASE, findings, open_session

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
FLUSH_JOURNAL, FLUSH_NOTHING = 1, 2
WRITERS = 4
#: file system, mount options, size of the image
DISKS = (("ext4", "loop", "48M"), ("ext4", "loop,noauto_da_alloc", "48M"), ("xfs", "loop", "320M"))
KEPT = [f"s-{each}-500" for each in range(10)]
KINDS = ("append", "append", "append", "process", "create", "fork", "repair", "vacuum", "sqlite")


class Disk:
    """A file system in a file."""

    def __init__(self, folder: Path, kind: str, options: str, size: str) -> None:
        self.name = f"{kind} {options.removeprefix('loop').lstrip(',')}".strip()
        self.place = folder / "mount"
        self.image = folder / "image"
        self._options = options
        folder.mkdir()
        self.place.mkdir()
        _run("truncate", "-s", size, str(self.image))
        _run(f"mkfs.{kind}", "-q", str(self.image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", self._options, str(self.image), str(self.place))

    def cut(self, flag: int) -> None:
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Unmounts it. With a file that is still open it would stay as it is after the cut, and be mounted so."""
        gc.collect()  # a session of `open_session` leaves its store, with the files of a database, to the collector
        for _ in range(100):
            if subprocess.run(["umount", str(self.place)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.02)  # a killed process has not ended yet
        raise OSError(f"umount {self.place}: still in use")

    def remove(self) -> None:
        """Unmounts it at the end, also with a file that is still open."""
        subprocess.run(["umount", "-l", str(self.place)], capture_output=True, check=False)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command[:2])}: {done.stderr.strip()}")


# --- the work ------------------------------------------------------------------------------------------------------

Say = Callable[[str], None]


def appending(path: Path, durability: Durability, prefix: str, seed: int) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        choose = random.Random(seed)
        save_points._STEP_UNITS = 16  # an index is saved all the time
        session = open_session(path, durability=durability, on_stale="rebase")
        for number in range(10**6):
            count = choose.choice((1, 1, 1, 2, 5))
            ids = [f"{prefix}-{number}_{each}of{count}-{pick_size(choose, False)}" for each in range(count)]
            session.append_many(map(entry_of, ids))
            for each in ids:
                say(each)

    return work


def creating(folder: Path, prefix: str) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        for number in range(10**6):
            entry_id = f"{prefix}-{number}-100"
            with Session.open(folder / f"{entry_id}.jsonl", mode="x") as session:
                session.append(entry_of(entry_id))
            say(entry_id)

    return work


def forking(source: Path, folder: Path, prefix: str) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        with Session.open(source) as session:
            for number in range(10**6):
                name = f"{prefix}-{number}.jsonl"
                session.fork(folder / name).close()
                say(name)

    return work


def repairing(folder: Path, prefix: str) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        for path in sorted(folder.glob(f"{prefix}-*.jsonl")):
            repair(path, dry_run=False)
            say(path.name)

    return work


def vacuuming(folder: Path, prefix: str) -> Callable[[Say], None]:
    def work(say: Say) -> None:
        for path in sorted(folder.glob(f"{prefix}-*.jsonl")):
            vacuum(path, [KEPT[-1]], dry_run=False)
            say(path.name)

    return work


@dataclass
class Cut:
    """One power cut: the kind of work, and what each process had acknowledged before the cut."""

    kind: str
    folder: Path
    flag: int
    acknowledged: list[list[str]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / f"log{DATABASE if self.kind == 'sqlite' else '.jsonl'}"


def prepare(cut: Cut, number: int, choose: random.Random) -> list[Callable[[Say], None]]:
    """Prepares the folder, durably; returns the work of each process."""
    cut.folder.mkdir(exist_ok=True)
    names = [f"c{number}-w{writer}" for writer in range(WRITERS)]
    if cut.kind in ("append", "process", "sqlite"):
        level: Durability = "process" if cut.kind == "process" else "power"
        return [appending(cut.log, level, name, choose.getrandbits(32)) for name in names]
    if cut.kind == "create":
        return [creating(cut.folder, name) for name in names[:2]]
    with Session.open(cut.log, durability="process") as session:
        for each in range(20):
            session.append(entry_of(f"s-{each}-500"))
    if cut.kind == "fork":
        os.sync()
        return [forking(cut.log, cut.folder, name) for name in names[:2]]
    if cut.kind == "vacuum":
        for name in names[:2]:
            for each in range(30):
                shutil.copyfile(cut.log, cut.folder / f"{name}-{each:02}.jsonl")
        os.sync()
        return [vacuuming(cut.folder, name) for name in names[:2]]
    lines = cut.log.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:10], lines[10].replace(b"xx", b"xy", 1), *lines[10:]])
    for name in names[:2]:
        for each in range(30):
            (cut.folder / f"{name}-{each:02}.jsonl").write_bytes(damaged)
    os.sync()
    return [repairing(cut.folder, name) for name in names[:2]]


def run(cut: Cut, disk: Disk, number: int, choose: random.Random, variant: str | None) -> list[str]:
    """Starts the work, cuts the power at a random moment, and mounts again."""
    jobs = prepare(cut, number, choose)
    pids, pipes = [], []
    for job in jobs:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            _work(job, write_end, variant)
        os.close(write_end)
        os.set_blocking(read_end, False)
        pids.append(pid)
        pipes.append(read_end)
    select.select(pipes, [], [], 5)  # until one has acknowledged something
    time.sleep(choose.uniform(0, 0.03))
    # Only lines read before the cut count as acknowledged: a sync during the cut may report success.
    heard = [_hear(pipe) for pipe in pipes]
    disk.cut(cut.flag)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    late = [_hear(pipe) for pipe in pipes]
    for pipe in pipes:
        os.close(pipe)
    disk.unmount()
    disk.mount()
    cut.acknowledged = [[line for line in lines if line[0] != "E"] for lines in heard]
    # After the cut, OSError is expected; before it, no error is.
    broken = [line[1:] for lines in heard for line in lines if line[0] == "E"]
    return broken + [line[1:] for lines in late for line in lines if line[0] == "E" and "OSError" not in line]


def _work(job: Callable[[Say], None], pipe: int, variant: str | None) -> None:
    def say(line: str) -> None:
        os.write(pipe, line.encode() + b"\n")

    try:
        sabotage.apply(variant)
        job(say)
    except BaseException as error:
        kind = "OSError" if isinstance(error, OSError) else type(error).__name__
        with suppress(OSError):
            say(f"E{kind}: {str(error)[:300]}".replace("\n", " "))
    finally:
        os._exit(0)


def _hear(pipe: int) -> list[str]:
    data = b""
    with suppress(BlockingIOError):
        while piece := os.read(pipe, 2**20):
            data += piece
    return data.decode().split("\n")[:-1]


# --- checks -------------------------------------------------------------------------------------------


def check(cut: Cut, totals: dict[str, int]) -> list[str]:
    """Compares the logs after the cut with what was acknowledged before it."""
    everything = [each for sequence in cut.acknowledged for each in sequence]
    totals["acknowledged"] += len(everything)
    match cut.kind:
        case "append" | "sqlite":
            return _check_log(cut.log, everything)
        case "process":
            return _check_loss(cut, totals)
        case "create":
            broken = []
            for entry_id in everything:
                broken += _check_log(cut.folder / f"{entry_id}.jsonl", [entry_id])
            for path in cut.folder.glob("*.jsonl"):  # not acknowledged: may be missing, must be usable
                broken += _check_usable(path)
            return broken
        case "fork":
            source = [record["id"] for record in read_plainly(cut.log)][1:]
            lost = [name for name in everything if not (cut.folder / name).exists()]
            broken = [f"acknowledged and lost: the fork {name}" for name in lost]
            for path in cut.folder.glob("*.jsonl"):
                broken += _check_whole(path, source)
            return broken
        case "vacuum":
            broken = []
            for path in cut.folder.glob("c*.jsonl"):
                broken += _check_vacuumed(path, path.name in everything)
            return broken
        case _:
            good = [f"s-{each}-500" for each in range(20)]
            broken = []
            for path in cut.folder.glob("c*.jsonl"):
                broken += _check_repaired(path, good, path.name in everything)
            return broken


def _check_repaired(path: Path, good: list[str], acknowledged: bool) -> list[str]:
    """Checks for the old log or the new one; if acknowledged, for the new one and the original."""
    codes = [finding.code for finding in verify(path).findings]
    if not codes:
        return _check_whole(path, good) + _check_original(path)
    if codes != ["bad_seal"]:
        return [f"a repair left neither the old log nor the new one: {codes}"]
    return [f"acknowledged and lost: the repair of {path.name}"] if acknowledged else []


def _check_vacuumed(path: Path, acknowledged: bool) -> list[str]:
    """Checks for the old log or the new one; if acknowledged, for the new one and the original."""
    every = [f"s-{each}-500" for each in range(20)]
    if not _check_whole(path, every):
        return [f"acknowledged and lost: the vacuum of {path.name}"] if acknowledged else []
    ids = [record["id"] for record in read_plainly(path)]
    broken = [] if ids[2:] == KEPT else [f"a vacuum left neither the old log nor the new one: {ids}"]
    return broken + _check_whole(path.with_name(path.name + ".original"), every)


def _check_original(path: Path) -> list[str]:
    original = path.with_name(path.name + ".original")
    if original.exists() and [finding.code for finding in verify(original).findings] == ["bad_seal"]:
        return []
    return [f"{path.name} was repaired and the log as it was is lost"]


def _check_log(path: Path, acknowledged: list[str]) -> list[str]:
    if not path.exists():
        return [f"acknowledged and lost: {len(acknowledged)} entries and the log"] if acknowledged else []
    broken = []
    try:
        found = findings(path)
        with open_session(path, mode="r") as session:
            there = {entry.id for entry in session.path()}
    except Exception as error:
        return [f"unreadable: {error!r}, {len(acknowledged)} acknowledged"]
    broken = [f"finding {f.code} in line {f.line}" for f in found if f.code != "torn_tail"]
    broken += [f"acknowledged and lost: {each}" for each in acknowledged if each not in there]
    broken += _partial_groups(there)
    return broken + _check_usable(path)


def _partial_groups(stored: set[str]) -> list[str]:
    """Returns the groups of which a part is stored; `w1-7_0of3-500` is the id of the first of three entries."""
    found: Counter[str] = Counter()
    for each in stored:
        name, _, rest = each.partition("_")
        if rest:
            found[f"{name} of {rest.partition('of')[2].partition('-')[0]}"] += 1
    return [f"{count} entries of the group {name}" for name, count in found.items() if not name.endswith(f" {count}")]


def _check_whole(path: Path, ids: list[str]) -> list[str]:
    try:
        if [record["id"] for record in read_plainly(path)][1:] == ids:
            return []
    except (ValueError, KeyError):
        pass
    return [f"{path.name} is there and not whole ({path.stat().st_size} bytes)"]


def _check_loss(cut: Cut, totals: dict[str, int]) -> list[str]:
    """After `durability="process"`: the log has the first entries of each process, and only the last may be lost."""
    try:
        with Session.open(cut.log, mode="r") as session:
            codes = {finding.code for finding in session.findings}
            try:
                path = session.path()
            except LeafUncertain:
                path = []  # refused: the leaf is uncertain
    except SessionNotFound:
        path, codes = [], set()
    broken = [f"finding {code}" for code in codes - {"torn_tail", "nul_bytes"}]
    there = [entry.id for entry in path]
    other = [entry.id for entry in path if getattr(entry, "message", {}).get("content") != text_of(entry.id)]
    broken += [f"{entry_id} has the wrong content" for entry_id in other]
    for writer, sequence in enumerate(cut.acknowledged):
        mine = [each for each in there if each.split("-")[1] == f"w{writer}"]
        kept = mine[: len(sequence)]
        if kept != sequence[: len(kept)]:
            broken.append(f"process {writer}: other entries than the last are lost")
        totals["unsynced_lost"] += len(sequence) - len(kept)
    return broken + (_check_usable(cut.log) if cut.log.exists() else [])


def _check_usable(path: Path) -> list[str]:
    """Checks that a writer can go on, and repairs the tail."""
    try:
        with open_session(path) as session:
            session.append({"role": "user", "content": "after the cut"})
        found = findings(path)
    except Exception as error:
        return [f"{path.name} cannot be continued: {error!r}"]
    return [f"{finding.code} after it was continued" for finding in found]


def make_disks(folder: Path) -> tuple[list[Disk], list[str]]:
    """Makes the disks that this machine can make; returns them, and why others are missing."""
    if os.geteuid() != 0:
        return [], ["not root"]
    disks, reasons = [], []
    for number, (kind, options, size) in enumerate(DISKS):
        if shutil.which(f"mkfs.{kind}") is None:
            reasons.append(f"no mkfs.{kind}")
            continue
        try:
            disks.append(Disk(folder / str(number), kind, options, size))
        except OSError as error:
            reasons.append(str(error))
    return disks, reasons


def main() -> None:
    options = arguments(__doc__ or "", ["require"], cuts=20)
    choose = random.Random(options.seed)
    totals = {"cuts": 0, "acknowledged": 0, "unsynced_lost": 0}
    kinds = dict.fromkeys(KINDS, 0)
    broken: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="convtree-power-"))
    disks, reasons = make_disks(folder)
    try:
        if not disks:
            print(f"SKIPPED: no power was cut: {'; '.join(reasons)}", flush=True)
            finish(options, totals | {"skipped": "; ".join(reasons)}, reasons if options.require else [])
        while totals["cuts"] < options.cuts and not broken:
            disk = disks[totals["cuts"] // len(KINDS) % len(disks)]
            kind = KINDS[totals["cuts"] % len(KINDS)]
            flag = choose.choice((FLUSH_JOURNAL, FLUSH_NOTHING))
            cut = Cut(kind, disk.place / str(totals["cuts"]), flag)
            broken = run(cut, disk, totals["cuts"], choose, options.sabotage)
            broken += check(cut, totals)
            broken = [f"{kind}, {disk.name}, flag {flag}: {text}" for text in broken]
            if broken:
                keep(cut.folder)
            shutil.rmtree(cut.folder, ignore_errors=True)
            totals["cuts"] += 1
            kinds[kind] += 1
            if totals["cuts"] % 100 == 0:
                print(f"{time.monotonic() - options.started:.0f} s: {totals}", file=sys.stderr, flush=True)
    finally:
        for disk in disks:
            disk.remove()
        shutil.rmtree(folder, ignore_errors=True)
    result: dict[str, Any] = totals | {"kinds": kinds, "disks": [disk.name for disk in disks]}
    if reasons:
        result["without"] = reasons
    finish(options, result, broken)


if __name__ == "__main__":
    main()
