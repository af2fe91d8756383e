"""Times as people write them, ages, and local time. Every case is a date worked out by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree._cli.times import LocalTime, age_of, age_since, age_text, period_of, time_text

NOW = datetime(2026, 11, 29, 14, 21, 5, tzinfo=timezone(timedelta(hours=1)))  # a Sunday


def shown(text: str, now: datetime = NOW) -> str:
    """Returns a period as two local times without this year and zeros at the end."""
    texts = [f"{each:%Y-%m-%d %H:%M:%S}".removeprefix("2026-") for each in period_of(text, now)]
    times = [each.removesuffix(":00").removesuffix(" 00:00") for each in texts]
    return times[0] if times[0] == times[1] else " to ".join(times)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "11-29 14:21:05"),
        ("today", "11-29 to 11-30"),
        (" Yesterday ", "11-28 to 11-29"),
        ("3 days ago", "11-26 to 11-27"),
        ("3d", "11-26 to 11-27"),
        ("0 days ago", "11-29 to 11-30"),
        ("two weeks ago", "11-15 to 11-16"),
        ("twenty days ago", None),
        ("last 7 days", "11-22 14:21:05 to 11-29 14:21:05"),
        ("the past two hours", "11-29 12:21:05 to 11-29 14:21:05"),
        ("past week", "11-22 14:21:05 to 11-29 14:21:05"),
        ("last 7 mondays", None),
        ("Nov 21", "11-21 to 11-22"),
        ("21 Nov 2026", "11-21 to 11-22"),
        ("November 3rd, 2025", "2025-11-03 to 2025-11-04"),
        ("30 november", "2025-11-30 to 2025-12-01"),
        ("29 Feb", "2024-02-29 to 2024-03-01"),
        ("november", "11-01 to 12-01"),
        ("Dec", "2025-12-01 to 01-01"),
        ("may 2025", "2025-05-01 to 2025-06-01"),
        ("nov 21 14:00", "11-21 14:00"),
        ("nova", None),
        ("2 weeks ago", "11-15 to 11-16"),
        ("9 months ago", "02-28 to 03-01"),
        ("1 month", "10-29 to 10-30"),
        ("an hour ago", "11-29 13:21:05"),
        ("90 min", "11-29 12:51:05"),
        ("5 seconds ago", "11-29 14:21"),
        ("15h ago", "11-28 23:21:05"),
        ("monday", "11-23 to 11-24"),
        ("last monday", "11-23 to 11-24"),
        ("sunday", "11-22 to 11-23"),
        ("this week", "11-23 to 11-30"),
        ("last week", "11-16 to 11-23"),
        ("last month", "10-01 to 11-01"),
        ("this year", "01-01 to 2027-01-01"),
        ("2026", "01-01 to 2027-01-01"),
        ("2026-02", "02-01 to 03-01"),
        ("2024-02-29", "2024-02-29 to 2024-03-01"),
        ("14:00", "11-29 14:00"),
        ("9:05:07", "11-29 09:05:07"),
        ("yesterday 14:00", "11-28 14:00"),
        ("monday at 9:30", "11-23 09:30"),
        ("2026-11-03 14:00", "11-03 14:00"),
        ("2026-11-03T14:00:00Z", "11-03 14:00"),
        ("2026-11-03 14:00:00.5 +02:00", "11-03 14:00"),
        ("last week 14:00", None),
        ("next week", None),
        ("last day", None),
        ("a fortnight ago", None),
        ("x 14:00", None),
        ("11-03", None),
        ("2026-1", None),
        ("1700000000", None),
    ],
)
def test_what_a_person_means(text: str, expected: str | None) -> None:
    """One meaning, or none."""
    if expected is None:
        with pytest.raises(ValueError, match="cannot read"):
            period_of(text, NOW)
    else:
        assert shown(text) == expected


@pytest.mark.parametrize("text", ["2026-13", "2026-02-30", "0000", "9999", "24:00", "999999 years ago", "999999 weeks"])
def test_a_time_that_there_is_not(text: str) -> None:
    """The message has the text and what is wrong with it."""
    with pytest.raises(ValueError, match=f"'{text}' is not a time: "):
        period_of(text, NOW)


def test_the_zone_of_a_text_wins() -> None:
    """Else it is that of now."""
    assert period_of("2026-11-03T14:00Z", NOW).start == datetime(2026, 11, 3, 14, tzinfo=UTC)
    assert period_of("2026-11-03T14:00", NOW).start == datetime(2026, 11, 3, 13, tzinfo=UTC)
    assert period_of("2026-11-03", NOW).end == datetime(2026, 11, 3, 23, tzinfo=UTC)


@settings(max_examples=50)
@given(st.text(max_size=30) | st.from_regex(r"(last |this )?[a-z0-9:-]{1,12}( ago)?", fullmatch=True))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    """Always the same, and no period ends before it begins."""
    try:
        found = period_of(text, NOW)
    except ValueError:
        return
    assert found.start <= found.end
    assert found == period_of(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", timedelta(days=30)),
        ("0.5", timedelta(hours=12)),
        ("3 days", timedelta(days=3)),
        ("36h", timedelta(hours=36)),
        ("1 month", timedelta(days=31)),
        ("yesterday", timedelta(days=1, hours=14, minutes=21, seconds=5)),
        ("2026-11-29", timedelta(hours=14, minutes=21, seconds=5)),
        ("2027-01", -timedelta(days=32, hours=9, minutes=38, seconds=55)),
        ("nan", timedelta(0)),
    ],
)
def test_an_age(text: str, expected: timedelta) -> None:
    """A number counts in days here; a day or a longer time counts from its beginning."""
    assert age_of(text, NOW, "day") == expected


def test_an_age_that_is_none_and_one_without_end() -> None:
    """Infinity is longer than any calendar."""
    assert age_of("inf", NOW, "day") > timedelta(days=10**7)
    for text, message in (("999999 years", "is not a time"), ("soon", "cannot read 'soon'")):
        with pytest.raises(ValueError, match=message):
            age_of(text, NOW, "day")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "now"),
        (0.9, "now"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 hour"),
        (86399, "23 hours"),
        (86400, "1 day"),
        (86400 * 13.9, "13 days"),
        (86400 * 14, "2 weeks"),
        (86400 * 59, "8 weeks"),
        (86400 * 60, "2 months"),
        (86400 * 364, "12 months"),
        (86400 * 365, "1 year"),
        (86400 * 4000, "10 years"),
    ],
)
def test_an_age_in_words(seconds: float, expected: str) -> None:
    """Rounded down, in a few characters."""
    assert age_text(seconds) == expected


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalTime]:
    """The time of a machine in Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield LocalTime()
    monkeypatch.undo()
    time.tzset()


