"""What a finding says of a field that was dropped: its name, where it is first, and how often; once for a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from foreign import KIT, PI, TIME, claude_line, claude_said, encoded
from foreign_stores import write_database

from convtree import ExtensionDataEntry, MessageEntry, open_store
from convtree._cli.app import app
from convtree._formats.common import base
from convtree._formats.common.base import Findings, SourceSpan
from convtree.exchange import export_file, import_into, read_foreign

SAMPLES = {"pi": (PI, 2), "kit": (KIT, 1)}  # with the change of the model


@pytest.mark.parametrize("name", SAMPLES)
def test_a_field_is_named_once_with_its_count(name: str, tmp_path: Path) -> None:
    """Of all lines that have it; another field is another finding."""
    lines, first = SAMPLES[name]
    again = lines[first] | {"id": "00000fff"}
    coloured = [line | ({"colour": "red"} if line["type"] == "model_change" else {}) for line in [*lines, again]]
    coloured[first] |= {"taste": "sour"}
    (tmp_path / "any").write_bytes(encoded(*coloured))
    _, report = read_foreign(tmp_path / "any")
    found = [(each.code, each.line, each.about, each.times) for each in report.findings]
    at = first + 1
    assert found == [("source_field_dropped", at, "colour", 2), ("source_field_dropped", at, "taste", 1)]


@pytest.mark.parametrize("name", ["pi", "kit"])
def test_other_fields_of_a_message_are_kept(name: str, tmp_path: Path) -> None:
    """They are its `extra`, and an export has them where they were; those of a summary are in its details."""
    lines = {"pi": PI, "kit": KIT}[name]
    kinds = ("message", "custom_message", "branch_summary", "compaction")
    coloured = [line | ({"colour": "deep red"} if line["type"] in kinds else {}) for line in lines]
    (tmp_path / "any").write_bytes(encoded(*coloured))
    session, report = read_foreign(tmp_path / "any")
    assert [each.code for each in report.findings if each.about] == []
    messages = [each for _, each in session.records() if isinstance(each, MessageEntry)]
    assert [each.extra for each in messages] == [{"colour": "deep red"}] * 3
    export_file(session, tmp_path / "again", name)
    written = [json.loads(line) for line in (tmp_path / "again").read_bytes().splitlines()]
    assert [each.get("colour") for each in written if each["type"] in kinds] == ["deep red"] * 5


@pytest.mark.parametrize("name", ["pi", "kit"])
def test_a_field_of_the_header_is_named(name: str, tmp_path: Path) -> None:
    """It has no entry that could keep it."""
    header, *lines = {"pi": PI, "kit": KIT}[name]
    (tmp_path / "any").write_bytes(encoded(header | {"colour": "deep red"}, *lines))
    _, report = read_foreign(tmp_path / "any")
    assert ("source_field_dropped", "colour", 1) in [(each.code, each.about, each.line) for each in report.findings]


def test_the_name_and_the_count_are_shown(tmp_path: Path) -> None:
    """In the line of the finding, and as members of its object."""
    coloured = [line | ({"colour": "red"} if line["type"] == "thinking_level_change" else {}) for line in PI]
    coloured.append(coloured[5] | {"id": "00000fff"})
    (tmp_path / "any").write_bytes(encoded(*coloured))
    arguments = ["import", str(tmp_path / "any"), str(tmp_path / "log")]
    runner = CliRunner(env={"NO_COLOR": "1"})
    assert "unknown field dropped: colour (2 times)" in runner.invoke(app, arguments).output
    report = json.loads(runner.invoke(app, [*arguments, "--json"]).output)
    assert [(each["about"], each["times"]) for each in report["findings"]] == [("colour", 2)]


def test_a_type_of_record_that_is_unknown_is_a_warning(tmp_path: Path) -> None:
    """Once for a type, with its count; those that the tool is known to write are none. All are kept."""
    odd = [claude_line(kind, f"u{at}", None) for at, kind in enumerate(("odd", "mode", "odd", "other"))]
    untyped = {"uuid": "u9", "sessionId": "s", "timestamp": TIME}
    (tmp_path / "c.jsonl").write_bytes(
        encoded(claude_said("u0", None, "Hello"), *odd[1:], odd[0] | {"uuid": "u5"}, untyped)
    )
    session, report = read_foreign(tmp_path / "c.jsonl")
    found = [(each.code, each.severity, each.about, each.times) for each in report.findings]
    warning = ("source_not_understood", "warning")
    assert found == [
        (*warning, "a record of the type 'odd'", 2),
        (*warning, "a record of the type 'other'", 1),
        (*warning, "a record without a type", 1),
    ]
    kinds = [each.ext_type for _, each in session.records() if isinstance(each, ExtensionDataEntry)]
    assert sorted(kinds) == sorted(f"claude-code.{kind}" for kind in ("mode", "odd", "other", "odd", "unknown"))


def test_a_name_beyond_the_limit_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What says that there are too many stays as it is."""
    monkeypatch.setattr(base, "FINDING_LIMIT", 1)
    findings, span = Findings(), SourceSpan(1, 0, 0)
    for name in ("a", "b", "b", "c", "a"):
        findings.add_once(name, "source_field_dropped", span)
    found = [(each.code, each.about, each.times) for each in findings.listed]
    assert found == [("source_field_dropped", "a", 2), ("too_many", None, 1)]


def test_what_a_database_has_that_is_not_read_is_named(tmp_path: Path) -> None:
    """Tables and columns that have something, each once, outside of the sessions; the ones without are nothing."""
    schema = """
        create table session(id text primary key, directory text, title text, time_created integer);
        create table message(id text primary key, session_id text, time_created integer, colour text, data text);
        create table part(id text primary key, message_id text, session_id text, taste text, data text);
        create table project(id text primary key);
        create table empty(id text primary key);
    """
    said = {"id": "msg_1", "session_id": "ses_1", "time_created": 1, "colour": "red", "data": '{"role": "user"}'}
    part = {"id": "prt_1", "message_id": "msg_1", "session_id": "ses_1", "data": '{"type": "text", "text": "a"}'}
    session = {"id": "ses_1", "directory": "/w", "title": "a", "time_created": 1}
    rows: dict[str, list[dict[str, Any]]] = {"session": [session], "message": [said, said | {"id": "msg_2"}]}
    path = write_database(tmp_path / "o.db", schema, part=[part], project=[{"id": "global"}], **rows)
    reports = import_into(path, open_store("memory:"))
    found = [[(each.code, each.about, each.times) for each in report.findings] for report in reports]
    assert found == [[], [("source_field_dropped", "colour", 1), ("source_field_dropped", "project", 1)]]
