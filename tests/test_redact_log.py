"""Redaction as an option of imports and of stores: what comes in, begins, is renamed or copied has no secret in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from foreign import SAMPLES, encoded
from helpers import assistant, user
from planted import BARE, FOUND, GITHUB, OPENAI, planted

from convtree import IdConflict, Redactor, Session, SessionStore, aio, open_store, redact
from convtree._cli.app import app
from convtree._tools.redact_log import redact_log
from convtree.exchange import export_lines, import_file, import_into

MARK = "[REDACTED:openai_key]"


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


# --- coming in ---


@pytest.fixture(params=sorted(SAMPLES))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A session of another tool, in which every word has a secret behind it."""
    text = encoded(*SAMPLES[request.param]).decode()
    path = tmp_path / "source"
    path.write_text(re.sub(r"\b(w[0-9]+)\b", rf"\1 {OPENAI}", text))
    return path


def test_an_import_lets_no_secret_in(source: Path, tmp_path: Path) -> None:
    """Each has its mark; importing again adds nothing; without `redact`, all is as it stands in the source."""
    redactor = Redactor()
    report = import_file(source, tmp_path / "log", redact=redactor)
    import_file(source, tmp_path / "full")
    log, full = (tmp_path / "log").read_text(), (tmp_path / "full").read_text()
    assert OPENAI not in log
    assert log.count(MARK) == full.count(OPENAI) == redactor.counts["openai_key"] > 3
    again = import_file(source, tmp_path / "log", redact=redact)
    assert (again.written, again.already_there) == (0, report.written)
    assert (tmp_path / "log").read_text() == log


@pytest.mark.parametrize("redacts_first", [True, False])
def test_an_import_continues_only_with_the_same_redactor(source: Path, tmp_path: Path, redacts_first: bool) -> None:
    """Otherwise the records differ from the stored ones: IdConflict, and the log is not changed."""
    first, then = (redact, None) if redacts_first else (None, redact)
    import_file(source, tmp_path / "log", redact=first)
    before = (tmp_path / "log").read_bytes()
    with pytest.raises(IdConflict):
        import_file(source, tmp_path / "log", redact=then)
    assert (tmp_path / "log").read_bytes() == before


def test_the_rest_of_a_grown_source_is_redacted(source: Path, tmp_path: Path) -> None:
    """An import in two parts gives the same records as in one."""
    lines = source.read_bytes().splitlines(keepends=True)
    (tmp_path / "part").write_bytes(b"".join(lines[:-2]))
    for each in (tmp_path / "part", source):
        import_file(each, tmp_path / "log", redact=redact)
        import_file(each, tmp_path / "full")
    assert OPENAI not in (tmp_path / "log").read_text()
    assert places(tmp_path / "log") == places(tmp_path / "full")


def places(path: Path) -> list[tuple[str, str | None]]:
    """The records of a log and their parents."""
    with Session.open(path, mode="r", strict=True) as session:
        return [(record.id, getattr(record, "parent_id", None)) for _, record in session.records()]


def test_an_import_into_a_store(source: Path) -> None:
    """By the option, or by the store's own; the same either way, and the same again."""
    with open_store("memory:") as plain_store, open_store("memory:", redact=redact) as redacting:
        for store, option in ((plain_store, redact), (redacting, None)):
            (report,) = import_into(source, store, redact=option)
            (again,) = import_into(source, store, redact=option)
            assert (again.status, again.written, again.already_there) == ("imported", 0, report.written)
        id = report.session_id or ""
        assert everything(plain_store, id) == everything(redacting, id)
        (failed,) = import_into(source, plain_store)
        assert (failed.status, failed.written) == ("failed", 0)


def test_a_source_whose_id_is_a_secret_of_the_store(tmp_path: Path) -> None:
    """It is found again, although its id was redacted."""
    lines = [line | ({"id": "me@example.org"} if line["type"] == "session" else {}) for line in SAMPLES["pi"]]
    (tmp_path / "source").write_bytes(encoded(*lines))
    with open_store("memory:", redact=Redactor(email=True)) as store:
        assert [import_into(tmp_path / "source", store)[0].written for _ in range(2)] == [14, 0]


def test_the_command_reports_removed_secrets(source: Path, tmp_path: Path) -> None:
    """On stderr, by kind; into a log and into a store."""
    code, said, errors = run("import", source, tmp_path / "log", "--redact")
    secrets = (tmp_path / "log").read_text().count(MARK)
    assert (code, errors) == (0, f"{secrets} secrets redacted\n  openai_key: {secrets}\n")
    assert "records written" in said
    assert run("import", source, f"{tmp_path}/store/", "--redact", "--email")[2] == errors
    assert all(OPENAI.encode() not in path.read_bytes() for path in (tmp_path / "store").iterdir())
    assert run("import", source, tmp_path / "log", "--redact")[0] == 0
    code, _, errors = run("import", source, tmp_path / "log")
    assert (code, "taken by a record with other content" in errors) == (4, True)
    assert run("import", source, tmp_path / "log", "--email")[0] == 2


