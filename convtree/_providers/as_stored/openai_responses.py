"""Requests for OpenAI Responses whose items are sent as they are stored. Pure."""

from __future__ import annotations

from typing import Any

from convtree._messages.dialects import SYSTEM_ROLES
from convtree._model.entries import Entry, MessageEntry
from convtree._providers.as_stored.conversation import PLAIN, SPOKEN, Block, Conversation, IsTrusted, is_said, is_text
from convtree._providers.openai_responses import ID_LIMIT

_CALL_ITEM = {"type", "call_id", "name", "arguments"}
_OUTPUT_ITEM = {"type", "call_id", "output"}
_MESSAGE_ITEM = {"type", "role", "content"}
_REPLY_ITEM = {"type", "id", "role", "content", "status"}
_OUTPUT_TEXT = {"type", "text", "annotations"}
_OUTPUT_TEXT_KEYS = _OUTPUT_TEXT | {"logprobs"}
_REASONING = {"type", "id", "summary"}
_REASONING_KEYS = _REASONING | {"encrypted_content", "status"}
_MORE_OF_CALL = {"id", "status"}


class ResponsesConversation(Conversation):
    """Items. Reasoning stands before the item that it led to; only behind the user's first words are there ids."""

    def __init__(self, is_trusted: IsTrusted) -> None:
        super().__init__(is_trusted)
        self._begun = False  # the user has spoken: no reasoning of earlier items is missing
        self._reasoned = False  # the last item is reasoning

    def add(self, entry: Entry, message: Block) -> bool:
        kind = message.get("type")
        if kind is None:
            return self._takes_plain(entry, message)
        if kind == "function_call_output":
            return self._takes_output(message)
        if not self._may_follow(entry, message, kind):
            return False
        self._reasoned = kind == "reasoning"
        self.messages.append({"summary": []} | message if self._reasoned else message.copy())
        if kind == "function_call":
            return self._takes_call(message)
        return self._takes_message(entry, message) if kind == "message" else self._reasoned and _is_reasoning(message)

    def request(self) -> dict[str, Any] | None:
        if self._reasoned:
            return None
        return ({"instructions": "\n\n".join(self.system)} if self.system else {}) | {"input": self.messages}

    def _may_follow(self, entry: Entry, item: Block, kind: object) -> bool:
        """Returns whether an item may stand here: nothing but calls behind a call, a reply behind its reasoning."""
        if self.answered or (self.calls and kind != "function_call"):
            return False
        if "id" in item and not (
            self._begun and type(item["id"]) is str and item["id"] != "" and self.is_trusted(entry)
        ):
            return False
        is_reply = kind == "function_call" or (kind == "message" and item.get("role") == "assistant")
        return not self._reasoned or (is_reply and self.is_trusted(entry))

    def _takes_output(self, item: Block) -> bool:
        if item.keys() != _OUTPUT_ITEM or not self.calls or type(item["output"]) is not str:
            return False
        self.messages.append(item.copy())
        return self.answer(item["call_id"])

    def _takes_plain(self, entry: Entry, message: Block) -> bool:
        if message.keys() != PLAIN or self.calls or self._reasoned:
            return False
        role, content = message["role"], message["content"]
        if not is_said(content) or role not in SPOKEN:
            return False
        if role in SYSTEM_ROLES:
            self.system.append(content)
            return not self.messages
        self._begun = self._begun or (role == "user" and type(entry) is MessageEntry)
        self.messages.append(message.copy())
        return True

    def _takes_call(self, item: Block) -> bool:
        keys = item.keys()
        if not (keys >= _CALL_ITEM and keys - _CALL_ITEM <= _MORE_OF_CALL and type(item.get("status", "")) is str):
            return False
        if type(item["arguments"]) is not str or type(item["name"]) is not str or not item["name"]:
            return False
        self.calls.append(item["call_id"])
        return self.take_id(item["call_id"], ID_LIMIT)

    def _takes_message(self, entry: Entry, item: Block) -> bool:
        content = item.get("content")
        if item.keys() == _REPLY_ITEM:
            return item["role"] == "assistant" and type(item["status"]) is str and _are_output(content)
        if item.keys() != _MESSAGE_ITEM or item["role"] != "user":
            return False
        self._begun = self._begun or type(entry) is MessageEntry
        if type(content) is not list or not content:
            return is_said(content)
        return all(type(block) is dict and is_text(block, "input_text") for block in content)


def _is_reasoning(item: Block) -> bool:
    keys = item.keys()
    if not (_REASONING <= keys <= _REASONING_KEYS) or type(item["summary"]) is not list:
        return False
    if not all(type(item[name]) is str for name in keys if name != "summary"):
        return False
    return all(type(each) is dict and is_text(each, "summary_text") for each in item["summary"])


def _are_output(content: Any) -> bool:
    """Returns whether the content of a reply is text, without anything that `write` would take out of it."""
    return (
        type(content) is list
        and content != []
        and all(
            type(block) is dict
            and block.get("type") == "output_text"
            and _OUTPUT_TEXT <= block.keys() <= _OUTPUT_TEXT_KEYS
            and is_said(block["text"])
            and block["annotations"] == block.get("logprobs", []) == []
            for block in content
        )
    )
