"""What the row of a session in a database says about its lines, after somebody else changed the tables."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import pytest
from helpers import adding, user

from convtree import Header, ReadOnlySession, Session, StaleLeaf
from convtree._engine.log import LogReplaced, Mode
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase

TABLES = ("ct_sessions", "ct_lines", "ct_usage", "ct_snapshots")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A database with its tables, of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path}/log.db"
    with closing(SqlDatabase.connect(url, durability="process")) as opened:
        opened.create_tables()
        yield opened


@pytest.fixture
def id(request: pytest.FixtureRequest) -> str:
    """An id for the session of a test."""
    return f"t{crc32(request.node.nodeid.encode()):x}"


def opened(database: SqlDatabase, id: str, mode: Mode = "a", **arguments: Any) -> Session:
    return Session(SqlLog(database, id, mode=mode), Header(id=id), read_only=mode == "r", **arguments)


def sql(database: SqlDatabase, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with database.writing() as execute:
        return [tuple(row) for row in execute(statement, values)]


def lines_of(database: SqlDatabase, id: str) -> list[tuple[int, str]]:
    """Position and text of the lines."""
    found = sql(database, "SELECT position, line FROM ct_lines WHERE session_id = :id ORDER BY position", id=id)
    return [(position, line) for position, line in found]


def change_row(database: SqlDatabase, id: str, change: str, **values: Any) -> None:
    sql(database, f"UPDATE ct_sessions SET {change} WHERE session_id = :id", id=id, **values)


def delete_last_line(database: SqlDatabase, id: str) -> tuple[int, int]:
    """Deletes the last line; returns its position, and its length with the newline."""
    position, line = lines_of(database, id)[-1]
    sql(database, "DELETE FROM ct_lines WHERE session_id = :id AND position = :at", id=id, at=position)
    return position, len(line) + 1


def found_in(session: Session) -> list[tuple[str, int, int]]:
    return [(finding.code, finding.offset, finding.length) for finding in session.findings]


def begin(database: SqlDatabase, id: str, count: int = 3) -> list[str]:
    """Writes a session of some entries; returns their ids."""
    with opened(database, id) as session:
        return [session.append(user(f"text {number}")).id for number in range(count)]


def test_a_last_line_that_was_deleted_is_a_finding(database: SqlDatabase, id: str) -> None:
    """Reading goes on without it, and writing says how to mend it."""
    ids = begin(database, id)
    position, length = delete_last_line(database, id)
    with opened(database, id) as session:
        assert found_in(session) == [("lines_lost", position, length)]
        assert [entry.id for entry in session.path()] == ids[:2]
        with pytest.raises(ReadOnlySession, match="lines at its end are missing; `convtree repair --store` mends it"):
            session.append(user("more"))
        session.refresh()
        assert found_in(session) == [("lines_lost", position, length)]
    assert len(lines_of(database, id)) == 3


def test_all_lines_deleted_is_a_finding(database: SqlDatabase, id: str) -> None:
    """No session begins in the place of one whose lines are gone."""
    begin(database, id)
    size = sum(len(line) + 1 for _, line in lines_of(database, id))
    sql(database, "DELETE FROM ct_lines WHERE session_id = :id", id=id)
    with opened(database, id) as session:
        assert found_in(session) == [("lines_lost", 0, size)]
        with pytest.raises(ReadOnlySession, match="lines at its end are missing"):
            session.append(user("more"))
    assert lines_of(database, id) == []


@pytest.mark.parametrize("size", ["size + 100", "size - 1", "size - 300", "0", "4611686018427387904"])
def test_a_wrong_size_is_a_finding(database: SqlDatabase, id: str, size: str) -> None:
    """The lines count: all of them are read. Nothing is written where it could be in the place of another line."""
    ids = begin(database, id)
    end = sum(len(line) + 1 for _, line in lines_of(database, id))
    change_row(database, id, f"size = {size}")
    with opened(database, id) as session:
        assert found_in(session) == [("wrong_size", end, 0)]
        assert [entry.id for entry in session.path()] == ids
        with pytest.raises(ReadOnlySession, match="the database names another size than its lines have"):
            session.append(user("more"))
        change_row(database, id, "size = :end", end=end)
    with opened(database, id) as session:
        assert session.findings == ()
        session.append(user("more"))


@pytest.mark.parametrize("size", ["size + 5", "size - 5"])
def test_a_wrong_size_under_an_open_writer(database: SqlDatabase, id: str, size: str) -> None:
    """The next append notices it, as does the next refresh."""
    with opened(database, id) as session, opened(database, id) as reader:
        session.append(user("one"))
        reader.refresh()
        change_row(database, id, f"size = {size}")
        reader.refresh()
        assert [finding.code for finding in reader.findings] == ["wrong_size"]
        with pytest.raises(ReadOnlySession, match="another size"):
            session.append(user("two"))
        assert [finding.code for finding in session.findings] == ["wrong_size"]


@pytest.mark.parametrize("change", ["row", "line"])
def test_another_last_line_is_a_finding(database: SqlDatabase, id: str, change: str) -> None:
    """The row names the checksum of the last line, as the next line would."""
    ids = begin(database, id)
    (position, line), end = lines_of(database, id)[-1], sum(len(line) + 1 for _, line in lines_of(database, id))
    if change == "row":
        change_row(database, id, "last_crc = last_crc + 1")
    else:
        begin(database, f"{id}2")
        other = lines_of(database, id + "2")[0][1]
        other += "x" * (len(line) - len(other))
        statement = "UPDATE ct_lines SET line = :line WHERE session_id = :id AND position = :at"
        sql(database, statement, line=other, id=id, at=position)
    with opened(database, id) as session:
        if change == "row":
            assert found_in(session) == [("wrong_end", end, 0)]
            assert [entry.id for entry in session.path()] == ids
            with pytest.raises(ReadOnlySession, match="its last line is not the one that the database names"):
                session.append(user("more"))
        else:
            assert found_in(session) == [("bad_seal", position, len(line))]


def test_a_row_without_a_checksum_is_as_good(database: SqlDatabase, id: str) -> None:
    """Tables of early versions did not note it for every session."""
    begin(database, id)
    change_row(database, id, "last_crc = 0")
    with opened(database, id) as session:
        session.append(user("more"))
        assert session.findings == ()
    change_row(database, id, "last_crc = 0")
    position, length = delete_last_line(database, id)
    assert found_in(opened(database, id)) == [("lines_lost", position, length)]


def test_lines_that_vanish_under_an_open_writer(database: SqlDatabase, id: str) -> None:
    """The append looks for the line that it continues, in the statement that takes the lock."""
    with opened(database, id) as session, opened(database, id) as busy:
        ids = [session.append(user(f"text {number}")).id for number in range(3)]
        busy.refresh()
        busy.append(user("more"))
        session.refresh()
        position, length = delete_last_line(database, id)
        for writer in (session, busy):
            with pytest.raises(ReadOnlySession, match="lines at its end are missing"):
                writer.append(user("new"))
            assert found_in(writer) == [("lines_lost", position, length)]
            writer.refresh()
            assert [entry.id for entry in writer.path()] == ids
    assert len(lines_of(database, id)) == 4


COLUMNS = {
    "sqlite": "SELECT name FROM pragma_table_info(:name) ORDER BY cid",
    "postgresql": "SELECT column_name FROM information_schema.columns WHERE table_name = :name "
    "AND table_schema = current_schema() ORDER BY ordinal_position",
}


def copies(database: SqlDatabase, id: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a session, by table: a backup."""
    backup = {}
    with database.reading() as execute:
        for table in TABLES:
            names = [name for (name,) in execute(COLUMNS[database.dialect], {"name": table}) if name != "row"]
            found = execute(f"SELECT {', '.join(names)} FROM {table} WHERE session_id = :id", {"id": id})
            backup[table] = [dict(zip(names, row, strict=True)) for row in found]
    return backup


