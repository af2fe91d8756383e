"""Reads transcripts of Qwen Code: a tree in JSONL, in the envelope of Claude Code with messages of Gemini's shape.

Mapping:

- `user`, `assistant`, `tool_result`: a message of Gemini's shape, as it is; model and usage go to the envelope. What
  the tool itself says in the role of the user (`subtype` `notification` or `cron`, or any `provenance` but `real_user`)
  is for the model only.
- A repeated `uuid`: equal, it is ignored; otherwise it completes the message, as Qwen Code reads it. It becomes an
  entry of its own below the one before, and later children of this uuid follow it.
- `system` of the subtype `chat_compression`: a compaction that keeps no entry. `compressedHistory` is what the model
  sees from there on: the text of its first content is the summary, the others follow as messages for the model.
- `system` of the subtype `custom_title`: extension data, and the name of the session.
- Any other `system` line: extension data `qwen-code.<subtype>`; any other type, and a message whose content is not
  understood: `qwen-code.<type>`, with all its fields.
- A file that begins in the side chain of an agent is a session of its own, `<session>.<agent>`, and a task of the main
  session. A fork begins with copies (`forkedFrom`); the header names the parent and the last of them.

All other fields of a line are the `extra` of its entry. Of fields that most lines repeat, only values that differ from
those of the first line are kept. The leaf is the last line: Qwen Code continues there.

The usage of answers counts. The telemetry repeats it, and is data; but for a compression, and for what the tool asks to
extract memories, it has the only counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import orjson

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.counts import ReportedUsage
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import Origin, make_header
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.jsonl import has_known_line, is_record, read_objects
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import as_object, count, key, misfits, objects, text
from convtree._model.entries import CompactionEntry, Entry, MessageEntry, Record

NAME = "qwen-code"
SHAPE = "gemini"

_LOOK = 200  # lines in which a transcript is recognised
_SPOKEN = ("user", "assistant", "tool_result")
_COMPRESSED = "compressed"  # a message that a compression left to the model; no type of the tool
_BY_THE_TOOL = ("notification", "cron")
_PLACED = frozenset({"uuid", "parentUuid", "timestamp", "type", "message"})
_COST = {"model": str, "usageMetadata": dict}  # of an answer
_REPEATED = frozenset({"sessionId", "cwd", "version", "gitBranch", "agentId"})
_RESPONSE = "qwen-code.api_response"
#: what is in the id of a request that the tool makes for itself; its answer is in no transcript
_OWN_REQUESTS = re.compile(r"compress-|[^#]*#managed-")
#: counts in the telemetry, as answers spell them
_COUNTS = {
    "input_token_count": "promptTokenCount",
    "output_token_count": "candidatesTokenCount",
    "cached_content_token_count": "cachedContentTokenCount",
    "thoughts_token_count": "thoughtsTokenCount",
    "total_token_count": "totalTokenCount",
}


def recognises(source: Source) -> bool:
    """Recognises a transcript by a message in Gemini's shape, or by a `system` line with its payload."""
    if (is_known := has_known_line(source, _is_line, _LOOK)) is not None:
        return is_known
    start = source.beginning[:4096]
    has_content = any(name in start for name in (b'"parts":[', b'"systemPayload":{'))
    return has_content and all(name in start for name in (b'"uuid":', b'"parentUuid":', b'"sessionId":'))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which the first line of the tree names."""
    facts: dict[str, Any] = {}
    with SourceFile(source.path) as file:
        for fields, _ in islice(read_objects(file, Findings(), is_record), _LOOK):
            if _is_node(fields):
                facts = fields
                break
    source_id = key(facts.get("sessionId")) or derive_id(NAME, source.beginning.hex())
    agent = _agent_of(facts)
    yield make_ref(NAME, source_id if agent is None else f"{source_id}.{agent}", None, facts)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    facts: dict[str, Any] = ref.content
    is_task = _agent_of(facts) is not None
    origin = Origin(key(facts.get("sessionId"))) if is_task else _origin_of(source)
    header = make_header(
        NAME,
        ref.source_id,
        time=facts.get("timestamp"),
        cwd=facts.get("cwd"),
        parent=origin.parent,
        parent_kind="task" if is_task else "fork",
        copied_to=origin.copied_to,
        version=facts.get("version"),
        git_branch=facts.get("gitBranch"),
    )
    file, findings = source.open_file(), Findings()
    reader = _Reader(SessionBuilder(Ids(NAME, ref.source_id), findings), facts)
    return SourceSession(
        header, reader.records(read_objects(file, findings, is_record)), findings.listed, file.position
    )


def _origin_of(source: Source) -> Origin:
    """Returns what the last of the copied lines says, with which a fork begins."""
    origin = Origin()
    with SourceFile(source.path) as file:
        for fields, _ in read_objects(file, Findings(), is_record):
            parent = key(as_object(fields.get("forkedFrom")).get("sessionId"))
            if parent is None:
                return origin
            origin = Origin(parent, key(fields.get("uuid")))
    return origin


def _agent_of(facts: dict[str, Any]) -> str | None:
    return key(facts.get("agentId")) if facts.get("isSidechain") else None


def _is_node(fields: dict[str, Any]) -> bool:
    """Returns whether a line is a node of the tree."""
    return bool(text(fields.get("uuid"))) and isinstance(fields.get("type"), str)


def _is_line(fields: dict[str, Any]) -> bool:
    """Returns whether a line is one that only Qwen Code writes."""
    if not _is_node(fields) or "parentUuid" not in fields:
        return False
    if fields["type"] == "system":
        return isinstance(fields.get("subtype"), str) and isinstance(fields.get("systemPayload"), dict)
    return _has_message(fields)


def _has_message(fields: dict[str, Any]) -> bool:
    return fields.get("type") in _SPOKEN and _is_content(as_object(fields.get("message")))


def _is_content(message: dict[str, Any]) -> bool:
    return isinstance(message.get("role"), str) and bool(objects(message.get("parts")))


class _Reader:
    """Reads one transcript, in the order of the file, and makes entries."""

    def __init__(self, builder: SessionBuilder, facts: dict[str, Any]) -> None:
        self._builder = builder
        self._facts = facts
        self._seen: dict[str, set[str]] = {}  # uuid to digests of the lines with it
        self._usage = ReportedUsage()  # by uuid
        self._asked: set[str] = set()  # digests of what the user said
        self._summaries: dict[str, str] = {}  # by the entries of compressions
        self._ends: dict[str, str] = {}  # uuid of a compression to the last message that it left

    def records(self, lines: Iterator[Object]) -> Iterator[Record]:
        """Yields the transcript's records."""
        return self._builder.records(self._nodes(lines), self._make)

    def _nodes(self, lines: Iterator[Object]) -> Iterator[Node]:
        beside: str | None = None
        for ordinal, (fields, span) in enumerate(lines, 1):
            if not _is_node(fields):
                beside, above = self._builder.ids.claim(None, ordinal), beside
                yield Node(beside, above, None, span, fields)
                continue
            seen, digest = self._seen.setdefault(fields["uuid"], set()), _digest(fields)
            if digest not in seen:
                seen.add(digest)
                yield from self._with_followers(self._node(fields, span, ordinal), ordinal)

    def _node(self, fields: dict[str, Any], span: SourceSpan, ordinal: int) -> Node:
        """Makes the node of a line: below its parent, or below the line before that it completes."""
        ids, uuid = self._builder.ids, fields["uuid"]
        before, parent = ids.known(uuid), key(fields.get("parentUuid"))
        if before is not None:
            return Node(ids.claim(uuid, ordinal), self._ends.get(uuid, before), uuid, span, fields)
        node = self._builder.link(fields, span, uuid, parent, ordinal)
        return node._replace(parent_id=self._ends.get(parent or "", node.parent_id))

    def _with_followers(self, node: Node, ordinal: int) -> Iterator[Node]:
        """Yields a node, and the messages that a compression left; what follows it in the file is below the last."""
        fields, last = node.fields, node
        if fields.get("type") == "user" and _has_message(fields):
            self._asked.add(_digest(fields["message"]))
        left = _left(fields)
        summary = self._summaries[node.id] = self._summary(left)
        yield node
        for number, content in enumerate(left[1:] if summary else left):
            said = {"type": _COMPRESSED, "timestamp": fields.get("timestamp"), "message": content}
            last = Node(self._builder.ids.derive(ordinal, number), last.id, None, node.span, said)
            yield last
        if last is not node:
            self._ends[fields["uuid"]] = last.id
        else:
            self._ends.pop(fields["uuid"], None)
        self._builder.leaf = last
        payload = as_object(fields.get("systemPayload"))
        if fields.get("subtype") == "custom_title" and (title := text(payload.get("customTitle"))):
            self._builder.set_info(node, ordinal, name=title)

    def _summary(self, left: list[dict[str, Any]]) -> str:
        """Returns what a compression summed up; "" if it only left contents out."""
        first = left[0] if left else {}
        if first.get("role") != "user" or _digest(first) in self._asked:
            return ""
        return "\n".join(part["text"] for part in objects(first.get("parts")) if isinstance(part.get("text"), str))

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind = fields.get("type")
        if kind == _COMPRESSED:
            return MessageEntry(message=fields["message"], shape=SHAPE, visible_to="model", **envelope)
        if not _is_node(fields):
            return extension_data(NAME, kind, _others(fields, "type", "timestamp"), envelope)
        if _has_message(fields):
            visible: dict[str, Any] = {} if _is_typed(fields) else {"visible_to": "model"}
            extra, paid = self._extra(fields), self._cost(fields)
            return MessageEntry(message=fields["message"], shape=SHAPE, extra=extra, **visible, **paid, **envelope)
        if _left(fields):
            return self._compaction(node, envelope)
        if "message" in fields or (kind in ("user", "assistant") and "usageMetadata" not in fields):
            self._builder.findings.add("source_bad_record", node.span, node.id)
        subtype = text(fields.get("subtype")) if kind == "system" else None
        rest = _others(fields, "uuid", "parentUuid", "timestamp", "type")
        data = {name: value for name, value in rest.items() if not self._repeats(name, value)}
        return msgspec.structs.replace(extension_data(NAME, subtype or kind, data, envelope), **self._cost(fields))

    def _cost(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Returns model and usage of an answer; of a later line of it, what it adds to the usage."""
        if fields.get("type") == "assistant":
            answer, counts = fields, fields.get("usageMetadata")
        elif answer := _own_answer(fields):
            counts = {name: answer[old] for old, name in _COUNTS.items() if old in answer}
        else:
            return {}
        return {"model": text(answer.get("model")) or None, "usage": self._usage.record(fields["uuid"], counts)}

    def _compaction(self, node: Node, envelope: dict[str, Any]) -> CompactionEntry:
        payload: dict[str, Any] = node.fields["systemPayload"]
        info = as_object(payload.get("info"))
        is_whole = len(_left(node.fields)) == len(payload["compressedHistory"])
        if not is_whole:
            self._builder.findings.add("source_bad_record", node.span, node.id)
        details = _others(payload, "compressedHistory") if is_whole else payload
        extra = self._extra(node.fields, "systemPayload", "subtype")
        return CompactionEntry(
            summary=self._summaries[node.id],
            first_kept_entry_id=None,
            tokens_before=count(info.get("originalTokenCount")),
            tokens_after=count(info.get("newTokenCount")),
            details=details | ({"line": extra} if extra else {}) or None,
            **envelope,
        )

    def _extra(self, fields: dict[str, Any], *placed: str) -> dict[str, Any] | None:
        """Returns what has no other place."""
        cost = _COST.keys() - misfits(fields, _COST).keys() if fields.get("type") == "assistant" else ()
        left_out = {*_PLACED, *placed, *cost}
        return {
            name: value
            for name, value in fields.items()
            if name not in left_out and value is not None and not self._repeats(name, value)
        } or None

    def _repeats(self, name: str, value: Any) -> bool:
        return name in _REPEATED and value == self._facts.get(name)


def _is_typed(fields: dict[str, Any]) -> bool:
    """Returns whether a message is not one that the tool put into the mouth of the user."""
    is_users = fields.get("provenance") in (None, "real_user") and fields.get("subtype") not in _BY_THE_TOOL
    return is_users or fields.get("type") != "user"


def _own_answer(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what the telemetry says about an answer that is in no transcript; empty for any other line."""
    event = as_object(as_object(fields.get("systemPayload")).get("uiEvent"))
    is_own = event.get("event.name") == _RESPONSE and _OWN_REQUESTS.match(text(event.get("prompt_id")) or "")
    return event if is_own and fields.get("subtype") == "ui_telemetry" else {}


def _others(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _left(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the contents that the model sees after a compression; empty for any other line."""
    if fields.get("type") != "system" or fields.get("subtype") != "chat_compression":
        return []
    history = objects(as_object(fields.get("systemPayload")).get("compressedHistory"))
    return [content for content in history if _is_content(content)]


def _digest(fields: dict[str, Any]) -> str:
    """Returns a digest of a line or a message, without its clock and its place."""
    content = _others(fields, "timestamp", "parentUuid")
    return derive_id(orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())
