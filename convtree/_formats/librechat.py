"""LibreChat's export of one conversation: messages that name their parents, or a tree of them.

One session. Mapping:

- `messages`, or `messagesTree` with `children` inside: the nodes. `parentMessageId` is the parent; the all-zero UUID
  means none. An export of the visible branch has no other branches.
- A message: a message. `isCreatedByUser` gives the role. `content`, if there is one, has blocks: texts, reasoning, and
  calls, whose results become a user's message of their own. Without it: `text`.
- `model` and `endpoint`: model and provider of the assistant's messages. A message with `error`: for the user.
- The leaf is the message that was created last; LibreChat stores none.
- `title`: the session's name. Every other field of a message: kept in it under `librechat`. Every other field of the
  export: metadata of the session under that name. A message's `summary` is kept this way and reported: in LibreChat it
  replaces the messages before, here it does not.

Shape `librechat.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.headers import list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids
from convtree._formats.common.json_arrays import item_keys
from convtree._formats.common.node_tree import latest_leaf, make_records, nodes_of_list
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import as_object, key, objects, text, without
from convtree._model.entries import Entry, Header, Record

NAME = "librechat"
_LISTS = ("messages", "messagesTree")
_PLACED = ("messageId", "parentMessageId", "conversationId", "isCreatedByUser", "createdAt", "model", "endpoint")


def recognises(source: Source) -> bool:
    """Recognises an export by a `conversationId` next to messages."""
    return any("conversationId" in keys and not keys.isdisjoint(_LISTS) for keys in item_keys(source.beginning))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the conversations of an export."""
    return list_array(source, NAME, _is_conversation, ("conversationId",), _messages)


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its conversation
    """Reads a conversation."""
    return read_item(ref, NAME, _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    first = next(iter(objects(_messages(fields))), {})
    return make_header(NAME, id, time=first.get("createdAt"), endpoint=text(fields.get("endpoint")))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    messages = _unfolded(_messages(found.fields))
    for item in objects(messages):
        if item.get("summary"):
            findings.add("source_unsupported", found.span, key(item.get("messageId")))
    nodes = nodes_of_list(messages, "messageId", "parentMessageId", ids, found.span, findings)
    make = partial(_make, defaults=as_object(found.fields.get("options")) | found.fields)
    leaf = latest_leaf(messages, "messageId", "parentMessageId", "createdAt")
    yield from make_records(nodes, make, ids, findings, leaf=leaf, span=found.span)
    yield from name_mark(ids, found.fields.get("title"), found.span, findings)
    yield from metadata_mark(ids, NAME, without(found.fields, "conversationId", "title", *_LISTS), found.span, findings)


def _unfolded(messages: list[Any]) -> list[Any]:
    """Returns the messages of a nested tree as a list, parents first, with parent ids."""
    found: list[Any] = []
    stack: list[tuple[Any, Any]] = [(message, None) for message in reversed(messages)]
    while stack:
        message, parent = stack.pop()
        if isinstance(message, dict) and isinstance(children := message.get("children"), list):
            stack.extend((child, message.get("messageId")) for child in reversed(children))
            message = {name: value for name, value in message.items() if name != "children"}
        if isinstance(message, dict) and parent is not None:
            message = {"parentMessageId": parent} | message
        found.append(message)
    return found


def _make(node: Node, *, defaults: dict[str, Any]) -> list[Entry]:
    fields = node.fields
    role = "user" if fields.get("isCreatedByUser") is True else "assistant"
    content = fields.get("content")
    blocks = [block for part in content for block in _blocks(part)] if isinstance(content, list) else []
    names = (*_PLACED, *(("content",) if blocks else ("text",)))
    return make_messages(
        NAME,
        role,
        blocks or [text_block(fields.get("text"))],
        without(fields, *names),
        time=fields.get("createdAt"),
        visible_to="user" if fields.get("error") is True else "all",
        provider=fields.get("endpoint") or defaults.get("endpoint"),
        model=fields.get("model") or defaults.get("model"),
    )


def _blocks(part: Any) -> list[dict[str, Any]]:
    """Returns the blocks that a part of a message is; a call that was answered is two."""
    if not isinstance(part, dict):
        return [text_block(part)]
    kind = part.get("type")
    value = part.get(kind) if isinstance(kind, str) else None
    if kind in ("text", "think"):
        said = value.get("value") if isinstance(value, dict) else value
        return [text_block(said)] if kind == "text" else [{"type": "thinking", "thinking": text_block(said)["text"]}]
    if kind == "tool_call" and isinstance(value, dict):
        call = call_block(value.get("id"), value.get("name"), value.get("args"))
        output = value.get("output")
        return [call] if output is None else [call, result_block(value.get("id"), output)]
    return [part] if isinstance(kind, str) else [text_block(part)]


def _messages(fields: dict[str, Any]) -> list[Any]:
    return next((list(fields[name]) for name in _LISTS if isinstance(fields.get(name), list)), [])


def _is_conversation(fields: dict[str, Any]) -> bool:
    return any(isinstance(fields.get(name), list) for name in _LISTS)
