"""Where the stores are that a framework's own tests get, for the plugins of pytest here.

The variable CONVTREE_STORE says of which kind: "memory", "folder", "sqlite" or "postgresql". PostgreSQL is the server
that CONVTREE_TEST_PG names, or a private one of the process; every store has a database of its own.
"""

import atexit
import itertools
import os
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from private_postgres import new_database, private_server

KIND = os.environ.get("CONVTREE_STORE", "folder")

_ends = ExitStack()
atexit.register(_ends.close)
_numbers = itertools.count()


@cache
def _folder() -> str:
    return _ends.enter_context(tempfile.TemporaryDirectory())


@cache
def _server() -> str:
    return os.environ.get("CONVTREE_TEST_PG") or _ends.enter_context(private_server()).url


def new_place() -> str:
    """Returns where a new store is."""
    return "memory:" if KIND == "memory" else place_of(f"{_folder()}/{next(_numbers)}")


@cache
def place_of(path: str) -> str:
    """Returns where the store is that stands for the one in a file; the same for the same path."""
    if KIND == "sqlite":
        return f"sqlite:///{path}"
    if KIND == "postgresql":
        return _ends.enter_context(new_database(_server()))
    return f"{path}.sessions"
