"""Requests for OpenAI chat whose messages are sent as they are stored. Pure."""

from __future__ import annotations

from typing import Any

from convtree._model.entries import Entry
from convtree._providers.as_stored.conversation import PLAIN, SPOKEN, Block, Conversation, has_shape, is_said, is_text
from convtree._providers.openai_chat import ID_LIMIT

_CALLING = {"role", "content", "tool_calls"}
_ANSWERING = {"role", "content", "tool_call_id"}


class ChatConversation(Conversation):
    """Any order of roles; results directly behind their calls, in the same order."""

    def add(self, entry: Entry, message: Block) -> bool:
        keys, role = message.keys(), message.get("role")
        if self.calls:
            if keys != _ANSWERING or role != "tool" or type(content := message["content"]) is not str:
                return False
            id = message["tool_call_id"]
            self.messages.append({"role": role, "content": content, "tool_call_id": id})  # in the order of `write`
            return self.answer(id)
        if keys == PLAIN:
            content = message["content"]
            if type(content) is list:
                fits = role == "user" and _are_parts(entry, content)
            else:
                fits = is_said(content) and role in SPOKEN
        else:
            fits = keys == _CALLING and role == "assistant" and self._takes_calls(message)
        self.messages.append(message.copy())
        return fits

    def request(self) -> dict[str, Any]:
        return {"messages": self.messages}

    def _takes_calls(self, message: Block) -> bool:
        content, calls = message["content"], message["tool_calls"]
        if type(calls) is not list or not calls or not (content is None or type(content) is str):
            return False
        for call in calls:
            if type(call) is not dict or len(call) != 3 or call.get("type") != "function":
                return False
            function = call.get("function")
            if type(function) is not dict or len(function) != 2 or type(function.get("arguments")) is not str:
                return False
            if type(function.get("name")) is not str or not function["name"]:
                return False
            if not self.take_id(call.get("id"), ID_LIMIT):
                return False
            self.calls.append(call["id"])
        return True


def _are_parts(entry: Entry, content: list[Any]) -> bool:
    """Returns whether a user's content is sent as it is. Texts alone are joined if their shape is not known."""
    has_image = has_shape(entry)
    for part in content:
        if type(part) is not dict:
            return False
        if not is_text(part):
            link = part.get("image_url")
            if len(part) != 2 or part.get("type") != "image_url" or type(link) is not dict:
                return False
            if type(link.get("url")) is not str or not link["url"].startswith("https://"):
                return False
            has_image = True
    return has_image and bool(content)
