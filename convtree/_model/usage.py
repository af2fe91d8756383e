"""Tokens and cost of an answer, read from any provider's `usage` object. Pure.

`usage_spellings` is the table of what providers and frameworks write. Here it is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import msgspec

from convtree._model.entries import PAID, Record
from convtree._model.usage_spellings import (
    COST_PARTS,
    COST_TOTALS,
    COSTS,
    FURTHER_REQUESTS,
    FURTHER_TYPES,
    SPELLINGS,
    WRAPPER_DEPTH,
    WRAPPERS,
    Counter,
    Path,
    Spelling,
)

_TOKENS_LIMIT = 2**40  # of one answer; a larger number is a provider's mistake and would spoil every sum
_NUMBER = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_LIKE_A_NUMBER = re.compile(r"\s*[-+]?\.?[0-9]")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and the cost that was stored with them. Two can be added.

    Attributes:
        input_tokens: tokens of the prompt that did not come from a cache, and were not written to one.
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


def usage_of(usage: Mapping[str, Any], *, summaries: bool = True) -> Usage:
    """Returns the tokens and the cost of a usage object in any spelling of the table.

    Each token is counted once: input without what came from a cache or was written to one, output with reasoning. A
    number may be a text, as in "123" or "1.5e3". A missing or absurd number counts as 0, as does a spelling that the
    table does not have; `is_known_usage` tells these apart. A summary that the provider itself made for the answer is
    part of its usage; without `summaries`, only the request that the answer came from is counted.
    """
    counted = _first_tokens_in(usage) or Usage()
    if summaries and isinstance(further := usage.get(FURTHER_REQUESTS), list):
        requests = (each for each in further if isinstance(each, dict) and each.get("type") in FURTHER_TYPES)
        together = sum((_tokens_in(each) or Usage() for each in requests), counted)
        counted = together if together.total_tokens < _TOKENS_LIMIT else counted
    cost = next((paid for each in _levels(usage) if (paid := _cost_in(each))), 0.0)
    return msgspec.structs.replace(counted, cost=float(cost))


def is_known_usage(usage: Mapping[str, Any]) -> bool:
    """Returns whether the numbers of a usage object are understood, or it has none.

    False means that it says something and counts as 0 nevertheless: an unknown spelling, or a known one without any
    number in range. Empty objects, nulls and zeros say nothing. A cost alone is understood, unless there are numbers
    about tokens beside it.
    """
    counted = _first_tokens_in(usage)
    if counted is not None and counted.total_tokens:
        return True
    numbers = set(_numbers_in(usage))
    if True in numbers:
        return False
    return not numbers or counted is not None or any(_cost_in(each) for each in _levels(usage))


def usage_stored_in(record: Record) -> dict[str, Any] | None:
    """Returns the usage object that a record carries; None if it has none, or an empty one."""
    return record.usage or None if isinstance(record, PAID) else None


def has_unknown_usage(record: Record) -> bool:
    """Returns whether a record has a usage object that is not understood, see `is_known_usage`."""
    usage = usage_stored_in(record)
    return usage is not None and not is_known_usage(usage)


def _levels(usage: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the object, and the ones that it may only be a wrapper of."""
    level: Mapping[str, Any] | None = usage
    for _ in range(WRAPPER_DEPTH):
        if level is None:
            return
        yield level
        level = next((level[name] for name in WRAPPERS if isinstance(level.get(name), dict)), None)


# --- tokens ---


def _first_tokens_in(usage: Mapping[str, Any]) -> Usage | None:
    """Returns the tokens of the object, or of the one in it; None if no spelling finds a number in either."""
    return next((tokens for each in _levels(usage) if (tokens := _tokens_in(each)) is not None), None)


def _tokens_in(usage: Mapping[str, Any]) -> Usage | None:
    """Returns the tokens in the first spelling that finds some; None if no spelling finds a number."""
    found = None
    for row in sorted({row for key in usage if key in _ROWS for row in _ROWS[key]}):
        if not _fits(SPELLINGS[row], usage):
            continue
        counted = _counted(SPELLINGS[row], usage)
        if counted is not None and counted.total_tokens:
            return counted
        found = counted or found
    return found


def _fits(spelling: Spelling, usage: Mapping[str, Any]) -> bool:
    if spelling.one_of and not _has_any(usage, spelling.one_of):
        return False
    if not spelling.all_of and not spelling.none_of:
        return True  # a shortcut for most of them
    return all(_has_any(usage, (each,)) for each in spelling.all_of) and not _has_any(usage, spelling.none_of)


