"""Watching sources: what is new comes in, once, when it is whole; what vanishes stays in the store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from foreign import CLAUDE, CODEX, KIT, PI, claude_said, encoded, kit_said, pi_said

from convtree import NotALog, open_store
from convtree._cli.app import app
from convtree._tools import importing, watching
from convtree._tools.watching import is_whole
from convtree.exchange import import_into, watch
from convtree.stores._session_store import SessionStore

Step = Callable[[], object]


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """An empty store."""
    with open_store("memory:") as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two sessions and a note."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(encoded(*PI))
    (folder / "deep" / "k").write_bytes(encoded(*KIT))
    (folder / "notes.txt").write_text("hello")
    return folder


def watched(source: Path | list[Path], store: SessionStore, *steps: Step) -> list[list[tuple[Any, ...]]]:
    """Watches while the steps are done, one between two polls; returns what each poll reported."""
    polls: list[list[tuple[Any, ...]]] = [[]]
    waiting = list(steps)

    def wait(seconds: float) -> bool:
        assert seconds == 5.0
        if not waiting:
            return True
        waiting.pop(0)()
        polls.append([])
        return False

    for report in watch(source, store, wait=wait):
        polls[-1].append((Path(report.source).name, report.session_id, report.status, report.written))
    return polls


def add(path: Path, *objects: dict[str, Any]) -> Step:
    """Returns a step that appends lines to a file."""

    def step() -> None:
        with path.open("ab") as file:
            file.write(encoded(*objects))

    return step


def nothing() -> None:
    """Is a step in which nothing happens."""


# --- what comes in ---


def test_what_is_new_comes_in(folder: Path, store: SessionStore) -> None:
    """First all that is there, then what was added; files of no known format are not spoken of."""
    polls = watched(
        folder,
        store,
        nothing,
        add(folder / "a.jsonl", pi_said("new", "ab", "w9")),
        add(folder / "c.jsonl", *CLAUDE),
        add(folder / "notes.txt", {"a": 1}),
    )
    assert polls == [
        [("a.jsonl", "p1", "imported", 14), ("k", KIT[0]["id"], "imported", 11)],
        [],
        [("a.jsonl", "p1", "imported", 1)],
        [("c.jsonl", "c1", "imported", 19)],
        [],
    ]
    assert len(list(store.list())) == 3


def test_only_what_has_changed_is_read_again(
    folder: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with another size, another time, or another inode."""
    read: list[str] = []
    kept = importing.import_sessions

    def import_sessions(found: Any, *rest: Any) -> Any:
        read.append(found.source.path.name)
        return kept(found, *rest)

    def replace() -> None:
        shutil.copy2(folder / "a.jsonl", folder.parent / "copy")
        (folder.parent / "copy").rename(folder / "a.jsonl")

    monkeypatch.setattr(watching, "import_sessions", import_sessions)
    polls = watched(
        folder,
        store,
        nothing,
        add(folder / "deep" / "k", kit_said("new", "k9", "w10")),
        lambda: os.utime(folder / "a.jsonl", (1, 1)),
        replace,
    )
    assert read == ["a.jsonl", "k", "k", "a.jsonl", "a.jsonl"]
    assert polls[1:] == [[], [("k", KIT[0]["id"], "imported", 1)], [], []]


def test_several_sources_and_a_file(folder: Path, store: SessionStore) -> None:
    """A file that was named may vanish and come back."""
    file = folder.parent / "x.jsonl"
    file.write_bytes(encoded(*CODEX))
    polls = watched([file, folder / "deep"], store, file.unlink, add(file, *CODEX, CODEX[-1]))
    assert polls[0] == [("x.jsonl", "x1", "imported", 16), ("k", KIT[0]["id"], "imported", 11)]
    assert polls[1] == [("x.jsonl", None, "skipped", 0)]
    assert [each[:3] for each in polls[2]] == [("x.jsonl", "x1", "imported")]


def test_wrong_arguments(folder: Path, store: SessionStore) -> None:
    """A source that is missing or of no known format, and an interval of nothing."""
    with pytest.raises(FileNotFoundError):
        watch(folder / "missing", store)
    with pytest.raises(NotALog):
        watch(folder / "notes.txt", store)
    with pytest.raises(ValueError, match=r"interval_s: expected more than 0 seconds, not 0"):
        watch(folder, store, interval_s=0)


