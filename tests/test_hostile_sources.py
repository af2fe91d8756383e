"""Files of other tools that come from strangers: they cost no more than their size allows, and errors say why."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest
from foreign import CLAUDE, encoded

from convtree import ExtensionDataEntry, MessageEntry, NotALog
from convtree.exchange import list_foreign, read_foreign

SESSIONS = "id, description, working_dir, created_at, updated_at, extension_data, name"
MESSAGES = "id, message_id, session_id, role, content_json, created_timestamp, metadata_json, timestamp, tokens"
SAID = '[{"type":"text","text":"Hello."}]'


def database(path: Path, *statements: str) -> Path:
    """Writes a database of goose with one message, and runs further statements."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE sessions ({SESSIONS})")
        connection.execute(f"CREATE TABLE messages ({MESSAGES})")
        connection.execute("INSERT INTO sessions (id, created_at) VALUES ('s', '2026-01-01')")
        connection.execute(
            "INSERT INTO messages (session_id, role, content_json, created_timestamp) "
            f"VALUES ('s', 'user', '{SAID}', 1)"
        )
        for each in statements:
            connection.execute(each)
    return path


@pytest.mark.parametrize("table", ["sessions", "messages"])
def test_a_virtual_table_is_no_table(table: str, tmp_path: Path) -> None:
    """Its columns could come from a view that never ends, so not even those are asked for."""
    columns = {"sessions": SESSIONS, "messages": MESSAGES}[table].split(", ")
    picked = ", ".join(f"x AS {name}" for name in columns)
    path = database(
        tmp_path / "x.db",
        f"DROP TABLE {table}",
        f"CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {picked}, x AS rowid "
        "FROM c",
        f"CREATE VIRTUAL TABLE {table} USING fts5({', '.join(columns)}, content='v')",
    )
    with pytest.raises(NotALog, match="not a session of a known format"):
        read_foreign(path)


def test_a_value_that_is_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other values of its row and the other rows are read, and the report says so."""
    monkeypatch.setattr("convtree._formats.common.sqlite._CELL_LIMIT", 100_000)
    path = database(
        tmp_path / "x.db",
        "INSERT INTO messages (session_id, role, content_json, created_timestamp) "
        "VALUES ('s', 'assistant', hex(zeroblob(60000)), 2)",
        f"INSERT INTO messages (session_id, role, content_json, created_timestamp) VALUES ('s', 'user', '{SAID}', 3)",
    )
    session, report = read_foreign(path)
    with session:
        records = [record for _, record in session.records()]
    assert [each.text for each in records if isinstance(each, MessageEntry)] == ["Hello.", "Hello."]
    (data,) = [each for each in records if isinstance(each, ExtensionDataEntry)]
    assert (data.data, data.timestamp) == ({"role": "assistant"}, "1970-01-01T00:00:02.000000Z")
    assert [finding.code for finding in report.findings] == ["value_replaced"]


def test_a_database_that_causes_too_much_work_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read until then is imported, and the report says that there may be more."""
    monkeypatch.setattr("convtree._formats.common.sqlite._STEPS", 100)
    path = database(
        tmp_path / "x.db",
        "INSERT INTO messages (session_id, role, content_json, created_timestamp) WITH RECURSIVE c(x) AS "
        f"(SELECT 2 UNION ALL SELECT x + 1 FROM c WHERE x < 2000) SELECT 's', 'user', '{SAID}', x FROM c",
    )
    whole, report = read_foreign(path)
    with whole:
        assert (len(list(whole.records())), report.findings) == (2_000, ())
    monkeypatch.setattr("convtree._formats.common.sqlite._BUDGET", 10_000)
    monkeypatch.setattr("convtree._formats.common.sqlite._BUDGET_PER_BYTE", 0)
    part, report = read_foreign(path)
    with part:
        assert 0 < len(list(part.records())) < 2_000
    assert "source_database" in [finding.code for finding in report.findings]


