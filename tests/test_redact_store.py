"""Redaction of sessions in a store: what is left in files, crashes, and the command line."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import pytest
from click.testing import CliRunner
from helpers import assistant, user
from postgres import new_database

from convtree import CorruptLog, Redactor, SessionStore
from convtree._cli.app import app
from convtree._engine import codec
from convtree._engine.write_batch import reseal
from convtree._logs import sql_lines
from convtree._logs.sql_errors import RolledBack
from convtree.repair import redact_log
from convtree.stores import _redact
from convtree.stores._open import open_store
from convtree.testing import begin

TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3
MARK = "[REDACTED:github_token]"
KINDS = ["folder", "sqlite", "postgresql"]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind that lasts."""
    with ExitStack() as ends:
        if request.param == "postgresql":
            yield ends.enter_context(new_database(request.getfixturevalue("postgres_server")))
        else:
            yield str(tmp_path / "store") if request.param == "folder" else f"sqlite:///{tmp_path}/store.db"


def filled(url: str) -> SessionStore:
    """A store with a long session that has a secret, and one that has none."""
    store = open_store(url, create=True)
    with store.create(id="s", name=f"use {TOKEN}") as session:
        session.append_many([user(f"word{number} {'x' * 200}") for number in range(3000)])
        session.append(assistant(f"it is {TOKEN}"), model="m", usage={"output_tokens": 3})
        session.label(session.leaf_id or "", "end")
    begin(store, "t", "nothing")
    return store


