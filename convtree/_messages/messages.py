"""Reads role, text, tool calls and tool results from a message of any provider. Pure.

A message is stored verbatim. These functions know the request formats of OpenAI chat completions, OpenAI Responses,
Anthropic and Gemini, and those of pi and kit. For any other message they return nothing; they never raise.
`_providers.reading` reads the same formats in full; a test keeps both to the same calls and results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Generic, NamedTuple, TypeVar

from convtree._messages.dialects import (
    CALL_BLOCKS,
    GEMINI_CALL_KEYS,
    GEMINI_RESULT_KEYS,
    HIDDEN_RESULT,
    KIT_CALL,
    KIT_RESULT,
    NAMED_CALL_ITEMS,
    PLAIN_OUTPUT_ITEMS,
    RESULT_BLOCKS,
    RESULT_ID_KEYS,
    RESULT_NAME_KEY,
    RESULT_ROLES,
    SEARCH_OUTPUT_ITEM,
    TEXT_BLOCKS,
)

T = TypeVar("T")


class ToolCall(NamedTuple):
    """A tool call: its id, None if the provider gives none, and the name of the tool."""

    id: str | None
    name: str


class OpenCall(NamedTuple):
    """A tool call without a result: its id, the name of the tool, and the id of the entry that made it."""

    id: str | None
    name: str
    entry_id: str


def role_of(message: Mapping[str, Any]) -> str | None:
    """Returns the role. An OpenAI Responses item without one has the role of its producer."""
    role = message.get("role")
    if isinstance(role, str):
        return role
    kind = message.get("type")
    if not isinstance(kind, str):
        return None
    if kind.endswith("_output"):
        return "tool"
    return "assistant" if kind.endswith("_call") or kind == "reasoning" else None


def text_of(message: Mapping[str, Any]) -> str:
    """Returns the text for a person, blocks joined by newlines. Reasoning and tool traffic are left out."""
    if role_of(message) in RESULT_ROLES:
        return ""
    content = message.get("content", message.get("parts"))
    if isinstance(content, str):
        return content
    return "\n".join(text for block in map(_flattened, _mappings(content)) if (text := _visible_text(block)))


def calls_of(message: Mapping[str, Any]) -> list[ToolCall]:
    """Returns the tool calls of a message, in order."""
    calls: list[ToolCall] = []
    kind = _string(message.get("type")) or ""
    if kind.endswith("_call") and (kind in NAMED_CALL_ITEMS or isinstance(message.get("call_id"), str)):
        name = message.get("name") if kind in NAMED_CALL_ITEMS else kind.removesuffix("_call")
        calls.append(ToolCall(_string(message.get("call_id")), _string(name) or ""))
    if isinstance(old := message.get("function_call"), Mapping):  # the first version of OpenAI chat
        calls.append(ToolCall(None, _string(old.get("name")) or ""))
    for call in _mappings(message.get("tool_calls")):
        function = call.get("function", call.get("custom"))
        name = function.get("name") if isinstance(function, Mapping) else None
        calls.append(ToolCall(_string(call.get("id")), _string(name) or ""))
    for block in _mappings(message.get("content")):
        if block.get("type") in CALL_BLOCKS:
            calls.append(ToolCall(_string(block.get("id")), _string(block.get("name")) or ""))
    for part in map(_flattened, _mappings(message.get("parts"))):
        if part.get("type") == KIT_CALL:
            calls.append(ToolCall(_string(part.get("id")), _string(part.get("name")) or ""))
        call = _first_of(part, GEMINI_CALL_KEYS)
        if isinstance(call, Mapping):
            calls.append(ToolCall(_string(call.get("id")), _string(call.get("name")) or ""))
    return calls


def results_of(message: Mapping[str, Any]) -> list[ToolCall]:
    """Returns the calls that a message has results for, in order. Only Gemini, pi and kit repeat the tool's name."""
    results = _own_results(message)
    for key, read in _RESULT_READERS:
        for block in _mappings(message.get(key)):
            results += read(block)
    return results


def _own_results(message: Mapping[str, Any]) -> list[ToolCall]:
    """Returns the calls that a message as a whole is the result of."""
    results: list[ToolCall] = []
    kind = _string(message.get("type")) or ""
    if kind.endswith("_call_output") or (kind == SEARCH_OUTPUT_ITEM and isinstance(message.get("call_id"), str)):
        results.append(ToolCall(_string(message.get("call_id", message.get("id"))), ""))
    if message.get("role") == "function":
        results.append(ToolCall(None, _string(message.get("name")) or ""))
    for key in RESULT_ID_KEYS:
        if isinstance(message.get(key), str):
            results.append(ToolCall(message[key], _string(message.get(RESULT_NAME_KEY)) or ""))
    return results


def _results_in_block(block: Mapping[str, Any]) -> list[ToolCall]:
    return [ToolCall(_string(block.get("tool_use_id")), "")] if block.get("type") in RESULT_BLOCKS else []


def _results_in_part(part: Mapping[str, Any]) -> list[ToolCall]:
    results: list[ToolCall] = []
    part = _flattened(part)
    if part.get("type") == KIT_RESULT:
        results.append(ToolCall(_string(part.get("tool_call_id")), _string(part.get("name")) or ""))
    answer = _first_of(part, GEMINI_RESULT_KEYS)
    if isinstance(answer, Mapping):
        results.append(ToolCall(_string(answer.get("id")), _string(answer.get("name")) or ""))
    return results


_RESULT_READERS = (("content", _results_in_block), ("parts", _results_in_part))


