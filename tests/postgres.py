"""A PostgreSQL server for the tests: one that `CONVTREE_TEST_PG` names, or a private one from the system's packages."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import private_postgres
import pytest
from private_postgres import Absent, Server, new_database

__all__ = ["Server", "absent", "new_database", "postgres_server", "postgres_url", "private_server"]


@contextmanager
def private_server() -> Iterator[Server]:
    """Runs a server during the block. Skips the test if there is none to run."""
    with ExitStack() as ends:
        try:
            server = ends.enter_context(private_postgres.private_server())
        except Absent as reason:
            absent(str(reason))
        yield server


def absent(reason: str) -> NoReturn:
    """Skips the test, or fails it with CONVTREE_REQUIRE_PG=1."""
    if os.environ.get("CONVTREE_REQUIRE_PG") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server."""
    if given := os.environ.get("CONVTREE_TEST_PG"):
        yield given
    else:
        with private_server() as server:
            yield server.url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database, one for each module of tests."""
    with new_database(postgres_server) as url:
        yield url