def files_of(place: Path) -> dict[str, bytes]:
    """The content of all files below a directory."""
    return {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout


@pytest.mark.parametrize("kind", KINDS[:2])
def test_no_file_holds_the_secret(kind: str, tmp_path: Path) -> None:
    """Log, database, WAL, catalogue, saved index and ledger. Before, it was there."""
    url = str(tmp_path / "store") if kind == "folder" else f"sqlite:///{tmp_path}/store.db"
    with filled(url) as store:
        store.list(text="word1")
        assert any(TOKEN.encode() in data for data in files_of(tmp_path).values())
        done = store.redact_session("s", dry_run=False, remove_original=True)
        assert (done.kinds, done.original, done.pending) == ({"github_token": 2}, None, ())
        names = {"folder": {"s.jsonl", ".catalogue.sqlite"}, "sqlite": {"store.db", "store.db-wal"}}[kind]
        assert names <= set(done.complete)
        words = TOKEN.removeprefix("ghp_").lower().encode()
        assert [name for name, data in files_of(tmp_path).items() if TOKEN.encode() in data or words in data] == []
        store.delete("s")
        assert [name for name, data in files_of(tmp_path).items() if TOKEN.encode() in data] == []


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_crash_leaves_the_old_lines_or_the_new_ones(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An error at any batch of lines changes nothing. A transaction that the server rolls back is repeated."""
    with ExitStack() as ends:
        url = f"sqlite:///{tmp_path}/store.db"
        if kind == "postgresql":
            url = ends.enter_context(new_database(request.getfixturevalue("postgres_server")))
        store = ends.enter_context(filled(url))
        insert = sql_lines.insert_lines

        def failing(at: int, error: Exception) -> Callable[..., object]:
            calls = iter(range(100))

            def fail(*arguments: object) -> object:
                if next(calls) == at:
                    raise error
                return insert(*arguments)  # type: ignore[arg-type]

            return fail

        before = store.info("s"), lines_of(store, "s")
        for at in (0, 3, 6):  # the first batch, one of the middle, the last
            failed = patch.object(sql_lines, "insert_lines", failing(at, OSError("crash")))
            with failed, pytest.raises(OSError, match="crash"):
                store.redact_session("s", dry_run=False)
            assert (store.info("s"), lines_of(store, "s")) == before
        redactor = Redactor(explain=True)
        with patch.object(sql_lines, "insert_lines", failing(3, RolledBack("again"))):
            done = store.redact_session("s", redactor=redactor, dry_run=False)
        assert (done.kinds, redactor.counts, len(done.places)) == ({"github_token": 2}, {"github_token": 2}, 2)
        assert TOKEN not in "".join(lines_of(store, "s"))


def lines_of(store: SessionStore, id: str) -> list[str]:
    log = store._log(id, "r")
    try:
        return [line.decode() for chunk in log.read() for line in chunk.lines]
    finally:
        log.close()


def test_another_tree_is_refused(url: str) -> None:
    """A redaction that would lose a record changes nothing."""
    with filled(url) as store:
        before = lines_of(store, "s")
        with (
            patch.object(_redact, "reseal", all_but_one),
            pytest.raises(CorruptLog, match="another tree"),
        ):
            store.redact_session("s", dry_run=False)
        assert lines_of(store, "s") == before


def all_but_one(header: bytes, bodies: Iterator[bytes]) -> Iterator[bytes]:

    return reseal(header, list(bodies)[:-1])


def test_a_torn_tail_is_removed_and_damage_refused(tmp_path: Path) -> None:
    """A dry run says the same."""
    with open_store(tmp_path, durability="process") as store:
        begin(store, "torn", TOKEN)
        begin(store, "damaged", TOKEN, "two")
        with (tmp_path / "torn.jsonl").open("ab") as file:
            file.write(b'{"id":"x')
        path = tmp_path / "damaged.jsonl"
        path.write_bytes(path.read_bytes().replace(b"ghp_", b"ghp-"))
        assert store.redact_session("torn").lines == 1
        assert store.redact_session("torn", dry_run=False).done
        for dry_run in (True, False):
            with pytest.raises(CorruptLog, match="repair it first"):
                store.redact_session("damaged", dry_run=dry_run)
        with store.open("torn") as session:
            assert (session.path()[0].text, session.findings) == (MARK, ())  # type: ignore[attr-defined]


def test_a_record_that_is_sealed_but_no_text_is_refused(tmp_path: Path) -> None:
    """Its checksum holds, so that only reading all of it shows the damage."""
    with open_store(tmp_path, durability="process") as store:
        begin(store, "s", TOKEN)
        path = tmp_path / "s.jsonl"
        lines = path.read_bytes().splitlines()
        line, _ = codec.seal_line(b'{"id":"zz","parent_id":null,"type":"other","x":"\xff"', crc32(lines[-1]))
        before = b"\n".join((*lines, line, b""))
        path.write_bytes(before)
        for dry_run in (True, False):
            with pytest.raises(CorruptLog, match=r"a record cannot be read .* nothing was changed"):
                store.redact_session("s", dry_run=dry_run)
        with pytest.raises(CorruptLog, match="a record cannot be read"):
            redact_log(path)
        assert path.read_bytes() == before


# --- the command line ---------------------------------------------------------------------------------------------


def test_the_command_redacts_sessions_of_a_store(url: str) -> None:
    """It only searches without --yes. Without ids, all sessions are redacted."""
    filled(url).close()
    assert run("redact", "--store", url, "--explain") == (
        0,
        "s: 2 lines with secrets\n  github_token: 2\n"
        "  record 0 (s): name, character 4: github_token\n"
        f"  record 3,001 ({last_of(url)}): message.content, character 6: github_token\n"
        "1 session with secrets, 1 session without secrets; add --yes to redact them\n",
    )
    assert run("redact", "-s", url, "t") == (0, "nothing to redact; 1 session without secrets\n")
    code, said = run("redact", "--store", url, "s", "--json", "--pattern", "word=word17 ")
    document = json.loads(said)
    assert (code, document["schema"], document["dry_run"], document["refused"]) == (
        0,
        "convtree.redact_store",
        True,
        {},
    )
    assert [(each["id"], each["kinds"]) for each in document["sessions"]] == [("s", {"github_token": 2, "word": 1})]
    assert TOKEN not in said
    code, said = run("redact", "--store", url, "--yes", "--remove-original")
    assert (code, said.splitlines()[0], said.splitlines()[-1]) == (
        0,
        "s: 2 lines redacted",
        "1 session redacted, 1 session without secrets",
    )
    assert run("redact", "--store", url)[1] == "nothing to redact; 2 sessions without secrets\n"


def last_of(url: str) -> str:
    with open_store(url) as store:
        return store.info("s").leaf_id or ""


def test_a_session_that_fails_stops_no_others(tmp_path: Path) -> None:
    """It is named, and the exit code is 1."""
    with open_store(tmp_path, durability="process") as store:
        for id in ("a", "b", "gone"):
            begin(store, id, TOKEN)
        store.fork("a", new_id="fork").close()
    path = tmp_path / "b.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ghp_", b"ghp-"))
    (tmp_path / "foreign.jsonl").write_bytes(b"hello\n")
    code, said = run("redact", "--store", tmp_path, "--yes")
    lines = said.splitlines()
    assert (code, lines[-1]) == (1, "3 sessions redacted, 0 sessions without secrets")
    assert [line.partition(":")[0] for line in lines if "not redacted" in line] == ["b", "foreign"]
    assert f"a: 1 line redacted; the log with the secrets: kept as {tmp_path}/a.jsonl.original" in lines
    assert "  may still contain secrets: fork" in lines
    code, said = run("redact", "--store", tmp_path, "nowhere", "a")
    assert (code, said.splitlines()[0].partition(":")[0], said.splitlines()[-1]) == (
        1,
        "nowhere",
        "nothing to redact; 1 session without secrets",
    )
    original = SessionStore.list

    def listing(store: SessionStore, **wanted: object) -> object:
        found = original(store, **wanted)  # type: ignore[arg-type]
        store.delete("gone")
        return found

    with patch.object(SessionStore, "list", listing):
        assert run("redact", "--store", tmp_path)[0] == 1


def test_the_command_refuses_other_arguments(tmp_path: Path) -> None:
    """With a sentence that says what to do."""
    filled(f"sqlite:///{tmp_path}/store.db").close()
    for arguments in (
        ["redact"],
        ["redact", "a", "b"],
        ["redact", f"sqlite:///{tmp_path}/store.db"],
        ["redact", "--store", f"sqlite:///{tmp_path}/store.db", "--session", "s"],
        ["redact", "--store", f"sqlite:///{tmp_path}/store.db", "--allow-network"],
        ["redact", "--store", f"sqlite:///{tmp_path}/store.db", "--remove-original"],
    ):
        assert run(*arguments)[0] == 2
    assert run("redact", "--store", f"sqlite:///{tmp_path}/store.db", "no id")[0] == 1


def test_a_line_that_cannot_be_read_is_not_redacted(tmp_path: Path) -> None:
    """The session is refused, and stays as it is."""
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, store.create(id="a") as session:
        session.append(user("a"))
        session.append(user("b"))
    with sqlite3.connect(tmp_path / "s.db") as raw:
        raw.execute(
            "UPDATE ct_lines SET line = replace(line, '\"message\":', '\"message\";') WHERE line LIKE '%\"b\"%'"
        )
    raw.close()
    with open_store(f"sqlite:///{tmp_path}/s.db") as store, pytest.raises(CorruptLog):
        store.redact_session("a", dry_run=False)
