"""Which store, session and entry a command is about: the default place, prefixes, `@`, and numbers of the last list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from foreign import PI, encoded
from helpers import assistant, contents, user
from test_cli_sessions import call, json_of

from convtree import EntryNotFound, Session
from convtree._cli import last_list
from convtree._cli.choosing import default_place
from convtree.exchange import export_file, export_lines
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore

ONE, TWO = "5eed0000aaaa", "5eed0000bbbb"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; the user's directories are in it, and there is no variable."""
    monkeypatch.delenv("CONVTREE_URL", raising=False)
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    """A store at CONVTREE_URL with two sessions of two branches each; `TWO` is the last active one."""
    monkeypatch.setenv("CONVTREE_URL", str(place / "store"))
    times = count(10**18, 10**9)
    with open_store(place / "store", clock=lambda: next(times)) as made:
        for id in (ONE, TWO):
            with made.create(id=id, name=f"N{id[-1]}") as session:
                session.append(user("Where to?"), id="aaaa1111")
                session.append(assistant("Rome"), id="aaaa2222", label="warm one")
                session.append(assistant("Oslo"), id="bbbb1111", parent_id="aaaa1111")
        yield made


# --- sessions ---


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("text", [TWO, TWO[:9], "@latest", "1"])
def test_every_command_takes_what_stands_for_a_session(text: str) -> None:
    """An id, the beginning of one, the last active session, and the number of a row."""
    assert call("ls")[0] == 0
    assert json_of("show", text)["id"] == TWO
    assert json_of("inspect", text)["id"] == TWO
    assert "Where to?" in call("export", text, "--to", "markdown")[1]
    assert json_of("usage", text)["rows"][0]["session_id"] == TWO
    assert json_of("diff", text, "@", "warm one")["ancestor_id"] == "aaaa1111"
    assert json_of("verify", text)["logs"][0]["path"] == TWO
    assert json_of("repair", text)["repairs"][0]["path"] == TWO
    assert json_of("redact", text)["sessions"][0]["id"] == TWO
    assert json_of("vacuum", text)["entries"] == 1
    assert json_of("hold", text)["ids"] == [TWO]
    assert json_of("hold", text, "--undo")["ids"] == [TWO]
    assert json_of("copy", "store", "copied", "--id", text)["sessions"][0]["id"] == TWO
    forked = json_of("fork", text, "@~1")["id"]
    assert [row["id"] for row in json_of("ls", "--parent", TWO[:9])["sessions"]] == [forked]
    assert json_of("show", forked, "--path")["entries"][-1]["id"] == "aaaa1111"
    assert json_of("rm", TWO[:9], TWO, "-y")["ids"] == [TWO]
    assert [row["id"] for row in json_of("ls", "--parent", TWO)["sessions"]] == [forked]


@pytest.mark.usefixtures("store")
def test_what_stands_for_no_session_or_for_several() -> None:
    """A message says what was expected, or lists the candidates."""
    code, out, err = call("show", "5eed")
    assert (code, out) == (4, "")
    assert f"'{TWO}', '{ONE}'; give more characters" in err
    for text in ("5ee", "9", "none", "@", "a/b"):
        code, out, err = call("show", text)
        assert (code, out) == (3, "")
    assert "no list was printed yet" in call("show", "9")[2]
    assert call("rm", "none", "-y")[0] == 3


def test_numbers_are_those_of_the_last_list(store: SessionStore, place: Path) -> None:
    """Of each store its own, of a list that a person saw; and an id wins."""
    call("ls", "--limit", "1")
    assert [call("show", number)[0] for number in ("1", "2")] == [0, 3]
    call("search", "oslo")
    assert {json_of("show", number)["id"] for number in "12"} == {ONE, TWO}
    call("ls", "--json")
    call("latest")
    call("ls", "--owner", "nobody")  # has no rows to number
    assert "the last list has 2 rows" in call("show", "3")[2]
    open_store(place / "other").close()
    call("ls", "-s", "other")
    assert "no list was printed yet" in call("show", "-s", "other", "1")[2]
    call("ls", "-s", "store/../store")
    assert json_of("show", "1")["id"] == TWO
    with store.create(id="1") as session:
        session.append(user("x"))
    assert json_of("show", "1")["id"] == "1"
    with store.create(id="2222-and-more") as session:
        session.append(user("x"))
    assert json_of("show", "2222")["id"] == "2222-and-more"
    call("ls")
    store.delete(TWO)
    assert call("show", "3")[0] == 3


