"""Claude.ai's export: `conversations.json`, an array of conversations whose messages name their parents.

One session for each conversation; the downloaded archive is read, too. Mapping:

- `parent_message_uuid`: the parent; the all-zero UUID stands for none. Exports without the field are chains.
- A message: a message; `sender` `human` is the role `user`. Its content is kept unchanged, as blocks of Anthropic's; a
  result inside an assistant's message becomes a user's message of its own. Without content: `text`.
- `attachments` whose text was extracted: document blocks before the message, as the model saw them.
- `current_leaf_message_uuid`: the leaf; the bulk export has none, so the leaf is the message created last.
- `name`: the session's name. `model`: the model of the assistant's messages; the provider is `anthropic`.
- Calls and results without ids, as in old exports: each result belongs to the oldest call that has none.
- Every other field of a message: kept in it under `claude_ai`. Every other field of the conversation: metadata of the
  session under that name. An empty message: extension data `claude_ai.message`.

Shape `claude_ai.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.blocks import make_messages, text_block
from convtree._formats.common.headers import list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids, derive_id
from convtree._formats.common.json_arrays import item_keys
from convtree._formats.common.node_tree import latest_leaf, make_records, nodes_of_list
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import key, objects, text, without
from convtree._model.entries import Entry, Header, Record

NAME = "claude_ai"
_SEEN = ("uuid", "name", "chat_messages", "created_at", "current_leaf_message_uuid", "model")
_ROLES = {"human": "user"}


def recognises(source: Source) -> bool:
    """Recognises an export by a conversation with a `uuid` and `chat_messages`."""
    return any(keys >= {"uuid", "chat_messages"} for keys in item_keys(source.beginning))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the conversations of an export."""
    return list_array(source, NAME, _is_conversation, ("uuid",), lambda it: it["chat_messages"])


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its conversation
    """Reads a conversation."""
    return read_item(ref, NAME, _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    project = fields.get("project")
    name = project.get("name") if isinstance(project, dict) else None
    return make_header(NAME, id, time=fields.get("created_at"), project=text(name))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    messages = found.fields["chat_messages"]
    nodes = nodes_of_list(messages, "uuid", "parent_message_uuid", ids, found.span, findings)
    leaf = key(found.fields.get("current_leaf_message_uuid")) or latest_leaf(
        messages, "uuid", "parent_message_uuid", "created_at"
    )
    make = partial(_make, model=found.fields.get("model"))
    yield from make_records(nodes, make, ids, findings, leaf=leaf, span=found.span)
    yield from name_mark(ids, found.fields.get("name"), found.span, findings)
    yield from metadata_mark(ids, NAME, without(found.fields, *_SEEN), found.span, findings)


def _make(node: Node, *, model: Any) -> list[Entry]:
    fields = node.fields
    sender = text(fields.get("sender")) or "assistant"
    role = _ROLES.get(sender, sender)
    stored = fields.get("content")
    parts = stored if isinstance(stored, list) else [stored]
    content = [block for block in objects(parts) if isinstance(block.get("type"), str)]
    blocks = _with_ids(content, node.id) or [text_block(fields.get("text"))]
    rest = without(fields, "uuid", "sender", "content", "created_at", "parent_message_uuid", "attachments")
    if rest.get("text") == "\n".join(str(block.get("text")) for block in blocks if block["type"] == "text"):
        del rest["text"]  # says the same again
    rest |= without({"content": [part for part in parts if part is not None and part not in content]})
    attachments = fields.get("attachments")
    read = [_document(each) for each in objects(attachments) if each.get("extracted_content")]
    rest |= without({"attachments": [without(each, "extracted_content") for each in objects(attachments)]})
    return make_messages(
        NAME,
        role,
        read + blocks,
        rest,
        time=fields.get("created_at"),
        provider="anthropic" if role == "assistant" else None,
        model=fields.get("model") or model,
    )


def _with_ids(blocks: list[dict[str, Any]], own: str) -> list[dict[str, Any]]:
    """Gives ids to calls without one, and to their results."""
    waiting: list[str] = []
    found = list(blocks)
    for number, block in enumerate(blocks):
        if block["type"] == "tool_use" and key(block.get("id")) is None:
            waiting.append(derive_id(NAME, own, number))
            found[number] = block | {"id": waiting[-1]}
        elif block["type"] == "tool_result" and key(block.get("tool_use_id")) is None and waiting:
            found[number] = block | {"tool_use_id": waiting.pop(0)}
    return found


def _document(attachment: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "text", "media_type": "text/plain", "data": text_block(attachment["extracted_content"])["text"]}
    return {"type": "document", "source": source} | without({"title": text(attachment.get("file_name"))})


def _is_conversation(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("chat_messages"), list)
