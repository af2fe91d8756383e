"""Files of other tools that come from strangers: they cost no more than their size allows, and errors say why."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest

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
        f"(SELECT 2 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT 's', 'user', '{SAID}', x FROM c",
    )
    whole, report = read_foreign(path)
    with whole:
        assert (len(list(whole.records())), report.findings) == (20_000, ())
    monkeypatch.setattr("convtree._formats.common.sqlite._BUDGET", 100_000)
    monkeypatch.setattr("convtree._formats.common.sqlite._BUDGET_PER_BYTE", 0)
    part, report = read_foreign(path)
    with part:
        assert 0 < len(list(part.records())) < 20_000
    assert "source_database" in [finding.code for finding in report.findings]


@pytest.mark.parametrize(("keep", "said"), [(1500, "malformed"), (0, "not a database")], ids=["cut off", "encrypted"])
def test_the_error_of_a_damaged_database_says_what_it_is(keep: int, said: str, tmp_path: Path) -> None:
    """It is cut off, or encrypted behind its first bytes."""
    path = database(tmp_path / "x.db")
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep else b"SQLite format 3\0" + bytes(range(256)) * 16)
    with pytest.raises(NotALog, match=f"x.db: an SQLite database that cannot be read, damaged or encrypted: .*{said}"):
        read_foreign(path)


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
