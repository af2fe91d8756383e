"""A plugin of pytest that runs ADK's own tests of session services with `ConvtreeSessionService` in their place.

`pytest -p google_adk_plugin tests/unittests/sessions/test_session_service.py` from a checkout of google/adk-python.
CONVTREE_STORE is "memory", "folder" or "sqlite". Those tests run that are of the service in memory, and of the one on a
database those in STALE: they are about two writers of a session. Those in EXPECTED look into the service in memory, so
they have to fail. Where ADK registers the services that its contract tests run with, the one in memory is this as well.
"""

from typing import Any

import pytest
from google.adk.sessions import database_session_service, in_memory_session_service
from suite_stores import new_place

from convtree.adapters.google_adk import ConvtreeSessionService

_SYNC = "calls the deprecated methods that are not async"
EXPECTED = {
    "test_append_event_when_session_is_same_ref_as_storage_session": "looks into the dictionaries of the service",
    "test_delete_session_sync_removes_only_the_targeted_users_session": _SYNC,
    "test_delete_session_sync_unknown_session_is_a_noop": _SYNC,
    "test_list_sessions_sync_strips_events_and_merges_scoped_state": _SYNC,
    "test_list_sessions_sync_unknown_app_or_user_returns_empty_response": _SYNC,
}
STALE = {
    "test_append_event_to_stale_session",
    "test_append_event_concurrent_stale_sessions_reject_stale_writer",
    "test_append_event_allows_timestamp_drift_for_current_session",
    "test_append_event_allows_markerless_current_session",
}


class InMemorySessionService(ConvtreeSessionService):
    """ConvtreeSessionService with an empty store of its own."""

    def __init__(self, db_url: str = "") -> None:
        del db_url
        super().__init__(new_place())


in_memory_session_service.InMemorySessionService = InMemorySessionService
database_session_service.DatabaseSessionService = InMemorySessionService


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Deselects the tests of other services, and marks those that are expected to fail."""
    ours = [item for item in items if _is_ours(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in ours])
    items[:] = ours
    for item in items:
        if item.originalname in EXPECTED:
            item.add_marker(pytest.mark.xfail(reason=EXPECTED[item.originalname], strict=True))


def _is_ours(item: Any) -> bool:
    """Returns whether a test is one of the service in memory: by its parameter, or by the names in its code."""
    if hasattr(item, "callspec"):
        return any("in_memory" in each for each in item.callspec.id.lower().replace("light_copy", "").split("-"))
    return item.originalname in STALE or "InMemorySessionService" in item.function.__code__.co_names
