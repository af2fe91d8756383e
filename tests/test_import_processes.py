"""Sources that other processes read: the same result as in one process, in the same order, also when one dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from foreign import KIT, PI, SAMPLES, encoded, pi_said

from convtree import open_store
from convtree._cli.app import app
from convtree._messages.custom import CUSTOM
from convtree._tools import importing, reading_elsewhere
from convtree.exchange import import_into
from convtree.stores._session_store import SessionStore
from convtree.testing import Clock


@pytest.fixture(autouse=True)
def small_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started for any size, and pieces are small."""
    monkeypatch.setattr(importing, "_WORTH", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every sample, a folder that is a session, a damaged file, a note, and a long session."""
    folder = tmp_path / "source"
    (folder / "20260101-0001").mkdir(parents=True)
    for name, lines in SAMPLES.items():
        (folder / f"{name}.jsonl").write_bytes(encoded(*lines))
    record = {"ID": "k1", "Source": "user", "Type": "text", "Payload": "hi", "Timestamp": "2026-01-01T00:00:00Z"}
    (folder / "20260101-0001" / "history.json").write_bytes(encoded(record))
    (folder / "20260101-0001" / "metadata.yaml").write_text("modelID: m\nproviderID: p\n")
    (folder / "damaged.db").write_bytes(b"SQLite format 3\0" + bytes(2000))
    (folder / "notes.txt").write_text("hello")
    parents = [None, *(f"n{number}" for number in range(2999))]
    long = [pi_said(f"n{number}", parent, f"{number} " * 100) for number, parent in enumerate(parents)]
    (folder / "long.jsonl").write_bytes(encoded(PI[0] | {"id": "long"}, *long) + b"no json\n")
    return folder


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """An empty store."""
    with open_store("memory:", clock=Clock()) as store:
        yield store


def lines_of(store: SessionStore) -> dict[str, list[Any]]:
    found = {}
    for info in store.list():
        with store.open(info.id, read_only=True) as session:
            found[info.id] = [session.header, *session.records()]
    return found


def test_the_result_is_that_of_one_process(folder: Path, store: SessionStore) -> None:
    """Reports, records and their order; and a second import adds nothing."""
    with open_store("memory:", clock=Clock()) as other:
        expected = import_into(folder, other)
        found = import_into(folder, store, workers=3)
        assert found == expected
        assert lines_of(store) == lines_of(other)
    assert {each.status for each in found} == {"imported", "skipped"}
    assert sum(each.written for each in import_into(folder, store, workers=2)) == 0


def test_progress_is_told_in_bytes(folder: Path, store: SessionStore) -> None:
    """From nothing to everything that is read, never backwards, also within a large file."""
    steps: list[tuple[int, int]] = []
    import_into(folder, store, workers=2, progress=lambda done, of: steps.append((done, of)))
    done = [step[0] for step in steps]
    assert (done, done[-1], len({of for _, of in steps})) == (sorted(done), steps[0][1], 1)
    assert len(done) > 12


def test_a_session_that_was_continued_here_keeps_its_leaf(folder: Path, store: SessionStore) -> None:
    """It is read once more in this process, to see whether the source has what was said last."""
    import_into(folder, store)
    with store.open("long") as session:
        mine = session.append({"role": "user", "content": "mine"})
    with (folder / "long.jsonl").open("ab") as file:
        file.write(encoded(pi_said("new", "n2998", "more")))
    reports = {each.session_id: each for each in import_into(folder, store, workers=2)}
    assert (reports["long"].leaf_kept, reports["long"].written) == (True, 1)
    with store.open("long", read_only=True) as session:
        assert session.leaf_id == mine.id


def test_a_session_that_fails_does_not_stop_the_others(folder: Path, store: SessionStore) -> None:
    """What was not taken of it is passed over."""
    (folder / "long.jsonl").rename(folder / "a-long.jsonl")
    with store.create(id="long") as session:
        session.append({"role": "user", "content": "mine"})
    reports = import_into(folder, store, workers=1)
    with open_store("memory:", clock=Clock()) as other:
        with other.create(id="long") as session:
            session.append({"role": "user", "content": "mine"})
        assert import_into(folder, other, workers=2) == reports
    assert [each.session_id for each in reports if each.status == "failed"] == ["long"]


def test_a_source_that_was_changed(folder: Path, store: SessionStore) -> None:
    """Its records become a branch, as if one process had read it; the sources behind it come in."""
    import_into(folder, store)
    parents = [None, *(f"n{number}" for number in range(2999))]
    changed = [pi_said(f"n{number}", parent, "changed") for number, parent in enumerate(parents)]
    (folder / "long.jsonl").write_bytes(encoded(PI[0] | {"id": "long"}, *changed))
    reports = import_into(folder, store, workers=2)
    (long,) = [each for each in reports if each.session_id == "long"]
    assert (long.status, long.written) == ("imported", 3000)
    assert [(each.code, each.times) for each in long.findings] == [("source_contradicted", 3000)]
    assert len(reports) == 9


def read_and_die(tasks: Any, pipe: Any) -> None:
    """Reads sources as `read_all` does, but dies in the middle of one."""

    def send(pipe: Any, kind: str, value: Any) -> None:
        if kind == os.environ["DIES_AT"] and os.environ["DIES_IN"] in str(value):
            os.kill(os.getpid(), signal.SIGKILL)
        kept(pipe, kind, value)

    kept = reading_elsewhere._send
    reading_elsewhere._send = send
    read_all(tasks, pipe)


read_all = reading_elsewhere.read_all


@pytest.mark.parametrize(
    ("dies_at", "dies_in", "session"),
    [("format", "kit", None), ("session", "p1", None), ("header", "p1", "p1"), ("end", "source_bad_line", "long")],
)
def test_a_process_that_dies_is_an_error_of_one_source(
    dies_at: str, dies_in: str, session: str | None, folder: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others come in; what it read before it died stays."""
    monkeypatch.setenv("DIES_AT", dies_at)
    monkeypatch.setenv("DIES_IN", dies_in)
    monkeypatch.setattr(reading_elsewhere, "read_all", read_and_die)
    reports = import_into(folder, store, workers=2)
    failed = [each for each in reports if each.status == "failed"]
    assert [(each.session_id, each.reason) for each in failed] == [
        (session, "the process that read it ended with exit code -9")
    ]
    assert len([each for each in reports if each.status == "imported"]) == 6


def test_an_error_here_ends_the_processes(folder: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not stay, and nothing hangs."""
    started: list[Any] = []
    kept = reading_elsewhere._Share._start

    def start(share: Any) -> None:
        kept(share)
        started.append(share._process)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading_elsewhere._Share, "_start", start)
    with pytest.raises(KeyboardInterrupt):
        import_into(folder, store, workers=2, progress=fail)
    assert [process.is_alive() for process in started] == [False, False]


def test_readers_of_the_program_are_used(folder: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process would not have them, so this one reads."""
    monkeypatch.setitem(CUSTOM, "mine", lambda _: None)
    monkeypatch.setattr(importing, "Readers", None)
    assert len(import_into(folder, store, workers=2)) == 9


def test_few_sources_are_read_here(tmp_path: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file, or little in all: to start a process would take longer."""
    monkeypatch.setattr(importing, "Readers", None)
    (tmp_path / "a").write_bytes(encoded(*PI))
    assert len(import_into(tmp_path, store, workers=2)) == 1
    (tmp_path / "b").write_bytes(encoded(*KIT))
    monkeypatch.setattr(importing, "_WORTH", 10**6)
    assert len(import_into(tmp_path, store, workers=2)) == 2
    with pytest.raises(ValueError, match="workers: expected at least 1, not 0"):
        import_into(tmp_path, store, workers=0)


def test_the_command_takes_the_number(folder: Path, tmp_path: Path) -> None:
    """By default, one for each processor."""
    runner = CliRunner(env={"NO_COLOR": "1"})
    outputs = [
        runner.invoke(app, ["import", str(folder), str(tmp_path / f"store{number}"), *options])
        for number, options in enumerate(([], ["--workers", "1"], ["--workers", "3"]))
    ]
    assert len({each.output for each in outputs}) == 1
    assert {each.exit_code for each in outputs} == {1}
