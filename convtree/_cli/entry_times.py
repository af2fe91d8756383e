"""Times of a log as a person reads them: local time, or UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo


class EntryTimes:
    """The times of one output. Without `utc`, they are in the time zone of this machine, or that of TZ."""

    def __init__(self, *, utc: bool = False) -> None:
        self._zone: tzinfo | None = UTC if utc else None

    def read(self, timestamp: str | None) -> datetime | None:
        """Returns a time of the log in the zone; None if it is missing or no time."""
        if timestamp is None:
            return None
        try:
            time = datetime.fromisoformat(timestamp)
            return (time.replace(tzinfo=UTC) if time.tzinfo is None else time).astimezone(self._zone)
        except (ValueError, OverflowError, OSError):
            return None

    def today(self) -> date:
        """Returns the day that it is in the zone."""
        return datetime.now(self._zone).date()

    def text(self, timestamp: str | None) -> str:
        """Returns a time with date, zone and seconds; the text of the log if it is no time."""
        time = self.read(timestamp)
        return (timestamp or "no time") if time is None else f"{time:%Y-%m-%d %H:%M:%S %Z}".rstrip()


def clock_of(time: datetime, *, day: bool = False) -> str:
    """Returns a time as `14:03`, or with `day` as `2025-11-21 14:03`."""
    clock = f"{time.hour:02}:{time.minute:02}"  # strftime takes ten times as long
    return f"{time.date()} {clock}" if day else clock


def day_of(time: datetime) -> str:
    """Returns the day of a time, such as `Fri 21 Nov 2025`. English, as all other output."""
    return f"{_DAYS[time.weekday()]} {time.day} {_MONTHS[time.month - 1]} {time.year}"


def readable_seconds(seconds: float) -> str:
    """Returns a duration in a few characters, such as `12 s` or `3 min`."""
    if seconds < 9.5:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
