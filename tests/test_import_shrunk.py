"""A source that shrinks or vanishes: the copy keeps everything, and the report says so. Who said what, and where."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from foreign import CLAUDE, PI, SAMPLES, encoded
from foreign_agents import AGENTS
from foreign_chats import CHATS

from convtree import ConvtreeError, MessageEntry, NotALog, Session, open_store
from convtree._cli.app import app
from convtree._tools.known_sources import find_sources
from convtree.exchange import ImportReport, import_file, import_into
from convtree.stores._session_store import SessionStore
from convtree.testing import Clock


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """An empty store, in the year 2030."""
    with open_store("memory:", clock=Clock()) as store:
        yield store


def texts(session: Session) -> list[str]:
    return [record.text for _, record in session.records() if isinstance(record, MessageEntry)]


def shrunk(report: ImportReport) -> list[tuple[str | None, int]]:
    """Returns the first message that is missing in the source, and how many are."""
    return [(each.entry_id, each.times) for each in report.findings if each.code == "source_shrunk"]


# --- three kinds of sources ---


def as_jsonl(path: Path, numbers: list[int]) -> None:
    """Writes messages of pi."""
    lines = [PI[0]]
    for number in numbers:
        message = {"role": "user", "content": f"w{number}"}
        parent = f"n{number - 1}" if number else None
        line = {"type": "message", "id": f"n{number}", "parentId": parent, "message": message}
        lines.append(line | {"timestamp": "2026-01-01T00:00:00.000Z"})
    path.write_bytes(encoded(*lines))


def as_document(path: Path, numbers: list[int]) -> None:
    """Writes a chat of Open WebUI."""
    nodes: dict[str, dict[str, Any]] = {
        f"n{number}": {
            "id": f"n{number}",
            "parentId": f"n{number - 1}" if number else None,
            "childrenIds": [],
            "role": "user",
            "content": f"w{number}",
        }
        for number in numbers
    }
    chat = {"history": {"messages": nodes, "currentId": f"n{numbers[-1]}"}, "title": "T"}
    path.write_text(json.dumps([{"id": "c1", "title": "T", "chat": chat}]))


def as_database(path: Path, numbers: list[int]) -> None:
    """Writes a database of goose."""
    path.unlink(missing_ok=True)
    columns = "id, message_id, session_id, role, content_json, created_timestamp, metadata_json, timestamp, tokens"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE sessions (id, description, working_dir, created_at, updated_at, extension_data, name)"
        )
        connection.execute(f"CREATE TABLE messages ({columns})")
        connection.execute("INSERT INTO sessions (id, created_at) VALUES ('s', '2026-01-01')")
        for number in numbers:
            content = json.dumps([{"type": "text", "text": f"w{number}"}])
            connection.execute(
                "INSERT INTO messages (id, message_id, session_id, role, content_json, created_timestamp) "
                "VALUES (?, ?, 's', 'user', ?, ?)",
                (number, f"n{number}", content, number),
            )


SOURCES = pytest.mark.parametrize("write", [as_jsonl, as_document, as_database])


@SOURCES
def test_a_source_that_shrinks_does_not_shrink_the_copy(
    write: Callable[[Path, list[int]], None], tmp_path: Path, store: SessionStore
) -> None:
    """Cut off at its end, deleted from its beginning, or rewritten. What is new still comes in."""
    source = tmp_path / "source"
    write(source, [0, 1, 2, 3])
    (first,) = import_into(source, store)
    assert (first.session_id is not None, shrunk(first)) == (True, [])
    for numbers, missing in (([0, 1], [("n2", 2)]), ([0, 1, 2, 3], []), ([0], [("n1", 3)]), ([0, 1, 2, 3, 4], [])):
        write(source, numbers)
        (report,) = import_into(source, store)
        assert (report.status, report.written > 0, shrunk(report)) == ("imported", 4 in numbers, missing)
    with store.open(first.session_id or "", read_only=True) as session:
        assert texts(session) == ["w0", "w1", "w2", "w3", "w4"]
    assert {each.severity for each in report.findings} <= {"info"}


@SOURCES
def test_a_source_that_vanishes_does_not_shrink_the_copy(
    write: Callable[[Path, list[int]], None], tmp_path: Path, store: SessionStore
) -> None:
    """A folder is imported again without it."""
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "gone", [0, 1])
    (tmp_path / "folder" / "stays").write_bytes(encoded(*CLAUDE))
    reports = import_into(tmp_path / "folder", store)
    (tmp_path / "folder" / "gone").unlink()
    assert [each.session_id for each in import_into(tmp_path / "folder", store)] == [reports[1].session_id]
    with store.open(reports[0].session_id or "", read_only=True) as session:
        assert texts(session) == ["w0", "w1"]


def test_a_log_keeps_what_its_source_lost(tmp_path: Path) -> None:
    """Not a byte changes."""
    source, log = tmp_path / "source", tmp_path / "log"
    as_jsonl(source, [0, 1, 2])
    import_file(source, log)
    before = log.read_bytes()
    as_jsonl(source, [0])
    assert (shrunk(import_file(source, log)), log.read_bytes()) == ([("n1", 2)], before)


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    """The code, the first message and how many. Nothing was lost here, so it is no problem: exit code 0."""
    source = tmp_path / "source"
    as_jsonl(source, [0, 1, 2])
    command = ["import", str(source), f"{tmp_path}/store/"]
    CliRunner().invoke(app, command)
    as_jsonl(source, [0])
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(app, command)
    assert result.exit_code == 0
    assert result.output.splitlines()[1] == (
        "info source_shrunk: entry n1: messages of this session that were imported before are not in this source; they "
        "stay (2 times)"
    )


def replace_index(self: Any, *_: object) -> None:
    """Does what happens where another process has replaced the log."""
    self._index = None


def test_a_log_that_is_replaced_meanwhile_is_not_judged(
    tmp_path: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are others then."""
    as_jsonl(tmp_path / "source", [0, 1, 2])
    import_into(tmp_path / "source", store)
    as_jsonl(tmp_path / "source", [0])
    monkeypatch.setattr("convtree._tools.imported_before.StoredMessages.note", replace_index)
    assert shrunk(import_into(tmp_path / "source", store)[0]) == []


