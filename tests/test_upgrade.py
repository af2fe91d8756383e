"""Data of earlier versions: logs open as they are, the tables of databases are migrated.

`version_1/` has sessions as version 1 of the tables stored them: the statements that created its tables, its rows, and
the same sessions as logs.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy
from click.testing import CliRunner
from helpers import assistant, contents, user
from postgres import new_database

from convtree import (
    ConvtreeError,
    Header,
    LedgerRow,
    LostEntry,
    MessageEntry,
    ParentSession,
    Record,
    Session,
    SessionInfoMark,
    Usage,
    VacuumEntry,
    VisibilityMark,
)
from convtree._catalogue import marks
from convtree._cli.app import app
from convtree._engine import codec
from convtree._engine.write_batch import reseal
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_errors import TablesMissing, TablesOutdated
from convtree.stores._open import open_store as open_store_now

OLD = Path(__file__).parent / "version_1"
open_store = partial(open_store_now, clock=lambda: 1_900_010_000 * 10**9)  # when the sessions were a few hours old
EVERY = ["notes", "old", "task", "fork", "trip"]  # last active first
NUMBERS = "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost"
WITH_TYPES = """
input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL
"""
LAYOUT_4 = {
    "usage": ("session_id, provider, model", "answers"),
    "copied": ("session_id, entry, provider, model", "answers"),
    "gone": ("session_id, parent_id", ""),
    "ledger": ("session_id, header, day, owner, provider, model", "copied"),
}


def as_version_4(name: str) -> str:
    """Statements that give a table of today the layout of version 4."""
    key, more = LAYOUT_4[name]
    texts = ", ".join(f"{each} TEXT NOT NULL" for each in key.split(", "))
    sums = f", {more} BIGINT NOT NULL, {WITH_TYPES}" if more else ""
    columns = f"{key}, {more}, {NUMBERS}" if more else key
    return f"""
    ALTER TABLE ct_{name} RENAME TO ct_now; CREATE TABLE ct_{name} ({texts}{sums}, PRIMARY KEY ({key}));
    INSERT INTO ct_{name} ({columns}) SELECT {columns} FROM ct_now; DROP TABLE ct_now;
    """


AS_VERSION_7 = {
    "sqlite": """
