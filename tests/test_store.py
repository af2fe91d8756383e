"""Stores in memory and in folders: the conformance suite, and tests of folders only."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any
from unittest.mock import patch

import pytest
from helpers import HEADER, log_of, mark, node, user
from hypothesis import settings

import convtree
from convtree import (
    ConvtreeError,
    CorruptLog,
    NotALog,
    ParentSession,
    Session,
    SessionExists,
    SessionLocked,
    SessionNotFound,
)
from convtree._catalogue import queries
from convtree._catalogue.tables import VERSION
from convtree._logs.jsonl import JsonlLog
from convtree.repair import repair
from convtree.stores import _catalogue_sync, _search
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._catalogue_transaction import CatalogueTransaction
from convtree.stores._folder import FolderBackend
from convtree.stores._memory import MemoryBackend
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore
from convtree.stores.base import Deletion
from convtree.testing import Clock, StoreContract, begin, ids, store_machine

CATALOGUE = ".catalogue.sqlite"


class TestMemory(StoreContract):
    """The contract, in memory."""

    shared = False
    lasting = False

    def open_store(self, place: Path, clock: Clock) -> SessionStore:  # noqa: ARG002  # memory has no place
        return open_store("memory:", clock=clock)


class TestFolder(StoreContract):
    """The contract, in a folder."""

    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        return open_store(place / "store", durability="process", clock=clock)


SMALL = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestMemoryMachine = store_machine(lambda _, clock: open_store("memory:", clock=clock), shared=False).TestCase
TestMemoryMachine.settings = SMALL
TestFolderMachine = store_machine(lambda place, clock: open_store(place, durability="process", clock=clock)).TestCase
TestFolderMachine.settings = SMALL


# --- a folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The path of a store that does not exist yet."""
    return tmp_path / "sessions"


@pytest.fixture
def store(folder: Path) -> Iterator[SessionStore]:
    """A new store in a folder."""
    with opened(folder) as store:
        yield store


@pytest.fixture
def ingested() -> Iterator[list[tuple[str, int]]]:
    """(session id, records) for each read of a log by a catalogue."""
    seen: list[tuple[str, int]] = []
    original = CatalogueSync._ingest

    def ingest(catalogue: CatalogueSync, execute: Any, id: str, contents: Any, start: int) -> Any:
        seen.append((id, 0))
        for numbered in original(catalogue, execute, id, contents, start):
            seen[-1] = (id, numbered[-1][0] + 1 - start)
            yield numbered

    with patch.object(CatalogueSync, "_ingest", ingest):
        yield seen


def catalogue_of(store: SessionStore) -> CatalogueSync:
    """The catalogue of a store in a folder or in memory, up to date."""
    catalogue = store._backend.catalogue()
    assert isinstance(catalogue, CatalogueSync)
    return catalogue


def opened(folder: Path, **arguments: Any) -> SessionStore:
    return open_store(folder, durability="process", **arguments)


def found(store: SessionStore) -> list[tuple[str, str]]:
    """The findings as (code, place)."""
    return [(finding.code, finding.place) for finding in store.findings]


def said(store: SessionStore) -> dict[str, str | None]:
    """The last user message of each session."""
    return {info.id: info.last_user_message for info in store.list(limit=None, archived=None)}


