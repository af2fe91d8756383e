"""What is left of the words of a session that was deleted, in every file of the store."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import user
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import OPENAI

import convtree
from convtree import Erased, Session, SessionStore, open_store
from convtree._cli.app import app
from convtree._logs import sql_database
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sqlite_wal import truncate_wal
from convtree.repair import redact_log, redact_session
from convtree.stores import _catalogue_file, _folder

WORDS = ("quetzalcoatl", "xylophone", "rendezvous", "name-of-it", "label-of-it", "/cwd/of/it", "meta-of-it")


def folder(place: Path) -> str:
    return str(place / "store")


def sqlite(place: Path) -> str:
    return f"sqlite:///{place}/store.db"


BOTH = pytest.mark.parametrize("url_of", [folder, sqlite])


def found(place: Path) -> dict[str, list[str]]:
    """Returns the words that are left, by the name of the file."""
    left = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        data = path.read_bytes().lower()
        if words := [word for word in WORDS if word.encode() in data]:
            left[path.name] = words
    return left


def begin(store: SessionStore, id: str = "a") -> None:
    """Begins a session whose words are everywhere a store keeps words."""
    with store.create(id=id, name="name-of-it", cwd="/cwd/of/it", metadata={"of": "meta-of-it"}) as session:
        entry = session.append(user("Quetzalcoatl: xylophone"))
        session.label(entry.id, "label-of-it")
        session.append_many([user(f"rendezvous {number} " + "at nine " * 900) for number in range(9)])
        session._client.journal.save_snapshot(always=True)


@contextmanager
def reader_of(path: Path) -> Iterator[None]:
    """Reads an SQLite file, as another process may, and stays in the middle of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM ct_lines").fetchone()
        yield
        connection.execute("COMMIT")


def file_of(url_of: Callable[[Path], str], place: Path) -> Path:
    """Returns the SQLite file of a store."""
    return place / "store" / ".catalogue.sqlite" if url_of is folder else place / "store.db"


@BOTH
def test_no_file_has_a_word_of_a_deleted_session(tmp_path: Path, url_of: Callable[[Path], str]) -> None:
    """At once, without another call; the store is open, and the other sessions are found as before."""
    with open_store(url_of(tmp_path)) as store:
        with store.create(id="b") as session:
            session.append(user("fine"))
        begin(store)
        assert len(store.search("xylophone")) == 1
        assert len(found(tmp_path)) > 0
        erased = store.delete("a")
        assert found(tmp_path) == {}
        names = [file_of(url_of, tmp_path).name, f"{file_of(url_of, tmp_path).name}-wal"]
        assert (list(erased), erased.pending, erased.copies) == (["a"], (), ())
        assert erased.complete == (("a.jsonl", *names) if url_of is folder else tuple(names))
        assert [hit.session_id for hit in store.search("fine")] == ["b"]
        assert store.search("xylophone") == []


@BOTH
def test_a_file_that_is_being_read_is_pending(tmp_path: Path, url_of: Callable[[Path], str]) -> None:
    """It says so; when the reader has finished, `erase` finishes, and so does closing the store."""
    path = file_of(url_of, tmp_path)
    for finish in ("erase", "close"):
        store = open_store(url_of(tmp_path))
        begin(store)
        store.list()
        with reader_of(path), closing(sqlite3.connect(path)) as idle:
            idle.execute("SELECT count(*) FROM ct_lines").fetchone()  # keeps SQLite from removing the WAL
            with reader_of(path):
                erased = store.delete("a")
                assert f"{path.name}-wal" in erased.pending
                assert {*erased.pending, *erased.complete} >= {path.name, f"{path.name}-wal"}
                assert set(found(tmp_path)) <= set(erased.pending)
                assert store.erase("a").pending == erased.pending
            store.close()
            store = open_store(url_of(tmp_path))
        if finish == "erase":
            erased = store.erase("a")
            assert (list(erased), erased.pending) == ([], ())
        store.close()
        assert found(tmp_path) == {}


@BOTH
def test_a_store_that_is_closed_finishes(tmp_path: Path, url_of: Callable[[Path], str]) -> None:
    """Although another process has the file open, if it does not read just then."""
    path = file_of(url_of, tmp_path)
    store = open_store(url_of(tmp_path))
    begin(store)
    store.list()
    with closing(sqlite3.connect(path, isolation_level=None)) as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT count(*) FROM ct_lines").fetchone()
        assert store.delete("a").pending != ()
        assert found(tmp_path) != {}
        idle.execute("COMMIT")
        store.close()
        assert found(tmp_path) == {}


