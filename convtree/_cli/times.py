"""Times as people write and read them: "yesterday", "3 days ago", "2026-11", "14:00"; ages; local time.

The grammar is small and strict: a text is understood in one way or refused. A word for a day, week, month or year
stands for all of it, in the zone of `now`. So `--since yesterday` begins where that day begins, and `--until yesterday`
ends where it ends. Only `now` asks the clock.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, tzinfo
from math import isnan
from typing import Literal, NamedTuple

from convtree._catalogue.record_summary import ms_of

EXPECTED = (
    "expected a time such as yesterday, '3 days ago', 'last 7 days', 'last week', monday, november, '3 Nov 2026', "
    "2026-11, 2026-11-03, 14:00, '2026-11-03 14:00' or 2026-11-03T14:00:00Z"
)
EXPECTED_AGE = (
    "expected a number of {unit}s such as 30, an age such as '36 hours' or '6 weeks', "
    "or the time when it began: yesterday, 'last year', 2026-11, 2026-11-03"
)
_UNITS = {
    "second": ("s", "sec", "second"),
    "minute": ("min", "minute"),
    "hour": ("h", "hour"),
    "day": ("d", "day"),
    "week": ("w", "week"),
    "month": ("month",),
    "year": ("y", "year"),
}
_UNIT_OF = {name + plural: unit for unit, names in _UNITS.items() for name in names for plural in ("", "s")}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH_OF = {name: number for number, month in enumerate(_MONTHS, 1) for name in (month, month[:3])} | {"sept": 9}
_NUMBER_OF = {"a": 1, "an": 1} | {
    name: number
    for number, name in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}
_NUMBERS = "|".join(_NUMBER_OF)
_RECENT = re.compile(rf"(?:the )?(?:last|past) ({_NUMBERS}|[0-9]{{1,6}}) ([a-z]+)")
_NAMED_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_NAMED_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_NAMED_DATES = (
    re.compile(rf"{_NAMED_DAY} {_NAMED_MONTH}(?:,? (?P<year>[0-9]{{4}}))?"),
    re.compile(rf"{_NAMED_MONTH}(?: {_NAMED_DAY})?(?:,? (?P<year>[0-9]{{4}}))?"),
)
_AMOUNT = re.compile(rf"({_NUMBERS}|[0-9]{{1,6}}) ?([a-z]+)(?: ago)?")
_CLOCK = re.compile(r"(?:(.+?) )??(?:at )?([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9:]{5,8}(\.[0-9]+)?( ?(z|[+-][0-9]{2}:?[0-9]{2}))?")
_LONGEST_S = 2.0**40  # of an age: longer than any calendar
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTime(tzinfo):
    """The time zone of this machine, or that of the variable TZ. Its clock changes are those of the system."""

    def utcoffset(self, when: datetime | None, /) -> timedelta | None:
        """Returns the offset at a local time; none in years that the system does not know."""
        try:
            return None if when is None else when.replace(tzinfo=None).astimezone().utcoffset()
        except (OverflowError, ValueError, OSError):
            return timedelta(0)

    def dst(self, when: datetime | None, /) -> timedelta | None:
        """Returns None: it is part of the offset."""
        del when
        return None  # mypy asks for it

    def tzname(self, when: datetime | None, /) -> str | None:
        """Returns the name of the zone at a local time."""
        return None if when is None else when.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, when: datetime, /) -> datetime:
        """Returns the local time of a time in UTC."""
        try:
            system = when.replace(tzinfo=UTC).astimezone()
        except (OverflowError, ValueError, OSError):
            return when
        local = system.replace(tzinfo=self)
        return local if local.utcoffset() == system.utcoffset() else local.replace(fold=1)


class Period(NamedTuple):
    """From a time until before another one. A time of day has no length: both are the same."""

    start: datetime
    end: datetime


def zone_of(utc: bool) -> tzinfo:
    """Returns UTC, or else the zone of this machine."""
    return UTC if utc else LocalTime()


def now(zone: tzinfo) -> datetime:
    """Asks the clock."""
    return datetime.now(zone)


# --- reading ---


def period_of(text: str, now: datetime) -> Period:
    """Returns the time that a person means.

    Raises:
        ValueError: it is none. The message says what was expected.
    """
    words = " ".join(text.lower().split())
    try:
        found = _moment(words, now) or _whole(words, now)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    if found is None:
        raise ValueError(f"cannot read {text!r} as a time; {EXPECTED}")
    return found


def age_of(text: str, now: datetime, unit: Literal["minute", "day"]) -> timedelta:
    """Returns how long ago a time began, or a length such as "36 hours". A number alone counts in `unit`; NaN is 0.

    Raises:
        ValueError: it is neither.
    """
    try:
        number = float(text)
    except ValueError:
        start = _start_of(text, now, unit)
        return now.astimezone(UTC) - start.astimezone(UTC)
    seconds = 0.0 if isnan(number) else number * _SECONDS[unit]
    return timedelta(seconds=max(min(seconds, _LONGEST_S), -_LONGEST_S))


def _start_of(text: str, now: datetime, unit: str) -> datetime:
    """Returns when an age in words began."""
    words = " ".join(text.lower().split())
    amount = _amount(words)
    try:
        if amount is not None:
            return _before(now, *amount)
        found = _moment(words, now) or _whole(words, now)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    if found is None:
        raise ValueError(f"cannot read {text!r} as an age; {EXPECTED_AGE.format(unit=unit)}")
    return found.start


def _moment(words: str, now: datetime) -> Period | None:
    """Returns a time without length: now, some hours ago, a time of day; None if it is none."""
    amount = _amount(words)
    if (recent := _recent(words, now)) is not None:
        return recent
    if words == "now":
        when = now
    elif amount is not None and amount[1] in ("second", "minute", "hour"):
        when = _before(now, *amount)
    elif _RFC_3339.fullmatch(words):
        read = datetime.fromisoformat(words.upper().replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
        when = read if read.tzinfo else read.replace(tzinfo=now.tzinfo)
    elif (clock := _CLOCK.fullmatch(words)) and (day := _whole(clock[1] or "today", now)) and _is_day(day):
        hour, minute, second = (int(part or 0) for part in clock.group(2, 3, 4))
        when = day.start.replace(hour=hour, minute=minute, second=second)
    else:
        return None
    return Period(when, when)


def _whole(words: str, now: datetime) -> Period | None:
    """Returns a day, week, month or year; None if it is none."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if (date := _numbered_date(words, today) or _named_date(words, today)) is not None:
        return date
    if words in ("today", "yesterday"):
        return _lasting(_shifted(today, -int(words == "yesterday"), "day"), "day")
    amount = _amount(words)
    if amount is not None:
        return _lasting(_shifted(today, -amount[0], amount[1]), "day")
    if (weekday := words.removeprefix("last ")) in _WEEKDAYS:
        days = (today.weekday() - _WEEKDAYS.index(weekday) - 1) % 7 + 1
        return _lasting(_shifted(today, -days, "day"), "day")
    which, _, unit = words.partition(" ")
    if which not in ("this", "last") or unit not in ("week", "month", "year"):
        return None
    starts = {"week": _shifted(today, -today.weekday(), "day"), "month": today.replace(day=1)}
    start = starts.get(unit, today.replace(month=1, day=1))
    return _lasting(_shifted(start, -int(which == "last"), unit), unit)


