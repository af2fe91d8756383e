"""The commands that write to a conversation, and the one that follows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import assistant, contents, user
from test_cli_sessions import call, json_of

from convtree import MessageEntry, Session
from convtree._cli.app import app
from convtree.stores._open import open_store

LOG = "log.jsonl"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; the user's directories are in it."""
    monkeypatch.delenv("CONVTREE_URL", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def log(place: Path) -> Path:
    """A log with a question, an answer, and another question."""
    with Session.open(place / LOG, id="s") as session:
        session.append(user("q"), id="q")
        session.append(assistant("a"), id="a", label="warm one")
        session.append(user("q2"), id="q2")
    return place / LOG


def read(log: Path = Path(LOG)) -> Session:
    return Session.open(log, mode="r")


def printed(*arguments: object, answer: str | None = None) -> str:
    """Runs a command that must print one line. Returns it."""
    code, out, err = call(*arguments, answer=answer)
    assert (code, err, out.count("\n")) == (0, "", 1)
    return out.removesuffix("\n")


def refused(*arguments: object, answer: str | None = None) -> str:
    """Runs a command that must refuse its arguments. Returns what it says."""
    code, out, err = call(*arguments, answer=answer)
    assert (code, out) == (2, "")
    return err


# --- new and append ---


def test_a_conversation_from_a_script(place: Path) -> None:
    """Begun in the default place, which is made; continued by a prefix; ids are printed."""
    id = printed("new", "Where to?", "--name", "Trip", "--owner", "me")
    with open_store(place / "home" / "convtree" / "sessions") as store:
        info = store.info(id)
        assert (info.name, info.owner, info.cwd) == ("Trip", "me", str(place))
        entry_id = printed("append", id[:6], "--role", "assistant", "--model", "m", answer="Rome\n")
        other_id = printed("append", "@latest", "Oslo\n", "--at", "@~1", "--label", "north")
        with store.open(id, read_only=True) as session:
            assert contents(session) == ["Where to?", "Oslo\n"]
            assert contents(session, leaf=entry_id) == ["Where to?", "Rome"]
            assert (session.entry(entry_id).to_dict()["model"], session.labels) == ("m", {other_id: "north"})
            assert session.entry(entry_id).to_dict()["message"]["role"] == "assistant"


def test_places_of_a_new_conversation(place: Path) -> None:
    """A log, a folder, a database, and the variable."""
    assert printed("new", "-o", LOG, "--id", "mine", "-", answer="x") == "mine"
    with read() as session:
        assert (session.id, contents(session)) == ("mine", ["x"])
    for url in ("folder", "sqlite:///store.db"):
        assert printed("new", "-s", url, "--id", "mine", "x") == "mine"
        assert json_of("show", "-s", url, "mine")["id"] == "mine"
    assert call("new", "-o", LOG, "x")[0] == 4
    assert call("new", "-s", "folder", "--id", "mine", "x")[0] == 4
    assert "exclude each other" in refused("new", "-s", "folder", "-o", LOG, "x")
    assert "cannot be the id of a session" in refused("new", "-s", "folder", "--id", "no id", "x")
    assert "unknown store URL scheme" in refused("new", "-s", "foo://x", "x")
    assert not (place / "home").exists()


def test_a_new_conversation_without_a_message() -> None:
    """It has a name, and standard input is empty. Otherwise a message is read, and an empty one is refused."""
    assert printed("new", "-o", LOG, "--name", "N", "--id", "mine") == "mine"
    with read() as session:
        assert (session.name, session.leaf_id) == ("N", None)
    assert "the message is empty" in refused("new", "-o", "x.jsonl", answer=" \n")
    assert "are about a message" in refused("new", "-o", "x.jsonl", "--name", "N", "--role", "user")
    assert "the message is empty" in refused("new", "-o", "x.jsonl", "--name", "N", answer=" \n")
    assert not Path("x.jsonl").exists()


def test_a_name_and_a_message_from_standard_input() -> None:
    """What a script pipes in is stored, with and without a role."""
    for number, role in enumerate(("user", "assistant")):
        options = [] if role == "user" else ["--role", role]
        printed("new", "-o", f"{number}.jsonl", "--name", "N", *options, answer="hello there\n")
        with Session.open(f"{number}.jsonl", mode="r") as session:
            assert (session.name, session.build_context().messages) == ("N", [{"role": role, "content": "hello there"}])


def test_messages_as_json(log: Path) -> None:
    """A message or an answer of a provider; what is none is refused, and nothing is written."""
    before = log.read_bytes()
    for text, said in {
        "[1]": "a JSON list; expected an object",
        "{": "is not JSON",
        "[" * 5000: "is not JSON",
        '{"role":"user","content":1e999}': "is not JSON",
        '{"role":"user","n":123456789012345678901}': "message.n: an integer is outside",
        "": "the message is empty",
    }.items():
        assert said in refused("append", log, "--json", answer=text)
    assert "--role is for a text" in refused("append", log, "--json", "--role", "user", "{}")
    done = CliRunner().invoke(app, ["append", str(log)], input=b"\xff")
    assert (done.exit_code, "its byte 0 cannot be read" in done.stderr) == (2, True)
    assert log.read_bytes() == before
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "A"}}],
        "object": "chat.completion",
        "model": "gpt",
    }
    entry_id = printed("append", log, "--json", json.dumps(answer))
    with read() as session:
        entry = session.entry(entry_id).to_dict()
    assert (entry["message"], entry["model"]) == ({"role": "assistant", "content": "A"}, "gpt")
    assert call("append", log, "x", "--at", "none")[0] == 3
    assert call("append", "none.jsonl", "x")[0] == 3
    assert "at most 256 characters" in refused("append", log, "x", "--label", "x" * 257)


