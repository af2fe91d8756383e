"""Out as session traces for Hugging Face: the form that its page demands, and without secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from exported import chat_session, exported, sessions
from foreign import SAMPLES, encoded
from helpers import log_of, node, to_json
from hypothesis import given

from convtree import BranchSummaryEntry, CompactionEntry, Session
from convtree._cli.app import app
from convtree._formats import WRITERS
from convtree.exchange import export_file, export_lines, read_foreign

Fields = dict[str, Any]
SECRET = "sk-ant-api03-" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zB1cD3eF5gH7j" * 2
#: what a message may hold, in the words of docs/hub/session-traces-format
MEMBERS = {"role", "content", "reasoningContent", "toolCalls", "toolCallId", "timestamp", "model"}


def check(lines: list[Fields]) -> None:
    """Fails unless the lines have the form of the page."""
    head, *rest = lines
    assert head["type"] == "session"
    assert all(isinstance(head[name], str) and head[name] for name in ("harness", "id"))
    calls = set()
    for line in rest:
        message = line["message"]
        assert (set(line), line["type"]) == ({"type", "message"}, "message")
        assert message.keys() <= MEMBERS
        assert message["role"] in ("user", "assistant", "system", "tool")
        assert isinstance(message["content"], str)
        for call in message.get("toolCalls", ()):
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            calls.add(call["id"])
        assert isinstance(message.get("timestamp", 0), int)
        assert ("toolCallId" in message) == (message["role"] == "tool")


def test_a_path_is_a_trace(tmp_path: Path) -> None:
    """The session, then each message; a picture and the other branch are named and left out."""
    session = chat_session(name="A trip")
    lines = exported(session, "hf-traces")
    check(lines)
    assert lines[0] == {"type": "session", "harness": "convtree", "id": session.id, "name": "A trip"}
    messages = [line["message"] for line in lines[1:]]
    assert all(message.pop("timestamp") > 1_700_000_000_000 for message in messages)
    arguments = '{"path":"/"}'
    assert messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Look"},
        {
            "role": "assistant",
            "content": "I look",
            "toolCalls": [
                {"id": "c1", "function": {"name": "ls", "arguments": arguments}},
                {"id": "c2", "function": {"name": "pwd", "arguments": arguments}},
            ],
            "model": "gpt-5",
        },
        {"role": "tool", "toolCallId": "c1", "content": "a.txt"},
        {"role": "tool", "toolCallId": "c2", "content": "/"},
        {"role": "assistant", "content": "Done", "model": "gpt-5"},
        {"role": "user", "content": "And this?"},
        {"role": "assistant", "content": "One pixel", "model": "gpt-5"},
    ]
    findings = export_file(session, tmp_path, "hf-traces")
    assert [path.name for path in tmp_path.iterdir()] == [f"{session.id}.jsonl"]
    assert [each.about for each in findings] == ["message of another branch", "picture"]


def test_summaries_thoughts_and_what_nobody_sees() -> None:
    """A summary is the system's; a thought stands apart; a hidden message is left out."""
    with Session.memory() as session:
        session.append({"role": "user", "content": "gone"}, visible_to="nobody")
        session.append({"role": "assistant", "content": "a", "reasoning_content": "hm"})
        session.append(BranchSummaryEntry(from_id=None, summary="B"))
        session.append(CompactionEntry(summary="S", first_kept_entry_id=None))
        lines = exported(session, "hf-traces")
    check(lines)
    messages = [line["message"] for line in lines[1:]]
    assert [message["role"] for message in messages] == ["assistant", "system", "system"]
    assert (messages[0]["content"], messages[0]["reasoningContent"]) == ("a", "hm")


