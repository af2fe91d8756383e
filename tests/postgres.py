"""A PostgreSQL server for the tests: one that `CONVTREE_TEST_PG` names, or a private one from the system's packages."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NoReturn, TypeVar

import private_postgres
import pytest
from private_postgres import Absent, Server, create_database, empty_database

__all__ = ["Server", "absent", "new_database", "postgres_server", "postgres_url", "private_server", "started"]

T = TypeVar("T")

#: the databases that are not in use, by the server. Only of a private one: it ends with the tests
_FREE: dict[str, list[str]] = {}


def absent(reason: str, required: str = "CONVTREE_REQUIRE_PG") -> NoReturn:
    """Skips the test, or fails it if the variable `required` is 1."""
    if os.environ.get(required) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def started(server: AbstractContextManager[T], absent: Callable[[str], NoReturn] = absent) -> Iterator[T]:
    """Runs a server during the block. Calls `absent` with the reason if there is none to run."""
    with ExitStack() as ends:
        try:
            running = ends.enter_context(server)
        except Absent as reason:
            absent(str(reason))
        yield running


def private_server() -> AbstractContextManager[Server]:
    """Runs a server during the block. Skips the test if there is none to run."""
    return started(private_postgres.private_server())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server."""
    if given := os.environ.get("CONVTREE_TEST_PG"):
        yield given
    else:
        with private_server() as server:
            _FREE[server.url] = []
            yield server.url
            del _FREE[server.url]


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Yields the URL of an empty database for the block: one that was used before and emptied, or a new one.

    After a block that raises, the database is not used again.
    """
    free = _FREE.get(server_url)
    if free is None:
        with private_postgres.new_database(server_url) as url:
            yield url
    else:
        url = free.pop() if free else create_database(server_url)
        yield url
        empty_database(url)
        free.append(url)


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database, one for each module of tests."""
    with new_database(postgres_server) as url:
        yield url