def without_results(message: Mapping[str, Any], numbers: Set[int]) -> dict[str, Any] | None:
    """Returns a message without some of its results, which are numbered as in `results_of`; None if nothing is left."""
    if min(numbers) < len(_own_results(message)):
        return None
    kept: dict[str, list[Any]] = {}
    for key, block, own in _numbered_blocks(message):
        kept.setdefault(key, [])
        if numbers.isdisjoint(own):
            kept[key].append(block)
    left = {**message, **kept}
    return left if left.get("content") or left.get("parts") else None


def with_hidden_results(message: Mapping[str, Any], numbers: Set[int]) -> dict[str, Any]:
    """Returns a message of its shape that answers some of its calls with a placeholder, and says nothing else.

    The results are numbered as in `results_of`.
    """
    if min(numbers) < len(_own_results(message)):
        return _hidden_result(message)
    kept: dict[str, Any] = {"role": message["role"]} if "role" in message else {}
    for key, block, own in _numbered_blocks(message):
        if not numbers.isdisjoint(own):
            kept.setdefault(key, []).append(_hidden_block(key, block))
    return kept


def _numbered_blocks(message: Mapping[str, Any]) -> Iterator[tuple[str, Any, range]]:
    """Yields the blocks of a message, each with the key they are under and the numbers of its results."""
    number = len(_own_results(message))
    for key, read in _RESULT_READERS:
        blocks = message.get(key)
        for block in blocks if isinstance(blocks, list | tuple) else ():
            count = len(read(block)) if isinstance(block, Mapping) else 0
            yield key, block, range(number, number + count)
            number += count


def _hidden_result(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the placeholder of a message that is a result as a whole."""
    kind = _string(message.get("type")) or ""
    if kind.endswith("_output"):  # an item of OpenAI Responses; the output of its special tools cannot be a plain text
        kind = kind if kind in PLAIN_OUTPUT_ITEMS else PLAIN_OUTPUT_ITEMS[0]
        return {"type": kind, "call_id": message.get("call_id", message.get("id")), "output": HIDDEN_RESULT}
    kept = {key: message[key] for key in ("role", *RESULT_ID_KEYS, RESULT_NAME_KEY, "name") if key in message}
    as_blocks = isinstance(message.get("content"), list | tuple)
    return kept | {"content": [{"type": "text", "text": HIDDEN_RESULT}] if as_blocks else HIDDEN_RESULT}


def _hidden_block(key: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the placeholder of a block, or of a part, that is a result."""
    if key == "content":
        return {"type": block["type"], "tool_use_id": block.get("tool_use_id"), "content": HIDDEN_RESULT}
    id, name = _results_in_part(block)[0]
    if block.get("type") == KIT_RESULT:
        return {"type": KIT_RESULT, "data": {"tool_call_id": id, "name": name, "content": HIDDEN_RESULT}}
    spelling = next((each for each in GEMINI_RESULT_KEYS if each in block), GEMINI_RESULT_KEYS[0])
    answer = ({} if id is None else {"id": id}) | {"name": name, "response": {"output": HIDDEN_RESULT}}
    return {spelling: answer}


class PendingCalls(Generic[T]):
    """Calls without a result yet, each with a value. Decides which result answers which call.

    A result answers the oldest open call with its id. If one of the two has no id (Gemini needs none), the tool's name
    decides.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str | None], deque[list[T]]] = {}

    def add(self, call: ToolCall, value: T) -> None:
        """Adds a call."""
        slot = [value]  # empty when answered
        keys = [("name", call.name), ("nameless", call.name) if call.id is None else ("id", call.id)]
        for key in keys:
            self._queues.setdefault(key, deque()).append(slot)

    def answer(self, result: ToolCall) -> T | None:
        """Removes the call that a result answers and returns its value; None if there is none."""
        if result.id is None:
            return self._pop_first(("name", result.name))
        found = self._pop_first(("id", result.id))
        return self._pop_first(("nameless", result.name)) if found is None else found

    def remaining(self) -> list[T]:
        """Returns the values of the calls that have no result."""
        queues = (queue for (kind, _), queue in self._queues.items() if kind == "name")
        return [value for queue in queues for slot in queue for value in slot]

    def _pop_first(self, key: tuple[str, str | None]) -> T | None:
        queue = self._queues.get(key, ())
        while queue:
            if slot := queue.popleft():
                return slot.pop()
        return None


def open_calls(messages: Iterable[tuple[str, Any]]) -> tuple[OpenCall, ...]:
    """Returns the calls without a later result, in order. Takes pairs of entry id and message."""
    pending: PendingCalls[tuple[int, OpenCall]] = PendingCalls()
    count = 0
    for entry_id, message in messages:
        if not isinstance(message, Mapping):
            continue
        for answered in results_of(message):
            pending.answer(answered)
        for call in calls_of(message):
            pending.add(call, (count, OpenCall(call.id, call.name, entry_id)))
            count += 1
    return tuple(call for _, call in sorted(pending.remaining(), key=lambda each: each[0]))


def _flattened(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a part as one object. kit keeps the fields of a part under `data`, beside its type."""
    data = part.get("data")
    return {**data, "type": part.get("type")} if isinstance(data, Mapping) else part


def _first_of(part: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Returns the value under the first of the keys that is there."""
    return next((part[key] for key in keys if key in part), None)


def _visible_text(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind is not None and kind not in TEXT_BLOCKS:
        return ""
    if block.get("thought") is True:  # Gemini's reasoning is a text part with this flag
        return ""
    return _string(block.get("refusal" if kind == "refusal" else "text")) or ""


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list | tuple) else ()


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None
