"""When the file of a catalogue is trusted: only as convtree left it."""

import fcntl
import gc
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import user

from convtree import SessionStore, open_store
from convtree._catalogue.erasing import drop_deleted_words
from convtree.stores import _catalogue_file
from convtree.stores._catalogue_sync import CatalogueSync

CATALOGUE = ".catalogue.sqlite"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two sessions and a catalogue that is closed."""
    with opened(tmp_path / "store") as store:
        begin(store, "a", "needle")
        begin(store, "b", "thread")
        store.list()
    return tmp_path / "store"


@pytest.fixture
def ingested() -> Iterator[list[str]]:
    """The ids of the logs that a catalogue reads."""
    seen: list[str] = []
    original = CatalogueSync._ingest

    def ingest(catalogue: CatalogueSync, execute: Any, id: str, contents: Any, start: int) -> Any:
        seen.append(id)
        return original(catalogue, execute, id, contents, start)

    with patch.object(CatalogueSync, "_ingest", ingest):
        yield seen


def opened(place: Path) -> SessionStore:
    return open_store(place, durability="process")


def begin(store: SessionStore, id: str, text: str) -> None:
    with store.create(id=id, name=f"name of {id}", owner="ann") as session:
        session.append({"role": "user", "content": text})


def grow(store: SessionStore, id: str) -> None:
    with store.open(id) as session:
        session.append({"role": "user", "content": "more"})


def names(store: SessionStore) -> dict[str, str | None]:
    return {info.id: info.name for info in store.list(owner="ann").sessions}


BOTH = {"a": "name of a", "b": "name of b"}


def change(folder: Path, *statements: str) -> None:
    """Changes the tables as another program would."""
    with closing(sqlite3.connect(folder / CATALOGUE, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def flip(folder: Path) -> None:
    """Flips a bit of a name in place, and keeps the file's times as well as it can."""
    path = folder / CATALOGUE
    status = path.stat()
    with path.open("r+b") as file:
        at = file.read().index(b"name of a")
        file.seek(at)
        file.write(b"o")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def lie(folder: Path) -> None:
    change(folder, "UPDATE ct_sessions SET owner = 'eve'")


def plant(folder: Path) -> None:
    change(folder, "CREATE TRIGGER planted AFTER UPDATE ON ct_sessions BEGIN DELETE FROM ct_sessions; END")


def stamp(folder: Path) -> Path:
    return folder / f"{CATALOGUE}-stamp"


def killed(folder: Path, work: Callable[[SessionStore], object]) -> None:
    """Has a process work with the store, and killed."""
    pid = os.fork()
    if pid == 0:
        store = opened(folder)
        work(store)
        os._exit(0)
    os.waitpid(pid, 0)


# --- trusted ------------------------------------------------------------------------------------------------------


def test_a_catalogue_is_used_again(folder: Path, ingested: list[str]) -> None:
    """Whether the store was closed, forgotten or killed: the logs are not read again."""
    with opened(folder) as store:
        assert names(store) == BOTH
    store = opened(folder)
    names(store)
    del store
    gc.collect()
    killed(folder, names)
    with opened(folder) as store:
        assert names(store) == BOTH
    assert ingested == []