@BOTH
def test_prune_erases_too(tmp_path: Path, url_of: Callable[[Path], str]) -> None:
    """All that it deletes."""
    with open_store(url_of(tmp_path)) as store:
        begin(store, "a")
        begin(store, "b")
        store.list()
        assert len(store.prune(keep=0)) == 2
        assert found(tmp_path) != {}
        assert len(store.prune(keep=0, dry_run=False)) == 2
        assert found(tmp_path) == {}


def test_files_next_to_a_log_are_erased(tmp_path: Path) -> None:
    """Also those of a log that somebody removed by hand; not those of another log."""
    with open_store(tmp_path) as store:
        begin(store, "a")
        begin(store, "a.b")
    own = [f"a.jsonl.{end}" for end in ("torn", "original", "original-2", "quarantine", "redacted")]
    temporary = [".a.jsonl.12-345.tmp", ".a.jsonl.index.12-345.tmp", ".a.jsonl.redacted-2.1-2.tmp"]
    others = [".a.b.jsonl.12-345.tmp", "a.b.jsonl.torn", "a.jsonl.notes", "xa.jsonl.torn"]
    for name in (*own, *temporary, *others):
        (tmp_path / name).write_text("x")
    (tmp_path / "a.jsonl").unlink()
    with open_store(tmp_path) as store:
        erased = store.erase("a")
        assert (list(erased), erased.pending) == ([], ())
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".catalogue")}
    assert left == {"a.b.jsonl", "a.b.jsonl.index", *others}


def test_a_file_that_cannot_be_removed_is_pending(tmp_path: Path) -> None:
    """Such as a directory with a name of ours."""
    with open_store(tmp_path) as store:
        begin(store)
        (tmp_path / "a.jsonl.index").unlink()
        (tmp_path / "a.jsonl").rename(tmp_path / "moved")
        (tmp_path / "a.jsonl.torn").mkdir()
        assert store.erase("a").pending == ("a.jsonl.torn",)


def test_erase_leaves_a_session_that_came_between(tmp_path: Path) -> None:
    """Its id was free by then. Its file has no word of the other."""
    with open_store(tmp_path) as store:
        begin(store)
        traces = store._backend.erase(["a"])  # type: ignore[attr-defined]
        assert traces.complete == [
            "a.jsonl",
            ".catalogue.sqlite",
            ".catalogue.sqlite-wal",
        ]
        assert (tmp_path / "a.jsonl.index").exists()
        assert len(store.search("xylophone")) == 1


def test_a_catalogue_that_cannot_be_used_is_removed(tmp_path: Path) -> None:
    """As on a network file system, where its tables are in memory: the file is of an earlier time."""
    with open_store(tmp_path / "store") as store:
        begin(store)
        store.list()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_folder.FolderBackend, "_tables_path", lambda _: None)
        with open_store(tmp_path / "store") as store:
            assert store.delete("a").complete == ("a.jsonl", ".catalogue.sqlite", ".catalogue.sqlite-wal")
    assert found(tmp_path) == {}


@pytest.mark.parametrize("why", [sqlite3.OperationalError("disk I/O error"), sqlite3.DatabaseError("malformed")])
def test_a_catalogue_that_fails_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: sqlite3.Error
) -> None:
    """It is a cache. What it had is gone."""
    with open_store(tmp_path / "store") as store:
        begin(store)
        store.list()
        errors = [why]

        def truncate(execute: object) -> tuple[str, ...]:
            if errors:
                raise errors.pop()
            return truncate_wal(execute)  # type: ignore[arg-type]

        monkeypatch.setattr(_catalogue_file, "truncate_wal", truncate)
        assert store.delete("a").pending == ()
    assert found(tmp_path) == {}


def test_a_locked_database_is_pending(tmp_path: Path) -> None:
    """The session is deleted; another writer holds the lock when its words are to be overwritten."""
    with open_store(sqlite(tmp_path), lock_timeout_s=0.01) as store:
        begin(store)
        backend = store._backend
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            delete = backend.delete
            backend.delete = lambda *args: (delete(*args), other.execute("BEGIN IMMEDIATE"))[0]  # type: ignore[method-assign]
            erased = store.delete("a")
            assert (list(erased), erased.pending) == (["a"], ("store.db", "store.db-wal"))
            other.execute("COMMIT")
        assert store.erase("a").pending == ()
    assert found(tmp_path) == {}


