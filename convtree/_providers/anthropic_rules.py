"""Anthropic's rules that a conversation can break once parts of it are cut off or merged. Pure.

Thinking comes first in a message and never last. A call of a server tool needs its result, and the other way round. At
most four blocks have a cache mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from convtree._messages.blocks import text_or_none
from convtree._messages.hosted import text_of_hosted
from convtree._messages.parts import Call, Hosted, Part, Result, Thinking
from convtree._providers.target import Target
from convtree._providers.writing import text_part

_MARK = "cache_control"
_MARKS_LIMIT = 4
_USES = ("server_tool_use", "mcp_tool_use")
Block = dict[str, Any]


def without_last_thoughts(parts: Sequence[Part], target: Target) -> list[Part]:
    """Leaves out thinking without a reply, because it would be the last block of an assistant's message."""
    kept: list[Part] = []
    for part in reversed(parts):
        if not isinstance(part, Thinking) or (kept and kept[-1].role == "assistant"):
            kept.append(part)
        else:
            target.leave_out(part, "reasoning", "no reply follows the reasoning")
    return kept[::-1]


def thinking_first(group: list[Part]) -> list[Part]:
    """Moves the first thinking to the front if several messages were merged into one."""
    first = next((place for place, part in enumerate(group) if isinstance(part, Thinking)), 0)
    if first == 0 or group[0].source is group[first].source:
        return group
    end = next((place for place in range(first, len(group)) if not isinstance(group[place], Thinking)), len(group))
    return group[first:end] + group[:first] + group[end:]


def with_whole_pairs(parts: Iterable[Part]) -> list[Part]:
    """Turns calls of Anthropic's own tools without a result, and results without a call, into text.

    A call after the user's last message may still get its result, so it stays. A call keeps the mark that another call
    made it only if that one stays, too.
    """
    listed = list(parts)
    waiting: dict[str | None, Part] = {}
    whole: set[int] = set()
    made: set[str | None] = set()
    for part in listed:
        if part.role == "user" and not isinstance(part, Result):
            waiting.clear()
        raw = _server_block(part)
        if raw.get("type") in _USES:
            waiting[text_or_none(raw.get("id"))] = part
        elif (asked := waiting.pop(answered := text_or_none(raw.get("tool_use_id")), None)) is not None:
            whole |= {id(asked), id(part)}
            made.add(answered)
    whole |= {id(part) for part in waiting.values()}
    made |= set(waiting)
    return [
        _called(part, made)
        if not _is_of_a_pair(_server_block(part)) or id(part) in whole
        else text_part(part.role, text_of_hosted(_server_block(part)) or f"[{_server_block(part).get('type')}]", part)
        for part in listed
    ]


def with_few_marks(system: Any, messages: list[Block]) -> list[Block]:
    """Removes the oldest cache marks of messages beyond Anthropic's limit. Those of the system prompt stay."""
    spare = _count(system) + _count(messages) - _MARKS_LIMIT
    if spare <= 0:
        return messages
    left = iter(range(spare))
    return [_unmarked(message, left) for message in messages]


def _server_block(part: Part) -> Mapping[str, Any]:
    return part.raw if isinstance(part, Hosted) and part.raw is not None else {}


def _is_of_a_pair(raw: Mapping[str, Any]) -> bool:
    return raw.get("type") in _USES or str(raw.get("type")).endswith("_tool_result")


def _called(part: Part, made: set[str | None]) -> Part:
    """Returns a call without its `caller` if that call is left out."""
    caller = part.raw.get("caller") if isinstance(part, Call) and part.raw is not None else None
    if not isinstance(caller, Mapping) or part.raw is None or caller.get("tool_id") in (None, *made):
        return part
    return msgspec.structs.replace(part, raw={name: value for name, value in part.raw.items() if name != "caller"})


def _count(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_count, value))
    if not isinstance(value, dict):
        return 0
    return (value.get(_MARK) is not None) + _count(value.get("content"))


def _unmarked(value: Any, spare: Iterator[int]) -> Any:
    """Returns blocks without cache marks, as long as `spare` yields; it is shared by all messages."""
    if isinstance(value, list):
        return [_unmarked(each, spare) for each in value]
    if not isinstance(value, dict):
        return value
    block = value | ({"content": _unmarked(value["content"], spare)} if "content" in value else {})
    if block.get(_MARK) is not None and next(spare, None) is not None:
        del block[_MARK]
    return block
