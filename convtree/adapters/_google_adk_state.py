"""The state of ADK's sessions, users and apps in logs.

The state of a session is extension data behind the event that changes it, whole. So each branch has its own.

The state of a user, or of an app, is the metadata of a log of its own. A change is one mark, so writers at the same
time lose nothing. A value is a list with one element, because null removes a key of metadata. The log is archived, so
that no list shows it, and on hold, so that no prune deletes what sessions share.

An event and the state of its user are in two logs. What an event changes there is stored with it first, with the id of
the mark to come. Whoever opens the session next writes that mark if it is not there. No mark is written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from google.adk.sessions.state import State
from pydantic_core import to_jsonable_python

from convtree import ExtensionDataEntry, Session, SessionInfoMark, SessionNotFound
from convtree.adapters._base import Engine, Recent
from convtree.adapters._cleaning import Cleaned
from convtree.adapters._dumping import dump_clean

APP, USER = "google-adk.app", "google-adk.user"  # metadata of a session: whose it is
TYPE = "google-adk.state"

Name = tuple[str, str, str]  # app, user, session
Scope = Literal["app", "user"]

_PREFIXES: dict[Scope, str] = {"app": State.APP_PREFIX, "user": State.USER_PREFIX}


class Change(NamedTuple):
    """What is to change, by scope, without the prefixes. What is temporary is in none."""

    session: dict[str, Any]
    shared: dict[str, dict[str, Any]]


def change_of(delta: Mapping[str, Any]) -> Change:
    """Returns what a change in ADK's terms changes."""
    change = Change({}, {})
    for name, value in delta.items():
        scope = next((each for each, prefix in _PREFIXES.items() if name.startswith(prefix)), None)
        if scope is not None:
            change.shared.setdefault(scope, {})[name.removeprefix(_PREFIXES[scope])] = value
        elif not name.startswith(State.TEMP_PREFIX):
            change.session[name] = value
    return change


def as_json(state: Mapping[str, Any]) -> Cleaned:
    """Returns a state as JSON. An object that JSON does not know becomes its `repr`."""
    return dump_clean(partial(to_jsonable_python, bytes_mode="base64", inf_nan_mode="constants"), dict(state))


def state_entry(state: dict[str, Any], shared: dict[str, dict[str, Any]], **more: Any) -> ExtensionDataEntry:
    """Returns the entry that stores a state, and what is to change in shared ones."""
    data = {"state": state, **more}
    if shared:
        data["shared"] = shared | {"id": uuid4().hex, "time": datetime.now(UTC).isoformat()}
    return ExtensionDataEntry(ext_type=TYPE, data=data)


class States:
    """The states in a store. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # by session: when it began, for its id may have been another one's; its leaf, and the data there
        self._known: Recent[tuple[str | None, str | None, dict[str, Any]]] = Recent(256)

    def at(self, log: Session, leaf: str | None, name: Name) -> dict[str, Any]:
        """Returns the data of a session's state at its leaf. Shared ones have what they say when this returns."""
        known = self._known.get(log.id)
        if known is not None and known[:2] == (log.header.timestamp, leaf):
            return known[2]
        data: dict[str, Any] = log.state(TYPE, {"state": {}}, leaf=leaf)
        self.put(log, leaf, name, data)
        return data

    def put(self, log: Session, leaf: str | None, name: Name, data: dict[str, Any]) -> None:
        """Changes the shared states as the data of a session's new state says."""
        for scope, delta in data.get("shared", {}).items():
            if scope in _PREFIXES:
                self._change(scope, name, data["shared"], delta)
        self._known.put(log.id, (log.header.timestamp, leaf, data))

    def _change(self, scope: Scope, name: Name, shared: Mapping[str, Any], delta: Mapping[str, Any]) -> None:
        id, time = f"{shared['id']}-{scope}", shared["time"]
        whose = "app " + name[0] if scope == "app" else f"user {name[1]} of app {name[0]}"
        owner = self._engine.store.owner or (name[1] if scope == "user" else None) or None
        with self._engine.session(*self._name(scope, name), name=f"State of {whose}", owner=owner) as log:
            marks = [SessionInfoMark(id=id, timestamp=time, metadata={key: [value] for key, value in delta.items()})]
            if log.revision is None:
                marks.insert(0, SessionInfoMark(id=f"{id}-log", timestamp=time, archived=True, hold=True))
            log.extend(marks)

    def shared(self, scope: Scope, name: Name) -> dict[str, Any]:
        """Returns the state of the user, or of the app, that a session belongs to. The result is the caller's."""
        with suppress(SessionNotFound), self._engine.session(*self._name(scope, name), create=False) as log:
            return {key: value[0] for key, value in log.metadata.items()}
        return {}

    def merged(self, state: Mapping[str, Any], name: Name) -> dict[str, Any]:
        """Returns a copy of a session's state as ADK has it: with those of its user and its app."""
        merged = deepcopy(dict(state))
        for scope, prefix in _PREFIXES.items():
            merged |= {prefix + key: value for key, value in self.shared(scope, name).items()}
        return merged

    def _name(self, scope: Scope, name: Name) -> tuple[str, ...]:
        """Returns the name of the log of a shared state; that of a session has three parts. Owners share nothing."""
        owner = self._engine.store.owner
        return ("google-adk", scope, name[0], name[1] if scope == "user" else "", *(() if owner is None else (owner,)))