def test_secrets_are_removed_unless_that_is_switched_off(tmp_path: Path) -> None:
    """In a program and on the command line, which counts them; --redact and --no-redact contradict each other."""
    with Session.open(tmp_path / "log", durability="process", name=f"with {SECRET}") as session:
        session.append({"role": "user", "content": f"my key is {SECRET}"})
        assert SECRET.encode() not in b"".join(export_lines(session, "hf-traces"))
        assert SECRET.encode() in b"".join(export_lines(session, "hf-traces", redact=False))
        assert SECRET.encode() in b"".join(export_lines(session, "json"))
        assert SECRET.encode() not in b"".join(export_lines(session, "json", redact=True))
    command = ["export", str(tmp_path / "log"), "--to", "hf-traces"]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, SECRET in done.stdout, "2 secrets redacted" in done.stderr) == (0, False, True)
    kept = CliRunner().invoke(app, [*command, "--no-redact"])
    assert (kept.exit_code, SECRET in kept.stdout, kept.stderr) == (0, True, "")
    both = CliRunner().invoke(app, [*command, "--redact", "--no-redact"])
    assert (both.exit_code, "contradicts" in both.output) == (2, True)


def test_every_leaf_as_a_file_on_the_command_line(tmp_path: Path) -> None:
    """The folder is made; without one, there is nowhere to write to."""
    with Session.open(tmp_path / "log", durability="process", id="s") as session:
        first = session.append({"role": "user", "content": "a"})
        session.append({"role": "user", "content": "b"})
        session.append({"role": "user", "content": "c"}, parent_id=first.id)
        names = {f"s.{leaf.id}.json" for leaf in session.leaves()}
    command = ["export", str(tmp_path / "log"), "--to", "atif"]
    assert CliRunner().invoke(app, [*command, "-o", f"{tmp_path}/new/"]).exit_code == 0
    assert [each.suffix for each in (tmp_path / "new").iterdir()] == [".json"]
    command.append("--all-leaves")
    assert CliRunner().invoke(app, [*command, "-o", str(tmp_path / "out")]).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    nowhere = CliRunner().invoke(app, command)
    assert (nowhere.exit_code, "--all-leaves needs a folder" in nowhere.output) == (2, True)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_import_can_go_out_as_a_trace(name: str, tmp_path: Path) -> None:
    """In the form of the page."""
    (tmp_path / "source").write_bytes(encoded(*SAMPLES[name]))
    check(exported(read_foreign(tmp_path / "source")[0], "hf-traces"))


@given(sessions())
def test_any_path_has_the_form(session: Session) -> None:
    """Whatever is in it."""
    check(exported(session, "hf-traces"))


def test_ids_and_escaped_arguments_hold_no_secret(tmp_path: Path) -> None:
    """Nor does the name of the file; with `redact=False`, all is as it was."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    function = {"name": "login", "arguments": f'{{"key": "{escaped}"}}'}
    with Session.memory(id=SECRET) as session:
        session.append({"role": "assistant", "tool_calls": [{"id": SECRET, "type": "function", "function": function}]})
        session.append({"role": "tool", "tool_call_id": SECRET, "content": "in"})
        export_file(session, tmp_path, "hf-traces")
        (path,) = tmp_path.iterdir()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        check(lines)
        assert SECRET not in path.name + json.dumps(lines)
        [call] = lines[1]["message"]["toolCalls"]
        assert call["id"] == lines[2]["message"]["toolCallId"]
        export_file(session, tmp_path, "hf-traces", redact=False)
        assert SECRET in (tmp_path / f"{SECRET}.jsonl").read_text()


@pytest.mark.parametrize("id", ["../outside", "a/b", "..", "a\0b", "é" * 200, ".hidden", "a\nb"])
@pytest.mark.parametrize("format", WRITERS)
def test_a_file_stays_in_its_folder(format: str, id: str, tmp_path: Path) -> None:
    """Whatever a log calls itself, its file is one of the folder, and has a name that can be typed."""
    header = {"type": "session", "format": "convtree", "version": 1, "id": id, "timestamp": None, "seal": "crc32"}
    (tmp_path / "log").write_bytes(log_of(node("q", None), header=to_json(header)))
    folder = tmp_path / "folder"
    folder.mkdir()
    with Session.open(tmp_path / "log", mode="r") as session:
        export_file(session, folder, format)
        if format == "atif":
            export_file(session, folder, format, all_leaves=True)
    names = [path.name for path in folder.iterdir()]
    assert len(names) == (2 if format == "atif" else 1)
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]+", name) for name in names)
    assert sorted(tmp_path.iterdir()) == [folder, tmp_path / "log"]
