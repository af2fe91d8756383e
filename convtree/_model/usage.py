"""Tokens and cost of an answer, read from any provider's `usage` object. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_TOKENS_LIMIT = 2**40  # of one answer; a larger number is a provider's mistake and would spoil every sum


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and the cost that was stored with them. Two can be added.

    Attributes:
        input_tokens: tokens of the prompt that did not come from a cache.
        output_tokens: tokens of the answer, reasoning included.
        cache_read_tokens: tokens of the prompt that came from a cache.
        cache_write_tokens: tokens of the prompt that were written to a cache.
        cost: in the caller's currency.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost=self.cost + other.cost,
        )

    @property
    def total_tokens(self) -> int:
        """Input, output, cache reads and cache writes together."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Returns the tokens and the cost of a provider's usage object. A missing or absurd number counts as 0.

    The input of OpenAI and Gemini includes cached tokens, the input of Anthropic does not. Here it never does. Gemini's
    input leaves out the results of its own tools, and its output leaves out its thoughts. Here both are included.
    """
    details = _mapping(usage, "prompt_tokens_details", "input_tokens_details")
    cached_inside = _number(details, "cached_tokens") or _number(
        usage, "cached_content_token_count", "cachedContentTokenCount"
    )
    whole = _number(usage, "prompt_tokens", "prompt_token_count", "promptTokenCount", "input_tokens", "input")
    whole += _number(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount")
    output = _number(
        usage, "completion_tokens", "candidates_token_count", "candidatesTokenCount", "output_tokens", "output"
    )
    cost = usage.get("cost", usage.get("total_cost"))
    if isinstance(cost, Mapping):
        cost = cost.get("total")
    return Usage(
        input_tokens=int(max(0, whole - cached_inside)),
        output_tokens=int(output + _number(usage, "thoughts_token_count", "thoughtsTokenCount")),
        cache_read_tokens=int(cached_inside or _number(usage, "cache_read_input_tokens", "cacheRead")),
        cache_write_tokens=int(_number(usage, "cache_creation_input_tokens", "cacheWrite")),
        cost=float(_number({"cost": cost}, "cost")),
    )


def _mapping(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Returns the first of these fields that is an object, or an empty one."""
    return next((usage[name] for name in names if isinstance(usage.get(name), Mapping)), {})


def _number(usage: Mapping[str, Any], *names: str) -> float:
    """Returns the first of these fields that is a number in range, or 0."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOKENS_LIMIT:
            return value
    return 0
