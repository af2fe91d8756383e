"""What does a page of the answers to one message cost? A message with many children, each an alternative to the others.

The session is open and warm. *entry(id), 50 times* reads as many entries one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

from conversation import messages, pieces
from harness import Figure, measure, medians, options, p50s, timed, workplace
from report import TARGET_HEADS, Results, judge, table, times

import convtree
from convtree import MessageEntry, Session

_PAGE = 50
_LEAST = f"entry(id), {_PAGE} times"
_PLACES = {"first": "the first page", "middle": "a page in the middle", "last": "the last page"}
_PAGES = [f"{call}(id, limit={_PAGE}), {place}" for call in ("children", "siblings") for place in _PLACES.values()]
_ALL = "children(id)"
ROWS = (*_PAGES, _LEAST, _ALL)


def make(path: str, size: int) -> Figure:
    """Creates the session. This is not timed."""
    with Session.open(Path(path), durability="process") as session:
        root = session.append({"role": "user", "content": "root"}, id="root").id
        source = enumerate(message for message, _ in zip(messages(), range(size), strict=False))
        for piece in pieces(source):
            session.extend(MessageEntry(id=f"c{number}", parent_id=root, message=each) for number, each in piece)
    return {}


def wide(path: str, size: int, calls: int) -> Figure:
    """Times pages."""
    with Session.open(Path(path), mode="r") as session:
        ids = [f"c{number}" for number in range(size)]
        afters = [None, ids[size // 2], ids[-_PAGE - 1]]
        ask = [
            partial(query, of, limit=_PAGE, after=after)
            for query, of in ((session.children, "root"), (session.siblings, "c0"))
            for after in afters
        ]
        for call, after in zip(ask, afters * 2, strict=True):
            first = 0 if after is None else ids.index(after) + 1
            assert [entry.id for entry in call()] == ids[first : first + _PAGE]
        contenders = {name: timed(lambda call: call(), repeat(call)) for name, call in zip(_PAGES, ask, strict=True)}
        contenders[_LEAST] = timed(lambda some: [session.entry(id) for id in some], repeat(ids[:_PAGE]))
        found = p50s(contenders, calls)
        return found | p50s({_ALL: timed(session.children, repeat("root"))}, 10)


def main() -> None:
    """Prints the tables."""
    given = options("What does a page of many answers cost?", sizes=(1_000, 10_000, 100_000), quick=(200, 1_000))
    results = Results("wide", given)
    results.versions["convtree"] = convtree.__version__
    calls = 20 if given.quick else 200
    with workplace(given) as directory, TemporaryDirectory(dir=directory) as place:
        paths = {size: f"{place}/{size}.jsonl" for size in given.sizes}
        for size, path in paths.items():
            measure(make, path=path, size=size)
        figures = {size: partial(measure, wide, path=path, size=size, calls=calls) for size, path in paths.items()}
        for size, found in medians(given.runs, figures).items():
            for name, seconds in found.items():
                results.add(name, size, {"seconds": seconds})
    results.say(results.grid("children of one message", ROWS), table(TARGET_HEADS, targets(results)))


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    size = max(results.given.sizes)
    for name in _PAGES:
        yield judge(f"{name}, beside {_LEAST}, {size:,}", results.ratio(name, _LEAST, size), times, 1.0)


if __name__ == "__main__":
    main()
