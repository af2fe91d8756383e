"""Requests for Gemini whose contents are sent as they are stored. Pure."""

from __future__ import annotations

from typing import Any

from convtree._messages.dialects import SYSTEM_ROLES
from convtree._model.entries import Entry
from convtree._providers.as_stored.conversation import PLAIN, SPOKEN, Block, Conversation, is_said, is_standard

_CONTENT = {"role", "parts"}
_SIGNATURE = "thoughtSignature"


class GeminiConversation(Conversation):
    """User and model in turns, the user first; results first in a message, in the order of the calls."""

    speaker = "model"

    def add(self, entry: Entry, message: Block) -> bool:
        if message.keys() == _CONTENT:
            role, parts = message["role"], message["parts"]
            if type(parts) is not list or not parts:
                return False
            fits = self._takes_reply(entry, parts) if role == "model" else role == "user" and self._takes_said(parts)
            content = message.copy()
        else:
            if message.keys() != PLAIN or self.calls:
                return False
            role, text = message["role"], message["content"]
            fits = is_said(text) and role in SPOKEN
            if role in SYSTEM_ROLES:
                self.system.append(text)
                return fits
            role = "model" if role == "assistant" else role
            content = {"role": role, "parts": [{"text": text}]}
        if not fits or role == self.speaker == "model":
            return False
        if role == self.speaker:
            before = self.messages[-1]["parts"]
            if "functionResponse" in before[0]:  # `write` would give its keys another order
                return False
            self.messages[-1] = {"role": role, "parts": before + content["parts"]}
        else:
            self.messages.append(content)
            self.speaker = role
        return True

    def request(self) -> dict[str, Any]:
        system = {"system_instruction": "\n\n".join(self.system)} if self.system else {}
        return system | {"contents": self.messages}

    def _takes_reply(self, entry: Entry, parts: list[Any]) -> bool:
        """Returns whether parts of a reply are sent as they are. All but plain text is for the model that made it."""
        if self.calls:
            return False
        trusted = None
        for part in parts:
            if type(part) is not dict:
                return False
            if is_said(part.get("text")):
                if len(part) == 1:
                    continue
                fits = len(part) == 1 + (_SIGNATURE in part) + (part.get("thought") is True)
            else:
                fits = "functionCall" in part and len(part) == 1 + (_SIGNATURE in part)
                fits = fits and self._takes_call(part["functionCall"])
            trusted = self.is_trusted(entry) if trusted is None else trusted
            if not fits or not trusted or not _is_signature(part.get(_SIGNATURE, "none")):
                return False
        return True

    def _takes_call(self, call: Any) -> bool:
        if type(call) is not dict or len(call) != 2 + ("id" in call) or type(call.get("args")) is not dict:
            return False
        name, id = call.get("name"), call.get("id")
        self.calls.append((name, id))
        return type(name) is str and name != "" and ("id" not in call or (type(id) is str and id != ""))

    def _takes_said(self, parts: list[Any]) -> bool:
        """Returns whether parts of the user are sent as they are. Results come first, in the order of their calls."""
        waiting = len(self.calls)
        for place, part in enumerate(parts):
            if type(part) is not dict or len(part) != 1:
                return False
            ((kind, value),) = part.items()
            if place < waiting:
                if kind != "functionResponse" or not self._takes_result(value):
                    return False
            elif not (_is_media(value) if kind == "inlineData" else kind == "text" and is_said(value)):
                return False
        return not self.calls

    def _takes_result(self, result: Any) -> bool:
        if type(result) is not dict or len(result) != 2 + ("id" in result) or type(result.get("response")) is not dict:
            return False
        id = result.get("id")
        return ("id" not in result or type(id) is str) and self.answer((result.get("name"), id))


def _is_signature(value: Any) -> bool:
    """Returns whether a signature is spelt as the provider does, not as its SDK does."""
    return type(value) is str and value != "" and "-" not in value and "_" not in value


def _is_media(data: Any) -> bool:
    if type(data) is not dict or len(data) != 2 or type(data.get("mimeType")) is not str:
        return False
    return data["mimeType"] != "" and is_standard(data.get("data"))
