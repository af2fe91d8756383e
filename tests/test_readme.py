"""What the README shows is run: its Python blocks here, its commands as they stand (but for the installing)."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from convtree._cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", README, re.DOTALL)
COMMANDS = [text.strip() for kind, text in BLOCKS if kind == "bash"]


def test_there_are_two_commands() -> None:
    """One command installs and runs the main job, one installs and runs the tests."""
    assert [command.rpartition("&& ")[2] for command in COMMANDS] == [
        ".venv/bin/convtree inspect trip.jsonl",
        ".venv/bin/pytest",
    ]
    assert all(command.count("\n") == 0 for command in COMMANDS)


def test_first_command_after_the_installing(tmp_path: Path) -> None:
    """The example writes the log that inspect then shows."""
    steps = COMMANDS[0].split(" && ")[2:]
    for step in steps:
        words = step.replace(".venv/bin", str(Path(sys.executable).parent)).replace("examples/", f"{ROOT}/examples/")
        done = subprocess.run(words.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert "A trip" in done.stdout
    assert "They chose Rome." in done.stdout


def test_python_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks run, one after the other, and their assertions hold."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(text, namespace)
    session = namespace["convtree"].Session.memory()
    reply = namespace["turn"](session, lambda messages: {"role": "assistant", "content": str(len(messages))}, "Hi")
    assert reply.text == "1"


def test_commands_on_other_tools_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do what they say, to a session each of ChatGPT and of Claude Code."""
    said = {"id": "a", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Where to?"]}}
    node: dict[str, Any] = {"id": "a", "parent": None, "children": [], "message": said}
    chat = {"id": "ID", "conversation_id": "ID", "mapping": {"a": node}, "current_node": "a"}
    line: dict[str, Any] = {"type": "user", "uuid": "u1", "parentUuid": None, "sessionId": "ID"}
    line |= {"message": {"role": "user", "content": "Where to?"}}
    line |= {"cwd": "/w", "version": "2.0", "isSidechain": False, "timestamp": "2026-01-02T03:04:05.000Z"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conversations.json").write_text(json.dumps([chat]))
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "ID.jsonl").write_text(json.dumps(line) + "\n")
    (commands,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for command in commands.replace("~/.claude/", "").strip().splitlines():
        name, *arguments = shlex.split(command, comments=True)
        done = CliRunner().invoke(app, arguments)
        assert (name, done.exit_code) == ("convtree", 0), done.output
        assert "ID" in done.output or "-o" in arguments
    assert "Where to?" in (tmp_path / "chat.md").read_text()


def test_every_file_it_names_exists() -> None:
    """The links lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
