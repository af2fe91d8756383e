"""Usage of copied entries: in which session of a store it counts. SQL text only. Pure.

A fork holds copies of its parent's entries. They were paid for once, so each is counted once. Three rules decide where:

1. While the parent is in the store, a copy counts there.
2. Else an ancestor further up that holds the entry counts it. The links of deleted sessions stay (`ct_gone`).
3. Else the first of the sessions that copied it, by id.

An entry is the same in two sessions if it has the same id and time: a fork copies both. Most copies are of the first
kind, and for these no table of entries is read. A vacuumed session does not hold what it dropped: it counts only the
copied entries that it has, and what another session holds of the rest counts there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from convtree._catalogue.record_summary import key_of
from convtree._catalogue.tables import Execute
from convtree._model.batches import batched
from convtree._model.usage import Usage

_FIELDS = ", ".join(Usage.__struct_fields__)
_SELECT_COPIERS = """
SELECT session_id, header_id, parent_id, copying_to, created_ms FROM ct_sessions WHERE session_id IN ({marks})
  AND EXISTS (SELECT 1 FROM ct_copied WHERE ct_copied.session_id = ct_sessions.session_id)
"""
_SELECT_NAMED = """
SELECT session_id, header_id, parent_id, copying_to, created_ms FROM ct_sessions
WHERE session_id IN ({marks}) OR header_id IN ({marks})
"""
#: a vacuum entry is the first record of a log
_SELECT_VACUUMED = """
SELECT session_id FROM ct_sessions s WHERE session_id IN ({marks}) AND (SELECT type FROM ct_lines
  WHERE ct_lines.session_id = s.session_id AND type <> 'session' ORDER BY position LIMIT 1) = 'vacuum'