# --- imported, or said here ---


def chat_of_aider(*said: str) -> str:
    """Returns a chat of aider, whose messages have neither ids nor times of their own."""
    lines = "".join(f"#### {each}  \n\nanswer\n\n" for each in said)
    return f"\n# aider chat started at 2026-01-01 00:00:00\n\n{lines}"


def leaf_after(session: Session, source: Path, store: SessionStore, message: str) -> str:
    """Appends a message, if there is one, and imports a source that has grown; returns the last words."""
    if message:
        session.append({"role": "user", "content": message})
    session.close()
    import_into(source, store)
    with store.open(session.id, read_only=True) as after:
        said = after.path()[-1]
        assert isinstance(said, MessageEntry)
        return said.text


@pytest.mark.parametrize(("here", "last"), [("mine", "mine"), ("", "w2")], ids=["continued here", "only there"])
@pytest.mark.parametrize("kind", ["ids and times", "no ids", "no times"])
def test_a_message_counts_as_imported_or_as_said_here(
    kind: str, here: str, last: str, tmp_path: Path, store: SessionStore
) -> None:
    """What was appended was said here: the leaf stays with it. What the source has, or had, was not: the leaf moves.

    An imported message may have an id of its source and a time, a time only, or neither.
    """
    source = tmp_path / "source"
    lines = [{"role": "user", "content": f"w{number}"} for number in range(3)]
    if kind == "no ids":
        lines = [line | {"timestamp": f"2026-01-01T00:00:0{number}Z"} for number, line in enumerate(lines)]

    def write(count: int) -> None:
        if kind == "ids and times":
            as_jsonl(source, list(range(count)))
        else:
            source.write_bytes(encoded(*lines[:count]))

    write(2)
    (report,) = import_into(source, store)
    write(3)
    assert leaf_after(store.open(report.session_id or ""), source, store, here) == last


