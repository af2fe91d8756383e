"""Stores on a Citus cluster: the conformance suite on distributed tables, and how tables become distributed."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from citus import Schemas, absent, check_wanted, distributed, new_schema, private_cluster, run
from click.testing import CliRunner
from harness_runs import run as run_harness
from helpers import contents, user
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from log_contract import LogContract
from test_upgrade import AS_VERSION_3

from convtree import LedgerRow, Usage
from convtree._cli.app import app
from convtree._engine.log import Log
from convtree._logs.sql import SqlLog
from convtree._logs.sql_database import SqlDatabase
from convtree.stores._open import open_store
from convtree.stores._session_store import SessionStore
from convtree.testing import Clock, StoreContract, store_machine

OLD = Path(__file__).parent / "version_1"
TABLES = [
    "ct_schema",
    "ct_sessions",
    "ct_usage",
    "ct_copied",
    "ct_gone",
    "ct_ledger",
    "ct_lines",
    "ct_metadata",
    "ct_snapshots",
]
PLACES = """
SELECT c.relname, CASE WHEN repmodel = 't' THEN 'reference' ELSE column_to_column_name(logicalrelid, partkey) END,
  colocationid FROM pg_dist_partition JOIN pg_class c ON c.oid = logicalrelid
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema)
"""


@pytest.fixture
def url_of(schemas: Schemas) -> Iterator[Callable[[Path], str]]:
    """Gives each place distributed tables of its own."""
    urls: dict[Path, str] = {}

    def url_of(place: Path) -> str:
        if place not in urls:
            urls[place] = schemas.take()
        return urls[place]

    yield url_of
    for url in urls.values():
        schemas.give_back(url)


class TestCitus(StoreContract):
    """The contract, on distributed tables."""

    @pytest.fixture(autouse=True)
    def _schemas(self, url_of: Callable[[Path], str]) -> None:
        self.url_of = url_of

    def open_store(self, place: Path, clock: Clock) -> SessionStore:
        return open_store(self.url_of(place), create=True, clock=clock)


class TestCitusLog(LogContract):
    """The contract of a log, on distributed tables."""

    @pytest.fixture(autouse=True)
    def _database(self, url_of: Callable[[Path], str], tmp_path: Path) -> Iterator[None]:
        with closing(SqlDatabase.connect(url_of(tmp_path))) as self.database:
            yield

    def open_log(self, place: Path) -> Log:
        """A session for each place."""
        return SqlLog(self.database, "s" + place.name)


def test_any_history(url_of: Callable[[Path], str]) -> None:
    """Random sequences of calls, compared with a model."""
    machine = store_machine(lambda place, clock: open_store(url_of(Path(place)), create=True, clock=clock))
    small = settings(max_examples=6, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(machine, settings=small)


def test_tables_with_sessions_are_distributed(citus_url: str) -> None:
    """They move with their tables. The coordinator keeps no copy on its disk. Again, nothing is done."""
    with new_schema(citus_url) as url:
        with open_store(url, create=True) as store:
            for number in range(6):
                with store.create(id=f"s{number}") as session:
                    session.append(user("before"))
            assert call("init", url, "--distributed") == (0, "", f"{len(TABLES)} tables distributed\n")
            local = "SELECT pg_relation_size('ct_lines')"  # the shell of a distributed table
            assert run(url, local) == [(0,)]
            with store.open("s3") as session:
                session.append(user("after"))
                assert contents(session) == ["before", "after"]
            assert len(store.list()) == 6
        assert places(url) == {"ct_schema": "reference", **dict.fromkeys(TABLES[1:], "session_id")}
        assert call("init", url, "--distributed") == (0, "", "nothing to do\n")
        assert json.loads(call("init", url, "--json")[1]) == {
            "schema": "convtree.init",
            "schema_version": 1,
            "created": False,
            "migrated": False,
            "distributed": [],
        }


def test_tables_are_created_and_distributed(citus_url: str) -> None:
    """By one command; by two at once, too."""
    with new_schema(citus_url) as url:
        results: list[list[str]] = []
        threads = [Thread(target=lambda: results.append(distribute(url))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [[], TABLES]
        assert set(places(url)) == set(TABLES)


def test_a_distributed_version_1_is_migrated(citus_url: str) -> None:
    """The new tables are distributed like the old ones, and so is the version. Everything is listed."""
    with new_schema(citus_url) as url:
        run(url, (OLD / "postgresql.sql").read_text())
        run(url, "SELECT create_distributed_table('ct_sessions', 'session_id')")
        for name in ("ct_lines", "ct_usage", "ct_snapshots"):
            run(url, f"SELECT create_distributed_table('{name}', 'session_id', colocate_with => 'ct_sessions')")
        run(url, (OLD / "rows.sql").read_text())
        assert call("upgrade", url) == (0, "", "tables migrated\n")
        assert places(url) == {"ct_schema": "reference", **dict.fromkeys(TABLES[1:], "session_id")}
        with open_store(url, clock=lambda: 1_900_010_000 * 10**9) as store:
            listed = [info.id for info in store.list(archived=None, tasks=True)]
            assert listed == ["notes", "old", "task", "fork", "trip"]
            assert {hit.session_id for hit in store.search("rome")} == {"trip", "fork"}


def test_a_distributed_version_3_keeps_its_ledger(citus_url: str) -> None:
    """Its rows go through a table on the coordinator."""
    with distributed(citus_url) as url:
        for statement in filter(str.strip, AS_VERSION_3.split(";")):
            run(url, statement)
        run(url, "SELECT create_distributed_table('ct_ledger', 'session_id', colocate_with => 'ct_sessions')")
        assert call("upgrade", url) == (0, "", "tables migrated\n")
        assert places(url) == {"ct_schema": "reference", **dict.fromkeys(TABLES[1:], "session_id")}
        with open_store(url) as store:
            used = Usage(input_tokens=1, output_tokens=2, cost=0.5)
            assert store.ledger() == [LedgerRow(day="2026-01-31", owner="ann", provider=None, model="m", usage=used)]


def test_a_table_that_is_distributed_in_another_way(citus_url: str) -> None:
    """It is named, with what to do. Nothing is changed."""
    with new_schema(citus_url) as url:
        open_store(url, create=True).close()
        run(url, "SELECT create_reference_table('ct_usage')")
        code, _, err = call("init", url, "--distributed")
        assert (code, "the table ct_usage is distributed in another way than by session_id" in err) == (5, True)
        assert places(url) == {"ct_usage": "reference"}
        run(url, "SELECT undistribute_table('ct_usage')")
        assert call("init", url, "--distributed")[0] == 0


def test_while_a_worker_is_down() -> None:
    """Sessions on it, lists and searches raise ConnectionError. The others go on. A retry with the same id is safe."""
    with private_cluster() as cluster, distributed(cluster.url) as url, open_store(url) as store:
        ids = [f"s{number}" for number in range(12)]
        for id in ids:
            with store.create(id=id) as session:
                session.append(user("before"), id="before")
        cluster.workers[0].kill()
        stored = [id for id in ids if is_appended(store, id)]
        assert 0 < len(stored) < len(ids)
        for asking in (store.list, store.count, partial(store.search, "before"), partial(store.delete, stored[0])):
            with pytest.raises(ConnectionError, match=r"connection to the remote node .*; nothing was written"):
                asking()
        cluster.workers[0].start()
        assert [id for id in ids if is_appended(store, id)] == ids
        for id in ids:
            with store.open(id) as session:
                assert contents(session) == ["before", "after"]
        assert len(store.list()) == len(ids)


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("sabotage", "cycles"), [(None, 6), ("lost_commit_believed", 20)])
def test_the_harness(sabotage: str | None, cycles: int) -> None:
    """Nothing acknowledged is lost when workers are killed. A store that trusts a commit that failed is caught."""
    check_wanted()
    broken = () if sabotage is None else ("--sabotage", sabotage)
    code, result, _ = run_harness("citus", "--cycles", cycles, *broken, limit_s=400)
    if "skipped" in result:
        absent(result["skipped"])
    assert (code, result["ok"], result["lost"] > 0) == (int(bool(broken)), not broken, bool(broken)), json.dumps(result)
    assert result["acknowledged"] > 0


def is_appended(store: SessionStore, id: str) -> bool:
    """Appends, and returns whether that is stored."""
    try:
        with store.open(id) as session:
            session.append(user("after"), id="after")
    except ConnectionError:
        return False
    return True


def distribute(url: str) -> list[str]:
    with closing(SqlDatabase.connect(url)) as database:
        return database.distribute_tables()


def places(url: str) -> dict[str, str]:
    """By which column our tables are distributed. They are in one group, but for the version."""
    found = run(url, PLACES)
    assert len({group for _, place, group in found if place != "reference"}) <= 1
    return {name: place for name, place, _ in found}


def call(*arguments: str) -> tuple[int, str, str]:
    """Runs a command. Returns its exit code, its output, and its output on stderr."""
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout, done.stderr
