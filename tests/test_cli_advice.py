"""Errors of the command line name its options and commands, and not the arguments of the library."""

from __future__ import annotations

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
            "`convtree inspect --allow-gaps` shows the rest, and `convtree repair --rejoin` what can be kept",
        ),
    ],
)
def test_errors_name_options(arguments: tuple[str, ...], code: int, end: str) -> None:
    """What to do is said as it is typed."""
    status, _, err = call(*arguments)
    assert (status, err.rstrip().endswith(end)) == (code, True), err
