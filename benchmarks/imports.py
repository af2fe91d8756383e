"""What does `import convtree` cost, and a process that appends one message? Fresh processes in rotation."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from field import here
from harness import Figure, medians, options, workplace
from report import TARGET_HEADS, Results, duration, judge, table

BARE = "bare Python"
STATEMENTS = {
    BARE: "pass",
    "convtree": "import convtree",
    "SQLiteSession": "from agents import SQLiteSession",
    "SqliteSaver": "from langgraph.checkpoint.sqlite import SqliteSaver",
    "pi-agent-harness-lc": "import pi_agent_harness.session",
}
_BY_HAND, _OURS = "by hand: open, json.dumps, write", "convtree"
MESSAGE = {"role": "user", "content": "Where shall we go?"}
#: programs that append one message to the log in argv, not synced, and end
APPENDS = {
    _BY_HAND: f"import json, sys; open(sys.argv[1], 'a').write(json.dumps({MESSAGE}) + chr(10))",
    _OURS: f"import convtree, sys; convtree.Session.open(sys.argv[1], durability='process').append({MESSAGE})",
}


def start(program: str, *arguments: str) -> Figure:
    """Times a process that runs a program. The modules are compiled already."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, env=environment)
    return {"seconds": time.perf_counter() - began}


def main() -> None:
    """Prints the tables."""
    given = options("What does `import convtree` cost?", sizes=(), quick=(), runs=21)
    results = Results("imports", given)
    with workplace(given) as directory:
        names = [BARE, *here(results, [name for name in STATEMENTS if name != BARE])]
        figures = {name: partial(start, STATEMENTS[name]) for name in names}
        for number, (name, program) in enumerate(APPENDS.items()):
            figures[_appending(name)] = partial(start, program, str(directory / f"{number}.jsonl"))
        medians(1, figures)  # the first import compiles, and the first append makes the log
        found = medians(given.runs, figures)
    for name, figure in found.items():
        results.add(name, 0, {**figure, "above": figure["seconds"] - found[BARE]["seconds"]})
    heads = "takes", "above bare"
    results.say(
        table(("a process that imports", *heads), rows(results, STATEMENTS)),
        table(("a process that appends one message", *heads), rows(results, APPENDS, _appending)),
        table(TARGET_HEADS, goal(results)),
    )


def _appending(name: str) -> str:
    return f"{name}, one append"


def rows(results: Results, names: Iterable[str], key: Callable[[str], str] = str) -> Iterator[Sequence[str]]:
    """Yields a row for each name, measured or not; `key` is what its figures have."""
    for name in names:
        whole, above = results.get(key(name), 0), results.get(key(name), 0, "above")
        yield name, *("—" if found is None else duration(found) for found in (whole, above if name != BARE else None))


def goal(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    yield judge("import convtree, above bare Python", results.get("convtree", 0, "above"), duration, 0.035)
    ours, by_hand = (results.get(_appending(name), 0) for name in (_OURS, _BY_HAND))
    above = None if ours is None or by_hand is None else ours - 1.5 * by_hand
    yield judge("one append, above 1.5 of the process by hand", above, duration, 0.025)


if __name__ == "__main__":
    main()
