"""Stable ids for imported records: the source's id if it is a valid id here, else a hash of it. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from convtree._formats.common.base import Findings, SessionRef, SourceSpan
from convtree._formats.common.values import key
from convtree._model.entries import ID


def derive_id(*parts: Any) -> str:
    """Returns a hash of the parts as an id. The same parts always give the same id."""
    return sha256(orjson.dumps(parts)).hexdigest()[:16]


def uuid_of(id: str) -> str:
    """Returns an id as a UUID: itself if it is one, else one that is derived from it."""
    try:
        return str(UUID(id))
    except ValueError:
        return str(UUID(bytes=sha256(id.encode()).digest()[:16], version=5))


def session_id(format: str, source_id: str) -> str:
    """Returns the id of a session: the source's id if it is valid here, else one derived from it."""
    return source_id if ID.fullmatch(source_id) else derive_id(format, source_id)


def make_ref(format: str, source_id: str, findings: Findings | None = None, content: Any = None) -> SessionRef:
    """Makes the reference of a session by its id in the source."""
    return SessionRef(session_id(format, source_id), source_id, tuple(findings.listed) if findings else (), content)


class Ids:
    """The ids of the records of one session: the source's ids if they are valid here and new, else derived ones.

    `None` as a source id stands for a record without one. References may come before the record they name.
    """

    def __init__(self, format: str, session_id: str) -> None:
        self.format = format
        self._source = (format, session_id)
        self._current: dict[str, str] = {}
        self._awaited: set[str] = set()
        self._derived: set[str] = set()

    def refer(self, source_id: str) -> str:
        """Returns the id of the record with a source id; if it has not come yet, the id that it will get."""
        if source_id not in self._current:
            self._awaited.add(source_id)
            self._current[source_id] = self._first(source_id)
        return self._current[source_id]

    def known(self, source_id: str) -> str | None:
        """Returns the id of the record with a source id; None if there is none yet."""
        return None if source_id in self._awaited else self._current.get(source_id)

    def claim(self, source_id: str | None, ordinal: int) -> str:
        """Returns the id for the `ordinal`-th record, which may have a source id."""
        if source_id is None:
            return self.derive(ordinal)
        if self.known(source_id) is not None:
            self._current[source_id] = self.derive(source_id, ordinal)
        id = self.refer(source_id)
        self._awaited.discard(source_id)
        return id

    def derive(self, *parts: str | int) -> str:
        """Returns an unused id for a record without a source id."""
        id = derive_id(*self._source, *parts)
        while id in self._derived or self._current.get(id) == id:
            id = derive_id(id)
        self._derived.add(id)
        return id

    def _first(self, source_id: str) -> str:
        keeps = ID.fullmatch(source_id) and source_id not in self._derived
        return source_id if keeps else self.derive(source_id)


class Names:
    """The source ids of the sessions of one source: missing and repeated ones are replaced by derived ones."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: set[str] = set()

    def claim(self, source_id: Any, ordinal: int, span: SourceSpan, findings: Findings) -> str:
        """Returns the source id for the `ordinal`-th session. A repeated id is reported."""
        id = key(source_id)
        if id is None or id in self._seen:
            if id is not None:
                findings.add("source_duplicate", span)
            id = derive_id(self._name, id, ordinal)
        self._seen.add(id)
        return id
