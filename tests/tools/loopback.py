"""A server on the loopback interface that answers like the APIs of the providers, by a script in the prompts.

A prompt `CALL <command>` is answered by a call of the tool's shell, `USE <name> <arguments as JSON>` by a call of any
of its tools, any other by a text that is different each time. Every request is recorded with what was handed out for
it, so that a test can compare what a tool wrote to its disk with what it has asked, and its counts with what the server
has said.

The shapes: Anthropic messages, OpenAI chat completions and responses, Gemini; streamed if that was asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

SHELLS = ("exec_command", "shell_command", "shell", "Bash", "run_shell_command", "bash")
"""The names under which tools offer their shell."""


class Handed(NamedTuple):
    """The token counts of one answer, different in each. `input` includes `cached`."""

    input: int
    cached: int
    output: int


class Call(NamedTuple):
    """A call of one of the tools."""

    name: str
    arguments: dict[str, Any]


class Asked(NamedTuple):
    """One request: its number from 1, its path, its body, and what was answered: a text or a call."""

    number: int
    path: str
    body: dict[str, Any]
    text: str | None
    call: Call | None
    usage: Handed

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer must have; tools ask so which model to use, and the like."""
        wanted = self.body.get("generationConfig") or {}
        return wanted.get("responseJsonSchema") or wanted.get("responseSchema")

    @property
    def has_tools(self) -> bool:
        """Whether the request offers tools. Requests for titles and the like offer none."""
        return bool(self.body.get("tools"))


