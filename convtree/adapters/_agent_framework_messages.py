"""Messages of Microsoft Agent Framework as entries of a log, and back. Reads logs, writes none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent_framework import Content, Message
from pydantic_core import to_jsonable_python

from convtree import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, Session
from convtree.adapters._base import entries_up
from convtree.adapters._dumping import dump_clean

_SHAPE = "agent-framework"


def entries_of(messages: Sequence[Message], model: str | None, usage: dict[str, Any] | None) -> list[MessageEntry]:
    """Returns the entries of messages. The last answer gets the usage."""
    answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
    dumped = [dump_clean(_dump, each) for each in messages]
    return [
        MessageEntry(
            message=message,
            shape=_SHAPE,
            pinned=False,
            model=model if number in answers else None,
            usage=usage if number in answers[-1:] else None,
            extra={"cleaned": cleaned} if cleaned else None,
        )
        for number, (message, cleaned) in enumerate(dumped)
    ]


def _dump(message: Message, fallback: Callable[[Any], str]) -> Any:
    return to_jsonable_python(message.to_dict(), fallback=fallback, inf_nan_mode="constants")


def message_of(entry: MessageEntry) -> Message:
    return Message.from_dict(entry.message)


def upwards(log: Session, leaf: str | None, first: int | None = None) -> Iterator[MessageEntry]:
    """Yields the messages of a session, the last first. `first` of them are read at once."""
    for entry in entries_up(log, leaf, first):
        if isinstance(entry, MessageEntry) and entry.shape == _SHAPE:
            yield entry
        elif isinstance(entry, MessageEntry | CompactionEntry | BranchSummaryEntry):
            yield from _of_others(log, entry)
            return


def _of_others(log: Session, entry: Entry) -> Iterator[MessageEntry]:
    """Yields what a model should see of a conversation down to an entry that this adapter did not write."""
    for message in reversed(log.build_context(leaf=entry).to("openai-chat")["messages"]):
        yield MessageEntry(id=entry.id, message=_translated(message).to_dict(), shape=_SHAPE)


def _translated(message: Mapping[str, Any]) -> Message:
    """Returns a message of chat completions as one of the framework's."""
    given = message.get("content")
    if message["role"] == "tool":
        return Message("tool", [Content.from_function_result(message["tool_call_id"], result=given)])
    parts: Any = [{"type": "text", "text": given}] if isinstance(given, str) else given or []
    contents = [
        Content.from_text(part["text"])
        if part["type"] == "text"
        else Content.from_uri(part["image_url"]["url"], media_type="image/*")
        if part["type"] == "image_url"
        else Content.from_text(f"[{part['type']}]")
        for part in parts
    ]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        contents.append(Content.from_function_call(call["id"], function["name"], arguments=function["arguments"]))
    return Message(message["role"], contents)
