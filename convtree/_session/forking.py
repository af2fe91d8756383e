"""Forking: the lines of a new log that begins with the path to an entry of another. Pure.

Payloads are copied as they are and sealed anew. Name, directories and metadata are those of now; the name comes in a
mark. A hold is not copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from convtree._engine import codec
from convtree._engine.leaf import LEAF, AtLeaf
from convtree._engine.write_batch import reseal
from convtree._model.batches import batched
from convtree._model.entries import VERSION, LabelMark, ParentSession, Record, SessionInfoMark
from convtree._model.sources import Clock, IdSource, timestamp
from convtree._session.client import HasClient
from convtree._session.view import SessionView


def copy_path(
    self: HasClient,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | AtLeaf | None = LEAF,
    *,
    id: str | None = None,
) -> str:
    """Passes the lines of a fork to `write`, after the new session's id; returns that id.

    `fork` and the stores are made of this. `write` stores all the lines, or raises and stores none. It may be
    called again if the lines raise.

    Raises:
        EntryNotFound, BrokenPath, LeafUncertain: the path cannot be copied.
    """
    return self._client.ask(_copy_path, write, entry_id, id, self._client.journal.clock, self._client.journal.id_source)


def _copy_path(
    view: SessionView,
    write: Callable[[str, Iterator[bytes]], None],
    entry_id: str | AtLeaf | None,
    id: str | None,
    clock: Clock,
    id_source: IdSource,
) -> str:
    row = view.row(entry_id)
    rows = view.path_rows(row)
    ids = view.ids(rows)
    header = msgspec.structs.replace(
        view.header,
        id=id_source() + id_source() if id is None else id,
        timestamp=timestamp(clock),
        version=VERSION,
        name=None,
        cwd=view.cwd,
        git_root=view.git_root,
        copied_to=ids[-1] if ids else None,
        arrived=None,
        key=None,
        metadata=view.metadata or None,
        parent_session=ParentSession(id=view.header.id, entry_id=ids[-1] if ids else None),
    )
    copied = set(ids)
    labels = view.index.state.labels.items()
    marks: list[Record] = [LabelMark(target_id=target, label=text) for target, text in labels if target in copied]
    if view.name is not None:
        marks.append(SessionInfoMark(name=view.name))

    def payloads() -> Iterator[bytes]:
        for batch in batched(rows):
            yield from view.index.payloads(batch)
        for mark in marks:
            mark_id = id_source()
            while mark_id in copied:
                mark_id = id_source()
            copied.add(mark_id)
            yield codec.encode(msgspec.structs.replace(mark, id=mark_id, timestamp=timestamp(clock)))

    write(header.id, reseal(codec.encode_header(header), payloads()))
    return header.id
