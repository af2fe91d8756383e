"""Items of a ChatKit thread as entries of a log, and the thread that a path stands for. Reads logs, writes none.

Each entry of an item has it whole, in `extra["item"]` of a message or as extension data. ChatKit changes items in
place: what a later entry says of an item counts, at the place of the first one. An entry may also say that one is
deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from convtree import Entry, EntryNotFound, ExtensionDataEntry, MessageEntry, Session, is_session_id
from convtree.adapters._base import is_hidden
from convtree.adapters._cleaning import Cleaned

TYPE = "chatkit.item"

_SHAPE = "openai-chat"
_HIDDEN = ("hidden_context_item", "sdk_hidden_context")
Item = dict[str, Any]


class Thread(NamedTuple):
    """What a path says: the items in their order by id, and the last entry that says something of each."""

    items: dict[str, Item]
    entries: dict[str, Entry]


def thread_at(log: Session, leaf: str | None) -> Thread:
    """Returns the thread that ends at an entry. What other tools appended is no item, nor is what was hidden."""
    thread = Thread({}, {})
    for entry in [] if leaf is None else log.path(leaf):
        add(thread, log, entry)
    return thread


def place_of(log: Session, leaf: str | None, items: Mapping[str, Item]) -> tuple[bool, str | None]:
    """Returns whether there is a place above the leaf at which a thread had exactly these items, and that place."""
    thread, wanted = Thread({}, {}), [*items.items()]
    found: tuple[bool, str | None] = (not items, None)
    for entry in [] if leaf is None else log.path(leaf):
        add(thread, log, entry)
        if len(thread.items) == len(wanted) and [*thread.items.items()] == wanted:
            found = (True, entry.id)
    return found


def add(thread: Thread, log: Session, entry: Entry) -> None:
    """Adds what an entry says to the thread above it."""
    said: dict[str, Any] = {}
    if isinstance(entry, MessageEntry):
        said = entry.extra or {}
    elif isinstance(entry, ExtensionDataEntry) and entry.ext_type == TYPE:
        said = entry.data
    item, deleted = said.get("item"), said.get("deletes")
    if item is not None and isinstance(entry, MessageEntry) and is_hidden(log, entry):
        deleted, item = item["id"], None
    if item is not None:
        thread.items[item["id"]] = item
        thread.entries[item["id"]] = entry
    elif deleted is not None:
        thread.items.pop(deleted, None)
        thread.entries.pop(deleted, None)


def entries_of(log: Session, dumped: Cleaned, before: Entry | None) -> list[Entry]:
    """Returns the entries that store an item.

    Args:
        log: the session.
        dumped: the item as JSON, and what was changed in it for that.
        before: the entry that says what it was; None if it is new.
    """
    stored: Any = None
    item: Item = dumped.value
    said = {"item": item, "cleaned": dumped.changes} if dumped.changes else {"item": item}
    id = item["id"] if before is None and is_session_id(item["id"]) and not _has(log, item["id"]) else ""
    if isinstance(before, MessageEntry):
        stored = (before.extra or {})["item"]
    messages = _messages(item)
    if item["type"] == "client_tool_call" and stored is not None:  # the call is there; of two results, the first counts
        messages = messages[len(_messages(stored)) :]
    if not messages:
        return [ExtensionDataEntry(id=id, ext_type=TYPE, data=said)]
    changed = isinstance(before, MessageEntry) and item["type"] != "client_tool_call"
    return [
        MessageEntry(
            id=id if number == 0 else "",
            message=message,
            shape=_SHAPE,
            visible_to="model" if item["type"] in _HIDDEN else "all",
            pinned=False,
            extra=said,
            replaces=before.id if changed and before is not None else None,
        )
        for number, message in enumerate(messages)
    ]


def deletion_of(item_id: str, before: Entry) -> Entry:
    """Returns the entry that deletes an item in the middle of a thread."""
    if isinstance(before, MessageEntry):
        message = {"role": before.message["role"], "content": ""}
        return MessageEntry(
            message=message,
            shape=_SHAPE,
            visible_to="nobody",
            pinned=False,
            extra={"deletes": item_id},
            replaces=before.id,
        )
    return ExtensionDataEntry(ext_type=TYPE, data={"deletes": item_id})


def resolve(log: Session, text: str) -> str:
    """Returns the entry that an item's id stands for, or the id or label of an entry: the last on the path, or first.

    Raises:
        EntryNotFound: there is no such entry.
    """
    found = thread_at(log, log.leaf_id).entries.get(text)
    return log.resolve(text) if found is None else found.id


def _has(log: Session, id: str) -> bool:
    """Returns whether a log has an entry with an id, on any branch."""
    try:
        return log.entry(id).id == id
    except EntryNotFound:
        return False


def _messages(item: Item) -> list[dict[str, Any]]:
    """Returns what an item says in a conversation: messages of chat completions. None for a picture, for example."""
    kind, content = item["type"], item.get("content")
    if kind == "user_message":
        quoted = [f"> {item['quoted_text']}\n\n"] if item.get("quoted_text") else []
        files = [f"\n[{each.get('name')}]" for each in item.get("attachments", [])]
        return [{"role": "user", "content": "".join([*quoted, *_texts(content), *files])}]
    if kind == "assistant_message":
        return [{"role": "assistant", "content": "".join(_texts(content))}]
    if kind in _HIDDEN and isinstance(content, str):
        return [{"role": "user", "content": content}]
    if kind == "widget" and item.get("copy_text"):
        return [{"role": "assistant", "content": item["copy_text"]}]
    if kind == "client_tool_call":
        function = {"name": item["name"], "arguments": json.dumps(item["arguments"])}
        call = {"id": item["call_id"], "type": "function", "function": function}
        messages: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": [call]}]
        if item.get("status") == "completed":
            output = item.get("output")
            text = output if isinstance(output, str) else json.dumps(output)
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
        return messages
    return []


def _texts(content: Any) -> list[str]:
    return [part["text"] for part in content or [] if part.get("text")]