# --- changes ---


def test_labels_and_names(log: Path) -> None:
    """They are set and removed; nothing is printed without `--json`."""
    assert call("label", log, "@", "end") == (0, "", "")
    assert json_of("label", log, "warm one", "--remove")["entry_id"] == "a"
    assert call("rename", log, "N") == (0, "", "")
    with read() as session:
        assert (session.labels, session.name) == ({"q2": "end"}, "N")
    assert json_of("rename", log, "--remove")["name"] is None
    with read() as session:
        assert session.name is None
    for arguments in (("label", log, "@"), ("label", log, "@", "x", "--remove"), ("rename", log)):
        refused(*arguments)
    refused("rename", log, "x", "--remove")
    assert "at most 256 characters" in refused("label", log, "@", "x" * 257)
    assert call("label", log, "none", "x")[0] == 3


def test_moves_of_the_leaf(log: Path) -> None:
    """To an entry, to the newest leaf below a label, and to the place before the first entry."""
    assert printed("branch", log, "@~1") == "a"
    assert printed("checkout", log, "warm one") == "q2"
    assert call("branch", log, "--root") == (0, "", "")
    with read() as session:
        assert session.leaf_id is None
    assert json_of("checkout", log, "q")["leaf_id"] == "q2"
    Path("summary").write_text("They chose.\n")
    made = printed("branch", log, "q", "--summary-file", "summary")
    with read() as session:
        assert (session.leaf_id, session.entry(made).to_dict()["summary"]) == (made, "They chose.")
        assert session.entry(made).parent_id == "q"
    for arguments in (("branch", log), ("branch", log, "q", "--root")):
        refused(*arguments)
    assert "summary" in refused("branch", log, "a", "--summary-file", "-", answer="")
    assert call("checkout", log, "none")[0] == 3


def test_messages_are_hidden_and_shown(log: Path) -> None:
    """For the model by default; several at once; and back."""
    assert call("hide", log, "q", "@") == (0, "", "")
    with read() as session:
        assert contents(session) == ["a"]
    assert json_of("hide", log, "q", "@", "--undo")["visible_to"] == "all"
    assert json_of("hide", log, "warm one", "--visible-to", "model") | {"schema": ""} == {
        "schema": "",
        "schema_version": 1,
        "id": "s",
        "entry_ids": ["a"],
        "visible_to": "model",
    }
    with read() as session:
        assert contents(session) == ["q", "a", "q2"]
    assert "leave out --visible-to" in refused("hide", log, "q", "--undo", "--visible-to", "user")
    assert call("hide", log, "none")[0] == 3


