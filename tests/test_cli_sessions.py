"""The commands that read and change a store."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from helpers import contents, user

from convtree import Header, MessageEntry, ParentSession, Session
from convtree._cli.app import app
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore


@pytest.fixture(params=["{}/store", "sqlite:///{}/store.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    """A store with two sessions. CONVTREE_URL is its URL."""
    url = request.param.format(tmp_path)
    with open_store(url, durability="process") as made:
        with made.create(id="trip", name="Trip", cwd="/home/me", owner="me") as session:
            question = session.append(user("Where shall we go?"), id="q")
            session.append({"role": "assistant", "content": "Rome?"}, id="rome", model="m", usage=usage(10, 5))
            session.append({"role": "assistant", "content": "Oslo?"}, id="oslo", parent_id=question.id, model="m")
        sleep(0.002)  # lists are ordered by milliseconds
        with made.create(id="code", cwd="/home/me/code", git_root="/home/me/code") as session:
            session.append(user("fix the \x1b[31mbug"), id="c")
        monkeypatch.setenv("CONVTREE_URL", url)
        yield made


def usage(read: int, written: int) -> dict[str, Any]:
    return {"input_tokens": read, "output_tokens": written, "cost": 0.25}


def call(*arguments: object, answer: str | None = None) -> tuple[int, str, str]:
    """Runs a command. Returns its exit code, its output, and its output on stderr."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=answer)
    return done.exit_code, done.stdout, done.stderr


def json_of(*arguments: object, answer: str | None = None) -> Any:
    """Runs a command that must succeed. Returns its JSON document."""
    code, out, err = call(*arguments, "--json", answer=answer)
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.usefixtures("store")
def test_ls_shows_the_most_recently_active_first() -> None:
    """Below a header. In a pipe, nothing is cut, tabs are between columns, and controls are shown as escapes."""
    code, out, err = call("ls")
    assert (code, err) == (0, "")
    assert [re.sub("\t(now|[0-9]+ s)\t", "\t1 s\t", line) for line in out.splitlines()] == [
        "ID\tAGE\tDIRECTORY\tMODEL\tMSGS\tCOST\tTITLE",
        "code\t1 s\t/home/me/code\t\t1\t\tfix the \\x1b[31mbug",
        "trip\t1 s\t/home/me\tm\t3\t0.25\tTrip",
    ]
    assert call("ls", "-q") == (0, "code\ntrip\n", "")


@pytest.mark.usefixtures("store")
def test_ls_as_json() -> None:
    """One versioned document has every field of the sessions."""
    page = json_of("ls", "--cwd", "/home/me")
    assert (page["schema"], page["schema_version"], page["cursor"], page["findings"]) == ("convtree.ls", 1, None, [])
    (trip,) = page["sessions"]
    assert (trip["id"], trip["name"], trip["owner"], trip["messages"]) == ("trip", "Trip", "me", 3)
    assert (trip["models"], trip["usage"]["input_tokens"]) == (["m"], 10)


@pytest.mark.usefixtures("store")
def test_ls_continues_at_a_cursor() -> None:
    """The printed cursor leads to the next page."""
    code, out, errors = call("ls", "--limit", 1)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["ID", "code"])
    cursor = errors.strip().removeprefix("more: --cursor ")
    assert [each["id"] for each in json_of("ls", "--cursor", cursor)["sessions"]] == ["trip"]
    assert call("ls", "--cursor", "x")[0] == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--text", "rome"), ["trip"]),
        (("--text", "TRIP"), ["trip"]),
        (("--text", "nothing"), []),
        (("--owner", "me"), ["trip"]),
        (("--since", "2000-01-01T00:00:00Z"), ["code", "trip"]),
        (("--until", "2000-01-01T00:00:00Z"), []),
        (("--tasks",), ["task", "code", "trip"]),
    ],
)
def test_ls_filters(options: tuple[str, ...], expected: list[str], store: SessionStore) -> None:
    """Each option selects sessions."""
    sleep(0.002)
    with store.create(id="task", parent_session=ParentSession(id="trip", kind="task")) as session:
        session.append(user("x"))
    assert [each["id"] for each in json_of("ls", *options)["sessions"]] == expected


@pytest.mark.parametrize("store", ["{}/store"], indirect=True)
def test_ls_names_files_that_are_not_sessions(store: SessionStore) -> None:
    """Such a file is named after the sessions, on standard error in a pipe, and the exit code is 1."""
    Path(store.location, "foreign.jsonl").write_text("hello\n")
    Path(store.location, "bad name.jsonl").write_text("")
    code, out, errors = call("ls")
    assert (code, len(out.splitlines())) == (1, 3)
    assert errors.splitlines() == [
        "bad name.jsonl: the name cannot be the id of a session; rename the file, or move it out of the folder",
        "foreign: not a convtree log; move it out of the folder, `convtree import` reads other formats",
    ]


