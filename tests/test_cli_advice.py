"""Errors of the command line name its options and commands, and not the arguments of the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import user
from test_cli_sessions import call

from convtree import Session
from convtree.stores._open import open_store


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a store and, in it, a log whose second line is damaged."""
    monkeypatch.chdir(tmp_path)
    with open_store("st", create=True) as store, store.create(id="sound") as session:
        session.append(user("q"))
    with Session.open("st/torn.jsonl", id="torn") as session:
        for text in ("one", "two", "three"):
            session.append(user(text), id=text)
    path = tmp_path / "st" / "torn.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"content":"two"', b'"content":"Two"'))
    (tmp_path / "there.md").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "end"),
    [
        (("ls", "-s", "nope"), 3, "there is no store here; `convtree init` creates one"),
        (("upgrade", "nope"), 3, "there is no store here; `convtree init` creates one"),
        (("usage", "-s", "st", "--by", "branch"), 2, "--by branch needs the ID of a session"),
        (("ls", "-s", "st/sound.jsonl"), 2, "is the name of a log; a store is a folder of logs"),
        (("new", "-s", "st", "--id", "a/b", "q"), 2, "the first a letter or digit"),
        (
            ("export", "st/sound.jsonl", "--to", "markdown", "-o", "there.md"),
            4,
            "this file exists already; --force replaces it",
        ),
        (
            ("fork", "-s", "st", "torn"),
            5,
            "`convtree repair --store st torn --rejoin --yes` keeps the place, so that the conversation can go on",
        ),
    ],
)
def test_errors_name_options(arguments: tuple[str, ...], code: int, end: str) -> None:
    """What to do is said as it is typed."""
    status, _, err = call(*arguments)
    assert (status, err.rstrip().endswith(end)) == (code, True), err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("inspect", ""), "LOG"),
        (("rename", "st/sound.jsonl", ""), "NAME"),
        (("import", "", "st/"), "SOURCE... TARGET"),
        (("rm", "-s", "st", ""), "ID"),
        (("search", "-s", "st", ""), "WORDS"),
    ],
)
def test_empty_arguments(arguments: tuple[str, ...], name: str) -> None:
    """A variable of a script that is not set is not the current directory."""
    code, out, err = call(*arguments)
    assert (code, out, err.splitlines()[-1]) == (2, "", f"Error: the argument {name} is empty")


def test_a_move_of_nothing() -> None:
    """A directory that no session has is named."""
    assert call("move", "-s", "st", "/old", "/new") == (0, "", "st: no sessions of /old, or below it\n")


def test_closed_output(place: Path) -> None:
    """Without standard output, a command does its work and ends as with one."""
    command = f"{sys.executable} -m convtree latest -s st >&-"
    done = subprocess.run(["sh", "-c", command], cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("label", ["@", "@~2", "@latest", " "])
def test_labels_that_mean_something_else(label: str) -> None:
    """A label comes before `@` where an entry is named, so `@` would no longer be the leaf."""
    for command in (("label", "st/sound.jsonl", "@", label), ("append", "st/sound.jsonl", "q", "--label", label)):
        code, out, err = call(*command)
        assert (code, out, "cannot be a label" in err) == (2, "", True)
    with Session.open("st/sound.jsonl", mode="r") as session:
        assert (session.labels, len(session.path())) == ({}, 1)


def test_deletions_that_do_not_happen() -> None:
    """No is an answer, none is wrong usage, and a session on hold names the command that releases it."""
    code, out, err = call("rm", "-s", "st", "sound", answer="n\n")
    assert (code, out, err.splitlines()[-1]) == (0, "", "nothing was deleted")
    code, out, err = call("rm", "-s", "st", "sound", answer="")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "Error: there is no answer; give --yes to delete without a question"
    assert call("hold", "-s", "st", "sound") == (0, "", "")
    code, out, err = call("rm", "-s", "st", "sound", "-y")
    assert (code, out) == (4, "")
    assert err.endswith("nothing was deleted; end the hold with `convtree hold --store st --undo sound`\n")
