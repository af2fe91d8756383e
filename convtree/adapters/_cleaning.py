"""Messages that `json.dumps` takes and a log refuses, made into some that a log can hold.

A tool result with half an emoji must not end a run whose tokens are paid. What was changed is stored with the message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from convtree import Entry, ExtensionDataEntry, InvalidMessage, MessageEntry, Session

T = TypeVar("T")

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what a log may hold


def append_clean(log: Session, entries: Sequence[Entry], **how: Any) -> list[Entry]:
    """Appends entries as `Session.append_many` does, cleaned if the log refuses them as they are.

    Raises:
        InvalidMessage: an entry cannot be stored, cleaned or not. Nothing was written.
    """
    return write_clean(partial(log.append_many, **how), entries)


def write_clean(write: Callable[[Sequence[Entry]], T], entries: Sequence[Entry]) -> T:
    """Calls a function that stores entries, with cleaned ones if it refuses them as they are.

    `extra["cleaned"]` of a message, and `data["cleaned"]` of extension data, say what was changed.

    Raises:
        InvalidMessage: an entry cannot be stored, cleaned or not. Nothing was written.
    """
    try:
        return write(entries)
    except InvalidMessage as error:
        try:
            cleaned = [_cleaned(entry) for entry in entries]
        except (TypeError, ValueError, RecursionError):
            raise error from None
        if all(new is old for new, old in zip(cleaned, entries, strict=True)):
            raise
    return write(cleaned)


def _cleaned(entry: Entry) -> Entry:
    """Returns an entry whose message, or data, a log can hold. The same entry if there was nothing to change."""
    if isinstance(entry, MessageEntry):
        message, changes = clean(entry.message)
        extra, others = clean(entry.extra or {})
        if changes or others:
            return replace(
                entry, message=message, extra={**extra, "cleaned": [*extra.get("cleaned", ()), *changes, *others]}
            )
    elif isinstance(entry, ExtensionDataEntry):
        data, changes = clean(entry.data)
        if changes:
            known = data.get("cleaned", ()) if isinstance(data, dict) else ()
            return replace(entry, data={**data, "cleaned": [*known, *changes]} if isinstance(data, dict) else data)
    return entry


class Cleaned(NamedTuple):
    """A value that a log can hold, and what was changed to make it one, each as "place: what"."""

    value: Any
    changes: list[str]


def clean(value: Any) -> Cleaned:
    """Returns a copy of a value without what `json.dumps` takes and a log refuses.

    Lone surrogates become U+FFFD, in names an escape; numbers that are not finite become null, and integers beyond 64
    bits texts.

    Raises:
        TypeError, ValueError, RecursionError: `json.dumps` does not take the value.
    """
    changes: list[str] = []
    root = [json.loads(json.dumps(value))]
    waiting: list[tuple[Any, Any, str]] = [(root, 0, "")]
    while waiting:
        owner, key, place = waiting.pop()
        child = owner[key]
        if isinstance(child, dict):
            child = owner[key] = renamed(child, place, changes, cleaned_name)
            waiting.extend((child, name, f"{place}.{name}".lstrip(".")) for name in reversed(child))
        elif isinstance(child, list):
            waiting.extend((child, index, f"{place}[{index}]") for index in reversed(range(len(child))))
        else:
            owner[key] = _clean_scalar(child, place, changes)
    return Cleaned(root[0], changes)


def renamed(
    value: dict[Any, Any], place: str, changes: list[str], clean_name: Callable[[Any, str, list[str]], Any]
) -> dict[Any, Any]:
    """Returns a dictionary with cleaned names. Those that are changed get an underscore each if they are in use."""
    made: dict[Any, Any] = {}
    for name, each in value.items():
        new = clean_name(name, place, changes)
        while new is not name and (new in value or new in made):
            new += "_"
        made[new] = each
    return made


def _clean_scalar(value: Any, place: str, changes: list[str]) -> Any:
    if isinstance(value, str) and not _is_unicode(value):
        changes.append(f"{place}: a lone surrogate became U+FFFD")
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and not isfinite(value):
        changes.append(f"{place}: {value} became null")
        return None
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        changes.append(f"{place}: an integer beyond 64 bits became a text")
        return str(value)
    return value


def cleaned_name(name: str, place: str, changes: list[str]) -> str:
    """Returns a name with its lone surrogates escaped."""
    if _is_unicode(name):
        return name
    changes.append(f"{place}: a name with a lone surrogate was escaped")
    return name.encode("utf-8", "backslashreplace").decode()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
