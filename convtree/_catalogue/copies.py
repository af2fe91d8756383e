"""Usage of copied entries: in which session of a store it counts. SQL text only. Pure.

A fork holds copies of its parent's entries. They were paid for once, so each is counted once. Three rules decide where:

1. While the parent is in the store, a copy counts there.
2. Else an ancestor further up that holds the entry counts it, or a log with its header. The links of deleted sessions
   stay (`ct_gone`).
3. Else the first of the sessions that copied it, by id.

An entry is the same in two sessions if it has the same id and time: a fork copies both. Most copies are of the first
kind, and for these no table of entries is read. A vacuumed session may not hold what it dropped, so that is looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convtree._catalogue.record_summary import key_of
from convtree._catalogue.tables import Execute
from convtree._catalogue.texts import is_one_of, one_of, restored
from convtree._model.batches import batched
from convtree._model.usage import Usage

_FIELDS = ", ".join(Usage.__struct_fields__)
_SELECT_COPIERS = """
SELECT session_id, header_id, parent_id, copying_to, created_ms FROM ct_sessions WHERE session_id IN ({marks})
  AND EXISTS (SELECT 1 FROM ct_copied WHERE ct_copied.session_id = ct_sessions.session_id)
"""
_SELECT_SESSIONS = """
SELECT session_id, header_id, CASE WHEN EXISTS (
    SELECT 1 FROM ct_copied WHERE ct_copied.session_id = ct_sessions.session_id) THEN parent_id END,
  copying_to, created_ms FROM ct_sessions WHERE session_id IN ({marks})
"""
_SELECT_NAMED = """
SELECT session_id, header_id, parent_id, copying_to, created_ms FROM ct_sessions
WHERE session_id IN ({marks}) OR {header_id}
"""
#: a vacuum entry is the first record of a log
_SELECT_VACUUMED = """
SELECT session_id FROM ct_sessions s WHERE session_id IN ({marks}) AND (SELECT type FROM ct_lines
  WHERE ct_lines.session_id = s.session_id AND type <> 'session' ORDER BY position LIMIT 1) = 'vacuum'
