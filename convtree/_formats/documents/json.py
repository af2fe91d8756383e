"""Writes a session as one plain JSON document, for programs that do not read logs: the header, the entries, the leaf.

`entries` has every entry in log order, with `id`, `parent_id` and `type` first. Where marks changed who sees an entry
or whether it is pinned, its `visibility` has what they changed. `path` has the ids from the root to the leaf. A version
may add fields, but changes the meaning of none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from convtree._engine.outline import changed_fields
from convtree._formats.common.base import Exported, Findings
from convtree._formats.common.export import as_data, line
from convtree._model.entries import Entry
from convtree._model.errors import BrokenPath, LeafUncertain

NAME = "json"


def write(session: Exported, _findings: Findings) -> Iterator[bytes]:
    """Yields the document, piece by piece; it is one line for each entry."""
    head = {
        "schema": "convtree.session",
        "schema_version": 1,
        "id": session.id,
        "name": session.name,
        "header": msgspec.to_builtins(session.header),
        "leaf_id": session.leaf_id,
        "path": _path(session),
        "labels": session.labels,
    }
    yield line(head)[:-2] + b',"entries":[\n'
    separator = b""
    outline = session.outline()
    for row, record in session.records():
        if isinstance(record, Entry):
            now = changed_fields(outline, row)
            yield separator + line(_fields(record) | ({"visibility": now} if now else {})).rstrip(b"\n")
            separator = b",\n"
    yield b"\n]}\n"


def _path(session: Exported) -> list[str] | None:
    try:
        return [entry.id for entry in session.path(session.leaf_id)]
    except (BrokenPath, LeafUncertain):
        return None


def _fields(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "parent_id": entry.parent_id, "type": entry.type} | as_data(entry)
