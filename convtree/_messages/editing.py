"""Messages without some of their results, and placeholders for results that are hidden from the model. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from convtree._messages.dialects import (
    ANTHROPIC,
    CHAT,
    GEMINI,
    GEMINI_RESULT_KEYS,
    HIDDEN_RESULT,
    KIT,
    KIT_RESULT,
    PI,
    PLAIN_OUTPUT_ITEMS,
    RESPONSES,
    RESULT_ID_KEYS,
    RESULT_NAME_KEYS,
)
from convtree._messages.parts import Result, Source
from convtree._messages.said import read

Place = tuple[str | int, ...]
#: a message in another format is a framework's; its placeholder has Gemini's shape, the one that needs no id
_PROVIDERS = (None, CHAT, RESPONSES, ANTHROPIC, GEMINI, PI, KIT)


def without_results(source: Source, results: Sequence[Result]) -> dict[str, Any] | None:
    """Returns a message without some of its results; None if it says nothing else."""
    places = {result.place for result in results}
    is_all = any(not place or isinstance(place[-1], str) for place in places)  # not one of the blocks in a list
    left = None if is_all else _without(source.message, places)
    return left if left is not None and read(left, source.shape).parts else None


def with_hidden_results(source: Source, results: Sequence[Result]) -> dict[str, Any]:
    """Returns a message that answers some of its calls with a placeholder, and says nothing else.

    The placeholder has the shape of the message if a provider has that shape.
    """
    message = source.message
    hidden = sorted(results, key=source.parts.index)
    if source.shape not in _PROVIDERS:
        return {"role": "user", "parts": [_hidden_part({}, result) for result in hidden]}
    if hidden[0].place == ():
        return _hidden_message(message)
    role = {"role": message["role"]} if "role" in message else {}
    blocks = [(_block_at(message, result.place), result) for result in hidden]
    if all(result.shape == ANTHROPIC for result in hidden):
        return role | {"content": [_hidden_block(block, result) for block, result in blocks]}
    if any(block.get("type") == KIT_RESULT for block, _ in blocks):
        return role | {"parts": [_hidden_kit_part(result) for result in hidden]}
    return role | {"parts": [_hidden_part(block, result) for block, result in blocks]}


def _block_at(message: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    block: Any = message
    for step in place:
        block = block[step]
    return block if isinstance(block, Mapping) else {}


def _without(message: Mapping[str, Any], places: Set[Place]) -> dict[str, Any]:
    """Returns a copy of a message without the blocks at these places."""
    copy: dict[str, Any] = dict(message)
    for holder in {place[:-1] for place in places}:
        gone = {place[-1] for place in places if place[:-1] == holder}
        inner: Any = copy
        for step in holder[:-1]:
            inner[step] = list(inner[step]) if isinstance(inner[step], list | tuple) else dict(inner[step])
            inner = inner[step]
        inner[holder[-1]] = [block for number, block in enumerate(inner[holder[-1]]) if number not in gone]
    return copy


def _hidden_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the placeholder of a message that is a result as a whole."""
    kind = message.get("type")
    if isinstance(kind, str) and kind.endswith("_output"):  # the output of special tools cannot be a plain text
        kind = kind if kind in PLAIN_OUTPUT_ITEMS else PLAIN_OUTPUT_ITEMS[0]
        return {"type": kind, "call_id": message.get("call_id", message.get("id")), "output": HIDDEN_RESULT}
    kept = {key: message[key] for key in ("role", *RESULT_ID_KEYS, *RESULT_NAME_KEYS) if key in message}
    as_blocks = isinstance(message.get("content"), list | tuple)
    return kept | {"content": [{"type": "text", "text": HIDDEN_RESULT}] if as_blocks else HIDDEN_RESULT}


def _hidden_block(block: Mapping[str, Any], result: Result) -> dict[str, Any]:
    return {"type": block.get("type"), "tool_use_id": result.id, "content": HIDDEN_RESULT}


def _hidden_kit_part(result: Result) -> dict[str, Any]:
    return {"type": KIT_RESULT, "data": {"tool_call_id": result.id, "name": result.name, "content": HIDDEN_RESULT}}


def _hidden_part(block: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Returns a part in Gemini's shape."""
    spelling = next((each for each in GEMINI_RESULT_KEYS if each in block), GEMINI_RESULT_KEYS[0])
    id = {} if result.id is None else {"id": result.id}
    return {spelling: id | {"name": result.name, "response": {"output": HIDDEN_RESULT}}}