def begin_tasks(store: SessionStore, number: int) -> None:
    """Begins sub-agents of the session "trip": t0, t1, …"""
    for each in range(number):
        with store.create_task("trip", "q", id=f"t{each}", name="look\x1b[31m" if each else None) as task:
            task.append(user("find a hotel"), id="m")
        sleep(0.002)


def test_ls_says_when_sub_agents_are_hidden(store: SessionStore) -> None:
    """Their number is what `--tasks` would add, for the same filters, whatever the page."""
    assert json_of("ls")["hidden_tasks"] == 0
    begin_tasks(store, 1)
    assert call("ls")[2] == "1 sub-agent not shown; --tasks shows it\n"
    begin_tasks(store, 0)
    with store.create_task("t0", id="u") as task:
        task.append(user("x"))
    more, note = call("ls", "--limit", 1)[2].splitlines()
    assert (more.startswith("more: --cursor "), note) == (True, "2 sub-agents not shown; --tasks shows them")
    cursor = more.removeprefix("more: --cursor ")
    assert call("ls", "--limit", 1, "--cursor", cursor)[2].splitlines()[-1] == note
    _, out, errors = call("ls", "--parent", "trip")
    assert (out, errors.splitlines()[0]) == ("", "1 sub-agent not shown; --tasks shows it")
    assert json_of("ls", "--text", "hotel")["hidden_tasks"] == 1
    assert json_of("ls", "--cwd", "/home/me/code")["hidden_tasks"] == 0
    assert json_of("ls", "--tasks")["hidden_tasks"] == 0
    assert "not shown" not in call("ls", "--tasks")[2]
    assert [each["id"] for each in json_of("ls", "--tasks", "--parent", "trip")["sessions"]] == ["t0"]


def test_search_reaches_sub_agents_on_request(store: SessionStore) -> None:
    """With `--tasks`."""
    begin_tasks(store, 1)
    code, out, err = call("search", "hotel")
    assert (code, out) == (0, "")
    assert err.endswith(": no message has all these words; --tasks searches the sessions of sub-agents, too\n")
    code, out, err = call("search", "hotel", "--tasks")
    hit = out.splitlines()[1].split("\t")
    assert (code, err, hit[3:]) == (0, "", ["user", "find a hotel", "active", "find a hotel"])
    assert call("search", "motel", "--tasks")[2].endswith(": no message has all these words\n")


def test_show_names_the_sub_agents(store: SessionStore) -> None:
    """Below the summary, with the entry at which they began. Of many the last active, and all with `--full`."""
    assert json_of("show", "trip")["tasks"] == []
    begin_tasks(store, 6)
    store.fork("trip", new_id="f").close()
    lines = call("show", "trip")[1].splitlines()
    assert lines[3:9] == [
        *(rf"sub-agent t{number} at q: look\x1b[31m" for number in (5, 4, 3, 2, 1)),
        "… 1 more sub-agent; show them with --full",
    ]
    assert "sub-agent t0 at q: find a hotel" in call("show", "trip", "--full")[1].splitlines()
    with store.create_task("code", None, id="v") as task:
        task.rename("")
    assert call("show", "code")[1].splitlines()[2] == "sub-agent v"
    (task,) = json_of("show", "code")["tasks"]
    assert task == {"id": "v", "entry_id": None, "name": "", "title": None, "first_user_message": None}
    if store.location.endswith("store"):
        assert json_of("inspect", Path(store.location, "trip.jsonl"))["tasks"] is None


@pytest.mark.usefixtures("store")
def test_show() -> None:
    """The output and the options are those of `inspect`."""
    code, out, _ = call("show", "trip")
    assert code == 0
    assert out.startswith("Trip\nsession trip\n3 entries, 3 messages, 2 branches, m, leaf oslo\n")
    assert json.loads(call("show", "trip", "--context", "--json", "--leaf", "rome")[1])["entry_ids"] == ["q", "rome"]
    assert call("show", "nowhere")[0] == 3


