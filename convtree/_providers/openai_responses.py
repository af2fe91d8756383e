"""Writes OpenAI Responses: `instructions` for the first system messages, `input` for all other items. Pure.

A reasoning item is sent only to the model that made it, and only directly before the item it led to. If it is left out,
the ids of its items are left out, too, because the provider would look for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial
from itertools import takewhile
from typing import Any

from convtree._messages.blocks import text_or_none
from convtree._messages.dialects import NAMED_CALL_ITEMS, PLAIN_OUTPUT_ITEMS, RESPONSES
from convtree._messages.hosted import text_of_hosted
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._providers.pairing import pair
from convtree._providers.target import Target
from convtree._providers.writing import (
    accepted,
    as_content,
    as_text,
    by_role,
    by_source,
    data_url,
    media_of,
    named,
    verbatim,
    without_blanks,
    words_of,
)

ID_LIMIT = 64
_FREE = ("compaction", "mcp_approval_response")  # OpenAI's own items that need no id
Item = dict[str, Any]


def write(parts: Sequence[Part], target: Target) -> dict[str, Any]:
    """Writes a conversation as `input`, with `instructions` if it begins with system messages."""
    texts, items = write_items(parts, target)
    instructions = {"instructions": "\n\n".join(text for _, text in texts)} if texts else {}
    return {**instructions, "input": [item for _, item in items]}


def write_items(parts: Sequence[Part], target: Target) -> tuple[list[tuple[str, str]], list[tuple[str, Item]]]:
    """Returns the texts of the first system messages, and the items behind them, each after the id of its entry."""
    paired = pair(without_blanks(parts), target, partial(_takes, asked=_asked(parts)), fits=_fits)
    first = [*takewhile(lambda part: part.role == "system" and isinstance(part, Text), paired)]
    native = _native_pairs(paired)
    loose = _without_reasoning(parts, paired)
    items: list[tuple[str, Item]] = []
    at_edge = True
    for role, group in by_role(paired[len(first) :]):
        if role == "assistant":
            items += _assistant(group, native, at_edge, loose, target)
        else:
            items += _others(role, group, native, target)
            at_edge = at_edge and all(part.source.summary for part in group)
    return [(part.source.entry_id, part.text) for part in first if isinstance(part, Text)], items


def _fits(call: Call) -> bool:
    return (call.shape == RESPONSES and call.source.trusted) or len(call.id or "") <= ID_LIMIT


def _asked(parts: Sequence[Part]) -> set[str | None]:
    """Returns the ids of the approvals that are asked for in the request."""
    return {
        text_or_none(raw.get("id"))
        for part in parts
        if (raw := _trusted_item(part)).get("type") == "mcp_approval_request"
    }


def _takes(part: Part, asked: Set[str | None]) -> bool:
    if isinstance(part, Thinking):
        return part.shape == RESPONSES and part.source.trusted and part.sealed
    if isinstance(part, Media):
        return bool(_trusted_item(part)) or (part.role != "assistant" and _media_block(part) is not None)
    if isinstance(part, Unknown):
        if part.role != "assistant":
            return part.shape == RESPONSES and isinstance((part.raw or {}).get("type"), str)
        return part.source.trusted and bool(_item_of(part))
    return not isinstance(part, Hosted) or _is_taken(part, asked)


def _trusted_item(part: Part) -> Item:
    return _item_of(part) if isinstance(part, Hosted | Media) and part.source.trusted else {}


def _item_of(part: Part) -> Item:
    """Returns the item of a part; empty for a block of a message."""
    raw = part.as_read(RESPONSES) or {}
    return raw if "type" in raw and raw["type"] == part.source.message.get("type") else {}


def _is_taken(part: Hosted, asked: Set[str | None]) -> bool:
    raw = _item_of(part)
    if raw.get("type") == "mcp_approval_response":  # made by the user, not by a model
        return text_or_none(raw.get("approval_request_id")) in asked
    return bool(_trusted_item(part))


def _native_pairs(paired: Sequence[Part]) -> dict[str | None, Call]:
    """Returns the calls by id. Calls of special tools (shell, computer) need a result of the same tool."""
    results = {part.id: part.as_read(RESPONSES) or {} for part in paired if isinstance(part, Result)}
    calls = [part for part in paired if isinstance(part, Call)]
    kinds = {call.id: (call.as_read(RESPONSES) or {}).get("type", "function_call") for call in calls}
    return {
        call.id: call
        for call in calls
        if kinds[call.id] in NAMED_CALL_ITEMS
        or (results[call.id].get("type") == _output_of(kinds[call.id]) and _has_its_id(call, kinds[call.id]))
    }


def _output_of(kind: str) -> str:
    return "tool_search_output" if kind == "tool_search_call" else f"{kind}_output"


def _has_its_id(call: Call, kind: str) -> bool:
    """Returns whether a call can be sent as its kind: two kinds need an id, and an id of another model was removed."""
    return kind not in ("computer_call", "local_shell_call") or "id" in (call.raw or {})


def _without_reasoning(parts: Sequence[Part], sent: Sequence[Part]) -> set[int]:
    """Returns the identities of items whose reasoning is not sent, for example because a redaction changed it.

    They lose their ids, because OpenAI would look for the reasoning.
    """
    kept = {id(part) for part in sent if isinstance(part, Thinking)}
    loose: set[int] = set()
    is_lost = False
    for part in parts:
        if isinstance(part, Thinking):
            is_lost = part.shape == RESPONSES and id(part) not in kept
        elif part.role != "assistant":
            is_lost = False
        elif is_lost:
            loose.add(id(part.source))
    return loose


def _assistant(
    group: list[Part], native: Mapping[str | None, Call], at_edge: bool, loose: Set[int], target: Target
) -> list[tuple[str, Item]]:
    """Returns the items of one turn. `at_edge`: the context begins here, so earlier reasoning may be missing."""
    items: list[tuple[str, Item]] = []
    reasoned = not at_edge
    sources = by_source(group)
    followed = _followed(sources)
    for own, is_followed in zip(sources, followed, strict=True):
        reasoned = reasoned or isinstance(own[0], Thinking)
        keeps_ids = reasoned and id(own[0].source) not in loose
        turn = _turn(own, native, target, is_followed, keeps_ids=keeps_ids)
        items += [(own[0].source.entry_id, item) for item in turn]
    return items


def _followed(sources: list[list[Part]]) -> list[bool]:
    """Returns for each message whether the next one may follow reasoning."""
    followed = [False] * len(sources)
    for place in range(len(sources) - 2, -1, -1):
        next = sources[place + 1][0]
        is_native = next.shape == RESPONSES and next.source.trusted
        followed[place] = is_native and (not isinstance(next, Thinking) or followed[place + 1])
    return followed


def _turn(
    own: list[Part], native: Mapping[str | None, Call], target: Target, followed: bool, *, keeps_ids: bool
) -> list[Item]:
    message = verbatim(own, RESPONSES)
    if message is not None and all(isinstance(part, Text) for part in own) and _is_valid(message, keeps_ids):
        return [message]
    if own[0].source.shape != RESPONSES:  # whose words behind a call would stand between it and its result
        own = sorted(own, key=lambda part: isinstance(part, Call))
    items: list[Item] = []
    texts: list[str] = []
    for part in own:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Thinking):
            items += _reasoning(part, followed, target)
        else:
            items += _words(texts, own[0]) + _call(part, native, keeps_ids)
            texts = []
    return items + _words(texts, own[0])


def _is_valid(message: Item, keeps_ids: bool) -> bool:
    """Returns whether an assistant's message can be sent unchanged. Output blocks need an id; plain text does not."""
    return keeps_ids if "id" in message else isinstance(message.get("content"), str)