def test_a_database_is_no_text(tmp_path: Path) -> None:
    """A database of no known tool, whose pages hold lines of a session, is not that session."""
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES (?)", (b"\n" + encoded(*CLAUDE, *CLAUDE),))
        connection.commit()
    with pytest.raises(NotALog, match="not a session of a known format"):
        read_foreign(path)


# --- journals ---

MORE = f"INSERT INTO messages (session_id, role, content_json, created_timestamp) VALUES ('s', 'user', '{SAID}', 2)"


def said_in(path: Path) -> tuple[int, list[str]]:
    """Returns how many messages are read from a database, and what is reported."""
    session, report = read_foreign(path)
    with session:
        messages = [record for _, record in session.records() if isinstance(record, MessageEntry)]
    return len(messages), [finding.code for finding in report.findings]


@contextmanager
def unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Checks that nothing in a folder is written to, and that nothing is copied."""

    def state() -> list[tuple[str, int, int, bytes]]:
        files = [(path, path.stat()) for path in sorted(folder.iterdir())]
        return [(path.name, found.st_mtime_ns, found.st_size, path.read_bytes()) for path, found in files]

    monkeypatch.setattr("convtree._formats.common.sqlite_opening.shutil.copyfile", None)
    before = state()
    yield
    assert before == state()
    monkeypatch.undo()


@pytest.mark.parametrize("is_alive", [True, False], ids=["open", "killed"])
def test_a_write_ahead_log_is_read_in_place(is_alive: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its writer is at work, or was killed. Nothing is copied, and nothing changes on disk."""
    path = database(tmp_path / "x.db", "PRAGMA user_version = 1")
    program = (
        "import os, sqlite3, sys\nwriter = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "writer.execute('PRAGMA journal_mode=wal')\nwriter.execute(sys.argv[2])\nprint('ready', flush=True)\n"
        "sys.stdin.read()\nos._exit(0)"
    )
    command = [sys.executable, "-c", program, str(path), MORE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        if not is_alive:
            writer.communicate()
        with unchanged(tmp_path, monkeypatch):
            assert said_in(path) == (2, [])


def test_a_journal_without_a_transaction_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer may keep the file for its next transaction. The database is whole without it."""
    path = database(tmp_path / "x.db")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode=persist")
        with writer:
            writer.execute(MORE)
    assert (tmp_path / "x.db-journal").stat().st_size > 0
    with unchanged(tmp_path, monkeypatch):
        assert said_in(path) == (2, [])


def torn(folder: Path) -> Path:
    """Makes a database as a crash leaves it: a part of a transaction is in it, and the way back is in its journal."""
    path = database(folder / "live.db", "CREATE TABLE filling (x)", "INSERT INTO filling VALUES (zeroblob(200000))")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA cache_size=1")
        writer.execute("DELETE FROM messages")
        writer.execute("INSERT INTO filling SELECT zeroblob(200000) FROM filling")
        writer.execute("UPDATE filling SET x = zeroblob(100000)")
        for end in ("", "-journal"):
            shutil.copyfile(f"{path}{end}", folder / f"x.db{end}")
    return folder / "x.db"


def test_an_unfinished_transaction_is_rolled_back_in_a_copy(tmp_path: Path) -> None:
    """The database itself is not touched. A table that is not read is named."""
    path = torn(tmp_path)
    before = path.read_bytes()
    assert said_in(path) == (1, ["source_field_dropped"])
    assert (path.read_bytes(), (tmp_path / "x.db-journal").exists()) == (before, True)


def test_a_large_database_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read without its journal, and the report says so."""
    monkeypatch.setattr("convtree._formats.common.sqlite_opening._COPY_LIMIT", 1000)
    path = torn(tmp_path)
    count, codes = said_in(path)
    assert count <= 1
    assert "source_journal" in codes


# --- damage ---


@pytest.mark.parametrize(("keep", "said"), [(1500, "malformed"), (0, "not a database")], ids=["cut off", "encrypted"])
def test_the_error_of_a_damaged_database_says_what_it_is(keep: int, said: str, tmp_path: Path) -> None:
    """It is cut off, or encrypted behind its first bytes."""
    path = database(tmp_path / "x.db")
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep else b"SQLite format 3\0" + bytes(range(256)) * 16)
    with pytest.raises(NotALog, match=f"x.db: an SQLite database that cannot be read, damaged or encrypted: .*{said}"):
        read_foreign(path)


