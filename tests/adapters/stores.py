"""A plugin of pytest: stores of every kind, empty ones. A test module says `pytest_plugins = ["stores"]`.

PostgreSQL is a private server of the test session, and a database for each store: see tests/postgres.py.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from crashing import KINDS

sys.path.append(str(Path(__file__).parents[1]))
from postgres import absent, new_database, postgres_server  # noqa: F401  # the last one is a fixture


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Returns where a new store of a kind is, at each call another one."""
    numbers = count()
    with ExitStack() as databases:

        def new_place(kind: str) -> str:
            folder = tmp_path / f"s{next(numbers)}"
            match kind:
                case "memory":
                    return "memory:"
                case "folder":
                    return str(folder)
                case "sqlite":
                    return f"sqlite:///{folder}.db"
            for package in ("psycopg", "sqlalchemy"):
                if find_spec(package) is None:
                    absent(f"NOT TESTED on PostgreSQL: {package} is not installed (pip install 'convtree[postgres]')")
            return databases.enter_context(new_database(request.getfixturevalue("postgres_server")))

        yield new_place


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, new_place: Callable[[str], str]) -> str:
    """Where a store is that several objects and processes can open."""
    return new_place(request.param)


@pytest.fixture(params=[*KINDS, "memory"])
def where(request: pytest.FixtureRequest, new_place: Callable[[str], str]) -> str:
    """Where a store is; a store in memory is of one object only."""
    return new_place(request.param)


@pytest.fixture
def running(where: str) -> Callable[[Callable[[str], Any]], Callable[[Callable[[Any], Awaitable[None]]], None]]:
    """Makes a function that runs an async one with what a class makes for a store, and closes that."""

    def running(make: Callable[[str], Any]) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
        def run(main: Callable[[Any], Awaitable[None]]) -> None:
            async def whole() -> None:
                made = make(where)
                await main(made)
                made.close()

            asyncio.run(whole())

        return run

    return running
