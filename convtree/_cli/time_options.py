"""The options `--since`, `--until` and `--utc`, as people write times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Literal, NamedTuple

import click

from convtree._cli import times


class Range(NamedTuple):
    """The times that a command is about, in the zone of `now`. None is without a limit; `end` is not in it."""

    start: datetime | None
    end: datetime | None
    now: datetime

    def understood(self, what: str) -> str:
        """Returns how the options were understood, for the end of a sentence; empty without any."""
        parts = [("from", self.start), ("until", self.end)]
        zone = self.now.tzinfo
        texts = [f"{word} {when.astimezone(zone):%Y-%m-%d %H:%M}" for word, when in parts if when is not None]
        return f" {what} {' '.join(texts)}" if texts else ""


def with_range(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command with these options. It receives `when`, a Range. `what` is between the two times."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(*arguments: Any, since: str | None, until: str | None, utc: bool, **named: Any) -> None:
            now = times.now(times.zone_of(utc))
            start = None if since is None else period("--since", since, now).start
            end = None if until is None else period("--until", until, now).end
            command(*arguments, when=Range(start, end, now), **named)

        run = with_utc(run)
        run = click.option(
            "--until", metavar="TIME", help=f"Only {what} until TIME. A whole day, month or year counts."
        )(run)
        since = f"Only {what} since TIME: yesterday, '3 days ago', 'last week', 2026-11, 2026-11-03, 14:00."
        return click.option("--since", metavar="TIME", help=since)(run)

    return decorate


with_utc = click.option("--utc", is_flag=True, help="Read and show times in UTC.  [default: local time]")


def period(option: str, text: str, now: datetime) -> times.Period:
    """Returns the time that an option names.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        return times.period_of(text, now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def age_option(option: str, text: str, now: datetime, unit: Literal["minute", "day"]) -> timedelta:
    """Returns the age that an option names. A number alone counts in `unit`.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        return times.age_of(text, now, unit)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
