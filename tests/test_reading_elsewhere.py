"""The first list of a large folder: other processes read, and the tables are those that one process makes."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from helpers import assistant, user

from convtree import ExtensionDataEntry, ParentSession, SessionStore, open_store
from convtree.stores import _catalogue_sync, _reading_elsewhere
from convtree.stores._catalogue_sync import CatalogueSync
from convtree.stores._folder import FolderBackend, _opener
from convtree.stores._ingesting import batches_of
from convtree.stores._reading_elsewhere import ReadersElsewhere, Reading, serve

TABLES = {
    "ct_sessions": "*",
    "ct_lines": "session_id, position, id, parent_id, type, role, time_ms, said_ms, visible_to, excerpt, words",
    "ct_usage": "*",
    "ct_copied": "*",
    "ct_metadata": "*",
    "ct_files": "session_id, size, records, last_id, code, shared",
}
PROCESSORS = _reading_elsewhere._processors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sessions of every kind, no catalogue, and sizes at which other processes help."""
    place = tmp_path / "store"
    with opened(place) as store:
        for number in range(12):
            with store.create(id=f"s{number}", cwd="/x", metadata={"n": number}, owner="ann" * (number % 2)) as session:
                first = session.append(user(f"needle {number}"))
                session.append(assistant("answer"), model="m", usage={"input_tokens": 5, "output_tokens": number})
                session.append(ExtensionDataEntry(ext_type="x", data=number))
                session.hide(first)
                session.rename(f"name {number}")
                session.update_metadata({"more": [number]})
                session.hold(number == 3)
        store.fork("s1", new_id="fork").close()
        with store.create(id="task", parent_session=ParentSession(id="s2", kind="task")) as session:
            session.append(assistant("found"))
        with store.open("fork") as session:
            session.append(assistant("own"), model="m", usage={"output_tokens": 7})
    shutil.copy(place / "s4.jsonl", place / "copy.jsonl")
    (place / "s5.jsonl").write_bytes((place / "s5.jsonl").read_bytes()[:-9])
    (place / "s6.jsonl").write_text("no log\n")
    (place / "s7.jsonl").write_bytes((place / "s7.jsonl").read_bytes().replace(b"needle", b"beetle"))
    (place / "s8.jsonl").write_bytes(b"")
    for beside in place.glob(".catalogue*"):
        beside.unlink()
    return place


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Other processes help with three new logs, two at a time."""
    with (
        patch.multiple(_catalogue_sync, _MANY=3, _COMMIT_MANY=2, _SENT=5000),
        patch.object(_reading_elsewhere, "_processors", lambda: 2),
    ):
        yield


@pytest.fixture
def read_here() -> Iterator[list[str]]:
    """The logs that this process read."""
    seen: list[str] = []
    read = CatalogueSync._sync_log

    def note(catalogue: CatalogueSync, execute: Any, id: str, stamp: Any) -> Any:
        seen.append(id)
        return read(catalogue, execute, id, stamp)

    with patch.object(CatalogueSync, "_sync_log", note):
        yield seen


def opened(place: Path) -> SessionStore:
    return open_store(place, durability="process")


def rows_of(place: Path) -> dict[str, list[Any]]:
    """Everything in the tables."""
    with closing(sqlite3.connect(place / ".catalogue.sqlite")) as connection:
        return {
            name: sorted(connection.execute(f"SELECT {columns} FROM {name}"), key=repr)
            for name, columns in TABLES.items()
        }


def alone(folder: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    """What one process makes of a copy of the folder."""
    copy = folder.with_name("alone")
    shutil.copytree(folder, copy)
    with patch.object(_reading_elsewhere, "_is_python", lambda: False), opened(copy) as store:
        listed = list(store.list(limit=None, tasks=True))
    return listed, rows_of(copy)


@pytest.mark.parametrize("processors", [1, 2])
def test_other_processes_read_the_same(processors: int, folder: Path, read_here: list[str]) -> None:
    """However many there are. What they cannot read, this process looks at."""
    expected = alone(folder)
    read_here.clear()
    reported: list[tuple[int, int]] = []
    with patch.object(_reading_elsewhere, "_processors", lambda: processors), opened(folder) as store:
        listed = list(store.list(limit=None, tasks=True, progress=lambda done, of: reported.append((done, of))))
        assert len(store.search("answer", limit=99)) == 12
    assert (listed, rows_of(folder)) == expected
    assert reported == [(done, 15) for done in (2, 4, 6, 8, 10, 12, 14, 15)]
    if processors > 1:  # a log that is none, and the copy, when it is known how much of it is one
        assert sorted(read_here) == ["copy", "s6"]


def test_known_and_large_logs_are_read_here(folder: Path, read_here: list[str]) -> None:
    """A process sends what it reads, and does not know what the tables have."""
    with opened(folder) as store:
        with patch.object(_reading_elsewhere, "_is_python", lambda: False):
            store.list()
        read_here.clear()
        for id in ("s0", "s1", "s2", "s9"):
            with store.open(id) as session:
                session.append(user("more"))
        with store.create(id="large") as session:
            session.append(user("x" * 6000))
        assert [store.info(id).messages for id in ("s0", "large")] == [3, 1]
    assert sorted(read_here) == ["large", "s0", "s1", "s2", "s9"]


@pytest.mark.parametrize(
    "program", ["raise SystemExit", "import sys; sys.stdout.write('abc')", "{path}{module} no Python"]
)
def test_processes_that_end_early(program: str, folder: Path, read_here: list[str]) -> None:
    """This process reads what they did not."""
    expected = alone(folder)
    read_here.clear()
    with patch.object(_reading_elsewhere, "_PROGRAM", program), opened(folder) as store:
        listed = list(store.list(limit=None, tasks=True))
    assert (listed, rows_of(folder)) == expected
    assert set(read_here) == {path.stem for path in folder.glob("*.jsonl")}


def test_processes_that_cannot_be_started(folder: Path) -> None:
    """One, or all of them."""
    expected = alone(folder)
    popen, started = subprocess.Popen, list[Any]()

    def second(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        if len(started) % 2:
            raise BlockingIOError
        return popen(*arguments, **options)

    with patch.object(subprocess, "Popen", second), opened(folder) as store:
        listed = list(store.list(limit=None, tasks=True))
    assert (listed, rows_of(folder)) == expected
    assert started


def test_an_interrupt_ends_the_processes(folder: Path) -> None:
    """What was read before is kept, and the next list reads the rest."""
    popen, processes = subprocess.Popen, list[subprocess.Popen[bytes]]()

    def noted(*arguments: Any, **options: Any) -> Any:
        processes.append(popen(*arguments, **options))
        return processes[-1]

    def interrupt(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with opened(folder) as store:
        with patch.object(subprocess, "Popen", noted), pytest.raises(KeyboardInterrupt):
            store.list(progress=interrupt)
        assert [process.returncode is not None for process in processes] == [True] * len(processes)
        remaining: list[int] = []
        store.list(progress=lambda _, of: remaining.append(of))
    assert remaining[-1] == 11


def test_a_log_that_another_store_has_read_meanwhile(folder: Path, read_here: list[str]) -> None:
    """It is not added twice."""
    next_batch = ReadersElsewhere.next

    def late(readers: ReadersElsewhere) -> Any:
        found = next_batch(readers)
        with patch.object(ReadersElsewhere, "next", next_batch), opened(folder) as other:
            other.list()
        return found

    with patch.object(ReadersElsewhere, "next", late), opened(folder) as store:
        store.list()
    assert rows_of(folder) == alone(folder)[1]
    assert read_here


def test_what_a_process_is_asked_and_answers(folder: Path) -> None:
    """A length and a message for each batch, without the logs that it could not read."""
    backend = FolderBackend(folder, create=False)
    batches = [["s0", "s6", "nobody"], [], ["fork"]]
    answers = io.BytesIO()
    serve(io.BytesIO(pickle.dumps((Reading(_opener, (backend.path, False)), batches))), answers)
    answers.seek(0)
    found = []
    while length := int.from_bytes(answers.read(4), "little"):
        found.append(pickle.loads(answers.read(length)))
    assert [list(each) for each in found] == [["s0"], [], ["fork"]]
    assert found[0]["s0"].seen.records == 7


def test_a_process_whose_parent_has_ended(folder: Path) -> None:
    """It ends, too."""

    class Closed(io.BytesIO):
        def write(self, _: Any) -> int:
            raise BrokenPipeError

    serve(io.BytesIO(pickle.dumps((Reading(_opener, (folder, False)), [["s0"], ["s1"]]))), Closed())


@pytest.mark.parametrize(
    ("executable", "frozen", "expected"),
    [
        ("/usr/bin/python3.12", False, True),
        ("/opt/Python.exe", False, True),
        ("/usr/bin/uwsgi", False, False),
        ("/opt/app/python", True, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_programs_that_are_no_python(executable: str | None, frozen: bool, expected: bool) -> None:
    """Those with Python built in do not run a program that is given as text."""
    with patch.object(sys, "executable", executable), patch.object(sys, "frozen", frozen, create=True):
        assert _reading_elsewhere._is_python() is expected


def test_the_number_of_processors() -> None:
    """Those that this process may use, or else all."""
    with patch.object(os, "sched_getaffinity", lambda _: {1, 2, 3}, create=True):
        assert PROCESSORS() == 3
    with patch.object(_reading_elsewhere, "os", type("os", (), {"cpu_count": staticmethod(lambda: 7)})):
        assert PROCESSORS() == 7


def test_batches() -> None:
    """So many logs, or so many bytes; a larger log is a batch of its own."""
    mib = 2**20
    stamps = {"a": (9 * mib, 0, 0), "b": (7 * mib, 0, 0), "c": (1, 0, 0), "d": (17 * mib, 0, 0), "e": (1, 0, 0)}
    stamps |= dict.fromkeys("fgh", (1, 0, 0))
    assert batches_of(list(stamps), stamps, 3) == [["a", "b"], ["c"], ["d"], ["e", "f", "g"], ["h"]]
    assert batches_of([], stamps, 3) == []
    assert batches_of(["a"], {"a": (0, 0, 0)}, 3) == [["a"]]
