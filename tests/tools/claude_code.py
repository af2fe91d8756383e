"""Claude Code on the bench."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial

from .comparing import Part, Rule, Uncounted
from .loopback import Asked
from .tool import PICTURE, Conversation, Run, Tool

_TAGS = ("<system-reminder>\n", "\n</system-reminder>")
_REMINDER = "reminder"  # the role of a paragraph of a reminder, on both sides
_NOTICE = f"{_TAGS[0]}[SYSTEM NOTIFICATION - NOT USER INPUT]"
_TASK = "<task-notification>"
_SUMMARISE = "CRITICAL: Respond with TEXT ONLY."


def _without_settings(part: Part) -> Sequence[Part]:
    return [] if part.role == "system" and part.content.keys() == {"output_config"} else [part]


def _without_line_ends(part: Part) -> Sequence[Part]:
    if part.role != "user" or part.content.get("type") != "text":
        return [part]
    return [Part(part.role, {**part.content, "text": part.content["text"].rstrip("\n")})]


def _without_notice(part: Part) -> Sequence[Part]:
    """Returns the notification that a notice introduces."""
    text = str(part.content.get("text"))
    if not text.startswith(_NOTICE) or _TASK not in text:
        return [part]
    return [Part(part.role, {**part.content, "text": text[text.index(_TASK) :].removesuffix(_TAGS[1])})]


def _paragraphs(part: Part) -> Sequence[Part]:
    """Returns the paragraphs of a reminder, or of several that are one message of the system."""
    text = str(part.content.get("text"))
    if part.role != "system" and not (part.role == "user" and text.startswith(_TAGS[0]) and text.endswith(_TAGS[1])):
        return [part]
    said = text.removeprefix(_TAGS[0]).removesuffix(_TAGS[1]).strip()
    return [Part(_REMINDER, {"text": each}) for each in said.split("\n\n")]


def _summarises(asked: Asked) -> bool:
    return _SUMMARISE in json.dumps(asked.body["messages"][-1])


def _rank(part: Part) -> str:
    return str(part.content["text"]) if part.role == _REMINDER else ""


class ClaudeCode(Tool):
    """What it can do without a terminal, by `-p` and `--resume`, with hints of a hook and a `CLAUDE.md`."""

    name = "claude-code"
    package = "@anthropic-ai/claude-code"
    command = "claude"
    folder = ".claude/projects"
    shape = "anthropic"
    rules = (
        Rule(
            "settings of a turn",
            "a message of the system without content, which sets the effort: a parameter of the request",
            _without_settings,
        ),
        Rule(
            "line ends",
            "texts of the user that follow each other are sent with a line end between them",
            _without_line_ends,
            both=True,
        ),
        Rule(
            "notice of a task",
            "the end of a background task is on the disk; the request says before it that no person typed it",
            _without_notice,
        ),
        Rule(
            "reminders of the system",
            "each is a reminder with tags on the disk; to models that read messages of the system in between, all of a "
            "turn are sent as one such message without tags",
            _paragraphs,
            both=True,
        ),
        Rule(
            "place of reminders",
            "they are written below the prompt that they are for, and sent before it or behind it; an import keeps the "
            "order of the file, as a prompt may have been imported before its reminders were written",
            rank=_rank,
            both=True,
        ),
    )
    uncounted = (
        Uncounted(
            "summaries",
            "the request for a summary is only in the sum of the session (`cost-state`), together with those of its "
            "sub-agents, which have transcripts of their own",
            _summarises,
        ),
    )

    def configure(self, run: Run) -> None:
        """Everything by environment."""
        run.environment |= {
            "ANTHROPIC_BASE_URL": run.server.url,
            "ANTHROPIC_API_KEY": "sk-ant-none",
            "IS_SANDBOX": "1",
            "DISABLE_TELEMETRY": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        (run.work / "notes.md").write_text("Buy milk.\n")
        (run.work / "CLAUDE.md").write_text("Answer in one word.\n")
        hook = {"hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": "It is raining."}}
        command = {"type": "command", "command": f"echo {shlex.quote(json.dumps(hook))}"}
        (run.home / ".claude").mkdir()
        (run.home / ".claude/settings.json").write_text(
            json.dumps({"hooks": {"UserPromptSubmit": [{"hooks": [command]}]}})
        )

    def converse(self, run: Run) -> list[Conversation]:
        """Begins the conversations one after the other, and goes on with each by its id."""
        makers: dict[str, Callable[[Run], str]] = {
            "turns": self._turns,
            "fork": self._fork,
            "compaction": self._compaction,
            "sub-agent": self._agent,
            "refused call": self._refused,
            "rewind": self._rewind,
            "picture": self._picture,
        }
        ids = {about: make(run) for about, make in makers.items()}
        return [Conversation(about, id, partial(self._say, run, id)) for about, id in ids.items()]

    def _turns(self, run: Run) -> str:
        id = self._begin(run, "What is in @notes.md")
        self._say(run, id, "CALL echo hi")
        self._say(run, id, "And its river?")
        return id

    def _fork(self, run: Run) -> str:
        id = self._begin(run, "Name a country")
        self._say(run, id, "CALL echo one")
        fork = self._begin(run, "And its capital?", "--resume", id, "--fork-session")
        self._say(run, id, "CALL echo two")
        return fork

    def _compaction(self, run: Run) -> str:
        id = self._begin(run, "Name a mountain")
        self._say(run, id, "CALL echo three")
        self._say(run, id, "How high is it?")
        self._say(run, id, "/compact")
        self._say(run, id, "Who climbed it?")
        return id

    def _agent(self, run: Run) -> str:
        task = {"description": "Finds it", "prompt": "Find a lake", "subagent_type": "general-purpose"}
        return self._begin(run, f"USE Agent {json.dumps(task)}")

    def _refused(self, run: Run) -> str:
        answer = run("-p", "--output-format", "json", "CALL touch refused")
        return str(json.loads(answer)["session_id"])

    def _rewind(self, run: Run) -> str:
        id = self._begin(run, "Name a bird")
        self._say(run, id, "CALL echo four")
        self._say(run, id, "Can it swim?")
        (transcript,) = (run.home / self.folder).glob(f"*/{id}.jsonl")
        lines = [json.loads(line) for line in transcript.read_text().splitlines()]
        answers = [line["uuid"] for line in lines if line["type"] == "assistant"]
        self._begin(run, "Can it fly?", "--resume", id, "--resume-session-at", answers[0])
        return id

    def _picture(self, run: Run) -> str:
        picture = run.work / "dot.png"
        picture.write_bytes(base64.b64decode(PICTURE))
        return self._begin(run, f"USE Read {json.dumps({'file_path': str(picture)})}")

    def _begin(self, run: Run, prompt: str, *arguments: str) -> str:
        answer = run("-p", "--output-format", "json", "--dangerously-skip-permissions", *arguments, prompt)
        return str(json.loads(answer)["session_id"])

    def _say(self, run: Run, id: str, prompt: str) -> None:
        self._begin(run, prompt, "--resume", id)


TOOL = ClaudeCode()