def test_the_last_lists_are_a_small_file(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """It has the lists of 20 stores. One that is damaged or cannot be written is no error."""
    for number in range(22):
        last_list.remember_list(f"s://{number}", [f"id{number}"] * 1001)
    assert [len(last_list.remembered_list(f"s://{number}")) for number in (1, 2, 21)] == [0, 1000, 1000]
    path = place / "home" / "convtree" / "last-lists.json"
    path.write_text("[")
    assert last_list.remembered_list("s://21") == []
    (place / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "file"))
    last_list.remember_list("s://1", ["x"])
    assert last_list.remembered_list("s://1") == []


# --- entries ---


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("text", "id"), [("warm one", "aaaa2222"), ("bbbb", "bbbb1111"), ("@~1", "aaaa1111")])
def test_every_command_takes_what_stands_for_an_entry(text: str, id: str) -> None:
    """A label, the beginning of an id, and what is above the leaf."""
    assert json_of("show", ONE, "--leaf", text)["leaf_id"] == id
    assert json_of("inspect", f"store/{ONE}.jsonl", "--leaf", text, "--context")["entry_ids"][-1] == id
    assert json_of("diff", f"store/{ONE}.jsonl", text, text)["b"]["leaf_id"] == id
    assert json_of("show", json_of("fork", ONE, text)["id"])["leaf_id"] == id
    assert json_of("vacuum", ONE, "--keep", text, "--keep", "@", "--keep", "warm one")["entries"] == 0
    for arguments in (("show", ONE, "--leaf"), ("diff", ONE), ("fork", ONE), ("vacuum", ONE, "--keep")):
        code, _, err = call(*arguments, "aaaa")
        assert (code, "'aaaa1111', 'aaaa2222'; give" in err) == (4, True)
        assert call(*arguments, "zzzz")[0] == 3


def test_a_session_of_a_source_by_the_beginning_of_its_id(place: Path) -> None:
    """`--session` takes it for logs and for other tools' sessions, and is refused for a session of a store."""
    for id in ("feed0001", "feed0002", "ab"):
        text = encoded(*PI).decode().replace('"p1"', f'"{id}"')
        (place / f"{id}.jsonl").write_text(text)
    assert json_of("inspect", ".", "--session", "feed0002")["id"] == "feed0002"
    (place / "ab.jsonl").unlink()
    assert json_of("inspect", "feed0001.jsonl", "--session", "feed0")["id"] == "feed0001"
    code, _, err = call("inspect", ".", "--session", "feed")
    assert (code, "'feed0001', 'feed0002'; give" in err) == (4, True)
    for text in ("fee", "fead"):
        assert call("inspect", ".", "--session", text)[0] == 3
    Session.open(place / "log.jsonl", id="longer-id").append(user("x"))
    assert json_of("inspect", "log.jsonl", "--session", "longer")["id"] == "longer-id"
    assert call("inspect", "log.jsonl", "--session", "lon")[0] == 3


@pytest.mark.usefixtures("store")
def test_a_session_of_a_folder_by_the_beginning_of_its_id() -> None:
    """`redact` looks at the names of files."""
    for text in (TWO, TWO[:9]):
        assert json_of("redact", "store", "--session", text)["path"] == f"store/{TWO}.jsonl"
    assert [call("redact", "store", "--session", text)[0] for text in ("5eed", "5ee", "none")] == [4, 3, 3]


@pytest.mark.usefixtures("store")
def test_a_session_of_a_store_has_no_sessions() -> None:
    """So `--session` is refused."""
    for command in (
        ["inspect", ONE],
        ["inspect", ONE, "-s", "store"],
        ["diff", ONE, "@"],
        ["export", ONE, "--to", "pi"],
    ):
        code, _, err = call(*command, "--session", "x")
        assert (code, "--session chooses from a file or folder" in err) == (2, True)


# --- a path, or a session of the default store ---


def test_a_path_that_exists_is_meant(store: SessionStore, place: Path) -> None:
    """Whatever the store has. A text that looks like a path is none of the store."""
    with Session.open(place / TWO, id="file") as session:
        session.append(user("x"))
    assert json_of("inspect", TWO)["id"] == "file"
    assert json_of("inspect", TWO, "-s", store.location)["id"] == TWO
    assert json_of("verify", TWO)["logs"][0]["path"] == TWO
    for text in ("none.jsonl", f"./{ONE}", f"none/{ONE}"):
        code, _, err = call("inspect", text)
        assert (code, "there is no log here" in err) == (3, True)
    code, _, err = call("inspect", "none")
    assert (code, "none: there is no log here; " in err, "no session 'none'" in err) == (3, True, True)
    assert call("verify", "none", TWO)[0] == 3


