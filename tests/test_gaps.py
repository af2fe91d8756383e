"""A damaged conversation is readable: what is left is shown, with the gaps in their places, and the errors say how."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from convtree import Session, redact
from convtree._cli.app import app
from convtree._formats import ALL_BRANCHES, WRITERS
from convtree._formats.common.gaps import Gaps, words_at
from convtree._model.errors import EntryNotFound
from convtree._tools.gaps import MendedSession
from convtree.exchange import export_file, export_lines
from convtree.repair import repair
from convtree.stores._open import open_store

NOON = 1_769_860_800 * 10**9
GAP = "[1 message is missing here: line 4]"


TREES = [("json", "id", "parent_id"), ("pi", "id", "parentId"), ("claude-code", "uuid", "parentUuid")]


def run(*arguments: object) -> Result:
    """Runs a command, 80 columns wide."""
    runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "", "FORCE_COLOR": None, "TERM": "xterm"})
    return runner.invoke(app, [*map(str, arguments)])


def make(path: Path) -> bytes:
    """Writes a log of six messages, one per line from line 2 on, and a branch; returns its bytes."""
    with Session.open(path, id="trip", clock=lambda: NOON) as session:
        for number, id in enumerate("abcdef"):
            role = "assistant" if number % 2 else "user"
            session.append({"role": role, "content": f"text {id}"}, id=id)
        session.append({"role": "user", "content": "text g"}, id="g", parent_id="d")
    return path.read_bytes()


def damaged(path: Path, old: bytes, new: bytes) -> Path:
    """Returns a log in which some bytes were changed."""
    data = make(path)
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One letter of the third message, in line 4, is another one."""
    return damaged(tmp_path / "trip.jsonl", b"text c", b"test c")


def shown(result: Result) -> list[str]:
    """Returns the lines of a drawing, without times, ids and what stands around the drawing."""
    lines = result.stdout.splitlines()
    return [line[:50].rstrip() for line in lines if "missing here" in line or "text" in line]


def test_a_path_with_a_gap(log: Path) -> None:
    """The conversation goes on above the gap, which names the line. The exit code says that there are problems."""
    result = run("inspect", log, "--path", "--allow-gaps", "--leaf", "f", "--utc")
    assert shown(result) == [
        "● 12:00 text a",
        "│         text b",
        f"●       {GAP}",
        "● 12:00   text d",
        "● 12:00 text e",
        "◉         (leaf) text f",
    ]
    assert result.exit_code == 1
    assert "error bad_seal: line 4" in result.stdout


def test_a_tree_with_a_gap(log: Path) -> None:
    """Without the option, what is below the damage is a tree of its own. With it, the branches hang where they were."""
    assert shown(run("inspect", log, "--utc")) == [
        "○ 12:00 text a",
        "          text b",
        "[messages are missing here: line 4]",
        "● 12:00   text d",
        "├─○ 12:00 1/2 text e",
        "│           text f",
        "◉ 12:00 2/2 (leaf) text g",
    ]
    assert shown(run("inspect", log, "--utc", "--allow-gaps")) == [
        "● 12:00 text a",
        "│         text b",
        f"●       {GAP}",
        "● 12:00   text d",
        "├─○ 12:00 1/2 text e",
        "│           text f",
        "◉ 12:00 2/2 (leaf) text g",
    ]


@pytest.mark.parametrize("options", [["-v"], ["--full"], ["--context"], ["--context", "--full"]])
def test_every_view_names_the_gap(options: list[str], log: Path) -> None:
    """In its place: between the second and the fourth message."""
    words = run("inspect", log, "--allow-gaps", *options).stdout
    assert words.index("text b") < words.index(GAP) < words.index("text d")
    assert words.count("missing here") == 1


def test_json_keeps_its_keys(log: Path) -> None:
    """The lost entry is one of the entries. Its gaps are those of the context."""
    entries = json.loads(run("inspect", log, "--path", "--json", "--allow-gaps").stdout)["entries"]
    assert [(each["id"], each["type"]) for each in entries if each["type"] != "message"] == [("c", "lost")]
    context = json.loads(run("inspect", log, "--context", "--json", "--allow-gaps").stdout)
    assert [context["entry_ids"], len(context["gaps"])] == [["a", "b", "d", "g"], 1]


