"""A folder that is watched: which files a list looks at, and when it looks at all of them."""

from __future__ import annotations

import errno
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import user

from convtree import SessionStore, open_store
from convtree._logs import folder_watch
from convtree._logs.folder_watch import FolderWatch
from convtree.stores._folder_logs import FolderLogs

ALL = "all"
"""Noted in the place of names when a list looks at all files."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that can be watched, with three sessions."""
    watch = FolderWatch(tmp_path)
    watch.changed(), watch.changed()
    watched = watch.changed() is not None
    watch.close()
    if not watched:
        pytest.skip("this file system is not watched")
    place = tmp_path / "store"
    with opened(place) as store:
        for id in "abc":
            with store.create(id=id) as session:
                session.append(user("hello"))
    return place


@pytest.fixture
def store(folder: Path) -> Iterator[SessionStore]:
    """A store that watches the folder: its first two lists look at all files."""
    with opened(folder) as store:
        store.list()
        store.list()
        yield store


@pytest.fixture
def looks() -> Iterator[list[str]]:
    """The names of the files that were looked at, in the order of the alphabet for each list."""
    seen: list[str] = []
    look, look_at_all, look_at = FolderLogs.look, FolderLogs._look_at_all, FolderLogs._look_at

    def look_sorted(logs: FolderLogs) -> Any:
        start = len(seen)
        stamps = look(logs)
        seen[start:] = sorted(seen[start:])
        return stamps

    def note_all(logs: FolderLogs) -> None:
        seen.append(ALL)
        look_at_all(logs)

    def note(logs: FolderLogs, name: str) -> None:
        seen.append(name)
        look_at(logs, name)

    with (
        patch.object(FolderLogs, "look", look_sorted),
        patch.object(FolderLogs, "_look_at_all", note_all),
        patch.object(FolderLogs, "_look_at", note),
    ):
        yield seen


def opened(place: Path) -> SessionStore:
    return open_store(place, durability="process")


def grow(place: Path, id: str) -> None:
    with opened(place) as other, other.open(id) as session:
        session.append(user("more"))


def said(store: SessionStore) -> dict[str, int]:
    """The sessions of a store, and how many messages each has."""
    return {info.id: info.messages for info in sorted(store.list(limit=None), key=lambda info: info.id)}


# --- what is spared -----------------------------------------------------------------------------------------------


