"""`convtree import`: the log it writes, its output and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from convtree import IdConflict, Session, open_store
from convtree._cli.app import app

HEADER = {"type": "session", "version": 3, "id": "f00d", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/x"}


def message(id: str, parent_id: str | None, text: str) -> dict[str, Any]:
    """Makes an entry of a pi session."""
    body = {"role": "user", "content": text, "timestamp": 1}
    return {
        "type": "message",
        "id": id,
        "parentId": parent_id,
        "timestamp": "2026-01-01T00:00:01.000Z",
        "message": body,
    }


def run(*arguments: object) -> Result:
    """Runs the command in this process."""
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["import", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pi session of three messages, with a branching."""
    lines = [HEADER, message("aaaa1111", None, "one"), message("bbbb2222", "aaaa1111", "two")]
    lines.append(message("cccc3333", "aaaa1111", "three"))
    path = tmp_path / "pi.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_import(source: Path, tmp_path: Path) -> None:
    """One line has the numbers, and the log has the tree."""
    before = source.read_bytes()
    result = run(source, tmp_path / "log")
    assert (result.exit_code, result.output) == (0, "pi session f00d: 3 records written, 0 already there, 0 findings\n")
    with Session.open(tmp_path / "log", mode="r") as session:
        assert [entry.id for entry in session.children("aaaa1111")] == ["bbbb2222", "cccc3333"]
    assert source.read_bytes() == before


def test_without_a_target_it_goes_to_the_default_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or a folder. The store is made, and standard error says where it is; a URL is no source."""
    monkeypatch.setenv("CONVTREE_URL", str(tmp_path / "mine"))
    result = run(source)
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "pi session f00d: 3 records written, 0 already there, 0 findings\n",
        f"importing into {tmp_path / 'mine'}\n",
    )
    (tmp_path / "sources").mkdir()
    source.rename(tmp_path / "sources/pi.jsonl")
    assert "0 records written, 3 already there" in run(tmp_path / "sources").stdout
    with open_store(tmp_path / "mine") as store:
        assert [info.id for info in store.list()] == ["f00d"]
    assert run(tmp_path / "missing").exit_code == 3
    assert "Missing argument 'SOURCE'" in run("sqlite:///x.db").stderr


def test_second_import_adds_what_is_new(source: Path, tmp_path: Path) -> None:
    """The same source again adds nothing. A source that has grown adds its new records."""
    run(source, tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    assert run(source, tmp_path / "log").output == ("pi session f00d: 0 records written, 3 already there, 0 findings\n")
    assert (tmp_path / "log").read_bytes() == before
    with source.open("a") as file:
        file.write(json.dumps(message("dddd4444", "cccc3333", "four")) + "\n")
    assert run(source, tmp_path / "log").output == ("pi session f00d: 1 record written, 3 already there, 0 findings\n")


def test_json(source: Path, tmp_path: Path) -> None:
    """With --json, one versioned document has the same facts."""
    assert json.loads(run(source, tmp_path / "log", "--json").output) == {
        "schema": "convtree.import",
        "schema_version": 1,
        "format": "pi",
        "session_id": "f00d",
        "written": 3,
        "already_there": 0,
        "leaf_kept": False,
        "findings": [],
    }


def test_damaged_source(source: Path, tmp_path: Path) -> None:
    """Unreadable lines are listed, and the exit code is 1. The rest is imported."""
    with source.open("a") as file:
        file.write('{"type":"message", no json\n')
    result = run(source, tmp_path / "log")
    lines = result.output.splitlines()
    assert (result.exit_code, len(lines)) == (1, 2)
    assert lines[0] == "pi session f00d: 3 records written, 0 already there, 1 finding"
    assert ": line 5, offset " in lines[1]


def test_missing_source(tmp_path: Path) -> None:
    """A missing source gives exit code 3, and nothing is created."""
    result = run(tmp_path / "no", tmp_path / "log")
    assert (result.exit_code, result.stdout, result.stderr) == (
        3,
        "",
        f"convtree: {tmp_path / 'no'}: No such file or directory\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_unknown_format(source: Path, tmp_path: Path) -> None:
    """A source of an unknown format, or a target that is not a log, gives exit code 5. Neither is changed."""
    (tmp_path / "text").write_text("hello\nworld\n")
    for arguments in ([tmp_path / "text", tmp_path / "log"], [source, tmp_path / "text"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (5, "", 1)
    assert (tmp_path / "text").read_text() == "hello\nworld\n"
    assert not (tmp_path / "log").exists()


def test_target_with_another_session(source: Path, tmp_path: Path) -> None:
    """A target that is the log of another session gives exit code 4."""
    with Session.open(tmp_path / "log") as session:
        session.append({"role": "user", "content": "mine"})
    assert run(source, tmp_path / "log").exit_code == 4


def test_hostile_names_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths and error messages are printed without control characters."""
    result = run(tmp_path / "\x1b]0;owned\x07\u202e", tmp_path / "log")
    assert result.stderr.endswith("\\x1b]0;owned\\x07<U+202E>: No such file or directory\n")

    def refuse(*_: object, **__: object) -> None:
        raise IdConflict("the id '\x9b31m' is taken", id="x")

    monkeypatch.setattr("convtree.exchange.import_file", refuse)
    assert run("a", "b").stderr == "convtree: the id '\\x9b31m' is taken\n"


