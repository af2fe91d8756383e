"""Places of secrets in a text, the marks that replace them, and how random a value looks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

#: kinds are in lower case, so that no token can pass for one
MARK = re.compile(r"\[REDACTED:[a-z0-9_-]{1,32}\]")

_HEX = re.compile(r"[0-9a-f]{24,}|[0-9A-F]{24,}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HEX_DIGITS = re.compile(r"[0-9A-Fa-f-]+")
_TOKEN = re.compile(r"[A-Za-z0-9+/_.:~!@$%^&*|=-]+")
#: a letter beside a digit, a lower-case letter before an upper-case one, and the end of two or more upper-case ones
_CHANGE = re.compile(r"(?<=[A-Za-z])[0-9]|(?<=[0-9])[A-Za-z]|(?<=[a-z])[A-Z]|(?<=[A-Z]{2})[a-z]")
#: a token goes on in the next line if there is nothing else in it
_NEXT_LINE = re.compile(r"(?:\\{0,8}\r?\n|\\{1,8}n)[ \t>|]{0,20}([A-Za-z0-9+/=_-]{8,4096})(?![^\s\\\"'`])")
_LINES = 256


class Span(NamedTuple):
    """A secret of a kind from `start` to before `end`."""

    start: int
    end: int
    kind: str


def merged(found: Iterable[Span], text: str) -> list[Span]:
    """Returns the places in a text in order. Those that overlap become one, of the kind of the first.

    What touches a mark is left out, so that a redacted text stays as it is.
    """
    places: list[Span] = []
    for span in sorted(found, key=itemgetter(0)):
        if places and span.start < places[-1].end:
            last = places[-1]
            places[-1] = last._replace(end=max(last.end, span.end))
        else:
            places.append(span)
    if "[REDACTED:" not in text:
        return places
    marks = [match.span() for match in MARK.finditer(text)]
    kept, number = [], 0
    for span in places:
        while number < len(marks) and marks[number][1] <= span.start:
            number += 1
        if number == len(marks) or marks[number][0] >= span.end:
            kept.append(span)
    return kept


def is_random(value: str, shortest: int = 16) -> bool:
    """Returns whether a value has the look of a generated one: of words and numbers, it would change less often.

    Long runs of hexadecimal digits and UUIDs are taken for generated, so ask only beside a name that tells of a secret.
    """
    if len(value) < shortest:
        return False
    value = value[:512]
    if _HEX_DIGITS.fullmatch(value):
        return _HEX.fullmatch(value) is not None and not value.isdigit() and len(set(value)) > 4
    if not _TOKEN.fullmatch(value):
        return False
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    if digits < 2 or letters < 2 or len(set(value)) < 8:
        return False
    return len(_CHANGE.findall(value)) * 4 >= digits + letters


def end_of_lines(text: str, end: int) -> int:
    """Returns where a token ends that goes on in the next lines, if those look as random."""
    for _ in range(_LINES):
        match = _NEXT_LINE.match(text, end)
        if match is None or not is_random(match[1], 8):
            break
        end = match.end()
    return end