@pytest.mark.usefixtures("store")
def test_search() -> None:
    """All words must occur. A hit that is not on the path to the leaf is marked as a side branch."""
    code, out, _ = call("search", "ROME")
    header, line = out.splitlines()
    assert (code, header) == (0, "SESSION\tENTRY\tTIME\tROLE\tTITLE\tBRANCH\tTEXT")
    assert re.sub("[0-9]{4}-.{11}", "TIME", line) == "trip\trome\tTIME\tassistant\tTrip\tside\tRome?"
    assert call("search", "oslo")[1].splitlines()[1].split("\t")[5] == "active"
    (hit,) = json_of("search", "oslo")["hits"]
    assert (hit["session_id"], hit["entry_id"], hit["snippet"], hit["on_path"]) == ("trip", "oslo", "Oslo?", True)
    assert json_of("search", "rome", "oslo")["hits"] == []


@pytest.mark.usefixtures("store")
def test_search_of_a_range_of_time() -> None:
    """TIME is that of the message. A range without one says so."""
    assert [hit["entry_id"] for hit in json_of("search", "rome", "--since", "yesterday")["hits"]] == ["rome"]
    assert json_of("search", "rome", "--until", "2001")["hits"] == []
    code, out, errors = call("search", "rome", "--since", "2001", "--until", "2001-03")
    assert (code, len(out.splitlines())) == (0, 0)
    assert ": no message has all these words in messages from 2001-01-01" in errors
    assert call("search", "rome", "--since", "someday")[0] == 2