def _amount(words: str) -> tuple[int, str] | None:
    """Returns the number and the unit of "3 days ago" or "3d"."""
    found = _AMOUNT.fullmatch(words)
    if found is None or found[2] not in _UNIT_OF:
        return None
    return _number(found[1]), _UNIT_OF[found[2]]


def _number(word: str) -> int:
    return _NUMBER_OF.get(word) or int(word)


def _recent(words: str, now: datetime) -> Period | None:
    """Returns the time since so long ago, of "last 7 days" and "past week"; None if it is none.

    "Last week" is another one: that of the calendar.
    """
    words = words.removeprefix("the ")
    if words.startswith("past ") and words.removeprefix("past ") in _UNIT_OF:
        return Period(_before(now, 1, _UNIT_OF[words.removeprefix("past ")]), now)
    found = _RECENT.fullmatch(words)
    if found is None or found[2] not in _UNIT_OF:
        return None
    return Period(_before(now, _number(found[1]), _UNIT_OF[found[2]]), now)


def _numbered_date(words: str, today: datetime) -> Period | None:
    """Returns the day, month or year of "2026-11-03", "2026-11" or "2026"."""
    date = _DATE.fullmatch(words)
    if date is None:
        return None
    year, month, day = (None if part is None else int(part) for part in date.groups())
    start = today.replace(year=year or 0, month=1 if month is None else month, day=1 if day is None else day)
    return _lasting(start, "year" if month is None else "month" if day is None else "day")


