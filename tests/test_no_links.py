"""File systems without hard links: files still appear whole, and of several processes one creates a session."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import contents, user
from planted import GITHUB
from real_disks import fat as real_fat

from convtree import Session, SessionExists, SessionNotFound, open_store
from convtree._logs import lock
from convtree._logs.lock import FileLock
from convtree.exchange import export_file
from convtree.repair import redact_log, repair, verify

REFUSALS = [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV]

#: what a child process runs first: links fail as on FAT
WITHOUT_LINKS = """
import errno, os, sys
def refuse(source, target, **_):
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "File exists", source, None, target)
    raise PermissionError(errno.EPERM, "Operation not permitted", source, None, target)
os.link = refuse
from convtree import Session, SessionExists, open_store
"""


def refuse_links(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Makes every link fail, as Linux does: a name that is taken is noticed first."""

    def link(source: Path, target: Path) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
        raise OSError(code, os.strerror(code), source, None, target)

    monkeypatch.setattr(os, "link", link)


@pytest.fixture(params=REFUSALS, ids=errno.errorcode.get)
def no_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, request.param)


@pytest.fixture
def fat(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.EPERM)


def quick(path: Path) -> Session:
    return Session.open(path, durability="process")


def log_with(path: Path, *texts: str) -> Path:
    with quick(path) as session:
        for text in texts:
            session.append(user(text))
    return path


def damaged(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(data)
    return bytes(data)


def check_log(tmp_path: Path) -> None:
    """Fork, repair and redaction give the same files as elsewhere; what they replace is kept as a copy."""
    log = log_with(tmp_path / "a.jsonl", GITHUB, "b")
    with quick(log) as session:
        with session.fork(tmp_path / "fork.jsonl") as fork:
            assert contents(fork) == [GITHUB, "b"]
        with pytest.raises(SessionExists, match=r"fork\.jsonl"):
            session.fork(tmp_path / "fork.jsonl")
        export_file(session, tmp_path / "a.json", "json")
        exported = (tmp_path / "a.json").read_bytes()
        with pytest.raises(SessionExists, match="--force"):
            export_file(session, tmp_path / "a.json", "json")
        export_file(session, tmp_path / "a.json", "json", replace=True)
        assert (tmp_path / "a.json").read_bytes() == exported
    copy = redact_log(log).copy
    assert copy == f"{log}.redacted"
    assert GITHUB.encode() not in Path(copy).read_bytes()
    before = log.read_bytes()
    assert redact_log(log, in_place=True).original == f"{log}.original"
    assert Path(f"{log}.original").read_bytes() == before
    harmed = damaged(log)
    done = repair(log, dry_run=False)
    assert (done.original, done.quarantine) == (f"{log}.original-2", f"{log}.quarantine")
    assert Path(f"{log}.original-2").read_bytes() == harmed
    assert verify(log).entries == 1
    names = ["a.json", "a.jsonl", "a.jsonl.original", "a.jsonl.original-2", "a.jsonl.quarantine", "a.jsonl.redacted"]
    assert sorted(os.listdir(tmp_path)) == [*names, "fork.jsonl"]


def check_store(tmp_path: Path) -> None:
    """Create, fork, copy, vacuum, copy_to and delete."""
    with open_store(tmp_path / "a") as store, open_store(tmp_path / "b") as other:
        with store.create(id="s") as session:
            first = session.append(user("question"))
            session.append(user("one"))
            session.branch(first.id)
            session.append(user("two"))
        store.fork("s", new_id="fork").close()
        store.copy("s", new_id="copy").close()
        with pytest.raises(SessionExists):
            store.fork("s", new_id="copy")
        assert store.vacuum("s", dry_run=False).original == str(tmp_path / "a" / "s.jsonl.original")
        assert [each.status for each in store.copy_to(other)] == ["copied"] * 3
        assert store.delete("s") == ["s"]
        assert sorted(info.id for info in store.list()) == ["copy", "fork"]
        assert sorted(info.id for info in other.list()) == ["copy", "fork", "s"]
        assert (store.findings, other.findings) == ([], [])
    assert sorted(each for each in os.listdir(tmp_path / "a") if not each.startswith(".catalogue")) == [
        ".ledger",
        "copy.jsonl",
        "fork.jsonl",
    ]


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("check", [check_log, check_store])
def test_without_links(check: Callable[[Path], None], tmp_path: Path) -> None:
    """Everything works as it does elsewhere."""
    check(tmp_path)


@pytest.mark.parametrize("check", [check_log, check_store])
def test_on_a_real_file_system_without_links(check: Callable[[Path], None], tmp_path: Path) -> None:
    """Everything works as it does elsewhere. A session is not taken for one whose name has other letters."""
    with real_fat(tmp_path) as place:
        with pytest.raises(OSError, match="Operation not permitted"):
            os.link(log_with(place / "b.jsonl", "b"), place / "c.jsonl")
        (place / "b.jsonl").unlink()
        check(place)
        with open_store(place / "store") as store, store.create(id="a") as session:
            session.append(user("hello"))
            with pytest.raises(SessionExists):
                store.create(id="A").append(user("mine"))
            with pytest.raises(SessionNotFound, match="upper and lower case"):
                store.open("A")


@pytest.mark.usefixtures("fat")
def test_an_empty_file_is_taken_over(tmp_path: Path) -> None:
    """A process that was killed has left it. Other things stay as they are."""
    log = log_with(tmp_path / "a.jsonl", "a")
    (tmp_path / "precious").write_bytes(b"")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "full.jsonl").write_bytes(b"x")
    (tmp_path / "link.jsonl").symlink_to("precious")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    with quick(log) as session:
        with session.fork(tmp_path / "empty.jsonl") as fork:
            assert contents(fork) == ["a"]
        for name in ("full", "link", "folder", "pipe"):
            with pytest.raises(SessionExists, match=name):
                session.fork(tmp_path / f"{name}.jsonl")
    assert (tmp_path / "full.jsonl").read_bytes() == b"x"
    assert (tmp_path / "precious").read_bytes() == b""


