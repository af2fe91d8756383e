"""Gemini CLI on the bench."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from .comparing import Part, Rule, Uncounted
from .tool import Conversation, Run, Tool

_PLACEHOLDER = "skip_thought_signature_validator"
_ENTER, _UP, _CLEAR = "\r", "\x1b[A", "\x15"
_NAMED = ("functionCall", "functionResponse")


def _with_names_in_ids(part: Part) -> Sequence[Part]:
    kind = next((kind for kind in _NAMED if kind in part.content), None)
    if kind is None:
        return [part]
    said = part.content[kind]
    return [Part(part.role, {**part.content, kind: {**said, "id": f"{said['name']}__{said['id']}"}})]


def _without_placeholder(part: Part) -> Sequence[Part]:
    if part.content.get("thoughtSignature") != _PLACEHOLDER:
        return [part]
    return [Part(part.role, {name: value for name, value in part.content.items() if name != "thoughtSignature"})]


_PUT_BACK = Rule(
    "session context put back",
    "a rewind leaves it out, on the disk and in what is sent; a process that resumes the session says it again",
    lambda part: [] if str(part.content.get("text")).startswith("<session_context>") else [part],
)


class GeminiCli(Tool):
    """Turns, compression and a sub-agent by `-p` and `--resume`; a rewind in a terminal."""

    name = "gemini-cli"
    package = "@google/gemini-cli"
    command = "gemini"
    folder = ".gemini/tmp"
    shape = "gemini"
    rules = (
        Rule(
            "ids of calls",
            "on the disk the name of the tool stands before the id, in calls and results",
            _with_names_in_ids,
        ),
        Rule(
            "results sent twice",
            "the file has a result with its call and in a message of its own; a session that was resumed sends both",
            repeats=lambda part: "functionResponse" in part.content,
        ),
        Rule(
            "placeholder of a signature",
            "it stands for a signature that a call lacks, as the provider checks that, and is sent in its turn only",
            _without_placeholder,
            both=True,
        ),
    )
    uncounted = (
        Uncounted(
            "routing",
            "which model to use for a prompt is asked of a small one; its tokens are written nowhere",
            lambda asked: asked.schema is not None,
        ),
        Uncounted(
            "titles",
            "in a terminal, a title of an older session is asked for; its tokens are written nowhere",
            lambda asked: "Summarize the user's primary intent" in json.dumps(asked.body["contents"]),
        ),
        Uncounted(
            "summaries",
            "the tokens of a compression are written nowhere",
            lambda asked: "distilling chat history" in json.dumps(asked.body.get("systemInstruction")),
        ),
    )

    def configure(self, run: Run) -> None:
        """A key, no question of trust, and a file of the project."""
        (run.home / ".gemini").mkdir()
        self._set(run)
        run.environment |= {
            "GEMINI_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": run.server.url,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }
        (run.work / "notes.md").write_text("Buy milk.\n")

    def _set(self, run: Run, **more: Any) -> None:
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
            "general": {"sessionRetention": {"enabled": False}},  # it deletes sessions that were resumed
        }
        (run.home / ".gemini/settings.json").write_text(json.dumps(settings | more))

    def converse(self, run: Run) -> list[Conversation]:
        """Begins each conversation under an id of its own, and goes on with it by that."""
        makers: dict[str, Callable[[Run, str], None]] = {
            "turns": self._turns,
            "compaction": self._compaction,
            "sub-agent": self._agent,
            "rewind": self._rewind,
        }
        conversations = []
        for about, make in makers.items():
            id = str(uuid5(NAMESPACE_URL, about))
            make(run, id)
            rules = (_PUT_BACK,) if about == "rewind" else ()
            conversations.append(Conversation(about, id, partial(self._say, run, id), rules))
        return conversations

    def _turns(self, run: Run, id: str) -> None:
        self._begin(run, id, "What is in @notes.md")
        self._say(run, id, "CALL echo hi")
        self._say(run, id, "And its river?")

    def _compaction(self, run: Run, id: str) -> None:
        self._begin(run, id, "Name a mountain, not one of these: " + "Blue Hill, " * 500)
        self._say(run, id, "CALL echo two")
        self._set(run, model={"compressionThreshold": 0.0001})
        self._say(run, id, "How high is it?")
        self._set(run)
        self._say(run, id, "Who climbed it?")

    def _agent(self, run: Run, id: str) -> None:
        task = {"agent_name": "codebase_investigator", "prompt": "Find a lake"}
        self._begin(run, id, f"USE invoke_agent {json.dumps(task)}")

    def _rewind(self, run: Run, id: str) -> None:
        self._begin(run, id, "Name a bird")
        self._say(run, id, "Can it swim?")
        take_back = ["/rewind", _ENTER, _UP, _ENTER, _ENTER]  # the last prompt, which is then in the input
        run.type(["-y", "--resume", id], [*take_back, _CLEAR, "Can it fly", _ENTER, "/quit", _ENTER])

    def _begin(self, run: Run, id: str, prompt: str) -> None:
        run("-y", "--session-id", id, "-p", prompt)

    def _say(self, run: Run, id: str, prompt: str) -> None:
        run("-y", "--resume", id, "-p", prompt)


TOOL = GeminiCli()