def test_a_document_with_a_gap(log: Path, tmp_path: Path) -> None:
    """Markdown names it in its place, also if secrets are removed. The file gets what the terminal gets."""
    result = run("export", log, "--to", "markdown", "--allow-gaps", "--utc")
    said = [line for line in result.stdout.splitlines() if line.startswith(("text", "*["))]
    assert (said, result.exit_code) == (["text a", "text b", f"*{GAP}*", "text d", "text g"], 0)
    with Session.open(log, mode="r") as session:
        export_file(session, tmp_path / "x.md", "markdown", allow_gaps=True, redact=redact, zone=UTC)
    assert (tmp_path / "x.md").read_text() == result.stdout


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_is_written(format: str, log: Path) -> None:
    """With gaps allowed, what is left of the conversation is in the file."""
    with Session.open(log, mode="r") as session:
        written = b"".join(export_lines(session, format, allow_gaps=True, redact=False))
    assert [text in written for text in (b"text b", b"text d")] == [True, True]


@pytest.mark.parametrize("format", sorted(ALL_BRANCHES))
def test_an_export_leaves_nothing_out_in_silence(format: str, log: Path, tmp_path: Path) -> None:
    """A format of all branches is refused. With the option, one line on standard error counts what is missing."""
    target = tmp_path / "exported"
    refused = run("export", log, "--to", format, "-o", target)
    assert (refused.exit_code, target.exists()) == (5, False)
    assert "1 entry is missing: line 4; --allow-gaps shows the rest" in refused.stderr
    assert f"`convtree repair {log} --rejoin --yes` keeps the place" in refused.stderr
    allowed = run("export", log, "--to", format, "-o", target, "--allow-gaps")
    assert (allowed.exit_code, allowed.stderr.count("incomplete: 1 entry is missing: line 4\n")) == (0, 1)


def test_a_path_beside_the_damage_is_exported(tmp_path: Path) -> None:
    """The damage lies on another branch, so nothing is missing, and nothing is reported."""
    path = damaged(tmp_path / "trip.jsonl", b"text e", b"test e")
    for options in ([], ["--allow-gaps"]):
        result = run("export", path, "--to", "codex", "--leaf", "g", *options)
        assert (result.exit_code, result.stderr.count("export_gaps")) == (0, 0)
    assert run("export", path, "--to", "codex", "--leaf", "f").exit_code == 5


@pytest.mark.parametrize(("format", "id", "parent"), TREES)
def test_no_link_leads_nowhere(format: str, id: str, parent: str, tmp_path: Path) -> None:
    """Where nothing is left of a parent, a lost entry with its id stands in front of its first child."""
    path = damaged(tmp_path / "log", b'"id":"c","parent_id"', b'"id":"c","parent_ib"')
    text = run("export", path, "--to", format, "--allow-gaps").stdout
    lines = json.loads(text)["entries"] if format == "json" else [json.loads(line) for line in text.splitlines()]
    ids = [line.get(id) for line in lines]
    assert [each for each in ids if each in tuple("abcdefg")] == list("abcdefg")
    assert {line[parent] for line in lines if line.get(parent)} <= set(ids)


def test_branches_with_a_gap_are_compared(log: Path) -> None:
    """The gap is one of the entries of its branch."""
    refused = run("diff", log, "a", "g")
    assert (refused.exit_code, "--allow-gaps" in refused.stderr) == (5, True)
    lines = run("diff", log, "a", "g", "--allow-gaps").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == [
        *("both", "A:", "B:", "assistant", "gap", "assistant", "user")
    ]
    with Session.open(log, mode="r") as session:
        mended = MendedSession(session)
        assert [entry.id for entry in mended.diff("a", None).b.entries] == ["b", "c", "d", "g"]
        assert mended.diff("e", "g").ancestor_id == "d"
        with pytest.raises(EntryNotFound, match="no entry 'z'"):
            mended.diff("z", None)


def test_damage_without_a_place(tmp_path: Path) -> None:
    """A line of which nothing is left has no place in the tree: the conversation begins below it."""
    path = damaged(tmp_path / "log", b'"id":"c","parent_id"', b'"id":"c","parent_ib"')
    with Session.open(path, mode="r") as session:
        entries = MendedSession(session).path("g")
        assert [getattr(entry, "words", entry.id) for entry in entries] == [
            "[messages are missing here: line 4; 2 entries before it stand in the log and cannot be joined to this "
            "branch]",
            *("d", "g"),
        ]
        assert MendedSession(session).path(None) == []


