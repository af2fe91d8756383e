"""`convtree inspect`: its output, its exit codes, and that it changes nothing."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    Header,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    Session,
)
from convtree._cli.app import app
from convtree._engine import codec
from convtree._engine.write_batch import reseal
from convtree._model.entries import Entry

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u200f\u061c\u200b\ufeff\u2028\u2029\U000e0041\x7f\r\nx\t"
NOON = 1_769_860_800 * 10**9  # 2026-01-31T12:00:00Z
PLAIN = {"COLUMNS": "80", "NO_COLOR": "", "FORCE_COLOR": None, "TERM": "xterm", "TZ": "UTC"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in PLAIN} | {
    "COLUMNS": "80",
    "TERM": "xterm",
    "TZ": "UTC",
    "PYTHONIOENCODING": "utf-8",
}


def user(text: str, id: str = "", parent_id: str | None = None) -> MessageEntry:
    """Makes a message of the user."""
    return MessageEntry(id=id, parent_id=parent_id, message={"role": "user", "content": text})


def inspect(*arguments: object) -> Result:
    """Runs the command in this process, 80 columns wide and without colour."""
    runner = CliRunner(env=PLAIN)
    return runner.invoke(app, ["inspect", *map(str, arguments)])


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the program in a process of its own."""
    command = [sys.executable, "-m", "convtree", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=ENVIRONMENT | environment, check=False)


def shown_json(*arguments: object) -> dict[str, Any]:
    """Returns the document that `--json` prints."""
    document: dict[str, Any] = json.loads(inspect(*arguments, "--json").stdout)
    return document


