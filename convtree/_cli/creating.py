"""The command that creates a store: `init`."""

from __future__ import annotations

from contextlib import closing
from typing import Literal

import click

from convtree._cli import json_output
from convtree._cli.output import write, write_stderr
from convtree._cli.render import count
from convtree._cli.sessions import as_json
from convtree._logs.sql_database import SqlDatabase
from convtree._logs.sql_errors import TablesOutdated
from convtree._model.errors import SessionNotFound
from convtree.stores._open import open_store, split_url

_SERVERS = ("postgresql", "postgres")


@click.command("init")
@click.argument("url")
@click.option("--distributed", is_flag=True, help="Spread the tables over the workers of a Citus cluster.")
@as_json
def init_command(url: str, distributed: bool, as_json: bool) -> None:
    """Create a store: a folder, or the tables of a database.

    On a server, the role must be allowed to create tables; programs that use the store need not be. With
    --distributed, URL is a database of a Citus cluster: all rows of a session come to one worker, and what is there
    already is moved. Run the command again at any time; it does what is missing. Tables of an earlier version are
    migrated, as by `upgrade`.
    """
    if distributed and split_url(url)[0].partition("+")[0] not in _SERVERS:
        raise click.UsageError("--distributed: only a database of a Citus cluster, postgresql://…, can be distributed")
    names: list[str] = []
    try:
        state = _state_of(url)
        if distributed:
            with closing(SqlDatabase.connect(url)) as database:
                names = database.distribute_tables()
        elif state != "current":
            open_store(url, create=True).close()
    except (ValueError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        done = {"created": state == "missing", "migrated": state == "outdated", "distributed": names}
        write([json_output.to_text(json_output.store_document("init", **done))])
        return
    said = {"missing": ["store created"], "outdated": ["tables migrated"], "current": []}[state]
    said += [f"{count(len(names), 'tables')} distributed"] if names else []
    for line in said or ["nothing to do"]:
        write_stderr(line)


def _state_of(url: str) -> Literal["missing", "outdated", "current"]:
    """Returns whether there is a store that this version can use."""
    try:
        open_store(url, create=False).close()
    except (SessionNotFound, FileNotFoundError):
        return "missing"
    except TablesOutdated:
        return "outdated"
    return "current"
