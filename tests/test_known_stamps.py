"""What the first list of a process loads from the tables of a large folder: nothing, if nothing has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import user

from convtree import SessionStore, open_store
from convtree.stores import _catalogue_sync, _folder_logs
from convtree.stores._known_stamps import KnownStamps
from convtree.stores._look import FolderLook, Look
from convtree.stores._reading_elsewhere import ReadersElsewhere


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Three logs are many, and no other process helps to read them."""
    with (
        patch.object(_catalogue_sync, "_MANY", 3),
        patch.object(ReadersElsewhere, "start", lambda *_: None),
    ):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sessions, which were listed."""
    place = tmp_path / "store"
    with opened(place) as store:
        for id in "abc":
            grow(store, id)
        store.list()
    return place


@pytest.fixture
def loaded() -> Iterator[list[int]]:
    """How many rows of stamps were loaded, for each time."""
    seen: list[int] = []
    add = KnownStamps._add

    def note(known: KnownStamps, rows: Any) -> None:
        seen.append(len(rows))
        add(known, rows)

    with patch.object(KnownStamps, "_add", note):
        yield seen


def opened(place: Path) -> SessionStore:
    return open_store(place, durability="process")


def grow(store: SessionStore, id: str) -> None:
    with store.open(id, create=True) as session:
        session.append(user("hello"))


def said(store: SessionStore) -> dict[str, int]:
    """The sessions of a store, and how many messages each has."""
    return {info.id: info.messages for info in sorted(store.list(limit=None), key=lambda info: info.id)}


def add(folder: Path) -> None:
    with opened(folder) as other:
        grow(other, "d")


def change(folder: Path) -> None:
    with opened(folder) as other:
        grow(other, "b")


def remove(folder: Path) -> None:
    (folder / "b.jsonl").unlink()


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (add, {"a": 1, "b": 1, "c": 1, "d": 1}),
        (change, {"a": 1, "b": 2, "c": 1}),
        (remove, {"a": 1, "c": 1}),
    ],
)
def test_stamps_are_loaded_if_something_has_changed(
    act: Callable[[Path], None], expected: dict[str, int], folder: Path, loaded: list[int]
) -> None:
    """The process that finds it reads it; the next one loads nothing."""
    with opened(folder) as store:
        assert said(store) == said(store) == {"a": 1, "b": 1, "c": 1}
    assert loaded == []
    act(folder)
    with opened(folder) as store:
        assert said(store) == said(store) == expected
        assert loaded == [3]
        grow(store, "a")
        assert said(store) == expected | {"a": 2}
    with opened(folder) as store:
        assert said(store) == expected | {"a": 2}


def test_few_logs_leave_no_digest(folder: Path, loaded: list[int]) -> None:
    """Their stamps are loaded in no time."""
    remove(folder)
    for expected in ([3], [3, 2]):
        with opened(folder) as store:
            assert said(store) == {"a": 1, "c": 1}
        assert loaded == expected


def test_another_process_changes_the_tables_meanwhile(folder: Path) -> None:
    """What was seen before says nothing of the tables then."""
    note = KnownStamps.note

    def late(known: KnownStamps, execute: Any, look: Any) -> None:
        execute("UPDATE ct_state SET generation = generation + 1")
        note(known, execute, look)

    change(folder)
    with patch.object(KnownStamps, "note", late), opened(folder) as store:
        store.list()
    with sqlite3.connect(folder / ".catalogue.sqlite") as connection:
        ((generation, seen_at),) = connection.execute("SELECT generation, seen_at FROM ct_state")
    connection.close()
    assert seen_at < generation
    with opened(folder) as store:
        assert said(store) == {"a": 1, "b": 2, "c": 1}


def test_a_digest_of_another_form_is_written_anew(folder: Path, loaded: list[int]) -> None:
    """Another version of convtree has left it: one process loads the stamps, the next one loads nothing."""
    change(folder)
    with patch.object(FolderLook, "digest", lambda _: b"another"), opened(folder) as store:
        store.list()
    loaded.clear()
    for expected in ([3], [3]):
        with opened(folder) as store:
            assert said(store) == {"a": 1, "b": 2, "c": 1}
        assert loaded == expected


def test_the_stamps_of_a_look_that_fits(folder: Path, loaded: list[int]) -> None:
    """A session is deleted if it is as it was listed, and bad names are findings, though no stamp was loaded."""
    (folder / "ä.jsonl").write_bytes(b"")
    for _ in range(2):
        with opened(folder) as store:
            store.list()
    loaded.clear()
    with opened(folder) as store:
        assert [(each.code, each.place) for each in store.findings] == [("bad_name", "ä.jsonl")]
        assert list(store.delete("c")) == ["c"]
        assert said(store) == {"a": 1, "b": 1}
        assert [(each.code, each.place) for each in store.findings] == [("bad_name", "ä.jsonl")]
    assert loaded == []


def test_a_look_that_may_change_has_no_digest() -> None:
    """A watch changes it; a later look is never compared with it."""
    assert Look({"a": (1, 2, 3)}).digest() is None
    assert FolderLook(["a.jsonl"], [(1, 2, 3)]).digest() != FolderLook(["a.jsonl"], [(1, 2, 4)]).digest()
    assert FolderLook(["a.jsonl"], [(1, 2, 3)]).digest() == FolderLook(["a.jsonl"], [(1, 2, 3)]).digest()


def test_where_a_folder_has_no_descriptor(folder: Path) -> None:
    """As on Windows, the entries of the folder say what their status is."""
    (folder / "ä.jsonl").write_bytes(b"")
    (folder / "d.jsonl").mkdir()
    change(folder)
    with patch.object(_folder_logs, "_BY_DESCRIPTOR", False), opened(folder) as store:
        assert said(store) == {"a": 1, "b": 2, "c": 1}
        assert [(each.code, each.place) for each in store.findings] == [
            ("bad_name", "d.jsonl"),
            ("bad_name", "ä.jsonl"),
        ]


def test_an_error_while_it_is_written(folder: Path, loaded: list[int]) -> None:
    """The list needs no digest."""
    change(folder)
    full = sqlite3.OperationalError("disk I/O error")
    with patch.object(KnownStamps, "note", side_effect=full), opened(folder) as store:
        assert said(store) == {"a": 1, "b": 2, "c": 1}
    with opened(folder) as store:
        assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert loaded == [3, 3]


def test_tables_that_change_before_the_look(folder: Path, loaded: list[int]) -> None:
    """The digest was read, the look failed, and another process read a log: the stamps are loaded."""
    with opened(folder) as store, opened(folder) as other:
        with (
            patch("convtree.stores._folder.FolderCatalogue._look", side_effect=PermissionError),
            pytest.raises(PermissionError),
        ):
            store.list()
        change(folder)
        said(other)
        loaded.clear()
        assert said(store) == {"a": 1, "b": 2, "c": 1}
        assert loaded == [3]
