"""A PostgreSQL server for the tests: one that `CONVTREE_TEST_PG` names, or a private one from the system's packages."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NoReturn, TypeVar

import private_postgres
import pytest
from private_postgres import Absent, Server, new_database

__all__ = ["Server", "absent", "new_database", "postgres_server", "postgres_url", "private_server", "started"]

T = TypeVar("T")


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
            yield server.url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database, one for each module of tests."""
    with new_database(postgres_server) as url:
        yield url
