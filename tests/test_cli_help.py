"""The help of the command line: groups, first lines, exit codes, and options that exclude each other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from helpers import user
from test_cli_sessions import call

from convtree import (
    AmbiguousId,
    AmbiguousLabel,
    BrokenPath,
    ConvtreeError,
    EntryNotFound,
    IdConflict,
    NotALog,
    Session,
    SessionChanged,
    SessionExists,
    SessionHeld,
    SessionLocked,
    SessionNotFound,
    SeveralSessions,
    StaleLeaf,
)
from convtree._cli.app import app
from convtree._cli.exit_codes import EXIT_CODES, code_of

README = Path(__file__).parents[1] / "README.md"
COMMANDS = sorted(app.commands)


def help_of(*names: str) -> str:
    """Returns the help of the program or of a command, on lines of any length."""
    return CliRunner().invoke(app, [*names, "--help"], terminal_width=1000).output


def test_commands_are_grouped_by_what_people_want() -> None:
    """Each is in one group."""
    sections = re.findall(r"^(\w+):\n((?:  .+\n)+)", help_of(), re.MULTILINE)
    named = {title: re.findall(r"^  (\w+)", lines, re.MULTILINE) for title, lines in sections if title != "Options"}
    assert list(named) == ["Look", "Find", "Change", "Move", "Care"]
    assert sorted(name for names in named.values() for name in names) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_first_lines_are_short(name: str) -> None:
    """So that the list of commands shows them whole at 80 columns."""
    first, _, _ = (app.commands[name].help or "").partition("\n\n")
    assert 10 < len(first) < 55
    assert first.endswith(".")


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_as_wide_as_the_terminal(name: str, columns: int) -> None:
    """At most 80 columns. The list of commands has their first lines whole."""
    given = [name, "--help"] if name else ["--help"]
    out = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, given).output
    assert max(map(len, out.splitlines())) <= columns
    assert "..." not in re.sub(r"\.\.\.\]?$", "", out.partition("\n\n")[2], flags=re.MULTILINE) or name
    if not name:
        firsts = [(command.help or "").partition("\n\n")[0] for command in app.commands.values()]
        assert all(first.removesuffix(".") in " ".join(out.split()) for first in firsts)


# --- exit codes ---


def test_exit_codes_are_one_table() -> None:
    """`--help` has it whole, and the README the codes that a program has to know."""
    lines = help_of().partition("Exit codes:\n")[2].partition("\n\n")[0].splitlines()
    assert [tuple(line.split(None, 1)) for line in lines] == [(str(each.code), each.meaning) for each in EXIT_CODES]
    said = re.search(r"The exit code is (.*?)\.", README.read_text(encoding="utf-8").replace("\n", " "))
    assert said is not None
    expected = [f"{each.code} for {each.name}" for each in EXIT_CODES]
    assert said[1] == f"{', '.join(expected[:-1])}, and {expected[-1]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_document_codes_of_the_table(name: str) -> None:
    """What a command says about its exit codes are codes of the table."""
    said = re.search(r"Exit codes: (.*)", help_of(name))
    codes = re.findall(r"\b(\d+) ", said[1]) if said else []
    assert {int(code) for code in codes} <= {each.code for each in EXIT_CODES}
    assert len(codes) > 0 or said is None


def test_every_error_has_a_code() -> None:
    """By what a caller would do about it."""
    found = {
        3: (SessionNotFound, EntryNotFound, FileNotFoundError),
        4: (
            *(AmbiguousId, AmbiguousLabel, SessionExists, SessionHeld, SeveralSessions, SessionLocked),
            *(SessionChanged, IdConflict, StaleLeaf),
        ),
        5: (BrokenPath, NotALog, ConvtreeError, PermissionError, ImportError),
    }
    for code, classes in found.items():
        assert {cls.__name__: code_of(cls("x")) for cls in classes} == dict.fromkeys(
            [c.__name__ for c in classes], code
        )


# --- what excludes each other ---


def contradictions() -> Iterator[tuple[str, str, str]]:
    """Yields each command with two of its options that set one value."""
    for name, command in sorted(app.commands.items()):
        options = [param for param in command.params if isinstance(param, click.Option)]
        for one, two in permutations(options, 2):
            if one.name == two.name:
                yield name, one.opts[-1], two.opts[-1]


def test_options_that_set_one_value_exclude_each_other() -> None:
    """Click takes the last of two such options. Here, both are named."""
    pairs = list(contradictions())
    assert ("inspect", "--dot", "--json") in pairs
    for name, one, two in pairs:
        code, out, err = call(name, one, two, "x")
        assert (code, out, f"Error: {one} and {two} exclude each other\n" in err) == (2, "", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "log", "--dot", "--full"], "--dot prints the whole tree"),
        (["ls", "-q", "-v"], "--quiet and --verbose exclude each other"),
        (["ls", "-q", "--json"], "--quiet and --json exclude each other"),
        (["usage", "s", "--cwd", "/x"], "leave them out with an ID"),
        (["usage", "s", "--owner", "x"], "leave them out with an ID"),
        (["vacuum", "s", "--allow-network"], "--allow-network is for a LOG that is a file"),
        (["vacuum", "log", "--remove-original"], "--remove-original needs --yes"),
        (["repair", "s", "--allow-network"], "--allow-network is for a LOG"),
        (["repair", "log", "--originals", "x"], "--originals needs --store"),
        (["redact", "log", "--remove-original"], "--remove-original needs --yes"),
        (["redact", "s", "--session", "x"], "leave them out with --store"),
        (["export", "log", "--to", "pi", "--no-redact"], "--no-redact is for --to hf-traces"),
        (["export", "log", "--to", "hf-traces", "--no-redact", "--redact"], "--no-redact contradicts --redact"),
        (["export", "log", "--to", "pi", "--email"], "--email needs --redact"),
        (["import", "log", "new", "--interval", "3"], "--interval needs --watch"),
        (["import", "log", "new/", "--watch", "--workers", "2"], "leave out --workers"),
        (["import", "log", "new", "--email"], "--email needs --redact"),
    ],
)
def test_options_that_would_mean_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused, and nothing is done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVTREE_URL", "store")
    for place, id in (("log", "l"), ("store/s.jsonl", "s")):
        Path(place).parent.mkdir(exist_ok=True)
        with Session.open(place, id=id) as session:
            session.append(user("x"))
    code, out, err = call(*arguments)
    assert (code, out, said in err) == (2, "", True), err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("ls", "--limit", "x"), "'--limit': 'x'; expected a whole number, 1 or more, such as 20"),
        (("prune", "--keep", "-1"), "'--keep': '-1'; expected a whole number, 0 or more, such as 20"),
        (("view", "--port", "99999"), "'--port': '99999'; expected a whole number, 0 to 65,535, such as 8000"),
        (("follow", "s", "--timeout", "nan"), "expected a number of seconds, 0 or more, such as 30 or 0.5"),
        (("import", "a", "b", "--interval", "0"), "expected a number of seconds, greater than 0, such as 30 or 0.5"),
        (("prune", "--max-age", "abc"), "as an age; expected a number of days such as 30, an age such as '36 hours'"),
        (("resume", "--max-age", "abc"), "as an age; expected a number of minutes such as 30, an age such as '36"),
        (("ls", "--since", "abc"), "as a time; expected a time such as yesterday, '3 days ago'"),
    ],
)
def test_a_wrong_value_is_answered_with_an_example(
    arguments: tuple[str, ...], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option, what was given, and what is expected."""
    monkeypatch.setenv("CONVTREE_URL", "memory:")
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*arguments)
    assert (code, hint in " ".join(err.split())) == (2, True), err


def test_closed_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input that was closed is empty; a full disk is an error of every output, the help included."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVTREE_URL", str(tmp_path / "store"))
    run = [sys.executable, "-m", "convtree"]
    subprocess.run([*run, "new", "hello", "--id", "trip"], check=True, capture_output=True)
    for arguments, code, message in (
        ("new", 2, "the message is empty"),
        ("append trip -", 2, "the message is empty"),
        ("compact trip --keep-tokens 1 --summary-file -", 2, "the summary is empty"),
        ("branch trip @ --summary-file -", 2, "the summary is empty"),
        ("rm trip", 2, "there is no answer; give --yes to delete without a question"),
    ):
        words = f'exec "$@" {arguments} <&-'
        done = subprocess.run(["sh", "-c", words, "sh", *run], capture_output=True, text=True, check=False)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    if Path("/dev/full").exists():
        for arguments in ("--help", "--man", "--version", "ls", "ls --help"):
            words = f'exec "$@" {arguments} >/dev/full'
            done = subprocess.run(["sh", "-c", words, "sh", *run], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (5, "convtree: standard output: No space left on device\n")
