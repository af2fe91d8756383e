"""The sessions behind those of Google's ADK: sync calls on a store.

A write says which leaf it has seen: the one that ADK's session object was loaded at, or left behind by its last event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.sessions.base_session_service import GetSessionConfig
from google.adk.sessions.session import Session
from msgspec.structs import replace

import convtree
from convtree import (
    Branch,
    Entry,
    EntryNotFound,
    ExtensionDataEntry,
    IdConflict,
    MessageEntry,
    SessionChanged,
    SessionInfo,
    SessionNotFound,
    StaleLeaf,
)
from convtree.adapters import _google_adk_events as events
from convtree.adapters._base import Engine, Recent, StoreLike
from convtree.adapters._cleaning import append_clean
from convtree.adapters._conversation import Parallel, makes_branches
from convtree.adapters._google_adk_state import APP, TYPE, USER, Name, States, as_json, change_of, state_entry

T = TypeVar("T")

_MARKER = "_storage_update_marker"  # a private part of ADK's sessions: without it, the last event is what was seen


class Sessions:
    """The calls of one `ConvtreeSessionService`. Thread-safe."""

    def __init__(self, store: StoreLike, parallel: Parallel) -> None:
        self._makes_branches = makes_branches(parallel)
        self.engine = Engine(store)
        self.states = States(self.engine)
        # for lists, by session: when it began, its leaf, its state, and when it was changed last
        self._listed: Recent[tuple[str | None, str | None, dict[str, Any], float]] = Recent(1_000)

    @contextmanager
    def open(self, name: Name) -> Iterator[convtree.Session]:
        """Gives a session whose last event has changed everything that it changes.

        Raises:
            SessionNotFound: there is no such session.
        """
        with self.engine.session(*name, create=False) as log:
            self.states.at(log, log.leaf_id, name)
            yield log

    # --- ADK's calls ---

    def create(self, name: Name, state: Mapping[str, Any], now: float) -> Session:
        (given, cleaned), store = as_json(state), self.engine.store
        change = change_of(given)
        entry = state_entry(change.session, change.shared, time=now, **({"cleaned": cleaned} if cleaned else {}))
        owner, metadata = store.owner or name[1] or None, {APP: name[0], USER: name[1]}
        with self.engine.session(*name, owner=owner, metadata=metadata) as log:
            try:
                stored = append_clean(log, [entry], expect_revision=None)[0]
            except StaleLeaf:
                raise AlreadyExistsError(f"Session with id {name[2]} already exists.") from None
            data = _data(stored)
            self.states.put(log, stored.id, name, data)
        return self._session(name, data["state"], now, stored.id)

    def get(self, name: Name, config: GetSessionConfig | None) -> Session | None:
        with suppress(SessionNotFound), self.open(name) as log:
            leaf = log.leaf_id
            data = self.states.at(log, leaf, name)
            found = events.recent(log, leaf, name[0], config)
            time = found[-1].timestamp if found else self._time(log, leaf, name[0], data)
            return self._session(name, data["state"], time, leaf, found)
        return None

    def listed(self, app_name: str, user_id: str | None) -> list[Session]:
        metadata = {APP: app_name} if user_id is None else {APP: app_name, USER: user_id}
        found = []
        for info in self.engine.store.list(metadata=metadata, archived=None, limit=None):
            with suppress(SessionNotFound):  # deleted meanwhile
                state, time = self._state_of(info)
                found.append(self._session(tuple(info.key), state, time, info.leaf_id))
        return sorted(found, key=lambda session: (session.last_update_time, session.user_id, session.id))

    def delete(self, name: Name) -> None:
        while True:
            with suppress(SessionChanged):  # it was written to meanwhile: again
                return self.engine.delete(*name)

    def append(self, session: Session, event: Event) -> bool:
        """Appends an event; returns whether the session object has to be told. It knows an event that came before."""
        name = (session.app_name, session.user_id, session.id)
        try:
            with self.open(name) as log:
                return self._append(log, name, session, event)
        except SessionNotFound:
            raise SessionNotFoundError(f"Session {session.id} not found.") from None
        except StaleLeaf:
            raise _stale(session) from None

    def _append(self, log: convtree.Session, name: Name, session: Session, event: Event) -> bool:
        marker, entry = getattr(session, _MARKER, None), events.message_entry(event)
        has_own_leaf = self._makes_branches and marker in log
        leaf = marker if has_own_leaf else log.leaf_id
        expected = {} if has_own_leaf else {"expect_leaf": leaf}
        for id in events.ids_of(entry):
            stored = _found(log, id)
            if stored is None:
                entry = replace(entry, id=id)
                break
            if isinstance(stored, MessageEntry) and events.says_the_same(stored, entry):
                if has_own_leaf and stored.parent_id != marker and log.common_ancestor(stored, marker) != stored.id:
                    continue  # it is on another branch
                return self._was_cut_off(log, stored, session, has_own_leaf)
        if marker != leaf and (marker is not None or not self._is_current(log, leaf, name, session)):
            raise _stale(session)
        rewound = events.rewound(log, leaf, name[0], event, entry)
        parent = leaf if rewound is None else rewound.parent_id
        entries: list[Entry] = [rewound or entry]
        change = change_of(entry.message["actions"]["state_delta"])
        if change.session or change.shared or rewound is not None:
            state = self.states.at(log, leaf, name)["state"]
            entries.append(state_entry(state | change.session, change.shared))
        try:
            done = append_clean(log, entries, parent_id=parent, **expected)
        except IdConflict:  # a mark has it
            entries[0] = replace(entries[0], id=events.second_id_of(entry))
            done = append_clean(log, entries, parent_id=parent, **expected)
        self.states.put(log, done[-1].id, name, _data(done[1]) if len(done) > 1 else self.states.at(log, leaf, name))
        _mark(session, done[-1].id)
        return True

    # --- what a tree adds ---

    def move(self, name: Name, find: Callable[[convtree.Session], str]) -> None:
        with self.open(name) as log:
            log.branch(find(log))

    def branches(self, name: Name) -> list[Branch]:
        with self.open(name) as log:
            found = []
            for branch in log.branches():
                said = log.path(branch.leaf.id, last=1, type=MessageEntry)
                found += [replace(branch, leaf=said[0])] if said else []
            return found

    # --- what sessions say ---

    def _session(
        self, name: Name, state: dict[str, Any], time: float, leaf: str | None, found: list[Event] | None = None
    ) -> Session:
        app_name, user_id, id = name
        session = Session(
            app_name=app_name,
            user_id=user_id,
            id=id,
            state=self.states.merged(state, name),
            events=found or [],
            last_update_time=time,
        )
        _mark(session, leaf)
        return session

    def _time(self, log: convtree.Session, leaf: str | None, app_name: str, data: dict[str, Any]) -> float:
        """Returns when a session was changed last: the time of its last event, or of its beginning."""
        last = next(events.upwards(log, leaf, app_name), None)
        time: float = data.get("time", 0.0) if last is None else last.message["timestamp"]
        return time

    def _state_of(self, info: SessionInfo) -> tuple[dict[str, Any], float]:
        """Returns the state of a session in a list, and when it was changed last. One that did not change is known."""
        known = self._listed.get(info.id)
        if known is not None and known[:2] == (info.created, info.leaf_id):
            return known[2:]
        with self.engine.store.open(info.id, read_only=True) as log:
            leaf = log.leaf_id
            data = self.states.at(log, leaf, tuple(info.key))
            time = self._time(log, leaf, info.key[0], data)
        if leaf == info.leaf_id:
            self._listed.put(info.id, (info.created, leaf, data["state"], time))
        return data["state"], time

    def _is_current(self, log: convtree.Session, leaf: str | None, name: Name, session: Session) -> bool:
        """Returns whether a session object without a marker, from JSON for example, knows the last event."""
        if self._time(log, leaf, name[0], self.states.at(log, leaf, name)) <= session.last_update_time:
            return True
        last = next(events.upwards(log, leaf, name[0]), None)
        known = session.events[-1].id if session.events else None
        return known == (None if last is None else last.message["id"])

    def _was_cut_off(self, log: convtree.Session, stored: MessageEntry, session: Session, has_own_leaf: bool) -> bool:
        """Returns whether a stored event was the last one, and the session object has not heard of it."""
        last = stored if has_own_leaf else next(log.walk_up(type=MessageEntry), None)
        if last is None or last.id != stored.id or stored.parent_id != getattr(session, _MARKER, None):
            return False
        _mark(session, end_of(log, stored.id) if has_own_leaf else log.leaf_id)
        return True


def first_of(log: convtree.Session) -> str:
    """Returns the place before the first event: the state that the session began with."""
    return [each.id for each in log.walk_up()][-1]


def end_of(log: convtree.Session, entry: str) -> str:
    """Returns the place behind an event, by its id, its entry's, or a label: behind the state that it left."""
    known = _found(log, events.id_of(entry))
    id = log.resolve(entry) if known is None else known.id
    behind = (each.id for each in log.children(id) if isinstance(each, ExtensionDataEntry) and each.ext_type == TYPE)
    return next(behind, id)


def _found(log: convtree.Session, id: str) -> Entry | None:
    with suppress(EntryNotFound):
        entry = log.entry(id)
        return entry if entry.id == id else None  # it was found by a label
    return None


def _data(entry: Entry) -> dict[str, Any]:
    assert isinstance(entry, ExtensionDataEntry)
    data: dict[str, Any] = entry.data
    return data


def _mark(session: Session, leaf: str | None) -> None:
    if hasattr(session, _MARKER):
        setattr(session, _MARKER, leaf)


def _stale(session: Session) -> StaleSessionError:
    return StaleSessionError(
        f"session {session.id!r} was modified in storage since it was loaded; get_session it again, and append to that"
    )
