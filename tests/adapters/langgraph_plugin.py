"""A plugin of pytest that runs LangGraph's own tests with `ConvtreeSaver` in the place of `SqliteSaver`.

`pytest -p langgraph_plugin tests/test_pregel.py …` from the unpacked sdist. CONVTREE_STORE is "memory", "folder" or
"sqlite". Only the tests that use the checkpointers of SQLite are run; those in EXPECTED have to fail, and a name that
is gone is an error.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import pytest
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from suite_stores import new_place

from convtree.adapters.langgraph import ConvtreeSaver

os.environ.setdefault("NO_DOCKER", "true")  # nothing but SQLite and memory

EXPECTED: dict[str, str] = {}


@contextmanager
def saver(**settings: Any) -> Iterator[ConvtreeSaver]:
    """Gives a saver with an empty store of its own."""
    found = ConvtreeSaver(new_place(), **settings)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def encrypting_saver() -> Iterator[ConvtreeSaver]:
    """Gives a saver that encrypts what it stores."""
    with saver(serde=EncryptedSerializer.from_pycryptodome_aes(key=b"1234567890123456")) as found:
        yield found


@asynccontextmanager
async def async_saver() -> AsyncIterator[ConvtreeSaver]:
    """Gives a saver to async tests."""
    with saver() as found:
        yield found


_of_langgraph: Any = import_module("tests.conftest_checkpointer")
_of_langgraph._checkpointer_sqlite = saver
_of_langgraph._checkpointer_sqlite_aes = encrypting_saver
_of_langgraph._checkpointer_sqlite_aio = async_saver


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what uses other checkpointers, marks what is expected to fail, and refuses names that do not exist."""
    collected = {item.nodeid for item in items}
    files = {name.split("::")[0] for name in collected}
    gone = [name for name in EXPECTED if name.split("::")[0] in files and name not in collected]
    if gone:
        raise pytest.UsageError(f"no such test of LangGraph any more: {gone}")
    ours = [item for item in items if _is_ours(item)]
    config.hook.pytest_deselected(items=[item for item in items if not _is_ours(item)])
    items[:] = ours
    for item in items:
        if item.nodeid in EXPECTED:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED[item.nodeid], strict=True))


def _is_ours(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return any(str(parameters.get(name)).startswith("sqlite") for name in ("sync_checkpointer", "async_checkpointer"))