def restore(database: SqlDatabase, id: str, backup: dict[str, list[dict[str, Any]]]) -> None:
    """Puts the rows of a backup in the place of those of a session."""
    with database.writing() as execute:
        for table, rows in backup.items():
            execute(f"DELETE FROM {table} WHERE session_id = :id", {"id": id})
            for row in rows:
                execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", row)


@pytest.mark.parametrize("others", [0, 1, 2, 3])
def test_a_restore_under_an_open_writer_is_noticed(database: SqlDatabase, id: str, others: int) -> None:
    """Whatever others have written to the restored session meanwhile: one line may be as long as the one that went."""
    with opened(database, id) as session:
        first = session.append(user("text 0"))
        backup = copies(database, id)
        session.append(user("text 1"))
        restore(database, id, backup)
        with opened(database, id) as other:
            written = [other.append(user(f"text {number}")).id for number in range(4, 4 + others)]
        with pytest.raises(StaleLeaf):
            session.append(user("text 2"))
        session.refresh()
        assert [entry.id for entry in session.path()] == [first.id, *written]
        last = session.append(user("text 2"))
    with opened(database, id, "r") as reader:
        assert reader.findings == ()
        assert [entry.id for entry in reader.path()] == [first.id, *written, last.id]


def test_a_restore_is_noticed_by_a_reader(database: SqlDatabase, id: str) -> None:
    """A refresh reads the line before the news again."""
    with opened(database, id) as writer, opened(database, id) as reader:
        first = writer.append(user("text 0"))
        backup = copies(database, id)
        writer.append(user("text 1"))
        reader.refresh()
        restore(database, id, backup)
        with opened(database, id) as other:
            written = [other.append(user(f"text {number}")).id for number in (2, 3)]
        reader.refresh()
        assert [entry.id for entry in reader.path()] == [first.id, *written]
        assert reader.findings == ()