def stored(path: Path, *entries: Entry, **header: Any) -> Session:
    """Makes a log of these entries, quickly."""
    session = Session.open(path, durability="process", **{"id": "trip", **header})
    session.extend(entries)
    return session


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with two answers, an abandoned branch, a compaction and a label."""
    path = tmp_path / "trip.jsonl"
    with Session.open(path, durability="process", id="trip", name="A trip", clock=lambda: NOON) as session:
        session.append({"role": "user", "content": "Where to?"}, id="q")
        session.append({"role": "assistant", "content": "Oslo?"}, id="a1")
        session.append({"role": "assistant", "content": "Rome?"}, id="a2", parent_id="q", provider="x", model="m-1")
        for number in range(8):
            session.append({"role": "user", "content": f"step {number}"}, id=f"s{number}")
        session.append(CompactionEntry(summary="Rome it is.", first_kept_entry_id="s7"), id="c")
        session.append({"role": "assistant", "content": "Book?"}, id="b1")
        session.append({"role": "user", "content": "No"}, id="b2")
        session.append(BranchSummaryEntry(from_id="b2", summary="Not booked."), parent_id="c", id="b3")
        session.label("s3", "here")
    return path


# --- drawings; those by turn are in test_cli_turns ---


def test_every_entry_on_a_line(log: Path) -> None:
    """With -v, every entry has a line, with its size and its whole id."""
    result = inspect(log, "-v")
    assert result.output.splitlines() == [
        "A trip",
        "session trip",
        "15 entries, 13 messages, 3 branches, 1 compaction, 2.8K, x m-1, leaf b3",
        "",
        "● 12:00 user       Where to?                                            169B  q",
        "├─○ 12:00 assistant  Oslo?                                              170B  a1",
        "● 12:00 assistant  Rome?                                                199B  a2",
        "● 12:00 user       step 0                                               167B  s0",
        "● 12:00 user       step 1                                               167B  s1",
        "● 12:00 user       step 2                                               167B  s2",
        '● 12:00 user       ("here") step 3                                      167B  s3',
        "● 12:00 user       step 4                                               167B  s4",
        "● 12:00 user       step 5                                               167B  s5",
        "● 12:00 user       step 6                                               167B  s6",
        "● 12:00 user       step 7                                               167B  s7",
        "● 12:00 compaction Rome it is.                                          175B  c",
        "├─○ 12:00 assistant  Book?                                              170B  b1",
        "│ ○ 12:00 user       No                                                 163B  b2",
        "◉ 12:00 summary    (leaf) Not booked.                                   167B  b3",
    ]
    assert result.exit_code == 0


def test_a_path_entry_by_entry(log: Path) -> None:
    """With --path -v, only the entries from the root to the leaf are listed."""
    lines = inspect(log, "--path", "-v").output.splitlines()[4:]
    assert [line.split()[-1] for line in lines] == ["q", "a2", *(f"s{number}" for number in range(8)), "c", "b3"]


def test_full(tmp_path: Path) -> None:
    """With --full, every entry is shown with its whole text as Markdown, below its time, id and size."""
    call = {"type": "tool_use", "id": "c1", "name": "search", "input": {"for": "hotels"}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "one\ntwo"}
    with Session.open(tmp_path / "log", clock=lambda: NOON) as session:
        session.append({"role": "user", "content": [image, {"type": "text", "text": "one\n\ttwo"}]}, id="a")
        session.append({"role": "assistant", "content": [call]}, id="b", usage={"input_tokens": 7, "cost": 0.5})
        session.append({"role": "user", "content": [result]}, id="c")
        session.append(ExtensionDataEntry(ext_type="todo", data=1), id="d")
        session.append({"role": "assistant", "content": "Three."}, id="e", parent_id="a")
    lines = inspect(tmp_path / "log", "--full", "--utc").output.splitlines()[3:]
    assert [line for line in lines if "20" not in line] == [
        "● ## User",
        "│",
        "│ *An image (image/png)*",
        "│",
        "│ one",
        "│ \ttwo",
        "│",
        "├─○ ## Assistant",
        "│ │",
        "│ │ Calls **search**:",
        "│ │",
        "│ │ ```json",
        "│ │ {",
        '│ │   "for": "hotels"',
        "│ │ }",
        "│ │ ```",
        "│ │",
        "│ ○ ## User",
        "│ │",
        "│ │ Result:",
        "│ │",
        "│ │ ```",
        "│ │ one",
        "│ │ two",
        "│ │ ```",
        "│ │",
        "│ ○ ## Data",
        "│",
        "│   todo",
        "│   1",
        "│",
        "◉ ## Assistant (leaf)",
        "",
        "  Three.",
        "",
    ]
    assert "│ │ 2026-01-31 12:00:00 UTC, b, " in "\n".join(lines)
    assert any(line.endswith("B, 7 tokens, cost 0.5000") for line in lines)


def test_context(log: Path) -> None:
    """With --context, the messages for the model are listed, each with the id of its entry."""
    assert inspect(log, "--context").output.splitlines() == [
        "3 messages, x, m-1",
        "",
        "user       (compaction) This conversation began earlier. Summ…  c",
        "user       step 7                                               s7",
        "user       (summary) Before this point another way was tried…   b3",
    ]


def test_open_calls_are_listed(tmp_path: Path) -> None:
    """A tool call without a result is named below the context, and in the JSON document."""
    call = {"type": "tool_use", "id": "call_1", "name": "search", "input": {}}
    stored(tmp_path / "log", MessageEntry(id="a", message={"role": "assistant", "content": [call]}))
    assert inspect(tmp_path / "log", "--context").output.splitlines()[2:] == [
        f"assistant  {'calls search':51}  a",
        "open call: search (call_1) in entry a",
    ]
    document = shown_json(tmp_path / "log", "--context")
    assert document["open_calls"] == [{"id": "call_1", "name": "search", "entry_id": "a"}]


def test_unknown_parts_are_listed(tmp_path: Path) -> None:
    """The entry is marked, and below a context the part is named, in the JSON document, too."""
    stored(tmp_path / "log", MessageEntry(id="a", message={"role": "user", "content": [{"type": "hologram"}]}))
    why = "a block of the type 'hologram'"
    assert "(leaf, not understood)" in inspect(tmp_path / "log", "-v").output
    assert inspect(tmp_path / "log", "--context").output.splitlines()[-1] == f"unknown: {why} in entry a"
    found = {"entry_id": "a", "what": "unknown", "why": why, "place": ["content", 0]}
    assert shown_json(tmp_path / "log", "--context")["unknown"] == [found]


def test_every_kind_of_entry(tmp_path: Path) -> None:
    """Model changes, extension data, unknown types, tool results and hidden messages are shown as such."""
    answer = [{"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "3 found"}]}]
    entries: list[Entry] = [
        ModelChangeEntry(id="m", provider="x", model="m-1", settings={"thinking": "high"}),
        ExtensionDataEntry(id="d", parent_id="m", ext_type="todo.list", data={"open": 2}),
        OpaqueEntry(id="o", parent_id="d", unknown_type="other.kind", fields={"n": 1}),
        MessageEntry(id="t", parent_id="o", message={"role": "user", "content": answer}),
        MessageEntry(id="h", parent_id="t", message={"role": "user", "content": "psst"}, visible_to="user"),
    ]
    stored(tmp_path / "log", *entries)
    shown = [line[2:66].rstrip() for line in inspect(tmp_path / "log", "-v").output.splitlines()[3:]]
    assert [line.strip() for line in shown] == [
        'model      x m-1 {"thinking":"high"}',
        'data       todo.list {"open":2}',
        'other.kind (unknown type) {"n":1}',
        "user       answers call_1: 3 found",
        "user       (leaf, hidden from the model) psst",
    ]


def test_images_are_named(tmp_path: Path) -> None:
    """Beside a text, too."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    message = {"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}
    stored(tmp_path / "log", MessageEntry(id="a", message=message))
    for options in ([], ["-v"], ["--context"], ["--dot"]):
        assert "[image] What is this?" in inspect(tmp_path / "log", *options).output


