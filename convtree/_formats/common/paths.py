"""The paths of a session, for formats that hold one conversation after another and no tree."""

from __future__ import annotations

from collections.abc import Container

from convtree._formats.common.base import Exported, Findings
from convtree._formats.common.export import entries_of
from convtree._model.entries import MessageEntry


def leaf_ids(session: Exported) -> list[str]:
    """Returns the ids of the entries without children, in the order of the log."""
    parents = {entry.parent_id for entry in entries_of(session)}
    return [entry.id for entry in entries_of(session) if entry.id not in parents]


def lose_others(session: Exported, written: Container[str], findings: Findings) -> None:
    """Reports the messages that are not among the written entries."""
    for entry in entries_of(session):
        if isinstance(entry, MessageEntry) and entry.id not in written:
            findings.lose("message of another branch", entry.id)