def _words(texts: list[str], like: Part) -> list[Item]:
    """Returns an assistant's message with the `phase` of the one it was read from."""
    if not texts:
        return []
    source = like.source
    phase = source.message.get("phase") if source.shape == RESPONSES and not source.foreign else None
    return [{"role": "assistant", "content": "\n".join(texts)} | ({"phase": phase} if phase else {})]


def _reasoning(part: Thinking, followed: bool, target: Target) -> list[Item]:
    if not followed:
        target.leave_out(part, "reasoning", "no item of its model follows the reasoning")
        return []
    return [{"summary": []} | dict(part.raw or {})]


def _call(part: Part, native: Mapping[str | None, Call], keeps_ids: bool) -> list[Item]:
    raw = part.as_read(RESPONSES)
    if raw is not None and not keeps_ids:
        raw.pop("id", None)
    if not isinstance(part, Call):  # most need their ids
        assert raw is not None  # only such parts are accepted
        if "id" not in part.source.message or keeps_ids or part.source.message["type"] in _FREE:
            return [raw]
        text = text_of_hosted(raw) if not isinstance(part, Media) else named(part)
        return _words([text], part) if text else []
    if raw is not None and part.id in native:
        return [raw | {"call_id": part.id}]
    start = {"call_id": part.id, "name": part.name}
    if part.custom:
        return [{"type": "custom_tool_call", **start, "input": as_text(part.arguments)}]
    return [{"type": "function_call", **start, "arguments": as_text(part.arguments)}]


