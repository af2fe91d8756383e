"""Runs every example. The SDKs are real clients that talk to a local server with fixed answers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from anthropic import Anthropic
from google import genai
from openai import OpenAI

from convtree import MessageEntry, Session
from convtree.stores._open import open_store

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "Rome."}, {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-x",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Oslo."}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-x",
    "output": [
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "abc"},
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "look", "arguments": "{}"},
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    },
}
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"a": 1}}}]}}],
    "modelVersion": "gemini-x",
    "usageMetadata": {"totalTokenCount": 5},
}


class Provider:
    """A server that answers every request with one document and records the requests."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                provider.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                body = json.dumps(provider.answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    yield server
    server.close()


OWN_TESTS = (
    "chat",
    "dbm_store",
    "picture",
    "providers",
    "service",
    "web_chat",
)  # tested elsewhere, or they need input or a server


NAMES = [path.stem for path in sorted(EXAMPLES.glob("*.py")) if not path.stem.endswith("_adapter")]  # tests/adapters


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN_TESTS])
def test_example_runs(name: str) -> None:
    """The example succeeds and prints at least three lines."""
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") >= 3


def test_the_picture_of_the_readme_is_what_inspect_prints(tmp_path: Path) -> None:
    """Made again, it says the same, and it loads nothing from elsewhere."""
    made = tmp_path / "inspect.svg"
    subprocess.run([sys.executable, EXAMPLES / "picture.py", made], capture_output=True, check=True)
    texts = [re.findall(">([^<>]+)</text>", path.read_text()) for path in (made, EXAMPLES / "inspect.svg")]
    assert texts[0] == texts[1]
    assert "".join(texts[0]).count("prompts") == 1
    assert re.findall('https?://[^"]+', made.read_text()) == ["http://www.w3.org/2000/svg"]


def test_quickstart_prints_the_context() -> None:
    """The summary and the kept messages are printed, the other branch is not."""
    done = subprocess.run([sys.executable, EXAMPLES / "quickstart.py"], capture_output=True, text=True, check=True)
    roles = [line.split(":")[0].strip() for line in done.stdout.splitlines()[1:-1]]
    assert roles == ["system", "user", "user", "assistant", "user"]
    assert "They chose Rome." in done.stdout
    assert "Oslo" not in done.stdout


def roles(log: Path) -> list[str]:
    """Returns the roles of the messages in the context of a log."""
    with Session.open(log, mode="r") as session:
        return [message["role"] for message in session.build_context().messages]


def test_a_program_that_is_started_again_sends_one_system_message(tmp_path: Path) -> None:
    """Each run is a process of its own and sets the system message. The second and third write none."""
    log = tmp_path / "trip.jsonl"
    for _ in range(3):
        subprocess.run([sys.executable, EXAMPLES / "quickstart.py", log], capture_output=True, check=True)
        assert roles(log).count("system") == 1
    assert sum(b'"role":"system"' in line for line in log.read_bytes().splitlines()) == 1


def test_the_chat_sends_one_system_message(tmp_path: Path) -> None:
    """Also after it was started three times."""
    (tmp_path / "home").mkdir()
    for text in ("Hello", "And then?", "Again?"):
        chat(tmp_path / "home", f"{text}\n", CONVTREE_URL=str(tmp_path / "store"))
    (log,) = (tmp_path / "store").glob("*.jsonl")
    assert roles(log) == ["system", *["user", "assistant"] * 3]


def chat(cwd: Path, typed: str, **environ: str) -> list[str]:
    """Types lines into the chat and returns the lines it printed."""
    keys = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "CONVTREE_URL")
    clean = {name: value for name, value in os.environ.items() if name not in keys}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "chat.py"],
        cwd=cwd,
        env=clean | {"HOME": str(cwd.parent)} | environ,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_chat_continues_by_directory(tmp_path: Path) -> None:
    """A conversation is continued in its own directory, or anywhere in its git repository."""
    home, other, root = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for folder in (home, other, root / ".git", root / "sub"):
        folder.mkdir(parents=True)
    assert chat(home, "Hello\n")[1:] == ["> You said: Hello", "> "]
    assert chat(home, "More\n") == [
        "Continuing 'Hello'.",
        "  user: Hello",
        "  assistant: You said: Hello",
        "> You said: More",
        "> ",
    ]
    assert chat(other, "")[0].startswith("A new conversation.")
    chat(root / "sub", "Here\n", HOME=str(tmp_path))
    assert chat(root, "")[0] == "Continuing 'Here'."


def test_chat_regenerates_and_starts_anew(tmp_path: Path) -> None:
    """/again adds a sibling of the answer, /new leaves the first conversation unchanged."""
    home = tmp_path / "home"
    home.mkdir()
    lines = chat(home, "Hello\n/again\n/what\n/new\n/again\nOther\n/list\n", CONVTREE_URL=str(tmp_path / "store"))
    assert [line.split()[-1] for line in lines[-3:-1]] == ["Other", "Hello"]
    with open_store(tmp_path / "store") as store:
        first = next(info for info in store.list(cwd=str(home)) if info.name == "Hello")
        with store.open(first.id) as session:
            assert [entry.text for entry in session.siblings(session.leaf_id or "")] == ["You said: Hello"] * 2


