"""Forking: the lines of a new log that begins with the path to an entry of another. Pure.

Payloads are copied as they are and sealed anew. Marks of visibility keep their places among the entries. Name,
directories and metadata are those of now; the name comes in a mark. A hold is not copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from convtree._engine import codec
from convtree._engine.index_state import IndexState
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.write_batch import reseal
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
from convtree._model.sources import Clock, IdSource, timestamp
from convtree._session.client import HasClient
from convtree._session.view import SessionView


def copy_path(
    self: HasClient,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | Entry | AtLeaf | None = LEAF,
    *,
    id: str | None = None,
) -> str:
    """Passes the lines of a fork to `write`, after the new session's id; returns that id.

    `fork` and the stores are made of this. `write` stores all the lines, or raises and stores none. It may be
    called again if the lines raise.

    Raises:
        EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
        BrokenPath: a visibility mark is damaged: the fork would not know what it hid.
        UnknownEntry: there is a critical mark of an unknown type, which the fork would not have.
    """
    journal = self._client.journal
    return self._client.ask(_copy_path, write, entry_id, id, self._client.id, journal.clock, journal.id_source)


def _copy_path(
    view: SessionView,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | Entry | AtLeaf | None,
    id: str | None,
    parent_id: str,
    clock: Clock,
    id_source: IdSource,
) -> str:
    view.index.check_critical()
    view.index.check_visibility()
    row = view.row(entry_id)
    rows = view.path_rows(row)
    ids = view.ids(rows)
    parent = ParentSession(id=parent_id, entry_id=ids[-1] if ids else None)
    header = _header(view, id_source() + id_source() if id is None else id, timestamp(clock), parent)
    copied = set(ids)
    labels = view.index.state.labels.items()
    marks: list[Record] = [LabelMark(target_id=target, label=text) for target, text in labels if target in copied]
    if view.name is not None:
        marks.append(SessionInfoMark(name=view.name))

    placed = visibility_marks(view.index.state, dict(zip(rows, ids, strict=True)))
    placed += [(len(view.index.tree), mark) for mark in marks]

    def payloads() -> Iterator[bytes]:
        waiting = deque(placed)
        for batch in batched(rows):
            for row, payload in zip(batch, view.index.payloads(batch), strict=True):
                while waiting and waiting[0][0] < row:
                    yield encoded(waiting.popleft()[1])
                yield payload
        yield from (encoded(mark) for _, mark in waiting)

    def encoded(mark: Record) -> bytes:
        mark_id = id_source()
        while mark_id in copied:
            mark_id = id_source()
        copied.add(mark_id)
        return codec.encode(msgspec.structs.replace(mark, id=mark_id, timestamp=timestamp(clock)))

    write(header.id, reseal(codec.encode_header(header), payloads()))
    return header.id


def _header(view: SessionView, id: str, time: str, parent: ParentSession) -> Header:
    """Returns the header of a fork, whose last copied entry is that of `parent`."""
    return msgspec.structs.replace(
        view.header,
        id=id,
        timestamp=time,
        version=VERSION,
        name=None,
        cwd=view.cwd,
        git_root=view.git_root,
        copied_to=parent.entry_id,
        arrived=None,
        key=None,
        metadata=view.metadata or None,
        parent_session=parent,
    )


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
