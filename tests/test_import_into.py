"""Importing into a store: files and folders, several sessions in one, compressed ones, and what does not come in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result
from foreign import CODEX, KIT, PI, SAMPLES, codex_said, encoded, kit_said, pi_said

from convtree import NotALog, Session, SessionNotFound, open_store
from convtree._cli.app import app
from convtree._formats.common.base import SessionRef, Source, SourceSession
from convtree._formats.registry import FORMATS
from convtree._model.entries import Header, MessageEntry
from convtree._model.errors import SeveralSessions
from convtree.exchange import ImportReport, import_file, import_into, read_foreign
from convtree.stores._session_store import SessionStore
from convtree.testing import Clock


class Many:
    """A format whose files name a session a line, and whose folders are sessions when `whole` lies in them."""

    NAME = "many"

    def recognises(self, source: Source) -> bool:
        return source.beginning.startswith(b"many\n") or (source.path / "whole").exists()

    def sessions(self, source: Source) -> Iterator[SessionRef]:
        names = [source.path.name] if source.path.is_dir() else source.path.read_text().splitlines()[1:]
        for name in names:
            if name == "broken":
                raise NotALog("this far and no further")
            yield SessionRef(name, name)

    def read(self, _: Source, ref: SessionRef) -> SourceSession:
        header = Header(id=ref.id, metadata={"import": {"format": self.NAME, "id": ref.id}})
        entry = MessageEntry(id="1", message={"role": "user", "content": ref.id})
        return SourceSession(header, iter([entry]), [])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sessions, with other things in it."""
    monkeypatch.setattr("convtree._formats.registry.FORMATS", (*FORMATS, Many()))
    folder = tmp_path / "source"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "whole-session").mkdir()
    (folder / "whole-session" / "whole").write_text("")
    (folder / "a.jsonl").write_bytes(encoded(*PI))
    (folder / "b" / "deep" / "any").write_bytes(encoded(*KIT))
    (folder / "b" / "many").write_text("many\none\ntwo\n")
    (folder / "notes.txt").write_text("hello")
    (folder / "link").symlink_to(folder / "a.jsonl")
    return folder


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """An empty store."""
    with open_store("memory:", clock=Clock()) as store:
        yield store


def reported(reports: list[ImportReport], top: Path) -> list[tuple[str, str, str | None, int]]:
    return [(str(Path(each.source).relative_to(top)), each.status, each.session_id, each.written) for each in reports]


def test_a_folder_comes_in(folder: Path, store: SessionStore) -> None:
    """Every session under its own id, in sorted order; what is no session is said to be passed over."""
    assert reported(import_into(folder, store), folder) == [
        ("a.jsonl", "imported", "p1", 14),
        ("b/deep/any", "imported", KIT[0]["id"], 11),
        ("b/many", "imported", "one", 1),
        ("b/many", "imported", "two", 1),
        ("link", "skipped", None, 0),
        ("notes.txt", "skipped", None, 0),
        ("whole-session", "imported", "whole-session", 1),
    ]
    assert {info.id for info in store.list()} == {"p1", KIT[0]["id"], "one", "two", "whole-session"}
    with store.open("p1", read_only=True) as session:
        assert (session.name, session.leaf_id) == ("w8", "ab")
        assert session.header.arrived == "2030-01-01T00:00:00.000000Z"
    assert {info.arrived for info in store.list()} == {"2030-01-01T00:00:00.000Z"}
    assert sum(report.written for report in import_into(folder, store)) == 0


def test_a_session_of_the_same_id_that_is_another_is_refused(folder: Path, store: SessionStore) -> None:
    """It is untouched, and the others come in."""
    with store.create(id="p1") as mine:
        mine.append({"role": "user", "content": "mine"})
    reports = import_into(folder, store)
    assert (reports[0].status, reports[0].session_id) == ("failed", "p1")
    assert "another session" in (reports[0].reason or "")
    assert [report.status for report in reports].count("imported") == 4
    with store.open("p1", read_only=True) as session:
        assert len(list(session.records())) == 1


def test_a_problem_with_one_file_does_not_stop_the_others(folder: Path, store: SessionStore) -> None:
    """Neither a source that breaks off, nor one that was not only appended to: that one has another branch."""
    import_into(folder, store)
    (folder / "b" / "many").write_text("many\nbroken\n")
    (folder / "a.jsonl").write_bytes(encoded(PI[0], pi_said("a2", None, "changed")))
    with (folder / "b" / "deep" / "any").open("ab") as file:
        file.write(encoded(kit_said("new", "k9", "w10")))
    found = [each for each in reported(import_into(folder, store), folder) if each[1] != "skipped"]
    assert found == [
        ("a.jsonl", "imported", "p1", 1),
        ("b/deep/any", "imported", KIT[0]["id"], 1),
        ("b/many", "failed", None, 0),
        ("whole-session", "imported", "whole-session", 0),
    ]


