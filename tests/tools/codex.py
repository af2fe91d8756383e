"""Codex on the bench, through its app-server: what its own clients speak."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from .comparing import Part, Rule
from .line_server import LineServer
from .tool import PICTURE, Conversation, Run, Tool

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


def _plain(part: Part) -> list[Part]:
    """Takes off what the provider gave an item; it may come back or not."""
    content = {name: value for name, value in part.content.items() if name not in ("id", "status", "annotations")}
    return [
        Part(part.role, content | {"type": str(content.get("type")).removeprefix("input_").removeprefix("output_")})
    ]


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
            "messages of the developer; here those before the conversation are `instructions`, but for Codex's own "
            "prompt, which a file has in other words (`base_instructions`, kept as data)",
            _not_of_the_developer,
            both=True,
        ),
        Rule(
            "form of items", "`id` and `status` are the provider's, and a text may say who says it", _plain, both=True
        ),
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
        (run.work / "a.png").write_bytes(b64decode(PICTURE))
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
            nested_compaction = client.fork(compacted)
            client.say(nested_compaction, "In the fork of the compaction")
            client.compact(nested_compaction)
            taken_back = client.begin()
            turns = [client.say(taken_back, prompt) for prompt in ("Name an isle", "And its port?")]
            client.compact(taken_back)
            client.call("thread/revert", threadId=taken_back, beforeTurnId=turns[1])
            client.say(taken_back, "After the compaction was taken back")
            caller = client.begin()
            client.say(caller, 'USE multi_agent_v1.spawn_agent {"message": "CALL echo agent"}')
            agent = client.wait_for_another()
            client.say(caller, 'USE multi_agent_v1.spawn_agent {"message": "CALL echo it", "fork_context": true}')
            forked = client.wait_for_another()
            stopped = client.begin()
            client.say(stopped, "Name a sea")
            client.interrupt(stopped, "CALL sleep 30")
            shown = client.begin()
            client.say(shown, "What is this?", run.work / "a.png")
        named = {"turns": plain, "fork": fork, "fork of a fork": nested, "revert": reverted, "compaction": compacted}
        named |= {"fork and second compaction": nested_compaction, "revert before a compaction": taken_back}
        named |= {"an agent with a copy of the context": forked}
        named |= {"sub-agent": caller, "the agent itself": agent, "interrupt": stopped, "picture": shown}
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
        self._own: set[str] = set()
        self._ended: list[str] = []  # the conversations whose turns have ended

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
        thread = str(self.call("thread/start", cwd=str(self._run.work))["thread"]["id"])
        self._own.add(thread)
        return thread

    def say(self, thread: str, prompt: str, picture: Path | None = None) -> str:
        """Says something, waits for the end of the turn, and returns the id of the turn."""
        turn = self._begin_turn(thread, prompt, picture)
        self._wait_for_turn(thread)
        return turn

    def interrupt(self, thread: str, prompt: str) -> None:
        """Says something that makes it call its shell, and interrupts that."""
        turn = self._begin_turn(thread, prompt)
        self._server.wait(lambda line: line.get("method") == "item/started" and "commandExecution" in json.dumps(line))
        self.call("turn/interrupt", threadId=thread, turnId=turn)
        self._wait_for_turn(thread)

    def wait_for_another(self) -> str:
        """Waits for the end of a turn in a conversation that this client has not begun; returns its id."""
        while not (others := [each for each in self._ended if each not in self._own]):
            self._wait_for_any_turn()
        self._own.add(others[0])
        return others[0]

    def _begin_turn(self, thread: str, prompt: str, picture: Path | None = None) -> str:
        said: list[dict[str, str]] = [{"type": "text", "text": prompt}]
        if picture is not None:
            said.append({"type": "localImage", "path": str(picture)})
        return str(self.call("turn/start", threadId=thread, input=said)["turn"]["id"])

    def fork(self, thread: str, last_turn: str | None = None) -> str:
        """Forks a conversation behind a turn, and returns the id of the fork."""
        where = {} if last_turn is None else {"lastTurnId": last_turn}
        fork = str(self.call("thread/fork", threadId=thread, **where)["thread"]["id"])
        self._own.add(fork)
        return fork

    def compact(self, thread: str) -> None:
        """Compacts a conversation."""
        self.call("thread/compact/start", threadId=thread)
        self._wait_for_turn(thread)

    def _wait_for_turn(self, thread: str) -> None:
        while self._wait_for_any_turn() != thread:
            pass

    def _wait_for_any_turn(self) -> str:
        ended = self._server.wait(lambda line: line.get("method") == "turn/completed")
        self._ended.append(ended["params"]["threadId"])
        return self._ended[-1]


TOOL = Codex()