SAID = {"role": "user", "content": "m"}


@pytest.mark.parametrize(
    ("said", "in_store", "is_shrunk"),
    [
        (MessageEntry(id="m", message=SAID), False, False),
        (MessageEntry(id="m", message=SAID), True, False),
        (MessageEntry(id="m", message=SAID, source_id="1"), False, True),
        (MessageEntry(id="m", message=SAID, source_id="1"), True, True),
    ],
    ids=["appended to a log", "appended in a store", "with an id of a source", "and in a store"],
)
def test_a_message_that_the_source_lacks_was_said_here_or_is_missing(
    said: MessageEntry, in_store: bool, is_shrunk: bool, tmp_path: Path, store: SessionStore
) -> None:
    """An append gives it a time after the first import, and no id of a source."""
    source, log = tmp_path / "source", tmp_path / "log"
    as_jsonl(source, [0])
    if in_store:
        (report,) = import_into(source, store)
        session = store.open(report.session_id or "")
    else:
        import_file(source, log)
        session = Session.open(log)
    with session:
        session.append(said)
    report = import_into(source, store)[0] if in_store else import_file(source, log)
    assert shrunk(report) == ([("m", 1)] if is_shrunk else [])


def test_what_is_left_in_doubt_counts_as_said_here(tmp_path: Path, store: SessionStore) -> None:
    """A message that came with a later import, and is as young as what was said here: no finding is wrong."""
    source = tmp_path / "source"
    lines = [{"role": "user", "content": f"w{number}"} for number in range(2)]
    lines[1]["timestamp"] = "2031-01-01T00:00:00Z"
    source.write_bytes(encoded(*lines[:1]))
    import_into(source, store)
    source.write_bytes(encoded(*lines))
    assert import_into(source, store)[0].written == 1
    source.write_bytes(encoded(*lines[:1]))
    assert shrunk(import_into(source, store)[0]) == []


def test_a_chat_without_ids_that_was_cut_off(tmp_path: Path, store: SessionStore) -> None:
    """Its messages are known by their times, which are older than the import."""
    source = tmp_path / ".aider.chat.history.md"
    source.write_text(chat_of_aider("w0", "w1"))
    (first,) = import_into(source, store)
    source.write_text(chat_of_aider("w0"))
    (report,) = import_into(source, store)
    assert (report.session_id, [times for _, times in shrunk(report)]) == (first.session_id, [2])


@pytest.mark.parametrize("text", [b"", b"text\n", b"{}\n"])
@pytest.mark.parametrize("name", sorted(AGENTS | CHATS | SAMPLES))
def test_a_file_that_is_replaced_after_it_was_recognised(name: str, text: bytes, tmp_path: Path) -> None:
    """It has fewer records, or an error says that it is no session any more."""
    if name in SAMPLES:
        path = tmp_path / "session.jsonl"
        path.write_bytes(encoded(*SAMPLES[name]))
    else:
        path = (AGENTS | CHATS)[name].write(tmp_path)
    for found in find_sources(path):
        with found.source, suppress(ConvtreeError, OSError):
            for ref in found.sessions():
                for file in [path] if path.is_file() else path.rglob("*.*"):
                    file.write_bytes(text)
                list(found.read(ref).records)


@pytest.mark.parametrize("name", ["pi", "kit"])
def test_a_header_that_is_gone(name: str, tmp_path: Path) -> None:
    """The error names the file."""
    path = tmp_path / "session.jsonl"
    path.write_bytes(encoded(*SAMPLES[name]))
    (found,) = find_sources(path)
    with found.source:
        (ref,) = found.sessions()
        path.write_bytes(b"")
        with pytest.raises(NotALog, match=r"session\.jsonl: was replaced while it was read"):
            found.read(ref)
