"""Qwen Code on the bench."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from uuid import NAMESPACE_URL, uuid5

from .comparing import Part, Rule
from .tool import Conversation, Run, Tool

_AT_REQUEST = tuple(
    f"<system-reminder>\n{start}"
    for start in (
        "The following skills are available",
        "This is the Qwen Code. We are setting up the context",
        "The following tools are reachable",
        "The current date is:",
    )
)


_RESTORED = re.compile(r"<system-reminder>\n\d+ background agents? ")


def _without_restored(part: Part) -> Sequence[Part]:
    return [] if part.role == "user" and _RESTORED.match(str(part.content.get("text"))) else [part]


def _without_reminders(part: Part) -> Sequence[Part]:
    return [] if part.role == "user" and str(part.content.get("text")).startswith(_AT_REQUEST) else [part]


def _with_one_text(part: Part) -> Sequence[Part]:
    """Returns the result of a call with its texts as one."""
    content = part.content.get("content")
    if part.role != "tool" or not isinstance(content, list):
        return [part]
    return [Part(part.role, {**part.content, "content": "\n".join(block["text"] for block in content)})]


def _lines(part: Part) -> Sequence[Part]:
    if part.role != "user" or part.content.get("type") != "text":
        return [part]
    lines = (line for line in part.content["text"].split("\n") if line)
    return [Part(part.role, {"type": "text", "text": line}) for line in lines]


class QwenCode(Tool):
    """What it can do without a terminal, by `-p` and `--resume`."""

    name = "qwen-code"
    package = "@qwen-code/qwen-code"
    command = "qwen"
    folder = ".qwen"
    shape = "openai-chat"
    rules = (
        Rule(
            "reminders of a request",
            "the date, the project, skills and tools are said anew in each request, and are on no disk",
            _without_reminders,
        ),
        Rule(
            "restored agents",
            "said with the next prompt, and on the disk in its message, which comes after the import",
            _without_restored,
        ),
        Rule(
            "texts of a result",
            "a result is a text or a list of texts; both say the same",
            _with_one_text,
        ),
        Rule(
            "lines of a prompt",
            "a prompt with files is sent in several texts; a context joins them with line ends",
            _lines,
            both=True,
        ),
    )

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
