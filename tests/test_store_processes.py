"""Deletions beside real second processes: what they were told is stored is never deleted with a session judged before.

On folders, SQLite and PostgreSQL.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import user
from postgres import new_database

from convtree import ParentSession, SessionChanged, SessionHeld, SessionInfo
from convtree.stores import _sql
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._folder import FolderBackend
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore
from convtree.stores._sql import SqlBackend

DAY_S = 86400
OTHER = """
import sys
import convtree
url, what, id = sys.argv[1:]
with convtree.open_store(url) as store:
    parent = convtree.ParentSession(id=id, kind="task")
    session = store.open(id) if what == "append" else store.create(id="new", parent_session=parent)
    print("ready", flush=True)
    try:
        with session:
            session.append({"role": "user", "content": "still here"})
        print("stored", flush=True)
    except convtree.SessionNotFound:
        print("gone", flush=True)
"""


@pytest.fixture(params=["folder", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "postgresql":
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made
    else:
        yield f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else str(tmp_path / "store")


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    """A store with an old session `a` and its sub-agents `t` and `u`."""
    with open_store(url, create=True, durability="process", clock=lambda: time.time_ns() - 10 * DAY_S * 10**9) as old:
        for id, parent in {"a": None, "t": "a", "u": "t"}.items():
            above = None if parent is None else ParentSession(id=parent, kind="task")
            with old.create(id=id, parent_session=above) as session:
                session.append(user("hello"))
    with open_store(url, durability="process") as opened:
        yield opened


def start(url: str, what: str, id: str) -> subprocess.Popen[str]:
    """Starts a process that appends to a session, or begins a sub-agent's."""
    return subprocess.Popen([sys.executable, "-c", OTHER, url, what, id], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    """What a process has printed until it ended."""
    return process.communicate(timeout=60)[0].split()


def ids(listed: Any) -> list[str]:
    infos: list[SessionInfo] = list(listed)
    return [info.id for info in infos]


@contextmanager
def before_delete(store: SessionStore, act: Callable[[], object]) -> Iterator[None]:
    """Acts between the judgement of a family and its deletion."""
    backend = FolderBackend if isinstance(store._backend, FolderBackend) else SqlBackend
    original: Any = backend.delete

    def delete(*arguments: Any) -> Any:
        act()
        return original(*arguments)

    with patch.object(backend, "delete", delete):
        yield


@contextmanager
def under_the_locks(store: SessionStore, act: Callable[[], object]) -> Iterator[None]:
    """Acts while a deletion has its locks, before it lists the sub-agents again."""
    in_folder = isinstance(store._backend, FolderBackend)
    place: Any = CatalogueSync if in_folder else _sql
    name = "parents_of_other_tasks" if in_folder else "_parents_of_other_tasks"
    original: Any = getattr(place, name)

    def parents(*arguments: Any) -> Any:
        act()
        return original(*arguments)

    with patch.object(place, name, parents):
        yield


@pytest.mark.parametrize(
    ("what", "id"), [("append", "a"), ("append", "t"), ("append", "u"), ("task", "a"), ("task", "u")]
)
def test_a_write_between_judgement_and_deletion(store: SessionStore, url: str, what: str, id: str) -> None:
    """`prune` skips the family and says so. `delete` raises SessionChanged. A second `delete` knows of the write."""
    with before_delete(store, lambda: said(start(url, what, id))):
        pruned = store.prune(max_age=DAY_S, dry_run=False)
    assert (ids(pruned), ids(pruned.skipped)) == ([], ["a"])
    everyone = ["a", "t", "u"] if what == "append" else ["a", "new", "t", "u"]
    assert sorted(ids(store.list(tasks=True))) == everyone
    assert ids(store.prune(max_age=DAY_S)) == []  # somebody has just said something
    if what == "task":
        assert store.delete("new") == ["new"]
    with before_delete(store, lambda: said(start(url, what, id))), pytest.raises(SessionChanged) as caught:
        store.delete("a")
    assert caught.value.ids == (id,)
    assert sorted(ids(store.list(tasks=True))) == everyone
    assert sorted(store.delete("a")) == everyone


@pytest.mark.parametrize(("what", "id"), [("append", "t"), ("task", "t")])
def test_a_write_that_comes_while_the_locks_are_held(store: SessionStore, url: str, what: str, id: str) -> None:
    """An append waits and finds its session gone. A sub-agent's session begins as one without a parent."""
    waiting: list[subprocess.Popen[str]] = []

    def start_and_wait() -> None:
        if not waiting:
            waiting.append(process := start(url, what, id))
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            assert process.poll() is None  # it waits for the lock

    with under_the_locks(store, start_and_wait):
        assert ids(store.prune(max_age=DAY_S, dry_run=False)) == ["a", "t", "u"]
    outcome = said(waiting[0])
    left = ids(store.list(tasks=True))
    assert (outcome, left) == ((["gone"], []) if what == "append" else (["stored"], ["new"]))


def test_a_catalogue_that_lies_deletes_nothing_of_others(store: SessionStore) -> None:
    """A parent, a time, a hold and an owner that are wrong in the tables: the logs decide."""
    with store.create(id="b", owner="bob") as session:
        session.append(user("hello"))
        session.hold()
    assert len(store.list(tasks=True)) == 4
    for change in (
        "parent_id = 'b' WHERE session_id = 't'",
        "active_ms = 1000, activity_bound = 1000, held = 0, owner = 'ann' WHERE session_id = 'b'",
        "kind = 'task', parent_id = 't' WHERE session_id = 'b'",
    ):
        _lie(store, f"UPDATE ct_sessions SET {change}")
    pruned = store.prune(max_age=DAY_S, owner="ann", dry_run=False)
    assert (ids(pruned), ids(pruned.skipped)) == ([], [])
    pruned = store.prune(max_age=DAY_S, dry_run=False)
    assert (ids(pruned), ids(pruned.skipped)) == ([], ["a"])  # the log of t says that it belongs to it
    with pytest.raises(SessionHeld, match="'b' is on hold"):
        store.delete("b")
    assert store.delete("u") == ["u"]
    assert store.delete("t") == ["t"]
    assert sorted(ids(store.list(tasks=True))) == ["a", "b"]


def _lie(store: SessionStore, sql: str) -> None:
    """Changes the tables of a store, in a folder those of its catalogue, as the store itself would."""
    backend: Any = store._backend
    database = backend._database if isinstance(backend, SqlBackend) else backend.catalogue()
    with database.writing() as execute:
        execute(sql)
