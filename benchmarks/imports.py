"""What does `import convtree` cost? Fresh processes in rotation, minus the time of bare Python."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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


def start(statement: str) -> Figure:
    """Times a process that only imports. The modules are compiled already."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return {"seconds": time.perf_counter() - began}


def main() -> None:
    """Prints the tables."""
    given = options("What does `import convtree` cost?", sizes=(), quick=(), runs=21)
    results = Results("imports", given)
    with workplace(given):
        names = [BARE, *here(results, [name for name in STATEMENTS if name != BARE])]
        figures = {name: partial(start, STATEMENTS[name]) for name in names}
        medians(1, figures)  # the first import compiles
        found = medians(given.runs, figures)
    for name, figure in found.items():
        results.add(name, 0, {**figure, "above": figure["seconds"] - found[BARE]["seconds"]})
    results.say(
        table(("a process that imports", "takes", "above bare"), rows(results)), table(TARGET_HEADS, goal(results))
    )


def rows(results: Results) -> Iterator[Sequence[str]]:
    """Yields a row for each package, installed or not."""
    for name in STATEMENTS:
        whole, above = results.get(name, 0), results.get(name, 0, "above")
        yield name, *("—" if found is None else duration(found) for found in (whole, above if name != BARE else None))


def goal(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    yield judge("import convtree", results.get("convtree", 0, "above"), duration, 0.06)


if __name__ == "__main__":
    main()