def test_marks_that_hide_or_pin_are_shown(tmp_path: Path) -> None:
    """The remarks say what is so now. As JSON, an entry has its own fields and what marks changed."""
    path = tmp_path / "log"
    with Session.open(path) as session:
        first = session.append({"role": "user", "content": "a"}, visible_to="nobody")
        note = session.append(BranchSummaryEntry(from_id=None, summary="S"))
        last = session.append({"role": "user", "content": "b"}, pinned=True)
        session.show(first)
        session.pin(first)
        session.hide(note, visible_to="nobody")
        session.pin(last, False)
    shown = [line[8:53].rstrip() for line in inspect(path, "-v").output.splitlines()[3:]]
    assert shown == ["user       (pinned) a", "summary    (hidden) S", "user       (leaf) b"]
    entries = shown_json(path, "--full")["entries"]
    assert [each.get("visibility") for each in entries] == [
        {"visible_to": "all", "pinned": True},
        {"visible_to": "nobody"},
        {"pinned": False},
    ]
    assert [entries[0]["visible_to"], entries[2]["pinned"]] == ["nobody", True]


def test_ascii_terminal(log: Path) -> None:
    """If the terminal shows only ASCII, the drawing uses ASCII, and other characters are escaped."""
    Session.open(log).append(user("né"), parent_id="s7")
    result = run("inspect", log, "-v", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    lines = result.stdout.decode("ascii").splitlines()
    assert lines[6].startswith("|-o 12:00 assistant  Oslo?")
    assert lines[-1].startswith("@ ")
    assert r"(leaf) n\xe9" in lines[-1]


# --- documents and graphs ---


def test_json(log: Path) -> None:
    """With --json, one versioned document has the facts of the drawing."""
    document = shown_json(log)
    assert {name: document[name] for name in ("schema", "schema_version", "id", "name", "leaf_id", "model")} == {
        "schema": "convtree.inspect",
        "schema_version": 1,
        "id": "trip",
        "name": "A trip",
        "leaf_id": "b3",
        "model": "m-1",
    }
    assert document["counts"] == {"entries": 15, "messages": 13, "branches": 3, "compactions": 1}
    assert document["labels"] == {"s3": "here"}
    assert [(each["parent"], each["entries"], each["first_id"], each["last_id"]) for each in document["runs"]] == [
        (None, 1, "q", "q"),
        (0, 1, "a1", "a1"),
        (0, 10, "a2", "c"),
        (2, 2, "b1", "b2"),
        (2, 1, "b3", "b3"),
    ]
    assert [each["is_active"] for each in document["runs"]] == [True, False, True, False, True]


def test_json_of_context_has_the_messages_verbatim(tmp_path: Path) -> None:
    """With --context --json, the messages are exactly those that were stored."""
    message = {"role": "user", "content": HOSTILE, "extra": [1.5, None, 2**63, {"é": "\u2028"}]}
    stored(tmp_path / "log", MessageEntry(id="a", message=message, provider="x", model="m"))
    document = shown_json(tmp_path / "log", "--context")
    assert document["messages"] == [message]
    names = ("entry_ids", "provider", "model", "settings", "open_calls", "gaps")
    assert [document[name] for name in names] == [["a"], "x", "m", {}, [], []]


def test_json_of_path_and_all(log: Path) -> None:
    """The document has the entries of the path with --path, and all entries with --full, with every field."""
    assert [each["id"] for each in shown_json(log, "--path", "--leaf", "a2")["entries"]] == ["q", "a2"]
    entries = shown_json(log, "--full")["entries"]
    assert len(entries) == 15
    assert {name: entries[11][name] for name in ("id", "parent_id", "type", "summary", "first_kept_entry_id")} == {
        "id": "c",
        "parent_id": "s7",
        "type": "compaction",
        "summary": "Rome it is.",
        "first_kept_entry_id": "s7",
    }


def test_json_of_whole_numbers_of_any_size(tmp_path: Path) -> None:
    """An integer beyond 64 bits, written by another program, is printed unchanged."""
    (tmp_path / "log").write_bytes(
        b'{"type":"session","format":"convtree","version":1,"id":"trip","timestamp":null}\n'
        b'{"id":"a","parent_id":null,"type":"message","timestamp":null,"message":{"n":%d}}\n' % 10**30
    )
    assert shown_json(tmp_path / "log", "--context")["messages"] == [{"n": 10**30}]


def test_dot(log: Path) -> None:
    """With --dot, the tree of runs is printed in Graphviz' language."""
    assert inspect(log, "--dot").output.splitlines() == [
        "digraph tree {",
        "    node [shape=box];",
        '    "run0" [label="user: Where to?", style=bold];',
        '    "run1" [label="assistant: Oslo?"];',
        '    "run2" [label="assistant: Rome?\\n… 8 more, 1.3K\\ncompaction: Rome it is.", style=bold];',
        '    "run3" [label="assistant: Book?\\nuser: No"];',
        '    "run4" [label="summary: Not booked. (leaf)", style=bold];',
        '    "run0" -> "run1";',
        '    "run0" -> "run2";',
        '    "run2" -> "run3";',
        '    "run2" -> "run4";',
        "}",
    ]


def test_mermaid(log: Path) -> None:
    """With --mermaid, the tree of runs is printed in Mermaid's language."""
    assert inspect(log, "--mermaid").output.splitlines() == [
        "graph TD",
        "classDef active stroke-width:3px",
        'run0["user#58; Where to#63;"]:::active',
        'run1["assistant#58; Oslo#63;"]',
        'run2["assistant#58; Rome#63;<br>… 8 more, 1.3K<br>compaction#58; Rome it is."]:::active',
        'run3["assistant#58; Book#63;<br>user#58; No"]',
        'run4["summary#58; Not booked. #40;leaf#41;"]:::active',
        "run0-->run1",
        "run0-->run2",
        "run2-->run3",
        "run2-->run4",
    ]


def test_graphs_escape_markup(tmp_path: Path) -> None:
    """Text with the syntax of Graphviz, Mermaid or HTML stays text."""
    stored(tmp_path / "log", user('"];evil -> "\\"]<img src=x onerror=1>&amp;#35;`}', "a"))
    dot = inspect(tmp_path / "log", "--dot").output.splitlines()
    assert dot[2] == r"""    "run0" [label="user: \"];evil -> \"\\\"]<img src=x onerror… (leaf)", style=bold];"""
    mermaid = inspect(tmp_path / "log", "--mermaid").output.splitlines()
    assert re.fullmatch(r'run0\["([\w .,…]|#\d+;)*"\]:::active', mermaid[2])
    stored(tmp_path / "amp", user("&quot;", "a"))
    assert "&amp;quot;" in inspect(tmp_path / "amp", "--dot").output


# --- hostile text ---


def _hostile_log(path: Path) -> None:
    session = Session.open(path, durability="process", name=HOSTILE, owner=HOSTILE, cwd=HOSTILE)
    call = {"type": "tool_use", "id": HOSTILE, "name": HOSTILE, "input": {HOSTILE: HOSTILE}}
    answer = {"type": "tool_result", "tool_use_id": HOSTILE, "content": HOSTILE}
    session.append({"role": HOSTILE, "content": HOSTILE}, provider=HOSTILE, model=HOSTILE, usage={HOSTILE: 1}, id="a")
    session.append(MessageEntry(message={"role": "assistant", "content": [call]}, shape=HOSTILE))
    session.append({"role": "user", "content": [answer]})
    session.append({"role": "assistant", "content": [call | {"id": "open"}]})
    session.append(ModelChangeEntry(provider=HOSTILE, model=HOSTILE, settings={HOSTILE: HOSTILE}))
    session.append(ExtensionDataEntry(ext_type=HOSTILE, data=HOSTILE))
    session.append(CompactionEntry(summary=HOSTILE, first_kept_entry_id="a", read_files=[HOSTILE], details=HOSTILE))
    session.append(BranchSummaryEntry(from_id=None, summary=HOSTILE, details={HOSTILE: HOSTILE}), parent_id="a")
    session.extend([OpaqueEntry(id="o", parent_id="a", unknown_type="x.y", fields={HOSTILE: HOSTILE})])
    session.append({"role": "user", "content": HOSTILE})
    session.label("a", HOSTILE)
    session.update_metadata(note=HOSTILE)


@pytest.mark.parametrize("part", [[], ["--context"], ["--path"]])
@pytest.mark.parametrize("form", [[], ["--full"], ["--json"], ["--json", "--full"], ["--dot"], ["--mermaid"]])
def test_no_harmful_character_is_printed(tmp_path: Path, part: list[str], form: list[str]) -> None:
    """No control, separator or bidi control reaches the output, from any field of a log."""
    path = tmp_path / f"x{HOSTILE.replace('/', '')}\udcff"
    _hostile_log(path)
    for leaf in ([], ["--leaf", HOSTILE]):
        printed = inspect(path, *part, *form, *leaf).output
        categories = {unicodedata.category(each) for each in set(printed) - {"\n", "\t"}}
        assert categories.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
        assert set(printed).isdisjoint("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
        assert printed


def test_escape_sequences_are_made_visible(tmp_path: Path) -> None:
    """An escape sequence in a message is printed as visible text."""
    stored(tmp_path / "log", user("\x1b[31mred\u202e", "a"))
    assert r"\x1b[31mred<U+202E>" in inspect(tmp_path / "log").output


# --- exit codes ---


def test_no_such_log_or_leaf(log: Path, tmp_path: Path) -> None:
    """A missing file or entry gives exit code 3 and one line on stderr."""
    for arguments in (
        [tmp_path / "no"],
        [tmp_path / "no" / "no"],
        [log, "--leaf", "no"],
        [log, "--leaf", "no", "--json"],
    ):
        result = inspect(*arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3, "", 1)
        assert result.stderr.startswith("convtree: ")


def test_not_a_log(tmp_path: Path) -> None:
    """A text file, a pipe and a link give exit code 5, a folder without sessions 3, and one line on stderr."""
    (tmp_path / "text").write_text("hello\nworld\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "text")
    for name in ("text", "folder", "pipe", "link"):
        result = inspect(tmp_path / name)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (3 if name == "folder" else 5, "", 1)


def test_no_permission(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the operating system gives exit code 5 and its own text."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(log))

    monkeypatch.setattr(Session, "open", refuse)
    result = inspect(log)
    assert (result.exit_code, result.stderr) == (5, f"convtree: {log}: Permission denied\n")


def test_wrong_usage(log: Path) -> None:
    """Options that exclude each other, and unknown options, give exit code 2."""
    exclusive = [("--dot", "--path"), ("--mermaid", "--full"), ("--json", "--dot"), ("--context", "--path")]
    exclusive += [("--full", "-v"), ("--context", "-v")]
    for arguments in ([], [log, f"--{HOSTILE}"], *([log, *pair] for pair in exclusive)):
        result = inspect(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "\x1b" not in result.stderr


def test_torn_tail_is_found(log: Path) -> None:
    """Bytes after the last newline are a finding. The tree is drawn, and the exit code is 1."""
    whole = inspect(log).output
    size = log.stat().st_size
    with log.open("ab") as file:
        file.write(b'{"id":"torn')
    result = inspect(log)
    assert result.exit_code == 1
    assert result.output.splitlines()[2:] == [
        *whole.splitlines()[2:],
        "",
        f"warning torn_tail: line 18, offset {size}, 11 bytes: "
        "unfinished write at the end; the next writer moves it to LOG.torn",
    ]
    assert shown_json(log)["findings"][0]["code"] == "torn_tail"


def test_info_finding_is_not_a_problem(tmp_path: Path) -> None:
    """A log without checksums has a finding of severity info. The exit code is 0."""
    (tmp_path / "log").write_bytes(b'{"type":"session","format":"convtree","version":1,"id":"trip","timestamp":null}\n')
    result = inspect(tmp_path / "log")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].startswith("info unsealed: line 1, offset 0, 79 bytes: ")


def test_uncertain_leaf(log: Path) -> None:
    """Damage at the end makes the leaf uncertain: the tree is drawn, a context needs --leaf."""
    data = log.read_bytes()
    log.write_bytes(data + data.splitlines(keepends=True)[1].replace(b"Where", b"Whose").replace(b'"q"', b'"z"'))
    result = inspect(log)
    assert result.exit_code == 1
    assert "leaf uncertain" in result.output.splitlines()[2]
    assert "1/2 Oslo?" in result.output
    assert shown_json(log)["leaf_is_certain"] is False
    for part in ("--context", "--path"):
        refused = inspect(log, part)
        assert (refused.exit_code, refused.stdout) == (5, "")
        assert "choose one with --leaf ID; --allow-gaps takes the last one" in refused.stderr
        chosen = inspect(log, part, "--leaf", "b2")
        assert (chosen.exit_code, "No" in chosen.stdout) == (1, True)


def test_orphan(tmp_path: Path) -> None:
    """An entry without its parent is drawn as an orphan. Its path and context are refused."""
    stored(tmp_path / "log", user("one", "a"), user("two", "b"), user("three", "c", "b"))
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join([*lines[:2], *lines[3:]]))
    result = inspect(tmp_path / "log")
    assert result.exit_code == 1
    assert "[messages are missing here: above line 3]" in result.output
    assert "error orphan: line 3" in result.output
    for part in ("--context", "--path"):
        assert (inspect(tmp_path / "log", part).exit_code, inspect(tmp_path / "log", part).stdout) == (5, "")


def test_entry_that_does_not_fit_its_type(tmp_path: Path) -> None:
    """An entry whose fields cannot be decoded is drawn as unreadable. The exit code is 1."""
    header = codec.encode_header(Header(id="trip"))
    bodies = [
        b'{"id":"a","parent_id":null,"type":"message","timestamp":null,"message":{"role":"user"}',
        b'{"id":"b","parent_id":"a","type":"message","timestamp":null,"message":[]',
    ]
    (tmp_path / "log").write_bytes(b"".join(line + b"\n" for line in reseal(header, bodies)))
    result = inspect(tmp_path / "log")
    assert result.exit_code == 1
    assert result.output.splitlines()[4:] == [
        "◉ (leaf) [1 message is missing here: the line at offset 253 is damaged]",
        "",
        "1 prompt",
        "",
        "unreadable: 1 entry",
    ]
    assert inspect(tmp_path / "log", "--context").exit_code == 5
    assert shown_json(tmp_path / "log", "--path")["entries"][1] is None


def test_many_findings_are_counted(log: Path) -> None:
    """The first findings are listed and the rest are counted. --full lists all."""
    with log.open("ab") as file:
        file.write(b"damage\n" * 50)
    assert inspect(log).output.splitlines()[-1] == "… 30 more findings; show them with --full"
    assert inspect(log, "--full").output.count("error bad_seal") == 50


def test_foreign_session(tmp_path: Path) -> None:
    """A session of another tool is shown as it would be imported, with a note. Its file is unchanged."""
    (tmp_path / "pi.jsonl").write_text(
        '{"type":"session","version":3,"id":"f00d","timestamp":"2026-01-01T00:00:00.000Z","cwd":"/x"}\n'
        '{"type":"message","id":"aaaa1111","parentId":null,"timestamp":"2026-01-01T00:00:01.000Z",'
        '"message":{"role":"user","content":"Hello","timestamp":1}}\n'
    )
    before = (tmp_path / "pi.jsonl").read_bytes()
    result = inspect(tmp_path / "pi.jsonl")
    assert result.exit_code == 0
    assert result.output.splitlines()[2] == "pi session, shown as convtree would import it"
    assert "Hello" in result.output
    assert (sorted(tmp_path.iterdir()), before) == ([tmp_path / "pi.jsonl"], (tmp_path / "pi.jsonl").read_bytes())


# --- the program ---


def test_version_and_help() -> None:
    """--version and -h succeed."""
    runner = CliRunner()
    assert re.fullmatch(r"convtree, version \d+\.\d+\.\d+\n", runner.invoke(app, ["--version"]).output)
    for arguments in (["-h"], ["inspect", "-h"], ["import", "-h"]):
        assert runner.invoke(app, arguments).exit_code == 0


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """If the reader closes the pipe, the program ends without an error message."""
    stored(tmp_path / "small", user("one", "a"))
    stored(tmp_path / "large", *(user("x" * 500, f"e{number}") for number in range(3000)))
    for name in ("small", "large"):
        command = [sys.executable, "-m", "convtree", "inspect", "--full", str(tmp_path / name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 141


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends the program with 130 and without a traceback."""
    stored(tmp_path / "large", *(user("x" * 500, f"e{number}") for number in range(3000)))
    handler = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # also in the background
    program = f"{handler}from convtree._cli import main; main()"
    command = [sys.executable, "-c", program, "inspect", "--full", str(tmp_path / "large")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)  # the program is writing, and blocks when the pipe is full
        process.send_signal(signal.SIGINT)
        process.stdout.read()  # a signal just before a write takes effect after it
        assert process.wait() == 130
        assert process.stderr.read() == b""


def _on_terminal(*arguments: object, **environment: str) -> str:
    """Runs the program on a pseudo terminal and returns its output."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "convtree", *map(str, arguments)]
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=ENVIRONMENT | environment) as process:
        os.close(follower)
        written = b""
        try:
            while data := os.read(leader, 65536):
                written += data
        except OSError:  # the other end is closed
            pass
        assert process.wait() == 0
    os.close(leader)
    return written.decode()


def test_colour_only_on_a_terminal(tmp_path: Path) -> None:
    """A terminal gets colours and no other control sequence. NO_COLOR removes them, FORCE_COLOR keeps them."""
    _hostile_log(tmp_path / "log")
    plain = run("inspect", tmp_path / "log").stdout.decode()
    shown = _on_terminal("inspect", tmp_path / "log").replace("\r\n", "\n")
    assert "\x1b" not in plain
    assert "\x1b[0m" in shown
    assert re.sub(r"\x1b\[\d+(;\d+)*m", "", shown) == plain
    assert _on_terminal("inspect", tmp_path / "log", NO_COLOR="1").replace("\r\n", "\n") == plain
    assert run("inspect", tmp_path / "log", FORCE_COLOR="1").stdout.decode() == shown


@pytest.mark.parametrize("missing", ["click", "rich", "wcwidth"])
def test_missing_extra_is_named(tmp_path: Path, missing: str) -> None:
    """Without the extra, the program prints in one line what to install."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    result = run("inspect", tmp_path / "no", PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout) == (2, b"")
    expected = "the command line needs click, platformdirs, rich and wcwidth: pip install 'convtree[cli]'\n"
    assert result.stderr.decode() == expected


def test_library_imports_no_drawing() -> None:
    """Importing convtree imports neither click nor rich nor anytree."""
    code = "import convtree, sys; print([name for name in ('click', 'rich', 'anytree') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stdout == b"[]\n"


# --- no changes, large logs ---


def _state(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in directory.iterdir()}


def test_nothing_is_changed(log: Path) -> None:
    """Inspecting changes no byte, no time and no file, even if the log has a torn tail."""
    with log.open("ab") as file:
        file.write(b'{"id":"torn')
    log.parent.chmod(0o500)
    before = _state(log.parent)
    for form in ([], ["--full"], ["--json"], ["--dot"], ["--mermaid"], ["--path"], ["--context"]):
        assert inspect(log, *form).exit_code == 1
    after = _state(log.parent)
    log.parent.chmod(0o700)
    assert after == before


def test_inspect_during_a_write(log: Path) -> None:
    """A log can be inspected while another process holds its lock."""
    code = (
        "import sys, convtree\n"
        f"session = convtree.Session.open({str(log)!r}, exclusive=True, durability='process')\n"
        "session.append({'role': 'user', 'content': 'live'}, id='live')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == b"locked\n"
        before = _state(log.parent)
        result = inspect(log)
        assert (result.exit_code, "(leaf) live" in result.output) == (0, True)
        assert _state(log.parent) == before
        writer.stdin.close()


def _grow(path: Path, parents: Iterable[int]) -> None:
    """Writes a log of entries with these parents, without the checks of a session."""
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(20_000)]
    bodies = (
        f'{{"id":"{ids[number]}","parent_id":{json.dumps(None if parent < 0 else ids[parent])},"type":"message",'
        f'"timestamp":null,"message":{{"role":"user","content":"{number}"}}'.encode()
        for number, parent in enumerate(parents)
    )
    path.write_bytes(b"".join(line + b"\n" for line in reseal(codec.encode_header(Header(id="trip")), bodies)))


def test_long_chain(tmp_path: Path) -> None:
    """Of a chain of 20,000 prompts, every one is shown."""
    _grow(tmp_path / "log", range(-1, 19_999))
    result = inspect(tmp_path / "log")
    assert result.exit_code == 0
    lines = result.output.splitlines()[3:]
    assert [line.split()[1] for line in lines[:-3]] == [str(number) for number in range(19_999)]
    assert [line.split()[:3] for line in lines[-3:]] == [["◉", "(leaf)", "19999"], [], ["20,000", "prompts"]]


def _comb(forks: int) -> Iterable[int]:
    """Yields the parents of a tree with a branching at every second entry."""
    return (number - 1 if number % 2 == 0 else number - 2 for number in range(2 * forks))


def test_deep_forks(tmp_path: Path) -> None:
    """A tree with 5,000 branchings along one path is drawn two levels deep."""
    _grow(tmp_path / "log", _comb(5_000))
    lines = inspect(tmp_path / "log").output.splitlines()[3:]
    assert len(lines) == 10_003
    assert [line[:2] for line in lines[:3]] == ["○ ", "", "● "]  # the first branching is before the first entry
    assert {line[:2] for line in lines[2:-2]} == {"● ", "├─", "◉ "}


def test_deep_forks_in_graphs(tmp_path: Path) -> None:
    """A tree that is deeper than Python's stack is exported completely."""
    _grow(tmp_path / "log", _comb(3_000))
    assert len(inspect(tmp_path / "log", "--dot").output.splitlines()) == 3 + 6_000 + 5_998
    assert len(inspect(tmp_path / "log", "--mermaid").output.splitlines()) == 2 + 6_000 + 5_998
    assert len(shown_json(tmp_path / "log")["runs"]) == 6_000


def test_error_messages(tmp_path: Path) -> None:
    """A store, an unknown session, a text file and an unknown leaf each get a message that helps."""
    with Session.open(tmp_path / "a.jsonl", id="a") as session:
        session.append(user("one"))
    assert inspect(tmp_path / "a.jsonl", "--session", "a").exit_code == 0
    other = inspect(tmp_path / "a.jsonl", "--session", "b")
    assert (other.exit_code, other.stderr) == (
        3,
        f"convtree: {tmp_path / 'a.jsonl'}: no session 'b' here; this log holds 'a'\n",
    )
    store = inspect(tmp_path)
    assert (store.exit_code, f"convtree ls --store {tmp_path}" in store.stderr) == (3, True)
    (tmp_path / "text").write_text("hello\n")
    text = inspect(tmp_path / "text")
    assert (text.exit_code, "neither a convtree log nor a session of a known format" in text.stderr) == (5, True)
    leaf = inspect(tmp_path / "a.jsonl", "--leaf", "zz")
    assert (leaf.exit_code, leaf.stderr.endswith("; `convtree inspect --full` has the ids\n")) == (
        3,
        True,
    )


def test_uuids_are_shown_whole(tmp_path: Path) -> None:
    """Entries and contexts show a whole UUID in 80 columns, so that it can be copied."""
    ids = [f"01234567-89ab-4cde-8f01-23456789abc{number}" for number in range(3)]
    with Session.open(tmp_path / "log") as session:
        session.append(user("x" * 100))
        for id in ids:
            session.append(user("y" * 100), id=id)
    for arguments in (["-v"], ["--path", "-v"], ["--context"]):
        lines = inspect(tmp_path / "log", *arguments).stdout.splitlines()
        assert [line[-36:] for line in lines[-3:]] == ids
        assert max(map(len, lines)) == 80


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "t1", "content": "Sunny."},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Sunny."}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "t1", "name": "w", "response": {"output": "Sunny."}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "t1", "name": "w", "response": {"error": "Sunny."}}}]},
        {"role": "tool", "parts": [{"type": "tool_result", "data": {"tool_call_id": "t1", "content": "Sunny."}}]},
    ],
)
def test_tool_results_are_shown(message: dict[str, Any], tmp_path: Path) -> None:
    """The text of a tool result is shown for every shape."""
    with Session.open(tmp_path / "log") as session:
        session.append(message)
    assert re.search(r"answers (t1|w): Sunny\.", inspect(tmp_path / "log", "-v").stdout)
