"""The bench: what convtree imports from other tools, compared with what these tools send.

`python -m tests.tools.bench` installs the newest version of each tool from npm, lets it hold a conversation with a
server on the loopback interface, and imports what it wrote. Then each conversation goes on in the tool. The request
that it sends, without what was said last and without its system prompt, is what the context of the import must give.
The token counts of the import must be those that the server handed out. What was imported grows by what was said last;
that must be the same as importing it anew. Summaries are rendered in the words of the tool.

A difference is explained by a named rule in the module of the tool, or it is a fault. It needs the network and minutes,
and is no part of the gate. Status 1: there is a difference that nothing explains. A tool that cannot be installed is
skipped, and said to be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from convtree import SessionStore, open_store
from convtree.exchange import import_into

from .comparing import Comparison, Counted, Difference, Rule, compare, count
from .loopback import Asked, Handed, Loopback
from .tool import Conversation, Failed, NotToBeHad, Run, Tool

MODULES = (
    "claude_code",
    "codex",
    "gemini_cli",
    "kit",
    "opencode",
    "pi",
    "qwen_code",
)
_SHOWN = 600  # characters of a part in a report


class Compared(NamedTuple):
    """A conversation, how its import compares, and by which rules."""

    about: str
    comparison: Comparison | None
    fault: str | None = None
    rules: Sequence[Rule] = ()


class Result(NamedTuple):
    """How the import of one tool compares."""

    tool: Tool
    version: str
    conversations: list[Compared]
    counted: Counted
    faults: list[str]

    @property
    def unexplained(self) -> int:
        """How many differences nothing explains: in messages, in counts, in what was imported at all."""
        found = sum(len(each.comparison.differences) for each in self.conversations if each.comparison)
        missing = sum(each.fault is not None for each in self.conversations)
        return found + missing + len(self.faults) + (not self.counted.is_right)

    @property
    def explained(self) -> Counter[str]:
        """How many parts each rule explains."""
        found = (each.comparison.explained for each in self.conversations if each.comparison)
        return +sum(found, Counter(self.counted.skipped))


def measure(tool: Tool, program: Path, home: Path, version: str = "") -> Result:
    """Lets a tool talk, and compares what is imported with what it sends."""
    with Loopback() as server, Run(program, home, server) as run:
        tool.configure(run)
        conversations = tool.converse(run)
        grown, fresh = open_store("memory:"), open_store("memory:")
        faults = _import(tool, run, grown)
        compared = [_compare(tool, run, grown, each, number) for number, each in enumerate(conversations, 1)]
        faults += _import(tool, run, grown) + _import(tool, run, fresh)
    faults += [f"{id}: grown and imported anew differ" for id in _unlike(grown, fresh)]
    return Result(tool, version, compared, count(server.asked, _total(fresh), tool.uncounted), faults)


def _import(tool: Tool, run: Run, store: SessionStore) -> list[str]:
    reports = import_into(run.home / tool.folder, store)
    return [f"{report.source}: {report.reason}" for report in reports if report.status == "failed"]


def _compare(tool: Tool, run: Run, store: SessionStore, conversation: Conversation, number: int) -> Compared:
    """Compares one conversation: its import with what the tool sends when it goes on."""
    if conversation.say is None:
        return Compared(conversation.about, None)
    id = _sessions(store).get(conversation.source_id)
    if id is None:
        return Compared(conversation.about, None, f"session {conversation.source_id} was not imported")
    with store.open(id) as session:
        imported = session.build_context(render=tool.render).to(tool.shape)
    before, prompt = len(run.server.asked), f"And what comes after number {number} here?"
    conversation.say(prompt)
    sent = next((each for each in run.server.asked[before:] if _asks(each, prompt)), None)
    if sent is None:
        return Compared(conversation.about, None, "the tool did not send what was said next")
    rules = (*conversation.rules, *tool.rules)
    return Compared(conversation.about, compare(tool.shape, imported, sent.body, prompt, rules), rules=rules)


def _asks(asked: Asked, prompt: str) -> bool:
    return asked.has_tools and prompt in json.dumps(asked.body)


def _sessions(store: SessionStore) -> dict[str, str]:
    """Returns the ids of all sessions by those that they have in the tool."""
    found: dict[str, str] = {}
    for info in store.list(tasks=True, archived=None):
        with store.open(info.id) as session:
            about: Mapping[str, Any] = (session.header.metadata or {}).get("import") or {}
        found[str(about.get("id"))] = info.id
    return found


def _unlike(one: SessionStore, other: SessionStore) -> list[str]:
    """Returns the ids of sessions whose context is not the same in two stores."""
    ids = {store: set(_sessions(store).values()) for store in (one, other)}
    unlike = ids[one] ^ ids[other]
    for id in ids[one] & ids[other]:
        with one.open(id) as a, other.open(id) as b:
            if a.build_context().messages != b.build_context().messages:
                unlike.add(id)
    return sorted(unlike)


def _total(store: SessionStore) -> Handed:
    """Returns the tokens of all sessions; what a fork has copied counts once."""
    total = Handed(0, 0, 0)
    for info in store.list(tasks=True, archived=None):
        usage = info.usage
        cached = usage.cache_read_tokens
        total = Handed(
            total.input + usage.input_tokens + usage.cache_write_tokens + cached,
            total.cached + cached,
            total.output + usage.output_tokens,
        )
    return total


def table(results: Sequence[Result]) -> str:
    """Returns the results as a table in Markdown."""
    lines = [
        "| tool | version | conversations | messages | differences | explained | counts |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        messages = sum(each.comparison.messages for each in result.conversations if each.comparison)
        explained = ", ".join(f"{name} ({times})" for name, times in sorted(result.explained.items())) or "none"
        counts = "right" if result.counted.is_right else f"{result.counted.imported} of {result.counted.handed}"
        about = ", ".join(each.about for each in result.conversations)
        lines.append(
            f"| {result.tool.name} | {result.version} | {len(result.conversations)}: {about} | {messages} "
            f"| {result.unexplained} | {explained} | {counts} |"
        )
    return "\n".join(lines)


def details(result: Result) -> list[str]:
    """Returns what a person needs to find the reason of each difference."""
    name, lines = result.tool.name, [f"{result.tool.name}: {fault}" for fault in result.faults]
    for each in result.conversations:
        if each.fault is not None:
            lines.append(f"{name}, {each.about}: {each.fault}")
        for difference in each.comparison.differences if each.comparison else ():
            lines.append(f"{name}, {each.about}:")
            lines += [f"  {side}: {_shown(difference, side)}" for side in ("imported", "sent")]
    if not result.counted.is_right:
        lines.append(f"{name}: counts: imported {result.counted.imported}, handed out {result.counted.handed}")
    return lines


def _shown(difference: Difference, side: str) -> str:
    part = getattr(difference, side)
    text = "nothing" if part is None else f"{part.role} {json.dumps(part.content, ensure_ascii=False)}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"


def reasons(result: Result) -> dict[str, str]:
    """Returns why the rules that explain something do so, by their names."""
    known = {rule.name: rule.reason for each in result.conversations for rule in each.rules}
    known |= {rule.name: rule.reason for rule in result.tool.uncounted}
    return {name: known[name] for name in sorted(result.explained)}


def as_json(result: Result) -> dict[str, Any]:
    """Returns a result as plain values."""
    return {
        "tool": result.tool.name,
        "version": result.version,
        "unexplained": result.unexplained,
        "faults": result.faults,
        "explained": [
            {"rule": name, "reason": reason, "times": result.explained[name]}
            for name, reason in reasons(result).items()
        ],
        "counts": {"imported": result.counted.imported._asdict(), "handed_out": result.counted.handed._asdict()},
        "conversations": [
            {
                "about": each.about,
                "fault": each.fault,
                "messages": each.comparison.messages if each.comparison else 0,
                "differences": [
                    {side: part and part._asdict() for side, part in difference._asdict().items()}
                    for difference in (each.comparison.differences if each.comparison else ())
                ],
            }
            for each in result.conversations
        ],
    }


def tools() -> dict[str, Tool]:
    """Returns all tools by name."""
    found = (import_module(f"{__package__}.{name}").TOOL for name in MODULES)
    return {tool.name: tool for tool in found}


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="TOOL", help="only these tools; without a name, all of them")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convtree-bench"
    parser.add_argument("--dir", type=Path, default=cache, help="where the tools are installed, default: %(default)s")
    parser.add_argument("--keep", type=Path, help="keep what the tools wrote below this folder, which must be empty")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; returns the exit status."""
    options = _arguments(arguments)
    chosen = tools()
    if unknown := set(options.names) - chosen.keys():
        print(f"unknown tool {', '.join(sorted(unknown))}; expected one of {', '.join(chosen)}", file=sys.stderr)
        return 2
    homes = options.keep or Path(tempfile.mkdtemp(prefix="convtree-bench-"))
    results, broken = [], False
    try:
        for name in options.names or chosen:
            tool, place = chosen[name], options.dir / name
            try:
                program = tool.install(place)
                results.append(measure(tool, program, homes / name, tool.version(place)))
            except NotToBeHad as error:
                print(f"SKIPPED {name}: {error}", file=sys.stderr)
            except Failed as error:
                print(f"FAILED {name}: {error}", file=sys.stderr)
                broken = True
    finally:
        if options.keep is None:
            shutil.rmtree(homes, ignore_errors=True)
    if options.json:
        print(json.dumps([as_json(result) for result in results], indent=1))
    else:
        print("\n".join([*(line for result in results for line in details(result)), table(results), ""]))
        print(
            "\n".join(f"- {each.tool.name}, {name}: {why}." for each in results for name, why in reasons(each).items())
        )
    return int(broken or any(result.unexplained for result in results))


if __name__ == "__main__":
    sys.exit(main())
