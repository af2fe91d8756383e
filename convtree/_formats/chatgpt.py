"""ChatGPT's export: `conversations.json`, an array of conversations, each a tree with every branch.

One session for each conversation; the downloaded archive is read, too. `mapping` holds the nodes by id: `parent` is
authoritative, `children` gives the order of siblings, `current_node` the leaf. A root without a message is left out, so
its children are roots. Mapping:

- A message with text: a message. Its author's role is the role, its parts are the content, joined if all are texts.
- `thoughts`, `reasoning_recap`: a message for the user, because no model is sent them again; blocks unchanged.
- Other kinds of content: their `text` or `result`, or one block with the kind as its type.
- `is_visually_hidden_from_conversation`: for the model only.
- An empty message, and a node without one inside the tree: extension data `chatgpt.message` and `chatgpt.node`.
- `metadata.model_slug`: the model; the provider is `openai`.
- `title`: the session's name. `is_archived`: archived. Every other field of a message: kept in the message under
  `chatgpt`. Every other field of the conversation: metadata of the session under that name.
- The context written by the user (`user_editable_context`) and the notes of the model (`model_editable_context`): their
  texts, for the model; the fields are kept, too.

Tool traffic has no ids in the export: a call is an assistant's message to a `recipient`, its result a message of the
role `tool`. Both are imported unchanged. Shape `chatgpt.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.blocks import make_extension_data, make_messages, text_block
from convtree._formats.common.headers import archived_mark, list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids
from convtree._formats.common.json_arrays import item_keys
from convtree._formats.common.node_tree import make_records, nodes_of_table
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import as_object, key, text, without
from convtree._model.entries import Entry, Header, Record, Visibility

NAME = "chatgpt"
_OTHERS = {"title", "current_node", "create_time", "conversation_id", "id"}
_CONTEXTS = {
    "user_editable_context": ("user_profile", "user_instructions"),
    "model_editable_context": ("model_set_context", "repo_summary"),
}
_SEEN = {"mapping", "is_archived"}
_REASONING = {"thoughts", "reasoning_recap"}


def recognises(source: Source) -> bool:
    """Recognises an export by a conversation with a `mapping`."""
    return any("mapping" in keys and not keys.isdisjoint(_OTHERS) for keys in item_keys(source.beginning))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the conversations of an export."""
    return list_array(source, NAME, _is_conversation, ("conversation_id", "id"), lambda it: it["mapping"])


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its conversation
    """Reads a conversation."""
    return read_item(ref, NAME, _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    return make_header(NAME, id, time=fields.get("create_time"), project=text(fields.get("gizmo_id")))


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    fields = found.fields
    nodes = _without_roots(fields, found, findings)
    tree = nodes_of_table(nodes, "parent", "children", ids, found.span, findings)
    leaf = key(fields.get("current_node"))
    if leaf in fields["mapping"] and leaf not in nodes:  # at a root without a message: before the first
        leaf = None
    yield from make_records(tree, _make, ids, findings, leaf=leaf, span=found.span)
    yield from name_mark(ids, fields.get("title"), found.span, findings)
    own = fields.get("conversation_id") or fields.get("id")
    others = {name: fields[name] for name in ("conversation_id", "id") if fields.get(name) not in (None, own)}
    yield from metadata_mark(ids, NAME, without(fields, *_OTHERS, *_SEEN) | others, found.span, findings)
    if fields.get("is_archived") is True:
        yield archived_mark(ids)


def _without_roots(fields: dict[str, Any], found: Object, findings: Findings) -> dict[str, Any]:
    """Cuts the roots that hold no message; more than one is reported."""
    nodes = fields["mapping"]
    roots = {
        id
        for id, node in nodes.items()
        if isinstance(node, dict) and not node.get("message") and _is_plain_root(id, nodes)
    }
    if len(roots) > 1:
        findings.add("source_second_root", found.span)
    return {
        id: node | {"parent": None} if isinstance(node, dict) and key(node.get("parent")) in roots else node
        for id, node in nodes.items()
        if id not in roots
    }


def _is_plain_root(id: str, nodes: dict[str, Any]) -> bool:
    """Returns whether a node without a message has no parent, and says nothing."""
    node, below = nodes[id], nodes[id].get("children", [])
    if key(node.get("parent")) is not None:
        return False
    is_linked = isinstance(below, list) and all(isinstance(each, str) and each in nodes for each in below)
    return is_linked and node.get("id") in (None, id) and not without(node, "id", "parent", "children", "message")


def _make(node: Node) -> list[Entry]:
    message = node.fields.get("message")
    if not isinstance(message, dict):
        return make_extension_data(NAME, "node", without(node.fields, "id", "parent", "children"))
    author, metadata = as_object(message.get("author")), as_object(message.get("metadata"))
    content = as_object(message.get("content")) or {"parts": [message.get("content")]}
    blocks, used = _blocks(content)
    rest = without(message, "id", "author", "content", "create_time")
    if content.get("content_type") == "text":
        used = used | {"content_type"}  # any other says what the text is
    rest |= without({"author": without(author, "role"), "content": without(content, *used)})
    role = text(author.get("role")) or "assistant"
    model = metadata.get("model_slug") if role == "assistant" else None
    return make_messages(
        NAME,
        role,
        blocks,
        rest,
        time=message.get("create_time"),
        visible_to=_visibility(content, metadata),
        provider="openai" if model else None,
        model=model,
    )


def _visibility(content: dict[str, Any], metadata: dict[str, Any]) -> Visibility:
    if text(content.get("content_type")) in _REASONING:
        return "user"
    return "model" if metadata.get("is_visually_hidden_from_conversation") is True else "all"


def _blocks(content: dict[str, Any]) -> tuple[list[dict[str, Any]], set[str]]:
    """Returns the blocks that a content is, and which of its fields they hold."""
    kind = text(content.get("content_type")) or "text"
    parts = content.get("parts")
    if isinstance(parts, list) and kind not in _REASONING:
        if all(isinstance(part, str) for part in parts):
            return [text_block("\n".join(parts))], {"parts"}
        return [_part(part) for part in parts if part not in (None, "")], {"parts"}
    noted = [content.get(name) for name in _CONTEXTS.get(kind, ())]
    if said := "\n".join(each for each in noted if isinstance(each, str) and each):
        return [text_block(said)], set()
    for name in ("text", "result"):
        if isinstance(content.get(name), str) and kind not in _REASONING:
            return [text_block(content[name])], {name}
    rest = without(content, "content_type")
    return [{"type": kind} | rest] if rest else [], set(content)


def _part(part: Any) -> dict[str, Any]:
    """Makes a block of a part: text, the words of a recording, or whatever it is under its own type."""
    if not isinstance(part, dict):
        return text_block(part)
    kind = text(part.get("content_type")) or "unknown"
    if kind == "audio_transcription" and isinstance(part.get("text"), str):
        return {"type": "text"} | without(part, "content_type")
    return {"type": kind} | without(part, "content_type", "type")


def _is_conversation(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("mapping"), dict)
