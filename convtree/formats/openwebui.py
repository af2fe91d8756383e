"""Open WebUI's chat export: an array of chats, each with a tree of messages in `history`.

A session for each chat; a chat without the envelope that has its id is read too. What becomes of what:

- `history.messages`: the nodes by id; `parentId` is the truth, `childrenIds` the order of siblings, `currentId` the
  leaf. A chat without a history has the chain `messages`.
- A message: a message. `output`, where there is one, holds what was really said: texts, reasoning, calls and results
  become blocks. Without it the content is the content.
- `model`, `usage` (or `info`): the model and usage of what the assistant said. The tool names no provider.
- `title`: the session's name. `archived`: archived.
- Every other field of a message: kept in it under `openwebui`. An empty message: extension data `openwebui.message`.

Shape `openwebui.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree.entries import Entry, Header, Record, SessionInfoMark
from convtree.formats.arrays import has_key, item_keys
from convtree.formats.base import Findings, Ids, Node, Reading, Source
from convtree.formats.conversation import (
    as_object,
    as_text,
    call_block,
    grow,
    key,
    listed,
    make_header,
    mapped,
    name_mark,
    objects,
    read_array,
    result_block,
    say,
    text,
    text_block,
    without,
)
from convtree.formats.lines import Object

NAME = "openwebui"
_PLACED = ("id", "parentId", "role", "timestamp", "model", "childrenIds")


def recognises(source: Source) -> bool:
    """Tells an export by a chat with a history of messages."""
    beginning = source.beginning
    holds = any("chat" in keys or "history" in keys for keys in item_keys(beginning))
    return holds and has_key(beginning, "history", r"\{") and has_key(beginning, "messages", r"[\[{]")


def read(source: Source) -> Iterator[Reading]:
    """Reads an export that was recognised, one chat at a time."""
    return read_array(source, NAME, _is_chat, ("id",), _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    time = fields.get("created_at") or _chat(fields).get("timestamp")
    return make_header(NAME, id, time=time, folder=text(fields.get("folder_id")))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    chat = _chat(found.fields)
    history = as_object(chat.get("history"))
    messages = history.get("messages")
    leaf = None
    if isinstance(messages, dict) and messages:
        nodes = mapped(messages, "parentId", "childrenIds", ids, found.place, findings)
        leaf = key(history.get("currentId"))
    else:
        chain = chat.get("messages")
        nodes = listed(chain if isinstance(chain, list) else [], "id", None, ids, found.place, findings)
    yield from grow(nodes, _make, ids, findings, leaf=leaf, place=found.place)
    title = chat.get("title") or found.fields.get("title")
    yield from name_mark(ids, title, found.place, findings)
    if found.fields.get("archived") is True:
        yield SessionInfoMark(id=ids.derive("archived"), archived=True)


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    output = [block for item in objects(fields.get("output")) for block in _output(item)]
    content = fields.get("content")
    blocks = (
        output or [_block(each) for each in content] if isinstance(content, list) else output or [text_block(content)]
    )
    rest = without(fields, *_PLACED, *(() if output else ("content",)))
    usage = as_object(fields.get("usage")) or as_object(fields.get("info")) or None
    role = text(fields.get("role")) or "user"
    return say(NAME, role, blocks, rest, time=fields.get("timestamp"), model=fields.get("model"), usage=usage)


def _block(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else text_block(value)


def _output(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the blocks that an item of the kind that OpenAI's Responses have is."""
    match item.get("type"):
        case "message":
            return [text_block(part["text"]) for part in _texts(item)]
        case "reasoning":
            said = _texts(item) or objects(item.get("summary"))
            return [{"type": "thinking", "thinking": "\n".join(as_text(part.get("text")) for part in said)}]
        case "function_call":
            return [call_block(item.get("call_id"), item.get("name"), item.get("arguments"))]
        case "function_call_output":
            content = item.get("output")
            parts = objects(content)
            if parts and all(isinstance(part.get("text"), str) for part in parts):
                content = "\n".join(part["text"] for part in parts)
            return [result_block(item.get("call_id"), content)]
    return [item] if isinstance(item.get("type"), str) else [text_block(item)]


def _texts(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in objects(item.get("content")) if part.get("text")]


def _chat(fields: dict[str, Any]) -> dict[str, Any]:
    return as_object(fields.get("chat")) or fields


def _is_chat(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    chat = _chat(value)
    return isinstance(chat.get("history"), dict) or (chat is not value and isinstance(chat.get("messages"), list))