def test_a_damaged_first_key(tmp_path: Path) -> None:
    """The id behind it is confirmed by the entry below, so the conversation goes on above the gap, and is rejoined."""
    path = damaged(tmp_path / "log", b'{"id":"c"', b'{"ix":"c"')
    with Session.open(path, mode="r") as session:
        entries = MendedSession(session).path("g")
        assert [getattr(entry, "words", entry.id) for entry in entries] == ["a", "b", GAP, "d", "g"]
    assert [each.entry_id for each in repair(path, rejoin=True).rejoined] == ["c"]


def test_a_line_that_is_gone(tmp_path: Path) -> None:
    """Then the line below it is named."""
    lines = make(tmp_path / "log").splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join(lines[:3] + lines[4:]))
    assert (
        "[messages are missing here: above line 4; 2 entries before it"
        in run("inspect", tmp_path / "log", "--allow-gaps").stdout
    )


def test_a_log_that_was_repaired(log: Path) -> None:
    """The lost entry is the gap, by the line where it stands now."""
    repair(log, dry_run=False, rejoin=True)
    assert run("inspect", log, "--path").exit_code == 5
    assert f"●       {GAP}" in shown(run("inspect", log, "--path", "--allow-gaps"))


def test_a_leaf_that_is_not_certain(tmp_path: Path) -> None:
    """With gaps allowed, the last one that is known is shown."""
    data = make(tmp_path / "log")
    (tmp_path / "log").write_bytes(data + b"damage\n")
    refused = run("inspect", tmp_path / "log", "--path")
    assert (refused.exit_code, refused.stderr.count("--allow-gaps takes the last one that is known")) == (5, 1)
    allowed = run("inspect", tmp_path / "log", "--path", "--allow-gaps")
    assert (allowed.exit_code, shown(allowed)[-1][-6:]) == (1, "text g")


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "log --rejoin --yes` keeps the place": lambda data: data.replace(b"text c", b"test c"),
    "a repair cannot bring it back": lambda data: data.replace(
        b'{"id":"c","parent_id":"b"', b'{"id":"c","parent_x":""'
    ),
    "log --rejoin --yes` brings it back whole": lambda data: data.replace(data.splitlines()[3][-10:], b'0000000"}'),
}


@pytest.mark.parametrize("advice", WAYS)
def test_errors_say_what_helps(advice: str, tmp_path: Path) -> None:
    """Whether a repair does, depends on what is left of the line. To show the rest always works."""
    (tmp_path / "log").write_bytes(WAYS[advice](make(tmp_path / "log")))
    for command in (["inspect", "--path"], ["inspect", "--context"], ["export", "--to", "markdown"], ["diff"]):
        ids = ["a"] if command == ["diff"] else []
        result = run(command[0], tmp_path / "log", *ids, *command[1:])
        assert (result.exit_code, advice in result.stderr, "--allow-gaps" in result.stderr) == (5, True, True)
        assert "run verify" not in result.stderr


def test_a_repair_names_what_keeps_the_place(log: Path) -> None:
    """The preview names the option, and after a repair without it, the command for the log as it was does."""
    assert "with --rejoin, the repair keeps the places of them" in run("repair", log).stdout
    assert "--rejoin" not in run("repair", log, "--rejoin").stdout
    command = f"`convtree repair {log}.original --rejoin --yes` keeps the place"
    assert command in run("repair", log, "--yes").stdout
    refused = run("export", log, "--to", "markdown")
    assert (refused.exit_code, command in refused.stderr) == (5, True)
    assert json.loads(run("repair", f"{log}.original", "--json").stdout)["rejoinable"] == 1
    assert run("repair", f"{log}.original", "--rejoin", "--yes").exit_code == 1  # the lost entry remains


def test_errors_of_a_repaired_log_name_no_call_of_python(log: Path) -> None:
    """The advice is for a terminal: the option, and a copy of the log."""
    repair(log, dry_run=False, rejoin=True)
    refused = run("export", log, "--to", "markdown")
    assert (refused.exit_code, "extend(" in refused.stderr, "--allow-gaps shows" in refused.stderr) == (5, False, True)


