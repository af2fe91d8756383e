"""The commands over a store, called as a program would be."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from click.testing import CliRunner
from helpers import contents, user

from convtree import ParentSession, Session
from convtree._cli.app import app
from convtree.stores._session_store import SessionStore, open_store


@pytest.fixture(params=["{}/store", "sqlite:///{}/store.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    """A store with two sessions, which CONVTREE_URL names."""
    url = request.param.format(tmp_path)
    with open_store(url, durability="process") as made:
        with made.create(id="trip", name="Trip", cwd="/home/me", owner="me") as session:
            question = session.append(user("Where shall we go?"), id="q")
            session.append({"role": "assistant", "content": "Rome?"}, id="rome", model="m", usage=spent(10, 5))
            session.append({"role": "assistant", "content": "Oslo?"}, id="oslo", parent_id=question.id, model="m")
        sleep(0.002)  # lists are in the order of milliseconds
        with made.create(id="code", cwd="/home/me/code", git_root="/home/me/code") as session:
            session.append(user("fix the \x1b[31mbug"), id="c")
        monkeypatch.setenv("CONVTREE_URL", url)
        yield made


def spent(read: int, written: int) -> dict[str, Any]:
    return {"input_tokens": read, "output_tokens": written, "cost": 0.25}


def call(*arguments: object, answer: str | None = None) -> tuple[int, str, str]:
    """Runs a command; returns its exit code, what it printed, and what it said beside that."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=answer)
    return done.exit_code, done.stdout, done.stderr


