"""PostgreSQL servers for the harnesses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from private_postgres import new_database, private_server

__all__ = ["new_database", "new_postgres", "postgres_server", "private_server"]


@contextmanager
def postgres_server() -> Iterator[str]:
    """Gives the URL of a server: that of CONVTREE_TEST_PG, or a private one during the block."""
    if given := os.environ.get("CONVTREE_TEST_PG"):
        yield given
    else:
        with private_server() as server:
            yield server.url


@contextmanager
def new_postgres() -> Iterator[str]:
    """Gives the URL of an empty database on such a server."""
    with postgres_server() as server, new_database(server) as url:
        yield url
