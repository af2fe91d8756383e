"""Requests for Anthropic whose messages are sent as they are stored. Pure."""

from __future__ import annotations

from typing import Any

from convtree._messages.dialects import SYSTEM_ROLES
from convtree._model.entries import Entry
from convtree._providers.anthropic import ID, trimmed
from convtree._providers.as_stored.conversation import (
    PLAIN,
    Block,
    Conversation,
    has_shape,
    is_standard,
    is_text,
)


class AnthropicConversation(Conversation):
    """User and assistant in turns, the user first; results first in a message."""

    speaker = "assistant"

    def add(self, entry: Entry, message: Block) -> bool:
        if message.keys() != PLAIN:
            return False
        role, content = message["role"], message["content"]
        if type(content) is str:
            if self.calls or not content.strip():
                return False
            if role in SYSTEM_ROLES:
                self.system.append(content)
                return True
        elif type(content) is not list or not self._takes(entry, role, content):
            return False
        if role not in ("user", "assistant") or (role == self.speaker == "assistant"):
            return False
        if role == self.speaker:
            before = self.messages[-1]["content"]
            self.messages[-1] = {"role": role, "content": _blocks(before) + _blocks(content)}
        else:
            self.messages.append(message.copy())
            self.speaker = role
        return True

    def request(self) -> dict[str, Any]:
        if self.speaker == "assistant":
            self.messages[-1] = trimmed(self.messages[-1])
        return ({"system": "\n\n".join(self.system)} if self.system else {}) | {"messages": self.messages}

    def _takes(self, entry: Entry, role: object, blocks: list[Any]) -> bool:
        """Returns whether blocks are sent as they are. Texts alone are joined if their shape is not known."""
        if not blocks or not (self._takes_reply(entry, blocks) if role == "assistant" else self._takes_said(blocks)):
            return False
        return blocks[-1]["type"] != "text" or has_shape(entry) or any(block["type"] != "text" for block in blocks)

    def _takes_reply(self, entry: Entry, blocks: list[Any]) -> bool:
        """Returns whether blocks of a reply are sent as they are. Thinking is never the last."""
        if self.calls:
            return False
        kind = None
        for block in blocks:
            if type(block) is not dict:
                return False
            kind = block.get("type")
            if kind == "tool_use":
                if not self._takes_call(block):
                    return False
            elif not (is_text(block) if kind == "text" else _is_thinking(block) and self.is_trusted(entry)):
                return False
        return kind in ("text", "tool_use")

    def _takes_call(self, block: Block) -> bool:
        id, name = block.get("id"), block.get("name")
        if len(block) != 4 or type(block.get("input")) is not dict or type(name) is not str or not name:
            return False
        self.calls.append(id)
        return self.take_id(id, 64) and ID.fullmatch(str(id)) is not None

    def _takes_said(self, blocks: list[Any]) -> bool:
        """Returns whether blocks of the user are sent as they are. Results come first, in the order of their calls."""
        waiting = len(self.calls)
        for place, block in enumerate(blocks):
            if type(block) is not dict:
                return False
            if place < waiting:
                if block.get("type") != "tool_result" or not _is_result(block) or not self.answer(block["tool_use_id"]):
                    return False
            elif not (is_text(block) or _is_image(block)):
                return False
        return not self.calls


def _blocks(content: Any) -> list[Block]:
    return [{"type": "text", "text": content}] if type(content) is str else content


def _is_image(block: Block) -> bool:
    source = block.get("source")
    if len(block) != 2 or block.get("type") != "image" or type(source) is not dict or source.get("type") != "base64":
        return False
    return len(source) == 3 and type(source.get("media_type")) is str and is_standard(source.get("data"))


def _is_thinking(block: Block) -> bool:
    """Returns whether a block is sealed reasoning."""
    if block.get("type") == "redacted_thinking":
        return len(block) == 2 and type(data := block.get("data")) is str and data != ""
    signature = block.get("signature")
    fits = len(block) == 3 and block.get("type") == "thinking" and type(block.get("thinking")) is str
    return fits and type(signature) is str and signature != "" and not signature.startswith("{")


def _is_result(block: Block) -> bool:
    """Returns whether a result is sent as it is. That of an error has text, and only text."""
    content, size = block.get("content"), len(block)
    is_error = size == 4 and block.get("is_error")
    if type(is_error) is not bool or size != 3 + ("is_error" in block) or "tool_use_id" not in block:
        return False
    if type(content) is str:
        return not is_error or content.strip() != ""
    if type(content) is not list or not content:
        return False
    return all(type(each) is dict and (is_text(each) or (not is_error and _is_image(each))) for each in content)