def asked(*arguments: object) -> Any:
    """Runs a command that must go well; returns its JSON document."""
    code, out, err = call(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.usefixtures("store")
def test_ls_has_the_last_active_first() -> None:
    """With its time, its messages, and its name or how it began; nothing in it can harm a terminal."""
    code, out, err = call("ls")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.split()[0] == "code"
    assert first.endswith(r"     1  fix the \x1b[31mbug")
    assert second.split()[0] == "trip"
    assert second.endswith("     3  Trip")


@pytest.mark.usefixtures("store")
def test_ls_as_json() -> None:
    """One document, versioned, with everything that the store says."""
    told = asked("ls", "--cwd", "/home/me")
    assert (told["schema"], told["schema_version"], told["cursor"], told["findings"]) == ("convtree.ls", 1, None, [])
    (trip,) = told["sessions"]
    assert (trip["id"], trip["name"], trip["owner"], trip["messages"]) == ("trip", "Trip", "me", 3)
    assert (trip["models"], trip["usage"]["input_tokens"]) == (["m"], 10)


@pytest.mark.usefixtures("store")
def test_ls_goes_on_where_it_ended() -> None:
    """The cursor that is printed leads to the rest."""
    code, out, _ = call("ls", "--limit", 1)
    assert (code, out.split()[0]) == (0, "code")
    cursor = out.splitlines()[1].removeprefix("more: --cursor ")
    assert [each["id"] for each in asked("ls", "--cursor", cursor)["sessions"]] == ["trip"]
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
def test_ls_chooses(options: tuple[str, ...], expected: list[str], store: SessionStore) -> None:
    sleep(0.002)
    with store.create(id="task", parent_session=ParentSession(id="trip", kind="task")) as session:
        session.append(user("x"))
    assert [each["id"] for each in asked("ls", *options)["sessions"]] == expected


@pytest.mark.parametrize("store", ["{}/store"], indirect=True)
def test_ls_says_what_is_no_session(store: SessionStore) -> None:
    """And ends with 1; the others are listed."""
    Path(store.location, "foreign.jsonl").write_text("hello\n")
    code, out, _ = call("ls")
    assert code == 1
    assert out.splitlines()[2] == "not_a_log: foreign"
    assert len(out.splitlines()) == 3


@pytest.mark.usefixtures("store")
def test_show_is_inspect() -> None:
    """With the same options."""
    code, out, _ = call("show", "trip")
    assert code == 0
    assert out.startswith("Trip, session trip\n3 entries, 3 messages, 2 branches, m, leaf oslo\n")
    assert json.loads(call("show", "trip", "--context", "--json", "--leaf", "rome")[1])["entry_ids"] == ["q", "rome"]
    assert call("show", "nowhere")[0] == 3


@pytest.mark.usefixtures("store")
def test_search_says_where_and_on_which_branch() -> None:
    """All words; what does not lead to the leaf is said to lie aside."""
    code, out, _ = call("search", "ROME")
    assert (code, out) == (0, "trip rome assistant: Rome? (side branch)\n")
    (hit,) = asked("search", "oslo")["hits"]
    assert (hit["session_id"], hit["entry_id"], hit["snippet"], hit["on_path"]) == ("trip", "oslo", "Oslo?", True)
    assert asked("search", "rome", "oslo")["hits"] == []


def test_latest_and_resume_print_an_id(store: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume looks at the directory, and at the root of its repository; latest at none."""
    assert call("latest") == (0, "code\n", "")
    assert call("latest", "--cwd", "/home/me") == (0, "trip\n", "")
    assert asked("latest")["session"]["id"] == "code"
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
    """By session, by model, by branch, and in all."""
    code, out, _ = call("usage")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["0", "0", "0", "0", "0.0000", "code"],
        ["10", "5", "0", "0", "0.2500", "trip"],
        ["10", "5", "0", "0", "0.2500", "in", "all"],
    ]
    (row,) = asked("usage", "--by", "model")["rows"]
    assert (row["model"], row["usage"]["output_tokens"]) == ("m", 5)
    rows = asked("usage", "trip", "--by", "branch")["rows"]
    assert {row["leaf_id"]: row["usage"]["cost"] for row in rows} == {"rome": 0.25, "oslo": 0.0}
    assert call("usage", "--by", "branch")[0] == 2


def test_fork_prints_the_new_id(store: SessionStore) -> None:
    """Up to the leaf, or up to an entry."""
    code, out, _ = call("fork", "trip", "rome")
    assert code == 0
    with store.open(out.strip()) as forked:
        assert contents(forked) == ["Where shall we go?", "Rome?"]
    with store.open(asked("fork", "trip")["id"]) as forked:
        assert contents(forked) == ["Where shall we go?", "Oslo?"]
    assert call("fork", "trip", "nowhere")[0] == 3


@pytest.mark.usefixtures("store")
def test_archive_and_back() -> None:
    """Archived sessions are listed when asked for."""
    assert call("archive", "trip", "code") == (0, "", "")
    assert asked("ls")["sessions"] == []
    assert call("ls", "--all")[1].count("(archived)") == 2
    assert asked("archive", "--undo", "trip")["archived"] is False
    assert [each["id"] for each in asked("ls")["sessions"]] == ["trip"]


@pytest.mark.usefixtures("store")
def test_rm_asks() -> None:
    """What is asked stands beside the output; no is no."""
    code, out, err = call("rm", "trip", answer="n\n")
    assert (code, out) == (1, "")
    assert "trip  3 messages  Trip\nDelete 1 session for good?" in err
    assert call("rm", "trip", "nowhere", "-y")[0] == 3
    code, out, _ = call("rm", "trip", answer="y\n")
    assert (code, out.splitlines()[-1]) == (0, "trip")
    assert [each["id"] for each in asked("ls")["sessions"]] == ["code"]
    assert asked("rm", "code", "-y")["ids"] == ["code"]


@pytest.mark.usefixtures("store")
def test_prune_says_first_what_would_go() -> None:
    assert call("prune", "--keep", 1) == (0, "trip\n", "1 session would go; --yes does it\n")
    assert asked("prune", "--max-age", 1)["sessions"] == []
    assert call("prune")[0] == 2
    assert asked("prune", "--keep", 1, "--yes")["done"]
    assert [each["id"] for each in asked("ls")["sessions"]] == ["code"]


def test_copy(store: SessionStore, tmp_path: Path) -> None:
    """Once, again, after more was said, and when the copy has gone on by itself."""
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
    ("url", "code", "said"),
    [
        ("nowhere", 3, "there is no store here"),
        ("foo://x", 2, "nobody knows stores of the scheme 'foo'"),
        ("file://elsewhere/x", 2, "is on another machine"),
    ],
)
def test_a_store_that_is_not_there(url: str, code: int, said: str, tmp_path: Path) -> None:
    """Is not made by looking."""
    place = tmp_path / url if url == "nowhere" else url
    found, out, err = call("ls", "-s", place)
    assert (found, out) == (code, "")
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_no_store_is_a_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVTREE_URL", raising=False)
    code, _, err = call("ls")
    assert code == 2
    assert "--store" in err


def test_ls_shows_ids_whole(store: SessionStore) -> None:
    """They are there to be given to `show`; what is behind them stands in one column."""
    uuid = "01234567-89ab-4cde-8f01-23456789abcd"
    with store.create(id=uuid) as session:
        session.append(user("hi"))
    lines = call("ls")[1].splitlines()
    assert lines[0].split()[0] == uuid
    assert len({line.index("     1  ") for line in lines if "     1  " in line}) == 1
    assert call("show", uuid)[0] == 0
