"""Errors for what a log does not take, with the place in LangGraph's terms: a message of the state, or a channel."""

from __future__ import annotations

import re
from collections.abc import Sequence

from convtree import Entry, InvalidMessage, MessageEntry
from convtree.adapters import _langgraph_codec as codec


def refused(error: InvalidMessage, entries: Sequence[Entry]) -> InvalidMessage:
    """Returns an error that names the place in a checkpoint, or in the writes of a task.

    Args:
        error: that of `Session.append_many`.
        entries: those that it was given.
    """
    item = re.match(r"items\[(\d+)\](\.|$)", error.place)
    if item is None and len(entries) > 1:
        return error
    number = int(item[1]) if item else 0
    inner = error.place[item.end() :] if item else error.place
    reason = str(error).removeprefix(f"items[{number}]: ")
    if inner != "the record":
        place = _name_of(entries, number)
        return InvalidMessage(f"{place}: {reason}", place=f"{place}, {inner}")
    place = ", ".join([_name_of(entries, number), *_longest_part(entries[number])])
    return InvalidMessage(f"{place}: {reason}", place=place)


def _name_of(entries: Sequence[Entry], number: int) -> str:
    entry, last = entries[number], entries[-1]
    if isinstance(entry, MessageEntry) and codec.is_checkpoint(last):
        state = last.data["messages"]
        return f"checkpoint {last.data['id']!r}, {state['channel']}[{state['size'] - (len(entries) - 1 - number)}]"
    if codec.are_writes(entry):
        return f"writes of task {entry.data['task']!r} at checkpoint {entry.data['of']!r}"
    if codec.is_checkpoint(entry):
        return f"checkpoint {entry.data['id']!r}"
    return f"entry {entry.id!r}"


def _longest_part(entry: Entry) -> list[str]:
    """Returns the name of the longest part of a checkpoint or of writes, in a list; an empty one for other entries."""
    sizes: dict[str, int] = {}
    if codec.are_writes(entry):
        sizes = {f"channel {channel!r}": len(value) for _, channel, _, value in entry.data["writes"]}
    elif codec.is_checkpoint(entry):
        sizes = {f"channel {channel!r}": len(value) for channel, (_, value) in entry.data["values"].items()}
        sizes |= {"its metadata": len(entry.data["metadata"][1]), "its versions": len(entry.data["checkpoint"][1])}
    return [max(sizes, key=lambda each: sizes[each])] if sizes else []