def test_wrong_usage() -> None:
    """A missing source gives exit code 2."""
    assert run().exit_code == 2


def test_folder_without_sessions(tmp_path: Path) -> None:
    """Skipped files are named, and the exit code is 3. An empty folder gives the same code."""
    (tmp_path / "source").mkdir()
    result = run(tmp_path / "source", tmp_path / "store")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"convtree: {tmp_path / 'source'}: no session of a known format in this folder\n"
    (tmp_path / "source" / "notes").write_text("hello")
    result = run(tmp_path / "source", tmp_path / "store")
    assert (result.exit_code, result.stdout.count("\n")) == (3, 1)
    assert result.stdout.startswith("skipped: ")
    assert not (tmp_path / "store").exists()


def test_a_log_of_convtree_is_no_source(tmp_path: Path) -> None:
    """The message says what copies it, and no folder is left behind."""
    with Session.open(tmp_path / "log.jsonl") as session:
        session.append({"role": "user", "content": "x"})
    result = run(tmp_path / "log.jsonl", f"{tmp_path}/new/")
    assert (result.exit_code, (tmp_path / "new").exists()) == (5, False)
    assert "already a convtree log; `convtree copy` copies its store" in result.stderr


def test_folder_needs_a_store(source: Path, tmp_path: Path) -> None:
    """A folder is not imported into a `.jsonl` file, nor into an empty target."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    source.rename(sessions / "pi.jsonl")
    result = run(sessions, tmp_path / "new.jsonl")
    assert (result.exit_code, "into a store" in result.stderr) == (5, True)
    assert not (tmp_path / "new.jsonl").exists()
    assert run(sessions, "").exit_code == 2
    assert run(sessions, tmp_path / "new").exit_code == 0
    assert (tmp_path / "new" / "f00d.jsonl").exists()


def test_a_folder_of_another_tool_is_no_target(source: Path, tmp_path: Path) -> None:
    """Two folders of sessions without a store are refused, and nothing is written into the second."""
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    source.rename(sessions / "pi.jsonl")
    (tmp_path / "first").mkdir()
    result = run(tmp_path / "first", sessions)
    assert (result.exit_code, [path.name for path in sessions.iterdir()]) == (2, ["pi.jsonl"])
    assert "has sessions of another tool (pi.jsonl); the last argument is the log or the store" in result.stderr
    result = run(tmp_path / "first", sessions / "pi.jsonl")
    assert (result.exit_code, f"TARGET {sessions / 'pi.jsonl'}: is a session of another tool" in result.stderr) == (
        2,
        True,
    )
    assert run(sessions, tmp_path / "first").exit_code == 0
    assert run(sessions, tmp_path / "first").exit_code == 0  # a store by now


def test_where_sources_may_be_imported_into(source: Path, tmp_path: Path) -> None:
    """A file into the folder that it is in, and a folder into the one that it is in."""
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    source.rename(outer / "pi.jsonl")
    assert run(outer / "pi.jsonl", outer).exit_code == 0
    assert (outer / "f00d.jsonl").exists()
    (outer / "f00d.jsonl").unlink()
    (outer / "pi.jsonl").rename(outer / "inner" / "pi.jsonl")
    assert run(outer / "inner", outer).exit_code == 0
    assert (outer / "f00d.jsonl").exists()


def test_session_that_is_a_folder(tmp_path: Path) -> None:
    """A session stored as a folder is imported into a log, and adds nothing the second time."""
    folder = tmp_path / "20260101-0001"
    folder.mkdir()
    record = {"ID": "k1", "Source": "user", "Type": "text", "Payload": "hi", "Timestamp": "2026-01-01T00:00:00Z"}
    (folder / "history.json").write_text(json.dumps(record) + "\n")
    (folder / "metadata.yaml").write_text("modelID: m\nproviderID: p\n")
    assert [run(folder, tmp_path / "log.jsonl").exit_code for _ in range(2)] == [0, 0]
    with Session.open(tmp_path / "log.jsonl", mode="r") as session:
        assert (session.id, len(session.build_context().messages)) == ("20260101-0001", 1)


def test_session_id_that_is_taken(source: Path, tmp_path: Path) -> None:
    """The message asks for another target. The session in the store is unchanged."""
    store = tmp_path / "store"
    store.mkdir()
    with Session.open(store / "f00d.jsonl", id="f00d") as session:
        session.append({"role": "user", "content": "mine"})
    result = run(source, store)
    assert (result.exit_code, "import this one elsewhere" in result.output) == (1, True)
