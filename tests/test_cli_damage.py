"""What the command line says of damage, and what it tells a person to type."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest
from helpers import user
from test_cli_sessions import call

from convtree import Session, open_store


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a store `st` with four damaged sessions and a sound one. CONVTREE_URL is another store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVTREE_URL", "other")
    open_store("other", create=True).close()
    with open_store("st", create=True) as store, store.create(id="sound") as session:
        session.append(user("q"))
    begin_damaged(tmp_path / "st" / "a.jsonl")
    return tmp_path


def begin_damaged(path: Path) -> None:
    """Makes a log with three messages, of which the second one is damaged."""
    with Session.open(path, id=path.stem) as session:
        for text in ("one", "two", "three"):
            session.append(user(text), id=text)
    path.write_bytes(path.read_bytes().replace(b'"content":"two"', b'"content":"Two"'))


DAMAGED = "damaged: checksum mismatch: the line has changed since it was written"


def test_ls_says_how_to_mend_damage(place: Path) -> None:
    """The problem in words, and the commands to type. They name the store, and the sessions if they are few."""
    code, out, errors = call("ls", "-s", "st")
    assert (code, len(out.splitlines()), errors.splitlines()) == (
        1,
        3,
        [
            f"a: {DAMAGED}",
            "To see the damage, and then what a repair would do:",
            "  convtree verify --store st a",
            "  convtree repair --store st a --rejoin",
        ],
    )
    for id in ("b", "c", "d"):
        begin_damaged(place / "st" / f"{id}.jsonl")
    lines = call("ls", "-s", "st")[2].splitlines()
    assert lines[-2:] == ["  convtree verify --store st", "  convtree repair --store st --rejoin"]
    assert call("repair", "--store", "st", "--rejoin", "--yes")[0] == 1  # lost entries remain
    assert "checksum" not in call("ls", "-s", "st")[2]


def test_a_store_of_the_environment_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command about sessions by id finds it again; one about the whole store names it."""
    monkeypatch.setenv("CONVTREE_URL", "st")
    assert call("ls")[2].splitlines()[-2:] == ["  convtree verify a", "  convtree repair a --rejoin"]
    for id in ("b", "c", "d"):
        begin_damaged(Path("st", f"{id}.jsonl"))
    assert call("ls")[2].splitlines()[-2] == "  convtree verify --store st"


def test_damage_that_a_saved_index_hides_is_listed(place: Path) -> None:
    """A list reads every new line, and so finds what opening the log did not."""
    path = place / "st" / "long.jsonl"
    with Session.open(path, id="long") as session:
        session.append_many([user(f"message {number}") for number in range(3000)])
    assert Path(f"{path}.index").exists()
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"message 1000", b"massage 1000"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert f"long: {DAMAGED}" in call("ls", "-s", "st")[2].splitlines()


@pytest.mark.parametrize("command", ["vacuum", "redact"])
def test_a_command_that_needs_a_sound_log_says_what_to_type(command: str) -> None:
    """The repair, for the log or the session as it was named. After it, the command works."""
    for named in (["st/a.jsonl"], ["--store", "st", "a"]):
        code, out, err = call(command, *named)
        said = err or out
        assert "bad_seal in line 3; repair it first: convtree repair" in said.replace("\n", " "), (code, out, err)
        typed = shlex.split(said.strip().splitlines()[0].partition("first: ")[2])
        assert typed == ["convtree", "repair", *named, "--rejoin", "--yes"]
    assert call(*typed[1:])[0] == 1
    assert call(command, *named)[0] == 0


def test_commands_that_write_name_the_way_out() -> None:
    """A fork and a summary need the whole path: the error names the repair, and what works without one."""
    code, out, err = call("fork", "-s", "st", "a")
    assert (code, out) == (5, "")
    assert "`convtree inspect --store st a --allow-gaps` shows the rest, an entry above the gap works" in err
    assert "`convtree repair --store st a --rejoin --yes` keeps the place" in err
    assert call("fork", "-s", "st", "a", "one")[0] == 0
    Path("summary").write_text("They talked.")
    compact = ["compact", "-s", "st", "a", "--summary-file", "summary"]
    code, _, err = call(*compact, "--keep-tokens", 1)
    assert (code, "an entry above the gap works" in err, "--allow-gaps shows" in err) == (5, True, False)


def test_an_uncertain_leaf_is_settled_by_a_command() -> None:
    """Damage may have hidden a move of the leaf: what writes names the `branch` that chooses one."""
    with Path("st", "a.jsonl").open("ab") as log:
        log.write(b"damage\n")
    code, out, err = call("append", "st/a.jsonl", "go on")
    typed = err.partition("; `")[2].partition("`")[0]
    assert (code, out, typed) == (5, "", "convtree branch st/a.jsonl three")
    assert call(*shlex.split(typed)[1:])[:2] == (0, "three\n")
    assert call("append", "st/a.jsonl", "go on")[0] == 0


@pytest.mark.parametrize("format", ["markdown", "openai-jsonl", "codex", "atif"])
def test_a_failed_export_writes_nothing(format: str) -> None:
    """The damage is known before the first byte."""
    code, out, err = call("export", "st/a.jsonl", "--to", format)
    assert (code, out, "--allow-gaps shows the rest" in err) == (5, "", True)


def test_export_refuses_and_follow_says_what_is_left_out() -> None:
    """On stderr, with the option that shows it; with the option, there is nothing to say."""
    note = "1 damaged line left out; --allow-gaps shows the gaps in their places as far as these are known, "
    code, out, err = call("follow", "st/a.jsonl", "--timeout", "0")
    assert (code, out.count("one"), "lost" in out) == (0, 1, False)
    assert err == f"{note}`convtree verify st/a.jsonl` lists them\n"
    code, out, err = call("export", "st/a.jsonl", "--to", "pi")
    assert (code, out, "1 entry is missing" in err, "--allow-gaps shows the rest" in err) == (5, "", True, True)
    code, out, err = call("export", "st/a.jsonl", "--to", "pi", "--allow-gaps")
    assert (code, "lost" in out, "1 entry is missing" in err) == (0, True, True)
    code, out, err = call("follow", "st/a.jsonl", "--timeout", "0", "--allow-gaps")
    assert [line[10:].split()[0] for line in out.splitlines()] == ["user", "lost", "user"]
    assert (code, err) == (0, "")


def test_the_times_of_a_document_name_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local time, or UTC."""
    header = '{"type":"session","format":"convtree","version":1,"id":"s","timestamp":"2026-01-01T00:30:00Z"}\n'
    Path("s.jsonl").write_text(header + '{"id":"a","parent_id":null,"type":"message","message":{"role":"user"}}\n')
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert "- Begun: 2025-12-31 19:30 EST\n" in call("export", "s.jsonl", "--to", "markdown")[1]
        assert "- Begun: 2026-01-01 00:30 UTC\n" in call("export", "s.jsonl", "--to", "markdown", "--utc")[1]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    code, _, err = call("export", "s.jsonl", "--to", "pi", "--utc")
    assert (code, "--utc is for --to markdown" in err) == (2, True)
