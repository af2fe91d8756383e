"""SQLite stores where nothing can be written: read-only file systems, directories and files, and full disks."""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from helpers import user
from real_disks import fill, run, small_disk

from convtree import ReadOnlySession, Session, SessionNotFound, SessionStore, open_store
from convtree.exchange import export_lines


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Makes a directory read-only: by a mount, or by its mode for a user who is not root."""
    if os.geteuid() != 0:
        place.chmod(0o500)
        yield
        place.chmod(0o700)
        return
    run("mount", "--bind", place, place)
    try:
        run("mount", "-o", "remount,ro,bind", place)
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def append_much(session: Session) -> None:
    """Appends more than a full disk takes."""
    for _ in range(100):
        session.append(user("y" * 3000))


def begin(place: Path) -> str:
    """Begins a store with a session, and returns its URL."""
    url = f"sqlite:///{place}/x.db"
    with open_store(url) as store, store.create(id="s", name="N") as session:
        session.append(user("hello"))
    return url


def check_reads(store: SessionStore, *texts: str) -> None:
    """Checks that everything that only reads works."""
    assert [info.id for info in store.list()] == ["s"]
    assert [hit.session_id for hit in store.search("hello")] == ["s"]
    assert store.usage("s")[0].session_id == "s"
    with store.open("s", read_only=True) as session:
        assert [message["content"] for message in session.build_context().messages] == ["hello", *texts]
        assert b"hello" in b"".join(export_lines(session, "markdown"))
        assert session.refresh() == []


def check_refuses(store: SessionStore) -> None:
    """Checks that what writes says where it cannot."""
    with store.open("s") as session, pytest.raises(ReadOnlySession, match=r"x\.db.*read-only"):
        session.append(user("no"))
    with pytest.raises(ReadOnlySession, match="read-only"):
        store.rename("s", "no")
    with pytest.raises(ReadOnlySession, match="read-only"):
        store.fork("s")
    with pytest.raises(ReadOnlySession, match="read-only"):
        store.delete("s")
    with store.create(id="t") as session, pytest.raises(ReadOnlySession, match="read-only"):
        session.append(user("no"))


def test_a_read_only_place(tmp_path: Path) -> None:
    """Everything is read, nothing is written, and no file is left."""
    url = begin(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with read_only(tmp_path):
        for create in (None, True, False):
            with open_store(url, create=create) as store:
                check_reads(store)
                check_refuses(store)
        assert sorted(os.listdir(tmp_path)) == before
        with pytest.raises(OSError, match=r"new\.db") as caught:
            open_store(f"sqlite:///{tmp_path}/new.db")
        assert caught.value.errno in (errno.EROFS, errno.EACCES)
        with pytest.raises(FileNotFoundError):
            open_store(f"sqlite:///{tmp_path}/new.db", create=False)


def test_a_file_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user who is not its owner."""
    url = begin(tmp_path)
    os_open, connect = os.open, sqlite3.connect

    def refusing_open(path: str, flags: int, *mode: int) -> int:
        if path == f"{tmp_path}/x.db" and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return os_open(path, flags, *mode)

    def refusing_connect(place: str, **options: object) -> sqlite3.Connection:
        return connect(place if "mode=ro" in place else f"file:{place}?mode=ro", **options | {"uri": True})  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "open", refusing_open)
    monkeypatch.setattr(sqlite3, "connect", refusing_connect)
    with open_store(url) as store:
        check_reads(store)
        check_refuses(store)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it said before there was another way."""
    url = begin(tmp_path)
    connect = sqlite3.connect

    def refusing_connect(_: str, **options: object) -> sqlite3.Connection:
        return connect(f"file:{tmp_path}/none?mode=ro", **options | {"uri": True})  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", refusing_connect)
    with pytest.raises(OSError, match=r"x\.db: unable to open"):
        open_store(url)


def test_a_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    url = begin(tmp_path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != f"{tmp_path}/x.db" and access(path, mode))
    with pytest.raises(PermissionError, match=r"x\.db"):
        open_store(url)


def test_shared_memory_that_a_killed_process_left(tmp_path: Path) -> None:
    """Without a WAL, it changes nothing; nor does one that is no shared memory."""
    url = begin(tmp_path)
    for left in (b"", b"x" * 5):
        (tmp_path / "x.db-shm").write_bytes(left)
        with read_only(tmp_path), open_store(url) as store:
            check_reads(store)


@pytest.mark.parametrize("left", [("-wal",), ("-wal", "-shm")])
def test_a_wal_is_read_where_nothing_can_be_written(tmp_path: Path, left: tuple[str, ...]) -> None:
    """Messages that are in the WAL only are not forgotten; with and without the shared memory of a killed writer."""
    url = begin(tmp_path)
    place = tmp_path / "copy"
    place.mkdir()
    with open_store(url) as store, store.open("s") as session:
        session.append(user("in the WAL"))
        for end in ("", *left):
            shutil.copy(tmp_path / f"x.db{end}", place / f"x.db{end}")
    assert (place / "x.db-wal").stat().st_size > 0
    with read_only(place), open_store(f"sqlite:///{place}/x.db") as store:
        check_reads(store, "in the WAL")
        check_refuses(store)


def test_a_writer_elsewhere_is_followed(tmp_path: Path) -> None:
    """It writes to the same file through another mount."""
    url = begin(tmp_path)
    place = tmp_path / "seen"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with ExitStack() as ends:
        run("mount", "--bind", tmp_path, place)
        ends.callback(subprocess.run, ["umount", str(place)], check=True)
        run("mount", "-o", "remount,ro,bind", place)
        reader = ends.enter_context(open_store(f"sqlite:///{place}/x.db"))
        check_reads(reader)
        with open_store(url) as store, store.open("s") as session:
            session.append(user("more"))
            check_reads(reader, "more")
            session.append(user("still more"))
            check_reads(reader, "more", "still more")
        check_reads(reader, "more", "still more")


def test_a_place_that_becomes_writable(tmp_path: Path) -> None:
    """The store that was opened before writes."""
    url = begin(tmp_path)
    with ExitStack() as ends:
        with read_only(tmp_path):
            store = ends.enter_context(open_store(url))
            session = ends.enter_context(store.open("s"))
            with pytest.raises(ReadOnlySession):
                session.append(user("more"))
        session.append(user("more"))
        check_reads(store, "more")


def test_a_full_disk(tmp_path: Path) -> None:
    """A store opens and is read. What does not fit says so, and nothing of it is stored."""
    place = tmp_path / "disk"
    with small_disk(place):
        url = begin(place)
        filler = fill(place)
        with open_store(url) as store:
            check_reads(store)
            filler.unlink()
            store.rename("s", "M")
            filler = fill(place)
            with store.open("s") as session, pytest.raises(OSError, match="No space left") as caught:
                append_much(session)
            assert caught.value.errno == errno.ENOSPC
            length = store.info("s").messages
            with pytest.raises(OSError, match="No space left") as caught:
                store.rename("s", "w" * 9000)
            assert caught.value.errno == errno.ENOSPC
            filler.unlink()
            with store.open("s") as session:
                session.append(user("after"))
            assert (store.info("s").messages, store.info("s").name) == (length + 1, "M")


def test_what_is_no_database_says_so(tmp_path: Path) -> None:
    """It is not taken for a place that cannot be written to."""
    (tmp_path / "x.db").write_text("no database, " * 100)
    with pytest.raises(OSError, match="not a database"):
        open_store(f"sqlite:///{tmp_path}/x.db")
    with read_only(tmp_path), pytest.raises(OSError, match=r"not a database|unable to open"):
        open_store(f"sqlite:///{tmp_path}/x.db")


def test_a_database_without_tables(tmp_path: Path) -> None:
    """They cannot be created; without `create`, they are missing."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with read_only(tmp_path):
        with pytest.raises(ReadOnlySession, match="read-only"):
            open_store(f"sqlite:///{tmp_path}/x.db")
        with pytest.raises(SessionNotFound, match="no tables"):
            open_store(f"sqlite:///{tmp_path}/x.db", create=False)


def test_a_server_that_only_reads(postgres_url: str) -> None:
    """As a standby does."""
    with open_store(postgres_url, create=True) as store, store.create(id="s") as session:
        session.append(user("hello"))
    joint = "&" if "?" in postgres_url else "?"
    with open_store(f"{postgres_url}{joint}options=-c%20default_transaction_read_only%3Don") as store:
        assert [info.id for info in store.list()] == ["s"]
        with store.open("s") as session, pytest.raises(ReadOnlySession, match="read-only"):
            session.append(user("no"))


def test_a_folder_is_read(tmp_path: Path) -> None:
    """Its catalogue is in memory then."""
    with open_store(tmp_path) as store, store.create(id="s") as session:
        session.append(user("hello"))
    with read_only(tmp_path), open_store(tmp_path) as store:
        check_reads(store)
        with pytest.raises(OSError, match=str(tmp_path)):
            store.open("s")
        with Session.open(tmp_path / "s.jsonl", mode="r") as session:
            assert session.path() != []
