"""Open WebUI's chats: an export, which is an array of chats, or the database `webui.db`. A chat is a tree of messages.

One session for each chat, also for a chat without the envelope that has its id. In the database a chat is a row of
`chat`, with the same JSON; messages that are only in the table `chat_message` are added. Mapping:

- `history.messages`: the nodes by id; `parentId` is authoritative, `childrenIds` gives the order of siblings,
  `currentId` the leaf. A chat without a history, as in the oldest exports, has the chain `messages`.
- A message: a message. `output`, if there is one, has the original content: texts, reasoning, calls and results become
  blocks. Without it: the content. If several answers were `merged`, the merged text is the content, because Open WebUI
  continues with it, and the original content is kept.
- `model`, `usage` (or `info`): the model and usage of the assistant's messages. The provider is not stored.
- `title`: the session's name. `archived`: archived.
- Every other field of a message: kept in it under `openwebui`. Other fields of the chat: metadata under that name. An
  empty message: extension data `openwebui.message`.

Shape `openwebui.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_messages, result_block, text_block
from convtree._formats.common.databases import Belonging, Found, list_database, read_row
from convtree._formats.common.headers import archived_mark, list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.node_tree import make_records, nodes_of_list, nodes_of_table
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.sqlite import Database, has_tables, parse_cell
from convtree._formats.common.values import as_object, as_text, key, objects, text, without
from convtree._model.entries import Entry, Header, Record

NAME = "openwebui"
_TABLES = {"chat": frozenset({"id", "user_id", "title", "chat"})}
_CHAT = "id user_id title chat created_at updated_at share_id archived pinned meta folder_id current_message_id"
_MESSAGE = """id chat_id parent_id role content output model_id files sources embeds status_history error usage done
    created_at updated_at context_summary"""
_IN_JSON = ("content", "output", "files", "sources", "embeds", "status_history", "error", "usage")
_COLUMNS = ("id", "chat_id", "parent_id", "model_id", "created_at", *_IN_JSON)
_SEEN = ("id", "title", "chat", "history", "messages", "created_at", "timestamp", "archived")
_PLACED = ("id", "parentId", "role", "timestamp", "model", "childrenIds")


def recognises(source: Source) -> bool:
    """Recognises an export by a chat with a history of messages, a database by its tables."""
    if source.is_database:
        return has_tables(source, _TABLES)
    beginning = source.beginning
    keys = item_keys(beginning)
    wraps = any("chat" in each for each in keys) and has_key(beginning, "chat", r"\{")
    holds = any("history" in each for each in keys) and has_key(beginning, "history", r"\{")
    return (wraps or holds) and has_key(beginning, "messages", r"[\[{]")


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the chats of an export or a database."""
    if source.is_database:
        belonging = Belonging("chat_message", "chat_id", "chat")
        return list_database(source, NAME, _rows, belonging, reads={"chat": _CHAT, "chat_message": _MESSAGE})
    return list_array(source, NAME, _is_chat, ("id",), _messages)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a chat."""
    if source.is_database:
        return read_row(source, ref, NAME, _session)
    return read_item(ref, NAME, _header, _records)


def _rows(database: Database) -> Iterator[Found]:
    return (Found(row.values.get("id"), row) for row in database.rows("chat", _CHAT))


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    fields, size = _whole(found.row.values, found.row.span, database)
    records = _records(Object(fields, found.row.span._replace(length=size)), Ids(NAME, id), database.findings)
    return _header(id, fields), records


def _whole(values: dict[str, Any], span: SourceSpan, database: Database) -> tuple[dict[str, Any], int]:
    """Returns a row as an export would have it, with the messages that have a table of their own; and its size."""
    chat = parse_cell(values.get("chat"), span, database.findings)
    if not isinstance(chat, dict):
        database.findings.add("source_bad_record", span)
        chat = {"content": chat} if chat is not None else {}
    history = as_object(chat.get("history"))
    messages = dict(as_object(history.get("messages")))
    size = span.length
    for row, at in database.rows("chat_message", _MESSAGE, where="chat_id is ?", values=(values.get("id"),)):
        id = as_text(row.get("id")).removeprefix(f"{as_text(values.get('id'))}-")
        if id not in messages:
            stored = {name: parse_cell(row.get(name), at, database.findings) for name in _IN_JSON if row.get(name)}
            parent = {
                "parentId": row.get("parent_id"),
                "timestamp": row.get("created_at"),
                "model": row.get("model_id"),
            }
            messages[id] = without(row, *_COLUMNS) | stored | parent | {"id": id, "content": _content(row, stored)}
        size += at.length
    current = history.get("currentId") or values.get("current_message_id")
    if messages:
        chat = chat | {"history": history | {"messages": messages, "currentId": current}}
    archived = bool(values.get("archived"))
    return without(values, "current_message_id") | {"chat": chat, "archived": archived}, size


def _content(row: dict[str, Any], stored: dict[str, Any]) -> Any:
    """Returns the content of a row, which the column has as JSON or as it is."""
    return stored["content"] if isinstance(stored.get("content"), str | list) else row.get("content")


def _header(id: str, fields: dict[str, Any]) -> Header:
    time = fields.get("created_at") or _chat(fields).get("timestamp")
    return make_header(NAME, id, time=time, folder=text(fields.get("folder_id")))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    chat = _chat(found.fields)
    history = as_object(chat.get("history"))
    messages = history.get("messages")
    leaf = None
    if isinstance(messages, dict) and messages:
        nodes = nodes_of_table(messages, "parentId", "childrenIds", ids, found.span, findings)
        leaf = key(history.get("currentId"))
    else:
        chain = chat.get("messages")
        nodes = nodes_of_list(chain if isinstance(chain, list) else [], "id", None, ids, found.span, findings)
    yield from make_records(nodes, _make, ids, findings, leaf=leaf, span=found.span)
    title = chat.get("title") or found.fields.get("title")
    yield from name_mark(ids, title, found.span, findings)
    stored = without(found.fields, *_SEEN) | without({"chat": {} if chat is found.fields else without(chat, *_SEEN)})
    stored |= without({"history": without(history, "messages", "currentId")})
    stored |= {} if found.fields.get("title") in (None, title) else {"title": found.fields["title"]}
    yield from metadata_mark(ids, NAME, stored, found.span, findings)
    if found.fields.get("archived") is True:
        yield archived_mark(ids)


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    output = [block for item in objects(fields.get("output")) for block in _output(item)]
    content = fields.get("content")
    merged = as_object(fields.get("merged")).get("content")
    if isinstance(merged, str) and merged:
        output, content = [text_block(merged)], content or None
    blocks = (
        output or [_block(each) for each in content] if isinstance(content, list) else output or [text_block(content)]
    )
    rest = without(fields, *_PLACED, *(() if output else ("content",)))
    usage = as_object(fields.get("usage")) or as_object(fields.get("info")) or None
    role = text(fields.get("role")) or "user"
    return make_messages(NAME, role, blocks, rest, time=fields.get("timestamp"), model=fields.get("model"), usage=usage)


def _block(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else text_block(value)


def _output(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the blocks that an item of the kind that OpenAI's Responses have is."""
    match item.get("type"):
        case "message":
            parts = [part for part in objects(item.get("content")) if part.get("text") != ""]
            return [text_block(part["text"]) if part.get("text") else _block(part) for part in parts]
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


def _messages(fields: dict[str, Any]) -> Any:
    chat = _chat(fields)
    return as_object(chat.get("history")).get("messages") or chat.get("messages")


def _texts(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in objects(item.get("content")) if part.get("text")]


def _chat(fields: dict[str, Any]) -> dict[str, Any]:
    return as_object(fields.get("chat")) or fields


def _is_chat(fields: dict[str, Any]) -> bool:
    chat = _chat(fields)
    return isinstance(chat.get("history"), dict) or (chat is not fields and isinstance(chat.get("messages"), list))
