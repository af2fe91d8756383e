"""The messages of a request that are sent as they are stored: what the shapes share. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convtree._messages.base64_data import standard
from convtree._messages.dialects import SYSTEM_ROLES
from convtree._model.entries import Entry, MessageEntry

Block = dict[str, Any]
#: whether a reply goes to the model that made it
IsTrusted = Callable[[Entry], bool]

#: the keys of most messages, and the roles that may have them
PLAIN = {"role", "content"}
SPOKEN = (*SYSTEM_ROLES, "user", "assistant")


class Conversation:
    """The messages of a request, added one by one.

    Attributes:
        messages: the messages so far.
        system: the system's texts.
        calls: the calls of the last message, as their results name them; results are still to come.
        answered: how many of them have their result.
        speaker: the role of the last message; before the first one, the role that must not begin.
    """

    speaker = ""

    def __init__(self, is_trusted: IsTrusted) -> None:
        self.messages: list[Block] = []
        self.system: list[str] = []
        self.calls: list[Any] = []
        self.answered = 0
        self._ids: set[str] = set()
        self.is_trusted = is_trusted

    def add(self, entry: Entry, message: Block) -> bool:
        """Adds a message; returns False if it may have to be changed."""
        raise NotImplementedError

    def request(self) -> dict[str, Any] | None:
        """Returns the conversation part of the request."""
        raise NotImplementedError

    def take_id(self, id: object, limit: int) -> bool:
        """Returns whether a call's id is new, and not too long."""
        if type(id) is not str or not 0 < len(id) <= limit or id in self._ids:
            return False
        self._ids.add(id)
        return True

    def answer(self, id: object) -> bool:
        """Returns whether a result is that of the next call that has none."""
        if id != self.calls[self.answered]:
            return False
        self.answered += 1
        if self.answered == len(self.calls):
            self.calls, self.answered = [], 0
        return True


def is_said(text: object) -> bool:
    """Returns whether something is a text that is not blank."""
    return type(text) is str and text.strip() != ""


def is_text(block: Block, kind: str = "text") -> bool:
    """Returns whether a block has nothing but a text that is not blank."""
    return len(block) == 2 and block.get("type") == kind and is_said(block.get("text"))


def is_standard(data: object) -> bool:
    return type(data) is str and data != "" and standard(data) is data


def has_shape(entry: Entry) -> bool:
    """Returns whether the shape of a message is stored with it. Without one, some writers join texts."""
    return isinstance(entry, MessageEntry) and entry.shape is not None
