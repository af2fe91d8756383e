"""Forking and copying: the lines of a new log that begins with a path of another, or with all of it. Pure.

Payloads are copied as they are and sealed anew. A hold is not copied. In a fork, marks of visibility keep their places
among the entries; name, directories and metadata are those of now, and the name comes in a mark. A copy of a whole log
has all its marks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from convtree._engine import codec
from convtree._engine.index_state import IndexState
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.sdk_objects import entry_of
from convtree._engine.write_batch import EncodedRecord, WriteBatch, reseal
from convtree._model.batches import batched
from convtree._model.entries import (
    VERSION,
    Entry,
    Header,
    LabelMark,
    ParentSession,
    Record,
    SessionInfoMark,
    VisibilityMark,
)
from convtree._model.errors import CorruptLog, IdConflict
from convtree._model.sources import Clock, IdSource, timestamp
from convtree._session.client import HasClient
from convtree._session.view import SessionView

#: findings about what a line refers to, or says: the line itself is whole, and is copied
_REFERENCES = {
    "bad_body",
    "bad_group",
    "bad_kept",
    "bad_replaces",
    "bad_target",
    "bad_vacuum",
    "lost_entry",
    "orphan",
}


def copy_path(
    self: HasClient,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    id: str | None = None,
    key: Sequence[Any] | None = None,
    owner: str | UnsetType | None = UNSET,
    then: Iterable[Any] = (),
) -> str:
    """Passes the lines of a fork to `write`, after the new session's id; returns that id.

    `fork` and the stores are made of this.

    Args:
        self: the session.
        write: stores all the lines, or raises and stores none. It may be called again if the lines raise.
        entry_id: the last entry to copy; left out, the leaf; None copies no entry.
        id: the id of the new session; None makes a new one.
        key: what that id was made from.
        owner: whose the new session is; left out, the owner of this one.
        then: messages and entries, as `append` takes them, that follow the path.

    Raises:
        TypeError, InvalidMessage, InvalidCompaction: an item of `then` cannot be stored.
        IdConflict: an item of `then` has an id that this session has.
        EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
        BrokenPath: a visibility mark is damaged: the fork would not know what it hid.
        UnknownEntry: there is a critical mark of an unknown type, which the fork would not have.
    """
    added = [self._client.encode(entry_of(item)) for item in then]
    differs = {"key": key} if owner is UNSET else {"key": key, "owner": owner}
    return self._client.ask(_copy_path, write, entry_id, id, differs, added, _Copier.of(self))


def copy_log(
    self: HasClient,
    write: Callable[[str, Iterator[bytes]], None],
    *,
    id: str | None = None,
    key: Sequence[Any] | None = None,
) -> str:
    """Passes the lines of a copy of the whole log to `write`, after the new session's id; returns that id.

    `key` is what that id was made from.

    Raises:
        CorruptLog: a line of the log is damaged.
        UnknownEntry: there is a critical mark of an unknown type.
    """
    return self._client.ask(_copy_log, write, id, key, _Copier.of(self))


class _Copier(NamedTuple):
    """What a copy needs to know of its source, beside the view of it."""

    source_id: str
    clock: Clock
    id_source: IdSource

    @classmethod
    def of(cls, session: HasClient) -> _Copier:
        """Returns that of a session."""
        client = session._client
        return cls(client.id, client.journal.clock, client.journal.id_source)

    def new_id(self, id: str | None) -> str:
        """Returns the id of the copy."""
        return self.id_source() + self.id_source() if id is None else id


def _copy_path(
    view: SessionView,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | Entry | AtLeaf | None,
    id: str | None,
    differs: Mapping[str, Any],
    then: Sequence[EncodedRecord],
    by: _Copier,
) -> str:
    view.index.check_critical()
    view.index.check_visibility()
    row = view.row(entry_id)
    rows = view.path_rows(row)
    ids = view.ids(rows)
    parent = ParentSession(id=by.source_id, entry_id=ids[-1] if ids else None)
    header = _header(view, by.new_id(id), timestamp(by.clock), parent, differs)
    copied = set(ids)
    batch = _following(view, then, parent.entry_id, by)
    taken = copied | {record.id for record in batch.added}
    labels = view.index.state.labels.items()
    marks: list[Record] = [LabelMark(target_id=target, label=text) for target, text in labels if target in copied]
    if view.name is not None:
        marks.append(SessionInfoMark(name=view.name))

    placed = visibility_marks(view.index.state, dict(zip(rows, ids, strict=True)))
    placed += [(len(view.index.tree), mark) for mark in marks]

    def payloads() -> Iterator[bytes]:
        waiting = deque(placed)
        for some in batched(rows):
            for row, payload in zip(some, view.index.payloads(some), strict=True):
                while waiting and waiting[0][0] < row:
                    yield encoded(waiting.popleft()[1])
                yield payload
        yield from (encoded(mark) for _, mark in waiting)
        yield from batch.payloads

    def encoded(mark: Record) -> bytes:
        return codec.encode(_with_fresh_id(mark, taken, by))

    write(header.id, reseal(codec.encode_header(header), payloads()))
    return header.id


def _following(view: SessionView, records: Sequence[EncodedRecord], end_id: str | None, by: _Copier) -> WriteBatch:
    """Returns a batch with entries that follow the path to an entry, checked as if they were appended there."""
    batch = WriteBatch(view.index, view.location, by.clock, by.id_source)
    for each in records:
        if each.record.id and view.index.tree.find(each.record.id) is not None:
            raise IdConflict(
                f"the session that is forked has the id {each.record.id!r}; leave out the id, or choose another",
                id=each.record.id,
            )
    batch.add_chain(records, end_id)
    return batch


def _with_fresh_id(mark: Record, taken: set[str], by: _Copier) -> Record:
    """Returns a mark with the time now and an id that is not taken; takes it."""
    mark_id = by.id_source()
    while mark_id in taken:
        mark_id = by.id_source()
    taken.add(mark_id)
    return msgspec.structs.replace(mark, id=mark_id, timestamp=timestamp(by.clock))


def _copy_log(
    view: SessionView,
    write: Callable[[str, Iterator[bytes]], None],
    id: str | None,
    key: Sequence[Any] | None,
    by: _Copier,
) -> str:
    index = view.index
    index.check_critical()
    errors = [finding for finding in index.state.findings if finding.severity == "error"]
    damage = [finding for finding in errors if finding.code not in _REFERENCES]
    if damage:
        raise CorruptLog(
            f"{view.location}: {damage[0].code} in line {damage[0].line}; repair the log before you copy it",
            findings=tuple(index.state.findings),
        )
    rows = range(len(index.tree))
    last = next((row for row in reversed(rows) if index.tree.is_node(row)), None)
    header = msgspec.structs.replace(
        view.header,
        id=by.new_id(id),
        timestamp=timestamp(by.clock),
        version=VERSION,
        copied_to=None if last is None else view.ids([last])[0],
        arrived=None,
        key=key,
        parent_session=ParentSession(id=by.source_id, entry_id=index.state.leaf.id),
    )

    def payloads() -> Iterator[bytes]:
        for some in batched(rows):
            yield from index.payloads(some)
        if index.state.hold:
            taken = set(view.ids(rows))
            yield codec.encode(_with_fresh_id(SessionInfoMark(hold=False), taken, by))

    write(header.id, reseal(codec.encode_header(header), payloads()))
    return header.id


def _header(view: SessionView, id: str, time: str, parent: ParentSession, differs: Mapping[str, Any]) -> Header:
    """Returns the header of a fork, whose last copied entry is that of `parent`."""
    header = msgspec.structs.replace(
        view.header,
        id=id,
        timestamp=time,
        version=VERSION,
        name=None,
        cwd=view.cwd,
        git_root=view.git_root,
        copied_to=parent.entry_id,
        arrived=None,
        metadata=view.metadata or None,
        parent_session=parent,
    )
    return msgspec.structs.replace(header, **differs)


def visibility_marks(state: IndexState, ids: Mapping[int, str]) -> list[tuple[int, Record]]:
    """Returns marks with the visibility of some rows, in order, each with the row that it had.

    What a mark means depends on whether a compaction comes before it. So each keeps its place among the entries.
    """
    changes: dict[tuple[int, str], dict[str, Any]] = {}
    for name, histories in (("visible_to", state.visible_to), ("pinned", state.pinned)):
        for target, history in histories.items():
            for at, value in history if target in ids else ():
                changes.setdefault((at, ids[target]), {})[name] = value
    return [
        (at, VisibilityMark(target_id=target, **fields))
        for (at, target), fields in sorted(changes.items(), key=lambda each: each[0])
    ]