DROP TRIGGER ct_terms_add; DROP TRIGGER ct_terms_remove; ALTER TABLE ct_terms RENAME TO ct_words;
INSERT INTO ct_words (rowid, words) SELECT row, words FROM ct_lines l
WHERE words <> '' AND NOT EXISTS (SELECT 1 FROM ct_words_docsize d WHERE d.id = l.row);
CREATE TRIGGER ct_words_add AFTER INSERT ON ct_lines WHEN new.words <> '' BEGIN
INSERT INTO ct_words (rowid, words) VALUES (new.row, new.words); END;
CREATE TRIGGER ct_words_remove AFTER DELETE ON ct_lines WHEN old.words <> '' BEGIN
INSERT INTO ct_words (ct_words, rowid, words) VALUES ('delete', old.row, old.words); END;
CREATE INDEX ct_lines_by_id ON ct_lines (id);
UPDATE ct_schema SET version = 7;
""",
    "postgresql": "UPDATE ct_schema SET version = 7;",
}  # of tables of today, but for a key of ct_lines in SQLite, which may stay
BEGINNINGS = {name: f"substr({name}, 1, 512)" for name in ("owner", "cwd", "git_root")}
AS_VERSION_6 = f"""
ALTER TABLE ct_sessions RENAME COLUMN activity_bound TO activity_slot;
UPDATE ct_sessions SET activity_slot = active_ms / 10000;
DROP INDEX ct_sessions_by_activity; CREATE INDEX ct_sessions_by_activity ON ct_sessions (activity_slot);
{"".join(f"DROP INDEX ct_sessions_by_{name};" for name in BEGINNINGS)}
{
    "".join(
        f"CREATE INDEX ct_sessions_by_{name} ON ct_sessions ({beginning}, activity_slot);"
        for name, beginning in BEGINNINGS.items()
    )
}
UPDATE ct_schema SET version = 6;
"""  # of tables of today
AS_VERSION_5 = f"""{AS_VERSION_6}
ALTER TABLE ct_sessions RENAME COLUMN activity_slot TO active_slot;
UPDATE ct_sessions SET active_slot = active_ms / 600000; UPDATE ct_schema SET version = 5;
"""  # of tables of today
AS_VERSION_4 = f"""{AS_VERSION_5}
ALTER TABLE ct_sessions RENAME COLUMN leaf_id TO leaf;
DROP INDEX ct_sessions_by_owner; CREATE INDEX ct_sessions_by_owner ON ct_sessions (owner, active_slot);
DROP INDEX ct_sessions_by_cwd; CREATE INDEX ct_sessions_by_cwd ON ct_sessions (cwd, active_slot);
DROP INDEX ct_sessions_by_git_root; CREATE INDEX ct_sessions_by_git_root ON ct_sessions (git_root, active_slot);
DROP INDEX ct_sessions_by_parent; CREATE INDEX ct_sessions_by_parent ON ct_sessions (parent_id);
DROP INDEX ct_sessions_by_header; CREATE INDEX ct_sessions_by_header ON ct_sessions (header_id);
{"".join(map(as_version_4, LAYOUT_4))}
CREATE INDEX ct_copied_by_entry ON ct_copied (entry);
CREATE INDEX ct_gone_by_parent ON ct_gone (parent_id);
UPDATE ct_schema SET version = 4;
"""  # of tables of today
AS_VERSION_3 = f"""{AS_VERSION_4}
DROP TABLE ct_metadata; DROP INDEX ct_lines_by_id; ALTER TABLE ct_sessions RENAME COLUMN message_count TO messages;
ALTER TABLE ct_sessions DROP COLUMN rewrites; ALTER TABLE ct_sessions RENAME COLUMN last_crc TO crc;
DROP INDEX ct_gone_by_parent;
DROP TABLE ct_ledger;
CREATE TABLE ct_ledger (
  session_id TEXT NOT NULL, day TEXT NOT NULL, owner TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
  cache_write_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (session_id, day, owner, provider, model));
INSERT INTO ct_ledger VALUES ('gone', '2026-01-31', 'ann', '', 'm', 1, 2, 0, 0, 0.5);
UPDATE ct_schema SET version = 3;
"""  # of tables of today
NAMES = "session_id, position, id, parent_id, type, role, time_ms, said_ms, visible_to, excerpt, words, line"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db"
    else:
        with new_database(request.getfixturevalue("postgres_server")) as made:
            yield made


@pytest.fixture
def old(url: str) -> str:
    """A database with the tables and sessions of version 1."""
    run(url, (OLD / f"{kind(url)}.sql").read_text(), (OLD / "rows.sql").read_text())
    return url


def kind(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql"


def run(url: str, *scripts: str) -> None:
    """Runs statements without convtree."""
    if kind(url) == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for script in scripts:
                connection.executescript(f"BEGIN; {script} COMMIT;")
        return
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connected:
            for script in scripts:
                connected.exec_driver_sql(script)
    finally:
        engine.dispose()


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(SqlDatabase.connect(url)) as database, database.reading() as execute:
        return [tuple(row) for row in execute(sql)]


def tables_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that the tables say. Columns are in one order, whatever the layout is."""
    columns = (
        "session_id, owner, cwd, git_root, name, name_words, archived, held, kind, parent_id, parent_entry, "
        "copying_to, arrived_ms, session_key, created_ms, active_ms, activity_bound, size, last_crc, rewrites, "
        "leaf_id, entries, message_count, first_user, last_user"
    )
    return {
        "sessions": rows(url, f"SELECT {columns} FROM ct_sessions ORDER BY session_id"),
        "lines": rows(url, f"SELECT {NAMES} FROM ct_lines ORDER BY session_id, position"),
        "usage": rows(
            url,
            "SELECT session_id, provider, model, answers, input_tokens, output_tokens, cost FROM ct_usage "
            "ORDER BY session_id, provider, model",
        ),
        "metadata": rows(url, "SELECT session_id, name, value FROM ct_metadata ORDER BY session_id, name"),
        "copied": rows(
            url, "SELECT session_id, entry, model, output_tokens, cost FROM ct_copied ORDER BY session_id, entry, model"
        ),
    }


