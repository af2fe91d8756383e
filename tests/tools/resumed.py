"""Exports opened by the tools themselves: `python -m tests.tools.resumed [CLAUDE] [CODEX]`, from the root of the tree.

Each tool gets an exported session in a home of its own, resumes it against a loopback server, and is asked one more
question. What it then sends is compared with the request that convtree makes of the session. Takes seconds, needs the
tools (as arguments or on the PATH), and prints what it did not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from exported import PIXEL, call, chat_session

from convtree import CompactionEntry, Session
from convtree._formats.claude_code import writer as claude_code
from convtree._formats.codex import writer as codex
from convtree.exchange import export_file
from tools.loopback import Loopback

Message = tuple[str, Any]
PROMPT = "And then?"
#: what the tools put around a conversation
_FRAME = ("<", "You are Codex", "You are a ")


def compacted() -> Session:
    """A kept question, a summary, another branch with a summary, and a leaf that is not the last entry."""
    session = Session.memory()
    first = session.append({"role": "user", "content": "Look"})
    kept = session.append({"role": "assistant", "content": "I looked"}, provider="anthropic", model="claude-opus-4-8")
    session.append(CompactionEntry(summary="They looked.", first_kept_entry_id=kept.id))
    session.append({"role": "user", "content": "Go on"})
    end = session.append({"role": "assistant", "content": "I went on"}, provider="google", model="gemini-3")
    session.append({"role": "user", "content": "Aside"}, parent_id=first.id)
    session.append(CompactionEntry(summary="Aside.", first_kept_entry_id=first.id))
    session.branch(end.id)
    return session


def inner_leaf() -> Session:
    """A conversation that goes on from its middle."""
    session = Session.memory()
    session.append({"role": "user", "content": "Look"})
    seen = session.append({"role": "assistant", "content": "Seen"}, provider="openai", model="gpt-5")
    session.append({"role": "user", "content": "Not this"})
    session.append({"role": "assistant", "content": "Nor this"}, provider="openai", model="gpt-5")
    session.branch(seen.id)
    return session


def repeated_ids() -> Session:
    """Calls whose ids come again."""
    session = Session.memory()
    for number in range(2):
        session.append({"role": "user", "content": f"Look {number}"})
        session.append({"role": "assistant", "content": None, "tool_calls": [call("call_0")]}, model="gpt-5")
        session.append({"role": "tool", "tool_call_id": "call_0", "content": f"result {number}"})
        session.append({"role": "assistant", "content": f"Seen {number}"}, model="gpt-5")
    return session


SESSIONS = {"chat": chat_session, "compacted": compacted, "inner leaf": inner_leaf, "repeated ids": repeated_ids}


def contents(messages: list[dict[str, Any]]) -> list[Message]:
    """What messages say, without the ids of calls; those of one speaker in a row are one."""
    found: list[tuple[str, list[Any]]] = []
    for message in messages:
        role = message.get("role") or ("assistant" if message["type"] == "function_call" else "user")
        content = message.get("content", message)
        blocks = [content] if isinstance(content, str | dict) else content
        said = [each for each in map(_said, blocks) if each is not None]
        if found and found[-1][0] == role:
            found[-1][1].extend(said)
        elif said and role in ("user", "assistant"):
            found.append((role, said))
    return found


def _said(block: Any) -> Any:
    text = block if isinstance(block, str) else block.get("text")
    if text is not None:
        return None if text.startswith(_FRAME) else text.rstrip("\n")
    if block["type"] in ("image", "input_image"):
        return "picture" if PIXEL in str(block) else "another picture"
    if block["type"] in ("tool_use", "function_call"):
        return block["name"]
    return block.get("output") or block.get("content")


@contextmanager
def home() -> Iterator[tuple[Path, Path]]:
    """A home, and a directory to work in."""
    folder = Path(tempfile.mkdtemp())
    (folder / "work").mkdir()
    try:
        yield folder, folder / "work"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(command: list[str], work: Path, **variables: str) -> None:
    """Runs a tool; what it prints is shown if it fails."""
    done = subprocess.run(
        command, check=False, cwd=work, env=os.environ | variables, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        print(done.stdout[-500:], done.stderr[-500:])


def ask_claude(tool: str, session: Session) -> tuple[list[Message], list[Message]]:
    """What Claude Code sends, and what convtree would. Its prompt is not the session's, which becomes a message."""
    with home() as (folder, work), Loopback() as server:
        project = folder / ".claude" / "projects" / re.sub("[^a-zA-Z0-9]", "-", str(work))
        project.mkdir(parents=True)
        export_file(session, project, "claude-code")
        id = claude_code.file_name(session).removesuffix(".jsonl")
        keys = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "sk-ant-xx", "IS_SANDBOX": "1"}
        keys |= {"HOME": str(folder), "DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        run([tool, "-p", "--resume", id, PROMPT], work, **keys)
        sent = [each.body["messages"] for each in server.asked if each.has_tools]
    request = session.build_context().to("anthropic")
    said = [{"role": "user", "content": request["system"]}] if "system" in request else []
    return contents(sent[-1] if sent else []), contents([*said, *request["messages"], _question()])


def ask_codex(tool: str, session: Session) -> tuple[list[Message], list[Message]]:
    """What Codex sends, and what convtree would."""
    with home() as (folder, work), Loopback() as server:
        name = codex.file_name(session)
        place = folder / ".codex" / "sessions" / name[8:12] / name[13:15] / name[16:18]
        place.mkdir(parents=True)
        export_file(session, place, "codex")
        (folder / ".codex" / "config.toml").write_text(
            'model="gpt-5.5"\nmodel_provider="lo"\napproval_policy="never"\nsandbox_mode="danger-full-access"\n'
            f'[model_providers.lo]\nname="lo"\nbase_url="{server.url}/v1"\nwire_api="responses"\nenv_key="K"\n'
        )
        keys = {"HOME": str(folder), "CODEX_HOME": str(folder / ".codex"), "K": "k"}
        run([tool, "exec", "resume", "--skip-git-repo-check", name[-42:-6], PROMPT], work, **keys)
        sent = [each.body["input"] for each in server.asked]
    items = [item for item in (sent[-1] if sent else []) if "role" not in item or item.get("content")]
    wanted = session.build_context().to("openai-responses")["input"]
    return contents([each for each in items if each.get("role") != "developer"]), contents([*wanted, _question()])


def _question() -> dict[str, Any]:
    return {"role": "user", "content": PROMPT}


def main(tools: list[str]) -> int:
    """Runs every session through every tool; returns how many differ."""
    ask: dict[str, Callable[[str, Session], tuple[list[Message], list[Message]]]] = {
        "claude": ask_claude,
        "codex": ask_codex,
    }
    differing = 0
    for name, given in zip(ask, [*tools, *[None] * len(ask)], strict=False):
        tool = given or shutil.which(name)
        if tool is None:
            print(f"{name}: NOT RUN, it is not on the PATH")
            continue
        version = subprocess.run([tool, "--version"], check=False, capture_output=True, text=True).stdout.strip()
        for about, make in SESSIONS.items():
            sent, wanted = ask[name](tool, make())
            differing += sent != wanted
            print(f"{name} {version}: {about}: {'same' if sent == wanted else f'DIFFERS: {sent} instead of {wanted}'}")
    return differing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
