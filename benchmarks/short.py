"""What does it cost to open a short session and read all of it? Most sessions are short.

The time includes opening, not imports; each in a fresh process. The messages were appended one by one, by a writer that
has closed the session. No contender has a compaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from field import get, here
from harness import Figure, measure, medians, options, workplace
from report import TARGET_HEADS, Results, duration, judge, table, times

CONTENDERS = ("convtree", "sqlite3 by hand", "SQLiteSession")


def make(peer: str, path: str, entries: int) -> Figure:
    """Creates a session."""
    get(peer, "").make_short(path, entries)
    return {}


def read(peer: str, path: str, entries: int) -> Figure:
    """Opens a session, reads all of it, and checks that every message was returned."""
    figure = get(peer, "").read_short(path)
    assert figure["messages"] == entries, f"{figure['messages']} messages"
    return figure


def main() -> None:
    """Prints the tables."""
    question = "What does it cost to open a short session and read all of it?"
    given = options(question, sizes=(20, 55, 200, 1_000, 4_000), quick=(20, 55), runs=15, least=1)
    results = Results("short", given)
    with workplace(given) as directory:
        figures = {}
        for name in here(results, CONTENDERS):
            for size in given.sizes:
                path = str(directory / f"{size}-{get(name, '').file}")
                measure(make, peer=name, path=path, entries=size)
                figures[name, size] = partial(measure, read, peer=name, path=path, entries=size)
        run(results, figures)
    grid = results.grid("opening and all messages", CONTENDERS)
    cpu = results.grid("processor time of that", CONTENDERS, "cpu")
    results.say(grid, cpu, table(TARGET_HEADS, targets(results)))


def run(results: Results, figures: Mapping[tuple[str, int], partial[Figure]]) -> None:
    """Measures every contender at every size, in rotation."""
    for (name, size), figure in medians(results.given.runs, figures).items():
        results.add(name, size, figure)


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    for size in results.given.sizes:
        yield judge(f"beside SQLiteSession, {size:,}", results.ratio("convtree", "SQLiteSession", size), times, 1)
    yield judge("convtree, 4,000", results.get("convtree", 4_000), duration, 5e-3)


if __name__ == "__main__":
    main()