def test_a_schema_with_functions_is_not_damage(tmp_path: Path) -> None:
    """Some tools have an index of theirs beside their sessions. SQLite refuses such a schema of somebody else."""
    path = database(tmp_path / "x.db", "CREATE INDEX i ON messages (json_extract(content_json, '$.a'))")
    with pytest.raises(NotALog, match="not a session of a known format"):
        read_foreign(path)


@pytest.mark.parametrize("page_size", [0, 513, 3])
def test_a_page_size_that_cannot_be(page_size: int, tmp_path: Path) -> None:
    """SQLite's own word for it is in the error."""
    path = database(tmp_path / "x.db")
    data = bytearray(path.read_bytes())
    struct.pack_into(">H", data, 16, page_size)
    path.write_bytes(data)
    with pytest.raises(NotALog, match="damaged or encrypted: file is not a database"):
        read_foreign(path)


@pytest.mark.parametrize("name", ["x.db", "x.sqlite", "x.sqlite3", "state.vscdb"])
def test_an_encrypted_database_is_known_by_its_name(name: str, tmp_path: Path) -> None:
    """Its bytes look like noise. Without the name of a database, they are of no known format."""
    noise = bytes(each * 73 % 251 for each in range(8192))
    (tmp_path / name).write_bytes(noise)
    with pytest.raises(NotALog, match="damaged or encrypted: file is not a database"):
        read_foreign(tmp_path / name)
    (tmp_path / "x.bin").write_bytes(noise)
    (tmp_path / "empty.db").touch()
    for other in ("x.bin", "empty.db"):
        with pytest.raises(NotALog, match="not a session of a known format"):
            read_foreign(tmp_path / other)


def test_a_database_of_another_program_is_not_called_damaged(tmp_path: Path) -> None:
    """It can be read; it has no sessions."""
    path = database(tmp_path / "x.db", "DROP TABLE messages")
    with pytest.raises(NotALog, match="not a session of a known format"):
        read_foreign(path)


def test_an_archive_with_too_many_conversations(tmp_path: Path) -> None:
    """Opening each of them takes time, also if all are empty."""
    path = tmp_path / "x.zip"
    with ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"conversations-{number}.json", b"")
    with pytest.raises(NotALog, match=r"x.zip: a ZIP archive with 10,001 files of conversations; at most 10,000"):
        list(list_foreign(path))


@pytest.mark.parametrize("is_wide", [False, True])
def test_an_archive_with_too_many_members(is_wide: bool, tmp_path: Path) -> None:
    """The end of the archive says how long its directory is, in one of two places; it is not read."""
    path = tmp_path / "x.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", b"[]")
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 12, 0xFFFFFFFF if is_wide else 2**25)
    if is_wide:
        data[end:end] = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**25, 0)
    path.write_bytes(data)
    with pytest.raises(
        NotALog, match=r"x.zip: a ZIP archive with too many members: their directory has 33,554,432 bytes"
    ):
        list(list_foreign(path))


@pytest.mark.parametrize(
    "end", [b"", b"PK\x05\x06", b"PK\x06\x06PK\x05\x06" + b"\xff" * 18], ids=["none", "cut", "wide"]
)
def test_an_archive_without_an_end(end: bytes, tmp_path: Path) -> None:
    """It is of no known format."""
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\x03\x04" + bytes(100) + end)
    with pytest.raises(NotALog):
        list(list_foreign(path))