def test_an_empty_file_stays_where_there_are_links(tmp_path: Path) -> None:
    """There it is somebody's file, and no leftover."""
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with quick(log_with(tmp_path / "a.jsonl", "a")) as session, pytest.raises(SessionExists, match="empty"):
        session.fork(tmp_path / "empty.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "empty.jsonl"]
    assert (tmp_path / "empty.jsonl").read_bytes() == b""


@pytest.mark.usefixtures("fat")
def test_a_name_that_another_process_holds(tmp_path: Path) -> None:
    """Its empty file is locked until the rename, or until its first line."""
    with (
        quick(log_with(tmp_path / "a.jsonl", "a")) as session,
        Session.open(tmp_path / "b.jsonl", exclusive=True) as other,
    ):
        with pytest.raises(SessionExists, match=r"b\.jsonl"):
            session.fork(tmp_path / "b.jsonl")
        other.append(user("theirs"))
        assert contents(other) == ["theirs"]


@pytest.mark.usefixtures("fat")
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is written all the same: the empty file was created by this process alone."""

    def refuse(_fd: int, **_: Any) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    session = Session.memory()
    session.append(user("a"))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    monkeypatch.setattr(lock, "lock_descriptor", refuse)
    export_file(session, tmp_path / "a.json", "json")
    assert b'"a"' in (tmp_path / "a.json").read_bytes()
    with pytest.raises(SessionExists):
        session.fork(tmp_path / "empty.jsonl")
    with Session.open(tmp_path / "log.jsonl") as log, pytest.raises(OSError, match=r"log\.jsonl") as caught:
        log.append(user("a"))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOLCK, str(tmp_path / "log.jsonl"))


@pytest.mark.parametrize("mode", ["a", "x"])
@pytest.mark.usefixtures("fat")
def test_a_fork_comes_between_the_file_and_its_first_line(
    mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that has just created the file appends to the fork (mode a), or is told that it is there (mode x)."""
    path = tmp_path / "b.jsonl"
    acquire = FileLock.acquire

    def fork_first(lock: FileLock, fd: int, timeout_s: float) -> None:
        monkeypatch.setattr(FileLock, "acquire", acquire)  # the fork takes a lock, too
        assert path.stat().st_size == 0
        source.fork(path).close()
        acquire(lock, fd, timeout_s)

    with quick(log_with(tmp_path / "a.jsonl", "a")) as source:
        monkeypatch.setattr(FileLock, "acquire", fork_first)
        with Session.open(path, mode=mode) as session:
            if mode == "x":
                with pytest.raises(SessionExists, match="there is something here already"):
                    session.append(user("mine"))
            else:
                session.append(user("mine"), parent_id=None)
    with Session.open(path) as session:
        assert contents(session) == (["a"] if mode == "x" else ["mine"])
        assert len(list(session.records())) == (1 if mode == "x" else 2)


def test_links_that_fail_for_other_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are errors, and nothing is left of the file."""
    log = log_with(tmp_path / "a.jsonl", "a")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    refuse_links(monkeypatch, errno.EIO)
    harmed = damaged(log)
    with Session.memory() as session:
        session.append(user("a"))
        for name in ("b", "empty"):
            with pytest.raises(OSError, match="Input/output"):
                session.fork(tmp_path / f"{name}.jsonl")
    with pytest.raises(OSError, match="Input/output"):
        repair(log, dry_run=False)
    assert (log.read_bytes(), sorted(os.listdir(tmp_path))) == (harmed, ["a.jsonl", "empty.jsonl"])


def test_a_taken_name_that_is_noticed_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems refuse the link before they look at the name. What is there stays."""
    (tmp_path / "link.jsonl").symlink_to("nowhere")
    (tmp_path / "folder.jsonl").mkdir()

    def refuse(*_: Path) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def too_late(*_: Path) -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    with quick(log_with(tmp_path / "a.jsonl", "a")) as session:
        monkeypatch.setattr(os, "link", refuse)
        for name in ("link", "folder"):
            with pytest.raises(SessionExists, match=name):
                session.fork(tmp_path / f"{name}.jsonl")
        monkeypatch.setattr(os, "link", too_late)  # it was removed right after that
        with pytest.raises(SessionExists, match="gone"):
            session.fork(tmp_path / "gone.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "folder.jsonl", "link.jsonl"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_directories_that_cannot_be_synced(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more can be done there, so nothing fails."""

    def refuse(_fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with Session.open(tmp_path / "a.jsonl") as session:
        session.append(user("a"))
        session.append(user("b"))
        with session.fork(tmp_path / "b.jsonl") as fork:
            assert contents(fork) == ["a", "b"]


class Interrupted(BaseException):
    """What a signal handler may raise."""


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.usefixtures("fat")
def test_an_interrupt_at_the_rename(done: bool, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole fork is there, or nothing that this call has made."""
    rename = os.rename
    path = tmp_path / "b.jsonl"
    if there:
        path.write_bytes(b"")

    def interrupted(source: Path, target: Path) -> None:
        if done:
            rename(source, target)
        raise Interrupted

    with quick(log_with(tmp_path / "a.jsonl", "a")) as session:
        monkeypatch.setattr(os, "rename", interrupted)
        with pytest.raises(Interrupted):
            session.fork(path)
        monkeypatch.undo()
        assert sorted(os.listdir(tmp_path)) == (["a.jsonl", "b.jsonl"] if done or there else ["a.jsonl"])
        if done:
            assert verify(path).entries == 1


@pytest.mark.usefixtures("fat")
def test_a_name_that_goes_away_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had it was there first: SessionExists, and nothing is written."""
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"")
    lock_descriptor = lock.lock_descriptor

    def vanishing(fd: int, **named: Any) -> bool:
        path.unlink()
        return lock_descriptor(fd, **named)

    with quick(log_with(tmp_path / "a.jsonl", "a")) as session:
        monkeypatch.setattr(lock, "lock_descriptor", vanishing)
        with pytest.raises(SessionExists):
            session.fork(path)
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_names_that_differ_in_case_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that does not tell them apart, a session is never written into another one's log."""
    with open_store(tmp_path) as store:
        with store.create(id="a") as session:
            session.append(user("hello"))
        before = (tmp_path / "a.jsonl").read_bytes()
        for other in ("A.jsonl", "a.JSONL"):
            os.link(tmp_path / "a.jsonl", tmp_path / other)
        with store.open("A") as session:  # the names of three files
            assert contents(session) == ["hello"]
        listdir = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: [each for each in listdir(path) if each != "A.jsonl"])
        with store.open("a") as session:
            assert contents(session) == ["hello"]
        for refused in (store.open, store.delete, lambda name: store.vacuum(name, dry_run=False)):
            with pytest.raises(SessionNotFound, match="upper and lower case"):
                refused("A")
        with pytest.raises(SessionExists, match="upper and lower case"):
            store.create(id="A").append(user("mine"))
    assert (tmp_path / "a.jsonl").read_bytes() == before


def run(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WITHOUT_LINKS + program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


FORK = """
import time
print("ready", flush=True)
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.001)
with open_store(sys.argv[1] + "/store") as store:
    for number in range(20):
        try:
            store.fork("s", new_id=f"f{number}").close()
            print(number)
        except SessionExists:
            pass
"""


def test_one_of_several_processes_creates_a_session(tmp_path: Path) -> None:
    """Each id is won by exactly one of four processes."""
    with open_store(tmp_path / "store") as store, store.create(id="s") as session:
        session.append_many([user(str(number)) for number in range(20)])
    children = [run(FORK, tmp_path) for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    outputs = [child.communicate(timeout=120) for child in children]
    assert [error for _, error in outputs] == [""] * 4
    assert sorted(int(line) for output, _ in outputs for line in output.split()) == list(range(20))
    with open_store(tmp_path / "store") as store:
        assert len(store.list(limit=None)) == 21
        assert store.findings == []
    names = [name for name in os.listdir(tmp_path / "store") if not name.startswith((".catalogue", ".ledger"))]
    assert sorted(names) == sorted([f"f{number}.jsonl" for number in range(20)] + ["s.jsonl"])


KILLED = """
import signal
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
os.rename = kill
with open_store(sys.argv[1]) as store:
    store.fork("s", new_id="fork")
"""


def killed_folder(folder: Path) -> Iterator[str]:
    with open_store(folder) as store, store.create(id="s") as session:
        session.append(user("hello"))
    run(KILLED, folder).communicate(timeout=60)
    yield from sorted(name for name in os.listdir(folder) if name.startswith("fork"))


def test_a_process_that_is_killed_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves an empty file, which is no session, is not reported, and does not hinder the next try."""
    assert list(killed_folder(tmp_path / "store")) == ["fork.jsonl"]
    assert (tmp_path / "store" / "fork.jsonl").read_bytes() == b""
    refuse_links(monkeypatch, errno.EPERM)
    with open_store(tmp_path / "store") as store:
        assert ([info.id for info in store.list()], store.findings) == (["s"], [])
        with store.fork("s", new_id="fork") as fork:
            assert contents(fork) == ["hello"]
        assert sorted(info.id for info in store.list()) == ["fork", "s"]


def test_an_original_that_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk is raised, and the log is as it was."""
    path = tmp_path / "a.jsonl"
    with Session.open(path) as session:
        session.append(user("ghp_" + "a1B2c3D4e5F6" * 3))
    before = path.read_bytes()

    def failing(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", failing)
    with pytest.raises(OSError, match="Input/output") as caught:
        redact_log(path, in_place=True)
    assert (caught.value.errno, path.read_bytes()) == (errno.EIO, before)
