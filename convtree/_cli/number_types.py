"""Numbers of options. An error says what is expected, with an example."""

from __future__ import annotations

from math import isnan
from typing import Any, NoReturn

import click


class Count(click.IntRange):
    """A whole number from `least` on, up to `most` if that is set."""

    def __init__(self, least: int = 0, most: int | None = None, *, example: int = 20) -> None:
        super().__init__(least, most)
        limits = f"{least} or more" if most is None else f"{least} to {most:,}"
        self._expected = f"expected a whole number, {limits}, such as {example}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            _refuse(value, self._expected, param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds, from 0 on; without 0 if `above_zero` is set."""

    def __init__(self, *, above_zero: bool = False) -> None:
        super().__init__(min=0, min_open=above_zero)
        limits = "greater than 0" if above_zero else "0 or more"
        self._expected = f"expected a number of seconds, {limits}, such as 30 or 0.5"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number. NaN is no number."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = None
        if number is None or isnan(number):
            _refuse(value, self._expected, param, ctx)
        return number


def _refuse(value: object, expected: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
    raise click.BadParameter(f"{str(value)!r}; {expected}", ctx=ctx, param=param)
