"""What the providers refuse, as far as it is known: written without a look at `convtree._providers`."""

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


NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
GEMINI_NAME = re.compile("[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
GEMINI_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")


def faults(shape: str, request: dict[str, Any]) -> list[str]:
    """Lists what a provider would refuse in a request, besides its types."""
    found = list(CHECKS[shape](request[MAIN[shape]]))
    if shape == "anthropic" and (marks := marked(request.get("system")) + marked(request["messages"])) > 4:
        found.append(f"{marks} blocks with cache_control")
    return found


def marked(value: Any) -> int:
    """Counts the marks for Anthropic's cache."""
    if isinstance(value, list):
        return sum(map(marked, value))
    return ("cache_control" in value) + sum(map(marked, value.values())) if isinstance(value, dict) else 0


def _link(url: Any) -> Iterator[str]:
    """A link for OpenAI: something on the web, or an image or PDF in it."""
    data = [f"data:{mime};base64," for mime in (*IMAGES, "application/pdf")]
    if not str(url).startswith(("https://", "http://", *data)):
        yield f"no link: {url}"


def _chat_content(message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if message["role"] != "assistant" and not isinstance(content, str | list):
        yield f"no content in the {message['role']}'s message"
    for block in content if isinstance(content, list) else ():
        if message["role"] != "user" and block["type"] not in ("text", "refusal"):
            yield f"{block['type']} from the {message['role']}"
        if block["type"] == "image_url":
            yield from _link(block["image_url"]["url"])
        if block["type"] == "file" and "file_id" not in block["file"]:
            yield from _link(block["file"]["file_data"])
    for call in message.get("tool_calls") or ():
        if not NAME.fullmatch(call[call["type"]]["name"]):
            yield f"a name: {call}"
    if message.get("tool_calls", True) == [] or (message.get("audio") or {}).keys() > {"id"}:
        yield "an empty list of calls, or an answer's sound"


def _chat(messages: list[dict[str, Any]]) -> Iterator[str]:
    wanted: list[str] = []
    for message in messages:
        yield from _chat_content(message)
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
        yield from _item(kind, item)
        if after_reasoning and not (kind == "reasoning" or kind.endswith("_call") or item.get("role") == "assistant"):
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
        elif wanted and kind not in ("reasoning", "web_search_call") and item.get("role") != "assistant":
            yield f"calls without results: {wanted}"
    if wanted or after_reasoning:
        yield f"calls without results at the end: {wanted}, or reasoning: {after_reasoning}"


def _item(kind: str, item: dict[str, Any]) -> Iterator[str]:
    """What is wrong with an item by itself."""
    if any(value is None for value in item.values()):
        yield f"a member without a value: {item}"
    if kind == "function_call" and not NAME.fullmatch(item["name"]):
        yield f"a name: {item['name']}"
    if kind in ("web_search_call", "mcp_approval_request") and "id" not in item:
        yield f"a {kind} without its id"
    content = item.get("output" if kind.endswith("call_output") else "content")
    simple = kind in ("message", "function_call_output", "custom_tool_call_output")
    for block in content if simple and isinstance(content, list) else ():
        if (item.get("role") == "assistant") != (block["type"] in ("output_text", "refusal")):
            yield f"{block['type']} from {item.get('role', kind)}"
        if block["type"] == "output_text" and "id" not in item:
            yield "output without an id"
        if block["type"] == "input_image" and "image_url" in block:
            yield from _link(block["image_url"])
        if block["type"] == "input_file" and "file_id" not in block:
            yield from _link(block.get("file_url", block.get("file_data")))


def _source(block: dict[str, Any]) -> Iterator[str]:
    """What is wrong with an image or a document for Anthropic."""
    source = block["source"]
    mimes = (*IMAGES, "application/pdf")
    if source["type"] == "base64" and source["media_type"] not in mimes:
        yield f"a {source['media_type']}"
    if source["type"] == "url" and not source["url"].startswith("https://"):
        yield f"no link: {source['url']}"


def _blocks(role: str, blocks: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with the blocks of a message to Anthropic by themselves."""
    kinds = [block["type"] for block in blocks]
    thinking = [kind in ("thinking", "redacted_thinking") for kind in kinds]
    if any(thinking) and (not thinking[0] or thinking[-1] or role == "user"):
        yield "thinking that is not first, or last"
    for block in blocks:
        if block["type"] in ("image", "document"):
            yield from _source(block) if role == "user" else ["a picture of an assistant's"]
        if block["type"] == "tool_use" and not NAME.fullmatch(block["name"]):
            yield f"a name: {block['name']}"
        inner = block.get("content") if block["type"] == "tool_result" else None
        for each in inner if isinstance(inner, list) else ():
            if each["type"] == "text" and not each["text"].strip():
                yield "an empty text in a result"
            if each["type"] != "text" and block.get("is_error"):
                yield "an error with more than text"
            if each["type"] in ("image", "document"):
                yield from _source(each)


def _server_tools(messages: list[dict[str, Any]]) -> Iterator[str]:
    """What Anthropic's own tools were asked has what they gave, before the user speaks again."""
    waiting: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else [{"type": "text"}]
        for block in blocks:
            if block["type"] == "server_tool_use":
                waiting.append(block["id"])
            elif block["type"] == "web_search_tool_result":
                if block["tool_use_id"] not in waiting:
                    yield "a search that nobody asked for"
                else:
                    waiting.remove(block["tool_use_id"])
            elif message["role"] == "user" and block["type"] != "tool_result" and waiting:
                yield f"searches without results: {waiting}"


def _anthropic(messages: list[dict[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    wanted: list[str] = []
    yield from _server_tools(messages)
    for number, message in enumerate(messages):
        if message["role"] != ("user", "assistant")[number % 2]:
            yield f"message {number} is the {message['role']}'s"
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        yield from _blocks(message["role"], blocks)
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


def _part(part: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a part for Gemini by itself."""
    if part.get("text") == "" and "thoughtSignature" not in part:
        yield "an empty text"
    media = part.get("inlineData", part.get("fileData"))
    mime = media["mimeType"] if media else "text/plain"
    if mime not in (*GEMINI_IMAGES, "application/pdf") and not mime.startswith(("text/", "audio/", "video/")):
        yield f"a {mime}"
    named = part.get("functionCall", part.get("functionResponse"))
    if named and not GEMINI_NAME.fullmatch(named["name"]):
        yield f"a name: {named['name']}"


def unsigned(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lists the contents whose first call has no signature: Gemini's newer models always give one and want one."""
    first = [[part for part in content["parts"] if "functionCall" in part][:1] for content in contents]
    return [part for parts in first for part in parts if "thoughtSignature" not in part]


def _gemini(contents: list[dict[str, Any]]) -> Iterator[str]:
    wanted: list[tuple[Any, Any]] = []
    for number, content in enumerate(contents):
        if content["role"] != ("user", "model")[number % 2]:
            yield f"content {number} is the {content['role']}'s"
        if not content["parts"]:
            yield "a content without parts"
        for part in content["parts"]:
            yield from _part(part)
        calls = [cast(dict[str, Any], part["functionCall"]) for part in content["parts"] if "functionCall" in part]
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if [(each.get("id"), each["name"]) for each in answers] != wanted:
            yield f"results {answers} for calls {wanted}"
        wanted = [(call.get("id"), call["name"]) for call in calls]
    if wanted:
        yield f"calls without results at the end: {wanted}"


CHECKS = {"openai-chat": _chat, "openai-responses": _responses, "anthropic": _anthropic, "gemini": _gemini}
