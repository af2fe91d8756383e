"""What does build_context cost, and the end of a path? Compared with `orjson.loads` of the same lines, in memory.

The session is open and warm. Parsing is the minimum for a context. `build_context` also finds the lines in the tree,
reads them from the file, and verifies their checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path

from conversation import KEPT
from field import get, here, prepare
from harness import Batch, Figure, measure, medians, options, p50s, timed, workplace
from report import TARGET_HEADS, Results, judge, table, times

_KEPT, _WHOLE = f"build_context, {KEPT} messages behind a compaction", "build_context, all messages"
_KEPT_LOADS, _WHOLE_LOADS = "orjson.loads of those lines", "orjson.loads of all the lines"
_END = f"path(last={KEPT + 1}), the same entries"
CONTENDERS = (_KEPT, _END, _KEPT_LOADS, _WHOLE, _WHOLE_LOADS)
_WHOLE_UP_TO = 10_000  # entries; longer contexts are too large for any model


def kept(path: str, calls: int) -> Figure:
    """Times the context after the compaction at the end, and the end of the path."""
    with open(path, "rb") as file:
        file.seek(-min(Path(path).stat().st_size, (KEPT + 10) * 1_500), 2)
        lines = file.read().splitlines()[-KEPT - 1 :]
    session = get("convtree", "").open(path)
    assert len(session.build_context().messages) == len(session.path(last=KEPT + 1)) == len(lines)
    context = timed(lambda leaf: session.build_context(leaf=leaf), repeat(session.leaf_id))
    end = timed(lambda count: session.path(last=count), repeat(KEPT + 1))
    return p50s({_KEPT: context, _END: end, _KEPT_LOADS: _loads(lines)}, calls)


def whole(path: str, calls: int) -> Figure:
    """Times the context of the path before the compaction."""
    with open(path, "rb") as file:
        lines = [line for line in file.read().splitlines()[1:-1] if b'"type":"group"' not in line[:99]]
    session = get("convtree", "").open(path)
    leaf = session.entry(session.leaf_id).parent_id
    assert len(session.build_context(leaf=leaf).messages) == len(lines)
    context = timed(lambda leaf: session.build_context(leaf=leaf), repeat(leaf))
    return p50s({_WHOLE: context, _WHOLE_LOADS: _loads(lines)}, calls)


def _loads(lines: Sequence[bytes]) -> Batch:
    import orjson

    return timed(lambda lines: [orjson.loads(line) for line in lines], repeat(lines))


def main() -> None:
    """Prints the tables."""
    given = options("What does build_context cost?", sizes=(1_000, 10_000, 100_000), quick=(200, 1_000))
    results = Results("contexts", given)
    with workplace(given) as directory:
        here(results, ["convtree"])
        run(results, prepare(results, ["convtree"], directory))
    results.say(results.grid("one context", CONTENDERS), table(TARGET_HEADS, targets(results)))


def run(results: Results, paths: Mapping[int, Mapping[str, str]]) -> None:
    """Measures at every depth, in rotation."""
    calls = 20 if results.given.quick else 200
    figures = {}
    for size, made in paths.items():
        figures["kept", size] = partial(measure, kept, path=made["convtree"], calls=calls)
        if size <= _WHOLE_UP_TO:
            figures["whole", size] = partial(measure, whole, path=made["convtree"], calls=calls // 10)
    for (_, size), p50 in medians(results.given.runs, figures).items():
        for name, seconds in p50.items():
            results.add(name, size, {"seconds": seconds})


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    for size in results.given.sizes:
        yield judge(f"{_KEPT}, beside loads, {size:,} entries", results.ratio(_KEPT, _KEPT_LOADS, size), times, 2.5)
    for size in results.costs(_WHOLE):
        yield judge(f"{_WHOLE}, beside loads, {size:,} entries", results.ratio(_WHOLE, _WHOLE_LOADS, size), times, 2.5)
    costs = results.costs(_KEPT)
    deep = costs[max(costs)] / costs[min(costs)] if len(costs) > 1 else None
    yield judge(f"{_KEPT}, deepest beside shallowest", deep, times, 1.1)


if __name__ == "__main__":
    main()
