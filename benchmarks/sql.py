"""What does a PostgreSQL server cost? Appends, opening, lists of sessions, and eight writers on one session.

The server is that of `--url`, or a private one that syncs every commit. Everything created there is removed. Two kinds
of figures do not depend on the length of a conversation: lists of many sessions, and concurrent writers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from conversation import KEPT, messages
from field import here
from harness import Figure, FigureFailed, measure, medians, once, options, p50s, workplace
from report import TARGET_HEADS, Results, duration, judge, table, times
from servers import SERVER_PEERS, NoServer, server, server_version

_SAME, _FEWEST = "psycopg, the same two statements", "psycopg, the fewest columns"
GROUPS = {
    "one append": ("convtree", _SAME, _FEWEST, "SQLAlchemySession"),
    # A group of its own, because its writes would slow down the others.
    "one append of the whole state": ("PostgresSaver",),
}
OPENERS = ("convtree", "SQLAlchemySession", "PostgresSaver")
LISTS = {"list(limit=50)": "list", "list(limit=50, cwd=…)": "narrowed", "SELECT of the newest 50, by psycopg": "select"}
WRITERS = (1, 8)
_LISTED = 100_000
_AGAIN = 9
_CALLS = 21


# --- figures ------------------------------------------------------------------------------------------------------


def make(peer: str, url: str, entries: int) -> Figure:
    """Creates a conversation of a peer."""
    SERVER_PEERS[peer]().make(url, entries)
    return {}


def resume(peer: str, url: str) -> Figure:
    """Times opening a conversation and reading its last messages: once with connecting, then several times without."""
    opened = SERVER_PEERS[peer]()
    first = once(lambda: opened.resume(url))
    assert first["messages"] in (KEPT, KEPT + 1), f"{first['messages']} messages"
    again = [once(opened.fetch) for _ in range(_AGAIN)]
    opened.close()
    return {"connecting": first["seconds"], "again": median(each["seconds"] for each in again)}


def append(names: Sequence[str], url: str, calls: int) -> Figure:
    """Times the appends of one group, in rotation."""
    with ExitStack() as ends:
        batches = {}
        for name in names:
            peer = SERVER_PEERS[name]()
            batches[name] = peer.appender(url)
            ends.callback(peer.close)
        for batch in batches.values():
            batch(1)  # the first call includes the set-up of driver and SQLAlchemy
        return p50s(batches, calls)


def fill(url: str, count: int) -> Figure:
    """Inserts catalogue rows of many sessions, a quarter of an hour apart, without lines."""
    import psycopg

    import convtree

    convtree.open_store(url, create=True).close()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "INSERT INTO ct_sessions (session_id, cwd, name, name_words, archived, held, kind, created_ms, "
            "active_ms, active_slot, size, last_crc, rewrites, leaf_id, entries, message_count, first_user, last_user) "
            "SELECT 'listed' || n, '/home/me/project' || n %% 100, 'session ' || n, ' session ' || n || ' ', 0, 0, '', "
            "1700000000000 + n::bigint * 900000, 1700000000000 + n::bigint * 900000, "
            "(1700000000000 + n::bigint * 900000) / 600000, 4000, 1, 0, 'e' || n, 4, 4, repeat('first ', 30), "
            "repeat('last ', 30) FROM generate_series(1, %s) n",
            [count],
        )
        connection.execute(
            "INSERT INTO ct_usage SELECT 'listed' || n, '', 'openai', 'gpt', 2, 100, 10, 0, 0, 0.01 "
            "FROM generate_series(1, %s) n",
            [count],
        )
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return {}


def lists(url: str) -> Figure:
    """Times lists of the newest sessions."""
    import psycopg

    import convtree

    sql = "SELECT * FROM ct_sessions ORDER BY active_slot DESC, active_ms DESC, session_id DESC LIMIT 51"
    with convtree.open_store(url, create=True) as store, psycopg.connect(url.replace("+psycopg", "")) as connection:
        assert len(store.list()) == 50
        calls = {
            "list": store.list,
            "narrowed": partial(store.list, cwd="/home/me/project7"),
            "select": lambda: connection.execute(sql).fetchall(),
        }
        return p50s({name: partial(_timed, call) for name, call in calls.items()}, _CALLS)


def _timed(call: Callable[[], object], calls: int) -> list[float]:
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def write(url: str, session_id: str, calls: int, ready: str, number: int, writers: int) -> Figure:
    """Appends as one of several processes, which start together. Returns the seconds of each append."""
    import convtree

    with (
        convtree.open_store(url, create=True) as store,
        store.open(session_id, create=True, on_stale="rebase") as session,
    ):
        source = messages(number * calls)
        session.append(next(source))
        Path(ready, str(number)).touch()
        while len(list(Path(ready).iterdir())) < writers:
            time.sleep(0.01)
        start, taken = time.perf_counter(), {}
        for call, message in enumerate(islice(source, calls)):
            began = time.perf_counter()
            session.append(message)
            taken[str(call)] = time.perf_counter() - began
        return taken | {"whole": time.perf_counter() - start}


def gapless(url: str, session_id: str, entries: int) -> Figure:
    """Checks that the writers together wrote one chain, without gaps or damage."""
    import convtree

    with convtree.open_store(url, create=True) as store, store.open(session_id, read_only=True) as session:
        assert len(session.path()) == entries, f"{len(session.path())} entries instead of {entries}"
        assert not session.findings, session.findings
    return {}


# --- the script ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Prints the tables."""
    given = options("What does a server cost?", sizes=(1_000, 10_000), quick=(200, 1_000), runs=5, server=True)
    results = Results("sql", given)
    listed = 1_000 if given.quick else _LISTED
    names = list(dict.fromkeys([*OPENERS, *(name for group in GROUPS.values() for name in group)]))
    with workplace(given) as directory:
        try:
            with server(given.url) as database:
                run(results, here(results, names, SERVER_PEERS), database, directory, listed)
        except NoServer as none:
            for name in (*names, *LISTS, *map(_writers, WRITERS)):
                results.note(name, str(none))
    results.say(
        *(results.grid(title, group, "append") for title, group in GROUPS.items()),
        results.grid("connecting, opening and the last 50 messages", OPENERS, "connecting"),
        results.grid("opening and the last 50 messages, connected", OPENERS, "again"),
        table([f"of {listed:,} sessions", "takes"], [[name, _word(results.get(name, listed))] for name in LISTS]),
        table(
            ["one append, of writers of one session", "p50", "p99", "max", "max beside p50", "all, each second"],
            [_row(results, writers) for writers in WRITERS],
        ),
        table(TARGET_HEADS, targets(results)),
    )


