"""A full disk is called so by every operation that writes, with the path. Nothing is lost, and it goes on later."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import contents, user
from planted import GITHUB
from real_disks import fill, small_disk

from convtree import Session, SessionStore, open_store
from convtree.exchange import export_file, import_file
from convtree.repair import redact_log, repair, vacuum

LONG = "y" * 3000
BEFORE = [f"{n} {GITHUB} {LONG}" for n in range(20)]

Act = Callable[[Path, Any], object]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def check_full(disk: Path, act: Callable[[], object]) -> None:
    """Checks that a call fails on a full disk and says so, and succeeds when there is space."""
    filler = fill(disk)
    with pytest.raises(OSError, match="No space left") as caught:
        act()
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename).startswith(str(disk))
    assert str(disk) in str(caught.value)
    assert [name for name in os.listdir(disk) if name.endswith(".tmp")] == []
    filler.unlink()
    act()


def append_much(session: Session) -> None:
    session.append_many([user(LONG) for _ in range(50)])


def damage(path: Path) -> None:
    """Harms the last line, unless that was done."""
    data = bytearray(path.read_bytes())
    data[-60] = ord("!")
    path.write_bytes(data)


LOGS: dict[str, Act] = {
    "append": lambda _, session: [session.append(user(LONG)) for _ in range(3)],
    "append_many": lambda _, session: append_much(session),
    "label": lambda _, session: [session.label(session.leaf_id, "l" * 250 + str(n)) for n in range(40)],
    "branch": lambda _, session: session.branch(session.path()[0].id, summary=LONG * 2),
    "fork": lambda path, session: session.fork(path.with_name("fork.jsonl")).close(),
    "export": lambda path, session: export_file(session, path.with_name("out.md"), "markdown"),
    "redact": lambda path, _: redact_log(path),
    "redact in place": lambda path, _: redact_log(path, in_place=True),
    "vacuum": lambda path, _: vacuum(path, [tenth(path)], dry_run=False),
    "repair": lambda path, _: repair(path, dry_run=False),
    "new log": lambda path, _: append_much(Session.open(path.with_name("new.jsonl"))),
    "import": lambda path, _: import_file(path.with_name("exported.json"), path.with_name("imported.jsonl")),
}


def tenth(path: Path) -> str:
    with Session.open(path, mode="r") as session:
        return next(entry.id for number, entry in session.records() if number == 10)


@pytest.mark.parametrize("name", LOGS)
def test_a_log(name: str, disk: Path) -> None:
    """The error names a file on the disk, and the session goes on."""
    path = disk / "log.jsonl"
    with Session.open(path) as session:
        session.append_many([user(text) for text in BEFORE])
        if name == "repair":
            session.append(user("harmed"))
            damage(path)
        if name == "vacuum":
            session.append(user("other"), parent_id=None)
        if name == "import":
            export_file(session, disk / "exported.json", "pi")
    with Session.open(path) as session:
        check_full(disk, lambda: LOGS[name](path, session))
    original = path.with_name("log.jsonl.original")
    with Session.open(original if original.exists() else path, mode="r") as session:
        assert [each["content"] for each in messages(session)][:20] == BEFORE


def messages(session: Session) -> list[Any]:
    return [record.message for _, record in session.records() if hasattr(record, "message")]


def test_a_torn_tail(disk: Path) -> None:
    """It can neither be saved nor cut off, so nothing changes; later both are done."""
    path = disk / "log.jsonl"
    with Session.open(path) as session:
        session.append(user("a"))
    with path.open("ab") as file:
        file.write(b"x" * 9000)
    before = path.read_bytes()
    with Session.open(path) as session:
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left") as caught:
            session.append(user("b"))
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, f"{path}.torn")
        assert path.read_bytes() == before
        filler.unlink()
        session.append(user("b"))
        assert contents(session) == ["a", "b"]


def tenth_of(store: SessionStore) -> str:
    return next(entry.id for number, entry in store.open("s").records() if number == 10)


def create_much(store: SessionStore) -> None:
    with store.create(id="new") as session:
        append_much(session)


def rename_much(store: SessionStore) -> None:
    for number in range(9):
        store.rename("s", f"{LONG}{number}")


STORES: dict[str, Callable[[SessionStore], object]] = {
    "create": create_much,
    "append": lambda store: append_much(store.open("s")),
    "fork": lambda store: store.fork("s", new_id="fork").close(),
    "copy": lambda store: store.copy("s", new_id="copy").close(),
    "vacuum": lambda store: store.vacuum("s", [tenth_of(store)], dry_run=False),
    "rename": rename_much,
    "directories": lambda store: [store.open("s").set_directories(cwd="/" + LONG + str(n)) for n in range(9)],
}


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
@pytest.mark.parametrize("name", STORES)
def test_a_store(name: str, kind: str, disk: Path) -> None:
    """The error names the log or the database, all sessions stay, and the call works when there is space."""
    url = str(disk / "store") if kind == "folder" else f"sqlite:///{disk}/x.db"
    with open_store(url) as store:
        with store.create(id="s") as session:
            session.append_many([user(text) for text in BEFORE])
            session.append(user("other"), parent_id=None)
        check_full(disk, lambda: STORES[name](store))
        with store.open("s") as session:
            if name != "vacuum":
                assert [each["content"] for each in messages(session)][:20] == BEFORE
        assert "s" in [info.id for info in store.list()]
        assert store.findings == []


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_deleting_on_a_full_disk(kind: str, disk: Path) -> None:
    """In a folder it makes space. A database needs space for it, and says so."""
    url = str(disk / "store") if kind == "folder" else f"sqlite:///{disk}/x.db"
    with open_store(url) as store:
        with store.create(id="s") as session:
            session.append_many([user(text) for text in BEFORE])
        if kind == "sqlite":
            check_full(disk, lambda: store.delete("s"))
        else:
            fill(disk)
            with suppress(OSError):  # it could not be recorded; it is deleted all the same
                store.delete("s")
        assert list(store.list()) == []


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_copying_to_a_full_disk(kind: str, disk: Path, tmp_path: Path) -> None:
    """An error of the disk is no refusal of a session. The next call copies the rest."""
    url = str(disk / "store") if kind == "folder" else f"sqlite:///{disk}/x.db"
    with open_store(tmp_path / "source") as source, open_store(url) as target:
        with source.create(id="s") as session:
            session.append_many([user(text) for text in BEFORE])
        check_full(disk, lambda: source.copy_to(target))
        with target.open("s") as session:
            assert contents(session) == BEFORE


def test_a_database_that_is_opened_on_a_full_disk(disk: Path) -> None:
    """A new one cannot be created. One that is there is read."""
    url = f"sqlite:///{disk}/x.db"
    with open_store(url) as store, store.create(id="s") as session:
        session.append(user("hello"))
    filler = fill(disk)
    with pytest.raises(OSError, match="No space left") as caught:
        open_store(f"sqlite:///{disk}/new.db")
    assert caught.value.errno == errno.ENOSPC
    with open_store(url) as store:
        assert [info.id for info in store.list()] == ["s"]
        with store.open("s") as session, pytest.raises(OSError, match=r"No space left.*x\.db") as caught:
            session.append(user("more"))
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, f"{disk}/x.db")
        filler.unlink()
        with store.open("s") as session:
            session.append(user("more"))
            assert contents(session) == ["hello", "more"]


def convtree(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "convtree", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.strip()


def test_the_command_line(disk: Path) -> None:
    """Exit code 5, and one line with the path."""
    path = disk / "log.jsonl"
    with Session.open(path) as session:
        session.append_many([user(text) for text in BEFORE])
        session.append(user("harmed"))
    damage(path)
    with open_store(f"sqlite:///{disk}/x.db") as store, store.create(id="s") as session:
        session.append_many([user(text) for text in BEFORE])
    filler = fill(disk)
    full = os.strerror(errno.ENOSPC)
    assert convtree("export", path, "--to", "json", "--allow-gaps", "-o", disk / "o.json") == (
        5,
        f"convtree: {disk}/o.json: {full}",
    )
    code, said = convtree("repair", path, "--yes")
    assert (code, said.startswith(f"convtree: {disk}/log.jsonl"), said.endswith(full)) == (5, True, True)
    code, said = convtree("fork", "s", "--store", f"sqlite:///{disk}/x.db")
    assert (code, said) == (5, f"convtree: {disk}/x.db: {full}; nothing was written")
    filler.unlink()
    code, said = convtree("export", path, "--to", "json", "--allow-gaps", "-o", disk / "o.json")
    assert (code, "1 entry is missing" in said) == (0, True)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_or_a_size_limit(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep their own numbers, and the session goes on."""
    path = tmp_path / "log.jsonl"
    write = os.write

    def refuse(_fd: int, _data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    with Session.open(path) as session:
        session.append(user("a"))
        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(OSError, match=r"log\.jsonl") as caught:
            session.append(user("b"))
        assert (caught.value.errno, caught.value.filename) == (code, str(path))
        monkeypatch.setattr(os, "write", write)
        session.append(user("c"))
        assert contents(session) == ["a", "c"]