def test_a_variable_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A LOG is a path, then; a command on a store says what is wrong with the variable."""
    monkeypatch.setenv("CONVTREE_URL", "nowhere")
    assert "there is no log here" in call("inspect", "none")[2]
    assert call("ls")[0] == 3
    assert "url: empty" in call("ls", "--store", "")[2]
    assert "url: empty" in call("new", "--store", "", "x")[2]
    monkeypatch.setenv("CONVTREE_URL", "foo://x")
    code, _, err = call("ls")
    assert (code, "CONVTREE_URL: unknown store URL scheme 'foo'" in err) == (2, True)


# --- the default place ---


def test_the_default_place(place: Path) -> None:
    """Without an option and the variable, sessions are in the user's data directory. A list says if none are there."""
    home = place / "home" / "convtree" / "sessions"
    assert default_place() == str(home)
    said = f"no sessions in {home} yet; `convtree new` makes one, "
    said += "`convtree import --discover` finds those of other tools\n"
    assert call("ls") == (0, "", said)
    assert json.loads(call("ls", "--json")[1])["sessions"] == []
    for arguments in (["show", "x"], ["search", "x"], ["latest"], ["usage"]):
        assert call(*arguments) == (3, "", f"convtree: {said}")
    assert "there is no log here" in call("inspect", "x")[2]
    assert [*place.iterdir()] == []
    with open_store(home) as store:
        assert call("ls") == (0, "", said)
        with store.create(id="abcd") as session:
            session.append(user("x"))
    assert call("ls")[2] == ""
    assert json_of("show", "@latest")["id"] == json_of("inspect", "abcd")["id"] == "abcd"


# --- export ---


@pytest.mark.usefixtures("store")
def test_an_export_of_another_branch() -> None:
    """`--leaf` chooses it, as an id, a label, a prefix or from the leaf. Formats of a tree have their leaf there."""
    code, out, _ = call("export", ONE, "--to", "markdown", "--leaf", "warm one")
    assert (code, "Rome" in out, "\nOslo" in out) == (0, True, False)
    assert "\nOslo" in call("export", ONE, "--to", "markdown")[1]
    assert json.loads(call("export", ONE, "--to", "json", "--leaf", "aaaa2")[1])["leaf_id"] == "aaaa2222"
    assert call("export", "1", "--to", "json", "--leaf", "zzzz")[0] == 3
    assert call("export", ONE, "--to", "atif", "--leaf", "@~1", "-o", "out.json")[0] == 0
    assert call("export", ONE, "--to", "pi", "--leaf", "@", "-o", "out.json", "--force")[0] == 0
    for arguments in (
        ("--to", "openai-jsonl", "--leaf", "@"),
        ("--to", "atif", "--leaf", "@", "--all-leaves", "-o", "."),
        ("--to", "pi", "--force"),
    ):
        assert call("export", ONE, *arguments)[0] == 2


def test_the_leaf_of_an_export() -> None:
    """The API takes an entry, an id or a label, and moves nothing."""
    session = Session.memory(id="s")
    first = session.append(user("q"))
    session.append(assistant("a"), label="here")
    session.append(assistant("b"), parent_id=first)
    texts = [b"".join(export_lines(session, "markdown", leaf=leaf)).decode() for leaf in (first, "here")]
    assert [("\na\n" in text, "\nb\n" in text) for text in texts] == [(False, False), (True, False)]
    with pytest.raises(EntryNotFound):
        export_lines(session, "pi", leaf="none")
    with pytest.raises(ValueError, match="leaf: the format 'openai-jsonl' holds the contexts of all leaves"):
        export_lines(session, "openai-jsonl", leaf=first)
    with pytest.raises(ValueError, match="leaf: all_leaves writes every leaf"):
        export_file(session, "out", "atif", leaf=first, all_leaves=True)
    assert contents(session) == ["q", "b"]


def test_a_session_by_its_number_in_the_list_of_a_folder() -> None:
    """Of two files whose sessions have one id, the row says which is meant."""
    for name, text in (("a", "one"), ("b", "two"), ("c", "three")):
        header = {"type": "session", "version": 3, "id": "same" if name < "c" else "other", "cwd": "/"}
        message = {"type": "message", "id": "m", "parentId": None, "message": {"role": "user", "content": text}}
        Path(f"{name}.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(message)}\n")
    assert call("inspect", ".", "--session", "2")[0] == 3  # nothing was listed yet
    rows = call("inspect", ".")[1].splitlines()[1:-1]
    assert [row.split()[-1] for row in rows] == ["one", "two", "three"]
    for number, text in (("1", "one"), ("2", "two"), ("3", "three")):
        document = json_of("inspect", ".", "--session", number, "--context")
        assert [message["content"] for message in document["messages"]] == [text]
    assert call("inspect", ".", "--session", "4")[0] == 3
