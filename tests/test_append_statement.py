"""An append to PostgreSQL as one call leaves what the statements of a transaction leave, in every table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from time import sleep
from typing import Any
from zlib import crc32

import pytest
from helpers import assistant, contents, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres import new_database
from sqlalchemy import make_url

from convtree import CompactionEntry, ExtensionDataEntry, Header, Session
from convtree._catalogue.append_statement import APPEND_FUNCTION
from convtree._catalogue.tables import SCHEMA, VERSION
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_lines import Identity, LogKey, batch_of, chunk_of, statement_of
from convtree.stores._open import open_store

_TABLES = ("ct_sessions", "ct_lines", "ct_usage", "ct_copied", "ct_metadata")
_NAMES = count()

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["\0 NUL", "100% of :it", "'; COMMIT; --", "back\\slash \\u0000", "\u2028\U0001f600", '"quoted"']
)
MESSAGES = st.builds(user, TEXTS) | st.builds(assistant, TEXTS)
USAGES = st.none() | st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 2**53), "cost": st.floats(0, 1e9, allow_nan=False)}
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), MESSAGES, USAGES),
        st.tuples(st.just("append_many"), st.lists(MESSAGES, min_size=1, max_size=5)),
        st.tuples(st.just("other"), MESSAGES),
        st.tuples(st.just("custom"), TEXTS),
        st.tuples(st.just("rename"), TEXTS.filter(str.strip)),
        st.tuples(st.just("hide")),
        st.tuples(st.just("label"), st.sampled_from(["a", "b"])),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def ways(postgres_server: str) -> Iterator[tuple[SqlDatabase, SqlDatabase]]:
    """Two handles of one database: one that appends with one statement, and one that takes several."""
    with (
        new_database(postgres_server) as url,
        closing(SqlDatabase.connect(url)) as one,
        closing(SqlDatabase.connect(url)) as several,
    ):
        one.create_tables()
        several.check_tables()
        assert one.appends_at_once
        several.appends_at_once = False
        yield one, several


def _session(database: SqlDatabase, id: str, start: int) -> Session:
    times, ids = count(1_700_000_000_000_000_000, 1_000_000_007), count(start)
    return Session(
        SqlLog(database, id),
        Header(id="s", timestamp="2026-01-01T00:00:00Z"),
        on_stale="rebase",
        clock=lambda: next(times),
        id_source=lambda: f"e{next(ids)}",
    )


def _written(database: SqlDatabase, steps: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    """Runs the steps, two writers in turns; returns what the tables have, without the id of the session."""
    id = f"w{next(_NAMES)}"
    with _session(database, id, 0) as session, _session(database, id, 1_000_000) as other:
        session.append(user("first"))
        for name, *given in steps:
            if name == "append":
                message, usage = given
                session.append(message, usage=usage, provider="p", model="m")
            elif name == "append_many":
                session.append_many(given[0])
            elif name == "other":
                other.append(given[0])
            elif name == "custom":
                session.append(ExtensionDataEntry(ext_type="c", data={"text": given[0]}))
            elif name == "rename":
                session.rename(given[0])
            elif name == "hide":
                session.hide([each.id for each in session.path() if each.type == "message"][-1])
            else:
                session.label(session.path()[-1].id, given[0])

    def select(execute: Any, table: str) -> list[tuple[Any, ...]]:
        names = execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = :table AND column_name <> "
            "'session_id' ORDER BY 1",
            {"table": table},
        )
        columns = ", ".join(name for (name,) in names)
        found = execute(f"SELECT {columns} FROM {table} WHERE session_id = :id", {"id": id})
        return sorted((tuple(row) for row in found), key=repr)

    with database.reading() as execute:
        return {table: select(execute, table) for table in _TABLES}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_both_ways_leave_the_same(ways: tuple[SqlDatabase, SqlDatabase], steps: list[tuple[Any, ...]]) -> None:
    """The same bytes, and the same columns beside them."""
    one, several = (_written(database, steps) for database in ways)
    assert one == several


def test_the_tables_compared_are_all_that_an_append_writes() -> None:
    """A table that a later version adds is compared, too."""
    created = {each.split()[5] for each in SCHEMA["postgresql"] if "CREATE TABLE" in each}
    assert created == {*_TABLES, "ct_schema", "ct_snapshots", "ct_ledger", "ct_gone"}


def test_the_statement_changes_nothing_if_the_end_is_another(ways: tuple[SqlDatabase, SqlDatabase]) -> None:
    """Size and checksum of the row, the last line, and which session it is: each alone makes it return no row."""
    database, id = ways[0], f"w{next(_NAMES)}"
    with _session(database, id, 0) as session:
        session.append(user("first"))
    sizes = "SELECT size, last_crc, created_ms, rewrites FROM ct_sessions WHERE session_id = :id"
    lines = "SELECT position, line FROM ct_lines WHERE session_id = :id ORDER BY position"

    def stored() -> list[list[tuple[Any, ...]]]:
        with database.reading() as execute:
            return [[tuple(row) for row in execute(sql, {"id": id})] for sql in (sizes, lines)]

    def run(**others: int) -> list[Any]:
        end = {"after_size": size, "after_crc": crc, "after_position": last} | others
        key = LogKey(id, Identity(end.pop("created_ms", created_ms), end.pop("rewrites", rewrites)))
        statement = statement_of(key, chunk_of(size, batch), batch, end)
        assert statement is not None
        with database.writing() as execute:
            return [tuple(row) for row in execute(*statement)]

    before = stored()
    [[(size, crc, created_ms, rewrites)], [*_, (last, _)]] = before
    batch = batch_of([b"{}"])
    wrong = {"after_size": size + 1, "after_crc": crc + 1, "after_position": 1}
    for name, value in (wrong | {"created_ms": created_ms + 1, "rewrites": rewrites + 1}).items():
        assert (name, run(**{name: value})) == (name, [])
        assert stored() == before
    assert run() == [(True,)]
    assert stored()[1] == [*before[1], (size, "{}")]


def test_a_plain_append_is_one_request(ways: tuple[SqlDatabase, SqlDatabase], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several messages, and an answer with its usage, too. Behind another writer, two."""
    from psycopg import ClientCursor, Cursor

    requests: list[str] = []
    execute, execute_all = Cursor.execute, ClientCursor.execute

    def noted(cursor: Any, query: Any, *values: Any, **options: Any) -> Any:
        requests.append(re.sub(r"\(.*", "", bytes(query).decode()).strip())
        return (execute_all if isinstance(cursor, ClientCursor) else execute)(cursor, query, *values, **options)

    monkeypatch.setattr(Cursor, "execute", noted)
    id = f"w{next(_NAMES)}"
    with _session(ways[0], id, 0) as session, _session(ways[0], id, 1000) as other:
        session.append(user("first"))
        other.append(user("second"))
        session.append(user("third"))
        session.append(user("fourth"))  # it has seen that nobody else writes
        requests.clear()
        session.append(user("a"))
        session.append_many([user("b"), user("c")])
        session.append(assistant("d"), usage={"output_tokens": 3}, model="m")
        assert requests == ["SELECT TRUE WHERE ct_append"] * 3
        requests.clear()
        other.append(user("e"))
        lock, append = requests
        assert (lock.split()[0], append) == (
            "BEGIN;",
            "SELECT TRUE WHERE ct_append",
        )  # its last append has seen that others write


