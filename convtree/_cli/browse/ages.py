"""How long ago something was, in words. Pure: the caller says what time it is."""

from __future__ import annotations

from datetime import datetime

AGE_CELLS = 10


def age_of(moment: datetime | None, now: datetime) -> str:
    """Returns how long ago a moment was, in at most ten columns. Both have a time zone."""
    if moment is None:
        return "unknown"
    seconds = (now - moment).total_seconds()
    days = (now.date() - moment.astimezone(now.tzinfo).date()).days
    if seconds < 60:
        return "now" if seconds > -60 else moment.strftime("%Y-%m-%d")
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if days == 0 or seconds < 6 * 3600:
        return f"{int(seconds // 3600)} h ago"
    if days == 1:
        return "yesterday"
    return f"{days} d ago" if days < 14 else moment.strftime("%Y-%m-%d")
