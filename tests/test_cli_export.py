"""`convtree export` to files of other tools: where it writes, and what it says of losses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from exported import chat_session

from convtree import Session
from convtree._cli.app import app
from convtree.exchange import export_file

ID = "6f2c0d9e-8f5a-4d6e-9f10-1f2a3b4c5d6e"


def run(*arguments: object) -> Result:
    """Runs the command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["export", *map(str, arguments)])


def a_log(path: Path) -> Path:
    """A log with a label and a system message."""
    with Session.open(path, id=ID, durability="process") as session:
        session.label(session.append({"role": "system", "content": "rules"}), "start")
        session.append({"role": "user", "content": "Hello"})
    return path


def test_a_file_in_a_folder_has_the_name_that_the_tool_looks_for(tmp_path: Path) -> None:
    """Claude Code finds a session by its id; other files get the session's id and an ending. None is replaced."""
    log = a_log(tmp_path / "log")
    (tmp_path / "out").mkdir()
    for format in ("claude-code", "json", "markdown", "pi"):
        done = run(log, "--to", format, "-o", tmp_path / "out", *(["--force"] if format == "pi" else []))
        assert (done.exit_code, done.stdout) == (0, ""), done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{ID}.json", f"{ID}.jsonl", f"{ID}.md"]
    again = run(log, "--to", "json", "-o", tmp_path / "out")
    assert (again.exit_code != 0, "exists already" in again.output) == (True, True)


def test_what_has_no_place_is_named_on_standard_error(tmp_path: Path) -> None:
    """The document itself is on standard output."""
    done = run(a_log(tmp_path / "log"), "--to", "claude-code")
    assert done.exit_code == 0
    first, second = done.stderr.splitlines()
    assert first.startswith("info export_reworded: entry ")
    assert first.endswith(": in the exported file in another form: system message, as the user's")
    assert second == (
        "warning export_left_out: session: not in the exported file: the format has no place for it: label start"
    )
    assert done.stdout.startswith("{")


def test_a_session_without_a_loss_has_no_findings(tmp_path: Path) -> None:
    """In formats that hold all of it."""
    with chat_session() as session:
        assert export_file(session, tmp_path / "out", "json") == ()


def test_a_page_is_opened_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was written, or one in a temporary folder. Without a browser, its place is printed."""
    opened: list[str] = []

    def note(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", note)
    log = a_log(tmp_path / "log")
    assert run(log, "--to", "html", "--open", "-o", tmp_path / "page.html").output == ""
    assert run(log, "--to", "html", "--open").output == ""
    assert opened[0] == (tmp_path / "page.html").as_uri()
    assert Path(opened[1].removeprefix("file://")).read_bytes() == (tmp_path / "page.html").read_bytes()
    monkeypatch.setattr("webbrowser.open", lambda _address: False)
    silent = run(log, "--to", "html", "--open", "-o", tmp_path / "again.html")
    assert silent.stderr == f"no browser was found; the page is {(tmp_path / 'again.html').as_uri()}\n"
    refused = run(log, "--to", "json", "--open")
    assert (refused.exit_code, "--open is for --to html, not for --to json" in refused.stderr) == (2, True)
