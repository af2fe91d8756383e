"""Requests of conversations that are already in the provider's shape: their messages, as they are stored. Pure.

`write` reads messages into parts, orders these, and writes them. Most conversations are with one provider, and what
`write` makes of them is what is stored. One look at each message shows that. In any doubt, and for any message that
`write` might change, there is no such request, and `write` makes it. Both make the same request: the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from convtree._messages.dialects import ANTHROPIC, CHAT, GEMINI, RESPONSES
from convtree._model.entries import Entry, MessageEntry
from convtree._providers.as_stored.anthropic import AnthropicConversation
from convtree._providers.as_stored.conversation import Conversation, IsTrusted
from convtree._providers.as_stored.gemini import GeminiConversation
from convtree._providers.as_stored.openai_chat import ChatConversation
from convtree._providers.as_stored.openai_responses import ResponsesConversation
from convtree._providers.openai_chat import wants_reasoning
from convtree._providers.target import Request, Shape

__all__ = ["as_stored"]

_CONVERSATIONS: dict[str, Callable[[IsTrusted], Conversation]] = {
    CHAT: ChatConversation,
    RESPONSES: ResponsesConversation,
    ANTHROPIC: AnthropicConversation,
    GEMINI: GeminiConversation,
}


def as_stored(
    said: Iterable[tuple[Entry, Any]], shape: Shape, provider: str | None, is_trusted: IsTrusted
) -> Request | None:
    """Returns what `write` would, if that is the messages as they are stored; None in any doubt."""
    if shape == CHAT and wants_reasoning(provider):
        return None
    conversation = _CONVERSATIONS[shape](is_trusted)
    add = conversation.add
    for entry, message in said:
        if type(message) is not dict:
            return None
        if type(entry) is MessageEntry and entry.shape is not None and entry.shape != shape:
            return None
        if not add(entry, message):
            return None
    request = None if conversation.calls or not conversation.messages else conversation.request()
    return None if request is None else Request(request)