def _others(role: str, group: list[Part], native: Mapping[str | None, Call], target: Target) -> list[tuple[str, Item]]:
    results = [part for part in group if isinstance(part, Result)]
    items = [(part.source.entry_id, _result(part, native.get(part.id), target)) for part in results]
    for own in by_source(part for part in group if not isinstance(part, Result)):
        items += [(own[0].source.entry_id, item) for item in _said(role, own)]
    return items


def _said(role: str, own: list[Part]) -> list[Item]:
    """Returns the items of one message that is not the assistant's."""
    if message := verbatim(own, RESPONSES):
        return [message]
    items = [raw for part in own if isinstance(part, Hosted | Unknown) and (raw := _item_of(part))]
    blocks = [_block(part) for part in own if not _item_of(part)]
    if blocks:
        items.append({"role": "developer" if role == "system" else role, "content": as_content(blocks)})
    return items


def _result(result: Result, call: Call | None, target: Target) -> Item:
    kind = "custom_tool_call_output" if call is not None and call.custom else "function_call_output"
    called = call.as_read(RESPONSES) if call is not None else None
    if called is not None:
        kind = _output_of(called["type"])
    raw = result.as_read(RESPONSES)
    if raw is not None and raw["type"] == kind and ("output" in raw or kind not in PLAIN_OUTPUT_ITEMS):
        return raw | ({"call_id": result.id} if "call_id" in raw else {})
    media = media_of(result)
    words = words_of(result)
    if not media:
        return {"type": kind, "call_id": result.id, "output": words}
    blocks = [_block(part) for part in accepted(media, partial(_takes, asked=set()), target)]
    start = [{"type": "input_text", "text": words}] if words else []
    return {"type": kind, "call_id": result.id, "output": start + blocks}


def _block(part: Part) -> Item:
    if isinstance(part, Media):
        block = _media_block(part)
        assert block is not None  # only such media are accepted
        return block
    raw = part.as_read(RESPONSES)
    if raw is not None and (isinstance(part, Unknown) or raw.get("type") == "input_text"):
        return raw
    assert isinstance(part, Text)
    return {"type": "input_text", "text": part.text}


def _media_block(media: Media) -> Item | None:
    """Returns media as a block; None if no block can hold them."""
    raw = media.as_read(RESPONSES) or {}
    if raw.get("type") in ("input_image", "input_file"):
        return ({"detail": "auto"} | raw) if raw["type"] == "input_image" else raw  # optional in results only
    url = data_url(media)
    if media.kind == "image" and url:
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    if media.kind == "document" and url:
        if media.data is None:
            return {"type": "input_file", "file_url": url}
        return {"type": "input_file", "filename": media.name or "file.pdf", "file_data": url}
    return None