def test_what_a_killed_process_wrote_is_kept(folder: Path, ingested: list[str]) -> None:
    """It is in the WAL."""

    def work(store: SessionStore) -> None:
        grow(store, "a")
        names(store)

    killed(folder, work)
    with opened(folder) as store:
        assert store.info("a").messages == 2
    assert ingested == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER planted AFTER UPDATE ON ct_sessions BEGIN DELETE FROM ct_sessions; END",
        "CREATE VIEW planted AS SELECT * FROM ct_sessions",
        "CREATE TABLE ct_terms_more (x)",
        "CREATE VIRTUAL TABLE planted USING fts5(x)",
        "CREATE INDEX planted ON ct_sessions (name)",
        "DROP INDEX ct_sessions_by_owner",
        "DROP TRIGGER ct_terms_add",
    ],
)
def test_another_program_changes_the_schema_in_the_wal(statement: str, folder: Path, ingested: list[str]) -> None:
    """The file is as it was left, so the stamp fits. But these are not our tables any more."""
    with closing(sqlite3.connect(folder / CATALOGUE, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute(statement)
        with opened(folder) as store:
            assert names(store) == BOTH
    assert sorted(ingested) == ["a", "b"]


def test_stores_that_share_a_catalogue(folder: Path, ingested: list[str]) -> None:
    """Each believes what another one writes, moves into the file, or truncates."""
    with opened(folder) as store:
        names(store)
        with opened(folder) as other:
            grow(other, "a")
            names(other)
        assert (names(store), ingested) == (BOTH, ["a"])
        with opened(folder) as other:
            begin(other, "c", "needle")
            other.delete("c")
            other.erase("c")
            names(store)
        assert (names(store), store.info("a").messages) == (BOTH, 2)
        with opened(folder) as other:
            assert names(other) == BOTH
    assert ingested == ["a", "c"]


def test_a_store_that_writes_after_another_one(folder: Path, ingested: list[str]) -> None:
    """Also if the other one came between its look at the tables and its own transaction."""
    with opened(folder) as store, opened(folder) as other:
        catalogue: Any = store._backend.catalogue()
        original = catalogue._look

        def look() -> Any:
            stamps = original()
            names(other)
            return stamps

        grow(store, "a")
        with patch.object(catalogue, "_look", look):
            names(store)
        assert (names(store), names(other), ingested) == (BOTH, BOTH, ["a"])


def test_the_wal_is_moved_into_the_file_from_time_to_time(tmp_path: Path, ingested: list[str]) -> None:
    """Not with each transaction. If it cannot be moved, the next one tries again."""
    with opened(tmp_path) as store:
        begin(store, "a", "needle")
        names(store)
        before = (tmp_path / CATALOGUE).stat().st_size
        with stamp(tmp_path).open("rb") as other, patch.object(_catalogue_file, "PATIENCE_S", 0):
            fcntl.flock(other, fcntl.LOCK_EX)
            for _ in range(40):
                grow(store, "a")
                names(store)
        assert (tmp_path / CATALOGUE).stat().st_size == before
        grow(store, "a")
        names(store)
        assert (tmp_path / CATALOGUE).stat().st_size > before
    ingested.clear()
    with opened(tmp_path) as store:
        assert (store.info("a").messages, ingested) == (42, [])


# --- not trusted --------------------------------------------------------------------------------------------------


def touch(folder: Path) -> None:
    os.utime(folder / CATALOGUE)


def copy(folder: Path) -> None:
    data = (folder / CATALOGUE).read_bytes()
    (folder / CATALOGUE).unlink()
    (folder / CATALOGUE).write_bytes(data)


def no_stamp(folder: Path) -> None:
    stamp(folder).unlink()


def torn_stamp(folder: Path) -> None:
    stamp(folder).write_bytes(stamp(folder).read_bytes()[:-1])


def wrong_stamp(folder: Path) -> None:
    data = bytearray(stamp(folder).read_bytes())
    data[40] ^= 1
    stamp(folder).write_bytes(data)


def journal(folder: Path) -> None:
    (folder / f"{CATALOGUE}-journal").write_bytes(b"")


HARM = [flip, lie, plant, touch, copy, no_stamp, torn_stamp, wrong_stamp, journal]


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_not_as_it_was_left(folder: Path, harm: Callable[[Path], None], ingested: list[str]) -> None:
    """The logs are read again, once."""
    harm(folder)
    for _ in range(2):
        with opened(folder) as store:
            assert names(store) == BOTH
            assert len(store.search("needle")) == 1
    assert sorted(ingested) == ["a", "b"]


@pytest.mark.parametrize("harm", [flip, lie, plant, touch, copy])
def test_a_file_that_changes_while_it_is_open(folder: Path, harm: Callable[[Path], None], ingested: list[str]) -> None:
    """The next query notices it, and other stores use the new tables."""
    with opened(folder) as store, opened(folder) as other:
        assert (names(store), names(other)) == (BOTH, BOTH)
        harm(folder)
        assert (names(store), names(other), names(store)) == (BOTH, BOTH, BOTH)
    assert sorted(ingested) == ["a", "b"]


def test_a_file_that_changed_is_not_stamped(folder: Path, ingested: list[str]) -> None:
    """Closing the store that has it open makes it no better."""
    with opened(folder) as store:
        grow(store, "a")
        names(store)
        touch(folder)
    ingested.clear()
    with opened(folder) as store:
        assert names(store) == BOTH
    assert sorted(ingested) == ["a", "b"]


def test_a_file_that_changes_while_a_session_is_erased(folder: Path, ingested: list[str]) -> None:
    """The tables are made anew."""
    changes = [touch]

    def drop(database: Any) -> None:
        drop_deleted_words(database)
        while changes:
            changes.pop()(folder)

    with opened(folder) as store:
        with patch("convtree.stores._catalogue_sync.drop_deleted_words", drop):
            assert store.delete("b").pending == ()
        assert (list(names(store)), ingested) == (["a"], ["a"])


def test_a_wal_that_lost_its_end(folder: Path) -> None:
    """What was moved into the file is newer than what is left of the WAL."""
    with opened(folder) as store:
        names(store)
        reader = sqlite3.connect(folder / CATALOGUE, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM ct_files").fetchall()
        grow(store, "a")
        names(store)
        half = (folder / f"{CATALOGUE}-wal").read_bytes()
        grow(store, "b")
        names(store)
    whole = (folder / f"{CATALOGUE}-wal").read_bytes()
    reader.close()
    assert len(half) < len(whole)
    with opened(folder) as store:
        assert store.info("b").messages == 2


def test_tables_of_another_catalogue_in_the_wal(folder: Path, tmp_path: Path) -> None:
    """They have another token."""
    with opened(tmp_path / "other") as store:
        begin(store, "c", "needle")
    killed(tmp_path / "other", names)
    wal = (tmp_path / "other" / f"{CATALOGUE}-wal").read_bytes()
    (folder / f"{CATALOGUE}-wal").write_bytes(wal)
    with opened(folder) as store:
        assert names(store) == BOTH


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ct_sessions SET session_key = '{'",
        "UPDATE ct_sessions SET first_user = CAST(x'ff' AS TEXT)",
        "UPDATE ct_usage SET cost = 'x'",
        "UPDATE ct_sessions SET active_ms = 'x'",
        "ALTER TABLE ct_sessions RENAME COLUMN name TO other",
    ],
)
def test_a_column_that_cannot_be_read(folder: Path, sql: str, ingested: list[str]) -> None:
    """The tables are made anew, whatever kind of error it is."""
    with opened(folder) as store:
        with store.open("a") as session:
            session.append({"role": "assistant", "content": "x"}, model="m", usage={"input_tokens": 1})
        catalogue: Any = store._backend.catalogue()
        ingested.clear()
        with catalogue.writing() as execute:
            execute(sql)
        assert names(store) == BOTH
        assert store.usage(by="model")[0].usage.input_tokens == 1
    assert sorted(ingested) == ["a", "b"]


def test_a_value_that_sqlite_does_not_take(folder: Path, ingested: list[str]) -> None:
    """It says nothing about the tables."""
    with opened(folder) as store:
        catalogue: Any = store._backend.catalogue()
        for value in ("\ud800", 2**70):
            with pytest.raises((UnicodeEncodeError, OverflowError)):
                catalogue._read(lambda execute, value=value: execute("SELECT :value", {"value": value}))
        assert names(store) == BOTH
    assert ingested == []


# --- in memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("a.jsonl")])
def test_something_else_in_the_place_of_the_stamp(folder: Path, make: Callable[[Path], object]) -> None:
    """The tables are in memory, and it stays as it is."""
    stamp(folder).unlink()
    make(stamp(folder))
    before = (folder / "a.jsonl").read_bytes()
    with opened(folder) as store:
        assert names(store) == BOTH
        grow(store, "b")
        assert store.info("b").messages == 2
    assert (folder / "a.jsonl").read_bytes() == before


def test_a_stamp_that_is_a_link_to_a_file(folder: Path, tmp_path: Path) -> None:
    """It is not written to."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    stamp(folder).unlink()
    stamp(folder).hardlink_to(precious)
    with opened(folder) as store:
        assert names(store) == BOTH
    assert precious.read_bytes() == b"precious"


def test_a_stamp_that_is_locked_for_too_long(folder: Path) -> None:
    """The tables are in memory, of a store that opens the file and of one that finds it changed."""
    with opened(folder) as store:
        names(store)
        with stamp(folder).open("rb") as other, patch.object(_catalogue_file, "PATIENCE_S", 0):
            fcntl.flock(other, fcntl.LOCK_EX)
            touch(folder)
            assert names(store) == BOTH
            with opened(folder) as third:
                assert names(third) == BOTH
    with opened(folder) as store:
        assert names(store) == BOTH


def test_a_file_that_cannot_be_made(folder: Path) -> None:
    """The tables are in memory."""
    touch(folder)
    error = sqlite3.OperationalError("database or disk is full")
    with patch.object(_catalogue_file, "enable_wal", side_effect=error), opened(folder) as store:
        assert names(store) == BOTH


def test_a_file_that_cannot_be_read_now(folder: Path) -> None:
    """It is left as it is: the error does not say that it is damaged."""
    inode = (folder / CATALOGUE).stat().st_ino
    error = sqlite3.OperationalError("unable to open database file")
    with patch.object(_catalogue_file, "_is_ours", side_effect=error), opened(folder) as store:
        assert names(store) == BOTH
    with opened(folder) as store:
        assert names(store) == BOTH
    assert (folder / CATALOGUE).stat().st_ino == inode


@pytest.mark.parametrize("error", [sqlite3.DatabaseError("malformed"), UnicodeDecodeError("utf-8", b"x", 0, 1, "no")])
def test_a_file_that_is_damaged_when_it_is_opened(folder: Path, error: Exception, ingested: list[str]) -> None:
    """Its tables are made anew."""
    with patch.object(_catalogue_file, "_is_ours", side_effect=error), opened(folder) as store:
        assert names(store) == BOTH
    with opened(folder) as store:
        assert names(store) == BOTH
    assert sorted(ingested) == ["a", "b"]


def test_an_error_of_tables_in_memory(ingested: list[str]) -> None:
    """It is raised."""
    with open_store("memory:") as store:
        begin(store, "a", "needle")
        catalogue: Any = store._backend.catalogue()
        with pytest.raises(sqlite3.OperationalError, match="no such column: ct_none"):
            catalogue._read(lambda execute: execute("SELECT ct_none"))
        assert (names(store), ingested) == ({"a": "name of a"}, ["a"])


@pytest.mark.parametrize("sql", ["PRAGMA user_version = 9", "DROP TABLE ct_gone", "DELETE FROM ct_state"])
def test_stamped_tables_that_are_not_ours(folder: Path, sql: str, ingested: list[str]) -> None:
    """Of another version, or without something that belongs to them."""
    with opened(folder) as store:
        catalogue: Any = store._backend.catalogue()
        catalogue._connection.execute(sql)
        stamp_again = catalogue._tables._write_stamp
        catalogue._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        catalogue._tables._while_locked(lambda fd: stamp_again(fd, catalogue._tables.stamp.token, 0))
    with opened(folder) as store:
        assert names(store) == BOTH
    assert sorted(ingested) == ["a", "b"]


def test_a_catalogue_that_becomes_a_folder(tmp_path: Path) -> None:
    """The lists go on from tables in memory."""
    with open_store(tmp_path / "s") as store:
        with store.create(id="a") as session:
            session.append(user("a"))
        assert [info.id for info in store.list()] == ["a"]
        (tmp_path / "s/.catalogue.sqlite").unlink()
        (tmp_path / "s/.catalogue.sqlite").mkdir()
        assert [info.id for info in store.list()] == ["a"]