def test_opening_and_the_context_are_three_requests(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the log and of its index come with the row. A page of the index is in two of its parts at most."""
    from psycopg import Cursor

    requests: list[str] = []
    execute = Cursor.execute

    def noted(cursor: Any, query: Any, *values: Any, **options: Any) -> Any:
        requests.append(bytes(query).decode())
        return execute(cursor, query, *values, **options)

    with new_database(postgres_server) as url, open_store(url, create=True) as store:
        with store.create(id="s") as session:
            ids = [each.id for each in session.append_many([user(str(number)) for number in range(3000)])]
        with store.open("s") as session:
            session.append(CompactionEntry(summary="so far", first_kept_entry_id=ids[-20]))
        with monkeypatch.context() as patch:
            patch.setattr(Cursor, "execute", noted)
            session = store.open("s")
            assert len(session.build_context().messages) == 21
            assert 1 <= len(requests) <= 3
            with store.open("s") as other:
                other.append(user("later"))
            requests.clear()
            session.refresh()
            assert len(session.build_context().messages) == 22
            assert requests, "what others wrote is asked for"


def test_appends_update_the_row_in_place(postgres_server: str) -> None:
    """The last activity is in no index. Its bound is: it changes twice in 20 s, and other appends are HOT updates."""
    seconds = count(1_700_000_000)
    with new_database(postgres_server) as url:
        with open_store(url, create=True, clock=lambda: next(seconds) * 10**9) as store, store.create() as session:
            for number in range(100):
                session.append(user(str(number)))
        with closing(SqlDatabase.connect(url)) as database:
            for _ in range(200):  # the server notes it when it has ended the connection
                [(updates, in_place)] = database.read(
                    lambda execute: execute(
                        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'ct_sessions'"
                    )
                )
                if updates >= 100:
                    break
                sleep(0.01)
    assert updates == 100
    assert in_place >= 80


def _appended(url: str) -> tuple[bool, list[str]]:
    """Appends to a session by a new handle; returns whether that takes one statement, and what is stored then."""
    with closing(SqlDatabase.connect(url)) as database, Session(SqlLog(database, "s"), Header(id="s")) as session:
        session.append(user("again"))
        return database.appends_at_once, contents(session)


def test_without_the_function_an_append_is_several_statements(postgres_server: str) -> None:
    """A restore that left it out, or a role that may not call it."""
    with new_database(postgres_server) as url, closing(SqlDatabase.connect(url)) as database:
        database.create_tables()
        assert _appended(url) == (True, ["again"])
        role = f"writer_{url.rpartition('/')[2].partition('?')[0]}"
        as_role = make_url(url).set(username=role).render_as_string()

        def run(*statements: str) -> None:
            def work(execute: Any) -> None:
                for each in statements:
                    execute(each)

            database.transact(work)

        run(
            f"CREATE ROLE {role} LOGIN",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        )
        try:
            assert _appended(as_role) == (True, ["again"] * 2)
            run("REVOKE EXECUTE ON FUNCTION ct_append FROM PUBLIC")
            assert _appended(as_role) == (False, ["again"] * 3)
            assert _appended(url) == (True, ["again"] * 4)
            run("DROP FUNCTION ct_append")
            assert _appended(url) == (False, ["again"] * 5)
            with closing(SqlDatabase.connect(as_role)) as guest:
                guest.create_tables()  # does nothing: this role may not add functions
            assert _appended(url) == (False, ["again"] * 6)
            with closing(SqlDatabase.connect(url)) as restored:
                restored.create_tables()
                assert restored.appends_at_once
            assert _appended(url) == (True, ["again"] * 7)
        finally:
            run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_an_append_goes_on_when_the_function_is_dropped(postgres_server: str) -> None:
    with new_database(postgres_server) as url, open_store(url, create=True) as store, store.create(id="s") as session:
        session.append(user("begun"))
        session.append(user("at once"))
        with closing(SqlDatabase.connect(url)) as database:
            database.transact(lambda execute: execute("DROP FUNCTION ct_append"))
        session.append(user("in steps"))
        assert contents(session) == ["begun", "at once", "in steps"]
        with store.open("s") as other:
            assert contents(other) == contents(session)


def test_the_function_follows_the_search_path(postgres_server: str) -> None:
    """Two stores in two schemas of one database: each append goes to its own, also over one connection."""
    with new_database(postgres_server) as url:
        stores = {name: make_url(url).update_query_dict({"options": f"-c search_path={name}"}) for name in ("a", "b")}
        with closing(SqlDatabase.connect(url)) as database:
            for name, place in stores.items():
                database.transact(lambda execute, name=name: execute(f"CREATE SCHEMA {name}"))  # type: ignore[misc]
                with closing(SqlDatabase.connect(place.render_as_string(hide_password=False))) as store:
                    store.create_tables()
                    with _session(store, "s", 0) as session:
                        session.append(user(name))

            def append_to_both(execute: Any) -> None:
                for name in ("a", "b"):
                    execute(f"SET LOCAL search_path = {name}")
                    [(size, crc, created_ms)] = execute("SELECT size, last_crc, created_ms FROM ct_sessions")
                    [(last,)] = execute("SELECT MAX(position) FROM ct_lines")
                    end = {"after_size": size, "after_crc": crc, "after_position": last}
                    batch = batch_of([name.encode()])
                    statement = statement_of(LogKey("s", Identity(created_ms)), chunk_of(size, batch), batch, end)
                    assert statement is not None
                    assert execute(*statement)

            database.transact(append_to_both)
            for name in ("a", "b"):
                lines = database.read(lambda execute, name=name: execute(f"SELECT line FROM {name}.ct_lines"))  # type: ignore[misc]
                assert lines[-1] == (name,)


def test_a_changed_function_is_a_new_version_of_the_tables() -> None:
    """Tables of this version have this function. If this fails, raise `VERSION`, and rename the function."""
    assert (VERSION, f"{crc32(APPEND_FUNCTION.encode()):08x}") == (8, "a69a8581")