def _named_date(words: str, today: datetime) -> Period | None:
    """Returns the day or month of "21 Nov 2026", "Nov 21" or "november"; without a year, the last one that has begun.

    Raises:
        ValueError: the month has no such day.
    """
    found = next((match for each in _NAMED_DATES if (match := each.fullmatch(words))), None)
    if found is None or found["month"] not in _MONTH_OF:
        return None
    month, day = _MONTH_OF[found["month"]], 1 if found["day"] is None else int(found["day"])
    unit = "month" if found["day"] is None else "day"
    if found["year"] is not None:
        return _lasting(today.replace(year=int(found["year"]), month=month, day=day), unit)
    is_past = (month, day) <= (today.month, today.day)
    year = today.year if is_past else today.year - 1
    while (month, day) == (2, 29) and not isleap(year):
        year -= 1
    return _lasting(today.replace(year=year, month=month, day=day), unit)


def _before(now: datetime, number: int, unit: str) -> datetime:
    """Returns the time that long ago. Months and years are those of the calendar."""
    if unit in _SECONDS:
        return (now.astimezone(UTC) - timedelta(seconds=number * _SECONDS[unit])).astimezone(now.tzinfo)
    return _shifted(now, -number, unit)


def _shifted(start: datetime, number: int, unit: str) -> datetime:
    """Returns a local time some days, weeks, months or years away. A day that a month lacks becomes its last."""
    if unit in ("day", "week"):
        return start + timedelta(days=number * (7 if unit == "week" else 1))
    months = start.year * 12 + start.month - 1 + number * (12 if unit == "year" else 1)
    year, month = months // 12, months % 12 + 1
    if not MINYEAR <= year <= MAXYEAR:
        raise ValueError(f"year {year} is out of range")
    return start.replace(year=year, month=month, day=min(start.day, monthrange(year, month)[1]))


def _lasting(start: datetime, unit: str) -> Period:
    return Period(start, _shifted(start, 1, unit))


def _is_day(period: Period) -> bool:
    return _shifted(period.start, 1, "day") == period.end


# --- showing ---


def age_text(seconds: float) -> str:
    """Returns an age in a few characters, such as `3 min` or `2 days`, rounded down. A time to come is `now`."""
    if seconds < 1:
        return "now"
    days = int(seconds // 86400)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "hour")):
        if seconds < limit:
            return _number_of(int(seconds // size), unit)
    for limit, size, unit in ((14, 1, "day"), (60, 7, "week"), (365, 30, "month")):
        if days < limit:
            return _number_of(days // size, unit)
    return _number_of(days // 365, "year")


def _number_of(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("s" if number > 1 and unit not in ("s", "min") else "")


def age_since(timestamp: str | None, now: datetime) -> str:
    """Returns how long ago a stored time was; empty if it cannot be read."""
    ms = ms_of(timestamp)
    return "" if ms is None else age_text((now - _EPOCH).total_seconds() - ms / 1000)


def time_text(timestamp: str | None, zone: tzinfo | None) -> str:
    """Returns a stored time as a person reads it, to the minute; empty if it cannot be read. None is local time."""
    ms = ms_of(timestamp)
    try:
        return "" if ms is None else f"{(_EPOCH + timedelta(milliseconds=ms)).astimezone(zone):%Y-%m-%d %H:%M}"
    except OverflowError:
        return ""
