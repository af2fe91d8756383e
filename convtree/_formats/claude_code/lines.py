"""The kinds of lines in a transcript of Claude Code. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from convtree._formats.common.kept import OURS, is_whole
from convtree._formats.common.values import as_object, key, text
from convtree._model.entries import Visibility

_BOOKKEEPING = (
    *("summary", "custom-title", "ai-title", "tag", "last-prompt", "mode", "permission-mode", "queue-operation"),
    *("file-history-snapshot", "content-replacement", "pr-link"),
)
TITLE = "custom-title"  # the name that a person gave the session
LAST_PROMPT = "last-prompt"  # names the leaf
#: a kind of line -> how well it names the session, and the field with the name; one with a higher number counts
TITLES = {TITLE: (3, "customTitle"), "ai-title": (2, "aiTitle"), "summary": (1, "summary")}
NO_MODEL = "<synthetic>"  # of a message that Claude Code wrote itself
#: fields that name the session
NAMING = ("sessionId", "leafUuid", "messageId", "snapshot")
SPOKEN = ("user", "assistant")
#: kinds of an origin that is no person: what the tool itself says in the place of a prompt
_OWN_ORIGINS = ("task-notification", "auto-continuation", "coordinator", "observer-activity", "plugin")
#: how a text begins that the tool makes of a slash command or a shell command of the person, and of its output
_COMMANDS = ("<command-name>", "<command-message>", "<command-args>", "<local-command-", "<bash-")
_JOINING = ("progress", "attachment", "system")  # lines that stand between a call and its result


class Segment(NamedTuple):
    """What a compaction keeps: the source's ids of the first message and of the last."""

    head: str
    tail: str


def is_node(fields: dict[str, Any]) -> bool:
    """Returns whether a line is a node of the tree."""
    return isinstance(fields.get("uuid"), str) and isinstance(fields.get("type"), str)


def is_line(fields: dict[str, Any]) -> bool:
    """Returns whether a line is Claude Code's: a node of the tree, or bookkeeping."""
    if is_node(fields):
        if fields["type"] in SPOKEN:
            return has_message(fields)
        is_placed = "parentUuid" in fields and "sessionId" in fields
        return fields["type"] in _JOINING and is_placed and "systemPayload" not in fields  # that is Qwen Code's
    return fields.get("type") in _BOOKKEEPING and any(name in fields for name in NAMING)


def has_message(fields: dict[str, Any]) -> bool:
    """Returns whether a line has a message of Anthropic's shape, not one of a tool with the same envelope."""
    message = fields.get("message")
    return isinstance(message, dict) and isinstance(message.get("content"), str | list)


def is_hidden(fields: dict[str, Any]) -> bool:
    """Returns whether the tool says a message in the role of the user, to the model only."""
    if fields.get("isMeta") or as_object(fields.get("origin")).get("kind") in _OWN_ORIGINS:
        return True
    content = as_object(fields.get("message")).get("content")
    if isinstance(content, list) and len(content) == 1:
        content = as_object(content[0]).get("text")
    return isinstance(content, str) and fields.get("type") == "user" and content.lstrip().startswith(_COMMANDS)


def visibility_of(fields: dict[str, Any]) -> Visibility:
    """Returns who sees the message of a line."""
    if fields.get("isVisibleInTranscriptOnly") or fields.get("isApiErrorMessage"):
        return "user"
    return "model" if is_hidden(fields) else "all"


def digest_of(fields: dict[str, Any]) -> int:
    """Returns a digest of what a line says, and below which one, without its clock. It holds for one process."""
    said = [fields.get(name) for name in ("message", "attachment", "rendered")]
    return hash((key(fields.get("parentUuid")), orjson.dumps(said, option=orjson.OPT_SORT_KEYS)))


def is_boundary(fields: dict[str, Any]) -> bool:
    """Returns whether a line is a compact boundary: a compaction follows."""
    return fields.get("type") == "system" and fields.get("subtype") == "compact_boundary"


def is_kept_whole(fields: dict[str, Any]) -> bool:
    """Returns whether a line of an export holds an entry that Claude Code has no line for, or another one for."""
    return is_whole(fields.get(OURS)) and is_node(fields)


def segment_of(boundary: dict[str, Any]) -> Segment | None:
    """Returns the messages that a compact boundary keeps, from its newer or older fields; None without these."""
    metadata = as_object(boundary.get("compactMetadata"))
    ids = as_object(metadata.get("preservedMessages")).get("uuids")
    segment = as_object(metadata.get("preservedSegment"))
    if isinstance(ids, list) and ids:
        head, tail = key(ids[0]), key(ids[-1])
    else:
        head, tail = key(segment.get("headUuid")), key(segment.get("tailUuid"))
    return None if head is None else Segment(head, tail or head)


def stands_between(fields: dict[str, Any]) -> bool:
    """Returns whether a line may be between a call and its result."""
    return fields.get("type") in _JOINING and not is_boundary(fields)


def message_id_of(fields: dict[str, Any]) -> str | None:
    """Returns the id of the model's message that a line is of; None for all other lines."""
    message = fields.get("message")
    return text(message.get("id")) if fields.get("type") == "assistant" and isinstance(message, dict) else None


def results_of(fields: dict[str, Any]) -> frozenset[str]:
    """Returns the ids of the calls that a line answers; empty if it has other blocks than results."""
    message = fields.get("message")
    content = message.get("content") if fields.get("type") == "user" and isinstance(message, dict) else None
    if not isinstance(content, list) or not content:
        return frozenset()
    if not all(isinstance(block, dict) and block.get("type") == "tool_result" for block in content):
        return frozenset()
    return frozenset(str(block.get("tool_use_id")) for block in content)


def text_of_content(content: Any) -> str:
    """Returns the texts of a message's content, joined."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(str(block["text"]) for block in blocks if isinstance(block, dict) and "text" in block)