def test_a_log_with_a_snapshot_is_compared_as_well(database: SqlDatabase, id: str) -> None:
    """The snapshot covers all lines, so no line needs to be read: the last one is, once."""
    with opened(database, id) as session:
        session.append_many([user("x" * 50) for _ in range(5000)])
    change_row(database, id, "last_crc = last_crc + 1")
    assert [finding.code for finding in opened(database, id).findings] == ["wrong_end"]
    change_row(database, id, "last_crc = last_crc - 1, size = size + 7")
    assert [finding.code for finding in opened(database, id).findings] == ["wrong_size"]
    change_row(database, id, "size = size - 7")
    delete_last_line(database, id)
    assert [finding.code for finding in opened(database, id).findings] == ["lines_lost"]


def test_a_position_that_is_not_known(database: SqlDatabase, id: str) -> None:
    """A handle that has read nothing appends at the end, and nowhere else."""
    begin(database, id)
    end = sum(len(line) + 1 for _, line in lines_of(database, id))
    line = b'{"type":"x"}'
    with pytest.raises(LogReplaced):
        SqlLog(database, id).append(end + 1, adding(end + 1, [line]))
    assert SqlLog(database, id).append(end, adding(end, [line])).positions == [end]
    with pytest.raises(LogReplaced):
        list(SqlLog(database, id, mode="r").read(end + 1))


def test_the_comparison_costs_no_statement(database: SqlDatabase, id: str) -> None:
    """An append is still the update of the row and the insert of the line; on a server, both in one call."""
    statements: list[str] = []
    with database.reading() as execute:
        kind: Any = type(execute)
    run, commit = kind.__call__, kind.commit

    def committed(transaction: Any, *last: Any) -> Any:
        if last and database.appends_at_once:
            statements.append(last[0].split(maxsplit=1)[0])
        return commit(transaction, *last)

    def counted(transaction: Any, statement: str, values: Any = ()) -> Any:
        statements.append(statement.split(maxsplit=1)[0])
        return run(transaction, statement, values)

    with opened(database, id) as session:
        session.append(user("one"))
        with patch.object(kind, "__call__", counted), patch.object(kind, "commit", committed):
            session.append(user("two"))
    assert statements == (["SELECT"] if database.dialect == "postgresql" else ["UPDATE", "INSERT"])
