"""`inspect -v`: an entry on each line, with its size and id."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from convtree import Session
from convtree._cli.app import app


def inspect(log: Path, width: int) -> Result:
    """Runs `inspect -v` without colour, that many columns wide."""
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": str(width)}).invoke(app, ["inspect", "-v", str(log)])


def test_messages_without_words(tmp_path: Path) -> None:
    """A line says what is in them, and why they stopped. JSON is for what no reader understands."""
    with Session.open(tmp_path / "log", id="s") as session:
        session.append({"role": "user", "content": ""}, id="a")
        thought = {"type": "thinking", "thinking": "let me see", "signature": "x"}
        session.append({"role": "assistant", "content": [thought]}, id="b")
        session.append({"role": "assistant", "content": [], "stopReason": "aborted"}, id="c")
        session.append({"rol": "user", "x": 1}, id="d")
    lines = [" ".join(line.split()[2:-2]) for line in inspect(tmp_path / "log", 80).stdout.splitlines()[3:]]
    assert lines == [
        "user (no text)",
        "assistant thinks: let me see",
        "assistant (aborted) (no text)",
        'message (leaf, not understood) {"rol":"user","x":1}',
    ]


def test_ids_in_a_narrow_terminal(tmp_path: Path) -> None:
    """Below 60 columns, a line has the beginning of an id that is enough to find the entry."""
    with Session.open(tmp_path / "log", id="s") as session:
        for id in ("aaaaaaaaaaaaaaaa", "aaaabbbbbbbbbbbb"):
            session.append({"role": "user", "content": "hello " * 9}, id=id)
    lines = inspect(tmp_path / "log", 40).stdout.splitlines()[-2:]
    assert lines == [
        "● user       hello hello hello…  aaaaaaa",
        "◉ user       (leaf) hello hell…  aaaabbb",
    ]