def python(program: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts another process."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


# --- bringing the catalogue up to date -------------------------------------------------------------------------------


def test_a_list_reads_each_record_once(store: SessionStore, folder: Path, ingested: list[tuple[str, int]]) -> None:
    """Each record is read once, by the process that lists first."""
    begin(store, "a", "1", "2")
    begin(store, "b")
    store.list()
    assert sorted(ingested) == [("a", 2), ("b", 1)]
    ingested.clear()
    store.list()
    with opened(folder) as other:
        assert len(other.list()) == 2
    assert ingested == []


def test_only_new_records_are_read(store: SessionStore, ingested: list[tuple[str, int]]) -> None:
    """And nothing of the sessions that did not change."""
    begin(store, "a", *map(str, range(20)))
    begin(store, "b")
    store.list()
    ingested.clear()
    with store.open("a") as session:
        session.append(user("21"))
        session.rename("N")
    assert (store.info("a").messages, store.info("a").name) == (21, "N")
    assert ingested == [("a", 2)]


def test_progress(store: SessionStore) -> None:
    """(done, of) up to all of them; no calls if nothing changed."""
    for number in range(120):
        begin(store, f"s{number}")
    told: list[tuple[int, int]] = []
    store.list(progress=lambda done, of: told.append((done, of)))
    store.list(progress=lambda done, of: told.append((done, of)))
    assert told == [(50, 120), (100, 120), (120, 120)]


def test_an_interrupted_sync_is_continued(store: SessionStore, ingested: list[tuple[str, int]]) -> None:
    """An exception from the progress callback loses nothing that was reported."""
    for number in range(120):
        begin(store, f"s{number:03}")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.list(progress=stop)
    assert len(ingested) == 50
    assert len(store.list(limit=None)) == 120
    assert len(ingested) == 120


def test_a_removed_log_is_gone(store: SessionStore, folder: Path) -> None:
    """A log that was removed by hand is not listed."""
    begin(store, "a", "needle")
    begin(store, "b")
    store.list()
    (folder / "a.jsonl").unlink()
    assert (ids(store.list()), store.search("needle")) == (["b"], [])
    with pytest.raises(SessionNotFound):
        store.info("a")


def test_a_renamed_log_is_another_session(store: SessionStore, folder: Path) -> None:
    """A log is listed under its new name."""
    begin(store, "a", "needle")
    store.list()
    (folder / "a.jsonl").rename(folder / "b.jsonl")
    assert [hit.session_id for hit in store.search("needle")] == ["b"]
    assert ids(store.list()) == ["b"]


@pytest.mark.parametrize("keeps_size", [False, True])
def test_a_replaced_log_is_read_again(store: SessionStore, folder: Path, keeps_size: bool) -> None:
    """Also if size, last record and time are those of the old one."""
    path = folder / "a.jsonl"
    path.write_bytes(log_of(node("x", None, message=user("one")), node("y", "x", message=user("end"))))
    status = path.stat()
    assert store.info("a").first_user_message == "one"
    first = "two" if keeps_size else "another"
    new = folder / "new"
    new.write_bytes(log_of(node("x", None, message=user(first)), node("y", "x", message=user("end"))))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(path)
    assert store.info("a").first_user_message == first
    assert (store.search("one"), len(store.search(first))) == ([], 1)


def test_a_truncated_log_is_read_again(store: SessionStore, folder: Path) -> None:
    """Records it lost are not listed, even after it has grown again."""
    begin(store, "a", "1", "2", "3")
    assert said(store) == {"a": "3"}
    path = folder / "a.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert (said(store), store.info("a").messages) == ({"a": "2"}, 2)
    with store.open("a") as session:
        session.append(user("4"))
        session.append(user("5"))
    assert (said(store), store.info("a").messages, store.search("3")) == ({"a": "5"}, 4, [])


def test_a_damaged_line_hides_nothing_else(store: SessionStore, folder: Path) -> None:
    """It is a finding; all other lines are listed and found. A repair removes the finding."""
    with store.create(id="a") as session:
        for text in ("needle one", "needle two", "needle three"):
            session.append(user(text), parent_id=None)
    begin(store, "b", "needle")
    store.list()
    path = folder / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b"needle two", b"needle 2wo"))
    assert [place for _, place in found(store)] == ["a"]
    assert sorted(hit.session_id for hit in store.search("needle")) == ["a", "a", "b"]
    assert store.info("a").messages == 2
    repair(path, dry_run=False)
    assert store.findings == []
    assert (store.info("a").messages, said(store)["a"]) == (2, "needle three")


def test_a_hit_damaged_since_the_sync_is_left_out(store: SessionStore, folder: Path) -> None:
    """So are those of a session deleted since. Other hits stay."""
    begin(store, "a", "needle one", "needle two")
    begin(store, "b", "needle")
    path = folder / "a.jsonl"
    original = _search._hits_in

    def hits(*arguments: Any) -> Any:
        if b"one" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"needle one", b"needle 1ne"))
            (folder / "b.jsonl").unlink()
        return original(*arguments)

    with patch.object(_search, "_hits_in", hits):
        assert [hit.snippet for hit in store.search("needle")] == ["needle two"]


def test_a_log_without_times_is_listed_last(store: SessionStore, folder: Path) -> None:
    """An unreadable time counts as none. A session without a time is not too old."""
    begin(store, "a")
    times = ("null", '"yesterday"', '"9999-12-31T23:59:59.9999-12:00"', '"0001-01-01T00:00:00+14:00"', '""')
    for number, text in enumerate(times):
        line = node("n", None).replace('"timestamp":null', f'"timestamp":{text}')
        (folder / f"t{number}.jsonl").write_bytes(log_of(line))
    listed = store.list()
    assert ids(listed) == ["a", "t4", "t3", "t2", "t1", "t0"]
    assert {info.last_activity for info in listed.sessions[1:]} == {None}
    assert ids(store.prune(max_age=1)) == []
    assert (ids(store.prune(keep=1)), ids(store.prune(keep=0))) == ([], ["a", "t4", "t3", "t2", "t1", "t0"])


def test_a_header_without_records_is_not_listed(store: SessionStore, folder: Path) -> None:
    """And is not a finding. The first record makes it a session."""
    (folder / "a.jsonl").write_bytes(log_of())
    assert (ids(store.list()), store.findings) == ([], [])
    with store.open("a") as session:
        session.append(user("hello"))
    assert said(store) == {"a": "hello"}


def test_repeated_ids(store: SessionStore, folder: Path) -> None:
    """The first line with an id counts, and the session is a finding."""
    (folder / "a.jsonl").write_bytes(
        log_of(
            node("x", None), node("x", None, message=user("other")), node("x", None), mark("x", "leaf", target_id="x")
        )
    )
    assert (said(store), store.info("a").messages) == ({"a": "x"}, 1)
    assert [place for _, place in found(store)] == ["a"]


def test_a_log_that_grows_while_it_is_read(store: SessionStore) -> None:
    """A record that comes too late for one list is in the next."""
    begin(store, "a", "1")
    original = CatalogueSync._open_contents

    @contextmanager
    def late(catalogue: CatalogueSync, id: str) -> Iterator[Any]:
        with original(catalogue, id) as contents:
            with store.open("a") as writer:
                writer.append(user("2"))
            yield contents

    with patch.object(CatalogueSync, "_open_contents", late):
        assert store.info("a").messages == 1
    assert store.info("a").messages == 2