def test_local_time(berlin: LocalTime) -> None:
    """Summer time is that of the day in question; the hour that occurs twice has fold 0, then fold 1."""
    assert time_text("2026-07-01T10:00:00Z", berlin) == "2026-07-01 12:00"
    assert time_text("2026-12-01T10:00:00Z", berlin) == "2026-12-01 11:00"
    assert time_text("2026-12-01T10:00:00Z", UTC) == "2026-12-01 10:00"
    for timestamp in (None, "yesterday", "0001-01-01T00:00:00+23:00"):
        assert time_text(timestamp, berlin) == ""
    twice = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC).astimezone(berlin) for hour in (0, 1)]
    assert [(each.hour, each.fold, each.astimezone(UTC).hour) for each in twice] == [(2, 0, 0), (2, 1, 1)]
    noon = datetime(2026, 3, 29, 10, tzinfo=UTC).astimezone(berlin)
    start, end = period_of("today", noon)
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=23)
    assert age_since("2026-03-28T23:30:00Z", noon) == "10 hours"
    assert age_since(None, noon) == ""
    assert (berlin.tzname(noon), berlin.tzname(None), berlin.utcoffset(None)) == ("CEST", None, None)
    assert datetime.max.replace(tzinfo=berlin).utcoffset() == timedelta(0)
