"""Sessions of Continue: `~/.continue/sessions/<id>.json`, one document for each.

The keys are those of continuedev/continue: `core/index.d.ts` (`Session`, `ChatHistoryItem`, `ChatMessage`),
`core/util/history.ts` writes them, and `gui/src/redux/util/constructMessages.ts` says what a model is sent. Mapping:

- `message` of an item: a message. Its `toolCalls` are calls; a message of the role `thinking` is reasoning of the
  assistant; `usage` is the usage, and `promptLogs` name the model. `metadata` and the other fields of the item are its
  `extra`; the prompt and the completion in `promptLogs` repeat the conversation and are dropped.
- `contextItems`: a message of the user before it, for the model only, because Continue puts them before what is typed.
- `toolCallStates`: the results, below the message with the calls, once they have come. Messages of the role `tool`
  answer calls that have no state.
- `conversationSummary`: a compaction that keeps no entry, below its item. The command line (`extensions/cli`) writes
  an item that only repeats it; then there is no message.
- `title`, `workspaceDirectory`: the name and the directory. Other fields, such as the sum in `usage`: metadata of the
  session under `continue`.

The document is written anew each time: ids are derived from the content, and an edit is a branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlparse

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, image_block, make_messages, result_block, text_block
from convtree._formats.common.content_ids import node_by_content
from convtree._formats.common.headers import list_array, make_header, metadata_mark, name_mark, read_item
from convtree._formats.common.ids import Ids
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.unsaid import name_unsaid
from convtree._formats.common.values import as_object, objects, text, without
from convtree._model.entries import CompactionEntry, Entry, Header, Record

NAME = "continue"
_SEEN = ("sessionId", "title", "workspaceDirectory", "history")
_SAID = ("role", "content", "toolCalls", "usage", "toolCallId", "signature", "redactedThinking")
_APART = ("message", "contextItems", "toolCallStates", "conversationSummary", "promptLogs", "editorState")
_REPEATING = frozenset({"prompt", "completion"})  # fields of a prompt log
_ANSWERS = {
    "canceled": "The user cancelled this tool call.",
    "errored": "There was an error calling the tool.",
    "done": "No tool output",
}


def recognises(source: Source) -> bool:
    """Recognises a session by its keys, and by the items of its history."""
    keys = item_keys(source.beginning)
    is_session = any({"sessionId", "history"} <= each or {"title", "workspaceDirectory"} <= each for each in keys)
    return is_session and source.beginning.lstrip().startswith(b"{") and has_key(source.beginning, "message", r"\{")


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    return list_array(source, NAME, _is_session, ("sessionId",), lambda it: it["history"])


def read(source: Source, ref: SessionRef) -> SourceSession:  # noqa: ARG001 - the reference carries its document
    """Reads the session."""
    return read_item(ref, NAME, _header, _records)


def _header(id: str, fields: dict[str, Any]) -> Header:
    place = fields.get("workspaceDirectory")
    if isinstance(place, str) and place.startswith("file://"):
        place = unquote(urlparse(place).path)
    return make_header(NAME, id, cwd=place)


def _records(found: Object, ids: Ids, findings: Findings) -> Iterator[Record]:
    fields = found.fields
    nodes = _nodes(fields["history"], ids, found.span, findings)
    yield from make_records(nodes, _make, ids, findings)
    yield from name_mark(ids, fields.get("title"), found.span, findings)
    yield from metadata_mark(ids, NAME, without(fields, *_SEEN), found.span, findings)


def _nodes(history: list[Any], ids: Ids, span: SourceSpan, findings: Findings) -> Iterator[Node]:
    tip: str | None = None
    said: str | None = None  # the tip without summaries: one may come later, and what follows it stays the same
    answered = {str(each.get("toolCallId")) for item in objects(history) for each in _states(item)}
    for number, item in enumerate(history):
        fields = item if isinstance(item, dict) else {"message": item}
        if not isinstance(fields.get("message"), dict):
            findings.add("source_bad_record", span)
        parts = list(_parts(fields, answered))
        name_unsaid(fields, parts, span, findings, _REPEATING)
        for part in parts:
            node = node_by_content(ids, part, span, said, str(number))._replace(parent_id=tip)
            tip, said = node.id, said if "summary" in part else node.id
            yield node
        for log in objects(fields.get("promptLogs")):
            for name in sorted(log.keys() & _REPEATING):
                findings.add_once(name, "source_field_dropped", span, tip)


def _parts(item: dict[str, Any], answered: set[str]) -> Iterator[dict[str, Any]]:
    """Yields what becomes of an item: the context before it, the message, its results, a summary."""
    message, summary = as_object(item.get("message")), text(item.get("conversationSummary"))
    if summary and message.get("content") == summary:  # in the command line it is a message of its own
        yield {"summary": summary, "message": without(message, "content"), "item": without(item, *_APART)}
        return
    if context := [each for each in objects(item.get("contextItems")) if each.get("content")]:
        yield {"context": context}
    if message.get("role") == "tool" and str(message.get("toolCallId")) in answered:
        yield {"repeated": item}
    else:
        log: dict[str, Any] = next(reversed(objects(item.get("promptLogs"))), {})
        model = without({"provider": log.get("modelProvider"), "model": log.get("modelTitle")})
        yield {"item": without(item, *_APART), "message": item.get("message"), "model": model}
    for state in _states(item):
        if _is_over(state):
            yield {"result": state}
    if summary:
        yield {"summary": summary}


def _states(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in objects(item.get("toolCallStates")) if _is_over(each)]


def _is_over(state: dict[str, Any]) -> bool:
    return text(state.get("status")) in _ANSWERS


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    if "summary" in fields:
        return [_compaction(fields["summary"], as_object(fields.get("message")), as_object(fields.get("item")))]
    if "repeated" in fields:
        return make_messages(NAME, "tool", [], {"repeated": fields["repeated"]})
    if "context" in fields:
        context = fields["context"]
        rest = {"contextItems": [without(each, "content") for each in context]}
        blocks = [text_block(each["content"]) for each in context]
        return make_messages(NAME, "user", blocks, rest, visible_to="model")
    if "result" in fields:
        return _result(fields["result"])
    return _message(fields["message"], fields["item"], fields["model"])


def _compaction(summary: str, message: dict[str, Any], item: dict[str, Any]) -> Entry:
    usage = as_object(message.get("usage")) or None
    details = without(message, "role", "usage") | without({"item": item})
    return CompactionEntry(
        summary=summary, first_kept_entry_id=None, usage=usage, details={NAME: details} if details else None
    )


def _message(message: Any, item: dict[str, Any], model: dict[str, Any]) -> list[Entry]:
    said = as_object(message) or {"content": message}
    role, content = text(said.get("role")) or "user", said.get("content")
    parts = [_block(part) for part in objects(content)] if isinstance(content, list) else [text_block(content)]
    if role == "thinking":
        role, parts = "assistant", _thoughts(said, parts)
    if role == "tool":
        role, parts = "user", [result_block(said.get("toolCallId"), content)]
    for call in objects(said.get("toolCalls")):
        function = as_object(call.get("function"))
        parts.append(call_block(call.get("id"), function.get("name"), function.get("arguments")))
    rest = without(said, *_SAID) | without({"item": item})
    return make_messages(NAME, role, parts, rest, usage=said.get("usage"), **model)


def _thoughts(said: dict[str, Any], parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    thought = "".join(text(part.get("text")) or "" for part in parts)
    signed = without({"signature": said.get("signature")})
    found: list[dict[str, Any]] = [{"type": "thinking", "thinking": thought} | signed] if thought or signed else []
    if hidden := text(said.get("redactedThinking")):
        found.append({"type": "redacted_thinking", "data": hidden})
    return found


def _result(state: dict[str, Any]) -> list[Entry]:
    output, status = objects(state.get("output")), text(state.get("status")) or "done"
    said = "\n\n".join(text(each.get("content")) or "" for each in output) if output else _ANSWERS[status]
    call = as_object(state.get("toolCall"))
    id = call.get("id") or state.get("toolCallId")
    rest = without(state, "toolCall", "toolCallId", "parsedArgs", "output")
    rest |= without({"output": [without(each, "content") for each in output]})
    return make_messages(NAME, "user", [result_block(id, said, is_error=status != "done")], rest)


def _block(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a part of a message; an image as Anthropic has it."""
    url = text(as_object(part.get("imageUrl")).get("url"))
    return part if part.get("type") != "imageUrl" or url is None else image_block(url)


def _is_session(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("history"), list)
