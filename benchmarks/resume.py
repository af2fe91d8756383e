"""What does it cost to resume a session? Open a conversation and read its last 50 messages, in a fresh process.

The time includes opening, not imports. If the format has compactions, the last entry is one that keeps 50 messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from conversation import KEPT
from field import get, here, prepare
from harness import Figure, measure, medians, options, workplace
from report import TARGET_HEADS, Results, duration, judge, judge_least, megabytes, table, times

CONTENDERS = (
    *("convtree", "convtree, no index"),
    *("sqlite3 by hand", "SQLiteSession", "AdvancedSQLiteSession", "SqliteSaver", "pi", "pi-agent-harness-lc"),
    *("reading the file", "orjson.loads of every line", "json.loads of every line, kept"),
)


def resume(peer: str, path: str, npm: str) -> Figure:
    """Resumes once, and checks that the last messages were returned."""
    figure = get(peer, npm).resumed(path)
    assert figure["messages"] in (0, KEPT, KEPT + 1), f"{figure['messages']} messages"
    return figure


def main() -> None:
    """Prints the tables."""
    given = options("What does it cost to resume a session?", sizes=(1_000, 10_000, 100_000), quick=(200, 1_000))
    results = Results("resume", given)
    with workplace(given) as directory:
        names = here(results, CONTENDERS)
        run(results, prepare(results, names, directory))
    times_taken = results.grid("opening and the last 50 messages", CONTENDERS)
    cpu = results.grid("processor time of that", CONTENDERS, "cpu")
    memory = results.grid("peak memory above the imports", CONTENDERS, "bytes")
    results.say(times_taken, cpu, memory, table(TARGET_HEADS, targets(results)))


def run(results: Results, paths: Mapping[int, Mapping[str, str]]) -> None:
    """Measures every contender at every size, in rotation."""
    figures = {
        (name, size): partial(measure, resume, peer=name, path=path, npm=str(results.given.npm))
        for size, by_name in paths.items()
        for name, path in by_name.items()
    }
    failed: dict[tuple[str, int], str] = {}
    for (name, size), figure in medians(results.given.runs, figures, failed).items():
        results.add(name, size, figure)
    for (name, size), error in failed.items():
        results.note(name, f"failed at {size:,}: {error}")


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    warm, cold, size = "convtree", "convtree, no index", 100_000
    for entries in (size, 1_000_000):
        yield judge(f"with index, {entries:,} entries", results.get(warm, entries), duration, 3e-3)
    for entries in results.given.sizes:
        if entries >= 10_000:
            beside = results.ratio(warm, "sqlite3 by hand", entries)
            yield judge(f"· beside sqlite3 by hand, {entries:,}", beside, times, 1)
    for slower in ("pi", "AdvancedSQLiteSession"):
        yield judge_least(f"· faster than {slower}, 100,000", results.ratio(slower, warm, size), times, 200)
    yield judge_least("without, faster than pi, 100,000", results.ratio("pi", cold, size), times, 4)
    parsed = results.ratio(cold, "orjson.loads of every line", size)
    yield judge("· beside orjson.loads of every line, 100,000", parsed, times, 2)
    yield judge("memory with index, 1,000,000", results.get(warm, 1_000_000, "bytes"), megabytes, 25e6)
    held = results.get(cold, 1_000_000, "bytes")
    each = None if held is None else held / 1_000_000
    yield judge("memory without, an entry, 1,000,000", each, "{:.0f} B".format, 200)


if __name__ == "__main__":
    main()