def test_progress_is_told_in_bytes(folder: Path, store: SessionStore) -> None:
    """From nothing to everything that is read, never backwards, also within a large file."""
    lines = [PI[0], *(pi_said(f"n{number}", f"n{number - 1}" if number else None, "x" * 2000) for number in range(600))]
    (folder / "a.jsonl").write_bytes(encoded(*lines))
    steps: list[tuple[int, int]] = []
    import_into(folder, store, progress=lambda done, of: steps.append((done, of)))
    done = [step[0] for step in steps]
    assert len({of for _, of in steps}) == 1
    assert (done, done[-1]) == (sorted(done), steps[0][1])
    assert any(0 < each < (folder / "a.jsonl").stat().st_size for each in done)


def test_one_file_into_a_store(folder: Path, store: SessionStore) -> None:
    """Of no known format, that is an error and not a thing to pass over."""
    assert [report.session_id for report in import_into(folder / "b" / "many", store)] == ["one", "two"]
    with pytest.raises(NotALog, match="known format"):
        import_into(folder / "notes.txt", store)
    with pytest.raises(FileNotFoundError):
        import_into(folder / "missing", store)


def test_of_several_sessions_one_is_chosen(folder: Path, tmp_path: Path) -> None:
    """Else the error names them, and nothing was written."""
    with pytest.raises(SeveralSessions, match="one, two") as caught:
        read_foreign(folder / "b" / "many")
    assert caught.value.ids == ("one", "two")
    with pytest.raises(SeveralSessions, match="into a store"):
        import_file(folder / "b" / "many", tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert read_foreign(folder / "b" / "many", session_id="two")[0].id == "two"
    assert read_foreign(folder, session_id="p1")[0].leaf_id == "ab"
    with pytest.raises(SessionNotFound, match="it has one, two"):
        read_foreign(folder / "b" / "many", session_id="three")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotALog):
        read_foreign(tmp_path / "empty")


# --- compressed ---


