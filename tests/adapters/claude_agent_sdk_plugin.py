"""A plugin of pytest that runs the SDK's own tests of its store with `ConvtreeSessionStore` in its place.

`pytest -p claude_agent_sdk_plugin tests/test_session_…` from the unpacked sdist. CONVTREE_STORE is "memory", "folder"
or "sqlite". The tests in EXPECTED are about the in-memory store itself: they have to fail, and a name that is gone is an
error.
"""

import itertools
import os
import tempfile
from typing import Any

import claude_agent_sdk
import pytest

from convtree import SessionNotFound
from convtree.adapters._claude_lines import lines_of
from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore

_KIND = os.environ.get("CONVTREE_STORE", "folder")
_FOLDER = tempfile.TemporaryDirectory()
_NUMBERS = itertools.count()

_TIMES = "sets the times of the in-memory store"
_TURNS = "gives the store ten turns of the event loop or fewer, and one on a disk needs more"

_BOTH = {
    "tests/test_session_resume.py::TestHappyPath::test_continue_picks_most_recent": _TIMES,
    "tests/test_session_resume.py::TestHappyPath::test_continue_skips_sidechain_sessions": _TIMES,
    "tests/test_session_resume.py::TestHappyPath::test_continue_tie_break_is_deterministic": _TIMES,
}
_BOTH_ON_A_DISK = {
    "tests/test_session_helpers_store.py::TestListSessionsFromStore::test_load_concurrency_is_bounded": _TURNS,
    "tests/test_session_summary.py::TestListSessionsFromStoreFastPath::test_gap_fill_bounded_concurrency": _TURNS,
}
_ONCE_ON_A_DISK = {
    "tests/test_transcript_mirror.py::TestReceiveLoopFramePeeling::"
    "test_eager_flush_mode_appends_per_frame_before_result": _TURNS,
}
_IS_ON_DISK = _KIND != "memory"

EXPECTED = {
    f"{name}[{backend}]": reason
    for name, reason in (_BOTH | (_BOTH_ON_A_DISK if _IS_ON_DISK else {})).items()
    for backend in ("asyncio", "trio")
} | (_ONCE_ON_A_DISK if _IS_ON_DISK else {})


class InMemorySessionStore(ConvtreeSessionStore):
    """ConvtreeSessionStore with an empty store of its own, and the helpers that the SDK's tests look at it with."""

    def __init__(self) -> None:
        place = f"{_FOLDER.name}/{next(_NUMBERS)}"
        super().__init__({"memory": "memory:", "folder": place, "sqlite": f"sqlite:///{place}.db"}[_KIND])

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
