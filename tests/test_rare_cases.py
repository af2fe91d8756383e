"""Cases that need a file system or another program to fail at one moment."""

import errno
import os
import sqlite3
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import pytest
from helpers import user

from convtree import CorruptLog, Session, open_store
from convtree._logs import sql_errors
from convtree._model.interrupts import release
from convtree.repair import redact_log, repair, verify
from convtree.stores._folder import FolderBackend


def test_a_lock_is_released_as_often_as_it_is_held() -> None:
    """Afterwards another thread can take it."""
    lock = RLock()
    lock.acquire()
    lock.acquire()
    release(lock)
    taken: list[bool] = []
    thread = Thread(target=lambda: taken.append(lock.acquire(timeout=5)))
    thread.start()
    thread.join()
    assert taken == [True]


def test_a_cancelled_statement_is_a_timeout() -> None:
    """PostgreSQL says 57014 when `statement_timeout` is over."""
    error = sql_errors._os_error("57014", "here: canceled")
    assert (type(error), str(error)) == (TimeoutError, "here: canceled; nothing was written")


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


def test_a_log_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are deleted, and the error names both."""
    remove = FolderBackend._remove

    def failing(backend: FolderBackend, path: Path) -> Any:
        if path.name == "a.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return remove(backend, path)

    with open_store(tmp_path / "s") as store:
        for id, parent in (("a", None), ("b", None)):
            with store.create(id=id) as session:
                session.append(user(id), parent_id=parent)
        monkeypatch.setattr(FolderBackend, "_remove", failing)
        with pytest.raises(OSError, match=r"left: a\.jsonl") as caught:
            store.delete("a")
        assert caught.value.errno == errno.EACCES
        assert [info.id for info in store.list()] == ["b", "a"]


def test_a_catalogue_that_becomes_a_folder(tmp_path: Path) -> None:
    """The lists go on from tables in memory."""
    with open_store(tmp_path / "s") as store:
        with store.create(id="a") as session:
            session.append(user("a"))
        assert [info.id for info in store.list()] == ["a"]
        (tmp_path / "s/.catalogue.sqlite").unlink()
        (tmp_path / "s/.catalogue.sqlite").mkdir()
        assert [info.id for info in store.list()] == ["a"]


def test_a_line_that_is_too_long_is_counted(tmp_path: Path) -> None:
    """A check of the whole log goes on behind it."""
    path = tmp_path / "a.jsonl"
    with Session.open(path) as session:
        session.append(user("a"))
    with path.open("ab") as file:
        file.write(b"x" * (65 * 2**20) + b"\n")
    assert "line_too_long" in [finding.code for finding in verify(path).findings]


def test_an_empty_line_beside_damage(tmp_path: Path) -> None:
    """It is passed over when the places of damaged entries are looked for."""
    path = tmp_path / "a.jsonl"
    with Session.open(path) as session:
        for name in "abc":
            session.append(user(name), id=name)
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"content":"b"', b'"content":"B"')
    path.write_bytes(b"\n".join([*lines[:2], b"", *lines[2:]]))
    assert repair(path, dry_run=False, rejoin=True).done
    with Session.open(path) as session:
        assert [entry.id for _, entry in session.records()] == ["a", "b", "c"]


def test_rows_of_no_session_are_named_where_they_are_asked_for(tmp_path: Path) -> None:
    """A check of one session says nothing of the rows of another."""
    url = f"sqlite:///{tmp_path}/s.db"
    with open_store(url) as store:
        for id in "ab":
            with store.create(id=id) as session:
                session.append(user(id))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute("DELETE FROM ct_sessions WHERE session_id = 'b'")
    raw.close()
    with open_store(url) as store:
        assert [(report.path, bool(report.rows)) for report in store.verify(["a"])] == [("a", False)]


def test_a_database_whose_end_is_wrong_is_not_copied(tmp_path: Path) -> None:
    """It is refused, and the reason says what to do; others are copied."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store:
        for id in "ab":
            with store.create(id=id) as session:
                session.append(user(id))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute("UPDATE ct_sessions SET last_crc = last_crc + 1 WHERE session_id = 'a'")
    raw.close()
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, open_store(tmp_path / "copy") as target:
        done = {each.id: each for each in store.copy_to(target)}
        assert (done["a"].status, done["b"].status) == ("refused", "copied")
        assert "repair the log first" in (done["a"].reason or "")


def test_a_vacuum_with_nothing_to_drop_in_a_scope(tmp_path: Path) -> None:
    """Nothing is written."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store:
        mine = store.scoped(owner="ann")
        with mine.create(id="a") as session:
            session.append(user("a"))
        assert not mine.vacuum("a", dry_run=False).done
        assert not mine.redact_session("a", dry_run=False).done


def test_a_line_that_cannot_be_read_is_not_redacted(tmp_path: Path) -> None:
    """The session is refused, and stays as it is."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, store.create(id="a") as session:
        session.append(user("a"))
        session.append(user("b"))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute(
            "UPDATE ct_lines SET line = replace(line, '\"message\":', '\"message\";') WHERE line LIKE '%\"b\"%'"
        )
    raw.close()
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, pytest.raises(CorruptLog):
        store.redact_session("a", dry_run=False)


def test_two_stores_on_one_engine(tmp_path: Path) -> None:
    """Both see what the other writes."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/s.db")
    with open_store(engine, create=True) as one, open_store(engine) as other:
        with one.create(id="a") as session:
            session.append(user("a"))
        assert [info.id for info in other.list()] == ["a"]
    engine.dispose()
