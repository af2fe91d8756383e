"""A Citus cluster for the tests, if `CONVTREE_TEST_CITUS` is set: the URL of one, or "private" to start one here.

Otherwise the tests of it are skipped, and say so; with CONVTREE_REQUIRE_CITUS=1 they fail. They take eight minutes.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

import postgres
import private_citus
import pytest
from private_citus import Cluster, distributed, new_schema, run

__all__ = [
    "Cluster",
    "Schemas",
    "absent",
    "check_wanted",
    "citus_url",
    "distributed",
    "new_schema",
    "private_cluster",
    "run",
    "schemas",
]

_HINT = "set CONVTREE_TEST_CITUS to the URL of a database with Citus, or to `private` where Citus is installed"


def check_wanted() -> None:
    """Skips the test unless a private cluster is wanted."""
    if os.environ.get("CONVTREE_TEST_CITUS") != "private":
        absent(_HINT)


@contextmanager
def private_cluster() -> Iterator[Cluster]:
    """Runs a cluster during the block. Skips the test unless one is wanted, and if there is none to run."""
    check_wanted()
    with postgres.started(private_citus.private_cluster(), absent) as cluster:
        yield cluster


def absent(reason: str) -> NoReturn:
    """Skips the test and says loudly what was not tested, or fails it with CONVTREE_REQUIRE_CITUS=1."""
    postgres.absent(f"NOT TESTED ON CITUS: {reason}", "CONVTREE_REQUIRE_CITUS")


@pytest.fixture(scope="session")
def citus_url() -> Iterator[str]:
    """The URL of a database of a cluster."""
    given = os.environ.get("CONVTREE_TEST_CITUS", "private")
    if given != "private":
        yield given
    else:
        with private_cluster() as cluster:
            yield cluster.url


class Schemas:
    """Schemas with empty distributed tables. To make one takes seconds, so they are emptied and used again."""

    def __init__(self, url: str, ends: ExitStack) -> None:
        self._url = url
        self._ends = ends
        self._free: list[str] = []

    def take(self) -> str:
        """Returns the URL of one."""
        return self._free.pop() if self._free else self._ends.enter_context(distributed(self._url))

    def give_back(self, url: str) -> None:
        """Empties one."""
        private_citus.empty(url)
        self._free.append(url)


@pytest.fixture(scope="session")
def schemas(citus_url: str) -> Iterator[Schemas]:
    """Where stores may be."""
    with ExitStack() as ends:
        yield Schemas(citus_url, ends)