# --- what is being written ---


def test_a_half_written_line_is_read_when_it_is_whole(folder: Path, store: SessionStore) -> None:
    """No finding speaks of it."""
    line = encoded(pi_said("new", "ab", "w9"))

    def half() -> None:
        with (folder / "a.jsonl").open("ab") as file:
            file.write(line[:30])

    def rest() -> None:
        with (folder / "a.jsonl").open("ab") as file:
            file.write(line[30:])

    assert watched(folder, store, half, rest)[1:] == [[], [("a.jsonl", "p1", "imported", 1)]]


def test_what_stays_half_written_is_read_as_it_is(folder: Path, store: SessionStore) -> None:
    """If nothing was written for one interval, its writer is gone. The finding is reported once."""

    def half() -> None:
        with (folder / "a.jsonl").open("ab") as file:
            file.write(encoded(pi_said("new", "ab", "w9")) + b'{"type":')

    polls = watched(folder, store, half, nothing, nothing)
    assert polls[1:] == [[], [("a.jsonl", "p1", "imported", 1)], []]


def test_a_half_written_document_waits(tmp_path: Path, store: SessionStore) -> None:
    """Its end would be missing, and what was read of it would be taken for all."""
    nodes = {
        "n1": {"id": "n1", "parentId": None, "childrenIds": [], "role": "user", "content": "w1"},
        "n2": {"id": "n2", "parentId": "n1", "childrenIds": [], "role": "user", "content": "w2"},
    }
    chat = {"history": {"messages": nodes, "currentId": "n2"}, "title": "T"}
    text = json.dumps([{"id": "c1", "title": "T", "chat": chat}], indent=1)
    (tmp_path / "s").mkdir()
    source = tmp_path / "s" / "chats.json"
    source.write_text(text[:150])
    polls = watched(tmp_path / "s", store, lambda: source.write_text(text))
    assert polls == [[], [("chats.json", "c1", "imported", 3)]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a":1}\n{"b":2}\n', True),
        (b'{"a":1}\n{"b":', False),
        (b'{"a":1}\n{"b":2}', True),
        (b'{\n "a": 1\n}', True),
        (b'{\n "a": 1,\n', False),
        (b'\xef\xbb\xbf[{"a":1}]', True),
        (b'[{"a":1},', False),
        (b"# aider chat started at 2026-01-01 00:00:00\n", True),
        (b"#### half", False),
        (b"SQLite format 3\0 and more", True),
        (b"\x28\xb5\x2f\xfd", False),
        (b"", False),
    ],
)
def test_a_file_is_whole_if_its_end_is(data: bytes, expected: bool, tmp_path: Path) -> None:
    """A last line without a newline is whole if it is JSON."""
    (tmp_path / "x").write_bytes(data)
    assert is_whole(tmp_path / "x") == expected


