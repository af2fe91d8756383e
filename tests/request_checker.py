"""What the providers refuse, as far as it is known, told of a request: written without a look at `convtree.shapes`."""

import re
from collections.abc import Iterator
from typing import Any, cast

from anthropic.types import MessageParam
from google.genai.types import Content
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputParam
from pydantic import TypeAdapter

TYPES: dict[str, TypeAdapter[Any]] = {
    "openai-chat": TypeAdapter(list[ChatCompletionMessageParam]),
    "openai-responses": TypeAdapter(ResponseInputParam),
    "anthropic": TypeAdapter(list[MessageParam]),
    "gemini": TypeAdapter(list[Content]),
}
KEYS = {
    "openai-chat": {"messages"},
    "openai-responses": {"instructions", "input"},
    "anthropic": {"system", "messages"},
    "gemini": {"system_instruction", "contents"},
}
MAIN = {"openai-chat": "messages", "openai-responses": "input", "anthropic": "messages", "gemini": "contents"}


def check_types(shape: str, request: dict[str, Any]) -> None:
    """Raises unless the SDK's own types take the request, to the last lazy iterator."""
    assert request.keys() <= KEYS[shape]
    consume(TYPES[shape].validate_python(request[MAIN[shape]]))
    for name in request.keys() - {MAIN[shape]}:
        assert request[name], "no empty system text"


def consume(value: Any) -> None:
    """Walks through everything: pydantic checks an Iterable only when it is read."""
    if isinstance(value, dict):
        for each in value.values():
            consume(each)
    elif not isinstance(value, str | bytes | int | float | None) and hasattr(value, "__iter__"):
        for each in value:
            consume(each)


def faults(shape: str, request: dict[str, Any]) -> list[str]:
    """Lists what a provider would refuse in a request, besides its types."""
    return list(CHECKS[shape](request[MAIN[shape]]))


def _chat(messages: list[dict[str, Any]]) -> Iterator[str]:
    wanted: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in wanted:
                yield f"a result of no call just made: {message['tool_call_id']}"
            else:
                wanted.remove(message["tool_call_id"])
            if not isinstance(message["content"], str) and any(b["type"] != "text" for b in message["content"]):
                yield "a tool message with more than text"
            continue
        if wanted:
            yield f"calls without results: {wanted}"
        wanted = [call["id"] for call in message.get("tool_calls") or ()]
        if len(set(wanted)) != len(wanted):
            yield "two calls with one id"
        if not message.get("content") and not message.get("refusal") and not wanted:
            yield "a message that says nothing"
    if wanted:
        yield f"calls without results at the end: {wanted}"


def _responses(items: list[dict[str, Any]]) -> Iterator[str]:
    calls: list[str] = []
    wanted: list[str] = []
    after_reasoning = False
    for item in items:
        kind = item.get("type", "message")
        if after_reasoning and not (kind in ("reasoning", "function_call") or item.get("role") == "assistant"):
            yield "reasoning that leads to nothing"
        after_reasoning = kind == "reasoning"
        if kind == "function_call_output":
            if item["call_id"] not in wanted:
                yield f"a result of no call just made: {item['call_id']}"
            else:
                wanted.remove(item["call_id"])
        elif kind == "function_call":
            if item["call_id"] in calls or not 0 < len(item["call_id"]) <= 64:
                yield f"an id that is taken or too long: {item['call_id']}"
            calls.append(item["call_id"])
            wanted.append(item["call_id"])
        elif wanted and kind != "reasoning" and item.get("role") != "assistant":
            yield f"calls without results: {wanted}"
    if wanted or after_reasoning:
        yield f"calls without results at the end: {wanted}, or reasoning: {after_reasoning}"


def _anthropic(messages: list[dict[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    wanted: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] != ("user", "assistant")[number % 2]:
            yield f"message {number} is the {message['role']}'s"
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if sorted(results) != sorted(wanted):
            yield f"results {results} for calls {wanted}"
        if [block["type"] for block in blocks[: len(results)]] != ["tool_result"] * len(results):
            yield "results are not first"
        for id in calls:
            if id in seen or not re.fullmatch("[a-zA-Z0-9_-]{1,64}", id):
                yield f"an id that is taken or not well formed: {id}"
            seen.add(id)
        if not blocks or any(not block["text"].strip() for block in blocks if block["type"] == "text"):
            yield "an empty text"
        wanted = calls
    if wanted:
        yield f"calls without results at the end: {wanted}"
    if messages and messages[-1]["role"] == "assistant":
        last = messages[-1]["content"]
        text = last if isinstance(last, str) else last[-1].get("text", "")
        if text != text.rstrip():
            yield "white space at the end"


def _gemini(contents: list[dict[str, Any]]) -> Iterator[str]:
    wanted: list[tuple[Any, Any]] = []
    for number, content in enumerate(contents):
        if content["role"] != ("user", "model")[number % 2]:
            yield f"content {number} is the {content['role']}'s"
        if not content["parts"]:
            yield "a content without parts"
        calls = [cast(dict[str, Any], part["functionCall"]) for part in content["parts"] if "functionCall" in part]
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if [(each.get("id"), each["name"]) for each in answers] != wanted:
            yield f"results {answers} for calls {wanted}"
        wanted = [(call.get("id"), call["name"]) for call in calls]
    if wanted:
        yield f"calls without results at the end: {wanted}"


CHECKS = {"openai-chat": _chat, "openai-responses": _responses, "anthropic": _anthropic, "gemini": _gemini}
