"""The lines of rollouts: how they are recognised, what they are wrapped in, and who is speaking. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, Source
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.jsonl import is_record, read_objects
from convtree._formats.common.parsing import Object
from convtree._formats.common.values import as_object, key, texts

LOOK = 20  # objects in which a rollout is recognised and its metadata is looked for
_WRAPPED = (
    "session_meta",
    "response_item",
    "event_msg",
    "turn_context",
    "compacted",
)
_ITEMS = (
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call"),
    *("custom_tool_call_output", "local_shell_call", "web_search_call"),
)
#: what the tool itself says in the role of the user, in files that do not mark it
_CONTEXTUAL = (
    *("<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<turn_aborted>", "<skill"),
    *("<user_shell_command>", "<subagent_notification>"),
)
#: members that Codex stores with an item and takes off before it sends it
INTERNAL = ("internal_chat_message_metadata_passthrough", "metadata")


class About(NamedTuple):
    """The metadata of the session, the time of the first line, and the records if the file is a document."""

    meta: dict[str, Any]
    time: Any
    document: list[Object] | None = None

    @property
    def thread(self) -> str:
        """The id of the session."""
        named = (str(self.meta[name]) for name in ("id", "session_id") if self.meta.get(name))
        return next(named, str(self.time))

    @property
    def spawned_by(self) -> str | None:
        """The session that this one is a sub-agent's of."""
        if (parent := key(self.meta.get("parent_thread_id"))) is not None:
            return parent
        spawn = as_object(as_object(as_object(self.meta.get("source")).get("subagent")).get("thread_spawn"))
        return key(spawn.get("parent_thread_id"))


def about(objects: Iterable[Object]) -> About:
    """Returns the metadata that one of the first lines has."""
    time = None
    for fields, _ in islice(objects, LOOK):
        time = time if time is not None else fields.get("timestamp")
        payload = fields.get("payload")
        if fields.get("type") == "session_meta" and isinstance(payload, dict):
            return About(payload, time)
        if _is_bare_meta(fields) or _is_bare(fields):
            return About(fields, time)
    return About({}, time)


def is_rollout(source: Source) -> bool:
    """Recognises a rollout by its lines: wrapped items, or bare ones in old files."""
    if is_document(source.beginning):
        return True
    first: dict[str, Any] = {}
    known, findings = False, Findings()
    objects = islice(read_objects(source.open_beginning(), findings, is_record), LOOK)
    for number, (fields, _) in enumerate(objects, 1):
        known = known or (fields.get("type") in _WRAPPED and isinstance(fields.get("payload"), dict))
        known = known or (number == 1 and _is_bare_meta(fields)) or (number == 2 and _are_bare(first, fields))
        if known and number >= findings.count("source_bad_line"):  # else it may be a text that shows such lines
            return True
        first = first or fields
    start = source.beginning[:4096].removeprefix(BYTE_ORDER_MARK).lstrip(b"\0 \t\r\n")
    return start.startswith(b"{") and b'"type":"session_meta"' in start and b'"payload":{' in start


def unwrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns a line as `timestamp`, `type` and `payload`, also where it was not wrapped."""
    kind, payload = fields.get("type"), fields.get("payload")
    if isinstance(payload, dict):
        return fields if isinstance(kind, str) else fields | {"type": "unknown", "type of the line": kind}
    if kind in _ITEMS or (kind is None and isinstance(fields.get("role"), str)):
        return {"timestamp": None, "type": "response_item", "payload": fields}
    if _is_bare_meta(fields) or _is_bare(fields):
        return {"timestamp": fields.get("timestamp"), "type": "session_meta", "payload": fields}
    named = kind if isinstance(kind, str) else "state" if "record_type" in fields else "unknown"
    return {"timestamp": fields.get("timestamp"), "type": named, "payload": fields}


def is_document(beginning: bytes) -> bool:
    """Returns whether a file is one JSON document, as the oldest versions wrote it."""
    return any(keys >= {"session", "items"} for keys in item_keys(beginning)) and has_key(beginning, "session", r"\{")


def _are_bare(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Returns whether these are the first lines of an old rollout, whose first line has only an id and a time."""
    return _is_bare(first) and second.get("type") in _ITEMS and "payload" not in second


def _is_bare(fields: dict[str, Any]) -> bool:
    return fields.keys() == {"id", "timestamp"} and isinstance(fields["id"], str)


def _is_bare_meta(fields: dict[str, Any]) -> bool:
    known = any(name in fields for name in ("instructions", "git"))
    return "type" not in fields and isinstance(fields.get("id"), str) and "timestamp" in fields and known


def is_typed(item: dict[str, Any]) -> bool:
    """Returns whether an item is a message that a person typed, not one that the tool put into their mouth."""
    if item.get("type", "message") != "message" or item.get("role") != "user":
        return False
    marked = texts(as_object(item.get(INTERNAL[0])).get("content_item_kinds"))
    if marked:
        return any(kind.startswith("user.") for kind in marked)
    return not text_of(item).lstrip().startswith(_CONTEXTUAL)


def text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    blocks = content if isinstance(content, list) else [content]
    texts = (block.get("text") if isinstance(block, dict) else block for block in blocks)
    return "\n".join(each for each in texts if isinstance(each, str))
