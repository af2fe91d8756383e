"""Fails the k-th system call, for every k, of every operation of a session and of the recovery after it.

The calls of the log and of repair are counted; one of them fails, or two, or one and all like it after. Whatever
fails: acknowledged entries are in the file, the session agrees with a fresh reader or refuses to write, and the next
session can go on. If the system allows it, a real disk is filled and the size of a real file is limited.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from convtree import CompactionEntry, MessageEntry, ReadOnlySession, Session, SessionExists, SessionFailed
from convtree._engine import save_points, snapshot
from convtree._logs import descriptors, filesystems, put_new
from convtree._tools import repair as repairing
from convtree.repair import repair, verify

from . import sabotage
from .common import arguments, finish, keep, modules_using_os, read_plainly
from .samples import folder, view

_ERRORS = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EINTR": errno.EINTR,
    "EMFILE": errno.EMFILE,
    "ENOLCK": errno.ENOLCK,
}
_TORN = ("torn 1 EIO", "torn half EIO", "torn line EIO", "torn all EIO", "torn half ENOSPC", "torn line ENOSPC")
KINDS: dict[str, tuple[str, ...]] = {
    "open": ("EIO", "ENOSPC", "EMFILE"),
    "write": ("EIO", "ENOSPC", "short", *_TORN, "signal"),
    "fdatasync": ("EIO", "ENOSPC", "signal"),
    "fsync": ("EIO", "signal"),
    "ftruncate": ("EIO", "signal"),
    "pread": ("EIO", "signal"),
    "link": ("EIO", "ENOSPC", "EINTR"),  # the others are called again by Python itself (PEP 475)
    "rename": ("EIO", "ENOSPC", "EINTR"),
    "unlink": ("EIO", "EINTR"),
    "fstat": ("EIO",),
    "stat": ("EIO",),
    "lstat": ("EIO",),
    "lock": ("ENOLCK",),
}
_FIRST_OF_TWO = {
    "write": ("torn half EIO", "torn half ENOSPC", "torn line ENOSPC"),
    "fdatasync": ("EIO",),
    "fsync": ("EIO",),
}
_SECOND_OF_TWO = ("EIO", "ENOSPC", "torn half EIO")
_ENOUGH = 100  # broken promises after which the sweep stops
_KEPT: list[Path] = []  # folders of the first failures
_REPLACING = ("fork", "repair", "an index")  # they write other files than the session's
_KEEPING = "close that keeps an index"
_GROWING = "an index is saved while the session is open"


class Fault(NamedTuple):
    """Which call fails, and how. `for_ever`: every later call of the same name fails too."""

    at: int
    kind: str
    for_ever: bool = False


class Signal(BaseException):
    """Raised as if by a signal handler, right after a call."""


def _is_index(file: Any) -> bool:
    """Returns whether a path or descriptor is that of an index file: if that fails, the engine goes on without it."""
    path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else str(file)
    return path.endswith((".index", ".index (deleted)"))


def _is_closing() -> bool:
    """Returns whether the log is closing a descriptor: it asks which file that is open on, and may fail to learn it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != descriptors.__file__:
        frame = frame.f_back
    return frame.f_back is not None and frame.f_back.f_code.co_name == descriptors.Descriptors.close_own.__name__