def test_lost_entries_come_back_from_a_copy(log: Path, tmp_path: Path) -> None:
    """By their ids, into their places. The preview counts them, and the log is whole again."""
    make(tmp_path / "copy.jsonl")
    preview = run("repair", log, "--from", tmp_path / "copy.jsonl")
    assert "1 entry can be put back from" in preview.stderr
    done = run("repair", log, "--from", tmp_path / "copy.jsonl", "--yes")
    assert (done.exit_code, "1 entry put back from" in done.stderr, run("verify", log).exit_code) == (0, True, 0)
    with Session.open(log, mode="r") as session:
        assert [entry.id for entry in session.path("f")] == list("abcdef")
        assert [entry.id for entry in session.path()] == ["a", "b", "c", "d", "g"]


def test_another_entry_does_not_come_back(log: Path, tmp_path: Path) -> None:
    """The copy has other content under the id of the lost entry: its checksum says so."""
    with Session.open(tmp_path / "other.jsonl", id="trip") as session:
        for id in "abc":
            session.append({"role": "user", "content": "another text"}, id=id)
    refused = run("repair", log, "--from", tmp_path / "other.jsonl", "--yes")
    assert refused.exit_code == 4


def test_sessions_of_a_store(tmp_path: Path) -> None:
    """`show` and `export` read a damaged session of a folder as well."""
    with open_store(str(tmp_path / "store")) as store, store.create(id="trip") as session:
        for id in "abc":
            session.append({"role": "user", "content": f"text {id}"}, id=id)
    path = tmp_path / "store" / "trip.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text b", b"test b"))
    place = ["-s", str(tmp_path / "store"), "trip"]
    words = "[1 message is missing here: line 3]"
    assert run("show", *place, "--path").exit_code == 5
    assert words in run("show", *place, "--path", "--allow-gaps").stdout
    assert words in run("export", *place, "--to", "markdown", "--allow-gaps").stdout


def test_a_sound_session_has_no_gaps(tmp_path: Path) -> None:
    """The option changes nothing."""
    make(tmp_path / "log")
    assert run("inspect", tmp_path / "log", "--allow-gaps").stdout == run("inspect", tmp_path / "log").stdout
    with Session.open(tmp_path / "log", mode="r") as session:
        assert MendedSession(session).session is session


def test_words_for_gaps() -> None:
    """They name the lines as far as they are known."""
    assert words_at([]) == "[1 message is missing here]"
    assert Gaps({}, {}, []).above("x") == "[messages are missing here]"
    assert Gaps({}, {}, [2, 3, 4, 5, 1000]).above("x") == "[messages are missing here: lines 2, 3, 4 and 2 more]"


def test_advice_after_a_repair(log: Path) -> None:
    """A repair that dropped the place names the log as it was before. A lost entry comes back from a copy only."""
    assert run("repair", "--yes", log).exit_code == 1
    refused = run("inspect", "--path", log)
    command = f"`convtree repair {log}.original --rejoin --yes` keeps the place"
    assert f"the log as it was before a repair has more: {command}" in refused.stderr
    assert run("repair", "--rejoin", "--yes", f"{log}.original").exit_code == 1
    refused = run("inspect", "--path", f"{log}.original", "--leaf", "f")
    assert f"only a copy of the log can: `convtree repair {log}.original --from COPY --yes`" in refused.stderr
    assert "extend()" not in refused.stderr


def test_advice_for_a_lost_entry_of_a_database(tmp_path: Path) -> None:
    """No command puts it back there, so none is named."""
    url, path = f"sqlite:///{tmp_path}/s.db", tmp_path / "s.db"
    with open_store(url) as store, store.create(id="trip") as session:
        session.append_many([{"role": "user", "content": text} for text in ("one", "two", "three")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE ct_lines SET line = REPLACE(line, 'two', 'owt') WHERE line LIKE '%\"two\"%'")
    originals = tmp_path / "originals"
    assert run("repair", "-s", url, "trip", "--rejoin", "--yes", "--originals", originals).exit_code == 1
    refused = run("export", "-s", url, "trip", "--to", "markdown")
    assert refused.stderr.endswith("; a repair cannot bring it back, only a copy of the log can\n")
