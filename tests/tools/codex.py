"""Codex on the bench, through its app-server: what its own clients speak."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .comparing import Part, Rule
from .line_server import LineServer
from .tool import Conversation, Run, Tool

_CONFIG = """
model = "gpt-5.5"
model_provider = "loopback"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.loopback]
name = "loopback"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "LOOPBACK_KEY"
"""
#: what Codex writes before a summary
_SUMMARY = "Another language model started to solve this problem and produced a summary"


def _not_of_the_developer(part: Part) -> list[Part]:
    return [] if part.role == "developer" else [part]


def _without_ids(part: Part) -> list[Part]:
    """Takes off what the provider gave an item; it may come back or not."""
    return [Part(part.role, {name: value for name, value in part.content.items() if name not in ("id", "status")})]


def _is_summary(part: Part) -> str:
    return "" if str(part.content.get("text", "")).startswith(_SUMMARY) else "after it"


class Codex(Tool):
    """Turns, a call, a name, a fork, a revert, a compaction and a sub-agent, each in the app-server."""

    name = "codex"
    package = "@openai/codex"
    command = "codex"
    folder = ".codex"
    shape = "openai-responses"
    rules = (
        Rule(
            "instructions",
            "Codex sends them as messages of the developer; here they are the `instructions` of the request",
            _not_of_the_developer,
        ),
        Rule("ids of items", "`id` and `status` of an item name it at the provider", _without_ids, both=True),
        Rule(
            "place of a summary",
            "Codex puts it behind the messages that it keeps; here it comes before them",
            rank=_is_summary,
            both=True,
        ),
    )

    def configure(self, run: Run) -> None:
        """By its settings."""
        folder = run.home / self.folder
        folder.mkdir()
        (folder / "config.toml").write_text(_CONFIG.format(url=run.server.url))
        run.environment |= {"CODEX_HOME": str(folder), "LOOPBACK_KEY": "none"}

    def converse(self, run: Run) -> list[Conversation]:
        """Holds one conversation, and makes others of it."""
        with _app_server(run) as client:
            plain = client.begin()
            turns = [client.say(plain, prompt) for prompt in ("Name a city", "CALL echo hi", "And its river?")]
            client.call("thread/name/set", threadId=plain, name="A trip")
            fork = client.fork(plain, turns[0])
            client.say(fork, "In the fork")
            nested = client.fork(fork)
            client.say(nested, "In the fork of the fork")
            reverted = client.begin()
            turns = [client.say(reverted, prompt) for prompt in ("Name a lake", "CALL echo lake", "And its depth?")]
            client.call("thread/revert", threadId=reverted, beforeTurnId=turns[2])
            client.say(reverted, "After the revert")
            client.call("thread/revert", threadId=reverted, beforeTurnId=turns[1])
            client.say(reverted, "After the second revert")
            compacted = client.begin()
            for prompt in ("Name a mountain", "CALL echo mountain"):
                client.say(compacted, prompt)
            client.compact(compacted)
            client.say(compacted, "After the compaction")
            caller = client.begin()
            client.say(caller, 'USE spawn_agent {"message": "CALL echo agent"}')
        named = {"turns": plain, "fork": fork, "fork of a fork": nested, "revert": reverted, "compaction": compacted}
        named["sub-agent"] = caller
        return [Conversation(about, id, partial(_say, run, id)) for about, id in named.items()]


def _say(run: Run, id: str, prompt: str) -> None:
    """Resumes a conversation in a new process."""
    with _app_server(run) as client:
        client.call("thread/resume", threadId=id)
        client.say(id, prompt)


@contextmanager
def _app_server(run: Run) -> Iterator[_Client]:
    with LineServer(run, "app-server") as server:
        client = _Client(run, server)
        client.call("initialize", clientInfo={"name": "bench", "version": "1"})
        server.send({"method": "initialized"})
        yield client


class _Client:
    """A client of the app-server."""

    def __init__(self, run: Run, server: LineServer) -> None:
        self._run = run
        self._server = server
        self._calls = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method and returns its result."""
        self._calls += 1
        number = self._calls
        self._server.send({"id": number, "method": method, "params": parameters})
        answer = self._server.wait(lambda line: line.get("id") == number and "method" not in line)
        self._server.check("error" not in answer, f"{method}: {answer.get('error')}")
        return answer.get("result") or {}

    def begin(self) -> str:
        """Begins a conversation and returns its id."""
        return str(self.call("thread/start", cwd=str(self._run.work))["thread"]["id"])

    def say(self, thread: str, prompt: str) -> str:
        """Says something, waits for the end of the turn, and returns the id of the turn."""
        turn = self.call("turn/start", threadId=thread, input=[{"type": "text", "text": prompt}])["turn"]["id"]
        self._wait_for_turn(thread)
        return str(turn)

    def fork(self, thread: str, last_turn: str | None = None) -> str:
        """Forks a conversation behind a turn, and returns the id of the fork."""
        where = {} if last_turn is None else {"lastTurnId": last_turn}
        return str(self.call("thread/fork", threadId=thread, **where)["thread"]["id"])

    def compact(self, thread: str) -> None:
        """Compacts a conversation."""
        self.call("thread/compact/start", threadId=thread)
        self._wait_for_turn(thread)

    def _wait_for_turn(self, thread: str) -> None:
        self._server.wait(
            lambda line: line.get("method") == "turn/completed" and line["params"].get("threadId") == thread
        )


TOOL = Codex()
