"""Puts something else in the place of a file between a check and the system call that opens, links or removes it.

An audit hook runs just before each call of the operating system that names a path. Before the k-th of an operation, the
file is moved aside and a link to a victim, a second name of the victim, a pipe, a directory or a device is put in its
place. Afterwards the victim is unchanged and the operation has ended: it did its work or raised an error that names
the place. When the file is back, nothing that was acknowledged is lost.

Not covered: the files beside a database, which SQLite opens itself, by name. And whoever takes a temporary file away
before it is renamed has taken a log away: then only the victim and the end of the operation are looked at.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convtree import ConvtreeError, Session, open_store
from convtree._engine import save_points
from convtree.exchange import export_file, import_file
from convtree.repair import redact_session, repair

from . import sabotage
from .common import arguments, finish, in_child, is_wanted
from .samples import folder, message

KINDS = ("symlink", "link", "pipe", "directory", "device")
_EVENTS = {"open": 1, "os.rename": 2, "os.link": 2, "os.remove": 1, "os.truncate": 1, "sqlite3.connect": 1}
_VICTIM = b"the victim's own text\n"
_SECRET = "AKIAIOSFODNN7EXAMPLZ"


def begin(place: Path) -> str:
    """Stores sessions, one with an index, one with a torn tail, one damaged."""
    save_points._TAIL_ROWS = save_points._TAIL_BYTES = 0
    save_points._TAIL_PART = 0
    with open_store(str(place), durability="process") as store:
        for id in ("plain", "torn", "damaged", "secret", "gone"):
            with store.create(id=id, owner="ann") as session:
                session.append_many([message(f"{id}{number}") for number in range(4)])
                session.append(message(f"{id}4", _SECRET if id == "secret" else "aside"), parent_id=f"{id}1")
        store.list()
        store.delete("gone")
    with (place / "torn.jsonl").open("ab") as log:
        log.write(b'{"type":"mess')
    data = (place / "damaged.jsonl").read_bytes()
    (place / "damaged.jsonl").write_bytes(data.replace(b"damaged2", b"damagedX", 1))
    with Session.open(place / "plain.jsonl", mode="r") as session:
        export_file(session, place / "foreign.pi", "pi")
    return ""


def _append(id: str) -> Callable[[Path], None]:
    def call(place: Path) -> None:
        with open_store(str(place), durability="process") as store, store.open(id) as session:
            session.append(message("new"))

    return call


def _in_store(work: Callable[[Any], Any]) -> Callable[[Path], None]:
    def call(place: Path) -> None:
        with open_store(str(place), durability="process") as store:
            work(store)

    return call


def _created(store: Any) -> None:
    with store.create(id="created") as session:
        session.append(message("new"))


def _read(store: Any) -> None:
    with store.open("plain", read_only=True) as session:
        session.build_context()


def _exported(place: Path) -> None:
    with Session.open(place / "plain.jsonl", mode="r") as session:
        export_file(session, place / "document.md", "markdown", replace=True)


OPERATIONS: dict[str, Callable[[Path], Any]] = {
    "append": _append("plain"),
    "heal": _append("torn"),
    "create": _in_store(_created),
    "read": _in_store(_read),
    "list": _in_store(lambda store: store.list(limit=None)),
    "search": _in_store(lambda store: store.search("said")),
    "fork": _in_store(lambda store: store.fork("plain", new_id="forked").close()),
    "copy": _in_store(lambda store: store.copy("plain", "copied").close()),
    "rename": _in_store(lambda store: store.rename("plain", "name")),
    "delete": _in_store(lambda store: store.delete("torn")),
    "prune": _in_store(lambda store: store.prune(keep=2, dry_run=False)),
    "vacuum": _in_store(lambda store: store.vacuum("plain", dry_run=False)),
    "ledger": _in_store(lambda store: store.ledger()),
    "repair": lambda place: repair(place / "damaged.jsonl", dry_run=False),
    "redact": lambda place: redact_session(place, "secret", in_place=True),
    "export": _exported,
    "import": lambda place: import_file(place / "foreign.pi", place / "imported.jsonl"),
}
_MAY_GO = {"delete": {"torn"}, "prune": {"plain", "torn", "damaged", "secret"}}


# --- the process that is attacked ---------------------------------------------------------------------------------


class Attack:
    """The audit hook. `at` of -1 counts only."""

    def __init__(self, place: Path, aside: Path, victim: Path, at: int, kind: str) -> None:
        self.calls: list[str] = []
        self._place = f"{place}{os.sep}"
        self._aside = aside
        self._victim = victim
        self._at = at
        self._kind = kind
        self._busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._busy or event not in _EVENTS:
            return
        for path in self._paths(event, arguments):
            self.calls.append(f"{event} {path[len(self._place) :]}")
            if len(self.calls) - 1 == self._at:
                self._busy = True
                self._swap(Path(path))
                self._busy = False

    def _paths(self, event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
        for each in arguments[: _EVENTS[event]]:
            path = os.fsdecode(each) if isinstance(each, (str, bytes, os.PathLike)) else ""
            path = path.removeprefix("file:").partition("?")[0]
            if path.startswith(self._place):
                yield path

    def _swap(self, path: Path) -> None:
        if os.path.lexists(path):
            os.rename(path, self._aside)
        plant(path, self._kind, self._victim)


def plant(path: Path, kind: str, victim: Path) -> None:
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "link":
        os.link(victim, path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero never ends


def is_planted(path: Path, kind: str, victim: Path) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return {
        "symlink": stat.S_ISLNK(status.st_mode),
        "link": os.path.samestat(status, os.stat(victim)),
        "pipe": stat.S_ISFIFO(status.st_mode),
        "directory": stat.S_ISDIR(status.st_mode),
        "device": stat.S_ISCHR(status.st_mode),
    }[kind]


# --- the oracle ---------------------------------------------------------------------------------------------------


@dataclass
class Totals:
    operations: int = 0
    calls: int = 0  # of the operating system, without an attack
    attacks: int = 0
    refused: int = 0  # operations that raised
    hangs: int = 0
    lost: int = 0
    kinds: list[str] = field(default_factory=list)


class Arena:
    def __init__(self, root: Path, totals: Totals, variant: str | None) -> None:
        self.root = root
        self.totals = totals
        self._variant = variant
        self._model = root / "model"
        self._place = root / "store"
        self._victim = root / "victim"
        self._aside = root / "aside"
        said = in_child(lambda: begin(self._model))
        assert said == "", said

    def run(self, name: str, at: int = -1, kind: str = "") -> tuple[str | None, list[str]]:
        """Runs an operation on a copy of the store; returns what it says, and the calls it made."""
        for each in (self._place, self._aside):
            shutil.rmtree(each, ignore_errors=True)
            each.unlink(missing_ok=True)
        shutil.copytree(self._model, self._place)
        self._victim.unlink(missing_ok=True)
        self._victim.write_bytes(_VICTIM)
        self._victim.chmod(0o644)

        def work() -> str:
            sabotage.apply(self._variant)
            attack = Attack(self._place, self._aside, self._victim, at, kind)
            sys.addaudithook(attack)
            try:
                OPERATIONS[name](self._place)
            except (OSError, ConvtreeError) as error:
                return "\n".join([f"= {type(error).__name__}: {error}".replace("\n", " "), *attack.calls])
            return "\n".join(["=", *attack.calls])

        said = in_child(work)
        if said is None:
            return None, []
        first, *calls = said.split("\n")
        return first, calls

    def attack(self, name: str, at: int, kind: str, calls: list[str]) -> str | None:
        """Runs an operation with an attack; returns what is wrong."""
        self.totals.attacks += 1
        said, made = self.run(name, at, kind)
        where = f"{name}, {kind} before call {at} ({made[at] if at < len(made) else calls[at]})"
        if said is None:
            self.totals.hangs += 1
            return f"{where}: it hangs"
        status = os.stat(self._victim)
        if self._victim.read_bytes() != _VICTIM or stat.S_IMODE(status.st_mode) != 0o644:
            return f"{where}: the victim was changed; it said {said}"
        if said.startswith("!"):
            return f"{where}: it raised {said}"
        if said != "=":
            self.totals.refused += 1
            if str(self._place) not in said:
                return f"{where}: the error does not name the place: {said}"
        if at < len(made) and made[at].endswith(".tmp"):
            return None
        if at < len(made):
            self._put_back(self._place / made[at].split(" ", 1)[1], kind)
        lost = in_child(lambda: self._lost(name))
        if lost:
            self.totals.lost += 1
            return f"{where}: it said {said}, and then {lost}"
        return None

    def _put_back(self, path: Path, kind: str) -> None:
        if is_planted(path, kind, self._victim):
            path.rmdir() if kind == "directory" else path.unlink()
        if os.path.lexists(self._aside) and not os.path.lexists(path):
            os.rename(self._aside, path)

    def _lost(self, name: str) -> str:
        """Reads the store; says what is missing."""
        with open_store(str(self._place), durability="process") as store:
            for id in ("plain", "torn", "damaged", "secret"):
                if id in _MAY_GO.get(name, ()) and not (self._place / f"{id}.jsonl").exists():
                    continue
                with store.open(id, read_only=True) as session:
                    there = {record.id for _, record in session.records()}
                    wanted = {f"{id}{number}" for number in range(5)} - {"damaged2"}
                    if name == "vacuum":
                        wanted -= {"plain0", "plain1", "plain2", "plain3"}
                    if not wanted <= there:
                        return f"{id} has lost {sorted(wanted - there)}"
            with store.open("plain", create=True) as session:
                session.append(message("after"))
            store.list()
        return ""


def main() -> None:
    options = arguments(__doc__ or "", every=1, only="")
    choose, totals, broken = random.Random(options.seed), Totals(), list[str]()
    totals.kinds = [kind for kind in KINDS if kind != "device" or os.geteuid() == 0]
    with folder() as root:
        arena = Arena(root, totals, options.sabotage)
        for name in OPERATIONS:
            if not is_wanted(name, options.only):
                continue
            said, calls = arena.run(name)
            totals.operations += 1
            totals.calls += len(calls)
            if said != "=":
                broken.append(f"{name}: without an attack it says {said}")
            for at in range(len(calls)):
                for kind in totals.kinds:
                    if options.every == 1 or choose.randrange(options.every) == 0:
                        wrong = arena.attack(name, at, kind, calls)
                        broken += [wrong] if wrong else []
    finish(options, vars(totals), broken)


if __name__ == "__main__":
    main()
