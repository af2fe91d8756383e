"""A plugin of pytest that runs the SDK's own tests of its store with `ConvtreeSessionStore` in its place.

`pytest -p claude_agent_sdk_plugin tests/test_session_…` from the unpacked sdist. CONVTREE_STORE is "memory", "folder"
or "sqlite". The tests in EXPECTED look into the in-memory store: they have to fail, and a name that is gone is an
error.
"""

from typing import Any

import anyio
import claude_agent_sdk
import pytest
from suite_stores import new_place

from convtree import SessionNotFound
from convtree.adapters._claude_lines import lines_of
from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore

_TIMES = "sets the times of the in-memory store"
EXPECTED = {
    f"tests/test_session_resume.py::TestHappyPath::{name}[{backend}]": _TIMES
    for name in (
        "test_continue_picks_most_recent",
        "test_continue_skips_sidechain_sessions",
        "test_continue_tie_break_is_deterministic",
    )
    for backend in ("asyncio", "trio")
}
#: tests that give the store a few turns of the event loop to do something, and how many seconds a turn is for a disk
TURNS_S = {
    "test_load_concurrency_is_bounded": 1.0,
    "test_gap_fill_bounded_concurrency": 1.0,
    "test_cancelled_after_mkdtemp_cleans_temp_dir": 0.1,
    "test_eager_flush_mode_appends_per_frame_before_result": 0.1,
}
FILES = 7  # with all of them, every name has to be there


class InMemorySessionStore(ConvtreeSessionStore):
    """ConvtreeSessionStore with an empty store of its own, and the helpers that the SDK's tests look at it with."""

    def __init__(self) -> None:
        super().__init__(new_place())

    def get_entries(self, key: Any) -> list[Any]:
        """Returns the lines of a transcript."""
        try:
            with self.log(key) as log:
                return lines_of(log)
        except SessionNotFound:
            return []

    @property
    def size(self) -> int:
        """Returns how many sessions there are."""
        return self._engine.store.count()

    def clear(self) -> None:
        """Deletes all sessions."""
        for info in self._engine.store.list(limit=None).sessions:
            self._engine.store.delete(info.id)


claude_agent_sdk.InMemorySessionStore = InMemorySessionStore


@pytest.fixture(autouse=True)
def turns_of_a_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a turn of the event loop long enough for a store on a disk."""
    turn_s = TURNS_S.get(request.node.name.partition("[")[0], 0)
    sleep = anyio.sleep
    monkeypatch.setattr(anyio, "sleep", lambda delay: sleep(delay or turn_s))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that are expected to fail, and refuses names that do not exist."""
    collected = {item.nodeid for item in items}
    names = {name.partition("[")[0].rpartition("::")[2] for name in collected}
    files = {name.split("::")[0] for name in collected}
    gone = [name for name in EXPECTED if name.split("::")[0] in files and name not in collected]
    gone += [name for name in TURNS_S if len(files) == FILES and name not in names]
    if gone:
        raise pytest.UsageError(f"no such test of the SDK any more: {gone}")
    for item in items:
        if item.nodeid in EXPECTED:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED[item.nodeid], strict=True))
