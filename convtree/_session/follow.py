"""Following a log: reads new records again and again, with waits in between.

A look takes the session's lock, a wait does not. A follower finds its place by the ids of the last records it has
seen, so it goes on when the log is repaired or replaced, and never yields a record twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import NamedTuple

from convtree._model.entries import Entry, Mark
from convtree._model.errors import SessionClosed
from convtree._session.client import Client, HasClient, locked

_REMEMBERED = 64  # records, by which a follower finds its place after a repair
_AT_ONCE = 500  # records


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
    return _looks(client, deque(last_ids(client), maxlen=_REMEMBERED), poll_s, timeout_s)


def _looks(client: Client, recent: deque[str], poll_s: float, timeout_s: float | None) -> Iterator[Look]:
    quiet_since = monotonic()
    while True:
        try:
            records, last = _records_after(client, recent)
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


@locked
def last_ids(client: Client) -> list[str]:
    """Returns the ids of the last records, in log order: as many as a follower remembers."""
    index = client.journal.index
    size = len(index.tree)
    return [record.id for record in index.readable_records(range(max(0, size - _REMEMBERED), size))]


@locked
def _records_after(client: Client, recent: Sequence[str]) -> tuple[list[Entry | Mark], str | None]:
    """Reads new lines of the log and returns the records behind the last of the records `recent` that it still has.

    If it has none of them, those from the first record on. Returns the records without those that are damaged, and the
    id of the last one looked at (None: there was none).
    """
    client.journal.refresh()
    index = client.journal.index
    known = (index.tree.find(id) for id in reversed(recent))
    row = next((row for row in known if row is not None), -1)
    wanted = range(row + 1, min(row + 1 + _AT_ONCE, len(index.tree)))
    return index.readable_records(wanted), index.id_of(wanted[-1]) if wanted else None


def _waiting(looks: Iterator[Look]) -> Iterator[Entry | Mark]:
    for look in looks:
        yield from look.records
        if not look.records:
            sleep(look.wait_s)
