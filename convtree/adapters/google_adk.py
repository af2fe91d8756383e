"""The session service of Google's ADK: sessions as trees, with the state of each branch.

    from convtree.adapters.google_adk import ConvtreeSessionService
    runner = Runner(..., session_service=ConvtreeSessionService("conversations"))

An event is a message of the shape "google-adk", with the state that it leaves behind it. A rewind begins a branch, and
what it takes back stays as the other one. Of two writers that have seen the same session, one gets `StaleSessionError`.

    adk web --session_service_uri convtree:conversations agents/

needs a file `agents/services.py` that calls `register()`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, Self, TypeVar

import convtree
from convtree import Branch
from convtree.adapters._base import Shared, StoreLike
from convtree.adapters._conversation import Parallel

try:
    from google.adk.cli.service_registry import get_service_registry
    from google.adk.events.event import Event
    from google.adk.platform import time as platform_time
    from google.adk.platform import uuid as platform_uuid
    from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
    from google.adk.sessions.session import Session
except ImportError as error:
    raise ImportError("convtree.adapters.google_adk: run pip install 'convtree[google-adk]'") from error

from convtree.adapters._google_adk_sessions import Sessions, end_of, first_of

__all__ = ["ConvtreeSessionService", "register"]

T = TypeVar("T")

_SCHEME = "convtree:"


class ConvtreeSessionService(BaseSessionService):
    """The sessions of ADK in a convtree store. Any number of processes, threads and event loops may share it.

    A session's id is any text, without white space around it. App and user state is shared by their sessions, in logs
    of its own that are archived and on hold.

    What JSON cannot hold is cleaned: the entry of an event says what was changed in `extra["cleaned"]`. An event that
    is too long raises `convtree.InvalidMessage`, and nothing is stored.

    Args:
        store: a folder, a URL, or a `convtree.SessionStore`, which stays the caller's.
        parallel: what happens when session objects that were loaded from one session are appended to at the same time.
            "line": one gets `StaleSessionError`, as with ADK's own services. "branch": each goes on behind the last
            event that it knows, with the state there, so runs at the same time become branches.
    """

    def __init__(self, store: StoreLike = "conversations", *, parallel: Parallel = "line") -> None:
        self._sessions = Sessions(store, parallel)
        self._is_closed = False
        # Appends to a session follow each other, so a session object knows events in their order: first those of an
        # event loop, by loop and session, then those of all loops, by process (locks are not inherited) and session.
        self._turns, self._writes = Shared(asyncio.Lock), Shared(Lock)

    # --- ADK's protocol ---

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """Begins a session and returns it.

        Raises:
            AlreadyExistsError: there is one with this id.
        """
        name = (app_name, user_id, _stripped(session_id) or platform_uuid.new_uuid())
        now = platform_time.get_time()
        return await self._write(lambda: self._sessions.create(name, state or {}, now))

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Returns a session with its events, or the last ones that `config` asks for; None if there is none."""
        name = (app_name, user_id, _stripped(session_id))
        return await self._read(lambda: self._sessions.get(name, config))

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Returns the sessions of a user, or of an app, without events; the last changed one is the last."""
        found = await self._read(lambda: self._sessions.listed(app_name, user_id))
        return ListSessionsResponse(sessions=found)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Erases a session with all its branches. App and user state stays.

        Raises:
            SessionHeld: it is on hold.
        """
        await self._write(lambda: self._sessions.delete((app_name, user_id, _stripped(session_id))))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Returns the state that the sessions of a user share, without the prefix."""
        return await self._read(lambda: self._sessions.states.shared("user", (app_name, user_id, "")))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Stores an event and what it changes, and adds it to the session object. A partial one is passed over.

        An event that is stored already, delivered once more, changes nothing.

        Raises:
            SessionNotFoundError: there is no such session any more.
            StaleSessionError: somebody else has written to it since `session` was loaded. Nothing was stored. With
                `parallel="branch"` only if that session was deleted and begun anew, or if `session` does not know its
                last event any more, as one that was read from JSON.
            InvalidMessage: the event cannot be stored, for example because it is too long.
        """
        if event.partial:
            return event
        self._check_open()
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        name, done = (session.app_name, session.user_id, session.id), []

        def write() -> None:
            with self._writes.get((os.getpid(), name)):
                done.append(self._sessions.append(session, event))

        async with self._turns.get((asyncio.get_running_loop(), name)):
            try:
                await self._write(write)
            finally:  # a caller that was cancelled, too, has stored it
                if any(done):
                    session.last_update_time = event.timestamp
                    self._commit_event_to_session(session, event)
        return event

    async def close(self) -> None:
        """Closes the object. Its store is closed when no object of the process uses it any more."""
        self._is_closed = True
        self._sessions.engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    # --- what a tree adds: the same names in every adapter ---

    def log(self, *, app_name: str, user_id: str, session_id: str) -> AbstractContextManager[convtree.Session]:
        """Gives the convtree session: `with service.log(app_name=…, user_id=…, session_id=…) as log: log.path()`.

        Raises:
            SessionNotFound: when the block begins: there is no such session.
        """
        self._check_open()
        return self._sessions.open((app_name, user_id, _stripped(session_id)))

    async def branches(self, *, app_name: str, user_id: str, session_id: str) -> list[Branch]:
        """Returns the ways that a session went, see `convtree.Session.branches`. The leaf of each is its last message.

        Raises:
            SessionNotFound: there is no such session.
        """
        return await self._read(lambda: self._sessions.branches((app_name, user_id, _stripped(session_id))))

    async def branch(self, *, app_name: str, user_id: str, session_id: str, entry: str | None) -> None:
        """Goes on behind an earlier event, with the state that it left. What followed stays, as another branch.

        Session objects that were loaded before are stale. App and user state does not change.

        Args:
            app_name: the app.
            user_id: the user.
            session_id: the session.
            entry: the last event to keep: its id, or the id or label of its entry. None begins anew.

        Raises:
            SessionNotFound, EntryNotFound: there is no such session, or no such event.
        """
        name = (app_name, user_id, _stripped(session_id))
        await self._write(
            lambda: self._sessions.move(name, lambda log: first_of(log) if entry is None else end_of(log, entry))
        )

    async def checkout(self, *, app_name: str, user_id: str, session_id: str, entry: str) -> None:
        """Goes to the end of the branch that has an event; the arguments are those of `branch`."""
        name = (app_name, user_id, _stripped(session_id))
        await self._write(lambda: self._sessions.move(name, lambda log: log.tip(end_of(log, entry))))

    async def _read(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await self._sessions.engine.read(work)

    async def _write(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await self._sessions.engine.write(work)

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(f"{type(self).__name__} is closed")


def register() -> None:
    """Makes `convtree:` the scheme of a session service URI for ADK's commands: `convtree:` and a folder or a URL.

    `convtree:conversations`, `convtree:///var/conversations`, `convtree:postgresql://host/database`.
    """

    def service(uri: str, **_: Any) -> ConvtreeSessionService:
        return ConvtreeSessionService(uri.removeprefix(_SCHEME).removeprefix("//"))

    get_service_registry().register_session_service("convtree", service)


def _stripped(session_id: str | None) -> str:
    """Returns an id without the white space around it, as ADK's own services do."""
    return (session_id or "").strip()