def literal(value: Any) -> str:
    """A value in the text of a statement."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else str(value)


def add_as_version_1(url: str, id: str, header: Header, records: list[Record]) -> list[bytes]:
    """Stores a log as version 1 does when it is copied into its tables. Returns the lines.

    Version 1 does not know the new types, nor the new fields of the old ones.
    """
    lines = list(reseal(codec.encode_header(header), map(codec.encode, records)))
    position, statements = 0, []
    for line, record in zip(lines, [None, *records], strict=True):
        message = record if isinstance(record, MessageEntry) else None
        values = {
            "session_id": id,
            "position": position,
            "id": record.id if record else None,
            "parent_id": getattr(record, "parent_id", None),
            "type": record.type if record else "session",
            "role": message.role if message else None,
            "ms": None,
            "words": message.text if message and message.visible_to != "nobody" else "",
            "line": line.decode(),
        }
        shown = ", ".join(map(literal, values.values()))
        statements.append(f"INSERT INTO ct_lines ({', '.join(values)}) VALUES ({shown});")
        position += len(line) + 1
    statements.append(
        "INSERT INTO ct_sessions (session_id, name_words, archived, kind, copying, active_ms, active_slot, size, crc, "
        f"entries, messages, first_user, last_user) VALUES ('{id}', '  ', 0, '', 0, 0, 0, {position}, "
        f"{codec.verify_seal(lines[-1]).crc}, 4, 3, 'one', 'three');"  # type: ignore[union-attr]
    )
    run(url, "\n".join(statements))
    return lines


# --- the tables ---------------------------------------------------------------------------------------------------


def test_migrated_tables_are_those_of_the_same_sessions_stored_today(old: str, tmp_path: Path) -> None:
    """Every column of every line and session, and the full text index."""
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    shutil.copytree(OLD / "store", tmp_path / "logs")
    with open_store(tmp_path / "logs") as logs, open_store(fresh) as today:
        assert {each.status for each in logs.copy_to(today)} == {"copied"}
        with open_store(old, create=True) as migrated:
            assert list(migrated.list(archived=None, tasks=True)) == list(today.list(archived=None, tasks=True))
            for text in ("rome", "größe", "note model", "secret", "draft", "thing", "help"):
                found, expected = (
                    sorted((hit.session_id, hit.entry_id) for hit in store.search(text)) for store in (migrated, today)
                )
                assert found == expected
    assert tables_of(old) == tables_of(fresh)
    assert rows(old, "SELECT version FROM ct_schema") == [(8,)]
    if kind(old) == "sqlite":
        indexed = rows(old, "SELECT id FROM ct_terms_docsize ORDER BY id")
        assert indexed == rows(old, "SELECT row FROM ct_lines WHERE words <> '' ORDER BY row")
        run(old, "DELETE FROM ct_lines; INSERT INTO ct_terms (ct_terms, rank) VALUES ('integrity-check', 1);")


def test_migrated_tables_say_what_the_lines_say(old: str) -> None:
    """Every column, also those that are new."""
    with open_store(old, create=True) as store:
        reports = store.verify()
        assert [(each.path, each.findings, each.rows) for each in reports] == [(id, (), ()) for id in sorted(EVERY)]


def test_migrated_sessions_are_used_as_before(old: str) -> None:
    """They are listed, read, appended to, forked and deleted."""
    with open_store(old, create=True) as store:
        assert [info.id for info in store.list(archived=None, tasks=True)] == EVERY
        trip = store.info("trip")
        assert (trip.first_user_message, trip.last_user_message) == ("Where shall we go?", "draft for the user")
        assert (trip.entries, trip.messages, trip.held, trip.usage) == (
            8,
            7,
            False,
            Usage(input_tokens=5, output_tokens=9, cost=0.5),
        )
        assert (store.info("fork").usage, store.info("old").archived) == (Usage(output_tokens=11), True)
        assert [(hit.session_id, hit.on_path) for hit in store.search("rome")] == [("fork", True), ("trip", False)]
        with store.open("trip") as session:
            assert (contents(session)[-1], session.findings) == ("Oslo", ())
            session.append(user("What is the word for this?"))
        assert store.search("word")[0].session_id == "trip"
        store.fork("trip", new_id="again").close()
        assert store.delete("trip") == ["task", "trip"]
        assert sorted(info.id for info in store.list(archived=None)) == ["again", "fork", "notes", "old"]


def test_lines_that_version_1_did_not_know_count_after_the_migration(old: str) -> None:
    """A log of today that version 1 has copied into its tables: marks, hidden messages, vacuum, lost, header."""
    header = Header(
        id="new",
        parent_session=ParentSession(id="trip", kind="task"),
        copied_to="m1",
        arrived="1970-01-01T00:00:05Z",
        key=["chat", 7],
    )
    records: list[Record] = [
        VacuumEntry(id="v", model="m", usage=[{"model": "m", "answers": 2, "output_tokens": 9}]),
        MessageEntry(id="m1", parent_id="v", message=user("one")),
        MessageEntry(id="m2", parent_id="m1", message=user("two"), visible_to="nobody"),
        MessageEntry(id="m3", parent_id="m2", message=user("three")),
        LostEntry(id="x", parent_id="m3"),
        VisibilityMark(id="h1", target_id="m1", visible_to="nobody"),
        VisibilityMark(id="h2", target_id="m2", visible_to="all"),
        SessionInfoMark(id="i", cwd="/new", git_root="/git", hold=True),
    ]
    lines = add_as_version_1(old, "new", header, records)
    with open_store(old, create=True) as store:
        info = store.info("new")
        assert (info.cwd, info.git_root, info.held, info.key) == ("/new", "/git", True, ["chat", 7])
        assert (info.arrived, info.usage) == ("1970-01-01T00:00:05.000Z", Usage(output_tokens=9))
        assert (info.first_user_message, info.last_user_message) == ("two", "three")
        found = {text: [hit.entry_id for hit in store.search(text)] for text in ("one", "two", "three")}
        assert found == {"one": [], "two": ["m2"], "three": ["m3"]}
        with closing(store._log("new", "r")) as log:
            assert [line for chunk in log.read() for line in chunk.lines] == lines


def test_a_session_of_many_lines(old: str) -> None:
    """Its lines are read in batches, some of them without a message."""
    said: list[Record] = [
        MessageEntry(id=f"m{number}", parent_id=None, message=user(f"word{number}")) for number in range(520)
    ]
    moved: list[Record] = [SessionInfoMark(id=f"i{number}", cwd=f"/{number}") for number in range(1100)]
    hidden: list[Record] = [VisibilityMark(id="h", target_id="m519", visible_to="model")]
    add_as_version_1(old, "long", Header(id="long"), [*said, *moved, *hidden])
    with open_store(old, create=True) as store:
        info = store.info("long")
        assert (info.cwd, info.first_user_message, info.last_user_message) == ("/1099", "word0", "word518")
        assert [hit.entry_id for hit in store.search("word519")] == ["m519"]


def test_a_session_that_version_1_was_still_copying(old: str) -> None:
    """The entries that are copied after the migration are not counted, either."""
    run(old, "UPDATE ct_sessions SET copying = 1 WHERE session_id = 'fork';")
    with open_store(old, create=True):
        assert rows(old, "SELECT session_id, copying_to FROM ct_sessions WHERE copying_to IS NOT NULL") == [
            ("fork", "0000000000000004")
        ]


def test_tables_of_version_2(url: str) -> None:
    """In version 2, every record was activity. The migration asks the lines which of them somebody said."""
    with open_store(url, create=True) as store:
        with store.create(id="s") as session:
            session.set_system("be kind")
            session.append(user("one"))
            session.append_many([user(f"{number}") for number in range(3)], visible_to="model")
            session.append(assistant("draft"), visible_to="nobody")
            session.append(assistant("shown"), visible_to="user")
            session.rename("N")
        with store.create(id="t") as session:
            session.append(user("a note"), visible_to="model")
        with store.create(id="u") as session:
            session.append(user("two"), visible_to="user")
    before = tables_of(url)
    assert [line[7] is None for line in before["lines"]] == [
        *[True, True, False, True, True, True, True, False, True],  # of s: the header comes first, the name last
        *[True, True],
        *[True, False],
    ]
    run(
        url,
        AS_VERSION_7[kind(url)],
        AS_VERSION_3 + "ALTER TABLE ct_lines RENAME COLUMN said_ms TO ms;"
        "UPDATE ct_lines SET ms = time_ms; ALTER TABLE ct_lines DROP COLUMN time_ms;"
        "DROP INDEX ct_sessions_by_header; ALTER TABLE ct_sessions DROP COLUMN header_id;"
        "DROP TABLE ct_copied; DROP TABLE ct_gone; DROP TABLE ct_ledger; "
        "UPDATE ct_sessions SET active_ms = 1900000000000, active_slot = 3166666; UPDATE ct_schema SET version = 2;",
    )
    with pytest.raises(TablesOutdated, match=r"version 2, .* needs version 8"):
        open_store(url, create=False)
    open_store(url, create=True).close()
    assert (tables_of(url), rows(url, "SELECT version FROM ct_schema")) == (before, [(8,)])


def test_tables_of_version_3(url: str) -> None:
    """The metadata and the entries of each session are found; the ledger is as before, and goes on."""
    with open_store(url, create=True) as store:
        with store.create(id="s", metadata={"team": "blue", "old": 1, "kept": [1, {"x": None}]}) as session:
            entry = session.append(user("one"))
            session.update_metadata(team="red", old=None)
        with store.create(id="t", metadata={"team": "red"}) as session:
            session.append(user("two"))
            session._client.add_mark(SessionInfoMark(metadata=None))
            session.append_many([user("x")] * 600)
            session.update_metadata(last=True)
        with store.create(id="u") as session:
            session.append(assistant("x"), model="m", usage={"output_tokens": 4})
    before = tables_of(url)
    run(url, AS_VERSION_7[kind(url)], AS_VERSION_3)
    with pytest.raises(TablesOutdated, match=r"version 3, .* needs version 8"):
        open_store(url, create=False)
    with open_store(url, create=True) as store:
        assert (tables_of(url), rows(url, "SELECT version FROM ct_schema")) == (before, [(8,)])
        assert [info.id for info in store.list(metadata={"team": "red", "old": None})] == ["s"]
        assert [info.id for info in store.list(metadata={"last": True, "team": None})] == ["t"]
        assert store.sessions_with(entry.id) == ["s"]
        store.delete("u")
        gone = LedgerRow(
            day="2026-01-31", owner="ann", model="m", usage=Usage(input_tokens=1, output_tokens=2, cost=0.5)
        )
        assert store.ledger(owner="ann") == [gone]
        assert sum(row.usage.output_tokens for row in store.ledger()) == 6
        with store.open("s") as session:
            session.append(user("two"))


@pytest.mark.parametrize(("column", "value"), [("messages", "messages + 1"), ("crc", "1")])
def test_a_writer_of_version_3_that_is_still_running_fails(url: str, column: str, value: str) -> None:
    """It would not note changes of the metadata, and continue a log that was rewritten. Its appends set both."""
    append = f"UPDATE ct_sessions SET {column} = {value} WHERE session_id = 's'"
    open_store(url, create=True).close()
    run(url, AS_VERSION_7[kind(url)], AS_VERSION_3)
    run(url, append + ";")
    open_store(url, create=True).close()
    with pytest.raises((sqlite3.OperationalError, sqlalchemy.exc.ProgrammingError), match=column):
        run(url, append + ";")


ODD = "a\0b \x1a0 c"


def test_tables_of_version_4(url: str) -> None:
    """Texts that version 4 could not store are read again from the lines. Sums, links and the ledger stay."""
    with open_store(url, create=True) as store:
        with store.create(id="s", name=ODD, owner=ODD, cwd=f"/{ODD}", metadata={ODD: 1}) as session:
            session.append(user("one"))
            session.append(assistant("x"), provider=ODD, model=ODD, usage={"output_tokens": 4})
            session.rename(f"{ODD}!")
        with store.create(id="t", owner="ann") as session:
            for model in "mn":
                session.append(assistant("x"), provider="p", model=model, usage={"output_tokens": 8})
        with store.create(id="damaged") as session:
            session.append(user("two"))
        for id in ("t", "s"):
            store.fork(id, new_id=f"{id}-fork").close()
            store.fork(f"{id}-fork", new_id=f"{id}-second").close()
        store.delete("s-fork")
        store.delete("t-fork")
        store.copy("t", "u").close()
        with store.open("u") as session:
            session.append(assistant("x"), model="m", usage={"output_tokens": 16})
        store.delete("u")
        run(url, "UPDATE ct_sessions SET rewrites = 3 WHERE session_id = 's';")
        before = tables_of(url), list(store.list(tasks=True)), store.ledger()
    run(
        url,
        AS_VERSION_7[kind(url)],
        AS_VERSION_4,
        "UPDATE ct_sessions SET name = 'a b', owner = 'a b', cwd = 'a b', name_words = '' WHERE owner <> 'ann';",
        "UPDATE ct_usage SET provider = 'a b', model = 'a b' WHERE session_id = 's';",
        "UPDATE ct_copied SET provider = 'a b', model = 'a b' WHERE session_id = 's-second';",
    )
    with pytest.raises(TablesOutdated, match=r"version 4, .* needs version 8"):
        open_store(url, create=False)
    with open_store(url, create=True) as store:
        assert (tables_of(url), list(store.list(tasks=True)), store.ledger()) == before
        assert [info.id for info in store.list(owner=ODD)] == ["s-second", "s"]
        assert store.delete("t").copies == ("t-second",)
        assert sum(row.usage.output_tokens for row in store.ledger()) == 16
        store.delete("t-second")
        assert sum(row.usage.output_tokens for row in store.ledger()) == 32


def test_a_writer_of_version_4_that_is_still_running_fails(url: str) -> None:
    """It would store a space in place of a NUL. Each of its appends sets the leaf."""
    append = "UPDATE ct_sessions SET leaf = 'x' WHERE session_id = 's'"
    open_store(url, create=True).close()
    run(url, AS_VERSION_7[kind(url)], AS_VERSION_4)
    run(url, append + ";")
    open_store(url, create=True).close()
    with pytest.raises((sqlite3.OperationalError, sqlalchemy.exc.ProgrammingError), match="leaf"):
        run(url, append + ";")


@pytest.mark.parametrize("version", [5, 6])
def test_sessions_with_slots_of_activity_get_bounds(url: str, version: int) -> None:
    """Lists stay in order, and a writer of that version that is still running fails: its slots would be no bounds."""
    slot, layout = {5: ("active_slot", AS_VERSION_5), 6: ("activity_slot", AS_VERSION_6)}[version]
    now_s = 90
    with open_store(url, create=True, clock=lambda: now_s * 10**9) as store:
        for id, said in (("often", (100, 110, 119)), ("once", (101, 120)), ("twice", (120, 120)), ("begun", ())):
            with store.create(id=id) as session:
                session.set_directories(cwd="/x")
                for now_s in said:  # noqa: B007  # the clock
                    session.append(user("said"))
            now_s = 90
    before = tables_of(url)
    bounds = "SELECT session_id, active_ms / 1000, activity_bound / 1000 FROM ct_sessions ORDER BY session_id"
    expected = [("begun", 90, 90), ("often", 119, 120), ("once", 120, 120), ("twice", 120, 120)]
    assert rows(url, bounds) == expected
    run(url, AS_VERSION_7[kind(url)], layout)
    append = f"UPDATE ct_sessions SET {slot} = 1 WHERE session_id = 'nobody';"
    run(url, append)
    with pytest.raises(TablesOutdated, match=rf"version {version}, .* needs version 8"):
        open_store(url, create=False)
    open_store(url, create=True).close()
    assert (tables_of(url), rows(url, "SELECT version FROM ct_schema")) == (before, [(8,)])
    with pytest.raises((sqlite3.OperationalError, sqlalchemy.exc.ProgrammingError), match=slot):
        run(url, append)


def test_an_index_of_every_line_gets_blocks(tmp_path: Path) -> None:
    """Every message is found once, before and after. A search of version 7 that is still running fails."""
    url = f"sqlite:///{tmp_path}/old.db"
    with open_store(url) as store, store.create(id="a") as session:
        session.append_many([user(f"needle {number}") for number in range(40)])
    run(url, AS_VERSION_7["sqlite"])
    search = "SELECT rowid FROM ct_words WHERE ct_words MATCH 'needle'"
    assert len(rows(url, search)) == 40
    with pytest.raises(TablesOutdated, match=r"version 7, .* needs version 8"):
        open_store(url, create=False)
    with open_store(url, create=True) as store:
        with store.open("a") as session:
            session.append(user("needle 40"))
        assert len(store.search("needle", limit=100)) == 41
        assert [each.rows for each in store.verify() if each.rows] == []
        store.delete("a")
    with pytest.raises(TablesMissing):
        rows(url, search)


def test_tables_of_version_7_get_the_function_of_appends(postgres_server: str) -> None:
    """Nothing else changes. Writers of version 7 that are still running do not need it."""
    with new_database(postgres_server) as url:
        with open_store(url, create=True) as store, store.create(id="s") as session:
            session.append(user("said"))
        before = tables_of(url)
        run(url, "DROP FUNCTION ct_append; UPDATE ct_schema SET version = 7;")
        with pytest.raises(TablesOutdated, match=r"version 7, .* needs version 8"):
            open_store(url, create=False)
        open_store(url, create=True).close()
        assert (tables_of(url), rows(url, "SELECT version FROM ct_schema")) == (before, [(8,)])
        assert rows(url, "SELECT COUNT(*) FROM pg_proc WHERE proname = 'ct_append'") == [(1,)]


def test_the_usage_of_copied_entries_is_found_again(old: str) -> None:
    """It counts when the parent is gone, also in a session of many lines."""
    parent = ParentSession(id="nobody", kind="task")
    for id, copied_to in (("all", "all1099"), ("none", "elsewhere"), ("some", "some600")):
        used: list[Record] = [
            MessageEntry(
                id=f"{id}{number}", parent_id=None, message=assistant("x"), model="m", usage={"output_tokens": 1}
            )
            for number in range(1100)
        ]
        add_as_version_1(old, id, Header(id=id, parent_session=parent, copied_to=copied_to), used)
        run(
            old,
            f"UPDATE ct_sessions SET kind = 'task', parent_id = 'nobody', copying = {int(id == 'none')}, "
            f"parent_entry = '{copied_to}' WHERE session_id = '{id}';",
        )
    run(
        old,
        "INSERT INTO ct_usage (session_id, provider, model, answers, input_tokens, output_tokens, cache_read_tokens, "
        "cache_write_tokens, cost) VALUES ('some', '', 'm', 499, 0, 499, 0, 0, 0), "
        "('none', '', 'm', 1100, 0, 1100, 0, 0, 0);",
    )
    with open_store(old, create=True) as store:
        assert [store.info(id).usage.output_tokens for id in ("all", "none", "some")] == [1100, 1100, 1100]


def test_several_processes_migrate_at_once(old: str) -> None:
    """One of them does it, the others wait."""
    databases = [SqlDatabase.connect(old) for _ in range(4)]
    failed: list[Exception] = []

    def migrate(database: SqlDatabase) -> None:
        try:
            database.create_tables()
        except Exception as error:  # shown by the test
            failed.append(error)

    threads = [Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert (failed, rows(old, "SELECT version FROM ct_schema")) == ([], [(8,)])
    with open_store(old) as store:
        assert [info.id for info in store.list(archived=None, tasks=True)] == EVERY


def test_a_migration_that_fails_changes_nothing(old: str) -> None:
    """It can be repeated."""
    with patch.object(marks, "apply_marks", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        open_store(old, create=True)
    assert rows(old, "SELECT version FROM ct_schema") == [(1,)]
    assert rows(old, "SELECT COUNT(*) FROM ct_sessions WHERE copying = 0") == [(5,)]
    with open_store(old, create=True) as store:
        assert [info.id for info in store.list(archived=None, tasks=True)] == EVERY


def test_tables_of_version_1_are_not_read_as_they_are(old: str) -> None:
    """Nor migrated by somebody who did not ask for it. The error says what to do."""
    with pytest.raises(TablesOutdated, match=r"version 1, .* needs version 8; open_store\(url, create=True\)"):
        open_store(old, create=False)
    if kind(old) == "postgresql":
        with pytest.raises(TablesOutdated):
            open_store(old)
    assert rows(old, "SELECT version FROM ct_schema") == [(1,)]


def test_the_command_line_migrates(old: str) -> None:
    """By one command. The others refuse, and say so."""
    code, _, err = call("ls", "-s", old)
    assert (code, "`convtree upgrade` migrates them" in err) == (5, True)
    assert call("upgrade", old) == (0, "", "tables migrated\n")
    assert call("upgrade", old) == (0, "", "nothing to do\n")
    assert call("upgrade", old, "--json")[1].endswith('"migrated":false}\n')
    assert call("ls", "-s", old)[0] == 0
    assert call("upgrade", "mongodb://x")[0] == 2


def call(*arguments: str) -> tuple[int, str, str]:
    """Runs a command. Returns its exit code, its output, and its output on stderr."""
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout, done.stderr


def test_a_role_that_may_not_alter_tables_migrates_nothing(postgres_server: str) -> None:
    """The error of the server says which permission is missing."""
    with new_database(postgres_server) as url:
        run(url, (OLD / "postgresql.sql").read_text(), (OLD / "rows.sql").read_text())
        role = f"reader_{url.rpartition('/')[2].partition('?')[0]}"
        run(url, f"CREATE ROLE {role} LOGIN; GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {role};")
        try:
            with pytest.raises(OSError, match=r"permission denied|must be owner"):
                open_store(sqlalchemy.make_url(url).set(username=role).render_as_string(), create=True)
            assert rows(url, "SELECT version FROM ct_schema") == [(1,)]
        finally:
            run(url, f"DROP OWNED BY {role}; DROP ROLE {role};")


def test_a_writer_of_version_1_that_is_still_running_fails(old: str) -> None:
    """It would leave the new columns empty. Every one of its appends begins with this statement."""
    append = "UPDATE ct_sessions SET size = size WHERE session_id = 'trip' RETURNING size, created_ms, copying"
    run(old, append + ";")
    open_store(old, create=True).close()
    with pytest.raises((sqlite3.OperationalError, sqlalchemy.exc.ProgrammingError), match="copying"):
        run(old, append + ";")


def test_tables_of_a_later_version_are_refused(old: str) -> None:
    """As earlier versions refuse those of today, by the same check."""
    run(old, "UPDATE ct_schema SET version = 9;")
    calls: list[Callable[[], object]] = [lambda: open_store(old, create=True), lambda: open_store(old, create=False)]
    for call in calls:
        with pytest.raises(ConvtreeError, match="version 9, this convtree supports up to 8"):
            call()


# --- logs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", EVERY)
def test_a_log_of_today_opens_unchanged(id: str, tmp_path: Path) -> None:
    """Without findings; and it is continued."""
    path = tmp_path / f"{id}.jsonl"
    shutil.copy(OLD / "store" / path.name, path)
    before = path.read_bytes()
    with Session.open(path, mode="r", strict=True) as session:
        assert session.findings == ()
    assert path.read_bytes() == before
    with Session.open(path) as session:
        entry = session.append(assistant("more"))
    with Session.open(path, mode="r", strict=True) as session:
        assert (session.leaf_id, path.read_bytes()[: len(before)]) == (entry.id, before)
