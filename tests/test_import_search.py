"""Importing a home directory: what is searched, what is passed over, and how quiet the command is about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from foreign import CODEX, KIT, PI, encoded

from convtree import NotALog, open_store
from convtree._cli.app import app
from convtree.exchange import import_into, list_foreign


def run(*arguments: Any) -> Result:
    """Runs a command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with two sessions, and much else."""
    home = tmp_path / "home"
    (home / ".pi" / "agent").mkdir(parents=True)
    (home / ".pi" / "agent" / "a.jsonl").write_bytes(encoded(*PI))
    (home / "work").mkdir()
    (home / "work" / "k").write_bytes(encoded(*KIT))
    for number in range(30):
        (home / "work" / f"{number:02}.txt").write_text("hello")
    return home


def sessions_in(folder: Path) -> list[str]:
    return [each.id for each in list_foreign(folder)]


# --- what is searched ---


@pytest.mark.parametrize("name", ["node_modules", ".git", "site-packages", "__pycache__", ".cache", ".venv", "env"])
def test_folders_of_programs_are_passed_over(name: str, home: Path) -> None:
    """They are known by their names, a virtual environment by its `pyvenv.cfg`. The folder that is named is entered."""
    inside = home / "work" / name
    inside.mkdir()
    if "env" in name:
        (inside / "pyvenv.cfg").touch()
    (inside / "x.jsonl").write_bytes(encoded(*CODEX))
    assert sessions_in(home) == ["p1", KIT[0]["id"]]
    assert sessions_in(inside) == ["x1"]
    with open_store("memory:") as store:
        reports = {Path(each.source): each for each in import_into(home, store)}
    assert (reports[inside].status, reports[inside].reason) == ("skipped", "packages, caches or version control")


def test_a_cache_is_told_by_its_tag(home: Path) -> None:
    """Whatever it is called."""
    (home / "work" / "CACHEDIR.TAG").touch()
    assert sessions_in(home) == ["p1"]


def test_a_file_system_without_files_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the folder that is named; asked once for each device."""
    asked: list[int] = []

    def type_of(_: str, device: int) -> str:
        asked.append(device)
        return "proc"

    monkeypatch.setattr("convtree._tools.passed_over.type_of", type_of)
    with open_store("memory:") as store:
        reports = import_into(home, store)
    assert {each.reason for each in reports} == {"a file system without stored files"}
    assert (len(reports), len(asked)) == (2, 1)


def test_where_mounts_are_not_listed_all_is_searched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems other than Linux."""
    monkeypatch.setattr("convtree._tools.passed_over.Path", lambda _: Path(home / "missing"))
    assert sessions_in(home) == ["p1", KIT[0]["id"]]


def test_links_that_lead_back_are_not_followed(home: Path) -> None:
    """Neither to a folder above, nor to one beside it."""
    (home / "work" / "up").symlink_to(home)
    (home / "work" / "pi").symlink_to(home / ".pi")
    assert sessions_in(home) == ["p1", KIT[0]["id"]]


def test_a_session_far_down_in_a_text_is_no_session(tmp_path: Path) -> None:
    """A text that shows lines of JSON is a text, and is not parsed for each format."""
    (tmp_path / "notes.md").write_bytes(b"words\n" * 20_000 + encoded(*PI))
    with pytest.raises(NotALog):
        sessions_in(tmp_path / "notes.md")


# --- several sources ---


def test_several_sources_in_one_command(home: Path, tmp_path: Path) -> None:
    """Each in the order in which it was named. A folder in another one is searched once."""
    (tmp_path / "codex.jsonl").write_bytes(encoded(*CODEX))
    result = run("import", home / "work", tmp_path / "codex.jsonl", home, tmp_path / "store", "-v", "--json")
    reports = json.loads(result.output)["imports"]
    assert [each["session_id"] for each in reports if each["status"] == "imported"] == [KIT[0]["id"], "x1", "p1"]
    assert [each["reason"] for each in reports if each["source"] == str(home / "work")] == ["searched already"]
    with open_store("memory:") as store:
        assert [each.session_id for each in import_into([tmp_path / "codex.jsonl"], store)] == ["x1"]


def test_one_of_several_sources_that_is_wrong_stops_the_command(home: Path, tmp_path: Path) -> None:
    """Before a store is made."""
    assert run("import", home, tmp_path / "missing", tmp_path / "store").exit_code == 3
    assert not (tmp_path / "store").exists()
    assert run("import", home, home / "work" / "00.txt", tmp_path / "store").exit_code == 5
    assert run("import").exit_code == 2
    result = run("import", home, home / "work", tmp_path / "log.jsonl")
    assert (result.exit_code, "several sources, --discover and --watch need a store" in result.stderr) == (2, True)
    assert run("import", "--watch", home / "work" / "k", tmp_path / "log.jsonl").exit_code == 2
    assert not (tmp_path / "log.jsonl").exists()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    result = run("import", tmp_path / "one", tmp_path / "two", tmp_path / "store")
    assert (result.exit_code, result.stderr) == (
        3,
        f"convtree: {tmp_path / 'one'}, {tmp_path / 'two'}: no session of a known format in these folders\n",
    )


# --- what is printed ---


def test_files_that_are_passed_over_are_counted(home: Path, tmp_path: Path) -> None:
    """A line for each reason, the most frequent first; a second import only says that nothing was new."""
    (home / "work" / "link").symlink_to(home / "work" / "k")
    (home / ".git").mkdir()
    first = run("import", home, tmp_path / "store")
    assert (first.exit_code, first.output.splitlines()[2:]) == (
        0,
        [
            "passed over 30 files: not a session of a known format",
            "passed over 1 folder: packages, caches or version control",
            "passed over 1 file: links are not followed",
            "total: 2 sessions, 25 records written, 0 already there, 32 skipped",
        ],
    )
    again = run("import", home, tmp_path / "store").output.splitlines()
    total = "total: 2 sessions, 0 records written, 25 already there, 32 skipped"
    assert again == [*first.output.splitlines()[2:5], total]


def test_verbose_lists_them(home: Path, tmp_path: Path) -> None:
    """With their paths, in the order in which they were found, and sessions without news among them."""
    run("import", home, tmp_path / "store")
    lines = run("import", home, tmp_path / "store", "-v").output.splitlines()
    assert len(lines) == 33
    assert lines[0] == f"pi session p1: 0 records written, 14 already there, 0 findings ({home / '.pi/agent/a.jsonl'})"
    assert lines[1] == f"skipped: {home / 'work/00.txt'}: not a session of a known format"


def test_findings_of_one_of_many_sessions_are_cut(home: Path, tmp_path: Path) -> None:
    """Twenty are shown, all of them with -v."""
    with (home / ".pi" / "agent" / "a.jsonl").open("a") as file:
        file.write('{"type": no json\n' * 25)
    short = run("import", home, tmp_path / "store").output.splitlines()
    assert short[21] == "… 5 more findings; list them with -v"
    full = run("import", home, tmp_path / "store", "-v").output.splitlines()
    assert len([line for line in full if ": line " in line]) == 25
