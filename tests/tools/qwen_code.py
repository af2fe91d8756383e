"""Qwen Code on the bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from uuid import NAMESPACE_URL, uuid5

from .tool import Conversation, Run, Tool


class QwenCode(Tool):
    """What it can do without a terminal, by `-p` and `--resume`."""

    name = "qwen-code"
    package = "@qwen-code/qwen-code"
    command = "qwen"
    folder = ".qwen"
    shape = "openai-chat"

    def configure(self, run: Run) -> None:
        """Everything by environment, and a file of the project."""
        run.environment |= {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{run.server.url}/v1",
            "OPENAI_MODEL": "qwen3-coder-plus",
        }
        (run.work / "notes.md").write_text("Buy milk.\n")

    def converse(self, run: Run) -> list[Conversation]:
        """Begins each conversation under an id of its own, and goes on with it by that."""
        makers: dict[str, Callable[[Run, str], str]] = {
            "turns": self._turns,
            "fork": self._fork,
            "compaction": self._compaction,
            "sub-agent": self._agent,
        }
        conversations = []
        for about, make in makers.items():
            id = make(run, str(uuid5(NAMESPACE_URL, about)))
            conversations.append(Conversation(about, id, partial(self._say, run, id)))
        return conversations

    def _turns(self, run: Run, id: str) -> str:
        self._begin(run, id, "What is in @notes.md")
        self._say(run, id, "CALL echo hi")
        self._say(run, id, "And its river?")
        return id

    def _fork(self, run: Run, id: str) -> str:
        self._begin(run, id, "Name a country")
        self._say(run, id, "CALL echo one")
        before = self._ids(run)
        self._ask(run, "And its capital?", "--resume", id, "--fork-session")
        (fork,) = self._ids(run) - before
        self._say(run, id, "CALL echo two")
        return fork

    def _compaction(self, run: Run, id: str) -> str:
        self._begin(run, id, "Name a mountain, not one of these: " + "Blue Hill, " * 500)
        self._say(run, id, "CALL echo three")
        self._say(run, id, "/compress")
        self._say(run, id, "Who climbed it?")
        return id

    def _agent(self, run: Run, id: str) -> str:
        task = {"description": "Finds it", "prompt": "Find a lake", "subagent_type": "general-purpose"}
        self._begin(run, id, f"USE agent {json.dumps(task)}")
        return id

    def _ids(self, run: Run) -> set[str]:
        return {path.stem for path in (run.home / self.folder).glob("projects/*/chats/*.jsonl")}

    def _begin(self, run: Run, id: str, prompt: str) -> None:
        self._ask(run, prompt, "--session-id", id)

    def _say(self, run: Run, id: str, prompt: str) -> None:
        self._ask(run, prompt, "--resume", id)

    def _ask(self, run: Run, prompt: str, *arguments: str) -> None:
        run("--auth-type", "openai", "-y", *arguments, "-p", prompt)


TOOL = QwenCode()
