"""Progress of commands that take longer than a second: on a terminal only, and gone at the end."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import log_of, user

from convtree import open_store
from convtree._cli import progress as module
from convtree._cli.app import app
from convtree._cli.output import guarded
from convtree._cli.progress import counted, progress

#: runs the command line; what a command does only ends when the bar has been drawn
PROGRAM = """
import sys, threading
from convtree._cli import app, progress, main
drawn, begin = threading.Event(), progress._Shown.begin
def begin_and_note(shown):
    begin(shown)
    drawn.set()
progress._Shown.begin, progress.AFTER_S = begin_and_note, 0
def slowly(function):
    def call(*arguments, **options):
        done = function(*arguments, **options)
        assert drawn.wait(20)
        return done
    return call
import convtree._cli.checking as checking
from convtree.stores._session_store import SessionStore
checking.verify = slowly(checking.verify)
SessionStore.repair, SessionStore.copy_to = slowly(SessionStore.repair), slowly(SessionStore.copy_to)
main()
"""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def shown_on_terminal(place: Path, *arguments: str) -> tuple[str, str]:
    """Runs a command with standard error on a terminal. Returns its output, and all that the terminal got."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "60", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        pieces = [b""]
        try:
            while pieces[-1] or len(pieces) == 1:
                pieces.append(os.read(master, 65536))
        except OSError:  # the program has ended
            pass
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(master)
    return out, b"".join(pieces).decode()


def screen_after(drawn: str) -> list[str]:
    """Returns the lines that a terminal shows in the end, for the few control sequences that a bar consists of."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", drawn):
        match piece:
            case "\r":
                column = 0
            case "\n":
                row, column = row + 1, 0
                lines += [""] * (row - len(lines) + 1)
            case "\x1b[2K":
                lines[row] = ""
            case "\x1b[1A":
                row = max(row - 1, 0)
            case _ if not piece.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + 1 :]
                column += 1
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and a store."""
    top = tmp_path_factory.mktemp("place")
    (top / "a\x1b]0;x\x07[b]\u202e.jsonl").write_bytes(log_of())
    with open_store(str(top / "store"), durability="process") as store:
        for number in range(3):
            with store.create(id=f"s{number}") as session:
                session.append(user("x"))
    return top


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["verify", "a\x1b]0;x\x07[b]\u202e.jsonl"], r"verifying a\x1b]0;x\x07[b]<U+202E>.jsonl"),
        (["repair", "--store", "store"], "looking for damage"),
        (["copy", "store", "copy"], "3 of 3"),
    ],
)
def test_a_bar_on_a_terminal(arguments: list[str], expected: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are escaped, nothing of it is left, and the output is that of a pipe."""
    out, drawn = shown_on_terminal(place, *arguments)
    text = _CONTROL.sub("", drawn)
    assert expected[:20] in text
    assert set(re.findall(r"[\x00-\x1f\x7f-\x9f\u202e]", text)) <= {"\r", "\n"}
    monkeypatch.chdir(place)
    piped = CliRunner().invoke(app, arguments)
    assert (screen_after(drawn), out.replace("copied", "unchanged")) == (piped.stderr.splitlines(), piped.stdout)


class Screen(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Returns True."""
        return True


def test_no_bar_in_a_pipe_and_for_what_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, guarded or not. What fails removes its bar as well."""
    for screen, is_shown in ((io.StringIO(), False), (Screen(), True)):
        monkeypatch.setattr(sys, "stderr", screen)
        with guarded(), progress("x") as report:
            assert (report is not None) == is_shown
            assert list(counted("abc", report)) == ["a", "b", "c"]
        with progress("x"):
            pass
        assert screen.getvalue() == ""
    screen = Screen()
    shown = module._Shown("wörk", "bytes", screen)
    shown.report(512, 2048)
    shown.begin()
    shown.report(1024, 2048)
    shown.end()
    shown.begin()
    assert "512B of 2.0K" in screen.getvalue()
    assert screen_after(screen.getvalue()) == []