def test_compressed_sessions_are_read(tmp_path: Path, store: SessionStore) -> None:
    """Recognised by what is in them; of one that was cut, what was whole."""
    noise = [codex_said("user", sha256(bytes([number % 256, number // 256])).hexdigest() * 9) for number in range(6000)]
    packed = zstandard.compress(encoded(*CODEX, *noise))
    (tmp_path / "any").write_bytes(packed)
    report = import_into(tmp_path / "any", store)[0]
    assert (report.format, report.session_id, report.findings) == ("codex", "x1", ())
    assert store.info("x1").messages > 6000
    half = len(packed) // 2
    for damaged in (packed[:half], packed[:half] + b"\xff" * 50 + packed[half:]):
        (tmp_path / "any").write_bytes(damaged)
        session, report = read_foreign(tmp_path / "any")
        assert {finding.code for finding in report.findings} == {"source_torn_tail"}
        assert 1000 < len(session.build_context().messages) < 6000


def test_without_the_library_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ImportError; in a folder, that file fails and the others come in."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(zstandard.compress(encoded(*CODEX)))
    (tmp_path / "source" / "b").write_bytes(encoded(*KIT))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"convtree\[formats\]"):
        read_foreign(tmp_path / "source" / "a")
    with open_store("memory:") as store:
        assert [report.status for report in import_into(tmp_path / "source", store)] == ["failed", "imported"]
    assert run("inspect", tmp_path / "source" / "a").exit_code == 5


# --- the commands ---


def run(*arguments: Any) -> Result:
    """Runs a command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*map(str, arguments)])


def test_import_a_folder_into_a_store(folder: Path, tmp_path: Path) -> None:
    """A line for each session and for each reason to pass files over; twice adds nothing."""
    first = run("import", folder, tmp_path / "store")
    assert (first.exit_code, len(first.output.splitlines())) == (0, 8)
    assert first.output.splitlines()[-1] == "total: 5 sessions, 28 records written, 0 already there, 2 skipped"
    assert first.output.splitlines()[0] == (
        f"pi session p1: 14 records written, 0 already there, 0 findings ({folder / 'a.jsonl'})"
    )
    assert first.output.splitlines()[5:7] == [
        "passed over 1 file: links are not followed",
        "passed over 1 file: not a session of a known format",
    ]
    again = json.loads(run("import", folder, tmp_path / "store", "--json").output)
    assert (again["schema"], len(again["imports"])) == ("convtree.imports", 7)
    assert sum(each["written"] for each in again["imports"]) == 0
    assert run("import", folder, f"file://{tmp_path / 'other'}").exit_code == 0
    assert len(list((tmp_path / "other").glob("*.jsonl"))) == 5


def test_import_into_a_folder_that_is_there(folder: Path, tmp_path: Path) -> None:
    """It is a store; a source that is not there makes none."""
    (tmp_path / "store").mkdir()
    assert run("import", folder / "a.jsonl", tmp_path / "store").exit_code == 0
    assert (tmp_path / "store" / "p1.jsonl").exists()
    assert run("import", tmp_path / "missing", f"file://{tmp_path / 'new'}").exit_code == 3
    assert not (tmp_path / "new").exists()
    assert run("import", folder, "nobody://knows").exit_code == 2


def test_import_reports_what_failed(folder: Path, tmp_path: Path) -> None:
    """The exit code is 1, and the others are there."""
    (folder / "b" / "many").write_text("many\nbroken\n")
    result = run("import", folder, tmp_path / "store")
    assert (result.exit_code, f"failed: {folder / 'b' / 'many'}: this far and no further" in result.output) == (1, True)


def test_inspect_a_folder(folder: Path) -> None:
    """Which sessions there are, each with its file; one of them, when it is said which."""
    result = run("inspect", folder, "--utc")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines), lines[-1]) == (0, 7, "Several sessions: show one with --session ID.")
    assert lines[0].split() == ["ID", "BEGUN", "MSGS", "FILE", "TITLE"]
    assert lines[1].split() == ["p1", "2026-01-02", "03:04", "3", "a.jsonl", "w8"]
    listed = json.loads(run("inspect", folder, "--json").output)
    assert (listed["schema"], listed["schema_version"]) == ("convtree.sources", 1)
    assert listed["sessions"][0] == {
        "id": "p1",
        "name": "w8",
        "begun": "2026-01-02T03:04:05.000000Z",
        "messages": 3,
        "title": "w8",
        "first_user_message": "w1",
        "format": "pi",
        "source": str(folder / "a.jsonl"),
    }
    for arguments in (["--context"], ["--dot"], ["--leaf", "a2"], ["--full"]):
        result = run("inspect", folder, *arguments)
        assert (result.exit_code, "choose one" in result.stderr, "--session" in result.stderr) == (2, True, True)
    result = run("inspect", folder, "--session", "p1", "--json")
    assert json.loads(result.output)["id"] == "p1"
    assert run("inspect", folder, "--session", "no").exit_code == 3


@pytest.mark.parametrize("format", ["pi", "kit", "json", "markdown"])
def test_export(format: str, folder: Path, tmp_path: Path) -> None:
    """Of a log, and of another tool's session, to a file or to stdout."""
    import_file(folder / "a.jsonl", tmp_path / "log")
    written = run("export", tmp_path / "log", "--to", format, "-o", tmp_path / "out")
    assert (written.exit_code, written.output) == (0, "")
    assert (tmp_path / "out").read_bytes() == run("export", folder / "a.jsonl", "--to", format).stdout_bytes
    refused = run("export", tmp_path / "log", "--to", format, "-o", tmp_path / "out")
    assert (refused.exit_code, "--force" in refused.stderr) == (4, True)
    nowhere = run("export", tmp_path / "log", "--to", format, "-o", tmp_path / "no" / "out")
    assert (nowhere.exit_code, nowhere.stderr) == (3, f"convtree: {tmp_path / 'no'}: No such file or directory\n")
    assert run("export", tmp_path / "log", "--to", format, "-o", tmp_path / "out", "--force").exit_code == 0
    assert run("export", tmp_path / "log", "--to", "word").exit_code == 2
    assert run("export", tmp_path / "log", "--to", format, "-o", tmp_path / "log", "--force").exit_code == 2


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_inspect_shows_every_format(name: str, tmp_path: Path) -> None:
    """As it would be imported."""
    (tmp_path / "any").write_bytes(encoded(*SAMPLES[name]))
    result = run("inspect", tmp_path / "any")
    assert (result.exit_code, f"{name} session" in result.output) == (0, True)


def test_a_store_takes_a_header_from_elsewhere(store: SessionStore) -> None:
    """It begins a session with it once, and opens that from then on."""
    with store.open_or_create(Header(id="h", timestamp="2020-01-01T00:00:00.000000Z", cwd="/w")) as session:
        session.append({"role": "user", "content": "a"})
    with store.open_or_create(Header(id="h", cwd="/other")) as session:
        assert (session.header.cwd, session.header.timestamp) == ("/w", "2020-01-01T00:00:00.000000Z")
    assert isinstance(session, Session)


def test_the_reason_for_skipping_is_short(tmp_path: Path) -> None:
    """Its path once, and not all that is known."""
    (tmp_path / "notes.txt").write_text("nothing")
    with open_store("memory:") as store:
        (report,) = import_into(tmp_path, store)
    assert (report.source, report.reason) == (str(tmp_path / "notes.txt"), "not a session of a known format")