def test_a_summary_takes_the_place_of_messages(log: Path) -> None:
    """What is kept begins at an entry, or is counted in tokens."""
    made = printed("compact", log, "--summary-file", "-", "--keep", "@", answer="S\n")
    with read() as session:
        assert session.leaf_id == made
        assert ["S" in str(text) for text in contents(session)] == [True, False]
    assert call("compact", log, "--summary-file", "-", "--keep-tokens", "9999", answer="S") == (
        0,
        "",
        "nothing to compact: there is nothing before the messages that are kept\n",
    )
    with Session.open(log) as session:
        session.append(assistant("word " * 500))
        session.append(user("q3"))
    assert json_of("compact", log, "--summary-file", "-", "--keep-tokens", "1", answer="S2")["entry_id"] is not None
    with read() as session:
        assert "S2" in str(contents(session)[0])
    for options in ((), ("--keep", "@", "--keep-tokens", "1")):
        assert "either --keep ENTRY or --keep-tokens N" in refused("compact", log, "--summary-file", "-", *options)
    assert "--summary-file" in refused("compact", log, "--keep", "@")
    printed("append", log, "x", "--at", "q")
    assert "first_kept_entry_id" in refused("compact", log, "--summary-file", "-", "--keep", "q2", answer="S")
    assert "the summary is empty" in refused("compact", log, "--summary-file", "-", "--keep", "q", answer="\n")


def test_no_session_of_another_tool_is_written_to(place: Path) -> None:
    """Nor followed: it has no lines of convtree."""
    (place / "pi.jsonl").write_text(
        '{"type":"session","version":3,"id":"p","timestamp":"2026-01-01T00:00:00Z","cwd":"/"}'
    )
    for arguments in (("append", "pi.jsonl", "x"), ("label", "pi.jsonl", "@", "x"), ("follow", "pi.jsonl")):
        code, _, err = call(*arguments)
        assert (code, "`convtree import`" in err) == (5, True)


def test_a_leaf_that_moved_meanwhile_is_a_conflict(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has appended between the opening and the append."""
    opened = Session.open

    def open_and_race(*arguments: object, **options: object) -> Session:
        session = opened(*arguments, **options)  # type: ignore[arg-type]
        with opened(log) as other:
            other.append(user("first"))
        return session

    monkeypatch.setattr(Session, "open", open_and_race)
    assert call("append", log, "second")[0] == 4


# --- follow ---


def test_the_last_entries_are_printed(log: Path) -> None:
    """A line each, with time, role and text; with `--json`, marks as well."""
    lines = call("follow", log, "--timeout", "0", "-n", "2")[1].splitlines()
    assert [line.split()[1:] for line in lines] == [["assistant", "a"], ["user", "q2"]]
    assert call("follow", log, "--timeout", "0", "-n", "0") == (0, "", "")
    call("rename", log, "N")
    documents = [
        json.loads(line) for line in call("follow", log, "--timeout", "0", "--json", "-n", "2")[1].splitlines()
    ]
    assert [each["schema"] for each in documents] == ["convtree.follow"] * 2
    assert [each["record"]["type"] for each in documents] == ["message", "session_info"]
    assert (documents[0]["record"]["id"], documents[1]["record"]["name"]) == ("q2", "N")


def test_days_are_named(place: Path) -> None:
    """Before the first entry of each day that is not today, in local time or in UTC."""
    del place
    times = ["2026-03-01T22:30:00.000Z", "2026-03-01T23:30:00.000Z", "2026-03-02T08:00:00.000Z"]
    with Session.open(LOG) as session:
        session.extend(MessageEntry(id=f"m{n}", message=user(f"q{n}"), timestamp=time) for n, time in enumerate(times))
        session.append(user("now"))
    code, out, _ = call("follow", LOG, "--timeout", "0", "--utc")
    lines = [line.split() for line in out.splitlines()]
    assert (code, [line for line in lines if "Mar" in line]) == (
        0,
        [["Sun", "1", "Mar", "2026"], ["Mon", "2", "Mar", "2026"]],
    )
    assert [line[0] for line in lines[:5]] == ["Sun", "22:30:00", "23:30:00", "Mon", "08:00:00"]
    assert lines[-1][1:] == ["user", "now"]


def test_what_another_program_appends_is_printed_at_once(log: Path) -> None:
    """While the command runs; it ends when nothing came for some time."""
    command = [sys.executable, "-m", "convtree", "follow", str(log), "-n", "1", "--timeout", "20"]
    environment = {**os.environ, "COLUMNS": "60", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split()[1:] == ["user", "q2"]
        call("append", log, "--role", "assistant", "\x1b[31m" + "long " * 50)
        line = process.stdout.readline()
        process.terminate()
    assert line.split()[1:3] == ["assistant", r"\x1b[31mlong"]
    assert 50 < len(line) <= 61