def test_a_list_looks_at_what_changed(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """At nothing if nothing has. The index of a log and the catalogue are no logs."""
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    assert looks == []
    grow(folder, "b")
    (folder / "b.jsonl.index").touch()
    assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert looks == ["b.jsonl"]
    assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert looks == ["b.jsonl"]


def test_a_process_that_lists_once_does_not_watch(folder: Path, looks: list[str]) -> None:
    """The second look begins the watch, and the third relies on it."""
    with opened(folder) as store:
        for expected in ([ALL], [ALL, ALL], [ALL, ALL]):
            store.list()
            assert looks == expected


def remove(folder: Path) -> None:
    (folder / "b.jsonl").unlink()


def move_out(folder: Path) -> None:
    (folder / "b.jsonl").rename(folder.parent / "b.jsonl")


def replace(folder: Path) -> None:
    shutil.copy(folder / "a.jsonl", folder / "copy")
    (folder / "copy").replace(folder / "b.jsonl")


def make_folder(folder: Path) -> None:
    remove(folder)
    (folder / "b.jsonl").mkdir()


def make_link(folder: Path) -> None:
    move_out(folder)
    (folder / "b.jsonl").symlink_to(folder.parent / "b.jsonl")


def make_torn(folder: Path) -> None:
    os.truncate(folder / "b.jsonl", (folder / "b.jsonl").stat().st_size - 3)


def make_foreign(folder: Path) -> None:
    (folder / "b.jsonl").write_text("no log\n")


@pytest.mark.parametrize(
    ("change", "expected", "finding"),
    [
        (remove, {"a": 1, "c": 1}, None),
        (move_out, {"a": 1, "c": 1}, None),
        (replace, {"a": 1, "b": 1, "c": 1}, ("session_copy", "b")),
        (make_folder, {"a": 1, "c": 1}, ("bad_name", "b.jsonl")),
        (make_link, {"a": 1, "c": 1}, ("bad_name", "b.jsonl")),
        (make_torn, {"a": 1, "c": 1}, ("torn_tail", "b")),
        (make_foreign, {"a": 1, "c": 1}, ("not_a_log", "b")),
    ],
)
def test_each_kind_of_change(
    change: Callable[[Path], None],
    expected: dict[str, int],
    finding: tuple[str, str] | None,
    store: SessionStore,
    folder: Path,
    looks: list[str],
) -> None:
    """Of the file itself, or of what its name stands for."""
    change(folder)
    assert said(store) == expected
    assert [(each.code, each.place) for each in store.findings] == ([finding] if finding else [])
    assert set(looks) == {"b.jsonl"}


def test_a_log_comes_back(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """As it was, or under a name that no session can have."""
    move_out(folder)
    assert said(store) == {"a": 1, "c": 1}
    (folder.parent / "b.jsonl").rename(folder / "b.jsonl")
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    (folder / "b.jsonl").rename(folder / "b d.jsonl")
    assert said(store) == {"a": 1, "c": 1}
    assert [(each.code, each.place) for each in store.findings] == [("bad_name", "b d.jsonl")]
    (folder / "b d.jsonl").rename(folder / "b.jsonl")
    assert (said(store), store.findings) == ({"a": 1, "b": 1, "c": 1}, [])
    assert ALL not in looks


def test_a_log_with_two_links_is_looked_at_each_time(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """What is written under a name in another folder gives no event."""
    link = folder.parent / "link.jsonl"
    link.hardlink_to(folder / "a.jsonl")
    grow(folder, "a")
    assert said(store) == {"a": 2, "b": 1, "c": 1}
    grow(folder.parent, "link")
    assert said(store) == {"a": 3, "b": 1, "c": 1}
    link.unlink()
    assert said(store) == {"a": 3, "b": 1, "c": 1}
    assert said(store) == {"a": 3, "b": 1, "c": 1}
    assert looks == ["a.jsonl"] * 3


def test_a_log_that_gets_a_second_name(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """What is written under the new name is found under the old one, which no event names."""
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    (folder / "d.jsonl").hardlink_to(folder / "a.jsonl")
    grow(folder, "d")
    looks.clear()
    assert said(store) == {"a": 2, "b": 1, "c": 1, "d": 2}
    assert looks == ["a.jsonl", "d.jsonl"]


def test_stores_that_share_a_catalogue(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """What one has read or removed, the other sees in the tables."""
    with opened(folder) as other:
        said(other), said(other), said(other)
        looks.clear()
        grow(folder, "b")
        assert said(store) == said(other) == {"a": 1, "b": 2, "c": 1}
        assert looks == ["b.jsonl", "b.jsonl"]
        move_out(folder)
        assert said(store) == {"a": 1, "c": 1}
        (folder.parent / "b.jsonl").rename(folder / "b.jsonl")  # its stamp is the one that `other` has seen
        assert said(other) == said(store) == {"a": 1, "b": 2, "c": 1}


# --- in doubt -----------------------------------------------------------------------------------------------------


def exchange(folder: Path) -> None:
    folder.rename(folder.with_name("old"))
    shutil.copytree(folder.with_name("old"), folder)
    remove(folder)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    with opened(folder) as store, store.create(id="new") as session:
        session.append(user("hello"))


@pytest.mark.parametrize(("change", "expected"), [(exchange, {"a": 1, "c": 1}), (empty, {"new": 1})])
def test_another_folder_at_the_path(
    change: Callable[[Path], None], expected: dict[str, int], store: SessionStore, folder: Path, looks: list[str]
) -> None:
    """It is looked at as a whole, and then watched."""
    change(folder)
    looks.clear()
    assert said(store) == expected
    assert looks[0] == ALL
    looks.clear()
    id = next(iter(expected))
    grow(folder, id)
    assert said(store) == expected | {id: 2}
    assert ALL not in looks


def test_a_link_to_a_folder_that_leads_elsewhere_by_now(folder: Path) -> None:
    """The folder that was watched has not changed."""
    link, other = folder.with_name("link"), folder.with_name("other")
    shutil.copytree(folder, other)
    remove(other)
    link.symlink_to(folder)
    with opened(link) as store:
        for _ in range(3):
            assert said(store) == {"a": 1, "b": 1, "c": 1}
        link.unlink()
        link.symlink_to(other)
        assert said(store) == {"a": 1, "c": 1}


def test_a_folder_that_is_missing_for_a_while(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """That is an error, and then as before."""
    folder.rename(folder.with_name("old"))
    with pytest.raises(FileNotFoundError):
        store.list()
    folder.with_name("old").rename(folder)
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    assert looks == [ALL, ALL]


def test_more_events_than_the_queue_holds(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """Those that came later were lost, so all files are looked at."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most + 2):
        os.utime((folder / "a.jsonl", folder)[number % 2], ns=(0, number))
    grow(folder, "b")
    assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert looks == [ALL]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_takes_no_events(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """It looks at all files and watches by itself; the parent goes on."""
    grow(folder, "b")
    child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        good = said(store) == said(store) == said(store) == {"a": 1, "b": 2, "c": 1} and looks == [ALL, "b.jsonl"]
        os._exit(0 if good or looks == [ALL] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert looks == ["b.jsonl"]


def test_a_descriptor_that_other_code_has_closed(store: SessionStore, folder: Path, looks: list[str]) -> None:
    """Its number may belong to another file, which is neither read nor closed."""
    logs: Any = store._backend._catalogue._logs  # type: ignore[attr-defined]
    fd = logs._watch._fd
    with (folder / "other").open("wb") as file:
        os.dup2(file.fileno(), fd)
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    assert os.write(fd, b"still open") == 10
    os.close(fd)
    assert looks == [ALL]


class Interrupt(KeyboardInterrupt):
    """Comes while a file is looked at."""


@pytest.mark.parametrize("error", [Interrupt(), PermissionError(errno.EACCES, "no")])
def test_an_error_after_the_events_were_read(
    error: BaseException, store: SessionStore, folder: Path, looks: list[str]
) -> None:
    """They do not come again, so all files are looked at."""
    grow(folder, "b")
    with patch.object(FolderLogs, "_look_at", side_effect=error), pytest.raises(type(error)):
        store.list()
    looks.clear()
    assert said(store) == {"a": 1, "b": 2, "c": 1}
    assert looks == [ALL]


def test_an_error_after_the_files_were_looked_at(store: SessionStore, folder: Path) -> None:
    """The next list reads what this one did not."""
    grow(folder, "b")

    def fail(*_: int) -> None:
        raise AssertionError

    with patch("convtree.stores._catalogue_sync.ingest", side_effect=AssertionError), pytest.raises(AssertionError):
        store.list()
    grow(folder, "c")
    with pytest.raises(AssertionError):
        store.list(progress=fail)
    assert said(store) == {"a": 1, "b": 2, "c": 2}


def test_a_delete_that_was_refused_looks_at_all(store: SessionStore, looks: list[str]) -> None:
    """What it knew of the log was wrong, for whatever reason."""
    deletion = store._backend.delete(["a"], {"a": (1, 1, 1)})
    assert deletion.changed == ["a"]
    looks.clear()
    assert said(store) == {"a": 1, "b": 1, "c": 1}
    assert looks == [ALL]


# --- where there is no watch --------------------------------------------------------------------------------------


SYSTEM = folder_watch._system()
REFUSED = [
    None,
    SYSTEM and SYSTEM._replace(inotify_init1=lambda _: -1),
    SYSTEM and SYSTEM._replace(inotify_add_watch=lambda *_: -1),
    SYSTEM and SYSTEM._replace(file_system=lambda _: 0x6969),
    SYSTEM and SYSTEM._replace(file_system=lambda _: None),
]


@pytest.mark.parametrize("system", REFUSED, ids=["no inotify", "no instance", "no watch", "nfs", "unknown"])
def test_without_a_watch_each_list_looks_at_all(system: Any, folder: Path, looks: list[str]) -> None:
    """No inotify, the limit of instances or of watches, a file system that others write to. No descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    with patch.object(folder_watch, "_system", lambda: system), opened(folder) as store:
        for count in range(1, 4):
            assert said(store) == {"a": 1, "b": 1, "c": 1}
            assert looks == [ALL] * count
    assert len(os.listdir("/proc/self/fd")) == before
    with opened(folder) as store:
        said(store), said(store), said(store)
        assert looks == [ALL] * 5


def test_a_system_without_the_functions() -> None:
    """As everywhere but on Linux."""
    folder_watch._system.cache_clear()
    try:
        with patch("ctypes.CDLL", side_effect=OSError):
            assert folder_watch._system() is None
    finally:
        folder_watch._system.cache_clear()


def test_the_file_system_of_what_is_closed() -> None:
    """The system says nothing about it."""
    assert SYSTEM is not None
    assert SYSTEM.file_system(-1) is None


def test_a_folder_where_tables_are_in_memory_is_not_watched(folder: Path, looks: list[str]) -> None:
    """On a network file system, other machines write to it."""
    refused = OSError(errno.ENOTSUP, "nfs")
    with patch("convtree.stores._folder.refuse_network", side_effect=refused), opened(folder) as store:
        said(store), said(store), said(store)
    assert looks == [ALL] * 3


def test_closed_stores_leave_no_descriptor(folder: Path) -> None:
    """Nor does one that is collected."""
    gc.collect()  # what earlier tests left
    before = len(os.listdir("/proc/self/fd"))
    for close in (True, False):
        store = opened(folder)
        said(store), said(store), said(store)
        if close:
            store.close()
        del store
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("collects", [True, False])
def test_the_garbage_collector_is_left_as_it_was(collects: bool, folder: Path) -> None:
    """It does not run while all files are looked at, whether that ends well or not."""
    (gc.enable if collects else gc.disable)()
    try:
        with opened(folder) as store:
            store.list()
            assert gc.isenabled() is collects
            shutil.rmtree(folder)
            with pytest.raises(FileNotFoundError):
                store.list()
            assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_a_folder_that_is_gone(folder: Path) -> None:
    """The watch says so without an error: the look raises it."""
    watch = FolderWatch(folder)
    assert [watch.changed(), watch.changed()] == [None, None]
    assert watch.changed() == set()
    shutil.rmtree(folder)
    assert [watch.changed(), watch.changed()] == [None, None]
    watch.close()
