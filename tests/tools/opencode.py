"""opencode on the bench, through its server: what its own clients speak."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

from convtree import BranchSummaryEntry, CompactionEntry

from .comparing import FAILED_RESULTS, Part, Rule, Uncounted
from .loopback import Asked, last_prompt
from .tool import PICTURE, Conversation, Failed, Run, Tool

_PACKAGE = "opencode-linux-x64"
_TIMEOUT_S = 60
_QUESTION = "What did we do so far?"


def _texts_of_one_message(part: Part) -> list[Part]:
    """Splits a text at its lines, so that it does not matter which of them are a part of their own."""
    text = part.content.get("text")
    if part.content.get("type") != "text" or not isinstance(text, str):
        return [part]
    return [Part(part.role, {"type": "text", "text": line}) for line in text.split("\n") if line]


def _is_for_a_title(asked: Asked) -> bool:
    return "Generate a title for this conversation" in json.dumps(asked.body)


def _is_reverted(asked: Asked) -> bool:
    return last_prompt(asked.body) == "To be reverted"


class OpenCode(Tool):
    """Turns, a call, files, a picture, a sub-agent, forks, a compaction and reverts, each by its server."""

    name = "opencode"
    package = _PACKAGE
    command = "opencode"
    folder = ".local/share/opencode"
    shape = "openai-chat"
    rules = (
        Rule("lines", "texts of a message may be one part or several", _texts_of_one_message, both=True),
        FAILED_RESULTS,
    )
    uncounted = (
        Uncounted("titles", "opencode keeps a title, and not what it cost", _is_for_a_title),
        Uncounted("reverted", "opencode deletes what was reverted when something else is said", _is_reverted),
    )

    def program(self, place: Path) -> Path:
        """Returns the program in the package for this machine; `opencode-ai` only finds that one."""
        return place / "node_modules" / _PACKAGE / "bin" / "opencode"

    def render(self, entry: CompactionEntry | BranchSummaryEntry) -> list[Mapping[str, Any]]:
        """Returns a summary as opencode shows it: as the answer to a question."""
        return [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": entry.summary}]

    def configure(self, run: Run) -> None:
        """By its settings."""
        model = {
            "name": "m",
            "tool_call": True,
            "attachment": True,
            "modalities": {"input": ["text", "image"], "output": ["text"]},
            "limit": {"context": 100_000, "output": 8_000},
            "cost": {"input": 1, "output": 2, "cache_read": 0.5},
        }
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "loopback",
            "options": {"baseURL": f"{run.server.url}/v1", "apiKey": "none"},
            "models": {"m": model},
        }
        settings = {
            "model": "loopback/m",
            "small_model": "loopback/m",
            "autoupdate": False,
            "share": "disabled",
            "permission": "allow",
            "provider": {"loopback": provider},
            "command": {"river": {"template": "Name a river", "description": "x", "agent": "general", "subtask": True}},
        }
        folder = run.home / ".config/opencode"
        folder.mkdir(parents=True)
        (folder / "opencode.json").write_text(json.dumps(settings))
        (run.work / "a.txt").write_text("alpha file\n")
        run.environment |= {
            "PWD": str(run.work),
            "XDG_STATE_HOME": str(run.home / ".state"),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
        }

    def converse(self, run: Run) -> list[Conversation]:
        """Holds one conversation after the other."""
        with _server(run) as client:
            plain = client.begin("Name a city", "CALL echo hi", "And its river?")
            fork = client.fork(plain, 2)
            client.say(fork, "In the fork")
            files = client.begin("Name a sea")
            client.say(files, "Read it", _file("text/plain", (run.work / "a.txt").as_uri()))
            client.say(files, "See it", _file("image/png", f"data:image/png;base64,{PICTURE}"))
            caller = client.begin("Name a lake")
            client.post(f"/session/{caller}/command", {"command": "river", "arguments": ""})
            [agent] = [each["id"] for each in client.get(f"/session/{caller}/children")]
            compacted = client.begin("Name a mountain", "CALL echo mountain")
            client.post(f"/session/{compacted}/summarize", {"providerID": "loopback", "modelID": "m"})
            client.say(compacted, "After the compaction")
            nested = client.fork(compacted)
            client.say(nested, "In the fork of the compaction")
            failed = client.begin("Name a bird", 'USE read {"filePath": "/nonexistent"}', 'USE nothing {"a": 1}')
            client.post(f"/session/{failed}/shell", {"agent": "build", "command": "echo typed by a person"})
            planned = client.begin("Name a shrub")
            client.say(planned, "Plan it", agent="plan")
            client.say(planned, "Build it", agent="build")
            reverted = client.begin("Name a tree", "CALL echo tree", "To be reverted")
            client.revert(reverted)
            client.say(reverted, "After the revert")
            pending = client.begin("Name a flower", "CALL echo flower", "To be reverted")
            client.revert(pending)
            in_part = client.begin("Name a bird")
            client.say(in_part, "And its song", {"type": "text", "text": "To be reverted"})
            client.revert(in_part, part=1)
        named = {"turns": plain, "fork": fork, "file, picture": files, "sub-agent": caller, "the agent itself": agent}
        named |= {"compaction": compacted, "revert": reverted, "a revert that is pending": pending}
        named |= {"and one of a part": in_part, "fork of a compaction": nested, "failed calls, a shell": failed}
        named["plan and build"] = planned
        resumed = run.kept.enter_context(_server(run))
        return [Conversation(about, id, partial(resumed.say, id)) for about, id in named.items()]


def _file(mime: str, url: str) -> dict[str, str]:
    return {"type": "file", "mime": mime, "filename": "a", "url": url}


@contextmanager
def _server(run: Run) -> Iterator[_Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(run.program), "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=run.work, env=run.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        client = _Client(f"http://127.0.0.1:{port}")
        client.wait()
        yield client
    finally:
        process.terminate()
        process.wait(20)


class _Client:
    """A client of the server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def wait(self) -> None:
        """Waits until the server answers."""
        until = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                self._ask("GET", "/session", None, timeout_s=5)
                return
            except Failed:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def get(self, path: str) -> Any:
        """Asks the server."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Sends something to the server."""
        return self._ask("POST", path, json.dumps(body).encode())

    def begin(self, *prompts: str) -> str:
        """Begins a conversation and says something in it; returns its id."""
        id = str(self.post("/session", {})["id"])
        for prompt in prompts:
            self.say(id, prompt)
        return id

    def say(self, id: str, prompt: str, *parts: Mapping[str, Any], **more: Any) -> None:
        """Says something, and waits for the answer."""
        self.post(f"/session/{id}/message", {"parts": [{"type": "text", "text": prompt}, *parts], **more})

    def messages(self, id: str) -> list[dict[str, Any]]:
        """Returns the messages of a conversation."""
        return list(self.get(f"/session/{id}/message"))

    def fork(self, id: str, count: int | None = None) -> str:
        """Forks a conversation behind its first messages, or behind all; returns the id of the fork."""
        where = {} if count is None else {"messageID": self.messages(id)[count]["info"]["id"]}
        return str(self.post(f"/session/{id}/fork", where)["id"])

    def revert(self, id: str, part: int = 0) -> None:
        """Reverts the last prompt and its answer, from one of its parts on."""
        prompt = self.messages(id)[-2]
        at = {"messageID": prompt["info"]["id"]} | ({"partID": prompt["parts"][part]["id"]} if part else {})
        self.post(f"/session/{id}/revert", at)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float = _TIMEOUT_S) -> Any:
        request = urllib.request.Request(self._url + path, method=method, data=body)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return json.loads(answer.read() or b"null")
        except (URLError, OSError) as error:
            raise Failed(f"{method} {path}: {error}") from error


TOOL = OpenCode()