def test_chat_with_a_provider(provider: Provider, tmp_path: Path) -> None:
    """With a key the provider is asked. After an error the question is kept, and /again asks it again."""
    home = tmp_path / "home"
    home.mkdir()
    url = {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": provider.url, "CHAT_MODEL": "m"}
    provider.answer = ANTHROPIC
    assert chat(home, "Where?\n", **url)[1:] == ["> Rome.", "> "]
    assert (provider.asked[0]["model"], provider.asked[0]["messages"]) == ("m", [{"role": "user", "content": "Where?"}])
    assert provider.asked[0]["system"].startswith("You are a helpful assistant")
    provider.answer = CHAT
    url = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9", "CHAT_MODEL": "m"}
    assert chat(home, "/new\nWhy?\n", **url)[-2] == "> APIConnectionError: Connection error."
    url["OPENAI_BASE_URL"] = provider.url
    assert chat(home, "/again\n", **url) == ["Continuing 'Why?'.", "  user: Why?", "> Oslo.", "> "]
    assert [message["role"] for message in provider.asked[1]["messages"]] == ["system", "user"]


def test_anthropic_turn(provider: Provider) -> None:
    """A Message is stored as role and content. Its model and usage become fields of the entry."""
    from providers import ask_anthropic

    provider.answer = ANTHROPIC
    session = Session.memory()
    with Anthropic(base_url=provider.url, api_key="k") as client:
        entry = ask_anthropic(session, client, "Where?", model="m")
    assert provider.asked[0]["messages"] == [{"role": "user", "content": "Where?"}]
    assert entry.message == {"role": "assistant", "content": ANTHROPIC["content"]}
    assert (entry.provider, entry.model, entry.usage) == ("anthropic", "claude-x", ANTHROPIC["usage"])
    assert [call.id for call in session.build_context().open_calls] == ["t1"]


def test_openai_chat_turns(provider: Provider) -> None:
    """A ChatCompletion is stored as the message of its first choice, and sent unchanged in the next request."""
    from providers import ask_openai_chat

    provider.answer = CHAT
    session = Session.memory()
    with OpenAI(base_url=provider.url, api_key="k") as client:
        entry = ask_openai_chat(session, client, "Where?", model="m")
        ask_openai_chat(session, client, "Why?", model="m")
    assert entry.message == {"role": "assistant", "content": "Oslo."}
    assert (entry.model, entry.usage) == ("gpt-x", CHAT["usage"])
    assert [message["role"] for message in provider.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert provider.asked[1]["messages"][1] == {"role": "assistant", "content": "Oslo."}


def test_openai_responses_turn(provider: Provider) -> None:
    """A Response is stored item by item. The last item has the usage."""
    from providers import ask_openai_responses

    provider.answer = RESPONSE
    session = Session.memory()
    with OpenAI(base_url=provider.url, api_key="k") as client:
        entries = ask_openai_responses(session, client, "Where?", model="m")
    stored = [entry for entry in entries if isinstance(entry, MessageEntry)]
    assert [entry.message for entry in stored] == RESPONSE["output"]
    assert [entry.usage for entry in stored] == [None, RESPONSE["usage"]]
    assert provider.asked[0]["input"] == [{"role": "user", "content": "Where?"}]


def test_a_response_is_one_entry() -> None:
    """Its items are stored together, and sent back one by one."""
    from openai.types.responses import Response

    session = Session.memory()
    entry = session.append(Response.model_validate(RESPONSE))
    assert entry.message == {"object": "response", "output": RESPONSE["output"]}
    assert (entry.provider, entry.model, entry.shape) == ("openai", "gpt-x", "openai-responses")
    assert session.build_context().to("openai-responses")["input"][:2] == RESPONSE["output"]


def test_gemini_turn(provider: Provider) -> None:
    """A GenerateContentResponse is stored as its content, with the keys of the wire format."""
    from providers import ask_gemini

    provider.answer = GEMINI
    session = Session.memory()
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    entry = ask_gemini(session, client, "Where?", model="m")
    client.close()
    assert entry.message == GEMINI["candidates"][0]["content"]  # type: ignore[index]  # a plain dict of dicts
    assert (entry.model, entry.usage) == ("gemini-x", {"totalTokenCount": 5})
    assert provider.asked[0]["contents"] == [{"parts": [{"text": "Where?"}], "role": "user"}]


def test_sdk_objects_inside_a_dict(provider: Provider) -> None:
    """`content=response.content`, as in Anthropic's documentation, is stored as the SDK would send it."""
    provider.answer = ANTHROPIC
    with Anthropic(base_url=provider.url, api_key="k") as client:
        reply = client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}])
    entry = Session.memory().append({"role": "assistant", "content": reply.content})
    assert entry.message["content"] == ANTHROPIC["content"]
