"""Makes entries of opencode's messages. Pure.

A message that opencode has not finished has an id of its content, and no time: what is finished later is another entry
beside it, and the leaf moves there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block, text_block
from convtree._formats.common.headers import archived_mark, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, derive_id
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.values import as_object, key, moment, objects, text, without
from convtree._formats.opencode.stores import Message
from convtree._model.entries import CompactionEntry, Entry, Record, Visibility

NAME = "opencode"
_SEEN = ("id", "parentID", "directory", "title", "time")  # of a session
_PLACED = ("role", "modelID", "providerID", "tokens", "cost", "time")  # of a message
#: what a message says of its cost, and where it is in the entry of a summary
_COST = {"tokens": "usage", "cost": "usage", "providerID": "provider", "modelID": "model"}
_LATER = frozenset({"summary", "compacted"})  # set when the message was there already
_SILENT = {"step-start", "step-finish", "snapshot", "patch", "agent", "retry"}
_SILENT_FILES = {"text/plain", "application/x-directory"}  # their content is in the text parts before
_SUBTASK = "The following tool was executed by the user"  # what opencode shows its model of such a part
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


class SessionReader:
    """Makes the records of one session, whose fields are those of `info` in an export."""

    def __init__(self, ids: Ids, findings: Findings, fields: dict[str, Any]) -> None:
        self._ids = ids
        self._findings = findings
        self._fields = fields
        revert = as_object(fields.get("revert"))
        self._reverted, self._reverted_part = key(revert.get("messageID")), key(revert.get("partID"))
        self._leaf: str | None = None  # the message before the one that was reverted to
        self._tail: str | None = None  # what the compaction that is under way keeps
        self._unfinished: dict[str, str] = {}  # message -> the source id that its entry has instead
        self._changes: dict[str, Any] = {}  # message -> what opencode may still change of it

    def records(self, messages: Iterator[Message], span: SourceSpan) -> Iterator[Record]:
        """Yields the entries, the leaf, the name and the metadata."""
        nodes = self._nodes(messages)
        yield from make_records(
            nodes,
            self.make,
            self._ids,
            self._findings,
            leaf=lambda: self._leaf,
            span=span,
            elsewhere=_LATER,
        )
        yield from name_mark(self._ids, self._fields.get("title"), span, self._findings)
        time = as_object(self._fields.get("time"))
        if time.get("archived"):
            yield archived_mark(self._ids)
        more = without({"time": without(time, "created"), "summaries": self._changes})
        yield from metadata_mark(self._ids, NAME, without(self._fields, *_SEEN) | more, span, self._findings)

    def _nodes(self, messages: Iterator[Message]) -> Iterator[Node]:
        last, before = None, None
        for ordinal, message in enumerate(messages, 1):
            if message.source_id is not None and message.source_id == self._reverted:
                self._leaf = before
                if (start := self._start_of(message)) is not None:
                    self._leaf = f"{message.source_id}.{derive_id(NAME, start.data, start.parts)}"
                    yield self._named(start, self._leaf, ordinal, last)
            node = self.node(message, ordinal, last)
            last, before = node.id, self._unfinished.get(message.source_id or "", message.source_id)
            yield node

    def _start_of(self, message: Message) -> Message | None:
        """Returns a message with the parts before the one that was reverted to; None if no model sees one of them."""
        at = next((at for at, part in enumerate(message.parts) if part.get("id") == self._reverted_part), 0)
        if all(map(is_silent, message.parts[:at])):
            return None
        return message._replace(data=without(message.data, "tokens", "cost"), parts=message.parts[:at])

    def node(self, message: Message, ordinal: int = 1, parent_id: str | None = None) -> Node:
        """Makes the node of the `ordinal`-th message."""
        source_id, _, data, parts = message
        named = source_id
        if source_id is not None and _is_unfinished(data):
            named = self._unfinished[source_id] = f"{source_id}.{derive_id(NAME, data, parts)}"
        return self._named(message, named, ordinal, parent_id)

    def _named(self, message: Message, named: str | None, ordinal: int, parent_id: str | None) -> Node:
        source_id, span, data, parts = message
        node = link(self._ids, self._findings, {"data": data, "parts": parts}, span, named, ordinal, parent_id)
        return node if named == source_id else node._replace(source_id=source_id)

    def make(self, node: Node) -> list[Entry]:
        """Makes the entries of a message."""
        data, parts = node.fields["data"], node.fields["parts"]
        if "unknown" in data:
            return make_extension_data(NAME, "session_message", data)
        time = as_object(data.get("time"))
        compaction = next((part for part in parts if part.get("type") == "compaction"), None)
        if isinstance(changes := data.get("summary"), dict):
            data = without(data, "summary")
            if changes := without(changes):
                self._changes[node.source_id or node.id] = changes
        if compaction is not None:
            self._tail = key(compaction.get("tail_start_id"))
            stored = without(data, "time") | without({"parts": parts, "time": without(time, "created")})
            return make_extension_data(NAME, "compaction", stored, time.get("created"))
        if data.get("summary") is True and data.get("finish"):
            said = [part["text"] for part in parts if part.get("type") == "text" and text(part.get("text"))]
            if said:
                return [self._compaction(node, "\n".join(said))]
        return self._message(data, parts, node)

    def _compaction(self, node: Node, summary: str) -> Entry:
        tail = self._tail and self._unfinished.get(self._tail, self._tail)
        kept = None if tail is None else self._ids.known(tail)
        if kept is None and tail is not None:
            self._findings.add("source_bad_target", node.span, node.id)
        data, time = node.fields["data"], as_object(node.fields["data"].get("time"))
        provider, model = text(data.get("providerID")), text(data.get("modelID"))
        cost: dict[str, Any] = {"usage": _usage(data), "provider": provider, "model": model}
        placed = {name for name, value in cost.items() if value is not None}
        moved = [field for field, name in _COST.items() if name in placed]
        left = [without(part, "text") if part.get("type") == "text" else part for part in node.fields["parts"]]
        self._tail = None
        return CompactionEntry(
            timestamp=moment(time.get("created")),
            summary=summary,
            first_kept_entry_id=None if kept == node.id else kept,
            details=without(data, "time", "role", *moved) | without({"time": without(time, "created"), "parts": left}),
            **cost,
        )

    def _message(self, data: dict[str, Any], parts: list[dict[str, Any]], node: Node) -> list[Entry]:
        role, time = text(data.get("role")) or "user", as_object(data.get("time"))
        left = [stored for part in parts if (stored := self._left(part, node))]
        # without a time it is known as an earlier state of the source, so that the leaf moves on
        begun = None if _is_unfinished(data) else time.get("created")
        rest = without(data, *_PLACED) | without({"time": time if begun is None else without(time, "created")})
        rest |= without({"parts": left})
        facts = {"time": begun, "provider": data.get("providerID"), "model": data.get("modelID")}
        made: list[Entry] = []
        for visible_to, blocks in _groups(role, parts):
            more = {} if made else rest
            made += make_messages(NAME, role, blocks, more, visible_to=visible_to, usage=_usage(data), **facts)
        return made or make_messages(NAME, role, [], rest, time=begun)

    def _left(self, part: dict[str, Any], node: Node) -> dict[str, Any]:
        """Returns what no block holds of a part: all of one that no model sees."""
        if is_silent(part):
            return part
        match part.get("type"):
            case "text" | "reasoning":
                return without(part, "text")
            case "subtask":  # the model sees a text in its place
                return part
            case "tool":
                state = as_object(part.get("state"))
                time = as_object(state.get("time"))
                if time.get("compacted"):  # set later, so it has no place in an entry
                    self._findings.add("source_unsupported", node.span, node.id)
                pictures = [
                    without(each, "url") if _media(each) else each for each in objects(state.get("attachments"))
                ]
                more = {"time": without(time, "compacted"), "attachments": pictures}
                kept = without(state, "input", "output", "error", *more) | without(more)
                return without(part, "tool", "callID", "state") | without({"state": kept})
            case "file" if _media(part):
                return without(part, "url")
        return {}


def _is_unfinished(data: dict[str, Any]) -> bool:
    return data.get("role") == "assistant" and not as_object(data.get("time")).get("completed")


def _usage(data: dict[str, Any]) -> dict[str, Any] | None:
    """Returns tokens and cost of a message as one object; None if it has neither."""
    return as_object(data.get("tokens")) | without({"cost": data.get("cost")}) or None


def _groups(role: str, parts: list[dict[str, Any]]) -> list[tuple[Visibility, list[dict[str, Any]]]]:
    """Returns the blocks of a message: what a person typed, and what opencode added for the model."""
    groups: list[tuple[Visibility, list[dict[str, Any]]]] = []
    for part in parts:
        is_told = role == "user" and (part.get("synthetic") is True or part.get("type") == "subtask")
        visible_to: Visibility = "model" if is_told and not is_silent(part) else "all"
        if part and not is_silent(part):
            if not groups or groups[-1][0] != visible_to:
                groups.append((visible_to, []))
            groups[-1][1].append(part)
    return [(visible_to, blocks) for visible_to, group in groups if (blocks := _blocks(group))]


def _blocks(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the blocks that parts are; the results of calls that were made together follow them together."""
    blocks: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in parts:
        if part.get("type") != "tool":
            blocks, results = [*blocks, *results, _block(part)], []
            continue
        state = as_object(part.get("state"))
        blocks.append(call_block(part.get("callID"), part.get("tool"), state.get("input")))
        if state.get("status") in ("completed", "error"):
            has_failed = state["status"] == "error"
            content = state.get("error") if has_failed else state.get("output")
            if pictures := [media for each in objects(state.get("attachments")) if (media := _media(each))]:
                content = [text_block(content), *pictures]
            results.append(result_block(part.get("callID"), content, is_error=has_failed))
    return blocks + results


def _block(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return text_block(part.get("text"))
    if kind == "subtask":
        return text_block(_SUBTASK)
    if kind == "reasoning":
        return {"type": "thinking", "thinking": text_block(part.get("text"))["text"]}
    named = without(part, "messageID", "sessionID")
    return _media(part) or (named if isinstance(kind, str) else text_block(named))


def _media(part: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the block of an image or a document that a part has the bytes of; None if it has none."""
    url = text(part.get("url")) or ""
    found = _DATA_URL.match(url)
    if found is None or part.get("type") != "file":
        return None
    media = found[1]
    kind = "image" if media.startswith("image/") else "document" if media == "application/pdf" else None
    if kind is None:
        return None
    return {"type": kind, "source": {"type": "base64", "media_type": media, "data": url[found.end() :]}}


def is_silent(part: dict[str, Any]) -> bool:
    """Returns whether no model sees a part."""
    kind, mime = part.get("type"), part.get("mime")
    is_read = kind == "file" and isinstance(mime, str) and mime in _SILENT_FILES
    return is_read or (isinstance(kind, str) and kind in _SILENT) or (kind == "text" and part.get("ignored") is True)
