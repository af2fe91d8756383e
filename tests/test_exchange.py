"""Importing: what is written, what is left alone, and what a second time means."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from convtree import ExtensionDataEntry, LabelMark, MessageEntry, NotALog, Session, SessionExists
from convtree._formats.common.ids import derive_id
from convtree.exchange import ImportReport, export_file, import_file, read_foreign


def pi_session(count: int, session_id: str = "s1", **header: Any) -> bytes:
    """Writes a session of pi: messages in a chain, the first one labelled at the end."""
    start = {"type": "session", "version": 3, "id": session_id, "timestamp": "2025-01-01T00:00:00Z", "cwd": "/home"}
    lines = [start | header]
    for number in range(count):
        parent = f"n{number - 1}" if number else None
        envelope = {"type": "message", "id": f"n{number}", "parentId": parent, "timestamp": "2025-01-01T00:00:01Z"}
        lines.append(envelope | {"message": {"role": "user", "content": f"text {number}"}})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def label(id: str, parent: str, target: str, text: str) -> bytes:
    fields = {"type": "label", "id": id, "parentId": parent, "timestamp": None, "targetId": target, "label": text}
    return json.dumps(fields).encode() + b"\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Returns the path of a session of three messages and a label."""
    path = tmp_path / "source"
    path.write_bytes(pi_session(3) + label("l", "n2", "n0", "start"))
    return path


def test_an_import_makes_a_log(source: Path, tmp_path: Path) -> None:
    """The header says where the session comes from; the report says what was done; the log is sound."""
    report = import_file(source, tmp_path / "log.jsonl")
    assert report == ImportReport(format="pi", session_id="s1", written=5, source=str(source))
    with Session.open(tmp_path / "log.jsonl", mode="r", strict=True) as session:
        header = session.header
        assert (header.id, header.timestamp, header.cwd) == ("s1", "2025-01-01T00:00:00.000000Z", "/home")
        assert session.metadata == {"import": {"format": "pi", "id": "s1"}}
        assert (
            [message["content"] for message in session.build_context().messages],
            session.labels,
            session.leaf_id,
        ) == (["text 0", "text 1", "text 2"], {"n0": "start"}, "l")


def test_a_long_import_leaves_an_index(tmp_path: Path) -> None:
    """So that the first to open the log need not read it all; progress is reported in bytes."""
    (tmp_path / "source").write_bytes(pi_session(5000))
    size = (tmp_path / "source").stat().st_size
    steps: list[tuple[int, int]] = []
    import_file(
        tmp_path / "source",
        tmp_path / "log",
        durability="process",
        progress=lambda done, of: steps.append((done, of)),
    )
    assert (tmp_path / "log.index").exists()
    assert steps == sorted(steps)
    assert len(steps) > 2
    assert (steps[-1], {of for _, of in steps}) == ((size, size), {size})


def test_a_session_id_that_does_not_fit_is_derived(tmp_path: Path) -> None:
    """The id the source had stays in the metadata, with the session it was forked from."""
    (tmp_path / "source").write_bytes(pi_session(1, "a b", parentSession="/other.jsonl"))
    report = import_file(tmp_path / "source", tmp_path / "log")
    assert derive_id("pi", "a b") == report.session_id
    with Session.open(tmp_path / "log", mode="r") as session:
        expected = {"import": {"format": "pi", "id": "a b", "parent_session": "/other.jsonl"}}
        assert (report.session_id, expected) == (session.id, session.metadata)