def test_a_file_too_large_to_parse_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that cannot be read is read at once, because that says why."""
    monkeypatch.setattr(watching, "LINE_LIMIT", 3)
    (tmp_path / "x").write_bytes(b'{\n "a": 1\n}')
    assert (is_whole(tmp_path / "x"), is_whole(tmp_path / "missing")) == (False, True)


# --- sources of several files ---


def test_a_database_is_read_again_when_its_journal_changes(tmp_path: Path, store: SessionStore) -> None:
    """In WAL mode, the database itself stays as it is."""
    (tmp_path / "s").mkdir()
    columns = "id, message_id, session_id, role, content_json, created_timestamp, metadata_json, timestamp, tokens"
    with closing(sqlite3.connect(tmp_path / "s" / "sessions.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=wal")
        writer.execute(
            "CREATE TABLE sessions (id, description, working_dir, created_at, updated_at, extension_data, name)"
        )
        writer.execute(f"CREATE TABLE messages ({columns})")
        writer.execute("INSERT INTO sessions (id, created_at) VALUES ('s', '2026-01-01')")

        def say() -> None:
            writer.execute(
                "INSERT INTO messages (session_id, role, content_json, created_timestamp) "
                """VALUES ('s', 'user', '[{"type":"text","text":"Hello."}]', 1)"""
            )

        polls = watched(tmp_path / "s", store, say, nothing, say)
    assert polls[1:] == [[("sessions.db", "s", "imported", 1)], [], [("sessions.db", "s", "imported", 1)]]


def kubectl(text: str) -> dict[str, Any]:
    return {"ID": text, "Source": "user", "Type": "text", "Payload": text, "Timestamp": "2026-01-01T00:00:00Z"}


def test_a_session_that_is_a_folder(tmp_path: Path, store: SessionStore) -> None:
    """It is read again when one of its files changes, not for what else lies in it; and it may vanish."""
    session = tmp_path / "sessions" / "20260101-0001"
    session.mkdir(parents=True)
    (session / "metadata.yaml").write_text("modelID: m\nproviderID: p\n")
    (session / "history.json").write_bytes(encoded(kubectl("a")))

    def half() -> None:
        with (session / "history.json").open("ab") as file:
            file.write(b'{"ID":')

    polls = watched(
        tmp_path / "sessions",
        store,
        add(session / "trace.txt", {"a": 1}),
        add(session / "history.json", kubectl("b")),
        half,
        lambda: shutil.rmtree(session),
        nothing,
    )
    assert [[each[1:3] for each in poll] for poll in polls] == [
        [("20260101-0001", "imported")],
        [],
        [("20260101-0001", "imported")],
        [],
        [(None, "skipped")],
        [],
    ]


def rollout(thread: str, stamp: str, *said: str, base: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Returns the lines of a rollout of Codex; with a base it continues another file of its session."""
    meta: dict[str, Any] = {"id": thread, "timestamp": stamp, "cwd": "/w", "cli_version": "0.171.0"}
    if base is not None:
        meta["history_base"] = base
    lines: list[dict[str, Any]] = [{"timestamp": stamp, "ordinal": 0, "type": "session_meta", "payload": meta}]
    for number, text in enumerate(said, 1):
        content = [{"type": "input_text", "text": text}]
        payload = {"type": "message", "role": "user", "content": content}
        lines.append({"timestamp": stamp, "ordinal": number, "type": "response_item", "payload": payload})
    return lines


def test_a_session_of_several_files(tmp_path: Path, store: SessionStore) -> None:
    """A file that continues another one brings the session of the first, when it comes and when it grows."""
    thread = "0199a1b2-0000-7000-8000-000000000001"
    day = tmp_path / "sessions" / "2026"
    day.mkdir(parents=True)
    first = day / f"rollout-2026-01-01T00-00-00-{thread}.jsonl"
    second = day / f"rollout-2026-01-01T00-05-00-{thread}.jsonl"
    first.write_bytes(encoded(*rollout(thread, "2026-01-01T00:00:00.000Z", "one", "two")))
    offset = first.read_bytes().index(b"\n", first.read_bytes().index(b'"one"')) + 1
    base = {"thread_id": thread, "end_ordinal_exclusive": 2, "end_byte_offset": offset}
    lines = rollout(thread, "2026-01-01T00:05:00.000Z", "three", "four", base=base)
    polls = watched(tmp_path / "sessions", store, add(second, *lines[:2]), add(second, *lines[2:]))
    assert [{each[:3] for each in poll} for poll in polls] == [{(first.name, thread, "imported")}] * 3
    with store.open(thread, read_only=True) as session:
        assert {"three", "four"} <= {getattr(record, "text", "") for _, record in session.records()}


# --- what vanishes, and what fails ---


def test_what_vanishes_stays_in_the_store(folder: Path, store: SessionStore) -> None:
    """A file, a folder, the whole source: each session is reported once."""
    polls = watched(folder, store, (folder / "a.jsonl").unlink, lambda: shutil.rmtree(folder), nothing, folder.mkdir)
    assert polls[1:] == [[("a.jsonl", None, "skipped", 0)], [("k", None, "skipped", 0)], [], []]
    assert len(list(store.list())) == 2


