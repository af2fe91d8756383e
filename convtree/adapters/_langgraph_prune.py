"""Deleting checkpoints of a thread: which stay, which entries go, and what those that stay must say from then on.

A checkpoint that stays takes over what it has of those that go: the values of channels, and the writes from which the
value of a delta channel is made. Messages stay: they are the conversation, and no checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from langgraph.checkpoint.base import SerializerProtocol
from langgraph.checkpoint.serde.types import TASKS

from convtree import ExtensionDataEntry, SessionChanged, SessionNotFound, SessionStore, StaleLeaf
from convtree.adapters import _langgraph_codec as codec
from convtree.adapters._langgraph_codec import Key, Saved
from convtree.adapters._langgraph_thread import Thread

_DELTA = "counters_since_delta_snapshot"  # metadata by delta channel


def keep_only(
    store: SessionStore,
    open_thread: Callable[[], AbstractContextManager[Thread]],
    serde: SerializerProtocol,
    choose: Callable[[Thread], Collection[Key]],
) -> None:
    """Deletes all checkpoints of a thread but those that a function chooses; again if it was written to meanwhile.

    A thread of which nothing is left is erased. One that does not exist is left alone.

    Raises:
        SessionHeld: it is on hold.
    """
    while True:
        try:
            with open_thread() as thread, thread.lock:
                kept = choose(thread)
                id, revision = thread.log.id, thread.index.revision
                if not kept:
                    store.delete(id, expect_revision=revision)
                    return
                edits = _edits(thread, serde, kept)
                if edits.drop:
                    store.edit_data(
                        id,
                        change=edits.change,
                        drop=edits.drop,
                        expect_revision=revision,
                        dry_run=False,
                        remove_original=True,
                    )
                return
        except (StaleLeaf, SessionChanged):
            continue
        except SessionNotFound:
            return


# --- which stay ---


def newest_keys(thread: Thread, serde: SerializerProtocol) -> set[Key]:
    """Returns the checkpoints that a thread goes on with: the newest of each namespace, and what these need.

    A call of a subgraph has a namespace of its own, with the id of its task. It goes with the checkpoint of the thread
    that called it, once that one is stored: runs store in the background, so the call may come first.
    """
    heads: dict[str, Saved] = {}
    for saved in thread.descending(None):
        heads.setdefault(saved.key[0], saved)
    root = heads[""].key[1] if "" in heads else None
    kept = set[Key]()
    for namespace, head in heads.items():
        metadata = serde.loads_typed(head.metadata)
        caller = (metadata.get("parents") or {}).get("")
        if ":" in namespace and caller not in (None, root) and thread.find("", caller) is not None:
            continue
        kept.add(head.key)
        above = None if head.parent is None else thread.find(namespace, head.parent)
        if above is not None and serde.loads_typed(head.body).get("v", 0) < 4:  # such reads its tasks from the parent
            kept |= {above.key for each in above.writes or [] if each.channel == TASKS}
        kept |= _sources_of_delta(thread, head, (metadata.get(_DELTA) or {}).keys())
    return kept


def _sources_of_delta(thread: Thread, saved: Saved, channels: Collection[str]) -> set[Key]:
    """Returns the checkpoints whose writes the values of delta channels are made from."""
    found, waiting = set[Key](), set(channels) - set(thread.channels(saved)) - saved.history.keys()
    for above in thread.ancestors(saved):
        if not waiting:
            break
        found.add(above.key)
        waiting -= set(thread.channels(above)) | above.history.keys()
    return found


def keys_of_other_runs(thread: Thread, run_ids: Collection[Any]) -> set[Key]:
    """Returns the checkpoints that none of some runs has made."""
    return {saved.key for saved in thread.descending(None) if saved.run_id not in run_ids}


# --- what to do ---


class _Edits(NamedTuple):
    """What `SessionStore.edit_data` is to do."""

    change: dict[str, Any]
    drop: list[str]


def _edits(thread: Thread, serde: SerializerProtocol, kept: Collection[Key]) -> _Edits:
    entries = [each for _, each in thread.log.records() if isinstance(each, ExtensionDataEntry)]
    checkpoints = [each for each in entries if codec.is_checkpoint(each)]
    gone = {_key_of(each) for each in checkpoints} - set(kept)
    if not gone:
        return _Edits({}, [])
    lost = {namespace for namespace, _ in gone} - {namespace for namespace, _ in kept}
    drop = [each.id for each in checkpoints if _key_of(each) in gone or each.data.get("again")]
    drop += [each.id for each in entries if codec.are_writes(each) and _key_of(each) in gone]
    drop += [each.id for each in entries if each.ext_type == codec.NAMESPACE and each.data["ns"] in lost]
    channels = sorted({name for each in checkpoints for name in each.data.get("delta", ())})
    change: dict[str, Any] = {}
    for entry in checkpoints:
        saved = None if entry.data.get("again") else thread.find(*_key_of(entry))
        if saved is not None and saved.key not in gone:
            data = _whole(thread, serde, saved, entry.data, gone, channels)
            change |= {entry.id: data} if data != entry.data else {}
    return _Edits(change, drop)


def _key_of(entry: ExtensionDataEntry) -> Key:
    return entry.data["ns"], entry.data["id" if codec.is_checkpoint(entry) else "of"]


def _whole(
    thread: Thread,
    serde: SerializerProtocol,
    saved: Saved,
    data: dict[str, Any],
    gone: Collection[Key],
    channels: Sequence[str],
) -> dict[str, Any]:
    """Returns the data of a checkpoint that needs none of those that go."""
    namespace, homes = saved.key[0], {codec.checkpoint_entry_id(key) for key in gone}
    values, sources = dict(saved.values), dict[str, list[str]]()
    for name, source in saved.sources.items():
        if source in homes:
            values[name] = thread.stored_value(saved, name)
        else:
            sources.setdefault(source, []).append(name)
    whole = {name: each for name, each in data.items() if name not in ("from", "messages")}
    whole["checkpoint"], whole["metadata"] = codec.text_of(saved.body), codec.text_of(saved.metadata)
    whole |= {"values": {name: codec.text_of(value) for name, value in values.items()}, "parent": saved.parent}
    if sources:
        whole["from"] = sources
    if saved.messages is not None:
        whole["messages"] = saved.messages.data()
    if (namespace, saved.parent) in gone:
        above = (each.key[1] for each in thread.ancestors(saved))
        whole["parent"] = next((id for id in above if (namespace, id) not in gone), None)
        valued = set(thread.channels(saved))
        history = thread.stored_history(serde, saved, [each for each in channels if each not in valued])
        kept = {name: each.data() for name, each in history.items() if each.writes or each.seed is not None}
        if kept:
            whole["history"] = kept
    return whole
