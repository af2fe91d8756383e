"""Creating stores, and which statements `--distributed` sends: to a PostgreSQL with STUBS in place of Citus.

The stubs only note what they are asked for. `test_citus` runs the same on a real cluster.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import user
from postgres import new_database
from private_citus import run
from test_upgrade import AS_VERSION_3

from convtree._catalogue import tables
from convtree._cli.app import app
from convtree.stores._open import open_store

STUBS = """
CREATE TABLE pg_dist_partition (logicalrelid REGCLASS, partkey TEXT, colocationid INTEGER, repmodel TEXT);
CREATE TABLE asked (number SERIAL, what TEXT, mode TEXT);
CREATE FUNCTION column_to_column_name(REGCLASS, TEXT) RETURNS TEXT LANGUAGE sql AS 'SELECT $2';
CREATE FUNCTION create_reference_table(name REGCLASS) RETURNS VOID LANGUAGE sql AS $$
  INSERT INTO pg_dist_partition VALUES (name, NULL, 1, 't');
  INSERT INTO asked (what, mode)
    VALUES ('reference ' || name, current_setting('citus.multi_shard_modify_mode', true)) $$;
CREATE FUNCTION create_distributed_table(name REGCLASS, distribution_column TEXT, colocate_with TEXT DEFAULT 'default')
RETURNS VOID LANGUAGE sql AS $$
  INSERT INTO pg_dist_partition VALUES (name, distribution_column, 2, 's');
  INSERT INTO asked (what, mode) VALUES (name || ' by ' || distribution_column || ' beside ' || colocate_with,
    current_setting('citus.multi_shard_modify_mode', true)) $$;
CREATE FUNCTION truncate_local_data_after_distributing_table(name REGCLASS) RETURNS VOID LANGUAGE sql AS $$
  INSERT INTO asked (what, mode)
    VALUES ('truncate ' || name, current_setting('citus.multi_shard_modify_mode', true)) $$;
"""
OLD = Path(__file__).parent / "version_1"
OTHERS = ["ct_usage", "ct_copied", "ct_gone", "ct_ledger", "ct_lines", "ct_metadata", "ct_snapshots"]
ASKED = [
    "reference ct_schema",
    "ct_sessions by session_id beside default",
    *(f"{name} by session_id beside ct_sessions" for name in OTHERS),
    *(f"truncate {name}" for name in ("ct_schema", "ct_sessions", *OTHERS)),
]


@pytest.fixture
def plain(postgres_server: str) -> Iterator[str]:
    """A database without Citus."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def stubbed(plain: str) -> str:
    """A database with stubs in place of Citus."""
    run(plain, STUBS)
    return plain


