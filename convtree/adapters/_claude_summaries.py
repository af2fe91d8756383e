"""What the Claude Agent SDK sums up of each session: kept in its metadata, and remembered while it does not change."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple

from convtree import Session, SessionNotFound, SessionStore
from convtree.adapters._claude_lines import PROJECT

STATE = "claude-code"  # metadata of a session: what the next lines have to go by


class _Known(NamedTuple):
    """A summary, and the session that it was of: when that began, and how many entries it had."""

    begun: str
    entries: int
    summary: dict[str, Any] | None


class Summaries:
    """The summaries of a store's sessions. A session that has not changed is not read again. Thread-safe."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._lock = Lock()  # protects the rest
        self._known: dict[str, dict[str, _Known]] = {}  # by project and id

    def of(self, project_key: str) -> list[dict[str, Any]]:
        """Returns the summaries of a project's sessions."""
        infos = self._store.list(metadata={PROJECT: project_key}, archived=None, limit=None).sessions
        with self._lock:
            known = dict(self._known.get(project_key, {}))
        for info in infos:
            if info.id not in known or known[info.id][:2] != (_begun(info.created), info.entries):
                with suppress(SessionNotFound), self._store.open(info.id, read_only=True) as log:
                    summary = (log.metadata.get(STATE) or {}).get("summary")
                    known[info.id] = _Known(_begun(info.created), info.entries, summary)
        with self._lock:
            self._known[project_key] = {info.id: known[info.id] for info in infos if info.id in known}
        found = (known[info.id].summary for info in infos if info.id in known)
        return [{**summary, "data": dict(summary["data"])} for summary in found if summary is not None]

    def note(self, project_key: str, log: Session, entries: int, summary: dict[str, Any]) -> None:
        """Remembers the summary of a session, and how many entries that has."""
        with self._lock:
            known = _Known(_begun(log.header.timestamp), entries, summary)
            self._known.setdefault(project_key, {})[log.id] = known

    def forget(self, project_key: str, id: str) -> None:
        """Forgets a session that is to be deleted."""
        with self._lock:
            self._known.get(project_key, {}).pop(id, None)


def _begun(time: str | None) -> str:
    """Returns the time of a header to the millisecond, as lists have it."""
    return (time or "").rstrip("Z")[:23]