def test_what_vanishes_while_it_is_read_is_no_failure(
    folder: Path, store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next poll says that it is gone."""
    kept = importing.import_sessions

    def import_sessions(found: Any, *rest: Any) -> Any:
        if found.source.path.name == "k" and waited:
            shutil.rmtree(folder / "deep")
        return kept(found, *rest)

    waited: list[int] = []
    monkeypatch.setattr(watching, "import_sessions", import_sessions)
    grow = add(folder / "deep" / "k", kit_said("new", "k9", "w10"))

    def step() -> None:
        waited.append(1)
        grow()

    polls = watched(folder, store, step, nothing)
    assert polls[1:] == [[], [("k", None, "skipped", 0)]]


def test_a_failure_is_reported_once(folder: Path, store: SessionStore) -> None:
    """Until its reason is another one. The watch goes on."""
    mine = store.create(id="c1")
    mine.append({"role": "user", "content": "mine"})
    mine.close()
    polls = watched(
        folder,
        store,
        add(folder / "c.jsonl", *CLAUDE),
        lambda: os.utime(folder / "c.jsonl", (1, 1)),
        add(folder / "a.jsonl", pi_said("new", "ab", "w9")),
    )
    assert polls[1:] == [[("c.jsonl", "c1", "failed", 0)], [], [("a.jsonl", "p1", "imported", 1)]]


def test_a_named_file_that_becomes_unknown_fails(tmp_path: Path, store: SessionStore) -> None:
    """It is reported, and the watch goes on."""
    source = tmp_path / "a.jsonl"
    source.write_bytes(encoded(*PI))
    polls = watched(source, store, lambda: source.write_text("hello\n"), lambda: source.write_bytes(encoded(*PI)))
    assert polls[1:] == [[("a.jsonl", None, "failed", 0)], []]


# --- the command ---


def run(*arguments: Any) -> Result:
    """Runs the command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["import", *map(str, arguments)])


def test_the_command_prints_one_line_for_each_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json a document, with -v the findings, too."""
    kept = watch

    def once(*arguments: Any, **options: Any) -> Any:
        assert options.pop("interval_s") == 2
        return kept(*arguments, **options, wait=lambda _: True)

    monkeypatch.setattr("convtree.exchange.watch", once)
    with (folder / "a.jsonl").open("ab") as file:
        file.write(b"no json\n")
    result = run("--watch", "--interval", 2, folder, tmp_path / "one")
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [
            f"pi session p1: 14 records written, 0 already there, 1 finding ({folder / 'a.jsonl'})",
            f"kit session {KIT[0]['id']}: 11 records written, 0 already there, 0 findings ({folder / 'deep' / 'k'})",
        ],
    )
    assert len(run("--watch", "--interval", 2, folder, tmp_path / "two", "-v").output.splitlines()) == 3
    lines = run("--watch", "--interval", 2, folder, tmp_path / "three", "--json").output.splitlines()
    assert [json.loads(line)["imports"][0]["session_id"] for line in lines] == ["p1", KIT[0]["id"]]
    assert run("--watch", "--interval", 0, folder, tmp_path / "two").exit_code == 2


def test_an_interrupt_ends_the_command(folder: Path, tmp_path: Path) -> None:
    """With the exit code of every interrupted command, and everything that was printed."""
    command = [sys.executable, "-m", "convtree", "import", "--watch", "--interval", "0.1", str(folder)]
    with subprocess.Popen([*command, f"{tmp_path}/store/"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        add(folder / "a.jsonl", pi_said("new", "ab", "w9"))()
        lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert [line.split(":")[0].split()[0] for line in lines] == ["pi", "kit", "pi"]
    with open_store(f"{tmp_path}/store/") as store, store.open("p1", read_only=True) as session:
        assert session.leaf_id == "new"


@pytest.mark.parametrize("cut", [0, 40])
def test_a_watch_that_was_killed_goes_on(cut: int, tmp_path: Path) -> None:
    """Between two lines, or in the middle of one: what is written later is added, and nothing is there twice."""
    source, store = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    lines = [encoded(claude_said(f"u{at}", None if at == 0 else f"u{at - 1}", f"Say {at}")) for at in range(6)]
    written = source / "a.jsonl"
    written.write_bytes(b"".join(lines[:2]))
    command = [sys.executable, "-m", "convtree", "import", "--watch", "--interval", "0.1", str(source), str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"2 records written" in process.stdout.readline()
        with written.open("ab") as file:
            file.write(b"".join(lines[2:4]) + lines[4][:cut])
        assert b"records written" in process.stdout.readline()
        process.kill()
    with written.open("ab") as file:
        file.write(lines[4][cut:] + lines[5])
    with open_store(str(store)) as again:
        import_into(source, again)
        (found,) = again.list()
        with again.open(found.id) as session:
            assert [record.id for _, record in session.records()] == [f"u{at}" for at in range(6)]
