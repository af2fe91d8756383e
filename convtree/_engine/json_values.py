"""JSON values that a line may hold: checked and encoded, or refused with the place of the value. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from math import isfinite
from typing import Any
from uuid import UUID

import orjson

from convtree._engine.plain_objects import plain
from convtree._model.unicode_text import check_text, invalid

DEPTH_LIMIT = 128  # levels of nesting a writer may put on a line, the line's own object included
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
_ORJSON_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def dump(fields: Mapping[str, Any]) -> bytes:
    """Encodes the fields of a line. Refuses every value that would be decoded as a different one."""
    try:
        data = orjson.dumps(fields, jsonable, _ORJSON_OPTIONS)
    except (TypeError, ValueError) as error:
        _walk(fields)
        raise invalid("the record", str(error)) from None
    # orjson writes NaN as null and stops at 254 levels: look closer where either may have happened.
    if data.count(b"{") + data.count(b"[") > DEPTH_LIMIT or b"null" in data:
        _walk(fields)
    return data


def jsonable(value: Any) -> Any:
    """Converts a mapping, or an object of an SDK or a framework, to a JSON value. A model is what it sends."""
    return plain(value)


def _walk(fields: Mapping[str, Any]) -> None:
    """Checks every value, without recursion, and raises for the first that is not allowed."""
    stack: list[tuple[str, Any, int]] = [("", fields, 1)]
    while stack:
        place, value, depth = stack.pop()
        if isinstance(value, Mapping | list | tuple):
            if depth > DEPTH_LIMIT:
                raise invalid(place, f"more than {DEPTH_LIMIT} levels of nesting on one line")
            stack.extend((inner, item, depth + 1) for inner, item in reversed(_inside(place, value)))
        elif isinstance(value, Enum):
            stack.append((place, value.value, depth))
        elif not isinstance(value, str | int | float | UUID | None):
            try:
                stack.append((place, jsonable(value), depth))
            except TypeError as error:
                raise invalid(place, str(error)) from None
        else:
            _check_scalar(place, value)


def _inside(place: str, value: Mapping[Any, Any] | Sequence[Any]) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(f"{place}[{i}]", item) for i, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str):
            raise invalid(place, f"a key is a {type(key).__name__}, JSON has string keys only")
        check_text(key, f"a key of {place or 'the record'}")
    return [(f"{place}.{_shown(key)}" if place else _shown(key), item) for key, item in value.items()]


def _shown(key: str) -> str:
    """Returns a key for an error message; a long or unprintable one is hidden, because it may be content."""
    return key if len(key) <= 64 and key.isprintable() else "…"


def _check_scalar(place: str, value: Any) -> None:
    if isinstance(value, str):
        check_text(value, place)
    elif isinstance(value, float) and not isfinite(value):
        raise invalid(place, "NaN and Infinity are not JSON")
    elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise invalid(place, "an integer is outside -2**63 to 2**64 - 1")
