"""Messages that `json.dumps` takes and a log refuses, made into some that a log can hold.

A tool result with half an emoji must not end a run whose tokens are paid. What was changed is stored with the message.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from msgspec.structs import replace

from convtree import Entry, ExtensionDataEntry, InvalidMessage, MessageEntry, Session

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what a log may hold


def append_clean(log: Session, entries: Sequence[Entry], **how: Any) -> list[Entry]:
    """Appends entries as `Session.append_many` does, cleaned if the log refuses them as they are.

    `extra["cleaned"]` of a message says what was changed in it.

    Raises:
        InvalidMessage: an entry cannot be stored, cleaned or not. Nothing was written.
    """
    try:
        return log.append_many(entries, **how)
    except InvalidMessage as error:
        try:
            cleaned = [_cleaned(entry) for entry in entries]
        except (TypeError, ValueError, RecursionError):
            raise error from None
        if all(new is old for new, old in zip(cleaned, entries, strict=True)):
            raise
    return log.append_many(cleaned, **how)


def _cleaned(entry: Entry) -> Entry:
    """Returns an entry whose message, or data, a log can hold. The same entry if there was nothing to change."""
    if isinstance(entry, MessageEntry):
        message, changes = clean(entry.message)
        extra, others = clean(entry.extra or {})
        if changes or others:
            return replace(entry, message=message, extra={**extra, "cleaned": changes + others})
    elif isinstance(entry, ExtensionDataEntry):
        data, changes = clean(entry.data)
        if changes:
            return replace(entry, data=data)
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
            child = owner[key] = {_clean_name(name, place, changes): each for name, each in child.items()}
            waiting.extend((child, name, f"{place}.{name}".lstrip(".")) for name in reversed(child))
        elif isinstance(child, list):
            waiting.extend((child, index, f"{place}[{index}]") for index in reversed(range(len(child))))
        else:
            owner[key] = _clean_scalar(child, place, changes)
    return Cleaned(root[0], changes)


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


def _clean_name(name: str, place: str, changes: list[str]) -> str:
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
