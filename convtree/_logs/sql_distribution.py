"""Spreads the tables over the servers of a Citus cluster, in the transaction of the caller.

Every primary key begins with the session id, so all rows of a session are on one worker, and an append is a transaction
of that worker. The version is on all servers. Which tables are distributed is asked of Citus, never stored.
"""

from __future__ import annotations

import re

from convtree._catalogue.tables import SCHEMA, Dialect, Execute
from convtree._model.errors import ConvtreeError

_VERSIONS, _SESSIONS, *_OTHERS = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", " ".join(SCHEMA["postgresql"]))

CITUS_IS_THERE = "to_regclass('pg_dist_partition') IS NOT NULL"  # the table in which it keeps what is distributed
_IS_THERE = "SELECT 1 WHERE to_regclass(:name) IS NOT NULL"
_CITUS = {"name": "pg_dist_partition"}  # the table in which it keeps what is distributed
#: the column, or NULL for a table that is whole on every server; no row for one that is on this server only
_SELECT_PLACE = """
SELECT CASE WHEN repmodel <> 't' THEN column_to_column_name(logicalrelid, partkey) END, colocationid
FROM pg_dist_partition WHERE logicalrelid = to_regclass(:name) AND (repmodel = 't' OR partkey IS NOT NULL)
"""
#: two processes that distribute tables at once take turns; the number is the CRC of "convtree"
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(2042116466)"
#: without it, a statement may take another connection, which does not see what this transaction has written
_ONE_CONNECTION = "SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)"
_COPY_EVERYWHERE = "SELECT create_reference_table(:name)"
_DISTRIBUTE = "SELECT create_distributed_table(:name, 'session_id', colocate_with => :beside)"
#: the rows were copied to the workers; the originals would stay on the disk here, even when they are deleted
_DROP_ORIGINALS = "SELECT truncate_local_data_after_distributing_table(:name)"


def is_distributed(execute: Execute, dialect: Dialect) -> bool:
    """Returns whether the sessions are spread over the servers of a cluster."""
    return dialect == "postgresql" and has_citus(execute) and _place_of(execute, _SESSIONS) is not None


def use_one_connection(execute: Execute) -> None:
    """Makes the transaction use one connection to each server, so that it may change tables and rows."""
    execute(_ONE_CONNECTION)


def check_citus(execute: Execute, location: str) -> None:
    """Checks that the database can distribute tables.

    Raises:
        ConvtreeError: it has no Citus.
    """
    if not has_citus(execute):
        raise ConvtreeError(
            f"{location}: this database has no Citus, so its tables cannot be distributed; run `CREATE EXTENSION "
            "citus` in it on every server of the cluster, or leave out --distributed"
        )


def distribute(execute: Execute, location: str) -> list[str]:
    """Distributes the tables that are not distributed yet, with what they hold. Returns their names.

    Raises:
        ConvtreeError: a table is distributed in another way.
    """
    execute(_TAKE_TURNS)
    use_one_connection(execute)
    done = [] if _place_of(execute, _VERSIONS) else [_VERSIONS]
    for name in done:
        execute(_COPY_EVERYWHERE, {"name": name})
    for name in (_SESSIONS, *_OTHERS):
        if _distribute_one(execute, name, location):
            done.append(name)
    for name in done:
        execute(_DROP_ORIGINALS, {"name": name})
    return done


def _distribute_one(execute: Execute, name: str, location: str) -> bool:
    """Distributes a table by the session id, beside the others; returns whether it was not yet.

    Raises:
        ConvtreeError: it is distributed in another way.
    """
    place, beside = _place_of(execute, name), _place_of(execute, _SESSIONS)
    if place is None:
        if not execute(_IS_THERE, {"name": name}):  # a later step of the migration creates it
            return False
        execute(_DISTRIBUTE, {"name": name, "beside": "default" if beside is None else _SESSIONS})
        return True
    if place != beside or place[0] != "session_id":
        raise ConvtreeError(
            f"{location}: the table {name} is distributed in another way than by session_id, beside ct_sessions; run "
            f"`SELECT undistribute_table('{name}')`, and then this command again"
        )
    return False


def has_citus(execute: Execute) -> bool:
    """Returns whether a database of PostgreSQL has Citus."""
    return bool(execute(_IS_THERE, _CITUS))


def _place_of(execute: Execute, name: str) -> tuple[str | None, int] | None:
    """Returns by which column a table is distributed, and the number of the group that it is in."""
    rows = execute(_SELECT_PLACE, {"name": name})
    return (rows[0][0], rows[0][1]) if rows else None
