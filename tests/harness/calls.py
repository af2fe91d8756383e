"""Compares the system calls of every writing operation with what they must be, in order.

A missing sync shows only when the power fails at the right moment. Here the calls of each operation are recorded, in
this process, and compared with a list.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convtree import SessionFailed
from convtree._session.session import Session
from convtree.repair import repair, vacuum

from . import sabotage
from .common import arguments, finish

APPEND = ["lock log", "write log", "sync log", "unlock log"]
PUT_NEW = ["open tmp", "sync tmp", "link tmp", "sync folder", "unlink tmp"]
EXPECTED: dict[str, list[str]] = {
    "first append": ["open log", "lock log", "write log", "sync log", "sync folder", "unlock log"],
    "append": APPEND,
    "append_many": APPEND,
    "label": APPEND,
    "branch": APPEND,
    "append, process": ["lock log", "write log", "unlock log"],
    "append after a torn tail": [
        "lock log",
        "unlock log",
        "lock log",
        "open torn",
        "sync torn",
        "cut log",
        "sync log",
        *APPEND[1:],
    ],
    "append after a lost newline": APPEND,
    "append, the sync fails": ["lock log", "write log", "sync log failed", "unlock log"],
    "append after a failed sync": [],
    "fork": [*PUT_NEW, "open log"],
    "repair": [
        *["open log", "lock log"],
        *PUT_NEW,  # the quarantine
        *["open tmp", "sync tmp", "link log", "sync folder", "rename tmp", "sync folder"],
    ],
    "vacuum": ["open log", "lock log", "open tmp", "sync tmp", "link log", "sync folder", "rename tmp", "sync folder"],
}


class Recorder:
    """Records the calls that matter; fails the next `fail_sync` syncs of the log."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.fail_sync = 0

    @contextmanager
    def recording(self) -> Iterator[list[str]]:
        self.seen = []
        originals = {name: getattr(os, name) for name in ("open", "write", "fsync", "fdatasync", "ftruncate", "link")}
        originals |= {name: getattr(os, name) for name in ("rename", "replace", "unlink")}
        flock = fcntl.flock
        for name, call in originals.items():
            setattr(os, name, self._wrapped(name, call))
        fcntl.flock = self._flock(flock)
        try:
            yield self.seen
        finally:
            for name, call in originals.items():
                setattr(os, name, call)
            fcntl.flock = flock

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        verb = {"fsync": "sync", "fdatasync": "sync", "ftruncate": "cut", "replace": "rename"}.get(name, name)

        def wrapper(first: Any, *rest: Any, **named: Any) -> Any:
            subject = _name(first)
            if verb == "open" and not (len(rest) > 0 and rest[0] & (os.O_CREAT | os.O_RDWR)):
                return call(first, *rest, **named)
            if verb == "sync" and subject == "log" and self.fail_sync:
                self.fail_sync -= 1
                self.seen.append("sync log failed")
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            done = call(first, *rest, **named)
            self.seen.append(f"{verb} {subject}")
            return done

        return wrapper

    def _flock(self, flock: Callable[..., None]) -> Any:
        def wrapper(fd: int, how: int) -> None:
            flock(fd, how)
            self.seen.append(f"{'unlock' if how & fcntl.LOCK_UN else 'lock'} {_name(fd)}")

        return wrapper


def _name(first: Any) -> str:
    """Returns what a call is about: the log, a torn tail, a temporary file, a folder."""
    path = Path(os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fspath(first))
    if path.is_dir():
        return "folder"
    return "log" if path.suffix == ".jsonl" else path.suffix[1:]


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def observe(folder: Path) -> dict[str, list[str]]:
    """Does every operation once; returns the calls of each."""
    recorder = Recorder()
    seen: dict[str, list[str]] = {}

    def record(name: str, act: Callable[[], Any]) -> Any:
        with recorder.recording() as calls:
            result = act()
        seen[name] = calls
        return result

    path = folder / "log.jsonl"
    session = Session.open(path)
    record("first append", lambda: session.append(message("1")))
    entry = record("append", lambda: session.append(message("2")))
    record("append_many", lambda: session.append_many([message("3"), message("4"), message("5")]))
    record("label", lambda: session.label(entry.id, "here"))
    record("branch", lambda: session.branch(entry.id))
    record("fork", lambda: session.fork(folder / "fork.jsonl")).close()
    with Session.open(path, durability="process") as quick:
        record("append, process", lambda: quick.append(message("6")))
    (folder / "whole").mkdir()
    whole = folder / "whole" / path.name
    shutil.copyfile(path, whole)
    record("vacuum", lambda: vacuum(whole, [entry.id], dry_run=False))
    session.refresh()
    with path.open("ab") as torn:
        torn.write(b'{"id":"a stub')
    record("append after a torn tail", lambda: session.append(message("7")))
    os.truncate(path, path.stat().st_size - 1)
    with Session.open(path, on_stale="rebase") as completing:
        record("append after a lost newline", lambda: completing.append(message("8")))

    with path.open("r+b") as damaged:
        damaged.seek(path.read_bytes().index(b'"content":"3"') + 11)
        damaged.write(b"X")
    record("repair", lambda: repair(path, dry_run=False))

    def failing(name: str, error: type[Exception]) -> None:
        with recorder.recording() as calls:
            try:
                session.append(message("9"), on_stale="rebase")
            except error:
                seen[name] = calls
            except Exception as other:
                seen[name] = [*calls, f"raised {type(other).__name__}"]
            else:
                seen[name] = [*calls, "returned normally"]

    session.refresh()
    recorder.fail_sync = 1
    failing("append, the sync fails", OSError)
    failing("append after a failed sync", SessionFailed)
    session.close()
    return seen


def main() -> None:
    options = arguments(__doc__ or "")
    sabotage.apply(options.sabotage)
    with tempfile.TemporaryDirectory() as folder:
        seen = observe(Path(folder))
    broken = [
        f"{name}: {', '.join(seen[name])}; must be {', '.join(expected)}"
        for name, expected in EXPECTED.items()
        if seen[name] != expected
    ]
    finish(options, {"operations": len(EXPECTED), "as_promised": len(EXPECTED) - len(broken)}, broken)


if __name__ == "__main__":
    main()