def test_importing_twice_adds_nothing(source: Path, tmp_path: Path) -> None:
    """Not a byte, marks included."""
    import_file(source, tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    report = import_file(source, tmp_path / "log")
    assert (0, 5, before) == (report.written, report.already_there, (tmp_path / "log").read_bytes())


def test_a_leaf_that_was_marked_is_not_marked_again(tmp_path: Path) -> None:
    """A source whose last line is not the last to be planted has a mark of its own, once."""
    orphan = json.dumps({"type": "custom", "id": "o", "parentId": "gone", "customType": "x"}).encode() + b"\n"
    head, rest = pi_session(2).split(b"\n", 1)
    (tmp_path / "source").write_bytes(head + b"\n" + orphan + rest)
    assert import_file(tmp_path / "source", tmp_path / "log").written == 4
    assert import_file(tmp_path / "source", tmp_path / "log").written == 0
    with Session.open(tmp_path / "log", mode="r") as session:
        assert session.leaf_id == "n1"


def test_a_grown_source_adds_what_is_new(source: Path, tmp_path: Path) -> None:
    """Earlier lines of the log stay as they are; the leaf moves to the new last line."""
    import_file(source, tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    line = {"type": "message", "id": "n9", "parentId": "n0", "message": {"role": "user", "content": "again"}}
    with source.open("ab") as file:
        file.write(label("l2", "l", "n0", "begin") + json.dumps(line).encode() + b"\n")
    report = import_file(source, tmp_path / "log")
    assert (report.written, report.already_there) == (3, 5)
    assert (tmp_path / "log").read_bytes().startswith(before)
    with Session.open(tmp_path / "log", mode="r") as session:
        assert (session.leaf_id, session.labels) == ("n9", {"n0": "begin"})


def test_messages_appended_after_an_import_stay(source: Path, tmp_path: Path) -> None:
    """Importing an unchanged source again does not take the leaf from a conversation that went on."""
    import_file(source, tmp_path / "log")
    with Session.open(tmp_path / "log") as session:
        added = session.append({"role": "user", "content": "and here"})
    import_file(source, tmp_path / "log")
    with Session.open(tmp_path / "log", mode="r") as session:
        assert added.id == session.leaf_id


def test_the_log_of_another_session_is_not_touched(source: Path, tmp_path: Path) -> None:
    """Neither a native log nor the import of another source."""
    with Session.open(tmp_path / "log") as session:
        session.append({"role": "user", "content": "mine"})
    before = (tmp_path / "log").read_bytes()
    with pytest.raises(SessionExists, match="another session"):
        import_file(source, tmp_path / "log")
    assert before == (tmp_path / "log").read_bytes()


def test_a_target_that_is_no_log_is_not_touched(source: Path) -> None:
    """Not even the source itself, given as its own target."""
    before = source.read_bytes()
    with pytest.raises(NotALog):
        import_file(source, source)
    assert before == source.read_bytes()


@pytest.mark.parametrize("data", [b"", b"hello\n", b'{"type":"other"}\n', b"\xff\0" * 100])
def test_an_unknown_source_makes_nothing(data: bytes, tmp_path: Path) -> None:
    """The error says which formats are known."""
    (tmp_path / "source").write_bytes(data)
    with pytest.raises(NotALog, match="expected one of kit, pi"):
        import_file(tmp_path / "source", tmp_path / "log")
    assert os.listdir(tmp_path) == ["source"]


def test_a_convtree_log_is_no_foreign_file(source: Path, tmp_path: Path) -> None:
    """The error says how to open it."""
    import_file(source, tmp_path / "log")
    with pytest.raises(NotALog, match=r"Session\.open"):
        read_foreign(tmp_path / "log")


def test_only_regular_files_are_sources(source: Path, tmp_path: Path) -> None:
    """A folder that is no session and a pipe are refused at once, a link is followed, what is missing is missing."""
    (tmp_path / "link").symlink_to(source)
    assert len(read_foreign(tmp_path / "link")[0].build_context().messages) == 3
    with pytest.raises(NotALog, match="known format"):
        import_file(tmp_path, tmp_path / "log")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotALog, match="regular"):
        read_foreign(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_foreign(tmp_path / "missing")


def test_reading_changes_nothing(source: Path, tmp_path: Path) -> None:
    """A foreign session is looked at in memory; no file appears, the source is as it was."""
    before = source.read_bytes()
    session, report = read_foreign(source)
    assert (report.format, report.findings) == ("pi", ())
    assert (session.location, session.id, session.leaf_id) == ("memory", "s1", "l")
    assert (["source"], before) == (os.listdir(tmp_path), source.read_bytes())


def test_a_session_without_entries_makes_nothing(tmp_path: Path) -> None:
    """A log appears with its first record, here too."""
    (tmp_path / "source").write_bytes(pi_session(0))
    report = import_file(tmp_path / "source", tmp_path / "log")
    assert (report.written, report.already_there, os.listdir(tmp_path)) == (0, 0, ["source"])


def test_many_findings_are_cut_off(tmp_path: Path) -> None:
    """A source cannot fill the memory with what is wrong with it."""
    (tmp_path / "source").write_bytes(pi_session(1) + b"x\n" * 10_050)
    findings = import_file(tmp_path / "source", tmp_path / "log").findings
    assert (len(findings), findings[0].code, findings[-1].code) == (10_001, "source_bad_line", "too_many")


# --- a session that was continued here ----------------------------------------------------------------------------


def grow(source: Path, entries: int) -> None:
    source.write_bytes(pi_session(entries))


def test_an_import_keeps_the_leaf_where_somebody_went_on(tmp_path: Path) -> None:
    """New lines of the source are on another branch, and the report says so. So does the next import."""
    source, log = tmp_path / "source", tmp_path / "log"
    grow(source, 2)
    assert import_file(source, log).leaf_kept is False
    with Session.open(log) as session:
        mine = session.append({"role": "user", "content": "I go on here"})
    for entries in (3, 600):
        grow(source, entries)
        report = import_file(source, log)
        assert (report.leaf_kept, report.written + report.already_there) == (True, entries)
        with Session.open(log, mode="r") as session:
            assert (session.leaf_id, session.entry(f"n{entries - 1}").id) == (mine.id, f"n{entries - 1}")
    before = log.read_bytes()
    assert (import_file(source, log).leaf_kept, log.read_bytes()) == (False, before)
    with Session.open(log) as session:
        session.branch("n599")
    grow(source, 601)
    assert import_file(source, log).leaf_kept is False
    with Session.open(log, mode="r") as session:
        assert session.leaf_id == "n600"


def test_an_import_goes_on_past_notes(tmp_path: Path) -> None:
    """What an application stored makes nobody stay."""
    source, log = tmp_path / "source", tmp_path / "log"
    grow(source, 2)
    import_file(source, log)
    with Session.open(log) as session:
        session.append(ExtensionDataEntry(ext_type="app.seen", data=1))
    grow(source, 3)
    assert import_file(source, log).leaf_kept is False
    with Session.open(log, mode="r") as session:
        assert session.leaf_id == "n2"


def test_somebody_goes_on_while_an_import_runs(tmp_path: Path) -> None:
    """Their leaf stays: the condition is part of the write."""
    source, log = tmp_path / "source", tmp_path / "log"
    grow(source, 2)
    import_file(source, log)
    grow(source, 3)
    records = [record for _, record in read_foreign(source)[0].records()]
    with Session.open(log) as session, Session.open(log) as other:
        mine = other.append({"role": "user", "content": "meanwhile"})
        assert session.extend(records) == 1
        assert session.refresh() != []
        assert session.leaf_id == mine.id
        assert session.extend(records) == 0


def test_an_uncertain_leaf_is_set_by_an_import(tmp_path: Path) -> None:
    """What was said last is not known."""
    source, log = tmp_path / "source", tmp_path / "log"
    grow(source, 2)
    import_file(source, log)
    with log.open("ab") as file:
        file.write(b"damage\n")
    grow(source, 3)
    assert import_file(source, log).leaf_kept is False
    with Session.open(log, mode="r") as session:
        assert session.leaf_id == "n2"
        records = [record for _, record in session.records()]
    with log.open("ab") as file:
        file.write(b"damage\n")
    with Session.open(log) as session:
        message = MessageEntry(id="m", parent_id="n0", message={"role": "user", "content": "x"})
        assert session.extend([*records, message], move_leaf=False) == 1
        assert session.leaf_id == "m"


def test_extend_leaves_the_leaf(tmp_path: Path) -> None:
    """With `move_leaf=False`, unless it is uncertain. Marks that do not move it need no mark."""
    grow(tmp_path / "source", 3)
    records = [record for _, record in read_foreign(tmp_path / "source")[0].records()]
    with Session.open(tmp_path / "log") as session:
        assert session.extend(records[:1]) == 1
        assert session.extend(records, move_leaf=False) == 2
        assert session.leaf_id == "n0"
        before = len(list(session.records()))
        assert session.extend([LabelMark(id="l", target_id="n2", label="x")], move_leaf=False) == 1
        assert len(list(session.records())) == before + 1


def test_a_file_that_appears_during_an_export_is_not_touched(tmp_path: Path) -> None:
    """Another process made it after the export had looked."""
    place = tmp_path / "export.md"

    def slow(message: Any) -> Any:
        place.write_text("mine")
        return message

    with Session.memory() as session:
        session.append({"role": "user", "content": "a"})
        with pytest.raises(SessionExists, match=r"export\.md: this file exists already"):
            export_file(session, place, "markdown", redact=slow)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("export.md", "mine")]
