"""What does a PostgreSQL server cost? Appends, opening, lists of sessions, and many writers.

The server is that of `--url`, or a private one that syncs every commit. Everything created there is removed. Two kinds
of figures do not depend on the length of a conversation: lists of many sessions, and concurrent writers. Writers are
processes: of one session, which take turns, or each of a few sessions of its own. Server and writers share the CPUs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from conversation import KEPT, messages
from field import here
from harness import (
    Figure,
    FigureFailed,
    Measured,
    contender,
    measure,
    medians,
    once,
    options,
    p50s,
    workplace,
)
from report import TARGET_HEADS, Results, duration, judge, judge_least, table, times
from servers import SERVER_PEERS, NoServer, server, server_version

_ONE, _CALL = "psycopg, one statement", "psycopg, the same call"
_SAME, _FEWEST = "psycopg, the same two statements", "psycopg, the fewest columns"
GROUPS = {
    "one append": ("convtree", _ONE, _CALL, _SAME, _FEWEST, "SQLAlchemySession"),
    # A group of its own, because its writes would slow down the others.
    "one append of the whole state": ("PostgresSaver",),
}
OPENERS = ("convtree", "SQLAlchemySession", "PostgresSaver")
#: how far apart the sessions were active, in milliseconds, and whether something was said twice in each, shortly after
SPREADS = {
    "a quarter of an hour apart": (900_000, False),
    "all in ten minutes": (6, False),
    "all in ten minutes, twice": (6, True),
    "all at once": (0, False),
}
_LISTS = {
    "list(limit=50)": "list",
    "list(limit=50, cwd=…)": "narrowed",
    "SELECT of the newest 50, by psycopg": "select",
}
LISTS = tuple(f"{name}, {spread}" for spread in SPREADS for name in _LISTS)
#: how many writers of one session, and of sessions of their own; fewer in a quick run
_CROWDS = {False: (1, 8), True: (1, 2)}
_MANY = {False: (1, 8, 32), True: (1, 2)}
_WAYS = ("convtree", _ONE)
_SESSIONS_EACH = 5
_LISTED = 100_000
_AGAIN = 9
#: statements that are made before the clock starts, for a second: of one writer, and of all together
_MOST_EACH_SECOND, _MOST_OF_ALL = 6_000, 16_000
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
            with contender(name):
                peer = SERVER_PEERS[name]()
                batch = peer.appender(url)
                ends.callback(peer.close)
                batch(1)  # the first call includes the set-up of the driver
                batches[name] = batch
        return p50s(batches, calls)


def fill(url: str, count: int, apart_ms: int, twice: bool) -> Figure:
    """Inserts catalogue rows of many sessions, without lines."""
    import psycopg

    import convtree
    from convtree._catalogue.activity import SLOT_MS

    convtree.open_store(url, create=True).close()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(
            "INSERT INTO ct_sessions (session_id, cwd, name, name_words, archived, held, kind, created_ms, "
            "active_ms, activity_bound, size, last_crc, rewrites, leaf_id, entries, message_count, first_user, "
            "last_user) "
            "SELECT 'listed' || n, '/home/me/project' || n %% 100, 'session ' || n, ' session ' || n || ' ', 0, 0, '', "
            "ms, ms, CASE WHEN %s THEN ms / %s * %s + %s ELSE ms END, "
            "4000, 1, 0, 'e' || n, 4, 4, repeat('first ', 30), "
            "repeat('last ', 30) "
            "FROM (SELECT n, 1700000000000 + n::bigint * %s AS ms FROM generate_series(1, %s) n) times",
            [twice, SLOT_MS, SLOT_MS, SLOT_MS, apart_ms, count],
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

    sql = "SELECT * FROM ct_sessions ORDER BY activity_bound DESC, session_id DESC LIMIT 51"
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
    """Appends to one session as one of several processes, which start together. Returns the seconds of each append."""
    import convtree

    with (
        convtree.open_store(url, create=True) as store,
        store.open(session_id, create=True, on_stale="rebase") as session,
    ):
        source = messages(number * calls)
        session.append(next(source))
        _meet(ready, number, writers)
        start, taken = time.perf_counter(), {}
        for call, message in enumerate(islice(source, calls)):
            began = time.perf_counter()
            session.append(message)
            taken[str(call)] = time.perf_counter() - began
        return taken | {"whole": time.perf_counter() - start}


def write_many(url: str, way: str, seconds: float, ready: str, number: int, writers: int) -> Figure:
    """Appends to a few sessions as one of several processes, each with its own. Returns how many, and their median."""
    import convtree

    ids = [f"{Path(ready).name}-{number}-{each}" for each in range(_SESSIONS_EACH)]
    with ExitStack() as ends:
        store = ends.enter_context(convtree.open_store(url))
        opened = [ends.enter_context(store.create(id=id)) for id in ids]
        for session in opened:
            session.append({"role": "user", "content": "begin"})
        calls = [session.append for session in opened]
        sources = [messages(number) for _ in ids]
        if way == _ONE:
            peers = [SERVER_PEERS[_ONE]() for _ in ids]
            calls = [peer.append for peer in peers]
            most = int(min(_MOST_EACH_SECOND, _MOST_OF_ALL / writers) * seconds / _SESSIONS_EACH)
            sources = [iter(list(islice(peer.statements(url, id), most))) for peer, id in zip(peers, ids, strict=True)]
            for peer in peers:
                ends.callback(peer.close)
        for call, source in zip(calls, sources, strict=True):
            call(next(source))
        _meet(ready, number, writers)
        taken, turns = [], cycle(list(zip(calls, sources, strict=True)))
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            call, source = next(turns)
            message = next(source, None)
            assert message is not None, "more than there are statements for"
            began = time.perf_counter()
            call(message)
            taken.append(time.perf_counter() - began)
        return {"rate": len(taken) / seconds, "p50": median(taken)}


def _meet(ready: str, number: int, writers: int) -> None:
    """Waits until all writers are there."""
    Path(ready, str(number)).touch()
    while len(list(Path(ready).iterdir())) < writers:
        time.sleep(0.01)


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
    listed = 200 if given.quick else _LISTED
    names = list(dict.fromkeys([*OPENERS, *(name for group in GROUPS.values() for name in group)]))
    with workplace(given) as directory:
        try:
            with server(given.url) as database:
                run(results, here(results, names, SERVER_PEERS), database, directory, listed)
        except NoServer as none:
            for name in (*names, *LISTS, *map(_writers, _CROWDS[given.quick]), *map(_own, _MANY[given.quick])):
                results.note(name, str(none))
    results.say(
        *(results.grid(title, group, "append") for title, group in GROUPS.items()),
        results.grid("connecting, opening and the last 50 messages", OPENERS, "connecting"),
        results.grid("opening and the last 50 messages, connected", OPENERS, "again"),
        table([f"of {listed:,} sessions", "takes"], [[name, _word(results.get(name, listed))] for name in LISTS]),
        table(
            ["appends each second", *_WAYS, "beside"],
            map(partial(_many_row, results), _MANY[given.quick]),
        ),
        table(
            ["one append, of writers of one session", "p50", "p99", "max", "p99 beside p50", "all, each second"],
            [_row(results, writers) for writers in _CROWDS[given.quick]],
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
        results.add_each(size, found, "append")
    for (title, size), error in failed.items():
        results.note(title, f"failed at {size:,}: {error}")
    for spread, (apart_ms, twice) in SPREADS.items():
        measure(fill, url=(url := database()), count=listed, apart_ms=apart_ms, twice=twice)
        _list(results, url, listed, spread)
    _crowd(results, database(), directory)
    _many_sessions(results, database(), directory)


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


def _list(results: Results, url: str, listed: int, spread: str) -> None:
    found = medians(results.given.runs, {"lists": partial(measure, lists, url=url)})["lists"]
    for name, key in _LISTS.items():
        results.add(f"{name}, {spread}", listed, {"seconds": found[key]})


def _crowd(results: Results, url: str, directory: Path) -> None:
    """Times concurrent writers of one session, and one writer in turn with them."""
    calls = 10 if results.given.quick else 200
    ids = (f"crowd-{number}" for number in count())

    def crowd(writers: int) -> Figure:
        session_id = next(ids)
        found = _together(directory, write, writers, url=url, session_id=session_id, calls=calls)
        measure(gapless, url=url, session_id=session_id, entries=writers * (calls + 1))
        whole = max(each.pop("whole") for each in found)
        taken = [seconds for each in found for seconds in each.values()]
        p50, p99 = median(taken), quantiles(taken, n=100, method="inclusive")[-1]
        return {"p50": p50, "p99": p99, "max": max(taken), "beside": p99 / p50, "rate": writers * calls / whole}

    _keep(results, {(_writers(writers), writers): partial(crowd, writers) for writers in _CROWDS[results.given.quick]})


def _many_sessions(results: Results, url: str, directory: Path) -> None:
    """Counts the appends of writers of different sessions, by convtree and by psycopg in turn."""
    import convtree

    convtree.open_store(url, create=True).close()
    seconds = 0.2 if results.given.quick else 3.0

    def crowd(way: str, writers: int) -> Figure:
        found = _together(directory, write_many, writers, url=url, way=way, seconds=seconds)
        return {"rate": sum(each["rate"] for each in found), "p50": median(each["p50"] for each in found)}

    _keep(
        results,
        {(_many(way, each), each): partial(crowd, way, each) for each in _MANY[results.given.quick] for way in _WAYS},
    )


def _together(directory: Path, figure: Callable[..., Figure], writers: int, **arguments: object) -> list[Measured]:
    """Runs a figure in several processes at once, which wait for each other before they begin."""
    with TemporaryDirectory(prefix="ready", dir=directory) as ready, ThreadPoolExecutor(writers) as pool:
        one = partial(measure, figure, ready=ready, writers=writers, **arguments)
        return list(pool.map(lambda number: one(number=number), range(writers)))


def _own(writers: int) -> str:
    return f"{_writers(writers)} of own sessions"


def _many(way: str, writers: int) -> str:
    return f"{way}, {_own(writers)}"


def _many_row(results: Results, writers: int) -> Sequence[str]:
    found = [results.get(_many(way, writers), writers, "rate") for way in _WAYS]
    ratio = _rates(results, "convtree", writers, _ONE, writers)
    rates = ["—" if each is None else f"{each:,.0f}" for each in found]
    return (_own(writers), *rates, "—" if ratio is None else f"{ratio:.0%}")


def _rates(results: Results, way: str, writers: int, other: str, others: int) -> float | None:
    """Returns how many times the appends of some writers are those of others."""
    found, beside = results.get(_many(way, writers), writers, "rate"), results.get(_many(other, others), others, "rate")
    return None if found is None or not beside else found / beside


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
        for floor in (_ONE, _CALL):
            ratio = results.ratio("convtree", floor, size, "append")
            yield judge(f"append, beside {floor}, at {size:,}", ratio, times, 1.3)
    for words, key, most in (("opening", "again", 0.004), ("connecting and opening", "connecting", 0.06)):
        yield judge(f"{words}, 10,000 entries", results.get("convtree", 10_000, key), duration, most)
    for spread in SPREADS:
        found = results.get(f"list(limit=50), {spread}", _LISTED)
        yield judge(f"list(limit=50) of {_LISTED:,}, {spread}", found, duration, 0.005)
    crowds = _MANY[results.given.quick]
    for writers in crowds[1:]:
        found = _rates(results, "convtree", writers, _ONE, writers)
        yield judge_least(f"{writers} writers of own sessions, beside {_ONE}", found, times, 0.6)
    found = _rates(results, "convtree", crowds[-1], "convtree", crowds[-2])
    yield judge_least(f"{crowds[-1]} writers of own sessions, beside {crowds[-2]}", found, times, 1)
    crowds = _CROWDS[results.given.quick]
    few, most = (results.get(_writers(writers), writers, "rate") for writers in crowds)
    ratio = None if not few or not most else most / few
    name = f"{_writers(crowds[-1])} of one session"
    yield judge_least(f"{name}, beside {_writers(crowds[0])}", ratio, times, 1)
    yield judge(f"{name}, p99 beside p50", results.get(_writers(crowds[-1]), crowds[-1], "beside"), times, 10)


if __name__ == "__main__":
    main()
