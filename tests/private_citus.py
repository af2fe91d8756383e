"""Runs a private Citus cluster: a coordinator and two workers, if Citus is installed for the system's PostgreSQL.

A store is a schema of one database there, with few shards: a database would have to be made on all servers.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from private_postgres import Absent, Server, private_server

__all__ = ["Absent", "Cluster", "distributed", "empty", "new_schema", "private_cluster", "run"]

_SETTINGS = (
    "-c shared_preload_libraries=citus -c max_prepared_transactions=200 -c wal_level=logical "
    # What a killed worker leaves prepared is finished soon. The planner prefers no worker.
    "-c citus.recover_2pc_interval=1s -c citus.node_connection_timeout=5s -c recovery_init_sync_method=syncfs"
)
_SHARDS = 4


class Cluster(NamedTuple):
    """The servers of a cluster."""

    coordinator: Server
    workers: list[Server]

    @property
    def url(self) -> str:
        """The URL of the database."""
        return self.coordinator.url


@contextmanager
def private_cluster(*, sync: bool = False) -> Iterator[Cluster]:
    """Runs a cluster during the block.

    Raises:
        Absent: PostgreSQL or Citus is not installed, or this user may not run it.
    """
    _require_citus()
    with ExitStack() as ends:
        servers = [ends.enter_context(private_server(sync=sync, settings=_SETTINGS)) for _ in range(3)]
        for server in servers:
            run(server.url, "CREATE EXTENSION citus")
        cluster = Cluster(servers[0], servers[1:])
        run(cluster.url, f"SELECT citus_set_coordinator_host('{servers[0].socket.parent}', 5432)")
        for worker in cluster.workers:
            run(cluster.url, f"SELECT citus_add_node('{worker.socket.parent}', 5432)")
        yield cluster


def _require_citus() -> None:
    with private_server() as server:
        if not run(server.url, "SELECT 1 FROM pg_available_extensions WHERE name = 'citus'"):
            raise Absent("Citus is not installed for this PostgreSQL")


@contextmanager
def new_schema(url: str) -> Iterator[str]:
    """Creates an empty schema for the block, and yields the URL of the database in which that is the only one."""
    name = f"ct_{uuid4().hex[:12]}"
    run(url, f"CREATE SCHEMA {name}")
    options = quote(f"-c search_path={name} -c citus.shard_count={_SHARDS}")
    yield f"{url}{'&' if '?' in url else '?'}options={options}"
    run(url, f"SET client_min_messages = warning; DROP SCHEMA {name} CASCADE")


@contextmanager
def distributed(url: str) -> Iterator[str]:
    """The same, with distributed tables."""
    from convtree._logs.sql_database import SqlDatabase

    with new_schema(url) as made:
        with closing(SqlDatabase.connect(made)) as database:
            database.create_tables()
            database.distribute_tables()
        yield made


def empty(url: str) -> None:
    """Removes what is in the tables, but for the version."""
    names = [name for (name,) in run(url, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema")]
    run(url, f"TRUNCATE {', '.join(name for name in names if name != 'ct_schema')}")


def run(url: str, sql: str) -> list[Any]:
    """Runs a statement without convtree, and returns its rows."""
    import psycopg

    with closing(
        psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True, prepare_threshold=None)
    ) as connection:
        done = connection.execute(sql)
        return done.fetchall() if done.description else []
