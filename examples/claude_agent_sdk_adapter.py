"""Claude Code with convtree as its store: a tool turn, an edit that keeps the other answer, a new process, a look.

    pip install 'convtree[claude-agent-sdk,cli]' && python examples/claude_agent_sdk_adapter.py

Needs no key: Claude Code, which is a part of the SDK, talks to the model in this file. Leave out `env` for a real one.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, project_key_for_directory, query

from convtree import MessageEntry
from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore


async def ask(store: ConvtreeSessionStore, cwd: Path, env: dict[str, str], text: str, resume: str | None = None) -> str:
    """Asks Claude Code something; returns the id of the session."""
    options = ClaudeAgentOptions(session_store=store, resume=resume, cwd=cwd, env=env, allowed_tools=["Bash"])
    session = ""
    async for message in query(prompt=text, options=options):
        if isinstance(message, ResultMessage):
            session = message.session_id
            print(f"> {text}\n{message.result}")
    return session


async def main(work: Path) -> None:
    """Runs the conversation in a folder."""
    store = ConvtreeSessionStore(work / "conversations")
    with scripted_model([]) as env:
        session = await ask(store, work, env, "Where shall we go?")
        await ask(store, work, env, "Use the tool", resume=session)

        # an edit: go on behind the first answer; the tool turn stays, as another branch
        key = {"project_key": project_key_for_directory(work), "session_id": session}
        with store.log(key) as log:
            answer = next(entry for entry in log.path(type=MessageEntry) if entry.role == "assistant")
        await store.branch(key, answer.id)
        store.close()  # what a crash would leave is the same: each batch of lines is stored when it comes

        store = ConvtreeSessionStore(work / "conversations")
        await ask(store, work, env, "And by train?", resume=session)
    print(f"{len(await store.branches(key))} branches")
    with store.log(key) as log:
        subprocess.run([sys.executable, "-m", "convtree", "inspect", log.location], check=True)
    store.close()


# --- the model ---


@contextmanager
def scripted_model(seen: list[list[str]]) -> Iterator[dict[str, str]]:
    """Serves a model; yields the environment in which Claude Code finds it. `seen` gets the prompts of each request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompts = [text for text in map(prompt_of, request.get("messages", [])) if text]
            seen.append(prompts)
            body = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events(request, prompts))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        yield {
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_port}",
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CONFIG_DIR": home,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
    server.shutdown()
    server.server_close()


def prompt_of(message: dict[str, Any]) -> str:
    """Returns what a person typed in a message; empty if nobody did."""
    content = message["content"] if isinstance(message["content"], list) else [{"text": message["content"]}]
    texts = [block.get("text", "<") for block in content if message["role"] == "user"]
    return "\n".join(text for text in texts if not text.startswith("<"))


def events(request: dict[str, Any], prompts: list[str]) -> Iterator[dict[str, Any]]:
    """Yields the events of an answer: a number, or two calls at once if the last message asks for the tool."""
    last = json.dumps(request["messages"][-1]["content"])
    blocks: list[dict[str, Any]] = [{"type": "text", "text": f"Answer {len(prompts)}"}]
    if "Use the tool" in last and "tool_result" not in last:
        command = {"command": "echo Rome", "description": "Says where"}
        blocks = [{"type": "tool_use", "id": f"toolu_{each}", "name": "Bash", "input": command} for each in "ab"]
    usage = {"input_tokens": 10, "output_tokens": 5}
    answer = {"id": f"msg_{len(last)}", "type": "message", "role": "assistant", "model": request["model"]}
    answer |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield {"type": "message_start", "message": answer}
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            empty, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = (
                block | {"input": {}},
                {"type": "input_json_delta", "partial_json": json.dumps(block["input"])},
            )
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = "end_turn" if blocks[0]["type"] == "text" else "tool_use"
    yield {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage}
    yield {"type": "message_stop"}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder).resolve()))
