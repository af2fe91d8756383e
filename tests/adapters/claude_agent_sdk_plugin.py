"""A plugin of pytest that runs the SDK's own tests of its store with `ConvtreeSessionStore` in its place.

`pytest -p claude_agent_sdk_plugin tests/test_session_…` from the unpacked sdist. CONVTREE_STORE is "memory", "folder"
or "sqlite". The tests in EXPECTED look into the in-memory store: they have to fail, and a name that is gone is an
error.
"""

import itertools
import os
import tempfile
from typing import Any

import claude_agent_sdk
import pytest

from convtree import Entry, SessionNotFound
from convtree.adapters._claude_lines import line_of
from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore

_KIND = os.environ.get("CONVTREE_STORE", "folder")
_FOLDER = tempfile.TemporaryDirectory()
_NUMBERS = itertools.count()

EXPECTED: dict[str, str] = {}


class InMemorySessionStore(ConvtreeSessionStore):
    """ConvtreeSessionStore with an empty store of its own, and the helpers that the SDK's tests look at it with."""

    def __init__(self) -> None:
        place = f"{_FOLDER.name}/{next(_NUMBERS)}"
        super().__init__({"memory": "memory:", "folder": place, "sqlite": f"sqlite:///{place}.db"}[_KIND])

    def get_entries(self, key: Any) -> list[Any]:
        """Returns the lines of a transcript."""
        try:
            with self.log(key) as log:
                found = [line_of(record) for _, record in log.records() if isinstance(record, Entry)]
        except SessionNotFound:
            return []
        return [line for line in found if line is not None]

    @property
    def size(self) -> int:
        """Returns how many sessions there are."""
        return self._engine.store.count()

    def clear(self) -> None:
        """Deletes all sessions."""
        for info in self._engine.store.list(limit=None).sessions:
            self._engine.store.delete(info.id)


claude_agent_sdk.InMemorySessionStore = InMemorySessionStore  # type: ignore[misc, assignment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that are expected to fail, and refuses names that do not exist."""
    collected = {item.nodeid for item in items}
    files = {name.split("::")[0] for name in collected}
    gone = [name for name in EXPECTED if name.split("::")[0] in files and name not in collected]
    if gone:
        raise pytest.UsageError(f"no such test of the SDK any more: {gone}")
    for item in items:
        if item.nodeid in EXPECTED:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED[item.nodeid], strict=True))
