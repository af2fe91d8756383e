"""What does a server cost?: appends beside the same statements by hand, opening, listing, and eight writers at once.

Needs a server: `--url`, or `CONVTREE_TEST_PG`. It makes its own tables there, in the database that the URL names, and
removes the sessions that it adds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

import psycopg

from convtree import CompactionEntry, Header, Session, catalogue
from convtree.logs.database import SqlDatabase
from convtree.logs.sql import SqlLog, delete_session

MESSAGE = {"role": "user", "content": " ".join(f"word{number}" for number in range(120))}  # about 1 KB
_LISTED = 100_000
_WRITERS = 8


def main() -> None:
    """Prints the figures, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", default=os.environ.get("CONVTREE_TEST_PG"), required="CONVTREE_TEST_PG" not in os.environ
    )
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--writer", metavar="ID", help=argparse.SUPPRESS)
    given = parser.parse_args()
    database = SqlDatabase.connect(given.url)
    database.create_tables()
    if given.writer:
        print(json.dumps(list(writer(database, given.writer, given.calls))))
        return
    appends(database, given.url, given.calls)
    opening(database)
    crowd(database, given.url, max(10, given.calls // 10))
    listing(database)


def session_in(database: SqlDatabase, id: str) -> Session:
    """Opens a session, or begins it."""
    return Session(SqlLog(database, id), Header(id=id), on_stale="rebase")


def appends(database: SqlDatabase, url: str, calls: int) -> None:
    """Times appends in turn with the two statements that they cannot do without."""
    id, by_hand = f"b{uuid4().hex}", f"b{uuid4().hex}"
    session, other = session_in(database, id), session_in(database, by_hand)
    session.append(MESSAGE)
    other.append(MESSAGE)
    line, position = json.dumps(MESSAGE), 10**6
    ours: list[float] = []
    theirs: list[float] = []
    with psycopg.connect(url, prepare_threshold=None) as connection:
        for _ in range(calls):
            began = time.perf_counter()
            session.append(MESSAGE)
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            connection.execute(
                "UPDATE ct_sessions SET size = size + %s WHERE session_id = %s RETURNING size", (len(line), by_hand)
            ).fetchall()
            position += len(line)
            connection.execute(
                "INSERT INTO ct_lines (session_id, position, id, type, words, line) VALUES (%s, %s, %s, %s, %s, %s)",
                (by_hand, position, uuid4().hex, "message", MESSAGE["content"], line),
            )
            connection.commit()
            theirs.append(time.perf_counter() - began)
    ratio = median(ours) / median(theirs)
    print(f"append p50: convtree {ms(median(ours))}, by hand {ms(median(theirs))}: {ratio:.2f} times (target 1.6)")
    for each in (id, by_hand):
        delete_session(database, each)


def opening(database: SqlDatabase) -> None:
    """Times opening 10,000 entries and building the context behind a compaction."""
    id = f"b{uuid4().hex}"
    with session_in(database, id) as session:
        for _ in range(10):
            entries = session.append_many([MESSAGE] * 995)
        session.append(CompactionEntry(summary="s", first_kept_entry_id=entries[-1].id))
        session.append_many([MESSAGE] * 49)

    def once() -> float:
        began = time.perf_counter()
        with session_in(database, id) as session:
            assert len(session.build_context().messages) == 51
        return time.perf_counter() - began

    print(f"opening 10,000 entries, and a context of 51: {ms(median(once() for _ in range(9)))} (target 60 ms)")
    delete_session(database, id)


def crowd(database: SqlDatabase, url: str, calls: int) -> None:
    """Times writers of one session, each a process."""
    id = f"b{uuid4().hex}"
    session_in(database, id).append(MESSAGE)
    command = [sys.executable, __file__, "--url", url, "--calls", str(calls), "--writer", id]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(_WRITERS)]
    times = sorted(each for writer in writers for each in json.loads(writer.communicate()[0]))
    assert len(session_in(database, id).path()) == 1 + calls * _WRITERS
    p50, last = median(times), times[-1]
    print(
        f"{_WRITERS} writers on one session: p50 {ms(p50)}, p99 {ms(quantiles(times, n=100)[-1])}, max {ms(last)}: "
        f"{last / p50:.1f} times (target 20)"
    )
    delete_session(database, id)


def writer(database: SqlDatabase, id: str, calls: int) -> Iterator[float]:
    """Yields how long each append took."""
    session = session_in(database, id)
    for _ in range(calls):
        began = time.perf_counter()
        session.append(MESSAGE)
        yield time.perf_counter() - began


def listing(database: SqlDatabase) -> None:
    """Times the newest 50 among many sessions, whose rows are added without their lines."""
    owner = uuid4().hex
    values: dict[str, Any] = {"owner": owner, "count": _LISTED}
    with database.writing() as execute:
        execute(
            "INSERT INTO ct_sessions (session_id, owner, archived, kind, copying, active_ms, active_slot, size, crc, "
            "entries, messages) SELECT 'l' || :owner || n, :owner, 0, '', 0, CAST(n AS BIGINT) * 60000, n / 10, "
            "0, 0, 1, 1 FROM generate_series(1, :count) n",
            values,
        )
        execute("ANALYZE ct_sessions")
    wanted = catalogue.Filter(owner=owner)

    def once() -> float:
        began = time.perf_counter()
        with database.reading() as execute:
            assert len(catalogue.sessions(execute, "postgresql", wanted, limit=50)) == 50
        return time.perf_counter() - began

    print(f"the newest 50 of {_LISTED:,} sessions: {ms(median(once() for _ in range(21)))} (target 5 ms)")
    with database.writing() as execute:
        execute("DELETE FROM ct_sessions WHERE owner = :owner", values)


def ms(seconds: float) -> str:
    """Words a time."""
    return f"{seconds * 1000:.2f} ms"


if __name__ == "__main__":
    main()