"""
_SELECT_GONE = "SELECT session_id, parent_id FROM ct_gone WHERE session_id IN ({marks})"
_SELECT_LINKS = "SELECT session_id, parent_id FROM ct_gone WHERE session_id IN ({marks}) OR parent_id IN ({marks})"
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
        copiers = [_Session(*row) for row in _select(execute, _SELECT_COPIERS, chunk)]
        parents = _parents(execute, copiers)
        vacuumed = _vacuumed(execute, [*parents, *parents.values()])
        for each in copiers:
            if each.id not in parents or not vacuumed.isdisjoint((each.id, parents[each.id])):
                found += (Counted(each.id, *row) for row in _own_rows(execute, each))
    return found


def held_elsewhere(execute: Execute, session_id: str, entries: Iterable[str], without: Collection[str]) -> set[str]:
    """Returns those of a session's entries that another session holds, too, except for the sessions `without`.

    `entries` are keys. They are what the store would count elsewhere if the session were deleted.
    """
    wanted = list(entries)
    copies = _copies(execute, session_id, wanted)
    held = {entry for entry, others in copies.items() if not others <= set(without)}
    for each in [_Session(*row) for row in _select(execute, _SELECT_COPIERS, [session_id])]:
        if each.copying_to is None:
            chunks = (_select(execute, _SELECT_COPIED, chunk, session_id=session_id) for chunk in batched(wanted))
            copied = [row[0] for rows in chunks for row in rows]
            for ancestor in _ancestors(execute, each, without):
                held |= _entries_in(execute, ancestor, copied)
    return held


def gone_links(execute: Execute, ids: Collection[str]) -> list[tuple[str, str]]:
    """Returns which session each deleted one had copied from, where one of the two is in `ids`."""
    return [tuple(row) for chunk in batched(ids) for row in _select(execute, _SELECT_LINKS, chunk)]


def usage_from(numbers: Iterable[Any]) -> Usage:
    """Returns a sum from its columns, in the order of the fields."""
    return Usage(**dict(zip(Usage.__struct_fields__, numbers, strict=True)))


def _own_rows(execute: Execute, session: _Session) -> list[_Row]:
    """Returns the copied usage that counts in a session whose parent is not in the store, or does not hold it."""
    rows = _rows(execute, session.id)
    if session.copying_to is not None:
        return rows  # its header names a parent, but it has copied nothing
    entries = [row.entry for row in rows]
    elsewhere = set[str]()
    for ancestor in _ancestors(execute, session, ()):
        elsewhere |= _entries_in(execute, ancestor, entries)
    copies = _copies(execute, session.id, [entry for entry in entries if entry not in elsewhere])
    chains = _chains(execute, set().union(*copies.values()))
    vacuumed = _vacuumed(execute, sorted({id for chain in chains.values() for id in chain}))
    kept = {id: _entries_in(execute, id, list(copies)) for id in vacuumed}
    for entry, others in copies.items():
        holds = {*others, session.id}
        tops = {
            next(id for id in reversed(chains[other]) if id in holds or id not in vacuumed or entry in kept[id])
            for other in others
        }
        # A top without a copy of the entry has the entry itself.
        if any(top not in others or top < session.id for top in tops if top != session.id):
            elsewhere.add(entry)
    return [row for row in rows if row.entry not in elsewhere]


def _rows(execute: Execute, session_id: str) -> list[_Row]:
    selected = execute(_SELECT_ROWS, {"session_id": session_id})
    return [
        _Row(entry, provider, model, answers, usage_from(numbers))
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


def _vacuumed(execute: Execute, ids: Sequence[str]) -> set[str]:
    """Returns those of some sessions that do not hold all that was copied from them or into them."""
    return {row[0] for chunk in batched(ids) for row in _select(execute, _SELECT_VACUUMED, chunk)}


def _chains(execute: Execute, ids: Collection[str]) -> dict[str, list[str]]:
    """Returns for each session itself and those that parents in the store lead to. A ring ends where it was entered."""
    known: dict[str, str] = {}
    level = list(ids)
    while level:
        sessions = [_Session(*row) for chunk in batched(level) for row in _select(execute, _SELECT_COPIERS, chunk)]
        parents = _parents(execute, sessions)
        known |= {id: parents.get(id, id) for id in level}
        level = [parent for parent in set(parents.values()) if parent not in known]
    chains = {}
    for id in ids:
        chain = {id: None}  # a dict keeps the order
        while (above := known[next(reversed(chain))]) not in chain:
            chain[above] = None
        chains[id] = list(chain)
    return chains


def _parents(execute: Execute, sessions: Sequence[_Session]) -> dict[str, str]:
    """Returns for each session with copies the session in the store that they were made from.

    That is the session with the parent's id, or one that was created under it and has another id now. A session that
    began after the copy took the id of the parent later.
    """
    wanted = [each.parent_id for each in sessions if each.copying_to is None and each.parent_id is not None]
    named = _named(execute, wanted)
    found: dict[str, str] = {}
    for each in sessions:
        if each.copying_to is None and each.parent_id is not None:
            fitting = [other.id for other in named.get(each.parent_id, ()) if _may_hold(other, each)]
            if fitting:
                found[each.id] = fitting[0]
    return found


def _named(execute: Execute, names: Sequence[str]) -> Mapping[str, list[_Session]]:
    """Returns the sessions of these names: by id, then those whose header has it."""
    found: dict[str, list[_Session]] = {}
    for chunk in batched(names):
        for session in sorted(_Session(*row) for row in _select(execute, _SELECT_NAMED, chunk)):
            found.setdefault(session.id, []).insert(0, session)
            if session.header_id is not None:
                found.setdefault(session.header_id, []).append(session)
    return found


def _may_hold(parent: _Session, child: _Session) -> bool:
    if parent.id == child.id:
        return False
    return parent.created_ms is None or child.created_ms is None or parent.created_ms <= child.created_ms


def _ancestors(execute: Execute, session: _Session, without: Collection[str]) -> list[str]:
    """Returns the nearest ancestors of a session that are in the store and not in `without`.

    Links of sessions that are gone lead past them: to the session that one was forked from, and to the others with its
    header. So do those of vacuumed ones, which may not hold what was copied. An id that was used twice may have
    several: all are followed.
    """
    found: list[str] = []
    level, seen = [session.parent_id or ""], {session.id}
    while level:
        seen.update(level)
        named = _named(execute, level)
        links = [tuple(row) for chunk in batched(level) for row in _select(execute, _SELECT_GONE, chunk)]
        further = list[str | None]()
        for name in level:
            fitting = [each for each in named.get(name, ()) if _may_hold(each, session)]
            there = [each.id for each in fitting if each.id not in without]
            found += there
            if not there or _vacuumed(execute, there):
                further += [other for each in fitting for other in (each.header_id, each.parent_id)]
                further += [parent for gone, parent in links if gone == name]
        level = [name for name in dict.fromkeys(further) if name is not None and name not in seen]
    return found


def _select(execute: Execute, sql: str, names: Sequence[str], **values: Any) -> list[Any]:
    marked = {f"n{number}": name for number, name in enumerate(names)}
    marks = ", ".join(f":{name}" for name in marked) or "NULL"
    return execute(sql.format(marks=marks), marked | values)
