"""What does an append cost? One message to an open conversation, by the length of the conversation.

Contenders that sync form one group, the others another. A group alternates in one process.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from field import get, here, prepare
from harness import Figure, contender, measure, medians, options, p50s, workplace
from report import TARGET_HEADS, Results, duration, exponent, judge, power, table, times

HUNDRED = ", 100 in one call"
_SYNCED = ("os.write + fdatasync", "convtree", "sqlite3 by hand", "SQLiteSession", "AdvancedSQLiteSession")
_REFERENCES = ("RocksDB", "LMDB")
_BY_HAND = "by hand: open, json.dumps, write"
_PROCESS = 'convtree, durability="process"'
_BRANCH = "convtree, branch to the middle + append"
_STORE, _STORE_PROCESS = "convtree, SQLite store", 'convtree, SQLite store, durability="process"'
_BELOW = "convtree, append below the middle"
GROUPS = {
    "one append, synced": (*_SYNCED, _STORE, *_REFERENCES),
    # A group of its own, because its writes would push the files of the others out of memory.
    "one append of the whole state, synced": ("SqliteSaver",),
    "one append, not synced": (
        "os.write",
        _BY_HAND,
        _PROCESS,
        _BRANCH,
        _BELOW,
        _STORE_PROCESS,
        "pi",
        "pi-agent-harness-lc",
    ),
    "one call, synced": tuple(name + HUNDRED for name in _SYNCED),
    "one call, not synced": tuple(name + HUNDRED for name in (_BY_HAND, _PROCESS)),
}
_SMALL = 10_000  # a shorter conversation is copied for each run, so that its length stays the same


def append(paths: Mapping[str, str], calls: int, size: int, npm: str) -> Figure:
    """Times the appends of one group. A name that ends in `HUNDRED` appends 100 messages per call."""
    with ExitStack() as ends:
        if size <= _SMALL:
            paths = _copied(paths, ends.enter_context(TemporaryDirectory(dir=Path(next(iter(paths.values()))).parent)))
        batches = {}
        for name, path in paths.items():
            with contender(name):
                peer = get(name.removesuffix(HUNDRED), npm)
                batches[name] = (peer.many if name.endswith(HUNDRED) else peer.appender)(path)
                ends.callback(peer.close)
        return p50s(batches, calls)


def _copied(paths: Mapping[str, str], directory: str) -> dict[str, str]:
    """Copies conversations with the files beside them."""
    for path in map(Path, set(paths.values())):
        for part in path.parent.glob(f"{path.name}*"):
            shutil.copy(part, directory)
    return {name: str(Path(directory, Path(path).name)) for name, path in paths.items()}


def main() -> None:
    """Prints the tables."""
    given = options("What does an append cost?", sizes=(1_000, 10_000, 100_000), quick=(200, 1_000), runs=3)
    results = Results("appends", given)
    with workplace(given) as directory:
        found = here(results, [name for group in GROUPS.values() for name in group if not name.endswith(HUNDRED)])
        run(results, prepare(results, found, directory))
    grids = [results.grid(title, names) for title, names in GROUPS.items()]
    results.say(*grids, table(TARGET_HEADS, targets(results)))


def run(results: Results, paths: Mapping[int, Mapping[str, str]]) -> None:
    """Measures every group at every length, in rotation."""
    calls, npm = 20 if results.given.quick else 200, str(results.given.npm)
    figures = {}
    for title, names in GROUPS.items():
        for size, made in paths.items():
            taken = {name: made[name.removesuffix(HUNDRED)] for name in names if name.removesuffix(HUNDRED) in made}
            if taken:
                figures[title, size] = partial(measure, append, paths=taken, calls=calls, size=size, npm=npm)
    failed: dict[tuple[str, int], str] = {}
    for (_, size), p50 in medians(results.given.runs, figures, failed).items():
        results.add_each(size, p50)
    for (title, size), error in failed.items():
        results.note(title, f"failed at {size:,}: {error}")


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets: ratios at the greatest length, and growth over all lengths."""
    most = max(results.given.sizes)
    for name, other, factor in (
        ("convtree", "os.write + fdatasync", 1.3),
        (_PROCESS, _BY_HAND, 0.9),
        (_PROCESS, "pi", 1.1),
        (_PROCESS + HUNDRED, _BY_HAND + HUNDRED, 1.5),
        ("convtree" + HUNDRED, "SQLiteSession" + HUNDRED, 1),
    ):
        yield judge(f"{name}, beside {other}, at {most:,}", results.ratio(name, other, most), times, factor)
    for name, extra_s in ((_BELOW, 25e-6), (_BRANCH, 40e-6)):
        found, plain = results.get(name, most), results.get(_PROCESS, most)
        above = None if found is None or plain is None else found - plain
        yield judge(f"{name}, above a plain append, at {most:,}", above, duration, extra_s)
    for name, most_s in ((_STORE, 510e-6), (_STORE_PROCESS, 300e-6)):
        yield judge(f"{name}, at {most:,}", results.get(name, most), duration, most_s)
    for name in ("convtree", _PROCESS, _BRANCH):
        found = exponent(results.costs(name))  # both directions: a cost that shrinks with the length was disturbed
        yield judge(f"{name}, growth or shrinking", None if found is None else abs(found), power, 0.05)


if __name__ == "__main__":
    main()