def test_latest_and_resume_print_an_id(store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`resume` looks at the directory and its git repository, `latest` at neither."""
    assert call("latest") == (0, "code\n", "")
    assert call("latest", "--cwd", "/home/me") == (0, "trip\n", "")
    assert json_of("latest")["session"]["id"] == "code"
    assert call("resume", "--cwd", "/home/me") == (0, "trip\n", "")
    assert call("resume", "--cwd", "/x", "--git-root", "/home/me/code") == (0, "code\n", "")
    assert call("resume", "--cwd", "/home/me", "--max-age", 0)[0] == 3
    assert call("resume", "--cwd", "/nowhere")[0] == 3
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "repository" / "deep")
    with store.create(id="here", git_root=str(tmp_path / "repository")) as session:
        session.append(user("x"))
    assert call("resume") == (0, "here\n", "")


@pytest.mark.usefixtures("store")
def test_usage_adds_up() -> None:
    """Usage is summed up by session, by model, by branch, and in total."""
    code, out, _ = call("usage")
    assert code == 0
    assert out.splitlines() == [
        "ID\tINPUT\tOUTPUT\tCACHE READ\tCACHE WRITE\tCOST\tTITLE",
        "code\t0\t0\t0\t0\t\tfix the \\x1b[31mbug",
        "trip\t10\t5\t0\t0\t0.2500\tTrip",
        "total\t10\t5\t0\t0\t0.2500\t",
    ]
    (row,) = json_of("usage", "--by", "model")["rows"]
    assert (row["model"], row["usage"]["output_tokens"]) == ("m", 5)
    rows = json_of("usage", "trip", "--by", "branch")["rows"]
    assert {row["leaf_id"]: row["usage"]["cost"] for row in rows} == {"rome": 0.25, "oslo": 0.0}
    assert call("usage", "--by", "branch")[0] == 2


def test_usage_shows_what_deleted_sessions_had_used(store: SessionStore) -> None:
    """On a line of its own, unless it is about one session or one directory."""
    store.delete("trip")
    gone = ["10", "5", "0", "0", "0.2500"]
    rows = [line.split() for line in call("usage")[1].splitlines()]
    assert rows[1][:6] == ["code", "0", "0", "0", "0", "fix"]
    assert rows[2:] == [["deleted", "sessions", *gone], ["total", *gone]]
    assert [line.split() for line in call("usage", "--since", "1 hour ago")[1].splitlines()][1:] == rows[2:]
    code, out, err = call("usage", "--until", "yesterday")
    assert (code, out, "no usage of answers until " in err) == (0, "", True)
    (row,) = json_of("usage")["deleted"]
    assert (row["model"], row["usage"]["output_tokens"]) == ("m", 5)
    for arguments in (["code"], ["--cwd", "/work"], ["--owner", "nobody"]):
        assert "deleted" not in call("usage", *arguments)[1]


def test_fork_prints_the_new_id(store: SessionStore) -> None:
    """The copy ends at the leaf, or at the given entry."""
    code, out, _ = call("fork", "trip", "rome")
    assert code == 0
    with store.open(out.strip()) as forked:
        assert contents(forked) == ["Where shall we go?", "Rome?"]
    with store.open(json_of("fork", "trip")["id"]) as forked:
        assert contents(forked) == ["Where shall we go?", "Oslo?"]
    assert call("fork", "trip", "nowhere")[0] == 3


@pytest.mark.usefixtures("store")
def test_archive_and_undo() -> None:
    """Archived sessions are listed with --all only."""
    assert call("archive", "trip", "code") == (0, "", "")
    assert json_of("ls")["sessions"] == []
    assert call("ls", "--all")[1].count("(archived)") == 2
    assert json_of("archive", "--undo", "trip")["archived"] is False
    assert [each["id"] for each in json_of("ls")["sessions"]] == ["trip"]


@pytest.mark.usefixtures("store")
def test_hold_and_undo() -> None:
    """Sessions on hold are listed with --held, and are kept by rm and prune."""
    assert call("hold", "trip") == (0, "", "")
    assert [each["id"] for each in json_of("ls", "--held")["sessions"]] == ["trip"]
    assert call("ls")[1].count("(held)") == 1
    assert "on hold" in call("show", "trip")[1]
    code, _, err = call("rm", "trip", "-y")
    assert (code, "'trip' is on hold; nothing was deleted" in err) == (4, True)
    code, out, err = call("prune", "--keep", 0)
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["ID", "code"])
    assert re.sub(r"\(.*\)", "(SIZE)", err) == (
        "trip is on hold and is kept\n1 session (SIZE) would be deleted; add --yes to delete\n"
    )
    assert [each["id"] for each in json_of("prune", "--keep", 0, "--yes")["held"]] == ["trip"]
    assert json_of("hold", "--undo", "trip")["held"] is False
    assert json_of("rm", "trip", "-y")["ids"] == ["trip"]


@pytest.mark.usefixtures("store")
def test_rm_asks() -> None:
    """The question is printed on stderr. The answer no deletes nothing."""
    code, out, err = call("rm", "trip", answer="n\n")
    assert (code, out) == (0, "")
    assert "trip  3 messages  Trip\nPermanently delete 1 session?" in err
    assert "nothing was deleted" in err
    assert call("rm", "trip", "nowhere", "-y")[0] == 3
    code, out, _ = call("rm", "trip", answer="y\n")
    assert (code, out.splitlines()[-1]) == (0, "trip")
    assert [each["id"] for each in json_of("ls")["sessions"]] == ["code"]
    assert json_of("rm", "code", "-y")["ids"] == ["code"]


def test_prune_says_where_the_arrival_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AGE is the last activity, as in ls. What stays, or goes, for a later arrival is said."""
    monkeypatch.chdir(tmp_path)
    header = Header(id="old", timestamp="2020-01-01T00:00:00.000Z")
    said = MessageEntry(id="q", timestamp="2020-01-01T00:00:00.000Z", message=user("x"))
    with open_store("arrivals/") as made:
        with made.create(id="early") as session:
            session.append(user("x"))
        sleep(0.002)
        with made.open_or_create(header, arrives=True) as session:
            session.extend([said])
    code, out, err = call("prune", "-s", "arrivals", "--max-age", 30)
    assert (code, out) == (0, "")
    assert err == "1 session is older but arrived within 30 days, and is kept\nno sessions would be deleted\n"
    code, out, err = call("prune", "-s", "arrivals", "--keep", 0)
    rows = [line.split("\t") for line in out.splitlines()]
    assert (rows[0][:3], [row[0] for row in rows[1:]]) == (["ID", "AGE", "ARRIVED"], ["old", "early"])
    assert ("year" in rows[1][1], "year" in rows[1][2]) == (True, False)
    assert err.splitlines()[0] == "ARRIVED counts where it is shown: it is later than the last activity"
    code, out, err = call("prune", "-s", "arrivals", "--keep", 1)
    assert [line.split()[0] for line in out.splitlines()] == ["ID", "early"]
    assert err.splitlines()[0] == (
        "1 session kept because of a later arrival: unlike `ls`, prune counts from the import where that is later than "
        "the last activity"
    )
    assert [each["id"] for each in json_of("prune", "-s", "arrivals", "--keep", 1)["arrived"]] == ["old"]


@pytest.mark.usefixtures("store")
def test_prune_lists_first_and_deletes_with_yes() -> None:
    """Wrong options are named as options of the command."""
    code, out, err = call("prune", "--keep", 1)
    assert code == 0
    assert re.fullmatch(r"1 session \([0-9.KB]+\) would be deleted; add --yes to delete\n", err)
    assert re.fullmatch(r"ID\t.*\ntrip\t(now|\d+ s)\t\t[0-9,]+\t3\t/home/me\tTrip\n", out)
    assert call("prune", "--keep", 1, "--dry-run")[1] == out
    document = json_of("prune", "--keep", 1)
    assert (list(document["judged"]), document["judged"]["trip"]["held"]) == (["trip"], False)
    assert json_of("prune", "--max-age", 1)["sessions"] == []
    for options, message in (
        ((), "give --max-age AGE, --keep N, or both"),
        (("--max-age", 0), "--max-age must be greater than 0; to delete all sessions, use --keep 0"),
        (("--max-age", "nan"), "--max-age must be greater than 0"),
        (("--max-age", "soon"), "Invalid value for --max-age: cannot read 'soon' as an age"),
        (("--keep", 1, "--yes", "--dry-run"), "--dry-run contradicts --yes"),
    ):
        code, _, err = call("prune", *options)
        assert (code, message in err) == (2, True)
    assert json_of("prune", "--max-age", "inf")["sessions"] == []
    with patch.object(SessionStore, "_delete_family", return_value=False):
        code, out, err = call("prune", "--keep", 1, "--yes")
        assert (code, out) == (0, "")
        assert err.startswith("trip is kept: it, or a sub-agent's session, was written to meanwhile")
        assert err.endswith("no sessions deleted\n")
        assert [each["id"] for each in json_of("prune", "--keep", 1, "--yes")["skipped"]] == ["trip"]
    assert json_of("prune", "--keep", 1, "--yes")["done"]
    assert [each["id"] for each in json_of("ls")["sessions"]] == ["code"]


def test_copy(store: SessionStore, tmp_path: Path) -> None:
    """Sessions are copied, continued or unchanged. A copy that was changed in the target is refused."""
    target = tmp_path / "target"
    assert call("copy", store.location, target) == (0, "2 sessions copied\n", "")
    with store.open("trip") as session, Session.open(target / "trip.jsonl", mode="r") as copy:
        assert copy.path() == session.path()
    assert call("copy", store.location, target) == (0, "2 sessions unchanged\n", "")
    with store.open("trip") as session:
        session.append(user("more"))
    with Session.open(target / "code.jsonl") as session:
        session.append(user("something else"))
    code, out, _ = call("copy", store.location, target)
    assert code == 1
    assert out.splitlines()[:2] == ["1 session continued", "1 session refused"]
    assert "was continued there" in out
    done = json.loads(call("copy", store.location, target, "--id", "trip", "--json")[1])
    assert done["sessions"] == [{"id": "trip", "status": "unchanged", "lines": 0, "reason": None}]


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("nowhere", 3, "there is no store here"),
        ("foo://x", 2, "unknown store URL scheme 'foo'"),
        ("file://elsewhere/x", 2, "is on another machine"),
    ],
)
def test_missing_store(url: str, code: int, message: str, tmp_path: Path) -> None:
    """Reading a store that does not exist fails and creates nothing."""
    place = tmp_path / url if url == "nowhere" else url
    found, out, err = call("ls", "-s", place)
    assert (found, out) == (code, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_ls_shows_ids_whole(store: SessionStore) -> None:
    """A whole id can be copied and passed to `show`."""
    uuid = "01234567-89ab-4cde-8f01-23456789abcd"
    with store.create(id=uuid) as session:
        session.append(user("hi"))
    assert call("ls")[1].splitlines()[1].split("\t")[0] == uuid
    assert call("show", uuid)[0] == 0


@pytest.mark.parametrize("store", ["{}/store"], indirect=True)
@pytest.mark.parametrize(
    ("command", "loads"),
    [
        (["ls"], False),
        (["search", "rome"], False),
        (["usage"], False),
        (["fork", "trip"], False),
        (["verify", "store/trip.jsonl"], False),
        (["import", "pi.jsonl", "imported.jsonl"], False),
        (["import", "pi.jsonl", "imported/"], False),
        (["export", "store/trip.jsonl", "--to", "markdown"], False),
        (["show", "trip", "--context"], False),
        (["show", "trip"], False),
        (["show", "trip", "--dot"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("store")
def test_only_graphs_load_anytree(command: list[str], loads: bool, tmp_path: Path) -> None:
    """Only a graph for another program is written by anytree."""
    header = {"type": "session", "version": 3, "id": "f00d", "timestamp": "2026-01-01T00:00:00.000Z", "cwd": "/x"}
    (tmp_path / "pi.jsonl").write_text(json.dumps(header) + "\n")
    program = (
        "import atexit, sys\n"
        "from convtree._cli import main\n"
        "atexit.register(lambda: print('anytree' in sys.modules, file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == f"{loads}\n"
