"""When tokens and cost were spent: sums of a session by day, and in a range of time.

The catalogue has one sum for a session and model, without times. It also has the times of all entries. If they are in
the range and on one day, the sum belongs to that day; if none is in the range, nothing does. Only the logs of the other
sessions are read. Without a zone, days do not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from convtree._catalogue.copies import OwnRecords
from convtree._catalogue.record_summary import Spent, copied_up_to, key_of, ms_of, spent_in
from convtree._catalogue.types import Progress, UsageTotal
from convtree._model.batches import batched
from convtree._model.entries import Entry, Mark, VacuumEntry
from convtree._model.errors import SessionNotFound
from convtree._model.usage import usage_of, usage_stored_in
from convtree._session.session import Session
from convtree.stores.base import Catalogue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Span(NamedTuple):
    """A range of time in milliseconds since 1970; None is without a limit. `until` is not in it."""

    since: int | None
    until: int | None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self == (None, None)

    def has(self, ms: int | None) -> bool:
        """Returns whether a time is in it. What has no time is only in a range without limits."""
        if ms is None:
            return self.is_all
        return (self.since is None or self.since <= ms) and (self.until is None or ms < self.until)

    def is_apart_from(self, first: int, last: int) -> bool:
        """Returns whether it has no time from `first` to `last`."""
        return (self.since is not None and last < self.since) or (self.until is not None and first >= self.until)


class Dated(NamedTuple):
    """What a session has spent on a day; None for answers without a time."""

    day: str | None
    total: UsageTotal


class Times(NamedTuple):
    """The times of a session's entries: the first and the last, None if one of them has no time."""

    first: int | None
    last: int | None


class Plan(NamedTuple):
    """What the catalogue knows about the usage of sessions, and which records count of those whose log must be read."""

    totals: Sequence[UsageTotal]
    times: Mapping[str, Times]
    own: Mapping[str, OwnRecords]


def plan_of(catalogue: Catalogue, totals: Sequence[UsageTotal], span: Span, zone: tzinfo | None) -> Plan:
    """Returns what is known about these totals, and what else has to be read, from one look into the catalogue."""
    times = _times(catalogue, sorted({each.session_id for each in totals}))
    unclear = [id for id, each in times.items() if not _is_clear(each, span, zone)]
    return Plan(totals, times, {id: catalogue.own_records(id) for id in unclear})


def spent_by_day(
    plan: Plan, span: Span, zone: tzinfo | None, open_reader: Callable[[str], Session], progress: Progress | None
) -> Iterator[Dated]:
    """Yields what sessions have spent in a range of time, by day if there is a zone.

    `open_reader` opens a session by its id, and `progress` is called with (done, of) after each log. A session that was
    deleted meanwhile is left out.
    """
    for total in plan.totals:
        times = plan.times[total.session_id]
        if total.session_id not in plan.own and span.has(times.first):
            yield Dated(_day_of(times.first, zone), total)
    for number, (id, own) in enumerate(plan.own.items(), 1):
        with suppress(SessionNotFound), open_reader(id) as session:
            for _, ms, spent in counted_records(session, own):
                if span.has(ms):
                    day = _day_of(ms, zone)
                    yield from (Dated(day, UsageTotal(id, each.provider, each.model, each.usage)) for each in spent)
        if progress is not None:
            progress(number, len(plan.own))


def counted_records(session: Session, own: OwnRecords) -> Iterator[tuple[int, int | None, Sequence[Spent]]]:
    """Yields number, time and usage of the records with usage that count in this session, and not in another one."""
    last_copied = copied_up_to(session.header)
    copied = None if last_copied is None else session.outline().row(last_copied)
    for row, record in session.records(own.start):
        spent, ms = _spent(record), ms_of(record.timestamp)
        if spent and (copied is None or row > copied or key_of(record.id, ms) in own.copied):
            yield row, ms, spent


def _spent(record: Entry | Mark) -> Sequence[Spent]:
    if isinstance(record, VacuumEntry):
        return list(spent_in(record))
    usage = usage_stored_in(record)
    return [] if usage is None else [Spent(record.provider, record.model, 1, usage_of(usage))]  # type: ignore[union-attr]


def _times(catalogue: Catalogue, ids: Sequence[str]) -> dict[str, Times]:
    found = dict.fromkeys(ids, Times(None, None))
    for chunk in batched(ids):
        times: dict[str, list[int | None]] = {}
        for each in catalogue.entries(chunk):
            times.setdefault(each.session_id, []).append(each.time_ms)
        for id, some in times.items():
            known = [ms for ms in some if ms is not None]
            found[id] = Times(min(known), max(known)) if len(known) == len(some) else Times(None, None)
    return found


def _is_clear(times: Times, span: Span, zone: tzinfo | None) -> bool:
    """Returns whether no entry of a session is in the range, or all of them are, and on one day."""
    if times.first is None or times.last is None:
        return False
    if span.is_apart_from(times.first, times.last):
        return True
    same_day = _day_of(times.first, zone) == _day_of(times.last, zone)
    return same_day and span.has(times.first) and span.has(times.last)


def _day_of(ms: int | None, zone: tzinfo | None) -> str | None:
    """Returns the day of a time, as in 2026-01-31; None without a time or a zone, or out of the years 1 to 9999."""
    if ms is None or zone is None:
        return None
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone).date().isoformat()
    except OverflowError:
        return None