def test_a_database_that_went_away_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the store raises nothing, whatever could not be finished."""
    store = open_store(sqlite(tmp_path))
    begin(store)
    with reader_of(tmp_path / "store.db"):
        assert store.delete("a").pending != ()

        def fail(_: SqlDatabase) -> None:
            raise OSError

        monkeypatch.setattr(SqlDatabase, "truncate_wal", fail)
        store.close()


def test_an_engine_of_the_caller_erases(tmp_path: Path) -> None:
    """Whatever its connections are set to."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(sqlite(tmp_path))
    with open_store(engine) as store:
        begin(store)
        assert store.delete("a").pending == ()
    assert found(tmp_path) == {}
    engine.dispose()


def test_a_server_names_tables(postgres_url: str) -> None:
    """They have no row of it. What a server keeps in its files until it vacuums is not claimed."""
    with open_store(postgres_url, create=True) as store:
        begin(store)
        erased = store.delete("a")
        assert erased.complete == ("ct_sessions", "ct_lines", "ct_usage", "ct_snapshots")
        assert (erased.pending, erased.copies) == ((), ())


def test_copied_files_are_copies(tmp_path: Path) -> None:
    """A log with the same header id, under any name, and its forks. A file that is no log is none."""
    with open_store(tmp_path) as store:
        begin(store, "a")
        (tmp_path / "trip.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
        store.fork("trip", new_id="f").close()
        (tmp_path / "empty.jsonl").touch()
        (tmp_path / "note.jsonl").write_text("no log\n")
        (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
        (tmp_path / "bad.jsonl").write_text('{"type":"session","format":"convtree","id":5}\n')
        assert store.delete("a").copies == ("f", "trip")
        assert store.erase("a").copies == ("f", "trip")
        assert store.delete("trip").copies == ("f",)


def test_a_fork_with_a_damaged_header_may_be_a_copy(tmp_path: Path) -> None:
    """Nobody can know, so it is named."""
    with open_store(sqlite(tmp_path)) as store:
        begin(store)
        for damage, id in enumerate(("f", "g")):
            store.fork("a", new_id=id).close()
            with closing(sqlite3.connect(tmp_path / "store.db")) as other, other:
                line = ('{"type":"session","format":"convtree","id":5}', "{")[damage]
                other.execute("UPDATE ct_lines SET line = ? WHERE session_id = ? AND position = 0", (line, id))
        assert store.delete("a").copies == ("f", "g")


def test_a_damaged_database_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of SQLite is pending, too."""
    with open_store(sqlite(tmp_path)) as store:
        begin(store)

        def fail(execute: Callable[[str], object]) -> tuple[str, ...]:
            execute("no SQL")
            return ()

        monkeypatch.setattr(sql_database, "truncate_wal", fail)
        assert store.delete("a").pending == ("store.db", "store.db-wal")


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ((0, 0, 0), ()),
        ((1, 9, 9), ("-wal",)),
        ((1, 9, 4), ("", "-wal")),
        ((1, -1, -1), ("", "-wal")),  # another connection empties it at the moment
    ],
)
def test_what_sqlite_says_about_its_wal(row: tuple[int, int, int], left: tuple[str, ...]) -> None:
    """Busy or not, how many pages are in the WAL, how many of them are in the file."""
    said: list[str] = []

    def execute(sql: str) -> list[tuple[int, ...]]:
        said.append(sql)
        return [row if "checkpoint" in sql else (7000,)]

    assert truncate_wal(execute) == left
    assert said[-1] == "PRAGMA busy_timeout = 7000"


TOKENS = st.text(alphabet="bcdfghjklmnp", min_size=14, max_size=14)


@pytest.mark.no_cover
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(TOKENS, min_size=1, max_size=400)), min_size=1, max_size=12))
def test_whatever_was_said(tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, list[str]]]) -> None:
    """In any order, of any length, next to other sessions: no word is left but those that others said."""
    place = tmp_path_factory.mktemp("said")
    for url_of in (folder, sqlite):
        with open_store(url_of(place), durability="process") as store:
            words: dict[int, set[str]] = {number: set() for number in range(3)}
            for number, some in said:
                with store.open(f"s{number}", create=True) as session:
                    session.append(user(" ".join(some)))
                words[number].update(some)
                store.list()
            for number in range(3):
                if words[number]:
                    store.delete(f"s{number}")
                kept = {word for other in range(number + 1, 3) for word in words[other]}
                data = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
                assert [word for word in sorted(words[number] - kept) if word.encode() in data] == []


def test_it_is_a_list_of_ids() -> None:
    """Programs that knew the list of ids go on."""
    erased = Erased(["t", "a"], copies=["f"])
    assert (erased == ["t", "a"], erased.copies, erased.complete, convtree.Erased) == (True, ("f",), (), Erased)


# --- redaction, and the command line ---


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def begin_with_secret(place: Path) -> None:
    """Begins a session with a secret, its fork, a copy of its file, and another session."""
    with open_store(place) as store:
        with store.create(id="a") as session:
            session.append(user(OPENAI))
        store.fork("a", new_id="f").close()
        begin(store, "b")
        store.list()
    (place / "trip.jsonl").write_bytes((place / "a.jsonl").read_bytes())


def test_redaction_names_the_copies(tmp_path: Path) -> None:
    """Forks, copied files, and the log as it was."""
    begin_with_secret(tmp_path)
    done = redact_session(tmp_path, "a", in_place=True)
    assert done.complete == ("a.jsonl", "a.jsonl.index", ".catalogue.sqlite")
    assert (done.pending, done.copies) == ((), ("f", "trip", "a.jsonl.original"))
    assert redact_session(tmp_path, "b", in_place=True).complete == ()
    assert redact_session(tmp_path, "f").copies == ()
    done = redact_log(tmp_path / "f.jsonl", in_place=True, remove_original=True)
    assert (done.complete, done.copies) == (("f.jsonl", "f.jsonl.index"), ("a", "trip"))


def test_copies_are_found_past_a_copied_file_that_is_gone(tmp_path: Path) -> None:
    """By a deletion and by a redaction."""
    begin_with_secret(tmp_path)
    with open_store(tmp_path) as store:
        store.fork("trip", new_id="g").close()
        store.delete("f")
        assert store.delete("trip").copies == ("a", "g")
        done = redact_log(tmp_path / "g.jsonl", in_place=True, remove_original=True)
        assert (done.complete, done.copies) == (("g.jsonl", "g.jsonl.index"), ("a", ".catalogue.sqlite"))
        assert store.delete("a").copies == ("g",)


def test_redaction_names_copies_that_no_header_leads_to(tmp_path: Path) -> None:
    """A fork of a fork that is gone. The catalogue is asked; without one, it is made, and removed again."""
    begin_with_secret(tmp_path)
    with open_store(tmp_path) as store:
        store.fork("f", new_id="g").close()
        for id in ("f", "trip"):
            store.delete(id)
    (tmp_path / ".catalogue.sqlite").unlink()
    done = redact_session(tmp_path, "a", in_place=True, remove_original=True)
    assert done.copies == ("g",)
    assert redact_session(tmp_path, "b", in_place=True).copies == ()
    assert not (tmp_path / ".catalogue.sqlite").exists()
    open_store(tmp_path).list()
    assert redact_session(tmp_path, "b", in_place=True).complete == ()
    assert (tmp_path / ".catalogue.sqlite").exists()


def test_redaction_of_a_log_with_any_name(tmp_path: Path) -> None:
    """It need not look like a session of a folder."""
    with Session.open(tmp_path / "chat.log") as session:
        session.append(user(OPENAI))
        session.fork(tmp_path / "f.jsonl").close()
    code, said, _ = run("redact", tmp_path / "chat.log", "--yes", "--remove-original")
    assert (code, said.splitlines()[-1]) == (0, "  may still contain secrets: the session f")


def test_rm_says_what_is_left(tmp_path: Path) -> None:
    """On stderr; the output has the ids only. With --json, in the document."""
    begin_with_secret(tmp_path)
    code, said, errors = run("rm", "a", "--yes", "--store", tmp_path)
    assert (code, said.split()) == (0, ["a"])
    assert errors.splitlines() == ["f holds a copy and is kept", "trip holds a copy and is kept"]
    with reader_of(tmp_path / ".catalogue.sqlite"):
        code, said, errors = run("rm", "b", "--yes", "--store", tmp_path)
        assert (code, said.split()) == (0, ["b"])
        assert (
            ".catalogue.sqlite-wal may still hold some of it: another process reads it, or it cannot be removed"
            in errors
        )
    code, said, _ = run("rm", "f", "trip", "--yes", "--json", "--store", tmp_path)
    document = json.loads(said)
    assert (document["ids"], document["pending"], document["copies"]) == (["f", "trip"], [], [])
    assert document["complete"] == ["f.jsonl", ".catalogue.sqlite", ".catalogue.sqlite-wal", "trip.jsonl"]
    assert found(tmp_path) == {}
    assert not any(OPENAI.encode() in path.read_bytes() for path in tmp_path.iterdir())