class Loopback:
    """The server; a context manager. `asked` holds the requests in the order of their arrival."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Loopback:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> Asked:
        """Decides what is answered, and records it."""
        last = last_prompt(body)
        with self._lock:
            number = len(self.asked) + 1
            usage = Handed(1000 + 7 * number, 100 + number, 10 + 3 * number)
            call = called_by(last, body) if body.get("tools") else None
            asked = Asked(number, path, body, None if call else f"Answer {number}.", call, usage)
            self.asked.append(asked)
        return asked

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(json.dumps({"data": [], "models": [], "object": "list"}).encode(), "application/json")

            def do_HEAD(self) -> None:
                self._send(b"", "application/json")

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(raw or b"{}")
                except ValueError:
                    body = {}
                data, kind = respond(server, self.path, body if isinstance(body, dict) else {})
                self._send(data, kind)

            def _send(self, data: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def respond(server: Loopback, path: str, body: dict[str, Any]) -> tuple[bytes, str]:
    """Returns the answer to a request, and its content type."""
    route = path.split("?", maxsplit=1)[0]
    streams = bool(body.get("stream")) or "stream" in route.rsplit(":", 1)[-1]
    if "count" in route.lower():
        return json.dumps({"input_tokens": 10, "totalTokens": 10}).encode(), "application/json"
    writers = {"/messages": anthropic, "/chat/completions": chat, "/responses": responses}
    write = next((writers[end] for end in writers if route.endswith(end)), None)
    if "eneratecontent" in route.lower():
        write = gemini
    if write is None:
        return b"{}", "application/json"
    asked = server.answer(path, body)
    whole, events = write(asked, asked.number)
    if not streams:
        return json.dumps(whole).encode(), "application/json"
    named = write in (anthropic, responses)
    lines = ((f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events)
    end = "data: [DONE]\n\n" if write is chat else ""
    return ("".join(lines) + end).encode(), "text/event-stream"


def instance(schema: dict[str, Any]) -> Any:
    """Returns a value of a JSON schema, for flat objects: 1 for a number, "x" for a text."""
    kind = str(schema.get("type", "string")).lower()
    if kind == "object":
        return {name: instance(each) for name, each in schema.get("properties", {}).items()}
    return schema["enum"][0] if "enum" in schema else {"number": 1, "integer": 1, "boolean": True}.get(kind, "x")


def last_prompt(body: dict[str, Any]) -> str:
    """Returns what the user said last, "" if a result of a call came after it."""
    items = body.get("messages") or body.get("input") or body.get("contents") or []
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    for item in reversed(items):
        texts = list(_texts(item.get("content") or item.get("parts")))
        if item.get("type", "message").endswith("_output") or item.get("role") == "tool" or None in texts:
            return ""
        if item.get("role") == "user" and texts:
            said = [each for each in texts if each and not each.lstrip().startswith("<")]
            if said:
                return str(said[-1]).strip()
    return ""


def _texts(content: Any) -> Iterator[str | None]:
    """Yields the texts of a message, None for the result of a call."""
    for block in [content] if isinstance(content, str | dict) else content or ():
        if isinstance(block, str):
            yield block
        elif block.get("type") == "tool_result" or "functionResponse" in block:
            yield None
        elif isinstance(block.get("text"), str):
            yield block["text"]


def _shell(body: dict[str, Any]) -> str:
    names: list[str] = []
    for tool in body.get("tools") or ():
        several = tool.get("functionDeclarations") or tool.get("function_declarations")
        declared = several or [tool.get("function") or tool]
        names += [each.get("name", "") for each in declared]
    return next((name for name in SHELLS if name in names), "shell")


def called_by(prompt: str, body: dict[str, Any]) -> Call | None:
    """Returns the call that a prompt asks for; None if it asks for a text."""
    word, _, rest = prompt.partition(" ")
    if word == "USE":
        name, _, arguments = rest.partition(" ")
        return Call(name, json.loads(arguments))
    if word != "CALL":
        return None
    name = _shell(body)
    if name == "exec_command":
        return Call(name, {"cmd": rest})
    if name == "shell":
        return Call(name, {"command": ["bash", "-lc", rest]})
    return Call(name, {"command": rest, "description": "Runs it"})


def anthropic(asked: Asked, number: int) -> tuple[Any, list[Any]]:
    """Returns an answer of the messages API, whole and as events."""
    first = {
        "input_tokens": asked.usage.input - asked.usage.cached,
        "cache_read_input_tokens": asked.usage.cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
    }
    usage = first | {"output_tokens": asked.usage.output}
    block: dict[str, Any] = {"type": "text", "text": asked.text}
    start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": asked.text}
    if asked.call:
        block = {"type": "tool_use", "id": f"toolu_{number:06}", "name": asked.call.name, "input": asked.call.arguments}
        start = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    message = {
        "id": f"msg_{number:06}",
        "type": "message",
        "role": "assistant",
        "model": asked.body.get("model"),
        "content": [block],
        "stop_reason": "tool_use" if asked.call else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    begun = message | {"content": [], "stop_reason": None, "usage": first}
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return message, [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": asked.usage.output}},
        {"type": "message_stop"},
    ]


def chat(asked: Asked, number: int) -> tuple[Any, list[Any]]:
    """Returns an answer of chat completions, whole and as chunks."""
    usage = {
        "prompt_tokens": asked.usage.input,
        "completion_tokens": asked.usage.output,
        "total_tokens": asked.usage.input + asked.usage.output,
        "prompt_tokens_details": {"cached_tokens": asked.usage.cached},
    }
    message: dict[str, Any] = {"role": "assistant", "content": asked.text}
    if asked.call:
        function = {"name": asked.call.name, "arguments": json.dumps(asked.call.arguments)}
        message["tool_calls"] = [{"index": 0, "id": f"call_{number:06}", "type": "function", "function": function}]
    reason = "tool_calls" if asked.call else "stop"
    envelope = {"id": f"chatcmpl-{number:06}", "created": 1_790_000_000, "model": asked.body.get("model")}
    whole = envelope | {"object": "chat.completion", "usage": usage}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": reason}]
    chunk = envelope | {"object": "chat.completion.chunk"}
    return whole, [
        chunk | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        chunk | {"choices": [], "usage": usage},
    ]


def responses(asked: Asked, number: int) -> tuple[Any, list[Any]]:
    """Returns an answer of the responses API, whole and as events."""
    usage = {
        "input_tokens": asked.usage.input,
        "output_tokens": asked.usage.output,
        "input_tokens_details": {"cached_tokens": asked.usage.cached},
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": asked.usage.input + asked.usage.output,
    }
    item: dict[str, Any] = {"type": "message", "id": f"msg_{number:06}", "role": "assistant", "status": "completed"}
    if asked.call:
        namespace, _, name = asked.call.name.rpartition(".")
        item = {"type": "function_call", "id": f"fc_{number:06}", "status": "completed", "name": name}
        item |= {"namespace": namespace} if namespace else {}
        item |= {"call_id": f"call_{number:06}", "arguments": json.dumps(asked.call.arguments)}
    else:
        item["content"] = [{"type": "output_text", "text": asked.text, "annotations": []}]
    response = {"id": f"resp_{number:06}", "object": "response", "model": asked.body.get("model")}
    whole = response | {"status": "completed", "output": [item], "usage": usage}
    return whole, [
        {"type": "response.created", "response": response | {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]


def gemini(asked: Asked, number: int) -> tuple[Any, list[Any]]:
    """Returns an answer of Gemini, whole and as the only chunk of a stream."""
    part: dict[str, Any] = {"text": asked.text}
    if asked.schema is not None:
        part = {"text": json.dumps(instance(asked.schema))}
    if asked.call:
        part = {"functionCall": {"name": asked.call.name, "args": asked.call.arguments}}
    usage = {
        "promptTokenCount": asked.usage.input,
        "candidatesTokenCount": asked.usage.output,
        "cachedContentTokenCount": asked.usage.cached,
        "totalTokenCount": asked.usage.input + asked.usage.output,
    }
    whole = {
        "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-pro",
        "responseId": f"resp_{number:06}",
    }
    return whole, [whole]
