"""Going on elsewhere in a thread. LangGraph goes on at the greatest id of a checkpoint, so a copy gets a new one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from langgraph.checkpoint.base import SerializerProtocol, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from convtree import Branch, Entry, EntryNotFound, ExtensionDataEntry, MessageEntry, Session
from convtree.adapters import _langgraph_codec as codec
from convtree.adapters._langgraph_codec import Saved
from convtree.adapters._langgraph_contents import Put
from convtree.adapters._langgraph_thread import Thread
from convtree.adapters._langgraph_writing import put

_DELTA = "counters_since_delta_snapshot"


def checkpoint_at(thread: Thread, place: str) -> Saved:
    """Returns the checkpoint of a thread that has an id, or whose state ends with the entry that has an id or label.

    Raises:
        EntryNotFound: there is none.
    """
    saved = thread.find("", place)
    if saved is not None:
        return saved
    log = thread.log
    entry = log.entry(log.resolve(place))
    if codec.is_checkpoint(entry) or codec.are_writes(entry):
        found = thread.find(entry.data["ns"], entry.data["id" if codec.is_checkpoint(entry) else "of"])
    else:  # the first state that ends with this message
        found = next((thread.index.at(each.id) for each in log.children(entry.id) if codec.is_checkpoint(each)), None)
    if found is None or found.key[0]:
        raise EntryNotFound(f"{log.location}: no state of the thread ends with the entry {entry.id!r}", id=entry.id)
    return found


def tip_of(thread: Thread, place: str) -> Saved:
    """Returns the last checkpoint of the branch that has an entry. Raises as `checkpoint_at`."""
    log = thread.log
    saved = thread.find("", place)
    start = log.resolve(place) if saved is None else saved.entry_id
    if codec.are_writes(log.entry(start)):
        start = checkpoint_at(thread, start).entry_id
    for branch in reversed(branches_of(log)):
        if log.common_ancestor(branch.leaf, start) == start:
            for entry in log.walk_up(branch.leaf.id, type=ExtensionDataEntry):
                if codec.is_checkpoint(entry) and not entry.data["ns"]:
                    return checkpoint_at(thread, entry.id)
    return checkpoint_at(thread, start)


def go_on_at(thread: Thread, serde: SerializerProtocol, saved: Saved | None) -> str:
    """Makes LangGraph go on at a checkpoint, None: at the beginning; returns the id of the one that it finds now."""
    newest = thread.find("", None)
    if saved is not None and newest is not None and newest.key == saved.key:
        return newest.key[1]
    parent = None
    if saved is None:
        checkpoint: dict[str, Any] = dict(empty_checkpoint())
        metadata: dict[str, Any] = {"source": "fork", "step": -2, "parents": {}}
    else:
        parent = saved.parent
        values = {name: thread.value(serde, saved, name) for name in thread.channels(saved)}
        checkpoint = {**serde.loads_typed(saved.body), "channel_values": values}
        before = serde.loads_typed(saved.metadata)
        metadata = {"source": "fork", "step": before.get("step", -2) + 1, "parents": before.get("parents", {})}
        metadata |= {name: each for name, each in before.items() if name == _DELTA}
    id = str(uuid6())
    if newest is not None and id <= newest.key[1]:  # ids that are not LangGraph's
        id = newest.key[1] + "+"
    checkpoint |= {"id": id, "ts": datetime.now(UTC).isoformat()}
    put(thread, serde, Put(("", id), parent, checkpoint, metadata, {}))
    return id


def branches_of(log: Session) -> list[Branch]:
    """Returns the branches of the conversation: not those of subgraphs, nor writes that came late."""
    return [each for each in log.branches() if _is_branch(log, each.leaf)]


def _is_branch(log: Session, leaf: Entry) -> bool:
    if isinstance(leaf, MessageEntry):
        return True
    if not isinstance(leaf, ExtensionDataEntry) or leaf.data["ns"]:
        return False
    return codec.is_checkpoint(leaf) or not _are_late(log, leaf)


def _are_late(log: Session, leaf: Entry) -> bool:
    """Returns whether the thread went on from a checkpoint before these writes of it came.

    LangGraph's threads may store writes after the next checkpoint. So they end beside the conversation.
    """
    for entry in log.walk_up(leaf.parent_id):
        if len(log.children(entry.id, limit=2)) > 1:
            return True
        if codec.is_checkpoint(entry):
            break
    return False