# --- stores ---


@pytest.fixture(params=["folder", "sqlite", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    (tmp_path / "store").mkdir()
    return {
        "folder": str(tmp_path / "store"),
        "sqlite": f"sqlite:///{tmp_path / 'store' / 'db'}",
        "memory": "memory:",
    }[request.param]


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    """A store whose sessions redact."""
    with open_store(url, redact=redact) as opened:
        yield opened


def test_whatever_a_store_writes_is_redacted(store: SessionStore, tmp_path: Path) -> None:
    """Sessions that are created, opened, forked, renamed, resumed: no secret in a list or in a file."""
    secrets: dict[str, Any] = {"name": GITHUB, "metadata": {"key": OPENAI}}
    with store.create(id="a", cwd="/w", **secrets) as session:
        question = session.append(user(OPENAI))
        session.update_metadata(more=GITHUB)
    with store.open("b", create=True, **secrets) as session:
        session.append(user(f"needle {OPENAI}"))
    with store.open("a") as session:
        session.append(assistant(OPENAI))
    with store.fork("a", question.id, new_id="c") as fork:
        fork.append(user(OPENAI))
    with store.open_or_create(Session.memory(id="d", **secrets).header) as session:
        session.append(user(OPENAI))
    resumed = store.resume(cwd="/w", note=OPENAI)
    assert resumed is not None
    resumed.close()
    store.rename("b", f"{GITHUB} again")
    assert [store.info(id).name for id in "abcd"] == [
        "[REDACTED:github_token]",
        "[REDACTED:github_token] again",
        "[REDACTED:github_token]",
        "[REDACTED:github_token]",
    ]
    assert len(store.search("needle")) == 1
    assert store.search(OPENAI) == store.search(GITHUB) == []
    said = [record for id in "abcd" for record in everything(store, id)]
    assert not any(OPENAI in each or GITHUB in each for each in said)
    assert sum(each.count(MARK) for each in said) == 4 + 7
    written = [path.read_bytes() for path in (tmp_path / "store").iterdir()]
    assert not any(secret.encode() in each for each in written for secret in (OPENAI, GITHUB))


def everything(store: SessionStore, id: str) -> list[str]:
    """What a session is made of, as text."""
    with store.open(id, read_only=True) as session:
        return [str(session.header.metadata), *(str(_fields(record)) for _, record in session.records())]


def _fields(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__struct_fields__]


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
@pytest.mark.parametrize("kind", FOUND)
def test_a_fork_copies_no_secret(scheme: str, kind: str, tmp_path: Path) -> None:
    """Records stored before the store redacted stay in the source, and are not copied."""
    url = f"{scheme}{tmp_path / 'store'}"
    with planted(FOUND[kind], tmp_path / "log") as session, open_store(url) as store:
        path = session.path("f1")
        with store.open_or_create(session.header) as copy:
            copy.extend(record for _, record in session.records())
    with open_store(url, redact=redact) as store, store.fork("planted", "f1", new_id="fork") as fork:
        assert [entry.id for entry in fork.path()] == [entry.id for entry in path]
        assert (fork.header.cwd, fork.header.owner) == (session.header.cwd, session.header.owner)
        assert fork.findings == ()
        assert not any(BARE[kind] in each for each in everything(store, "fork"))
        assert any(f"[REDACTED:{kind}]" in each for each in everything(store, "fork"))
        assert any(BARE[kind] in each for each in everything(store, "planted"))


def test_directories_and_owners_are_not_redacted(store: SessionStore) -> None:
    """Sessions are found by them. An export redacts them."""
    with open_store("memory:", redact=Redactor(email=True)) as strict:
        with strict.create(cwd="/home/me@example.org", owner="me@example.org") as session:
            session.append(user("I am me@example.org"))
        strict.set_directories(session.id, cwd="/srv/me@example.org")
        (info,) = strict.list(cwd="/srv/me@example.org", owner="me@example.org")
        assert info.first_user_message == "I am [REDACTED:email]"
        with strict.fork(info.id) as fork:
            assert fork.cwd == "/srv/me@example.org"
        with strict.open(info.id) as moved:
            exported = b"".join(export_lines(moved, "json", redact=Redactor(email=True)))
        assert b"example.org" not in exported
    assert store.redact is redact
    assert open_store("memory:").redact is None


def test_an_async_store_redacts() -> None:
    """By the same name."""

    async def main() -> None:
        async with aio.open_store("memory:", redact=redact) as store, store.create() as session:
            assert store.redact is redact
            stored = await session.append(user(OPENAI))
            assert stored.message == user(MARK)

    asyncio.run(main())


def test_a_fork_of_a_session_that_redacts_does_so(tmp_path: Path) -> None:
    """It is opened as its origin was."""
    with Session.memory(redact=redact) as session:
        session.append(user("a"))
        with session.fork(tmp_path / "log") as fork:
            assert fork.append(user(OPENAI)).message == user(MARK)


# --- what is stored already ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of sessions, written without redaction and listed since."""
    with open_store(tmp_path / "store") as store:
        with planted(OPENAI) as session, store.open_or_create(session.header) as copy:
            copy.extend(record for _, record in session.records())
        with store.create(id="b") as session:
            session.append(user("plain"))
        assert store.search("Ab1_Ab1_") != []
    return tmp_path / "store"


def test_a_session_of_a_folder_is_redacted_in_its_place(folder: Path) -> None:
    """Nothing in the folder has the secret any more, the catalogue included; lists go on."""
    code, said, _ = run("redact", folder, "--session", "planted", "--yes", "--remove-original")
    assert (code, said.splitlines()[1:]) == (0, [f"  openai_key: {said.split()[-1]}"])
    assert "the log with the secrets: deleted" in said
    assert not any(OPENAI.encode() in path.read_bytes() for path in folder.iterdir())
    with open_store(folder) as store:
        assert sorted(info.id for info in store.list()) == ["b", "planted"]
        assert store.search("Ab1_Ab1_") == []
        assert store.findings == []


def test_files_that_may_still_hold_the_secret_are_named(folder: Path) -> None:
    """The catalogue, if only a copy is made or the log is named by its path; and the old log."""
    code, said, _ = run("redact", folder / "planted.jsonl")
    assert (code, said.splitlines()[-1]) == (0, "  may still contain secrets: .catalogue.sqlite")
    code, said, _ = run("redact", f"file://{folder}", "--session", "planted", "--yes")
    assert (code, said.splitlines()[-1]) == (0, "  may still contain secrets: planted.jsonl.original")
    with open_store(folder) as store:
        assert len(store.list()) == 2
        store.delete("planted")
    assert sorted(path.name for path in folder.iterdir() if "planted" in path.name) == []


def test_the_session_must_be_named(folder: Path, tmp_path: Path) -> None:
    """And no folder is created for one that does not exist."""
    before = sorted(folder.iterdir())
    assert run("redact", folder)[0] == 2
    assert run("redact", folder, "--session", "none")[0] == 3
    assert run("redact", folder, "--session", "../store/b")[0] == 3
    assert run("redact", tmp_path / "none", "--session", "b")[0] == 3
    assert run("redact", "file://elsewhere/x")[0] == 2
    assert sorted(folder.iterdir()) == before
    assert not (tmp_path / "none").exists()


def test_a_session_in_a_database_is_redacted_through_a_folder(folder: Path, tmp_path: Path) -> None:
    """A copy in a folder can be redacted and copied back, too. As a LOG, a database is refused."""
    url = f"sqlite:///{tmp_path / 'db'}"
    assert run("copy", folder, url)[0] == 0
    code, _, errors = run("redact", url, "--session", "planted", "--yes")
    assert (code, "pass it as --store URL" in " ".join(errors.split())) == (2, True)
    assert run("copy", url, tmp_path / "out", "--id", "planted")[0] == 0
    assert run("redact", tmp_path / "out", "--session", "planted", "--yes")[0] == 0
    assert run("rm", "planted", "--yes", "--store", url)[0] == 0
    assert run("copy", tmp_path / "out", url)[0] == 0
    with open_store(url) as store:
        assert sorted(info.id for info in store.list()) == ["b", "planted"]
        assert not any(OPENAI in each for each in everything(store, "planted"))
        assert any(MARK in each for each in everything(store, "planted"))


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    """In bytes of the log, never backwards, whether a secret is found or not. Opening the log is a third."""
    with Session.open(tmp_path / "log", durability="process") as session:
        session.append_many([user("plain")] * 1200)
    size = (tmp_path / "log").stat().st_size
    told: list[tuple[int, int]] = []
    assert redact_log(tmp_path / "log", progress=lambda *each: told.append(each)).lines == 0
    with Session.open(tmp_path / "log", durability="process") as session:
        session.append(user(OPENAI))
    assert ((size // 3, size) in told, told[-1], told) == (True, (size, size), sorted(told))
    told.clear()
    assert redact_log(tmp_path / "log", progress=lambda *each: told.append(each)).lines == 1
    assert (told[-1][0] == told[-1][1], told) == (True, sorted(told))