def run(results: Results, names: Sequence[str], database: Callable[[], str], directory: Path, listed: int) -> None:
    """Measures every contender. The conversations of each length have a database of their own."""
    urls = {size: database() for size in results.given.sizes}
    results.versions["psycopg"] = version("psycopg")
    results.versions["PostgreSQL"] = server_version(next(iter(urls.values())))
    made = [(name, size) for size, url in urls.items() for name in names if _made(results, name, size, url)]
    opened = {key: partial(measure, resume, peer=key[0], url=urls[key[1]]) for key in made if key[0] in OPENERS}
    _keep(results, opened)
    calls = 20 if results.given.quick else 300
    appended = {}
    for title, group in GROUPS.items():
        for size, url in urls.items():
            if taken := [name for name in group if (name, size) in made]:
                appended[title, size] = partial(measure, append, names=taken, url=url, calls=calls)
    failed: dict[tuple[str, int], str] = {}
    for (_, size), found in medians(results.given.runs, appended, failed).items():
        for name, seconds in found.items():
            results.add(name, size, {**results.figures.get(name, {}).get(size, {}), "append": seconds})
    for (title, size), error in failed.items():
        results.note(title, f"failed at {size:,}: {error}")
    _list(results, database(), listed)
    _crowd(results, database(), directory)


def _made(results: Results, name: str, size: int, url: str) -> bool:
    """Creates the conversation of every peer that can handle the length."""
    peer = SERVER_PEERS[name]
    if size > peer.most:
        results.note(name, f"not measured at {size:,}: {peer.why_no_more}")
        return False
    try:
        measure(make, peer=name, url=url, entries=size)
    except FigureFailed as failed:
        results.note(name, f"failed at {size:,}: {failed}")
        return False
    return True


def _keep(results: Results, figures: Mapping[tuple[str, int], Callable[[], Figure]]) -> None:
    failed: dict[tuple[str, int], str] = {}
    for (name, size), figure in medians(results.given.runs, figures, failed).items():
        results.add(name, size, figure)
    for (name, size), error in failed.items():
        results.note(name, f"failed at {size:,}: {error}")


def _list(results: Results, url: str, listed: int) -> None:
    measure(fill, url=url, count=listed)
    found = medians(results.given.runs, {"lists": partial(measure, lists, url=url)})["lists"]
    for name, key in LISTS.items():
        results.add(name, listed, {"seconds": found[key]})


def _crowd(results: Results, url: str, directory: Path) -> None:
    """Times concurrent writers of one session. Returns the run with the worst ratio of maximum to median."""
    calls = 10 if results.given.quick else 200
    for run_number in range(results.given.runs):
        for writers in WRITERS:
            session_id = f"crowd-{run_number}-{writers}"
            with TemporaryDirectory(dir=directory) as ready, ThreadPoolExecutor(writers) as pool:
                one = partial(measure, write, url=url, session_id=session_id, calls=calls, ready=ready, writers=writers)
                found = list(pool.map(lambda number, one=one: one(number=number), range(writers)))
            measure(gapless, url=url, session_id=session_id, entries=writers * (calls + 1))
            whole = max(each.pop("whole") for each in found)
            taken = [seconds for each in found for seconds in each.values()]
            p50, longest = median(taken), max(taken)
            figure = {
                "p50": p50,
                "p99": quantiles(taken, n=100, method="inclusive")[-1],
                "max": longest,
                "beside": longest / p50,
                "rate": writers * calls / whole,
            }
            if figure["beside"] >= (results.get(_writers(writers), writers, "beside") or 0):
                results.add(_writers(writers), writers, figure)


def _writers(writers: int) -> str:
    return "1 writer" if writers == 1 else f"{writers} writers"


def _row(results: Results, writers: int) -> Sequence[str]:
    words = {"p50": duration, "p99": duration, "max": duration, "beside": times, "rate": "{:,.0f}".format}
    found = {key: results.get(_writers(writers), writers, key) for key in words}
    return (_writers(writers), *("—" if found[key] is None else word(found[key]) for key, word in words.items()))


def _word(found: float | None) -> str:
    return "—" if found is None else duration(found)


def targets(results: Results) -> Iterator[Sequence[str]]:
    """Yields the rows of the table of targets."""
    for size in results.given.sizes:
        yield judge(
            f"append, beside {_SAME}, at {size:,}", results.ratio("convtree", _SAME, size, "append"), times, 1.6
        )
    for words, key in (("opening", "again"), ("connecting and opening", "connecting")):
        yield judge(f"{words}, 10,000 entries", results.get("convtree", 10_000, key), duration, 0.06)
    yield judge(f"list(limit=50) of {_LISTED:,}", results.get("list(limit=50)", _LISTED), duration, 0.005)
    yield judge("8 writers, max beside p50", results.get(_writers(8), 8, "beside"), times, 20)


if __name__ == "__main__":
    main()
