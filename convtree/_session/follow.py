"""Following a log: reads new records again and again, with waits in between.

A look takes the session's lock, a wait does not. A follower finds its place by the ids of the last records it has
seen, so it goes on when the log is repaired or replaced, and never yields a record twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, sleep
from typing import NamedTuple

from convtree._engine.journal import RECENT
from convtree._model.entries import Entry, Mark
from convtree._model.errors import SessionClosed
from convtree._session.client import Client, HasClient


class Look(NamedTuple):
    """What one look has found, and how many seconds to wait before the next (0 when it has found something)."""

    records: list[Entry | Mark]
    wait_s: float


def follow(self: HasClient, *, poll_s: float = 0.2, timeout_s: float | None = None) -> Iterator[Entry | Mark]:
    """Yields the records appended from now on, by any session. Does not move the leaf.

    Only whole, verified lines are yielded. Looks into the log every `poll_s` seconds. Ends when nothing came for
    `timeout_s` seconds (None: never), or when the session is closed. Continues when the log is repaired or
    replaced meanwhile; of another log it yields every record.

    Raises:
        SessionNotFound: the log was removed.
    """
    return _waiting(looks(self, poll_s, timeout_s))


def looks(session: HasClient, poll_s: float, timeout_s: float | None) -> Iterator[Look]:
    """Yields one look after the other without waiting; the caller waits for the time that each names.

    Records appended before this call are not found. Ends when nothing was found for `timeout_s` (None: never), and
    when the session is closed.
    """
    client = session._client
    return _looks(client, deque(client.last_records(), maxlen=RECENT), poll_s, timeout_s)


def _looks(client: Client, recent: deque[str], poll_s: float, timeout_s: float | None) -> Iterator[Look]:
    quiet_since = monotonic()
    while True:
        try:
            records, last = client.records_after(recent)
        except SessionClosed:
            return
        recent.extend(record.id for record in records)
        if last is not None and (not records or records[-1].id != last):
            recent.append(last)
        if records:
            yield Look(records, 0)
            quiet_since = monotonic()
            continue
        left_s = poll_s if timeout_s is None else quiet_since + timeout_s - monotonic()
        if left_s <= 0:
            return
        yield Look(records, min(poll_s, left_s))


def _waiting(looks: Iterator[Look]) -> Iterator[Entry | Mark]:
    for look in looks:
        yield from look.records
        if not look.records:
            sleep(look.wait_s)