def call(*arguments: object) -> tuple[int, str, str]:
    """Runs a command. Returns its exit code, its output, and its output on stderr."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def asked(url: str) -> list[tuple[str, str]]:
    """What the stubs were asked for, and whether for one connection to each worker."""
    return run(url, "SELECT what, mode FROM asked ORDER BY number")


@pytest.mark.parametrize("url", ["{}/store", "sqlite:///{}/store.db", "file://{}/store"])
def test_a_store_is_created_once(tmp_path: Path, url: str) -> None:
    """A second time there is nothing to do."""
    where = url.format(tmp_path)
    assert call("init", where) == (0, "", "store created\n")
    with open_store(where, create=False) as store:
        assert store.count() == 0
    assert call("init", where) == (0, "", "nothing to do\n")
    document = {"schema": "convtree.init", "schema_version": 1, "created": False, "migrated": False, "distributed": []}
    assert json.loads(call("init", where, "--json")[1]) == document


def test_tables_of_a_server_are_created(plain: str) -> None:
    """Programs that use them need not be allowed to create any."""
    code, out, _ = call("init", plain, "--json")
    assert (code, json.loads(out)["created"]) == (0, True)
    with open_store(plain) as store, store.create() as session:
        session.append(user("x"))


def test_tables_of_an_earlier_version_are_migrated(plain: str) -> None:
    """As by `upgrade`."""
    assert call("init", plain) == (0, "", "store created\n")
    run(plain, AS_VERSION_3)
    assert call("init", plain) == (0, "", "tables migrated\n")
    assert call("init", plain) == (0, "", "nothing to do\n")


@pytest.mark.parametrize("url", ["{}/store", "sqlite:///{}/store.db", "memory:", "mongodb://x"])
def test_only_a_server_is_distributed(tmp_path: Path, url: str) -> None:
    """Nothing is created."""
    code, _, err = call("init", url.format(tmp_path), "--distributed")
    assert (code, "only a database of a Citus cluster" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []
    assert call("init", "mongodb://x")[0] == 2


def test_a_server_without_citus(plain: str) -> None:
    """The error says what is missing. No table is created."""
    code, _, err = call("init", plain, "--distributed")
    assert (code, "has no Citus" in err, "`CREATE EXTENSION citus`" in err) == (5, True, True)
    assert run(plain, "SELECT 1 FROM pg_tables WHERE tablename LIKE 'ct_%'") == []


def test_every_table_is_distributed_once(stubbed: str) -> None:
    """The sessions by their id, the others beside them; the version is everywhere."""
    assert call("init", stubbed, "--distributed") == (0, "", "store created\n9 tables distributed\n")
    assert asked(stubbed) == [(what, "sequential") for what in ASKED]
    assert call("init", stubbed, "--distributed") == (0, "", "nothing to do\n")
    assert len(asked(stubbed)) == len(ASKED)


def test_what_is_missing_is_distributed(stubbed: str) -> None:
    """Tables that exist already, or are distributed by hand, are taken as they are."""
    assert call("init", stubbed)[0] == 0
    run(stubbed, "SELECT create_distributed_table('ct_sessions', 'session_id')")
    code, out, _ = call("init", stubbed, "--distributed", "--json")
    assert (code, json.loads(out)["created"]) == (0, False)
    assert json.loads(out)["distributed"] == ["ct_schema", *OTHERS]


@pytest.mark.parametrize(("column", "group", "kind"), [("'model'", 2, "s"), ("'session_id'", 3, "s"), ("NULL", 2, "t")])
def test_a_table_in_a_wrong_place_is_named(stubbed: str, column: str, group: int, kind: str) -> None:
    """By another column, in another group, or everywhere: the error says how to undo it. Nothing is changed."""
    assert call("init", stubbed)[0] == 0
    run(stubbed, f"INSERT INTO pg_dist_partition VALUES ('ct_usage', {column}, {group}, '{kind}')")
    code, _, err = call("init", stubbed, "--distributed")
    assert (code, "`SELECT undistribute_table('ct_usage')`" in err) == (5, True)
    assert asked(stubbed) == []


def test_sessions_by_another_column(stubbed: str) -> None:
    """So are the sessions themselves."""
    assert call("init", stubbed)[0] == 0
    run(stubbed, "INSERT INTO pg_dist_partition VALUES ('ct_sessions', 'owner', 2, 's')")
    assert "`SELECT undistribute_table('ct_sessions')`" in call("init", stubbed, "--distributed")[2]


@pytest.mark.parametrize("distributed", [True, False])
def test_a_migration_distributes_what_it_adds(stubbed: str, distributed: bool) -> None:
    """If the sessions are distributed. Otherwise everything stays on one server."""
    assert call("init", stubbed)[0] == 0
    run(stubbed, AS_VERSION_3)
    before = ["ct_sessions", "ct_lines", "ct_usage", "ct_copied", "ct_gone", "ct_ledger", "ct_snapshots"]
    for name in before if distributed else ():
        run(stubbed, f"SELECT create_distributed_table('{name}', 'session_id')")
    run(stubbed, "DELETE FROM asked")
    assert call("upgrade", stubbed) == (0, "", "tables migrated\n")
    wanted = [
        *(
            "reference ct_schema",
            "ct_usage by session_id beside ct_sessions",
            "truncate ct_schema",
            "truncate ct_usage",
        ),
        *("ct_copied by session_id beside ct_sessions", "truncate ct_copied"),
        *("ct_gone by session_id beside ct_sessions", "truncate ct_gone"),
        *("ct_ledger by session_id beside ct_sessions", "truncate ct_ledger"),
        *("ct_metadata by session_id beside ct_sessions", "truncate ct_metadata"),
    ]
    assert asked(stubbed) == ([(what, "sequential") for what in wanted] if distributed else [])


def test_each_step_of_a_migration_distributes_what_it_adds(stubbed: str) -> None:
    """Tables of version 1 become those of version 2, 3 and 4. The usage of version 5 takes the place of another."""
    run(stubbed, (OLD / "postgresql.sql").read_text())
    run(stubbed, (OLD / "rows.sql").read_text())
    for name in ("ct_sessions", "ct_lines", "ct_usage", "ct_snapshots"):
        run(stubbed, f"SELECT create_distributed_table('{name}', 'session_id')")
    run(stubbed, "DELETE FROM asked")
    assert call("upgrade", stubbed) == (0, "", "tables migrated\n")
    made = [what.split()[0] for what, _ in asked(stubbed) if " by session_id beside ct_sessions" in what]
    assert made == ["ct_usage", "ct_copied", "ct_gone", "ct_ledger", "ct_metadata"]


def test_every_key_begins_with_the_session_id() -> None:
    """The tables can be distributed by it. So can those that a later version adds."""
    created = [each for each in tables.SCHEMA["postgresql"] if "CREATE TABLE" in each and each != tables.VERSIONS]
    assert len(created) == len(OTHERS) + 1
    keys = [re.findall(r"(\w+) TEXT NOT NULL PRIMARY KEY|(?:PRIMARY KEY|UNIQUE) \((\w+),", each) for each in created]
    assert {"".join(names) for each in keys for names in each} == {"session_id"}
    assert all(keys)


@pytest.mark.parametrize("code", ["08006", "57P01", "57P03"])
def test_a_worker_that_cannot_be_reached(plain: str, code: str) -> None:
    """The coordinator says so with these codes. It is a ConnectionError: nothing was written, and a retry is safe."""
    with open_store(plain, create=True) as store, store.create(id="s") as session:
        session.append(user("before"))
        run(
            plain,
            f"""CREATE FUNCTION fails() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'connection to the remote node w1:5432 failed' USING ERRCODE = '{code}'; END $$""",
        )
        run(plain, "CREATE TRIGGER fails BEFORE INSERT ON ct_lines EXECUTE FUNCTION fails()")
        with pytest.raises(ConnectionError, match=r"connection to the remote node w1:5432 failed; nothing was written"):
            session.append(user("after"), id="after")
        run(plain, "DROP TRIGGER fails ON ct_lines")
        session.append(user("after"), id="after")
        assert [entry.id for entry in session.path()][1:] == ["after"]
