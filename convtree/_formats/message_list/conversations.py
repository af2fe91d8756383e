"""Which objects are messages, and which hold a conversation: its messages in order, and what is beside them. Pure.

A message is what the reader of messages understands, in any shape. A conversation is an object with a list under one of
the keys below, in which at least one message is understood.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convtree._engine.sdk_objects import message_entry
from convtree._formats.common.values import as_object, without
from convtree._messages.dialects import SPEAKERS
from convtree._messages.parts import Part, Unknown
from convtree._messages.said import read
from convtree._model.entries import MessageEntry
from convtree._model.errors import InvalidMessage

#: a list in a file that has no object around it
LIST_KEY = "messages"
#: keys of a conversation's messages, the commonest first
LIST_KEYS = (
    *(LIST_KEY, "conversations", "conversation", "contents", "input", "prompt"),
    *("history", "dialogue", "dialog", "turns", "chat"),
)
#: objects in which a dump or a batch file has the request
_REQUEST_KEYS = ("body", "params", "request", "input")
_SYSTEM_KEYS = ("system", "instructions", "systemInstruction", "system_instruction", "system_prompt")
_ANSWER_KEYS = ("response", "completion", "result")
_ANSWER_INSIDE = ("body", "message")
#: an answer whose fields are among those of the request, as a log of calls may have it
_OWN_ANSWER_KEYS = ("object", "choices", "output", "candidates", "model", "modelVersion", "usage", "usageMetadata")
#: two answers to choose from, in files for preference tuning; the one that was preferred is the second
_CHOICES = (("non_preferred_output", "preferred_output"), ("rejected", "chosen"))
_HOLDING_KEYS = frozenset((*LIST_KEYS, *_REQUEST_KEYS, *(key for pair in _CHOICES for key in pair)))
#: with these a message is a node of a tree, which only its own format can place
_TREE_KEYS = frozenset({"parentUuid", "parentId", "parent_id", "parentMessageId", "parent_message_uuid", "parent"})


class Conversation(NamedTuple):
    """A conversation.

    Attributes:
        messages: Its messages, or whatever stands among them.
        endings: Lists of messages, of which each goes on from the last of `messages`. The last list is the one that
            the conversation goes on with.
        rest: What else the object holds.
    """

    messages: list[Any]
    endings: list[list[Any]]
    rest: dict[str, Any]


def entry_of(fields: dict[str, Any]) -> MessageEntry | None:
    """Returns the entry of a message that is understood, which may say nothing; None if it is not."""
    parts = _parts(fields)
    if parts is None or (parts and not _has_known(parts)):
        return None
    try:
        return message_entry(fields)
    except InvalidMessage:  # an answer with several choices, and no record of which one was continued
        return None


def is_message(fields: Any) -> bool:
    """Returns whether a value is a message that says something."""
    return _has_known(_parts(fields) or ())


def is_record(fields: dict[str, Any]) -> bool:
    """Returns whether an object is a message or a conversation."""
    return is_message(fields) or conversation_of(fields) is not None


def conversation_of(fields: dict[str, Any]) -> Conversation | None:
    """Returns the conversation that an object holds; None if it holds none."""
    if _HOLDING_KEYS.isdisjoint(fields):  # most messages
        return None
    outer = next((key for key in _REQUEST_KEYS if _list_key(as_object(fields.get(key)))), None)
    holder = fields if outer is None else fields[outer]
    name = _list_key(holder)
    pair = next((pair for pair in _CHOICES if all(_has_messages(fields.get(key)) for key in pair)), ())
    if name is None and not pair:
        return None
    system, system_key = _system(holder)
    answer, answer_rest = _answer(fields)
    rest = without(fields, *pair, *answer_rest, outer or "")
    if outer is None:
        rest = without(rest, name or "", system_key)
    else:
        rest |= without({outer: without(holder, name or "", system_key)})
    messages = [*system, *(holder[name] if name is not None else ()), *answer]
    return Conversation(messages, [fields[key] for key in pair], rest | without(answer_rest))


def _parts(fields: Any) -> tuple[Part, ...] | None:
    """Returns what a message says; None if it has no speaker, or its place is in a tree."""
    if not isinstance(fields, dict) or not _TREE_KEYS.isdisjoint(fields):
        return None
    source = read(fields)
    return source.parts if source.role in SPEAKERS else None


def _has_known(parts: tuple[Part, ...]) -> bool:
    return any(not isinstance(part, Unknown) for part in parts)


def _has_messages(value: Any) -> bool:
    return isinstance(value, list) and any(map(is_message, value))


def _list_key(fields: dict[str, Any]) -> str | None:
    """Returns the key of the messages."""
    return next((key for key in LIST_KEYS if _has_messages(fields.get(key))), None)


def _system(fields: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Returns the system prompt beside the messages of a request as a message, and its key."""
    for key in _SYSTEM_KEYS:
        value = fields.get(key)
        content = value if isinstance(value, dict) and "parts" in value else {"content": value}
        message = {"role": "system"} | {name: each for name, each in content.items() if name != "role"}
        if value and is_message(message):
            return [message], key
    return [], ""


def _answer(fields: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the answer beside a request; its key leads to what else is stored with it."""
    for key in _ANSWER_KEYS:
        value = fields.get(key)
        if is_message(value):
            return [fields[key]], {key: None}
        for inner in _ANSWER_INSIDE:
            if is_message(as_object(value).get(inner)):
                return [fields[key][inner]], {key: without(fields[key], inner)}
    own = {key: fields[key] for key in _OWN_ANSWER_KEYS if key in fields}
    return ([own], dict.fromkeys(own)) if is_message(own) else ([], {})