def _counted(spelling: Spelling, usage: Mapping[str, Any]) -> Usage | None:
    """Returns the tokens of an object in one spelling; None if neither its input nor its output is a number."""
    whole, output = _number(usage, spelling.input), _number(usage, spelling.output)
    if whole is None and output is None:
        return None
    whole, output = (whole or 0) + (_number(usage, spelling.more_input) or 0), output or 0
    read, written = _number(usage, spelling.cache_read) or 0, _number(usage, spelling.cache_write) or 0
    reasoning = _number(usage, spelling.reasoning) or 0
    has_cache, has_reasoning = spelling.input_has_cache, spelling.output_has_reasoning
    if spelling.mixed and (read or written or reasoning):
        total = _number(usage, spelling.total)
        has_cache, has_reasoning = _includes(spelling, whole, output, read + written, reasoning, total)
    return Usage(
        input_tokens=int(max(0, whole - read - written) if has_cache else whole),
        output_tokens=int(output if has_reasoning else output + reasoning),
        cache_read_tokens=int(read),
        cache_write_tokens=int(written),
    )


def _includes(
    spelling: Spelling, whole: float, output: float, cache: float, reasoning: float, total: float | None
) -> tuple[bool, bool]:
    """Returns whether the input includes the cache, and whether the output includes reasoning.

    Args:
        spelling: the row of the table; it says what is usual, and what may be otherwise.
        whole: tokens of the prompt, as they are stored.
        output: tokens of the answer, as they are stored.
        cache: tokens that were read from a cache or written to one.
        reasoning: tokens of the answer that were reasoning.
        total: all tokens, if the object says so.
    """
    usual = spelling.input_has_cache, spelling.output_has_reasoning
    choices = [
        (has_it, not has_it) if name in spelling.mixed else (has_it,)
        for name, has_it in zip(("cache", "reasoning"), usual, strict=True)
    ]
    first: tuple[bool, bool] | None = None
    for has_cache, has_reasoning in product(*choices):
        if (has_cache and cache > whole and "cache" in spelling.mixed) or (has_reasoning and reasoning > output):
            continue
        if total == whole + output + (0 if has_cache else cache) + (0 if has_reasoning else reasoning):
            return has_cache, has_reasoning
        first = first or (has_cache, has_reasoning)
    return first or usual


# --- cost ---


def _cost_in(usage: Mapping[str, Any]) -> float:
    """Returns the first cost that is a number in range, or 0."""
    for name in COSTS:
        value = usage.get(name)
        if isinstance(value, dict):
            found = next((number for each in COST_TOTALS if (number := _value(value.get(each)))), None)
            found = found or sum(_value(value.get(each)) or 0 for each in COST_PARTS)
        else:
            found = _value(value)
        if found:
            return found
    return 0


# --- numbers ---


def _numbers_in(usage: Mapping[str, Any]) -> Iterator[bool]:
    """Yields for each number other than 0, at any depth and in any range, whether a key above it is about tokens."""
    open_items: list[tuple[bool, Any]] = [(False, usage)]
    while open_items:
        of_tokens, value = open_items.pop()
        if isinstance(value, Mapping):
            open_items += [(of_tokens or "token" in key.lower(), each) for key, each in value.items()]
        elif isinstance(value, list):
            open_items += [(of_tokens, each) for each in value]
        elif isinstance(value, str):
            if _LIKE_A_NUMBER.match(value) and _value(value) != 0:
                yield of_tokens
        elif type(value) in (int, float) and value != 0:
            yield of_tokens


def _has_any(usage: Mapping[str, Any], counter: Counter) -> bool:
    """Returns whether one of these paths leads to a value that is not null."""
    for paths in counter:
        for path in paths:
            if path[0] in usage and _at(usage, path) is not None:
                return True
    return False


def _number(usage: Mapping[str, Any], counter: Counter) -> float | None:
    """Returns the first of these counts that is more than 0, else 0 if one of them is a number in range, else None."""
    found: float | None = None
    for paths in counter:
        for path in paths:
            number = _value(_at(usage, path))
            if number is not None:
                found = (found or 0) + number
        if found:
            return found
    return found


def _at(usage: Mapping[str, Any], path: Path) -> Any:
    """Returns the value at a path, or None."""
    value = usage.get(path[0])
    for key in path[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _value(value: Any) -> float | None:
    """Returns a value as a number; None if it is none, or not in range."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return value if type(value) in (int, float) and 0 <= value < _TOKENS_LIMIT else None


def _rows_by_key() -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, spelling in enumerate(SPELLINGS):
        for key in {path[0] for paths in (*spelling.input, *spelling.output) for path in paths}:
            rows.setdefault(key, []).append(row)
    return rows


_ROWS = _rows_by_key()  # key -> the spellings whose input or output may be there
