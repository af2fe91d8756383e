"""The paths of a session, for formats that hold one conversation after another and no tree."""

from __future__ import annotations

from convtree._formats.common.base import Exported
from convtree._formats.common.export import entries_of


def leaf_ids(session: Exported) -> list[str]:
    """Returns the ids of the entries without children, in the order of the log."""
    parents = {entry.parent_id for entry in entries_of(session)}
    return [entry.id for entry in entries_of(session) if entry.id not in parents]
