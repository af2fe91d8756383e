"""Every call to the operating system fails once, in every way: what was acknowledged is there, nothing is glued."""

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import HEADER, as_file, ids, log_of, node, sealed, user

from convtree import MessageEntry, Session, SessionFailed, StaleLeaf

BEFORE = {
    "nothing": None,
    "empty": b"",
    "log": log_of(node("a", None)),
    "torn": log_of(node("a", None)) + b'{"id":"b","par',
    "complete": as_file(sealed([HEADER, node("a", None), node("b", "a")]))[:-1],
}
WAYS = ["EIO", "ENOSPC", "short", "interrupt before", "interrupt after"]


class Interrupted(BaseException):
    """What a signal handler may raise anywhere."""


class Fault:
    """Counts the calls that change a file, and spoils one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.at = 0
        self.way = ""
        for name in ("write", "ftruncate", "fdatasync", "fsync"):
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def arm(self, at: int, way: str) -> None:
        self.count, self.at, self.way = 0, at, way

    def _wrap(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        def wrapped(fd: int, *arguments: bytes) -> int:
            self.count += 1
            if self.count != self.at:
                return 0 if "sync" in name else call(fd, *arguments)
            if self.way == "short" and name == "write":
                call(fd, bytes(arguments[0][: len(arguments[0]) // 2]))
                raise OSError(errno.EIO, "half written")
            if self.way == "interrupt after":
                call(fd, *arguments)
            if self.way.startswith("interrupt"):
                raise Interrupted
            code = errno.ENOSPC if self.way == "ENOSPC" else errno.EIO
            raise OSError(code, os.strerror(code))

        return wrapped


def work(session: Session, acknowledged: list[str]) -> None:
    """Appends as a careful caller would: with ids, with a retry, with a refresh when stale."""
    for batch in (["x1"], ["x2", "x3", "x4"], ["x5"]):
        entries = [MessageEntry(id=id, message=user(id)) for id in batch]
        for _ in range(3):
            try:
                session.append_many(entries)
            except StaleLeaf:
                session.refresh()
            except (OSError, Interrupted):
                continue
            except SessionFailed:
                return
            else:
                acknowledged.extend(batch)
                break
    session.label("x5", "L")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", BEFORE)
def test_no_fault_loses_an_acknowledged_entry(
    before: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call fails, acknowledged entries are in the log, and session and file agree."""
    fault = Fault(monkeypatch)
    for at in range(1, 14):
        path = tmp_path / f"{at}.jsonl"
        data = BEFORE[before]
        if data is not None:
            path.write_bytes(data)
        acknowledged: list[str] = []
        with Session.open(path) as session:
            fault.arm(at, way)
            try:
                work(session, acknowledged)
            except (OSError, Interrupted):
                assert "L" not in session.labels.values()
            fault.arm(0, "")
            remembered = ids(session.path()) if session.leaf_id else []
        with Session.open(path) as session:
            session.append(user("last"), parent_id=None)
        with Session.open(path, mode="r") as session:
            assert session.findings == ()
            assert set(acknowledged) <= set(ids(session.path(acknowledged[-1]))) if acknowledged else True
            for above, below in pairwise(remembered):
                assert session.entry(below).parent_id == above