def _is_for_placeholder() -> bool:
    """Returns whether a placeholder is to be locked, which its creator may use without where there are no locks."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code is not put_new._lock.__code__:
        frame = frame.f_back
    return frame.f_back is not None


class Door:
    """Replaces `os`: counts the calls that matter, and fails those in the plan."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fired: list[tuple[int, str, str]] = []
        self.plan: Sequence[Fault] = ()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in KINDS:
            return real
        return lambda *args, **named: self.call(name, lambda *a: real(*a, **named), *args)

    def call(self, name: str, real: Callable[..., Any], *args: Any) -> Any:
        """Makes the call, or fails it."""
        self.calls.append(name)
        kind = self._kind(name)
        if kind is None:
            return real(*args)
        # The engine does without an index, except that it must be removed before a repair.
        excused = kind in _ERRORS and name != "unlink" and _is_index(args[0] if args else None)
        excused |= kind in _ERRORS and name == "fstat" and _is_closing()
        excused |= kind == "ENOLCK" and _is_for_placeholder()
        excused |= kind in _ERRORS and args[:1] in ((filesystems._MOUNT_TABLE,), (filesystems._TYPES,))
        self.fired.append((len(self.calls), name, "excused" if excused else kind))
        if kind == "signal":
            real(*args)
            raise Signal
        if kind in _ERRORS:
            raise OSError(_ERRORS[kind], os.strerror(_ERRORS[kind]))
        data = bytes(args[-1])
        if kind == "short":
            return real(*args[:-1], data[: max(1, len(data) // 2)])
        _, much, code = kind.split(" ")
        length = {"1": 1, "half": len(data) // 2, "line": data.find(b"\n") + 1, "all": len(data)}[much]
        if length:
            real(*args[:-1], data[:length])
        raise OSError(_ERRORS[code], os.strerror(_ERRORS[code]))

    def _kind(self, name: str) -> str | None:
        now = len(self.calls)
        for fault in self.plan:
            if fault.at == now or (fault.for_ever and fault.at < now and self.calls[fault.at - 1] == name):
                return fault.kind if fault.kind in KINDS[name] else None
        return None

    def file(self, fd: int, mode: str, buffering: int = -1, closefd: bool = True) -> io.BufferedWriter:
        """Replaces `open` on a descriptor, so that the writes of a file object are counted as well."""
        door = self

        class File(io.FileIO):
            def write(self, data: Any, /) -> int:
                return int(door.call("write", super().write, data))

        return io.BufferedWriter(File(fd, mode.replace("b", ""), closefd), buffering if buffering > 0 else 8192)

    @contextmanager
    def watching(self, plan: Sequence[Fault]) -> Iterator[None]:
        """Replaces `os`, `open` and the lock in every module that uses them."""
        self.calls, self.fired, self.plan = [], [], plan
        flock = fcntl.flock

        def take(fd: int, how: int) -> Any:
            return self.call("lock", lambda: flock(fd, how)) if how & fcntl.LOCK_EX else flock(fd, how)

        with ExitStack() as stack:
            for module in (*modules_using_os(), repairing):
                stack.enter_context(patch.object(module, "os", self))
                stack.enter_context(patch.object(module, "open", self.file, create=True))
            stack.enter_context(patch.object(fcntl, "flock", take))
            yield


# --- operations -------------------------------------------------------------------------------------------------


class World:
    """A log in a folder, a session on it, and the ids of its acknowledged entries."""

    def __init__(self, place: Path) -> None:
        self.path = place / "log.jsonl"
        self.session: Session | None = None
        self.acknowledged: list[str] = []
        self.fired = 0  # how many calls failed during the operation, before the recovery
        self.indexes: tuple[bytes | None, bytes | None] = (None, None)  # before and after a close

    def open(self, **named: Any) -> Session:
        """Opens the session that the operation uses."""
        self.session = Session.open(self.path, lock_timeout_s=0.5, **named)
        return self.session

    def acknowledge(self, *entries: Any) -> None:
        """Notes what an operation returned."""
        self.acknowledged += [entry.id for entry in entries]


class Operation(NamedTuple):
    """An operation of a session: how its world is prepared, and the act during which calls fail."""

    name: str
    prepare: Callable[[World], Any]
    act: Callable[[World], Any]


def _message(text: str = "Hi") -> dict[str, str]:
    return {"role": "user", "content": text}


def _nothing(_world: World) -> None:
    pass


def _log(world: World) -> None:
    with Session.open(world.path, id="sample") as session:
        world.acknowledge(*session.append_many([_message(f"question {n}" * 20) for n in range(4)]))
        session.label(world.acknowledged[1], "here")


def _with_session(**named: Any) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        _log(world)
        world.open(**named)

    return prepare


def _with_news(world: World) -> None:
    _log(world)
    world.open(on_stale="rebase")
    with Session.open(world.path) as other:
        world.acknowledge(other.append(_message("someone else's")))


def _with_tail(cut: int) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        _log(world)
        with Session.open(world.path) as other:
            other.append(_message("not acknowledged" * 9))
        os.truncate(world.path, world.path.stat().st_size - cut)

    return prepare


def _damaged(world: World) -> None:
    _log(world)
    with Session.open(world.path) as session:
        world.acknowledge(session.append(_message("after the label")))
    world.path.write_bytes(world.path.read_bytes().replace(b'"here"', b'"hexe"'))


def _always_saving() -> Any:
    """Makes every close save an index."""
    return patch.multiple(save_points, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0)


def _with_index(world: World) -> None:
    with _always_saving():
        _log(world)
    world.acknowledge(world.open().append(_message("behind the index")))


def _close(world: World) -> None:
    before = _index(world)
    try:
        with _always_saving():
            _session(world).close()
    finally:
        world.indexes = (before, _index(world))


def _grow(world: World) -> None:
    before = _index(world)
    try:
        _session(world)._journal.save_snapshot(always=True)
    finally:
        world.indexes = (before, _index(world))


def _index(world: World) -> bytes | None:
    path = world.path.with_name(world.path.name + ".index")
    return path.read_bytes() if path.exists() else None


def _records() -> Iterator[MessageEntry]:
    parent = None
    for n in range(6):
        yield MessageEntry(id=f"import{n}", parent_id=parent, message=_message(str(n)))
        parent = f"import{n}"


def _session(world: World) -> Session:
    assert world.session is not None
    return world.session


def _append(world: World) -> None:
    world.acknowledge(_session(world).append(_message("new" * 50)))


def _open_and_append(**named: Any) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.acknowledge(world.open(**named).append(_message("first")))

    return act


def _summarise(world: World) -> None:
    world.acknowledge(_session(world).branch(world.acknowledged[0], summary="was no good"))


def _compact(world: World) -> None:
    kept = world.acknowledged[1]
    world.acknowledge(_session(world).append(CompactionEntry(summary="so far", first_kept_entry_id=kept)))


def _fork(world: World) -> None:
    _session(world).fork(world.path.with_name("fork.jsonl")).close()


def _fork_without_links(world: World) -> None:
    """Forks as on FAT. That may be done without the lock: the empty file was created by this process."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    with patch.object(os, "link", refuse):
        _fork(world)


def _retry(world: World) -> None:
    world.acknowledge(_session(world).append(_message("Hi"), id="retried"))
    world.acknowledge(_session(world).append(_message("Hi"), id="retried"))


def _extend(world: World) -> None:
    assert _session(world).extend(_records(), batch_size=2) == 6
    world.acknowledged += [f"import{n}" for n in range(6)]


def _many(world: World) -> None:
    world.acknowledge(*_session(world).append_many([_message(f"many {n}" * 9) for n in range(4)]))


OPERATIONS = (
    Operation("first append", _nothing, _open_and_append()),
    Operation("first append, new only", _nothing, _open_and_append(mode="x")),
    Operation("first append, exclusive", _nothing, _open_and_append(exclusive=True)),
    Operation("first append, process", _nothing, _open_and_append(durability="process")),
    Operation("open and append", _log, _open_and_append()),
    Operation("append", _with_session(), _append),
    Operation("append, process", _with_session(durability="process"), _append),
    Operation("append, exclusive", _with_session(exclusive=True), _append),
    Operation("append with news", _with_news, _append),
    Operation("append after a torn tail", _with_tail(30), _open_and_append()),
    Operation("append after a lost newline", _with_tail(1), _open_and_append(on_stale="rebase")),
    Operation("append_many", _with_session(), _many),
    Operation("append twice with one id", _with_session(), _retry),
    Operation("compaction", _with_session(), _compact),
    Operation("branch", _with_session(), lambda world: _session(world).branch(world.acknowledged[0])),
    Operation("branch with a summary", _with_session(), _summarise),
    Operation("label", _with_session(), lambda world: _session(world).label(world.acknowledged[0], "there")),
    Operation("rename", _with_session(), lambda world: _session(world).rename("Trip")),
    Operation("extend", _with_session(), _extend),
    Operation("refresh", _with_news, lambda world: _session(world).refresh()),
    Operation("read", _with_session(), lambda world: view(_session(world))),
    Operation("fork", _with_session(), _fork),
    Operation("fork without links", _with_session(), _fork_without_links),
    Operation("open", _log, lambda world: world.open()),
    Operation("open with an index", _with_index, lambda world: world.open()),
    Operation(_KEEPING, _with_index, _close),
    Operation(_GROWING, _with_index, _grow),
    Operation("open to read", _log, lambda world: world.open(mode="r")),
    Operation("verify", _log, lambda world: verify(world.path)),
    Operation("repair", _damaged, lambda world: repair(world.path, dry_run=False)),
)


def _recover(world: World) -> None:
    """Opens the log after a fault, as another process would, and appends."""
    with Session.open(world.path, lock_timeout_s=0.5, on_stale="rebase") as session:
        world.acknowledge(session.append(_message("and on we go")))


# --- the oracle ---------------------------------------------------------------------------------------------------


def run(operation: Operation, plan: Sequence[Fault]) -> tuple[Door, list[str]]:
    """Does one operation while calls fail, then recovers; returns the calls, and every broken promise."""
    problems: list[str] = []
    door = Door()
    gc.collect(0)
    descriptors = _descriptors()
    with folder() as place:
        world = World(place)
        operation.prepare(world)
        before = world.path.read_bytes() if world.path.exists() else b""
        try:
            with door.watching(plan):
                problems += _attempt(operation.name, operation.act, world, door)
                world.fired = len(door.fired)
                if "exclusive" in operation.name and world.session:
                    world.session.close()
                problems += _attempt("the recovery", _recover, world, door)
            problems += _judge(operation, world, door, before)
        except Exception as error:  # no other error may be raised
            problems.append(f"afterwards {type(error).__name__}: {error}")
        if world.session:
            world.session.close()
        if problems:
            problems = [f"{operation.name}, {door.fired}: {problem}" for problem in problems]
            if len(_KEPT) < 3:
                _KEPT.append(keep(place))
                problems[0] += f" ({_KEPT[-1]})"
    world.session = None
    if _descriptors() != descriptors:
        gc.collect()
    if _descriptors() != descriptors:
        problems.append(f"{operation.name}, {door.fired}: a descriptor was left open")
    return door, problems


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _attempt(name: str, act: Callable[[World], Any], world: World, door: Door) -> Iterator[str]:
    earlier = len(door.fired)
    failed: BaseException | None = None
    try:
        act(world)
    except (OSError, Signal) as error:
        failed = error
    except Exception as error:  # judged here
        yield f"{name} raised {type(error).__name__}: {error}"
        return
    fired = [kind for _, _, kind in door.fired[earlier:] if kind not in ("short", "excused")]
    if name in (_KEEPING, _GROWING):
        if isinstance(failed, OSError):
            yield f"{name} raised {failed!r}"
        return
    if fired and failed is None:
        yield f"{name} went well although a call failed"
    if failed is not None and not fired:
        yield f"{name} raised {failed!r} although no call failed"
    writes = [name for _, name, _ in door.fired[earlier:] if name in ("write", "fdatasync", "ftruncate")]
    if isinstance(failed, OSError) and writes and not failed.filename:
        yield f"{name} raised an error without a path: {failed!r}"
    if isinstance(failed, OSError) and failed.errno not in {_ERRORS.get(kind.split(" ")[-1]) for kind in fired}:
        yield f"{name} raised another error: {failed!r}"


def _judge(operation: Operation, world: World, door: Door, before: bytes) -> Iterator[str]:
    if operation.name in (_KEEPING, _GROWING):
        yield from _judge_index(world, door)
    if operation.name != _KEEPING and world.session and "exclusive" not in operation.name:
        yield from _judge_session(operation, world, door)
    # A new session can always go on, and finds every acknowledged entry.
    with Session.open(world.path, lock_timeout_s=0.3, on_stale="rebase") as fresh:
        world.acknowledge(fresh.append(_message("the last word")))
    if operation.name == "repair":
        repair(world.path, dry_run=False)
        if not world.path.with_name("log.jsonl.original").read_bytes().startswith(before):
            yield "the original was changed"
        if list(world.path.parent.glob("*-2")):
            yield "a repair that was interrupted left files that the next one did not use"
    elif not world.path.read_bytes().startswith(before[: before.rfind(b"\n") + 1]):
        yield "lines are lost"
    stored = [record["id"] for record in read_plainly(world.path)]
    for id in world.acknowledged:
        if stored.count(id) != 1:
            yield f"an acknowledged entry is in the file {stored.count(id)} times"
    if (report := verify(world.path)).findings:
        yield f"findings are left: {[finding.code for finding in report.findings]}"
    fork = world.path.with_name("fork.jsonl")
    if fork.exists() and fork.stat().st_size and verify(fork).findings:
        yield "half a fork was left"
    if not any(name == "unlink" for _, name, _ in door.fired) and list(world.path.parent.glob(".*.tmp")):
        yield "a temporary file was left"


def _judge_session(operation: Operation, world: World, door: Door) -> Iterator[str]:
    """Checks the session that met the fault: it agrees with a fresh reader, or refuses to write."""
    session = _session(world)
    mine = session.leaf_id
    committed = world.path.read_bytes() if world.path.exists() else b""
    try:
        world.acknowledge(session.append(_message("a try"), parent_id=mine))
    except SessionFailed:
        if world.path.exists() and world.path.read_bytes() != committed:
            yield "a failed session wrote"
        return
    except SessionExists:
        return  # mode x: the recovery has created the log
    except ReadOnlySession:
        pass
    if _sync_failed(operation, door, world):
        yield "a session went on writing after its sync had failed"
    session.refresh()
    with Session.open(world.path, mode="r") as fresh:
        if view(session) != view(fresh):
            yield "after a refresh, the session differs from a fresh reader"


def _judge_index(world: World, door: Door) -> Iterator[str]:
    """Checks the index file after a close: the one from before, another complete one, or none."""
    before, after = world.indexes
    if not before:
        yield "there was no index before"
    if after not in (before, None) and not (found := _load(after)):
        yield f"an incomplete index was left: {len(after or b'')} bytes, {found}"
    if not door.fired and after == before:
        yield "no index was saved although nothing failed"
    with Session.open(world.path, mode="r") as with_it:
        indexed = view(with_it)
    (index := world.path.with_name(world.path.name + ".index")).unlink(missing_ok=True)
    with Session.open(world.path, mode="r") as without:
        if view(without) != indexed:
            yield "with the index that was left, a session reads something else"
    if after is not None:
        index.write_bytes(after)


def _load(data: bytes | None) -> bool:
    """Returns whether these bytes are a complete index."""
    data = data or b""
    found = snapshot.load(len(data), lambda offset, length: data[offset : offset + length])
    if found is None:
        return False
    found.index(lambda spans: [b""] * len(spans)).tree.load()
    return True


def _sync_failed(operation: Operation, door: Door, world: World) -> bool:
    if operation.name.startswith(_REPLACING) or "torn" in operation.name:
        return False
    during = door.fired[: world.fired]
    return any(name in ("fdatasync", "fsync") and kind != "signal" for _, name, kind in during)


# --- the sweep ----------------------------------------------------------------------------------------------------


def plans(operation: Operation, pairs: bool) -> Iterator[tuple[Fault, ...]]:
    """Yields every plan in which one call fails, or one and then another."""
    calls = run(operation, ())[0].calls
    for at, name in enumerate(calls, 1):
        for kind in KINDS[name]:
            yield (Fault(at, kind),)
            if kind not in ("signal", "short"):
                yield (Fault(at, kind, for_ever=True),)
        for kind in _FIRST_OF_TWO.get(name, ()) if pairs else ():
            after = run(operation, (Fault(at, kind),))[0].calls
            for second, other in enumerate(after[at:], at + 1):
                for also in _SECOND_OF_TWO:
                    if also in KINDS[other]:
                        yield Fault(at, kind), Fault(second, also)


def sweep(every: int, pairs: bool) -> tuple[Counter[str], list[str]]:
    """Runs every plan of every operation, or every n-th; returns the number of runs, and broken promises."""
    ran: Counter[str] = Counter()
    broken: list[str] = []
    for operation in OPERATIONS:
        for number, plan in enumerate(plans(operation, pairs)):
            if number % every == 0 and len(broken) < _ENOUGH:
                ran[operation.name] += 1
                broken += run(operation, plan)[1]
    return ran, broken


# --- the real thing -----------------------------------------------------------------------------------------------


def real_limit() -> list[str]:
    """Limits the size of files, in a separate process, and appends until a write fails; at every limit."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, "-m", "tests.harness.faults", "--limited", place],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    return [] if done.returncode == 0 else [f"with RLIMIT_FSIZE: {(done.stdout + done.stderr)[-300:]}"]


def limited(place: Path) -> None:
    """The process of `real_limit`."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for limit in range(1, 2500, 37):
        path = place / f"{limit}.jsonl"
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        problem = _fill(path, errno.EFBIG, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))
        if problem:
            sys.exit(problem)


def _fill(path: Path, code: int, make_room: Callable[[], object]) -> str | None:
    """Appends until that fails, makes room, and goes on with the same session; returns a broken promise."""
    acknowledged: list[str] = []
    session = Session.open(path)
    try:
        for n in range(10**5):
            acknowledged += [entry.id for entry in session.append_many([_message(f"{n}" * 40)] * 3)]
    except OSError as error:
        if error.errno != code:
            return f"raised {error!r}"
    make_room()
    acknowledged.append(session.append(_message("there is room again")).id)
    session.close()
    stored = [record["id"] for record in read_plainly(path)]
    if lost := set(acknowledged) - set(stored):
        return f"{len(lost)} acknowledged entries are lost"
    return None if len(set(stored)) == len(stored) else "an entry is there twice"


def real_full_disk() -> tuple[str, list[str]]:
    """Fills a small file system, if this process may mount one."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        return "skipped: mounting needs root", []
    with tempfile.TemporaryDirectory() as place:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True, check=False
        )
        if mounted.returncode:
            return f"skipped: {mounted.stderr.decode(errors='replace').strip()}", []
        try:
            problems = []
            ballast = Path(place, "ballast")
            for size in range(20_000, 100_000, 1709):
                ballast.write_bytes(b"x" * size)
                path = Path(place, f"{size}.jsonl")
                problem = _fill(path, errno.ENOSPC, ballast.unlink)
                problems += [f"on a full disk: {problem}"] if problem else []
                path.unlink()
        finally:
            subprocess.run(["umount", place], check=False)
    return "done", problems


def main() -> None:
    if sys.argv[1:2] == ["--limited"]:
        limited(Path(sys.argv[2]))
        return
    options = arguments(__doc__ or "", every=1, pairs=1)
    sabotage.apply(options.sabotage)
    ran, broken = sweep(options.every, bool(options.pairs))
    broken += real_limit()
    full_disk, problems = real_full_disk()
    print(f"full disk: {full_disk}", flush=True)
    result = {"operations": len(ran), "runs": ran.total(), "full_disk": full_disk}
    finish(options, result, broken + problems)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main()
