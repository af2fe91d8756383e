"""Writing checkpoints and writes of tasks into a thread.

The entry of a checkpoint is below the last message of its state. So the path to a checkpoint has the conversation as it
was then, and time travel makes branches. Messages that a state has in common with another one are stored once. Writes
of tasks are a chain below their checkpoint, in the order in which they came.

A write looks at the log and says which one it has seen. If another one was faster, it looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, SerializerProtocol

from convtree import Entry, ExtensionDataEntry, InvalidMessage, StaleLeaf
from convtree.adapters import _langgraph_codec as codec
from convtree.adapters._cleaning import append_clean
from convtree.adapters._langgraph_codec import Key, Messages, Write
from convtree.adapters._langgraph_contents import Put, conversation_of, count_stored, messages_below, values_of
from convtree.adapters._langgraph_refused import refused
from convtree.adapters._langgraph_thread import Thread

_PLAIN = ("source", "step", "run_id")  # metadata that people can read
_DELTA = "counters_since_delta_snapshot"  # metadata by delta channel

_Planned = tuple[str | None, list[Entry]]
"""Entries to append, and the one above the first of them."""


def put(thread: Thread, serde: SerializerProtocol, new: Put) -> None:
    """Stores a checkpoint, or another one in its place.

    Raises:
        InvalidMessage: it cannot be stored, for example because it is too long. Nothing was written.
    """
    namespace, id = new.key
    cleaned: list[str] = []
    rest = {name: each for name, each in new.checkpoint.items() if name != "channel_values"}
    body = codec.packed(serde, rest, "checkpoint", cleaned)
    metadata = codec.packed(serde, new.metadata, "metadata", cleaned)
    data: dict[str, Any] = {"ns": namespace, "id": id, "parent": new.parent}
    data |= {name: new.metadata[name] for name in _PLAIN if type(new.metadata.get(name)) in (int, str)}
    if counters := new.metadata.get(_DELTA):
        data["delta"] = sorted(counters)
    data |= {"checkpoint": codec.text_of(body), "metadata": codec.text_of(metadata)}
    said = conversation_of(serde, new)

    def plan() -> _Planned:
        index = thread.index
        above = None if new.parent is None else index.find((namespace, new.parent))
        old = None if index.is_missing(new.key) else index.find(new.key)
        if old is not None:
            return old.tail, [
                _entry("", data | {"again": True, "late": True} | values_of(serde, new, None, None, cleaned))
            ]
        early = index.early(new.key)
        if id <= (index.greatest() or ""):
            data["late"] = True
        if early:
            data["early"] = [each.id for each in early]
        count = count_stored(thread, said.ids, above)
        end = said.ids[count - 1] if count else None
        continues = above is not None and end == (above.messages.end if above.messages else None)
        place = end
        if above is not None and continues:
            place = early[-1].id if early and early[0].parent_id == above.tail else above.tail
        if said.channel is not None:
            data["messages"] = Messages(said.channel, len(said.ids), said.ids[-1]).data()
        values = values_of(serde, new, above if continues else None, said.channel, cleaned)
        checkpoint = _entry(codec.checkpoint_entry_id(new.key), data | values)
        return _placed(thread, namespace, place, [*messages_below(thread, serde, said, count, above), checkpoint])

    _append(thread, namespace, plan, put=id)


def put_writes(
    thread: Thread, serde: SerializerProtocol, key: Key, writes: Sequence[tuple[str, Any]], task: str, path: str
) -> None:
    """Stores writes of a task for a checkpoint, which need not be there yet."""
    cleaned: list[str] = []
    stored = [
        Write(path, task, WRITES_IDX_MAP.get(name, number), name, codec.packed(serde, value, name, cleaned))
        for number, (name, value) in enumerate(writes)
    ]
    put_stored_writes(thread, key, stored, cleaned)


def put_stored_writes(thread: Thread, key: Key, writes: Sequence[Write], cleaned: Sequence[str] = ()) -> None:
    """Stores serialized writes of a task for a checkpoint. Regular ones that are known are passed over."""
    namespace, id = key

    def plan() -> _Planned:
        index = thread.index
        saved = index.find(key)
        early = index.early(key) if saved is None else []
        known = [each for entry in early for each in codec.writes_in(entry)] if saved is None else saved.writes or []
        places = {(each.task, each.number) for each in known}
        new = [each for each in writes if each.number < 0 or (each.task, each.number) not in places]
        if not new:
            return None, []
        data: dict[str, Any] = {"ns": namespace, "of": id, "task": new[0].task, "path": new[0].path}
        data["writes"] = [[each.number, each.channel, *codec.text_of(each.value)] for each in new]
        if cleaned:
            data["cleaned"] = cleaned
        own, place = "", None if saved is None else saved.tail
        if saved is None:
            data["early"] = True
            own = "" if early else codec.early_entry_id(key)
            newest = index.newest(namespace)
            last = None if early or newest is None else index.find((namespace, newest))
            place = early[-1].id if early else None if last is None else last.tail
        entry = ExtensionDataEntry(id=own, ext_type=codec.WRITES, data=data)
        return _placed(thread, namespace, place, [entry])

    _append(thread, namespace, plan)


def copy_into(target: Thread, source: Thread, serde: SerializerProtocol) -> None:
    """Stores the checkpoints and writes of a thread in another one, the smallest id first."""
    for saved in reversed(list(source.descending(None))):
        values = {name: source.value(serde, saved, name) for name in source.channels(saved)}
        checkpoint = {**serde.loads_typed(saved.body), "channel_values": values}
        put(target, serde, Put(saved.key, saved.parent, checkpoint, serde.loads_typed(saved.metadata), {}))
        by_task: dict[tuple[str, str], list[Write]] = {}
        for each in saved.writes or []:
            by_task.setdefault((each.path, each.task), []).append(each)
        for writes in by_task.values():
            put_stored_writes(target, saved.key, writes)


def _append(thread: Thread, namespace: str, plan: Callable[[], _Planned], put: str = "") -> None:
    """Appends the entries that a function plans; again if something else was appended meanwhile.

    The leaf of the session stays at the newest checkpoint of the thread and its writes. LangGraph may store writes of
    an earlier one afterwards; neither these nor what a subgraph does move it.

    `put` is the id of the checkpoint, if that is among the entries.
    """
    log, index = thread.log, thread.index
    with thread.lock:
        if index.is_outdated:
            index.refresh()
        while True:
            place, entries = plan()
            if not entries:
                return
            goes_on = not namespace and (place == log.leaf_id or put > (index.newest(namespace) or ""))
            try:
                stored = append_clean(log, entries, parent_id=place, move_leaf=goes_on, expect_revision=index.revision)
            except StaleLeaf:  # the index does not have what others appended
                log.refresh()
                index.refresh()
                continue
            except InvalidMessage as error:
                raise refused(error, entries) from None
            index.appended(stored)
            return


def _placed(thread: Thread, namespace: str, place: str | None, entries: list[Entry]) -> _Planned:
    """Returns entries with their place. The first ones of a subgraph get an entry above them that stands for it."""
    if place is not None or not namespace:
        return place, entries
    anchor = codec.namespace_id(namespace)
    if thread.index.has(anchor):
        return anchor, entries
    return None, [ExtensionDataEntry(id=anchor, ext_type=codec.NAMESPACE, data={"ns": namespace}), *entries]


def _entry(id: str, data: dict[str, Any]) -> Entry:
    return ExtensionDataEntry(id=id, ext_type=codec.CHECKPOINT, data=data)