"""
_SELECT_GONE = "SELECT session_id, parent_id FROM ct_gone WHERE session_id IN ({marks})"
_SELECT_LINKS = """
SELECT session_id, parent_id FROM ct_gone WHERE session_id IN ({marks}) OR {parent_id}
UNION SELECT session_id, header_id FROM ct_sessions
WHERE header_id IS NOT NULL AND (session_id IN ({marks}) OR {header_id})
UNION SELECT session_id, parent_id FROM ct_sessions
WHERE kind = 'fork' AND parent_entry IS NOT NULL AND (session_id IN ({marks}) OR {parent_id})
"""
_SELECT_ROWS = f"SELECT entry, provider, model, answers, {_FIELDS} FROM ct_copied WHERE session_id = :session_id"
_SELECT_COPIED = "SELECT entry FROM ct_copied WHERE session_id = :session_id AND entry IN ({marks})"
_SELECT_COPIES = "SELECT entry, session_id FROM ct_copied WHERE entry IN ({marks}) AND session_id <> :session_id"
_SELECT_ENTRIES = "SELECT id, time_ms FROM ct_lines WHERE session_id = :session_id AND id IN ({marks})"


class Counted(NamedTuple):
    """Usage of copied entries that counts in a session. Empty texts stand for unknown ones."""

    session_id: str
    entry: str
    provider: str
    model: str
    answers: int
    usage: Usage


class OwnRecords(NamedTuple):
    """Which records of a session count there.

    Attributes:
        start: the number of the first one that may. Those before it are shared with a log of the same header.
        copied: of the entries that were copied from another session, those that count, as `"<id> <milliseconds>"`.
    """

    start: int
    copied: Collection[str]


class _Session(NamedTuple):
    """A session that may have copies.

    `header_id` is None if its header has the id that it is stored under. `copying_to` is not None if its copied part
    never came.
    """

    id: str
    header_id: str | None
    parent_id: str | None
    copying_to: str | None
    created_ms: int | None

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> _Session:
        """Returns the session of a row."""
        id, header_id, parent_id, copying_to, created_ms = row
        return cls(id, restored(header_id), restored(parent_id), copying_to, created_ms)


class _Row(NamedTuple):
    """Usage of a copied entry."""

    entry: str
    provider: str
    model: str
    answers: int
    usage: Usage


def counted_copies(execute: Execute, ids: Sequence[str]) -> list[Counted]:
    """Returns the usage of copied entries that counts in these sessions, a row for each entry and model."""
    found: list[Counted] = []
    for chunk in batched(ids):
        copiers = [_Session.from_row(row) for row in _select(execute, _SELECT_COPIERS, chunk)]
        parents = _parents(execute, copiers)
        rows = {each: _rows(execute, each.id) for each in copiers if each.id not in parents}
        entries = {row.entry for each, some in rows.items() if each.copying_to is None for row in some}
        places = _counting(execute, sorted(entries))
        for each, some in rows.items():
            own = (row for row in some if each.copying_to is not None or places.get(row.entry) == each.id)
            found += (Counted(each.id, *row) for row in own)
    return found


def held_elsewhere(execute: Execute, session_id: str, entries: Iterable[str], without: Collection[str]) -> set[str]:
    """Returns those of a session's entries that another session holds, too, except for the sessions `without`.

    `entries` are keys. They are what the store would count elsewhere if the session were deleted.
    """
    wanted = list(entries)
    copies = _copies(execute, session_id, wanted)
    held = {entry for entry, others in copies.items() if not others <= set(without)}
    copiers = [_Session.from_row(row) for row in _select(execute, _SELECT_COPIERS, [session_id])]
    for ancestor in _ancestors(execute, copiers, without).get(session_id, ()):
        chunks = (_select(execute, _SELECT_COPIED, chunk, session_id=session_id) for chunk in batched(wanted))
        held |= _entries_in(execute, ancestor, [row[0] for rows in chunks for row in rows])
    return held


def links(execute: Execute, ids: Collection[str]) -> list[tuple[str, str]]:
    """Returns pairs of a session and what its copied entries come from, where one of the two is in `ids`.

    These are the parents of forks, deleted or not, and the ids in headers of logs that were copied as files.
    """
    rows = (row for chunk in batched(ids) for row in _select(execute, _SELECT_LINKS, chunk))
    return [(id, restored(name)) for id, name in rows]


def usage_from(numbers: Iterable[Any]) -> Usage:
    """Returns a sum from its columns, in the order of the fields."""
    new, out, read, written, cost = numbers
    return Usage(input_tokens=new, output_tokens=out, cache_read_tokens=read, cache_write_tokens=written, cost=cost)


def _counting(execute: Execute, entries: Sequence[str]) -> dict[str, str]:
    """Returns which of the sessions that copied an entry counts it. None, if another session has it.

    Each copy leads up to a session. The first one by id counts the entry, unless one of them has no copy: it has the
    entry itself.
    """
    copies = _copies(execute, "", entries)
    above = _Above(execute, entries)
    above.add_ids(set().union(*copies.values()))
    found = {}
    for entry, ids in copies.items():
        tops = {above.top(id, entry) for id in ids}
        if tops <= ids - above.unfinished:
            found[entry] = min(tops)
    return found


class _Above:
    """Which sessions that hold some entries are above which. Asks for all sessions of a level at once.

    A parent by its id holds what was copied from it. Of a log with its header, and of what lies past deleted sessions,
    the entries are looked up.
    """

    def __init__(self, execute: Execute, entries: Sequence[str]) -> None:
        self._execute = execute
        self._entries = entries
        self._above: dict[str, list[str]] = {}
        self._held: dict[str, set[str]] = {}  # by sessions that may not hold them
        self.unfinished = set[str]()  # sessions whose copied part never came: what they have is their own

    def add_ids(self, ids: Collection[str]) -> None:
        """Looks for what is above these sessions."""
        while ids:
            rows = (row for chunk in batched(ids) for row in _select(self._execute, _SELECT_SESSIONS, chunk))
            sessions = [_Session.from_row(row) for row in rows]
            self.unfinished |= {each.id for each in sessions if each.copying_to is not None}
            parents = _parents(self._execute, sessions)
            firsts = _first_logs(self._execute, sessions)
            others = _ancestors(self._execute, [each for each in sessions if each.id not in parents], ())
            for each in sessions:
                unsure = [firsts[each.id]] if each.id in firsts else others.get(each.id, [])
                for id in unsure:
                    if id not in self._held:
                        self._held[id] = _entries_in(self._execute, id, self._entries)
                self._above[each.id] = unsure or ([parents[each.id]] if each.id in parents else [])
            ids = {id for each in sessions for id in self._above[each.id]} - self._above.keys()

    def _next(self, id: str, entry: str) -> str | None:
        """Returns the session above this one that holds the entry; None if there is none."""
        above = self._above.get(id, ())
        return next((each for each in above if each not in self._held or entry in self._held[each]), None)

    def top(self, id: str, entry: str) -> str:
        """Returns the last session above this one that holds the entry. A ring ends where it was entered."""
        seen = {id}
        while (above := self._next(id, entry)) is not None and above not in seen:
            seen.add(above)
            id = above
        return id


def _rows(execute: Execute, session_id: str) -> list[_Row]:
    selected = execute(_SELECT_ROWS, {"session_id": session_id})
    return [
        _Row(entry, restored(provider), restored(model), answers, usage_from(numbers))
        for entry, provider, model, answers, *numbers in selected
    ]


def _copies(execute: Execute, session_id: str, entries: Sequence[str]) -> dict[str, set[str]]:
    """Returns which other sessions have copied these entries."""
    found: dict[str, set[str]] = {}
    for chunk in batched(entries):
        for entry, other in _select(execute, _SELECT_COPIES, chunk, session_id=session_id):
            found.setdefault(entry, set()).add(other)
    return found


def _entries_in(execute: Execute, session_id: str, entries: Sequence[str]) -> set[str]:
    """Returns those of these entries that a session holds."""
    wanted, found = set(entries), set[str]()
    for chunk in batched(entries):
        ids = [entry.rpartition(" ")[0] for entry in chunk]
        found.update(key_of(*row) for row in _select(execute, _SELECT_ENTRIES, ids, session_id=session_id))
    return wanted & found


def _parents(execute: Execute, sessions: Sequence[_Session]) -> dict[str, str]:
    """Returns for each session with copies the session in the store that they were made from.

    A session that began after the copy took the id of the parent later. A log that only has the parent's id in its
    header is none: it may be a copied file that lacks some of the entries, so `_ancestors` and a look at them decide.
    So it is with a parent that was vacuumed.
    """
    wanted = [each.parent_id for each in sessions if each.copying_to is None and each.parent_id is not None]
    named = _named(execute, wanted)
    found: dict[str, str] = {}
    for each in sessions:
        if each.copying_to is None and each.parent_id is not None:
            fitting = [other for other in named.get(each.parent_id, ()) if _may_hold(other, each)]
            if fitting and fitting[0].id == each.parent_id:
                found[each.id] = each.parent_id
    vacuumed = _vacuumed(execute, found.values())
    return {id: parent for id, parent in found.items() if parent not in vacuumed}


def _vacuumed(execute: Execute, ids: Iterable[str]) -> set[str]:
    """Returns those of some sessions that may not hold all that was copied from them."""
    wanted = sorted(set(ids))
    return {row[0] for chunk in batched(wanted) for row in _select(execute, _SELECT_VACUUMED, chunk)}


def _first_logs(execute: Execute, sessions: Sequence[_Session]) -> dict[str, str]:
    """Returns the first log with its header for each of these sessions that is a copied file."""
    named = _named(execute, [each.header_id for each in sessions if each.header_id is not None])
    firsts = {each.id: named[each.header_id][0].id for each in sessions if each.header_id is not None}
    return {id: first for id, first in firsts.items() if first != id}


def _named(execute: Execute, names: Sequence[str]) -> Mapping[str, list[_Session]]:
    """Returns the sessions of these names: by id, then those whose header has it."""
    found: dict[str, list[_Session]] = {}
    for chunk in batched(names):
        for session in sorted(_Session.from_row(row) for row in _select(execute, _SELECT_NAMED, chunk)):
            found.setdefault(session.id, []).insert(0, session)
            if session.header_id is not None:
                found.setdefault(session.header_id, []).append(session)
    return found


def _may_hold(parent: _Session, child: _Session) -> bool:
    if parent.id == child.id:
        return False
    return parent.created_ms is None or child.created_ms is None or parent.created_ms <= child.created_ms


def _ancestors(execute: Execute, sessions: Sequence[_Session], without: Collection[str]) -> dict[str, list[str]]:
    """Returns for each session its nearest ancestors that are in the store and not in `without`.

    Links of sessions that are gone lead past them: to the session that one was forked from, and to the others with its
    header. So do those of vacuumed ones. An id that was used twice may have several: all are followed.
    """
    found = {each.id: list[str]() for each in sessions}
    copiers = [each for each in sessions if each.copying_to is None]
    levels = {each: {each.parent_id} if each.parent_id is not None else set[str]() for each in copiers}
    seen = {each: {each.id} for each in copiers}
    while levels := {each: level for each, level in levels.items() if level}:
        names = sorted({name for level in levels.values() for name in level})
        named, links = _named(execute, names), dict[str, list[str]]()
        for chunk in batched(names):
            for gone, parent in _select(execute, _SELECT_GONE, chunk):
                links.setdefault(gone, []).append(restored(parent))
        vacuumed = _vacuumed(execute, (other.id for others in named.values() for other in others))
        for each, level in levels.items():
            seen[each].update(level)
            further = set[str]()
            for name in sorted(level):
                fitting = [other for other in named.get(name, ()) if _may_hold(other, each)]
                there = [other.id for other in fitting if other.id not in without]
                found[each.id] += there
                if vacuumed.issuperset(there):
                    ups = (up for other in fitting for up in (other.header_id, other.parent_id))
                    further.update(up for up in ups if up is not None)
                    further.update(links.get(name, ()))
            levels[each] = further - seen[each]
    return found


def _select(execute: Execute, sql: str, names: Sequence[str], **values: Any) -> list[Any]:
    marks, marked = one_of(names)
    either = {column: is_one_of(column, marks) for column in ("header_id", "parent_id")}
    return execute(sql.format(marks=marks, **either), marked | values)
