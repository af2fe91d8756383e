"""Where the writes of a checkpoint are in the log of its thread: a chain of entries below it, or before it if early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from convtree import ExtensionDataEntry, Session
from convtree.adapters._langgraph_codec import Key, Saved, Write, belongs, is_checkpoint, writes_in


def read_writes(log: Session, saved: Saved) -> None:
    """Reads the writes of a checkpoint, and the checkpoint that was put in its place, if there is one."""
    writes = [write for each in saved.early for write in writes_at(log, each)]
    for entry in chain_below(log, saved.entry_id, saved.key):
        saved.tail = entry.id
        if is_checkpoint(entry):
            newer = Saved(saved.entry_id, entry.data)
            for name in ("parent", "body", "metadata", "values", "sources", "messages", "run_id"):
                setattr(saved, name, getattr(newer, name))
        else:
            writes += writes_in(entry)
    saved.writes = writes


def chain_below(log: Session, entry_id: str, key: Key) -> Iterator[ExtensionDataEntry]:
    """Yields the entries of a checkpoint below an entry, each below the one before."""
    while True:
        below = next((each for each in log.children(entry_id) if belongs(each, key)), None)
        if not isinstance(below, ExtensionDataEntry):
            return
        yield below
        entry_id = below.id


def writes_at(log: Session, entry_id: str) -> Iterator[Write]:
    """Returns the writes that an entry holds."""
    return writes_in(cast(ExtensionDataEntry, log.entry(entry_id)))
