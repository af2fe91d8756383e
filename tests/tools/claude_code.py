"""Claude Code on the bench."""

from __future__ import annotations

import json
from functools import partial

from .comparing import Part, Rule
from .tool import Conversation, Run, Tool


def _without_cache_marks(part: Part) -> list[Part]:
    return [Part(part.role, {name: value for name, value in part.content.items() if name != "cache_control"})]


class ClaudeCode(Tool):
    """Turns, a call, a fork, a compaction and a sub-agent, each by `-p` and `--resume`."""

    name = "claude-code"
    package = "@anthropic-ai/claude-code"
    command = "claude"
    folder = ".claude/projects"
    shape = "anthropic"
    rules = (
        Rule("cache marks", "`cache_control` says what the provider caches, not what is said", _without_cache_marks),
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

    def converse(self, run: Run) -> list[Conversation]:
        """Begins the conversations one after the other, and goes on with each by its id."""
        plain = self._begin(run, "Name a city")
        self._say(run, plain, "CALL echo hi")
        self._say(run, plain, "And its river?")
        return [Conversation("turns", plain, partial(self._say, run, plain))]

    def _begin(self, run: Run, prompt: str, *arguments: str) -> str:
        answer = run("-p", "--output-format", "json", "--dangerously-skip-permissions", *arguments, prompt)
        return str(json.loads(answer)["session_id"])

    def _say(self, run: Run, id: str, prompt: str) -> None:
        self._begin(run, prompt, "--resume", id)


TOOL = ClaudeCode()
