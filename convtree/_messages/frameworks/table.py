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
    if message.keys() == _PLAIN and isinstance(message["content"], str):
        return None
    for each in FRAMEWORKS:
        if each.fits(message):
            return each
    return None


def known_shapes() -> tuple[str, ...]:
    """Returns the names that a message's `shape` may have."""
    return (*SHAPES, PI, KIT, *(each.name for each in FRAMEWORKS if each.name != WRAPPER), *CUSTOM)
