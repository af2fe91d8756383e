"""kit on the bench, by its command line, as its README describes it.

Its package fetches the program from elsewhere when it is installed. Where that is not to be had, kit is skipped.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from .tool import Conversation, Run, Tool


class Kit(Tool):
    """Turns and a call, each by `--session`."""

    name = "kit"
    package = "@mark3labs/kit"
    command = "kit"
    folder = ".kit/sessions"
    shape = "openai-chat"

    def configure(self, run: Run) -> None:
        """By environment; the rest is options of each call."""
        run.environment["CUSTOM_API_KEY"] = "none"

    def converse(self, run: Run) -> list[Conversation]:
        """Holds one conversation."""
        _say(run, None, "Name a city")
        [path] = (run.home / self.folder).rglob("*.jsonl")
        for prompt in ("CALL echo hi", "And its river?"):
            _say(run, path, prompt)
        id = str(json.loads(path.read_text().split("\n", maxsplit=1)[0])["id"])
        return [Conversation("turns", id, partial(_say, run, path))]


def _say(run: Run, path: Path | None, prompt: str) -> None:
    where = [] if path is None else ["--session", str(path)]
    model = ["--provider-url", f"{run.server.url}/v1", "--model", "custom/custom"]
    run(*model, "--no-extensions", "--quiet", *where, prompt)


TOOL = Kit()
