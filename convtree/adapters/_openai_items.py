"""Items of the OpenAI Agents SDK: how they are stored, and how a conversation is read as items.

An item is a message of the shape "openai-responses". A compaction is extension data: its items stand for those above it
down from `first_replaced`, or for all. What another tool wrote is read as the request that a model would be sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

import convtree
from convtree import BranchSummaryEntry, CompactionEntry, Entry, ExtensionDataEntry, MessageEntry
from convtree.adapters._base import check_dicts, entries_up

_SHAPE: Literal["openai-responses"] = "openai-responses"
COMPACTION = "openai.compaction"


class Item(msgspec.Struct, frozen=True, gc=False):
    """An item of a conversation, with the message that it is, or the entry that it is a part of."""

    value: Any
    entry: MessageEntry | None
    summary: Entry | None = None


def messages_of(items: list[Any], usage: dict[str, int] | None) -> list[MessageEntry]:
    """Returns the entries of items. The last item that a model has written gets the usage.

    Raises:
        TypeError: one is not a dict.
    """
    check_dicts("items", items)
    written = [number for number, item in enumerate(items) if _is_output(item)]
    paid = written[-1] if written else len(items) - 1
    return [
        MessageEntry(message=item, shape=_SHAPE, pinned=False, usage=usage if number == paid else None)
        for number, item in enumerate(items)
    ]


def _is_output(item: Any) -> bool:
    kind = str(item.get("type", "message"))
    return item.get("role") == "assistant" if kind == "message" else not kind.endswith("_output")


def upwards(log: convtree.Session, leaf: str | None, first: int | None = None) -> Iterator[Item]:
    """Yields the items of a conversation, the last first. `first` of them are read at once."""
    at = leaf
    while at is not None:
        above = None
        for entry in entries_up(log, at, first):
            if isinstance(entry, MessageEntry) and entry.shape == _SHAPE:
                yield Item(entry.message, entry)
            elif isinstance(entry, ExtensionDataEntry) and entry.ext_type == COMPACTION:
                for item in reversed(entry.data["items"]):
                    yield Item(item, None, entry)
                replaced = entry.data["first_replaced"]
                above = None if replaced is None else log.entry(replaced).parent_id
                break
            elif isinstance(entry, MessageEntry | CompactionEntry | BranchSummaryEntry):
                yield from _of_others(log, entry)
                break
        at = above


def _of_others(log: convtree.Session, entry: Entry) -> Iterator[Item]:
    """Yields what a model should see of a conversation down to an entry that this adapter did not write."""
    request = log.build_context(leaf=entry).to(_SHAPE)
    for item in reversed(request["input"]):
        yield Item(item, None, entry)
    if request.get("instructions"):
        yield Item({"role": "system", "content": request["instructions"]}, None, entry)


def entry_at(log: convtree.Session, leaf: str | None, place: int) -> str:
    """Returns the id of the entry behind which the item at a place is the last one."""
    items = list(upwards(log, leaf))[::-1]
    item = items[place]
    if item.entry is not None:
        return item.entry.id
    assert item.summary is not None
    following = items[place + 1 :] if place != -1 else []
    if following and following[0].summary is item.summary:
        raise IndexError(f"item {place} is inside of a compaction or of another tool's history; name an entry instead")
    return item.summary.id
