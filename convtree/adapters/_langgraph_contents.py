"""What the entries of a checkpoint hold: the values of its channels, and the messages of its conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import SerializerProtocol

from convtree import Entry
from convtree.adapters import _langgraph_codec as codec
from convtree.adapters._langgraph_codec import Key, Packed, Saved
from convtree.adapters._langgraph_messages import SHAPE, chain_ids, conversation_in, message_entry
from convtree.adapters._langgraph_thread import Thread


class Put(NamedTuple):
    """A checkpoint to be stored.

    Attributes:
        key: its namespace and id.
        parent: the id of the checkpoint that it continues.
        checkpoint: LangGraph's, with the values of its channels.
        metadata: with what the config adds.
        new_versions: the channels that have new values.
    """

    key: Key
    parent: str | None
    checkpoint: Mapping[str, Any]
    metadata: Mapping[str, Any]
    new_versions: Mapping[str, Any]


class Conversation(NamedTuple):
    """The messages in a state.

    Attributes:
        channel: the channel that holds them; None if there are none.
        messages: they.
        serialized: as the serializer writes them.
        ids: the ids of their entries.
    """

    channel: str | None
    messages: Sequence[Any]
    serialized: Sequence[Packed]
    ids: Sequence[str]


def values_of(
    serde: SerializerProtocol, new: Put, above: Saved | None, said: str | None, cleaned: Sequence[str]
) -> dict[str, Any]:
    """Returns the values of channels, and for those that are as in the checkpoint above where that has them from.

    And what was cleaned: there, and in the rest of the checkpoint.
    """
    changes = [*cleaned]
    inline, sources = dict[str, Any](), dict[str, list[str]]()
    for name, value in new.checkpoint["channel_values"].items():
        if name == said:
            continue
        source = None if above is None or name in new.new_versions else above.source_of(name)
        version = new.checkpoint["channel_versions"].get(name)
        if source is None or above is None or version is None or version != above.version_of(serde, name):
            inline[name] = codec.text_of(codec.packed(serde, value, name, changes))
        else:
            sources.setdefault(source, []).append(name)
    found: dict[str, Any] = {"values": inline}
    if sources:
        found["from"] = sources
    if changes:
        found["cleaned"] = changes
    return found


def conversation_of(serde: SerializerProtocol, new: Put) -> Conversation:
    values = new.checkpoint["channel_values"]
    channel = None if new.key[0] else conversation_in(values, serde)
    if channel is None:
        return Conversation(None, [], [], [])
    serialized = [codec.packed(serde, each) for each in values[channel]]
    return Conversation(channel, values[channel], serialized, chain_ids(SHAPE, serialized))


def count_stored(thread: Thread, ids: Sequence[str], above: Saved | None) -> int:
    """Returns how many of these messages are stored: the first ones, because an id stands for all before it."""
    has, low, high = thread.index.has, 0, len(ids)
    if above is not None and above.messages is not None and above.messages.size <= high:
        at = above.messages.size
        low = at if ids[at - 1] == above.messages.end else 0
    if low < high and not has(ids[low]):
        return low
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if has(ids[middle - 1]) else (low, middle - 1)
    return low


def messages_below(
    thread: Thread, serde: SerializerProtocol, said: Conversation, count: int, above: Saved | None
) -> list[Entry]:
    """Returns the entries of the messages after the first `count`. What a state repeats costs no tokens again."""
    paid = set[Any]()
    if above is not None and above.messages is not None and count < min(len(said.ids), above.messages.size):
        paid = {each.message.get("id") for each in thread.messages(above)} - {None}
    return [
        message_entry(serde, said.messages[at], said.serialized[at], said.ids[at], said.messages[at].id in paid)
        for at in range(count, len(said.ids))
    ]
