"""Runs the README and the guides: their Python blocks, and their commands except those that install packages."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness
import pytest
from click.testing import CliRunner
from harness.sabotage import VARIANTS

from convtree._cli.app import app
from convtree._messages.custom import CUSTOM

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = ROOT / "convtree" / "docs" / "guides"
PAGES = [README, *sorted(GUIDES.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Returns the code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


COMMANDS = [text.strip() for text in blocks(README, "bash")]


def test_readme_has_two_commands() -> None:
    """The first installs and runs the example, the second installs and runs the tests. The gate runs both."""
    assert [command.rpartition("&& ")[2] for command in COMMANDS] == [
        ".venv/bin/convtree inspect trip.jsonl",
        ".venv/bin/pytest",
    ]
    assert all(command.count("\n") == 0 for command in COMMANDS)


def test_first_command_without_the_installation(tmp_path: Path) -> None:
    """The example writes a log, and inspect shows it."""
    steps = COMMANDS[0].split(" && ")[2:]
    for step in steps:
        words = step.replace(".venv/bin", str(Path(sys.executable).parent)).replace("examples/", f"{ROOT}/examples/")
        done = subprocess.run(words.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "A trip" in done.stdout
    assert "They chose Rome." in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_twice(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run in order and their assertions hold, also a second time in the same directory."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        namespace: dict[str, Any] = {}
        for text in blocks(page, "python"):
            exec(text, namespace)
    CUSTOM.clear()  # the readers that a page registered


def test_commands_of_the_guide_to_other_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They work on an export of ChatGPT and on a session of Claude Code."""
    message = {"id": "a", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Where to?"]}}
    node: dict[str, Any] = {"id": "a", "parent": None, "children": [], "message": message}
    chat = {"id": "ID", "conversation_id": "ID", "mapping": {"a": node}, "current_node": "a"}
    line: dict[str, Any] = {"type": "user", "uuid": "u1", "parentUuid": None, "sessionId": "ID"}
    line |= {"message": {"role": "user", "content": "Where to?"}}
    line |= {"cwd": "/w", "version": "2.0", "isSidechain": False, "timestamp": "2026-01-02T03:04:05.000Z"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conversations.json").write_text(json.dumps([chat]))
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "ID.jsonl").write_text(json.dumps(line) + "\n")
    (commands,) = blocks(GUIDES / "other-tools.md", "sh")
    for command in commands.replace("~/.claude/", "").strip().splitlines():
        name, *arguments = shlex.split(command, comments=True)
        done = CliRunner().invoke(app, arguments)
        assert (name, done.exit_code) == ("convtree", 0), done.output
        assert "ID" in done.output or "-o" in arguments
    assert "Where to?" in (tmp_path / "chat.md").read_text()


def test_commands_of_the_guide_to_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They work one after the other, with what `echo` writes as their input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    printed = ""
    for line in "".join(blocks(GUIDES / "command-line.md", "sh")).strip().splitlines():
        said, _, command = line.rpartition("convtree ")
        text = "".join(shlex.split(said.removeprefix("id=$(").rstrip(" |"))[1:])
        arguments = [printed if word == "$id" else word for word in shlex.split(command.rstrip(")"))]
        done = CliRunner().invoke(app, arguments, input=text)
        assert done.exit_code == 0, (line, done.output)
        printed = done.stdout.strip() if said.startswith("id=") else printed
    assert printed
    assert "The log was read." in CliRunner().invoke(app, ["inspect", "-s", "store", printed]).stdout


def test_the_readme_names_every_command() -> None:
    """The table of the command line has each command, and no other."""
    rows = README.read_text(encoding="utf-8").partition("| command | what it does |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in rows.splitlines()[2:]]
    assert sorted(" ".join(cells).replace("`", "").replace(",", "").split()) == sorted(app.commands)


def test_the_table_of_claims_names_every_harness() -> None:
    """Each program of the harness has a row with its command, and the last row counts the broken engines."""
    rows = [row for row in (GUIDES / "testing.md").read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    commands = {row.rsplit(" | ", 1)[1].split()[0].strip("`") for row in rows[1:]} - {"the"}
    programs = {path.stem for path in Path(harness.__path__[0]).glob("*.py") if "__main__" in path.read_text()}
    assert commands == programs
    assert rows[-1].startswith(f"| {len(VARIANTS)} engines broken on purpose |")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    """Every link without a scheme names a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