def test_a_log_deleted_after_the_look(store: SessionStore, folder: Path) -> None:
    """It is neither listed nor a finding."""
    catalogue = catalogue_of(store)
    begin(store, "a")
    begin(store, "b")
    original = catalogue._look

    def look() -> Any:
        stamps = original()
        (folder / "a.jsonl").unlink(missing_ok=True)
        return stamps

    with patch.object(catalogue, "_look", look):
        assert (ids(store.list()), store.findings) == (["b"], [])
    begin(store, "a", "again")
    assert said(store) == {"a": "again", "b": "hello"}


# --- other files in a folder --------------------------------------------------------------------------------


def test_other_files_are_findings(store: SessionStore, folder: Path, tmp_path: Path) -> None:
    """They fail no list and are not touched. An empty file is a session without records."""
    begin(store, "good")
    (tmp_path / "elsewhere.jsonl").write_bytes(log_of(node("x", None)))
    pi = {"type": "session", "version": 3, "id": "p", "timestamp": "2026-01-01T00:00:00Z", "cwd": "/"}
    files = {
        "binary.jsonl": bytes(range(256)) * 100,
        "foreign.jsonl": b"hello, world\n",
        "pi.jsonl": json.dumps(pi).encode() + b"\n",
        "torn.jsonl": log_of(node("x", None), node("y", "x"))[:-9],
        "half.jsonl": HEADER[:30].encode(),
        "empty.jsonl": b"",
        "zeros.jsonl": bytes(4096),
        "bad name.jsonl": log_of(node("x", None)),
        ".jsonl": b"",
        "notes.txt": b"not looked at",
        "good.jsonl.index": b"not an index",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "directory.jsonl").mkdir()
    (folder / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    (folder / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.jsonl")
    assert ids(store.list()) == ["good", "torn"]
    assert found(store) == [
        ("bad_name", ".jsonl"),
        ("bad_name", "bad name.jsonl"),
        ("bad_name", "dangling.jsonl"),
        ("bad_name", "directory.jsonl"),
        ("bad_name", "link.jsonl"),
        ("bad_name", "pipe.jsonl"),
        ("not_a_log", "binary"),
        ("not_a_log", "foreign"),
        ("torn_tail", "half"),
        ("not_a_log", "pi"),
        ("torn_tail", "torn"),
        ("torn_tail", "zeros"),
    ]
    assert {name: (folder / name).read_bytes() for name in files} == files


def test_a_file_name_that_is_not_utf8(store: SessionStore, folder: Path) -> None:
    """It is shown with escapes."""
    with open(os.fsencode(folder) + b"/bad\xff.jsonl", "wb"):
        pass
    assert found(store) == [("bad_name", "bad\\xff.jsonl")]


def test_an_unreadable_log_is_tried_again(store: SessionStore, folder: Path) -> None:
    """It is a finding until it can be read, though nothing in the folder changes."""
    begin(store, "a")
    begin(store, "b")
    original = os.open

    def refuse(path: Any, *arguments: Any, **keywords: Any) -> int:
        if os.fspath(path) == str(folder / "a.jsonl"):
            raise PermissionError(13, "no")
        return original(path, *arguments, **keywords)

    with patch.object(os, "open", refuse):
        assert (ids(store.list()), found(store)) == (["b"], [("unreadable", "a")])
    assert (sorted(ids(store.list())), found(store)) == (["a", "b"], [])


def test_foreign_files_are_not_deleted(store: SessionStore, folder: Path) -> None:
    """Damaged logs are."""
    (folder / "foreign.jsonl").write_bytes(b"hello\n")
    with pytest.raises(NotALog):
        store.delete("foreign")
    assert (folder / "foreign.jsonl").read_bytes() == b"hello\n"
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "torn.jsonl").write_bytes(log_of(node("x", None))[:-5])
    assert (store.delete("empty"), store.delete("torn")) == (["empty"], ["torn"])


# --- the file of the catalogue ------------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def _other_version(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ct_sessions (something TEXT)")
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for offset in range(4096, len(data), 512):
        data[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(data)


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _without_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.close()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "precious")


HARM = [_garbage, _other_version, _damaged, _truncated, _emptied, _without_tables, _directory, _link, Path.unlink]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_catalogue_is_rebuilt(folder: Path, harm: Callable[[Path], None]) -> None:
    """Or kept in memory. Lists are right either way."""
    (folder.parent / "precious").write_bytes(b"precious")
    with opened(folder) as store:
        for number in range(40):
            begin(store, f"s{number}", f"needle {number}")
        before = list(store.list(limit=None))
    harm(folder / CATALOGUE)
    for _ in range(2):
        with opened(folder) as store:
            assert list(store.list(limit=None)) == before
            assert len(store.search("needle", limit=100)) == 40
            assert store.findings == []
    assert (folder.parent / "precious").read_bytes() == b"precious"


@pytest.mark.parametrize("harm", [_garbage, _damaged, _emptied, Path.unlink])
def test_a_catalogue_damaged_while_it_is_open(folder: Path, harm: Callable[[Path], None]) -> None:
    """No list fails, and later writes are listed."""
    with opened(folder) as store:
        for number in range(40):
            begin(store, f"s{number}", f"needle {number}")
        store.list()
        store._backend._catalogue._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[attr-defined]
        harm(folder / CATALOGUE)
        begin(store, "new", "needle new")
        assert len(store.search("needle", limit=100)) == 41
        assert sorted(ids(store.list(limit=None))) == sorted([*(f"s{number}" for number in range(40)), "new"])
    with opened(folder) as store:
        assert len(store.list(limit=None)) == 41


def test_a_catalogue_locked_by_its_creator(folder: Path) -> None:
    """The second process waits for the tables instead of using some in memory."""
    with opened(folder) as store:
        store.list()
        begin(store, "a")
    with closing(sqlite3.connect(folder / CATALOGUE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ending = Timer(0.2, other.execute, ["COMMIT"])
        ending.start()
        with opened(folder) as store:
            assert ids(store.list()) == ["a"]
        ending.join()
        assert other.execute("SELECT session_id FROM ct_sessions").fetchall() == [("a",)]


def test_tables_created_by_another_process_are_used(folder: Path) -> None:
    """They are not created a second time."""
    with opened(folder) as store:
        begin(store, "a")
    program = """
import sys, convtree
from convtree.stores import _catalogue_file
create = _catalogue_file._create_tables
def slowly(*arguments):
    print("locked", flush=True)
    sys.stdin.readline()
    create(*arguments)
_catalogue_file._create_tables = slowly
store = convtree.open_store(sys.argv[1])
store.list()
print("created", flush=True)
sys.stdin.read()
"""
    with python(program, folder) as process, opened(folder) as store:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        ending = Timer(0.2, lambda file: print("go", file=file, flush=True), [process.stdin])
        ending.start()
        assert ids(store.list()) == ["a"]
        ending.join()
        assert process.stdout.readline() == "created\n"
        inode = (folder / CATALOGUE).stat().st_ino
        process.communicate()
        begin(store, "b")
        assert sorted(ids(store.list())) == ["a", "b"]
        assert (folder / CATALOGUE).stat().st_ino == inode


def test_damage_found_by_a_query(store: SessionStore) -> None:
    """The query is repeated on new tables; after some resets, on tables in memory."""
    begin(store, "a")
    original, fails = queries.sessions, [True] * 4

    def sessions(*arguments: Any) -> Any:
        if fails and fails.pop():
            raise sqlite3.DatabaseError("database disk image is malformed")
        return original(*arguments)

    with patch.object(queries, "sessions", sessions):
        assert ids(store.list()) == ["a"]
    assert ids(store.list()) == ["a"]


@pytest.mark.parametrize("error", [sqlite3.IntegrityError("UNIQUE"), UnicodeDecodeError("utf-8", b"x", 0, 1, "no")])
def test_errors_that_mean_damage(store: SessionStore, error: Exception) -> None:
    """Also in the query for findings and when the file is opened."""
    begin(store, "a")
    store.list()
    original, fails = CatalogueTransaction.__call__, [error] * 2

    def execute(transaction: CatalogueTransaction, sql: str, values: Any = ()) -> list[Any]:
        if "code IS NOT NULL" in sql and fails:
            raise fails.pop()
        return original(transaction, sql, values)

    with patch.object(CatalogueTransaction, "__call__", execute):
        assert store.findings == []
    assert ids(store.list()) == ["a"]


def test_a_wrong_query_resets_nothing(store: SessionStore, folder: Path) -> None:
    """Its error is raised, and the tables stay."""
    begin(store, "a")
    store.list()
    inode = (folder / CATALOGUE).stat().st_ino
    with pytest.raises(sqlite3.ProgrammingError):
        catalogue_of(store)._read(lambda execute: execute("SELECT :nothing", {}))
    assert (folder / CATALOGUE).stat().st_ino == inode
    assert ids(store.list()) == ["a"]


def test_a_read_only_folder(store: SessionStore) -> None:
    """The tables are in memory."""
    begin(store, "a")
    original = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return original(path, flags, *arguments, **keywords)

    with patch.object(os, "open", refuse):
        assert ids(store.list()) == ["a"]
        assert len(store.search("hello")) == 1


def test_over_a_network_the_tables_are_in_memory(folder: Path) -> None:
    """Other errors of the folder are raised."""
    with opened(folder, allow_network=True) as store:
        begin(store, "a")
        with patch("convtree.stores._folder.refuse_network", side_effect=OSError(errno.ENOTSUP, "network")):
            assert ids(store.list()) == ["a"]
    assert not (folder / CATALOGUE).exists()
    with opened(folder) as store:
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError):
            store.list()


def test_a_full_disk(store: SessionStore, folder: Path) -> None:
    """The tables are in memory."""
    begin(store, "a")
    store.list()
    store._backend._catalogue._connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]
    for number in range(100):
        begin(store, f"b{number}", "word " * 200)
    assert len(store.list(limit=None)) == 101
    assert (folder / CATALOGUE).exists()


def test_a_catalogue_locked_for_too_long(store: SessionStore, folder: Path) -> None:
    """The tables are in memory."""
    begin(store, "a")
    store.list()
    begin(store, "b")
    program = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""
    with python(program, folder / CATALOGUE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        store._backend._catalogue._connection.execute("PRAGMA busy_timeout = 200")  # type: ignore[attr-defined]
        assert sorted(ids(store.list())) == ["a", "b"]
        with patch("convtree.stores._catalogue_file.PATIENCE_S", 0.2), opened(folder) as other:
            assert sorted(ids(other.list())) == ["a", "b"]
        process.communicate()


@pytest.mark.no_cover
def test_several_processes_sync_at_once(store: SessionStore, folder: Path) -> None:
    """Each lists all sessions, and nothing is counted twice."""
    for number in range(150):
        begin(store, f"s{number}", "needle", "and thread")
    program = """
import sys, convtree
with convtree.open_store(sys.argv[1]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(20):
        print(len(store.list(limit=None)), sum(info.messages for info in store.list(limit=None)),
              len(store.search("needle", limit=1000)), len(store.findings))
"""
    processes = [python(program, folder) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert set(process.communicate()[0].splitlines()) == {"150 300 150 0"}
        assert process.returncode == 0


def test_a_process_killed_during_a_sync(store: SessionStore, folder: Path) -> None:
    """The next process continues with the tables it left."""
    for number in range(300):
        begin(store, f"s{number}", "needle", "and thread")
    program = """
import os, signal, sys, convtree
store = convtree.open_store(sys.argv[1])
store.list(progress=lambda done, of: done > 100 and os.kill(os.getpid(), signal.SIGKILL))
"""
    process = python(program, folder)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(store.list(limit=None)) == 300
    assert len(store.search("needle", limit=1000)) == 300


def test_a_session_added_during_a_sync_stays(store: SessionStore, folder: Path) -> None:
    """Another process adds it between our look at the tables and that at the files."""
    begin(store, "a")
    store.list()
    with opened(folder) as other:
        catalogue = catalogue_of(store)
        original = catalogue._look

        def look() -> Any:
            stamps = original()
            begin(other, "b")
            other.list()
            return stamps

        with patch.object(catalogue, "_look", look):
            store.list()
        with sqlite3.connect(folder / CATALOGUE) as connection:
            rows = connection.execute("SELECT session_id FROM ct_sessions ORDER BY session_id").fetchall()
        connection.close()
        assert rows == [("a",), ("b",)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_opens_its_own_tables(store: SessionStore) -> None:
    """It does not touch its parent's connection or wait for its locks."""
    begin(store, "a")
    store.list()
    inside, leave = Event(), Event()

    def hold() -> None:
        with store._lock, store._backend._catalogue._lock:  # type: ignore[attr-defined]
            inside.set()
            leave.wait()

    thread = Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        try:
            good = ids(store.list()) == ["a"]
            store.close()
        except BaseException:
            good = False
        os._exit(0 if good else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    begin(store, "b")
    assert sorted(ids(store.list())) == ["a", "b"]


def test_file_modes(store: SessionStore, folder: Path) -> None:
    """Files and folder are for their owner only. Nothing else is left in the folder."""
    begin(store, "a", "needle")
    store.fork("a", new_id="b").close()
    store.list()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    beside = [CATALOGUE + suffix for suffix in ("", "-wal", "-shm", "-stamp")]
    assert modes == dict.fromkeys(["a.jsonl", "b.jsonl", *beside], 0o600)


# --- deleting -----------------------------------------------------------------------------------------------------


def test_delete_removes_the_files_of_a_log(store: SessionStore, folder: Path) -> None:
    """Files of sessions whose names begin alike stay."""
    beside = ["a.jsonl.index", "a.jsonl.torn", "a.jsonl.original", "a.jsonl.original-2", "a.jsonl.quarantine-10"]
    others = [
        "a.jsonl.jsonl",
        "a.jsonl.index.jsonl",
        "a.jsonl.backup",
        "a.jsonl.original-x",
        "aa.jsonl.index",
        "a.b.jsonl",
    ]
    for name in ("a", *(name.removesuffix(".jsonl") for name in others if name.endswith(".jsonl"))):
        begin(store, name)
    for name in (*beside, *others):
        if not (folder / name).exists():
            (folder / name).write_bytes(b"x")
    store.delete("a")
    left = {path.name for path in folder.iterdir() if not path.name.startswith(CATALOGUE)}
    assert left == {*others, ".ledger"}


def test_a_locked_session_is_not_deleted(folder: Path) -> None:
    """SessionLocked names the holder. prune skips it."""
    with opened(folder, lock_timeout_s=0.05) as store:
        for id in ("a", "b", "c"):
            begin(store, id)
        with Session.open(folder / "b.jsonl", exclusive=True):
            with pytest.raises(SessionLocked) as caught:
                store.delete("b")
            assert str(os.getpid()) in (caught.value.holder or "")
            pruned = store.prune(keep=0, dry_run=False)
            assert (sorted(ids(pruned)), ids(pruned.skipped)) == (["a", "c"], ["b"])
        assert ids(store.list()) == ["b"]
        assert store.delete("b") == ["b"]


def test_prune_skips_a_damaged_session(store: SessionStore, folder: Path) -> None:
    """The damaged line may have been a hold. It can be deleted by name."""
    for id in ("a", "b"):
        begin(store, id, "one", "two")
    path = folder / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b"one", b"One"))
    for dry_run in (True, False):
        pruned = store.prune(keep=0, dry_run=dry_run)
        assert (ids(pruned), ids(pruned.skipped), list(pruned.judged)) == (["b"], ["a"], ["b"])
    assert store.delete("a") == ["a"]


def test_prune_skips_a_session_that_is_gone_before_it_is_read(store: SessionStore, folder: Path) -> None:
    """Whether it, or a sub-agent's of it, was deleted by another."""
    for id in ("a", "b"):
        begin(store, id)
        begin(store, f"{id}.t", parent_session=ParentSession(id=id, kind="task"))
    original = SessionStore._judge

    def judge(*arguments: Any) -> Any:
        for id in ("a", "b.t"):
            (folder / f"{id}.jsonl").unlink()
        return original(*arguments)

    with patch.object(SessionStore, "_judge", judge):
        pruned = store.prune(keep=0, dry_run=False)
    assert (ids(pruned), sorted(ids(pruned.skipped))) == ([], ["a", "b"])
    assert sorted(ids(store.list(tasks=True))) == ["a.t", "b"]


@pytest.mark.parametrize("gone", ["a", "a.t"])
def test_a_session_that_is_deleted_while_its_lock_is_awaited(store: SessionStore, folder: Path, gone: str) -> None:
    """What is left of its family is deleted. If it is the session itself, `delete` finds none, and `prune` skips it."""
    original = JsonlLog.lock

    def lock(log: JsonlLog) -> None:
        (folder / f"{gone}.jsonl").unlink(missing_ok=True)
        original(log)

    def begin_family() -> None:
        begin(store, "a")
        begin(store, "a.t", parent_session=ParentSession(id="a", kind="task"))

    begin_family()
    with patch.object(JsonlLog, "lock", lock), pytest.raises(SessionNotFound) if gone == "a" else nullcontext():
        assert store.delete("a") == ["a"]
    assert (ids(store.list(tasks=True)), list(folder.glob("a*.jsonl"))) == ([], [])
    begin_family()
    with patch.object(JsonlLog, "lock", lock):
        pruned = store.prune(keep=0, dry_run=False)
    assert (ids(pruned), ids(pruned.skipped)) == (([], ["a"]) if gone == "a" else (["a", "a.t"], []))
    assert (ids(store.list(tasks=True)), list(folder.glob("a*.jsonl"))) == ([], [])


def test_a_file_that_is_no_log_is_closed_again(store: SessionStore, folder: Path) -> None:
    """It is named, and no descriptor stays open."""
    (folder / "a.jsonl").write_text("no log\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for read_only in (True, False):
        with pytest.raises(NotALog, match=r"a\.jsonl"):
            store.open("a", read_only=read_only)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sub_agent_with_an_odd_parent(store: SessionStore, folder: Path) -> None:
    """A parent that is no id, or no log, is no parent: nothing is locked, and the session is stored."""
    (folder / "foreign.jsonl").mkdir()
    for number, parent in enumerate(("../up", "foreign", "none")):
        begin(store, f"t{number}", parent_session=ParentSession(id=parent, kind="task"))
    assert sorted(ids(store.prune(keep=0, dry_run=False))) == ["t0", "t1", "t2"]


def test_a_sub_agent_waits_for_the_lock_of_its_parent(folder: Path) -> None:
    """Only when it begins."""
    with opened(folder, lock_timeout_s=0.05) as store:
        begin(store, "a")
        with store.create(id="t", parent_session=ParentSession(id="a", kind="task")) as session:
            with Session.open(folder / "a.jsonl", exclusive=True):
                with pytest.raises(SessionLocked):
                    session.append(user("x"))
                begin(store, "fork", parent_session=ParentSession(id="a"))
            session.append(user("x"))
            with Session.open(folder / "a.jsonl", exclusive=True):
                session.append(user("y"))
        assert store.info("t").messages == 2


@pytest.mark.parametrize("damage", [b"x", b'"x"'])
def test_a_damaged_header_is_copied_into_a_folder(
    store: SessionStore, folder: Path, tmp_path: Path, damage: bytes
) -> None:
    """As it is."""
    begin(store, "a")
    path = folder / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":' + damage))
    with opened(tmp_path / "copy") as copy:
        assert [each.status for each in store.copy_to(copy)] == ["copied"]
    assert (tmp_path / "copy" / "a.jsonl").read_bytes() == path.read_bytes()


def test_a_deleted_session_does_not_come_back(store: SessionStore, folder: Path) -> None:
    """Not by a handle that was opened before, with or without `create`."""
    begin(store, "a")
    with store.open("a") as one, store.open("a", create=True) as two:
        store.delete("a")
        for session in (one, two):
            with pytest.raises(SessionNotFound):
                session.append(user("again"))
    assert not (folder / "a.jsonl").exists()


def test_a_sub_agent_deleted_meanwhile(store: SessionStore) -> None:
    """Two may delete at once."""
    begin(store, "a")
    for id in ("t", "u"):
        begin(store, id, parent_session=ParentSession(id="a", kind="task"))
    original = FolderBackend.delete

    def delete(*arguments: Any) -> Deletion:
        with patch.object(FolderBackend, "delete", original):
            store.delete("t")
        return original(*arguments)

    with patch.object(FolderBackend, "delete", delete):
        assert store.delete("a") == ["u", "a"]
    assert list(store.list(tasks=True)) == []


# --- opening a store ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "{path}",
        "file:{path}",
        "file://{path}",
        "file://localhost{path}",
        "FILE://{path}",
    ],
)
def test_a_folder_by_path_and_by_url(url: str, tmp_path: Path) -> None:
    """All forms lead to the same store."""
    path = tmp_path / "with space"
    with opened(path) as store:
        begin(store, "a")
    quoted = str(path).replace(" ", "%20") if "file" in url.lower() else str(path)
    with open_store(url.format(path=quoted)) as store:
        assert ids(store.list()) == ["a"]
        assert store.location == str(path)


def test_a_path_is_not_taken_for_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent signs and colons in a path are kept."""
    monkeypatch.chdir(tmp_path)
    for name in ("a%20b", "a:b", "notes:2024", "c:x", "file:relative"):
        with open_store(name) as store:
            begin(store, "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a%20b", "a:b", "c:x", "notes:2024", "relative"]
    with open_store(Path("file:relative")) as store:
        assert store.location == "file:relative"
    assert (tmp_path / "file:relative").is_dir()


@pytest.mark.parametrize("url", ["file://elsewhere/tmp/x", "file://elsewhere"])
def test_a_folder_on_another_machine_is_refused(url: str) -> None:
    """A host in a file URL is an error."""
    with pytest.raises(ValueError, match="another machine"):
        open_store(url)


def test_an_unknown_scheme() -> None:
    """The error names it, but not the rest of the URL, which may hold a password."""
    with pytest.raises(ValueError, match="'mongodb'") as caught:
        open_store("mongodb://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_registered_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point makes the backend from the URL."""
    urls: list[str] = []

    class Point:
        @staticmethod
        def load() -> Callable[[str], MemoryBackend]:
            return lambda url: urls.append(url) or MemoryBackend()  # type: ignore[func-returns-value]

    def entry_points(*, group: str, name: str) -> list[type[Point]]:
        return [Point] if (group, name) == ("convtree.stores", "mine") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    with open_store("mine://host/x%20y?z") as store:
        begin(store, "a")
        assert ids(store.list()) == ["a"]
    assert urls == ["mine://host/x%20y?z"]


def test_options_reach_a_registered_scheme_that_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name. What it does not take is refused, unless it is `create`, which every command passes."""
    calls: list[object] = []

    def make(url: str, *, create: bool | None, durability: str) -> MemoryBackend:
        calls.append((url, create, durability))
        return MemoryBackend()

    class Point:
        def __init__(self, factory: Callable[..., MemoryBackend]) -> None:
            self.load = lambda: factory

    points = {"takes": Point(make), "plain": Point(lambda _url: MemoryBackend())}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group, name: [points[name]])  # noqa: ARG005
    open_store("takes://x", create=False, durability="process").close()
    assert calls == [("takes://x", False, "process")]
    open_store("plain://x", create=False).close()
    with pytest.raises(ValueError, match="scheme 'takes' do not take lock_timeout_s, allow_network"):
        open_store("takes://x", lock_timeout_s=1, allow_network=True)
    with pytest.raises(ValueError, match="scheme 'plain' do not take durability"):
        open_store("plain://x", durability="process")


def test_a_folder_is_created_or_must_exist(tmp_path: Path) -> None:
    """With its parents. `create=False` raises SessionNotFound."""
    with open_store(tmp_path / "a" / "b", create=True) as store:
        begin(store, "s")
    with open_store(tmp_path / "a" / "b", create=False) as store:
        assert ids(store.list()) == ["s"]
    with pytest.raises(SessionNotFound, match="no store"):
        open_store(tmp_path / "c", create=False)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        open_store(tmp_path / "file")
    with pytest.raises(ConvtreeError):
        open_store(tmp_path / "file", create=False)


def test_the_package_offers_stores() -> None:
    """`convtree.open_store` and `convtree.SessionStore` are loaded on first use."""
    assert (convtree.open_store, convtree.SessionStore) == (open_store, SessionStore)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = convtree.nothing


def test_importing_convtree_imports_no_tests() -> None:
    """And no database driver."""
    program = "import sys, convtree; print({'convtree.testing', 'pytest', 'sqlite3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_log_written_without_the_store_is_listed(store: SessionStore, folder: Path) -> None:
    """A store is a folder of logs."""
    with Session.open(folder / "mine.jsonl", name="N") as session:
        session.append(user("hello"))
    assert [(info.id, info.name) for info in store.list()] == [("mine", "N")]
    shutil.copy(folder / "mine.jsonl", folder / "copy.jsonl")
    assert sorted(ids(store.list())) == ["copy", "mine"]
    with pytest.raises(SessionExists):
        store.create(id="copy")


def test_lists_during_appends(store: SessionStore) -> None:
    """A list never sees half an append."""
    stop = Event()

    def write() -> None:
        with store.create(id="a") as session:
            number = 0
            while not stop.is_set():
                session.append(user(f"needle {number}"))
                number += 1

    thread = Thread(target=write)
    thread.start()
    try:
        counts = []
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            counts += [info.messages for info in store.list()]
            assert store.findings == []
    finally:
        stop.set()
        thread.join()
    assert counts == sorted(counts)
    assert store.info("a").messages == len(store.search("needle", limit=10**6))


# --- races, forced -------------------------------------------------------------------------


def test_a_log_deleted_during_the_look(store: SessionStore, folder: Path) -> None:
    """It is not listed."""
    begin(store, "a")
    begin(store, "b")
    original = os.listdir

    def going(place: Any) -> list[str]:
        names = original(place)
        (folder / "a.jsonl").unlink(missing_ok=True)
        return names

    with patch.object(os, "listdir", going):
        assert ids(store.list()) == ["b"]


def test_a_log_deleted_before_it_is_read(store: SessionStore, folder: Path) -> None:
    """It is not listed, and is no finding."""
    begin(store, "a")
    begin(store, "b")
    original = CatalogueSync._open_contents

    def gone(catalogue: CatalogueSync, id: str) -> Any:
        (folder / "a.jsonl").unlink(missing_ok=True)
        return original(catalogue, id)

    with patch.object(CatalogueSync, "_open_contents", gone):
        assert (ids(store.list()), store.findings) == (["b"], [])
    assert ids(store.list()) == ["b"]


def test_a_log_synced_by_another_process_meanwhile(folder: Path, ingested: list[tuple[str, int]]) -> None:
    """It is not read again."""
    with opened(folder) as store, opened(folder) as other:
        begin(store, "a")
        theirs = catalogue_of(other)
        begin(store, "b")
        original = CatalogueSync.writing

        def late(catalogue: CatalogueSync) -> Any:
            if catalogue is not theirs:
                other.list()
            return original(catalogue)

        with patch.object(CatalogueSync, "writing", late):
            assert sorted(ids(store.list())) == ["a", "b"]
    assert sorted(ingested) == [("a", 1), ("b", 1)]


def test_a_failed_note_closes_the_session(folder: Path) -> None:
    """`resume` leaves no file open."""
    with opened(folder, lock_timeout_s=0.05) as store:
        begin(store, "a", cwd="/x")
        path = folder / "a.jsonl"
        with Session.open(path, exclusive=True), pytest.raises(SessionLocked):
            store.resume(cwd="/x", note="later")
        if Path("/proc/self/fd").exists():
            held = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
            assert str(path) not in held


def test_an_exception_in_a_query_is_raised(store: SessionStore) -> None:
    """The next query works."""
    begin(store, "a")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalogue_of(store)._read(stop)
    assert ids(store.list()) == ["a"]


def test_a_session_deleted_by_another_meanwhile_is_not_found(store: SessionStore) -> None:
    """Of two that delete a session at once, one gets SessionNotFound."""
    begin(store, "a")
    original = FolderBackend.delete

    def delete(*arguments: Any) -> Deletion:
        original(*arguments)
        return original(*arguments)

    with patch.object(FolderBackend, "delete", delete), pytest.raises(SessionNotFound):
        store.delete("a")


def test_a_foreign_file_keeps_all_from_being_deleted(store: SessionStore, folder: Path) -> None:
    """NotALog is raised before the first file is deleted; usage by branch raises it, too."""
    begin(store, "a")
    (folder / "foreign.jsonl").write_bytes(b"hello\n")
    with pytest.raises(NotALog):
        store._backend.delete(["a", "foreign"])
    with pytest.raises(NotALog):
        store.usage("foreign", by="branch")
    assert ids(store.list()) == ["a"]


@pytest.mark.parametrize("id", ["../up", "a/b", ".", ""])
def test_a_backend_refuses_paths_as_ids(folder: Path, id: str) -> None:
    """Also if the store above did not check."""
    backend = FolderBackend(folder)
    with pytest.raises(SessionNotFound):
        backend.log(id, "a")


def test_ids_that_end_like_other_files(store: SessionStore, folder: Path) -> None:
    """`a.jsonl.index` is a valid id."""
    for id in ("a", "a.jsonl", "a.jsonl.index", "A"):
        begin(store, id, id)
    assert sorted(ids(store.list())) == ["A", "a", "a.jsonl", "a.jsonl.index"]
    store.delete("a")
    assert sorted(ids(store.list())) == ["A", "a.jsonl", "a.jsonl.index"]
    assert sorted(path.name for path in folder.glob("a*")) == ["a.jsonl.index.jsonl", "a.jsonl.jsonl"]


def test_locks_and_connections_after_a_fork(store: SessionStore) -> None:
    """A child gets new locks and leaves the connection to its parent."""
    with store.create(id="a") as session:
        session.append(user("x"))
    assert ids(store.list()) == ["a"]
    mine = store._backend._catalogue  # type: ignore[attr-defined]
    memory = open_store("memory:")
    before = (store._lock, mine._lock, mine._connection)
    for thing in (store, mine, memory, memory._backend._catalogue):  # type: ignore[attr-defined]
        thing._after_fork()
    assert ids(memory.list()) == []
    assert ids(store.list()) == ["a"]
    after = (store._lock, mine._lock, mine._connection)
    assert all(own is not inherited for own, inherited in zip(after, before, strict=True))
    assert _catalogue_sync._INHERITED[-1] is before[2]


def test_a_damaged_session_is_not_copied(store: SessionStore, folder: Path) -> None:
    """It says what is wrong, and nothing is stored. After a repair it is copied."""
    begin(store, "a", "one", "two", "three")
    path = folder / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b"two", b"twx"))
    with pytest.raises(CorruptLog, match=r"bad_seal in line 3; repair the log before you copy it"):
        store.copy("a", "c")
    assert ids(store.list()) == ["a"]
    repair(path, dry_run=False)
    store.copy("a", "c").close()
    assert store.info("c").entries == store.info("a").entries


@pytest.mark.parametrize("url", ["{}/folder", "sqlite:///{}/store.db", "memory:"])
def test_of_very_many_matches_the_last_stored_are_ranked(url: str, tmp_path: Path) -> None:
    """A short message is a better match than long ones, but not if 500 were stored after it."""
    arguments: dict[str, Any] = {} if url == "memory:" else {"durability": "process"}
    with open_store(url.format(tmp_path), **arguments) as store:
        with store.create(id="a") as session:
            first = session.append(user("needle")).id
            session.append_many([user(f"needle in a haystack of {number} straws") for number in range(499)])
        assert store.search("needle", limit=1)[0].entry_id == first
        with store.open("a") as session:
            session.append(user("needle in another haystack of straws"))
        assert first not in [hit.entry_id for hit in store.search("needle", limit=500)]
        assert store.search("needle", limit=501)[0].entry_id == first
        assert store.search("needle 7")[0].snippet == "needle in a haystack of 7 straws"


def test_logs_are_read_in_the_order_in_which_they_were_written_to(
    folder: Path, ingested: list[tuple[str, int]]
) -> None:
    """So the newest messages are the last in the tables, whatever their sessions are called."""
    with opened(folder) as store:
        for number, id in enumerate("cabd"):
            begin(store, id)
            os.utime(folder / f"{id}.jsonl", ns=(0, 10**18 + number))
        store.list()
    assert [id for id, _ in ingested] == ["c", "a", "b", "d"]
