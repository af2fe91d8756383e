"""Completion in shells, and the manual page."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import assistant, user
from test_cli_output import NASTY, unsafe

from convtree._cli.app import app
from convtree._cli.exit_codes import EXIT_CODES
from convtree.stores._open import open_store

ID = "5eed0000aaaa"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a store at CONVTREE_URL that has two sessions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVTREE_URL", "store")
    with open_store("store") as store:
        with store.create(id=ID, name=f"Trip{NASTY}") as session:
            session.append(user("Where to?"), id="aaaa1111")
            session.append(assistant(f"Rome{NASTY}"), id="aaaa2222", label="north")
            session.label("aaaa1111", "warm one")
        with store.create(id="other") as session:
            session.append(user("x"), label=NASTY[:8])
    return tmp_path


def completed(shell: str, *words: str) -> str:
    """Returns what the program prints when a shell completes the last word."""
    environment = {"_CONVTREE_COMPLETE": f"{shell}_complete", "COMP_WORDS": shlex.join(["convtree", *words[:-1]])}
    environment["COMP_WORDS"] += f" {words[-1]}"
    environment["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words))
    done = CliRunner().invoke(app, env=environment, prog_name="convtree")
    assert (done.exit_code, done.stderr, unsafe(done.stdout)) == (0, "", set())
    return done.stdout


def offered(*words: str) -> list[str]:
    """Returns the words that bash offers for the last word."""
    return [line.removeprefix("plain,") for line in completed("bash", *words).splitlines() if line]


@pytest.mark.parametrize("command", ["show", "fork", "archive", "hold", "rm", "usage"])
def test_sessions_are_completed(command: str) -> None:
    """By their beginning, the last active first."""
    assert offered(command, "5ee") == [ID]
    assert {*offered(command, "")} == {ID, "other"}
    assert offered(command, "--store", "none", "") == []
    assert offered(command, "--store", "foo://x", "") == []


@pytest.mark.parametrize("command", ["inspect", "diff", "export", "vacuum", "append", "label", "follow", "verify"])
def test_a_log_is_a_file_or_a_session(command: str) -> None:
    """Files come first; sessions are offered once something was typed, or with a store."""
    assert offered(command, "") == ["file,"]
    assert offered(command, "5") == ["file,5", ID]
    assert {*offered(command, "--store", "store", "")} == {ID, "other"}


@pytest.mark.parametrize(
    "words",
    [
        ["show", ID, "--leaf"],
        ["inspect", ID, "--leaf"],
        ["diff", ID],
        ["diff", f"store/{ID}.jsonl", "north"],
        ["fork", ID[:5]],
        ["label", "-s", "store", ID],
        ["hide", ID, "aaaa1111"],
        ["export", ID, "--to", "pi", "--leaf"],
        ["append", ID, "--at"],
        ["compact", ID, "--keep"],
    ],
)
def test_entries_are_completed(words: list[str]) -> None:
    """Labels and the last ids of the session that the words before name. What a shell would split is left out."""
    assert offered(*words, "") == ["north", "aaaa2222", "aaaa1111"]
    assert offered(*words, "aaaa2") == ["aaaa2222"]


def test_what_cannot_be_completed() -> None:
    """A session that does not exist, and a label with controls, offer nothing. No error is printed."""
    assert offered("label", "none", "") == []
    assert offered("label", "none.jsonl", "") == []
    assert len(offered("label", "other", "")) == 1
    assert offered("sho") == ["show"]
    assert "--store" in offered("ls", "--s")


def test_other_shells_show_what_the_words_mean() -> None:
    """The name of a session and the text of an entry, on one line."""
    assert completed("zsh", "show", "5ee").splitlines()[:2] == ["plain", ID]
    assert completed("zsh", "show", "5ee").splitlines()[2].startswith("Trip")
    assert "aaaa1111" in completed("fish", "label", ID, "aaaa1")
    assert "Where to?" in completed("fish", "label", ID, "aaaa1")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell: str) -> None:
    """It calls the program with the words."""
    done = CliRunner().invoke(app, env={"_CONVTREE_COMPLETE": f"{shell}_source"}, prog_name="convtree")
    assert (done.exit_code, f"_CONVTREE_COMPLETE={shell}_complete" in done.stdout) == (0, True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(place: Path) -> None:
    """The line of the guide, in a real shell."""
    (place / "bin").mkdir()
    program = place / "bin" / "convtree"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m convtree "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_CONVTREE_COMPLETE=bash_source convtree)"\n'
        "COMP_WORDS=(convtree show 5ee); COMP_CWORD=2\n"
        "_convtree_completion convtree\n"
        'echo "found ${COMPREPLY[*]}"\n'
    )
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == (f"found {ID}", "")


# --- the manual page ---


def page() -> str:
    done = CliRunner().invoke(app, ["--man"])
    assert done.exit_code == 0
    return done.stdout


def test_the_manual_names_everything() -> None:
    """Every command, option and exit code, and the variable."""
    text = page().replace(r"\-", "-")
    for name, command in app.commands.items():
        assert f'.SS "{name}"\n\\fBconvtree {name}\\fR ' in text
        assert all(opt in text for param in command.params for opt in param.opts if opt.startswith("-"))
    for each in EXIT_CODES:
        assert f"\\fB{each.code}\\fR\n{each.meaning}\n" in text
    assert "CONVTREE_URL" in text
    lines = text.splitlines()
    requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I"}
    assert max(map(len, lines)) < 1000
    assert unsafe(text) == set()


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_say_against_it() -> None:
    """With all its warnings."""
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page().encode(), capture_output=True, check=True)
    assert done.stderr == b""
    assert b"Print entries as they are appended" in done.stdout
