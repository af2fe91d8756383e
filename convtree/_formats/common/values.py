"""Conversions of JSON values to expected types. A value of another type gives None or empty, never an error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

NUMBER = (int, float)
Kinds = Mapping[str, type | tuple[type, ...]]  # types by the names of fields
_SECONDS, _MILLISECONDS, _MICROSECONDS = 10**11, 10**14, 10**17


def key(value: Any) -> str | None:
    """Returns a reference as text; None for an empty one."""
    return None if value in (None, "") else as_text(value)


def text(value: Any) -> str | None:
    """Returns a text as it is; None for anything else."""
    return value if isinstance(value, str) else None


def texts(value: Any) -> list[str] | None:
    """Returns the texts of a list; None if it is not a list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None


def count(value: Any) -> int | None:
    """Returns a whole number; None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) < 2**53 and value == int(value) else None


def as_text(value: Any) -> str:
    """Returns a text as it is, any other value as JSON; "" for None."""
    return value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()


def objects(value: Any) -> list[dict[str, Any]]:
    """Returns the objects of a list; empty if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_object(value: Any) -> dict[str, Any]:
    """Returns an object as it is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Returns all fields but the named ones, without empty values."""
    return {name: value for name, value in fields.items() if name not in names and value not in (None, "", [], {})}


def misfits(fields: Mapping[str, Any], kinds: Kinds) -> dict[str, Any]:
    """Returns the fields that are set, and of another type than the one that is named for them."""
    return {
        name: value
        for name, kind in kinds.items()
        if (value := fields.get(name)) is not None
        and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool))
    }


# --- times ---


def utc(value: Any) -> str | None:
    """Returns a timestamp of an ISO 8601 text or of milliseconds since 1970; None if it is neither."""
    moment = _parsed(value)
    return None if moment is None else moment.isoformat(timespec="microseconds")[:-6] + "Z"


def moment(value: Any) -> str | None:
    """Returns a timestamp of a text, or of a number since 1970 in seconds, milli- or microseconds, by its size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return utc(value)
    size = abs(value)
    if size < _SECONDS:
        return utc(value * 1000)
    return utc(value if size < _MILLISECONDS else value / 10**3 if size < _MICROSECONDS else value / 10**6)


def milliseconds(value: Any) -> int | None:
    """Returns a time in milliseconds since 1970, as JavaScript does."""
    moment = _parsed(value)
    if moment is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000) + since.seconds * 1000 + since.microseconds // 1000


def _parsed(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
