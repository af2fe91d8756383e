"""What the README shows is run: its Python blocks here, its commands as they stand (but for the installing)."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_every_file_it_names_exists() -> None:
    """The links lead somewhere."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
