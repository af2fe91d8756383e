"""The message formats of frameworks: how each is recognised, and the function that reads it. Data only.

A framework's message is recognised by keys that no provider uses. Its parts have no `raw`, because no provider accepts
them as they are, unless the framework keeps a provider's own block or signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from convtree._messages.custom import CUSTOM
from convtree._messages.dialects import KIT, PI, SHAPES
from convtree._messages.frameworks import (
    agent_framework,
    bedrock,
    claude_code,
    cohere,
    google_adk,
    langchain,
    llama_index,
    ollama,
    pydantic_ai,
    sharegpt,
    vercel,
)
from convtree._messages.parts import Part, ReadInner, Source
from convtree._messages.wrappers import is_wrapper, read_wrapper


def _no_facts(_: Mapping[str, Any]) -> dict[str, Any]:
    return {}


class Framework(NamedTuple):
    """A message format: its name, whether a message is in it (by keys alone), its reader, and what else it states.

    The reader sets the source's `role`, and returns the parts in their order. `facts` returns what the message says of
    its origin, under the keys `provider`, `model` and `usage`; see `stated`.
    """

    name: str
    fits: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Source, ReadInner], list[Part]]
    facts: Callable[[Mapping[str, Any]], dict[str, Any]] = _no_facts

    def stated(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the facts that an entry can hold: texts, and a usage that is an object."""
        facts = self.facts(message)
        return {name: fact for name, fact in facts.items() if isinstance(fact, Mapping if name == "usage" else str)}


WRAPPER = "wrapper"
#: the keys of most messages
_PLAIN = {"role", "content"}
_CALLING = {"role", "content", "tool_calls"}
_CALL = {"id", "type", "function"}
#: type of a block -> its keys
_BLOCKS = {
    "text": {"type", "text"},
    "tool_use": {"type", "id", "name", "input"},
    "tool_result": {"type", "tool_use_id", "content"},
    "input_text": {"type", "text"},
    "output_text": {"type", "text", "annotations"},
}
#: a result in OpenAI chat
_ANSWERING = {"role", "tool_call_id", "content"}
#: type of an item of the Responses API -> its keys, without those that it may have besides
_ITEMS = {
    "message": {"type", "role", "content"},
    "function_call": {"type", "call_id", "name", "arguments"},
    "function_call_output": {"type", "call_id", "output"},
}
_MORE_OF_ITEMS = {"id", "status"}
#: a message of Gemini, and the one key of its parts
_OF_GEMINI = {"role", "parts"}
_PARTS_OF_GEMINI = ({"text"}, {"functionCall"}, {"functionResponse"})

#: the most specific first
FRAMEWORKS: tuple[Framework, ...] = (
    Framework(WRAPPER, is_wrapper, read_wrapper),
    Framework("pydantic-ai", pydantic_ai.fits, pydantic_ai.read, pydantic_ai.facts),
    Framework("google-adk", google_adk.fits, google_adk.read, google_adk.facts),
    Framework("langchain", langchain.fits, langchain.read, langchain.facts),
    Framework("claude-code", claude_code.fits, claude_code.read, claude_code.facts),
    Framework("agent-framework", agent_framework.fits, agent_framework.read, agent_framework.facts),
    Framework("llama-index", llama_index.fits, llama_index.read, llama_index.facts),
    Framework("strands", bedrock.fits_strands, bedrock.read, bedrock.facts_of_strands),
    Framework("bedrock", bedrock.fits, bedrock.read),
    Framework("vercel", vercel.fits, vercel.read),
    Framework("cohere", cohere.fits, cohere.read),
    Framework("ollama", ollama.fits, ollama.read),
    Framework("sharegpt", sharegpt.fits, sharegpt.read),
)


def framework_of(message: Mapping[str, Any]) -> Framework | None:
    """Returns the framework whose format a message is in; None if it is in none of them."""
    if _is_of_provider(message):
        return None
    for each in FRAMEWORKS:
        if each.fits(message):
            return each
    return None


def _is_of_provider(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has nothing but text, calls and results, as the providers write them.

    Most messages have. No framework knows such a message as its own, so this saves asking each.
    """
    keys = message.keys()
    if keys == _PLAIN:
        return _is_plain_content(message["content"])
    if keys == _ANSWERING:
        return message["role"] == "tool" and isinstance(message["content"], str)
    if keys == _OF_GEMINI:
        parts = message["parts"]
        return type(parts) is list and all(type(part) is dict and part.keys() in _PARTS_OF_GEMINI for part in parts)
    if type(kind := message.get("type")) is str:
        is_item = keys - _MORE_OF_ITEMS == _ITEMS.get(kind)
        return is_item and (kind != "message" or _is_plain_content(message["content"]))
    if keys != _CALLING or not isinstance(message["content"], str | None):
        return False
    calls = message["tool_calls"]
    return type(calls) is list and all(type(call) is dict and call.keys() == _CALL for call in calls)


def _is_plain_content(content: Any) -> bool:
    return isinstance(content, str) or (type(content) is list and all(map(_is_plain_block, content)))


def _is_plain_block(block: Any) -> bool:
    kind = block.get("type") if type(block) is dict else None
    return type(kind) is str and block.keys() == _BLOCKS.get(kind)


def known_shapes() -> tuple[str, ...]:
    """Returns the names that a message's `shape` may have."""
    return (*SHAPES, PI, KIT, *(each.name for each in FRAMEWORKS if each.name != WRAPPER), *CUSTOM)
